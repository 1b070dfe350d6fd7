#!/usr/bin/env bash
# Builds, and runs every test except those labelled slow once for each SIMD level that this processor has.
#   tools/test_levels.sh [--preset NAME] [--werror] [LEVEL...] [-- CTEST_ARGUMENTS...]
# Levels: base, avx2, avx512; all by default. Environment: as of tools/test.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

preset=release levels=() build=()
while [ $# -gt 0 ]; do
  case $1 in
    --preset) preset=${2:?--preset needs a name}; shift ;;
    --werror) build+=(--werror) ;;
    --help) sed -n '2,4s/^# \{0,1\}//p' "$0"; exit 0 ;;
    --) shift; break ;;
    base | avx2 | avx512) levels+=("$1") ;;
    *) echo "test_levels.sh: unknown argument '$1' (see --help)" >&2; exit 1 ;;
  esac
  shift
done
[ ${#levels[@]} -gt 0 ] || levels=(base avx2 avx512)

DESCENT_SANITIZE_LEVELS=all tools/test.sh --preset "$preset" "${build[@]}" --build-only
failed=()
for level in "${levels[@]}"; do
  # A level that the processor lacks is lowered to the best one that it has.
  has=$(DESCENT_SIMD_LEVEL=$level "build/$preset/bin/descent" info --json | sed -n 's/.*"simd": *"\([a-z0-9]*\)".*/\1/p')
  if [ "$has" != "$level" ]; then
    echo "=== level $level: skipped, this processor (or build) has $has at best"
    continue
  fi
  echo "=== level $level"
  DESCENT_SIMD_LEVEL=$level ctest --preset "$preset" -j 2 -E '^level\.' "$@" || failed+=("$level")
done
if [ ${#failed[@]} -gt 0 ]; then
  echo "FAILED at: ${failed[*]}"
  exit 1
fi
