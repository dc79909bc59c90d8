//! The folder that is filled. Every folder on the way to an entry is opened from the one above it without following links,
//! so no entry is written through a link, whoever made it.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;

use super::{UnpackError, Unpacked, paths};

const FOLDER: u32 = 0o755;
const EXECUTABLE: u32 = 0o755;
const PLAIN: u32 = 0o644;

/// A time of modification: seconds since 1970, and nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Modified {
    pub(super) seconds: i64,
    pub(super) nanoseconds: u32,
}

impl Modified {
    fn times(self) -> Timestamps {
        let time = Timespec { tv_sec: self.seconds, tv_nsec: i64::from(self.nanoseconds) };
        Timestamps { last_access: time, last_modification: time }
    }
}

#[derive(Debug)]
pub(super) struct Tree {
    root: OwnedFd,
    /// Files and folders need their modes set after they were made, since the process makes them with fewer rights.
    masked: bool,
    /// The folder of the last entry: the next one is mostly in it as well.
    last: Option<(PathBuf, OwnedFd)>,
    /// Times of folders, set when nothing more goes into them.
    folders: Vec<(PathBuf, Modified)>,
    /// Links that go down and up again.
    winding: Vec<(PathBuf, Vec<u8>)>,
    done: Unpacked,
}

fn write_error(path: &Path, error: impl Into<io::Error>) -> UnpackError {
    let path = paths::shown(path.as_os_str().as_bytes());
    match error.into() {
        error if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
            UnpackError::DiskFull(path)
        }
        error => UnpackError::Write { path, error },
    }
}

fn refused(path: &Path, reason: &'static str) -> UnpackError {
    paths::refused(path.as_os_str().as_bytes(), reason)
}

/// Folder and name of a path that has a name.
fn split(path: &Path) -> Result<(&Path, &OsStr), UnpackError> {
    let name = path.file_name().ok_or_else(|| refused(path, "has no name"))?;
    Ok((path.parent().unwrap_or(Path::new("")), name))
}

/// What new files and folders do not get of their modes; all of it where that cannot be known.
fn mask() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    mask.and_then(|mask| u32::from_str_radix(mask.trim(), 8).ok()).unwrap_or(0o777)
}

