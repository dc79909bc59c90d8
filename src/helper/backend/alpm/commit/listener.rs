//! What libalpm says while it works.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use alpm::{
    Alpm, AnyDownloadEvent, AnyEvent, AnyQuestion, DownloadEvent, DownloadResult, Event as AlpmEvent, EventType,
    LogLevel, PackageOperation, Progress, Question as AlpmQuestion,
};
use omg::transaction::{
    DELETE, Event, FailureKind, IMPORT, ItemState, KEEP, Level, Phase, Plan, Question, QuestionKind, REFUSE,
};

use super::super::super::report::Report;
use super::super::super::{Caller, end_children};
use super::super::sound;

/// How often it is looked whether the caller wants an end.
const LOOK: Duration = Duration::from_millis(100);

/// Of the whole, how much fetching is, when there is something to fetch.
const FETCH_SHARE: f64 = 0.5;

/// The most of what errors said that is kept, in bytes.
const KEPT: usize = 4096;

/// The longest line of a script or hook that is told, in bytes.
const TOLD: usize = 2000;

/// What a callback heard.
enum Said {
    /// Whether fetching begins, or ends; answered when the caller was told.
    Fetching(bool, Sender<()>),
    Item {
        called: String,
        state: ItemState,
        done: u64,
        total: u64,
    },
    /// Of the packages that are changed, from 0 to 1.
    Changed(f64),
    Message(Level, String),
    /// A line of a package script's.
    Script(String),
    Key {
        fingerprint: String,
        owner: String,
        answer: Sender<bool>,
    },
    /// A package file that is not what it should be; answered with whether it is deleted.
    Corrupted {
        path: String,
        reason: String,
        answer: Sender<bool>,
    },
}

/// What is of interest when it ends badly.
#[derive(Debug, Default)]
pub struct Heard {
    errors: Vec<String>,
}

impl Heard {
    /// The kind and text of a failure, with what was logged of it. libalpm has no number of its own for a key that is not
    /// known, and says of other failures less than its log does.
    pub fn worse(&self, kind: FailureKind, text: String) -> (FailureKind, String) {
        // The last one is of a signature that is wanted and not there.
        const OF_KEYS: [&str; 4] = ["keyring", "signature", "key ", ".sig'"];
        let of_keys = self.errors.iter().any(|error| OF_KEYS.iter().any(|word| error.contains(word)));
        let vague = matches!(kind, FailureKind::Internal | FailureKind::Network);
        let kind = if vague && of_keys { FailureKind::Untrusted } else { kind };
        let said = self.errors.iter().filter(|error| !text.contains(error.as_str())).map(String::as_str);
        (kind, std::iter::once(text.as_str()).chain(said).collect::<Vec<_>>().join("; "))
    }
}

/// What libalpm works at.
#[derive(Clone, Copy)]
pub enum Work<'a> {
    /// It fetches databases.
    Databases,
    /// It fetches package files for a plan and changes packages.
    Changes(&'a Plan),
    /// It fetches package files and changes nothing. Who wants no end calls `abandon`, which does not return.
    Files { plan: &'a Plan, abandon: &'a (dyn Fn() + Sync) },
}

/// Does the work while another thread tells the caller what libalpm says meanwhile.
pub fn listening<T>(
    handle: Alpm,
    caller: &dyn Caller,
    kind: Work<'_>,
    work: impl FnOnce(&mut Alpm) -> T,
) -> (Alpm, T, Heard) {
    let mut handle = handle;
    let (sender, receiver) = channel();
    let sandboxed = handle.sandbox_user().is_some();
    let fetching = Arc::new(Mutex::new(false));
    listen(&handle, &sender, &fetching);
    drop(sender);
    thread::scope(|scope| {
        let fetching = &fetching;
        let listener = scope.spawn(move || Listener::new(caller, kind, sandboxed).run(&receiver, fetching));
        // Whatever becomes of it, the listener must find its end.
        let result = catch_unwind(AssertUnwindSafe(|| work(&mut handle)));
        // The callbacks hold the other ends of the channel.
        let _ = (handle.take_raw_log_cb(), handle.take_raw_event_cb(), handle.take_raw_progress_cb());
        let _ = (handle.take_raw_dl_cb(), handle.take_raw_question_cb());
        let heard = listener.join().unwrap_or_default();
        let result = result.unwrap_or_else(|panic| resume_unwind(panic));
        (handle, result, heard)
    })
}

