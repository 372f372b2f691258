/* cpu_kernel_avx2: the kernels with AVX2. */
#if defined(__AVX2__)
#include "body_common.h"

#define HALF_VNNI 0
#include "body_dot256.h"
#include "body_lanes256.h"

#define UNPACK_FLIP 0
#include "body_unpack.h"
#include "body_wide256.h"

const struct cpu_kernels cpu_kernels_avx2 = {
    .isa = CPU_AVX2,
    .tile = dot_tile,
    .strip = wide_strip,
    .unpacks = wide_unpacks,
    .unpack = unpack_strip,
    .unpacked = wide_unpacked,
    .pack_rows = 32,
    .pack = lanes_pack,
    KERNELS_COMMON,
};
#endif
