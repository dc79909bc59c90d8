//! Questions about the files of packages, and their answers, as `omg-helper paths` exchanges them.

use serde::{Deserialize, Serialize};

use super::Failure;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum PathQuery {
    /// The installed packages that own these absolute paths.
    Owners(Vec<String>),
    /// The files and folders of an installed package.
    Files(String),
    /// The packages of repositories that have these files: absolute paths, or names of files in any folder.
    Offering(Vec<String>),
    /// The files and folders of a package as its repository has it.
    Offered(String),
}

/// What is answered. Paths are absolute, folders end with a slash where the package system writes them so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PathAnswer {
    /// Path and package (of a repository: `REPOSITORY/NAME`), in the order of the question; a path that several packages
    /// have comes with each of them, one that none has does not come.
    Owners(Vec<(String, String)>),
    /// In order.
    Files(Vec<String>),
    Failed(Failure),
}
