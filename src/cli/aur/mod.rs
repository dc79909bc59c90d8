//! Packages of the AUR: what is to be done is shown and asked for once, everything unseen is looked at, and then it is built
//! and installed step by step.

mod review;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};

use super::Failure;
use super::change::args::{AurHow, Consent, Install, Installing, Upgrade};
use super::change::{self, Change, steps};
use super::output::{NAME, Output, WARN};
use crate::config::{self, Backend, Paths};
use crate::dbus::aur_client::{AurOrder, AurStep, AurStepPackage};
use crate::dbus::client::{Client, ConnectOptions, ErrorKind, User};
use crate::transaction::{Action, Outcome, Verb};
use steps::Interrupts;

/// Where a machine with pacman has what is installed.
const LOCAL_DATABASE: &str = "/var/lib/pacman/local";

/// What a target that is to come from the AUR starts with.
const FORCED: &str = "aur/";

/// What is asked for.
struct Wish {
    targets: Vec<String>,
    /// How the repositories' packages are upgraded with it.
    upgrade: Option<Verb>,
    how: Installing,
    aur: AurHow,
}

/// Whether the machine's packages are pacman's and the AUR may be asked.
fn is_there() -> bool {
    let settings = config::load(Paths::from_process().config_file.as_deref()).unwrap_or_default();
    let pacman = match settings.backend {
        Backend::Alpm => true,
        Backend::Auto => Path::new(LOCAL_DATABASE).is_dir(),
        Backend::Apt | Backend::None => false,
    };
    pacman && settings.aur.enabled.unwrap_or(true)
}

/// The way to a daemon that may build: root's omg has it done by whoever became root with sudo.
fn builder(options: &ConnectOptions) -> Result<ConnectOptions, Failure> {
    let refused = |why: &str| {
        let text =
            format!("packages of the AUR are not built as root{why}: run omg as an ordinary user, or as one with sudo");
        Failure::Of(ErrorKind::Invalid, text)
    };
    if !rustix::process::geteuid().is_root() {
        return Ok(options.clone());
    }
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u32>().ok()).filter(|id| *id != 0);
    let (Some(uid), Some(gid)) = (number("SUDO_UID"), number("SUDO_GID")) else { return Err(refused("")) };
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let home = users.lines().find_map(|line| {
        let mut fields = line.split(':').skip(2);
        (fields.next()?.parse() == Ok(uid)).then(|| fields.nth(2).map(PathBuf::from)).flatten()
    });
    let home =
        home.filter(|home| home.is_absolute()).ok_or_else(|| refused(&format!(", and user {uid} has no home")))?;
    Ok(ConnectOptions { user: Some(User { uid, gid, home }), ..options.clone() })
}

/// Installs from the repositories, and from the AUR what they do not have.
///
/// # Errors
/// When a target is nowhere, or something fails.
pub fn install(options: &ConnectOptions, install: Install, out: &mut Output) -> Result<(), Failure> {
    let is_forced = install.targets.iter().any(|target| target.starts_with(FORCED));
    let (targets, how, aur) = (install.targets.clone(), install.how.clone(), install.aur.clone());
    let may_be = is_there() && !how.download_only;
    let first = if is_forced && may_be {
        None
    } else {
        match super::alter(options, Change::install(install)?, out) {
            Err(failure) if may_be && failure.is_not_found() => Some(failure),
            result => return result,
        }
    };
    let wish = Wish { targets, upgrade: None, how, aur };
    match run(options, &wish, out) {
        // Nothing has it: what was said first has more to say.
        Err(failure) if failure.is_not_found() => Err(first.unwrap_or(failure)),
        result => result,
    }
}

