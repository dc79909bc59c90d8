"""Every method and property of the service and of its jobs, by every kind of caller: what is to come of it, and what does."""
import system_bus_agent as agent
from system_bus_support import *

ALLOWED, NO_RULE, DENIED, ASKED = 61603, 61604, 61605, 61606
INTROSPECTABLE = "org.freedesktop.DBus.Introspectable"

# The kinds of caller. The first eight use what is their own; the next three a job of the allowed user's.
KINDS = {
    "root": "root",
    "allowed": "a user whom polkit allows everything",
    "denied": "a user whom polkit allows nothing",
    "consents": "a user who is asked, and consents",
    "dismisses": "a user who is asked, and dismisses the question",
    "unasked": "a user who would be asked, by a call that does not allow that",
    "agentless": "a user who would be asked, and has no agent",
    "sessionless": "a user whom no rule names, in no session: the shipped defaults for anybody",
    "same-user": "another connection of the job's owner",
    "stranger": "another user",
    "other-root": "root, with a job that is another's",
    "gone": "a user who leaves the bus as soon as the call is sent",
}

# What is to come of it: yes, the error, of a job that was started its end or error, of who left that nothing stays or is
# done. `-` where there is no such thing: what makes a job is not done to another's. UnknownProperty is what zbus says of
# writing a property that cannot be written. Nothing is authorised before Start, or the option start of a call; a job is its
# owner's connection's, and root's. Answer+key says that an unknown key is to be trusted, to a job whose start took no right
# that polkit does not give all these users: what comes of it is that the key is imported, or that it is refused.
EXPECTED = """
method               root             allowed          denied           consents         dismisses        unasked          agentless        sessionless      same-user        stranger         other-root       gone
Commit               yes              yes              yes              yes              yes              yes              yes              yes              -                -                -                nothing
Commit+start         succeeded        succeeded        NotAuthorized    succeeded        AuthDismissed    NotAuthorized    AgentMissing     AgentMissing     -                -                -                nothing
Refresh              yes              yes              yes              yes              yes              yes              yes              yes              -                -                -                nothing
Refresh+start        succeeded        succeeded        NotAuthorized    succeeded        AuthDismissed    NotAuthorized    AgentMissing     AgentMissing     -                -                -                nothing
Get:Version          yes              yes              yes              yes              yes              yes              yes              yes              -                -                -                nothing
GetAll               all              all              all              all              all              all              all              all              -                -                -                nothing
Set:Version          UnknownProperty  UnknownProperty  UnknownProperty  UnknownProperty  UnknownProperty  UnknownProperty  UnknownProperty  UnknownProperty  -                -                -                nothing
Job.Start            succeeded        succeeded        NotAuthorized    succeeded        AuthDismissed    NotAuthorized    AgentMissing     AgentMissing     NotAuthorized    NotAuthorized    succeeded        nothing
Job.Cancel           yes              yes              yes              yes              yes              yes              yes              yes              NotAuthorized    NotAuthorized    yes              nothing
Job.Answer           InvalidArgument  InvalidArgument  InvalidArgument  InvalidArgument  InvalidArgument  InvalidArgument  InvalidArgument  InvalidArgument  NotAuthorized    NotAuthorized    InvalidArgument  nothing
Job.Answer+key       imported         imported         refused          imported         refused          refused          refused          refused          NotAuthorized    NotAuthorized    imported         refused
Job.GetResult        InvalidState     InvalidState     InvalidState     InvalidState     InvalidState     InvalidState     InvalidState     InvalidState     NotAuthorized    NotAuthorized    InvalidState     nothing
Job.Close            yes              yes              yes              yes              yes              yes              yes              yes              NotAuthorized    NotAuthorized    yes              nothing
Job.Get:State        yes              yes              yes              yes              yes              yes              yes              yes              NotAuthorized    NotAuthorized    yes              nothing
Job.Get:Phase        yes              yes              yes              yes              yes              yes              yes              yes              NotAuthorized    NotAuthorized    yes              nothing
Job.Get:Fraction     yes              yes              yes              yes              yes              yes              yes              yes              NotAuthorized    NotAuthorized    yes              nothing
Job.Get:BytesDone    yes              yes              yes              yes              yes              yes              yes              yes              NotAuthorized    NotAuthorized    yes              nothing
Job.Get:BytesTotal   yes              yes              yes              yes              yes              yes              yes              yes              NotAuthorized    NotAuthorized    yes              nothing
Job.Get:Cancellable  yes              yes              yes              yes              yes              yes              yes              yes              NotAuthorized    NotAuthorized    yes              nothing
Job.Get:Version      yes              yes              yes              yes              yes              yes              yes              yes              yes              yes              yes              nothing
Job.GetAll           all              all              all              all              all              all              all              all              Version          Version          all              nothing
Job.Set:State        UnknownProperty  UnknownProperty  UnknownProperty  UnknownProperty  UnknownProperty  UnknownProperty  UnknownProperty  UnknownProperty  UnknownProperty  UnknownProperty  UnknownProperty  nothing
"""


