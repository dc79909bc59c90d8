//! Search and ranking.
//!
//! Every term gets a class per package, the best way in which it matches there; a package is found when every term has
//! one. Packages are ordered by the sum of the classes, then the worst class, the fuzzy score, the length of the name and
//! the name: the same snapshot and query always give the same order.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::ops::{ControlFlow, Range};

use memchr::memchr_iter;
use memchr::memmem::Finder;
use nucleo_matcher::{Config, Matcher, Utf32Str};
use zerocopy::little_endian::U32;

use super::Snapshot;
use super::format::ranked_len;
use super::nearness::Nearness;
use super::reader::{has_candidate, is_searchable, line};
use super::text::{fold, is_word, letters};
use super::writer::RELATIONS;
use crate::package::{Flags, Relation, SearchMode, SearchQuery};

/// Ways of matching, best first.
mod class {
    pub(super) const EXACT: u8 = 0;
    pub(super) const PREFIX: u8 = 1;
    pub(super) const WORD: u8 = 2;
    pub(super) const SUBSTRING: u8 = 3;
    pub(super) const FUZZY: u8 = 4;
    pub(super) const SUMMARY: u8 = 5;
    pub(super) const DESCRIPTION: u8 = 6;
    pub(super) const NONE: u8 = u8::MAX;
}

/// Terms shorter than this match too much to be looked for letter by letter.
const SHORTEST_FUZZY_TERM: usize = 3;

/// A fuzzy match counts while it loses at most so much, for every two letters of the term, against the term's match with
/// itself. A gap costs 3 and 1 for each further letter, and 8 for the lost adjacency (nucleo's weights), so five letters
/// may have one gap of a few letters, three letters none.
const LOSS_PER_TWO_LETTERS: usize = 7;

/// A package that a search found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ranked {
    /// Smaller is better; packages of one rank are in the order of their names. Ranks of one query compare over snapshots.
    pub rank: u64,
    pub id: u32,
}

/// Searches snapshots; keeps its working memory between searches.
#[derive(Debug)]
pub struct Searcher {
    matcher: Matcher,
    ranks: Ranks,
    /// Of one term: the class of every package, and the score of its fuzzy match.
    classes: Vec<u8>,
    scores: Vec<u16>,
}

impl Default for Searcher {
    fn default() -> Self {
        let mut config = Config::DEFAULT;
        config.prefer_prefix = true;
        Self { matcher: Matcher::new(config), ranks: Ranks::default(), classes: Vec::new(), scores: Vec::new() }
    }
}

impl Searcher {
    /// Numbers of the packages that match every term of `query`, best first, no more than its limit.
    ///
    /// # Errors
    /// When long descriptions are asked for and cannot be read.
    pub fn search(&mut self, snapshot: &Snapshot, query: &SearchQuery) -> io::Result<Vec<u32>> {
        Ok(self.ranked(snapshot, query)?.into_iter().map(|found| found.id).collect())
    }

    /// The same with their ranks.
    ///
    /// # Errors
    /// As [`Searcher::search`].
    pub fn ranked(&mut self, snapshot: &Snapshot, query: &SearchQuery) -> io::Result<Vec<Ranked>> {
        let backend = &snapshot.meta().inputs.backend;
        if !query.sources.is_empty() && !query.sources.contains(backend) {
            return Ok(Vec::new());
        }
        let limit = if query.limit == 0 { usize::MAX } else { query.limit as usize };
        let installed = if query.installed { Flags::INSTALLED.bits() } else { 0 };
        let any_candidate = query.mode != SearchMode::Substring;
        // Without branches: which packages are wanted is past predicting.
        let wanted =
            |word: u32| (word & installed == installed) & is_searchable(word) & (any_candidate | has_candidate(word));
        if query.terms.is_empty() {
            self.ranks.set(&vec![0; snapshot.len()], &[]);
        }
        // What a later class finds is of no use to a single term that has found enough already.
        let enough = if query.terms.len() == 1 { limit } else { usize::MAX };
        for (number, term) in query.terms.iter().enumerate() {
            self.classify(
                snapshot,
                &fold(term),
                query,
                &Enough { limit: enough, words: snapshot.flag_words(), wanted },
            )?;
            if number == 0 {
                self.ranks.set(&self.classes, &self.scores);
            } else {
                self.ranks.add(&self.classes, &self.scores);
            }
        }
        self.ranks.keep(snapshot.flag_words(), wanted);
        let (_, offsets) = snapshot.folded_names();
        let (_, _, by_length) = snapshot.folded_summaries();
        let by_length = if query.terms.len() == 1 { by_length } else { &[] };
        let mut keys = self.ranks.best(limit, |id| name_len(offsets, id), by_length);
        if limit < keys.len() {
            keys.select_nth_unstable(limit);
            keys.truncate(limit);
        }
        keys.sort_unstable();
        Ok(keys.into_iter().map(|key| Ranked { rank: key & !ID_MASK, id: (key & ID_MASK) as u32 }).collect())
    }

