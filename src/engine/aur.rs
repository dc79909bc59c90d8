//! The AUR: its archive, fetched and read now and then, and its RPC for what is newer.
//!
//! No question waits for the archive: what is there is the answer. A question about single packages waits for the RPC, but
//! not for long.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use moka::sync::Cache;
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;
use tokio::time::{sleep, sleep_until, timeout};

use super::builds::network;
use super::{AurOptions, Engine, EngineError, Subject, blocking, facts, lock, unix_now};
use crate::aur::{
    AurPackage, Fetched, Http, HttpError, Moved, REPOSITORY, SearchBy, Validators, is_package_name, is_search,
};
use crate::index::{Inputs, Snapshot};
use crate::package::{Flags, PackageRow, SearchMode, SearchQuery};
use crate::store::check_folder;

/// The archive is asked for no more often without being told to, and after a failure, in seconds.
const INTERVAL: u64 = 3600;
const AFTER_FAILURE: u64 = 600;

/// Nor, being told to, more often than this, in seconds.
const LEAST_INTERVAL: u64 = 10;

/// How often to look whether the archive is due.
const LOOK: Duration = Duration::from_secs(60);

/// A question waits so long for the RPC. Its answer is kept even when it comes later.
const PATIENCE: Duration = Duration::from_millis(1500);

/// What the RPC said holds for so long, for so many packages; so does where the repositories of sources stand, for a list.
pub(super) const LASTING: Duration = Duration::from_secs(300);
const REMEMBERED: u64 = 512;

/// So many searches of the RPC are remembered, with so many packages each: the most popular ones.
const SEARCHES: u64 = 32;
const FOUND: usize = 500;

/// Between two requests to the RPC.
const GAP: Duration = Duration::from_millis(200);

/// An RPC that fails or does not answer in time is let be for so long.
const LET_BE: Duration = Duration::from_secs(30);

/// What the names of files begin with while they are being written.
const FETCHING: &str = ".fetching-";

/// The AUR as this daemon knows it.
#[derive(Debug)]
pub(super) struct Aur {
    http: Http,
    archive: PathBuf,
    /// One at a time fetches or reads the archive.
    fetching: tokio::sync::Mutex<()>,
    /// By name: what the RPC said, `None` for what it does not know.
    latest: Cache<String, Option<Arc<AurPackage>>>,
    /// Names for the next request.
    wanted: Mutex<BTreeSet<String>>,
    /// One request at a time; when the last one began.
    turn: tokio::sync::Mutex<Option<tokio::time::Instant>>,
    let_be_until: Mutex<Option<Instant>>,
    /// What its RPC found, by what was searched for.
    found: Cache<(String, SearchBy), Arc<[PackageRow]>>,
    /// One at a time asks the repositories of sources.
    pub(super) asking_sources: tokio::sync::Mutex<()>,
    /// Where these stood, and when they were asked.
    moved: Mutex<Option<(Instant, Arc<Moved>)>>,
    /// How many builds have ended.
    builds: AtomicU64,
}

/// What is known of the archive, in a file beside it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
struct State {
    /// Where it is from.
    url: String,
    /// When the AUR was last asked for it, Unix seconds.
    asked: u64,
    failed: bool,
    validators: Validators,
}

impl State {
    /// Whether the archive is to be asked for, once in so many seconds; sooner where the last time failed.
    fn is_due(&self, interval: u64, archive: &Path) -> bool {
        let sooner = interval == INTERVAL && (self.failed || !archive.is_file());
        unix_now().abs_diff(self.asked) >= if sooner { AFTER_FAILURE } else { interval }
    }
}

impl Aur {
    /// How it is asked.
    pub(super) fn http(&self) -> &Http {
        &self.http
    }

