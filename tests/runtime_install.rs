//! Versions of runtimes, from their upstreams' layouts to programs that run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/upstreams.rs"]
mod upstreams;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use upstreams::{Key, Served, Upstream, packed, sha256};

const OMG: &str = env!("CARGO_BIN_EXE_omg");
const OMGD: &str = env!("CARGO_BIN_EXE_omgd");

/// A user, and an upstream that has Node.js.
struct World {
    home: TempDir,
    upstream: Upstream,
    key: Key,
    releases: Vec<(String, Option<&'static str>)>,
}

impl World {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let world = Self { home, upstream: Upstream::new(), key: Key::new("Releaser"), releases: Vec::new() };
        fs::create_dir_all(world.path("config/omg")).unwrap();
        fs::write(world.path("keys.asc"), world.key.public()).unwrap();
        world.configure("");
        world
    }

    fn path(&self, below: &str) -> PathBuf {
        self.home.path().join(below)
    }

    fn configure(&self, more: &str) {
        let text = format!(
            "backend = \"none\"\n{more}\n[runtimes.node]\nurl = \"{}/dist\"\nkeys = \"{}\"\n",
            self.upstream.address(),
            self.path("keys.asc").display()
        );
        fs::write(self.path("config/omg/config.toml"), text).unwrap();
    }

    /// The archive of a release of Node.js: programs that tell their version.
    fn archive(version: &str) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let bin = folder.path().join("bin");
        let module = folder.path().join("lib/node_modules/npm/bin");
        fs::create_dir_all(&bin).unwrap();
        fs::create_dir_all(&module).unwrap();
        for (file, text) in [
            (bin.join("node"), format!("#!/bin/sh\necho v{version}\n")),
            (module.join("npm-cli.js"), "#!/bin/sh\necho npm of \"$(\"$(dirname \"$0\")/node\")\"\n".to_owned()),
        ] {
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        symlink("../lib/node_modules/npm/bin/npm-cli.js", bin.join("npm")).unwrap();
        packed(folder.path(), &format!("node-v{version}-linux-x64"), "--xz")
    }

    /// Publishes a release as the upstream does.
    fn publish(&mut self, version: &str, lts: Option<&'static str>) -> Vec<u8> {
        let archive = Self::archive(version);
        self.releases.insert(0, (version.to_owned(), lts));
        self.offer(version, &archive, &self.key);
        self.index();
        archive
    }

    fn index(&self) {
        let index: Vec<Value> = self
            .releases
            .iter()
            .map(|(version, lts)| {
                json!({
                    "version": format!("v{version}"), "date": "2025-01-02", "files": ["linux-x64", "linux-arm64", "src"],
                    "npm": "10.0.0", "lts": lts.map_or(json!(false), |lts| json!(lts)), "security": false,
                })
            })
            .collect();
        self.upstream.file("/dist/index.json", serde_json::to_vec(&index).unwrap());
    }

    fn file_of(version: &str) -> (String, String) {
        let name = format!("node-v{version}-linux-x64.tar.xz");
        (format!("/dist/v{version}/{name}"), name)
    }

    fn offer(&self, version: &str, archive: &[u8], key: &Key) {
        let (path, name) = Self::file_of(version);
        let listing = format!("{}  {name}\n{}  node-v{version}.pkg\n", sha256(archive), "0".repeat(64));
        self.upstream.file(&format!("/dist/v{version}/SHASUMS256.txt"), listing.clone());
        self.upstream.file(&format!("/dist/v{version}/SHASUMS256.txt.asc"), key.cleartext(&listing));
        self.upstream.file(&path, archive);
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(OMG);
        fs::create_dir_all(self.path("project")).unwrap();
        command.args(arguments).current_dir(self.path("project")).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", self.home.path());
        for (name, folder) in [("XDG_CONFIG_HOME", "config"), ("XDG_DATA_HOME", "data"), ("XDG_CACHE_HOME", "cache")] {
            command.env(name, self.path(folder));
        }
        command.env("OMG_DAEMON", OMGD).env("SHELL", "/bin/bash").stdin(Stdio::null());
        command
    }

