//! What somebody looks at before it is built.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use super::super::Failure;
use super::super::change::args::AurHow;
use super::super::change::{is_interactive, steps};
use super::super::output::{Output, WARN, escape};
use crate::dbus::aur_client::{AurReview, AurStep};
use crate::dbus::client::{Client, ErrorKind, find_program};
use steps::Interrupts;

/// Has somebody look at what is new in a package base, which may be fetched already, and lets that commit be built; the commit.
///
/// # Errors
/// When it is refused, or there is nobody to look at it.
pub async fn review(
    client: &mut Client,
    step: &AurStep,
    fetched: Option<AurReview>,
    how: &AurHow,
    interrupts: &mut Interrupts,
    out: &mut Output,
) -> Result<String, Failure> {
    let base = &step.base;
    let review = match fetched {
        Some(review) => review,
        None => interrupts.unless(client.aur_review(base)).await??,
    };
    if let Some(missing) = step.packages.iter().find(|package| !review.packages.contains(&package.name)) {
        let text = format!("{base} does not make {}, as the AUR says it does; nothing was changed", missing.name);
        return Err(Failure::Of(ErrorKind::Invalid, text));
    }
    let commit = review.commit;
    if review.reviewed == commit {
        client.aur_accept(base, &commit, true).await?;
        return Ok(commit);
    }
    if how.no_review {
        out.note(WARN, &format!("{base} is built unseen (commit {commit})"));
        client.aur_accept(base, &commit, false).await?;
        return Ok(commit);
    }
    if let Some(why) = nobody_looks(out) {
        return Err(Failure::Of(ErrorKind::Invalid, format!("{}; nothing was changed", unseen(base, why))));
    }
    let what = if review.reviewed.is_empty() {
        format!("{base}: all files of commit {commit}, seen for the first time")
    } else {
        format!("{base}: what changed from commit {}, which you have seen, to {commit}", review.reviewed)
    };
    out.flush();
    page(&format!("{what}\n\n{}", review.changes), out);
    out.prompt(&format!("{what}. Build it? [y/N]"));
    if !steps::agrees(interrupts, false).await? {
        return Err(steps::cancelled());
    }
    client.aur_accept(base, &commit, true).await?;
    Ok(commit)
}

/// What is new in each package base, by its name; or why they cannot all be built: one cannot be fetched, or has to be looked at
/// where nobody is.
///
/// # Errors
/// When it is interrupted.
pub async fn fetch(
    client: &mut Client,
    steps: &[AurStep],
    how: &AurHow,
    interrupts: &mut Interrupts,
    out: &Output,
) -> Result<Result<BTreeMap<String, AurReview>, String>, Failure> {
    let mut fetched = BTreeMap::new();
    for AurStep { base, .. } in steps {
        let review = match interrupts.unless(client.aur_review(base)).await? {
            Ok(review) => review,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let is_seen = review.reviewed == review.commit || how.no_review;
        if let Some(why) = nobody_looks(out).filter(|_| !is_seen) {
            return Ok(Err(unseen(base, why)));
        }
        fetched.insert(base.clone(), review);
    }
    Ok(Ok(fetched))
}

fn nobody_looks(out: &Output) -> Option<&'static str> {
    match (out.is_json(), is_interactive()) {
        (true, _) => Some("--json never asks"),
        (false, false) => Some("standard input is no terminal"),
        (false, true) => None,
    }
}

fn unseen(base: &str, why: &str) -> String {
    format!("{base} has to be looked at before it is built, and {why} (--no-review builds it unseen)")
}

/// Shows a stranger's text, with nothing in it that steers the terminal.
fn page(text: &str, out: &mut Output) {
    let mut shown = String::with_capacity(text.len());
    for line in text.split('\n') {
        let mut parts = line.split('\t').map(escape::escape);
        shown.extend(parts.next());
        for part in parts {
            shown.push('\t');
            shown.push_str(&part);
        }
        shown.push('\n');
    }
    let pager = std::env::var("PAGER").ok().filter(|pager| !pager.trim().is_empty());
    let pager = pager.or_else(|| {
        let known = ["less", "more"].into_iter().find(|program| find_program(program, None).is_some());
        known.map(str::to_owned)
    });
    if let Some(pager) = pager.filter(|_| out.is_terminal()) {
        let mut command = Command::new("sh");
        // Options that the user gave less for other texts, such as -R, are not for this one.
        command
            .args(["-c", &pager])
            .env("LESS", "")
            .env_remove("LESSOPEN")
            .env("LESSSECURE", "1")
            .stdin(Stdio::piped());
        if let Ok(mut child) = command.spawn() {
            if let Some(mut input) = child.stdin.take() {
                // Who has seen enough ends the pager before the text ends.
                let _ = input.write_all(shown.as_bytes());
            }
            if child.wait().is_ok_and(|status| status.success()) {
                return;
            }
        }
        out.note(WARN, &format!("{pager} did not show it"));
    }
    out.file(shown.as_bytes());
    out.flush();
}
