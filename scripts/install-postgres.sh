#!/usr/bin/env bash
# Brings a real PostgreSQL server for the tests into .cache/postgres/root (or another folder, named by
# OPENCBR_POSTGRES_CACHE): see unpack-packages.sh.
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
has_programs() { programs "$1" >/dev/null; }

if [ "${OPENCBR_POSTGRES_OWN:-yes}" != no ] && programs ''; then exit; fi
if ! has_programs "$cache/root"; then
  source "$top/scripts/unpack-packages.sh"
  open_apt "$cache"
  # The package without a version names the server's own.
  package=$(apt-cache "${apt_options[@]}" depends postgresql 2>"$work/log" | sed -n 's/^ *Depends: \(postgresql-[0-9]\+\)$/\1/p' | head -n 1)
  [ -n "$package" ] || fail 'the release has no package of it'
  # Asked for again where it is installed: what is unpacked must have the programs.
  unpack_packages "$cache" has_programs --reinstall "$package"
fi
programs "$cache/root"
