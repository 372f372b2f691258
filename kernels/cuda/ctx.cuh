/*
 * ctx: the facts about a device that a launcher may use. A launcher is
 *
 *   int cuda_<op>_<variant>(struct cuda_ctx *cx, cudaStream_t s, const struct <op>_args *a,
 *                           struct err *e);
 *
 * It checks the demands of its variant; ops_shape_<op> has checked the shapes before. It chooses
 * the geometry from descriptors on the host and launches. It neither allocates nor waits, so that
 * it can be recorded into a graph. A call with no rows never reaches a launcher. Its row in
 * variants.def names the function that says whether the variant accepts a call:
 *
 *   bool <accepts>(const struct <op>_args *a, const struct cuda_ctx *cx);
 */
#ifndef MAS_CTX_CUH
#define MAS_CTX_CUH

#include "cu.cuh"

extern "C" {
#include "ops_check.h"
#include "scratch.h"
}

#ifdef __CUDACC__
#define CU_KIND "cuda"
#else
#define CU_KIND "cudahost"
#endif

namespace CU_NS
{

struct cuda_ctx {
    int sm_count; /* number of multiprocessors, which a grid should fill */
    int cc;       /* compute capability, 10 * major + minor */
    /* MEM_DEVICE, 256-aligned, lent by ops.bind_scratch; content is lost between calls */
    void *scratch;
    size_t scratch_bytes;
    struct cuda_blas *blas; /* matmul_blas.cu; NULL until its first use */
    bool blas_missing;      /* the library was looked for and not found */
};

/* Scratch of a call: ERR_BUG with op and both sizes when less is bound. */
static inline int cuda_ctx_scratch(const struct cuda_ctx *cx, const char *op, size_t need,
                                   void **out, struct err *e)
{
    TRY(ops_check_scratch(op, need, cx->scratch, cx->scratch_bytes, e));
    *out = cx->scratch;
    return 0;
}

void cuda_blas_close(struct cuda_ctx *cx);
size_t cuda_blas_workspace(void); /* bytes beside those of scratch_cuda for all variants */

/* ops.h: reads */
bool cuda_matmul_reads(enum fmt fmt);

/* ERR_NODEV when the program has no kernels for the device. */
int cuda_code_check(const struct cuda_ctx *cx, struct err *e);

/* Operations a second of the device, from `turns` turns of k_peak. Waits. */
int cuda_peak(const struct cuda_ctx *cx, cudaStream_t stream, enum ops_peak what, int turns,
              double *out, struct err *e);

} // namespace CU_NS

#endif
