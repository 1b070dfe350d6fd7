# The command `descent`: public headers plus CLI11, JSON and fmt; nothing from src/.
file(GLOB command_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/tools/*.cpp"
                                            "${PROJECT_SOURCE_DIR}/tools/commands/*.cpp")
if(command_sources)
  add_executable(descent_cli ${command_sources})
  set_target_properties(descent_cli PROPERTIES OUTPUT_NAME descent
                                               INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}")
  target_include_directories(descent_cli PRIVATE "${PROJECT_SOURCE_DIR}/tools")
  target_compile_options(descent_cli PRIVATE $<$<CONFIG:Release>:-O1>)
  descent_unity(descent_cli ${command_sources})
  target_link_libraries(descent_cli PRIVATE descent descent_flags fmt::fmt nlohmann_json::nlohmann_json CLI11::CLI11
                                            Threads::Threads)
endif()
