//! The daemon's state and everything it can answer, without a word about D-Bus.
//!
//! Every question is answered from a snapshot that is fresh at the time of asking: [`Engine::ask`] compares the
//! fingerprint first and waits for a rebuild where it moved. Questions run on the blocking pool, one hop each; a rebuild
//! is awaited, so that a slow or hanging helper never fills that pool. Only [`Engine::remembered`] answers without the
//! hop, which takes longer than the comparison: what is cached, where the comparison asks local disks alone.

mod answers;
mod aur;
mod builds;
mod copy;
mod downloads;
mod error;
mod facts;
mod helper;
mod loaded;
mod metrics;
mod paths;
mod plan;
mod problems;
mod rebuild;
mod report;
mod runtimes;
mod watch;
mod worker;

pub use crate::aur::{Listener, Stage};
pub use crate::runtime::{Listener as InstallListener, Stage as InstallStage};
pub use answers::{DetailsAnswer, PackageId, Selected};
pub use error::EngineError;
pub use facts::LockHolder;
pub use loaded::Loaded;
pub use metrics::{Latency, Metrics};
pub use report::{AheadReport, LastKnown, MetricsReport, PackagesReport, StatusReport, StoreUnavailable};
pub use runtimes::{AvailableRow, InstalledRow, RuntimeHow, RuntimeOrder, RuntimeRow};

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::broadcast;

use self::problems::{Problems, Subject};
use crate::config::RuntimeSettings;
use crate::index::{Inputs, Meta};
use crate::package::Counts;
use crate::runtime::{Resolver as RuntimeResolver, Runtimes};
use crate::store::Store;

/// What the engine needs to know, validated.
#[derive(Debug, Clone)]
pub struct Options {
    /// Holds `cache.redb`, `index/` and `versions/`.
    pub data_dir: PathBuf,
    pub status_file: PathBuf,
    pub inputs: Inputs,
    /// The `omg-helper` program; `None` when it was not found.
    pub helper: Option<PathBuf>,
    /// How the AUR is asked; `None` where it is not.
    pub aur: Option<AurOptions>,
    /// A helper that has not finished by then is killed.
    pub helper_timeout: Duration,
    pub cache: CacheLimits,
    /// Whether signals reach anybody: a daemon that serves one command, or none, must not take changes for announced.
    pub announces: bool,
    /// How often the worker compares the fingerprint without being woken.
    pub worker_interval: Duration,
    /// Age in seconds beyond which readers are to call the status file stale.
    pub status_max_age: u32,
    pub runtimes: RuntimeSettings,
    /// Where what can be fetched again is kept.
    pub cache_dir: PathBuf,
}

/// How the AUR is asked. Its snapshot is where [`Inputs::aur`] says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AurOptions {
    /// `http` or `https` address.
    pub url: String,
    /// Where its archive is kept.
    pub archive: PathBuf,
    /// Where the keys of sources are fetched from; `None` for the usual one.
    pub keyserver: Option<String>,
    /// Upgrades are also those to the newest commits of the repositories that packages are built from.
    pub devel: bool,
}

/// Bounds of the cached answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheLimits {
    pub searches: u32,
    pub search_bytes: u64,
    pub details: u32,
    pub details_bytes: u64,
}

/// That there is another snapshot, and what differs. Sent once per change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// Whether other packages or versions are installed.
    pub installed: bool,
    /// Whether other upgrades are available.
    pub updates: bool,
    pub now: Announced,
}

/// What clients are told of a snapshot without asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announced {
    pub generation: u64,
    pub counts: Counts,
    /// Unix time in seconds; 0 when the lists were never fetched.
    pub last_refresh: u64,
    /// Of the installed packages and of the available upgrades.
    digests: (u64, u64),
}

/// The daemon's state. Share it in an [`Arc`].
#[derive(Debug)]
pub struct Engine {
    options: Options,
    started: Instant,
    current: Mutex<Option<Arc<Loaded>>>,
    /// One rebuild at a time; holds how the last one failed.
    rebuilding: tokio::sync::Mutex<Option<rebuild::Failure>>,
    /// Turns at the resolver.
    resolvers: tokio::sync::Semaphore,
    store: Store,
    aur: Option<aur::Aur>,
    runtimes: Runtimes,
    runtime_resolver: Arc<RuntimeResolver>,
    /// Runtimes whose installed or current versions have changed.
    runtime_changes: broadcast::Sender<Vec<String>>,
    /// What was installed and current when it was last looked at.
    runtimes_seen: Mutex<Option<runtimes::Seen>>,
    changes: broadcast::Sender<Change>,
    /// Woken when another snapshot becomes the current one.
    adopted: tokio::sync::Notify,
    /// What clients of this process were last told of.
    announced: Mutex<Option<Announced>>,
    pub metrics: Metrics,
    searchers: Mutex<Vec<crate::index::Searcher>>,
    problems: Mutex<Problems>,
    downloads: Mutex<Arc<downloads::Downloads>>,
}

impl Announced {
    fn of(meta: &Meta) -> Self {
        Self {
            generation: meta.generation,
            counts: meta.counts,
            last_refresh: meta.last_refresh,
            digests: (meta.installed_digest, meta.updates_digest),
        }
    }
}

