//! Fetches package files into a folder of the caller's, as `pacman -Sw` fetches them into a download cache: with the
//! signatures that lie beside them, checked as for an installation (`SigLevel`, pacman.conf(5)). The packages that are named
//! come alone, whatever they need.
//!
//! libalpm takes a folder beside the files' last place for its only download cache and its lock, and prepares a transaction that
//! stops once everything is fetched and checked.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use alpm::{Alpm, Db, Error as AlpmError, Package, SigLevel, TransFlag};
use omg::transaction::{
    Answers as Given, Applied, Archive, Download, Event, Failure, FailureKind, ItemState, Outcome, Phase,
};

use super::super::package_files::invalid;
use super::super::target_folder::{self, is_there, put, rounds, untried};
use super::super::{Caller, Error, Stop, System, end_children};
use super::answers::Answers;
use super::commit::listener::{self, Work};
use super::commit::{advice, failed, kind_of, settings};
use super::file::{is_plain, opens};
use super::mark::{Meant, Target};
use super::resolve::{internal, not_text, of_other_architectures, usable};
use super::settings::Settings;
use super::sound;

/// What libalpm is to do with the packages that are fetched: nothing, whatever they need and are at odds with.
const FLAGS: TransFlag = TransFlag::DOWNLOAD_ONLY.union(TransFlag::NO_DEPS).union(TransFlag::NO_CONFLICTS);

/// How often it is tried to remove a folder that is written to.
const REMOVALS: usize = 100;

/// What a signature's name has beyond that of what it signs.
const SIGNATURE: &str = ".sig";

/// See [`super::super::Backend::download`].
pub fn download(system: &System, request: &Download, caller: &dyn Caller) -> Outcome {
    Stop::outcome(all(system, request, caller), Applied::default())
}

fn all(system: &System, request: &Download, caller: &dyn Caller) -> Result<(), Stop> {
    let folder = target_folder::folder(&request.folder)?;
    let mut settings = settings(system)?;
    let handle = settings.handle().map_err(unavailable)?;
    if let Some(user) = handle.sandbox_user() {
        reachable(&folder, user)?;
    }
    usable(&handle)?;
    let archives = sound(|| select(&handle, request, &folder)).unwrap_or_else(|| Err(not_text()))?;
    drop(handle);
    caller.tell(Event::Archives { archives: archives.clone() });
    if request.dry_run {
        return Ok(());
    }
    caller.tell(Event::Phase { phase: Phase::Fetching, cancellable: true });
    let (there, missing): (Vec<_>, Vec<_>) = archives.into_iter().partition(|archive| archive.present);
    for Archive { name, arch, size, .. } in there {
        let item = format!("{name}:{arch}");
        caller.tell(Event::Item { item, state: ItemState::Hit, bytes_done: size, bytes_total: size });
    }
    let mut rounds = rounds(missing).into_iter();
    while let Some(round) = rounds.next() {
        fetch_round(&mut settings, &round, &folder, caller).map_err(|stop| stop.with(&untried(rounds.as_slice())))?;
    }
    Ok(())
}

fn unavailable(error: Error) -> Stop {
    Stop::failed(FailureKind::BackendUnavailable, error.to_string())
}

/// Whether whom libalpm becomes to fetch gets into the folder.
fn reachable(folder: &Path, user: &str) -> Result<(), Failure> {
    let closed = |part: &&Path| fs::metadata(part).is_ok_and(|found| found.permissions().mode() & 0o001 == 0);
    folder.ancestors().find(closed).map_or(Ok(()), |part| {
        let (folder, part) = (folder.display(), part.display());
        let message = format!(
            "files cannot be fetched into {folder}: {part} is closed to {user}, whom packages are fetched as (DownloadUser in \
             pacman's configuration); name another folder with --to"
        );
        Err(invalid(message))
    })
}

/// What the targets mean, each package once.
fn select(handle: &Alpm, request: &Download, folder: &Path) -> Result<Vec<Archive>, Failure> {
    // Of several that provide what is wanted, that is the first one, as for pacman when nobody says otherwise.
    let answers = Answers::listen(handle, Given::default());
    let mut archives: Vec<Archive> = Vec::new();
    for action in target_folder::actions(request)? {
        let target = Target::parse(action.target());
        let packages = match Meant::by(handle, &target)? {
            Meant::Package(package) => vec![package],
            Meant::Group(members) => members,
            Meant::Nothing => return Err(target.nowhere()),
        };
        for package in packages {
            let archive = archive(handle, package, folder)?;
            if !archives.contains(&archive) {
                archives.push(archive);
            }
        }
    }
    answers.refused().map_or(Ok(()), Err)?;
    let key = |archive: &Archive| (archive.name.clone(), archive.arch.clone(), archive.version.clone());
    archives.sort_by_key(key);
    Ok(archives)
}

