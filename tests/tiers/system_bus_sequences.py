"""What jobs go through, from the call to their end."""
from system_bus_support import *


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
    for method, (signature, body) in JOB_METHODS.items():
        await other.refused(REFUSED, other.job(job, method, signature, body))
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
