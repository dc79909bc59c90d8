//! `omg-helper paths`: which packages files belong to, and which files packages have.

use std::io;
use std::path::Path;

use omg::transaction::{Failure, FailureKind, PathAnswer, PathQuery, read_line, write_line};

use crate::backend::{Backend, Error, System};

/// Reads a [`PathQuery`] from the standard input and writes a [`PathAnswer`] to the standard output.
///
/// # Errors
/// When nothing can be read or written; that there is no such package is an answer.
pub fn run(backend: &dyn Backend, system: &System, copy: Option<&Path>) -> Result<(), Error> {
    let answer = match read_line::<PathQuery>(&mut io::stdin().lock()) {
        Ok(Some(query)) => backend.paths(system, copy, &query).unwrap_or_else(PathAnswer::Failed),
        Ok(None) => PathAnswer::Failed(Failure::new(FailureKind::InvalidArgument, "the question is empty")),
        Err(error) => PathAnswer::Failed(Failure::new(FailureKind::InvalidArgument, format!("the question: {error}"))),
    };
    write_line(&mut io::stdout().lock(), &answer)?;
    Ok(())
}
