//! Against a server on the loopback interface that answers as a test tells it to.

mod indexes;
mod server;

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::*;
use server::{Reply, Request, Server};

const QUICK: Patience = Patience {
    connect: Duration::from_secs(5),
    stalled: Duration::from_millis(300),
    answer: Duration::from_secs(20),
    backoff: Duration::from_millis(4),
    retry_after: Duration::from_millis(20),
    tries: 4,
};

#[derive(Debug, Default)]
struct Heard {
    bytes: Mutex<Vec<(u64, Option<u64>)>>,
    notes: Mutex<Vec<String>>,
}

impl Progress for Heard {
    fn bytes(&self, done: u64, total: Option<u64>) {
        self.bytes.lock().unwrap().push((done, total));
    }

    fn note(&self, text: &str) {
        self.notes.lock().unwrap().push(text.to_owned());
    }
}

impl Heard {
    fn notes(&self) -> Vec<String> {
        self.notes.lock().unwrap().clone()
    }
}

struct World {
    folder: TempDir,
    server: Server,
}

impl World {
    fn new(answer: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static) -> Self {
        Self { folder: TempDir::new().unwrap(), server: Server::new(answer) }
    }

    fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    fn options(&self) -> Options {
        Options { offline: false, proxy: None, cache: self.cache(), cache_bytes: 1 << 30, index_bytes: 1 << 30 }
    }

    fn http(&self) -> Http {
        Http::with_patience(self.options(), QUICK)
    }

    fn offline(&self) -> Http {
        Http::with_patience(Options { offline: true, ..self.options() }, QUICK)
    }

    fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.server.url())
    }

    fn wanted(&self) -> Download {
        Download { url: self.url("a.tar.gz"), name: "a.tar.gz".to_owned(), size: None, sha256: None }
    }

    fn exactly(&self, body: &[u8]) -> Download {
        Download { size: Some(body.len() as u64), sha256: Some(Sha256::digest(body).into()), ..self.wanted() }
    }

    /// Names below the folder of downloads without the address's sum, sorted.
    fn kept(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.cache().join("downloads")) else { return Vec::new() };
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .map(|name| name.split_once('-').map_or(name.clone(), |(_, name)| name.to_owned()))
            .collect();
        names.sort();
        names
    }

    /// Each request's `Range` and `If-Range`.
    fn ranges(&self) -> Vec<(Option<String>, Option<String>)> {
        self.server.requests().iter().map(|request| (request.header("range"), request.header("if-range"))).collect()
    }
}

/// Bytes that do not repeat soon.
fn contents(length: usize) -> Vec<u8> {
    let mut state = 1u32;
    (0..length)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect()
}

fn read(mut downloaded: &Downloaded) -> Vec<u8> {
    let downloaded = &mut downloaded;
    let mut body = Vec::new();
    (&downloaded.file).read_to_end(&mut body).unwrap();
    body
}

fn range_start(request: &Request) -> Option<usize> {
    request.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
}

/// The rest of `body` from where it was asked.
fn rest(body: &[u8], request: &Request, etag: &str) -> Reply {
    match range_start(request) {
        Some(from) => Reply::new("206 Partial Content", &body[from..])
            .header(&format!("Content-Range: bytes {from}-{}/{}", body.len() - 1, body.len()))
            .header(&format!("ETag: {etag}")),
        None => Reply::ok(body).header(&format!("ETag: {etag}")),
    }
}

fn none() -> (Option<String>, Option<String>) {
    (None, None)
}

fn asked(from: usize, validator: &str) -> (Option<String>, Option<String>) {
    (Some(format!("bytes={from}-")), Some(validator.to_owned()))
}

#[tokio::test]
async fn a_download_is_kept_private_and_given_at_its_beginning() {
    let body = contents(3 << 20);
    let served = body.clone();
    let world = World::new(move |_, _| Reply::ok(&served).header("ETag: \"1\""));
    let heard = Heard::default();
    let downloaded = world.http().download(&world.exactly(&body), &heard).await.unwrap();
    assert_eq!(read(&downloaded), body);
    assert_eq!(downloaded.size, body.len() as u64);
    assert_eq!(downloaded.sha256, <[u8; 32]>::from(Sha256::digest(&body)));
    assert_eq!(fs::read(&downloaded.path).unwrap(), body);
    assert_eq!(world.kept(), ["a.tar.gz", "a.tar.gz.about"]);
    for (path, mode) in [(world.cache(), 0o700), (world.cache().join("downloads"), 0o700), (downloaded.path, 0o600)] {
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode, "{}", path.display());
    }
    let bytes = heard.bytes.lock().unwrap().clone();
    assert_eq!(bytes.first(), Some(&(0, Some(body.len() as u64))));
    assert_eq!(bytes.last(), Some(&(body.len() as u64, Some(body.len() as u64))));
    assert!(bytes.is_sorted());
    assert_eq!(heard.notes(), [""; 0]);
}

