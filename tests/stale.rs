//! No stale answer: the very next call of a running daemon shows what was changed before it.

#![cfg(feature = "debian")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[expect(dead_code, reason = "shared by test targets that each use a part")]
mod support;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Instant, SystemTime};

use support::apt_root::run;
use support::daemon::{Client, Daemon, Dict, WAIT, World, error, number, packages, set_archive, text, texts};

/// A daemon that has answered, so that it has everything in memory.
async fn warm() -> (World, Daemon, Client) {
    let world = World::new();
    let daemon = world.daemon();
    let client = world.peer().await;
    assert_eq!(client.list("installed").await, ["app", "lib-auto", "provider"]);
    assert_eq!(text(&client.details("app").await.unwrap(), "Candidate"), "2.0");
    assert_eq!(client.search("new-tool").await.unwrap().len(), 0);
    (world, daemon, client)
}

/// A package file that holds one document.
fn build_deb(world: &World, name: &str, version: &str) -> PathBuf {
    let tree = world.path(&format!("{name}-{version}"));
    fs::create_dir_all(tree.join("DEBIAN")).unwrap();
    fs::create_dir_all(tree.join("usr/share/doc")).unwrap();
    fs::write(tree.join("usr/share/doc").join(name), version).unwrap();
    let control = format!(
        "Package: {name}\nVersion: {version}\nArchitecture: amd64\nMaintainer: A <a@example.org>\nDescription: tool\n"
    );
    fs::write(tree.join("DEBIAN/control"), control).unwrap();
    let file = world.path(&format!("{name}_{version}.deb"));
    run(Command::new("dpkg-deb").arg("--build").arg(&tree).arg(&file));
    file
}

fn dpkg(world: &World, arguments: &[&str]) {
    for folder in ["var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers", "usr/share"] {
        fs::create_dir_all(world.root.path().join(folder)).unwrap();
    }
    let path = std::env::var("PATH").unwrap() + ":/usr/sbin:/sbin";
    let mut command = Command::new("dpkg");
    command.arg(format!("--root={}", world.root.path().display())).args(["--force-not-root", "--log=/dev/null"]);
    run(command
        .args(["--force-unsafe-io", "--force-depends"])
        .args(arguments)
        .env("PATH", path)
        .env("LC_ALL", "C.UTF-8"));
}

async fn candidate(client: &Client, name: &str) -> String {
    text(&client.details(name).await.unwrap(), "Candidate")
}

#[tokio::test]
async fn what_dpkg_installs_upgrades_and_removes_shows_at_once() {
    let (world, _daemon, client) = warm().await;
    for version in ["1.0", "1.1", "1.2"] {
        let file = build_deb(&world, "new-tool", version);
        dpkg(&world, &["-i", file.to_str().unwrap()]);
        assert_eq!(text(&client.details("new-tool").await.unwrap(), "Installed"), version);
        assert_eq!(client.search("new-tool").await.unwrap().len(), 1);
        assert_eq!(number(&client.dictionary("Status").await, "Installed"), 4);
    }
    assert!(client.list("foreign").await.contains(&"new-tool".to_owned()));
    dpkg(&world, &["--remove", "new-tool"]);
    assert_eq!(client.list("installed").await, ["app", "lib-auto", "provider"]);
    assert!(client.details("new-tool").await.is_err());
}

#[tokio::test]
async fn a_replaced_status_file_shows_at_once() {
    let (world, _daemon, client) = warm().await;
    let status = world.root.path().join("var/lib/dpkg/status");
    let text = fs::read_to_string(&status).unwrap();
    for round in 0..20 {
        let version = format!("1.{round}");
        let new = status.with_extension("new");
        fs::write(&new, text.replacen("Version: 1.0", &format!("Version: {version}"), 1)).unwrap();
        fs::rename(&new, &status).unwrap();
        assert_eq!(support::daemon::text(&client.details("app").await.unwrap(), "Installed"), version);
    }
}

#[tokio::test]
async fn marks_show_at_once() {
    let (world, _daemon, client) = warm().await;
    dpkg(&world, &["--get-selections"]);
    let dpkg = format!("Dpkg::Options::=--admindir={}/var/lib/dpkg", world.root.path().display());
    let mark = |verb: &str, name: &str| world.root.apt("apt-mark", &["-o", &dpkg, verb, name]);
    mark("hold", "app");
    assert_eq!(client.list("held").await, ["app"]);
    mark("unhold", "app");
    assert!(client.list("held").await.is_empty());
    mark("auto", "app");
    assert!(client.list("explicit").await.is_empty());
    assert_eq!(number(&client.dictionary("Status").await, "Orphans"), 3);
    mark("manual", "lib-auto");
    assert_eq!(client.list("explicit").await, ["lib-auto"]);
    assert_eq!(number(&client.dictionary("Status").await, "Explicit"), 1);
}

