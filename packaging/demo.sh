#!/usr/bin/env bash
# Shows the main job on this machine's packages: packaging/demo.sh FOLDER-WITH-THE-PROGRAMS
#
# In a session of its own: a temporary home, a bus that ends with the script, the programs as they were built. The
# user's own session, files and daemon are not touched.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)

show() {
    printf '\n\033[1m$ %s\033[0m\n' "$*"
    "$@"
}

# The first lines, and how many were left out.
first() {
    awk -v most="$1" 'NR <= most { print } END { if (NR > most) printf "… %d more lines\n", NR - most }'
}

session() {
    # What the bus and the daemon log went to a file; what the commands say belongs to the demo.
    exec 2>&1
    local name=org.omg.PackageManager1 path=/org/omg/PackageManager1 service
    echo "== A D-Bus call starts omgd, which indexes this machine's packages and answers"
    if command -v busctl >/dev/null; then
        printf '\n\033[1m$ busctl --user call %s %s %s Search "asa{sv}" 1 firefox 1 limit u 3\033[0m\n' "$name" "$path" "$name"
        busctl --address="$DBUS_SESSION_BUS_ADDRESS" --timeout=300 call "$name" "$path" "$name" Search 'asa{sv}' 1 firefox 1 limit u 3
    else
        show gdbus call --session --timeout 300 --dest "$name" --object-path "$path" --method "$name.Search" \
            "['firefox']" "{'limit': <uint32 3>}"
    fi
    service=$(gdbus call --session --dest org.freedesktop.DBus --object-path / \
        --method org.freedesktop.DBus.GetConnectionUnixProcessID "$name" | tr -dc '0-9 ' | awk '{ print $NF }')
    echo "(answered by omgd, process $service)"
    echo "$service" >"$OMG_DEMO_PID_FILE"

    printf '\n== The command line, a client of the same daemon\n'
    show omg search firefox --limit 5
    show omg info apt | first 20
    show omg list --upgradable | first 10
    show omg status

    printf '\n== The prompt line, from the status file alone\n'
    show omg-fast --format '{installed} installed, {explicit} explicit, {updates} updates, {security} of them security'
    echo
}

if [ "${1:-}" = --session ]; then
    session
    exit
fi

programs=$(cd "${1:-$here/target/release}" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
mkdir -p -m 700 "$work/home" "$work/run" "$work/data/dbus-1/services"
# Without systemd in this session, the bus itself starts the daemon.
sed -e "s|@bindir@|$programs|g" -e '/^SystemdService=/d' "$here/dbus/org.omg.PackageManager1.service.in" \
    >"$work/data/dbus-1/services/org.omg.PackageManager1.service"

status=0
env -u DBUS_SESSION_BUS_ADDRESS -u OMG_SOCKET_PATH -u XDG_STATE_HOME -u NOTIFY_SOCKET -u LISTEN_FDS -u LISTEN_PID \
    HOME="$work/home" XDG_RUNTIME_DIR="$work/run" XDG_DATA_HOME="$work/data" XDG_CONFIG_HOME="$work/config" \
    XDG_CACHE_HOME="$work/cache" PATH="$programs:$PATH" OMG_DEMO_PID_FILE="$work/pid" \
    dbus-run-session -- bash "$here/packaging/demo.sh" --session 2>"$work/log" || status=$?
if [ "$status" != 0 ]; then
    echo "the demo ended with status $status; the bus and the daemon said:" >&2
    tail -n 20 "$work/log" >&2
fi
# The daemon ends when its bus does; its files can go when it is gone.
if [ -s "$work/pid" ]; then
    for _ in $(seq 100); do
        kill -0 "$(cat "$work/pid")" 2>/dev/null || break
        sleep 0.1
    done
fi
exit "$status"
