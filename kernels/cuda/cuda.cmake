# The kernels, compiled twice from the same text; included at the top, since it may enable C++:
#   kernels_cuda      by nvcc for GPUs: backend "cuda". Needs nvcc; MAS_CUDA=OFF leaves it out.
#   kernels_cudahost  by the C++ compiler with the shim of tests/cudahost: backend "cudahost". Needs CUDA's
#                     headers. Other builds of it (sanitizers, races) are made by mas_cudahost where they are
#                     tested.
set(MAS_CUDA "AUTO" CACHE STRING "build the CUDA backend: AUTO (if nvcc is found), ON, OFF")
set(MAS_CUDAHOST "AUTO" CACHE STRING "run CUDA kernels on the host: AUTO (if CUDA's headers are found), ON, OFF")
set(MAS_CUDA_ARCHS "80;86;89;90" CACHE STRING "compute capabilities with machine code; the last one gets PTX too")
set(MAS_HAVE_CUDA 0)
set(MAS_HAVE_CUDAHOST 0)

include(CheckLanguage)
find_program(MAS_NVCC nvcc HINTS /usr/local/cuda/bin)
get_filename_component(cuda_root "${MAS_NVCC}" REALPATH)
get_filename_component(cuda_root "${cuda_root}" DIRECTORY)
get_filename_component(cuda_root "${cuda_root}" DIRECTORY)
find_path(MAS_CUDA_INCLUDE cuda_fp16.h HINTS ${cuda_root}/include /usr/local/cuda/include)
find_library(MAS_CUDART cudart_static HINTS ${cuda_root}/lib64 ${cuda_root}/lib)
check_language(CXX)

# mas_cuda_ready(out SWITCH what needs...): out = 1 when the switch is on and each need was found.
function(mas_cuda_ready out switch)
  set(missing)
  foreach(need ${ARGN})
    if(NOT ${need})
      list(APPEND missing ${need})
    endif()
  endforeach()
  string(REPLACE ";" ", " missing "${missing}")
  if(${switch} STREQUAL "OFF")
    set(${out}_SUMMARY "off (${switch}=OFF)" PARENT_SCOPE)
  elseif(missing AND ${switch} STREQUAL "ON")
    message(FATAL_ERROR "${switch}=ON, but not found: ${missing}; install the CUDA toolkit or use ${switch}=AUTO")
  elseif(missing)
    set(${out}_SUMMARY "off (not found: ${missing})" PARENT_SCOPE)
  else()
    set(${out} 1 PARENT_SCOPE)
  endif()
endfunction()
mas_cuda_ready(MAS_HAVE_CUDA MAS_CUDA MAS_NVCC MAS_CUDART CMAKE_CXX_COMPILER)
mas_cuda_ready(MAS_HAVE_CUDAHOST MAS_CUDAHOST MAS_CUDA_INCLUDE CMAKE_CXX_COMPILER)
if(MAS_HAVE_CUDA OR MAS_HAVE_CUDAHOST)
  set(CMAKE_CXX_STANDARD 17)
  set(CMAKE_CXX_STANDARD_REQUIRED ON)
  set(CMAKE_CXX_EXTENSIONS OFF)
  set(CMAKE_CXX_FLAGS_RELEASE "-O3 -g1")
  enable_language(CXX)
endif()

# ---- for GPUs -------------------------------------------------------------------------------------
if(MAS_HAVE_CUDA)
  # Warnings, spilled registers and local memory are errors; the figures are tools/nvcc_gate.sh's.
  set(nvcc_flags -std=c++17 -O3 -lineinfo -Xcompiler=-Wall,-ffp-contract=off,-fno-omit-frame-pointer
    -Xptxas=-warn-spills,-warn-lmem-usage,-Werror --Werror=all-warnings)
  foreach(dir kernels kernels/core kernels/quant kernels/cuda)
    list(APPEND nvcc_flags -I${CMAKE_SOURCE_DIR}/${dir})
  endforeach()
  foreach(arch ${MAS_CUDA_ARCHS})
    list(APPEND nvcc_flags -gencode=arch=compute_${arch},code=sm_${arch})
    set(newest ${arch})
  endforeach()
  list(APPEND nvcc_flags -gencode=arch=compute_${newest},code=compute_${newest})
  set(cuda_objects)
  mas_sources(cuda_src kernels/cuda/*.cu)
  file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/cuda)
  foreach(src ${cuda_src})
    get_filename_component(name ${src} NAME_WE)
    set(object ${CMAKE_BINARY_DIR}/cuda/${name}.cu.o)
    add_custom_command(OUTPUT ${object} DEPENDS ${src} DEPFILE ${object}.d VERBATIM
      COMMAND ${MAS_NVCC} ${nvcc_flags} -MD -MF ${object}.d -c ${src} -o ${object}
      COMMENT "nvcc ${name}.cu")
    list(APPEND cuda_objects ${object})
  endforeach()
  add_library(kernels_cuda STATIC ${cuda_objects})
  set_target_properties(kernels_cuda PROPERTIES LINKER_LANGUAGE CXX)
  # The static runtime looks for the driver when it is first called: the program starts without one.
  target_link_libraries(kernels_cuda PUBLIC kernels ${MAS_CUDART} Threads::Threads ${CMAKE_DL_LIBS} rt)
  string(REPLACE ";" " " archs "${MAS_CUDA_ARCHS}")
  set(MAS_HAVE_CUDA_SUMMARY "sm ${archs}, PTX ${newest}")
endif()

# ---- for the host ---------------------------------------------------------------------------------
# A library `target` with the kernels and the shim; further arguments are compiled and linked with it.
function(mas_cudahost target)
  mas_sources(cu kernels/cuda/*.cu)
  mas_sources(shim tests/cudahost/shim_*.cpp tests/cudahost/shim_*.S)
  set_source_files_properties(${cu} PROPERTIES LANGUAGE CXX COMPILE_OPTIONS "-xc++")
  add_library(${target} STATIC ${cu} ${shim} ${ARGN})
  target_include_directories(${target} PUBLIC ${CMAKE_SOURCE_DIR}/tests/cudahost PRIVATE ${CMAKE_SOURCE_DIR}/kernels/cuda)
  target_include_directories(${target} SYSTEM PRIVATE ${MAS_CUDA_INCLUDE})
  target_link_libraries(${target} PUBLIC kernels Threads::Threads)
endfunction()

if(MAS_HAVE_CUDAHOST)
  mas_cudahost(kernels_cudahost)
  set(MAS_HAVE_CUDAHOST_SUMMARY "on")
endif()
