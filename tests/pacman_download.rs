//! `omg download` on pacman's machines, as an ordinary user, beside `pacman -Sw --cachedir`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/debian_root.rs"]
mod debian_root;
#[path = "support/http_archive.rs"]
mod http_archive;
#[path = "support/pacman_root.rs"]
mod pacman_root;
#[path = "support/pacman_world.rs"]
mod pacman_world;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use debian_root::{Machine, child_of};
use http_archive::{Server, Serving};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// The user's folder.
const FOLDER: &str = "/home/ordinary/packages";

/// A machine with our programs and an ordinary user.
fn machine() -> Machine {
    let (_, programs) = pacman_root::pacman();
    let machine = pacman_world::machine();
    for program in ["omg", "omg-helper"] {
        machine.add_program(&programs.join(program), &format!("/usr/bin/{program}"));
    }
    machine.write("/etc/passwd", machine.read("/etc/passwd") + "ordinary:x:1000:1000::/home/ordinary:/bin/sh\n");
    machine.run("install", &["-d", "-o", "1000", "-g", "1000", "/home/ordinary", FOLDER]);
    machine
}

/// The same, whose repository `core` this server serves.
fn machine_of(serving: Serving) -> (Machine, Server) {
    let machine = machine();
    let server = Server::new(&machine.path("/srv/core"), serving);
    let address = format!("s|file:///srv/core|{}|", server.address());
    machine.run("sed", &["-i", &address, "/etc/pacman.conf"]);
    (machine, server)
}

fn command(machine: &Machine, arguments: &[&str]) -> Command {
    let mut command = machine.command("setpriv");
    command.args(["--reuid=1000", "--regid=1000", "--clear-groups", "omg", "download"]);
    if !arguments.contains(&"--to") {
        command.args(["--to", FOLDER]);
    }
    command.args(arguments).env("HOME", "/home/ordinary");
    command
}

fn omg(machine: &Machine, arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command(machine, arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[track_caller]
fn succeeds(machine: &Machine, arguments: &[&str]) -> String {
    let (code, text, errors) = omg(machine, arguments);
    assert_eq!((code, errors.as_str()), (0, ""), "{arguments:?}: {text}");
    text
}

#[track_caller]
fn fails(machine: &Machine, arguments: &[&str], code: i32, says: &[&str]) {
    let before = files(machine, FOLDER);
    let (found, text, errors) = omg(machine, arguments);
    assert_eq!(found, code, "{arguments:?}: {text}{errors}");
    for part in says {
        assert!(errors.contains(part), "{part} is not in: {errors}");
    }
    assert_eq!(files(machine, FOLDER), before, "nothing stays");
}

/// Names and contents of what is in a folder; folders have none.
fn files(machine: &Machine, folder: &str) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(machine.path(folder)).unwrap().map(Result::unwrap);
    let file = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().unwrap();
        (name, if entry.path().is_dir() { Vec::new() } else { fs::read(entry.path()).unwrap() })
    };
    entries.map(file).collect()
}

fn names(machine: &Machine) -> Vec<String> {
    files(machine, FOLDER).into_keys().collect()
}

/// Sums of the databases and of the download cache, and when they were made.
fn state(machine: &Machine) -> String {
    machine.run("sh", &["-c", "cd /var && ls -lR --full-time lib/pacman cache/pacman && cat log/pacman.log"])
}

