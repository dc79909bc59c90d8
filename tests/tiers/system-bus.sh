#!/usr/bin/env bash
# Tier 4: the root service on a real system bus with a real polkitd, called by ordinary users.
#
# Root makes private mount, process and network namespaces, and in them: a tmpfs over /run, the files that `make install` puts
# under /usr/share/dbus-1 and /usr/share/polkit-1, a rules file of polkit's, and users that exist only here. The service is
# activated by the bus; it runs in a throwaway Debian 12 (debootstrapped once, then overlaid), whose packages it changes. The
# host's mounts, users, packages and processes are not touched, and everything ends with the namespaces' first process.
#
# Prints check lines (tests/support/tap.sh); `SKIP reason` and exit status 0 when this machine cannot do it.
# TARGET_DIR names the folder that holds release/ (default: target). SYSTEM_BUS_ONLY runs the checks whose function's name
# starts with it; UPDATE_GOLDEN=1 writes the published descriptions anew.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/support/tap.sh
. tests/tiers/debian-root.sh

target_dir=$(realpath "${TARGET_DIR:-${CARGO_TARGET_DIR:-target}}")

skip() {
    echo "SKIP $*"
    exit 0
}

fill() { sed -e 's|@bindir@|/usr/bin|g' -e 's|@libexecdir@|/usr/libexec|g' "$1"; }

# over PATH: what is written to PATH from now on is in memory.
over() {
    mkdir -p "$1" "$scratch/over$1/upper" "$scratch/over$1/work"
    mount -t overlay -o "lowerdir=$1,upperdir=$scratch/over$1/upper,workdir=$scratch/over$1/work" overlay "$1"
}

