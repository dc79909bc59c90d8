//! `omg-helper order`: what of the AUR is built in which order, without rights and without changing anything.

use std::io;

use omg::aur::order::{Answer, Request};
use omg::transaction::{read_line, write_line};

use crate::backend::{Backend, Error, System};

/// Reads a [`Request`] from the standard input and writes an [`Answer`] to the standard output.
///
/// # Errors
/// When nothing can be read or written; that there is no order is an answer.
pub fn run(backend: &dyn Backend, system: &System) -> Result<(), Error> {
    let answer = match read_line::<Request>(&mut io::stdin().lock()) {
        Ok(Some(request)) => backend.order(system, &request),
        Ok(None) => Answer::Unavailable("the request is empty".into()),
        Err(error) => Answer::Unavailable(format!("the request: {error}")),
    };
    write_line(&mut io::stdout().lock(), &answer)?;
    Ok(())
}
