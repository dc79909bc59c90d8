//! Snapshots survive hostile files, and searches rank as documented.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed step of a test is a failed test")]

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use omg::index::{Builder, Entry, Fingerprint, Inputs, Meta, OpenError, Searcher, Snapshot, Version, View};
use omg::package::{Flags, ListQuery, PackageDetails, SearchMode, SearchQuery, VersionDetails};

/// (name, flags, summary, long description, provided names)
type Sample = (&'static str, Flags, &'static str, &'static str, &'static [&'static str]);

const SAMPLES: [Sample; 9] = [
    ("vim-tiny", Flags::empty(), "Vi IMproved - enhanced vi editor - compact version", "small", &["editor"]),
    ("vim", Flags::INSTALLED.union(Flags::EXPLICIT), "Vi IMproved - enhanced vi editor", "big", &["editor"]),
    ("gvim", Flags::empty(), "Graphical editor", "", &[]),
    ("neovim", Flags::INSTALLED, "heavily refactored vim fork", "", &["editor", "vi"]),
    ("python3-vim-tools", Flags::empty(), "Tools", "", &[]),
    ("vidma", Flags::empty(), "Émulateur Ω", "nothing like the others", &[]),
    (
        "emacs",
        Flags::INSTALLED.union(Flags::UPGRADABLE),
        "GNU Emacs editor",
        "An extensible VIM competitor",
        &["editor"],
    ),
    ("libfoo", Flags::INSTALLED.union(Flags::ORPHAN), "a library", "", &[]),
    ("zsh", Flags::INSTALLED.union(Flags::HELD), "shell with lots of features", "", &[]),
];

fn build(path: &Path) {
    let mut builder = Builder::new("amd64");
    let mut ids = std::collections::HashMap::new();
    for (name, flags, summary, description, provides) in SAMPLES {
        let provides: Vec<String> = provides.iter().map(|name| (*name).to_owned()).collect();
        let version = Version { version: "1.0-1", arch: "amd64", repository: "bookworm/main" };
        let newer = Version { version: "2.0-1", ..version };
        let entry = Entry {
            name,
            arch: "amd64",
            preferred: true,
            flags,
            candidate: Some(if flags.contains(Flags::UPGRADABLE) { newer } else { version }),
            installed: flags.contains(Flags::INSTALLED).then_some(version),
            download_size: 1000,
            summary,
            description,
            provides: &provides,
        };
        let details = PackageDetails {
            versions: vec![VersionDetails {
                version: "1.0-1".into(),
                record: format!("Package: {name}\nVersion: 1.0-1"),
                description: description.into(),
                ..VersionDetails::default()
            }],
            pin: None,
        };
        ids.insert(name, builder.add(&entry, &details).unwrap());
    }
    builder.relate(ids["vim"], "Depends", ids["neovim"]);
    builder.relate(ids["neovim"], "Recommends", ids["emacs"]);
    builder.relate(ids["vim"], "Suggests", ids["libfoo"]);
    let meta = Meta { inputs: Inputs { backend: "apt".into(), ..Inputs::default() }, generation: 7, ..Meta::default() };
    let fingerprint = Fingerprint::take([PathBuf::from("/nonexistent/status")]);
    builder.write(meta, &fingerprint, &mut File::create(path).unwrap()).unwrap();
}

fn sample() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sample.snapshot");
    build(&path);
    (folder, path)
}

fn search(snapshot: &Snapshot, query: &SearchQuery) -> Vec<String> {
    let found = Searcher::default().search(snapshot, query).unwrap();
    found.iter().map(|id| snapshot.name(*id)).collect()
}

fn terms(terms: &[&str], mode: SearchMode) -> SearchQuery {
    SearchQuery { terms: terms.iter().map(|term| (*term).to_owned()).collect(), mode, ..SearchQuery::default() }
}

#[test]
fn rows_and_details_are_what_was_added() {
    let (_folder, path) = sample();
    let snapshot = Snapshot::open(&path).unwrap();
    assert_eq!(snapshot.len(), SAMPLES.len());
    assert_eq!((snapshot.meta().generation, snapshot.meta().counts.installed), (7, 5));
    let emacs = snapshot.find("emacs").unwrap();
    let row = snapshot.row(emacs, View::Candidate);
    assert_eq!((row.version.as_str(), row.summary.as_str(), row.download_size), ("2.0-1", "GNU Emacs editor", 1000));
    assert_eq!(snapshot.row(emacs, View::Installed).version, "1.0-1");
    assert_eq!(snapshot.find("emacs:amd64"), Some(emacs));
    assert_eq!(snapshot.find("emacs:i386"), None);
    assert_eq!(snapshot.find("emac"), None);
    assert_eq!(snapshot.details(emacs).unwrap().versions[0].field("package"), Some("emacs"));
    let updates = snapshot.updates(omg::package::UpdatesState::Possible);
    assert_eq!((updates.len(), updates[0].from.as_str(), updates[0].to.as_str()), (1, "1.0-1", "2.0-1"));
    let orphans = snapshot.list(&ListQuery { orphans: Some(true), ..ListQuery::default() });
    assert_eq!(orphans, [snapshot.find("libfoo").unwrap()]);
    assert_eq!(snapshot.list(&ListQuery { repository: Some("main".into()), ..ListQuery::default() }).len(), 9);
    assert_eq!(snapshot.names_with_prefix("vi", 2), ["vidma", "vim"]);
    assert_eq!(snapshot.nearest_names("emcas", 3), ["emacs"]);
    assert_eq!(snapshot.providers("vi"), [snapshot.find("neovim").unwrap()]);
}

#[test]
fn a_mistyped_name_suggests_what_begins_alike_and_one_name_of_a_family() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("names.snapshot");
    let mut builder = Builder::new("amd64");
    let version = Version { version: "1", arch: "amd64", repository: "bookworm/main" };
    for name in [
        "curl",
        "firefox-esr",
        "firefox-esr-l10n-af",
        "firefox-esr-l10n-all",
        "git",
        "gist",
        "python3",
        "python3-pip",
        "ripgrep",
        "tirex",
        "vim",
        "xfig",
    ] {
        let entry = Entry {
            name,
            arch: "amd64",
            preferred: true,
            flags: Flags::empty(),
            candidate: Some(version),
            installed: None,
            download_size: 1,
            summary: "",
            description: "",
            provides: &[],
        };
        builder.add(&entry, &PackageDetails::default()).unwrap();
    }
    let meta = Meta { inputs: Inputs { backend: "apt".into(), ..Inputs::default() }, ..Meta::default() };
    builder.write(meta, &Fingerprint::default(), &mut File::create(&path).unwrap()).unwrap();
    let snapshot = Snapshot::open(&path).unwrap();
    for (typed, expected) in [
        ("firefx", &["firefox-esr", "tirex"][..]),
        ("fierfox", &["firefox-esr"]),
        ("gti", &["git"]),
        ("gits", &["git", "gist"]),
        ("pyhton3", &["python3", "python3-pip"]),
        ("ripgerp", &["ripgrep"]),
        ("crul", &["curl"]),
        ("xy", &[]),
        ("unheard-of", &[]),
    ] {
        assert_eq!(snapshot.nearest_names(typed, 3), expected, "{typed}");
    }
    assert_eq!(snapshot.nearest_names("firefx", 1), ["firefox-esr"]);
}

