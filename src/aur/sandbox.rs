//! Where the code of a PKGBUILD runs: namespaces made by bubblewrap, in which there is the system, for reading, and the
//! folders of one build.
//!
//! Not there: homes, `/run` with its sockets, others' `/tmp`, other processes, and, once the sources are fetched, a network.
//! What still runs when makepkg ends is killed with the namespace. Abstract sockets belong to the network: while sources are
//! fetched, those of the machine can be reached.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use sha2::{Digest as _, Sha256};
use tokio::process::Command;

use super::AurError;
use crate::unit::{self, Unit};

/// Where a build has its folders in the sandbox.
pub const INSIDE: &str = "/build";

/// What can be written to, outside of the sandbox.
#[derive(Debug, Clone)]
pub struct Folders {
    /// With the PKGBUILD (`$startdir`).
    pub start: PathBuf,
    /// `$SRCDEST`.
    pub sources: PathBuf,
    /// `$BUILDDIR`.
    pub work: PathBuf,
    /// `$PKGDEST`.
    pub out: PathBuf,
    /// `$GNUPGHOME`, a copy.
    pub keys: PathBuf,
}

impl Folders {
    fn all(&self) -> [(&Path, &'static str); 5] {
        [
            (&self.start, "start"),
            (&self.sources, "sources"),
            (&self.work, "work"),
            (&self.out, "out"),
            (&self.keys, "keys"),
        ]
    }
}

/// Whether the machine's network is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    Shared,
    None,
}

/// What env(1) ends with where the program is not found.
const NOT_FOUND: i32 = 127;

/// bubblewrap, with everything but the program to run.
fn bubblewrap(network: Network) -> Command {
    // bubblewrap's own environment can be read inside, as that of process 1: it has nothing of the user's either.
    let mut command = Command::new("/usr/bin/env");
    command.args(["-i", "PATH=/usr/local/bin:/usr/bin:/bin"]);
    if network == Network::Shared {
        for name in ["http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy"] {
            if let Ok(value) = std::env::var(name) {
                command.arg(format!("{name}={value}"));
            }
        }
    }
    command.args(["bwrap", "--unshare-user", "--unshare-all"]);
    if network == Network::Shared {
        command.arg("--share-net");
    }
    command.args(["--die-with-parent", "--new-session", "--cap-drop", "ALL", "--hostname", "build"]);
    for folder in ["/usr", "/etc"] {
        command.args(["--ro-bind", folder, folder]);
    }
    for folder in ["/bin", "/sbin", "/lib", "/lib64", "/lib32", "/libx32"] {
        match std::fs::read_link(folder) {
            Ok(target) => command.arg("--symlink").arg(target).arg(folder),
            Err(_) => command.args(["--ro-bind-try", folder, folder]),
        };
    }
    command.args(["--ro-bind-try", "/opt", "/opt"]);
    // makepkg asks pacman whether the dependencies are there.
    command.args(["--ro-bind-try", "/var/lib/pacman", "/var/lib/pacman"]);
    command.args(["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--tmpfs", "/var/tmp", "--dir", "/tmp/home"]);
    if network == Network::Shared {
        // Where /etc/resolv.conf may lead to.
        command.args(["--ro-bind-try", "/run/systemd/resolve", "/run/systemd/resolve"]);
    }
    for (name, value) in [
        (
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin:/usr/bin/site_perl:/usr/bin/vendor_perl:/usr/bin/core_perl",
        ),
        ("HOME", "/tmp/home"),
        ("USER", "build"),
        ("LOGNAME", "build"),
        ("SHELL", "/bin/bash"),
        ("TERM", "dumb"),
        ("LC_ALL", "C.UTF-8"),
        ("GIT_TERMINAL_PROMPT", "0"),
    ] {
        command.args(["--setenv", name, value]);
    }
    command.stdin(Stdio::null()).process_group(0).kill_on_drop(true);
    command
}

/// makepkg in the sandbox, with these arguments.
pub fn makepkg(folders: &Folders, network: Network, arguments: &[&str]) -> Command {
    let mut command = bubblewrap(network);
    for (outside, name) in folders.all() {
        command.arg("--bind").arg(outside).arg(format!("{INSIDE}/{name}"));
    }
    for (name, folder) in [("SRCDEST", "sources"), ("BUILDDIR", "work"), ("PKGDEST", "out"), ("GNUPGHOME", "keys")] {
        command.args(["--setenv", name, &format!("{INSIDE}/{folder}")]);
    }
    command.args(["--remount-ro", "/", "--chdir", &format!("{INSIDE}/start"), "--", "makepkg"]).args(arguments);
    command
}

/// What the names of units start with that builds run in.
const UNIT: &str = "omg-build";

/// Most characters of a package base in the name of a unit, which may have 255.
const MAX_SHOWN: usize = 100;

/// The units in which a base is built in `folder` have names that begin and end with these; in between is what tells one
/// from another.
fn names(base: &str, folder: &Path) -> (String, String) {
    // What units' names and patterns of them give no meaning to.
    let plain = |char: char| if char.is_ascii_alphanumeric() || "._-".contains(char) { char } else { '_' };
    let shown: String = base.chars().take(MAX_SHOWN).map(plain).collect();
    let place = hex::encode(Sha256::digest(folder.as_os_str().as_bytes()));
    (format!("{UNIT}-{shown}"), format!("{}.service", place.get(..16).unwrap_or(&place)))
}

/// Ends what an omg that is gone left running in this folder. Only who holds the folder may ask for that.
pub async fn end_others(base: &str, folder: &Path) {
    let (first, last) = names(base, folder);
    unit::end(&format!("{first}-*-{last}")).await;
}

/// The program in a unit of its own where this process is one of a user manager's: the daemon's own unit allows no
/// namespaces. Elsewhere it stays a child, and ends with this process as well.
pub fn outside(command: Command, base: &str, folder: &Path) -> (Command, Option<Unit>) {
    let (first, last) = names(base, folder);
    unit::outside(command, &first, &last, &format!("Build of {base} for omg"))
}

/// Makes sure that there is a sandbox to be had.
///
/// # Errors
/// Why there is none, and what to do about it.
pub async fn check() -> Result<(), AurError> {
    let mut command = bubblewrap(Network::None);
    command.args(["--", "/usr/bin/env", "true"]);
    let (mut command, mut unit) = outside(command, "nothing", Path::new("/"));
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let output = command.output().await;
    if let Some(unit) = unit.as_mut().filter(|_| output.as_ref().is_ok_and(|output| output.status.code().is_some())) {
        unit.ended();
    }
    let why = match output {
        Ok(output) if output.status.success() => return Ok(()),
        Ok(output) if output.status.code() == Some(NOT_FOUND) => "bwrap is not installed".to_owned(),
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    Err(AurError::Unavailable(format!(
        "PKGBUILDs are built in a sandbox only, and bubblewrap makes none here: {why}; install package bubblewrap, and \
         allow user namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone)"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_units_tell_bases_and_folders_apart() {
        let one = names("libstdc++5", Path::new("/home/one/packages/libstdc++5"));
        assert_eq!(one.0, "omg-build-libstdc__5");
        assert_ne!(one.1, names("libstdc++5", Path::new("/home/two/packages/libstdc++5")).1);
        let long = names(&"x".repeat(255), Path::new("/"));
        assert!(format!("{}-4194304-4294967295-{}", long.0, long.1).len() < 255);
    }
}
