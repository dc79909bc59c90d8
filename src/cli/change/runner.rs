//! The ways to get something done that takes rights: as root at once, over the system bus, or with sudo.

use std::fs::File;
use std::io::BufReader;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};

use rustix::io::{FdFlags, fcntl_setfd};
use tokio::sync::mpsc;

use super::super::Failure;
use super::super::output::{Output, WARN};
use super::ask::is_interactive;
use super::polkit_agent::PolkitAgent;
use crate::config::{self, Paths};
use crate::dbus::client::{ClientError, ErrorKind, find_program};
use crate::dbus::transaction::{Job as BusJob, TransactionService};
use crate::transaction::{Event, LineError, Reply, Request, read_line, write_line};

/// Events that may wait to be shown.
const QUEUE: usize = 256;

/// What is to be done.
#[derive(Debug)]
pub enum Work {
    /// The plan of the request's digest or, for root alone and without a digest, what comes to be planned: an
    /// [`Event::Planned`] tells it, and a reply lets it be done. The files are the packages of its `install-file` actions.
    Commit(Request, Vec<File>),
    /// Fetch the package lists.
    Refresh,
}

/// Work that is going on.
#[derive(Debug)]
pub enum Job {
    Helper(HelperJob),
    Bus {
        job: Box<BusJob>,
        /// Asks for as long as this lives.
        _agent: Option<PolkitAgent>,
    },
}

/// An `omg-helper` with rights.
#[derive(Debug)]
pub struct HelperJob {
    heard: mpsc::Receiver<Heard>,
    /// None once it listens no more.
    replies: Option<ChildStdin>,
    /// Reached through sudo, which may refuse.
    sudo: bool,
    /// Package scripts may ask on the terminal.
    pub shares_terminal: bool,
    spoke: bool,
}

#[derive(Debug)]
enum Heard {
    Event(Event),
    /// A line that this version does not understand.
    Strange(LineError),
    Ended(std::io::Result<ExitStatus>),
}

impl Job {
    /// Starts the work in the first way that is there.
    ///
    /// # Errors
    /// With all that was tried, when there is none; when the work is refused.
    pub async fn start(work: Work, out: &mut Output) -> Result<Self, Failure> {
        let settings = config::load(Paths::from_process().config_file.as_deref()).ok();
        if settings.as_ref().is_some_and(|settings| settings.apt.root.is_some() || !settings.apt.options.is_empty()) {
            let text = "apt.root and apt.options of the configuration file are for reading: what runs with rights changes \
                        this machine's own packages, by its own settings; take them out to change packages";
            return Err(Failure::Of(ErrorKind::Invalid, text.to_owned()));
        }
        let helper = find_program("omg-helper", settings.and_then(|settings| settings.helper).as_deref());
        // Whoever reads JSON is a program, and nobody may be there to answer.
        let asks = is_interactive() && !out.is_json();
        if rustix::process::geteuid().is_root() {
            let helper = helper.ok_or_else(no_helper)?;
            return Ok(Self::Helper(HelperJob::start(Command::new(&helper), false, asks, work)?));
        }
        let mut tried = Vec::new();
        match TransactionService::connect(None).await {
            Ok(service) => return Self::on_bus(&service, asks, work).await,
            Err(reason) => tried.push(format!("system bus: {reason}")),
        }
        match (&work, helper, find_program("sudo", None)) {
            (Work::Commit(_, files), ..) if !files.is_empty() => {
                tried.push("sudo: it does not pass package files on; run omg itself with sudo".to_owned());
            }
            (_, None, _) => tried.push(format!("sudo: {NO_HELPER}")),
            (_, _, None) => tried.push("sudo: it is not installed".to_owned()),
            (_, Some(helper), Some(sudo)) => {
                let mut command = Command::new(sudo);
                if !asks {
                    command.arg("-n");
                }
                command.arg("--").arg(helper);
                return Ok(Self::Helper(HelperJob::start(command, true, asks, work)?));
            }
        }
        out.flush();
        let text = format!("this takes rights, and no way to them worked: {}; run it as root", tried.join("; "));
        Err(Failure::Of(ErrorKind::NotAuthorized, text))
    }

    async fn on_bus(service: &TransactionService, asks: bool, work: Work) -> Result<Self, Failure> {
        // Where nothing asks for a password, one that asks on the terminal is brought along.
        let agent = if asks { PolkitAgent::start() } else { None };
        let job = match &work {
            Work::Commit(request, files) => {
                let digest = request.digest.map(|digest| digest.to_string()).unwrap_or_default();
                service.commit(&request.actions, &digest, &request.options, files).await?
            }
            Work::Refresh => service.refresh().await?,
        };
        Ok(Self::Bus { job: Box::new(job), _agent: agent })
    }

    /// Whether something else writes on the terminal while packages are applied.
    pub fn shares_terminal(&self) -> bool {
        matches!(self, Self::Helper(helper) if helper.shares_terminal)
    }

