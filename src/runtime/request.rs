//! What is asked for.

use super::{Release, Runtime, Version, VersionError};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    System,
    Latest,
    Numbers(Vec<u64>),
}

impl Request {
    /// # Errors
    /// When it is no request.
    pub fn parse(runtime: &Runtime, text: &str) -> Result<Self, VersionError> {
        match text {
            "system" => Ok(Self::System),
            "latest" => Ok(Self::Latest),
            other => Ok(Self::Numbers(Version::parse(runtime, other)?.numbers().to_vec())),
        }
    }

    /// The best of what is offered.
    pub fn choose<'a>(&self, offered: &'a [Release]) -> Option<&'a Release> {
        offered.first()
    }

    /// The best of what is installed.
    pub fn best<'a>(&self, installed: &'a [Version]) -> Option<&'a Version> {
        match self {
            Self::System => None,
            Self::Latest => installed.last(),
            Self::Numbers(wanted) => installed.iter().rev().find(|version| version.numbers().starts_with(wanted)),
        }
    }
}

impl std::fmt::Display for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::System => f.write_str("system"),
            Self::Latest => f.write_str("latest"),
            Self::Numbers(numbers) => {
                let numbers: Vec<_> = numbers.iter().map(u64::to_string).collect();
                f.write_str(&numbers.join("."))
            }
        }
    }
}
