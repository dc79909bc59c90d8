use std::collections::BTreeMap;

use super::*;

pub(in crate::runtime) const SEEDS: [u64; 4] = [1, 2, 3, 0xfeed];

/// Numbers by chance (SplitMix64).
pub(in crate::runtime) struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }
}

fn runtime(name: &str) -> Runtime {
    Runtime::parse(name).unwrap()
}

fn request(name: &str, text: &str) -> Request {
    Request::parse(&runtime(name), text).unwrap_or_else(|error| panic!("{error}"))
}

fn offered(name: &str, texts: &[&str]) -> Vec<Release> {
    let version = |text: &&str| Version::parse(&runtime(name), text).unwrap();
    texts.iter().map(|text| Release::of(version(text))).collect()
}

fn chosen(name: &str, text: &str, offered: &[Release]) -> String {
    request(name, text).choose(offered).map_or_else(|| "none".to_owned(), |release| release.version.to_string())
}

fn check(name: &str, offers: &[&str], cases: &[(&str, &str)]) {
    let offered = offered(name, offers);
    for (text, wanted) in cases {
        assert_eq!(chosen(name, text, &offered), *wanted, "{name} {text}");
    }
}

#[test]
fn node_requests_are_those_of_npm_and_nvm() {
    let mut offered = offered(
        "node",
        &["0.10.48", "18.20.4", "20.2.0", "20.10.0", "20.9.0", "22.3.0", "22.12.0", "23.1.0", "24.0.0-rc.1"],
    );
    for (version, lts) in [("18.20.4", "hydrogen"), ("20.10.0", "iron"), ("20.9.0", "iron"), ("22.12.0", "jod")] {
        let release = offered.iter_mut().find(|release| release.version.as_str() == version).unwrap();
        release.lts = Some(lts.to_owned());
    }
    for (text, wanted) in [
        ("latest", "23.1.0"),
        ("node", "23.1.0"),
        ("stable", "23.1.0"),
        ("current", "23.1.0"),
        ("*", "23.1.0"),
        ("lts", "22.12.0"),
        ("lts/*", "22.12.0"),
        ("lts/iron", "20.10.0"),
        ("lts/Iron", "20.10.0"),
        ("lts-hydrogen", "18.20.4"),
        ("lts/-1", "20.10.0"),
        ("lts/-2", "18.20.4"),
        ("lts/-3", "none"),
        ("lts/krypton", "none"),
        ("20", "20.10.0"),
        ("v20", "20.10.0"),
        ("20.1", "none"),
        ("20.2", "20.2.0"),
        ("2", "none"),
        ("v20.9.0", "20.9.0"),
        ("24", "none"),
        ("24.0.0-rc.1", "24.0.0-rc.1"),
        ("^24.0.0-rc.0", "24.0.0-rc.1"),
        ("20.x", "20.10.0"),
        ("^20", "20.10.0"),
        ("^20.3.0", "20.10.0"),
        ("~20.9", "20.9.0"),
        (">=20 <22 || 24", "20.10.0"),
        (">=18", "23.1.0"),
        (">= 18.0.0 < 20", "18.20.4"),
        ("18 || 20 || >=22 <23", "22.12.0"),
        ("18 - 20", "20.10.0"),
        ("<1", "0.10.48"),
        ("^0.10.1", "0.10.48"),
        ("system", "none"),
    ] {
        assert_eq!(chosen("node", text, &offered), wanted, "{text}");
    }
}

