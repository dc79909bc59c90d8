//! Marks, holds and the folder of downloaded packages.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use omg::transaction::{Change, Failure, FailureKind, Item};

use super::{Commit, Stop, root};

impl Commit<'_> {
    /// Saves marks, when no change of packages did.
    pub fn save_marks(&self) -> Result<(), Stop> {
        for (change, word) in [(Change::MarkExplicit, "manual"), (Change::MarkDependency, "auto")] {
            let packages = self.full_names(change);
            if packages.is_empty() {
                continue;
            }
            let mut command = Command::new("apt-mark");
            if let Some(root) = root(self.system) {
                command.args(["-o", &format!("Dir={root}")]);
                command.args(["-o", &format!("Dir::State::status={root}/var/lib/dpkg/status")]);
            }
            for option in &self.system.options {
                command.args(["-o", option]);
            }
            command.arg(word).args(packages);
            run(command, "")?;
        }
        Ok(())
    }

    /// Puts packages on hold, or ends that.
    pub fn save_selections(&self) -> Result<(), Stop> {
        let mut selections = String::new();
        for (change, word) in [(Change::Hold, "hold"), (Change::Unhold, "install")] {
            for package in self.full_names(change) {
                selections.push_str(&format!("{package} {word}\n"));
            }
        }
        if selections.is_empty() {
            return Ok(());
        }
        self.locks.let_dpkg_in();
        let mut command = self.dpkg();
        command.arg("--set-selections");
        Ok(run(command, &selections)?)
    }

    /// Deletes downloaded packages and apt's caches, as apt-get clean does. What was deleted goes into `deleted`.
    pub fn clean(&self, deleted: &mut Vec<Item>) -> Result<(), Stop> {
        let planned: Vec<&Item> = self.plan.items.iter().filter(|item| item.change == Change::Clean).collect();
        if planned.is_empty() {
            return Ok(());
        }
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
        deleted.extend(planned.into_iter().cloned());
        Ok(())
    }

    /// dpkg, which finds that this process holds the front end's lock.
    pub fn dpkg(&self) -> Command {
        let mut command = Command::new(self.config.find("Dir::Bin::dpkg", "dpkg"));
        command.args(self.config.find_vector("DPkg::Options")).env("DPKG_FRONTEND_LOCKED", "true");
        command
    }

    fn full_names(&self, change: Change) -> Vec<String> {
        let items = self.plan.items.iter().filter(|item| item.change == change);
        items.map(|item| format!("{}:{}", item.name, item.arch)).collect()
    }
}

/// Runs a program that is given `input` and must succeed.
fn run(mut command: Command, input: &str) -> Result<(), Failure> {
    let name = command.get_program().to_string_lossy().into_owned();
    let failed = |text: String| Failure::new(FailureKind::Internal, format!("{name} failed: {text}"));
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that does not want it says so with its status.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(failed(if said.trim().is_empty() { output.status.to_string() } else { said.trim().replace('\n', "; ") }))
}