fn archive(handle: &Alpm, package: &Package, folder: &Path) -> Result<Archive, Failure> {
    let (name, version) = (package.name(), package.version().as_str());
    let file = package.filename().unwrap_or_default();
    let arch = package.arch().unwrap_or_default();
    // Nothing in them may lead elsewhere or be taken for an option.
    if ![name, version, arch, file].iter().all(|part| is_plain(part)) {
        let message = format!("{name} {version} has a name, version, architecture or file name that is not valid");
        return Err(Failure::new(FailureKind::Untrusted, message));
    }
    let mut archive = Archive {
        name: name.to_owned(),
        arch: arch.to_owned(),
        version: version.to_owned(),
        repository: package.db().map_or("", Db::name).to_owned(),
        size: u64::try_from(package.size()).unwrap_or(0),
        sha256: package.sha256sum().unwrap_or_default().to_owned(),
        // As for an installation: the administrator says whom to trust, and how far.
        trusted: true,
        file: file.to_owned(),
        present: false,
    };
    archive.present = is_present(handle, &archive, folder)?;
    Ok(archive)
}

/// Whether the folder has the file already, with a signature where the repository wants one.
fn is_present(handle: &Alpm, archive: &Archive, folder: &Path) -> Result<bool, Failure> {
    let path = folder.join(&archive.file);
    if !is_there(&path, archive.size, &archive.sha256)? {
        return Ok(false);
    }
    match is_signed(handle, archive, &path) {
        Ok(()) => Ok(true),
        // It is fetched with the file.
        Err(AlpmError::PkgMissingSig | AlpmError::SigMissing) => Ok(false),
        Err(error) => {
            let text = format!("{} is there and is no good: {error}; move both away", path.display());
            Err(Failure::new(FailureKind::Untrusted, text))
        }
    }
}

/// Whether the file is signed as its repository wants it.
fn is_signed(handle: &Alpm, archive: &Archive, path: &Path) -> Result<(), AlpmError> {
    opens(handle, path, level(handle, archive))
}

fn level(handle: &Alpm, archive: &Archive) -> SigLevel {
    let database = handle.syncdbs().into_iter().find(|database| database.name() == archive.repository);
    database.map_or_else(|| handle.default_siglevel(), Db::siglevel)
}

fn fetch_round(settings: &mut Settings, archives: &[Archive], folder: &Path, caller: &dyn Caller) -> Result<(), Stop> {
    let cannot = |error| target_folder::cannot_put(folder, &error);
    let staging = target_folder::staging(folder).map_err(cannot)?;
    let place = staging.path().to_str().unwrap_or_default();
    settings.config.cache_dir = vec![format!("{place}/")];
    let database = databases(settings, staging.path()).map_err(cannot)?;
    let handle = settings.handle_of(&database).map_err(unavailable)?;
    if handle.sandbox_user().is_some() {
        // libalpm makes a folder in it that is that user's.
        fs::set_permissions(staging.path(), Permissions::from_mode(0o711)).map_err(cannot)?;
    }
    let plan = target_folder::plan(archives);
    let abandon = || {
        end_children();
        let gone = || !staging.path().exists() || fs::remove_dir_all(staging.path()).is_ok();
        // A file that appears meanwhile keeps the folder from going, and nothing appears in one that is gone.
        let _ = (0..REMOVALS).any(|_| gone());
        caller.tell(Event::Finished(Outcome::Cancelled { applied: Applied::default() }));
        end();
    };
    let work = Work::Files { plan: &plan, abandon: &abandon };
    let (handle, result, heard) = listener::listening(handle, caller, work, |handle| fetched(handle, archives));
    if caller.is_cancelled() {
        return Err(Stop::Cancelled);
    }
    let whole = result.is_ok();
    let (mut left, mut in_the_way) = (Vec::new(), None);
    for archive in archives {
        let staged = staging.path().join(&archive.file);
        // libalpm looks at nothing where one file cannot be had.
        if whole || is_whole(&handle, archive, &staged) {
            // What else was fetched is not lost with it.
            if let Err(stop) = place_in(folder, archive, &staged) {
                in_the_way.get_or_insert(stop);
            }
        } else {
            left.push(archive.name.as_str());
        }
    }
    if let Some(stop) = in_the_way {
        return Err(stop);
    }
    let Err(stop) = result else { return Ok(()) };
    match stop {
        Stop::Failed(Failure { kind, message }) => {
            let (kind, text) = heard.worse(kind, message);
            let advice = match kind {
                FailureKind::Network => "look at the connection and try again",
                kind => advice(kind),
            };
            Err(Stop::failed(kind, format!("{text}; not fetched: {}; {advice}", left.join(", "))))
        }
        Stop::Cancelled => Err(Stop::Cancelled),
    }
}

