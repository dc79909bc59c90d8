//! Folders whose files asked for versions: what they ask for is not pruned.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Below the data folder: paths, each ended by a NUL.
const FILE: &str = "projects";

/// Most folders that are remembered; the oldest are forgotten first.
const MAX_FOLDERS: usize = 1000;

/// The folders that are still there.
pub fn folders(data_dir: &Path) -> Vec<PathBuf> {
    let bytes = fs::read(data_dir.join(FILE)).unwrap_or_default();
    let paths = bytes.split(|byte| *byte == 0).filter(|path| path.starts_with(b"/"));
    let mut seen = BTreeSet::new();
    paths
        .map(|path| PathBuf::from(std::ffi::OsString::from_vec(path.to_vec())))
        .filter(|path| path.is_dir() && seen.insert(path.clone()))
        .collect()
}

/// Remembers a folder. That it cannot be is no failure: it is asked about when something is to be removed.
pub fn remember(data_dir: &Path, folder: &Path) {
    let mut known = folders(data_dir);
    if known.iter().any(|path| path == folder) {
        return;
    }
    known.push(folder.to_owned());
    let kept = known.len().saturating_sub(MAX_FOLDERS);
    let written = || -> std::io::Result<()> {
        fs::create_dir_all(data_dir)?;
        let mut file = tempfile::NamedTempFile::new_in(data_dir)?;
        for path in known.iter().skip(kept) {
            file.write_all(path.as_os_str().as_bytes())?;
            file.write_all(&[0])?;
        }
        file.persist(data_dir.join(FILE)).map_err(|error| error.error)?;
        Ok(())
    };
    let _ = written();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_remembered_once_and_forgotten_when_they_are_gone() {
        let data = tempfile::tempdir().unwrap();
        let (one, other) = (data.path().join("one\nline"), data.path().join("other"));
        for folder in [&one, &other, &one] {
            fs::create_dir_all(folder).unwrap();
            remember(data.path(), folder);
        }
        assert_eq!(folders(data.path()), [one.clone(), other.clone()]);
        fs::remove_dir(&one).unwrap();
        assert_eq!(folders(data.path()), [other]);
    }
}
