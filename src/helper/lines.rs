//! A caller at the other end of the standard streams.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader};
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;

use omg::transaction::{Event, Question, Reply, read_line, write_line};
use rustix::io::fcntl_dupfd_cloexec;
use serde::de::DeserializeOwned;
use tokio::signal::unix::{SignalKind, signal};

use crate::backend::Error;

/// The standard streams as lines: replies come in, events go out.
pub struct Lines {
    events: Mutex<File>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    heard: Mutex<Heard>,
    more: Condvar,
}

/// What the caller has said so far.
#[derive(Default)]
struct Heard {
    proceed: bool,
    cancelled: bool,
    /// Number of a question and the choice.
    answers: Vec<(u32, String)>,
    /// Nothing more will come.
    over: bool,
}

impl Shared {
    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the caller has said what `wanted` looks for; `None` when it never will.
    fn wait_for<T>(&self, wanted: impl Fn(&Heard) -> Option<T>) -> Option<T> {
        let mut heard = self.heard();
        loop {
            if let Some(found) = wanted(&heard) {
                return Some(found);
            }
            if heard.over {
                return None;
            }
            heard = self.more.wait(heard).unwrap_or_else(PoisonError::into_inner);
        }
    }
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
                shared.heard().cancelled = true;
                shared.more.notify_all();
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let ended: io::Result<()> = runtime.and_then(|runtime| runtime.block_on(listen));
        let _ = ready.send(ended);
    });
    Ok(is_ready.recv()??)
}

impl Lines {
    /// Listens to replies, and to the signals that ask a process to end. Package scripts may ask on the terminal when
    /// there is one for them.
    ///
    /// # Errors
    /// When the standard streams cannot be used.
    pub fn new(terminal: bool) -> Result<Self, Error> {
        let (replies, events) = take_streams(terminal)?;
        Self::listening(replies, events)
    }

    /// As [`Lines::new`], after the request was read.
    ///
    /// # Errors
    /// When there is no request, or it is malformed, too.
    pub fn with_request<R: DeserializeOwned>(terminal: bool) -> Result<(Self, R), Error> {
        let (mut replies, events) = take_streams(terminal)?;
        let request = read_line(&mut replies).map_err(|error| format!("the request: {error}"))?;
        Ok((Self::listening(replies, events)?, request.ok_or("there is no request")?))
    }

    /// The listening thread ends with the process: a line that never comes holds nothing up.
    fn listening(mut replies: BufReader<File>, events: File) -> Result<Self, Error> {
        let shared = Arc::new(Shared::default());
        note_signals(Arc::clone(&shared))?;
        let listener = Arc::clone(&shared);
        thread::spawn(move || {
            loop {
                let line = read_line(&mut replies);
                let mut heard = listener.heard();
                match line {
                    Ok(Some(Reply::Proceed)) => heard.proceed = true,
                    Ok(Some(Reply::Cancel)) => heard.cancelled = true,
                    Ok(Some(Reply::Answer { id, choice })) => heard.answers.push((id, choice)),
                    // What cannot be understood is no reply, and neither is what follows it.
                    Ok(None) | Err(_) => heard.over = true,
                }
                let over = heard.over;
                drop(heard);
                listener.more.notify_all();
                if over {
                    return;
                }
            }
        });
        Ok(Self { events: Mutex::new(events), shared })
    }

    /// Tells what happens. A caller that is gone hears nothing, and the work goes on.
    pub fn tell(&self, event: &Event) {
        let _ = write_line(&mut *self.events.lock().unwrap_or_else(PoisonError::into_inner), event);
    }

    /// Asks, and waits for one of the choices; the first one when nobody answers any more, or wants an end.
    pub fn ask(&self, question: Question) -> String {
        let (id, choices) = (question.id, question.choices.clone());
        self.tell(&Event::Question(question));
        let answer = self.shared.wait_for(|heard| {
            let answer = heard.answers.iter().find(|(of, choice)| *of == id && choices.contains(choice));
            let default = || if heard.cancelled { choices.first().cloned() } else { None };
            answer.map(|(_, choice)| choice.clone()).or_else(default)
        });
        answer.or_else(|| choices.into_iter().next()).unwrap_or_default()
    }

    /// Waits for the word to go on; `false` when it does not come.
    pub fn may_proceed(&self) -> bool {
        let proceed = |heard: &Heard| match (heard.cancelled, heard.proceed) {
            (true, _) => Some(false),
            (false, true) => Some(true),
            (false, false) => None,
        };
        self.shared.wait_for(proceed).unwrap_or(false)
    }

    pub fn is_cancelled(&self) -> bool {
        self.shared.heard().cancelled
    }

    /// Whether the caller is gone.
    pub fn is_over(&self) -> bool {
        self.shared.heard().over
    }
}