#[tokio::test]
async fn fetched_lists_show_at_once() {
    let (world, _daemon, client) = warm().await;
    let tool = "Package: new-tool\nArchitecture: amd64\nVersion: 1\nFilename: pool/n.deb\nSize: 1\nSHA256: 00\nDescription: t\n\n";
    set_archive(&world.root, &(packages() + tool));
    world.root.update();
    assert_eq!(client.search("new-tool").await.unwrap().len(), 1);
    set_archive(&world.root, &packages().replace("Version: 2.0", "Version: 2.1"));
    world.root.update();
    assert_eq!(client.search("new-tool").await.unwrap().len(), 0);
    assert_eq!(candidate(&client, "app").await, "2.1");
    fs::remove_file(world.root.path().join("etc/apt/sources.list.d/stable.list")).unwrap();
    assert_eq!(client.search("vim").await.unwrap().len(), 0);
}

#[tokio::test]
async fn pins_show_at_once() {
    let (world, _daemon, client) = warm().await;
    let pin = |version: &str| format!("Package: app\nPin: version {version}\nPin-Priority: 1001\n");
    world.root.write("etc/apt/preferences.d/app", &pin("1.0"));
    assert_eq!(candidate(&client, "app").await, "1.0");
    world.root.write("etc/apt/preferences.d/app", &pin("2.0"));
    assert_eq!(candidate(&client, "app").await, "2.0");
    world.root.write("etc/apt/preferences", &pin("1.0"));
    fs::remove_file(world.root.path().join("etc/apt/preferences.d/app")).unwrap();
    assert_eq!(candidate(&client, "app").await, "1.0");
    fs::remove_file(world.root.path().join("etc/apt/preferences")).unwrap();
    assert_eq!(candidate(&client, "app").await, "2.0");
}

#[tokio::test]
async fn what_the_configuration_includes_shows_at_once() {
    let world = World::new();
    let included = world.path("included.conf");
    let inner = world.path("inner.conf");
    fs::write(&included, format!("#include \"{}\";\n", inner.display())).unwrap();
    world.root.write("etc/apt/apt.conf", &format!("#include \"{}\";\n", included.display()));
    let other = world.path("other-status");
    fs::write(&other, "").unwrap();
    fs::write(&inner, "").unwrap();
    let _daemon = world.daemon();
    let client = world.peer().await;
    assert_eq!(client.list("installed").await, ["app", "lib-auto", "provider"]);
    // Named by a file that is named by a file.
    let elsewhere = format!("Dir::State::status \"{}\";\n", other.display());
    fs::write(&inner, &elsewhere).unwrap();
    assert!(client.list("installed").await.is_empty());
    // apt refuses a configuration whose included file is missing.
    fs::remove_file(&inner).unwrap();
    let (name, text) = error(client.details("app").await);
    assert_eq!(name, "org.omg.Error.Internal");
    assert!(text.contains("inner.conf"), "{text}");
    fs::write(&inner, "").unwrap();
    let deadline = Instant::now() + WAIT;
    while let Err(error) = client.details("app").await {
        assert!(Instant::now() < deadline, "{error}");
    }
    assert_eq!(client.list("installed").await, ["app", "lib-auto", "provider"]);
}

#[tokio::test]
async fn an_edit_in_place_shows_even_with_its_old_time_and_size() {
    let (world, _daemon, client) = warm().await;
    let list = world.root.path().join("etc/apt/sources.list.d/stable.list");
    let line = fs::read_to_string(&list).unwrap();
    let before = fs::metadata(&list).unwrap();
    for (text, found) in [(line.replacen("deb ", "#eb ", 1), 0), (line, 1)] {
        fs::write(&list, text).unwrap();
        let modified: SystemTime = before.modified().unwrap();
        fs::File::options().write(true).open(&list).unwrap().set_modified(modified).unwrap();
        let after = fs::metadata(&list).unwrap();
        assert_eq!((after.len(), after.mtime_nsec(), after.ino()), (before.len(), before.mtime_nsec(), before.ino()));
        assert_eq!(client.search("vim").await.unwrap().len(), found);
    }
}

#[tokio::test]
async fn everything_that_is_asked_for_shows_the_change() {
    let (world, _daemon, client) = warm().await;
    let status = world.root.path().join("var/lib/dpkg/status");
    let text = fs::read_to_string(&status).unwrap();
    let vim = "Package: vim\nStatus: install ok installed\nArchitecture: amd64\nVersion: 8.0\nMaintainer: A\nDescription: editor\n\n";
    // Each kind of question is the first after a change.
    let with = || world.root.write("var/lib/dpkg/status", &format!("{text}{vim}"));
    let without = || world.root.write("var/lib/dpkg/status", &text);
    with();
    assert_eq!(client.search("vim").await.unwrap()[0].5 & 1, 1);
    without();
    assert_eq!(number(&client.dictionary("Status").await, "Installed"), 3);
    with();
    let all: Dict = client.properties("GetAll", None).await.unwrap().body().deserialize().unwrap();
    assert_eq!((number(&all, "InstalledCount"), number(&all, "UpdateCount")), (4, 2));
    without();
    let none = support::daemon::options([]);
    type Update = (String, String, String, String, String, String, u32, u64);
    let (_, updates): (u64, Vec<Update>) = client.call("GetUpdates", &(none,)).await.unwrap();
    assert_eq!(updates.len(), 1);
    with();
    assert_eq!(support::daemon::text(&client.details("vim").await.unwrap(), "Installed"), "8.0");
    assert_eq!(texts(&client.dictionary("Status").await, "Errors"), Vec::<String>::new());
}
