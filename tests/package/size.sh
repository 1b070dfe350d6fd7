#!/usr/bin/env bash
# size.sh LIBRARY MIB: the library, as built, is smaller than MIB: 5 for the CPU alone, 20 with CUDA for one architecture.
set -euo pipefail
bytes=$(stat -Lc %s "$1")
echo "$1: $bytes bytes, limit $(($2 << 20))"
[ "$bytes" -lt $(($2 << 20)) ]
