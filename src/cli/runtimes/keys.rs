//! `omg runtime keys`: whose signatures count.

use serde::Serialize;

use super::super::Failure;
use super::super::output::format::utc;
use super::super::output::{Cell, DIM, NAME, Output, Table};
use super::here;
use crate::config;
use crate::dbus::client::ErrorKind;
use crate::runtime::Runtimes;

#[derive(Serialize)]
struct KeyLine<'a> {
    r#for: &'a str,
    fingerprint: &'a str,
    owner: &'a str,
    expires: Option<u64>,
}

/// # Errors
/// When keys that are configured cannot be read.
pub fn run(out: &mut Output) -> Result<(), Failure> {
    let paths = here::paths();
    let settings = config::load(paths.config_file.as_deref())
        .map_err(|error| Failure::Of(ErrorKind::Invalid, error.to_string()))?;
    let runtimes = Runtimes::new(&paths.data_dir, &paths.cache_dir, settings.runtimes);
    let keys = runtimes.all_keys().map_err(|error| Failure::Of(ErrorKind::Invalid, error.to_string()))?;
    let rows: Vec<(&str, &str, &str, Option<u64>)> = keys
        .iter()
        .flat_map(|(name, keys)| {
            keys.iter().map(move |key| (*name, key.fingerprint.as_str(), key.owner.as_str(), key.expires))
        })
        .collect();
    let as_table = out.is_terminal() && !out.quiet() && !out.is_json();
    let mut table = Table::new(["FOR", "FINGERPRINT", "OWNER", "EXPIRES"]);
    let expiries: Vec<String> = rows.iter().map(|(.., expires)| expires.map(utc).unwrap_or_default()).collect();
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