    pub(super) fn new(options: &AurOptions) -> Self {
        Self {
            http: Http::new(&options.url),
            archive: options.archive.clone(),
            fetching: tokio::sync::Mutex::new(()),
            latest: Cache::builder().max_capacity(REMEMBERED).time_to_live(LASTING).build(),
            found: Cache::builder().max_capacity(SEARCHES).time_to_live(LASTING).build(),
            wanted: Mutex::default(),
            turn: tokio::sync::Mutex::new(None),
            let_be_until: Mutex::new(None),
            asking_sources: tokio::sync::Mutex::new(()),
            moved: Mutex::new(None),
            builds: AtomicU64::new(0),
        }
    }

    /// Which packages have moved, as it was found out no longer ago than this.
    pub(super) fn moved(&self, ago: Duration) -> Option<Arc<Moved>> {
        let kept = lock(&self.moved);
        kept.as_ref().filter(|(asked, _)| asked.elapsed() < ago).map(|(_, moved)| Arc::clone(moved))
    }

    /// How many builds have ended.
    pub(super) fn builds(&self) -> u64 {
        self.builds.load(Ordering::Acquire)
    }

    /// Keeps what was found out from when `builds` builds had ended, unless another one has since.
    pub(super) fn keep_moved(&self, moved: Arc<Moved>, builds: u64) {
        let mut kept = lock(&self.moved);
        if builds == self.builds() {
            *kept = Some((Instant::now(), moved));
        }
    }

    /// What was built has not moved any more.
    pub(super) fn forget_moved(&self) {
        let mut kept = lock(&self.moved);
        self.builds.fetch_add(1, Ordering::AcqRel);
        *kept = None;
    }

    pub(super) fn rest(&self) {
        // Who fetches has it in use.
        if let (Ok(_), Ok(_)) = (self.fetching.try_lock(), self.turn.try_lock()) {
            self.http.rest();
        }
    }

    pub(super) fn forget(&self) {
        self.latest.invalidate_all();
        self.found.invalidate_all();
        self.forget_moved();
    }

    fn state_file(&self) -> PathBuf {
        self.archive.with_file_name("state.json")
    }

    /// The state of the archive that is here: without validators when it is not.
    fn state(&self) -> State {
        let read = || -> Option<State> {
            let text = fs::read(self.state_file()).ok().filter(|text| text.len() < 8192)?;
            serde_json::from_slice(&text).ok().filter(|state: &State| state.url == self.http.base())
        };
        let mut state = read().unwrap_or_default();
        self.http.base().clone_into(&mut state.url);
        if !self.archive.is_file() {
            state.validators = Validators::default();
        }
        state
    }

    fn keep_state(&self, state: &State) -> io::Result<()> {
        let mut file = self.temporary()?;
        file.write_all(&serde_json::to_vec(state).map_err(io::Error::other)?)?;
        file.persist(self.state_file()).map(|_| ()).map_err(|error| error.error)
    }

    fn folder(&self) -> &Path {
        self.archive.parent().unwrap_or(Path::new("/"))
    }

    fn temporary(&self) -> io::Result<NamedTempFile> {
        tempfile::Builder::new().prefix(FETCHING).tempfile_in(self.folder())
    }

    /// Makes the folder of the archive and takes its lock; `None` when another daemon has it.
    fn enter(&self) -> io::Result<Option<File>> {
        private_folder(self.folder())?;
        let flags = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
        let path = self.folder().join("lock");
        let file = File::options().create(true).append(true).mode(0o600).custom_flags(flags).open(path)?;
        if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Ok(None);
        }
        // Of a daemon that was killed.
        for entry in fs::read_dir(self.folder())?.flatten() {
            if entry.file_name().to_string_lossy().starts_with(FETCHING) {
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(Some(file))
    }

    fn is_known(&self, name: &str) -> bool {
        self.latest.get(name).is_some()
    }

    fn is_let_be(&self) -> bool {
        lock(&self.let_be_until).is_some_and(|until| Instant::now() < until)
    }

    fn let_be(&self) {
        *lock(&self.let_be_until) = Some(Instant::now() + LET_BE);
    }
}

impl Engine {
    /// The AUR's packages as they were last read.
    pub(super) fn open_aur(&self) -> Option<Snapshot> {
        let path = self.options.inputs.aur.as_ref()?;
        check_folder(path.parent()?).ok()?;
        Snapshot::open(path)
            .inspect_err(|error| tracing::debug!("the AUR's packages are not known: {error}"))
            .ok()
            .filter(|snapshot| snapshot.meta().inputs.backend == crate::index::AUR)
    }

