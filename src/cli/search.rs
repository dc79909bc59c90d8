//! `omg search`

use super::args::Search;
use super::output::Output;
use super::{Failure, near, rows};
use crate::dbus::client::{Client, RowStream};
use crate::package::{PackageRow, SearchMode, SearchQuery};

/// Up to so many rows come as one message; more come as a stream, which has no limit.
const MESSAGE_ROWS: u32 = 500;

/// As it comes from the daemon.
enum Found {
    Rows(Vec<PackageRow>),
    Stream(RowStream),
}

pub async fn run(client: &mut Client, search: Search, out: &mut Output) -> Result<(), Failure> {
    let mode = match (search.exact, search.substring) {
        (true, _) => SearchMode::Exact,
        (_, true) => SearchMode::Substring,
        _ => search.mode,
    };
    let sources: &[&str] = match (search.aur, search.no_aur) {
        (true, _) => &["aur"],
        (_, true) => &["apt", "alpm"],
        _ => &[],
    };
    let limit = search.limit;
    let mut query = SearchQuery {
        terms: search.terms,
        mode,
        descriptions: search.descriptions,
        installed: search.installed,
        sources: sources.iter().map(|source| (*source).to_owned()).collect(),
        ..SearchQuery::default()
    };
    let in_one = (1..MESSAGE_ROWS).contains(&limit);
    if in_one {
        // One more than wanted tells whether there are more.
        query.limit = limit + 1;
    }
    let ask = async |client: &mut Client| match in_one {
        true => client.search(&query).await.map(Found::Rows),
        false => client.stream_search(&query).await.map(Found::Stream),
    };
    let (found, aur_problem) =
        if search.no_aur { (ask(client).await, None) } else { rows::with_aur(client, ask).await };
    let (count, cut) = match found? {
        Found::Rows(found) => rows::print(found.into_iter().map(Ok), limit, out)?,
        Found::Stream(found) => rows::print(found, limit, out)?,
    };
    rows::note_aur(aur_problem, out);
    if count == 0 {
        let hint = match query.terms.as_slice() {
            [name] => near::known(client, name).await,
            _ => String::new(),
        };
        return Err(Failure::NotFound(format!("no package matches “{}”{hint}", query.terms.join(" "))));
    }
    if cut {
        rows::note_cut(count, out);
    }
    Ok(())
}
