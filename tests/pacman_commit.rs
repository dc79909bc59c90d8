//! `omg-helper plan`, `commit` and `refresh` on pacman's databases: what libalpm has on record afterwards, and what was told
//! meanwhile.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/commits.rs"]
mod commits;
#[path = "support/debian_root.rs"]
mod debian_root;
#[path = "support/pacman_root.rs"]
mod pacman_root;
#[path = "support/pacman_world.rs"]
mod pacman_world;

use commits::{HELPER, Ran, Running, commit, done, plan, planned, request};
use debian_root::Machine;
use omg::transaction::{
    Change, Event, FailureKind, HoldReason, ItemState, Level, Options, Outcome, Phase, Request, Risk, Verb,
};
use pacman_world::machine;

fn keep() -> Options {
    Options::default()
}

fn refresh(machine: &Machine) {
    let ran = machine.try_run(HELPER, &["refresh"]);
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stdout));
}

fn version_of(machine: &Machine, package: &str) -> String {
    String::from_utf8(machine.try_run("pacman", &["-Q", package]).stdout).unwrap().trim().to_owned()
}

fn messages(ran: &Ran, wanted: Level) -> Vec<&str> {
    let text = |event: &'_ Event| matches!(event, Event::Message { level, .. } if *level == wanted);
    ran.events
        .iter()
        .filter(|event| text(event))
        .filter_map(|event| match event {
            Event::Message { text, .. } => Some(text.as_str()),
            _ => None,
        })
        .collect()
}

#[test]
fn an_install_is_on_record_and_told_step_by_step() {
    let machine = machine();
    let ran = commit(&machine, &[(Verb::Install, "p9"), (Verb::Install, "scripted")], &keep());
    let applied = ran.succeeded();
    assert_eq!(
        done(applied),
        [
            (Change::Install, "p4", "", "1-1"),
            (Change::Install, "p9", "", "1-1"),
            (Change::Install, "scripted", "", "1-1")
        ]
    );
    for item in &applied.items {
        assert_eq!(version_of(&machine, &item.name), format!("{} {}", item.name, item.to));
        assert_eq!(ran.state_of(&format!("{}:any", item.name)), Some(ItemState::Installed), "{:?}", ran.events);
        assert_eq!(item.explicit, matches!(item.name.as_str(), "p9" | "scripted"), "{}", item.name);
    }
    assert_eq!(
        ran.phases(),
        [
            (Phase::Locking, true),
            (Phase::Resolving, true),
            (Phase::Fetching, false),
            (Phase::Applying, false),
            (Phase::Finishing, false)
        ]
    );
    let fractions = ran.fractions();
    assert!(fractions.is_sorted() && fractions.iter().all(|fraction| (0.0..=1.0).contains(fraction)), "{fractions:?}");
    assert!(messages(&ran, Level::Info).contains(&"installed 1-1"), "{:?}", ran.events);
    let explicit = machine.run("pacman", &["-Qqe"]);
    assert!(explicit.contains("p9\n") && !explicit.contains("p4\n"), "{explicit}");
    assert!(!machine.exists("/var/lib/pacman/db.lck"));
    assert!(machine.read("/var/log/pacman.log").contains("[ALPM] installed p9 (1-1)"));
    assert!(machine.read("/var/lib/omg/audit/audit.jsonl").contains("\"ended\""));
}

