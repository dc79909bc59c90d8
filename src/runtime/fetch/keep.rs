//! How much of what was downloaded is kept.

use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::part::{ABOUT, PART, lock};

/// A part that nobody went on with for so long is of no use.
const FORGOTTEN: Duration = Duration::from_secs(7 * 24 * 3600);

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
    name.len() > 65
        && name.bytes().take(64).all(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase())
        && name.as_bytes().get(64) == Some(&b'-')
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
