//! `omg use`, and `omg install` without names: versions are installed and used.

use serde::Serialize;

use super::super::Failure;
use super::super::change::steps;
use super::super::output::escape::escape;
use super::super::output::{DIM, GOOD, NAME, Output, WARN};
use super::args::{Getting, Use};
use super::here::{self, Here};
use super::tracked;
use crate::dbus::client::{Client, ConnectOptions, ErrorKind};
use crate::dbus::runtimes_client::InstallOptions;
use crate::runtime::environment::{MANUAL, Manual, parse_manual};
use crate::runtime::{Extras, Layout, Request, Runtime, Version, files};
use crate::status;
use crate::transaction::Outcome;

/// A version, as `--json` has it.
#[derive(Serialize)]
struct InstalledLine<'a> {
    runtime: &'a str,
    version: &'a str,
    folder: &'a str,
    new: bool,
    current: bool,
}

pub fn invalid(text: impl Into<String>) -> Failure {
    Failure::Of(ErrorKind::Invalid, text.into())
}

/// A runtime and what is said of its version, where both are in one word as node@20 too.
///
/// # Errors
/// When a version is given twice.
pub fn apart<'a>(name: &'a str, version: Option<&'a str>) -> Result<(&'a str, Option<&'a str>), Failure> {
    match (name.split_once('@'), version) {
        (Some((name, version)), None) => Ok((name, Some(version))),
        (Some((_, first)), Some(second)) => Err(invalid(format!("two versions, {first:?} and {second:?}: give one"))),
        (None, version) => Ok((name, version)),
    }
}

/// What a name and a version say.
///
/// # Errors
/// When they are none.
pub fn parse(name: &str, version: &str) -> Result<(Runtime, Request), Failure> {
    let runtime = Runtime::parse(name).map_err(|error| invalid(error.to_string()))?;
    let request = Request::parse(&runtime, version).map_err(|error| invalid(error.to_string()))?;
    Ok((runtime, request))
}

/// `omg use`
///
/// # Errors
/// When there is no such version, or it cannot be installed.
pub fn run(options: &ConnectOptions, wanted: &Use, out: &mut Output) -> Result<(), Failure> {
    let paths = here::paths();
    let layout = Layout::new(&paths.data_dir);
    let mut extras = Extras {
        profile: wanted.profile.clone(),
        components: wanted.components.clone(),
        targets: wanted.targets.clone(),
    };
    let (name, version) = apart(&wanted.runtime, wanted.version.as_deref())?;
    let (runtime, request) = match version {
        Some(version) => parse(name, version)?,
        None => {
            let runtime = Runtime::parse(name).map_err(|error| invalid(error.to_string()))?;
            let folder = std::env::current_dir().map_err(|error| Failure::Internal(format!("here: {error}")))?;
            let found = files::read(&folder);
            if let Some(unsettled) = Here::look(Manual::new()).environment.unsettled_of(&runtime) {
                return Err(invalid(here::problem(unsettled)));
            }
            let wish = files::winner(&found, &runtime).ok_or_else(|| {
                Failure::NotFound(format!("no file here asks for a version of {runtime}: omg use {runtime} VERSION"))
            })?;
            if extras.is_empty() {
                extras = wish.extras.clone();
            }
            (runtime, wish.request.clone())
        }
    };
    if request == Request::System && wanted.shell {
        return print_manual(&runtime, request, out);
    }
    if request == Request::System {
        return Err(invalid(format!(
            "there is no version `system` of {runtime} to install: omg uses it where it has none"
        )));
    }
    let here = (!wanted.getting.newest && extras.is_empty() && !request.is_moving())
        .then(|| installed(&layout, &runtime, &request))
        .transpose()?
        .flatten();
    let version = match here {
        Some(version) => {
            if !wanted.shell {
                switch(&layout, &paths.status_file, &runtime, &version)?;
                tell(&layout, &runtime, &version, false, out);
            }
            version
        }
        None => {
            here::doubt(&layout, &runtime, out);
            let how = InstallOptions {
                make_current: !wanted.shell,
                newest: wanted.getting.newest,
                unverified: wanted.getting.allow_unverified,
                extras,
            };
            let versions = [(runtime.clone(), request.to_string())];
            let done = super::super::act(options, async |client| get(client, &versions, &how, out).await)?;
            let version = done.into_iter().next().map(|(_, version, _)| version);
            let version = version.ok_or_else(|| Failure::Internal("the daemon installed nothing".to_owned()))?;
            let version = Version::parse(&runtime, &version).map_err(|error| Failure::Internal(error.to_string()))?;
            if !wanted.shell {
                switch(&layout, &paths.status_file, &runtime, &version)?;
            }
            version
        }
    };
    if wanted.shell {
        only_in_shell(&runtime, &version, out)?;
    } else if !out.quiet() && !out.is_json() {
        overruled(&layout, &runtime, &version, out);
    }
    Ok(())
}

