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
    /// A commit of the AUR's may be built although nobody looked at it.
    Unreviewed { uid: u32, base: String, commit: String },
    /// Of a runtime something may be installed that cannot be checked.
    Unverified { uid: u32, runtime: String },
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
    /// Items, actions and bytes of the message that were left out, since the entry would have been too long.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub omitted: u64,
}

/// Bytes of a message that stay where it has to be cut.
const KEPT_OF_MESSAGE: usize = 4096;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde wants")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Entry {
    /// Leaves out some of what can be long, and counts it; `false` when nothing is left that can be.
    pub(super) fn shorten(&mut self) -> bool {
        let (items, actions, message) = match &mut self.record {
            Record::Begun { actions, items, .. } => (Some(items), Some(actions), None),
            Record::Ended { items, message, .. } => (Some(items), None, Some(message)),
            Record::Refreshed { message, .. } => (None, None, Some(message)),
            Record::Unreviewed { .. } | Record::Unverified { .. } => (None, None, None),
        };
        let omitted = match (message, items, actions) {
            (Some(message), ..) if message.len() > KEPT_OF_MESSAGE => {
                let end = (0..=KEPT_OF_MESSAGE).rev().find(|end| message.is_char_boundary(*end)).unwrap_or(0);
                let omitted = message.len() - end;
                message.truncate(end);
                omitted
            }
            (_, Some(items), _) if !items.is_empty() => halve(items),
            (_, _, Some(actions)) if !actions.is_empty() => halve(actions),
            _ => 0,
        };
        self.omitted += omitted as u64;
        omitted > 0
    }

    /// What is to be said to whoever takes the entry for the whole.
    fn caveat(&self) -> Option<String> {
        let omitted = self.omitted;
        (omitted > 0).then(|| format!("the entry was too long: {omitted} items, actions or bytes were left out"))
    }
}

/// Drops the second half, and says how much that is.
fn halve<T>(list: &mut Vec<T>) -> usize {
    let kept = list.len() / 2;
    let dropped = list.len() - kept;
    list.truncate(kept);
    dropped
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
                message: entry.caveat().unwrap_or_default(),
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
                // What the beginning says of itself still holds.
                let said = std::mem::take(&mut begun.message);
                let mut parts = vec![message.clone(), said, entry.caveat().unwrap_or_default()];
                parts.retain(|part| !part.is_empty());
                parts.dedup();
                begun.message = parts.join("; ");
            }
            Record::Refreshed { .. } | Record::Unreviewed { .. } | Record::Unverified { .. } => {}
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
