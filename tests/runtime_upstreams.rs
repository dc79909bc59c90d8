//! The real programs of runtimes, in their makers' layouts, from a loopback server to programs that run.
//!
//! The upstreams' layouts are those of their documentation; the programs are fetched once by
//! tests/tiers/runtime-binaries.sh. What is refused is small, since nothing of it is ever run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[allow(dead_code, reason = "shared by test targets that each use a part")]
#[path = "support/upstreams.rs"]
mod upstreams;

#[allow(dead_code, reason = "shared by test targets that each use a part")]
#[path = "support/real_runtimes.rs"]
mod real_runtimes;

use std::fs;
use std::path::Path;
use std::process::Command;

use real_runtimes::{Tree, World, cache, said};
use serde_json::{Value, json};
use upstreams::{Key, Served, sha256};

/// What is wrong with a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    Checksum,
    NoChecksum,
    /// Signed, by nobody who is known.
    Stranger,
    NoSignature,
}

/// A release that an upstream publishes.
struct Offer<'a> {
    version: &'a str,
    archive: &'a [u8],
    fault: Fault,
}

impl Offer<'_> {
    /// The checksum that is published.
    fn sum(&self) -> Option<String> {
        match self.fault {
            Fault::Checksum => Some(sha256(b"something else")),
            Fault::NoChecksum => None,
            _ => Some(sha256(self.archive)),
        }
    }

    /// What a signing function makes of it; nothing when the signature is missing.
    fn signed(&self, world: &World, sign: impl Fn(&Key) -> Vec<u8>) -> Option<Vec<u8>> {
        match self.fault {
            Fault::NoSignature => None,
            Fault::Stranger => Some(sign(&Key::new("Stranger"))),
            _ => Some(sign(&world.key)),
        }
    }
}

fn put(world: &World, path: &str, content: Option<Vec<u8>>) {
    match content {
        Some(content) => world.upstream.file(path, content),
        None => world.upstream.remove(path),
    }
}

/// A runtime from its upstream to programs that run.
struct Case<'a> {
    runtime: &'a str,
    /// Version and archive.
    real: (&'a str, Vec<u8>),
    /// An older one.
    small: (&'a str, Vec<u8>),
    /// What the user asks for.
    request: &'a str,
    /// What is refused, and what is said about it.
    refused: &'a [(Fault, &'a str)],
    publish: fn(&World, &[Offer<'_>]),
    /// What runs in the folder of the version, by itself.
    runs: &'a dyn Fn(&World, &Path),
    /// What runs where `omg env` is in force.
    used: &'a dyn Fn(&World, &Path),
}

impl Case<'_> {
    fn check(&self, world: &World) {
        let runtime = self.runtime;
        let small = |fault| Offer { version: self.small.0, archive: &self.small.1, fault };
        for (fault, expected) in self.refused {
            world.forget();
            (self.publish)(world, &[small(*fault)]);
            let text = world.refused(&["use", runtime, self.small.0], 5);
            println!("{runtime} {fault:?}: {text}");
            assert!(text.contains(expected), "{fault:?}: {text}");
            assert_eq!(world.left(), [""; 0], "{fault:?}");
        }
        if let Some((fault, _)) = self.refused.iter().find(|(fault, _)| *fault == Fault::Stranger) {
            world.forget();
            (self.publish)(world, &[small(*fault)]);
            world.done(&["use", runtime, self.small.0, "--allow-unverified"]);
            let record: Value = serde_json::from_str(world.done(&["--json", "list", runtime]).trim()).unwrap();
            assert_eq!(record["unverified"], json!(true));
            let checks = record["parts"][0]["checks"].to_string();
            assert!(checks.contains("not verified: ") && checks.contains("none of the known release keys"), "{checks}");
            let log = fs::read_to_string(world.path("data/omg/audit/audit.jsonl")).unwrap();
            assert!(log.contains("\"what\":\"unverified\"") && log.contains(self.small.0), "{log}");
            world.done(&["uninstall", runtime, self.small.0, "--force"]);
        }
        world.forget();
        let real = Offer { version: self.real.0, archive: &self.real.1, fault: Fault::None };
        (self.publish)(world, &[real, small(Fault::None)]);
        let version = self.real.0;
        let listed = world.done(&["-q", "list", runtime, "--available"]);
        assert_eq!(listed.lines().collect::<Vec<_>>(), [version, self.small.0]);
        let text = world.done(&["use", runtime, self.request]);
        assert_eq!(text, format!("{runtime} {version} is installed, and is the current version\n"));
        assert_eq!(world.done(&["-q", "list", runtime]), format!("{version}\n"));
        let root = world.versions().join(runtime).join(version);
        assert_eq!(fs::canonicalize(world.versions().join(runtime).join("current")).unwrap(), root);
        let list = world.done(&["list", runtime]);
        assert_eq!(list, format!("{version}\tcurrent\t{}\n", root.display()));
        (self.runs)(world, &root);
        (self.used)(world, &world.versions().join(runtime).join("current"));
        // Elsewhere, as when a home is moved.
        let moved = world.path("moved to");
        fs::rename(&root, &moved).unwrap();
        (self.runs)(world, &moved);
        fs::rename(&moved, &root).unwrap();
        let text = world.refused(&["uninstall", runtime, version], 2);
        assert!(text.contains("is the current one"), "{text}");
        assert_eq!(
            world.done(&["uninstall", runtime, version, "--force"]),
            format!("{runtime} {version} is removed\n")
        );
        assert_eq!((world.left(), world.done(&["list", runtime])), (vec![], String::new()));
        // From what is kept of the download.
        world.done(&["use", runtime, self.small.0]);
        assert_eq!(world.done(&["-q", "list", runtime]), format!("{}\n", self.small.0));
    }
}

