"""on-terminal.py [PROMPT ANSWER]… -- COMMAND…: runs the command on a terminal and answers as a person would, each answer once
its prompt is shown. Prints what the terminal showed, and ends as the command did."""
import os
import pty
import select
import sys
import time

SECONDS = 60

split = sys.argv.index("--")
talk, command = sys.argv[1:split], sys.argv[split + 1:]
talk = list(zip(talk[::2], talk[1::2]))
child, terminal = pty.fork()
if child == 0:
    os.environ["TERM"] = "dumb"
    os.execvp(command[0], command)
shown, seen, end = "", 0, time.monotonic() + SECONDS
while True:
    if not select.select([terminal], [], [], max(0, end - time.monotonic()))[0]:
        shown += f"\n[not done after {SECONDS} s; still to be asked: {talk}]"
        os.kill(child, 9)
        break
    try:
        piece = os.read(terminal, 65536)
    except OSError:
        # The last writer has gone.
        break
    shown += piece.decode(errors="replace")
    if talk and (at := shown.find(talk[0][0], seen)) >= 0:
        seen = at + len(talk[0][0])
        os.write(terminal, talk.pop(0)[1].encode() + b"\n")
print(shown.replace("\r\n", "\n"))
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) if not talk else 99)