/// Upgrades everything, or what is named.
///
/// # Errors
/// When something fails.
pub fn upgrade(options: &ConnectOptions, upgrade: Upgrade, out: &mut Output) -> Result<(), Failure> {
    let (targets, how, aur) = (upgrade.targets.clone(), upgrade.how.clone(), upgrade.aur.clone());
    let verb = if upgrade.full { Verb::FullUpgrade } else { Verb::UpgradeAll };
    if !is_there() || how.download_only {
        return super::alter(options, Change::upgrade(upgrade)?, out);
    }
    if !targets.is_empty() {
        return match super::alter(options, Change::upgrade(upgrade)?, out) {
            Err(failure) if failure.is_not_found() => run(options, &Wish { targets, upgrade: None, how, aur }, out),
            result => result,
        };
    }
    let wish = Wish { targets, upgrade: Some(verb), how, aur };
    let order = builder(options).and_then(|connect| {
        super::ask(&connect, async |client| Ok(client.aur_order(&[], true, wish.aur.devel).await?))
    });
    match order {
        Ok(order) if !order.steps.is_empty() => run(options, &wish, out),
        Ok(order) => {
            for note in order.notes {
                out.note(WARN, &note);
            }
            super::alter(options, Change::upgrade(upgrade)?, out)
        }
        Err(failure) => {
            out.note(WARN, &format!("the AUR is left out: {}", failure.text().unwrap_or_default()));
            super::alter(options, Change::upgrade(upgrade)?, out)
        }
    }
}

fn run(options: &ConnectOptions, wish: &Wish, out: &mut Output) -> Result<(), Failure> {
    let connect = builder(options)?;
    super::ask(&connect, async |client| carry_out(client, wish, out).await)
}

/// The actions on packages of repositories.
fn repository_actions(order: &AurOrder, wish: &Wish) -> Result<Vec<Action>, Failure> {
    let action = |verb, target: &str| {
        Action::new(verb, target).map_err(|error| Failure::Of(ErrorKind::Invalid, error.to_string()))
    };
    let mut actions = Vec::new();
    if let Some(verb) = wish.upgrade {
        actions.push(action(verb, "")?);
    }
    for needed in &order.repository {
        actions.push(action(Verb::Install, &needed.name)?);
    }
    for needed in order.repository.iter().filter(|needed| !needed.explicit) {
        actions.push(action(Verb::MarkDependency, &needed.name)?);
    }
    Ok(actions)
}

fn show(order: &AurOrder, out: &mut Output) {
    if out.is_json() {
        return;
    }
    out.styled(NAME, "Building from the AUR");
    out.newline();
    for step in &order.steps {
        for package in &step.packages {
            let from = if package.from.is_empty() { String::new() } else { format!("{} → ", package.from) };
            let base = if step.base == package.name { String::new() } else { format!(" (of {})", step.base) };
            let why = match (package.make_only, package.dependency) {
                (true, _) => ", for building only",
                (false, true) => ", as a dependency",
                (false, false) => "",
            };
            out.line(&format!("  {} {from}{}{base}{why}", package.name, step.version));
        }
    }
    for note in &order.notes {
        out.line(note);
    }
}

async fn carry_out(client: &mut Client, wish: &Wish, out: &mut Output) -> Result<(), Failure> {
    let mut interrupts = Interrupts::listen()?;
    let order = client.aur_order(&wish.targets, wish.upgrade.is_some(), wish.aur.devel);
    let order = interrupts.unless(order).await??;
    let actions = repository_actions(&order, wish)?;
    let planned = steps::plan(client, &actions, &wish.how, Vec::new(), &mut interrupts).await?;
    let planned = planned.filter(|planned| !planned.is_empty());
    if order.steps.is_empty() && planned.is_none() {
        order.notes.iter().for_each(|note| out.line(note));
        out.line("Nothing to do.");
        return Ok(());
    }
    if let Some(planned) = &planned {
        planned.show(out);
    }
    show(&order, out);
    if wish.how.consent.dry_run {
        return Ok(());
    }
    out.flush();
    steps::agree(planned.as_ref(), &wish.how.consent, &mut interrupts, out).await?;
    let mut commits = BTreeMap::new();
    for step in &order.steps {
        let commit = review::review(client, step, &wish.aur, &mut interrupts, out).await?;
        commits.insert(step.base.clone(), commit);
    }
    if let Some(planned) = planned {
        steps::commit(planned, &wish.how, &mut interrupts, out).await?;
    }
    let mut building =
        Building { client, wish, commits, pending: Vec::new(), failed: BTreeSet::new(), told: Vec::new() };
    for (index, step) in order.steps.iter().enumerate() {
        building.step(step, order.steps.get(index + 1..).unwrap_or_default(), &mut interrupts, out).await?;
    }
    building.install(&mut interrupts, out).await?;
    let told = std::mem::take(&mut building.told);
    made_with(&order, building.client, wish, &mut interrupts, out).await?;
    if told.is_empty() { Ok(()) } else { Err(Failure::Internal(told.join("\n"))) }
}

