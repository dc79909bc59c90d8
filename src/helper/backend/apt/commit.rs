//! Commits what was resolved: locks, fetches, runs dpkg.

use omg::transaction::{Applied, Outcome, Request};

use super::super::{Caller, System};
use super::resolve;

/// See [`super::super::Backend::commit`].
pub fn commit(system: &System, request: &Request, _caller: &dyn Caller) -> Outcome {
    match resolve::resolved(system, request) {
        Ok(_) => Outcome::Cancelled { applied: Applied::default() },
        Err(failure) => Outcome::Failed { failure, applied: Applied::default() },
    }
}