    /// What is wrong with what is known of the AUR, for people.
    pub fn aur_problem(&self) -> Option<String> {
        let problems = lock(&self.problems);
        let subjects = [Subject::Aur, Subject::AurRpc, Subject::AurSources];
        subjects.into_iter().find_map(|subject| problems.of(subject)).map(str::to_owned)
    }

    /// Keeps the AUR's packages up to date until it is dropped.
    pub(super) async fn keep_aur<F: Future<Output = bool>>(self: &Arc<Self>, metered: impl Fn() -> F) {
        if self.aur.is_none() {
            return std::future::pending().await;
        }
        loop {
            // What it costs, a battery or money, is for the user to decide.
            let costs = self.look(|engine| engine.is_archive_due().then(facts::on_battery)).await.unwrap_or_default();
            let costs = match costs {
                Some(false) => metered().await,
                Some(true) => true,
                None => false,
            };
            if costs {
                tracing::debug!("the AUR's archive is not asked for by itself: that costs battery or money here");
            }
            let due = if costs { u64::MAX } else { INTERVAL };
            let refreshed = self.refresh_aur_after(due).await;
            if refreshed == Some(true) {
                // What cannot be read is told by the next question, and by the worker.
                let _ = self.refresh().await;
            }
            sleep(if refreshed.is_some() { LOOK } else { Duration::from_secs(AFTER_FAILURE) }).await;
        }
    }

    fn is_archive_due(&self) -> bool {
        self.aur.as_ref().is_some_and(|aur| aur.state().is_due(INTERVAL, &aur.archive))
    }

    /// Brings the AUR's packages up to date, as far as the AUR can be reached; the status tells why where it cannot.
    pub async fn refresh_aur(self: &Arc<Self>) {
        if let Some(aur) = &self.aur {
            // Whoever asks for what is new means the RPC too.
            aur.forget();
            *lock(&aur.let_be_until) = None;
            self.refresh_aur_after(LEAST_INTERVAL).await;
        }
    }

    /// Asks for the archive unless that was done within `interval` seconds, and reads it if it is another one than before.
    /// Says whether the packages are others now; `None` when they cannot be read.
    async fn refresh_aur_after(self: &Arc<Self>, interval: u64) -> Option<bool> {
        let aur = self.aur.as_ref()?;
        let _fetching = aur.fetching.lock().await;
        let refreshed = self.fetched_and_read(aur, interval).await;
        aur.http.rest();
        refreshed.inspect_err(|problem| self.report_problem(Subject::Aur, problem.clone())).ok()
    }

    async fn fetched_and_read(self: &Arc<Self>, aur: &Aur, interval: u64) -> Result<bool, String> {
        let engine = Arc::clone(self);
        let entered = self.on_aur(|aur| aur.enter().map(|lock| (lock, aur.state()))).await;
        let unusable = |error: io::Error| format!("{} cannot be used: {error}", aur.folder().display());
        let (_lock, mut state) = match entered.map_err(unusable)? {
            (Some(lock), state) => (lock, state),
            // The other one tells of it.
            (None, _) => return Ok(false),
        };
        let is_due = state.is_due(interval, &aur.archive);
        let mut problem = None;
        if is_due {
            let fetched = self.fetch_archive(aur, &mut state).await;
            state.asked = unix_now();
            state.failed = fetched.is_err();
            problem = fetched
                .err()
                .map(|error| format!("the AUR's packages cannot be fetched from {}: {error}", aur.http.base()));
            let kept = state.clone();
            self.on_aur(move |aur| aur.keep_state(&kept)).await.map_err(unusable)?;
        }
        let read = blocking(move || engine.is_aur_read()).await.map_err(|error| error.to_string())?;
        let mut changed = false;
        if !read {
            if let Err(error) = self.read_archive().await {
                // What was read before stays, and what is no archive is fetched anew.
                if matches!(error, EngineError::InvalidArgument(_)) {
                    state.validators = Validators::default();
                    state.failed = true;
                    let drop = move |aur: &Aur| fs::remove_file(&aur.archive).and_then(|()| aur.keep_state(&state));
                    self.on_aur(drop).await.map_err(unusable)?;
                }
                return Err(format!("the AUR's packages from {} are not used: {error}", aur.http.base()));
            }
            changed = true;
        }
        match problem {
            // What was fetched before is read; that it is not the newest is a problem still.
            Some(problem) => self.report_problem(Subject::Aur, problem),
            None if is_due => self.in_order(Subject::Aur),
            None => {}
        }
        Ok(changed)
    }

