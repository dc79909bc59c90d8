//! A job from Start to its end: authorise, wait, run, tell.

use std::collections::BTreeSet;
use std::future::{Future, pending};
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use omg::dbus::callers::{Caller, Callers};
use omg::dbus::error::Error;
use omg::dbus::job::{Command, Commands, Job, Relay, taken_away};
use omg::transaction::{
    Applied, Event, Failure, FailureKind, IMPORT, Level, Outcome, Phase, Privilege, Question, QuestionKind, REFUSE,
    Reply, State,
};
use tokio::sync::mpsc::Receiver;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};
use zbus::{Connection, DBusError};

use super::arguments::Work;
use super::child::Child;
use super::inhibit::inhibit;
use super::polkit::Authority;
use super::turns::Turns;
use crate::UNAVAILABLE;

/// People get so long to consent or to answer while others wait for the machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// A helper that is cancelled where it can be has ended by then, unless it is stuck in something that hears nothing: a file
/// or a folder on a server that is gone, or that its owner serves and does not let be read.
const GRACE: Duration = Duration::from_secs(30);

/// What the helper said last is read for so long after its end.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What all jobs share.
#[derive(Debug)]
pub struct Means {
    pub bus: Connection,
    pub callers: Callers,
    pub authority: Authority,
    pub turns: Turns,
    /// The program that changes packages: this one.
    pub program: PathBuf,
    /// A helper makes its plan within this time, most of which is for copying package files: one that is stuck in a file on a
    /// server that is gone, or that its owner serves, keeps nobody else from the machine for longer.
    pub plan_within: Duration,
}

/// Told once: that the job may do all that it comes to, or why it ended before.
pub type Authorised = oneshot::Sender<Result<(), Error>>;

/// One job's way.
pub struct Run {
    pub job: Arc<Job>,
    pub commands: Commands,
    pub relay: Relay,
    pub means: Arc<Means>,
    /// Of the call that waits for it, where one does.
    pub authorised: Option<Authorised>,
}

type Check<'a> = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send + 'a>>;

fn cancelled() -> Outcome {
    Outcome::Cancelled { applied: Applied::default() }
}

fn failed(failure: Failure) -> Outcome {
    Outcome::Failed { failure, applied: Applied::default() }
}

impl Run {
    /// Does the work once it is started, and ends the job. Says whether its object is to stay for a while: one that never
    /// began, and that its owner took away or left, is not.
    pub async fn through(&mut self, work: Work) -> bool {
        let (outcome, stays) = match self.started().await {
            Ok(caller) => (self.authorised(&caller, work).await, true),
            Err(stays) => (cancelled(), stays),
        };
        let refused = self.settle(match &outcome {
            Outcome::Succeeded(_) => Ok(()),
            Outcome::Failed { failure, .. } => Err(failure.clone().into()),
            Outcome::Cancelled { .. } => Err(Error::Cancelled("the job was cancelled; nothing was done".into())),
        });
        self.relay.finish(outcome).await;
        stays && !refused
    }

    /// Tells the call that waits, if one still does; says whether that was a refusal.
    fn settle(&mut self, result: Result<(), Error>) -> bool {
        let refused = result.is_err();
        match self.authorised.take() {
            // One that is gone needs no answer.
            Some(tell) => tell.send(result).is_ok() && refused,
            None => false,
        }
    }

    /// Waits until the finished job is no longer wanted.
    pub async fn closed(&mut self) {
        taken_away(&self.job, &mut self.commands).await;
    }

    /// Waits for Start; without one says whether the object stays.
    async fn started(&mut self) -> Result<Caller, bool> {
        loop {
            match self.commands.recv().await {
                Some(Command::Start(caller)) => return Ok(caller),
                Some(Command::Cancel | Command::Stop) => return Err(true),
                Some(Command::Close | Command::OwnerGone) | None => return Err(false),
                Some(Command::Answer { .. }) => {}
            }
        }
    }

