//! Jobs of `Refresh` and of builds: the daemon's own work, which takes no rights.
//!
//! With `databases` a refresh also fetches the package lists into the user's own copy ([`Engine::refresh_copy`]).

mod builds;
mod installs;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::timeout;
use zbus::message::Header;
use zbus::{Connection, OwnedObjectPath};

use super::activity::Kept;
use super::callers::Callers;
use super::error::Error;
use super::job::{Command, Commands, Job, Job1, Owner, Relay, taken_away};
use super::names::PATH;
use super::plan::{LIFETIME, gone};
use crate::engine::{Engine, EngineError, RuntimeHow, RuntimeOrder};
use crate::runtime::Runtime;
use crate::transaction::{Applied, Failure, FailureKind, Outcome, Phase, State};

/// Jobs of one object server, finished ones too.
pub const MAX_JOBS: usize = 16;

/// Finished jobs stay for so long.
const LINGER: Duration = Duration::from_secs(60);

/// The refresh jobs of one object server. Share it by cloning.
#[derive(Debug, Clone, Default)]
pub struct Refreshes(Arc<Mutex<Registry>>);

#[derive(Debug, Default)]
struct Registry {
    last: u64,
    /// By their numbers: the oldest first.
    jobs: BTreeMap<u64, Entry>,
}

#[derive(Debug)]
struct Entry {
    job: Arc<Job>,
    /// Taken away to make room, though perhaps still being served.
    evicted: bool,
    tasks: Vec<AbortHandle>,
}

/// A job's place among those that there may be; free again when dropped.
#[derive(Debug)]
struct Place {
    refreshes: Refreshes,
    number: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.refreshes.registry().jobs.remove(&self.number);
    }
}

impl Refreshes {
    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for the job, in place of the oldest finished one where there are as many as there may be.
    fn place(&self, job: &Arc<Job>) -> Result<Place, Error> {
        let mut registry = self.registry();
        if registry.jobs.values().filter(|entry| !entry.evicted).count() >= MAX_JOBS {
            let mut entries = registry.jobs.values_mut();
            let finished = entries.find(|entry| !entry.evicted && entry.job.state() == State::Finished);
            let Some(oldest) = finished else {
                return Err(Error::LimitExceeded(format!("jobs: {MAX_JOBS} are not finished; close one of them")));
            };
            oldest.evicted = true;
            oldest.job.evict();
        }
        registry.last += 1;
        let number = registry.last;
        registry.jobs.insert(number, Entry { job: Arc::clone(job), evicted: false, tasks: Vec::new() });
        Ok(Place { refreshes: self.clone(), number })
    }

    /// Lets go of the connection: its end does not wait for jobs.
    pub fn end(&self) {
        for task in self.registry().jobs.values().flat_map(|entry| &entry.tasks) {
            task.abort();
        }
    }

    /// Serves a job that refreshes what the engine knows, and starts it if it is to be started at once; its path.
    ///
    /// # Errors
    /// `LimitExceeded`, and when it cannot be served.
    pub async fn serve(
        &self,
        connection: &Connection,
        header: &Header<'_>,
        engine: Arc<Engine>,
        kept: Kept,
        start: bool,
        work: Work,
    ) -> Result<OwnedObjectPath, Error> {
        // The session bus and the socket let in nobody but this process's own user.
        let callers = Callers::of_own_user();
        let caller = callers.caller(header)?;
        let uid = callers.uid(&caller.name).await?;
        let (job, commands) = Job::new(Owner { name: caller.name.clone(), uid, shared: start });
        let place = self.place(&job)?;
        let number = place.number;
        let path = OwnedObjectPath::try_from(format!("{PATH}/job/{number}"))?;
        if start {
            job.start(caller.clone())?;
        }
        connection.object_server().at(&path, Job1::new(Arc::clone(&job), callers)).await?;
        let relay = Relay::new(Arc::clone(&job), connection, path.clone().into_inner());
        let (watched, owned) = (connection.clone(), Arc::clone(&job));
        let watch = tokio::spawn(async move {
            gone(&watched, &caller.name).await;
            owned.abandon();
        });
        let (connection, object) = (connection.clone(), path.clone());
        let watching = watch.abort_handle();
        let driver = tokio::spawn(async move {
            let mut run = Run { job, commands, relay, engine, work };
            if run.through().await {
                let _ = timeout(LINGER, taken_away(&run.job, &mut run.commands)).await;
            }
            watch.abort();
            let _ = connection.object_server().remove::<Job1, _>(&object).await;
            drop((place, kept));
        });
        if let Some(entry) = self.registry().jobs.get_mut(&number) {
            entry.tasks.extend([watching, driver.abort_handle()]);
        }
        Ok(path)
    }
}

