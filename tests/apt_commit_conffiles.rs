//! `omg-helper commit` and changed configuration files on real Debian machines: who decides, and what dpkg reads.

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

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use commit_world::world;
use commits::{HELPER, Ran, Running, done, planned};
use debian_root::Machine;
use omg::transaction::{Change, Conffiles, Event, Level, Options, Outcome, QuestionKind, Reply, Verb, write_line};

fn conffiles(conffiles: Conffiles) -> Options {
    Options { conffiles, ..Options::default() }
}

/// Whether it was told that nobody can be asked.
fn says_kept(ran: &Ran) -> bool {
    ran.events.iter().any(|event| matches!(event, Event::Message { text, .. } if text.contains("are kept")))
}

/// Upgrades a package whose configuration file was changed here.
fn upgrade_changed_conffile(machine: &Machine, options: &Options) -> Running {
    machine.write("/etc/omgt/conf.conf", "mine\n");
    Running::start(machine, &planned(machine, &[(Verb::Upgrade, "omgt-conf")], options))
}

#[test]
fn changed_configuration_files_are_kept_or_replaced_as_told() {
    let kept = "/etc/omgt/conf.conf was changed here and is kept; the package's is /etc/omgt/conf.conf.dpkg-dist";
    let replaced = "/etc/omgt/conf.conf is the package's now; what was there is /etc/omgt/conf.conf.dpkg-old";
    for (choice, expected, said, other_file) in [
        (Conffiles::Keep, "mine\n", kept, "of version 2\n"),
        (Conffiles::Replace, "of version 2\n", replaced, "mine\n"),
    ] {
        let machine = world().machine();
        // What an administrator told apt to do does not win over what was asked for.
        let other = if choice == Conffiles::Keep { "confnew" } else { "confold" };
        machine.write("/etc/apt/apt.conf.d/90local", format!("DPkg::Options {{ \"--force-{other}\"; }};\n"));
        let ran = upgrade_changed_conffile(&machine, &conffiles(choice)).finish();
        assert_eq!(done(ran.succeeded()), [(Change::Upgrade, "omgt-conf", "1", "2")]);
        assert_eq!(machine.read("/etc/omgt/conf.conf"), expected);
        assert!(!ran.events.iter().any(|event| matches!(event, Event::Question(_))));
        let told = Event::Message { level: Level::Warning, text: said.to_owned() };
        assert!(ran.events.contains(&told), "{:?}", ran.events);
        let path = said.rsplit(' ').next().unwrap();
        assert_eq!(machine.read(path), other_file, "{path}");
    }
}

#[test]
fn the_owner_is_asked_about_a_changed_configuration_file() {
    for (answer, expected) in [(Some("keep"), "mine\n"), (Some("replace"), "of version 2\n"), (None, "mine\n")] {
        let machine = world().machine();
        let mut running = upgrade_changed_conffile(&machine, &conffiles(Conffiles::Ask));
        let Event::Question(question) = running.until(|event| matches!(event, Event::Question(_))) else {
            unreachable!()
        };
        let QuestionKind::Conffile { package, path } = &question.kind else { panic!("{question:?}") };
        assert_eq!((package.as_str(), path.as_str()), ("omgt-conf:amd64", "/etc/omgt/conf.conf"));
        assert_eq!(question.choices, ["keep", "replace"]);
        match answer {
            Some(choice) => running.reply(&Reply::Answer { id: question.id, choice: choice.to_owned() }),
            None => running.hang_up(),
        }
        running.finish().succeeded();
        assert_eq!(machine.read("/etc/omgt/conf.conf"), expected);
    }
}

#[test]
fn each_question_has_its_own_answer_and_scripts_find_the_end_of_the_input_before_and_after() {
    let machine = world().machine();
    machine.write("/etc/omgt/one.conf", "mine\n");
    machine.write("/etc/omgt/two.conf", "mine too\n");
    machine.write("/var/lib/omgt-read", "");
    let actions = [(Verb::Upgrade, "omgt-reads"), (Verb::Install, "omgt-looks")];
    let mut running = Running::start(&machine, &planned(&machine, &actions, &conffiles(Conffiles::Ask)));
    let mut asked = Vec::new();
    for _ in 0..2 {
        let Event::Question(question) = running.until(|event| matches!(event, Event::Question(_))) else {
            unreachable!()
        };
        let QuestionKind::Conffile { path, .. } = question.kind else { panic!("{question:?}") };
        let choice = if path == "/etc/omgt/two.conf" { "replace" } else { "keep" };
        // What is said about another question is no answer.
        running.reply(&Reply::Answer { id: question.id + 7, choice: "replace".to_owned() });
        running.reply(&Reply::Answer { id: question.id, choice: choice.to_owned() });
        asked.push(path);
    }
    running.finish().succeeded();
    asked.sort_unstable();
    assert_eq!(asked, ["/etc/omgt/one.conf", "/etc/omgt/two.conf"]);
    assert_eq!(machine.read("/etc/omgt/one.conf"), "mine\n");
    assert_eq!(machine.read("/etc/omgt/two.conf"), "two of version 2\n");
    assert_eq!(machine.read("/var/lib/omgt-read"), "end\n");
    assert_eq!(machine.read("/var/lib/omgt-input"), "");
}

