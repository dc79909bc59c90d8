//! Resolves actions as pacman would.

use std::cell::RefCell;

use alpm::{Alpm, Db, Error as AlpmError, Package, PackageReason, PrepareData, PrepareError, TransFlag, Usage};
use omg::transaction::{
    Action, Change, Failure, FailureKind, HeldBack, HoldReason, Item, Plan, Request, Resolution, Risk, Verb,
};

use tempfile::TempDir;

use super::super::System;
use super::super::package_files::PackageFiles;
use super::answers::Answers;
use super::relations::Installed;
use super::settings::Settings;
use super::{LOCAL, cache, file, locks, repair, sound, sources};

/// A request, prepared as a transaction of libalpm's.
pub struct Resolved {
    pub settings: Settings,
    /// Holds the prepared transaction: ready to be committed, or released.
    pub handle: Alpm,
    pub plan: Plan,
    /// The package files that the transaction reads: they go with this.
    pub files: PackageFiles,
    /// What the transaction was resolved from, where that is not the database itself.
    _database: Option<TempDir>,
}

/// Whether libalpm's lock is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    Take,
    Leave,
}

/// The plan for a request; nothing is locked and nothing changed.
///
/// # Errors
/// When there is no such plan, in libalpm's own words, or its databases cannot be read.
pub fn plan(system: &System, request: &Request) -> Result<Plan, Failure> {
    let settings = Settings::read(system).map_err(|error| unavailable(&error.to_string()))?;
    resolved(system, settings, request, Lock::Leave, &|| false).map(|mut resolved| {
        // Nothing was locked: there is nothing that this could fail at.
        let _ = resolved.handle.trans_release();
        resolved.plan
    })
}

/// Marks in a transaction what the request asks for, and lets libalpm prepare it.
///
/// # Errors
/// As [`plan`], and [`FailureKind::Locked`].
pub fn resolved(
    system: &System,
    settings: Settings,
    request: &Request,
    lock: Lock,
    cancelled: &dyn Fn() -> bool,
) -> Result<Resolved, Failure> {
    let repairs = request.actions.iter().any(|action| action.verb() == Verb::Repair);
    let database = if repairs && lock == Lock::Leave { repair::without_torn(&settings) } else { Ok(None) };
    let database = database.map_err(|error| unavailable(&format!("the databases cannot be read: {error}")))?;
    let handle = match &database {
        Some(database) => settings.handle_of(database.path()),
        None => settings.handle(),
    };
    let mut handle = handle.map_err(|error| unavailable(&error.to_string()))?;
    let files = PackageFiles::copy(system, request, &|label, path| file::read(&handle, label, path), cancelled)?;
    if repairs && request.actions.len() > 1 {
        let message = "a repair finishes what was interrupted and does nothing else; ask for the rest afterwards";
        return Err(Failure::new(FailureKind::InvalidArgument, message));
    }
    if repairs {
        // What an interrupted change unpacked belongs to nobody yet.
        handle.add_overwrite_file("*").map_err(|error| internal("a repair cannot be prepared", error))?;
    }
    let mut resolution = Resolution::default();
    let answers = Answers::listen(&handle);
    if request.actions.iter().any(|action| reads_repositories(action.verb())) {
        usable(&handle)?;
    }
    let wanted = Wanted::of(request);
    let mut flags = wanted.flags;
    if lock == Lock::Leave {
        flags |= TransFlag::NO_LOCK;
    }
    handle.trans_init(flags).map_err(|error| match error {
        AlpmError::HandleLock => locks::refused(&handle),
        error => internal("a transaction cannot be begun", error),
    })?;
    let added = sound(|| mark(&handle, system, &settings, request, &files, &wanted, &mut resolution));
    let added = added.unwrap_or_else(|| Err(not_text()));
    let prepared = added.and_then(|()| {
        if wanted.upgrade {
            handle.sync_sysupgrade(false).map_err(|error| internal("the upgrade cannot be worked out", error))?;
        }
        if handle.trans_add().is_empty() && handle.trans_remove().is_empty() {
            return Ok(());
        }
        let failure = match handle.trans_prepare() {
            Ok(()) => return Ok(()),
            // What comes with this one is not what the bindings take it for.
            Err(error) if error.error() == AlpmError::PkgInvalidArch => None,
            Err(error) => Some(unresolved(&error, &answers)),
        };
        Err(failure.unwrap_or_else(|| of_other_architectures(&handle)))
    });
    if let Err(failure) = prepared {
        let _ = handle.trans_release();
        return Err(failure);
    }
    let read = sound(|| items(&handle, &settings, &files, &wanted, &mut resolution));
    if read.is_none() {
        let _ = handle.trans_release();
        return Err(not_text());
    }
    resolution.notes.append(&mut answers.notes());
    // A plan for one system must not be taken for one of another that happens to come to the same.
    resolution.place = (system.root.is_some() || !system.options.is_empty()).then(|| format!("{system:?}"));
    let plan = Plan::new(request.actions.clone(), request.options.clone(), resolution);
    Ok(Resolved { settings, handle, plan, files, _database: database })
}

