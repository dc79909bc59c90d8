//! The errors of the D-Bus contract. This is the only place that names them.

use zbus::DBusError;

use crate::engine::EngineError;
use crate::transaction::{Failure, FailureKind};

/// `org.omg.Error.*`. The text is for people: it says what happened, to what, and what to do next.
#[derive(Debug, DBusError)]
#[zbus(prefix = "org.omg.Error")]
pub enum Error {
    #[zbus(error)]
    ZBus(zbus::Error),
    NotFound(String),
    Ambiguous(String),
    InvalidArgument(String),
    ResolutionFailed(String),
    PlanStale(String),
    Locked(String),
    Busy(String),
    Offline(String),
    Network(String),
    Untrusted(String),
    PolicyDenied(String),
    NotAuthorized(String),
    AuthDismissed(String),
    AgentMissing(String),
    LimitExceeded(String),
    DiskFull(String),
    BackendUnavailable(String),
    InvalidState(String),
    NotCancellable(String),
    Cancelled(String),
    Internal(String),
}

impl From<Failure> for Error {
    fn from(Failure { kind, message }: Failure) -> Self {
        match kind {
            FailureKind::NotFound => Self::NotFound(message),
            FailureKind::Ambiguous => Self::Ambiguous(message),
            FailureKind::InvalidArgument => Self::InvalidArgument(message),
            FailureKind::ResolutionFailed => Self::ResolutionFailed(message),
            FailureKind::PlanStale => Self::PlanStale(message),
            FailureKind::Locked => Self::Locked(message),
            FailureKind::Busy => Self::Busy(message),
            FailureKind::Offline => Self::Offline(message),
            FailureKind::Network => Self::Network(message),
            FailureKind::Untrusted => Self::Untrusted(message),
            FailureKind::PolicyDenied => Self::PolicyDenied(message),
            FailureKind::NotAuthorized => Self::NotAuthorized(message),
            FailureKind::AuthDismissed => Self::AuthDismissed(message),
            FailureKind::AgentMissing => Self::AgentMissing(message),
            FailureKind::LimitExceeded => Self::LimitExceeded(message),
            FailureKind::DiskFull => Self::DiskFull(message),
            FailureKind::BackendUnavailable => Self::BackendUnavailable(message),
            FailureKind::Internal => Self::Internal(message),
        }
    }
}

impl From<EngineError> for Error {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::NotFound(text) => Self::NotFound(text),
            EngineError::InvalidArgument(text) => Self::InvalidArgument(text),
            EngineError::LimitExceeded(text) => Self::LimitExceeded(text),
            EngineError::BackendUnavailable(text) => Self::BackendUnavailable(text),
            EngineError::DiskFull(text) => Self::DiskFull(text),
            EngineError::Refused(failure) => failure.into(),
            EngineError::DamagedSnapshot(_) | EngineError::Internal(_) => Self::Internal(error.to_string()),
        }
    }
}
