//! The answers: searches, listings, details, completions.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::aur::beside;
use super::downloads::Downloads;
use super::{Engine, EngineError, Loaded, lock};
use crate::aur::{AurPackage, REPOSITORY};
use crate::index::{AUR, Ranked, Searcher, Snapshot, View, Window};
use crate::package::{Flags, ListQuery, PackageDetails, PackageRow, Relation, RowRef, SearchQuery, Selection};

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

impl DetailsAnswer {
    /// Whether the AUR's version is the one that would be installed.
    fn is_of_aur(&self) -> bool {
        self.details.versions.iter().any(|version| version.candidate && version.repository == REPOSITORY)
    }

    /// The answer with the AUR's version as it is now; one about that alone where nothing was known.
    fn with_latest(known: Option<Arc<Self>>, package: &AurPackage) -> Self {
        let mut answer = known.map_or_else(
            || Self {
                name: package.name.clone(),
                flags: Flags::empty(),
                details: PackageDetails::default(),
                why: Vec::new(),
            },
            Arc::unwrap_or_clone,
        );
        let versions = &mut answer.details.versions;
        versions.retain(|version| version.repository != REPOSITORY);
        versions.insert(0, package.to_version());
        answer
    }
}

/// A package of a [`Loaded`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackageId {
    /// Of its snapshot: what the package system knows.
    Own(u32),
    /// Of the AUR's.
    Aur(u32),
}

/// Of a [`Loaded`]'s two snapshots.
#[derive(Debug, Default)]
struct Windows {
    own: Window,
    aur: Window,
}

/// What was selected, in its order.
#[derive(Debug)]
pub struct Selected<'a> {
    loaded: &'a Loaded,
    ids: Vec<PackageId>,
    view: View,
    windows: Windows,
}

impl Selected<'_> {
    pub fn ids(&self) -> &[PackageId] {
        &self.ids
    }

    /// The row at `position`.
    pub fn row(&mut self, position: usize) -> RowRef<'_> {
        let id = self.ids.get(position).copied();
        id.map(|id| self.loaded.row(id, self.view, &mut self.windows)).unwrap_or_default()
    }

    fn rows(mut self, limit: usize) -> Arc<[PackageRow]> {
        (0..self.ids.len().min(limit)).map(|position| self.row(position).into()).collect()
    }
}

impl Loaded {
    /// One package as a row, read through `windows`, which are this one's own.
    fn row<'a>(&'a self, id: PackageId, view: View, windows: &'a mut Windows) -> RowRef<'a> {
        match (id, &self.aur) {
            (PackageId::Own(id), _) => self.snapshot.row_in(id, view, &mut windows.own),
            (PackageId::Aur(id), Some(aur)) => aur.row_in(id, view, &mut windows.aur),
            (PackageId::Aur(_), None) => RowRef::default(),
        }
    }

    /// The package called `name`, or `name:arch`.
    fn find(&self, name: &str) -> Option<PackageId> {
        let own = self.snapshot.find(name).map(PackageId::Own);
        own.or_else(|| self.aur.as_ref()?.find(name).map(PackageId::Aur))
    }

    fn name(&self, id: PackageId) -> &str {
        match (id, &self.aur) {
            (PackageId::Own(id), _) => self.snapshot.bare_name(id),
            (PackageId::Aur(id), Some(aur)) => aur.bare_name(id),
            (PackageId::Aur(_), None) => "",
        }
    }

    /// The packages that a listing asks for, in order. The AUR's are among them where it is the repository asked for; what
    /// is installed from there is the package system's.
    fn list(&self, query: &ListQuery) -> Vec<PackageId> {
        let mut found: Vec<PackageId> = self.snapshot.list(query).into_iter().map(PackageId::Own).collect();
        let Some(aur) = self.aur.as_ref().filter(|_| query.repository.as_deref() == Some(AUR)) else { return found };
        let others = aur.list(query).into_iter().filter(|id| self.snapshot.find(aur.bare_name(*id)).is_none());
        found.extend(others.map(PackageId::Aur));
        found.sort_by(|one, other| self.name(*one).cmp(self.name(*other)));
        found
    }

    /// Names that start with `prefix`, in order, each once.
    pub fn names_with_prefix(&self, prefix: &str, limit: usize) -> Vec<String> {
        let mut names = self.snapshot.names_with_prefix(prefix, limit);
        if let Some(aur) = &self.aur {
            names.extend(aur.names_with_prefix(prefix, limit));
            names.sort_unstable();
            names.dedup();
            names.truncate(limit);
        }
        names
    }
}

