//! `omg-helper download`: package files into a folder, as the user who asks, told as a commit is.

use omg::transaction::{Download, Event, Failure, Outcome, Plan, Question};

use crate::backend::{Backend, Caller, Error, System};
use crate::lines::Lines;

/// Reads a [`Download`] from the standard input and writes [`Event`]s to the standard output; meanwhile reads replies. Says
/// whether it succeeded.
///
/// # Errors
/// When no request can be read.
pub fn run(backend: &dyn Backend, system: &System) -> Result<bool, Error> {
    let (lines, request) = Lines::with_request::<Download>(false)?;
    let run = Run(lines);
    let outcome = backend.download(system, &request, &run);
    let succeeded = matches!(outcome, Outcome::Succeeded(_));
    run.tell(Event::Finished(outcome));
    Ok(succeeded)
}

struct Run(Lines);

impl Caller for Run {
    fn tell(&self, event: Event) {
        self.0.tell(&event);
    }

    fn asks(&self) -> bool {
        false
    }

    fn authorise(&self, _: &Plan) -> Result<(), Failure> {
        Ok(())
    }

    fn begin(&self, _: &Plan) {}

    fn ask(&self, question: Question) -> String {
        self.0.ask(question)
    }

    /// Nothing is half done that somebody would have to finish: with the caller the need for the files is gone.
    fn is_cancelled(&self) -> bool {
        self.0.is_cancelled() || self.0.is_over()
    }
}
