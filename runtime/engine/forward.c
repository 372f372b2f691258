#include "forward_state.h"

#include <string.h>

#include "check.h"
#include "clock.h"
#include "log.h"
#include "mem.h"
#include "pinned.h"

/* decode steps with at most this number of rows are recorded; larger steps hide their launches */
#define RECORD_ROWS 64
#define LEAST_ROWS 64 /* least limit of rows, and of rows with logits */
#define MOST_PAIRS 4096
/* most bytes of logits when drafts are verified: 523 rows of 128 K tokens */
#define VERIFY_BYTES ((size_t)256 << 20)

static int larger(int a, int b)
{
    return a > b ? a : b;
}

struct forward_limits forward_limits_for(const struct model *m, const struct forward_load *load)
{
    struct forward_limits lim = {.max_rows = larger(load->batch_tokens, LEAST_ROWS),
                                 .max_seqs = load->n_seq,
                                 .max_logit_rows = larger(load->n_seq, LEAST_ROWS),
                                 .max_pages =
                                     (load->n_ctx + load->page_tokens - 1) / load->page_tokens,
                                 .max_kv_len = load->n_ctx,
                                 .max_pairs = MOST_PAIRS};
    if (load->max_draft) { /* every draft token needs a row of logits */
        int want = load->n_seq * (1 + load->max_draft),
            most = (int)(VERIFY_BYTES / sizeof(float) / (size_t)m->hp.n_vocab);
        lim.max_logit_rows = larger(want < most ? want : most, lim.max_logit_rows);
        lim.max_rows = larger(lim.max_logit_rows, lim.max_rows);
    }
    return lim;
}

static struct ops_limits forward_ops_limits(const struct model *m, const struct forward_limits *lim)
{
    const struct hparams *hp = &m->hp;
    int64_t heads = (int64_t)hp->n_head * hp->head_dim, in = hp->n_embd;
    in = hp->n_ff > in ? hp->n_ff : in;
    in = heads > in ? heads : in;
    struct ops_limits l = {.max_rows = lim->max_rows,
                           .max_logit_rows = lim->max_logit_rows,
                           .max_in = in,
                           .max_norm = hp->n_embd,
                           .max_out = in > hp->n_vocab ? in : hp->n_vocab,
                           .n_vocab = hp->n_vocab,
                           .max_kv_len = lim->max_kv_len,
                           .n_head = hp->n_head,
                           .head_dim = hp->head_dim};
    weights_formats(&m->w, l.weights);
    return l;
}

static size_t forward_scratch(const struct model *m, const struct ops *ops,
                              const struct forward_limits *lim)
{
    struct ops_limits ol = forward_ops_limits(m, lim);
    return ops->scratch_bytes(ops, &ol);
}

/* Number of integers in all arrays of a batch. */
static size_t forward_n_ints(const struct forward_limits *lim)
{
    return 3 * (size_t)lim->max_rows + (size_t)lim->max_logit_rows +
           (size_t)lim->max_seqs * (2 + (size_t)lim->max_pages) + 1;
}

/* Lays out the staging memory of the host. */
static void forward_stage(const struct model *m, const struct forward_limits *lim, struct layout *l,
                          struct staging *st)
{
    size_t lrows = (size_t)lim->max_logit_rows, pairs = (size_t)lim->max_pairs;
    st->ints = layout_take(l, forward_n_ints(lim), sizeof *st->ints);
    st->sample = layout_take(l, lrows, sizeof *st->sample);
    st->mask = layout_take(l, lrows * (((size_t)m->hp.n_vocab + 31) / 32), sizeof *st->mask);
    st->id = layout_take(l, lrows, sizeof *st->id);
    st->pair_row = layout_take(l, pairs, sizeof *st->pair_row);
    st->pair_id = layout_take(l, pairs, sizeof *st->pair_id);
    st->lp = layout_take(l, lrows + pairs, sizeof *st->lp);
    st->row = layout_take(l, (size_t)m->hp.n_vocab, sizeof *st->row);
}

/* True when the result of some part is normed before it is added. */
static bool has_post(const struct model *m)
{
    bool has = false;
    for (int l = 0; l < m->hp.n_layer; l++)
        has |=
            weights_own(&m->w, SLOT_ATTN_POST_NORM, l) || weights_own(&m->w, SLOT_FFN_POST_NORM, l);
    return has;
}

