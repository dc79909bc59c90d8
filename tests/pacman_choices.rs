//! What pacman asks while it plans, how much a removal takes along, and older versions: beside pacman itself, which is given
//! the same answers on an equal machine.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/commits.rs"]
mod commits;
#[path = "support/debian_root.rs"]
mod debian_root;
#[path = "support/pacman_root.rs"]
mod pacman_root;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::sync::OnceLock;

use commits::{HELPER, Running, commit, plan, planned, request};
use debian_root::{Layers, Machine};
use omg::transaction::{
    Answers, Change, Event, FailureKind, Options, Plan, Privilege, QuestionKind, Reply, Risk, Verb,
};
use pacman_root::{Package, configure, package, pacman, publish};

const REPOSITORY: &str = "test";

fn packages(version: &str) -> Vec<Package> {
    let full = format!("{version}-1");
    let mut packages = vec![
        package("base-a", &full),
        package("rival", &full).field("conflict", "base-a"),
        package("engine-a", &full).field("provides", "engine=3"),
        package("engine-b", &full).field("provides", "engine=9"),
        package("needs-engine", &full).field("depend", "engine>=2"),
        package("kept", &full),
        package("wants-kept", &full).field("depend", &format!("kept>={version}")),
        package("plain", &full),
        package("lib", &full),
        package("mid", &full)
            .field("depend", "lib")
            .file("/etc/omgt/mid.conf", "new\n")
            .field("backup", "etc/omgt/mid.conf"),
        package("top", &full).field("depend", "mid"),
    ];
    if version == "1" {
        packages.extend([package("old", &full), package("stuck", &full)]);
    } else {
        packages.push(package("new", &full).field("replaces", "old").field("conflict", "old"));
        packages.push(package("stuck", &full).field("depend", "nowhere"));
    }
    packages
}

/// Version 1 of some packages is installed, version 2 of everything is in the databases, and version 1 in the cache.
fn machine() -> Machine {
    static LAYERS: OnceLock<Layers> = OnceLock::new();
    Machine::new(LAYERS.get_or_init(|| {
        let changes = Path::new(env!("CARGO_TARGET_TMPDIR")).join(env!("CARGO_CRATE_NAME"));
        let _ = fs::remove_dir_all(&changes);
        fs::create_dir_all(&changes).unwrap();
        let (layers, programs) = pacman();
        let machine = Machine::keeping(&layers, &changes);
        machine.add_program(&programs.join("omg-helper"), HELPER);
        machine.run("rm", &["/etc/os-release"]);
        machine.write("/etc/os-release", "NAME=\"Arch Linux\"\nID=arch\n");
        configure(&machine, "IgnorePkg = kept\nSigLevel = Never\nLocalFileSigLevel = Never", &[REPOSITORY]);
        publish(&machine, REPOSITORY, &packages("1"));
        machine.run("pacman", &["-Sy", "--noconfirm", "base-a", "plain", "top", "old", "stuck"]);
        publish(&machine, REPOSITORY, &packages("2"));
        machine.run("sh", &["-c", "cd /srv/test && rm -f old-1* && repo-remove --quiet test.db.tar old 2>/dev/null"]);
        machine.run("pacman", &["-Syy"]);
        drop(machine);
        layers.below(&changes.join("upper"))
    }))
}

fn with(answers: &[(&str, &str)]) -> Options {
    let given = answers.iter().map(|(key, choice)| ((*key).to_owned(), (*choice).to_owned()));
    Options { answers: Answers::new(given).unwrap(), ..Options::default() }
}

