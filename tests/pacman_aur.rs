//! What is installed from the AUR, on pacman: its upgrades are in one list with those of the repositories.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/aur_server.rs"]
#[allow(dead_code, reason = "shared by test targets that each use a part")]
mod aur_server;
#[path = "support/debian_root.rs"]
mod debian_root;
#[path = "support/pacman_root.rs"]
mod pacman_root;

use std::collections::BTreeMap;
use std::path::Path;

use aur_server::{Answers, AurServer, entry};
use debian_root::Machine;
use omg::index::Snapshot;
use omg::package::{Flags, UpdatesState};
use pacman_root::{HELPER, configure, package, publish};
use serde_json::Value;

/// Installed from the AUR, as (name, installed, in the archive).
const FOREIGN: [(&str, &str, &str); 8] = [
    ("newer", "1.9-1", "1.10-1"),
    ("release", "1-1", "1-2"),
    ("same", "2-1", "2-1"),
    ("older", "3-1", "2-9"),
    ("tool-git", "r120.abcdef0-1", "r90.1234567-1"),
    ("epoch", "1:1-1", "9-1"),
    ("epoch-came", "9-1", "1:1-1"),
    ("ignored", "1-1", "2-1"),
];

fn machine() -> Machine {
    let machine = pacman_root::machine();
    configure(&machine, "IgnorePkg = ignored\nSigLevel = Never\nLocalFileSigLevel = Never", &["core"]);
    publish(&machine, "core", &[package("app", "1-1"), package("lib", "1-1")]);
    machine.run("pacman", &["-Sy", "--noconfirm", "app", "lib"]);
    std::fs::create_dir_all(machine.path("/root/built")).unwrap();
    let mut files = vec!["-U".to_owned(), "--noconfirm".to_owned()];
    for (name, version, _) in FOREIGN.into_iter().chain([("unlisted", "1-1", "")]) {
        let package = package(name, version);
        package.build(&machine.path("/root/built"));
        files.push(format!("/root/built/{}", package.file_name()));
    }
    machine.run("pacman", &files.iter().map(String::as_str).collect::<Vec<_>>());
    publish(&machine, "core", &[package("app", "2-1")]);
    // Whatever the times of both databases: they can be of one second.
    machine.run("pacman", &["-Syy", "--noconfirm"]);
    machine
}

/// The archive's entries; a repository's package is there under the same name too.
fn archive() -> Vec<Value> {
    let foreign = FOREIGN.into_iter().map(|(name, _, version)| entry(name, version, "From the AUR"));
    foreign.chain([entry("lib", "99-1", "Not the repository's"), entry("app-git", "5-1", "Not installed")]).collect()
}

/// What pacman's own comparison makes of it.
fn expected(machine: &Machine) -> BTreeMap<String, (String, String, String)> {
    let newer = |installed: &str, offered: &str| machine.run("vercmp", &[offered, installed]).trim() == "1";
    let mut updates: BTreeMap<_, _> = FOREIGN
        .into_iter()
        .filter(|(_, installed, offered)| newer(installed, offered))
        .map(|(name, from, to)| (name.to_owned(), (from.to_owned(), to.to_owned(), "aur".to_owned())))
        .collect();
    updates.insert("app".to_owned(), ("1-1".to_owned(), "2-1".to_owned(), "core".to_owned()));
    updates
}

