#!/usr/bin/env python3
"""Measures what omg does with language runtimes beside fnm, mise and curl with tar; `make bench` calls it.

    tests/bench/runtimes.py            the table
    tests/bench/runtimes.py --quick    the same with few runs, for a first look

Everything happens in homes of its own, against a server on the loopback interface; only what is measured is fetched once,
as packages (npm, pip, cargo), and kept below ${OMG_TEST_CACHE:-/var/cache/omg-tests}/runtimes-bench. Runs of all sides are
interleaved, figures are medians. TARGET_DIR names the folder that holds release/ (default: target). Prints a Markdown
table. Exit status 1 when outcomes differ, 2 when it cannot run.
"""
import argparse
import itertools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.dont_write_bytecode = True
import runtimes_upstream as upstream  # noqa: E402
from measure import Fault, Subject, Times, interleaved, output, stop, wait_for  # noqa: E402
from runtimes_shell import Shell, shells_in_turn  # noqa: E402

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
# Installed on all sides, as programs that tell their version. The first is the default.
VERSIONS = ("22.1.0", "20.11.1")
DEFAULT, WANTED = VERSIONS
NEEDED = ("bash", "cargo", "curl", "gpg", "gpgconf", "npm", "tar", "xz")

# Every file that is read for versions, as projects have them.
FILES = {
    ".nvmrc": "20.11.1\n", ".node-version": "v20.11.1\n", ".python-version": "3.12.1\n3.11\n", ".go-version": "1.22.1\n",
    "rust-toolchain": "1.80.0\n",
    "rust-toolchain.toml": "[toolchain]\nchannel = \"1.80\"\ncomponents = [\"rustfmt\", \"clippy\"]\nprofile = \"minimal\"\n",
    ".rust-version": "1.80.0\n", ".ruby-version": "ruby-3.3.1\n", ".java-version": "21\n",
    ".sdkmanrc": "# Enable auto-env through the sdkman_auto_env config\njava=21.0.4-tem\n", ".bun-version": "1.1.30\n",
    "package.json": json.dumps({
        "name": "project", "version": "1.0.0", "private": True, "engines": {"node": "^20 || >=22", "bun": ">=1.1"},
        "packageManager": "bun@1.1.30", "scripts": {f"task-{n}": f"node scripts/{n}.js --all" for n in range(20)},
        "dependencies": {f"package-{n}": f"^{n}.2.3" for n in range(60)}}, indent=2),
    "go.mod": "module example.org/project\n\ngo 1.22.0\n\ntoolchain go1.22.1\n\nrequire (\n"
              + "".join(f"\texample.org/part{n} v1.{n}.0\n" for n in range(30)) + ")\n",
    "Gemfile": "source \"https://example.org\"\n\nruby \"3.3.1\"\n\n" + "".join(f"gem \"part{n}\", \"~> {n}.1\"\n" for n in range(20)),
    ".tool-versions": "nodejs 20.11.1\npython 3.12.1\ngolang 1.22.1\nruby 3.3.1\n",
    "mise.toml": "[tools]\nnode = \"20\"\npython = \"3.12\"\ndeno = \"2\"\n", ".mise.toml": "[tools]\ngo = \"1.22\"\n",
    "pyproject.toml": "[project]\nname = \"project\"\nversion = \"1.0.0\"\nrequires-python = \">=3.11,<3.13\"\ndependencies = [\n"
                      + "".join(f"  \"part{n}>={n}.1\",\n" for n in range(20)) + "]\n",
}
INSTALLED = {
    "node": ("18.20.0", "20.9.0", "20.11.1", "22.1.0"), "python": ("3.11.9", "3.12.1", "3.13.0"), "go": ("1.21.0", "1.22.1"),
    "rust": ("1.79.0", "1.80.0"), "ruby": ("3.2.0", "3.3.1"), "java": ("17.0.9+9", "21.0.4+7"), "bun": ("1.1.0", "1.1.30"),
    "deno": ("2.0.0",),
}


