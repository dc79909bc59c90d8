//! Names in archives: any bytes, taken only when they lead downwards.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use super::{Limits, UnpackError};

/// The longest name of one file that Linux takes, bytes.
const NAME_MAX: usize = 255;

/// Characters of a name in a message.
const SHOWN: usize = 96;

/// A name for a message: escaped and shortened.
pub(super) fn shown(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name);
    let short: String = text.chars().take(SHOWN).collect();
    let more = if text.chars().nth(SHOWN).is_some() { "…" } else { "" };
    format!("{short:?}{more}")
}

pub(super) fn refused(name: &[u8], reason: &'static str) -> UnpackError {
    UnpackError::Refused { entry: shown(name), reason }
}

fn has_control(name: &[u8]) -> bool {
    match std::str::from_utf8(name) {
        Ok(text) => text.chars().any(char::is_control),
        Err(_) => name.iter().any(u8::is_ascii_control),
    }
}

/// The path of an entry without `.` and doubled slashes; empty for the archive's own folder (`./`).
pub(super) fn clean(name: &[u8], limits: &Limits) -> Result<PathBuf, UnpackError> {
    if name.is_empty() {
        return Err(refused(name, "has no name"));
    }
    if name.len() > limits.path_bytes {
        return Err(refused(name, "has a name that is too long"));
    }
    if has_control(name) {
        return Err(refused(name, "has control characters in its name"));
    }
    let mut cleaned = PathBuf::new();
    for (depth, component) in Path::new(OsStr::from_bytes(name)).components().enumerate() {
        match component {
            Component::Normal(part) if part.len() > NAME_MAX => {
                return Err(refused(name, "has a name that is too long"));
            }
            Component::Normal(_) if depth >= limits.depth => return Err(refused(name, "lies too deep")),
            Component::Normal(part) => cleaned.push(part),
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return Err(refused(name, "has an absolute path")),
            Component::ParentDir => return Err(refused(name, "leads out of its folder with \"..\"")),
        }
    }
    Ok(cleaned)
}

/// Takes the target of a symbolic link at `link`, a cleaned path, when it stays below the top folder. True: it goes down
/// and up again, so whether it stays depends on which of its folders are links themselves.
pub(super) fn target(link: &Path, target: &[u8], limits: &Limits) -> Result<bool, UnpackError> {
    let name = link.as_os_str().as_bytes();
    if target.is_empty() || target.len() > limits.path_bytes {
        return Err(refused(name, "links to a name that is empty or too long"));
    }
    if has_control(target) {
        return Err(refused(name, "links to a name with control characters"));
    }
    let mut depth = link.components().count().saturating_sub(1);
    let (mut went_down, mut winds) = (false, false);
    for component in Path::new(OsStr::from_bytes(target)).components() {
        match component {
            Component::Normal(_) => {
                depth = depth.saturating_add(1);
                went_down = true;
            }
            Component::CurDir => {}
            Component::ParentDir => {
                depth = depth.checked_sub(1).ok_or_else(|| refused(name, "links out of the archive's folder"))?;
                winds |= went_down;
            }
            Component::RootDir | Component::Prefix(_) => return Err(refused(name, "links to an absolute path")),
        }
    }
    Ok(winds)
}
