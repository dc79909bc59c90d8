//! Fetches package files into a folder of the caller's.
//!
//! apt fetches into a folder of its own beside the files' last place, with the packages alone marked: its methods, mirrors,
//! proxies and checks are those of an installation. What is whole and checked is moved from there, and never over another
//! file.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::unistd::User;
use omg::transaction::{Applied, Archive, Download, Event, Failure, FailureKind, ItemState, Level, Outcome, Phase};
use rust_apt::config::Config;
use rust_apt::{Cache, Version};
use tempfile::TempDir;

use super::super::package_files::{PackageFiles, copy_hashing, invalid};
use super::super::target_folder::{self, is_there, put, rounds, untried};
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

fn all(system: &System, request: &Download, caller: &dyn Caller) -> Result<(), Stop> {
    let unavailable = |error: &dyn std::fmt::Display| Stop::failed(FailureKind::BackendUnavailable, error.to_string());
    let folder = target_folder::folder(&request.folder)?;
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

/// What the targets mean, each version once.
fn select(
    cache: &Cache,
    config: &Config,
    request: &Download,
    folder: &Path,
    notes: &mut Vec<String>,
) -> Result<Vec<Archive>, Failure> {
    let mut found: Vec<(Version<'_>, (usize, usize))> = Vec::new();
    for action in target_folder::actions(request)? {
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

fn fetch_round(
    config: &Config,
    cache: Cache,
    archives: &[Archive],
    folder: &Path,
    caller: &dyn Caller,
) -> Result<(), Stop> {
    let cannot = |error| target_folder::cannot_put(folder, &error);
    let staging = staging(config, folder).map_err(cannot)?;
    config.set("Dir::Cache::Archives", &format!("{}/", staging.path().display()));
    mark(&cache, config, archives)?;
    let plan = target_folder::plan(archives);
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
    let staging = target_folder::staging(folder)?;
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
