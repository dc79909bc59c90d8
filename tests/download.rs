//! `omg download` from archives on the loopback interface and on the disk, beside `apt-get download`.

#![cfg(feature = "debian")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, dead_code)]

#[path = "support/apt_root.rs"]
mod apt_root;
#[path = "support/deb_archive.rs"]
mod deb_archive;
#[path = "support/debian_root.rs"]
mod debian_root;
#[path = "support/http_archive.rs"]
mod http_archive;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use apt_root::AptRoot;
use deb_archive::{Key, deb};
use http_archive::{Server, Serving};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Two signed archives, and the key that signed them. Made once.
struct Archives {
    folder: PathBuf,
}

fn archives() -> &'static Archives {
    static ARCHIVES: OnceLock<Archives> = OnceLock::new();
    ARCHIVES.get_or_init(|| {
        // Left for the next run to replace: nothing runs at the end of a test program.
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("download");
        let _ = fs::remove_dir_all(&folder);
        let key = Key::new();
        for (suite, version) in [("one", "1"), ("two", "1:2+b~1")] {
            let archive = folder.join(suite);
            fs::create_dir_all(&archive).unwrap();
            for name in ["omgt-a", "omgt-needs", "omgt-wrong", "omgt-missing"] {
                let package = deb(name, version).file("/usr/share/large", &"large ".repeat(50_000));
                let package = if name == "omgt-needs" {
                    package.field("Depends: omgt-nowhere").field("Conflicts: omgt-a")
                } else {
                    package
                };
                package.build(&archive);
            }
            key.publish(&archive, suite);
            // What the list promises is not what is there.
            let wrong = archive.join(format!("omgt-wrong_{version}_all.deb"));
            let mut bytes = fs::read(&wrong).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            fs::write(&wrong, bytes).unwrap();
            fs::remove_file(archive.join(format!("omgt-missing_{version}_all.deb"))).unwrap();
        }
        let unsigned = folder.join("unsigned");
        fs::create_dir_all(&unsigned).unwrap();
        deb("omgt-unsigned", "1").build(&unsigned);
        key.publish(&unsigned, "unsigned");
        for file in ["Release", "InRelease"] {
            fs::remove_file(unsigned.join(file)).unwrap();
        }
        fs::write(folder.join("key.gpg"), key.public()).unwrap();
        Archives { folder }
    })
}

impl Archives {
    fn of(&self, suite: &str) -> PathBuf {
        self.folder.join(suite)
    }

    fn key(&self) -> PathBuf {
        self.folder.join("key.gpg")
    }
}

/// apt's root, a user who has it configured, and a folder to download into.
struct User {
    root: AptRoot,
    home: TempDir,
    folder: TempDir,
}

impl User {
    /// Of these lines of sources.list.
    fn new(sources: &[String]) -> Self {
        let root = AptRoot::new();
        root.write("etc/apt/sources.list.d/test.list", &sources.concat());
        root.write("etc/apt/apt.conf.d/90retries", "Acquire::Retries \"0\";\n");
        root.update();
        let (home, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir_all(home.path().join("omg")).unwrap();
        let config = format!("backend = \"apt\"\n[apt]\nroot = \"{}\"\n", root.path().display());
        fs::write(home.path().join("omg/config.toml"), config).unwrap();
        Self { root, home, folder }
    }

    /// Of archives that this server serves.
    fn of_server(server: &Server) -> Self {
        Self::new(&[over_http(server)])
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_omg"));
        command.arg("download").args(arguments).current_dir(self.folder.path()).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", self.home.path());
        // What an error is must not depend on the words that it is told in.
        command.env("XDG_CONFIG_HOME", self.home.path()).env("LC_ALL", "de_DE.UTF-8").stdin(Stdio::null());
        command
    }

    fn omg(&self, arguments: &[&str]) -> (i32, String, String) {
        let Output { status, stdout, stderr } = self.command(arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (status.code().unwrap(), text(stdout), text(stderr))
    }

    #[track_caller]
    fn succeeds(&self, arguments: &[&str]) -> String {
        let (code, text, errors) = self.omg(arguments);
        assert_eq!((code, errors.as_str()), (0, ""), "{arguments:?}: {text}");
        text
    }

    #[track_caller]
    fn fails(&self, arguments: &[&str], code: i32, says: &[&str]) {
        let before = self.files();
        let (found, text, errors) = self.omg(arguments);
        assert_eq!(found, code, "{arguments:?}: {text}{errors}");
        for part in says {
            assert!(errors.contains(part), "{part} is not in: {errors}");
        }
        assert_eq!(self.files(), before, "nothing stays");
    }

    /// Names and contents of what is in the folder.
    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        contents(self.folder.path())
    }
}

fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let file = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().unwrap();
        (name, if entry.path().is_dir() { Vec::new() } else { fs::read(entry.path()).unwrap() })
    };
    entries.map(file).collect()
}

