//! Entries of the history and their bytes.

use super::StoreError;
use serde::{Deserialize, Serialize};

/// First byte of an encoded entry; the rest is postcard.
const VERSION: u8 = 1;

/// A transaction that ended, as stored: version byte 1, then these fields in postcard. Fields and variants keep their
/// order for ever; a change needs a new version byte.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryRecord {
    /// When it started, seconds since 1970-01-01 UTC.
    pub time: u64,
    /// User id of who asked for it.
    pub actor: u32,
    /// What was asked for: `install`, `remove`, `upgrade`…
    pub verb: String,
    pub items: Vec<HistoryItem>,
    pub outcome: Outcome,
}

/// What was done to one package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryItem {
    pub verb: String,
    pub name: String,
    pub arch: String,
    /// Version before; `None` when it was not installed.
    pub from: Option<String>,
    /// Version after; `None` when it is no longer installed.
    pub to: Option<String>,
    pub repository: String,
}

/// How a transaction ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    Succeeded,
    Failed { reason: String },
    Cancelled,
}

/// A record with its number. Numbers start at 1 and grow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    pub id: u64,
    pub record: HistoryRecord,
}

impl HistoryRecord {
    pub(super) fn encode(&self) -> Result<Vec<u8>, StoreError> {
        postcard::to_extend(self, vec![VERSION]).map_err(|error| StoreError::Encode(error.to_string()))
    }

    /// `None` when the bytes are of another version or no entry.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (&VERSION, fields) = bytes.split_first()? else {
            return None;
        };
        match postcard::take_from_bytes(fields) {
            Ok((record, [])) => Some(record),
            _ => None,
        }
    }
}
