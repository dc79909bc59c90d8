//! What can go wrong with the database.

use std::path::PathBuf;

/// Why the database cannot be used for now. It is tried again later.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unavailable {
    #[error("{} is in use by another process", path.display())]
    InUse { path: PathBuf },
    #[error("no space is left for {}", path.display())]
    DiskFull { path: PathBuf },
    #[error("{}: {reason}", path.display())]
    Io { path: PathBuf, reason: String },
}

/// Why something was not stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    #[error("not stored: {0}")]
    Unavailable(#[from] Unavailable),
    #[error("not stored: {bytes} bytes are more than the {limit} that one value may have")]
    TooLarge { bytes: usize, limit: usize },
    #[error("not stored: cannot encode: {0}")]
    Encode(String),
}

/// What happened to stored data without the caller having asked for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Warning {
    #[error("the database was damaged ({reason}); it was moved to {} and a new one started", moved_to.display())]
    Corrupt { reason: String, moved_to: PathBuf },
    #[error(
        "the database was written by a newer version (schema {schema}); it was moved to {} and a new one started",
        moved_to.display()
    )]
    Newer { schema: u64, moved_to: PathBuf },
    #[error("{} was damaged and repaired; the last change to it may be lost", path.display())]
    Repaired { path: PathBuf },
    #[error("entry {id} of the history cannot be read and is left out")]
    UnreadableEntry { id: u64 },
    #[error("entry {id} of the history is not stored: {bytes} bytes are more than the {limit} that one value may have")]
    LongEntry { id: u64, bytes: usize, limit: usize },
}
