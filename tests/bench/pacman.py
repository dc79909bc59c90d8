#!/usr/bin/env python3
"""Measures omg against pacman on databases of real size, inside the root that ships Arch's own pacman.

    tests/bench/pacman.py [--quick] [COUNT...]

COUNT is how many packages the sync database has (0: all of this machine's Debian lists); 15000 and 0 when not given. The AUR is
off but for its own table, since pacman does not know it.
`tests/tiers/pacman-root.sh release` builds the programs. Prints a Markdown table for each, one for changes of packages and one
with the AUR's; beside each row stands whether both sides gave the same answer. Exit status 1 when answers differ, 2 when it cannot run.
"""
import argparse
import contextlib
import ctypes
import json
import os
import pathlib
import pickle
import resource  # noqa: F401  pylint: disable=unused-import  # the interpreter wants it later, where it is not to be found
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.dont_write_bytecode = True
import pacman_aur  # noqa: E402
import pacman_changes  # noqa: E402
from debian import ENVIRONMENT, Machine, Unavailable  # noqa: E402
from measure import Fault, Subject, interleaved, memory, wait_for  # noqa: E402

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
GENERATOR = REPOSITORY / "tests/support/pacman_databases.py"
CONFIGURATION = """[options]
Architecture = x86_64
SigLevel = Never
DisableSandbox
[big]
Server = file:///srv/big
"""
SETTINGS = 'helper = "/usr/libexec/omg-helper"\n'
# Which pacman does not know.
WITHOUT_AUR = "[aur]\nenabled = false\n"
WORD, PACKAGE = "firefox", "bash"
# With their numbers in sched.h.
NAMESPACES = (("pid", 0x20000000), ("mnt", 0x00020000))


