//! Facts about the machine that are looked up when asked for, never remembered.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

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

/// Who holds a lock of the package system under `root`, as the kernel lists it in `/proc/locks` (proc_locks(5)): the
/// lock files themselves are readable by root alone.
pub(super) fn lock_holder(root: &Path) -> Option<LockHolder> {
    let wanted: Vec<(u64, u64)> = LOCK_FILES
        .iter()
        .filter_map(|file| fs::metadata(root.join(file)).ok())
        .map(|file| (file.dev(), file.ino()))
        .collect();
    if wanted.is_empty() {
        return None;
    }
    let locks = fs::read_to_string("/proc/locks").ok()?;
    let pid = locks.lines().find_map(|line| holder_of(line, &wanted))?;
    let command = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let command = command.trim();
    let command = if command.is_empty() { "unknown" } else { command };
    Some(LockHolder { pid, command: command.to_owned() })
}

/// The process in a line such as `1: POSIX  ADVISORY  WRITE 699 fe:01:1311 0 EOF`, if it locks one of `wanted`
/// (device, inode). Lines of waiting processes have an arrow in second place and are not holders.
fn holder_of(line: &str, wanted: &[(u64, u64)]) -> Option<u32> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    if fields.next()? == "->" {
        return None;
    }
    let pid: i64 = fields.nth(2)?.parse().ok()?;
    let mut place = fields.next()?.split(':');
    let major = u32::from_str_radix(place.next()?, 16).ok()?;
    let minor = u32::from_str_radix(place.next()?, 16).ok()?;
    let inode: u64 = place.next()?.parse().ok()?;
    let device = rustix::fs::makedev(major, minor);
    wanted.contains(&(device, inode)).then(|| u32::try_from(pid).unwrap_or(0))
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
    fn the_holder_is_found_by_device_and_inode_and_waiters_are_not_holders() {
        let wanted = [(rustix::fs::makedev(0xfe, 1), 1311)];
        assert_eq!(holder_of("1: POSIX  ADVISORY  WRITE 699 fe:01:1311 0 EOF", &wanted), Some(699));
        assert_eq!(holder_of("1: -> POSIX  ADVISORY  WRITE 700 fe:01:1311 0 EOF", &wanted), None);
        assert_eq!(holder_of("2: POSIX  ADVISORY  WRITE 699 fe:01:1312 0 EOF", &wanted), None);
        assert_eq!(holder_of("3: OFDLCK ADVISORY  WRITE -1 fe:01:1311 0 EOF", &wanted), Some(0));
        for broken in ["", "1:", "1: POSIX", "1: POSIX ADVISORY WRITE x fe:01:1311 0 EOF", "1: A B C 1 zz:01:1 0"] {
            assert_eq!(holder_of(broken, &wanted), None, "{broken}");
        }
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