#[test]
fn upgrades_from_the_aur_are_those_that_pacmans_comparison_finds() {
    let machine = machine();
    let archive = aur_server::packed(&serde_json::to_vec(&archive()).unwrap());
    machine.write("/root/aur.json.gz", archive);
    machine.run(HELPER, &["index", "--aur-archive", "/root/aur.json.gz", "--output", "/root/aur.snapshot"]);
    machine.run(HELPER, &["index", "--aur", "/root/aur.snapshot", "--output", "/root/packages.snapshot"]);
    let snapshot = Snapshot::open(&machine.path("/root/packages.snapshot")).unwrap();
    assert_eq!(snapshot.meta().warnings, Vec::<String>::new());
    let updates: BTreeMap<_, _> = snapshot
        .updates(UpdatesState::default())
        .into_iter()
        .map(|row| (row.name, (row.from, row.to, row.repository)))
        .collect();
    assert_eq!(updates, expected(&machine));
    assert_eq!(updates.len(), 5, "{updates:?}");
    assert_eq!(snapshot.meta().counts.upgradable, 5);
    let flags = |name: &str| snapshot.flags(snapshot.find(name).unwrap());
    assert!(flags("newer").contains(Flags::FOREIGN | Flags::UPGRADABLE));
    assert!(flags("ignored").contains(Flags::HELD | Flags::UPGRADABLE));
    assert!(!flags("tool-git").contains(Flags::UPGRADABLE) && !flags("unlisted").contains(Flags::UPGRADABLE));
    // The repository's package is nothing of the AUR's.
    let lib = snapshot.details(snapshot.find("lib").unwrap()).unwrap();
    assert!(lib.versions.iter().all(|version| version.repository == "core"), "{lib:?}");
    let newer = snapshot.details(snapshot.find("newer").unwrap()).unwrap();
    let versions: Vec<_> = newer
        .versions
        .iter()
        .map(|version| (version.version.as_str(), version.repository.as_str(), version.candidate, version.installed))
        .collect();
    assert_eq!(versions, [("1.10-1", "aur", true, false), ("1.9-1", "local", false, true)]);
    let aur = Path::new("/root/aur.snapshot");
    assert!(snapshot.fingerprint().sources.iter().any(|source| source.path == aur));
    // An index of the AUR's that cannot be read costs its upgrades and nothing else.
    machine.write("/root/aur.snapshot", "damaged");
    machine.run(HELPER, &["index", "--aur", "/root/aur.snapshot", "--output", "/root/packages.snapshot"]);
    let snapshot = Snapshot::open(&machine.path("/root/packages.snapshot")).unwrap();
    assert_eq!(
        snapshot.updates(UpdatesState::default()).iter().map(|row| row.name.as_str()).collect::<Vec<_>>(),
        ["app"]
    );
    assert!(snapshot.meta().warnings[0].starts_with("upgrades from the AUR are not known"));
}

#[test]
fn refresh_fetches_both_and_one_list_has_all_upgrades() {
    let machine = machine();
    let (_, programs) = pacman_root::pacman();
    for program in ["omg", "omgd", "omg-helper"] {
        machine.add_program(&programs.join(program), &format!("/usr/bin/{program}"));
    }
    let server = AurServer::new(&archive());
    machine.write("/root/.config/omg/config.toml", format!("[aur]\nurl = \"{}\"\n", server.url()));
    let lines = |text: String| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let objects =
        |text: String| -> Vec<Value> { text.lines().map(|line| serde_json::from_str(line).unwrap()).collect() };
    assert_eq!(lines(machine.run("omg", &["-q", "outdated"])), ["app"]);
    machine.run("omg", &["-q", "refresh"]);
    assert_eq!(server.archive_requests(), [None]);
    let updates: BTreeMap<_, _> = objects(machine.run("omg", &["outdated", "--json"]))
        .iter()
        .map(|row| {
            let text = |key: &str| row[key].as_str().unwrap().to_owned();
            (text("name"), (text("from"), text("to"), text("repository")))
        })
        .collect();
    assert_eq!(updates, expected(&machine));
    let names: Vec<String> = updates.keys().cloned().collect();
    assert_eq!(lines(machine.run("omg", &["-q", "list", "--upgradable"])), names);
    let status = &objects(machine.run("omg", &["status", "--json"]))[0];
    assert_eq!((&status["upgradable"], &status["aur_packages"]), (&5.into(), &10.into()), "{status}");
    assert_eq!(status["errors"], Value::Array(Vec::new()));
    // Each name once: what is installed with its state, what is not from the archive.
    assert_eq!(lines(machine.run("omg", &["-q", "search", "--substring", "app"])), ["app", "app-git"]);
    let found = objects(machine.run("omg", &["search", "--exact", "--json", "newer"]));
    assert_eq!(found.len(), 1);
    assert_eq!((&found[0]["repository"], &found[0]["version"]), (&"aur".into(), &"1.10-1".into()));
    assert_eq!(found[0]["flags"], serde_json::json!(["installed", "explicit", "upgradable", "foreign"]));
    // Of what is installed, what the AUR has.
    let from = lines(
        machine.run("omg", &["-q", "search", "--aur", "--installed", "--substring", "--limit", "0", "From the AUR"]),
    );
    assert_eq!(from.iter().collect::<std::collections::BTreeSet<_>>().len(), FOREIGN.len(), "{from:?}");
    assert!(FOREIGN.iter().all(|(name, ..)| from.iter().any(|found| found == name)), "{from:?}");
    assert_eq!(lines(machine.run("omg", &["-q", "search", "--aur", "--installed", "--exact", "newer"])), ["newer"]);
    assert!(!machine.try_run("omg", &["search", "--aur", "--installed", "--exact", "lib"]).status.success());
    // The AUR is gone: what was fetched still answers.
    server.set(Answers::Error);
    let said = machine.try_run("omg", &["info", "app-git"]);
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.status.success() && text.contains("Version: 5-1") && text.contains("Repository: aur"), "{said:?}");
    assert!(String::from_utf8_lossy(&said.stderr).contains("503"), "{said:?}");
}