/// What was built and waits to be installed.
struct Pending {
    package: AurStepPackage,
    file: File,
    label: String,
}

struct Building<'a> {
    client: &'a mut Client,
    wish: &'a Wish,
    /// By package base.
    commits: BTreeMap<String, String>,
    pending: Vec<Pending>,
    /// Package bases.
    failed: BTreeSet<String>,
    /// Why.
    told: Vec<String>,
}

impl Building<'_> {
    /// Builds one package base. That it fails does not end the others that do not need it.
    async fn step(
        &mut self,
        step: &AurStep,
        later: &[AurStep],
        interrupts: &mut Interrupts,
        out: &mut Output,
    ) -> Result<(), Failure> {
        if let Some(needed) = step.needs.iter().find(|needed| self.failed.contains(*needed)) {
            self.fail(step, format!("{} is not built: it needs {needed}", step.base), out);
            return Ok(());
        }
        let Some(commit) = self.commits.get(&step.base).cloned() else { return Ok(()) };
        // What it needs was built, and has to be there now.
        if !step.needs.is_empty() {
            self.install(interrupts, out).await?;
        }
        let outcome = match self.client.aur_build(&step.base, &commit).await {
            Ok(job) => steps::follow(job, interrupts, out).await?,
            Err(error) => {
                self.fail(step, format!("{} is not built: {error}", step.base), out);
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
                self.fail(step, failure.message, out);
                return Ok(());
            }
        }
        let mut built = self.client.aur_packages(&step.base, &commit).await?;
        for package in &step.packages {
            match built.iter().position(|(name, ..)| *name == package.name) {
                Some(position) => {
                    let (name, _, file) = built.swap_remove(position);
                    let label = format!("{name}.pkg.tar");
                    self.pending.push(Pending { package: package.clone(), file, label });
                }
                None => self.fail(
                    step,
                    format!("{} was built, and {} is not among its packages", step.base, package.name),
                    out,
                ),
            }
        }
        if later.iter().any(|other| other.needs.contains(&step.base)) {
            self.install(interrupts, out).await?;
        }
        Ok(())
    }

    fn fail(&mut self, step: &AurStep, text: String, out: &mut Output) {
        self.failed.insert(step.base.clone());
        out.note(WARN, &text);
        self.told.push(text);
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
        if let Some(other) = planned.names().find(|name| !names.contains(*name)) {
            let text =
                format!("what was built would change {other} too, which was not asked for: nothing of it is installed");
            return Err(Failure::Of(ErrorKind::Invalid, text));
        }
        steps::commit(planned, &self.wish.how, interrupts, out).await
    }
}

/// Offers to remove what only building needed.
async fn made_with(
    order: &AurOrder,
    client: &mut Client,
    wish: &Wish,
    interrupts: &mut Interrupts,
    out: &mut Output,
) -> Result<(), Failure> {
    let repository = order.repository.iter().filter(|needed| needed.make_only).map(|needed| needed.name.as_str());
    let built = order.steps.iter().flat_map(|step| &step.packages).filter(|package| package.make_only);
    let names: Vec<&str> = repository.chain(built.map(|package| package.name.as_str())).collect();
    if names.is_empty() || out.is_json() {
        return Ok(());
    }
    let remove = format!("omg remove {}", names.join(" "));
    if wish.how.consent.yes || !change::is_interactive() {
        out.line(&format!("Only building needed {}; `{remove}` removes that.", names.join(", ")));
        return Ok(());
    }
    out.prompt(&format!("Only building needed {}. Remove that? [y/N]", names.join(", ")));
    if !steps::agrees(interrupts, false).await? {
        return Ok(());
    }
    let actions: Result<Vec<Action>, _> = names.iter().map(|name| Action::new(Verb::Remove, *name)).collect();
    let actions = actions.map_err(|error| Failure::Of(ErrorKind::Invalid, error.to_string()))?;
    let how = Installing { consent: Consent { yes: true, ..wish.how.consent.clone() }, ..wish.how.clone() };
    match steps::plan(client, &actions, &how, Vec::new(), interrupts).await? {
        Some(planned) => steps::commit(planned, &how, interrupts, out).await,
        None => Ok(()),
    }
}
