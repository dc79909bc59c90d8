//! A program on a terminal of its own, talked to as a person would.

use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// A wait that only a hanging program reaches.
const WAIT: Duration = Duration::from_secs(120);

pub struct Terminal {
    child: Child,
    ours: std::fs::File,
    pieces: Receiver<Vec<u8>>,
    text: String,
}

impl Terminal {
    /// Starts the program with its standard streams on a terminal of so many columns.
    pub fn start(command: Command, columns: u16) -> Self {
        Self::of_kind("xterm", command, columns)
    }

    /// As [`Self::start`], on one that can only print.
    pub fn start_dumb(command: Command, columns: u16) -> Self {
        Self::of_kind("dumb", command, columns)
    }

    fn of_kind(kind: &str, mut command: Command, columns: u16) -> Self {
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&ours).expect("granted");
        unlockpt(&ours).expect("unlocked");
        let name = ptsname(&ours, Vec::new()).expect("its name").into_string().expect("UTF-8");
        let size = rustix::termios::Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&ours, size).expect("sized");
        let open = || std::fs::OpenOptions::new().read(true).write(true).open(&name).expect("opened");
        let child = command.env("TERM", kind).stdin(open()).stdout(open()).stderr(open()).spawn().expect("it runs");
        drop(command);
        let ours = std::fs::File::from(ours);
        let mut reader = ours.try_clone().expect("cloned");
        let (sender, pieces) = channel();
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            // The last writer's end is an error (EIO), not an end of file.
            while let Ok(length @ 1..) = reader.read(&mut piece) {
                // Line editors that draw ask where the cursor is (ECMA-48, DSR), and wait for the answer.
                for _ in piece[..length].windows(4).filter(|asked| asked == b"\x1b[6n") {
                    let _ = reader.write_all(b"\x1b[1;1R");
                }
                if sender.send(piece[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { child, ours, pieces, text: String::new() }
    }

    /// Waits until the terminal has shown this.
    pub fn wait_for(&mut self, wanted: &str) -> &mut Self {
        while !self.text.contains(wanted) {
            match self.pieces.recv_timeout(WAIT) {
                Ok(piece) => self.text.push_str(&String::from_utf8_lossy(&piece).replace("\r\n", "\n")),
                Err(error) => panic!("{wanted:?} did not come ({error}):\n{}", self.text),
            }
        }
        self
    }

    pub fn enter(&mut self, line: &str) -> &mut Self {
        self.ours.write_all(format!("{line}\n").as_bytes()).expect("typed");
        self
    }

    /// Enters a line where an editor takes keys one by one: it ends with the key that a person presses.
    pub fn type_line(&mut self, line: &str) -> &mut Self {
        self.ours.write_all(format!("{line}\r").as_bytes()).expect("typed");
        self
    }

    /// What the terminal has shown so far.
    pub fn seen(&mut self) -> &str {
        while let Ok(piece) = self.pieces.try_recv() {
            self.text.push_str(&String::from_utf8_lossy(&piece).replace("\r\n", "\n"));
        }
        &self.text
    }

    pub fn signal(&mut self, signal: rustix::process::Signal) -> &mut Self {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("signalled");
        self
    }

    /// How it ended, and everything that the terminal has shown.
    pub fn end(mut self) -> (ExitStatus, String) {
        // The terminal closes with the last program that has it open.
        while let Ok(piece) = self.pieces.recv_timeout(WAIT) {
            self.text.push_str(&String::from_utf8_lossy(&piece).replace("\r\n", "\n"));
        }
        (self.child.wait().expect("ended"), self.text.clone())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Only one that a failed test left behind still runs.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
