//! What it costs to know which versions a folder asks for. Started by `tests/bench/runtimes.py`.
//!
//! `runtimes SOCKET DATA FOLDER COUNT`: COUNT times each of a call on the daemon's socket beside the emptiest one, and the
//! work that it does, here: as in the daemon, and afresh each time. Prints one `name value` a line; times are in nanoseconds.

use std::error::Error;
use std::hint::black_box;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use omg::dbus::names::RUNTIMES_PATH;
use omg::dbus::runtimes::WireResolved;
use omg::runtime::environment::{self, Environment, Manual};
use omg::runtime::{Layout, Resolver, files};
use zbus::connection::Builder;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const RUNTIMES: &str = "org.omg.RuntimeManager1";
const PEER: &str = "org.freedesktop.DBus.Peer";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [socket, data, folder, count] = arguments.as_slice() else {
        return Err("usage: runtimes SOCKET DATA FOLDER COUNT".into());
    };
    let count: usize = count.parse()?;
    let (layout, path) = (Layout::new(Path::new(data)), Path::new(folder));
    // What was written just now is read again each time: nothing tells the next change from this one.
    std::thread::sleep(Duration::from_millis(1500));
    let resolver = Resolver::new(layout.clone());
    let resolve = || resolver.resolve(path, &Manual::new());
    println!("wishes {}", files::read(path).wishes.len());

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let stream = UnixStream::connect(socket)?;
        stream.set_nonblocking(true)?;
        let daemon = Builder::unix_stream(stream).p2p().build().await?;
        let mut times: [Vec<u64>; 5] = Default::default();
        let mut same = true;
        for round in 0..count + count / 10 {
            // In turn, so that what else runs on the machine meets all of them alike.
            let started = Instant::now();
            let reply = daemon.call_method(None::<&str>, RUNTIMES_PATH, Some(RUNTIMES), "Resolve", &(folder,)).await?;
            let rows: Vec<WireResolved> = reply.body().deserialize()?;
            let call = nanos(started);
            let started = Instant::now();
            daemon.call_method(None::<&str>, RUNTIMES_PATH, Some(PEER), "Ping", &()).await?;
            let ping = nanos(started);
            let started = Instant::now();
            let here = black_box(resolve());
            let work = nanos(started);
            let started = Instant::now();
            let first = black_box(environment::resolve(path, &layout, &Manual::new()));
            let afresh = nanos(started);
            let started = Instant::now();
            black_box(files::read(path));
            let read = nanos(started);
            same &= is_same(&rows, &here) && is_same(&rows, &first);
            // The first tenth warms up.
            if round >= count / 10 {
                times.iter_mut().zip([call, ping, work, afresh, read]).for_each(|(times, time)| times.push(time));
            }
        }
        for (name, times) in ["call", "ping", "resolve", "afresh", "read"].into_iter().zip(times) {
            print(name, times);
        }
        println!("same {}", if same { "yes" } else { "no" });
        Ok(())
    })
}

/// Whether the daemon's answer is what was found here, and is something.
fn is_same(rows: &[WireResolved], here: &Environment) -> bool {
    let used = here.entries.iter().map(|entry| (entry.runtime.as_str(), entry.version.as_str()));
    let missing = here.missing.iter().map(|missing| (missing.runtime.as_str(), ""));
    let answered = rows.iter().map(|(runtime, _, version, ..)| (runtime.as_str(), version.as_str()));
    !rows.is_empty() && answered.eq(used.chain(missing))
}

fn nanos(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

fn print(name: &str, mut times: Vec<u64>) {
    times.sort_unstable();
    for (label, percent) in [("p50", 50), ("p99", 99)] {
        let at = (times.len() * percent / 100).min(times.len().saturating_sub(1));
        println!("{name}_{label} {}", times.get(at).copied().unwrap_or_default());
    }
}
