#!/usr/bin/env bash
# tools/deps.sh --unpack removes usr, lib, etc and apt from its folder, but only if the folder is new, empty or its own. A
# failing apt-get replaces the real one, so nothing is fetched and every accepted folder ends with "could not fetch".
set -euo pipefail
source_dir=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/bin"
printf '#!/bin/sh\nexit 1\n' >"$work/bin/apt-get"
chmod +x "$work/bin/apt-get"

unpack() { # DIR EXPECTED
  local said
  said=$(PATH="$work/bin:$PATH" "$source_dir/tools/deps.sh" --unpack arm64 "$1" build 2>&1) && { echo "accepted: $said"; exit 1; }
  [[ $said == *"$2"* ]] || { echo "$1: expected '$2', got: $said"; exit 1; }
}

for part in usr lib etc apt; do
  mkdir -p "$work/mine/$part"
  echo precious >"$work/mine/$part/file"
done
echo 'Description: of my packages' >"$work/mine/apt/status"
unpack "$work/mine" 'holds something else'
for part in usr lib etc apt; do
  [ "$(cat "$work/mine/$part/file")" = precious ] || { echo "$part was touched"; exit 1; }
done

mkdir "$work/empty"
unpack "$work/empty" 'could not fetch'
unpack "$work/empty" 'could not fetch' # what deps.sh left there is its own
unpack "$work/new" 'could not fetch'
mkdir -p "$work/complete/usr/lib" "$work/interrupted/apt"
echo other packages >"$work/complete/unpacked"
unpack "$work/complete" 'could not fetch'
echo 'Description: of the cross compiler' >"$work/interrupted/apt/status"
unpack "$work/interrupted" 'could not fetch'