fn over_http(server: &Server) -> String {
    server.source().replace("/etc/apt/test.gpg", archives().key().to_str().unwrap())
}

fn on_disk(suite: &str) -> String {
    let (key, archive) = (archives().key(), archives().of(suite));
    format!("deb [signed-by={}] file:{} ./\n", key.display(), archive.display())
}

fn eventually(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < end, "{what} never came true");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_files_are_those_of_apt_get_download() {
    let (one, two) = (archives().of("one"), archives().of("two"));
    let (first, second) = (Server::new(&one, Serving::Well), Server::new(&two, Serving::Well));
    for sources in [[over_http(&first), over_http(&second)], [on_disk("one"), on_disk("two")]] {
        let user = User::new(&sources);
        for targets in [
            &["omgt-a"][..],
            // What they need is nowhere, and they conflict with each other.
            &["omgt-needs", "omgt-a"],
            &["omgt-a=1"],
            &["omgt-a/one", "omgt-needs/two"],
            &["omgt-a:amd64"],
            &["omgt-a=1", "omgt-a", "omgt-a"],
        ] {
            let theirs = tempfile::tempdir().unwrap();
            let config = user.root.path().join("apt.conf");
            apt_root::run(
                Command::new("apt-get").arg("download").args(targets).current_dir(&theirs).env("APT_CONFIG", config),
            );
            let ours = tempfile::tempdir().unwrap();
            let mut arguments = targets.to_vec();
            arguments.extend(["--to", ours.path().to_str().unwrap()]);
            user.succeeds(&arguments);
            let (ours_has, theirs_has) = (contents(ours.path()), contents(theirs.path()));
            assert_eq!(ours_has.keys().collect::<Vec<_>>(), theirs_has.keys().collect::<Vec<_>>(), "{targets:?}");
            assert!(ours_has == theirs_has, "{targets:?}: the bytes differ");
            for name in ours_has.keys() {
                let mode = fs::metadata(ours.path().join(name)).unwrap().permissions().mode();
                assert_eq!(mode & 0o7777, 0o644, "{name}");
            }
        }
        // The archives themselves are as they were.
        assert_eq!(fs::read_dir(&one).unwrap().count(), 6);
        assert!(user.files().is_empty());
    }
}

