//! Package files that are installed: descriptors of the caller's, copied to where the caller cannot change them.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use omg::transaction::{Failure, FailureKind, Request, Verb};
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::System;

/// The most that the package files of one request may have together, in bytes.
const MAX_TOTAL: u64 = 8 << 30;

/// What stays free where they are copied to, in bytes: others write there as well.
const RESERVE: u64 = 64 << 20;

/// Bytes that are copied at once.
const CHUNK: usize = 1 << 20;

/// The smallest descriptor that is not a standard stream.
const FIRST_DESCRIPTOR: i32 = 3;

/// Where root keeps the copies.
const ROOT_FOLDER: &str = "var/cache/omg";

/// How the names of folders with copies start.
const PREFIX: &str = "install-";

/// A copied package file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageFile {
    pub name: String,
    pub version: String,
    pub arch: String,
    pub path: PathBuf,
    /// Hexadecimal.
    pub sha256: String,
}

/// What a package file says that it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub name: String,
    pub version: String,
    pub arch: String,
    /// What the package system would call the file.
    pub file: String,
}

/// The copies of a request's package files, removed when dropped: in the order of its actions.
#[derive(Debug, Default)]
pub struct PackageFiles {
    pub files: Vec<PackageFile>,
    /// Holds the copies.
    _folder: Option<Folder>,
}

/// A folder that nobody else can look into, removed when dropped.
#[derive(Debug)]
struct Folder {
    inside: TempDir,
    /// Locked for as long as somebody needs the folder: [`sweep`] leaves it alone.
    _lock: File,
}

/// What is told of copying that was cancelled; whoever cancelled knows better.
const CANCELLED: &str = "cancelled";

