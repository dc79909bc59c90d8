//! Fetches packages with apt's own methods and checks.

use std::cell::RefCell;
use std::path::PathBuf;

use omg::transaction::{Event, Failure, FailureKind, ItemState, Level, Plan};
use rust_apt::Cache;
use rust_apt::config::Config;
use rust_apt::error::AptErrors;
use rust_apt::progress::{AcquireProgress, DynAcquireProgress};
use rust_apt::raw::{AcqTextStatus, ItemDesc, ItemState as FileState, PkgAcquire};

use super::super::super::report::Report;
use super::super::super::{Caller, end_children};
use super::{Stop, words};

/// Between two of apt's reports, in microseconds.
const PULSE: usize = 100_000;

/// So many files are named that failed besides the first.
const NAMED: usize = 5;

/// Fetches every package file that the plan needs and that is not there. `share` is the part of the whole that this is.
///
/// # Errors
/// [`FailureKind::Network`], [`FailureKind::NotFound`], [`FailureKind::Untrusted`] when a file is not what the lists
/// promise, [`FailureKind::DiskFull`]; cancelled.
pub fn fetch(
    config: &Config,
    cache: &Cache,
    plan: &Plan,
    caller: &dyn Caller,
    share: f64,
) -> Result<Vec<Fetched>, Stop> {
    has_room(config, plan)?;
    let report = Report::new(caller, plan, 0.0, share);
    acquire("the packages", report, ItemDesc::short_desc, |progress| {
        cache.get_archives(progress).map_err(AptErrors::from)
    })
}

/// Fetches the package lists.
///
/// # Errors
/// As [`fetch`].
pub fn fetch_lists(cache: Cache, caller: &dyn Caller) -> Result<(), Stop> {
    // The short name is the same for the lists of every repository.
    let report = Report::of_all(caller);
    acquire("the package lists", report, ItemDesc::description, |progress| cache.update(progress)).map(drop)
}

/// Lets apt fetch `what`, tells how it goes, and finds out what became of it.
fn acquire(
    what: &str,
    report: Report<'_>,
    naming: fn(&ItemDesc) -> String,
    work: impl FnOnce(&mut AcquireProgress<'_>) -> Result<(), AptErrors>,
) -> Result<Vec<Fetched>, Stop> {
    let caller = report.caller();
    let state = RefCell::new(State { report, naming, failures: Vec::new(), fetched: Vec::new(), stopped: false });
    let mut progress = AcquireProgress::new(Pulses(&state));
    let result = work(&mut progress);
    drop(progress);
    let mut state = state.into_inner();
    state.report.flush();
    if caller.is_cancelled() {
        // What stopped the methods is no news.
        drop(AptErrors::new());
        return Err(Stop::Cancelled);
    }
    let said = result.err().unwrap_or_default();
    let worst = state.failures.iter().max_by_key(|failed| gravity(failed.kind));
    if let Some(failed) = worst {
        let others = others(&state.failures, failed);
        let message = format!("{}: {}{others}; {}", failed.name, failed.text, advice(failed.kind));
        return Err(Stop::Failed(Failure::new(failed.kind, message)));
    }
    if said.iter().any(|message| message.is_error) {
        let said = words(&said);
        let kind = kind_of(&said);
        return Err(Stop::failed(kind, format!("{what} cannot be fetched: {said}; {}", advice(kind))));
    }
    for message in said.iter() {
        caller.tell(Event::Message { level: Level::Warning, text: message.msg.clone() });
    }
    Ok(state.fetched)
}

/// What failed besides the one that is told, by name as far as that is of use.
fn others(failures: &[Failed], told: &Failed) -> String {
    let mut names: Vec<&str> = Vec::new();
    for name in failures.iter().map(|failed| failed.name.as_str()) {
        if name != told.name && !names.contains(&name) {
            names.push(name);
        }
    }
    let (shown, more) = names.split_at(names.len().min(NAMED));
    match (shown, more.len()) {
        ([], _) => String::new(),
        (shown, 0) => format!("; failed as well: {}", shown.join(", ")),
        (shown, more) => format!("; failed as well: {} and {more} more", shown.join(", ")),
    }
}

/// Downloads that cannot fit are not begun.
fn has_room(config: &Config, plan: &Plan) -> Result<(), Stop> {
    let folder = config.dir("Dir::Cache::Archives", "/var/cache/apt/archives/");
    let needed = plan.download_size();
    let Ok(found) = rustix::fs::statvfs(folder.as_str()) else { return Ok(()) };
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    if needed <= free {
        return Ok(());
    }
    let message =
        format!("{needed} bytes are to be fetched and {folder} has room for {free}; {}", advice(FailureKind::DiskFull));
    Err(Stop::failed(FailureKind::DiskFull, message))
}

/// A file that was fetched.
#[derive(Debug)]
pub struct Fetched {
    /// What it is told as.
    pub name: String,
    /// Where apt has it: also where it was, when its repository is a folder of this machine.
    pub path: PathBuf,
}

/// A file that was not fetched.
#[derive(Debug)]
struct Failed {
    name: String,
    kind: FailureKind,
    text: String,
}

struct State<'a> {
    report: Report<'a>,
    /// What a file is called.
    naming: fn(&ItemDesc) -> String,
    failures: Vec<Failed>,
    fetched: Vec<Fetched>,
    stopped: bool,
}

impl State<'_> {
    fn name(&self, item: &ItemDesc) -> String {
        self.report.name(&(self.naming)(item))
    }

    fn tell(&mut self, item: &ItemDesc, state: ItemState, done: u64) {
        self.report.item(&self.name(item), state, done, item.owner().file_size());
        self.report.tick();
    }
}

