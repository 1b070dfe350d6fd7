#!/usr/bin/env bash
# The one place that lists the distribution packages that descent needs, and installs those that are missing.
#   tools/deps.sh --list GROUP...      print package names      (groups: build test lint speed fetch fashion aarch64)
#   tools/deps.sh --install GROUP...   install what is missing; the group "speed" is optional and may fail
#   tools/deps.sh --unpack ARCHITECTURE DIR GROUP...   the libraries of another architecture into DIR, for cross compiling
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
aarch64 command:aarch64-linux-gnu-g++           g++-aarch64-linux-gnu
aarch64 command:qemu-aarch64,qemu-aarch64-static qemu-user|qemu-user-static
LIST
}

say() { printf '%s\n' "deps: $*" >&2; }
fail() { say "$*"; exit 1; }

installed() { [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# Prints the packages of the groups given: all of them, the missing ones, or the libraries, as the first argument says.
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
    if [ "$which" = libraries ] && [ "$kind" != package ]; then continue; fi
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

# --unpack replaces folders called usr and lib, so DIR must not be a folder with other content.
made_by_us() { # DIR
  [ -z "$(ls -A "$1")" ] || [ -f "$1/unpacked" ] || grep -qs 'of the cross compiler' "$1/apt/status"
}

# Unpacks the libraries of the groups and their dependencies for another architecture. apt uses its own lists, in
# DIR/apt, so neither the packages of this machine nor dpkg's architectures change; the C and C++ libraries come with
# the cross compiler and are marked as installed.
unpack() { # ARCHITECTURE DIR GROUP...
  local architecture=$1 name link dir archive
  command -v apt-get >/dev/null || fail "there is no apt-get here to fetch the packages of $architecture with"
  mkdir -p "$2"
  dir=$(cd "$2" && pwd)
  made_by_us "$dir" || fail "$dir holds something else: --unpack needs a folder that is new, empty, or of an earlier --unpack"
  shift 2
  local -a wanted options
  mapfile -t wanted < <(packages libraries "$@")
  if [ "$(cat "$dir/unpacked" 2>/dev/null)" = "${wanted[*]}" ]; then return; fi
  say "fetching for $architecture: ${wanted[*]}"
  echo incomplete >"$dir/unpacked" # if this is interrupted, DIR is recognized as ours and fetched again
  rm -rf "${dir:?}"/{apt,usr,lib,etc}
  mkdir -p "$dir"/apt/{lists,archives}/partial
  for name in libc6 libc6-dev libgcc-s1 libstdc++6; do
    printf 'Package: %s\nStatus: install ok installed\nArchitecture: %s\nMulti-Arch: same\nMaintainer: none\nVersion: 999:1\n' \
      "$name" "$architecture"
    printf 'Description: of the cross compiler\n\n'
  done >"$dir/apt/status"
  options=(-q -o APT::Architecture="$architecture" -o APT::Architectures="$architecture" -o APT::Sandbox::User=
    -o Dir::State="$dir/apt" -o Dir::State::status="$dir/apt/status" -o Dir::Cache="$dir/apt" -o Debug::NoLocking=1)
  log=$(mktemp)
  { apt-get "${options[@]}" update && apt-get "${options[@]}" install -y --no-install-recommends --download-only "${wanted[@]}"; } \
    >"$log" 2>&1 || { tail -n 15 "$log" >&2; rm -f "$log"; fail "could not fetch them"; }
  rm -f "$log"
  for archive in "$dir"/apt/archives/*.deb; do dpkg-deb -x "$archive" "$dir"; done
  # Move everything to usr/lib, as on a system with merged folders, and make absolute links point into DIR.
  if [ -d "$dir/lib" ]; then
    cp -a "$dir/lib/." "$dir/usr/lib/"
    rm -r "${dir:?}/lib"
  fi
  while read -r link; do
    name=$(readlink "$link")
    name=${name#/usr}
    ln -sfn "$dir/usr$name" "$link"
  done < <(find "$dir/usr" -type l -lname '/*')
  rm -rf "$dir/apt"
  echo "${wanted[*]}" >"$dir/unpacked"
}

check_cmake() {
  local version
  version=$(cmake --version | sed -n '1s/[^0-9]*\([0-9.]*\).*/\1/p')
  [ "$(printf '%s\n' 3.25 "$version" | sort -V | head -1)" = 3.25 ] ||
    fail "CMake $version is too old, 3.25 is needed (Debian 12, Ubuntu 24.04, or: pip install cmake)"
}

action=${1:-}
[ $# -gt 1 ] || { sed -n '2,5s/^# \{0,1\}//p' "$0" >&2; exit 1; }
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
  --unpack) [ $# -gt 2 ] || fail "--unpack needs an architecture, a folder and groups"; unpack "$@" ;;
  *) fail "unknown action '$action', expected --list, --install or --unpack" ;;
esac
