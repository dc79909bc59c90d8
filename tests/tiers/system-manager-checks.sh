#!/usr/bin/env bash
# The checks of tests/tiers/system-manager.sh: system-manager-checks.sh MACHINE ROOT SCRATCH, where MACHINE is the process
# that is the machine's systemd and ROOT its root as it is seen from outside.
set -uo pipefail
. tests/support/tap.sh
. tests/tiers/whole-machine.sh

machine=$1 root=$2 scratch=$3
unit=omg-helper.service
service=(org.omg.Transaction1 /org/omg/Transaction1)

property() { in_machine systemctl show --value --property="$1" "$unit"; }
state() { equal "$(property ActiveState)" "$1"; }
installed() { holds "$(in_machine dpkg-query --show --showformat='${db:Status-Abbrev}${Version}\n' "$1" 2>&1)" "^ii $2"; }
told() { cat "$root/var/lib/whole-omg/$1"; }
# Starts the service where it does not run.
call() { as_user stranger busctl --system get-property "${service[@]}" org.omg.Transaction1 Version; }

booted() { equal "$(in_machine systemctl is-system-running)" running; }
check "the machine boots with systemd, and nothing of it fails" eventually 90 booted
user_managers() { in_machine systemctl is-active user@1610.service user@1611.service; }
check "its users have their managers" eventually 60 user_managers

shipped() {
    local file
    file=$(property FragmentPath)
    equal "$(in_machine realpath "$file")" "/usr/lib/systemd/system/$unit" && equal "$(property DropInPaths)" "" || return 1
    cmp "$root/usr/lib/systemd/system/$unit" <(sed -e 's|@libexecdir@|/usr/libexec|g' systemd/omg-helper.service.in) || return 1
    equal "$(in_machine systemd-analyze verify --man=no "$file" 2>&1)" ""
}
check "the unit is the shipped one, and systemd has nothing to say against it" shipped

activated() {
    state inactive || return 1
    equal "$(call)" "u 1" || return 1
    state active && equal "$(property Type)/$(property NotifyAccess)" notify/main || return 1
    equal "$(in_machine busctl --system call org.freedesktop.DBus /org/freedesktop/DBus org.freedesktop.DBus \
        GetConnectionUnixProcessID s "${service[0]}")" "u $(property MainPID)"
}
check "the first call on the system bus has systemd start the service, which tells it when it is ready" activated

# What the kernel says of the process, as its settings are not what is asked here.
hardened() {
    local main status
    main=$(property MainPID)
    status=$(in_machine cat "/proc/$main/status")
    # RestrictRealtime is a filter of system calls.
    holds "$status" '^Seccomp:\s2$' && holds "$status" '^NoNewPrivs:\s0$' && holds "$status" '^Umask:\s0022$' || return 1
    equal "$(in_machine readlink "/proc/$main/fd/0" "/proc/$main/cwd")" $'/dev/null\n/' || return 1
    equal "$(in_machine readlink "/proc/$main/ns/mnt")" "$(in_machine readlink /proc/1/ns/mnt)" || return 1
    equal "$(property RestrictRealtime) $(property KeyringMode) $(property KillMode) $(property SendSIGKILL) $(property TimeoutStopUSec)" \
        "yes private process no infinity" || return 1
    holds "$(in_machine cat "/proc/$main/cgroup")" "^0::/system.slice/$unit$"
}
check "its hardening is in force: system calls filtered, nothing to read, no mount namespace, its own control group" hardened

security() {
    in_machine systemd-analyze security --no-pager "$unit" >"$scratch/security" && grep -q 'Overall exposure level' "$scratch/security"
}
check "systemd-analyze says how exposed the unit is" security
grep -aE 'Overall exposure level|RestrictRealtime|KeyringMode|UMask' "$scratch/security" | tr -s ' ' | sed 's/^/# /'

refreshed() {
    local apt
    as_user allowed omg refresh || return 1
    apt=$(in_machine id -u _apt)
    # Whose connections they were: apt's own sandbox works.
    holds "$(cat "$scratch/requests.log")" "^$apt /.*InRelease$" && holds "$(cat "$scratch/requests.log")" "^$apt /.*Packages" || return 1
    not grep -vE "^$apt " "$scratch/requests.log" || return 1
    holds "$(as_user allowed omg info plain-omg)" 1.0
}
check "omg refresh fetches signed lists, as the user that apt's sandbox has" refreshed

