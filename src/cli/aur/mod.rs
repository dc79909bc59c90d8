//! Packages of the AUR: what is to be done is shown and asked for once, everything unseen is looked at, and then it is built
//! and installed step by step.

mod building;
mod done;
mod review;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::Failure;
use super::change::args::{AurHow, Consent, Install, Installing, Upgrade};
use super::change::{self, Change, steps};
use super::output::{NAME, Output, WARN};
use crate::config::{self, Backend, Paths};
use crate::dbus::aur_client::AurOrder;
use crate::dbus::client::{Besides, Client, ConnectOptions, ErrorKind, User};
use crate::dbus::reply::Details;
use crate::transaction::{Action, Answers, Asks, FailureKind, NO, Verb, YES};
use building::Building;
use done::Done;
use steps::Interrupts;

/// Where a machine with pacman has what is installed.
const LOCAL_DATABASE: &str = "/var/lib/pacman/local";

/// What a target that is to come from the AUR starts with.
const FORCED: &str = "aur/";

/// What its packages are labelled with.
const AUR: &str = "aur";

/// What is asked for.
#[derive(Clone)]
struct Wish {
    targets: Vec<String>,
    /// How the repositories' packages are upgraded with it.
    upgrade: Option<Verb>,
    how: Installing,
    aur: AurHow,
    /// Packages to be built, and the installed ones that make place for them.
    replaced: BTreeSet<(String, String)>,
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

/// Where nobody is there to build: whether the AUR has one of these, as far as is known here. Then that it is not built is what
/// there is to say, otherwise that nothing has it.
fn is_in_aur(options: &ConnectOptions, targets: &[String]) -> bool {
    let names: Vec<String> =
        targets.iter().map(|target| target.strip_prefix(FORCED).unwrap_or(target).to_owned()).collect();
    let found = super::ask(options, async |client| {
        Ok(client.details(&names, Besides { versions: true, fields: true, ..Besides::default() }).await?)
    });
    let has = |details: &Details| details.versions.iter().any(|version| version.repository == AUR);
    found.is_ok_and(|found| found.iter().flatten().any(has))
}

/// Does what takes a build, for targets that the repositories do not have: `first` is what they say.
fn build(options: &ConnectOptions, wish: &Wish, first: Failure, out: &mut Output) -> Result<(), Failure> {
    if let Err(refused) = builder(options) {
        return Err(if is_in_aur(options, &wish.targets) { refused } else { first });
    }
    match run(options, wish, out) {
        // Nothing has it: what was said first has more to say.
        Err(failure) if failure.is_not_found() => Err(first),
        result => result,
    }
}

/// Installs from the repositories, and from the AUR what they do not have.
///
/// # Errors
/// When a target is nowhere, or something fails.
pub fn install(options: &ConnectOptions, install: Install, out: &mut Output) -> Result<(), Failure> {
    let is_forced = install.targets.iter().any(|target| target.starts_with(FORCED));
    let (targets, how, aur) = (install.targets.clone(), install.how.clone(), install.aur.clone());
    let may_be = is_there() && !how.download_only;
    let wish = Wish { targets, upgrade: None, how, aur, replaced: BTreeSet::new() };
    if is_forced && may_be {
        return run(options, &wish, out);
    }
    match super::alter(options, Change::install(install)?, out) {
        Err(failure) if may_be && failure.is_not_found() => build(options, &wish, failure, out),
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
        let wish = Wish { targets, upgrade: None, how, aur, replaced: BTreeSet::new() };
        return match super::alter(options, Change::upgrade(upgrade)?, out) {
            Err(failure) if failure.is_not_found() => build(options, &wish, failure, out),
            result => result,
        };
    }
    let wish = Wish { targets, upgrade: Some(verb), how, aur, replaced: BTreeSet::new() };
    let order = builder(options).and_then(|connect| {
        super::act(&connect, async |client| {
            let order = client.aur_order(&[], true, wish.aur.devel, &Answers::default()).await?;
            // The repositories' upgrades need no files to be passed on, so they are not refused for that.
            if !order.steps.is_empty() && !wish.how.consent.dry_run {
                steps::takes_files().await?;
            }
            Ok(order)
        })
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
            // With nothing installed from there, nothing is left out.
            let foreign = super::ask(options, async |client| Ok(client.status().await?.foreign));
            if !foreign.is_ok_and(|foreign| foreign == Some(0)) {
                out.note(WARN, &format!("the AUR is left out: {}", failure.text().unwrap_or_default()));
            }
            super::alter(options, Change::upgrade(upgrade)?, out)
        }
    }
}

fn run(options: &ConnectOptions, wish: &Wish, out: &mut Output) -> Result<(), Failure> {
    let connect = builder(options)?;
    super::act(&connect, async |client| carry_out(client, wish.clone(), out).await)
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
    done::order(order, out);
    if out.is_json() || order.steps.is_empty() {
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
    for decision in &order.decisions {
        match (decision.question == Asks::Conflict.as_str(), decision.about.split_once(':')) {
            (true, Some((package, installed))) => out.line(&format!("  {package} takes the place of {installed}")),
            _ => {
                let choices = decision.choices.join(", ");
                out.line(&format!("  {} is provided by {} ({choices})", decision.about, decision.choice));
            }
        }
    }
    for note in &order.notes {
        out.line(note);
    }
}

/// The order, with what several packages provide as somebody at the terminal chose it.
async fn decided(
    client: &mut Client,
    wish: &mut Wish,
    interrupts: &mut Interrupts,
    out: &mut Output,
) -> Result<AurOrder, Failure> {
    let consent = &wish.how.consent;
    let asks = !consent.yes && !consent.dry_run && !out.is_json() && change::is_interactive();
    let given = consent.answers.iter().cloned();
    let mut answers = Answers::new(given).map_err(|error| Failure::Of(ErrorKind::Invalid, error.to_string()))?;
    loop {
        let order = client.aur_order(&wish.targets, wish.upgrade.is_some(), wish.aur.devel, &answers);
        let order = interrupts.unless(order).await??;
        let more = if asks { steps::choices(&order.decisions, &answers, interrupts, out).await? } else { Vec::new() };
        if more.is_empty() || more.iter().any(|(_, choice)| choice == NO) {
            return agreed_to(order, wish, out);
        }
        answers = answers.with(more).map_err(|error| Failure::Of(ErrorKind::Invalid, error.to_string()))?;
    }
}

/// The order, unless it takes the place of something that is to stay. What may be removed is for those who install to know.
fn agreed_to(mut order: AurOrder, wish: &mut Wish, out: &mut Output) -> Result<AurOrder, Failure> {
    let conflicts = order.decisions.iter().filter(|decision| decision.question == Asks::Conflict.as_str());
    let refused = conflicts.clone().find(|decision| decision.choice != YES);
    if let Some(refused) = refused {
        let (package, installed) = refused.about.split_once(':').unwrap_or((&refused.about, ""));
        let text = format!(
            "{package} conflicts with {installed}, which is installed; remove {installed}, or have it replaced: --answer {}=yes",
            refused.key()
        );
        if wish.upgrade.is_none() {
            return Err(Failure::Of(ErrorKind::of(FailureKind::ResolutionFailed), text));
        }
        leave_out(&mut order, &text, out);
        return Ok(order);
    }
    for conflict in conflicts {
        if !wish.how.consent.answers.iter().any(|(given, _)| *given == conflict.key()) {
            wish.how.consent.answers.push((conflict.key(), YES.to_owned()));
        }
        let pair = conflict.about.split_once(':');
        wish.replaced.extend(pair.map(|(package, installed)| (package.to_owned(), installed.to_owned())));
    }
    Ok(order)
}

/// What a package of the AUR is short of holds up no upgrade of the repositories'.
fn leave_out(order: &mut AurOrder, why: &str, out: &mut Output) {
    let text = format!("the AUR is left out: {why}");
    out.note(WARN, &text);
    if out.is_json() {
        order.notes.push(text);
    }
    (order.steps, order.repository, order.decisions) = Default::default();
}

async fn carry_out(client: &mut Client, mut wish: Wish, out: &mut Output) -> Result<(), Failure> {
    let mut done = Done::default();
    let ended = all_of_it(client, &mut wish, &mut done, out).await;
    done.conclude(ended, out)
}

async fn all_of_it(client: &mut Client, wish: &mut Wish, done: &mut Done, out: &mut Output) -> Result<(), Failure> {
    let mut interrupts = Interrupts::listen()?;
    let mut order = decided(client, wish, &mut interrupts, out).await?;
    let mut fetched = BTreeMap::new();
    let consent = &wish.how.consent;
    if wish.upgrade.is_some() && consent.yes && !consent.dry_run {
        match review::fetch(client, &order.steps, &wish.aur, &mut interrupts, out).await? {
            Ok(reviews) => fetched = reviews,
            Err(why) => leave_out(&mut order, &why, out),
        }
    }
    let actions = repository_actions(&order, wish)?;
    let planned = steps::plan(client, &actions, &wish.how, Vec::new(), &mut interrupts).await?;
    let planned = planned.filter(|planned| !planned.is_empty());
    if order.steps.is_empty() && planned.is_none() {
        if out.is_json() {
            done::order(&order, out);
            change::report::bare("nothing", out);
        } else {
            order.notes.iter().for_each(|note| out.line(note));
            out.line("Nothing to do.");
        }
        return Ok(());
    }
    if let Some(planned) = &planned {
        planned.show(out);
    }
    show(&order, out);
    if wish.how.consent.dry_run {
        if out.is_json() {
            change::report::bare("planned", out);
        }
        return Ok(());
    }
    if !order.steps.is_empty() {
        steps::takes_files().await?;
    }
    out.flush();
    steps::agree(planned.as_ref(), &wish.how.consent, &mut interrupts, out).await?;
    let mut commits = BTreeMap::new();
    for step in &order.steps {
        let fetched = fetched.remove(&step.base);
        let commit = review::review(client, step, fetched, &wish.aur, &mut interrupts, out).await?;
        commits.insert(step.base.clone(), commit);
    }
    if let Some(planned) = planned {
        let outcome = steps::commit(planned, &wish.how, &mut interrupts, out).await?;
        done.take(outcome, out)?;
    }
    Building::new(client, wish, commits, done).all(&order.steps, &mut interrupts, out).await?;
    made_with(&order, client, wish, done, &mut interrupts, out).await
}

/// Removes what only building needed and was installed for it, where that is wanted: with it what came along. What was there
/// before stays.
async fn made_with(
    order: &AurOrder,
    client: &mut Client,
    wish: &Wish,
    done: &mut Done,
    interrupts: &mut Interrupts,
    out: &mut Output,
) -> Result<(), Failure> {
    let repository = order.repository.iter().filter(|needed| needed.make_only).map(|needed| needed.name.as_str());
    let built = order.steps.iter().flat_map(|step| &step.packages).filter(|package| package.make_only);
    let installed: BTreeSet<String> = done.installed().map(str::to_owned).collect();
    let names = repository.chain(built.map(|package| package.name.as_str()));
    let names: Vec<&str> = names.filter(|name| installed.contains(*name)).collect();
    if names.is_empty() || (out.is_json() && !wish.aur.rm_deps) {
        return Ok(());
    }
    let list = names.join(", ");
    if !wish.aur.rm_deps {
        let remove = format!("omg remove --unneeded {}", names.join(" "));
        if wish.how.consent.yes || !change::is_interactive() {
            out.line(&format!("Only building needed {list}; `{remove}` removes that, --rm-deps does so at once."));
            return Ok(());
        }
        out.prompt(&format!("Only building needed {list}. Remove that? [y/N]"));
        if !steps::agrees(interrupts, false).await? {
            return Ok(());
        }
    }
    let actions: Result<Vec<Action>, _> = names.iter().map(|name| Action::new(Verb::Remove, *name)).collect();
    let mut actions = actions.map_err(|error| Failure::Of(ErrorKind::Invalid, error.to_string()))?;
    let how = Installing { consent: Consent { yes: true, ..wish.how.consent.clone() }, ..wish.how.clone() };
    let alone = actions.clone();
    actions.extend(Action::new(Verb::Autoremove, ""));
    let mut planned = steps::plan(client, &actions, &how, Vec::new(), interrupts).await;
    let is_of_build = |step: &steps::Step| step.names().all(|name| installed.contains(name));
    if !matches!(&planned, Ok(Some(step)) if is_of_build(step)) {
        // Something that was there before would go too.
        planned = steps::plan(client, &alone, &how, Vec::new(), interrupts).await;
    }
    match planned {
        Ok(Some(step)) if is_of_build(&step) => {
            step.show(out);
            let outcome = steps::commit(step, &how, interrupts, out).await?;
            done.take(outcome, out)
        }
        Ok(_) => Ok(()),
        // What was built may need it after all: it stays, and nothing has failed.
        Err(failure) => {
            out.note(WARN, &format!("{list} stays: {}", failure.text().unwrap_or_default()));
            Ok(())
        }
    }
}