#[test]
fn python_requests_are_those_of_pep_440() {
    check(
        "python",
        &[
            "2.7.18",
            "3.1.5",
            "3.10.14",
            "3.11.9",
            "3.12.4+20240726",
            "3.13.0rc1",
            "3.12.4t",
            "pypy3.10-7.3.16",
            "pypy3.9-7.3.16",
        ],
        &[
            ("3", "3.12.4+20240726"),
            ("3.1", "3.1.5"),
            ("3.12", "3.12.4+20240726"),
            ("3.12.4", "3.12.4+20240726"),
            ("3.13", "none"),
            ("3.13.0rc1", "3.13.0rc1"),
            ("3.13rc1", "3.13.0rc1"),
            ("latest", "3.12.4+20240726"),
            (">=3.11,<3.13", "3.12.4+20240726"),
            (">=3.11, <3.12", "3.11.9"),
            (">=3.13.0rc1", "3.13.0rc1"),
            ("~=3.11", "3.12.4+20240726"),
            ("~=3.11.0", "3.11.9"),
            ("==3.11.*", "3.11.9"),
            ("!=3.12.*,>=3.1", "3.11.9"),
            (">3.11", "3.12.4+20240726"),
            ("<3.2", "3.1.5"),
            ("^3.10", "3.12.4+20240726"),
            ("~3.10", "3.10.14"),
            ("^2.7 || ~3.1", "3.1.5"),
            ("3.12t", "3.12.4t"),
            ("pypy", "pypy3.10-7.3.16"),
            ("pypy3.9", "pypy3.9-7.3.16"),
            ("pypy3.9-7.3", "pypy3.9-7.3.16"),
            ("pypy3.10-7.3.16", "pypy3.10-7.3.16"),
        ],
    );
}

#[test]
fn go_requests_are_those_of_its_toolchains() {
    check(
        "go",
        &["1.9.7", "1.20", "1.20.14", "1.21rc2", "1.21.0", "1.21.13", "1.22.5", "1.23rc1"],
        &[
            ("latest", "1.22.5"),
            ("1", "1.22.5"),
            ("1.2", "none"),
            ("1.20", "1.20.14"),
            ("go1.20", "1.20.14"),
            ("=1.20", "1.20"),
            ("1.20.0", "1.20"),
            ("1.21", "1.21.13"),
            ("1.21.x", "1.21.13"),
            ("go1.21.0", "1.21.0"),
            ("1.21rc2", "1.21rc2"),
            ("1.23", "none"),
            (">=1.21", "1.22.5"),
            (">=1.21 <1.22", "1.21.13"),
            ("^1.20", "1.22.5"),
            ("~1.20", "1.20.14"),
            (">=1.23rc1", "1.23rc1"),
            ("<=1.20", "1.20.14"),
            (">1.21", "1.22.5"),
            ("!=1.22", "1.21.13"),
        ],
    );
    assert!(matches!(request("go", ">=1.21"), Request::Minimum(_)));
    let least = Request::go_minimum("1.21").unwrap();
    let installed: Vec<Version> =
        offered("go", &["1.20.14", "1.21rc2"]).into_iter().map(|release| release.version).collect();
    assert_eq!(least.best(&installed, |_| Default::default()), None);
    assert_eq!(Request::go_minimum("1.21rc3").unwrap().best(&installed, |_| Default::default()), None);
    assert_eq!(
        Request::go_minimum("1.21rc1").unwrap().best(&installed, |_| Default::default()).unwrap().as_str(),
        "1.21rc2"
    );
}

#[test]
fn rust_requests_are_those_of_rustup() {
    check(
        "rust",
        &["1.94.1", "1.95.0", "1.96.0-beta.2", "beta-2026-01-15", "nightly-2026-01-02", "nightly-2025-12-31"],
        &[
            ("stable", "1.95.0"),
            ("latest", "1.95.0"),
            ("beta", "1.96.0-beta.2"),
            ("nightly", "nightly-2026-01-02"),
            ("nightly-2025-12-31", "nightly-2025-12-31"),
            ("nightly-2026-01-01", "none"),
            ("1.94", "1.94.1"),
            ("1", "1.95.0"),
            ("1.9", "none"),
            ("1.96.0-beta.2", "1.96.0-beta.2"),
            (">=1.80", "1.95.0"),
            ("~1.94", "1.94.1"),
        ],
    );
}

