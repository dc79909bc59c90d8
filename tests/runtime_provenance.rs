//! Builds of Python are taken when their provenance says who built them, from a loopback server and with a Sigstore of the
//! test's own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[allow(dead_code, reason = "shared by test targets that each use a part")]
#[path = "support/upstreams.rs"]
mod upstreams;

#[allow(dead_code, reason = "shared by test targets that each use a part")]
#[path = "support/real_runtimes.rs"]
mod real_runtimes;

use std::fs;

use real_runtimes::sigstore::{Claims, Instance, base64};
use real_runtimes::{Tree, World};
use serde_json::{Value, json};
use upstreams::{Served, sha256};

const RELEASES: &str = "/repos/astral-sh/python-build-standalone/releases";
const WORKFLOW: &str =
    "https://github.com/astral-sh/python-build-standalone/.github/workflows/release.yml@refs/heads/main";

/// A server with the build of a day, and its SHA-256.
fn published(day: &str) -> (World, String) {
    let world = World::new("python", RELEASES);
    let archive = Tree::new().program("bin/python3.12", "#!/bin/sh\necho runs\n").tar("python", "gzip");
    let machine =
        format!("{}-unknown-linux-{}", std::env::consts::ARCH, if cfg!(target_env = "musl") { "musl" } else { "gnu" });
    let name = format!("cpython-3.12.5+{day}-{machine}-install_only.tar.gz");
    let sum = sha256(&archive);
    let asset = |name: &str, content: &[u8]| {
        let path = format!("/download/{day}/{name}");
        world.upstream.file(&path, content);
        json!({"name": name, "size": content.len(), "digest": null,
            "browser_download_url": format!("{}{path}", world.upstream.address())})
    };
    let assets = [asset(&name, &archive), asset("SHA256SUMS", format!("{sum}  {name}\n").as_bytes())];
    let page = json!([{"tag_name": day, "draft": false, "prerelease": false, "assets": assets}]);
    world.upstream.file(&format!("{RELEASES}?per_page=10&page=1"), serde_json::to_vec(&page).unwrap());
    (world, sum)
}

/// How Python is installed, by its record.
fn installed(world: &World) -> Value {
    serde_json::from_str(world.done(&["--json", "list", "python"]).trim()).unwrap()
}

/// Nothing makes it be installed, and what is said contains this.
fn is_refused_always(world: &World, expected: &str) {
    for arguments in [&["use", "python", "3.12"][..], &["use", "python", "3.12", "--allow-unverified"]] {
        world.forget();
        let text = world.refused(arguments, 5);
        assert!(text.contains(expected) && !text.contains("; --allow-unverified"), "{expected}: {text}");
        assert_eq!(world.left(), [""; 0], "{expected}");
    }
}

/// It is installed only as the user wants it, and what is said contains this.
fn is_refused_unless_wanted(world: &World, expected: &str) {
    world.forget();
    let text = world.refused(&["use", "python", "3.12"], 5);
    assert!(text.contains(expected) && text.contains("--allow-unverified installs it all the same"), "{text}");
    assert_eq!(world.left(), [""; 0], "{expected}");
    world.done(&["use", "python", "3.12", "--allow-unverified"]);
    let record = installed(world);
    assert_eq!(record["unverified"], json!(true), "{expected}");
    let checks = record["parts"][0]["checks"].to_string();
    assert!(checks.contains("not verified: ") && checks.contains(expected), "{expected}: {checks}");
    let log = fs::read_to_string(world.path("data/omg/audit/audit.jsonl")).unwrap();
    assert!(log.contains("\"what\":\"unverified\"") && log.contains("python 3.12"), "{log}");
    world.done(&["uninstall", "python", "3.12.5", "--force"]);
}

#[test]
fn a_build_is_installed_with_its_provenance_and_the_record_says_who_built_it() {
    let (world, sum) = published("20250212");
    world.attest(&sum, &[world.instance.bundle(&World::claims(&sum))]);
    world.done(&["use", "python", "3.12"]);
    let record = installed(&world);
    assert_ne!(record["unverified"], json!(true), "{record}");
    let checks: Vec<&str> = record["parts"][0]["checks"].as_array().unwrap().iter().flat_map(Value::as_str).collect();
    let [checksum, provenance] = checks[..] else { panic!("{checks:?}") };
    assert!(checksum.starts_with("SHA-256 listed in "), "{checksum}");
    let address = format!("{}{}", world.upstream.address(), World::attestations(&sum));
    assert_eq!(provenance, format!("{address}: built by {WORKFLOW} from commit {}", "c0".repeat(20)));
    let told = world.done(&["which", "python", "--explain"]);
    assert!(told.contains(provenance), "{told}");
    // What the server said of it is kept for a while.
    world.done(&["uninstall", "python", "3.12.5", "--force"]);
    assert!(world.upstream.requests().iter().any(|(path, _)| *path == World::attestations(&sum)));
    world.done(&["use", "python", "3.12"]);
    assert!(world.upstream.requests().iter().all(|(path, _)| *path != World::attestations(&sum)));
}

