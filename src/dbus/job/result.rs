//! The dictionary of a job's result.

use super::super::dictionaries::Dictionary;
use super::super::names::ERROR_PREFIX;
use crate::transaction::Outcome;

/// How a job ended. `Outcome` is one of succeeded, failed, cancelled; `Error` and `Message` are there when it failed; the
/// rest tells what was done, also before it failed.
pub(super) fn dictionary(outcome: &Outcome) -> Dictionary {
    let mut result = Dictionary::from([("Outcome", outcome.as_str().into())]);
    if let Outcome::Failed { failure, .. } = outcome {
        result.insert("Error", format!("{ERROR_PREFIX}{}", failure.kind.as_str()).into());
        result.insert("Message", failure.message.clone().into());
    }
    let applied = outcome.applied();
    let items: Vec<_> = applied
        .items
        .iter()
        .cloned()
        .map(|item| {
            let change = item.change.as_str();
            (change, item.name, item.arch, item.from, item.to, item.repository, item.download, item.delta)
        })
        .collect();
    result.insert("Items", items.into());
    result.insert("RestartMachine", applied.restart.machine.into());
    result.insert("RestartPackages", applied.restart.packages.clone().into());
    result.insert("RestartServices", applied.restart.services.clone().into());
    result.insert("AuditEntry", applied.entry.into());
    result
}