fn not_text() -> Failure {
    let message = "a package that would change has text that is not UTF-8; remove the repository it is from";
    Failure::new(FailureKind::ResolutionFailed, message)
}

fn unavailable(text: &str) -> Failure {
    Failure::new(FailureKind::BackendUnavailable, text)
}

fn internal(what: &str, error: AlpmError) -> Failure {
    Failure::new(FailureKind::Internal, format!("{what}: {error}"))
}

fn reads_repositories(verb: Verb) -> bool {
    matches!(verb, Verb::Install | Verb::Reinstall | Verb::Upgrade | Verb::UpgradeAll | Verb::FullUpgrade)
}

/// Refuses to plan from databases that libalpm would read as empty.
fn usable(handle: &Alpm) -> Result<(), Failure> {
    for database in handle.syncdbs() {
        let Err(error) = sources::usable(handle, database) else { continue };
        let kind = match error {
            AlpmError::DbInvalidSig | AlpmError::SigMissing | AlpmError::SigInvalid => FailureKind::Untrusted,
            _ => FailureKind::BackendUnavailable,
        };
        let message = format!("the database of {} cannot be used: {error}; `omg refresh` fetches it", database.name());
        return Err(Failure::new(kind, message));
    }
    Ok(())
}

/// What the actions of a request come to for the whole transaction.
pub struct Wanted {
    flags: TransFlag,
    upgrade: bool,
    /// Whether what nothing needs is removed, whoever needed it.
    orphans: bool,
    /// Names of packages that somebody wants for themselves.
    pub asked_for: RefCell<Vec<String>>,
    /// Names of what is to be a dependency afterwards, whoever asks for it by name.
    pub dependencies: RefCell<Vec<String>>,
}

impl Wanted {
    fn of(request: &Request) -> Self {
        let asks = |verb: Verb| request.actions.iter().any(|action| action.verb() == verb);
        let mut flags = TransFlag::NONE;
        // As `pacman -Rn`: without a copy of changed configuration files.
        flags.set(TransFlag::NO_SAVE, asks(Verb::Purge) && !asks(Verb::Remove));
        // As `pacman -Rs`: with what only the removed packages needed.
        flags.set(TransFlag::RECURSE, asks(Verb::Autoremove));
        flags.set(TransFlag::DOWNLOAD_ONLY, request.options.download_only);
        let marks = request.actions.iter().filter(|action| action.verb() == Verb::MarkDependency);
        Self {
            flags,
            upgrade: asks(Verb::UpgradeAll) || asks(Verb::FullUpgrade),
            orphans: asks(Verb::Autoremove) && !asks(Verb::Remove) && !asks(Verb::Purge),
            asked_for: RefCell::default(),
            dependencies: RefCell::new(marks.map(|action| Target::parse(action.target()).name.to_owned()).collect()),
        }
    }
}

/// What a target of an action means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Target<'a> {
    repository: Option<&'a str>,
    name: &'a str,
    arch: Option<&'a str>,
    version: Option<&'a str>,
}

impl<'a> Target<'a> {
    /// `NAME`, `REPOSITORY/NAME`, `NAME=VERSION`, `NAME:ARCH`.
    fn parse(text: &'a str) -> Self {
        let (text, version) = match text.split_once('=') {
            Some((name, version)) => (name, Some(version)),
            None => (text, None),
        };
        let (repository, name) = match text.split_once('/') {
            Some((repository, name)) => (Some(repository), name),
            None => (None, text),
        };
        let (name, arch) = match name.split_once(':') {
            Some((name, arch)) => (name, Some(arch)),
            None => (name, None),
        };
        Self { repository, name, arch, version }
    }

    /// Whether this is a package that it can mean.
    fn fits(&self, package: &Package) -> bool {
        self.arch.is_none_or(|arch| package.arch() == Some(arch))
            && self.version.is_none_or(|version| package.version().as_str() == version)
    }
}

