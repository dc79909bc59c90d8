"""PackageKit in a namespace of its own: a system bus and packagekitd on the machine's packages, away from the machine's
own bus. Needs root.

Run as a program inside the namespace it prints one JSON object: median (nanoseconds), packages, memory.
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys

from measure import Fault, Subject, interleaved, memory, output, stop, wait_for

DAEMONS = ("/usr/libexec/packagekitd", "/usr/lib/packagekitd", "/usr/lib/packagekit/packagekitd")
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C.UTF-8", "HOME": "/run"}
BUS = "/run/dbus/system_bus_socket"


class Unavailable(Exception):
    """Why PackageKit cannot be measured."""


def measure(word, count):
    """What the program prints, measured over `count` searches for `word`."""
    if not shutil.which("pkcon") or not any(map(os.path.exists, DAEMONS)):
        raise Unavailable("PackageKit is not installed")
    if os.geteuid() != 0:
        raise Unavailable("it needs root for a system bus of its own")
    command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable, __file__, word]
    done = subprocess.run(
        [*command, str(count)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        check=False, timeout=600,
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise Unavailable(last)
    return json.loads(done.stdout)


def inside(word, count):
    # Nothing below is seen outside the namespace, and what packagekitd writes is gone with it.
    for folder in ("/run", "/var/lib/PackageKit", "/var/cache/PackageKit", "/var/cache/apt"):
        if os.path.isdir(folder):
            subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", folder], check=True)
    for folder in ("/run/dbus", "/run/lock", "/var/cache/apt/archives/partial"):
        pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    processes = []
    try:
        bus = ["dbus-daemon", "--system", "--nofork", "--nopidfile"]
        processes.append(subprocess.Popen(bus, env=ENVIRONMENT, **quiet))
        wait_for(lambda: os.path.exists(BUS), "the system bus")
        daemon = next(path for path in DAEMONS if os.path.exists(path))
        processes.append(subprocess.Popen([daemon], env=ENVIRONMENT, **quiet))
        # Earlier calls would make the bus start a second one.
        service = owner("org.freedesktop.PackageKit")
        search = ["pkcon", "--plain", "search", "name", word]
        packages = read_packages(output(search, ENVIRONMENT))
        if not packages:
            raise Fault(f"pkcon found nothing for {word}")
        median = interleaved([Subject("pkcon", search, ENVIRONMENT, count)])["pkcon"].median
        return {"median": median, "packages": packages, "memory": memory(service)}
    finally:
        for process in reversed(processes):
            stop(process.pid, process)


def owner(name):
    """The process that owns a name of the system bus, once there is one."""
    question = ["dbus-send", "--system", "--print-reply=literal", "--dest=org.freedesktop.DBus", "/"]
    question += ["org.freedesktop.DBus.GetConnectionUnixProcessID", f"string:{name}"]
    found = []

    def answered():
        try:
            found.append(int(output(question, ENVIRONMENT).split()[-1]))
        except Fault:
            return False
        return True

    wait_for(answered, "packagekitd", 60)
    return found[0]


def read_packages(text):
    """`name-version.arch` of the lines `State name-version.arch (origin)`."""
    lines = (line.split() for line in text.splitlines())
    return [words[1] for words in lines if len(words) >= 2 and words[0] in ("Available", "Installed")]


if __name__ == "__main__":
    try:
        print(json.dumps(inside(sys.argv[1], int(sys.argv[2]))))
    except (Fault, subprocess.CalledProcessError) as error:
        print(error, file=sys.stderr)
        sys.exit(1)
