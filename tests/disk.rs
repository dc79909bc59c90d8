//! A data folder that is full, read-only, missing or not the user's alone: answers are given all the same.

#![cfg(feature = "debian")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[expect(dead_code, reason = "shared by test targets that each use a part")]
mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use support::daemon::{Daemon, World, error, number, text, texts};

const HELPER: &str = env!("CARGO_BIN_EXE_omg-helper");

/// The daemon in a mount namespace of its own, after `set_up`, a shell script; `None` where that is not allowed.
fn in_namespace(world: &World, change: impl FnOnce(&mut Command), set_up: &str) -> Option<Daemon> {
    let root = rustix::process::geteuid().is_root();
    let mut command = world.command("unshare");
    command.arg("--mount").args((!root).then_some("--map-root-user"));
    let script = format!("set -e\n{set_up}\nexec \"$0\"");
    command.args(["sh", "-c", &script, env!("CARGO_BIN_EXE_omgd")]).current_dir(world.path(""));
    change(&mut command);
    let allowed =
        Command::new("unshare").arg("--mount").args((!root).then_some("--map-root-user")).arg("true").status();
    if !allowed.is_ok_and(|status| status.success()) {
        let thread = std::thread::current();
        support::daemon::skip(thread.name().unwrap_or("test"), "this machine allows no mount namespace");
        return None;
    }
    Some(world.start(command))
}

#[tokio::test]
async fn a_full_disk_keeps_the_index_in_memory() {
    let world = World::new();
    let set_up = "mount -t tmpfs -o size=64k tmpfs data; head -c 1000000 /dev/zero >data/fill || true";
    let Some(mut daemon) = in_namespace(&world, |_| {}, set_up) else { return };
    let client = world.peer().await;
    assert_eq!(client.search("app").await.unwrap().len(), 1);
    let status = client.dictionary("Status").await;
    assert!(texts(&status, "Errors").iter().any(|error| error.contains("kept in memory")), "{status:?}");
    assert_ne!(text(&status, "Store"), "ok");
    assert_eq!(text(&status, "StoreState"), "failed");
    world.root.write("var/lib/dpkg/status", "");
    assert!(client.list("installed").await.is_empty(), "changes show all the same");
    assert!(daemon.is_running());
}

