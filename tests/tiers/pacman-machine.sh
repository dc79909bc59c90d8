#!/usr/bin/env bash
# Tier 7: a whole machine with pacman, in which the system bus has systemd start omg-helper.service and the bus of each user
# has the user's manager start omgd.service, which builds packages of the AUR in units of their own.
#
# Root makes private mount, cgroup, process and network namespaces, and in them a machine: the root of pacman-root.sh with
# systemd, dbus, polkitd and logind laid over it (installed once), the programs that were built there, what `make install`
# installs, repositories, an AUR and a key server on the machine's own network, and users. The units are the shipped ones,
# unchanged. The host's mounts, users, packages, processes and control groups are not touched, and everything ends with the
# namespaces' first process. The checks: pacman-machine-checks.sh and pacman-machine-builds.sh.
#
# Prints check lines (tests/support/tap.sh); `SKIP reason` and exit status 0 when this machine cannot do it. It needs what
# pacman-root.sh has made.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/support/tap.sh
. tests/tiers/whole-machine.sh

cache=${OMG_TEST_CACHE:-/var/cache/omg-tests}
group=omg-pacman-machine-test
packages="dbus dbus-user-session iproute2 libpam-systemd passwd polkitd procps systemd systemd-sysv"

skip() {
    echo "SKIP $*"
    exit 0
}

# The layer that makes a machine of the root: what installing these packages changes in it.
layer() {
    local base
    exec 9>"$cache/forky-systemd.lock"
    flock 9
    base="$(cksum <"$cache/forky/var/lib/dpkg/status") $packages"
    if [ "$(cat "$cache/forky-systemd/base" 2>/dev/null)" != "$base" ]; then
        rm -rf --one-file-system "$cache/forky-systemd"
        unfinished=$(mktemp -d "$cache/forky-systemd.XXXXXX")
        trap 'rm -rf --one-file-system "$unfinished"' EXIT
        mkdir "$unfinished/upper" "$unfinished/work"
        # shellcheck disable=SC2016 # expanded in there
        unshare --mount --propagation=private --pid --fork --kill-child sh -euc '
            mount -t tmpfs tmpfs /mnt
            mkdir /mnt/root
            mount -t overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" overlay /mnt/root
            mount -t proc proc /mnt/root/proc
            packages=$3
            # A mirror may be a copy that is older than its lists say they are good for.
            exec env -i HOME=/root DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin \
                chroot /mnt/root sh -euc "
                    apt-get --quiet -o Acquire::Check-Valid-Until=false update
                    apt-get --quiet install --yes --no-install-recommends $packages
                    apt-get clean"' layer "$(realpath "$cache/forky")" "$unfinished" "$packages" >"$unfinished/log" 2>&1 || {
            echo "not ok - systemd can be installed into the root with pacman"
            tail -n 20 "$unfinished/log" | sed 's/^/# /'
            exit 1
        }
        rm -rf --one-file-system "$unfinished/work"
        echo "$base" >"$unfinished/base"
        # Renamed when it is complete: an interrupted run leaves no layer.
        mv "$unfinished" "$cache/forky-systemd"
        trap - EXIT
    fi
    exec 9>&-
}

