//! What goes wrong for a client, as `omg` tells it and ends with it.

use std::path::PathBuf;

use zbus::fdo;

use super::names::ERROR_PREFIX;
use crate::transaction::{self, FailureKind};

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("cannot use the socket {}: {reason}", path.display())]
    Socket { path: PathBuf, reason: String },
    #[error("no way to omgd worked: {}; `omg doctor` tells more", tried.join("; "))]
    NoDaemon { tried: Vec<String> },
    /// omgd does not run for something that the user has to mend, such as its configuration file.
    #[error("omgd does not start: {reason}")]
    Invalid { reason: String },
    /// The daemon answered with an error.
    #[error("{message}")]
    Call {
        kind: ErrorKind,
        /// The full D-Bus error name.
        name: String,
        message: String,
    },
    #[error("omgd went away during the call: {0}; try again, `omg daemon logs` shows its log")]
    Disconnected(String),
    #[error("omgd did not answer in time; `omg daemon logs` shows its log, `omg daemon stop` ends it")]
    TimedOut,
    #[error("omgd gave an answer that this omg does not understand ({0}); after an upgrade run `omg daemon stop`")]
    Protocol(String),
}

/// What kind of error the daemon answered with, by its D-Bus name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    NotFound,
    /// The request itself is wrong.
    Invalid,
    Network,
    NotAuthorized,
    Cancelled,
    /// Anything else: the daemon or the system has a problem.
    Failed,
}

impl ErrorKind {
    /// The kind of a full D-Bus error name.
    pub fn from_name(name: &str) -> Self {
        match name.strip_prefix(ERROR_PREFIX) {
            Some("NotFound") => Self::NotFound,
            Some("Ambiguous" | "InvalidArgument" | "InvalidState" | "LimitExceeded" | "ResolutionFailed") => {
                Self::Invalid
            }
            Some("Network" | "Offline") => Self::Network,
            Some("NotAuthorized" | "AuthDismissed" | "AgentMissing" | "PolicyDenied" | "Untrusted" | "KeyRequired") => {
                Self::NotAuthorized
            }
            Some("Cancelled") => Self::Cancelled,
            Some(_) => Self::Failed,
            None => match name {
                "org.freedesktop.DBus.Error.InvalidArgs" => Self::Invalid,
                "org.freedesktop.DBus.Error.AccessDenied"
                | "org.freedesktop.DBus.Error.AuthFailed"
                | "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired" => Self::NotAuthorized,
                _ => Self::Failed,
            },
        }
    }

    /// The kind of a failed plan or commit.
    pub fn of(kind: FailureKind) -> Self {
        Self::from_name(&format!("{ERROR_PREFIX}{}", kind.as_str()))
    }

    /// The D-Bus error name that stands for the kind where nobody named one.
    pub fn name(self) -> String {
        let name = match self {
            Self::NotFound => "NotFound",
            Self::Invalid => "InvalidArgument",
            Self::Network => "Network",
            Self::NotAuthorized => "NotAuthorized",
            Self::Cancelled => "Cancelled",
            Self::Failed => "Internal",
        };
        format!("{ERROR_PREFIX}{name}")
    }

    /// The kind's exit code of `omg`.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::NotFound => 1,
            Self::Invalid => 2,
            Self::Failed => 3,
            Self::Network => 4,
            Self::NotAuthorized => 5,
            Self::Cancelled => 130,
        }
    }
}

impl ClientError {
    /// The error that the daemon named.
    pub fn from_reply(name: &str, message: String) -> Self {
        Self::Call { kind: ErrorKind::from_name(name), name: name.to_owned(), message }
    }

    /// What kind of error it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Call { kind, .. } => *kind,
            Self::Invalid { .. } => ErrorKind::Invalid,
            _ => ErrorKind::Failed,
        }
    }

    /// Whether the daemon refused because there is too much of something.
    pub fn is_limit(&self) -> bool {
        matches!(self, Self::Call { name, .. } if name.strip_prefix(ERROR_PREFIX) == Some("LimitExceeded"))
    }

    /// The D-Bus error name: the daemon's, else the one that stands for the kind.
    pub fn name(&self) -> String {
        match self {
            Self::Call { name, .. } => name.clone(),
            _ => self.kind().name(),
        }
    }

    /// The exit code of `omg`.
    pub fn exit_code(&self) -> u8 {
        self.kind().exit_code()
    }
}

impl From<transaction::Failure> for ClientError {
    fn from(failure: transaction::Failure) -> Self {
        Self::from_reply(&format!("{ERROR_PREFIX}{}", failure.kind.as_str()), failure.message)
    }
}

impl From<zbus::Error> for ClientError {
    fn from(error: zbus::Error) -> Self {
        use zbus::Error as E;
        match &error {
            E::MethodError(name, message, _) => {
                let message = message.clone().unwrap_or_else(|| format!("omgd answered {name}"));
                Self::from_reply(name, message)
            }
            E::FDO(fdo) => match &**fdo {
                fdo::Error::NoReply(message) | fdo::Error::Disconnected(message) => Self::Disconnected(message.clone()),
                fdo::Error::TimedOut(_) | fdo::Error::Timeout(_) => Self::TimedOut,
                fdo::Error::ZBus(inner) => inner.clone().into(),
                fdo::Error::UnknownMethod(message)
                | fdo::Error::UnknownInterface(message)
                | fdo::Error::UnknownObject(message)
                | fdo::Error::InvalidSignature(message) => Self::Protocol(message.clone()),
                other => {
                    let name = zbus::DBusError::name(other);
                    let message = zbus::DBusError::description(other).filter(|text| !text.is_empty());
                    Self::from_reply(&name, message.map_or_else(|| name.to_string(), str::to_owned))
                }
            },
            E::InputOutput(io) if io.kind() == std::io::ErrorKind::TimedOut => Self::TimedOut,
            E::InputOutput(io) => Self::Disconnected(io.to_string()),
            _ => Self::Protocol(error.to_string()),
        }
    }
}

impl From<serde_json::Error> for ClientError {
    fn from(error: serde_json::Error) -> Self {
        Self::Protocol(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_names_map_to_exit_codes() {
        for (name, code) in [
            ("org.omg.Error.NotFound", 1),
            ("org.omg.Error.InvalidArgument", 2),
            ("org.omg.Error.LimitExceeded", 2),
            ("org.omg.Error.Internal", 3),
            ("org.omg.Error.SomethingNew", 3),
            ("org.omg.Error.Offline", 4),
            ("org.omg.Error.AuthDismissed", 5),
            ("org.omg.Error.Cancelled", 130),
            ("org.freedesktop.DBus.Error.AccessDenied", 5),
            ("org.freedesktop.DBus.Error.InvalidArgs", 2),
            ("com.example.NotFound", 3),
        ] {
            assert_eq!(ErrorKind::from_name(name).exit_code(), code, "{name}");
        }
    }
}
