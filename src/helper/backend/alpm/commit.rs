//! Commits what was resolved: locks, lets libalpm fetch and change, and reads what came of it.
//!
//! libalpm calls back on the thread that works, with callbacks that outlive any borrow. They put what they hear into a
//! channel ([`listener`]); another thread tells it to whoever asked.

pub mod listener;

use std::collections::{BTreeMap, HashSet};
use std::ffi::{CStr, c_char};
use std::path::{Path, PathBuf};

use alpm::{Alpm, CommitData, CommitError, Conflict, Db, Error as AlpmError, PackageReason};
use alpm_sys::alpm_fileconflict_t;
use omg::index::Fingerprint;
use omg::transaction::{Applied, Change, Digest, Event, FailureKind, Item, Level, Outcome, Phase, Plan, Request, Verb};

use super::super::{Caller, Stop, System, restart};
use super::resolve::{self, Lock, Resolved};
use super::settings::Settings;
use super::{cache, left_to_the_end, locks, repair, sound, sources};
use listener::Work;

/// See [`super::super::Backend::commit`].
pub fn commit(system: &System, request: &Request, caller: &dyn Caller) -> Outcome {
    let mut applied = Applied::default();
    let result = locked(system, request, caller, &mut applied);
    Stop::outcome(result, applied)
}

/// See [`super::super::Backend::refresh`].
pub fn refresh(system: &System, caller: &dyn Caller) -> Outcome {
    Stop::outcome(databases(system, caller), Applied::default())
}

fn databases(system: &System, caller: &dyn Caller) -> Result<(), Stop> {
    let settings = settings(system)?;
    let handle = handle(&settings)?;
    fetch(handle, caller)
}

/// Fetches the sync databases of the handle, where they are not current.
pub fn fetch(handle: Alpm, caller: &dyn Caller) -> Result<(), Stop> {
    locks::wait(&handle, false, caller)?;
    caller.tell(Event::Phase { phase: Phase::Fetching, cancellable: handle.sandbox_user().is_some() });
    // A server that has nothing newer leaves a damaged one as it is.
    let is_damaged =
        |database: &Db| sources::usable(&handle, database).is_err_and(|error| error != AlpmError::DbNotFound);
    let anew = handle.syncdbs().into_iter().any(is_damaged);
    let (handle, result, heard) = listener::listening(handle, caller, Work::Databases, |handle| {
        let databases = handle.syncdbs_mut();
        if databases.is_empty() { Ok(false) } else { databases.update(anew) }
    });
    match result {
        Ok(_) => Ok(()),
        Err(_) if caller.is_cancelled() => Err(Stop::Cancelled),
        Err(AlpmError::HandleLock) => Err(locks::refused(&handle).into()),
        Err(error) => {
            let (kind, text) = heard.worse(kind_of(error), error.to_string());
            let message = format!("the databases cannot be fetched: {text}; {}", advice(kind));
            Err(Stop::failed(kind, message))
        }
    }
}

pub fn settings(system: &System) -> Result<Settings, Stop> {
    Settings::read(system).map_err(|error| Stop::failed(FailureKind::BackendUnavailable, error.to_string()))
}

fn handle(settings: &Settings) -> Result<Alpm, Stop> {
    settings.handle().map_err(|error| Stop::failed(FailureKind::BackendUnavailable, error.to_string()))
}

