/*
 * forward_rows: a step of tensor parallel (plan.h). Every device computes its share of each result,
 * and gathers bring the shares together.
 *
 *   embed (device 0) -- rows to all
 *   each layer:  q k v, attention -- gather -- matrix, + x -- gather -- gate up -- gather --
 *                down, + x -- gather
 *   output -- gather on the last device
 *
 * A result of width w has shares of w / n elements of each row. A single row has its shares side by
 * side, so they are computed and copied in place. Shares of several rows lie in w.block, all rows
 * of a share together. After the gather the op `gather` puts them into whole rows.
 *
 * x, the residual stream, is whole on each device. A device adds to its own share of x, then the
 * shares are gathered. The own share of several rows stays in block[1] until x changes otherwise.
 */
#include "check.h"
#include "forward_state.h"

/* An array that the devices compute in shares. */
struct shared {
    float *whole[PLAN_DEVICES]; /* on each device, (n, n_share * width) */
    size_t width, stride;       /* of a share: elements of a row; rows in block */
    int slot;                   /* of gather, and block */
    int n;                      /* rows */
};

/* Shares of several rows: share 0 on lane i. */
static float *shared_first(const struct forward *f, const struct shared *v, int i)
{
    return v->n == 1 ? v->whole[i] : f->lane[i].w.block[v->slot];
}

/* The share that lane i computes. */
static float *shared_own(const struct forward *f, const struct shared *v, int i)
{
    const size_t step = v->n == 1 ? v->width : v->stride * v->width;
    return shared_first(f, v, i) + (size_t)f->lane[i].share * step;
}

/* Puts the shares of several rows into whole rows on lane i. */
static int shared_join(struct forward *f, const struct shared *v, int i, struct err *e)
{
    const struct workspace *w = &f->lane[i].w;
    f->on = &f->lane[i];
    RUN(f, gather, .x = w->block[v->slot],
        .row = v->stride == (size_t)f->lim.max_rows ? w->join : w->join_logits, .y = v->whole[i],
        .n_row = v->n * f->n_share, .n = (int64_t)v->width);
    return 0;
}

/* Brings the shares together, on lane `to` or on all. */
static int shared_gather(struct forward *f, const struct shared *v, int to, struct err *e)
{
    const size_t row = v->width * sizeof(float);
    struct gather_move m = {.slot = v->slot,
                            .step = v->n == 1 ? row : v->stride * row,
                            .bytes = (size_t)v->n * row,
                            .from = GATHER_ALL,
                            .to = to};
    for (int i = 0; i < f->n_lane; i++)
        m.at[i] = (char *)shared_first(f, v, i);
    TRY(gather_move(&f->gather, &m, f->spans, e));
    for (int i = 0; i < f->n_lane && v->n > 1; i++)
        if (to == GATHER_ALL || to == i)
            TRY(shared_join(f, v, i, e));
    return 0;
}

/* A step under way: on each lane the batch, the tensors and x. */
struct rows_step {
    struct batch d[PLAN_DEVICES];
    const struct tensor *t[PLAN_DEVICES][SLOT_COUNT];
    float *x[PLAN_DEVICES]; /* (n, n_embd) */
    int n;                  /* rows that the rest of the layer computes */
};

static struct shared shared_of(const struct forward *f, int n, int width, int slot)
{
    return (struct shared){.width = (size_t)(width / f->n_share),
                           .stride = (size_t)f->lim.max_rows,
                           .slot = slot,
                           .n = n};
}

static void rows_part(const struct forward *f, struct rows_step *s, enum plan_part part, int layer)
{
    for (int i = 0; i < f->n_lane; i++)
        place_share(f->place, part, layer, f->lane[i].share, s->t[i]);
}

/* Embeds on the first device and sends the rows to the others. */
static int rows_embed(struct forward *f, struct rows_step *s, struct err *e)
{
    struct gather_move m = {.slot = 1,
                            .bytes = (size_t)s->n * (size_t)f->m->hp.n_embd * sizeof(float),
                            .from = 0,
                            .to = GATHER_ALL};
    f->on = &f->lane[0];
    f->micro.x = s->x[0];
    TRY(place_part(f->place, PART_EMBED, 0, s->t[0], e));
    TRY(forward_embed(f, &s->d[0], s->t[0], e));
    for (int i = 0; i < f->n_lane; i++)
        m.at[i] = (char *)s->x[i];
    f->own_ready = false;
    TRY(gather_move(&f->gather, &m, f->spans, e));
    return place_release(f->place, PART_EMBED, 0, e);
}