/// Runs pacman and types these lines; whether it succeeded, and what it said.
fn pacman_told(machine: &Machine, arguments: &[&str], lines: &str) -> (bool, String) {
    let mut command = machine.command("pacman");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let ended = child.wait_with_output().unwrap();
    let said = [ended.stdout, ended.stderr].concat();
    (ended.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// What both have on record.
fn records(machine: &Machine) -> [String; 4] {
    let said = |arguments: &[&str]| String::from_utf8(machine.try_run("pacman", arguments).stdout).unwrap();
    let files = machine.run("sh", &["-c", "ls /etc/omgt 2>/dev/null || true"]);
    [said(&["-Q"]), said(&["-Qe"]), said(&["-Qk"]), files]
}

/// Each decision as its key, the default and the choice.
fn decisions(plan: &Plan) -> Vec<(String, &str, &str)> {
    plan.decisions.iter().map(|decision| (decision.key(), &*decision.default, &*decision.chosen)).collect()
}

fn names(plan: &Plan, wanted: Change) -> Vec<&str> {
    plan.items.iter().filter(|item| item.change == wanted).map(|item| item.name.as_str()).collect()
}

/// Does the same on two machines, ours by the helper; whether it succeeded is the same, and so is what is on record.
fn beside(actions: &[(Verb, &str)], options: &Options, arguments: &[&str], lines: &str) -> Option<Plan> {
    let (ours, theirs) = (machine(), machine());
    let wanted = request(actions, options);
    let shown = plan(&ours, &wanted);
    let done = match &shown {
        Ok(shown) if shown.is_empty() => true,
        Ok(_) => {
            let ran = Running::start(&ours, &planned(&ours, actions, options)).finish();
            ran.succeeded();
            true
        }
        Err(_) => false,
    };
    let (succeeded, said) = pacman_told(&theirs, arguments, lines);
    assert_eq!(done, succeeded, "{arguments:?} {lines:?}: {shown:?}\n{said}");
    assert_eq!(records(&ours), records(&theirs), "{arguments:?} {lines:?}: {said}");
    shown.ok()
}

#[test]
fn a_conflict_is_decided_as_pacman_is_told_to() {
    let install = &[(Verb::Install, "rival")][..];
    let shown = beside(install, &with(&[("conflict:rival:base-a", "yes")]), &["-S", "rival"], "y\ny\n").unwrap();
    assert_eq!(decisions(&shown), [("conflict:rival:base-a".to_owned(), "no", "yes")]);
    assert_eq!(names(&shown, Change::Remove), ["base-a"]);
    assert!(shown.privileges().contains(&Privilege::Remove));
    assert!(beside(install, &with(&[]), &["-S", "rival"], "n\n").is_none());
    assert!(beside(install, &with(&[]), &["-S", "--noconfirm", "rival"], "").is_none());
    let machine = machine();
    let failure = plan(&machine, &request(install, &with(&[]))).unwrap_err();
    assert_eq!(failure.kind, FailureKind::ResolutionFailed);
    assert!(failure.message.contains("the answer yes to conflict:rival:base-a removes base-a"), "{failure}");
    let failure = plan(&machine, &request(install, &with(&[("conflict:rival:base-a", "perhaps")]))).unwrap_err();
    assert_eq!(failure.kind, FailureKind::InvalidArgument, "{failure}");
    // An answer for all of a kind comes to the same plan, by the same digest.
    let all = plan(&machine, &request(install, &with(&[("conflict", "yes")]))).unwrap();
    assert_eq!(all.digest, shown.digest);
}

#[test]
fn a_provider_is_the_one_that_is_chosen() {
    let install = &[(Verb::Install, "needs-engine")][..];
    let key = "provider:engine>=2";
    let shown = beside(install, &with(&[(key, "engine-b")]), &["-S", "needs-engine"], "2\ny\n").unwrap();
    assert_eq!(decisions(&shown), [(key.to_owned(), "engine-a", "engine-b")]);
    assert_eq!(shown.decisions[0].choices, ["engine-a", "engine-b"]);
    let shown = beside(install, &with(&[]), &["-S", "needs-engine"], "\ny\n").unwrap();
    assert_eq!(names(&shown, Change::Install), ["engine-a", "needs-engine"]);
    // What provides it by a name that is asked for.
    let shown = beside(&[(Verb::Install, "engine")], &with(&[("provider", "engine-b")]), &["-S", "engine"], "2\ny\n");
    assert_eq!(names(&shown.unwrap(), Change::Install), ["engine-b"]);
}

#[test]
fn an_upgrade_replaces_and_skips_as_it_is_answered() {
    let upgrade = &[(Verb::UpgradeAll, "")][..];
    let (replace, skip) = ("replace:old:test/new", "skip:stuck");
    let shown = beside(upgrade, &with(&[(skip, "yes")]), &["-Su"], "y\ny\ny\n").unwrap();
    assert_eq!(decisions(&shown), [(replace.to_owned(), "yes", "yes"), (skip.to_owned(), "no", "yes")]);
    assert_eq!((names(&shown, Change::Remove), names(&shown, Change::Install)), (vec!["old"], vec!["new"]));
    assert!(!names(&shown, Change::Upgrade).contains(&"stuck"));
    let shown = beside(upgrade, &with(&[(skip, "yes"), (replace, "no")]), &["-Su"], "n\ny\ny\n").unwrap();
    assert!(names(&shown, Change::Remove).is_empty() && names(&shown, Change::Install).is_empty(), "{shown:?}");
    assert!(beside(upgrade, &with(&[]), &["-Su"], "y\nn\n").is_none());
}

#[test]
fn what_is_ignored_is_changed_or_left_as_it_is_answered() {
    let install = &[(Verb::Install, "kept")][..];
    let shown = beside(install, &with(&[]), &["-S", "kept"], "\ny\n").unwrap();
    assert_eq!(decisions(&shown), [("ignored:kept".to_owned(), "yes", "yes")]);
    assert_eq!(shown.risks, [Risk::ChangesHeld("kept".to_owned()), Risk::PartialUpgrade(6)]);
    let shown = beside(install, &with(&[("ignored:kept", "no")]), &["-S", "kept"], "n\n").unwrap();
    assert!(shown.is_empty() && shown.notes[0].contains("was left as it is"), "{shown:?}");
    // What an ignored one is needed for cannot be had: pacman asks about that instead.
    let wants = &[(Verb::Install, "wants-kept")][..];
    assert!(beside(wants, &with(&[]), &["-S", "wants-kept"], "n\n").is_none());
    let failure = plan(&machine(), &request(wants, &with(&[]))).unwrap_err();
    assert!(failure.message.contains("the answer yes to skip:wants-kept leaves out wants-kept"), "{failure}");
}

#[test]
fn removals_take_along_what_they_are_told_to() {
    let cascade = Options { cascade: true, ..Options::default() };
    assert!(beside(&[(Verb::Remove, "lib")], &with(&[]), &["-R", "lib"], "y\n").is_none());
    let shown = beside(&[(Verb::Remove, "lib")], &cascade, &["-Rc", "lib"], "y\n").unwrap();
    assert_eq!(names(&shown, Change::Remove), ["lib", "mid", "top"]);
    let with_unneeded = [(Verb::Remove, "top"), (Verb::Autoremove, "")];
    let shown = beside(&with_unneeded, &with(&[]), &["-Rs", "top"], "y\n").unwrap();
    assert_eq!(names(&shown, Change::Remove), ["lib", "mid", "top"]);
    assert!(shown.unneeded.is_empty());
    let purged = [(Verb::Purge, "top"), (Verb::Autoremove, "")];
    let shown = beside(&purged, &with(&[]), &["-Rns", "top"], "y\n").unwrap();
    assert_eq!(names(&shown, Change::Purge), ["lib", "mid", "top"]);
    beside(&[(Verb::Purge, "mid")], &cascade, &["-Rnc", "mid"], "y\n").unwrap();
    beside(&[(Verb::Remove, "mid"), (Verb::Autoremove, "")], &cascade, &["-Rcs", "mid"], "y\n").unwrap();
}

#[test]
fn what_is_no_longer_needed_is_what_autoremove_then_removes() {
    let machine = machine();
    let shown = plan(&machine, &request(&[(Verb::Install, "plain")], &with(&[]))).unwrap();
    assert!(shown.unneeded.is_empty(), "{shown:?}");
    let shown = plan(&machine, &request(&[(Verb::MarkDependency, "top")], &with(&[]))).unwrap();
    assert_eq!(shown.unneeded, ["lib", "mid", "top"]);
    let shown = plan(&machine, &request(&[(Verb::Remove, "top")], &with(&[]))).unwrap();
    assert_eq!(shown.unneeded, ["lib", "mid"]);
    commit(&machine, &[(Verb::Remove, "top")], &with(&[])).succeeded();
    let swept = plan(&machine, &request(&[(Verb::Autoremove, "")], &with(&[]))).unwrap();
    assert_eq!(names(&swept, Change::Remove), shown.unneeded);
    assert!(swept.unneeded.is_empty());
}

#[test]
fn older_versions_come_from_the_download_cache() {
    let machine = machine();
    commit(&machine, &[(Verb::Upgrade, "plain")], &with(&[])).succeeded();
    let back = [(Verb::Install, "plain=1-1")];
    let shown = plan(&machine, &request(&back, &with(&[]))).unwrap();
    let found: Vec<_> = shown
        .items
        .iter()
        .map(|item| (item.change, &*item.from, &*item.to, &*item.repository, item.download))
        .collect();
    assert_eq!(found, [(Change::Downgrade, "2-1", "1-1", "cache", 0)]);
    // Without signatures nobody vouches for it: the checksum was in a database that is gone.
    assert_eq!(shown.risks, [Risk::Downgrades("plain".to_owned()), Risk::Untrusted("plain".to_owned())]);
    assert_eq!(shown.items[0].sha256.len(), 64);
    let ran = commit(&machine, &[(Verb::Install, "plain=1")], &with(&[]));
    assert_eq!(ran.succeeded().items[0].change, Change::Downgrade);
    assert_eq!(machine.run("pacman", &["-Q", "plain"]), "plain 1-1\n");
    let shown = plan(&machine, &request(&back, &with(&[]))).unwrap();
    assert!(shown.is_empty() && shown.notes == ["plain is at version 1-1 already."], "{shown:?}");
    let failure = plan(&machine, &request(&[(Verb::Install, "plain=7")], &with(&[]))).unwrap_err();
    assert_eq!(failure.message, "no repository has version 7 of plain; in the download cache: 2-1, 1-1");
    // What is not what its name says.
    let cache = "/var/cache/pacman/pkg";
    machine.run("cp", &[&format!("{cache}/old-1-1-any.pkg.tar"), &format!("{cache}/plain-0-1-any.pkg.tar")]);
    let failure = plan(&machine, &request(&[(Verb::Install, "plain=0-1")], &with(&[]))).unwrap_err();
    assert!(failure.message.contains("is old 1-1 and not what its name says"), "{failure}");
    // One that changes after it was planned is not installed.
    commit(&machine, &[(Verb::Upgrade, "plain")], &with(&[])).succeeded();
    let wanted = planned(&machine, &back, &with(&[]));
    let other = package("plain", "1-1").file("/usr/share/plain/other", "other\n");
    other.build(&machine.path(cache));
    let ran = Running::start(&machine, &wanted).finish();
    assert_eq!(ran.failed().0.kind, FailureKind::PlanStale);
}

#[test]
fn a_corrupted_file_in_the_cache_is_deleted_or_kept_as_it_is_answered() {
    const FILE: &str = "/var/cache/pacman/pkg/plain-2-1-any.pkg.tar";
    let install = [(Verb::Install, "plain")];
    let (delete, keep, nobody) = (Some("delete"), Some("keep"), None);
    for (answer, lines, stays) in [(delete, "y\ny\n", false), (keep, "y\nn\n", true), (nobody, "y\n\n", false)] {
        let (ours, theirs) = (machine(), machine());
        for machine in [&ours, &theirs] {
            machine.write(FILE, "broken");
            machine.write(&format!("{FILE}.sig"), "of something else");
        }
        let cache = |machine: &Machine| machine.run("ls", &["/var/cache/pacman/pkg"]);
        let try_ours = || {
            let mut running = Running::start(&ours, &planned(&ours, &install, &with(&[])));
            if let Some(choice) = answer {
                let Event::Question(question) = running.until(|event| matches!(event, Event::Question(_))) else {
                    panic!("it was waited for")
                };
                let QuestionKind::Corrupted { path, reason } = &question.kind else { panic!("{question:?}") };
                assert_eq!(path, FILE);
                assert!(reason.contains("checksum"), "{reason}");
                assert_eq!(question.choices, ["delete", "keep"]);
                running.reply(&Reply::Answer { id: question.id, choice: choice.to_owned() });
            }
            running.finish()
        };
        let ran = try_ours();
        let (failure, applied) = ran.failed();
        assert_eq!(failure.kind, FailureKind::Untrusted, "{failure}");
        assert!(applied.items.is_empty());
        let became = if stays { "is kept" } else { "is deleted: the next try fetches it again" };
        assert!(failure.message.contains(&format!("{FILE} {became}")), "{failure}");
        let (succeeded, said) = pacman_told(&theirs, &["-S", "plain"], lines);
        assert!(!succeeded && said.contains("is corrupted"), "{said}");
        assert_eq!(ours.exists(FILE), stays);
        assert_eq!(cache(&ours), cache(&theirs));
        // Once more.
        if stays {
            try_ours().failed();
            assert!(!pacman_told(&theirs, &["-S", "plain"], lines).0);
        } else {
            commit(&ours, &install, &with(&[])).succeeded();
            assert!(pacman_told(&theirs, &["-S", "plain"], "y\n").0);
            assert_eq!(
                fs::read(ours.path(FILE)).unwrap(),
                fs::read(ours.path("/srv/test/plain-2-1-any.pkg.tar")).unwrap()
            );
        }
        assert_eq!(records(&ours), records(&theirs));
        assert_eq!(cache(&ours), cache(&theirs));
    }
}
