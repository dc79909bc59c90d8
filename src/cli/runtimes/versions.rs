//! `omg list RUNTIME`: installed versions, or those that can be installed.

use serde::Serialize;

use super::super::Failure;
use super::super::change::steps;
use super::super::output::{Cell, DIM, GOOD, NAME, Output, Table, WARN};
use super::here;
use super::install::invalid;
use crate::dbus::client::{Client, ConnectOptions, ErrorKind};
use crate::dbus::runtimes_client::AvailableVersion;
use crate::runtime::record::Record;
use crate::runtime::{Layout, Release, Request, Runtime, Version};
use crate::transaction::Outcome;

#[derive(Serialize)]
struct InstalledLine<'a> {
    runtime: &'a str,
    version: &'a str,
    current: bool,
    folder: &'a str,
    #[serde(flatten)]
    record: Option<&'a Record>,
}

#[derive(Serialize)]
struct AvailableLine<'a> {
    runtime: &'a str,
    version: &'a str,
    lts: Option<&'a str>,
    date: Option<&'a str>,
    prerelease: bool,
    installed: bool,
}

/// What is installed. Read without the daemon.
///
/// # Errors
/// When the folder cannot be read.
pub fn installed(name: &str, out: &mut Output) -> Result<(), Failure> {
    let runtime = Runtime::parse(name).map_err(|error| invalid(error.to_string()))?;
    let layout = Layout::new(&here::paths().data_dir);
    let failed = |error: std::io::Error| Failure::Internal(format!("{}: {error}", layout.versions().display()));
    let current = layout.current(&runtime).map_err(failed)?;
    let versions = layout.installed(&runtime).map_err(failed)?;
    let as_table = out.is_terminal() && !out.quiet() && !out.is_json();
    let rows: Vec<(&Version, String, Option<Record>)> = versions
        .iter()
        .map(|version| {
            let folder = layout.folder(&runtime, version);
            let record = Record::read(&folder);
            (version, folder.to_string_lossy().into_owned(), record)
        })
        .collect();
    let mut table = Table::new(["VERSION", "", "FROM"]);
    for (version, folder, record) in &rows {
        let is_current = current.as_ref() == Some(version);
        let from = record.as_ref().and_then(|record| record.parts.first()).map_or("", |part| part.url.as_str());
        if out.is_json() {
            let (runtime, version) = (runtime.as_str(), version.as_str());
            out.json(&InstalledLine { runtime, version, current: is_current, folder, record: record.as_ref() });
        } else if out.quiet() {
            out.line(version.as_str());
        } else if as_table {
            let unverified = record.as_ref().is_some_and(|record| record.unverified);
            table.push([
                Cell::new(version.as_str()).styled(NAME),
                match (is_current, unverified) {
                    (_, true) => Cell::new("not verified").styled(WARN),
                    (true, _) => Cell::new("current").styled(GOOD),
                    (false, _) => Cell::new(""),
                },
                Cell::new(from).styled(DIM),
            ]);
        } else {
            out.columns(&[version.as_str(), if is_current { "current" } else { "" }, folder]);
        }
    }
    if as_table && !table.is_empty() {
        table.print(out);
    }
    if !out.is_json() && !out.quiet() {
        if layout.broken().is_ok_and(|broken| broken.contains(&runtime)) {
            out.note(
                WARN,
                &format!("the current version of {runtime} is gone: omg use {runtime} VERSION sets another"),
            );
        }
        if rows.is_empty() {
            here::doubt(&layout, &runtime, out);
            out.note(
                DIM,
                &format!("no version of {runtime} is installed; omg list {runtime} --available lists those there are"),
            );
        }
    }
    Ok(())
}

/// What can be installed.
///
/// # Errors
/// When nobody who knows can be asked, and nothing was found out before.
pub fn available(
    options: &ConnectOptions,
    name: &str,
    matching: Option<&str>,
    everything: bool,
    limit: u32,
    out: &mut Output,
) -> Result<(), Failure> {
    let runtime = Runtime::parse(name).map_err(|error| invalid(error.to_string()))?;
    let wanted = match matching {
        Some(text) => Some(Request::parse(&runtime, text).map_err(|error| invalid(error.to_string()))?),
        None => None,
    };
    let rows = super::super::act(options, async |client| known(client, &runtime, out).await)?;
    let shown = |row: &&AvailableVersion| {
        let is_wanted = match &wanted {
            None => true,
            Some(request) => {
                let lts = (!row.lts.is_empty()).then(|| row.lts.clone());
                Version::parse(&runtime, &row.version).is_ok_and(|version| {
                    let release = Release { lts, is_prerelease: row.is_prerelease, ..Release::of(version) };
                    request.choose(std::slice::from_ref(&release)).is_some()
                })
            }
        };
        is_wanted && (everything || wanted.is_some() || !row.is_prerelease)
    };
    let mut rows: Vec<&AvailableVersion> = rows.iter().filter(shown).collect();
    if let (true, Some(request)) = (rows.is_empty(), &wanted) {
        return Err(Failure::NotFound(format!(
            "there is no {runtime} {request}; omg list {runtime} --available lists those there are"
        )));
    }
    rows.reverse();
    let count = if limit == 0 { usize::MAX } else { usize::try_from(limit).unwrap_or(usize::MAX) };
    let cut = rows.len() > count;
    let as_table = out.is_terminal() && !out.quiet() && !out.is_json();
    let mut table = Table::new(["VERSION", "LTS", "DATE", ""]);
    for row in rows.into_iter().take(count) {
        let some = |text: &'_ str| (!text.is_empty()).then(|| text.to_owned());
        if out.is_json() {
            out.json(&AvailableLine {
                runtime: runtime.as_str(),
                version: &row.version,
                lts: some(&row.lts).as_deref(),
                date: some(&row.date).as_deref(),
                prerelease: row.is_prerelease,
                installed: row.is_installed,
            });
        } else if out.quiet() {
            out.line(&row.version);
        } else if as_table {
            table.push([
                Cell::new(&row.version).styled(NAME),
                Cell::new(&row.lts).styled(GOOD),
                Cell::new(&row.date).styled(DIM),
                Cell::new(if row.is_installed { "installed" } else { "" }),
            ]);
        } else {
            out.columns(&[&row.version, &row.lts, &row.date, if row.is_installed { "installed" } else { "" }]);
        }
    }
    if as_table {
        table.print(out);
    }
    if cut {
        super::super::rows::note_cut(count, out);
    }
    Ok(())
}

/// What is known once whoever knows was asked; what was known before where they do not answer.
async fn known(client: &mut Client, runtime: &Runtime, out: &mut Output) -> Result<Vec<AvailableVersion>, Failure> {
    let mut interrupts = steps::Interrupts::listen()?;
    let job = interrupts.unless(client.runtime_refresh(&[runtime])).await??;
    let outcome = steps::follow_versions(job, &mut interrupts, out).await?;
    match outcome {
        Outcome::Succeeded(_) => Ok(client.runtime_available(runtime).await?),
        Outcome::Cancelled { .. } => Err(steps::cancelled()),
        Outcome::Failed { failure, .. } => match client.runtime_available(runtime).await {
            Ok(rows) if !rows.is_empty() => {
                out.note(WARN, &format!("{}; this is what was known before", failure.message));
                Ok(rows)
            }
            _ => Err(Failure::Of(ErrorKind::of(failure.kind), failure.message)),
        },
    }
}