# Packages for the throwaway Debian: `rival-omg` takes the place of `hello-omg`, the scripts of `spy-omg`
# and `third-omg` look around.
repository() {
    local folder=$1 name version build
    mkdir -p "$folder"
    for name in hello-omg=1.0 other-omg=1.0 third-omg=1.0 rival-omg=1.0 spy-omg=1.0 tool-omg=1.0 table-omg=1.0; do
        version=${name#*=} name=${name%%=*} build=$scratch/build/$name
        mkdir -p "$build/DEBIAN" "$build/usr/share/$name"
        echo "$name $version" >"$build/usr/share/$name/data"
        printf 'Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: Tests <t@example.invalid>\nDescription: test\n' \
            "$name" "$version" >"$build/DEBIAN/control"
        if [ "$name" = rival-omg ]; then echo 'Conflicts: hello-omg' >>"$build/DEBIAN/control"; fi
        if [[ $name = @(spy|third)-omg ]]; then
            printf '#!/bin/sh\n{ env; pwd; ls -l /proc/$$/fd; id -u; } >/var/%s\n' "$name" >"$build/DEBIAN/postinst"
            chmod 755 "$build/DEBIAN/postinst"
        fi
        dpkg-deb --root-owner-group --build "$build" "$folder/${name}_${version}_all.deb" >/dev/null
    done
    (cd "$folder" && apt-ftparchive packages . >Packages)
}

# Inside the namespaces, as their first process.
inside() {
    local program name uid
    mount -t tmpfs -o mode=755 tmpfs /run
    mkdir -p /run/dbus /run/omg-harness
    scratch=/run/omg-harness
    mount -t tmpfs -o mode=755 tmpfs "$scratch"
    ip link set lo up 2>/dev/null || true

    { cat /etc/passwd && for uid in $(seq 61601 61606); do echo "omg$uid:x:$uid:$uid::/nonexistent:/bin/sh"; done; } >"$scratch/passwd"
    { cat /etc/group && for uid in $(seq 61601 61606); do echo "omg$uid:x:$uid:"; done; } >"$scratch/group"
    mount --bind "$scratch/passwd" /etc/passwd
    mount --bind "$scratch/group" /etc/group

    # The machine whose packages are changed.
    root=$scratch/root
    mkdir -p "$root" "$scratch/changes/upper" "$scratch/changes/work"
    mount -t overlay -o "lowerdir=$debian_cache/bookworm,upperdir=$scratch/changes/upper,workdir=$scratch/changes/work" overlay "$root"
    mount -t tmpfs -o mode=755 tmpfs "$root/dev"
    for name in null zero full random urandom tty; do
        : >"$root/dev/$name"
        mount --bind "/dev/$name" "$root/dev/$name"
    done
    ln -s /proc/self/fd "$root/dev/fd"
    mount -t proc proc "$root/proc"
    mkdir -p "$root/run/dbus"
    mount --bind /run/dbus "$root/run/dbus"
    program=$root/usr/libexec/omg/omg-helper
    install -D -m 755 "$target_dir/release/omg-helper" "$program"
    install -m 755 "$target_dir/release/omg" "$target_dir/release/omgd" "$root/usr/bin"
    repository "$root/srv/omg"
    rm -rf "$root"/etc/apt/sources.list "$root"/etc/apt/sources.list.d
    mkdir -p "$root/etc/apt/sources.list.d"
    printf 'APT::Sandbox::User "root";\n' >"$root/etc/apt/apt.conf.d/99tests"
    echo 'deb [trusted=yes] copy:/srv/omg ./' >"$root/etc/apt/sources.list.d/omg.list"
    chroot "$root" apt-get -qq update

    # The bus, with what `make install` adds to it; it starts the service in the throwaway machine.
    over /usr/share/dbus-1
    over /usr/share/polkit-1
    over /etc/polkit-1
    over /usr/libexec
    fill dbus/org.omg.Transaction1.service.in >/usr/share/dbus-1/system-services/org.omg.Transaction1.service
    cp dbus/org.omg.Transaction1.conf /usr/share/dbus-1/system.d/
    cp dbus/org.omg.transaction.policy /usr/share/polkit-1/actions/
    mkdir -p /usr/libexec/omg /etc/polkit-1/rules.d
    printf '#!/bin/sh\nexec chroot %s /usr/libexec/omg/omg-helper "$@" --idle 3 --plan-within 20 2>>/run/omg-harness/service.log\n' "$root" \
        >/usr/libexec/omg/omg-helper
    chmod 755 /usr/libexec/omg/omg-helper
    rm -f /etc/polkit-1/rules.d/*
    cp tests/tiers/system-bus.rules /etc/polkit-1/rules.d/10-omg-tests.rules
    chmod 755 /etc/polkit-1/rules.d
    dbus-daemon --system --nofork --nopidfile --nosyslog 2>"$scratch/bus.log" &
    eventually 20 test -S /run/dbus/system_bus_socket
    # The bus starts polkitd when it is asked for, as it does where no systemd runs.
    env --ignore-environment PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1 \
        ${UPDATE_GOLDEN:+UPDATE_GOLDEN=1} SYSTEM_BUS_ONLY="${SYSTEM_BUS_ONLY:-}" \
        /usr/bin/python3 tests/tiers/system_bus_checks.py "$root" "$target_dir/release/omg-helper" || {
        status=$?
        sed 's/^/# service: /' "$scratch/service.log" 2>/dev/null | tail -n 30
        sed 's/^/# bus: /' "$scratch/bus.log" | tail -n 10
        return "$status"
    }
}

if [ "${1:-}" = --inside ]; then
    status=0
    inside || status=$?
    exit "$status"
fi

[ "$(id -u)" = 0 ] || skip "needs root to make namespaces"
for program in apt-ftparchive busctl dbus-daemon dpkg-deb gdbus ip setpriv unshare; do
    command -v "$program" >/dev/null || skip "$program is not installed"
done
[ -x /usr/lib/polkit-1/polkitd ] || skip "polkitd is not installed"
for module in dbus_next dasbus; do
    /usr/bin/python3 -c "import $module" 2>/dev/null || skip "python3-${module//_/-} is not installed"
done
namespaces="--mount --propagation=private --pid --net --fork --kill-child --mount-proc"
# shellcheck disable=SC2086 # one word an option
unshare $namespaces true 2>/dev/null || skip "this machine does not allow new namespaces"

debian_root bookworm

status=0
# shellcheck disable=SC2086 # one word an option
timeout --kill-after=10 "${SYSTEM_BUS_SECONDS:-900}" unshare $namespaces bash "$0" --inside || status=$?
case $status in
0) ;;
124 | 137) echo "not ok - the checks on the system bus end in time" ;;
*) echo "# the checks on the system bus ended with status $status" ;;
esac
exit "$status"
