//! What kind of machine programs are fetched for.

use std::fmt;
use std::path::Path;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Arch {
    X86_64,
    Aarch64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Libc {
    Glibc,
    Musl,
}

/// A processor and a C library: Linux's programs are built for both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Host {
    pub arch: Arch,
    pub libc: Libc,
}

impl Host {
    /// This machine; `None` when it is of a kind that nothing is fetched for.
    pub fn here() -> Option<Self> {
        let arch = match std::env::consts::ARCH {
            "x86_64" => Arch::X86_64,
            "aarch64" => Arch::Aarch64,
            _ => return None,
        };
        Some(Self { arch, libc: Libc::of_system(Path::new("/")) })
    }
}

impl Libc {
    /// By the loader that programs of the system name: this program may be linked with another library than they are.
    fn of_system(root: &Path) -> Self {
        let glibc = ["lib64/ld-linux-x86-64.so.2", "lib/ld-linux-aarch64.so.1"];
        let musl = ["lib/ld-musl-x86_64.so.1", "lib/ld-musl-aarch64.so.1"];
        let has = |loaders: [&str; 2]| loaders.iter().any(|loader| root.join(loader).exists());
        if !has(glibc) && has(musl) { Self::Musl } else { Self::Glibc }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arch = match self.arch {
            Arch::X86_64 => "x86_64",
            Arch::Aarch64 => "aarch64",
        };
        let libc = match self.libc {
            Libc::Glibc => "glibc",
            Libc::Musl => "musl",
        };
        write!(f, "{arch} with {libc}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_c_library_is_told_by_the_loader_and_glibc_wins() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(Libc::of_system(root.path()), Libc::Glibc);
        std::fs::create_dir(root.path().join("lib")).unwrap();
        std::fs::write(root.path().join("lib/ld-musl-x86_64.so.1"), "").unwrap();
        assert_eq!(Libc::of_system(root.path()), Libc::Musl);
        std::fs::create_dir(root.path().join("lib64")).unwrap();
        std::fs::write(root.path().join("lib64/ld-linux-x86-64.so.2"), "").unwrap();
        assert_eq!(Libc::of_system(root.path()), Libc::Glibc);
    }
}
