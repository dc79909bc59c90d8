"""Shells that live as long as they are measured, and time what they do themselves."""
import statistics
import subprocess

from measure import Fault, Times

# `prompt` does what bash does before it shows one.
PRELUDE = """shopt -s expand_aliases
prompt() { local command; for command in "${PROMPT_COMMAND[@]}"; do eval "$command"; done; }
"""
END = "--end of answer--"


class Shell:
    """A bash with the hook that `script` puts in place."""

    def __init__(self, environment, script, folder):
        self.process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"], env=environment, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True)
        # On lines of their own: an alias counts from the next line on.
        self.process.stdin.write(PRELUDE + script + " </dev/null\n")

    def ask(self, text):
        """What is printed by commands that are run in this shell itself."""
        self.process.stdin.write(f"{{ {text}\n}} </dev/null; echo '{END}'\n")
        self.process.stdin.flush()
        lines = []
        for line in self.process.stdout:
            if line.rstrip("\n") == END:
                return "\n".join(lines)
            lines.append(line.rstrip("\n"))
        raise Fault(f"bash ended at {text}")

    def time(self, text, count):
        """Nanoseconds for one of `count` times."""
        answer = self.ask(f"begun=$EPOCHREALTIME; for ((turn = 0; turn < {count}; turn++)); do {text}; done >/dev/null; "
                          'echo "$begun $EPOCHREALTIME"')
        begun, ended = (int(word.replace(".", "")) for word in answer.split("\n")[-1].split())
        return (ended - begun) * 1000 / count

    def end(self):
        if self.process.poll() is None:
            self.process.stdin.close()
            self.process.wait()
            self.process.stdout.close()


def shells_in_turn(shells, text, counts, rounds):
    """The times of the same commands in each shell, by name; a round does them `counts[name]` times."""
    taken = {name: [] for name in shells}
    for turn in range(-1, rounds):
        for name, shell in shells.items():
            value = shell.time(text, counts[name])
            if turn >= 0:
                taken[name].append(value)
    return {name: Times(statistics.median(values), min(values)) for name, values in taken.items()}
