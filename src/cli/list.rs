//! `omg list` and `omg explicit`

use serde::Serialize;

use super::args::{Limit, List};
use super::output::{Cell, DIM, GOOD, NAME, Output, Table};
use super::{Failure, rows};
use crate::dbus::client::Client;
use crate::package::ListQuery;

pub async fn run(client: &mut Client, list: List, out: &mut Output) -> Result<(), Failure> {
    if list.group == Some(None) {
        return groups(client, list.limit.limit, out).await;
    }
    let wanted = |flag: bool| flag.then_some(true);
    let mut query = ListQuery {
        installed: wanted(list.installed),
        explicit: wanted(list.explicit),
        upgradable: wanted(list.upgradable),
        orphans: wanted(list.orphans),
        foreign: wanted(list.foreign),
        held: wanted(list.held),
        repository: list.repo,
        group: list.group.flatten(),
        limit: 0,
    };
    if query == ListQuery::default() {
        query.installed = Some(true);
    }
    print(client, &query, list.limit.limit, out).await
}

pub async fn explicit(client: &mut Client, limit: &Limit, out: &mut Output) -> Result<(), Failure> {
    let query = ListQuery { explicit: Some(true), ..ListQuery::default() };
    print(client, &query, limit.limit, out).await
}

/// A group, as `--json` has it.
#[derive(Serialize)]
struct Group<'a> {
    group: &'a str,
    members: u32,
    installed: u32,
}

async fn groups(client: &mut Client, limit: u32, out: &mut Output) -> Result<(), Failure> {
    let groups = client.groups().await?;
    let limit = if limit == 0 { usize::MAX } else { usize::try_from(limit).unwrap_or(usize::MAX) };
    let mut table = Table::new(["GROUP", "MEMBERS", "INSTALLED"]);
    let (as_table, cut) = (out.is_terminal() && !out.quiet() && !out.is_json(), groups.len() > limit);
    for (group, members, installed) in groups.iter().take(limit) {
        if out.is_json() {
            out.json(&Group { group, members: *members, installed: *installed });
        } else if out.quiet() {
            out.line(group);
        } else if as_table {
            let style = if installed == members { GOOD } else { DIM };
            table.push([
                Cell::new(group).styled(NAME),
                Cell::from(members.to_string()),
                Cell::from(installed.to_string()).styled(style),
            ]);
        } else {
            out.columns(&[group, &members.to_string(), &installed.to_string()]);
        }
    }
    if as_table {
        table.print(out);
    }
    if cut {
        rows::note_cut(limit, out);
    }
    Ok(())
}

/// An empty list is an answer, not an error, but for a repository or a group that is not there.
async fn print(client: &mut Client, query: &ListQuery, limit: u32, out: &mut Output) -> Result<(), Failure> {
    let (count, cut) = match rows::message_limit(limit) {
        Some(asked) => rows::print(&client.list(&ListQuery { limit: asked, ..query.clone() }).await?, limit, out),
        None => match client.stream_list(query).await {
            Ok(stream) => rows::print_stream(stream, limit, out)?,
            // Streams have their bound; one message has what most lists need.
            Err(busy) if busy.is_limit() => {
                let asked = if limit == 0 { 0 } else { limit.saturating_add(1) };
                match client.list(&ListQuery { limit: asked, ..query.clone() }).await {
                    Err(error) if error.is_limit() => return Err(busy.into()),
                    rows => rows::print(&rows?, limit, out),
                }
            }
            Err(error) => return Err(error.into()),
        },
    };
    if cut {
        rows::note_cut(count, out);
    }
    let whole_repository = ListQuery { repository: None, ..query.clone() } == ListQuery::default();
    match (count, &query.repository, &query.group) {
        (0, Some(repository), _) if whole_repository => Err(Failure::NotFound(format!(
            "no repository called “{repository}” has packages; `omg info NAME` names those that a package is in"
        ))),
        (0, _, Some(group)) if *query == (ListQuery { group: query.group.clone(), ..ListQuery::default() }) => {
            Err(Failure::NotFound(format!(
                "there is no group “{group}” with packages; `omg list --group` lists the groups"
            )))
        }
        _ => Ok(()),
    }
}
