//! `org.omg.Job1`: a piece of work that its owner starts, follows and may cancel.
//!
//! [`Job`] is what is known about it, [`Job1`] the D-Bus object, which checks who asks and hands [`Command`]s to whoever
//! drives the job, and [`Relay`] sends the signals, to the owner alone.

mod interface;
mod relay;
mod result;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use zbus::names::OwnedUniqueName;

use super::callers::Caller;
use super::error::Error;
use crate::transaction::{Outcome, Phase, Question, State};

pub use interface::{INTERFACE_VERSION, Job1};
pub use relay::Relay;

/// The peer that a job belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    pub name: OwnedUniqueName,
    pub uid: u32,
    /// Other connections of the same user may use it too, and it outlives the owner's. A user's processes can do to each
    /// other whatever they could do to it.
    pub shared: bool,
}

/// What whoever drives the job has to do something about. Each kind comes at most once, but for answers: one for each
/// question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// The state is [`State::Authorizing`] now.
    Start(Caller),
    Cancel,
    /// To the open question, and one of its choices.
    Answer {
        by: Caller,
        id: u32,
        choice: String,
    },
    /// Take the object away: the job is over, or never began.
    Close,
    OwnerGone,
    /// Whoever drives the job is about to end: as a cancellation, but also while it must not be interrupted, to be heeded as
    /// soon as nothing is left half done. Nobody is asked anything any more.
    Stop,
}

/// Commands in the order in which they came.
pub type Commands = UnboundedReceiver<Command>;

/// Waits until a finished job is taken away, or its owner leaves it. One whose owner left before stays for root to look at,
/// and one that is shared for the owner's other connections.
pub async fn taken_away(job: &Job, commands: &mut Commands) {
    while let Some(command) = commands.recv().await {
        if command == Command::Close || command == Command::OwnerGone && !job.owner().shared {
            return;
        }
    }
}

/// What is known about a job.
#[derive(Debug)]
pub struct Job {
    owner: Owner,
    facts: Mutex<Facts>,
    commands: UnboundedSender<Command>,
}

#[derive(Debug)]
struct Facts {
    state: State,
    phase: Option<Phase>,
    /// Of all of it, 0 to 1.
    fraction: f64,
    bytes_done: u64,
    bytes_total: u64,
    cancellable: bool,
    question: Option<Question>,
    outcome: Option<Arc<Outcome>>,
    owner_gone: bool,
    cancelled: bool,
    stopping: bool,
    closed: bool,
}

impl Job {
    /// A job that is ready to be started, and what will be asked of it.
    pub fn new(owner: Owner) -> (Arc<Self>, Commands) {
        let (commands, heard) = unbounded_channel();
        let facts = Facts {
            state: State::Ready,
            phase: None,
            fraction: 0.0,
            bytes_done: 0,
            bytes_total: 0,
            cancellable: true,
            question: None,
            outcome: None,
            owner_gone: false,
            cancelled: false,
            stopping: false,
            closed: false,
        };
        (Arc::new(Self { owner, facts: Mutex::new(facts), commands }), heard)
    }

    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    pub fn state(&self) -> State {
        self.facts().state
    }

    /// Whether nobody is there any more to hear of it.
    pub fn is_abandoned(&self) -> bool {
        self.facts().owner_gone
    }

    /// Whether it can be interrupted now without leaving anything half done.
    pub fn is_cancellable(&self) -> bool {
        self.facts().cancellable
    }

    /// Whether nobody will answer a question any more.
    pub fn is_unattended(&self) -> bool {
        let facts = self.facts();
        facts.owner_gone || facts.stopping
    }

    /// Moves on, when that is a legal move; says whether it was.
    pub fn advance(&self, next: State) -> bool {
        self.facts().advance(next)
    }

    /// Starts it: a job is started once.
    ///
    /// # Errors
    /// `InvalidState` when it was started or ended before.
    pub fn start(&self, by: Caller) -> Result<(), Error> {
        let mut facts = self.facts();
        if facts.cancelled || facts.stopping || facts.closed || !facts.advance(State::Authorizing) {
            return Err(facts.wrong_state("it can be started only once; ask for another job"));
        }
        self.send(Command::Start(by));
        Ok(())
    }

    /// Asks it to end as soon as nothing is left half done. Asking again changes nothing.
    ///
    /// # Errors
    /// `NotCancellable` while it must not be interrupted, `InvalidState` when it is over.
    pub fn cancel(&self) -> Result<(), Error> {
        let mut facts = self.facts();
        match facts.state {
            State::Finished => return Err(facts.wrong_state("GetResult tells how it ended")),
            State::Running if !facts.cancellable => {
                return Err(Error::NotCancellable("packages are being changed; wait until that is done".into()));
            }
            _ => {}
        }
        if !std::mem::replace(&mut facts.cancelled, true) {
            self.send(Command::Cancel);
        }
        Ok(())
    }

    /// Has it end as soon as nothing is left half done, as whoever drives it is about to end.
    pub fn stop(&self) {
        let mut facts = self.facts();
        if facts.state != State::Finished && !std::mem::replace(&mut facts.stopping, true) {
            self.send(Command::Stop);
        }
    }

    /// Answers the open question.
    ///
    /// # Errors
    /// `InvalidArgument` when no such question is open, or it has no such choice.
    pub fn answer(&self, by: Caller, id: u32, choice: String) -> Result<(), Error> {
        let mut facts = self.facts();
        match &facts.question {
            Some(question) if question.id != id => {
                return Err(Error::InvalidArgument(format!("id: the open question is {}, not {id}", question.id)));
            }
            None => return Err(Error::InvalidArgument(format!("id: no question {id} is open"))),
            Some(question) if !question.choices.contains(&choice) => {
                let choices = question.choices.join(", ");
                return Err(Error::InvalidArgument(format!("choice: must be one of {choices}")));
            }
            Some(_) => {}
        }
        facts.question = None;
        self.send(Command::Answer { by, id, choice });
        Ok(())
    }