/// A callback that cannot be heard any more changes nothing: whoever listened is gone.
fn listen(handle: &Alpm, sender: &Sender<Said>, fetching: &Arc<Mutex<bool>>) {
    handle.set_log_cb(sender.clone(), |level, text, sender| {
        let level = match level {
            LogLevel::ERROR => Level::Error,
            LogLevel::WARNING => Level::Warning,
            _ => return,
        };
        let _ = sender.send(Said::Message(level, text.trim_end().to_owned()));
    });
    handle.set_event_cb((sender.clone(), Arc::clone(fetching)), |event, (sender, fetching)| {
        let phase = match event.event_type() {
            EventType::PkgRetrieveStart | EventType::RetrieveStart => Some(true),
            EventType::PkgRetrieveDone
            | EventType::PkgRetrieveFailed
            | EventType::RetrieveDone
            | EventType::RetrieveFailed => Some(false),
            _ => None,
        };
        if let Some(begins) = phase {
            // libalpm goes on when this returns, to what must not be ended: checks, hooks, scripts.
            *fetching.lock().unwrap_or_else(PoisonError::into_inner) = begins;
            let (told, heard) = channel();
            if sender.send(Said::Fetching(begins, told)).is_ok() {
                let _ = heard.recv();
            }
        } else if let Some(Some(said)) = sound(|| heard(&event)) {
            let _ = sender.send(said);
        }
    });
    handle.set_progress_cb(sender.clone(), |kind, _, percent, of, current, sender| {
        let changes = [
            Progress::AddStart,
            Progress::UpgradeStart,
            Progress::DowngradeStart,
            Progress::ReinstallStart,
            Progress::RemoveStart,
        ];
        if changes.contains(&kind) && of > 0 {
            let before = current.saturating_sub(1) as f64;
            let _ = sender.send(Said::Changed((before + f64::from(percent) / 100.0) / of as f64));
        }
    });
    handle.set_dl_cb(sender.clone(), |file, event, sender| {
        if let Some(said) = fetched(file, &event) {
            let _ = sender.send(said);
        }
    });
    handle.set_question_cb(sender.clone(), |question, sender| asked(&question, sender));
}

fn heard(event: &AnyEvent) -> Option<Said> {
    let item = |called: &str, state| Some(Said::Item { called: called.to_owned(), state, done: 0, total: 0 });
    match event.event() {
        AlpmEvent::PackageOperationStart(event) => match event.operation() {
            PackageOperation::Remove(package) => item(package.name(), ItemState::Removing),
            PackageOperation::Install(package)
            | PackageOperation::Upgrade(package, _)
            | PackageOperation::Reinstall(package, _)
            | PackageOperation::Downgrade(package, _) => item(package.name(), ItemState::Unpacking),
        },
        AlpmEvent::PackageOperationDone(event) => match event.operation() {
            PackageOperation::Remove(package) => item(package.name(), ItemState::Removed),
            PackageOperation::Install(package)
            | PackageOperation::Upgrade(package, _)
            | PackageOperation::Reinstall(package, _)
            | PackageOperation::Downgrade(package, _) => item(package.name(), ItemState::Installed),
        },
        AlpmEvent::ScriptletInfo(event) => Some(Said::Script(event.line().trim_end().to_owned())),
        AlpmEvent::HookRunStart(event) => {
            let text = event.desc().unwrap_or(event.name());
            Some(Said::Message(Level::Info, format!("hook {} of {}: {text}", event.position(), event.total())))
        }
        AlpmEvent::PacnewCreated(event) => {
            let text = format!("{0} was changed here and is kept; the package's is {0}.pacnew", event.file());
            Some(Said::Message(Level::Warning, text))
        }
        AlpmEvent::PacsaveCreated(event) => {
            let text = format!("{0} was changed here; what was in it is kept as {0}.pacsave", event.file());
            Some(Said::Message(Level::Warning, text))
        }
        AlpmEvent::OptDepRemoval(event) => {
            let text = format!("{} works better with {}, which is removed", event.pkg().name(), event.optdep().name());
            Some(Said::Message(Level::Info, text))
        }
        AlpmEvent::DatabaseMissing(event) => {
            let text = format!("the database of {} is not there; `omg refresh` fetches it", event.dbname());
            Some(Said::Message(Level::Warning, text))
        }
        _ => None,
    }
}