impl Engine {
    /// Rows of a search, best first, or of a listing, in the order of names; no more than the limit asked for.
    ///
    /// # Errors
    /// Those of [`Engine::ask`].
    pub async fn rows(self: &Arc<Self>, selection: Selection) -> Result<Arc<[PackageRow]>, EngineError> {
        let whole =
            |loaded: &Loaded| loaded.aur.is_some() || self.aur.is_none() || matches!(selection, Selection::List(_));
        if let Some(rows) = self.remembered_rows(&selection, whole) {
            return Ok(rows);
        }
        let found = match &selection {
            Selection::Search(query) => self.found_in_aur(query).await,
            Selection::List(_) => Arc::default(),
        };
        self.ask(move |engine, loaded| {
            let own = engine.rows_in(loaded, &selection)?;
            let others = Self::others(loaded, &selection, &found);
            match &selection {
                Selection::Search(query) if !others.is_empty() => Ok(together(&own, others, query)),
                _ => Ok(own),
            }
        })
        .await
    }

    /// A listing whose rows are at hand, where telling whether they are fresh takes no time either.
    pub fn remembered_listing(&self, query: &ListQuery) -> Option<Arc<[PackageRow]>> {
        self.remembered_rows(&Selection::List(query.clone()), |_| true)
    }

    fn remembered_rows(&self, selection: &Selection, is_whole: impl Fn(&Loaded) -> bool) -> Option<Arc<[PackageRow]>> {
        let rows = self.remembered(|loaded| loaded.rows.get(selection).filter(|_| is_whole(loaded)))?;
        self.metrics.search_hits.fetch_add(1, Ordering::Relaxed);
        Some(rows)
    }

    /// The first rows of what was selected, kept for whoever asks again.
    pub fn keep_rows(
        &self,
        loaded: &Loaded,
        selection: &Selection,
        selected: Selected<'_>,
        limit: usize,
    ) -> Arc<[PackageRow]> {
        self.metrics.search_misses.fetch_add(1, Ordering::Relaxed);
        let rows = selected.rows(limit);
        loaded.rows.insert(selection.clone(), Arc::clone(&rows));
        rows
    }

    fn rows_in(&self, loaded: &Loaded, selection: &Selection) -> Result<Arc<[PackageRow]>, EngineError> {
        if let Some(rows) = loaded.rows.get(selection) {
            self.metrics.search_hits.fetch_add(1, Ordering::Relaxed);
            return Ok(rows);
        }
        let limit = match selection {
            Selection::Search(SearchQuery { limit, .. }) | Selection::List(ListQuery { limit, .. }) => *limit as usize,
        };
        let limit = if limit == 0 { usize::MAX } else { limit };
        let rows = self.keep_rows(loaded, selection, self.select(loaded, selection)?, limit);
        if matches!(selection, Selection::Search(_)) {
            loaded.release_after_search();
        }
        Ok(rows)
    }

    fn find(&self, loaded: &Loaded, query: &SearchQuery) -> Result<Vec<PackageId>, EngineError> {
        let mut searcher = lock(&self.searchers).pop().unwrap_or_default();
        let found = search_both(&mut searcher, loaded, query);
        lock(&self.searchers).push(searcher);
        found.map_err(damaged)
    }