fn eventually(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < end, "{what} never came true");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_files_are_those_of_pacman_and_nothing_else_changes() {
    let machine = machine();
    for (number, targets) in [
        &["p4"][..],
        // They conflict with each other, and need others that do not come along.
        &["p9", "p10"],
        &["core/p2", "p2"],
        &["p4=1-1"],
        // A group, what provides something, what needs something that is nowhere.
        &["bunch", "engine", "lacks"],
    ]
    .into_iter()
    .enumerate()
    {
        let (ours, theirs) = (format!("{FOLDER}/{number}"), format!("/var/tmp/theirs-{number}"));
        machine.run("install", &["-d", "-o", "1000", "-g", "1000", &ours]);
        machine.run("mkdir", &[&theirs]);
        let before = state(&machine);
        succeeds(&machine, &[targets, &["--to", &ours]].concat());
        assert_eq!(state(&machine), before, "{targets:?}");
        for target in targets {
            machine.run("pacman", &["-Swdd", "--noconfirm", "--cachedir", &theirs, target]);
        }
        let (ours_has, theirs_has) = (files(&machine, &ours), files(&machine, &theirs));
        assert_eq!(ours_has.keys().collect::<Vec<_>>(), theirs_has.keys().collect::<Vec<_>>(), "{targets:?}");
        assert!(!ours_has.is_empty() && ours_has == theirs_has, "{targets:?}: the bytes differ");
        for name in ours_has.keys() {
            let found = fs::metadata(machine.path(&ours).join(name)).unwrap();
            assert_eq!((found.permissions().mode() & 0o7777, found.uid()), (0o644, 1000), "{name}");
        }
    }
    assert!(
        !machine
            .try_run("pacman", &["-Swdd", "--noconfirm", "--cachedir", "/var/tmp/theirs-0", "elsewhere"])
            .status
            .success()
    );
    fails(&machine, &["elsewhere"], 2, &["elsewhere is for armv7h"]);
}

#[test]
fn what_cannot_be_fetched_says_why_and_leaves_nothing() {
    let (machine, server) = machine_of(Serving::Well);
    machine.run("sh", &["-c", "cd /srv/core; printf x >>p4-1-1-any.pkg.tar; rm p8-1-1-any.pkg.tar"]);
    // As long as it should be, and something else.
    machine.run("sh", &["-c", "cd /srv/core; f=p6-1-1-any.pkg.tar; s=$(stat -c %s $f); rm $f; truncate -s $s $f"]);
    fails(&machine, &["p4"], 4, &["Maximum file size exceeded", "not fetched: p4"]);
    fails(&machine, &["p6"], 5, &["invalid or corrupted package", "not fetched: p6"]);
    fails(&machine, &["p8"], 4, &["p8-1-1-any.pkg.tar", "404", "not fetched: p8"]);
    fails(&machine, &["nonesuch"], 1, &["no package, group or provider is called nonesuch"]);
    fails(&machine, &["p2=7"], 1, &["no repository has version 7 of p2"]);
    fails(&machine, &["away/p2"], 1, &["there is no repository away; there are core, extra"]);
    fails(&machine, &["p2", "--to", "/nowhere"], 2, &["/nowhere cannot be used"]);
    fails(&machine, &["p2", "--to", "/etc/passwd"], 2, &["/etc/passwd is no folder"]);
    fails(&machine, &["p2", "--to", "/srv/extra"], 2, &["files cannot be put into /srv/extra"]);
    fails(&machine, &["--", "-rf"], 2, &["is no package"]);
    // What is there stays as it is.
    machine.write(&format!("{FOLDER}/p2-1-1-any.pkg.tar"), "mine");
    fails(&machine, &["p2"], 2, &["is something else", "--to"]);
    machine.run("rm", &[&format!("{FOLDER}/p2-1-1-any.pkg.tar")]);
    // What was fetched to its end stays too.
    let (code, _, errors) = omg(&machine, &["p2", "p6"]);
    assert_eq!(code, 5, "{errors}");
    assert_eq!(names(&machine), ["p2-1-1-any.pkg.tar"]);
    let before = server.requests();
    succeeds(&machine, &["p2"]);
    assert_eq!(server.requests(), before, "it is there");
    drop(server);
    fails(&machine, &["p10"], 4, &["p10", "try again"]);
    // Databases that are not there are not empty ones.
    machine.run("sh", &["-c", "rm /var/lib/pacman/sync/core.db"]);
    fails(&machine, &["p10"], 3, &["the database of core cannot be used"]);
}

