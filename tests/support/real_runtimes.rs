//! Real programs of runtimes, packed as their makers pack them, and a user who installs them from a loopback server.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::upstreams::{Key, Upstream};
use sigstore::{Claims, Instance};

#[path = "sigstore.rs"]
pub mod sigstore;

pub const OMG: &str = env!("CARGO_BIN_EXE_omg");
pub const OMGD: &str = env!("CARGO_BIN_EXE_omgd");

/// Where the real programs are; they are fetched when they are not there yet.
pub fn cache() -> &'static Path {
    static CACHE: OnceLock<PathBuf> = OnceLock::new();
    CACHE.get_or_init(|| {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tiers/runtime-binaries.sh");
        let output = Command::new("bash").arg(script).stdin(Stdio::null()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
        PathBuf::from(text.lines().last().unwrap())
    })
}

/// A user with folders of their own, and an upstream.
pub struct World {
    home: TempDir,
    pub upstream: Upstream,
    pub key: Key,
    /// Who vouches for provenance.
    pub instance: Instance,
    /// More of the environment.
    pub variables: Vec<(String, String)>,
}

impl World {
    /// The upstream of `runtime` is at this path of the server.
    pub fn new(runtime: &str, path: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let (upstream, key, instance) = (Upstream::new(), Key::new("Releaser"), Instance::new());
        let world = Self { home, upstream, key, instance, variables: Vec::new() };
        fs::create_dir_all(world.path("config/omg")).unwrap();
        fs::create_dir_all(world.path("project")).unwrap();
        fs::write(world.path("keys.asc"), world.key.public()).unwrap();
        let text = format!(
            "backend = \"none\"\n[runtimes.{runtime}]\nurl = \"{}{path}\"\nkeys = \"{}\"\n",
            world.upstream.address(),
            world.path("keys.asc").display()
        );
        fs::write(world.path("config/omg/config.toml"), text).unwrap();
        if runtime == "python" {
            fs::write(world.path("root.json"), world.instance.trusted_root()).unwrap();
            world.configure(&format!("trusted-root = \"{}\"\n", world.path("root.json").display()));
        }
        world
    }

    /// Adds lines to the table of the runtime.
    pub fn configure(&self, lines: &str) {
        let path = self.path("config/omg/config.toml");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(path, format!("{text}{lines}")).unwrap();
    }

    /// What python-build-standalone attests of the archive of this SHA-256.
    pub fn claims(sum: &str) -> Claims {
        let repository = "https://github.com/astral-sh/python-build-standalone";
        Claims::of(sum, repository, ".github/workflows/release.yml@refs/heads/main")
    }

    /// Publishes attestations of it as GitHub does.
    pub fn attest(&self, sum: &str, bundles: &[Value]) {
        let attestation = |bundle: &Value| json!({"bundle": bundle, "repository_id": 1});
        let answer = json!({"attestations": bundles.iter().map(attestation).collect::<Vec<_>>()});
        self.upstream.file(&Self::attestations(sum), serde_json::to_vec(&answer).unwrap());
    }

    /// The same with the bundle at an address of its own, packed.
    pub fn attest_at(&self, sum: &str, path: &str, bundle: &Value) {
        let packed = snap::raw::Encoder::new().compress_vec(&serde_json::to_vec(bundle).unwrap()).unwrap();
        self.upstream.file(path, packed);
        let url = format!("{}{path}", self.upstream.address());
        let answer = json!({"attestations": [{"bundle": null, "repository_id": 1, "bundle_url": url}]});
        self.upstream.file(&Self::attestations(sum), serde_json::to_vec(&answer).unwrap());
    }

    /// Where they are.
    pub fn attestations(sum: &str) -> String {
        format!("/repos/astral-sh/python-build-standalone/attestations/sha256:{sum}")
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.home.path().join(below)
    }

    pub fn versions(&self) -> PathBuf {
        self.path("data/omg/versions")
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(OMG);
        command.args(arguments).current_dir(self.path("project"));
        self.environment(&mut command);
        command.env("OMG_DAEMON", OMGD).env("SHELL", "/bin/bash");
        command
    }

