//! Fetches package files into a folder of the caller's.
//!
//! apt fetches into a folder of its own beside the files' last place, with the packages alone marked: its methods, mirrors,
//! proxies and checks are those of an installation. What is whole and checked is moved from there, and never over another
//! file.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::User;
use omg::transaction::{
    Action, Applied, Archive, Change, Download, Event, Failure, FailureKind, Item, ItemState, Level, MAX_ACTIONS,
    Options, Outcome, Phase, Plan, Resolution, Verb,
};
use rust_apt::config::Config;
use rust_apt::{Cache, Version};
use rustix::fs::{CWD, OFlags, RenameFlags, renameat_with};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::super::package_files::{PackageFiles, copy_hashing};
use super::super::{Caller, Stop, System};
use super::changes::{Reader, archive_name};
use super::commit::fetch::{self, Fetched};
use super::commit::words;
use super::deb::is_plain;
use super::target::{self, Target};
use super::{caches, settings, sources, text};

/// See [`super::super::Backend::download`].
pub fn download(system: &System, request: &Download, caller: &dyn Caller) -> Outcome {
    Stop::outcome(all(system, request, caller), Applied::default())
}

fn invalid(message: String) -> Failure {
    Failure::new(FailureKind::InvalidArgument, message)
}

fn all(system: &System, request: &Download, caller: &dyn Caller) -> Result<(), Stop> {
    let unavailable = |error: &dyn std::fmt::Display| Stop::failed(FailureKind::BackendUnavailable, error.to_string());
    let folder = folder(&request.folder)?;
    let mut said = Vec::new();
    let config = settings::load(system, &mut said).map_err(|error| unavailable(&error))?;
    let status = config.file("Dir::State::status", "");
    caches::distrust_old(&config, status.as_ref(), &sources::package_lists(&config));
    let cache = super::open(&[], &mut said).map_err(|error| unavailable(&error))?;
    let archives = select(&cache, &config, request, &folder, &mut said)?;
    for text in said {
        caller.tell(Event::Message { level: Level::Warning, text });
    }
    caller.tell(Event::Archives { archives: archives.clone() });
    let untrusted: Vec<&str> =
        archives.iter().filter(|archive| !archive.trusted).map(|archive| archive.name.as_str()).collect();
    if !untrusted.is_empty() && !request.allow_untrusted {
        let names = untrusted.join(", ");
        let message = format!("no trusted repository vouches for {names}; --allow-untrusted fetches it all the same");
        return Err(invalid(message).into());
    }
    if request.dry_run {
        return Ok(());
    }
    caller.tell(Event::Phase { phase: Phase::Fetching, cancellable: true });
    let (there, missing): (Vec<_>, Vec<_>) = archives.into_iter().partition(|archive| archive.present);
    for Archive { name, arch, size, .. } in there {
        let item = format!("{name}:{arch}");
        caller.tell(Event::Item { item, state: ItemState::Hit, bytes_done: size, bytes_total: size });
    }
    let mut cache = Some(cache);
    let mut rounds = rounds(missing).into_iter();
    while let Some(round) = rounds.next() {
        let cache = match cache.take() {
            Some(cache) => cache,
            // What apt would fetch is settled once for a cache.
            None => Cache::new::<&str>(&[]).map_err(|errors| {
                Stop::failed(FailureKind::Internal, format!("apt cannot read its lists: {}", words(&errors)))
            })?,
        };
        fetch_round(&config, cache, &round, &folder, caller).map_err(|stop| stop.with(&untried(rounds.as_slice())))?;
    }
    Ok(())
}

/// What is left out where a round fails, for people; empty when it was the last.
fn untried(rounds: &[Vec<Archive>]) -> String {
    let names: Vec<String> =
        rounds.iter().flatten().map(|archive| format!("{} {}", archive.name, archive.version)).collect();
    if names.is_empty() { String::new() } else { format!("; not tried after that: {}", names.join(", ")) }
}

/// The folder that files go to, as apt's settings can name it.
fn folder(given: &Path) -> Result<PathBuf, Failure> {
    let shown = given.display();
    let folder =
        fs::canonicalize(given).map_err(|error| invalid(format!("the folder {shown} cannot be used: {error}")))?;
    if !folder.is_dir() {
        return Err(invalid(format!("{shown} is no folder")));
    }
    for part in folder.ancestors() {
        private(part).map_err(|why| invalid(format!("files cannot be put safely into {shown}: {why}")))?;
    }
    if folder.to_str().is_none() {
        return Err(invalid(format!("the folder {shown} has a name that is not UTF-8, which apt cannot be told")));
    }
    Ok(folder)
}

