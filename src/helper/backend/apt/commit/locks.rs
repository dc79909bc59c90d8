//! The package system's locks, taken as apt-get takes them.

use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};
use omg::transaction::{Event, Failure, FailureKind, Level, Phase};
use rust_apt::config::Config;
use rust_apt::util;
use rustix::fs::{FlockOperation, fcntl_lock};

use super::super::super::Caller;
use super::{Stop, database, words};

/// How long between two looks at a lock that another program holds.
const POLL: Duration = Duration::from_millis(100);

/// What dpkg and its front ends take before they change anything (`lock-frontend`), and dpkg itself (`lock`).
const DPKG_LOCKS: [&str; 2] = ["lock-frontend", "lock"];

/// Held until the process ends. A POSIX lock goes as soon as the process closes any descriptor of the file, so nothing
/// here may open a lock file again while it is held.
#[derive(Debug)]
pub struct Locks {
    /// Whether `lock` was given up: apt closes its descriptor each time that it is asked to.
    dpkg_is_in: Cell<bool>,
    /// Of the folder of downloaded packages.
    _archives: File,
    /// Of the front end, where apt itself takes none because dpkg's journal is not empty.
    frontend: Option<File>,
}

/// Takes the locks: dpkg's, and that of the folder of downloaded packages. With `despite_journal` also when dpkg was
/// interrupted, where apt refuses to work: then [`Locks::give_apt`] follows once dpkg has caught up.
///
/// # Errors
/// [`FailureKind::Locked`], naming the holder, unless `wait`; what else keeps them from being taken.
pub fn take(config: &Config, wait: bool, despite_journal: bool, caller: &dyn Caller) -> Result<Locks, Stop> {
    caller.tell(Event::Phase { phase: Phase::Locking, cancellable: true });
    // apt would wait here without hearing of a cancellation.
    config.set("DPkg::Lock::Timeout", "0");
    let dpkg = folder_of_status(config);
    let archives = PathBuf::from(config.dir("Dir::Cache::Archives", "/var/cache/apt/archives/")).join("lock");
    let mut queue = Queue { wait, caller, waits: false };
    let frontend = loop {
        if let Some(holder) = DPKG_LOCKS.iter().find_map(|name| Holder::of(&dpkg.join(name))) {
            queue.stand(&holder)?;
            continue;
        }
        if despite_journal && database::has_journal(config) {
            let path = dpkg.join("lock-frontend");
            let file = open(&path)?;
            match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break Some(file),
                Err(error) => queue.again(&path, error)?,
            }
            continue;
        }
        match util::apt_lock() {
            Ok(()) => break None,
            Err(error) => {
                let said = words(&error);
                // Somebody was faster.
                if DPKG_LOCKS.iter().any(|name| Holder::of(&dpkg.join(name)).is_some()) {
                    continue;
                }
                return Err(Stop::Failed(refused(config, &said)));
            }
        }
    };
    if let Some(folder) = archives.parent() {
        prepare(config, &folder.join("partial"))
            .map_err(|error| Stop::failed(FailureKind::Internal, format!("{}: {error}", folder.display())))?;
    }
    let file = open(&archives)?;
    while let Err(error) = fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
        match Holder::asked(&file, &archives) {
            Some(holder) => queue.stand(&holder)?,
            None => queue.again(&archives, error)?,
        }
    }
    Ok(Locks { dpkg_is_in: Cell::new(false), _archives: file, frontend })
}

/// Makes the folder that files are fetched into, and gives it to the user as whom apt's methods run: without it they would
/// fetch as root (`pkgAcquire::GetLock` of apt does the same; the bindings have no way to it).
fn prepare(config: &Config, partial: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(partial)?;
    let user = config.find("APT::Sandbox::User", "");
    if !rustix::process::geteuid().is_root() || user.is_empty() || user == "root" {
        return Ok(());
    }
    let Some(user) = nix::unistd::User::from_name(&user)? else { return Ok(()) };
    // Not a link that leads elsewhere.
    let flags = i32::try_from((rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::DIRECTORY).bits()).unwrap_or(0);
    let folder = OpenOptions::new().read(true).custom_flags(flags).open(partial)?;
    std::os::unix::fs::fchown(&folder, Some(user.uid.as_raw()), Some(0))?;
    folder.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700))
}

impl Locks {
    /// Gives apt the lock that was taken in its place while dpkg's journal was not empty.
    ///
    /// # Errors
    /// When apt refuses still.
    pub fn give_apt(&self, config: &Config) -> Result<(), Failure> {
        if self.frontend.is_some() {
            util::apt_lock().map_err(|error| refused(config, &words(&error)))?;
        }
        Ok(())
    }