    /// What a user of no other tools has.
    fn environment(&self, command: &mut Command) {
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", self.home.path());
        command.env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
        for (name, folder) in [("XDG_CONFIG_HOME", "config"), ("XDG_DATA_HOME", "data"), ("XDG_CACHE_HOME", "cache")] {
            command.env(name, self.path(folder));
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
    }

    /// What omg prints; it has to succeed.
    pub fn done(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// What omg says on standard error; it has to end with this code.
    pub fn refused(&self, arguments: &[&str], code: i32) -> String {
        let output = self.command(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", said(&output));
        String::from_utf8(output.stderr).unwrap()
    }

    /// What bash prints where what `omg env` says is in force; the last command has to succeed.
    pub fn shell(&self, script: &str) -> String {
        let mut command = Command::new("bash");
        self.environment(&mut command);
        command.args(["--norc", "--noprofile", "-c"]);
        command.arg(format!("eval \"$({OMG} env --shell bash)\"\nset -e\n{script}")).current_dir(self.path("project"));
        let output = command.env("OMG_DAEMON", OMGD).output().unwrap();
        assert!(output.status.success(), "{script}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// What a program prints that is run without anything of omg's.
    pub fn run(&self, program: &Path, arguments: &[&str]) -> String {
        let mut command = Command::new(program);
        self.environment(&mut command);
        let output = command.args(arguments).current_dir(self.path("project")).output().unwrap();
        assert!(output.status.success(), "{program:?} {arguments:?}: {}", said(&output));
        // Some tell their version on standard error.
        said(&output).trim().to_owned()
    }

    /// Whatever is below the folder of versions.
    pub fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        let mut folders = vec![self.versions()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                match entry.file_type().unwrap().is_dir() {
                    true => folders.push(entry.path()),
                    false => left.push(entry.path().display().to_string()),
                }
            }
        }
        left
    }

    /// Nothing that was heard of the upstream is known any more.
    pub fn forget(&self) {
        let _ = fs::remove_dir_all(self.path("cache"));
    }
}

pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A folder that is put together and packed.
pub struct Tree(TempDir);

impl Tree {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.0.path().join(below)
    }

    /// With what is in the folder `from`, links and modes as they are.
    pub fn with(self, from: &Path, to: &str) -> Self {
        let to = self.path(to);
        fs::create_dir_all(&to).unwrap();
        // No hard links: tar takes files for changed when somebody else makes or removes one.
        let output = Command::new("cp").args(["-a", "--reflink=auto"]).arg(from.join(".")).arg(&to).output().unwrap();
        assert!(output.status.success(), "{from:?}: {}", said(&output));
        self
    }

    /// With a program of this text, or what only looks like one.
    pub fn program(self, path: &str, text: &str) -> Self {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    pub fn link(self, path: &str, to: &str) -> Self {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(to, path).unwrap();
        self
    }

    pub fn without(self, path: &str) -> Self {
        let path = self.path(path);
        let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        self
    }

    /// Packed by tar, with `name` in front of every path.
    pub fn tar(&self, name: &str, compressor: &str) -> Vec<u8> {
        super::upstreams::packed(self.0.path(), name, &format!("--use-compress-program={compressor}"))
    }

    /// Packed as a zip that knows the modes.
    pub fn zip(&self, name: &str) -> Vec<u8> {
        const SCRIPT: &str = "import os, sys, zipfile\n\
            os.chdir(sys.argv[1])\n\
            with zipfile.ZipFile(sys.argv[3], 'w', zipfile.ZIP_DEFLATED, compresslevel=1) as made:\n\
            \x20   for folder, _, files in os.walk('.'):\n\
            \x20       for file in files:\n\
            \x20           path = os.path.normpath(os.path.join(folder, file))\n\
            \x20           made.write(path, os.path.join(sys.argv[2], path))\n";
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut command = Command::new("python3");
        let output = command.args(["-c", SCRIPT]).arg(self.0.path()).arg(name).arg(file.path()).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        fs::read(file.path()).unwrap()
    }
}