#[test]
fn an_upgrade_replaces_keeps_what_is_ignored_and_changed_files() {
    let machine = machine();
    machine.write("/etc/omgt/conf.conf", "mine\n");
    refresh(&machine);
    let wanted = planned(&machine, &[(Verb::UpgradeAll, "")], &keep());
    let shown = plan(&machine, &wanted).unwrap();
    let held: Vec<_> = shown.held_back.iter().map(|held| (held.name.as_str(), held.reason)).collect();
    assert_eq!(held, [("kept", HoldReason::Held)]);
    let decided: Vec<_> = shown.decisions.iter().map(|decision| (decision.key(), decision.chosen.as_str())).collect();
    assert_eq!(decided, [("replace:old:extra/new".to_owned(), "yes")]);
    let ran = Running::start(&machine, &wanted).finish();
    let found = done(ran.succeeded());
    for change in [
        (Change::Install, "new", "", "2-1"),
        (Change::Remove, "old", "1-1", ""),
        (Change::Upgrade, "conf", "1-1", "2-1"),
        (Change::Upgrade, "p7", "1-1", "2-1"),
        (Change::Upgrade, "vital", "1-1", "2-1"),
    ] {
        assert!(found.contains(&change), "{change:?} is not in {found:?}");
    }
    assert_eq!(version_of(&machine, "kept"), "kept 1-1");
    assert_eq!(machine.read("/etc/omgt/conf.conf"), "mine\n");
    assert_eq!(machine.read("/etc/omgt/conf.conf.pacnew"), "of version 2\n");
    let told = "/etc/omgt/conf.conf was changed here and is kept; the package's is /etc/omgt/conf.conf.pacnew";
    assert!(messages(&ran, Level::Warning).contains(&told), "{:?}", ran.events);
    assert_eq!(String::from_utf8(machine.try_run("pacman", &["-Qu"]).stdout).unwrap(), "kept 1-1 -> 2-1 [ignored]\n");
}

#[test]
fn removals_keep_or_drop_changed_files_and_take_what_nothing_needs_when_asked() {
    let machine = machine();
    machine.write("/etc/omgt/conf.conf", "mine\n");
    let ran = commit(&machine, &[(Verb::Remove, "conf")], &keep());
    assert_eq!(done(ran.succeeded()), [(Change::Remove, "conf", "1-1", "")]);
    assert_eq!(ran.state_of("conf:any"), Some(ItemState::Removed));
    assert_eq!(machine.read("/etc/omgt/conf.conf.pacsave"), "mine\n");
    machine.run("pacman", &["-S", "--noconfirm", "conf"]);
    machine.write("/etc/omgt/conf.conf", "mine again\n");
    machine.run("rm", &["/etc/omgt/conf.conf.pacsave"]);
    let ran = commit(&machine, &[(Verb::Purge, "conf")], &keep());
    assert_eq!(done(ran.succeeded()), [(Change::Purge, "conf", "1-1", "")]);
    assert!(!machine.exists("/etc/omgt/conf.conf.pacsave") && !machine.exists("/etc/omgt/conf.conf"));
    // p7 needs p3 and p2, and p2 was asked for.
    let ran = commit(&machine, &[(Verb::Remove, "p7"), (Verb::Autoremove, "")], &keep());
    assert_eq!(done(ran.succeeded()), [(Change::Remove, "p3", "1-1", ""), (Change::Remove, "p7", "1-1", "")]);
    machine.run("sed", &["-i", "s/^HoldPkg.*/HoldPkg = v?ta*/", "/etc/pacman.conf"]);
    let risky = plan(&machine, &request(&[(Verb::Remove, "vital")], &keep())).unwrap();
    assert_eq!(risky.risks, [Risk::RemovesEssential("vital".to_owned())]);
}

#[test]
fn what_cannot_be_is_explained_in_the_resolvers_terms() {
    let machine = machine();
    for (actions, kind, why) in [
        (&[(Verb::Install, "lacks")][..], FailureKind::ResolutionFailed, "lacks needs nowhere"),
        (&[(Verb::Install, "rival")], FailureKind::ResolutionFailed, "conflict (p2); remove one of them"),
        (&[(Verb::Install, "elsewhere")], FailureKind::ResolutionFailed, "elsewhere is for armv7h"),
        (&[(Verb::Remove, "p2")], FailureKind::ResolutionFailed, "p2 cannot be removed: p5 needs p2>=1"),
        (&[(Verb::Install, "nothing")], FailureKind::NotFound, "no package, group or provider is called nothing"),
        (&[(Verb::Install, "p4:i686")], FailureKind::NotFound, "no repository has p4 for i686"),
        (&[(Verb::Install, "p2=7")], FailureKind::NotFound, "no repository has version 7 of p2"),
        (&[(Verb::Install, "away/p2")], FailureKind::NotFound, "there is no repository away; there are core, extra"),
        (&[(Verb::Upgrade, "p9")], FailureKind::NotFound, "p9 is not installed"),
        (&[(Verb::MarkExplicit, "p9")], FailureKind::NotFound, "p9 is not installed"),
        (&[(Verb::Hold, "p2")], FailureKind::InvalidArgument, "change IgnorePkg there for p2"),
    ] {
        let failure = plan(&machine, &request(actions, &keep())).unwrap_err();
        assert_eq!(failure.kind, kind, "{failure}");
        assert!(failure.message.contains(why), "{why}: {failure}");
    }
    assert!(!machine.exists("/var/lib/pacman/db.lck"), "planning locks nothing");
    for target in ["p7=3", "core/p7", "p7:armv7h"] {
        let failure = plan(&machine, &request(&[(Verb::Remove, target)], &keep())).unwrap_err();
        assert_eq!(failure.kind, FailureKind::NotFound, "{failure}");
        assert_eq!(failure.message, format!("{target} is not installed, so it cannot be removed"));
    }
}

