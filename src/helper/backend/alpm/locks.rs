//! libalpm's lock: a file that is there while somebody changes packages, and stays when they are killed.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use alpm::Alpm;
use omg::transaction::{Event, Failure, FailureKind, Level, Phase};

use super::super::{Caller, Stop};
use super::settings::Settings;

/// How long between two looks at a lock that another program holds.
const POLL: Duration = Duration::from_millis(100);

/// Who has the lock.
enum Holder {
    /// A process that has the file open.
    Process { pid: u32, command: String },
    /// No process that can be seen from here.
    Nobody,
}

impl Holder {
    fn of(path: &Path) -> Option<Self> {
        let lock = path.metadata().ok()?;
        // Not by its path: the same database may have another one for whoever holds it.
        let is_it = |found: Metadata| (found.dev(), found.ino()) == (lock.dev(), lock.ino());
        let processes = fs::read_dir("/proc").into_iter().flatten().filter_map(|entry| {
            let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let mut open = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.filter_map(Result::ok);
            open.any(|descriptor| fs::metadata(descriptor.path()).is_ok_and(is_it)).then_some(pid)
        });
        let holder = processes.map(|pid| {
            let command = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned();
            Self::Process { pid, command }
        });
        Some(holder.into_iter().next().unwrap_or(Self::Nobody))
    }

    fn told(&self, path: &Path) -> String {
        match self {
            Self::Process { pid, command } => {
                format!("{command} (process {pid}) holds the package system's lock {}", path.display())
            }
            Self::Nobody => {
                format!("the package system's lock {} is there, and no running process holds it", path.display())
            }
        }
    }

    fn advice(&self) -> &'static str {
        match self {
            Self::Process { .. } => "try again when it is done, or wait with --wait",
            Self::Nobody => "an interrupted change left it: `omg doctor --fix` removes it",
        }
    }
}

/// Returns when nobody holds the lock.
///
/// # Errors
/// [`FailureKind::Locked`], naming the holder, unless `wait` and somebody holds it; cancelled.
pub fn wait(handle: &Alpm, wait: bool, caller: &dyn Caller) -> Result<(), Stop> {
    caller.tell(Event::Phase { phase: Phase::Locking, cancellable: true });
    let path = Path::new(handle.lockfile());
    let mut waits = false;
    while let Some(holder) = Holder::of(path) {
        if caller.is_cancelled() {
            return Err(Stop::Cancelled);
        }
        if !wait || matches!(holder, Holder::Nobody) {
            return Err(told(&holder, path).into());
        }
        if !waits {
            waits = true;
            caller.tell(Event::Message { level: Level::Info, text: format!("waiting: {}", holder.told(path)) });
        }
        thread::sleep(POLL);
    }
    Ok(())
}

fn told(holder: &Holder, path: &Path) -> Failure {
    Failure::new(FailureKind::Locked, format!("{}; {}", holder.told(path), holder.advice()))
}

/// Why the lock was not had.
pub fn refused(handle: &Alpm) -> Failure {
    let path = Path::new(handle.lockfile());
    match Holder::of(path) {
        Some(holder) => told(&holder, path),
        None if rustix::process::geteuid().is_root() => {
            let message = format!(
                "the package system cannot be locked: {} cannot be made, or another program had it just now; look at the \
                 disk it is on and try again",
                path.display()
            );
            Failure::new(FailureKind::Locked, message)
        }
        None => Failure::new(FailureKind::NotAuthorized, "the package system can be changed by root alone"),
    }
}

/// The lock of the database itself, also where a handle works on a copy.
fn of_database(settings: &Settings) -> PathBuf {
    Path::new(&settings.config.db_path).join("db.lck")
}

/// What to say of a lock that a repair will remove, as far as can be seen from here: only root sees every process.
pub fn left(settings: &Settings) -> Option<String> {
    let path = of_database(settings);
    let is_left = matches!(Holder::of(&path), Some(Holder::Nobody));
    is_left.then(|| {
        format!("{} was left by an interrupted change: it is removed unless a process holds it", path.display())
    })
}

/// Removes a lock that nobody holds.
///
/// # Errors
/// [`FailureKind::Locked`] when somebody does; when it cannot be removed.
pub fn repair(settings: &Settings, caller: &dyn Caller) -> Result<(), Stop> {
    let path = of_database(settings);
    match Holder::of(&path) {
        None => Ok(()),
        Some(holder @ Holder::Process { .. }) => Err(told(&holder, &path).into()),
        Some(Holder::Nobody) => {
            fs::remove_file(&path)?;
            let text = format!("{} was left by an interrupted change and is removed", path.display());
            caller.tell(Event::Message { level: Level::Info, text });
            Ok(())
        }
    }
}
