#!/usr/bin/env bash
# Installs the servers that the tests run beside the system's MariaDB: the newest MySQL (9.7 or
# later, of Debian sid) and MariaDB 11.8 (of Debian trixie), each in a directory of its own.
#
# Their packages are fetched by apt, with all that they depend on down to the C library, and only
# unpacked: nothing of them is installed, started or configured, the system's package database is
# not touched, and no root is needed. The programs in a prefix's bin/ start the real ones by the
# prefix's own dynamic linker, so that they run on any Debian or Ubuntu of this architecture.
#
# A prefix is whole or absent. When all that are wanted are there, nothing is fetched.
#
# usage: scripts/install-servers.sh [--only NAME] [--best-effort]
#   --only NAME          one of mariadb-11.8 and mysql-9.7; both without it
#   --best-effort        a version that cannot be had is reported, but is no error
#   TIDEMARK_SERVERS     where the prefixes lie, as an absolute path; $XDG_CACHE_HOME/tidemark/servers if not set
#   TIDEMARK_DEB_MIRROR  a mirror of Debian; the one in the machine's apt sources if not set
set -u

keyring=/usr/share/keyrings/debian-archive-keyring.gpg

say() {
	echo "install-servers: $*" >&2
}

# mirror prints the first source of this machine that is Debian's, and not of security updates.
# Sources are of two kinds, lines "deb [options] URI suite ..." and stanzas with "URIs: URI ...".
mirror() {
	if [ -n "${TIDEMARK_DEB_MIRROR:-}" ]; then
		echo "$TIDEMARK_DEB_MIRROR"
		return
	fi
	for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
		[ -r "$file" ] && cat "$file" && echo
	done | sed -n -e 's/[[:space:]]#.*//' \
		-e 's/^deb[[:space:]][[:space:]]*\(\[[^]]*\][[:space:]]*\)\{0,1\}\([^[:space:]]*\).*/\2/p' \
		-e 's/^URIs:[[:space:]]*\([^[:space:]]*\).*/\1/p' |
		grep -i debian | grep -v -i security | head -n 1
}

# version prints what a prefix's server says that it is, as 9.7.1.
version() { # PREFIX
	local server=$1/bin/mariadbd
	[ -x "$server" ] || server=$1/bin/mysqld
	"$server" --no-defaults --version 2>/dev/null | sed -n 's/.* Ver \([0-9][0-9.]*\).*/\1/p'
}

# wanted tells whether a version is one of those that the name stands for.
wanted() { # NAME VERSION
	case $1 in
	mariadb-11.8) case $2 in 11.8.*) return 0 ;; esac ;;
	mysql-9.7) [ -n "$2" ] && [ "$(printf '9.7\n%s\n' "$2" | sort -V | head -n 1)" = 9.7 ] && return 0 ;;
	esac
	return 1
}

# fetch downloads the packages and all that they need into WORK/cache/archives. An empty list of
# installed packages makes that everything, and hides the system's.
fetch() { # WORK SUITE PACKAGE...
	local work=$1 suite=$2 signed=
	shift 2
	[ -r "$keyring" ] && signed="[signed-by=$keyring] "
	mkdir -p "$work/lists/partial" "$work/cache/archives/partial" || return
	: >"$work/status"
	echo "deb $signed$from $suite main" >"$work/sources.list"
	cat >"$work/apt.conf" <<-END || return
		#clear APT::Update::Post-Invoke;
		#clear APT::Update::Post-Invoke-Success;
		#clear DPkg::Post-Invoke;
		Dir::Etc { SourceList "$work/sources.list"; SourceParts "/dev/null"; Preferences "/dev/null"; PreferencesParts "/dev/null"; };
		Dir { State "$work"; State::Lists "$work/lists"; State::Status "$work/status"; Cache "$work/cache"; Log "$work"; };
		APT::Update::Error-Mode "any";
		APT::Sandbox::User "$(id -un)";
		Acquire { Languages "none"; Retries "3"; IndexTargets::deb::DEP-11::DefaultEnabled "false"; };
	END
	apt() {
		DEBIAN_FRONTEND=noninteractive apt-get -qq -c="$work/apt.conf" "$@"
	}
	apt update >&2 && apt install --download-only --no-install-recommends -y "$@" >"$work/log" 2>&1 || {
		[ -f "$work/log" ] && cat "$work/log" >&2
		return 1
	}
}

# unpack lays the packages out in a prefix, but for what only people read.
unpack() { # WORK PREFIX
	local deb
	for deb in "$1"/cache/archives/*.deb; do
		dpkg-deb --extract "$deb" "$2" || return
		rm -f "$deb"
	done
	rm -rf "$2/etc" "$2/var" "$2/usr/share/doc" "$2/usr/share/man" "$2/usr/share/locale" "$2/usr/share/perl" "$2"/usr/lib/*/perl*
}

