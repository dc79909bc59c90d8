//! The standard input of dpkg where its owner is asked about configuration files: dpkg's questions are answered there, and
//! package scripts find its end.
//!
//! dpkg reads its answers from the standard input, which every package script inherits. Were that a pipe, a script that reads
//! would wait for ever, or take an answer that is not for it. So it is a file in which nothing is: whoever reads it finds
//! its end, as in `/dev/null`. The kernel asks this process before each reading of it (a permission event of fanotify(7)) and
//! says who reads: dpkg, which never reads but when it has asked, waits until the answer has been written into the file;
//! everybody else reads at once.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use nix::sys::fanotify::{
    EventFFlags, Fanotify, FanotifyEvent, FanotifyResponse, InitFlags, MarkFlags, MaskFlags, Response,
};
use rust_apt::config::Config;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::FallocateFlags;
use rustix::io::Errno;

/// Where the file is made: no other user has anything there.
const FOLDER: &str = "/run";

/// A question of dpkg's has long been told by then; one that was not is answered with what is here.
const UNTOLD: Timespec = Timespec { tv_sec: 30, tv_nsec: 0 };

/// Bytes that are kept free for answers while nobody gives any: a page is the least that is.
const RESERVED: u64 = 4096;

/// What dpkg takes for keeping what is here, and for the package's version.
const KEEP: &[u8] = b"n\n";
const REPLACE: &[u8] = b"y\n";

/// The file, and the word over who reads it.
#[derive(Debug)]
pub struct Answers {
    events: Fanotify,
    /// For writing.
    file: File,
    /// What dpkg and the scripts inherit: they share its position.
    reading: File,
    /// Something changed: there is an answer, or it is over.
    news: OwnedFd,
    state: AtomicU32,
    /// A question was answered without the owner.
    is_late: AtomicBool,
    /// The name of dpkg's program.
    dpkg: PathBuf,
}

/// Nobody has been asked, somebody is being asked, the answer could not be written, it is over.
const QUIET: u32 = 0;
const ASKING: u32 = 1;
const FAILED: u32 = 2;
const OVER: u32 = 3;

impl Answers {
    /// Makes the file.
    ///
    /// # Errors
    /// Where the kernel lets nobody decide who reads: without CAP_SYS_ADMIN on the machine itself, as in most containers. Where
    /// the folder has no room for an answer.
    pub fn new(config: &Config) -> io::Result<Self> {
        let events = Fanotify::init(
            InitFlags::FAN_CLASS_CONTENT | InitFlags::FAN_CLOEXEC,
            EventFFlags::O_RDONLY | EventFFlags::O_CLOEXEC,
        )?;
        let file = tempfile::tempfile_in(FOLDER)?;
        reserve(&file)?;
        events.mark(MarkFlags::FAN_MARK_ADD, MaskFlags::FAN_ACCESS_PERM, Some(file.as_raw_fd()), None::<&Path>)?;
        // Opened again, as only what is opened after the mark is asked about (since Linux 6.14).
        let reading = OpenOptions::new().read(true).open(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
        let news = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let dpkg = PathBuf::from(config.find("Dir::Bin::dpkg", "dpkg"));
        Ok(Self { events, file, reading, news, state: AtomicU32::new(QUIET), is_late: AtomicBool::new(false), dpkg })
    }

    /// Puts it in place of the standard input.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub fn redirect(&self) -> io::Result<()> {
        Ok(rustix::stdio::dup2_stdin(&self.reading)?)
    }

    /// The owner is being asked what dpkg wants to know.
    pub fn asking(&self) {
        self.turn(ASKING);
    }

    /// Answers what dpkg asked last. Where it was answered without the owner meanwhile, this comes too late: the next question
    /// is another one.
    pub fn answer(&self, replaces: bool) {
        if self.is_late.swap(false, Ordering::AcqRel) {
            return self.turn(QUIET);
        }
        self.write(replaces);
    }

    fn write(&self, replaces: bool) {
        // An answer that nobody took is not for the next question.
        let position = self.position();
        let written = self.shorten(position).and_then(|()| {
            let answer = if replaces { REPLACE } else { KEEP };
            self.file.write_all_at(answer, position)
        });
        // Without one dpkg finds the end, and fails the package.
        self.announce(if written.is_ok() { QUIET } else { FAILED });
    }

