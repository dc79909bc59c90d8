//! The index of databases of real size, with real names, relations and descriptions, beside pacman's own listings.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/debian_root.rs"]
mod debian_root;
#[path = "support/pacman_root.rs"]
mod pacman_root;
#[path = "support/random.rs"]
mod random;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use debian_root::{Machine, run};
use omg::index::{Searcher, Snapshot, View};
use omg::package::{Flags, ListQuery, SearchMode, SearchQuery};
use pacman_root::{HELPER, configure};
use random::Random;

/// Words that are searched for, and packages whose every field is compared.
const WORDS: usize = 20;
const COMPARED: usize = 400;

/// A machine whose only repository has `count` packages, all of the Debian lists where that is 0; what is installed here is
/// installed there, and one package is foreign.
fn machine(count: usize) -> Machine {
    let machine = pacman_root::machine();
    configure(&machine, "SigLevel = Never", &["big"]);
    let folder = tempfile::tempdir().unwrap();
    let databases = folder.path().join("databases");
    let generator = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/pacman_databases.py");
    run(Command::new("python3").arg(generator).arg(count.to_string()).arg(&databases));
    run(Command::new("cp").arg("--recursive").arg(databases.join(".")).arg(machine.path("/var/lib/pacman")));
    let foreign = "/var/lib/pacman/local/from-nowhere-1-1";
    machine.write(
        &format!("{foreign}/desc"),
        "%NAME%\nfrom-nowhere\n\n%VERSION%\n1-1\n\n%DESC%\nnot in a repository\n\n%ARCH%\nany\n\n",
    );
    machine.write(&format!("{foreign}/files"), "%FILES%\n");
    machine
}

fn index(machine: &Machine) -> Snapshot {
    machine.run(HELPER, &["index", "--output", "/root/packages.snapshot"]);
    Snapshot::open(&machine.path("/root/packages.snapshot")).unwrap()
}

/// The first words of the lines that pacman prints; nothing found is an error status of its own.
fn listed(machine: &Machine, arguments: &[&str]) -> BTreeSet<String> {
    let said = String::from_utf8(machine.try_run("pacman", arguments).stdout).unwrap();
    said.lines().map(|line| line.split_whitespace().next().unwrap().to_owned()).collect()
}

fn names(snapshot: &Snapshot, ids: impl IntoIterator<Item = u32>) -> BTreeSet<String> {
    ids.into_iter().map(|id| snapshot.name(id)).collect()
}

fn all(snapshot: &Snapshot) -> std::ops::Range<u32> {
    0..snapshot.len() as u32
}

fn agrees(count: usize, at_least: usize) {
    let mut random = Random::of_test("agrees");
    let machine = machine(count);
    let snapshot = index(&machine);

    // `-Sl` is `repository name version [installed]`, with the installed version where it is another one.
    let offered: BTreeSet<(String, String, bool)> = machine
        .run("pacman", &["-Sl"])
        .lines()
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            assert_eq!(words[0], "big");
            (words[1].to_owned(), words[2].to_owned(), words.len() > 3)
        })
        .collect();
    assert!(offered.len() >= at_least, "{} packages", offered.len());
    let ours = all(&snapshot).map(|id| (snapshot.row(id, View::Candidate), snapshot.flags(id)));
    let ours: BTreeSet<(String, String, bool)> = ours
        .filter(|(row, _)| row.repository == "big")
        .map(|(row, flags)| (row.name, row.version, flags.contains(Flags::INSTALLED)))
        .collect();
    assert!(ours == offered, "{:?}", ours.symmetric_difference(&offered).take(5).collect::<Vec<_>>());

    // `-Ss` is `repository/name version (groups) [installed]`, and below it the description.
    let said = machine.run("pacman", &["-Ss"]);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 2 * offered.len());
    for pair in lines.chunks(2) {
        let name = pair[0].strip_prefix("big/").unwrap().split(' ').next().unwrap();
        let row = snapshot.row(snapshot.find(name).unwrap(), View::Candidate);
        assert_eq!(Some(row.summary.as_str()), pair[1].strip_prefix("    "), "{name}");
    }

    for (flag, arguments) in [
        (Flags::INSTALLED, "-Qq"),
        (Flags::EXPLICIT, "-Qqe"),
        (Flags::ORPHAN, "-Qqdt"),
        (Flags::FOREIGN, "-Qqm"),
        (Flags::UPGRADABLE, "-Qqu"),
    ] {
        let ours = names(&snapshot, all(&snapshot).filter(|id| snapshot.flags(*id).contains(flag)));
        assert_eq!(ours, listed(&machine, &[arguments]), "{arguments}");
    }

    let groups: BTreeSet<String> = snapshot.groups().into_iter().map(|group| group.0).collect();
    assert_eq!(groups, listed(&machine, &["-Sg"]));
    let group = random.pick(&groups.into_iter().collect::<Vec<_>>()).clone();
    let members = ListQuery { group: Some(group.clone()), ..ListQuery::default() };
    let theirs = machine.run("pacman", &["-Sg", &group]);
    let theirs: BTreeSet<String> = theirs.lines().map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect();
    assert_eq!(names(&snapshot, snapshot.list(&members)), theirs, "{group}");

    fields_agree(&machine, &snapshot, &offered, &mut random);

    let mut searcher = Searcher::default();
    let offered: Vec<&str> = offered.iter().map(|(name, ..)| name.as_str()).collect();
    for _ in 0..WORDS {
        let parts: Vec<&str> = random.pick(&offered).split(['-', '.', '+']).filter(|part| part.len() > 1).collect();
        let Some(word) = parts.first() else { continue };
        let query =
            SearchQuery { terms: vec![(*word).to_owned()], mode: SearchMode::Substring, ..SearchQuery::default() };
        let found = searcher.search(&snapshot, &query).unwrap();
        let ours = names(&snapshot, found.into_iter().filter(|id| !snapshot.flags(*id).contains(Flags::FOREIGN)));
        let theirs = listed(&machine, &["-Ssq", word]);
        assert!(ours.is_subset(&theirs), "{word}: {:?}", ours.difference(&theirs).take(5).collect::<Vec<_>>());
        // pacman also searches groups, for which there is `omg list --group`, and what is provided.
        for name in theirs.difference(&ours) {
            let details = snapshot.details(snapshot.find(name).unwrap()).unwrap();
            let version = details.versions.iter().find(|version| version.repository == "big").unwrap();
            let others = [version.field("Groups"), version.field("Provides")].map(Option::unwrap_or_default);
            assert!(others.iter().any(|value| value.to_lowercase().contains(word)), "{word}: {name}: {others:?}");
        }
    }
}

