/*
 * matmul by a library: quantised weights become f16, x becomes f16, cuBLAS multiplies. The baseline
 * of the kernels of this room: a program without them would do the same.
 *
 * Moves, beside the weights' bytes, 2 bytes of each weight out and in again: 7 times the bytes of
 * Q4_K. Floor for many rows: 2 n_row n_in n_out operations at the tensor cores' f16 rate.
 *
 * One variant, `blas`. W is decoded 32 MiB of f16 at a time, so that they are still in L2 when they
 * are multiplied. Numerics: weights and x are rounded to f16, sums are in f32 in the
 * library's order. The bits differ from the variants of matmul.cuh and may change with the number
 * of rows. No call prefers this variant.
 *
 * The library is loaded at its first use (libcublas.so of the version that this was compiled for),
 * so that the program starts without it. Without the library, the variant says so once and is left
 * out. The library's workspace is part of the scratch, so that no call allocates and a recording
 * keeps its memory. If the host runs the kernels, a plain kernel multiplies instead.
 */
#include "element.cuh"
#include "matmul.cuh"

extern "C" {
#include "log.h"
}

#if defined(__CUDACC__) && __has_include(<cublas_v2.h>)
#include <cublas_v2.h>
#include <dlfcn.h>
#define MB_LIBRARY 1
#else
#define MB_LIBRARY 0
#endif

