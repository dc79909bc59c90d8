//! Resolves actions as pacman would.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use alpm::{Alpm, Db, Error as AlpmError, Package, PackageReason, PrepareData, PrepareError, TransFlag};
use omg::transaction::{
    Asks, Change, Decision, Failure, FailureKind, HeldBack, HoldReason, Item, NO, Plan, Request, Resolution, Risk, Verb,
};

use tempfile::TempDir;

use super::super::System;
use super::super::package_files::PackageFiles;
use super::answers::Answers;
use super::file::Downloaded;
use super::mark::{Marking, Target};
use super::relations::{Installed, is_sound};
use super::settings::Settings;
use super::{CACHE, LOCAL, file, left_to_the_end, locks, repair, sound, sources};

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
    resolved(system, settings, None, request, Lock::Leave, &|| false).map(|Resolved { mut handle, plan, .. }| {
        // Nothing was locked: there is nothing that this could fail at.
        let _ = handle.trans_release();
        let _ = left_to_the_end(handle);
        plan
    })
}

/// Marks in a transaction what the request asks for, and lets libalpm prepare it. The handle, if there is one, has these
/// settings; what it has read already it does not read again.
///
/// # Errors
/// As [`plan`], and [`FailureKind::Locked`].
pub fn resolved(
    system: &System,
    settings: Settings,
    handle: Option<Alpm>,
    request: &Request,
    lock: Lock,
    cancelled: &dyn Fn() -> bool,
) -> Result<Resolved, Failure> {
    let repairs = request.actions.iter().any(|action| action.verb() == Verb::Repair);
    let database = if repairs && lock == Lock::Leave { repair::without_torn(&settings) } else { Ok(None) };
    let database = database.map_err(|error| unavailable(&format!("the databases cannot be read: {error}")))?;
    let handle = match (&database, handle) {
        (Some(database), _) => settings.handle_of(database.path()),
        (None, Some(handle)) => Ok(handle),
        (None, None) => settings.handle(),
    };
    let mut handle = handle.map_err(|error| unavailable(&error.to_string()))?;
    let files = PackageFiles::copy(system, request, &|label, path| file::read(&handle, label, path), cancelled)?;
    if repairs && request.actions.len() > 1 {
        let message = "a repair finishes what was interrupted and does nothing else; ask for the rest afterwards";
        return Err(Failure::new(FailureKind::InvalidArgument, message));
    }
    if repairs && repair::interrupted(system)?.is_some() {
        // What the interrupted change unpacked belongs to nobody yet.
        handle.add_overwrite_file("*").map_err(|error| internal("a repair cannot be prepared", error))?;
    }
    let mut resolution = Resolution::default();
    let answers = Answers::listen(&handle, request.options.answers.clone());
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
    let marking = Marking { handle: &handle, system, settings: &settings, wanted: &wanted, answers: &answers };
    let added = sound(|| marking.all(request, &files, &mut resolution));
    let added = added.unwrap_or_else(|| Err(not_text()));
    let prepared = added.and_then(|()| {
        if wanted.upgrade {
            handle.sync_sysupgrade(false).map_err(|error| internal("the upgrade cannot be worked out", error))?;
        }
        if handle.trans_add().is_empty() && handle.trans_remove().is_empty() {
            return Ok(());
        }
        let leaving: Vec<String> = handle.trans_remove().into_iter().map(|package| package.name().to_owned()).collect();
        let leaves = |name: &str| leaving.iter().any(|leaving| leaving == name);
        let failure = match handle.trans_prepare() {
            Ok(()) => return Ok(()),
            // What comes with this one is not what the bindings take it for.
            Err(error) if error.error() == AlpmError::PkgInvalidArch => None,
            Err(error) => Some(unresolved(&error, &leaves, &answers)),
        };
        Err(failure.unwrap_or_else(|| of_other_architectures(&handle)))
    });
    if let Err(failure) = answers.refused().map_or(prepared, Err) {
        let _ = handle.trans_release();
        return Err(failure);
    }
    let read = sound(|| items(&handle, &settings, &files, &wanted, &mut resolution));
    if read.is_none() {
        let _ = handle.trans_release();
        return Err(not_text());
    }
    resolution.decisions = answers.decisions();
    if repairs && lock == Lock::Leave {
        resolution.mends = repair::mends(&settings);
    }
    resolution.place = place(system);
    let plan = Plan::new(request.actions.clone(), request.options.clone(), resolution);
    Ok(Resolved { settings, handle, plan, files, _database: database })
}

