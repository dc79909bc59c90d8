//! Commits what was resolved: locks, fetches, runs dpkg, and reads what came of it.

mod answers;
mod apply;
mod bounded;
mod database;
pub mod fetch;
mod locks;
mod manage;
mod output;
mod quiet;
mod refresh;
mod repair;
mod status;

use std::path::Path;

use omg::index::Fingerprint;
use omg::transaction::{
    Applied, Change, Digest, Event, FailureKind, Item, ItemState, Level, Outcome, Phase, Plan, Request, Verb,
};
use rust_apt::Cache;
use rust_apt::config::Config;
use rust_apt::error::AptErrors;

use super::super::{Caller, Stop, System, restart};
use super::resolve::{self, Resolved};
use super::{settings, sources};
pub use refresh::refresh;

use apply::Seen;
use database::Database;
use locks::Locks;

/// Of the whole, how much fetching is, when there is something to fetch.
const FETCH_SHARE: f64 = 0.5;

/// See [`super::super::Backend::commit`].
pub fn commit(system: &System, request: &Request, caller: &dyn Caller) -> Outcome {
    let mut applied = Applied::default();
    let result = locked(system, request, caller, &mut applied);
    Stop::outcome(result, applied)
}

fn locked(system: &System, request: &Request, caller: &dyn Caller, applied: &mut Applied) -> Result<(), Stop> {
    let mut warnings = Vec::new();
    let config = settings::load(system, &mut warnings)
        .map_err(|error| Stop::failed(FailureKind::BackendUnavailable, error.to_string()))?;
    for text in warnings {
        caller.tell(Event::Message { level: Level::Warning, text });
    }
    let agreed = if caller.asks() { Some(Agreed::to(&config, system, request, caller)?) } else { None };
    let locks = locks::take(&config, request.options.wait, asks(request, Verb::Repair), caller)?;
    let digest = agreed.as_ref().map(|agreed| agreed.resolved.plan.digest).or(request.digest);
    let resolved = match agreed.and_then(|agreed| agreed.unless_moved(request)) {
        Some(resolved) => resolved,
        None => same_plan(system, request, digest, caller)?,
    };
    // The package files are read until dpkg has run.
    let Resolved { config, cache, plan, files: _files } = resolved;
    if caller.is_cancelled() {
        return Err(Stop::Cancelled);
    }
    caller.begin(&plan);
    let before = Database::read(&config)?;
    let commit = Commit { system, request, caller, config, locks, plan };
    let mut seen = Seen::default();
    let mut deleted = Vec::new();
    let result = commit.run(cache, &mut seen, &mut deleted);
    caller.tell(Event::Phase { phase: Phase::Finishing, cancellable: false });
    let after = match Database::read(&commit.config) {
        Ok(after) => after,
        Err(error) => {
            // What became of it is not known; that it was tried must not be lost.
            applied.items.clone_from(&commit.plan.items);
            return result.and(Err(error.into()));
        }
    };
    applied.items = database::changes(&before, &after, &commit.plan, &seen.unpacked);
    for item in applied.items.iter().filter(|item| matches!(item.change, Change::Remove | Change::Purge)) {
        // The last that apt tells of these is that they are being removed.
        let name = format!("{}:{}", item.name, item.arch);
        caller.tell(Event::Item { item: name, state: ItemState::Removed, bytes_done: 0, bytes_total: 0 });
    }
    applied.items.append(&mut deleted);
    if !applied.items.is_empty() {
        applied.restart = restart::wanted(Path::new(root(system).unwrap_or("/")));
    }
    result
}

/// A plan that the caller was asked about while nothing was locked, ready to be carried out.
struct Agreed {
    /// Of what it was resolved from.
    fingerprint: Fingerprint,
    resolved: Resolved,
}

impl Agreed {
    /// Resolves, and lets the caller ask.
    fn to(config: &Config, system: &System, request: &Request, caller: &dyn Caller) -> Result<Self, Stop> {
        let fingerprint = sources::fingerprint(config);
        let resolved = same_plan(system, request, request.digest, caller)?;
        match caller.authorise(&resolved.plan) {
            Ok(()) => Ok(Self { fingerprint, resolved }),
            Err(_) if caller.is_cancelled() => Err(Stop::Cancelled),
            Err(failure) => Err(failure.into()),
        }
    }

    /// As it was agreed to, when nothing has moved until now, where the package system is locked. Otherwise it is to be
    /// resolved again: the same digest then names the same changes, and takes the same rights.
    fn unless_moved(self, request: &Request) -> Option<Resolved> {
        // The folder of downloaded packages is no source of apt's answers, and what `clean` deletes.
        let moved = asks(request, Verb::Clean) || self.fingerprint.first_change().is_some();
        (!moved).then_some(self.resolved)
    }
}

