#include <math.h>
#include <stdio.h>

#include "case.h"

static const struct {
    int n_row, n_head, n_kv_head, head_dim, n_rot;
    enum rope_pairs pairs;
    bool bench;
    bool odd; /* frequencies that no model should have: negative, NaN, infinite */
} rope_table[] = {
    {1, 1, 1, 2, 2, ROPE_ADJACENT, false, false},
    {5, 4, 2, 64, 64, ROPE_ADJACENT, false, false},
    {5, 4, 1, 80, 32, ROPE_HALVES, false, false},
    {33, 8, 8, 128, 128, ROPE_HALVES, false, false},
    {7, 3, 1, 10, 6, ROPE_ADJACENT, false, false},
    {3, 2, 1, 16, 12, ROPE_ADJACENT, false, true},
    {512, 32, 8, 128, 128, ROPE_ADJACENT, true, false},
};

static int rope_run(const struct op_case *c, void *const *dev, struct ops *ops, struct stream *s,
                    struct err *e)
{
    struct rope_args a = c->args.rope;
    a.q = dev[0];
    a.k = dev[1];
    a.pos = dev[2];
    a.inv_freq = dev[3];
    return ops->rope(ops, s, &a, e);
}

static int rope_make(int i, struct op_case *c, struct err *e)
{
    int n_row = rope_table[i].n_row, dim = rope_table[i].head_dim, n_rot = rope_table[i].n_rot;
    struct rope_args a = {.n_row = n_row,
                          .n_head = rope_table[i].n_head,
                          .n_kv_head = rope_table[i].n_kv_head,
                          .head_dim = dim,
                          .n_rot = n_rot,
                          .pairs = rope_table[i].pairs};
    c->bench = rope_table[i].bench;
    snprintf(c->name, sizeof c->name, "%d rows %d+%d heads of %d/%d %s%s", n_row, a.n_head,
             a.n_kv_head, n_rot, dim, a.pairs == ROPE_ADJACENT ? "adjacent" : "halves",
             rope_table[i].odd ? " odd frequencies" : "");
    case_floats(c, "q", CASE_INOUT, (int64_t)n_row * a.n_head * dim, 6, 1);
    case_tolerance(c, 6e-7, 0);
    case_floats(c, "k", CASE_INOUT, (int64_t)n_row * a.n_kv_head * dim, 7, 1);
    case_tolerance(c, 6e-7, 0);
    int32_t *pos = case_buf(c, "pos", CASE_IN, CASE_I32, (size_t)n_row, sizeof *pos);
    float *freq = case_buf(c, "inv_freq", CASE_IN, CASE_F32, (size_t)n_rot / 2, sizeof *freq);
    TRY(case_done(c, e));
    for (int r = 0; r < n_row; r++)
        pos[r] = r * 4001 % 131072; /* from 0 to the end of a long context */
    for (int k = 0; k < n_rot / 2; k++)
        freq[k] = powf(500000, -2.0f * (float)k / (float)n_rot);
    if (rope_table[i].odd) {
        freq[1] = -0.7f;
        freq[2] = NAN;
        freq[3] = INFINITY;
        freq[4] = -INFINITY;
    }
    c->args.rope = a;
    case_traffic(c, traffic_rope(&c->args.rope));
    c->run = rope_run;
    return 0;
}

const struct case_set case_rope = {sizeof rope_table / sizeof *rope_table, rope_make};
