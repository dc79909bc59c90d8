//! Asking on the terminal, and whether a plan may go on.

use std::io::{self, IsTerminal};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use super::super::Failure;
use super::super::output::Output;
use super::args::Consent;
use super::show::{is_harmless, risks};
use crate::dbus::client::ErrorKind;
use crate::dbus::planned::Planned;

/// What has to be typed before the system is put at risk.
const PHRASE: &str = "I know that this may break the system";

/// The code of the risk that goes when everything is upgraded.
const PARTIAL_UPGRADE: &str = "partial-upgrade";

/// Whether somebody at a terminal can answer.
pub fn is_interactive() -> bool {
    io::stdin().is_terminal()
}

/// Waits for the signals that ask a process to end.
#[derive(Debug)]
pub struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    /// Listens from now on.
    ///
    /// # Errors
    /// When the signals cannot be listened to.
    pub fn listen() -> Result<Self, Failure> {
        let of = |kind| signal(kind).map_err(|error| Failure::Internal(format!("cannot listen to signals: {error}")));
        Ok(Self { interrupt: of(SignalKind::interrupt())?, terminate: of(SignalKind::terminate())? })
    }

    /// The next one. Dropping the future loses nothing.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// The work's result, unless a signal comes first: while nothing was changed, it ends omg at once.
    ///
    /// # Errors
    /// When a signal came.
    pub async fn unless<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Failure> {
        tokio::select! {
            result = work => Ok(result),
            () = self.next() => Err(cancelled()),
        }
    }
}

/// What is said when somebody does not want to go on.
pub const NOTHING_CHANGED: &str = "cancelled: nothing was changed";

/// What ends omg when somebody does not want to go on.
pub fn cancelled() -> Failure {
    Failure::Of(ErrorKind::Cancelled, NOTHING_CHANGED.into())
}

/// The next line that is typed; `None` at the end of the input.
pub fn read_line() -> oneshot::Receiver<Option<String>> {
    let (sender, line) = oneshot::channel();
    // A thread that nobody waits for: a line that is never typed holds nothing up.
    std::thread::spawn(move || {
        let mut text = String::new();
        let read = io::stdin().read_line(&mut text);
        let _ = sender.send(read.ok().filter(|length| *length > 0).map(|_| text.trim().to_owned()));
    });
    line
}

/// The option that allows a risk, and what it is in words. `None`: whoever goes on without being asked takes it.
fn allowance(code: &str, consent: &Consent) -> Option<(bool, &'static str)> {
    match code {
        "removes-many" | PARTIAL_UPGRADE => None,
        "removes-essential" => Some((consent.allow_essential, "--allow-essential")),
        "downgrades" => Some((consent.allow_downgrade, "--allow-downgrade")),
        "untrusted" => Some((consent.allow_untrusted, "--allow-untrusted")),
        "changes-held" => Some((consent.allow_held, "--allow-held")),
        // Of a later version: a person has to look at it.
        _ => Some((false, "a newer omg")),
    }
}

/// What of a plan about installed packages the options do not allow, in words: for plans that nobody is asked about. That what
/// is built is signed by nobody is known.
pub fn refused(planned: &Planned, consent: &Consent) -> Option<String> {
    const ABOUT_INSTALLED: [&str; 2] = ["removes-essential", "changes-held"];
    risks(planned).into_iter().filter(|(code, _)| ABOUT_INSTALLED.contains(code)).find_map(|(code, about)| {
        match allowance(code, consent)? {
            (true, _) => None,
            (false, option) => Some(format!("{code}: {}; {option} allows it", about.join(", "))),
        }
    })
}

/// Whether somebody is asked before the plan goes on.
pub fn is_asked(planned: &Planned, consent: &Consent, out: &Output) -> bool {
    !consent.yes && !out.is_json() && is_interactive() && !is_harmless(planned)
}

/// Whether everything is to be upgraded in the same transaction: asked where the plan leaves a partial upgrade behind.
///
/// # Errors
/// When it is interrupted.
pub async fn upgrades_too(
    planned: &Planned,
    consent: &Consent,
    interrupts: &mut Interrupts,
    out: &mut Output,
) -> Result<bool, Failure> {
    if !is_asked(planned, consent, out) || !risks(planned).iter().any(|(code, _)| *code == PARTIAL_UPGRADE) {
        return Ok(false);
    }
    out.prompt("Upgrade everything in the same transaction? [Y/n]");
    agrees(interrupts, true).await
}

/// Returns when the plan may go on.
///
/// # Errors
/// When it is refused, or there is nobody to ask.
pub async fn obtain(
    planned: &Planned,
    consent: &Consent,
    interrupts: &mut Interrupts,
    out: &mut Output,
) -> Result<(), Failure> {
    if is_harmless(planned) {
        return Ok(());
    }
    let refused: Vec<(&str, String, &str)> = risks(planned)
        .into_iter()
        .filter_map(|(code, about)| match allowance(code, consent)? {
            (true, _) => None,
            (false, option) => Some((code, about.join(", "), option)),
        })
        .collect();
    let needed = || {
        let told: Vec<_> =
            refused.iter().map(|(code, about, option)| format!("{code} ({about}) needs {option}")).collect();
        told.join(", ")
    };
    if consent.yes {
        if refused.is_empty() {
            return Ok(());
        }
        let text = format!("-y does not cover what is risky: {}; nothing was changed", needed());
        return Err(Failure::Of(ErrorKind::Invalid, text));
    }
    if out.is_json() || !is_interactive() {
        let why = if out.is_json() { "--json never asks" } else { "standard input is no terminal to ask on" };
        let risky = if refused.is_empty() { String::new() } else { format!(", and {}", needed()) };
        let text = format!("{why}: nothing was changed; -y goes on without asking{risky}");
        return Err(Failure::Of(ErrorKind::Invalid, text));
    }
    let agreed = if refused.iter().any(|(code, ..)| *code == "removes-essential") {
        out.prompt(&format!("Type “{PHRASE}” to go on:"));
        interrupts.unless(read_line()).await?.ok().flatten().is_some_and(|line| line == PHRASE)
    } else if planned.risks.is_empty() {
        out.prompt("Go on? [Y/n]");
        agrees(interrupts, true).await?
    } else {
        out.prompt("Go on? [y/N]");
        agrees(interrupts, false).await?
    };
    if agreed { Ok(()) } else { Err(cancelled()) }
}

/// Whether the next line means yes; an empty one means `default`, the end of the input no.
///
/// # Errors
/// When a signal came.
pub async fn agrees(interrupts: &mut Interrupts, default: bool) -> Result<bool, Failure> {
    let line = interrupts.unless(read_line()).await?.ok().flatten();
    Ok(line.is_some_and(|line| match line.as_str() {
        "" => default,
        line => line.eq_ignore_ascii_case("y") || line.eq_ignore_ascii_case("yes"),
    }))
}
