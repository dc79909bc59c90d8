//! The user's own copy of the sync databases, which takes no rights to fetch: it tells what an upgrade will bring once the
//! system's own are fetched. Nothing is ever installed by it, so that it leads to no partial upgrade.
//!
//! The folder is laid out as libalpm's own (`DBPath`), with the real local database by a link. Who fetches holds a lock of
//! the kernel's on it, which no killed process leaves behind, so that a lock file of libalpm's that is there then is stale.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use alpm::Alpm;
use omg::transaction::{FailureKind, Outcome};
use rustix::fs::{FlockOperation, OFlags, flock};

use super::super::{Caller, Stop, System};
use super::settings::{DATABASES, Settings};
use super::{commit, files, sources};

/// What libalpm's folders for unfinished downloads begin with.
const UNFINISHED: &str = "download-";

/// See [`super::super::Backend::refresh_copy`].
pub fn refresh(system: &System, folder: &Path, with_files: bool, caller: &dyn Caller) -> Outcome {
    Stop::outcome(databases(system, folder, with_files, caller), omg::transaction::Applied::default())
}

fn databases(system: &System, folder: &Path, with_files: bool, caller: &dyn Caller) -> Result<(), Stop> {
    let mut settings = commit::settings(system)?;
    // Whom libalpm would become to fetch, which only root can.
    settings.config.download_user = None;
    let unusable = |error: io::Error| {
        let kind = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FailureKind::DiskFull,
            io::ErrorKind::WouldBlock => FailureKind::Locked,
            _ => FailureKind::Internal,
        };
        Stop::failed(kind, format!("the copy of the databases in {} cannot be used: {error}", folder.display()))
    };
    let _lock = prepared(&settings, folder).map_err(unusable)?;
    let extensions = [Some(DATABASES), with_files.then_some(files::EXTENSION)];
    extensions.into_iter().flatten().try_for_each(|extension| {
        let handle = settings.handle_with(folder, extension);
        let handle = handle.map_err(|error| Stop::failed(FailureKind::BackendUnavailable, error.to_string()))?;
        commit::fetch(handle, caller)
    })
}

/// Makes the folder what libalpm expects, without what a killed process left; holds its lock.
fn prepared(settings: &Settings, folder: &Path) -> io::Result<File> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder.join("sync"))?;
    let found = folder.symlink_metadata()?;
    if !found.is_dir() || found.uid() != rustix::process::geteuid().as_raw() || found.mode() & 0o022 != 0 {
        return Err(io::Error::other("it is no folder that belongs to this user alone"));
    }
    let nofollow = OFlags::NOFOLLOW.bits() as i32;
    let lock =
        File::options().create(true).append(true).mode(0o600).custom_flags(nofollow).open(folder.join("lock"))?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| io::Error::new(io::ErrorKind::WouldBlock, "it is being fetched already; wait for that"))?;
    let local = Path::new(&settings.config.db_path).join("local");
    let link = folder.join("local");
    if fs::read_link(&link).ok().as_ref() != Some(&local) {
        gone(fs::remove_file(&link))?;
        symlink(local, &link)?;
    }
    gone(fs::remove_file(folder.join("db.lck")))?;
    for entry in fs::read_dir(folder.join("sync"))?.flatten() {
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(lock)
}

fn gone(removed: io::Result<()>) -> io::Result<()> {
    removed.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

/// A handle on the copy and when it was fetched, Unix time in seconds, where it is newer than the system's own databases and
/// every repository of it can be used.
pub fn newer_than(last_refresh: Duration, settings: &Settings, folder: &Path) -> Option<(Alpm, u64)> {
    let refreshed = sources::last_refresh(settings, folder);
    // Not without the link: libalpm would make an empty local database in its place.
    if refreshed <= last_refresh || !folder.join("local").exists() {
        return None;
    }
    let handle = settings.handle_of(folder).ok()?;
    let whole = handle.syncdbs().into_iter().all(|database| sources::usable(&handle, database).is_ok());
    whole.then_some((handle, refreshed.as_secs()))
}
