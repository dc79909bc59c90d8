//! `omg-helper commit` beside apt-get on equal machines: after each of many operations both have the same on record and the
//! same files.

#![cfg(feature = "debian")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/apt_arguments.rs"]
mod apt_arguments;
#[path = "support/commit_world.rs"]
mod commit_world;
#[path = "support/commits.rs"]
mod commits;
#[path = "support/deb_archive.rs"]
mod deb_archive;
#[path = "support/debian_root.rs"]
mod debian_root;
#[path = "support/random.rs"]
mod random;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Output;

use apt_arguments::arguments;
use commit_world::{PLAIN, world};
use commits::{HELPER, Running, commit, plan, request};
use debian_root::{Layers, Machine};
use omg::transaction::{Options, Outcome, Request, Verb};
use random::Random;

const PIN: &str = "/etc/apt/preferences.d/pin";

/// Asks apt-get, or apt-mark, for what the request asks; whatever a person would be asked about is agreed to.
fn their(machine: &Machine, request: &Request) -> Output {
    let words = match request.actions[0].verb() {
        Verb::Hold => ["apt-mark", "hold"],
        Verb::Unhold => ["apt-mark", "unhold"],
        Verb::MarkExplicit => ["apt-mark", "manual"],
        Verb::MarkDependency => ["apt-mark", "auto"],
        _ => ["apt-get", "--yes"],
    };
    let mut command = machine.command(words[0]);
    command.arg(words[1]);
    if words[0] == "apt-mark" {
        command.args(request.actions.iter().map(|action| action.target()));
    } else {
        command.args(["--allow-downgrades", "--allow-change-held-packages", "--allow-remove-essential"]);
        // As Options::default() has it: changed configuration files stay.
        command.args(["-o", "DPkg::Options::=--force-confdef", "-o", "DPkg::Options::=--force-confold"]);
        command.args(arguments(request));
    }
    command.output().unwrap()
}

/// dpkg's records, apt's marks and the configuration files of the test's packages.
fn records(machine: &Machine) -> BTreeMap<String, String> {
    let sorted = |text: String| {
        let mut stanzas: Vec<String> = text.split("\n\n").map(|stanza| stanza.trim().to_owned()).collect();
        stanzas.retain(|stanza| !stanza.is_empty());
        stanzas.sort_unstable();
        stanzas.join("\n\n")
    };
    let marks = sorted(machine.read("/var/lib/apt/extended_states"));
    // What was taken back to explicit may stay in the file as such or not.
    let automatic = |stanza: &&str| stanza.contains("Auto-Installed: 1");
    let marks = marks.split("\n\n").filter(automatic).collect::<Vec<_>>().join("\n\n");
    let mut records = BTreeMap::from([
        ("status".to_owned(), sorted(machine.read("/var/lib/dpkg/status"))),
        ("marks".to_owned(), marks),
    ]);
    if let Ok(files) = std::fs::read_dir(machine.path("/etc/omgt")) {
        for file in files.map(Result::unwrap) {
            let contents = std::fs::read_to_string(file.path()).unwrap();
            records.insert(file.file_name().into_string().unwrap(), contents);
        }
    }
    records
}

/// Where the two differ, for people.
fn differences(ours: &BTreeMap<String, String>, theirs: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    for name in ours.keys().chain(theirs.keys()).collect::<std::collections::BTreeSet<_>>() {
        let parts = |records: &BTreeMap<String, String>| -> Vec<String> {
            records.get(name).map_or("", String::as_str).split("\n\n").map(str::to_owned).collect()
        };
        let (ours, theirs) = (parts(ours), parts(theirs));
        for part in ours.iter().filter(|part| !theirs.contains(part)) {
            text.push_str(&format!("only ours, in {name}:\n{part}\n"));
        }
        for part in theirs.iter().filter(|part| !ours.contains(part)) {
            text.push_str(&format!("only theirs, in {name}:\n{part}\n"));
        }
    }
    text
}

fn is_there(machine: &Machine, name: &str) -> bool {
    let found = machine.try_run("dpkg-query", &["-W", "-f", "${db:Status-Status}", name]);
    !matches!(found.stdout.as_slice(), b"" | b"not-installed" | b"config-files")
}

