//! What came of it.

use std::path::Path;

use serde::Serialize;

use super::super::output::format::{count, counted};
use super::super::output::{DIM, GOOD, NAME, Output, WARN};
use super::super::{Failure, rows};
use super::ask::Interrupts;
use crate::dbus::client::{Client, ErrorKind};
use crate::dbus::planned::PlannedItem;
use crate::dbus::reply::Status;
use crate::transaction::{self, Applied, Archive, Change, Item, Outcome, Restart};

/// The last line of `--json`.
#[derive(Serialize)]
struct ResultLine<'a> {
    result: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    applied: Option<AppliedObject<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<&'a transaction::Failure>,
}

/// What was done, with items as the plan has them: more than that does not come over the bus.
#[derive(Serialize)]
struct AppliedObject<'a> {
    items: Vec<PlannedItem>,
    restart: &'a Restart,
    entry: u64,
}

/// Of `--json` where nothing was done.
pub fn bare(result: &str, out: &mut Output) {
    out.json(&ResultLine { result, applied: None, failure: None });
}

/// Says how a commit ended.
///
/// # Errors
/// Unless it succeeded.
pub fn outcome(outcome: Outcome, download_only: bool, out: &mut Output) -> Result<(), Failure> {
    print_json(&outcome, out);
    match outcome {
        Outcome::Succeeded(applied) => {
            print(&applied, download_only, out);
            Ok(())
        }
        Outcome::Failed { failure, applied } => {
            print_before(&applied, "before it failed", out);
            Err(Failure::Concluded(ErrorKind::of(failure.kind), failure.message))
        }
        Outcome::Cancelled { applied } if applied.items.is_empty() => Err(cancelled()),
        Outcome::Cancelled { applied } => {
            print_before(&applied, "before it was cancelled", out);
            Err(Failure::Concluded(ErrorKind::Cancelled, "cancelled".into()))
        }
    }
}

/// Says how fetching ended; what the daemon then says of the packages, where that is to be shown.
async fn status_after(
    outcome: Outcome,
    client: &mut Client,
    interrupts: &mut Interrupts,
    out: &mut Output,
) -> Result<Option<Status>, Failure> {
    print_json(&outcome, out);
    match outcome {
        Outcome::Succeeded(_) => {}
        Outcome::Failed { failure, .. } => {
            return Err(Failure::Concluded(ErrorKind::of(failure.kind), failure.message));
        }
        Outcome::Cancelled { .. } => return Err(cancelled()),
    }
    out.flush();
    // That the daemon does not answer is no failure of what was done.
    // Nor is an interrupt by now: the lists are there.
    let status = interrupts.unless(client.status()).await;
    Ok(status.ok().and_then(Result::ok).filter(|_| !out.is_json() && !out.quiet()))
}

/// Says how fetching the package lists ended, and what it brought.
///
/// # Errors
/// Unless it succeeded.
pub async fn refreshed(
    outcome: Outcome,
    client: &mut Client,
    interrupts: &mut Interrupts,
    out: &mut Output,
) -> Result<(), Failure> {
    let Some(status) = status_after(outcome, client, interrupts, out).await? else { return Ok(()) };
    rows::note_aur(client, out).await;
    let (Some(upgrades), Some(security)) = (status.upgradable, status.security) else {
        out.styled(WARN, "the packages cannot be read: see `omg status`");
        out.newline();
        return Ok(());
    };
    match (upgrades, security) {
        (0, _) => out.styled(GOOD, "the lists are fetched; there is nothing to upgrade"),
        (upgrades, 0) => out.styled(WARN, &format!("{} (`omg upgrade`)", counted(upgrades, "upgrade"))),
        (upgrades, security) => {
            let upgrades = counted(upgrades, "upgrade");
            out.styled(WARN, &format!("{upgrades}, {} with security fixes (`omg upgrade`)", count(security)));
        }
    }
    out.newline();
    Ok(())
}

/// Says how fetching the user's own copy of the package lists ended, and what it tells.
///
/// # Errors
/// Unless it succeeded.
pub async fn refreshed_copy(
    outcome: Outcome,
    client: &mut Client,
    interrupts: &mut Interrupts,
    out: &mut Output,
) -> Result<(), Failure> {
    let Some(status) = status_after(outcome, client, interrupts, out).await? else { return Ok(()) };
    let Some(upgrades) = status.upgradable else { return Ok(()) };
    // Absent where the copy has nothing that the package system's own lists have not.
    let planned = status.planned.unwrap_or(upgrades);
    let style = if upgrades == 0 { GOOD } else { WARN };
    let possible =
        format!("{} possible, {} by the package system's own lists", counted(upgrades, "upgrade"), count(planned));
    out.styled(style, &possible);
    out.newline();
    Ok(())
}

