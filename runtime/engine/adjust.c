#include "adjust.h"

#include <math.h>

#include "mem.h"

struct adjust {
    int32_t n_vocab;
    int32_t *place; /* (n_vocab) 1 + index of the token's edit in the row under way; 0 = none */
};

int adjust_open(int32_t n_vocab, struct adjust **out, struct err *e)
{
    struct adjust *a = mem_zalloc(1, sizeof *a);
    int32_t *place = mem_zalloc((size_t)n_vocab, sizeof *place);
    if (!a || !place) {
        mem_free(a);
        mem_free(place);
        return NOMEM(e, (size_t)n_vocab * sizeof *place, "penalties");
    }
    *a = (struct adjust){n_vocab, place};
    *out = a;
    return 0;
}

void adjust_close(struct adjust *a)
{
    if (!a)
        return;
    mem_free(a->place);
    mem_free(a);
}

static bool repeats(const struct request *r)
{
    return r->repeat_penalty != 0 && r->repeat_penalty != 1 && r->repeat_last_n != 0;
}

static bool counts(const struct request *r)
{
    return r->presence_penalty != 0 || r->frequency_penalty != 0;
}

bool adjust_wanted(const struct request *r)
{
    return r->n_bias || repeats(r) || counts(r);
}

int adjust_check(const struct request *r, int32_t n_vocab, struct err *e)
{
    if (r->n_bias < 0 || r->n_bias > REQUEST_BIAS_MOST)
        FAIL(e, ERR_USAGE, "%d biases of tokens: must be 0 to %d", r->n_bias, REQUEST_BIAS_MOST);
    for (int i = 0; i < r->n_bias; i++) {
        if (r->bias[i].id < 0 || r->bias[i].id >= n_vocab)
            FAIL(e, ERR_DATA, "bad token id %d in bias %d: must be 0 to %d", r->bias[i].id, i,
                 n_vocab - 1);
        if (!(fabsf(r->bias[i].bias) <= 100))
            FAIL(e, ERR_USAGE, "bad bias %g of token %d: must be -100 to 100",
                 (double)r->bias[i].bias, r->bias[i].id);
    }
    if (!(fabsf(r->presence_penalty) <= 2))
        FAIL(e, ERR_USAGE, "bad presence_penalty %g: must be -2 to 2 (0 = off)",
             (double)r->presence_penalty);
    if (!(fabsf(r->frequency_penalty) <= 2))
        FAIL(e, ERR_USAGE, "bad frequency_penalty %g: must be -2 to 2 (0 = off)",
             (double)r->frequency_penalty);
    if (r->repeat_penalty != 0 && !(r->repeat_penalty >= 0.01f && r->repeat_penalty <= 100))
        FAIL(e, ERR_USAGE, "bad repeat_penalty %g: must be 0.01 to 100 (1 = off)",
             (double)r->repeat_penalty);
    if (r->repeat_last_n < -1)
        FAIL(e, ERR_USAGE, "bad repeat_last_n %d: must be -1 (all), 0 (off) or more",
             r->repeat_last_n);
    return 0;
}

int adjust_most(const struct adjust *a, const struct request *r, int n)
{
    int most = n + r->n_bias;
    return most < a->n_vocab ? most : a->n_vocab;
}

static int32_t text_at(const struct adjust_text *t, int i)
{
    return i < t->n ? t->tok[i] : t->tail[i - t->n];
}

/* The edit of a token, made if it has none yet. */
static struct logit_edit *adjust_edit(struct adjust *a, struct logit_edit *edit, int *n,
                                      int32_t row, int32_t id)
{
    if (!a->place[id]) {
        edit[*n] = (struct logit_edit){.row = row, .id = id, .scale = 1};
        a->place[id] = ++*n;
    }
    return &edit[a->place[id] - 1];
}

int adjust_row(struct adjust *a, const struct request *r, const struct adjust_text *t, int32_t row,
               struct logit_edit *edit)
{
    int n = 0, len = t->n + t->n_tail;
    for (int i = r->n_prompt; i < len && counts(r); i++)
        adjust_edit(a, edit, &n, row, text_at(t, i))->add += 1; /* the count, for now */
    for (int i = 0; i < n; i++)
        edit[i].add = -(edit[i].add * r->frequency_penalty + r->presence_penalty);
    int last = r->repeat_last_n < 0 || r->repeat_last_n > len ? len : r->repeat_last_n;
    for (int i = len - last; i < len && repeats(r); i++)
        adjust_edit(a, edit, &n, row, text_at(t, i))->scale = r->repeat_penalty;
    for (int i = 0; i < r->n_bias; i++)
        adjust_edit(a, edit, &n, row, r->bias[i].id)->add += r->bias[i].bias;
    for (int i = 0; i < n; i++)
        a->place[edit[i].id] = 0;
    return n;
}