/// Adds everything that is asked for by name.
fn mark(
    handle: &Alpm,
    system: &System,
    settings: &Settings,
    request: &Request,
    files: &PackageFiles,
    wanted: &Wanted,
    resolution: &mut Resolution,
) -> Result<(), Failure> {
    let mut files = files.files.iter();
    for action in &request.actions {
        match action.verb() {
            Verb::Install | Verb::Reinstall | Verb::Upgrade => install(handle, action, wanted, resolution)?,
            Verb::Remove | Verb::Purge => remove(handle, action, resolution)?,
            Verb::MarkExplicit | Verb::MarkDependency => reason(handle, action, resolution)?,
            Verb::Hold | Verb::Unhold => {
                let message = format!(
                    "pacman keeps what it holds in {}: change IgnorePkg there for {}",
                    settings.file,
                    action.target()
                );
                return Err(Failure::new(FailureKind::InvalidArgument, message));
            }
            Verb::InstallFile => {
                if let Some(file) = files.next() {
                    file::add(handle, action.target(), &file.path)?;
                    wanted.asked_for.borrow_mut().push(file.name.clone());
                }
            }
            Verb::Clean => resolution.items.extend(cache::items(settings)),
            Verb::Repair => repair::mark(handle, system, wanted, resolution)?,
            Verb::UpgradeAll | Verb::FullUpgrade | Verb::Autoremove => {}
        }
    }
    if wanted.orphans {
        let mut unreadable = 0;
        let installed = Installed::read(handle.localdb(), &mut unreadable);
        for package in installed.orphans() {
            add_removal(handle, package)?;
        }
    }
    Ok(())
}

fn install(handle: &Alpm, action: &Action, all: &Wanted, resolution: &mut Resolution) -> Result<(), Failure> {
    let target = Target::parse(action.target());
    let databases: Vec<&Db> = handle
        .syncdbs()
        .into_iter()
        .filter(|database| database.usage().unwrap_or(Usage::ALL).contains(Usage::INSTALL))
        .filter(|database| target.repository.is_none_or(|repository| database.name() == repository))
        .collect();
    if let Some(repository) = target.repository
        && databases.is_empty()
    {
        let known: Vec<&str> = handle.syncdbs().into_iter().map(Db::name).collect();
        let message = format!("there is no repository {repository}; there are {}", known.join(", "));
        return Err(Failure::new(FailureKind::NotFound, message));
    }
    let wanted = match target.version {
        Some(version) => format!("{}={version}", target.name),
        None => target.name.to_owned(),
    };
    let literal =
        databases.iter().find_map(|database| database.pkg(target.name).ok().filter(|package| target.fits(package)));
    let found = literal.or_else(|| {
        databases.iter().copied().collect::<alpm::AlpmListMut<&Db>>().list().find_satisfier(wanted.as_str())
    });
    let of_arch = |package: &&Package| target.arch.is_none_or(|arch| package.arch() == Some(arch));
    if let Some(package) = found.filter(of_arch) {
        return add(handle, action.verb(), package, all, resolution);
    }
    if target.version.is_none() && target.arch.is_none() {
        let members: Vec<&Package> = databases
            .iter()
            .filter_map(|database| database.group(target.name).ok())
            .flat_map(|group| group.packages())
            .collect();
        if !members.is_empty() {
            for package in members {
                if !handle.trans_add().into_iter().any(|added| added.name() == package.name()) {
                    add(handle, action.verb(), package, all, resolution)?;
                }
            }
            return Ok(());
        }
    }
    let message = match (target.version, target.arch) {
        (Some(version), _) => format!("no repository has version {version} of {}", target.name),
        (None, Some(arch)) => format!("no repository has {} for {arch}", target.name),
        (None, None) => format!("no package, group or provider is called {}", target.name),
    };
    Err(Failure::new(FailureKind::NotFound, message))
}

