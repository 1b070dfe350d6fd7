# Finds OpenBLAS with its CBLAS header: OPENBLAS_LIBRARY, OPENBLAS_INCLUDE_DIR, OPENBLAS_FLAVOUR, target descent_blas.
# Debian keeps the flavours (serial, pthread, openmp) side by side in openblas-FLAVOUR/ folders.
set(openblas_libdirs)
set(openblas_incdirs)
foreach(flavour serial pthread openmp)
  foreach(root /usr/lib /usr/lib64 /usr/local/lib)
    list(APPEND openblas_libdirs "${root}/${CMAKE_LIBRARY_ARCHITECTURE}/openblas-${flavour}")
  endforeach()
  list(APPEND openblas_incdirs "/usr/include/${CMAKE_LIBRARY_ARCHITECTURE}/openblas-${flavour}")
endforeach()
if(PkgConfig_FOUND)
  pkg_check_modules(PC_OPENBLAS QUIET openblas)
endif()

# CMAKE_PREFIX_PATH and OPENBLAS_ROOT come first, as everywhere in CMake; then the flavours in our order.
find_library(OPENBLAS_LIBRARY NAMES openblas HINTS $ENV{OPENBLAS_ROOT}/lib PATHS ${openblas_libdirs}
             NO_CMAKE_SYSTEM_PATH NO_CMAKE_ENVIRONMENT_PATH NO_SYSTEM_ENVIRONMENT_PATH)
find_library(OPENBLAS_LIBRARY NAMES openblas openblasp openblaso HINTS ${PC_OPENBLAS_LIBRARY_DIRS})

if(OPENBLAS_LIBRARY)
  string(REGEX MATCH "openblas-(serial|pthread|openmp)" _ "${OPENBLAS_LIBRARY}")
  set(OPENBLAS_FLAVOUR "${CMAKE_MATCH_1}")
  if(NOT OPENBLAS_FLAVOUR)
    get_filename_component(openblas_real "${OPENBLAS_LIBRARY}" REALPATH)
    string(REGEX MATCH "openblas-(serial|pthread|openmp)" _ "${openblas_real}")
    set(OPENBLAS_FLAVOUR "${CMAKE_MATCH_1}")
  endif()
  if(NOT OPENBLAS_FLAVOUR)
    set(OPENBLAS_FLAVOUR "unknown flavour")
  endif()
  find_path(OPENBLAS_INCLUDE_DIR cblas.h
            HINTS "/usr/include/${CMAKE_LIBRARY_ARCHITECTURE}/openblas-${OPENBLAS_FLAVOUR}" ${PC_OPENBLAS_INCLUDE_DIRS}
                  ${openblas_incdirs} PATH_SUFFIXES openblas)
  if(NOT OPENBLAS_INCLUDE_DIR)
    message(FATAL_ERROR "OpenBLAS was found (${OPENBLAS_LIBRARY}) but its header cblas.h was not. "
                        "On Debian or Ubuntu: apt-get install libopenblas-serial-dev")
  endif()
  add_library(descent_blas INTERFACE)
  target_include_directories(descent_blas SYSTEM INTERFACE "${OPENBLAS_INCLUDE_DIR}")
  target_link_libraries(descent_blas INTERFACE "${OPENBLAS_LIBRARY}")
endif()
mark_as_advanced(OPENBLAS_LIBRARY OPENBLAS_INCLUDE_DIR)
