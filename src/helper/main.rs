//! `omg-helper`: the one program that talks to the package system's library.

#![cfg_attr(
    not(any(feature = "arch", feature = "debian")),
    expect(dead_code, reason = "without a package library nothing tells how changes go, or asks")
)]

mod backend;
mod commit;
mod download;
mod index;
mod lines;
mod order;
mod paths;
mod plan;
mod priority;
mod service;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use backend::{Backend, System};
use commit::Mode;
use index::Output;

/// In the place of malloc(3) too, so that libalpm has it: what reads the databases makes and frees millions of small texts,
/// on one thread and on another. libapt-pkg keeps its texts in one file.
///
/// Without huge pages: of those this process would clear more than it uses in its second of life.
#[cfg(feature = "arch")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit status when this program was built without the wanted backend: `EX_UNAVAILABLE` of sysexits.h.
const UNAVAILABLE: u8 = 69;

/// Exit status when the AUR's archive is none: `EX_DATAERR` of sysexits.h.
const BAD_DATA: u8 = 65;

/// Exit status when there is no room for the snapshot: `EX_IOERR` of sysexits.h.
const NO_ROOM: u8 = 74;

#[derive(Debug, Parser)]
#[command(name = "omg-helper", version, about = "Reads and changes the package system for omg")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// End when the starting process ends
    #[arg(long, global = true)]
    die_with_parent: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write a snapshot of every package
    Index(IndexArguments),
    /// Resolve the actions on the standard input, a line of JSON, and print the plan
    Plan(SystemArguments),
    /// Say in which order packages of the AUR are built, for the request on the standard input, a line of JSON
    Order(SystemArguments),
    /// Do what the plan on the standard input says, a line of JSON, and print how it goes
    Commit(CommitArguments),
    /// Fetch the package lists and print how it goes
    Refresh(CommitArguments),
    /// Fetch the package lists into a folder of this user's own and print how it goes
    RefreshCopy(CopyArguments),
    /// Tell which packages files belong to, or the files of a package: what the standard input asks, a line of JSON
    Paths(PathsArguments),
    /// Fetch the packages that the standard input names, a line of JSON, into a folder and print how it goes
    Download(SystemArguments),
    /// Serve changes of packages on the system bus, for whom polkit allows them
    Service(ServiceArguments),
    /// Print the backends this program was built with and the one for this machine
    Backend,
}

#[derive(Debug, clap::Args)]
struct SystemArguments {
    /// Package system to work with: auto, apt
    #[arg(long, default_value = "auto")]
    backend: String,
    /// Work with the package system under this folder instead of the machine's own
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Override a setting of the package system
    #[arg(short, long = "option", value_name = "KEY=VALUE", value_parser = setting)]
    options: Vec<String>,
}

#[derive(Debug, clap::Args)]
struct CommitArguments {
    #[command(flatten)]
    system: SystemArguments,
    /// Let package scripts ask on the terminal
    #[arg(long)]
    terminal: bool,
    /// The environment holds nothing of the caller's
    #[arg(long, hide = true)]
    clean: bool,
    /// Say what the plan takes and wait for the word to go on
    #[arg(long, hide = true)]
    supervised: bool,
    /// Say what would be done and wait for the word to go on, where the request names no plan
    #[arg(long, hide = true, conflicts_with = "supervised")]
    plan_first: bool,
    /// User on whose behalf this is done
    #[arg(long, hide = true, value_name = "UID")]
    actor: Option<u32>,
}

#[derive(Debug, clap::Args)]
struct CopyArguments {
    #[command(flatten)]
    system: SystemArguments,
    /// Where the copy of the package lists is
    #[arg(long, value_name = "DIR")]
    copy: PathBuf,
    /// Fetch the lists of files too
    #[arg(long)]
    files: bool,
}

