//! What the daemon's parts cost: calls on its socket beside a bare zbus service, and searches over a real snapshot.
//! Started by `tests/bench/run`.
//!
//! `latency SNAPSHOT SOCKET COUNT`: COUNT calls, and COUNT / 5 searches of different words. Prints one `name value` a
//! line; times are in nanoseconds.

use std::collections::HashMap;
use std::error::Error;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Instant;

use memchr::memmem;
use nucleo_matcher::{Config, Matcher, Utf32Str};
use omg::dbus::names::{INTERFACE, PATH};
use omg::dbus::proxy::WireRow;
use omg::index::{Searcher, Snapshot, View};
use omg::package::{SearchMode, SearchQuery};
use zbus::connection::Builder;
use zbus::{Connection, Guid, Variant, interface};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Rows of the answer that is asked for again and again.
const ROWS: u32 = 50;
/// What finds more than [`ROWS`] packages.
const TERM: &str = "python";
/// Rows that `omg search` asks for.
const LIMIT: u32 = 101;
/// Words are the same in every run on the same lists.
const SEED: u64 = 0x6f6d_6700;
/// Searches of long descriptions: each reads all of them.
const DESCRIPTION_SEARCHES: usize = 20;
const OPENINGS: usize = 50;
/// Words for which the libraries that searches are built on are measured bare.
const FLOOR_SEARCHES: usize = 50;

const BARE_PATH: &str = "/bare";
const BARE_INTERFACE: &str = "org.omg.Bench";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [snapshot, socket, count] = arguments.as_slice() else {
        return Err("usage: latency SNAPSHOT SOCKET COUNT".into());
    };
    let count: usize = count.parse()?;
    calls(Path::new(socket), count)?;
    searches(Path::new(snapshot), count / 5)
}

/// A service that does nothing but answer.
struct Bare {
    rows: Vec<WireRow>,
}

#[interface(name = "org.omg.Bench")]
impl Bare {
    fn nothing(&self) {}

    /// The same rows as the daemon's answer, from memory.
    fn rows(&self) -> Vec<WireRow> {
        self.rows.clone()
    }

    /// What it was given.
    fn echo(&self, rows: Vec<WireRow>) -> Vec<WireRow> {
        rows
    }
}

fn calls(socket: &Path, count: usize) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let daemon = client(UnixStream::connect(socket)?).await?;
        let mode = |mode| HashMap::from([("limit", Variant::from(ROWS)), ("mode", Variant::from(mode))]);
        let search = (vec![TERM], mode("fuzzy"));
        let ask = async || -> Result<Vec<WireRow>> {
            let reply = daemon.call_method(None::<&str>, PATH, Some(INTERFACE), "Search", &search).await?;
            Ok(reply.body().deserialize()?)
        };
        let rows = ask().await?;
        if rows.len() != ROWS as usize {
            return Err(format!("{TERM} finds {} packages, fewer than {ROWS}", rows.len()).into());
        }

        let (ours, theirs) = UnixStream::pair()?;
        let service = Bare { rows: rows.clone() };
        // The daemon runs beside its clients, so the bare service gets a thread too.
        let serving = std::thread::spawn(move || serve(theirs, service).map_err(|error| error.to_string()));
        let bare = client(ours).await?;
        let bare_call = async |method: &str| -> Result<Vec<WireRow>> {
            let reply = match method {
                "Echo" => bare.call_method(None::<&str>, BARE_PATH, Some(BARE_INTERFACE), method, &(&rows,)).await?,
                _ => bare.call_method(None::<&str>, BARE_PATH, Some(BARE_INTERFACE), method, &()).await?,
            };
            Ok(if method == "Nothing" { Vec::new() } else { reply.body().deserialize()? })
        };
        let metrics = async || -> Result<()> {
            daemon.call_method(None::<&str>, PATH, Some(INTERFACE), "Metrics", &()).await?;
            Ok(())
        };

        let mut times: [Vec<u64>; 5] = Default::default();
        for round in 0..count + count / 10 {
            // In turn, so that what else runs on the machine meets all of them alike.
            let (search_time, answer) = timed(&ask).await?;
            let (rows_time, bare_rows) = timed(async || bare_call("Rows").await).await?;
            let (echo_time, echoed) = timed(async || bare_call("Echo").await).await?;
            let (nothing_time, _) = timed(async || bare_call("Nothing").await).await?;
            let (metrics_time, ()) = timed(&metrics).await?;
            if answer != rows || bare_rows != rows || echoed != rows {
                return Err("an answer changed during the run".into());
            }
            // The first tenth warms up.
            if round >= count / 10 {
                let taken = [search_time, rows_time, echo_time, nothing_time, metrics_time];
                times.iter_mut().zip(taken).for_each(|(times, time)| times.push(time));
            }
        }
        let names = ["call_search_50", "call_bare_50", "call_bare_echo_50", "call_bare_nothing", "call_metrics"];
        for (name, times) in names.into_iter().zip(times) {
            print(name, times);
        }
        bare.close().await?;
        serving.join().map_err(|_| "the bare service failed")??;
        Ok(())
    })
}

async fn client(stream: UnixStream) -> Result<Connection> {
    stream.set_nonblocking(true)?;
    Ok(Builder::unix_stream(stream).p2p().build().await?)
}

