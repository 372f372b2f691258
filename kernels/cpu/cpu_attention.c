/*
 * cpu_attention: attention on the CPU; body_attention.h has the arithmetic.
 *
 * An item of work is one kv head of one sequence and a few query rows, which share the decoded K
 * and V rows. Neighbours in the batch that begin with the same pages, such as the specialists of a
 * case, are one item if their queries fit. Then their common positions are decoded once.
 *
 * Items are counted kv head by kv head. So threads get whole heads if possible, and equal shares of
 * long and short rows.
 */
#include "ops_check.h"
#include "ops_cpu.h"

static size_t cpu_attention_floats(int head_dim)
{
    size_t dim = ((size_t)head_dim + 15) / 16 * 16;
    return (2 * ATTN_BLOCK + 2 * ATTN_QUERIES) * dim;
}

#define SHARED_LEAST (2 * ATTN_BLOCK) /* positions in common for which sequences are put together */

struct attention_group { /* of the sequences from this one on; n_seq 0: it belongs to one before */
    int32_t n_seq, shared;
};

size_t cpu_attention_scratch(int n_threads, int head_dim, int n_seq)
{
    return (size_t)n_threads * cpu_attention_floats(head_dim) * sizeof(float) +
           (size_t)n_seq * sizeof(struct attention_group);
}

struct attention_job {
    const struct attention_args *a;
    const struct cpu_kernels *k;
    float *scratch;
    struct attention_group *group; /* (n_seq) */
    int heads;                     /* query heads of an item */
    int rows;                      /* query rows of an item */
    int parts;                     /* number of items of a kv head's group of query heads */
};

static int attention_rows(const struct attention_args *a, int seq)
{
    return a->q_start[seq + 1] - a->q_start[seq];
}

/* The first position that the first row of a sequence sees. */
static int attention_low(const struct attention_args *a, int seq)
{
    const int end = a->kv_len[seq] - attention_rows(a, seq) + 1;
    return a->window && end > a->window ? end - a->window : 0;
}

/* Number of leading positions that both sequences share, in whole blocks, and that were written
 * before this call. 0: the windows hold too few of them to put the sequences together. */
static int attention_common(const struct attention_args *a, int s, int t)
{
    const int32_t *x = a->page + (int64_t)s * a->max_pages,
                  *y = a->page + (int64_t)t * a->max_pages;
    int old_s = a->kv_len[s] - attention_rows(a, s), old_t = a->kv_len[t] - attention_rows(a, t);
    int most = old_s < old_t ? old_s : old_t, n = 0;
    while (n < most && x[n / a->kv->page_tokens] == y[n / a->kv->page_tokens])
        n += a->kv->page_tokens;
    n = (n < most ? n : most) / ATTN_BLOCK * ATTN_BLOCK;
    const int low_s = attention_low(a, s), low_t = attention_low(a, t);
    return n - (low_s > low_t ? low_s : low_t) < SHARED_LEAST && a->window ? 0 : n;
}

/* Number of positions that t shares with the next sequence, with which t may share more than with
 * the earlier ones; 0: none. */
static int attention_next_common(const struct attention_args *a, int t)
{
    if (t + 1 >= a->n_seq || !attention_rows(a, t + 1))
        return 0;
    return attention_common(a, t, t + 1);
}

/* The group of sequences from s on, and the number of positions that they share. */
static struct attention_group attention_group_from(const struct attention_job *j, int s)
{
    const struct attention_args *a = j->a;
    struct attention_group g = {1, 0};
    int rows = attention_rows(a, s), shared = a->kv_len[s];
    if (!rows)
        return g;
    for (int t = s + 1; t < a->n_seq; t++) {
        int more = attention_rows(a, t), common = more ? attention_common(a, s, t) : 0;
        common = common < shared ? common : shared;
        if (!more || (rows + more) * j->heads > ATTN_QUERIES || common < SHARED_LEAST ||
            (g.shared && common < g.shared / 2) || common < attention_next_common(a, t) / 2)
            break;
        rows += more;
        shared = g.shared = common;
        g.n_seq++;
    }
    return g;
}

/* Groups sequences if that leaves enough items for all threads. The choice does not change the
 * result. */
