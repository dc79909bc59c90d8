"""The checks of tests/tiers/system-bus.sh: ROOT is the throwaway machine that the service works on."""
import os
import signal
import xml.etree.ElementTree as tree

from system_bus_support import *

import system_bus_agent as agent
import system_bus_cli
import system_bus_support

PROPERTIES = "org.freedesktop.DBus.Properties"
INSTALL = [("install", "hello-omg")]


async def allowed():
    client, listener = await Client.connect(USER), await Client.connect(USER)
    await listener.call("/org/freedesktop/DBus", "org.freedesktop.DBus", "AddMatch", "s", ["type='signal'"],
                        to="org.freedesktop.DBus")
    assert not installed("hello-omg")
    job = await client.commit(INSTALL, plan(INSTALL))
    assert await client.get(job, "State") == "ready"
    text = await client.refused("InvalidState", client.job(job, "GetResult"))
    assert "ready" in text, text
    word, result = await client.run(job)
    assert word == "succeeded", result
    assert installed("hello-omg")
    assert result["Items"][0][:2] == ["install", "hello-omg"], result
    assert result["AuditEntry"] > 0 and result["RestartMachine"] is False, result
    assert client.states(job) == ["authorizing", "waiting", "running", "finished"], client.states(job)
    again = (await client.job(job, "GetResult"))[0]
    assert {key: value.value for key, value in again.items()} == result
    await client.refused("InvalidState", client.job(job, "Start"))
    await client.refused("InvalidState", client.job(job, "Cancel"))
    assert not listener.signals, f"somebody else heard {listener.signals}"
    begun, ended = audit(2)
    assert begun["actor"] == {"uid": USER, "via": "polkit"}, begun
    assert ended["ending"] == "succeeded", ended
    await client.job(job, "Close")
    await eventually(lambda: gone(client, job))
    client.close()
    listener.close()


async def gone(client, job):
    try:
        await client.get(job, "State")
        return False
    except Refused as refused:
        return refused.name == "org.freedesktop.DBus.Error.UnknownObject"


async def swapped():
    """What was agreed to is not what is done: nothing is done."""
    client = await Client.connect(USER)
    others = [("install", "other-omg")]
    for digest in ("0" * 64, plan(others, recommends=False)):
        word, result = await client.run(await client.commit(others, digest))
        assert (word, result["Error"]) == ("failed", ERROR + "PlanStale"), result
        assert result["Items"] == [] and not installed("other-omg")
    # The job is a value: what the caller sends afterwards is another job, and asks again.
    digest = plan(others)
    first = await client.commit(others, digest)
    second = await client.commit([("remove", "hello-omg")], digest)
    assert first != second
    word, result = await client.run(second)
    assert (word, result["Error"]) == ("failed", ERROR + "NotAuthorized"), result
    assert (await client.run(first))[0] == "succeeded" and installed("other-omg") and installed("hello-omg")
    client.close()


async def denied():
    client = await Client.connect(USER)
    word, result = await client.run(await client.commit([("remove", "hello-omg")], plan([("remove", "hello-omg")])))
    assert (word, result["Error"]) == ("failed", ERROR + "NotAuthorized"), result
    assert "org.omg.transaction.remove is not allowed" in result["Message"], result
    assert installed("hello-omg")
    client.close()


async def escalated():
    """Installing is allowed, and the removal that it comes to is not."""
    client = await Client.connect(USER)
    wanted = [("install", "rival-omg")]
    job = await client.commit(wanted, plan(wanted))
    word, result = await client.run(job, interactive=True)
    assert (word, result["Error"]) == ("failed", ERROR + "NotAuthorized"), result
    assert "transaction.remove" in result["Message"] and "running" in client.states(job), (result, client.states(job))
    assert installed("hello-omg") and not installed("rival-omg")
    client.close()


async def not_asked():
    client = await Client.connect(OTHER)
    digest = plan([("remove", "hello-omg")])
    word, result = await client.run(await client.commit([("remove", "hello-omg")], digest))
    assert (word, result["Error"]) == ("failed", ERROR + "NotAuthorized"), result
    assert "did not allow interactive" in result["Message"], result
    word, result = await client.run(await client.commit([("remove", "hello-omg")], digest), interactive=True)
    assert (word, result["Error"]) == ("failed", ERROR + "AgentMissing"), result
    assert installed("hello-omg")
    client.close()


async def dismissed():
    async with agent.Session(USER, "dismiss") as session:
        word, result = await session.run([("hold", "hello-omg")])
        assert (word, result["Error"]) == ("failed", ERROR + "AuthDismissed"), result
        assert session.asked == ["org.omg.transaction.manage"], session.asked


async def consented():
    async with agent.Session(USER, "consent") as session:
        word, result = await session.run([("hold", "hello-omg")])
        assert word == "succeeded", result
        word, result = await session.run([("unhold", "hello-omg")])
        assert word == "succeeded", result
        assert session.asked == ["org.omg.transaction.manage"] * 2, session.asked
        # Kept for a while, for the same process.
        for _ in range(2):
            word, result = await session.run([("upgrade-all", "")])
            assert word == "succeeded", result
        assert session.asked == ["org.omg.transaction.manage"] * 2 + ["org.omg.transaction.upgrade"], session.asked


