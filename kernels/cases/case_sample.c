/* case_sample: the chosen ids are compared exactly. A backend in f32 and the oracle in double agree
 * for these seeds: the best score exceeds the second by far more than f32 resolves. No token
 * lies at the edge of top_p. */
#include <math.h>
#include <stdio.h>

#include "case.h"
#include "rng.h"

#define SAMPLE_MASKS 3 /* every third token; the last token only; none at all */

enum {
    PLAIN = 0,
    MASKED = 1,
    COARSE = 2, /* multiples of 1/2, so many are equal */
    BENCH = 4,
    ZEROS = 8 /* no logit is above zero, and zeros have both signs */
};

static const struct sample_shape {
    int n_row;
    int64_t n_vocab;
    float std;
    struct sample_row p; /* key and mask are set per row */
    int flags;
} sample_shapes[] = {
    {1, 1, 1, {.temperature = 1, .top_p = 1}, PLAIN},
    {9, 17, 3, {.temperature = 0, .top_p = 1}, MASKED},
    {33, 1000, 3, {.temperature = 1, .top_p = 1}, MASKED},
    {33, 1003, 3, {.temperature = 0.7f, .top_p = 1, .top_k = 5}, MASKED},
    {33, 999, 3, {.temperature = 1.5f, .top_p = 0.8f}, MASKED},
    {33, 515, 3, {.temperature = 0.9f, .top_p = 1, .min_p = 0.05f}, PLAIN},
    {33, 2000, 2, {.temperature = 1, .top_p = 0.9f, .min_p = 0.02f, .top_k = 40}, MASKED},
    {5, 300, 1, {.temperature = 1, .top_p = 1e-6f, .top_k = 1000000}, MASKED},
    /* rows of several thousand tokens, which a backend may split; equal logits at the edges of
     * filters */
    {4, 9001, 3, {.temperature = 0, .top_p = 1}, MASKED | COARSE},
    {4, 9001, 3, {.temperature = 0.8f, .top_p = 1, .top_k = 40}, MASKED | COARSE},
    {4, 12288, 3, {.temperature = 0.8f, .top_p = 0.95f, .min_p = 0.01f, .top_k = 300}, MASKED},
    {4, 9001, 3, {.temperature = 1, .top_p = 0.7f}, MASKED | COARSE},
    {70, 40, 3, {.temperature = 1, .top_p = 0.9f, .top_k = 7}, MASKED | COARSE},
    {4, 41, 3, {.temperature = 1, .top_p = 1, .top_k = 42}, MASKED},
    /* top_p is too small for any unit of the filter */
    {4, 4103, 3, {.temperature = 2, .top_p = 1e-14f}, MASKED},
    /* e^-2, rounded down */
    {33, 600, 3, {.temperature = 1, .top_p = 1, .min_p = 0x1.152aaap-3f}, COARSE},
    {33, 77, 3, {.temperature = 1, .top_p = 1, .top_k = 1}, ZEROS},
    {1, 128256, 3, {.temperature = 0, .top_p = 1}, BENCH},
    {1, 128256, 3, {.temperature = 1, .top_p = 1}, BENCH},
    {1, 128256, 3, {.temperature = 1, .top_p = 0.9f}, BENCH},
    {1, 128256, 3, {.temperature = 0.8f, .top_p = 0.95f, .min_p = 0.05f, .top_k = 40}, BENCH},
    {32, 128256, 3, {.temperature = 0.7f, .top_p = 0.9f}, BENCH},
};

static int sample_run(const struct op_case *c, void *const *dev, struct ops *ops, struct stream *s,
                      struct err *e)
{
    struct sample_args a = c->args.sample;
    a.logits = dev[0];
    a.p = dev[1];
    a.mask_bits = dev[2];
    a.id = dev[3];
    a.lp = dev[4];
    return ops->sample(ops, s, &a, e);
}

static bool sample_bench(int i)
{
    return (sample_shapes[i].flags & BENCH) != 0;
}

static int sample_make(int i, struct op_case *c, struct err *e)
{
    const struct sample_shape *s = &sample_shapes[i];
    size_t words = ((size_t)s->n_vocab + 31) / 32;
    c->bench = sample_bench(i);
    snprintf(c->name, sizeof c->name, "%dx%lld t %g k %d p %g min %g%s%s", s->n_row,
             (long long)s->n_vocab, (double)s->p.temperature, (int)s->p.top_k, (double)s->p.top_p,
             (double)s->p.min_p, s->flags & MASKED ? " masked" : "",
             s->flags & COARSE  ? " coarse"
             : s->flags & ZEROS ? " zeros"
                                : "");
    float *x = case_floats(c, "logits", CASE_IN, s->n_row * s->n_vocab, 19, s->std);
    for (int64_t j = 0; x && s->flags & COARSE && j < s->n_row * s->n_vocab; j++)
        x[j] = rintf(2 * x[j]) / 2;
    for (int64_t j = 0; x && s->flags & ZEROS && j < s->n_row * s->n_vocab; j++)
        x[j] = x[j] > 0 ? 0 : -fabsf(rintf(x[j] / 8));
    struct sample_row *p = case_buf(c, "p", CASE_IN, CASE_BYTES, (size_t)s->n_row, sizeof *p);
    uint32_t *mask =
        case_buf(c, "mask_bits", CASE_IN, CASE_BYTES, SAMPLE_MASKS, words * sizeof *mask);
    case_buf(c, "id", CASE_OUT, CASE_I32, (size_t)s->n_row, sizeof(int32_t));
    case_buf(c, "lp", CASE_OUT, CASE_F32, (size_t)s->n_row, sizeof(float));
    case_tolerance(c, 2e-6, 2e-7);
    TRY(case_done(c, e));
    for (int64_t j = 0; j < s->n_vocab; j += 3)
        mask[j / 32] |= 1u << j % 32;
    mask[words + (size_t)(s->n_vocab - 1) / 32] |= 1u << (s->n_vocab - 1) % 32;
    for (int r = 0; r < s->n_row; r++) {
        p[r] = s->p;
        p[r].key = rng_key(20, (uint64_t)i, (uint64_t)r);
        p[r].mask = s->flags & MASKED ? r % (SAMPLE_MASKS + 1) - 1 : -1;
    }
    if (s->n_row > 8) /* one row without a token to draw */
        x[8 * s->n_vocab + s->n_vocab / 2] = NAN;
    c->args.sample =
        (struct sample_args){.n_row = s->n_row, .n_vocab = s->n_vocab, .n_mask = SAMPLE_MASKS};
    c->limits = (struct ops_limits){.max_logit_rows = s->n_row, .n_vocab = s->n_vocab};
    case_traffic(c, traffic_sample(&c->args.sample));
    c->run = sample_run;
    return 0;
}

const struct case_set case_sample = {sizeof sample_shapes / sizeof *sample_shapes, sample_make,
                                     sample_bench};