fn locked(system: &System, request: &Request, caller: &dyn Caller, applied: &mut Applied) -> Result<(), Stop> {
    let (known, digest) = if caller.asks() {
        let (known, digest) = agreed(system, request, caller)?;
        (known, Some(digest))
    } else {
        (Opened::new(settings(system)?)?, request.digest)
    };
    let known = if asks(request, Verb::Repair) {
        locks::repair(&known.settings, caller)?;
        repair::remove_torn(&known.settings)?;
        if digest == Some(resolve::of_nothing(system, request).digest) {
            return Ok(());
        }
        // It was resolved from a copy where records were torn.
        Opened::new(known.settings)?
    } else {
        known
    };
    locks::wait(&known.handle, request.options.wait, caller)?;
    let known = known.current(system)?;
    let sources = known.sources.clone();
    let mut resolved = same_plan(system, known, request, digest, Lock::Take, caller)?;
    if !sources::same_but_for_the_lock(&resolved.settings, &sources) {
        let _ = resolved.handle.trans_release();
        return Err(stale());
    }
    // The package files are read until libalpm is done.
    let Resolved { settings, mut handle, plan, files: _files, .. } = resolved;
    if caller.is_cancelled() {
        let _ = handle.trans_release();
        return Err(Stop::Cancelled);
    }
    caller.begin(&plan);
    let kernel = modules_of_the_running_kernel(&settings);
    let before = Installed::of(&handle);
    let (mut handle, result, heard) = listener::listening(handle, caller, Work::Changes(&plan), |handle| {
        change(handle, &settings, request, &plan, caller)
    });
    caller.tell(Event::Phase { phase: Phase::Finishing, cancellable: false });
    // What failed half-way is in the local database as it is on the disk.
    let after = self::handle(&settings).map(|fresh| Installed::after(&fresh, &before, &plan));
    applied.items = match after {
        Ok(after) => before.changes(&after, &plan, result.is_ok() && !request.options.download_only),
        // What became of it is not known; that it was tried must not be lost.
        Err(error) => {
            applied.items.clone_from(&plan.items);
            return result.map_err(Undone::stop).and(Err(error));
        }
    };
    if result.is_ok() {
        applied.items.extend(plan.items.iter().filter(|item| item.change == Change::Clean).cloned());
    }
    if !applied.items.is_empty() {
        applied.restart = restart::wanted(Path::new(&settings.config.root_dir));
        // What the running kernel has not loaded yet it cannot load any more.
        applied.restart.machine |= kernel.is_some_and(|modules| !modules.exists());
    }
    if handle.trans_release().is_ok() {
        let _ = left_to_the_end(handle);
    }
    match result {
        Ok(()) => Ok(()),
        Err(Undone::Stopped(stop)) => Err(stop),
        Err(Undone::Commit(_)) if caller.is_cancelled() && applied.items.is_empty() => Err(Stop::Cancelled),
        Err(Undone::Commit(Failed { kind, text })) => {
            let (kind, text) = heard.worse(kind, text);
            Err(Stop::failed(kind, format!("{text}; {}", advice(kind))))
        }
    }
}

/// The folder with the modules of the kernel that runs, where there is one and it is this machine's packages that change.
fn modules_of_the_running_kernel(settings: &Settings) -> Option<PathBuf> {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let folder = Path::new("/usr/lib/modules").join(release);
    (settings.config.root_dir == "/" && folder.exists()).then_some(folder)
}

/// A handle, and the state of what it reads from just before.
struct Opened {
    settings: Settings,
    handle: Alpm,
    sources: Fingerprint,
}

impl Opened {
    fn new(settings: Settings) -> Result<Self, Stop> {
        let sources = sources::fingerprint(&settings, None);
        let handle = handle(&settings)?;
        Ok(Self { settings, handle, sources })
    }

    /// The same where nothing that the handle reads has changed meanwhile: what it has read it need not read again. Otherwise a
    /// new one.
    fn current(self, system: &System) -> Result<Self, Stop> {
        if sources::fingerprint(&self.settings, None) == self.sources {
            return Ok(self);
        }
        drop(self);
        Self::new(settings(system)?)
    }
}

/// Lets the caller ask about the plan while nothing is locked; what it was resolved from, and the digest that was agreed to.
fn agreed(system: &System, request: &Request, caller: &dyn Caller) -> Result<(Opened, Digest), Stop> {
    let known = Opened::new(settings(system)?)?;
    let sources = known.sources.clone();
    let mut resolved = same_plan(system, known, request, request.digest, Lock::Leave, caller)?;
    let _ = resolved.handle.trans_release();
    match caller.authorise(&resolved.plan) {
        Ok(()) => {
            let Resolved { settings, handle, plan, .. } = resolved;
            Ok((Opened { settings, handle, sources }, plan.digest))
        }
        Err(_) if caller.is_cancelled() => Err(Stop::Cancelled),
        Err(failure) => Err(failure.into()),
    }
}