#[test]
fn one_provenance_among_attestations_of_other_kinds_is_enough() {
    let (world, sum) = published("20260901");
    let own = World::claims(&sum);
    let release = Claims { predicate: "https://in-toto.io/attestation/release/v0.1".to_owned(), ..own.clone() };
    let ci = Claims { workflow: ".github/workflows/linux.yml@refs/heads/main".to_owned(), ..own.clone() };
    let bundles = [Instance::new().bundle(&release), world.instance.bundle(&ci), world.instance.bundle(&own)];
    world.attest(&sum, &[&[Value::Null], &bundles[..]].concat());
    world.done(&["use", "python", "3.12"]);
    assert!(installed(&world)["parts"][0]["checks"].to_string().contains(WORKFLOW));
    // Without it, what speaks against the build goes before what is only missing.
    world.done(&["uninstall", "python", "3.12.5", "--force"]);
    world.attest(&sum, &bundles[..2]);
    is_refused_always(
        &world,
        "it was built by https://github.com/astral-sh/python-build-standalone/.github/workflows/lin",
    );
}

#[test]
fn a_new_build_with_no_provenance_that_counts_is_installed_only_when_that_is_wanted() {
    let (world, sum) = published("20250212");
    is_refused_unless_wanted(&world, "is not there");
    world.attest(&sum, &[]);
    is_refused_unless_wanted(&world, "there is none");
    world.attest(&sum, &[Value::Null]);
    is_refused_unless_wanted(&world, "the answer has no bundle and no address of one");
    world.attest(&sum, &[Instance::new().bundle(&World::claims(&sum))]);
    is_refused_unless_wanted(&world, "vouches for it, which is not known here");
    let statement = Claims { predicate: "https://spdx.dev/Document".to_owned(), ..World::claims(&sum) };
    world.attest(&sum, &[world.instance.bundle(&statement)]);
    is_refused_unless_wanted(&world, "it says nothing about how the file was built (https://spdx.dev/Document)");
}

#[test]
fn a_build_with_a_provenance_that_is_wrong_is_never_installed() {
    let (world, sum) = published("20260901");
    let attest = |claims: Claims| world.attest(&sum, &[world.instance.bundle(&claims)]);
    let own = World::claims(&sum);
    attest(World::claims(&sha256(b"another archive")));
    is_refused_always(&world, "it is about other files than this one");
    attest(Claims { workflow: ".github/workflows/release.yml@refs/heads/mine".to_owned(), ..own.clone() });
    is_refused_always(&world, &format!("release.yml@refs/heads/mine, not by {WORKFLOW}"));
    attest(Claims { repository: "https://github.com/someone/python-build-standalone".to_owned(), ..own.clone() });
    is_refused_always(&world, "it was built by https://github.com/someone/python-build-standalone/");
    attest(Claims { issuer: "https://gitlab.com".to_owned(), ..own.clone() });
    is_refused_always(&world, "https://gitlab.com");
    attest(Claims { logged: own.logged + 86_400, ..own.clone() });
    is_refused_always(&world, "its certificate does not hold");
    let mut bundle = world.instance.bundle(&own);
    bundle["dsseEnvelope"]["signatures"][0]["sig"] = json!(base64(b"signature"));
    world.attest(&sum, &[bundle.clone()]);
    is_refused_always(&world, "its signature does not hold");
    bundle["verificationMaterial"]["tlogEntries"] = json!([]);
    world.attest(&sum, &[bundle]);
    is_refused_always(&world, "does not hold");
}

#[test]
fn a_bundle_at_an_address_of_its_own_is_fetched_and_checked_like_any_other() {
    let (world, sum) = published("20260901");
    let own = World::claims(&sum);
    world.attest_at(&sum, "/blob/1?sig=a", &world.instance.bundle(&own));
    world.done(&["use", "python", "3.12"]);
    assert!(installed(&world)["parts"][0]["checks"].to_string().contains(WORKFLOW));
    world.done(&["uninstall", "python", "3.12.5", "--force"]);
    let other = Claims { workflow: ".github/workflows/ci.yml@refs/heads/main".to_owned(), ..own.clone() };
    world.attest_at(&sum, "/blob/2?sig=a", &world.instance.bundle(&other));
    is_refused_always(
        &world,
        "it was built by https://github.com/astral-sh/python-build-standalone/.github/workflows/ci",
    );
    world.upstream.file("/blob/2?sig=a", b"\xff\xff\xff\xff\xff\xff".to_vec());
    is_refused_always(&world, "it is no bundle of Sigstore's");
    world.upstream.remove("/blob/2?sig=a");
    is_refused_unless_wanted(&world, "/blob/2?sig=a is not there");
}