/// Says how fetching package files ended.
///
/// # Errors
/// Unless it succeeded.
pub fn downloaded(outcome: &Outcome, archives: &[Archive], folder: &Path, out: &mut Output) -> Result<(), Failure> {
    let failure = match outcome {
        Outcome::Failed { failure, .. } => Some(failure),
        Outcome::Succeeded(_) | Outcome::Cancelled { .. } => None,
    };
    if out.is_json() {
        out.json(&ResultLine { result: outcome.as_str(), applied: None, failure });
    }
    match (outcome, failure) {
        (_, Some(failure)) => Err(Failure::Concluded(ErrorKind::of(failure.kind), failure.message.clone())),
        (Outcome::Cancelled { .. }, None) => Err(Failure::Concluded(
            ErrorKind::Cancelled,
            "cancelled: what was fetched to its end is there, the rest is not".into(),
        )),
        _ => {
            if !out.is_json() && !out.quiet() {
                out.styled(GOOD, &super::download::summary(archives, folder));
                out.newline();
            }
            Ok(())
        }
    }
}

/// Told by the result already.
fn cancelled() -> Failure {
    Failure::Concluded(ErrorKind::Cancelled, super::ask::NOTHING_CHANGED.into())
}

/// The last line of `--json`, after several transactions.
pub fn conclusion(result: &str, applied: &Applied, failure: Option<&transaction::Failure>, out: &mut Output) {
    let items = applied.items.iter().map(PlannedItem::from).collect();
    let applied = AppliedObject { items, restart: &applied.restart, entry: applied.entry };
    out.json(&ResultLine { result, applied: Some(applied), failure });
}

fn print_json(outcome: &Outcome, out: &mut Output) {
    if !out.is_json() {
        return;
    }
    let (result, applied, failure) = match outcome {
        Outcome::Succeeded(applied) => ("succeeded", applied, None),
        Outcome::Failed { failure, applied } => ("failed", applied, Some(failure)),
        Outcome::Cancelled { applied } => ("cancelled", applied, None),
    };
    conclusion(result, applied, failure, out);
}

fn print(applied: &Applied, download_only: bool, out: &mut Output) {
    if out.is_json() || out.quiet() {
        return;
    }
    let done = if download_only { "everything is downloaded".to_owned() } else { summary(applied) };
    out.styled(GOOD, &done);
    out.newline();
    let restart = &applied.restart;
    if restart.machine {
        out.styled(WARN, "the machine should be restarted");
        if !restart.packages.is_empty() {
            out.text(&format!(" for {}", restart.packages.join(", ")));
        }
        out.newline();
    }
    if !restart.services.is_empty() {
        out.styled(WARN, "still running what was replaced: ");
        out.text(&restart.services.join(", "));
        out.styled(DIM, " (`systemctl restart` renews them)");
        out.newline();
    }
    if applied.entry != 0 && !download_only {
        let lasting = |item: &Item| !matches!(item.change, Change::Reinstall | Change::Configure | Change::Clean);
        // What was installed here may be offered nowhere.
        let replaces =
            |item: &Item| matches!(item.change, Change::Upgrade | Change::Downgrade | Change::Remove | Change::Purge);
        let undo = match (applied.items.iter().any(lasting), applied.items.iter().any(replaces)) {
            (false, _) => String::new(),
            (true, false) => format!("; `omg undo {}` takes it back", applied.entry),
            (true, true) => {
                format!("; `omg undo {}` takes it back if the old versions can still be had", applied.entry)
            }
        };
        out.styled(DIM, &format!("number {} in the history{undo}", applied.entry));
        out.newline();
    }
}

/// What was done all the same.
fn print_before(applied: &Applied, when: &str, out: &mut Output) {
    if out.is_json() || applied.items.is_empty() {
        return;
    }
    out.styled(NAME, &format!("{when}: "));
    out.line(&summary(applied));
    if applied.entry != 0 {
        out.styled(DIM, &format!("number {0} in the history (`omg history show {0}`)", applied.entry));
        out.newline();
    }
}

/// How many packages what was done to.
fn summary(applied: &Applied) -> String {
    /// Behind the number: of one, and of several.
    const fn alike(words: &str) -> (&str, &str) {
        (words, words)
    }
    const WORDS: [(Change, (&str, &str)); 12] = [
        (Change::Install, alike("installed")),
        (Change::Upgrade, alike("upgraded")),
        (Change::Downgrade, alike("downgraded")),
        (Change::Reinstall, alike("installed again")),
        (Change::Configure, alike("configured")),
        (Change::Remove, alike("removed")),
        (Change::Purge, alike("removed with configuration files")),
        (Change::Hold, alike("on hold")),
        (Change::Unhold, alike("no longer on hold")),
        (Change::MarkExplicit, alike("marked as asked for")),
        (Change::MarkDependency, ("marked as a dependency", "marked as dependencies")),
        (Change::Clean, ("downloaded file deleted", "downloaded files deleted")),
    ];
    let told: Vec<String> = WORDS
        .into_iter()
        .map(|(change, words)| (applied.items.iter().filter(|item| item.change == change).count(), words))
        .filter(|(number, _)| *number > 0)
        .map(|(number, (one, several))| format!("{} {}", count(number as u64), if number == 1 { one } else { several }))
        .collect();
    if told.is_empty() { "done".to_owned() } else { told.join(", ") }
}
