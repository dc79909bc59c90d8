//! Throwaway Debian machines: a debootstrapped Debian 12, each test with its own changes laid over it, in mount and PID
//! namespaces that end with the test.
//!
//! The root is made once, in `${OMG_TEST_CACHE:-/var/cache/omg-tests}/bookworm` from the mirror `OMG_TEST_MIRROR`, and never
//! written to again. Takes root, debootstrap, unshare and nsenter.

// Each target uses its part.
#![allow(dead_code, reason = "shared by test targets that each use a part")]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// Directories that are laid over each other, topmost first.
#[derive(Clone)]
pub struct Layers(Vec<PathBuf>);

impl Layers {
    /// Debian 12 as debootstrap leaves it.
    pub fn debian() -> Self {
        let cache =
            std::env::var_os("OMG_TEST_CACHE").map_or_else(|| PathBuf::from("/var/cache/omg-tests"), PathBuf::from);
        let root = cache.join("bookworm");
        fs::create_dir_all(&cache).unwrap();
        let lock = fs::File::create(cache.join("bookworm.lock")).unwrap();
        lock.lock().unwrap();
        if !root.join("var/lib/dpkg/status").exists() {
            // Renamed when it is complete: an interrupted run leaves no root.
            let unfinished = tempfile::Builder::new().prefix("bookworm.").tempdir_in(&cache).unwrap();
            let mirror = std::env::var("OMG_TEST_MIRROR").unwrap_or_else(|_| "http://deb.debian.org/debian".to_owned());
            let made = unfinished.path().join("root");
            run(Command::new("debootstrap").args(["--variant=minbase", "bookworm"]).arg(&made).arg(mirror));
            fs::rename(made, &root).unwrap();
        }
        Self(vec![root])
    }

    /// A root that was made by something else, and is never written to.
    pub fn of(root: &Path) -> Self {
        Self(vec![root.to_owned()])
    }

    /// Lays `folder` over these.
    pub fn below(&self, folder: &Path) -> Self {
        Self(std::iter::once(folder.to_owned()).chain(self.0.iter().cloned()).collect())
    }
}

/// One machine. Everything that runs in it, and what it mounted, ends when it is dropped.
pub struct Machine {
    /// `unshare`, whose only child is the first process of the machine.
    outer: Child,
    /// That process, as this process sees it.
    init: u32,
    root: PathBuf,
    _folder: tempfile::TempDir,
}

/// Makes the machine, says so, and lives until its standard input ends.
const START: &str = r#"
set -eu
root=$1/root
if [ -n "$3" ]; then changes=$3; else
    mkdir "$1/changes"
    mount -t tmpfs -o mode=755 tmpfs "$1/changes"
    changes=$1/changes
fi
mkdir -p "$root" "$changes/upper" "$changes/work"
mount -t overlay -o "lowerdir=$2,upperdir=$changes/upper,workdir=$changes/work" overlay "$root"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for node in null zero full random urandom tty; do
    : >"$root/dev/$node"
    mount --bind "/dev/$node" "$root/dev/$node"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
cd "$root"
# Not chroot: who is in one may make no user namespaces, which sandboxes are made of.
pivot_root . .
umount -l .
echo ready
exec /bin/cat
"#;

impl Machine {
    /// A machine whose changes are in memory.
    pub fn new(layers: &Layers) -> Self {
        Self::start(layers, "")
    }

    /// A machine whose changes are kept in `changes/upper`.
    pub fn keeping(layers: &Layers, changes: &Path) -> Self {
        Self::start(layers, changes.to_str().unwrap())
    }

    fn start(layers: &Layers, changes: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let lower: Vec<&str> = layers.0.iter().map(|layer| layer.to_str().unwrap()).collect();
        let mut outer = Command::new("unshare")
            .args(["--mount", "--propagation=private", "--pid", "--fork", "--kill-child", "sh", "-c", START, "machine"])
            .arg(folder.path())
            .args([&lower.join(":"), changes])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(outer.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "the machine cannot be made");
        let init = child_of(outer.id());
        // `ready` came before the program was replaced and the root changed.
        while fs::read_to_string(format!("/proc/{init}/comm")).unwrap().trim() != "cat" {
            std::thread::yield_now();
        }
        let root = PathBuf::from(format!("/proc/{init}/root"));
        Self { outer, init, root, _folder: folder }
    }

    /// A file of the machine, as this process reaches it.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    pub fn exists(&self, path: &str) -> bool {
        self.path(path).symlink_metadata().is_ok()
    }

    /// Writes a file, and the folders above it.
    pub fn write(&self, path: &str, contents: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
    }

    /// Copies a program into the machine.
    pub fn add_program(&self, program: &Path, path: &str) {
        let place = self.path(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        // By a process of its own: what this one has open for writing, other threads' children have open too for a moment, and
        // the kernel runs no program that somebody may write to.
        run(Command::new("cp").arg(program).arg(&place));
        fs::set_permissions(place, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// A program that will run in the machine, with nothing of this process's environment.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.init.to_string(), "--mount", "--pid", "--root", "--wd", "--", program]);
        command.env_clear().stdin(Stdio::null());
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("LC_ALL", "C.UTF-8").env("HOME", "/root").env("DEBIAN_FRONTEND", "noninteractive");
        command
    }

    /// Runs a program in the machine, whatever comes of it.
    pub fn try_run(&self, program: &str, arguments: &[&str]) -> Output {
        self.command(program).args(arguments).output().unwrap()
    }

    /// Runs a program in the machine that must succeed; its standard output.
    pub fn run(&self, program: &str, arguments: &[&str]) -> String {
        run(self.command(program).args(arguments))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // The first process ends with its input, and everything in its namespaces with it.
        drop(self.outer.stdin.take());
        let _ = self.outer.wait();
    }
}

/// The only child of a process.
pub fn child_of(parent: u32) -> u32 {
    children_of(parent).into_iter().next().unwrap()
}

pub fn children_of(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let mut stat = String::new();
        fs::File::open(format!("/proc/{pid}/stat")).ok()?.read_to_string(&mut stat).ok()?;
        let of: u32 = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
        (of == parent).then_some(pid)
    });
    processes.collect()
}

/// Runs a program that must succeed; its standard output.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{said}\n{errors}", output.status);
    said.into_owned()
}
