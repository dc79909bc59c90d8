"""What the checks on the system bus use: clients as any user, the throwaway machine, check lines."""
import asyncio
import json
import os
import subprocess
import sys
import time
import traceback
import xml.etree.ElementTree as tree

from dbus_next import BusType, Message, MessageFlag, MessageType, Variant
from dbus_next.aio import MessageBus

NAME = "org.omg.Transaction1"
PATH = "/org/omg/Transaction1"
JOB = "org.omg.Job1"
PROPERTIES = "org.freedesktop.DBus.Properties"
ERROR = "org.omg.Error."
ROOT = sys.argv[1]
HELPER = "/usr/libexec/omg/omg-helper"
USER, OTHER = 61601, 61602
INSTALL = [("install", "hello-omg")]
REFUSED = "NotAuthorized"
# The methods of a job, and arguments that are right in form.
JOB_METHODS = {"Start": ("", []), "Cancel": ("", []), "Answer": ("us", [7, "keep"]), "GetResult": ("", []), "Close": ("", [])}
# Enough for a machine that is busy; nothing here is as slow on one that is not.
PATIENCE = 90

failed = False


def check(what, coroutine):
    """Runs one check to its end and prints its line."""
    global failed
    if not coroutine.__name__.startswith(os.environ.get("SYSTEM_BUS_ONLY", "")):
        return
    try:
        asyncio.run(asyncio.wait_for(coroutine(), PATIENCE * 3))
        print(f"ok - {what}", flush=True)
    except BaseException as error:
        failed = True
        print(f"not ok - {what}", flush=True)
        for line in traceback.format_exception(error):
            print("# " + line.rstrip().replace("\n", "\n# "), flush=True)


async def eventually(condition, what="it"):
    end = time.monotonic() + PATIENCE
    while True:
        value = condition()
        if asyncio.iscoroutine(value):
            value = await value
        if value:
            return value
        assert time.monotonic() < end, f"{what} never came true"
        await asyncio.sleep(0.05)


class Refused(Exception):
    def __init__(self, name, text):
        super().__init__(f"{name}: {text}")
        self.name = name.removeprefix(ERROR)
        self.text = text


class Client:
    """A connection of one user, and every message that it gets."""

    def __init__(self, bus):
        self.bus = bus
        self.signals = []
        bus.add_message_handler(self.heard)

    @classmethod
    async def connect(cls, uid):
        # The bus takes the user from the socket, at the time of connecting.
        os.setresuid(uid, uid, 0)
        try:
            bus = await MessageBus(bus_type=BusType.SYSTEM, negotiate_unix_fd=True).connect()
        finally:
            os.setresuid(0, 0, 0)
        return cls(bus)

    def heard(self, message):
        if message.message_type is MessageType.SIGNAL and message.path.startswith(PATH):
            self.signals.append(message)

    def close(self):
        self.bus.disconnect()

    async def call(self, path, interface, member, signature="", body=(), interactive=False, fds=(), to=NAME):
        flags = MessageFlag.ALLOW_INTERACTIVE_AUTHORIZATION if interactive else MessageFlag.NONE
        message = Message(destination=to, path=path, interface=interface, member=member, signature=signature,
                          body=list(body), flags=flags, unix_fds=list(fds))
        reply = await asyncio.wait_for(self.bus.call(message), PATIENCE)
        if reply.message_type is MessageType.ERROR:
            raise Refused(reply.error_name, reply.body[0] if reply.body else "")
        return reply.body

    async def commit(self, actions, digest="0" * 64, options=None, fds=()):
        body = [[list(action) for action in actions], digest, options or {}]
        return (await self.call(PATH, NAME, "Commit", "a(ss)sa{sv}", body, fds=fds))[0]

    async def refresh(self):
        return (await self.call(PATH, NAME, "Refresh", "a{sv}", [{}]))[0]

    async def job(self, job, member, signature="", body=(), interactive=False):
        return await self.call(job, JOB, member, signature, body, interactive)

    async def get(self, job, name):
        body = await self.call(job, "org.freedesktop.DBus.Properties", "Get", "ss", [JOB, name])
        return body[0].value

    def said(self, job, member):
        return [message for message in self.signals if message.path == job and message.member == member]

    def states(self, job):
        changed = [message.body[1] for message in self.said(job, "PropertiesChanged")]
        return [values["State"].value for values in changed if "State" in values]

    async def outcome(self, job):
        """The word and the result of Finished, which GetResult repeats."""
        await eventually(lambda: self.said(job, "Finished"), f"{job} finished")
        word, result = self.said(job, "Finished")[0].body
        return word, {key: value.value for key, value in result.items()}

    async def run(self, job, interactive=False):
        await self.job(job, "Start", interactive=interactive)
        return await self.outcome(job)

    async def refused(self, error, awaitable):
        try:
            value = await awaitable
        except Refused as refused:
            assert refused.name == error, f"{refused} instead of {error}"
            return refused.text
        raise AssertionError(f"{value} instead of {error}")

    async def service(self):
        """The process that has the name, if one has."""
        try:
            body = await self.call("/org/freedesktop/DBus", "org.freedesktop.DBus", "GetConnectionUnixProcessID", "s",
                                   [NAME], to="org.freedesktop.DBus")
            return body[0]
        except Refused:
            return None

    async def wake(self):
        """Starts the service, if it is not there, and returns its process."""
        await self.call(PATH, "org.freedesktop.DBus.Peer", "Ping")
        return await self.service()


