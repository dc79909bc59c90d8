//! What is asked again and again, and through whom.

use super::*;

#[tokio::test]
async fn an_index_is_asked_for_with_its_validators_when_it_is_not_fresh() {
    let world = World::new(|number, request| match number {
        1 => {
            assert_eq!(request.header("if-none-match").as_deref(), Some("\"1\""));
            assert_eq!(request.header("if-modified-since").as_deref(), Some("Mon, 01 Jan 2024 00:00:00 GMT"));
            Reply::new("304 Not Modified", b"")
        }
        2 => Reply::ok(b"second").header("ETag: \"2\""),
        _ => Reply::ok(b"first").header("ETag: \"1\"").header("Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT"),
    });
    let (http, url) = (world.http(), world.url("index.json"));
    let hour = Duration::from_secs(3600);
    assert_eq!(http.index(&url, 100, hour).await.unwrap(), b"first");
    assert_eq!(http.index(&url, 100, hour).await.unwrap(), b"first");
    assert_eq!(world.server.requests().len(), 1, "it is fresh");
    let file = only_index(&world);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let aged = || {
        let times = fs::FileTimes::new().set_modified(SystemTime::now() - 2 * hour);
        fs::File::open(&file).unwrap().set_times(times).unwrap();
    };
    aged();
    assert_eq!(http.index(&url, 100, hour).await.unwrap(), b"first");
    assert_eq!(http.index(&url, 100, hour).await.unwrap(), b"first");
    assert_eq!(world.server.requests().len(), 2, "it is fresh again");
    aged();
    assert_eq!(http.index(&url, 100, hour).await.unwrap(), b"second");
    assert_eq!(world.offline().index(&url, 100, Duration::ZERO).await.unwrap(), b"second");
    assert_eq!(world.server.requests().len(), 3);
}

