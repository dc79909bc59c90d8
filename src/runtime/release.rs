//! What an upstream offers.

use super::version::Version;

/// A version that can be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    pub version: Version,
    /// The line of long-term support that it belongs to, in small letters: `iron`; the number of the line where lines
    /// have no names (Java). `None`: it has no long-term support.
    pub lts: Option<String>,
    /// Nobody gets it who does not ask for it by name, or for such versions.
    pub is_prerelease: bool,
    /// Day it came out, `YYYY-MM-DD`.
    pub date: Option<String>,
}

impl Release {
    /// An ordinary release.
    pub fn of(version: Version) -> Self {
        Self { version, lts: None, is_prerelease: false, date: None }
    }
}