    /// Fills in the classes and scores of one folded term, the better classes first; ends as soon as they are `enough`.
    fn classify(
        &mut self,
        snapshot: &Snapshot,
        term: &str,
        query: &SearchQuery,
        enough: &Enough<'_, impl Fn(u32) -> bool>,
    ) -> io::Result<()> {
        self.classes.clear();
        self.classes.resize(snapshot.len(), class::NONE);
        self.scores.clear();
        if query.mode == SearchMode::Exact {
            exact(snapshot, term, &mut self.classes);
            return Ok(());
        }
        let finder = Finder::new(term.as_bytes());
        in_names(snapshot, term.as_bytes(), &finder, &mut self.classes);
        if enough.missing(&self.classes) == 0 {
            return Ok(());
        }
        if query.mode == SearchMode::Fuzzy && term.chars().count() >= SHORTEST_FUZZY_TERM {
            self.fuzzy(snapshot, term);
        }
        in_summaries(snapshot, &finder, &mut self.classes, enough);
        if query.descriptions && enough.missing(&self.classes) > 0 {
            in_descriptions(snapshot, &finder, &mut self.classes)?;
        }
        Ok(())
    }

    /// Matches the letters of `term` in order in every name that has no better match yet.
    fn fuzzy(&mut self, snapshot: &Snapshot, term: &str) {
        let (blob, offsets) = snapshot.folded_names();
        self.scores.resize(self.classes.len(), 0);
        let (mut term_buffer, mut name_buffer) = (Vec::new(), Vec::new());
        let needle = Utf32Str::new(term, &mut term_buffer);
        let perfect = self.matcher.fuzzy_match(needle, needle).unwrap_or_default();
        let least = perfect.saturating_sub((needle.len() * LOSS_PER_TWO_LETTERS / 2) as u16);
        let nearness = Nearness::new(term.as_bytes(), least);
        // Most names lack a letter of the term, which costs far less to see than the matcher does.
        let wanted = letters(term.as_bytes());
        let candidates = self.classes.iter_mut().zip(&mut self.scores).zip(snapshot.letters()).enumerate();
        for (at, ((class, score), letters)) in candidates {
            if letters.get() & wanted != wanted || *class < class::FUZZY {
                continue;
            }
            let name = line(blob, offsets, at);
            let haystack = if name.is_ascii() {
                if nearness.is_some_and(|nearness| !nearness.may_match(name)) {
                    continue;
                }
                Utf32Str::Ascii(name)
            } else {
                Utf32Str::new(str::from_utf8(name).unwrap_or_default(), &mut name_buffer)
            };
            if let Some(found) = self.matcher.fuzzy_match(haystack, needle)
                && found >= least
            {
                *class = class::FUZZY;
                *score = found;
            }
        }
    }
}

/// When a search has found all that it answers with.
struct Enough<'a, W> {
    /// How many packages the answer may have; [`usize::MAX`] where more must be known to tell which are the best.
    limit: usize,
    /// The flag words of the packages, and which of them the query wants.
    words: &'a [U32],
    wanted: W,
}

impl<W: Fn(u32) -> bool> Enough<'_, W> {
    /// How many more packages the answer can take.
    fn missing(&self, classes: &[u8]) -> usize {
        if self.limit > classes.len() {
            return usize::MAX;
        }
        let mut missing = self.limit;
        for (classes, words) in classes.chunks(CHUNK).zip(self.words.chunks(CHUNK)) {
            if is_unmatched(classes) {
                continue;
            }
            let found = classes.iter().zip(words);
            let found: usize =
                found.map(|(class, word)| usize::from((*class != class::NONE) & (self.wanted)(word.get()))).sum();
            missing = missing.saturating_sub(found);
            if missing == 0 {
                break;
            }
        }
        missing
    }

    fn wants(&self, id: usize) -> bool {
        self.words.get(id).is_some_and(|word| (self.wanted)(word.get()))
    }
}

