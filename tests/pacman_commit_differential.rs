//! `omg-helper commit` beside pacman on equal machines: after each of many operations both have the same on record and the
//! same files.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/commits.rs"]
mod commits;
#[path = "support/debian_root.rs"]
mod debian_root;
#[path = "support/pacman_root.rs"]
mod pacman_root;
#[path = "support/pacman_world.rs"]
mod pacman_world;
#[path = "support/random.rs"]
mod random;

use std::collections::BTreeMap;

use commits::{HELPER, Running, plan, request};
use debian_root::Machine;
use omg::transaction::{Options, Outcome, Request, Verb};
use pacman_world::{PLAIN, machine};
use random::Random;

const OPERATIONS: usize = 200;

/// Asks pacman for what the request asks. Whatever a person would be asked about gets the default answer.
fn their(machine: &Machine, request: &Request) -> bool {
    let targets: Vec<&str> =
        request.actions.iter().map(|action| action.target()).filter(|target| !target.is_empty()).collect();
    let verbs: Vec<Verb> = request.actions.iter().map(|action| action.verb()).collect();
    let flag: &[&str] = match verbs[0] {
        Verb::Install => &["-S", "--needed"],
        Verb::Reinstall => &["-S"],
        Verb::UpgradeAll => &["-Su"],
        Verb::Remove if verbs.contains(&Verb::Autoremove) => &["-Rs"],
        Verb::Remove => &["-R"],
        Verb::Purge => &["-Rn"],
        Verb::MarkExplicit => &["-D", "--asexplicit"],
        Verb::MarkDependency => &["-D", "--asdeps"],
        other => panic!("{other}"),
    };
    let arguments = [flag, &["--noconfirm"], &targets].concat();
    let done = machine.try_run("pacman", &arguments).status.success();
    if done && verbs[0] == Verb::Install {
        // omg takes what is asked for by name for wanted, pacman leaves its reason.
        for target in targets {
            let name = target.rsplit('/').next().unwrap();
            machine.try_run("pacman", &["-D", "--asexplicit", name]);
        }
    }
    done
}

/// What both have on record, and the configuration files of the test's packages.
fn records(machine: &Machine) -> BTreeMap<String, String> {
    let said = |arguments: &[&str]| String::from_utf8(machine.try_run("pacman", arguments).stdout).unwrap();
    let mut records = BTreeMap::from([
        ("packages".to_owned(), said(&["-Q"])),
        ("explicit".to_owned(), said(&["-Qe"])),
        ("files".to_owned(), said(&["-Qk"])),
        ("lock".to_owned(), machine.exists("/var/lib/pacman/db.lck").to_string()),
        ("scripts".to_owned(), std::fs::read_to_string(machine.path("/var/lib/omgt-script")).unwrap_or_default()),
    ]);
    if let Ok(files) = std::fs::read_dir(machine.path("/etc/omgt")) {
        for file in files.map(Result::unwrap) {
            records.insert(
                file.file_name().into_string().unwrap(),
                std::fs::read_to_string(file.path()).unwrap_or_else(|error| error.to_string()),
            );
        }
    }
    records
}

/// Something that somebody might do. Of what is not installed omg removes nothing and says so, where pacman fails; and what
/// is not installed it does not reinstall: such are not among the targets. Nor is what
/// pacman holds (HoldPkg), which it removes for nobody who does not answer; omg calls that a risk of the plan.
fn operation(random: &mut Random, installed: &str) -> Request {
    const OTHERS: [&str; 13] = [
        "vital",
        "kept",
        "conf",
        "engine-a",
        "engine-b",
        "needs-engine",
        "old",
        "new",
        "rival",
        "lacks",
        "scripted",
        "member-b",
        "clash",
    ];
    let name = |random: &mut Random| {
        if random.chance(3) { (*random.pick(&OTHERS)).to_owned() } else { format!("p{}", random.below(PLAIN)) }
    };
    let some = |random: &mut Random| {
        let mut names: Vec<String> = (0..=random.below(3)).map(|_| name(random)).collect();
        names.sort_unstable();
        names.dedup();
        names
    };
    let verb = *random.pick(&[
        Verb::Install,
        Verb::Install,
        Verb::Install,
        Verb::Install,
        Verb::Remove,
        Verb::Remove,
        Verb::Purge,
        Verb::UpgradeAll,
        Verb::Reinstall,
        Verb::MarkExplicit,
        Verb::MarkDependency,
    ]);
    let mut actions: Vec<(Verb, String)> = match verb {
        Verb::UpgradeAll => vec![(verb, String::new())],
        // With several, pacman marks those that are installed and fails for the others; omg marks none.
        Verb::MarkExplicit | Verb::MarkDependency => vec![(verb, name(random))],
        Verb::Install => some(random).into_iter().map(|name| (verb, name)).collect(),
        _ => {
            let installed: Vec<&str> = installed.lines().filter(|name| *name != "vital").collect();
            let mut names: Vec<&str> = (0..=random.below(3)).map(|_| *random.pick(&installed)).collect();
            names.sort_unstable();
            names.dedup();
            names.into_iter().map(|name| (verb, name.to_owned())).collect()
        }
    };
    if verb == Verb::Remove && random.chance(2) {
        actions.push((Verb::Autoremove, String::new()));
    }
    let actions: Vec<(Verb, &str)> = actions.iter().map(|(verb, target)| (*verb, target.as_str())).collect();
    request(&actions, &Options::default())
}

#[test]
fn random_operations_end_as_pacmans() {
    let mut random = Random::of_test("pacman_commit_differential");
    let (ours, theirs) = (machine(), machine());
    let (mut done, mut refused, mut empty) = (0, 0, 0);
    for number in 0..OPERATIONS {
        if random.chance(12) {
            assert!(ours.try_run(HELPER, &["refresh"]).status.success());
            theirs.run("pacman", &["-Sy", "--noconfirm"]);
        }
        if random.chance(4) {
            let path = format!("/etc/omgt/{}.conf", random.pick(&["conf", "p0", "p3", "p6", "p9"]));
            let text = format!("mine {}\n", random.below(100));
            for machine in [&ours, &theirs] {
                if machine.exists(&path) {
                    machine.write(&path, &text);
                }
            }
        }
        let wanted = operation(&mut random, &ours.run("pacman", &["-Qq"]));
        let their_success = their(&theirs, &wanted);
        let asked: Vec<String> =
            wanted.actions.iter().map(|action| format!("{} {}", action.verb(), action.target())).collect();
        let our_success = match plan(&ours, &wanted) {
            Err(_) => false,
            Ok(plan) if plan.is_empty() => {
                empty += 1;
                their_success
            }
            Ok(plan) => {
                let ran = Running::start(&ours, &Request { digest: Some(plan.digest), ..wanted.clone() }).finish();
                matches!(ran.outcome, Some(Outcome::Succeeded(_)))
            }
        };
        let (mine, other) = (records(&ours), records(&theirs));
        for (what, value) in &other {
            assert_eq!(mine.get(what), Some(value), "operation {number}: {asked:?}: {what}");
        }
        assert_eq!(mine.len(), other.len(), "operation {number}: {asked:?}");
        assert_eq!(our_success, their_success, "operation {number}: {asked:?}");
        if our_success { done += 1 } else { refused += 1 }
    }
    println!("{done} done, {refused} refused, {empty} with nothing to do");
    assert!(done > OPERATIONS / 4 && refused > OPERATIONS / 20, "{done} done, {refused} refused");
}
