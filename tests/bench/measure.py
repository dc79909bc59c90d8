"""Times whole processes and reads their memory."""
import dataclasses
import os
import random
import select
import signal
import statistics
import subprocess
import time
import typing


class Fault(Exception):
    """The benchmark cannot go on."""


@dataclasses.dataclass
class Subject:
    """What is run `count` times. `command` may be a function that gives each run's own. `before` and `after` run around
    each run, outside the measured time."""

    name: str
    command: typing.Any
    environment: dict
    count: int
    before: typing.Callable = None
    after: typing.Callable = None


class Times(typing.NamedTuple):
    """Nanoseconds. The fastest run is the one that the rest of the machine disturbed least."""

    median: float
    fastest: float


def once(command, environment):
    """Nanoseconds from the start of a process until it has been waited for."""
    program = command[0] if "/" in command[0] else find(command[0], environment)
    null = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in (0, 1, 2)]
    started = time.perf_counter_ns()
    pid = os.posix_spawn(program, command, environment, file_actions=null)
    _, status, _ = os.wait4(pid, 0)
    taken = time.perf_counter_ns() - started
    code = os.waitstatus_to_exitcode(status)
    if code != 0:
        raise Fault(f"{' '.join(command)} ended with status {code}")
    return taken


def find(program, environment):
    for folder in environment["PATH"].split(":"):
        path = os.path.join(folder, program)
        if os.access(path, os.X_OK):
            return path
    raise Fault(f"{program} is not installed")


def interleaved(subjects):
    """Runs the subjects in turn, so that what else happens on the machine meets all of them alike; those with fewer runs
    are spread evenly. In each round they come in another order: a virtual machine's memory is brought back by its host when it is
    touched again, and one that always ran behind a large one would find it there. Returns the times of each, by name."""
    rounds = max(subject.count for subject in subjects)
    taken = {subject.name: [] for subject in subjects}
    # The same orders each time.
    orders = random.Random(1)
    # One unmeasured round brings programs and files into memory.
    for turn in range(-1, rounds):
        for subject in subjects if turn < 0 else orders.sample(subjects, len(subjects)):
            if turn >= 0 and (turn + 1) * subject.count // rounds == turn * subject.count // rounds:
                continue
            if subject.before:
                subject.before()
            command = subject.command() if callable(subject.command) else subject.command
            nanoseconds = once(command, subject.environment)
            if subject.after:
                subject.after()
            if turn >= 0:
                taken[subject.name].append(nanoseconds)
    return {name: Times(statistics.median(values), min(values)) for name, values in taken.items()}


def output(command, environment):
    """Standard output of a command that must succeed."""
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        check=False,
    )
    if done.returncode != 0:
        raise Fault(f"{' '.join(map(str, command))} ended with status {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def memory(pid):
    """The sums of /proc/PID/smaps_rollup in bytes, by their names there."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        words = [line.split() for line in file]
    return {word[0].rstrip(":"): int(word[1]) * 1024 for word in words if len(word) == 3 and word[2] == "kB"}


def wait_for(condition, what, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise Fault(f"{what} did not come up within {seconds} s")
        time.sleep(0.01)


def stop(pid, process=None):
    """Ends a process with SIGTERM, or with SIGKILL when it takes too long, and waits until it is gone. `process` is its
    Popen when it is a child of this one."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                signal.pidfd_send_signal(descriptor, number)
            except ProcessLookupError:
                break
            if select.select([descriptor], [], [], 10)[0]:
                break
    finally:
        os.close(descriptor)
        if process:
            process.wait()