/// Whether nobody else can put something in the place of what is in this folder: it works by paths, also with root's
/// rights, and so does apt.
fn private(folder: &Path) -> Result<(), String> {
    let shown = folder.display();
    let found = fs::symlink_metadata(folder).map_err(|error| format!("{shown}: {error}"))?;
    let own = rustix::process::geteuid();
    if found.uid() != own.as_raw() && found.uid() != 0 {
        let user = found.uid();
        return Err(format!("{shown} belongs to user {user}; run omg as that user, or name another folder with --to"));
    }
    // In a folder with the sticky bit everybody moves their own alone. A user's own group has nobody else in it.
    let own_group = !own.is_root() && found.gid() == rustix::process::getegid().as_raw();
    let others = if own_group { 0o002 } else { 0o022 };
    if found.mode() & others != 0 && found.mode() & 0o1000 == 0 {
        return Err(format!("others can write in {shown}; name another folder with --to"));
    }
    Ok(())
}

/// What the targets mean, each version once.
fn select(
    cache: &Cache,
    config: &Config,
    request: &Download,
    folder: &Path,
    notes: &mut Vec<String>,
) -> Result<Vec<Archive>, Failure> {
    if request.targets.is_empty() || request.targets.len() > MAX_ACTIONS {
        return Err(invalid(format!("{} packages are named; 1 to {MAX_ACTIONS} can be", request.targets.len())));
    }
    let mut found: Vec<(Version<'_>, (usize, usize))> = Vec::new();
    for text in &request.targets {
        let action = Action::new(Verb::Install, text).map_err(|error| invalid(error.to_string()))?;
        let target = Target::parse(action.target())?;
        let package = target::package(cache, config, target.name)?;
        let version = target::version(cache, config, &package, target.which, notes)?.version;
        let file = version.version_files().find(|file| file.package_file().is_downloadable());
        let place = file.map_or((0, 0), |file| (file.package_file().index(), file.index()));
        if !found.iter().any(|(known, _)| known.index() == version.index()) {
            found.push((version, place));
        }
    }
    // Records of a compressed list are read in its order.
    found.sort_by_key(|(_, place)| *place);
    let no_files = PackageFiles::default();
    let mut reader = Reader::new(cache, config, &no_files);
    let mut archives = Vec::with_capacity(found.len());
    for (version, _) in &found {
        archives.push(archive(cache, config, &mut reader, version, folder)?);
    }
    archives
        .sort_by(|one, other| (&one.name, &one.arch, &one.version).cmp(&(&other.name, &other.arch, &other.version)));
    Ok(archives)
}

fn archive<'a>(
    cache: &Cache,
    config: &Config,
    reader: &mut Reader<'a>,
    version: &Version<'a>,
    folder: &Path,
) -> Result<Archive, Failure> {
    let not_text = || invalid("a package has a name or version that is not UTF-8; it cannot be fetched".to_owned());
    let name = text::name(cache, config, version).ok_or_else(not_text)?;
    let (number, arch) = (version.version(), version.arch());
    // These make up the file's name: nothing in them may lead elsewhere or be taken for an option.
    if ![&*name.name, number, arch].iter().all(|part| is_plain(part)) {
        let message = format!("{} {number} has a name, version or architecture that is not valid", name.pretty);
        return Err(Failure::new(FailureKind::Untrusted, message));
    }
    let Some(promise) = reader.promise(version) else {
        let message = format!("{} {number} is installed and in no package list: it cannot be fetched", name.pretty);
        return Err(Failure::new(FailureKind::NotFound, message));
    };
    let file = archive_name(&name.name, number, arch);
    let size = version.size();
    let present = is_there(&folder.join(&file), size, &promise.sha256)?;
    Ok(Archive {
        arch: name.arch,
        name: name.name,
        version: number.to_owned(),
        repository: promise.repository,
        size,
        sha256: promise.sha256,
        trusted: promise.trusted,
        file,
        present,
    })
}

