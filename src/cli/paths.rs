//! `omg owner` and `omg files`

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::args::{Files, Owner};
use super::output::{BAD, NAME, Output};
use super::{Failure, failure};
use crate::dbus::client::{Client, ErrorKind};

/// What `omg owner --json` prints of each.
#[derive(Serialize)]
struct Owned<'a> {
    path: &'a str,
    package: &'a str,
}

/// What `omg files --json` prints.
#[derive(Serialize)]
struct Listed<'a> {
    package: &'a str,
    files: &'a [String],
}

pub async fn owner(client: &mut Client, owner: &Owner, out: &mut Output) -> Result<(), Failure> {
    let asked: Vec<(String, String)> = owner
        .paths
        .iter()
        .map(|path| {
            let wanted = if owner.repo { path.clone() } else { located(path)? };
            Ok((path.clone(), wanted))
        })
        .collect::<Result<_, Failure>>()?;
    let wanted: Vec<String> = asked.iter().map(|(_, path)| path.clone()).collect();
    let owners = client.owners(&wanted, owner.repo).await?;
    for (path, package) in &owners {
        if out.is_json() {
            out.json(&Owned { path, package });
        } else if out.quiet() {
            out.line(package);
        } else {
            out.styled_columns([(anstyle::Style::new(), path.as_str()), (NAME, package.as_str())]);
        }
    }
    let has = |wanted: &str| {
        let is_it =
            |path: &str| path == wanted || owner.repo && path.trim_matches('/').ends_with(wanted.trim_matches('/'));
        owners.iter().any(|(path, _)| is_it(path))
    };
    let missing: Vec<&str> = asked.iter().filter(|(_, wanted)| !has(wanted)).map(|(path, _)| path.as_str()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let of = if owner.repo { "package of the repositories has" } else { "installed package owns" };
    Err(Failure::Of(ErrorKind::NotFound, format!("no {of} {}", missing.join(", "))))
}

/// The absolute path that is meant: of a file that is there, else of a program of that name.
fn located(path: &str) -> Result<String, Failure> {
    let given = Path::new(path);
    let program = || -> Option<PathBuf> {
        let folders = std::env::var_os("PATH").filter(|_| !path.contains('/'))?;
        std::env::split_paths(&folders).map(|folder| folder.join(path)).find(|file| file.symlink_metadata().is_ok())
    };
    let found = if given.symlink_metadata().is_ok() { None } else { program() };
    let invalid = |text: String| Failure::Of(ErrorKind::Invalid, text);
    let absolute =
        std::path::absolute(found.as_deref().unwrap_or(given)).map_err(|error| invalid(format!("{path}: {error}")))?;
    absolute.into_os_string().into_string().map_err(|_| invalid(format!("{path}: its folder's name is not UTF-8")))
}

pub async fn files(client: &mut Client, files: &Files, out: &mut Output) -> Result<(), Failure> {
    let mut code = 0;
    for name in &files.names {
        let listed = match client.files(name, files.repo).await {
            Ok(listed) => listed,
            // The others have files all the same.
            Err(error) if error.kind() == ErrorKind::NotFound && files.names.len() > 1 => {
                if out.is_json() {
                    failure::print_json(&error.name(), &error.to_string(), out);
                }
                out.note(BAD, &error.to_string());
                code = code.max(error.exit_code());
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        if out.is_json() {
            out.json(&Listed { package: name, files: &listed });
            continue;
        }
        for path in &listed {
            if out.is_closed() {
                return Ok(());
            }
            out.line(path);
        }
    }
    if code == 0 { Ok(()) } else { Err(Failure::Reported(code)) }
}