/// Packages that are looked at together: in most such groups a term matches none, which is seen at once.
const CHUNK: usize = 64;

fn is_unmatched(chunk: &[u8]) -> bool {
    // Without a branch for each, so that many are compared at a time.
    chunk.iter().fold(class::NONE, |all, class| all & class) == class::NONE
}

/// Low bits of a key; holds every package number below [`super::format::MAX_PACKAGES`].
const ID_BITS: u32 = 22;
const ID_MASK: u64 = (1 << ID_BITS) - 1;

/// The ranks of all packages over all terms, a column for each part.
#[derive(Debug, Default)]
struct Ranks {
    /// Sums of the classes; [`class::NONE`] where a term does not match.
    sums: Vec<u8>,
    worst: Vec<u8>,
    /// Empty as long as every score is 0.
    scores: Vec<u16>,
}

impl Ranks {
    fn set(&mut self, classes: &[u8], scores: &[u16]) {
        self.sums.clear();
        self.sums.extend_from_slice(classes);
        self.worst.clear();
        self.worst.extend_from_slice(classes);
        self.scores.clear();
        self.scores.extend_from_slice(scores);
    }

    fn add(&mut self, classes: &[u8], scores: &[u16]) {
        for ((sum, worst), class) in self.sums.iter_mut().zip(&mut self.worst).zip(classes) {
            let either_unmatched = *sum == class::NONE || *class == class::NONE;
            let added = sum.saturating_add(*class).min(class::NONE - 1);
            *sum = if either_unmatched { class::NONE } else { added };
            *worst = (*worst).max(*class);
        }
        if !scores.is_empty() {
            self.scores.resize(self.sums.len(), 0);
            for (score, added) in self.scores.iter_mut().zip(scores) {
                *score = score.saturating_add(*added);
            }
        }
    }

    /// Drops the packages whose flag word is not `wanted`.
    fn keep(&mut self, words: &[U32], wanted: impl Fn(u32) -> bool) {
        for (sums, words) in self.sums.chunks_mut(CHUNK).zip(words.chunks(CHUNK)) {
            if is_unmatched(sums) {
                continue;
            }
            for (sum, word) in sums.iter_mut().zip(words) {
                *sum = if wanted(word.get()) { *sum } else { class::NONE };
            }
        }
    }

    /// Keys of the matching packages; of those that cannot be among the first `limit`, most are left out. `by_length` has
    /// the packages by the length of their names where that orders those of one class: with one term.
    fn best(&self, limit: usize, name_len: impl Fn(u32) -> u32, by_length: &[U32]) -> Vec<u64> {
        let mut keys = Vec::new();
        let mut left = self.sums.len() - memchr_iter(class::NONE, &self.sums).count();
        // Cutting when twice as many are there as can be answered costs less than ordering all of them.
        let most = limit.saturating_mul(2).max(64);
        let mut bound = u64::MAX;
        let key_of = |sum: u8, at: usize| {
            let worst = self.worst.get(at).copied().unwrap_or_default();
            let score = self.scores.get(at).copied().unwrap_or_default();
            key(sum, worst, score, name_len(at as u32), at as u32)
        };
        for sum in 0..class::NONE {
            if left == 0 || keys.len() >= limit {
                break;
            }
            // Fuzzy matches go by their score first.
            if !by_length.is_empty() && sum != class::FUZZY {
                let count = memchr_iter(sum, &self.sums).count();
                let missing = limit - keys.len();
                // As many are passed on the way to one that counts as there are packages to one of this class.
                if count > missing && count.saturating_mul(count) > missing.saturating_mul(by_length.len()) {
                    let ids = by_length.iter().map(|id| id.get() as usize);
                    let found = ids.filter(|id| self.sums.get(*id) == Some(&sum)).take(missing);
                    keys.extend(found.map(|id| key_of(sum, id)));
                    break;
                }
            }
            for at in memchr_iter(sum, &self.sums) {
                left -= 1;
                let key = key_of(sum, at);
                if key < bound {
                    keys.push(key);
                }
                if keys.len() >= most {
                    let (_, last, _) = keys.select_nth_unstable(limit);
                    bound = *last;
                    keys.truncate(limit);
                }
            }
        }
        keys
    }
}

