#!/usr/bin/env python3
"""Databases of pacman's of real size, made from this machine's Debian package lists: real names, summaries, relations and
sections (as groups); versions made legal for pacman.

    pacman_databases.py COUNT FOLDER [all]

writes FOLDER/sync/big.db with COUNT packages (0: all), those that are installed here and others spread evenly over the names,
and FOLDER/local with the installed ones, or with all, every third as a dependency.
"""
import gzip
import io
import pathlib
import re
import subprocess
import sys
import tarfile

RELATION = re.compile(r"^([a-z0-9][a-z0-9+.-]*)(?::\w+)?\s*(?:\((<<|<=|=|>=|>>)\s*([^)]+)\))?")
OPERATORS = {"<<": "<", "<=": "<=", "=": "=", ">=": ">=", ">>": ">"}


def legal(version):
    """[epoch:]version-release, of the characters that makepkg allows."""
    epoch, _, rest = version.strip().rpartition(":")
    upstream, _, revision = rest.rpartition("-")
    upstream, revision = (upstream, revision) if upstream else (revision, "1")
    upstream = re.sub(r"[^A-Za-z0-9._+]", "_", upstream)
    release = re.sub(r"[^0-9.]", "", revision).strip(".") or "1"
    return f"{epoch}:{upstream}-{release}" if epoch not in ("", "0") else f"{upstream}-{release}"


def relations(value):
    """The first alternative of each, as pacman writes it."""
    for part in value.split(","):
        match = RELATION.match(part.strip())
        if match:
            name, operator, version = match.groups()
            yield f"{name}{OPERATORS[operator]}{legal(version)}" if operator else name


def stanzas():
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(FILENAME)", "Created-By: Packages"], stdout=subprocess.PIPE, text=True,
        check=True,
    ).stdout.split()
    for file in sorted(listed):
        text = subprocess.run(
            ["/usr/lib/apt/apt-helper", "cat-file", file], stdout=subprocess.PIPE, text=True, check=True
        ).stdout
        for stanza in text.split("\n\n"):
            fields = {}
            for line in stanza.split("\n"):
                key, colon, value = line.partition(": ")
                if colon and not line.startswith(" "):
                    fields.setdefault(key, value)
            if "Package" in fields and "Version" in fields:
                yield fields


def desc(fields):
    name, version = fields["Package"], legal(fields["Version"])
    text = [
        ("FILENAME", [f"{name}-{version}-x86_64.pkg.tar.zst"]), ("NAME", [name]), ("BASE", [name]), ("VERSION", [version]),
        ("DESC", [fields.get("Description", name)]), ("GROUPS", [fields.get("Section", "misc").replace("/", "-")]),
        ("CSIZE", [fields.get("Size", "1")]), ("ISIZE", [str(int(fields.get("Installed-Size", "1")) * 1024)]),
        ("SHA256SUM", [fields.get("SHA256", "0" * 64)]), ("URL", [fields.get("Homepage", "https://example.org")]),
        ("LICENSE", ["custom"]), ("ARCH", ["x86_64"]), ("BUILDDATE", ["1700000000"]),
        ("PACKAGER", [fields.get("Maintainer", "nobody")]),
        ("CONFLICTS", list(relations(fields.get("Conflicts", "")))),
        ("PROVIDES", list(relations(fields.get("Provides", "")))),
        ("DEPENDS", list(relations(fields.get("Depends", "")))),
        ("OPTDEPENDS", list(relations(fields.get("Suggests", "")))),
    ]
    return "".join(f"%{key}%\n" + "\n".join(values) + "\n\n" for key, values in text if values)


def main(count, folder, install_all=False):
    packages = {}
    for fields in stanzas():
        packages.setdefault(fields["Package"], fields)
    installed = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package}\n"], stdout=subprocess.PIPE, text=True, check=True
    ).stdout.split()
    chosen = sorted(set(installed) & set(packages))
    others = sorted(set(packages) - set(chosen))
    wanted = max(0, count - len(chosen)) if count else len(others)
    names = sorted(chosen + [others[at * len(others) // wanted] for at in range(wanted)])
    chosen = names if install_all else chosen
    (folder / "sync").mkdir(parents=True)
    (folder / "local").mkdir()
    (folder / "local/ALPM_DB_VERSION").write_text("9\n", encoding="ascii")
    with gzip.open(folder / "sync/big.db", "wb", compresslevel=6) as packed, tarfile.open(fileobj=packed, mode="w") as tar:
        for name in names:
            data = desc(packages[name]).encode()
            entry = tarfile.TarInfo(f"{name}-{legal(packages[name]['Version'])}/desc")
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    for at, name in enumerate(chosen):
        place = folder / "local" / f"{name}-{legal(packages[name]['Version'])}"
        place.mkdir()
        text = desc(packages[name]) + "%INSTALLDATE%\n1700000001\n\n" + ("%REASON%\n1\n\n" if at % 3 == 0 else "")
        (place / "desc").write_text(text, encoding="utf-8")
        (place / "files").write_text(f"%FILES%\nusr/\nusr/share/\nusr/share/{name}\n", encoding="utf-8")
    print(f"{len(names)} packages, {len(chosen)} installed")


if __name__ == "__main__":
    main(int(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3:] == ["all"])
