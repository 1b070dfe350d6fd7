#!/usr/bin/env bash
# simd_symbols.sh LEVEL OBJECT...: code that is compiled once per SIMD level has internal linkage or is in the namespace
# of its level. A shared inline function would be a weak symbol, of which the linker keeps one for all: an AVX-512 copy of
# a std template crashes an older machine, and a copy with contracted multiply-adds changes results elsewhere.
set -euo pipefail
level=$1
shift
shared=$(nm -A --defined-only "$@" | awk '$2 ~ /^[WVuv]$/ || $3 ~ /^[WVuv]$/ {print $NF}' | c++filt | sort -u |
  grep -v "::$level::" | grep -v '^DW.ref.__gxx_personality' || true)
if [ -n "$shared" ]; then
  echo "shared symbols in objects compiled for $level:"
  echo "$shared"
  exit 1
fi
strong=$(nm --defined-only "$@" | awk '$2 == "T" {print $3}' | c++filt | grep -v "::$level::" || true)
if [ -n "$strong" ]; then
  echo "functions outside of a namespace $level:"
  echo "$strong"
  exit 1
fi
