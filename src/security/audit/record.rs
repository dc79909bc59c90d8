//! What the entries say.

use std::fs;

use serde::{Deserialize, Serialize};

use crate::transaction::{Action, Actor, Digest, HistoryEntry, HistoryItem, Item, Standing};

/// A process, told apart from a later one with the same number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    pub pid: u32,
    /// Clock ticks after the boot (the 22nd field of proc_pid_stat(5)).
    pub started: u64,
    /// Of the kernel (`/proc/sys/kernel/random/boot_id`).
    pub boot: String,
}

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    Succeeded,
    Failed,
    Cancelled,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum Record {
    /// A transaction is about to change packages.
    Begun { actor: Actor, process: Process, actions: Vec<Action>, digest: Digest, items: Vec<Item> },
    /// It ended. One that never did was interrupted.
    Ended { begun: u64, ending: Ending, items: Vec<Item>, message: String },
    /// Package lists were fetched.
    Refreshed { actor: Actor, ending: Ending, message: String },
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// From 1, without gaps.
    pub number: u64,
    /// Unix time in seconds.
    pub time: u64,
    /// Hash of the entry before; of nothing for the first.
    pub previous: Digest,
    #[serde(flatten)]
    pub record: Record,
    /// Bytes of an entry before this one that was never written to its end, and was cut off.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub torn: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde wants")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Process {
    /// This process.
    pub fn current() -> Self {
        let pid = std::process::id();
        Self { pid, started: started(pid).unwrap_or_default(), boot: boot() }
    }

    /// Whether it still runs.
    pub fn is_alive(&self) -> bool {
        self.boot == boot() && started(self.pid) == Some(self.started)
    }
}

fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command's name is in parentheses and may hold anything; the third field follows the last of them.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// The transactions among `entries`, newest first. Entries are in their order; an end whose beginning is not among them is
/// left out.
pub fn history(entries: &[Entry]) -> Vec<HistoryEntry> {
    let mut told: Vec<HistoryEntry> = Vec::new();
    for entry in entries {
        match &entry.record {
            Record::Begun { actor, process, actions, items, .. } => told.push(HistoryEntry {
                id: entry.number,
                time: entry.time,
                ended: 0,
                actor: actor.clone(),
                actions: actions.clone(),
                standing: if process.is_alive() { Standing::Running } else { Standing::Interrupted },
                items: items.iter().map(HistoryItem::from).collect(),
                message: String::new(),
            }),
            Record::Ended { begun, ending, items, message } => {
                // Transactions overlap at most by a few: the beginning is near the end of what was told so far.
                let Some(begun) = told.iter_mut().rev().find(|told| told.id == *begun) else { continue };
                begun.ended = entry.time;
                begun.standing = match ending {
                    Ending::Succeeded => Standing::Succeeded,
                    Ending::Failed => Standing::Failed,
                    Ending::Cancelled => Standing::Cancelled,
                };
                begun.items = items.iter().map(HistoryItem::from).collect();
                begun.message.clone_from(message);
            }
            Record::Refreshed { .. } => {}
        }
    }
    told.reverse();
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_told_from_another_with_its_number() {
        let this = Process::current();
        assert!(this.is_alive() && this.started > 0);
        assert!(!Process { started: this.started + 1, ..this.clone() }.is_alive());
        assert!(!Process { boot: "another".into(), ..this }.is_alive());
    }
}
