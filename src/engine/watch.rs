//! Watches the folders of the sources (inotify(7)), so that a rebuild starts before anybody asks.
//!
//! Watches only make waiting rare. That no answer is stale rests on the fingerprint alone: a folder that cannot be
//! watched, or a file system that reports nothing, costs time and not truth.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::fs::inotify::{CreateFlags, Reader, WatchFlags, add_watch, init, remove_watch};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;

/// Watches folders for changes of what is directly in them.
#[derive(Debug)]
pub(super) struct Watch {
    inotify: AsyncFd<OwnedFd>,
    folders: Vec<(PathBuf, i32)>,
}

impl Watch {
    /// # Errors
    /// When the kernel gives no inotify instance (`fs.inotify.max_user_instances`).
    pub(super) fn new() -> io::Result<Self> {
        let inotify = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        #[expect(unsafe_code, reason = "tokio cannot see that a descriptor stays open")]
        // SAFETY: the descriptor is owned by the `AsyncFd` from here on and nothing takes it out or closes it.
        let inotify = unsafe { AsyncFd::register(inotify) }?;
        Ok(Self { inotify, folders: Vec::new() })
    }

    /// Watches exactly `folders` from now on. Says which could not be watched.
    pub(super) fn set(&mut self, folders: Vec<PathBuf>) -> Vec<(PathBuf, io::Error)> {
        let inotify = self.inotify.get_ref();
        let mut failed = Vec::new();
        // A folder that was replaced has lost its watch; adding it again is how the kernel is asked, and does nothing
        // where the watch is still there.
        let flags = WatchFlags::CREATE
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::DELETE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        let mut watched: Vec<(PathBuf, i32)> = Vec::new();
        for folder in folders {
            match add_watch(inotify, &folder, flags) {
                Ok(number) => watched.push((folder, number)),
                Err(Errno::NOENT | Errno::NOTDIR) => {}
                Err(error) => failed.push((folder, error.into())),
            }
        }
        for (_, number) in &self.folders {
            if !watched.iter().any(|(_, kept)| kept == number) {
                // It may be gone together with its folder.
                let _ = remove_watch(inotify, *number);
            }
        }
        self.folders = watched;
        failed
    }

    /// Waits for a change and takes every event that is there.
    pub(super) async fn changed(&self) -> io::Result<()> {
        loop {
            let mut ready = self.inotify.readable().await?;
            let mut buffer = [MaybeUninit::uninit(); 4096];
            let mut reader = Reader::new(self.inotify.get_ref(), &mut buffer);
            let mut seen = false;
            loop {
                match reader.next() {
                    Ok(_) => seen = true,
                    Err(Errno::AGAIN) => {
                        ready.clear_ready();
                        break;
                    }
                    Err(Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            if seen {
                return Ok(());
            }
        }
    }
}
