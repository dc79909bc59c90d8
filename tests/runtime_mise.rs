//! The real mise, found on PATH or fetched, and what it installs from a loopback server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[allow(dead_code, reason = "shared by test targets that each use a part")]
#[path = "support/upstreams.rs"]
mod upstreams;

#[allow(dead_code, reason = "shared by test targets that each use a part")]
#[path = "support/real_runtimes.rs"]
mod real_runtimes;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use real_runtimes::{Tree, World, cache, said};
use serde_json::Value;
use upstreams::{Key, Served, sha256};

const VERSION: &str = "v2026.9.15";
const NAME: &str = "mise-v2026.9.15-linux-x64";

/// A user whom everything on the web is told by a loopback server, as Deno's makers and mise's would.
fn world() -> World {
    let mut world = World::new("mise", "/jdx/mise/releases");
    world.upstream.file("/deno.com/versions.json", r#"{"cli": ["v2.1.4", "v2.1.0", "v1.46.3"], "std": ["0.224.0"]}"#);
    for version in ["2.1.4", "2.1.0", "1.46.3"] {
        let archive = Tree::new().program("deno", &format!("#!/bin/sh\necho \"deno {version} $*\"\n")).zip(".");
        let path = format!("/dl.deno.land/release/v{version}/deno-x86_64-unknown-linux-gnu.zip");
        world.upstream.file(&path, archive);
    }
    let everything = format!("{{\"regex:^https?://(.*)$\": \"{}/$1\"}}", world.upstream.address());
    world.variables.push(("MISE_URL_REPLACEMENTS".to_owned(), everything));
    world
}

/// mise's own release, by this key.
fn publish(world: &World, key: &Key, program: &[u8]) {
    let folder = format!("/jdx/mise/releases/download/{VERSION}");
    world.upstream.file("/jdx/mise/releases/latest", format!("{{\"tag_name\": \"{VERSION}\", \"assets\": []}}"));
    let listing = format!("{}  ./{NAME}\n{}  ./{NAME}.tar.gz\n", sha256(program), "0".repeat(64));
    world.upstream.file(&format!("{folder}/SHASUMS256.asc"), key.cleartext(&listing));
    world.upstream.file(&format!("{folder}/SHASUMS256.txt"), listing);
    world.upstream.file(&format!("{folder}/{NAME}"), program);
}

fn on_path(world: &mut World) {
    fs::create_dir(world.path("bin")).unwrap();
    symlink(cache().join("mise/bin/mise"), world.path("bin/mise")).unwrap();
    let path = format!("{}:/usr/bin:/bin", world.path("bin").display());
    world.variables.push(("PATH".to_owned(), path));
}

/// Every file below a folder: when it was last written to, and what is in it.
fn contents(folder: &Path) -> BTreeMap<String, (i64, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.file_type().unwrap().is_dir() {
                true => folders.push(entry.path()),
                false => {
                    let content = (entry.metadata().unwrap().mtime_nsec(), fs::read(entry.path()).unwrap_or_default());
                    found.insert(entry.path().display().to_string(), content);
                }
            }
        }
    }
    found
}

