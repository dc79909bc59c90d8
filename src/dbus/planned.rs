//! What the properties of a plan and the rows of the history hold, as types.

use serde::{Deserialize, Serialize};

use super::names::PLAN_PREFIX;
use crate::transaction::{Action, Actor, HistoryEntry, HistoryItem, Item, Plan, decision};

/// One package's part in a plan: a row of `Items`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedItem {
    /// The word for a [`crate::transaction::Change`].
    pub change: String,
    pub name: String,
    pub arch: String,
    /// Empty when it is not installed.
    pub from: String,
    /// Empty when it will not be installed.
    pub to: String,
    pub repository: String,
    /// Bytes to download.
    pub download: u64,
    /// Bytes taken up on the disk, or set free.
    pub delta: i64,
}

impl From<&Item> for PlannedItem {
    fn from(item: &Item) -> Self {
        Self {
            change: item.change.as_str().to_owned(),
            name: item.name.clone(),
            arch: item.arch.clone(),
            from: item.from.clone(),
            to: item.to.clone(),
            repository: item.repository.clone(),
            download: item.download,
            delta: item.delta,
        }
    }
}

/// An available upgrade that is no part of a plan: a row of `HeldBack`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldBackItem {
    pub name: String,
    pub arch: String,
    pub from: String,
    pub to: String,
    /// `held`, `phased` or `dependencies`.
    pub reason: String,
}

/// A question and how it was decided: a row of `Decisions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionItem {
    /// The word of [`crate::transaction::Asks`], or of a later version.
    pub question: String,
    pub about: String,
    pub choices: Vec<String>,
    pub default: String,
    pub choice: String,
}

impl DecisionItem {
    /// What an answer calls it.
    pub fn key(&self) -> String {
        decision::key(&self.question, &self.about)
    }
}

/// The properties of `org.omg.Plan1`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all(deserialize = "PascalCase", serialize = "snake_case"))]
pub struct Planned {
    /// Names what it does: 64 hexadecimal digits.
    pub digest: String,
    pub items: Vec<PlannedItem>,
    pub held_back: Vec<HeldBackItem>,
    /// Names of packages that nothing will need any more.
    pub unneeded: Vec<String>,
    /// Bytes.
    pub download_size: u64,
    /// Bytes taken up on the disk, or set free.
    pub installed_size_delta: i64,
    /// A code, a colon and what it is about: see [`crate::transaction::Risk`].
    pub risks: Vec<String>,
    /// What the package system said while it resolved.
    pub notes: Vec<String>,
    /// What it asked, and how that was decided.
    pub decisions: Vec<DecisionItem>,
    /// What a repair does besides the items.
    pub mends: Vec<String>,
}

impl From<Plan> for Planned {
    fn from(plan: Plan) -> Self {
        let (download_size, installed_size_delta) = (plan.download_size(), plan.installed_size_delta());
        let held_back = plan.held_back.into_iter().map(|held| HeldBackItem {
            name: held.name,
            arch: held.arch,
            from: held.from,
            to: held.to,
            reason: held.reason.as_str().to_owned(),
        });
        let decisions = plan.decisions.into_iter().map(|decision| DecisionItem {
            question: decision.asks.as_str().to_owned(),
            about: decision.about,
            choices: decision.choices,
            default: decision.default,
            choice: decision.chosen,
        });
        Self {
            digest: plan.digest.to_string(),
            items: plan.items.iter().map(PlannedItem::from).collect(),
            held_back: held_back.collect(),
            unneeded: plan.unneeded,
            download_size,
            installed_size_delta,
            risks: plan.risks.iter().map(ToString::to_string).collect(),
            notes: plan.notes,
            decisions: decisions.collect(),
            mends: plan.mends,
        }
    }
}

/// id, begun and ended (Unix time in seconds), uid, via, actions, standing, items, message.
pub type WireHistory = (u64, u64, u64, u32, String, Vec<(String, String)>, String, Vec<WireHistoryItem>, String);

/// Change, name, arch, version before, version after, repository, explicit.
pub type WireHistoryItem = (String, String, String, String, String, String, bool);

/// The row as a domain type; `None` for words that this version does not know.
pub fn history_entry(row: WireHistory) -> Option<HistoryEntry> {
    let (id, time, ended, uid, via, actions, standing, items, message) = row;
    let actions = actions.into_iter().map(|(verb, target)| Action::new(verb.parse().ok()?, target).ok());
    let items = items.into_iter().map(|(change, name, arch, from, to, repository, explicit)| HistoryItem {
        change,
        name,
        arch,
        from,
        to,
        repository,
        explicit,
    });
    Some(HistoryEntry {
        id,
        time,
        ended,
        actor: Actor { uid, via: via.parse().ok()? },
        actions: actions.collect::<Option<_>>()?,
        standing: standing.parse().ok()?,
        items: items.collect(),
        message,
    })
}

/// The entry as a row.
pub fn wire_history(entry: HistoryEntry) -> WireHistory {
    let actions = entry.actions.iter().map(|action| (action.verb().to_string(), action.target().to_owned()));
    let items = entry
        .items
        .into_iter()
        .map(|item| (item.change, item.name, item.arch, item.from, item.to, item.repository, item.explicit));
    (
        entry.id,
        entry.time,
        entry.ended,
        entry.actor.uid,
        entry.actor.via.as_str().to_owned(),
        actions.collect(),
        entry.standing.to_string(),
        items.collect(),
        entry.message,
    )
}

/// Path of the plan with this number.
pub fn plan_path(number: u64) -> String {
    format!("{PLAN_PREFIX}{number}")
}
