//! What dpkg and package scripts write to the terminal that they do not have.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use omg::transaction::{Event, Level};
use rustix::pipe::{PipeFlags, pipe_with};

use super::super::super::Caller;

/// Lines of a package script that are kept for the message about its failure.
const KEPT: usize = 6;

/// The longest line that is kept, in bytes.
const LONGEST: usize = 2000;

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
        let mut lines = BufReader::new(File::from(reading));
        let (mut said, mut recent, mut line) = (Said::default(), VecDeque::new(), Vec::new());
        loop {
            line.clear();
            match lines.read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return said,
                Ok(_) => {}
            }
            if line.ends_with(END) && self.over.load(Ordering::Acquire) {
                return said;
            }
            line.truncate(LONGEST);
            let text = String::from_utf8_lossy(&line);
            let text = text.trim();
            if text.starts_with("dpkg: warning:") {
                caller.tell(Event::Message { level: Level::Warning, text: text.to_owned() });
            }
            if text.starts_with("dpkg: error processing") && said.last_words.is_empty() {
                said.last_words = recent.drain(..).collect();
            }
            if starts_a_package(text) {
                recent.clear();
            } else if !text.is_empty() {
                recent.push_back(text.to_owned());
                if recent.len() > KEPT {
                    recent.pop_front();
                }
            }
        }
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
