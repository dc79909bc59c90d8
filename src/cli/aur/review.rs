//! What somebody looks at before it is built.

use std::io::Write;
use std::process::{Command, Stdio};

use super::super::Failure;
use super::super::change::args::AurHow;
use super::super::change::{is_interactive, steps};
use super::super::output::{Output, WARN, escape};
use crate::dbus::aur_client::AurStep;
use crate::dbus::client::{Client, ErrorKind, find_program};
use steps::Interrupts;

/// Has somebody look at what is new in a package base, and lets that commit be built; the commit.
///
/// # Errors
/// When it is refused, or there is nobody to look at it.
pub async fn review(
    client: &mut Client,
    step: &AurStep,
    how: &AurHow,
    interrupts: &mut Interrupts,
    out: &mut Output,
) -> Result<String, Failure> {
    let base = &step.base;
    let review = interrupts.unless(client.aur_review(base)).await??;
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

/// Why none of these can be built, where nobody is there to look at what is new in one of them.
///
/// # Errors
/// When it is interrupted.
pub async fn prevented(
    client: &mut Client,
    steps: &[AurStep],
    how: &AurHow,
    interrupts: &mut Interrupts,
    out: &Output,
) -> Result<Option<String>, Failure> {
    let Some(why) = nobody_looks(out).filter(|_| !how.no_review) else { return Ok(None) };
    for AurStep { base, .. } in steps {
        match interrupts.unless(client.aur_review(base)).await? {
            Ok(review) if review.reviewed == review.commit => {}
            Ok(_) => return Ok(Some(unseen(base, why))),
            Err(error) => return Ok(Some(error.to_string())),
        }
    }
    Ok(None)
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