    async fn on_aur<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Aur) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let engine = Arc::clone(self);
        let done =
            blocking(move || engine.aur.as_ref().map_or_else(|| Err(io::ErrorKind::NotFound.into()), work)).await;
        done.map_err(|error| io::Error::other(error.to_string()))?
    }

    async fn fetch_archive(self: &Arc<Self>, aur: &Aur, state: &mut State) -> Result<(), HttpError> {
        let mut file = self.on_aur(Aur::temporary).await.map_err(HttpError::Write)?;
        match aur.http.archive(&state.validators, file.as_file_mut()).await? {
            Fetched::Same => Ok(()),
            Fetched::New(validators) => {
                let kept = move |aur: &Aur| {
                    file.as_file().sync_all()?;
                    file.persist(&aur.archive).map(|_| ()).map_err(|error| error.error)
                };
                self.on_aur(kept).await.map_err(HttpError::Write)?;
                self.metrics.aur_archives.fetch_add(1, Ordering::Relaxed);
                state.validators = validators;
                Ok(())
            }
        }
    }

    /// Whether the snapshot is what the archive gives. Without an archive there is nothing to read.
    fn is_aur_read(&self) -> bool {
        let Some(aur) = self.aur.as_ref().filter(|aur| aur.archive.is_file()) else { return true };
        self.open_aur().is_some_and(|snapshot| {
            snapshot.meta().inputs == Inputs::of_aur(&aur.archive) && snapshot.fingerprint().first_change().is_none()
        })
    }

    /// Lets the helper make the snapshot from the archive, which then takes the place of the one before. An archive that is
    /// none is an invalid argument.
    async fn read_archive(self: &Arc<Self>) -> Result<(), EngineError> {
        let internal = |error: io::Error| EngineError::Internal(format!("the AUR's index cannot be written: {error}"));
        let (Some(aur), Some(path)) = (&self.aur, self.options.inputs.aur.clone()) else { return Ok(()) };
        let (archive, expected) = (aur.archive.clone(), Inputs::of_aur(&aur.archive));
        let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
        let made = blocking(move || {
            private_folder(&folder)?;
            tempfile::Builder::new().prefix(FETCHING).tempfile_in(&folder)
        });
        let temporary = made.await?.map_err(internal)?;
        let mut command = self.helper("index")?;
        command.arg("--aur-archive").arg(archive).args(["--generation", &unix_now().to_string()]);
        command.stdin(Stdio::null()).stdout(temporary.as_file().try_clone().map_err(internal)?);
        self.run_helper(command, Vec::new(), Vec::new()).await?;
        blocking(move || {
            let snapshot = Snapshot::open(temporary.path())
                .map_err(|error| EngineError::Internal(format!("omg-helper wrote an unusable index: {error}")))?;
            if snapshot.meta().inputs != expected {
                return Err(EngineError::Internal("omg-helper made the AUR's index from something else".into()));
            }
            temporary.as_file().sync_all().map_err(internal)?;
            temporary.persist(path).map(|_| ()).map_err(|error| internal(error.error))
        })
        .await?
    }

    /// What the RPC says of these packages now, as far as it says so in time: `None` for one that it does not know.
    pub(super) async fn latest(self: &Arc<Self>, names: &[String]) -> HashMap<String, Option<Arc<AurPackage>>> {
        let Some(aur) = &self.aur else { return HashMap::new() };
        let names: Vec<&String> = names.iter().filter(|name| is_package_name(name)).collect();
        let missing: Vec<String> =
            names.iter().filter(|name| !aur.is_known(name)).map(|name| (*name).clone()).collect();
        if !missing.is_empty() && !aur.is_let_be() {
            let engine = Arc::clone(self);
            // Goes on when nobody waits any more: the next question may have its answer.
            let asking = tokio::spawn(async move { engine.ask_rpc(missing).await });
            if timeout(PATIENCE, asking).await.is_err() {
                self.is_late(aur);
            }
        }
        names.into_iter().filter_map(|name| Some((name.clone(), aur.latest.get(name)?))).collect()
    }

    /// Waits until a request to the RPC may begin, for whoever has the turn.
    async fn begin_request(&self, turn: &mut Option<tokio::time::Instant>) {
        if let Some(last) = *turn {
            sleep_until(last + GAP).await;
        }
        *turn = Some(tokio::time::Instant::now());
        self.metrics.aur_requests.fetch_add(1, Ordering::Relaxed);
    }

    async fn ask_rpc(self: &Arc<Self>, missing: Vec<String>) {
        let Some(aur) = &self.aur else { return };
        lock(&aur.wanted).extend(missing);
        // Whoever waits here finds the names answered that the one before asked for, with its own.
        let mut turn = aur.turn.lock().await;
        lock(&aur.wanted).retain(|name| !aur.is_known(name));
        if lock(&aur.wanted).is_empty() || aur.is_let_be() {
            return;
        }
        self.begin_request(&mut turn).await;
        let names: Vec<String> = std::mem::take(&mut *lock(&aur.wanted)).into_iter().collect();
        match aur.http.info(&names).await {
            Ok(packages) => {
                let mut known: HashMap<String, Arc<AurPackage>> =
                    packages.into_iter().map(|package| (package.name.clone(), Arc::new(package))).collect();
                for name in names {
                    let package = known.remove(&name);
                    aur.latest.insert(name, package);
                }
                *lock(&aur.let_be_until) = None;
                self.in_order(Subject::AurRpc);
            }
            Err(error) => {
                aur.let_be();
                self.report_problem(Subject::AurRpc, format!("{} cannot be asked: {error}", aur.http.base()));
            }
        }
    }
}

