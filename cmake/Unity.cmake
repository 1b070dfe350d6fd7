# With DESCENT_UNITY the files of a directory are compiled together, for targets of many files that are mostly headers.
# The debug build and clang-tidy compile each on its own, so a file that relies on another's includes is found.
function(descent_unity target)
  if(NOT DESCENT_UNITY)
    return()
  endif()
  foreach(source ${ARGN})
    get_filename_component(folder "${source}" DIRECTORY)
    file(RELATIVE_PATH group "${PROJECT_SOURCE_DIR}" "${folder}")
    # The arithmetic has flags of its own; the planner in sequential.cpp shares names with other files on purpose.
    if(NOT group MATCHES "^src/cpu" AND NOT source MATCHES "/sequential\\.cpp$")
      string(MAKE_C_IDENTIFIER "${group}" group)
      set_source_files_properties("${source}" PROPERTIES UNITY_GROUP ${group})
    endif()
  endforeach()
  set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_MODE GROUP)
endfunction()
