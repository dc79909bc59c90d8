//! What an installation is: written into it when it is made, and never changed but by adding to it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Name of the file in the folder of a version.
pub const FILE: &str = ".omg-install.json";

/// Longest record that is read, bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Where an installation is from and how it was checked.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Record {
    /// Unix time, seconds.
    pub installed: u64,
    /// Who made it: `omg`, or [`super::mise::NAME`].
    pub manager: String,
    pub parts: Vec<RecordedPart>,
    /// The user took what could not be checked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unverified: bool,
    /// Line of long-term support that the index had for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lts: Option<String>,
    /// All lines of long-term support that the index had then, by the first number of their versions.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lts_lines: BTreeMap<u64, String>,
    /// What is set in the environment besides.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, String>,
}

/// An archive that it was made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedPart {
    pub url: String,
    /// Hexadecimal.
    pub sha256: String,
    pub bytes: u64,
    /// How it was checked, in words.
    pub checks: Vec<String>,
}

impl Record {
    /// The record of what is installed in `folder`; `None` where there is none that can be read: it was put there by hand.
    pub fn read(folder: &Path) -> Option<Self> {
        let path = folder.join(FILE);
        if !fs::symlink_metadata(&path).is_ok_and(|found| found.is_file() && found.len() <= MAX_BYTES) {
            return None;
        }
        serde_json::from_slice(&fs::read(&path).ok()?).ok()
    }

    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        serde_json::to_writer_pretty(&mut file, self)?;
        file.as_file().sync_all()?;
        file.persist(folder.join(FILE)).map_err(|error| error.error)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written_and_what_is_none_is_not() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Record::read(folder.path()), None);
        let part = RecordedPart {
            url: "https://example.org/a.tar.gz".into(),
            sha256: "00".repeat(32),
            bytes: 7,
            checks: vec!["SHA-256 listed in SHASUMS256.txt".into()],
        };
        let record = Record { installed: 1, manager: "omg".into(), parts: vec![part], ..Record::default() };
        record.write(folder.path()).unwrap();
        assert_eq!(Record::read(folder.path()), Some(record));
        fs::write(folder.path().join(FILE), "{").unwrap();
        assert_eq!(Record::read(folder.path()), None);
    }
}
