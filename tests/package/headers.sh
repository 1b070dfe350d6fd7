#!/usr/bin/env bash
# headers.sh INCLUDE_DIR COMPILER: public headers include only the standard library and each other, each compiles on its
# own without a warning, and descent.h includes them all. Compiling without the options they need gives a clear error.
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
# The first error is descent's own and says what to do: refused MESSAGE SOURCE OPTION...
how=-E
refused() {
  local message=$1 source=$2 said
  shift 2
  said=$("$compiler" -std=c++20 "$how" -I. "$@" -x c++ - <<<"$source" 2>&1 >/dev/null) &&
    { echo "compiles with $*: $source"; exit 1; }
  if ! grep -m1 -E '(^|[ :])error:' <<<"$said" | grep -qF "$message"; then
    echo "with $*, $source: the first error does not say '$message':"
    head -n 5 <<<"$said"
    exit 1
  fi
}
for header in descent/*.h; do
  [ "$header" = descent/version.h ] || refused 'compile without -fno-rtti' "#include \"$header\"" -fno-rtti
done
all='#include "descent/descent.h"'
refused 'compile without -fno-exceptions' "$all" -fno-exceptions
refused 'compile with -std=c++20' "$all" -std=c++17
refused 'only 64-bit' "$all" -U__SIZEOF_POINTER__ -D__SIZEOF_POINTER__=4
refused 'only little-endian' "$all" -U__BYTE_ORDER__ -D__BYTE_ORDER__=__ORDER_BIG_ENDIAN__
refused '_GLIBCXX_DEBUG changes std::vector' "$all" -D_GLIBCXX_DEBUG
refused '_GLIBCXX_USE_CXX11_ABI=0 changes std::string' "$all" -D_GLIBCXX_USE_CXX11_ABI=0
how=-fsyntax-only refused 'close the #pragma pack' '#include <string>
#pragma pack(push, 1)
#include "descent/export.h"'
# -fshort-enums changes an enum without an explicit underlying type; `enum class` always has one.
unscoped=$(grep -nE '\benum[[:space:]]+[^c]|\benum[[:space:]]*\{' descent/*.h || true)
if [ -n "$unscoped" ]; then
  echo "an enum that -fshort-enums changes:"
  echo "$unscoped"
  exit 1
fi
headers=(descent/*.h)
echo "${#headers[@]} headers stand alone"