#[test]
fn exact_then_prefix_then_word_then_substring_then_fuzzy_then_summary() {
    let (_folder, path) = sample();
    let snapshot = Snapshot::open(&path).unwrap();
    let found = search(&snapshot, &terms(&["VIM"], SearchMode::Substring));
    assert_eq!(found, ["vim", "vim-tiny", "python3-vim-tools", "gvim", "neovim"]);
    let found = search(&snapshot, &terms(&["vim"], SearchMode::Fuzzy));
    assert_eq!(found, ["vim", "vim-tiny", "python3-vim-tools", "gvim", "neovim"]);
    assert_eq!(search(&snapshot, &terms(&["vim"], SearchMode::Exact)), ["vim"]);
    let mut query = terms(&["vim"], SearchMode::Substring);
    query.descriptions = true;
    assert_eq!(search(&snapshot, &query).last().unwrap(), "emacs");
    assert_eq!(search(&snapshot, &terms(&["émulateur", "ω"], SearchMode::Substring)), ["vidma"]);
    assert_eq!(search(&snapshot, &terms(&["editor", "gnu"], SearchMode::Substring)), ["emacs"]);
    assert_eq!(search(&snapshot, &terms(&["neovm"], SearchMode::Fuzzy)), ["neovim"]);
    assert!(search(&snapshot, &terms(&["neovm"], SearchMode::Substring)).is_empty());
}

