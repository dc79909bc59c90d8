//! `omg undo`, `omg history` and `omg doctor --fix` on pacman's machines: afterwards libalpm has on record what it had before.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/debian_root.rs"]
mod debian_root;
#[path = "support/pacman_root.rs"]
mod pacman_root;
#[path = "support/pacman_world.rs"]
mod pacman_world;

use std::collections::BTreeMap;
use std::fs;

use debian_root::Machine;
use serde_json::Value;

/// A machine with our programs.
fn machine() -> Machine {
    let (_, programs) = pacman_root::pacman();
    let machine = pacman_world::machine();
    for program in ["omg", "omgd", "omg-helper"] {
        machine.add_program(&programs.join(program), &format!("/usr/bin/{program}"));
    }
    machine
}

/// Runs omg as root, where nobody can be asked: its exit status, and what it said.
fn omg(machine: &Machine, arguments: &[&str]) -> (i32, String, String) {
    let output = machine.try_run("omg", arguments);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[track_caller]
fn succeeds(machine: &Machine, arguments: &[&str]) -> String {
    let (code, said, errors) = omg(machine, arguments);
    assert_eq!(code, 0, "{arguments:?}: {said}{errors}");
    said
}

/// The local database as it lies on the disk, but for when packages were installed and what vouched for their files: an
/// older version comes from the download cache, whose files' checksums are in no database any more.
fn database(machine: &Machine) -> BTreeMap<String, String> {
    let folder = machine.path("/var/lib/pacman/local");
    let packages = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let read = |path: std::path::PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let desc = fs::read_to_string(path.join("desc")).unwrap();
        let of_now = ["%INSTALLDATE%", "%VALIDATION%"];
        let fields = desc.split("\n\n").filter(|field| !of_now.iter().any(|key| field.starts_with(key)));
        let kept = fields.collect::<Vec<_>>().join("\n\n");
        (name, kept + &fs::read_to_string(path.join("files")).unwrap())
    };
    packages.map(read).collect()
}

/// As `database`, with what pacman says of the packages' files.
fn state(machine: &Machine) -> (BTreeMap<String, String>, String, String) {
    let explicit = machine.run("pacman", &["-Qe"]);
    (database(machine), explicit, machine.run("pacman", &["-Qk"]))
}

