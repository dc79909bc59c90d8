//! The same words, looked for by us and by `apt-cache search` in the same lists, give the same packages.
//!
//! Two throwaway copies of apt's state are used, so that nothing of the machine's changes: its own lists without
//! translations, and the same archives with their English descriptions, fetched with `apt-get update`. Both are
//! uncompressed and have apt's binary caches, without which `apt-cache` takes a second a word.
//!
//! What may differ is listed in [`Reason`], and every case of it is proved from the data; there is no tolerance.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/random.rs"]
mod random;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use omg::index::{Searcher, Snapshot};
use omg::package::{Flags, SearchMode, SearchQuery};
use random::Random;

/// How many random queries are asked besides the fixed ones.
const RANDOM_QUERIES: usize = 320;

/// `apt-cache` processes at once.
const WORKERS: usize = 2;

/// Queries that random words seldom give: whole names, parts of words, other cases and alphabets, digits, characters
/// that mean something to a regular expression, several terms.
const FIXED: [&str; 34] = [
    "firefox",
    "editor",
    "c",
    "lib",
    "vim",
    "É",
    "é",
    "ö",
    "Ω",
    "日本",
    "µ",
    "ß",
    "EDITOR",
    "FireFox",
    "7",
    "64",
    "x11",
    "lib32",
    "python3-",
    "-dev",
    "-",
    "g++",
    "libstdc++6",
    "0.1",
    "mail-transport-agent",
    "awk",
    "java-runtime",
    "zzzznothing",
    "web browser",
    "mail transport",
    "python3 json",
    "Editor VIM",
    "lib lib",
    "x-terminal-emulator a",
];

/// Why the two sets may differ for one package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reason {
    /// dpkg's status holds the long descriptions of installed packages, and `apt-cache search` reads them there even
    /// when no list has any; a search over names and summaries alone does not.
    InstalledDescription,
    /// apt keeps one description for all versions of a package that have the same `Description-md5`, and takes its text
    /// from a list where one has it. So of an installed version that no list has, it knows only the summary when a
    /// version in the lists shares the description; we read dpkg's status, which has all of it.
    SharedDescription,
    /// `apt-cache` marks the providers of a name while it walks the names in the order of its hash table, and skips a
    /// name that is completely marked already. So the providers of a package are missed when that package itself was
    /// marked first as the provider of another matching name.
    SkippedProvider,
    /// With several terms the marks of a provider that is visited later are passed on to its own providers.
    ProviderOfProvider,
}

/// One copy of apt's state.
struct Root {
    folder: tempfile::TempDir,
    languages: &'static str,
}

