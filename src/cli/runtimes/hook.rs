//! `omg hook`: scripts for shells, and what they remember between prompts

use std::fs::{self, DirBuilder, File};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::Args;

use super::super::Failure;
use super::super::output::Output;
use super::here::Here;
use super::shell::{Memory, Shell};
use crate::config::Paths;

/// Most files that a hook looks at before each prompt.
const MAX_WATCHED: usize = 16;

/// Most stamps of ended shells that are looked for at once.
const MAX_SWEPT: usize = 512;

#[derive(Debug, Args)]
pub struct Hook {
    pub shell: Shell,
}

/// Prints the script.
pub fn run(hook: &Hook, out: &mut Output) -> Result<(), Failure> {
    let cannot = |error: &str| Failure::Internal(format!("cannot say where this program is: {error}"));
    let program = std::env::current_exe().map_err(|error| cannot(&error.to_string()))?;
    let script = hook.shell.hook(&program).map_err(|_| cannot("its path is not UTF-8"))?;
    if out.is_json() {
        out.json(&serde_json::json!({"script": String::from_utf8_lossy(&script)}));
    } else {
        out.file(&script);
    }
    Ok(())
}

/// The time before which a shell's hook has seen everything: that of a file of its own.
#[derive(Debug)]
pub(super) struct Stamp {
    path: PathBuf,
}

impl Stamp {
    /// Sets the stamp of the shell with this process id to now. Without a runtime folder there is none, and changed
    /// files are noticed on the next change of folders only.
    /// Neither is there one for 0, a subshell.
    pub fn set(paths: &Paths, shell: u32) -> Option<Self> {
        if shell == 0 {
            return None;
        }
        let folder = paths.runtime_dir.as_ref()?.join("omg-shells");
        let path = folder.join(shell.to_string());
        let mut options = File::options();
        options.create(true).write(true).truncate(true).mode(0o600);
        options.custom_flags((rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits().cast_signed());
        if fs::symlink_metadata(&path).is_err() {
            let made = DirBuilder::new().mode(0o700).create(&folder);
            if made.is_err() {
                sweep(&folder);
            }
        }
        let status = fs::symlink_metadata(&folder).ok()?;
        let is_ours = status.is_dir() && status.uid() == rustix::process::geteuid().as_raw();
        if !is_ours || status.mode() & 0o022 != 0 {
            return None;
        }
        let mut file = options.open(&path).ok()?;
        // Written, not only set to the clock's time: files get the time of the same coarser clock.
        file.write_all(b"\n").ok()?;
        Some(Self { path })
    }

    /// What the shell compares with from now on.
    pub fn memory(this: Option<Self>, here: &Here, told: String) -> Memory {
        let Some(stamp) = this else { return Memory { told, ..Memory::default() } };
        let mut watched = Vec::new();
        if is_quiet(&here.folder) {
            watched.push(here.folder.clone());
        }
        watched.extend(here.environment.files.iter().cloned());
        watched.push(here.versions.clone());
        let runtimes = here.layout.runtimes().unwrap_or_default();
        watched.extend(runtimes.iter().map(|runtime| here.versions.join(runtime.as_str())));
        // One with a time to come would be a change at every prompt.
        let now = SystemTime::now();
        watched.retain(|path| fs::metadata(path).and_then(|status| status.modified()).is_ok_and(|at| at <= now));
        watched.truncate(MAX_WATCHED);
        Memory { stamp: Some(stamp.path), watched, told }
    }
}

/// Whether a new file in the folder is an event: not in folders for everybody, nor at home, where shells keep their
/// history and its locks.
fn is_quiet(folder: &Path) -> bool {
    let is_home = std::env::var_os("HOME").is_some_and(|home| Path::new(&home) == folder);
    let is_sticky = fs::metadata(folder).is_ok_and(|status| status.mode() & 0o1000 != 0);
    !is_home && !is_sticky
}

/// Removes the stamps of shells that have ended.
fn sweep(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten().take(MAX_SWEPT) {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            // Another shell's hook may have done it just now.
            let _ = fs::remove_file(entry.path());
        }
    }
}
