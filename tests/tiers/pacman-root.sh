#!/usr/bin/env bash
# Makes what the pacman tests run in: a Debian that ships Arch's libalpm, pacman and makepkg, and our programs built there
# with both backends. Both are kept in ${OMG_TEST_CACHE:-/var/cache/omg-tests}.
#
# pacman-root.sh [release]: with `release` the programs are those that are measured, with pacman's backend alone, in a folder of
# their own.
set -euo pipefail
profile=${1:-dev}
case $profile in
dev) built=debug target=forky-target programs=forky-programs features=arch,debian ;;
# What is measured is what packaging/PKGBUILD builds.
release) built=release target=forky-release-target programs=forky-release-programs features=arch ;;
*) echo "usage: $0 [release]" >&2; exit 2 ;;
esac
cd "$(dirname "$0")/../.."

cache=${OMG_TEST_CACHE:-/var/cache/omg-tests}
root=$cache/forky
cargo_home=${CARGO_HOME:-$HOME/.cargo}
# The toolchain itself, wherever what chooses it lies.
toolchain=$(rustc --print sysroot)
packages=bubblewrap,ca-certificates,fakeroot,g++,gcc,git,gnupg,libalpm-dev,libapt-pkg-dev,libarchive-dev,libarchive-tools
packages+=,libc6-dev,libcurl4-openssl-dev,libgpgme-dev,libssl-dev,makepkg,pacman-package-manager,pkgconf,xz-utils,zstd

mkdir -p "$cache"
exec 9>"$cache/forky.lock"
flock 9
if [ ! -e "$root/var/lib/dpkg/status" ]; then
    # Renamed when it is complete: an interrupted run leaves no root.
    unfinished=$(mktemp -d "$cache/forky.XXXXXX")
    trap 'rm -rf --one-file-system "$unfinished"' EXIT
    debootstrap --variant=minbase --include="$packages" forky "$unfinished/root" \
        "${OMG_TEST_MIRROR:-http://deb.debian.org/debian}" /usr/share/debootstrap/scripts/sid
    mv "$unfinished/root" "$root"
fi

# What cargo needs that is not here yet; the build itself has no network.
cargo fetch --locked --quiet

mkdir -p "$cache/$target" "$cache/$programs"
unshare --mount --propagation=private --pid --fork --kill-child sh -s \
    "$root" "$PWD" "$cargo_home" "$toolchain" "$cache/$target" "$profile" "$features" "$(make --silent static-flags)" <<'IN'
set -eu
base=/mnt
mount -t tmpfs tmpfs "$base"
mkdir "$base/upper" "$base/work" "$base/root"
mount -t overlay -o "lowerdir=$1,upperdir=$base/upper,workdir=$base/work" overlay "$base/root"
for pair in "$2:/src" "$3/registry:/cargo/registry" "$4:/toolchain" "$5:/target"; do
    mkdir -p "$base/root${pair#*:}"
    mount --bind "${pair%%:*}" "$base/root${pair#*:}"
done
mount -o remount,bind,ro "$base/root/src"
mount --rbind /dev "$base/root/dev"
mount -t proc proc "$base/root/proc"
exec chroot "$base/root" env -i HOME=/root CARGO_HOME=/cargo CARGO_TARGET_DIR=/target \
    CARGO_NET_OFFLINE=true PATH=/toolchain/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    CI="${CI:-}" PROFILE="$6" FEATURES="$7" STATIC="$8" sh -euc '
        cd /src
        # Nowhere else is this code compiled.
        [ "$CI" != true ] || [ "$PROFILE" != dev ] || cargo clippy --locked --features "$FEATURES" --bin omg-helper -- -D warnings
        cargo build --locked --profile "$PROFILE" --features "$FEATURES" --bin omg --bin omgd --bin omg-fast --bin omg-helper
        # As it is linked there.
        [ "$PROFILE" = dev ] || cargo rustc --locked --profile "$PROFILE" --features "$FEATURES" --bin omg -- $STATIC'
IN
cp "$cache/$target/$built/"{omg,omgd,omg-fast,omg-helper} "$cache/$programs/"
