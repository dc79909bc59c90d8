//! Plans over D-Bus: what they say, who has them, and that making one changes nothing.

#![cfg(feature = "debian")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[expect(dead_code, reason = "shared by test targets that each use a part")]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use omg::dbus::planned::WireHistory;
use omg::security::audit::{AuditLog, Ending, Process, Readers, Record};
use omg::transaction::{Action, Actor, Digest, Verb, Via};
use rustix::process::Signal;
use support::daemon::{Bus, Client, Dict, WAIT, World, error, number, options, text, texts};
use zbus::OwnedObjectPath;

type Item = (String, String, String, String, String, String, u64, i64);

async fn plan(client: &Client, actions: &[(&str, &str)]) -> zbus::Result<OwnedObjectPath> {
    client.call("Plan", &(actions, options([]))).await
}

/// The properties of a plan.
async fn read(client: &Client, path: &OwnedObjectPath) -> zbus::Result<Dict> {
    let interface = Some("org.freedesktop.DBus.Properties");
    let reply =
        client.connection.call_method(client.destination(), path, interface, "GetAll", &"org.omg.Plan1").await?;
    reply.body().deserialize()
}

async fn close(client: &Client, path: &OwnedObjectPath) -> zbus::Result<()> {
    client.connection.call_method(client.destination(), path, Some("org.omg.Plan1"), "Close", &()).await.map(|_| ())
}

fn items(plan: &Dict) -> Vec<Item> {
    Vec::try_from(plan["Items"].try_clone().unwrap()).unwrap()
}

/// Waits until a plan is gone.
async fn until_gone(client: &Client, path: &OwnedObjectPath) {
    let deadline = Instant::now() + WAIT;
    while read(client, path).await.is_ok() {
        assert!(Instant::now() < deadline, "{path} is still there");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Every file below a folder with its contents.
fn contents(folder: &Path, into: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            contents(&path, into);
        } else {
            into.insert(path.display().to_string(), fs::read(&path).unwrap());
        }
    }
}

#[tokio::test]
async fn a_plan_says_what_a_commit_would_do_and_changes_nothing() {
    let world = World::new();
    let _daemon = world.daemon();
    let client = world.peer().await;
    client.search("app").await.unwrap();
    let (mut before, mut after) = (BTreeMap::new(), BTreeMap::new());
    contents(&world.root.path().join("var/lib"), &mut before);
    let path = plan(&client, &[("install", "vim"), ("upgrade", "app")]).await.unwrap();
    let told = read(&client, &path).await.unwrap();
    let installed =
        ("install".into(), "vim".into(), "amd64".into(), String::new(), "9.0".into(), "stable/main".into(), 0, 0);
    let upgraded =
        ("upgrade".into(), "app".into(), "amd64".into(), "1.0".into(), "2.0".into(), "stable/main".into(), 0, 20480);
    assert_eq!(items(&told), [installed, upgraded]);
    // The archive is on this machine: nothing is downloaded.
    assert_eq!(number(&told, "DownloadSize"), 0);
    assert_eq!(text(&told, "Digest").len(), 64);
    let again = plan(&client, &[("install", "vim"), ("upgrade", "app")]).await.unwrap();
    assert_ne!(again, path);
    assert_eq!(text(&read(&client, &again).await.unwrap(), "Digest"), text(&told, "Digest"));
    let other = plan(&client, &[("install", "vim")]).await.unwrap();
    assert_ne!(text(&read(&client, &other).await.unwrap(), "Digest"), text(&told, "Digest"));
    contents(&world.root.path().join("var/lib"), &mut after);
    assert!(before == after, "a file below var/lib changed");

    let removal = plan(&client, &[("remove", "lib-auto")]).await.unwrap();
    let told = read(&client, &removal).await.unwrap();
    let removed: Vec<String> = items(&told).into_iter().map(|item| format!("{} {}", item.0, item.1)).collect();
    assert_eq!(removed, ["remove app", "remove lib-auto"]);
    assert_eq!(texts(&told, "Unneeded"), ["provider"]);
}

#[tokio::test]
async fn what_cannot_be_planned_is_refused_by_name() {
    let world = World::new();
    let _daemon = world.daemon();
    let client = world.peer().await;
    for (actions, name, told) in [
        (vec![], "InvalidArgument", "actions: at least one is needed"),
        (vec![("fly", "vim")], "InvalidArgument", "\"fly\" is no verb"),
        (vec![("install", "--yes")], "InvalidArgument", "\"--yes\" is no package"),
        (vec![("install", "")], "InvalidArgument", "install needs a package"),
        (vec![("clean", "vim")], "InvalidArgument", "clean takes no package"),
        (vec![("install-file", "x.deb")], "InvalidArgument", "files: 0 given for 1"),
        (vec![("install", "no-such-thing")], "NotFound", "no-such-thing"),
        (vec![("install", "vim=99")], "NotFound", "99"),
    ] {
        let (got, message) = error(plan(&client, &actions).await);
        assert_eq!(got, format!("org.omg.Error.{name}"), "{actions:?}: {message}");
        assert!(message.contains(told), "{actions:?}: {message}");
    }
    let many = vec![("install", "vim"); 2001];
    assert_eq!(error(plan(&client, &many).await).0, "org.omg.Error.LimitExceeded");
    let wrong = (vec![("install", "vim")], options([("wait", 1_u32.into())]));
    let (name, message) = error(client.call::<OwnedObjectPath>("Plan", &wrong).await);
    assert_eq!((name.as_str(), message.contains("wait")), ("org.omg.Error.InvalidArgument", true), "{message}");
}

