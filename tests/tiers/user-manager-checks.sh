#!/usr/bin/env bash
# The checks of tier 3, run by user-manager.sh as an ordinary user whose home has just received `make install-user`.
set -uo pipefail
. "$(dirname "$0")/tap.sh"

bus_name=org.omg.PackageManager1
bus_path=/org/omg/PackageManager1
units="omgd.socket omgd.service omg-status.path omg-status.service omg-status.timer"
unit_folder=$HOME/.local/share/systemd/user
drop_ins=$HOME/.config/systemd/user
status_file=$HOME/.local/share/omg/status
# The messages that the manager sends to the journal, as they arrive.
manager_log=/run/journal.log
# The first answer waits for the first index.
FIRST_ANSWER=180

user() { timeout 30 systemctl --user "$@"; }
property() { user show --value --property "$2" "$1"; }
state_is() { equal "$(property "$1" ActiveState)" "$2"; }
main_pid() { property omgd.service MainPID; }
call() {
    timeout "$FIRST_ANSWER" busctl --user --timeout="$FIRST_ANSWER" call "$bus_name" "$bus_path" "$bus_name" "$@"
}
# drop_in UNIT NAME: the drop-in's text comes on stdin.
drop_in() {
    mkdir -p "$drop_ins/$1.d"
    cat >"$drop_ins/$1.d/$2.conf"
}
remove_drop_in() { rm -f "$drop_ins/$1.d/$2.conf"; }
notifications() { grep -a 'Got notification message' "$manager_log" | tail -n 20; }
stop_daemon() {
    user stop omgd.service 2>/dev/null
    eventually 10 state_is omgd.service inactive
}

start_manager() {
    local manager=/usr/lib/systemd/systemd
    [ -x "$manager" ] || manager=/lib/systemd/systemd
    "$manager" --user --unit=basic.target --log-target=journal --log-level=debug </dev/null >/dev/null 2>&1 &
    manager_pid=$!
    eventually 30 user is-active --quiet basic.target dbus.socket
}

end_manager() {
    user exit >/dev/null 2>&1
    for _ in $(seq 100); do
        kill -0 "$manager_pid" 2>/dev/null || return 0
        sleep 0.1
    done
    kill -KILL "$manager_pid" 2>/dev/null
}

for unit in omgd.service omg-status.service; do
    # The journal here takes messages, not output streams; without a drop-in what the programs print would be lost.
    drop_in "$unit" log <<TEXT
[Service]
StandardOutput=append:$HOME/${unit%.service}.log
StandardError=append:$HOME/${unit%.service}.log
TEXT
done

if ! start_manager >"$HOME/start.log" 2>&1; then
    echo "not ok - a systemd user manager starts"
    sed 's/^/# /' "$HOME/start.log"
    tail -n 20 "$manager_log" | sed 's/^/# /'
    exit 1
fi
trap end_manager EXIT
export DBUS_SESSION_BUS_ADDRESS="unix:path=$XDG_RUNTIME_DIR/bus"

# Units

units_load() {
    # What it would warn of stands in the log, beside what it says of every unit that it loads.
    eventually 5 grep -q 'omgd\.socket' "$manager_log" || return 1
    for unit in $units; do
        equal "$unit $(property "$unit" LoadState)" "$unit loaded" || return 1
    done
    # Priority 4 is a warning; lower is worse.
    ! grep -aE '^<[0-4]> .*(omgd|omg-status)' "$manager_log"
}
check "the manager loads every unit and warns of nothing" units_load

units_verify() {
    local said
    said=$(cd "$unit_folder" && timeout 60 systemd-analyze --user --man=no verify $units 2>&1)
    # Units of other packages come in as dependencies; what is said of them is not ours.
    ! grep -E 'omgd|omg-status' <<<"$said"
}
check "systemd-analyze verify finds nothing in the units" units_verify

units_enable() {
    local said
    said=$(user enable --now omgd.socket omg-status.path omg-status.timer 2>&1) || { echo "$said"; return 1; }
    for unit in omgd.socket omg-status.path omg-status.timer; do state_is "$unit" active || return 1; done
}
check "socket, path and timer are enabled and start" units_enable

socket_is_private() {
    equal "$(stat --format='%F %a %u' "$XDG_RUNTIME_DIR/omg.sock")" "socket 600 $(id -u)"
}
check "the socket belongs to the user alone, mode 0600" socket_is_private

