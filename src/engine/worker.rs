//! The refresh worker: keeps snapshot and status file up to date before anybody asks.
//!
//! It runs at the start, after changes in the sources' folders, and at an interval. Every run compares the fingerprint;
//! only one that moved leads to more.

use std::future::pending;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::watch::Watch;
use super::{Engine, EngineError, blocking, lock, unix_now};

/// A change is acted on once no other has followed for so long: package managers change many files in a row.
const QUIET: Duration = Duration::from_millis(300);

/// How often to look whether a package manager has finished, and the longest to wait for one.
const LOCK_POLL: Duration = Duration::from_secs(1);
const LONGEST_LOCK: Duration = Duration::from_secs(120);

/// Without packages there is nothing to watch; they are tried again after so long.
const AFTER_FAILURE: Duration = Duration::from_secs(30);

/// Runtimes are switched by one rename: there is not much to wait for.
const PAUSE_OF_RUNTIMES: Duration = Duration::from_millis(30);

/// A change is acted on after so long at the latest.
const LONGEST_DELAY: Duration = Duration::from_secs(3);

impl Engine {
    /// Runs until it is dropped. `metered` tells whether what is fetched costs by the byte.
    pub async fn work<F: Future<Output = bool>>(self: Arc<Self>, metered: impl Fn() -> F) {
        tokio::join!(self.keep_index(), self.keep_aur(metered), self.keep_runtimes());
    }

    async fn keep_index(self: &Arc<Self>) {
        let mut watch = Watch::new()
            .inspect_err(|error| tracing::warn!("changes are found by comparing only: inotify: {error}"))
            .ok();
        loop {
            // Watches first, comparison after: what changes in between is seen by one or the other.
            self.watch_sources(watch.as_mut());
            let interval = if self.run_once().await {
                self.options.worker_interval
            } else {
                self.options.worker_interval.min(AFTER_FAILURE)
            };
            tokio::select! {
                () = sleep(interval) => {}
                // Another snapshot may have other sources.
                () = self.adopted.notified() => {}
                () = changed(watch.as_ref()) => {
                    settle(watch.as_ref()).await;
                    self.package_manager_done().await;
                }
            }
        }
    }

    /// Tells of runtimes that are installed, removed or switched, by whomever.
    async fn keep_runtimes(self: &Arc<Self>) {
        let Ok(mut watch) = Watch::new() else { return };
        let versions = self.options.data_dir.join("versions");
        // Where nothing was ever installed, the folder to come is seen from the one above.
        let wanted = || -> Vec<PathBuf> {
            let runtimes = self.runtimes.layout().runtimes().unwrap_or_default();
            let folders = runtimes.iter().map(|runtime| versions.join(runtime.as_str()));
            folders.chain(versions.ancestors().find(|folder| folder.is_dir()).map(Path::to_owned)).collect()
        };
        loop {
            let mut folders = wanted();
            loop {
                for (folder, error) in watch.set(folders.clone()) {
                    tracing::debug!("cannot watch {}: {error}", folder.display());
                }
                // What came to be before its watch did would never be told.
                let now = wanted();
                if std::mem::replace(&mut folders, now.clone()) == now {
                    break;
                }
            }
            // Watches first, comparison after, as for packages.
            self.runtimes_changed();
            changed(Some(&watch)).await;
            // What comes meanwhile is taken together: whoever switches should not share the processor with who looks on.
            sleep(PAUSE_OF_RUNTIMES).await;
            while timeout_at(Instant::now(), changed(Some(&watch))).await.is_ok() {}
        }
    }

    /// One run: compares the fingerprint, rebuilds where it moved, and brings the status file up to date. Says whether
    /// packages could be read.
    pub async fn run_once(self: &Arc<Self>) -> bool {
        let refreshed = self.refresh().await;
        // Counted when it is over: the other counters have what it did by then.
        self.metrics.last_worker_run.store(unix_now(), Ordering::Relaxed);
        self.metrics.worker_runs.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = &refreshed {
            tracing::warn!("packages cannot be read: {error}");
        }
        refreshed.is_ok()
    }

    /// Compares the fingerprint, rebuilds where it moved, and brings the status file up to date.
    ///
    /// # Errors
    /// Why packages cannot be read; the status file says so too.
    pub async fn refresh(self: &Arc<Self>) -> Result<(), EngineError> {
        let refreshed = self
            .ask(|engine, loaded| {
                engine.write_status(Ok(loaded), unix_now());
                Ok(())
            })
            .await;
        if let Err(error) = &refreshed {
            let engine = Arc::clone(self);
            let unavailable = matches!(error, EngineError::BackendUnavailable(_));
            let _ = blocking(move || engine.write_failed_status(unavailable)).await;
        }
        refreshed
    }

    /// Waits while a package manager works: everything it has done so far would be read again when it has done more.
    /// Whoever asks meanwhile does not wait for this.
    async fn package_manager_done(self: &Arc<Self>) {
        let latest = Instant::now() + LONGEST_LOCK;
        while Instant::now() < latest && self.look(|engine| engine.lock_holder().is_some()).await.unwrap_or(false) {
            sleep(LOCK_POLL).await;
        }
    }

    fn watch_sources(&self, watch: Option<&mut Watch>) {
        let folders = lock(&self.current).as_ref().map(|loaded| loaded.source_folders());
        if let (Some(watch), Some(folders)) = (watch, folders) {
            for (folder, error) in watch.set(folders) {
                tracing::debug!("cannot watch {}: {error}", folder.display());
            }
        }
    }
}

async fn changed(watch: Option<&Watch>) {
    let failed = match watch {
        Some(watch) => watch.changed().await,
        None => pending().await,
    };
    if let Err(error) = failed {
        tracing::warn!("inotify: {error}");
        pending::<()>().await;
    }
}

/// Waits until the changes pause.
async fn settle(watch: Option<&Watch>) {
    let latest = Instant::now() + LONGEST_DELAY;
    while timeout_at(latest.min(Instant::now() + QUIET), changed(watch)).await.is_ok() {
        if Instant::now() >= latest {
            break;
        }
    }
}