#[test]
fn ruby_requests_are_those_of_rubygems() {
    check(
        "ruby",
        &["2.7.8", "3.1.6", "3.3.0", "3.3.5", "3.10.0", "3.11.0-rc1", "4.0.0", "jruby-9.4.8.0", "truffleruby-24.1.1"],
        &[
            ("latest", "4.0.0"),
            ("3.1", "3.1.6"),
            ("3.3", "3.3.5"),
            ("ruby-3.3.0", "3.3.0"),
            ("~> 3.3", "3.10.0"),
            ("~> 3.3.0", "3.3.5"),
            ("~> 3.3.1", "3.3.5"),
            (">= 3.1, < 3.4", "3.3.5"),
            ("> 3.3, < 3.4", "3.3.5"),
            ("<= 3.3", "3.3.0"),
            ("!= 4.0.0, > 3", "3.10.0"),
            ("~> 3.11.0.rc1", "3.11.0-rc1"),
            ("3.11.0-rc1", "3.11.0-rc1"),
            ("jruby", "jruby-9.4.8.0"),
            ("jruby-9.4", "jruby-9.4.8.0"),
            ("jruby-9.4.8.0", "jruby-9.4.8.0"),
            ("truffleruby-24", "truffleruby-24.1.1"),
        ],
    );
}

#[test]
fn java_requests_leave_the_build_open() {
    let mut offered = offered(
        "java",
        &["8u402-b06", "8u412-b08", "11.0.24+8", "17.0.12+7", "21+35", "21.0.4+7", "22.0.2+9", "24-ea+1"],
    );
    for release in &mut offered {
        let line = release.version.numbers()[0];
        release.lts = matches!(line, 8 | 11 | 17 | 21).then(|| line.to_string());
    }
    for (text, wanted) in [
        ("latest", "22.0.2+9"),
        ("lts", "21.0.4+7"),
        ("lts/17", "17.0.12+7"),
        ("lts/-1", "17.0.12+7"),
        ("21", "21.0.4+7"),
        ("2", "none"),
        ("temurin-21", "21.0.4+7"),
        ("21.0.4-tem", "21.0.4+7"),
        ("21.0.4", "21.0.4+7"),
        ("21.0.4+7", "21.0.4+7"),
        ("21.0.4+6", "none"),
        ("21.0.0", "21+35"),
        ("1.8", "8u412-b08"),
        ("8", "8u412-b08"),
        ("8u402", "8u402-b06"),
        ("1.8.0_412", "8u412-b08"),
        ("24", "none"),
        ("24-ea+1", "24-ea+1"),
        (">=17 <21", "17.0.12+7"),
        (">21", "22.0.2+9"),
    ] {
        assert_eq!(chosen("java", text, &offered), wanted, "{text}");
    }
}

#[test]
fn other_runtimes_take_numbers_and_words() {
    check(
        "deno",
        &["1.46.3", "2.0.0-rc.1", "2.1.4", "2.10.0"],
        &[
            ("2", "2.10.0"),
            ("2.1", "2.1.4"),
            ("v2.1.4", "2.1.4"),
            ("^1", "1.46.3"),
            ("latest", "2.10.0"),
            ("prefix:2.1", "2.1.4"),
        ],
    );
}

#[test]
fn what_upstream_calls_a_prerelease_is_chosen_by_its_name_only() {
    let mut offered = offered("bun", &["1.1.0", "1.2.0"]);
    offered[1].is_prerelease = true;
    assert_eq!(chosen("bun", "latest", &offered), "1.1.0");
    assert_eq!(chosen("bun", "^1", &offered), "1.1.0");
    assert_eq!(chosen("bun", "1.2.0", &offered), "1.2.0");
}