#[test]
fn providers_groups_repositories_and_marks_are_libalpms() {
    let machine = machine();
    let shown = plan(&machine, &request(&[(Verb::Install, "needs-engine")], &keep())).unwrap();
    assert!(shown.items.iter().any(|item| item.name == "engine-a" && !item.explicit), "{shown:?}");
    assert_eq!(shown.decisions[0].key(), "provider:engine");
    assert_eq!(shown.decisions[0].choices, ["engine-a", "engine-b"]);
    let chosen = plan(&machine, &request(&[(Verb::Install, "needs-engine"), (Verb::Install, "engine-b")], &keep()));
    assert!(!chosen.unwrap().items.iter().any(|item| item.name == "engine-a"));
    let ran = commit(&machine, &[(Verb::Install, "bunch"), (Verb::Install, "extra/p1")], &keep());
    let found: Vec<_> = ran.succeeded().items.iter().map(|item| (&*item.name, &*item.repository)).collect();
    assert_eq!(found, [("member-a", "core"), ("member-b", "core"), ("p1", "")]);
    let ran = commit(&machine, &[(Verb::MarkDependency, "p7"), (Verb::MarkExplicit, "p3")], &keep());
    assert_eq!(
        done(ran.succeeded()),
        [(Change::MarkExplicit, "p3", "1-1", "1-1"), (Change::MarkDependency, "p7", "1-1", "1-1")]
    );
    let explicit = machine.run("pacman", &["-Qqe"]);
    assert!(explicit.contains("p3\n") && !explicit.contains("p7\n"), "{explicit}");
    let ran = commit(&machine, &[(Verb::Reinstall, "p2")], &keep());
    assert_eq!(done(ran.succeeded()), [(Change::Reinstall, "p2", "1-1", "1-1")]);
    let ran = commit(&machine, &[(Verb::Install, "p8"), (Verb::MarkDependency, "p8")], &keep());
    assert!(ran.succeeded().items.iter().all(|item| !item.explicit), "{ran:?}");
    assert!(!machine.run("pacman", &["-Qqe"]).contains("p8\n"));
}

#[test]
fn installing_beside_newer_databases_is_called_a_partial_upgrade() {
    let machine = machine();
    refresh(&machine);
    let shown = plan(&machine, &request(&[(Verb::Install, "engine-a")], &keep())).unwrap();
    assert_eq!(shown.risks, [Risk::PartialUpgrade(8)]);
    let whole = plan(&machine, &request(&[(Verb::UpgradeAll, ""), (Verb::Install, "engine-a")], &keep())).unwrap();
    assert_eq!(whole.risks, []);
}

#[test]
fn nothing_is_done_when_the_plan_is_not_the_one_that_was_shown() {
    let machine = machine();
    let wanted = planned(&machine, &[(Verb::Install, "p4")], &keep());
    refresh(&machine);
    let ran = Running::start(&machine, &wanted).finish();
    assert_eq!(ran.failed().0.kind, FailureKind::PlanStale);
    assert_eq!(version_of(&machine, "p4"), "");
    assert!(!machine.exists("/var/lib/pacman/db.lck"));
    let unnamed = Request { digest: None, ..wanted };
    assert_eq!(Running::start(&machine, &unnamed).finish().failed().0.kind, FailureKind::InvalidArgument);
}

