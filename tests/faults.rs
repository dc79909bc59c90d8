//! What goes wrong around the daemon gives an error or is worked around: no hang, no stale answer, no end.

#![cfg(feature = "debian")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[expect(dead_code, reason = "shared by test targets that each use a part")]
mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, fcntl_lock};
use support::daemon::{BULK, Bus, Client, Dict, WAIT, World, error, number, options, text, texts};

const HELPER: &str = env!("CARGO_BIN_EXE_omg-helper");

/// A world whose helper is a script that tests rewrite.
fn with_helper(script: &str) -> World {
    let world = World::new();
    let path = world.script("helper", script);
    // Long enough for a helper that works, on a machine that is busy.
    world.configure(&format!("helper = \"{}\"\nhelper-timeout = 6", path.display()));
    world
}

/// Asks until the daemon tries its helper again, which it does a second after a failure at the latest.
async fn recovered(client: &Client) {
    let deadline = Instant::now() + WAIT;
    while let Err(failure) = client.search("app").await {
        assert!(Instant::now() < deadline, "{failure}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(texts(&client.dictionary("Status").await, "Errors"), Vec::<String>::new());
}

async fn check_helper(script: &str, name: &str, message: &str) {
    let world = with_helper(script);
    let mut daemon = world.daemon();
    let client = world.peer().await;
    let asked = Instant::now();
    let (got, told) = error(client.search("app").await);
    assert_eq!(got, name, "{told}");
    assert!(told.contains(message), "{told}");
    // What needs no packages is answered all the same.
    assert_eq!(number(&client.dictionary("Metrics").await, "Rebuilds"), 0);
    let all: Dict = client.properties("GetAll", None).await.unwrap().body().deserialize().unwrap();
    assert_eq!(text(&all, "Backend"), "apt");
    assert!(asked.elapsed() < WAIT, "{:?}", asked.elapsed());
    assert!(daemon.is_running());
    world.script("helper", &format!("exec {HELPER} \"$@\""));
    recovered(&client).await;
    // And from good to bad: an error, not the old answer.
    world.script("helper", script);
    world.root.write("var/lib/dpkg/status", "");
    assert_eq!(error(client.list_of("installed").await).0, name);
}

#[tokio::test]
async fn a_helper_that_crashes_is_an_error_until_it_works() {
    check_helper("kill -SEGV $$", "org.omg.Error.Internal", "ended by signal 11").await;
}

#[tokio::test]
async fn a_helper_that_hangs_is_ended() {
    check_helper("exec sleep 100", "org.omg.Error.Internal", "did not finish within 6 s").await;
}

#[tokio::test]
async fn a_helper_whose_children_hold_its_output_is_ended() {
    check_helper("sleep 60 &", "org.omg.Error.Internal", "did not finish within 6 s").await;
}

#[tokio::test]
async fn a_helper_that_writes_garbage_is_an_error_until_it_works() {
    check_helper("head -c 100000 /dev/zero", "org.omg.Error.Internal", "unusable index").await;
}

#[tokio::test]
async fn a_helper_that_writes_half_a_snapshot_is_an_error_until_it_works() {
    let script = format!("{HELPER} \"$@\" | head -c 5000");
    check_helper(&script, "org.omg.Error.Internal", "unusable index").await;
}

#[tokio::test]
async fn a_helper_without_a_backend_says_so() {
    check_helper("echo no backend >&2; exit 69", "org.omg.Error.BackendUnavailable", "no backend").await;
}

#[tokio::test]
async fn a_helper_that_fails_is_quoted() {
    check_helper("echo disk on fire >&2; exit 1", "org.omg.Error.Internal", "exit code 1: disk on fire").await;
}

#[tokio::test]
async fn a_failing_helper_is_not_started_for_every_question_but_at_once_where_something_changed() {
    let world = World::new();
    let runs = world.path("runs");
    let count = || fs::read_to_string(&runs).unwrap_or_default().len();
    let failing = format!("printf x >>{}; exit 1", runs.display());
    let path = world.script("helper", &failing);
    world.configure(&format!("helper = \"{}\"", path.display()));
    let _daemon = world.daemon();
    let client = world.peer().await;
    for _ in 0..200 {
        client.search("app").await.unwrap_err();
    }
    assert!(count() < 200, "{}", count());
    client.search("app").await.unwrap_err();
    world.script("helper", &format!("exec {HELPER} \"$@\""));
    assert_eq!(client.search("app").await.unwrap().len(), 1, "another helper is tried at once");

    world.script("helper", &failing);
    let status = fs::read_to_string(world.root.path().join("var/lib/dpkg/status")).unwrap();
    for round in 0..3 {
        let before = count();
        world.root.write("var/lib/dpkg/status", &status.replacen("1.0", &format!("1.0.{round}"), 1));
        assert_eq!(error(client.list_of("installed").await).0, "org.omg.Error.Internal");
        assert!(count() > before, "changed packages are read at once");
    }
    world.script("helper", &format!("exec {HELPER} \"$@\""));
    assert_eq!(text(&client.details("app").await.unwrap(), "Installed"), "1.0.2");
}

#[tokio::test]
async fn a_helper_that_fails_while_packages_change_is_started_again() {
    let world = World::new();
    let (marker, status) = (world.path("failed"), world.root.path().join("var/lib/dpkg/status"));
    // As libapt-pkg does when its files are replaced under it, now and then.
    let once = format!(
        "if [ ! -e {0} ]; then : >{0}; touch {1}; kill -SEGV $$; fi; exec {HELPER} \"$@\"",
        marker.display(),
        status.display()
    );
    let path = world.script("helper", &once);
    world.configure(&format!("helper = \"{}\"", path.display()));
    let _daemon = world.daemon();
    let client = world.peer().await;
    assert_eq!(client.search("app").await.unwrap().len(), 1);
    for change in ["1.1", "1.2"] {
        fs::remove_file(&marker).unwrap();
        let text = fs::read_to_string(&status).unwrap();
        let old = if change == "1.1" { "1.0" } else { "1.1" };
        world.root.write("var/lib/dpkg/status", &text.replacen(old, change, 1));
        assert_eq!(text_of(&client, "Installed").await, change);
        assert!(marker.exists(), "it failed once");
    }
    assert_eq!(texts(&client.dictionary("Status").await, "Errors"), Vec::<String>::new());
}

async fn text_of(client: &Client, key: &str) -> String {
    text(&client.details("app").await.unwrap(), key)
}

fn omg(world: &World, arguments: &[&str]) -> (Option<i32>, String) {
    let output = world.command(env!("CARGO_BIN_EXE_omg")).args(arguments).output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[tokio::test]
async fn the_status_is_told_while_packages_cannot_be_read() {
    let world = with_helper("echo disk on fire >&2; exit 1");
    let mut daemon = world.daemon();
    let client = world.peer().await;
    let status = client.dictionary("Status").await;
    assert_eq!((text(&status, "Backend").as_str(), text(&status, "StoreState").as_str()), ("apt", "ok"));
    assert_eq!(number(&status, "Pid"), u64::from(daemon.pid()));
    assert!(texts(&status, "Errors").iter().any(|error| error.contains("disk on fire")), "{status:?}");
    for absent in ["Packages", "Installed", "Broken", "Generation", "LastRefresh", "SnapshotCreated", "LastKnown"] {
        assert!(!status.contains_key(absent), "{absent} in {status:?}");
    }
    let (code, told) = omg(&world, &["status"]);
    assert_eq!(code, Some(3), "{told}");
    assert!(told.contains("Packages\tcannot be read") && told.contains("disk on fire"), "{told}");
    let (code, told) = omg(&world, &["doctor"]);
    assert_eq!(code, Some(3), "{told}");
    assert!(told.contains("packages cannot be read") && told.contains("disk on fire"), "{told}");
    assert!(told.contains("ok    daemon"), "{told}");

    // Once they could be read, it is remembered how they were: by this daemon, and over restarts.
    world.script("helper", &format!("exec {HELPER} \"$@\""));
    recovered(&client).await;
    let stored = || omg::store::Store::new(&world.path("data/omg")).generation() > 0;
    while {
        // What was announced may still be on its way to the disk when the daemon is told to end.
        daemon.signal(rustix::process::Signal::TERM);
        daemon.ended();
        !stored()
    } {
        daemon = world.daemon();
        recovered(&world.peer().await).await;
    }
    world.script("helper", "exit 1");
    world.root.write("var/lib/dpkg/status", "");
    let _daemon = world.daemon();
    let status = world.peer().await.dictionary("Status").await;
    assert!(!status.contains_key("Installed"), "{status:?}");
    let known = Dict::try_from(status["LastKnown"].try_clone().unwrap()).unwrap();
    let counts = ["Installed", "Explicit", "Upgradable", "Security"].map(|key| number(&known, key));
    assert_eq!(counts, [3, 1, 1, 0]);
    assert!(number(&known, "Time") > 0 && number(&known, "Generation") > 0);
    let (code, told) = omg(&world, &["status", "--json"]);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!((code, &told["last_known"]["installed"], told.get("installed")), (Some(3), &3.into(), None));
}

#[tokio::test]
async fn a_missing_helper_is_named() {
    let world = World::new();
    world.configure("helper = \"/nowhere/omg-helper\"");
    let _daemon = world.daemon();
    let (name, message) = error(world.peer().await.search("app").await);
    assert_eq!(name, "org.omg.Error.BackendUnavailable");
    assert!(message.contains("/nowhere/omg-helper"), "{message}");
}

#[tokio::test]
async fn without_a_usable_runtime_folder_the_bus_serves_and_nothing_else_is_an_error() {
    let world = World::new();
    fs::write(world.path("file"), "").unwrap();
    let bus = Bus::start(&world, None);
    let mut command = world.omgd_on(&bus);
    command.env("XDG_RUNTIME_DIR", world.path("file/runtime"));
    let _daemon = world.spawn(command);
    let client = bus.client().await;
    let deadline = Instant::now() + WAIT;
    while bus.owner().await.is_none() {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(client.search("app").await.unwrap().len(), 1);
    let output = world.omgd().env("XDG_RUNTIME_DIR", world.path("file/runtime")).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("neither a session bus nor a place for a socket"));
}

#[tokio::test]
async fn a_lock_of_the_package_system_names_its_holder_and_holds_up_nothing() {
    let world = World::new();
    let _daemon = world.daemon();
    let client = world.peer().await;
    world.root.write("var/lib/dpkg/lock-frontend", "");
    world.root.write("var/lib/dpkg/lock", "");
    world.root.write("var/lib/apt/lists/lock", "");
    let lock = fs::File::options().write(true).open(world.root.path().join("var/lib/dpkg/lock-frontend")).unwrap();
    let also = fs::File::options().write(true).open(world.root.path().join("var/lib/apt/lists/lock")).unwrap();
    fcntl_lock(&lock, FlockOperation::LockExclusive).unwrap();
    fcntl_lock(&also, FlockOperation::LockExclusive).unwrap();
    let status = client.dictionary("Status").await;
    let (pid, command) = <(u32, String)>::try_from(status["LockHolder"].try_clone().unwrap()).unwrap();
    assert_eq!(pid, std::process::id());
    assert_eq!(command, fs::read_to_string("/proc/self/comm").unwrap().trim());
    world.root.write("var/lib/dpkg/status", "");
    assert!(client.list("installed").await.is_empty(), "read anew under the lock");
    drop((lock, also));
    let all: Dict = client.properties("GetAll", None).await.unwrap().body().deserialize().unwrap();
    let holder = <(u32, String)>::try_from(all["LockHolder"].try_clone().unwrap()).unwrap();
    assert_eq!(holder, (0, String::new()));
    assert!(!client.dictionary("Status").await.contains_key("LockHolder"));
}

/// Spoils the file at a path.
type Spoil = fn(&Path);

/// Ways to spoil the snapshot on disk, by name.
fn spoilers() -> Vec<(&'static str, Spoil)> {
    fn in_place(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = fs::read(path).unwrap();
        change(&mut bytes);
        // Written over the same file: what maps it sees the change.
        let mut file = fs::File::options().write(true).open(path).unwrap();
        file.set_len(bytes.len() as u64).unwrap();
        file.write_all(&bytes).unwrap();
    }
    fn replaced(path: &Path, bytes: &[u8]) {
        let new = path.with_extension("other");
        fs::write(&new, bytes).unwrap();
        fs::rename(&new, path).unwrap();
    }
    vec![
        ("truncated", |path| in_place(path, |bytes| bytes.truncate(bytes.len() / 2))),
        ("emptied", |path| in_place(path, Vec::clear)),
        ("garbage behind the header", |path| in_place(path, |bytes| bytes[256..].fill(0xA5))),
        ("garbage", |path| replaced(path, &[0xA5; 100_000])),
        ("of another version", |path| in_place(path, |bytes| bytes[8] ^= 0xFF)),
        ("swapped for another file", |path| replaced(path, &fs::read("/proc/self/exe").unwrap())),
        ("removed", |path| fs::remove_file(path).unwrap()),
        ("a folder", |path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        }),
    ]
}

async fn answers(client: &Client) -> (Vec<support::daemon::Row>, usize, String, Vec<String>) {
    let all: Vec<support::daemon::Row> = client.call("List", &(options([]),)).await.unwrap();
    let details = client.details("app").await.unwrap();
    let search = client.call("Search", &(vec!["peculiar"], options([("descriptions", true.into())]))).await.unwrap();
    (search, all.len(), text(&details, "Description"), client.list("installed").await)
}

#[tokio::test]
async fn a_spoilt_snapshot_is_built_anew_by_the_next_daemon() {
    let world = World::new();
    let mut daemon = world.daemon();
    let expected = answers(&world.peer().await).await;
    assert_eq!(expected.1, BULK + 4);
    for (name, spoil) in spoilers() {
        daemon.signal(rustix::process::Signal::TERM);
        daemon.ended();
        spoil(&world.snapshot());
        daemon = world.daemon();
        let client = world.peer().await;
        assert_eq!(answers(&client).await, expected, "{name}");
        assert_eq!(number(&client.dictionary("Metrics").await, "Rebuilds"), 1, "{name}");
        if world.path("data").join("omg/index").read_dir().unwrap().any(|file| file.unwrap().path().is_dir()) {
            return;
        }
    }
}

#[tokio::test]
async fn a_snapshot_spoilt_under_a_running_daemon_changes_no_answer() {
    for (name, spoil) in spoilers() {
        let world = World::new();
        let mut daemon = world.daemon();
        let client = world.peer().await;
        let expected = answers(&client).await;
        client.call::<()>("ClearCache", &()).await.unwrap();
        spoil(&world.snapshot());
        assert_eq!(answers(&client).await, expected, "{name}");
        world.root.write("var/lib/dpkg/status", "");
        assert!(client.list("installed").await.is_empty(), "{name}");
        assert!(daemon.is_running(), "{name}");
    }
}

/// Spoils a byte of the blocks that hold details, at `part` of their length. The table of sections (kind, checksum,
/// offset, length) follows a header of 32 bytes; sections that are checked block by block have no checksum there.
fn spoil_details(path: &Path, part: f64) {
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let mut head = [0; 1024];
    file.read_at(&mut head, 0).unwrap();
    let number =
        |at: usize, bytes: usize| head[at..at + bytes].iter().rfold(0, |sum, byte| sum << 8 | u64::from(*byte));
    let entries = (0..number(12, 4) as usize).map(|entry| 32 + entry * 24);
    let blocks = entries.filter(|at| number(at + 4, 4) == 0).map(|at| (number(at + 16, 8), number(at + 8, 8)));
    let (length, offset) = blocks.max().unwrap();
    let at = offset + (length as f64 * part) as u64;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x55], at).unwrap();
}