/// Orders packages: smaller is better. Package numbers follow names, so the number also breaks ties by name.
fn key(sum: u8, worst: u8, score: u16, name_len: u32, id: u32) -> u64 {
    let name_len = u64::from(ranked_len(name_len));
    u64::from(sum) << 56
        | u64::from(worst.min(15)) << 50
        | u64::from(u16::MAX - score) << 34
        | name_len << ID_BITS
        | u64::from(id) & ID_MASK
}

fn name_len(offsets: &[U32], id: u32) -> u32 {
    let bound = |at: usize| offsets.get(at).map_or(0, |offset| offset.get());
    bound(id as usize + 1).saturating_sub(bound(id as usize))
}

fn exact(snapshot: &Snapshot, term: &str, classes: &mut [u8]) {
    let (blob, offsets) = snapshot.folded_names();
    for (at, class) in classes.iter_mut().enumerate() {
        if line(blob, offsets, at) == term.as_bytes() {
            *class = class::EXACT;
        }
    }
}

/// Names, and names that packages provide: a package that provides a name is found by it, but never above one that
/// has it.
fn in_names(snapshot: &Snapshot, term: &[u8], finder: &Finder<'_>, classes: &mut [u8]) {
    let (blob, offsets) = snapshot.folded_names();
    // Names that begin with the term are neighbours, and may be many: these need not be looked for one by one.
    let prefixed = snapshot.prefixed(term);
    for (number, class) in classes.get_mut(prefixed.clone()).into_iter().flatten().enumerate() {
        let is_exact = line(blob, offsets, prefixed.start + number).len() == term.len();
        *class = if is_exact { class::EXACT } else { class::PREFIX };
    }
    for lines in [0..prefixed.start, prefixed.end..classes.len()] {
        for_each_line_with(finder, blob, offsets, lines, |at, found| {
            if let Some(class) = classes.get_mut(at) {
                *class = name_class(line(blob, offsets, at), term, found, finder);
            }
            ControlFlow::Continue(())
        });
    }
    let mut improve = |id: usize, class: u8| {
        if let Some(own) = classes.get_mut(id) {
            *own = class.min(*own);
        }
    };
    let (blob, offsets, providers) = snapshot.provided_names();
    for_each_line_with(finder, blob, offsets, 0..providers.len(), |at, _| {
        if let Some(provider) = providers.get(at) {
            improve(provider.get() as usize, class::SUBSTRING);
        }
        ControlFlow::Continue(())
    });
    for provider in snapshot.providers_of(term) {
        improve(provider as usize, class::WORD);
    }
    // A real name that another package provides counts for that package too; it is among the provided names already.
}

fn name_class(name: &[u8], term: &[u8], found: usize, finder: &Finder<'_>) -> u8 {
    if found == 0 {
        return if name.len() == term.len() { class::EXACT } else { class::PREFIX };
    }
    let mut at = found;
    loop {
        let before = at.checked_sub(1).and_then(|before| name.get(before));
        let after = name.get(at + term.len());
        if !before.copied().is_some_and(is_word) && !after.copied().is_some_and(is_word) {
            return class::WORD;
        }
        match finder.find(name.get(at + 1..).unwrap_or_default()) {
            Some(next) => at += 1 + next,
            None => return class::SUBSTRING,
        }
    }
}

