//! Which files can be looked at without waiting for another machine or another program.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{StatFs, fstatfs, statfs};

/// File systems that the kernel keeps in memory or on disks of its own, as statfs(2) names them. Any other may ask a
/// file server or a process (FUSE), and those may never answer.
const LOCAL: [libc::c_long; 11] = [
    libc::EXT4_SUPER_MAGIC, // ext2 and ext3 as well
    libc::BTRFS_SUPER_MAGIC,
    libc::XFS_SUPER_MAGIC,
    libc::F2FS_SUPER_MAGIC,
    libc::BCACHEFS_SUPER_MAGIC,
    libc::JFFS2_SUPER_MAGIC,
    libc::NILFS_SUPER_MAGIC,
    libc::REISERFS_SUPER_MAGIC,
    ZFS_SUPER_MAGIC,
    libc::TMPFS_MAGIC,
    // A container's root. Its layers are taken for local: where they are not, the daemon's own program is not either.
    libc::OVERLAYFS_SUPER_MAGIC,
];

/// Of OpenZFS; the C library does not know it.
const ZFS_SUPER_MAGIC: libc::c_long = 0x2fc1_2fc1;

/// Whether `file` is on such a file system.
pub fn is_local(file: impl AsFd) -> bool {
    fstatfs(file).is_ok_and(|found| is_known(&found))
}

/// Whether `path`, or what of it exists, is on such a file system.
pub fn is_local_path(path: &Path) -> bool {
    path.ancestors().find_map(|part| statfs(part).ok()).is_some_and(|found| is_known(&found))
}

fn is_known(found: &StatFs) -> bool {
    // The field's type differs between architectures; the numbers are 32 bits long.
    LOCAL.iter().any(|known| *known as u32 == found.f_type as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_makes_up_is_not_known_to_be_quick() {
        assert!(!is_local_path(Path::new("/proc/version")));
        assert!(!is_local_path(Path::new("/proc/self/nothing/of/this/name")));
        assert!(!is_local(std::fs::File::open("/proc/version").unwrap()));
    }

    #[test]
    fn shared_memory_is_local() {
        let file = rustix::fs::memfd_create("local", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        assert!(is_local(file));
    }
}
