//! `omg-helper index` on pacman: the snapshot says what pacman says about the same databases.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/debian_root.rs"]
mod debian_root;
#[path = "support/pacman_root.rs"]
mod pacman_root;

use std::collections::{BTreeMap, BTreeSet};

use debian_root::Machine;
use omg::index::{Searcher, Snapshot, View};
use omg::package::{Flags, SearchMode, SearchQuery};
use pacman_root::{HELPER, configure, package, publish};

/// A machine with packages in every state.
fn machine() -> Machine {
    let machine = pacman_root::machine();
    let options = "HoldPkg = base\nIgnorePkg = kept\nIgnoreGroup = ignored\nSigLevel = Never";
    configure(&machine, options, &["core", "extra"]);
    publish(
        &machine,
        "core",
        &[
            package("base", "1-1").field("depend", "lib>=1").field("license", "MIT").field("license", "GPL-3.0-only"),
            package("lib", "1-1").field("provides", "libv.so=1-64").field("provides", "engine"),
            package("kept", "1-1"),
            package("grouped", "1-1").field("group", "ignored").field("group", "tools"),
            package("gone", "1-1"),
            package("orphan", "1-1"),
            package("wished", "1-1"),
            package("later", "2:1.0rc1-1"),
        ],
    );
    publish(
        &machine,
        "extra",
        &[
            package("app", "1-1")
                .field("depend", "engine")
                .field("depend", "base<2")
                .field("optdepend", "wished: for more, and for that too")
                .field("optdepend", "absent")
                .field("conflict", "old-app<1")
                .field("replaces", "old-app")
                .script("post_install() { :; }"),
            package("lib", "0.9-1"),
            package("lacking", "1-1").field("depend", "gone"),
            package("unknown", "3.1-2").field("provides", "engine=7"),
        ],
    );
    machine.run("pacman", &["-Sy", "--noconfirm"]);
    machine.run("pacman", &["-S", "--noconfirm", "app", "kept", "grouped", "lacking", "later"]);
    machine.run("pacman", &["-S", "--noconfirm", "--asdeps", "orphan", "wished"]);
    machine.run("pacman", &["-Rdd", "--noconfirm", "gone"]);
    publish(
        &machine,
        "core",
        &[
            package("base", "1.1-1").field("depend", "lib>=1"),
            package("kept", "2-1"),
            package("grouped", "2-1").field("group", "ignored"),
            package("later", "2:1.0-1"),
        ],
    );
    machine.run("repo-remove", &["--quiet", "/srv/core/core.db.tar", "orphan", "gone"]);
    machine.run("pacman", &["-Syy", "--noconfirm"]);
    machine
}

fn index(machine: &Machine) -> Snapshot {
    machine.run(HELPER, &["index", "--output", "/root/packages.snapshot"]);
    Snapshot::open(&machine.path("/root/packages.snapshot")).unwrap()
}

fn named(snapshot: &Snapshot, flag: Flags) -> BTreeSet<String> {
    (0..snapshot.len() as u32).filter(|id| snapshot.flags(*id).contains(flag)).map(|id| snapshot.name(id)).collect()
}

