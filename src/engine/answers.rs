//! The answers: searches, listings, details, completions.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Engine, EngineError, Loaded, lock};
use crate::index::{Snapshot, View};
use crate::package::{Flags, ListQuery, PackageDetails, PackageRow, Relation, SearchQuery, Selection};

/// Nearest names that an error about an unknown one mentions.
const NEAREST: usize = 3;

/// Providers that an error about a virtual package mentions.
const PROVIDERS: usize = 8;

/// Everything about one package.
#[derive(Debug, Clone)]
pub struct DetailsAnswer {
    pub name: String,
    pub flags: Flags,
    pub details: PackageDetails,
    pub why: Vec<Relation>,
}

impl Engine {
    /// Rows that match, best first.
    ///
    /// # Errors
    /// Those of [`Engine::ask`].
    pub async fn search(self: &Arc<Self>, query: SearchQuery) -> Result<Arc<[PackageRow]>, EngineError> {
        if let Some(rows) = self.remembered(|loaded| loaded.searches.get(&query)) {
            self.metrics.search_hits.fetch_add(1, Ordering::Relaxed);
            return Ok(rows);
        }
        self.ask(move |engine, loaded| engine.search_in(loaded, &query)).await
    }

    fn search_in(&self, loaded: &Loaded, query: &SearchQuery) -> Result<Arc<[PackageRow]>, EngineError> {
        if let Some(rows) = loaded.searches.get(query) {
            self.metrics.search_hits.fetch_add(1, Ordering::Relaxed);
            return Ok(rows);
        }
        self.metrics.search_misses.fetch_add(1, Ordering::Relaxed);
        let found = self.find(loaded, query)?;
        let rows: Arc<[PackageRow]> = found.into_iter().map(|id| loaded.snapshot.row(id, View::Candidate)).collect();
        loaded.searches.insert(query.clone(), Arc::clone(&rows));
        Ok(rows)
    }

    fn find(&self, loaded: &Loaded, query: &SearchQuery) -> Result<Vec<u32>, EngineError> {
        let mut searcher = lock(&self.searchers).pop().unwrap_or_default();
        let found = searcher.search(&loaded.snapshot, query);
        lock(&self.searchers).push(searcher);
        found.map_err(damaged)
    }

    /// Every selected package, one after the other, as (its number, its row); not cached.
    ///
    /// # Errors
    /// [`EngineError::DamagedSnapshot`] when long descriptions cannot be read.
    pub fn select<'a>(
        &self,
        loaded: &'a Loaded,
        selection: &Selection,
    ) -> Result<impl ExactSizeIterator<Item = (u32, PackageRow)> + use<'a>, EngineError> {
        let (ids, view) = match selection {
            Selection::Search(query) => (self.find(loaded, query)?, View::Candidate),
            Selection::List(query) => (loaded.snapshot.list(query), Snapshot::list_view(query)),
        };
        Ok(ids.into_iter().map(move |id| (id, loaded.snapshot.row(id, view))))
    }

    /// Rows of a listing, in the order of names, no more than `limit` unless that is 0.
    pub fn list(&self, loaded: &Loaded, query: &ListQuery, limit: u32) -> Vec<PackageRow> {
        let limit = if limit == 0 { usize::MAX } else { limit as usize };
        let view = Snapshot::list_view(query);
        loaded.snapshot.list(query).into_iter().take(limit).map(|id| loaded.snapshot.row(id, view)).collect()
    }

    /// Everything about the packages called so (`name` or `name:arch`), in the order given.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] with the nearest names or, for a virtual package, its providers; those of
    /// [`Engine::ask`].
    pub async fn details(self: &Arc<Self>, names: Vec<String>) -> Result<Vec<Arc<DetailsAnswer>>, EngineError> {
        let known = |loaded: &Loaded| names.iter().map(|name| loaded.details.get(name.as_str())).collect();
        if let Some(answers) = self.remembered::<Vec<_>>(known) {
            self.metrics.details_hits.fetch_add(answers.len() as u64, Ordering::Relaxed);
            return Ok(answers);
        }
        self.ask(move |engine, loaded| names.iter().map(|name| engine.details_in(loaded, name)).collect()).await
    }

    fn details_in(&self, loaded: &Loaded, name: &str) -> Result<Arc<DetailsAnswer>, EngineError> {
        if let Some(details) = loaded.details.get(name) {
            self.metrics.details_hits.fetch_add(1, Ordering::Relaxed);
            return Ok(details);
        }
        self.metrics.details_misses.fetch_add(1, Ordering::Relaxed);
        let id = loaded.snapshot.find(name).ok_or_else(|| unknown(loaded, name))?;
        let answer = Arc::new(Self::details_of(loaded, id)?);
        loaded.details.insert(name.to_owned(), Arc::clone(&answer));
        Ok(answer)
    }

    /// Everything about the package of that number; not cached.
    ///
    /// # Errors
    /// [`EngineError::DamagedSnapshot`] when the snapshot's block cannot be read.
    pub fn details_of(loaded: &Loaded, id: u32) -> Result<DetailsAnswer, EngineError> {
        Ok(DetailsAnswer {
            name: loaded.snapshot.name(id),
            flags: loaded.snapshot.flags(id),
            details: loaded.snapshot.details(id).map_err(damaged)?,
            why: loaded.snapshot.why(id),
        })
    }

    /// How many searches and details are cached.
    pub fn cached(&self) -> (u64, u64) {
        lock(&self.current)
            .as_ref()
            .map_or((0, 0), |loaded| (loaded.searches.entry_count(), loaded.details.entry_count()))
    }
}

fn damaged(error: std::io::Error) -> EngineError {
    EngineError::DamagedSnapshot(error.to_string())
}

fn unknown(loaded: &Loaded, name: &str) -> EngineError {
    let snapshot = &loaded.snapshot;
    let mut providers: Vec<String> = snapshot.providers(name).into_iter().map(|id| snapshot.name(id)).collect();
    if !providers.is_empty() {
        let more = if providers.len() > PROVIDERS { ", …" } else { "" };
        providers.truncate(PROVIDERS);
        let message = format!("{name} is a virtual package, provided by {}{more}", providers.join(", "));
        return EngineError::NotFound(message);
    }
    let nearest = snapshot.nearest_names(name, NEAREST);
    let hint = if nearest.is_empty() { String::new() } else { format!("; did you mean {}?", nearest.join(", ")) };
    EngineError::NotFound(format!("no package is called {name}{hint}"))
}