fn fetched(file: &str, event: &AnyDownloadEvent) -> Option<Said> {
    // Signatures come beside what they sign.
    if file.ends_with(".sig") {
        return None;
    }
    let bytes = |bytes: i64| u64::try_from(bytes).unwrap_or(0);
    let (state, done, total) = match event.event() {
        DownloadEvent::Init(_) => (ItemState::Fetching, 0, 0),
        DownloadEvent::Retry(_) => return None,
        DownloadEvent::Progress(event) => (ItemState::Fetching, bytes(event.downloaded), bytes(event.total)),
        DownloadEvent::Completed(event) => match event.result {
            DownloadResult::Success => (ItemState::Fetched, bytes(event.total), bytes(event.total)),
            DownloadResult::UpToDate => (ItemState::Hit, bytes(event.total), bytes(event.total)),
            DownloadResult::Failed => (ItemState::Failed, 0, bytes(event.total)),
        },
    };
    Some(Said::Item { called: file.to_owned(), state, done, total })
}

/// Keys and corrupted files are asked about: the plan holds the answers to all else.
fn asked(question: &AnyQuestion, sender: &Sender<Said>) {
    let (answer, answered) = channel();
    match sound(|| question.question()) {
        Some(AlpmQuestion::ImportKey(mut question)) => {
            let key = sound(|| (question.fingerprint().to_owned(), question.uid().to_owned()));
            let asked = key.and_then(|(fingerprint, owner)| sender.send(Said::Key { fingerprint, owner, answer }).ok());
            question.set_import(asked.is_some() && answered.recv().unwrap_or(false));
        }
        Some(AlpmQuestion::Corrupted(mut question)) => {
            let file = sound(|| (question.filepath().to_owned(), question.reason().to_string()));
            let asked = file.and_then(|(path, reason)| sender.send(Said::Corrupted { path, reason, answer }).ok());
            question.set_remove(asked.is_none() || answered.recv().unwrap_or(true));
        }
        _ => {}
    }
}

/// Tells the caller.
struct Listener<'a> {
    caller: &'a dyn Caller,
    report: Report<'a>,
    /// By what package files are called, how packages are, and how much there is to fetch of each.
    files: Vec<(String, String, u64)>,
    /// Bytes that were fetched of each file.
    done: Vec<(String, u64)>,
    to_fetch: u64,
    /// Whether what fetches is a process of its own, which can be ended.
    sandboxed: bool,
    work: Work<'a>,
    questions: u32,
    heard: Heard,
}

impl<'a> Listener<'a> {
    fn new(caller: &'a dyn Caller, work: Work<'a>, sandboxed: bool) -> Self {
        let plan = match work {
            Work::Databases => None,
            Work::Changes(plan) | Work::Files { plan, .. } => Some(plan),
        };
        let report = plan.map_or_else(|| Report::of_all(caller), |plan| Report::new(caller, plan, 0.0, 1.0));
        let items = plan.map(|plan| plan.items.as_slice()).unwrap_or_default();
        Self {
            caller,
            report,
            files: items
                .iter()
                .map(|item| (format!("{}-{}-", item.name, item.to), item.name.clone(), item.download))
                .collect(),
            done: Vec::new(),
            to_fetch: items.iter().map(|item| item.download).sum(),
            sandboxed,
            work,
            questions: 0,
            heard: Heard::default(),
        }
    }