#[test]
fn node_is_installed_as_nodejs_org_publishes_it_and_runs_with_npm_npx_and_corepack() {
    let publish = |world: &World, offers: &[Offer<'_>]| {
        let files = ["headers", "linux-arm64", "linux-x64", "src"];
        let entry = |offer: &Offer<'_>| {
            json!({"version": format!("v{}", offer.version), "date": "2026-09-01", "files": files, "npm": "11.6.0",
                "v8": "13.6", "lts": if offer.version.starts_with("20") { json!("Iron") } else { json!(false) }})
        };
        let index: Vec<Value> = offers.iter().map(entry).collect();
        world.upstream.file("/dist/index.json", serde_json::to_vec(&index).unwrap());
        for offer in offers {
            let folder = format!("/dist/v{}", offer.version);
            let name = format!("node-v{}-linux-x64.tar.xz", offer.version);
            let listing =
                format!("{}  {name}\n{}  node-v{}.pkg\n", offer.sum().unwrap(), "0".repeat(64), offer.version);
            put(world, &format!("{folder}/SHASUMS256.txt"), Some(listing.clone().into_bytes()));
            let signed = offer.signed(world, |key| key.cleartext(&listing));
            put(world, &format!("{folder}/SHASUMS256.txt.asc"), signed);
            world.upstream.file(&format!("{folder}/{name}"), offer.archive);
        }
    };
    let world = World::new("node", "/dist");
    let tree = Tree::new()
        .with(&cache().join("node"), "")
        .without("package.json")
        .with(&cache().join("npm"), "lib/node_modules/npm")
        .with(&cache().join("corepack"), "lib/node_modules/corepack")
        .link("bin/npm", "../lib/node_modules/npm/bin/npm-cli.js")
        .link("bin/npx", "../lib/node_modules/npm/bin/npx-cli.js")
        .link("bin/corepack", "../lib/node_modules/corepack/dist/corepack.js");
    let small = Tree::new().program("bin/node", "#!/bin/sh\n");
    Case {
        runtime: "node",
        real: ("26.10.0", tree.tar("node-v26.10.0-linux-x64", "xz -0")),
        small: ("20.9.0", small.tar("node-v20.9.0-linux-x64", "xz")),
        request: "26",
        refused: &[
            (Fault::Checksum, "SHA-256"),
            (Fault::Stranger, "none of the known release keys"),
            (Fault::NoSignature, "--allow-unverified"),
        ],
        publish,
        runs: &|world, root| {
            assert_eq!(world.run(&root.join("bin/node"), &["-e", "console.log(6 * 7)"]), "42");
        },
        used: &|world, current| {
            assert_eq!(world.shell("command -v node"), current.join("bin/node").display().to_string());
            assert_eq!(world.shell("node --version"), "v26.10.0");
            assert_eq!(world.shell("npm --version; npx --version"), "11.6.0\n11.6.0");
            assert_eq!(world.shell("corepack --version"), "0.34.0");
            // A package without dependencies needs no registry.
            let package = r#"{"name": "here", "version": "1.0.0", "scripts": {"say": "node -p process.version"}}"#;
            fs::write(world.path("project/package.json"), package).unwrap();
            assert_eq!(world.shell("npm run --silent say"), "v26.10.0");
        },
    }
    .check(&world);
}