fn only_index(world: &World) -> PathBuf {
    let files: Vec<PathBuf> =
        fs::read_dir(world.cache().join("indexes")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files[0].clone()
}

#[tokio::test]
async fn a_failing_server_leaves_the_index_that_is_kept() {
    let world = World::new(|number, _| match number {
        0 => Reply::ok(b"kept"),
        1 | 2 => Reply::new("500 Internal Server Error", b""),
        3 => Reply::ok(b"<html>Please log in"),
        4 => Reply::ok(&[b'x'; 200]),
        _ => Reply::new("404 Not Found", b""),
    });
    let (http, url) = (world.http(), world.url("index.json"));
    for requests in [1, 3, 4, 5] {
        assert_eq!(http.index(&url, 100, Duration::ZERO).await.unwrap(), b"kept");
        let notes = http.notes();
        let told = notes.iter().filter(|note| note.starts_with("the last answer is used, since ")).count();
        assert_eq!((told, notes.len()), (usize::from(requests > 1), told), "{notes:?}");
        assert_eq!(world.server.requests().len(), requests);
    }
    let error = http.index(&url, 100, Duration::ZERO).await.unwrap_err();
    assert!(matches!(error, FetchError::NotFound(_)), "{error}");
    let error = world.offline().index(&world.url("other"), 100, Duration::ZERO).await.unwrap_err();
    assert!(matches!(error, FetchError::Offline(_)), "{error}");
}

#[tokio::test]
async fn a_damaged_index_is_asked_for_as_if_there_was_none() {
    let world = World::new(|_, request| {
        assert_eq!(request.header("if-none-match"), None);
        Reply::ok(b"the index").header("ETag: \"1\"")
    });
    let (http, url) = (world.http(), world.url("index.json"));
    let hour = Duration::from_secs(3600);
    http.index(&url, 100, hour).await.unwrap();
    let file = only_index(&world);
    let good = fs::read(&file).unwrap();
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let damaged = [flipped, good[..good.len() - 3].to_vec(), b"{}\n".to_vec(), vec![b'x'; 1000], Vec::new()];
    for (number, bytes) in damaged.iter().enumerate() {
        fs::write(&file, bytes).unwrap();
        assert!(world.offline().index(&url, 100, hour).await.is_err());
        assert_eq!(http.index(&url, 100, hour).await.unwrap(), b"the index");
        assert_eq!(world.server.requests().len(), number + 2);
        assert_eq!(fs::read(&file).unwrap(), good);
    }
}

#[tokio::test]
async fn no_more_indexes_are_kept_than_is_said_and_those_in_use_stay() {
    const BODY: usize = 1000;
    let world = World::new(|_, _| Reply::ok(&[b'x'; BODY]));
    let http = |most: usize| Http::with_patience(Options { index_bytes: most as u64, ..world.options() }, QUICK);
    let urls: Vec<String> = (0..6).map(|number| world.url(&format!("index{number}.json"))).collect();
    let path = |url: &String| world.cache().join("indexes").join(hex::encode(Sha256::digest(url)));
    let aged = |url: &String, used: Duration| {
        let then = SystemTime::now() - used;
        let times = fs::FileTimes::new().set_modified(then).set_accessed(then);
        fs::File::open(path(url)).unwrap().set_times(times).unwrap();
    };
    let kept = || urls.iter().map(|url| path(url).exists()).collect::<Vec<_>>();
    let (hour, day) = (Duration::from_secs(3600), Duration::from_secs(86_400));
    for url in &urls[..5] {
        http(1 << 20).index(url, 2000, hour).await.unwrap();
    }
    for (url, hours) in urls[..5].iter().zip([5, 4, 3, 2, 1]) {
        aged(url, hour * hours);
    }
    // The one that was asked for the longest time ago is used: it is not asked for again.
    let requests = world.server.requests().len();
    http(1 << 20).index(&urls[0], 2000, hour * 6).await.unwrap();
    assert_eq!(world.server.requests().len(), requests);
    // Each has a line in front of its body.
    let most = 4 * fs::metadata(path(&urls[0])).unwrap().len() as usize + 100;
    http(most).index(&urls[5], 2000, hour).await.unwrap();
    assert_eq!(kept(), [true, false, false, true, true, true]);
    assert!(world.offline().index(&urls[1], 2000, hour).await.is_err());
    assert_eq!(world.offline().index(&urls[0], 2000, hour).await.unwrap(), [b'x'; BODY]);
    // Those in use stay, though that is more than is said, and the new one does.
    http(0).index(&urls[1], 2000, hour).await.unwrap();
    assert_eq!(kept(), [true, true, false, false, false, true]);
    // What nobody wants any more goes, though there is room.
    aged(&urls[0], 91 * day);
    aged(&urls[5], 89 * day);
    http(1 << 20).index(&urls[2], 2000, hour).await.unwrap();
    assert_eq!(kept(), [false, true, true, false, false, true]);
    // Nothing else in the folder is touched.
    let mine = world.cache().join("indexes/mine");
    fs::write(&mine, "x").unwrap();
    fs::File::open(&mine).unwrap().set_times(fs::FileTimes::new().set_modified(SystemTime::UNIX_EPOCH)).unwrap();
    http(0).index(&urls[3], 2000, hour).await.unwrap();
    assert!(mine.exists());
}

#[tokio::test]
async fn a_disk_without_room_is_told_before_anything_is_downloaded() {
    let world = World::new(|_, _| Reply::ok(b"x"));
    let wanted = Download { size: Some(1 << 60), ..world.wanted() };
    let error = world.http().download(&wanted, &Heard::default()).await.unwrap_err();
    let FetchError::DiskFull { needed, free, .. } = error else { panic!("{error}") };
    assert!(needed > 1 << 60 && free < needed);
    assert_eq!(world.server.requests().len(), 0);
    assert_eq!(world.kept(), [""; 0]);
}

#[tokio::test]
async fn everything_goes_through_the_proxy_that_is_configured() {
    let world = World::new(|_, request| match request.path.as_str() {
        "http://upstream.invalid/list" => Reply::ok(b"by the proxy"),
        _ => Reply::new("404 Not Found", b""),
    });
    let http = Http::with_patience(Options { proxy: Some(world.server.url()), ..world.options() }, QUICK);
    assert_eq!(http.small("http://upstream.invalid/list", 100).await.unwrap(), b"by the proxy");
}
