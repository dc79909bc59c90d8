//! What runtimes take of a disk and of an upstream: room that is looked for first, and pages that are read once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[allow(dead_code, reason = "shared by test targets that each use a part")]
#[path = "support/upstreams.rs"]
mod upstreams;

#[allow(dead_code, reason = "shared by test targets that each use a part")]
#[path = "support/real_runtimes.rs"]
mod real_runtimes;

use std::fs;
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use real_runtimes::{Tree, World, said};
use serde_json::json;
use upstreams::sha256;

const MIB: usize = 1 << 20;

/// Runs omg where the folder `disk` is a file system of so many MiB, whose folders `data` and `cache` it uses; `after` is
/// what a shell is asked then. `None` where that is not allowed.
fn on_disk(world: &World, mib: usize, arguments: &[&str], after: &str) -> Option<Output> {
    let root = rustix::process::geteuid().is_root();
    let map = (!root).then_some("--map-root-user");
    let allowed = Command::new("unshare").arg("--mount").args(map).arg("true").status();
    if !allowed.is_ok_and(|status| status.success()) {
        println!("SKIP {}: this machine allows no mount namespace", std::thread::current().name().unwrap_or("test"));
        return None;
    }
    fs::create_dir_all(world.path("disk")).unwrap();
    let of_omg = world.command(arguments);
    let mut command = Command::new("unshare");
    let script = format!(
        "set -e; mount -t tmpfs -o size={mib}m tmpfs '{0}'; mkdir '{0}/data' '{0}/cache'\n\"$0\" \"$@\" || code=$?\n{after}\nexit \"${{code:-0}}\"",
        world.path("disk").display()
    );
    command.arg("--mount").args(map).args(["sh", "-c", &script]).arg(of_omg.get_program()).args(of_omg.get_args());
    command.current_dir(of_omg.get_current_dir().unwrap()).env_clear();
    command.envs(of_omg.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Some(command.stdin(std::process::Stdio::null()).output().unwrap())
}

/// A user whose folders are on that disk.
fn small_world(runtime: &str, path: &str) -> World {
    let mut world = World::new(runtime, path);
    for (name, folder) in [("XDG_DATA_HOME", "disk/data"), ("XDG_CACHE_HOME", "disk/cache")] {
        let folder = world.path(folder).display().to_string();
        world.variables.push((name.to_owned(), folder));
    }
    world
}

#[test]
fn what_an_archive_says_that_it_becomes_has_to_have_room_before_any_of_it_is_unpacked() {
    let world = small_world("node", "/dist");
    let (version, name) = ("20.9.0", "node-v20.9.0-linux-x64.tar.xz");
    let tree = Tree::new().program("bin/node", "#!/bin/sh\n");
    // Packed it is small, so that it is fetched.
    fs::write(tree.path("zeros"), vec![0; 48 * MIB]).unwrap();
    let archive = tree.tar("node-v20.9.0-linux-x64", "xz -0");
    assert!(archive.len() < MIB);
    let index = json!([{"version": "v20.9.0", "date": "2026-09-01", "files": ["linux-x64"], "lts": "Iron"}]);
    world.upstream.file("/dist/index.json", serde_json::to_vec(&index).unwrap());
    let listing = format!("{}  {name}\n", sha256(&archive));
    world.upstream.file("/dist/v20.9.0/SHASUMS256.txt.asc", world.key.cleartext(&listing));
    world.upstream.file(&format!("/dist/v20.9.0/{name}"), archive);
    let find = format!("find '{}'/data/omg/versions -type f >&2", world.path("disk").display());
    let Some(output) = on_disk(&world, 40, &["use", "node", version], &find) else { return };
    println!("{}", said(&output));
    assert_eq!(output.status.code(), Some(3));
    let versions = world.path("disk/data/omg/versions");
    let text = String::from_utf8(output.stderr).unwrap();
    let (start, rest) = text.split_once(" are free there: ").unwrap();
    let start = start.rsplit_once(", and ").unwrap();
    assert_eq!(start.0, format!("omg: {name}: unpacking needs 65 MiB in {}", versions.display()));
    let free: u64 = start.1.strip_suffix(" MiB").unwrap().parse().unwrap();
    assert!((30..=40).contains(&free), "{free}");
    let todo = "nothing was installed; `omg prune` removes versions that nothing asks for, or make room there, then try again\n";
    assert!(rest.starts_with(todo), "{rest}");
    assert!(!rest.contains("/zeros") && !rest.contains("/node\n"), "{rest}");

    let output = on_disk(&world, 80, &["use", "node", version], "true").unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
}

#[test]
fn room_for_what_is_fetched_and_for_what_it_becomes_is_looked_for_before_the_upstream_is_asked() {
    let world = small_world("go", "/dl");
    let name = "go1.20.1.linux-amd64.tar.gz";
    let tree = Tree::new().program("bin/go", "#!/bin/sh\n").program("VERSION", "go1.20.1\ntime 2023-02-14T19:48:04Z\n");
    // What cannot be packed any smaller.
    let mut state = 1u64;
    let random = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    });
    fs::write(tree.path("random"), random.take(20 * MIB).collect::<Vec<u8>>()).unwrap();
    let archive = tree.tar("go", "gzip -1");
    let index = json!([{"version": "go1.20.1", "stable": true, "files": [{"filename": name, "os": "linux",
        "arch": "amd64", "version": "go1.20.1", "sha256": sha256(&archive), "size": archive.len(), "kind": "archive"}]}]);
    world.upstream.file("/dl/?mode=json&include=all", serde_json::to_vec(&index).unwrap());
    world.upstream.file(&format!("/dl/{name}.asc"), world.key.detached(&archive));
    world.upstream.file(&format!("/dl/{name}"), archive);
    let asked = |world: &World| {
        let paths = world.upstream.requests().into_iter().map(|(path, _)| path);
        paths.filter(|path| path.ends_with(".tar.gz")).count()
    };
    // 20 to fetch, 20 that it becomes at the least, 16 that stay free.
    let Some(output) = on_disk(&world, 50, &["use", "go", "1.20.1"], "true") else { return };
    println!("{}", said(&output));
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), asked(&world)), (Some(3), 0), "{text}");
    assert!(text.starts_with(&format!("omg: {name}: unpacking needs at least 57 MiB in ")), "{text}");
    let output = on_disk(&world, 90, &["use", "go", "1.20.1"], "true").unwrap();
    assert_eq!((output.status.code(), asked(&world)), (Some(0), 1), "{}", said(&output));
}

