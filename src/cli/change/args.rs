//! The grammar of the verbs that change packages.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand, ValueHint};

use super::super::runtimes::args::Getting;
use crate::transaction::{Answers, Conffiles, Options};

/// Below the help of every verb that changes packages.
pub const CHANGE_JSON: &str = "\
What is going to happen is shown first, then asked for. -y goes on without asking; without a
terminal on standard input nothing is asked, and nothing happens unless -y is given (exit code 2).
Holds, marks and the download cache are changed without asking. With -y, what is risky needs the
option that allows it.

In a pipe each line of the plan has the columns change, name, from, to, repository, bytes to
download and bytes more on the disk, separated by tabs; other lines start with `held-back` (name,
from, to, reason), `unneeded` (name), `risk` (what, name), `note` (text) or `decision` (what was
asked, the choice, the default, all choices); --answer makes another choice.

--json prints one object a line and never asks. The plan: {plan: {digest, items [{change, name,
arch, from, to, repository, download, delta}], held_back [{name, arch, from, to, reason}],
unneeded, download_size, installed_size_delta (bytes), risks, notes, decisions [{question, about,
choices, default, choice}]}}. What happens: {event:
phase, phase, cancellable}, {event: progress, fraction, bytes_done, bytes_total}, {event: item,
item, state, bytes_done, bytes_total}, {event: message, level, text}, {event: question, id, kind
{about: conffile, package, path}, choices}, which is answered with its first choice. The end:
{result: nothing, planned, succeeded, failed or cancelled, applied {items (as in the plan), restart
{machine, packages, services}, entry}, failure {kind, message}}; `nothing` and `planned`
(--dry-run) stand alone. Where packages of the AUR are built: {order: {repository [{name, explicit,
make_only}], steps [{base, version, packages [{name, from, dependency, make_only}], needs}], notes,
decisions}}, a plan for each transaction, {event: build, base, state: started, built (packages
[{name, version, is_installed}]) or failed (failure)}; one result ends it, of all of them. arch is what a package is installed for: the machine's own also where
`omg list` says all.";

pub const REFRESH_JSON: &str = "\
--json prints one object a line: events and the result, as `omg help install` describes them.";

pub const DOWNLOAD_JSON: &str = "\
The files are checked against the package lists, as for an installation. A file of the same name
that is another one is left alone, and nothing is fetched then (exit code 2).

In a pipe each line of --dry-run has the columns name, version, repository, bytes, and file,
separated by tabs.

--json prints one object a line. What is fetched: {event: archives, archives [{name, arch, version,
repository, size (bytes), sha256, trusted, file (its name in the folder), present (it is there
already)}]}; then events and the result, as `omg help install` describes them, without `applied`.";

pub const HISTORY_JSON: &str = "\
In a pipe each line has the columns number, time (UTC), user, standing, actions and number of
changes, separated by tabs, and `takes back N` of one that was asked to do the inverse of another,
`changed nothing` of one that, say, only fetched packages, else `-`; of `show`: change, name, from,
to, repository.

A number is a place in the audit log. Others of its entries, such as the end of a transaction and
the fetching of package lists, are not listed, so the numbers have gaps.

--json prints one object for each transaction, on a line of its own: id, time, ended (Unix
seconds; 0: not ended), actor {uid, via}, actions [[verb, target]], standing (running, succeeded,
failed, cancelled, interrupted), items [{change, name, arch, from, to, repository,
explicit}], message,
takes_back (the number of the transaction whose inverse it is; absent: none that is listed).";

pub const AUDIT_JSON: &str = "\
--json prints one object: sound (true or false); and when it is sound: entries, hash, torn (bytes of
an unfinished entry); else finding. A log that is not sound makes the exit code 3, no log or one
without entries 1.";