/// Tells what goes before the current version in this shell or folder, if something does and asks for another.
fn overruled(layout: &Layout, runtime: &Runtime, version: &Version, out: &mut Output) {
    let manual = std::env::var_os(MANUAL).map(|text| parse_manual(&text).0).unwrap_or_default();
    let is_other = |request: &Request| {
        *request == Request::System || layout.best(runtime, request).is_ok_and(|best| best.as_ref() != Some(version))
    };
    if let Some(request) = manual.get(runtime) {
        if is_other(request) {
            out.note(WARN, &format!("but this shell has {runtime} {request}, until `unset {MANUAL}`"));
        }
        return;
    }
    let Ok(folder) = std::env::current_dir() else { return };
    let found = files::read(&folder);
    let wishes = files::winners(&found, runtime);
    if let Some(wish) = wishes.first().filter(|_| wishes.iter().all(|wish| is_other(&wish.request))) {
        let file = wish.file.display().to_string();
        let text = format!("but {}:{} asks for {runtime} {} here", escape(&file), wish.line, wish.request);
        out.note(WARN, &format!("{text}: omg pin {runtime} {} changes that", version.as_str()));
    }
}

/// The best installed version that is as asked for.
fn installed(layout: &Layout, runtime: &Runtime, request: &Request) -> Result<Option<Version>, Failure> {
    let unreadable = |error| Failure::Internal(format!("{}: {error}", layout.versions().display()));
    layout.best(runtime, request).map_err(unreadable)
}

/// Makes it the current version, for prompts too: a daemon that runs sees it by itself, and where none runs nobody else would
/// tell them.
fn switch(layout: &Layout, file: &std::path::Path, runtime: &Runtime, version: &Version) -> Result<(), Failure> {
    layout.set_current(runtime, version).map_err(|error| Failure::Internal(error.to_string()))?;
    let Ok(mut shown) = status::read(file) else { return Ok(()) };
    let mut active: Vec<(String, String)> = Vec::new();
    for other in layout.runtimes().unwrap_or_default() {
        if let Ok(Some(current)) = layout.current(&other) {
            active.push((other.as_str().to_owned(), current.as_str().to_owned()));
        }
    }
    let active: Vec<status::Runtime> =
        active.iter().filter_map(|(name, version)| status::Runtime::new(name, version).ok()).collect();
    if shown.runtimes != active {
        shown.runtimes = active;
        // The prompt is late then, and nothing else.
        let _ = status::write_quickly(file, &shown);
    }
    Ok(())
}

fn tell(layout: &Layout, runtime: &Runtime, version: &Version, new: bool, out: &mut Output) {
    let folder = layout.folder(runtime, version);
    line(runtime.as_str(), version.as_str(), &folder.to_string_lossy(), new, true, out);
}

fn line(runtime: &str, version: &str, folder: &str, new: bool, current: bool, out: &mut Output) {
    if out.is_json() {
        out.json(&InstalledLine { runtime, version, folder, new, current });
    } else if !out.quiet() {
        out.styled(NAME, runtime);
        out.text(" ");
        out.styled(GOOD, version);
        out.text(if new { " is installed" } else { " was installed already" });
        out.line(if current { ", and is the current version" } else { "" });
    }
}

/// Says what makes this shell use the version.
fn only_in_shell(runtime: &Runtime, version: &Version, out: &mut Output) -> Result<(), Failure> {
    let request = Request::parse(runtime, version.as_str()).map_err(|error| Failure::Internal(error.to_string()))?;
    print_manual(runtime, request, out)
}

fn print_manual(runtime: &Runtime, request: Request, out: &mut Output) -> Result<(), Failure> {
    let here = Here::look(Manual::from([(runtime.clone(), request)]));
    super::env::print_manual(&here, out)
}

