//! Facts about the machine that are looked up when asked for, never remembered.

use std::cell::LazyCell;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

/// The process that holds one of the package system's locks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockHolder {
    /// 0 where the process is not visible from here (another PID namespace).
    pub pid: u32,
    pub command: String,
}

/// The files whose lock a package manager holds while it works, below the root.
const LOCK_FILES: [&str; 4] =
    ["var/lib/dpkg/lock-frontend", "var/lib/dpkg/lock", "var/lib/apt/lists/lock", "var/cache/apt/archives/lock"];

/// What every change of packages replaces or adds to, below the root: of dpkg, apt and libalpm.
pub(super) const RECORDS: [&str; 4] =
    ["var/lib/dpkg/status", "var/lib/apt/lists", "var/lib/pacman/local", "var/lib/pacman/sync"];

/// libalpm's lock, below the root: a file that is there while somebody changes packages.
const LIBALPM_LOCK: &str = "var/lib/pacman/db.lck";

/// Who holds a lock of the package system under `root`.
pub(super) fn lock_holder(root: &Path) -> Option<LockHolder> {
    advisory_lock_holder(root).or_else(|| file_holder(&root.join(LIBALPM_LOCK)))
}

/// The process that has a lock file open. Those of other users are not visible: the lock is held all the same, or was left
/// behind.
fn file_holder(lock: &Path) -> Option<LockHolder> {
    let held = lock.metadata().ok()?;
    let is_it = |found: fs::Metadata| (found.dev(), found.ino()) == (held.dev(), held.ino());
    let has_open = |pid: u32| {
        let mut open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().filter_map(Result::ok);
        open.any(|descriptor| fs::metadata(descriptor.path()).is_ok_and(is_it))
    };
    let processes = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    Some(named(pids.find(|pid| has_open(*pid)).unwrap_or(0)))
}

fn named(pid: u32) -> LockHolder {
    let command = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let command = command.trim();
    let command = if command.is_empty() { "unknown" } else { command };
    LockHolder { pid, command: command.to_owned() }
}

/// Who holds one of apt's and dpkg's locks, as the kernel lists it in `/proc/locks` (proc_locks(5)): the
/// lock files themselves are readable by root alone.
fn advisory_lock_holder(root: &Path) -> Option<LockHolder> {
    let files: Vec<LockFile> = LOCK_FILES.iter().filter_map(|file| LockFile::at(&root.join(file))).collect();
    if files.is_empty() {
        return None;
    }
    let locks = fs::read_to_string("/proc/locks").ok()?;
    let mounts = LazyCell::new(|| fs::read_to_string("/proc/self/mountinfo").unwrap_or_default());
    let held =
        |lock: &HeldLock| files.iter().any(|file| file.is_locked_by(lock, || mount_device(&mounts, file.mount?)));
    let pid = locks.lines().filter_map(HeldLock::parse).find(held)?.pid;
    Some(named(pid))
}

/// A file as the kernel's tables name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct LockFile {
    inode: u64,
    /// As stat(2) has it.
    device: u64,
    /// Number of the mount that holds it; `None` where the kernel does not tell (before 5.8).
    mount: Option<u64>,
}

impl LockFile {
    fn at(path: &Path) -> Option<Self> {
        let wanted = StatxFlags::INO | StatxFlags::MNT_ID;
        let found = statx(CWD, path, AtFlags::empty(), wanted).ok()?;
        let told = StatxFlags::from_bits_retain(found.stx_mask).contains(StatxFlags::MNT_ID);
        Some(Self {
            inode: found.stx_ino,
            device: rustix::fs::makedev(found.stx_dev_major, found.stx_dev_minor),
            mount: told.then_some(found.stx_mnt_id),
        })
    }

    /// `/proc/locks` has the device of the whole file system, which `mount_device` finds out. stat(2) has another one
    /// where a file system gives each of its subvolumes a device of its own, as btrfs does.
    fn is_locked_by(&self, lock: &HeldLock, mount_device: impl FnOnce() -> Option<u64>) -> bool {
        lock.inode == self.inode && (lock.device == self.device || mount_device() == Some(lock.device))
    }
}

/// A lock and its holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct HeldLock {
    pid: u32,
    device: u64,
    inode: u64,
}

