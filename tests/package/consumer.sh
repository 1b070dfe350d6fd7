#!/usr/bin/env bash
# consumer.sh CMAKE BUILD PROJECT COMPILER VERSION FLAGS: installs the build into a temporary prefix, moves it elsewhere
# (to a name with a space), and builds and runs another project against it, found by find_package and by pkg-config.
set -euo pipefail
cmake=$1 build=$2 project=$3 compiler=$4 version=$5 flags=$6
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

DESTDIR='' "$cmake" --install "$build" --prefix "$work/first" >"$work/install.log" || { cat "$work/install.log"; exit 1; }
prefix="$work/a prefix"
mv "$work/first" "$prefix" # an installed tree must be relocatable
if [ -x "$prefix/bin/descent" ]; then
  said=$("$prefix/bin/descent" --version)
  case $said in *"$version"*) ;; *) echo "descent --version says '$said', expected $version"; exit 1 ;; esac
fi

export PKG_CONFIG_PATH
PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name descent.pc)")
[ "$(pkg-config --modversion descent)" = "$version" ]
"$cmake" -S "$project" -B "$work/build" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_CXX_COMPILER="$compiler" \
  -DCMAKE_CXX_FLAGS="$flags" -DCMAKE_BUILD_TYPE=Release
"$cmake" --build "$work/build"
"$work/build/xor_cmake"
"$work/build/xor_pkgconfig"
