//! Gets a fresh snapshot: from disk where another daemon has built it already, else from `omg-helper`.

use std::fs::{self, File};
use std::io::{self, Seek};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, MemfdFlags};
use tempfile::NamedTempFile;

use super::{Engine, EngineError, Loaded, Subject, blocking, facts, lock};
use crate::index::{Fingerprint, Snapshot, is_out_of_room};
use crate::store::check_folder;

/// After a failed rebuild, questions get the same error for so long before the helper is tried again, unless something has
/// changed meanwhile: a helper that fails at once must not be started for every question.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What the names of snapshots start with while they are being built.
const BUILDING: &str = ".building-";

/// Snapshots for other settings are removed when nobody has opened them for so long.
const UNUSED: Duration = Duration::from_secs(30 * 24 * 3600);

/// How often the lock that daemons share is tried while another one holds it.
const LOCK_POLL: Duration = Duration::from_millis(20);

/// For how long a helper that fails while packages are being changed is started again.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Before it is started again.
pub(super) const AFTER_MOVE: Duration = Duration::from_millis(200);

/// How the packages stood before a helper was started.
pub(super) struct Unsettled {
    /// Whether somebody held a lock of the package system.
    locked: bool,
    seen: Fingerprint,
}

/// How the last rebuild failed.
#[derive(Debug)]
pub(super) struct Failure {
    at: Instant,
    error: EngineError,
    /// The helper and the last known sources, as they were before the rebuild: where one of them moves, the next rebuild
    /// may end otherwise.
    seen: Fingerprint,
}

impl Failure {
    /// Whether another rebuild at this moment would most likely fail in the same way.
    fn holds(&self) -> bool {
        self.at.elapsed() < RETRY_AFTER && self.seen.first_change().is_none()
    }
}

impl Engine {
    /// A snapshot that shows every change made before this call.
    pub(super) async fn rebuilt(self: &Arc<Self>) -> Result<Arc<Loaded>, EngineError> {
        let asked = Instant::now();
        let mut failure = self.rebuilding.lock().await;
        // Another question may have waited for the same rebuild and be done with it.
        let current = lock(&self.current).clone();
        if let Some(loaded) = current.filter(|loaded| loaded.begun >= asked) {
            return Ok(loaded);
        }
        let engine = Arc::clone(self);
        if let Some(loaded) = blocking(move || engine.fresh()).await? {
            return Ok(loaded);
        }
        let engine = Arc::clone(self);
        let before = failure.take();
        let (held, seen) = blocking(move || (before.filter(Failure::holds), engine.rebuilt_from())).await?;
        if let Some(held) = held {
            let error = held.error.clone();
            *failure = Some(held);
            return Err(error);
        }
        match self.load_or_build().await {
            Ok(loaded) => Ok(loaded),
            Err(error) => {
                self.report_problem(Subject::Index, error.to_string());
                *failure = Some(Failure { at: Instant::now(), error: error.clone(), seen });
                Err(error)
            }
        }
    }

    /// What a rebuild depends on, as far as that is known before it.
    fn rebuilt_from(&self) -> Fingerprint {
        let current = lock(&self.current).clone();
        let sources = current.iter().flat_map(|loaded| &loaded.snapshot.fingerprint().sources);
        let records = facts::RECORDS.iter().map(|record| self.root().join(record));
        Fingerprint::take(sources.map(|source| source.path.clone()).chain(records).chain(self.options.helper.clone()))
    }

    async fn load_or_build(self: &Arc<Self>) -> Result<Arc<Loaded>, EngineError> {
        if let Some(loaded) = self.load().await? {
            return Ok(loaded);
        }
        // Holding the lock, one daemon builds and the others find its snapshot on disk. Where the folder cannot be
        // written there is nothing to share and nothing to lock.
        let lock = self.lock_folder().await;
        if lock.is_some()
            && let Some(loaded) = self.load().await?
        {
            return Ok(loaded);
        }
        let (begun, snapshot) = self.build_settled().await?;
        self.metrics.rebuilds.fetch_add(1, Ordering::Relaxed);
        self.metrics.last_rebuild_millis.store(begun.elapsed().as_millis() as u64, Ordering::Relaxed);
        self.adopt(snapshot, begun).await
    }

