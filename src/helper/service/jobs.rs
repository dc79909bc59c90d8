//! Which jobs there are, and how many somebody may have.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use omg::dbus::error::Error;
use omg::dbus::job::Job;
use omg::transaction::State;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// Jobs that one user may have that are not finished.
pub const MAX_JOBS_PER_UID: usize = 4;

/// Finished jobs of one user that stay; the oldest goes for the next.
const MAX_FINISHED_PER_UID: usize = 16;

/// The jobs of the service. Share it by cloning.
#[derive(Debug, Clone, Default)]
pub struct Jobs(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<Registry>,
    changed: Notify,
}

#[derive(Debug)]
struct Registry {
    last: u64,
    jobs: BTreeMap<u64, Entry>,
    /// Whether the service is about to end.
    closing: bool,
    since: Instant,
}

#[derive(Debug)]
struct Entry {
    job: Arc<Job>,
    /// It is over, and its owner was told.
    over: bool,
    driver: Option<AbortHandle>,
}

impl Default for Registry {
    fn default() -> Self {
        Self { last: 0, jobs: BTreeMap::new(), closing: false, since: Instant::now() }
    }
}

impl Jobs {
    /// Takes a job in, within its owner's bounds; its number, which no other job ever has.
    ///
    /// # Errors
    /// `LimitExceeded` when the user has too many that are not finished, `Busy` when the service is about to end.
    pub fn admit(&self, job: &Arc<Job>) -> Result<u64, Error> {
        let mut registry = self.registry();
        if registry.closing {
            return Err(Error::Busy("the service is about to end; call again".into()));
        }
        let uid = job.owner().uid;
        let mine = || registry.jobs.values().filter(|entry| entry.job.owner().uid == uid);
        if mine().filter(|entry| !entry.over).count() >= MAX_JOBS_PER_UID {
            return Err(Error::LimitExceeded(format!(
                "jobs: {MAX_JOBS_PER_UID} of yours are not finished; finish or close one of them"
            )));
        }
        let finished = mine().filter(|entry| entry.over);
        if finished.clone().count() >= MAX_FINISHED_PER_UID
            && let Some(oldest) = finished.clone().next()
        {
            oldest.job.evict();
        }
        registry.last += 1;
        let number = registry.last;
        registry.jobs.insert(number, Entry { job: Arc::clone(job), over: false, driver: None });
        Ok(number)
    }

    /// Notes what drives a job.
    pub fn driven(&self, number: u64, driver: AbortHandle) {
        if let Some(entry) = self.registry().jobs.get_mut(&number) {
            entry.driver = Some(driver);
        }
    }

    /// A job is over and its owner was told.
    pub fn over(&self, number: u64) {
        if let Some(entry) = self.registry().jobs.get_mut(&number) {
            entry.over = true;
        }
        self.0.changed.notify_waiters();
    }

    /// A job's object is gone.
    pub fn remove(&self, number: u64) {
        let mut registry = self.registry();
        registry.jobs.remove(&number);
        registry.since = Instant::now();
        drop(registry);
        self.0.changed.notify_waiters();
    }

    /// Peers left the bus: theirs are abandoned.
    pub fn abandon(&self, owner: &str) {
        for entry in self.registry().jobs.values().filter(|entry| entry.job.owner().name.as_str() == owner) {
            entry.job.abandon();
        }
    }

    /// How long there has been no job; `None` while there is one.
    pub fn idle_for(&self) -> Option<Duration> {
        let registry = self.registry();
        registry.jobs.is_empty().then(|| registry.since.elapsed())
    }

    /// Takes no more jobs in, and ends those that do not run; with `running` also those that do, each as soon as it leaves
    /// nothing half done.
    pub fn close(&self, running: bool) {
        let mut registry = self.registry();
        registry.closing = true;
        for entry in registry.jobs.values().filter(|entry| running || entry.job.state() < State::Running) {
            entry.job.stop();
        }
    }

    /// Waits until no job is left that is not over.
    pub async fn all_over(&self) {
        loop {
            let changed = self.0.changed.notified();
            if self.registry().jobs.values().all(|entry| entry.over) {
                return;
            }
            changed.await;
        }
    }

    /// Lets go of what still serves finished jobs.
    pub fn abort(&self) {
        for entry in self.registry().jobs.values() {
            if let Some(driver) = &entry.driver {
                driver.abort();
            }
        }
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use omg::dbus::callers::Caller;
    use omg::dbus::job::Owner;

    use super::*;

    fn job(uid: u32) -> Arc<Job> {
        Job::new(Owner { name: ":1.7".try_into().unwrap(), uid, shared: false }).0
    }

    #[test]
    fn a_flood_by_one_user_leaves_another_one_room() {
        let jobs = Jobs::default();
        let first: Vec<u64> = (0..MAX_JOBS_PER_UID).map(|_| jobs.admit(&job(1)).unwrap()).collect();
        assert!(matches!(jobs.admit(&job(1)), Err(Error::LimitExceeded(_))));
        assert!(jobs.admit(&job(2)).is_ok());
        jobs.over(first[0]);
        let next = jobs.admit(&job(1)).unwrap();
        assert!(!first.contains(&next));
        jobs.remove(first[0]);
        assert!(matches!(jobs.admit(&job(1)), Err(Error::LimitExceeded(_))));
    }

    #[test]
    fn a_service_that_is_about_to_end_takes_nothing_in() {
        let jobs = Jobs::default();
        assert!(jobs.idle_for().is_some());
        let ready = job(1);
        jobs.admit(&ready).unwrap();
        assert_eq!(jobs.idle_for(), None);
        jobs.close(false);
        assert!(matches!(jobs.admit(&job(2)), Err(Error::Busy(_))));
    }

    #[test]
    fn a_stop_reaches_running_jobs_and_the_loss_of_the_bus_only_those_that_do_not_run() {
        let jobs = Jobs::default();
        let (ready, running) = (job(1), job(2));
        for job in [&ready, &running] {
            jobs.admit(job).unwrap();
        }
        running.start(Caller { name: ":1.7".try_into().unwrap(), interactive: false }).unwrap();
        assert!(running.advance(State::Waiting) && running.advance(State::Running));
        jobs.close(false);
        assert!(ready.is_unattended() && !running.is_unattended());
        jobs.close(true);
        assert!(running.is_unattended());
    }
}
