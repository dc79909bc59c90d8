//! Fetching over HTTP: indexes, with validators, and archives, resumed and retried.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

/// How fetching is done.
#[derive(Debug, Clone)]
pub struct Options {
    /// Nothing is asked of any server.
    pub offline: bool,
    /// Holds `indexes/` and `downloads/`.
    pub cache: PathBuf,
    /// Most bytes of downloads that are kept.
    pub cache_bytes: u64,
}

#[derive(Debug)]
pub struct Http {
    #[expect(dead_code)]
    options: Options,
}

#[derive(Debug, Clone)]
pub struct Download {
    pub url: String,
    /// Name of the file, for messages and in the cache.
    pub name: String,
    /// Bytes, as far as an index tells.
    pub size: Option<u64>,
    pub sha256: Option<[u8; 32]>,
}

#[derive(Debug)]
pub struct Downloaded {
    pub path: PathBuf,
    pub file: File,
    pub size: u64,
    pub sha256: [u8; 32],
}

/// Who hears how far a download is.
pub trait Progress: Send + Sync {
    fn bytes(&self, done: u64, total: Option<u64>);
    fn note(&self, text: &str);
}

#[derive(Debug, Error)]
pub enum FetchError {
    #[error("{0} is not fetched: omg is offline")]
    Offline(String),
    #[error("{0} is not there")]
    NotFound(String),
}

impl Http {
    pub fn new(options: Options) -> Self {
        Self { options }
    }

    /// # Errors
    /// Any [`FetchError`].
    pub async fn small(&self, url: &str, _most: u64) -> Result<Vec<u8>, FetchError> {
        Err(FetchError::Offline(url.to_owned()))
    }

    /// # Errors
    /// Any [`FetchError`].
    pub async fn index(&self, url: &str, _most: u64, _fresh: Duration) -> Result<Vec<u8>, FetchError> {
        Err(FetchError::Offline(url.to_owned()))
    }

    /// # Errors
    /// Any [`FetchError`].
    pub async fn download(&self, wanted: &Download, _progress: &dyn Progress) -> Result<Downloaded, FetchError> {
        Err(FetchError::Offline(wanted.url.clone()))
    }
}