#[tokio::test]
async fn a_cut_download_goes_on_where_it_was() {
    let body = contents(1 << 20);
    let served = body.clone();
    let world = World::new(move |number, request| match number {
        0 => Reply::ok(&served).header("ETag: \"1\"").cut(300_000),
        _ => rest(&served, request, "\"1\""),
    });
    let heard = Heard::default();
    let downloaded = world.http().download(&world.exactly(&body), &heard).await.unwrap();
    assert_eq!(read(&downloaded), body);
    assert_eq!(world.ranges(), [none(), asked(300_000, "\"1\"")]);
    let notes = heard.notes();
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(notes[0].contains("the server sends 300000 of the 1048576 bytes"), "{notes:?}");
}

#[tokio::test]
async fn another_call_goes_on_with_what_an_earlier_one_left() {
    let body = contents(500_000);
    let served = body.clone();
    let world = World::new(move |number, request| match number {
        0 => Reply::ok(&served).header("Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT").cut(200_000),
        1 => Reply::new("403 Forbidden", b""),
        _ => rest(&served, request, "\"1\""),
    });
    let wanted = world.wanted();
    let error = world.http().download(&wanted, &Heard::default()).await.unwrap_err();
    assert!(matches!(error, FetchError::Status { status: 403, .. }), "{error}");
    assert_eq!(world.kept(), ["a.tar.gz.about", "a.tar.gz.part"]);
    let downloaded = world.http().download(&wanted, &Heard::default()).await.unwrap();
    assert_eq!(read(&downloaded), body);
    let date = "Mon, 01 Jan 2024 00:00:00 GMT";
    assert_eq!(world.ranges(), [none(), asked(200_000, date), asked(200_000, date)]);
    assert_eq!(world.kept(), ["a.tar.gz", "a.tar.gz.about"]);
}

#[tokio::test]
async fn a_file_that_changed_in_between_is_taken_from_its_beginning() {
    let (old, new) = (contents(400_000), contents(350_000).iter().map(|byte| !byte).collect::<Vec<_>>());
    let served = (old, new.clone());
    let world = World::new(move |number, _| match number {
        0 => Reply::ok(&served.0).header("ETag: \"old\"").cut(100_000),
        _ => Reply::ok(&served.1).header("ETag: \"new\""),
    });
    let downloaded = world.http().download(&world.wanted(), &Heard::default()).await.unwrap();
    assert_eq!(read(&downloaded), new);
    assert_eq!(world.ranges(), [none(), asked(100_000, "\"old\"")]);
}

#[tokio::test]
async fn without_validators_and_checksum_nothing_is_resumed() {
    let body = contents(300_000);
    let served = body.clone();
    let world = World::new(move |number, _| match number {
        0 => Reply::ok(&served).header("ETag: W/\"weak\"").cut(100_000),
        _ => Reply::ok(&served),
    });
    let downloaded = world.http().download(&world.wanted(), &Heard::default()).await.unwrap();
    assert_eq!(read(&downloaded), body);
    assert_eq!(world.ranges(), [none(), none()]);
}

#[tokio::test]
async fn a_damaged_part_is_seen_by_the_checksum_and_downloaded_anew() {
    let body = contents(300_000);
    let served = body.clone();
    let world = World::new(move |number, request| match number {
        0 => Reply::ok(&served).header("ETag: \"1\"").cut(100_000),
        1 => Reply::new("403 Forbidden", b""),
        _ => rest(&served, request, "\"1\""),
    });
    let wanted = world.exactly(&body);
    world.http().download(&wanted, &Heard::default()).await.unwrap_err();
    let part = Place::of_test(&world, &wanted);
    let mut damaged = fs::read(&part).unwrap();
    damaged[5] ^= 1;
    fs::write(&part, damaged).unwrap();
    let heard = Heard::default();
    let downloaded = world.http().download(&wanted, &heard).await.unwrap();
    assert_eq!(read(&downloaded), body);
    assert_eq!(world.ranges()[2..], [asked(100_000, "\"1\""), none()]);
    assert_eq!(heard.notes(), ["what was there of it is not right: it is downloaded anew"]);
}