impl HeldLock {
    /// Reads a line such as `1: POSIX  ADVISORY  WRITE 699 fe:01:1311 0 EOF`. Lines of waiting processes have an arrow
    /// in second place and are not holders.
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split_ascii_whitespace().skip(1);
        if fields.next()? == "->" {
            return None;
        }
        let pid: i64 = fields.nth(2)?.parse().ok()?;
        let mut place = fields.next()?.split(':');
        let major = u32::from_str_radix(place.next()?, 16).ok()?;
        let minor = u32::from_str_radix(place.next()?, 16).ok()?;
        let inode = place.next()?.parse().ok()?;
        Some(Self { pid: u32::try_from(pid).unwrap_or(0), device: rustix::fs::makedev(major, minor), inode })
    }
}

/// The device of the mount with that number, from the lines of `/proc/self/mountinfo`, which begin with number, parent
/// and `major:minor` in decimal (proc_pid_mountinfo(5)).
fn mount_device(mountinfo: &str, mount: u64) -> Option<u64> {
    mountinfo.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        if fields.next()?.parse() != Ok(mount) {
            return None;
        }
        let (major, minor) = fields.nth(1)?.split_once(':')?;
        Some(rustix::fs::makedev(major.parse().ok()?, minor.parse().ok()?))
    })
}

/// Whether the system has asked to be restarted, and for which packages: the files that Debian's and Ubuntu's package
/// scripts leave behind (`/run/reboot-required`, `/run/reboot-required.pkgs`).
pub(super) fn restart_required(root: &Path) -> (bool, Vec<String>) {
    let required = ["run/reboot-required", "var/run/reboot-required"].iter().any(|file| root.join(file).exists());
    let packages = fs::read_to_string(root.join("run/reboot-required.pkgs")).unwrap_or_default();
    let mut packages: Vec<String> =
        packages.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    packages.sort_unstable();
    packages.dedup();
    (required, if required { packages } else { Vec::new() })
}

/// The language runtimes in use: (runtime, version), from the `current` links in `versions/`, in the order of names.
pub(super) fn active_runtimes(data_dir: &Path) -> Vec<(String, String)> {
    let Ok(runtimes) = fs::read_dir(data_dir.join("versions")) else { return Vec::new() };
    let mut active: Vec<(String, String)> = runtimes
        .filter_map(|runtime| {
            let runtime = runtime.ok()?;
            let target = fs::read_link(runtime.path().join("current")).ok()?;
            let version = target.file_name()?.to_str()?.to_owned();
            Some((runtime.file_name().into_string().ok()?, version))
        })
        .collect();
    active.sort_unstable();
    active
}

/// Whether the machine runs on a battery: it has a mains supply, and that gives nothing (power_supply of sysfs).
pub(super) fn on_battery() -> bool {
    mains_is_off(Path::new("/sys/class/power_supply"))
}

fn mains_is_off(supplies: &Path) -> bool {
    let Ok(supplies) = fs::read_dir(supplies) else { return false };
    let read = |file: &Path| fs::read_to_string(file).unwrap_or_default().trim().to_owned();
    let supplies = supplies.flatten().map(|supply| supply.path());
    let mains: Vec<String> = supplies
        .filter(|supply| read(&supply.join("type")) == "Mains")
        .map(|supply| read(&supply.join("online")))
        .collect();
    !mains.is_empty() && mains.iter().all(|online| online == "0")
}