#[test]
fn what_cannot_be_fetched_says_why_and_leaves_nothing() {
    let server = Server::new(&archives().of("two"), Serving::Well);
    for user in [User::of_server(&server), User::new(&[on_disk("two")])] {
        user.fails(&["omgt-wrong"], 5, &["omgt-wrong:amd64", "not what the package lists promise"]);
        user.fails(&["omgt-missing"], 1, &["omgt-missing:amd64"]);
        user.fails(&["nonesuch"], 1, &["Unable to locate package nonesuch"]);
        user.fails(&["omgt-a=7"], 1, &["Version '7' for 'omgt-a' was not found"]);
        user.fails(&["omgt-a", "--to", "nowhere"], 2, &["nowhere cannot be used"]);
        user.fails(&["omgt-a", "--to", "/etc/passwd"], 2, &["/etc/passwd is no folder"]);
        user.fails(&["--", "-rf"], 2, &["is no package"]);
        user.fails(&["../a.deb"], 2, &["is no package"]);
    }
    // What was fetched to its end stays.
    let user = User::of_server(&server);
    assert_eq!(user.omg(&["omgt-a", "omgt-wrong"]).0, 5);
    assert_eq!(user.files().into_keys().collect::<Vec<_>>(), ["omgt-a_1%3a2+b~1_all.deb"]);
    // All that failed is named, and what was not tried any more: versions of one package go one after the other.
    let first = Server::new(&archives().of("one"), Serving::Well);
    let user = User::new(&[over_http(&first), over_http(&server)]);
    let (code, _, errors) = user.omg(&["omgt-wrong", "omgt-missing", "omgt-a=1", "omgt-a"]);
    assert_eq!(code, 5, "{errors}");
    for part in ["omgt-wrong:amd64", "; failed as well: omgt-missing:amd64;", "; not tried after that: omgt-a "] {
        assert!(errors.contains(part), "{part} is not in: {errors}");
    }
    drop((first, server));
    for (serving, code, says) in [(Serving::NotFound, 1, "404"), (Serving::BreakingOff, 4, "omgt-a:amd64")] {
        let server = Server::new(&archives().of("two"), serving);
        let user = User::of_server(&server);
        user.fails(&["omgt-a"], code, &[says]);
        // Nobody answers there any more.
        drop(server);
        user.fails(&["omgt-a"], 4, &["omgt-a:amd64", "try again"]);
    }
}

#[test]
fn only_a_trusted_repository_is_fetched_from_unless_told_so() {
    let server = Server::new(&archives().of("unsigned"), Serving::Well);
    let source = over_http(&server);
    let (_, address) = source.split_once("] ").unwrap();
    let user = User::new(&[format!("deb [allow-insecure=yes] {address}")]);
    user.fails(&["omgt-unsigned"], 2, &["no trusted repository vouches for omgt-unsigned", "--allow-untrusted"]);
    assert_eq!(server.requests(), 0);
    user.succeeds(&["omgt-unsigned", "--allow-untrusted"]);
    let file = "omgt-unsigned_1_all.deb";
    assert_eq!(user.files()[file], fs::read(archives().of("unsigned").join(file)).unwrap());
}

#[test]
fn a_file_that_is_there_is_left_as_it_is() {
    let server = Server::new(&archives().of("two"), Serving::Well);
    let user = User::of_server(&server);
    let path = user.folder.path().join("omgt-a_1%3a2+b~1_all.deb");
    fs::write(&path, "mine").unwrap();
    user.fails(&["omgt-a", "omgt-needs"], 2, &["is something else", "--to"]);
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("elsewhere", &path).unwrap();
    user.command(&["omgt-a"]).output().map(|output| assert_eq!(output.status.code(), Some(2))).unwrap();
    assert_eq!(fs::read_link(&path).unwrap(), Path::new("elsewhere"));
    fs::remove_file(&path).unwrap();
    assert_eq!(server.requests(), 0);
    user.succeeds(&["omgt-a"]);
    assert_eq!(server.requests(), 1);
    user.succeeds(&["omgt-a"]);
    assert_eq!(server.requests(), 1);
}

