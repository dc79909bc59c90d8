//! `omg history`

use std::collections::HashMap;

use serde::Serialize;

use super::change::args::{History, HistoryAction};
use super::change::is_native;
use super::output::format::{ago, count, utc};
use super::output::{BAD, Cell, DIM, GOOD, NAME, Output, Table, WARN};
use super::status::print_pairs;
use super::{Failure, undo};
use crate::dbus::client::{Client, ErrorKind};
use crate::transaction::{Action, HistoryEntry, HistoryItem, Standing};

/// Characters of the actions in the list.
const ACTIONS_WIDTH: usize = 60;

pub async fn run(client: &mut Client, history: History, out: &mut Output) -> Result<(), Failure> {
    match history.action {
        Some(HistoryAction::Show { number }) => {
            let entries = taking_back(client.history(0).await?);
            let entry = entries.iter().find(|entry| entry.entry.id == number).ok_or_else(|| unknown(number))?;
            show(entry, out);
        }
        None => {
            // Which one a transaction takes back must not depend on how many are shown.
            let mut entries = taking_back(client.history(0).await?);
            entries.truncate(if history.limit == 0 { usize::MAX } else { history.limit as usize });
            list(&entries, out);
        }
    }
    Ok(())
}

/// The transaction of this number.
///
/// # Errors
/// When there is none, or the daemon cannot be asked.
pub async fn find(client: &mut Client, number: u64) -> Result<HistoryEntry, Failure> {
    let entries = client.history(0).await?;
    entries.into_iter().find(|entry| entry.id == number).ok_or_else(|| unknown(number))
}

/// The newest transaction.
///
/// # Errors
/// When there is none.
pub async fn newest(client: &mut Client) -> Result<HistoryEntry, Failure> {
    let none = || Failure::Of(ErrorKind::NotFound, "there is no transaction yet".to_owned());
    client.history(1).await?.into_iter().next().ok_or_else(none)
}

fn unknown(number: u64) -> Failure {
    Failure::Of(ErrorKind::NotFound, format!("there is no transaction {number}; `omg history` lists them"))
}

/// A transaction, and the one that it takes back.
#[derive(Serialize)]
struct Told {
    #[serde(flatten)]
    entry: HistoryEntry,
    #[serde(skip_serializing_if = "Option::is_none")]
    takes_back: Option<u64>,
}

impl Told {
    /// What the verbs do not tell about it; empty when there is nothing.
    fn remark(&self) -> String {
        match self.takes_back {
            Some(number) => format!("takes back {number}"),
            // Such as one that only fetched the packages.
            None if self.entry.items.is_empty() && self.entry.standing == Standing::Succeeded => {
                "changed nothing".to_owned()
            }
            None => String::new(),
        }
    }

    /// Verbs and targets, and the remark.
    fn words(&self) -> String {
        match self.remark() {
            remark if remark.is_empty() => actions(&self.entry),
            remark => format!("{remark}: {}", actions(&self.entry)),
        }
    }
}

/// Finds the transactions that take back an earlier one: the record has no word for them, but what they were asked to do is
/// the earlier one's inverse. The newest one before is meant where several have the same, and none is taken back twice.
fn taking_back(newest_first: Vec<HistoryEntry>) -> Vec<Told> {
    let mut inverses: HashMap<Vec<Action>, u64> = HashMap::new();
    let mut told: Vec<Told> = Vec::with_capacity(newest_first.len());
    for entry in newest_first.into_iter().rev() {
        let takes_back = inverses.remove(&entry.actions);
        if let Some(inverse) = undo::actions(&entry) {
            inverses.insert(inverse, entry.id);
        }
        told.push(Told { entry, takes_back });
    }
    told.reverse();
    told
}

