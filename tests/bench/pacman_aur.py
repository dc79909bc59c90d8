"""The AUR's packages beside those of the repositories: an archive of its shape, and what is found in both."""
import contextlib
import gzip
import http.server
import json
import pathlib
import subprocess
import sys
import threading

GENERATOR = pathlib.Path(__file__).resolve().parents[1] / "support/pacman_databases.py"
PACKAGES = 100_000


def archive(count=PACKAGES):
    """packages-meta-ext-v1.json.gz as the AUR writes it, with names made from Debian's."""
    sys.path.insert(0, str(GENERATOR.parent))
    import pacman_databases  # noqa: E402  pylint: disable=import-outside-toplevel
    known = {}
    for fields in pacman_databases.stanzas():
        known.setdefault(fields["Package"], fields)
    names = [(name + suffix, known[name]) for suffix in ("-git", "-bin", "") for name in sorted(known)][:count]
    lines = []
    for number, (name, fields) in enumerate(names):
        lines.append(json.dumps({
            "ID": number, "Name": name, "PackageBaseID": number, "PackageBase": name,
            "Version": pacman_databases.legal(fields["Version"]), "Description": fields.get("Description", name),
            "URL": fields.get("Homepage", "https://example.org"), "NumVotes": number % 97,
            "Popularity": (number % 89) / 7, "OutOfDate": None, "Maintainer": "nobody", "Submitter": "nobody",
            "FirstSubmitted": 1500000000, "LastModified": 1700000000, "URLPath": f"/cgit/aur.git/snapshot/{name}.tar.gz",
            "Depends": list(pacman_databases.relations(fields.get("Depends", ""))), "MakeDepends": ["git"],
            "License": ["custom"], "Keywords": [],
        }))
    return gzip.compress(("[\n" + ",\n".join(lines) + "\n]\n").encode(), compresslevel=6), len(names)


@contextlib.contextmanager
def served(packed):
    """The address of a server on the loopback interface that has the archive."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):  # pylint: disable=invalid-name
            found = self.path == "/packages-meta-ext-v1.json.gz"
            body = packed if found else b""
            self.send_response(200 if found else 404)
            self.send_header("Content-Length", str(len(body)))
            if found:
                self.send_header("ETag", '"1"')
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):  # pylint: disable=arguments-differ
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def words(count):
    """Parts of names, each once, spread over the alphabet."""
    listed = subprocess.run(["apt-cache", "pkgnames"], stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    parts = sorted({part for name in listed for part in name.split("-") if len(part) > 2})
    return [parts[at * len(parts) // count] for at in range(count)]