def expected():
    heading, *rows = [line.split() for line in EXPECTED.strip().splitlines()]
    assert heading[1:] == list(KINDS), heading
    assert all(len(row) == len(heading) for row in rows), "a row that is not whole"
    return {(row[0], kind): word for row in rows for kind, word in zip(KINDS, row[1:])}


async def exhaustive(client):
    """What the table has to have: all that the running service describes of itself."""
    job = await client.commit(INSTALL)
    wanted = {"Commit+start", "Refresh+start", "GetAll", "Job.GetAll", "Set:Version", "Job.Set:State", KEY}
    for path, name, prefix in ((PATH, NAME, ""), (job, JOB, "Job.")):
        described_as = await described(client, path)
        wanted |= {prefix + method for method in members(described_as, name, "method")}
        wanted |= {f"{prefix}Get:{value}" for value in members(described_as, name, "property")}
        # Besides what D-Bus itself wants of every object, nothing else is there.
        others = {found.get("name") for found in tree.fromstring(described_as).findall("interface")} - {name}
        assert others <= {PROPERTIES, INTROSPECTABLE, "org.freedesktop.DBus.Peer"}, others
    await client.job(job, "Close")
    has = {method for method, _ in expected()}
    assert has == wanted, f"no row, or no such method: {has ^ wanted}"


class Party:
    """A kind of caller at work: who calls, whether people may be asked, and whose job it is."""

    def __init__(self, caller, owner=None, interactive=True):
        self.caller, self.owner, self.interactive = caller, owner or caller, interactive

    async def make(self, interface_method="Commit", start=False, by=None):
        options = {"start": start_option(by or self.caller)} if start else {}
        body = [[list(action) for action in WANTED], DIGEST, options] if interface_method == "Commit" else [options]
        signature = "a(ss)sa{sv}" if interface_method == "Commit" else "a{sv}"
        return (await (by or self.caller).call(PATH, NAME, interface_method, signature, body, self.interactive))[0]


def start_option(caller):
    return True if isinstance(caller, agent.Session) else Variant("b", True)


WANTED = [("install", "table-omg")]
DIGEST = ""

KEY = "Job.Answer+key"
# A helper that asks whether an unknown key is to be trusted, and ends by what it is told.
ASKS = event("question", id=1, kind={"about": "key", "fingerprint": "ABCDEF0123456789", "owner": "t"}, choices=["refuse", "import"]) + \
    "read -r reply\ncase $reply in\n*import*) " + SUCCEEDED.strip() + " ;;\n*cancel*) " + \
    event("finished", outcome="cancelled", applied=NOTHING).strip() + " ;;\n*) " + \
    event("finished", outcome="failed", failure={"kind": "Untrusted", "message": "refused"}, applied=NOTHING).strip() + " ;;\nesac\n"


async def asking(root, owner):
    """A job of this owner's that is about to ask."""
    await root.wake()
    body = [[["hold", "table-omg"]], DIGEST, {}]
    [job] = await owner.call(PATH, NAME, "Commit", "a(ss)sa{sv}", body)
    await owner.call(job, JOB, "Start")
    return job


async def answer(caller, job, interactive):
    """Before it is asked there is nothing to answer."""
    async def taken():
        try:
            await caller.call(job, JOB, "Answer", "us", [1, "import"], interactive)
            return True
        except Refused as refused:
            if refused.name != "InvalidArgument":
                raise
            return False
    await eventually(taken, "the question")


async def trusted(root, job):
    return {"succeeded": "imported", "Untrusted": "refused"}[await end(root, job)]


async def key(root, party):
    with StandIn(ASKS):
        job = await asking(root, party.owner)
        try:
            await answer(party.caller, job, party.interactive)
        except Refused:
            await root.job(job, "Cancel")
            await end(root, job)
            raise
        return await trusted(root, job)


async def key_of_who_left(root):
    with StandIn(ASKS):
        client = await Client.connect(ASKED)
        job = await asking(root, client)
        await eventually(lambda: client.said(job, "Question"), "the question")
        await client.bus.send(Message(destination=NAME, path=job, interface=JOB, member="Answer", signature="us",
                                      body=[1, "import"], flags=MessageFlag.ALLOW_INTERACTIVE_AUTHORIZATION))
        client.close()
        return await trusted(root, job)


async def end(root, job):
    """How a job that was started ended."""
    async def over():
        return await root.get(job, "State") == "finished"
    await eventually(over, f"{job} is over")
    result = {key: value.value for key, value in (await root.job(job, "GetResult"))[0].items()}
    await root.job(job, "Close")
    return result["Error"].removeprefix(ERROR) if "Error" in result else result["Outcome"]


