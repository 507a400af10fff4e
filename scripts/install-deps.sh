#!/bin/sh
# Installs the programs that the tests and the demonstration run: a MariaDB server with its
# backup and binlog tools, and zstd. When all are there it does nothing and needs no root.
#
# Only packages that hold programs and nothing else are taken: mariadb-server-core, unlike
# mariadb-server, brings no system service, no account and no data directory, so that nothing
# is started or enabled. Recommended packages are left out.
#
# usage: scripts/install-deps.sh
set -eu

fail() {
	echo "install-deps: $*" >&2
	exit 1
}

have() {
	PATH="$PATH:/usr/sbin:/usr/local/sbin" command -v "$1" >/dev/null
}

packages=
need() { # PROGRAM PACKAGE
	have "$1" && return
	case "$packages " in *" $2 "*) ;; *) packages="$packages $2" ;; esac
}
need mariadbd mariadb-server-core
need mariadb mariadb-client-core
need mariadb-binlog mariadb-client
need mariadb-backup mariadb-backup
need mbstream mariadb-backup
need zstd zstd

if [ -z "$packages" ]; then
	echo "install-deps: everything is installed: $(PATH="$PATH:/usr/sbin" mariadbd --no-defaults --version)"
	exit 0
fi
have apt-get || fail "missing$packages, and this is not Debian or Ubuntu: install what they are called here"

root=
if [ "$(id -u)" -ne 0 ]; then
	have sudo || fail "missing$packages: run this as root, or install sudo"
	root=sudo
fi
apt() {
	$root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120 "$@"
}

echo "install-deps: installing$packages" >&2
apt update || fail "apt-get update failed"
# Unquoted: one word a package.
# shellcheck disable=SC2086
apt install -y --no-install-recommends $packages >/dev/null || fail "apt-get install$packages failed"

for program in mariadbd mariadb mariadb-binlog mariadb-backup mbstream zstd; do
	have "$program" || fail "$program is still missing"
done
echo "install-deps: done: $(PATH="$PATH:/usr/sbin" mariadbd --no-defaults --version)"