/* Walks over the workspace once: counts when l->base is NULL, otherwise hands out pointers. */
static void forward_layout(const struct model *m, const struct ops *ops,
                           const struct forward_limits *lim, struct layout *l, struct workspace *w)
{
    const struct hparams *hp = &m->hp;
    size_t rows = (size_t)lim->max_rows, lrows = (size_t)lim->max_logit_rows, f = sizeof(float);
    size_t q = (size_t)hp->n_head * (size_t)hp->head_dim;
    size_t kv = (size_t)hp->n_kv_head * (size_t)hp->head_dim;
    size_t embd = (size_t)hp->n_embd, vocab = (size_t)hp->n_vocab;
    w->x = layout_take(l, rows * embd, f);
    w->q = layout_take(l, rows * q, f);
    w->k = layout_take(l, rows * kv, f);
    w->v = layout_take(l, rows * kv, f);
    w->att = layout_take(l, rows * q, f);
    w->ffn = layout_take(l, rows * (size_t)hp->n_ff, f);
    w->last = layout_take(l, lrows * embd, f);
    w->logits = layout_take(l, lrows * vocab, f);
    w->post = has_post(m) ? layout_take(l, rows * embd, f) : NULL;
    w->inv_freq = layout_take(l, 2 * ((size_t)hp->rotary.n_rot / 2), f);
    w->ints = layout_take(l, forward_n_ints(lim), sizeof(int32_t));
    w->sample = layout_take(l, lrows, sizeof *w->sample);
    w->mask = layout_take(l, lrows * ((vocab + 31) / 32), sizeof *w->mask);
    w->id = layout_take(l, lrows, sizeof *w->id);
    w->pair_row = layout_take(l, (size_t)lim->max_pairs, sizeof *w->pair_row);
    w->pair_id = layout_take(l, (size_t)lim->max_pairs, sizeof *w->pair_id);
    w->lp = layout_take(l, lrows + (size_t)lim->max_pairs, f);
    w->scratch = layout_take(l, forward_scratch(m, ops, lim), 1);
}

size_t forward_workspace(const struct model *m, const struct ops *ops,
                         const struct forward_limits *lim)
{
    struct layout l = {0};
    struct workspace w;
    forward_layout(m, ops, lim, &l, &w);
    return l.size;
}

/* Splits one block into the arrays of a batch, in the order in which they are copied to the
 * device. */
static void forward_split(const struct forward_limits *lim, int32_t *block, struct batch *b)
{
    size_t rows = (size_t)lim->max_rows, seqs = (size_t)lim->max_seqs;
    b->tok = block;
    b->pos = b->tok + rows;
    b->slot = b->pos + rows;
    b->logit_row = b->slot + rows;
    b->q_start = b->logit_row + lim->max_logit_rows;
    b->kv_len = b->q_start + seqs + 1;
    b->page = b->kv_len + seqs;
}

static int forward_alloc(struct forward *f, struct err *e)
{
    struct device *dev = f->ops->dev;
    size_t scratch_bytes = forward_scratch(f->m, f->ops, &f->lim);
    struct layout l = {0}, at;
    TRY(dev->api->alloc(dev, MEM_DEVICE, forward_workspace(f->m, f->ops, &f->lim), &f->buf, e));
    at = (struct layout){.base = f->buf.ptr};
    forward_layout(f->m, f->ops, &f->lim, &at, &f->w);
    f->scratch_bytes = scratch_bytes;
    forward_stage(f->m, &f->lim, &l, &f->st);
    TRY(pinned_alloc(dev, l.size, "batches and results pass", &f->pinned, e));
    at = (struct layout){.base = f->pinned.ptr};
    forward_stage(f->m, &f->lim, &at, &f->st);
    memset(f->pinned.ptr, 0, l.size); /* a batch is sent whole, unfilled parts included */
    return 0;
}

static void host_layout(const struct forward *f, size_t scratch_bytes, struct layout *l,
                        struct hostside *h)
{
    size_t rows = (size_t)f->lim.max_rows;
    h->ffn = layout_take(l, rows * (size_t)f->m->hp.n_ff, sizeof *h->ffn);
    h->post =
        has_post(f->m) ? layout_take(l, rows * (size_t)f->m->hp.n_embd, sizeof *h->post) : NULL;
    h->scratch = layout_take(l, scratch_bytes, 1);
}

