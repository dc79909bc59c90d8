//! Builds of packages of the AUR.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::super::job::{Command, Relay};
use super::{Run, failure};
use crate::engine::{Listener, Stage};
use crate::transaction::{Applied, Level, Outcome, Phase, Question, QuestionKind};

/// What a build says and asks, until somebody has answered.
enum Said {
    Stage(Stage, PathBuf),
    Key(String, oneshot::Sender<bool>),
}

struct Listening(mpsc::Sender<Said>);

/// A question that nobody answers for so long is taken for refused: a build holds its package base meanwhile.
const PATIENCE: Duration = Duration::from_secs(300);

impl Listener for Listening {
    fn stage(&mut self, stage: Stage, log: &Path) {
        // There are few of them, and room for more.
        let _ = self.0.try_send(Said::Stage(stage, log.to_owned()));
    }

    async fn may_import(&mut self, key: &str) -> bool {
        let (answer, answered) = oneshot::channel();
        let asked = self.0.send(Said::Key(key.to_owned(), answer)).await;
        asked.is_ok() && matches!(timeout(PATIENCE, answered).await, Ok(Ok(true)))
    }
}

/// Builds. Everything that was started for it is killed when this returns.
pub(super) async fn run(run: &mut Run, base: &str, commit: &str) -> Outcome {
    let (sender, mut said) = mpsc::channel(16);
    let engine = Arc::clone(&run.engine);
    let mut listening = Listening(sender);
    let build = engine.aur_build(base, commit, &mut listening);
    tokio::pin!(build);
    let mut asked: Option<(u32, oneshot::Sender<bool>)> = None;
    let mut questions = 0;
    loop {
        tokio::select! {
            biased;
            Some(said) = said.recv() => match said {
                Said::Stage(stage, log) => tell(&mut run.relay, base, stage, &log).await,
                Said::Key(fingerprint, answer) => {
                    // Dropping the answer refuses.
                    if !run.job.is_unattended() {
                        questions += 1;
                        asked = Some((questions, answer));
                        let kind = QuestionKind::Key { fingerprint, owner: format!("whoever signs the sources of {base}") };
                        let choices = vec!["refuse".to_owned(), "import".to_owned()];
                        run.relay.question(Question { id: questions, kind, choices }).await;
                    }
                }
            },
            command = run.commands.recv() => match command {
                Some(Command::Answer { id, choice, .. }) => {
                    if let Some((_, answer)) = asked.take_if(|(open, _)| *open == id) {
                        let _ = answer.send(choice == "import");
                    }
                }
                Some(Command::OwnerGone) => {
                    run.relay.give_up();
                    asked = None;
                }
                Some(Command::Cancel | Command::Stop) | None => {
                    return Outcome::Cancelled { applied: Applied::default() };
                }
                Some(Command::Start(_) | Command::Close) => {}
            },
            built = &mut build => {
                // What it said last, in the same step as it ended.
                while let Ok(last) = said.try_recv() {
                    if let Said::Stage(stage, log) = last {
                        tell(&mut run.relay, base, stage, &log).await;
                    }
                }
                return match built {
                    Ok(_) => Outcome::Succeeded(Applied::default()),
                    Err(error) => Outcome::Failed { failure: failure(error), applied: Applied::default() },
                };
            }
        }
    }
}

async fn tell(relay: &mut Relay, base: &str, stage: Stage, log: &Path) {
    let log = log.display();
    let text = match stage {
        Stage::Sources => {
            relay.phase(Phase::Fetching, true).await;
            format!("fetching and checking the sources of {base} (log: {log})")
        }
        Stage::Building => {
            relay.phase(Phase::Building, true).await;
            format!("building {base} (log: {log})")
        }
        Stage::Reused => format!("{base} is built already"),
    };
    relay.message(Level::Info, &text).await;
}