async def cancelled_while_asked():
    async with agent.Session(USER, "wait") as session:
        job = await session.start([("hold", "hello-omg")])
        await eventually(lambda: session.asked, "the question")
        await session.command("cancel", job)
        word, _ = await session.outcome(job)
        assert word == "cancelled", word
        await eventually(lambda: session.withdrawn, "the dialog was closed")


async def owner_leaves_while_asked():
    """Before anything was allowed, and when a plan turns out to need more: whoever is asked is asked no more."""
    root = await Client.connect(0)
    async def over(job):
        return await root.get(job, "State") == "finished"
    async with agent.Session(USER, "wait") as session:
        wanted = [("hold", "hello-omg")]
        job = await session.start_apart(wanted, plan(wanted))
        await eventually(lambda: session.asked, "the question")
        await session.command("leave")
        await eventually(lambda: session.withdrawn, "the dialog was closed")
        await eventually(lambda: over(job), "the job is over")
        result = (await root.job(job, "GetResult"))[0]
        assert result["Outcome"].value == "cancelled", result
        await root.job(job, "Close")
    script = event("resolved", privileges=["install", "manage"]) + "read -r reply\n" + \
        "case $reply in *cancel*) ;; *) exit 1 ;; esac\n" + event("finished", outcome="cancelled", applied=NOTHING)
    await root.wake()
    with StandIn(script):
        async with agent.Session(USER, "wait") as session:
            job = await session.start_apart(INSTALL, "0" * 64)
            await eventually(lambda: session.asked, "the question")
            assert session.asked == ["org.omg.transaction.manage"], session.asked
            await session.command("leave")
            await eventually(lambda: session.withdrawn, "the dialog was closed")
            await eventually(lambda: over(job), "the job is over")
            result = (await root.job(job, "GetResult"))[0]
            assert result["Outcome"].value == "cancelled", result
            await root.job(job, "Close")
    root.close()


# What each method answers to each kind of caller; None where it does what it is for.
OWNER, SAME_UID, OTHER_UID, BY_ROOT = "owner", "another connection of the owner's", "another user", "root"
REFUSED = "NotAuthorized"
ACTION_TABLE = {
    ("Start", ""): {OWNER: None, SAME_UID: REFUSED, OTHER_UID: REFUSED, BY_ROOT: None},
    ("Cancel", ""): {OWNER: None, SAME_UID: REFUSED, OTHER_UID: REFUSED, BY_ROOT: None},
    ("Answer", "us"): {OWNER: "InvalidArgument", SAME_UID: REFUSED, OTHER_UID: REFUSED, BY_ROOT: "InvalidArgument"},
    ("GetResult", ""): {OWNER: "InvalidState", SAME_UID: REFUSED, OTHER_UID: REFUSED, BY_ROOT: "InvalidState"},
    ("Close", ""): {OWNER: None, SAME_UID: REFUSED, OTHER_UID: REFUSED, BY_ROOT: None},
}
# Each verb, and what asking for it takes; not one is free, and each user is asked about by name.
VERBS = {
    "install": "install", "reinstall": "install", "install-file": "install-untrusted", "upgrade": "upgrade",
    "upgrade-all": "upgrade", "full-upgrade": "remove", "remove": "remove", "purge": "remove", "autoremove": "remove",
    "hold": "manage", "unhold": "manage", "mark-explicit": "manage", "mark-dependency": "manage", "clean": "manage",
    "repair": "manage",
}


def members(xml, interface, kind):
    found = tree.fromstring(xml).find(f"interface[@name='{interface}']")
    return {member.get("name"): "".join(argument.get("type") for argument in member.findall("arg")
                                        if argument.get("direction", "in") == "in")
            for member in found.findall(kind)}


async def described(client, path):
    return (await client.call(path, "org.freedesktop.DBus.Introspectable", "Introspect"))[0]


async def action_table():
    owner, callers = await Client.connect(USER), {}
    callers = {OWNER: owner, SAME_UID: await Client.connect(USER), OTHER_UID: await Client.connect(OTHER),
               BY_ROOT: await Client.connect(0)}
    job = await owner.commit([("remove", "hello-omg")])
    methods = members(await described(owner, job), JOB, "method")
    assert set(methods.items()) == set(ACTION_TABLE), f"no row, or no method: {set(methods.items()) ^ set(ACTION_TABLE)}"
    properties = members(await described(owner, job), JOB, "property")
    for (method, signature), row in ACTION_TABLE.items():
        assert set(row) == set(callers), f"{method} has no word for {set(callers) - set(row)}"
        for kind, expected in row.items():
            fresh = await owner.commit([("remove", "hello-omg")])
            body = [7, "keep"] if signature else []
            call = callers[kind].job(fresh, method, signature, body)
            if expected is None:
                await call
            else:
                await owner.refused(expected, call)
            if expected == REFUSED:
                assert await owner.get(fresh, "State") == "ready", f"{kind} moved it with {method}"
                for name in set(properties) - {"Version"}:
                    await owner.refused(REFUSED, callers[kind].get(fresh, name))
                body = await callers[kind].call(fresh, PROPERTIES, "GetAll", "s", [JOB])
                assert set(body[0]) == {"Version"}, body
            if method == "Start" and kind == OWNER:
                word, result = await owner.outcome(fresh)
                assert (word, result["Error"]) == ("failed", ERROR + "NotAuthorized"), result
            if method in ("Answer", "GetResult") or expected == REFUSED:
                await owner.job(fresh, "Close")
            await eventually(lambda: finished_or_gone(owner, fresh))
    for client in callers.values():
        client.close()


