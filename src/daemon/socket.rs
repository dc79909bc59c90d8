//! The socket for peer-to-peer clients.

use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, Mode, OFlags};
use thiserror::Error;
use tokio::net::UnixListener;

/// Why there is no socket.
#[derive(Debug, Error)]
pub enum SocketError {
    #[error("cannot listen on {path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("cannot use the socket that was passed on: {0}")]
    Inherited(io::Error),
    #[error("{0} is in use by another omgd; `omg daemon status` tells which")]
    InUse(PathBuf),
    #[error("{0} exists and is not a socket of this user; remove it or choose another with --socket")]
    Foreign(PathBuf),
    #[error("{0} must be a folder of this user that nobody else can enter (mode 0700)")]
    OpenFolder(PathBuf),
}

/// Where a socket is to be.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) path: PathBuf,
    /// The folder is made too, and must then be private.
    pub(super) make_folder: bool,
}

impl Place {
    pub(super) fn bind(&self) -> Result<Listener, SocketError> {
        Listener::bind(&self.path, self.make_folder)
    }

    /// Listens once nobody else does, which is tried again and again after `pause`; `None` when it can never be.
    pub(super) async fn once_free(&self, pause: Duration) -> Option<Listener> {
        loop {
            tokio::time::sleep(pause).await;
            match self.bind() {
                Ok(listener) => {
                    tracing::info!("{} is free again; listening there", self.path.display());
                    return Some(listener);
                }
                Err(SocketError::InUse(_)) => {}
                Err(error) => {
                    tracing::warn!("no socket: {error}");
                    return None;
                }
            }
        }
    }
}

/// A listening socket, passed on by the service manager or bound here.
#[derive(Debug)]
pub(super) struct Listener {
    listener: UnixListener,
    bound: Option<Bound>,
}

/// A socket file of our own. The lock tells other daemons that it is in use, whatever becomes of this process.
#[derive(Debug)]
struct Bound {
    path: PathBuf,
    inode: u64,
    _lock: File,
}

impl Listener {
    pub(super) fn inherited(listener: StdListener) -> Result<Self, SocketError> {
        listener.set_nonblocking(true).map_err(SocketError::Inherited)?;
        let listener = UnixListener::from_std(listener).map_err(SocketError::Inherited)?;
        Ok(Self { listener, bound: None })
    }

    /// Listens at `path`, for this user alone from the first moment: the socket is made with a mask that leaves nobody
    /// else any access. Only a socket that an earlier daemon of this user left behind is replaced; `bind(2)` follows no
    /// link and takes no name that exists. `make_folder` makes the folder too, which must then be private.
    pub(super) fn bind(path: &Path, make_folder: bool) -> Result<Self, SocketError> {
        let failed = |source: io::Error| SocketError::Io { path: path.to_owned(), source };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if make_folder {
            private_folder(folder)
                .map_err(failed)?
                .then_some(())
                .ok_or_else(|| SocketError::OpenFolder(folder.into()))?;
        }
        let lock_path = with_suffix(path, ".lock");
        let lock = File::options()
            .create(true)
            .append(true)
            .mode(0o600)
            .custom_flags((OFlags::NOFOLLOW | OFlags::CLOEXEC).bits() as i32)
            .open(&lock_path)
            .map_err(failed)?;
        if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(SocketError::InUse(path.to_owned()));
        }
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
            Ok(found) if !found.file_type().is_socket() || found.uid() != rustix::process::geteuid().as_raw() => {
                return Err(SocketError::Foreign(path.to_owned()));
            }
            // Somebody who does not know of the lock may listen there: a socket unit, which a connection would make start
            // another daemon.
            Ok(_) if is_listening(path) => return Err(SocketError::InUse(path.to_owned())),
            Ok(_) => fs::remove_file(path).map_err(failed)?,
        }
        // Under its own name, which /proc/net/unix shows to whoever looks for the daemon.
        let mask = rustix::process::umask(Mode::from_raw_mode(0o177));
        let listener = StdListener::bind(path);
        rustix::process::umask(mask);
        let listener = listener.map_err(failed)?;
        let inode = fs::symlink_metadata(path).map_err(failed)?.ino();
        listener.set_nonblocking(true).map_err(failed)?;
        let listener = UnixListener::from_std(listener).map_err(failed)?;
        Ok(Self { listener, bound: Some(Bound { path: path.to_owned(), inode, _lock: lock }) })
    }

    pub(super) async fn accept(&self) -> io::Result<StdStream> {
        let (stream, _) = self.listener.accept().await?;
        stream.into_std()
    }

    /// Takes the socket's name away, so that clients look elsewhere, and gives what has connected already. Where the
    /// service manager owns the socket nothing is taken: what waits there stays for the next daemon.
    pub(super) fn close(self) -> Vec<StdStream> {
        let Some(bound) = self.bound else { return Vec::new() };
        drop(bound);
        let Ok(listener) = self.listener.into_std() else { return Vec::new() };
        std::iter::from_fn(|| listener.accept().ok()).map(|(stream, _)| stream).collect()
    }
}

