"""Throwaway Debian machines: a debootstrapped Debian 12, and what each one changes laid over it, in mount and PID
namespaces that end with it. Takes root."""
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

from measure import Fault

# Makes the machine, says so, and lives until its standard input ends.
START = r"""
set -eu
root=$1/root changes=$3
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
mkdir -m 700 -p "$root/run/user/0"
echo ready
exec chroot "$root" /bin/cat
"""

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C.UTF-8",
    "HOME": "/root",
    "XDG_RUNTIME_DIR": "/run/user/0",
    "DEBIAN_FRONTEND": "noninteractive",
}


class Unavailable(Exception):
    """No such machine can be made here, and why."""


def debian():
    """The root that all machines are laid over; made once, and shared with the tests, who make it in the same place."""
    if os.geteuid() != 0:
        raise Unavailable("needs root")
    for program in ("unshare", "nsenter", "flock", "dpkg-deb", "apt-ftparchive"):
        if not shutil.which(program):
            raise Unavailable(f"{program} is not installed")
    cache = pathlib.Path(os.environ.get("OMG_TEST_CACHE", "/var/cache/omg-tests"))
    root = cache / "bookworm"
    if not (root / "var/lib/dpkg/status").exists():
        if not shutil.which("debootstrap"):
            raise Unavailable("debootstrap is not installed")
        cache.mkdir(parents=True, exist_ok=True)
        mirror = os.environ.get("OMG_TEST_MIRROR", "http://deb.debian.org/debian")
        # Renamed when it is complete: an interrupted run leaves no root.
        make = (
            'set -eu; [ ! -e "$1/var/lib/dpkg/status" ] || exit 0; new=$(mktemp -d "$1.XXXXXX"); '
            'debootstrap --variant=minbase bookworm "$new/root" "$2"; mv "$new/root" "$1"; rmdir "$new"'
        )
        made = subprocess.run(
            ["flock", f"{root}.lock", "sh", "-c", make, "sh", str(root), mirror], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, check=False,
        )
        if made.returncode != 0:
            raise Unavailable("debootstrap cannot make a Debian 12")
    return root


class Machine:
    """One machine over `layers`, topmost first. Its changes stay in `changes` after its end when that is given."""

    def __init__(self, layers, scratch, changes=None):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="machine-", dir=scratch))
        self.changes = pathlib.Path(changes or self.folder / "changes")
        lower = ":".join(str(layer) for layer in layers)
        command = ["unshare", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child", "sh", "-c", START]
        self.outer = subprocess.Popen(
            [*command, "machine", str(self.folder), lower, str(self.changes)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        if self.outer.stdout.readline() != b"ready\n":
            self.outer.stdin.close()
            self.outer.wait()
            raise Unavailable("this machine does not allow namespaces or overlays")
        children = pathlib.Path(f"/proc/{self.outer.pid}/task/{self.outer.pid}/children")
        self.init = int(children.read_text(encoding="ascii").split()[0])
        # `ready` came before the program was replaced and the root changed.
        while pathlib.Path(f"/proc/{self.init}/comm").read_text(encoding="ascii") != "cat\n":
            time.sleep(0.001)
        self.root = pathlib.Path(f"/proc/{self.init}/root")

    def path(self, path):
        return self.root / path.lstrip("/")

    def write(self, path, contents):
        path = self.path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(contents, encoding="utf-8")

    def command(self, *words):
        """What runs `words` in the machine."""
        return ["nsenter", "--target", str(self.init), "--mount", "--pid", "--root", "--wd", "--", *words]

    def run(self, *words):
        """Standard output of a program that must succeed."""
        done = subprocess.run(
            self.command(*words), env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, check=False,
        )
        if done.returncode != 0:
            raise Fault(f"{' '.join(words)} ended with status {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def end(self):
        """Ends everything that runs in it, and what it mounted with that."""
        self.outer.stdin.close()
        self.outer.wait()
        self.outer.stdout.close()
        shutil.rmtree(self.folder)