timer_is_scheduled() {
    holds "$(user list-timers --all omg-status.timer)" 'omg-status\.service'
    holds "$(property omg-status.timer TimersMonotonic)" 'OnStartupUSec=2min' &&
        holds "$(property omg-status.timer TimersMonotonic)" 'OnUnitActiveUSec=6h'
}
check "the timer is scheduled two minutes after login and every six hours" timer_is_scheduled

# Bus activation

bus_call_starts() {
    state_is omgd.service inactive || return 1
    holds "$(call Status 2>&1)" '^a\{sv\} [0-9]+ .*"Pid" u [0-9]+' && state_is omgd.service active
}
check "a bus call starts omgd.service and is answered" bus_call_starts

the_unit_owns_the_name() {
    local owner
    owner=$(timeout 10 busctl --user call org.freedesktop.DBus / org.freedesktop.DBus GetConnectionUnixProcessID s "$bus_name")
    equal "$owner" "u $(main_pid)" && holds "$(cat "/proc/$(main_pid)/cgroup")" '/omgd\.service$'
}
check "the name's owner is the unit's main process, in the unit's cgroup" the_unit_owns_the_name

is_hardened() {
    local status
    status=$(cat "/proc/$(main_pid)/status")
    holds "$status" '^NoNewPrivs:[[:space:]]1$' && holds "$status" '^Seccomp:[[:space:]]2$' &&
        equal "$(property omgd.service MemoryDenyWriteExecute)" yes &&
        equal "$(property omgd.service RestrictAddressFamilies)" 'AF_INET AF_INET6 AF_UNIX'
}
check "the daemon runs under no_new_privs and a seccomp filter" is_hardened

inherits_the_socket() {
    local inode
    # The listening socket's inode: field 7, path: field 8, flags 00010000 = listening.
    inode=$(awk -v path="$XDG_RUNTIME_DIR/omg.sock" '$8 == path && $4 == "00010000" { print $7 }' /proc/net/unix)
    holds "$(ls -l "/proc/$(main_pid)/fd")" "socket:\[${inode:-none}\]"
}
check "started through the bus, it holds systemd's listening socket" inherits_the_socket

search_answers() { holds "$(timeout "$FIRST_ANSWER" "$HOME/.local/bin/omg" search dpkg)" '(^|[^a-z])dpkg'; }
check "under the shipped hardening omg search finds an installed package" search_answers

# Stopping

stops_in_time() {
    local before=$SECONDS pid
    pid=$(main_pid)
    user stop omgd.service 2>/dev/null || return 1
    [ $((SECONDS - before)) -le 5 ] || { echo "took $((SECONDS - before)) s"; return 1; }
    equal "$(property omgd.service Result)" success && equal "$(property omgd.service ExecMainCode)" 1 &&
        equal "$(property omgd.service ExecMainStatus)" 0 &&
        holds "$(notifications)" "Got notification message from PID $pid \(.*STOPPING=1"
}
check "systemctl stop: the daemon says STOPPING=1 and exits 0 within 5 s" stops_in_time

# Socket activation

socket_starts() {
    state_is omgd.service inactive && state_is omgd.socket active || return 1
    # With no bus address and no bus socket to guess, only the listening socket is left.
    holds "$(env -u DBUS_SESSION_BUS_ADDRESS OMG_SOCKET_PATH="$XDG_RUNTIME_DIR/omg.sock" \
        timeout "$FIRST_ANSWER" "$HOME/.local/bin/omg" search dpkg)" '(^|[^a-z])dpkg' && state_is omgd.service active
}
check "a connection to the socket starts omgd.service and is answered" socket_starts

name_follows() { eventually 10 timeout 5 busctl --user --no-pager --auto-start=no status "$bus_name"; }
check "started through the socket, it claims the bus name too" name_follows
check "it stops again" stop_daemon

# Watchdog

drop_in omgd.service watchdog <<'TEXT'
[Service]
WatchdogSec=2
TimeoutStopSec=3
TEXT
user daemon-reload
watchdog_restarts() {
    local before restarts
    call Status >/dev/null || return 1
    before=$(main_pid)
    restarts=$(property omgd.service NRestarts)
    # Longer than the watchdog's interval: a daemon that does not report would be killed here.
    sleep 5
    equal "$(main_pid)" "$before" || return 1
    kill -STOP "$before"
    restarted() { [ "$(property omgd.service NRestarts)" -gt "$restarts" ] && state_is omgd.service active; }
    eventually 30 restarted || return 1
    [ "$(main_pid)" != "$before" ] || { echo "still process $before"; return 1; }
    holds "$(call Status)" "\"Pid\" u $(main_pid)"
}
check "the watchdog is fed, and replaces a daemon that hangs" watchdog_restarts
remove_drop_in omgd.service watchdog
user daemon-reload
stop_daemon >/dev/null

