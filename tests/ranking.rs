//! Searches over thousands of made-up packages against a plain model of what a search means.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a failed step fails the test")]

#[path = "support/random.rs"]
mod random;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use omg::index::{Builder, Entry, Fingerprint, Inputs, Meta, Searcher, Snapshot, Version};
use omg::package::{Flags, PackageDetails, SearchMode, SearchQuery};
use random::Random;

const PACKAGES: usize = 5000;
const TERMS: usize = 150;

/// Pieces of names and words of summaries: few, so that they meet often.
const PIECES: [&str; 32] = [
    "lib", "python3", "vim", "editor", "x11", "gtk", "perl", "dev", "doc", "Foo", "bar", "qt6", "a", "z", "c++",
    "utils", "common", "data", "json", "Zürich", "émile", "ΩMEGA", "net", "web", "mail", "fire", "fox", "0ad", "gcc",
    "bin", "ruby", "日本",
];

/// One made-up package, as the model sees it.
#[derive(Debug, Clone)]
struct Made {
    name: String,
    flags: Flags,
    candidate: bool,
    summary: String,
    description: String,
    provides: Vec<String>,
}

fn joined(random: &mut Random, most: usize, between: &str) -> String {
    let count = 1 + random.below(most);
    (0..count).map(|_| *random.pick(&PIECES)).collect::<Vec<_>>().join(between)
}

fn packages(random: &mut Random, folded: bool) -> Vec<Made> {
    let mut made: BTreeMap<String, Made> = BTreeMap::new();
    while made.len() < PACKAGES {
        let between = *random.pick(&["-", "", ".", "-"]);
        let name = joined(random, 4, between);
        let name = if folded { name.to_lowercase() } else { name };
        let installed = random.chance(10);
        let package = Made {
            flags: if installed { Flags::INSTALLED } else { Flags::empty() },
            candidate: !installed || random.chance(2),
            summary: joined(random, 8, " "),
            description: if random.chance(2) { joined(random, 30, " ") } else { String::new() },
            provides: (0..random.below(8).saturating_sub(5)).map(|_| joined(random, 2, "-")).collect(),
            name: name.clone(),
        };
        made.insert(name, package);
    }
    made.into_values().collect()
}

fn index(path: &Path, packages: &[&Made]) -> Snapshot {
    let mut builder = Builder::new("amd64");
    for package in packages {
        let version = Version { version: "1.0-1", arch: "amd64", repository: "sid/main" };
        let entry = Entry {
            name: &package.name,
            arch: "amd64",
            preferred: true,
            flags: package.flags,
            candidate: package.candidate.then_some(version),
            installed: package.flags.contains(Flags::INSTALLED).then_some(version),
            download_size: 1,
            summary: &package.summary,
            description: &package.description,
            provides: &package.provides,
        };
        builder.add(&entry, &PackageDetails::default()).unwrap();
    }
    let meta = Meta { inputs: Inputs { backend: "apt".into(), ..Inputs::default() }, ..Meta::default() };
    builder.write(meta, &Fingerprint::default(), &mut std::fs::File::create(path).unwrap()).unwrap();
    Snapshot::open(path).unwrap()
}

/// The world of one test.
struct World {
    random: Random,
    packages: BTreeMap<String, Made>,
    snapshot: Snapshot,
    searcher: Searcher,
    _folder: tempfile::TempDir,
}

impl World {
    /// One with names in any case, and one as distributions have them, all of lower case.
    fn both(test: &str) -> [Self; 2] {
        [Self::new(&format!("{test}, any case"), false), Self::new(test, true)]
    }

    fn new(test: &str, folded: bool) -> Self {
        let mut random = Random::of_test(test);
        let packages = packages(&mut random, folded);
        let folder = tempfile::tempdir().unwrap();
        let snapshot = index(&folder.path().join("index"), &packages.iter().collect::<Vec<_>>());
        let packages = packages.into_iter().map(|package| (package.name.clone(), package)).collect();
        Self { random, packages, snapshot, searcher: Searcher::default(), _folder: folder }
    }

    fn search(&mut self, query: &SearchQuery) -> Vec<String> {
        let found = self.searcher.search(&self.snapshot, query).unwrap();
        found.iter().map(|id| self.snapshot.name(*id)).collect()
    }