impl Engine {
    /// An engine that has read nothing yet.
    pub fn new(options: Options) -> Arc<Self> {
        let store = Store::new(&options.data_dir);
        let aur = options.aur.as_ref().map(aur::Aur::new);
        let runtimes = Runtimes::new(&options.data_dir, &options.cache_dir, options.runtimes.clone());
        Arc::new(Self {
            options,
            started: Instant::now(),
            current: Mutex::new(None),
            rebuilding: tokio::sync::Mutex::new(None),
            resolvers: tokio::sync::Semaphore::new(plan::RESOLVERS),
            store,
            aur,
            runtime_resolver: Arc::new(RuntimeResolver::new(runtimes.layout().clone())),
            runtimes,
            runtime_changes: broadcast::channel(16).0,
            runtimes_seen: Mutex::default(),
            changes: broadcast::channel(64).0,
            adopted: tokio::sync::Notify::new(),
            announced: Mutex::new(None),
            metrics: Metrics::default(),
            searchers: Mutex::new(Vec::new()),
            problems: Mutex::default(),
            downloads: Mutex::default(),
        })
    }

    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Changes from now on.
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    /// Runs `question` on a fresh snapshot, off the runtime's threads. One that turns out to be damaged is replaced and
    /// the question asked again.
    ///
    /// # Errors
    /// Those of `question`, and those of a rebuild where one is needed.
    pub async fn ask<T, F>(self: &Arc<Self>, question: F) -> Result<T, EngineError>
    where
        T: Send + 'static,
        F: Fn(&Engine, &Loaded) -> Result<T, EngineError> + Send + Sync + 'static,
    {
        let question = Arc::new(question);
        let (engine, first) = (Arc::clone(self), Arc::clone(&question));
        let answer = blocking(move || {
            let loaded = engine.fresh()?;
            let answer = first(&engine, &loaded);
            engine.unless_damaged(&loaded, answer)
        })
        .await?;
        if let Some(answer) = answer {
            return answer;
        }
        // The one on disk, which may be damaged where it is only read now.
        let loaded = self.rebuilt().await?;
        let (engine, second) = (Arc::clone(self), Arc::clone(&question));
        let answer = blocking(move || {
            let answer = second(&engine, &loaded);
            engine.unless_damaged(&loaded, answer)
        })
        .await?;
        if let Some(answer) = answer {
            return answer;
        }
        let loaded = self.rebuilt().await?;
        let engine = Arc::clone(self);
        blocking(move || question(&engine, &loaded)).await?
    }

    /// What `lookup` finds in the cached answers of a fresh snapshot. `None` also where telling whether it is fresh could
    /// take long: then [`Engine::ask`] does.
    fn remembered<T>(&self, lookup: impl FnOnce(&Loaded) -> Option<T>) -> Option<T> {
        let loaded = lock(&self.current).clone()?;
        let answer = lookup(&loaded)?;
        self.metrics.fingerprint_checks.fetch_add(1, Ordering::Relaxed);
        loaded.is_fresh_at_once().then_some(answer)
    }

    /// Runs `question` off the runtime's threads, without a snapshot.
    ///
    /// # Errors
    /// When the thread that runs it ends early.
    pub async fn look<T: Send + 'static>(
        self: &Arc<Self>,
        question: impl FnOnce(&Engine) -> T + Send + 'static,
    ) -> Result<T, EngineError> {
        let engine = Arc::clone(self);
        blocking(move || question(&engine)).await
    }

    /// The current snapshot, if it still describes its sources.
    fn fresh(&self) -> Option<Arc<Loaded>> {
        self.metrics.fingerprint_checks.fetch_add(1, Ordering::Relaxed);
        let loaded = lock(&self.current).clone()?;
        loaded.is_fresh().then_some(loaded)
    }

    /// Forgets a damaged snapshot, so that the question is asked again on a new one.
    fn unless_damaged<T>(
        &self,
        loaded: &Arc<Loaded>,
        answer: Result<T, EngineError>,
    ) -> Option<Result<T, EngineError>> {
        let Err(EngineError::DamagedSnapshot(why)) = &answer else { return Some(answer) };
        self.report_problem(Subject::Index, format!("the index was damaged and is built anew: {why}"));
        let mut current = lock(&self.current);
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, loaded)) {
            *current = None;
            // The damaged file would only be opened again. Where it cannot be removed, the rebuild replaces it.
            let _ = std::fs::remove_file(self.snapshot_path());
            // It may be the AUR's: which of the two it is makes no difference to who asks.
            if let Some(aur) = &self.options.inputs.aur {
                let _ = std::fs::remove_file(aur);
            }
        }
        None
    }

    /// Notes a problem that users should hear of: it is part of the status until its subject is in order again.
    fn report_problem(&self, subject: Subject, problem: String) {
        tracing::warn!("{problem}");
        lock(&self.problems).report(subject, problem);
    }

    fn in_order(&self, subject: Subject) {
        lock(&self.problems).in_order(subject);
    }

    /// Drops every cached answer.
    pub fn clear_caches(&self) {
        if let Some(loaded) = lock(&self.current).as_ref() {
            loaded.clear();
        }
        if let Some(aur) = &self.aur {
            aur.forget();
        }
    }

    /// Gives back what is only worth holding while questions come.
    pub fn rest(&self) {
        if let Some(loaded) = lock(&self.current).as_ref() {
            loaded.release_memory();
        }
        lock(&self.searchers).clear();
        if let Some(aur) = &self.aur {
            aur.rest();
        }
    }

    fn snapshot_path(&self) -> PathBuf {
        self.options.data_dir.join("index").join(self.options.inputs.file_name())
    }
}

/// Runs `work` on the blocking pool.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, EngineError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| EngineError::Internal(format!("a worker thread ended early: {error}")))
}

/// A lock whose holder panicked still guards data that is whole: every critical section here is a plain assignment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Seconds since 1970.
fn unix_now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