static int host_alloc(struct forward *f, struct err *e)
{
    struct hostside *h = &f->h;
    struct device *dev = f->ops->dev, *host = h->ops->dev;
    size_t scratch_bytes = forward_scratch(f->m, h->ops, &f->lim);
    size_t x_bytes = (size_t)f->lim.max_rows * (size_t)f->m->hp.n_embd * sizeof *h->x;
    struct layout l = {0}, at;
    host_layout(f, scratch_bytes, &l, h);
    TRY(host->api->alloc(host, MEM_DEVICE, l.size, &h->buf, e));
    at = (struct layout){.base = h->buf.ptr};
    host_layout(f, scratch_bytes, &at, h);
    h->scratch_bytes = scratch_bytes;
    TRY(pinned_alloc(dev, x_bytes, "activations of layers on the CPU pass", &h->x_buf, e));
    h->x = h->x_buf.ptr;
    return 0;
}

int forward_open(const struct model *m, struct place *place, struct kv *kv, struct ops *ops,
                 struct ops *host, const struct forward_limits *lim, struct forward **out,
                 struct err *e)
{
    int rc = 0;
    struct forward *f = mem_zalloc(1, sizeof *f);
    if (!f)
        return NOMEM(e, sizeof *f, "forward pass");
    *f = (struct forward){.m = m, .place = place, .kv = kv, .ops = ops, .lim = *lim, .layer = -1};
    CHECK(host ? host->dev->is_host : !place_has_host(place));
    if (place_has_host(place))
        f->h.ops = host;
    f->mask_words = ((size_t)m->hp.n_vocab + 31) / 32;
    const struct dev_api *api = ops->dev->api;
    f->n_ints = forward_n_ints(lim);
    TRY_DONE(forward_alloc(f, e));
    if (f->h.ops)
        TRY_DONE(host_alloc(f, e));
    forward_split(lim, f->st.ints, &f->host);
    const size_t n_freq = (size_t)m->hp.rotary.n_rot / 2;
    for (size_t local = 0; local < 2; local++)
        TRY_DONE(api->copy(ops->dev, NULL, f->w.inv_freq + local * n_freq,
                           model_freqs(m, local, lim->max_kv_len), n_freq * sizeof(float), e));
    TRY_DONE(api->sync(ops->dev, NULL, e));
    *out = f;
    return 0;
done:
    forward_close(f);
    return rc;
}

void forward_close(struct forward *f)
{
    if (!f)
        return;
    struct device *dev = f->ops->dev;
    (void)dev->api->sync(dev, NULL, NULL); /* after a failed step work may still be queued */
    f->ops->bind_scratch(f->ops, NULL, 0);
    dev->api->free(dev, &f->buf);
    dev->api->free(dev, &f->pinned);
    if (f->h.ops) {
        f->h.ops->bind_scratch(f->h.ops, NULL, 0);
        f->h.ops->dev->api->free(f->h.ops->dev, &f->h.buf);
        dev->api->free(dev, &f->h.x_buf);
    }
    mem_free(f);
}

/* Binds the scratch memory again: another forward may have used the backends since. */
static void forward_take_turn(struct forward *f)
{
    f->ops->bind_scratch(f->ops, f->w.scratch, f->scratch_bytes);
    if (f->h.ops)
        f->h.ops->bind_scratch(f->h.ops, f->h.scratch, f->h.scratch_bytes);
}

struct batch *forward_batch(struct forward *f)
{
    struct batch *b = &f->host;
    b->n_row = b->n_seq = b->n_logit = b->max_kv_len = 0;
    b->q_start[0] = 0;
    return b;
}

/* Computes x += y W^T + bias, on `on`. With a post-norm, the product is normed before it is added;
 * tmp (n, n_embd) holds the product. */
static int forward_add(struct forward *f, struct ops *on, const float *y, int64_t n_in,
                       const struct tensor *w, const struct tensor *bias, const struct tensor *post,
                       float *tmp, float *x, int n, struct err *e)
{
    const struct hparams *hp = &f->m->hp;
    RUN_ON(f, on, matmul, .x = y, .n_row = n, .n_in = n_in,
           .epilogue = post->data ? EPI_STORE : EPI_ADD, .n_out = 1,
           .out = {{w, bias->data, post->data ? tmp : x}});
    if (post->data)
        RUN_ON(f, on, rmsnorm, .x = tmp, .w = post->data, .y = x, .n_row = n, .n = hp->n_embd,
               .eps = hp->eps, .add = true);
    return 0;
}