async def finished_or_gone(client, job):
    return await gone(client, job) or await client.get(job, "State") == "finished"


async def verbs():
    """Every verb is asked about, under its own action."""
    with open("src/transaction/action.rs", encoding="utf-8") as source:
        text = source.read()
    known = set(text.split("pub fn as_str", 1)[1].split("}\n    }", 1)[0].split('"')[1::2])
    assert known == set(VERBS), f"no row, or no verb: {known ^ set(VERBS)}"
    client = await Client.connect(OTHER)
    needless = {"upgrade-all", "full-upgrade", "autoremove", "clean", "repair"}
    for verb, kind in VERBS.items():
        fds = [os.open("/dev/null", os.O_RDONLY)] if verb == "install-file" else []
        options = {"files": Variant("ah", [0])} if fds else {}
        job = await client.commit([(verb, "" if verb in needless else "hello-omg")], options=options, fds=fds)
        word, result = await client.run(job)
        if kind == "install":
            # The one kind that the rules allow this user.
            assert result["Error"] == ERROR + "PlanStale", (verb, result)
        else:
            assert (word, result["Error"]) == ("failed", ERROR + "NotAuthorized"), (verb, result)
            assert f"org.omg.transaction.{kind} " in result["Message"], (verb, result)
        await client.job(job, "Close")
    client.close()


async def injected():
    client = await Client.connect(USER)
    for key, value in [
        ("root", Variant("s", "/tmp/x")), ("option", Variant("s", "Dpkg::Options::=--force-all")),
        ("locale", Variant("s", "../../x")), ("environment", Variant("as", ["LD_PRELOAD=/tmp/x.so"])),
        ("recommends", Variant("s", "true")), ("conffiles", Variant("s", "delete")), ("wait", Variant("u", 1)),
        ("files", Variant("as", ["/etc/shadow"])), ("files", Variant("a(ss)", [])), ("", Variant("b", True)),
    ]:
        text = await client.refused("InvalidArgument", client.commit(INSTALL, options={key: value}))
        assert key in text, (key, text)
    refused = await client.refused("InvalidArgument", client.call(PATH, NAME, "Refresh", "a{sv}", [{"root": Variant("s", "/x")}]))
    assert "root" in refused, refused
    for verb, target in [("install", "-oDir=/tmp"), ("install", "/etc/passwd"), ("install", "./x.deb"), ("install", "a b"),
                         ("install", "a\nb"), ("install", "a;b"), ("install", ""), ("sh", "-c"), ("clean", "x"),
                         ("install", "x" * 600), ("install-file", "../../x.deb")]:
        await client.refused("InvalidArgument", client.commit([(verb, target)]))
    for digest in ("", "latest", "0" * 63, "G" * 64, "0" * 65):
        await client.refused("InvalidArgument", client.commit(INSTALL, digest))
    await client.refused("LimitExceeded", client.commit(INSTALL * 2001))
    await client.refused("InvalidArgument", client.commit([]))
    client.close()


async def malformed():
    client = await Client.connect(USER)
    before = await client.wake()
    for member, signature, body in [
        ("Commit", "", []), ("Commit", "s", ["x"]), ("Commit", "a(ss)s", [[], ""]), ("Refresh", "u", [7]),
        ("Commit", "a(ssu)sa{sv}", [[["install", "x", 1]], "", {}]), ("Shutdown", "", []),
    ]:
        try:
            await client.call(PATH, NAME, member, signature, body)
            raise AssertionError(f"{member} with {signature} was answered")
        except Refused as refused:
            assert "Error" in refused.name, refused
    # 20 MiB: the bus lets it through, and the bounds do not.
    await client.refused("LimitExceeded", client.commit([("install", "x" * 1000)] * 20000))
    deep = Variant("s", "x")
    for _ in range(20):
        deep = Variant("v", deep)
    await client.refused("InvalidArgument", client.commit(INSTALL, options={"wait": deep}))
    assert await client.service() == before, "the service was started anew"
    client.close()