// How much is asked, and what is allowed without being asked. No doc comment: clap would take it for what the verb does.
#[derive(Debug, Clone, Default, Args)]
pub struct Consent {
    /// Do not ask.
    #[arg(short, long)]
    pub yes: bool,
    /// Show what would be done, and end.
    #[arg(long)]
    pub dry_run: bool,
    /// Allow the removal of packages without which the system may not work.
    #[arg(long)]
    pub allow_essential: bool,
    /// Allow older versions in place of newer ones.
    #[arg(long)]
    pub allow_downgrade: bool,
    /// Allow packages that no trusted repository vouches for.
    #[arg(long)]
    pub allow_untrusted: bool,
    /// Allow changes to packages on hold.
    #[arg(long)]
    pub allow_held: bool,
    /// Wait while another program holds the package system's lock.
    #[arg(long)]
    pub wait: bool,
    /// Answer what the package system asks while it plans, such as conflict:NEW:INSTALLED=yes or
    /// provider:WANTED=NAME. KIND=CHOICE answers all of a kind. The plan tells what was asked.
    #[arg(long = "answer", value_name = "QUESTION=CHOICE", value_parser = answer, value_hint = ValueHint::Other)]
    pub answers: Vec<(String, String)>,
}

/// The choice holds no equals sign; what is asked about may.
fn answer(text: &str) -> Result<(String, String), String> {
    let (key, choice) = text.rsplit_once('=').ok_or("expected QUESTION=CHOICE")?;
    let answer = (key.to_owned(), choice.to_owned());
    Answers::new([answer.clone()]).map(|_| answer).map_err(|error| error.to_string())
}

// How packages get here; as above.
#[derive(Debug, Clone, Default, Args)]
pub struct Installing {
    #[command(flatten)]
    pub consent: Consent,
    /// Fetch the packages and stop.
    #[arg(long)]
    pub download_only: bool,
    /// Leave out what is only recommended.
    #[arg(long)]
    pub no_recommends: bool,
    /// What to do with configuration files that were changed here and in the new package; by default ask where
    /// questions can be asked, else keep.
    #[arg(
        long,
        value_name = "WHAT",
        value_hint = ValueHint::Other,
        value_parser = PossibleValuesParser::new(["keep", "replace", "ask"])
            .try_map(|word| Conffiles::from_word(&word)),
    )]
    pub conffiles: Option<Conffiles>,
}

impl Installing {
    /// As the plan takes them; `can_ask` tells whether somebody answers questions.
    pub fn options(&self, can_ask: bool) -> Options {
        let default = if can_ask && !self.consent.yes { Conffiles::Ask } else { Conffiles::Keep };
        Options {
            recommends: self.no_recommends.then_some(false),
            conffiles: self.conffiles.unwrap_or(default),
            wait: self.consent.wait,
            download_only: self.download_only,
            cascade: false,
            // Each was checked when it was read, but for how many there are, which the service tells.
            answers: Answers::new(self.consent.answers.iter().cloned()).unwrap_or_default(),
        }
    }
}

// How packages of the AUR get here; as above.
#[derive(Debug, Clone, Default, Args)]
pub struct AurHow {
    /// Build packages of the AUR that nobody has looked at.
    #[arg(long)]
    pub no_review: bool,
    /// Build packages of the AUR again whose repositories have moved since.
    #[arg(long)]
    pub devel: bool,
    /// Remove afterwards, without asking, what only building packages of the AUR needed.
    #[arg(long)]
    pub rm_deps: bool,
}

#[derive(Debug, Args)]
pub struct Install {
    /// NAME, NAME:ARCH, NAME=VERSION, NAME/RELEASE, aur/NAME, or a package file. Without any, the versions of runtimes
    /// that the files of this folder ask for.
    #[arg(value_name = "PACKAGES")]
    pub targets: Vec<String>,
    #[command(flatten)]
    pub getting: Getting,
    /// Upgrade everything in the same transaction. On Arch Linux, installing beside newer package lists without that is a
    /// partial upgrade, which is warned of.
    #[arg(short, long)]
    pub upgrade: bool,
    #[command(flatten)]
    pub how: Installing,
    #[command(flatten)]
    pub aur: AurHow,
}

#[derive(Debug, Args)]
pub struct Reinstall {
    /// Names of installed packages.
    #[arg(required = true, value_name = "NAMES")]
    pub targets: Vec<String>,
    #[command(flatten)]
    pub how: Installing,
}

