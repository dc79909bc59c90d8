#!/usr/bin/env bash
# Checks of tests/tiers/pacman-machine.sh: pacman-machine-builds.sh MACHINE ROOT SCRATCH, as pacman-machine-checks.sh. Packages
# of the AUR, built by the daemon of a user that the bus has the user's systemd start.
set -uo pipefail
. tests/support/tap.sh
. tests/tiers/whole-machine.sh

machine=$1 root=$2 scratch=$3
home=$root/home/allowed
cache=$home/.cache/omg/aur/packages

user() { as_user allowed systemctl --user "$@"; }
installed() { in_machine pacman -Q "$@"; }
# The units that builds run in, one a line.
builds() { user list-units --all --plain --no-legend 'omg-build-*' | awk '{ print $1 }'; }
no_builds() { equal "$(builds)" ""; }
# runs PATTERN: whether a process of the machine does; the pattern must not match itself.
runs() { in_machine pgrep --full "$1"; }
runs_not() { not runs "$1"; }

# publish NAME VERSION: the PKGBUILD's other lines come on stdin; its source is `data`.
publish() {
    local name=$1 version=$2 folder=$root/srv/web/aur/$1.git
    mkdir -p "$folder" && echo "data of $name" >"$folder/data" || return 1
    {
        printf '%s\n' "pkgname=$name" "pkgver=$version" pkgrel=1 "pkgdesc='a test'" 'arch=(any)' 'url=https://example.org' \
            'license=(MIT)' 'source=(data)' "sha256sums=($(sha256sum "$folder/data" | cut -d ' ' -f 1))"
        cat
        # shellcheck disable=SC2016 # expanded by makepkg
        printf 'package() { install -Dm644 "$srcdir/data" "$pkgdir/usr/share/%s/data"; %s }\n' "$name" "${package:-}"
    } >"$folder/PKGBUILD"
    # As its maintainer does, elsewhere.
    rm -rf "$root/srv/maintainer" && cp -r --no-preserve=ownership "$folder" "$root/srv/maintainer" || return 1
    chown -R --reference="$root/home/stranger" "$root/srv/maintainer"
    in_machine setpriv --reuid=1613 --regid=1613 --clear-groups sh -c 'cd /srv/maintainer && makepkg --printsrcinfo' \
        >"$folder/.SRCINFO" || return 1
    git() {
        env GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=t GIT_AUTHOR_EMAIL=t@example.org \
            GIT_COMMITTER_NAME=t GIT_COMMITTER_EMAIL=t@example.org git -C "$folder" "$@"
    }
    [ -d "$folder/.git" ] || git init --quiet --initial-branch=master || return 1
    git add --all && git commit --quiet --message=x
}

# order NAME: starts `omg install` of it, as the unit order.service; its end is told by ordered STATUS.
order() {
    rm -f "$scratch/order.status"
    (
        as_user allowed --unit=order.service omg install -y --no-review "$1" </dev/null
        echo "$?" >"$scratch/order.status"
    ) >"$scratch/order.out" 2>&1 &
}
ordered() {
    eventually 30 test -s "$scratch/order.status" && holds "$(cat "$scratch/order.status")" "^$1\$" || { cat "$scratch/order.out"; return 1; }
}
begun() { runs "$1" && builds | grep -q .; }

ready() { user is-active default.target; }
refreshed() { eventually 60 ready && as_user allowed omg refresh; }
check "the databases of the repositories are there, which the packages may need" refreshed

built() {
    # shellcheck disable=SC2016 # expanded by makepkg
    package='cp -r "$srcdir/seen" "$pkgdir/usr/share/probe-omg/";' publish probe-omg 1 <<'PKGBUILD' || return 1
build() {
    mkdir "$srcdir/seen" && cd "$srcdir/seen"
    ls -A /home /home/allowed "$XDG_RUNTIME_DIR" /run >home 2>/dev/null || true
    (exec 3<>/dev/tcp/127.0.0.1/8765 && echo reached && printf 'GET /from-build HTTP/1.0\r\n\r\n' >&3) >network 2>/dev/null || true
    env >environment; cat /proc/self/status >status; id -u >uid
    echo said while building
}
PKGBUILD
    echo secret >"$home/secret" && echo secret >"$root/run/user-secret"
    as_user allowed omg install -y --no-review probe-omg </dev/null >"$scratch/built.out" 2>&1 || { cat "$scratch/built.out"; return 1; }
    equal "$(installed probe-omg)" 'probe-omg 1-1' && equal "$(in_machine pacman -Qmq)" probe-omg || return 1
    equal "$(cat "$root/usr/share/probe-omg/data")" 'data of probe-omg' && equal "$(in_machine pacman -Qeq probe-omg)" probe-omg
}
check "omg install builds a package of the AUR and has the service install it as a foreign one" built