    fn omg(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What it prints; it has to succeed.
    fn done(&self, arguments: &[&str]) -> String {
        let output = self.omg(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// What it says on standard error; it has to end with this code.
    fn refused(&self, arguments: &[&str], code: i32) -> String {
        let output = self.omg(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", said(&output));
        String::from_utf8(output.stderr).unwrap()
    }

    fn versions(&self) -> PathBuf {
        self.path("data/omg/versions")
    }

    /// What a program of the current version prints.
    fn runs(&self, program: &str) -> String {
        let output = Command::new(self.versions().join("node/current/bin").join(program)).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn installed(&self) -> Vec<String> {
        let text = self.done(&["list", "node"]);
        text.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect()
    }

    /// Whatever is not a version: what interrupted work left.
    fn left(&self) -> Vec<String> {
        let entries = fs::read_dir(self.versions().join(".work")).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_version_is_found_fetched_checked_and_used_and_the_next_use_asks_nobody() {
    let mut world = World::new();
    for (version, lts) in
        [("18.20.0", Some("Hydrogen")), ("20.9.0", Some("Iron")), ("20.11.1", Some("Iron")), ("21.6.0", None)]
    {
        world.publish(version, lts);
    }
    let text = world.done(&["use", "node", "20"]);
    assert_eq!(text, "node 20.11.1 is installed, and is the current version\n");
    assert_eq!((world.runs("node"), world.installed()), ("v20.11.1".to_owned(), vec!["20.11.1".to_owned()]));
    assert_eq!(world.left(), [""; 0]);
    world.upstream.requests();
    assert_eq!(world.done(&["use", "node", "20"]), "node 20.11.1 was installed already, and is the current version\n");
    assert_eq!(world.upstream.requests(), []);
    for (request, version) in
        [("lts/hydrogen", "18.20.0"), ("lts", "20.11.1"), ("latest", "21.6.0"), ("^20 <20.10", "20.9.0")]
    {
        world.done(&["use", "node", request]);
        assert_eq!(world.runs("node"), format!("v{version}"), "{request}");
    }
    assert_eq!(world.installed(), ["18.20.0", "20.9.0", "20.11.1", "21.6.0"]);
    let record: Value = serde_json::from_str(world.done(&["--json", "list", "node"]).lines().nth(2).unwrap()).unwrap();
    let checks: Vec<&str> =
        record["parts"][0]["checks"].as_array().unwrap().iter().map(|check| check.as_str().unwrap()).collect();
    assert!(checks.iter().any(|check| check.contains(&world.key.fingerprint())), "{checks:?}");
}

#[test]
fn a_line_of_support_that_only_the_index_knew_is_known_afterwards() {
    let mut world = World::new();
    for (version, lts) in
        [("26.1.0", None), ("26.9.0", Some("Lithium")), ("24.12.0", Some("Krypton")), ("27.0.0", None)]
    {
        world.publish(version, lts);
    }
    fs::create_dir_all(world.path("project")).unwrap();
    for (asked, version) in
        [("lts/-1", "24.12.0"), ("lts/*", "26.9.0"), ("lts/lithium", "26.9.0"), ("lts/-1", "24.12.0")]
    {
        fs::write(world.path("project/.nvmrc"), asked).unwrap();
        world.done(&["install"]);
        world.upstream.requests();
        assert_eq!(world.done(&["exec", "--", "node"]), format!("v{version}\n"), "{asked}");
        assert_eq!(world.done(&["current", "node"]).split('\t').nth(1), Some(version), "{asked}");
        assert_eq!(world.upstream.requests(), [], "{asked}");
    }
    // Removed by that name, too, and by the count back from it.
    fs::remove_file(world.path("project/.nvmrc")).unwrap();
    let text = world.refused(&["uninstall", "node", "lts"], 2);
    assert!(text.contains("node lts is several versions: 24.12.0, 26.9.0; name one, or --all"), "{text}");
    let text = world.refused(&["uninstall", "node", "lts/helium"], 1);
    assert_eq!(text, "omg: node lts/helium is not installed; installed: 24.12.0, 26.9.0\n");
    assert_eq!(world.done(&["uninstall", "node", "lts/-1"]), "node 24.12.0 is removed\n");
    assert_eq!(world.done(&["uninstall", "node", "lts/lithium"]), "node 26.9.0 is removed\n");
    assert_eq!(world.installed(), [""; 0]);
}

#[test]
fn a_command_gets_the_versions_that_it_is_to_run_with() {
    let mut world = World::new();
    world.publish("20.9.0", Some("Iron"));
    world.publish("21.6.0", None);
    let text = world.refused(&["exec", "--no-install", "node@20", "--", "node"], 1);
    assert_eq!(text, "omg: node 20 is not installed: omg use node 20\n");
    let output = world.omg(&["exec", "node@20", "--", "node"]);
    assert_eq!((output.status.code(), String::from_utf8(output.stdout).unwrap()), (Some(0), "v20.9.0\n".to_owned()));
    assert!(String::from_utf8(output.stderr).unwrap().contains("omg: node 20.9.0 is installed\n"));
    // Nothing else changes for anybody.
    assert!(!world.versions().join("node/current").exists());
    let text = world.refused(&["exec", "node@3", "--", "node"], 1);
    assert!(text.contains("there is no node 3"), "{text}");
    // What a folder asks for is installed where somebody says so.
    fs::write(world.path("project/.nvmrc"), "21").unwrap();
    let text = world.refused(&["exec", "--", "node"], 1);
    assert_eq!(text, "omg: node 21 (.nvmrc) is not installed: omg install\n");
    assert_eq!(world.installed(), ["20.9.0"]);
}

#[test]
fn names_and_versions_of_runtimes_are_completed() {
    let mut world = World::new();
    world.publish("20.9.0", Some("Iron"));
    world.publish("21.6.0", None);
    world.done(&["use", "node", "20"]);
    let lines = |arguments: &[&str]| world.done(arguments).lines().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(lines(&["complete", "--runtimes"]), ["bun", "go", "java", "node", "python", "ruby", "rust"]);
    assert_eq!(lines(&["complete", "--runtimes", "r"]), ["ruby", "rust"]);
    assert_eq!(lines(&["complete", "--versions-of", "node"]), ["20.9.0"]);
    assert_eq!(lines(&["complete", "--versions-of", "node", "--available"]), ["latest", "lts", "20.9.0", "21.6.0"]);
    assert_eq!(lines(&["complete", "--versions-of", "node", "--available", "21"]), ["21.6.0"]);
    assert_eq!(lines(&["complete", "--versions-of", "$(id)"]), [""; 0]);

    for (shell, file) in [("bash", "omg.bash"), ("fish", "omg.fish"), ("zsh", "_omg")] {
        fs::write(world.path(file), world.done(&["completions", shell])).unwrap();
    }
    let bin = Path::new(OMG).parent().unwrap().display().to_string();
    let bash = |words: &str| {
        let commands = format!(
            "source '{}'; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _omg_packages omg \"${{COMP_WORDS[-1]}}\" \"${{COMP_WORDS[-2]}}\"; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            world.path("omg.bash").display()
        );
        let command = world.command(&[]);
        let mut shell = Command::new("bash");
        shell.args(["--norc", "-c", &commands]).env_clear();
        shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let output = shell.env("PATH", format!("{bin}:/usr/bin:/bin")).output().unwrap();
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(bash("omg use n"), ["node"]);
    assert_eq!(bash("omg use node 2"), ["20.9.0", "21.6.0"]);
    assert_eq!(bash("omg --json uninstall node ''"), ["20.9.0"]);
    assert_eq!(bash("omg use --profile minimal node 21"), ["21.6.0"]);
    assert_eq!(bash("omg current ''"), ["bun", "go", "java", "node", "python", "ruby", "rust"]);
    assert_eq!(bash("omg uninstall node --fo"), ["--force"]);
    let mut fish = Command::new("fish");
    fish.args(["--no-config", "-c"]).env_clear();
    fish.envs(world.command(&[]).get_envs().filter_map(|(name, value)| Some((name, value?))));
    fish.arg(format!(
        "source '{}'; complete -C 'omg use n'; complete -C 'omg pin node 2'",
        world.path("omg.fish").display()
    ));
    let output = fish.env("PATH", format!("{bin}:/usr/bin:/bin")).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "node\n20.9.0\n21.6.0\n");
    let script = fs::read_to_string(world.path("_omg")).unwrap();
    assert!(script.contains(":_omg_runtimes' \\\n") && script.contains(":_omg_versions' \\\n"));
}

#[test]
fn what_cannot_be_had_says_what_and_what_there_is() {
    let mut world = World::new();
    world.publish("20.9.0", Some("Iron"));
    let text = world.refused(&["use", "node", "3"], 1);
    assert!(text.contains("there is no node 3; the newest is 20.9.0"), "{text}");
    let text = world.refused(&["use", "node", "$(touch x)"], 2);
    assert!(text.contains("node") && !world.path("project/x").exists(), "{text}");
    let text = world.refused(&["use", "no/de", "20"], 2);
    assert!(text.contains("\"no/de\" is no name of a runtime"), "{text}");
    assert_eq!(
        fs::read_dir(world.path("data/omg"))
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.file_name() == "versions")
            .count(),
        0
    );
}

#[test]
fn nothing_is_installed_that_is_not_what_its_maker_published() {
    let mut world = World::new();
    let archive = world.publish("20.9.0", None);
    let (path, name) = World::file_of("20.9.0");
    // Another archive than the listing has.
    world.upstream.file(&path, World::archive("20.9.1"));
    let text = world.refused(&["use", "node", "20"], 5);
    assert!(text.contains("SHA-256"), "{text}");
    // The listing is of somebody else.
    world.offer("20.9.0", &archive, &Key::new("Stranger"));
    let text = world.refused(&["use", "node", "20"], 5);
    assert!(text.contains("none of the known release keys"), "{text}");
    // The listing was changed after it was signed.
    let listing = format!("{}  {name}\n", sha256(&archive));
    let signed = String::from_utf8(world.key.cleartext(&listing)).unwrap();
    let changed = signed.replace(&sha256(&archive), &sha256(b"other"));
    world.upstream.file("/dist/v20.9.0/SHASUMS256.txt.asc", changed.clone());
    let text = world.refused(&["use", "node", "20"], 5);
    assert!(text.contains("does not belong to this content"), "{text}");
    let text = world.refused(&["use", "node", "20", "--allow-unverified"], 5);
    assert!(text.contains("does not belong to this content"), "{text}");
    // There is none.
    world.upstream.remove("/dist/v20.9.0/SHASUMS256.txt.asc");
    let text = world.refused(&["use", "node", "20"], 5);
    assert!(text.contains("--allow-unverified"), "{text}");
    assert_eq!((world.installed(), world.left()), (vec![], vec![]));
    // It is taken all the same, which is logged and shown.
    world.done(&["use", "node", "20", "--allow-unverified"]);
    assert_eq!(world.runs("node"), "v20.9.0");
    let log = fs::read_to_string(world.path("data/omg/audit/audit.jsonl")).unwrap();
    assert!(log.contains("\"what\":\"unverified\"") && log.contains("node 20"), "{log}");
    assert!(world.done(&["--json", "list", "node"]).contains("\"unverified\":true"));
}

#[test]
fn a_release_of_which_nothing_is_there_is_not_offered_to_be_taken_unverified() {
    let mut world = World::new();
    world.publish("20.9.0", None);
    for file in ["SHASUMS256.txt", "SHASUMS256.txt.asc"] {
        world.upstream.remove(&format!("/dist/v20.9.0/{file}"));
    }
    for arguments in [&["use", "node", "20"][..], &["use", "node", "20", "--allow-unverified"]] {
        let text = world.refused(arguments, 1);
        assert!(text.contains("node 20.9.0 is not there: the server has neither "), "{text}");
        assert!(text.ends_with("; try another mirror, or another version\n"), "{text}");
    }
    assert_eq!((world.installed(), world.left()), (vec![], vec![]));
}

#[test]
fn of_several_versions_that_cannot_be_had_each_is_told() {
    let mut world = World::new();
    for version in ["20.9.0", "22.1.0"] {
        world.publish(version, None);
    }
    fs::create_dir_all(world.path("project")).unwrap();
    let nobody = "url = \"http://127.0.0.1:9\"";
    world.configure(&format!("[runtimes.bun]\n{nobody}\n[runtimes.mise]\n{nobody}"));
    fs::write(world.path("project/.tool-versions"), "node 20\nbun 1\n").unwrap();
    fs::write(world.path("project/.python-version"), "$(x)\n").unwrap();
    let text = world.refused(&["install"], 4);
    assert!(text.contains("bun 1: ") && text.contains("cannot be reached: "), "{text}");
    assert!(text.contains("; is there a network?"), "{text}");
    assert_eq!(world.installed(), ["20.9.0"]);
    fs::write(world.path("project/.tool-versions"), "node 3\nbun 1\n").unwrap();
    let text = world.refused(&["install"], 1);
    assert!(text.contains("omg: node 3: there is no node 3; the newest is 22.1.0\n  bun 1: "), "{text}");
    // What can be is installed, and what is not understood makes it no success.
    fs::write(world.path("project/.tool-versions"), "node 22\n").unwrap();
    let text = world.refused(&["install"], 2);
    assert!(text.contains("omg: left out was what cannot be read: ") && text.contains(".python-version:1: "), "{text}");
    assert_eq!(world.installed(), ["20.9.0", "22.1.0"]);
    assert_eq!(world.done(&["use", "node@20"]), "node 20.9.0 was installed already, and is the current version\n");
    assert_eq!(world.done(&["uninstall", "node@22"]), "node 22.1.0 is removed\n");
    let text = world.refused(&["list", "node", "77", "--available"], 1);
    assert_eq!(text, "omg: there is no node 77; omg list node --available lists those there are\n");
    let text = world.refused(&["uninstall", "ripgrep"], 1);
    assert_eq!(text, "omg: no version of ripgrep is installed; omg remove removes packages\n");
    let text = world.refused(&["uninstall", "node"], 2);
    assert_eq!(text, "omg: which version of node? omg list node lists them\n");
    let text = world.refused(&["use", "nod", "20"], 4);
    assert!(text.contains("nod is none of the runtimes that omg installs itself; did you mean node?"), "{text}");
}

#[test]
fn a_server_that_lies_is_told_as_what_it_does() {
    let mut world = World::new();
    let archive = world.publish("20.9.0", None);
    let (path, _) = World::file_of("20.9.0");
    world.upstream.put(&path, Served::Page);
    let text = world.refused(&["use", "node", "20"], 4);
    assert!(text.contains("web page"), "{text}");
    world.upstream.put(&path, Served::Redirect(path.clone()));
    let text = world.refused(&["use", "node", "20"], 4);
    assert!(text.contains("leads"), "{text}");
    world.upstream.put(&path, Served::Status(404));
    let text = world.refused(&["use", "node", "20"], 1);
    assert!(text.contains("is not there"), "{text}");
    // Cut each time: resumed where it ended, until all of it is there.
    world.upstream.put(&path, Served::Cut(archive.clone(), archive.len() / 2));
    world.upstream.requests();
    world.done(&["use", "node", "20"]);
    let ranges: Vec<String> = world
        .upstream
        .requests()
        .into_iter()
        .filter(|(asked, _)| *asked == path)
        .filter_map(|(_, range)| range)
        .collect();
    assert_eq!(ranges, [format!("bytes={}-", archive.len() / 2)]);
    assert_eq!(world.runs("node"), "v20.9.0");
}

#[test]
fn without_a_network_what_is_there_is_used_and_what_is_not_is_refused() {
    let mut world = World::new();
    world.publish("20.9.0", Some("Iron"));
    world.done(&["use", "node", "20"]);
    world.configure("runtimes.offline = true");
    world.upstream.requests();
    assert_eq!(world.done(&["use", "node", "20"]), "node 20.9.0 was installed already, and is the current version\n");
    let text = world.refused(&["use", "node", "18"], 1);
    assert!(text.contains("there is no node 18"), "{text}");
    // Of what was fetched before nothing is asked for again.
    world.done(&["uninstall", "node", "20", "--force"]);
    assert_eq!(world.installed(), [""; 0]);
    let text = world.refused(&["use", "node", "20"], 4);
    assert!(text.contains("offline"), "{text}");
    assert_eq!(world.upstream.requests(), []);
}

#[test]
fn two_at_once_do_the_work_once() {
    let mut world = World::new();
    let archive = world.publish("20.9.0", None);
    let (path, _) = World::file_of("20.9.0");
    world.upstream.put(&path, Served::Slow(archive, Duration::from_millis(300)));
    let started: Vec<_> = (0..3)
        .map(|_| world.command(&["use", "node", "20"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
        .collect();
    let outputs: Vec<Output> = started.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    for output in &outputs {
        assert!(output.status.success(), "{}", said(output));
    }
    let new = outputs.iter().filter(|output| said(output).contains("node 20.9.0 is installed")).count();
    let fetched = world.upstream.requests().into_iter().filter(|(asked, _)| *asked == path).count();
    assert_eq!((new, fetched), (1, 1));
    assert_eq!(world.runs("node"), "v20.9.0");
}

#[test]
fn an_installation_that_is_killed_at_any_point_leaves_the_old_state_or_the_new_one() {
    let mut world = World::new();
    world.publish("18.20.0", None);
    world.done(&["use", "node", "18"]);
    let archive = world.publish("20.9.0", None);
    let (path, _) = World::file_of("20.9.0");
    world.upstream.put(&path, Served::Slow(archive, Duration::from_millis(20)));
    let seed: u64 = std::env::var("OMG_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(5);
    println!("OMG_TEST_SEED={seed}");
    let mut random = seed;
    for _ in 0..25 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let delay = Duration::from_millis((random >> 33) % 250);
        // A daemon of its own, so that it and everything that it started can be killed.
        let mut command = world.command(&["use", "node", "20"]);
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(delay);
        kill_family(child.id());
        child.wait().unwrap();
        let installed = world.installed();
        assert!(["18.20.0", "18.20.0 20.9.0"].contains(&installed.join(" ").as_str()), "{installed:?} after {delay:?}");
        let current = world.runs("node");
        assert!(["v18.20.0", "v20.9.0"].contains(&current.as_str()), "{current} after {delay:?}");
        if installed.len() == 2 {
            let program = world.versions().join("node/20.9.0/bin/node");
            assert_eq!(Command::new(program).output().unwrap().stdout, b"v20.9.0\n");
            world.done(&["use", "node", "18"]);
            world.done(&["uninstall", "node", "20"]);
        }
    }
    world.done(&["use", "node", "20"]);
    assert_eq!((world.runs("node"), world.left()), ("v20.9.0".to_owned(), vec![]));
}

/// Kills a process, and its children first found.
fn kill_family(pid: u32) {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    for child in children.split_whitespace() {
        kill_family(child.parse().unwrap());
    }
    if let Some(pid) = rustix::process::Pid::from_raw(pid.cast_signed()) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

#[test]
fn an_active_version_stays_and_a_name_for_several_is_asked_about() {
    let mut world = World::new();
    for version in ["18.1.0", "18.2.0", "20.9.0"] {
        world.publish(version, None);
        world.done(&["use", "node", version]);
    }
    let text = world.refused(&["uninstall", "node", "20"], 2);
    assert!(text.contains("node 20.9.0 is the current one; --force removes it all the same"), "{text}");
    let text = world.refused(&["uninstall", "node", "18"], 2);
    assert!(text.contains("node 18 is several versions: 18.1.0, 18.2.0; name one, or --all"), "{text}");
    // All or none, whichever of them is the current one.
    for current in ["18.1.0", "18.2.0"] {
        world.done(&["use", "node", current]);
        let text = world.refused(&["uninstall", "node", "18", "--all"], 2);
        assert_eq!(text, format!("omg: node {current} is the current one; --force removes it all the same\n"));
        assert_eq!(world.installed(), ["18.1.0", "18.2.0", "20.9.0"]);
    }
    world.done(&["use", "node", "20.9.0"]);
    assert_eq!(world.done(&["uninstall", "node", "18.1.0"]), "node 18.1.0 is removed\n");
    let text = world.refused(&["uninstall", "node", "18.1"], 1);
    assert!(text.contains("installed: 18.2.0, 20.9.0"), "{text}");
    assert_eq!(world.installed(), ["18.2.0", "20.9.0"]);
}

#[test]
fn a_project_is_installed_whole_and_what_it_asks_for_is_explained_pinned_and_not_pruned() {
    let mut world = World::new();
    for version in ["18.1.0", "20.9.0", "22.1.0"] {
        world.publish(version, None);
    }
    world.done(&["use", "node", "22"]);
    fs::create_dir_all(world.path("project")).unwrap();
    fs::write(world.path("project/.nvmrc"), "v18\n").unwrap();
    fs::write(world.path("project/package.json"), "{\n  \"engines\": {\"node\": \">=20\"}\n}\n").unwrap();
    let text = world.refused(&["which", "node"], 1);
    assert!(text.contains("node 18 (.nvmrc) is not installed: omg install"), "{text}");
    assert_eq!(world.done(&["install"]), "node 18.1.0 is installed\n");
    let text = world.done(&["which", "node", "--explain"]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], world.versions().join("node/18.1.0/bin/node").to_str().unwrap());
    assert!(lines[1].ends_with("project/.nvmrc:1 asks for 18"), "{text}");
    assert!(lines[2].contains("package.json:2 asks for >=20"), "{text}");
    let text = world.done(&["exec", "--", "node"]);
    assert_eq!(text, "v18.1.0\n");
    let text = world.done(&["--json", "current"]);
    let current: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((current["version"].as_str(), current["why"].as_str()), (Some("18.1.0"), Some("file")));
    // The file keeps its way of writing.
    world.done(&["pin", "node", "20.9.0"]);
    assert_eq!(fs::read_to_string(world.path("project/.nvmrc")).unwrap(), "v20.9.0\n");
    world.done(&["install"]);
    assert_eq!(world.done(&["prune", "--dry-run"]), "node 18.1.0\n");
    world.refused(&["prune"], 2);
    world.done(&["prune", "-y"]);
    assert_eq!(world.installed(), ["20.9.0", "22.1.0"]);
}

#[test]
fn what_there_is_to_install_is_listed_the_newest_first() {
    let mut world = World::new();
    for (version, lts) in [("18.1.0", Some("Hydrogen")), ("20.9.0", Some("Iron")), ("21.0.0", None)] {
        world.publish(version, lts);
    }
    world.done(&["use", "node", "20"]);
    let text = world.done(&["list", "node", "--available"]);
    assert_eq!(text, "21.0.0\t\t2025-01-02\t\n20.9.0\tiron\t2025-01-02\tinstalled\n18.1.0\thydrogen\t2025-01-02\t\n");
    assert_eq!(world.done(&["-q", "list", "node", "lts", "--available"]), "20.9.0\n18.1.0\n");
    // What the index says is remembered.
    world.upstream.put("/dist/index.json", Served::Status(500));
    assert_eq!(world.done(&["-q", "list", "node", "18", "--available"]), "18.1.0\n");
}

#[test]
fn an_interrupt_ends_an_installation_and_leaves_nothing_half_done() {
    let mut world = World::new();
    let archive = world.publish("20.9.0", None);
    let (path, _) = World::file_of("20.9.0");
    world.upstream.put(&path, Served::Slow([archive, vec![0; 4 << 20]].concat(), Duration::from_millis(100)));
    let mut child = world.command(&["use", "node", "20"]).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while !world.upstream.requests().iter().any(|(asked, _)| *asked == path) {
        assert!(Instant::now() < until && child.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(20));
    }
    let pid = rustix::process::Pid::from_raw(child.id().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", said(&output));
    assert_eq!((world.installed(), world.left()), (vec![], vec![]));
}

#[test]
fn an_archive_that_leads_out_of_its_folder_is_refused() {
    let world = {
        let mut world = World::new();
        world.publish("20.9.0", None);
        world
    };
    let folder = tempfile::tempdir().unwrap();
    symlink(Path::new("../../../../../out"), folder.path().join("bin")).unwrap();
    let archive = packed(folder.path(), "node-v20.9.0-linux-x64", "--xz");
    world.offer("20.9.0", &archive, &world.key);
    let text = world.refused(&["use", "node", "20"], 5);
    assert!(text.contains("node-v20.9.0-linux-x64.tar.xz: "), "{text}");
    assert_eq!((world.installed(), world.left()), (vec![], vec![]));
}
