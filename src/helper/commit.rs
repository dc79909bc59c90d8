//! `omg-helper commit`: does what a plan says, with rights, and tells how it goes.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;

use omg::transaction::{
    Applied, Event, Failure, FailureKind, Outcome, Question, Reply, Request, read_line, write_line,
};

use rustix::io::fcntl_dupfd_cloexec;
use tokio::signal::unix::{SignalKind, signal};

use crate::backend::{Backend, Caller, Error, System};

/// The whole environment of what runs with rights: package scripts see nothing of the caller's.
const ENVIRONMENT: [(&str, &str); 4] = [
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("LC_ALL", "C.UTF-8"),
    ("HOME", "/root"),
    ("DEBIAN_FRONTEND", "noninteractive"),
];

/// Variables that are passed on: where a terminal is, package scripts ask there.
const KEPT: [&str; 1] = ["TERM"];

/// Starts this program again with the same arguments and `--clean`, in an environment that holds nothing of the caller's.
///
/// # Errors
/// Only returns when it cannot be started.
pub fn restart_clean(terminal: bool) -> Error {
    let mut command = Command::new("/proc/self/exe");
    command.args(std::env::args_os().skip(1)).arg("--clean").env_clear().current_dir("/");
    command.envs(ENVIRONMENT.into_iter().filter(|(name, _)| !(terminal && *name == "DEBIAN_FRONTEND")));
    if terminal {
        for name in KEPT {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
    }
    format!("cannot start anew: {}", command.exec()).into()
}

/// Reads a [`Request`] from the standard input, commits it, and writes [`Event`]s to the standard output; meanwhile reads
/// [`Reply`]s. Says whether it succeeded.
///
/// # Errors
/// When no request can be read.
pub fn run(backend: &dyn Backend, system: &System, terminal: bool) -> Result<bool, Error> {
    let (mut replies, events) = take_streams(terminal)?;
    let request: Request =
        read_line(&mut replies).map_err(|error| format!("the request: {error}"))?.ok_or("there is no request")?;
    let caller = Lines::listening(replies, events)?;
    let outcome = if request.digest.is_none() {
        let failure = Failure::new(FailureKind::InvalidArgument, "the request names no plan by its digest");
        Outcome::Failed { failure, applied: Applied::default() }
    } else {
        backend.commit(system, &request, &caller)
    };
    let succeeded = matches!(outcome, Outcome::Succeeded(_));
    caller.tell(Event::Finished(outcome));
    Ok(succeeded)
}

/// Moves the caller's ends of the standard input and output out of the way of whatever is run: package scripts inherit
/// the numbers 0 and 1, where they must neither read replies nor write between events. What is there instead is the
/// terminal, when they may ask there, else nothing.
fn take_streams(terminal: bool) -> Result<(BufReader<File>, File), Error> {
    // Beyond the numbers of the standard streams.
    let replies = fcntl_dupfd_cloexec(io::stdin(), 3)?;
    let events = fcntl_dupfd_cloexec(io::stdout(), 3)?;
    let path = if terminal { "/dev/tty" } else { "/dev/null" };
    let instead =
        OpenOptions::new().read(true).write(true).open(path).map_err(|error| format!("cannot open {path}: {error}"))?;
    rustix::stdio::dup2_stdin(instead.as_fd())?;
    rustix::stdio::dup2_stdout(instead.as_fd())?;
    Ok((BufReader::new(replies.into()), events.into()))
}

/// A caller at the other end of the standard streams.
struct Lines {
    events: Mutex<File>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    cancelled: AtomicBool,
    replies: Mutex<Replies>,
    arrived: Condvar,
}

#[derive(Default)]
struct Replies {
    /// Number of a question and the choice.
    answers: Vec<(u32, String)>,
    /// Nobody will answer any more.
    over: bool,
}

impl Shared {
    fn replies(&self) -> MutexGuard<'_, Replies> {
        self.replies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    /// Listens to the replies and to the signals that ask a process to end.
    fn listening(mut replies: BufReader<File>, events: File) -> Result<Self, Error> {
        let shared = Arc::new(Shared::default());
        note_signals(Arc::clone(&shared))?;
        let listener = Arc::clone(&shared);
        // Ends with the process: a line that never comes holds nothing up.
        thread::spawn(move || {
            loop {
                match read_line(&mut replies) {
                    Ok(Some(Reply::Cancel)) => listener.cancelled.store(true, Ordering::Relaxed),
                    Ok(Some(Reply::Answer { id, choice })) => listener.replies().answers.push((id, choice)),
                    // What cannot be understood is no answer; neither is the end.
                    Ok(None) | Err(_) => listener.replies().over = true,
                }
                listener.arrived.notify_all();
                if listener.replies().over {
                    return;
                }
            }
        });
        Ok(Self { events: Mutex::new(events), shared })
    }
}

/// From now on the signals that ask a process to end mean what [`Reply::Cancel`] means: ended on the spot, this process
/// would leave packages half installed.
fn note_signals(shared: Arc<Shared>) -> Result<(), Error> {
    let (ready, is_ready) = mpsc::channel();
    thread::spawn(move || {
        let listen = async {
            let mut terminate = signal(SignalKind::terminate())?;
            let mut interrupt = signal(SignalKind::interrupt())?;
            let mut hang_up = signal(SignalKind::hangup())?;
            let _ = ready.send(Ok(()));
            loop {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                    _ = hang_up.recv() => {}
                }
                shared.cancelled.store(true, Ordering::Relaxed);
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let ended: io::Result<()> = runtime.and_then(|runtime| runtime.block_on(listen));
        let _ = ready.send(ended);
    });
    Ok(is_ready.recv()??)
}

impl Caller for Lines {
    fn tell(&self, event: Event) {
        // A caller that is gone hears nothing, and the work goes on.
        let _ = write_line(&mut *self.events.lock().unwrap_or_else(PoisonError::into_inner), &event);
    }

    fn ask(&self, question: Question) -> String {
        let (id, choices) = (question.id, question.choices.clone());
        self.tell(Event::Question(question));
        let mut replies = self.shared.replies();
        loop {
            let answer = replies.answers.iter().find(|(of, _)| *of == id).map(|(_, choice)| choice.clone());
            if let Some(answer) = answer.filter(|answer| choices.contains(answer)) {
                return answer;
            }
            if replies.over {
                return choices.into_iter().next().unwrap_or_default();
            }
            replies = self.shared.arrived.wait(replies).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn is_cancelled(&self) -> bool {
        self.shared.cancelled.load(Ordering::Relaxed)
    }
}