#[test]
fn what_mise_installs_is_listed_found_run_and_removed_like_everything_else() {
    let mut world = world();
    on_path(&mut world);
    let listed = world.done(&["-q", "list", "deno", "--available"]);
    assert_eq!(listed.lines().collect::<Vec<_>>(), ["2.1.4", "2.1.0", "1.46.3"]);
    let output = world.command(&["use", "deno", "2"]).output().unwrap();
    println!("{}", said(&output));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "deno 2.1.4 is installed, and is the current version\n");
    let root = world.versions().join("deno/2.1.4");
    assert_eq!(world.done(&["list", "deno"]), format!("2.1.4\tcurrent\t{}\n", root.display()));
    let record: Value = serde_json::from_str(world.done(&["--json", "list", "deno"]).trim()).unwrap();
    assert_eq!((record["manager"].as_str(), record["version"].as_str()), (Some("mise"), Some("2.1.4")));
    let current = world.versions().join("deno/current");
    assert_eq!(world.done(&["which", "deno"]).trim(), current.join("bin/deno").display().to_string());
    assert_eq!(world.done(&["current", "deno"]).split('\t').nth(1), Some("2.1.4"));
    assert_eq!(world.shell("deno run x"), "deno 2.1.4 run x");
    // Of what is there nobody is asked, mise neither.
    world.upstream.requests();
    fs::write(world.path("project/.tool-versions"), "deno 1.46\n").unwrap();
    assert_eq!(world.done(&["install"]), "deno 1.46.3 is installed\n");
    assert_eq!(world.done(&["exec", "--", "deno", "task"]), "deno 1.46.3 task\n");
    assert_eq!(world.done(&["exec", "deno@2", "--", "deno", "task"]), "deno 2.1.4 task\n");
    assert_eq!(world.shell("deno"), "deno 1.46.3");
    assert_eq!(world.done(&["use", "deno", "2"]), "deno 2.1.4 was installed already, and is the current version\n");
    let text = world.refused(&["uninstall", "deno", "2.1.4"], 2);
    assert!(text.contains("is the current one"), "{text}");
    assert_eq!(world.done(&["uninstall", "deno", "1.46.3"]), "deno 1.46.3 is removed\n");
    assert_eq!(world.done(&["uninstall", "deno", "2", "--force"]), "deno 2.1.4 is removed\n");
    assert_eq!((world.done(&["list", "deno"]), world.left()), (String::new(), vec![]));
    // Nor does mise keep it.
    let kept = contents(&world.path("data/omg/mise/data/installs/deno"));
    assert_eq!(kept.keys().filter(|path| path.ends_with("/deno")).collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn what_upstream_has_not_for_this_machine_comes_from_mise() {
    let mut world = world();
    on_path(&mut world);
    let settings = fs::read_to_string(world.path("config/omg/config.toml")).unwrap();
    let go = format!("[runtimes.go]\nurl = \"{}/elsewhere\"\n", world.upstream.address());
    fs::write(world.path("config/omg/config.toml"), settings + &go).unwrap();
    let index = r#"[{"version": "go1.21.4", "stable": true, "files": [{"filename": "go1.21.4.plan9-386.tar.gz", "os": "plan9",
        "arch": "386", "version": "go1.21.4", "sha256": "00", "size": 1, "kind": "archive"}]}]"#;
    world.upstream.file("/elsewhere/?mode=json&include=all", index);
    let versions = |version: &str| format!("[versions]\n\"{version}\" = {{ created_at = 2023-11-07T00:00:00Z }}\n");
    world.upstream.file("/mise-versions.jdx.dev/data/go.toml", versions("1.20.3"));
    let text = world.refused(&["use", "go", "1.21.4"], 1);
    println!("{text}");
    let first = text.lines().next().unwrap().strip_suffix("; mise may have it").unwrap();
    assert!(first.starts_with("omg: go 1.21.4 ") && text.ends_with(&format!("\n{first}\n")), "{text}");
    // A version that alone is missing may be one that somebody hides.
    let here = index
        .replace("plan9-386", "linux-amd64")
        .replace("plan9", "linux")
        .replace("386", "amd64")
        .replace("1.21.4", "1.20.1");
    world.upstream.file("/elsewhere/?mode=json&include=all", here);
    world.forget();
    assert_eq!(world.refused(&["use", "go", "1.21.4"], 1), "omg: there is no go 1.21.4; the newest is 1.20.1\n");
    world.upstream.file("/elsewhere/?mode=json&include=all", index);
    world.forget();
    fs::remove_dir_all(world.path("data/omg/mise/cache")).unwrap();
    let tree = Tree::new().program("bin/go", "#!/bin/sh\necho mise has go version go1.21.4\n");
    let archive = tree.program("VERSION", "go1.21.4").tar("go", "gzip");
    world.upstream.file("/mise-versions.jdx.dev/data/go.toml", versions("1.21.4"));
    for name in ["go1.21.4.linux-amd64.tar.gz", "go1.21.4.linux-amd64.tar.gz.sha256"] {
        let content = if name.ends_with("256") { sha256(&archive).into_bytes() } else { archive.clone() };
        world.upstream.file(&format!("/dl.google.com/go/{name}"), content);
    }
    let output = world.command(&["use", "go", "1.21.4"]).output().unwrap();
    println!("{}{:?}", said(&output), world.upstream.requests());
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(world.shell("go version"), "mise has go version go1.21.4");
    let record: Value = serde_json::from_str(world.done(&["--json", "list", "go"]).trim()).unwrap();
    assert_eq!(record["manager"].as_str(), Some("mise"));
    assert_eq!(world.done(&["uninstall", "go", "1.21.4", "--force"]), "go 1.21.4 is removed\n");
    let kept = contents(&world.path("data/omg/mise/data/installs/go"));
    assert_eq!(kept.keys().filter(|path| path.ends_with("bin/go")).collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn what_mise_has_not_is_told_without_its_chatter() {
    let mut world = world();
    on_path(&mut world);
    let text = world.refused(&["use", "deno", "7"], 1);
    println!("{text}");
    assert!(text.contains("there is no deno 7"), "{text}");
    let text = world.refused(&["use", "nosuchtool", "2"], 1);
    println!("{text}");
    assert!(text.contains("nosuchtool"), "{text}");
    assert_eq!(text, "omg: there is no runtime nosuchtool: neither omg nor mise knows it\n");
    world.upstream.put("/dl.deno.land/release/v2.1.0/deno-x86_64-unknown-linux-gnu.zip", Served::Status(404));
    let output = world.command(&["use", "deno", "2.1.0"]).output().unwrap();
    println!("{}", said(&output));
    let text = String::from_utf8(output.stderr).unwrap();
    let start = "omg: mise: install deno@2.1.0 failed (exit status: 1): Failed to install core:deno@2.1.0: HTTP status";
    assert!(output.status.code() == Some(3) && text.starts_with(start), "{text}");
    assert_eq!(world.left(), [""; 0]);
}

#[test]
fn mise_is_fetched_where_there_is_none_and_only_as_its_maker_signed_it() {
    let world = world();
    let program = fs::read(cache().join("mise/bin/mise")).unwrap();
    let kept = world.path("data/omg/mise/mise");
    publish(&world, &Key::new("Stranger"), b"#!/bin/sh\necho stolen\n");
    let text = world.refused(&["use", "deno", "2"], 5);
    assert!(text.contains("none of the known release keys"), "{text}");
    println!("{text}");
    publish(&world, &world.key, b"#!/bin/sh\n");
    let path = format!("/jdx/mise/releases/download/{VERSION}/{NAME}");
    world.upstream.file(&path, b"#!/bin/sh\necho stolen\n".as_slice());
    let text = world.refused(&["use", "deno", "2"], 5);
    assert!(text.contains("SHA-256"), "{text}");
    println!("{text}");
    world.upstream.remove(&format!("/jdx/mise/releases/download/{VERSION}/SHASUMS256.asc"));
    let text = world.refused(&["use", "deno", "2"], 5);
    println!("{text}");
    assert!(text.contains("SHASUMS256.asc"), "{text}");
    assert_eq!((kept.exists(), world.left()), (false, vec![]));

    publish(&world, &world.key, &program);
    assert_eq!(world.done(&["use", "deno", "2"]), "deno 2.1.4 is installed, and is the current version\n");
    assert_eq!(sha256(&fs::read(&kept).unwrap()), sha256(&program));
    assert_eq!(world.shell("deno"), "deno 2.1.4");
    // It is not fetched again.
    world.upstream.requests();
    world.done(&["use", "deno", "1"]);
    let asked: Vec<String> = world.upstream.requests().into_iter().map(|(path, _)| path).collect();
    assert!(!asked.is_empty() && !asked.iter().any(|path| path.contains("jdx/mise/releases")), "{asked:?}");
    // Nobody is told what is installed.
    assert!(!asked.iter().any(|path| path.contains("/api/track")), "{asked:?}");
    // Nor to remove something.
    fs::remove_file(&kept).unwrap();
    world.upstream.requests();
    world.done(&["uninstall", "deno", "2"]);
    assert_eq!((world.upstream.requests(), kept.exists()), (vec![], false));
}

#[test]
fn the_user_s_own_mise_is_left_alone_and_files_of_a_project_run_nothing() {
    let mut world = world();
    on_path(&mut world);
    let mark = world.path("ran");
    let hostile = format!(
        "[env]\nX = \"{{{{ exec(command='touch {0}') }}}}\"\n_.source = \"{1}\"\n[hooks]\nenter = \"touch {0}\"\n\
         postinstall = \"touch {0}\"\n[settings]\nurl_replacements = {{ \"https://deno.com\" = \"http://127.0.0.1:1\" }}\n\
         [tools]\ndeno = {{ version = \"2\", postinstall = \"touch {0}\" }}\n",
        mark.display(),
        world.path("source.sh").display()
    );
    fs::write(world.path("source.sh"), format!("touch {}\n", mark.display())).unwrap();
    for file in [
        "config/mise/config.toml",
        ".config/mise/config.toml",
        ".local/share/mise/installs/deno/1.0.0/bin/deno",
        "data/mise/plugins/deno/bin/list-all",
        ".mise.toml",
        ".default-npm-packages",
        "project/.mise.toml",
        "project/mise.local.toml",
    ] {
        fs::create_dir_all(world.path(file).parent().unwrap()).unwrap();
        fs::write(world.path(file), &hostile).unwrap();
    }
    // The user's own mise has other folders; omg's runs do not go there.
    for (name, folder) in [("MISE_DATA_DIR", "own-data"), ("MISE_CONFIG_DIR", "own-config")] {
        world.variables.push((name.to_owned(), world.path(folder).display().to_string()));
    }
    let folders = ["config/mise", ".config", ".local", "data/mise", "project", "own-data", "own-config"];
    let before = folders.map(|folder| contents(&world.path(folder)));
    world.done(&["use", "deno", "2"]);
    world.done(&["-q", "list", "deno", "--available"]);
    world.done(&["which", "deno"]);
    for arguments in [["env"], ["install"], ["current"]] {
        println!("{arguments:?}: {}", said(&world.command(&arguments).output().unwrap()));
    }
    world.done(&["uninstall", "deno", "2", "--force"]);
    assert!(!mark.exists());
    for (folder, before) in folders.iter().zip(before) {
        assert_eq!(contents(&world.path(folder)), before, "{folder}");
    }
    let mut top: Vec<String> =
        fs::read_dir(world.path("")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    top.sort();
    let ours = [
        ".config",
        ".default-npm-packages",
        ".local",
        ".mise.toml",
        "bin",
        "config",
        "data",
        "keys.asc",
        "project",
        "source.sh",
    ];
    assert_eq!(top, ours);
    assert_eq!(contents(&world.path("cache/mise")), BTreeMap::new());
}
