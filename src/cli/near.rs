//! The names near to one that nothing has.

use super::change::target_name;
use crate::dbus::client::{Besides, Client, ClientError, ConnectOptions, ErrorKind};
use crate::package::ListQuery;
use crate::transaction::{Action, Failure, FailureKind, Outcome, Verb};

/// More names help nobody to choose.
const LIMIT: usize = 3;

/// The names nearest to this one, as the daemon words them behind its error; empty when it knows none, or the name itself.
pub async fn known(client: &mut Client, name: &str) -> String {
    hint(client, name).await.unwrap_or_default()
}

/// `None` for the name of a package.
async fn hint(client: &mut Client, name: &str) -> Option<String> {
    let answer = client.details(&[name.to_owned()], Besides::default()).await.ok()?.pop()?;
    match answer {
        Err(ClientError::Call { kind: ErrorKind::NotFound, message, .. }) => {
            let from = message.find("; did you mean ").unwrap_or(message.len());
            Some(message.get(from..).unwrap_or_default().to_owned())
        }
        _ => None,
    }
}

/// The same among installed packages.
async fn installed(client: &mut Client, name: &str) -> String {
    if hint(client, name).await.is_none() {
        return String::new();
    }
    let query = ListQuery { installed: Some(true), ..ListQuery::default() };
    let Ok(rows) = client.list(&query).await else { return String::new() };
    let near = nearest(name, rows.iter().map(|row| row.name.as_str()));
    if near.is_empty() { String::new() } else { format!("; did you mean {}?", near.join(", ")) }
}

/// The nearest of the names, those that differ least first.
fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    // A third of a name may be mistyped.
    let allowed = (name.chars().count() / 3).min(3);
    let near = names.filter_map(|other| {
        let distance = strsim::osa_distance(name, other);
        (distance <= allowed).then_some((distance, other))
    });
    let mut near: Vec<_> = near.collect();
    near.sort_unstable();
    near.dedup();
    near.into_iter().take(LIMIT).map(|(_, other)| other).collect()
}

/// What is behind the message that no package of these actions has some name; empty when there is nothing near.
async fn for_actions(message: &str, actions: &[Action], client: &mut Client) -> String {
    let missed = actions.iter().filter_map(|action| Some((action.verb(), target_name(action)?)));
    let names_it =
        |name: &str| message.split(|c: char| c.is_whitespace() || "'“”,;:".contains(c)).any(|word| word == name);
    let Some((verb, name)) = missed.into_iter().find(|(_, name)| names_it(name)) else { return String::new() };
    match verb {
        Verb::Install => known(client, name).await,
        _ => installed(client, name).await,
    }
}

/// The error of a plan for these actions, with what may have been meant.
pub async fn of_plan(error: ClientError, actions: &[Action], client: &mut Client) -> ClientError {
    match error {
        ClientError::Call { kind: ErrorKind::NotFound, name, message } => {
            let hint = for_actions(&message, actions, client).await;
            ClientError::Call { kind: ErrorKind::NotFound, name, message: message + &hint }
        }
        error => error,
    }
}

/// The same of an outcome, for which the daemon has not been asked yet.
pub async fn of_outcome(outcome: Outcome, actions: &[Action], options: &ConnectOptions) -> Outcome {
    match outcome {
        Outcome::Failed { failure: Failure { kind: FailureKind::NotFound, message }, applied } => {
            let hint = match Client::connect(options).await {
                Ok(mut client) => {
                    let hint = for_actions(&message, actions, &mut client).await;
                    client.close().await;
                    hint
                }
                // That nothing can be suggested is no failure.
                Err(_) => String::new(),
            };
            Outcome::Failed { failure: Failure::new(FailureKind::NotFound, message + &hint), applied }
        }
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_differ_in_a_third_of_their_letters_at_most() {
        let names = ["grep", "ripgrep", "rrep", "rip", "ripgrep"];
        assert_eq!(nearest("rigrep", names.into_iter()), ["ripgrep", "grep", "rrep"]);
        assert_eq!(nearest("ripgerp", names.into_iter()), ["ripgrep"]);
        assert_eq!(nearest("ri", names.into_iter()), [""; 0]);
    }
}
