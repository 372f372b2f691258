/* The limits of a forward pass and its memory: workspaces, staging, lanes and borders. */
#include "forward_state.h"

#include <string.h>

#include "check.h"
#include "mem.h"
#include "pinned.h"

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
static size_t batch_ints(const struct forward_limits *lim)
{
    return 3 * (size_t)lim->max_rows + (size_t)lim->max_logit_rows +
           (size_t)lim->max_seqs * (2 + (size_t)lim->max_pages) + 1;
}

/* Number of integers of a step: workspace.ints. */
static size_t forward_n_ints(const struct forward_limits *lim)
{
    return lim->n_device > 1 ? (1 + MICRO_MOST) * batch_ints(lim) + (size_t)lim->max_logit_rows
                             : batch_ints(lim);
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

static size_t most(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* The memory of tensor parallel. */
static void forward_layout_shares(const struct hparams *hp, const struct forward_limits *lim,
                                  struct layout *l, struct workspace *w)
{
    const size_t rows = (size_t)lim->max_rows, lrows = (size_t)lim->max_logit_rows,
                 n = (size_t)lim->n_share, q = (size_t)hp->n_head * (size_t)hp->head_dim;
    w->block[0] = w->block[1] = NULL;
    w->join = w->join_logits = w->own = NULL;
    if (n < 2)
        return;
    w->block[0] = layout_take(
        l, most(rows * most(q, (size_t)hp->n_ff), lrows * (size_t)hp->n_vocab), sizeof(float));
    w->block[1] = layout_take(l, rows * (size_t)hp->n_embd, sizeof(float));
    w->join = layout_take(l, rows * n, sizeof *w->join);
    w->join_logits = layout_take(l, lrows * n, sizeof *w->join_logits);
    w->own = layout_take(l, rows, sizeof *w->own);
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
    w->x = layout_take(l, (lim->n_device > 1 ? rows + 1 : rows) * embd, f);
    w->q = layout_take(l, rows * q, f);
    w->k = layout_take(l, rows * kv, f);
    w->v = layout_take(l, rows * kv, f);
    w->att = layout_take(l, rows * q, f);
    w->ffn = layout_take(l, rows * (size_t)hp->n_ff, f);
    w->last = layout_take(l, lrows * embd, f);
    w->micro = lim->n_device > 1 ? layout_take(l, lrows * embd, f) : NULL;
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
    forward_layout_shares(hp, lim, l, w);
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

void forward_split(const struct forward_limits *lim, int32_t *block, struct batch *b)
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

/* Sends a table of rows for the op gather. Row r of the whole has its share s in row s * stride + r
 * of the shares. */
static int lane_table(const struct lane *a, int n_share, size_t stride, int32_t *to, struct err *e)
{
    const size_t n = (size_t)n_share;
    int32_t *row = mem_zalloc(stride * n, sizeof *row);
    if (!row)
        return NOMEM(e, stride * n * sizeof *row, "the order of shares");
    for (size_t r = 0; r < stride; r++)
        for (size_t s = 0; s < n; s++)
            row[r * n + s] = (int32_t)(s * stride + r);
    struct device *dev = a->ops->dev;
    int rc = dev->api->copy(dev, NULL, to, row, stride * n * sizeof *row, e);
    if (rc == 0)
        rc = dev->api->sync(dev, NULL, e);
    mem_free(row);
    return rc;
}

/* Sends the rows of its own share in whole rows. */
static int lane_own(const struct lane *a, int n_share, size_t rows, struct err *e)
{
    int32_t *row = mem_zalloc(rows, sizeof *row);
    if (!row)
        return NOMEM(e, rows * sizeof *row, "the order of shares");
    for (size_t r = 0; r < rows; r++)
        row[r] = (int32_t)r * n_share + a->share;
    struct device *dev = a->ops->dev;
    int rc = dev->api->copy(dev, NULL, a->w.own, row, rows * sizeof *row, e);
    if (rc == 0)
        rc = dev->api->sync(dev, NULL, e);
    mem_free(row);
    return rc;
}

static int lane_tables(const struct forward *f, const struct lane *a, struct err *e)
{
    if (f->n_share < 2)
        return 0;
    TRY(lane_table(a, f->n_share, (size_t)f->lim.max_rows, a->w.join, e));
    TRY(lane_table(a, f->n_share, (size_t)f->lim.max_logit_rows, a->w.join_logits, e));
    return lane_own(a, f->n_share, (size_t)f->lim.max_rows, e);
}

/* Allocates the workspace of a lane, and sends it what never changes. */
static int lane_alloc(struct forward *f, struct lane *a, struct err *e)
{
    struct device *dev = a->ops->dev;
    const size_t n_freq = (size_t)f->m->hp.rotary.n_rot / 2;
    TRY(dev->api->alloc(dev, MEM_DEVICE, forward_workspace(f->m, a->ops, &f->lim), &a->buf, e));
    struct layout at = {.base = a->buf.ptr};
    forward_layout(f->m, a->ops, &f->lim, &at, &a->w);
    a->scratch_bytes = forward_scratch(f->m, a->ops, &f->lim);
    for (size_t local = 0; local < 2; local++)
        TRY(dev->api->copy(dev, NULL, a->w.inv_freq + local * n_freq,
                           model_freqs(f->m, local, f->lim.max_kv_len), n_freq * sizeof(float), e));
    TRY(dev->api->sync(dev, NULL, e));
    return lane_tables(f, a, e);
}

/* The lanes: the devices that have layers. */
static void forward_lanes(struct forward *f, const struct plan *plan, struct ops *const *ops)
{
    const struct hparams *hp = &f->m->hp;
    const int n = plan->n_device > 1 ? plan->n_device : 1;
    f->n_share = plan->split == PLAN_ROWS ? n : 1;
    for (int d = 0; d < n; d++) {
        const struct plan_share *share = &plan->share[d];
        struct lane a = {.ops = ops[d],
                         .n_head = hp->n_head / f->n_share,
                         .n_kv_head = hp->n_kv_head / f->n_share,
                         .end = hp->n_layer};
        if (f->n_share > 1) {
            a.share = d;
            a.first_cache = d * hp->n_layer;
        } else if (n > 1) {
            a.first = share->first;
            a.end = share->first + share->n;
        }
        if (a.end > a.first)
            f->lane[f->n_lane++] = a;
    }
    CHECK(f->n_lane > 0 && f->lane[f->n_lane - 1].end == f->m->hp.n_layer);
    f->on = &f->lane[f->n_lane - 1];
}

static int forward_gather(struct forward *f, struct err *e)
{
    const struct hparams *hp = &f->m->hp;
    const size_t n = (size_t)f->n_share, rows = (size_t)f->lim.max_rows,
                 wide = most((size_t)hp->n_head * (size_t)hp->head_dim, (size_t)hp->n_ff),
                 logits = (size_t)f->lim.max_logit_rows * (size_t)hp->n_vocab;
    /* the embedded rows go whole through the second slot */
    const size_t bytes[GATHER_SLOTS] = {most(rows * wide, logits) / n * sizeof(float),
                                        rows * (size_t)hp->n_embd * sizeof(float)};
    struct device *dev[PLAN_DEVICES];
    for (int i = 0; i < f->n_lane; i++)
        dev[i] = f->lane[i].ops->dev;
    return gather_open(&f->gather, dev, f->n_lane, bytes, e);
}

static int forward_borders(struct forward *f, struct err *e)
{
    const size_t bytes = (size_t)f->lim.max_rows * (size_t)f->m->hp.n_embd * sizeof(float);
    if (f->n_share > 1)
        return forward_gather(f, e);
    for (int i = 1; i < f->n_lane; i++) {
        f->lane[i].border = &f->border[i - 1];
        TRY(border_open(&f->border[i - 1], f->lane[i - 1].ops->dev, f->lane[i].ops->dev, bytes, e));
    }
    return 0;
}

static int forward_alloc(struct forward *f, struct err *e)
{
    struct device *dev = f->on->ops->dev;
    struct layout l = {0}, at;
    for (int i = 0; i < f->n_lane; i++)
        TRY(lane_alloc(f, &f->lane[i], e));
    TRY(forward_borders(f, e));
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
    struct device *dev = f->on->ops->dev, *host = h->ops->dev;
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

int forward_open(const struct model *m, struct place *place, struct kv *kv, struct ops *const *ops,
                 struct ops *host, const struct forward_limits *lim, struct forward **out,
                 struct err *e)
{
    int rc = 0;
    struct forward *f = mem_zalloc(1, sizeof *f);
    if (!f)
        return NOMEM(e, sizeof *f, "forward pass");
    *f = (struct forward){.m = m, .place = place, .kv = kv, .lim = *lim, .layer = -1};
    forward_lanes(f, place_plan(place), ops);
    CHECK(f->n_lane == 1 || f->n_lane <= lim->n_device);
    f->lim.n_share = f->n_share;
    if (f->n_share > 1)
        f->lim.n_device = 1; /* no micro-batches */
    CHECK(host ? host->dev->is_host : !place_has_host(place));
    if (place_has_host(place))
        f->h.ops = host;
    f->mask_words = ((size_t)m->hp.n_vocab + 31) / 32;
    f->n_ints = batch_ints(lim);
    TRY_DONE(forward_alloc(f, e));
    if (f->h.ops)
        TRY_DONE(host_alloc(f, e));
    forward_split(lim, f->st.ints, &f->host);
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
    struct device *dev = f->on->ops->dev;
    for (int i = 0; i < f->n_lane; i++) { /* after a failed step work may still be queued */
        struct device *one = f->lane[i].ops->dev;
        (void)one->api->sync(one, NULL, NULL);
    }
    for (int i = 0; i < PLAN_DEVICES - 1; i++)
        border_close(&f->border[i]);
    gather_close(&f->gather);
    for (int i = 0; i < f->n_lane; i++) {
        struct lane *a = &f->lane[i];
        a->ops->bind_scratch(a->ops, NULL, 0);
        a->ops->dev->api->free(a->ops->dev, &a->buf);
    }
    dev->api->free(dev, &f->pinned);
    if (f->h.ops) {
        f->h.ops->bind_scratch(f->h.ops, NULL, 0);
        f->h.ops->dev->api->free(f->h.ops->dev, &f->h.buf);
        dev->api->free(dev, &f->h.x_buf);
    }
    mem_free(f);
}
