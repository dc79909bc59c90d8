"""The rows about changes of packages: omg beside pacman, each on fresh copies of the same machine, which knows of the big
repository as well, as machines do."""
import io
import shutil
import tarfile
import time

import changes
from debian import ENVIRONMENT
from measure import interleaved

UPGRADED = 50
CONFIGURATION = """[options]
Architecture = x86_64
SigLevel = Never
DisableSandbox
[big]
Server = file:///srv/big
[bench]
Server = file:///srv/bench
"""


def build(folder, name, version, needs=(), files=12):
    """A package with some files, a configuration file and a script, as makepkg packs them but for the compression."""
    contents = {
        ".PKGINFO": f"pkgname = {name}\npkgbase = {name}\npkgver = {version}-1\npkgdesc = made to be measured\n"
        "url = https://example.org\nbuilddate = 1700000000\npackager = Bench <bench@example.org>\nsize = 65536\n"
        f"arch = any\nlicense = custom\nbackup = etc/{name}.conf\n" + "".join(f"depend = {need}\n" for need in needs),
        ".INSTALL": "post_install() {\n  true\n}\npost_upgrade() {\n  true\n}\n",
        f"etc/{name}.conf": f"of version {version}\n",
    }
    for number in range(files):
        contents[f"usr/share/{name}/{number}.txt"] = f"{name} {version} {number}\n" * 100
    folders = ["etc/", "usr/", "usr/share/", f"usr/share/{name}/"]
    with tarfile.open(folder / f"{name}-{version}-1-any.pkg.tar", "w", format=tarfile.GNU_FORMAT) as tar:
        for path, text in contents.items():
            for parent in [parent for parent in folders if path.startswith(parent)]:
                folders.remove(parent)
                entry = tarfile.TarInfo(parent.rstrip("/"))
                entry.type, entry.mode, entry.mtime = tarfile.DIRTYPE, 0o755, 1700000000
                tar.addfile(entry)
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode, entry.mtime = len(text), 0o644, 1700000000
            tar.addfile(entry, io.BytesIO(text.encode()))


def publish(machine, version, names, needs):
    folder = machine.path("/srv/bench")
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        build(folder, name, version, needs(name))
    machine.run("sh", "-euc", (
        "cd /srv/bench; zstd --quiet --rm *.pkg.tar; repo-add --quiet --remove bench.db.tar.gz *.pkg.tar.zst; "
        # Fetched before: what is measured is the change.
        "mkdir -p /var/cache/pacman/pkg; cp *.pkg.tar.zst /var/cache/pacman/pkg"
    ))


def records(machine):
    """What pacman has on record, in its own words."""
    return machine.run("pacman", "-Q"), machine.run("pacman", "-Qqe")


class World:
    """The layers that the machines of the rows are laid over."""

    def __init__(self, scratch, layers, prepare, big):
        self.scratch = scratch / "changes"
        self.scratch.mkdir()
        self.layers = layers
        with self.layer("programs") as machine:
            prepare(machine)
            machine.write("/etc/pacman.conf", CONFIGURATION)
            machine.path("/var/lib/pacman").mkdir(parents=True, exist_ok=True)
            machine.path("/srv/big").mkdir(parents=True)
            shutil.copy(big, machine.path("/srv/big/big.db"))
        self.programs = self.layers

    layer, machine = changes.World.layer, changes.World.machine


def rows(scratch, layers, prepare, big, count, show):
    """`big` is the database of the repository that nothing is installed from."""
    world = World(scratch, layers, prepare, big)
    names = [f"omgb-{number}" for number in range(UPGRADED)]

    def needs(name):
        number = int(name.partition("-")[2])
        return [f"omgb-{other}" for other in sorted({number // 2, number // 3} - {number})] if number % 4 else []

    def compare(what, ours, peer):
        sides = [changes.Side(world, world.layers, ours, daemon=True, records=records),
                 changes.Side(world, world.layers, peer, records=records)]
        try:
            taken = interleaved([side.subject(name, count) for side, name in zip(sides, ("ours", "peer"))])
        finally:
            for side in sides:
                side.end()
        same = len(set(sides[0].left + sides[1].left)) == 1
        show(what, taken["ours"], taken["peer"], same)
        return same

    with world.layer("install", world.programs) as machine:
        publish(machine, "1", names, needs)
        machine.run("pacman", "-Sy")
        machine.run("omg", "status")
    same = compare("`omg install -y`, `pacman -S` of one package", ["omg", "install", "-y", "omgb-0"],
                   ["pacman", "-S", "--noconfirm", "omgb-0"])
    with world.layer("upgrade") as machine:
        machine.run("pacman", "-S", "--noconfirm", *names)
        # pacman asks for what is younger, in whole seconds.
        time.sleep(1.1)
        publish(machine, "2", names, needs)
        machine.run("omg", "status")
    return same & compare(f"`omg refresh && omg upgrade -y`, `pacman -Syu` of {UPGRADED} packages",
                          ["sh", "-c", "omg refresh --quiet && exec omg upgrade -y"], ["pacman", "-Syu", "--noconfirm"])
