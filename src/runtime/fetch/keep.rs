//! How much of what was downloaded, and of indexes, is kept.

use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::part::{ABOUT, PART, lock};

/// A part that nobody went on with for so long is of no use.
const FORGOTTEN: Duration = Duration::from_secs(7 * 24 * 3600);

/// An index that nobody used for so long is not kept, however much room there is.
const UNUSED: Duration = Duration::from_secs(90 * 24 * 3600);

/// What was used so shortly ago may be in use: a list of many pages is read one after the other, and would lose the first of
/// them to the last.
const IN_USE: Duration = Duration::from_secs(600);

/// Removes the indexes that were not used for the longest time until no more than `most` bytes of them are there. `made`
/// stays, however large it is, and so do those that are in use.
pub(super) fn bound_indexes(made: &Path, most: u64) -> io::Result<()> {
    let Some(folder) = made.parent() else { return Ok(()) };
    let now = SystemTime::now();
    let age = |then: SystemTime| now.duration_since(then).unwrap_or_default();
    let (mut indexes, mut sum) = (Vec::new(), 0u64);
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        let Some(metadata) = entry.metadata().ok().filter(Metadata::is_file) else { continue };
        let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        if !is_sum(&name) {
            // What a crash left of a file that was to be renamed.
            if name.starts_with(".tmp") && age(modified) > FORGOTTEN {
                let _ = std::fs::remove_file(&path);
            }
            continue;
        }
        let used = modified.max(metadata.accessed().unwrap_or(modified));
        sum = sum.saturating_add(metadata.len());
        if path != made && age(used) > IN_USE {
            indexes.push((used, metadata.len(), path));
        }
    }
    indexes.sort();
    for (used, length, path) in indexes {
        if sum <= most && age(used) <= UNUSED {
            break;
        }
        if std::fs::remove_file(&path).is_ok() {
            sum = sum.saturating_sub(length);
        }
    }
    Ok(())
}

fn is_sum(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase())
}

/// Removes the downloads that were not used for the longest time until no more than `most` bytes of them are there, and
/// parts that nobody goes on with. `made` stays, however large it is.
pub(super) fn bound(folder: &Path, made: &Path, most: u64) -> io::Result<()> {
    let now = SystemTime::now();
    let is_forgotten = |metadata: &Metadata| {
        metadata.modified().ok().and_then(|then| now.duration_since(then).ok()).is_some_and(|age| age > FORGOTTEN)
    };
    let (mut wholes, mut sum) = (Vec::new(), 0u64);
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let (path, metadata) = (entry.path(), entry.metadata());
        let Some(metadata) = metadata.ok().filter(Metadata::is_file) else { continue };
        let name = entry.file_name().to_string_lossy().into_owned();
        if !is_ours(&name) {
            // What a crash left of a file that was to be renamed.
            if name.starts_with(".tmp") && is_forgotten(&metadata) {
                let _ = std::fs::remove_file(&path);
            }
        } else if name.ends_with(PART) {
            if is_forgotten(&metadata) {
                forget(&path);
            }
        } else if let Some(of) = path.to_str().and_then(|path| path.strip_suffix(ABOUT)) {
            if is_forgotten(&metadata) && !Path::new(of).exists() && !Path::new(&format!("{of}{PART}")).exists() {
                let _ = std::fs::remove_file(&path);
            }
        } else {
            sum = sum.saturating_add(metadata.len());
            if path != made {
                wholes.push((metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH), metadata.len(), path));
            }
        }
    }
    wholes.sort();
    for (_, length, path) in wholes {
        if sum <= most {
            break;
        }
        if std::fs::remove_file(&path).is_ok() {
            sum = sum.saturating_sub(length);
            forget_about(&path);
        }
    }
    Ok(())
}

/// Only files that look like ours are touched: the folder is configurable.
fn is_ours(name: &str) -> bool {
    name.split_at_checked(64).is_some_and(|(sum, rest)| is_sum(sum) && rest.len() > 1 && rest.starts_with('-'))
}

fn beside(whole: &Path, end: &str) -> PathBuf {
    let mut path = whole.as_os_str().to_owned();
    path.push(end);
    path.into()
}

/// A part may be being written: what was told of it is needed then.
fn forget_about(whole: &Path) {
    if !beside(whole, PART).exists() {
        let _ = std::fs::remove_file(beside(whole, ABOUT));
    }
}

fn forget(part: &Path) {
    if let Ok(file) = File::open(part)
        && lock(&file).unwrap_or(false)
    {
        let _ = std::fs::remove_file(part);
    }
}
