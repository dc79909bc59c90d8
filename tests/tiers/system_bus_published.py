"""What is published: the descriptions of the interfaces, and the examples."""
from system_bus_support import *


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
