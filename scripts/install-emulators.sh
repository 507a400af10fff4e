#!/usr/bin/env bash
# Installs the services that the tests of the storage drivers run in place of the providers': versitygw
# for S3, fake-gcs-server for Google Cloud Storage, azurite for Azure; each of a pinned version, in a
# directory of its own. The first two are built from source, the last needs Node.js, which is
# installed on Debian and Ubuntu where it is missing.
#
# A directory is whole or absent. When all are there, nothing is fetched.
#
# usage: scripts/install-emulators.sh [--best-effort]
#   --best-effort        one that cannot be had is reported, but is no error
#   TIDEMARK_EMULATORS   where they lie, as an absolute path; $XDG_CACHE_HOME/tidemark/emulators if not set
set -u

say() {
	echo "install-emulators: $*" >&2
}

# build_go builds a Go program of a version.
build_go() { # DIR PACKAGE VERSION
	GOBIN=$1 GOFLAGS=-trimpath CGO_ENABLED=0 go install -ldflags='-s -w' "$2@$3"
}

# build_npm installs a package of npm, without running any script of it or of what it needs.
build_npm() { # DIR PACKAGE VERSION
	node_js && npm install --prefix "$1" --ignore-scripts --no-audit --no-fund --loglevel=error "$2@$3"
}

# node_js sees to it that there is Node.js with npm.
node_js() {
	command -v node >/dev/null && command -v npm >/dev/null && return
	local root=
	if ! command -v apt-get >/dev/null; then
		say "there is no Node.js with npm, and this is not Debian or Ubuntu"
		return 1
	fi
	if [ "$(id -u)" -ne 0 ]; then
		command -v sudo >/dev/null || return
		root=sudo
	fi
	$root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120 update &&
		$root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120 install -y --no-install-recommends nodejs npm >/dev/null
}

# install makes the directory NAME-VERSION, or fails having left nothing.
install() { # HOW NAME PACKAGE VERSION
	local dir=$emulators/$2-${4#v}
	if [ -d "$dir" ]; then
		say "$2 is installed: $dir"
		return
	fi
	fresh=$(mktemp -d -p "$emulators") || return
	say "installing $2 ${4#v}"
	if "build_$1" "$fresh" "$3" "$4" >&2 && chmod 755 "$fresh" && mv -T "$fresh" "$dir"; then
		return
	fi
	rm -rf "$fresh"
	[ -d "$dir" ] # another run was faster
}

strict=1
case ${1:-} in
--best-effort) strict=0 ;;
'') ;;
*)
	say "usage: scripts/install-emulators.sh [--best-effort]"
	exit 2
	;;
esac

emulators=${TIDEMARK_EMULATORS:-${XDG_CACHE_HOME:-$HOME/.cache}/tidemark/emulators}
case $emulators in
/*) ;;
*)
	say "$emulators is no absolute path"
	exit 2
	;;
esac
mkdir -p "$emulators" || exit
cd "$emulators" || exit # away from any go.mod
fresh= failed=
trap '[ -z "$fresh" ] || rm -rf "$fresh"' EXIT
# storage/emulatortest names the same versions.
install go versitygw github.com/versity/versitygw/cmd/versitygw v1.8.0 || failed="$failed versitygw"
install go fake-gcs-server github.com/fsouza/fake-gcs-server v1.56.1 || failed="$failed fake-gcs-server"
install npm azurite azurite 3.35.0 || failed="$failed azurite"
if [ -n "$failed" ]; then
	say "cannot be had:$failed"
	[ "$strict" = 0 ] || exit 1
fi
