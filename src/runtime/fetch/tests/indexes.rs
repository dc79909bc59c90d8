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
