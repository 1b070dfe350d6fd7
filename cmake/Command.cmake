# The command `descent`: uses the public headers, CLI11, JSON and fmt; nothing from src/.
file(GLOB command_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/tools/*.cpp"
                                            "${PROJECT_SOURCE_DIR}/tools/commands/*.cpp")
if(NOT DESCENT_SIMULATED)
  list(FILTER command_sources EXCLUDE REGEX "/bench_simulated\\.cpp$")
endif()
if(DESCENT_OBJECTS)
  file(STRINGS "${DESCENT_OBJECTS}/command.txt" command_sources)
endif()
if(command_sources)
  add_executable(descent_cli ${command_sources})
  set_target_properties(descent_cli PROPERTIES OUTPUT_NAME descent LINKER_LANGUAGE CXX)
  if(library_type STREQUAL "STATIC")  # for what libdescent.so would find, CUDA's libraries included
    set_target_properties(descent_cli PROPERTIES INSTALL_RPATH_USE_LINK_PATH ON)
  endif()
  # The installed command finds the library relative to its own location, so that the tree can be moved, unless one of
  # the two directories is absolute. A CMAKE_INSTALL_RPATH that is set is used unchanged.
  if(NOT DEFINED CMAKE_INSTALL_RPATH)
    if(IS_ABSOLUTE "${CMAKE_INSTALL_BINDIR}" OR IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}")
      set(command_rpath "${CMAKE_INSTALL_FULL_LIBDIR}")
    else()
      file(RELATIVE_PATH command_rpath "/${CMAKE_INSTALL_BINDIR}" "/${CMAKE_INSTALL_LIBDIR}")
      set(command_rpath "$ORIGIN/${command_rpath}")
    endif()
    set_target_properties(descent_cli PROPERTIES INSTALL_RPATH "${command_rpath}")
  endif()
  target_include_directories(descent_cli PRIVATE "${PROJECT_SOURCE_DIR}/tools")
  target_compile_options(descent_cli PRIVATE $<$<CONFIG:Release>:-O1>)
  descent_unity(descent_cli ${command_sources})
  if(DESCENT_UNITY)  # most of each file's compile time is spent in these headers
    target_precompile_headers(descent_cli PRIVATE <CLI/CLI.hpp> <nlohmann/json.hpp> <fmt/format.h>
                                                  "${PROJECT_SOURCE_DIR}/include/descent/descent.h")
  endif()
  target_link_libraries(descent_cli PRIVATE descent descent_flags descent_command_checks fmt::fmt
                                            nlohmann_json::nlohmann_json CLI11::CLI11 Threads::Threads)
  if(DESCENT_SIMULATED)
    target_compile_definitions(descent_cli PRIVATE DESCENT_SIMULATED)
    target_link_libraries(descent_cli PRIVATE simulated_cuda)
  endif()
endif()
