/* cpu_kernel_avx512: the kernels with AVX-512. */
#if defined(__AVX512VNNI__)
#include "body_common.h"

#include "vnni512.h"

#include "body_dot256.h"
#include "body_lanes512.h"

#define UNPACK_FLIP 0x80
#define UNPACK_FOLDS
#include "body_unpack.h"
#include "body_wide512.h"

const struct cpu_kernels cpu_kernels_avx512 = {
    .isa = CPU_AVX512VNNI,
    .tile = dot_tile,
    .strip = wide_strip,
    .several = wide_several,
    .strips = wide_strips,
    .pairs = wide_pairs,
    .pair = wide_pair,
    .unpacks = wide_unpacks,
    .unpack = unpack_strip,
    .unpacked = wide_unpacked,
    .both = wide_both,
    .unpacked_both = wide_unpacked_both,
    .pack_rows = 4,
    .pack = lanes_pack512,
    KERNELS_COMMON,
};
#endif
