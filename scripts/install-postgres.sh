#!/usr/bin/env bash
# Brings a real PostgreSQL server for the tests, from the packages of the Debian release that this machine runs.
#
# The packages that the machine lacks are downloaded and unpacked into .cache/postgres/root (or another folder,
# named by OPENCBR_POSTGRES_CACHE); nothing is installed into the system, nothing is started, and no
# privileges are needed. apt does the fetching and checks the signatures, with the machine's own sources.
#
# Standard output: the folder with the programs initdb and postgres; the machine's own where it has them.
# OPENCBR_POSTGRES_OWN=no leaves the machine's own alone.
# Exit code 1, and the reason on standard error, when the server cannot be brought.
set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${OPENCBR_POSTGRES_CACHE:-$top/.cache/postgres}

fail() { printf 'install-postgres: no PostgreSQL can be brought: %s.\n' "$*" >&2; exit 1; }

# Prints the newest version's folder below a root, if there is one.
programs() {
  local folder newest=''
  for folder in $(printf '%s\n' "$1"/usr/lib/postgresql/*/bin | sort -V); do
    [ ! -x "$folder/initdb" ] || [ ! -x "$folder/postgres" ] || newest=$folder
  done
  [ -n "$newest" ] && printf '%s\n' "$newest"
}

if [ "${OPENCBR_POSTGRES_OWN:-yes}" != no ] && programs ''; then exit; fi
if programs "$cache/root"; then exit; fi
command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || fail 'this machine has no apt-get or dpkg-deb'

mkdir -p "$cache"
work=$(mktemp -d "$cache/.bring.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{lists/partial,archives/partial,root}
options=(
  -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work" -o "Dir::Cache::archives=$work/archives"
  -o Acquire::Languages=none -o Acquire::Retries=2 -o Acquire::http::Timeout=30 -o Acquire::https::Timeout=30
  -o Debug::NoLocking=1 -o APT::Install-Recommends=0
)
# apt as root gives its downloads to an unprivileged user, who may not enter our directory.
[ "$(id -u)" -ne 0 ] || options+=(-o APT::Sandbox::User=root)
apt-get -qq "${options[@]}" update >"$work/log" 2>&1 || fail "$(grep -m 1 '^[EW]:' "$work/log" || tail -n 1 "$work/log")"
# The package without a version names the server's own.
package=$(apt-cache "${options[@]}" depends postgresql 2>"$work/log" | sed -n 's/^ *Depends: \(postgresql-[0-9]\+\)$/\1/p' | head -n 1)
[ -n "$package" ] || fail 'the release has no package of it'
# Asked for again where it is installed: what is unpacked must have the programs.
apt-get -qq -y "${options[@]}" --download-only --reinstall install "$package" >"$work/log" 2>&1 ||
  fail "$(grep -m 1 '^[EW]:' "$work/log" || tail -n 1 "$work/log")"
for archive in "$work"/archives/*.deb; do
  dpkg-deb -x "$archive" "$work/root" >"$work/log" 2>&1 || fail "$(tail -n 1 "$work/log")"
done
programs "$work/root" >/dev/null || fail 'the packages have no server'
# The server runs as another user where root starts it, and that user has to get here.
chmod 755 "$work/root"
# Renamed into place whole; whoever came first at the same time has the same files.
mv -T "$work/root" "$cache/root" 2>/dev/null || programs "$cache/root" >/dev/null || fail "cannot write to $cache"
programs "$cache/root"
