//! What ends a command other than well.

use std::io;

use crate::dbus::client::{ClientError, ErrorKind, StopError};

/// Why a command failed; gives the text for standard error and the exit code.
#[derive(Debug)]
pub enum Failure {
    Client(ClientError),
    Stop(StopError),
    /// Nothing matches.
    NotFound(String),
    Internal(String),
    /// Of this kind, found out by omg itself or by the helper.
    Of(ErrorKind, String),
    Output(io::Error),
    /// Everything is said already.
    Reported(u8),
}

impl Failure {
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Client(error) => error.exit_code(),
            Self::NotFound(_) => ErrorKind::NotFound.exit_code(),
            Self::Stop(StopError::NotOurs { .. }) => ErrorKind::NotAuthorized.exit_code(),
            Self::Stop(_) | Self::Internal(_) | Self::Output(_) => ErrorKind::Failed.exit_code(),
            Self::Of(kind, _) => kind.exit_code(),
            Self::Reported(code) => *code,
        }
    }

    /// For standard error; none when it was said already.
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Client(error) => Some(error.to_string()),
            Self::Stop(error) => Some(error.to_string()),
            Self::NotFound(text) | Self::Internal(text) | Self::Of(_, text) => Some(text.clone()),
            Self::Output(error) => Some(format!("cannot write to standard output: {error}")),
            Self::Reported(_) => None,
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}
