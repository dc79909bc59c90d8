//! Versions, ordered as each ecosystem orders its own.

use thiserror::Error;

use super::Runtime;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(String);

#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct VersionError(pub String);

impl Version {
    /// # Errors
    /// When it is none of this runtime's.
    pub fn parse(_runtime: &Runtime, text: &str) -> Result<Self, VersionError> {
        Ok(Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
