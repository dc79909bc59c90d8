# Sourced by the tiers that boot a whole machine with systemd as its first process, and by their checks.
# shellcheck shell=bash

control_groups() {
    umount -R /sys/fs/cgroup 2>/dev/null || true
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
}

# start_machine GROUP ROOT LOG: boots ROOT in namespaces of its own and in a control group of its own, which becomes the
# machine's root group. Sets `machine`, the process that is its systemd.
start_machine() {
    local group=$1 root=$2 log=$3 outer
    (
        echo "$BASHPID" >"/sys/fs/cgroup/$group/cgroup.procs"
        # shellcheck disable=SC2016 # expanded in there
        exec unshare --mount --pid --net --ipc --uts --cgroup --fork --kill-child --mount-proc \
            bash -euc '. tests/tiers/whole-machine.sh; boot "$1"' boot "$root"
    ) >"$log" 2>&1 </dev/null &
    outer=$!
    started() { [ "$(cat "/proc/$(cat "/proc/$outer/task/$outer/children" | tr -d ' ')/comm")" = systemd ]; }
    eventually 30 started || {
        echo "not ok - systemd starts as the first process of a machine"
        sed 's/^/# /' "$log"
        return 1
    }
    machine=$(tr -d ' ' <"/proc/$outer/task/$outer/children")
}

# Inside the machine's namespaces, as the process that becomes systemd.
boot() {
    local root=$1 node
    mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
    # What is writable there is the host's.
    mount --bind "$root/proc/sys" "$root/proc/sys"
    mount -o remount,bind,ro "$root/proc/sys"
    mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$root/sys"
    mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 "$root/sys/fs/cgroup"
    mount -t tmpfs -o mode=755,nosuid tmpfs "$root/dev"
    for node in null zero full random urandom tty; do
        : >"$root/dev/$node"
        mount --bind "/dev/$node" "$root/dev/$node"
    done
    mkdir "$root/dev/pts" "$root/dev/shm"
    mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
    mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
    ln -s pts/ptmx "$root/dev/ptmx"
    ln -s /proc/self/fd "$root/dev/fd"
    mount -t tmpfs -o mode=755 tmpfs "$root/run"
    # A user's namespaces may mount a proc of their own only where the machine has one that nothing is mounted over.
    mkdir -m 700 "$root/run/whole-proc"
    mkdir "$root/run/whole-proc/proc"
    mount -t proc -o nosuid,nodev,noexec proc "$root/run/whole-proc/proc"
    mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
    ip link set lo up
    hostname omg-test
    cd "$root"
    mkdir -p .host
    pivot_root . .host
    # Whatever else it may do, it does to its own namespaces; these belong to the host's kernel.
    exec env --ignore-environment container=omg-tests PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
        setpriv --bounding-set=-sys_module,-sys_rawio,-sys_time,-sys_boot,-syslog \
        sh -c 'umount -l /.host && rmdir /.host && exec /lib/systemd/systemd --show-status=no'
}

# remove_groups GROUP: in a namespace of its own, after the checks: control groups outlive the processes.
remove_groups() {
    control_groups
    for _ in $(seq 50); do
        [ -d "/sys/fs/cgroup/$1" ] || return 0
        find "/sys/fs/cgroup/$1" -depth -type d -exec rmdir {} + 2>/dev/null || true
        sleep 0.1
    done
    echo "# control group $1 is still in use"
}

# in_machine COMMAND…: as the root of the machine whose systemd is the process `machine`.
in_machine() {
    # The folder to begin in is the machine's: nsenter's own --wd is the host's.
    # shellcheck disable=SC2154 # the checks' own
    nsenter --target "$machine" --mount --pid --net --ipc --uts --cgroup --root \
        env --ignore-environment --chdir=/ PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 timeout "${LIMIT:-300}" "$@"
}

# as_user USER COMMAND…: as a unit of the machine's own, that has its user's manager and bus and belongs to no session.
as_user() {
    local user=$1 uid
    shift
    uid=$(in_machine id -u "$user")
    in_machine systemd-run --quiet --pipe --wait --collect --uid="$user" --setenv=XDG_RUNTIME_DIR="/run/user/$uid" \
        --setenv=HOME="/home/$user" --setenv=LANG=C.UTF-8 --working-directory="/home/$user" "$@"
}

# on_terminal USER PROMPT ANSWER… -- COMMAND…: as as_user, on a terminal where the prompts are answered.
on_terminal() {
    local user=$1 uid talk=()
    shift
    while [ "$1" != -- ]; do
        talk+=("$1")
        shift
    done
    shift
    uid=$(in_machine id -u "$user")
    python3 tests/tiers/on-terminal.py "${talk[@]}" -- \
        nsenter --target "$machine" --mount --pid --net --ipc --uts --cgroup --root \
        env --ignore-environment --chdir=/ PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
        systemd-run --quiet --pipe --wait --collect --uid="$user" --setenv=XDG_RUNTIME_DIR="/run/user/$uid" \
        --setenv=HOME="/home/$user" --setenv=LANG=C.UTF-8 --setenv=TERM=dumb --setenv=PAGER=cat --working-directory="/home/$user" "$@"
}
