//! Fetches the package lists.

use std::path::PathBuf;

use omg::transaction::{Applied, Event, Failure, FailureKind, Level, Outcome, Phase};
use rust_apt::Cache;

use super::super::super::{Caller, System};
use super::super::settings;
use super::locks::Holder;
use super::{Stop, fetch, words};

/// See [`super::super::super::Backend::refresh`].
pub fn refresh(system: &System, caller: &dyn Caller) -> Outcome {
    Stop::outcome(lists(system, caller), Applied::default())
}

fn lists(system: &System, caller: &dyn Caller) -> Result<(), Stop> {
    let mut warnings = Vec::new();
    let config = settings::load(system, &mut warnings)
        .map_err(|error| Stop::failed(FailureKind::BackendUnavailable, error.to_string()))?;
    for text in warnings {
        caller.tell(Event::Message { level: Level::Warning, text });
    }
    // apt takes this lock itself, and says of a holder no more than that there is one.
    let lock = PathBuf::from(config.dir("Dir::State::Lists", "/var/lib/apt/lists/")).join("lock");
    if let Some(holder) = Holder::of(&lock) {
        let message = format!("{} holds {}; try again when it is done", holder.name(), lock.display());
        return Err(Stop::failed(FailureKind::Locked, message));
    }
    caller.tell(Event::Phase { phase: Phase::Fetching, cancellable: true });
    let cache = Cache::new::<&str>(&[]).map_err(|errors| {
        Stop::Failed(Failure::new(FailureKind::Internal, format!("apt cannot read what it has: {}", words(&errors))))
    })?;
    fetch::fetch_lists(cache, caller)
}
