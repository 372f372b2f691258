/* cpu_kernel_avxvnni: the kernels with AVX2 and AVX-VNNI: Intel's client processors since 2021, AMD's since Zen 5. The
 * tests compile it for AVX-512 VNNI as well, whose instructions differ in their coding alone: more machines have those. */
#if defined(__AVXVNNI__) || (defined(__AVX512VNNI__) && defined(__AVX512VL__))
#include "cpu_kernel.h"

#include "check.h"
#include "fmt_q4_0.h"
#include "fmt_q4_k.h"
#include "fmt_q5_k.h"
#include "fmt_q6_k.h"
#include "fmt_q8_0.h"
#include "kv_row.h"
#include "ops_check.h"
#include "rng.h"
#include "v16.h"

#include "body_attention.h"
#include "body_matmul.h"
#include "body_peak.h"
#include "body_rows.h"
#include "body_sample.h"

#define HALF_VNNI 1
#include "body_dot256.h"
#include "body_lanes256.h"

const struct cpu_kernels cpu_kernels_avxvnni = {
    .isa = CPU_AVXVNNI,
    .quantise = kernel_quantise,
    .tile = dot_tile,
    .strip = half_strip,
    .pack_rows = 32,
    .pack = lanes_pack,
    .rmsnorm = kernel_rmsnorm,
    .swiglu = kernel_swiglu,
    .add = kernel_add,
    .f16 = kernel_f16,
    .rope = kernel_rope,
    .attention = kernel_attention,
    .log_sum_exp = kernel_log_sum_exp,
    .sample = kernel_sample,
    .peak = kernel_peak,
};
#endif
