"""omg itself, by an ordinary user of the throwaway machine: the user's omgd plans, the service on the system bus commits."""
import contextlib

from system_bus_support import *

USER = 61603
FOLDER = "/run/omg-user"
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": FOLDER, "XDG_RUNTIME_DIR": FOLDER, "TMPDIR": FOLDER,
}


def as_user(*command):
    return ["/usr/sbin/chroot", f"--userspec={USER}:{USER}", "--groups=", ROOT, *command]


def omg(*arguments, code=0):
    """What omg prints; on its standard error when it is to fail."""
    ran = subprocess.run(as_user("omg", *arguments), env=ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True,
                         text=True, check=False, timeout=PATIENCE)
    assert ran.returncode == code, (arguments, ran)
    return ran.stdout if code == 0 else ran.stderr


def history():
    return [json.loads(line) for line in omg("history", "--json").splitlines()]


@contextlib.asynccontextmanager
async def daemon():
    process = subprocess.Popen(as_user("omgd", "--foreground"), env=ENVIRONMENT, stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        await eventually(lambda: os.path.exists(f"{ROOT}{FOLDER}/omg.sock"), "omgd's socket")
        yield
    finally:
        process.terminate()
        process.wait()


async def command_line():
    os.makedirs(ROOT + FOLDER, mode=0o700, exist_ok=True)
    os.chown(ROOT + FOLDER, USER, USER)
    async with daemon():
        assert "tool-omg" not in omg("list", "--installed", "--quiet").split()
        said = omg("install", "-y", "tool-omg")
        assert "install\ttool-omg\t\t1.0\t" in said and "1 installed\n" in said, said
        assert installed("tool-omg")
        assert "tool-omg" in omg("list", "--installed", "--quiet").split(), "an answer from before the change"
        first = history()[0]
        assert first["actor"] == {"uid": USER, "via": "polkit"}, first
        assert first["actions"] == [["install", "tool-omg"]] and first["standing"] == "succeeded", first
        assert "none of them changed" in omg("audit", "verify")

        omg("remove", "-y", "tool-omg")
        assert not installed("tool-omg") and "tool-omg" not in omg("list", "--installed", "--quiet").split()
        removed = history()[0]
        assert removed["actions"] == [["remove", "tool-omg"]] and removed["id"] > first["id"], removed
        omg("undo", "-y", str(removed["id"]))
        assert installed("tool-omg")
        omg("undo", "-y", str(first["id"]))
        assert not installed("tool-omg")
        assert [entry["standing"] for entry in history()[:4]] == ["succeeded"] * 4
        assert "none of them changed" in omg("audit", "verify")
        begun, ended = audit(2)
        assert begun["actor"]["uid"] == USER and ended["ending"] == "succeeded", (begun, ended)

        # A file that no archive vouches for: omg wants to be told so, and polkit has its word in the end.
        file = "/srv/omg/tool-omg_1.0_all.deb"
        assert "--allow-untrusted" in omg("install", "-y", file, code=2)
        assert "org.omg.transaction.install-untrusted" in omg("install", "-y", "--allow-untrusted", file, code=5)
        assert not installed("tool-omg")
    # Where none runs, a daemon that is omg's own plans.
    await eventually(lambda: not os.path.exists(f"{ROOT}{FOLDER}/omg.sock"), "omgd left")
    omg("install", "-y", "tool-omg")
    assert installed("tool-omg")
    omg("remove", "-y", "tool-omg")
