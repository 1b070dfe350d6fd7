#!/usr/bin/env bash
# The one place that lists the distribution packages that descent needs, and installs those that are missing.
#   tools/deps.sh --list GROUP...      print package names      (groups: build test lint speed fetch fashion)
#   tools/deps.sh --install GROUP...   install what is missing; the group "speed" is optional and may fail
set -euo pipefail

# One line per need: group, what it is, packages (any of them will do; the first is the one installed).
needs() {
  cat <<'LIST'
build command:c++            g++
build command:cmake          cmake
build command:ninja          ninja-build
build command:pkg-config     pkg-config|pkgconf
build package                libfmt-dev
build package                nlohmann-json3-dev
build package                libcli11-dev
build package                zlib1g-dev
build package                libpng-dev
test  package                libgtest-dev
fetch command:curl,wget      curl
fetch package                ca-certificates
fashion package              dataset-fashion-mnist
lint  command:clang-format   clang-format
lint  command:clang-tidy     clang-tidy
speed command:ccache         ccache
LIST
}

say() { printf '%s\n' "deps: $*" >&2; }
fail() { say "$*"; exit 1; }

installed() { [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# Prints the packages of the groups given, only the missing ones when the first argument is "missing".
packages() {
  local which=$1; shift
  local group kind alternatives one have
  while read -r group kind alternatives; do
    [[ " $* " == *" $group "* ]] || continue
    if [ "$which" = missing ]; then
      have=no
      case $kind in
        command:*)
          kind=${kind#command:}
          for one in ${kind//,/ }; do if command -v "$one" >/dev/null; then have=yes; fi; done
          ;;
        *) for one in ${alternatives//|/ }; do if installed "$one"; then have=yes; fi; done ;;
      esac
      [ $have = no ] || continue
    fi
    printf '%s\n' "${alternatives%%|*}"
  done < <(needs)
}

apt() {
  local -a as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || return 90
    as_root=(sudo)
  fi
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q "$@" >>"$log" 2>&1
}

install() {
  if ! command -v apt-get >/dev/null; then
    say "there is no apt-get here; CMake will say what is missing. The Debian names: $(packages all "$@" | xargs)"
    return
  fi
  local -a missing
  mapfile -t missing < <(packages missing "$@")
  [ ${#missing[@]} -gt 0 ] || return 0
  say "missing: ${missing[*]}; installing with apt-get"
  local status=0
  log=$(mktemp)
  { apt update && apt install -y --no-install-recommends "${missing[@]}"; } || status=$?
  [ $status -ne 90 ] || say "neither root nor sudo here"
  [ $status -eq 0 ] || tail -n 15 "$log" >&2
  rm -f "$log"
  [ $status -eq 0 ] || fail "could not install them. As root: apt-get install ${missing[*]}"
}

check_cmake() {
  local version
  version=$(cmake --version | sed -n '1s/[^0-9]*\([0-9.]*\).*/\1/p')
  [ "$(printf '%s\n' 3.25 "$version" | sort -V | head -1)" = 3.25 ] ||
    fail "CMake $version is too old, 3.25 is needed (Debian 12, Ubuntu 24.04, or: pip install cmake)"
}

action=${1:-}
[ $# -gt 1 ] || { sed -n '2,4s/^# \{0,1\}//p' "$0" >&2; exit 1; }
shift
case $action in
  --list) packages all "$@" ;;
  --install)
    required=() optional=()
    for group in "$@"; do if [ "$group" = speed ]; then optional+=(speed); else required+=("$group"); fi; done
    if [ ${#required[@]} -gt 0 ]; then install "${required[@]}"; fi
    if [ ${#optional[@]} -gt 0 ]; then (install "${optional[@]}") || say "going on without"; fi
    if [[ " ${required[*]-} " == *" build "* ]]; then check_cmake; fi
    ;;
  *) fail "unknown action '$action', expected --list or --install" ;;
esac
