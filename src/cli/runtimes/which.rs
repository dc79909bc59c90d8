//! `omg which` and `omg current`: which versions are used here, and why.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::super::Failure;
use super::super::output::format::utc;
use super::super::output::{BAD, Cell, DIM, GOOD, NAME, Output, Table, WARN};
use super::args::{Current, Which};
use super::here::{Here, not_installed, problem, tell};
use super::install::invalid;
use crate::dbus::client::ErrorKind;
use crate::runtime::environment::{Entry, Manual, Missing, Why};
use crate::runtime::record::Record;
use crate::runtime::{Runtime, files};

#[derive(Serialize)]
struct WhichLine<'a> {
    program: &'a str,
    path: &'a str,
    runtime: &'a str,
    version: &'a str,
    #[serde(flatten)]
    reason: Reason,
    overridden: Vec<Overridden>,
    #[serde(flatten)]
    record: Option<&'a Record>,
}

#[derive(Serialize)]
struct CurrentLine<'a> {
    runtime: &'a str,
    version: Option<&'a str>,
    folder: Option<String>,
    #[serde(flatten)]
    reason: Reason,
}

#[derive(Serialize)]
struct Reason {
    why: &'static str,
    request: Option<String>,
    file: Option<String>,
    line: Option<u32>,
}

#[derive(Serialize)]
struct Overridden {
    request: String,
    file: String,
    line: u32,
}

impl Reason {
    fn new(why: &Why, request: Option<String>) -> Self {
        match why {
            Why::Manual => Self { why: "manual", request, file: None, line: None },
            Why::Default => Self { why: "default", request, file: None, line: None },
            Why::File { file, line } => {
                Self { why: "file", request, file: Some(file.to_string_lossy().into_owned()), line: Some(*line) }
            }
        }
    }

    fn text(&self) -> String {
        match (&self.file, self.line) {
            (Some(file), Some(line)) => {
                let request = self.request.as_deref().unwrap_or_default();
                format!("{file}:{line} asks for {request}")
            }
            _ if self.why == "manual" => {
                format!("{} is chosen for this shell (OMG_USE)", self.request.as_deref().unwrap_or_default())
            }
            _ => "the current version, as no file that can be read asks for another".to_owned(),
        }
    }
}

