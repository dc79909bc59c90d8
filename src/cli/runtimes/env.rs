//! `omg env`: what puts the folder's versions in use, for shells, programs and GitHub Actions

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use clap::Args;
use serde::Serialize;

use super::super::Failure;
use super::super::output::{BAD, Output};
use super::here::{Here, sum, tell};
use super::hook::Stamp;
use super::shell::{ASKING, MARK, Shell, Unsayable};
use super::tracked;
use crate::dbus::client::ErrorKind;
use crate::runtime::environment::{Changes, Entry, Environment, MANUAL, Manual, Missing, Place, Why, manual_text};

#[derive(Debug, Args)]
pub struct Env {
    /// The shell that reads it; without it the one in $SHELL.
    #[arg(long)]
    pub shell: Option<Shell>,
    /// Append it to the files that $GITHUB_PATH and $GITHUB_ENV name, for the next steps of a job.
    #[arg(long, conflicts_with = "shell")]
    pub github: bool,
    /// For the hook of the shell with this process id.
    #[arg(long, value_name = "PID", hide = true)]
    pub hook: Option<u32>,
    /// The messages that this hook has shown.
    #[arg(long, value_name = "SUM", hide = true, default_value = "")]
    pub told: String,
    /// Put the folders in front of PATH.
    #[arg(long, hide = true)]
    pub front: bool,
    /// Put them where they are already.
    #[arg(long, hide = true, conflicts_with = "front")]
    pub kept: bool,
}

pub fn run(env: &Env, out: &mut Output) -> Result<(), Failure> {
    // Before anything is read: what changes meanwhile is newer.
    let stamp = env.hook.map(|shell| Stamp::set(&super::here::paths(), shell));
    let here = Here::look(Manual::new());
    let messages = here.messages();
    let place = if env.kept { Place::Kept } else { Place::Front };
    let changes = here.environment.changes(&here.versions, place, |name| std::env::var_os(name));
    if let Some(stamp) = stamp {
        if !here.environment.files.is_empty() {
            tracked::remember(&here.paths.data_dir, &here.folder);
        }
        let told = sum(&messages);
        if told != env.told && !out.quiet() {
            tell(&messages, out);
        }
        let shell = env.shell.unwrap_or(Shell::Bash);
        let memory = Stamp::memory(stamp, &here, told);
        print(&changes, shell, out);
        // Shells that cannot be told have nothing to remember.
        if let Ok(statements) = shell.remember(&memory) {
            out.file(&statements);
        }
        return Ok(());
    }
    if out.is_json() {
        out.json(&Answer::new(&here.environment, &messages, &changes));
    } else {
        tell(&messages, out);
        if env.github {
            github(&here)?;
        } else {
            print(&changes, env.shell.unwrap_or_else(of_user), out);
        }
    }
    match (here.environment.missing.is_empty(), here.environment.unsettled().next()) {
        (false, _) => Err(Failure::Reported(ErrorKind::NotFound.exit_code())),
        (true, Some(_)) => Err(Failure::Reported(ErrorKind::Invalid.exit_code())),
        (true, None) => Ok(()),
    }
}

/// The user's shell.
fn of_user() -> Shell {
    std::env::var_os("SHELL").and_then(|shell| Shell::of_program(&shell)).unwrap_or(Shell::Bash)
}