impl Root {
    fn new(languages: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("lists/partial")).unwrap();
        fs::create_dir(folder.path().join("cache")).unwrap();
        Self { folder, languages }
    }

    /// The machine's lists of packages, unpacked.
    fn of_machine() -> Self {
        let root = Self::new("none");
        let lists = checked(Command::new("apt-config").args(["shell", "LISTS", "Dir::State::lists/d"]));
        let lists = lists.trim().trim_start_matches("LISTS=").trim_matches('\'').to_owned();
        let mut copied = 0;
        for entry in fs::read_dir(lists).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            let to = root.lists().join(name);
            if name.ends_with("Release") || name.ends_with("Packages") {
                fs::copy(&path, to).unwrap();
            } else if path.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with("_Packages")) {
                let unpacked = Command::new("/usr/lib/apt/apt-helper").arg("cat-file").arg(&path).output().unwrap();
                assert!(unpacked.status.success(), "cannot unpack {}", path.display());
                fs::write(to.with_extension(""), unpacked.stdout).unwrap();
            } else {
                continue;
            }
            copied += 1;
        }
        assert!(copied > 0, "this machine has no package lists: run apt-get update");
        root.make_caches();
        root
    }

    /// The lists of the machine's sources with English descriptions, fetched.
    fn fetched() -> Self {
        let root = Self::new("en");
        // Read after the machine's own configuration, whose hooks would touch the machine.
        let settings = root.folder.path().join("apt.conf");
        let text = "#clear APT::Update;\n#clear Acquire::Languages;\nAPT::Sandbox::User \"root\";\n\
                    Acquire::GzipIndexes \"false\";\nAcquire::Retries \"3\";\n\
                    Acquire::IndexTargets::deb::DEP-11::DefaultEnabled \"false\";\n";
        fs::write(&settings, text).unwrap();
        let mut update = Command::new("apt-get");
        update.arg("-c").arg(&settings).args(root.options()).args([
            "-o",
            "APT::Update::Error-Mode=any",
            "-q",
            "update",
        ]);
        checked(&mut update);
        let translated = fs::read_dir(root.lists()).unwrap().filter(|entry| {
            entry.as_ref().is_ok_and(|entry| entry.file_name().to_string_lossy().ends_with("_Translation-en"))
        });
        assert!(translated.count() > 0, "apt fetched no English descriptions");
        root.make_caches();
        root
    }

    fn lists(&self) -> PathBuf {
        self.folder.path().join("lists")
    }

    fn settings(&self) -> Vec<String> {
        let folder = self.folder.path().display();
        vec![
            format!("Dir::State::lists={folder}/lists"),
            format!("Dir::Cache={folder}/cache"),
            "Dir::Cache::pkgcache=pkgcache.bin".to_owned(),
            "Dir::Cache::srcpkgcache=srcpkgcache.bin".to_owned(),
            format!("Acquire::Languages={}", self.languages),
        ]
    }

    fn options(&self) -> Vec<String> {
        self.settings().into_iter().flat_map(|setting| ["-o".to_owned(), setting]).collect()
    }

    fn make_caches(&self) {
        checked(Command::new("apt-cache").args(self.options()).arg("gencaches"));
        assert!(self.folder.path().join("cache/pkgcache.bin").exists(), "apt keeps no binary cache");
    }

    fn index(&self) -> Snapshot {
        let path = self.folder.path().join("index.snapshot");
        let mut helper = Command::new(env!("CARGO_BIN_EXE_omg-helper"));
        checked(helper.args(["index", "--backend", "apt"]).args(self.options()).arg("--output").arg(&path));
        Snapshot::open(&path).unwrap()
    }

    /// The names that `apt-cache search` prints.
    fn apt_search(&self, terms: &[String]) -> BTreeSet<String> {
        let patterns = terms.iter().map(|term| pattern(term));
        // C.UTF-8: with another locale's rules or none, letters beyond ASCII have no case.
        let found = checked(Command::new("apt-cache").args(self.options()).arg("search").arg("--").args(patterns));
        found.lines().filter_map(|line| line.split_once(" - ")).map(|(name, _)| name.to_owned()).collect()
    }

    /// Whether apt shows the same digest for the descriptions of several versions of a package.
    fn shares_a_description(&self, name: &str) -> bool {
        let shown = checked(Command::new("apt-cache").args(self.options()).args(["show", "--", name]));
        let digests: Vec<&str> = shown.lines().filter_map(|line| line.strip_prefix("Description-md5: ")).collect();
        digests.len() > 1 && digests.iter().all(|digest| *digest == digests[0])
    }

    /// [`Root::apt_search`] of every query.
    fn apt_searches(&self, queries: &[Vec<String>]) -> Vec<BTreeSet<String>> {
        let next = AtomicUsize::new(0);
        let answers = Mutex::new(BTreeMap::new());
        std::thread::scope(|scope| {
            for _ in 0..WORKERS {
                scope.spawn(|| {
                    while let Some((number, query)) = {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        queries.get(number).map(|query| (number, query))
                    } {
                        let found = self.apt_search(query);
                        answers.lock().unwrap().insert(number, found);
                    }
                });
            }
        });
        answers.into_inner().unwrap().into_values().collect()
    }
}

/// The extended regular expression that stands for exactly this text.
fn pattern(term: &str) -> String {
    term.chars().flat_map(|c| if r"\.[](){}*+?|^$".contains(c) { vec!['\\', c] } else { vec![c] }).collect()
}

