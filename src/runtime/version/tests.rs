use super::*;
use crate::runtime::request::tests::{Numbers as Seeded, SEEDS};

fn runtime(name: &str) -> Runtime {
    Runtime::parse(name).unwrap()
}

fn version(name: &str, text: &str) -> Version {
    Version::parse(&runtime(name), text).unwrap_or_else(|error| panic!("{error}"))
}

/// Each of them is below the next.
fn rises(name: &str, texts: &[&str]) {
    for (at, text) in texts.iter().enumerate() {
        for higher in &texts[at + 1..] {
            assert!(version(name, text) < version(name, higher), "{name}: {text} < {higher}");
        }
    }
}

#[test]
fn node_is_ordered_as_semver_says() {
    // https://semver.org/#spec-item-11
    rises(
        "node",
        &[
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "v1.0.0",
            "1.2.0",
            "1.10.0",
            "20.9.0",
            "20.10.0",
        ],
    );
    assert!(version("node", "23.0.0-rc.1").is_prerelease());
    assert_eq!(version("node", " v20.11.1\r\n").as_str(), "20.11.1");
    assert_eq!(version("bun", "bun-v1.1.30").as_str(), "1.1.30");
}

#[test]
fn python_is_ordered_as_pep_440_says() {
    rises(
        "python",
        &[
            "pypy3.9-7.3.16",
            "pypy3.10-7.3.9",
            "pypy3.10-7.3.16",
            "3.9.19",
            "3.13.0.dev1",
            "3.13.0a1",
            "3.13.0b2",
            "3.13.0rc1",
            "3.13.0rc3",
            "3.13.0",
            "3.13.0.post1",
            "3.13.1",
        ],
    );
    assert_eq!(version("python", "3.13.0-rc.2").as_str(), "3.13.0rc2");
    assert_eq!(version("python", "3.14a1").as_str(), "3.14.0a1");
    assert_eq!(version("python", "cpython-3.12.4").as_str(), "3.12.4");
    assert_eq!(version("python", "pypy3.10-v7.3.16").as_str(), "pypy3.10-7.3.16");
    assert_eq!(version("python", "pypy3.10-7.3.16").numbers(), [3, 10, 7, 3, 16]);
    assert_eq!((version("python", "3.13.0t").as_str(), version("python", "3.13.0t").flavour()), ("3.13.0t", "t"));
    assert!(version("python", "3.13.0rc1t").is_prerelease());
    assert_eq!(version("python", "3.12.4+dist").flavour(), "");
}

#[test]
fn go_is_ordered_as_its_toolchains_are() {
    // https://go.dev/doc/toolchain#version
    rises("go", &["1.9.7", "1.20rc1", "go1.20", "1.20.1", "1.21rc1", "1.21rc2", "1.21.0", "1.21.1", "1.100.0"]);
    let language = Version::go_language(1, 21);
    assert!(language < version("go", "1.21rc1") && version("go", "1.20.14") < language);
    assert_eq!(version("go", "go1.20.0").as_str(), "1.20");
    let error = Version::parse(&runtime("go"), "go1.21").unwrap_err();
    assert_eq!(
        error.to_string(),
        "\"go1.21\" is no version of go: it is one of the language; the line's first release is 1.21.0"
    );
}

#[test]
fn rust_has_numbers_and_days() {
    rises(
        "rust",
        &[
            "beta-2026-01-15",
            "nightly-2025-12-31",
            "nightly-2026-01-02",
            "1.9.0",
            "1.95.0-beta",
            "1.95.0-beta.2",
            "1.95.0-beta.10",
            "1.95.0",
            "1.95.1",
            "1.100.0",
        ],
    );
    let refused = |text: &str| Version::parse(&runtime("rust"), text).unwrap_err().to_string();
    for text in ["nightly-2026-01-02-x86_64-unknown-linux-gnu", "nightly-2026-01-02-aarch64-apple-darwin"] {
        assert!(refused(text).ends_with("for this one: nightly-2026-01-02 says it"), "{}", refused(text));
    }
    assert!(refused("1.95.0-x86_64-unknown-linux-gnu").ends_with("for this one: 1.95.0 says it"));
    assert!(refused("stable-x86_64-unknown-linux-musl").ends_with("for this one: stable says it"));
    assert!(refused("stable-2026-01-15").ends_with("a stable release has a number of its own: name that"));
    for text in
        ["nightly", "nightly-2026-13-02", "nightly-2026-1-2", "nightly-2026-01-02x", "beta-", "1.95.0-rc.1", "1.95"]
    {
        refused(text);
    }
}

#[test]
fn ruby_is_ordered_as_gem_version_says() {
    rises(
        "ruby",
        &[
            "jruby-9.4.8.0",
            "jruby-10.0.0.0",
            "truffleruby-24.1.1",
            "1.9.3",
            "1.9.3-p0",
            "1.9.3-p551",
            "3.4.0-preview1",
            "3.4.0-preview2",
            "3.4.0-rc1",
            "3.4.0-rc10",
            "3.4.0",
            "3.4.1",
            "3.10.0",
        ],
    );
    assert_eq!(version("ruby", "3.4.0.rc1"), version("ruby", "ruby-3.4.0-rc1"));
    assert!(version("ruby", "3.4.0-preview1").is_prerelease() && !version("ruby", "1.9.3-p551").is_prerelease());
}