#[test]
fn an_interrupt_or_the_end_of_omg_ends_the_download_and_nothing_stays() {
    let (machine, server) = machine_of(Serving::Stalling);
    for signal in [Signal::INT, Signal::TERM, Signal::KILL] {
        let before = server.requests();
        let mut child = command(&machine, &["p4"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        eventually("the request", || server.requests() > before);
        assert!(!names(&machine).is_empty(), "it is fetched into the folder");
        let pid = Pid::from_raw(i32::try_from(child_of(child.id())).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
        let status = child.wait().unwrap();
        if signal != Signal::KILL {
            assert_eq!(status.code(), Some(130));
        }
        eventually("nothing stays", || names(&machine).is_empty());
    }
    drop(server);
    let (machine, _server) = machine_of(Serving::BreakingOff);
    fails(&machine, &["p4"], 4, &["not fetched: p4"]);
}

#[test]
fn root_fetches_as_the_user_that_pacman_fetches_as() {
    let machine = machine();
    // With all of the sandbox disabled libalpm does not become that user.
    machine.run("sed", &["-i", "s/^DisableSandbox$/DisableSandboxFilesystem/", "/etc/pacman.conf"]);
    machine.run("sed", &["-i", "1a DownloadUser = ordinary", "/etc/pacman.conf"]);
    let download = |folder: &str| machine.try_run("omg", &["download", "p4", "--to", folder]);
    machine.run("mkdir", &["/var/tmp/open", "/root/closed"]);
    machine.run("chmod", &["700", "/root"]);
    let done = download("/var/tmp/open");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(files(&machine, "/var/tmp/open").into_keys().collect::<Vec<_>>(), ["p4-1-1-any.pkg.tar"]);
    assert_eq!(fs::metadata(machine.path("/var/tmp/open/p4-1-1-any.pkg.tar")).unwrap().uid(), 0);
    // Whose own files it cannot read: pacman fails there too, in other words.
    let refused = download("/root/closed");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("/root is closed to ordinary") && said.contains("DownloadUser"), "{said}");
    let theirs = machine.try_run("pacman", &["-Sw", "--noconfirm", "--cachedir", "/root/closed", "p4"]);
    assert!(!theirs.status.success());
    assert!(files(&machine, "/root/closed").keys().all(|name| !name.ends_with(".tar")));
}

#[test]
fn what_is_fetched_is_told_before_and_meanwhile() {
    let machine = machine();
    let file = "p4-1-1-any.pkg.tar";
    let path = Path::new("/srv/core").join(file);
    let path = path.to_str().unwrap();
    let size = fs::metadata(machine.path(path)).unwrap().len();
    let sum = machine.run("sha256sum", &[path]);
    let archive = |present: bool| {
        json!({"event": "archives", "archives": [{
            "name": "p4", "arch": "any", "version": "1-1", "repository": "core", "size": size,
            "sha256": &sum[..64], "trusted": true, "file": file, "present": present,
        }]})
    };
    let lines = |text: String| -> Vec<Value> { text.lines().map(|line| serde_json::from_str(line).unwrap()).collect() };
    let expected = format!("p4\t1-1\tcore\t{size}\t{file}\n");
    assert_eq!(succeeds(&machine, &["p4", "--dry-run"]), expected);
    assert_eq!(
        lines(succeeds(&machine, &["p4", "--dry-run", "--json"])),
        [archive(false), json!({"result": "planned"})]
    );
    assert!(names(&machine).is_empty());
    let told = lines(succeeds(&machine, &["p4", "--json"]));
    assert!(told.contains(&archive(false)) && told.last() == Some(&json!({"result": "succeeded"})), "{told:?}");
    let fetched = |event: &Value| event["item"] == "p4:any" && event["state"] == "fetched";
    assert!(told.iter().any(fetched), "{told:?}");
    assert!(lines(succeeds(&machine, &["p4", "--json"])).contains(&archive(true)));
}