#[tokio::test]
async fn a_dump_from_a_damaged_snapshot_starts_over_or_says_that_it_is_cut() {
    let world = World::new();
    let _daemon = world.daemon();
    let client = world.peer().await;
    let dump = async || -> Vec<serde_json::Value> {
        let query = options([("details", true.into())]);
        let pipe: zbus::OwnedFd = client.call("QueryFd", &(query,)).await.unwrap();
        let lines = BufReader::new(fs::File::from(OwnedFd::from(pipe))).lines();
        lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect()
    };
    let whole = dump().await;
    assert_eq!(whole[BULK + 4], serde_json::json!({"end": true, "count": BULK + 4}));
    // The first packages cannot be read: nothing was told yet.
    spoil_details(&world.snapshot(), 0.0);
    assert!(dump().await == whole, "told anew, as a whole");
    assert_eq!(number(&client.dictionary("Metrics").await, "Rebuilds"), 2);
    // Others cannot be: what was told from one snapshot is not continued from another.
    spoil_details(&world.snapshot(), 0.75);
    let cut = dump().await;
    let (error, told) = cut.split_last().unwrap();
    assert_eq!(error["error"]["name"], "org.omg.Error.Internal", "{error}");
    assert!(!told.is_empty() && told.len() < BULK && told == &whole[..told.len()], "{}", told.len());
    assert!(dump().await == whole, "told anew, as a whole");
}

