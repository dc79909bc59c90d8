//! `omg history`

use super::Failure;
use super::change::args::{History, HistoryAction};
use super::change::is_native;
use super::output::format::{ago, count, utc};
use super::output::{BAD, Cell, DIM, GOOD, NAME, Output, Table, WARN};
use super::status::print_pairs;
use crate::dbus::client::{Client, ErrorKind};
use crate::transaction::{HistoryEntry, HistoryItem, Standing};

/// Characters of the actions in the list.
const ACTIONS_WIDTH: usize = 60;

pub async fn run(client: &mut Client, history: History, out: &mut Output) -> Result<(), Failure> {
    match history.action {
        Some(HistoryAction::Show { number }) => {
            let entry = find(client, number).await?;
            show(&entry, out);
        }
        None => {
            let entries = client.history(history.limit).await?;
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
    entries.into_iter().find(|entry| entry.id == number).ok_or_else(|| {
        Failure::Of(ErrorKind::NotFound, format!("there is no transaction {number}; `omg history` lists them"))
    })
}

fn list(entries: &[HistoryEntry], out: &mut Output) {
    if out.is_terminal() && !out.quiet() && !out.is_json() {
        print_table(entries, out);
        return;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    for entry in entries {
        let id = entry.id.to_string();
        if out.is_json() {
            out.json(entry);
        } else if out.quiet() {
            out.line(&id);
        } else {
            let changes = entry.items.len().to_string();
            let user = user(entry.actor.uid, &users);
            out.columns(&[&id, &utc(entry.time), &user, entry.standing.as_str(), &actions(entry), &changes]);
        }
    }
}

fn print_table(entries: &[HistoryEntry], out: &mut Output) {
    if entries.is_empty() {
        out.line("nothing was done yet");
        return;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let mut table = Table::new(["NUMBER", "WHEN", "USER", "RESULT", "CHANGES", "ACTIONS"]);
    for entry in entries {
        let mut what: String = actions(entry).chars().take(ACTIONS_WIDTH).collect();
        if what.len() < actions(entry).len() {
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

fn show(entry: &HistoryEntry, out: &mut Output) {
    if out.is_json() {
        out.json(entry);
        return;
    }
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
    let actions = actions(entry);
    let rows = [
        ("Number", Some(id.as_str()), NAME),
        ("Begun", Some(begun.as_str()), plain),
        ("Ended", (entry.ended != 0).then_some(ended.as_str()), plain),
        ("By", Some(who.as_str()), plain),
        ("Actions", Some(actions.as_str()), plain),
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
    use crate::transaction::{Action, Actor, Verb, Via};

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
