//! The interface that the running daemon describes is the one that is published.

#![cfg(feature = "debian")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[expect(dead_code, reason = "shared by test targets that each use a part")]
mod support;

use std::fs;
use std::path::Path;

use support::daemon::{Bus, NAME, PATH, World, options};

/// The interface of plans, and the path under which it is published.
const PLAN: (&str, &str) = ("org.omg.Plan1", "/org/omg/PackageManager1/transaction/1");

/// The interface of packages of the AUR, on the same object.
const AUR: (&str, &str) = ("org.omg.Aur1", PATH);

/// The interface of language runtimes, on an object of its own.
const RUNTIMES: (&str, &str) = ("org.omg.RuntimeManager1", "/org/omg/RuntimeManager1");

/// The published description: that of one interface alone, under its object.
fn golden(introspected: &str, interface: &str, path: &str) -> String {
    let start = introspected.find(&format!("<interface name=\"{interface}\">")).expect("our interface is described");
    let end = introspected[start..].find("</interface>").expect("it ends") + start + "</interface>".len();
    let line_start = introspected[..start].rfind('\n').map_or(0, |newline| newline + 1);
    format!(
        "<!DOCTYPE node PUBLIC \"-//freedesktop//DTD D-BUS Object Introspection 1.0//EN\"\n \
         \"http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd\">\n<node name=\"{path}\">\n{}\n</node>\n",
        &introspected[line_start..end]
    )
}

/// `UPDATE_GOLDEN=1` writes the file anew.
#[tokio::test]
async fn the_published_description_is_that_of_the_running_daemon() {
    let world = World::new();
    let _daemon = world.daemon();
    let client = world.peer().await;
    let plan: zbus::OwnedObjectPath = client.call("Plan", &(vec![("install", "vim")], options([]))).await.unwrap();
    assert_eq!(plan.as_str(), PLAN.1);
    for (interface, path) in [(NAME, PATH), PLAN, AUR, RUNTIMES] {
        let described = golden(&client.introspect(path).await, interface, path);
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("dbus").join(format!("{interface}.xml"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&file, &described).unwrap();
        }
        let published = fs::read_to_string(&file).unwrap();
        assert!(published == described, "{} differs from the daemon's own:\n{described}", file.display());
    }
}

/// `qdbusxml2cpp` refuses a member with a type that Qt has no class for, unless an annotation names one.
#[test]
fn every_property_says_when_it_changes_and_every_structure_has_a_name_in_qt() {
    let published = [NAME, PLAN.0, AUR.0, RUNTIMES.0].map(|interface| {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("dbus").join(format!("{interface}.xml"));
        fs::read_to_string(file).unwrap()
    });
    let published = published.concat();
    let (mut properties, mut named, mut needed) = (0, 0, 0);
    for element in published.lines().map(str::trim_start) {
        let declares = element.starts_with("<arg ") || element.starts_with("<property ");
        let kind = element.split_once(" type=\"").map_or("", |(_, rest)| rest.split_once('"').unwrap().0);
        needed += usize::from(declares && kind.contains(['(', '{']));
        named += usize::from(element.starts_with("<annotation name=\"org.qtproject.QtDBus.QtTypeName"));
        properties += usize::from(element.starts_with("<property "));
    }
    assert_eq!((named, needed > 10), (needed, true));
    assert_eq!(published.matches("org.freedesktop.DBus.Property.EmitsChangedSignal").count(), properties);
}

#[tokio::test]
async fn ordinary_tools_read_the_description_and_start_the_daemon() {
    let world = World::new();
    let bus = Bus::start(&world, Some(env!("CARGO_BIN_EXE_omgd")));
    let run = |program: &str, arguments: &[&str]| {
        let mut command = world.command(program);
        support::apt_root::run(command.env("DBUS_SESSION_BUS_ADDRESS", &bus.address).args(arguments))
    };
    let told = run("busctl", &["--user", "--no-pager", "introspect", NAME, PATH, NAME]);
    for member in [".Search", ".QueryFd", ".GetDetails", ".Batch", ".UpdateCount", ".InstalledChanged"] {
        assert!(told.contains(member), "{member} in\n{told}");
    }
    let told = run("gdbus", &["introspect", "--session", "--dest", NAME, "--object-path", PATH]);
    assert!(told.contains("Search(in  as terms,"), "{told}");
    let told = run("busctl", &["--user", "call", NAME, PATH, NAME, "Suggest", "su", "ap", "5"]);
    assert_eq!(told.trim(), "as 1 \"app\"");
    assert!(bus.owner().await.is_some());
}
