//! The bytes of an entry of the history.

use super::StoreError;
use crate::transaction::HistoryEntry;

/// First byte of an encoded entry; the rest is JSON, whose words for verbs and changes may be those of a later version.
const VERSION: u8 = 3;

pub(super) fn encode(entry: &HistoryEntry) -> Result<Vec<u8>, StoreError> {
    let mut bytes = vec![VERSION];
    serde_json::to_writer(&mut bytes, entry).map_err(|error| StoreError::Encode(error.to_string()))?;
    Ok(bytes)
}

/// `None` when the bytes are of another version or no entry.
pub(super) fn decode(bytes: &[u8]) -> Option<HistoryEntry> {
    let (&VERSION, entry) = bytes.split_first()? else {
        return None;
    };
    serde_json::from_slice(entry).ok()
}
