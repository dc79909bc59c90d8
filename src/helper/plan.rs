//! `omg-helper plan`: resolves what was asked for, without rights and without changing anything.

use std::io;

use omg::transaction::{Answer, Failure, FailureKind, Request, read_line, write_line};

use crate::backend::{Backend, Error, System};

/// Reads a [`Request`] from the standard input and writes an [`Answer`] to the standard output.
///
/// # Errors
/// When nothing can be read or written; that there is no plan is an answer.
pub fn run(backend: &dyn Backend, system: &System) -> Result<(), Error> {
    let answer = match read_line::<Request>(&mut io::stdin().lock()) {
        Ok(Some(request)) => match backend.plan(system, &request) {
            Ok(plan) => Answer::Plan(Box::new(plan)),
            Err(failure) => Answer::Failed(failure),
        },
        Ok(None) => Answer::Failed(Failure::new(FailureKind::InvalidArgument, "the request is empty")),
        Err(error) => Answer::Failed(Failure::new(FailureKind::InvalidArgument, format!("the request: {error}"))),
    };
    write_line(&mut io::stdout().lock(), &answer)?;
    Ok(())
}
