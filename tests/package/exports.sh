#!/usr/bin/env bash
# exports.sh LIBRARY: only names of namespace descent are exported, and programs can catch the classes of error.h.
set -euo pipefail
library=$1
mangled=$(nm -D --defined-only "$library" | awk '{print $3}')
names=$(c++filt <<<"$mangled")
foreign=$(grep -vE '^_Z(T[ISVT]|GV|Thn?[0-9]+_)?N[KRO]*7descent' <<<"$mangled" || true)
if [ -n "$foreign" ]; then
  echo "exported, but not of namespace descent:"
  c++filt <<<"$foreign"
  exit 1
fi
# Names that are internal to the library are not exported.
inner=$(grep -E 'descent::(cpu|gpu)::' <<<"$names" || true)
if [ -n "$inner" ]; then
  echo "a backend's inside is exported:"
  echo "$inner"
  exit 1
fi
for error in Error InvalidArgument FormatError IoError DeviceError OutOfMemory NumericalError; do
  if ! grep -qx "typeinfo for descent::$error" <<<"$names"; then
    echo "typeinfo for descent::$error is not exported: a user could not catch it"
    exit 1
  fi
done
echo "$(wc -l <<<"$mangled") exported symbols, all of namespace descent"