#[test]
fn a_lock_names_its_holder_and_one_that_nobody_holds_is_repaired() {
    let machine = machine();
    let slow = planned(&machine, &[(Verb::Install, "slow")], &keep());
    let other = planned(&machine, &[(Verb::Install, "p4")], &keep());
    let running = Running::start(&machine, &slow);
    while !machine.exists("/var/lib/omgt-started") {
        std::thread::yield_now();
    }
    let refused = Running::start(&machine, &other).finish();
    let (failure, _) = refused.failed();
    assert_eq!(failure.kind, FailureKind::Locked, "{failure}");
    assert!(failure.message.contains("omg-helper (process "), "{failure}");
    machine.write("/var/lib/omgt-go", "");
    running.finish().succeeded();
    machine.write("/var/lib/pacman/db.lck", "");
    let refused = Running::start(&machine, &other).finish();
    let (failure, _) = refused.failed();
    assert!(failure.kind == FailureKind::Locked && failure.message.contains("omg doctor --fix"), "{failure}");
    commit(&machine, &[(Verb::Repair, "")], &keep()).succeeded();
    Running::start(&machine, &other).finish().succeeded();
}

#[test]
fn failures_name_the_file_or_the_script_and_leave_no_lock() {
    let machine = machine();
    let clash = planned(&machine, &[(Verb::Install, "clash")], &keep());
    let ran = Running::start(&machine, &clash).finish();
    let (failure, applied) = ran.failed();
    assert!(failure.kind == FailureKind::ResolutionFailed && applied.items.is_empty(), "{failure}");
    assert!(failure.message.contains("/usr/share/p2/version of clash is in p2 as well"), "{failure}");
    // As with pacman: what is unpacked stays installed.
    let ran = commit(&machine, &[(Verb::Install, "failing")], &keep());
    assert_eq!(done(ran.succeeded()), [(Change::Install, "failing", "", "1-1")]);
    assert!(messages(&ran, Level::Error).iter().any(|text| text.contains("command failed to execute")), "{ran:?}");
    machine.run("sh", &["-c", "echo broken >/srv/core/p4-1-1-any.pkg.tar"]);
    let ran = Running::start(&machine, &planned(&machine, &[(Verb::Install, "p4")], &keep())).finish();
    let (failure, _) = ran.failed();
    assert_eq!(failure.kind, FailureKind::Untrusted, "{failure}");
    machine.run("sh", &["-c", "rm /srv/core/p12-1-1-any.pkg.tar"]);
    let ran = Running::start(&machine, &planned(&machine, &[(Verb::Install, "p12")], &keep())).finish();
    let (failure, _) = ran.failed();
    assert_eq!(failure.kind, FailureKind::Network, "{failure}");
    assert!(!machine.exists("/var/lib/pacman/db.lck"));
}

#[test]
fn hooks_of_the_distribution_run_and_the_administrators_take_their_place() {
    let machine = machine();
    let hook = |when: &str, text: &str| {
        format!(
            "[Trigger]\nOperation = Install\nOperation = Upgrade\nType = Package\nTarget = *\n[Action]\n\
             Description = {text}\nWhen = {when}\nExec = /bin/sh -c 'echo {text} >>/var/lib/omgt-hooks'\n"
        )
    };
    machine.write("/usr/share/libalpm/hooks/a.hook", hook("PreTransaction", "before"));
    machine.write("/usr/share/libalpm/hooks/b.hook", hook("PostTransaction", "theirs"));
    machine.write("/etc/pacman.d/hooks/b.hook", hook("PostTransaction", "mine"));
    let ran = commit(&machine, &[(Verb::Install, "p4")], &keep());
    ran.succeeded();
    assert_eq!(machine.read("/var/lib/omgt-hooks"), "before\nmine\n");
    assert!(messages(&ran, Level::Info).contains(&"hook 1 of 1: mine"), "{:?}", ran.events);
    // What pacman itself does.
    machine.run("rm", &["/var/lib/omgt-hooks"]);
    machine.run("pacman", &["-S", "--noconfirm", "p8"]);
    assert_eq!(machine.read("/var/lib/omgt-hooks"), "before\nmine\n");
}