class Table:
    """The rows, in the order in which they are printed."""

    HEAD = ("what", "ours", "peers", "ratio", "budget", "met", "same outcome")

    def __init__(self):
        self.rows = []
        self.different = []

    def add(self, what, ours, peers="", ratio="", budget="", met=None, same=None):
        """`met` and `same`: true, false, or None for not applicable."""
        if same is False:
            self.different.append(what)
        words = {True: "yes", False: "**no**", None: "–"}
        self.rows.append((what, ours, peers or "–", ratio or "–", budget or "–", words[met], words[same]))
        print(f"{what}: {ours}; {peers}; {ratio}", file=sys.stderr)

    def __str__(self):
        lines = [self.HEAD, tuple("---" for _ in self.HEAD), *self.rows]
        return "\n".join("| " + " | ".join(row) + " |" for row in lines)


def shown(nanoseconds):
    value = nanoseconds / 1e6
    if value < 0.1:
        return f"{nanoseconds / 1e3:.1f} µs"
    return f"{value:.0f} ms" if value >= 100 else f"{value:.1f} ms" if value >= 10 else f"{value:.2f} ms"


def times(ratio):
    return f"{ratio:.0f} ×" if ratio >= 20 else f"{ratio:.2f} ×"


def of(ours, floor, name):
    """The ratio of two `Times`, by median and by fastest run."""
    return f"{times(ours.median / floor.median)} {name} ({times(ours.fastest / floor.fastest)})"


def faster(ours, peer, name):
    return f"{times(peer.median / ours.median)} faster than {name} ({times(peer.fastest / ours.fastest)})"


def tell_version(folder, version):
    """Something like an installed Node.js in the folder."""
    program = folder / "bin/node"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho v{version}\n")
    program.chmod(0o755)


