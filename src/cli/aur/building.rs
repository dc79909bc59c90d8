//! Package bases are built one after the other, and what they make is installed where the next one needs it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;

use super::super::Failure;
use super::super::change::steps::{self, Interrupts};
use super::super::output::{Output, WARN};
use super::Wish;
use super::done::{self, BuildState, BuiltPackage, Done};
use crate::dbus::aur_client::{AurStep, AurStepPackage};
use crate::dbus::client::{Client, ErrorKind};
use crate::transaction::{self, Action, FailureKind, Outcome, Verb};

/// What was built and waits to be installed.
struct Pending {
    package: AurStepPackage,
    file: File,
    label: String,
}

/// Builds, and how far it has come.
pub struct Building<'a> {
    client: &'a mut Client,
    wish: &'a Wish,
    /// By package base.
    commits: BTreeMap<String, String>,
    pending: Vec<Pending>,
    /// Package bases.
    failed: BTreeSet<String>,
    done: &'a mut Done,
}

impl<'a> Building<'a> {
    /// Of these commits, by package base, which somebody has agreed to.
    pub fn new(client: &'a mut Client, wish: &'a Wish, commits: BTreeMap<String, String>, done: &'a mut Done) -> Self {
        Self { client, wish, commits, pending: Vec::new(), failed: BTreeSet::new(), done }
    }

    /// Builds and installs all of them. That one fails does not end the others that do not need it.
    ///
    /// # Errors
    /// When what was built cannot be installed, or it is cancelled.
    pub async fn all(
        &mut self,
        order: &[AurStep],
        interrupts: &mut Interrupts,
        out: &mut Output,
    ) -> Result<(), Failure> {
        for (index, step) in order.iter().enumerate() {
            self.step(step, order.get(index + 1..).unwrap_or_default(), interrupts, out).await?;
        }
        self.install(interrupts, out).await
    }

    async fn step(
        &mut self,
        step: &AurStep,
        later: &[AurStep],
        interrupts: &mut Interrupts,
        out: &mut Output,
    ) -> Result<(), Failure> {
        if let Some(needed) = step.needs.iter().find(|needed| self.failed.contains(*needed)) {
            let text = format!("{} is not built: it needs {needed}", step.base);
            self.fail(step, transaction::Failure::new(FailureKind::ResolutionFailed, text), out);
            return Ok(());
        }
        let Some(commit) = self.commits.get(&step.base).cloned() else { return Ok(()) };
        // What it needs was built, and has to be there now.
        if !step.needs.is_empty() {
            self.install(interrupts, out).await?;
        }
        self.done.began = true;
        done::build(&step.base, BuildState::Started, out);
        let outcome = match self.client.aur_build(&step.base, &commit).await {
            Ok(job) => steps::follow(job, interrupts, out).await?,
            Err(error) => {
                let text = format!("{} is not built: {error}", step.base);
                self.fail(step, transaction::Failure::new(done::kind_of(error.kind()), text), out);
                return Ok(());
            }
        };
        match outcome {
            Outcome::Succeeded(_) => {}
            Outcome::Cancelled { .. } => {
                let text = format!("cancelled while {} was built; what was installed before stays", step.base);
                return Err(Failure::Of(ErrorKind::Cancelled, text));
            }
            Outcome::Failed { failure, .. } => {
                self.fail(step, failure, out);
                return Ok(());
            }
        }
        self.take(step, &commit, out).await?;
        if later.iter().any(|other| other.needs.contains(&step.base)) {
            self.install(interrupts, out).await?;
        }
        Ok(())
    }

    /// Puts what was built among what is to be installed, but for what is there already: where the newest commit is built,
    /// only the build tells the version.
    async fn take(&mut self, step: &AurStep, commit: &str, out: &mut Output) -> Result<(), Failure> {
        let mut built = self.client.aur_packages(&step.base, commit).await?;
        let mut taken = Vec::new();
        for package in &step.packages {
            let Some(position) = built.iter().position(|(name, ..)| *name == package.name) else {
                let text = format!("{} was built, and {} is not among its packages", step.base, package.name);
                self.fail(step, transaction::Failure::new(FailureKind::Untrusted, text), out);
                continue;
            };
            let (name, version, file) = built.swap_remove(position);
            let is_installed = version == package.from;
            if is_installed && !out.is_json() && !out.quiet() {
                out.line(&format!("{name} is not installed again: what was built is {version} as well"));
            }
            if !is_installed {
                self.pending.push(Pending { package: package.clone(), file, label: format!("{name}.pkg.tar") });
            }
            taken.push(BuiltPackage { name, version, is_installed });
        }
        if !self.failed.contains(&step.base) {
            done::build(&step.base, BuildState::Built { packages: &taken }, out);
        }
        Ok(())
    }

    fn fail(&mut self, step: &AurStep, failure: transaction::Failure, out: &mut Output) {
        self.failed.insert(step.base.clone());
        self.done.began = true;
        if out.is_json() {
            done::build(&step.base, BuildState::Failed { failure: &failure }, out);
        } else {
            out.note(WARN, &failure.message);
        }
        self.done.failures.push(failure);
    }

    /// Installs what waits for it, and nothing else.
    async fn install(&mut self, interrupts: &mut Interrupts, out: &mut Output) -> Result<(), Failure> {
        let pending = std::mem::take(&mut self.pending);
        if pending.is_empty() {
            return Ok(());
        }
        let action = |verb, target: &str| {
            Action::new(verb, target).map_err(|error| Failure::Of(ErrorKind::Invalid, error.to_string()))
        };
        let mut actions = Vec::new();
        for built in &pending {
            actions.push(action(Verb::InstallFile, &built.label)?);
        }
        for built in pending.iter().filter(|built| built.package.dependency) {
            actions.push(action(Verb::MarkDependency, &built.package.name)?);
        }
        let names: BTreeSet<String> = pending.iter().map(|built| built.package.name.clone()).collect();
        let files = pending.into_iter().map(|built| built.file).collect();
        let planned = steps::plan(self.client, &actions, &self.wish.how, files, interrupts).await?;
        let Some(planned) = planned else { return Ok(()) };
        // The package itself says what it is, and a package may take others along.
        let replaced = self.wish.replaced.iter().filter(|(package, _)| names.contains(package));
        let replaced: BTreeSet<&str> = replaced.map(|(_, installed)| installed.as_str()).collect();
        if let Some(other) = planned.names().find(|name| !names.contains(*name) && !replaced.contains(name)) {
            let text =
                format!("what was built would change {other} too, which was not asked for: nothing of it is installed");
            return Err(Failure::Of(ErrorKind::Invalid, text));
        }
        // What was agreed to is that something is replaced, not that the system loses what it lives by.
        if let Some(refused) = planned.refused(&self.wish.how.consent) {
            return Err(Failure::Of(ErrorKind::Invalid, format!("nothing of what was built is installed: {refused}")));
        }
        if out.is_json() {
            planned.show(out);
        }
        let outcome = steps::commit(planned, &self.wish.how, interrupts, out).await?;
        self.done.take(outcome, out)
    }
}
