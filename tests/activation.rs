//! How a daemon comes to run, who may talk to it, and how it ends on a signal.

#![cfg(feature = "debian")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[expect(dead_code, reason = "shared by test targets that each use a part")]
mod support;

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::daemon::{Bus, Client, NAME, WAIT, World, number, skip, text, until};

const OMGD: &str = env!("CARGO_BIN_EXE_omgd");

#[tokio::test]
async fn a_call_on_a_plain_bus_starts_the_daemon_which_serves_the_socket_too() {
    let world = World::new();
    let bus = Bus::start(&world, Some(OMGD));
    assert_eq!(bus.owner().await, None);
    let client = bus.client().await;
    assert_eq!(client.search("app").await.unwrap().len(), 1);
    let owner = bus.owner().await.unwrap();
    let peer = world.peer().await;
    assert_eq!(number(&peer.dictionary("Status").await, "Pid"), u64::from(owner));
    assert_eq!(fs::symlink_metadata(world.socket()).unwrap().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_connection_with_a_passed_on_socket_starts_the_daemon() {
    let world = World::new();
    let mut command = world.command("systemd-socket-activate");
    for variable in ["HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"] {
        command.arg(format!("--setenv={variable}"));
    }
    command.arg("-l").arg(world.socket()).arg(OMGD);
    let _activator = world.start_unconnected(command);
    let client = world.peer().await;
    assert_eq!(client.search("app").await.unwrap().len(), 1);
    // The socket is the activator's: the daemon neither replaces nor locks it.
    assert!(!world.path("runtime/omg.sock.lock").exists());
}

#[tokio::test]
async fn a_second_daemon_names_what_is_taken_and_leaves_the_first_alone() {
    let world = World::new();
    let bus = Bus::start(&world, None);
    let mut first = world.start(world.omgd_on(&bus));
    until_owned(&bus).await;
    let client = bus.client().await;
    assert_eq!(client.search("app").await.unwrap().len(), 1);
    // On the bus, with a socket of its own; and on the socket alone.
    for (arguments, on_bus, named) in [
        (vec!["--socket", "other.sock"], true, NAME),
        (vec!["--foreground"], true, NAME),
        (vec!["--socket", "runtime/omg.sock"], false, "runtime/omg.sock is in use"),
    ] {
        let mut second = if on_bus { world.omgd_on(&bus) } else { world.omgd() };
        let started = Instant::now();
        let output = second.args(&arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{arguments:?}: {output:?}");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(errors.contains(named), "{errors}");
        assert!(started.elapsed() < WAIT);
        assert!(first.is_running());
        assert_eq!(client.search("vim").await.unwrap().len(), 1);
        assert_eq!(world.peer().await.search("vim").await.unwrap().len(), 1);
        assert!(!world.path("other.sock").exists(), "what the second one made is gone");
    }
}

async fn until_owned(bus: &Bus) {
    let deadline = Instant::now() + WAIT;
    while bus.owner().await.is_none() {
        assert!(Instant::now() < deadline, "the name is not owned");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_socket_can_be_named_by_option_and_by_variable() {
    let world = World::new();
    for by_option in [true, false] {
        let path = world.path(if by_option { "option.sock" } else { "variable.sock" });
        let mut command = world.omgd();
        if by_option {
            command.arg("--socket").arg(&path);
        } else {
            command.env("OMG_SOCKET_PATH", &path);
        }
        let mut daemon = world.spawn(command);
        until("it listens", || UnixStream::connect(&path).is_ok());
        assert!(!world.socket().exists());
        let client = Client::on_socket(&path).await.unwrap();
        assert_eq!(client.search("app").await.unwrap().len(), 1);
        daemon.signal(Signal::TERM);
        assert!(daemon.ended().success());
        assert!(!path.exists());
    }
}

#[tokio::test]
async fn a_private_daemon_serves_its_one_client_and_ends_with_it() {
    let world = World::new();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut command = world.omgd();
    command.arg("--private").stdin(OwnedFd::from(theirs));
    let mut daemon = world.spawn(command);
    let client = Client::on_stream(ours).await.unwrap();
    assert_eq!(client.search("app").await.unwrap().len(), 1);
    assert_eq!(number(&client.dictionary("Status").await, "Pid"), u64::from(daemon.pid()));
    assert!(!world.socket().exists());
    client.connection.close().await.unwrap();
    assert!(daemon.ended().success());

    let output = world.omgd().arg("--private").stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("standard input is no socket"));
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_what_is_no_socket_is_left_alone() {
    let world = World::new();
    drop(UnixListener::bind(world.socket()).unwrap());
    let mut daemon = world.daemon();
    assert_eq!(world.peer().await.search("app").await.unwrap().len(), 1);
    // Killed, it leaves its socket behind.
    daemon.child.kill().unwrap();
    daemon.ended();
    assert!(world.socket().exists());
    let mut daemon = world.daemon();
    assert_eq!(world.peer().await.search("app").await.unwrap().len(), 1);
    daemon.signal(Signal::TERM);
    daemon.ended();

    let target = world.path("precious");
    fs::write(&target, "precious").unwrap();
    for plant in [
        |link: &std::path::Path| symlink("../precious", link).unwrap(),
        |file: &std::path::Path| {
            fs::write(file, "precious").unwrap();
        },
    ] {
        plant(&world.socket());
        // Without a bus there is nothing else to serve on.
        let output = world.omgd().output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let output = world.omgd().arg("--socket").arg(world.socket()).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("is not a socket of this user"), "{output:?}");
        assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
        assert!(!fs::symlink_metadata(world.socket()).unwrap().file_type().is_socket());
        fs::remove_file(world.socket()).unwrap();
    }
}

#[tokio::test]
async fn other_users_are_turned_away() {
    if !rustix::process::geteuid().is_root() {
        return skip("other_users_are_turned_away", "only root can become another user");
    }
    let world = World::new();
    let path = world.path("open/omg.sock");
    fs::create_dir(world.path("open")).unwrap();
    let mut command = world.omgd();
    command.arg("--socket").arg(&path);
    let mut daemon = world.spawn(command);
    until("it listens", || UnixStream::connect(&path).is_ok());
    // Open to everyone, as no daemon would leave it: the check of the peer is what is left.
    for folder in [world.path(""), world.path("open")] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let client = |user: &str| {
        // Perl is part of every Debian system, and other users can run it.
        let program = r#"use IO::Socket::UNIX; alarm 20; $SIG{PIPE} = "IGNORE";
            my $socket = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die "refused: $!";
            $socket->syswrite("\0AUTH EXTERNAL\r\nDATA\r\n");
            my $said = ""; while ($said !~ /OK/ && $socket->sysread(my $more, 100)) { $said .= $more } print "said: $said";"#;
        let mut command = Command::new("setpriv");
        command.args(["--reuid", user, "--clear-groups", "/usr/bin/perl", "-e", program]).arg(&path);
        command.output().unwrap()
    };
    let refused = client("nobody");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("refused: Permission denied"), "{refused:?}");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    let turned_away = client("nobody");
    assert_eq!(String::from_utf8_lossy(&turned_away.stdout), "said: ", "{turned_away:?}");
    let own = client("root");
    assert!(String::from_utf8_lossy(&own.stdout).contains("OK "), "{own:?}");
    assert!(daemon.log().contains("a client was turned away: it runs as user"), "{}", daemon.log());
    assert!(daemon.is_running());
}

/// A helper that begins once the test says so, by a file called `go`.
fn held_back(world: &World) {
    let helper = env!("CARGO_BIN_EXE_omg-helper");
    let go = world.path("go");
    let script = format!("until [ -e {} ]; do sleep 0.02; done\nexec {helper} \"$@\"", go.display());
    let script = world.script("slow-helper", &script);
    world.configure(&format!("helper = \"{}\"", script.display()));
}

#[tokio::test]
async fn a_signal_lets_running_requests_finish() {
    for signal in [Signal::TERM, Signal::INT] {
        let world = World::new();
        held_back(&world);
        let bus = Bus::start(&world, None);
        let mut daemon = world.start(world.omgd_on(&bus));
        until_owned(&bus).await;
        let (peer, client, watcher) = (world.peer().await, bus.client().await, world.peer().await);
        let on_socket = tokio::spawn(async move { peer.details("app").await });
        let on_bus = tokio::spawn(async move { client.search("app").await });
        // These two, and the question for the metrics.
        let deadline = Instant::now() + WAIT;
        while number(&watcher.dictionary("Metrics").await, "RunningCalls") < 3 {
            assert!(Instant::now() < deadline, "the calls do not arrive");
        }
        daemon.signal(signal);
        // The name is given up before the calls are answered: they were still running when the signal came.
        while bus.owner().await.is_some() {
            assert!(Instant::now() < deadline, "the name is kept");
        }
        assert!(!on_socket.is_finished() && !on_bus.is_finished());
        fs::write(world.path("go"), "").unwrap();
        assert_eq!(text(&on_socket.await.unwrap().unwrap(), "Name"), "app");
        assert_eq!(on_bus.await.unwrap().unwrap().len(), 1);
        let status = tokio::task::spawn_blocking(move || daemon.ended()).await.unwrap();
        assert_eq!(status.code(), Some(0), "{status}");
        assert_eq!(fs::read_dir(world.path("runtime")).unwrap().count(), 0, "what it made is removed");
    }
}

#[tokio::test]
async fn a_signal_does_not_wait_for_ever() {
    let world = World::new();
    let script = world.script("helper", &format!("touch {}\nexec sleep 60", world.path("running").display()));
    world.configure(&format!("helper = \"{}\"", script.display()));
    let mut daemon = world.daemon();
    let peer = world.peer().await;
    let call = tokio::spawn(async move { peer.search("app").await });
    let running = world.path("running");
    tokio::task::spawn_blocking(move || until("the helper runs", || running.exists())).await.unwrap();
    let asked = Instant::now();
    daemon.signal(Signal::TERM);
    let status = tokio::task::spawn_blocking(move || daemon.ended()).await.unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(asked.elapsed() < WAIT, "{:?}", asked.elapsed());
    assert!(call.await.unwrap().is_err());
    assert!(!world.socket().exists());
}

#[tokio::test]
async fn a_daemon_that_found_its_socket_in_use_serves_there_once_the_other_has_ended() {
    let world = World::new();
    let mut first = world.daemon();
    let bus = Bus::start(&world, None);
    let second = world.spawn(world.omgd_on(&bus));
    let deadline = Instant::now() + WAIT;
    while bus.owner().await.is_none() {
        assert!(Instant::now() < deadline, "on the bus in time");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(number(&world.peer().await.dictionary("Status").await, "Pid"), u64::from(first.pid()));
    first.signal(Signal::TERM);
    first.ended();
    until("the socket is served again", || std::os::unix::net::UnixStream::connect(world.socket()).is_ok());
    assert_eq!(number(&world.peer().await.dictionary("Status").await, "Pid"), u64::from(second.pid()));
    assert_eq!(number(&bus.client().await.dictionary("Status").await, "Pid"), u64::from(second.pid()));
    assert_eq!(world.socket().symlink_metadata().unwrap().permissions().mode() & 0o777, 0o600);
    second.signal(Signal::TERM);
    until("the socket is removed again", || !world.socket().exists());
}
