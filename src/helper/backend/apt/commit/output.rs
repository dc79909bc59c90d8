//! What dpkg and package scripts write to the terminal that they do not have.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use omg::transaction::{Event, Level};
use rustix::pipe::{PipeFlags, pipe_with};

use super::super::super::Caller;
use super::bounded::{LONGEST, Line, Lines};

/// Lines of a package script that are kept for the message about its failure.
const KEPT: usize = 6;

/// The longest line that is told, in bytes.
const TOLD: usize = 2000;

/// The line that ends the output, once it is over.
const END: &[u8] = b"\0end\n";

/// Takes the place of the standard output, where apt copies what dpkg writes.
///
/// The reader must not wait for the end of the pipe: daemons that package scripts start may keep it open.
pub struct Output {
    reading: OwnedFd,
    over: AtomicBool,
}

/// What was read.
#[derive(Debug, Default)]
pub struct Said {
    /// What the first package script that failed had said last.
    pub last_words: Vec<String>,
    /// What was said last of all: apt may not have copied dpkg's own line about a failure any more.
    pub recent: Vec<String>,
}

impl Output {
    /// Redirects the standard output.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub fn redirect() -> io::Result<Self> {
        let (reading, writing) = pipe_with(PipeFlags::CLOEXEC)?;
        rustix::stdio::dup2_stdout(&writing)?;
        Ok(Self { reading, over: AtomicBool::new(false) })
    }

    /// Ends [`Self::read`] after everything written so far, and sends what is written later nowhere.
    pub fn end(&self) {
        self.over.store(true, Ordering::Release);
        // The reader takes whatever is in the way, so this does not block for long; without it nothing ends.
        let _ = rustix::io::write(io::stdout().as_fd(), END);
        if let Ok(nowhere) = File::options().write(true).open("/dev/null") {
            let _ = rustix::stdio::dup2_stdout(&nowhere);
        }
    }

    /// Reads until [`Self::end`]; tells warnings.
    pub fn read(&self, caller: &dyn Caller) -> Said {
        let Ok(reading) = self.reading.try_clone() else { return Said::default() };
        let mut reading = File::from(reading);
        let (mut lines, mut heard, mut chunk) = (Lines::default(), Heard::default(), [0; 4096]);
        loop {
            let length = match reading.read(&mut chunk) {
                Ok(0) => return heard.said(),
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return heard.said(),
            };
            let mut ended = false;
            lines.take(chunk.get(..length).unwrap_or_default(), |line| {
                let over = self.over.load(Ordering::Acquire);
                match line.bytes.strip_suffix(END).filter(|_| over) {
                    Some(unfinished) => {
                        ended = true;
                        // apt stops copying when dpkg has ended, in the middle of a line if need be.
                        if !unfinished.is_empty() {
                            heard.take(Line { bytes: unfinished, ..line }, caller);
                        }
                    }
                    None => heard.take(line, caller),
                }
            });
            if ended {
                return heard.said();
            }
        }
    }
}

/// What was heard up to now.
#[derive(Default)]
struct Heard {
    said: Said,
    /// What the package at hand said last.
    recent: VecDeque<String>,
    /// Whether it was told that a line was cut.
    told_of_cut: bool,
    /// The configuration file that dpkg speaks of.
    conffile: Option<String>,
}

impl Heard {
    fn said(self) -> Said {
        Said { recent: self.recent.into(), ..self.said }
    }

    fn take(&mut self, line: Line<'_>, caller: &dyn Caller) {
        if line.cut && !self.told_of_cut {
            self.told_of_cut = true;
            let text = format!("a package script writes lines longer than {LONGEST} bytes; they are cut");
            caller.tell(Event::Message { level: Level::Warning, text });
        }
        let text = told(line.bytes);
        if text.starts_with("dpkg: warning:") {
            caller.tell(Event::Message { level: Level::Warning, text: text.clone() });
        }
        if let Some(text) = self.decided(&text) {
            caller.tell(Event::Message { level: Level::Warning, text });
        }
        if text.starts_with("dpkg: error processing") && self.said.last_words.is_empty() {
            self.said.last_words = self.recent.drain(..).collect();
        }
        if starts_a_package(&text) {
            self.recent.clear();
        } else if !text.is_empty() {
            self.recent.push_back(text);
            if self.recent.len() > KEPT {
                self.recent.pop_front();
            }
        }
    }
}

impl Heard {
    /// What became of a configuration file that was changed here and in its package. dpkg names it on one line and says what
    /// it does on a later one.
    fn decided(&mut self, text: &str) -> Option<String> {
        if let Some(path) = text.strip_prefix("Configuration file '").and_then(|rest| rest.split_once('\'')) {
            self.conffile = Some(path.0.to_owned());
            return None;
        }
        let done = text.strip_prefix("==> ")?;
        if done.starts_with("Keeping old config file") || done.starts_with("Using current old file") {
            return self
                .conffile
                .take()
                .map(|path| format!("{path} was changed here and is kept; the package's is {path}.dpkg-dist"));
        }
        if done.starts_with("Using new config file") || done.starts_with("Using new file") {
            return self
                .conffile
                .take()
                .map(|path| format!("{path} is the package's now; what was there is {path}.dpkg-old"));
        }
        None
    }
}

/// A line as it is told: what is too long of it is left out, which it says.
fn told(line: &[u8]) -> String {
    match line.get(..TOLD) {
        Some(start) if line.len() > TOLD + 1 => format!("{} […]", String::from_utf8_lossy(start).trim()),
        _ => String::from_utf8_lossy(line).trim().to_owned(),
    }
}

/// Whether dpkg says that it turns to the next package: what scripts say comes behind.
fn starts_a_package(text: &str) -> bool {
    const HEADS: [&str; 7] = [
        "Setting up ",
        "Unpacking ",
        "Preparing to unpack ",
        "Removing ",
        "Purging ",
        "Processing triggers for ",
        "Selecting previously ",
    ];
    HEADS.iter().any(|head| text.starts_with(head)) && text.ends_with("...")
        || text.starts_with("(Reading database ...")
}