#[tokio::test]
async fn a_plan_is_its_owners_and_stays_for_a_while_when_that_one_is_gone() {
    let world = World::new();
    let bus = Bus::start(&world, Some(env!("CARGO_BIN_EXE_omgd")));
    let (owner, other) = (bus.client().await, bus.client().await);
    let first = plan(&owner, &[("install", "vim")]).await.unwrap();
    let second = plan(&owner, &[("install", "vim")]).await.unwrap();
    assert_eq!(error(close(&other, &first).await).0, "org.omg.Error.NotAuthorized");
    assert!(read(&other, &first).await.is_ok());
    close(&owner, &first).await.unwrap();
    until_gone(&other, &first).await;
    assert!(read(&other, &second).await.is_ok());
    owner.connection.close().await.unwrap();
    // As programs do that make a connection for each call.
    let mut orphans = Vec::new();
    for _ in 0..16 {
        let passing = bus.client().await;
        orphans.push(plan(&passing, &[("install", "vim")]).await.unwrap());
        passing.connection.close().await.unwrap();
    }
    // So many stay, and one more closes the oldest.
    until_gone(&other, &second).await;
    for path in &orphans {
        assert_eq!(text(&read(&other, path).await.unwrap(), "Digest").len(), 64);
        assert_eq!(error(close(&other, path).await).0, "org.omg.Error.NotAuthorized");
    }
}

#[tokio::test]
async fn a_daemon_that_is_told_to_end_does_not_wait_for_plans() {
    let world = World::new();
    let bus = Bus::start(&world, None);
    let mut daemon = world.start(world.omgd_on(&bus));
    while bus.owner().await.is_none() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (owner, passing) = (bus.client().await, bus.client().await);
    plan(&owner, &[("install", "vim")]).await.unwrap();
    plan(&passing, &[("install", "vim")]).await.unwrap();
    owner.call::<OwnedObjectPath>("Refresh", &(options([]),)).await.unwrap();
    passing.connection.close().await.unwrap();
    daemon.signal(Signal::TERM);
    assert!(daemon.ended().success());
    assert!(!daemon.log().contains("still running"), "{}", daemon.log());
}

#[tokio::test]
async fn the_oldest_of_too_many_plans_is_closed() {
    let world = World::new();
    let _daemon = world.daemon();
    let client = world.peer().await;
    let first = plan(&client, &[("install", "vim")]).await.unwrap();
    let mut last = first.clone();
    for _ in 0..16 {
        last = plan(&client, &[("install", "vim")]).await.unwrap();
    }
    until_gone(&client, &first).await;
    assert!(read(&client, &last).await.is_ok());
}

#[tokio::test]
async fn a_daemon_stays_while_a_plan_is_open() {
    let world = World::new();
    world.configure("idle-timeout = 1");
    let bus = Bus::start(&world, Some(env!("CARGO_BIN_EXE_omgd")));
    let client = bus.client().await;
    let path = plan(&client, &[("install", "vim")]).await.unwrap();
    let owner = bus.owner().await;
    // Twice as long as it would stay without.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!((bus.owner().await, read(&client, &path).await.is_ok()), (owner, true));
    close(&client, &path).await.unwrap();
    let deadline = Instant::now() + WAIT;
    while bus.owner().await.is_some() {
        assert!(Instant::now() < deadline, "the daemon stays");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn the_history_tells_what_the_log_says_and_remembers_it() {
    let world = World::new();
    let folder = world.root.path().join("var/lib/omg/audit");
    let log = AuditLog::new(&folder, Readers::Everyone);
    let begin = |name: &str| {
        let record = Record::Begun {
            actor: Actor { uid: 1000, via: Via::Polkit },
            process: Process { boot: "another".into(), ..Process::current() },
            actions: vec![Action::new(Verb::Install, name).unwrap()],
            digest: Digest::default(),
            items: Vec::new(),
        };
        log.append(&record).unwrap()
    };
    let begun = begin("vim");
    let failed = Record::Ended { begun, ending: Ending::Failed, items: Vec::new(), message: "no space left".into() };
    log.append(&failed).unwrap();
    let _daemon = world.daemon();
    let client = world.peer().await;
    let history =
        async |limit: u32| client.call::<Vec<WireHistory>>("History", &(options([("limit", limit.into())]),)).await;
    let told = history(0).await.unwrap();
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].0, told[0].3, told[0].4.as_str(), told[0].6.as_str()), (1, 1000, "polkit", "failed"));
    assert_eq!(
        (told[0].5.as_slice(), told[0].8.as_str()),
        ([("install".into(), "vim".into())].as_slice(), "no space left")
    );
    // At once, like everything else.
    begin("nano");
    let told = history(0).await.unwrap();
    let standings: Vec<_> = told.iter().map(|transaction| (transaction.0, transaction.6.as_str())).collect();
    assert_eq!(standings, [(3, "interrupted"), (1, "failed")]);
    assert_eq!(history(1).await.unwrap().len(), 1);
    assert_eq!(error(history(1001).await).0, "org.omg.Error.LimitExceeded");
    // A log that was tampered with is told of, and what was known before is not lost.
    let file = folder.join("audit.jsonl");
    fs::write(&file, fs::read_to_string(&file).unwrap().replace("nano", "nasm")).unwrap();
    assert_eq!(history(0).await.unwrap(), told);
    let errors = texts(&client.dictionary("Status").await, "Errors");
    assert!(errors.iter().any(|error| error.contains("the entry was changed")), "{errors:?}");
}