/// Resident memory of this process in bytes (the second number of `/proc/self/statm`, in pages); 0 when unknown.
pub(super) fn resident_bytes() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split_ascii_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * rustix::param::page_size() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_battery_is_in_use_when_no_mains_supply_gives_anything() {
        let folder = tempfile::tempdir().unwrap();
        let supply = |name: &str, kind: &str, online: &str| {
            fs::create_dir_all(folder.path().join(name)).unwrap();
            fs::write(folder.path().join(name).join("type"), format!("{kind}\n")).unwrap();
            fs::write(folder.path().join(name).join("online"), format!("{online}\n")).unwrap();
        };
        supply("BAT0", "Battery", "0");
        assert!(!mains_is_off(folder.path()), "a machine without a mains supply, or one that tells of none");
        supply("AC", "Mains", "0");
        assert!(mains_is_off(folder.path()));
        supply("AC", "Mains", "1");
        assert!(!mains_is_off(folder.path()));
        assert!(!mains_is_off(Path::new("/nonexistent")));
    }

    #[test]
    fn waiters_are_not_holders_and_a_holder_elsewhere_has_no_number() {
        let held = |pid| HeldLock { pid, device: rustix::fs::makedev(0xfe, 1), inode: 1311 };
        assert_eq!(HeldLock::parse("1: POSIX  ADVISORY  WRITE 699 fe:01:1311 0 EOF"), Some(held(699)));
        assert_eq!(HeldLock::parse("1: -> POSIX  ADVISORY  WRITE 700 fe:01:1311 0 EOF"), None);
        assert_eq!(HeldLock::parse("3: OFDLCK ADVISORY  WRITE -1 fe:01:1311 0 EOF"), Some(held(0)));
        for broken in ["", "1:", "1: POSIX", "1: POSIX ADVISORY WRITE x fe:01:1311 0 EOF", "1: A B C 1 zz:01:1 0"] {
            assert_eq!(HeldLock::parse(broken), None, "{broken}");
        }
    }

    #[test]
    fn a_lock_on_a_subvolume_is_found_by_the_device_of_its_mount() {
        // A btrfs: the mount is device 0:32 (00:20 in /proc/locks), stat(2) gives the subvolume's own device 0:37.
        let mounts = "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
            41 22 0:32 /@var /var rw,relatime shared:1 master:2 - btrfs /dev/sdb rw,subvol=/@var\n\
            short\n42 22 broken / /x rw - x x rw\n";
        assert_eq!(mount_device(mounts, 41), Some(rustix::fs::makedev(0, 32)));
        assert_eq!((mount_device(mounts, 42), mount_device(mounts, 43)), (None, None));
        let file = LockFile { inode: 1311, device: rustix::fs::makedev(0, 37), mount: Some(41) };
        let locked = |line| file.is_locked_by(&HeldLock::parse(line).unwrap(), || mount_device(mounts, 41));
        assert!(locked("1: POSIX  ADVISORY  WRITE 699 00:20:1311 0 EOF"));
        assert!(locked("1: POSIX  ADVISORY  WRITE 699 00:25:1311 0 EOF"));
        assert!(!locked("1: POSIX  ADVISORY  WRITE 699 08:01:1311 0 EOF"), "the same inode of another file system");
        assert!(!locked("1: POSIX  ADVISORY  WRITE 699 00:20:1312 0 EOF"));
        let unlocked = LockFile { mount: None, ..file };
        assert!(!unlocked.is_locked_by(&HeldLock { pid: 1, device: rustix::fs::makedev(0, 32), inode: 1311 }, || None));
    }

    #[test]
    fn the_mount_of_a_file_is_in_the_table() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let Some(mount) = LockFile::at(file.path()).unwrap().mount else { return };
        assert!(mount_device(&fs::read_to_string("/proc/self/mountinfo").unwrap(), mount).is_some());
        assert_eq!(LockFile::at(Path::new("/nonexistent/lock")), None);
    }

    #[test]
    fn a_lock_is_reported_while_it_is_held() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("var/lib/dpkg");
        fs::create_dir_all(&folder).unwrap();
        let file = fs::File::create(folder.join("lock-frontend")).unwrap();
        assert_eq!(lock_holder(root.path()), None);
        rustix::fs::fcntl_lock(&file, rustix::fs::FlockOperation::LockExclusive).unwrap();
        let holder = lock_holder(root.path()).unwrap();
        assert_eq!(holder.pid, std::process::id());
        assert!(!holder.command.is_empty());
        drop(file);
        assert_eq!(lock_holder(root.path()), None);
    }

    #[test]
    fn libalpms_lock_is_held_as_long_as_it_is_there() {
        let root = tempfile::tempdir().unwrap();
        let lock = root.path().join(LIBALPM_LOCK);
        fs::create_dir_all(lock.parent().unwrap()).unwrap();
        assert_eq!(lock_holder(root.path()), None);
        let file = fs::File::create(&lock).unwrap();
        assert_eq!(lock_holder(root.path()).unwrap().pid, std::process::id());
        drop(file);
        // Left behind, or another user's.
        assert_eq!(lock_holder(root.path()), Some(LockHolder { pid: 0, command: "unknown".to_owned() }));
        fs::remove_file(&lock).unwrap();
        assert_eq!(lock_holder(root.path()), None);
    }

    #[test]
    fn active_runtimes_are_the_current_links() {
        let data = tempfile::tempdir().unwrap();
        let node = data.path().join("versions/node");
        fs::create_dir_all(node.join("20.1.0")).unwrap();
        fs::create_dir_all(data.path().join("versions/go")).unwrap();
        std::os::unix::fs::symlink("20.1.0", node.join("current")).unwrap();
        assert_eq!(active_runtimes(data.path()), [("node".to_owned(), "20.1.0".to_owned())]);
        assert!(active_runtimes(&data.path().join("missing")).is_empty());
    }
}
