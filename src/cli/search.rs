//! `omg search`

use super::args::Search;
use super::output::Output;
use super::{Failure, near, rows};
use crate::dbus::client::Client;
use crate::package::{SearchMode, SearchQuery};

/// Up to so many rows come as one message; more come as a stream, which has no limit.
const MESSAGE_ROWS: u32 = 500;

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
    let (count, cut) = if (1..MESSAGE_ROWS).contains(&limit) {
        // One more than wanted tells whether there are more.
        query.limit = limit + 1;
        rows::print(client.search(&query).await?.into_iter().map(Ok), limit, out)?
    } else {
        rows::print(client.stream_search(&query).await?, limit, out)?
    };
    if !search.no_aur {
        rows::note_aur(client, out).await;
    }
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