fn list(entries: &[Told], out: &mut Output) {
    if out.is_terminal() && !out.quiet() && !out.is_json() {
        print_table(entries, out);
        return;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    for told in entries {
        let entry = &told.entry;
        let id = entry.id.to_string();
        if out.is_json() {
            out.json(told);
        } else if out.quiet() {
            out.line(&id);
        } else {
            let changes = entry.items.len().to_string();
            let user = user(entry.actor.uid, &users);
            let remark = match told.remark() {
                remark if remark.is_empty() => "-".to_owned(),
                remark => remark,
            };
            let (time, standing) = (utc(entry.time), entry.standing.as_str());
            out.columns(&[&id, &time, &user, standing, &actions(entry), &changes, &remark]);
        }
    }
}

fn print_table(entries: &[Told], out: &mut Output) {
    if entries.is_empty() {
        out.line("nothing was done yet");
        return;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let mut table = Table::new(["NUMBER", "WHEN", "USER", "RESULT", "CHANGES", "ACTIONS"]);
    for told in entries {
        let (entry, words) = (&told.entry, told.words());
        let mut what: String = words.chars().take(ACTIONS_WIDTH).collect();
        if what.len() < words.len() {
            what.push('…');
        }
        table.push([
            Cell::from(entry.id.to_string()).styled(NAME),
            Cell::from(ago(entry.time)),
            Cell::from(user(entry.actor.uid, &users)).styled(DIM),
            Cell::new(entry.standing.as_str()).styled(style(entry.standing)),
            Cell::from(count(entry.items.len() as u64)),
            Cell::from(what),
        ]);
    }
    table.print(out);
}

fn show(told: &Told, out: &mut Output) {
    if out.is_json() {
        out.json(told);
        return;
    }
    let entry = &told.entry;
    if !out.is_terminal() || out.quiet() {
        for item in &entry.items {
            let name = name(item);
            if out.quiet() {
                out.line(&name);
            } else {
                out.columns(&[&item.change, &name, &item.from, &item.to, &item.repository]);
            }
        }
        return;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let who = format!(
        "{}, {}",
        user(entry.actor.uid, &users),
        match entry.actor.via {
            crate::transaction::Via::Polkit => "allowed by polkit",
            crate::transaction::Via::Sudo => "with sudo",
            crate::transaction::Via::Root => "as root",
        }
    );
    let plain = anstyle::Style::new();
    let (id, begun, ended) = (entry.id.to_string(), utc(entry.time), utc(entry.ended));
    let (actions, remark) = (actions(entry), told.remark());
    let rows = [
        ("Number", Some(id.as_str()), NAME),
        ("Begun", Some(begun.as_str()), plain),
        ("Ended", (entry.ended != 0).then_some(ended.as_str()), plain),
        ("By", Some(who.as_str()), plain),
        ("Actions", Some(actions.as_str()), plain),
        ("Remark", Some(remark.as_str()).filter(|text| !text.is_empty()), plain),
        ("Result", Some(entry.standing.as_str()), style(entry.standing)),
        ("Because", Some(entry.message.as_str()).filter(|text| !text.is_empty()), plain),
    ];
    print_pairs(rows.into_iter().filter_map(|(key, value, style)| Some((key, value?, style))), out);
    let mut table = Table::new(["CHANGE", "NAME", "FROM", "TO", "REPOSITORY"]).keeping(&[2, 3]);
    for item in &entry.items {
        table.push([
            Cell::new(&item.change),
            Cell::from(name(item)).styled(NAME),
            Cell::new(&item.from).styled(DIM),
            Cell::new(&item.to),
            Cell::new(&item.repository).styled(DIM),
        ]);
    }
    table.print(out);
}

fn style(standing: Standing) -> anstyle::Style {
    match standing {
        Standing::Succeeded => GOOD,
        Standing::Running | Standing::Cancelled => WARN,
        Standing::Failed | Standing::Interrupted => BAD,
    }
}

/// Verbs and targets: verbs that follow each other are said once.
fn actions(entry: &HistoryEntry) -> String {
    let mut text = String::new();
    let mut verb = None;
    for action in &entry.actions {
        if verb != Some(action.verb()) {
            if verb.is_some() {
                text.push_str(", ");
            }
            text.push_str(action.verb().as_str());
            verb = Some(action.verb());
        }
        if !action.target().is_empty() {
            text.push(' ');
            text.push_str(action.target());
        }
    }
    text
}

fn name(item: &HistoryItem) -> String {
    if is_native(&item.arch) { item.name.clone() } else { format!("{}:{}", item.name, item.arch) }
}

/// The user's name in this passwd(5) text, else the number.
fn user(uid: u32, passwd: &str) -> String {
    let number = uid.to_string();
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == number).then(|| name.to_owned())
    });
    name.unwrap_or(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::{Actor, Verb, Via};

    #[test]
    fn users_have_names_where_they_are_known() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nbroken\njoe:x:1000:1000::/home/joe:/bin/sh\n";
        assert_eq!([0, 1000, 1001].map(|uid| user(uid, passwd)), ["root", "joe", "1001"]);
    }

    #[test]
    fn actions_of_one_kind_are_told_together() {
        let action = |verb, target: &str| Action::new(verb, target).expect("valid");
        let entry = HistoryEntry {
            id: 1,
            time: 0,
            ended: 0,
            actor: Actor { uid: 0, via: Via::Root },
            actions: vec![
                action(Verb::Install, "a"),
                action(Verb::Install, "b=1"),
                action(Verb::Purge, "c"),
                action(Verb::UpgradeAll, ""),
            ],
            standing: Standing::Succeeded,
            items: Vec::new(),
            message: String::new(),
        };
        assert_eq!(actions(&entry), "install a b=1, purge c, upgrade-all");
    }
}