#[derive(Debug, clap::Args)]
struct PathsArguments {
    #[command(flatten)]
    system: SystemArguments,
    /// Where this user's own copy of the package lists is, if there is one
    #[arg(long, value_name = "DIR")]
    copy: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct ServiceArguments {
    /// End after so many seconds with nothing to do
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    idle: u64,
    /// Give a job up whose plan is not made after so many seconds
    #[arg(long, hide = true, value_name = "SECONDS", default_value_t = 300)]
    plan_within: u64,
}

#[derive(Debug, clap::Args)]
struct IndexArguments {
    #[command(flatten)]
    system: SystemArguments,
    /// Number to store as the snapshot's generation
    #[arg(long, value_name = "N", default_value_t = 0)]
    generation: u64,
    /// Where this user's own copy of the package lists is, if there is one
    #[arg(long, value_name = "DIR")]
    copy: Option<PathBuf>,
    /// Where to write the snapshot; - is the standard output
    #[arg(long, value_name = "FILE", default_value = "-")]
    output: PathBuf,
    /// Write a snapshot of the AUR's packages instead, from its archive; the package system's settings mean nothing then
    #[arg(long, value_name = "FILE", conflicts_with = "aur")]
    aur_archive: Option<PathBuf>,
    /// Snapshot of the AUR's packages, for upgrades of packages that no repository offers
    #[arg(long, value_name = "FILE")]
    aur: Option<PathBuf>,
    /// Print how long each phase took
    #[arg(long, hide = true)]
    timings: bool,
}

fn setting(text: &str) -> Result<String, String> {
    match text.split_once('=') {
        Some((key, _)) if !key.is_empty() => Ok(text.to_owned()),
        _ => Err("expected Key=Value".to_owned()),
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // What started itself anew would be shown as “exe” to whoever waits for its lock.
    let _ = rustix::thread::set_name(c"omg-helper");
    if arguments.die_with_parent
        && let Err(error) = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
    {
        eprintln!("omg-helper: cannot bind its life to the parent process: {error}");
        return ExitCode::FAILURE;
    }
    if let Command::Commit(arguments) | Command::Refresh(arguments) = &arguments.command
        && arguments.supervised
    {
        service::settle();
    }
    let result = match arguments.command {
        Command::Backend => {
            println!("built with: {}", joined(&backend::names()));
            println!("for this machine: {}", backend::of_machine(None).unwrap_or("none"));
            return ExitCode::SUCCESS;
        }
        Command::Index(arguments) => write_index(arguments),
        Command::Plan(arguments) => with_backend(arguments, |backend, system| {
            plan::run(backend, &system)?;
            Ok(ExitCode::SUCCESS)
        }),
        Command::Order(arguments) => with_backend(arguments, |backend, system| {
            order::run(backend, &system)?;
            Ok(ExitCode::SUCCESS)
        }),
        Command::Download(arguments) => {
            with_backend(arguments, |backend, system| Ok(exit_code(download::run(backend, &system)?)))
        }
        Command::RefreshCopy(arguments) => with_backend(arguments.system, |backend, system| {
            download::refresh_copy(backend, &system, &arguments.copy, arguments.files)?;
            Ok(ExitCode::SUCCESS)
        }),
        Command::Paths(arguments) => with_backend(arguments.system, |backend, system| {
            paths::run(backend, &system, arguments.copy.as_deref())?;
            Ok(ExitCode::SUCCESS)
        }),
        Command::Service(arguments) => {
            sweep();
            service::run(Duration::from_secs(arguments.idle), Duration::from_secs(arguments.plan_within))
                .map(|()| ExitCode::SUCCESS)
        }
        Command::Commit(arguments) | Command::Refresh(arguments) if !arguments.clean => {
            Err(commit::restart_clean(&arguments.mode()))
        }
        Command::Commit(arguments) => {
            readable();
            let mode = arguments.mode();
            with_backend(arguments.system, |backend, system| Ok(exit_code(commit::commit(backend, &system, &mode)?)))
        }
        Command::Refresh(arguments) => {
            readable();
            let mode = arguments.mode();
            with_backend(arguments.system, |backend, system| Ok(exit_code(commit::refresh(backend, &system, &mode)?)))
        }
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            let mut text = error.to_string();
            let mut cause = error.source();
            while let Some(error) = cause {
                text.push_str(": ");
                text.push_str(&error.to_string());
                cause = error.source();
            }
            eprintln!("omg-helper: {}", text.trim_end());
            let no_room = error.downcast_ref().is_some_and(index::NotWritten::for_want_of_room);
            match error.downcast_ref() {
                _ if no_room => ExitCode::from(NO_ROOM),
                Some(omg::aur::ArchiveError::Damaged(_)) => ExitCode::from(BAD_DATA),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

impl CommitArguments {
    fn mode(&self) -> Mode {
        Mode { terminal: self.terminal, supervised: self.supervised, plan_first: self.plan_first, actor: self.actor }
    }
}

/// What is written with rights is meant to be as readable as its mode says, whatever the caller's umask is.
fn readable() {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
}

/// Removes what commits of this machine left behind that were killed: nothing else runs when the service starts. Without it
/// the service is as good.
fn sweep() {
    let machine = System { root: None, options: Vec::new(), aur: None };
    if let Some(backend) = backend::of_machine(None).and_then(backend::find)
        && let Err(error) = backend.sweep(&machine)
    {
        eprintln!("omg-helper: what interrupted commits left behind is not removed: {error}");
    }
}

fn exit_code(succeeded: bool) -> ExitCode {
    if succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn write_index(arguments: IndexArguments) -> Result<ExitCode, backend::Error> {
    priority::lower();
    let output = if arguments.output.as_os_str() == "-" { Output::Stdout } else { Output::File(arguments.output) };
    if let Some(archive) = arguments.aur_archive {
        index::write_aur(&archive, arguments.generation, output, arguments.timings)?;
        return Ok(ExitCode::SUCCESS);
    }
    with_backend(arguments.system, |backend, system| {
        let system = System { aur: arguments.aur, ..system };
        index::write(backend, system, arguments.copy.as_deref(), arguments.generation, output, arguments.timings)?;
        Ok(ExitCode::SUCCESS)
    })
}

fn with_backend(
    arguments: SystemArguments,
    work: impl FnOnce(&dyn Backend, System) -> Result<ExitCode, backend::Error>,
) -> Result<ExitCode, backend::Error> {
    let wanted = match arguments.backend.as_str() {
        "auto" => backend::of_machine(arguments.root.as_deref()).or_else(|| backend::names().first().copied()),
        name => Some(name),
    };
    let Some(backend) = wanted.and_then(backend::find) else {
        let built = backend::names();
        if built.is_empty() {
            eprintln!(
                "omg-helper: this omg-helper was built without a package backend; build it with `--features debian`"
            );
        } else {
            eprintln!(
                "omg-helper: this omg-helper was built without the backend {}; it has: {}",
                wanted.unwrap_or("for this system"),
                joined(&built)
            );
        }
        return Ok(ExitCode::from(UNAVAILABLE));
    };
    work(backend, System { root: arguments.root, options: arguments.options, aur: None })
}

fn joined(names: &[&str]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(" ") }
}