    fn run(mut self, receiver: &Receiver<Said>, fetching: &Mutex<bool>) -> Heard {
        loop {
            let wait = self.report.due().unwrap_or(LOOK).min(LOOK);
            match receiver.recv_timeout(wait) {
                Ok(said) => self.take(said),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.report.tick();
            if !self.caller.is_cancelled() {
                continue;
            }
            if let Work::Files { abandon, .. } = self.work {
                self.report.flush();
                abandon();
            } else if self.sandboxed {
                // Held meanwhile: libalpm starts nothing else.
                let fetching = fetching.lock().unwrap_or_else(PoisonError::into_inner);
                if *fetching {
                    end_children();
                }
            }
        }
        self.report.flush();
        self.heard
    }

    fn take(&mut self, said: Said) {
        match said {
            Said::Fetching(begins, told) => {
                self.report.flush();
                let event = if begins {
                    Event::Phase { phase: Phase::Fetching, cancellable: self.sandboxed }
                } else {
                    Event::Phase { phase: Phase::Applying, cancellable: false }
                };
                let told_before = match self.work {
                    Work::Files { .. } => true,
                    // They are all there is of a refresh.
                    Work::Databases => !begins,
                    Work::Changes(_) => false,
                };
                if !told_before {
                    self.caller.tell(event);
                }
                let _ = told.send(());
            }
            Said::Item { called, state, done, total } => self.item(&called, state, done, total),
            Said::Changed(fraction) => {
                let start = if self.to_fetch > 0 { FETCH_SHARE } else { 0.0 };
                self.report.progress(start + (1.0 - start) * fraction, 0, 0);
            }
            Said::Message(level, text) => {
                if level == Level::Error && self.heard.errors.iter().map(String::len).sum::<usize>() < KEPT {
                    self.heard.errors.push(text.clone());
                }
                self.report.flush();
                self.caller.tell(Event::Message { level, text });
            }
            Said::Script(line) => {
                if !line.is_empty() {
                    self.caller.tell(Event::Message { level: Level::Info, text: told(line) });
                }
            }
            // Who fetches alone changes nothing, the keyring neither.
            Said::Key { answer, .. } if matches!(self.work, Work::Files { .. }) => {
                let _ = answer.send(false);
            }
            // Nobody waits for an answer any more only when libalpm is gone.
            Said::Key { fingerprint, owner, answer } => {
                let choice = self.ask(QuestionKind::Key { fingerprint, owner }, [REFUSE, IMPORT]);
                let _ = answer.send(choice == IMPORT);
            }
            // It lies in a folder that goes.
            Said::Corrupted { answer, .. } if matches!(self.work, Work::Files { .. }) => {
                let _ = answer.send(true);
            }
            Said::Corrupted { path, reason, answer } => {
                let choice = self.ask(QuestionKind::Corrupted { path: path.clone(), reason }, [DELETE, KEEP]);
                let became = if choice == KEEP { "is kept" } else { "is deleted: the next try fetches it again" };
                self.heard.errors.push(format!("{path} {became}"));
                let _ = answer.send(choice != KEEP);
            }
        }
    }

    /// The choice of whoever watches; the first one when nobody answers.
    fn ask(&mut self, kind: QuestionKind, choices: [&str; 2]) -> String {
        self.report.flush();
        self.questions += 1;
        self.caller.ask(Question { id: self.questions, kind, choices: choices.map(str::to_owned).into() })
    }

    fn item(&mut self, called: &str, state: ItemState, done: u64, total: u64) {
        let file = self.files.iter().find(|(start, ..)| called.starts_with(start));
        let (name, expected) = file.map_or((called, 0), |(_, name, bytes)| (name.as_str(), *bytes));
        let total = total.max(expected);
        self.report.item(name, state, done, total);
        if total == 0 {
            return;
        }
        match self.done.iter_mut().find(|(known, _)| known == called) {
            Some((_, known)) => *known = done,
            None => self.done.push((called.to_owned(), done)),
        }
        let fetched: u64 = self.done.iter().map(|(_, done)| done).sum();
        if self.to_fetch > 0 {
            let fraction = fetched as f64 / self.to_fetch as f64;
            let share = if matches!(self.work, Work::Files { .. }) { 1.0 } else { FETCH_SHARE };
            self.report.progress(share * fraction.min(1.0), fetched.min(self.to_fetch), self.to_fetch);
        }
    }
}

/// A line as it is told: what is too long of it is left out, which it says.
fn told(mut line: String) -> String {
    if line.len() > TOLD {
        let end = (0..=TOLD).rev().find(|end| line.is_char_boundary(*end)).unwrap_or(0);
        line.truncate(end);
        line.push_str(" […]");
    }
    line
}