#[test]
fn where_the_kernel_tells_nobody_who_reads_configuration_files_are_kept_and_nothing_waits() {
    let machine = world().machine();
    machine.write("/etc/omgt/conf.conf", "mine\n");
    let wanted = planned(&machine, &[(Verb::Upgrade, "omgt-conf")], &conffiles(Conffiles::Ask));
    let ran = Running::start_without(&machine, &wanted, "sys_admin").finish();
    assert_eq!(done(ran.succeeded()), [(Change::Upgrade, "omgt-conf", "1", "2")]);
    assert_eq!(machine.read("/etc/omgt/conf.conf"), "mine\n");
    assert!(says_kept(&ran), "{:?}", ran.events);
}

/// Leaves no room in `/run`, which becomes a small file system of its own.
fn fill_run(machine: &Machine) {
    let full = machine.try_run("dd", &["if=/dev/zero", "of=/run/filler", "bs=4096"]);
    assert!(String::from_utf8_lossy(&full.stderr).contains("No space left"), "{full:?}");
}

#[test]
fn without_room_for_an_answer_nobody_is_asked_and_configuration_files_are_kept() {
    let machine = world().machine();
    machine.run("mount", &["-t", "tmpfs", "-o", "size=64k,mode=755", "tmpfs", "/run"]);
    fill_run(&machine);
    let ran = upgrade_changed_conffile(&machine, &conffiles(Conffiles::Ask)).finish();
    assert_eq!(done(ran.succeeded()), [(Change::Upgrade, "omgt-conf", "1", "2")]);
    assert_eq!(machine.read("/etc/omgt/conf.conf"), "mine\n");
    assert!(says_kept(&ran), "{:?}", ran.events);
    assert!(!ran.events.iter().any(|event| matches!(event, Event::Question(_))));
}

#[test]
fn an_answer_has_its_room_however_full_it_is_meanwhile() {
    let machine = world().machine();
    machine.run("mount", &["-t", "tmpfs", "-o", "size=64k,mode=755", "tmpfs", "/run"]);
    for path in ["one", "two"] {
        machine.write(&format!("/etc/omgt/{path}.conf"), "mine\n");
    }
    let wanted = planned(&machine, &[(Verb::Upgrade, "omgt-reads")], &conffiles(Conffiles::Ask));
    let mut running = Running::start(&machine, &wanted);
    for _ in 0..2 {
        let Event::Question(question) = running.until(|event| matches!(event, Event::Question(_))) else {
            unreachable!()
        };
        let _ = fs::remove_file(machine.path("/run/filler"));
        fill_run(&machine);
        running.reply(&Reply::Answer { id: question.id, choice: "replace".to_owned() });
    }
    running.finish().succeeded();
    for path in ["one", "two"] {
        assert_ne!(machine.read(&format!("/etc/omgt/{path}.conf")), "mine\n");
    }
}

#[test]
fn a_question_of_dpkgs_that_nobody_is_told_of_is_answered_with_what_is_here() {
    let machine = world().machine();
    // A dpkg that does not say what it asks.
    let mute = "#!/bin/bash\nwords=()\nwhile [ $# != 0 ]; do\n\
                case $1 in --status-fd) shift 2 ;; *) words+=(\"$1\"); shift ;; esac\ndone\n\
                exec /usr/bin/dpkg \"${words[@]}\"\n";
    machine.write("/usr/local/lib/mute/dpkg", mute);
    fs::set_permissions(machine.path("/usr/local/lib/mute/dpkg"), fs::Permissions::from_mode(0o755)).unwrap();
    machine.write("/etc/apt/apt.conf.d/90mute", "Dir::Bin::dpkg \"/usr/local/lib/mute/dpkg\";\n");
    let ran = upgrade_changed_conffile(&machine, &conffiles(Conffiles::Ask)).finish();
    assert_eq!(done(ran.succeeded()), [(Change::Upgrade, "omgt-conf", "1", "2")]);
    assert_eq!(machine.read("/etc/omgt/conf.conf"), "mine\n");
    assert!(!ran.events.iter().any(|event| matches!(event, Event::Question(_))));
}

#[test]
fn at_a_terminal_dpkg_asks_there_and_events_stay_apart() {
    let machine = world().machine();
    machine.write("/etc/omgt/conf.conf", "mine\n");
    let wanted = planned(&machine, &[(Verb::Upgrade, "omgt-conf")], &conffiles(Conffiles::Ask));
    let mut line = Vec::new();
    write_line(&mut line, &wanted).unwrap();
    machine.write("/root/request", line);
    let helper = format!("{HELPER} commit --backend apt --terminal </root/request >/root/events");
    let mut command = machine.command("script");
    command.args(["--quiet", "--return", "--command", &helper, "/dev/null"]).env("TERM", "dumb");
    let mut terminal = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut screen, mut shown, mut chunk) = (terminal.stdout.take().unwrap(), Vec::new(), [0; 1000]);
    while !String::from_utf8_lossy(&shown).contains("[default=N] ?") {
        let length = screen.read(&mut chunk).unwrap();
        assert_ne!(length, 0, "{}", String::from_utf8_lossy(&shown));
        shown.extend_from_slice(&chunk[..length]);
    }
    // Kept open until the end: a terminal whose other side is gone hangs up.
    let mut keyboard = terminal.stdin.take().unwrap();
    keyboard.write_all(b"y\n").unwrap();
    screen.read_to_end(&mut shown).unwrap();
    assert!(terminal.wait().unwrap().success(), "{}", String::from_utf8_lossy(&shown));
    assert_eq!(machine.read("/etc/omgt/conf.conf"), "of version 2\n");
    let events = machine.read("/root/events");
    let events: Vec<Event> = events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(matches!(events.last(), Some(Event::Finished(Outcome::Succeeded(_)))), "{events:?}");
    assert!(!events.iter().any(|event| matches!(event, Event::Question(_))));
}
