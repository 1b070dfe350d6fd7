# libdescent.so (or .a), and descent_internal: the same objects as an archive with all symbols visible, for the tests.
file(GLOB_RECURSE library_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/src/*.cpp")
list(FILTER library_sources EXCLUDE REGEX "/src/cuda/")
list(FILTER library_sources EXCLUDE REGEX "_simd\\.cpp$")
list(FILTER library_sources EXCLUDE REGEX "/src/core/backend\\.cpp$")

# Compile settings of every library object, also used by the SIMD levels and the CUDA backend.
add_library(descent_private INTERFACE)
target_include_directories(descent_private INTERFACE "${PROJECT_SOURCE_DIR}/include" "${PROJECT_SOURCE_DIR}/src")
target_link_libraries(descent_private INTERFACE descent_flags fmt::fmt nlohmann_json::nlohmann_json
                                                ZLIB::ZLIB PNG::PNG Threads::Threads)

add_library(descent_objects OBJECT ${library_sources})
set_target_properties(descent_objects PROPERTIES POSITION_INDEPENDENT_CODE ON)
# -O3 for the arithmetic; elsewhere -O2, which is half the code size and as fast.
target_compile_options(descent_objects PRIVATE -ffp-contract=off $<$<CONFIG:Release>:-O2>)
set(arithmetic_sources ${library_sources})
list(FILTER arithmetic_sources INCLUDE REGEX "/src/cpu/")
set(arithmetic_optimization "$<$<CONFIG:Release>:-O3>")
if(DESCENT_SANITIZE)  # the presets use -O0, for code that is slow to compile and rarely runs
  set(arithmetic_optimization -O1)
endif()
if(DESCENT_SANITIZE MATCHES "address")  # every test runs in this build
  target_compile_options(descent_objects PRIVATE -O1)
endif()
set_source_files_properties(${arithmetic_sources} PROPERTIES COMPILE_OPTIONS "${arithmetic_optimization}")
target_link_libraries(descent_objects PRIVATE descent_private)
descent_unity(descent_objects ${library_sources})
include(Simd)

# The only file that knows which backends exist; Cuda.cmake adds DESCENT_HAS_CUDA and the CUDA objects.
add_library(descent_devices OBJECT "${PROJECT_SOURCE_DIR}/src/core/backend.cpp")
set_target_properties(descent_devices PROPERTIES POSITION_INDEPENDENT_CODE ON)
target_link_libraries(descent_devices PRIVATE descent_private)

set(cpu_objects $<TARGET_OBJECTS:descent_objects> ${simd_objects})
set(library_objects ${cpu_objects} $<TARGET_OBJECTS:descent_devices>)

# tests/package builds the other kinds of library and its install layouts from existing objects.
if(DESCENT_OBJECTS)
  file(STRINGS "${DESCENT_OBJECTS}/library.txt" library_objects)
endif()
if(DEFINED BUILD_SHARED_LIBS AND NOT BUILD_SHARED_LIBS)
  set(library_type STATIC)
else()
  set(library_type SHARED)
endif()
add_library(descent ${library_type} ${library_objects})
add_library(descent::descent ALIAS descent)
set_target_properties(descent PROPERTIES VERSION ${PROJECT_VERSION} LINKER_LANGUAGE CXX
                                         SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR}
                                         INSTALL_RPATH_USE_LINK_PATH ON)  # for a CUDA Toolkit outside the system's path
target_compile_features(descent PUBLIC cxx_std_20)
target_include_directories(descent PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
                                          $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_link_libraries(descent PRIVATE $<BUILD_INTERFACE:descent_private>)
if(library_type STREQUAL "SHARED")
  # The version script keeps copies of std and fmt templates out of our exported symbols.
  set(version_script "${PROJECT_SOURCE_DIR}/cmake/exports.map")
  target_link_options(descent PRIVATE "-Wl,--version-script=${version_script}" -Wl,--exclude-libs,ALL)
  set_property(TARGET descent APPEND PROPERTY LINK_DEPENDS "${version_script}")
  if(NOT DESCENT_SANITIZE)
    target_link_options(descent PRIVATE -Wl,-z,defs)
  endif()
else()
  # Programs that link an installed libdescent.a link these too; descentConfig.cmake finds them.
  foreach(library fmt::fmt ZLIB::ZLIB PNG::PNG Threads::Threads)
    target_link_libraries(descent PRIVATE $<INSTALL_INTERFACE:${library}>)
  endforeach()
endif()

if(DESCENT_BUILD_TESTS OR DESCENT_BUILD_BENCH)
  add_library(descent_internal STATIC ${library_objects})
  set_target_properties(descent_internal PROPERTIES LINKER_LANGUAGE CXX)
  target_link_libraries(descent_internal PUBLIC descent_private)
endif()
