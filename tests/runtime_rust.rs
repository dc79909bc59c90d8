//! Rust is installed to what rustup makes of the same server: rustup itself, and this program, install from the same
//! archives, and their folders are compared file by file.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed step fails the test")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use omg::runtime::Extras;
use omg::runtime::sources::rust::manifest::Manifest;
use omg::runtime::sources::rust::{additions, assemble, planned};
use omg::runtime::sources::{Part, Placing};
use sha2::{Digest, Sha256};

const HOST: &str = if cfg!(target_arch = "aarch64") { "aarch64-unknown-linux-gnu" } else { "x86_64-unknown-linux-gnu" };
const WASM: &str = "wasm32-unknown-unknown";
const DATE: &str = "2026-04-16";

/// A distribution server's files.
struct Server {
    folder: tempfile::TempDir,
    base: String,
}

/// One package of it: its name, target, the folder that its archive has, and what is in that: path, mode.
struct Package {
    name: &'static str,
    target: &'static str,
    folder: String,
    list: &'static [&'static str],
    files: &'static [(&'static str, u32)],
}

fn packages() -> Vec<Package> {
    let package =
        |name, target, folder: &str, list, files| Package { name, target, folder: folder.to_owned(), list, files };
    vec![
        package(
            "cargo",
            HOST,
            "cargo",
            &["file:bin/cargo", "file:share/doc/cargo/README.md"],
            &[("bin/cargo", 0o755), ("share/doc/cargo/README.md", 0o644)],
        ),
        // Old archives were packed by a user whose umask was 077.
        package(
            "rustc",
            HOST,
            "rustc",
            &["file:bin/rustc", "file:lib/librustc_driver.so", "dir:share/man"],
            &[("bin/rustc", 0o700), ("lib/librustc_driver.so", 0o664), ("share/man/man1/rustc.1", 0o600)],
        ),
        package(
            "rust-std",
            HOST,
            &format!("rust-std-{HOST}"),
            &["file:lib/rustlib/host/lib/libcore.rlib"],
            &[("lib/rustlib/host/lib/libcore.rlib", 0o644)],
        ),
        package(
            "rust-std",
            WASM,
            &format!("rust-std-{WASM}"),
            &["file:lib/rustlib/wasm/lib/libcore.rlib"],
            &[("lib/rustlib/wasm/lib/libcore.rlib", 0o644)],
        ),
        package(
            "rust-docs",
            HOST,
            "rust-docs",
            &["dir:share/doc/rust/html"],
            &[("share/doc/rust/html/index.html", 0o644), ("share/doc/rust/html/std/index.html", 0o644)],
        ),
        package("clippy-preview", HOST, "clippy-preview", &["file:bin/cargo-clippy"], &[("bin/cargo-clippy", 0o755)]),
        package(
            "rust-src",
            "*",
            "rust-src",
            &["dir:lib/rustlib/src/rust"],
            &[("lib/rustlib/src/rust/library/a.rs", 0o644)],
        ),
    ]
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl Server {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dist = folder.path().join("dist").join(DATE);
        fs::create_dir_all(&dist).unwrap();
        let mut manifest = format!("manifest-version = \"2\"\ndate = \"{DATE}\"\n");
        let mut listed = String::new();
        let mut versions: BTreeMap<&str, String> = BTreeMap::new();
        for package in packages() {
            let suffix = if package.target == "*" { String::new() } else { format!("-{}", package.target) };
            let archive = format!("{}-1.95.0{suffix}", package.name);
            pack(&package, &archive, &dist);
            let hash = sha256(&fs::read(dist.join(format!("{archive}.tar.xz"))).unwrap());
            let (name, target) = (package.name, package.target);
            let text = versions
                .entry(name)
                .or_insert_with(|| format!("\n[pkg.{name}]\nversion = \"1.95.0 (0123456 {DATE})\"\n"));
            let _ = write!(
                text,
                "[pkg.{name}.target.\"{target}\"]\navailable = true\n\
                 xz_url = \"https://static.rust-lang.org/dist/{DATE}/{archive}.tar.xz\"\nxz_hash = \"{hash}\"\n"
            );
            let kind = if ["cargo", "rustc", "rust-docs"].contains(&name)
                || suffix == format!("-{HOST}") && name == "rust-std"
            {
                "components"
            } else {
                "extensions"
            };
            let _ = write!(listed, "[[pkg.rust.target.{HOST}.{kind}]]\npkg = \"{name}\"\ntarget = \"{target}\"\n");
        }
        manifest.extend(versions.into_values());
        let _ = write!(
            manifest,
            "\n[pkg.rust]\nversion = \"1.95.0 (0123456 {DATE})\"\n[pkg.rust.target.{HOST}]\navailable = true\n{listed}\n\
             [renames.clippy]\nto = \"clippy-preview\"\n\n[profiles]\nminimal = [\"rustc\", \"cargo\", \"rust-std\", \"rust-mingw\"]\n\
             default = [\"rustc\", \"cargo\", \"rust-std\", \"rust-mingw\", \"rust-docs\"]\ncomplete = [\"rustc\"]\n"
        );
        let name = "channel-rust-1.95.0.toml";
        fs::write(folder.path().join("dist").join(name), &manifest).unwrap();
        let sum = format!("{}  {name}\n", sha256(manifest.as_bytes()));
        fs::write(folder.path().join("dist").join(format!("{name}.sha256")), sum).unwrap();

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let root = folder.path().to_path_buf();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                answer(stream, &root);
            }
        });
        Self { folder, base }
    }

    fn manifest(&self) -> Vec<u8> {
        fs::read(self.folder.path().join("dist/channel-rust-1.95.0.toml")).unwrap()
    }
}

