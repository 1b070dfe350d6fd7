#!/usr/bin/env bash
# Installs what is missing, builds and runs every test except those labelled slow.
#   tools/test.sh [--preset NAME] [--werror] [--build-only] [-- CTEST_ARGUMENTS...]
# Without a GPU the CUDA backend is left to --preset simulated, which runs it on a simulated device.
# Environment: DESCENT_DATA_DIR (folder with MNIST; without it the real-data tests say "skipped"), DESCENT_JOBS,
# DESCENT_CUDA_ARCHITECTURES (default: of the GPU that is here, for the preset cuda without one 90-real),
# DESCENT_SANITIZE_LEVELS (all: the preset asan instruments every SIMD level, not only the one that runs).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

preset=release werror=OFF build_only=no
while [ $# -gt 0 ]; do
  case $1 in
    --preset) preset=${2:?--preset needs a name}; shift ;;
    --werror) werror=ON ;;
    --build-only) build_only=yes ;;
    --help) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 0 ;;
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
cuda=()
if [ -n "${DESCENT_CUDA_ARCHITECTURES:-}" ]; then
  cuda=("-DCMAKE_CUDA_ARCHITECTURES=$DESCENT_CUDA_ARCHITECTURES")
elif [ "$preset" != simulated ] && nvidia-smi -L >/dev/null 2>&1; then
  cuda=(-DCMAKE_CUDA_ARCHITECTURES=native)
elif [ "$preset" = cuda ]; then
  cuda=(-DCMAKE_CUDA_ARCHITECTURES=90-real)
fi
levels=()
if [ -n "${DESCENT_SANITIZE_LEVELS:-}" ]; then levels=("-DDESCENT_SANITIZE_LEVELS=$DESCENT_SANITIZE_LEVELS"); fi
if [ "$preset" = release ] || [ "$preset" = debug ]; then
  if [ ${#cuda[@]} -gt 0 ]; then
    cuda+=(-DDESCENT_CUDA=AUTO)
  else
    cuda=(-DDESCENT_CUDA=OFF)
    echo "test.sh: no GPU here, so the CUDA backend is left out; tools/test.sh --preset simulated tests it and needs only nvcc"
  fi
fi
# Paths relative to this folder let ccache reuse what another preset has compiled in the same way.
export CCACHE_BASEDIR=${CCACHE_BASEDIR-$PWD}
cmake --preset "$preset" "${generator[@]}" -DDESCENT_BUILD_TESTS=ON -DDESCENT_WERROR=$werror "${cuda[@]}" "${levels[@]}"
cmake --build --preset "$preset" --parallel "$jobs"
[ $build_only = no ] || exit 0
[ -n "${DESCENT_DATA_DIR:-}" ] || echo "test.sh: DESCENT_DATA_DIR is not set: tests on real MNIST will be skipped"
ctest --preset "$preset" -j 2 "$@"
