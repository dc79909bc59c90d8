#!/usr/bin/env bash
# Checks of tests/tiers/pacman-machine.sh: pacman-machine-checks.sh MACHINE ROOT SCRATCH, where MACHINE is the process that is
# the machine's systemd and ROOT its root as it is seen from outside. What changes packages, and who may.
set -uo pipefail
. tests/support/tap.sh
. tests/tiers/whole-machine.sh

machine=$1 root=$2 scratch=$3
unit=omg-helper.service

property() { in_machine systemctl show --value --property="$1" "$unit"; }
installed() { in_machine pacman -Q "$@"; }
# All that pacman keeps of what is installed.
database() { (cd "$root/var/lib/pacman/local" && find . -type f -exec sha256sum {} + | sort); }
publish() { in_machine archive-omg "$@"; }
# refused USER STATUS COMMAND…: it ends with that status, and nothing of what is installed has changed.
refused() {
    local user=$1 wanted=$2 before status=0 said
    shift 2
    before=$(database)
    said=$(as_user "$user" "$@" </dev/null 2>&1) || status=$?
    equal "$status" "$wanted" && equal "$(database)" "$before" || { echo "$said"; return 1; }
}

booted() { equal "$(in_machine systemctl is-system-running)" running; }
check "the machine boots with systemd, and nothing of it fails" eventually 90 booted
user_managers() { in_machine systemctl is-active user@1610.service user@1611.service user@1612.service user@1613.service; }
check "its users have their managers" eventually 60 user_managers

refreshed() {
    as_user allowed omg refresh || return 1
    equal "$(property ActiveState)/$(property Type)" active/notify || return 1
    holds "$(cat "$scratch/requests.log")" '^/trusted/trusted.db$' || return 1
    holds "$(as_user allowed omg info app-omg)" 1-1
}
check "omg refresh has systemd start the service, which fetches pacman's databases" refreshed

installs() {
    as_user allowed omg install -y app-omg scripted-omg </dev/null || return 1
    equal "$(installed app-omg lib-omg scripted-omg)" $'app-omg 1-1\nlib-omg 1-1\nscripted-omg 1-1' || return 1
    equal "$(in_machine pacman -Qdq)" lib-omg && in_machine pacman -Qkk app-omg lib-omg
}
check "who may installs: pacman has the packages, the dependency as one" installs

script() {
    local told
    told=$(cat "$root/var/lib/scripted-omg")
    equal "$(head -n 2 <<<"$told")" $'0\n0022' && holds "$told" "^0::/system.slice/$unit\$" && holds "$told" '^NoNewPrivs:\s0$'
}
check "their scripts run as root under the shipped unit, and find nothing to read" script

knows() { equal "$(as_user allowed omg list --installed | awk '{ print $1, $2 }' | sort)" "$(in_machine pacman -Q | sort)"; }
check "the daemon of a user tells what pacman tells" knows