#[test]
fn a_limit_cuts_the_tail() {
    let (_folder, path) = sample();
    let snapshot = Snapshot::open(&path).unwrap();
    let query = SearchQuery { limit: 2, ..terms(&["vim"], SearchMode::Substring) };
    let found = Searcher::default().search(&snapshot, &query).unwrap();
    assert_eq!(found.iter().map(|id| snapshot.name(*id)).collect::<Vec<_>>(), ["vim", "vim-tiny"]);
    let query = SearchQuery { sources: vec!["aur".into()], ..query };
    assert!(Searcher::default().search(&snapshot, &query).unwrap().is_empty());
}

#[test]
fn why_names_the_shortest_chain_from_an_explicit_package() {
    let (_folder, path) = sample();
    let snapshot = Snapshot::open(&path).unwrap();
    let why = |name: &str| {
        let chain = snapshot.why(snapshot.find(name).unwrap());
        chain.iter().map(|step| format!("{} {} {}", step.from, step.kind, step.to)).collect::<Vec<_>>()
    };
    assert_eq!(why("emacs"), ["vim Depends neovim", "neovim Recommends emacs"]);
    assert_eq!(why("libfoo"), ["vim Suggests libfoo"]);
    assert!(why("vim").is_empty());
    assert!(why("zsh").is_empty());
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let (folder, path) = sample();
    let whole = std::fs::read(&path).unwrap();
    let cut = folder.path().join("cut");
    for length in 0..whole.len() {
        std::fs::write(&cut, &whole[..length]).unwrap();
        assert!(Snapshot::open(&cut).is_err(), "cut at {length}");
    }
}

#[test]
fn a_changed_byte_is_refused_or_found_when_its_block_is_read() {
    let (folder, path) = sample();
    let whole = std::fs::read(&path).unwrap();
    let changed = folder.path().join("changed");
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        File::create(&changed).unwrap().write_all(&bytes).unwrap();
        let Ok(snapshot) = Snapshot::open(&changed) else { continue };
        let query = SearchQuery { descriptions: true, ..terms(&["vim"], SearchMode::Fuzzy) };
        let details = snapshot.find("vim").map(|id| snapshot.details(id));
        let searched = Searcher::default().search(&snapshot, &query);
        assert!(searched.is_err() || !matches!(details, Some(Ok(_))), "byte {at} went unnoticed");
    }
}

#[test]
fn another_format_a_foreign_file_a_folder_and_a_link_are_told_apart() {
    let (folder, path) = sample();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[8] = 99;
    let other = folder.path().join("other");
    std::fs::write(&other, &bytes).unwrap();
    assert!(matches!(Snapshot::open(&other), Err(OpenError::Version(99))));
    std::fs::write(&other, vec![b'x'; 4096]).unwrap();
    assert!(matches!(Snapshot::open(&other), Err(OpenError::Foreign)));
    assert!(matches!(Snapshot::open(folder.path()), Err(OpenError::Foreign)));
    std::os::unix::fs::symlink(&path, folder.path().join("link")).unwrap();
    assert!(matches!(Snapshot::open(&folder.path().join("link")), Err(OpenError::Io(_))));
}

#[test]
fn a_file_cut_while_it_is_open_is_noticed() {
    let (_folder, path) = sample();
    let snapshot = Snapshot::open(&path).unwrap();
    assert!(snapshot.is_intact());
    File::options().write(true).open(&path).unwrap().set_len(10).unwrap();
    assert!(!snapshot.is_intact());
}
