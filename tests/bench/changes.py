"""The rows about changes of packages: omg beside apt-get, each on fresh copies of the same throwaway Debian."""
import contextlib
import json
import os
import re
import shutil
import subprocess
import time

import debian
from debian import ENVIRONMENT, Machine
from measure import Fault, Subject, interleaved, wait_for

# A package of Debian's without dependencies but libc, and one with a few.
REAL = ("hello", "jq")
PLANNED = 500
UPGRADED = 50
HELPER = "/usr/libexec/omg/omg-helper"
LOCAL = "deb [trusted=yes] file:/srv/local ./\n"


class World:
    """The layers that the machines of the rows are laid over."""

    def __init__(self, folder, programs):
        self.scratch = folder / "machines"
        self.scratch.mkdir()
        self.layers = [debian.debian()]
        with self.layer("programs") as machine:
            for program, place in (("omg", "/usr/bin"), ("omgd", "/usr/bin"), ("omg-helper", "/usr/libexec/omg")):
                machine.path(place).mkdir(parents=True, exist_ok=True)
                shutil.copy(programs / program, machine.path(place))
            # Files of both are where they are in a machine that has been used.
            settle(machine)
        self.programs = self.layers

    @contextlib.contextmanager
    def layer(self, name, layers=None):
        """A machine whose changes become a layer over `layers`, which are the topmost so far."""
        changes = self.scratch / name
        below = layers or self.layers
        machine = Machine(below, self.scratch, changes)
        try:
            yield machine
        finally:
            machine.end()
        self.layers = [changes / "upper", *below]

    def machine(self, layers):
        return Machine(layers, self.scratch)


def settle(machine):
    """Lets both write their caches, as they have on a machine that is in use."""
    # A cache that is no younger than what it was made from is trusted by neither.
    time.sleep(2.1)
    machine.run("apt-cache", "gencaches")
    machine.run("omg", "status")


def records(machine):
    """What dpkg and apt have on record, in their own words."""
    return (
        machine.run("dpkg-query", "-W", "-f", "${Package}:${Architecture} ${Version} ${Status}\n"),
        machine.run("apt-mark", "showauto"),
    )