async def descriptors():
    """What is passed is not touched before polkit has said yes, and then only a regular file is read."""
    folder = "/run/omg-harness/fds"
    os.makedirs(folder, exist_ok=True)
    os.mkfifo(folder + "/fifo")
    os.symlink("/etc/shadow", folder + "/link")
    openings = {
        "a FIFO": (folder + "/fifo", os.O_RDONLY | os.O_NONBLOCK), "a link": (folder + "/link", os.O_PATH | os.O_NOFOLLOW),
        "a folder": (folder, os.O_RDONLY), "a device": ("/dev/zero", os.O_RDONLY),
    }
    user, root = await Client.connect(USER), await Client.connect(0)
    wanted = [("install-file", "x.deb")]
    for what, (path, flags) in openings.items():
        for client, error in ((user, "NotAuthorized"), (root, None)):
            fd = os.open(path, flags)
            job = await client.commit(wanted, options={"files": Variant("ah", [0])}, fds=[fd])
            os.close(fd)
            word, result = await client.run(job)
            assert word == "failed" and result["Items"] == [], (what, word, result)
            assert error is None or result["Error"] == ERROR + error, (what, result)
            assert result["Error"] not in (ERROR + "Internal", ERROR + "PlanStale"), (what, result)
            await client.job(job, "Close")
    for count in (0, 2):
        fds = [os.open("/dev/null", os.O_RDONLY) for _ in range(count)]
        options = {"files": Variant("ah", list(range(count)))}
        await user.refused("InvalidArgument", user.commit(wanted, options=options, fds=fds))
    # A real one, from root, whom polkit allows everything: it has to be the file that was planned.
    with open(ROOT + "/srv/omg/third-omg_1.0_all.deb", "rb") as package, \
            open(ROOT + "/srv/omg/other-omg_1.0_all.deb", "rb") as another:
        digest = plan(wanted, fds=[package.fileno()])
        for file, expected in ((another, "PlanStale"), (package, None)):
            job = await root.commit(wanted, digest, options={"files": Variant("ah", [0])}, fds=[os.dup(file.fileno())])
            word, result = await root.run(job)
            assert result.get("Error") == (expected and ERROR + expected), result
            await root.job(job, "Close")
    assert word == "succeeded" and installed("third-omg"), result
    shows_nothing("/var/third-omg")
    user.close()
    root.close()


def shows_nothing(file):
    """What a package's script saw: root, in the root folder, with the environment of a commit and none of its descriptors."""
    with open(ROOT + file, encoding="utf-8") as spied:
        told = spied.read()
    names = {line.split("=", 1)[0] for line in told.splitlines() if "=" in line and not line.startswith("l")}
    strangers = {name for name in names if not name.startswith(("DPKG_", "APT_")) and name not in {
        "PATH", "LC_ALL", "HOME", "DEBIAN_FRONTEND", "PWD", "OLDPWD", "SHLVL", "_", "DEBIAN_HAS_FRONTEND", "PERL_DL_NONLAZY"}}
    assert not strangers, f"{strangers} in\n{told}"
    assert "socket:" not in told and "omg_1.0_all.deb" not in told, f"a descriptor is inherited:\n{told}"
    assert "\n/\n" in told and told.endswith("\n0\n"), told


async def nothing_of_the_callers():
    client = await Client.connect(USER)
    wanted = [("install", "spy-omg")]
    word, result = await client.run(await client.commit(wanted, plan(wanted)))
    assert word == "succeeded", result
    shows_nothing("/var/spy-omg")
    client.close()


async def flooded():
    flood, other = [await Client.connect(USER) for _ in range(8)], await Client.connect(OTHER)
    answers = await asyncio.gather(*(client.commit(INSTALL) for client in flood for _ in range(60)), return_exceptions=True)
    jobs = [answer for answer in answers if isinstance(answer, str)]
    names = {answer.name for answer in answers if isinstance(answer, Refused)}
    assert len(jobs) == 4 and names == {"LimitExceeded"}, (len(jobs), names)
    # One user has four jobs in line; another one's is the next.
    owners = {}
    for client in flood:
        for job in jobs:
            if not await refuses(client, job):
                owners[job] = client
    assert len(owners) == 4, owners
    order = ROOT + "/run/order"
    script = 'for actor; do :; done; echo "$actor" >>/run/order\n' + \
        event("phase", phase="resolving", cancellable=True) + WAIT + SUCCEEDED
    with StandIn(script):
        for job, client in owners.items():
            await client.job(job, "Start")
        await eventually(lambda: any_running(owners))
        mine = await other.commit(INSTALL)
        await other.job(mine, "Start")
        await eventually(lambda: waits(other, mine))
        go_on()
        for job, client in [*owners.items(), (mine, other)]:
            word, result = await client.outcome(job)
            assert word == "succeeded", result
    with open(order, encoding="utf-8") as file:
        assert file.read().split() == [str(uid) for uid in (USER, OTHER, USER, USER, USER)]
    for job, client in owners.items():
        await client.job(job, "Close")
    for client in [*flood, other]:
        client.close()


async def refuses(client, job):
    try:
        await client.get(job, "State")
        return False
    except Refused:
        return True


async def any_running(owners):
    return any("running" in client.states(job) for job, client in owners.items())


async def waits(client, job):
    return await client.get(job, "State") == "waiting"


async def owners_leave():
    root, owner = await Client.connect(0), await Client.connect(USER)
    ready = await owner.commit(INSTALL)
    assert await root.get(ready, "State") == "ready"
    wanted = [("reinstall", "other-omg")]
    started = await owner.commit(wanted, plan(wanted))
    await owner.job(started, "Start")
    # Until polkit has judged it, the owner has to be there.
    await eventually(lambda: "waiting" in owner.states(started))
    owner.close()
    await eventually(lambda: gone(root, ready), "the job that was not started is gone")
    async def over():
        return await root.get(started, "State") == "finished"
    await eventually(over)
    result = (await root.job(started, "GetResult"))[0]
    assert result["Outcome"].value == "succeeded", result
    root.close()


