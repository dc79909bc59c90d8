//! Laying out archives below a folder, whatever they hold.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use thiserror::Error;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    TarGz,
    TarXz,
    TarZst,
    TarBz2,
    Zip,
}

/// What an archive may hold at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub bytes: u64,
    pub entries: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 8 << 30, entries: 1_000_000 }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unpacked {
    pub files: u64,
    pub bytes: u64,
}

#[derive(Debug, Error)]
pub enum UnpackError {
    #[error("stopped")]
    Stopped,
}

/// Where an entry goes: from its path in the archive, cleaned, to the one below the folder; `None`: it is left out.
pub type Place<'a> = &'a (dyn Fn(&Path) -> Option<PathBuf> + Sync);

/// # Errors
/// Any [`UnpackError`].
pub fn unpack(
    _archive: &mut File,
    _format: Format,
    _into: &Path,
    _place: Place<'_>,
    _limits: &Limits,
    _stopped: &AtomicBool,
) -> Result<Unpacked, UnpackError> {
    Err(UnpackError::Stopped)
}
