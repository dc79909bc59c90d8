//! What an interrupted transaction left to be done.
//!
//! libalpm takes a package's record away before it unpacks the new version, and writes the new one when that is done: who is
//! killed in between leaves a package without a record, or a record without a description. What was to be done is in the
//! audit log.

use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::{fs, io};

use alpm::{Alpm, Db, Package, SigLevel};
use omg::security::audit::{AuditLog, Readers, SYSTEM_FOLDER, history};
use omg::transaction::{Failure, FailureKind, HistoryEntry, HistoryItem, Resolution, Standing};
use tempfile::TempDir;

use super::super::System;
use super::mark::add_removal;
use super::resolve::{Wanted, usable};
use super::settings::Settings;

/// Folder of the records of installed packages, below the database's.
const LOCAL_RECORDS: &str = "local";

/// Entries of the log that are looked at: the last transaction's and those of refreshes behind it.
const ENTRIES: usize = 64;

/// Adds to the transaction what the last one did not come to, if it was interrupted; otherwise what installed packages lack.
///
/// # Errors
/// When the log cannot be read, or something cannot be added.
pub fn mark(
    handle: &Alpm,
    system: &System,
    settings: &Settings,
    wanted: &Wanted,
    resolution: &mut Resolution,
) -> Result<(), Failure> {
    match interrupted(system)? {
        Some(last) => finish(handle, &last, wanted, resolution),
        // First what keeps everything else from being done.
        None if mends(settings).is_empty() => supply(handle, wanted, resolution),
        None => Ok(()),
    }
}

/// What a repair does besides changing packages: in words, while it is still to be done.
pub fn mends(settings: &Settings) -> Vec<String> {
    let torn = torn(Path::new(&settings.config.db_path)).into_iter().filter_map(|folder| {
        let record = folder.file_name()?.to_string_lossy().into_owned();
        Some(format!("the record of {record} was begun and not written: it is removed; install the package anew"))
    });
    super::locks::left(settings).into_iter().chain(torn).collect()
}

/// Adds what installed packages depend on and is not there.
fn supply(handle: &Alpm, wanted: &Wanted, resolution: &mut Resolution) -> Result<(), Failure> {
    let installed = handle.localdb().pkgs();
    let mut supplied: BTreeSet<&str> = BTreeSet::new();
    let mut are_usable = false;
    for package in installed {
        for dependency in package.depends() {
            let dependency = dependency.to_string();
            if installed.find_satisfier(dependency.as_str()).is_some() {
                continue;
            }
            if !are_usable {
                // What is not in a database that cannot be read may be there all the same.
                usable(handle)?;
                are_usable = true;
            }
            let Some(offered) = handle.syncdbs().find_satisfier(dependency.as_str()) else {
                let name = package.name();
                resolution.notes.push(format!("{name} needs {dependency}, which no repository has; omg remove {name}"));
                continue;
            };
            if supplied.insert(offered.name()) {
                wanted.dependencies.borrow_mut().push(offered.name().to_owned());
                add_package(handle, offered)?;
            }
        }
    }
    Ok(())
}

/// Adds what an interrupted transaction did not come to.
fn finish(handle: &Alpm, last: &HistoryEntry, wanted: &Wanted, resolution: &mut Resolution) -> Result<(), Failure> {
    for item in &last.items {
        let installed = handle.localdb().pkg(item.name.as_str()).ok();
        if item.to.is_empty() {
            if let Some(package) = installed.filter(|package| package.version().as_str() == item.from) {
                add_removal(handle, package)?;
            }
            continue;
        }
        let done = installed.is_some_and(|package| package.version().as_str() == item.to && is_whole(handle, package));
        if !done {
            add(handle, item, wanted, resolution)?;
        }
    }
    Ok(())
}

/// The last transaction, if it was interrupted.
///
/// # Errors
/// When the log cannot be read.
pub fn interrupted(system: &System) -> Result<Option<HistoryEntry>, Failure> {
    let folder = system.root.as_deref().unwrap_or(Path::new("/")).join(SYSTEM_FOLDER);
    let log = AuditLog::new(&folder, Readers::Everyone);
    let entries = log
        .read(ENTRIES)
        .map_err(|error| Failure::new(FailureKind::Internal, format!("what was interrupted is not known: {error}")))?;
    Ok(history(&entries).into_iter().next().filter(|last| last.standing == Standing::Interrupted))
}