/* Writes K and V of all rows, and the rotated Q to w.q. */
static int forward_qkv(struct forward *f, const struct batch *d, int layer, const struct tensor **t,
                       struct err *e)
{
    const struct hparams *hp = &f->m->hp;
    const struct layer *l = &f->m->layer[layer];
    struct workspace *w = &f->w;
    const float *inv_freq = w->inv_freq + (l->local ? hp->rotary.n_rot / 2 : 0);
    int n = d->n_row;
    CHECK(t[SLOT_ATTN_NORM]->data);
    RUN(f, matmul, .x = w->x, .norm = {t[SLOT_ATTN_NORM]->data, hp->eps}, .n_row = n,
        .n_in = hp->n_embd, .epilogue = EPI_STORE, .n_out = 3,
        .out = {{t[SLOT_ATTN_Q], t[SLOT_ATTN_Q_BIAS]->data, w->q},
                {t[SLOT_ATTN_K], t[SLOT_ATTN_K_BIAS]->data, w->k},
                {t[SLOT_ATTN_V], t[SLOT_ATTN_V_BIAS]->data, w->v}});
    if (t[SLOT_ATTN_Q_NORM]->data)
        RUN(f, rmsnorm, .x = w->q, .w = t[SLOT_ATTN_Q_NORM]->data, .y = w->q,
            .n_row = n * hp->n_head, .n = hp->head_dim, .eps = hp->eps);
    if (t[SLOT_ATTN_K_NORM]->data)
        RUN(f, rmsnorm, .x = w->k, .w = t[SLOT_ATTN_K_NORM]->data, .y = w->k,
            .n_row = n * hp->n_kv_head, .n = hp->head_dim, .eps = hp->eps);
    RUN(f, kv_write, .k = w->k, .v = w->v, .slot = d->slot, .kv = kv_layer(f->kv, layer),
        .n_row = n,
        .rope = {w->q, d->pos, inv_freq, hp->n_head, hp->rotary.n_rot, f->m->arch->rope});
    return 0;
}

/* The rows that the rest of a layer computes. */
struct rows {
    float *x, *att; /* (n, n_embd), (n, n_head * head_dim) */
    int n;
};

/* True if only the rows with logits pass the rest of this layer: no later layer needs the others.
 * Such rows lie in w.last, in the order of logits. */
static bool forward_thins(const struct forward *f, const struct batch *d, int layer)
{
    return layer + 1 == f->m->hp.n_layer && d->n_logit < d->n_row;
}

/* Computes attention of all rows, then drops those that thins says. */
static int forward_attention(struct forward *f, const struct batch *d, int layer, struct rows *out,
                             struct err *e)
{
    const struct hparams *hp = &f->m->hp;
    struct workspace *w = &f->w;
    const int heads = hp->n_head * hp->head_dim;
    const bool thin = forward_thins(f, d, layer);
    *out = thin ? (struct rows){w->last, w->q, d->n_logit} : (struct rows){w->x, w->att, d->n_row};
    if (!out->n)
        return 0;
    RUN(f, attention, .q = w->q, .y = w->att, .kv = kv_layer(f->kv, layer), .q_start = d->q_start,
        .kv_len = d->kv_len, .page = d->page, .n_seq = d->n_seq, .n_row = d->n_row,
        .max_pages = f->lim.max_pages, .max_kv_len = d->max_kv_len, .n_head = hp->n_head,
        .scale = hp->attn_scale, .window = f->m->layer[layer].window);
    if (!thin)
        return 0;
    RUN(f, gather, .x = w->x, .row = d->logit_row, .y = out->x, .n_row = out->n, .n = hp->n_embd);
    RUN(f, gather, .x = w->att, .row = d->logit_row, .y = out->att, .n_row = out->n, .n = heads);
    return 0;
}

/* Computes one ffn on the device or on the host. x (n, n_embd), ffn (n, n_ff) and post (n, n_embd)
 * are in the memory of `on`. */