impl PackageFiles {
    /// Copies the files of a request and has `read` tell what each copy is. Ends early, with an error, once it is `cancelled`.
    ///
    /// # Errors
    /// Descriptors that are missing, are no regular files or hold no package, too little room, and errors of copying.
    pub fn copy(
        system: &System,
        request: &Request,
        read: &dyn Fn(&str, &Path) -> Result<Identity, Failure>,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Self, Failure> {
        let actions: Vec<&str> = request
            .actions
            .iter()
            .filter(|action| action.verb() == Verb::InstallFile)
            .map(|action| action.target())
            .collect();
        if actions.len() != request.files.len() {
            let message = format!("{} package files were announced, {} came", actions.len(), request.files.len());
            return Err(invalid(message));
        }
        if actions.is_empty() {
            return Ok(Self::default());
        }
        let opened = actions.iter().zip(&request.files).map(|(label, descriptor)| opened(label, *descriptor));
        let opened = opened.collect::<Result<Vec<_>, _>>()?;
        let total = opened.iter().fold(0_u64, |total, (_, size)| total.saturating_add(*size));
        if total > MAX_TOTAL {
            let message = format!("the package files have {total} bytes together, at most {MAX_TOTAL} are taken");
            return Err(Failure::new(FailureKind::LimitExceeded, message));
        }
        let folder = folder(system).map_err(|error| broken("folder", &error))?;
        has_room(folder.inside.path(), total)?;
        let mut files = Vec::new();
        for (number, (label, (from, size))) in actions.iter().zip(&opened).enumerate() {
            let place = folder.inside.path().join(number.to_string());
            DirBuilder::new().mode(0o700).create(&place).map_err(|error| broken(label, &error))?;
            files.push(one(label, from, *size, &place, read, cancelled)?);
        }
        Ok(Self { files, _folder: Some(folder) })
    }
}

/// Removes the copies that processes left behind which were killed. Those that are in use stay.
///
/// # Errors
/// When the folder is not root's alone or cannot be read. One that is not there holds nothing.
pub fn sweep(system: &System) -> io::Result<()> {
    let place = root_folder(system);
    match checked(&place) {
        Ok(folder) => match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            // Who has it sweeps.
            Err(Errno::WOULDBLOCK) => Ok(()),
            locked => locked.map_err(Into::into).and_then(|()| swept(&place)),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Only with the folder locked, so that nobody is between making a copy's folder and locking that.
fn swept(place: &Path) -> io::Result<()> {
    let mut result = Ok(());
    for entry in fs::read_dir(place)? {
        let path = entry?.path();
        let is_copy = path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(PREFIX));
        let lock = if is_copy { open_folder(&path).ok() } else { None };
        if lock.is_some_and(|lock| flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok()) {
            result = result.and(fs::remove_dir_all(&path));
        }
    }
    result
}

/// Opens a folder that is root's own and that nobody else can look into, or lock.
fn checked(place: &Path) -> io::Result<File> {
    let folder = open_folder(place)?;
    let found = folder.metadata()?;
    if found.uid() != rustix::process::geteuid().as_raw() || found.mode() & 0o077 != 0 {
        let text = format!("{} belongs to another user or is open to others: remove it", place.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    Ok(folder)
}

/// Opens a folder that is not reached through a link.
fn open_folder(path: &Path) -> io::Result<File> {
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::DIRECTORY).bits()).unwrap_or(0);
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

fn root_folder(system: &System) -> PathBuf {
    system.root.as_deref().unwrap_or(Path::new("/")).join(ROOT_FOLDER)
}

/// Copies that cannot fit are not begun.
fn has_room(folder: &Path, needed: u64) -> Result<(), Failure> {
    let found = rustix::fs::statvfs(folder).map_err(|error| broken("folder", &error.into()))?;
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    if needed.saturating_add(RESERVE) <= free {
        return Ok(());
    }
    let place = folder.parent().unwrap_or(folder).display();
    let message = format!(
        "the package files have {needed} bytes and {place} has room for {free}, of which {RESERVE} stay free; make room"
    );
    Err(Failure::new(FailureKind::DiskFull, message))
}

pub fn invalid(message: String) -> Failure {
    Failure::new(FailureKind::InvalidArgument, message)
}

fn broken(label: &str, error: &io::Error) -> Failure {
    let kind = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FailureKind::DiskFull,
        _ => FailureKind::Internal,
    };
    Failure::new(kind, format!("the package file {label} cannot be copied: {error}"))
}

fn folder(system: &System) -> io::Result<Folder> {
    let by_root = rustix::process::geteuid().is_root();
    let place = std::path::absolute(if by_root { root_folder(system) } else { std::env::temp_dir() })?;
    let parent = if by_root {
        DirBuilder::new().recursive(true).mode(0o700).create(&place)?;
        let parent = checked(&place)?;
        // It is full of them if nobody else ever looks.
        flock(&parent, FlockOperation::LockExclusive)?;
        // What cannot be removed is in nobody's way.
        let _ = swept(&place);
        Some(parent)
    } else {
        None
    };
    let inside = tempfile::Builder::new().prefix(PREFIX).tempdir_in(place)?;
    let lock = open_folder(inside.path())?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
    // Only now may others sweep.
    drop(parent);
    Ok(Folder { inside, _lock: lock })
}

/// The file that comes as a descriptor, and its size in bytes.
fn opened(label: &str, descriptor: i32) -> Result<(File, u64), Failure> {
    let from = inherited(label, descriptor)?;
    let found = from.metadata().map_err(|error| broken(label, &error))?;
    if !found.is_file() {
        return Err(invalid(format!("{label} is no regular file")));
    }
    if found.size() == 0 {
        return Err(invalid(format!("{label} has 0 bytes: that is no package")));
    }
    Ok((from, found.size()))
}

fn one(
    label: &str,
    from: &File,
    size: u64,
    place: &Path,
    read: &dyn Fn(&str, &Path) -> Result<Identity, Failure>,
    cancelled: &dyn Fn() -> bool,
) -> Result<PackageFile, Failure> {
    let copy = place.join("package");
    let sha256 = copy_hashing(from, size, &copy, cancelled).map_err(|error| broken(label, &error))?;
    let Identity { name, version, arch, file } = read(label, &copy)?;
    let path = place.join(file);
    fs::rename(&copy, &path).map_err(|error| broken(label, &error))?;
    Ok(PackageFile { name, version, arch, path, sha256 })
}

/// A descriptor of its own for an inherited one. Not opened anew by a path: with rights that would read what the caller
/// may not.
fn inherited(label: &str, descriptor: i32) -> Result<File, Failure> {
    if descriptor < FIRST_DESCRIPTOR {
        return Err(invalid(format!("{label} comes as descriptor {descriptor}, which is none of a file")));
    }
    #[expect(unsafe_code, reason = "the request names descriptors by their bare numbers")]
    // SAFETY: only borrowed for the call that duplicates it, which fails when it is not open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
    let own = borrowed.try_clone_to_owned();
    // What the caller passed is for this process, not for package scripts. One that is not open is told of below.
    let _ = rustix::io::fcntl_setfd(borrowed, rustix::io::FdFlags::CLOEXEC);
    own.map(File::from).map_err(|error| invalid(format!("{label} does not come as descriptor {descriptor}: {error}")))
}

/// Copies `size` bytes from the start, whatever the descriptor's position; the digest is that of the copy.
pub fn copy_hashing(from: &File, size: u64, to: &Path, cancelled: &dyn Fn() -> bool) -> io::Result<String> {
    let mut copy = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    let mut hash = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    let mut at = 0;
    while at < size {
        if cancelled() {
            return Err(io::Error::other(CANCELLED));
        }
        let read = from.read_at(&mut chunk, at)?;
        let bytes = chunk.get(..read).filter(|bytes| !bytes.is_empty()).ok_or(io::ErrorKind::UnexpectedEof)?;
        at += bytes.len() as u64;
        if at > size {
            return Err(io::Error::other("it grew meanwhile"));
        }
        hash.update(bytes);
        copy.write_all(bytes)?;
    }
    Ok(hex::encode(hash.finalize()))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn system(root: &Path) -> System {
        System { root: Some(root.to_owned()), options: Vec::new(), aur: None }
    }

    #[test]
    fn what_is_left_behind_is_swept_and_what_is_in_use_is_not() {
        let root = tempfile::tempdir().unwrap();
        let place = root.path().join(ROOT_FOLDER);
        sweep(&system(root.path())).unwrap();
        assert!(!place.exists());
        DirBuilder::new().recursive(true).mode(0o700).create(&place).unwrap();
        for folder in ["install-left/0", "other"] {
            fs::create_dir_all(place.join(folder)).unwrap();
        }
        fs::write(place.join("install-left/0/package"), "half").unwrap();
        fs::create_dir(place.join("install-used")).unwrap();
        fs::write(root.path().join("precious"), "").unwrap();
        symlink(root.path(), place.join("install-link")).unwrap();
        let used = open_folder(&place.join("install-used")).unwrap();
        flock(&used, FlockOperation::NonBlockingLockExclusive).unwrap();
        sweep(&system(root.path())).unwrap();
        let mut left: Vec<_> = fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort_unstable();
        assert_eq!(left, ["install-link", "install-used", "other"]);
        assert!(root.path().join("precious").exists());
        drop(used);
        sweep(&system(root.path())).unwrap();
        assert!(!place.join("install-used").exists());
    }

    #[test]
    fn a_folder_that_others_can_write_or_that_is_a_link_is_not_used() {
        let root = tempfile::tempdir().unwrap();
        let place = root.path().join(ROOT_FOLDER);
        fs::create_dir_all(&place).unwrap();
        fs::set_permissions(&place, fs::Permissions::from_mode(0o777)).unwrap();
        let refused = sweep(&system(root.path())).unwrap_err();
        assert!(refused.to_string().contains("is open to others"), "{refused}");
        fs::remove_dir(&place).unwrap();
        let elsewhere = root.path().join("elsewhere");
        DirBuilder::new().mode(0o700).create(&elsewhere).unwrap();
        symlink(&elsewhere, &place).unwrap();
        assert!(sweep(&system(root.path())).is_err());
        if rustix::process::geteuid().is_root() {
            assert!(folder(&system(root.path())).is_err());
            assert!(fs::read_dir(&elsewhere).unwrap().next().is_none());
        }
    }

    #[test]
    fn copying_can_be_cancelled_between_chunks() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source");
        fs::write(&source, vec![7; 3 * CHUNK]).unwrap();
        let (from, asked) = (File::open(&source).unwrap(), Cell::new(0));
        let cancelled = || asked.replace(asked.get() + 1) == 1;
        let size = 3 * CHUNK as u64;
        let error = copy_hashing(&from, size, &folder.path().join("cancelled"), &cancelled).unwrap_err();
        assert_eq!(error.to_string(), CANCELLED);
        assert_eq!(fs::metadata(folder.path().join("cancelled")).unwrap().len(), CHUNK as u64);
        copy_hashing(&from, size, &folder.path().join("whole"), &|| false).unwrap();
        assert_eq!(fs::metadata(folder.path().join("whole")).unwrap().len(), size);
    }

    #[test]
    fn what_has_no_room_is_not_begun() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(has_room(folder.path(), 0), Ok(()));
        let failure = has_room(folder.path(), u64::MAX - RESERVE - 1).unwrap_err();
        assert_eq!(failure.kind, FailureKind::DiskFull);
    }
}
