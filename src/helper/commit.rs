//! `omg-helper commit` and `omg-helper refresh`: change the system, with rights, tell how it goes, and write it down.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::PoisonError;

use omg::security::audit::{AuditError, AuditLog, Ending, Process, Readers, Record, SYSTEM_FOLDER};
use omg::security::environment::{ENVIRONMENT, sudo_user};
use omg::transaction::{Actor, Applied, Event, Failure, FailureKind, Level, Outcome, Plan, Question, Request, Via};

use crate::backend::{Backend, Caller, Error, SAID, System};
use crate::lines::Lines;

/// How a commit or a refresh is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mode {
    /// Package scripts may ask on the terminal.
    pub terminal: bool,
    /// Says what the plan takes and waits for the word to go on.
    pub supervised: bool,
    /// Where the request names no plan, says what would be done and waits for the word to go on.
    pub plan_first: bool,
    /// User on whose behalf this is done.
    pub actor: Option<u32>,
}

/// Starts this program again with the same arguments, in an environment and in a folder that are not the caller's.
///
/// # Errors
/// Only returns when it cannot be started.
pub fn restart_clean(mode: &Mode) -> Error {
    let mut command = Command::new("/proc/self/exe");
    command.args(std::env::args_os().skip(1)).arg("--clean").env_clear().current_dir("/");
    command.envs(ENVIRONMENT.into_iter().filter(|(name, _)| !(mode.terminal && *name == "DEBIAN_FRONTEND")));
    if mode.terminal {
        // Package scripts that ask need to know how to draw.
        command.envs(std::env::var_os("TERM").map(|value| ("TERM", value)));
    }
    if let Some(uid) = sudo_user().filter(|_| mode.actor.is_none()) {
        command.args(["--actor", &uid.to_string()]);
    }
    format!("cannot start anew: {}", command.exec()).into()
}

/// Reads a [`Request`] from the standard input, commits it, and writes [`Event`]s to the standard output; meanwhile reads
/// replies. Says whether it succeeded.
///
/// # Errors
/// When no request can be read.
pub fn commit(backend: &dyn Backend, system: &System, mode: &Mode) -> Result<bool, Error> {
    let (lines, request) = Lines::with_request(mode.terminal)?;
    let run = Run::new(lines, system, mode, &request);
    let outcome = if request.digest.is_none() && !mode.plan_first {
        let failure = Failure::new(FailureKind::InvalidArgument, "the request names no plan by its digest");
        Outcome::Failed { failure, applied: Applied::default() }
    } else {
        backend.commit(system, &request, &run)
    };
    Ok(run.end(outcome))
}

/// Fetches the package lists and writes [`Event`]s to the standard output. Says whether it succeeded.
///
/// # Errors
/// When the standard streams cannot be used.
pub fn refresh(backend: &dyn Backend, system: &System, mode: &Mode) -> Result<bool, Error> {
    let request = Request::default();
    let run = Run::new(Lines::new(mode.terminal)?, system, mode, &request);
    let outcome = backend.refresh(system, &run);
    let (ending, message) = ending(&outcome);
    // One that changed nothing is no news: anybody may try as often as they like.
    let idle = match &outcome {
        Outcome::Cancelled { .. } => true,
        Outcome::Failed { failure, .. } => failure.kind == FailureKind::Locked,
        Outcome::Succeeded(_) => false,
    };
    let record = Record::Refreshed { actor: run.actor.clone(), ending, message };
    if let Some(error) = (!idle).then(|| run.log.append(&record)).and_then(Result::err) {
        run.unrecorded(&error);
    }
    run.tell(Event::Finished(outcome.clone()));
    Ok(matches!(outcome, Outcome::Succeeded(_)))
}

/// One commit or refresh, from its request to its outcome.
struct Run<'a> {
    lines: Lines,
    log: AuditLog,
    actor: Actor,
    supervised: bool,
    request: &'a Request,
    /// Whether the request's plan is one that nobody has seen.
    unseen: bool,
    /// Number of the entry that says that it began.
    begun: Mutex<Option<u64>>,
}