static void attention_groups(struct attention_job *j, int n_threads)
{
    const struct attention_args *a = j->a;
    int n = 0;
    for (int s = 0; s < a->n_seq; n++) {
        j->group[s] = attention_group_from(j, s);
        for (int i = 1; i < j->group[s].n_seq; i++)
            j->group[s + i] = (struct attention_group){0, 0};
        s += j->group[s].n_seq;
    }
    if (n * a->kv->n_kv_head >= 2 * n_threads)
        return;
    for (int s = 0; s < a->n_seq; s++)
        j->group[s] = (struct attention_group){1, 0};
}

static int64_t cpu_attention_items(const struct attention_job *j, int seq)
{
    const struct attention_group *g = &j->group[seq];
    if (g->n_seq != 1)
        return g->n_seq ? j->parts : 0;
    return (int64_t)((attention_rows(j->a, seq) + j->rows - 1) / j->rows) * j->parts;
}

static void cpu_attention_item(const struct attention_job *j, int kv_head, int seq, int64_t i,
                               float *scratch)
{
    const struct attention_args *a = j->a;
    const struct attention_group *g = &j->group[seq];
    int group = a->n_head / a->kv->n_kv_head, head = (int)(i % j->parts) * j->heads;
    int row = a->q_start[seq], n_row = a->q_start[seq + g->n_seq] - row;
    if (g->n_seq == 1) {
        row += (int)(i / j->parts) * j->rows;
        n_row = a->q_start[seq + 1] - row < j->rows ? a->q_start[seq + 1] - row : j->rows;
    }
    const struct attn_item item = {
        .a = a,
        .seq = seq,
        .n_seq = g->n_seq,
        .shared = g->shared,
        .kv_head = kv_head,
        .row = row,
        .n_row = n_row,
        .head = head,
        .n_head = group - head < j->heads ? group - head : j->heads,
        .scratch = scratch,
    };
    j->k->attention(&item);
}

/* Items of a prompt in an order of alternating length: the first, the last, then the second. Later
 * rows see more positions, so ranges of neighbours would take unequal times. With a prompt of 512
 * tokens of SmolLM2-135M and two threads, a layer takes 1,128 us instead of 1,292. (AMD EPYC, Zen
 * 5, 2026-11-30.) */
static int64_t cpu_attention_turn(int64_t i, int64_t n)
{
    return i % 2 ? n - 1 - i / 2 : i / 2;
}

static void cpu_attention_part(void *arg, int64_t begin, int64_t end, int worker)
{
    const struct attention_job *j = arg;
    float *scratch = j->scratch + (size_t)worker * cpu_attention_floats(j->a->kv->head_dim);
    int64_t at = 0; /* number of the first item of (h, s) */
    for (int h = 0; h < j->a->kv->n_kv_head; h++)
        for (int s = 0; s < j->a->n_seq && at < end; s++) {
            int64_t n = cpu_attention_items(j, s);
            for (int64_t i = begin > at ? begin - at : 0; i < n && at + i < end; i++)
                cpu_attention_item(j, h, s, cpu_attention_turn(i, n), scratch);
            at += n;
        }
}

int cpu_attention(struct ops *ops, struct stream *st, const struct attention_args *a, struct err *e)
{
    (void)st;
    struct ops_cpu *c = ops_cpu(ops);
    TRY(ops_check_attention(a, e));
    if (a->n_row == 0)
        return 0;
    size_t need = cpu_attention_scratch(pool_threads(c->pool), a->kv->head_dim, a->n_seq);
    TRY(ops_check_scratch("attention", need, c->scratch, c->scratch_bytes, e));
    int group = a->n_head / a->kv->n_kv_head;
    int heads = group < ATTN_QUERIES ? group : ATTN_QUERIES;
    struct attention_job job = {
        .a = a,
        .k = c->k,
        .scratch = (float *)(void *)c->scratch,
        .heads = heads,
        .rows = ATTN_QUERIES / heads,
        .parts = (group + heads - 1) / heads,
    };
    job.group =
        (struct attention_group *)(void *)(job.scratch + (size_t)pool_threads(c->pool) *
                                                             cpu_attention_floats(a->kv->head_dim));
    attention_groups(&job, pool_threads(c->pool));
    int64_t items = 0;
    for (int s = 0; s < a->n_seq; s++)
        items += cpu_attention_items(&job, s);
    pool_run(c->pool, items * a->kv->n_kv_head, cpu_attention_part, &job);
    return 0;
}
