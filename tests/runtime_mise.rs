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
use std::path::{Path, PathBuf};
use std::process::Command;

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

/// A mise that answers what it is told to: each of its answers is a file beside it, in which `@` is its folder of what is
/// installed. What it is asked for is in `log`.
fn fake(world: &mut World) -> Fake {
    fs::create_dir(world.path("bin")).unwrap();
    let script = r#"#!/bin/sh
here=$(dirname "$0") installs=$MISE_DATA_DIR/installs
echo "$*" >>"$here/log"
say() { sed "s,@,$installs,g" "$here/$1"; }
case $1 in
install)
    folder=$installs/$(cat "$here/install")
    mkdir -p "$folder/bin"
    printf '#!/bin/sh\necho "$0 $*"\n' >"$folder/bin/tool"
    chmod +x "$folder/bin/tool" ;;
*) say "$1" ;;
esac
"#;
    let program = Tree::new().program("mise", script);
    fs::copy(program.path("mise"), world.path("bin/mise")).unwrap();
    let path = format!("{}:/usr/bin:/bin", world.path("bin").display());
    world.variables.push(("PATH".to_owned(), path));
    let fake = Fake(world.path("bin"));
    for (answer, text) in [
        ("latest", "2.1.4\n"),
        ("install", "tool/2.1.4"),
        (
            "ls",
            "[{\"version\": \"2.1.4\", \"install_path\": \"@/tool/2.1.4\", \"installed\": true, \"active\": false}]",
        ),
        ("bin-paths", "@/tool/2.1.4/bin\n"),
        ("env", "{}"),
        ("ls-remote", "[{\"version\": \"2.1.4\"}]"),
        ("uninstall", ""),
    ] {
        fake.says(answer, text);
    }
    fake
}

struct Fake(PathBuf);

impl Fake {
    fn says(&self, to: &str, text: &str) {
        fs::write(self.0.join(to), text).unwrap();
    }