/// Resolves the request, which must come to the plan that the digest names; without one, to any.
fn same_plan(
    system: &System,
    known: Opened,
    request: &Request,
    digest: Option<Digest>,
    lock: Lock,
    caller: &dyn Caller,
) -> Result<Resolved, Stop> {
    caller.tell(Event::Phase { phase: Phase::Resolving, cancellable: true });
    let Opened { settings, handle, .. } = known;
    let mut resolved = resolve::resolved(system, settings, Some(handle), request, lock, &|| caller.is_cancelled())?;
    if digest.is_some_and(|agreed| agreed != resolved.plan.digest) {
        let _ = resolved.handle.trans_release();
        return Err(stale());
    }
    Ok(resolved)
}

fn stale() -> Stop {
    let message = "what was planned is not what would be done now, as packages or databases have changed since; nothing was \
                   done: plan again and look at what is different";
    Stop::failed(FailureKind::PlanStale, message)
}

fn asks(request: &Request, verb: Verb) -> bool {
    request.actions.iter().any(|action| action.verb() == verb)
}

/// Why a change came to no good end.
enum Undone {
    Stopped(Stop),
    Commit(Failed),
}

impl Undone {
    fn stop(self) -> Stop {
        match self {
            Self::Stopped(stop) => stop,
            Self::Commit(Failed { kind, text }) => Stop::failed(kind, text),
        }
    }
}

/// A commit of libalpm's that failed.
pub struct Failed {
    pub kind: FailureKind,
    pub text: String,
}

/// Does what the prepared transaction holds, then what only marks and files are about.
fn change(
    handle: &mut Alpm,
    settings: &Settings,
    request: &Request,
    plan: &Plan,
    caller: &dyn Caller,
) -> Result<(), Undone> {
    // With only removals libalpm does not heed that it is to fetch and stop.
    let fetches_nothing = request.options.download_only && handle.trans_add().is_empty();
    if !fetches_nothing && (!handle.trans_add().is_empty() || !handle.trans_remove().is_empty()) {
        if plan.download_size() == 0 {
            // Before anything of libalpm's runs that must not be ended: checks, hooks, scripts. Otherwise it fetches first, and
            // tells.
            caller.tell(Event::Phase { phase: Phase::Applying, cancellable: false });
        }
        handle.trans_commit().map_err(|error| Undone::Commit(failed(&error)))?;
    } else if plan.items.iter().any(|item| item.change != Change::Clean) {
        caller.tell(Event::Phase { phase: Phase::Applying, cancellable: false });
    }
    if request.options.download_only {
        return Ok(());
    }
    let local = handle.localdb();
    let marks = plan.items.iter().filter_map(|item| {
        let reason = match item.change {
            Change::MarkExplicit => PackageReason::Explicit,
            Change::MarkDependency => PackageReason::Depend,
            Change::Install | Change::Upgrade | Change::Downgrade | Change::Reinstall if item.explicit => {
                PackageReason::Explicit
            }
            Change::Install | Change::Upgrade | Change::Downgrade | Change::Reinstall => PackageReason::Depend,
            _ => return None,
        };
        let is_so = local.pkg(item.name.as_str()).is_ok_and(|package| package.reason() == reason);
        (!is_so).then_some((item.name.as_str(), reason))
    });
    let marks: Vec<_> = marks.collect();
    if !marks.is_empty() {
        mark(settings, &marks, caller);
    }
    if asks(request, Verb::Clean) {
        cache::clean(settings).map_err(|error| Undone::Stopped(error.into()))?;
    }
    Ok(())
}