/// One archive, as rust-installer packs it.
fn pack(package: &Package, archive: &str, into: &Path) {
    let work = tempfile::tempdir().unwrap();
    let top = work.path().join(archive);
    let component = top.join(&package.folder);
    for (path, mode) in package.files {
        let path = component.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("{} for {}: {}\n", package.name, package.target, path.file_name().unwrap().display()))
            .unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).unwrap();
    }
    fs::write(component.join("manifest.in"), package.list.join("\n") + "\n").unwrap();
    fs::write(top.join("components"), format!("{}\n", package.folder)).unwrap();
    fs::write(top.join("rust-installer-version"), "3\n").unwrap();
    fs::write(top.join("install.sh"), "#!/bin/sh\n").unwrap();
    let packed = into.join(format!("{archive}.tar.xz"));
    succeeds(Command::new("tar").arg("-C").arg(work.path()).arg("-cJf").arg(packed).arg(archive));
}

fn answer(mut stream: TcpStream, root: &Path) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let Some(request) = lines.next() else { return };
    let path = request.split(' ').nth(1).unwrap_or("/").trim_start_matches('/').to_owned();
    for _ in lines.by_ref().take_while(|line| !line.is_empty()) {}
    let answer = match fs::read(root.join(path)) {
        Ok(body) => {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            [head.into_bytes(), body].concat()
        }
        Err(_) => b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec(),
    };
    let _ = stream.write_all(&answer);
}

fn succeeds(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// rustup with folders of its own, and no other server than ours.
struct Rustup {
    home: tempfile::TempDir,
    server: String,
}

impl Rustup {
    /// `None` where there is none.
    fn new(test: &str, server: &Server) -> Option<Self> {
        let found = Command::new("rustup").arg("--version").output();
        if !found.is_ok_and(|output| output.status.success()) {
            // Not by eprintln, which only failed tests show.
            std::io::stderr().write_all(format!("\nSKIP {test}: rustup is not installed\n").as_bytes()).unwrap();
            return None;
        }
        Some(Self { home: tempfile::tempdir().unwrap(), server: server.base.clone() })
    }

    fn run(&self, arguments: &[&str]) {
        let mut command = Command::new("rustup");
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if name.starts_with("RUSTUP_") || name.to_ascii_lowercase().ends_with("_proxy") {
                command.env_remove(&name);
            }
        }
        command
            .args(arguments)
            .env("RUSTUP_HOME", self.home.path().join("rustup"))
            .env("CARGO_HOME", self.home.path().join("cargo"))
            .env("HOME", self.home.path())
            .env("RUSTUP_DIST_SERVER", &self.server)
            .env("RUSTUP_UPDATE_ROOT", &self.server);
        succeeds(&mut command);
    }

    fn toolchain(&self) -> PathBuf {
        self.home.path().join("rustup/toolchains").join(format!("1.95.0-{HOST}"))
    }
}