impl<'a> Run<'a> {
    fn new(lines: Lines, system: &System, mode: &Mode, request: &'a Request) -> Self {
        let root = system.root.as_deref().unwrap_or(Path::new("/"));
        let actor = match (mode.supervised, mode.actor) {
            (true, uid) => Actor { uid: uid.unwrap_or_default(), via: Via::Polkit },
            (false, Some(uid)) => Actor { uid, via: Via::Sudo },
            (false, None) => Actor { uid: rustix::process::getuid().as_raw(), via: Via::Root },
        };
        Self {
            lines,
            log: AuditLog::new(&root.join(SYSTEM_FOLDER), Readers::Everyone),
            actor,
            supervised: mode.supervised,
            unseen: mode.plan_first && request.digest.is_none(),
            request,
            begun: Mutex::new(None),
        }
    }

    /// Writes down how it ended, and tells. Says whether it succeeded.
    fn end(&self, mut outcome: Outcome) -> bool {
        let begun = *self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(begun) = begun {
            let (ending, message) = ending(&outcome);
            let applied = match &mut outcome {
                Outcome::Succeeded(applied) | Outcome::Failed { applied, .. } | Outcome::Cancelled { applied } => {
                    applied
                }
            };
            applied.entry = begun;
            if let Err(error) = self.log.append(&Record::Ended { begun, ending, items: applied.items.clone(), message })
            {
                self.unrecorded(&error);
            }
        }
        let succeeded = matches!(outcome, Outcome::Succeeded(_));
        self.tell(Event::Finished(outcome));
        succeeded
    }

    /// What cannot be written down is done all the same: a full disk or a damaged log must not keep security fixes out.
    fn unrecorded(&self, error: &AuditError) {
        let text = format!("this is not in the audit log: {error}");
        // The caller alone is not to know: standard error is the journal's where a service runs this.
        let actions: Vec<String> =
            self.request.actions.iter().map(|action| format!("{} {}", action.verb(), action.target())).collect();
        let digest = self.request.digest.unwrap_or_default();
        eprintln!("omg-helper: user {}: {}: {digest}: {text}", self.actor.uid, actions.join(", "));
        self.tell(Event::Message { level: Level::Warning, text });
    }
}

/// How it ended, and why, as everybody may know it.
fn ending(outcome: &Outcome) -> (Ending, String) {
    match outcome {
        Outcome::Succeeded(_) => (Ending::Succeeded, String::new()),
        Outcome::Failed { failure, .. } => {
            (Ending::Failed, failure.message.split(SAID).next().unwrap_or_default().to_owned())
        }
        Outcome::Cancelled { .. } => (Ending::Cancelled, String::new()),
    }
}

impl Caller for Run<'_> {
    fn tell(&self, event: Event) {
        self.lines.tell(&event);
    }

    fn asks(&self) -> bool {
        self.supervised || self.unseen
    }

    fn authorise(&self, plan: &Plan) -> Result<(), Failure> {
        if self.supervised {
            self.tell(Event::Resolved { privileges: plan.privileges() });
        }
        if self.unseen {
            self.tell(Event::Planned(Box::new(plan.clone())));
        }
        if self.lines.may_proceed() {
            return Ok(());
        }
        Err(Failure::new(FailureKind::NotAuthorized, "it was not allowed to go on"))
    }

    fn begin(&self, plan: &Plan) {
        let record = Record::Begun {
            actor: self.actor.clone(),
            process: Process::current(),
            actions: self.request.actions.clone(),
            digest: plan.digest,
            items: plan.items.clone(),
        };
        match self.log.append(&record) {
            Ok(number) => *self.begun.lock().unwrap_or_else(PoisonError::into_inner) = Some(number),
            Err(error) => self.unrecorded(&error),
        }
    }

    fn ask(&self, question: Question) -> String {
        self.lines.ask(question)
    }

    fn is_cancelled(&self) -> bool {
        self.lines.is_cancelled()
    }
}
