#include <math.h>
#include <stdio.h>

#include "case.h"

/* Row r has one logit far above the others, at another place in each row, or a long run of -inf. */
enum { PEAK = 1, GAP = 2 };

static const struct {
    int n_row, n_pair;
    int64_t n_vocab;
    float std;
    bool bench;
    int flags;
} logprob_table[] = {
    {1, 1, 1, 1, false, 0},     {3, 7, 17, 3, false, 0},      {2, 5, 1025, 200, false, 0},
    {4, 4, 32000, 4, false, 0}, {8, 8, 1024, 3, false, PEAK}, {2, 4, 13000, 3, false, GAP},
    {8, 8, 128256, 3, true, 0},
};

static int logprob_run(const struct op_case *c, void *const *dev, struct ops *ops, struct stream *s,
                       struct err *e)
{
    struct logprob_args a = c->args.logprob;
    a.logits = dev[0];
    a.row = dev[1];
    a.id = dev[2];
    a.lp = dev[3];
    return ops->logprob(ops, s, &a, e);
}

static bool logprob_bench(int i)
{
    return logprob_table[i].bench;
}

static int logprob_make(int i, struct op_case *c, struct err *e)
{
    int n_row = logprob_table[i].n_row, n_pair = logprob_table[i].n_pair;
    int64_t n = logprob_table[i].n_vocab;
    c->bench = logprob_bench(i);
    snprintf(c->name, sizeof c->name, "%d rows of %lld, %d pairs, std %g", n_row, (long long)n,
             n_pair, (double)logprob_table[i].std);
    float *x = case_floats(c, "logits", CASE_IN, n_row * n, 18, logprob_table[i].std);
    int32_t *row = case_buf(c, "row", CASE_IN, CASE_I32, (size_t)n_pair, sizeof *row);
    int32_t *id = case_buf(c, "id", CASE_IN, CASE_I32, (size_t)n_pair, sizeof *id);
    case_buf(c, "lp", CASE_OUT, CASE_F32, (size_t)n_pair, sizeof(float));
    case_tolerance(c, 2e-6, 2e-7);
    TRY(case_done(c, e));
    for (int r = 0; r < n_row && logprob_table[i].flags & PEAK; r++)
        /* the place belongs to another warp of a block of 256 threads with four elements each */
        x[r * n + (128 * r + 21) % n] = 200;
    for (int64_t j = 4000; j < 12400 && logprob_table[i].flags & GAP; j++)
        x[j] = -INFINITY;
    for (int p = 0; p < n_pair; p++) {
        row[p] = (n_row - 1) - p * n_row / n_pair; /* pairs of one row are neighbours */
        id[p] = (int32_t)((n - 1 + 31 * (int64_t)p) % n);
    }
    c->args.logprob = (struct logprob_args){.n_row = n_row, .n_vocab = n, .n_pair = n_pair};
    c->limits = (struct ops_limits){.max_logit_rows = n_row, .n_vocab = n};
    case_traffic(c, traffic_logprob(&c->args.logprob));
    c->run = logprob_run;
    return 0;
}

const struct case_set case_logprob = {sizeof logprob_table / sizeof *logprob_table, logprob_make,
                                      logprob_bench};
