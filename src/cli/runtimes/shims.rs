//! `omg shims`: programs for editors and cron, which have no hook
//!
//! A shim is a link to this program by the name of another one. Run by that name, it becomes the one of the version that
//! the working directory asks for.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};
use serde_json::json;

use super::super::Failure;
use super::super::output::format::counted;
use super::super::output::{BAD, NAME, Output, WARN};
use super::exec::{command, refused};
use super::here::{Here, not_installed, problem};
use crate::dbus::client::ErrorKind;
use crate::runtime::environment::{Manual, PROGRAM_FOLDERS};
use crate::runtime::{Native, Runtime};

/// This program's own names begin with it: none of them is a shim's.
const OWN: &str = "omg";

/// Longest name of a shim, bytes.
const MAX_NAME: usize = 64;

#[derive(Debug, Args)]
pub struct Shims {
    /// Folder for them; without it `shims` in the data folder, where those of programs that are gone are removed.
    #[arg(long, value_name = "D", value_hint = ValueHint::DirPath)]
    pub dir: Option<PathBuf>,
}

/// What was done with the shims of a folder.
#[derive(Debug, Default, PartialEq, Eq)]
struct Done {
    written: Vec<String>,
    removed: Vec<String>,
    /// Something else has that name.
    refused: Vec<String>,
}

pub fn run(shims: &Shims, out: &mut Output) -> Result<(), Failure> {
    let here = Here::look(Manual::new());
    let own = here.paths.data_dir.join("shims");
    let folder = shims.dir.clone().unwrap_or_else(|| own.clone());
    let failed = |error: io::Error| Failure::Internal(format!("cannot write shims into {folder:?}: {error}"));
    let program = std::env::current_exe().map_err(failed)?;
    let names: BTreeSet<_> = Native::ALL.into_iter().flat_map(|native| programs(&here, native)).collect();
    let done = write(&folder, &program, &names, folder == own).map_err(failed)?;
    if out.is_json() {
        out.json(&json!({
            "folder": folder.to_string_lossy(), "shims": done.written, "removed": done.removed, "refused": done.refused,
        }));
    } else if !out.quiet() {
        out.styled(NAME, &folder.to_string_lossy());
        out.line(&format!(": {}", counted(done.written.len() as u64, "program")));
    }
    for name in &done.refused {
        out.note(WARN, &format!("{} is something else and stays", folder.join(name).display()));
    }
    if done.refused.is_empty() { Ok(()) } else { Err(Failure::Reported(ErrorKind::Failed.exit_code())) }
}

/// Names of the programs of every installed version.
fn programs(here: &Here, native: Native) -> BTreeSet<String> {
    let runtime = Runtime::from(native);
    let versions = here.layout.installed(&runtime).unwrap_or_default();
    let roots = versions.iter().map(|version| here.layout.folder(&runtime, version));
    let folders = roots.flat_map(|root| PROGRAM_FOLDERS.iter().map(move |folder| root.join(folder)));
    let entries = folders.filter_map(|folder| fs::read_dir(folder).ok()).flat_map(Iterator::flatten);
    let names =
        entries.filter(|entry| is_program(&entry.path())).filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| is_name(name)).collect()
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|status| status.is_file() && status.permissions().mode() & 0o111 != 0)
}

/// Whether a shim may have the name.
fn is_name(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte);
    let starts = name.starts_with(|first: char| first.is_ascii_alphanumeric());
    starts && name.len() <= MAX_NAME && name.bytes().all(letter) && !name.starts_with(OWN)
}

fn write(folder: &Path, program: &Path, names: &BTreeSet<String>, is_own: bool) -> io::Result<Done> {
    fs::create_dir_all(folder)?;
    let mut done = Done::default();
    for name in names {
        let path = folder.join(name);
        match fs::symlink_metadata(&path) {
            Ok(_) if !is_shim(&path, program) => done.refused.push(name.clone()),
            Ok(_) if fs::read_link(&path)? == program => done.written.push(name.clone()),
            Ok(_) => {
                // At no moment is there none.
                let new = folder.join(format!(".{OWN}-{}-{name}", std::process::id()));
                symlink(program, &new)?;
                fs::rename(&new, &path)?;
                done.written.push(name.clone());
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                symlink(program, &path)?;
                done.written.push(name.clone());
            }
            Err(error) => return Err(error),
        }
    }
    if is_own {
        for entry in fs::read_dir(folder)?.flatten() {
            let Ok(name) = entry.file_name().into_string() else { continue };
            if !names.contains(&name) && is_name(&name) && is_shim(&entry.path(), program) {
                fs::remove_file(entry.path())?;
                done.removed.push(name);
            }
        }
        done.removed.sort();
    }
    Ok(done)
}

