# cmake --install: headers, library, command, the CMake package and the pkg-config file.
include(CMakePackageConfigHelpers)
set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/descent")

# With an absolute directory the package files contain the prefix; installing to another one would be wrong.
if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}" OR IS_ABSOLUTE "${CMAKE_INSTALL_BINDIR}")
  install(CODE "
    if(NOT CMAKE_INSTALL_PREFIX STREQUAL \"${CMAKE_INSTALL_PREFIX}\")
      message(FATAL_ERROR \"descent was configured with an absolute CMAKE_INSTALL_LIBDIR or CMAKE_INSTALL_BINDIR and for the \"
        \"prefix ${CMAKE_INSTALL_PREFIX}; for another one configure with -DCMAKE_INSTALL_PREFIX=\${CMAKE_INSTALL_PREFIX}\")
    endif()")
endif()

install(TARGETS descent EXPORT descentTargets LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}"
                                              ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}")
if(TARGET descent_cli)
  install(TARGETS descent_cli RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
endif()
install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/descent" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
        FILES_MATCHING PATTERN "*.h")
install(EXPORT descentTargets NAMESPACE descent:: DESTINATION "${package_dir}")

# What a program that links libdescent.a needs in addition. `Requires` rather than `Requires.private`: there is no
# libdescent.so to pull them in, so they are needed without --static too.
function(descent_link_flags flags)  # appends -L and -l for the files: as file names they would come too early
  foreach(file ${ARGN})
    get_filename_component(dir "${file}" DIRECTORY)
    get_filename_component(name "${file}" NAME)
    string(REGEX REPLACE "^lib(.*)\\.(so|a)$" "\\1" name "${name}")
    if(name MATCHES "^lib")  # libcudnn.so.9
      set(name ":${name}")
    endif()
    string(APPEND ${flags} " -L\"${dir}\" -l${name}")
  endforeach()
  set(${flags} "${${flags}}" PARENT_SCOPE)
endfunction()
set(package_dependencies "")
set(pkgconfig_requires "")
set(pkgconfig_libs "")
if(library_type STREQUAL "STATIC")
  foreach(package Threads fmt ZLIB PNG)
    string(APPEND package_dependencies "find_dependency(${package})\n")
  endforeach()
  set(pkgconfig_requires "Requires: fmt libpng zlib\n")
  set(pkgconfig_libs "-pthread")
  if(DESCENT_CUDA_ENABLED)
    string(APPEND package_dependencies "find_dependency(CUDAToolkit)\n")
    string(APPEND pkgconfig_libs " -L\"${CUDAToolkit_LIBRARY_DIR}\" -lcudart_static -lcublas -lcublasLt -lrt -ldl")
    if(DESCENT_CUDNN_ENABLED)
      descent_link_flags(pkgconfig_libs "${CUDNN_LIBRARY}")
      string(APPEND pkgconfig_libs " -lnvrtc")
    endif()
  endif()
endif()

configure_package_config_file(cmake/descentConfig.cmake.in "${PROJECT_BINARY_DIR}/descentConfig.cmake"
                              INSTALL_DESTINATION "${package_dir}")
write_basic_package_version_file("${PROJECT_BINARY_DIR}/descentConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/descentConfig.cmake" "${PROJECT_BINARY_DIR}/descentConfigVersion.cmake"
        DESTINATION "${package_dir}")

# The pkg-config file derives its prefix from its own location (unless absolute), so an installed tree can be moved.
if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}")
  set(pkgconfig_prefix "${CMAKE_INSTALL_PREFIX}")
else()
  file(RELATIVE_PATH pkgconfig_prefix "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
  string(REGEX REPLACE "/$" "" pkgconfig_prefix "\${pcfiledir}/${pkgconfig_prefix}")
endif()
foreach(kind LIB INCLUDE)
  string(TOLOWER "pkgconfig_${kind}dir" variable)
  set(${variable} "${CMAKE_INSTALL_${kind}DIR}")
  if(NOT IS_ABSOLUTE "${${variable}}")
    set(${variable} "\${prefix}/${${variable}}")
  endif()
endforeach()
configure_file(cmake/descent.pc.in "${PROJECT_BINARY_DIR}/descent.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/descent.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