#[test]
fn go_is_installed_as_go_dev_publishes_it_and_builds_a_program() {
    let publish = |world: &World, offers: &[Offer<'_>]| {
        let mut index = Vec::new();
        for offer in offers {
            let name = format!("go{}.linux-amd64.tar.gz", offer.version);
            index.push(json!({"version": format!("go{}", offer.version), "stable": true, "files": [
                {"filename": format!("go{}.src.tar.gz", offer.version), "os": "", "arch": "", "kind": "source",
                    "version": format!("go{}", offer.version), "sha256": "", "size": 1},
                {"filename": name, "os": "linux", "arch": "amd64", "version": format!("go{}", offer.version),
                    "sha256": offer.sum().unwrap(), "size": offer.archive.len(), "kind": "archive"}]}));
            // go.dev sends on to the server that has the files.
            for (ending, content) in
                [("", Some(offer.archive.to_vec())), (".asc", offer.signed(world, |key| key.detached(offer.archive)))]
            {
                let file = format!("/dl.google.com/go/{name}{ending}");
                world.upstream.put(&format!("/dl/{name}{ending}"), Served::Redirect(file.clone()));
                put(world, &file, content);
            }
        }
        world.upstream.file("/dl/?mode=json&include=all", serde_json::to_vec(&index).unwrap());
    };
    let world = World::new("go", "/dl");
    let tree = Tree::new().with(&cache().join("go"), "").without("__init__.py");
    let small =
        Tree::new().program("bin/go", "#!/bin/sh\n").program("VERSION", "go1.20.1\ntime 2023-02-14T19:48:04Z\n");
    // An older one, truly signed, under the name of a newer one.
    let older = small.tar("go", "gzip");
    publish(&world, &[Offer { version: "1.27.3", archive: &older, fault: Fault::None }]);
    let text = world.refused(&["use", "go", "1.27.3"], 5);
    assert!(text.contains("1.20.1"), "{text}");
    assert_eq!(world.left(), [""; 0]);
    Case {
        runtime: "go",
        real: ("1.27.3", tree.tar("go", "gzip -1")),
        small: ("1.20.1", small.tar("go", "gzip")),
        request: "1.27",
        refused: &[
            (Fault::Checksum, "SHA-256"),
            (Fault::Stranger, "none of the known release keys"),
            (Fault::NoSignature, "--allow-unverified"),
        ],
        publish,
        runs: &|world, root| {
            let go = root.join("bin/go");
            assert_eq!(world.run(&go, &["version"]), "go version go1.27.3 linux/amd64");
            assert_eq!(world.run(&go, &["env", "GOROOT"]), root.display().to_string());
        },
        used: &|world, _| {
            fs::write(world.path("project/go.mod"), "module hello\n\ngo 1.27\n").unwrap();
            let program = "package main\n\nfunc main() { println(\"hello from go\") }\n";
            fs::write(world.path("project/main.go"), program).unwrap();
            let built = "export GOPROXY=off GOFLAGS=-mod=mod GOTOOLCHAIN=local CGO_ENABLED=0\ngo build -o hello .";
            assert_eq!(world.shell(&format!("{built}\n./hello 2>&1\ngofmt -l .")), "hello from go");
            assert_eq!(world.done(&["current", "go"]).split('\t').nth(1), Some("1.27.3"));
        },
    }
    .check(&world);
}

#[test]
fn bun_is_installed_as_its_releases_on_github_have_it_and_runs_with_bunx() {
    let publish = |world: &World, offers: &[Offer<'_>]| {
        let address = world.upstream.address();
        let mut page = vec![json!({"tag_name": "canary", "draft": false, "prerelease": true, "assets": []})];
        for offer in offers {
            let tag = format!("bun-v{}", offer.version);
            let folder = format!("/oven-sh/bun/releases/download/{tag}");
            // Which of them it is depends on the processor; both have the same in them here.
            let names = ["bun-linux-x64.zip", "bun-linux-x64-baseline.zip"];
            let lines = names.iter().filter_map(|name| Some(format!("{}  {name}\n", offer.sum()?)));
            let listing: String = lines.chain([format!("{}  bun-darwin-x64.zip\n", "0".repeat(64))]).collect();
            let signed = offer.signed(world, |key| key.cleartext(&listing));
            let mut files = vec![("SHASUMS256.txt", Some(listing.into_bytes())), ("SHASUMS256.txt.asc", signed)];
            files.extend(names.map(|name| (name, Some(offer.archive.to_vec()))));
            let mut assets = Vec::new();
            for (name, content) in files.into_iter().filter(|(_, content)| content.is_some()) {
                let path = format!("{folder}/{name}");
                assets.push(json!({"name": name, "size": content.as_ref().map(Vec::len), "digest": null,
                    "browser_download_url": format!("{address}{path}")}));
                put(world, &path, content);
            }
            page.push(json!({"tag_name": tag, "draft": false, "prerelease": false, "assets": assets,
                "published_at": "2026-09-01T01:02:03Z"}));
        }
        let path = "/repos/oven-sh/bun/releases?per_page=100&page=1";
        world.upstream.file(path, serde_json::to_vec(&page).unwrap());
    };
    let world = World::new("bun", "/repos/oven-sh/bun/releases");
    let tree = Tree::new().with(&cache().join("bun/bin"), "");
    Case {
        runtime: "bun",
        real: ("1.4.5", tree.zip("bun-linux-x64")),
        small: ("1.0.0", Tree::new().program("bun", "#!/bin/sh\n").zip("bun-linux-x64")),
        request: "latest",
        refused: &[
            (Fault::Checksum, "SHA-256"),
            (Fault::NoChecksum, "is in no listing of checksums"),
            (Fault::Stranger, "none of the known release keys"),
            (Fault::NoSignature, "--allow-unverified"),
        ],
        publish,
        runs: &|world, root| {
            assert_eq!(world.run(&root.join("bin/bun"), &["--version"]), "1.4.5");
            assert_eq!(world.run(&root.join("bin/bun"), &["-e", "console.log(6 * 7)"]), "42");
        },
        used: &|world, _| {
            let folder = world.path("project/node_modules/.bin");
            fs::create_dir_all(&folder).unwrap();
            fs::write(world.path("project/package.json"), "{}").unwrap();
            let tree = Tree::new().program("here", "#!/usr/bin/env bun\nconsole.log('bunx runs', Bun.version)\n");
            fs::rename(tree.path("here"), folder.join("here"))
                .or_else(|_| fs::copy(tree.path("here"), folder.join("here")).map(drop))
                .unwrap();
            assert_eq!(world.shell("bunx --bun here"), "bunx runs 1.4.5");
        },
    }
    .check(&world);
}

