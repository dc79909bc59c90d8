//! `omg runtime keys`: whose signatures count.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::super::Failure;
use super::super::output::format::utc;
use super::super::output::{Cell, DIM, NAME, Output, Table};
use crate::dbus::client::ConnectOptions;

#[derive(Serialize)]
struct KeyLine<'a> {
    r#for: &'a str,
    fingerprint: &'a str,
    owner: &'a str,
    expires: Option<u64>,
}

/// # Errors
/// When the daemon cannot be asked, or cannot read keys that are configured.
pub fn run(options: &ConnectOptions, out: &mut Output) -> Result<(), Failure> {
    let keys = super::super::act(options, async |client| Ok(client.runtime_keys().await?))?;
    let expires = |at: u64| (at > 0).then_some(at);
    let rows: Vec<(&str, &str, &str, Option<u64>)> = keys
        .iter()
        .map(|(of, fingerprint, owner, at)| (of.as_str(), fingerprint.as_str(), owner.as_str(), expires(*at)))
        .collect();
    let as_table = out.is_terminal() && !out.quiet() && !out.is_json();
    let mut table = Table::new(["FOR", "FINGERPRINT", "OWNER", "EXPIRES"]);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let expiry = |at: u64| if at < now { format!("{} (expired)", utc(at)) } else { utc(at) };
    let expiries: Vec<String> = rows.iter().map(|(.., expires)| expires.map(expiry).unwrap_or_default()).collect();
    for ((name, fingerprint, owner, expires), expiry) in rows.iter().zip(&expiries) {
        if out.is_json() {
            out.json(&KeyLine { r#for: name, fingerprint, owner, expires: *expires });
        } else if out.quiet() {
            out.line(fingerprint);
        } else if as_table {
            table.push([
                Cell::new(name).styled(NAME),
                Cell::new(fingerprint),
                Cell::new(owner).styled(DIM),
                Cell::new(expiry).styled(DIM),
            ]);
        } else {
            out.columns(&[name, fingerprint, owner, expiry]);
        }
    }
    if as_table {
        table.print(out);
    }
    Ok(())
}
