//! The AUR beside a package system: its packages are found, told and kept up to date, and nothing waits for it.

#![cfg(feature = "debian")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/aur_server.rs"]
mod aur_server;
#[expect(dead_code, reason = "shared by test targets that each use a part")]
mod support;

use std::fs;
use std::process::Output;
use std::time::{Duration, Instant};

use aur_server::{Answers, AurServer, entry, packed};
use serde_json::{Value, json};
use support::daemon::{Client, Dict, Row, WAIT, World, error, number, options, text, texts};
use zbus::{OwnedObjectPath, OwnedVariant, Variant};

/// A package of the archive that is the repository's too, and three that are not.
fn packages() -> Vec<Value> {
    let mut provider = entry("vim-nightly", "9.2-1", "The editor, fresh");
    provider["Provides"] = json!(["vim=9.2", "editor-of-the-night"]);
    vec![
        entry("app-git", "2.1.r3-1", "The application"),
        provider,
        entry("vim", "99-1", "Not the repository's"),
        entry("zed", "1-1", "Edits"),
    ]
}

fn world(url: &str) -> World {
    let world = World::new();
    world.configure(&format!("[aur]\nenabled = true\nurl = \"{url}\"\n"));
    world
}

async fn property(client: &Client) -> String {
    let reply = client.properties("Get", Some("AurProblem")).await.unwrap();
    String::try_from(reply.body().deserialize::<OwnedVariant>().unwrap()).unwrap()
}

/// Waits for a state of things that has to come.
async fn until<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let deadline = Instant::now() + WAIT;
    while !condition().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn status(client: &Client) -> Dict {
    client.dictionary("Status").await
}

async fn until_known(client: &Client, packages: u64) {
    until("the AUR's packages are known", async || {
        let status = status(client).await;
        status.contains_key("AurPackages") && number(&status, "AurPackages") == packages
    })
    .await;
}