/// What the manager does with parts: unpack each where it belongs, and put them in place.
fn install(server: &Server, parts: &[Part], from: &Path, root: &Path) {
    for part in parts {
        let Placing::Component { name, .. } = &part.place else { panic!("{part:?}") };
        let path = part.download.url.strip_prefix(&server.base).unwrap();
        let archive = server.folder.path().join(path.trim_start_matches('/'));
        let hash = Sha256::digest(fs::read(&archive).unwrap());
        assert_eq!(part.download.sha256.unwrap().as_slice(), hash.as_slice());
        let into = from.join(part.place.of(Path::new("first/components")).unwrap());
        let into = into.parent().unwrap();
        assert!(into.ends_with(name));
        fs::create_dir_all(into).unwrap();
        succeeds(Command::new("tar").arg("-C").arg(into).args(["--strip-components=1", "-xJf"]).arg(archive));
    }
    assemble(from, root, parts).unwrap();
}

/// Everything below a folder: mode and content by path.
fn tree(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut tree = BTreeMap::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let found = fs::symlink_metadata(&path).unwrap();
            let mode = found.permissions().mode();
            let content = if found.is_dir() {
                folders.push(path.clone());
                String::new()
            } else {
                fs::read_to_string(&path).unwrap()
            };
            // The order in which downloads of rustup ended.
            let content = match path.ends_with("lib/rustlib/components") {
                true => {
                    let mut lines: Vec<_> = content.lines().collect();
                    lines.sort_unstable();
                    lines.join("\n")
                }
                false => content,
            };
            tree.insert(path.strip_prefix(root).unwrap().to_path_buf(), format!("{mode:o}\n{content}"));
        }
    }
    tree
}

fn assert_same(rustup: &Path, ours: &Path) {
    let rustup = tree(rustup);
    let mut ours = tree(ours);
    assert!(ours.remove(Path::new(".omg-toolchain.toml")).is_some());
    let names = |tree: &BTreeMap<PathBuf, String>| tree.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&rustup), names(&ours));
    for (path, content) in &rustup {
        assert_eq!(content, &ours[path], "{}", path.display());
    }
}

fn extras(profile: Option<&str>, components: &[&str], targets: &[&str]) -> Extras {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Extras { profile: profile.map(str::to_owned), components: owned(components), targets: owned(targets) }
}

fn parts(server: &Server, extras: &Extras) -> Vec<Part> {
    let text = server.manifest();
    let manifest = Manifest::parse(&text).unwrap();
    planned(&server.base, &manifest, Sha256::digest(&text).into(), "1.95.0", HOST, extras, &[]).unwrap()
}

#[test]
fn a_toolchain_is_what_rustup_makes_of_it() {
    let server = Server::new();
    let Some(rustup) = Rustup::new("a_toolchain_is_what_rustup_makes_of_it", &server) else { return };
    rustup.run(&["toolchain", "install", "--no-self-update", "--profile", "default", "1.95.0"]);
    let root = tempfile::tempdir().unwrap();
    install(&server, &parts(&server, &Extras::default()), root.path(), root.path());
    assert_same(&rustup.toolchain(), root.path());
}

#[test]
fn components_and_targets_are_what_rustup_makes_of_them_at_once_and_later() {
    let server = Server::new();
    let test = "components_and_targets_are_what_rustup_makes_of_them_at_once_and_later";
    let Some(rustup) = Rustup::new(test, &server) else { return };
    let root = tempfile::tempdir().unwrap();
    let install_ = ["toolchain", "install", "--no-self-update", "--profile", "minimal", "-c", "clippy", "1.95.0"];
    rustup.run(&install_);
    install(&server, &parts(&server, &extras(Some("minimal"), &["clippy"], &[])), root.path(), root.path());
    assert_same(&rustup.toolchain(), root.path());

    for (arguments, wanted) in [
        (["component", "add", "rust-src"], extras(None, &["rust-src"], &[])),
        (["target", "add", WASM], extras(None, &[], &[WASM])),
        (["component", "add", "rust-docs"], extras(None, &["rust-docs", "clippy"], &[])),
    ] {
        rustup.run(&[arguments.as_slice(), &["--toolchain", "1.95.0"]].concat());
        let staging = tempfile::tempdir().unwrap();
        let parts = additions(&server.base, root.path(), &wanted).unwrap();
        assert_eq!(parts.len(), 1);
        install(&server, &parts, staging.path(), root.path());
        assert_same(&rustup.toolchain(), root.path());
        assert!(additions(&server.base, root.path(), &wanted).unwrap().is_empty());
    }
}