    /// Takes it away, before it was started or after it ended.
    ///
    /// # Errors
    /// `InvalidState` in between.
    pub fn close(&self) -> Result<(), Error> {
        let mut facts = self.facts();
        if !matches!(facts.state, State::Ready | State::Finished) {
            return Err(facts.wrong_state("cancel it, or let it go on"));
        }
        if !std::mem::replace(&mut facts.closed, true) {
            self.send(Command::Close);
        }
        Ok(())
    }

    /// Takes it away without being asked by its owner: it is over, and something else needs the room.
    pub fn evict(&self) {
        // One that is not over stays.
        let _ = self.close();
    }

    /// Notes that the owner left the bus.
    pub fn abandon(&self) {
        let mut facts = self.facts();
        if !std::mem::replace(&mut facts.owner_gone, true) {
            self.send(Command::OwnerGone);
        }
    }

    /// How it ended.
    ///
    /// # Errors
    /// `InvalidState` while it has not.
    pub fn outcome(&self) -> Result<Arc<Outcome>, Error> {
        let facts = self.facts();
        facts.outcome.clone().ok_or_else(|| facts.wrong_state("wait for Finished"))
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, command: Command) {
        // A job whose driver is gone is over.
        let _ = self.commands.send(command);
    }
}

impl Facts {
    fn advance(&mut self, next: State) -> bool {
        let legal = self.state.may_become(next);
        if legal {
            self.state = next;
            self.cancellable &= next != State::Finished;
        }
        legal
    }

    fn wrong_state(&self, advice: &str) -> Error {
        Error::InvalidState(format!("the job is {}: {advice}", self.state.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::QuestionKind;

    fn job() -> (Arc<Job>, Commands) {
        Job::new(Owner { name: ":1.7".try_into().unwrap(), uid: 1000, shared: false })
    }

    fn caller() -> Caller {
        Caller { name: ":1.7".try_into().unwrap(), interactive: false }
    }

    #[test]
    fn a_job_is_started_once_and_not_after_it_was_cancelled_or_closed() {
        let (started, mut commands) = job();
        started.start(caller()).unwrap();
        assert!(matches!(started.start(caller()), Err(Error::InvalidState(_))));
        assert!(matches!(started.close(), Err(Error::InvalidState(_))));
        assert_eq!(commands.try_recv(), Ok(Command::Start(caller())));
        assert!(commands.try_recv().is_err());
        for end in [Job::cancel, Job::close] {
            let (ended, mut commands) = job();
            end(&ended).unwrap();
            assert!(matches!(ended.start(caller()), Err(Error::InvalidState(_))));
            assert!(commands.try_recv().is_ok());
            assert!(commands.try_recv().is_err());
        }
    }

    #[test]
    fn repeating_a_request_makes_one_command() {
        let (job, mut commands) = job();
        for _ in 0..1000 {
            job.cancel().unwrap();
            job.abandon();
        }
        assert_eq!(commands.try_recv(), Ok(Command::Cancel));
        assert_eq!(commands.try_recv(), Ok(Command::OwnerGone));
        assert!(commands.try_recv().is_err());
    }

    #[test]
    fn only_the_open_question_is_answered_and_only_once() {
        let (job, mut commands) = job();
        let kind = QuestionKind::Conffile { package: "a".into(), path: "/etc/a".into() };
        job.facts().question = Some(Question { id: 3, kind, choices: vec!["keep".into(), "replace".into()] });
        assert!(matches!(job.answer(caller(), 2, "keep".into()), Err(Error::InvalidArgument(_))));
        assert!(matches!(job.answer(caller(), 3, "delete".into()), Err(Error::InvalidArgument(_))));
        job.answer(caller(), 3, "replace".into()).unwrap();
        assert!(matches!(job.answer(caller(), 3, "keep".into()), Err(Error::InvalidArgument(_))));
        assert_eq!(commands.try_recv(), Ok(Command::Answer { by: caller(), id: 3, choice: "replace".into() }));
        assert!(commands.try_recv().is_err());
    }

    #[test]
    fn a_running_job_can_be_cancelled_until_it_says_otherwise() {
        let (job, _commands) = job();
        job.start(caller()).unwrap();
        assert!(job.advance(State::Waiting) && job.advance(State::Running));
        job.facts().cancellable = false;
        assert!(matches!(job.cancel(), Err(Error::NotCancellable(_))));
        assert!(matches!(job.outcome(), Err(Error::InvalidState(_))));
        assert!(job.advance(State::Finished) && !job.advance(State::Finished));
        assert!(matches!(job.cancel(), Err(Error::InvalidState(_))));
    }

    #[test]
    fn a_stop_is_heard_also_where_a_cancellation_is_not_and_nothing_starts_after_it() {
        let (running, mut commands) = job();
        running.start(caller()).unwrap();
        assert!(running.advance(State::Waiting) && running.advance(State::Running));
        running.facts().cancellable = false;
        assert!(!running.is_unattended());
        running.stop();
        running.stop();
        assert!(running.is_unattended());
        assert_eq!(commands.try_recv(), Ok(Command::Start(caller())));
        assert_eq!(commands.try_recv(), Ok(Command::Stop));
        assert!(commands.try_recv().is_err());
        let (ready, mut commands) = job();
        ready.stop();
        assert!(matches!(ready.start(caller()), Err(Error::InvalidState(_))));
        assert_eq!(commands.try_recv(), Ok(Command::Stop));
        assert!(commands.try_recv().is_err());
    }
}
