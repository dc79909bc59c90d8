//! Upgrades that are possible, where they are not those that a plan would be made from.
//!
//! A user may fetch the package lists into a copy of their own, without rights. What is installed never comes from such a
//! copy: it only tells what there will be once the package system's own lists are fetched.

use serde::{Deserialize, Serialize};

/// What a newer copy of the package lists offers. Part of the snapshot format.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Ahead {
    /// When the copy was fetched, Unix time in seconds.
    pub refreshed: u64,
    /// The upgrades by the copy, in the order of names.
    pub upgrades: Vec<Newer>,
    /// Names of the packages that the package system's own lists have upgrades for, in order.
    pub planned: Vec<String>,
}

/// A version that the copy has in place of the candidate.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Newer {
    pub name: String,
    pub version: String,
    pub arch: String,
    pub repository: String,
    /// Bytes to download.
    pub size: u64,
}

impl Ahead {
    /// The upgrade of the package called `name`.
    pub fn upgrade(&self, name: &str) -> Option<&Newer> {
        let at = self.upgrades.binary_search_by(|newer| newer.name.as_str().cmp(name)).ok()?;
        self.upgrades.get(at)
    }

    /// Whether the package system's own lists have an upgrade of the package called `name`.
    pub fn is_planned(&self, name: &str) -> bool {
        self.planned.binary_search_by(|planned| planned.as_str().cmp(name)).is_ok()
    }
}
