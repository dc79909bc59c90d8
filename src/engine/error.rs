//! What can go wrong with a question.

use thiserror::Error;

use crate::transaction::Failure;

/// Why a question has no answer. `dbus::Error` maps each to an `org.omg.Error.*` name.
#[derive(Debug, Clone, Error)]
pub enum EngineError {
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    InvalidArgument(String),
    #[error("{0}")]
    LimitExceeded(String),
    #[error("{0}")]
    BackendUnavailable(String),
    #[error("{0}")]
    DiskFull(String),
    /// Leaves [`super::Engine::ask`] only when a snapshot that was just built is damaged too.
    #[error("the package index is damaged: {0}")]
    DamagedSnapshot(String),
    /// There is no plan for what was asked.
    #[error("{0}")]
    Refused(Failure),
    #[error("{0}")]
    Internal(String),
}

impl EngineError {
    /// The same error in other words.
    pub(super) fn reworded(self, words: impl FnOnce(String) -> String) -> Self {
        match self {
            Self::NotFound(text) => Self::NotFound(words(text)),
            Self::InvalidArgument(text) => Self::InvalidArgument(words(text)),
            Self::LimitExceeded(text) => Self::LimitExceeded(words(text)),
            Self::BackendUnavailable(text) => Self::BackendUnavailable(words(text)),
            Self::DiskFull(text) => Self::DiskFull(words(text)),
            Self::DamagedSnapshot(text) => Self::DamagedSnapshot(words(text)),
            Self::Refused(failure) => Self::Refused(Failure::new(failure.kind, words(failure.message))),
            Self::Internal(text) => Self::Internal(words(text)),
        }
    }
}
