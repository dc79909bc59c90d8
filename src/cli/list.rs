//! `omg list` and `omg explicit`

use super::args::{Limit, List};
use super::output::Output;
use super::{Failure, rows};
use crate::dbus::client::Client;
use crate::package::ListQuery;

pub async fn run(client: &mut Client, list: List, out: &mut Output) -> Result<(), Failure> {
    let wanted = |flag: bool| flag.then_some(true);
    let mut query = ListQuery {
        installed: wanted(list.installed),
        explicit: wanted(list.explicit),
        upgradable: wanted(list.upgradable),
        orphans: wanted(list.orphans),
        foreign: wanted(list.foreign),
        held: wanted(list.held),
        repository: list.repo,
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

/// An empty list is an answer, not an error.
async fn print(client: &mut Client, query: &ListQuery, limit: u32, out: &mut Output) -> Result<(), Failure> {
    // A whole repository is a stream of any length; what is installed fits into one message.
    let whole_repository = ListQuery { repository: None, ..query.clone() } == ListQuery::default();
    let (count, cut) = if whole_repository {
        rows::print(client.stream_list(query).await?, limit, out)?
    } else {
        // One more than wanted tells whether there are more.
        let asked = if limit == 0 { 0 } else { limit.saturating_add(1) };
        rows::print(client.list(query, asked).await?.into_iter().map(Ok), limit, out)?
    };
    if cut {
        rows::note_cut(count, out);
    }
    Ok(())
}
