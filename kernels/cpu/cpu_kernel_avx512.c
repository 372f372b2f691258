/* cpu_kernel_avx512: the kernels with AVX-512. */
#if defined(__AVX512VNNI__)
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
#include "vnni512.h"

#include "body_attention.h"
#include "body_matmul.h"
#include "body_peak.h"
#include "body_rows.h"
#include "body_sample.h"

#include "body_dot256.h"
#include "body_lanes512.h"

const struct cpu_kernels cpu_kernels_avx512 = {
    .isa = CPU_AVX512VNNI,
    .quantise = kernel_quantise,
    .tile = dot_tile,
    .strip = lanes_strip,
    .several = lanes_several,
    .strips = lanes_strips,
    .pack_rows = 4,
    .pack = lanes_pack512,
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
