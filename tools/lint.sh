#!/usr/bin/env bash
# Checks the layout of the source (clang-format) and runs a small set of clang-tidy checks over it.
#   tools/lint.sh format [--fix]          every C++ file
#   tools/lint.sh tidy [FILE...]          default: all of src and tools but src/cuda; only configures, in build/tidy
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cpp_files() { find "$@" \( -name '*.cpp' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh' \) -print 2>/dev/null | sort; }

case ${1:-} in
  format)
    mode=(--dry-run -Werror)
    [ "${2:-}" != --fix ] || mode=(-i)
    cpp_files include src tests tools bench examples | xargs -P "$(nproc)" -n 16 clang-format "${mode[@]}"
    ;;
  tidy)
    shift
    build=build/tidy
    # As in the unity build, the files of a folder are checked together, so that their headers are read once.
    unity=$([ $# -eq 0 ] && echo ON || echo OFF)
    cmake --preset debug -B $build -DDESCENT_BUILD_TESTS=OFF -DDESCENT_CUDA=OFF -DDESCENT_UNITY="$unity" >/dev/null
    if [ $# -eq 0 ]; then
      mapfile -t files < <(sed -n 's/^ *"file": "\(.*\)",\{0,1\}$/\1/p' $build/compile_commands.json | sort -u |
        grep -v -e '_simd\.cpp' -e '/examples/')
    else
      files=("$@")
    fi
    printf '%s\n' "${files[@]}" |
      xargs -P "$(nproc)" -n 1 clang-tidy --quiet --checks=-bugprone-suspicious-include -p "$build" 2> >(grep -v 'warnings generated' >&2 || true)
    ;;
  *) sed -n '2,4s/^# \{0,1\}//p' "$0" >&2; exit 1 ;;
esac