class Side:
    """One of the two: makes a fresh machine before each run, and keeps what the run left on record, as `records` reads it."""

    def __init__(self, world, layers, command, daemon=False, records=records):
        self.world, self.layers, self.words, self.daemon, self.records = world, layers, command, daemon, records
        self.machine, self.left, self.process = None, [], None

    def before(self):
        self.machine = self.world.machine(self.layers)
        if self.daemon:
            command = self.machine.command("omgd", "--foreground")
            self.process = subprocess.Popen(
                command, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            wait_for(self.machine.path("/run/user/0/omg.sock").exists, "omgd's socket")
            self.machine.run("omg", "status")
        # What making the machine left to be written is no part of the run.
        os.sync()

    def command(self):
        return self.machine.command(*self.words)

    def after(self):
        self.left.append(self.records(self.machine))
        self.end()

    def end(self):
        if self.machine:
            self.machine.end()
        if self.process:
            self.process.wait()
        self.machine = self.process = None

    def subject(self, name, count):
        return Subject(name, self.command, ENVIRONMENT, count, before=self.before, after=self.after)


def needs_of(number, version):
    """What a package of a set depends on: later ones on earlier ones, at most two, of the same version."""
    needed = sorted({number // 2, number // 3} - {number}) if number % 4 else []
    return [f"omgb-{other} (>= {version})" for other in needed]


def build(folder, name, version, needs=(), files=12):
    """A package with some files, a configuration file and a script."""
    tree = folder / "tree"
    control = tree / "DEBIAN"
    control.mkdir(parents=True)
    fields = f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: Bench <bench@example.org>\n"
    if needs:
        fields += f"Depends: {', '.join(needs)}\n"
    (control / "control").write_text(f"{fields}Installed-Size: 64\nDescription: made to be measured\n")
    (control / "conffiles").write_text(f"/etc/{name}.conf\n")
    (control / "postinst").write_text("#!/bin/sh\nset -e\ntrue\n")
    (control / "postinst").chmod(0o755)
    (tree / "etc").mkdir()
    (tree / f"etc/{name}.conf").write_text(f"of version {version}\n")
    data = tree / f"usr/share/{name}"
    data.mkdir(parents=True)
    for number in range(files):
        (data / f"{number}.txt").write_text(f"{name} {version} {number}\n" * 100)
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-Zxz", "--build", str(tree), str(folder / f"{name}_{version}_all.deb")],
        stdout=subprocess.DEVNULL, check=True,
    )
    shutil.rmtree(tree)


def publish(machine, folder):
    """Offers the packages in `folder` to the machine, as a local archive."""
    local = machine.path("/srv/local")
    local.mkdir(parents=True, exist_ok=True)
    for file in folder.glob("*.deb"):
        shutil.copy(file, local)
    listed = subprocess.run(
        ["apt-ftparchive", "packages", "."], cwd=local, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True
    )
    (local / "Packages").write_bytes(listed.stdout)
    offer(machine)


def offer(machine):
    machine.write("/etc/apt/sources.list.d/local.list", LOCAL)
    # Debian's own lists stay as they are, with or without a network.
    options = ["-o", "Dir::Etc::SourceList=/dev/null", "-o", "APT::Get::List-Cleanup=false"]
    machine.run("apt-get", "--quiet", *options, "update")


class Changes:
    """Adds the rows to the table of tests/bench/run."""

    def __init__(self, table, folder, programs, quick, words):
        self.table, self.folder, self.programs, self.words = table, folder, programs, words
        self.count = 11 if quick else 25

    def run(self):
        what = "changes of packages – `apt-get`"
        try:
            self.world = World(self.folder, self.programs)
            self.installs()
            self.upgrade()
            self.large_plan()
        except debian.Unavailable as reason:
            self.table.add(what, "–", found=f"not measured: {reason}")

    def row(self, what, ours, peer, same, most):
        milliseconds, times = self.words
        ratio = ours.median / peer.median
        self.table.add(
            what, milliseconds(ours.median), best=milliseconds(peer.median),
            ratio=f"{times(ratio)}, by fastest runs {times(ours.fastest / peer.fastest)}", budget=f"≤ {most:.1f} ×",
            met=ratio <= most, same=same,
        )

    def compare(self, what, layers, ours, peer):
        """Both commands on fresh machines, in turn; they must leave the same on record."""
        sides = [Side(self.world, layers, ours, daemon=True), Side(self.world, layers, peer)]
        try:
            taken = interleaved([side.subject(name, self.count) for side, name in zip(sides, ("ours", "peer"))])
        finally:
            for side in sides:
                side.end()
        self.row(what, taken["ours"], taken["peer"], len(set(sides[0].left + sides[1].left)) == 1, 1.0)

    def installs(self):
        layers = self.world.programs
        names = REAL
        with self.world.layer("archives", layers) as machine:
            machine.run("apt-get", "clean")
            try:
                machine.run("apt-get", "--quiet", "--yes", "--download-only", "install", *REAL)
            except Fault:
                # Without Debian's archive, packages like these.
                names = ("omgb-alone", "omgb-needs")
                folder = self.folder / "installs"
                folder.mkdir()
                build(folder, "omgb-alone", "1")
                for part in ("omgb-one", "omgb-two"):
                    build(folder, part, "1")
                build(folder, "omgb-needs", "1", ["omgb-one", "omgb-two"])
                publish(machine, folder)
            settle(machine)
        for name in names:
            self.compare(
                f"`omg install -y {name}`, fetched before – `apt-get install -y {name}`", self.world.layers,
                ["omg", "install", "-y", name], ["apt-get", "install", "-y", name],
            )

    def upgrade(self):
        folder = self.folder / "upgrade"
        for version in ("1", "2"):
            (folder / version).mkdir(parents=True)
            for number in range(UPGRADED):
                build(folder / version, f"omgb-{number}", version, needs_of(number, version))
        with self.world.layer("upgrade", self.world.programs) as machine:
            publish(machine, folder / "1")
            machine.run("apt-get", "--quiet", "--yes", "install", *(f"omgb-{number}" for number in range(UPGRADED)))
            publish(machine, folder / "2")
            settle(machine)
        layers = self.world.layers
        self.compare(
            f"`omg upgrade -y` of {UPGRADED} packages – `apt-get -y dist-upgrade`", layers, ["omg", "upgrade", "-y"],
            ["apt-get", "-y", "dist-upgrade"],
        )
        self.pace(layers)

    def pace(self, layers):
        """How often the helper tells how far it is, at most, in any second of the upgrade."""
        machine = self.world.machine(layers)
        try:
            request = {"actions": [["upgrade-all", ""]], "options": {}, "files": []}
            said = subprocess.run(
                machine.command(HELPER, "plan"), env=ENVIRONMENT, input=json.dumps(request) + "\n", text=True,
                stdout=subprocess.PIPE, check=True,
            ).stdout
            request["digest"] = json.loads(said)["plan"]["digest"]
            moments, outcome = listened(machine.command(HELPER, "commit"), request)
        finally:
            machine.end()
        rounds = moments.pop("")
        most = max(within_a_second(times) for times in [rounds, *moments.values()])
        self.table.add(
            f"progress told during the upgrade of {UPGRADED} packages ({len(rounds)} times in all)",
            f"at most {most} times in a second", budget="≤ 10", met=most <= 10,
            same=outcome == "succeeded" and len(moments) == UPGRADED,
        )

    def large_plan(self):
        with self.world.layer("plan", self.world.programs) as machine:
            many_installed(machine)
            settle(machine)
        machine = self.world.machine(self.world.layers)
        environment = dict(ENVIRONMENT)
        commands = {
            "ours": ["omg", "upgrade", "--full", "--dry-run"],
            # Resolves, and then acts out what dpkg would be told to do.
            "simulated": ["apt-get", "-s", "dist-upgrade"],
            # Resolves only.
            "resolved": ["apt-get", "-qq", "--print-uris", "dist-upgrade"],
        }
        daemon = subprocess.Popen(
            machine.command("omgd", "--foreground"), env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        try:
            wait_for(machine.path("/run/user/0/omg.sock").exists, "omgd's socket")
            items = json.loads(machine.run(*commands["ours"], "--json").splitlines()[0])["plan"]["items"]
            planned = {(item["change"], item["name"], item["from"], item["to"]) for item in items}
            found = re.findall(r"^Inst (\S+) \[(\S+)\] \((\S+) ", machine.run(*commands["simulated"]), re.MULTILINE)
            same = planned == {("upgrade", *upgrade) for upgrade in found}
            taken = interleaved([
                Subject(name, machine.command(*words), environment, self.count)
                for name, words in commands.items()
            ])
        finally:
            machine.end()
            daemon.wait()
        for peer in ("simulated", "resolved"):
            what = f"plan of {len(found)} upgrades: `{' '.join(commands['ours'])}` – `{' '.join(commands[peer])}`"
            self.row(what, taken["ours"], taken[peer], same, 1.2)


def many_installed(machine):
    """Puts packages on dpkg's record, and offers newer versions of them."""
    def stanza(number, version, more=""):
        needs = ", ".join(needs_of(number, version))
        return (
            f"Package: omgb-{number}\n{more}Version: {version}\nArchitecture: all\nInstalled-Size: 64\n"
            + (f"Depends: {needs}\n" if needs else "")
            + "Maintainer: Bench <bench@example.org>\nDescription: made to be measured\n"
        )

    status = machine.path("/var/lib/dpkg/status")
    present = [stanza(number, "1", "Status: install ok installed\n") for number in range(PLANNED)]
    status.write_text(status.read_text(encoding="utf-8").rstrip("\n") + "\n\n" + "\n".join(present), encoding="utf-8")
    offered = [
        stanza(number, "2", f"Filename: ./omgb-{number}_2_all.deb\nSize: 1000\nSHA256: {number:064x}\n")
        for number in range(PLANNED)
    ]
    machine.write("/srv/local/Packages", "\n".join(offered))
    offer(machine)


def listened(command, request):
    """Runs a commit; when each item and, as \"\", the whole were told about, and how it ended."""
    process = subprocess.Popen(
        command, env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    moments, outcome = {"": []}, None
    process.stdin.write(json.dumps(request) + "\n")
    process.stdin.flush()
    for line in process.stdout:
        event = json.loads(line)
        if event["event"] in ("item", "progress"):
            moments.setdefault(event.get("item", ""), []).append(time.monotonic())
        elif event["event"] == "finished":
            outcome = event["outcome"]
    process.stdin.close()
    process.wait()
    return moments, outcome


def within_a_second(times):
    return max((sum(start <= time_ < start + 1 for time_ in times) for start in times), default=0)
