# cuDNN and its C++ front end (headers only), for the CUDA backend's convolutions: AUTO uses them if both are found, ON
# requires them, OFF omits them. Sets DESCENT_CUDNN_ENABLED, cudnn_summary, and the target descent_cudnn (empty when
# off). Searched: CUDNN_ROOT and CUDNN_FRONTEND_ROOT (CMake or environment variables), the CUDA Toolkit, the system,
# Python's nvidia-cudnn wheels, and third_party/cudnn-frontend, where tools/fetch_cudnn_frontend.sh puts the front end.
set(DESCENT_CUDNN AUTO CACHE STRING "Use cuDNN in the CUDA backend: AUTO, ON or OFF")
set_property(CACHE DESCENT_CUDNN PROPERTY STRINGS AUTO ON OFF)
set(DESCENT_CUDNN_ENABLED OFF)
add_library(descent_cudnn INTERFACE)
add_library(cudnn_library INTERFACE)  # the library itself, which the simulated device replaces

# Python's site directories: wheels install nvidia/cudnn/{include,lib} and, for the front end, include/ there.
function(descent_python_site out)
  set(${out} "" PARENT_SCOPE)
  find_program(DESCENT_PYTHON NAMES python3 python)
  mark_as_advanced(DESCENT_PYTHON)
  if(DESCENT_PYTHON)
    execute_process(COMMAND "${DESCENT_PYTHON}" -c "import site, sysconfig
paths = {sysconfig.get_path('purelib'), sysconfig.get_path('platlib'), site.getusersitepackages(), *site.getsitepackages()}
print(';'.join(sorted(paths)))" OUTPUT_VARIABLE paths OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
    if(NOT failed)
      set(${out} "${paths}" PARENT_SCOPE)
    endif()
  endif()
endfunction()

# The number after `#define NAME` in the file.
function(descent_version_part out file name)
  file(STRINGS "${file}" line REGEX "^#define +${name} +[0-9]+" LIMIT_COUNT 1)
  string(REGEX REPLACE ".* ([0-9]+).*" "\\1" number "${line}")
  set(${out} "${number}" PARENT_SCOPE)
endfunction()

if(NOT DESCENT_CUDNN STREQUAL "OFF")
  find_package(CUDAToolkit QUIET)
  descent_python_site(cudnn_sites)
  set(cudnn_wheels "")
  set(cudnn_frontend_wheels "")
  foreach(site IN LISTS cudnn_sites)
    list(APPEND cudnn_wheels "${site}/nvidia/cudnn")
    list(APPEND cudnn_frontend_wheels "${site}/include")
  endforeach()
  set(cudnn_hints "${CUDNN_ROOT}" "$ENV{CUDNN_ROOT}")
  set(cudnn_frontend_hints "${CUDNN_FRONTEND_ROOT}" "$ENV{CUDNN_FRONTEND_ROOT}"
                           "${PROJECT_SOURCE_DIR}/third_party/cudnn-frontend")
  # CUDA's own directories take precedence over wheels; a wheel has the library under its versioned name only.
  find_path(CUDNN_INCLUDE_DIR cudnn.h HINTS ${cudnn_hints} ${CUDAToolkit_INCLUDE_DIRS} PATHS ${cudnn_wheels}
            PATH_SUFFIXES include)
  find_library(CUDNN_LIBRARY NAMES cudnn libcudnn.so.9 HINTS ${cudnn_hints} ${CUDAToolkit_LIBRARY_DIR}
               PATHS ${cudnn_wheels} PATH_SUFFIXES lib64 lib)
  find_path(CUDNN_FRONTEND_INCLUDE_DIR cudnn_frontend.h HINTS ${cudnn_frontend_hints} ${CUDAToolkit_INCLUDE_DIRS}
            PATHS ${cudnn_frontend_wheels} PATH_SUFFIXES include)
  mark_as_advanced(CUDNN_INCLUDE_DIR CUDNN_LIBRARY CUDNN_FRONTEND_INCLUDE_DIR)
endif()

set(cudnn_missing "")
if(DESCENT_CUDNN STREQUAL "OFF")
  set(cudnn_missing "turn on with -DDESCENT_CUDNN=AUTO")
elseif(NOT CUDNN_INCLUDE_DIR OR NOT (CUDNN_LIBRARY OR DESCENT_SIMULATED))
  set(cudnn_missing "cuDNN 9 not found: install NVIDIA's package cudnn9-cuda or the wheel nvidia-cudnn-cu${CUDAToolkit_VERSION_MAJOR}, or set CUDNN_ROOT")
elseif(NOT CUDNN_FRONTEND_INCLUDE_DIR)
  set(cudnn_missing "cudnn_frontend.h not found: run tools/fetch_cudnn_frontend.sh, or set CUDNN_FRONTEND_ROOT")
else()
  foreach(part MAJOR MINOR PATCHLEVEL)
    descent_version_part(cudnn_${part} "${CUDNN_INCLUDE_DIR}/cudnn_version.h" CUDNN_${part})
  endforeach()
  foreach(part MAJOR MINOR PATCH)
    descent_version_part(cudnn_frontend_${part} "${CUDNN_FRONTEND_INCLUDE_DIR}/cudnn_frontend_version.h"
                         CUDNN_FRONTEND_${part}_VERSION)
  endforeach()
  set(CUDNN_VERSION "${cudnn_MAJOR}.${cudnn_MINOR}.${cudnn_PATCHLEVEL}")
  set(CUDNN_FRONTEND_VERSION "${cudnn_frontend_MAJOR}.${cudnn_frontend_MINOR}.${cudnn_frontend_PATCH}")
  if(CUDNN_VERSION VERSION_LESS 9)
    set(cudnn_missing "cuDNN ${CUDNN_VERSION} in ${CUDNN_INCLUDE_DIR} is too old: 9 is needed; set CUDNN_ROOT")
  elseif(CUDNN_FRONTEND_VERSION VERSION_LESS 1.31)  # since 1.31 a captured graph keeps alive what it runs
    set(cudnn_missing "cudnn-frontend ${CUDNN_FRONTEND_VERSION} in ${CUDNN_FRONTEND_INCLUDE_DIR} is too old: run tools/fetch_cudnn_frontend.sh and set CUDNN_FRONTEND_ROOT to third_party/cudnn-frontend")
  endif()
endif()

if(cudnn_missing)
  set(cudnn_summary "off  ${cudnn_missing}")
  if(DESCENT_CUDNN STREQUAL "ON")
    message(FATAL_ERROR "DESCENT_CUDNN=ON, but ${cudnn_missing}.")
  endif()
else()
  set(DESCENT_CUDNN_ENABLED ON)
  set(cudnn_summary "on   ${CUDNN_VERSION}, ${CUDNN_LIBRARY}; front end ${CUDNN_FRONTEND_VERSION}")
  target_include_directories(descent_cudnn SYSTEM INTERFACE "${CUDNN_INCLUDE_DIR}" "${CUDNN_FRONTEND_INCLUDE_DIR}")
  # The front end refers to NVRTC for its own kernels, which we don't use; cuDNN itself loads NVRTC at run time.
  if(CUDNN_LIBRARY)
    target_link_libraries(cudnn_library INTERFACE "${CUDNN_LIBRARY}" $<TARGET_NAME_IF_EXISTS:CUDA::nvrtc> ${CMAKE_DL_LIBS})
  endif()
  # The front end needs JSON only to save plans, which we don't do.
  target_compile_definitions(descent_cudnn INTERFACE DESCENT_HAS_CUDNN=1 CUDNN_FRONTEND_SKIP_JSON_LIB)
endif()
