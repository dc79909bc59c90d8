//! `omg-helper commit` on pacman's databases when it is killed.

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

use commits::{HELPER, Running, commit, planned};
use debian_root::Machine;
use omg::security::audit::{AuditLog, Readers, history};
use omg::transaction::{Event, Options, Phase, Standing, Verb};
use pacman_world::machine;
use random::Random;
use rustix::process::{Pid, Signal, kill_process};

const KILLS: usize = 50;

/// What is on record; files that are missing would be named.
fn records(machine: &Machine) -> [String; 3] {
    [["-Q"], ["-Qe"], ["-Qk"]].map(|arguments| machine.run("pacman", &arguments))
}

#[test]
fn a_killed_helper_leaves_what_a_repair_finishes() {
    let mut random = Random::of_test("a_killed_helper_leaves_what_a_repair_finishes");
    let install: Vec<(Verb, &str)> = ["p9", "p11", "p13", "scripted", "bunch"].map(|name| (Verb::Install, name)).into();
    let remove = vec![(Verb::Remove, "p7"), (Verb::Remove, "conf"), (Verb::Autoremove, "")];
    let kinds = [install, vec![(Verb::UpgradeAll, "")], remove];
    let fresh = || {
        let machine = machine();
        assert!(machine.try_run(HELPER, &["refresh"]).status.success());
        machine
    };
    // How much an undisturbed one says, how long it changes packages, and what it comes to.
    let undisturbed = kinds.each_ref().map(|actions| {
        let machine = fresh();
        let mut running = Running::start(&machine, &planned(&machine, actions, &Options::default()));
        running.until(|event| matches!(event, Event::Phase { phase: Phase::Applying, .. }));
        let started = std::time::Instant::now();
        let ran = running.finish();
        ran.succeeded();
        (ran.events.len(), started.elapsed(), records(&machine))
    });
    let (mut locked, mut unfinished) = (0, 0);
    for round in 0..KILLS {
        let (actions, (events, duration, expected)) = (&kinds[round % 3], &undisturbed[round % 3]);
        let machine = fresh();
        let mut running = Running::start(&machine, &planned(&machine, actions, &Options::default()));
        // Either after something was told, or at any time while packages change.
        if random.chance(3) {
            for _ in 0..random.below(*events) + 1 {
                running.next();
            }
        } else {
            running.until(|event| matches!(event, Event::Phase { phase: Phase::Applying, .. }));
            std::thread::sleep(duration.mul_f64(random.below(1000) as f64 / 1000.0));
        }
        let pid = debian_root::children_of(running.outer()).first().copied();
        if let Some(pid) = pid.and_then(|pid| Pid::from_raw(i32::try_from(pid).unwrap())) {
            // It may have ended by itself just now.
            let _ = kill_process(pid, Signal::KILL);
        }
        running.abandon();
        locked += usize::from(machine.exists("/var/lib/pacman/db.lck"));
        let log = AuditLog::new(&machine.path("/var/lib/omg/audit"), Readers::Everyone);
        let told = history(&log.read(100).unwrap());
        let begun = told.first().map(|entry| entry.standing);
        commit(&machine, &[(Verb::Repair, "")], &Options::default()).succeeded();
        assert!(!machine.exists("/var/lib/pacman/db.lck"), "round {round}");
        assert!(log.verify().unwrap().is_ok(), "round {round}");
        machine.run("pacman", &["-Dk"]);
        match begun {
            Some(Standing::Interrupted) => {
                unfinished += 1;
                assert_eq!(records(&machine), *expected, "round {round}: {actions:?}");
            }
            // It had not begun, or was over.
            _ => commit(&machine, actions, &Options::default()).succeeded().items.iter().for_each(drop),
        }
        assert_eq!(records(&machine), *expected, "round {round}: {actions:?}");
    }
    println!("of {KILLS} kills {locked} left the lock, {unfinished} something that had begun");
    // Otherwise the kills came too early or too late to show anything.
    assert!(locked >= 5 && unfinished >= 5, "{locked} {unfinished}");
}
