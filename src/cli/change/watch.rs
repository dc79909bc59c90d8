//! A commit from its start to its end: shown, asked about, cancelled.

use std::future::pending;

use tokio::sync::oneshot;
use tokio::time::sleep;

use super::super::Failure;
use super::super::output::{Output, WARN};
use super::ask::{self, Interrupts, is_interactive};
use super::progress::Progress;
use super::runner::Job;
use crate::dbus::client::ErrorKind;
use crate::transaction::{Event, Outcome, Plan, Question, QuestionKind, Reply};

/// A question that was put to somebody.
struct Asked {
    question: Question,
    answer: oneshot::Receiver<Option<String>>,
}

/// Waits for what would be done, or for the end when nothing comes to be planned.
///
/// # Errors
/// When it ends without saying how.
pub async fn until_planned(
    job: &mut Job,
    interrupts: &mut Interrupts,
    out: &mut Output,
) -> Result<Result<Plan, Outcome>, Failure> {
    let mut progress = Progress::new(job.shares_terminal(), false);
    loop {
        tokio::select! {
            biased;
            () = interrupts.next() => job.reply(&Reply::Cancel, out).await,
            event = job.next(out) => match event? {
                Event::Planned(plan) => return Ok(Ok(*plan)),
                Event::Finished(outcome) => return Ok(Err(outcome)),
                // How a plan is made is shown nowhere else either.
                Event::Phase { .. } => {}
                event => progress.hear(&event, out),
            },
        }
    }
}

/// Has it end without anything done, and waits until it has let go of the package system.
pub async fn call_off(mut job: Job, out: &mut Output) {
    job.reply(&Reply::Cancel, out).await;
    while let Ok(event) = job.next(out).await {
        if matches!(event, Event::Finished(_)) {
            break;
        }
    }
    job.close().await;
}

/// Returns how it ended; `fetches` tells whether there is something to fetch.
///
/// # Errors
/// When it ends without saying how.
pub async fn to_the_end(
    job: &mut Job,
    fetches: bool,
    interrupts: &mut Interrupts,
    out: &mut Output,
) -> Result<Outcome, Failure> {
    let progress = Progress::new(job.shares_terminal(), fetches);
    shown_to_the_end(job, progress, interrupts, out).await
}

/// The same, shown by this.
///
/// # Errors
/// When it ends without saying how.
pub async fn shown_to_the_end(
    job: &mut Job,
    mut progress: Progress,
    interrupts: &mut Interrupts,
    out: &mut Output,
) -> Result<Outcome, Failure> {
    let mut waiting: std::collections::VecDeque<Question> = std::collections::VecDeque::new();
    let mut asked: Option<Asked> = None;
    let mut cancelled = false;
    let outcome = loop {
        // Nothing is drawn over a question.
        let due = if asked.is_some() { None } else { progress.due() };
        tokio::select! {
            // An interrupt reaches others too: what they do about it is better understood when it is known.
            biased;
            () = interrupts.next() => {
                progress.pause(out);
                if progress.is_cancellable() {
                    if !cancelled {
                        out.note(WARN, "cancelling…");
                    }
                    cancelled = true;
                    progress.set_cancelling();
                    job.reply(&Reply::Cancel, out).await;
                } else {
                    out.note(WARN, "packages are being changed: this cannot be stopped now, it goes on");
                }
            }
            line = answer(&mut asked) => {
                if let Some(Asked { question, .. }) = asked.take() {
                    match choice(&question, line.as_deref()) {
                        Some(choice) => job.reply(&Reply::Answer { id: question.id, choice }, out).await,
                        None => {
                            out.note(WARN, &format!("answer with {}", question.choices.join(" or ")));
                            waiting.push_front(question);
                        }
                    }
                }
            }
            () = async { match due { Some(due) => sleep(due).await, None => pending().await } } => progress.draw(out),
            event = job.next(out) => match event {
                Ok(Event::Finished(outcome)) => break Ok(outcome),
                Ok(Event::Question(question)) => {
                    progress.hear(&Event::Question(question.clone()), out);
                    waiting.push_back(question);
                }
                Ok(event) => progress.hear(&event, out),
                // What was asked to end ended: a password prompt, say, that the same interrupt reached.
                Err(failure) if cancelled && failure.exit_code() == ErrorKind::NotAuthorized.exit_code() => {
                    break Err(ask::cancelled());
                }
                Err(failure) => break Err(failure),
            },
        }
        if asked.is_none()
            && let Some(question) = waiting.pop_front()
        {
            if is_interactive() && !out.is_json() {
                progress.pause(out);
                out.prompt(&words(&question));
                asked = Some(Asked { question, answer: ask::read_line() });
            } else {
                let choice = choice(&question, None).unwrap_or_default();
                job.reply(&Reply::Answer { id: question.id, choice }, out).await;
            }
        }
    };
    progress.pause(out);
    outcome
}

/// The line typed in answer to the question, if there is one.
async fn answer(asked: &mut Option<Asked>) -> Option<String> {
    match asked {
        Some(asked) => (&mut asked.answer).await.ok().flatten(),
        None => pending().await,
    }
}

fn words(question: &Question) -> String {
    let about = match &question.kind {
        QuestionKind::Conffile { package, path } => format!("{path} was changed here and in the new {package}."),
        QuestionKind::Key { fingerprint, owner } => {
            format!("A package is signed by a key that is not known here: {fingerprint}, of {owner}.")
        }
        QuestionKind::Corrupted { path, reason } => format!("{path} is corrupted ({reason})."),
    };
    let default = question.choices.first().map_or("", String::as_str);
    format!("{about} {}? [{default}]", question.choices.join(" or "))
}

/// The choice that a line begins to spell, the first one for no line or an empty one; none for any other.
fn choice(question: &Question, line: Option<&str>) -> Option<String> {
    let line = line.unwrap_or_default().trim().to_lowercase();
    question.choices.iter().find(|choice| choice.starts_with(&line)).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_may_be_abbreviated_and_anything_else_is_asked_again() {
        let kind = QuestionKind::Conffile { package: "a".into(), path: "/etc/a".into() };
        let question = Question { id: 1, kind, choices: vec!["keep".into(), "replace".into()] };
        for (line, meant) in [
            (None, Some("keep")),
            (Some(""), Some("keep")),
            (Some("k"), Some("keep")),
            (Some("R"), Some("replace")),
            (Some(" replace "), Some("replace")),
            (Some("replaced"), None),
            (Some("n"), None),
        ] {
            assert_eq!(choice(&question, line).as_deref(), meant, "{line:?}");
        }
    }
}
