"""A client of the service with an authentication agent for itself, run as an ordinary user, and the checks' end of it.

The process (`system_bus_agent.py ROOT`) speaks lines of JSON. The agent hands each question to the checks, which answer in
the place of polkit's own helper: as root they tell polkit that the user has proved to be himself."""
import os
import subprocess

from system_bus_support import *

AGENT_PATH = "/org/omg/test/agent"
POLKIT = "org.freedesktop.PolicyKit1"
AUTHORITY = "/org/freedesktop/PolicyKit1/Authority"


class Session:
    """A process of `uid` whose agent does with each question what `mode` says: consent, dismiss, or wait."""

    def __init__(self, uid, mode):
        self.uid, self.mode = uid, mode
        self.asked, self.withdrawn, self.lines = [], [], []

    async def __aenter__(self):
        self.root = await Client.connect(0)
        self.process = await asyncio.create_subprocess_exec(
            "setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups", "/usr/bin/python3", __file__, ROOT,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, limit=1 << 24)
        self.reading = asyncio.create_task(self.read())
        await eventually(lambda: self.take("registered"))
        return self

    async def __aexit__(self, *_):
        self.process.stdin.close()
        await self.process.wait()
        await self.reading
        self.root.close()

    async def read(self):
        while line := await self.process.stdout.readline():
            said = json.loads(line)
            if "asked" in said:
                self.asked.append(said["asked"])
                await self.answer(said)
            elif "withdrawn" in said:
                self.withdrawn.append(said["withdrawn"])
            else:
                self.lines.append(said)

    async def answer(self, question):
        if self.mode == "wait":
            return
        if self.mode == "consent":
            kind, details = question["identity"]
            identity = [kind, {"uid": Variant("u", details["uid"])}]
            await self.root.call(AUTHORITY, POLKIT + ".Authority", "AuthenticationAgentResponse2", "us(sa{sv})",
                                 [self.uid, question["cookie"], identity], to=POLKIT)
        await self.command(self.mode, question["cookie"])

    async def command(self, word, *arguments):
        self.process.stdin.write((json.dumps([word, *arguments]) + "\n").encode())
        await self.process.stdin.drain()

    def take(self, key):
        for line in self.lines:
            if key in line:
                self.lines.remove(line)
                return line
        assert self.process.returncode is None, "the client ended"
        return None

    async def start(self, actions):
        await self.command("start", actions, plan(actions))
        return (await eventually(lambda: self.take("job"), "the job"))["job"]

    async def start_apart(self, actions, digest):
        """A job of a connection that is not the agent's, and that goes with `leave`."""
        await self.command("start-apart", actions, digest)
        return (await eventually(lambda: self.take("job"), "the job"))["job"]

    async def call(self, path, interface, member, signature="", body=(), interactive=False):
        """As Client.call, by the process whose agent it is; options are booleans, values of properties text."""
        await self.command("call", path, interface, member, signature, list(body), interactive)
        said = await eventually(lambda: self.take("answered"), member)
        if said["answered"]:
            return said["body"]
        raise Refused(said["name"], said["text"])

    async def outcome(self, job):
        said = await eventually(lambda: self.take("finished"), "the end of the job")
        assert said["finished"] == job
        return said["outcome"], said["result"]

    async def run(self, actions):
        return await self.outcome(await self.start(actions))


class Agent:
    def __init__(self, client):
        self.client = client
        self.open = {}
        client.bus.add_message_handler(self.called)

    def called(self, message):
        if message.message_type is not MessageType.METHOD_CALL or message.path != AGENT_PATH:
            return None
        if message.member == "BeginAuthentication":
            action, _, _, details, cookie, identities = message.body
            # polkit's own, and nothing that the caller could have put there.
            if not all(key.startswith("polkit.") for key in details):
                return Message.new_error(message, POLKIT + ".Error.Failed", f"strange details: {details}")
            kind, values = identities[0]
            self.open[cookie] = message
            say(asked=action, cookie=cookie, identity=[kind, {key: value.value for key, value in values.items()}])
            return True
        cookie = message.body[0]
        self.end(cookie, "dismiss")
        say(withdrawn=cookie)
        return Message.new_method_return(message)

    def end(self, cookie, word):
        call = self.open.pop(cookie, None)
        if call is None:
            return
        if word == "dismiss":
            reply = Message.new_error(call, POLKIT + ".Error.Cancelled", "dismissed")
        else:
            reply = Message.new_method_return(call)
        self.client.bus.send(reply)


def say(**fields):
    print(json.dumps(fields), flush=True)


async def follow(client, actions, digest):
    job = await client.commit(actions, digest)
    say(job=job)
    word, result = await client.run(job, interactive=True)
    await client.job(job, "Close")
    say(finished=job, outcome=word, result=result)


async def pass_on(client, path, interface, member, signature, body, interactive):
    body = [{key: Variant("b", value) for key, value in part.items()} if isinstance(part, dict) else part for part in body]
    if signature == "ssv":
        body[2] = Variant("s", body[2])
    try:
        answer = await client.call(path, interface, member, signature, body, interactive)
        say(answered=True, body=json.loads(json.dumps(answer, default=lambda variant: variant.value)))
    except Refused as refused:
        say(answered=False, name=refused.name, text=refused.text)


async def main():
    bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
    client = Client(bus)
    agent = Agent(client)
    owner = Client(await MessageBus(bus_type=BusType.SYSTEM).connect())
    with open("/proc/self/stat", encoding="utf-8") as file:
        started = int(file.read().rsplit(")", 1)[1].split()[19])
    subject = ["unix-process", {"pid": Variant("u", os.getpid()), "start-time": Variant("t", started)}]
    await client.call(AUTHORITY, POLKIT + ".Authority", "RegisterAuthenticationAgent", "(sa{sv})ss",
                      [subject, "C", AGENT_PATH], to=POLKIT)
    say(registered=True)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    jobs = set()
    while line := await reader.readline():
        word, *arguments = json.loads(line)
        if word == "start":
            jobs.add(asyncio.create_task(follow(client, *arguments)))
        elif word == "call":
            jobs.add(asyncio.create_task(pass_on(client, *arguments)))
        elif word == "start-apart":
            job = await owner.commit(*arguments)
            await owner.job(job, "Start", interactive=True)
            say(job=job)
        elif word == "cancel":
            await client.job(arguments[0], "Cancel")
        elif word == "leave":
            # The agent stays; whose question it is does not.
            owner.close()
        else:
            agent.end(arguments[0], word)


if __name__ == "__main__":
    asyncio.run(main())
