//! Every method of the running daemon, on the socket and on a private bus: answers, bounds, signals.

#![cfg(feature = "debian")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[expect(dead_code, reason = "shared by test targets that each use a part")]
mod support;

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::pin::{Pin, pin};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::daemon::{BULK, Bus, Client, Dict, NAME, Row, WAIT, World, error, number, options, text, texts};
use zbus::export::futures_core::Stream;
use zbus::{Message, MessageStream, OwnedVariant, Variant, message};

/// Runs a check on both ways to a daemon.
async fn on_both_ways(check: impl AsyncFn(&World, &Client)) {
    let world = World::new();
    let bus = Bus::start(&world, Some(env!("CARGO_BIN_EXE_omgd")));
    check(&world, &bus.client().await).await;
    drop(bus);
    let world = World::new();
    let _daemon = world.daemon();
    check(&world, &world.peer().await).await;
}

async fn dump(client: &Client, query: HashMap<String, Variant<'static>>) -> File {
    let fd: zbus::OwnedFd = client.call("QueryFd", &(query,)).await.unwrap();
    File::from(OwnedFd::from(fd))
}

fn lines(pipe: File) -> Vec<Value> {
    BufReader::new(pipe).lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect()
}

fn names(rows: &[Row]) -> Vec<&str> {
    rows.iter().map(|row| row.0.as_str()).collect()
}

#[tokio::test]
async fn searches_listings_upgrades_and_completions_are_answered() {
    on_both_ways(async |_, client| {
        let rows = client.search("app").await.unwrap();
        let wanted: Row =
            ("app".into(), "2.0".into(), "amd64".into(), "stable/main".into(), "application".into(), 1 | 2 | 4, 2000);
        assert_eq!(rows, [wanted]);
        let search = async |terms: Vec<&str>, given: HashMap<String, Variant<'static>>| -> Vec<Row> {
            client.call("Search", &(terms, given)).await.unwrap()
        };
        let substring = || ("mode", Variant::from("substring"));
        assert!(search(vec!["peculiar"], options([substring()])).await.is_empty());
        assert_eq!(
            names(&search(vec!["peculiar"], options([substring(), ("descriptions", true.into())])).await),
            ["app"]
        );
        assert_eq!(search(vec!["bulk"], options([("limit", 7u32.into())])).await.len(), 7);
        assert!(search(vec!["vim"], options([("installed", true.into())])).await.is_empty());
        assert_eq!(names(&search(vec!["vim"], options([("unheard-of", 5u8.into())])).await), ["vim"]);

        assert_eq!(client.list("installed").await, ["app", "lib-auto", "provider"]);
        assert_eq!(client.list("explicit").await, ["app"]);
        assert_eq!(client.list("upgradable").await, ["app"]);
        let all: Vec<Row> = client.call("List", &(options([]),)).await.unwrap();
        assert_eq!(all.len(), BULK + 4);
        let limited: Vec<Row> = client.call("List", &(options([("limit", 2u32.into())]),)).await.unwrap();
        assert_eq!(names(&limited), ["app", "bulk-0000"]);

        type Update = (String, String, String, String, String, String, u32, u64);
        let (generation, updates): (u64, Vec<Update>) = client.call("GetUpdates", &(options([]),)).await.unwrap();
        assert!(generation > 0);
        assert_eq!(updates.len(), 1);
        assert_eq!((updates[0].0.as_str(), updates[0].1.as_str(), updates[0].2.as_str()), ("app", "1.0", "2.0"));

        let suggested: Vec<String> = client.call("Suggest", &("bulk-000", 3u32)).await.unwrap();
        assert_eq!(suggested, ["bulk-0000", "bulk-0001", "bulk-0002"]);
    })
    .await;
}