/// Whether it is a link to this program, here or where it was before.
fn is_shim(path: &Path, program: &Path) -> bool {
    fs::read_link(path).is_ok_and(|target| target == program || target.file_name() == Some(OsStr::new(OWN)))
}

/// Whose shim this process was started as, by the name it was called by.
pub fn called_as(argument: &OsStr) -> Option<OsString> {
    let name = Path::new(argument).file_name()?;
    name.to_str().is_some_and(is_name).then(|| name.to_owned())
}

/// Becomes the program of that name; comes back only when that fails.
pub fn run_as(name: &OsStr, arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let mut out = Output::new(false, false, anstream::ColorChoice::Auto);
    let here = Here::look(Manual::new());
    match find(&here, name) {
        Ok(program) => {
            let error = command(&here, program.as_os_str()).args(arguments).exec();
            refused(program.as_os_str(), error.kind(), &error.to_string(), &mut out).exit_code()
        }
        Err(text) => {
            out.note(BAD, &text);
            127
        }
    }
}

/// The program of a version that is used; otherwise the next on PATH that is no shim, unless it is one of a version
/// that is asked for and missing, or asked for in a way that cannot be read: another version would be worse than none.
fn find(here: &Here, name: &OsStr) -> Result<PathBuf, String> {
    let is_of = |native: Native| {
        name.to_str().is_some_and(|name| main_programs(native).contains(&name) || programs(here, native).contains(name))
    };
    let mut its = Native::ALL.into_iter().filter(|native| is_of(*native));
    if let Some(unsettled) = its.find_map(|native| here.environment.unsettled_of(&native.into())) {
        return Err(problem(unsettled));
    }
    let ours = here.environment.folders();
    if let Some(program) = ours.iter().map(|folder| folder.join(name)).find(|path| is_program(path)) {
        return Ok(program);
    }
    for missing in &here.environment.missing {
        if missing.runtime.native().is_some_and(is_of) {
            return Err(not_installed(missing));
        }
    }
    let this = std::env::current_exe().and_then(fs::canonicalize).ok();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let others = path.as_bytes().split(|byte| *byte == b':').filter(|folder| folder.starts_with(b"/"));
    let mut others =
        others.map(|folder| Path::new(OsStr::from_bytes(folder)).join(name)).filter(|path| is_program(path));
    // Neither this program nor another omg: they would start each other for ever.
    let is_omg = |path: &PathBuf| {
        path.canonicalize().is_ok_and(|path| Some(&path) == this.as_ref() || path.file_name() == Some(OsStr::new(OWN)))
    };
    let other = others.find(|path| !is_omg(path));
    other.ok_or_else(|| format!("no version that is used here has a program {name:?}: `omg env --json` lists them"))
}

/// What everybody expects of a runtime.
fn main_programs(native: Native) -> &'static [&'static str] {
    match native {
        Native::Node => &["node", "npm", "npx", "corepack"],
        Native::Python => &["python", "python3", "pip", "pip3"],
        Native::Go => &["go", "gofmt"],
        Native::Rust => &["rustc", "cargo", "rustdoc", "rustfmt"],
        Native::Ruby => &["ruby", "gem", "bundle", "irb", "rake"],
        Native::Java => &["java", "javac", "jar"],
        Native::Bun => &["bun", "bunx"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_links_of_ours_are_replaced_or_removed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        symlink("/old/bin/omg", at("node")).unwrap();
        symlink("/usr/bin/omg", at("gone")).unwrap();
        symlink("/usr/bin/python3", at("python")).unwrap();
        fs::write(at("npm"), "mine").unwrap();
        let program = Path::new("/usr/bin/omg");
        let names = ["node", "npm", "npx", "python"].map(str::to_owned).into();
        let done = write(folder.path(), program, &names, true).unwrap();
        assert_eq!(done.written, ["node", "npx"]);
        assert_eq!(done.refused, ["npm", "python"]);
        assert_eq!(done.removed, ["gone"]);
        assert_eq!(fs::read_link(at("node")).unwrap(), program);
        assert_eq!(fs::read_to_string(at("npm")).unwrap(), "mine");
        assert_eq!(fs::read_link(at("python")).unwrap(), Path::new("/usr/bin/python3"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4);
    }

    #[test]
    fn a_name_is_a_shims_unless_it_is_this_programs_own() {
        assert_eq!(called_as(OsStr::new("/x/shims/node")).as_deref(), Some(OsStr::new("node")));
        assert_eq!(called_as(OsStr::new("python3.12")).as_deref(), Some(OsStr::new("python3.12")));
        for own in ["omg", "/usr/bin/omg", "omg-debug", "", "/", "..", "-bash", "a b", "$(x)"] {
            assert_eq!(called_as(OsStr::new(own)), None, "{own:?}");
        }
    }
}