impl Engine {
    /// What the AUR's RPC finds where its archive is not here yet, the most popular first; nothing where it does not answer
    /// in time, which the status tells.
    pub async fn found_in_aur(self: &Arc<Self>, query: &SearchQuery) -> Arc<[PackageRow]> {
        let nothing: Arc<[PackageRow]> = Arc::default();
        let Some(aur) = self.aur.as_ref().filter(|_| !query.installed) else { return nothing };
        let wanted = query.sources.is_empty() || query.sources.iter().any(|source| source == REPOSITORY);
        let is_listed = || lock(&self.current).as_ref().is_some_and(|loaded| loaded.aur.is_some());
        // The AUR is asked for one term, which finds no less than all of them.
        let longest = query.terms.iter().max_by_key(|term| term.chars().count());
        let Some(term) = longest.filter(|term| is_search(term) && wanted) else {
            return nothing;
        };
        if is_listed() || self.ask(|_, loaded| Ok(loaded.aur.is_some())).await.unwrap_or(true) {
            return nothing;
        }
        let by = if query.mode == SearchMode::Exact { SearchBy::Name } else { SearchBy::NameAndDescription };
        let key = (term.to_lowercase(), by);
        if aur.found.get(&key).is_none() && !aur.is_let_be() {
            let (engine, asked) = (Arc::clone(self), key.clone());
            // Goes on when nobody waits any more, as for single packages.
            let asking = tokio::spawn(async move { engine.search_rpc(asked).await });
            if timeout(PATIENCE, asking).await.is_err() {
                self.is_late(aur);
            }
        }
        let Some(found) = aur.found.get(&key) else { return nothing };
        let terms: Vec<String> = query.terms.iter().map(|term| term.to_lowercase()).collect();
        let matches = |row: &&PackageRow| match query.mode {
            SearchMode::Exact => query.terms.contains(&row.name),
            _ => {
                let (name, summary) = (row.name.to_lowercase(), row.summary.to_lowercase());
                terms.iter().all(|term| name.contains(term.as_str()) || summary.contains(term.as_str()))
            }
        };
        found.iter().filter(matches).cloned().collect()
    }