impl Tree {
    pub(super) fn open(folder: &Path) -> Result<Self, UnpackError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, folder, flags, Mode::empty()).map_err(|error| write_error(folder, error))?;
        let masked = mask() & FOLDER != 0;
        let (folders, winding) = (Vec::new(), Vec::new());
        Ok(Self { root, masked, last: None, folders, winding, done: Unpacked::default() })
    }

    /// Opens the folder at `path`; makes what is missing of it when `make` is set.
    fn walk(&self, path: &Path, make: bool) -> Result<OwnedFd, UnpackError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let (mut at, rest) = match &self.last {
            Some((last, folder)) if path.starts_with(last) => (folder, path.strip_prefix(last).unwrap_or(path)),
            _ => (&self.root, path),
        };
        let mut opened;
        // Only where `path` is the folder `at` itself.
        if rest.as_os_str().is_empty() {
            return rustix::io::fcntl_dupfd_cloexec(at, 0).map_err(|error| write_error(path, error));
        }
        let mut found = None;
        for component in rest.components() {
            let Component::Normal(name) = component else { return Err(refused(path, "has no plain path")) };
            let next = match rustix::fs::openat(at, name, flags, Mode::empty()) {
                Err(Errno::NOENT) if make => {
                    rustix::fs::mkdirat(at, name, Mode::from_raw_mode(FOLDER))
                        .map_err(|error| write_error(path, error))?;
                    if self.masked {
                        rustix::fs::chmodat(at, name, Mode::from_raw_mode(FOLDER), AtFlags::empty())
                            .map_err(|error| write_error(path, error))?;
                    }
                    rustix::fs::openat(at, name, flags, Mode::empty())
                }
                other => other,
            };
            opened = match next {
                Ok(folder) => folder,
                Err(Errno::NOTDIR | Errno::LOOP) => return Err(refused(path, "leads through what is not a folder")),
                Err(Errno::NOENT) => return Err(refused(path, "links to a file that did not come before it")),
                Err(error) => return Err(write_error(path, error)),
            };
            at = found.insert(opened);
        }
        found.ok_or_else(|| refused(path, "has no name"))
    }

    /// Makes `path` the folder that `last` holds.
    fn enter(&mut self, path: &Path) -> Result<&OwnedFd, UnpackError> {
        if self.last.as_ref().is_none_or(|(last, _)| last != path) {
            let folder = self.walk(path, true)?;
            self.last = Some((path.to_owned(), folder));
        }
        self.last.as_ref().map(|(_, folder)| folder).ok_or_else(|| refused(path, "has no folder"))
    }

    /// Runs `make` for the name in its folder, again after removing what an earlier entry of the same path made.
    fn make<T>(&mut self, path: &Path, make: impl Fn(&OwnedFd, &OsStr) -> Result<T, Errno>) -> Result<T, UnpackError> {
        let (parent, name) = split(path)?;
        let folder = self.enter(parent)?;
        let made = match make(folder, name) {
            Err(Errno::EXIST) => {
                let there = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW);
                let there = there.map_err(|error| write_error(path, error))?;
                if FileType::from_raw_mode(there.st_mode) == FileType::Directory {
                    return Err(refused(path, "comes twice, as a folder and as something else"));
                }
                rustix::fs::unlinkat(folder, name, AtFlags::empty()).map_err(|error| write_error(path, error))?;
                make(folder, name)
            }
            first => {
                self.done.files = self.done.files.saturating_add(1);
                first
            }
        };
        made.map_err(|error| write_error(path, error))
    }

    pub(super) fn folder(&mut self, path: &Path, modified: Modified) -> Result<(), UnpackError> {
        self.enter(path)?;
        self.folders.push((path.to_owned(), modified));
        Ok(())
    }

    pub(super) fn file(&mut self, path: &Path, executable: bool) -> Result<Written, UnpackError> {
        let mode = Mode::from_raw_mode(if executable { EXECUTABLE } else { PLAIN });
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = self.make(path, |folder, name| rustix::fs::openat(folder, name, flags, mode))?;
        if self.masked {
            rustix::fs::fchmod(&file, mode).map_err(|error| write_error(path, error))?;
        }
        Ok(Written { file: File::from(file), path: path.to_owned(), bytes: 0 })
    }

    /// `target` was taken by [`paths::target`], which also told whether it winds.
    pub(super) fn link(
        &mut self,
        path: &Path,
        target: &[u8],
        winds: bool,
        modified: Modified,
    ) -> Result<(), UnpackError> {
        self.make(path, |folder, name| {
            rustix::fs::symlinkat(OsStr::from_bytes(target), folder, name)?;
            rustix::fs::utimensat(folder, name, &modified.times(), AtFlags::SYMLINK_NOFOLLOW)
        })?;
        if winds {
            self.winding.push((path.to_owned(), target.to_owned()));
        }
        Ok(())
    }

    /// A second name for the file at `original`, which an earlier entry made.
    pub(super) fn hard_link(&mut self, path: &Path, original: &Path) -> Result<(), UnpackError> {
        if path == original {
            return Err(refused(path, "links to itself"));
        }
        let (parent, name) = split(original)?;
        let from = self.walk(parent, false)?;
        match rustix::fs::statat(&from, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(there) if FileType::from_raw_mode(there.st_mode) == FileType::RegularFile => {}
            Ok(_) => return Err(refused(path, "is a hard link to what is not a file")),
            Err(Errno::NOENT) => return Err(refused(path, "links to a file that did not come before it")),
            Err(error) => return Err(write_error(original, error)),
        }
        let name = name.to_owned();
        self.make(path, |folder, new| rustix::fs::linkat(&from, &name, folder, new, AtFlags::empty()))
    }

    /// Sets the times of folders and looks at the links that only now can be judged.
    pub(super) fn finish(&mut self) -> Result<(), UnpackError> {
        for (link, target) in &self.winding {
            self.judge(link, target)?;
        }
        for (path, modified) in &self.folders {
            let (parent, name) = split(path)?;
            let folder = self.walk(parent, false)?;
            rustix::fs::utimensat(&folder, name, &modified.times(), AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|error| write_error(path, error))?;
        }
        Ok(())
    }

    /// Refuses a link whose way leads over another link before it goes up: `..` is then not what the text says.
    fn judge(&self, link: &Path, target: &[u8]) -> Result<(), UnpackError> {
        let mut at = link.parent().unwrap_or(Path::new("")).to_owned();
        for component in Path::new(OsStr::from_bytes(target)).components() {
            match component {
                Component::Normal(name) => at.push(name),
                Component::ParentDir => {
                    match self.walk(&at, false) {
                        Ok(_) => {}
                        Err(UnpackError::Refused { .. }) => {
                            return Err(refused(link, "links over another link and up again"));
                        }
                        Err(error) => return Err(error),
                    }
                    at.pop();
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn written(&mut self, bytes: u64) {
        self.done.bytes = self.done.bytes.saturating_add(bytes);
    }

    pub(super) fn done(&self) -> Unpacked {
        self.done
    }

    /// Waits until the file system has all of it: once, since waiting for each file takes many times as long.
    pub(super) fn sync(&self) -> Result<(), UnpackError> {
        rustix::fs::syncfs(&self.root).map_err(|error| write_error(Path::new("."), error))
    }
}

/// A file being filled.
#[derive(Debug)]
pub(super) struct Written {
    file: File,
    path: PathBuf,
    bytes: u64,
}

impl Written {
    pub(super) fn write(&mut self, block: &[u8]) -> Result<(), UnpackError> {
        io::Write::write_all(&mut self.file, block).map_err(|error| write_error(&self.path, error))?;
        self.bytes = self.bytes.saturating_add(block.len() as u64);
        Ok(())
    }

    pub(super) fn close(self, modified: Modified, tree: &mut Tree) -> Result<(), UnpackError> {
        rustix::fs::futimens(&self.file, &modified.times()).map_err(|error| write_error(&self.path, error))?;
        tree.written(self.bytes);
        Ok(())
    }
}
