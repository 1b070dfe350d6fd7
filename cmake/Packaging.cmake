# cmake --install: headers, library, command, the CMake package and the pkg-config file.
include(CMakePackageConfigHelpers)
set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/descent")

install(TARGETS descent EXPORT descentTargets LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}")
if(TARGET descent_cli)
  install(TARGETS descent_cli RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
endif()
install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/descent" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
        FILES_MATCHING PATTERN "*.h")
install(EXPORT descentTargets NAMESPACE descent:: DESTINATION "${package_dir}")

configure_package_config_file(cmake/descentConfig.cmake.in "${PROJECT_BINARY_DIR}/descentConfig.cmake"
                              INSTALL_DESTINATION "${package_dir}")
write_basic_package_version_file("${PROJECT_BINARY_DIR}/descentConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/descentConfig.cmake" "${PROJECT_BINARY_DIR}/descentConfigVersion.cmake"
        DESTINATION "${package_dir}")

# The pkg-config file finds its prefix from its own place, so an installed tree can be moved.
file(RELATIVE_PATH pkgconfig_to_prefix "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
configure_file(cmake/descent.pc.in "${PROJECT_BINARY_DIR}/descent.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/descent.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