def inside(machine, work):
    """What `work` gives, run in the machine by a child of this process: with no program in between that
    would be measured as well."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            libc = ctypes.CDLL(None, use_errno=True)
            spaces = [(os.open(f"/proc/{machine.init}/ns/{name}", os.O_RDONLY), kind) for name, kind in NAMESPACES]
            root = os.open(f"/proc/{machine.init}/root", os.O_RDONLY)
            for namespace, kind in spaces:
                if libc.setns(namespace, kind) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
            os.fchdir(root)
            os.chroot(".")
            # Only a child is in the other PID namespace, whose /proc is there: without it omg does not find its daemon.
            grandchild = os.fork()
            if grandchild:
                os.waitpid(grandchild, 0)
                os._exit(0)
            result = (True, work())
        except Exception as error:  # pylint: disable=broad-except
            result = (False, repr(error))
        with os.fdopen(writer, "wb") as file:
            pickle.dump(result, file)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        worked, result = pickle.load(file)
    os.waitpid(child, 0)
    if not worked:
        raise Fault(result)
    return result


def arch(machine, programs, settings=""):
    """Makes the machine take itself for Arch Linux, with our programs and these settings of theirs."""
    machine.path("/etc/os-release").unlink()
    machine.write("/etc/os-release", "NAME=\"Arch Linux\"\nID=arch\n")
    for program, place in (("omg", "/usr/bin/omg"), ("omgd", "/usr/bin/omgd"), ("omg-helper", "/usr/libexec/omg-helper")):
        machine.path(place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(programs / program, machine.path(place))
    machine.write("/root/.config/omg/config.toml", SETTINGS + settings)


@contextlib.contextmanager
def running(layers, programs, databases, scratch, changes=None, settings=""):
    """A machine with these databases of pacman's in which omgd runs, and the process that started it there."""
    machine, daemon = Machine(layers, scratch, changes), None
    try:
        arch(machine, programs, settings)
        machine.write("/etc/pacman.conf", CONFIGURATION)
        shutil.copytree(databases, machine.path("/var/lib/pacman"), dirs_exist_ok=True)
        daemon = subprocess.Popen(machine.command("/usr/bin/omgd", "--foreground"), env=ENVIRONMENT,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(machine.path("/run/user/0/omg.sock").exists, "omgd's socket")
        yield machine, daemon
    finally:
        if daemon:
            daemon.terminate()
        machine.end()
        if daemon:
            daemon.wait()


def daemon_of(machine):
    """The process id of the only omgd in the machine."""
    found = machine.run("sh", "-c", "grep -lx omgd /proc/[0-9]*/comm").split("/")[2]
    for status in pathlib.Path("/proc").glob("[0-9]*/status"):
        with open(status, encoding="ascii", errors="replace") as lines:
            fields = dict(line.rstrip("\n").partition(":")[::2] for line in lines)
        if fields["Name"].strip() == "omgd" and fields.get("NSpid", "").split()[-1:] == [found]:
            return int(fields["Pid"])
    raise Fault("omgd is not there")


def names(text):
    return sorted({line.split("\t")[0] for line in text.splitlines() if line})


def generated(count, scratch, installed=()):
    """The folder of databases of which the sync database has `count` packages; ("all",): they are installed, too."""
    databases = scratch / "-".join(("databases", str(count), *installed))
    if not databases.exists():
        done = subprocess.run([sys.executable, str(GENERATOR), str(count), str(databases), *installed], stdout=subprocess.PIPE,
                              text=True, check=True)
        print(done.stdout.strip(), file=sys.stderr)
    return databases


def bench(count, runs, layers, programs, scratch):
    databases = generated(count, scratch)
    changes = scratch / f"changes-{count}"
    changes.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(changes)], check=False)
    try:
        with running(layers, programs, databases, scratch, changes, WITHOUT_AUR) as (machine, daemon):
            same = {
                "search": names(machine.run("omg", "search", "--substring", "--limit", "0", "--json", WORD)) != []
                and sorted(json.loads(line)["name"] for line in machine.run(
                    "omg", "search", "--substring", "--limit", "0", "--json", WORD).splitlines())
                == sorted(machine.run("pacman", "-Ssq", WORD).split()),
                "info": json.loads(machine.run("omg", "info", "--json", PACKAGE))["version"]
                == next(line.split(" : ")[1] for line in machine.run("pacman", "-Si", PACKAGE).splitlines()
                        if line.startswith("Version")),
                "explicit": names(machine.run("omg", "list", "--explicit")) == sorted(machine.run("pacman", "-Qqe").split()),
                "index": sorted(json.loads(line)["name"] for line in machine.run(
                    "omg", "list", "--repo", "big", "--json").splitlines()) == sorted(machine.run("pacman", "-Slq").split()),
            }

            def measured():
                subject = lambda name, command, count: Subject(name, command, ENVIRONMENT, count)
                few = max(3, runs // 10)
                return interleaved([
                    subject("true", ["/usr/bin/true"], runs),
                    subject("omg search", ["/usr/bin/omg", "search", WORD], runs),
                    subject("omg info", ["/usr/bin/omg", "info", PACKAGE], runs),
                    subject("omg explicit", ["/usr/bin/omg", "list", "--explicit"], runs),
                    subject("pacman search", ["/usr/bin/pacman", "-Ss", WORD], few),
                    subject("pacman info", ["/usr/bin/pacman", "-Si", PACKAGE], few),
                    subject("pacman explicit", ["/usr/bin/pacman", "-Qe"], few),
                    subject("pacman all", ["/usr/bin/pacman", "-Ss"], few),
                    subject("omg index", ["/usr/libexec/omg-helper", "index", "--output", "/tmp/x.snapshot"], few),
                ])

            times = inside(machine, measured)
            found = subprocess.run(["pgrep", "--parent", str(daemon.pid)], stdout=subprocess.PIPE, text=True, check=False)
            pids = [int(word) for word in found.stdout.split()] or [daemon.pid]
            resident = sum(memory(pid)["Rss"] for pid in pids) / (1 << 20)
            true = times["true"].median
            print(f"\n{len(machine.run('pacman', '-Slq').splitlines())} packages\n")
            print("| what | ours ms | pacman ms | ratio | × true | by fastest runs | budget | met | same answer |\n"
                  "|---|---|---|---|---|---|---|---|---|")
            for row in ("search", "info", "explicit"):
                ours, theirs = times[f"omg {row}"].median, times[f"pacman {row}"].median
                met = theirs / ours >= 80 and ours / true <= 3
                least, fast = times[f"omg {row}"].fastest, times[f"pacman {row}"].fastest
                fastest = f"{fast / least:.0f}, {least / times['true'].fastest:.2f} × true"
                print(f"| {row} | {ours / 1e6:.2f} | {theirs / 1e6:.1f} | {theirs / ours:.0f} | {ours / true:.2f} | {fastest} | "
                      f"≥ 80 × at 15,000; ≤ 3 × true | {'yes' if met else '**no**'} | {'yes' if same[row] else '**no**'} |")
            ours, theirs = times["omg index"].median, times["pacman all"].median
            print(f"| index rebuild – pacman -Ss of everything | {ours / 1e6:.0f} | {theirs / 1e6:.0f} | {ours / theirs:.2f} | – | "
                  f"{times['omg index'].fastest / times['pacman all'].fastest:.2f} | "
                  f"≤ 1.5 × | {'yes' if ours <= 1.5 * theirs else '**no**'} | {'yes' if same['index'] else '**no**'} |")
            print(f"| omgd resident | {resident:.1f} MiB | – | – | – | – | ≤ 24 MiB | {'yes' if resident <= 24 else '**no**'} | – |")
            return all(same.values())
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", str(changes)], check=False)


def listing(count, runs, layers, programs, scratch):
    """The listing where as many packages are installed as the sync database has: pacman reads those alone for it."""
    with running(layers, programs, generated(count, scratch, ("all",)), scratch, settings=WITHOUT_AUR) as (machine, _):
        same = names(machine.run("omg", "list", "--explicit")) == sorted(machine.run("pacman", "-Qqe").split())

        def measured():
            subject = lambda name, command, count: Subject(name, command, ENVIRONMENT, count)
            return interleaved([
                subject("true", ["/usr/bin/true"], runs),
                subject("omg", ["/usr/bin/omg", "list", "--explicit"], runs),
                subject("pacman", ["/usr/bin/pacman", "-Qe"], max(3, runs // 10)),
            ])

        times = inside(machine, measured)
    ours, theirs, true = times["omg"], times["pacman"], times["true"]
    print(f"\n{count} packages, all of them installed\n")
    print("| what | ours ms | pacman ms | ratio | × true | by fastest runs | budget | met | same answer |\n|---|---|---|---|---|---|---|---|---|")
    met = theirs.median / ours.median >= 80
    print(f"| explicit | {ours.median / 1e6:.2f} | {theirs.median / 1e6:.1f} | {theirs.median / ours.median:.0f} | "
          f"{ours.median / true.median:.2f} | {theirs.fastest / ours.fastest:.0f}, {ours.fastest / true.fastest:.2f} × true | "
          f"≥ 80 × | {'yes' if met else '**no**'} | {'yes' if same else '**no**'} |")
    return same


def changed(count, runs, layers, programs, scratch):
    """The rows of pacman_changes."""
    big = generated(count, scratch) / "sync/big.db"
    print(f"\n{count} packages known besides\n")
    print("| what | ours ms | pacman ms | ratio | by fastest runs | budget | met | same answer |\n|---|---|---|---|---|---|---|---|")

    def show(what, ours, peer, same):
        ratio = ours.median / peer.median
        print(f"| {what} | {ours.median / 1e6:.0f} | {peer.median / 1e6:.0f} | {ratio:.2f} | {ours.fastest / peer.fastest:.2f} | "
              f"≤ 1.0 × | {'yes' if ratio <= 1 else '**no**'} | {'yes' if same else '**no**'} |", flush=True)

    def prepare(machine):
        arch(machine, programs, WITHOUT_AUR)

    return pacman_changes.rows(scratch, layers, prepare, big, runs, show)


def with_aur(count, searches, layers, programs, scratch):
    """Searches of the repositories and the AUR together: how long they take in the daemon, and what it holds."""
    databases = generated(count, scratch)
    packed, size = pacman_aur.archive()
    with (
        pacman_aur.served(packed) as address,
        running(layers, programs, databases, scratch,
                settings=f"[aur]\nenabled = true\nurl = \"{address}\"\n") as (machine, _),
    ):
        metrics = lambda: json.loads(machine.run("omg", "metrics", "--json"))
        machine.run("omg", "status")
        wait_for(lambda: metrics()["aur_archives"] == 1, "the AUR's archive", 60)
        wait_for(lambda: json.loads(machine.run("omg", "status", "--json")).get("aur_packages") == size,
                 "the AUR's packages", 120)
        hits = 0
        for word in pacman_aur.words(searches):
            done = subprocess.run(machine.command("omg", "search", "--quiet", word), env=ENVIRONMENT,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=False)
            hits += bool(done.stdout)
        held = memory(daemon_of(machine))
        print(f"\n{count} packages of a repository, {size} of the AUR; {searches} different words, {hits} found something\n")
        print("| what | ours | budget | met |\n|---|---|---|---|")
        times = metrics()["latency_micros"]["Search"]
        print(f"| fuzzy search over both, in the daemon ({searches} calls) | p50 {times['p50'] / 1e3:.2f} ms, p99 "
              f"{times['p99'] / 1e3:.2f} ms, max {times['max'] / 1e3:.2f} ms | p99 ≤ 8 ms | "
              f"{'yes' if times['p99'] <= 8000 else '**no**'} |")
        print(f"| omgd resident at the last of them | RSS {held['Rss'] / 2**20:.1f} MiB, of its own "
              f"{held['Anonymous'] / 2**20:.1f} MiB | RSS ≤ 24 MiB | {'yes' if held['Rss'] <= 24 * 2**20 else '**no**'} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("counts", metavar="COUNT", nargs="*", type=int, default=[15000, 0])
    arguments = parser.parse_args()
    cache = pathlib.Path(os.environ.get("OMG_TEST_CACHE", "/var/cache/omg-tests"))
    programs = cache / "forky-release-programs"
    if not (programs / "omg-helper").exists():
        print(f"there are no programs in {programs}: run tests/tiers/pacman-root.sh release", file=sys.stderr)
        return 2
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="omg-bench-"))
    same = True
    try:
        for count in arguments.counts:
            same &= bench(count, 30 if arguments.quick else 200, [cache / "forky"], programs, scratch)
        same &= listing(15000, 30 if arguments.quick else 200, [cache / "forky"], programs, scratch)
        same &= changed(15000, 7 if arguments.quick else 25, [cache / "forky"], programs, scratch)
        with_aur(15000, 200 if arguments.quick else 1000, [cache / "forky"], programs, scratch)
    except (Fault, Unavailable) as error:
        print(error, file=sys.stderr)
        return 2
    finally:
        # Nothing is mounted below it any more, or it stays.
        subprocess.run(["rm", "-rf", "--one-file-system", str(scratch)], check=False)
    return 0 if same else 1


if __name__ == "__main__":
    # Mounts of its own end with it.
    if os.environ.get("OMG_BENCH_NAMESPACE") != "own":
        os.environ["OMG_BENCH_NAMESPACE"] = "own"
        os.execvp("unshare", ["unshare", "--mount", "--propagation=private", sys.executable, *sys.argv])
    sys.exit(main())