/// What a job does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// Brings up to date what is read; the user's own copy of the package lists where it is told what of them.
    Refresh(Option<Copied>),
    /// Build a commit of a package base of the AUR.
    Build { base: String, commit: String },
    /// Install versions of runtimes.
    Install { orders: Vec<RuntimeOrder>, how: RuntimeHow },
    /// Find out which versions of runtimes there are.
    Versions(Vec<Runtime>),
}

/// What of the package lists is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    /// Whether the lists of files are, too.
    pub files: bool,
}

struct Run {
    work: Work,
    job: Arc<Job>,
    commands: Commands,
    relay: Relay,
    engine: Arc<Engine>,
}

impl Run {
    /// Does the work once it is started. Says whether the object is to stay for a while.
    async fn through(&mut self) -> bool {
        let cancelled = || Outcome::Cancelled { applied: Applied::default() };
        let stays = loop {
            // One that is never started keeps the daemon no longer than a plan does.
            match timeout(LIFETIME, self.commands.recv()).await.unwrap_or_default() {
                Some(Command::Start(_)) => break None,
                Some(Command::Cancel | Command::Stop) => break Some(true),
                Some(Command::Close | Command::OwnerGone) | None => break Some(false),
                Some(Command::Answer { .. }) => {}
            }
        };
        if let Some(stays) = stays {
            self.relay.finish(cancelled()).await;
            return stays;
        }
        // Nobody has to allow it, and it waits for nobody.
        self.relay.state().await;
        self.relay.advance(State::Waiting).await;
        self.relay.advance(State::Running).await;
        let databases = match self.work.clone() {
            Work::Refresh(databases) => databases,
            Work::Install { orders, how } => {
                let outcome = installs::run(self, orders, how).await;
                self.relay.finish(outcome).await;
                return true;
            }
            Work::Versions(runtimes) => {
                self.relay.phase(Phase::Fetching, true).await;
                let engine = Arc::clone(&self.engine);
                let outcome = tokio::select! {
                    asked = engine.runtime_refresh(&runtimes) => match asked {
                        Ok(()) => Outcome::Succeeded(Applied::default()),
                        Err(error) => Outcome::Failed { failure: failure(error), applied: Applied::default() },
                    },
                    () = cancel(&mut self.commands) => cancelled(),
                };
                self.relay.finish(outcome).await;
                return true;
            }
            Work::Build { base, commit } => {
                let outcome = builds::run(self, &base, &commit).await;
                self.relay.finish(outcome).await;
                return true;
            }
        };
        self.relay.phase(if databases.is_some() { Phase::Fetching } else { Phase::Resolving }, true).await;
        let engine = Arc::clone(&self.engine);
        let refreshed = async {
            if let Some(Copied { files }) = databases {
                engine.refresh_copy(files).await?;
            }
            engine.refresh_aur().await;
            engine.refresh().await
        };
        let outcome = tokio::select! {
            refreshed = refreshed => match refreshed {
                Ok(()) => Outcome::Succeeded(Applied::default()),
                Err(error) => Outcome::Failed { failure: failure(error), applied: Applied::default() },
            },
            () = cancel(&mut self.commands) => cancelled(),
        };
        self.relay.finish(outcome).await;
        true
    }
}

/// Waits until the job is cancelled.
async fn cancel(commands: &mut Commands) {
    while let Some(command) = commands.recv().await {
        if matches!(command, Command::Cancel | Command::Stop) {
            return;
        }
    }
}

fn failure(error: EngineError) -> Failure {
    let kind = match &error {
        EngineError::NotFound(_) => FailureKind::NotFound,
        EngineError::InvalidArgument(_) => FailureKind::InvalidArgument,
        EngineError::LimitExceeded(_) => FailureKind::LimitExceeded,
        EngineError::BackendUnavailable(_) => FailureKind::BackendUnavailable,
        EngineError::DiskFull(_) => FailureKind::DiskFull,
        EngineError::Refused(failure) => failure.kind,
        EngineError::DamagedSnapshot(_) | EngineError::Internal(_) => FailureKind::Internal,
    };
    Failure::new(kind, error.to_string())
}
