# Cross compiling for 64-bit ARM with Debian's g++-aarch64-linux-gnu, which brings the C and the C++ library.
# DESCENT_SYSROOT is a folder with the other :arm64 packages, unpacked (tools/deps.sh --unpack arm64 DIR build test).
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)

# Compiler checks configure projects of their own, which read this file again.
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES DESCENT_SYSROOT)
set(CMAKE_FIND_ROOT_PATH "${DESCENT_SYSROOT}" /usr/aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
set(ENV{PKG_CONFIG_DIR} "")
set(ENV{PKG_CONFIG_LIBDIR} "${DESCENT_SYSROOT}/usr/lib/aarch64-linux-gnu/pkgconfig")
set(ENV{PKG_CONFIG_SYSROOT_DIR} "${DESCENT_SYSROOT}")

# Runs what was built: the tests are listed and run through it.
find_program(DESCENT_QEMU NAMES qemu-aarch64 qemu-aarch64-static)
if(DESCENT_QEMU)
  set(CMAKE_CROSSCOMPILING_EMULATOR "${DESCENT_QEMU};-L;/usr/aarch64-linux-gnu")
endif()
