//! `org.omg.Transaction1`.

use std::sync::Arc;
use std::time::Duration;

use omg::dbus::activity::Activity;
use omg::dbus::arguments::Options;
use omg::dbus::callers::Caller;
use omg::dbus::error::Error;
use omg::dbus::job::{Job, Job1, Owner, Relay};
use omg::dbus::names::TRANSACTION_PATH;
use tokio::sync::oneshot;
use tokio::time::timeout;
use zbus::message::Header;
use zbus::{Connection, OwnedObjectPath, interface};

use super::arguments::{self, Work};
use super::jobs::Jobs;
use super::run::{Authorised, Means, Run};

/// Version of the interface; it only ever gains members.
const INTERFACE_VERSION: u32 = 1;

/// Finished jobs stay for so long.
const LINGER: Duration = Duration::from_secs(60);

/// Serves `org.omg.Transaction1`.
#[derive(Debug)]
pub struct Transaction {
    pub means: Arc<Means>,
    pub jobs: Jobs,
    pub activity: Activity,
}

impl Transaction {
    /// Makes a job of what was asked for: nobody is asked and nothing is read before it is started. With `start` it is
    /// started at once, and this waits until it is allowed to do all that it comes to: the caller may leave then.
    async fn job(
        &self,
        header: &Header<'_>,
        bus: &Connection,
        work: Work,
        start: bool,
    ) -> Result<OwnedObjectPath, Error> {
        let caller = Caller::of(header)?;
        let uid = self.means.callers.uid(&caller.name).await?;
        let (job, commands) = Job::new(Owner { name: caller.name.clone(), uid, shared: start });
        let number = self.jobs.admit(&job)?;
        let (tell, told) = oneshot::channel();
        if start {
            // Before others of this user can see it, and start it in their name.
            job.start(caller.clone())?;
        }
        let made = self.make(bus, work, Arc::clone(&job), commands, number, start.then_some(tell)).await;
        if made.is_err() {
            self.jobs.remove(number);
        }
        let path = made?;
        // One that left before its job was taken in is not announced again.
        if !self.means.callers.is_there(&caller.name).await {
            job.abandon();
        }
        if start {
            let ended = |_| Error::Busy("the service is about to end; call again".into());
            told.await.map_err(ended)??;
        }
        Ok(path)
    }

    async fn make(
        &self,
        bus: &Connection,
        work: Work,
        job: Arc<Job>,
        commands: omg::dbus::job::Commands,
        number: u64,
        authorised: Option<Authorised>,
    ) -> Result<OwnedObjectPath, Error> {
        let path = OwnedObjectPath::try_from(format!("{TRANSACTION_PATH}/job/{number}"))?;
        let object = Job1::new(Arc::clone(&job), self.means.callers.clone());
        bus.object_server().at(&path, object).await?;
        let relay = Relay::new(Arc::clone(&job), bus, path.clone().into_inner());
        let mut run = Run { job, commands, relay, means: Arc::clone(&self.means), authorised };
        let (jobs, bus, object) = (self.jobs.clone(), bus.clone(), path.clone());
        let driver = tokio::spawn(async move {
            let stays = run.through(work).await;
            jobs.over(number);
            if stays {
                let _ = timeout(LINGER, run.closed()).await;
            }
            if let Err(error) = bus.object_server().remove::<Job1, _>(&object).await {
                eprintln!("omg-helper: the job {object} cannot be taken away: {error}");
            }
            jobs.remove(number);
        });
        self.jobs.driven(number, driver.abort_handle());
        Ok(path)
    }
}

/// Changes of this machine's packages, for whom polkit allows them.
///
/// Both methods make a job (org.omg.Job1) that belongs to the calling connection; it is authorised when it is started.
/// A user may have 4 jobs that are not finished. Options that are not listed are refused.
///
/// With the option start b the call itself starts the job, by its own ALLOW_INTERACTIVE_AUTHORIZATION. It returns when the
/// job is allowed to do all that it comes to, and fails with the job's error where it comes to nothing before. The job goes
/// on when the caller leaves, and every connection of the same user may use it.
#[interface(name = "org.omg.Transaction1")]
impl Transaction {
    /// A job that does what actions come to, provided that it still is the plan that digest names.
    ///
    /// Actions are (verb, target). Options: recommends b, conffiles s (keep, replace, ask), wait b, download-only b,
    /// cascade b, answers a{ss} (as of the plan), start b, files ah (one for each action install-file, in their order). With
    /// start the call starts the job, by its own ALLOW_INTERACTIVE_AUTHORIZATION, and returns when it is allowed to do all that
    /// it comes to, or fails with its error; the job goes on when the caller leaves, and all connections of the same user may
    /// use it.
    #[zbus(out_args("job"))]
    async fn commit(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] bus: &Connection,
        actions: Vec<(String, String)>,
        digest: String,
        options: Options,
    ) -> Result<OwnedObjectPath, Error> {
        let _call = self.activity.begin(Caller::of(&header)?.name.as_str())?;
        let start = arguments::starts(&options)?;
        let work = Work::commit(actions, &digest, options)?;
        self.job(&header, bus, work, start).await
    }

    /// A job that fetches the package lists. Options: start b, as of Commit.
    #[zbus(out_args("job"))]
    async fn refresh(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] bus: &Connection,
        options: Options,
    ) -> Result<OwnedObjectPath, Error> {
        let _call = self.activity.begin(Caller::of(&header)?.name.as_str())?;
        let work = Work::refresh(&options)?;
        self.job(&header, bus, work, arguments::starts(&options)?).await
    }

    /// Version of this interface; it only ever gains members.
    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> u32 {
        INTERFACE_VERSION
    }
}
