#!/usr/bin/env bash
# Checks the CUDA backend on a machine with an NVIDIA GPU: tests, compute-sanitizer, training and benchmarks on the CPU and
# the GPU, and a comparison with PyTorch if it is installed. Needs no network. Writes at most 8 files into OUTDIR:
# results.json, summary.md and logs of the stages. Exit code 0 if every stage passed or was skipped.
#   tools/gpu_check.sh OUTDIR [--prebuilt DIR] [--build DIR] [--seconds N] [--only STAGE,...] [--dry-run]
#   tools/gpu_check.sh --pack DIR [--build DIR]
# --only takes stages of: device, products, tests, sanitizers, training, bench, torch. --seconds (530) is for all of them together:
# when they run out, sanitizers and torch are skipped, and any other stage has not passed. --dry-run says what would run.
# --pack DIR writes DIR/gpu_check.tar.xz: programs, tests and the libraries they need but CUDA's own, for --prebuilt on a
# machine that has neither GoogleTest nor the rest. --build DIR takes that build folder instead of making one; with
# build/simulated the check is rehearsed on the simulated device, with as little work as shows that it works.
# Environment: DESCENT_DATA_DIR (folder with MNIST; without it training takes synthetic digits), DESCENT_JOBS,
# DESCENT_ARCHITECTURES (of what is built; default: the GPU that is here, for --pack 90-real).
set -euo pipefail
source=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

usage() { sed -n '5,14s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }
fail() { echo "gpu_check: $*" >&2; exit 1; }
begin=$SECONDS

out='' prebuilt='' pack='' build='' seconds=530 pass=() dry=no
while [ $# -gt 0 ]; do
  case $1 in
    --prebuilt) prebuilt=${2:?--prebuilt needs a folder}; shift ;;
    --pack) pack=${2:?--pack needs a folder}; shift ;;
    --build) build=${2:?--build needs a folder}; shift ;;
    --seconds) seconds=${2:?--seconds needs a number}; shift ;;
    --only) pass+=(--only "${2:?--only needs stages}"); shift ;;
    --dry-run) dry=yes pass+=(--dry-run) ;;
    --help | -h) usage; exit 0 ;;
    -*) fail "unknown option '$1' (see --help)" ;;
    *) [ -z "$out" ] || fail "one OUTDIR, found also '$1'"; out=$1 ;;
  esac
  shift
done
[ -n "$out$pack" ] || { usage >&2; exit 1; }
case $seconds in '' | *[!0-9]*) fail "--seconds: found '$seconds', expected a whole number" ;; esac
seconds=$((10#$seconds))
[ -z "$out" ] || [ ! -e "$out" ] || [ -d "$out" ] || fail "$out is not a folder"
[ -z "$out" ] || [ ! -e "$out/config.json" ] || fail "$out holds a training run; name another folder"
if [ -n "$prebuilt" ] && [ ! -f "$prebuilt/gpu_check.tar.xz" ] && [ ! -x "$prebuilt/bin/descent" ]; then
  fail "--prebuilt: $prebuilt holds neither gpu_check.tar.xz nor bin/descent; --pack makes it"
fi
[ -z "$build" ] || [ -x "$build/bin/descent" ] || fail "--build: $build/bin/descent is not there"
python=$(command -v python3) || fail "python3 is needed"

# The command and all tests except those for the simulated device and one that needs cuDNN but no device.
targets() {
  printf '%s\n' descent_cli cublaslt_probe
  find "$source/tests" -maxdepth 1 -name '*_test.cpp' -not -name 'device_*' -not -name 'cudnn_engines_*' -printf '%f\n' | sed 's/\.cpp$//'
  find "$source/tests/kernels" -name '*_test.cpp' -printf '%f\n' | sed -n 's/_test\.cpp$/_gpu/p'
}

build_all() { # ARCHITECTURES SECONDS: into $build
  local generator=()
  local -a wanted
  mapfile -t wanted < <(targets)
  build=$source/build/gpu-check
  if [ ! -f "$build/CMakeCache.txt" ] && command -v ninja >/dev/null; then generator=(-G Ninja); fi
  (cd "$source" && cmake --preset cuda -B "$build" "${generator[@]}" -DCMAKE_CUDA_ARCHITECTURES="$1" \
    -DDESCENT_BUILD_TESTS=ON -DDESCENT_GPU_TESTS=ON -DDESCENT_BUILD_BENCH=OFF)
  timeout "$2" cmake --build "$build" --parallel "${DESCENT_JOBS:-$(nproc)}" --target "${wanted[@]}"
}

# The test programs to pack: not those that expect the command or files where they were built.
programs_of() { # TREE
  find "$1/tests" -maxdepth 2 -type f -perm -u+x -not -path '*/CMakeFiles/*' -not -name '*.*' \
    -not -name 'cli_*' -not -name torch_test -not -name model_json_test -not -name io_safetensors_test | sort
}

# The shared libraries of the given programs, except the C library, which must be the machine's own, and CUDA's.
libraries_of() {
  ldd "$@" 2>/dev/null | awk '$2 == "=>" && $3 ~ /^\// {print $1, $3}' | sort -u | while read -r name path; do
    case $name in
      libc.so* | libm.so* | libpthread.so* | libdl.so* | librt.so* | libresolv.so* | ld-linux*) ;;
      libcuda.so* | libcudart.so* | libcublas*.so* | libcudnn*.so* | libnvrtc*.so* | libnv*.so* | libdescent.so*) ;;
      *) echo "$name $path" ;;
    esac
  done
}

