//! Fetches the package lists.

use omg::transaction::{Applied, Failure, FailureKind, Outcome};

use super::super::{Caller, System};

/// See [`super::super::Backend::refresh`].
pub fn refresh(_system: &System, _caller: &dyn Caller) -> Outcome {
    let failure = Failure::new(FailureKind::BackendUnavailable, "not yet");
    Outcome::Failed { failure, applied: Applied::default() }
}