#[test]
fn java_is_installed_as_adoptium_publishes_it_and_is_java_home() {
    let publish = |world: &World, offers: &[Offer<'_>]| {
        let address = world.upstream.address();
        // There is a line that has nothing for this machine yet.
        let lines = offers.iter().map(|offer| offer.version[..2].parse().unwrap()).chain([99]);
        let lines: Vec<u32> = lines.collect();
        let lines = json!({"available_lts_releases": [21, 25], "available_releases": lines, "most_recent_lts": 25});
        world.upstream.file("/v3/info/available_releases", serde_json::to_vec(&lines).unwrap());
        for offer in offers {
            let (line, version) = (&offer.version[..2], offer.version);
            let name = format!("OpenJDK{line}U-jdk_x64_linux_hotspot_{}.tar.gz", version.replace('+', "_"));
            let path = format!(
                "/adoptium/temurin{line}-binaries/releases/download/jdk-{}/{name}",
                version.replace('+', "%2B")
            );
            let mut package = json!({"name": name, "link": format!("{address}{path}"), "size": offer.archive.len(),
                "signature_link": format!("{address}{path}.sig"), "checksum_link": format!("{address}{path}.sha256.txt")});
            if let Some(sum) = offer.sum() {
                package["checksum"] = json!(sum);
            }
            world.upstream.file(&path, offer.archive);
            put(world, &format!("{path}.sig"), offer.signed(world, |key| key.detached(offer.archive)));
            let page = json!([{"release_name": format!("jdk-{version}"), "release_type": "ga", "vendor": "eclipse",
                "timestamp": "2026-01-20T12:13:44Z", "version_data": {"openjdk_version": format!("{version}-LTS")},
                "binaries": [{"architecture": "x64", "os": "linux", "image_type": "jdk", "package": package}]}]);
            let asked = format!(
                "/v3/assets/feature_releases/{line}/ga?architecture=x64&os=linux&image_type=jdk&jvm_impl=hotspot&\
                 heap_size=normal&project=jdk&vendor=eclipse&page_size=20&page=0"
            );
            world.upstream.file(&asked, serde_json::to_vec(&page).unwrap());
        }
    };
    let world = World::new("java", "");
    let tree = Tree::new().with(&cache().join("java"), "");
    // Whoever made this one has left it out.
    let told = "JAVA_RUNTIME_VERSION=\"25.0.2+10-LTS\"\nJAVA_VERSION=\"25.0.2\"";
    rewrite(&tree.path("release"), &[("JAVA_VERSION=\"25.0.2\"", told)]);
    let small = Tree::new().program("bin/java", "#!/bin/sh\n");
    Case {
        runtime: "java",
        real: ("25.0.2+10", tree.tar("jdk-25.0.2+10", "gzip -1")),
        small: ("21.0.5+11", small.tar("jdk-21.0.5+11", "gzip")),
        request: "25",
        refused: &[
            (Fault::Checksum, "SHA-256"),
            (Fault::NoChecksum, "--allow-unverified"),
            (Fault::Stranger, "none of the known release keys"),
            (Fault::NoSignature, "--allow-unverified"),
        ],
        publish,
        runs: &|world, root| {
            let text = world.run(&root.join("bin/java"), &["-version"]);
            assert!(text.contains("version \"25.0.2\""), "{text}");
        },
        used: &|world, current| {
            assert_eq!(world.shell("echo \"$JAVA_HOME\""), current.display().to_string());
            let text = world.shell("\"$JAVA_HOME/bin/java\" -XshowSettings:properties -version 2>&1");
            assert!(text.contains("java.version = 25.0.2"), "{text}");
            assert_eq!(world.shell("command -v java"), current.join("bin/java").display().to_string());
        },
    }
    .check(&world);
}