/// What somebody might write meanwhile: what package scripts look for, configuration files, pins.
fn edit(random: &mut Random, machine: &Machine) -> Option<(&'static str, String)> {
    let path = *random.pick(&["/etc/omgt-fuel", "/etc/omgt/conf.conf", "/etc/omgt/p4.conf", PIN]);
    if path == PIN {
        let (number, suite) = (random.below(PLAIN), random.pick(&["one", "two", "none"]));
        let priority = random.pick(&[-1, 100, 990, 1001]);
        return Some((path, format!("Package: omgt-p{number}\nPin: release n={suite}\nPin-Priority: {priority}\n")));
    }
    (path == "/etc/omgt-fuel" || machine.exists(path)).then(|| (path, format!("mine {}\n", random.below(100))))
}

/// Something that somebody might do.
fn operation(random: &mut Random, names: &[String], machine: &Machine) -> Request {
    let name = |random: &mut Random| random.pick(names).clone();
    let some = |random: &mut Random| -> Vec<String> { (0..=random.below(3)).map(|_| name(random)).collect() };
    let of = |verb: Verb, targets: Vec<String>| targets.into_iter().map(move |target| (verb, target));
    let mut actions: Vec<(Verb, String)> = Vec::new();
    match random.below(20) {
        0..=4 => actions.extend(of(Verb::Install, some(random))),
        5 => actions.push((Verb::Install, format!("{}={}", name(random), 1 + random.below(2)))),
        6 | 7 => actions.extend(of(Verb::Remove, some(random))),
        8 | 9 => actions.extend(of(Verb::Purge, some(random))),
        10 => actions.push((Verb::Autoremove, String::new())),
        11 => actions.extend(of(Verb::Reinstall, some(random))),
        // Where apt-get only says that it leaves out what is not installed, omg refuses.
        12 => {
            let there: Vec<String> = some(random).into_iter().filter(|name| is_there(machine, name)).collect();
            if there.is_empty() {
                actions.push((Verb::UpgradeAll, String::new()));
            }
            actions.extend(of(Verb::Upgrade, there));
        }
        13 => actions.push((Verb::UpgradeAll, String::new())),
        14 => actions.push((Verb::FullUpgrade, String::new())),
        15 => actions.push((Verb::MarkDependency, name(random))),
        16 => actions.push((Verb::MarkExplicit, name(random))),
        17 => actions.push((Verb::Hold, name(random))),
        18 => actions.push((Verb::Unhold, name(random))),
        _ => {
            let gone = name(random);
            let wanted: Vec<String> = some(random).into_iter().filter(|target| *target != gone).collect();
            actions.extend(of(Verb::Install, wanted));
            actions.push((*random.pick(&[Verb::Remove, Verb::Purge]), gone));
        }
    }
    let actions: Vec<(Verb, &str)> = actions.iter().map(|(verb, target)| (*verb, target.as_str())).collect();
    request(&actions, &Options::default())
}

#[test]
fn many_operations_leave_what_apt_get_leaves() {
    const ROOTS: usize = 4;
    const OPERATIONS: usize = 200;
    let mut random = Random::of_test("many_operations_leave_what_apt_get_leaves");
    let plain = (0..PLAIN).map(|number| format!("p{number}"));
    let others = ["app", "lib", "conf", "trigger", "plugin", "asks", "fails", "unready", "stays", "vital"];
    let names: Vec<String> = plain.chain(others.map(str::to_owned)).map(|name| format!("omgt-{name}")).collect();
    let (mut succeeded, mut failed, mut refused) = (0, 0, 0);
    for root in 0..ROOTS {
        let (ours, theirs) = (world().machine(), world().machine());
        let end = OPERATIONS * (root + 1) / ROOTS;
        while succeeded + failed < end {
            if random.chance(3)
                && let Some((path, contents)) = edit(&mut random, &ours)
            {
                ours.write(path, &contents);
                theirs.write(path, &contents);
            } else if random.chance(6) {
                for machine in [&ours, &theirs] {
                    let _ = std::fs::remove_file(machine.path("/etc/omgt-fuel"));
                }
            }
            let wanted = operation(&mut random, &names, &ours);
            let (told, said) = std::thread::scope(|scope| {
                let said = scope.spawn(|| their(&theirs, &wanted));
                let told = plan(&ours, &wanted).map(|plan| {
                    Running::start(&ours, &Request { digest: Some(plan.digest), ..wanted.clone() }).finish()
                });
                (told, said.join().unwrap())
            });
            let context = format!("root {root}, after {succeeded} and {failed}: {:?}", wanted.actions);
            match &told {
                Ok(ran) => {
                    let went_well = matches!(ran.outcome, Some(Outcome::Succeeded(_)));
                    assert_eq!(went_well, said.status.success(), "{context}: {:?}\n{said:?}", ran.outcome);
                    *(if went_well { &mut succeeded } else { &mut failed }) += 1;
                }
                Err(failure) => {
                    assert!(!said.status.success(), "{context}: it went well there, here: {failure}");
                    refused += 1;
                    assert!(refused < OPERATIONS, "hardly anything is possible");
                }
            }
            let (our_records, their_records) = (records(&ours), records(&theirs));
            assert!(
                our_records == their_records,
                "{context}: {}\n{told:?}\n{said:?}",
                differences(&our_records, &their_records)
            );
        }
    }
    println!("{succeeded} succeeded, {failed} failed as they do there, {refused} were refused");
}