/// Names that pacman lists; nothing listed is an error status of its own.
fn listed(machine: &Machine, arguments: &[&str]) -> BTreeSet<String> {
    let said = String::from_utf8(machine.try_run("pacman", arguments).stdout).unwrap();
    said.lines().map(|line| line.split_whitespace().next().unwrap().to_owned()).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// The fields that pacman shows of one package, lists as their sorted words.
fn shown(machine: &Machine, arguments: &[&str]) -> BTreeMap<String, String> {
    let said = machine.run("pacman", arguments);
    let mut fields: BTreeMap<String, String> = BTreeMap::new();
    let mut name = String::new();
    for line in said.lines().take_while(|line| !line.is_empty()) {
        match line.split_once(" : ") {
            Some((field, value)) if !line.starts_with(' ') => {
                field.trim().clone_into(&mut name);
                fields.insert(name.clone(), value.trim().to_owned());
            }
            _ => {
                let value = fields.get_mut(&name).unwrap();
                value.push('\n');
                value.push_str(line.trim());
            }
        }
    }
    fields
}

#[test]
fn states_are_those_of_pacman() {
    let machine = machine();
    let snapshot = index(&machine);
    for (flag, arguments, expected) in [
        (Flags::EXPLICIT, "-Qqe", set(&["app", "grouped", "kept", "lacking", "later"])),
        (Flags::ORPHAN, "-Qqdt", set(&["orphan"])),
        (Flags::FOREIGN, "-Qqm", set(&["orphan"])),
        (Flags::UPGRADABLE, "-Qqu", set(&["base", "grouped", "kept", "later"])),
    ] {
        assert_eq!(named(&snapshot, flag), expected, "{flag:?}");
        assert_eq!(listed(&machine, &[arguments]), expected, "{arguments}");
    }
    assert_eq!(named(&snapshot, Flags::INSTALLED), listed(&machine, &["-Qq"]));
    assert_eq!(named(&snapshot, Flags::HELD), set(&["grouped", "kept"]));
    assert_eq!(named(&snapshot, Flags::ESSENTIAL), set(&["base"]));
    assert_eq!(named(&snapshot, Flags::BROKEN), set(&["lacking"]));
    let updates: Vec<String> = snapshot
        .updates(omg::package::UpdatesState::Possible)
        .into_iter()
        .map(|row| format!("{} {} -> {}", row.name, row.from, row.to))
        .collect();
    let theirs = machine.run("pacman", &["-Qu"]).replace(" [ignored]", "");
    assert_eq!(updates.join("\n"), theirs.trim_end());
    assert_eq!(snapshot.meta().warnings, Vec::<String>::new());
    assert!(snapshot.meta().last_refresh > 0);
}

#[test]
fn every_field_that_pacman_shows_is_known() {
    let machine = machine();
    let snapshot = index(&machine);
    let lists =
        ["Licenses", "Groups", "Provides", "Depends On", "Conflicts With", "Replaces", "Required By", "Optional For"];
    let words = |text: &str, separator: &str| {
        let mut words: Vec<String> =
            text.split(separator).map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect();
        words.sort_unstable();
        words
    };
    let mut compared = 0;
    for name in machine.run("pacman", &["-Slq"]).lines().collect::<BTreeSet<_>>() {
        let details = snapshot.details(snapshot.find(name).unwrap()).unwrap();
        let installed = !machine.try_run("pacman", &["-Qq", name]).stdout.is_empty();
        let mut asked: Vec<(Vec<String>, &str)> = details
            .versions
            .iter()
            .filter(|version| version.repository != "local")
            .map(|version| {
                (vec!["-Si".to_owned(), format!("{}/{name}", version.repository)], version.repository.as_str())
            })
            .collect();
        if installed {
            asked.push((vec!["-Qi".to_owned(), name.to_owned()], ""));
        }
        for (arguments, repository) in asked {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let theirs = shown(&machine, &arguments);
            let ours = details
                .versions
                .iter()
                .find(
                    |version| if repository.is_empty() { version.installed } else { version.repository == repository },
                )
                .unwrap();
            for (field, value) in &theirs {
                let value = if value == "None" { "" } else { value };
                let record = ours.field(field).unwrap_or_default();
                match field.as_str() {
                    "Name" | "Repository" | "Signatures" | "Download Size" | "Installed Size" | "MD5 Sum" => continue,
                    "Version" => assert_eq!(ours.version, value, "{name}"),
                    "Description" => assert_eq!(ours.summary, value, "{name}"),
                    "Architecture" => assert_eq!(ours.arch, value, "{name}"),
                    "Build Date" => assert!(record == "1700000000" && value.contains("2023"), "{record} {value}"),
                    "Install Date" => assert!(record.parse::<u64>().unwrap() > 1_700_000_000, "{record}"),
                    "Install Reason" => assert_eq!(record == "explicit", value.starts_with("Explicitly"), "{name}"),
                    "Install Script" => assert_eq!(record, value.to_lowercase(), "{name}"),
                    // pacman names what a file in hand was checked by; a repository's record what it offers.
                    "Validated By" if repository.is_empty() => assert_eq!(
                        record.is_empty() || record == "none" || record == "sha256",
                        !value.is_empty(),
                        "{name}: {record} {value}"
                    ),
                    "Validated By" => {}
                    "Optional Deps" => {
                        let theirs: Vec<&str> =
                            value.lines().map(|line| line.trim_end_matches(" [installed]")).collect();
                        let ours: Vec<&str> = record.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
                        assert_eq!(ours, theirs.into_iter().filter(|line| !line.is_empty()).collect::<Vec<_>>());
                    }
                    // Those of the installed version are in its own record.
                    _ if lists.contains(&field.as_str()) => {
                        assert_eq!(words(record, ","), words(&value.replace('\n', " "), "  "), "{name}: {field}");
                    }
                    _ => assert_eq!(record, value, "{name}: {field}"),
                }
                compared += 1;
            }
        }
    }
    assert!(compared > 150, "{compared} fields were compared");
}

#[test]
fn the_first_repository_that_has_a_package_offers_it() {
    let machine = machine();
    let snapshot = index(&machine);
    let lib = snapshot.details(snapshot.find("lib").unwrap()).unwrap();
    let versions: Vec<_> =
        lib.versions.iter().map(|v| (v.version.as_str(), v.repository.as_str(), v.candidate, v.installed)).collect();
    assert_eq!(versions, [("1-1", "core", true, true), ("0.9-1", "extra", false, false)]);
    let row = snapshot.row(snapshot.find("orphan").unwrap(), View::Candidate);
    assert_eq!((row.version.as_str(), row.repository.as_str()), ("1-1", "local"));
    let providers =
        |name: &str| -> BTreeSet<String> { snapshot.providers(name).into_iter().map(|id| snapshot.name(id)).collect() };
    assert_eq!(providers("engine"), set(&["lib", "unknown"]));
    let why: Vec<_> =
        snapshot.why(snapshot.find("lib").unwrap()).into_iter().map(|step| (step.from, step.to)).collect();
    assert_eq!(why.last().map(|(_, to)| to.as_str()), Some("lib"), "{why:?}");
    assert_eq!(why.first().map(|(from, _)| from.as_str()), Some("app"), "{why:?}");
}

#[test]
fn substring_search_finds_what_pacman_finds() {
    let machine = machine();
    let snapshot = index(&machine);
    let mut searcher = Searcher::default();
    for word in ["a", "lib", "of a test", "unk", "zzz", "kept", "Base"] {
        let theirs: BTreeSet<String> = listed(&machine, &["-Ssq", word]);
        // What only the local database has is no answer of pacman -Ss.
        let query = SearchQuery { terms: vec![word.to_owned()], mode: SearchMode::Substring, ..SearchQuery::default() };
        let ours: BTreeSet<String> = searcher
            .search(&snapshot, &query)
            .unwrap()
            .into_iter()
            .filter(|id| !snapshot.flags(*id).contains(Flags::FOREIGN))
            .map(|id| snapshot.name(id))
            .collect();
        assert_eq!(ours, theirs, "{word}");
    }
}

#[test]
fn every_change_of_pacmans_shows_in_the_fingerprint() {
    let machine = machine();
    let mut snapshot = index(&machine);
    let changed = |machine: &Machine, snapshot: &Snapshot, what: &str| {
        // The stamps are of paths inside the machine.
        let moved = snapshot.fingerprint().sources.iter().any(|source| {
            let path = machine.path(source.path.to_str().unwrap());
            omg::stamp::Stamp::of(&path).unwrap() != source.stamp
        });
        assert!(moved, "{what}");
    };
    let steps: [(&str, &[&str]); 6] = [
        ("a mark", &["pacman", "-D", "--asdeps", "kept"]),
        ("an installation", &["pacman", "-S", "--noconfirm", "unknown"]),
        ("a removal", &["pacman", "-R", "--noconfirm", "unknown"]),
        ("a refresh", &["pacman", "-Syy", "--noconfirm"]),
        ("a setting", &["sh", "-c", "echo '#' >>/etc/pacman.conf"]),
        ("an included file", &["sh", "-c", "mkdir -p /etc/pacman.d/more; echo '#' >/etc/pacman.d/more/one.conf"]),
    ];
    machine.run(
        "sh",
        &["-c", "mkdir /etc/pacman.d/more; sed -i '1a Include = /etc/pacman.d/more/*.conf' /etc/pacman.conf"],
    );
    machine.write("/etc/pacman.d/more/zero.conf", "#\n");
    for (what, command) in steps {
        snapshot = index(&machine);
        machine.run(command[0], &command[1..]);
        changed(&machine, &snapshot, what);
    }
    drop(snapshot);
}

#[test]
fn text_that_is_not_utf8_leaves_its_package_out_and_no_other() {
    let machine = machine();
    machine.run("sh", &["-c", r"mv /var/lib/pacman/local/kept-1-1/desc /tmp/desc; sed 's/The kept/The \xff/' /tmp/desc >/var/lib/pacman/local/kept-1-1/desc"]);
    let snapshot = index(&machine);
    assert_eq!(snapshot.meta().warnings, ["1 packages are left out: their text is not UTF-8"]);
    assert!(snapshot.flags(snapshot.find("app").unwrap()).contains(Flags::INSTALLED));
    assert!(!snapshot.flags(snapshot.find("kept").unwrap()).contains(Flags::INSTALLED));
}

#[test]
fn an_unusable_configuration_is_an_error_in_pacmans_words() {
    let machine = machine();
    machine.write("/etc/pacman.conf", "[options]\nSigLevel = Sometimes\n");
    let failed = machine.try_run(HELPER, &["index", "--output", "/root/x"]);
    let said = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(!failed.status.success() && said.contains("pacman-conf cannot read /etc/pacman.conf"), "{said}");
    assert!(said.contains("Sometimes"), "{said}");
    machine.run("rm", &["-r", "/etc/pacman.conf"]);
    let failed = machine.try_run(HELPER, &["index", "--output", "/root/x"]);
    assert!(!failed.status.success());
}