#[test]
fn nothing_is_told_as_done_that_was_not() {
    let machine = machine();
    let only = Options { download_only: true, ..keep() };
    let ran = commit(&machine, &[(Verb::Remove, "p7")], &only);
    assert_eq!(done(ran.succeeded()), []);
    assert_eq!(version_of(&machine, "p7"), "p7 1-1");
    let ran = commit(&machine, &[(Verb::Reinstall, "p7")], &only);
    assert_eq!(done(ran.succeeded()), []);
    let wanted = planned(&machine, &[(Verb::Reinstall, "p7")], &keep());
    machine.run("sh", &["-c", "rm /var/cache/pacman/pkg/p7*; echo broken >/srv/extra/p7-1-1-any.pkg.tar"]);
    let ran = Running::start(&machine, &wanted).finish();
    assert!(ran.failed().1.items.is_empty(), "{ran:?}");
    // A database that reads as empty is none that everything is up to date with.
    machine.run("sh", &["-c", "rm /var/lib/pacman/sync/extra.db"]);
    let failure = plan(&machine, &request(&[(Verb::UpgradeAll, "")], &keep())).unwrap_err();
    assert!(failure.message.contains("the database of extra cannot be used"), "{failure}");
}

#[test]
fn a_command_of_the_administrators_fetches_as_it_does_for_pacman() {
    let machine = machine();
    machine.write(
        "/usr/local/bin/fetch",
        "#!/bin/sh\necho \"$PWD $1 ${2##*/}\" >>/var/log/fetched\nexec cp \"${2#file://}\" \"$1\"\n",
    );
    machine.run("chmod", &["755", "/usr/local/bin/fetch"]);
    machine.run("sed", &["-i", "1a XferCommand = /usr/local/bin/fetch '%o' \"%u\"", "/etc/pacman.conf"]);
    let fetched = |take: &dyn Fn()| {
        machine.run("sh", &["-c", "rm -rf /var/log/fetched /var/lib/pacman/sync /var/cache/pacman/pkg/*"]);
        take();
        let mut lines: Vec<String> = machine.read("/var/log/fetched").lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };
    let ours = fetched(&|| {
        refresh(&machine);
        commit(&machine, &[(Verb::Install, "engine-a")], &keep()).succeeded();
    });
    assert_eq!(version_of(&machine, "engine-a"), "engine-a 2-1");
    machine.run("pacman", &["-R", "--noconfirm", "engine-a"]);
    let theirs = fetched(&|| {
        machine.run("pacman", &["-Sy", "--noconfirm", "engine-a"]);
    });
    assert_eq!(ours, theirs);
    assert!(ours.iter().any(|line| line.ends_with("core.db")) && ours[0].contains(".part "), "{ours:?}");
    machine.write("/usr/local/bin/fetch", "#!/bin/sh\nexit 1\n");
    machine.run("sh", &["-c", "rm -rf /var/lib/pacman/sync"]);
    let refused = machine.try_run(HELPER, &["refresh"]);
    assert!(!refused.status.success(), "{}", String::from_utf8_lossy(&refused.stdout));
    assert!(!machine.exists("/var/lib/pacman/db.lck"));
}

#[test]
fn downloads_alone_and_the_cache_are_pacmans() {
    let machine = machine();
    machine.run("sh", &["-c", "rm -f /var/cache/pacman/pkg/*"]);
    let only = Options { download_only: true, ..keep() };
    let ran = commit(&machine, &[(Verb::Install, "p4")], &only);
    assert_eq!(done(ran.succeeded()), []);
    assert_eq!(version_of(&machine, "p4"), "");
    assert!(machine.exists("/var/cache/pacman/pkg/p4-1-1-any.pkg.tar"));
    let shown = plan(&machine, &request(&[(Verb::Install, "p4")], &keep())).unwrap();
    assert_eq!(shown.download_size(), 0);
    let ran = commit(&machine, &[(Verb::Clean, "")], &keep());
    assert_eq!(done(ran.succeeded()), [(Change::Clean, "p4", "1-1", "")]);
    assert!(!machine.exists("/var/cache/pacman/pkg/p4-1-1-any.pkg.tar"));
    assert!(matches!(ran.outcome, Some(Outcome::Succeeded(_))));
}