static int forward_ffn(struct forward *f, struct ops *on, float *x, float *ffn, float *post, int n,
                       const struct tensor **t, struct err *e)
{
    const struct hparams *hp = &f->m->hp;
    CHECK(t[SLOT_FFN_NORM]->data);
    RUN_ON(f, on, matmul, .x = x, .norm = {t[SLOT_FFN_NORM]->data, hp->eps}, .n_row = n,
           .n_in = hp->n_embd, .epilogue = model_gate(f->m), .n_out = 2,
           .out = {{t[SLOT_FFN_GATE], t[SLOT_FFN_GATE_BIAS]->data, ffn},
                   {t[SLOT_FFN_UP], t[SLOT_FFN_UP_BIAS]->data, NULL}});
    return forward_add(f, on, ffn, hp->n_ff, t[SLOT_FFN_DOWN], t[SLOT_FFN_DOWN_BIAS],
                       t[SLOT_FFN_POST_NORM], post, x, n, e);
}

/* Copies rows to x on the device. h.x may be written again after the next wait for the stream: in
 * the next hop_down, or when the results of the step are fetched. */
static int hop_up(struct forward *f, float *x, int n, struct err *e)
{
    struct device *dev = f->ops->dev;
    size_t bytes = (size_t)n * (size_t)f->m->hp.n_embd * sizeof *f->h.x;
    return dev->api->copy(dev, NULL, x, f->h.x, bytes, e);
}

/* Copies rows of x to the host, and queues the copies that the link can do while the host
 * computes. */
static int hop_down(struct forward *f, const float *x, int n, struct err *e)
{
    struct device *dev = f->ops->dev;
    size_t bytes = (size_t)n * (size_t)f->m->hp.n_embd * sizeof *f->h.x;
    TRY(dev->api->copy(dev, NULL, f->h.x, x, bytes, e));
    TRY(place_prefetch(f->place, e));
    return dev->api->sync(dev, NULL, e);
}

static int forward_ffn_host(struct forward *f, float *x, int n, const struct tensor **t,
                            struct err *e)
{
    struct hostside *h = &f->h;
    int rc;
    SPANNED(rc, f->spans, SPAN_HOST, "hop", f->layer, n, hop_down(f, x, n, e));
    TRY(rc);
    TRY(forward_ffn(f, h->ops, h->x, h->ffn, h->post, n, t, e));
    SPANNED(rc, f->spans, SPAN_HOST, "hop", f->layer, n, hop_up(f, x, n, e));
    return rc;
}

/* Writes token embeddings to w.x. An embedding on the host is gathered there, by the ids in the
 * batch of the host. */
static int forward_embed(struct forward *f, const struct batch *d, const struct tensor **t,
                         struct err *e)
{
    if (!f->h.ops || place_of(f->place, PART_EMBED, 0) != PLAN_HOST) {
        RUN(f, embed, .table = t[SLOT_TOKEN_EMBD], .id = d->tok, .y = f->w.x, .n_row = d->n_row,
            .scale = model_embed_scale(f->m));
        return 0;
    }
    RUN_ON(f, f->h.ops, embed, .table = t[SLOT_TOKEN_EMBD], .id = f->host.tok, .y = f->h.x,
           .n_row = d->n_row, .scale = model_embed_scale(f->m));
    return hop_up(f, f->w.x, d->n_row, e);
}

static int forward_output(struct forward *f, const struct batch *d, const struct tensor **t,
                          struct err *e)
{
    const struct hparams *hp = &f->m->hp;
    struct workspace *w = &f->w;
    if (!d->n_logit)
        return 0;
    if (!forward_thins(f, d, hp->n_layer - 1)) /* else the rows lie there */
        RUN(f, gather, .x = w->x, .row = d->logit_row, .y = w->last, .n_row = d->n_logit,
            .n = hp->n_embd);
    CHECK(t[SLOT_OUTPUT_NORM]->data);
    RUN(f, matmul, .x = w->last, .norm = {t[SLOT_OUTPUT_NORM]->data, hp->eps}, .n_row = d->n_logit,
        .n_in = hp->n_embd, .epilogue = EPI_STORE, .n_out = 1,
        .out = {{t[SLOT_OUTPUT], t[SLOT_OUTPUT_BIAS]->data, w->logits}});
    return 0;
}