/// Tag, and the files of the release: name, content where it is served, digest.
type Hosted = (String, Vec<(String, Option<Vec<u8>>, Option<String>)>);

/// A page of releases on GitHub; an asset's digest as GitHub notes it.
fn github_page(world: &World, releases: &[Hosted]) -> Vec<u8> {
    let address = world.upstream.address();
    let mut page = Vec::new();
    for (tag, files) in releases {
        let mut assets = Vec::new();
        for (name, content, digest) in files {
            let path = format!("/download/{tag}/{name}");
            assets.push(json!({"name": name, "size": content.as_ref().map(Vec::len),
                "digest": digest.as_ref().map(|sum| format!("sha256:{sum}")),
                "browser_download_url": format!("{address}{path}")}));
            put(world, &path, content.clone());
        }
        page.push(json!({"tag_name": tag, "draft": false, "prerelease": false, "assets": assets,
            "published_at": "2026-09-01T01:02:03Z"}));
    }
    serde_json::to_vec(&page).unwrap()
}

/// The only entry of a folder whose name starts so.
fn only(folder: &Path, start: &str) -> String {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let found: Vec<String> = entries.filter(|name| name.starts_with(start)).collect();
    assert_eq!(found.len(), 1, "{folder:?}: {found:?}");
    found[0].clone()
}

/// Puts other text in place of some in a file.
fn rewrite(file: &Path, changes: &[(&str, &str)]) {
    let mut text = fs::read_to_string(file).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "{file:?} has no {from:?}");
        text = text.replace(from, to);
    }
    fs::write(file, text).unwrap();
}

#[test]
fn python_is_installed_as_python_build_standalone_publishes_it_and_runs_with_pip() {
    let publish = |world: &World, offers: &[Offer<'_>]| {
        let day = "20260901";
        let mut files = Vec::new();
        let mut listing = String::new();
        for offer in offers {
            let triple = "x86_64-unknown-linux-gnu";
            let name = format!("cpython-{}+{day}-{triple}-install_only.tar.gz", offer.version);
            if let Some(sum) = offer.sum() {
                listing.push_str(&format!("{sum}  {name}\n"));
                world.attest_at(
                    &sum,
                    &format!("/blob/{sum}.json.sn?sig=a"),
                    &world.instance.bundle(&World::claims(&sum)),
                );
            }
            files.push((name, Some(offer.archive.to_vec()), None));
            files.push((format!("cpython-{}+{day}-{triple}-debug-full.tar.zst", offer.version), None, None));
        }
        if !listing.is_empty() {
            files.push(("SHA256SUMS".to_owned(), Some(listing.into_bytes()), None));
        }
        let page = github_page(world, &[(day.to_owned(), files)]);
        world.upstream.file("/repos/astral-sh/python-build-standalone/releases?per_page=10&page=1", page);
    };
    let world = World::new("python", "/repos/astral-sh/python-build-standalone/releases");
    let debian = cache().join("python/usr");
    let python = only(&debian.join("bin"), "python3.");
    let minor = python.trim_start_matches("python");
    let version =
        world.run(&debian.join("bin").join(&python), &["-c", "import platform; print(platform.python_version())"]);
    let script = |name: &str| {
        format!(
            "#!/install/bin/{python}\n# {name}\nimport sys\nfrom pip._internal.cli.main import main\nsys.exit(main())\n"
        )
    };
    let tree = Tree::new()
        .with(&debian.join("bin"), "bin")
        .with(&debian.join("lib"), "lib")
        .with(&cache().join("pip"), &format!("lib/{python}/site-packages"))
        .link("bin/python3", &python)
        .program("bin/pip3", &script("pip3"))
        .program(&format!("bin/pip{minor}"), &script("pip"));
    let library = tree.path(&format!("lib/{python}"));
    // Debian's own Python has its packages in folders of Debian's; the others have them here.
    let _ = fs::remove_file(library.join("sitecustomize.py"));
    let places = "import site, sysconfig\nsite.addsitedir(sysconfig.get_path('purelib', 'posix_prefix'))\n";
    fs::write(library.join("sitecustomize.py"), places).unwrap();
    for name in fs::read_dir(&library).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()) {
        if name.starts_with("_sysconfigdata_") && fs::read_to_string(library.join(&name)).unwrap().contains("'/usr") {
            rewrite(&library.join(&name), &[("'/usr", "'/install")]);
        }
    }
    let small = Tree::new().program("bin/python3.9", "#!/bin/sh\n");
    Case {
        runtime: "python",
        real: (&version, tree.tar("python", "gzip -1")),
        small: ("3.9.1", small.tar("python", "gzip")),
        request: minor,
        refused: &[(Fault::Checksum, "SHA-256"), (Fault::NoChecksum, "--allow-unverified")],
        publish,
        runs: &|world, root| {
            for name in ["python", "python3", &python] {
                let script = "import json, ssl, sys; print(sys.prefix, sys.version_info[:2])";
                let expected = format!("{} ({})", root.display(), minor.replace('.', ", "));
                assert_eq!(world.run(&root.join("bin").join(name), &["-c", script]), expected);
            }
            let of_build = "import sysconfig; print(sysconfig.get_config_var('BINDIR'))";
            assert_eq!(world.run(&root.join("bin/python"), &["-c", of_build]), root.join("bin").display().to_string());
            for name in ["pip", "pip3", &format!("pip{minor}")] {
                let text = world.run(&root.join("bin").join(name), &["--version"]);
                assert!(text.starts_with("pip 25.3 from ") && text.contains(root.to_str().unwrap()), "{text}");
            }
        },
        used: &|world, current| {
            let bin = current.join("bin");
            let both = format!("{0}/python\n{0}/pip", bin.display());
            assert_eq!(world.shell("command -v python; command -v pip"), both);
            assert_eq!(world.shell("python3 -c 'import platform; print(platform.python_version())'"), version);
            assert_eq!(world.shell("python -m venv --without-pip v; v/bin/python -c 'print(6 * 7)'"), "42");
        },
    }
    .check(&world);
}

