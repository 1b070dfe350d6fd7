#!/usr/bin/env bash
# Builds for 64-bit ARM with Debian's cross compiler and runs a part of the tests, and a short training, under qemu-user:
# what can be told without such a machine. Slow (emulated), so not a part of .ci/run.
#   tools/test_aarch64.sh [--werror] [--build-only] [PROGRAM...]
# PROGRAM: test programs, by default those of matrix products, convolutions, normalization, elementwise, threads, files and
# training. Environment: DESCENT_JOBS. Installs g++-aarch64-linux-gnu and qemu-user; the other :arm64 packages are
# unpacked into build/aarch64-packages, so nothing else on this machine changes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

werror=OFF build_only=no programs=()
while [ $# -gt 0 ]; do
  case $1 in
    --werror) werror=ON ;;
    --build-only) build_only=yes ;;
    --help) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 0 ;;
    -*) echo "test_aarch64.sh: unknown option '$1' (see --help)" >&2; exit 1 ;;
    *) programs+=("$1") ;;
  esac
  shift
done
if [ ${#programs[@]} -eq 0 ]; then
  programs=(gemm_fast_test conv_fast_test pool_test norm_test elementwise_test reduce_test random_test optim_kernels_test
    thread_pool_test error_test io_safetensors_test io_checkpoint_test io_module_test io_json_test io_png_test data_idx_test
    model_json_test trainer_test resume_test)
fi

build=build/aarch64 packages=$PWD/build/aarch64-packages
tools/deps.sh --install build test speed aarch64
tools/deps.sh --unpack arm64 "$packages" build test
generator=()
if [ ! -f "$build/CMakeCache.txt" ] && command -v ninja >/dev/null; then generator=(-G Ninja); fi
cmake --preset release -B "$build" "${generator[@]}" --toolchain cmake/toolchains/aarch64-linux-gnu.cmake \
  -DDESCENT_SYSROOT="$packages" -DDESCENT_CUDA=OFF -DDESCENT_BUILD_BENCH=OFF -DDESCENT_WERROR=$werror
cmake --build "$build" --parallel "${DESCENT_JOBS:-$(nproc)}" --target descent_cli "${programs[@]}"
[ $build_only = no ] || exit 0

qemu=$(command -v qemu-aarch64 || command -v qemu-aarch64-static)
emulated() { "$qemu" -L /usr/aarch64-linux-gnu "$@"; }
# qemu-user can't fork a process that has threads.
filter='-*Slow*:ThreadPool.WorksAfterForkAndExitsCleanly:ThreadPool.ReadsTheEnvironment'
failed=()
for program in "${programs[@]}"; do
  echo "=== $program"
  emulated "$build/tests/$program" --gtest_brief=1 --gtest_filter="$filter" || failed+=("$program")
done

# The command from start to end: the same bits for any number of threads, and a model that has learned.
runs=$(mktemp -d)
trap 'rm -rf "$runs"' EXIT
sums=()
for threads in 1 3; do
  echo "=== descent train, $threads threads"
  if emulated "$build/bin/descent" train --model lenet5 --data synthetic --limit-train 1000 --limit-test 200 --epochs 2 --batch-size 20 \
    --seed 1 --threads $threads --quiet --out "$runs/$threads"; then
    sums+=("$(sha256sum <"$runs/$threads/model.safetensors")")
  else
    failed+=("descent train")
  fi
done
[ "${sums[0]-none}" = "${sums[1]-missing}" ] || failed+=("the same bits for any number of threads")
accuracy=$(emulated "$build/bin/descent" eval --model "$runs/1/model.safetensors" --data synthetic --limit-test 500 --json |
  grep -o '"accuracy": *[0-9.]*' | head -1 | grep -o '[0-9.]*$')
echo "accuracy $accuracy"
awk -v accuracy="$accuracy" 'BEGIN { exit !(accuracy > 0.7) }' || failed+=("accuracy")

if [ ${#failed[@]} -gt 0 ]; then
  printf 'FAILED: %s\n' "${failed[@]}"
  exit 1
fi
echo "aarch64: all passed"
