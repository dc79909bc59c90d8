//! A caller at the other end of the standard streams.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use omg::transaction::{Event, Question, Reply, Request, read_line, write_line};

use crate::backend::Error;

/// The standard streams as lines: replies come in, events go out.
pub struct Lines {
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

impl Lines {
    pub fn new() -> Self {
        Self { shared: Arc::default() }
    }

    /// Reads the request, then listens for replies.
    ///
    /// # Errors
    /// When there is none, or it is malformed.
    pub fn request(&self) -> Result<Request, Error> {
        let request = read_line(&mut io::stdin().lock()).map_err(|error| format!("the request: {error}"))?;
        self.listen();
        request.ok_or_else(|| "there is no request".into())
    }

    /// Listens for replies from now on. The thread ends with the process: a line that never comes holds nothing up.
    pub fn listen(&self) {
        let shared = Arc::clone(&self.shared);
        thread::spawn(move || {
            loop {
                let line = read_line(&mut io::stdin().lock());
                let mut heard = shared.heard();
                match line {
                    Ok(Some(Reply::Proceed)) => heard.proceed = true,
                    Ok(Some(Reply::Cancel)) => heard.cancelled = true,
                    Ok(Some(Reply::Answer { id, choice })) => heard.answers.push((id, choice)),
                    // What cannot be understood is no reply, and neither is what follows it.
                    Ok(None) | Err(_) => heard.over = true,
                }
                let over = heard.over;
                drop(heard);
                shared.more.notify_all();
                if over {
                    return;
                }
            }
        });
    }

    /// Tells what happens. A caller that is gone hears nothing, and the work goes on.
    pub fn tell(&self, event: &Event) {
        let _ = write_line(&mut io::stdout().lock(), event);
    }

    /// Asks, and waits for one of the choices; the first one when nobody answers any more.
    pub fn ask(&self, question: Question) -> String {
        let (id, choices) = (question.id, question.choices.clone());
        self.tell(&Event::Question(question));
        let answer = self.shared.wait_for(|heard| {
            heard
                .answers
                .iter()
                .find(|(of, choice)| *of == id && choices.contains(choice))
                .map(|(_, choice)| choice.clone())
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
}