/* Keeps only the rows with logits: of x in w.last, of the device's heads in y. */
static int rows_thin(struct forward *f, struct rows_step *s, int i, const float *att, float *y,
                     int64_t width, struct err *e)
{
    const struct batch *d = &s->d[i];
    struct workspace *w = &f->on->w;
    RUN(f, gather, .x = s->x[i], .row = d->logit_row, .y = w->last, .n_row = d->n_logit,
        .n = f->m->hp.n_embd);
    RUN(f, gather, .x = att, .row = d->logit_row, .y = y, .n_row = d->n_logit, .n = width);
    s->x[i] = w->last;
    return 0;
}

/* q, k, v and attention: each device its heads. Leaves whole results in w.att, and the number of
 * rows that go on in s->n. */
static int rows_attention(struct forward *f, struct rows_step *s, int layer, struct err *e)
{
    const struct hparams *hp = &f->m->hp;
    const bool thin = forward_thins(f, &s->d[0], layer);
    const int n = thin ? s->d[0].n_logit : s->d[0].n_row;
    struct shared att = shared_of(f, n, hp->n_head * hp->head_dim, 0);
    for (int i = 0; i < f->n_lane; i++)
        att.whole[i] = f->lane[i].w.att;
    for (int i = 0; i < f->n_lane; i++) {
        struct workspace *w = &f->lane[i].w;
        f->on = &f->lane[i];
        f->micro.x = s->x[i];
        TRY(forward_qkv(f, &s->d[i], layer, s->t[i], e));
        if (!n)
            continue;
        /* q takes at most half of w.q */
        float *all = thin ? w->q + (size_t)f->lim.max_rows * att.width : shared_own(f, &att, i);
        TRY(forward_attend(f, &s->d[i], layer, all, e));
        if (thin)
            TRY(rows_thin(f, s, i, all, shared_own(f, &att, i), (int64_t)att.width, e));
    }
    s->n = n;
    f->own_ready = f->own_ready && !thin;
    return n ? shared_gather(f, &att, GATHER_ALL, e) : 0;
}

/* x += y W^T + bias, on its share of x. */
static int rows_add_own(struct forward *f, struct rows_step *s, int i, const float *y, int64_t n_in,
                        enum slot w, enum slot bias, const struct shared *x, struct err *e)
{
    float *own = shared_own(f, x, i);
    if (x->n > 1 && !f->own_ready)
        RUN(f, gather, .x = s->x[i], .row = f->on->w.own, .y = own, .n_row = x->n,
            .n = (int64_t)x->width);
    RUN(f, matmul, .x = y, .n_row = x->n, .n_in = n_in, .epilogue = EPI_ADD, .n_out = 1,
        .out = {{s->t[i][w], s->t[i][bias]->data, own}});
    return 0;
}

/* The matrix after attention, or down: y[i] (n, n_in) is whole. x is whole afterwards. With a
 * post-norm the product is gathered, and each device norms and adds it. */
static int rows_add(struct forward *f, struct rows_step *s, float *const *y, int64_t n_in,
                    enum slot w, enum slot bias, enum slot post, struct err *e)
{
    const struct hparams *hp = &f->m->hp;
    const bool normed = s->t[0][post]->data != NULL;
    struct shared v = shared_of(f, s->n, hp->n_embd, 1);
    for (int i = 0; i < f->n_lane; i++)
        v.whole[i] = normed ? f->lane[i].w.post : s->x[i];
    for (int i = 0; i < f->n_lane; i++) {
        f->on = &f->lane[i];
        if (!normed)
            TRY(rows_add_own(f, s, i, y[i], n_in, w, bias, &v, e));
        else
            RUN(f, matmul, .x = y[i], .n_row = s->n, .n_in = n_in, .epilogue = EPI_STORE,
                .n_out = 1, .out = {{s->t[i][w], s->t[i][bias]->data, shared_own(f, &v, i)}});
    }
    TRY(shared_gather(f, &v, GATHER_ALL, e));
    f->own_ready = !normed;
    for (int i = 0; i < f->n_lane && normed; i++) {
        f->on = &f->lane[i];
        RUN(f, rmsnorm, .x = v.whole[i], .w = s->t[i][post]->data, .y = s->x[i], .n_row = s->n,
            .n = hp->n_embd, .eps = hp->eps, .add = true);
    }
    return 0;
}