    fn name(&mut self) -> String {
        let position = self.random.below(self.packages.len());
        self.packages.keys().nth(position).unwrap().clone()
    }

    /// A whole name, a piece of one, or a word of a summary; in any case.
    fn term(&mut self) -> String {
        let name = self.name();
        let letters: Vec<char> = name.chars().collect();
        let term: String = match self.random.below(4) {
            0 => name,
            1 => (*self.random.pick(&PIECES)).to_owned(),
            _ => {
                let from = self.random.below(letters.len());
                let length = 1 + self.random.below(letters.len() - from);
                letters[from..from + length].iter().collect()
            }
        };
        if self.random.chance(4) { term.to_uppercase() } else { term }
    }
}

fn query(terms: &[&str], mode: SearchMode) -> SearchQuery {
    SearchQuery { terms: terms.iter().map(|term| (*term).to_owned()).collect(), mode, ..SearchQuery::default() }
}

/// How well a term matches a package without looking for single letters; smaller is better.
fn class(package: &Made, term: &str, descriptions: bool) -> Option<u8> {
    let (term, name) = (term.to_lowercase(), package.name.to_lowercase());
    let word = |at: usize| {
        let is_word = |c: char| c.is_ascii_alphanumeric() || !c.is_ascii();
        !name[..at].ends_with(is_word) && !name[at + term.len()..].starts_with(is_word)
    };
    let starts = name.char_indices().map(|(at, _)| at);
    let provides: Vec<String> = package.provides.iter().map(|name| name.to_lowercase()).collect();
    if name == term {
        Some(0)
    } else if name.starts_with(&term) {
        Some(1)
    } else if starts.filter(|at| name[*at..].starts_with(&term)).any(word) || provides.contains(&term) {
        Some(2)
    } else if name.contains(&term) || provides.iter().any(|name| name.contains(&term)) {
        Some(3)
    } else if package.summary.to_lowercase().contains(&term) {
        Some(5)
    } else if descriptions && package.description.to_lowercase().contains(&term) {
        Some(6)
    } else {
        None
    }
}

fn has_letters_in_order(name: &str, term: &str) -> bool {
    // The matcher takes accents off, so only the plain letters can be compared.
    let plain = |text: &str| text.to_lowercase().chars().filter(char::is_ascii).collect::<Vec<_>>();
    let (name, term) = (plain(name), plain(term));
    let mut letters = name.iter();
    term.iter().all(|letter| letters.any(|other| other == letter))
}

#[test]
fn a_substring_search_finds_exactly_what_matches_best_class_first() {
    for mut world in World::both("substring") {
        for _ in 0..TERMS {
            let term = world.term();
            for descriptions in [false, true] {
                let found = world.search(&SearchQuery { descriptions, ..query(&[&term], SearchMode::Substring) });
                let model = |package: &Made| class(package, &term, descriptions).filter(|_| package.candidate);
                let expected: BTreeSet<_> =
                    world.packages.values().filter(|package| model(package).is_some()).collect_names();
                assert_eq!(found.iter().cloned().collect::<BTreeSet<_>>(), expected, "{term:?}");
                let classes: Vec<_> = found.iter().map(|name| model(&world.packages[name])).collect();
                assert!(classes.is_sorted(), "{term:?}: {:?}", found.iter().zip(classes).collect::<Vec<_>>());
            }
        }
    }
}

#[test]
fn a_fuzzy_search_finds_more_and_nothing_without_the_letters() {
    for mut world in World::both("fuzzy") {
        for _ in 0..TERMS {
            let term = world.term();
            let strict = world.search(&query(&[&term], SearchMode::Substring));
            let found = world.search(&query(&[&term], SearchMode::Fuzzy));
            let set: BTreeSet<_> = found.iter().collect();
            assert!(strict.iter().all(|name| set.contains(name)), "{term:?}");
            let mut last = 0;
            for name in &found {
                let package = &world.packages[name];
                let class = class(package, &term, false).filter(|class| *class < 4).unwrap_or_else(|| {
                    let in_summary = class(package, &term, false).is_some();
                    assert!(in_summary || has_letters_in_order(name, &term), "{term:?} found {name}");
                    4
                });
                assert!(last <= class, "{term:?}: {name} comes too late");
                last = class;
            }
        }
    }
}

