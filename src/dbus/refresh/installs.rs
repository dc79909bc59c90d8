//! Installations of runtimes.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::super::job::{Command, Relay};
use super::{Run, failure};
use crate::engine::{InstallListener, InstallStage, RuntimeHow, RuntimeOrder};
use crate::runtime::{Installed, Runtime};
use crate::transaction::{Applied, Change, Item, ItemState, Level, Outcome, Phase};

/// What an installation says.
enum Said {
    Stage(Runtime, InstallStage),
    Bytes(String, u64, Option<u64>),
    Note(String),
}

struct Listening(mpsc::UnboundedSender<Said>);

impl InstallListener for Listening {
    fn stage(&self, runtime: &Runtime, stage: InstallStage) {
        // Nobody listens any more when it has been cancelled.
        let _ = self.0.send(Said::Stage(runtime.clone(), stage));
    }

    fn bytes(&self, name: &str, done: u64, total: Option<u64>) {
        let _ = self.0.send(Said::Bytes(name.to_owned(), done, total));
    }

    fn note(&self, text: &str) {
        let _ = self.0.send(Said::Note(text.to_owned()));
    }
}

/// What is told of it.
#[derive(Default)]
struct Telling {
    /// Bytes that are there and those that there are, by archive.
    archives: BTreeMap<String, (u64, Option<u64>)>,
    phase: Option<Phase>,
}

impl Telling {
    async fn tell(&mut self, relay: &mut Relay, said: Said) {
        match said {
            Said::Stage(runtime, stage) => {
                // Several are installed at once: what is told is what takes longest.
                let phase = match stage {
                    InstallStage::Resolving => Phase::Resolving,
                    InstallStage::Waiting => {
                        relay.message(Level::Info, &format!("{runtime}: another omg is installing it; waiting")).await;
                        Phase::Locking
                    }
                    InstallStage::Fetching => Phase::Fetching,
                    InstallStage::Verifying | InstallStage::Unpacking => Phase::Applying,
                };
                if self.phase != Some(phase) {
                    self.phase = Some(phase);
                    relay.phase(phase, true).await;
                }
            }
            Said::Bytes(name, done, total) => {
                let state = if total == Some(done) { ItemState::Fetched } else { ItemState::Fetching };
                relay.item(name.clone(), state, done, total.unwrap_or_default());
                self.archives.insert(name, (done, total));
                let done: u64 = self.archives.values().map(|(done, _)| done).sum();
                let total: Option<u64> = self.archives.values().map(|(_, total)| *total).sum();
                let total = total.unwrap_or_default();
                #[expect(clippy::cast_precision_loss, reason = "a part of a whole")]
                let fraction = if total == 0 { 0.0 } else { (done as f64 / total as f64).min(1.0) };
                relay.progress(fraction, done, total);
            }
            Said::Note(text) => relay.message(Level::Info, &text).await,
        }
    }
}

/// Installs. Dropping it leaves everything as it was before what is not finished.
pub(super) async fn run(run: &mut Run, orders: Vec<RuntimeOrder>, how: RuntimeHow) -> Outcome {
    let (sender, mut said) = mpsc::unbounded_channel();
    let engine = Arc::clone(&run.engine);
    let install = engine.runtime_install(orders, how, Arc::new(Listening(sender)));
    tokio::pin!(install);
    let mut telling = Telling::default();
    loop {
        tokio::select! {
            biased;
            command = run.commands.recv() => match command {
                Some(Command::Cancel | Command::Stop) | None => {
                    return Outcome::Cancelled { applied: Applied::default() };
                }
                Some(Command::Start(_) | Command::Close | Command::OwnerGone | Command::Answer { .. }) => {}
            },
            Some(said) = said.recv() => telling.tell(&mut run.relay, said).await,
            () = run.relay.due() => run.relay.flush().await,
            ended = &mut install => {
                // What it said last, in the same step as it ended.
                while let Ok(last) = said.try_recv() {
                    telling.tell(&mut run.relay, last).await;
                }
                return match ended {
                    Ok(done) => Outcome::Succeeded(applied(done)),
                    Err((done, error)) => Outcome::Failed { failure: failure(error), applied: applied(done) },
                };
            }
        }
    }
}

/// What is there now, as items: what was there before has the same version twice.
fn applied(done: Vec<(Runtime, Installed)>) -> Applied {
    let items = done.into_iter().map(|(runtime, installed)| {
        let version = installed.version.as_str().to_owned();
        Item {
            change: Change::Install,
            name: runtime.as_str().to_owned(),
            arch: String::new(),
            from: if installed.is_new { String::new() } else { version.clone() },
            to: version,
            repository: installed.folder.to_string_lossy().into_owned(),
            download: 0,
            delta: 0,
            explicit: true,
            sha256: String::new(),
        }
    });
    Applied { items: items.collect(), ..Applied::default() }
}