/// What `pacman -Si` says of some packages, field by field.
fn fields_agree(
    machine: &Machine,
    snapshot: &Snapshot,
    offered: &BTreeSet<(String, String, bool)>,
    random: &mut Random,
) {
    let offered: Vec<&str> = offered.iter().map(|(name, ..)| name.as_str()).collect();
    let chosen: BTreeSet<&str> = (0..COMPARED).map(|_| *random.pick(&offered)).collect();
    let mut arguments = vec!["-Si"];
    arguments.extend(&chosen);
    let said = machine.run("pacman", &arguments);
    let mut compared = BTreeMap::new();
    for stanza in said.split("\n\n").filter(|stanza| !stanza.trim().is_empty()) {
        let mut fields: Vec<(&str, Vec<&str>)> = Vec::new();
        for line in stanza.lines() {
            match line.split_once(" : ") {
                Some((field, value)) if !line.starts_with(' ') => fields.push((field.trim(), vec![value.trim()])),
                _ => fields.last_mut().unwrap().1.push(line.trim()),
            }
        }
        let name = fields.iter().find(|(field, _)| *field == "Name").unwrap().1[0];
        let details = snapshot.details(snapshot.find(name).unwrap()).unwrap();
        let ours = details.versions.iter().find(|version| version.repository == "big").unwrap();
        for (field, values) in fields {
            let values: Vec<&str> = values.into_iter().filter(|value| *value != "None").collect();
            let record = ours.field(field).unwrap_or_default();
            let record: BTreeSet<&str> = match field {
                "Version" => [ours.version.as_str()].into(),
                "Description" => [ours.summary.trim()].into(),
                "Architecture" => [ours.arch.as_str()].into(),
                "URL" | "Packager" => [record].into(),
                "Licenses" | "Groups" | "Provides" | "Depends On" | "Conflicts With" | "Replaces" => {
                    record.split(',').map(str::trim).filter(|word| !word.is_empty()).collect()
                }
                "Optional Deps" => record.lines().map(str::trim).filter(|line| !line.is_empty()).collect(),
                _ => continue,
            };
            let theirs: BTreeSet<&str> = match field {
                "Licenses" | "Groups" | "Provides" | "Depends On" | "Conflicts With" | "Replaces" => values
                    .iter()
                    .flat_map(|value| value.split("  "))
                    .map(str::trim)
                    .filter(|word| !word.is_empty())
                    .collect(),
                "Optional Deps" => values.iter().map(|line| line.trim_end_matches(" [installed]")).collect(),
                _ => values.into_iter().collect(),
            };
            assert_eq!(record, theirs, "{name}: {field}");
            *compared.entry(field.to_owned()).or_insert(0) += usize::from(!theirs.is_empty());
        }
    }
    // Each was there to be compared.
    for field in
        ["Version", "Description", "URL", "Groups", "Provides", "Depends On", "Conflicts With", "Optional Deps"]
    {
        assert!(compared.get(field).is_some_and(|count| *count > 0), "{field}: {compared:?}");
    }
}

#[test]
fn fifteen_thousand_packages_are_as_pacman_lists_them() {
    agrees(15_000, 15_000);
}

#[test]
fn all_packages_of_a_distribution_are_as_pacman_lists_them() {
    agrees(0, 55_000);
}
