//! Resolves actions as apt-get would.

use omg::transaction::{Failure, FailureKind, Plan, Request};
use rust_apt::Cache;
use rust_apt::config::Config;

use super::super::System;

/// The plan for a request; nothing is locked and nothing changed.
///
/// # Errors
/// When there is no such plan, in apt's own words, or apt cannot read its lists.
pub fn plan(system: &System, request: &Request) -> Result<Plan, Failure> {
    let (_, _, plan) = resolved(system, request)?;
    Ok(plan)
}

/// Opens apt's cache and marks in it what the request comes to: the cache is ready to be committed.
///
/// # Errors
/// As [`plan`].
pub fn resolved(system: &System, request: &Request) -> Result<(Config, Cache, Plan), Failure> {
    let _ = (system, request);
    Err(Failure::new(FailureKind::BackendUnavailable, "not yet"))
}