fn serve(stream: UnixStream, service: Bare) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        stream.set_nonblocking(true)?;
        let builder = Builder::unix_stream(stream).server(Guid::generate()).p2p().serve_at(BARE_PATH, service);
        builder.build().await?.closed().await;
        Ok(())
    })
}

async fn timed<T>(call: impl AsyncFn() -> Result<T>) -> Result<(u64, T)> {
    let started = Instant::now();
    let answer = call().await?;
    Ok((nanos(started), answer))
}

fn searches(path: &Path, count: usize) -> Result<()> {
    let mut openings = Vec::new();
    for _ in 0..OPENINGS {
        let started = Instant::now();
        drop(Snapshot::open(path)?);
        openings.push(nanos(started));
    }
    print("open", openings);

    let snapshot = Snapshot::open(path)?;
    let mut comparisons = Vec::new();
    for _ in 0..OPENINGS {
        let started = Instant::now();
        if let Some(change) = snapshot.fingerprint().first_change() {
            return Err(format!("the packages changed during the run: {change:?}").into());
        }
        comparisons.push(nanos(started));
    }
    print("fingerprint", comparisons);
    println!("sources {}", snapshot.fingerprint().sources.len());
    println!("snapshot_bytes {}", snapshot.file_len());
    let words = words(&snapshot, count);
    println!("words {}", words.len());
    floors(&snapshot, words.get(..FLOOR_SEARCHES).unwrap_or(&words));
    let mut searcher = Searcher::default();
    let mut search = |name, mode, descriptions, words: &[String]| -> Result<()> {
        let mut times = Vec::with_capacity(words.len());
        let mut found = 0;
        for word in words {
            let terms = vec![word.clone()];
            let query = SearchQuery { terms, mode, descriptions, limit: LIMIT, ..SearchQuery::default() };
            let started = Instant::now();
            let answer = searcher.search(&snapshot, &query)?;
            let rows: Vec<_> = answer.iter().map(|&id| snapshot.row(id, View::Candidate)).collect();
            times.push(nanos(started));
            found += usize::from(!rows.is_empty());
        }
        println!("{name}_found {found}");
        print(name, times);
        Ok(())
    };
    // The first searches bring the snapshot's pages into memory.
    search("warming", SearchMode::Fuzzy, false, words.get(..20).unwrap_or(&words))?;
    search("substring", SearchMode::Substring, false, &words)?;
    search("fuzzy", SearchMode::Fuzzy, false, &words)?;
    let few = words.get(..DESCRIPTION_SEARCHES).unwrap_or(&words);
    search("descriptions", SearchMode::Substring, true, few)
}

/// What the libraries take for one word without any of a search's rules: memchr to find its places in all names and
/// summaries, nucleo to match it with all names.
fn floors(snapshot: &Snapshot, words: &[String]) {
    let rows: Vec<_> = (0..snapshot.len()).map(|id| snapshot.row(id as u32, View::Candidate)).collect();
    let blob: String = rows.iter().flat_map(|row| [row.name.as_str(), "\n", row.summary.as_str(), "\n"]).collect();
    let blob = blob.to_lowercase();
    let mut matcher = Matcher::new(Config::DEFAULT);
    let (mut found, mut matched) = (Vec::new(), Vec::new());
    for word in words {
        let started = Instant::now();
        std::hint::black_box(memmem::find_iter(blob.as_bytes(), word.as_bytes()).count());
        found.push(nanos(started));
        let started = Instant::now();
        let (mut word_buffer, mut name_buffer) = (Vec::new(), Vec::new());
        let needle = Utf32Str::new(word, &mut word_buffer);
        let score =
            |row: &omg::package::PackageRow| matcher.fuzzy_match(Utf32Str::new(&row.name, &mut name_buffer), needle);
        std::hint::black_box(rows.iter().filter_map(score).count());
        matched.push(nanos(started));
    }
    print("floor_substring", found);
    print("floor_fuzzy", matched);
}

/// Words of names and summaries, whole and cut, a tenth of them misspelt; no two alike.
fn words(snapshot: &Snapshot, count: usize) -> Vec<String> {
    let mut state = SEED;
    // Knuth's MMIX generator; its high bits are the random ones.
    let mut below = |bound: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % bound.max(1)
    };
    let mut words = Vec::with_capacity(count);
    for _ in 0..count * 20 {
        if words.len() == count {
            break;
        }
        let row = snapshot.row(below(snapshot.len()) as u32, View::Candidate);
        let text = if below(2) == 0 { row.name } else { row.summary };
        let parts: Vec<&str> = text.split(|letter: char| !letter.is_ascii_alphanumeric()).collect();
        let Some(part) = parts.get(below(parts.len())).filter(|part| (2..=16).contains(&part.len())) else { continue };
        let mut word = part.to_ascii_lowercase();
        match below(10) {
            0 if word.len() > 4 => drop(word.remove(1 + below(word.len() - 2))),
            1..=3 if word.len() > 4 => word.truncate(3 + below(word.len() - 3)),
            _ => {}
        }
        if !words.contains(&word) {
            words.push(word);
        }
    }
    words
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
