//! `omg undo`

use super::change::args::Undo;
use super::change::{self, Change, is_native};
use super::output::{Output, WARN};
use super::{Failure, history};
use crate::dbus::client::{Client, ErrorKind};
use crate::transaction::{Action, HistoryEntry, HistoryItem, Standing, Verb};

pub async fn run(client: &mut Client, undo: Undo, out: &mut Output) -> Result<(), Failure> {
    let entry = match undo.number {
        Some(number) => history::find(client, number).await?,
        None => history::newest(client).await?,
    };
    let inverse = inverse(&entry).map_err(|why| {
        Failure::Of(ErrorKind::Invalid, format!("transaction {} cannot be taken back: {why}", entry.id))
    })?;
    for remark in &inverse.remarks {
        out.note(WARN, remark);
    }
    change::run(client, Change::undo(inverse.actions, undo.how), out).await
}

/// What takes a transaction back.
#[derive(Debug, Default, PartialEq, Eq)]
struct Inverse {
    actions: Vec<Action>,
    /// What it cannot bring back.
    remarks: Vec<String>,
}

/// The actions of an undo of this transaction, where it can be taken back.
pub fn actions(entry: &HistoryEntry) -> Option<Vec<Action>> {
    inverse(entry).ok().map(|inverse| inverse.actions)
}

/// The actions that take back what was done, of which the package system makes a plan of its own.
fn inverse(entry: &HistoryEntry) -> Result<Inverse, String> {
    match entry.standing {
        Standing::Running => return Err("it still runs".into()),
        Standing::Interrupted => {
            return Err("it was interrupted, and how far it came is not known; `omg doctor --fix` finishes it".into());
        }
        Standing::Succeeded | Standing::Failed | Standing::Cancelled => {}
    }
    let mut inverse = Inverse::default();
    let mut purged = Vec::new();
    for item in &entry.items {
        let (verb, version) = match item.change.as_str() {
            "install" => (Verb::Remove, None),
            "upgrade" | "downgrade" => (Verb::Install, Some(&item.from)),
            "remove" => (Verb::Install, Some(&item.from)),
            "purge" => {
                purged.push(item.name.as_str());
                (Verb::Install, Some(&item.from))
            }
            "hold" => (Verb::Unhold, None),
            "unhold" => (Verb::Hold, None),
            "mark-explicit" => (Verb::MarkDependency, None),
            "mark-dependency" => (Verb::MarkExplicit, None),
            // The version is the same as before.
            "reinstall" | "configure" | "clean" => continue,
            other => return Err(format!("this omg does not know what “{other}” of {} means", item.name)),
        };
        inverse.actions.push(action(verb, item, version)?);
        // Who installs by name wants it for itself; this one was there for others.
        if verb == Verb::Install && !item.explicit {
            inverse.actions.push(action(Verb::MarkDependency, item, None)?);
        }
    }
    if inverse.actions.is_empty() {
        return Err(
            if entry.items.is_empty() { "it changed nothing" } else { "it left every version as it was" }.into()
        );
    }
    if !purged.is_empty() {
        inverse
            .remarks
            .push(format!("the configuration files of {} are gone; they come back as new", purged.join(", ")));
    }
    Ok(inverse)
}

fn action(verb: Verb, item: &HistoryItem, version: Option<&String>) -> Result<Action, String> {
    let mut target = item.name.clone();
    if !is_native(&item.arch) {
        target.push(':');
        target.push_str(&item.arch);
    }
    if let Some(version) = version {
        if version.is_empty() {
            return Err(format!("the history does not say which version of {} was there before", item.name));
        }
        target.push('=');
        target.push_str(version);
    }
    Action::new(verb, target).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::{Actor, Via};

    fn entry(standing: Standing, items: &[(&str, &str, &str, &str)]) -> HistoryEntry {
        HistoryEntry {
            id: 7,
            time: 1,
            ended: 2,
            actor: Actor { uid: 0, via: Via::Root },
            actions: Vec::new(),
            standing,
            items: items
                .iter()
                .map(|(change, name, from, to)| HistoryItem {
                    change: (*change).into(),
                    name: (*name).into(),
                    arch: "all".into(),
                    from: (*from).into(),
                    to: (*to).into(),
                    repository: String::new(),
                    explicit: true,
                })
                .collect(),
            message: String::new(),
        }
    }

    #[test]
    fn every_change_has_its_inverse_with_the_version_that_was_there() {
        let done = entry(
            Standing::Failed,
            &[
                ("install", "a", "", "1"),
                ("upgrade", "b", "1", "2"),
                ("downgrade", "c", "2", "1"),
                ("reinstall", "d", "1", "1"),
                ("remove", "e", "1:5-1~x", ""),
                ("purge", "f", "6", ""),
                ("hold", "g", "1", "1"),
                ("unhold", "h", "1", "1"),
                ("mark-explicit", "i", "1", "1"),
                ("mark-dependency", "j", "1", "1"),
                ("configure", "k", "1", "1"),
            ],
        );
        let inverse = inverse(&done).expect("it can be taken back");
        let told: Vec<_> = inverse.actions.iter().map(|action| (action.verb().as_str(), action.target())).collect();
        assert_eq!(
            told,
            [
                ("remove", "a"),
                ("install", "b=1"),
                ("install", "c=2"),
                ("install", "e=1:5-1~x"),
                ("install", "f=6"),
                ("unhold", "g"),
                ("hold", "h"),
                ("mark-dependency", "i"),
                ("mark-explicit", "j"),
            ]
        );
        assert_eq!(inverse.remarks, ["the configuration files of f are gone; they come back as new"]);
    }

    #[test]
    fn what_was_a_dependency_becomes_one_again() {
        let mut done = entry(
            Standing::Succeeded,
            &[("remove", "a", "1", ""), ("upgrade", "b", "1", "2"), ("install", "c", "", "1")],
        );
        done.items.iter_mut().for_each(|item| item.explicit = false);
        let actions = inverse(&done).expect("it can be taken back").actions;
        let told: Vec<_> = actions.iter().map(|action| (action.verb().as_str(), action.target())).collect();
        assert_eq!(
            told,
            [
                ("install", "a=1"),
                ("mark-dependency", "a"),
                ("install", "b=1"),
                ("mark-dependency", "b"),
                ("remove", "c")
            ]
        );
    }

    #[test]
    fn packages_of_another_architecture_keep_it() {
        let mut done = entry(Standing::Succeeded, &[("upgrade", "libc6", "2.36", "2.37")]);
        done.items[0].arch = "s390x".into();
        assert_eq!(inverse(&done).expect("it can").actions[0].target(), "libc6:s390x=2.36");
    }

    #[test]
    fn what_cannot_be_taken_back_is_refused_with_the_reason() {
        for (done, why) in [
            (entry(Standing::Running, &[("install", "a", "", "1")]), "still runs"),
            (entry(Standing::Interrupted, &[("install", "a", "", "1")]), "doctor --fix"),
            (entry(Standing::Succeeded, &[]), "changed nothing"),
            (entry(Standing::Succeeded, &[("clean", "", "", "")]), "every version as it was"),
            (entry(Standing::Succeeded, &[("remove", "a", "", "")]), "which version of a"),
            (entry(Standing::Succeeded, &[("transmogrify", "a", "1", "2")]), "“transmogrify” of a"),
            (entry(Standing::Succeeded, &[("install", "-x", "", "2")]), "is no package"),
        ] {
            let error = inverse(&done).expect_err(why);
            assert!(error.contains(why), "{error}");
        }
    }
}
