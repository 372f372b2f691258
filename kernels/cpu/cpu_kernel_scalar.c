/* cpu_kernel_scalar: the kernels without any instruction set extension: what runs everywhere. */
#include "body_common.h"

#include "body_plain.h"

const struct cpu_kernels cpu_kernels_scalar = {
    .isa = CPU_SCALAR,
    .tile = plain_tile,
    KERNELS_COMMON,
};
