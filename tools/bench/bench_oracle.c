#include "bench_oracle.h"

#include <math.h>
#include <string.h>

#include "mem.h"

enum { SAMPLED = 64 }; /* rows of a large matrix that the oracle computes */

static int64_t sampled_row(int64_t n, int i)
{
    return n <= SAMPLED ? i : i * (n - 1) / (SAMPLED - 1);
}

/* A large matmul without biases: the buffer of a bias that is not there has one number. */
static bool is_sampled(const struct op_case *c, enum op op)
{
    bool sampled = op == OP_matmul && c->bench;
    for (int i = 0; sampled && i < c->args.matmul.n_out; i++)
        sampled = c->buf[2 + 3 * i].bytes <= sizeof(float);
    return sampled;
}

/* Copies the sampled columns of y (n_row, n) to out (n_row, sampled). */
static void sample_results(const float *y, int n_row, int64_t n, float *out)
{
    const int k = n < SAMPLED ? (int)n : SAMPLED;
    for (int r = 0; r < n_row; r++)
        for (int i = 0; i < k; i++)
            out[r * k + i] = y[r * n + sampled_row(n, i)];
}

/* The oracle on the sampled rows of each matrix; want[i] of a result is (n_row, sampled). Cases for
 * benchmarks have no biases. */
static int sampled_oracle(struct ops *ref, const struct op_case *c, void *want[CASE_BUFS],
                          struct err *e)
{
    struct matmul_args a = c->args.matmul;
    struct tensor w[3];
    void *rows[3] = {NULL}, *scratch = NULL;
    int rc = 0;
    a.x = c->buf[0].host;
    if (c->n_buf > 1 + 3 * a.n_out)
        a.norm.w = c->buf[1 + 3 * a.n_out].host;
    for (int i = 0; i < a.n_out; i++) {
        const int64_t n = tensor_rows(&c->w[i]), k = n < SAMPLED ? n : SAMPLED;
        const struct case_buf *y = &c->buf[3 + 3 * i];
        w[i] = c->w[i];
        w[i].dim[0] = k;
        rows[i] = mem_zalloc((size_t)k, w[i].row_bytes);
        w[i].data = rows[i];
        if (y->role != CASE_IN)
            want[3 + 3 * i] = mem_zalloc((size_t)(a.n_row * k), sizeof(float));
        if (!rows[i] || (y->role != CASE_IN && !want[3 + 3 * i]))
            TRY_DONE(NOMEM(e, (size_t)k * w[i].row_bytes, "the oracle"));
        for (int64_t j = 0; j < k; j++)
            memcpy((char *)rows[i] + (size_t)j * w[i].row_bytes,
                   (const char *)c->buf[c->w_at[i]].host +
                       (size_t)sampled_row(n, (int)j) * w[i].row_bytes,
                   w[i].row_bytes);
        if (y->role == CASE_INOUT)
            sample_results(y->host, a.n_row, n, want[3 + 3 * i]);
        a.out[i] = (struct matmul_out){&w[i], NULL, want[3 + 3 * i]};
    }
    const size_t bytes = ref->scratch_bytes(ref, &c->limits);
    scratch = mem_aligned(bytes);
    if (!scratch)
        TRY_DONE(NOMEM(e, bytes, "the oracle"));
    ref->bind_scratch(ref, scratch, bytes);
    rc = ref->matmul(ref, NULL, &a, e);
    ref->bind_scratch(ref, NULL, 0);
done:
    mem_free(scratch);
    for (int i = 0; i < 3; i++)
        mem_free(rows[i]);
    return rc;
}

/* Share of the tolerance that result i uses. */
static int compare_result(const struct op_case *c, enum op op, int i, const void *got,
                          const void *want, double *used, struct err *e)
{
    struct case_buf b = c->buf[i];
    if (!is_sampled(c, op)) {
        *used = case_compare(&b, got, want).used;
        return 0;
    }
    const int n_row = c->args.matmul.n_row;
    const int64_t n = (int64_t)(b.bytes / sizeof(float)) / n_row, k = n < SAMPLED ? n : SAMPLED;
    b.bytes = (size_t)(n_row * k) * sizeof(float);
    float *some = mem_zalloc(b.bytes, 1);
    if (!some)
        return NOMEM(e, b.bytes, "a comparison");
    sample_results(got, n_row, n, some);
    *used = case_compare(&b, some, want).used;
    mem_free(some);
    return 0;
}

static int results(const struct op_case *plain, struct ops *ops, void *out[CASE_BUFS],
                   struct err *e)
{
    struct op_case mine = *plain, *c = &mine;
    struct case_device d;
    int rc = case_upload(c, ops, 0, &d, e);
    if (rc == 0)
        rc = case_pack(c, &d, e);
    if (rc == 0)
        rc = case_poison(&d, e);
    if (rc == 0)
        rc = case_run(c, &d, e);
    for (int i = 0; i < c->n_buf && rc == 0; i++)
        if (c->buf[i].role != CASE_IN) {
            out[i] = mem_zalloc(c->buf[i].bytes + 1, 1);
            rc =
                out[i] ? case_download(c, &d, i, out[i], e) : NOMEM(e, c->buf[i].bytes, "a result");
        }
    case_release(&d);
    return rc;
}

int oracle_results(struct ops *ref, const struct op_case *c, enum op op, void *want[CASE_BUFS],
                   struct err *e)
{
    return is_sampled(c, op) ? sampled_oracle(ref, c, want, e) : results(c, ref, want, e);
}

int oracle_check(const struct op_case *c, enum op op, struct ops *ops, void *const want[CASE_BUFS],
                 double *used, struct err *e)
{
    void *got[CASE_BUFS] = {NULL};
    int rc = results(c, ops, got, e);
    *used = 0;
    for (int i = 0; i < c->n_buf && rc == 0; i++) {
        double one = 0;
        if (c->buf[i].role != CASE_IN)
            rc = compare_result(c, op, i, got[i], want[i], &one, e);
        *used = fmax(*used, one);
    }
    for (int i = 0; i < CASE_BUFS; i++)
        mem_free(got[i]);
    return rc;
}
