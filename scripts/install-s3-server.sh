#!/usr/bin/env bash
# Brings a real S3 server for the tests into .cache/s3-server/root (or another folder, named by OPENCBR_S3_SERVER_CACHE):
# Ceph's object gateway with the monitor and the store that it needs. See unpack-packages.sh.
#
# Standard output: the folder that the packages were unpacked into; `/` where the machine has them installed.
# Exit code 1, and the reason on standard error, when the server cannot be brought.
set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${OPENCBR_S3_SERVER_CACHE:-$top/.cache/s3-server}

fail() { printf 'install-s3-server: no S3 server can be brought: %s.\n' "$*" >&2; exit 1; }
has_gateway() { [ -e "$1/usr/bin/radosgw" ]; }

if command -v radosgw >/dev/null && command -v ceph-mon >/dev/null && command -v ceph-osd >/dev/null && command -v ceph >/dev/null; then
  echo /
  exit
fi
if ! has_gateway "$cache/root"; then
  source "$top/scripts/unpack-packages.sh"
  open_apt "$cache"
  unpack_packages "$cache" has_gateway radosgw ceph-mon ceph-osd ceph-common
fi
printf '%s\n' "$cache/root"