pack_tree() { # DIR
  local name path to
  local -a programs
  mapfile -t programs < <(programs_of "$build")
  tree=$(mktemp -d)  # not local: the trap runs after this function has returned
  trap 'rm -rf "$tree"' EXIT
  mkdir -p "$tree"/{bin,lib,tests/kernels,deps/system,tools,bench} "$1"
  cp "$build/bin/descent" "$build/bin/cublaslt_probe" "$tree/bin/"
  cp -P "$build"/lib/libdescent.so* "$tree/lib/"
  for path in "${programs[@]}"; do
    to=$tree/tests
    case $path in */tests/kernels/*) to=$tree/tests/kernels ;; esac
    cp "$path" "$to/"
  done
  while read -r name path; do
    to=$tree/deps
    case $name in libstdc++.so* | libgcc_s.so*) to=$tree/deps/system ;; esac
    cp -L "$path" "$to/$name"
  done < <(libraries_of "$build/bin/descent" "$build/bin/cublaslt_probe" "$build/lib/libdescent.so" "${programs[@]}")
  find "$tree/bin" "$tree/lib" "$tree/tests" "$tree/deps" -type f -exec strip --strip-unneeded {} +
  cp -r "$source/tools/gpu_check" "$source/tools/gpu_check.sh" "$tree/tools/"
  cp "$source"/bench/*.py "$tree/bench/"
  find "$tree" -name __pycache__ -prune -exec rm -rf {} +
  # Every test program contains the same library, so the size of the dictionary matters most: preset 9 takes ten times
  # as long for a twelfth less. A single thread, because each thread would have its own dictionary.
  tar -C "$tree" --sort=name -cf - . | xz --lzma2=preset=1,dict=128MiB -T1 >"$1/gpu_check.tar.xz"
  echo "$1/gpu_check.tar.xz: $(stat -c %s "$1/gpu_check.tar.xz") bytes, $(du -sb "$tree" | cut -f1) unpacked," \
    "${#programs[@]} test programs"
  [ "$(stat -c %s "$1/gpu_check.tar.xz")" -lt $((60 << 20)) ] || fail "the packed tree is larger than 60 MiB"
}

if [ -n "$pack" ]; then
  [ -n "$build" ] || build_all "${DESCENT_ARCHITECTURES:-90-real}" 7200
  pack_tree "$pack"
  exit 0
fi

if [ -n "$prebuilt" ] && [ -f "$prebuilt/gpu_check.tar.xz" ] && [ ! -x "$prebuilt/bin/descent" ]; then
  unpacked=$(mktemp -d)
  trap 'rm -rf "$unpacked"' EXIT
  "$python" -c 'import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2])' "$prebuilt/gpu_check.tar.xz" "$unpacked"
  prebuilt=$unpacked source=$unpacked
fi
tree=${prebuilt:-$build}
# Without a device there is nothing to build for; the check itself reports that.
if [ -z "$tree" ] && [ $dry = no ] && nvidia-smi -L 2>/dev/null | grep -q GPU; then
  mkdir -p "$out"
  build_all "${DESCENT_ARCHITECTURES:-native}" $((seconds / 2)) >"$out/build.log" 2>&1 || {
    tail -n 30 "$out/build.log" >&2
    fail "the build failed or took longer than $((seconds / 2)) s: $out/build.log"
  }
  rm "$out/build.log"
fi
: "${tree:=$source/build/gpu-check}"
"$python" "$source/tools/gpu_check/check.py" --out "$out" --tree "$tree" --source "$source" \
  --seconds $((seconds - (SECONDS - begin))) "${pass[@]}"
