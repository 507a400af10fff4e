#!/bin/sh
# Installs the plugins of the system's MariaDB that its core package leaves out, of which the tests load
# file_key_management: they lie in a directory of their own, and the system's packages are not touched.
#
# usage: scripts/install-plugins.sh [--best-effort]
#   --best-effort        what cannot be had is reported, but is no error
#   TIDEMARK_SERVERS     where the directory lies, as an absolute path; $XDG_CACHE_HOME/tidemark/servers if not set
set -eu

servers=${TIDEMARK_SERVERS:-${XDG_CACHE_HOME:-$HOME/.cache}/tidemark/servers}
strict=1
[ "${1:-}" != --best-effort ] || strict=0

fail() {
	echo "install-plugins: $*" >&2
	exit "$strict"
}

# They must be of the very build: a server refuses others, or crashes.
version=$(dpkg-query --show --showformat '${Version}' mariadb-server-core 2>/dev/null) || fail "mariadb-server-core is not installed"
plugins=$servers/mariadb-plugins/$version
if [ -e "$plugins/file_key_management.so" ]; then
	echo "install-plugins: those of $version are installed"
	exit 0
fi
mkdir -p "$servers/mariadb-plugins"
work=$(mktemp -d -p "$servers/mariadb-plugins")
trap 'rm -rf "$work"' EXIT
cd "$work"
apt-get -qq -o APT::Sandbox::User="$(id -un)" download "mariadb-server=$version" || fail "mariadb-server $version cannot be had"
dpkg-deb --extract ./*.deb all
[ -e all/usr/lib/mysql/plugin/file_key_management.so ] || fail "mariadb-server $version has no file_key_management.so"
mv -T all/usr/lib/mysql/plugin "$plugins" || [ -d "$plugins" ] # another run was faster
echo "install-plugins: installed those of $version in $plugins"