    /// From Authorizing on. Before polkit has said yes nothing is read or opened, not even what was passed.
    async fn authorised(&mut self, caller: &Caller, work: Work) -> Outcome {
        self.relay.state().await;
        let means = Arc::clone(&self.means);
        let granted = work.privileges();
        // Without an owner there is nobody whom polkit could judge.
        let ends = |command: &Command| matches!(command, Command::Cancel | Command::Stop | Command::OwnerGone);
        match self.unless(ends, in_time(PATIENCE, check(&means, caller, granted.clone()))).await {
            None => return cancelled(),
            Some(Err(failure)) => return failed(failure),
            Some(Ok(())) => {}
        }
        if matches!(work, Work::Refresh) {
            self.settle(Ok(()));
        }
        self.relay.advance(State::Waiting).await;
        let uid = self.job.owner().uid;
        let ends = |command: &Command| matches!(command, Command::Cancel | Command::Stop);
        let Some(_turn) = self.unless(ends, means.turns.wait(uid)).await else { return cancelled() };
        self.relay.advance(State::Running).await;
        match Child::start(&means.program, work, uid).await {
            Ok((child, events)) => self.followed(child, events, caller, granted).await,
            Err(error) => failed(internal(format!("cannot start {}: {error}", means.program.display()))),
        }
    }