#[derive(Debug, Args)]
pub struct Upgrade {
    /// Only these packages.
    #[arg(value_name = "NAMES")]
    pub targets: Vec<String>,
    /// Remove packages where an upgrade needs that.
    #[arg(long, conflicts_with = "targets")]
    pub full: bool,
    #[command(flatten)]
    pub how: Installing,
    #[command(flatten)]
    pub aur: AurHow,
}

#[derive(Debug, Args)]
pub struct Refresh {
    /// Fetch them into your own copy, which takes no rights: it tells what can be upgraded, and nothing is installed by
    /// it. Where the package system's own cannot be had rights for, this is what is done.
    #[arg(long)]
    pub own: bool,
    /// Fetch the repositories' lists of files too, which `omg owner --repo` and `omg files --repo` ask: into your own copy,
    /// so with `--own`.
    #[arg(long)]
    pub files: bool,
}

#[derive(Debug, Args)]
pub struct Remove {
    /// Names of installed packages.
    #[arg(required = true, value_name = "NAMES")]
    pub targets: Vec<String>,
    /// Remove configuration files too.
    #[arg(long)]
    pub purge: bool,
    /// Remove also what was installed as a dependency and is needed no more.
    #[arg(long)]
    pub unneeded: bool,
    /// Remove also what needs these packages, where the package system would refuse.
    #[arg(long)]
    pub cascade: bool,
    #[command(flatten)]
    pub consent: Consent,
}

#[derive(Debug, Args)]
pub struct Named {
    /// Names of installed packages.
    #[arg(required = true, value_name = "NAMES")]
    pub targets: Vec<String>,
    #[command(flatten)]
    pub consent: Consent,
}

#[derive(Debug, Subcommand)]
pub enum MarkAs {
    /// As asked for: it stays when nothing depends on it any more.
    #[command(after_long_help = CHANGE_JSON)]
    Explicit(Named),
    /// As a dependency: it may go when nothing depends on it any more.
    #[command(after_long_help = CHANGE_JSON)]
    Dependency(Named),
}

#[derive(Debug, Args)]
pub struct Download {
    /// NAME, NAME:ARCH, NAME=VERSION, NAME/RELEASE.
    #[arg(required = true, value_name = "PACKAGES")]
    pub targets: Vec<String>,
    /// The folder to put them into.
    #[arg(long, value_name = "DIR", default_value = ".", value_hint = ValueHint::DirPath)]
    pub to: PathBuf,
    /// Show what would be fetched, and end.
    #[arg(long)]
    pub dry_run: bool,
    /// Fetch also what no trusted repository vouches for.
    #[arg(long)]
    pub allow_untrusted: bool,
}

#[derive(Debug, Args)]
pub struct Undo {
    /// Number of the transaction, as `omg history` lists them; the newest one when not given.
    #[arg(value_name = "N", value_hint = ValueHint::Other)]
    pub number: Option<u64>,
    #[command(flatten)]
    pub how: Installing,
}

#[derive(Debug, Args)]
pub struct Doctor {
    /// First finish what an interrupted transaction left unfinished.
    #[arg(long)]
    pub fix: bool,
    #[command(flatten)]
    pub consent: Consent,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct History {
    #[command(subcommand)]
    pub action: Option<HistoryAction>,
    /// At most so many transactions; 0 for as many as the daemon tells, 1000.
    #[arg(long, value_name = "N", default_value_t = 20, value_hint = ValueHint::Other)]
    pub limit: u32,
}

#[derive(Debug, Subcommand)]
pub enum HistoryAction {
    /// Show one transaction.
    #[command(after_long_help = HISTORY_JSON)]
    Show {
        /// Its number.
        #[arg(value_name = "N", value_hint = ValueHint::Other)]
        number: u64,
    },
}

#[derive(Debug, Subcommand)]
pub enum AuditAction {
    /// Check that no entry was changed, taken out or put in.
    #[command(after_long_help = AUDIT_JSON)]
    Verify {
        /// Folder of the log, for a copy of it.
        #[arg(default_value = "/var/lib/omg/audit", value_name = "FOLDER", value_hint = ValueHint::DirPath)]
        folder: PathBuf,
    },
}
