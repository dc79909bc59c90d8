//! The object that a job's owner talks to.

use std::sync::Arc;

use zbus::interface;
use zbus::message::Header;
use zbus::object_server::SignalEmitter;

use super::super::callers::{Caller, Callers};
use super::super::dictionaries::Dictionary;
use super::super::error::Error;
use super::{Job, result};

/// Version of the interface; it only ever gains members.
pub const INTERFACE_VERSION: u32 = 1;

/// Serves `org.omg.Job1`.
#[derive(Debug)]
pub struct Job1 {
    job: Arc<Job>,
    callers: Callers,
}

impl Job1 {
    pub fn new(job: Arc<Job>, callers: Callers) -> Self {
        Self { job, callers }
    }

    /// The sender, when it is the owner, by its name on the bus, root or, of a shared job, the same user.
    async fn admit(&self, header: &Header<'_>) -> Result<Caller, Error> {
        let caller = self.callers.caller(header)?;
        let owner = self.job.owner();
        // The owner does not wait for the bus: its calls stay in order, and in the order in which they came.
        if caller.name == owner.name {
            return Ok(caller);
        }
        match self.callers.uid(&caller.name).await? {
            0 => Ok(caller),
            uid if owner.shared && uid == owner.uid => Ok(caller),
            _ => Err(Error::NotAuthorized("the job belongs to another connection; only that one may use it".into())),
        }
    }

    /// For a property: nobody asks when there is no header.
    async fn reveal(&self, header: Option<Header<'_>>) -> Result<(), Error> {
        match header {
            Some(header) => self.admit(&header).await.map(drop),
            None => Ok(()),
        }
    }
}

/// A piece of work: made ready, started once by its owner, followed by signals, over for good.
///
/// It belongs to the connection that asked for it; nobody else but root may use it, and its signals go to that connection
/// alone. When the owner leaves the bus before the job is authorised, it ends; once it is authorised it goes on. A question
/// for consent that nobody answers ends it after 5 minutes. It stays for 60 seconds after it finished, or until its owner
/// leaves then. A job that was made with the option start may be used by every connection of the same user, and stays
/// without its owner.
#[interface(name = "org.omg.Job1", spawn = false)]
impl Job1 {
    /// Asks whether the caller may, waits for other jobs, and runs. Returns at once. People are asked for their consent
    /// only when this message allows it (ALLOW_INTERACTIVE_AUTHORIZATION).
    async fn start(&self, #[zbus(header)] header: Header<'_>) -> Result<(), Error> {
        let caller = self.admit(&header).await?;
        self.job.start(caller)
    }

    /// Ends it as soon as nothing is left half done.
    async fn cancel(&self, #[zbus(header)] header: Header<'_>) -> Result<(), Error> {
        self.admit(&header).await?;
        self.job.cancel()
    }

    /// Answers the open question with one of its choices. To import a key takes a consent of its own
    /// (org.omg.transaction.import-key), which people are asked for only when this message allows it; without it the key is
    /// refused.
    async fn answer(&self, #[zbus(header)] header: Header<'_>, id: u32, choice: String) -> Result<(), Error> {
        let caller = self.admit(&header).await?;
        self.job.answer(caller, id, choice)
    }

    /// How it ended: Outcome s (succeeded, failed, cancelled); Error s and Message s when it failed; what was done, as
    /// Items a(sssssstx) (change, name, arch, from, to, repository, download bytes, change of installed bytes),
    /// RestartMachine b, RestartPackages as, RestartServices as, AuditEntry t.
    #[zbus(out_args("result"))]
    async fn get_result(&self, #[zbus(header)] header: Header<'_>) -> Result<Dictionary, Error> {
        self.admit(&header).await?;
        Ok(result::dictionary(&*self.job.outcome()?))
    }

    /// Takes the object away, before Start or after Finished.
    async fn close(&self, #[zbus(header)] header: Header<'_>) -> Result<(), Error> {
        self.admit(&header).await?;
        self.job.close()
    }

    /// Packages and fetched files that moved on, as (name, state, bytes done, bytes in all); at most ten times a second,
    /// each with its latest state only.
    #[zbus(signal)]
    pub async fn items(emitter: &SignalEmitter<'_>, items: Vec<(String, &str, u64, u64)>) -> zbus::Result<()>;

    /// Something that the owner has to decide; Answer takes the number and one of the choices. The first choice is taken
    /// when nobody answers. About conffile: Package s, Path s; choices keep, replace. About key, the signing key of a
    /// package that is not known: Fingerprint s, Owner s; choices refuse, import. About corrupted, a package file in the
    /// download cache: Path s, Reason s; choices delete, keep.
    #[zbus(signal)]
    pub async fn question(
        emitter: &SignalEmitter<'_>,
        id: u32,
        about: &str,
        details: Dictionary,
        choices: &[String],
    ) -> zbus::Result<()>;

    /// Something to know; levels are info, warning, error.
    #[zbus(signal)]
    pub async fn message(emitter: &SignalEmitter<'_>, level: &str, text: &str) -> zbus::Result<()>;

    /// It is over; the result is that of GetResult.
    #[zbus(signal)]
    pub async fn finished(emitter: &SignalEmitter<'_>, outcome: &str, result: Dictionary) -> zbus::Result<()>;

    /// Version of this interface; it only ever gains members.
    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> u32 {
        INTERFACE_VERSION
    }

    /// Ready, authorizing, waiting, running or finished, in lower case.
    #[zbus(property)]
    async fn state(&self, #[zbus(header)] header: Option<Header<'_>>) -> Result<String, Error> {
        self.reveal(header).await?;
        Ok(self.job.facts().state.as_str().to_owned())
    }

    /// Locking, resolving, fetching, building, applying or finishing, in lower case; empty before.
    #[zbus(property)]
    async fn phase(&self, #[zbus(header)] header: Option<Header<'_>>) -> Result<String, Error> {
        self.reveal(header).await?;
        Ok(self.job.facts().phase.map_or("", |phase| phase.as_str()).to_owned())
    }

    /// How much of all of it is done, 0 to 1.
    #[zbus(property)]
    async fn fraction(&self, #[zbus(header)] header: Option<Header<'_>>) -> Result<f64, Error> {
        self.reveal(header).await?;
        Ok(self.job.facts().fraction)
    }

    /// Bytes fetched.
    #[zbus(property)]
    async fn bytes_done(&self, #[zbus(header)] header: Option<Header<'_>>) -> Result<u64, Error> {
        self.reveal(header).await?;
        Ok(self.job.facts().bytes_done)
    }

    /// Bytes to fetch in all.
    #[zbus(property)]
    async fn bytes_total(&self, #[zbus(header)] header: Option<Header<'_>>) -> Result<u64, Error> {
        self.reveal(header).await?;
        Ok(self.job.facts().bytes_total)
    }

    /// Whether Cancel would be heeded now.
    #[zbus(property)]
    async fn cancellable(&self, #[zbus(header)] header: Option<Header<'_>>) -> Result<bool, Error> {
        self.reveal(header).await?;
        Ok(self.job.facts().cancellable)
    }
}