class Home:
    """A home with nothing in it but what is put there, and the environment that leads to it."""

    def __init__(self, folder, programs):
        self.folder, self.programs = folder, programs
        for part in ("home", "run", "config/omg", "work"):
            (folder / part).mkdir(parents=True, mode=0o700)
        self.data, self.cache = folder / "data/omg", folder / "cache/omg"
        self.environment = {
            "PATH": f"{programs}:/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": str(folder / "home"), "SHELL": "/bin/bash",
            **{f"XDG_{name}": str(folder / part) for name, part in (
                ("RUNTIME_DIR", "run"), ("DATA_HOME", "data"), ("CONFIG_HOME", "config"), ("CACHE_HOME", "cache"),
                ("STATE_HOME", "state"))},
        }
        self.daemon = None

    def configure(self, settings=""):
        (self.folder / "config/omg/config.toml").write_text(f'backend = "none"\n{settings}')

    def start(self):
        self.daemon = subprocess.Popen(
            [f"{self.programs}/omgd", "--foreground"], env=self.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for((self.folder / "run/omg.sock").exists, "omgd's socket")

    def end(self):
        if self.daemon:
            stop(self.daemon.pid, self.daemon)
            self.daemon = None

    def omg(self, *arguments):
        return [f"{self.programs}/omg", *arguments]

    def said(self, *arguments, **more):
        return output(self.omg(*arguments), {**self.environment, **more})


class Bench:
    def __init__(self, folder, programs, cache, quick):
        self.folder, self.programs, self.quick = folder, programs, quick
        self.fast, self.slow = (51, 5) if quick else (301, 25)
        self.table = Table()
        self.ending = []
        # First of all: a compiler beside the runs would disturb them.
        self.resolving = build_example()
        self.mise = upstream.mise(cache)
        try:
            self.fnm, self.why_no_fnm = upstream.fnm(cache), ""
        except Fault as error:
            self.fnm, self.why_no_fnm = None, str(error)
        self.upstream = upstream.Upstream(cache, folder / "upstream")
        self.ending.append(lambda: stop(self.upstream.process.pid, self.upstream.process))

    def end(self):
        for end in reversed(self.ending):
            end()

    def home(self, name):
        home = Home(self.folder / name, self.programs)
        self.ending.append(home.end)
        return home

    # A home in which all three have the same versions.

    def equal(self):
        home = self.home("equal")
        home.configure()
        root = home.folder
        environment = {
            **home.environment, "FNM_DIR": str(root / "fnm"), "MISE_DATA_DIR": str(root / "mise"), "MISE_OFFLINE": "1",
            "MISE_IDIOMATIC_VERSION_FILE_ENABLE_TOOLS": "node",
        }
        places = [home.data / "versions/node", root / "mise/installs/node"]
        for version in VERSIONS:
            for place in places:
                tell_version(place / version, version)
            tell_version(root / f"fnm/node-versions/v{version}/installation", version)
        # Programs by the names that the hooks of shells call.
        (root / "peers").mkdir()
        for name, program in (("fnm", self.fnm), ("mise", self.mise)):
            if program:
                (root / "peers" / name).symlink_to(program)
        home.environment = {**environment, "PATH": f"{root}/peers:{environment['PATH']}"}
        home.fnm = [str(self.fnm)] if self.fnm else None
        home.peers = (["fnm"] if self.fnm else []) + ["mise"]
        return home

    def subject(self, name, command, environment, count=None, **more):
        return Subject(name, command, environment, count or self.fast, **more)

    def switching(self, home):
        """`use` of installed versions, another one each time."""
        turns = {}

        def switch(*command, last="{}"):
            turn = turns.setdefault(command, itertools.cycle(VERSIONS))
            return lambda: [*map(str, command), last.format(next(turn))]

        true = self.subject("true", ["/usr/bin/true"], home.environment)
        subjects = [true, self.subject("omg", switch(*home.omg("use", "node")), home.environment)]
        few = max(self.slow, self.fast // 5)
        subjects.append(self.subject("mise", switch(self.mise, "use", "-g", last="node@{}"), home.environment, few))
        if self.fnm:
            words = [line.split('"')[1] for line in output([*home.fnm, "env", "--shell", "bash"], home.environment).splitlines()
                     if line.startswith("export FNM_MULTISHELL_PATH=")]
            shell = {**home.environment, "FNM_MULTISHELL_PATH": words[0]}
            subjects += [self.subject("fnm default", switch(self.fnm, "default"), shell),
                         self.subject("fnm use", switch(self.fnm, "use"), shell)]
        for daemon in (True, False):
            if daemon:
                home.start()
                wait_for((home.data / "status").exists, "omgd's status file")
            else:
                # Nothing knows of runtimes that a prompt would show.
                home.end()
                (home.data / "status").unlink(missing_ok=True)
                subjects = subjects[:2]
            taken = interleaved(subjects)
            used = [home.data / "versions/node/current/bin/node"]
            ran = set()
            for version in VERSIONS:
                output(home.omg("use", "node", version), home.environment)
                ran.add((version, output([str(used[0])], {"PATH": "/usr/bin:/bin"}).strip()))
            if daemon:
                for version in VERSIONS:
                    output([str(self.mise), "use", "-g", f"node@{version}"], home.environment)
                    ran.add((version, output([str(self.mise), "exec", "--", "node"], home.environment).strip()))
                    if self.fnm:
                        output([str(self.fnm), "default", version], home.environment)
                        ran.add((version, output([str(home.folder / "fnm/aliases/default/bin/node")], home.environment).strip()))
            same = ran == {(version, f"v{version}") for version in VERSIONS}
            ours, floor = taken["omg"], taken["true"]
            ratio, met, peers = [of(ours, floor, "`true`")], ours.median <= 3 * floor.median, ""
            if daemon:
                met &= taken["mise"].median >= 20 * ours.median
                peers = "; ".join(f"`{name}` {shown(taken[name].median)}" for name in taken if name not in ("omg", "true"))
                peers = peers.replace("`mise`", "`mise use -g`")
                ratio += [faster(ours, taken["mise"], "mise")]
                ratio += [of(ours, taken[name], f"`{name}`") for name in ("fnm default", "fnm use") if name in taken]
            self.table.add(
                "`omg use node X` of an installed version, omgd runs" if daemon else "the same without omgd and its status file",
                shown(ours.median), f"`true` {shown(floor.median)}" + ("; " + peers if peers else ""), "; ".join(ratio),
                "≤ 3 × `true`; ≥ 20 × faster than mise" if daemon else "≤ 3 × `true`", met, same,
            )
        # All use the default again.
        for command in (home.omg("use", "node"), *([[self.fnm, "default"]] if self.fnm else [])):
            output([*map(str, command), DEFAULT], home.environment)
        output([str(self.mise), "use", "-g", f"node@{DEFAULT}"], home.environment)

    def looking(self, home):
        """What asks only."""
        true = self.subject("true", ["/usr/bin/true"], home.environment)
        found = {
            "list": sorted(json.loads(line)["version"] for line in home.said("list", "node", "--json").splitlines())
            == sorted(VERSIONS) == sorted(row["version"] for row in json.loads(
                output([str(self.mise), "ls", "--installed", "--json", "node"], home.environment))),
            "which": home.said("which", "node").strip() == str(home.data / "versions/node/current/bin/node"),
            "current": json.loads(home.said("current", "--json"))["version"] == DEFAULT
            == output([str(self.mise), "current", "node"], home.environment).strip(),
            "exec": None,
        }
        for name, ours, mise, fnm in (
            ("list", ("list", "node"), ("ls", "node"), ("list",)), ("which", ("which", "node"), ("which", "node"), None),
            ("current", ("current",), ("current",), None), ("exec", ("exec", "--", "true"), ("exec", "--", "true"), None),
        ):
            subjects = [true, self.subject("omg", home.omg(*ours), home.environment),
                        self.subject("mise", [str(self.mise), *mise], home.environment, self.slow)]
            if fnm and self.fnm:
                subjects.append(self.subject("fnm", [str(self.fnm), *fnm], home.environment))
            taken = interleaved(subjects)
            peers = [f"`true` {shown(taken['true'].median)}", f"`mise {' '.join(mise)}` {shown(taken['mise'].median)}"]
            if "fnm" in taken:
                peers.append(f"`fnm {' '.join(fnm)}` {shown(taken['fnm'].median)}")
            self.table.add(f"`omg {' '.join(ours)}`", shown(taken["omg"].median), "; ".join(peers),
                           of(taken["omg"], taken["true"], "`true`"), same=found[name])

    def hooks(self, home):
        """In three shells of bash, each with one hook."""
        work = home.folder / "work"
        for folder in ("project", "plain"):
            (work / folder).mkdir()
        (work / "project/.node-version").write_text(f"{WANTED}\n")
        scripts = {"omg": 'eval "$(omg hook bash)"', "fnm": 'eval "$(fnm env --use-on-cd --shell bash)"',
                   "mise": 'eval "$(mise activate bash)"'}
        shells = {name: Shell(home.environment, script, work) for name, script in scripts.items() if name == "omg" or name in home.peers}
        self.ending += [shell.end for shell in shells.values()]
        quick = {"omg": 1000, "fnm": 1000, "mise": 2}
        starting = {**quick, "fnm": 20}
        rounds = 5 if self.quick else 15
        project, plain = f"cd '{work}/project'", f"cd '{work}/plain'"

        def row(what, before, text, counts, budget="", fnm_counts=True, outcome=None, same=None, per=1):
            for shell in shells.values():
                shell.ask(f"{before}; prompt; prompt")
            taken = {name: Times(value.median / per, value.fastest / per)
                     for name, value in shells_in_turn(shells, text, counts, rounds).items()}
            ours, met = taken["omg"], None
            ratio = [faster(ours, taken["mise"], "mise")]
            if "fnm" in taken:
                ratio.append(of(ours, taken["fnm"], "fnm"))
            if budget:
                met = taken["mise"].median >= 20 * ours.median and (
                    not fnm_counts or "fnm" not in taken or ours.median <= taken["fnm"].median)
            if outcome:
                same = all(shells[name].ask("node") == version for name, version in outcome.items() if name in shells)
            peers = "; ".join(f"{name} {shown(taken[name].median)}" for name in taken if name != "omg")
            self.table.add(what, shown(ours.median), peers, "; ".join(ratio), budget, met, same)
            return ours

        both = "≤ fnm's; ≥ 20 × faster than mise's"
        here = {name: f"v{WANTED}" for name in shells}
        away = {name: f"v{WANTED if name == 'fnm' else DEFAULT}" for name in shells}
        prompt = row("hook in bash: a prompt in an unchanged project (fnm has none there: an empty call)", project, "prompt",
                     quick, "≥ 20 × faster than mise's", False, here)
        row("hook in bash: `cd .` and a prompt in it", project, "cd .; prompt", starting, both, True, here)
        row("hook in bash: a prompt in a folder without version files", plain, "prompt", quick)
        row("hook in bash: `cd .` and a prompt there", plain, "cd .; prompt", quick)
        row("hook in bash: into a project and out again, half of it (fnm keeps its version outside)", plain,
            f"{project}; prompt; {plain}; prompt", {"omg": 20, "fnm": 20, "mise": 2}, outcome=away, per=2)
        true = interleaved([self.subject("true", ["/usr/bin/true"], home.environment)])["true"]
        self.table.add("the first of these beside `true`", shown(prompt.median), f"`true` {shown(true.median)}",
                       of(prompt, true, "`true`"), "< 3 × `true`", prompt.median < 3 * true.median)
        for shell in shells.values():
            shell.end()

    def installing(self, runtimes=("node", "go")):
        home = self.home("installing")
        home.configure(self.upstream.settings())
        home.start()
        count = 3 if self.quick else 9
        for runtime, version, path, letter in (
            ("node", upstream.NODE, self.upstream.node_path, "J"), ("go", upstream.GO, self.upstream.go_path, "z"),
        ):
            if runtime not in runtimes:
                continue
            place = home.data / "versions" / runtime / version
            peers = {name: home.folder / name for name in ("tar", "tar synced")}
            url = f"{self.upstream.address}/{path}"

            def afresh():
                # Of all sides: what nobody has any more is not written to the disk during the next run.
                for folder in (place, home.cache, *peers.values()):
                    shutil.rmtree(folder, ignore_errors=True)
                for folder in peers.values():
                    folder.mkdir()

            def pipe(folder, end=""):
                return ["bash", "-c", f"set -o pipefail; curl -s '{url}' | tar x{letter} -C '{folder}'{end}"]

            commands = {"omg": home.omg("use", runtime, version)}
            commands |= {name: pipe(folder, f" && sync -f '{folder}'" * (name == "tar synced")) for name, folder in peers.items()}
            afresh()
            for command in commands.values():
                output(command, home.environment)
            trees = [upstream.tree(place), *(upstream.tree(next(folder.iterdir())) for folder in peers.values())]
            trees[0].pop(".omg-install.json", None)
            taken = interleaved(
                [self.subject(name, command, home.environment, count, before=afresh) for name, command in commands.items()])
            ours, peer, synced = taken["omg"], taken["tar"], taken["tar synced"]
            size = (self.upstream.folder / path).stat().st_size
            self.table.add(
                f"`omg use {runtime} {version}` from a local server – `curl -s URL \\| tar x{letter}` of the same archive "
                f"({size / 2**20:.0f} MiB, {len(trees[1]):,} files)", shown(ours.median),
                f"{shown(peer.median)}; with `sync -f` {shown(synced.median)}",
                f"{of(ours, peer, 'it')}; {of(ours, synced, 'it with `sync -f`')}", "≤ 1.1 ×", ours.median <= 1.1 * peer.median,
                trees[0] == trees[1] == trees[2],
            )
            afresh()
        home.end()

    def resolve(self):
        home = self.home("resolving")
        home.configure()
        project = home.folder / "work/team/project"
        project.mkdir(parents=True)
        for name, content in FILES.items():
            (project / name).write_text(content)
        for runtime, versions in INSTALLED.items():
            for version in versions:
                (home.data / "versions" / runtime / version / "bin").mkdir(parents=True)
            (home.data / "versions" / runtime / "current").symlink_to(versions[-1])
        home.start()
        count = 500 if self.quick else 5000
        command = [self.resolving, str(home.folder / "run/omg.sock"), str(home.data), str(project), str(count)]
        figures = dict(line.split() for line in output(command, home.environment).splitlines())
        home.end()
        at = lambda name: f"p50 {shown(int(figures[name + '_p50']))}, p99 {shown(int(figures[name + '_p99']))}"
        budget = int(figures["resolve_p50"]) <= 200_000
        what = f"resolving a folder with all {len(FILES)} version files, {figures['wishes']} requests in them"
        self.table.add(f"{what}: the work in the daemon, when nothing has changed since it was last done", at("resolve"), "", "", "≤ 200 µs",
                       budget)
        self.table.add("the same when everything is read", at("afresh"), f"of that reading and parsing {at('read')}", "", "≤ 200 µs",
                       int(figures["afresh_p50"]) <= 200_000)
        self.table.add("the same as a call of Resolve over the socket", at("call"), f"a call of Ping {at('ping')}",
                       same=figures["same"] == "yes")

    def run(self):
        home = self.equal()
        self.switching(home)
        self.hooks(home)
        self.looking(home)
        self.installing()
        self.resolve()


def build_example():
    """The program of runtimes.rs, built as a release is."""
    command = [os.environ.get("CARGO", "cargo"), "build", "--release", "--locked", "--example", "runtimes", "--message-format", "json"]
    built = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, check=True, text=True)
    for line in built.stdout.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == "runtimes":
            return message["executable"]
    raise Fault("cargo named no program for tests/bench/runtimes.rs")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few runs")
    arguments = parser.parse_args()
    target = os.environ.get("TARGET_DIR") or os.environ.get("CARGO_TARGET_DIR") or REPOSITORY / "target"
    programs = pathlib.Path(target).resolve() / "release"
    if not (programs / "omgd").exists():
        print(f"there is no omgd in {programs}: run `make build`", file=sys.stderr)
        return 2
    for program in NEEDED:
        if not shutil.which(program):
            print(f"beside fnm and mise: not measured ({program} is not installed)", file=sys.stderr)
            return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    cache = pathlib.Path(os.environ.get("OMG_TEST_CACHE", "/var/cache/omg-tests")) / "runtimes-bench"
    cache.mkdir(parents=True, exist_ok=True)
    load = os.getloadavg()[0]
    folder = pathlib.Path(tempfile.mkdtemp(prefix="omg-bench-"))
    bench = None
    try:
        # Copies, as an installation has them: what a linker has written piece by piece lies so in the page cache too, and takes
        # a third longer to start.
        installed = folder / "bin"
        installed.mkdir()
        for program in ("omg", "omg-fast", "omgd", "omg-helper"):
            shutil.copy(programs / program, installed)
        bench = Bench(folder, installed, cache, arguments.quick)
        bench.run()
    except (Fault, subprocess.CalledProcessError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    finally:
        if bench:
            bench.end()
        shutil.rmtree(folder, ignore_errors=True)
    print(bench.table)
    print()
    print(f"fnm {upstream.FNM}, mise {upstream.MISE}. {bench.why_no_fnm}".strip(), end=" ")
    print(f"Load average {load:.1f} at the start, {os.getloadavg()[0]:.1f} at the end. Medians of {bench.fast} runs (in brackets: by")
    print(f"fastest runs), {bench.slow} or more of slow ones. Command: `tests/bench/runtimes.py{' --quick' * arguments.quick}`.")
    if bench.table.different:
        print(f"Outcomes differ: {'; '.join(bench.table.different)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
