//! Fetching over HTTP: indexes, with validators, and archives, resumed and retried.
//!
//! Below [`Options::cache`], in folders of the user's alone:
//!
//! - `indexes/<SHA-256 of the address>`: the last answer, its validators in front (`cached`); no more of them than
//!   [`Options::index_bytes`], and none that nobody used for a season (`keep`)
//! - `downloads/<SHA-256 of the address>-<name>`: a whole download, with `.part` one that is not, with `.about` what the
//!   server told of it (`part`); no more of them than [`Options::cache_bytes`] (`keep`)
//!
//! Nothing that a server says becomes part of a path.

mod ask;
mod cached;
mod download;
mod error;
mod keep;
mod part;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, NoProxy, Proxy};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

pub use error::FetchError;

use ask::{Answer, Validators};
use cached::Cached;

const REDIRECTS: usize = 5;

/// Downloads that run at once.
const AT_ONCE: usize = 4;

/// Notes that wait for somebody to ask for them.
const MOST_NOTES: usize = 8;

/// How fetching is done.
#[derive(Debug, Clone)]
pub struct Options {
    /// Nothing is asked of any server.
    pub offline: bool,
    /// In place of the environment's; its `no_proxy` still counts.
    pub proxy: Option<String>,
    /// Holds `indexes/` and `downloads/`.
    pub cache: PathBuf,
    /// Most bytes of downloads that are kept.
    pub cache_bytes: u64,
    /// Most bytes of indexes that are kept, besides those in use.
    pub index_bytes: u64,
}

/// How long is waited for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Until a connection is there.
    pub connect: Duration,
    /// A server that sends nothing for so long has stopped.
    pub stalled: Duration,
    /// For the whole answer to [`Http::small`] and [`Http::index`].
    pub answer: Duration,
    /// Before the second try; doubled before each one after it, and shortened by up to a half at random.
    pub backoff: Duration,
    /// The most that a server may ask for with `Retry-After`.
    pub retry_after: Duration,
    pub tries: u32,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            stalled: Duration::from_secs(30),
            answer: Duration::from_secs(300),
            backoff: Duration::from_millis(500),
            retry_after: Duration::from_secs(30),
            tries: 4,
        }
    }
}

/// Fetches; cheap to make, and nothing is set up before the first question.
#[derive(Debug)]
pub struct Http {
    options: Options,
    patience: Patience,
    client: Mutex<Option<Client>>,
    downloads: Semaphore,
    /// Why kept answers are used though they are old.
    stale: Mutex<Vec<String>>,
}

#[derive(Debug, Clone)]
pub struct Download {
    /// An `http` or `https` address.
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
    /// At its beginning. It stays readable when the cache lets go of `path`.
    pub file: File,
    pub size: u64,
    pub sha256: [u8; 32],
}

/// Who hears how far a download is.
pub trait Progress: Send + Sync {
    /// Told at the beginning, about every 100 ms or MiB, and at the end; less than before when it begins anew.
    fn bytes(&self, done: u64, total: Option<u64>);
    /// Why it takes longer: a line, escaped.
    fn note(&self, text: &str);
}

impl Http {
    pub fn new(options: Options) -> Self {
        Self::with_patience(options, Patience::default())
    }

    pub fn with_patience(options: Options, patience: Patience) -> Self {
        Self {
            options,
            patience,
            client: Mutex::new(None),
            downloads: Semaphore::new(AT_ONCE),
            stale: Mutex::default(),
        }
    }

    pub fn is_offline(&self) -> bool {
        self.options.offline
    }

    /// Where what was fetched is kept.
    pub(super) fn cache(&self) -> &Path {
        &self.options.cache
    }

    /// How many bytes of a download are still to come, as far as its size is known. What is here may turn out not to be
    /// it.
    pub(super) fn missing(&self, wanted: &Download) -> u64 {
        let place = part::Place::of(&self.options.cache, wanted);
        let here = |path: &Path| std::fs::symlink_metadata(path).map_or(0, |found| found.len());
        wanted.size.unwrap_or(0).saturating_sub(here(&place.whole).max(here(&place.part)))
    }

