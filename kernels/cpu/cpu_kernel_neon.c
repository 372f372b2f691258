/* cpu_kernel_neon: the kernels with NEON and its dot products: ARMv8.2 with FEAT_DotProd, since Cortex-A76, Graviton 2
 * and Apple's M1. */
#if defined(__ARM_FEATURE_DOTPROD)
#include "body_common.h"

#include "body_lanes_neon.h"
#include "body_plain.h"

const struct cpu_kernels cpu_kernels_neon = {
    .isa = CPU_NEON,
    .tile = plain_tile,
    .strip = neon_strip,
    .pack_rows = 1, /* the tile is slower than packing */
    .pack = lanes_pack,
    KERNELS_COMMON,
};
#endif
