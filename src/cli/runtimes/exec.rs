//! `omg exec`: runs a command with versions in front of PATH

use std::ffi::{OsStr, OsString};
use std::io::ErrorKind as Io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use clap::{Args, ValueHint};

use super::super::Failure;
use super::super::output::{BAD, Output};
use super::here::{Here, not_installed, parse_named, problem, tell};
use super::install::{for_command, invalid};
use crate::dbus::client::{ConnectOptions, ErrorKind};
use crate::runtime::Runtime;
use crate::runtime::environment::{MANUAL, Manual, Missing, Place, manual_text};

/// As shells have it: the command was not found, or could not be run.
const NOT_FOUND: u8 = 127;
const NOT_RUN: u8 = 126;

#[derive(Debug, Args)]
pub struct Exec {
    /// Fail where a named version is missing, and do not install it.
    #[arg(long)]
    pub no_install: bool,
    /// Versions that go before those that the folder asks for, as node@20; what is missing of them is installed first.
    #[arg(value_name = "RUNTIME@VERSION", value_hint = ValueHint::Other)]
    pub runtimes: Vec<String>,
    /// The command and its arguments.
    #[arg(last = true, required = true, value_name = "COMMAND", value_hint = ValueHint::CommandWithArguments)]
    pub command: Vec<OsString>,
}

/// Becomes the command; comes back only when that fails.
pub fn run(options: &ConnectOptions, exec: &Exec, out: &mut Output) -> Result<(), Failure> {
    let named = exec.runtimes.iter().map(|text| parse_named(text)).collect::<Result<Manual, _>>()?;
    let mut here = Here::look(named.clone());
    // Whoever names some asks for these; the folder's others are there if they are installed.
    let is_asked = |missing: &&Missing| named.is_empty() || named.contains_key(&missing.runtime);
    let of_those = |here: &Here| here.environment.missing.iter().filter(is_asked).cloned().collect::<Vec<_>>();
    let mut missing = of_those(&here);
    // What a folder asks for is installed by `omg install`, where somebody decides to.
    if !missing.is_empty() && !named.is_empty() && !exec.no_install {
        let wanted: Vec<(Runtime, String)> =
            missing.into_iter().map(|missing| (missing.runtime, missing.request.to_string())).collect();
        for_command(options, &wanted, out)?;
        here = Here::look(named.clone());
        missing = of_those(&here);
    }
    if !missing.is_empty() {
        return Err(Failure::Of(ErrorKind::NotFound, missing.iter().map(not_installed).collect::<Vec<_>>().join("\n")));
    }
    // As a version that is missing: the default is none that was asked for.
    let unsettled: Vec<String> = here.environment.unsettled().map(problem).collect();
    if !unsettled.is_empty() && named.is_empty() {
        let advice = "nothing was run: mend it, or name versions, as omg exec node@20 -- COMMAND";
        return Err(invalid(format!("{}\n{advice}", unsettled.join("\n"))));
    }
    if !out.quiet() {
        tell(&here.messages(), out);
    }
    let Some((program, arguments)) = exec.command.split_first() else { return Ok(()) };
    let mut command = command(&here, program);
    if !named.is_empty() {
        // A shell below this keeps them, too.
        command.env(MANUAL, manual_text(&here.manual));
    }
    out.flush();
    let error = command.args(arguments).exec();
    Err(refused(program, error.kind(), &error.to_string(), out))
}

/// The program in the environment of the folder.
pub(super) fn command(here: &Here, program: &OsStr) -> Command {
    let changes = here.environment.changes(&here.versions, Place::Front, |name| std::env::var_os(name));
    let mut command = Command::new(program);
    if let Some(path) = changes.path {
        command.env("PATH", path);
    }
    for (name, value) in changes.variables {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

/// Tells why a command does not run; the exit code is a shell's.
pub(super) fn refused(program: &OsStr, kind: Io, error: &str, out: &mut Output) -> Failure {
    let (code, text) = match kind {
        Io::NotFound => (NOT_FOUND, format!("there is no command {program:?}")),
        _ => (NOT_RUN, format!("cannot run {program:?}: {error}")),
    };
    out.note(BAD, &text);
    Failure::Reported(code)
}