# Nobody has a session here, and no agent.
defaults() {
    local said status=0
    said=$(as_user stranger omg install -y plain-omg </dev/null 2>&1) || status=$?
    equal "$status" 5 && not in_machine dpkg-query --show plain-omg || return 1
    said=$(as_user stranger omg refresh </dev/null 2>&1) || status=$?
    equal "$status" 5 || { echo "$said"; return 1; }
}
check "whom no rule names, without a session and an agent, changes and fetches nothing" defaults

# At the machine: a session of the seat's, which logind makes active as there are no terminals to switch between.
seated() {
    local user=$1
    shift
    as_user "$user" --property=PAMName=login --setenv=XDG_SEAT=seat0 --setenv=XDG_SESSION_CLASS=user "$@"
}
sessions() {
    local status=0
    holds "$(seated stranger sh -c 'loginctl show-session "$XDG_SESSION_ID"')" '^Active=yes$' || return 1
    seated stranger omg refresh || return 1
    seated stranger omg install -y plain-omg </dev/null || status=$?
    equal "$status" 5 && not in_machine dpkg-query --show plain-omg
}
check "who sits at the machine fetches lists without being asked, and installs nothing" sessions

installs() {
    # Only a package that is there already hears of others' files.
    as_user allowed omg install -y watch-omg && as_user allowed omg install -y whole-omg=1.0 || return 1
    installed whole-omg 1.0 && installed watch-omg 1.0 || return 1
    equal "$(cat "$root/etc/whole-omg.conf")" "setting of 1.0" || return 1
    equal "$(cat "$root/var/lib/watch-omg")" /usr/share/omg-watched || return 1
    holds "$(in_machine ldconfig -p)" libwhole-omg.so.1
}
check "omg install -y installs: configuration files, triggers of packages, ldconfig" installs

unhindered() {
    equal "$(told preinst) $(told su) $(told setuid) $(told setuid-of-user)" "install whole-omg 0 0" || return 1
    equal "$(stat -c '%a %t %T' "$root/var/lib/whole-omg/node")" "644 1 3" || return 1
    in_machine mountpoint /mnt && in_machine systemctl is-active whole-omg.service && in_machine systemctl is-enabled whole-omg.service || return 1
    equal "$(stat -c %a "$root/usr/bin/whole-omg-id")" 4755 || return 1
    holds "$(as_user stranger whole-omg-id)" '^0$' || return 1
    # What a script starts through systemd is a unit of its own, without the service's filter.
    holds "$(in_machine cat "/proc/$(in_machine systemctl show --value --property=MainPID whole-omg.service)/status")" '^Seccomp:\s0$'
}
check "scripts do all that packages do: setuid programs, other users, mounts that last, devices, units of their own" unhindered

confined() {
    equal "$(told realtime)/$(told stdin)/$(told umask)" refused/end/0022 || return 1
    holds "$(told status)" '^Seccomp:\s2$' && holds "$(told status)" '^NoNewPrivs:\s0$' || return 1
    holds "$(told cgroup)" "/$unit$" || return 1
    # Neither what systemd tells the service nor what a caller has.
    not grep -E '^(NOTIFY_SOCKET|LISTEN_|INVOCATION_ID|JOURNAL_STREAM|DBUS_|XDG_|HOME=/home)' "$root/var/lib/whole-omg/env"
}
check "scripts are under the unit's hardening, and find nothing of the service's or the caller's" confined

keeps() {
    echo "setting of mine" >"$root/etc/whole-omg.conf"
    as_user allowed omg upgrade -y || return 1
    installed whole-omg 2.0 || return 1
    equal "$(cat "$root/etc/whole-omg.conf")" "setting of mine" && equal "$(cat "$root/etc/whole-omg.conf.dpkg-dist")" "setting of 2.0"
}
check "an upgrade keeps a changed configuration file" keeps

# A commit that waits in a script: $1 is the package.
begin() {
    as_user allowed omg install -y "$1" >"$scratch/$1.out" 2>&1 &
    commit=$!
    eventually 90 test -e "/proc/$machine/root/run/$1.waits"
}
let_go() { in_machine touch "/run/$1.go"; }

