//! Finishes what an interrupted transaction left half done.

use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use omg::transaction::{Event, Failure, FailureKind, Item, Level, Phase, Plan};
use rust_apt::Cache;
use rust_apt::raw::PkgIterator;
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::pipe::{PipeFlags, pipe_with};

use super::super::resolve::{self, Resolved};
use super::super::state;
use super::apply::{Seen, at_terminal, listening};
use super::database::Database;
use super::{Commit, Stop, changes_package};

impl Commit<'_> {
    /// `dpkg --configure -a`, then whatever of the plan is still to be done. Succeeds when dpkg has nothing left to finish.
    pub fn repair(&self, cache: Cache, seen: &mut Seen) -> Result<(), Stop> {
        // What is on record changes under it.
        drop(cache);
        self.configure_all(seen)?;
        self.locks.give_apt(&self.config)?;
        let Resolved { cache, plan: rest, files: _files, .. } =
            resolve::resolved(self.system, self.request, &|| self.caller.is_cancelled())?;
        if let Some(item) = rest.items.iter().find(|item| !self.is_planned(item)) {
            let message = format!(
                "after everything was configured, {} would have to be changed too ({}), which was not planned; plan the \
                 repair again and look at it",
                item.name, item.change
            );
            return Err(Stop::failed(FailureKind::PlanStale, message));
        }
        put_in_place_again(&cache);
        let unfinished = !Database::read(&self.config)?.unfinished().is_empty();
        if unfinished || rest.items.iter().any(|item| changes_package(item.change)) {
            let earlier = std::mem::take(&mut seen.errors);
            let result = self.change_packages(cache, &rest, seen);
            if result.is_err() {
                seen.errors.splice(0..0, earlier);
                return result;
            }
        }
        let unfinished = Database::read(&self.config)?.unfinished();
        if unfinished.is_empty() {
            return Ok(());
        }
        let still = format!("dpkg could not finish {}", unfinished.join(", "));
        Err(Stop::Failed(Failure::new(FailureKind::Internal, seen.failure(&still).message)))
    }

    fn is_planned(&self, item: &Item) -> bool {
        let Plan { items, .. } = &self.plan;
        let same = |planned: &&Item| {
            planned.name == item.name
                && planned.arch == item.arch
                && planned.to == item.to
                && planned.repository == item.repository
                && planned.sha256 == item.sha256
        };
        items.iter().filter(same).any(|planned| planned.change == item.change) || !changes_package(item.change)
    }

    /// Runs `dpkg --configure -a`, which also takes dpkg's journal into its records. What it cannot configure is told, and
    /// may yet be mended by what follows.
    fn configure_all(&self, seen: &mut Seen) -> Result<(), Stop> {
        self.caller.tell(Event::Phase { phase: Phase::Applying, cancellable: false });
        self.locks.let_dpkg_in_alone();
        let (status, dpkg_end) = pipe_with(PipeFlags::CLOEXEC).map_err(std::io::Error::from)?;
        let result = listening(&self.config, status, &self.plan, self.caller, 0.0, seen, || {
            // dpkg inherits it by its number; nothing else is started meanwhile.
            fcntl_setfd(&dpkg_end, FdFlags::empty())?;
            let status_fd = dpkg_end.as_raw_fd().to_string();
            let mut command = self.dpkg();
            command.args(["--status-fd", &status_fd, "--configure", "-a"]);
            if !at_terminal() {
                leave_terminal(&mut command);
            }
            let child = command.stdin(Stdio::inherit()).stdout(Stdio::inherit()).stderr(Stdio::inherit()).spawn();
            drop(dpkg_end);
            child?.wait()
        })?;
        match result {
            Ok(status) if status.success() => {}
            Ok(status) => {
                let text = format!("dpkg --configure -a: {status}");
                self.caller.tell(Event::Message { level: Level::Warning, text });
            }
            Err(error) => return Err(Stop::failed(FailureKind::Internal, format!("dpkg cannot be run: {error}"))),
        }
        Ok(())
    }
}

/// Starts the program in a session of its own, where `/dev/tty` is nobody's: neither may scripts ask at the terminal of
/// whoever started this process, nor does an interrupt there reach dpkg.
fn leave_terminal(command: &mut Command) {
    #[expect(unsafe_code, reason = "what runs between fork and exec is the caller's business")]
    // SAFETY: setsid(2) alone, which is async-signal-safe.
    unsafe {
        command.pre_exec(|| Ok(rustix::process::setsid().map(drop)?));
    }
}

/// Has the packages unpacked again whose unpacking was interrupted. In apt's eyes, and in the plan, they stay at their
/// version, and apt alone would leave them as they are.
fn put_in_place_again(cache: &Cache) {
    for package in cache.iter() {
        let raw: &PkgIterator = &package;
        if state::REINSTALL_REQUIRED.contains(&raw.inst_state()) && package.marked_keep() {
            package.mark_reinstall(true);
        }
    }
}
