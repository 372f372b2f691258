# The kernels, compiled twice from the same text:
#   kernels_cuda      by nvcc for GPUs: backend "cuda". Needs nvcc; MAS_CUDA=OFF leaves it out.
#   kernels_cudahost  by the C++ compiler with the shim of tests/cudahost: backend "cudahost". Needs CUDA's
#                     headers; MAS_CUDAHOST=OFF leaves it out.
# Included at the top after the library `kernels` and the shim.
set(MAS_CUDA "AUTO" CACHE STRING "build the CUDA backend: AUTO (if nvcc is found), ON, OFF")
set(MAS_CUDAHOST "AUTO" CACHE STRING "run CUDA kernels on the host: AUTO (if CUDA's headers are found), ON, OFF")
find_program(MAS_NVCC nvcc HINTS /usr/local/cuda/bin)
set(cuda_archs 80 86 89 90)
if(MAS_NVCC)
  execute_process(COMMAND ${MAS_NVCC} --list-gpu-arch OUTPUT_VARIABLE cuda_known)
  if(cuda_known MATCHES "compute_120\n")
    list(APPEND cuda_archs 120)
  endif()
endif()
set(MAS_CUDA_ARCHS "${cuda_archs}" CACHE STRING "compute capabilities with machine code; the first one gets PTX too")
get_filename_component(cuda_root "${MAS_NVCC}" REALPATH)
get_filename_component(cuda_root "${cuda_root}" DIRECTORY)
get_filename_component(cuda_root "${cuda_root}" DIRECTORY)
find_library(MAS_CUDART cudart_static HINTS ${cuda_root}/lib64 ${cuda_root}/lib)

# mas_ready(OUT SWITCH NEED...): OUT = 1 when the switch is not OFF and every need was found.
function(mas_ready out switch)
  set(missing)
  foreach(need ${ARGN})
    if(NOT ${need})
      list(APPEND missing ${need})
    endif()
  endforeach()
  string(REPLACE ";" ", " missing "${missing}")
  set(${out} 0 PARENT_SCOPE)
  if(${switch} STREQUAL "OFF")
    set(${out}_SUMMARY "off (${switch}=OFF)" PARENT_SCOPE)
  elseif(missing AND ${switch} STREQUAL "ON")
    message(FATAL_ERROR "${switch}=ON, but not found: ${missing}; install the CUDA toolkit or use ${switch}=AUTO")
  elseif(missing)
    set(${out}_SUMMARY "off (not found: ${missing})" PARENT_SCOPE)
  else()
    set(${out} 1 PARENT_SCOPE)
    set(${out}_SUMMARY "on" PARENT_SCOPE)
  endif()
endfunction()
mas_ready(MAS_HAVE_CUDA MAS_CUDA MAS_NVCC MAS_CUDART)
mas_ready(MAS_HAVE_CUDAHOST MAS_CUDAHOST MAS_CUDA_INCLUDE)
target_compile_definitions(kernels PRIVATE MAS_HAVE_CUDA=${MAS_HAVE_CUDA} MAS_HAVE_CUDAHOST=${MAS_HAVE_CUDAHOST})
mas_sources(cuda_src kernels/cuda/*.cu)

if(MAS_HAVE_CUDA)
  # Warnings, spilled registers and local memory are errors; the figures are tools/scripts/nvcc_gate.sh's. Machine code
  # for every architecture comes from one PTX, that of the oldest.
  list(GET MAS_CUDA_ARCHS 0 oldest)
  list(TRANSFORM MAS_CUDA_ARCHS PREPEND sm_ OUTPUT_VARIABLE code)
  string(REPLACE ";" "," code "${code}")
  set(MAS_NVCC_FLAGS -std=c++17 -O3 -lineinfo -gencode=arch=compute_${oldest},code=[${code},compute_${oldest}]
    -Xcompiler=-Wall,-ffp-contract=off,-fno-omit-frame-pointer
    -Xptxas=-warn-spills,-warn-lmem-usage,-Werror --Werror=all-warnings)
  # Files of kernels for Hopper alone, *_wgmma.cu, need the features of sm_90a.
  set(MAS_NVCC_HOPPER ${MAS_NVCC_FLAGS})
  if("90" IN_LIST MAS_CUDA_ARCHS)
    list(TRANSFORM MAS_NVCC_HOPPER REPLACE "^-gencode=.*" "-gencode=arch=compute_90a,code=sm_90a")
    list(APPEND MAS_NVCC_HOPPER -DMAS_SM90A)
  endif()
  foreach(dir kernels kernels/core kernels/quant kernels/cuda)
    list(APPEND MAS_NVCC_FLAGS -I${CMAKE_SOURCE_DIR}/${dir})
    list(APPEND MAS_NVCC_HOPPER -I${CMAKE_SOURCE_DIR}/${dir})
  endforeach()
  file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/cuda)
  set(cuda_objects)
  foreach(src ${cuda_src})
    get_filename_component(name ${src} NAME_WE)
    set(object ${CMAKE_BINARY_DIR}/cuda/${name}.cu.o)
    set(flags ${MAS_NVCC_FLAGS})
    if(name MATCHES "_wgmma$")
      set(flags ${MAS_NVCC_HOPPER})
    endif()
    add_custom_command(OUTPUT ${object} DEPENDS ${src} DEPFILE ${object}.d VERBATIM
      COMMAND ${MAS_NVCC} ${flags} -MD -MF ${object}.d -c ${src} -o ${object}
      COMMENT "nvcc ${name}.cu")
    list(APPEND cuda_objects ${object})
  endforeach()
  add_library(kernels_cuda STATIC ${cuda_objects})
  set_target_properties(kernels_cuda PROPERTIES LINKER_LANGUAGE CXX)
  # The static runtime looks for the driver when it is first called: the program starts without one.
  target_link_libraries(kernels_cuda PUBLIC kernels ${MAS_CUDART} Threads::Threads ${CMAKE_DL_LIBS} rt)
  # static and mutual, each calls the other; LINK_ONLY: nobody above sees CUDA's headers
  target_link_libraries(kernels INTERFACE $<LINK_ONLY:kernels_cuda>)
  set(MAS_HAVE_CUDA_SUMMARY "on (${code})")
endif()

if(MAS_HAVE_CUDAHOST)
  cushim_library(kernels_cudahost plain ${cuda_src})
  target_link_libraries(kernels INTERFACE $<LINK_ONLY:kernels_cudahost>)
endif()