inhibited() { holds "$(in_machine systemd-inhibit --list --no-pager --no-legend)" '^omg +0 +root +[0-9]+ +omg-helper +(shutdown:sleep|sleep:shutdown) .* block *$'; }
not_inhibited() { not inhibited; }
stopped() {
    local script
    begin slow-omg || { cat "$scratch/slow-omg.out"; return 1; }
    eventually 30 inhibited || return 1
    in_machine systemctl stop --no-block "$unit"
    eventually 30 state deactivating || return 1
    script=$(pgrep -f '^/bin/sh .*/slow-omg.postinst') || return 1
    # It is asked again, as by a shutdown, and its processes stay.
    in_machine systemctl stop --no-block "$unit"
    in_machine systemctl kill --kill-whom=main --signal=TERM "$unit"
    equal "$(property SubState)" stop-sigterm && kill -0 "$script" || return 1
    holds "$(in_machine dpkg-query --show --showformat='${db:Status-Status}\n' slow-omg)" half-configured || return 1
    let_go slow-omg
    wait "$commit" || { cat "$scratch/slow-omg.out"; return 1; }
    installed slow-omg 1.0 && equal "$(cat "$root/var/lib/slow-omg")" "done" || return 1
    eventually 30 state inactive && equal "$(property Result)" success && eventually 10 not_inhibited || return 1
    equal "$(in_machine dpkg --audit)" ""
}
check "systemctl stop during a commit, which logind keeps the machine up for, waits until dpkg has ended" stopped
let_go slow-omg

killed() {
    begin slower-omg || { cat "$scratch/slower-omg.out"; return 1; }
    in_machine systemctl kill --kill-whom=main --signal=KILL "$unit"
    eventually 30 state failed || return 1
    let_go slower-omg
    wait "$commit" && { cat "$scratch/slower-omg.out"; return 1; }
    done_() { installed slower-omg 1.0 && equal "$(in_machine dpkg --audit)" ""; }
    eventually 60 done_ || return 1
    equal "$(call)" "u 1" && state active || return 1
    holds "$(as_user allowed omg history --json)" '"slower-omg".*"standing":"succeeded"'
}
check "a service that is killed takes no dpkg with it, and the next call starts another" killed
let_go slower-omg

idle() {
    local first
    equal "$(call)" "u 1" || return 1
    first=$(property InvocationID)
    eventually 150 state inactive || return 1
    equal "$(property Result)/$(property ExecMainStatus)/$(property NRestarts)" success/0/0 || return 1
    equal "$(call)" "u 1" && not equal "$(property InvocationID)" "$first"
}
check "the service goes when it is idle, and the next call has it started again" idle

without_logind() {
    in_machine systemctl mask --quiet --runtime --now systemd-logind.service || return 1
    as_user allowed omg install -y plain-omg || return 1
    installed plain-omg 1.0 || return 1
    in_machine systemctl unmask --quiet --runtime systemd-logind.service && in_machine systemctl start systemd-logind.service
}
check "without logind packages are changed as well" without_logind

removes() {
    as_user allowed omg remove -y whole-omg || return 1
    holds "$(in_machine dpkg-query --show --showformat='${db:Status-Abbrev}\n' whole-omg)" '^rc' || return 1
    not in_machine systemctl is-active whole-omg.service && not holds "$(in_machine ldconfig -p)" libwhole-omg
}
check "omg remove -y removes, with scripts and ldconfig" removes

quiet() {
    in_machine journalctl --no-pager --quiet --output=cat --unit="$unit" --identifier=omg-helper >"$scratch/journal"
    # What a machine without apt-utils says to apt.
    not grep -v '^debconf: delaying package configuration' "$scratch/journal" || return 1
    equal "$(in_machine systemctl list-units --failed --no-legend --plain | grep -v whole-omg)" ""
}
check "the service has nothing to complain about, and no unit is failed" quiet

# The last one: the machine goes.
shut_down() {
    begin slowest-omg || { cat "$scratch/slowest-omg.out"; return 1; }
    in_machine systemctl poweroff
    eventually 60 state deactivating || return 1
    let_go slowest-omg
    gone() { not test -e "/proc/$machine"; }
    eventually 120 gone || return 1
    equal "$(cat "$root/var/lib/slowest-omg")" "done" || return 1
    equal "$(chroot "$root" dpkg-query --show --showformat='${db:Status-Abbrev}' slowest-omg)" "ii " && equal "$(chroot "$root" dpkg --audit)" ""
}
check "a machine that is shut down during a commit waits until dpkg has ended" shut_down

exit "$tap_failed"
