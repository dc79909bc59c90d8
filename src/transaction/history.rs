//! What was done, as it is told afterwards.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Action, Item};

/// How somebody came to act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Via {
    /// Through the system bus, allowed by polkit.
    Polkit,
    /// Through sudo.
    Sudo,
    /// As root.
    Root,
}

/// Who acted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    pub uid: u32,
    pub via: Via,
}

/// How a transaction stands. The words are part of the D-Bus contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    Running,
    Succeeded,
    Failed,
    Cancelled,
    /// It began and never ended: power or process was lost.
    Interrupted,
}

/// What was done to one package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryItem {
    /// A [`super::Change`], or the word of a later version for one.
    pub change: String,
    pub name: String,
    pub arch: String,
    /// Version before; empty when it was not installed.
    pub from: String,
    /// Version after; empty when it is no longer installed.
    pub to: String,
    pub repository: String,
    /// Whether it is there because it was asked for, not as a dependency; of what was removed: whether it was.
    pub explicit: bool,
}

/// One transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// Grows with time, with gaps.
    pub id: u64,
    /// When it began, Unix time in seconds.
    pub time: u64,
    /// When it ended, Unix time in seconds; 0 when it has not.
    pub ended: u64,
    pub actor: Actor,
    pub actions: Vec<Action>,
    pub standing: Standing,
    /// What was done; of one that was interrupted or still runs, what was planned.
    pub items: Vec<HistoryItem>,
    /// Why it failed; else empty.
    pub message: String,
}

impl Via {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Polkit => "polkit",
            Self::Sudo => "sudo",
            Self::Root => "root",
        }
    }
}

impl FromStr for Via {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Polkit, Self::Sudo, Self::Root].into_iter().find(|via| via.as_str() == text).ok_or(())
    }
}

impl Standing {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
        }
    }
}

impl FromStr for Standing {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let all = [Self::Running, Self::Succeeded, Self::Failed, Self::Cancelled, Self::Interrupted];
        all.into_iter().find(|standing| standing.as_str() == text).ok_or(())
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<&Item> for HistoryItem {
    fn from(item: &Item) -> Self {
        Self {
            change: item.change.as_str().to_owned(),
            name: item.name.clone(),
            arch: item.arch.clone(),
            from: item.from.clone(),
            to: item.to.clone(),
            repository: item.repository.clone(),
            explicit: item.explicit,
        }
    }
}