    /// Names of packages that the RPC knows to provide this, the most popular first. What it takes no search for nothing is
    /// called.
    pub(super) async fn rpc_providers(&self, name: &str) -> Result<Vec<String>, EngineError> {
        let Some(aur) = self.aur.as_ref().filter(|_| is_search(name)) else {
            return Ok(Vec::new());
        };
        let mut turn = aur.turn.lock().await;
        self.begin_request(&mut turn).await;
        let mut found = aur.http.search(name, SearchBy::Provides).await.map_err(|error| network(&error))?;
        found.sort_by(|one, other| other.popularity.total_cmp(&one.popularity).then_with(|| one.name.cmp(&other.name)));
        Ok(found.into_iter().map(|package| package.name).collect())
    }

    /// Told, and let be for a while.
    fn is_late(&self, aur: &Aur) {
        aur.let_be();
        let patience = PATIENCE.as_secs_f32();
        self.report_problem(Subject::AurRpc, format!("{} did not answer within {patience} s", aur.http.base()));
    }

    async fn search_rpc(self: &Arc<Self>, (term, by): (String, SearchBy)) {
        let Some(aur) = &self.aur else { return };
        let mut turn = aur.turn.lock().await;
        if aur.found.get(&(term.clone(), by)).is_some() || aur.is_let_be() {
            return;
        }
        self.begin_request(&mut turn).await;
        match aur.http.search(&term, by).await {
            Ok(mut packages) => {
                packages.sort_by(|one, other| {
                    let exact = |package: &AurPackage| package.name != term;
                    let by_use = || other.popularity.total_cmp(&one.popularity);
                    exact(one).cmp(&exact(other)).then_with(by_use).then_with(|| one.name.cmp(&other.name))
                });
                packages.truncate(FOUND);
                let rows = packages.into_iter().map(|package| PackageRow {
                    name: package.name,
                    version: package.version,
                    repository: REPOSITORY.to_owned(),
                    summary: package.description.unwrap_or_default(),
                    ..PackageRow::default()
                });
                aur.found.insert((term, by), rows.collect());
                *lock(&aur.let_be_until) = None;
                self.in_order(Subject::AurRpc);
            }
            Err(error) => {
                // One that answers is not let be.
                if !matches!(error, HttpError::Refused(_)) {
                    aur.let_be();
                }
                let text = format!("{} cannot be searched for {term}: {error}", aur.http.base());
                self.report_problem(Subject::AurRpc, text);
            }
        }
    }
}

/// Rows of the package system with what the AUR has besides: a name of both is the package system's, unless only the AUR is
/// asked for.
pub(super) fn beside(own: &Snapshot, found: &[PackageRow], query: &SearchQuery) -> Vec<PackageRow> {
    let both = query.sources.is_empty() || query.sources.contains(&own.meta().inputs.backend);
    let row = |row: &PackageRow| match own.find(&row.name) {
        Some(_) if both => None,
        Some(id) => Some(PackageRow {
            flags: own.flags(id) & (Flags::INSTALLED | Flags::EXPLICIT | Flags::FOREIGN),
            ..row.clone()
        }),
        None => Some(row.clone()),
    };
    found.iter().filter_map(row).collect()
}

/// Makes a folder that others can put nothing into.
fn private_folder(folder: &Path) -> io::Result<()> {
    check_folder(folder)?;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    check_folder(folder)
}