#[tokio::test]
async fn a_spoilt_database_is_moved_aside_and_told_of() {
    let world = World::new();
    fs::create_dir_all(world.path("data/omg")).unwrap();
    fs::write(world.path("data/omg/cache.redb"), [0xA5; 10_000]).unwrap();
    let _daemon = world.daemon();
    let client = world.peer().await;
    assert_eq!(client.search("app").await.unwrap().len(), 1);
    // The database is opened after the first answer.
    let deadline = Instant::now() + WAIT;
    loop {
        let status = client.dictionary("Status").await;
        let told = texts(&status, "Errors").iter().any(|error| error.contains("moved to"));
        if told && text(&status, "Store") == "ok" {
            break;
        }
        assert!(Instant::now() < deadline, "{status:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let kept = fs::read_dir(world.path("data/omg")).unwrap().filter_map(|file| fs::read(file.unwrap().path()).ok());
    assert!(kept.into_iter().any(|bytes| bytes == [0xA5; 10_000]), "nothing is thrown away");
}

#[tokio::test]
async fn a_database_that_another_process_has_is_told_apart_from_one_that_fails() {
    let world = World::new();
    let other = omg::store::Store::new(&world.path("data/omg"));
    other.set_generation(1).unwrap();
    let _daemon = world.daemon();
    let client = world.peer().await;
    assert_eq!(client.search("app").await.unwrap().len(), 1);
    let status = client.dictionary("Status").await;
    assert_eq!(text(&status, "StoreState"), "in-use", "{status:?}");
    assert_ne!(text(&status, "Store"), "ok");
}

#[tokio::test]
async fn the_daemon_ends_with_its_bus() {
    let world = World::new();
    let mut bus = Bus::start(&world, None);
    let mut daemon = world.start(world.omgd_on(&bus));
    let peer = world.peer().await;
    assert_eq!(peer.search("app").await.unwrap().len(), 1);
    bus.daemon.child.kill().unwrap();
    assert!(daemon.ended().success());
    assert!(!world.socket().exists());
}

#[tokio::test]
async fn clients_that_vanish_during_a_call_leave_nothing_behind() {
    let world = with_helper(&format!("sleep 0.5\nexec {HELPER} \"$@\""));
    let mut daemon = world.daemon();
    for round in 0..100 {
        let client = world.peer().await;
        let call = client.clone();
        let call = tokio::spawn(async move { call.call::<zbus::OwnedFd>("QueryFd", &(options([]),)).await });
        let search = client.clone();
        let search = tokio::spawn(async move { search.search("app").await });
        tokio::time::sleep(Duration::from_millis(round % 5)).await;
        client.connection.close().await.unwrap();
        call.abort();
        search.abort();
    }
    let client = world.peer().await;
    assert_eq!(client.search("app").await.unwrap().len(), 1);
    let fd: zbus::OwnedFd = loop {
        match client.call("QueryFd", &(options([("explicit", true.into())]),)).await {
            Ok(fd) => break fd,
            // The dumps that nobody reads end as soon as they are written to.
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    let mut lines = String::new();
    fs::File::from(OwnedFd::from(fd)).read_to_string(&mut lines).unwrap();
    assert_eq!(lines.lines().count(), 2);
    let descriptors = || fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count();
    let deadline = Instant::now() + WAIT;
    while descriptors() > 40 {
        assert!(Instant::now() < deadline, "{} descriptors are open", descriptors());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(daemon.is_running());
}

/// xorshift64: the same bytes in each run.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, most: u64) -> Vec<u8> {
        let count = self.next() % most + 1;
        (0..count).map(|_| self.next() as u8).collect()
    }
}

#[tokio::test]
async fn malformed_bytes_end_their_own_connection_alone() {
    let world = World::new();
    let mut daemon = world.daemon();
    let client = world.peer().await;
    let mut noise = Noise(0x2545_F491_4F6C_DD1D);
    // A valid call to start from.
    let call = zbus::Message::method_call(support::daemon::PATH, "Search");
    let call = call.interface(support::daemon::NAME).build(&(vec!["app"], options([]))).unwrap();
    let call = call.data().to_vec();
    for round in 0..300 {
        let mut stream = UnixStream::connect(world.socket()).unwrap();
        stream.set_write_timeout(Some(WAIT)).unwrap();
        stream.set_read_timeout(Some(WAIT)).unwrap();
        // A connection that the daemon has closed already takes no more bytes, and that is well.
        let mut send = |bytes: &[u8]| drop(stream.write_all(bytes));
        match round % 5 {
            0 => send(&noise.bytes(4096)),
            1 => {
                send(b"\0");
                send(&noise.bytes(512));
                send(b"\r\n");
            }
            2 => send(&b"\0AUTH EXTERNAL 30\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n"[..noise.next() as usize % 46]),
            3 => {
                send(b"\0AUTH EXTERNAL\r\nDATA\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n");
                send(&noise.bytes(4096));
            }
            _ => {
                send(b"\0AUTH EXTERNAL\r\nDATA\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n");
                let mut broken = call.clone();
                for _ in 0..=noise.next() % 8 {
                    let at = noise.next() as usize % broken.len();
                    broken[at] = noise.next() as u8;
                }
                send(&broken);
            }
        }
        if round % 10 == 0 {
            assert_eq!(client.search("app").await.unwrap().len(), 1, "round {round}");
        }
    }
    // A message that claims to be as long as the specification allows, and never comes.
    let mut stream = UnixStream::connect(world.socket()).unwrap();
    stream.write_all(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\nl\x01\0\x01\xff\xff\xff\x07\x01\0\0\0\0\0\0\0").unwrap();
    assert_eq!(world.peer().await.search("app").await.unwrap().len(), 1);
    assert!(daemon.is_running());
    let resident = number(&client.dictionary("Metrics").await, "ResidentBytes");
    assert!(resident < 100 << 20, "{resident}");
}

#[tokio::test]
async fn two_hundred_clients_at_once_are_served() {
    let world = World::new();
    let _daemon = world.daemon();
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..200 {
        let socket = world.socket();
        clients.spawn(async move {
            let client = Client::on_socket(&socket).await.unwrap();
            let rows = client.search(&format!("bulk-{number:04}")).await.unwrap();
            (client, rows.len())
        });
    }
    let mut connected = Vec::new();
    while let Some(answer) = clients.join_next().await {
        let (client, found) = answer.unwrap();
        assert_eq!(found, 1);
        connected.push(client);
    }
    assert_eq!(connected.len(), 200);
    assert_eq!(connected[100].search("app").await.unwrap().len(), 1);
}

#[tokio::test]
async fn two_daemons_on_the_same_data_give_the_same_answers() {
    let world = World::new();
    let _serving = world.daemon();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut command = world.omgd();
    command.arg("--private").stdin(OwnedFd::from(theirs));
    let _private = world.spawn(command);
    let (first, second) = (world.peer().await, Client::on_stream(ours).await.unwrap());
    let status = fs::read_to_string(world.root.path().join("var/lib/dpkg/status")).unwrap();
    for round in 0..10 {
        let version = format!("1.{round}");
        world.root.write("var/lib/dpkg/status", &status.replacen("Version: 1.0", &format!("Version: {version}"), 1));
        let (one, other) = (first.clone(), second.clone());
        let one = tokio::spawn(async move { one.details("app").await.unwrap() });
        let other = tokio::spawn(async move { other.details("app").await.unwrap() });
        let (one, other) = (one.await.unwrap(), other.await.unwrap());
        assert_eq!(one, other);
        assert_eq!(text(&one, "Installed"), version);
    }
    assert_eq!(answers(&first).await, answers(&second).await);
    let rebuilds = number(&first.dictionary("Metrics").await, "Rebuilds")
        + number(&second.dictionary("Metrics").await, "Rebuilds");
    assert!(rebuilds <= 11, "one builds and both use it: {rebuilds}");
}