/// Packages of Debian's: with users, configuration files, debconf, alternatives, triggers and dependencies.
const REAL: [&str; 5] = ["ca-certificates", "cron", "jq", "less", "xml-core"];

/// Everything outside of what both keep for themselves (logs, caches, old records), with owners, modes and contents.
fn files(machine: &Machine) -> BTreeMap<String, String> {
    let script = "find / -xdev \\( -path /proc -o -path /dev -o -path /run -o -path /tmp -o -path /srv -o -path /var/log \
                  -o -path /var/cache -o -path /var/lib/apt -o -path /var/lib/omg -o -path '/var/lib/dpkg/*-old' \
                  -o -path '/var/cache/debconf/*' \\) -prune -o -printf '%p\\t%y %m %U:%G %l\\n'; \
                  find /etc /usr /var/lib -xdev -path /var/lib/apt -prune -o -path /var/lib/omg -prune \
                  -o -path '/var/lib/dpkg/*-old' -prune -o -path /usr/lib/x86_64-linux-gnu -prune \
                  -o -type f -printf '%p\\0' | xargs -0 sha256sum | awk '{ print $2 \"\\tis \" $1 }'";
    let listed = machine.run("sh", &["-c", script]);
    let mut files = BTreeMap::<String, String>::new();
    for line in listed.lines() {
        let (path, what) = line.split_once('\t').unwrap();
        files.entry(path.to_owned()).or_default().push_str(what);
    }
    files
}

#[test]
fn packages_of_debians_archive_end_up_as_apt_get_leaves_them() {
    let folder = tempfile::tempdir().unwrap();
    let debian = Layers::debian();
    let machine = Machine::keeping(&debian, folder.path());
    machine.add_program(Path::new(env!("CARGO_BIN_EXE_omg-helper")), HELPER);
    for arguments in [
        vec!["--quiet", "-o", "APT::Update::Error-Mode=any", "update"],
        [vec!["--quiet", "--yes", "--download-only", "install"], REAL.to_vec()].concat(),
    ] {
        let output = machine.try_run("apt-get", &arguments);
        assert!(
            output.status.success(),
            "this test installs packages of Debian's archive, which cannot be reached from here (OMG_TEST_MIRROR names \
             another mirror when the root is made):\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    drop(machine);
    let layers = debian.below(&folder.path().join("upper"));
    let (ours, theirs) = (Machine::new(&layers), Machine::new(&layers));
    let of = |verb: Verb, targets: &[&'static str]| targets.iter().map(|target| (verb, *target)).collect::<Vec<_>>();
    for actions in [
        of(Verb::Install, &REAL),
        of(Verb::Reinstall, &["cron", "less"]),
        of(Verb::Remove, &["cron", "jq", "xml-core"]),
        of(Verb::Install, &["cron"]),
        of(Verb::Purge, &["ca-certificates", "cron", "less"]),
        of(Verb::Autoremove, &[""]),
    ] {
        let wanted = request(&actions, &Options::default());
        let said = std::thread::scope(|scope| {
            let said = scope.spawn(|| their(&theirs, &wanted));
            commit(&ours, &actions, &Options::default()).succeeded();
            said.join().unwrap()
        });
        assert!(said.status.success(), "{actions:?}: {said:?}");
        let (our_records, their_records) = (records(&ours), records(&theirs));
        assert!(our_records == their_records, "{actions:?}: {}", differences(&our_records, &their_records));
        let (our_files, their_files) = (files(&ours), files(&theirs));
        assert!(our_files.len() > 1000, "{our_files:?}");
        assert!(our_files == their_files, "{actions:?}: {}", differences(&our_files, &their_files));
    }
}