    /// Follows the helper to its end.
    async fn followed(
        &mut self,
        mut child: Child,
        mut events: Receiver<Event>,
        caller: &Caller,
        mut granted: BTreeSet<Privilege>,
    ) -> Outcome {
        let means = Arc::clone(&self.means);
        let mut checking: Option<(BTreeSet<Privilege>, Check<'_>)> = None;
        // The open question about a key, and the check whether who wants to import it may.
        let mut key: Option<u32> = None;
        let mut importing: Option<(u32, Check<'_>)> = None;
        let mut denied = None;
        let mut ended: Option<Outcome> = None;
        let mut lock = Lock(None);
        let mut patience: Option<Instant> = None;
        // When a helper that was told to end has to have ended.
        let mut grace: Option<Instant> = None;
        let mut killed = false;
        // When the plan that it makes has to be made.
        let mut unplanned: Option<Instant> = None;
        let mut stuck = false;
        let status = loop {
            tokio::select! {
                biased;
                command = self.commands.recv() => match command {
                    Some(command @ (Command::Cancel | Command::Stop)) => {
                        // Dropped, polkit closes its dialogs.
                        checking = None;
                        if let Some((id, _)) = importing.take() {
                            child.reply(&Reply::Answer { id, choice: REFUSE.to_owned() }).await;
                        }
                        if command == Command::Stop && patience.is_some() {
                            patience = Some(Instant::now());
                        }
                        child.reply(&Reply::Cancel).await;
                        grace = Some(Instant::now() + GRACE);
                    }
                    Some(Command::Answer { by, id, choice }) => {
                        patience = None;
                        if key == Some(id) && choice == IMPORT {
                            let check = in_time(PATIENCE, check_of(Arc::clone(&means), by, Privilege::ImportKey));
                            importing = Some((id, Box::pin(check)));
                        } else {
                            child.reply(&Reply::Answer { id, choice }).await;
                        }
                    }
                    Some(Command::OwnerGone) => {
                        if let Some((id, _)) = importing.take() {
                            child.reply(&Reply::Answer { id, choice: REFUSE.to_owned() }).await;
                        }
                        if checking.take().is_some() {
                            child.reply(&Reply::Cancel).await;
                            grace = Some(Instant::now() + GRACE);
                        }
                        patience = patience.map(|_| Instant::now());
                    }
                    _ => {}
                },
                verdict = settled(importing.as_mut().map(|(_, check)| check)) => {
                    let Some((id, _)) = importing.take() else { continue };
                    let choice = match verdict {
                        Ok(()) => IMPORT,
                        Err(failure) => {
                            let text = format!("the key is not imported: {failure}");
                            self.relay.tell(Event::Message { level: Level::Warning, text }).await;
                            REFUSE
                        }
                    };
                    child.reply(&Reply::Answer { id, choice: choice.to_owned() }).await;
                }
                verdict = settled(checking.as_mut().map(|(_, check)| check)) => {
                    let wanted = checking.take().map(|(wanted, _)| wanted).unwrap_or_default();
                    match verdict {
                        Ok(()) => {
                            granted.extend(wanted);
                            child.reply(&Reply::Proceed).await;
                            self.settle(Ok(()));
                        }
                        Err(failure) => {
                            denied = Some(failure);
                            child.reply(&Reply::Cancel).await;
                            grace = Some(Instant::now() + GRACE);
                        }
                    }
                }
                event = events.recv() => match event {
                    // It is about to end: nobody is to be asked any more.
                    Some(Event::Resolved { .. }) if grace.is_some() => {}
                    Some(Event::Resolved { privileges }) => {
                        unplanned = None;
                        let wanted: BTreeSet<_> = privileges.difference(&granted).copied().collect();
                        checking = Some((wanted.clone(), Box::pin(in_time(PATIENCE, check(&means, caller, wanted)))));
                    }
                    Some(Event::Finished(outcome)) => ended = Some(outcome),
                    Some(event) => {
                        if let Event::Question(Question { id, kind: QuestionKind::Key { .. }, .. }) = &event {
                            key = Some(*id);
                        }
                        if let Event::Phase { phase, .. } = event {
                            unplanned = (phase == Phase::Resolving).then(|| Instant::now() + means.plan_within);
                        }
                        self.told(event, &mut lock, &mut patience).await;
                    }
                    None => break child.ended().await,
                },
                // Something that it left behind may hold its output open.
                status = child.ended() => {
                    let last_words = async {
                        while let Some(event) = events.recv().await {
                            match event {
                                Event::Finished(outcome) => ended = Some(outcome),
                                event => self.relay.tell(event).await,
                            }
                        }
                    };
                    let _ = timeout(LAST_WORDS, last_words).await;
                    break status;
                }
                () = self.relay.due() => self.relay.flush().await,
                () = at(grace) => {
                    grace = None;
                    // It tells that it must not be interrupted before it does anything, and looks whether it is cancelled
                    // before that.
                    if self.job.is_cancellable() {
                        killed = true;
                        child.kill();
                    }
                }
                () = at(unplanned) => {
                    unplanned = None;
                    stuck = true;
                    child.kill();
                }
                () = at(patience) => {
                    patience = None;
                    if let Some((id, choice)) = self.relay.give_up() {
                        child.reply(&Reply::Answer { id, choice }).await;
                    }
                }
            }
        };
        match (ended, denied) {
            (Some(Outcome::Failed { applied, .. } | Outcome::Cancelled { applied }), Some(failure)) => {
                Outcome::Failed { failure, applied }
            }
            (Some(outcome), _) => outcome,
            (None, Some(failure)) => failed(failure),
            (None, None) if killed => cancelled(),
            (None, None) if stuck => failed(unread(means.plan_within)),
            (None, None) => failed(died(status)),
        }
    }

    async fn told(&mut self, event: Event, lock: &mut Lock, patience: &mut Option<Instant>) {
        match &event {
            Event::Phase { phase: Phase::Applying, .. } if lock.0.is_none() => {
                let bus = self.means.bus.clone();
                lock.0 = Some(tokio::spawn(async move {
                    let _held = inhibit(&bus).await;
                    pending::<()>().await;
                }));
            }
            Event::Question(Question { .. }) => {
                let wait = if self.job.is_unattended() { Duration::ZERO } else { PATIENCE };
                *patience = Some(Instant::now() + wait);
            }
            Event::Message { level: Level::Error, text } => eprintln!("omg-helper: {}", text.trim_end()),
            _ => {}
        }
        self.relay.tell(event).await;
    }

    /// The result, unless a command that `ends` it comes before.
    async fn unless<T>(&mut self, ends: impl Fn(&Command) -> bool, result: impl Future<Output = T>) -> Option<T> {
        let mut result = pin!(result);
        loop {
            tokio::select! {
                biased;
                command = self.commands.recv() => match command {
                    Some(command) if !ends(&command) => {}
                    _ => return None,
                },
                result = &mut result => return Some(result),
            }
        }
    }
}

/// Holds the machine awake; lets go when dropped.
struct Lock(Option<JoinHandle<()>>);

impl Drop for Lock {
    fn drop(&mut self) {
        if let Some(holder) = &self.0 {
            holder.abort();
        }
    }
}

/// Whether `caller` has all of `privileges`. Root has: polkit would say the same, also where it does not run. With nothing
/// to ask about, a caller that left meanwhile keeps what it was allowed.
async fn check(means: &Means, caller: &Caller, privileges: BTreeSet<Privilege>) -> Result<(), Failure> {
    if privileges.is_empty() {
        return Ok(());
    }
    match means.callers.uid(&caller.name).await {
        Ok(0) => Ok(()),
        Ok(_) => means.authority.check(caller, privileges).await,
        Err(error) => {
            let text = error.description().unwrap_or("the bus does not say who asks");
            Err(Failure::new(FailureKind::NotAuthorized, text))
        }
    }
}

/// The same for one privilege and whoever sent a message.
async fn check_of(means: Arc<Means>, caller: Caller, privilege: Privilege) -> Result<(), Failure> {
    check(&means, &caller, BTreeSet::from([privilege])).await
}

/// The verdict, or that nobody gave one; what is not awaited any more is withdrawn.
async fn in_time(patience: Duration, check: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let late = || {
        let minutes = patience.as_secs() / 60;
        Failure::new(FailureKind::NotAuthorized, format!("nobody consented within {minutes} minutes; start it again"))
    };
    timeout(patience, check).await.unwrap_or_else(|_| Err(late()))
}

async fn settled(check: Option<&mut Check<'_>>) -> Result<(), Failure> {
    match check {
        Some(check) => check.await,
        None => pending().await,
    }
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => pending().await,
    }
}

fn internal(text: String) -> Failure {
    Failure::new(FailureKind::Internal, text)
}

/// Why a helper was ended that made no plan.
fn unread(within: Duration) -> Failure {
    let seconds = within.as_secs();
    let text = format!(
        "what was asked for could not be read and planned within {seconds} seconds; nothing was done: copy package files to \
         a folder of this machine and try again"
    );
    Failure::new(FailureKind::LimitExceeded, text)
}

/// Why a helper that did not say how it ended did.
fn died(status: std::io::Result<ExitStatus>) -> Failure {
    match status {
        Ok(status) if status.code() == Some(i32::from(UNAVAILABLE)) => {
            let text = "this omg-helper was built without this machine's package system";
            Failure::new(FailureKind::BackendUnavailable, text)
        }
        Ok(status) => internal(format!(
            "omg-helper ended before it was done ({status}); what it said is in the journal (journalctl -u omg-helper)"
        )),
        Err(error) => internal(format!("omg-helper is lost: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// Sets its flag when dropped, as a pending check is withdrawn.
    struct Withdrawn<'a>(&'a AtomicBool);

    impl Drop for Withdrawn<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn a_question_that_nobody_answers_ends_and_is_withdrawn() {
        let withdrawn = AtomicBool::new(false);
        let check = async {
            let _pending = Withdrawn(&withdrawn);
            pending().await
        };
        let failure = in_time(Duration::from_millis(1), check).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::NotAuthorized);
        assert!(failure.message.contains("nobody consented within"), "{failure}");
        assert!(withdrawn.load(Ordering::Relaxed));
        assert_eq!(in_time(PATIENCE, async { Ok(()) }).await, Ok(()));
    }
}
