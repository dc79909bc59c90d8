//! A signed archive of packages that are built for the test.

// Each target uses its part.
#![allow(dead_code, reason = "shared by test targets that each use a part")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::debian_root::run;

/// A package to build.
#[derive(Clone, Default)]
pub struct Deb {
    pub name: String,
    pub version: String,
    pub arch: String,
    /// More lines for the control file.
    pub fields: String,
    /// Path and contents. What is under `/etc` is a configuration file.
    pub files: Vec<(String, String)>,
    /// Name (postinst, config, triggers…) and contents.
    pub scripts: Vec<(&'static str, String)>,
}

pub fn deb(name: &str, version: &str) -> Deb {
    let document = (format!("/usr/share/doc/{name}/version"), format!("{version}\n"));
    Deb {
        name: name.to_owned(),
        version: version.to_owned(),
        arch: "all".to_owned(),
        files: vec![document],
        ..Deb::default()
    }
}

impl Deb {
    pub fn arch(mut self, arch: &str) -> Self {
        arch.clone_into(&mut self.arch);
        self
    }

    pub fn field(mut self, line: &str) -> Self {
        self.fields.push_str(line);
        self.fields.push('\n');
        self
    }

    pub fn file(mut self, path: &str, contents: &str) -> Self {
        self.files.push((path.to_owned(), contents.to_owned()));
        self
    }

    /// A script of the package; `text` follows the line that names the shell.
    pub fn script(mut self, name: &'static str, text: &str) -> Self {
        let text = if matches!(name, "templates" | "triggers") {
            text.to_owned()
        } else {
            format!("#!/bin/sh\nset -e\n{text}\n")
        };
        self.scripts.push((name, text));
        self
    }

    /// Builds it into `folder`; the file.
    pub fn build(&self, folder: &Path) -> PathBuf {
        let tree = tempfile::tempdir().unwrap();
        let control = tree.path().join("DEBIAN");
        fs::create_dir(&control).unwrap();
        fs::set_permissions(tree.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(&control, fs::Permissions::from_mode(0o755)).unwrap();
        let fields = format!(
            "Package: {}\nVersion: {}\nArchitecture: {}\nMaintainer: Test <test@example.org>\nInstalled-Size: 8\n{}\
             Description: made for a test\n",
            self.name, self.version, self.arch, self.fields
        );
        fs::write(control.join("control"), fields).unwrap();
        let mut conffiles = String::new();
        for (path, contents) in &self.files {
            let file = tree.path().join(path.trim_start_matches('/'));
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, contents).unwrap();
            if path.starts_with("/etc/") {
                conffiles.push_str(&format!("{path}\n"));
            }
        }
        if !conffiles.is_empty() {
            fs::write(control.join("conffiles"), conffiles).unwrap();
        }
        for (name, text) in &self.scripts {
            fs::write(control.join(name), text).unwrap();
            fs::set_permissions(control.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        let file = folder.join(format!("{}_{}_{}.deb", self.name, self.version, self.arch));
        run(Command::new("dpkg-deb").args(["--root-owner-group", "-Znone", "--build"]).arg(tree.path()).arg(&file));
        file
    }
}

/// A key that signs archives, made for the test.
pub struct Key(tempfile::TempDir);

impl Key {
    pub fn new() -> Self {
        let key = Self(tempfile::tempdir().unwrap());
        run(key.gpg().args([
            "--passphrase",
            "",
            "--quick-generate-key",
            "test@example.org",
            "ed25519",
            "sign",
            "never",
        ]));
        key
    }

    fn gpg(&self) -> Command {
        let mut command = Command::new("gpg");
        command.arg("--homedir").arg(self.0.path()).args(["--batch", "--yes", "--quiet"]);
        command
    }

    /// The public half, as apt reads it.
    pub fn public(&self) -> Vec<u8> {
        let file = self.0.path().join("public.gpg");
        run(self.gpg().arg("--output").arg(&file).arg("--export"));
        fs::read(file).unwrap()
    }

    /// Lists the packages in `folder` as a flat archive, and signs the list.
    pub fn publish(&self, folder: &Path, suite: &str) {
        let packages = run(Command::new("apt-ftparchive").current_dir(folder).args(["packages", "."]));
        fs::write(folder.join("Packages"), packages).unwrap();
        for file in ["Release", "InRelease"] {
            let _ = fs::remove_file(folder.join(file));
        }
        let options = [("Suite", suite), ("Codename", suite), ("Origin", "Test"), ("Label", "Test")];
        let mut command = Command::new("apt-ftparchive");
        for (name, value) in options {
            command.arg("-o").arg(format!("APT::FTPArchive::Release::{name}={value}"));
        }
        let release = run(command.current_dir(folder).args(["release", "."]));
        fs::write(folder.join("Release"), release).unwrap();
        run(self.gpg().arg("--clearsign").arg("--output").arg(folder.join("InRelease")).arg(folder.join("Release")));
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf").arg("--homedir").arg(self.0.path()).args(["--kill", "gpg-agent"]).status();
    }
}