def in_machine(*command, text=None, fds=()):
    return subprocess.run(["chroot", ROOT, *command], input=text, capture_output=True, text=True, check=False, pass_fds=fds)


def plan(actions, fds=(), **options):
    """The digest of the plan for these actions, made without rights as omgd has it made."""
    request = json.dumps({"actions": actions, "options": options, "files": list(fds)}) + "\n"
    answer = in_machine(HELPER, "plan", text=request, fds=fds)
    said = json.loads(answer.stdout or "{}")
    assert "plan" in said, (answer.stdout, answer.stderr)
    return said["plan"]["digest"]


def installed(package):
    answer = in_machine("dpkg-query", "--show", "--showformat=${db:Status-Abbrev}", package)
    return answer.stdout.startswith("ii")


class StandIn:
    """Another program in the helper's place, for a service that runs already: what a real commit does only when something
    goes wrong, or at its own pace."""

    def __init__(self, script):
        self.script = script

    def __enter__(self):
        path = ROOT + HELPER
        if os.path.exists(ROOT + GO_ON):
            os.remove(ROOT + GO_ON)
        os.rename(path, path + ".kept")
        with open(path, "w", encoding="utf-8") as file:
            file.write("#!/bin/sh\nread -r request\n" + self.script)
        os.chmod(path, 0o755)

    def __exit__(self, *_):
        os.rename(ROOT + HELPER + ".kept", ROOT + HELPER)
        # One that a failed check left waiting does not wait for ever.
        with open(ROOT + GO_ON, "w", encoding="utf-8"):
            pass


def event(kind, /, **fields):
    """A shell command that says one event."""
    return "echo '" + json.dumps({"event": kind, **fields}) + "'\n"


GO_ON = "/run/go-on"
WAIT = f"while [ ! -e {GO_ON} ]; do sleep 0.05; done\n"


def go_on():
    """Lets a stand-in go on that waits."""
    with open(ROOT + GO_ON, "w", encoding="utf-8"):
        pass


def audit(count):
    """The last entries of the audit log."""
    with open(ROOT + "/var/lib/omg/audit/audit.jsonl", encoding="utf-8") as log:
        return [json.loads(line)["entry"] for line in log][-count:]


NOTHING = {"items": [], "restart": {"machine": False, "packages": [], "services": []}, "entry": 0}
SUCCEEDED = event("finished", outcome="succeeded", **NOTHING)


async def gone(client, job):
    try:
        await client.get(job, "State")
        return False
    except Refused as refused:
        return refused.name == "org.freedesktop.DBus.Error.UnknownObject"


async def described(client, path):
    return (await client.call(path, "org.freedesktop.DBus.Introspectable", "Introspect"))[0]


def members(xml, interface, kind):
    found = tree.fromstring(xml).find(f"interface[@name='{interface}']")
    return {member.get("name"): "".join(argument.get("type") for argument in member.findall("arg")
                                        if argument.get("direction", "in") == "in")
            for member in found.findall(kind)}


async def waits(client, job):
    return await client.get(job, "State") == "waiting"


def state(process):
    with open(f"/proc/{process}/stat", encoding="utf-8") as file:
        return file.read().rsplit(")", 1)[1].split()[0]