struct Place;

impl Place {
    fn of_test(world: &World, wanted: &Download) -> PathBuf {
        super::part::Place::of(&world.cache(), wanted).part
    }
}

#[tokio::test]
async fn a_server_that_always_stops_early_is_told_with_both_lengths() {
    let body = contents(10_000);
    let served = body.clone();
    // No length is told: what comes looks whole.
    let world = World::new(move |_, request| match range_start(request) {
        None => Reply::ok(&served[..4000]).header("ETag: \"1\"").without_length(),
        Some(_) => Reply::new("416 Range Not Satisfiable", b""),
    });
    let error = world.http().download(&world.exactly(&body), &Heard::default()).await.unwrap_err();
    let url = world.url("a.tar.gz");
    let expected =
        [format!("the server answers 416 for {url}"), format!("the server sends 4000 of the 10000 bytes of {url}")];
    assert!(expected.contains(&error.to_string()), "{error}");
    assert_eq!(world.server.requests().len(), 4);
}

#[tokio::test]
async fn lengths_that_differ_from_the_index_are_told_before_anything_is_downloaded() {
    let world = World::new(|_, _| Reply::ok(&contents(5000)));
    let url = world.url("a.tar.gz");
    for (size, message) in [
        (4000, format!("the server sends more than the 4000 bytes that {url} may have")),
        (6000, format!("the server sends 5000 of the 6000 bytes of {url}")),
    ] {
        let wanted = Download { size: Some(size), ..world.wanted() };
        let error = world.http().download(&wanted, &Heard::default()).await.unwrap_err();
        assert_eq!(error.to_string(), message);
        assert_eq!(world.kept(), [""; 0]);
    }
    assert_eq!(world.server.requests().len(), 2);
}

#[tokio::test]
async fn an_endless_body_ends_at_the_size_of_the_index() {
    let world = World::new(|_, _| Reply::ok(b"").endless());
    let wanted = Download { size: Some(3_000_000), ..world.wanted() };
    let error = world.http().download(&wanted, &Heard::default()).await.unwrap_err();
    assert!(matches!(error, FetchError::TooLong { most: 3_000_000, .. }), "{error}");
    assert_eq!(world.kept(), ["a.tar.gz.about"]);
    let error = world.http().small(&world.url("sums"), 10_000).await.unwrap_err();
    assert!(matches!(error, FetchError::TooLong { most: 10_000, .. }), "{error}");
}

#[tokio::test]
async fn a_wrong_checksum_names_both_and_leaves_nothing() {
    let world = World::new(|_, _| Reply::ok(b"something else").header("ETag: \"1\""));
    let wanted = Download { sha256: Some([7; 32]), ..world.wanted() };
    let error = world.http().download(&wanted, &Heard::default()).await.unwrap_err();
    let FetchError::WrongChecksum { expected, got, .. } = &error else { panic!("{error}") };
    assert_eq!(*expected, "07".repeat(32));
    assert_eq!(*got, hex::encode(Sha256::digest(b"something else")));
    assert_eq!(world.kept(), ["a.tar.gz.about"]);
    assert_eq!(world.server.requests().len(), 1);
}