#[test]
fn the_exact_name_comes_first_in_every_mode() {
    for mut world in World::both("exact") {
        for _ in 0..TERMS {
            let name = world.name();
            let asked = if world.random.chance(3) { name.to_uppercase() } else { name.clone() };
            for mode in [SearchMode::Exact, SearchMode::Fuzzy, SearchMode::Substring] {
                if mode == SearchMode::Substring && !world.packages[&name].candidate {
                    continue;
                }
                let found = world.search(&query(&[&asked], mode));
                let first = found.first().map(|first| first.to_lowercase());
                assert_eq!(first, Some(name.to_lowercase()), "{asked:?} in mode {mode:?}");
                if mode == SearchMode::Exact {
                    assert!(found.iter().all(|found| found.to_lowercase() == name.to_lowercase()));
                }
            }
        }
    }
}

#[test]
fn several_terms_find_what_each_of_them_finds() {
    for mut world in World::both("terms") {
        for _ in 0..TERMS {
            let terms: Vec<String> = (0..2 + world.random.below(2)).map(|_| world.term()).collect();
            let descriptions = world.random.chance(2);
            for mode in [SearchMode::Fuzzy, SearchMode::Substring, SearchMode::Exact] {
                let mut ask = |terms: &[&str]| {
                    let found = world.search(&SearchQuery { descriptions, ..query(terms, mode) });
                    found.into_iter().collect::<BTreeSet<_>>()
                };
                let together = ask(&terms.iter().map(String::as_str).collect::<Vec<_>>());
                let each = terms.iter().map(|term| ask(&[term])).reduce(|a, b| &a & &b).unwrap();
                assert_eq!(together, each, "{terms:?} in mode {mode:?}");
            }
        }
    }
}

#[test]
fn limits_cut_and_filters_keep_the_order() {
    for mut world in World::both("limits") {
        for _ in 0..TERMS {
            let term = world.term();
            let mode = *world.random.pick(&[SearchMode::Fuzzy, SearchMode::Substring]);
            let all = world.search(&query(&[&term], mode));
            for limit in [1, 2, 10, 1 + world.random.below(all.len() + 2)] {
                let limited = SearchQuery { limit: limit as u32, ..query(&[&term], mode) };
                assert_eq!(world.search(&limited), all[..limit.min(all.len())], "{term:?} with limit {limit}");
            }
            let installed: Vec<_> =
                all.iter().filter(|name| world.packages[*name].flags.contains(Flags::INSTALLED)).cloned().collect();
            let filtered = SearchQuery { installed: true, ..query(&[&term], mode) };
            assert_eq!(world.search(&filtered), installed, "{term:?}");
            let limit = 1 + world.random.below(installed.len() + 2);
            let limited = world.search(&SearchQuery { limit: limit as u32, ..filtered });
            assert_eq!(limited, installed[..limit.min(installed.len())], "{term:?}, installed, with limit {limit}");
        }
    }
}

#[test]
fn the_answer_depends_on_neither_the_searcher_s_past_nor_the_order_of_building() {
    for mut world in World::both("determinism") {
        let folder = tempfile::tempdir().unwrap();
        let mut order: Vec<&Made> = world.packages.values().collect();
        for at in (1..order.len()).rev() {
            order.swap(at, world.random.below(at + 1));
        }
        let other = index(&folder.path().join("other"), &order);
        for _ in 0..TERMS {
            let terms = [world.term(), world.term()];
            let terms: Vec<&str> = terms.iter().take(1 + world.random.below(2)).map(String::as_str).collect();
            let query = SearchQuery { descriptions: true, ..query(&terms, SearchMode::Fuzzy) };
            let found = world.search(&query);
            assert_eq!(world.search(&query), found);
            let again = Searcher::default().search(&other, &query).unwrap();
            assert_eq!(again.iter().map(|id| other.name(*id)).collect::<Vec<_>>(), found, "{terms:?}");
        }
    }
}

trait Names {
    fn collect_names(self) -> BTreeSet<String>;
}

impl<'a, I: Iterator<Item = &'a Made>> Names for I {
    fn collect_names(self) -> BTreeSet<String> {
        self.map(|package| package.name.clone()).collect()
    }
}