impl Drop for Bound {
    /// Removes the socket file, unless another has taken its place.
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
            // While the lock is held nobody else has the file open for anything but waiting.
            let _ = fs::remove_file(with_suffix(&self.path, ".lock"));
        }
    }
}

/// Whether a socket of that name is open, by `/proc/net/unix`; where that cannot be read, by connecting.
fn is_listening(path: &Path) -> bool {
    match fs::read("/proc/net/unix") {
        Ok(sockets) => sockets.split(|byte| *byte == b'\n').any(|line| line.ends_with(path.as_os_str().as_bytes())),
        Err(_) => StdStream::connect(path).is_ok(),
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Makes `folder` if need be; says whether it is a real folder, this user's and closed to others.
fn private_folder(folder: &Path) -> io::Result<bool> {
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = fs::symlink_metadata(folder)?;
    Ok(found.is_dir() && found.uid() == rustix::process::geteuid().as_raw() && found.mode() & 0o077 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_runtime<T>(test: impl FnOnce() -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _guard = runtime.enter();
        test()
    }

    #[test]
    fn the_socket_is_private_replaces_a_stale_one_and_is_removed() {
        in_runtime(|| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("omg.sock");
            drop(StdListener::bind(&path).unwrap());
            let listener = Listener::bind(&path, false).unwrap();
            assert_eq!(fs::symlink_metadata(&path).unwrap().mode() & 0o777, 0o600);
            assert!(matches!(Listener::bind(&path, false), Err(SocketError::InUse(_))));
            let waiting = StdStream::connect(&path).unwrap();
            assert_eq!(listener.close().len(), 1);
            drop(waiting);
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        });
    }

    #[test]
    fn links_files_and_sockets_in_use_are_left_alone() {
        in_runtime(|| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("omg.sock");
            fs::write(&path, "precious").unwrap();
            assert!(matches!(Listener::bind(&path, false), Err(SocketError::Foreign(_))));
            assert_eq!(fs::read(&path).unwrap(), b"precious");
            let link = folder.path().join("link.sock");
            std::os::unix::fs::symlink(&path, &link).unwrap();
            assert!(matches!(Listener::bind(&link, false), Err(SocketError::Foreign(_))));
            let taken = folder.path().join("taken.sock");
            let _other = StdListener::bind(&taken).unwrap();
            assert!(matches!(Listener::bind(&taken, false), Err(SocketError::InUse(_))));
        });
    }

    #[test]
    fn a_folder_that_others_can_enter_is_refused() {
        in_runtime(|| {
            let folder = tempfile::tempdir().unwrap();
            let open = folder.path().join("open");
            fs::DirBuilder::new().mode(0o755).create(&open).unwrap();
            assert!(matches!(Listener::bind(&open.join("omg.sock"), true), Err(SocketError::OpenFolder(_))));
            let made = folder.path().join("made");
            let listener = Listener::bind(&made.join("omg.sock"), true).unwrap();
            assert_eq!(fs::metadata(&made).unwrap().mode() & 0o777, 0o700);
            listener.close();
        });
    }
}