/// A plan for one system must not be taken for one of another that happens to come to the same.
fn place(system: &System) -> Option<String> {
    (system.root.is_some() || !system.options.is_empty()).then(|| format!("{system:?}"))
}

/// The plan of a request that comes to nothing.
pub fn of_nothing(system: &System, request: &Request) -> Plan {
    let resolution = Resolution { place: place(system), ..Resolution::default() };
    Plan::new(request.actions.clone(), request.options.clone(), resolution)
}

pub fn not_text() -> Failure {
    let message = "a package that would change has text that is not UTF-8; remove the repository it is from";
    Failure::new(FailureKind::ResolutionFailed, message)
}

fn unavailable(text: &str) -> Failure {
    Failure::new(FailureKind::BackendUnavailable, text)
}

pub fn internal(what: &str, error: AlpmError) -> Failure {
    Failure::new(FailureKind::Internal, format!("{what}: {error}"))
}

fn reads_repositories(verb: Verb) -> bool {
    matches!(verb, Verb::Install | Verb::Reinstall | Verb::Upgrade | Verb::UpgradeAll | Verb::FullUpgrade)
}

/// Refuses to plan from databases that libalpm would read as empty.
///
/// # Errors
/// That one is missing or not signed as wanted.
pub fn usable(handle: &Alpm) -> Result<(), Failure> {
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
    pub orphans: bool,
    /// Names of packages that somebody wants for themselves.
    pub asked_for: RefCell<Vec<String>>,
    /// Names of what is to be a dependency afterwards, whoever asks for it by name.
    pub dependencies: RefCell<Vec<String>>,
    /// What was downloaded before and is installed from there.
    pub downloaded: RefCell<Vec<Downloaded>>,
}

impl Wanted {
    fn of(request: &Request) -> Self {
        let asks = |verb: Verb| request.actions.iter().any(|action| action.verb() == verb);
        let mut flags = TransFlag::NONE;
        // As `pacman -Rn`: without a copy of changed configuration files.
        flags.set(TransFlag::NO_SAVE, asks(Verb::Purge) && !asks(Verb::Remove));
        // As `pacman -Rs`: with what only the removed packages needed.
        flags.set(TransFlag::RECURSE, asks(Verb::Autoremove));
        // As `pacman -Rc`: with what needs the removed packages.
        flags.set(TransFlag::CASCADE, request.options.cascade && (asks(Verb::Remove) || asks(Verb::Purge)));
        flags.set(TransFlag::DOWNLOAD_ONLY, request.options.download_only);
        let marks = request.actions.iter().filter(|action| action.verb() == Verb::MarkDependency);
        Self {
            flags,
            upgrade: asks(Verb::UpgradeAll) || asks(Verb::FullUpgrade),
            orphans: asks(Verb::Autoremove) && !asks(Verb::Remove) && !asks(Verb::Purge),
            asked_for: RefCell::default(),
            downloaded: RefCell::default(),
            dependencies: RefCell::new(marks.map(|action| Target::parse(action.target()).name.to_owned()).collect()),
        }
    }
}

