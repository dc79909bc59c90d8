//! The verbs that change packages: plan, show, ask, run, report.

pub mod args;
mod ask;
mod decide;
mod download;
mod polkit_agent;
mod progress;
pub mod report;
mod runner;
mod show;
pub mod steps;
mod targets;
mod watch;

use std::fs::File;

use serde::Serialize;

use super::output::{Output, WARN};
use super::{Failure, near};
use crate::dbus::client::{Client, ClientError, ConnectOptions, ErrorKind};
use crate::dbus::planned::{Planned, PlannedItem};
use crate::transaction::{Action, FailureKind, MANY_REMOVALS, Options, Outcome, Reply, Request, Verb};
use args::{Consent, Install, Installing, Named, Refresh, Reinstall, Remove, Upgrade};
use ask::Interrupts;
pub use ask::is_interactive;
pub use download::run as download;
use runner::{Job, Work};
pub use show::{is_native, target_name};
use targets::{action, actions};

/// What is asked for, and how far it may go.
#[derive(Debug)]
pub struct Change {
    pub actions: Vec<Action>,
    pub options: Options,
    /// Packages of the `install-file` actions, in their order.
    pub files: Vec<File>,
    pub consent: Consent,
    /// The actions were found out and not given: whoever asked for it has not named the packages.
    pub found_out: bool,
}

/// Lines of `--json`.
#[derive(Serialize)]
struct PlanLine<'a> {
    plan: &'a Planned,
}

impl Change {
    /// Whether it can be planned by what does it: for root, who has agreed already, where no daemon is named that is to
    /// plan it.
    pub fn can_be_done_at_once(&self, options: &ConnectOptions) -> bool {
        let agreed = self.consent.yes && !self.consent.dry_run;
        agreed && options.socket.is_none() && rustix::process::geteuid().is_root()
    }

    fn new(actions: Vec<Action>, how: Installing) -> Self {
        let options = how.options(ask::is_interactive());
        Self { actions, options, files: Vec::new(), consent: how.consent, found_out: false }
    }

    /// Of one kind, which installs nothing.
    fn plain(actions: Vec<Action>, consent: Consent) -> Self {
        Self::new(actions, Installing { consent, ..Installing::default() })
    }

    pub fn install(install: Install) -> Result<Self, Failure> {
        let (mut actions, files) = targets::installs(&install.targets)?;
        if install.upgrade {
            actions.push(action(Verb::UpgradeAll, "")?);
        }
        Ok(Self { files, ..Self::new(actions, install.how) })
    }

    pub fn reinstall(reinstall: Reinstall) -> Result<Self, Failure> {
        Ok(Self::new(actions(Verb::Reinstall, &reinstall.targets)?, reinstall.how))
    }

    pub fn upgrade(upgrade: Upgrade) -> Result<Self, Failure> {
        let actions = match (upgrade.targets.is_empty(), upgrade.full) {
            (false, _) => actions(Verb::Upgrade, &upgrade.targets)?,
            (true, false) => vec![action(Verb::UpgradeAll, "")?],
            (true, true) => vec![action(Verb::FullUpgrade, "")?],
        };
        Ok(Self::new(actions, upgrade.how))
    }

    pub fn remove(remove: Remove) -> Result<Self, Failure> {
        let verb = if remove.purge { Verb::Purge } else { Verb::Remove };
        let mut actions = actions(verb, &remove.targets)?;
        if remove.unneeded {
            actions.push(action(Verb::Autoremove, "")?);
        }
        let mut change = Self::plain(actions, remove.consent);
        change.options.cascade = remove.cascade;
        Ok(change)
    }

    /// Holds and marks.
    pub fn named(verb: Verb, named: Named) -> Result<Self, Failure> {
        Ok(Self::plain(actions(verb, &named.targets)?, named.consent))
    }

    /// What is about no package in particular.
    pub fn everything(verb: Verb, consent: Consent) -> Result<Self, Failure> {
        Ok(Self::plain(vec![action(verb, "")?], consent))
    }

    /// What takes a transaction back.
    pub fn undo(actions: Vec<Action>, how: Installing) -> Self {
        Self { found_out: true, ..Self::new(actions, how) }
    }
}