#[test]
fn a_bundle_that_cannot_be_fetched_hides_nothing_that_others_say() {
    let (world, sum) = published("20260901");
    let own = World::claims(&sum);
    let other = Claims { workflow: ".github/workflows/ci.yml@refs/heads/main".to_owned(), ..own.clone() };
    for (claims, holds) in [(&other, false), (&own, true)] {
        let bundle = world.instance.bundle(claims);
        let missing = json!({"bundle": null, "bundle_url": format!("{}/blob/missing", world.upstream.address())});
        let there = json!({"bundle": bundle});
        for attestations in [[missing.clone(), there.clone()], [there, missing]] {
            let text = serde_json::to_vec(&json!({"attestations": attestations})).unwrap();
            world.upstream.file(&World::attestations(&sum), text);
            world.forget();
            if holds {
                world.done(&["use", "python", "3.12"]);
                assert!(installed(&world)["parts"][0]["checks"].to_string().contains(WORKFLOW));
                world.done(&["uninstall", "python", "3.12.5", "--force"]);
            } else {
                is_refused_always(&world, "/.github/workflows/ci");
            }
        }
    }
}

#[test]
fn an_address_of_a_bundle_that_does_not_hold_any_more_is_asked_for_again() {
    let (world, sum) = published("20260901");
    let bundle = world.instance.bundle(&World::claims(&sum));
    world.attest_at(&sum, "/blob/1?sig=old", &bundle);
    world.upstream.put("/blob/1?sig=old", Served::Status(403));
    let text = world.refused(&["use", "python", "3.12"], 4);
    assert!(text.contains("the server answers 403 for"), "{text}");
    assert_eq!(world.left(), [""; 0]);
    // The answer with the old address is kept for an hour.
    world.attest_at(&sum, "/blob/1?sig=new", &bundle);
    world.done(&["use", "python", "3.12"]);
    assert!(installed(&world)["parts"][0]["checks"].to_string().contains(WORKFLOW));
}

#[test]
fn builds_of_before_are_installed_by_their_checksum_alone() {
    let (world, sum) = published("20250205");
    world.done(&["use", "python", "3.12"]);
    let record = installed(&world);
    assert_ne!(record["unverified"], json!(true), "{record}");
    assert_eq!(record["parts"][0]["checks"].as_array().unwrap().len(), 1, "{record}");
    assert!(world.upstream.requests().iter().all(|(path, _)| *path != World::attestations(&sum)));
}

#[test]
fn a_server_that_does_not_tell_leaves_nothing_installed() {
    let (world, sum) = published("20260901");
    for (served, code, expected) in [
        (Served::Status(403), 4, "; it may have been asked too often from here: try again in an hour, or use a mirror"),
        (Served::Page, 4, "gives a web page instead of the file"),
        (Served::File(b"{\"message\":\"Bad credentials\"}".to_vec()), 4, "is not readable"),
    ] {
        world.upstream.put(&World::attestations(&sum), served);
        for arguments in [&["use", "python", "3.12"][..], &["use", "python", "3.12", "--allow-unverified"]] {
            world.forget();
            let text = world.refused(arguments, code);
            assert!(text.contains(expected), "{text}");
            assert_eq!(world.left(), [""; 0], "{text}");
        }
    }
}

#[test]
fn only_what_the_configuration_names_vouches_for_provenance_in_place_of_sigstore() {
    let (world, sum) = published("20260901");
    world.attest(&sum, &[world.instance.bundle(&World::claims(&sum))]);
    let path = world.path("config/omg/config.toml");
    let config = fs::read_to_string(&path).unwrap();
    // The root that is part of omg does not know these logs.
    let without: String =
        config.lines().filter(|line| !line.starts_with("trusted-root")).map(|line| format!("{line}\n")).collect();
    fs::write(&path, &without).unwrap();
    is_refused_unless_wanted(&world, "vouches for it, which is not known here");
    fs::write(&path, format!("{without}trusted-root = \"{}\"\n", world.path("keys.asc").display())).unwrap();
    let text = world.refused(&["use", "python", "3.12"], 3);
    assert!(text.contains("keys.asc cannot be used: the trusted root is not readable"), "{text}");
    fs::write(&path, config).unwrap();
    world.done(&["use", "python", "3.12"]);
}