    /// What happens next. Dropping the future loses nothing.
    ///
    /// # Errors
    /// When the work ends without a result.
    pub async fn next(&mut self, out: &mut Output) -> Result<Event, Failure> {
        match self {
            Self::Helper(helper) => helper.next(out).await,
            Self::Bus { job, .. } => {
                let event = match job.next().await {
                    Err(ClientError::Disconnected(reason)) => {
                        let text = format!(
                            "{reason}; the change may still be going on: `omg history` and `omg doctor` tell more, \
                             `journalctl -u omg-helper` shows its log"
                        );
                        return Err(Failure::Internal(text));
                    }
                    event => event?,
                };
                event.ok_or_else(|| Failure::Internal("the work ended without a result".into()))
            }
        }
    }

    /// Says something to whoever does the work; one who is about to end hears nothing.
    pub async fn reply(&mut self, reply: &Reply, out: &mut Output) {
        match self {
            Self::Helper(helper) => helper.reply(reply),
            Self::Bus { job, .. } => {
                if let Err(error) = job.reply(reply).await {
                    out.note(WARN, &error.to_string());
                }
            }
        }
    }

    /// Lets go of finished work.
    pub async fn close(self) {
        if let Self::Bus { job, .. } = self {
            job.close().await;
        }
    }
}

const NO_HELPER: &str = "omg-helper is neither beside omg, nor in ../libexec/omg, nor in PATH";

fn no_helper() -> Failure {
    Failure::Internal(format!("{NO_HELPER}: install it, packages cannot be changed without it"))
}

impl HelperJob {
    fn start(mut command: Command, sudo: bool, asks: bool, work: Work) -> Result<Self, Failure> {
        let program = Path::new(command.get_program()).display().to_string();
        let failed = |error: std::io::Error| Failure::Internal(format!("cannot run {program}: {error}"));
        let shares_terminal = sudo && asks;
        let (verb, request, files) = match work {
            Work::Commit(request, files) => ("commit", Some(request), files),
            Work::Refresh => ("refresh", None, Vec::new()),
        };
        command.arg(verb).stdin(Stdio::piped()).stdout(Stdio::piped());
        if request.as_ref().is_some_and(|request| request.digest.is_none()) {
            command.arg("--plan-first");
        }
        if shares_terminal {
            command.arg("--terminal");
        }
        if !sudo {
            // An interrupt at the terminal is for omg, which says what comes of it.
            command.process_group(0);
        }
        for file in &files {
            fcntl_setfd(file, FdFlags::empty()).map_err(|error| failed(error.into()))?;
        }
        let mut child = command.spawn().map_err(failed)?;
        for file in &files {
            // Only a later child would notice.
            let _ = fcntl_setfd(file, FdFlags::CLOEXEC);
        }
        let mut replies = child.stdin.take();
        if let (Some(mut request), Some(to)) = (request, &mut replies) {
            request.files = files.iter().map(AsRawFd::as_raw_fd).collect();
            // One that ended before it could read says why.
            let _ = write_line(to, &request);
        }
        Ok(Self { heard: listen(child), replies, sudo, shares_terminal, spoke: false })
    }

    async fn next(&mut self, out: &mut Output) -> Result<Event, Failure> {
        loop {
            match self.heard.recv().await {
                Some(Heard::Event(event)) => {
                    self.spoke = true;
                    return Ok(event);
                }
                Some(Heard::Strange(error)) => out.note(WARN, &format!("omg-helper: {error}")),
                Some(Heard::Ended(status)) => {
                    return Err(if self.sudo && !self.spoke {
                        Failure::Of(ErrorKind::NotAuthorized, "sudo did not run omg-helper: nothing was done".into())
                    } else {
                        let how = status.map_or_else(|error| error.to_string(), |status| status.to_string());
                        let text =
                            format!("omg-helper ended without a result ({how}); `omg doctor` tells what is left");
                        Failure::Internal(text)
                    });
                }
                None => return Err(Failure::Internal("omg-helper ended without a result".into())),
            }
        }
    }

    fn reply(&mut self, reply: &Reply) {
        if let Some(to) = &mut self.replies
            && write_line(to, reply).is_err()
        {
            self.replies = None;
        }
    }
}

/// Reads what the child says on a thread of its own, since pipes of other programs cannot be waited for otherwise without
/// losing a line that is half read.
fn listen(mut child: Child) -> mpsc::Receiver<Heard> {
    let (sender, heard) = mpsc::channel(QUEUE);
    std::thread::spawn(move || {
        let mut lines = child.stdout.take().map(BufReader::new);
        while let Some(from) = &mut lines {
            let line = match read_line::<Event>(from) {
                Ok(Some(event)) => Heard::Event(event),
                Ok(None) => break,
                Err(error @ LineError::Malformed(_)) => Heard::Strange(error),
                Err(error) => {
                    let _ = sender.blocking_send(Heard::Strange(error));
                    break;
                }
            };
            if sender.blocking_send(line).is_err() {
                break;
            }
        }
        let _ = sender.blocking_send(Heard::Ended(child.wait()));
    });
    heard
}