async def outcome(root, method, party):
    """What comes of one cell, in the words of the table."""
    on_job, what = method.startswith("Job."), method.removeprefix("Job.")
    job = None
    try:
        if method == KEY:
            return await key(root, party)
        if not on_job and what.split("+")[0] in ("Commit", "Refresh"):
            name, _, start = what.partition("+")
            job = await party.make(name, bool(start))
            if not start:
                return "yes"
            made, job = job, None
            return await end(root, made)
        path, interface = (PATH, NAME)
        if on_job:
            job = await party.make(by=party.owner)
            path, interface = job, JOB
        return await on(root, party, path, interface, what)
    except Refused as refused:
        return refused.name.removeprefix("org.freedesktop.DBus.Error.")
    finally:
        if job is not None and not await gone(root, job):
            await root.job(job, "Close")


async def on(root, party, path, interface, what):
    member, _, name = what.partition(":")
    if member == "Get":
        await party.caller.call(path, PROPERTIES, "Get", "ss", [interface, name])
        return "yes"
    if member == "GetAll":
        [values] = await party.caller.call(path, PROPERTIES, "GetAll", "s", [interface])
        every = set(members(await described(root, path), interface, "property"))
        return "all" if set(values) == every else " ".join(sorted(values))
    if member == "Set":
        value = "x" if isinstance(party.caller, agent.Session) else Variant("s", "x")
        await party.caller.call(path, PROPERTIES, "Set", "ssv", [interface, name, value])
        return "yes"
    signature, body = JOB_METHODS[member]
    await party.caller.call(path, interface, member, signature, body, party.interactive)
    return await end(root, path) if member == "Start" else "yes"


async def left(root, method):
    """What stays of a call whose caller leaves at once: someone who may do nothing without being asked."""
    if method == KEY:
        return await key_of_who_left(root)
    client = await Client.connect(ASKED)
    before = await root.commit(INSTALL)
    await root.job(before, "Close")
    party = Party(client)
    on_job, what = method.startswith("Job."), method.removeprefix("Job.")
    path, interface = (await party.make(), JOB) if on_job else (PATH, NAME)
    member, _, name = what.partition(":")
    if member in ("Get", "GetAll", "Set"):
        body = {"Get": ["ss", [interface, name]], "GetAll": ["s", [interface]],
                "Set": ["ssv", [interface, name, Variant("s", "x")]]}[member]
        interface = PROPERTIES
    elif on_job:
        body = JOB_METHODS[member]
    else:
        member, _, start = what.partition("+")
        options = {"start": Variant("b", True)} if start else {}
        body = {"Commit": ["a(ss)sa{sv}", [[list(action) for action in WANTED], DIGEST, options]],
                "Refresh": ["a{sv}", [options]]}[member]
    flags = MessageFlag.ALLOW_INTERACTIVE_AUTHORIZATION
    await client.bus.send(Message(destination=NAME, path=path, interface=interface, member=member, signature=body[0],
                                  body=body[1], flags=flags))
    client.close()
    # Jobs are numbered: each that was made meanwhile goes.
    number = int(before.rsplit("/", 1)[1])
    for later in range(number + 1, number + 3):
        await eventually(lambda path=before.rsplit("/", 1)[0] + f"/{later}": gone(root, path), "its job is gone")
    assert not installed("table-omg"), "it was done all the same"
    return "nothing"


async def table():
    global DIGEST
    in_machine("dpkg", "--purge", "table-omg")
    DIGEST = plan(WANTED)
    got = {}
    root = await Client.connect(0)
    await exhaustive(root)
    wanted = expected()
    methods = list(dict.fromkeys(method for method, _ in wanted))

    async def column(kind, party):
        for method in methods:
            if wanted[method, kind] != "-":
                got[method, kind] = await outcome(root, method, party)
            # The next one has the same to do.
            if installed("table-omg"):
                in_machine("dpkg", "--purge", "table-omg")

    clients = {uid: await Client.connect(uid) for uid in (ALLOWED, NO_RULE, DENIED, ASKED, USER)}
    another = await Client.connect(ALLOWED)
    for method in methods:
        got[method, "gone"] = await left(root, method)
    await column("root", Party(root))
    await column("allowed", Party(clients[ALLOWED]))
    await column("denied", Party(clients[DENIED]))
    await column("unasked", Party(clients[ASKED], interactive=False))
    await column("agentless", Party(clients[ASKED]))
    await column("sessionless", Party(clients[NO_RULE]))
    await column("same-user", Party(another, clients[ALLOWED]))
    await column("stranger", Party(clients[USER], clients[ALLOWED]))
    await column("other-root", Party(root, clients[ALLOWED]))
    for kind, mode in (("consents", "consent"), ("dismisses", "dismiss")):
        async with agent.Session(ASKED, mode) as session:
            await column(kind, Party(session))
    for client in (root, another, *clients.values()):
        client.close()

    print("# method | caller | expected | got")
    for method in methods:
        for kind, what in KINDS.items():
            if wanted[method, kind] != "-":
                print(f"# {method} | {what} | {wanted[method, kind]} | {got[method, kind]}")
    wrong = {cell: got[cell] for cell, word in wanted.items() if word != "-" and got[cell] != word}
    assert not wrong, wrong
