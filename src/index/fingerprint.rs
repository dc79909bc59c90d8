//! The fingerprint: what the files behind a snapshot looked like when it was built.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::stamp::{Stamp, is_local_path};

/// One source of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceStamp {
    pub path: PathBuf,
    pub stamp: Stamp,
}

/// Every source of a snapshot with its state just before it was read.
///
/// The stamps are taken first and the files read afterwards: a file that changes in between differs from its stamp, so
/// the next comparison asks for another build instead of trusting a torn one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Fingerprint {
    pub sources: Vec<SourceStamp>,
}

impl Fingerprint {
    /// Stamps `paths`, each once, in the order of their names. What cannot be looked at counts as absent.
    pub fn take(paths: impl IntoIterator<Item = PathBuf>) -> Self {
        let mut paths: Vec<PathBuf> = paths.into_iter().collect();
        paths.sort_unstable();
        paths.dedup();
        let sources = paths
            .into_iter()
            .map(|path| SourceStamp { stamp: Stamp::of(&path).unwrap_or(Stamp::Absent), path })
            .collect();
        Self { sources }
    }

    /// The first source that no longer is as it was, in the order of names.
    pub fn first_change(&self) -> Option<&Path> {
        self.sources
            .iter()
            .find(|source| Stamp::of(&source.path).unwrap_or(Stamp::Absent) != source.stamp)
            .map(|source| source.path.as_path())
    }

    /// Whether all sources are on disks of this machine: whether comparing them waits for nothing else.
    pub fn is_local(&self) -> bool {
        self.sources.iter().all(|source| is_local_path(&source.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_an_appearance_and_a_removal_are_seen() {
        let folder = tempfile::tempdir().unwrap();
        let (file, missing) = (folder.path().join("status"), folder.path().join("preferences"));
        std::fs::write(&file, "one").unwrap();
        let taken = || Fingerprint::take([file.clone(), missing.clone(), file.clone()]);
        let before = taken();
        assert_eq!(before.sources.len(), 2);
        assert_eq!(before.first_change(), None);
        std::fs::write(&missing, "").unwrap();
        assert_eq!(before.first_change(), Some(missing.as_path()));
        let before = taken();
        std::fs::write(&file, "two").unwrap();
        assert_eq!(before.first_change(), Some(file.as_path()));
        let before = taken();
        std::fs::remove_file(&file).unwrap();
        assert_eq!(before.first_change(), Some(file.as_path()));
    }
}