/// Records why packages are installed, with the lock held. By what is on the disk: what a handle knows of a package that it has
/// just installed is not all of it, and recording the reason writes everything anew.
fn mark(settings: &Settings, marks: &[(&str, PackageReason)], caller: &dyn Caller) {
    let fresh = settings.handle();
    for (name, reason) in marks {
        let marked = match &fresh {
            Ok(fresh) => {
                let set = fresh.localdb().pkg(*name).and_then(|package| package.set_reason(*reason));
                set.map_err(|error| error.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = marked {
            let text = format!("why {name} is installed cannot be recorded: {error}");
            caller.tell(Event::Message { level: Level::Warning, text });
        }
    }
}

pub fn failed(error: &CommitError) -> Failed {
    let kind = kind_of(error.error());
    let details = sound(|| match error.data() {
        Some(CommitData::FileConflict(conflicts)) => {
            conflicts.into_iter().filter_map(|conflict| sound(|| file_conflict(conflict))).collect()
        }
        Some(CommitData::PkgInvalid(files)) => files.into_iter().map(str::to_owned).collect(),
        None => Vec::new(),
    });
    let details = details.unwrap_or_default();
    let text = if details.is_empty() {
        error.error().to_string()
    } else {
        format!("{}: {}", error.error(), details.join(", "))
    };
    Failed { kind, text }
}

/// What is in the way of which package.
fn file_conflict(conflict: &Conflict) -> String {
    #[expect(unsafe_code, reason = "the bindings hand out file conflicts as another type than theirs")]
    // SAFETY: with this error libalpm's list holds `alpm_fileconflict_t`; alpm_trans_commit is documented so, and the bindings
    // free them as such.
    let conflict = unsafe { &*std::ptr::from_ref(conflict).cast::<alpm_fileconflict_t>() };
    let text = |text: *mut c_char| {
        if text.is_null() {
            return String::new();
        }
        #[expect(unsafe_code, reason = "the bindings give the package itself for the one that it is in conflict with")]
        // SAFETY: libalpm's strings end, and live as long as the conflict.
        let text = unsafe { CStr::from_ptr(text) };
        text.to_string_lossy().into_owned()
    };
    let (file, package, other) = (text(conflict.file), text(conflict.target), text(conflict.ctarget));
    if other.is_empty() {
        return format!("{file} of {package} is on the disk already, and no package's");
    }
    // Two packages that are both to be installed, or an installed one that keeps its file.
    format!("{file} of {package} is in {other} as well")
}

pub fn kind_of(error: AlpmError) -> FailureKind {
    match error {
        AlpmError::PkgInvalidSig
        | AlpmError::PkgMissingSig
        | AlpmError::PkgInvalidChecksum
        | AlpmError::PkgInvalid
        | AlpmError::SigInvalid
        | AlpmError::SigMissing
        | AlpmError::DbInvalidSig => FailureKind::Untrusted,
        AlpmError::DiskSpace => FailureKind::DiskFull,
        AlpmError::Retrieve
        | AlpmError::RetrievePrepare
        | AlpmError::Libcurl
        | AlpmError::ExternalDownload
        | AlpmError::ServerBadUrl
        | AlpmError::ServerNone => FailureKind::Network,
        AlpmError::HandleLock => FailureKind::Locked,
        AlpmError::UnsatisfiedDeps | AlpmError::ConflictingDeps | AlpmError::FileConflicts => {
            FailureKind::ResolutionFailed
        }
        AlpmError::BadPerms => FailureKind::NotAuthorized,
        _ => FailureKind::Internal,
    }
}

pub fn advice(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::DiskFull => "make room, for example with `omg clean`",
        FailureKind::Untrusted => {
            "what came is not what a trusted key vouches for: refresh, and do not trust this mirror if it stays so"
        }
        FailureKind::Network => "look at the connection and try again; what was fetched is kept",
        FailureKind::ResolutionFailed => "nothing was changed",
        FailureKind::NotAuthorized => "this takes root's rights",
        _ => "`omg doctor` looks at what is left",
    }
}

/// What the local database has, by name.
struct Installed(BTreeMap<String, Known>);

struct Known {
    version: String,
    /// Where they were looked at.
    details: Option<Details>,
}

#[derive(Clone, Default)]
struct Details {
    arch: String,
    explicit: bool,
    size: i64,
}

impl Installed {
    fn of(handle: &Alpm) -> Self {
        Self::looked_at(handle, |_, _| true)
    }

    /// What there is after a change. Versions are in the names of records; records are read only of what is in the plan, or
    /// has another version than `before`: nothing else has another reason or size than it had.
    fn after(handle: &Alpm, before: &Self, plan: &Plan) -> Self {
        let planned: HashSet<&str> = plan.items.iter().map(|item| item.name.as_str()).collect();
        Self::looked_at(handle, |name, version| {
            planned.contains(name) || before.0.get(name).is_none_or(|old| old.version != version)
        })
    }

    fn looked_at(handle: &Alpm, closely: impl Fn(&str, &str) -> bool) -> Self {
        let packages = handle.localdb().pkgs().into_iter().filter_map(|package| {
            sound(|| {
                let (name, version) = (package.name().to_owned(), package.version().to_string());
                let details = closely(&name, &version).then(|| Details {
                    arch: package.arch().unwrap_or_default().to_owned(),
                    explicit: package.reason() == PackageReason::Explicit,
                    size: package.isize(),
                });
                (name, Known { version, details })
            })
        });
        Self(packages.collect())
    }

    /// What is different later, as the plan called it where it did. A reinstallation leaves no trace but in the plan, where
    /// all of it was `done`.
    fn changes(&self, later: &Self, plan: &Plan, done: bool) -> Vec<Item> {
        let mut items = Vec::new();
        let planned = |name: &str, change: &[Change]| {
            plan.items.iter().find(|item| item.name == name && change.contains(&item.change))
        };
        for (name, new) in &later.0 {
            let changes = [Change::Install, Change::Upgrade, Change::Downgrade, Change::Reinstall];
            let item = match self.0.get(name) {
                Some(old) if old.version == new.version => {
                    if let (Some(was), Some(is)) = (&old.details, &new.details)
                        && was.explicit != is.explicit
                    {
                        let change = if is.explicit { Change::MarkExplicit } else { Change::MarkDependency };
                        items.push(made(change, name, Some(old), Some(new)));
                    }
                    match planned(name, &[Change::Reinstall]).filter(|_| done) {
                        Some(item) => item.clone(),
                        None => continue,
                    }
                }
                old => {
                    let from = old.map(|old| old.version.clone()).unwrap_or_default();
                    match planned(name, &changes).filter(|item| item.to == new.version) {
                        Some(item) => Item { from, download: 0, ..item.clone() },
                        None => {
                            let newer =
                                old.is_some_and(|old| alpm::vercmp(new.version.as_str(), old.version.as_str()).is_gt());
                            let change = match old {
                                None => Change::Install,
                                Some(_) if newer => Change::Upgrade,
                                Some(_) => Change::Downgrade,
                            };
                            made(change, name, old, Some(new))
                        }
                    }
                }
            };
            items.push(Item { download: 0, ..item });
        }
        for (name, old) in self.0.iter().filter(|(name, _)| !later.0.contains_key(*name)) {
            match planned(name, &[Change::Remove, Change::Purge]) {
                Some(item) => items.push(item.clone()),
                None => items.push(made(Change::Remove, name, Some(old), None)),
            }
        }
        items.sort_unstable();
        items
    }
}

fn made(change: Change, name: &str, old: Option<&Known>, new: Option<&Known>) -> Item {
    let version = |known: Option<&Known>| known.map(|known| known.version.clone()).unwrap_or_default();
    let details = |known: Option<&Known>| known.and_then(|known| known.details.clone()).unwrap_or_default();
    let (was, is) = (details(old), details(new));
    let delta = is.size - was.size;
    let left = if new.is_some() { is } else { was };
    Item {
        change,
        name: name.to_owned(),
        arch: left.arch,
        from: version(old),
        to: version(new),
        repository: String::new(),
        download: 0,
        delta,
        explicit: left.explicit,
        sha256: String::new(),
    }
}