/// Publishes builds of Python, the newest first, as pages of ten: the build of each number has a version of its own.
fn publish_builds(world: &World, newest: usize) {
    let address = world.upstream.address();
    let builds: Vec<_> = (1..=newest)
        .rev()
        .map(|number| {
            let day = format!("2025{:02}{:02}", 1 + number / 28, 1 + number % 28);
            let name = format!("cpython-3.12.{number}+{day}-x86_64-unknown-linux-gnu-install_only.tar.gz");
            // What a page has most of, and nobody installs.
            let mut assets =
                vec![json!({"name": name.replace("install_only", "debug-full"), "size": 1, "digest": null,
                "browser_download_url": format!("{address}/none")})];
            assets.push(json!({"name": name, "size": 1, "digest": format!("sha256:{}", sha256(name.as_bytes())),
                "browser_download_url": format!("{address}/{name}")}));
            json!({"tag_name": day, "draft": false, "prerelease": false, "assets": assets,
                "published_at": format!("{}-{}-{}T01:02:03Z", &day[..4], &day[4..6], &day[6..])})
        })
        .collect();
    for (page, builds) in builds.chunks(10).enumerate() {
        let path = format!("/releases?per_page=10&page={}", page + 1);
        world.upstream.file(&path, serde_json::to_vec(builds).unwrap());
    }
}

/// Everything that is known was asked for hours ago.
fn age(world: &World) {
    let times = fs::FileTimes::new().set_modified(SystemTime::now() - Duration::from_secs(7200));
    for entry in fs::read_dir(world.path("cache/omg/runtimes/indexes")).unwrap() {
        fs::File::open(entry.unwrap().path()).unwrap().set_times(times).unwrap();
    }
}

/// The pages of builds that were asked for since the last time.
fn pages(world: &World) -> Vec<String> {
    let paths = world.upstream.requests().into_iter().map(|(path, _)| path);
    paths.filter_map(|path| path.split_once("&page=").map(|(_, page)| page.to_owned())).collect()
}

#[test]
fn every_build_of_python_is_listed_and_pages_of_old_builds_are_read_once() {
    let world = World::new("python", "/releases");
    let listed = |newest: usize| {
        let listed = world.done(&["-q", "list", "python", "--available", "--limit", "0"]);
        let expected: String = (1..=newest).rev().map(|number| format!("3.12.{number}\n")).collect();
        assert_eq!(listed, expected);
    };
    publish_builds(&world, 35);
    listed(35);
    assert_eq!(pages(&world), ["1", "2", "3", "4"]);
    // Each further one moves all others from page to page.
    for (newest, expected) in [(35, &["1"][..]), (36, &["1"]), (43, &["1"]), (58, &["1", "2"]), (58, &["1"])] {
        publish_builds(&world, newest);
        age(&world);
        listed(newest);
        assert_eq!(pages(&world), expected, "{newest}");
    }
    // What is kept of them is what is needed.
    let kept: Vec<_> = fs::read_dir(world.path("cache/omg/runtimes/indexes")).unwrap().map(Result::unwrap).collect();
    let texts: Vec<String> =
        kept.iter().map(|entry| String::from_utf8(fs::read(entry.path()).unwrap()).unwrap()).collect();
    let with_rest = texts.iter().filter(|text| text.contains("debug-full")).count();
    assert_eq!(
        (with_rest, texts.iter().filter(|text| text.contains("3.12.1+")).count()),
        (1, 1),
        "page 1, and the notes"
    );
    // An old version is found in what is known, and without the upstream too.
    let text = world.refused(&["use", "python", "3.12.2"], 1);
    assert!(!text.contains("there is no python"), "{text}");
    assert!(pages(&world).iter().all(|page| page == "1"));
    age(&world);
    for page in 1..=6 {
        world.upstream.put(&format!("/releases?per_page=10&page={page}"), upstreams::Served::Status(503));
    }
    listed(58);
}

#[test]
fn a_gap_in_what_is_known_of_builds_is_filled_and_nothing_is_known_of_what_is_damaged() {
    let world = World::new("python", "/releases");
    publish_builds(&world, 35);
    // Only as far as it is needed.
    let text = world.refused(&["use", "python", "3.12.22"], 5);
    assert!(!text.contains("there is no python"), "{text}");
    assert_eq!(pages(&world), ["1", "2"]);
    let count = || {
        age(&world);
        world.done(&["-q", "list", "python", "--available", "--limit", "0"]).lines().count()
    };
    assert_eq!((count(), pages(&world)), (35, vec!["1".to_owned(), "3".to_owned(), "4".to_owned()]));
    assert_eq!((count(), pages(&world)), (35, vec!["1".to_owned()]));
    for entry in fs::read_dir(world.path("cache/omg/runtimes/indexes")).unwrap().map(Result::unwrap) {
        let mut bytes = fs::read(entry.path()).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(entry.path(), bytes).unwrap();
    }
    assert_eq!((count(), pages(&world).len()), (35, 4));
}