#[test]
fn what_is_installed_is_known_to_have_support_without_an_index() {
    let versions = |name: &str, texts: &[&str]| -> Vec<Version> {
        offered(name, texts).into_iter().map(|release| release.version).collect()
    };
    let node = versions("node", &["18.20.4", "20.8.0", "20.9.0", "22.1.0", "23.0.0"]);
    let best = |text: &str| request("node", text).best(&node, |_| Default::default()).map(Version::as_str);
    assert_eq!(
        (best("lts"), best("lts/hydrogen"), best("lts/jod"), best("lts/-1")),
        (Some("20.9.0"), Some("18.20.4"), None, None)
    );
    assert_eq!(best("lts/-2"), Some("20.9.0"));
    // What the table does not know is known from the installation.
    let newer = versions("node", &["20.9.0", "24.11.0", "27.1.0", "28.3.0"]);
    let lines = BTreeMap::from([(27, "nickel".to_owned()), (26, "cobalt".to_owned()), (24, "krypton".to_owned())]);
    let recorded = |version: &Version| match version.as_str() {
        "27.1.0" => (Some("nickel".to_owned()), lines.clone()),
        _ => Default::default(),
    };
    let best = |text: &str| request("node", text).best(&newer, recorded).map(Version::as_str);
    assert_eq!(
        ["lts", "lts/nickel", "lts/-1", "lts/-2", "lts/-4", "lts/krypton", "lts/-20"].map(best),
        [Some("27.1.0"), Some("27.1.0"), None, Some("24.11.0"), Some("20.9.0"), Some("24.11.0"), None]
    );
    let java = versions("java", &["11.0.24+8", "21.0.4+7", "22.0.2+9", "23+37"]);
    assert_eq!(request("java", "lts").best(&java, |_| Default::default()).map(Version::as_str), Some("21.0.4+7"));
}

#[test]
fn a_request_reads_back_from_what_it_shows() {
    for (name, texts) in [
        (
            "node",
            &[
                "system",
                "latest",
                "lts",
                "lts/iron",
                "lts/-1",
                "20",
                "20.1",
                "20.1.0",
                "^20",
                ">=20  <22 || 24",
                "20.x",
            ][..],
        ),
        (
            "python",
            &[
                "3",
                "3.12",
                "3.12.4",
                "=3.12.4",
                ">=3.11, <3.13",
                "~=3.11",
                "pypy",
                "pypy3",
                "pypy3.10-7",
                "pypy3.10-7.3.16",
                "3.13t",
                "3.13.0t",
                "3.13.c+oT",
                "3.12.4+dist",
                "graalpy",
                "graalpy-24.1.1",
            ],
        ),
        (
            "go",
            &[
                "1.20",
                "=1.20",
                "1.20.0",
                "1.21.3",
                "1.21rc2",
                ">=1.21",
                ">=1.21rc1",
                ">=1.21.3 <2",
                "=1.19",
                ">=0.22.0",
                ">=1.20.0",
            ],
        ),
        ("rust", &["stable", "beta", "nightly", "nightly-2026-01-02", "1.95", "1.95.0", "1.96.0-beta.2", "*"]),
        ("ruby", &["3.3", "3.3.0", "3.4.0.rc1", "~> 3.3", "jruby", "jruby-9.4", "jruby-9.4.8.0", "1.9.3-p551"]),
        (
            "java",
            &[
                "21",
                "=21",
                "21.0.4-tem",
                "21.0.4-tem-tem",
                "21.0.4-tem+",
                "=21.0.4",
                "8u412",
                "=8u412",
                "8u412-b08",
                "8.0.1+0",
                "2.0.2.0",
                "21+35",
                "22-ea+36",
                "1.8",
                "lts/17",
            ],
        ),
        (
            "deno",
            &["2", "2.1", "=2.1", "2.1.4", "v2", "=v2", "main", "=latest", "=system", "latest", "system", "^1 || ~2.1"],
        ),
    ] {
        for text in texts {
            let parsed = request(name, text);
            assert_eq!(request(name, &parsed.to_string()), parsed, "{name} {text} {parsed}");
        }
    }
    assert_eq!(request("go", "=1.20").to_string(), "=1.20");
    assert_eq!(request("rust", "=1.95.0").to_string(), "1.95.0");
}

