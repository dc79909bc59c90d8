//! Marks, holds and the folder of downloaded packages.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use omg::transaction::{Change, Failure, FailureKind, Item};

use super::{Commit, Stop, root};

impl Commit<'_> {
    /// Has apt-mark save marks and holds: it knows how to tell dpkg of packages that are not installed.
    pub fn mark(&self, change: Change) -> Result<(), Stop> {
        let word = match change {
            Change::MarkExplicit => "manual",
            Change::MarkDependency => "auto",
            Change::Hold => "hold",
            _ => "unhold",
        };
        let items = self.plan.items.iter().filter(|item| item.change == change);
        let packages: Vec<String> = items.map(|item| format!("{}:{}", item.name, item.arch)).collect();
        if packages.is_empty() {
            return Ok(());
        }
        self.locks.let_dpkg_in();
        let mut command = Command::new("apt-mark");
        if let Some(root) = root(self.system) {
            command.args(["-o", &format!("Dir={root}")]);
            command.args(["-o", &format!("Dir::State::status={root}/var/lib/dpkg/status")]);
            command.args(["-o", &format!("DPkg::Options::=--root={root}")]);
        }
        for option in &self.system.options {
            command.args(["-o", option]);
        }
        command.arg(word).args(packages).env("DPKG_FRONTEND_LOCKED", "true");
        Ok(run(command)?)
    }

    /// Deletes downloaded packages and apt's caches, as apt-get clean does. What was deleted goes into `deleted`.
    pub fn clean(&self, deleted: &mut Vec<Item>) -> Result<(), Stop> {
        let archives = PathBuf::from(self.config.dir("Dir::Cache::Archives", "/var/cache/apt/archives/"));
        for folder in [archives.clone(), archives.join("partial")] {
            for entry in fs::read_dir(&folder)? {
                let entry = entry?;
                let name = entry.file_name();
                if name != "lock" && name != "partial" && name != "lost+found" && !entry.file_type()?.is_dir() {
                    fs::remove_file(entry.path())?;
                }
            }
        }
        for cache in ["Dir::Cache::pkgcache", "Dir::Cache::srcpkgcache"] {
            let path = self.config.file(cache, "");
            if !path.is_empty()
                && let Err(error) = fs::remove_file(&path)
                && error.kind() != std::io::ErrorKind::NotFound
            {
                return Err(error.into());
            }
        }
        deleted.extend(self.plan.items.iter().filter(|item| item.change == Change::Clean).cloned());
        Ok(())
    }

    /// dpkg, which finds that this process holds the front end's lock.
    pub fn dpkg(&self) -> Command {
        let mut command = Command::new(self.config.find("Dir::Bin::dpkg", "dpkg"));
        command.args(self.config.find_vector("DPkg::Options")).env("DPKG_FRONTEND_LOCKED", "true");
        command
    }
}

/// Runs a program that must succeed.
fn run(mut command: Command) -> Result<(), Failure> {
    let name = command.get_program().to_string_lossy().into_owned();
    let failed = |text: String| Failure::new(FailureKind::Internal, format!("{name} failed: {text}"));
    let output = command.stdin(Stdio::null()).output().map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(failed(if said.trim().is_empty() { output.status.to_string() } else { said.trim().replace('\n', "; ") }))
}
