"""pacman-machine-server.py FOLDER PORT: serves, on the machine's own network, repositories for pacman (the folder itself), an
AUR (FOLDER/aur: git repositories by `git http-backend`, and its RPC, made from their .SRCINFO), and a key server that has one
key (FOLDER/key). Prints the path of each request."""
import functools
import http.server
import json
import os
import pathlib
import socketserver
import subprocess
import sys
import urllib.parse

FOLDER = pathlib.Path(sys.argv[1])


def described(base):
    """What the RPC says of the packages that a .SRCINFO describes."""
    shared, packages = {}, []
    for line in (FOLDER / "aur" / f"{base}.git" / ".SRCINFO").read_text(encoding="utf-8").splitlines():
        key, separator, value = line.strip().partition(" = ")
        if not separator:
            continue
        if key == "pkgname":
            packages.append((value, {}))
        fields = packages[-1][1] if packages else shared
        fields.setdefault(key, []).append(value)
    for name, own in packages:
        lists = {told: own.get(key, shared.get(key, [])) for told, key in (
            ("Depends", "depends"), ("MakeDepends", "makedepends"), ("Conflicts", "conflicts"), ("Provides", "provides"))}
        yield {"ID": 1, "Name": name, "PackageBaseID": 1, "PackageBase": base, "Description": "x", "NumVotes": 1,
               "Version": f"{shared['pkgver'][0]}-{shared['pkgrel'][0]}", "Popularity": 0.5, "OutOfDate": None,
               "Maintainer": "t", "FirstSubmitted": 1, "LastModified": 1, **lists}


class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path, _, query = self.path.partition("?")
        print(path, flush=True)
        if path == "/rpc/v5/info":
            names = urllib.parse.parse_qs(query).get("arg[]", [])
            bases = [found.name.removesuffix(".git") for found in (FOLDER / "aur").iterdir()]
            found = [package for base in bases for package in described(base) if package["Name"] in names]
            self.tell({"resultcount": len(found), "results": found, "type": "multiinfo", "version": 5})
        elif path == "/pks/lookup":
            wanted = "key" if "op=get" in query else "index"
            self.answer(200, "application/pgp-keys", (FOLDER / "key" / wanted).read_bytes())
        elif ".git/" in path:
            self.git("GET", path, query, b"")
        else:
            super().do_GET()

    def do_POST(self):
        path, _, query = self.path.partition("?")
        print(path, flush=True)
        self.git("POST", path, query, self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def git(self, method, path, query, body):
        # A repository with a work tree has its own in a folder in it.
        environment = {
            "PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_PROJECT_ROOT": str(FOLDER / "aur"), "GIT_HTTP_EXPORT_ALL": "1", "REQUEST_METHOD": method,
            "PATH_INFO": path.replace(".git/", ".git/.git/", 1), "QUERY_STRING": query, "CONTENT_LENGTH": str(len(body)),
            "CONTENT_TYPE": self.headers.get("Content-Type", ""), "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", "")}
        said = subprocess.run(["git", "http-backend"], input=body, env=environment, stdout=subprocess.PIPE, check=False).stdout
        head, _, rest = said.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
        self.answer(int(headers.get("Status", "200").split()[0]), headers["Content-Type"], rest)

    def tell(self, told):
        self.answer(200, "application/json", json.dumps(told).encode())

    def answer(self, status, kind, body):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True


Server(("127.0.0.1", int(sys.argv[2])), functools.partial(Handler, directory=str(FOLDER))).serve_forever()
