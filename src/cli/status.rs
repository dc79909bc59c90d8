//! `omg status`

use anstyle::Style;
use unicode_width::UnicodeWidthStr;

use super::Failure;
use super::output::format::{ago, bytes, count, duration};
use super::output::{BAD, GOOD, NAME, Output, WARN};
use crate::dbus::client::Client;
use crate::dbus::reply::{LastKnown, LockHolder, Status};

pub async fn run(client: &mut Client, out: &mut Output) -> Result<(), Failure> {
    let status = client.status().await?;
    // Without packages this is no status that a script could go by.
    let outcome = if status.packages.is_some() { Ok(()) } else { Err(Failure::Reported(3)) };
    if out.is_json() {
        out.json(&status);
        return outcome;
    }
    if !out.quiet() {
        let rows = summary(&status);
        print_pairs(rows.iter().map(|(key, value, style)| (*key, value.as_str(), *style)), out);
    }
    for error in &status.errors {
        out.styled(BAD, "error: ");
        out.line(error);
    }
    outcome
}

fn summary(status: &Status) -> Vec<(&'static str, String, Style)> {
    let plain = Style::new();
    let number = |known: Option<u32>| known.unwrap_or_default();
    let mut rows = Vec::new();
    if let Some(packages) = status.packages {
        let installed =
            format!("{} installed, {} explicit", count(number(status.installed)), count(number(status.explicit)));
        rows.push(("Packages", format!("{} known, {installed}", count(packages)), plain));
        rows.push(match (number(status.upgradable), number(status.security)) {
            (0, _) => ("Upgrades", "none".into(), GOOD),
            (updates, 0) => ("Upgrades", count(updates), WARN),
            (updates, security) => {
                ("Upgrades", format!("{}, {} with security fixes", count(updates), count(security)), BAD)
            }
        });
    } else {
        rows.push(("Packages", "cannot be read".into(), BAD));
    }
    if let Some(known) = &status.last_known {
        rows.push(("Last known", last_known(known), plain));
    }
    let counts = [
        ("Orphans", number(status.orphans), plain),
        ("Foreign", number(status.foreign), plain),
        ("Held", number(status.held), plain),
        ("Phased", number(status.phased), plain),
        ("Residual", number(status.residual), plain),
        ("Broken", number(status.broken), BAD),
        ("Vulnerable", number(status.vulnerabilities), BAD),
    ];
    rows.extend(counts.into_iter().filter(|row| row.1 > 0).map(|(key, number, style)| (key, count(number), style)));
    if !status.runtimes.is_empty() {
        let runtimes: Vec<_> =
            status.runtimes.iter().map(|runtime| format!("{} {}", runtime.name, runtime.version)).collect();
        rows.push(("Runtimes", runtimes.join(", "), plain));
    }
    if let Some(time) = status.last_refresh {
        rows.push(("Lists", format!("fetched {}", ago(time)), plain));
    }
    if let (Some(time), Some(planned)) = (status.copy_refreshed, status.planned) {
        let own = format!("fetched {}; the upgrades above are by it, {} by the lists", ago(time), count(planned));
        rows.push(("Own copy", own, plain));
    }
    if let Some(created) = status.snapshot_created {
        let size = status.snapshot_bytes.map_or(String::new(), |size| format!(", {}", bytes(size)));
        rows.push(("Index", format!("built {}{size}", ago(created)), plain));
    }
    if let (Some(packages), Some(fetched)) = (status.aur_packages, status.aur_fetched) {
        rows.push(("AUR", format!("{} packages, fetched {}", count(packages), ago(fetched)), plain));
    }
    if let Some(holder) = &status.lock_holder {
        rows.push(("Lock", held(holder), WARN));
    }
    if status.restart_required {
        let packages = &status.restart_packages;
        let why = if packages.is_empty() { String::new() } else { format!(" for {}", packages.join(", ")) };
        rows.push(("Restart", format!("required{why}"), WARN));
    }
    let daemon = format!(
        "omgd {} ({}), process {}, up {}",
        status.daemon_version,
        status.backend,
        status.pid,
        duration(status.uptime)
    );
    rows.push(("Daemon", daemon, plain));
    rows
}

/// Who holds the package system's lock.
pub fn held(holder: &LockHolder) -> String {
    match holder.pid {
        0 => "it is there, and no process that can be seen from here holds it".to_owned(),
        pid => format!("held by {} (process {pid})", holder.command),
    }
}

/// What was known of packages that cannot be read now, on a line.
pub fn last_known(known: &LastKnown) -> String {
    format!(
        "{} installed, {} explicit, {} upgradable, {} with security fixes; read {}",
        count(known.installed),
        count(known.explicit),
        count(known.upgradable),
        count(known.security),
        ago(known.time)
    )
}

/// Prints keys and values in two columns on a terminal, as `key<TAB>value` elsewhere.
pub fn print_pairs<'a>(pairs: impl Iterator<Item = (&'a str, &'a str, Style)> + Clone, out: &mut Output) {
    if !out.is_terminal() {
        for (key, value, style) in pairs {
            out.styled_columns([(NAME, key), (style, value)]);
        }
        return;
    }
    let width = pairs.clone().map(|(key, ..)| key.width()).max().unwrap_or_default();
    for (key, value, style) in pairs {
        out.styled(NAME, key);
        out.blanks(width.saturating_sub(key.width()) + 2);
        out.styled(style, value);
        out.newline();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_zero_or_unknown_is_not_mentioned() {
        let status = Status {
            packages: Some(63_440),
            installed: Some(512),
            upgradable: Some(3),
            security: Some(1),
            ..Status::default()
        };
        let rows = summary(&status);
        let keys: Vec<_> = rows.iter().map(|row| row.0).collect();
        assert_eq!(keys, ["Packages", "Upgrades", "Daemon"]);
        assert_eq!(rows[0].1, "63,440 known, 512 installed, 0 explicit");
        assert_eq!(rows[1].1, "3, 1 with security fixes");
    }

    #[test]
    fn packages_that_cannot_be_read_are_not_counted_but_what_was_known_is_told() {
        let known = LastKnown { time: 1, installed: 512, explicit: 300, upgradable: 3, ..LastKnown::default() };
        let rows = summary(&Status { last_known: Some(known), ..Status::default() });
        assert_eq!(rows.iter().map(|row| row.0).collect::<Vec<_>>(), ["Packages", "Last known", "Daemon"]);
        assert_eq!(rows[0].1, "cannot be read");
        let told = "512 installed, 300 explicit, 3 upgradable, 0 with security fixes; read ";
        assert!(rows[1].1.starts_with(told), "{}", rows[1].1);
    }
}