fn print(changes: &Changes, shell: Shell, out: &mut Output) {
    let path = changes.path.as_ref().map(|path| ("PATH", Some(path)));
    let variables = changes.variables.iter().map(|(name, value)| (*name, value.as_ref()));
    for (name, value) in path.into_iter().chain(variables) {
        match shell.change(name, value.map(|value| value.as_bytes())) {
            Ok(statement) => out.file(&statement),
            Err(Unsayable) => {
                out.note(BAD, &format!("{name} stays: it is not UTF-8, and this shell cannot be told it"))
            }
        }
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Answer<'a> {
    path: Vec<String>,
    variables: BTreeMap<&'static str, String>,
    runtimes: Vec<Used>,
    missing: Vec<Asked>,
    problems: Vec<Trouble>,
    /// What somebody who enters the folder should know, escaped for a terminal.
    messages: &'a [String],
    changes: Changed,
}

#[derive(Serialize)]
struct Used {
    runtime: String,
    version: String,
    root: String,
    #[serde(flatten)]
    reason: Reason,
}

#[derive(Serialize)]
struct Asked {
    runtime: String,
    request: String,
    #[serde(flatten)]
    reason: Reason,
}

#[derive(Serialize)]
#[serde(tag = "why", rename_all = "lowercase")]
enum Reason {
    Manual,
    File { file: String, line: u32 },
    Default,
}

#[derive(Serialize)]
struct Trouble {
    file: String,
    line: u32,
    message: String,
}

/// What JSON cannot have exactly is left out.
#[derive(Serialize)]
struct Changed {
    path: Option<String>,
    set: BTreeMap<&'static str, String>,
    unset: Vec<&'static str>,
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

impl From<&Why> for Reason {
    fn from(why: &Why) -> Self {
        match why {
            Why::Manual => Self::Manual,
            Why::File { file, line } => Self::File { file: text(file), line: *line },
            Why::Default => Self::Default,
        }
    }
}

impl From<&Missing> for Asked {
    fn from(missing: &Missing) -> Self {
        let Missing { runtime, request, why } = missing;
        Self { runtime: runtime.to_string(), request: request.to_string(), reason: why.into() }
    }
}

impl From<&Entry> for Used {
    fn from(entry: &Entry) -> Self {
        let Entry { runtime, version, root, why, .. } = entry;
        Self { runtime: runtime.to_string(), version: version.to_string(), root: text(root), reason: why.into() }
    }
}

impl<'a> Answer<'a> {
    fn new(environment: &Environment, messages: &'a [String], changes: &Changes) -> Self {
        let exact = |value: &OsString| value.to_str().map(str::to_owned);
        let (variables, problems) = (environment.variables().into_iter(), environment.problems.iter());
        let changed = changes.variables.iter();
        Self {
            path: environment.folders().iter().map(|folder| text(folder)).collect(),
            variables: variables.map(|(name, value)| (name, text(&value))).collect(),
            runtimes: environment.entries.iter().map(Used::from).collect(),
            missing: environment.missing.iter().map(Asked::from).collect(),
            problems: problems
                .map(|problem| Trouble {
                    file: text(&problem.file),
                    line: problem.line,
                    message: problem.message.clone(),
                })
                .collect(),
            messages,
            changes: Changed {
                path: changes.path.as_ref().and_then(exact),
                set: changed.clone().filter_map(|(name, value)| Some((*name, exact(value.as_ref()?)?))).collect(),
                unset: changed.filter(|(_, value)| value.is_none()).map(|(name, _)| *name).collect(),
            },
        }
    }
}

/// Folders have no line breaks here, which these files could not have either.
fn github(here: &Here) -> Result<(), Failure> {
    let folders = here.environment.folders();
    let folders = folders.iter().rev().map(|folder| [folder.as_os_str().as_bytes(), b"\n"].concat());
    let variables = here.environment.variables().into_iter();
    let variables =
        variables.map(|(name, value)| [name.as_bytes(), b"=", value.as_os_str().as_bytes(), b"\n"].concat());
    // The last folder that a job adds comes first.
    append("GITHUB_PATH", &folders.collect::<Vec<_>>().concat())?;
    append("GITHUB_ENV", &variables.collect::<Vec<_>>().concat())
}

fn append(variable: &str, lines: &[u8]) -> Result<(), Failure> {
    let Some(file) = std::env::var_os(variable).filter(|file| !file.is_empty()) else {
        let text = format!("{variable} is not set: --github is for a step of GitHub Actions");
        return Err(Failure::Of(ErrorKind::Invalid, text));
    };
    let written = File::options().append(true).create(true).open(&file).and_then(|mut file| file.write_all(lines));
    written.map_err(|error| Failure::Internal(format!("cannot write to {file:?}: {error}")))
}

/// Prints what makes this shell, and what it starts, use the versions of `here.manual`. For the function `omg` of a hook,
/// which evaluates it, it begins with a mark: nothing else that this program prints does.
pub(super) fn print_manual(here: &Here, out: &mut Output) -> Result<(), Failure> {
    let asking = std::env::var_os(ASKING).and_then(|name| Shell::of_program(&name));
    let shell = asking.unwrap_or_else(of_user);
    let statement = shell.change(MANUAL, Some(manual_text(&here.manual).as_bytes()));
    let statement = statement.map_err(|Unsayable| Failure::Internal(format!("the shell cannot be told {MANUAL}")))?;
    if asking.is_some() {
        out.line(MARK);
    }
    out.file(&statement);
    let changes = here.environment.changes(&here.versions, Place::Front, |name| std::env::var_os(name));
    print(&changes, shell, out);
    Ok(())
}
