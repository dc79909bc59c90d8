//! The audit log: who changed what, when, and how it ended, in a form that shows tampering.
//!
//! `audit.jsonl` holds one entry a line: `{"hash":"…","entry":{…}}`. `hash` is the SHA-256 of the bytes of `entry`, which
//! names the hash of the entry before it. `audit.head` holds number and hash of the last entry, so that entries missing
//! at the end are missed too. The log is written first: an end of the log that `audit.head` does not name yet is what a
//! crash leaves, a log that ends before it is not. Every entry is on the disk before `append` returns.
//!
//! Every call may block on the disk and on the lock of another writer.

mod chain;
mod record;

/// Where what was done with rights is written down, below the root of the system that was changed.
pub const SYSTEM_FOLDER: &str = "var/lib/omg/audit";

pub use chain::{AuditError, AuditLog, Finding, Readers, Verified};
pub use record::{Ending, Entry, Process, Record, history};
