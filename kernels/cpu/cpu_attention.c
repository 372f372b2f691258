/*
 * cpu_attention: the work is cut into items of one kv head of one sequence and a few query rows,
 * which share the decoded K and V rows (body_attention.h has the arithmetic). Items are counted kv
 * head by kv head, so that threads get whole heads where they can, and with them equal shares of
 * long and short rows.
 */
#include "ops_check.h"
#include "ops_cpu.h"

static size_t cpu_attention_floats(int head_dim)
{
    size_t dim = ((size_t)head_dim + 15) / 16 * 16;
    return (2 * ATTN_BLOCK + 2 * ATTN_QUERIES) * dim;
}

size_t cpu_attention_scratch(int n_threads, int head_dim)
{
    return (size_t)n_threads * cpu_attention_floats(head_dim) * sizeof(float);
}

struct attention_job {
    const struct attention_args *a;
    const struct cpu_kernels *k;
    float *scratch;
    int heads; /* query heads of an item */
    int rows;  /* query rows of an item */
    int parts; /* items that a kv head's group of query heads is cut into */
};

static int64_t cpu_attention_items(const struct attention_job *j, int seq)
{
    int rows = j->a->q_start[seq + 1] - j->a->q_start[seq];
    return (int64_t)((rows + j->rows - 1) / j->rows) * j->parts;
}

static void cpu_attention_item(const struct attention_job *j, int kv_head, int seq, int64_t i,
                               float *scratch)
{
    const struct attention_args *a = j->a;
    int group = a->n_head / a->kv->n_kv_head;
    int row = a->q_start[seq] + (int)(i / j->parts) * j->rows, left = a->q_start[seq + 1] - row;
    int head = (int)(i % j->parts) * j->heads;
    const struct attn_item item = {
        .a = a,
        .seq = seq,
        .kv_head = kv_head,
        .row = row,
        .n_row = left < j->rows ? left : j->rows,
        .head = head,
        .n_head = group - head < j->heads ? group - head : j->heads,
        .scratch = scratch,
    };
    j->k->attention(&item);
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
                cpu_attention_item(j, h, s, i, scratch);
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
    size_t need = cpu_attention_scratch(pool_threads(c->pool), a->kv->head_dim);
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
    int64_t items = 0;
    for (int s = 0; s < a->n_seq; s++)
        items += cpu_attention_items(&job, s);
    pool_run(c->pool, items * a->kv->n_kv_head, cpu_attention_part, &job);
    return 0;
}
