#!/usr/bin/env bash
# retired_words.sh SOURCE_DIR: nothing uses an identifier or a phrase of retired_words.txt.
set -euo pipefail
cd "$1"
list=tests/package/retired_words.txt
patterns=$(grep -vE '^(#|$)' "$list")
found=$(grep -rnwE --include='*' --exclude='retired_words*' --exclude-dir=results -f <(printf '%s\n' "$patterns") \
  include src tests tools bench docs examples cmake README.md CMakeLists.txt || true)
if [ -n "$found" ]; then
  echo "retired words (tests/package/retired_words.txt has the list):"
  head -n 40 <<<"$found"
  exit 1
fi
