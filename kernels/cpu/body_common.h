/*
 * body_common: the bodies written in v16 that all cpu_kernel_*.c share, and their members of the
 * table. Included by those files only.
 */
#include "cpu_kernel.h"

#include <float.h>

#include "check.h"
#define FMT_HEADERS
#include "formats.def"
#undef FMT_HEADERS
#include "kv_row.h"
#include "ops_check.h"
#include "quant_fit.h"
#include "rng.h"
#include "v16_math.h"

#include "body_attention.h"
#include "body_kv.h"
#include "body_matmul.h"
#include "body_peak.h"
#include "body_read.h"
#include "body_rows.h"
#include "body_sample.h"

#define KERNELS_COMMON                                                                             \
    .quantise = kernel_quantise, .rmsnorm = kernel_rmsnorm, .swiglu = kernel_swiglu,               \
    .geglu = kernel_geglu, .add = kernel_add, .f16 = kernel_f16, .q8_0 = kernel_q8_0,              \
    .q4_0 = kernel_q4_0, .rope = kernel_rope, .attention = kernel_attention,                       \
    .log_sum_exp = kernel_log_sum_exp, .sample = kernel_sample, .peak = kernel_peak,               \
    .read = kernel_read