    /// What users of indexes should know, a line each, since this was last asked.
    pub fn notes(&self) -> Vec<String> {
        std::mem::take(&mut *self.stale.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Closes what is open and frees its memory.
    pub fn rest(&self) {
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// A body of at most `most` bytes, such as a list of checksums or a signature. 404 and 410 are
    /// [`FetchError::NotFound`].
    ///
    /// # Errors
    /// Any [`FetchError`], after some tries where another one can help.
    pub async fn small(&self, url: &str, most: u64) -> Result<Vec<u8>, FetchError> {
        if self.options.offline {
            return Err(FetchError::Offline(error::shown(url)));
        }
        match self.ask(url, most, &Validators::default(), self.patience.tries).await? {
            Answer::New(body, _) => Ok(body),
            // Nothing was told that it could be the same as.
            Answer::Same => Err(FetchError::Status { url: error::shown(url), status: 304 }),
        }
    }

    /// A body of at most `most` bytes that changes at times. It is kept, and within `fresh` not asked for again. When the
    /// server fails or omg is offline, the kept one is given, however old.
    ///
    /// # Errors
    /// Any [`FetchError`] when nothing is kept; [`FetchError::NotFound`] always.
    pub async fn index(&self, url: &str, most: u64, fresh: Duration) -> Result<Vec<u8>, FetchError> {
        let path = self.index_path(url);
        let kept = {
            let (path, url) = (path.clone(), url.to_owned());
            blocking(move || Cached::read(&path, &url, most)).await
        };
        if let Some(kept) = &kept
            && (self.options.offline || kept.age.is_some_and(|age| age <= fresh))
        {
            return Ok(kept.body.clone());
        }
        if self.options.offline {
            return Err(FetchError::Offline(error::shown(url)));
        }
        // Nobody waits long for what is there already.
        let tries = if kept.is_some() { self.patience.tries.min(2) } else { self.patience.tries };
        let known = kept.as_ref().map(|kept| kept.validators.clone()).unwrap_or_default();
        match (self.ask(url, most, &known, tries).await, kept) {
            (Ok(Answer::Same), Some(kept)) => {
                blocking(move || cached::touch(&path)).await;
                Ok(kept.body)
            }
            (Ok(Answer::Same), None) => Err(FetchError::Status { url: error::shown(url), status: 304 }),
            (Ok(Answer::New(body, validators)), _) => Ok(self.keep(path, url, body, validators).await),
            (Err(error @ FetchError::NotFound(_)), _) | (Err(error), None) => Err(error),
            (Err(error), Some(kept)) => {
                self.note_stale(&error);
                Ok(kept.body)
            }
        }
    }

    /// That something older is used than what the server would have, and why.
    pub(super) fn note_stale(&self, error: &FetchError) {
        tracing::warn!("the last answer is used, since {error}");
        let mut stale = self.stale.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody may be there to ask for them.
        if stale.len() < MOST_NOTES {
            stale.push(format!("the last answer is used, since {error}"));
        }
    }

    fn index_path(&self, url: &str) -> PathBuf {
        self.options.cache.join("indexes").join(hex::encode(Sha256::digest(url)))
    }

    /// Puts an answer among the indexes, and removes others where that is needed; the answer.
    async fn keep(&self, path: PathBuf, name: &str, body: Vec<u8>, validators: Validators) -> Vec<u8> {
        let cached = Cached { body, validators, age: None };
        let (owned, most) = (name.to_owned(), self.options.index_bytes);
        let (body, written) = blocking(move || {
            let written = cached.write(&path, &owned).and_then(|()| keep::bound_indexes(&path, most));
            (cached.body, written)
        })
        .await;
        if let Err(error) = written {
            tracing::warn!("the answer of {} is not kept: {error}", error::shown(name));
        }
        body
    }

    /// What was put among the indexes under this name, which is no address; `None` where it is not there any more.
    pub(super) async fn noted(&self, name: &str, most: u64) -> Option<Vec<u8>> {
        let (path, name) = (self.index_path(name), name.to_owned());
        blocking(move || Cached::read(&path, &name, most)).await.map(|kept| kept.body)
    }

    /// Puts what was made of answers among the indexes.
    pub(super) async fn take_note(&self, name: &str, body: Vec<u8>) {
        self.keep(self.index_path(name), name, body, Validators::default()).await;
    }

    /// Fetches a file into the cache, or takes the one that is there. What has come already is kept for the next try, in
    /// this call or a later one, of this process or another. Of two calls for the same address one waits for the other.
    /// Dropping the future ends it.
    ///
    /// # Errors
    /// Any [`FetchError`], after some tries where another one can help.
    pub async fn download(&self, wanted: &Download, progress: &dyn Progress) -> Result<Downloaded, FetchError> {
        // It is never closed.
        let _turn = self.downloads.acquire().await;
        download::run(self, wanted, progress).await
    }

    /// Proxies are those of the environment (`https_proxy`, `http_proxy`, `all_proxy`, `no_proxy`) unless one is configured.
    fn client(&self) -> Result<Client, reqwest::Error> {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &*client {
            return Ok(client.clone());
        }
        // Another part of this process may have chosen one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder();
        if let Some(proxy) = &self.options.proxy {
            builder = builder.proxy(Proxy::all(proxy)?.no_proxy(NoProxy::from_env()));
        }
        let built = builder
            .user_agent(concat!("omg/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(self.patience.connect)
            .read_timeout(self.patience.stalled)
            .redirect(Policy::custom(follow))
            .pool_max_idle_per_host(AT_ONCE)
            .pool_idle_timeout(self.patience.stalled)
            .build()?;
        Ok(client.insert(built).clone())
    }
}

/// A few, and never from an encrypted address to one that is not.
fn follow(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let was_encrypted = attempt.previous().last().is_some_and(|url| url.scheme() == "https");
    if was_encrypted && attempt.url().scheme() != "https" {
        return attempt.error("it leads to an address without encryption");
    }
    if attempt.previous().len() > REDIRECTS {
        return attempt.error("it leads from one address to the next");
    }
    attempt.follow()
}

/// Runs what waits for the disk where it holds up nothing else.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only a runtime that is being shut down refuses, and then nothing waits for this future any more.
            Err(_) => std::future::pending().await,
        },
    }
}

/// A folder that others cannot look into.
fn make_folder(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}
