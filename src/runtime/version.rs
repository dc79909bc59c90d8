//! Versions, ordered as each ecosystem orders its own.

use thiserror::Error;

use super::Runtime;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Version(Vec<u64>, String);

#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct VersionError(pub String);

impl Version {
    /// # Errors
    /// When it is none of this runtime's.
    pub fn parse(_runtime: &Runtime, text: &str) -> Result<Self, VersionError> {
        let numbers: Option<Vec<u64>> = text.split('.').map(|part| part.parse().ok()).collect();
        Ok(Self(numbers.ok_or_else(|| VersionError(format!("{text:?} is no version")))?, text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.1
    }

    pub fn numbers(&self) -> &[u64] {
        &self.0
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.1)
    }
}