    /// Every selected package; not cached.
    ///
    /// # Errors
    /// [`EngineError::DamagedSnapshot`] when long descriptions cannot be read.
    pub fn select<'a>(&self, loaded: &'a Loaded, selection: &Selection) -> Result<Selected<'a>, EngineError> {
        let (ids, view) = match selection {
            Selection::Search(query) => (self.find(loaded, query)?, View::Candidate),
            Selection::List(query) => (loaded.list(query), Snapshot::list_view(query)),
        };
        Ok(Selected { loaded, ids, view, windows: Windows::default() })
    }

    /// Of what [`Engine::found_in_aur`] found, the rows that [`Engine::select`] does not have.
    pub fn others(loaded: &Loaded, selection: &Selection, found: &[PackageRow]) -> Vec<PackageRow> {
        match selection {
            Selection::Search(query) if loaded.aur.is_none() => beside(&loaded.snapshot, found, query),
            _ => Vec::new(),
        }
    }

    /// Everything about the packages called so (`name` or `name:arch`), in the order given. What the AUR says of its
    /// packages now goes before what it said in its archive, as far as it says so in time.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] with the nearest names or, for a virtual package, its providers; those of
    /// [`Engine::ask`].
    pub async fn details(self: &Arc<Self>, names: Vec<String>) -> Result<Vec<Arc<DetailsAnswer>>, EngineError> {
        let answers = self.listed_details(names).await?;
        let downloads = self.downloads().await;
        Ok(answers.into_iter().map(|answer| downloads.added_to(answer)).collect())
    }

    /// What the download cache has now.
    async fn downloads(&self) -> Arc<Downloads> {
        let folders = lock(&self.current).as_ref().map(|loaded| loaded.snapshot.meta().downloads.clone());
        let folders = folders.unwrap_or_default();
        let known = Arc::clone(&lock(&self.downloads));
        if folders.is_empty() {
            return Arc::default();
        }
        // To hand a look at the clock of a folder to another thread takes as long as the rest of the answer.
        if known.are_on_local_disks() && known.are_current(&folders) {
            return known;
        }
        // They may be on a file server that does not answer.
        let look = move || if known.are_current(&folders) { known } else { Arc::new(Downloads::list(&folders)) };
        let listed = tokio::task::spawn_blocking(look).await;
        // One that panicked has said so.
        let listed = listed.unwrap_or_default();
        *lock(&self.downloads) = Arc::clone(&listed);
        listed
    }

    /// The same by the package lists alone.
    async fn listed_details(self: &Arc<Self>, names: Vec<String>) -> Result<Vec<Arc<DetailsAnswer>>, EngineError> {
        let known = |loaded: &Loaded| names.iter().map(|name| loaded.details.get(name.as_str())).collect();
        if let Some(answers) = self.remembered::<Vec<_>>(known)
            && !(self.aur.is_some() && answers.iter().any(|answer: &Arc<DetailsAnswer>| answer.is_of_aur()))
        {
            self.metrics.details_hits.fetch_add(answers.len() as u64, Ordering::Relaxed);
            return Ok(answers);
        }
        let asked = names.clone();
        let answers: Vec<Result<Arc<DetailsAnswer>, EngineError>> = self
            .ask(move |engine, loaded| {
                let answer = |name: &String| match engine.details_in(loaded, name) {
                    Err(error @ EngineError::DamagedSnapshot(_)) => Err(error),
                    answer => Ok(answer),
                };
                asked.iter().map(answer).collect()
            })
            .await?;
        let is_aurs = |answer: &Result<Arc<DetailsAnswer>, EngineError>| match answer {
            Ok(answer) => answer.is_of_aur(),
            Err(error) => matches!(error, EngineError::NotFound(_)),
        };
        let aurs = names.iter().zip(&answers).filter(|(_, answer)| is_aurs(answer));
        let aurs: Vec<String> = aurs.map(|(name, _)| name.clone()).collect();
        let latest = if aurs.is_empty() { HashMap::new() } else { self.latest(&aurs).await };
        let answers = names.iter().zip(answers).map(|(name, answer)| match latest.get(name) {
            Some(Some(package)) => Ok(Arc::new(DetailsAnswer::with_latest(answer.ok(), package))),
            _ => answer,
        });
        answers.collect()
    }

    fn details_in(&self, loaded: &Loaded, name: &str) -> Result<Arc<DetailsAnswer>, EngineError> {
        if let Some(details) = loaded.details.get(name) {
            self.metrics.details_hits.fetch_add(1, Ordering::Relaxed);
            return Ok(details);
        }
        self.metrics.details_misses.fetch_add(1, Ordering::Relaxed);
        let id = loaded.find(name).ok_or_else(|| unknown(loaded, name))?;
        let answer = Arc::new(Self::details_of(loaded, id)?);
        loaded.details.insert(name.to_owned(), Arc::clone(&answer));
        Ok(answer)
    }

    /// Everything about one package; not cached.
    ///
    /// # Errors
    /// [`EngineError::DamagedSnapshot`] when the snapshot's block cannot be read.
    pub fn details_of(loaded: &Loaded, id: PackageId) -> Result<DetailsAnswer, EngineError> {
        let (snapshot, id) = match (id, &loaded.aur) {
            (PackageId::Aur(id), Some(aur)) => (aur, id),
            (PackageId::Own(id) | PackageId::Aur(id), _) => (&loaded.snapshot, id),
        };
        Ok(DetailsAnswer {
            name: snapshot.name(id),
            flags: snapshot.flags(id),
            details: snapshot.details(id).map_err(damaged)?,
            why: snapshot.why(id),
        })
    }

    /// How many answers of rows and of details are cached.
    pub fn cached(&self) -> (u64, u64) {
        lock(&self.current).as_ref().map_or((0, 0), |loaded| (loaded.rows.entry_count(), loaded.details.entry_count()))
    }
}

