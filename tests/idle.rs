//! No call is lost when the daemon leaves for want of work: 10,000 calls on the bus and as many on the socket, in bursts
//! that begin when the daemon is about to leave.

#![cfg(feature = "debian")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[expect(dead_code, reason = "shared by test targets that each use a part")]
mod support;

use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;
use support::daemon::{Bus, Client, WAIT, World, number, until};

const LANES: u64 = 8;
const ROUNDS: u64 = 42;
/// Calls that begin each round at the same moment, and as many rows of calls after them.
const AT_ONCE: usize = 6;
const ROWS: usize = 5;
const CALLS: usize = 10_000;

/// The daemon's idle timeout; the configuration knows whole seconds.
const IDLE: Duration = Duration::from_secs(1);

fn world() -> World {
    let world = World::new();
    world.configure("idle-timeout = 1");
    world
}

/// Around the moment at which the daemon leaves: evenly spread over 40 ms, the same in each run.
fn jitter(lane: u64, round: u64) -> Duration {
    let spread = (lane * ROUNDS + round).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    Duration::from_micros(spread % 40_000)
}

/// Runs rounds of calls; gives how many were made and which daemons answered.
async fn hammer<C, F>(lane: u64, call: C) -> (usize, BTreeSet<u64>)
where
    C: Fn() -> F,
    F: Future<Output = u64> + Send + 'static,
{
    let (mut calls, mut daemons) = (0, BTreeSet::new());
    for round in 0..ROUNDS {
        for _ in 0..ROWS {
            let mut burst = tokio::task::JoinSet::new();
            for _ in 0..AT_ONCE {
                burst.spawn(call());
            }
            while let Some(daemon) = burst.join_next().await {
                daemons.insert(daemon.unwrap());
                calls += 1;
            }
        }
        tokio::time::sleep(IDLE - Duration::from_millis(20) + jitter(lane, round)).await;
    }
    (calls, daemons)
}

async fn total(mut lanes: tokio::task::JoinSet<(usize, BTreeSet<u64>)>, way: &str) {
    let (mut calls, mut starts) = (0, 0);
    while let Some(lane) = lanes.join_next().await {
        let (made, daemons) = lane.unwrap();
        calls += made;
        starts += daemons.len();
    }
    println!("{way}: {calls} calls, all answered, by {starts} daemons one after the other");
    assert!(calls >= CALLS, "{calls}");
    assert!(starts > 3 * LANES as usize, "the boundary was hardly met: {starts} daemons");
}

#[tokio::test]
async fn no_call_is_lost_at_idle_exit_on_the_bus() {
    let mut lanes = tokio::task::JoinSet::new();
    for lane in 0..LANES {
        lanes.spawn(async move {
            let world = world();
            let bus = Bus::start(&world, Some(env!("CARGO_BIN_EXE_omgd")));
            let clients = [bus.client().await, bus.client().await];
            let turn = std::sync::atomic::AtomicUsize::new(0);
            hammer(lane, || {
                let client = clients[turn.fetch_add(1, Ordering::Relaxed) % clients.len()].clone();
                async move { number(&client.dictionary("Status").await, "Pid") }
            })
            .await
        });
    }
    total(lanes, "bus").await;
}

/// Holds the listening socket and starts a daemon whenever somebody connects and none runs, like a socket unit.
struct Activator {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Activator {
    fn start(world: Arc<World>) -> Self {
        let listener = UnixListener::bind(world.socket()).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let timeout = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
            while !stopped.load(Ordering::Acquire) {
                let mut waiting = [PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN)];
                if poll(&mut waiting, Some(&timeout)).unwrap() == 0 {
                    continue;
                }
                // The variables name the process that they are for (sd_listen_fds(3)).
                let script = "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\"";
                let mut command = world.command("sh");
                command.args(["-c", script, env!("CARGO_BIN_EXE_omgd")]);
                command.stdin(OwnedFd::from(listener.try_clone().unwrap()));
                let mut daemon = world.spawn(command);
                while daemon.is_running() && !stopped.load(Ordering::Acquire) {
                    std::thread::sleep(Duration::from_millis(2));
                }
                if !daemon.is_running() {
                    assert!(daemon.ended().success(), "{}", daemon.log());
                }
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Activator {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || ended.is_none_or(|ended| ended.is_ok()), "a daemon failed");
    }
}

#[tokio::test]
async fn no_call_is_lost_at_idle_exit_on_the_socket() {
    let mut lanes = tokio::task::JoinSet::new();
    for lane in 0..LANES {
        lanes.spawn(async move {
            let world = Arc::new(world());
            let _activator = Activator::start(Arc::clone(&world));
            hammer(lane, || {
                let socket = world.socket();
                async move {
                    let client = Client::on_socket(&socket).await.unwrap();
                    let daemon = number(&client.dictionary("Status").await, "Pid");
                    client.connection.close().await.unwrap();
                    daemon
                }
            })
            .await
        });
    }
    total(lanes, "socket").await;
}

#[tokio::test]
async fn a_daemon_stays_while_a_client_is_connected_and_leaves_after() {
    let world = world();
    let mut daemon = world.daemon();
    let client = world.peer().await;
    client.search("app").await.unwrap();
    let asked = Instant::now();
    tokio::time::sleep(IDLE + Duration::from_millis(500)).await;
    assert!(daemon.is_running());
    assert_eq!(client.search("app").await.unwrap().len(), 1);
    client.connection.close().await.unwrap();
    let closed = Instant::now();
    assert!(daemon.ended().success());
    assert!(closed.elapsed() < WAIT && asked.elapsed() > IDLE);
    until("the socket is gone", || !world.socket().exists());
    // The status file it leaves is what the prompt reads.
    let output = world.command(env!("CARGO_BIN_EXE_omg-fast")).arg("--updates").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "1", "{output:?}");
}
