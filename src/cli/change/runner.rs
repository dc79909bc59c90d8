//! The ways to get something done that takes rights: as root at once, over the system bus, or with sudo.

use std::fs::File;
use std::io::BufReader;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};

use rustix::io::{FdFlags, fcntl_setfd};
use serde::Serialize;
use tokio::sync::mpsc;

use super::super::Failure;
use super::super::output::{Output, WARN};
use super::ask::is_interactive;
use super::polkit_agent::PolkitAgent;
use crate::config::{self, Paths};
use crate::dbus::client::{ClientError, ErrorKind, find_program};
use crate::dbus::transaction::{Job as BusJob, TransactionService};
use crate::security::environment::{ENVIRONMENT, sudo_user};
use crate::transaction::{Download, Event, LineError, Reply, Request, read_line, write_line};

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
    /// Starts the work in the first way that is there. Who has consented beforehand (`assent`) is asked for a password at
    /// most: package scripts take their defaults.
    ///
    /// # Errors
    /// With all that was tried, when there is none; when the work is refused.
    pub async fn start(work: &Work, assent: bool, out: &mut Output) -> Result<Self, Failure> {
        let helper = helper()?;
        // Whoever reads JSON is a program, and nobody may be there to answer.
        let asks = is_interactive() && !out.is_json();
        if rustix::process::geteuid().is_root() {
            let helper = helper.ok_or_else(no_helper)?;
            return Ok(Self::Helper(HelperJob::start(Command::new(&helper), false, false, work)?));
        }
        let mut tried = Vec::new();
        match TransactionService::connect(None).await {
            Ok(service) => return Self::on_bus(&service, asks, work).await,
            Err(reason) => tried.push(format!("system bus: {reason}")),
        }
        match Self::with_sudo(work, helper, asks, assent) {
            Ok(job) => return job,
            Err(reason) => tried.push(format!("sudo: {reason}")),
        }
        out.flush();
        let text = format!("this takes rights, and no way to them worked: {}; run it as root", tried.join("; "));
        Err(Failure::Of(ErrorKind::NotAuthorized, text))
    }

    /// Starts the work once more, with sudo: the service on the system bus found nobody to ask for consent. Only somebody at
    /// a terminal has sudo ask instead.
    ///
    /// # Errors
    /// When that is no way either: with the service's reason, and why.
    pub fn instead(work: &Work, assent: bool, refused: &str, out: &Output) -> Result<Self, Failure> {
        let why = if !is_interactive() {
            "there is no terminal on which sudo could ask".to_owned()
        } else if out.is_json() {
            "--json never asks".to_owned()
        } else {
            match Self::with_sudo(work, helper()?, true, assent) {
                Ok(job) => return job,
                Err(reason) => format!("sudo: {reason}"),
            }
        };
        Err(Failure::Of(ErrorKind::NotAuthorized, format!("{refused}; {why}; run it as root")))
    }

    /// The work as sudo's, or why sudo is no way.
    fn with_sudo(
        work: &Work,
        helper: Option<PathBuf>,
        asks: bool,
        assent: bool,
    ) -> Result<Result<Self, Failure>, String> {
        if matches!(work, Work::Commit(_, files) if !files.is_empty()) {
            return Err("it does not pass package files on; run omg itself with sudo".to_owned());
        }
        let helper = helper.ok_or(NO_HELPER)?;
        let mut command = Command::new(find_program("sudo", None).ok_or("it is not installed")?);
        if !asks {
            command.arg("-n");
        }
        command.arg("--").arg(helper);
        Ok(HelperJob::start(command, true, asks && !assent, work).map(Self::Helper))
    }

    /// Whether the service on the system bus does it.
    pub fn is_on_bus(&self) -> bool {
        matches!(self, Self::Bus { .. })
    }

    /// Fetches package files as this user, by the settings that are there for reading.
    ///
    /// # Errors
    /// When the configuration file cannot be used or the helper cannot be run.
    pub fn download(request: Download) -> Result<Self, Failure> {
        let settings = config::load(Paths::from_process().config_file.as_deref())
            .map_err(|error| Failure::Of(ErrorKind::Invalid, error.to_string()))?;
        let helper = find_program("omg-helper", settings.helper.as_deref()).ok_or_else(no_helper)?;
        let mut command = Command::new(helper);
        command.args(["download", "--backend", settings.backend.as_str()]);
        if let Some(root) = &settings.apt.root {
            command.arg("--root").arg(root);
        }
        for option in &settings.apt.options {
            command.args(["--option", option]);
        }
        // apt's methods say what went wrong in the words of the locale; what kind it was is read from them.
        command.env("LC_ALL", "C.UTF-8").env_remove("LANGUAGE");
        set_apart(&mut command);
        Ok(Self::Helper(HelperJob::spawn(command, Some(&request), &[])?))
    }

    async fn on_bus(service: &TransactionService, asks: bool, work: &Work) -> Result<Self, Failure> {
        // Where nothing asks for a password, one that asks on the terminal is brought along.
        let agent = if asks { PolkitAgent::start() } else { None };
        let job = match work {
            Work::Commit(request, files) => {
                let digest = request.digest.map(|digest| digest.to_string()).unwrap_or_default();
                service.commit(&request.actions, &digest, &request.options, files).await?
            }
            Work::Refresh => service.refresh().await?,
        };
        Ok(Self::Bus { job: Box::new(job), _agent: agent })
    }

    /// A job of the daemon's.
    pub fn of_daemon(job: BusJob) -> Self {
        Self::Bus { job: Box::new(job), _agent: None }
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

/// The helper that changes this machine's packages, if it is there.
///
/// # Errors
/// When the configuration is about another system.
fn helper() -> Result<Option<PathBuf>, Failure> {
    let settings = config::load(Paths::from_process().config_file.as_deref()).ok();
    if settings.as_ref().is_some_and(|settings| settings.apt.root.is_some() || !settings.apt.options.is_empty()) {
        let text = "apt.root and apt.options of the configuration file are for reading: what runs with rights changes \
                    this machine's own packages, by its own settings; take them out to change packages";
        return Err(Failure::Of(ErrorKind::Invalid, text.to_owned()));
    }
    Ok(find_program("omg-helper", settings.and_then(|settings| settings.helper).as_deref()))
}

/// Makes sure that packages from files can be installed: by root at once or by the service on the system bus, but not by
/// sudo, which passes no files on.
///
/// # Errors
/// Why they cannot, and what to do.
pub async fn takes_files() -> Result<(), Failure> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    match TransactionService::connect(None).await {
        Ok(_) => Ok(()),
        Err(reason) => {
            let text = format!(
                "what is built could not be installed: the service on the system bus does it, and there is none ({reason}); \
                 nothing was built; run `sudo omg`, which builds as you"
            );
            Err(Failure::Of(ErrorKind::NotAuthorized, text))
        }
    }
}