fn add(handle: &Alpm, item: &HistoryItem, wanted: &Wanted, resolution: &mut Resolution) -> Result<(), Failure> {
    let offered = handle.syncdbs().into_iter().find_map(|database: &Db| {
        database.pkg(item.name.as_str()).ok().filter(|package| package.version().as_str() == item.to)
    });
    let Some(package) = offered else {
        resolution.notes.push(format!(
            "{} {} was being installed, and no repository has it any more; install it anew",
            item.name, item.to
        ));
        return Ok(());
    };
    let reason = if item.explicit { &wanted.asked_for } else { &wanted.dependencies };
    reason.borrow_mut().push(item.name.clone());
    add_package(handle, package)
}

fn add_package(handle: &Alpm, package: &Package) -> Result<(), Failure> {
    handle.trans_add_pkg(package).map_err(|error| {
        Failure::new(FailureKind::Internal, format!("{} cannot be added: {}", package.name(), error.error))
    })
}

/// Whether a package's record was begun and not written.
pub fn is_torn(handle: &Alpm, package: &Package) -> bool {
    let folder = format!("{}-{}", package.name(), package.version());
    is_torn_record(&Path::new(handle.dbpath()).join(LOCAL_RECORDS).join(folder))
}

/// libalpm writes the description first, then the list of files.
fn is_torn_record(folder: &Path) -> bool {
    let described = folder.join("desc").metadata().is_ok_and(|found| found.len() > 0);
    !described || !folder.join("files").exists()
}

/// Whether a record lists as many files as the package file that it was installed from, if that is still there.
fn is_whole(handle: &Alpm, package: &Package) -> bool {
    let Some(file) = handle.syncdbs().into_iter().find_map(|database| {
        let offered = database.pkg(package.name()).ok()?;
        (offered.version() == package.version()).then(|| offered.filename()).flatten()
    }) else {
        return true;
    };
    let mut cached = handle.cachedirs().into_iter().map(|folder| Path::new(folder).join(file));
    let Some(path) = cached.find(|path| path.exists()) else { return true };
    let loaded = path.to_str().and_then(|path| handle.pkg_load(path, true, SigLevel::NONE).ok());
    loaded.is_none_or(|loaded| loaded.files().files().len() == package.files().files().len())
}

/// The folders of records that were begun and not written.
fn torn(database: &Path) -> Vec<PathBuf> {
    let entries = database.join(LOCAL_RECORDS).read_dir().into_iter().flatten().filter_map(Result::ok);
    entries.map(|entry| entry.path()).filter(|path| path.is_dir() && is_torn_record(path)).collect()
}

/// Removes records that were begun and not written: libalpm works with none of them.
///
/// # Errors
/// When one cannot be removed.
pub fn remove_torn(settings: &Settings) -> io::Result<()> {
    torn(Path::new(&settings.config.db_path)).into_iter().try_for_each(fs::remove_dir_all)
}

/// A database as [`remove_torn`] leaves it, for who may not remove anything: a folder of links to what is whole. `None` when
/// there is nothing to leave out.
///
/// # Errors
/// When it cannot be made.
pub fn without_torn(settings: &Settings) -> io::Result<Option<TempDir>> {
    let database = Path::new(&settings.config.db_path);
    let torn = torn(database);
    if torn.is_empty() {
        return Ok(None);
    }
    let copy = tempfile::Builder::new().prefix("omg-").tempdir()?;
    symlink(database.join("sync"), copy.path().join("sync"))?;
    let records = copy.path().join(LOCAL_RECORDS);
    fs::create_dir(&records)?;
    for entry in fs::read_dir(database.join(LOCAL_RECORDS))? {
        let entry = entry?;
        if !torn.contains(&entry.path()) {
            symlink(entry.path(), records.join(entry.file_name()))?;
        }
    }
    Ok(Some(copy))
}
