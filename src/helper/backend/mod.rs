//! The package systems that this program can read, chosen when it is built and when it runs.

#[cfg(feature = "arch")]
mod alpm;
#[cfg(feature = "debian")]
mod apt;
#[cfg(any(feature = "arch", feature = "debian"))]
mod package_files;
#[cfg(any(feature = "arch", feature = "debian"))]
mod paths;
#[cfg(any(feature = "arch", feature = "debian"))]
mod report;
#[cfg(any(feature = "arch", feature = "debian"))]
mod restart;
#[cfg(any(feature = "arch", feature = "debian"))]
mod target_folder;

use std::path::{Path, PathBuf};

use omg::aur::order;
use omg::index::{Builder, Fingerprint, Meta};
use omg::transaction::{
    Applied, Download, Event, Failure, FailureKind, Outcome, PathAnswer, PathQuery, Plan, Question, Request,
};

use crate::index::Timings;

pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// What stands in a failure's message before the words of a package script. They may hold anything, and apt keeps them from
/// other users (`term.log`): they are for the caller, and not for what everybody may read.
pub const SAID: &str = "; before that it said: ";

/// Which package system, and how it is set up.
#[derive(Debug)]
pub struct System {
    /// Root folder of the package system, when it is not the machine's own.
    pub root: Option<PathBuf>,
    /// `Key=Value` settings that override the package system's configuration files.
    pub options: Vec<String>,
    /// Snapshot of the AUR's packages, whose versions are candidates for packages that no repository offers.
    pub aur: Option<PathBuf>,
}

/// All packages, what is known about the reading ([`Meta::last_refresh`], [`Meta::ahead`], [`Meta::groups`] and
/// [`Meta::warnings`]), and the state of the
/// files behind it just before they were read.
pub type Contents = (Builder, Meta, Fingerprint);

/// Why a commit ends before its end.
#[derive(Debug)]
pub enum Stop {
    Failed(Failure),
    Cancelled,
}

impl Stop {
    pub fn failed(kind: FailureKind, message: impl Into<String>) -> Self {
        Self::Failed(Failure::new(kind, message))
    }

    /// How what came to this result ended.
    pub fn outcome(result: Result<(), Self>, applied: Applied) -> Outcome {
        match result {
            Ok(()) => Outcome::Succeeded(applied),
            Err(Self::Cancelled) => Outcome::Cancelled { applied },
            Err(Self::Failed(failure)) => Outcome::Failed { failure, applied },
        }
    }

