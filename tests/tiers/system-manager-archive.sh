#!/usr/bin/env bash
# system-manager-archive.sh FOLDER: makes a signed archive of packages that use what packages use: configuration files,
# scripts, triggers, libraries, setuid programs, units. key.gpg is the public key.
set -euo pipefail
folder=$1
work=$(mktemp -d)
trap 'gpgconf --homedir "$work/gpg" --kill all 2>/dev/null || true; rm -rf --one-file-system "$work"' EXIT
mkdir -p "$folder"

# begin NAME VERSION [FIELD…]
begin() {
    build=$work/$1_$2
    mkdir -p "$build/DEBIAN"
    printf 'Package: %s\nVersion: %s\nArchitecture: amd64\nMaintainer: Tests <t@example.invalid>\nDescription: test\n' "$1" "$2" \
        >"$build/DEBIAN/control"
    shift 2
    [ "$#" = 0 ] || printf '%s\n' "$@" >>"$build/DEBIAN/control"
}

# script NAME: a maintainer script from the standard input.
script() {
    { printf '#!/bin/sh\nset -e\n' && cat; } >"$build/DEBIAN/$1"
    chmod 755 "$build/DEBIAN/$1"
}

finish() { dpkg-deb --root-owner-group --build "$build" "$folder" >/dev/null; }

# Interested in files of others, which has its script called when they change.
begin watch-omg 1.0
echo 'interest-noawait /usr/share/omg-watched' >"$build/DEBIAN/triggers"
script postinst <<'SCRIPT'
[ "$1" != triggered ] || echo "$2" >>/var/lib/watch-omg
SCRIPT
finish

for version in 1.0 2.0; do
    begin whole-omg "$version" 'Depends: watch-omg'
    mkdir -p "$build/etc/ld.so.conf.d" "$build/usr/lib/whole-omg" "$build/usr/bin" "$build/usr/share/omg-watched" \
        "$build/lib/systemd/system"
    echo "setting of $version" >"$build/etc/whole-omg.conf"
    echo /usr/lib/whole-omg >"$build/etc/ld.so.conf.d/whole-omg.conf"
    printf '/etc/whole-omg.conf\n/etc/ld.so.conf.d/whole-omg.conf\n' >"$build/DEBIAN/conffiles"
    echo "$version" >"$build/usr/share/omg-watched/whole-omg"
    echo 'int whole_omg;' | gcc -shared -fPIC -x c - -Wl,-soname,libwhole-omg.so.1 -o "$build/usr/lib/whole-omg/libwhole-omg.so.1"
    printf '#include <stdio.h>\n#include <unistd.h>\nint main(void) { printf("%%d\\n", (int)geteuid()); return 0; }\n' |
        gcc -x c - -o "$build/usr/bin/whole-omg-id"
    chmod 4755 "$build/usr/bin/whole-omg-id"
    printf '[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n' \
        >"$build/lib/systemd/system/whole-omg.service"
    echo 'activate-noawait ldconfig' >"$build/DEBIAN/triggers"
    script preinst <<'SCRIPT'
mkdir -p /var/lib/whole-omg
echo "$1" >/var/lib/whole-omg/preinst
SCRIPT
    # What the comments of the unit say that packages need; and what they find around them.
    script postinst <<'SCRIPT'
[ "$1" = configure ] || exit 0
cd /var/lib/whole-omg
getent passwd whole-omg >/dev/null || useradd --system --home-dir /var/lib/whole-omg whole-omg
su -s /bin/sh whole-omg -c 'id -un' >su
whole-omg-id >setuid
setpriv --reuid=whole-omg --clear-groups whole-omg-id >setuid-of-user
unshare --mount sh -c 'mount -t tmpfs none /mnt && touch /mnt/x'
mount -t tmpfs none /mnt
[ -e node ] || mknod node c 1 3
systemctl daemon-reload
systemctl enable --now whole-omg.service
systemd-run --quiet --wait --collect true
if read -r line; then echo "$line"; else echo end; fi >stdin
if chrt --fifo 1 true 2>/dev/null; then echo allowed; else echo refused; fi >realtime
umask >umask
cat /proc/self/status >status
cat /proc/self/cgroup >cgroup
env >env
SCRIPT
    script prerm <<'SCRIPT'
[ "$1" != remove ] || systemctl disable --now whole-omg.service
SCRIPT
    script postrm <<'SCRIPT'
[ "$1" != purge ] || { umount /mnt; rm -rf /var/lib/whole-omg; }
SCRIPT
    finish
done

# Whose scripts wait until they are let go.
for name in slow-omg slower-omg slowest-omg; do
    begin "$name" 1.0
    script postinst <<SCRIPT
touch /run/$name.waits
while [ ! -e /run/$name.go ]; do sleep 0.1; done
echo done >/var/lib/$name
SCRIPT
    finish
done
begin plain-omg 1.0
finish

cd "$folder"
apt-ftparchive packages . >Packages
apt-ftparchive -o APT::FTPArchive::Release::Suite=stable -o APT::FTPArchive::Release::Label=Tests release . >"$work/Release"
mv "$work/Release" Release
mkdir -m 700 "$work/gpg"
export GNUPGHOME=$work/gpg
gpg --batch --quiet --pinentry-mode loopback --passphrase '' --quick-generate-key 'Tests <t@example.invalid>' ed25519 sign never
gpg --batch --quiet --output key.gpg --export
gpg --batch --quiet --output InRelease --clearsign Release
