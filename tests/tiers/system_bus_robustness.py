"""Helpers that die, and a service that ends: when it is told to, killed, or idle."""
import signal

from system_bus_support import *

import system_bus_agent as agent


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


async def stuck():
    """A helper that comes to no end with what it reads, as of a file on a server that is gone, has its turn for so long."""
    client, other = await Client.connect(USER), await Client.connect(OTHER)
    await client.wake()
    # It reads before it has resolved, and once more where something changed while it waited for the lock.
    for before in ("", event("resolved", privileges=["install"]) + "read -r reply\n" + event("phase", phase="locking", cancellable=True)):
        with StandIn(before + event("phase", phase="resolving", cancellable=True) + "echo $$ >/run/stuck\nexec sleep 1000\n"):
            job = await client.commit(INSTALL)
            await client.job(job, "Start")
            await eventually(lambda: os.path.exists(ROOT + "/run/stuck"))
        with StandIn(SUCCEEDED):
            waiting = await other.commit(INSTALL)
            await other.job(waiting, "Start")
            word, result = await client.outcome(job)
            assert (word, result["Error"]) == ("failed", ERROR + "LimitExceeded"), result
            assert "copy package files to a folder of this machine" in result["Message"], result
            assert (await other.outcome(waiting))[0] == "succeeded"
        with open(ROOT + "/run/stuck", encoding="utf-8") as file:
            assert not os.path.exists(f"/proc/{file.read().strip()}")
        os.remove(ROOT + "/run/stuck")
        await client.job(job, "Close")
        await other.job(waiting, "Close")
    client.close()
    other.close()


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