#[test]
fn java_is_ordered_as_jep_322_says() {
    rises(
        "java",
        &[
            "8u402",
            "8u412-b07",
            "8u412-b08",
            "11.0.2",
            "21-ea+35",
            "21+35",
            "21.0.1+12",
            "21.0.4-ea+7",
            "21.0.4",
            "21.0.4+6",
            "21.0.4+7",
            "21.0.4.1+1",
            "21.0.10+7",
        ],
    );
    for (spelled, canonical) in [
        ("jdk-21.0.4+7", "21.0.4+7"),
        ("21.0.4+7-LTS", "21.0.4+7"),
        ("21.0.4+7.0.LTS", "21.0.4+7"),
        ("temurin-21.0.4+7.0.LTS", "21.0.4+7"),
        ("21.0.4-tem", "21.0.4"),
        ("21.0.0+35", "21+35"),
        ("22-ea+36", "22-ea+36"),
        ("8.0.412+8", "8u412-b08"),
        ("1.8.0_412-b08", "8u412-b08"),
        ("jdk8u412-b08", "8u412-b08"),
        ("1.8.0_05", "8u5"),
    ] {
        assert_eq!(version("java", spelled).as_str(), canonical, "{spelled}");
    }
    assert_eq!(
        Version::parse(&runtime("java"), "21.0.4-zulu").unwrap_err().to_string(),
        "\"21.0.4-zulu\" is no version of java: zulu is a vendor whose builds are not fetched here, only Temurin's are"
    );
}

#[test]
fn other_runtimes_have_numbers_first() {
    rises("zig", &["0.9.1", "0.13.0-dev.7", "0.13.0-dev.11", "0.13.0", "0.13.0.1"]);
    assert_eq!(version("deno", "v2.1.4").as_str(), "v2.1.4");
    version("deno", "main");
}

#[test]
fn what_could_leave_a_folder_or_reach_a_shell_is_no_version() {
    for name in ["node", "python", "go", "rust", "ruby", "java", "bun", "deno"] {
        for text in [
            "",
            " ",
            "..",
            ".",
            "/",
            "-",
            "--help",
            "-1.0.0",
            "../1.0.0",
            "1.0.0/..",
            "$(touch x)",
            "1.0.0;true",
            "`id`",
            "1.0.0\n2.0.0",
            "1.0.0\0",
            "1.0.0\u{1b}[31m",
            "1.0.0\u{202e}",
            "é",
            "１.0.0",
            "999999999999999999999.0.0",
            "01.2.3 ",
            &"1".repeat(257),
            &format!("1.0.0-{}", "a".repeat(70)),
        ] {
            if name == "deno" && text == "01.2.3 " {
                continue;
            }
            let error = Version::parse(&runtime(name), text).map(|version| version.to_string()).unwrap_err();
            assert!(
                error.0.chars().all(|letter| letter.is_ascii_graphic() || " ’…é１".contains(letter)),
                "{name}: {error}"
            );
        }
    }
}

/// Spellings by chance, near to what versions look like.
fn spelled(seeded: &mut Seeded) -> String {
    let pieces = [
        "0",
        "1",
        "2",
        "3",
        "10",
        "21",
        "412",
        ".",
        ".",
        ".",
        ".",
        "-",
        "+",
        "rc",
        "beta",
        "alpha",
        "ea",
        "a",
        "b",
        "t",
        "x",
        "p5",
        "v",
        "go",
        "jdk",
        "u",
        "_",
        "pypy",
        "jruby-",
        "nightly-2026-01-02",
        "-preview",
        "LTS",
        "post",
        "dev",
    ];
    let numbers = format!("{}.{}.{}", seeded.below(4), seeded.below(12), seeded.below(3));
    let start = if seeded.below(3) == 0 { String::new() } else { numbers };
    start + &(0..seeded.below(5)).map(|_| pieces[seeded.below(pieces.len())]).collect::<String>()
}

#[test]
fn a_suffix_that_names_no_stage_tells_how_a_release_was_built() {
    for text in ["1.18.4-otp-28", "3.29.2-stable", "v2.0.0-linux"] {
        assert!(!version("elixir", text).is_prerelease(), "{text}");
    }
    for text in ["1.18.4-rc.1", "1.18.0-dev", "2.0.0-Beta3", "1.0.0-1", "4.0.0-M2"] {
        assert!(version("elixir", text).is_prerelease(), "{text}");
    }
    assert!(version("elixir", "1.18.4-otp-28") > version("elixir", "1.18.4-rc.1"));
    assert!(version("elixir", "1.18.4-otp-28") < version("elixir", "1.18.5-otp-27"));
}

#[test]
fn the_order_is_total_and_spellings_read_back_for_any_versions() {
    for seed in SEEDS {
        println!("seed {seed}");
        for name in ["node", "python", "go", "rust", "ruby", "java", "bun", "zig"] {
            let runtime = runtime(name);
            let mut seeded = Seeded(seed);
            let mut versions: Vec<Version> =
                (0..3000).filter_map(|_| Version::parse(&runtime, &spelled(&mut seeded)).ok()).take(40).collect();
            assert!(versions.len() > 20, "{name}: only {}", versions.len());
            for version in &versions {
                let again =
                    Version::parse(&runtime, version.as_str()).unwrap_or_else(|error| panic!("{name}: {error}"));
                assert_eq!((again.as_str(), again.cmp(version)), (version.as_str(), Ordering::Equal), "{name}");
            }
            for a in &versions {
                for b in &versions {
                    assert_eq!(a.cmp(b), b.cmp(a).reverse(), "{name}: {a} {b}");
                    assert_eq!(a == b, a.as_str() == b.as_str(), "{name}: {a} {b}");
                    for c in &versions {
                        assert!(!(a <= b && b <= c) || a <= c, "{name}: {a} {b} {c}");
                    }
                }
            }
            versions.sort();
            assert!(versions.is_sorted());
        }
    }
}