seen() { cat "$root/usr/share/probe-omg/seen/$1"; }
confined() {
    equal "$(seen home)" "" && equal "$(seen network)" "" && equal "$(seen uid)" 1610 || return 1
    not grep -q '^/from-build' "$scratch/requests.log" || return 1
    not grep -E '^(DBUS_|XDG_|INVOCATION_ID|MANAGERPID|NOTIFY_SOCKET|HOME=/home)' <<<"$(seen environment)" || return 1
    holds "$(seen status)" '^CapBnd:\s0+$' && holds "$(seen status)" '^NoNewPrivs:\s1$'
}
check "the build had no network, no home and nothing of the session" confined

property() { user show --value --property="$1" omgd.service; }
activated() {
    equal "$(property FragmentPath) $(property RestrictNamespaces) $(property DropInPaths)" "/usr/lib/systemd/user/omgd.service yes " || return 1
    # Started by the call on the bus: nobody has enabled its socket.
    equal "$(user is-enabled omgd.socket 2>&1)" disabled || return 1
    in_machine journalctl --quiet --no-pager --output=cat _UID=1610 >"$scratch/journal"
    holds "$(grep -F omg-build-probe-omg- "$scratch/journal")" '^Started omg-build-probe-omg-.*service - Build of probe-omg for omg'
}
check "the daemon is its shipped unit, which may make no namespaces, and the build ran in one of its own" activated

kept() {
    holds "$(cat "$cache/probe-omg/logs/build.log")" 'said while building' && test -s "$cache/probe-omg/logs/sources.log" || return 1
    holds "$(cat "$home/.local/share/omg/audit/audit.jsonl")" '"unreviewed".*probe-omg' && no_builds
}
check "its logs are kept, and that nobody looked at it is written down" kept

