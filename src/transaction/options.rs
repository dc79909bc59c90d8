//! The options of a plan and its commit: an allow-list, none of them a path.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Answers;

/// What to do with a configuration file that was changed here and in the new package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Conffiles {
    /// Keep the one that is here.
    #[default]
    Keep,
    /// Put the package's in its place.
    Replace,
    /// Ask the owner of the job, and keep when nobody answers.
    Ask,
}

/// Options of a plan and its commit.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Options {
    /// Whether recommended packages are installed too; by the package system's configuration when not given.
    pub recommends: Option<bool>,
    pub conffiles: Conffiles,
    /// Wait while another program holds the package system's lock, instead of failing with its name.
    pub wait: bool,
    /// Fetch the packages and stop.
    pub download_only: bool,
    /// Remove also what needs what is removed, where the package system would else refuse.
    pub cascade: bool,
    /// To what the package system asks while it plans.
    pub answers: Answers,
}

/// An option's value is not one of its values.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{key}: must be {expected}")]
pub struct InvalidOption {
    pub key: &'static str,
    pub expected: &'static str,
}

impl Conffiles {
    /// # Errors
    /// Any other word than `keep`, `replace`, `ask`.
    pub fn from_word(word: &str) -> Result<Self, InvalidOption> {
        match word {
            "keep" => Ok(Self::Keep),
            "replace" => Ok(Self::Replace),
            "ask" => Ok(Self::Ask),
            _ => Err(InvalidOption { key: "conffiles", expected: "keep, replace or ask" }),
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Replace => "replace",
            Self::Ask => "ask",
        }
    }
}