pub fn marked(change: Change, package: &Package) -> Item {
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
        let downloaded = wanted.downloaded.borrow();
        if let Some(downloaded) = downloaded.iter().find(|known| package.db().is_none() && known.name == added.name) {
            CACHE.clone_into(&mut added.repository);
            downloaded.sha256.clone_into(&mut added.sha256);
            if !downloaded.trusted {
                resolution.risks.push(Risk::Untrusted(added.name.clone()));
            }
        } else if package.db().is_none() {
            if let Some(file) = files.files.iter().find(|file| file.name == added.name) {
                file.sha256.clone_into(&mut added.sha256);
            }
            resolution.risks.push(Risk::Untrusted(added.name.clone()));
        }
        resolution.items.push(added);
    }
    resolution.unneeded = unneeded(handle, &resolution.items);
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

/// What `autoremove` would remove once the transaction is through.
fn unneeded(handle: &Alpm, items: &[Item]) -> Vec<String> {
    let (adds, removes) = (handle.trans_add(), handle.trans_remove());
    let changed: HashSet<&str> = adds.into_iter().chain(removes).map(|package| package.name()).collect();
    let stay = handle.localdb().pkgs().into_iter();
    // One that cannot be read is no reason to leave anything out.
    let stay = stay.filter(|package| sound(|| package.name()).is_some_and(|name| !changed.contains(name)));
    let stay = stay.filter(|package| sound(|| is_sound(package)).is_some());
    let later: Vec<&Package> = stay.chain(adds).collect();
    let reasons: HashMap<&str, bool> = items
        .iter()
        .filter(|item| !matches!(item.change, Change::Remove | Change::Purge | Change::Clean))
        .map(|item| (item.name.as_str(), item.explicit))
        .collect();
    Installed::of(later).unneeded(|package| match reasons.get(package.name()) {
        Some(explicit) => *explicit,
        None => package.reason() == PackageReason::Explicit,
    })
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

/// Why libalpm finds no plan, in its terms; of a package, whether it is to be removed.
fn unresolved(error: &PrepareError<'_>, leaves: &dyn Fn(&str) -> bool, answers: &Answers) -> Failure {
    let mut lines = Vec::new();
    let told = sound(|| match error.data() {
        Some(PrepareData::UnsatisfiedDeps(missing)) => {
            for missing in missing {
                let (target, wanted) = (missing.target(), missing.depend());
                lines.push(match missing.causing_pkg() {
                    None => format!("{target} needs {wanted}"),
                    Some(cause) if leaves(cause) => format!("{cause} cannot be removed: {target} needs {wanted}"),
                    Some(cause) => format!("{cause} cannot be changed: {target} needs {wanted}"),
                });
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
    lines.extend(answers.decisions().iter().filter_map(otherwise));
    Failure::new(FailureKind::ResolutionFailed, lines.join("\n"))
}

/// What another answer would do.
fn otherwise(decision: &Decision) -> Option<String> {
    let key = decision.key();
    let does = match (decision.asks, decision.chosen.as_str()) {
        (Asks::Conflict, NO) => {
            let (_, installed) = decision.about.split_once(':')?;
            format!("removes {installed}")
        }
        (Asks::Skip, NO) => format!("leaves out {}", decision.about),
        (Asks::Ignored, NO) => return Some(format!("{key} was answered with no")),
        _ => return None,
    };
    Some(format!("the answer yes to {key} {does}"))
}

/// Names the packages that are for none of the configured architectures.
pub fn of_other_architectures(handle: &Alpm) -> Failure {
    let known: Vec<&str> = handle.architectures().into_iter().collect();
    let is_other = |arch: &str| arch != "any" && !known.contains(&arch);
    let others = handle.trans_add().into_iter().filter_map(|package| {
        let arch = package.arch().filter(|arch| is_other(arch))?;
        Some(format!("{} is for {arch}, and this machine takes packages for {}", package.name(), known.join(", ")))
    });
    Failure::new(FailureKind::ResolutionFailed, others.collect::<Vec<_>>().join("\n"))
}