untrusted() {
    local said
    publish looked-omg 1 </dev/null && cp "$home/.config/omg/config.toml" "$root/home/careful/.config/omg/" || return 1
    said=$(as_user careful omg install -y --no-review looked-omg </dev/null 2>&1) && { echo "$said"; return 1; }
    # Built, and not let in.
    ls "$root"/home/careful/.cache/omg/aur/packages/looked-omg/out/*.pkg.tar* >/dev/null && not installed looked-omg
}
check "who may not install what nobody vouches for does not install what was built either" untrusted

reviewed() {
    on_terminal allowed 'Go on?' y 'Build it? [y/N]' y -- \
        omg install looked-omg >"$scratch/reviewed.out" || { cat "$scratch/reviewed.out"; return 1; }
    holds "$(cat "$scratch/reviewed.out")" '^\+pkgname=looked-omg' && equal "$(installed looked-omg)" 'looked-omg 1-1' || return 1
    not grep -q looked-omg "$home/.local/share/omg/audit/audit.jsonl"
}
check "who is at a terminal looks at it first" reviewed

signed() {
    local key fingerprint said
    fingerprint=$(sed -n 's/^pub:\([0-9A-F]*\):.*/\1/p' "$root/srv/web/key/index")
    key=$home/.local/share/omg/aur/keys
    mkdir -p "$root/srv/web/aur/signed-omg.git" && echo signed >"$root/srv/web/aur/signed-omg.git/signed" || return 1
    in_machine sh -c 'cd /srv/web/aur/signed-omg.git && gpg --homedir /root/newcomer --batch --quiet --detach-sign signed &&
        gpgconf --homedir /root/newcomer --kill all' || return 1
    publish signed-omg 1 <<PKGBUILD || return 1
source+=(signed signed.sig)
sha256sums+=(SKIP SKIP)
validpgpkeys=($fingerprint)
PKGBUILD
    # Nobody to ask: refused.
    said=$(as_user allowed omg install -y --no-review signed-omg </dev/null 2>&1) && { echo "$said"; return 1; }
    holds "$said" "signed with the key $fingerprint, which is not to be imported" && not installed signed-omg || return 1
    on_terminal allowed 'Go on?' y 'refuse or import? [refuse]' import -- omg install --no-review signed-omg >"$scratch/signed.out" ||
        { cat "$scratch/signed.out"; return 1; }
    equal "$(installed signed-omg)" 'signed-omg 1-1' && holds "$(cat "$cache/signed-omg/logs/sources.log")" 'signed ... Passed' || return 1
    # Trusted for sources, by this user.
    holds "$(in_machine gpg --homedir "${key#"$root"}" --batch --list-keys 2>/dev/null)" newcomer@example.org
}
check "the key that sources are signed with is fetched once somebody says so" signed

lengthy() {
    publish "$1" "$2" <<'PKGBUILD'
build() { echo begun; sleep 65432; }
PKGBUILD
}

one_unit() {
    local unit
    unit=$(builds)
    equal "$(wc -l <<<"$unit")" 1 && holds "$unit" '^omg-build-lengthy-omg-.*\.service$' || return 1
    # makepkg and all that it started are in it.
    holds "$(in_machine cat "/proc/$(runs 'sleep 6543[2]' | head -n 1)/cgroup")" "/user@1610.service/.*/$unit" || return 1
    user show --value --property=BindsTo "$unit" | grep -qx omgd.service
}
cancelled() {
    lengthy lengthy-omg 1 || return 1
    order lengthy-omg
    eventually 60 begun 'sleep 6543[2]' && one_unit || { cat "$scratch/order.out"; return 1; }
    in_machine systemctl kill --kill-whom=main --signal=INT order.service && ordered 130 || return 1
    eventually 20 no_builds && eventually 20 runs_not 'sleep 6543[2]' && not installed lengthy-omg
}
check "a build that is cancelled ends with its unit and all that ran in it" cancelled

busy() {
    local said
    order lengthy-omg
    eventually 60 begun 'sleep 6543[2]' || { cat "$scratch/order.out"; return 1; }
    said=$(as_user allowed omg install -y --no-review lengthy-omg </dev/null 2>&1) && { echo "$said"; return 1; }
    holds "$said" 'lengthy-omg is being fetched or built by another omg' && one_unit
}
check "a second order of what is being built is refused, and there is one build" busy

killed() {
    local before
    before=$(property MainPID)
    user kill --kill-whom=main --signal=KILL omgd.service || return 1
    eventually 20 no_builds && eventually 20 runs_not 'sleep 6543[2]' || return 1
    ordered '[1-9][0-9]*' || return 1
    # The next one is started, and has the base to itself.
    order lengthy-omg
    eventually 60 begun 'sleep 6543[2]' && one_unit || { cat "$scratch/order.out"; return 1; }
    not equal "$(property MainPID)" "$before"
}
check "a daemon that is killed takes its build with it, and the next one builds again" killed

left_over() {
    local unit
    unit=$(builds | sed 's/-[0-9]*-[0-9]*-\([0-9a-f]*\.service\)$/-1-1-\1/')
    user stop omgd.service || return 1
    eventually 20 no_builds && ordered '[1-9][0-9]*' || return 1
    # One that nothing is bound to: it would stay for ever.
    as_user allowed systemd-run --user --quiet --collect --unit="$unit" sleep 65433 || return 1
    as_user allowed systemd-run --user --quiet --collect --unit="${unit//lengthy/other}" sleep 65434 || return 1
    publish lengthy-omg 2 </dev/null || return 1
    as_user allowed omg install -y --no-review lengthy-omg </dev/null >"$scratch/order.out" 2>&1 || { cat "$scratch/order.out"; return 1; }
    equal "$(installed lengthy-omg)" 'lengthy-omg 2-1' && runs_not 'sleep 6543[3]' || return 1
    equal "$(builds)" "${unit//lengthy/other}" && user stop "${unit//lengthy/other}" && no_builds
}
check "what an earlier daemon left building is ended before the same base is built" left_over

upgraded() {
    publish probe-omg 2 </dev/null || return 1
    as_user allowed omg upgrade -y --no-review </dev/null >"$scratch/upgraded.out" 2>&1 || { cat "$scratch/upgraded.out"; return 1; }
    equal "$(installed probe-omg)" 'probe-omg 2-1' && equal "$(in_machine pacman -Qmq | sort | xargs)" 'lengthy-omg looked-omg probe-omg signed-omg'
}
check "omg upgrade builds what the AUR has newer" upgraded

over() {
    no_builds && runs_not 'sleep 6543[2-4]' && equal "$(in_machine systemctl list-units --failed --no-legend --plain)" "" || return 1
    equal "$(user list-units --failed --no-legend --plain)" "" || return 1
    not test -e "$root/var/lib/pacman/db.lck"
}
check "no build is left, no unit is failed" over

exit "$tap_failed"