static void forward_check(const struct forward *f)
{
    const struct batch *b = &f->host;
    CHECK(b->n_row > 0 && b->n_row <= f->lim.max_rows && b->n_seq > 0 &&
          b->n_seq <= f->lim.max_seqs);
    CHECK(b->n_logit <= f->lim.max_logit_rows && b->max_kv_len <= f->lim.max_kv_len);
    CHECK(b->q_start[b->n_seq] == b->n_row);
    for (int i = 0; i < b->n_row; i++)
        CHECK(b->tok[i] >= 0 && b->tok[i] < f->m->hp.n_vocab);
}

static int forward_layer(struct forward *f, const struct batch *d, int l, const struct tensor **t,
                         struct err *e)
{
    const struct hparams *hp = &f->m->hp;
    struct workspace *w = &f->w;
    struct rows r;
    TRY(place_part(f->place, PART_ATTN, l, t, e));
    TRY(forward_qkv(f, d, l, t, e));
    TRY(forward_attention(f, d, l, &r, e));
    if (r.n)
        TRY(forward_add(f, f->ops, r.att, (int64_t)hp->n_head * hp->head_dim, t[SLOT_ATTN_OUT],
                        t[SLOT_ATTN_OUT_BIAS], t[SLOT_ATTN_POST_NORM], w->post, r.x, r.n, e));
    TRY(place_release(f->place, PART_ATTN, l, e));
    TRY(place_part(f->place, PART_FFN, l, t, e)); /* also without rows: parts have a fixed order */
    if (r.n && f->h.ops && place_of(f->place, PART_FFN, l) == PLAN_HOST)
        TRY(forward_ffn_host(f, r.x, r.n, t, e));
    else if (r.n)
        TRY(forward_ffn(f, f->ops, r.x, w->ffn, w->post, r.n, t, e));
    return place_release(f->place, PART_FFN, l, e);
}

static int forward_first(struct forward *f, const struct batch *d, const struct tensor **t,
                         struct err *e)
{
    TRY(place_part(f->place, PART_EMBED, 0, t, e));
    TRY(forward_embed(f, d, t, e));
    return place_release(f->place, PART_EMBED, 0, e);
}

/* Uses the output part also without logits: streamed parts are used in a fixed order. */
static int forward_last(struct forward *f, const struct batch *d, const struct tensor **t,
                        struct err *e)
{
    TRY(place_part(f->place, PART_OUTPUT, 0, t, e));
    TRY(forward_output(f, d, t, e));
    return place_release(f->place, PART_OUTPUT, 0, e);
}

/* Runs all layers. d has the arrays of the device. */
static int forward_network(struct forward *f, const struct batch *d, struct err *e)
{
    const struct tensor *t[SLOT_COUNT];
    int rc;
    SPANNED(rc, f->spans, SPAN_PART, "embed", -1, d->n_row, forward_first(f, d, t, e));
    for (int l = 0; l < f->m->hp.n_layer && rc == 0; l++) {
        f->layer = l;
        SPANNED(rc, f->spans, SPAN_PART, "layer", l, d->n_row, forward_layer(f, d, l, t, e));
    }
    f->layer = -1;
    if (rc == 0)
        SPANNED(rc, f->spans, SPAN_PART, "output", -1, d->n_logit, forward_last(f, d, t, e));
    return rc;
}

/* ---- recorded steps --------------------------------------------------------------------------
 * In a decode step every row has logits: one row a sequence, more if drafts are verified. It
 * launches hundreds of small kernels. Their arguments depend only on the numbers of sequences and
 * rows, and through max_kv_len on the geometry of attention. With max_kv_len rounded up to a power
 * of two, many steps have equal arguments. So the whole network is recorded once for each such key,
 * and replayed.
 *   - The first step of a key runs plainly. A key that occurs once costs no recording, and kernels
 *     are loaded before one is made.
 *   - Results do not change: max_kv_len is only a bound.
 *   - Nothing is recorded if a part is streamed or on the host.
 *   - A step whose recording fails runs plainly, and so do all later ones. Nothing of the step has
 *     run by then. A device that works no more fails again. */

