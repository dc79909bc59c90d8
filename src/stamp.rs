//! What tells whether a file or folder is still as it was.

mod local;

use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, CWD, FileType, Statx, StatxFlags, statx};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

pub use local::{is_local, is_local_path};

/// How long ago something must have changed for its times to tell the next change from that one: clocks of file systems
/// tick less often than that.
const SETTLED: Duration = Duration::from_secs(1);

const WANTED: StatxFlags = StatxFlags::SIZE.union(StatxFlags::INO).union(StatxFlags::MTIME).union(StatxFlags::CTIME);

/// State of one file or folder, or its absence.
///
/// The change time is part of it because the modification time can be set back, by `touch -d` or an unpacked archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stamp {
    Absent,
    Present {
        size: u64,
        inode: u64,
        /// Seconds and nanoseconds.
        modified: (i64, u32),
        /// Seconds and nanoseconds.
        changed: (i64, u32),
    },
}

impl Stamp {
    /// The state of `path` now, following links.
    ///
    /// # Errors
    /// Anything but the file's absence: no permission, an I/O error.
    pub fn of(path: &Path) -> io::Result<Self> {
        match statx(CWD, path, AtFlags::empty(), WANTED) {
            Ok(found) => Ok(Self::read(&found)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(Self::Absent),
            Err(error) => Err(error.into()),
        }
    }

    /// The state of what is open, and what kind of file it is.
    ///
    /// # Errors
    /// An I/O error.
    pub fn of_open(file: impl AsFd) -> io::Result<(Self, FileType)> {
        let found = statx(file, "", AtFlags::EMPTY_PATH, WANTED | StatxFlags::TYPE)?;
        Ok((Self::read(&found), FileType::from_raw_mode(found.stx_mode.into())))
    }

    fn read(found: &Statx) -> Self {
        Self::Present {
            size: found.stx_size,
            inode: found.stx_ino,
            modified: (found.stx_mtime.tv_sec, found.stx_mtime.tv_nsec),
            changed: (found.stx_ctime.tv_sec, found.stx_ctime.tv_nsec),
        }
    }

    /// Whether every change from now on makes another stamp of it.
    pub fn is_settled(&self) -> bool {
        self.is_older(SETTLED)
    }

    /// Whether it has not changed for longer than this.
    pub fn is_older(&self, age: Duration) -> bool {
        let Self::Present { modified, changed, .. } = self else { return true };
        let (seconds, nanoseconds) = *modified.max(changed);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let last = Duration::new(u64::try_from(seconds).unwrap_or(0), nanoseconds);
        now.checked_sub(last).is_some_and(|since| since > age)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_just_now_or_in_the_future_is_not_settled() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(!Stamp::of(file.path()).unwrap().is_settled());
        assert!(Stamp::Absent.is_settled());
        let Stamp::Present { size, inode, .. } = Stamp::of(file.path()).unwrap() else { panic!("it is there") };
        let at = |modified: (i64, u32), changed: (i64, u32)| Stamp::Present { size, inode, modified, changed };
        assert!(at((1_700_000_000, 0), (1_700_000_000, 0)).is_settled());
        assert!(!at((1_700_000_000, 0), (i64::MAX, 0)).is_settled());
        assert!(!at((i64::MAX, 0), (1_700_000_000, 0)).is_settled());
    }
}