/// What apt calls while it fetches.
struct Pulses<'a, 'b>(&'a RefCell<State<'b>>);

impl DynAcquireProgress for Pulses<'_, '_> {
    fn pulse_interval(&self) -> usize {
        PULSE
    }

    fn hit(&mut self, item: &ItemDesc) {
        self.0.borrow_mut().tell(item, ItemState::Hit, item.owner().file_size());
    }

    fn fetch(&mut self, item: &ItemDesc) {
        self.0.borrow_mut().tell(item, ItemState::Fetching, 0);
    }

    fn fail(&mut self, item: &ItemDesc) {
        let owner = item.owner();
        // Another place will be tried.
        if matches!(owner.status(), FileState::StatIdle | FileState::StatDone) {
            return;
        }
        let mut state = self.0.borrow_mut();
        let text = one_line(&owner.error_text());
        let kind = match owner.status() {
            FileState::StatAuthError => FailureKind::Untrusted,
            _ => kind_of(&text),
        };
        let name = state.name(item);
        state.failures.push(Failed {
            name,
            kind,
            text: format!("{} ({})", without_password(&text), without_password(&item.uri())),
        });
        state.tell(item, ItemState::Failed, 0);
    }

    fn pulse(&mut self, status: &AcqTextStatus, owner: &PkgAcquire) {
        let mut state = self.0.borrow_mut();
        if state.report.caller().is_cancelled() && !state.stopped {
            state.stopped = true;
            // The bindings always answer apt that it may go on, and apt goes on until nothing is left or a method is gone.
            // What they have fetched so far stays in `partial/`, where the next commit goes on with it.
            end_children();
        }
        for worker in owner.workers().iter() {
            // Idle ones have none, and must not be asked about it.
            if let Ok(item) = worker.item() {
                let name = state.name(&item);
                state.report.item(&name, ItemState::Fetching, worker.current_size(), worker.total_size());
            }
        }
        let (done, total) = (status.current_bytes(), status.total_bytes());
        if total > 0 {
            state.report.progress(done as f64 / total as f64, done, total);
        }
        state.report.tick();
    }

    fn done(&mut self, item: &ItemDesc) {
        let mut state = self.0.borrow_mut();
        state.tell(item, ItemState::Fetched, item.owner().file_size());
        let fetched = Fetched { name: state.name(item), path: item.owner().dest_file().into() };
        state.fetched.push(fetched);
    }

    fn start(&mut self) {}

    fn stop(&mut self, _: &AcqTextStatus) {}
}

/// What kind of failure apt's words tell. Its methods speak English here, as no locale is set.
fn kind_of(text: &str) -> FailureKind {
    const WORDS: [(FailureKind, &[&str]); 3] = [
        (FailureKind::DiskFull, &["No space left", "enough free space", "Disk quota exceeded"]),
        (
            FailureKind::Untrusted,
            &[
                "Hash Sum mismatch",
                "unexpected size",
                "Insufficient information",
                "isn't signed",
                "not signed",
                "NO_PUBKEY",
                "EXPKEYSIG",
                "BADSIG",
            ],
        ),
        (FailureKind::NotFound, &["404 ", "410 ", "File not found", "No such file", "Can't find a source"]),
    ];
    let found = WORDS.iter().find(|(_, words)| words.iter().any(|part| text.contains(part)));
    found.map_or(FailureKind::Network, |(kind, _)| *kind)
}

/// Which of several failures is told first: what somebody must act upon.
fn gravity(kind: FailureKind) -> u8 {
    match kind {
        FailureKind::DiskFull => 3,
        FailureKind::Untrusted => 2,
        FailureKind::NotFound => 1,
        _ => 0,
    }
}

fn advice(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::DiskFull => "make room, for example with `omg clean`",
        FailureKind::Untrusted => {
            "the file is not what the package lists promise: refresh them, and do not trust this mirror if it stays so"
        }
        FailureKind::NotFound => "refresh the package lists and try again",
        _ => "look at the connection and try again; what was fetched is kept",
    }
}

/// Leaves out the user information of addresses: not everybody who reads of a failure may read apt's sources.
fn without_password(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        let end = after.find(|character: char| character == '/' || character.is_whitespace()).unwrap_or(after.len());
        let (authority, behind) = after.split_at(end);
        shown.push_str(before);
        shown.push_str("://");
        shown.push_str(authority.rsplit_once('@').map_or(authority, |(_, host)| host));
        rest = behind;
    }
    shown + rest
}

fn one_line(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_of_repositories_are_not_told() {
        let text = "Could not connect to https://user:p@ss@host:8/x (https://host/y) mailto:a@b";
        assert_eq!(without_password(text), "Could not connect to https://host:8/x (https://host/y) mailto:a@b");
    }

    #[test]
    fn apts_words_tell_the_kind_of_failure() {
        for (text, kind) in [
            ("404  Not Found [IP: 127.0.0.1 8000]", FailureKind::NotFound),
            ("File not found - /srv/a.deb (2: No such file or directory)", FailureKind::NotFound),
            ("Hash Sum mismatch; Hashes of expected file:", FailureKind::Untrusted),
            ("File has unexpected size (3 != 4). Mirror sync in progress?", FailureKind::Untrusted),
            ("Error writing to file - write (28: No space left on device)", FailureKind::DiskFull),
            ("Could not connect to 127.0.0.1:9 (127.0.0.1). - connect (111: Connection refused)", FailureKind::Network),
            ("Temporary failure resolving 'deb.example.invalid'", FailureKind::Network),
        ] {
            assert_eq!(kind_of(text), kind, "{text}");
        }
    }
}
