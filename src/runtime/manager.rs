//! What can be done with a runtime, whoever manages it.

use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;

use super::{Extras, Release, Request, Runtime, RuntimeError, Version};

/// Whether the network is asked what there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asking {
    /// Never: what was found out before.
    Cached,
    /// Where nothing was found out within the last hour.
    Usual,
    /// Now.
    Fresh,
}

/// What is to be installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub request: Request,
    pub extras: Extras,
    /// The user takes what cannot be checked.
    pub unverified: bool,
    /// The best version that there is, though one that is installed would do.
    pub newest: bool,
}

/// A version that is installed now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    pub version: Version,
    pub folder: PathBuf,
    /// Something was installed for it.
    pub is_new: bool,
    /// Something of it could not be checked, and was taken all the same.
    pub unverified: Vec<String>,
}

/// Where an installation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Finding out which version it is.
    Resolving,
    /// Another process does it: this one waits for it.
    Waiting,
    Fetching,
    Verifying,
    Unpacking,
}

/// Who hears how an installation goes on.
pub trait Listener: Send + Sync {
    fn stage(&self, runtime: &Runtime, stage: Stage);

    /// Of one archive.
    fn bytes(&self, name: &str, done: u64, total: Option<u64>);

    /// Something to know, for people.
    fn note(&self, text: &str);
}

/// What can be done with a runtime, whoever manages it. Which versions are installed and which one is the current one is the
/// same for all: [`super::Layout`].
#[async_trait]
pub trait RuntimeManager: Send + Sync + Debug {
    fn runtime(&self) -> &Runtime;

    /// The versions that can be installed, the lowest first.
    ///
    /// # Errors
    /// When the upstream cannot be asked, and was never asked before.
    async fn available(&self, asking: Asking) -> Result<Vec<Release>, RuntimeError>;

    /// Makes sure that a version is installed that is as wanted: nothing is done where one is. After it has failed, or was
    /// dropped, everything is as before.
    ///
    /// # Errors
    /// When there is no such version, or it cannot be fetched, is not what its maker published, or cannot be laid out.
    async fn install(&self, wanted: &Wanted, listener: Arc<dyn Listener>) -> Result<Installed, RuntimeError>;

    /// Removes a version; the current one only with `force`.
    ///
    /// # Errors
    /// When it is not installed, is the current one, or cannot be removed.
    async fn uninstall(&self, version: &Version, force: bool) -> Result<(), RuntimeError>;
}