namespace CU_NS
{

static constexpr int MB_THREADS = 256, MB_RUN = FMT_RUN;
/* Bytes: the library's guide recommends this size for Hopper. The plain kernel needs none. */
static constexpr size_t MB_WORKSPACE = MB_LIBRARY ? (size_t)32 << 20 : 4096;

static size_t mb_align(size_t bytes)
{
    return (bytes + 255) / 256 * 256;
}

/* ---- kernels ----------------------------------------------------------------------------- */

struct mb_decode {
    const uint8_t *w; /* (n_row, row_bytes) */
    size_t row_bytes;
    int64_t n; /* elements of a row */
    int64_t n_row;
    uint16_t *y; /* (n_row, n) f16 */
};

/* Eight elements a thread, which are in one row: rows of blocks are multiples of 16. */
template <enum fmt F>
__global__ void __launch_bounds__(MB_THREADS) k_matmul_decode(const struct mb_decode a)
{
    const int64_t at = ((int64_t)blockIdx.x * MB_THREADS + threadIdx.x) * MB_RUN;
    if (at >= a.n_row * a.n)
        return;
    const uint8_t *row = a.w + (size_t)(at / a.n) * a.row_bytes;
    float x[MB_RUN];
    uint32_t v[MB_RUN / 2];
    fmt_run<F>(row, at % a.n, x);
#pragma unroll
    for (int i = 0; i < MB_RUN / 2; i++)
        v[i] = vec_pack_half2(x[2 * i], x[2 * i + 1]);
    vec_store16(a.y + at, make_uint4(v[0], v[1], v[2], v[3]));
}

__global__ void __launch_bounds__(MB_THREADS) k_matmul_half(const float *x, uint16_t *y, int64_t n)
{
    const int64_t i = (int64_t)blockIdx.x * MB_THREADS + threadIdx.x;
    if (i < n)
        y[i] = vec_pack_half(x[i]);
}

struct mb_finish {
    struct mm_matrix m;
    const float *first, *second; /* (n_row, n_out) */
    int n_row;
    enum mm_epilogue epilogue;
};

__global__ void __launch_bounds__(MB_THREADS) k_matmul_finish(const struct mb_finish a)
{
    const int64_t i = (int64_t)blockIdx.x * MB_THREADS + threadIdx.x;
    if (i < (int64_t)a.n_row * a.m.n_out)
        mm_store(a.m, a.epilogue, (int)(i % a.m.n_out), (int)(i / a.m.n_out), a.first[i],
                 a.epilogue == MM_SWIGLU ? a.second[i] : 0);
}

/* ---- the library ------------------------------------------------------------------------- */

struct mb_product {        /* y[r][j] = x[r] . w[j] */
    const uint16_t *x, *w; /* (n_row, n_in), (n_out, n_in) f16 */
    float *y;              /* (n_row, stride) */
    int n_row, n_out, stride;
    int64_t n_in;
    void *workspace; /* (MB_WORKSPACE), content is lost */
};

#if MB_LIBRARY
/* cublasGemmEx, which the header overloads */
typedef cublasStatus_t (*mb_gemm)(cublasHandle_t, cublasOperation_t, cublasOperation_t, int, int,
                                  int, const void *, const void *, cudaDataType, int, const void *,
                                  cudaDataType, int, const void *, void *, cudaDataType, int,
                                  cublasComputeType_t, cublasGemmAlgo_t);

struct cuda_blas {
    void *library;
    cublasHandle_t handle;
    decltype(&cublasDestroy) destroy;
    decltype(&cublasSetStream) set_stream;
    decltype(&cublasSetWorkspace) set_workspace;
    mb_gemm gemm;
};

#define MB_TEXT(x) MB_TEXT2(x)
#define MB_TEXT2(x) #x

template <class F> static bool mb_symbol(void *library, const char *name, F *out)
{
    void *p = dlsym(library, name);
    memcpy(out, &p, sizeof p);
    return p != NULL;
}

static int mb_load(struct cuda_blas *b, struct err *e)
{
    decltype(&cublasCreate) create;
    b->library = dlopen("libcublas.so." MB_TEXT(CUBLAS_VER_MAJOR), RTLD_NOW | RTLD_LOCAL);
    if (!b->library)
        FAIL(e, ERR_NODEV, "matmul: the kernel blas needs libcublas.so: %s", dlerror());
    if (!mb_symbol(b->library, MB_TEXT(cublasCreate), &create) ||
        !mb_symbol(b->library, MB_TEXT(cublasDestroy), &b->destroy) ||
        !mb_symbol(b->library, MB_TEXT(cublasSetStream), &b->set_stream) ||
        !mb_symbol(b->library, MB_TEXT(cublasSetWorkspace), &b->set_workspace) ||
        !mb_symbol(b->library, MB_TEXT(cublasGemmEx), &b->gemm))
        FAIL(e, ERR_NODEV, "matmul: libcublas.so lacks a function: %s", dlerror());
    const cublasStatus_t rc = create(&b->handle);
    if (rc != CUBLAS_STATUS_SUCCESS)
        FAIL(e, ERR_NODEV, "matmul: cublasCreate failed with status %d", (int)rc);
    return 0;
}

static int mb_open(struct cuda_ctx *cx, struct err *e)
{
    if (cx->blas)
        return 0;
    if (cx->blas_missing)
        FAIL(e, ERR_NODEV,
             "matmul: the kernel blas is left out: no cuBLAS (see the first message)");
    struct cuda_blas *b = static_cast<struct cuda_blas *>(mem_zalloc(1, sizeof *b));
    if (!b)
        return NOMEM(e, sizeof *b, "cuBLAS");
    cx->blas = b;
    struct err why = {};
    const int rc = mb_load(b, &why);
    if (rc < 0) {
        cuda_blas_close(cx);
        cx->blas_missing = true;
        log_warn("%s; the kernel is left out", why.msg);
        *e = why;
    }
    return rc;
}

void cuda_blas_close(struct cuda_ctx *cx)
{
    struct cuda_blas *b = cx->blas;
    cx->blas = NULL;
    if (b && b->handle)
        (void)b->destroy(b->handle);
    if (b && b->library)
        (void)dlclose(b->library);
    mem_free(b);
}

/* The library counts by columns: its matrices are the transposes of ours. cublasSetStream takes the
 * workspace away, so that both are set for every call. */
static int mb_multiply(struct cuda_ctx *cx, cudaStream_t s, const struct mb_product &p,
                       struct err *e)
{
    const float one = 1, zero = 0;
    cublasStatus_t rc = cx->blas->set_stream(cx->blas->handle, s);
    if (rc == CUBLAS_STATUS_SUCCESS)
        rc = cx->blas->set_workspace(cx->blas->handle, p.workspace, MB_WORKSPACE);
    if (rc == CUBLAS_STATUS_SUCCESS)
        rc = cx->blas->gemm(cx->blas->handle, CUBLAS_OP_T, CUBLAS_OP_N, p.n_out, p.n_row,
                            (int)p.n_in, &one, p.w, CUDA_R_16F, (int)p.n_in, p.x, CUDA_R_16F,
                            (int)p.n_in, &zero, p.y, CUDA_R_32F, p.stride, CUBLAS_COMPUTE_32F,
                            CUBLAS_GEMM_DEFAULT);
    if (rc != CUBLAS_STATUS_SUCCESS)
        FAIL(e, ERR_IO, "matmul: cublasGemmEx failed with status %d", (int)rc);
    return 0;
}
#elif defined(__CUDACC__)
static int mb_open(struct cuda_ctx *, struct err *e)
{
    FAIL(e, ERR_NODEV,
         "matmul: this program was built without cuBLAS, which the kernel blas needs");
}
void cuda_blas_close(struct cuda_ctx *)
{
}
static int mb_multiply(struct cuda_ctx *, cudaStream_t, const struct mb_product &, struct err *)
{
    return 0; /* mb_open has failed */
}
#else
static int mb_open(struct cuda_ctx *, struct err *)
{
    return 0;
}
void cuda_blas_close(struct cuda_ctx *)
{
}

/* The replacement without a library: one thread a result. */
__global__ void __launch_bounds__(MB_THREADS) k_matmul_plain(const struct mb_product p)
{
    const int64_t i = (int64_t)blockIdx.x * MB_THREADS + threadIdx.x;
    if (i >= (int64_t)p.n_row * p.n_out)
        return;
    const uint16_t *x = p.x + i / p.n_out * p.n_in, *w = p.w + i % p.n_out * p.n_in;
    float sum = 0;
    for (int64_t k = 0; k < p.n_in; k++)
        sum = fmaf(vec_half(x[k]), vec_half(w[k]), sum);
    p.y[i / p.n_out * p.stride + i % p.n_out] = sum;
}

static int mb_multiply(struct cuda_ctx *, cudaStream_t s, const struct mb_product &p, struct err *e)
{
    const int64_t blocks = ((int64_t)p.n_row * p.n_out + MB_THREADS - 1) / MB_THREADS;
    CU_TRY(e, cudaMemsetAsync(p.workspace, 0xff, MB_WORKSPACE, s)); /* as the library may */
    LAUNCH(k_matmul_plain, dim3((unsigned)blocks), dim3(MB_THREADS), 0, s, p);
    CU_LAUNCHED(e, "matmul_plain");
    return 0;
}
#endif

/* ---- a call ------------------------------------------------------------------------------ */

static dim3 mb_grid(int64_t threads)
{
    return dim3((unsigned)((threads + MB_THREADS - 1) / MB_THREADS));
}

template <enum fmt F>
static int mb_decode_format(cudaStream_t s, const struct mb_decode &a, struct err *e)
{
    if constexpr (fmt_of<F>::ELEMS == 1) {
        FAIL(e, ERR_BUG, "matmul: blas has no kernel for %s", fmt_info(F)->name);
    } else {
        LAUNCH(k_matmul_decode<F>, mb_grid(a.n_row * a.n / MB_RUN), dim3(MB_THREADS), 0, s, a);
        CU_LAUNCHED(e, "matmul_decode");
    }
    return 0;
}

static int mb_decode_rows(cudaStream_t s, enum fmt fmt, const struct mb_decode &a, struct err *e)
{
    switch (fmt) {
#define X(NAME, lower, ...)                                                                        \
    case FMT_##NAME:                                                                               \
        return mb_decode_format<FMT_##NAME>(s, a, e);
#include "formats.def"
    default:
        FAIL(e, ERR_BUG, "matmul: no format %d", (int)fmt);
    }
}

struct mb_space { /* of the scratch */
    uint16_t *x, *w;
    float *y[2];
    void *workspace;
};

static size_t mb_need(const struct matmul_args *a, int64_t most)
{
    return scratch_blas(a->n_row, a->n_in, most) + MB_WORKSPACE;
}

size_t cuda_blas_workspace(void)
{
    return MB_WORKSPACE;
}

static int mb_matrix(struct cuda_ctx *cx, cudaStream_t s, const struct matmul_args *a,
                     const struct tensor *w, const struct mb_space &m, float *y, struct err *e)
{
    const int64_t n_out = tensor_rows(w), tile = scratch_blas_rows(a->n_in, n_out);
    for (int64_t j = 0; j < n_out; j += tile) {
        const int64_t n = n_out - j < tile ? n_out - j : tile;
        const struct mb_decode d = {static_cast<const uint8_t *>(w->data) +
                                        (size_t)j * w->row_bytes,
                                    w->row_bytes, a->n_in, n, m.w};
        TRY(mb_decode_rows(s, w->fmt, d, e));
        TRY(mb_multiply(cx, s,
                        {m.x, m.w, y + j, a->n_row, (int)n, (int)n_out, a->n_in, m.workspace}, e));
    }
    return 0;
}

bool cuda_matmul_blas_fits(const struct matmul_args *a, const struct cuda_ctx *cx)
{
    int64_t most = 0;
    for (int i = 0; i < a->n_out; i++) {
        if (fmt_is_plain(a->out[i].w->fmt))
            return false;
        most = tensor_rows(a->out[i].w) > most ? tensor_rows(a->out[i].w) : most;
    }
    const size_t normed = a->norm.w ? scratch_normed(a->n_row, a->n_in) : 0;
    return size_align(mb_need(a, most), 256) + normed <= cx->scratch_bytes;
}

int cuda_matmul_blas(struct cuda_ctx *cx, cudaStream_t s, const struct matmul_args *call,
                     struct err *e)
{
    int64_t most = 0;
    void *scratch;
    TRY(mm_check(call, e));
    TRY(mb_open(cx, e));
    for (int i = 0; i < call->n_out; i++)
        most = tensor_rows(call->out[i].w) > most ? tensor_rows(call->out[i].w) : most;
    const size_t need = mb_need(call, most);
    struct matmul_args left;
    TRY(cuda_ctx_scratch(cx, "matmul", need, &scratch, e));
    TRY(mm_norm(cx, s, call, need, &left, e));
    const struct matmul_args *a = &left;
    unsigned char *at = static_cast<unsigned char *>(scratch);
    struct mb_space m;
    m.workspace = at;
    at += MB_WORKSPACE;
    m.x = reinterpret_cast<uint16_t *>(at);
    at += mb_align((size_t)(a->n_row * a->n_in) * sizeof *m.x);
    m.w = reinterpret_cast<uint16_t *>(at);
    at += mb_align((size_t)(scratch_blas_rows(a->n_in, most) * a->n_in) * sizeof *m.w);
    m.y[0] = reinterpret_cast<float *>(at);
    m.y[1] = m.y[0] + mb_align((size_t)(a->n_row * most) * sizeof(float)) / sizeof(float);
    LAUNCH(k_matmul_half, mb_grid(a->n_row * a->n_in), dim3(MB_THREADS), 0, s, a->x, m.x,
           a->n_row * a->n_in);
    CU_LAUNCHED(e, "matmul_half");
    const bool pair = matmul_is_gated(a->epilogue);
    for (int i = 0; i < a->n_out; i += 1 + pair) {
        struct mb_finish f = {mm_matrix_of(&a->out[i], pair ? &a->out[i + 1] : NULL), m.y[0],
                              m.y[1], a->n_row,
                              pair                     ? MM_SWIGLU
                              : a->epilogue == EPI_ADD ? MM_ADD
                                                       : MM_STORE};
        f.m.gelu = a->epilogue == EPI_GEGLU;
        TRY(mb_matrix(cx, s, a, a->out[i].w, m, m.y[0], e));
        if (pair)
            TRY(mb_matrix(cx, s, a, a->out[i + 1].w, m, m.y[1], e));
        LAUNCH(k_matmul_finish, mb_grid((int64_t)a->n_row * f.m.n_out), dim3(MB_THREADS), 0, s, f);
        CU_LAUNCHED(e, "matmul_finish");
    }
    return 0;
}

} // namespace CU_NS
