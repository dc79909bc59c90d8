//! What ends a command other than well.

use std::io;

use serde::Serialize;

use super::output::Output;
use crate::dbus::client::{ClientError, ErrorKind, StopError};

/// Why a command failed; gives the text for standard error, the object of `--json` and the exit code.
#[derive(Debug)]
pub enum Failure {
    Client(ClientError),
    Stop(StopError),
    /// Nothing matches.
    NotFound(String),
    Internal(String),
    /// Of this kind, found out by omg itself or by the helper.
    Of(ErrorKind, String),
    /// The same, where the result that `--json` ends with has told it.
    Concluded(ErrorKind, String),
    Output(io::Error),
    /// Everything is said already.
    Reported(u8),
}

/// What `--json` prints in place of an answer.
#[derive(Serialize)]
struct ErrorLine<'a> {
    error: ErrorObject<'a>,
}

#[derive(Serialize)]
struct ErrorObject<'a> {
    /// The full D-Bus error name.
    name: &'a str,
    message: &'a str,
}

/// Prints the object of an error.
pub fn print_json(name: &str, message: &str, out: &mut Output) {
    out.json(&ErrorLine { error: ErrorObject { name, message } });
}

impl Failure {
    /// What kind it is; of one that was told in full, only that it is one.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Client(error) => error.kind(),
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::Stop(StopError::NotOurs { .. }) => ErrorKind::NotAuthorized,
            Self::Of(kind, _) | Self::Concluded(kind, _) => *kind,
            Self::Stop(_) | Self::Internal(_) | Self::Output(_) | Self::Reported(_) => ErrorKind::Failed,
        }
    }

    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Reported(code) => *code,
            _ => self.kind().exit_code(),
        }
    }

    /// Whether it is that nothing has a name that was asked for.
    pub fn is_not_found(&self) -> bool {
        self.kind() == ErrorKind::NotFound
    }

    /// For standard error; none when it was said already.
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Client(error) => Some(error.to_string()),
            Self::Stop(error) => Some(error.to_string()),
            Self::NotFound(text) | Self::Internal(text) | Self::Of(_, text) | Self::Concluded(_, text) => {
                Some(text.clone())
            }
            Self::Output(error) => Some(format!("cannot write to standard output: {error}")),
            Self::Reported(_) => None,
        }
    }

    /// Prints the object of `--json`, where no object told it already.
    pub fn print_json(&self, out: &mut Output) {
        if !out.is_json() || matches!(self, Self::Concluded(..) | Self::Output(_)) {
            return;
        }
        let Some(text) = self.text() else { return };
        let name = match self {
            Self::Client(error) => error.name(),
            _ => self.kind().name(),
        };
        print_json(&name, &text, out);
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}
