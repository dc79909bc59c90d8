//! `omg-helper commit` on real Debian machines: what dpkg and apt have on record afterwards, and what was told meanwhile.

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

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use commit_world::world;
use commits::{HELPER, Running, commit, done, of_files, plan, planned, request};
use deb_archive::deb;
use debian_root::Machine;
use omg::transaction::{
    Change, Event, FailureKind, ItemState, Level, Options, Outcome, Phase, Reply, Request, Verb, write_line,
};
use rustix::process::{Pid, Signal, kill_process};

fn keep() -> Options {
    Options::default()
}

fn version_of(machine: &Machine, package: &str) -> String {
    let output = machine.try_run("dpkg-query", &["-W", "-f", "${db:Status-Abbrev}${Version}", package]);
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn an_install_is_on_record_and_told_step_by_step() {
    let machine = world().machine();
    let ran = commit(&machine, &[(Verb::Install, "omgt-p9"), (Verb::Upgrade, "omgt-app")], &keep());
    let applied = ran.succeeded();
    let expected = [
        (Change::Install, "omgt-p9", "", "2"),
        (Change::Install, "omgt-p4", "", "2"),
        (Change::Upgrade, "omgt-app", "1", "2"),
        (Change::Upgrade, "omgt-lib", "1", "2"),
    ];
    let (mut found, mut expected) = (done(applied), expected.to_vec());
    found.sort_unstable();
    expected.sort_unstable();
    for change in &expected {
        assert!(found.contains(change), "{change:?} is not in {found:?}");
    }
    for item in &applied.items {
        assert_eq!(version_of(&machine, &item.name), format!("ii {}", item.to));
        assert_eq!(ran.state_of(&format!("{}:amd64", item.name)), Some(ItemState::Installed), "{:?}", ran.events);
    }
    assert_eq!(
        ran.phases(),
        [
            (Phase::Locking, true),
            (Phase::Resolving, true),
            (Phase::Fetching, true),
            (Phase::Applying, false),
            (Phase::Finishing, false)
        ]
    );
    let fractions = ran.fractions();
    assert!(fractions.is_sorted() && fractions.iter().all(|fraction| (0.0..=1.0).contains(fraction)), "{fractions:?}");
    assert!(machine.read("/var/log/apt/history.log").contains("Commandline: omg install omgt-p9 upgrade omgt-app\n"));
    assert!(machine.read("/var/log/apt/term.log").contains("Setting up omgt-p9 (2)"));
    // What was asked for is explicit, what it needs is not.
    assert!(applied.items.iter().any(|item| item.name == "omgt-p9" && item.explicit));
    assert_eq!(machine.run("apt-mark", &["showauto", "omgt-p4", "omgt-p9"]), "omgt-p4\n");
}

#[test]
fn a_removal_keeps_configuration_files_and_a_purge_does_not() {
    let machine = world().machine();
    let removed = commit(&machine, &[(Verb::Remove, "omgt-conf")], &keep());
    assert_eq!(done(removed.succeeded()), [(Change::Remove, "omgt-conf", "1", "")]);
    assert_eq!(removed.state_of("omgt-conf:amd64"), Some(ItemState::Removed));
    assert!(machine.exists("/etc/omgt/conf.conf"));
    let purged = commit(&machine, &[(Verb::Purge, "omgt-conf")], &keep());
    assert_eq!(done(purged.succeeded()), [(Change::Purge, "omgt-conf", "", "")]);
    assert!(!machine.exists("/etc/omgt/conf.conf"));
}

#[test]
fn reinstalled_packages_are_told_though_dpkg_records_nothing() {
    let machine = world().machine();
    commit(&machine, &[(Verb::Install, "omgt-p8")], &keep()).succeeded();
    std::fs::remove_file(machine.path("/usr/share/doc/omgt-p8/version")).unwrap();
    let ran = commit(&machine, &[(Verb::Reinstall, "omgt-p8")], &keep());
    assert_eq!(done(ran.succeeded()), [(Change::Reinstall, "omgt-p8", "2", "2")]);
    assert!(machine.exists("/usr/share/doc/omgt-p8/version"));
}

#[test]
fn a_failing_script_is_quoted_and_a_repair_finishes_its_package() {
    let machine = world().machine();
    let ran = commit(&machine, &[(Verb::Install, "omgt-fails"), (Verb::Install, "omgt-p8")], &keep());
    let (failure, applied) = ran.failed();
    assert_eq!(failure.kind, FailureKind::Internal);
    for part in ["omgt-fails", "exit status 3", "the tank is empty", "omg doctor --fix"] {
        assert!(failure.message.contains(part), "{part} is not in: {failure}");
    }
    assert!(done(applied).contains(&(Change::Install, "omgt-fails", "", "2")), "{applied:?}");
    // Everybody may read the audit log, and nobody else's script's words.
    let log = machine.read("/var/lib/omg/audit/audit.jsonl");
    assert!(log.contains("exit status 3") && !log.contains("the tank is empty"), "{log}");
    assert_eq!(version_of(&machine, "omgt-fails"), "iF 2");
    assert_eq!(version_of(&machine, "omgt-p8"), "ii 2");
    let is_told =
        |event: &Event| matches!(event, Event::Message { level: Level::Error, text } if text.contains("omgt-fails"));
    assert!(ran.events.iter().any(is_told), "{:?}", ran.events);
    assert!(ran.events.iter().any(|event| {
        matches!(event, Event::Item { item, state: ItemState::Failed, .. } if item.starts_with("omgt-fails"))
    }));

    let again = commit(&machine, &[(Verb::Repair, "")], &keep());
    let (failure, _) = again.failed();
    assert!(failure.message.contains("the tank is empty"), "{failure}");
    machine.write("/etc/omgt-fuel", "");
    let repaired = commit(&machine, &[(Verb::Repair, "")], &keep());
    assert_eq!(done(repaired.succeeded()), [(Change::Configure, "omgt-fails", "2", "2")]);
    assert_eq!(machine.run("dpkg", &["--audit"]), "");
}

#[test]
fn a_line_without_end_is_cut_and_what_follows_is_told() {
    let machine = world().machine();
    let ran = commit(&machine, &[(Verb::Install, "omgt-babbles")], &keep());
    let (failure, _) = ran.failed();
    assert!(failure.message.contains("xxx […]") && failure.message.contains("about to fail"), "{failure}");
    assert!(failure.message.len() < 20_000, "{} bytes", failure.message.len());
    let tells = |event: &&Event| matches!(event, Event::Message { text, .. } if text.contains("they are cut"));
    assert_eq!(ran.events.iter().filter(tells).count(), 1);
}

#[test]
fn scripts_see_neither_the_replies_nor_the_environment_and_debconf_takes_defaults() {
    let machine = world().machine();
    let wanted = planned(&machine, &[(Verb::Install, "omgt-looks"), (Verb::Install, "omgt-asks")], &keep());
    let mut running = Running::start(&machine, &wanted);
    running.reply(&Reply::Answer { id: 9, choice: "for nobody".to_owned() });
    running.finish().succeeded();
    assert_eq!(machine.read("/var/lib/omgt-input"), "");
    assert_eq!(machine.read("/var/lib/omgt-colour"), "blue\n");
    let environment = machine.read("/var/lib/omgt-environment");
    assert!(environment.contains("DEBIAN_FRONTEND=noninteractive\n"), "{environment}");
}

#[test]
fn the_callers_umask_does_not_decide_who_can_read_the_history() {
    let machine = world().machine();
    let wanted = planned(&machine, &[(Verb::Hold, "omgt-conf")], &keep());
    let mut line = Vec::new();
    write_line(&mut line, &wanted).unwrap();
    machine.write("/root/request", line);
    machine.run("sh", &["-c", &format!("umask 077; {HELPER} commit --backend apt </root/request >/root/events")]);
    for (path, mode) in [("/var/lib/omg/audit", 0o755), ("/var/lib/omg/audit/audit.jsonl", 0o644)] {
        assert_eq!(std::fs::metadata(machine.path(path)).unwrap().permissions().mode() & 0o777, mode, "{path}");
    }
    // Nothing of it can be interrupted.
    let events = machine.read("/root/events");
    assert!(events.contains(r#"{"event":"phase","phase":"applying","cancellable":false}"#), "{events}");
}

#[test]
fn triggers_have_run_when_it_is_over() {
    let machine = world().machine();
    let ran = commit(&machine, &[(Verb::Install, "omgt-plugin")], &keep());
    assert_eq!(done(ran.succeeded()), [(Change::Install, "omgt-plugin", "", "2")]);
    assert_eq!(machine.read("/var/lib/omgt-plugins"), "one\n");
}

#[test]
fn a_held_lock_names_its_holder_and_can_be_waited_for() {
    let machine = world().machine();
    let install = planned(&machine, &[(Verb::Install, "omgt-p8")], &keep());
    let waiting = planned(&machine, &[(Verb::Install, "omgt-p8")], &Options { wait: true, ..keep() });
    let mut apt = machine.command("apt-get");
    let mut apt = apt.args(["--quiet", "--yes", "install", "omgt-slow"]).stdout(Stdio::null()).spawn().unwrap();
    while !machine.exists("/var/lib/omgt-started") {
        assert!(apt.try_wait().unwrap().is_none());
        std::thread::yield_now();
    }
    let ran = Running::start(&machine, &install).finish();
    let (failure, applied) = ran.failed();
    assert_eq!((failure.kind, applied.items.len()), (FailureKind::Locked, 0));
    assert!(failure.message.contains("apt-get (process ") && failure.message.contains("lock-frontend"), "{failure}");

    let is_waiting = |event: &Event| matches!(event, Event::Message { text, .. } if text.contains("apt-get (process "));
    let mut cancelled = Running::start(&machine, &waiting);
    cancelled.until(is_waiting);
    cancelled.reply(&Reply::Cancel);
    assert!(matches!(cancelled.finish().outcome, Some(Outcome::Cancelled { applied }) if applied.items.is_empty()));

    let mut patient = Running::start(&machine, &waiting);
    patient.until(is_waiting);
    machine.write("/var/lib/omgt-go", "");
    let ran = patient.finish();
    assert_eq!(done(ran.succeeded()), [(Change::Install, "omgt-p8", "", "2")]);
    assert!(apt.wait().unwrap().success());
}

#[test]
fn a_plan_that_no_longer_holds_is_refused_and_nothing_is_done() {
    let machine = world().machine();
    let stale = planned(&machine, &[(Verb::Upgrade, "omgt-app")], &keep());
    machine.run("apt-get", &["--quiet", "--yes", "install", "omgt-lib"]);
    let before = machine.read("/var/lib/dpkg/status");
    let ran = Running::start(&machine, &stale).finish();
    assert_eq!(ran.failed().0.kind, FailureKind::PlanStale);
    assert_eq!(machine.read("/var/lib/dpkg/status"), before);
    let unsigned = request(&[(Verb::Upgrade, "omgt-app")], &keep());
    let ran = Running::start(&machine, &unsigned).finish();
    assert_eq!(ran.failed().0.kind, FailureKind::InvalidArgument);
    assert_eq!(machine.read("/var/lib/dpkg/status"), before);
}

#[test]
fn nothing_is_locked_while_somebody_is_asked_and_what_changes_meanwhile_is_noticed() {
    let is_asked = |event: &Event| matches!(event, Event::Resolved { .. });
    let upgrade = |machine: &Machine| {
        let mut running =
            Running::start_supervised(machine, &planned(machine, &[(Verb::Upgrade, "omgt-app")], &keep()));
        running.until(is_asked);
        running
    };
    // apt-get takes every lock, and changes what has nothing to do with the plan.
    for meanwhile in [None, Some("omgt-p8")] {
        let machine = world().machine();
        let mut running = upgrade(&machine);
        if let Some(package) = meanwhile {
            machine.run("apt-get", &["--quiet", "--yes", "install", package]);
        }
        running.reply(&Reply::Proceed);
        let ran = running.finish();
        assert!(done(ran.succeeded()).contains(&(Change::Upgrade, "omgt-app", "1", "2")), "{ran:?}");
        let resolved = ran.phases().iter().filter(|(phase, _)| *phase == Phase::Resolving).count();
        assert_eq!(resolved, if meanwhile.is_some() { 2 } else { 1 });
    }
    let machine = world().machine();
    let mut running = upgrade(&machine);
    machine.run("apt-get", &["--quiet", "--yes", "install", "omgt-lib"]);
    running.reply(&Reply::Proceed);
    assert_eq!(running.finish().failed().0.kind, FailureKind::PlanStale);
    assert_eq!(version_of(&machine, "omgt-app"), "ii 1");

    let mut running = upgrade(&machine);
    running.reply(&Reply::Cancel);
    assert!(matches!(running.finish().outcome, Some(Outcome::Cancelled { applied }) if applied.items.is_empty()));
    assert_eq!(version_of(&machine, "omgt-app"), "ii 1");
}

#[test]
fn marks_and_holds_are_apts_and_dpkgs_own() {
    let machine = world().machine();
    let ran = commit(&machine, &[(Verb::MarkDependency, "omgt-p7"), (Verb::Hold, "omgt-conf")], &keep());
    let mut found = done(ran.succeeded());
    found.sort_unstable();
    assert_eq!(found, [(Change::Hold, "omgt-conf", "1", "1"), (Change::MarkDependency, "omgt-p7", "1", "1")]);
    assert_eq!(machine.run("apt-mark", &["showhold"]), "omgt-conf\n");
    assert_eq!(machine.run("apt-mark", &["showauto", "omgt-p7"]), "omgt-p7\n");
    let ran = commit(&machine, &[(Verb::MarkExplicit, "omgt-p7"), (Verb::Unhold, "omgt-conf")], &keep());
    let mut found = done(ran.succeeded());
    found.sort_unstable();
    assert_eq!(found, [(Change::Unhold, "omgt-conf", "1", "1"), (Change::MarkExplicit, "omgt-p7", "1", "1")]);
    assert_eq!(machine.run("apt-mark", &["showhold"]), "");
    assert_eq!(machine.run("apt-mark", &["showauto", "omgt-p7"]), "");
}

#[test]
fn what_is_installed_by_name_can_be_a_dependency_all_the_same() {
    let machine = world().machine();
    let automatic = || machine.run("apt-mark", &["showauto", "omgt-app", "omgt-lib"]);
    let back = [(Verb::Install, "omgt-app=1"), (Verb::Install, "omgt-lib=1"), (Verb::MarkDependency, "omgt-lib")];
    assert_eq!(automatic(), "omgt-lib\n");
    for away in [&[(Verb::Upgrade, "omgt-app")][..], &[(Verb::Remove, "omgt-app"), (Verb::Remove, "omgt-lib")]] {
        commit(&machine, away, &keep()).succeeded();
        let ran = commit(&machine, &back, &keep());
        let applied = ran.succeeded();
        let told: Vec<_> = applied.items.iter().map(|item| (&*item.name, &*item.to, item.explicit)).collect();
        assert_eq!(told, [("omgt-app", "1", true), ("omgt-lib", "1", false)]);
        assert_eq!(automatic(), "omgt-lib\n");
    }
    // Of what stays at its version the mark alone changes.
    let ran = commit(&machine, &[(Verb::Install, "omgt-app=1"), (Verb::MarkDependency, "omgt-app")], &keep());
    assert_eq!(done(ran.succeeded()), [(Change::MarkDependency, "omgt-app", "1", "1")]);
    let ran = commit(&machine, &[(Verb::Install, "omgt-app=1"), (Verb::MarkDependency, "omgt-app")], &keep());
    assert_eq!(done(ran.succeeded()), []);
    assert_eq!(automatic(), "omgt-app\nomgt-lib\n");
}

#[test]
fn signals_do_not_stop_what_is_being_applied() {
    let machine = world().machine();
    let install = planned(&machine, &[(Verb::Install, "omgt-slow"), (Verb::Install, "omgt-p8")], &keep());
    let mut running = Running::start(&machine, &install);
    running.until_item("omgt-slow:amd64", ItemState::Configuring);
    while !machine.exists("/var/lib/omgt-started") {
        std::thread::yield_now();
    }
    let helper = Pid::from_raw(i32::try_from(running.pid()).unwrap()).unwrap();
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        kill_process(helper, signal).unwrap();
    }
    running.reply(&Reply::Cancel);
    machine.write("/var/lib/omgt-go", "");
    running.finish().succeeded();
    assert_eq!(version_of(&machine, "omgt-slow"), "ii 2");
    assert_eq!(version_of(&machine, "omgt-p8"), "ii 2");
}

#[test]
fn a_wanted_restart_is_told_with_its_packages() {
    let machine = world().machine();
    machine.write("/run/reboot-required", "*** System restart required ***\n");
    machine.write("/run/reboot-required.pkgs", "linux-image\nlibc6\n");
    let ran = commit(&machine, &[(Verb::Install, "omgt-p8")], &keep());
    let restart = &ran.succeeded().restart;
    assert_eq!(
        (restart.machine, restart.packages.as_slice()),
        (true, &["libc6".to_owned(), "linux-image".to_owned()][..])
    );
}

#[test]
fn a_package_file_is_installed_with_what_it_needs() {
    let machine = world().machine();
    let folder = tempfile::tempdir().unwrap();
    let mine = deb("omgt-mine", "3").field("Depends: omgt-p8").script("postinst", ": >/var/lib/omgt-mine");
    let file = std::fs::File::open(mine.build(folder.path())).unwrap();
    let wanted = of_files(&[("mine.deb", &file)]);
    let digest = plan(&machine, &wanted).unwrap().digest;
    let ran = Running::start(&machine, &Request { digest: Some(digest), ..wanted.clone() }).finish();
    let mut found = done(ran.succeeded());
    found.sort_unstable();
    assert_eq!(found, [(Change::Install, "omgt-mine", "", "3"), (Change::Install, "omgt-p8", "", "2")]);
    assert_eq!(version_of(&machine, "omgt-mine"), "ii 3");
    assert!(machine.exists("/var/lib/omgt-mine"));
    assert_eq!(machine.run("apt-mark", &["showauto", "omgt-mine", "omgt-p8"]), "omgt-p8\n");
    // The copy that was installed from is gone.
    assert_eq!(std::fs::read_dir(machine.path("/var/cache/omg")).unwrap().count(), 0);

    // The same name and version with other contents is another file.
    let other = deb("omgt-mine", "3").file("/usr/share/omgt-mine", "other").build(folder.path());
    let other = std::fs::File::open(other).unwrap();
    let other = of_files(&[("mine.deb", &other)]);
    let before = machine.read("/var/lib/dpkg/status");
    let ran = Running::start(&machine, &Request { digest: Some(digest), ..other }).finish();
    assert_eq!(ran.failed().0.kind, FailureKind::PlanStale);
    assert_eq!(machine.read("/var/lib/dpkg/status"), before);
}

#[test]
fn what_is_no_package_file_for_this_machine_is_refused_by_name() {
    use std::os::unix::fs::OpenOptionsExt;

    let machine = world().machine();
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    let whole = std::fs::read(deb("omgt-mine", "3").build(folder.path())).unwrap();
    std::fs::write(place("half.deb"), &whole[..whole.len() / 2]).unwrap();
    std::fs::write(place("empty.deb"), "").unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, place("fifo.deb"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
    std::os::unix::fs::symlink("/etc/shadow", place("link.deb")).unwrap();
    let arm = deb("omgt-arm", "3").arch("armhf").build(folder.path());
    let flags = |flags: rustix::fs::OFlags| i32::try_from(flags.bits()).unwrap();
    let open = |path: &Path, more: rustix::fs::OFlags| {
        std::fs::OpenOptions::new().read(true).custom_flags(flags(more)).open(path).unwrap()
    };
    use rustix::fs::OFlags;
    let before = machine.read("/var/lib/dpkg/status");
    for (name, file, kind, message) in [
        (
            "fifo.deb",
            open(&place("fifo.deb"), OFlags::NONBLOCK),
            FailureKind::InvalidArgument,
            "fifo.deb is no regular file",
        ),
        (
            "link.deb",
            open(&place("link.deb"), OFlags::PATH | OFlags::NOFOLLOW),
            FailureKind::InvalidArgument,
            "link.deb is no regular file",
        ),
        (
            "folder.deb",
            open(folder.path(), OFlags::DIRECTORY),
            FailureKind::InvalidArgument,
            "folder.deb is no regular file",
        ),
        (
            "empty.deb",
            open(&place("empty.deb"), OFlags::empty()),
            FailureKind::InvalidArgument,
            "empty.deb has 0 bytes: that is no package",
        ),
        (
            "half.deb",
            open(&place("half.deb"), OFlags::empty()),
            FailureKind::InvalidArgument,
            "half.deb is no package: ",
        ),
        (
            "arm.deb",
            open(&arm, OFlags::empty()),
            FailureKind::InvalidArgument,
            "arm.deb is for armhf, and this machine takes packages for amd64",
        ),
    ] {
        let wanted = of_files(&[(name, &file)]);
        let failure = plan(&machine, &wanted).unwrap_err();
        assert_eq!(failure.kind, kind, "{failure}");
        assert!(failure.message.starts_with(message), "{failure}");
        // Whoever skips the plan gets no further.
        let ran = Running::start(&machine, &Request { digest: Some(Default::default()), ..wanted }).finish();
        let (failure, applied) = ran.failed();
        assert!(failure.kind == kind && failure.message.starts_with(message) && applied.items.is_empty(), "{failure}");
    }
    assert_eq!(machine.read("/var/lib/dpkg/status"), before);
}

#[test]
fn root_who_agrees_beforehand_gets_it_planned_and_done_in_one_go_without_a_daemon() {
    let machine = world().machine();
    machine.add_program(Path::new(env!("CARGO_BIN_EXE_omg")), "/usr/bin/omg");
    machine.add_program(Path::new(env!("CARGO_BIN_EXE_omg-helper")), "/usr/libexec/omg/omg-helper");
    let said = machine.run("omg", &["install", "-y", "omgt-p8"]);
    assert!(said.starts_with("install\tomgt-p8\t\t2\t"), "{said}");
    assert!(said.contains("\ninstalled omgt-p8:amd64\n") && said.contains("\n1 installed\n"), "{said}");
    assert_eq!(version_of(&machine, "omgt-p8"), "ii 2");

    let said = machine.run("omg", &["install", "-y", "--json", "omgt-p4"]);
    let lines: Vec<serde_json::Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["plan"]["items"][0]["name"], "omgt-p4", "{said}");
    assert_eq!(lines.last().unwrap()["result"], "succeeded", "{said}");

    machine.run("omg", &["install", "-y", "omgt-vital"]);
    // Nothing of this is done, and nothing stays locked.
    let log = machine.read("/var/lib/omg/audit/audit.jsonl");
    let before = machine.read("/var/lib/dpkg/status");
    let nothing = "note\tomgt-p8 is already the newest version (2).\nnothing to do\n";
    assert_eq!(machine.run("omg", &["install", "-y", "omgt-p8"]), nothing);
    for (arguments, code, says) in [
        (["install", "-y", "omgt-p8=1"], 2, "--allow-downgrade"),
        (["install", "-y", "omgt-nowhere"], 1, "omgt-nowhere"),
        (["remove", "-y", "omgt-vital"], 2, "--allow-essential"),
    ] {
        let output = machine.try_run("omg", &arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
        assert!(error.contains(says), "{error}");
    }
    assert_eq!(machine.read("/var/lib/dpkg/status"), before);
    assert_eq!(machine.read("/var/lib/omg/audit/audit.jsonl"), log);
    machine.run("apt-get", &["--quiet", "--yes", "purge", "omgt-p8"]);
    machine.run("omg", &["remove", "-y", "--allow-essential", "omgt-vital"]);
    assert_eq!(version_of(&machine, "omgt-vital"), "");
}

#[test]
fn namesakes_of_two_architectures_come_together_and_go_one_by_one() {
    let machine = world().machine();
    machine.run("dpkg", &["--add-architecture", "i386"]);
    let folder = tempfile::tempdir().unwrap();
    let files = ["amd64", "i386"].map(|arch| {
        let package = deb("omgt-both", "1").arch(arch).field("Multi-Arch: same").script("postinst", "true");
        std::fs::File::open(package.build(folder.path())).unwrap()
    });
    let wanted = of_files(&[("amd64.deb", &files[0]), ("i386.deb", &files[1])]);
    let digest = plan(&machine, &wanted).unwrap().digest;
    let ran = Running::start(&machine, &Request { digest: Some(digest), ..wanted }).finish();
    let installed = |arch: &str| ran.succeeded().items.iter().any(|item| item.name == "omgt-both" && item.arch == arch);
    assert!(installed("amd64") && installed("i386"), "{ran:?}");
    for name in ["omgt-both:amd64", "omgt-both:i386"] {
        assert_eq!(ran.state_of(name), Some(ItemState::Installed), "{:?}", ran.events);
        assert_eq!(version_of(&machine, name), "ii 1");
    }
    let ran = commit(&machine, &[(Verb::Purge, "omgt-both:i386")], &keep());
    assert_eq!(done(ran.succeeded()), [(Change::Purge, "omgt-both", "1", "")]);
    assert_eq!(version_of(&machine, "omgt-both:amd64"), "ii 1");
    assert_eq!(version_of(&machine, "omgt-both:i386"), "");
}
