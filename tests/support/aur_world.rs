//! A machine with pacman, a user who builds, and an AUR.

// Each target uses its part.
#![allow(dead_code, reason = "shared by test targets that each use a part")]

use std::fs;
use std::process::{Command, Output};

use sha2::{Digest as _, Sha256};

use crate::aur_repositories::AurServer;
use crate::debian_root::Machine;
use crate::{pacman_root, pacman_world};

/// Where the user of the machine has what omg keeps.
pub const HOME: &str = "/home/builder";

pub struct World {
    pub machine: Machine,
    pub aur: AurServer,
}

impl World {
    pub fn new() -> Self {
        let machine = pacman_world::machine();
        let (_, programs) = pacman_root::pacman();
        for program in ["omg", "omgd", "omg-helper"] {
            machine.add_program(&programs.join(program), &format!("/usr/bin/{program}"));
        }
        machine.run("useradd", &["--create-home", "--uid", "1000", "builder"]);
        let world = Self { machine, aur: AurServer::start() };
        world.configure("");
        world
    }

    /// Sets omg up, with these lines more about the AUR.
    pub fn configure(&self, more: &str) {
        let text = format!("[aur]\nurl = \"{}\"\n{more}", self.aur.url());
        self.machine.write(&format!("{HOME}/.config/omg/config.toml"), text);
        self.machine.run("chown", &["-R", "builder:builder", HOME]);
    }

    /// Publishes a PKGBUILD with what makepkg itself says about it.
    pub fn publish(&self, base: &str, pkgbuild: &str, files: &[(&str, &str)]) -> String {
        // makepkg wants what it installs and sources to be there.
        for (name, contents) in files {
            self.machine.write(&format!("/var/lib/omgt/{name}"), *contents);
        }
        let srcinfo = self.srcinfo(pkgbuild);
        self.aur.publish(base, &srcinfo, &[files, &[("PKGBUILD", pkgbuild)]].concat())
    }

    pub fn srcinfo(&self, pkgbuild: &str) -> String {
        self.machine.write("/var/lib/omgt/PKGBUILD", pkgbuild);
        self.machine.run("chown", &["-R", "builder", "/var/lib/omgt"]);
        let makepkg =
            "cd /var/lib/omgt && exec setpriv --reuid=1000 --regid=1000 --clear-groups makepkg --printsrcinfo";
        self.machine.run("sh", &["-c", makepkg])
    }

    /// omg as with sudo, by the machine's user.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.machine.command("/usr/bin/omg");
        command.env("SUDO_UID", "1000").env("SUDO_GID", "1000").env("PAGER", "cat").args(arguments);
        command
    }

    /// omg as the machine's user runs it.
    pub fn as_builder(&self, arguments: &[&str]) -> Output {
        let mut command = self.machine.command("/usr/bin/setpriv");
        command.args(["--reuid=1000", "--regid=1000", "--clear-groups", "/usr/bin/omg"]).args(arguments);
        command.env("HOME", HOME).output().unwrap()
    }

    pub fn omg(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    #[track_caller]
    pub fn succeeds(&self, arguments: &[&str]) -> String {
        let output = self.omg(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", told(&output));
        told(&output)
    }

    /// What is installed, and why: `1` as a dependency.
    pub fn installed(&self, name: &str) -> Option<(String, bool)> {
        let output = self.machine.try_run("pacman", &["-Q", name]);
        let explicit = self.machine.try_run("pacman", &["-Qe", name]).status.success();
        let said = String::from_utf8(output.stdout).unwrap();
        said.trim().split_once(' ').map(|(_, version)| (version.to_owned(), explicit))
    }

    pub fn runs(&self, what: &str) -> bool {
        let listed = fs::read_dir(self.machine.path("/proc")).unwrap().flatten();
        listed
            .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
            .any(|line| String::from_utf8_lossy(&line).replace('\0', " ").contains(what))
    }
}

pub fn told(output: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn sha256(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}

/// A PKGBUILD that installs its only source; `more` are more lines of it.
pub fn pkgbuild(name: &str, version: &str, data: &str, more: &str) -> String {
    format!(
        "pkgname={name}\npkgver={version}\npkgrel=1\npkgdesc='a test'\narch=(any)\nurl=https://example.org\nlicense=(MIT)\n\
         source=(data)\nsha256sums=({})\n{more}\n\
         package() {{ install -Dm644 \"$srcdir/data\" \"$pkgdir/usr/share/{name}/data\"; }}\n",
        sha256(data)
    )
}
