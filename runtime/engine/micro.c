#include "micro.h"

#include <string.h>

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

static int larger(int a, int b)
{
    return a > b ? a : b;
}

static void slice_sequence(const struct batch *b, int max_pages, int s, int first, int end,
                           struct batch *out)
{
    const int from = larger(b->q_start[s], first), to = smaller(b->q_start[s + 1], end);
    if (from >= to)
        return;
    const int i = out->n_seq++;
    out->q_start[i + 1] = to - first;
    out->kv_len[i] = b->kv_len[s] - (b->q_start[s + 1] - to);
    memcpy(out->page + (size_t)i * (size_t)max_pages, b->page + (size_t)s * (size_t)max_pages,
           (size_t)max_pages * sizeof *out->page);
}

void micro_slice(const struct batch *b, int max_pages, int first, int n, struct batch *out)
{
    const size_t bytes = (size_t)n * sizeof *b->tok;
    memcpy(out->tok, b->tok + first, bytes);
    memcpy(out->pos, b->pos + first, bytes);
    memcpy(out->slot, b->slot + first, bytes);
    out->n_row = n;
    out->max_kv_len = b->max_kv_len;
    out->n_seq = out->n_logit = 0;
    out->q_start[0] = 0;
    for (int s = 0; s < b->n_seq; s++)
        slice_sequence(b, max_pages, s, first, first + n, out);
    for (int i = 0; i < b->n_logit; i++)
        if (b->logit_row[i] >= first && b->logit_row[i] < first + n)
            out->logit_row[out->n_logit++] = b->logit_row[i] - first;
}

void micro_order(const struct batch *b, int n_micro, int32_t *order)
{
    int32_t at = 0;
    for (int k = 0; k < n_micro; k++) {
        int first, n = plan_micro_rows(b->n_row, n_micro, k, &first);
        for (int i = 0; i < b->n_logit; i++)
            if (b->logit_row[i] >= first && b->logit_row[i] < first + n)
                order[i] = at++;
    }
}