    fn asked(&self) -> String {
        let asked = fs::read_to_string(self.0.join("log")).unwrap_or_default();
        let _ = fs::remove_file(self.0.join("log"));
        asked
    }
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
    let installed = world.path("data/omg/mise/data/installs/deno/2.1.4/.deno").display().to_string();
    assert_eq!(world.shell("printenv DENO_INSTALL_ROOT"), installed);
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
    let installed = world.path("data/omg/mise/data/installs/go/1.21.4").display().to_string();
    assert_eq!(world.shell("printenv GOROOT GOBIN"), format!("{installed}\n{installed}/bin"));
    assert_eq!(world.done(&["exec", "--", "printenv", "GOROOT"]), format!("{installed}\n"));
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

#[test]
fn what_mise_answers_has_to_be_what_it_was_asked_for() {
    let mut world = world();
    let fake = fake(&mut world);
    for (request, answer, told) in [
        ("2", "1.46.3", "asked for tool 2, it answers 1.46.3"),
        ("2.1.4", "2.1.5", "asked for tool 2.1.4, it answers 2.1.5"),
        ("2.1", "2.10.0", "asked for tool 2.1, it answers 2.10.0"),
        (">=2 <2.1", "2.1.4", "asked for tool >=2 <2.1, it answers 2.1.4"),
        ("latest", "3.0.0-rc.1", "asked for tool latest, it answers 3.0.0-rc.1"),
        ("2", "../../2", "asked for tool 2, it answers ../../2"),
        ("2", "$(touch pwned)\u{1b}[31m", "asked for tool 2, it answers $(touch pwned)\\u{1b}[31m"),
    ] {
        fake.says("latest", answer);
        let text = world.refused(&["use", "tool", request], 3);
        println!("{text}");
        assert!(text.starts_with(&format!("omg: mise: {told}: nothing was taken over; look whether ")), "{text}");
        assert!(!fake.asked().contains("install"), "{request}");
    }
    fake.says("latest", "2.1.4");
    // Another version than was answered, and none at all.
    for (installed, listed, told) in [
        (
            "tool/1.46.3",
            r#"[{"version": "1.46.3", "install_path": "@/tool/1.46.3", "installed": true}]"#,
            "it was to install tool@2.1.4, says that it did, and has 1.46.3 of tool",
        ),
        (
            "tool/1.46.3",
            r#"[{"version": "2.1.4", "install_path": "@/tool/2.1.4", "installed": false}]"#,
            "it was to install tool@2.1.4, says that it did, and has nothing of tool",
        ),
        (
            "tool/1.46.3",
            r#"[{"version": "2.1.4", "install_path": "@/tool/2.1.4", "installed": true}]"#,
            "it was to install tool@2.1.4, says that it did, and has 2.1.4 of tool",
        ),
        ("tool/2.1.4", "no list", "its list of what is installed is not readable"),
    ] {
        fake.says("install", installed);
        fake.says("ls", listed);
        let text = world.refused(&["use", "tool", "2"], 3);
        println!("{text}");
        assert!(text.contains(&format!("omg: mise: {told}")), "{text}");
        assert_eq!(world.left(), [""; 0]);
    }
    fake.says("ls", r#"[{"version": "2.1.4", "install_path": "@/tool/2.1.4", "installed": true}]"#);
    fake.says("bin-paths", "@/tool/1.46.3/bin\n");
    let text = world.refused(&["use", "tool", "2"], 3);
    assert!(text.contains("tool/1.46.3/bin, which is not its folder: nothing was taken over"), "{text}");
    assert_eq!(world.left(), [""; 0]);
    for list in [r#"[{"version": "$(x)"}, {"version": "\u001b[31m"}]"#, "[{\"no\": 1}]", "<html>"] {
        fake.says("ls-remote", list);
        let text = world.refused(&["list", "tool", "--available"], 3);
        println!("{text}");
        assert!(text.starts_with("omg: mise: ") && !text.contains('\u{1b}'), "{text}");
    }
    // With all of it right.
    fake.says("bin-paths", "@/tool/2.1.4/bin\n");
    assert_eq!(world.done(&["use", "tool", "2"]), "tool 2.1.4 is installed, and is the current version\n");
}

#[test]
fn what_mise_would_set_is_taken_by_known_names_for_its_own_folders_only_and_is_said_in_quotes() {
    let mut world = world();
    let fake = fake(&mut world);
    let hostile = r#"it's $(touch pwned) `touch pwned` \"; touch pwned; \""#;
    let lines = ["PATH", "LD_PRELOAD", "LD_LIBRARY_PATH", "BASH_ENV", "ENV", "ZDOTDIR", "PROMPT_COMMAND", "PYTHONPATH"]
        .map(|name| format!("\"{name}\": \"@/tool/2.1.4\",\n"));
    fake.says(
        "env",
        &format!(
            "{{{}\"$(touch pwned)\": \"@/x\", \"X; touch pwned\": \"@/x\",\n\"GOROOT\": \"@/tool/2.1.4/{hostile}\",\n\
             \"DOTNET_ROOT\": \"@/tool/2.1.4\\nexport X=1\",\n\"MAVEN_HOME\": \"/etc\", \"GOBIN\": \"@/../../../../../../etc\",\n\
             \"GRADLE_HOME\": \"$(touch pwned)\", \"JAVA_HOME\": \"@/tool/2.1.4/jvm\"}}",
            lines.concat()
        ),
    );
    fs::write(world.path("project/.tool-versions"), "tool 2\n").unwrap();
    world.done(&["install"]);
    assert!(fake.asked().contains("env --json tool@2.1.4"));
    let root = world.versions().join("tool/2.1.4");
    let goroot = world.path("data/omg/mise/data/installs/tool/2.1.4").join(hostile.replace("\\\"", "\""));
    let (goroot, java) = (goroot.display().to_string(), root.join("home").display().to_string());
    assert_eq!(fs::read_link(&java).unwrap(), world.path("data/omg/mise/data/installs/tool/2.1.4/jvm"));
    let answer: Value = serde_json::from_str(&world.done(&["--json", "env"])).unwrap();
    assert_eq!(answer["variables"], serde_json::json!({"GOROOT": goroot, "JAVA_HOME": java}));
    assert_eq!(answer["changes"]["set"], answer["variables"]);
    let both = format!("{goroot}\n{java}\n");
    assert_eq!(world.done(&["exec", "--", "printenv", "GOROOT", "JAVA_HOME"]), both);
    // Entered and left, with a value of the user's own and without.
    let outside = world.path("");
    for (shell, options, leave) in [
        ("bash", &["--norc", "-c"][..], "eval \"$(@ env --shell bash)\""),
        ("zsh", &["-fc"], "eval \"$(@ env --shell zsh)\""),
        ("fish", &["--no-config", "-c"], "@ env --shell fish | source"),
    ] {
        for own in [None, Some("/usr/lib/go")] {
            let env = leave.replace('@', real_runtimes::OMG);
            let script = format!(
                "{env}\nprintenv GOROOT\nprintenv JAVA_HOME\ncd '{}'\n{env}\nprintenv GOROOT\nprintenv JAVA_HOME\nexit 0",
                outside.display()
            );
            let mut command = Command::new("env");
            let of_omg = world.command(&[]);
            command.current_dir(world.path("project")).env_clear();
            command.envs(of_omg.get_envs().filter_map(|(name, value)| Some((name, value?))));
            command.envs(own.map(|own| ("GOROOT", own))).arg(shell).args(options).arg(script);
            let output = command.output().unwrap();
            let expected = format!("{both}{}", own.map(|own| format!("{own}\n")).unwrap_or_default());
            assert_eq!(said(&output), expected, "{shell} {own:?}");
        }
    }
    // mise was not run for any of it, and nothing that it said was.
    assert_eq!(fake.asked(), "");
    assert!(!world.path("project/pwned").exists() && !world.path("pwned").exists());
}
