"""What callers send who mean harm."""
from system_bus_support import *


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
        event("phase", phase="locking", cancellable=True) + WAIT + SUCCEEDED
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
