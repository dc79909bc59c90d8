//! `Refresh` of the daemon: a job that brings up to date what takes no rights.

#![cfg(feature = "debian")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[expect(dead_code, reason = "shared by test targets that each use a part")]
mod support;

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::pin;
use std::time::{Duration, Instant};

use support::daemon::{Bus, Client, Dict, WAIT, World, error, number, options, text};
use zbus::export::futures_core::Stream;
use zbus::{MessageStream, OwnedObjectPath, OwnedVariant, Variant};

const JOB: &str = "org.omg.Job1";

async fn refresh(client: &Client, given: HashMap<String, Variant<'static>>) -> zbus::Result<OwnedObjectPath> {
    client.call("Refresh", &(given,)).await
}

async fn job(client: &Client, job: &OwnedObjectPath, member: &str) -> zbus::Result<zbus::Message> {
    client.connection.call_method(client.destination(), job, Some(JOB), member, &()).await
}

async fn state(client: &Client, job: &OwnedObjectPath) -> zbus::Result<String> {
    let properties = Some("org.freedesktop.DBus.Properties");
    let body = (JOB, "State");
    let reply = client.connection.call_method(client.destination(), job, properties, "Get", &body).await?;
    let value: OwnedVariant = reply.body().deserialize()?;
    Ok(String::try_from(value).unwrap())
}

async fn result(client: &Client, path: &OwnedObjectPath) -> Dict {
    let deadline = Instant::now() + WAIT;
    while state(client, path).await.unwrap() != "finished" {
        assert!(Instant::now() < deadline, "{path} goes on");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    job(client, path, "GetResult").await.unwrap().body().deserialize().unwrap()
}

async fn until_gone(client: &Client, path: &OwnedObjectPath) {
    let deadline = Instant::now() + WAIT;
    while state(client, path).await.is_ok() {
        assert!(Instant::now() < deadline, "{path} is still there");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A job that its owner starts and hears of, on a connection of either kind.
async fn followed(world: &World, client: &Client) {
    let before = client.dictionary("Status").await;
    let path = refresh(client, options([])).await.unwrap();
    assert_eq!(state(client, &path).await.unwrap(), "ready");
    assert_eq!(error(job(client, &path, "GetResult").await).0, "org.omg.Error.InvalidState");
    let status = std::fs::read_to_string(world.root.path().join("var/lib/dpkg/status")).unwrap();
    world.root.write("var/lib/dpkg/status", &status.replace("Version: 1.0", "Version: 1.0.1"));
    let mut messages = pin!(MessageStream::from(&client.connection));
    job(client, &path, "Start").await.unwrap();
    assert_eq!(error(job(client, &path, "Start").await).0, "org.omg.Error.InvalidState");
    let finished = async {
        loop {
            let message = poll_fn(|context| messages.as_mut().poll_next(context)).await.unwrap().unwrap();
            let header = message.header();
            if header.member().is_some_and(|member| member == "Finished") {
                assert_eq!(header.path().unwrap().as_str(), path.as_str());
                return message.body().deserialize::<(String, Dict)>().unwrap().0;
            }
        }
    };
    assert_eq!(tokio::time::timeout(WAIT, finished).await.unwrap(), "succeeded");
    assert_eq!(text(&result(client, &path).await, "Outcome"), "succeeded");
    // What moved was read again.
    let after = client.dictionary("Status").await;
    assert!(number(&after, "Generation") > number(&before, "Generation"), "{after:?}");
    job(client, &path, "Close").await.unwrap();
    until_gone(client, &path).await;

    let cancelled = refresh(client, options([])).await.unwrap();
    job(client, &cancelled, "Cancel").await.unwrap();
    assert_eq!(text(&result(client, &cancelled).await, "Outcome"), "cancelled");
    job(client, &cancelled, "Close").await.unwrap();
    until_gone(client, &cancelled).await;
    assert_eq!(error(refresh(client, options([("start", "yes".into())])).await).0, "org.omg.Error.InvalidArgument");
}

#[tokio::test]
async fn a_refresh_reads_again_what_moved_and_tells_its_owner() {
    let world = World::new();
    let bus = Bus::start(&world, Some(env!("CARGO_BIN_EXE_omgd")));
    followed(&world, &bus.client().await).await;
    drop(bus);
    let world = World::new();
    let _daemon = world.daemon();
    followed(&world, &world.peer().await).await;
}

#[tokio::test]
async fn what_its_call_started_outlives_the_caller_and_what_was_not_ends_with_it() {
    let world = World::new();
    let bus = Bus::start(&world, Some(env!("CARGO_BIN_EXE_omgd")));
    let (caller, later) = (bus.client().await, bus.client().await);
    let started = refresh(&caller, options([("start", true.into())])).await.unwrap();
    let ready = refresh(&caller, options([])).await.unwrap();
    caller.connection.close().await.unwrap();
    assert_eq!(text(&result(&later, &started).await, "Outcome"), "succeeded");
    until_gone(&later, &ready).await;
    job(&later, &started, "Close").await.unwrap();
    until_gone(&later, &started).await;
}

#[tokio::test]
async fn a_refresh_that_cannot_read_packages_says_why_and_jobs_are_bounded() {
    let world = World::new();
    let daemon = world.daemon();
    let client = world.peer().await;
    client.search("app").await.unwrap();
    world.root.write("etc/apt/apt.conf.d/99broken", "this is { no configuration\n");
    let path = refresh(&client, options([("start", true.into())])).await.unwrap();
    let told = result(&client, &path).await;
    assert_eq!(text(&told, "Outcome"), "failed", "{}", daemon.log());
    assert!(text(&told, "Error").starts_with("org.omg.Error."), "{told:?}");
    assert!(text(&told, "Message").contains("99broken"), "{told:?}");
    let mut last = path.clone();
    for _ in 0..16 {
        last = refresh(&client, options([])).await.unwrap();
    }
    // The one that is over made room.
    until_gone(&client, &path).await;
    assert_eq!(error(refresh(&client, options([])).await).0, "org.omg.Error.LimitExceeded");
    job(&client, &last, "Close").await.unwrap();
    until_gone(&client, &last).await;
    let deadline = Instant::now() + WAIT;
    // Its place is free a moment after its object is gone.
    while refresh(&client, options([])).await.is_err() {
        assert!(Instant::now() < deadline, "the place is not free");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
