//! What is asked for.

use super::{Release, Runtime, Version, VersionError};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    Latest,
}

impl Request {
    /// # Errors
    /// When it is no request.
    pub fn parse(_runtime: &Runtime, _text: &str) -> Result<Self, VersionError> {
        Ok(Self::Latest)
    }

    /// The best of what is offered.
    pub fn choose<'a>(&self, offered: &'a [Release]) -> Option<&'a Release> {
        offered.first()
    }

    /// The best of what is installed.
    pub fn best<'a>(&self, installed: &'a [Version]) -> Option<&'a Version> {
        installed.first()
    }

    /// What it means changes when something comes out.
    pub fn is_moving(&self) -> bool {
        true
    }
}

impl std::fmt::Display for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("latest")
    }
}
