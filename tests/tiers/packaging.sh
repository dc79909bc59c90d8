#!/usr/bin/env bash
# Tier 1, what is shipped around the programs: installation and removal, unit and bus files, man pages, completions.
# TARGET_DIR names the folder that holds release/ (default: target).
set -uo pipefail
cd "$(dirname "$0")/../.."
. tests/support/tap.sh

target_dir=$(realpath "${TARGET_DIR:-${CARGO_TARGET_DIR:-target}}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

make_here() { timeout 120 make --no-print-directory --old-file=build TARGET_DIR="$target_dir" "$@" >/dev/null; }
files_in() { (cd "$1" && find . ! -type d | sort); }
folders_in() { (cd "$1" && find . -mindepth 1 | sort); }

check "the import-rule check finds breaches" .ci/layers --self-test
check "every shell script parses" bash -n packaging/install packaging/apt-deps packaging/demo.sh tests/run tests/tiers/*.sh \
    tests/support/*.sh .ci/run

installs() {
    make_here install DESTDIR="$work/root" PREFIX=/usr || return 1
    local expected
    expected="./usr/bin/omg
./usr/bin/omg-fast
./usr/bin/omgd
./usr/lib/systemd/system/omg-helper.service
./usr/lib/systemd/user/omg-status.path
./usr/lib/systemd/user/omg-status.service
./usr/lib/systemd/user/omg-status.timer
./usr/lib/systemd/user/omgd.service
./usr/lib/systemd/user/omgd.socket
./usr/libexec/omg/omg-helper
./usr/share/bash-completion/completions/omg
./usr/share/dbus-1/services/org.omg.PackageManager1.service
./usr/share/dbus-1/system-services/org.omg.Transaction1.service
./usr/share/dbus-1/system.d/org.omg.Transaction1.conf
./usr/share/doc/omg/examples/sandbox.conf.example
./usr/share/fish/vendor_completions.d/omg.fish
./usr/share/omg/install.manifest
./usr/share/polkit-1/actions/org.omg.transaction.policy
./usr/share/zsh/site-functions/_omg"
    equal "$(files_in "$work/root" | grep -v /share/man/)" "$expected" || return 1
    for page in omg omgd omg-fast omg-helper; do
        [ -s "$work/root/usr/share/man/man1/$page.1" ] || { echo "no man page for $page"; return 1; }
    done
}
check "make install puts every file in its place" installs

units_name_the_programs() {
    local root=$work/root helper=/usr/libexec/omg/omg-helper
    equal "$(sed -n 's/^ExecStart=//p' "$root/usr/lib/systemd/user/omgd.service")" /usr/bin/omgd &&
        equal "$(sed -n 's/^Exec=//p' "$root/usr/share/dbus-1/services/org.omg.PackageManager1.service")" /usr/bin/omgd &&
        equal "$(sed -n 's/^ExecStart=//p' "$root/usr/lib/systemd/system/omg-helper.service")" "$helper service" &&
        equal "$(sed -n 's/^Exec=//p' "$root/usr/share/dbus-1/system-services/org.omg.Transaction1.service")" "$helper service" &&
        not grep -rlE '@(bindir|libexecdir)@' "$root/usr/lib" "$root/usr/share/dbus-1"
}
check "units and the bus service name the installed programs" units_name_the_programs

# What packages' scripts would inherit and cannot work under, and what would end dpkg half-way.
system_unit_lets_packages_work() {
    local unit=$work/root/usr/lib/systemd/system/omg-helper.service forbidden
    mkdir -p "$work/units"
    sed "s|^ExecStart=/usr|ExecStart=$work/root/usr|" "$unit" >"$work/units/omg-helper.service"
    systemd-analyze verify --man=no "$work/units/omg-helper.service" || return 1
    forbidden='^(Protect|Private|ReadOnly|ReadWrite|Inaccessible|NoNewPrivileges|RestrictSUIDSGID|RestrictNamespaces|SystemCall'
    forbidden+='|MemoryDeny|CapabilityBounding|RestrictAddress|DynamicUser|User=|RuntimeMaxSec|WatchdogSec|Restart=always)'
    not grep -E "$forbidden" "$unit" || return 1
    holds "$(cat "$unit")" '^KillMode=process$' && holds "$(cat "$unit")" '^SendSIGKILL=no$' &&
        holds "$(cat "$unit")" '^TimeoutStopSec=infinity$'
}
check "systemd accepts the system unit, which takes nothing from packages and never ends dpkg" system_unit_lets_packages_work

polkit_actions_are_the_privileges() {
    python3 - dbus/org.omg.transaction.policy src/transaction/action.rs <<'PYTHON'
import re, sys
import xml.etree.ElementTree as tree
actions = {action.get("id"): action for action in tree.parse(sys.argv[1]).getroot().iter("action")}
wanted = set(re.findall(r'"(org\.omg\.transaction\.[a-z-]+)"', open(sys.argv[2]).read()))
assert wanted and set(actions) == wanted, (sorted(actions), sorted(wanted))
allowed = {"refresh": ["auth_admin", "yes", "yes"], "install-untrusted": ["auth_admin"] * 3,
           "import-key": ["auth_admin"] * 3}
for name, action in actions.items():
    defaults = [action.find("defaults/allow_" + who).text for who in ("any", "inactive", "active")]
    expected = allowed.get(name.rsplit(".", 1)[1], ["auth_admin", "auth_admin", "auth_admin_keep"])
    assert defaults == expected, (name, defaults)
    assert action.find("message").text and action.find("description").text
PYTHON
}
check "polkit knows an action for each privilege, and no more without a password than the distribution allows" \
    polkit_actions_are_the_privileges

pages_format() {
    local page said
    for page in "$work"/root/usr/share/man/man1/*.1; do
        said=$(LC_ALL=C.UTF-8 MANWIDTH=100 man --warnings --local-file --encoding=UTF-8 "$page" 2>&1 >/dev/null)
        [ -z "$said" ] || { echo "$page: $said"; return 1; }
    done
}
check "man pages format without a warning" pages_format

check "the bash completion parses" bash -n "$work/root/usr/share/bash-completion/completions/omg"
check "the zsh completion parses" zsh -n "$work/root/usr/share/zsh/site-functions/_omg"
check "the fish completion parses" fish --no-execute "$work/root/usr/share/fish/vendor_completions.d/omg.fish"

removes_what_an_older_version_had() {
    echo old >"$work/root/usr/share/man/man1/omg-old.1"
    echo "f /usr/share/man/man1/omg-old.1" >>"$work/root/usr/share/omg/install.manifest"
    make_here install DESTDIR="$work/root" PREFIX=/usr || return 1
    [ ! -e "$work/root/usr/share/man/man1/omg-old.1" ] || { echo "the older version's page is still there"; return 1; }
}
check "installing again removes what only the older version had" removes_what_an_older_version_had

uninstalls() {
    make_here uninstall DESTDIR="$work/root" PREFIX=/usr && equal "$(folders_in "$work/root")" ''
}
check "make uninstall leaves nothing" uninstalls
refuse "a second make uninstall says that there is nothing" make_here uninstall DESTDIR="$work/root" PREFIX=/usr

keeps_others() {
    local before
    mkdir -p "$work/home/.local/bin" "$work/home/.local/share/man" "$work/home/.local/share/zsh/site-functions"
    echo mine >"$work/home/.local/share/zsh/site-functions/_mine"
    before=$(folders_in "$work/home")
    env -u XDG_DATA_HOME HOME="$work/home" make --no-print-directory --old-file=build TARGET_DIR="$target_dir" install-user >/dev/null || return 1
    [ -z "$(find "$work/home" -name '*Transaction1*' -o -name '*.policy' -o -name omg-helper.service)" ] || return 1
    [ -x "$work/home/.local/bin/omgd" ] && [ -x "$work/home/.local/libexec/omg/omg-helper" ] || return 1
    echo mine >"$work/home/.local/share/man/man1/mine.1"
    env -u XDG_DATA_HOME HOME="$work/home" make --no-print-directory TARGET_DIR="$target_dir" uninstall-user || return 1
    equal "$(folders_in "$work/home")" "$(printf '%s\n' "$before" ./.local/share/man/man1 ./.local/share/man/man1/mine.1 | sort)"
}
check "make uninstall-user keeps other files, and folders that were there before" keeps_others

exit "$tap_failed"
