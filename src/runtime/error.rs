//! Why a runtime is not as it was asked for.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::fetch::FetchError;
use super::layout::LayoutError;
use super::sources::SourceError;
use super::unpack::UnpackError;
use super::verify::VerifyError;
use super::{BadName, Runtime, VersionError, room};

#[derive(Debug, Error)]
pub enum RuntimeError {
    #[error(transparent)]
    Name(#[from] BadName),
    #[error(transparent)]
    Version(#[from] VersionError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("{file}: {source}")]
    Unpack {
        file: String,
        #[source]
        source: UnpackError,
    },
    #[error("{}", room::no_room(.what, *.others, *.needed, *.slack, *.estimated, *.free, .folder))]
    NoRoom {
        /// The first archive.
        what: String,
        /// How many more there are.
        others: usize,
        /// Bytes, without those that stay free.
        needed: u64,
        slack: u64,
        /// It may be more.
        estimated: bool,
        free: u64,
        folder: PathBuf,
    },
    #[error("{file} is not what its maker published: {source}")]
    Verify {
        file: String,
        #[source]
        source: VerifyError,
    },
    /// Signed, perhaps, but another version.
    #[error(
        "what was given for {runtime} {wanted} is {told} by its own files: it is not installed; try another mirror"
    )]
    OtherVersion { runtime: Runtime, wanted: String, told: String },
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// No version is like this.
    #[error("there is no {runtime} {request}{}", hint(.near))]
    NoSuchVersion { runtime: Runtime, request: String, near: Option<String> },
    /// mise has no such tool either.
    #[error("there is no runtime {runtime}: neither omg nor mise knows it{}", meant(.runtime))]
    Unknown { runtime: Runtime },
    #[error("{runtime} {request} is not installed")]
    NotInstalled { runtime: Runtime, request: String },
    #[error("nothing is fetched for this kind of machine ({})", std::env::consts::ARCH)]
    Machine,
    #[error("the keys for {name} in {path} cannot be used: {reason}")]
    Keys { name: String, path: String, reason: String },
    #[error("{path}: {source}")]
    Io {
        path: String,
        #[source]
        source: io::Error,
    },
    /// mise has failed, in its own words.
    #[error("mise: {0}")]
    Mise(String),
    #[error("{0}")]
    Invalid(String),
    #[error("a worker thread ended early: {0}")]
    Worker(String),
    #[error("cancelled")]
    Cancelled,
}

fn meant(runtime: &Runtime) -> String {
    runtime.near().map(|near| format!("; did you mean {near}?")).unwrap_or_default()
}

fn hint(near: &Option<String>) -> String {
    near.as_ref().map(|near| format!("; the newest is {near}")).unwrap_or_default()
}

impl RuntimeError {
    /// Upstream has nothing of this version for this machine.
    pub fn is_not_offered(&self) -> bool {
        matches!(self, Self::Machine | Self::Source(SourceError::NotOffered { .. } | SourceError::NotHere { .. }))
    }

    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.display().to_string();
        |source| Self::Io { path, source }
    }
}
