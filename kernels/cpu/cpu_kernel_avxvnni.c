/* cpu_kernel_avxvnni: the kernels with AVX2 and AVX-VNNI: Intel's client processors since 2021,
 * AMD's since Zen 5. The tests compile it for AVX-512 VNNI as well: more machines have those
 * instructions, which differ in their coding alone. */
#if defined(__AVXVNNI__) || (defined(__AVX512VNNI__) && defined(__AVX512VL__))
#include "body_common.h"

#define HALF_VNNI 1
#include "body_dot256.h"
#include "body_lanes256.h"

#define UNPACK_FLIP 0x80
#include "body_unpack.h"
#include "body_wide256.h"

const struct cpu_kernels cpu_kernels_avxvnni = {
    .isa = CPU_AVXVNNI,
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
