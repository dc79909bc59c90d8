//! A program that asks for passwords on the terminal, for the time that omg runs.

use std::os::fd::AsRawFd;
use std::process::{Child, Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{FdFlags, fcntl_setfd};

use crate::dbus::client::find_program;

/// How long it may take to be known to polkit.
const READY_WAIT: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };

/// `pkttyagent`. It stands back where another agent serves the session.
#[derive(Debug)]
pub struct PolkitAgent {
    child: Child,
}

impl PolkitAgent {
    /// Starts it and waits until it is known to polkit; `None` where it is not installed or does not work.
    pub fn start() -> Option<Self> {
        let program = find_program("pkttyagent", None)?;
        let (ready, notify) = std::io::pipe().ok()?;
        fcntl_setfd(&notify, FdFlags::empty()).ok()?;
        let child = Command::new(program)
            .args(["--fallback", "--process", &std::process::id().to_string()])
            .args(["--notify-fd", &notify.as_raw_fd().to_string()])
            .stdout(Stdio::null())
            .spawn()
            .ok()?;
        let agent = Self { child };
        drop(notify);
        // It closes its end when it serves, and so does its end.
        let _ = poll(&mut [PollFd::new(&ready, PollFlags::IN)], Some(&READY_WAIT));
        Some(agent)
    }
}

impl Drop for PolkitAgent {
    fn drop(&mut self) {
        let id = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        // It restores the terminal when it is told to end.
        if let (Ok(None), Some(id)) = (self.child.try_wait(), id) {
            let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
            let _ = self.child.wait();
        }
    }
}
