#!/usr/bin/env bash
# layouts.sh CMAKE SOURCE COMPILER CONFIGURE_OPTION...: other ways to configure and install descent (libdescent.a,
# absolute CMAKE_INSTALL_*DIR, CMAKE_INSTALL_RPATH), each used by another project, found by find_package and by
# pkg-config. The option DESCENT_OBJECTS names objects that are already compiled.
set -euo pipefail
cmake=$1 source=$2 compiler=$3
shift 3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "layouts: $*"; exit 1; }
quietly() { "$@" >"$work/log" 2>&1 || { cat "$work/log"; fail "failed: $*"; }; }

make() { # NAME OPTION...: configures and links in $work/NAME
  quietly "$cmake" -S "$source" -B "$work/$1" "${options[@]}" "${@:2}"
  quietly "$cmake" --build "$work/$1" --target descent descent_cli
}
options=("$@")

# The program is compiled once and linked in every way.
"$compiler" -std=c++20 -O0 -I "$source/include" -c "$source/tests/consumer/xor.cpp" -o "$work/xor.o"
use() { # NAME FOLDER_OF_DESCENT.PC CMAKE_PREFIX_PATH
  export PKG_CONFIG_PATH=$2
  quietly "$cmake" -S "$source/tests/consumer" -B "$work/$1-consumer" -DCMAKE_PREFIX_PATH="$3" \
    -DCMAKE_CXX_COMPILER="$compiler" -DXOR="$work/xor.o"
  quietly "$cmake" --build "$work/$1-consumer"
  quietly "$work/$1-consumer/xor_cmake"
  quietly "$work/$1-consumer/xor_pkgconfig"
}
says() { # VARIABLE VALUE: what pkg-config reports for descent
  local said
  said=$(pkg-config --variable="$1" descent)
  [ "$(realpath "$said")" = "$(realpath "$2")" ] || fail "descent.pc: $1 is '$said', expected '$2'"
}

# A static library, headers in a separate directory, a requested rpath. Everything but the headers may move.
make static -DBUILD_SHARED_LIBS=OFF -DCMAKE_INSTALL_INCLUDEDIR="$work/headers" -DCMAKE_INSTALL_RPATH=/opt/asked/for
quietly "$cmake" --install "$work/static" --prefix "$work/first"
mv "$work/first" "$work/second"
pc=$(dirname "$(find "$work/second" -name descent.pc)")
[ -f "$pc/../libdescent.a" ] || fail "BUILD_SHARED_LIBS=OFF installed no libdescent.a"
[ -z "$(find "$work/second" -name 'libdescent.so*')" ] || fail "BUILD_SHARED_LIBS=OFF installed a shared library"
use static "$pc" "$work/second"
says includedir "$work/headers"
says libdir "$pc/.."
[ -f "$work/headers/descent/descent.h" ] || fail "no headers in CMAKE_INSTALL_INCLUDEDIR"
read -r -a libraries < <(pkg-config --libs descent)
"$compiler" "$work/xor.o" "${libraries[@]}" -o "$work/xor_static"
LD_LIBRARY_PATH=$(pkg-config --libs-only-L descent | sed 's/ *-L/:/g') quietly "$work/xor_static"
! ldd "$work/xor_static" | grep -q libdescent || fail "the program was linked with a shared libdescent"
quietly env -u LD_LIBRARY_PATH "$work/second/bin/descent" --version
grep -q /opt/asked/for <(readelf -d "$work/second/bin/descent") || fail "CMAKE_INSTALL_RPATH was not kept"

# A shared library and the command in absolute directories, the headers in the prefix.
make absolute -DCMAKE_INSTALL_PREFIX="$work/prefix" -DCMAKE_INSTALL_LIBDIR="$work/elsewhere/lib" \
  -DCMAKE_INSTALL_BINDIR="$work/programs"
if "$cmake" --install "$work/absolute" --prefix "$work/other" >"$work/log" 2>&1; then
  fail "an absolute CMAKE_INSTALL_LIBDIR was installed for another prefix, which its package files don't name"
fi
grep -q CMAKE_INSTALL_PREFIX "$work/log" || fail "another prefix was refused without saying what to do"
if [ -e "$work/other" ] || [ -e "$work/elsewhere" ]; then fail "something was installed before the prefix was refused"; fi
quietly "$cmake" --install "$work/absolute"
use absolute "$work/elsewhere/lib/pkgconfig" "$work/elsewhere"
says includedir "$work/prefix/include"
says libdir "$work/elsewhere/lib"
quietly "$work/programs/descent" --version
echo "static and absolute layouts work"