/// Installs through the daemon; what is there now: runtime, version, whether it is new.
async fn get(
    client: &mut Client,
    versions: &[(Runtime, String)],
    how: &InstallOptions,
    out: &mut Output,
) -> Result<Vec<(String, String, bool)>, Failure> {
    let outcome = installed_by(client, versions, how, out).await?;
    let mut done = Vec::new();
    for item in &outcome.applied().items {
        let new = item.from.is_empty();
        line(&item.name, &item.to, &item.repository, new, how.make_current, out);
        done.push((item.name.clone(), item.to.clone(), new));
    }
    succeeded(outcome).map(|()| done)
}

async fn installed_by(
    client: &mut Client,
    versions: &[(Runtime, String)],
    how: &InstallOptions,
    out: &mut Output,
) -> Result<Outcome, Failure> {
    let mut interrupts = steps::Interrupts::listen()?;
    let job = interrupts.unless(client.runtime_install(versions, how)).await??;
    steps::follow_versions(job, &mut interrupts, out).await
}

fn succeeded(outcome: Outcome) -> Result<(), Failure> {
    match outcome {
        Outcome::Succeeded(_) => Ok(()),
        Outcome::Failed { failure, .. } => Err(Failure::Of(ErrorKind::of(failure.kind), failure.message)),
        Outcome::Cancelled { .. } => Err(steps::cancelled()),
    }
}

/// Installs what a command is about to be run with; what comes of it is told on standard error, since standard output is the
/// command's.
pub(super) fn for_command(
    options: &ConnectOptions,
    versions: &[(Runtime, String)],
    out: &mut Output,
) -> Result<(), Failure> {
    super::super::act(options, async |client| {
        let outcome = installed_by(client, versions, &InstallOptions::default(), out).await?;
        if !out.quiet() {
            for item in &outcome.applied().items {
                out.note(DIM, &format!("{} {} is installed", item.name, item.to));
            }
        }
        succeeded(outcome)
    })
}

/// `omg install` without names: everything that the files of this folder ask for.
///
/// # Errors
/// When they ask for nothing, or something cannot be installed.
pub fn project(options: &ConnectOptions, getting: &Getting, out: &mut Output) -> Result<(), Failure> {
    let here = Here::look(Manual::new());
    let found = files::read(&here.folder);
    here::tell(&here.messages_of_files(), out);
    // What it says there would be run by mise, which is never given the file: there is nothing to be trusted.
    for mise in found.mise.iter().filter(|mise| !mise.can_run.is_empty()) {
        let shown = escape(&mise.file.to_string_lossy()).into_owned();
        out.note(DIM, &format!("{shown}: only versions are read; nothing is done about {}", mise.can_run.join(", ")));
    }
    let mut wishes: Vec<&files::Wish> = Vec::new();
    for wish in &found.wishes {
        if !wishes.iter().any(|other| other.runtime == wish.runtime) {
            let all = files::winners(&found, &wish.runtime);
            let count = if wish.weight == files::Weight::Own { all.len() } else { 1 };
            wishes.extend(all.into_iter().take(count));
        }
    }
    wishes.retain(|wish| wish.request != Request::System);
    if wishes.is_empty() {
        if here.environment.unsettled().next().is_some() {
            return Err(invalid("what the files here ask for is nothing that can be installed"));
        }
        let text = "no file here asks for a version of a runtime; omg install PACKAGES installs packages";
        return Err(Failure::NotFound(text.to_owned()));
    }
    tracked::remember(&here.paths.data_dir, &here.folder);
    // What belongs to one of them is not asked of the others.
    let (with, without): (Vec<_>, Vec<_>) = wishes.into_iter().partition(|wish| !wish.extras.is_empty());
    let orders = |wishes: &[&files::Wish]| -> Vec<(Runtime, String)> {
        wishes.iter().map(|wish| (wish.runtime.clone(), wish.request.to_string())).collect()
    };
    let how = InstallOptions {
        make_current: false,
        newest: getting.newest,
        unverified: getting.allow_unverified,
        extras: Extras::default(),
    };
    super::super::act(options, async |client| {
        let extras = with.first().map(|wish| wish.extras.clone()).unwrap_or_default();
        // There is one runtime only that has such.
        let all: Vec<&files::Wish> = without.iter().chain(&with).copied().collect();
        get(client, &orders(&all), &InstallOptions { extras, ..how }, out).await
    })?;
    if !out.quiet() && !out.is_json() && here.environment.entries.is_empty() {
        out.note(DIM, "eval \"$(omg hook bash)\" (or zsh, fish) puts them on PATH in this folder");
    }
    match here.environment.unsettled().next() {
        Some(unsettled) => Err(invalid(format!("left out was what cannot be read: {}", here::problem(unsettled)))),
        None => Ok(()),
    }
}
