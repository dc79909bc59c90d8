//! A snapshot with the answers that were given from it.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use moka::sync::Cache;

use super::CacheLimits;
use super::answers::DetailsAnswer;
use crate::index::Snapshot;
use crate::package::{PackageRow, Selection};

/// A snapshot and its cached answers: they are dropped together.
#[derive(Debug)]
pub struct Loaded {
    pub snapshot: Snapshot,
    /// The AUR's packages, where they are wanted and known. Its file is one of the sources of `snapshot`.
    pub aur: Option<Snapshot>,
    /// When its sources were at the latest still unread: it shows every change that was made before.
    pub(super) begun: Instant,
    /// Whether looking at the sources only asks the kernel's memory and local disks; not known before the first
    /// comparison.
    local: OnceLock<bool>,
    /// Of searches and listings.
    pub(super) rows: Cache<Selection, Arc<[PackageRow]>>,
    pub(super) details: Cache<String, Arc<DetailsAnswer>>,
}

impl Loaded {
    pub(super) fn new(snapshot: Snapshot, aur: Option<Snapshot>, begun: Instant, limits: CacheLimits) -> Self {
        Self {
            snapshot,
            aur,
            begun,
            local: OnceLock::new(),
            rows: bounded(limits.searches, limits.search_bytes, |selection, rows| rows_bytes(selection, rows)),
            details: bounded(limits.details, limits.details_bytes, |name, answer| details_bytes(name, answer)),
        }
    }

    /// Whether the snapshot still describes its sources. May take as long as a file server that does not answer.
    pub(super) fn is_fresh(&self) -> bool {
        self.local.get_or_init(|| self.snapshot.is_local() && self.snapshot.fingerprint().is_local());
        self.compare()
    }

    /// As [`Loaded::is_fresh`], where that waits for no other machine and no other program; false elsewhere.
    pub(super) fn is_fresh_at_once(&self) -> bool {
        self.local.get() == Some(&true) && self.compare()
    }

    fn compare(&self) -> bool {
        self.snapshot.is_intact()
            && self.aur.as_ref().is_none_or(Snapshot::is_intact)
            && self.snapshot.fingerprint().first_change().is_none()
    }

    /// Gives back the memory that the mapped files hold.
    pub(super) fn release_memory(&self) {
        self.snapshot.release_memory();
        if let Some(aur) = &self.aur {
            aur.release_memory();
        }
    }

    /// Gives back what a search has read beyond the names. Listings and details look up a few rows that the next one
    /// looks up again, so they leave it alone.
    pub(super) fn release_after_search(&self) {
        self.snapshot.release_all_but_names();
        if let Some(aur) = &self.aur {
            aur.release_all_but_names();
        }
    }

    /// Drops the cached answers.
    pub(super) fn clear(&self) {
        self.rows.invalidate_all();
        self.details.invalidate_all();
    }

    /// The folders that hold the sources: where a change shows first.
    pub(super) fn source_folders(&self) -> Vec<PathBuf> {
        let sources = &self.snapshot.fingerprint().sources;
        let mut folders: Vec<PathBuf> =
            sources.iter().filter_map(|source| source.path.parent()).map(PathBuf::from).collect();
        // A source that is a folder itself, such as an empty one for pins.
        folders.extend(sources.iter().map(|source| &source.path).filter(|path| path.is_dir()).cloned());
        folders.sort_unstable();
        folders.dedup();
        folders
    }
}

/// A cache of at most `entries` answers that take at most `bytes` together: an answer weighs its bytes, but never less
/// than its even share.
fn bounded<K, V>(entries: u32, bytes: u64, size: fn(&K, &V) -> usize) -> Cache<K, V>
where
    K: std::hash::Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    let share = bytes.checked_div(u64::from(entries));
    Cache::builder()
        .weigher(move |key, value| {
            let weight = (size(key, value) as u64).max(share.unwrap_or_default());
            u32::try_from(weight).unwrap_or(u32::MAX)
        })
        .max_capacity(if entries == 0 { 0 } else { bytes })
        .build()
}

/// Roughly: texts and what holds them.
fn rows_bytes(selection: &Selection, rows: &[PackageRow]) -> usize {
    let texts = |row: &PackageRow| {
        row.name.len() + row.version.len() + row.arch.len() + row.repository.len() + row.summary.len()
    };
    let key = match selection {
        Selection::Search(query) => {
            let words = query.terms.iter().chain(&query.sources);
            words.map(|word| word.len() + size_of::<String>()).sum()
        }
        Selection::List(query) => {
            [&query.repository, &query.group].into_iter().flatten().map(String::len).sum::<usize>()
        }
    };
    size_of::<Selection>() + key + rows.iter().map(|row| size_of::<PackageRow>() + texts(row)).sum::<usize>()
}

/// Roughly: texts and what holds them.
fn details_bytes(name: &str, answer: &DetailsAnswer) -> usize {
    let texts = |version: &crate::package::VersionDetails| {
        version.record.len() + version.description.len() + version.summary.len() + size_of_val(version)
    };
    name.len() + size_of::<DetailsAnswer>() + answer.details.versions.iter().map(texts).sum::<usize>()
}
