/* The results of a step: drawn tokens, log-probabilities, changed logits, lists of the largest. */
#include <math.h>
#include <string.h>

#include "check.h"
#include "forward_state.h"

int forward_sample(struct forward *f, int first, int n, const struct sample_row *rows,
                   const uint32_t *const *masks, int n_mask, int32_t *id, float *lp, struct err *e)
{
    struct device *dev = f->on->ops->dev;
    struct workspace *w = &f->on->w;
    CHECK(n > 0 && first + n <= f->lim.max_logit_rows && n_mask <= f->lim.max_logit_rows);
    struct staging *st = &f->st;
    memcpy(st->sample, rows, (size_t)n * sizeof *rows);
    for (int i = 0; i < n_mask; i++)
        memcpy(st->mask + (size_t)i * f->mask_words, masks[i], f->mask_words * sizeof *st->mask);
    TRY(dev->api->copy(dev, NULL, w->sample, st->sample, (size_t)n * sizeof *rows, e));
    TRY(dev->api->copy(dev, NULL, w->mask, st->mask,
                       (size_t)n_mask * f->mask_words * sizeof *st->mask, e));
    RUN(f, sample, .logits = w->logits + (size_t)first * (size_t)f->m->hp.n_vocab, .n_row = n,
        .n_vocab = f->m->hp.n_vocab, .p = w->sample, .mask_bits = w->mask, .n_mask = n_mask,
        .id = w->id, .lp = w->lp);
    TRY(dev->api->copy(dev, NULL, st->id, w->id, (size_t)n * sizeof *id, e));
    TRY(dev->api->copy(dev, NULL, st->lp, w->lp, (size_t)n * sizeof *lp, e));
    TRY(forward_wait(f, e));
    memcpy(id, st->id, (size_t)n * sizeof *id);
    memcpy(lp, st->lp, (size_t)n * sizeof *lp);
    return 0;
}

int forward_logprob(struct forward *f, const int32_t *row, const int32_t *id, int n, float *lp,
                    struct err *e)
{
    struct device *dev = f->on->ops->dev;
    struct workspace *w = &f->on->w;
    CHECK(n > 0 && n <= f->lim.max_pairs);
    struct staging *st = &f->st;
    memcpy(st->pair_row, row, (size_t)n * sizeof *row);
    memcpy(st->pair_id, id, (size_t)n * sizeof *id);
    TRY(dev->api->copy(dev, NULL, w->pair_row, st->pair_row, (size_t)n * sizeof *row, e));
    TRY(dev->api->copy(dev, NULL, w->pair_id, st->pair_id, (size_t)n * sizeof *id, e));
    RUN(f, logprob, .logits = w->logits, .n_row = f->host.n_logit, .n_vocab = f->m->hp.n_vocab,
        .row = w->pair_row, .id = w->pair_id, .lp = w->lp, .n_pair = n);
    TRY(dev->api->copy(dev, NULL, st->lp, w->lp, (size_t)n * sizeof *lp, e));
    TRY(forward_wait(f, e));
    memcpy(lp, st->lp, (size_t)n * sizeof *lp);
    return 0;
}

/* ---- logits on the host ---------------------------------------------------------------------- */

/* *x = the row, readable and writable by the host: its place there, or a copy in st.row. */
static int forward_row(struct forward *f, int row, float **x, struct err *e)
{
    struct device *dev = f->on->ops->dev;
    size_t vocab = (size_t)f->m->hp.n_vocab;
    float *at = f->on->w.logits + (size_t)row * vocab;
    CHECK(row >= 0 && row < f->lim.max_logit_rows);
    *x = dev->is_host ? at : f->st.row;
    if (!dev->is_host)
        TRY(dev->api->copy(dev, NULL, *x, at, vocab * sizeof *at, e));
    return forward_wait(f, e);
}

/* Writes a row of forward_row back. The next one is read after it, in the order of the stream. */
static int forward_put_row(struct forward *f, int row, const float *x, struct err *e)
{
    struct device *dev = f->on->ops->dev;
    size_t vocab = (size_t)f->m->hp.n_vocab;
    if (dev->is_host)
        return 0;
    return dev->api->copy(dev, NULL, f->on->w.logits + (size_t)row * vocab, x, vocab * sizeof *x,
                          e);
}

static void edit_apply(struct logit_edit *d, float *x)
{
    d->was = *x;
    *x = (*x > 0 ? *x / d->scale : *x * d->scale) + d->add;
}

static void edit_undo(struct logit_edit *d, float *x)
{
    *x = d->was;
}

static int forward_each_edit(struct forward *f, struct logit_edit *edit, int n,
                             void (*change)(struct logit_edit *, float *), struct err *e)
{
    float *x = NULL;
    for (int i = 0; i < n; i++) {
        if (i == 0 || edit[i].row != edit[i - 1].row)
            TRY(forward_row(f, edit[i].row, &x, e));
        CHECK(edit[i].id >= 0 && edit[i].id < f->m->hp.n_vocab);
        change(&edit[i], &x[edit[i].id]);
        if (i + 1 == n || edit[i].row != edit[i + 1].row)
            TRY(forward_put_row(f, edit[i].row, x, e));
    }
    return 0;
}

int forward_edit(struct forward *f, struct logit_edit *edit, int n, struct err *e)
{
    return forward_each_edit(f, edit, n, edit_apply, e);
}

int forward_restore(struct forward *f, struct logit_edit *edit, int n, struct err *e)
{
    return forward_each_edit(f, edit, n, edit_undo, e);
}

/* Inserts i into id[0..n), sorted by falling logits; returns the new n, at most `most`. */
static int top_insert(const float *x, int32_t *id, int n, int most, int32_t i)
{
    int at = n < most ? n : most - 1;
    while (at > 0 && x[id[at - 1]] < x[i]) {
        id[at] = id[at - 1];
        at--;
    }
    id[at] = i;
    return n < most ? n + 1 : most;
}

int forward_top(struct forward *f, int row, int n_top, int32_t *id, struct err *e)
{
    enum { BLOCK = 64 };
    int32_t vocab = f->m->hp.n_vocab;
    int n = 0;
    float *x;
    TRY(forward_row(f, row, &x, e));
    for (int32_t at = 0; at < vocab; at += BLOCK) {
        int32_t end = at + BLOCK < vocab ? at + BLOCK : vocab;
        unsigned larger_ones = n < n_top;
        float least = n < n_top ? 0 : x[id[n - 1]];
        for (int32_t i = at; i < end; i++)
            larger_ones |= x[i] > least;
        for (int32_t i = at; i < end && larger_ones; i++)
            if (!isnan(x[i]) && (n < n_top || x[i] > x[id[n - 1]]))
                n = top_insert(x, id, n, n_top, i);
    }
    for (; n < n_top; n++)
        id[n] = -1;
    return 0;
}

int forward_logits(struct forward *f, int first, int n, float *out, struct err *e)
{
    struct device *dev = f->on->ops->dev;
    size_t vocab = (size_t)f->m->hp.n_vocab;
    CHECK(n > 0 && first + n <= f->lim.max_logit_rows);
    TRY(dev->api->copy(dev, NULL, out, f->on->w.logits + (size_t)first * vocab,
                       (size_t)n * vocab * sizeof *out, e));
    return forward_wait(f, e);
}

const struct forward_limits *forward_limits(const struct forward *f)
{
    return &f->lim;
}
