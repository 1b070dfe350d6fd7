#!/usr/bin/env bash
# The README's C++ example is the one that is compiled and run, and the files that it links to exist.
#   readme.sh SOURCE_DIR
set -euo pipefail
cd "$1"
if ! diff <(sed -n '/^```cpp$/,/^```$/p' README.md | sed '1d;$d') examples/train_digits.cpp; then
  echo "README.md: its C++ example differs from examples/train_digits.cpp" >&2
  exit 1
fi
status=0
while read -r target; do
  [ -e "$target" ] || { echo "README.md: links $target, which is not there" >&2; status=1; }
done < <(grep -o '](\([^)#:]*\))' README.md | sed 's/^](//; s/)$//')
exit $status