    /// Ends [`Self::serve`]; whoever still reads finds the end.
    pub fn end(&self) {
        self.announce(OVER);
    }

    /// What is over stays so.
    fn turn(&self, state: u32) {
        let _ = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| (now != OVER).then_some(state));
    }

    fn announce(&self, state: u32) {
        self.turn(state);
        // A counter that is full wakes as well.
        let _ = rustix::io::write(&self.news, &1_u64.to_ne_bytes());
    }

    /// Lets read who may, until it is over.
    pub fn serve(&self) {
        let mut held: Vec<FanotifyEvent> = Vec::new();
        loop {
            let mut wanted = [PollFd::new(&self.events, PollFlags::IN), PollFd::new(&self.news, PollFlags::IN)];
            let is_untold = !held.is_empty() && self.state.load(Ordering::Acquire) == QUIET;
            match poll(&mut wanted, is_untold.then_some(&UNTOLD)) {
                Ok(0) if self.state.load(Ordering::Acquire) == QUIET => {
                    self.is_late.store(true, Ordering::Release);
                    self.write(false);
                }
                // Whatever it is, somebody has to go on letting others read.
                Ok(_) | Err(_) => {}
            }
            let [events, news] = wanted.map(|wanted| !wanted.revents().is_empty());
            if news {
                let _ = rustix::io::read(&self.news, &mut [0; 8]);
            }
            if events {
                held.extend(self.events.read_events().unwrap_or_default());
            }
            let state = self.state.load(Ordering::Acquire);
            let is_answered = self.is_answered();
            held.retain(|event| {
                let is_dpkg = self.is_dpkg(event.pid());
                let waits = matches!(state, QUIET | ASKING) && !is_answered && is_dpkg;
                if !is_dpkg && !is_answered {
                    // What dpkg has read is for nobody else, who could read it by opening the file anew.
                    let _ = self.shorten(0);
                }
                if !waits {
                    self.allow(event);
                }
                waits
            });
            match state {
                OVER => return,
                // Only this one question has no answer.
                FAILED => self.turn(QUIET),
                _ => {}
            }
        }
    }

    fn allow(&self, event: &FanotifyEvent) {
        if let Some(file) = event.fd() {
            // Whoever waited is gone when it cannot be said.
            let _ = self.events.write_response(FanotifyResponse::new(file, Response::FAN_ALLOW));
        }
    }

    /// Removes what is behind `length`, and keeps the room for the next answer.
    fn shorten(&self, length: u64) -> io::Result<()> {
        if self.file.metadata()?.len() <= length {
            // Also where nothing is removed, the room would be given back.
            return Ok(());
        }
        self.file.set_len(length)?;
        // Without it the next answer takes the room that is left then.
        let _ = reserve(&self.file);
        Ok(())
    }

    /// Whether there is something that was not read yet.
    fn is_answered(&self) -> bool {
        self.file.metadata().is_ok_and(|found| found.len() > self.position())
    }

    /// How far it was read. Not asked by lseek(2), which waits for whoever reads.
    fn position(&self) -> u64 {
        let told = fs::read_to_string(format!("/proc/self/fdinfo/{}", self.reading.as_raw_fd())).unwrap_or_default();
        let position = told.lines().find_map(|line| line.strip_prefix("pos:")?.trim().parse().ok());
        position.unwrap_or(0)
    }

    /// Whether it is the dpkg that this process started itself; scripts are children of that one.
    fn is_dpkg(&self, pid: i32) -> bool {
        let program = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        let name = program.file_name().and_then(OsStr::to_str).unwrap_or_default();
        // An update of dpkg replaces the file of the one that runs.
        let name = name.trim_end_matches(" (deleted)");
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // State and parent come behind the name, which may hold anything.
        let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)).unwrap_or_default();
        parent == std::process::id().to_string() && self.dpkg.file_name() == Some(OsStr::new(name))
    }
}

/// Makes room for answers without making the file longer.
fn reserve(file: &File) -> io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, 0, RESERVED) {
        // Some file systems cannot.
        Ok(()) | Err(Errno::OPNOTSUPP) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