    /// The same, with more to say of what failed.
    pub fn with(self, more: &str) -> Self {
        match self {
            Self::Failed(failure) => Self::failed(failure.kind, failure.message + more),
            Self::Cancelled => Self::Cancelled,
        }
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<std::io::Error> for Stop {
    fn from(error: std::io::Error) -> Self {
        let kind = match error.kind() {
            std::io::ErrorKind::StorageFull => FailureKind::DiskFull,
            _ => FailureKind::Internal,
        };
        Self::failed(kind, format!("the package system's records cannot be used: {error}"))
    }
}

/// Who asked for a commit: told how it goes, and asked what only people can decide.
pub trait Caller: Sync {
    /// Tells what happens. A caller that is gone hears nothing, and the commit goes on.
    fn tell(&self, event: Event);

    /// Whether [`Caller::authorise`] may take as long as people do. Nothing may be locked meanwhile.
    fn asks(&self) -> bool;

    /// Asked whether the plan may be carried out, where the caller asks: the plan is known to be the one that was asked for.
    ///
    /// # Errors
    /// When it must not go on.
    fn authorise(&self, plan: &Plan) -> Result<(), Failure>;

    /// Told of the plan when the package system is locked, before anything is fetched or changed.
    fn begin(&self, plan: &Plan);

    /// Asks, and waits for one of the question's choices; the first one when nobody answers any more.
    fn ask(&self, question: Question) -> String;

    /// Whether the caller wants it to end as soon as nothing is left half done.
    fn is_cancelled(&self) -> bool;
}

/// One package system.
pub trait Backend {
    /// The word for it in [`omg::index::Inputs::backend`].
    fn name(&self) -> &'static str;

    /// Reads every known package. Takes no locks and changes nothing that the package system's own query tools would
    /// not change. `copy` is the folder of [`Backend::refresh_copy`], which may be absent.
    ///
    /// # Errors
    /// When the package system's configuration or data cannot be read; its own words are in the message.
    fn read(&self, system: &System, copy: Option<&Path>, timings: &mut Timings) -> Result<Contents, Error>;

    /// What a commit of the request's actions would do. Takes no locks and changes nothing.
    ///
    /// # Errors
    /// When there is no such plan, in the resolver's own words, or the package system cannot be read.
    fn plan(&self, system: &System, request: &Request) -> Result<Plan, Failure>;

    /// Locks the package system, resolves the request's actions again and does what they come to, provided that it is the
    /// plan that the request's digest names, or without a digest one that the caller agrees to. A caller that asks is let ask
    /// before anything is locked. What it runs inherits the standard streams; where the standard input is a terminal, package
    /// scripts and questions are for the people in front of it.
    fn commit(&self, system: &System, request: &Request, caller: &dyn Caller) -> Outcome;

    /// Removes what commits left behind that were killed; those that run are not disturbed.
    ///
    /// # Errors
    /// When it cannot be read or removed.
    fn sweep(&self, system: &System) -> std::io::Result<()>;

    /// Fetches package files into a folder, checked as for an installation. Tells [`Event::Archives`] first. A file of that
    /// name that is another one is left alone, and what was not fetched to its end does not stay. Once the caller wants an end
    /// it may tell that and end the process instead of returning.
    fn download(&self, system: &System, request: &Download, caller: &dyn Caller) -> Outcome;

    /// Fetches the package lists.
    fn refresh(&self, system: &System, caller: &dyn Caller) -> Outcome;

    /// Which packages files belong to, and which files packages have. `copy` is the folder of [`Backend::refresh_copy`],
    /// which may be absent.
    ///
    /// # Errors
    /// [`FailureKind::NotFound`] for a package, and when the package system cannot be read.
    fn paths(&self, system: &System, copy: Option<&Path>, query: &PathQuery) -> Result<PathAnswer, Failure>;

    /// Fetches the package lists into a folder of this user's own, checked as strictly as the package system's. They tell
    /// what will be possible once the package system's own lists are fetched; no plan is made from them. With `files` the lists of
    /// files are fetched too.
    fn refresh_copy(&self, system: &System, folder: &Path, files: bool, caller: &dyn Caller) -> Outcome;

    /// What of the AUR is built in which order. Takes no locks and changes nothing.
    fn order(&self, _system: &System, _request: &order::Request) -> order::Answer {
        order::Answer::Unavailable("packages of the AUR are for machines with pacman".into())
    }
}

/// Ends the programs that this process has started and that still run: those that fetch, where the package system's library
/// has no other way to stop. They are its only children meanwhile.
#[cfg(any(feature = "arch", feature = "debian"))]
fn end_children() {
    use rustix::process::{Pid, Signal, getpid, kill_process};
    let own = getpid().as_raw_nonzero().get();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().filter_map(|entry| {
        let pid: i32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // State and parent come behind the name, which may hold anything.
        let parent: i32 = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
        (parent == own).then_some(pid)
    });
    for pid in processes.filter_map(Pid::from_raw) {
        let _ = kill_process(pid, Signal::TERM);
    }
}

const BACKENDS: &[&dyn Backend] = &[
    #[cfg(feature = "debian")]
    &apt::Apt,
    #[cfg(feature = "arch")]
    &alpm::Pacman,
];

/// The backends this program was built with.
pub fn names() -> Vec<&'static str> {
    BACKENDS.iter().map(|backend| backend.name()).collect()
}

/// The backend of that name, if this program was built with it.
pub fn find(name: &str) -> Option<&'static dyn Backend> {
    BACKENDS.iter().copied().find(|backend| backend.name() == name)
}

/// The backend for the distribution that os-release(5) names: of the machine, or of the system under `root`.
pub fn of_machine(root: Option<&Path>) -> Option<&'static str> {
    let root = root.unwrap_or(Path::new("/"));
    let text = ["etc/os-release", "usr/lib/os-release"]
        .iter()
        .find_map(|file| std::fs::read_to_string(root.join(file)).ok())?;
    of_distribution(&text)
}

fn of_distribution(os_release: &str) -> Option<&'static str> {
    let value = |key: &str| {
        os_release
            .lines()
            .filter_map(|line| line.trim().split_once('='))
            .find(|(name, _)| *name == key)
            .map(|(_, value)| value.trim_matches(['"', '\'']))
            .unwrap_or_default()
    };
    // ID first, then ID_LIKE, which starts with the closest relative.
    std::iter::once(value("ID")).chain(value("ID_LIKE").split_whitespace()).find_map(|id| match id {
        "debian" | "ubuntu" => Some("apt"),
        "arch" | "archlinux" => Some("alpm"),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relatives_of_a_distribution_share_its_backend() {
        assert_eq!(of_distribution("PRETTY_NAME=\"x\"\nID=debian\n"), Some("apt"));
        assert_eq!(of_distribution("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n"), Some("apt"));
        assert_eq!(of_distribution("ID=manjaro\nID_LIKE=arch\n"), Some("alpm"));
        assert_eq!(of_distribution("ID=fedora\n"), None);
        assert_eq!(of_distribution(""), None);
    }
}
