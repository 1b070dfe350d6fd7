# The libraries that we depend on, all from the distribution. None of them appears in a public header.
# Debian and Ubuntu package names are in tools/deps.sh.
find_package(Threads REQUIRED)
find_package(PkgConfig)

function(descent_need found what package)
  if(NOT ${found})
    message(FATAL_ERROR "${what} was not found. On Debian or Ubuntu: apt-get install ${package}  "
                        "(all packages: tools/deps.sh --list)")
  endif()
endfunction()

find_package(fmt QUIET)
descent_need(fmt_FOUND "fmt" libfmt-dev)
find_package(nlohmann_json QUIET)
descent_need(nlohmann_json_FOUND "nlohmann-json" nlohmann-json3-dev)
find_package(CLI11 QUIET)
descent_need(CLI11_FOUND "CLI11" libcli11-dev)
find_package(ZLIB QUIET)
descent_need(ZLIB_FOUND "zlib" zlib1g-dev)
find_package(PNG QUIET)
descent_need(PNG_FOUND "libpng" libpng-dev)

if(DESCENT_BUILD_TESTS)
  find_package(GTest QUIET)
  descent_need(GTest_FOUND "GoogleTest" libgtest-dev)
endif()
