//! `omg-helper commit` when things go wrong: servers that fail, and a helper that is killed.

#![cfg(feature = "debian")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/commit_world.rs"]
mod commit_world;
#[path = "support/commits.rs"]
mod commits;
#[path = "support/deb_archive.rs"]
mod deb_archive;
#[path = "support/debian_root.rs"]
mod debian_root;
#[path = "support/http_archive.rs"]
mod http_archive;
#[path = "support/random.rs"]
mod random;

use commit_world::world;
use commits::{Running, commit, done, plan, planned, request};
use debian_root::Machine;
use http_archive::{Server, Serving};
use omg::transaction::{Change, Event, FailureKind, ItemState, Options, Outcome, Phase, Reply, Verb};
use random::Random;
use rustix::process::{Pid, Signal, kill_process};

fn keep() -> Options {
    Options::default()
}

/// A machine whose packages come from the server.
fn served(server: &Server) -> Machine {
    let machine = world().machine();
    for suite in ["one", "two"] {
        std::fs::remove_file(machine.path(&format!("/etc/apt/sources.list.d/{suite}.list"))).unwrap();
    }
    machine.write("/etc/apt/sources.list.d/server.list", server.source());
    machine.run("apt-get", &["--quiet", "update"]);
    machine
}

/// Commits, which must fail without any effect on dpkg's records.
fn fails(machine: &Machine, package: &str, kind: FailureKind, says: &[&str]) {
    let before = machine.read("/var/lib/dpkg/status");
    let ran = commit(machine, &[(Verb::Install, package)], &keep());
    let (failure, applied) = ran.failed();
    assert_eq!((failure.kind, applied.items.len()), (kind, 0), "{failure}");
    for part in says {
        assert!(failure.message.contains(part), "{part} is not in: {failure}");
    }
    assert!(!ran.phases().iter().any(|(phase, _)| *phase == Phase::Applying));
    assert_eq!(machine.read("/var/lib/dpkg/status"), before);
}

#[test]
fn packages_come_over_http_and_stay_when_only_downloading() {
    let server = Server::new(&world().archive, Serving::Well);
    let machine = served(&server);
    let ran = commit(&machine, &[(Verb::Install, "omgt-large")], &Options { download_only: true, ..keep() });
    assert!(ran.succeeded().items.is_empty());
    assert_eq!(ran.state_of("omgt-large:amd64"), Some(ItemState::Fetched));
    assert!(!ran.phases().iter().any(|(phase, _)| *phase == Phase::Applying));
    assert!(machine.exists("/var/cache/apt/archives/omgt-large_2_all.deb"));
    assert_eq!(server.requests(), 1);
    let ran = commit(&machine, &[(Verb::Install, "omgt-large")], &keep());
    assert_eq!(done(ran.succeeded()), [(Change::Install, "omgt-large", "", "2")]);
    assert_eq!(server.requests(), 1);

    let cleaned = commit(&machine, &[(Verb::Clean, "")], &keep());
    assert!(cleaned.succeeded().items.iter().any(|item| item.change == Change::Clean && item.name == "omgt-large"));
    assert!(!machine.exists("/var/cache/apt/archives/omgt-large_2_all.deb"));
}

#[test]
fn what_cannot_be_fetched_says_why_and_changes_nothing() {
    let local = world().machine();
    fails(&local, "omgt-wrong", FailureKind::Untrusted, &["omgt-wrong:amd64", "refresh"]);
    fails(&local, "omgt-missing", FailureKind::NotFound, &["omgt-missing:amd64"]);
    let server = Server::new(&world().archive, Serving::NotFound);
    fails(&served(&server), "omgt-p8", FailureKind::NotFound, &["omgt-p8:amd64", "404"]);
    drop(server);
    let server = Server::new(&world().archive, Serving::BreakingOff);
    let machine = served(&server);
    machine.write("/etc/apt/apt.conf.d/90retries", "Acquire::Retries \"0\";\n");
    fails(&machine, "omgt-p8", FailureKind::Network, &["omgt-p8:amd64", "try again"]);
    // Nobody answers there any more.
    drop(server);
    fails(&machine, "omgt-p8", FailureKind::Network, &["omgt-p8:amd64"]);
}

#[test]
fn a_full_disk_is_found_before_anything_is_fetched() {
    let server = Server::new(&world().archive, Serving::Well);
    let machine = served(&server);
    machine.run("mount", &["-t", "tmpfs", "-o", "size=64k", "tmpfs", "/var/cache/apt/archives"]);
    fails(&machine, "omgt-large", FailureKind::DiskFull, &["/var/cache/apt/archives"]);
    assert_eq!(server.requests(), 0);
}

