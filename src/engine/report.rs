//! The status: what `Status`, the properties and the status file say.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Announced, Change, Engine, EngineError, Loaded, LockHolder, Subject, facts, lock, unix_now};
use crate::package::Counts;
use crate::status::{self, Runtime, Status, StatusFlags};
pub use crate::store::Unavailable as StoreUnavailable;

/// Package lists that were fetched longer ago, in seconds, are called stale.
const LISTS_STALE_AFTER: u64 = 7 * 24 * 3600;

/// A status file is written again after so many seconds even when nothing changed, so that it does not look abandoned.
const STATUS_REFRESH: u64 = 3600;

/// Everything about the state of packages and daemon.
#[derive(Debug, Clone)]
pub struct StatusReport {
    pub backend: String,
    pub packages: PackagesReport,
    pub runtimes: Vec<(String, String)>,
    pub restart_required: bool,
    pub restart_packages: Vec<String>,
    pub lock_holder: Option<LockHolder>,
    pub errors: Vec<String>,
    pub data_dir: PathBuf,
    /// Why the database cannot be used; `None` when it can.
    pub store: Option<StoreUnavailable>,
    /// Seconds.
    pub uptime: u64,
}

/// The packages, as far as they are known.
#[derive(Debug, Clone)]
pub enum PackagesReport {
    Read {
        generation: u64,
        counts: Counts,
        /// Unix time in seconds; 0 when the lists were never fetched.
        last_refresh: u64,
        /// Unix time in seconds.
        snapshot_created: u64,
        snapshot_bytes: u64,
        /// The AUR's packages, where they are known: how many, and when they were fetched (Unix time in seconds).
        aur: Option<(u32, u64)>,
        /// The user's own copy of the package lists, where it is newer: then `counts` has the upgrades by it.
        ahead: Option<AheadReport>,
    },
    /// They cannot be read now; what was known of them when they last could, if that is remembered.
    Unreadable { last_known: Option<LastKnown> },
}

/// What a newer copy of the package lists changes about the upgrades.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AheadReport {
    /// When it was fetched, Unix time in seconds.
    pub refreshed: u64,
    /// Upgrades by the package system's own lists.
    pub planned: u32,
}

/// What packages were when they were last read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastKnown {
    /// Unix time in seconds.
    pub time: u64,
    pub generation: u64,
    pub installed: u32,
    pub explicit: u32,
    pub upgradable: u32,
    pub security: u32,
    pub orphans: u32,
}

/// What the daemon counted, and what it holds.
#[derive(Debug, Clone, Copy, Default)]
pub struct MetricsReport {
    /// Of searches and listings.
    pub search_hits: u64,
    pub search_misses: u64,
    pub details_hits: u64,
    pub details_misses: u64,
    pub cached_searches: u64,
    pub cached_details: u64,
    pub snapshot_bytes: u64,
    pub resident_bytes: u64,
    pub last_rebuild_millis: u64,
    pub rebuilds: u64,
    pub fingerprint_checks: u64,
    pub worker_runs: u64,
    /// Archives of the AUR that were fetched, and requests to its RPC.
    pub aur_archives: u64,
    pub aur_requests: u64,
    /// Unix time in seconds; 0 when it never ran.
    pub last_worker_run: u64,
}

impl Engine {
    /// The counters.
    pub fn metrics_report(&self) -> MetricsReport {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (cached_searches, cached_details) = self.cached();
        let metrics = &self.metrics;
        MetricsReport {
            search_hits: read(&metrics.search_hits),
            search_misses: read(&metrics.search_misses),
            details_hits: read(&metrics.details_hits),
            details_misses: read(&metrics.details_misses),
            cached_searches,
            cached_details,
            snapshot_bytes: lock(&self.current).as_ref().map_or(0, |loaded| loaded.snapshot.file_len()),
            resident_bytes: facts::resident_bytes(),
            last_rebuild_millis: read(&metrics.last_rebuild_millis),
            rebuilds: read(&metrics.rebuilds),
            fingerprint_checks: read(&metrics.fingerprint_checks),
            worker_runs: read(&metrics.worker_runs),
            aur_archives: read(&metrics.aur_archives),
            aur_requests: read(&metrics.aur_requests),
            last_worker_run: read(&metrics.last_worker_run),
        }
    }

