#!/usr/bin/env bash
# Brings a real Keystone (OpenStack's identity service) for the tests, from the packages of the Debian release
# that this machine runs.
#
# Keystone and the Python packages that the machine lacks are downloaded and unpacked into .cache/keystone/root
# (or another folder, named by OPENCBR_KEYSTONE_CACHE); nothing is installed into the system, nothing is
# started, and no privileges are needed. apt does the fetching and checks the signatures, with the machine's
# own sources.
#
# Standard output: the folder that the packages were unpacked into; `/` where the machine has them installed.
# Exit code 1, and the reason on standard error, when Keystone cannot be brought.
set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${OPENCBR_KEYSTONE_CACHE:-$top/.cache/keystone}
# The library alone: the package `keystone` beside it would configure a database and start a daemon.
packages=(python3-keystone)

fail() { printf 'install-keystone: no Keystone can be brought: %s.\n' "$*" >&2; exit 1; }

if /usr/bin/python3 -c 'import keystone.server.wsgi' 2>/dev/null; then
  echo /
  exit
fi
if [ -e "$cache/root/usr/lib/python3/dist-packages/keystone" ]; then
  printf '%s\n' "$cache/root"
  exit
fi
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
apt-get -qq -y "${options[@]}" --download-only install "${packages[@]}" >"$work/log" 2>&1 ||
  fail "$(grep -m 1 '^[EW]:' "$work/log" || tail -n 1 "$work/log")"
for archive in "$work"/archives/*.deb; do
  dpkg-deb -x "$archive" "$work/root" >"$work/log" 2>&1 || fail "$(tail -n 1 "$work/log")"
done
[ -e "$work/root/usr/lib/python3/dist-packages/keystone" ] || fail 'the packages have no Keystone'
# Renamed into place whole; whoever came first at the same time has the same files.
mv -T "$work/root" "$cache/root" 2>/dev/null || [ -e "$cache/root/usr/lib/python3/dist-packages/keystone" ] || fail "cannot write to $cache"
printf '%s\n' "$cache/root"