    /// The same where apt may not have taken its locks, since dpkg's journal is not empty.
    pub fn let_dpkg_in_alone(&self) {
        if self.frontend.is_none() {
            self.let_dpkg_in();
        }
    }

    /// Gives up the lock that dpkg takes itself; the front end's lock keeps others out. Only after apt took its locks.
    pub fn let_dpkg_in(&self) {
        if !self.dpkg_is_in.replace(true) {
            util::apt_unlock_inner();
        }
    }
}

fn refused(config: &Config, said: &str) -> Failure {
    if database::has_journal(config) {
        let message = "dpkg was interrupted and left packages half installed; run `omg doctor --fix` to finish them";
        Failure::new(FailureKind::Internal, message)
    } else if rustix::process::geteuid().is_root() {
        Failure::new(FailureKind::Internal, format!("the package system cannot be locked: {said}"))
    } else {
        let message = format!("the package system can be changed by root alone: {said}");
        Failure::new(FailureKind::NotAuthorized, message)
    }
}

/// The folder of dpkg's records.
pub fn folder_of_status(config: &Config) -> PathBuf {
    let status = PathBuf::from(config.file("Dir::State::status", "/var/lib/dpkg/status"));
    status.parent().map_or_else(|| PathBuf::from("/var/lib/dpkg"), Path::to_path_buf)
}

/// As apt opens lock files.
fn open(path: &Path) -> Result<File, Stop> {
    let flags = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0);
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o640)
        .custom_flags(flags)
        .open(path)
        .map_err(|error| {
            let kind = match error.kind() {
                std::io::ErrorKind::PermissionDenied => FailureKind::NotAuthorized,
                std::io::ErrorKind::StorageFull => FailureKind::DiskFull,
                _ => FailureKind::Internal,
            };
            Stop::failed(kind, format!("cannot open the lock file {}: {error}", path.display()))
        })
}

/// The process that holds a lock.
#[derive(Debug)]
pub struct Holder {
    /// 0 where it is not visible from here (another PID namespace).
    pid: i32,
    path: PathBuf,
}

impl Holder {
    /// Of a file that this process does not lock.
    pub fn of(path: &Path) -> Option<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path).ok()?;
        Self::asked(&file, path)
    }

    fn asked(file: &File, path: &Path) -> Option<Self> {
        // From the start to the end of the file.
        let mut asked = nix::libc::flock {
            l_type: nix::libc::F_WRLCK as nix::libc::c_short,
            l_whence: nix::libc::SEEK_SET as nix::libc::c_short,
            l_start: 0,
            l_len: 0,
            l_pid: 0,
        };
        fcntl(file.as_fd().as_raw_fd(), FcntlArg::F_GETLK(&mut asked)).ok()?;
        let is_held = asked.l_type != nix::libc::F_UNLCK as nix::libc::c_short;
        is_held.then(|| Self { pid: asked.l_pid, path: path.to_owned() })
    }

    pub fn name(&self) -> String {
        let command = std::fs::read_to_string(format!("/proc/{}/comm", self.pid)).unwrap_or_default();
        match (self.pid > 0, command.trim()) {
            (false, _) => "another program".to_owned(),
            (true, "") => format!("process {}", self.pid),
            (true, command) => format!("{command} (process {})", self.pid),
        }
    }
}

/// Somebody who waits, or does not.
struct Queue<'a> {
    wait: bool,
    caller: &'a dyn Caller,
    /// Whether it was said that it waits.
    waits: bool,
}

impl Queue<'_> {
    /// A lock that was not had although nobody seems to hold it: once more where its holder just left, else an error.
    fn again(&self, path: &Path, error: rustix::io::Errno) -> Result<(), Stop> {
        if !matches!(error, rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) {
            let message = format!("{} cannot be locked: {error}", path.display());
            return Err(Stop::failed(FailureKind::Internal, message));
        }
        if self.caller.is_cancelled() {
            return Err(Stop::Cancelled);
        }
        thread::sleep(POLL);
        Ok(())
    }

    fn stand(&mut self, holder: &Holder) -> Result<(), Stop> {
        if !self.wait {
            let message = format!(
                "{} holds the package system's lock {}; try again when it is done, or wait with --wait",
                holder.name(),
                holder.path.display()
            );
            return Err(Stop::failed(FailureKind::Locked, message));
        }
        if !self.waits {
            self.waits = true;
            let text = format!("waiting for {}, which holds the package system's lock", holder.name());
            self.caller.tell(Event::Message { level: Level::Info, text });
        }
        if self.caller.is_cancelled() {
            return Err(Stop::Cancelled);
        }
        thread::sleep(POLL);
        Ok(())
    }
}
