//! `omg search`

use super::args::Search;
use super::output::Output;
use super::{Failure, rows};
use crate::dbus::client::{Client, ClientError, ErrorKind};
use crate::package::{SearchMode, SearchQuery};

/// Up to so many rows come as one message; more come as a stream, which has no limit.
const MESSAGE_ROWS: u32 = 500;

pub async fn run(client: &mut Client, search: Search, out: &mut Output) -> Result<(), Failure> {
    let mode = match (search.exact, search.substring) {
        (true, _) => SearchMode::Exact,
        (_, true) => SearchMode::Substring,
        _ => search.mode,
    };
    let limit = search.limit;
    let mut query = SearchQuery {
        terms: search.terms,
        mode,
        descriptions: search.descriptions,
        installed: search.installed,
        ..SearchQuery::default()
    };
    let (count, cut) = if (1..MESSAGE_ROWS).contains(&limit) {
        // One more than wanted tells whether there are more.
        query.limit = limit + 1;
        rows::print(client.search(&query).await?.into_iter().map(Ok), limit, out)?
    } else {
        rows::print(client.stream_search(&query).await?, limit, out)?
    };
    if count == 0 {
        let hint = nearest(client, &query.terms).await;
        return Err(Failure::NotFound(format!("no package matches “{}”{hint}", query.terms.join(" "))));
    }
    if cut {
        rows::note_cut(count, out);
    }
    Ok(())
}

/// The names nearest to a single term, as the daemon words them; empty when it knows none.
async fn nearest(client: &mut Client, terms: &[String]) -> String {
    let [name] = terms else { return String::new() };
    let answer = client.details(std::slice::from_ref(name), false).await.ok().and_then(|mut answers| answers.pop());
    match answer {
        Some(Err(ClientError::Call { kind: ErrorKind::NotFound, message, .. })) => {
            message.find("; did you mean ").and_then(|at| message.get(at..)).unwrap_or_default().to_owned()
        }
        _ => String::new(),
    }
}
