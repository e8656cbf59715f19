#!/usr/bin/env bash
# Brings stock restic for the tests: one binary for each Debian release that ships another version.
#
# The packages are downloaded and unpacked into .cache/restic/<version>/restic (or another folder,
# named by OPENCBR_RESTIC_CACHE, so that a CI machine can keep them between checkouts); nothing is installed
# into the system, and no privileges are needed. apt does the fetching and checks the signatures,
# with a configuration of its own: the machine's Debian mirror, other releases, other directories.
#
# Standard output: the path of every restic found, one a line, oldest first. Standard error: what
# could not be brought, and why. The exit code is 1 only if there is no restic at all.
set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${OPENCBR_RESTIC_CACHE:-$top/.cache/restic}
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
suites=(bookworm trixie sid)

say() { printf 'install-restic: %s\n' "$*" >&2; }

# The first mirror of the main archive that the machine itself uses, in either notation.
find_mirror() {
  {
    cat /etc/apt/sources.list.d/*.sources 2>/dev/null | sed -n 's/^URIs:[[:space:]]*\([^[:space:]]*\).*/\1/p'
    cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null |
      sed -n 's/^deb[[:space:]]\{1,\}\(\[[^]]*\][[:space:]]*\)\{0,1\}\([^[:space:]]*\).*/\2/p'
  } | grep -E '/debian/?$' | head -n 1
}

version_of() { "$1" version 2>/dev/null | awk '$1 == "restic" { print $2; exit }'; }

# Prints why it failed, if it does; unpacks the suite's restic into the cache otherwise.
bring() {
  local suite=$1 mirror=$2 work=$3 options binary version
  mkdir -p "$work"/{lists/partial,archives/partial,parts,unpacked}
  printf 'deb [signed-by=%s] %s %s main\n' "$keyring" "$mirror" "$suite" >"$work/sources.list"
  options=(
    -o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$work/lists"
    -o Dir::State::status=/dev/null -o "Dir::Cache=$work" -o "Dir::Cache::archives=$work/archives"
    -o Acquire::Languages=none -o Acquire::Retries=2 -o Acquire::http::Timeout=30 -o Acquire::https::Timeout=30
    -o APT::Update::Error-Mode=any
  )
  # apt as root gives its downloads to an unprivileged user, who may not enter our directory.
  [ "$(id -u)" -ne 0 ] || options+=(-o APT::Sandbox::User=root)
  apt-get -qq "${options[@]}" update >"$work/log" 2>&1 || { grep -m 1 '^[EW]:' "$work/log" || tail -n 1 "$work/log"; return 1; }
  (cd "$work" && apt-get -qq "${options[@]}" download restic) >"$work/log" 2>&1 || { tail -n 1 "$work/log"; return 1; }
  dpkg-deb -x "$work"/restic_*.deb "$work/unpacked" >"$work/log" 2>&1 || { tail -n 1 "$work/log"; return 1; }
  binary=$work/unpacked/usr/bin/restic
  version=$(version_of "$binary")
  [ -n "$version" ] || { echo 'the binary does not run here'; return 1; }
  mkdir -p "$cache/$version"
  # Renamed into place, so that a test running beside this never starts half a binary.
  mv "$binary" "$cache/$version/.restic.$$" && mv "$cache/$version/.restic.$$" "$cache/$version/restic"
  printf '%s\n' "$version" >"$cache/$suite.version"
}

mkdir -p "$cache"
missing=()
for suite in "${suites[@]}"; do
  read -r version 2>/dev/null <"$cache/$suite.version" || version=
  [ -n "$version" ] && [ "$(version_of "$cache/$version/restic")" = "$version" ] || missing+=("$suite")
done

if [ ${#missing[@]} -gt 0 ]; then
  mirror=$(find_mirror || true)
  reason=
  command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || reason='this machine has no apt-get or dpkg-deb'
  [ -r "$keyring" ] || reason=${reason:-"this machine has no Debian keyring ($keyring)"}
  [ -n "$mirror" ] || reason=${reason:-'no Debian mirror is named in /etc/apt'}
  if [ -n "$reason" ]; then
    say "restic of ${missing[*]} is not brought: $reason."
  else
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    for suite in "${missing[@]}"; do
      { bring "$suite" "$mirror" "$scratch/$suite" >"$scratch/$suite.reason" || touch "$scratch/$suite.failed"; } &
    done
    wait
    for suite in "${missing[@]}"; do
      [ ! -e "$scratch/$suite.failed" ] || say "restic of $suite is not brought: $(cat "$scratch/$suite.reason")"
    done
  fi
fi

# What the cache has, and the machine's own restic unless the cache has the same version.
found=$(
  for binary in "$cache"/*/restic "$(command -v restic || true)"; do
    # An `if`, since what fails last in this loop would end the script: a machine without a restic of its own.
    if [ -x "$binary" ] && version=$(version_of "$binary") && [ -n "$version" ]; then printf '%s %s\n' "$version" "$binary"; fi
  done | sort -V -s -u -k 1,1 | cut -d ' ' -f 2-
)
if [ -z "$found" ]; then
  say 'there is no restic: none could be brought, and none is on the path.'
  exit 1
fi
printf '%s\n' "$found"
