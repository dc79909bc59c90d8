//! `org.omg.RuntimeManager1`, on the daemon's socket.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/upstreams.rs"]
#[expect(dead_code, reason = "shared by test targets that each use a part")]
mod upstreams;

use std::collections::HashMap;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures_core::Stream;
use serde_json::json;
use tempfile::TempDir;
use tokio::time::timeout;
use upstreams::{Key, Upstream, packed, sha256};
use zbus::connection::Builder;

use zbus::{Connection, MessageStream, OwnedObjectPath, Variant};

const OBJECT: &str = "/org/omg/RuntimeManager1";
const INTERFACE: &str = "org.omg.RuntimeManager1";
const WAIT: Duration = Duration::from_secs(30);

type Options = HashMap<&'static str, Variant<'static>>;

/// A daemon for a user, and an upstream that has Go.
struct World {
    home: TempDir,
    upstream: Upstream,
    key: Key,
    daemon: Child,
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// Publishes versions as Go's upstream does: each name with the archive of a version.
fn publish(upstream: &Upstream, key: &Key, versions: [(&str, &str); 2]) {
    let mut index = Vec::new();
    for (named, version) in versions {
        let tree = tempfile::tempdir().unwrap();
        fs::create_dir(tree.path().join("bin")).unwrap();
        fs::write(tree.path().join("VERSION"), format!("go{version}\ntime 2024-01-01T00:00:00Z\n")).unwrap();
        fs::write(tree.path().join("bin/go"), format!("#!/bin/sh\necho {version}\n")).unwrap();
        let archive = packed(tree.path(), "go", "--gzip");
        let name = format!("go{named}.linux-amd64.tar.gz");
        index.insert(
            0,
            json!({"version": format!("go{named}"), "stable": true, "files": [{
                "filename": name, "os": "linux", "arch": "amd64", "version": format!("go{named}"),
                "sha256": sha256(&archive), "size": archive.len(), "kind": "archive",
            }]}),
        );
        upstream.file(&format!("/{name}.asc"), key.detached(&archive));
        upstream.file(&format!("/{name}"), archive);
    }
    upstream.file("/?mode=json&include=all", serde_json::to_vec(&index).unwrap());
}

impl World {
    async fn new() -> (Self, Connection) {
        let home = tempfile::tempdir().unwrap();
        let (upstream, key) = (Upstream::new(), Key::new("Releaser"));
        let path = |below: &str| home.path().join(below);
        for folder in ["config/omg", "project", "data", "run"] {
            fs::create_dir_all(path(folder)).unwrap();
        }
        fs::write(path("keys.asc"), key.public()).unwrap();
        let settings = format!(
            "backend = \"none\"\n[runtimes.go]\nurl = \"{}\"\nkeys = \"{}\"\n",
            upstream.address(),
            path("keys.asc").display()
        );
        fs::write(path("config/omg/config.toml"), settings).unwrap();
        publish(&upstream, &key, [("1.21.0", "1.21.0"), ("1.22.1", "1.22.1")]);
        let socket = path("run/omg.sock");
        let mut command = Command::new(env!("CARGO_BIN_EXE_omgd"));
        command.env_clear().env("HOME", home.path()).env("PATH", std::env::var_os("PATH").unwrap());
        for (name, folder) in [("XDG_CONFIG_HOME", "config"), ("XDG_DATA_HOME", "data"), ("XDG_CACHE_HOME", "cache")] {
            command.env(name, path(folder));
        }
        command.arg("--socket").arg(&socket).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let daemon = command.spawn().unwrap();
        let world = Self { upstream, key, daemon, home };
        let until = Instant::now() + WAIT;
        let stream = loop {
            match UnixStream::connect(&socket) {
                Ok(stream) => break stream,
                Err(error) => assert!(Instant::now() < until, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        stream.set_nonblocking(true).unwrap();
        let connection = Builder::unix_stream(stream).p2p().build().await.unwrap();
        (world, connection)
    }

    fn path(&self, below: &str) -> PathBuf {
        self.home.path().join(below)
    }
}

async fn call<R: serde::de::DeserializeOwned + zbus::Type>(
    connection: &Connection,
    method: &str,
    body: &(impl serde::Serialize + zbus::wire::DynamicType),
) -> zbus::Result<R> {
    let reply = connection.call_method(None::<&str>, OBJECT, Some(INTERFACE), method, body).await?;
    reply.body().deserialize()
}

/// Starts a job and waits for its end; how it ended.
async fn finished(connection: &Connection, job: &OwnedObjectPath) -> String {
    let mut messages = MessageStream::from(connection);
    connection.call_method(None::<&str>, job, Some("org.omg.Job1"), "Start", &()).await.unwrap();
    timeout(WAIT, async {
        loop {
            let message = next(&mut messages).await;
            if message.header().member().is_some_and(|member| member.as_str() == "Finished") {
                let (outcome, _result): (String, HashMap<String, zbus::OwnedVariant>) =
                    message.body().deserialize().unwrap();
                return outcome;
            }
        }
    })
    .await
    .unwrap()
}

async fn next(messages: &mut MessageStream) -> zbus::Message {
    std::future::poll_fn(|context| std::pin::Pin::new(&mut *messages).poll_next(context)).await.unwrap().unwrap()
}

#[tokio::test]
async fn the_keys_whose_signatures_count_are_listed() {
    let (world, connection) = World::new().await;
    let keys: Vec<(String, String, String, u64)> = call(&connection, "ListKeys", &()).await.unwrap();
    let of = |name: &str| keys.iter().filter(|key| key.0 == name).map(|key| key.1.clone()).collect::<Vec<_>>();
    // Those of the setting come besides those that come with omg.
    assert!(of("go").len() > 1 && of("go").contains(&world.key.fingerprint()), "{keys:?}");
    assert!(of("node").len() > 5, "{keys:?}");
    let is_fingerprint =
        |text: &String| text.len() >= 40 && text.bytes().all(|byte| b"0123456789ABCDEF".contains(&byte));
    assert!(keys.iter().all(|key| is_fingerprint(&key.1) && !key.2.is_empty()), "{keys:?}");

    let mut omg = Command::new(env!("CARGO_BIN_EXE_omg"));
    omg.args(["runtime", "keys", "--json", "--socket"]).arg(world.path("run/omg.sock"));
    let said = omg.env("HOME", world.home.path()).stdin(Stdio::null()).output().unwrap();
    let lines = String::from_utf8(said.stdout).unwrap();
    let told: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let text = |line: &serde_json::Value, key: &str| line[key].as_str().unwrap().to_owned();
    let rows: Vec<_> = told
        .iter()
        .map(|line| {
            (text(line, "for"), text(line, "fingerprint"), text(line, "owner"), line["expires"].as_u64().unwrap_or(0))
        })
        .collect();
    assert_eq!(rows, keys);
}

#[tokio::test]
async fn versions_are_listed_installed_resolved_switched_and_removed_and_every_change_is_told() {
    let (world, connection) = World::new().await;
    let none: Options = HashMap::new();
    let refused = call::<Vec<(String, String, String, bool, bool)>>(&connection, "ListAvailable", &("go", &none)).await;
    let Err(zbus::Error::MethodError(name, ..)) = refused else { panic!("{refused:?}") };
    assert_eq!(name.as_str(), "org.omg.Error.Offline");
    assert_eq!(world.upstream.requests(), []);

    let job: OwnedObjectPath = call(&connection, "RefreshVersions", &(vec!["go"], &none)).await.unwrap();
    assert_eq!(finished(&connection, &job).await, "succeeded");
    let available: Vec<(String, String, String, bool, bool)> =
        call(&connection, "ListAvailable", &("go", &none)).await.unwrap();
    let names: Vec<&str> = available.iter().map(|row| row.0.as_str()).collect();
    assert_eq!(names, ["1.21.0", "1.22.1"]);

    let mut messages = MessageStream::from(&connection);
    let used: Options = HashMap::from([("use", true.into())]);
    let job: OwnedObjectPath = call(&connection, "Install", &(vec![("go", "1.21")], &used)).await.unwrap();
    assert_eq!(finished(&connection, &job).await, "succeeded");
    let job: OwnedObjectPath = call(&connection, "Install", &(vec![("go", "1.22")], &none)).await.unwrap();
    assert_eq!(finished(&connection, &job).await, "succeeded");
    let told = timeout(WAIT, async {
        loop {
            let message = next(&mut messages).await;
            if message.header().member().is_some_and(|member| member.as_str() == "RuntimesChanged") {
                return message.body().deserialize::<Vec<String>>().unwrap();
            }
        }
    });
    assert_eq!(told.await.unwrap(), ["go"]);

    let runtimes: Vec<(String, String, String, u32)> = call(&connection, "ListRuntimes", &()).await.unwrap();
    let go = runtimes.iter().find(|row| row.0 == "go").unwrap();
    assert_eq!(*go, ("go".to_owned(), "omg".to_owned(), "1.21.0".to_owned(), 2));
    let installed: Vec<(String, String, bool, String, String, bool)> =
        call(&connection, "ListInstalled", &"").await.unwrap();
    let rows: Vec<(&str, bool, bool)> = installed.iter().map(|row| (row.1.as_str(), row.2, row.5)).collect();
    assert_eq!(rows, [("1.21.0", true, false), ("1.22.1", false, false)]);
    assert!(installed[0].4.starts_with("http://127.0.0.1"), "{installed:?}");

    fs::write(world.path("project/go.mod"), "module x\n\ngo 1.22.0\n").unwrap();
    let project = world.path("project").to_str().unwrap().to_owned();
    let resolved: Vec<(String, String, String, String, String, String, u32)> =
        call(&connection, "Resolve", &project).await.unwrap();
    let [(runtime, request, version, folder, why, file, line)] = &resolved[..] else { panic!("{resolved:?}") };
    assert_eq!((runtime.as_str(), version.as_str(), why.as_str(), *line), ("go", "1.22.1", "file", 3));
    assert_eq!((request.as_str(), file), (">=1.22.0", &format!("{project}/go.mod")));
    let (path, _): (Vec<String>, HashMap<String, String>) = call(&connection, "GetEnv", &project).await.unwrap();
    assert_eq!(path, [format!("{folder}/bin")]);

    let used: String = call(&connection, "Use", &("go", "1.22")).await.unwrap();
    assert_eq!(used, "1.22.1");
    let refused = call::<()>(&connection, "Uninstall", &("go", "1.22.1", &none)).await;
    let Err(zbus::Error::MethodError(name, ..)) = refused else { panic!("{refused:?}") };
    assert_eq!(name.as_str(), "org.omg.Error.InvalidArgument");
    call::<()>(&connection, "Uninstall", &("go", "1.21.0", &none)).await.unwrap();
    let installed: Vec<(String, String, bool, String, String, bool)> =
        call(&connection, "ListInstalled", &"go").await.unwrap();
    assert_eq!(installed.len(), 1);
}

#[tokio::test]
async fn a_switch_by_the_command_line_is_told_and_shows_in_the_status_file() {
    let (world, connection) = World::new().await;
    let used: Options = HashMap::from([("use", true.into())]);
    for version in ["1.21", "1.22"] {
        let job: OwnedObjectPath = call(&connection, "Install", &(vec![("go", version)], &used)).await.unwrap();
        assert_eq!(finished(&connection, &job).await, "succeeded");
    }
    let shows = |version: &str| {
        let status = omg::status::read(&world.path("data/omg/status")).ok();
        status.is_some_and(|status| {
            status.runtimes.iter().any(|runtime| *runtime == omg::status::Runtime::new("go", version).unwrap())
        })
    };
    let until = Instant::now() + WAIT;
    while !shows("1.22.1") {
        assert!(Instant::now() < until, "the status file does not show it");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // What was told until now is over.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut messages = MessageStream::from(&connection);
    let mut command = Command::new(env!("CARGO_BIN_EXE_omg"));
    command.env_clear().env("HOME", world.home.path()).env("PATH", "/usr/bin:/bin");
    for (name, folder) in [("XDG_CONFIG_HOME", "config"), ("XDG_DATA_HOME", "data"), ("XDG_CACHE_HOME", "cache")] {
        command.env(name, world.path(folder));
    }
    let output = command.args(["use", "go", "1.21"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told = timeout(WAIT, async {
        loop {
            let message = next(&mut messages).await;
            if message.header().member().is_some_and(|member| member.as_str() == "RuntimesChanged") {
                return message.body().deserialize::<Vec<String>>().unwrap();
            }
        }
    });
    assert_eq!(told.await.unwrap(), ["go"]);
    let until = Instant::now() + WAIT;
    while !shows("1.21.0") {
        assert!(Instant::now() < until, "the status file does not show it");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn what_is_no_runtime_no_version_or_no_folder_is_refused() {
    let (_world, connection) = World::new().await;
    let none: Options = HashMap::new();
    for (method, body) in [("Use", ("no/de", "20")), ("Use", ("node", "$(x)")), ("Use", ("node", ""))] {
        let refused = call::<String>(&connection, method, &body).await;
        let Err(zbus::Error::MethodError(name, ..)) = refused else { panic!("{refused:?}") };
        assert_eq!(name.as_str(), "org.omg.Error.InvalidArgument", "{body:?}");
    }
    let many: Vec<(&str, &str)> = vec![("node", "20"); 65];
    let refused = call::<OwnedObjectPath>(&connection, "Install", &(many, &none)).await;
    let Err(zbus::Error::MethodError(name, ..)) = refused else { panic!("{refused:?}") };
    assert_eq!(name.as_str(), "org.omg.Error.LimitExceeded");
    let refused =
        call::<Vec<(String, String, String, String, String, String, u32)>>(&connection, "Resolve", &"x").await;
    let Err(zbus::Error::MethodError(name, ..)) = refused else { panic!("{refused:?}") };
    assert_eq!(name.as_str(), "org.omg.Error.InvalidArgument");
    let refused = call::<String>(&connection, "Use", &("go", "1.21")).await;
    let Err(zbus::Error::MethodError(name, Some(text), _)) = refused else { panic!("{refused:?}") };
    assert_eq!((name.as_str(), text.as_str()), ("org.omg.Error.NotFound", "go 1.21 is not installed"));
}

#[tokio::test]
async fn an_older_version_that_is_given_for_a_newer_one_is_refused_though_it_is_signed() {
    let (world, connection) = World::new().await;
    publish(&world.upstream, &world.key, [("1.21.0", "1.21.0"), ("1.22.1", "1.21.0")]);
    let none: Options = HashMap::new();
    let job: OwnedObjectPath = call(&connection, "Install", &(vec![("go", "1.22")], &none)).await.unwrap();
    assert_eq!(finished(&connection, &job).await, "failed");
    let installed: Vec<(String, String, bool, String, String, bool)> =
        call(&connection, "ListInstalled", &"go").await.unwrap();
    assert_eq!(installed, []);
    let left = fs::read_dir(world.path("data/omg/versions/.work")).unwrap().count();
    assert_eq!(left, 0);
}
