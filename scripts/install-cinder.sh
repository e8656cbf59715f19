#!/usr/bin/env bash
# Brings a real Cinder (OpenStack's block storage service) for the benchmarks into .cache/cinder/root (or another folder,
# named by OPENCBR_CINDER_CACHE): see unpack-packages.sh.
#
# Standard output: the folder that the packages were unpacked into; `/` where the machine has them installed.
# Exit code 1, and the reason on standard error, when Cinder cannot be brought.
set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${OPENCBR_CINDER_CACHE:-$top/.cache/cinder}

fail() { printf 'install-cinder: no Cinder can be brought: %s.\n' "$*" >&2; exit 1; }
has_cinder() { [ -e "$1/usr/lib/python3/dist-packages/cinder" ]; }

if /usr/bin/python3 -c 'import cinder.api' 2>/dev/null; then
  echo /
  exit
fi
if ! has_cinder "$cache/root"; then
  source "$top/scripts/unpack-packages.sh"
  open_apt "$cache"
  # The library alone: the package `cinder-api` beside it would configure a database and start a daemon.
  unpack_packages "$cache" has_cinder python3-cinder
fi
printf '%s\n' "$cache/root"
