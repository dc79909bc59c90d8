//! Versions of packages that the package system's download cache has: they can be installed, and no package list tells of
//! them.
//!
//! The folders are listed when somebody asks about a package and something was put there or deleted since: package files
//! come and go in them while packages are fetched, which must not make anybody wait for another snapshot.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use super::answers::DetailsAnswer;
use crate::package::{PackageFileName, VersionDetails, VersionSource, compare_versions};
use crate::stamp::{Stamp, is_local_path};

/// The label of their repository, as plans have it.
const CACHE: &str = "cache";

/// The package files in some folders.
#[derive(Debug, Default)]
pub struct Downloads {
    stamps: Vec<Stamp>,
    folders: Vec<PathBuf>,
    /// Whether another change would change a stamp.
    settled: bool,
    /// Whether to look at them waits for nothing but this machine.
    local: bool,
    by_name: HashMap<String, Vec<Downloaded>>,
}

#[derive(Debug, PartialEq, Eq)]
struct Downloaded {
    version: String,
    arch: String,
    path: PathBuf,
}

fn stamps(folders: &[PathBuf]) -> Vec<Stamp> {
    folders.iter().map(|folder| Stamp::of(folder).unwrap_or(Stamp::Absent)).collect()
}

impl Downloads {
    /// Whether to compare them waits for nobody.
    pub fn are_on_local_disks(&self) -> bool {
        self.local
    }

    /// Whether this is what these folders hold now.
    pub fn are_current(&self, folders: &[PathBuf]) -> bool {
        self.folders == folders && self.settled && self.stamps == stamps(folders)
    }

    /// Lists the folders. One that is not there or closed holds nothing.
    pub fn list(folders: &[PathBuf]) -> Self {
        // Before they are read: what changes meanwhile is another change.
        let stamps = stamps(folders);
        let settled = stamps.iter().all(Stamp::is_settled);
        let mut by_name: HashMap<String, Vec<Downloaded>> = HashMap::new();
        for entry in folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten() {
            let file = entry.file_name();
            let Some(PackageFileName { name, version, arch }) = file.to_str().and_then(PackageFileName::parse) else {
                continue;
            };
            if entry.file_type().is_ok_and(|kind| kind.is_file()) {
                let versions = by_name.entry(name).or_default();
                let found = Downloaded { version, arch, path: entry.path() };
                // pacman's order goes round in circles for some made-up versions, at which a sort may panic.
                let at = versions.partition_point(|known| {
                    compare_versions(&found.version, &known.version).then_with(|| known.path.cmp(&found.path)).is_lt()
                });
                versions.insert(at, found);
            }
        }
        let local = folders.iter().all(|folder| is_local_path(folder));
        Self { stamps, folders: folders.to_vec(), settled, local, by_name }
    }

    /// The answer with the versions that it does not have yet, newest first behind those it has.
    pub fn added_to(&self, answer: Arc<DetailsAnswer>) -> Arc<DetailsAnswer> {
        let Some(found) = self.by_name.get(&answer.name) else { return answer };
        let known = |version: &str| answer.details.versions.iter().any(|known| known.version == version);
        let mut more: Vec<VersionDetails> = Vec::new();
        for downloaded in found.iter().filter(|downloaded| !known(&downloaded.version)) {
            if more.iter().any(|other| other.version == downloaded.version) {
                continue;
            }
            let description = format!("{CACHE} {}", downloaded.path.display());
            more.push(VersionDetails {
                version: downloaded.version.clone(),
                arch: downloaded.arch.clone(),
                repository: CACHE.to_owned(),
                sources: vec![VersionSource { priority: 0, description }],
                ..VersionDetails::default()
            });
        }
        if more.is_empty() {
            return answer;
        }
        let mut answer = Arc::unwrap_or_clone(answer);
        answer.details.versions.extend(more);
        Arc::new(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(downloads: &Downloads, name: &str) -> Vec<String> {
        downloads.by_name.get(name).into_iter().flatten().map(|found| found.version.clone()).collect()
    }

    #[test]
    fn a_folder_is_listed_anew_when_it_changed_and_only_then() {
        let folder = tempfile::tempdir().unwrap();
        let folders = [folder.path().to_owned(), folder.path().join("nowhere")];
        for file in ["a-1-1-any.pkg.tar.zst", "a-1-1-any.pkg.tar.zst.sig", "a-10-1-any.pkg.tar", "a-9-1-any.pkg.tar"] {
            fs::write(folder.path().join(file), "").unwrap();
        }
        fs::create_dir(folder.path().join("a-3-1-any.pkg.tar")).unwrap();
        let listed = Downloads::list(&folders);
        assert_eq!(versions(&listed, "a"), ["10-1", "9-1", "1-1"]);
        // It changed just now: the next change may have the same time.
        assert!(!listed.are_current(&folders));
        while !Stamp::of(folder.path()).unwrap().is_settled() {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        let listed = Downloads::list(&folders);
        assert!(listed.are_current(&folders) && !listed.are_current(&folders[..1]));
        fs::write(folder.path().join("a-11-1-any.pkg.tar"), "").unwrap();
        assert!(!listed.are_current(&folders));
        assert_eq!(versions(&Downloads::list(&folders), "a"), ["11-1", "10-1", "9-1", "1-1"]);
    }
}