fn checked(command: &mut Command) -> String {
    let output: Output =
        command.env("LC_ALL", "C.UTF-8").env_remove("APT_CONFIG").stdin(Stdio::null()).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{stderr}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn ours(snapshot: &Snapshot, searcher: &mut Searcher, terms: &[String], descriptions: bool) -> BTreeSet<String> {
    let query =
        SearchQuery { terms: terms.to_vec(), mode: SearchMode::Substring, descriptions, ..SearchQuery::default() };
    let found = searcher.search(snapshot, &query).unwrap();
    assert_eq!(
        Searcher::default().search(snapshot, &query).unwrap(),
        found,
        "{terms:?}: another order the second time"
    );
    let names: BTreeSet<String> = found.iter().map(|id| snapshot.bare_name(*id).to_owned()).collect();
    assert_eq!(names.len(), found.len(), "{terms:?}: a name twice");
    names
}

/// Fixed and random queries: names, their parts, words of summaries and descriptions, pieces of words; some in capitals,
/// some of two terms.
fn queries(random: &mut Random, snapshot: &Snapshot) -> Vec<Vec<String>> {
    let split = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let mut queries: Vec<Vec<String>> = FIXED.iter().map(|text| split(text)).collect();
    while queries.len() < FIXED.len() + RANDOM_QUERIES {
        let terms = if random.chance(8) { 2 } else { 1 };
        let id = random.below(snapshot.len()) as u32;
        let words: Vec<String> = (0..terms).filter_map(|_| word(random, snapshot, id)).collect();
        if words.len() == terms && !queries.contains(&words) {
            queries.push(words);
        }
    }
    queries
}

fn word(random: &mut Random, snapshot: &Snapshot, id: u32) -> Option<String> {
    let name = snapshot.bare_name(id).to_owned();
    let text = match random.below(5) {
        0 => name,
        1 => random.pick(&name.split('-').collect::<Vec<_>>()).to_string(),
        kind => {
            let details = snapshot.details(id).unwrap();
            let version = details.versions.first()?;
            let text = if kind == 2 { &version.summary } else { &version.description };
            let words: Vec<&str> = text
                .split_whitespace()
                .map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()))
                .filter(|word| !word.is_empty() && word.len() <= 40)
                .collect();
            if words.is_empty() {
                return None;
            }
            random.pick(&words).to_string()
        }
    };
    let letters: Vec<char> = text.chars().collect();
    let piece: String = if random.chance(4) && letters.len() > 4 {
        let from = random.below(letters.len() - 3);
        let length = 3 + random.below(letters.len() - from - 2);
        letters[from..from + length].iter().collect()
    } else {
        text
    };
    // An option is no word.
    let piece = piece.trim_start_matches('-').to_owned();
    let piece = if random.chance(4) { piece.to_uppercase() } else { piece };
    (!piece.is_empty()).then_some(piece)
}

/// What a package provides, over all its versions.
fn provided(snapshot: &Snapshot, name: &str) -> Vec<String> {
    let Some(id) = snapshot.find(name) else { return Vec::new() };
    let details = snapshot.details(id).unwrap();
    let fields = details.versions.iter().filter_map(|version| version.field("Provides"));
    let names = fields.flat_map(omg::package::split_relations);
    names.map(|part| part.split([' ', '(', ':']).next().unwrap_or_default().to_owned()).collect()
}

/// Whether a package is installed in a version that no list has.
fn is_installed_from_nowhere(snapshot: &Snapshot, name: &str) -> bool {
    let details = snapshot.find(name).map(|id| snapshot.details(id).unwrap());
    let versions = details.map(|details| details.versions).unwrap_or_default();
    versions.iter().any(|version| version.installed && version.candidate && version.repository == "local")
}

/// Whether a name, or one that its package provides at any distance, matches.
fn named_through(snapshot: &Snapshot, name: &str, term: &str, distance: usize) -> bool {
    name.to_lowercase().contains(&term.to_lowercase())
        || distance > 0
            && provided(snapshot, name).iter().any(|other| named_through(snapshot, other, term, distance - 1))
}

/// The reason why a package is in one of the sets only; none is a fault.
fn explain(
    root: &Root,
    snapshot: &Snapshot,
    terms: &[String],
    name: &str,
    in_ours: bool,
    described: &BTreeSet<String>,
) -> Option<Reason> {
    let provided = provided(snapshot, name);
    if in_ours {
        let by_description = !ours(snapshot, &mut Searcher::default(), terms, false).contains(name);
        if by_description && is_installed_from_nowhere(snapshot, name) && root.shares_a_description(name) {
            return Some(Reason::SharedDescription);
        }
        // It is found through names that it provides; each that matches belongs to a package that itself provides a
        // match, and so may have been marked before its turn.
        let skipped = terms.iter().any(|term| {
            let mut matching = provided.iter().filter(|other| named_through(snapshot, other, term, 0)).peekable();
            matching.peek().is_some()
                && matching.all(|other| {
                    terms.iter().all(|term| named_through(snapshot, other, term, 3))
                        && self::provided(snapshot, other).iter().any(|third| named_through(snapshot, third, term, 2))
                })
        });
        return skipped.then_some(Reason::SkippedProvider);
    }
    let is_installed = |id| snapshot.flags(id).contains(Flags::INSTALLED);
    if described.contains(name) && snapshot.find(name).is_some_and(is_installed) {
        return Some(Reason::InstalledDescription);
    }
    let through = terms.len() > 1
        && terms.iter().all(|term| {
            let single = std::slice::from_ref(term);
            ours(snapshot, &mut Searcher::default(), single, true).contains(name)
                || provided.iter().any(|other| named_through(snapshot, other, term, 3))
        });
    through.then_some(Reason::ProviderOfProvider)
}