# wrap writes the programs of PREFIX/bin. They find their prefix by their own place. Options that
# say where a program's own files lie come before the caller's, who may override them, but after
# those that must be the first of all.
wrap() { # PREFIX
	local prefix=$1 loader libc share program path options
	loader=$(cd "$prefix" && find usr/lib64 usr/lib -maxdepth 1 -name 'ld-linux*.so.*' 2>/dev/null | head -n 1)
	libc=$(cd "$prefix" && find usr/lib -maxdepth 2 -name libc.so.6 | head -n 1)
	share=$(cd "$prefix" && find usr/share/mariadb usr/share/mysql -maxdepth 1 -name charsets 2>/dev/null | head -n 1)
	[ -n "$loader" ] && [ -n "$libc" ] && [ -n "$share" ] || {
		say "no dynamic linker, C library or character sets among the packages"
		return 1
	}
	share=${share%/charsets}
	mkdir -p "$prefix/bin"
	for program in mariadbd mysqld mariadb mysql mariadb-binlog mysqlbinlog mariadb-backup mbstream mysqladmin mysqldump mariadb-dump; do
		path=$(cd "$prefix" && find usr/sbin usr/bin -name "$program" 2>/dev/null | head -n 1)
		[ -n "$path" ] || continue
		options=
		case $program in
		mariadbd | mysqld)
			options="\"--basedir=\$prefix/usr\" \"--lc-messages-dir=\$prefix/$share\" \"--character-sets-dir=\$prefix/$share/charsets\" \"--plugin-dir=\$prefix/usr/lib/mysql/plugin\""
			;;
		esac
		cat >"$prefix/bin/$program" <<-END || return
			#!/bin/sh
			prefix=\$(cd "\${0%/*}/.." && pwd) || exit
			program=\$prefix/$path
			first=
			case \${1:-} in
			--no-defaults | --defaults-file=* | --defaults-extra-file=*) first=\$1; shift ;;
			esac
			exec "\$prefix/$loader" --argv0 "\$program" --library-path "\$prefix/${libc%/*}" "\$program" \${first:+"\$first"} $options "\$@"
		END
		chmod 755 "$prefix/bin/$program" || return
	done
}

# install makes the prefix of a name, or fails having left nothing.
install() { # NAME SUITE PACKAGE...
	local name=$1 prefix=$servers/$1
	if [ -d "$prefix" ]; then
		say "$name is installed: $(version "$prefix") in $prefix"
		return
	fi
	fresh=$(mktemp -d -p "$servers") || return
	shift
	say "fetching $name from $from $1"
	if build "$fresh" "$name" "$@" && mv -T "$fresh/prefix" "$prefix"; then
		rm -rf "$fresh"
		say "installed $name: $(version "$prefix") in $prefix"
		return
	fi
	rm -rf "$fresh"
	[ -d "$prefix" ] # another run was faster
}

build() { # WORK NAME SUITE PACKAGE...
	local work=$1 name=$2 have
	shift 2
	mkdir "$work/prefix" && fetch "$work" "$@" && unpack "$work" "$work/prefix" && wrap "$work/prefix" || return
	have=$(version "$work/prefix")
	wanted "$name" "$have" && return
	say "$name: the packages hold version ${have:-unknown}"
	return 1
}

strict=1 wanted_names="mariadb-11.8 mysql-9.7"
while [ $# -gt 0 ]; do
	case $1 in
	--best-effort) strict=0 ;;
	--only)
		shift
		case ${1:-} in
		mariadb-11.8 | mysql-9.7) wanted_names=$1 ;;
		*) set -- --help ; continue ;;
		esac
		;;
	*)
		say "usage: scripts/install-servers.sh [--only mariadb-11.8|mysql-9.7] [--best-effort]"
		exit 2
		;;
	esac
	shift
done

servers=${TIDEMARK_SERVERS:-${XDG_CACHE_HOME:-$HOME/.cache}/tidemark/servers}
case $servers in
/*) ;;
*)
	say "$servers is no absolute path"
	exit 2
	;;
esac
mkdir -p "$servers" || exit
from=$(mirror)
fresh= failed=
trap '[ -z "$fresh" ] || rm -rf "$fresh"' EXIT
missing=
for name in $wanted_names; do
	[ -d "$servers/$name" ] || missing="$missing $name"
done
if [ -z "$missing" ]; then
	: # nothing is needed
elif ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
	say "this is not Debian or Ubuntu: there is no apt-get or dpkg-deb to fetch servers with"
	failed=$missing
elif [ -z "$from" ]; then
	say "no mirror of Debian in the apt sources: name one in TIDEMARK_DEB_MIRROR"
	failed=$missing
fi
if [ -z "$failed" ]; then
	for name in $wanted_names; do
		case $name in
		mariadb-11.8) install "$name" trixie mariadb-server-core mariadb-client-core mariadb-client mariadb-backup ;;
		mysql-9.7) install "$name" sid mysql-server-core mysql-client-core ;;
		esac || failed="$failed $name"
	done
fi
if [ -n "$failed" ]; then
	say "cannot be had:$failed"
	[ "$strict" = 0 ] || exit 1
fi
