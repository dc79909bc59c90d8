//! `omg audit`
//!
//! The record is read here and not asked of the daemon: a check by a process that whoever changed the record may have
//! changed too proves less.

use std::path::Path;

use serde::Serialize;

use super::Failure;
use super::output::format::{count, counted};
use super::output::{DIM, GOOD, Output};
use crate::dbus::client::ErrorKind;
use crate::security::audit::{AuditLog, Readers};

/// What `--json` prints.
#[derive(Default, Serialize)]
struct Answer {
    sound: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    entries: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    torn: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finding: Option<String>,
}

/// Checks the log in the folder.
pub fn verify(folder: &Path, out: &mut Output) -> Result<(), Failure> {
    let verified = match AuditLog::new(folder, Readers::Everyone).verify() {
        Ok(Ok(verified)) => verified,
        Ok(Err(finding)) => {
            let text = finding.to_string();
            if out.is_json() {
                out.json(&Answer { finding: Some(text), ..Answer::default() });
                return Err(Failure::Reported(ErrorKind::Failed.exit_code()));
            }
            return Err(Failure::Internal(format!("{} is not sound: {text}", folder.display())));
        }
        Err(error) => return Err(Failure::Internal(error.to_string())),
    };
    // A log that was taken away as a whole looks the same, so it is not called sound.
    if verified.entries == 0 {
        let text =
            format!("there is no log in {}: nothing was recorded yet, or the log is elsewhere", folder.display());
        return Err(Failure::NotFound(text));
    }
    if out.is_json() {
        out.json(&Answer {
            sound: true,
            entries: Some(verified.entries),
            hash: Some(verified.hash.to_string()),
            torn: Some(verified.torn),
            finding: None,
        });
    } else if !out.quiet() {
        let checked = match verified.entries {
            1 => "1 entry, not changed".to_owned(),
            entries => format!("{} entries, none of them changed", count(entries)),
        };
        out.styled(GOOD, &checked);
        out.newline();
        out.styled(DIM, &format!("the last one has the hash {}", verified.hash));
        out.newline();
        if verified.torn > 0 {
            let left = counted(verified.torn, "byte");
            out.line(&format!("left behind it: {left} of an entry that was not written to its end"));
        }
    }
    Ok(())
}
