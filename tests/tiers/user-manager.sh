#!/usr/bin/env bash
# Tier 3: a real systemd user manager and a real session bus of its own, for a user that exists only here.
#
# Root makes private mount, cgroup and process namespaces, and in them: a tmpfs over /run and over the user's home, a
# cgroup tree of cgroup v2, and a passwd file with one more user. The host's mounts, users and processes are not touched,
# and everything ends with the namespaces' first process. What `make install-user` installs is put into the new home;
# the checks themselves run as the user: user-manager-checks.sh.
#
# Prints check lines (tests/support/tap.sh); `SKIP reason` and exit status 0 when this machine cannot do it.
# TARGET_DIR names the folder that holds release/ (default: target).
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/support/tap.sh

target_dir=$(realpath "${TARGET_DIR:-${CARGO_TARGET_DIR:-target}}")
group=omg-user-manager-test

skip() {
    echo "SKIP $*"
    exit 0
}

# Inside the namespaces, as their first process.
inside() {
    local home=$1 uid=$2 scratch name=omg-test

    mount -t tmpfs -o mode=755 tmpfs /run
    # sd_booted() looks for this folder.
    mkdir -p /run/systemd/system "/run/user/$uid"
    mount -t tmpfs -o "mode=700,uid=$uid,gid=$uid" tmpfs "/run/user/$uid"

    umount -R /sys/fs/cgroup 2>/dev/null || true
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    mkdir -p "/sys/fs/cgroup/$group"
    echo $$ >"/sys/fs/cgroup/$group/cgroup.procs"
    chown -R "$uid:$uid" "/sys/fs/cgroup/$group"

    scratch=/run/omg-harness
    mkdir "$scratch"
    { cat /etc/passwd && echo "$name:x:$uid:$uid::$home:/bin/bash"; } >"$scratch/passwd"
    { cat /etc/group && echo "$name:x:$uid:"; } >"$scratch/group"
    mount --bind "$scratch/passwd" /etc/passwd
    mount --bind "$scratch/group" /etc/group

    # The journal's socket, with a log file behind it (a line `<PRIORITY> MESSAGE` each): what the manager says is part of
    # what is tested.
    mkdir /run/systemd/journal
    python3 -c '
import os, socket, sys
journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
journal.bind("/run/systemd/journal/socket")
os.chmod("/run/systemd/journal/socket", 0o666)
with open(sys.argv[1], "ab", buffering=0) as log:
    while True:
        fields = dict(line.split(b"=", 1) for line in journal.recv(65536).split(b"\n") if b"=" in line)
        log.write(b"<%s> %s\n" % (fields.get(b"PRIORITY", b"?"), fields.get(b"MESSAGE", b"")))
' /run/journal.log &
    eventually 10 test -w /run/systemd/journal/socket -a -e /run/journal.log

    mount -t tmpfs -o "mode=700,uid=$uid,gid=$uid" tmpfs "$home"
    # The programs are built already; cargo has no place in this home.
    env -u XDG_DATA_HOME HOME="$home" make --no-print-directory --old-file=build TARGET_DIR="$target_dir" install-user \
        >"$scratch/install.log" 2>&1 || {
        echo "not ok - make install-user installs into an empty home"
        sed 's/^/# /' "$scratch/install.log"
        return 1
    }
    echo "ok - make install-user installs into an empty home"
    mkdir "$home/harness"
    cp tests/support/tap.sh tests/tiers/user-manager-checks.sh "$home/harness"
    chown -R "$uid:$uid" "$home"

    cd "$home"
    env --ignore-environment PATH="$home/.local/bin:/usr/local/bin:/usr/bin:/bin" LANG=C.UTF-8 HOME="$home" \
        USER="$name" LOGNAME="$name" SHELL=/bin/bash XDG_RUNTIME_DIR="/run/user/$uid" \
        setpriv --reuid="$uid" --regid="$uid" --clear-groups bash "$home/harness/user-manager-checks.sh"
}

# In a namespace of its own, after the tests: their cgroups outlive the processes.
remove_groups() {
    umount -R /sys/fs/cgroup 2>/dev/null || true
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    for _ in $(seq 50); do
        [ -d "/sys/fs/cgroup/$group" ] || return 0
        find "/sys/fs/cgroup/$group" -depth -type d -exec rmdir {} + 2>/dev/null || true
        sleep 0.1
    done
    echo "# cgroup $group is still in use"
}

case ${1:-} in
--inside)
    status=0
    inside "$2" "$3" || status=$?
    exit "$status"
    ;;
--remove-groups)
    remove_groups
    exit
    ;;
esac

[ "$(id -u)" = 0 ] || skip "needs root to make namespaces"
[ -x /usr/lib/systemd/systemd ] || [ -x /lib/systemd/systemd ] || skip "systemd is not installed"
[ -e /usr/lib/systemd/user/dbus.socket ] || skip "dbus-user-session is not installed"
for program in busctl python3 systemctl systemd-analyze setpriv unshare; do
    command -v "$program" >/dev/null || skip "$program is not installed"
done
grep -qw cgroup2 /proc/filesystems || skip "the kernel has no cgroup v2"
namespaces="--mount --cgroup --pid --fork --kill-child --mount-proc"
# shellcheck disable=SC2086 # one word an option
unshare $namespaces true 2>/dev/null || skip "this machine does not allow new namespaces"

uid=61500
while getent passwd "$uid" >/dev/null || getent group "$uid" >/dev/null; do uid=$((uid + 1)); done
home=$(mktemp -d)
cleanup() {
    # Only ever an empty folder here: what was mounted on it went with its namespace.
    rmdir "$home" 2>/dev/null || true
    unshare --mount --cgroup bash "$0" --remove-groups || true
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

status=0
# shellcheck disable=SC2086 # one word an option
timeout --kill-after=10 "${USER_MANAGER_SECONDS:-600}" unshare $namespaces bash "$0" --inside "$home" "$uid" || status=$?
case $status in
0) ;;
124 | 137) echo "not ok - the user manager's checks end in time" ;;
*) echo "# the user manager's checks ended with status $status" ;;
esac
exit "$status"