#[test]
fn what_is_no_request_is_refused_in_a_sentence() {
    let refused = |name: &str, text: &str| {
        Request::parse(&runtime(name), text).map(|request| request.to_string()).unwrap_err().to_string()
    };
    for name in ["node", "python", "go", "rust", "ruby", "java", "bun", "deno"] {
        for text in [
            "",
            "  ",
            "\0",
            "20\n22",
            "$(touch x)",
            "20;id",
            "`x`",
            "../../etc",
            ">=",
            "||",
            "20 ||",
            "|| 20",
            "^",
            ">=a",
            "\u{1b}[2J",
            "lts/-0",
            "lts/../x",
            "20\u{a0}",
            &"9".repeat(300),
            &"1||".repeat(80),
            "=>1",
        ] {
            let error = refused(name, text);
            assert!(!error.chars().any(char::is_control), "{error:?}");
        }
    }
    assert_eq!(refused("go", "lts"), "go has no lines of long-term support: latest is the newest");
    assert_eq!(refused("node", "iojs"), "\"iojs\" is no version of node: three numbers make one, as in 20.11.1");
    assert_eq!(refused("python", ">=3,<"), "\">=3,<\" is no version or range of python: one looks like >=3.11,<3.13");
}

#[test]
fn the_chosen_is_admitted_and_nothing_admitted_is_above_it() {
    for seed in SEEDS {
        println!("seed {seed}");
        for name in ["node", "python", "go", "rust", "ruby", "java", "zig"] {
            let (runtime, mut seeded) = (runtime(name), Numbers(seed));
            let tails = ["", "", "", "rc1", "-rc1", "-beta.2", "+7", "t", "-p5"];
            let version = |seeded: &mut Numbers| {
                let numbers = format!("{}.{}.{}", seeded.below(4), seeded.below(12), seeded.below(4));
                let text = numbers + tails[seeded.below(tails.len())];
                Version::parse(&runtime, &text).ok()
            };
            let versions: Vec<Version> = (0..200).filter_map(|_| version(&mut seeded)).collect();
            let mut offered: Vec<Release> = versions.iter().cloned().map(Release::of).collect();
            let mut some = 0;
            for _ in 0..300 {
                let (major, minor) = (seeded.below(4), seeded.below(12));
                let text = match seeded.below(9) {
                    0 => "latest".to_owned(),
                    1 => format!("{major}"),
                    2 => format!("{major}.{minor}"),
                    3 => format!(">={major}.{minor}"),
                    4 => format!("^{major}.{minor}.1"),
                    5 => format!("~{major}.{minor}"),
                    6 => format!("<{major}.{minor} || {major}"),
                    7 => format!("<{major}.{minor}.2"),
                    _ => versions[seeded.below(versions.len())].to_string(),
                };
                let Ok(request) = Request::parse(&runtime, &text) else { continue };
                assert_eq!(Request::parse(&runtime, &request.to_string()), Ok(request.clone()), "{name} {text}");
                let swapped = seeded.below(offered.len());
                offered.swap(0, swapped);
                let chosen = request.choose(&offered).map(|release| &release.version);
                assert_eq!(chosen, versions.iter().filter(|version| request.admits(version)).max(), "{name} {text}");
                assert_eq!(chosen, request.best(&versions, |_| Default::default()), "{name} {text}");
                some += usize::from(chosen.is_some());
                let is_exact = matches!(request, Request::Exact(_));
                assert!(chosen.is_none_or(|chosen| is_exact || !chosen.is_prerelease()), "{name} {text}");
            }
            assert!(some > 50, "{name}: only {some} requests chose anything");
        }
    }
}
