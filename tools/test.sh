#!/usr/bin/env bash
# Installs what is missing, builds and runs every test except those labelled slow.
#   tools/test.sh [--preset NAME] [--werror] [--build-only] [-- CTEST_ARGUMENTS...]
# Environment: DESCENT_DATA_DIR (folder with MNIST; without it the real-data tests say "skipped"), DESCENT_JOBS,
# DESCENT_CUDA_ARCHITECTURES (default: of the GPU that is here, else 90-real).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

preset=release werror=OFF build_only=no
while [ $# -gt 0 ]; do
  case $1 in
    --preset) preset=${2:?--preset needs a name}; shift ;;
    --werror) werror=ON ;;
    --build-only) build_only=yes ;;
    --help) sed -n '2,5s/^# \{0,1\}//p' "$0"; exit 0 ;;
    --) shift; break ;;
    *) echo "test.sh: unknown argument '$1' (see --help)" >&2; exit 1 ;;
  esac
  shift
done

jobs=${DESCENT_JOBS:-$(nproc)}
build=build/$preset
tools/deps.sh --install build test speed

generator=()
if [ ! -f "$build/CMakeCache.txt" ] && command -v ninja >/dev/null; then generator=(-G Ninja); fi
# Device code for the GPU that is here; on a machine without one (but with nvcc) for one architecture, to see it compile.
architectures=90-real
if [ "$preset" = simulated ]; then architectures=80-virtual; fi
if nvidia-smi -L >/dev/null 2>&1; then architectures=native; fi
cmake --preset "$preset" "${generator[@]}" -DDESCENT_BUILD_TESTS=ON -DDESCENT_WERROR=$werror \
  -DCMAKE_CUDA_ARCHITECTURES="${DESCENT_CUDA_ARCHITECTURES:-$architectures}"
cmake --build --preset "$preset" --parallel "$jobs"
[ $build_only = no ] || exit 0
[ -n "${DESCENT_DATA_DIR:-}" ] || echo "test.sh: DESCENT_DATA_DIR is not set: tests on real MNIST will be skipped"
ctest --preset "$preset" -j 2 "$@"