# Inside the outer namespaces, as their first process: makes the machine, starts it, runs the checks.
inside() {
    local scratch=/mnt root uid=1610 user status=0
    mount -t tmpfs -o mode=755 tmpfs "$scratch"
    control_groups
    mkdir "/sys/fs/cgroup/$group"

    root=$scratch/root
    mkdir -p "$root" "$scratch/changes/upper" "$scratch/changes/work"
    mount -t overlay -o "lowerdir=$cache/forky-systemd/upper:$cache/forky,upperdir=$scratch/changes/upper,workdir=$scratch/changes/work" \
        overlay "$root"
    # The programs tell their own man pages, which only works where they were built: so it is installed from within.
    mkdir -p "$root/src" "$root/programs/release"
    mount --bind /dev "$root/dev"
    mount -t proc proc "$root/proc"
    mount --bind "$PWD" "$root/src"
    mount --bind "$cache/forky-programs" "$root/programs/release"
    make --no-print-directory --dry-run TARGET_DIR=/programs PREFIX=/usr install |
        chroot "$root" sh -euc 'cd /src && exec sh -eu' >"$scratch/install.log" 2>&1 || {
        echo "not ok - make install installs into the machine"
        sed 's/^/# /' "$scratch/install.log"
        return 1
    }
    echo "ok - make install installs into the machine"
    umount "$root/src" "$root/programs/release"

    rm "$root/etc/os-release"
    printf 'NAME="Arch Linux"\nID=arch\n' >"$root/etc/os-release"
    install -D -m 644 tests/tiers/pacman-machine.rules "$root/etc/polkit-1/rules.d/10-omg-tests.rules"
    chroot "$root" useradd --system --home-dir / --shell /usr/sbin/nologin alpm
    mkdir -p "$root/var/lib/systemd/linger"
    for user in allowed denied careful stranger; do
        chroot "$root" useradd --create-home --shell /bin/bash --uid "$uid" "$user"
        install -d -o "$uid" -g "$uid" "$root/home/$user/.config" "$root/home/$user/.config/omg"
        printf '[aur]\nurl = "http://127.0.0.1:8765"\nkeyserver = "hkp://127.0.0.1:8765"\n' >"$root/home/$user/.config/omg/config.toml"
        # Their user managers run without anybody logging in.
        touch "$root/var/lib/systemd/linger/$user"
        uid=$((uid + 1))
    done
    : >"$root/etc/fstab"
    # What fetches keys asks for the name of the server's address, and its own resolver finds none without a network.
    printf '127.0.0.1 localhost\n::1 localhost\n' >"$root/etc/hosts"
    mkdir -p "$root/etc/gnupg"
    echo standard-resolver >"$root/etc/gnupg/dirmngr.conf"
    install -m 755 tests/tiers/pacman-machine-archive.sh "$root/usr/bin/archive-omg"
    chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 archive-omg >"$scratch/archive.log" 2>&1 || {
        echo "not ok - repositories are made"
        sed 's/^/# /' "$scratch/archive.log"
        return 1
    }
    umount "$root/dev" "$root/proc"

    start_machine "$group" "$root" "$scratch/boot.log" || return 1
    nsenter --target "$machine" --net python3 tests/tiers/pacman-machine-server.py "$root/srv/web" 8765 \
        >"$scratch/requests.log" 2>"$scratch/server.log" &
    bash tests/tiers/pacman-machine-checks.sh "$machine" "$root" "$scratch" || status=$?
    bash tests/tiers/pacman-machine-builds.sh "$machine" "$root" "$scratch" || status=$?
    [ "$status" = 0 ] || in_machine journalctl --no-pager --quiet --lines=80 --output=short-monotonic | sed 's/^/# /'
    return "$status"
}

case ${1:-} in
--inside)
    status=0
    inside || status=$?
    exit "$status"
    ;;
--remove-groups)
    remove_groups "$group"
    exit
    ;;
esac

[ "$(id -u)" = 0 ] || skip "needs root to make namespaces"
for program in git ip make nsenter pivot_root python3 setpriv unshare; do
    command -v "$program" >/dev/null || skip "$program is not installed"
done
grep -qw cgroup2 /proc/filesystems || skip "the kernel has no cgroup v2"
namespaces="--mount --propagation=private --pid --fork --kill-child --mount-proc"
# shellcheck disable=SC2086 # one word an option
unshare $namespaces --cgroup --net true 2>/dev/null || skip "this machine does not allow new namespaces"
for made in forky forky-programs/omg-fast; do
    [ -e "$cache/$made" ] || {
        echo "not ok - tests/tiers/pacman-root.sh has made $cache/$made"
        exit 1
    }
done
layer

trap 'unshare --mount bash "$0" --remove-groups' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

status=0
# shellcheck disable=SC2086 # one word an option
timeout --kill-after=10 "${PACMAN_MACHINE_SECONDS:-600}" unshare $namespaces bash "$0" --inside || status=$?
case $status in
0) ;;
124 | 137) echo "not ok - the checks of the whole machine end in time" ;;
*) echo "# the checks of the whole machine ended with status $status" ;;
esac
exit "$status"