fn add(handle: &Alpm, verb: Verb, package: &Package, all: &Wanted, resolution: &mut Resolution) -> Result<(), Failure> {
    let name = package.name();
    let installed = handle.localdb().pkg(name).ok();
    match (verb, installed) {
        (Verb::Upgrade, None) => {
            let message = format!("{name} is not installed, so it cannot be upgraded; install it");
            return Err(Failure::new(FailureKind::NotFound, message));
        }
        (Verb::Reinstall, None) => {
            let message = format!("{name} is not installed, so it cannot be reinstalled; install it");
            return Err(Failure::new(FailureKind::NotFound, message));
        }
        (Verb::Install | Verb::Upgrade, Some(installed))
            if installed.version() == package.version()
                // An upgrade never takes an older one.
                || verb == Verb::Upgrade && installed.version() > package.version() =>
        {
            resolution.notes.push(format!("{name} is already the newest version ({}).", installed.version()));
            let stays_dependency = all.dependencies.borrow().iter().any(|known| known == name);
            if verb == Verb::Install && installed.reason() == PackageReason::Depend && !stays_dependency {
                resolution.items.push(marked(Change::MarkExplicit, installed));
            }
            return Ok(());
        }
        _ => {}
    }
    if verb == Verb::Install {
        all.asked_for.borrow_mut().push(name.to_owned());
    }
    match handle.trans_add_pkg(package) {
        Ok(()) => {}
        // The same one twice is no error of libalpm's.
        Err(error) if error.error == AlpmError::TransDupTarget => {
            let message = format!("{name} is asked for twice, from different repositories or in different versions");
            return Err(Failure::new(FailureKind::InvalidArgument, message));
        }
        Err(error) if error.error == AlpmError::PkgIgnored => {
            let message = format!("{name} is ignored by pacman's configuration (IgnorePkg, IgnoreGroup)");
            return Err(Failure::new(FailureKind::ResolutionFailed, message));
        }
        Err(error) => return Err(internal(&format!("{name} cannot be added"), error.error)),
    }
    if package.should_ignore() {
        resolution.risks.push(Risk::ChangesHeld(name.to_owned()));
    }
    Ok(())
}

fn remove(handle: &Alpm, action: &Action, resolution: &mut Resolution) -> Result<(), Failure> {
    let target = Target::parse(action.target());
    let local = handle.localdb();
    if let Ok(package) = local.pkg(target.name)
        && target.repository.is_none()
        && target.fits(package)
    {
        return add_removal(handle, package);
    }
    let members: Vec<&Package> = local.group(target.name).into_iter().flat_map(|group| group.packages()).collect();
    if members.is_empty() {
        resolution.notes.push(format!("Package '{}' is not installed, so not removed", action.target()));
    }
    members.into_iter().try_for_each(|package| add_removal(handle, package))
}

pub fn add_removal(handle: &Alpm, package: &Package) -> Result<(), Failure> {
    match handle.trans_remove_pkg(package) {
        Ok(()) | Err(AlpmError::TransDupTarget) => Ok(()),
        Err(error) => Err(internal(&format!("{} cannot be removed", package.name()), error)),
    }
}

fn reason(handle: &Alpm, action: &Action, resolution: &mut Resolution) -> Result<(), Failure> {
    let target = Target::parse(action.target());
    let explicit = action.verb() == Verb::MarkExplicit;
    let change = if explicit { Change::MarkExplicit } else { Change::MarkDependency };
    match handle.localdb().pkg(target.name) {
        Ok(package) if (package.reason() == PackageReason::Explicit) == explicit => {
            resolution.notes.push(format!("{}: {change} changes nothing, it is so already", target.name));
        }
        Ok(package) => resolution.items.push(marked(change, package)),
        // Its own item says what it is afterwards.
        Err(_) if handle.trans_add().into_iter().any(|added| added.name() == target.name) => {}
        Err(_) => {
            let message = format!("{} is not installed, so it cannot be marked", target.name);
            return Err(Failure::new(FailureKind::NotFound, message));
        }
    }
    Ok(())
}

fn marked(change: Change, package: &Package) -> Item {
    Item {
        from: package.version().to_string(),
        explicit: change == Change::MarkExplicit,
        ..item(change, package, package.version().as_str())
    }
}

fn item(change: Change, package: &Package, to: &str) -> Item {
    Item {
        change,
        name: package.name().to_owned(),
        arch: package.arch().unwrap_or_default().to_owned(),
        from: String::new(),
        to: to.to_owned(),
        repository: String::new(),
        download: 0,
        delta: 0,
        explicit: package.reason() == PackageReason::Explicit,
        sha256: String::new(),
    }
}