async def progress_and_questions():
    client = await Client.connect(USER)
    await client.wake()
    items = "".join(event("item", item=f"p{number % 50}:amd64", state="unpacking", bytes_done=number, bytes_total=3000)
                    for number in range(3000))
    question = event("question", id=9, kind={"about": "conffile", "package": "a", "path": "/etc/a"}, choices=["keep", "replace"])
    script = event("resolved", privileges=["install"]) + "read -r reply\n" + \
        'case $reply in *proceed*) ;; *) exit 1 ;; esac\n' + \
        event("phase", phase="applying", cancellable=False) + "cat <<'EOF'\n" + items.replace("echo '", "").replace("'\n", "\n") + \
        "EOF\n" + event("progress", fraction=0.5, bytes_done=1, bytes_total=2) + \
        event("message", level="warning", text="look") + question + \
        'read -r reply\ncase $reply in *replace*) ;; *) exit 1 ;; esac\n' + SUCCEEDED
    with StandIn(script):
        started = time.monotonic()
        job = await client.commit(INSTALL)
        await client.job(job, "Start")
        await eventually(lambda: client.said(job, "Question"))
        number, about, details, choices = client.said(job, "Question")[0].body
        assert (number, about, choices) == (9, "conffile", ["keep", "replace"]), (number, about, choices)
        assert details["Path"].value == "/etc/a", details
        await client.refused("NotCancellable", client.job(job, "Cancel"))
        await client.refused("InvalidArgument", client.job(job, "Answer", "us", [8, "keep"]))
        await client.refused("InvalidArgument", client.job(job, "Answer", "us", [9, "rm -rf"]))
        await client.job(job, "Answer", "us", [9, "replace"])
        word, result = await client.outcome(job)
        took = time.monotonic() - started
    assert word == "succeeded", result
    signals = client.said(job, "Items")
    rows = {row[0]: row for message in signals for row in message.body[0]}
    assert len(rows) == 50 and rows["p49:amd64"] == ["p49:amd64", "unpacking", 2999, 3000], rows.get("p49:amd64")
    assert 1 <= len(signals) <= took * 10 + 1, f"{len(signals)} signals in {took} s"
    assert client.said(job, "Message")[0].body == ["warning", "look"]
    assert await client.get(job, "Fraction") == 0.5 and await client.get(job, "Phase") == "applying"
    await client.job(job, "Close")
    client.close()


async def helper_dies():
    client = await Client.connect(USER)
    for script in ("kill -KILL $$\n", "exit 3\n", "echo garbage; exit 0\n"):
        await client.wake()
        with StandIn(event("phase", phase="fetching", cancellable=True) + script):
            job = await client.commit(INSTALL)
            word, result = await client.run(job)
            assert (word, result["Error"]) == ("failed", ERROR + "Internal"), result
            await client.job(job, "Close")
    # Its own output held open by something that it left behind keeps nobody waiting.
    await client.wake()
    with StandIn("sleep 1000 &\necho $! >/run/left-behind\n" + SUCCEEDED):
        job = await client.commit(INSTALL)
        assert (await client.run(job))[0] == "succeeded"
        await client.job(job, "Close")
    with open(ROOT + "/run/left-behind", encoding="utf-8") as file:
        os.kill(int(file.read()), signal.SIGKILL)
    client.close()


async def cancelled():
    client = await Client.connect(USER)
    ready = await client.commit(INSTALL)
    await client.job(ready, "Cancel")
    assert (await client.outcome(ready))[0] == "cancelled"
    script = event("phase", phase="fetching", cancellable=True) + "read -r reply\n" + \
        "case $reply in *cancel*) ;; *) exit 1 ;; esac\n" + event("finished", outcome="cancelled", applied=NOTHING)
    with StandIn(script):
        job = await client.commit(INSTALL)
        await client.job(job, "Start")
        await eventually(lambda: "running" in client.states(job))
        await client.job(job, "Cancel")
        assert (await client.outcome(job))[0] == "cancelled"
    await client.job(job, "Close")
    await client.job(ready, "Close")
    client.close()


async def inhibited():
    """A logind that is there is asked to keep the machine awake, for as long as packages are half changed."""
    client, logind = await Client.connect(USER), await Client.connect(0)
    reading, writing = os.pipe2(os.O_NONBLOCK)
    asked = []

    def called(message):
        if message.message_type is not MessageType.METHOD_CALL or message.member != "Inhibit":
            return None
        asked.append(message.body)
        return Message.new_method_return(message, "h", [0], [writing])

    logind.bus.add_message_handler(called)
    bus = ("/org/freedesktop/DBus", "org.freedesktop.DBus")
    await logind.call(*bus, "RequestName", "su", ["org.freedesktop.login1", 4], to=bus[1])
    await client.wake()
    script = event("phase", phase="fetching", cancellable=True) + WAIT + \
        event("phase", phase="applying", cancellable=False) + "while [ ! -e /run/applied ]; do sleep 0.05; done\n" + SUCCEEDED
    with StandIn(script):
        job = await client.commit(INSTALL)
        await client.job(job, "Start")
        async def fetches():
            return await client.get(job, "Phase") == "fetching"
        await eventually(fetches)
        assert not asked, "the machine is kept awake for a download"
        go_on()
        await eventually(lambda: asked, "logind was asked")
        # What was sent before this call has been sent.
        await logind.call(*bus, "GetId", to=bus[1])
        os.close(writing)
        try:
            os.read(reading, 1)
            raise AssertionError("the lock is not held")
        except BlockingIOError:
            pass
        with open(ROOT + "/run/applied", "w", encoding="utf-8"):
            pass
        assert (await client.outcome(job))[0] == "succeeded"
        await eventually(lambda: closed(reading), "the lock was let go")
    assert [words[:2] + words[3:] for words in asked] == [["shutdown:sleep", "omg", "block"]], asked
    await client.job(job, "Close")
    logind.close()
    client.close()