denied() {
    refused denied 5 omg install -y other-omg && refused denied 5 omg remove -y app-omg || return 1
    # A copy of one's own of the databases needs no right.
    local synced said
    synced=$(cd "$root/var/lib/pacman/sync" && sha256sum ./*)
    publish another-omg 1-1 && said=$(as_user denied omg refresh 2>&1) || return 1
    holds "$said" 'org.omg.transaction.refresh is not allowed' || return 1
    equal "$(cd "$root/var/lib/pacman/sync" && sha256sum ./*)" "$synced" || return 1
    # Nobody has a session here, and no agent.
    refused stranger 5 omg install -y other-omg && refused stranger 5 omg remove -y app-omg || return 1
    not installed other-omg
}
check "who may not, and whom no rule names, changes nothing" denied

upgrades() {
    publish lib-omg 2-1 && publish app-omg 2-1 trusted 'depend = lib-omg>=2' || return 1
    as_user allowed omg refresh && refused denied 5 omg upgrade -y || return 1
    as_user careful omg upgrade -y </dev/null || return 1
    equal "$(installed app-omg lib-omg scripted-omg)" $'app-omg 2-1\nlib-omg 2-1\nscripted-omg 1-1' || return 1
    equal "$(in_machine pacman -Qdq)" lib-omg && knows
}
check "omg upgrade upgrades, and who may not does not" upgrades

removes() {
    refused denied 5 omg remove -y scripted-omg || return 1
    as_user allowed omg remove -y scripted-omg </dev/null || return 1
    equal "$(in_machine pacman -Qq | sort | xargs)" 'app-omg lib-omg' && knows
}
check "omg remove removes" removes

tampered() {
    local file=$root/srv/web/trusted/other-omg-1-1-any.pkg.tar
    cp "$file" "$scratch/kept" && printf x >>"$file" || return 1
    not as_user allowed omg install -y other-omg </dev/null || return 1
    cp "$scratch/kept" "$file" && not installed other-omg
}
check "a package that is not as it was signed is not installed" tampered

# A key

known() { holds "$(in_machine gpg --homedir /etc/pacman.d/gnupg --batch --list-keys)" newcomer@example.org; }
# asked USER ANSWER: on a terminal, where the question about the key is answered.
asked() { on_terminal "$1" 'Go on?' y 'refuse or import? [refuse]' "$2" -- omg install newcomer-omg; }
key_refused() {
    local before said
    before=$(database)
    # Where nobody is at a terminal nobody is asked.
    not as_user allowed omg install -y newcomer-omg </dev/null && not known && equal "$(database)" "$before" || return 1
    said=$(asked allowed refuse) && { echo "$said"; return 1; }
    not known && equal "$(database)" "$before"
}
check "a package signed by an unknown key is not installed where nobody says so" key_refused

key_denied() {
    local before said
    before=$(database)
    said=$(asked careful import) && { echo "$said"; return 1; }
    holds "$said" 'the key is not imported' && not known && equal "$(database)" "$before" || { echo "$said"; return 1; }
}
check "who may install, and may not trust keys, is asked and imports none" key_denied

key_imported() {
    local said
    said=$(asked allowed import) || { echo "$said"; return 1; }
    holds "$said" 'signed by a key that is not known here' && known || { echo "$said"; return 1; }
    equal "$(installed newcomer-omg)" 'newcomer-omg 1-1' || return 1
    # From the key server, and for good.
    holds "$(cat "$scratch/requests.log")" '^/pks/lookup$' && as_user allowed omg remove -y newcomer-omg </dev/null || return 1
    as_user careful omg install -y newcomer-omg </dev/null
}
check "who may imports the key from the key server, and from then on the package is trusted" key_imported

# A commit that waits in a script.
let_go() { in_machine touch /run/slow-omg.go; }
stopped() {
    local commit
    as_user allowed omg install -y slow-omg >"$scratch/slow.out" 2>&1 &
    commit=$!
    eventually 60 test -e "/proc/$machine/root/run/slow-omg.waits" || return 1
    holds "$(in_machine systemd-inhibit --list --no-pager --no-legend)" 'omg-helper' || return 1
    # Another waits for its turn, and pacman is kept out.
    not in_machine pacman -R --noconfirm app-omg || return 1
    in_machine systemctl stop --no-block "$unit"
    stopping() { equal "$(property ActiveState)" deactivating; }
    eventually 30 stopping || return 1
    let_go
    wait "$commit" || { cat "$scratch/slow.out"; return 1; }
    equal "$(installed slow-omg)" 'slow-omg 1-1' || return 1
    gone() { equal "$(property ActiveState)/$(property Result)" inactive/success; }
    eventually 30 gone && not test -e "$root/var/lib/pacman/db.lck"
}
check "systemctl stop during a commit waits until pacman's database is whole" stopped
let_go

quiet() {
    equal "$(in_machine systemctl list-units --failed --no-legend --plain)" "" || return 1
    not test -e "$root/var/lib/pacman/db.lck"
}
check "no unit is failed, and no lock is left" quiet

exit "$tap_failed"
