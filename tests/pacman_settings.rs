//! What pacman.conf(5) says of downloads, files, hooks and groups: `omg-helper` does by it what pacman does on an equal
//! machine.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/commits.rs"]
mod commits;
#[path = "support/debian_root.rs"]
mod debian_root;
#[path = "support/http_archive.rs"]
mod http_archive;
#[path = "support/pacman_root.rs"]
mod pacman_root;
#[path = "support/pacman_world.rs"]
mod pacman_world;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use commits::{HELPER, Running, commit, plan, planned};
use debian_root::Machine;
use http_archive::{Server, Serving};
use omg::transaction::{FailureKind, HoldReason, Options, Verb};
use pacman_world::machine;

/// Adds lines to the options of the machine's configuration.
fn set(machine: &Machine, lines: &str) {
    let text = machine.read("/etc/pacman.conf");
    machine.write("/etc/pacman.conf", text.replacen("[options]\n", &format!("[options]\n{lines}\n"), 1));
}

fn install(machine: &Machine, names: &[&str]) {
    let actions: Vec<_> = names.iter().map(|name| (Verb::Install, *name)).collect();
    commit(machine, &actions, &Options::default()).succeeded();
}

fn refresh(machine: &Machine) {
    let ran = machine.try_run(HELPER, &["refresh"]);
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stdout));
}

fn pacman(machine: &Machine, arguments: &[&str]) {
    machine.run("pacman", &[&["--noconfirm"], arguments].concat());
}

/// What is on record, and the files of the test's packages with what is in them.
fn state(machine: &Machine) -> String {
    let files = "find /usr/share/p[0-9]* /usr/share/member-* /etc/omgt -type f 2>/dev/null | sort | xargs tail -n +1";
    let record = |arguments: &[&str]| String::from_utf8(machine.try_run("pacman", arguments).stdout).unwrap();
    [record(&["-Q"]), record(&["-Qe"]), machine.run("sh", &["-c", files])].concat()
}

#[test]
fn files_are_left_out_and_kept_as_the_patterns_say() {
    let (ours, theirs) = (machine(), machine());
    for machine in [&ours, &theirs] {
        set(machine, "NoExtract = usr/share/p* !usr/share/p8/* !usr/share/p7/*\nNoUpgrade = usr/share/p7/version");
        refresh(machine);
    }
    install(&ours, &["p4", "p8"]);
    commit(&ours, &[(Verb::Upgrade, "p7"), (Verb::Upgrade, "p2")], &Options::default()).succeeded();
    pacman(&theirs, &["-S", "p4", "p8"]);
    pacman(&theirs, &["-S", "p7", "p2"]);
    assert_eq!(state(&ours), state(&theirs));
    assert!(!ours.exists("/usr/share/p4/version") && ours.exists("/usr/share/p8/version"));
    assert_eq!(ours.read("/usr/share/p7/version"), "1-1\n");
    assert_eq!(ours.read("/usr/share/p7/version.pacnew"), "2-1\n");
}

#[test]
fn members_of_an_ignored_group_stay_as_they_are() {
    let (ours, theirs) = (machine(), machine());
    for machine in [&ours, &theirs] {
        pacman(machine, &["-S", "member-a", "member-b"]);
        set(machine, "IgnoreGroup = other bun*");
        refresh(machine);
    }
    let wanted = planned(&ours, &[(Verb::UpgradeAll, "")], &Options::default());
    let shown = plan(&ours, &wanted).unwrap();
    let held: Vec<_> = shown.held_back.iter().map(|held| (held.name.as_str(), held.reason)).collect();
    assert_eq!(held, ["kept", "member-a", "member-b"].map(|name| (name, HoldReason::Held)));
    Running::start(&ours, &wanted).finish().succeeded();
    pacman(&theirs, &["-Su"]);
    assert_eq!(state(&ours), state(&theirs));
    assert!(state(&ours).contains("member-a 1-1\n") && state(&ours).contains("p7 2-1\n"));
}

#[test]
fn hooks_are_those_of_the_configured_folder() {
    let (ours, theirs) = (machine(), machine());
    for machine in [&ours, &theirs] {
        set(machine, "HookDir = /srv/hooks-a\nHookDir = /srv/hooks-b");
        for (folder, text) in [("/etc/pacman.d/hooks", "usual"), ("/srv/hooks-a", "first"), ("/srv/hooks-b", "second")]
        {
            let hook = format!(
                "[Trigger]\nOperation = Install\nType = Package\nTarget = *\n[Action]\nWhen = PostTransaction\n\
                 Exec = /bin/sh -c 'echo {text} >>/var/lib/omgt-hooks'\n"
            );
            machine.write(&format!("{folder}/{text}.hook"), hook);
        }
        // The later folder's takes its place.
        let other = machine.read("/srv/hooks-a/first.hook").replace("echo first", "echo other");
        machine.write("/srv/hooks-b/first.hook", other);
    }
    install(&ours, &["p4"]);
    pacman(&theirs, &["-S", "p4"]);
    assert_eq!(ours.read("/var/lib/omgt-hooks"), theirs.read("/var/lib/omgt-hooks"));
    assert_eq!(ours.read("/var/lib/omgt-hooks"), "other\nsecond\n");
}