/// Summaries, those of the packages first that rank first: what is found after `enough` would rank below the limit.
fn in_summaries<W>(snapshot: &Snapshot, finder: &Finder<'_>, classes: &mut [u8], enough: &Enough<'_, W>)
where
    W: Fn(u32) -> bool,
{
    let mut missing = enough.missing(classes);
    if missing == 0 {
        return;
    }
    let (blob, offsets, order) = snapshot.folded_summaries();
    for_each_line_with(finder, blob, offsets, 0..order.len(), |at, _| {
        let id = order.get(at).map_or(usize::MAX, |id| id.get() as usize);
        if let Some(class) = classes.get_mut(id).filter(|class| **class == class::NONE) {
            *class = class::SUMMARY;
            missing -= usize::from(enough.wants(id));
        }
        if missing == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
}

fn in_descriptions(snapshot: &Snapshot, finder: &Finder<'_>, classes: &mut [u8]) -> io::Result<()> {
    snapshot.for_each_description_block(|first, block| {
        let (mut at, mut start) = (first as usize, 0);
        while let Some(rest) = block.get(start..)
            && let Some(found) = finder.find(rest)
        {
            let hit = start + found;
            at += memchr::memchr_iter(0, block.get(start..hit).unwrap_or_default()).count();
            if let Some(class) = classes.get_mut(at) {
                *class = class::DESCRIPTION.min(*class);
            }
            let Some(end) = memchr::memchr(0, block.get(hit..).unwrap_or_default()) else { break };
            at += 1;
            start = hit + end + 1;
        }
    })
}

/// Calls `each` with the number of every one of `lines` that holds what `finder` looks for, and where in the line it first
/// does, until it breaks.
fn for_each_line_with(
    finder: &Finder<'_>,
    blob: &[u8],
    offsets: &[U32],
    lines: Range<usize>,
    mut each: impl FnMut(usize, usize) -> ControlFlow<()>,
) {
    let offset = |at: usize| offsets.get(at).map(|offset| offset.get() as usize);
    let (mut at, Some(mut start)) = (lines.start, offset(lines.start)) else { return };
    let blob = offset(lines.end).and_then(|end| blob.get(..end)).unwrap_or_default();
    while let Some(rest) = blob.get(start..)
        && let Some(found) = finder.find(rest)
    {
        let hit = start + found;
        at += lines_before(offsets.get(at + 1..).unwrap_or_default(), hit);
        let (Some(begin), Some(next)) = (offset(at), offset(at + 1)) else { break };
        if each(at, hit.saturating_sub(begin)).is_break() {
            break;
        }
        // Offsets of a hostile file need not grow; the scan does.
        start = next.max(hit + 1);
    }
}

/// How many of the lines that begin at `offsets` begin no later than `hit`: looked for in steps that double, since the
/// next hit is as often near as far.
fn lines_before(offsets: &[U32], hit: usize) -> usize {
    let is_before = |offset: &U32| offset.get() as usize <= hit;
    let (mut low, mut step) = (0, 1);
    while offsets.get(low + step - 1).is_some_and(is_before) {
        low += step;
        step *= 2;
    }
    let rest = offsets.get(low..).unwrap_or_default();
    low + rest.get(..step - 1).unwrap_or(rest).partition_point(is_before)
}

impl Snapshot {
    /// The shortest chain of relations from an explicitly installed package to `id`; empty when `id` is explicit itself
    /// or nothing that is explicit leads to it. Suggestions count only where nothing stronger leads there.
    pub fn why(&self, id: u32) -> Vec<Relation> {
        if !self.flags(id).contains(Flags::INSTALLED) || self.flags(id).contains(Flags::EXPLICIT) {
            return Vec::new();
        }
        let weakest = RELATIONS.len() as u32;
        let chain = self.chain_to(id, weakest - 1);
        if chain.is_empty() { self.chain_to(id, weakest) } else { chain }
    }

    fn chain_to(&self, id: u32, kinds: u32) -> Vec<Relation> {
        // For every package reached: the relation it was reached by, as (kind, package asked for).
        let mut reached: HashMap<u32, (u32, u32)> = HashMap::new();
        let mut queue = VecDeque::from([id]);
        while let Some(to) = queue.pop_front() {
            for (kind, from) in self.edges_to(to).filter(|(kind, _)| *kind < kinds) {
                if from == id || reached.contains_key(&from) {
                    continue;
                }
                reached.insert(from, (kind, to));
                if self.flags(from).contains(Flags::EXPLICIT) {
                    return self.walk(from, id, &reached);
                }
                queue.push_back(from);
            }
        }
        Vec::new()
    }

    fn walk(&self, mut from: u32, id: u32, reached: &HashMap<u32, (u32, u32)>) -> Vec<Relation> {
        let mut chain = Vec::new();
        while let Some((kind, to)) = reached.get(&from) {
            let kind = RELATIONS.get(*kind as usize).copied().unwrap_or_default();
            chain.push(Relation { from: self.name(from), kind: kind.to_owned(), to: self.name(*to) });
            if *to == id {
                break;
            }
            from = *to;
        }
        chain
    }
}
