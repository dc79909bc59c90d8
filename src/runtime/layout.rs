//! Where versions lie.

use std::io;
use std::path::{Path, PathBuf};

use super::{Runtime, Version};

#[derive(Debug, Clone)]
pub struct Layout(PathBuf);

impl Layout {
    pub fn new(data_dir: &Path) -> Self {
        Self(data_dir.join("versions"))
    }

    pub fn folder(&self, runtime: &Runtime, version: &Version) -> PathBuf {
        self.0.join(runtime.as_str()).join(version.as_str())
    }

    /// # Errors
    /// When the folder cannot be read.
    pub fn installed(&self, runtime: &Runtime) -> io::Result<Vec<Version>> {
        let mut versions: Vec<_> = names(&self.0.join(runtime.as_str()))?
            .iter()
            .filter_map(|name| Version::parse(runtime, name).ok())
            .collect();
        versions.sort();
        Ok(versions)
    }

    /// # Errors
    /// When the folder cannot be read.
    pub fn runtimes(&self) -> io::Result<Vec<Runtime>> {
        Ok(names(&self.0)?.iter().filter_map(|name| Runtime::parse(name).ok()).collect())
    }

    /// # Errors
    /// When the link cannot be read.
    pub fn current(&self, runtime: &Runtime) -> io::Result<Option<Version>> {
        match std::fs::read_link(self.0.join(runtime.as_str()).join("current")) {
            Ok(target) => Ok(target.to_str().and_then(|name| Version::parse(runtime, name).ok())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn names(folder: &Path) -> io::Result<Vec<String>> {
    match std::fs::read_dir(folder) {
        Ok(entries) => {
            let mut names: Vec<_> =
                entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
            names.sort();
            Ok(names)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}