/// The program in the folders of this version, if it has one of this name.
fn program(entry: &Entry, name: &str) -> Option<PathBuf> {
    entry.folders().map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// What a runtime's own program is called.
fn main_program(runtime: &Runtime) -> &str {
    match runtime.as_str() {
        "rust" => "rustc",
        name => name,
    }
}

/// `omg which`
///
/// # Errors
/// When no version here has such a program.
pub fn which(which: &Which, out: &mut Output) -> Result<(), Failure> {
    if which.name.is_empty() || which.name.contains('/') {
        return Err(invalid(format!("{:?} is no name of a program", which.name)));
    }
    let here = Here::look(Manual::new());
    let environment = &here.environment;
    let by_program = environment.entries.iter().find_map(|entry| Some((entry, program(entry, &which.name)?)));
    let runtime = Runtime::parse(&which.name).ok();
    let found = by_program.or_else(|| {
        let entry = environment.entries.iter().find(|entry| Some(&entry.runtime) == runtime.as_ref())?;
        Some((entry, program(entry, main_program(&entry.runtime)).unwrap_or_else(|| entry.root.clone())))
    });
    if let Some(unsettled) = found.as_ref().and_then(|(entry, _)| environment.unsettled_of(&entry.runtime)) {
        return Err(invalid(problem(unsettled)));
    }
    let Some((entry, path)) = found else {
        tell(&here.messages_of_files(), out);
        let missing = environment.missing.iter().find(|missing| Some(&missing.runtime) == runtime.as_ref());
        let advice = match missing {
            Some(missing) => not_installed(missing),
            None => format!("no version that is used here has a program {:?}; omg current lists them", which.name),
        };
        return Err(Failure::NotFound(advice));
    };
    tell(&here.messages(), out);
    let reason = Reason::new(&entry.why, entry.request.as_ref().map(ToString::to_string));
    let path = path.to_string_lossy().into_owned();
    let record = Record::read(&here.layout.folder(&entry.runtime, &entry.version));
    if out.is_json() {
        let overridden = overridden(&here.folder, entry);
        let overridden = overridden.into_iter().map(|wish| Overridden {
            request: wish.request.to_string(),
            file: wish.file.to_string_lossy().into_owned(),
            line: wish.line,
        });
        out.json(&WhichLine {
            program: &which.name,
            path: &path,
            runtime: entry.runtime.as_str(),
            version: entry.version.as_str(),
            reason,
            overridden: overridden.collect(),
            record: record.as_ref(),
        });
        return Ok(());
    }
    out.line(&path);
    if which.explain {
        out.line(&format!("{} {}: {}", entry.runtime, entry.version.as_str(), reason.text()));
        for wish in overridden(&here.folder, entry) {
            out.line(&format!("not: {}:{} asks for {}", wish.file.display(), wish.line, wish.request));
        }
        match record {
            None => out.line("put there by hand: where it is from is not known"),
            Some(record) => explain(&record, out),
        }
    }
    Ok(())
}

fn explain(record: &Record, out: &mut Output) {
    out.line(&format!("installed {} by {}", utc(record.installed), record.manager));
    for part in &record.parts {
        out.line(&format!("from {} (SHA-256 {})", part.url, part.sha256));
        for check in &part.checks {
            out.line(&format!("  {check}"));
        }
    }
    if record.unverified {
        out.note(WARN, "it was installed although it could not be verified");
    }
}

/// What else asks for a version of this runtime, and is not followed.
fn overridden(folder: &Path, entry: &Entry) -> Vec<files::Wish> {
    let wishes = files::read(folder).wishes.into_iter().filter(|wish| wish.runtime == entry.runtime);
    wishes
        .filter(|wish| !matches!(&entry.why, Why::File { file, line } if *file == wish.file && *line == wish.line))
        .collect()
}

/// `omg current`
///
/// # Errors
/// When something that is asked for is not installed.
pub fn current(current: &Current, out: &mut Output) -> Result<(), Failure> {
    let wanted = match &current.runtime {
        Some(name) => Some(Runtime::parse(name).map_err(|error| invalid(error.to_string()))?),
        None => None,
    };
    let here = Here::look(Manual::new());
    let is_wanted = |runtime: &Runtime| wanted.as_ref().is_none_or(|wanted| wanted == runtime);
    let entries: Vec<&Entry> = here.environment.entries.iter().filter(|entry| is_wanted(&entry.runtime)).collect();
    let missing: Vec<&Missing> = here.environment.missing.iter().filter(|one| is_wanted(&one.runtime)).collect();
    tell(&here.messages_of_files(), out);
    let as_table = out.is_terminal() && !out.quiet() && !out.is_json();
    let mut table = Table::new(["RUNTIME", "VERSION", "WHY"]);
    let rows: Vec<(&str, Option<&str>, Option<String>, Reason)> = entries
        .iter()
        .map(|entry| {
            let reason = Reason::new(&entry.why, entry.request.as_ref().map(ToString::to_string));
            let folder = entry.root.to_string_lossy().into_owned();
            (entry.runtime.as_str(), Some(entry.version.as_str()), Some(folder), reason)
        })
        .chain(missing.iter().map(|missing| {
            let reason = Reason::new(&missing.why, Some(missing.request.to_string()));
            (missing.runtime.as_str(), None, None, reason)
        }))
        .collect();
    let texts: Vec<String> = rows.iter().map(|(.., reason)| reason.text()).collect();
    for ((runtime, version, folder, reason), text) in rows.iter().zip(&texts) {
        if out.is_json() {
            let reason = Reason {
                why: reason.why,
                request: reason.request.clone(),
                file: reason.file.clone(),
                line: reason.line,
            };
            out.json(&CurrentLine { runtime, version: *version, folder: folder.clone(), reason });
        } else if out.quiet() {
            out.line(&format!("{runtime} {}", version.unwrap_or("-")));
        } else if as_table {
            let shown = match version {
                Some(version) => Cell::new(version).styled(GOOD),
                None => Cell::new("not installed").styled(BAD),
            };
            table.push([Cell::new(runtime).styled(NAME), shown, Cell::new(text).styled(DIM)]);
        } else {
            out.columns(&[runtime, version.unwrap_or("-"), text]);
        }
    }
    if as_table && !table.is_empty() {
        table.print(out);
    }
    match (missing.is_empty(), entries.is_empty(), &wanted) {
        (false, ..) => {
            if !out.quiet() && !out.is_json() {
                tell(&missing.iter().map(|missing| not_installed(missing)).collect::<Vec<_>>(), out);
            }
            Err(Failure::Reported(ErrorKind::NotFound.exit_code()))
        }
        (true, true, Some(runtime)) => {
            Err(Failure::NotFound(format!("no version of {runtime} is used here: omg use {runtime} VERSION")))
        }
        (true, true, None) => {
            if !out.quiet() && !out.is_json() {
                out.note(DIM, "no version of a runtime is used here: omg use RUNTIME VERSION");
            }
            Ok(())
        }
        _ => Ok(()),
    }
    .and_then(|()| {
        let unsettled = match &wanted {
            Some(runtime) => here.environment.unsettled_of(runtime),
            None => here.environment.unsettled().next(),
        };
        unsettled.map_or(Ok(()), |_| Err(Failure::Reported(ErrorKind::Invalid.exit_code())))
    })
}
