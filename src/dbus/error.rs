//! The errors of the D-Bus contract. This is the only place that names them.

use zbus::DBusError;

use crate::engine::EngineError;

/// `org.omg.Error.*`. The text is for people: it says what happened, to what, and what to do next.
#[derive(Debug, DBusError)]
#[zbus(prefix = "org.omg.Error")]
pub enum Error {
    #[zbus(error)]
    ZBus(zbus::Error),
    NotFound(String),
    InvalidArgument(String),
    LimitExceeded(String),
    BackendUnavailable(String),
    DiskFull(String),
    Busy(String),
    NotAuthorized(String),
    InvalidState(String),
    NotCancellable(String),
    Internal(String),
}

impl From<EngineError> for Error {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::NotFound(text) => Self::NotFound(text),
            EngineError::InvalidArgument(text) => Self::InvalidArgument(text),
            EngineError::LimitExceeded(text) => Self::LimitExceeded(text),
            EngineError::BackendUnavailable(text) => Self::BackendUnavailable(text),
            EngineError::DiskFull(text) => Self::DiskFull(text),
            EngineError::DamagedSnapshot(_) | EngineError::Internal(_) => Self::Internal(error.to_string()),
        }
    }
}
