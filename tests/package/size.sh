#!/usr/bin/env bash
# size.sh LIBRARY: the library, as built, stays below 5 MiB.
set -euo pipefail
bytes=$(stat -Lc %s "$1")
echo "$1: $bytes bytes, limit $((5 << 20))"
[ "$bytes" -lt $((5 << 20)) ]