#[tokio::test]
async fn an_index_that_neither_disk_nor_memory_takes_is_an_error_of_its_own_until_there_is_room() {
    // No file that the helper writes may have more than 8 blocks: the kernel ends it where there is room on the disk.
    let limited = format!("ulimit -f 8\nexec {HELPER} \"$@\"");
    let world = World::new();
    let path = world.script("helper", &limited);
    world.configure(&format!("helper = \"{}\"", path.display()));
    let filled = World::new();
    let path = filled.script("helper", &limited);
    filled.configure(&format!("helper = \"{}\"", path.display()));
    let set_up = "mount -t tmpfs -o size=64k tmpfs data; head -c 1000000 /dev/zero >data/fill || true";
    let full_disk = in_namespace(&filled, |_| {}, set_up);
    let daemons = [(&world, Some(world.daemon()), "RLIMIT_FSIZE"), (&filled, full_disk, "no space is left")];
    for (world, daemon, why) in daemons {
        let Some(mut daemon) = daemon else { continue };
        let client = world.peer().await;
        let (name, message) = error(client.search("app").await);
        assert_eq!(name, "org.omg.Error.DiskFull", "{message}");
        assert!(message.contains(why) && message.contains("neither on the disk nor in memory"), "{message}");
        world.script("helper", &format!("exec {HELPER} \"$@\""));
        let deadline = Instant::now() + Duration::from_secs(10);
        while let Err(failure) = client.search("app").await {
            assert!(Instant::now() < deadline, "{failure}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(daemon.is_running());
    }
}

#[test]
fn the_helper_tells_a_full_disk_by_its_exit_code() {
    let world = World::new();
    let mut command = world.command(HELPER);
    command.args(["index", "--backend", "apt", "--root"]).arg(world.root.path());
    let output = command.stdout(fs::File::options().write(true).open("/dev/full").unwrap()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(74), "{said}");
    assert!(said.contains("No space left on device"), "{said}");
}

#[tokio::test]
async fn a_read_only_home_keeps_everything_in_memory() {
    let world = World::new();
    let set_up = "mount --bind home home; mount -o remount,bind,ro home";
    let change = |command: &mut Command| {
        command.env_remove("XDG_DATA_HOME").env_remove("XDG_CACHE_HOME");
    };
    let Some(_daemon) = in_namespace(&world, change, set_up) else { return };
    let client = world.peer().await;
    assert_eq!(client.search("app").await.unwrap().len(), 1);
    let status = client.dictionary("Status").await;
    assert!(texts(&status, "Errors").iter().any(|error| error.contains("kept in memory")), "{status:?}");
    assert_eq!(number(&client.dictionary("Metrics").await, "Rebuilds"), 1, "the one in memory serves");
    assert_eq!(fs::read_dir(world.path("home")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_data_folder_that_others_can_write_in_or_own_is_not_used() {
    let root = rustix::process::geteuid().is_root();
    type Change = fn(&Path);
    let owned: Change = |folder| std::os::unix::fs::chown(folder, Some(65534), None).unwrap();
    let open: Change = |folder| fs::set_permissions(folder, PermissionsExt::from_mode(0o777)).unwrap();
    let group: Change = |folder| fs::set_permissions(folder, PermissionsExt::from_mode(0o770)).unwrap();
    for (folder, change, why) in [
        ("data/omg", open, "others can write in"),
        ("data/omg/index", group, "others can write in"),
        ("data/omg", owned, "belongs to user 65534"),
    ] {
        if why.starts_with("belongs") && !root {
            continue;
        }
        let world = World::new();
        // An index that would do, were it in a safe place.
        let mut first = world.daemon();
        assert_eq!(world.peer().await.search("app").await.unwrap().len(), 1);
        first.signal(rustix::process::Signal::TERM);
        first.ended();
        let snapshot = world.snapshot();
        let before = fs::metadata(&snapshot).unwrap().ino();
        change(&world.path(folder));
        let _daemon = world.daemon();
        let client = world.peer().await;
        assert_eq!(client.search("app").await.unwrap().len(), 1);
        assert_eq!(number(&client.dictionary("Metrics").await, "Rebuilds"), 1, "{folder}: the file is not believed");
        let errors = texts(&client.dictionary("Status").await, "Errors");
        assert!(errors.iter().any(|error| error.contains(why) && error.contains("kept in memory")), "{errors:?}");
        assert_eq!(fs::metadata(&snapshot).unwrap().ino(), before, "{folder}: nothing is written there");
        if folder == "data/omg" {
            assert_eq!(text(&client.dictionary("Status").await, "StoreState"), "failed");
        }
    }
}

#[tokio::test]
async fn without_a_home_data_is_in_var_lib() {
    let world = World::new();
    let change = |command: &mut Command| {
        command.env_remove("HOME").env_remove("XDG_DATA_HOME").env_remove("XDG_CACHE_HOME");
    };
    let Some(_daemon) = in_namespace(&world, change, "mount -t tmpfs tmpfs /var/lib") else { return };
    let client = world.peer().await;
    assert_eq!(client.search("app").await.unwrap().len(), 1);
    let status = client.dictionary("Status").await;
    assert_eq!((text(&status, "DataDir").as_str(), text(&status, "Store").as_str()), ("/var/lib/omg", "ok"));
}

#[tokio::test]
async fn a_home_that_does_not_exist_and_cannot_be_made_is_no_end() {
    let world = World::new();
    fs::write(world.path("file"), "").unwrap();
    let mut command = world.omgd();
    command.env("HOME", world.path("file/home")).env_remove("XDG_DATA_HOME").env_remove("XDG_CACHE_HOME");
    let _daemon = world.start(command);
    assert_eq!(world.peer().await.search("app").await.unwrap().len(), 1);
}
