//! The AUR as its users know it: packages that follow a repository, keys of sources, what several packages provide, what only
//! building needed, and what programs read of all that.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/aur_repositories.rs"]
mod aur_repositories;
#[path = "support/aur_world.rs"]
mod aur_world;
#[path = "support/debian_root.rs"]
mod debian_root;
#[path = "support/key_server.rs"]
mod key_server;
#[path = "support/pacman_root.rs"]
mod pacman_root;
#[path = "support/pacman_world.rs"]
mod pacman_world;
#[path = "support/terminal.rs"]
#[expect(dead_code, reason = "shared by test targets that each use a part")]
mod terminal;

use std::process::Output;

use aur_world::{HOME, World, pkgbuild, told};
use key_server::KeyServer;
use serde_json::Value;
use terminal::Terminal;

fn lines(output: &Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// Name and new version of every upgrade.
fn outdated(world: &World, more: &[&str]) -> Vec<(String, String)> {
    let output = world.as_builder(&[&["outdated", "--json"], more].concat());
    assert!(output.status.success(), "{}", told(&output));
    let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    let rows = lines(&output);
    let aur = rows.iter().filter(|row| row["repository"] == "aur");
    aur.map(|row| (text(row, "name"), text(row, "to"))).collect()
}

fn date_of_installation(world: &World, name: &str) -> String {
    let said = world.machine.run("pacman", &["-Qi", name]);
    said.lines().find(|line| line.starts_with("Install Date")).unwrap().to_owned()
}

/// makepkg wants the program that fetches a source to be a package.
fn install_git(world: &World) {
    let git = pacman_root::package("git", "1-1");
    git.build(&world.machine.path("/srv"));
    world.machine.run("pacman", &["-U", "--noconfirm", &format!("/srv/{}", git.file_name())]);
}

#[test]
fn what_follows_a_repository_is_upgraded_when_that_has_moved() {
    let world = World::new();
    install_git(&world);
    world.aur.commit("upstream", &[("version", "1\n"), ("data", "one\n")]);
    let url = world.aur.url();
    let follows = format!(
        "pkgname=tool-git\npkgver=0\npkgrel=1\npkgdesc='a test'\narch=(any)\nlicense=(MIT)\n\
         source=('up::git+{url}/upstream.git')\nsha256sums=(SKIP)\n\
         pkgver() {{ cat up/version; }}\n\
         package() {{ install -Dm644 up/data \"$pkgdir/usr/share/tool/data\"; }}\n"
    );
    world.publish("tool-git", &follows, &[]);
    world.publish("plain", &pkgbuild("plain", "1", "x\n", ""), &[("data", "x\n")]);
    world.succeeds(&["install", "-y", "--no-review", "tool-git", "plain"]);
    assert_eq!(world.installed("tool-git"), Some(("1-1".into(), true)));
    assert_eq!(outdated(&world, &["--devel"]), []);

    world.aur.commit("upstream", &[("version", "2\n"), ("data", "two\n")]);
    let moved = [("tool-git".to_owned(), "latest-commit".to_owned())];
    assert_eq!(outdated(&world, &[]), []);
    assert_eq!(outdated(&world, &["--devel"]), moved);
    world.configure("devel = true\n");
    assert_eq!(outdated(&world, &[]), moved);
    let said = world.succeeds(&["upgrade", "-y", "--no-review"]);
    assert!(said.contains("tool-git 1-1 → latest-commit"), "{said}");
    assert_eq!(
        (world.installed("tool-git"), world.machine.read("/usr/share/tool/data")),
        (Some(("2-1".into(), true)), "two\n".into())
    );

    // Another commit, and pkgver() says the same.
    world.aur.commit("upstream", &[("version", "2\n"), ("data", "two, again\n")]);
    world.configure("");
    let before = date_of_installation(&world, "tool-git");
    let said = world.succeeds(&["upgrade", "-y", "--no-review", "--devel"]);
    assert!(said.contains("tool-git is not installed again: what was built is 2-1 as well"), "{said}");
    assert_eq!(date_of_installation(&world, "tool-git"), before);
    assert_eq!(world.machine.read("/usr/share/tool/data"), "two\n");
    assert_eq!(outdated(&world, &["--devel"]), []);
    // What was built and then not installed is not forgotten.
    world.aur.commit("upstream", &[("version", "3\n"), ("data", "three\n")]);
    world.machine.write("/var/lib/pacman/db.lck", "");
    let locked = world.omg(&["upgrade", "-y", "--no-review", "--devel"]);
    assert!(!locked.status.success(), "{}", told(&locked));
    world.machine.run("rm", &["/var/lib/pacman/db.lck"]);
    assert_eq!(world.installed("tool-git"), Some(("2-1".into(), true)));
    let said = world.succeeds(&["upgrade", "-y", "--no-review", "--devel"]);
    assert_eq!(world.installed("tool-git"), Some(("3-1".into(), true)), "{said}");
    // One that nobody can ask is told, and costs the others nothing.
    world.machine.run(
        "sh",
        &[
            "-c",
            &format!(
                "sed -i 's|{url}/upstream.git|{url}/gone.git|g' {HOME}/.local/share/omg/aur/packages/tool-git.json"
            ),
        ],
    );
    let said = world.succeeds(&["upgrade", "-y", "--no-review", "--devel"]);
    assert!(said.contains("whether tool-git has moved is not known"), "{said}");
}

#[test]
fn the_key_of_a_source_is_imported_only_when_somebody_says_so() {
    let world = World::new();
    let sign = |version: &str| {
        let script = format!(
            "set -e; mkdir -p -m 700 /root/signer; cd /root; printf '{version}\\n' >data
             gpg --homedir signer --batch --list-keys signer@example.org >/dev/null 2>&1 ||
                 gpg --homedir signer --batch --quiet --passphrase '' --quick-generate-key signer@example.org ed25519 sign never
             gpg --homedir signer --batch --yes --quiet --armor --detach-sign --output data.asc data
             gpgconf --homedir signer --kill gpg-agent; cat data.asc"
        );
        world.machine.run("sh", &["-c", &script])
    };
    let (first, second) = (sign("one"), sign("two"));
    let gpg = |arguments: &[&str]| world.machine.run("gpg", &[&["--homedir", "/root/signer"], arguments].concat());
    let listed = gpg(&["--with-colons", "--list-keys"]);
    let key = listed.lines().find_map(|line| line.strip_prefix("fpr:")).unwrap().trim_matches(':').to_owned();
    let server = KeyServer::new(gpg(&["--armor", "--export"]), &listed);
    let keys = format!("{HOME}/.local/share/omg/aur/keys");
    world.machine.run("install", &["-d", "-m", "700", &format!("{HOME}/.local/share/omg"), &keys]);
    // dirmngr's own resolver finds no address without a network.
    world.machine.write(&format!("{keys}/dirmngr.conf"), "standard-resolver\n");
    world.configure(&format!("keyserver = \"hkp://127.0.0.1:{}\"\n", server.port));
    let publish = |version: &str, data: &str, signature: &str| {
        let signed = pkgbuild("signed", version, data, &format!("validpgpkeys=({key})"));
        let signed = signed.replace("source=(data)", "source=(data.asc data)");
        let signed = signed.replace("sha256sums=(", "sha256sums=(SKIP ");
        world.publish("signed", &signed, &[("data", data), ("data.asc", signature)]);
    };
    let known = || {
        let said = world.machine.try_run("gpg", &["--homedir", &keys, "--batch", "--no-autostart", "--list-keys"]);
        String::from_utf8_lossy(&said.stdout).contains("signer@example.org")
    };
    publish("1", "one\n", &first);
    let install = ["install", "--no-review", "signed"];
    let refused = world.omg(&[&install[..], &["-y"]].concat());
    assert_eq!(refused.status.code(), Some(5), "{}", told(&refused));
    assert!(told(&refused).contains(&format!("the key {key}, which is not to be imported")), "{}", told(&refused));
    for (answer, taken) in [("refuse", false), ("", false), ("import", true)] {
        let mut asked = Terminal::start(world.command(&install), 200);
        asked.wait_for("Go on?").enter("y").wait_for("refuse or import? [refuse]").enter(answer);
        let (status, text) = asked.end();
        assert_eq!(status.success(), taken, "{answer}: {text}");
        assert!(text.contains(&key), "{text}");
        assert_eq!((known(), world.installed("signed").is_some()), (taken, taken), "{answer}: {text}");
    }
    // Another file under a signature that was good for the one before, by a key that is known now.
    publish("2", "not two\n", &second);
    let wrong = world.omg(&["upgrade", "-y", "--no-review"]);
    assert_eq!(wrong.status.code(), Some(5), "{}", told(&wrong));
    assert!(told(&wrong).contains("PGP signatures could not be verified"), "{}", told(&wrong));
    assert_eq!(world.installed("signed"), Some(("1-1".into(), true)));
    publish("3", "two\n", &second);
    world.succeeds(&["upgrade", "-y", "--no-review"]);
    assert_eq!(world.installed("signed"), Some(("3-1".into(), true)));
}

#[test]
fn what_only_building_needed_is_removed_and_programs_read_one_result() {
    let world = World::new();
    let app = pkgbuild("app", "1", "x\n", "depends=(p3 tool)\nmakedepends=(p9 maker)");
    world.publish("app", &app, &[("data", "x\n")]);
    world.publish("tool", &pkgbuild("tool", "1", "x\n", ""), &[("data", "x\n")]);
    world.publish("maker", &pkgbuild("maker", "1", "x\n", ""), &[("data", "x\n")]);
    let output = world.omg(&["install", "-y", "--no-review", "--rm-deps", "--json", "app"]);
    assert!(output.status.success(), "{}", told(&output));
    let said = lines(&output);
    let order = said.iter().find_map(|line| line.get("order")).unwrap();
    let bases: Vec<&str> =
        order["steps"].as_array().unwrap().iter().map(|step| step["base"].as_str().unwrap()).collect();
    assert_eq!((bases.len(), *bases.last().unwrap()), (3, "app"));
    let builds: Vec<(&str, &str)> = said
        .iter()
        .filter(|line| line["event"] == "build")
        .map(|line| (line["base"].as_str().unwrap(), line["state"].as_str().unwrap()))
        .collect();
    assert_eq!(builds.len(), 6);
    assert!(builds.ends_with(&[("app", "started"), ("app", "built")]), "{builds:?}");
    let results: Vec<usize> = (0..said.len()).filter(|index| said[*index].get("result").is_some()).collect();
    assert_eq!(results, [said.len() - 1], "{}", told(&output));
    let end = said.last().unwrap();
    assert_eq!(end["result"], "succeeded");
    let items = end["applied"]["items"].as_array().unwrap();
    let changes = |change: &str| -> Vec<&str> {
        let mut names: Vec<&str> =
            items.iter().filter(|item| item["change"] == change).map(|item| item["name"].as_str().unwrap()).collect();
        names.sort_unstable();
        names
    };
    assert_eq!(changes("install"), ["app", "maker", "p4", "p9", "tool"]);
    // p4 came for p9 alone; p3, which it needs too, was there before.
    assert_eq!(changes("remove"), ["maker", "p4", "p9"]);
    for (name, wanted) in
        [("app", Some(true)), ("tool", Some(false)), ("p3", Some(false)), ("p4", None), ("maker", None)]
    {
        assert_eq!(world.installed(name).map(|(_, explicit)| explicit), wanted, "{name}");
    }
    let again = lines(&world.omg(&["install", "-y", "--json", "aur/app"]));
    assert_eq!(again.last().unwrap()["result"], "nothing");

    world.publish("wrong", &pkgbuild("wrong", "1", "good\n", ""), &[("data", "bad\n")]);
    let needs = pkgbuild("needs-wrong", "1", "x\n", "depends=(wrong)");
    world.publish("needs-wrong", &needs, &[("data", "x\n")]);
    let failed = world.omg(&["install", "-y", "--no-review", "--json", "needs-wrong"]);
    assert_eq!(failed.status.code(), Some(5), "{}", told(&failed));
    let said = lines(&failed);
    let end = said.last().unwrap();
    assert_eq!((&end["result"], &end["failure"]["kind"]), (&"failed".into(), &"Untrusted".into()), "{end}");
    assert!(said.iter().any(|line| line["base"] == "needs-wrong" && line["state"] == "failed"), "{said:?}");
    // People read why once.
    let failed = world.omg(&["install", "-y", "--no-review", "wrong"]);
    assert_eq!(failed.status.code(), Some(5), "{}", told(&failed));
    assert_eq!(told(&failed).matches("sources.log has all of it").count(), 1, "{}", told(&failed));
}

#[test]
fn nothing_is_built_that_could_not_be_installed() {
    let world = World::new();
    world.publish("app", &pkgbuild("app", "1", "x\n", ""), &[("data", "x\n")]);
    let refused = world.as_builder(&["install", "-y", "--no-review", "app"]);
    assert_eq!(refused.status.code(), Some(5), "{}", told(&refused));
    assert!(told(&refused).contains("nothing was built; run `sudo omg`"), "{}", told(&refused));
    assert!(!world.aur.was_asked_for("/app.git/info/refs"), "it was fetched for nothing");
    assert!(world.as_builder(&["install", "--dry-run", "app"]).status.success());
    // The repositories' upgrades are not held up by it.
    world.succeeds(&["install", "-y", "--no-review", "app"]);
    world.publish("app", &pkgbuild("app", "2", "x\n", ""), &[("data", "x\n")]);
    world.aur.forget_requests();
    world.machine.run("pacman", &["-Sy", "--noconfirm"]);
    let upgraded = world.as_builder(&["upgrade", "-y", "--no-review"]);
    assert!(
        told(&upgraded).contains("the AUR is left out: what is built could not be installed"),
        "{}",
        told(&upgraded)
    );
    assert!(told(&upgraded).contains("p2") && !world.aur.was_asked_for("/app.git/info/refs"), "{}", told(&upgraded));
}

#[test]
fn what_several_packages_provide_is_for_somebody_to_choose() {
    let world = World::new();
    for name in ["engine-one", "engine-two"] {
        let provides = pkgbuild(name, "1", "x\n", "provides=('warp=7')");
        world.publish(name, &provides, &[("data", "x\n")]);
    }
    world.publish("ship", &pkgbuild("ship", "1", "x\n", "depends=('warp>=5')"), &[("data", "x\n")]);
    world.publish("boat", &pkgbuild("boat", "1", "x\n", "depends=('warp>=9')"), &[("data", "x\n")]);
    let mut asked = Terminal::start(world.command(&["install", "--no-review", "ship"]), 200);
    asked
        .wait_for("warp is provided by more than one package: 1) engine-one, 2) engine-two. Which one? [1]")
        .enter("2");
    asked.wait_for("Go on?").enter("y");
    let (status, text) = asked.end();
    assert!(status.success(), "{text}");
    assert_eq!((world.installed("engine-one"), world.installed("engine-two")), (None, Some(("1-1".into(), false))));
    assert!(world.aur.was_asked_for("/rpc/v5/search/warp"));
    world.machine.run("pacman", &["-Rs", "--noconfirm", "ship"]);
    // Nobody to ask: the first one, unless it is said beforehand.
    for (answers, taken) in [(vec![], "engine-one"), (vec!["--answer", "provider:warp=engine-two"], "engine-two")] {
        world.succeeds(&[&["install", "-y", "--no-review", "ship"], &answers[..]].concat());
        assert_eq!(world.installed(taken), Some(("1-1".into(), false)));
        world.machine.run("pacman", &["-Rs", "--noconfirm", "ship"]);
    }
    let refused = world.omg(&["install", "-y", "--no-review", "boat"]);
    assert_eq!(refused.status.code(), Some(2), "{}", told(&refused));
    assert!(told(&refused).contains("boat needs warp>=9"), "{}", told(&refused));
    // What only says that it is what was named is not taken for it.
    assert_eq!(world.omg(&["install", "-y", "--no-review", "aur/warp"]).status.code(), Some(1));

    // With the archive at hand the AUR is not searched.
    world.aur.give_archive();
    world.as_builder(&["refresh"]);
    world.aur.forget_requests();
    world.succeeds(&["install", "-y", "--no-review", "ship"]);
    assert_eq!(world.installed("engine-one"), Some(("1-1".into(), false)));
    assert!(!world.aur.was_asked_for("/rpc/v5/search/warp"));
}

#[test]
fn a_package_takes_the_place_of_an_installed_one_only_when_somebody_says_so() {
    let world = World::new();
    let replaces = pkgbuild("p2-git", "9", "x\n", "provides=('p2=9')\nconflicts=(p2)");
    world.publish("p2-git", &replaces, &[("data", "x\n")]);
    let refused = world.omg(&["install", "-y", "--no-review", "p2-git"]);
    assert_eq!(refused.status.code(), Some(2), "{}", told(&refused));
    assert!(told(&refused).contains("--answer conflict:p2-git:p2=yes"), "{}", told(&refused));
    assert!(!world.aur.was_asked_for("/p2-git.git/info/refs"), "it was fetched for nothing");
    let mut asked = Terminal::start(world.command(&["install", "--no-review", "p2-git"]), 200);
    asked.wait_for("p2-git conflicts with p2, which is installed; remove p2? [y/N]").enter("n");
    let (status, text) = asked.end();
    assert!(!status.success() && world.installed("p2").is_some(), "{text}");
    // What the system lives by is asked for by its own option.
    let answered = ["install", "-y", "--no-review", "p2-git", "--answer", "conflict:p2-git:p2=yes"];
    world.machine.run("sed", &["-i", "s/^HoldPkg.*/HoldPkg = p2/", "/etc/pacman.conf"]);
    let refused = world.omg(&answered);
    assert_eq!(refused.status.code(), Some(2), "{}", told(&refused));
    assert!(told(&refused).contains("removes-essential: p2; --allow-essential allows it"), "{}", told(&refused));
    world.machine.run("sed", &["-i", "s/^HoldPkg.*/HoldPkg = vital/", "/etc/pacman.conf"]);
    // p5 needs p2, which the new one provides.
    let said = world.succeeds(&answered);
    assert_eq!(world.installed("p2-git"), Some(("9-1".into(), true)), "{said}");
    assert!(!world.machine.run("pacman", &["-Qq"]).lines().any(|name| name == "p2"), "{said}");
    assert!(said.contains("p2-git takes the place of p2"), "{said}");
    assert_eq!(world.machine.run("pacman", &["-Dk"]).trim(), "No database errors have been found!");
    // One that is in conflict with something else by now holds up none of the repositories' upgrades.
    let replaces = pkgbuild("p2-git", "10", "x\n", "provides=('p2=10')\nconflicts=(p2 conf)");
    world.publish("p2-git", &replaces, &[("data", "x\n")]);
    world.machine.run("pacman", &["-Sy", "--noconfirm"]);
    let said = world.succeeds(&["upgrade", "-y", "--no-review"]);
    assert!(said.contains("the AUR is left out: p2-git conflicts with conf"), "{said}");
    assert_eq!(world.installed("p5").map(|(version, _)| version).as_deref(), Some("2-1"), "{said}");
    assert_eq!(world.installed("p2-git").map(|(version, _)| version).as_deref(), Some("9-1"), "{said}");
}