/// Resolves the request, which must come to the plan that the digest names; without one, to any.
fn same_plan(
    system: &System,
    request: &Request,
    digest: Option<Digest>,
    caller: &dyn Caller,
) -> Result<Resolved, Stop> {
    caller.tell(Event::Phase { phase: Phase::Resolving, cancellable: true });
    let resolved = match resolve::resolved(system, request, &|| caller.is_cancelled()) {
        Err(_) if caller.is_cancelled() => return Err(Stop::Cancelled),
        resolved => resolved?,
    };
    if digest.is_some_and(|agreed| agreed != resolved.plan.digest) {
        let message = "what was planned is not what would be done now, as packages or package lists have changed since; \
                       nothing was done: plan again and look at what is different";
        return Err(Stop::failed(FailureKind::PlanStale, message));
    }
    if caller.is_cancelled() {
        return Err(Stop::Cancelled);
    }
    Ok(resolved)
}

fn asks(request: &Request, verb: Verb) -> bool {
    request.actions.iter().any(|action| action.verb() == verb)
}

/// The root of the system, when it is not the machine's own.
fn root(system: &System) -> Option<&str> {
    system.root.as_deref().and_then(Path::to_str).map(|root| root.trim_end_matches('/')).filter(|root| !root.is_empty())
}

/// A plan that was locked, resolved and found to be the one that was agreed to.
struct Commit<'a> {
    system: &'a System,
    request: &'a Request,
    caller: &'a dyn Caller,
    config: Config,
    locks: Locks,
    plan: Plan,
}

impl Commit<'_> {
    /// Does what the plan says; what becomes of packages goes into `seen`, what is deleted into `deleted`.
    fn run(&self, cache: Cache, seen: &mut Seen, deleted: &mut Vec<Item>) -> Result<(), Stop> {
        apply::configure(&self.config, self.system, self.request);
        if asks(self.request, Verb::Repair) {
            return self.repair(cache, seen);
        }
        let changes_packages = self.plan.items.iter().any(|item| changes_package(item.change));
        if changes_packages {
            self.change_packages(cache, &self.plan, seen)?;
        }
        if self.request.options.download_only {
            return Ok(());
        }
        if self.caller.is_cancelled() && !changes_packages {
            return Err(Stop::Cancelled);
        }
        // What is automatic is saved along with changes of packages.
        if !changes_packages {
            self.caller.tell(Event::Phase { phase: Phase::Applying, cancellable: false });
            self.mark(Change::MarkExplicit)?;
            self.mark(Change::MarkDependency)?;
        }
        self.mark(Change::Hold)?;
        self.mark(Change::Unhold)?;
        if asks(self.request, Verb::Clean) { self.clean(deleted) } else { Ok(()) }
    }

    /// Fetches and applies what is marked in the cache.
    fn change_packages(&self, cache: Cache, plan: &Plan, seen: &mut Seen) -> Result<(), Stop> {
        let only_fetches = self.request.options.download_only;
        let share = match plan.download_size() {
            _ if only_fetches => 1.0,
            0 => 0.0,
            _ => FETCH_SHARE,
        };
        self.caller.tell(Event::Phase { phase: Phase::Fetching, cancellable: true });
        fetch::fetch(&self.config, &cache, plan, self.caller, share)?;
        if only_fetches {
            return Ok(());
        }
        if self.caller.is_cancelled() {
            return Err(Stop::Cancelled);
        }
        apply::apply(&self.config, cache, &self.locks, plan, self.caller, share, seen)
    }
}

/// Whether dpkg itself has something to do.
fn changes_package(change: Change) -> bool {
    match change {
        Change::Install
        | Change::Upgrade
        | Change::Downgrade
        | Change::Reinstall
        | Change::Remove
        | Change::Purge
        | Change::Configure => true,
        Change::Hold | Change::Unhold | Change::MarkExplicit | Change::MarkDependency | Change::Clean => false,
    }
}

/// apt's errors on one line; its warnings when there are none.
pub fn words(said: &AptErrors) -> String {
    let of = |errors: bool| -> Vec<&str> {
        said.iter().filter(|message| message.is_error == errors).map(|message| message.msg.trim()).collect()
    };
    let errors = of(true);
    let words = if errors.is_empty() { of(false) } else { errors };
    if words.is_empty() { "apt gives no reason".to_owned() } else { words.join("; ").replace('\n', " ") }
}