    /// The state of packages and daemon; with the reason where packages cannot be read.
    pub fn status(&self, loaded: Result<&Loaded, &EngineError>) -> StatusReport {
        let (restart_required, restart_packages) = self.restart_required();
        let mut errors = lock(&self.problems).texts();
        let packages = match loaded {
            Ok(loaded) => {
                let meta = loaded.snapshot.meta();
                errors.extend(meta.warnings.iter().cloned());
                errors.extend(loaded.aur.iter().flat_map(|aur| aur.meta().warnings.iter().cloned()));
                PackagesReport::Read {
                    generation: meta.generation,
                    counts: meta.counts,
                    last_refresh: meta.last_refresh,
                    snapshot_created: meta.created,
                    snapshot_bytes: loaded.snapshot.file_len(),
                    aur: loaded.aur.as_ref().map(|aur| (aur.len() as u32, aur.meta().last_refresh)),
                    ahead: meta.ahead.as_ref().map(|ahead| AheadReport {
                        refreshed: ahead.refreshed,
                        planned: u32::try_from(ahead.planned.len()).unwrap_or(u32::MAX),
                    }),
                }
            }
            Err(error) => {
                let reason = error.to_string();
                if !errors.contains(&reason) {
                    errors.insert(0, reason);
                }
                PackagesReport::Unreadable { last_known: self.last_known() }
            }
        };
        StatusReport {
            backend: self.options.inputs.backend.clone(),
            packages,
            runtimes: facts::active_runtimes(&self.options.data_dir),
            restart_required,
            restart_packages,
            lock_holder: self.lock_holder(),
            errors,
            data_dir: self.options.data_dir.clone(),
            store: self.store.unavailable(),
            uptime: self.started.elapsed().as_secs(),
        }
    }

    /// From the last snapshot of this process, or else from the database, which remembers over restarts.
    fn last_known(&self) -> Option<LastKnown> {
        let current = lock(&self.current).clone();
        if let Some(meta) = current.as_ref().map(|loaded| loaded.snapshot.meta()) {
            return Some(LastKnown {
                time: meta.created,
                generation: meta.generation,
                installed: meta.counts.installed,
                explicit: meta.counts.explicit,
                upgradable: meta.counts.upgradable,
                security: meta.counts.security,
                orphans: meta.counts.orphans,
            });
        }
        let stored = self.store.status(&self.options.inputs.file_name())?;
        Some(LastKnown {
            time: stored.time,
            generation: stored.generation,
            installed: stored.installed?,
            explicit: stored.explicit?,
            upgradable: stored.updates?,
            security: stored.security?,
            orphans: stored.orphans?,
        })
    }

    /// Whether a restart is due, and for which packages.
    pub fn restart_required(&self) -> (bool, Vec<String>) {
        facts::restart_required(self.root())
    }

    /// Who holds a lock of the package system.
    pub fn lock_holder(&self) -> Option<LockHolder> {
        facts::lock_holder(self.root())
    }

    pub(super) fn root(&self) -> &Path {
        self.options.inputs.root.as_deref().map_or(Path::new("/"), Path::new)
    }

    /// Sends a [`Change`] if the snapshot differs from what was last announced, by this process or an earlier one, and
    /// brings the status file up to date.
    pub(super) fn announce(&self) {
        // Held to the end: of two announcements at once the later one must also be the last.
        let mut announced = lock(&self.announced);
        let Some(loaded) = lock(&self.current).clone() else { return };
        let time = unix_now();
        self.write_status(Ok(&loaded), time);
        let meta = loaded.snapshot.meta();
        let key = meta.inputs.file_name();
        let now = Announced::of(meta);
        let before = announced.replace(now);
        let digests = before.map(|before| before.digests).or_else(|| self.store.announced(&key));
        // The digests say nothing of why packages are installed, the status does.
        let known = || self.store.status(&key).is_some_and(|stored| stored.generation == meta.generation);
        if (digests != Some(now.digests) || !known())
            && let Err(error) = self.store.set_announced(&key, now.digests, &self.status_file(Ok(&loaded), time))
        {
            tracing::debug!("{error}");
        }
        for warning in self.store.take_warnings() {
            self.report_problem(Subject::Store, warning.to_string());
        }
        // What nobody was told of before is no change.
        let digests = digests.unwrap_or(now.digests);
        if before.map_or(digests == now.digests, |before| before == now) {
            return;
        }
        let change = Change { installed: digests.0 != now.digests.0, updates: digests.1 != now.digests.1, now };
        // Nobody listening is no error.
        let _ = self.changes.send(change);
    }