# Idle exit

mkdir -p "$HOME/.config/omg"
echo "${OMG_TEST_IDLE_CONFIG:-idle-timeout = 2}" >"$HOME/.config/omg/config.toml"
idle_exit() {
    local first second
    call Status >/dev/null || return 1
    first=$(main_pid)
    eventually 20 state_is omgd.service inactive || return 1
    equal "$(property omgd.service Result)" success || return 1
    state_is omgd.socket active || return 1
    holds "$(notifications)" "Got notification message from PID $first \(.*STOPPING=1" || return 1
    call Status >/dev/null || return 1
    second=$(main_pid)
    [ "$second" != 0 ] && [ "$second" != "$first" ] || { echo "process $first, then $second"; return 1; }
}
check "idle, the daemon says STOPPING=1 and exits 0; the next call starts another" idle_exit
rm -f "$HOME/.config/omg/config.toml"
stop_daemon >/dev/null

# Starts in a row

many_starts() {
    local i
    for i in $(seq 60); do
        call Metrics >/dev/null || { echo "start $i"; return 1; }
        user stop omgd.service || return 1
    done
    state_is omgd.socket active
}
check "sixty starts in a row leave the service and its socket usable" many_starts

mended_is_served() {
    local restarts caller
    echo 'idle-timeout = "never"' >"$HOME/.config/omg/config.toml"
    OMG_SOCKET_PATH="$XDG_RUNTIME_DIR/omg.sock" timeout 60 "$HOME/.local/bin/omg" search dpkg >"$HOME/waiting.log" 2>&1 &
    caller=$!
    restarts=$(property omgd.service NRestarts)
    restarted_often() { [ "$(property omgd.service NRestarts)" -ge $((restarts + 3)) ]; }
    eventually 30 restarted_often || return 1
    rm -f "$HOME/.config/omg/config.toml"
    wait "$caller" || { cat "$HOME/waiting.log"; return 1; }
    holds "$(cat "$HOME/waiting.log")" '(^|[^a-z])dpkg' && state_is omgd.socket active
}
check "a daemon that cannot start is tried again, and serves who waits once its configuration is mended" mended_is_served
stop_daemon >/dev/null

# Status file while no daemon runs

mkdir -p "$HOME/databases"
echo 0 >"$HOME/databases/status"
drop_in omg-status.path databases <<TEXT
[Path]
PathChanged=
PathChanged=$HOME/databases/status
TEXT
user daemon-reload
user restart omg-status.path
# The way dpkg writes its database: another file takes the name.
rewrite_database() {
    echo "$1" >"$HOME/databases/status-new"
    mv "$HOME/databases/status-new" "$HOME/databases/status"
}
refreshed() { [ -s "$status_file" ] && state_is omg-status.service inactive; }
change_refreshes() {
    eventually 120 state_is omg-status.service inactive || return 1
    rm -f "$status_file"
    rewrite_database 1
    eventually "$FIRST_ANSWER" refreshed || return 1
    equal "$(property omg-status.service Result)" success && equal "$(stat --format=%u "$status_file")" "$(id -u)" &&
        state_is omgd.service inactive
}
check "a rewritten package database has the status file refreshed, with no daemon started" change_refreshes

burst_is_survived() {
    local i
    rm -f "$status_file"
    for i in $(seq 1000); do rewrite_database "$i"; done
    eventually "$FIRST_ANSWER" refreshed || return 1
    state_is omg-status.path active || return 1
    rm -f "$status_file"
    rewrite_database last
    eventually "$FIRST_ANSWER" refreshed
}
check "a thousand rewrites in a row leave the path unit watching" burst_is_survived

no_unit_failed() { equal "$(user list-units --failed --no-legend 'omg*')" ''; }
check "no unit has failed at the end" no_unit_failed

if [ "$tap_failed" != 0 ]; then
    for log in omgd omg-status; do
        echo "# the end of what $log said:"
        tail -n 20 "$HOME/$log.log" 2>/dev/null | sed 's/^/#   /'
    done
fi
exit "$tap_failed"