/// A folder of databases that libalpm can lock, as it wants to before it fetches: links to the system's own.
fn databases(settings: &Settings, staging: &Path) -> io::Result<PathBuf> {
    let folder = staging.join("databases");
    fs::create_dir(&folder)?;
    for name in ["local", "sync"] {
        symlink(Path::new(&settings.config.db_path).join(name), folder.join(name))?;
    }
    Ok(folder)
}

/// Ends this process.
#[expect(unsafe_code, reason = "libalpm cannot be stopped while it fetches by itself")]
fn end() -> ! {
    // SAFETY: always sound. What would run at exit must not: another thread is within libalpm.
    unsafe { libc::_exit(1) }
}

/// Has libalpm fetch and check the files, and nothing else.
fn fetched(handle: &mut Alpm, archives: &[Archive]) -> Result<(), Stop> {
    handle.trans_init(FLAGS).map_err(|error| internal("a download cannot be begun", error))?;
    let result = in_transaction(handle, archives);
    let _ = handle.trans_release();
    result
}

fn in_transaction(handle: &mut Alpm, archives: &[Archive]) -> Result<(), Stop> {
    for archive in archives {
        let moved = || {
            let message = format!("{} {} is no longer what it was; try again", archive.name, archive.version);
            Failure::new(FailureKind::PlanStale, message)
        };
        let databases = handle.syncdbs();
        let database = databases.into_iter().find(|database| database.name() == archive.repository);
        let package = database.and_then(|database| database.pkg(archive.name.as_str()).ok()).ok_or_else(moved)?;
        if package.version().as_str() != archive.version
            || package.sha256sum().unwrap_or_default() != archive.sha256
            || package.filename() != Some(archive.file.as_str())
        {
            return Err(moved().into());
        }
        handle.trans_add_pkg(package).map_err(|error| internal(&archive.name, error.error))?;
    }
    let prepared = handle.trans_prepare().map_err(|error| error.error());
    prepared.map_err(|error| match error {
        AlpmError::PkgInvalidArch => of_other_architectures(handle),
        error => internal("the download cannot be prepared", error),
    })?;
    handle.trans_commit().map_err(|error| {
        let failed = failed(&error);
        Stop::failed(kind_of(error.error()), failed.text)
    })
}

/// Whether a file is what the database promises, where libalpm did not come to look.
fn is_whole(handle: &Alpm, archive: &Archive, staged: &Path) -> bool {
    is_there(staged, archive.size, &archive.sha256).unwrap_or(false) && is_signed(handle, archive, staged).is_ok()
}

/// Moves a file and its signature to their last place.
fn place_in(folder: &Path, archive: &Archive, staged: &Path) -> Result<(), Stop> {
    let cannot = |error| target_folder::cannot_put(folder, &error);
    let path = folder.join(&archive.file);
    let signature = |path: &Path| path.with_file_name(format!("{}{SIGNATURE}", archive.file));
    // The signature first: a file that is there is complete.
    let files = [(signature(staged), signature(&path)), (staged.to_owned(), path)];
    for (from, to) in files {
        let is_signature = from != staged;
        if is_signature && !from.exists() {
            continue;
        }
        fs::set_permissions(&from, Permissions::from_mode(0o644)).map_err(cannot)?;
        match put(&from, &to) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if is_signature {
                    let same = fs::read(&from).map_err(cannot)? == fs::read(&to).map_err(cannot)?;
                    if !same {
                        return Err(target_folder::in_the_way(&to).into());
                    }
                } else {
                    is_there(&to, archive.size, &archive.sha256)?;
                }
            }
            moved => moved.map_err(cannot)?,
        }
    }
    Ok(())
}