/// A program that is Ruby in a library beside it, as ruby-builder's are: it looks where it was built to be.
fn ruby_program(library: &Path, built_for: &str, into: &Path) {
    let source = "void ruby_sysinit(int *, char ***); void ruby_init_stack(void *); void ruby_init(void);\n\
        void *ruby_options(int, char **); int ruby_run_node(void *);\n\
        int main(int count, char **words) {\n\
            void *here; ruby_sysinit(&count, &words); ruby_init_stack(&here); ruby_init();\n\
            return ruby_run_node(ruby_options(count, words));\n\
        }\n";
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("main.c"), source).unwrap();
    let mut command = Command::new("cc");
    command.arg("-o").arg(into).arg(folder.path().join("main.c")).arg(library);
    let output = command.arg(format!("-Wl,-rpath,{built_for}/lib")).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn ruby_is_installed_as_ruby_builder_publishes_it_and_runs_with_gem_and_bundle() {
    let publish = |world: &World, offers: &[Offer<'_>]| {
        let mut releases = Vec::new();
        for offer in offers {
            let name = |system: &str| format!("ruby-{}-ubuntu-{system}-x64.tar.gz", offer.version);
            let archive = Some(offer.archive.to_vec());
            let mut files = vec![(name("20.04"), archive, offer.sum())];
            // For a system that is newer than this one.
            files.push((name("99.04"), None, Some("0".repeat(64))));
            releases.push((format!("ruby-{}", offer.version), files));
        }
        let page = github_page(world, &releases);
        world.upstream.file("/repos/ruby/ruby-builder/releases?per_page=50&page=1", page);
    };
    let world = World::new("ruby", "/repos/ruby/ruby-builder/releases");
    let debian = cache().join("ruby/usr");
    let ruby = only(&debian.join("bin"), "ruby");
    let minor = ruby.trim_start_matches("ruby");
    let (api, multiarch) = (format!("{minor}.0"), "x86_64-linux-gnu");
    let libraries = debian.join("lib").join(multiarch);
    let library = only(&libraries, &format!("libruby-{minor}.so.{minor}."));
    let version = library.rsplit(".so.").next().unwrap().to_owned();
    let built_for = format!("/opt/hostedtoolcache/Ruby/{version}/x64");
    let arch = format!("lib/ruby/{api}/{multiarch}");
    let soname = format!("libruby-{minor}.so.{minor}");
    let tree = Tree::new()
        .with(&debian.join("lib/ruby").join(&api), &format!("lib/ruby/{api}"))
        .with(&debian.join("lib/ruby/gems"), "lib/ruby/gems")
        .with(&libraries.join("ruby").join(&api), &arch)
        .link(&format!("lib/{soname}"), &library);
    fs::copy(libraries.join(&library), tree.path("lib").join(&library)).unwrap();
    // Debian has what is for one kind of machine elsewhere; ruby-builder does not.
    rewrite(
        &tree.path(&arch).join("rbconfig.rb"),
        &[
            (&format!("(\"/lib/{multiarch}/ruby/{api}\")"), &format!("(\"/lib/ruby/{api}/{multiarch}\")")),
            ("DESTDIR + \"/usr\"", &format!("DESTDIR + \"{built_for}\"")),
            ("\"$(rubyarchprefix)/$(ruby_version)\"", "\"$(rubylibdir)/$(arch)\""),
            (&format!("\"$(RUBY_BASE_NAME){minor}\""), "\"$(RUBY_BASE_NAME)\""),
            ("--prefix=/usr'", &format!("--prefix={built_for}'")),
        ],
    );
    let mut tree = tree;
    for name in ["gem", "bundle", "irb", "rake"] {
        let text = fs::read_to_string(debian.join("bin").join(format!("{name}{minor}"))).unwrap();
        let rest = text.split_once('\n').unwrap().1;
        tree = tree.program(&format!("bin/{name}"), &format!("#!{built_for}/bin/ruby\n{rest}"));
    }
    ruby_program(&tree.path("lib").join(&soname), &built_for, &tree.path("bin/ruby"));
    let small = Tree::new().program("bin/ruby", "#!/bin/sh\n");
    Case {
        runtime: "ruby",
        real: (&version, tree.tar("x64", "gzip -1")),
        small: ("2.7.8", small.tar("x64", "gzip")),
        request: minor,
        refused: &[(Fault::Checksum, "SHA-256"), (Fault::NoChecksum, "--allow-unverified")],
        publish,
        runs: &|world, root| {
            let bin = root.join("bin");
            assert!(world.run(&bin.join("ruby"), &["-v"]).starts_with(&format!("ruby {version}")));
            let script = "require 'json'; require 'socket'; puts JSON.generate([RbConfig.ruby, ENV['RUBYLIB']])";
            let expected = format!("[\"{}\",null]", bin.join("ruby").display());
            assert_eq!(world.run(&bin.join("ruby"), &["-e", script]), expected);
            let home = world.run(&bin.join("gem"), &["environment", "gemdir"]);
            assert_eq!(home, root.join(format!("lib/ruby/gems/{api}")).display().to_string());
            assert!(world.run(&bin.join("bundle"), &["--version"]).starts_with("Bundler version 2."));
            assert!(world.run(&bin.join("irb"), &["--version"]).starts_with("irb 1."));
        },
        used: &|world, _| {
            assert!(world.shell("ruby -v").starts_with(&format!("ruby {version}")));
            let gem = world.shell("gem --version");
            assert_eq!(gem, world.shell("ruby -e 'puts Gem::VERSION'"));
            fs::write(world.path("project/Rakefile"), "task(:default) { puts 'rake runs' }\n").unwrap();
            assert_eq!(world.shell("rake"), "rake runs");
            fs::write(world.path("project/Gemfile"), "source 'https://rubygems.org'\n").unwrap();
            assert!(world.shell("bundle install --local 2>&1").contains("Bundle complete"));
        },
    }
    .check(&world);
}

