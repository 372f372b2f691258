# The host shim as libraries, and kernels compiled with it. Included by the top-level CMakeLists.txt.
#
#   CUSHIM_FOUND              true when CUDA's headers are installed; nvcc and a GPU are not needed
#   CUSHIM_FLAVOURS           flavours of this build: plain, and without a sanitizer also asan and race
#   cushim_library(NAME FLAVOUR SOURCE...)
#                             .cu files as host C++; link NAME into a program and the rest follows
#
# plain is compiled with the flags of the preset. In the asan preset it equals the flavour asan; under tsan
# it tells ThreadSanitizer about fibers. asan and race have flags of their own in every preset. A program
# links libraries of one flavour only.
set(CUSHIM_DIR ${CMAKE_CURRENT_LIST_DIR})
find_path(MAS_CUDA_INCLUDE cuda_fp16.h
  HINTS $ENV{CUDA_PATH}/include $ENV{CUDA_HOME}/include /usr/local/cuda/include /opt/cuda/include)
find_program(MAS_OBJCOPY objcopy)
set(CUSHIM_FOUND OFF)
set(CUSHIM_FLAVOURS)
if(MAS_CUDA_INCLUDE)
  set(CUSHIM_FOUND ON)
  set(CUSHIM_FLAVOURS plain)
  if(NOT MAS_SANITIZE)
    list(APPEND CUSHIM_FLAVOURS asan)
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND MAS_OBJCOPY) # the checker needs gcc's instrumentation
      list(APPEND CUSHIM_FLAVOURS race)
    endif()
  endif()
endif()

# no -Wshadow: C headers name functions like their structs
set(cushim_base -Wall -Wextra -Wpointer-arith -Wundef -ffp-contract=off -fno-math-errno
  -fno-omit-frame-pointer -Wno-unknown-pragmas)
if(MAS_WERROR)
  list(APPEND cushim_base -Werror)
endif()
set(cushim_san -fsanitize=address,undefined -fno-sanitize-recover=all)

# Replaces the directory's flags by those of a flavour.
function(cushim_flags target flavour kernels)
  target_compile_features(${target} PUBLIC cxx_std_17)
  if(flavour STREQUAL "asan")
    set_target_properties(${target} PROPERTIES COMPILE_OPTIONS "${cushim_base};-O1;-g;${cushim_san}" LINK_OPTIONS "")
  elseif(flavour STREQUAL "race")
    set_target_properties(${target} PROPERTIES COMPILE_OPTIONS "${cushim_base};-O2;-g;-DCUSHIM_RACE" LINK_OPTIONS "")
    if(kernels) # scalar replacement would move accesses to other lines, or remove them
      target_compile_options(${target} PRIVATE -O1 -fsanitize=thread -fno-tree-sra -fno-ipa-sra)
    endif()
  else()
    target_compile_options(${target} PRIVATE -Wno-shadow -Wno-unknown-pragmas)
  endif()
  target_include_directories(${target} SYSTEM PUBLIC ${MAS_CUDA_INCLUDE})
  target_include_directories(${target} PUBLIC ${CUSHIM_DIR} ${CMAKE_SOURCE_DIR}/kernels
    ${CMAKE_SOURCE_DIR}/kernels/core ${CMAKE_SOURCE_DIR}/kernels/quant ${CMAKE_SOURCE_DIR}/kernels/cuda)
endfunction()

foreach(flavour ${CUSHIM_FLAVOURS})
  set(lib cudashim_${flavour})
  file(GLOB cushim_src CONFIGURE_DEPENDS ${CUSHIM_DIR}/shim_*.cpp ${CUSHIM_DIR}/shim_*.S)
  if(NOT flavour STREQUAL "race")
    list(FILTER cushim_src EXCLUDE REGEX "shim_race\\.cpp$")
  endif()
  add_library(${lib} STATIC EXCLUDE_FROM_ALL ${cushim_src})
  cushim_flags(${lib} ${flavour} OFF)
  target_link_libraries(${lib} PUBLIC kernels Threads::Threads) # err.h, check.h
  if(flavour STREQUAL "asan")
    target_link_options(${lib} INTERFACE ${cushim_san})
  elseif(flavour STREQUAL "race") # the checker finds lines by an address in the program
    target_compile_definitions(${lib} PUBLIC CUSHIM_RACE)
  endif()
endforeach()

# The scheduler of fibers and the arithmetic of the matrix units run most often, and touch memory of the shim alone.
# An address from a kernel passes shared_holds first. So no sanitizer checks these files; their ABI stays the same.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  set_source_files_properties(${CUSHIM_DIR}/shim_sched.cpp ${CUSHIM_DIR}/shim_warp.cpp ${CUSHIM_DIR}/shim_wgmma.cpp PROPERTIES
    COMPILE_OPTIONS "-fno-sanitize=undefined;--param=asan-stack=0;--param=asan-instrument-reads=0;--param=asan-instrument-writes=0")
endif()

function(cushim_library name flavour)
  set_source_files_properties(${ARGN} PROPERTIES LANGUAGE CXX)
  if(flavour STREQUAL "race")
    # A call of memcpy that the compiler made of an access counts as that access.
    add_library(${name}_obj OBJECT EXCLUDE_FROM_ALL ${ARGN})
    cushim_flags(${name}_obj race ON)
    set(object ${CMAKE_CURRENT_BINARY_DIR}/${name}_race.o)
    add_custom_command(OUTPUT ${object} DEPENDS ${name}_obj $<TARGET_OBJECTS:${name}_obj>
      COMMAND ${CMAKE_LINKER} -r -o ${object} $<TARGET_OBJECTS:${name}_obj>
      COMMAND ${MAS_OBJCOPY} --redefine-sym memcpy=cushim_memcpy --redefine-sym memmove=cushim_memmove
        --redefine-sym memset=cushim_memset ${object}
      COMMAND_EXPAND_LISTS VERBATIM)
    add_library(${name} STATIC EXCLUDE_FROM_ALL ${object})
    set_source_files_properties(${object} PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
    set_target_properties(${name} PROPERTIES LINKER_LANGUAGE CXX)
  else()
    add_library(${name} STATIC EXCLUDE_FROM_ALL ${ARGN})
    cushim_flags(${name} ${flavour} ON)
  endif()
  target_link_libraries(${name} PUBLIC cudashim_${flavour})
endfunction()