#[test]
fn packages_and_databases_are_fetched_as_the_configured_user() {
    let (ours, theirs) = (machine(), machine());
    for machine in [&ours, &theirs] {
        machine.write("/etc/passwd", machine.read("/etc/passwd") + "ordinary:x:1000:1000::/nonexistent:/bin/sh\n");
        set(machine, "DownloadUser = ordinary");
        // With all of the sandbox disabled libalpm does not become that user.
        machine.run("sed", &["-i", "s/^DisableSandbox$/DisableSandboxFilesystem/", "/etc/pacman.conf"]);
        // What root can read and that user cannot.
        machine.run("chmod", &["700", "/srv/core"]);
    }
    let refreshes = |machine: &Machine| {
        [machine.try_run(HELPER, &["refresh"]), machine.try_run("pacman", &["-Syy"])].map(|ran| ran.status.success())
    };
    assert_eq!(refreshes(&ours), [false; 2]);
    let wanted = planned(&ours, &[(Verb::Install, "p4")], &Options::default());
    let refused = Running::start(&ours, &wanted).finish();
    let (failure, applied) = refused.failed();
    assert!(failure.kind == FailureKind::Network && applied.items.is_empty(), "{failure}");
    assert!(!theirs.try_run("pacman", &["-S", "--noconfirm", "p4"]).status.success());
    for machine in [&ours, &theirs] {
        machine.run("chown", &["1000", "/srv/core"]);
    }
    assert_eq!(refreshes(&ours), [true; 2]);
    install(&ours, &["p4"]);
    pacman(&theirs, &["-Sy", "p4"]);
    assert_eq!(state(&ours), state(&theirs));
    // What was fetched is root's then.
    assert_eq!(ours.run("stat", &["-c", "%u", "/var/cache/pacman/pkg/p4-2-1-any.pkg.tar"]), "0\n");
}

#[test]
fn cache_servers_are_asked_for_packages_first_and_for_nothing_else() {
    let (ours, theirs) = (machine(), machine());
    let counts = [(&ours, true), (&theirs, false)].map(|(machine, is_ours)| {
        machine.run("sh", &["-c", "mkdir /srv/cache && cp /srv/core/p4-2-1-* /srv/cache"]);
        let cache = Server::new(&machine.path("/srv/cache"), Serving::Well);
        let other = Server::new(&machine.path("/srv/core"), Serving::Well);
        let lines = format!("CacheServer = {}\nServer = {}", cache.address(), other.address());
        let text = machine.read("/etc/pacman.conf").replace("Server = file:///srv/core", &lines);
        machine.write("/etc/pacman.conf", text);
        if is_ours {
            refresh(machine);
            install(machine, &["p4", "p8"]);
        } else {
            pacman(machine, &["-Sy", "p4", "p8"]);
        }
        // It does not have p8, which is no error.
        (cache.requests(), other.requests())
    });
    assert_eq!(state(&ours), state(&theirs));
    assert_eq!(counts, [(2, 1); 2], "packages asked for at each");
}

/// Serves a folder, and nothing until so many files are asked for at once.
struct Gathering {
    port: u16,
    over: Arc<AtomicBool>,
    shared: Arc<(Mutex<Gathered>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Gathered {
    open: usize,
    most: usize,
}

impl Gathering {
    fn new(folder: PathBuf, wanted: usize) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let over = Arc::new(AtomicBool::new(false));
        let shared: Arc<(Mutex<Gathered>, Condvar)> = Arc::default();
        let (is_over, gathered) = (Arc::clone(&over), Arc::clone(&shared));
        let thread = std::thread::spawn(move || {
            let mut connections = Vec::new();
            for stream in listener.incoming().map_while(Result::ok) {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                let (gathered, folder) = (Arc::clone(&gathered), folder.clone());
                connections.push(std::thread::spawn(move || serve(&stream, &folder, wanted, &gathered)));
            }
            for connection in connections {
                let _ = connection.join();
            }
        });
        Self { port, over, shared, thread: Some(thread) }
    }

    fn most(&self) -> usize {
        self.shared.0.lock().unwrap().most
    }
}

fn serve(mut stream: &TcpStream, folder: &std::path::Path, wanted: usize, gathered: &(Mutex<Gathered>, Condvar)) {
    let mut reader = BufReader::new(stream);
    let mut asked = String::new();
    let _ = reader.read_line(&mut asked);
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
        line.clear();
    }
    let (count, more) = gathered;
    let mut now = count.lock().unwrap();
    now.open += 1;
    now.most = now.most.max(now.open);
    more.notify_all();
    // With fewer than are wanted at once it would wait for ever: the test then fails by what it counted.
    let (mut now, _) = more.wait_timeout_while(now, Duration::from_secs(20), |now| now.most < wanted).unwrap();
    // Before it is sent: who has it all may ask for the next at once.
    now.open -= 1;
    drop(now);
    let name = asked.split(' ').nth(1).unwrap_or_default().trim_start_matches('/');
    let answer = match fs::read(folder.join(name)) {
        Ok(body) => [
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len()).into_bytes(),
            body,
        ]
        .concat(),
        Err(_) => b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec(),
    };
    let _ = stream.write_all(&answer);
}

impl Drop for Gathering {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

#[test]
fn so_many_packages_are_fetched_at_once_as_are_allowed() {
    let names = ["p4", "p8", "p12", "scripted", "engine-a"];
    for parallel in [1, 3] {
        for is_ours in [true, false] {
            let machine = machine();
            let server = Gathering::new(machine.path("/srv/core"), parallel);
            set(&machine, &format!("ParallelDownloads = {parallel}"));
            let address = format!("s|file:///srv/core|http://127.0.0.1:{}|", server.port);
            machine.run("sed", &["-i", &address, "/etc/pacman.conf"]);
            if is_ours {
                install(&machine, &names);
            } else {
                pacman(&machine, &[&["-S"], &names[..]].concat());
            }
            assert_eq!(server.most(), parallel, "ours: {is_ours}");
        }
    }
}
