#!/usr/bin/env bash
# Brings a real Keystone (OpenStack's identity service) for the tests into .cache/keystone/root (or another folder,
# named by OPENCBR_KEYSTONE_CACHE): see unpack-packages.sh.
#
# Standard output: the folder that the packages were unpacked into; `/` where the machine has them installed.
# Exit code 1, and the reason on standard error, when Keystone cannot be brought.
set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${OPENCBR_KEYSTONE_CACHE:-$top/.cache/keystone}

fail() { printf 'install-keystone: no Keystone can be brought: %s.\n' "$*" >&2; exit 1; }
has_keystone() { [ -e "$1/usr/lib/python3/dist-packages/keystone" ]; }

if /usr/bin/python3 -c 'import keystone.server.wsgi' 2>/dev/null; then
  echo /
  exit
fi
if ! has_keystone "$cache/root"; then
  source "$top/scripts/unpack-packages.sh"
  open_apt "$cache"
  # The library alone: the package `keystone` beside it would configure a database and start a daemon.
  unpack_packages "$cache" has_keystone python3-keystone
fi
printf '%s\n' "$cache/root"