/// A plan warns of many removals unless each was asked for by its name. Where the names were found out, as for an undo, it
/// is warned of here.
fn warn_of_removals(planned: &mut Planned) {
    let is_removal = |item: &&PlannedItem| matches!(item.change.as_str(), "remove" | "purge");
    let removals = planned.items.iter().filter(is_removal).count();
    if removals > MANY_REMOVALS && !planned.risks.iter().any(|risk| risk.starts_with("removes-many:")) {
        planned.risks.push(format!("removes-many:{removals}"));
    }
}

/// Whether there is anything to do in it, after it was shown.
fn shown(planned: &Planned, actions: &[Action], consent: &Consent, out: &mut Output) -> bool {
    if out.is_json() {
        out.json(&PlanLine { plan: planned });
    }
    if planned.items.is_empty() && planned.mends.is_empty() {
        if out.is_json() {
            report::bare("nothing", out);
        } else {
            show::print_nothing(planned, actions, out);
        }
        return false;
    }
    // Whoever wants to hear little needs no plan, unless it is what was asked for or somebody is to decide about it.
    let wanted = !out.quiet() || consent.dry_run || ask::is_asked(planned, consent, out);
    if !out.is_json() && wanted {
        show::print(planned, actions, out);
    }
    true
}

/// Says what may have been meant, where nothing has a name that was asked for. Starting a daemon to find out takes its time,
/// and only a person gains from it.
async fn with_near_names(outcome: Outcome, actions: &[Action], connect: &ConnectOptions) -> Outcome {
    if ask::is_interactive() { near::of_outcome(outcome, actions, connect).await } else { outcome }
}

/// Does the change in one go: what does it plans it first, so that the package system is read once. Nobody is asked, and
/// nothing is done that the consent does not cover.
pub async fn run_at_once(change: Change, connect: &ConnectOptions, out: &mut Output) -> Result<(), Failure> {
    let mut interrupts = Interrupts::listen()?;
    let Change { actions, options, files, consent, found_out } = change;
    let download_only = options.download_only;
    let request = Request { actions: actions.clone(), options, files: Vec::new(), digest: None };
    let mut job = Job::start(&Work::Commit(request, files), consent.yes, out).await?;
    let plan = match watch::until_planned(&mut job, &mut interrupts, out).await? {
        Ok(plan) => plan,
        Err(outcome) => {
            job.close().await;
            return match with_near_names(outcome, &actions, connect).await {
                // As where the daemon cannot plan it.
                Outcome::Failed { failure, .. } => Err(ClientError::from(failure).into()),
                outcome => report::outcome(outcome, download_only, out),
            };
        }
    };
    let mut planned = Planned::from(plan);
    if found_out {
        warn_of_removals(&mut planned);
    }
    if !shown(&planned, &actions, &consent, out) {
        watch::call_off(job, out).await;
        return Ok(());
    }
    out.flush();
    if let Err(refused) = ask::obtain(&planned, &consent, &mut interrupts, out).await {
        watch::call_off(job, out).await;
        return Err(refused);
    }
    job.reply(&Reply::Proceed, out).await;
    let outcome = watch::to_the_end(&mut job, planned.download_size > 0, &mut interrupts, out).await;
    job.close().await;
    report::outcome(outcome?, download_only, out)
}