static int rows_gate_up(struct forward *f, struct rows_step *s, float **ffn, struct err *e)
{
    struct shared v = shared_of(f, s->n, f->m->hp.n_ff, 0);
    for (int i = 0; i < f->n_lane; i++)
        v.whole[i] = ffn[i] = f->lane[i].w.ffn;
    for (int i = 0; i < f->n_lane; i++) {
        f->on = &f->lane[i];
        TRY(forward_gate_up(f, f->on->ops, s->x[i], shared_own(f, &v, i), s->n, s->t[i], e));
    }
    return shared_gather(f, &v, GATHER_ALL, e);
}

static int rows_layer(struct forward *f, struct rows_step *s, int layer, struct err *e)
{
    const struct hparams *hp = &f->m->hp;
    float *att[PLAN_DEVICES], *ffn[PLAN_DEVICES];
    for (int i = 0; i < f->n_lane; i++)
        att[i] = f->lane[i].w.att;
    rows_part(f, s, PART_ATTN, layer);
    TRY(rows_attention(f, s, layer, e));
    if (!s->n)
        return 0;
    TRY(rows_add(f, s, att, (int64_t)hp->n_head * hp->head_dim, SLOT_ATTN_OUT, SLOT_ATTN_OUT_BIAS,
                 SLOT_ATTN_POST_NORM, e));
    rows_part(f, s, PART_FFN, layer);
    TRY(rows_gate_up(f, s, ffn, e));
    return rows_add(f, s, ffn, hp->n_ff, SLOT_FFN_DOWN, SLOT_FFN_DOWN_BIAS, SLOT_FFN_POST_NORM, e);
}

/* Logits on the last device: of all shares, or of the whole matrix that lies there. */
static int rows_output(struct forward *f, struct rows_step *s, struct err *e)
{
    const bool divided = place_plan(f->place)->rows_output;
    const int last = f->n_lane - 1, n = s->d[0].n_logit;
    struct shared v = shared_of(f, n, f->m->hp.n_vocab, 0);
    v.stride = (size_t)f->lim.max_logit_rows;
    if (!n)
        return 0;
    rows_part(f, s, PART_OUTPUT, 0);
    for (int i = 0; i < f->n_lane; i++)
        v.whole[i] = f->lane[i].w.logits;
    for (int i = divided ? 0 : last; i < f->n_lane; i++) {
        struct workspace *w = &f->lane[i].w;
        f->on = &f->lane[i];
        if (s->x[i] != w->last)
            RUN(f, gather, .x = s->x[i], .row = s->d[i].logit_row, .y = w->last, .n_row = n,
                .n = f->m->hp.n_embd);
        TRY(forward_logits_of(f, &s->d[i], s->t[i], divided ? shared_own(f, &v, i) : w->logits, e));
    }
    return divided ? shared_gather(f, &v, last, e) : 0;
}

int forward_rows_pass(struct forward *f, struct err *e)
{
    struct rows_step s = {.n = f->host.n_row};
    int rc;
    for (int i = 0; i < f->n_lane; i++) {
        s.d[i] = f->host; /* the counts of the host's batch, with the device's arrays */
        forward_split(&f->lim, f->lane[i].w.ints, &s.d[i]);
        s.x[i] = f->lane[i].w.x;
    }
    SPANNED(rc, f->spans, SPAN_PART, "embed", -1, s.n, rows_embed(f, &s, e));
    for (int l = 0; l < f->m->hp.n_layer && rc == 0; l++) {
        f->layer = l;
        SPANNED(rc, f->spans, SPAN_PART, "layer", l, s.n, rows_layer(f, &s, l, e));
    }
    f->layer = -1;
    TRY(rc);
    SPANNED(rc, f->spans, SPAN_PART, "output", -1, s.d[0].n_logit, rows_output(f, &s, e));
    return rc;
}
