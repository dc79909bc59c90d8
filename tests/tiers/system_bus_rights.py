"""Who may do what: polkit's answers, and the table of every method and every kind of caller."""
from system_bus_support import *

import system_bus_agent as agent


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


# Each verb, and what asking for it takes; not one is free, and each user is asked about by name.
VERBS = {
    "install": "install", "reinstall": "install", "install-file": "install-untrusted", "upgrade": "upgrade",
    "upgrade-all": "upgrade", "full-upgrade": "remove", "remove": "remove", "purge": "remove", "autoremove": "remove",
    "hold": "manage", "unhold": "manage", "mark-explicit": "manage", "mark-dependency": "manage", "clean": "manage",
    "repair": "manage",
}


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