/// Whether the file is there already.
///
/// # Errors
/// When something else has its name.
fn is_there(path: &Path, size: u64, sha256: &str) -> Result<bool, Failure> {
    let metadata = match path.symlink_metadata() {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(invalid(format!("{} cannot be looked at: {error}", path.display()))),
    };
    let same = metadata.is_file() && metadata.len() == size && hash_of(path).is_ok_and(|hash| hash == sha256);
    if same { Ok(true) } else { Err(in_the_way(path)) }
}

fn in_the_way(path: &Path) -> Failure {
    invalid(format!(
        "{} is there and is something else; move it away, or name another folder with --to",
        path.display()
    ))
}

fn hash_of(path: &Path) -> io::Result<String> {
    let mut file = OpenOptions::new().read(true).custom_flags(OFlags::NOFOLLOW.bits() as i32).open(path)?;
    let mut hash = Sha256::new();
    io::copy(&mut file, &mut hash)?;
    Ok(hex::encode(hash.finalize()))
}

/// Apt can be told to install one version of a package at a time.
fn rounds(archives: Vec<Archive>) -> Vec<Vec<Archive>> {
    let mut rounds: Vec<Vec<Archive>> = Vec::new();
    for archive in archives {
        let is_it = |known: &Archive| (&known.name, &known.arch) == (&archive.name, &archive.arch);
        match rounds.iter_mut().find(|round| !round.iter().any(is_it)) {
            Some(round) => round.push(archive),
            None => rounds.push(vec![archive]),
        }
    }
    rounds
}

fn fetch_round(
    config: &Config,
    cache: Cache,
    archives: &[Archive],
    folder: &Path,
    caller: &dyn Caller,
) -> Result<(), Stop> {
    let cannot = |error: io::Error| {
        let kind = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FailureKind::DiskFull,
            _ => FailureKind::InvalidArgument,
        };
        Stop::failed(kind, format!("files cannot be put into {}: {error}", folder.display()))
    };
    let staging = staging(config, folder).map_err(cannot)?;
    config.set("Dir::Cache::Archives", &format!("{}/", staging.path().display()));
    mark(&cache, config, archives)?;
    let items = archives.iter().map(item).collect();
    let plan = Plan::new(Vec::new(), Options::default(), Resolution { items, ..Resolution::default() });
    let result = fetch::fetch(config, &cache, &plan, caller, 1.0);
    let (fetched, failed) = match result {
        Ok(fetched) => (fetched, None),
        Err(Stop::Cancelled) => return Err(Stop::Cancelled),
        Err(stop) => (Vec::new(), Some(stop)),
    };
    for archive in archives {
        let staged = staging.path().join(&archive.file);
        // apt moves a file there when it is whole and what the lists promise.
        if !staged.is_file() {
            if failed.is_some() {
                continue;
            }
            copy_in_place(archive, &fetched, &staged)?;
        }
        fs::set_permissions(&staged, Permissions::from_mode(0o644)).map_err(cannot)?;
        let path = folder.join(&archive.file);
        match put(&staged, &path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                is_there(&path, archive.size, &archive.sha256)?;
            }
            moved => moved.map_err(cannot)?,
        }
    }
    failed.map_or(Ok(()), Err)
}

/// A folder for apt to fetch into, on the same file system as the files' last place; it goes with all that is in it. As root
/// apt's methods run as another user, who has to get there.
fn staging(config: &Config, folder: &Path) -> io::Result<TempDir> {
    let staging = tempfile::Builder::new().prefix(".omg-download-").tempdir_in(folder)?;
    let partial = staging.path().join("partial");
    fs::create_dir(&partial)?;
    fs::set_permissions(&partial, Permissions::from_mode(0o700))?;
    let user = config.find("APT::Sandbox::User", "");
    if rustix::process::geteuid().is_root()
        && let Ok(Some(user)) = User::from_name(&user)
    {
        std::os::unix::fs::chown(&partial, Some(user.uid.as_raw()), None)?;
        fs::set_permissions(staging.path(), Permissions::from_mode(0o711))?;
    }
    Ok(staging)
}

