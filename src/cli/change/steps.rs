//! The steps of a change, for what is made of several: planned, agreed to once, committed one after the other.

use std::fs::File;
use std::io::Seek;

use super::super::Failure;
use super::super::output::Output;
use super::args::{Consent, Installing};
pub use super::ask::{Interrupts, agrees, cancelled, is_interactive};
use super::progress::Progress;
use super::runner::{self, Job, Work};
use super::{PlanLine, ask, decide, show, watch};
use crate::dbus::client::{Client, ErrorKind};
use crate::dbus::planned::{DecisionItem, Planned};
use crate::dbus::transaction::Job as BusJob;
use crate::transaction::{Action, Answers, Applied, Asks, NO, Outcome, Request};

/// A plan, with what it takes to carry it out.
#[derive(Debug)]
pub struct Step {
    actions: Vec<Action>,
    files: Vec<File>,
    planned: Planned,
}

impl Step {
    pub fn is_empty(&self) -> bool {
        self.planned.items.is_empty()
    }

    pub fn show(&self, out: &mut Output) {
        if out.is_json() {
            out.json(&PlanLine { plan: &self.planned });
        } else {
            show::print(&self.planned, &self.actions, out);
        }
    }

    /// Why these removals and changes are not covered by the consent; `None` where they are, or where there are none.
    pub fn refused(&self, consent: &Consent) -> Option<String> {
        ask::refused(&self.planned, consent)
    }

    /// Names of the packages that it changes.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.planned.items.iter().map(|item| item.name.as_str())
    }
}

/// Plans the actions; `None` where there are none.
///
/// # Errors
/// When there is no such plan.
pub async fn plan(
    client: &mut Client,
    actions: &[Action],
    how: &Installing,
    files: Vec<File>,
    interrupts: &mut Interrupts,
) -> Result<Option<Step>, Failure> {
    if actions.is_empty() {
        return Ok(None);
    }
    let options = how.options(ask::is_interactive());
    let planned = interrupts.unless(client.plan(actions, &options, &files)).await??;
    Ok(Some(Step { actions: actions.to_vec(), files, planned }))
}

/// Asks once for everything that was shown.
///
/// # Errors
/// When it is refused, or there is nobody to ask.
pub async fn agree(
    planned: Option<&Step>,
    consent: &Consent,
    interrupts: &mut Interrupts,
    out: &mut Output,
) -> Result<(), Failure> {
    if let Some(step) = planned.filter(|step| !show::is_harmless(&step.planned)) {
        return ask::obtain(&step.planned, consent, interrupts, out).await;
    }
    if consent.yes {
        return Ok(());
    }
    if out.is_json() || !ask::is_interactive() {
        let why = if out.is_json() { "--json never asks" } else { "standard input is no terminal to ask on" };
        return Err(Failure::Of(ErrorKind::Invalid, format!("{why}: nothing was changed; -y goes on without asking")));
    }
    out.prompt("Go on? [Y/n]");
    if agrees(interrupts, true).await? { Ok(()) } else { Err(cancelled()) }
}

/// Makes sure that there is a way for package files to whoever installs them, before much is done to make them.
///
/// # Errors
/// When there is none.
pub async fn takes_files() -> Result<(), Failure> {
    runner::takes_files().await
}

/// Asks what is not answered yet; the answers.
///
/// # Errors
/// When it is interrupted, or the input ends.
pub async fn choices(
    decisions: &[DecisionItem],
    answers: &Answers,
    interrupts: &mut Interrupts,
    out: &mut Output,
) -> Result<Vec<(String, String)>, Failure> {
    let mut given = Vec::new();
    for decision in decisions.iter().filter(|decision| !answers.has(&decision.key())) {
        given.extend(decide::choices(&[decision], interrupts, out).await?);
        // Nothing comes of it then, whatever else is answered.
        if decision.question == Asks::Conflict.as_str() && given.last().is_some_and(|(_, choice)| choice == NO) {
            break;
        }
    }
    Ok(given)
}

/// Carries a step out, which was agreed to; how it ended, for the caller to tell.
///
/// # Errors
/// When it ends without saying how.
pub async fn commit(
    step: Step,
    how: &Installing,
    interrupts: &mut Interrupts,
    out: &mut Output,
) -> Result<Outcome, Failure> {
    let Step { actions, mut files, planned } = step;
    if planned.items.is_empty() {
        return Ok(Outcome::Succeeded(Applied::default()));
    }
    for file in &mut files {
        // Whoever planned with it has read it, and descriptors of one file share their position.
        file.rewind().map_err(|error| Failure::Internal(format!("a package file cannot be read again: {error}")))?;
    }
    let digest = planned.digest.parse().map_err(|error| Failure::Internal(format!("the plan's digest: {error}")))?;
    let options = how.options(ask::is_interactive());
    let request = Request { actions, options, files: Vec::new(), digest: Some(digest) };
    let work = Work::Commit(request, files);
    super::carry_out(&work, how.consent.yes, planned.download_size > 0, interrupts, out).await
}

/// Follows a job that is about versions of runtimes.
///
/// # Errors
/// When it ends without saying how.
pub async fn follow_versions(job: BusJob, interrupts: &mut Interrupts, out: &mut Output) -> Result<Outcome, Failure> {
    let mut job = Job::of_daemon(job);
    let outcome = watch::shown_to_the_end(&mut job, Progress::of_versions(), interrupts, out).await;
    job.close().await;
    outcome
}

/// Follows a job of the daemon's to its end.
///
/// # Errors
/// When it ends without saying how.
pub async fn follow(job: BusJob, interrupts: &mut Interrupts, out: &mut Output) -> Result<Outcome, Failure> {
    let mut job = Job::of_daemon(job);
    let outcome = watch::to_the_end(&mut job, false, interrupts, out).await;
    job.close().await;
    outcome
}
