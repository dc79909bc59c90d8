//! What a job's owner is told, and how often.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use zbus::object_server::SignalEmitter;
use zbus::{Connection, ObjectPath, Variant, fdo};

use super::super::dictionaries::Dictionary;
use super::super::names::JOB_INTERFACE;
use super::interface::Job1;
use super::{Job, result};
use crate::transaction::{Event, ItemState, Level, Outcome, Phase, Question, QuestionKind, State};

/// Progress is told so often at most: ten times in any second, also where it arrives with some delay.
const PERIOD: Duration = Duration::from_millis(120);

/// Sends the signals of one job to its owner alone, in the order in which things happen.
#[derive(Debug)]
pub struct Relay {
    job: Arc<Job>,
    emitter: SignalEmitter<'static>,
    /// Items that moved on since the last signal, each with its latest state.
    items: BTreeMap<String, (ItemState, u64, u64)>,
    progressed: bool,
    /// When the next signal about progress may be sent.
    next: Instant,
}

impl Relay {
    /// For the object at `path`.
    pub fn new(job: Arc<Job>, connection: &Connection, path: ObjectPath<'static>) -> Self {
        let mut emitter = SignalEmitter::from_parts(connection.clone(), path);
        // Peer-to-peer there is nobody else.
        if connection.is_bus() {
            emitter = emitter.set_destination(job.owner().name.inner().clone().into());
        }
        Self { job, emitter, items: BTreeMap::new(), progressed: false, next: Instant::now() }
    }

    /// Moves the job on and tells; says whether it was a legal move.
    pub async fn advance(&mut self, next: State) -> bool {
        let legal = self.job.advance(next);
        if legal {
            self.state().await;
        }
        legal
    }

    /// Tells the state, which moved.
    pub async fn state(&mut self) {
        let (state, cancellable) = {
            let facts = self.job.facts();
            (facts.state.as_str(), facts.cancellable)
        };
        self.changed(HashMap::from([("State", state.into()), ("Cancellable", cancellable.into())])).await;
    }

    /// The work entered a phase.
    pub async fn phase(&mut self, phase: Phase, cancellable: bool) {
        {
            let mut facts = self.job.facts();
            (facts.phase, facts.cancellable) = (Some(phase), cancellable);
        }
        self.changed(HashMap::from([("Phase", phase.as_str().into()), ("Cancellable", cancellable.into())])).await;
    }

    /// Notes progress, which [`Relay::flush`] tells when it is [`Relay::due`].
    pub fn progress(&mut self, fraction: f64, bytes_done: u64, bytes_total: u64) {
        let mut facts = self.job.facts();
        facts.fraction = if fraction.is_finite() { fraction.clamp(0.0, 1.0) } else { 0.0 };
        (facts.bytes_done, facts.bytes_total) = (bytes_done, bytes_total);
        self.progressed = true;
    }

    /// Notes where an item stands; told as [`Relay::progress`] is.
    pub fn item(&mut self, item: String, state: ItemState, bytes_done: u64, bytes_total: u64) {
        self.items.insert(item, (state, bytes_done, bytes_total));
    }

    /// Something to know.
    pub async fn message(&mut self, level: Level, text: &str) {
        if !self.job.is_abandoned() {
            sent(Job1::message(&self.emitter, level.as_str(), text).await);
        }
    }

    /// Asks the owner. The question stays open until [`Job::answer`] or [`Relay::give_up`].
    pub async fn question(&mut self, question: Question) {
        let (kind, details) = match question.kind.clone() {
            QuestionKind::Conffile { package, path } => {
                ("conffile", Dictionary::from([("Package", package.into()), ("Path", path.into())]))
            }
            QuestionKind::Key { fingerprint, owner } => {
                ("key", Dictionary::from([("Fingerprint", fingerprint.into()), ("Owner", owner.into())]))
            }
            QuestionKind::Corrupted { path, reason } => {
                ("corrupted", Dictionary::from([("Path", path.into()), ("Reason", reason.into())]))
            }
        };
        let (id, choices) = (question.id, question.choices.clone());
        self.job.facts().question = Some(question);
        if !self.job.is_abandoned() {
            sent(Job1::question(&self.emitter, id, kind, details, &choices).await);
        }
    }

    /// Closes the open question, if one is, with its first choice.
    pub fn give_up(&mut self) -> Option<(u32, String)> {
        let question = self.job.facts().question.take()?;
        Some((question.id, question.choices.into_iter().next().unwrap_or_default()))
    }

    /// Waits until progress is to be told; for ever when there is none.
    pub async fn due(&self) {
        if self.progressed || !self.items.is_empty() {
            sleep_until(self.next).await;
        } else {
            pending::<()>().await;
        }
    }

    /// Tells the progress that was noted.
    pub async fn flush(&mut self) {
        self.next = Instant::now() + PERIOD;
        if std::mem::take(&mut self.progressed) {
            let properties = {
                let facts = self.job.facts();
                HashMap::from([
                    ("Fraction", facts.fraction.into()),
                    ("BytesDone", facts.bytes_done.into()),
                    ("BytesTotal", facts.bytes_total.into()),
                ])
            };
            self.changed(properties).await;
        }
        let items = std::mem::take(&mut self.items);
        if !items.is_empty() && !self.job.is_abandoned() {
            let items = items.into_iter().map(|(item, (state, done, total))| (item, state.as_str(), done, total));
            sent(Job1::items(&self.emitter, items.collect()).await);
        }
    }

    /// Ends the job with an outcome that no longer changes, and tells.
    pub async fn finish(&mut self, outcome: Outcome) {
        if self.progressed || !self.items.is_empty() {
            self.due().await;
            self.flush().await;
        }
        let outcome = Arc::new(outcome);
        {
            let mut facts = self.job.facts();
            if !facts.advance(State::Finished) {
                return;
            }
            facts.question = None;
            facts.outcome = Some(Arc::clone(&outcome));
        }
        self.state().await;
        if !self.job.is_abandoned() {
            sent(Job1::finished(&self.emitter, outcome.as_str(), result::dictionary(&outcome)).await);
        }
    }

    /// Tells what an event of a running helper says; those that need an answer are not for the owner as they are.
    pub async fn tell(&mut self, event: Event) {
        match event {
            Event::Phase { phase, cancellable } => self.phase(phase, cancellable).await,
            Event::Progress { fraction, bytes_done, bytes_total } => self.progress(fraction, bytes_done, bytes_total),
            Event::Item { item, state, bytes_done, bytes_total } => self.item(item, state, bytes_done, bytes_total),
            Event::Message { level, text } => self.message(level, &text).await,
            Event::Question(question) => self.question(question).await,
            Event::Resolved { .. } | Event::Planned(_) | Event::Archives { .. } | Event::Finished(_) => {}
        }
    }

    async fn changed(&self, properties: HashMap<&str, Variant<'_>>) {
        if self.job.is_abandoned() {
            return;
        }
        let Ok(interface) = JOB_INTERFACE.try_into() else { return };
        let nothing = Cow::Borrowed(&[] as &[&str]);
        sent(fdo::Properties::properties_changed(&self.emitter, interface, properties, nothing).await);
    }
}

/// A signal that cannot be sent is nobody's failure: the bus is gone, and whoever serves on it sees that too.
fn sent(result: zbus::Result<()>) {
    if let Err(error) = result {
        tracing::debug!("a signal was not sent: {error}");
    }
}
