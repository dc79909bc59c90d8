//! What is remembered of each package base: the commit that somebody looked at, and what was built last.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{AurError, is_package_name};

/// A file that was built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Built {
    pub name: String,
    /// As pacman writes it.
    pub version: String,
    /// In the build's folder for packages.
    pub file: String,
    /// Hexadecimal.
    pub sha256: String,
}

/// What a package base was last built from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Build {
    pub commit: String,
    pub packages: Vec<Built>,
    /// Address, branch, and the commit that it stood at, of each repository whose newest commit was built.
    pub followed: Vec<(String, String, String)>,
}

/// What is remembered of a package base.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// The commit that somebody looked at and agreed to.
    pub reviewed: Option<String>,
    /// The commit that may be built: it was reviewed, or somebody asked for it unseen.
    pub accepted: Option<String>,
    pub built: Option<Build>,
}

/// The records of one user.
#[derive(Debug, Clone)]
pub struct Records {
    folder: PathBuf,
}

impl Records {
    /// In this folder, which need not be there.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    fn file(&self, base: &str) -> Result<PathBuf, AurError> {
        if is_package_name(base) {
            return Ok(self.folder.join(format!("{base}.json")));
        }
        Err(AurError::Invalid(format!("{} is no package base", base.escape_debug())))
    }

    /// What is remembered of a package base; nothing where that cannot be read: then it is reviewed and built again.
    ///
    /// # Errors
    /// When the name is none.
    pub fn read(&self, base: &str) -> Result<Record, AurError> {
        let file = self.file(base)?;
        let Ok(bytes) = fs::read(&file) else { return Ok(Record::default()) };
        Ok(serde_json::from_slice(&bytes).unwrap_or_else(|error| {
            tracing::warn!("{} is not used: {error}", file.display());
            Record::default()
        }))
    }

    /// Replaces what is remembered.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, base: &str, record: &Record) -> Result<(), AurError> {
        let file = self.file(base)?;
        let failed = |error: &std::io::Error| AurError::io(file.display(), error);
        super::build::make(&self.folder)?;
        let bytes = serde_json::to_vec(record).map_err(|error| failed(&error.into()))?;
        let mut unfinished = tempfile::NamedTempFile::new_in(&self.folder).map_err(|error| failed(&error))?;
        unfinished.write_all(&bytes).and_then(|()| unfinished.as_file().sync_data()).map_err(|error| failed(&error))?;
        unfinished.persist(&file).map_err(|error| failed(&error.error))?;
        Ok(())
    }

    /// The package bases that something is remembered of.
    pub fn bases(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".json").map(str::to_owned));
        names.filter(|name| is_package_name(name)).collect()
    }
}