#[tokio::test]
async fn details_name_what_is_unknown_and_what_is_near_it() {
    on_both_ways(async |_, client| {
        let app = client.details("app").await.unwrap();
        for (key, value) in [
            ("Name", "app"),
            ("Version", "2.0"),
            ("Installed", "1.0"),
            ("Candidate", "2.0"),
            ("Repository", "stable/main"),
            ("Section", "utils"),
            ("Summary", "application"),
        ] {
            assert_eq!(text(&app, key), value, "{key}");
        }
        assert_eq!(number(&app, "DownloadSize"), 2000);
        assert_eq!(texts(&app, "Depends"), ["lib-auto (>= 1.0)", "mail-agent"]);
        assert!(!app.contains_key("Why"));
        assert_eq!(text(&client.details("app:amd64").await.unwrap(), "Name"), "app");

        let why: Vec<Dict> =
            client.call("GetDetails", &(vec!["lib-auto", "app"], options([("why", true.into())]))).await.unwrap();
        let chain = Vec::<(String, String, String)>::try_from(why[0]["Why"].try_clone().unwrap()).unwrap();
        assert_eq!(chain, [("app".into(), "Depends".into(), "lib-auto".into())]);
        assert_eq!(text(&why[1], "Name"), "app");

        let few = options([("fields", vec!["section", "nonsense"].into()), ("versions", false.into())]);
        let few: Vec<Dict> = client.call("GetDetails", &(vec!["app"], few)).await.unwrap();
        let fields = HashMap::<String, String>::try_from(few[0]["Fields"].try_clone().unwrap()).unwrap();
        assert_eq!(fields, HashMap::from([("Section".to_owned(), "utils".to_owned())]));
        assert!(!few[0].contains_key("Versions"));
        assert_eq!(text(&few[0], "Summary"), "application");
        let none = options([("fields", Vec::<&str>::new().into())]);
        let none: Vec<Dict> = client.call("GetDetails", &(vec!["app"], none)).await.unwrap();
        assert!(!none[0].contains_key("Fields") && none[0].contains_key("Versions"));

        let (name, message) = error(client.details("provdier").await);
        assert_eq!(name, "org.omg.Error.NotFound");
        assert!(message.contains("provdier") && message.contains("provider"), "{message}");
        let (name, message) = error(client.details("mail-agent").await);
        assert_eq!(name, "org.omg.Error.NotFound");
        assert!(message.contains("virtual") && message.contains("provider"), "{message}");
        let none: Vec<Dict> = client.call("GetDetails", &(Vec::<&str>::new(), options([]))).await.unwrap();
        assert!(none.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_dump_has_a_line_for_each_package_and_one_for_the_end() {
    on_both_ways(async |_, client| {
        let all = lines(dump(client, options([])).await);
        assert_eq!(all.len(), BULK + 4 + 1);
        assert_eq!(all[BULK + 4], serde_json::json!({"end": true, "count": BULK + 4}));
        assert_eq!(all[0]["name"], "app");
        assert_eq!(all[0]["flags"], serde_json::json!(["installed", "explicit", "upgradable"]));

        let installed = lines(dump(client, options([("installed", true.into()), ("limit", 1u32.into())])).await);
        assert_eq!(installed.len(), 4, "no limit in a dump");
        assert_eq!(installed[0]["version"], "1.0");

        let details = lines(dump(client, options([("explicit", true.into()), ("details", true.into())])).await);
        assert_eq!(details.len(), 2);
        assert_eq!((&details[0]["name"], &details[0]["candidate"]), (&"app".into(), &"2.0".into()));
        assert!(details[0]["fields"].is_object());

        let found = lines(dump(client, options([("terms", vec!["edit"].into()), ("mode", "substring".into())])).await);
        assert_eq!((found.len(), &found[0]["name"]), (2, &"vim".into()));
        let (name, message) =
            error(client.call::<zbus::OwnedFd>("QueryFd", &(options([("terms", "x".into())]),)).await);
        assert_eq!(name, "org.omg.Error.InvalidArgument");
        assert!(message.starts_with("terms:"), "{message}");
    })
    .await;
}

#[tokio::test]
async fn a_dump_in_columns_has_the_rows_of_a_listing() {
    let world = World::new();
    let status = std::fs::read_to_string(world.root.path().join("var/lib/dpkg/status")).unwrap();
    let stanza = |name: &str, summary: &str| {
        format!(
            "Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1\nMaintainer: A\nDescription: {summary}\n\n"
        )
    };
    // More than one answer holds, and one that would break the columns.
    let many: String = (0..10_500).map(|number| stanza(&format!("many-{number}"), "one of many")).collect();
    let text = format!("{status}{}{many}", stanza("hostile", "a\tb\\n \u{1b}[2J"));
    world.root.write("var/lib/dpkg/status", &text);
    let _daemon = world.daemon();
    let client = world.peer().await;
    let text = BufReader::new(dump(&client, options([("explicit", true.into()), ("columns", true.into())])).await);
    let mut told: Vec<String> = text.lines().map(Result::unwrap).collect();
    assert_eq!(told.pop().unwrap(), "{\"count\":10502,\"end\":true}");
    let listed =
        client.call::<Vec<Row>>("List", &(options([("explicit", true.into()), ("limit", 9_000u32.into())]),)).await;
    for (row, line) in listed.unwrap().iter().zip(&told) {
        let (name, version, arch, repository, summary, flags, size) = row;
        let summary = if name == "hostile" { "a\\tb\\\\n \u{1b}[2J" } else { summary };
        assert_eq!(*line, format!("{name}\t{version}\t{arch}\t{repository}\t{summary}\t{flags}\t{size}"));
    }
    assert!(told.iter().any(|line| line.starts_with("hostile\t")));
    // Short ones are kept, and are the same again.
    let mut short = Vec::new();
    for _ in 0..5 {
        let mut text = String::new();
        let query = options([("upgradable", true.into()), ("columns", true.into())]);
        dump(&client, query).await.read_to_string(&mut text).unwrap();
        short.push(text);
    }
    assert_eq!(short[0], "app\t2.0\tamd64\tstable/main\tapplication\t7\t2000\n{\"count\":1,\"end\":true}\n");
    assert!(short.iter().all(|text| *text == short[0]), "{short:?}");
    assert!(number(&client.dictionary("Metrics").await, "SearchCacheHits") >= 3);
    let both = options([("columns", true.into()), ("details", true.into())]);
    let (name, message) = error(client.call::<zbus::OwnedFd>("QueryFd", &(both,)).await);
    assert_eq!(name, "org.omg.Error.InvalidArgument");
    assert_eq!(message, "columns: details have none; ask for one of the two");

    // omg lists them all; where too many dumps run, as many as fit into one answer.
    let listed = |arguments: &[&str]| {
        let output = world.command(env!("CARGO_BIN_EXE_omg")).args(["list", "-q"]).args(arguments).output().unwrap();
        assert!(output.stderr.is_empty() || !output.status.success(), "{output:?}");
        (output.status.code(), String::from_utf8(output.stdout).unwrap().lines().count())
    };
    assert_eq!(listed(&["--installed"]), (Some(0), 10_504));
    let mut held = Vec::new();
    for _ in 0..8 {
        held.push(dump(&client, options([])).await);
    }
    assert_eq!(listed(&["--installed"]), (Some(2), 0));
    assert_eq!(listed(&["--installed", "--limit", "600"]), (Some(0), 600));
    assert_eq!(listed(&["--orphans"]), (Some(0), 0));
    // What is kept needs no place among them.
    let query = options([("upgradable", true.into()), ("columns", true.into())]);
    let mut text = String::new();
    dump(&client, query).await.read_to_string(&mut text).unwrap();
    assert_eq!(text, short[0]);
}

#[tokio::test]
async fn readers_that_stall_or_leave_do_not_hold_up_others() {
    let world = World::new();
    let mut daemon = world.daemon();
    let client = world.peer().await;
    let stalled = dump(&client, options([])).await;
    for _ in 0..20 {
        let mut first = [0];
        let mut pipe = dump(&client, options([])).await;
        pipe.read_exact(&mut first).unwrap();
        drop(pipe);
        assert_eq!(lines(dump(&client, options([("explicit", true.into())])).await).len(), 2);
        assert_eq!(client.search("vim").await.unwrap().len(), 1);
    }
    // What was in the pipe when it stalled is continued where it was.
    assert_eq!(lines(stalled).len(), BULK + 5);
    assert!(daemon.is_running());
}

#[tokio::test]
async fn dumps_over_the_bound_are_refused_and_the_others_go_on() {
    let world = World::new();
    let _daemon = world.daemon();
    let client = world.peer().await;
    let mut held = Vec::new();
    for _ in 0..8 {
        held.push(dump(&client, options([])).await);
    }
    let (name, message) = error(client.call::<zbus::OwnedFd>("QueryFd", &(options([]),)).await);
    assert_eq!((name.as_str(), message.starts_with("dumps:")), ("org.omg.Error.LimitExceeded", true), "{message}");
    assert_eq!(client.search("vim").await.unwrap().len(), 1);
    for pipe in held {
        assert_eq!(lines(pipe).len(), BULK + 5);
    }
    assert_eq!(lines(dump(&client, options([("explicit", true.into())])).await).len(), 2);
}

#[tokio::test]
async fn the_status_the_counters_and_the_properties_say_the_same() {
    on_both_ways(async |world, client| {
        let status = client.dictionary("Status").await;
        assert_eq!(text(&status, "Backend"), "apt");
        assert_eq!(text(&status, "DaemonVersion"), env!("CARGO_PKG_VERSION"));
        assert_eq!((text(&status, "Store").as_str(), text(&status, "StoreState").as_str()), ("ok", "ok"));
        assert_eq!(text(&status, "DataDir"), world.path("data/omg").to_str().unwrap());
        for (key, count) in [
            ("Packages", BULK as u64 + 4),
            ("Installed", 3),
            ("Explicit", 1),
            ("Upgradable", 1),
            ("Security", 0),
            ("Orphans", 0),
            ("Held", 0),
        ] {
            assert_eq!(number(&status, key), count, "{key}");
        }
        assert!(number(&status, "LastRefresh") > 0 && number(&status, "SnapshotBytes") > 0);
        assert!(!status.contains_key("LockHolder") && !status.contains_key("Vulnerabilities"));
        assert_eq!(texts(&status, "Errors"), Vec::<String>::new());

        let all: Dict = client.properties("GetAll", None).await.unwrap().body().deserialize().unwrap();
        let mut keys: Vec<&str> = all.keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(
            keys,
            [
                "AurProblem",
                "Backend",
                "DaemonVersion",
                "ExplicitCount",
                "Generation",
                "InstalledCount",
                "LastRefresh",
                "LockHolder",
                "RestartRequired",
                "SecurityCount",
                "UpdateCount",
                "Version"
            ]
        );
        assert_eq!(number(&all, "Version"), 1);
        assert_eq!(number(&all, "InstalledCount"), 3);
        assert_eq!(number(&all, "Generation"), number(&status, "Generation"));
        assert_eq!(number(&all, "LastRefresh"), number(&status, "LastRefresh"));
        let one: OwnedVariant =
            client.properties("Get", Some("UpdateCount")).await.unwrap().body().deserialize().unwrap();
        assert_eq!(u32::try_from(one).unwrap(), 1);

        world.root.write("run/reboot-required", "");
        world.root.write("run/reboot-required.pkgs", "linux\nlibc6\nlinux\n");
        let status = client.dictionary("Status").await;
        assert!(bool::try_from(status["RestartRequired"].try_clone().unwrap()).unwrap());
        assert_eq!(texts(&status, "RestartPackages"), ["libc6", "linux"]);

        client.search("vim").await.unwrap();
        client.search("vim").await.unwrap();
        let _ = client.details("nowhere").await.unwrap_err();
        let metrics = client.dictionary("Metrics").await;
        assert!(number(&metrics, "SearchCacheHits") >= 1 && number(&metrics, "CachedSearches") <= 1);
        let counts = |key: &str| HashMap::<String, u64>::try_from(metrics[key].try_clone().unwrap()).unwrap();
        assert_eq!((counts("Requests")["Search"], counts("Failures")["GetDetails"]), (2, 1));
        assert_eq!(number(&metrics, "Rebuilds"), 1);
        client.call::<()>("ClearCache", &()).await.unwrap();
        let misses = number(&client.dictionary("Metrics").await, "SearchCacheMisses");
        client.search("vim").await.unwrap();
        assert_eq!(number(&client.dictionary("Metrics").await, "SearchCacheMisses"), misses + 1);
    })
    .await;
}

type Batch = Vec<(bool, OwnedVariant)>;

/// Name and text of an error in a batch.
fn failure(answer: &(bool, OwnedVariant)) -> (String, String) {
    assert!(!answer.0, "{answer:?}");
    <(String, String)>::try_from(answer.1.try_clone().unwrap()).unwrap()
}

#[tokio::test]
async fn a_batch_answers_each_request_by_itself() {
    on_both_ways(async |_, client| {
        let options = || Variant::from(HashMap::<String, Variant<'_>>::new());
        let structure = |fields: Vec<Variant<'static>>| {
            let mut builder = zbus::wire::StructureBuilder::new();
            for field in fields {
                builder.push_value(field);
            }
            Variant::from(builder.build().unwrap())
        };
        let exact = || Variant::from(HashMap::from([("mode".to_owned(), Variant::from("exact"))]));
        let requests: Vec<(&str, Variant<'_>)> = vec![
            ("Search", structure(vec![vec!["app"].into(), exact()])),
            ("GetDetails", structure(vec![vec!["nowhere"].into(), options()])),
            ("Suggest", structure(vec!["vi".into(), 5u32.into()])),
            ("Reboot", structure(vec![options()])),
            ("Search", structure(vec![5u32.into(), options()])),
            ("Search", 5u32.into()),
            ("GetUpdates", structure(vec![options()])),
            ("List", structure(vec![Variant::from(HashMap::from([("explicit".to_owned(), Variant::from(5u8))]))])),
            ("Status", "".into()),
        ];
        let answers: Batch = client.call("Batch", &(requests,)).await.unwrap();
        assert_eq!(
            answers.iter().map(|answer| answer.0).collect::<Vec<_>>(),
            [true, false, true, false, false, false, true, false, true]
        );
        let (rows,) = <(Vec<Row>,)>::try_from(answers[0].1.try_clone().unwrap()).unwrap();
        assert_eq!(names(&rows), ["app"]);
        let (suggested,) = <(Vec<String>,)>::try_from(answers[2].1.try_clone().unwrap()).unwrap();
        assert_eq!(suggested, ["vim"]);
        assert_eq!(failure(&answers[1]).0, "org.omg.Error.NotFound");
        assert!(failure(&answers[1]).1.contains("nowhere"));
        for (index, argument) in [(3, "requests: \"Reboot\""), (4, "terms:"), (5, "terms:"), (7, "explicit:")] {
            let (name, message) = failure(&answers[index]);
            assert_eq!(name, "org.omg.Error.InvalidArgument");
            assert!(message.starts_with(argument), "{message}");
        }

        let many = |count: usize| -> Vec<(&str, Variant<'_>)> {
            (0..count).map(|_| ("Suggest", structure(vec!["ap".into(), 1u32.into()]))).collect()
        };
        let answers: Batch = client.call("Batch", &(many(100),)).await.unwrap();
        assert_eq!(answers.iter().filter(|answer| answer.0).count(), 100);
        let (name, message) = error(client.call::<Batch>("Batch", &(many(101),)).await);
        assert_eq!(name, "org.omg.Error.LimitExceeded");
        assert!(message.starts_with("requests: 101"), "{message}");
        let nested: Vec<(&str, Variant<'_>)> = vec![("Batch", structure(vec![options()]))];
        assert!(!client.call::<Batch>("Batch", &(nested,)).await.unwrap()[0].0);
    })
    .await;
}

#[tokio::test]
async fn arguments_out_of_bounds_are_refused_by_name() {
    on_both_ways(async |_, client| {
        let search = async |terms: Vec<String>, given: HashMap<String, Variant<'static>>| {
            error(client.call::<Vec<Row>>("Search", &(terms, given)).await)
        };
        let many = |count: usize| vec!["x".to_owned(); count];
        let none = || options([]);
        let invalid = "org.omg.Error.InvalidArgument";
        let exceeded = "org.omg.Error.LimitExceeded";
        for (got, name, argument) in [
            (search(vec![], none()).await, invalid, "terms"),
            (search(vec![String::new()], none()).await, invalid, "terms"),
            (search(many(17), none()).await, exceeded, "terms"),
            (search(vec!["x".repeat(257)], none()).await, exceeded, "terms"),
            (search(vec!["a\u{1b}[2J".into()], none()).await, invalid, "terms"),
            (search(many(1), options([("mode", "psychic".into())])).await, invalid, "mode"),
            (search(many(1), options([("mode", 1u32.into())])).await, invalid, "mode"),
            (search(many(1), options([("limit", "7".into())])).await, invalid, "limit"),
            (search(many(1), options([("descriptions", 1u32.into())])).await, invalid, "descriptions"),
            (search(many(1), options([("sources", "apt".into())])).await, invalid, "sources"),
        ] {
            assert_eq!(got.0, name, "{got:?}");
            assert!(got.1.starts_with(&format!("{argument}:")), "{got:?}");
            assert!(!got.1.contains('\u{1b}'), "{got:?}");
        }
        assert!(client.call::<Vec<Row>>("Search", &(many(16), none())).await.is_ok());
        assert!(client.call::<Vec<Row>>("Search", &(vec!["x".repeat(256)], none())).await.is_ok());

        let details = async |names: Vec<String>| error(client.call::<Vec<Dict>>("GetDetails", &(names, none())).await);
        for (got, name) in [
            (details(vec!["app".into(); 1001]).await, exceeded),
            (details(vec!["a".repeat(257)]).await, exceeded),
            (details(vec!["a\nb".into()]).await, invalid),
            (details(vec![String::new()]).await, invalid),
        ] {
            assert_eq!(got.0, name, "{got:?}");
            assert!(got.1.starts_with("names:"), "{got:?}");
        }
        let why = options([("why", "yes".into())]);
        let got = error(client.call::<Vec<Dict>>("GetDetails", &(vec!["app"], why)).await);
        assert_eq!((got.0.as_str(), got.1.starts_with("why:")), (invalid, true), "{got:?}");
        let fields = options([("fields", vec!["x"; 101].into())]);
        let got = error(client.call::<Vec<Dict>>("GetDetails", &(vec!["app"], fields)).await);
        assert_eq!((got.0.as_str(), got.1.starts_with("fields:")), (exceeded, true), "{got:?}");
        let repository = options([("repository", "a\tb".into())]);
        let got = error(client.call::<Vec<Row>>("List", &(repository,)).await);
        assert_eq!((got.0.as_str(), got.1.starts_with("repository:")), (invalid, true), "{got:?}");
        let got = error(client.call::<Vec<String>>("Suggest", &("x\u{7}", 1u32)).await);
        assert_eq!((got.0.as_str(), got.1.starts_with("prefix:")), (invalid, true), "{got:?}");
        let got = error(client.call::<Vec<String>>("Suggest", &("", 1001u32)).await);
        assert_eq!((got.0.as_str(), got.1.starts_with("limit:")), (exceeded, true), "{got:?}");
        for limit in [0u32, 1000] {
            let all: Vec<String> = client.call("Suggest", &("", limit)).await.unwrap();
            assert_eq!(all.len(), 1000);
        }

        for (got, wanted) in [
            (error(client.call::<()>("Search", &("not", "an array")).await), "Search takes terms as, options a{sv}"),
            (error(client.call::<()>("Search", &("x",)).await), "given: s"),
            (error(client.call::<()>("Search", &()).await), "given: none"),
            (error(client.call::<()>("Status", &(5u32,)).await), "Status takes none"),
            (error(client.call::<()>("Batch", &(vec!["Status"],)).await), "Batch takes requests a(sv)"),
        ] {
            assert_eq!(got.0, invalid, "{got:?}");
            assert!(got.1.starts_with("arguments:") && got.1.contains(wanted), "{got:?}");
        }
        let got = error(client.call::<()>("Destroy", &()).await);
        assert_eq!(got.0, "org.freedesktop.DBus.Error.UnknownMethod", "{got:?}");
    })
    .await;
}

#[tokio::test]
async fn one_peer_has_64_calls_in_flight_while_another_is_served() {
    let world = World::new();
    // Until the gate opens, every call waits for the first snapshot.
    let helper = env!("CARGO_BIN_EXE_omg-helper");
    let gate = world.path("gate");
    let text = format!("while [ ! -e {} ]; do sleep 0.05; done\nexec {helper} \"$@\"", gate.display());
    let script = world.script("helper", &text);
    world.configure(&format!("helper = \"{}\"", script.display()));
    let bus = Bus::start(&world, Some(env!("CARGO_BIN_EXE_omgd")));
    let greedy = bus.client().await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..80 {
        let greedy = greedy.clone();
        calls.spawn(async move { greedy.search("vim").await });
    }
    for _ in 0..16 {
        let (name, message) = error(calls.join_next().await.unwrap().unwrap());
        assert_eq!(name, "org.omg.Error.LimitExceeded");
        assert!(message.starts_with("calls:"), "{message}");
    }
    // Reads of properties wait for the snapshot too, so they count.
    let (name, _) = error(greedy.properties("Get", Some("UpdateCount")).await);
    assert_eq!(name, "org.freedesktop.DBus.Error.LimitsExceeded");
    let other = bus.client().await;
    assert_eq!(number(&other.dictionary("Metrics").await, "Rebuilds"), 0);
    let waiting = tokio::spawn(async move { other.search("vim").await });
    std::fs::write(&gate, "").unwrap();
    assert_eq!(waiting.await.unwrap().unwrap().len(), 1);
    while let Some(answer) = calls.join_next().await {
        assert_eq!(answer.unwrap().unwrap().len(), 1);
    }
    assert_eq!(greedy.search("vim").await.unwrap().len(), 1);
}

async fn next(stream: &mut Pin<&mut MessageStream>) -> Message {
    let message = std::future::poll_fn(|context| stream.as_mut().poll_next(context));
    tokio::time::timeout(WAIT, message).await.expect("in time").expect("connected").unwrap()
}

/// Signals of everything up to the snapshot that is in use now, as (member, arguments as text): the properties of a
/// snapshot are announced last.
async fn signals(client: &Client, stream: &mut Pin<&mut MessageStream>) -> Vec<(String, String)> {
    let generation = number(&client.dictionary("Status").await, "Generation");
    let mut seen = Vec::new();
    loop {
        let message = next(stream).await;
        if message.message_type() != message::Type::Signal {
            continue;
        }
        let header = message.header();
        let member = header.member().unwrap().to_string();
        let body = message.body();
        let mut last = false;
        let arguments = match (header.interface().unwrap().as_str(), member.as_str()) {
            (NAME, "UpdatesChanged") => format!("{:?}", body.deserialize::<(u64, u32, u32)>().unwrap()),
            (NAME, "InstalledChanged") => format!("{:?}", body.deserialize::<u64>().unwrap()),
            _ => {
                let (interface, changed, invalidated): (String, Dict, Vec<String>) = body.deserialize().unwrap();
                assert_eq!((interface.as_str(), invalidated.as_slice()), (NAME, [].as_slice()));
                last = number(&changed, "Generation") == generation;
                let of = |key| number(&changed, key);
                format!(
                    "installed {} explicit {} updates {} security {} refreshed {}",
                    of("InstalledCount"),
                    of("ExplicitCount"),
                    of("UpdateCount"),
                    of("SecurityCount"),
                    of("LastRefresh") > 0
                )
            }
        };
        seen.push((member, arguments));
        if last {
            return seen;
        }
    }
}

fn own(seen: &[(String, String)]) -> Vec<&str> {
    seen.iter().map(|(member, _)| member.as_str()).filter(|member| *member != "PropertiesChanged").collect()
}

#[tokio::test]
async fn signals_come_once_for_each_real_change() {
    let world = World::new();
    let _daemon = world.daemon();
    let client = world.peer().await;
    let mut stream = pin!(MessageStream::from(&client.connection));
    client.search("app").await.unwrap();
    // The first look is no change: what it would send would come before what follows.
    let status = std::fs::read_to_string(world.root.path().join("var/lib/dpkg/status")).unwrap();
    let vim = "Package: vim\nStatus: install ok installed\nArchitecture: amd64\nVersion: 9.0\nMaintainer: A\nDescription: editor\n\n";
    world.root.write("var/lib/dpkg/status", &format!("{status}{vim}"));
    assert_eq!(client.list("installed").await.len(), 4);
    let seen = signals(&client, &mut stream).await;
    assert_eq!(own(&seen), ["InstalledChanged"], "{seen:?}");
    let generation = number(&client.dictionary("Status").await, "Generation");
    assert!(seen.contains(&("InstalledChanged".into(), generation.to_string())), "{seen:?}");
    let (_, properties) = seen.last().unwrap();
    assert_eq!(properties, "installed 4 explicit 2 updates 1 security 0 refreshed true");

    // The same packages in a file written anew are no change of theirs.
    world.root.write("var/lib/dpkg/status", &format!("{status}{vim}"));
    world.root.write("etc/apt/apt.conf.d/99nothing", "// nothing\n");
    assert_eq!(client.list("installed").await.len(), 4);
    assert_eq!(own(&signals(&client, &mut stream).await), Vec::<&str>::new());

    // A mark changes a count that clients keep, and neither packages nor upgrades.
    world.root.write("var/lib/apt/extended_states", "Package: lib-auto\nArchitecture: amd64\nAuto-Installed: 1\n\n");
    assert_eq!(client.list("explicit").await.len(), 3);
    let seen = signals(&client, &mut stream).await;
    assert_eq!(own(&seen), Vec::<&str>::new());
    let (_, properties) = seen.last().unwrap();
    assert_eq!(properties, "installed 4 explicit 3 updates 1 security 0 refreshed true");

    world.root.write("etc/apt/preferences.d/app", "Package: app\nPin: version 1.0\nPin-Priority: 1001\n");
    assert!(client.list("upgradable").await.is_empty());
    let seen = signals(&client, &mut stream).await;
    assert_eq!(own(&seen), ["UpdatesChanged"], "{seen:?}");
    let generation = number(&client.dictionary("Status").await, "Generation");
    assert!(seen.contains(&("UpdatesChanged".into(), format!("({generation}, 0, 0)"))), "{seen:?}");
}

#[tokio::test]
async fn nothing_is_rebuilt_while_nothing_changes() {
    let world = World::new();
    world.configure("worker-interval = 10");
    let _daemon = world.daemon();
    let client = world.peer().await;
    client.search("app").await.unwrap();
    let deadline = Instant::now() + WAIT;
    let mut before = client.dictionary("Metrics").await;
    // The run at the start is not the one that is waited for.
    while number(&before, "WorkerRuns") == 0 {
        assert!(Instant::now() < deadline, "the worker has not begun: {before:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
        before = client.dictionary("Metrics").await;
    }
    assert_eq!(number(&before, "Rebuilds"), 1);
    // Events in the watched folders that leave the sources as they are wake the worker.
    world.root.write("var/lib/dpkg/unrelated", "1");
    // A run that began before `before` was asked for may have looked by then: both have to grow.
    let looked =
        |after: &Dict| ["WorkerRuns", "FingerprintChecks"].iter().all(|key| number(after, key) > number(&before, key));
    let mut after = client.dictionary("Metrics").await;
    while !looked(&after) {
        assert!(Instant::now() < deadline, "the worker has not looked: {before:?}, {after:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
        after = client.dictionary("Metrics").await;
    }
    assert_eq!(number(&after, "Rebuilds"), 1);
    assert_eq!(number(&client.dictionary("Status").await, "Generation"), 1);
}
