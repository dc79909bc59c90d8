//! `omg uninstall` and `omg prune`: versions are removed.

use std::collections::BTreeSet;

use serde::Serialize;

use super::super::Failure;
use super::super::change::steps;
use super::super::output::format::counted;
use super::super::output::{DIM, NAME, Output, WARN};
use super::args::{Prune, Uninstall};
use super::here::{self, Here};
use super::install::{apart, invalid, parse};
use super::tracked;
use crate::dbus::client::{ConnectOptions, ErrorKind};
use crate::runtime::environment::Manual;
use crate::runtime::files::{Problem, Undecided};
use crate::runtime::{Layout, LayoutError, Runtime, Version, files};

#[derive(Serialize)]
struct RemovedLine<'a> {
    runtime: &'a str,
    version: &'a str,
    removed: bool,
}

fn installed(layout: &Layout, runtime: &Runtime) -> Result<Vec<Version>, Failure> {
    let failed = |error: std::io::Error| Failure::Internal(format!("{}: {error}", layout.versions().display()));
    layout.installed(runtime).map_err(failed)
}

/// `omg uninstall`
///
/// # Errors
/// When it is not installed, could be several, or is the current version.
pub fn run(options: &ConnectOptions, wanted: &Uninstall, out: &mut Output) -> Result<(), Failure> {
    let (name, version) = apart(&wanted.runtime, wanted.version.as_deref())?;
    let runtime = Runtime::parse(name).map_err(|error| invalid(error.to_string()))?;
    let layout = Layout::new(&here::paths().data_dir);
    let versions = installed(&layout, &runtime)?;
    let given = version.ok_or_else(|| match versions.is_empty() {
        true => Failure::NotFound(format!("no version of {runtime} is installed; omg remove removes packages")),
        false => invalid(format!("which version of {runtime}? omg list {runtime} lists them")),
    })?;
    let (_, request) = parse(name, given)?;
    let exact = versions.iter().find(|version| version.as_str() == given);
    let matching: Vec<&Version> = match exact {
        Some(version) => vec![version],
        None => layout.all_of(&runtime, &versions, &request),
    };
    if matching.is_empty() {
        let there: Vec<&str> = versions.iter().map(Version::as_str).collect();
        let there = match there.as_slice() {
            [] => ", nor is any other version".to_owned(),
            there => format!("; installed: {}", there.join(", ")),
        };
        return Err(Failure::NotFound(format!("{runtime} {request} is not installed{there}")));
    }
    if matching.len() > 1 && !wanted.all {
        let names: Vec<&str> = matching.iter().map(|version| version.as_str()).collect();
        let text = format!("{runtime} {request} is several versions: {}; name one, or --all", names.join(", "));
        return Err(Failure::Of(ErrorKind::Invalid, text));
    }
    // All of them or none: the daemon is asked for one after the other.
    let current = layout.current(&runtime).ok().flatten();
    if let (false, Some(current)) =
        (wanted.force, matching.iter().copied().find(|version| Some(*version) == current.as_ref()))
    {
        return Err(invalid(LayoutError::Current { runtime, version: current.clone() }.to_string()));
    }
    let doomed: Vec<(Runtime, Version)> =
        matching.into_iter().map(|version| (runtime.clone(), version.clone())).collect();
    remove(options, &doomed, wanted.force, out)
}

fn remove(
    options: &ConnectOptions,
    doomed: &[(Runtime, Version)],
    force: bool,
    out: &mut Output,
) -> Result<(), Failure> {
    super::super::act(options, async |client| {
        for (runtime, version) in doomed {
            client.runtime_uninstall(runtime, version.as_str(), force).await?;
            if out.is_json() {
                let (runtime, version) = (runtime.as_str(), version.as_str());
                out.json(&RemovedLine { runtime, version, removed: true });
            } else if !out.quiet() {
                out.styled(NAME, runtime.as_str());
                out.line(&format!(" {} is removed", version.as_str()));
            }
        }
        Ok(())
    })
}

/// `omg prune`
///
/// # Errors
/// When something cannot be removed.
pub fn prune(options: &ConnectOptions, wanted: &Prune, out: &mut Output) -> Result<(), Failure> {
    let here = Here::look(Manual::new());
    let layout = &here.layout;
    let failed = |error: std::io::Error| Failure::Internal(format!("{}: {error}", layout.versions().display()));
    for runtime in layout.broken().map_err(failed)? {
        out.note(WARN, &format!("the current version of {runtime} is gone"));
    }
    let repair = || layout.repair().map(drop).map_err(|error| Failure::Internal(error.to_string()));
    let runtimes = layout.runtimes().map_err(failed)?;
    let mut kept: BTreeSet<(Runtime, Version)> = BTreeSet::new();
    for runtime in &runtimes {
        kept.extend(layout.current(runtime).map_err(failed)?.map(|version| (runtime.clone(), version)));
    }
    let mut folders = tracked::folders(&here.paths.data_dir);
    folders.push(here.folder.clone());
    let mut open: Vec<Problem> = Vec::new();
    for folder in &folders {
        let found = files::read(folder);
        open.extend(found.problems.into_iter().filter(|problem| problem.undecided != Undecided::Nothing));
        // What loses in one folder wins in the one above it.
        for wish in found.wishes {
            let versions = installed(layout, &wish.runtime)?;
            kept.extend(
                layout.best_of(&wish.runtime, &versions, &wish.request).map(|version| (wish.runtime.clone(), version)),
            );
        }
    }
    kept.extend(here.environment.entries.iter().map(|entry| (entry.runtime.clone(), entry.version.clone())));
    let mut doomed = Vec::new();
    for runtime in runtimes {
        // Any of them may be asked for there.
        if let Some(problem) = open.iter().find(|problem| problem.undecided.covers(&runtime)) {
            out.note(WARN, &format!("no version of {runtime} is removed: {}", here::problem(problem)));
            continue;
        }
        for version in installed(layout, &runtime)? {
            let one = (runtime.clone(), version);
            if !kept.contains(&one) {
                doomed.push(one);
            }
        }
    }
    if doomed.is_empty() {
        if !out.quiet() && !out.is_json() {
            out.note(DIM, "every installed version is the current one, or asked for by a folder that is known");
        }
        return if wanted.dry_run { Ok(()) } else { repair() };
    }
    for (runtime, version) in &doomed {
        if out.is_json() && wanted.dry_run {
            out.json(&RemovedLine { runtime: runtime.as_str(), version: version.as_str(), removed: false });
        } else if !out.is_json() {
            out.line(&format!("{runtime} {}", version.as_str()));
        }
    }
    if wanted.dry_run {
        return Ok(());
    }
    if !wanted.yes {
        if out.is_json() || !steps::is_interactive() {
            let text = "nobody is there to ask: nothing was removed; -y goes on without asking";
            return Err(Failure::Of(ErrorKind::Invalid, text.to_owned()));
        }
        let count = u64::try_from(doomed.len()).unwrap_or(u64::MAX);
        out.prompt(&format!("Remove {}? [y/N]", counted(count, "version")));
        let agreed = super::super::runtime()?.block_on(async {
            let mut interrupts = steps::Interrupts::listen()?;
            steps::agrees(&mut interrupts, false).await
        })?;
        if !agreed {
            return Err(steps::cancelled());
        }
    }
    repair()?;
    remove(options, &doomed, false, out)
}
