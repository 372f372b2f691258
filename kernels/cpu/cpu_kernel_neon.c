/* cpu_kernel_neon: the kernels with NEON and its dot products: ARMv8.2 with FEAT_DotProd
 * (Cortex-A76, Graviton 2 and later). Linux says whether the processor has it. */
#if defined(__ARM_FEATURE_DOTPROD)
#include "body_common.h"

#include "body_lanes_neon.h"
#include "body_plain.h"

#define UNPACK_FLIP 0
#include "body_unpack.h"
#include "body_wide_neon.h"

const struct cpu_kernels cpu_kernels_neon = {
    .isa = CPU_NEON,
    .tile = plain_tile,
    .strip = wide_strip,
    .unpacks = wide_unpacks,
    .unpack = unpack_strip,
    .unpacked = wide_unpacked,
    .pack_rows = 1, /* the tile is plain text. Not measured */
    .pack = lanes_pack,
    KERNELS_COMMON,
};
#endif