def closed(reading):
    try:
        return os.read(reading, 1) == b""
    except BlockingIOError:
        return False


async def refreshed():
    client = await Client.connect(USER)
    before = in_machine("stat", "-c", "%Y", "/var/lib/apt/lists").stdout
    assert before
    word, result = await client.run(await client.refresh())
    [last] = audit(1)
    assert last["what"] == "refreshed" and last["actor"] == {"uid": USER, "via": "polkit"}, last
    assert (last["ending"], word) == ("succeeded", "succeeded"), (last, result)
    denied = await Client.connect(OTHER)
    word, result = await denied.run(await denied.refresh())
    assert (word, result["Error"]) == ("failed", ERROR + "NotAuthorized"), result
    client.close()
    denied.close()


async def terminated():
    """A commit that runs is left to finish; its owner hears the end, and nothing new begins."""
    client, late = await Client.connect(USER), await Client.connect(OTHER)
    service = await client.wake()
    script = "echo $$ >/run/child\n" + \
        event("phase", phase="applying", cancellable=False) + \
        WAIT + SUCCEEDED
    with StandIn(script):
        job, waiting = await client.commit(INSTALL), await client.commit(INSTALL)
        ready = await client.commit(INSTALL)
        await client.job(job, "Start")
        await eventually(lambda: "running" in client.states(job))
        await client.job(waiting, "Start")
        await eventually(lambda: waits(client, waiting))
        await eventually(lambda: os.path.exists(ROOT + "/run/child"))
        with open(ROOT + "/run/child", encoding="utf-8") as file:
            child = int(file.read())
        assert os.stat(f"/proc/{child}")
        os.kill(service, signal.SIGTERM)
        for never_ran in (waiting, ready):
            assert (await client.outcome(never_ran))[0] == "cancelled"
        await late.refused("Busy", late.commit(INSTALL))
        assert os.path.exists(f"/proc/{child}") and os.path.exists(f"/proc/{service}")
        assert await client.get(job, "State") == "running"
        go_on()
        assert (await client.outcome(job))[0] == "succeeded"
        await eventually(lambda: not os.path.exists(f"/proc/{service}") or state(service) == "Z")
    assert await client.wake() != service
    client.close()
    late.close()


async def terminated_while_it_can_stop():
    """What is fetched or asked when the service has to end is cancelled: nobody waits for a server or for people."""
    heeds = "read -r reply\ncase $reply in *cancel*) ;; *) exit 1 ;; esac\n"
    fetching = event("phase", phase="fetching", cancellable=True) + heeds + \
        event("finished", outcome="cancelled", applied=NOTHING)
    question = event("question", id=3, kind={"about": "conffile", "package": "a", "path": "/etc/a"}, choices=["keep", "replace"])
    applying = event("phase", phase="applying", cancellable=False) + question + heeds + \
        'read -r reply\ncase $reply in *keep*) ;; *) exit 1 ;; esac\n' + SUCCEEDED
    # The last one hears nothing.
    stuck = event("phase", phase="fetching", cancellable=True) + "exec sleep 1000\n"
    scripts = ((fetching, "fetching", "cancelled"), (applying, "applying", "succeeded"), (stuck, "fetching", "cancelled"))
    for script, phase, expected in scripts:
        # A new one each time: the next service's jobs have the same names.
        client = await Client.connect(USER)
        service = await client.wake()
        with StandIn(script):
            job = await client.commit(INSTALL)
            await client.job(job, "Start")
            async def there():
                return await client.get(job, "Phase") == phase and (phase == "fetching" or client.said(job, "Question"))
            await eventually(there)
            os.kill(service, signal.SIGTERM)
            word, result = await client.outcome(job)
            assert word == expected, result
            await eventually(lambda: not os.path.exists(f"/proc/{service}") or state(service) == "Z")
        client.close()
    client = await Client.connect(USER)
    async with agent.Session(USER, "wait") as session:
        service = await client.wake()
        job = await session.start([("hold", "hello-omg")])
        await eventually(lambda: session.asked, "the question")
        os.kill(service, signal.SIGTERM)
        await eventually(lambda: session.withdrawn, "the dialog was closed")
        await eventually(lambda: not os.path.exists(f"/proc/{service}") or state(service) == "Z")
    client.close()


def state(process):
    with open(f"/proc/{process}/stat", encoding="utf-8") as file:
        return file.read().rsplit(")", 1)[1].split()[0]


async def killed():
    """A service that is killed takes no commit with it."""
    client = await Client.connect(USER)
    service = await client.wake()
    done = ROOT + "/run/done"
    with StandIn("trap '' PIPE\n" + WAIT + SUCCEEDED + "echo done >/run/done\n"):
        job = await client.commit(INSTALL)
        await client.job(job, "Start")
        await eventually(lambda: "running" in client.states(job))
        os.kill(service, signal.SIGKILL)
        async def left():
            return await client.service() is None
        await eventually(left)
        go_on()
        await eventually(lambda: os.path.exists(done), "the commit went on to its end")
    client.close()


