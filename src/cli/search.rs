//! `omg search`

use super::args::Search;
use super::output::Output;
use super::{Failure, near, rows};
use crate::dbus::client::Client;
use crate::package::{SearchMode, SearchQuery};

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
    let (count, cut) = match rows::message_limit(limit) {
        Some(asked) => {
            query.limit = asked;
            rows::print(&client.search(&query).await?, limit, out)
        }
        None => match client.stream_search(&query).await {
            Ok(stream) => rows::print_stream(stream, limit, out)?,
            // As for listings.
            Err(busy) if busy.is_limit() => {
                query.limit = if limit == 0 { 0 } else { limit.saturating_add(1) };
                match client.search(&query).await {
                    Err(error) if error.is_limit() => return Err(busy.into()),
                    rows => rows::print(&rows?, limit, out),
                }
            }
            Err(error) => return Err(error.into()),
        },
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