/// Compares the answers to all queries; says how many packages were compared and how many differ for which reason.
fn compare(root: &Root, snapshot: &Snapshot, queries: &[Vec<String>], apt: &[BTreeSet<String>], descriptions: bool) {
    assert_eq!(queries.len(), apt.len());
    let mut searcher = Searcher::default();
    let mut reasons: BTreeMap<Reason, Vec<String>> = BTreeMap::new();
    let mut faults = Vec::new();
    let mut found = 0;
    for (terms, theirs) in queries.iter().zip(apt) {
        let own = ours(snapshot, &mut searcher, terms, descriptions);
        let described = match descriptions {
            true => BTreeSet::new(),
            // Only of installed packages are long descriptions known.
            false => ours(snapshot, &mut searcher, terms, true),
        };
        found += theirs.len();
        for name in own.symmetric_difference(theirs) {
            let in_ours = own.contains(name);
            match explain(root, snapshot, terms, name, in_ours, &described) {
                Some(reason) => reasons.entry(reason).or_default().push(format!("{} → {name}", terms.join(" "))),
                None => faults.push(format!("{terms:?}: {name} {}", if in_ours { "only ours" } else { "only apt's" })),
            }
        }
    }
    println!("{} queries, {found} packages found by apt-cache, descriptions {descriptions}", queries.len());
    for (reason, cases) in &reasons {
        println!("  {reason:?}: {} packages, for example {}", cases.len(), cases[..cases.len().min(8)].join(", "));
    }
    assert!(found > 10_000, "too little was found to compare anything");
    assert!(faults.is_empty(), "{} unexplained differences:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn without_translations_the_set_is_that_of_apt_cache() {
    let root = Root::of_machine();
    let snapshot = root.index();
    let queries = queries(&mut Random::of_test("names and summaries"), &snapshot);
    let apt = root.apt_searches(&queries);
    compare(&root, &snapshot, &queries, &apt, false);
    compare(&root, &snapshot, &queries, &apt, true);
}

#[test]
fn with_translations_the_set_is_that_of_apt_cache_and_the_command_line_gives_it() {
    let root = Root::fetched();
    let snapshot = root.index();
    let queries = queries(&mut Random::of_test("long descriptions"), &snapshot);
    let apt = root.apt_searches(&queries);
    compare(&root, &snapshot, &queries, &apt, true);

    let terms = ["compiler".to_owned()];
    let expected = ours(&snapshot, &mut Searcher::default(), &terms, true);
    assert!(expected.len() > ours(&snapshot, &mut Searcher::default(), &terms, false).len());
    for limit in ["0", "499"] {
        let home = Home::new(&root);
        let printed = home.omg(&["search", "--substring", "--descriptions", "--quiet", "--limit", limit, "compiler"]);
        let names: BTreeSet<String> = printed.lines().map(str::to_owned).collect();
        let wanted = if limit == "0" { expected.len() } else { expected.len().min(499) };
        assert_eq!(names.len(), wanted, "limit {limit}");
        assert!(names.is_subset(&expected), "limit {limit}: {:?}", names.difference(&expected).collect::<Vec<_>>());
    }
}

/// A user's folders, with a configuration that reads the given copy of apt's state.
struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    fn new(root: &Root) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options: Vec<String> = root.settings().iter().map(|setting| format!("{setting:?}")).collect();
        let helper = Path::new(env!("CARGO_BIN_EXE_omg-helper"));
        let text = format!("backend = \"apt\"\nhelper = {helper:?}\n[apt]\noptions = [{}]\n", options.join(", "));
        fs::create_dir_all(folder.path().join("config/omg")).unwrap();
        fs::write(folder.path().join("config/omg/config.toml"), text).unwrap();
        Self { folder }
    }

    /// What omg prints; with neither bus nor socket it asks an omgd of its own.
    fn omg(&self, arguments: &[&str]) -> String {
        let folder = |name: &str| self.folder.path().join(name);
        checked(
            Command::new(env!("CARGO_BIN_EXE_omg"))
                .env_clear()
                .env("PATH", std::env::var_os("PATH").unwrap_or_default())
                .env("HOME", folder("home"))
                .env("XDG_CONFIG_HOME", folder("config"))
                .env("XDG_DATA_HOME", folder("data"))
                .env("XDG_CACHE_HOME", folder("cache"))
                .env("OMG_DAEMON", env!("CARGO_BIN_EXE_omgd"))
                .args(arguments),
        )
    }
}