/// The rows of both in one, no more than the limit. What has the very name goes first, as it would if it were listed.
fn together(own: &[PackageRow], mut others: Vec<PackageRow>, query: &SearchQuery) -> Arc<[PackageRow]> {
    let is_exact = |row: &PackageRow| query.terms.contains(&row.name);
    let exact = others.iter().take_while(|row| is_exact(row)).count();
    let rest = others.split_off(exact);
    let (first, less) = own.split_at(own.iter().take_while(|row| is_exact(row)).count());
    let limit = if query.limit == 0 { usize::MAX } else { query.limit as usize };
    first.iter().chain(&others).chain(less).chain(&rest).take(limit).cloned().collect()
}

/// What the package system and the AUR have that matches, best first, each name once: a package of both, as one that is
/// installed from the AUR, is the package system's.
fn search_both(searcher: &mut Searcher, loaded: &Loaded, query: &SearchQuery) -> io::Result<Vec<PackageId>> {
    let own = searcher.ranked(&loaded.snapshot, query)?;
    let is_own = |found: &Ranked| PackageId::Own(found.id);
    if query.installed
        && let Some(aur) = loaded.aur.as_ref().filter(|_| query.sources.iter().any(|source| source == AUR))
        && !query.sources.contains(&loaded.snapshot.meta().inputs.backend)
    {
        // Installed from there: what the archive has and no repository.
        let any = SearchQuery { installed: false, limit: 0, ..query.clone() };
        let installed = searcher.ranked(aur, &any)?.into_iter().filter_map(|found| {
            let id = loaded.snapshot.find(aur.bare_name(found.id))?;
            loaded.snapshot.flags(id).contains(Flags::INSTALLED | Flags::FOREIGN).then_some(PackageId::Own(id))
        });
        return Ok(installed.take(if query.limit == 0 { usize::MAX } else { query.limit as usize }).collect());
    }
    // Nothing in the archive is installed: what is is among the package system's.
    let Some(aur) = loaded.aur.as_ref().filter(|_| !query.installed) else {
        return Ok(own.iter().map(is_own).collect());
    };
    let limit = if query.limit == 0 { usize::MAX } else { query.limit as usize };
    let both = query.sources.is_empty() || query.sources.contains(&loaded.snapshot.meta().inputs.backend);
    let counterpart = |found: &Ranked| loaded.snapshot.find(aur.bare_name(found.id));
    let mut others = searcher.ranked(aur, query)?;
    if both {
        let asked = others.len();
        others.retain(|found| counterpart(found).is_none());
        if asked == limit && others.len() < limit {
            // Those that were left out may have kept others out.
            others = searcher.ranked(aur, &SearchQuery { limit: 0, ..query.clone() })?;
            others.retain(|found| counterpart(found).is_none());
        }
    }
    let as_aur = |found: &Ranked| match counterpart(found) {
        Some(id) if loaded.snapshot.flags(id).contains(Flags::FOREIGN) => PackageId::Own(id),
        _ => PackageId::Aur(found.id),
    };
    let mut merged = Vec::with_capacity((own.len() + others.len()).min(limit));
    let (mut own, mut others) = (own.iter().peekable(), others.iter().peekable());
    while merged.len() < limit {
        let key = |found: &Ranked, snapshot: &Snapshot| (found.rank, snapshot.bare_name(found.id).to_owned());
        let own_first = match (own.peek(), others.peek()) {
            (Some(one), Some(other)) if one.rank != other.rank => one.rank < other.rank,
            (Some(one), Some(other)) => key(one, &loaded.snapshot) <= key(other, aur),
            (one, None) => one.is_some(),
            (None, Some(_)) => false,
        };
        let next = if own_first { own.next().map(is_own) } else { others.next().map(as_aur) };
        let Some(next) = next else { break };
        merged.push(next);
    }
    Ok(merged)
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
    let mut nearest = snapshot.nearest_names(name, NEAREST);
    if let Some(aur) = &loaded.aur {
        let providers: Vec<String> = aur.providers(name).into_iter().map(|id| aur.name(id)).take(PROVIDERS).collect();
        if !providers.is_empty() {
            let message = format!("{name} is a virtual package, provided in the AUR by {}", providers.join(", "));
            return EngineError::NotFound(message);
        }
        nearest.extend(aur.nearest_names(name, NEAREST).into_iter().filter(|other| snapshot.find(other).is_none()));
        nearest.truncate(NEAREST);
    }
    let hint = if nearest.is_empty() { String::new() } else { format!("; did you mean {}?", nearest.join(", ")) };
    EngineError::NotFound(format!("no package is called {name}{hint}"))
}