/// Everything that the prepared transaction does.
fn items(handle: &Alpm, settings: &Settings, files: &PackageFiles, wanted: &Wanted, resolution: &mut Resolution) {
    let local = handle.localdb();
    for package in handle.trans_remove() {
        let change = if wanted.flags.contains(TransFlag::NO_SAVE) { Change::Purge } else { Change::Remove };
        if settings.holds(package.name()) {
            resolution.risks.push(Risk::RemovesEssential(package.name().to_owned()));
        }
        let from = package.version().to_string();
        resolution.items.push(Item { from, delta: -package.isize(), ..item(change, package, "") });
    }
    for package in handle.trans_add() {
        let version = package.version();
        let installed = local.pkg(package.name()).ok();
        let change = match installed.map(|installed| installed.version()) {
            None => Change::Install,
            Some(old) if old < version => Change::Upgrade,
            Some(old) if old > version => Change::Downgrade,
            Some(_) => Change::Reinstall,
        };
        let mut added = item(change, package, version.as_str());
        added.delta = package.isize();
        if let Some(installed) = installed {
            added.from = installed.version().to_string();
            added.delta -= installed.isize();
            added.explicit = installed.reason() == PackageReason::Explicit;
        }
        // pacman leaves the reason of what is installed already as it is; who asks for it by name wants it all the same.
        if wanted.dependencies.borrow().contains(&added.name) {
            added.explicit &= installed.is_some();
        } else {
            added.explicit |= wanted.asked_for.borrow().contains(&added.name);
        }
        added.download = u64::try_from(package.download_size()).unwrap_or(0);
        added.repository = package.db().map_or(LOCAL, Db::name).to_owned();
        package.sha256sum().unwrap_or_default().clone_into(&mut added.sha256);
        if package.db().is_none() {
            if let Some(file) = files.files.iter().find(|file| file.name == added.name) {
                file.sha256.clone_into(&mut added.sha256);
            }
            resolution.risks.push(Risk::Untrusted(added.name.clone()));
        }
        resolution.items.push(added);
    }
    let behind = behind(handle);
    if wanted.upgrade {
        resolution.held_back = behind.into_iter().filter(|held| !changes(resolution, &held.name)).collect();
    } else if resolution.items.iter().any(|item| matches!(item.change, Change::Install | Change::Upgrade)) {
        let others = behind.iter().filter(|held| held.reason != HoldReason::Held && !changes(resolution, &held.name));
        let others = others.count();
        if others > 0 {
            resolution.risks.push(Risk::PartialUpgrade(u32::try_from(others).unwrap_or(u32::MAX)));
        }
    }
}

fn changes(resolution: &Resolution, name: &str) -> bool {
    resolution.items.iter().any(|item| item.name == name)
}

/// The installed packages that the databases have newer versions of.
fn behind(handle: &Alpm) -> Vec<HeldBack> {
    let newer = |package: &Package| {
        let newer = package.sync_new_version(handle.syncdbs())?;
        let held = package.should_ignore() || newer.should_ignore();
        Some(HeldBack {
            name: package.name().to_owned(),
            arch: package.arch().unwrap_or_default().to_owned(),
            from: package.version().to_string(),
            to: newer.version().to_string(),
            reason: if held { HoldReason::Held } else { HoldReason::Dependencies },
        })
    };
    handle.localdb().pkgs().into_iter().filter_map(newer).collect()
}

/// Why libalpm finds no plan, in its terms.
fn unresolved(error: &PrepareError<'_>, answers: &Answers) -> Failure {
    let mut lines = Vec::new();
    let told = sound(|| match error.data() {
        Some(PrepareData::UnsatisfiedDeps(missing)) => {
            for missing in missing {
                let cause = missing.causing_pkg().map(|cause| format!(", which {cause} would break or take away"));
                lines.push(format!("{} needs {}{}", missing.target(), missing.depend(), cause.unwrap_or_default()));
            }
        }
        Some(PrepareData::ConflictingDeps(conflicts)) => {
            for conflict in conflicts {
                let (one, other) = (conflict.package1().name(), conflict.package2().name());
                lines.push(format!("{one} and {other} conflict ({}); remove one of them", conflict.reason()));
            }
        }
        Some(PrepareData::PkgInvalidArch(_)) | None => {}
    });
    if told.is_none() || lines.is_empty() {
        lines.push(error.error().to_string());
    }
    lines.extend(answers.notes());
    Failure::new(FailureKind::ResolutionFailed, lines.join("\n"))
}

/// Names the packages that are for none of the configured architectures.
fn of_other_architectures(handle: &Alpm) -> Failure {
    let known: Vec<&str> = handle.architectures().into_iter().collect();
    let is_other = |arch: &str| arch != "any" && !known.contains(&arch);
    let others = handle.trans_add().into_iter().filter_map(|package| {
        let arch = package.arch().filter(|arch| is_other(arch))?;
        Some(format!("{} is for {arch}, and this machine takes packages for {}", package.name(), known.join(", ")))
    });
    Failure::new(FailureKind::ResolutionFailed, others.collect::<Vec<_>>().join("\n"))
}
