//! `omg-helper download` and `omg-helper refresh-copy`: package files and package lists into a folder, as the user who asks,
//! told as a commit is.

use std::path::Path;

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
    let run = Run { lines, for_its_caller: true };
    let outcome = backend.download(system, &request, &run);
    let succeeded = matches!(outcome, Outcome::Succeeded(_));
    run.tell(Event::Finished(outcome));
    Ok(succeeded)
}

/// Fetches the package lists into `folder` and writes [`Event`]s to the standard output, the outcome last.
///
/// # Errors
/// When the standard streams cannot be used.
pub fn refresh_copy(backend: &dyn Backend, system: &System, folder: &Path, files: bool) -> Result<(), Error> {
    let run = Run { lines: Lines::new(false)?, for_its_caller: false };
    let outcome = backend.refresh_copy(system, folder, files, &run);
    run.tell(Event::Finished(outcome));
    Ok(())
}

struct Run {
    lines: Lines,
    /// Whether with the caller the need for what is fetched is gone.
    for_its_caller: bool,
}

impl Caller for Run {
    fn tell(&self, event: Event) {
        self.lines.tell(&event);
    }

    fn asks(&self) -> bool {
        false
    }

    fn authorise(&self, _: &Plan) -> Result<(), Failure> {
        Ok(())
    }

    fn begin(&self, _: &Plan) {}

    fn ask(&self, question: Question) -> String {
        self.lines.ask(question)
    }

    /// Nothing is half done that somebody would have to finish.
    fn is_cancelled(&self) -> bool {
        self.lines.is_cancelled() || self.for_its_caller && self.lines.is_over()
    }
}