    /// A new snapshot, and when the helper that made it was started. The package systems' libraries crash or fail when their
    /// files are replaced while they read them: then another one is started.
    async fn build_settled(self: &Arc<Self>) -> Result<(Instant, Snapshot), EngineError> {
        let first = Instant::now();
        loop {
            let before = self.unsettled().await?;
            let begun = Instant::now();
            match self.build().await {
                Ok(snapshot) => return Ok((begun, snapshot)),
                Err(EngineError::Internal(said)) if first.elapsed() < PATIENCE && self.has_moved(before).await? => {
                    tracing::debug!("packages are being changed, and their index is read again: {said}");
                    tokio::time::sleep(AFTER_MOVE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// What tells later whether packages were changed meanwhile.
    pub(super) async fn unsettled(self: &Arc<Self>) -> Result<Unsettled, EngineError> {
        let engine = Arc::clone(self);
        blocking(move || Unsettled { locked: engine.lock_holder().is_some(), seen: engine.rebuilt_from() }).await
    }

    /// Whether packages were changed since, or are being changed.
    pub(super) async fn has_moved(self: &Arc<Self>, before: Unsettled) -> Result<bool, EngineError> {
        let engine = Arc::clone(self);
        blocking(move || before.locked || before.seen.first_change().is_some() || engine.lock_holder().is_some()).await
    }

    /// The snapshot on disk, if it is what a build would give now.
    async fn load(self: &Arc<Self>) -> Result<Option<Arc<Loaded>>, EngineError> {
        let engine = Arc::clone(self);
        let begun = Instant::now();
        let snapshot = blocking(move || {
            let snapshot = engine.on_disk()?;
            let same = snapshot.meta().inputs == engine.options.inputs;
            (same && snapshot.fingerprint().first_change().is_none()).then_some(snapshot)
        })
        .await?;
        match snapshot {
            Some(snapshot) => {
                self.in_order(Subject::IndexFile);
                self.adopt(snapshot, begun).await.map(Some)
            }
            None => Ok(None),
        }
    }

    fn on_disk(&self) -> Option<Snapshot> {
        self.check_folders().inspect_err(|error| tracing::debug!("no snapshot on disk is used: {error}")).ok()?;
        Snapshot::open(&self.snapshot_path())
            .inspect_err(|error| tracing::debug!("no usable snapshot on disk: {error}"))
            .ok()
    }

    /// Refuses folders in which others could put their own index in the place of ours.
    fn check_folders(&self) -> io::Result<()> {
        check_folder(&self.options.data_dir)?;
        check_folder(&self.options.data_dir.join("index"))
    }

    /// Makes the folder of the index if need be.
    fn make_folder(&self) -> io::Result<()> {
        self.check_folders()?;
        let folder = self.options.data_dir.join("index");
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        self.check_folders()
    }

    async fn lock_folder(self: &Arc<Self>) -> Option<File> {
        let deadline = Instant::now() + self.options.helper_timeout;
        let folder = self.options.data_dir.join("index");
        let engine = Arc::clone(self);
        let file = blocking(move || {
            engine.make_folder()?;
            let flags = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
            File::options().create(true).append(true).mode(0o600).custom_flags(flags).open(folder.join("lock"))
        })
        .await;
        let file = file.ok()?.ok()?;
        while rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            if Instant::now() >= deadline {
                return None;
            }
            tokio::time::sleep(LOCK_POLL).await;
        }
        Some(file)
    }

    async fn build(self: &Arc<Self>) -> Result<Snapshot, EngineError> {
        let folder = self.options.data_dir.join("index");
        let (engine, place) = (Arc::clone(self), folder.clone());
        let (generation, temporary) = blocking(move || {
            let temporary = engine.make_folder().and_then(|()| {
                remove_leftovers(&place, &engine.snapshot_path());
                tempfile::Builder::new().prefix(BUILDING).tempfile_in(&place)
            });
            (engine.next_generation(), temporary)
        })
        .await?;
        let refused = match temporary {
            Ok(temporary) => match self.build_into(temporary.as_file(), generation).await {
                Ok(snapshot) => match self.keep(temporary).await? {
                    Ok(()) => return Ok(snapshot),
                    Err(error) => refusal(&folder, &error),
                },
                Err(EngineError::DiskFull(said)) => format!("no space is left in {} ({said})", folder.display()),
                Err(error) => return Err(error),
            },
            Err(error) => refusal(&folder, &error),
        };
        self.report_problem(Subject::IndexFile, format!("{refused}: the index is kept in memory"));
        self.build_in_memory(generation).await.map_err(|error| match error {
            EngineError::DiskFull(said) => EngineError::DiskFull(format!(
                "there is room for the package index neither on the disk nor in memory: {refused}; in memory: {said}; free \
                 some space, or raise the quota or limit that is in the way"
            )),
            other => other,
        })
    }

    /// Gives a new snapshot its name, once it is certain to be on the disk: what could not be written there may be lost
    /// from memory too.
    async fn keep(self: &Arc<Self>, snapshot: NamedTempFile) -> Result<io::Result<()>, EngineError> {
        let path = self.snapshot_path();
        let folder = self.options.data_dir.join("index");
        let kept = blocking(move || {
            snapshot.as_file().sync_all()?;
            snapshot.persist(path).map_err(|error| error.error)?;
            File::open(folder)?.sync_all()
        });
        let kept = kept.await?;
        if kept.is_ok() {
            self.in_order(Subject::IndexFile);
        }
        Ok(kept)
    }

    async fn build_in_memory(self: &Arc<Self>, generation: u64) -> Result<Snapshot, EngineError> {
        let memory = rustix::fs::memfd_create("omg-index", MemfdFlags::CLOEXEC).map_err(|error| {
            let error = io::Error::from(error);
            let text = format!("cannot create a file in memory: {error}");
            if is_out_of_room(&error) { EngineError::DiskFull(text) } else { EngineError::Internal(text) }
        })?;
        self.build_into(&File::from(memory), generation).await
    }

    /// Lets the helper write a snapshot into `output` and checks it.
    async fn build_into(self: &Arc<Self>, output: &File, generation: u64) -> Result<Snapshot, EngineError> {
        let internal = |what: &str, error: io::Error| EngineError::Internal(format!("{what}: {error}"));
        let stdout = output.try_clone().map_err(|error| internal("cannot pass on the index file", error))?;
        self.run_index(stdout, generation).await?;
        let mut output = output.try_clone().map_err(|error| internal("cannot read the index file", error))?;
        let inputs = self.options.inputs.clone();
        blocking(move || {
            output.rewind().map_err(|error| internal("cannot read the index file", error))?;
            let snapshot = Snapshot::from_file(output)
                .map_err(|error| EngineError::Internal(format!("omg-helper wrote an unusable index: {error}")))?;
            if snapshot.meta().inputs != inputs {
                return Err(EngineError::Internal(
                    "omg-helper built the index for other settings; are omgd and omg-helper of the same version?"
                        .into(),
                ));
            }
            Ok(snapshot)
        })
        .await?
    }

    async fn run_index(&self, stdout: File, generation: u64) -> Result<(), EngineError> {
        let mut command = self.helper("index")?;
        command.args(["--output", "-", "--generation", &generation.to_string()]);
        if let Some(aur) = &self.options.inputs.aur {
            command.arg("--aur").arg(aur);
        }
        command.stdin(Stdio::null()).stdout(stdout);
        self.run_helper(command, Vec::new(), Vec::new()).await.map(|_| ())
    }

    fn next_generation(&self) -> u64 {
        let stored = self.store.generation();
        let loaded = lock(&self.current).as_ref().map_or(0, |loaded| loaded.snapshot.meta().generation);
        let on_disk = self.on_disk().map_or(0, |snapshot| snapshot.meta().generation);
        stored.max(loaded).max(on_disk).saturating_add(1)
    }

    /// Makes `snapshot` the current one and tells everyone what changed.
    async fn adopt(self: &Arc<Self>, snapshot: Snapshot, begun: Instant) -> Result<Arc<Loaded>, EngineError> {
        let engine = Arc::clone(self);
        let aur = blocking(move || engine.open_aur()).await?;
        let loaded = Arc::new(Loaded::new(snapshot, aur, begun, self.options.cache));
        *lock(&self.current) = Some(Arc::clone(&loaded));
        self.in_order(Subject::Index);
        self.adopted.notify_one();
        if self.options.announces {
            // Whoever waits for the packages need not wait for the database and the disk as well.
            let engine = Arc::clone(self);
            tokio::task::spawn_blocking(move || engine.announce());
        }
        Ok(loaded)
    }
}

/// Removes what builds that were killed left behind, and snapshots for settings that have not been used for long. The
/// folder's lock is held: nobody else is building there.
fn remove_leftovers(folder: &Path, own: &Path) {
    let Ok(files) = fs::read_dir(folder) else { return };
    for file in files.flatten() {
        let name = file.file_name();
        let unfinished = name.to_string_lossy().starts_with(BUILDING);
        let unused = || {
            file.metadata()
                .and_then(|found| found.accessed())
                .is_ok_and(|last| last.elapsed().is_ok_and(|since| since > UNUSED))
        };
        let snapshot = name.to_string_lossy().ends_with(".snapshot") && file.path() != own;
        if unfinished || snapshot && unused() {
            // What cannot be removed is in nobody's way.
            let _ = fs::remove_file(file.path());
        }
    }
}

/// Why a snapshot cannot be kept in `folder`.
fn refusal(folder: &Path, error: &io::Error) -> String {
    let folder = folder.display();
    if is_out_of_room(error) {
        format!("no space is left in {folder} ({error})")
    } else {
        format!("{folder} cannot be used ({error})")
    }
}