const NO_HELPER: &str = "omg-helper is neither beside omg, nor in ../libexec/omg, nor in PATH";

fn no_helper() -> Failure {
    Failure::Internal(format!("{NO_HELPER}: install it, packages cannot be changed without it"))
}

/// The environment that the helper would start itself anew in.
fn in_clean_environment(command: &mut Command) {
    command.arg("--clean").env_clear().envs(ENVIRONMENT).current_dir("/");
    if let Some(uid) = sudo_user() {
        command.args(["--actor", &uid.to_string()]);
    }
}

/// An interrupt at the terminal is for omg, which says what comes of it.
fn set_apart(command: &mut Command) {
    command.process_group(0);
}

impl HelperJob {
    fn start(mut command: Command, sudo: bool, shares_terminal: bool, work: &Work) -> Result<Self, Failure> {
        let (verb, request, files) = match work {
            Work::Commit(request, files) => ("commit", Some(request), files.as_slice()),
            Work::Refresh => ("refresh", None, [].as_slice()),
        };
        command.arg(verb);
        if request.is_some_and(|request| request.digest.is_none()) {
            command.arg("--plan-first");
        }
        if shares_terminal {
            command.arg("--terminal");
        }
        let numbers = || files.iter().map(AsRawFd::as_raw_fd).collect();
        let request = request.map(|request| Request { files: numbers(), ..request.clone() });
        if !sudo {
            set_apart(&mut command);
            in_clean_environment(&mut command);
        }
        let job = Self::spawn(command, request.as_ref(), files)?;
        Ok(Self { sudo, shares_terminal, ..job })
    }

    /// Runs the program, which inherits `files` under their numbers, and writes the request.
    fn spawn(mut command: Command, request: Option<&impl Serialize>, files: &[File]) -> Result<Self, Failure> {
        let program = Path::new(command.get_program()).display().to_string();
        let failed = |error: std::io::Error| Failure::Internal(format!("cannot run {program}: {error}"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        for file in files {
            fcntl_setfd(file, FdFlags::empty()).map_err(|error| failed(error.into()))?;
        }
        let mut child = command.spawn().map_err(failed)?;
        for file in files {
            // Only a later child would notice.
            let _ = fcntl_setfd(file, FdFlags::CLOEXEC);
        }
        let mut replies = child.stdin.take();
        if let (Some(request), Some(to)) = (request, &mut replies) {
            // One that ended before it could read says why.
            let _ = write_line(to, request);
        }
        Ok(Self { heard: listen(child), replies, sudo: false, shares_terminal: false, spoke: false })
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
