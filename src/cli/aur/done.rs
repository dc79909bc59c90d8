//! What came of building and installing: the lines of `--json`, and the one that ends them.

use serde::Serialize;

use super::super::Failure;
use super::super::change::report;
use super::super::output::Output;
use crate::dbus::aur_client::AurOrder;
use crate::dbus::client::ErrorKind;
use crate::transaction::{Applied, Change, FailureKind, Outcome};

/// What was done so far, by all transactions together.
#[derive(Debug, Default)]
pub struct Done {
    /// Something was built or changed: the end is told by a result.
    pub began: bool,
    pub applied: Applied,
    pub failures: Vec<crate::transaction::Failure>,
}

/// What is built, before it is.
#[derive(Serialize)]
struct OrderLine<'a> {
    order: &'a AurOrder,
}

/// A package that a build made.
#[derive(Debug, Serialize)]
pub struct BuiltPackage {
    pub name: String,
    pub version: String,
    /// It is installed in this version already, so it is not installed again.
    pub is_installed: bool,
}

/// Where the build of a package base is.
#[derive(Debug, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum BuildState<'a> {
    Started,
    Built { packages: &'a [BuiltPackage] },
    Failed { failure: &'a crate::transaction::Failure },
}

#[derive(Serialize)]
struct BuildLine<'a> {
    event: &'static str,
    base: &'a str,
    #[serde(flatten)]
    state: BuildState<'a>,
}

/// Tells what is built.
pub fn order(order: &AurOrder, out: &mut Output) {
    if out.is_json() {
        out.json(&OrderLine { order });
    }
}

/// Tells where a build is.
pub fn build(base: &str, state: BuildState<'_>, out: &mut Output) {
    if out.is_json() {
        out.json(&BuildLine { event: "build", base, state });
        out.flush();
    }
}

impl Done {
    /// Names of packages that were not installed before.
    pub fn installed(&self) -> impl Iterator<Item = &str> {
        self.applied.items.iter().filter(|item| item.change == Change::Install).map(|item| item.name.as_str())
    }

    /// Adds how another transaction ended, and says so.
    ///
    /// # Errors
    /// Unless it succeeded.
    pub fn take(&mut self, outcome: Outcome, out: &mut Output) -> Result<(), Failure> {
        let applied = match &outcome {
            Outcome::Succeeded(applied) | Outcome::Failed { applied, .. } | Outcome::Cancelled { applied } => applied,
        };
        self.add(applied.clone());
        if !out.is_json() {
            return report::outcome(outcome, false, out);
        }
        match outcome {
            Outcome::Succeeded(_) => Ok(()),
            Outcome::Cancelled { .. } => Err(Failure::Concluded(ErrorKind::Cancelled, "cancelled".to_owned())),
            Outcome::Failed { failure, .. } => {
                let told = Failure::Concluded(ErrorKind::of(failure.kind), failure.message.clone());
                self.failures.push(failure);
                Err(told)
            }
        }
    }

    fn add(&mut self, applied: Applied) {
        self.began = true;
        let Applied { items, restart, entry } = applied;
        let sum = &mut self.applied;
        sum.items.extend(items);
        sum.restart.machine |= restart.machine;
        for (all, more) in
            [(&mut sum.restart.packages, restart.packages), (&mut sum.restart.services, restart.services)]
        {
            all.extend(more);
            all.sort();
            all.dedup();
        }
        sum.entry = entry;
    }

    /// How it ends, after everything was said that led there; `ended` is what stopped it before its end.
    ///
    /// # Errors
    /// Unless all of it succeeded.
    pub fn conclude(mut self, ended: Result<(), Failure>, out: &mut Output) -> Result<(), Failure> {
        if !self.began {
            return ended;
        }
        let kind = match &ended {
            Err(failure) => Some(failure.kind()),
            Ok(()) => self.failures.first().map(|failure| ErrorKind::of(failure.kind)),
        };
        if !out.is_json() {
            // Why nothing came of a build was told when it failed.
            return match (ended, kind) {
                (Ok(()), Some(kind)) => Err(Failure::Reported(kind.exit_code())),
                (ended, _) => ended,
            };
        }
        // That it was cancelled is how it ended, and no failure.
        if let Err(failure) = &ended
            && !matches!(failure, Failure::Concluded(..))
            && failure.kind() != ErrorKind::Cancelled
        {
            self.failures
                .push(crate::transaction::Failure::new(kind_of(failure.kind()), failure.text().unwrap_or_default()));
        }
        let texts: Vec<&str> = self.failures.iter().map(|failure| failure.message.as_str()).collect();
        let text = texts.join("\n");
        let failure = self.failures.first().map(|first| crate::transaction::Failure::new(first.kind, text.clone()));
        let word = match kind {
            None => "succeeded",
            Some(ErrorKind::Cancelled) => "cancelled",
            Some(_) => "failed",
        };
        report::conclusion(word, &self.applied, failure.as_ref(), out);
        match kind {
            None => Ok(()),
            Some(kind) => Err(Failure::Concluded(kind, text)),
        }
    }
}

/// The nearest kind of failure.
pub fn kind_of(kind: ErrorKind) -> FailureKind {
    match kind {
        ErrorKind::NotFound => FailureKind::NotFound,
        ErrorKind::Invalid => FailureKind::InvalidArgument,
        ErrorKind::Network => FailureKind::Network,
        ErrorKind::NotAuthorized => FailureKind::NotAuthorized,
        ErrorKind::Cancelled | ErrorKind::Failed => FailureKind::Internal,
    }
}