fn history(machine: &Machine) -> Vec<Value> {
    succeeds(machine, &["history", "--json"]).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Change, name, version before and after of the newest transaction.
fn newest(machine: &Machine) -> Vec<(String, String, String, String)> {
    let entry = history(machine).remove(0);
    assert_eq!(entry["standing"], "succeeded", "{entry}");
    let text = |item: &Value, key: &str| item[key].as_str().unwrap().to_owned();
    let item = |item: &Value| (text(item, "change"), text(item, "name"), text(item, "from"), text(item, "to"));
    entry["items"].as_array().unwrap().iter().map(item).collect()
}

fn is(change: &str, name: &str, from: &str, to: &str) -> (String, String, String, String) {
    (change.to_owned(), name.to_owned(), from.to_owned(), to.to_owned())
}

/// What an undo needs where nobody is asked: older versions, of which nothing vouches for those in the cache.
const UNDO: [&str; 4] = ["undo", "-y", "--allow-downgrade", "--allow-untrusted"];

#[test]
fn an_installation_and_a_removal_are_taken_back_with_the_reasons_that_were() {
    let machine = machine();
    let before = state(&machine);
    succeeds(&machine, &["install", "-y", "p9", "scripted"]);
    assert_eq!(
        newest(&machine),
        [is("install", "p4", "", "1-1"), is("install", "p9", "", "1-1"), is("install", "scripted", "", "1-1")]
    );
    succeeds(&machine, &UNDO);
    assert_eq!(state(&machine), before);
    let told = history(&machine);
    assert_eq!((&told[0]["takes_back"], &told[0]["actions"][0][0]), (&told[1]["id"], &"remove".into()));
    // p3 was there for p7 alone.
    succeeds(&machine, &["remove", "-y", "--unneeded", "p7"]);
    assert_eq!(newest(&machine), [is("remove", "p3", "1-1", ""), is("remove", "p7", "1-1", "")]);
    assert_ne!(state(&machine), before);
    succeeds(&machine, &UNDO);
    assert_eq!(state(&machine), before);
    assert!(!before.1.contains("p3 "), "{}", before.1);
    // And that again.
    succeeds(&machine, &UNDO);
    assert!(!machine.run("pacman", &["-Q"]).contains("p7 "));
    assert_eq!(history(&machine).len(), 5);
}

#[test]
fn an_upgrade_is_taken_back_from_the_download_cache_and_a_downgrade_from_the_repository() {
    let machine = machine();
    let before = state(&machine);
    succeeds(&machine, &["refresh"]);
    succeeds(&machine, &["upgrade", "-y"]);
    let upgraded = state(&machine);
    assert!(newest(&machine).contains(&is("upgrade", "p7", "1-1", "2-1")));
    assert!(newest(&machine).contains(&is("remove", "old", "1-1", "")), "it was replaced");
    // What is risky is said before: without the word for it nothing changes.
    let (code, _, errors) = omg(&machine, &["undo", "-y"]);
    assert_eq!(code, 2, "{errors}");
    assert!(errors.contains("--allow-downgrade") && errors.contains("nothing was changed"), "{errors}");
    assert_eq!(state(&machine), upgraded);
    succeeds(&machine, &UNDO);
    assert_eq!(state(&machine), before);
    // That was a downgrade, which the repositories' versions take back.
    assert!(newest(&machine).contains(&is("downgrade", "p7", "2-1", "1-1")));
    machine.run("sh", &["-c", "rm /var/cache/pacman/pkg/*-2-1-*"]);
    succeeds(&machine, &UNDO);
    assert_eq!(state(&machine), upgraded);
}

#[test]
fn what_cannot_be_had_any_more_is_told_before_anything_changes() {
    let machine = machine();
    succeeds(&machine, &["refresh"]);
    succeeds(&machine, &["upgrade", "-y"]);
    let upgraded = state(&machine);
    machine.run("sh", &["-c", "rm /var/cache/pacman/pkg/p7-1-1-* /var/cache/pacman/pkg/conf-1-1-*"]);
    let log = machine.read("/var/log/pacman.log");
    for arguments in [&UNDO[..], &["undo", "--dry-run"]] {
        let (code, said, errors) = omg(&machine, arguments);
        assert_eq!(code, 1, "{said}{errors}");
        // All of it at once, with what there is instead.
        assert!(errors.contains("no repository has version 1-1 of p7; in the download cache: 2-1"), "{errors}");
        assert!(errors.contains("no repository has version 1-1 of conf; in the download cache: 2-1"), "{errors}");
        assert!(!errors.contains("of p2"), "{errors}");
    }
    assert_eq!(state(&machine), upgraded);
    assert_eq!(machine.read("/var/log/pacman.log"), log, "nothing was even begun");
    assert_eq!(history(&machine).len(), 1);
    // The rest can still be had by name.
    succeeds(&machine, &["install", "-y", "--allow-downgrade", "--allow-untrusted", "vital=1-1"]);
    assert_eq!(newest(&machine), [is("downgrade", "vital", "2-1", "1-1")]);
}

#[test]
fn what_an_undone_change_installed_may_be_gone() {
    let machine = machine();
    succeeds(&machine, &["install", "-y", "p8", "p11"]);
    machine.run("pacman", &["-R", "--noconfirm", "p8"]);
    let said = succeeds(&machine, &["undo", "-y"]);
    assert!(said.contains("p8 is not installed, so not removed"), "{said}");
    assert_eq!(newest(&machine), [is("remove", "p11", "1-1", "")]);
    let (code, _, errors) = omg(&machine, &["remove", "-y", "p11"]);
    assert!(code == 1 && errors.contains("p11 is not installed, so it cannot be removed"), "{code}: {errors}");
}

#[test]
fn a_lock_that_was_left_and_what_packages_lack_are_mended() {
    let machine = machine();
    machine.write("/var/lib/pacman/db.lck", "");
    let (code, said, errors) = omg(&machine, &["install", "-y", "p8"]);
    assert!(code == 3 && errors.contains("omg doctor --fix"), "{code}: {said}{errors}");
    let (_, said, _) = omg(&machine, &["doctor"]);
    assert!(said.contains("lock: it is there, and no process that can be seen from here holds it"), "{said}");
    let (_, said, errors) = omg(&machine, &["doctor", "--fix"]);
    assert!(said.contains("db.lck was left by an interrupted change"), "{said}{errors}");
    assert!(!machine.exists("/var/lib/pacman/db.lck"), "{said}{errors}");

    // As a killed pacman leaves it: no log of ours tells what it was at.
    machine.write("/var/lib/pacman/db.lck", "");
    fs::create_dir(machine.path("/var/lib/pacman/local/leaf-1-1")).unwrap();
    for asks in [&["doctor", "--fix", "-y"][..], &["install", "-y", "p8"]] {
        let (_, said, errors) = omg(&machine, asks);
        assert!(!machine.exists("/var/lib/pacman/db.lck"), "{said}{errors}");
        assert!(!machine.exists("/var/lib/pacman/local/leaf-1-1"), "{said}{errors}");
    }
    assert!(machine.run("pacman", &["-Qq"]).lines().any(|name| name == "p8"));

    machine.run("pacman", &["-Rdd", "--noconfirm", "p2"]);
    let (code, said, _) = omg(&machine, &["doctor"]);
    assert!(code == 3 && said.contains("without what they need: 2 (p5, p7)"), "{code}: {said}");
    // What is in the way belongs to somebody.
    machine.write("/usr/share/p2/version", "the administrator's\n");
    let (code, said, errors) = omg(&machine, &["doctor", "--fix", "-y"]);
    assert!(
        code == 2 && errors.contains("/usr/share/p2/version of p2 is on the disk already"),
        "{code}: {said}{errors}"
    );
    assert_eq!(machine.read("/usr/share/p2/version"), "the administrator's\n");
    machine.run("rm", &["/usr/share/p2/version"]);
    let (_, said, errors) = omg(&machine, &["doctor", "--fix", "-y"]);
    assert_eq!(machine.run("pacman", &["-Dk"]).trim(), "No database errors have been found!", "{said}{errors}");
    assert!(machine.run("pacman", &["-Qqd"]).lines().any(|name| name == "p2"), "{said}{errors}");
    let (_, said, _) = omg(&machine, &["doctor", "--fix"]);
    assert!(said.contains("nothing to do") && said.contains("packages: none is broken"), "{said}");
}

#[test]
fn a_damaged_database_is_told_and_fetched_anew() {
    let machine = machine();
    succeeds(&machine, &["refresh"]);
    let path = machine.path("/var/lib/pacman/sync/extra.db");
    let (whole, listed) = (fs::read(&path).unwrap(), machine.run("pacman", &["-Slq"]));
    // Named as it is fetched: pacman asks the server for what is younger.
    let modified = path.metadata().unwrap().modified().unwrap();
    for damaged in [&whole[..whole.len() / 2], b"no archive at all"] {
        fs::write(&path, damaged).unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
        let (_, said, errors) = omg(&machine, &["status"]);
        assert!(said.contains("the database of extra cannot be used"), "{said}{errors}");
        let (code, _, errors) = omg(&machine, &["install", "-y", "engine-b"]);
        assert!(code == 3 && errors.contains("extra"), "{code}: {errors}");
        succeeds(&machine, &["refresh"]);
        assert_eq!(machine.run("pacman", &["-Slq"]), listed);
        let (_, said, _) = omg(&machine, &["status"]);
        assert!(!said.contains("cannot be used"), "{said}");
    }
}

#[test]
fn what_nothing_has_is_not_found_for_root_as_well() {
    let machine = machine();
    for arguments in [["install", "-y", "ripgerp"], ["upgrade", "-y", "ripgerp"], ["install", "-y", "core/ripgerp"]] {
        let (code, _, errors) = omg(&machine, &arguments);
        assert!(code == 1 && !errors.contains("AUR"), "{arguments:?}: {code}: {errors}");
    }
}
