//! Where each upstream has its releases, and how it vouches for them.

mod attestations;
pub mod bun;
mod common;
mod elf;
mod github;
pub mod go;
pub mod java;
pub mod node;
pub mod python;
pub mod ruby;
pub mod rust;
mod scripts;

use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use thiserror::Error;

use super::fetch::{Download, FetchError, Http};
use super::unpack::Format;
use super::verify::{Keyring, TrustedRoot, VerifyError};
use super::{Extras, Host, Libc, Native, Release, Request, Version};

/// The upstream of a runtime and the address where it is asked: the configured one, or its own.
pub fn of(native: Native, configured: Option<&str>, host: Option<Host>) -> (Arc<dyn Source>, String) {
    let (source, own): (Arc<dyn Source>, &str) = match native {
        Native::Node if host.is_some_and(|host| host.libc == Libc::Musl) => (Arc::new(node::Node), node::MUSL_BASE),
        Native::Node => (Arc::new(node::Node), node::DEFAULT_BASE),
        // Who serves one of Python's implementations from another place serves both from there.
        Native::Python => {
            (Arc::new(configured.map_or_else(python::Python::default, python::Python::at)), python::OFFICIAL)
        }
        Native::Go => (Arc::new(go::Go), go::DEFAULT_BASE),
        Native::Rust => (Arc::new(rust::Rust), rust::OFFICIAL),
        Native::Ruby => (Arc::new(ruby::Ruby::default()), ruby::OFFICIAL),
        Native::Java => (Arc::new(java::Java), java::DEFAULT_BASE),
        Native::Bun => (Arc::new(bun::Bun), bun::DEFAULT_BASE),
    };
    (source, configured.unwrap_or(own).trim_end_matches('/').to_owned())
}

/// An upstream of a runtime.
#[async_trait]
pub trait Source: Send + Sync + Debug {
    fn native(&self) -> Native;

    /// Everything that there is for the host, in any order.
    ///
    /// # Errors
    /// When the index cannot be fetched or read.
    async fn releases(&self, at: &At<'_>) -> Result<Vec<Release>, SourceError>;

    /// Whether there are releases that the index does not have, to be asked for by their names.
    fn has_unlisted(&self) -> bool {
        false
    }

    /// What is fetched for a release, and how each part is checked.
    ///
    /// # Errors
    /// As above; [`SourceError::Unverifiable`] when there is nothing to check a part by and the user has not said that this
    /// will do; [`SourceError::NotOffered`].
    async fn parts(&self, at: &At<'_>, release: &Release, extras: &Extras) -> Result<Vec<Part>, SourceError>;

    /// Puts right what was unpacked, before it is called installed: links such as `python` → `python3`.
    ///
    /// # Errors
    /// When it cannot be written.
    fn arrange(&self, _root: &Path, _version: &Version) -> io::Result<()> {
        Ok(())
    }

    /// Puts everything in its place that the parts were unpacked to: they say what else is to be written.
    ///
    /// # Errors
    /// When it cannot be written, or is not laid out as the upstream does it.
    fn assemble(&self, root: &Path, version: &Version, _parts: &[Part]) -> io::Result<()> {
        self.arrange(root, version)
    }

    /// The version that an installation is by its own files. A signature of an archive says who made it, and not which
    /// version it is: a mirror could give an older one.
    fn version_in(&self, _root: &Path) -> Told {
        Told::Nothing
    }

    /// What is to be fetched so that the installation in `root` has the extras too; nothing where it has them.
    ///
    /// # Errors
    /// As [`Source::parts`].
    fn additions(&self, _at: &At<'_>, _root: &Path, _extras: &Extras) -> Result<Vec<Part>, SourceError> {
        Ok(Vec::new())
    }

    /// Puts additions, which were unpacked below `from`, into the installation in `root`.
    ///
    /// # Errors
    /// As [`Source::assemble`].
    fn add(&self, _from: &Path, _root: &Path, _parts: &[Part]) -> io::Result<()> {
        Ok(())
    }
}

/// What an installation says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// It does not have to: its name is signed.
    Nothing,
    Version(String),
    /// It should have said.
    Missing(&'static str),
}

/// Where and how an upstream is asked.
#[derive(Debug, Clone, Copy)]
pub struct At<'a> {
    pub http: &'a Http,
    /// `http` or `https` address, without a slash at its end.
    pub base: &'a str,
    pub host: Host,
    /// Whose signatures count.
    pub keys: &'a Keyring,
    /// Who vouches for provenance.
    pub root: &'a TrustedRoot,
    /// The user takes what cannot be checked.
    pub unverified: bool,
    /// What is looked for: of an index of many pages, with the newest first, no more is read once it was found. `None`:
    /// everything is listed.
    pub wanted: Option<&'a Request>,
    /// An index that was fetched within this time is not asked for again.
    pub fresh: Duration,
}

/// An archive of a release.
#[derive(Debug, Clone)]
pub struct Part {
    pub download: Download,
    pub format: Format,
    pub place: Placing,
    /// How it is checked, besides the checksum of the download: nothing is unpacked before all of them hold.
    pub checks: Vec<Check>,
}

/// Where the entries of an archive go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placing {
    /// So many leading folders are left out.
    Strip(usize),
    /// A component of Rust, by its name: kept apart until [`Source::assemble`] puts it in place.
    Component { name: String, record: Arc<rust::installed::Record> },
}

impl Placing {
    /// Where an entry goes, from its path in the archive to the one below the installation; `None`: it is left out.
    pub fn of(&self, entry: &Path) -> Option<PathBuf> {
        match self {
            Self::Strip(folders) => {
                let rest: PathBuf = entry.components().skip(*folders).collect();
                (!rest.as_os_str().is_empty()).then_some(rest)
            }
            Self::Component { name, .. } => rust::layout::staged(name, entry),
        }
    }
}

/// How an archive is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// A checksum, in a listing that is said here.
    Checksum { listed_in: String },
    /// The listing that the checksum is from has a signature that holds.
    SignedListing { listing: String, fingerprint: String, owner: String },
    /// Its provenance, from the address that is said here: a workflow that has built it, and from which commit.
    Provenance { from: String, workflow: String, commit: Option<String> },
    /// By a signature of the archive itself, which is still to be checked against the keys.
    Detached { signature: Vec<u8>, from: String },
    /// Not at all, as the user wants it.
    Unverified { reason: String },
}

/// Why an upstream has not told what was asked.
#[derive(Debug, Error)]
pub enum SourceError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// What is published about it speaks against it.
    #[error("{what} is not to be trusted: {reason}")]
    Untrusted { what: String, reason: String },
    /// The upstream's answer is not of the shape that it publishes.
    #[error("{url} is not readable: {reason}")]
    Unreadable { url: String, reason: String },
    #[error("{runtime} {version} is not offered for {host}")]
    NotOffered { runtime: Native, version: String, host: Host },
    /// For such machines, but not for this one.
    #[error("{runtime} {version} does not run on this system: {reason}")]
    NotHere { runtime: Native, version: String, reason: String },
    /// What every release has is missing of this one.
    #[error("{what} is not there: the server has neither {signed} nor {plain}; try another mirror, or another version")]
    Absent { what: String, signed: String, plain: String },
    #[error("{what} cannot be verified: {reason}; --allow-unverified installs it all the same")]
    Unverifiable { what: String, reason: String },
    /// Of what is wanted besides the version.
    #[error("{0}")]
    NoSuchExtra(String),
}
