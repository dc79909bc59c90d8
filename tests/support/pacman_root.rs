//! Machines with pacman: a debootstrapped Debian that ships Arch's own libalpm, pacman and makepkg, with programs of ours
//! that were built in it. `tests/tiers/pacman-root.sh` makes both.

// Each target uses its part.
#![allow(dead_code, reason = "shared by test targets that each use a part")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::debian_root::{Layers, Machine, run};

/// Where the helper is in the machines.
pub const HELPER: &str = "/usr/libexec/omg-helper";

/// The root, and in it the folder with the programs that were built there.
pub fn pacman() -> (Layers, PathBuf) {
    let cache = std::env::var_os("OMG_TEST_CACHE").map_or_else(|| PathBuf::from("/var/cache/omg-tests"), PathBuf::from);
    let (root, programs) = (cache.join("forky"), cache.join("forky-programs"));
    assert!(programs.join("omg-helper").exists(), "tests/tiers/pacman-root.sh makes {}", programs.display());
    (Layers::of(&root), programs)
}

/// A package to build.
#[derive(Clone, Default)]
pub struct Package {
    pub name: String,
    pub version: String,
    pub arch: String,
    /// More lines for `.PKGINFO`, as `key = value`.
    pub fields: String,
    /// Path and contents.
    pub files: Vec<(String, String)>,
    /// The functions of `.INSTALL`; empty when it has none.
    pub script: String,
}

pub fn package(name: &str, version: &str) -> Package {
    let document = (format!("/usr/share/{name}/version"), format!("{version}\n"));
    Package {
        name: name.to_owned(),
        version: version.to_owned(),
        arch: "any".to_owned(),
        files: vec![document],
        ..Package::default()
    }
}

impl Package {
    /// A line of `.PKGINFO`: `depend`, `optdepend`, `provides`, `conflict`, `replaces`, `group`, `backup`, `license`…
    pub fn field(mut self, key: &str, value: &str) -> Self {
        self.fields.push_str(&format!("{key} = {value}\n"));
        self
    }

    pub fn arch(mut self, arch: &str) -> Self {
        arch.clone_into(&mut self.arch);
        self
    }

    pub fn file(mut self, path: &str, contents: &str) -> Self {
        self.files.push((path.to_owned(), contents.to_owned()));
        self
    }

    /// Functions of `.INSTALL`: `post_install() { …; }`.
    pub fn script(mut self, text: &str) -> Self {
        self.script.push_str(text);
        self.script.push('\n');
        self
    }

    pub fn file_name(&self) -> String {
        format!("{}-{}-{}.pkg.tar", self.name, self.version, self.arch)
    }

    /// Builds it into `folder`; the file.
    pub fn build(&self, folder: &Path) -> PathBuf {
        let tree = tempfile::tempdir().unwrap();
        let size: usize = self.files.iter().map(|(_, contents)| contents.len()).sum();
        let info = format!(
            "pkgname = {0}\npkgbase = {0}\nxdata = pkgtype=pkg\npkgver = {1}\npkgdesc = The {0} of a test\n\
             url = https://example.org/{0}\nbuilddate = 1700000000\npackager = Test <test@example.org>\nsize = {size}\n\
             arch = {2}\n{3}",
            self.name, self.version, self.arch, self.fields
        );
        fs::write(tree.path().join(".PKGINFO"), info).unwrap();
        let mut members = vec![".PKGINFO".to_owned()];
        if !self.script.is_empty() {
            fs::write(tree.path().join(".INSTALL"), &self.script).unwrap();
            members.push(".INSTALL".to_owned());
        }
        for (path, contents) in &self.files {
            let path = path.trim_start_matches('/');
            let file = tree.path().join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, contents).unwrap();
            let top = path.split('/').next().unwrap().to_owned();
            if !members.contains(&top) {
                members.push(top);
            }
        }
        let file = folder.join(self.file_name());
        run(Command::new("tar")
            .args(["--create", "--force-local"])
            .arg("--file")
            .arg(&file)
            .args(["--owner=0", "--group=0", "--mode=u+rwX,go+rX", "--directory"])
            .arg(tree.path())
            .args(members));
        file
    }
}

/// Puts packages into a repository of the machine, under /srv, and lists them in its database.
///
/// The database is at least a second younger than the one it replaces: pacman asks for what changed since, in whole
/// seconds.
pub fn publish(machine: &Machine, repository: &str, packages: &[Package]) {
    let folder = format!("/srv/{repository}");
    fs::create_dir_all(machine.path(&folder)).unwrap();
    let database = format!("{folder}/{repository}.db.tar");
    let modified = |path: &str| fs::metadata(machine.path(path)).and_then(|file| file.modified()).ok();
    let before = modified(&database);
    let mut arguments = vec!["--quiet".to_owned(), database.clone()];
    for package in packages {
        package.build(&machine.path(&folder));
        arguments.push(format!("{folder}/{}", package.file_name()));
    }
    machine.run("repo-add", &arguments.iter().map(String::as_str).collect::<Vec<_>>());
    if let Some(wanted) = before.map(|before| before + Duration::from_secs(1))
        && modified(&database) < Some(wanted)
    {
        fs::File::options().write(true).open(machine.path(&database)).unwrap().set_modified(wanted).unwrap();
    }
}

/// A machine that takes itself for Arch Linux, with our helper.
pub fn machine() -> Machine {
    let (layers, programs) = pacman();
    let machine = Machine::new(&layers);
    machine.add_program(&programs.join("omg-helper"), HELPER);
    machine.run("rm", &["/etc/os-release"]);
    machine.write("/etc/os-release", "NAME=\"Arch Linux\"\nID=arch\n");
    machine
}

/// Sets pacman up with these repositories under /srv; `options` are more lines of its `[options]`.
pub fn configure(machine: &Machine, options: &str, repositories: &[&str]) {
    let mut text = format!("[options]\nArchitecture = x86_64\nDisableSandbox\n{options}\n");
    for repository in repositories {
        text.push_str(&format!("[{repository}]\nServer = file:///srv/{repository}\n"));
    }
    machine.write("/etc/pacman.conf", text);
    for folder in ["/var/lib/pacman", "/var/cache/pacman/pkg", "/etc/pacman.d"] {
        fs::create_dir_all(machine.path(folder)).unwrap();
    }
}
