//! Fetching package files into a folder: no plan and no rights, nothing is installed.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What is to be fetched, and where it goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Download {
    /// NAME, NAME:ARCH, NAME=VERSION or, with apt, NAME/RELEASE, with pacman REPOSITORY/NAME or a group each.
    pub targets: Vec<String>,
    /// It must be there.
    pub folder: PathBuf,
    /// Fetch also what no trusted repository vouches for.
    #[serde(default)]
    pub allow_untrusted: bool,
    /// Only say what would be fetched.
    #[serde(default)]
    pub dry_run: bool,
}

/// A package file as the package lists promise it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Archive {
    pub name: String,
    pub arch: String,
    pub version: String,
    pub repository: String,
    /// Bytes.
    pub size: u64,
    /// Hexadecimal; empty where the list has none.
    pub sha256: String,
    /// Whether a trusted repository vouches for it.
    pub trusted: bool,
    /// Its name in the folder.
    pub file: String,
    /// The folder has it already.
    pub present: bool,
}