async def idle():
    client = await Client.connect(USER)
    service = await client.wake()
    # A job that is not over keeps it.
    job = await client.commit(INSTALL)
    await asyncio.sleep(5)
    assert await client.service() == service, "it left a job"
    await client.job(job, "Close")
    async def left():
        return await client.service() is None
    await eventually(left, "the service left")
    # Calls around the end of the service are all answered, by it or the next.
    processes = set()
    for round_ in range(4):
        processes.add(await client.wake())
        await asyncio.sleep(2.9)
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            body = await client.call(PATH, PROPERTIES, "Get", "ss", [NAME, "Version"])
            assert body[0].value == 1
            await asyncio.sleep(0.02 if round_ % 2 else 0.11)
            if round_ > 1:
                await asyncio.sleep(max(0, end - time.monotonic()) + 2.6)
                break
    client.close()


async def lingers():
    client = await Client.connect(USER)
    job = await client.commit(INSTALL)
    await client.job(job, "Cancel")
    assert (await client.outcome(job))[0] == "cancelled"
    finished = time.monotonic()
    await eventually(lambda: gone(client, job))
    assert time.monotonic() - finished > 59, "it was gone early"
    # And no more of them than are of use.
    jobs = []
    for _ in range(40):
        jobs.append(await client.commit(INSTALL))
        await client.job(jobs[-1], "Cancel")
        await client.outcome(jobs[-1])
    async def bounded():
        return sum([not await gone(client, job) for job in jobs]) <= 17
    await eventually(bounded)
    client.close()


async def goldens():
    client = await Client.connect(USER)
    job = await client.commit(INSTALL)
    for path, name in ((PATH, NAME), (job, JOB)):
        text = await described(client, path)
        start = text.rindex("\n", 0, text.index(f'<interface name="{name}">')) + 1
        end = text.index("</interface>", start) + len("</interface>")
        shown = PATH if name == NAME else PATH + "/job/1"
        golden = ('<!DOCTYPE node PUBLIC "-//freedesktop//DTD D-BUS Object Introspection 1.0//EN"\n'
                  ' "http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd">\n'
                  f'<node name="{shown}">\n{text[start:end]}\n</node>\n')
        file = f"dbus/{name}.xml"
        if os.environ.get("UPDATE_GOLDEN"):
            with open(file, "w", encoding="utf-8") as out:
                out.write(golden)
        with open(file, encoding="utf-8") as published:
            assert published.read() == golden, f"{file} differs from the service's own:\n{golden}"
    assert await client.call(PATH, PROPERTIES, "Get", "ss", [NAME, "Version"])
    await client.job(job, "Close")
    client.close()


async def foreign_names():
    """Nobody but root has the name, and only what is published can be called."""
    client = await Client.connect(USER)
    try:
        await client.call("/org/freedesktop/DBus", "org.freedesktop.DBus", "RequestName", "su", [NAME, 2], to="org.freedesktop.DBus")
        raise AssertionError("an ordinary user has the name")
    except Refused as refused:
        assert refused.name.endswith("AccessDenied"), refused
    try:
        await client.call(PATH, "org.freedesktop.systemd1.Manager", "Exit")
        raise AssertionError("the bus let it through")
    except Refused as refused:
        assert refused.name.endswith("AccessDenied"), refused
    client.close()


def readme(language):
    with open("dbus/README.md", encoding="utf-8") as file:
        section = file.read().split("## Changing packages", 1)[1].split("\n## ", 1)[0]
    blocks = section.split("```" + language + "\n")[1:]
    assert blocks, f"no example in {language}"
    return [block.split("```", 1)[0] for block in blocks]


class Session:
    """A session bus of the user's with omgd on it, in the throwaway machine."""

    def __enter__(self):
        folder = "/run/dbus/session"
        os.makedirs(folder, exist_ok=True)
        os.chown(folder, USER, USER)
        address = f"unix:path={folder}/bus"
        self.environment = {**os.environ, "HOME": folder, "XDG_RUNTIME_DIR": folder, "DBUS_SESSION_BUS_ADDRESS": address}
        bus = [*AS_USER, "dbus-daemon", "--session", "--nofork", "--nopidfile", "--nosyslog", f"--address={address}"]
        omgd = ["chroot", f"--userspec={USER}:{USER}", "--groups=", ROOT, "/usr/bin/omgd"]
        self.processes = [subprocess.Popen(bus, env=self.environment)]
        self.run("bash", "-c", f"until [ -S {folder}/bus ]; do sleep 0.05; done")
        self.processes.append(subprocess.Popen(omgd, env=self.environment))
        waited = self.run("gdbus", "wait", "--session", "--timeout", str(PATIENCE), "org.omg.PackageManager1")
        assert waited.returncode == 0, waited.stderr
        return self

    def run(self, *command):
        return subprocess.run([*AS_USER, *command], env=self.environment, capture_output=True, text=True, check=False)

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.terminate()
            process.wait()


AS_USER = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]


async def published_examples():
    """Each block as it stands, as a script or program of its own."""
    package = "other-omg"
    changing = 0
    with Session() as session:
        programs = [("bash", "-euo", "pipefail", "-c", block, "bash", package) for block in readme("sh")]
        programs += [("/usr/bin/python3", "-c", block, "install", package) for block in readme("python")]
        for program in programs:
            in_machine("dpkg", "--purge", package)
            assert not installed(package)
            ran = session.run(*program)
            assert ran.returncode == 0, (program, ran.stdout, ran.stderr)
            if "Commit" in program[-3]:
                changing += 1
                assert package in ran.stdout and "succeeded" in ran.stdout, (program, ran.stdout)
                assert installed(package), program
    assert changing == 4, f"{changing} of the examples change packages"


