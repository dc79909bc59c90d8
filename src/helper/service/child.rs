//! The process that changes packages: this program once more, as `commit` or `refresh`.
//!
//! libapt and libalpm stay out of the service, and a service that ends, however that comes, leaves the process alone:
//! dpkg never stops half-way.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use omg::security::environment::ENVIRONMENT;
use omg::transaction::{Event, MAX_LINE_BYTES, Reply, Request};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, setsid};
use serde::Serialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;

use super::arguments::Work;

/// Descriptors that a process may have open where nobody says otherwise.
const USUAL_DESCRIPTORS: u64 = 1024;

/// A running helper.
#[derive(Debug)]
pub struct Child {
    process: tokio::process::Child,
    replies: Option<ChildStdin>,
}

impl Child {
    /// Starts `program` for `work` on behalf of `uid` and writes the request. The events end with the helper's output.
    ///
    /// # Errors
    /// When it cannot be started, or ends before it has read the request.
    pub async fn start(program: &Path, work: Work, uid: u32) -> io::Result<(Self, mpsc::Receiver<Event>)> {
        let (verb, request, files) = match work {
            Work::Commit { actions, options, digest, files } => {
                let numbers = files.iter().map(AsRawFd::as_raw_fd).collect();
                ("commit", Some(Request { actions, options, files: numbers, digest: Some(digest) }), files)
            }
            Work::Refresh => ("refresh", None, Vec::new()),
        };
        let mut command = Command::new(program);
        // Fixed but for the number of a user: whom it works for decides neither the root nor an option.
        command.args([verb, "--clean", "--supervised", "--actor", &uid.to_string()]);
        command.env_clear().envs(ENVIRONMENT).current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = {
            // This is the only place that starts a process, and there is one turn: no other child gets these.
            let _passed = Passed::new(&files)?;
            command.spawn()?
        };
        drop(files);
        let (Some(replies), Some(output)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(io::Error::other("the helper has no standard streams"));
        };
        let (sender, events) = mpsc::channel(64);
        tokio::spawn(listen(output, sender));
        let mut child = Self { process, replies: Some(replies) };
        if let Some(request) = request {
            child.write(&request).await?;
        }
        Ok((child, events))
    }

    /// Replies. To a helper that is gone there is nothing to say.
    pub async fn reply(&mut self, reply: &Reply) {
        if self.write(reply).await.is_err() {
            self.replies = None;
        }
    }

    /// Ends the process on the spot.
    pub fn kill(&mut self) {
        // It fails only where it has ended already.
        let _ = self.process.start_kill();
    }

    /// Waits until the process has ended.
    pub async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.process.wait().await
    }

    async fn write(&mut self, value: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        match &mut self.replies {
            Some(replies) => replies.write_all(&line).await,
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

/// What the started process does first: it leaves the service's session, so that nothing that is sent to the service's
/// process group or terminal reaches dpkg, and takes back the usual number of descriptors, which programs that use
/// select(2) rely on.
pub fn settle() {
    // It fails only where it is done already.
    let _ = setsid();
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|now| now > USUAL_DESCRIPTORS) {
        // Less is always allowed.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(USUAL_DESCRIPTORS), ..limit });
    }
}

/// Descriptors that a process started meanwhile inherits under their numbers.
struct Passed<'a>(&'a [OwnedFd]);

impl<'a> Passed<'a> {
    fn new(files: &'a [OwnedFd]) -> io::Result<Self> {
        let passed = Self(files);
        for file in files {
            fcntl_setfd(file, FdFlags::empty())?;
        }
        Ok(passed)
    }
}

impl Drop for Passed<'_> {
    fn drop(&mut self) {
        for file in self.0 {
            // It works on any open descriptor.
            let _ = fcntl_setfd(file, FdFlags::CLOEXEC);
        }
    }
}

/// Reads events until the output ends. A line that is no event is left out: a helper that an update has put in this
/// program's place may say more than this one knows.
async fn listen(output: ChildStdout, events: mpsc::Sender<Event>) {
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut output).take(MAX_LINE_BYTES).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        match serde_json::from_slice(&line) {
            Ok(event) => {
                if events.send(event).await.is_err() {
                    return;
                }
            }
            Err(error) => eprintln!("omg-helper: a line of the helper is no event: {error}"),
        }
    }
}