const HOST: &str = "x86_64-unknown-linux-gnu";
const WASM: &str = "wasm32-unknown-unknown";

/// A component of Rust in the layout of rust-installer.
fn rust_component(package: &str, folder: &str, version: &str, files: &[(&str, String)]) -> Vec<u8> {
    let mut tree = Tree::new();
    let mut listed = String::new();
    for (path, text) in files {
        tree = tree.program(&format!("{folder}/{path}"), text);
        listed.push_str(&format!("file:{path}\n"));
    }
    let tree = tree
        .program(&format!("{folder}/manifest.in"), &listed)
        .program("components", &format!("{folder}\n"))
        .program("rust-installer-version", "3\n")
        .program("install.sh", "#!/bin/sh\n");
    tree.tar(&format!("{package}-{version}"), "xz -0")
}

/// Publishes Rust's channels: stable is the first offer, and every offer is a version. What it has as its archive is not
/// looked at.
fn publish_rust(world: &World, offers: &[Offer<'_>]) {
    const DATE: &str = "2026-09-10";
    let mut list = String::new();
    for (at, offer) in offers.iter().enumerate() {
        let version = offer.version;
        let says = |name: &str| format!("#!/bin/sh\necho \"{name} {version} (0123456 {DATE})\"\n");
        let std = |target: &str| {
            let path = format!("lib/rustlib/{target}/lib/libcore.rlib");
            rust_component(
                &format!("rust-std-{target}"),
                &format!("rust-std-{target}"),
                version,
                &[(&path, "core".to_owned())],
            )
        };
        let packages = [
            ("rustc", HOST, rust_component("rustc", "rustc", version, &[("bin/rustc", says("rustc"))])),
            ("cargo", HOST, rust_component("cargo", "cargo", version, &[("bin/cargo", says("cargo"))])),
            ("rust-std", HOST, std(HOST)),
            ("rust-std", WASM, std(WASM)),
            (
                "clippy-preview",
                HOST,
                rust_component("clippy-preview", "clippy-preview", version, &[("bin/cargo-clippy", says("clippy"))]),
            ),
            (
                "rust-src",
                "*",
                rust_component(
                    "rust-src",
                    "rust-src",
                    version,
                    &[("lib/rustlib/src/rust/library/core.rs", String::new())],
                ),
            ),
        ];
        let mut manifest = format!("manifest-version = \"2\"\ndate = \"{DATE}\"\n");
        let mut listed = String::new();
        let mut seen = Vec::new();
        for (name, target, archive) in &packages {
            let suffix = if *target == "*" { String::new() } else { format!("-{target}") };
            let file = format!("dist/{DATE}/{name}-{version}{suffix}.tar.xz");
            world.upstream.file(&format!("/{file}"), archive.as_slice());
            if !seen.contains(name) {
                seen.push(*name);
                manifest.push_str(&format!("\n[pkg.{name}]\nversion = \"{version} (0123456 {DATE})\"\n"));
            }
            manifest.push_str(&format!(
                "[pkg.{name}.target.\"{target}\"]\navailable = true\nxz_url = \"https://static.rust-lang.org/{file}\"\n\
                 xz_hash = \"{}\"\n",
                sha256(archive)
            ));
            let is_component = ["rustc", "cargo"].contains(name) || *target == HOST && *name == "rust-std";
            let kind = if is_component { "components" } else { "extensions" };
            listed.push_str(&format!("[[pkg.rust.target.{HOST}.{kind}]]\npkg = \"{name}\"\ntarget = \"{target}\"\n"));
        }
        manifest.push_str(&format!(
            "\n[pkg.rust]\nversion = \"{version} (0123456 {DATE})\"\n[pkg.rust.target.{HOST}]\navailable = true\n{listed}\n\
             [renames.clippy]\nto = \"clippy-preview\"\n\n[profiles]\nminimal = [\"rustc\", \"cargo\", \"rust-std\"]\n\
             default = [\"rustc\", \"cargo\", \"rust-std\", \"clippy-preview\"]\ncomplete = [\"rustc\"]\n"
        ));
        let names = [format!("channel-rust-{version}.toml"), "channel-rust-stable.toml".to_owned()];
        for name in &names[..if at == 0 { 2 } else { 1 }] {
            let sum = match offer.fault {
                Fault::None | Fault::Stranger | Fault::NoSignature => Some(sha256(manifest.as_bytes())),
                Fault::Checksum => Some(sha256(b"something else")),
                Fault::NoChecksum => None,
            };
            world.upstream.file(&format!("/dist/{name}"), manifest.as_bytes());
            let line = sum.map(|sum| format!("{sum}  {name}\n").into_bytes());
            put(world, &format!("/dist/{name}.sha256"), line);
            let signed = offer.signed(world, |key| key.detached(manifest.as_bytes()));
            put(world, &format!("/dist/{name}.asc"), signed);
        }
        list.push_str(&format!("static.rust-lang.org/dist/{DATE}/channel-rust-{version}.toml\n"));
    }
    world.upstream.file("/manifests.txt", list);
}

#[test]
fn rust_is_installed_as_its_channels_publish_it_with_components_and_targets_added_later() {
    let world = World::new("rust", "");
    let bin = |name: &str| world.versions().join("rust/current/bin").join(name);
    Case {
        runtime: "rust",
        real: ("1.95.0", Vec::new()),
        small: ("1.80.1", Vec::new()),
        request: "stable",
        refused: &[
            (Fault::Checksum, "SHA-256"),
            (Fault::NoChecksum, "--allow-unverified"),
            (Fault::Stranger, "none of the known release keys"),
            (Fault::NoSignature, "--allow-unverified"),
        ],
        publish: publish_rust,
        runs: &|world, root| {
            assert_eq!(world.run(&root.join("bin/rustc"), &[]), "rustc 1.95.0 (0123456 2026-09-10)");
        },
        used: &|world, _| {
            assert_eq!(
                world.shell("cargo; cargo-clippy"),
                "cargo 1.95.0 (0123456 2026-09-10)\nclippy 1.95.0 (0123456 2026-09-10)"
            );
        },
    }
    .check(&world);

    // A smaller one, to which is added.
    assert_eq!(
        world.done(&["use", "rust", "stable", "--profile", "minimal"]),
        "rust 1.95.0 is installed, and is the current version\n"
    );
    assert!(bin("rustc").exists() && !bin("cargo-clippy").exists());
    let text = world.refused(&["use", "rust", "stable", "--component", "nothing"], 1);
    assert!(text.contains("nothing"), "{text}");
    world.done(&["use", "rust", "stable", "--component", "clippy", "--target", WASM]);
    assert!(world.versions().join(format!("rust/current/lib/rustlib/{WASM}/lib/libcore.rlib")).exists());
    assert_eq!(world.run(&bin("cargo-clippy"), &[]), "clippy 1.95.0 (0123456 2026-09-10)");
    // What a project's file asks for, besides.
    world.done(&["uninstall", "rust", "1.80.1"]);
    let file = "[toolchain]\nchannel = \"1.80.1\"\nprofile = \"minimal\"\ncomponents = [\"rust-src\"]\n";
    fs::write(world.path("project/rust-toolchain.toml"), file).unwrap();
    world.done(&["install"]);
    let older = world.versions().join("rust/1.80.1");
    assert!(older.join("lib/rustlib/src/rust/library/core.rs").exists() && !older.join("bin/cargo-clippy").exists());
    assert_eq!(world.shell("rustc"), "rustc 1.80.1 (0123456 2026-09-10)");
}