async def detached():
    """With the option start a job goes on without its caller, for the same user's connections and nobody else's."""
    start = {"start": Variant("b", True)}
    caller, same, other = await Client.connect(USER), await Client.connect(USER), await Client.connect(OTHER)
    wanted = [("reinstall", "other-omg")]
    job = await caller.commit(wanted, plan(wanted), options=start)
    caller.close()
    async def over():
        return await same.get(job, "State") == "finished"
    await eventually(over)
    result = (await same.job(job, "GetResult"))[0]
    assert result["Outcome"].value == "succeeded" and result["Items"].value[0][1] == "other-omg", result
    for (method, signature) in ACTION_TABLE:
        await other.refused(REFUSED, other.job(job, method, signature, [7, "keep"] if signature else []))
    for name in ("State", "Phase", "Fraction"):
        await other.refused(REFUSED, other.get(job, name))
    await same.refused("InvalidState", same.job(job, "Start"))
    await same.job(job, "Close")
    await eventually(lambda: gone(same, job))

    # What is refused is refused by the call, and leaves no job.
    removal, rival = [("remove", "hello-omg")], [("install", "rival-omg")]
    text = await same.refused(REFUSED, same.commit(removal, plan(removal), options=start))
    assert "transaction.remove" in text, text
    await same.refused(REFUSED, same.commit(rival, plan(rival), options=start))
    await same.refused("PlanStale", same.commit(INSTALL, options=start))
    await same.refused("InvalidArgument", same.commit(INSTALL, options={"start": Variant("s", "yes")}))
    assert installed("hello-omg") and not installed("rival-omg")

    [job] = await same.call(PATH, NAME, "Refresh", "a{sv}", [start])
    await eventually(over)
    await same.job(job, "Close")

    # Another connection of the same user cancels.
    script = event("resolved", privileges=["install"]) + "read -r reply\n" + \
        event("phase", phase="fetching", cancellable=True) + "read -r reply\n" + \
        "case $reply in *cancel*) ;; *) exit 1 ;; esac\n" + event("finished", outcome="cancelled", applied=NOTHING)
    with StandIn(script):
        caller = await Client.connect(USER)
        job = await caller.commit(INSTALL, options=start)
        caller.close()
        async def fetching():
            return await same.get(job, "Phase") == "fetching"
        await eventually(fetching)
        await other.refused(REFUSED, other.job(job, "Cancel"))
        await same.job(job, "Cancel")
        await eventually(over)
    assert (await same.job(job, "GetResult"))[0]["Outcome"].value == "cancelled"
    await same.job(job, "Close")
    same.close()
    other.close()


check("an allowed user installs a package; the job's signals are its owner's alone, and the audit log names the user", allowed)
check("a plan that is not the one agreed to is not carried out, and a job cannot be changed once it is made", swapped)
check("a denied user changes nothing", denied)
check("what a plan turns out to need is authorised before anything changes", escalated)
check("without the call's permission nobody is asked, and without an agent nobody can be", not_asked)
check("a question that is dismissed ends the job with AuthDismissed", dismissed)
check("a consent is kept for a while where polkit says so, and only there", consented)
check("cancelling while somebody is asked closes the dialog", cancelled_while_asked)
check("an owner that leaves while somebody is asked ends its job and closes the dialog", owner_leaves_while_asked)
check("each method answers each kind of caller as the action table says", action_table)
check("each verb takes its own polkit action", verbs)
check("options, targets, digests and locales that are not on the list are refused", injected)
check("malformed and huge messages are refused by a service that goes on", malformed)
check("descriptors are not touched before polkit says yes, and only regular files are packages", descriptors)
check("package scripts see nothing of the caller's or the service's", nothing_of_the_callers)
check("a flood of jobs by one user leaves another one served", flooded)
check("a job whose owner leaves ends before Start and goes on after it", owners_leave)
check("a job that its call started goes on without the caller, for the same user alone", detached)
check("progress is coalesced; questions are answered by the owner with their choices only", progress_and_questions)
check("a helper that dies fails its job with Internal", helper_dies)
check("a job is cancelled before and while it runs", cancelled)
check("logind keeps the machine awake while packages are changed", inhibited)
check("a refresh is authorised and written down", refreshed)
check("after SIGTERM the commit that runs goes to its end and nothing new begins", terminated)
check("after SIGTERM what can be interrupted is cancelled, and nobody is asked any more", terminated_while_it_can_stop)
check("a service that is killed takes no commit with it", killed)
check("the service leaves when idle, not with a job, and no call is lost around it", idle)
check("a finished job stays for a minute, and a bounded number of them", lingers)
check("the published descriptions are those of the running service", goldens)
check("nobody else can have the name, and nothing else can be called", foreign_names)
check("the examples of dbus/README.md work", published_examples)
check("omg by an ordinary user installs, removes and takes back: its daemon plans, the service commits",
      system_bus_cli.command_line)
# The module's own, which the name imported above does not follow.
sys.exit(system_bus_support.failed)
