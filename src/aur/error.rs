//! Why something about an AUR package was not done.

use std::io;

use thiserror::Error;

/// For people: what happened, to what, and what to do next.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AurError {
    #[error("{0}")]
    NotFound(String),
    /// What the package's maintainer wrote is not used.
    #[error("{0}")]
    Unsound(String),
    /// The caller asked for what must not be.
    #[error("{0}")]
    Invalid(String),
    #[error("{0}")]
    Network(String),
    /// A signature, a checksum or a key is not what it should be.
    #[error("{0}")]
    Untrusted(String),
    /// Another process works on the package.
    #[error("{0}")]
    Busy(String),
    /// makepkg did not come to its end.
    #[error("{0}")]
    Build(String),
    /// A program that this takes is missing or does not work here.
    #[error("{0}")]
    Unavailable(String),
    #[error("cancelled")]
    Cancelled,
    #[error("{0}")]
    Failed(String),
}

impl AurError {
    /// What could not be done, and why.
    pub(super) fn io(what: impl std::fmt::Display, error: &io::Error) -> Self {
        Self::Failed(format!("{what}: {error}"))
    }
}
