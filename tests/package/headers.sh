#!/usr/bin/env bash
# headers.sh INCLUDE_DIR COMPILER: public headers include only the standard library and each other, each compiles on its
# own without a warning, and descent.h includes them all.
set -euo pipefail
include=$1 compiler=$2
cd "$include"
foreign=$(grep -nE '^[[:space:]]*#[[:space:]]*include' descent/*.h | grep -vE '<[a-z_]+>|"descent/[a-z_]+\.h"' || true)
if [ -n "$foreign" ]; then
  echo "neither the standard library nor descent:"
  echo "$foreign"
  exit 1
fi
check() {
  "$compiler" -std=c++20 -fsyntax-only -Wall -Wextra -Wconversion -Werror -I. -x c++ - <<<"#include \"$1\"" ||
    { echo "$1 does not compile on its own"; exit 1; }
}
for header in descent/*.h; do
  check "$header"
  case $header in descent/descent.h | descent/version.h | descent/export.h) continue ;; esac
  if ! grep -q "#include \"$header\"" descent/descent.h; then
    echo "$header is not included by descent/descent.h"
    exit 1
  fi
done
headers=(descent/*.h)
echo "${#headers[@]} headers stand alone"
