# Benchmarks: one program per file in bench/. They may use internals of the library, so they link its archive.
file(GLOB bench_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/bench/*.cpp")
foreach(source ${bench_sources})
  get_filename_component(name "${source}" NAME_WE)
  add_executable(${name} "${source}")
  target_link_libraries(${name} PRIVATE descent_internal ${CMAKE_DL_LIBS})
endforeach()