/* The key of a step that can be recorded, 0 for other steps; *bound = its rounded max_kv_len. */
static uint64_t forward_key(const struct forward *f, int *bound)
{
    const struct batch *b = &f->host;
    if (!f->ops->replay || f->lim.no_record || f->plain || !place_recordable(f->place) ||
        b->n_row > RECORD_ROWS || b->n_row != b->n_logit)
        return 0;
    int top = f->lim.max_kv_len;
    for (*bound = 256; *bound < b->max_kv_len;)
        *bound = *bound > top / 2 ? top : *bound * 2;
    *bound = *bound < top ? *bound : top;
    return (uint64_t)*bound << 32 | (uint64_t)f->lim.record_key << 16 | (uint64_t)b->n_seq << 8 |
           (uint64_t)b->n_row;
}

/* True when an earlier step had this key; remembers the key. */
static bool forward_seen(struct forward *f, uint64_t key)
{
    for (unsigned i = 0; i < RECORD_KEYS; i++)
        if (f->seen[i] == key)
            return true;
    f->seen[f->n_seen++ % RECORD_KEYS] = key;
    return false;
}

/* 1: the recorded pass is queued. 0: no recording has this key. */
static int forward_replay(struct forward *f, uint64_t key, struct err *e)
{
    int rc;
    SPANNED(rc, f->spans, SPAN_HOST, "replay", -1, f->host.n_row,
            f->ops->replay(f->ops, NULL, key, e));
    if (rc > 0)
        spans_replay(f->spans, f->ops, key);
    return rc;
}

static int forward_record(struct forward *f, const struct batch *d, uint64_t key, struct err *e)
{
    struct ops *ops = f->ops;
    TRY(ops->record_begin(ops, NULL, e));
    spans_record(f->spans, ops, key);
    int rc = forward_network(f, d, e);
    spans_record(f->spans, ops, 0);
    if (rc < 0) {
        (void)ops->record_end(ops, NULL, 0, NULL);
        return rc;
    }
    TRY(ops->record_end(ops, NULL, key, e));
    rc = forward_replay(f, key, e);
    CHECK(rc != 0);
    return rc < 0 ? rc : 0;
}

static int forward_run(struct forward *f, struct batch *d, struct err *e)
{
    uint64_t key = forward_key(f, &d->max_kv_len);
    if (!key)
        return forward_network(f, d, e);
    struct err why = {0};
    int rc = forward_replay(f, key, &why);
    if (rc == 0 && forward_seen(f, key))
        rc = forward_record(f, d, key, &why) < 0 ? -1 : 1;
    if (rc < 0) {
        f->plain = true;
        log_warn("decode steps run without CUDA graphs from now on: %s", why.msg);
    }
    return rc > 0 ? 0 : forward_network(f, d, e);
}

static int forward_upload(struct forward *f, struct err *e)
{
    struct device *dev = f->ops->dev;
    return dev->api->copy(dev, NULL, f->w.ints, f->st.ints, f->n_ints * sizeof(int32_t), e);
}

int forward_wait(struct forward *f, struct err *e)
{
    struct device *dev = f->ops->dev;
    int rc;
    SPANNED(rc, f->spans, SPAN_HOST, "wait", -1, 0, dev->api->sync(dev, NULL, e));
    return rc;
}

static int forward_pass(struct forward *f, struct err *e)
{
    int rc;
    SPANNED(rc, f->spans, SPAN_HOST, "upload", -1, f->host.n_row, forward_upload(f, e));
    TRY(rc);
    struct batch d = f->host; /* the counts of the host's batch, with the device's arrays */
    forward_split(&f->lim, f->w.ints, &d);
    TRY(forward_run(f, &d, e));
    /* A step waits once: when its results are fetched, otherwise here. The next batch reuses
     * st.ints. */
    return d.n_logit ? 0 : forward_wait(f, e);
}

int forward_step(struct forward *f, const char *phase, struct err *e)
{
    int rc;
    forward_check(f);
    forward_take_turn(f);
    SPANNED(rc, f->spans, SPAN_PHASE, phase, -1, f->host.n_row, forward_pass(f, e));
    return rc;
}

void forward_watch(struct forward *f, struct spans *spans)
{
    f->spans = spans;
    place_watch(f->place, spans);
    kv_watch(f->kv, spans);
}

double forward_now(const struct forward *f)
{
    struct device *dev = f->ops->dev;
    return dev->api->now ? dev->api->now(dev) : (double)clock_ns() * 1e-9;
}
