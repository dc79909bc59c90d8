#!/usr/bin/env bash
# Tier 6: a whole Debian 12 with systemd as its first process, in which the system bus has systemd start omg-helper.service.
#
# Root makes private mount, cgroup, process and network namespaces, and in them a machine: a Debian 12 with systemd, dbus,
# polkitd and logind (debootstrapped once, then overlaid), what `make install` installs, an archive that is served over
# http, and users. The unit is the shipped one, unchanged. The host's mounts, users, packages, processes and control groups
# are not touched, and everything ends with the namespaces' first process. The checks: system-manager-checks.sh.
#
# Prints check lines (tests/support/tap.sh); `SKIP reason` and exit status 0 when this machine cannot do it.
# TARGET_DIR names the folder that holds release/ (default: target).
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/support/tap.sh
. tests/tiers/debian-root.sh
. tests/tiers/whole-machine.sh

target_dir=$(realpath "${TARGET_DIR:-${CARGO_TARGET_DIR:-target}}")
group=omg-system-manager-test
name=bookworm-systemd

skip() {
    echo "SKIP $*"
    exit 0
}

# Inside the outer namespaces, as their first process: makes the machine, starts it, runs the checks.
inside() {
    local scratch=/mnt root
    mount -t tmpfs -o mode=755 tmpfs "$scratch"
    control_groups
    mkdir "/sys/fs/cgroup/$group"

    root=$scratch/root
    mkdir -p "$root" "$scratch/changes/upper" "$scratch/changes/work"
    mount -t overlay -o "lowerdir=$debian_cache/$name,upperdir=$scratch/changes/upper,workdir=$scratch/changes/work" overlay "$root"

    make --no-print-directory TARGET_DIR="$target_dir" PREFIX=/usr DESTDIR="$root" install >"$scratch/install.log" 2>&1 || {
        echo "not ok - make install installs into the machine"
        sed 's/^/# /' "$scratch/install.log"
        return 1
    }
    echo "ok - make install installs into the machine"
    mkdir -p "$root/etc/polkit-1/rules.d" "$root/var/lib/systemd/linger"
    # The shipped defaults hold for whom no rule names.
    cat >"$root/etc/polkit-1/rules.d/10-omg-tests.rules" <<'RULES'
polkit.addRule(function (action, subject) {
    if (action.id.indexOf("org.omg.transaction.") === 0 && subject.user == "allowed") return polkit.Result.YES;
    return polkit.Result.NOT_HANDLED;
});
RULES
    chroot "$root" useradd --create-home --shell /bin/bash --uid 1610 allowed
    chroot "$root" useradd --create-home --shell /bin/bash --uid 1611 stranger
    # Their user managers run without anybody logging in.
    touch "$root/var/lib/systemd/linger/allowed" "$root/var/lib/systemd/linger/stranger"
    : >"$root/etc/fstab"
    bash tests/tiers/system-manager-archive.sh "$scratch/archive"
    rm -rf "$root"/etc/apt/sources.list "$root"/etc/apt/sources.list.d "$root"/var/lib/apt/lists
    mkdir -p "$root/etc/apt/sources.list.d" "$root/var/lib/apt/lists"
    install -D -m 644 "$scratch/archive/key.gpg" "$root/etc/apt/keyrings/omg.gpg"
    echo 'deb [signed-by=/etc/apt/keyrings/omg.gpg] http://127.0.0.1:8765 ./' >"$root/etc/apt/sources.list.d/omg.list"

    start_machine "$group" "$root" "$scratch/boot.log" || return 1
    nsenter --target "$machine" --net python3 tests/tiers/system-manager-server.py "$scratch/archive" 8765 \
        >"$scratch/requests.log" 2>"$scratch/server.log" &
    bash tests/tiers/system-manager-checks.sh "$machine" "$root" "$scratch"
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
for program in apt-ftparchive dpkg-deb gcc gpg ip make nsenter pivot_root python3 setpriv unshare; do
    command -v "$program" >/dev/null || skip "$program is not installed"
done
grep -qw cgroup2 /proc/filesystems || skip "the kernel has no cgroup v2"
namespaces="--mount --propagation=private --pid --fork --kill-child --mount-proc"
# shellcheck disable=SC2086 # one word an option
unshare $namespaces --cgroup --net true 2>/dev/null || skip "this machine does not allow new namespaces"
debian_root "$name" systemd,systemd-sysv,dbus,dbus-user-session,libpam-systemd,polkitd

trap 'unshare --mount bash "$0" --remove-groups' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

status=0
# shellcheck disable=SC2086 # one word an option
timeout --kill-after=10 "${SYSTEM_MANAGER_SECONDS:-900}" unshare $namespaces bash "$0" --inside || status=$?
case $status in
0) ;;
124 | 137) echo "not ok - the checks of the whole machine end in time" ;;
*) echo "# the checks of the whole machine ended with status $status" ;;
esac
exit "$status"