#[test]
fn fetching_from_a_server_that_stalls_can_be_cancelled() {
    let server = Server::new(&world().archive, Serving::Stalling);
    let machine = served(&server);
    let before = machine.read("/var/lib/dpkg/status");
    for by_signal in [false, true] {
        let wanted = planned(&machine, &[(Verb::Install, "omgt-large"), (Verb::Install, "omgt-p8")], &keep());
        let mut running = Running::start(&machine, &wanted);
        running.until(|event| {
            matches!(event, Event::Progress { bytes_done, bytes_total, .. } if 0 < *bytes_done && bytes_done < bytes_total)
        });
        if by_signal {
            let helper = Pid::from_raw(i32::try_from(running.pid()).unwrap()).unwrap();
            kill_process(helper, Signal::TERM).unwrap();
        } else {
            running.reply(&Reply::Cancel);
        }
        let ran = running.finish();
        assert!(matches!(&ran.outcome, Some(Outcome::Cancelled { applied }) if applied.items.is_empty()), "{ran:?}");
    }
    assert_eq!(machine.read("/var/lib/dpkg/status"), before);
}

#[test]
fn an_archive_signed_by_another_key_offers_nothing() {
    let machine = world().machine();
    let folder = tempfile::tempdir().unwrap();
    deb_archive::deb("omgt-foreign", "1").build(folder.path());
    deb_archive::Key::new().publish(folder.path(), "foreign");
    for file in ["InRelease", "Release", "Packages", "omgt-foreign_1_all.deb"] {
        machine.write(&format!("/srv/foreign/{file}"), std::fs::read(folder.path().join(file)).unwrap());
    }
    let source = "deb [signed-by=/etc/apt/test.gpg] file:/srv/foreign ./\n";
    machine.write("/etc/apt/sources.list.d/foreign.list", source);
    assert!(!machine.try_run("apt-get", &["--quiet", "update"]).status.success());
    let failure = plan(&machine, &request(&[(Verb::Install, "omgt-foreign")], &keep())).unwrap_err();
    assert_eq!(failure.kind, FailureKind::NotFound);
}

#[test]
fn a_killed_helper_leaves_what_a_repair_finishes() {
    const KILLS: usize = 50;
    let mut random = Random::of_test("a_killed_helper_leaves_what_a_repair_finishes");
    let install: Vec<(Verb, &str)> =
        vec![(Verb::Install, "omgt-p9"), (Verb::Install, "omgt-p8"), (Verb::Install, "omgt-asks")];
    let kinds = [install, vec![(Verb::FullUpgrade, "")]];
    // How much an undisturbed one says, and for how long.
    let lengths = kinds.each_ref().map(|actions| {
        let machine = world().machine();
        let started = std::time::Instant::now();
        let ran = commit(&machine, actions, &keep());
        ran.succeeded();
        (ran.events.len(), started.elapsed())
    });
    let mut left_unfinished = 0;
    for round in 0..KILLS {
        let (actions, (events, duration)) = (&kinds[round % 2], lengths[round % 2]);
        let machine = world().machine();
        let mut running = Running::start(&machine, &planned(&machine, actions, &keep()));
        // Either after something was told, or at any time while packages change.
        if random.chance(2) {
            for _ in 0..random.below(events) + 1 {
                running.next();
            }
        } else {
            running.until(|event| matches!(event, Event::Phase { phase: Phase::Applying, .. }));
            std::thread::sleep(duration.mul_f64(random.below(1000) as f64 / 1500.0));
        }
        let pid = debian_root::children_of(running.outer()).first().copied();
        if let Some(pid) = pid.and_then(|pid| Pid::from_raw(i32::try_from(pid).unwrap())) {
            // It may have ended by itself just now.
            let _ = kill_process(pid, Signal::KILL);
        }
        running.abandon();
        left_unfinished += usize::from(!machine.run("dpkg", &["--audit"]).is_empty());
        let wait = Options { wait: true, ..keep() };
        // dpkg may live a moment longer than the helper, and change what is planned.
        let repaired = loop {
            let ran = commit(&machine, &[(Verb::Repair, "")], &wait);
            match &ran.outcome {
                Some(Outcome::Failed { failure, .. }) if failure.kind == FailureKind::PlanStale => {}
                _ => break ran,
            }
        };
        repaired.succeeded();
        assert_eq!(machine.run("dpkg", &["--audit"]), "", "round {round}");
        // Takes every lock, and finds no broken dependency.
        machine.run("apt-get", &["--quiet", "--yes", "install", "omgt-plugin"]);
        machine.run("apt-get", &["check"]);
    }
    println!("{left_unfinished} of {KILLS} left something to finish");
    // Otherwise the kills came too early or too late to show anything.
    assert!(left_unfinished >= 5, "{left_unfinished}");
}
