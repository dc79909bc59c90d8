#!/usr/bin/env bash
# pacman-machine-archive.sh, in a root with pacman: makes signed repositories under /srv/web, and the machine's pacman.conf
# and keyring. `trusted` is signed by the key that the machine knows; `newcomer` by one that only the key server has.
#
# pacman-machine-archive.sh NAME VERSION [REPOSITORY [FIELD…]]: puts one more package into a repository.
set -euo pipefail
web=/srv/web
work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT

sign() { gpg --homedir "/root/$1" --batch --quiet --yes --detach-sign --output "$2.sig" "$2"; }

# package NAME VERSION [REPOSITORY [FIELD…]]: an .INSTALL comes from $script.
package() {
    local name=$1 version=$2 repository=${3:-trusted} tree file members
    shift "$(($# > 3 ? 3 : $#))"
    tree=$work/$name-$version file=$web/$repository/$name-$version-any.pkg.tar members=(.PKGINFO usr)
    mkdir -p "$tree/usr/share/$name" "$web/$repository"
    echo "$version" >"$tree/usr/share/$name/version"
    printf '%s\n' "pkgname = $name" "pkgbase = $name" 'xdata = pkgtype=pkg' "pkgver = $version" "pkgdesc = The $name of a test" \
        'url = https://example.org' 'builddate = 1700000000' 'packager = Test <test@example.org>' 'size = 4' 'arch = any' \
        "$@" >"$tree/.PKGINFO"
    if [ -n "${script:-}" ]; then
        echo "$script" >"$tree/.INSTALL"
        members+=(.INSTALL)
    fi
    tar --create --force-local --file "$file" --owner=0 --group=0 --mode=u+rwX,go+rX --directory "$tree" "${members[@]}"
    sign "$repository" "$file"
    # pacman asks for what changed since, in whole seconds.
    local database=$web/$repository/$repository.db.tar before=0
    [ ! -e "$database" ] || before=$(stat --format=%Y "$database")
    repo-add --quiet "$database" "$file"
    [ "$(stat --format=%Y "$database")" -gt "$before" ] || touch --date="@$((before + 1))" "$database"
}

if [ "$#" != 0 ]; then
    package "$@"
    gpgconf --homedir "/root/${3:-trusted}" --kill all
    exit
fi

for who in trusted newcomer; do
    mkdir -m 700 "/root/$who"
    gpg --homedir "/root/$who" --batch --quiet --passphrase '' --quick-generate-key "$who@example.org" ed25519 sign never
done
mkdir -p /etc/pacman.d /var/cache/pacman/pkg /var/lib/pacman "$web/key" "$web/aur"
mkdir -m 755 /etc/pacman.d/gnupg
gpg --homedir /root/trusted --export >"$work/trusted.gpg"
# libalpm imports only into the older kind of keyring, which pacman-key makes.
: >/etc/pacman.d/gnupg/pubring.gpg
gpg --homedir /etc/pacman.d/gnupg --batch --quiet --import "$work/trusted.gpg"
fingerprint() { gpg --homedir "/root/$1" --list-keys --with-colons | sed -n 's/^fpr:*\([0-9A-F]*\):$/\1/p'; }
echo "$(fingerprint trusted):6:" | gpg --homedir /etc/pacman.d/gnupg --batch --quiet --import-ownertrust
echo 'keyserver hkp://127.0.0.1:8765' | tee /etc/pacman.d/gnupg/gpg.conf >/etc/pacman.d/gnupg/dirmngr.conf
gpg --homedir /etc/pacman.d/gnupg --batch --quiet --check-trustdb
chmod 644 /etc/pacman.d/gnupg/{pubring.gpg,trustdb.gpg}
gpg --homedir /root/newcomer --armor --export >"$web/key/key"
made=$(gpg --homedir /root/newcomer --list-keys --with-colons | awk -F: '$1 == "pub" { print $6 }')
printf 'info:1:1\npub:%s:22:256:%s::\nuid:newcomer@example.org:%s::\n' "$(fingerprint newcomer)" "$made" "$made" >"$web/key/index"

package lib-omg 1-1
package app-omg 1-1 trusted 'depend = lib-omg'
package other-omg 1-1
script='post_install() {
    { id -u; umask; cat /proc/self/cgroup /proc/self/status; } >/var/lib/scripted-omg
    cat >>/var/lib/scripted-omg
}' package scripted-omg 1-1
script='post_install() { : >/run/slow-omg.waits; while [ ! -e /run/slow-omg.go ]; do sleep 0.05; done; }' package slow-omg 1-1
package newcomer-omg 1-1 newcomer
for who in trusted newcomer; do gpgconf --homedir "/root/$who" --kill all; done
gpgconf --homedir /etc/pacman.d/gnupg --kill all

cat >/etc/pacman.conf <<'CONF'
[options]
HoldPkg = pacman
Architecture = auto
SigLevel = Required DatabaseOptional
LocalFileSigLevel = Optional
DownloadUser = alpm
[trusted]
Server = http://127.0.0.1:8765/trusted
[newcomer]
SigLevel = PackageRequired PackageTrustAll DatabaseNever
Server = http://127.0.0.1:8765/newcomer
CONF
# What is installed has a database, if only an empty one.
pacman -Dk
