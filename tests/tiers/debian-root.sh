# Sourced by the shell tiers: Debian 12 roots, made once and never written to again; the tiers lay their changes over them.
# shellcheck shell=bash

debian_cache=${OMG_TEST_CACHE:-/var/cache/omg-tests}

# debian_root NAME [PACKAGE,PACKAGE…]: sees to it that $debian_cache/NAME is a Debian 12 that has these packages too.
debian_root() {
    local name=$1 packages=${2:-} unfinished
    mkdir -p "$debian_cache"
    exec 9>"$debian_cache/$name.lock"
    flock 9
    if [ ! -e "$debian_cache/$name/var/lib/dpkg/status" ]; then
        command -v debootstrap >/dev/null || {
            echo "SKIP debootstrap is not installed"
            exit 0
        }
        unfinished=$(mktemp -d "$debian_cache/$name.XXXXXX")
        # Renamed when it is complete: an interrupted run leaves no root.
        debootstrap --variant=minbase ${packages:+--include="$packages"} bookworm "$unfinished/root" \
            "${OMG_TEST_MIRROR:-http://deb.debian.org/debian}" >"$unfinished/log" 2>&1 || {
            echo "not ok - debootstrap makes a Debian 12"
            tail -n 20 "$unfinished/log" | sed 's/^/# /'
            exit 1
        }
        mv "$unfinished/root" "$debian_cache/$name"
        rm -rf --one-file-system "$unfinished"
    fi
    exec 9>&-
}
