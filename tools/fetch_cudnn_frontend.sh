#!/usr/bin/env bash
# Fetches the headers of cudnn-frontend, which NVIDIA publishes in a Python wheel, into third_party/cudnn-frontend
# (ignored by git), where CMake finds them. The version and its checksum are written here and nowhere else.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

version=1.32.0
platform=manylinux_2_28_x86_64
sha256=c6006556017a4d1c914c52a556c71b1267f2d6a0500f742e7b4edef539878df0
target=third_party/cudnn-frontend

fail() { printf 'fetch_cudnn_frontend: %s\n' "$*" >&2; exit 1; }

if [ "$(cat $target/version 2>/dev/null || true)" = "$version" ] && [ -f $target/include/cudnn_frontend.h ]; then
  echo "cudnn-frontend $version is in $target"
  exit 0
fi
python=$(command -v python3) || fail "python3 is needed, with pip"
"$python" -m pip --version >/dev/null 2>&1 || fail "pip is needed; on Debian or Ubuntu: apt-get install python3-pip"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# The headers are the same in all wheels; the checksum is that of this one.
"$python" -m pip download --quiet --no-deps --only-binary=:all: --implementation cp --python-version 3.11 --abi cp311 \
  --platform $platform --dest "$work" "nvidia-cudnn-frontend==$version" || fail "pip could not download it"
wheel=$(echo "$work"/*.whl)
[ -f "$wheel" ] || fail "pip brought no wheel"
found=$(sha256sum "$wheel" | cut -d' ' -f1)
[ "$found" = "$sha256" ] || fail "checksum of $(basename "$wheel"): expected $sha256, found $found"

"$python" - "$wheel" "$work/out" <<'PYTHON'
import sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as wheel:
    wheel.extractall(sys.argv[2], [name for name in wheel.namelist()
                                   if name.startswith("include/") or "/licenses/" in name])
PYTHON
mkdir -p "$work/new"
mv "$work"/out/include "$work/new/include"
mv "$work"/out/*.dist-info/licenses "$work/new/licenses"
echo "$version" >"$work/new/version"
mkdir -p third_party
rm -rf $target
mv "$work/new" $target
echo "cudnn-frontend $version is in $target"
