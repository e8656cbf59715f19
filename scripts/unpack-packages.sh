# Sourced by the scripts that bring a server for the tests from the packages of the Debian release that this machine
# runs. What the machine lacks is downloaded and unpacked into a folder of the cache; nothing is installed into the
# system, nothing is started, and no privileges are needed. apt does the fetching and checks the signatures, with
# the machine's own sources.
#
# Who sources it defines `fail REASON`, which says why nothing can be brought and ends with 1.

# Reads the release's lists of packages into a scratch folder below a cache. Sets `work` (gone at the end of the script)
# and `apt_options`, with which apt's commands look there.
open_apt() {
  local cache=$1
  command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || fail 'this machine has no apt-get or dpkg-deb'
  mkdir -p "$cache"
  work=$(mktemp -d "$cache/.bring.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  mkdir -p "$work"/{lists/partial,archives/partial,root}
  apt_options=(
    -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work" -o "Dir::Cache::archives=$work/archives"
    -o Acquire::Languages=none -o Acquire::Retries=2 -o Acquire::http::Timeout=30 -o Acquire::https::Timeout=30
    -o Debug::NoLocking=1 -o APT::Install-Recommends=0
  )
  # apt as root gives its downloads to an unprivileged user, who may not enter our directory.
  [ "$(id -u)" -ne 0 ] || apt_options+=(-o APT::Sandbox::User=root)
  apt-get -qq "${apt_options[@]}" update >"$work/log" 2>&1 || fail "$(apt_reason)"
}

# Unpacks packages, and what they need and the machine lacks, into CACHE/root. `holds ROOT` says whether it is whole.
unpack_packages() {
  local cache=$1 holds=$2 archive
  shift 2
  apt-get -qq -y "${apt_options[@]}" --download-only install "$@" >"$work/log" 2>&1 || fail "$(apt_reason)"
  for archive in "$work"/archives/*.deb; do
    dpkg-deb -x "$archive" "$work/root" >"$work/log" 2>&1 || fail "$(tail -n 1 "$work/log")"
  done
  "$holds" "$work/root" || fail 'the packages do not have it'
  # A server may run as another user where root starts it, and that user has to get here.
  chmod 755 "$work/root"
  # Renamed into place whole; whoever came first at the same time has the same files.
  mv -T "$work/root" "$cache/root" 2>/dev/null || "$holds" "$cache/root" || fail "cannot write to $cache"
}

apt_reason() { grep -m 1 '^[EW]:' "$work/log" || tail -n 1 "$work/log"; }