    /// Writes the status file if it would say something new.
    pub(super) fn write_status(&self, loaded: Result<&Loaded, StatusFlags>, now: u64) {
        let path = &self.options.status_file;
        let wanted = self.status_file(loaded, now);
        let before = status::read(path).ok().filter(|before| before.time <= now && now - before.time < STATUS_REFRESH);
        let packages_are_same = before.as_ref().is_some_and(|before| {
            Status { time: before.time, runtimes: before.runtimes.clone(), ..wanted.clone() } == *before
        });
        if packages_are_same && before.as_ref().is_some_and(|before| before.runtimes == wanted.runtimes) {
            self.in_order(Subject::StatusFile);
            return;
        }
        if let Some(folder) = path.parent() {
            // Where it cannot be made, writing says so.
            let _ = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        }
        // Links tell which runtimes are active, after a power cut too: what a switch changes need not wait for the disk, which
        // whoever switches next would wait for as well.
        let write = if packages_are_same { status::write_quickly } else { status::write_atomically };
        match write(path, &wanted) {
            Ok(()) => self.in_order(Subject::StatusFile),
            Err(error) => {
                self.report_problem(Subject::StatusFile, format!("cannot write {}: {error}", path.display()));
            }
        }
    }

    fn status_file(&self, loaded: Result<&Loaded, StatusFlags>, now: u64) -> Status {
        let mut flags = loaded.err().unwrap_or_default();
        let loaded = loaded.ok();
        let mut set = |condition: bool, flag: StatusFlags| {
            if condition {
                flags = flags.with(flag);
            }
        };
        let fetched = loaded.map_or(now, |loaded| loaded.snapshot.meta().last_refresh);
        set(now.saturating_sub(fetched) > LISTS_STALE_AFTER, StatusFlags::LISTS_STALE);
        set(self.options.helper.is_none(), StatusFlags::HELPER_MISSING);
        // Another daemon of this user using it is how it should be.
        let failed = self.store.unavailable().is_some_and(|reason| !matches!(reason, StoreUnavailable::InUse { .. }));
        set(failed, StatusFlags::STORE_FAILED);
        set(self.restart_required().0, StatusFlags::RESTART_REQUIRED);
        let counts = loaded.map(|loaded| loaded.snapshot.meta().counts);
        set(counts.is_some_and(|counts| counts.broken > 0), StatusFlags::PACKAGES_BROKEN);
        let runtimes = facts::active_runtimes(&self.options.data_dir)
            .iter()
            .filter_map(|(name, version)| Runtime::new(name, version).ok())
            .take(status::MAX_RUNTIMES)
            .collect();
        Status {
            flags,
            time: now,
            generation: loaded.map_or(0, |loaded| loaded.snapshot.meta().generation),
            max_age: self.options.status_max_age,
            installed: counts.map(|counts| counts.installed),
            explicit: counts.map(|counts| counts.explicit),
            orphans: counts.map(|counts| counts.orphans),
            updates: counts.map(|counts| counts.upgradable),
            security: counts.map(|counts| counts.security),
            vulnerabilities: None,
            runtimes,
        }
    }

    /// Writes the status file even though no snapshot could be had; `unavailable` when there is no package system to read.
    pub(super) fn write_failed_status(&self, unavailable: bool) {
        let failure = if unavailable { StatusFlags::BACKEND_UNAVAILABLE } else { StatusFlags::INDEX_FAILED };
        self.write_status(Err(failure), unix_now());
    }
}
