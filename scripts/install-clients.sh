#!/usr/bin/env bash
# Brings a client that others wrote, for the tests: install-clients.sh python|openstack|go|node|terraform.
#
# Each comes from its package registry in the versions that test/clients/ pins, into a folder of its own in
# .cache/clients (or another folder, named by OPENCBR_CLIENTS_CACHE, so that a CI machine can keep it between checkouts).
# Nothing is installed into the system, and what is there already is not brought again.
#
# Standard output: the folder. Exit code 3, and the reason on standard error, when this machine has no tool for it or
# the registry does not hand it out; 1 when the registry does and it cannot be installed all the same.
set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${OPENCBR_CLIENTS_CACHE:-$top/.cache/clients}
client=${1:-}
SECONDS_MAX=240
# Terraform's provider is one program with all services of the cloud in it.
BUILD_SECONDS_MAX=1200

unavailable() { printf 'install-clients: %s is not brought: %s\n' "$client" "$*" >&2; exit 3; }
fail() { printf 'install-clients: %s cannot be installed: %s\n' "$client" "$*" >&2; exit 1; }
last_line() { grep -v '^[[:space:]]*$' "$log" | grep -v '^\(WARNING\|npm warn\|\[notice\]\)' | tail -n 1; }
npm_error() { grep '^npm error' "$log" | grep -v '^npm error \(code\|errno\|syscall\)' | head -n 1; }
bounded() { bounded_by "$SECONDS_MAX" "$@"; }
bounded_by() { timeout "$1" nice "${@:2}" >"$log" 2>&1; }

# $1: the packages, with their versions. What is there is only right if it was made from the same list.
bring_python() {
  local list=$1 pip
  command -v python3 >/dev/null || unavailable 'this machine has no python3.'
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || unavailable 'its packages need Python 3.11.'
  cmp -s "$list" "$target/requirements.txt" && return
  rm -rf "$target"
  bounded python3 -m venv "$target" || unavailable "python3 makes no environments here: $(last_line)"
  pip=("$target/bin/python" -m pip --disable-pip-version-check --no-input --retries 1 --timeout 30)
  if ! bounded "${pip[@]}" install --no-compile --requirement "$list"; then
    reason=$(last_line)
    bounded "${pip[@]}" download --no-deps --dest "$scratch" --requirement "$list" || unavailable "the package index does not offer it: $(last_line)"
    fail "$reason"
  fi
  cp "$list" "$target/requirements.txt"
}

bring_go() {
  command -v go >/dev/null || unavailable 'this machine has no Go.'
  export GOMODCACHE=$target/mod GOCACHE=$target/build GOTOOLCHAIN=local GOFLAGS='-mod=readonly -modcacherw' CGO_ENABLED=0
  for program in "$top"/test/clients/go/*/; do
    cd "$program"
    bounded go mod download || refused_module "what $(basename "$program") needs"
    bounded go build -p 2 -o "$target/bin/$(basename "$program")" . || fail "$(last_line)"
  done
}

# $1: a list of modules, their versions, the package of a program in each, and its name. Each is built as its authors build
# it: as the main module, by its own go.mod and go.sum. The provider is first: without it there is no use for the command.
bring_terraform() {
  local list=$1 module version package program
  command -v go >/dev/null || unavailable 'this machine has no Go.'
  cmp -s "$list" "$target/modules.txt" && return
  rm -rf "$target"
  mkdir -p "$target/bin"
  export GOMODCACHE=$target/mod GOCACHE=$target/build GOTOOLCHAIN=local GOFLAGS='-mod=readonly -modcacherw' CGO_ENABLED=0
  while read -r module version package program; do
    cd "$target"
    bounded go mod download "$module@$version" || refused_module "$module@$version"
    cd "$GOMODCACHE/$module@$version"
    # Lists, and so fetches, what the program needs of other modules.
    bounded go list -deps "$package" || refused_module "what $module@$version needs"
    bounded_by "$BUILD_SECONDS_MAX" go build -p 2 -ldflags '-s -w' -o "$target/bin/$program" "$package" || fail "$(last_line)"
  done <"$list"
  # Gigabytes, for versions that do not change.
  rm -rf "$target/mod" "$target/build"
  cp "$list" "$target/modules.txt"
}

# $1: what was asked for. Only what the proxy refuses or cannot be reached for is not here; a wrong checksum is a failure.
refused_module() {
  reason=$(grep -m 1 'reading ' "$log" || last_line)
  grep -qE 'SECURITY ERROR|checksum mismatch' "$log" && fail "$reason"
  unavailable "the module proxy does not offer $1: $reason"
}

bring_node() {
  local list=$top/test/clients/node
  command -v npm >/dev/null || unavailable 'this machine has no npm.'
  cmp -s "$list/package-lock.json" "$target/installed.json" && return
  rm -rf "$target"
  mkdir -p "$target"
  cp "$list/package.json" "$list/package-lock.json" "$target/"
  # Left alone, it tries a registry that nobody answers at for minutes.
  export npm_config_fetch_retries=1 npm_config_fetch_retry_mintimeout=1000 npm_config_fetch_timeout=30000
  if ! (cd "$target" && bounded npm ci --ignore-scripts --no-audit --no-fund); then
    reason=$(npm_error)
    bounded npm view @huaweicloud/huaweicloud-sdk-core version || unavailable "the package registry does not offer it: $(npm_error)"
    fail "$reason"
  fi
  cp "$list/package-lock.json" "$target/installed.json"
}

target=$cache/$client
mkdir -p "$cache"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
log=$scratch/log
# Two test files may ask for one client at the same time.
exec 9>"$cache/$client.lock"
flock 9
case $client in
  python) bring_python "$top/test/clients/python-sdk/requirements.txt" ;;
  openstack) bring_python "$top/test/clients/openstack/requirements.txt" ;;
  go) bring_go ;;
  node) bring_node ;;
  terraform) bring_terraform "$top/test/clients/terraform/modules.txt" ;;
  *) printf 'usage: install-clients.sh python|openstack|go|node|terraform\n' >&2; exit 2 ;;
esac
printf '%s\n' "$target"