/// Plans the change, shows it, asks, does it and says what came of it.
pub async fn run(client: &mut Client, change: Change, out: &mut Output) -> Result<(), Failure> {
    let mut interrupts = Interrupts::listen()?;
    let Change { mut actions, mut options, mut files, consent, found_out } = change;
    let asks = !consent.yes && !consent.dry_run && !out.is_json() && ask::is_interactive();
    let planned = loop {
        let planned = decide::plan(client, &actions, &mut options, &mut files, asks, &mut interrupts, out).await?;
        let mut planned = match planned {
            Ok(planned) => planned,
            Err(error) => return Err(interrupts.unless(near::of_plan(error, &actions, client)).await?.into()),
        };
        decide::rewind(&mut files)?;
        if found_out {
            warn_of_removals(&mut planned);
        }
        if !shown(&planned, &actions, &consent, out) {
            return Ok(());
        }
        if consent.dry_run {
            if out.is_json() {
                report::bare("planned", out);
            }
            return Ok(());
        }
        out.flush();
        // Such a plan leaves no partial upgrade behind; what is left then is not asked about again.
        let whole = actions.iter().any(|action| action.verb() == Verb::UpgradeAll);
        if whole || !ask::upgrades_too(&planned, &consent, &mut interrupts, out).await? {
            break planned;
        }
        actions.push(action(Verb::UpgradeAll, "")?);
    };
    ask::obtain(&planned, &consent, &mut interrupts, out).await?;
    let digest = planned.digest.parse().map_err(|error| Failure::Internal(format!("the plan's digest: {error}")))?;
    let download_only = options.download_only;
    let request = Request { actions, options, files: Vec::new(), digest: Some(digest) };
    let work = Work::Commit(request, files);
    // Not interrupted: what began must not be left without being watched. A signal that comes meanwhile cancels it.
    // The daemon sees by itself that packages changed, and answers nothing from before.
    let outcome = carry_out(&work, consent.yes, planned.download_size > 0, &mut interrupts, out).await?;
    report::outcome(outcome, download_only, out)
}

/// Fetches the package lists: the package system's or, where it is asked for or there are no rights, the user's own copy.
pub async fn refresh(client: &mut Client, refresh: &Refresh, out: &mut Output) -> Result<(), Failure> {
    let mut interrupts = Interrupts::listen()?;
    if refresh.own || refresh.files {
        let outcome = interrupts.unless(client.refresh_copy(refresh.files)).await??;
        return report::refreshed_copy(outcome, client, &mut interrupts, out).await;
    }
    // What takes no rights is done meanwhile, and whether or not the rest is allowed. That it cannot be is told below.
    let own = interrupts.unless(client.refresh()).await?;
    let outcome = carry_out(&Work::Refresh, false, true, &mut interrupts, out).await;
    if let Ok(job) = own {
        let _ = interrupts.unless(client.refreshed(&job)).await;
    }
    let refused = match &outcome {
        Err(Failure::Of(ErrorKind::NotAuthorized, text)) => Some(text),
        Ok(Outcome::Failed { failure, .. }) if lacks_rights(failure.kind) => Some(&failure.message),
        _ => None,
    };
    if let Some(refused) = refused {
        // Where the package system has no such copy, that there are no rights is all there is to say.
        match interrupts.unless(client.refresh_copy(false)).await? {
            Err(_) => {}
            Ok(Outcome::Failed { failure, .. }) if failure.kind == FailureKind::BackendUnavailable => {}
            Ok(copied) => {
                let text =
                    format!("the package system's own lists were not fetched, your own copy is instead: {refused}");
                out.note(WARN, &text);
                return report::refreshed_copy(copied, client, &mut interrupts, out).await;
            }
        }
    }
    report::refreshed(outcome?, client, &mut interrupts, out).await
}

/// Whether there is nobody who would give the rights: not that somebody was asked and did not want to.
fn lacks_rights(kind: FailureKind) -> bool {
    matches!(kind, FailureKind::NotAuthorized | FailureKind::AgentMissing | FailureKind::PolicyDenied)
}

/// Does the work, to its end. Where the service on the system bus finds nobody to ask for consent, sudo asks. Who has
/// consented beforehand (`assent`) is asked for a password at most; `fetches` tells whether there is something to fetch.
async fn carry_out(
    work: &Work,
    assent: bool,
    fetches: bool,
    interrupts: &mut Interrupts,
    out: &mut Output,
) -> Result<Outcome, Failure> {
    let mut job = Job::start(work, assent, out).await?;
    let outcome = watch::to_the_end(&mut job, fetches, interrupts, out).await;
    let refused = match &outcome {
        Ok(Outcome::Failed { failure, .. }) if job.is_on_bus() && failure.kind == FailureKind::AgentMissing => {
            Some(failure.message.clone())
        }
        _ => None,
    };
    job.close().await;
    let Some(refused) = refused else { return outcome };
    let mut job = Job::instead(work, assent, &refused, out)?;
    out.note(WARN, &format!("{refused}; sudo asks instead"));
    watch::to_the_end(&mut job, fetches, interrupts, out).await
}
