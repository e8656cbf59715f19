#!/usr/bin/env bash
# Brings Schemathesis, which makes calls out of an OpenAPI document, for the tests.
#
# It comes from the Python package index, by pip with the machine's own settings, into a virtual environment in
# .cache/schemathesis (or another folder, named by OPENCBR_SCHEMATHESIS_CACHE). Nothing is installed into the system.
#
# Standard output: the path of the program.
# Exit code 3, and the reason on standard error, when there is no Python or the index cannot be reached; 1 for all else.
set -euo pipefail

VERSION=4.32.5

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${OPENCBR_SCHEMATHESIS_CACHE:-$top/.cache/schemathesis}
program=$cache/$VERSION/bin/schemathesis

lacking() { printf 'install-schemathesis: %s.\n' "$*" >&2; exit 3; }

mkdir -p "$cache"
# Two test runs at once must not build the same folder.
exec 9>"$cache/.lock"
flock 9
if [ -e "$cache/$VERSION/.whole" ]; then printf '%s\n' "$program"; exit; fi

command -v python3 >/dev/null || lacking 'this machine has no python3'
python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || lacking "Schemathesis needs Python 3.10, and this machine has $(python3 --version)"
rm -rf "${cache:?}/$VERSION"
python3 -m venv "$cache/$VERSION" >"$cache/log" 2>&1 || lacking "no virtual environment can be made: $(tail -n 1 "$cache/log")"
"$cache/$VERSION/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --only-binary :all: \
  --retries 2 --timeout 30 "schemathesis==$VERSION" >"$cache/log" 2>&1 || lacking "the package index gives no schemathesis $VERSION: $(tail -n 1 "$cache/log")"
# A folder that was being filled when its process was killed has no such mark.
touch "$cache/$VERSION/.whole"
printf '%s\n' "$program"