/// Names and repositories, as they are ranked.
async fn found(client: &Client, term: &str, more: &[(&str, Variant<'static>)]) -> Vec<(String, String)> {
    let mut given = options([("mode", "substring".into())]);
    for (key, value) in more {
        given.insert((*key).to_owned(), value.try_clone().unwrap());
    }
    let rows: Vec<Row> = client.call("Search", &(vec![term], given)).await.unwrap();
    rows.into_iter().map(|row| (row.0, row.3)).collect()
}

fn pairs(rows: &[(&str, &str)]) -> Vec<(String, String)> {
    rows.iter().map(|(name, repository)| ((*name).to_owned(), (*repository).to_owned())).collect()
}

/// As if the archive had been asked for long ago.
fn let_time_pass(world: &World) {
    let file = world.path("cache/omg/aur/state.json");
    let mut state: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    state["asked"] = json!(1);
    fs::write(&file, state.to_string()).unwrap();
}

async fn refresh(client: &Client) {
    let job: OwnedObjectPath = client.call("Refresh", &(options([("start", true.into())]),)).await.unwrap();
    let destination = client.destination();
    let result =
        async || client.connection.call_method(destination, &job, Some("org.omg.Job1"), "GetResult", &()).await;
    until("the refresh ends", async || result().await.is_ok()).await;
    let told: Dict = result().await.unwrap().body().deserialize().unwrap();
    assert_eq!(text(&told, "Outcome"), "succeeded", "{told:?}");
}

fn omg(world: &World, arguments: &[&str]) -> Output {
    let mut command = world.command(env!("CARGO_BIN_EXE_omg"));
    command.args(arguments).output().unwrap()
}

fn lines(bytes: &[u8]) -> Vec<String> {
    String::from_utf8(bytes.to_vec()).unwrap().lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn packages_of_both_are_found_in_one_ranking_each_name_once() {
    let server = AurServer::new(&packages());
    let world = world(&server.url());
    let daemon = world.daemon();
    let client = world.peer().await;
    until_known(&client, 4).await;
    // As the classes of matches have it: the name, then what begins with it; a name of both is the repository's.
    assert_eq!(
        found(&client, "app", &[]).await,
        pairs(&[("app", "stable/main"), ("app-git", "aur")]),
        "{}",
        daemon.log()
    );
    assert_eq!(found(&client, "vim", &[]).await, pairs(&[("vim", "stable/main"), ("vim-nightly", "aur")]));
    assert_eq!(found(&client, "vim", &[("limit", 1u32.into())]).await, pairs(&[("vim", "stable/main")]));
    assert_eq!(
        found(&client, "vim", &[("sources", vec!["aur"].into())]).await,
        pairs(&[("vim", "aur"), ("vim-nightly", "aur")])
    );
    assert_eq!(found(&client, "vim", &[("sources", vec!["apt"].into())]).await, pairs(&[("vim", "stable/main")]));
    assert_eq!(found(&client, "app", &[("installed", true.into())]).await, pairs(&[("app", "stable/main")]));
    // What the repository's name keeps out of the first rows makes room for the next.
    assert_eq!(
        found(&client, "i", &[("limit", 4u32.into())]).await.iter().filter(|(_, from)| from == "aur").count(),
        found(&client, "i", &[]).await.iter().take(4).filter(|(_, from)| from == "aur").count()
    );
    let suggested: Vec<String> = client.call("Suggest", &("vi", 10u32)).await.unwrap();
    assert_eq!(suggested, ["vim", "vim-nightly"]);
    let listed: Vec<Row> = client.call("List", &(options([("repository", "aur".into())]),)).await.unwrap();
    assert_eq!(listed.iter().map(|row| row.0.as_str()).collect::<Vec<_>>(), ["app-git", "vim-nightly", "zed"]);
    assert_eq!(property(&client).await, "");

    let details = client.details("vim-nightly").await.unwrap();
    assert_eq!((text(&details, "Repository"), text(&details, "Version")), ("aur".to_owned(), "9.2-1".to_owned()));
    assert_eq!(texts(&details, "Depends"), ["glibc", "pacman>6"]);
    assert_eq!(
        (text(&details, "Maintainer"), text(&details, "Homepage")),
        ("somebody".into(), "https://example.org/vim-nightly".into())
    );
    assert_eq!(text(&client.details("vim").await.unwrap(), "Repository"), "stable/main");
    let (_, message) = error(client.details("editor-of-the-night").await);
    assert!(message.contains("provided in the AUR by vim-nightly"), "{message}");

    let said = omg(&world, &["search", "--substring", "vim"]);
    let told: Vec<String> =
        lines(&said.stdout).iter().map(|line| line.split('\t').take(3).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(told, ["vim 9.0 stable/main", "vim-nightly 9.2-1 aur"]);
    assert_eq!(lines(&said.stderr), Vec::<String>::new());
    assert_eq!(lines(&omg(&world, &["-q", "search", "--aur", "vim"]).stdout), ["vim", "vim-nightly"]);
    assert_eq!(lines(&omg(&world, &["-q", "search", "--no-aur", "vim"]).stdout), ["vim"]);
    let said = omg(&world, &["info", "zed"]);
    for line in ["Repository: aur", "Votes: 12", "Popularity: 0.51"] {
        assert!(lines(&said.stdout).contains(&line.to_owned()), "{said:?}");
    }
}

#[tokio::test]
async fn the_archive_is_fetched_again_only_when_it_is_another_one() {
    let server = AurServer::new(&packages());
    let world = world(&server.url());
    let mut daemon = world.daemon();
    let client = world.peer().await;
    until_known(&client, 4).await;
    assert_eq!(server.archive_requests(), [None]);
    // Asked again too soon, the AUR is not.
    refresh(&client).await;
    assert_eq!(server.archive_requests().len(), 1);
    let_time_pass(&world);
    refresh(&client).await;
    assert_eq!(server.archive_requests(), [None, Some(server.validator())]);
    assert_eq!(number(&client.dictionary("Metrics").await, "AurArchives"), 1);

    let mut changed = packages();
    changed.remove(0);
    changed.push(entry("app-bin", "3-1", "The application, built"));
    changed.push(entry("bulky", "3-1", "Large"));
    let before = server.validator();
    server.publish(&changed);
    let_time_pass(&world);
    refresh(&client).await;
    assert_eq!(server.archive_requests()[2], Some(before));
    assert_eq!(number(&status(&client).await, "AurPackages"), 5);
    assert_eq!(found(&client, "app", &[]).await, pairs(&[("app", "stable/main"), ("app-bin", "aur")]));

    // The next daemon has it at once, and asks nobody before the hour is over.
    daemon.signal(rustix::process::Signal::TERM);
    daemon.ended();
    let _next = world.daemon();
    let client = world.peer().await;
    assert_eq!(found(&client, "bulky", &[]).await, pairs(&[("bulky", "aur")]));
    assert_eq!(server.archive_requests().len(), 3);
}

#[tokio::test]
async fn what_is_no_archive_takes_nobodys_place_and_is_told() {
    let server = AurServer::new(&packages());
    let world = world(&server.url());
    let _daemon = world.daemon();
    let client = world.peer().await;
    until_known(&client, 4).await;
    let mut larger = packages();
    larger.extend((0..500).map(|number| entry(&format!("more-{number}"), "1-1", "more")));
    for (answers, reason) in [
        (Answers::CutShort, "not readable"),
        (Answers::Page, "not readable"),
        (Answers::Endless, "longer than 134217728 bytes"),
        (Answers::Error, "503 Service Unavailable"),
    ] {
        server.publish(&larger);
        server.set(answers);
        let_time_pass(&world);
        refresh(&client).await;
        let problem = property(&client).await;
        assert!(problem.contains(reason) && problem.contains(&server.url()), "{answers:?}: {problem}");
        assert!(texts(&status(&client).await, "Errors").contains(&problem), "{answers:?}");
        assert_eq!(
            found(&client, "app", &[]).await,
            pairs(&[("app", "stable/main"), ("app-git", "aur")]),
            "{answers:?}"
        );
        let said = omg(&world, &["-q", "search", "app"]);
        assert_eq!((said.status.code(), lines(&said.stdout).len()), (Some(0), 2), "{answers:?}");
        let said = omg(&world, &["search", "app"]);
        assert_eq!(lines(&said.stderr).iter().filter(|line| line.contains(reason)).count(), 1, "{said:?}");
    }
    server.set(Answers::Well);
    server.publish_packed(packed(br#"{"error": "wrong shape"}"#));
    let_time_pass(&world);
    refresh(&client).await;
    assert!(property(&client).await.contains("not readable"));
    server.publish(&larger);
    let_time_pass(&world);
    refresh(&client).await;
    assert_eq!((property(&client).await.as_str(), number(&status(&client).await, "AurPackages")), ("", 504));
    // Nothing of what was refused stays.
    let kept: Vec<String> = fs::read_dir(world.path("cache/omg/aur"))
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(kept.iter().all(|name| !name.starts_with('.')), "{kept:?}");
}

#[tokio::test]
async fn names_that_could_be_something_else_are_left_out_and_texts_are_escaped() {
    let mut hostile: Vec<Value> =
        ["-rf", "--root=/", "../../etc/passwd", "a b", "red\u{1b}[31m", "new\nline", ".hidden", "\u{202e}gpj"]
            .iter()
            .map(|name| entry(name, "1-1", "hostile"))
            .collect();
    let mut base = entry("honest", "1-1", "hostile");
    base["PackageBase"] = json!("../base");
    hostile.push(base);
    hostile.push(entry("version", "1-1 --asroot", "hostile"));
    hostile.push(entry("painted", "1-1", "hostile \u{1b}]0;title\u{7} and \u{202e}reversed"));
    let server = AurServer::new(&hostile);
    let world = world(&server.url());
    let _daemon = world.daemon();
    let client = world.peer().await;
    until_known(&client, 1).await;
    assert_eq!(found(&client, "hostile", &[]).await, pairs(&[("painted", "aur")]));
    let errors = texts(&status(&client).await, "Errors");
    assert!(errors.iter().any(|error| error.starts_with("10 packages of the AUR are left out")), "{errors:?}");
    for arguments in [["search", "hostile"], ["info", "painted"]] {
        let said = String::from_utf8(omg(&world, &arguments).stdout).unwrap();
        assert!(said.contains("painted"), "{said:?}");
        assert!(!said.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{said:?}");
    }
}

#[tokio::test]
async fn what_the_rpc_says_is_newer_and_is_asked_for_once_for_all() {
    let server = AurServer::new(&packages());
    let mut newer = packages();
    newer[0]["Version"] = json!("3.0.r0-1");
    newer[0]["NumVotes"] = json!(99);
    newer.push(entry("newborn", "0.1-1", "Came after the archive"));
    // An answer that nobody asked for.
    newer.push(entry("vim", "666-1", "Not asked for"));
    server.tell(&newer);
    let world = world(&server.url());
    let daemon = world.daemon();
    let client = world.peer().await;
    until_known(&client, 4).await;
    let version = async |name: &'static str| text(&client.details(name).await.unwrap(), "Version");
    let mut asking = Vec::new();
    for _ in 0..40 {
        let client = client.clone();
        asking.push(tokio::spawn(async move { client.details("app-git").await.unwrap() }));
    }
    for asked in asking {
        asked.await.unwrap();
    }
    // On a machine that is busy the answer may come after the patience of who asked.
    until("the newer version is told", async || version("app-git").await == "3.0.r0-1").await;
    assert_eq!(server.rpc_requests(), [["app-git"]], "{}", daemon.log());
    assert_eq!(number(&client.dictionary("Metrics").await, "AurRequests"), 1);
    let details = client.details("app-git").await.unwrap();
    assert!(texts_of(&details, "Votes").contains("99"), "{details:?}");

    until("what came after the archive is told", async || client.details("newborn").await.is_ok()).await;
    // What nobody knows is asked for once, and the packages of repositories never.
    for _ in 0..3 {
        assert_eq!(error(client.details("nowhere").await).0, "org.omg.Error.NotFound");
    }
    assert_eq!(version("vim").await, "9.0");
    let asked: Vec<String> = server.rpc_requests().concat();
    assert!(!asked.contains(&"vim".to_owned()), "{asked:?}");
    for name in ["app-git", "newborn", "nowhere"] {
        assert_eq!(asked.iter().filter(|other| *other == name).count(), 1, "{asked:?}");
    }

    let mut asking = Vec::new();
    for number in 0..30 {
        let client = client.clone();
        asking.push(tokio::spawn(async move { client.details(&format!("no-such-{number}")).await.is_err() }));
    }
    for asked in asking {
        assert!(asked.await.unwrap());
    }
    let mut asked: Vec<String> = server.rpc_requests().concat();
    let count = asked.len();
    asked.sort_unstable();
    asked.dedup();
    assert_eq!(asked.len(), count, "no name is asked for twice");
}

fn texts_of(details: &Dict, field: &str) -> String {
    format!("{:?}", details["Fields"]).split(field).nth(1).unwrap_or_default().chars().take(40).collect()
}

#[tokio::test]
async fn a_server_that_says_nothing_keeps_nobody_waiting() {
    let server = AurServer::new(&packages());
    let world = world(&server.url());
    let _daemon = world.daemon();
    let client = world.peer().await;
    until_known(&client, 4).await;
    server.set(Answers::Never);
    let_time_pass(&world);
    let job: OwnedObjectPath = client.call("Refresh", &(options([("start", true.into())]),)).await.unwrap();
    until("the server is asked", async || server.archive_requests().len() == 2).await;
    // While it is being asked: answers are from before.
    assert_eq!(found(&client, "app", &[]).await, pairs(&[("app", "stable/main"), ("app-git", "aur")]));
    assert_eq!(text(&client.details("app-git").await.unwrap(), "Version"), "2.1.r3-1");
    let problem = property(&client).await;
    assert!(problem.contains("did not answer within 1.5 s"), "{problem}");
    let asked = server.rpc_requests().len();
    // It is let be for a while.
    assert_eq!(text(&client.details("zed").await.unwrap(), "Version"), "1-1");
    assert_eq!(server.rpc_requests().len(), asked);
    let call = client.connection.call_method(client.destination(), &job, Some("org.omg.Job1"), "Cancel", &());
    call.await.unwrap();
}

#[tokio::test]
async fn without_the_aur_repositories_answer_and_the_reason_is_told() {
    // A port where nobody listens.
    let url = AurServer::new(&[]).url();
    let world = world(&url);
    let _daemon = world.daemon();
    let client = world.peer().await;
    assert_eq!(found(&client, "app", &[]).await, pairs(&[("app", "stable/main")]));
    until("the problem is told", async || property(&client).await.contains(&url)).await;
    assert_eq!(found(&client, "app", &[]).await, pairs(&[("app", "stable/main")]));
    assert!(!status(&client).await.contains_key("AurPackages"));
    let said = omg(&world, &["search", "app"]);
    assert_eq!((said.status.code(), lines(&said.stdout).len()), (Some(0), 1));
    assert!(lines(&said.stderr).concat().contains(&url), "{said:?}");
    assert_eq!(error(client.details("app-git").await).0, "org.omg.Error.NotFound");
    // A machine that is not asked to ask it knows nothing of it.
    drop((client, _daemon));
    world.configure(&format!("[aur]\nurl = \"{url}\"\n"));
    let _daemon = world.daemon();
    let client = world.peer().await;
    refresh(&client).await;
    assert_eq!(property(&client).await, "");
}

#[tokio::test]
async fn before_there_is_an_archive_the_aur_itself_is_searched() {
    let server = AurServer::new(&packages());
    server.set(Answers::NoArchive);
    let world = world(&server.url());
    let _daemon = world.daemon();
    let client = world.peer().await;
    let app = pairs(&[("app", "stable/main"), ("app-git", "aur")]);
    assert_eq!(found(&client, "app", &[]).await, app);
    assert_eq!(found(&client, "app", &[("limit", 1u32.into())]).await, app[..1]);
    assert_eq!(server.searches(), ["app?by=name-desc"], "what it said is remembered");
    assert_eq!(found(&client, "editor", &[("sources", vec!["aur"].into())]).await, pairs(&[("vim-nightly", "aur")]));
    assert_eq!(found(&client, "vim", &[("mode", "exact".into())]).await, pairs(&[("vim", "stable/main")]));
    assert_eq!(found(&client, "zed", &[("mode", "exact".into())]).await, pairs(&[("zed", "aur")]));
    let listed = omg(&world, &["search", "-q", "--substring", "--limit", "0", "app"]);
    assert_eq!(lines(&listed.stdout), ["app", "app-git"], "{listed:?}");
    let before = server.searches().len();
    // The AUR takes nothing shorter; and what is only about the repositories is none of its.
    found(&client, "z", &[]).await;
    found(&client, "zed", &[("sources", vec!["apt"].into())]).await;
    found(&client, "other", &[("installed", true.into())]).await;
    assert_eq!(server.searches().len(), before);

    server.set(Answers::TooMany);
    let own = found(&client, "vi", &[("sources", vec!["apt"].into())]).await;
    assert_eq!(found(&client, "vi", &[]).await, own);
    let errors = texts(&status(&client).await, "Errors");
    assert!(errors.iter().any(|error| error.contains("vi: it says: Too many package results.")), "{errors:?}");
    server.set(Answers::NoArchive);
    assert_eq!(found(&client, "ze", &[]).await, pairs(&[("zed", "aur")]));

    // One that does not answer is waited for once.
    server.set(Answers::Never);
    assert_eq!(found(&client, "app-", &[]).await, []);
    let asked = server.searches().len();
    assert_eq!(found(&client, "app-g", &[]).await, []);
    assert_eq!(server.searches().len(), asked);
    server.set(Answers::Well);
    let_time_pass(&world);
    refresh(&client).await;
    until_known(&client, 4).await;
    assert_eq!(found(&client, "app", &[]).await, app);
    assert_eq!(server.searches().len(), asked);
}

/// As much of NetworkManager as tells what the network costs.
struct NetworkManager(u32);

#[zbus::interface(name = "org.freedesktop.NetworkManager")]
impl NetworkManager {
    #[zbus(property)]
    fn metered(&self) -> u32 {
        self.0
    }
}

#[tokio::test]
async fn on_a_metered_network_the_archive_is_fetched_only_when_somebody_asks() {
    // NM_METERED_GUESS_YES, and NM_METERED_NO.
    for (metered, costs) in [(3, true), (2, false)] {
        let server = AurServer::new(&packages());
        let world = world(&server.url());
        let bus = support::daemon::Bus::start(&world, None);
        let manager = zbus::connection::Builder::address(bus.address.as_str())
            .name("org.freedesktop.NetworkManager")
            .serve_at("/org/freedesktop/NetworkManager", NetworkManager(metered));
        let _manager = manager.build().await.unwrap();
        let mut command = world.omgd();
        command.env("DBUS_SYSTEM_BUS_ADDRESS", &bus.address).env("RUST_LOG", "omg=debug");
        let daemon = world.start(command);
        let client = world.peer().await;
        if costs {
            until("it is left alone", async || daemon.log().contains("archive is not asked for by itself")).await;
            assert_eq!(server.archive_requests(), []);
            refresh(&client).await;
        }
        until_known(&client, 4).await;
        assert_eq!(server.archive_requests(), [None]);
    }
}