#[test]
fn what_is_fetched_is_told_before_and_meanwhile() {
    let server = Server::new(&archives().of("two"), Serving::Well);
    let user = User::of_server(&server);
    let file = "omgt-a_1%3a2+b~1_all.deb";
    let path = archives().of("two").join("omgt-a_1:2+b~1_all.deb");
    let size = fs::metadata(&path).unwrap().len();
    let expected = format!("omgt-a\t1:2+b~1\ttwo\t{size}\t{file}\n");
    assert_eq!(user.succeeds(&["omgt-a", "--dry-run"]), expected);
    assert_eq!(user.succeeds(&["omgt-a", "--dry-run", "-q"]), format!("{file}\n"));
    let lines = |text: String| -> Vec<Value> { text.lines().map(|line| serde_json::from_str(line).unwrap()).collect() };
    let sum = apt_root::run(Command::new("sha256sum").arg(&path));
    let archive = |present: bool| {
        json!({"event": "archives", "archives": [{
            "name": "omgt-a", "arch": "amd64", "version": "1:2+b~1", "repository": "two", "size": size,
            "sha256": sum.split(' ').next().unwrap(), "trusted": true, "file": file, "present": present,
        }]})
    };
    let told = lines(user.succeeds(&["omgt-a", "--dry-run", "--json"]));
    assert_eq!(told, [archive(false), json!({"result": "planned"})]);
    assert_eq!(server.requests(), 0);
    assert!(user.files().is_empty());

    let told = lines(user.succeeds(&["omgt-a", "--json"]));
    assert!(told.contains(&archive(false)) && told.last() == Some(&json!({"result": "succeeded"})), "{told:?}");
    let fetched =
        json!({"event": "item", "item": "omgt-a:amd64", "state": "fetched", "bytes_done": size, "bytes_total": size});
    assert!(told.contains(&fetched), "{told:?}");
    assert!(lines(user.succeeds(&["omgt-a", "--json"])).contains(&archive(true)));
    assert_eq!(user.succeeds(&["omgt-a", "-q"]), "");
    let (code, text, _) = user.omg(&["nonesuch", "--json"]);
    let last = lines(text).pop().unwrap();
    assert_eq!((code, &last["result"], &last["failure"]["kind"]), (1, &json!("failed"), &json!("NotFound")));
}

#[test]
fn an_interrupt_or_the_end_of_omg_ends_the_download_and_nothing_stays() {
    let server = Server::new(&archives().of("two"), Serving::Stalling);
    let user = User::of_server(&server);
    for signal in [Signal::INT, Signal::TERM, Signal::KILL] {
        let before = server.requests();
        let mut child = user.command(&["omgt-a"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        eventually("the request", || server.requests() > before);
        assert!(!user.files().is_empty(), "apt fetches into the folder");
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
        let status = child.wait().unwrap();
        assert_eq!(status.code(), if signal == Signal::KILL { None } else { Some(130) });
        eventually("nothing stays", || user.files().is_empty());
    }
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let user = User::new(&[]);
    let stanza = |name: &str, version: &str| {
        format!(
            "Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: x\nDescription: x\n\
             Filename: pool/x.deb\nSize: 1\nSHA256: {}\n\n",
            "0".repeat(64)
        )
    };
    let list = stanza("evil", "1/../../../../tmp/x") + &stanza("worse", "$(id)") + &stanza("-option", "1");
    user.root.add_suite(&apt_root::Suite {
        codename: "evil",
        suite: "evil",
        label: "",
        release: "",
        files: &[("binary-amd64/Packages", &list)],
    });
    user.root.update();
    user.fails(&["evil"], 5, &["not valid"]);
    user.fails(&["worse"], 5, &["not valid"]);
    user.fails(&["--", "-option"], 2, &["is no package"]);
}

#[test]
fn nothing_is_put_where_somebody_else_could_move_it() {
    let user = User::new(&[on_disk("one")]);
    let inner = user.folder.path().join("inner");
    fs::create_dir(&inner).unwrap();
    let mode = |mode| fs::set_permissions(user.folder.path(), fs::Permissions::from_mode(mode)).unwrap();
    mode(0o777);
    for folder in [user.folder.path(), &inner] {
        user.fails(&["omgt-a", "--to", folder.to_str().unwrap()], 2, &["others can write in"]);
    }
    mode(0o1777);
    user.succeeds(&["omgt-a", "--to", inner.to_str().unwrap()]);
    assert_eq!(contents(&inner).len(), 1);
    mode(0o700);
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(user.folder.path(), Some(65_534), None).unwrap();
        user.fails(&["omgt-a"], 2, &["belongs to user 65534; run omg as that user"]);
    }
}