#[tokio::test]
async fn a_page_instead_of_a_file_is_told_as_one() {
    let replies: [fn() -> Reply; 3] = [
        || Reply::ok(b"Please log in").header("Content-Type: text/html; charset=utf-8"),
        || Reply::ok(b"\n <!DOCTYPE html><p>Please log in"),
        || Reply::ok(b"<HTML>Please log in</HTML>").without_length(),
    ];
    for reply in replies {
        let world = World::new(move |_, _| reply());
        let error = world.http().download(&world.wanted(), &Heard::default()).await.unwrap_err();
        assert!(matches!(error, FetchError::Page(_)), "{error}");
        assert!(error.to_string().contains("a login page"), "{error}");
        assert!(!world.kept().iter().any(|name| !name.ends_with(".about")), "{:?}", world.kept());
        assert_eq!(world.server.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_circle_of_redirects_ends() {
    let world = World::new(|_, request| {
        let next = if request.path == "/a.tar.gz" { "/b" } else { "/a.tar.gz" };
        Reply::new("302 Found", b"").header(&format!("Location: {next}"))
    });
    let error = world.http().download(&world.wanted(), &Heard::default()).await.unwrap_err();
    assert!(matches!(error, FetchError::Redirects { .. }), "{error}");
    assert_eq!(world.server.requests().len(), REDIRECTS + 1);
    assert_eq!(world.kept(), [""; 0]);
}

#[tokio::test]
async fn a_server_that_stalls_is_left_and_asked_again() {
    let body = contents(200_000);
    let served = body.clone();
    let world = World::new(move |number, request| match number {
        0 => Reply::ok(&served).header("ETag: \"1\"").cut(50_000).stalling(),
        _ => rest(&served, request, "\"1\""),
    });
    let downloaded = world.http().download(&world.exactly(&body), &Heard::default()).await.unwrap();
    assert_eq!(read(&downloaded), body);
    assert_eq!(world.ranges(), [none(), asked(50_000, "\"1\"")]);
}

#[tokio::test]
async fn a_busy_server_is_asked_again_and_a_missing_file_is_not() {
    let world = World::new(|number, request| match (number, request.path.as_str()) {
        (0, _) => Reply::new("503 Service Unavailable", b"").header("Retry-After: 3600"),
        (1, _) => Reply::new("429 Too Many Requests", b"").header("Retry-After: soon"),
        (_, "/none") => Reply::new("404 Not Found", b"<html>no"),
        (_, "/gone") => Reply::new("410 Gone", b""),
        (_, "/busy") => Reply::new("502 Bad Gateway", b""),
        _ => Reply::ok(b"sums"),
    });
    let http = world.http();
    assert_eq!(http.small(&world.url("sums"), 100).await.unwrap(), b"sums");
    assert_eq!(world.server.requests().len(), 3);
    for path in ["none", "gone"] {
        let error = http.small(&world.url(path), 100).await.unwrap_err();
        assert!(matches!(error, FetchError::NotFound(_)), "{error}");
        assert_eq!(error.to_string(), format!("{} is not there", world.url(path)));
    }
    assert_eq!(world.server.requests().len(), 5);
    let error = http.small(&world.url("busy"), 100).await.unwrap_err();
    assert_eq!(error.to_string(), format!("the server answers 502 for {}", world.url("busy")));
    assert_eq!(world.server.requests().len(), 9);
}

#[tokio::test]
async fn a_kept_download_with_a_known_checksum_needs_no_network() {
    let body = contents(100_000);
    let served = body.clone();
    let world = World::new(move |_, _| Reply::ok(&served));
    let wanted = world.exactly(&body);
    let path = world.http().download(&wanted, &Heard::default()).await.unwrap().path;
    for http in [world.http(), world.offline()] {
        let again = http.download(&wanted, &Heard::default()).await.unwrap();
        assert_eq!((read(&again), &again.path), (body.clone(), &path));
    }
    assert_eq!(world.server.requests().len(), 1);
    assert_eq!(world.kept(), ["a.tar.gz", "a.tar.gz.about"]);
    // What the disk made of it is looked at.
    fs::write(&path, vec![0; body.len()]).unwrap();
    let error = world.offline().download(&wanted, &Heard::default()).await.unwrap_err();
    assert!(matches!(error, FetchError::Offline(_)), "{error}");
    let again = world.http().download(&wanted, &Heard::default()).await.unwrap();
    assert_eq!(read(&again), body);
}

#[tokio::test]
async fn a_kept_download_without_a_checksum_is_asked_for_again() {
    let body = contents(100_000);
    let served = body.clone();
    let world = World::new(move |number, request| match number {
        1 if request.header("if-none-match").as_deref() == Some("\"1\"") => Reply::new("304 Not Modified", b""),
        2 => Reply::ok(b"newer").header("ETag: \"2\""),
        _ => Reply::ok(&served).header("ETag: \"1\""),
    });
    let http = world.http();
    for expected in [&body[..], &body, b"newer"] {
        let downloaded = http.download(&world.wanted(), &Heard::default()).await.unwrap();
        assert_eq!(read(&downloaded), expected);
        assert_eq!(world.kept(), ["a.tar.gz", "a.tar.gz.about"]);
    }
    assert_eq!(world.server.requests().len(), 3);
    let error = world.offline().download(&world.wanted(), &Heard::default()).await.unwrap_err();
    assert_eq!(error.to_string(), format!("{} is not fetched: omg is offline", world.url("a.tar.gz")));
}

#[tokio::test]
async fn two_downloads_of_the_same_ask_once() {
    let body = contents(2 << 20);
    let served = body.clone();
    let world = World::new(move |_, _| Reply::ok(&served).slow());
    let wanted = world.exactly(&body);
    // Two caches of programs of their own, as far as locks go.
    let (one, other) = (world.http(), world.http());
    let (heard, heard_too) = (Heard::default(), Heard::default());
    let (first, second) = tokio::join!(one.download(&wanted, &heard), other.download(&wanted, &heard_too));
    for downloaded in [first.unwrap(), second.unwrap()] {
        assert_eq!(read(&downloaded), body);
    }
    assert_eq!(world.server.requests().len(), 1);
    let notes = [heard.notes(), heard_too.notes()].concat();
    assert_eq!(notes, ["a.tar.gz is being downloaded already"]);
}

#[tokio::test]
async fn a_dropped_download_is_gone_on_with() {
    let body = contents(1 << 20);
    let served = body.clone();
    let world = World::new(move |number, request| match number {
        0 => Reply::ok(&served).header("ETag: \"1\"").cut(400_000).stalling(),
        _ => rest(&served, request, "\"1\""),
    });
    let wanted = world.exactly(&body);
    let http = Http::with_patience(world.options(), Patience { stalled: Duration::from_secs(60), ..QUICK });
    let heard = Heard::default();
    tokio::select! {
        result = http.download(&wanted, &heard) => panic!("{result:?}"),
        () = async {
            while fs::metadata(Place::of_test(&world, &wanted)).map_or(0, |part| part.len()) < 400_000 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        } => {}
    }
    let downloaded = http.download(&wanted, &heard).await.unwrap();
    assert_eq!(read(&downloaded), body);
    assert_eq!(world.ranges()[1], asked(400_000, "\"1\""));
}

#[tokio::test]
async fn the_cache_lets_go_of_what_was_not_used_for_long() {
    let world = World::new(|_, request| Reply::ok(&[request.path.as_bytes()[1]; 1000]));
    let http = Http::with_patience(Options { cache_bytes: 2500, ..world.options() }, QUICK);
    let get = |name: &'static str| Download { url: world.url(name), name: name.to_owned(), size: None, sha256: None };
    for (age, name) in [(300, "a"), (200, "b"), (100, "c")] {
        let made = http.download(&get(name), &Heard::default()).await.unwrap();
        let times = fs::FileTimes::new().set_modified(SystemTime::now() - Duration::from_secs(age));
        made.file.set_times(times).unwrap();
    }
    assert_eq!(world.kept(), ["b", "b.about", "c", "c.about"]);
    // Parts: one that is forgotten, one that is being written, one that may be gone on with; and what is not ours.
    let downloads = world.cache().join("downloads");
    let sum = "0".repeat(64);
    let long_ago = SystemTime::now() - Duration::from_secs(30 * 24 * 3600);
    let mut locked = Vec::new();
    for (name, is_old, is_locked) in
        [("old.part", true, false), ("locked.part", true, true), ("new.part", false, false), ("mine", true, false)]
    {
        let name = if name == "mine" { name.to_owned() } else { format!("{sum}-{name}") };
        let file = fs::File::create(downloads.join(name)).unwrap();
        if is_old {
            file.set_times(fs::FileTimes::new().set_modified(long_ago)).unwrap();
        }
        if is_locked {
            assert!(super::part::lock(&file).unwrap());
            locked.push(file);
        }
    }
    let small = Http::with_patience(Options { cache_bytes: 10, ..world.options() }, QUICK);
    small.download(&get("d"), &Heard::default()).await.unwrap();
    assert_eq!(world.kept(), ["d", "d.about", "locked.part", "mine", "new.part"]);
}

#[tokio::test]
async fn names_and_addresses_stay_in_the_cache_and_off_the_terminal() {
    let world = World::new(|_, _| Reply::ok(b"x"));
    let wanted = Download { name: "../../\u{1b}[31mx/.part".to_owned(), ..world.wanted() };
    let downloaded = world.http().download(&wanted, &Heard::default()).await.unwrap();
    assert_eq!(downloaded.path.parent().unwrap(), world.cache().join("downloads"));
    assert_eq!(world.kept(), [".._.._\u{5f}_31mx_.part_", ".._.._\u{5f}_31mx_.part_.about"]);
    for url in ["file:///etc/passwd", "ftp://127.0.0.1/x", "no address", "http://user:secret@127.0.0.1:1/\u{202e}x"] {
        let error = world.http().small(url, 10).await.unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, FetchError::Address { .. } | FetchError::Unreachable { .. }), "{text}");
        assert!(!text.contains("secret") && !text.contains('\u{202e}'), "{text}");
    }
    assert_eq!(world.server.requests().len(), 1);
}