/// Marks these versions and nothing else: what they need, and what they conflict with, is of no concern.
fn mark(cache: &Cache, config: &Config, archives: &[Archive]) -> Result<(), Failure> {
    let no_files = PackageFiles::default();
    let mut reader = Reader::new(cache, config, &no_files);
    for archive in archives {
        let full_name = format!("{}:{}", archive.name, archive.arch);
        let moved = || {
            let message = format!("{full_name} {} is no longer what it was; try again", archive.version);
            Failure::new(FailureKind::PlanStale, message)
        };
        let package = cache.get(&full_name).ok_or_else(moved)?;
        let is_it = |version: &Version<'_>| text::is_sound(version) && version.version() == archive.version;
        let same_hash = |promise: super::changes::Promise| promise.sha256 == archive.sha256;
        let mut versions = package.versions().filter(is_it);
        let version = versions.find(|version| reader.promise(version).is_some_and(same_hash)).ok_or_else(moved)?;
        version.set_candidate();
        if package.installed().is_some_and(|installed| installed.index() == version.index()) {
            package.mark_reinstall(true);
        } else {
            package.mark_install(false, true);
        }
    }
    Ok(())
}

fn item(archive: &Archive) -> Item {
    Item {
        change: Change::Install,
        name: archive.name.clone(),
        arch: archive.arch.clone(),
        from: String::new(),
        to: archive.version.clone(),
        repository: archive.repository.clone(),
        download: archive.size,
        delta: 0,
        explicit: true,
        sha256: archive.sha256.clone(),
    }
}

/// Copies a file that apt found in a repository on this machine and left there; the copy is what the list promises.
fn copy_in_place(archive: &Archive, fetched: &[Fetched], staged: &Path) -> Result<(), Failure> {
    let name = format!("{}:{}", archive.name, archive.arch);
    let internal = |text: String| Failure::new(FailureKind::Internal, format!("{name}: {text}"));
    let found = fetched.iter().find(|fetched| fetched.name == name);
    let path =
        found.map(|found| &found.path).ok_or_else(|| internal("apt did not fetch it, and says no more".to_owned()))?;
    let copied = File::open(path).and_then(|file| copy_hashing(&file, archive.size, staged, &|| false));
    let sha256 = copied.map_err(|error| internal(format!("{} cannot be copied: {error}", path.display())))?;
    if !archive.sha256.is_empty() && sha256 != archive.sha256 {
        let text = format!("{name}: {} is not what the package lists promise", path.display());
        return Err(Failure::new(FailureKind::Untrusted, text));
    }
    Ok(())
}

/// Moves a file, over nothing.
fn put(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Some file systems cannot; all can create a file that must not be there yet.
        Err(Errno::INVAL | Errno::NOSYS) => {
            let mut copy = OpenOptions::new().write(true).create_new(true).mode(0o644).open(to)?;
            let copied = File::open(from).and_then(|mut file| io::copy(&mut file, &mut copy));
            if copied.is_err() {
                fs::remove_file(to)?;
            }
            copied.map(drop)
        }
        moved => Ok(moved?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(name: &str, version: &str) -> Archive {
        Archive {
            name: name.into(),
            arch: "amd64".into(),
            version: version.into(),
            repository: "r".into(),
            size: 3,
            sha256: String::new(),
            trusted: true,
            file: archive_name(name, version, "all"),
            present: false,
        }
    }

    #[test]
    fn versions_of_one_package_are_fetched_one_after_the_other() {
        let rounds = rounds(vec![archive("a", "1"), archive("a", "2"), archive("b", "1"), archive("a", "3")]);
        let told: Vec<Vec<&str>> =
            rounds.iter().map(|round| round.iter().map(|archive| archive.file.as_str()).collect()).collect();
        assert_eq!(told, [vec!["a_1_all.deb", "b_1_all.deb"], vec!["a_2_all.deb"], vec!["a_3_all.deb"]]);
    }

    #[test]
    fn only_the_promised_bytes_in_a_plain_file_count_as_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.deb");
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert!(!is_there(&path, 3, abc).unwrap());
        fs::write(&path, "abc").unwrap();
        assert!(is_there(&path, 3, abc).unwrap());
        for (size, hash) in [(4, abc), (3, "00"), (3, "")] {
            assert_eq!(is_there(&path, size, hash).unwrap_err().kind, FailureKind::InvalidArgument);
        }
        let link = folder.path().join("b.deb");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(is_there(&link, 3, abc).is_err());
        assert!(is_there(folder.path(), 3, abc).is_err());
    }

    #[test]
    fn nothing_is_moved_over_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::write(&from, "new").unwrap();
        fs::write(&to, "old").unwrap();
        assert_eq!(put(&from, &to).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&to).unwrap(), "old");
        fs::remove_file(&to).unwrap();
        put(&from, &to).unwrap();
        assert_eq!(fs::read_to_string(&to).unwrap(), "new");
    }
}
