#include "forward_state.h"

#include "check.h"
#include "clock.h"
#include "log.h"
#include "micro.h"

/* decode steps with at most this number of rows are recorded; larger steps hide their launches */
#define RECORD_ROWS 64

/* Binds the scratch memory again: another forward may have used the backends since. */
static void forward_take_turn(struct forward *f)
{
    for (int i = 0; i < f->n_lane; i++) {
        struct lane *a = &f->lane[i];
        a->ops->bind_scratch(a->ops, a->w.scratch, a->scratch_bytes);
    }
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

static const struct kv_view *forward_cache(const struct forward *f, int layer)
{
    return kv_layer(f->kv, f->on->first_cache + layer);
}

int forward_qkv(struct forward *f, const struct batch *d, int layer, const struct tensor **t,
                struct err *e)
{
    const struct hparams *hp = &f->m->hp;
    const struct layer *l = &f->m->layer[layer];
    struct workspace *w = &f->on->w;
    const float *inv_freq = w->inv_freq + (l->local ? hp->rotary.n_rot / 2 : 0);
    int n = d->n_row;
    CHECK(t[SLOT_ATTN_NORM]->data);
    RUN(f, matmul, .x = f->micro.x, .norm = {t[SLOT_ATTN_NORM]->data, hp->eps}, .n_row = n,
        .n_in = hp->n_embd, .epilogue = EPI_STORE, .n_out = 3,
        .out = {{t[SLOT_ATTN_Q], t[SLOT_ATTN_Q_BIAS]->data, w->q},
                {t[SLOT_ATTN_K], t[SLOT_ATTN_K_BIAS]->data, w->k},
                {t[SLOT_ATTN_V], t[SLOT_ATTN_V_BIAS]->data, w->v}});
    if (t[SLOT_ATTN_Q_NORM]->data)
        RUN(f, rmsnorm, .x = w->q, .w = t[SLOT_ATTN_Q_NORM]->data, .y = w->q,
            .n_row = n * f->on->n_head, .n = hp->head_dim, .eps = hp->eps);
    if (t[SLOT_ATTN_K_NORM]->data)
        RUN(f, rmsnorm, .x = w->k, .w = t[SLOT_ATTN_K_NORM]->data, .y = w->k,
            .n_row = n * f->on->n_kv_head, .n = hp->head_dim, .eps = hp->eps);
    RUN(f, kv_write, .k = w->k, .v = w->v, .slot = d->slot, .kv = forward_cache(f, layer),
        .n_row = n,
        .rope = {w->q, d->pos, inv_freq, f->on->n_head, hp->rotary.n_rot, f->m->arch->rope});
    return 0;
}

/* The rows that the rest of a layer computes. */
struct rows {
    float *x, *att; /* (n, n_embd), (n, n_head * head_dim) */
    int n;
};

/* True if only the rows with logits pass the rest of this layer: no later layer needs the others.
 * Such rows lie in w.last, in the order of logits (of several micro-batches: forward_kept). */
bool forward_thins(const struct forward *f, const struct batch *d, int layer)
{
    return layer + 1 == f->m->hp.n_layer && d->n_logit < d->n_row;
}

/* The rows with logits of the micro-batch under way. */
static float *forward_kept(const struct forward *f)
{
    return f->micro.n == 1
               ? f->on->w.last
               : f->on->w.micro + (size_t)f->micro.first_logit * (size_t)f->m->hp.n_embd;
}

int forward_attend(struct forward *f, const struct batch *d, int layer, float *y, struct err *e)
{
    RUN(f, attention, .q = f->on->w.q, .y = y, .kv = forward_cache(f, layer), .q_start = d->q_start,
        .kv_len = d->kv_len, .page = d->page, .n_seq = d->n_seq, .n_row = d->n_row,
        .max_pages = f->lim.max_pages, .max_kv_len = d->max_kv_len, .n_head = f->on->n_head,
        .scale = f->m->hp.attn_scale, .window = f->m->layer[layer].window);
    return 0;
}

/* Computes attention of all rows, then drops those that thins says. */
static int forward_attention(struct forward *f, const struct batch *d, int layer, struct rows *out,
                             struct err *e)
{
    const struct hparams *hp = &f->m->hp;
    struct workspace *w = &f->on->w;
    const int heads = hp->n_head * hp->head_dim;
    const bool thin = forward_thins(f, d, layer);
    *out = thin ? (struct rows){forward_kept(f), w->q, d->n_logit}
                : (struct rows){f->micro.x, w->att, d->n_row};
    if (!out->n)
        return 0;
    TRY(forward_attend(f, d, layer, w->att, e));
    if (!thin)
        return 0;
    RUN(f, gather, .x = f->micro.x, .row = d->logit_row, .y = out->x, .n_row = out->n,
        .n = hp->n_embd);
    RUN(f, gather, .x = w->att, .row = d->logit_row, .y = out->att, .n_row = out->n, .n = heads);
    return 0;
}

int forward_gate_up(struct forward *f, struct ops *on, const float *x, float *y, int n,
                    const struct tensor **t, struct err *e)
{
    const struct hparams *hp = &f->m->hp;
    CHECK(t[SLOT_FFN_NORM]->data);
    RUN_ON(f, on, matmul, .x = x, .norm = {t[SLOT_FFN_NORM]->data, hp->eps}, .n_row = n,
           .n_in = hp->n_embd, .epilogue = model_gate(f->m), .n_out = 2,
           .out = {{t[SLOT_FFN_GATE], t[SLOT_FFN_GATE_BIAS]->data, y},
                   {t[SLOT_FFN_UP], t[SLOT_FFN_UP_BIAS]->data, NULL}});
    return 0;
}

/* Computes one ffn on the device or on the host. x (n, n_embd), ffn (n, n_ff) and post (n, n_embd)
 * are in the memory of `on`. */
static int forward_ffn(struct forward *f, struct ops *on, float *x, float *ffn, float *post, int n,
                       const struct tensor **t, struct err *e)
{
    TRY(forward_gate_up(f, on, x, ffn, n, t, e));
    return forward_add(f, on, ffn, f->m->hp.n_ff, t[SLOT_FFN_DOWN], t[SLOT_FFN_DOWN_BIAS],
                       t[SLOT_FFN_POST_NORM], post, x, n, e);
}

/* Copies rows at `from` in h.x to x on the device. They may be written again after the next wait
 * for the stream: in the next hop_down, or when the results of the step are fetched. */
static int hop_up(struct forward *f, float *x, const float *from, int n, struct err *e)
{
    struct device *dev = f->on->ops->dev;
    size_t bytes = (size_t)n * (size_t)f->m->hp.n_embd * sizeof *f->h.x;
    return dev->api->copy(dev, NULL, x, from, bytes, e);
}

/* Copies rows of x to the host, and queues the copies that the link can do while the host
 * computes. */
static int hop_down(struct forward *f, const float *x, int n, struct err *e)
{
    struct device *dev = f->on->ops->dev;
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
    SPANNED_LANE(rc, f, SPAN_HOST, "hop", f->layer, n, hop_down(f, x, n, e));
    TRY(rc);
    TRY(forward_ffn(f, h->ops, h->x, h->ffn, h->post, n, t, e));
    SPANNED_LANE(rc, f, SPAN_HOST, "hop", f->layer, n, hop_up(f, x, h->x, n, e));
    return rc;
}

/* Writes token embeddings to micro.x. An embedding on the host is gathered there, by the ids in the
 * batch of the host; each micro-batch has its own rows of h.x. */
int forward_embed(struct forward *f, const struct batch *d, const struct tensor **t, struct err *e)
{
    if (!f->h.ops || place_of(f->place, PART_EMBED, 0) != PLAN_HOST) {
        RUN(f, embed, .table = t[SLOT_TOKEN_EMBD], .id = d->tok, .y = f->micro.x, .n_row = d->n_row,
            .scale = model_embed_scale(f->m));
        return 0;
    }
    float *x = f->h.x + (size_t)f->micro.first_row * (size_t)f->m->hp.n_embd;
    RUN_ON(f, f->h.ops, embed, .table = t[SLOT_TOKEN_EMBD], .id = f->host.tok + f->micro.first_row,
           .y = x, .n_row = d->n_row, .scale = model_embed_scale(f->m));
    return hop_up(f, f->micro.x, x, d->n_row, e);
}

int forward_logits_of(struct forward *f, const struct batch *d, const struct tensor **t, float *y,
                      struct err *e)
{
    const struct hparams *hp = &f->m->hp;
    CHECK(t[SLOT_OUTPUT_NORM]->data);
    RUN(f, matmul, .x = f->on->w.last, .norm = {t[SLOT_OUTPUT_NORM]->data, hp->eps},
        .n_row = d->n_logit, .n_in = hp->n_embd, .epilogue = EPI_STORE, .n_out = 1,
        .out = {{t[SLOT_OUTPUT], t[SLOT_OUTPUT_BIAS]->data, y}});
    return 0;
}

/* Computes the logits of the rows in w.last; several micro-batches have left them in w.micro. */
static int forward_output(struct forward *f, const struct batch *d, const struct tensor **t,
                          struct err *e)
{
    const struct hparams *hp = &f->m->hp;
    struct workspace *w = &f->on->w;
    if (!d->n_logit)
        return 0;
    if (f->micro.n > 1)
        RUN(f, gather, .x = w->micro, .row = w->ints + (1 + MICRO_MOST) * f->n_ints, .y = w->last,
            .n_row = d->n_logit, .n = hp->n_embd);
    else if (!forward_thins(f, d, hp->n_layer - 1)) /* else the rows lie there */
        RUN(f, gather, .x = f->micro.x, .row = d->logit_row, .y = w->last, .n_row = d->n_logit,
            .n = hp->n_embd);
    return forward_logits_of(f, d, t, w->logits, e);
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
    struct workspace *w = &f->on->w;
    struct rows r;
    TRY(place_part(f->place, PART_ATTN, l, t, e));
    TRY(forward_qkv(f, d, l, t, e));
    TRY(forward_attention(f, d, l, &r, e));
    if (r.n)
        TRY(forward_add(f, f->on->ops, r.att, (int64_t)hp->n_head * hp->head_dim, t[SLOT_ATTN_OUT],
                        t[SLOT_ATTN_OUT_BIAS], t[SLOT_ATTN_POST_NORM], w->post, r.x, r.n, e));
    TRY(place_release(f->place, PART_ATTN, l, e));
    TRY(place_part(f->place, PART_FFN, l, t, e)); /* also without rows: parts have a fixed order */
    if (r.n && f->h.ops && place_of(f->place, PART_FFN, l) == PLAN_HOST)
        TRY(forward_ffn_host(f, r.x, r.n, t, e));
    else if (r.n)
        TRY(forward_ffn(f, f->on->ops, r.x, w->ffn, w->post, r.n, t, e));
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

static bool lane_is_last(const struct forward *f, const struct lane *a)
{
    return a == &f->lane[f->n_lane - 1];
}

/* Leaves the rows with logits of a micro-batch in w.micro. */
static int forward_keep(struct forward *f, const struct batch *d, struct err *e)
{
    if (d->n_logit && !forward_thins(f, d, f->m->hp.n_layer - 1)) /* else the rows lie there */
        RUN(f, gather, .x = f->micro.x, .row = d->logit_row, .y = forward_kept(f),
            .n_row = d->n_logit, .n = f->m->hp.n_embd);
    return 0;
}

/* Runs the layers of the lane under way, in the first one the embedding before, in the last one the
 * output after them. d has the arrays of its device. */
static int forward_network(struct forward *f, const struct batch *d, struct err *e)
{
    const struct tensor *t[SLOT_COUNT];
    const struct lane *a = f->on;
    int rc = 0;
    if (a == f->lane)
        SPANNED_LANE(rc, f, SPAN_PART, "embed", -1, d->n_row, forward_first(f, d, t, e));
    for (int l = a->first; l < a->end && rc == 0; l++) {
        f->layer = l;
        SPANNED_LANE(rc, f, SPAN_PART, "layer", l, d->n_row, forward_layer(f, d, l, t, e));
    }
    f->layer = -1;
    if (rc < 0 || !lane_is_last(f, a))
        return rc;
    if (f->micro.n > 1) /* forward_join computes the output of all micro-batches at once */
        return forward_keep(f, d, e);
    SPANNED_LANE(rc, f, SPAN_PART, "output", -1, d->n_logit, forward_last(f, d, t, e));
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
 *   - With several devices each lane records its own layers. A key holds the number and the first
 *     logits row of the micro-batch as well.
 *   - Nothing is recorded if a part is streamed or on the host.
 *   - A step whose recording fails runs plainly, and so do all later ones. Nothing of the step has
 *     run by then. A device that works no more fails again. */

/* The key of a step that can be recorded, 0 for other steps; *bound = its rounded max_kv_len. bound
 * is no part of b: the loop reads b while it writes *bound. */
static uint64_t forward_key(const struct forward *f, const struct batch *b, int *bound)
{
    const struct micro *mb = &f->micro;
    if (!f->on->ops->replay || f->lim.no_record || f->plain || !place_recordable(f->place) ||
        b->n_row > RECORD_ROWS || b->n_row != b->n_logit)
        return 0;
    const int top = f->lim.max_kv_len;
    int most = 256;
    while (most < b->max_kv_len)
        most = most > top / 2 ? top : most * 2;
    *bound = most = most < top ? most : top; /* bound may be that of b */
    return (uint64_t)mb->first_logit << 53 | (uint64_t)most << 32 | (uint64_t)mb->k << 25 |
           (uint64_t)(mb->n > 1) << 24 | (uint64_t)f->lim.record_key << 16 |
           (uint64_t)b->n_seq << 8 | (uint64_t)b->n_row;
}

/* True when an earlier step had this key; remembers the key. All lanes of a micro-batch get the
 * same answer. */
static bool forward_seen(struct forward *f, uint64_t key)
{
    if (f->micro.asked)
        return f->micro.seen;
    f->micro.asked = true;
    f->micro.seen = false;
    for (unsigned i = 0; i < RECORD_KEYS; i++)
        f->micro.seen |= f->seen[i] == key;
    if (!f->micro.seen)
        f->seen[f->n_seen++ % RECORD_KEYS] = key;
    return f->micro.seen;
}

/* 1: the recorded pass is queued. 0: no recording has this key. */
static int forward_replay(struct forward *f, uint64_t key, struct err *e)
{
    struct ops *ops = f->on->ops;
    int rc;
    SPANNED_LANE(rc, f, SPAN_HOST, "replay", -1, f->host.n_row, ops->replay(ops, NULL, key, e));
    if (rc > 0)
        spans_replay(f->spans, ops, key);
    return rc;
}

static int forward_record(struct forward *f, const struct batch *d, uint64_t key, struct err *e)
{
    struct ops *ops = f->on->ops;
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
    int bound = 0;
    uint64_t key = forward_key(f, d, &bound);
    if (!key)
        return forward_network(f, d, e);
    d->max_kv_len = bound;
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

/* ---- lanes and micro-batches ----------------------------------------------------------------- */

/* The block of integers of the micro-batch under way: its number. */
static size_t micro_block(const struct forward *f, int k)
{
    return f->micro.n > 1 ? (size_t)(1 + k) * f->n_ints : 0;
}

/* Brings the rows to x in the lane under way: over its border, unless it embeds them. Then makes
 * sure that nobody needs the rows that it overwrites. */
static int lane_enter(struct forward *f, float *x, int n_row, struct err *e)
{
    struct lane *a = f->on;
    const int slot = f->micro.k % BORDER_SLOTS;
    int rc;
    if (!a->border)
        return f->micro.k < BORDER_SLOTS ? 0 : border_reuse(a[1].border, slot, e);
    struct event *free = lane_is_last(f, a) ? a->border->used[slot] : a[1].border->landed[slot];
    SPANNED_LANE(rc, f, SPAN_HOST, "hop", -1, n_row,
                 border_cross(a->border, slot, x, f->micro.x,
                              (size_t)n_row * (size_t)f->m->hp.n_embd * sizeof *x, free, f->spans,
                              e));
    return rc;
}

/* Computes a micro-batch in one lane. Micro-batches take turns in two halves of w.x. */
static int lane_pass(struct forward *f, const struct batch *b, struct lane *a, struct err *e)
{
    const int slot = f->micro.k % BORDER_SLOTS;
    const size_t half = ((size_t)f->lim.max_rows + 1) / 2 * (size_t)f->m->hp.n_embd;
    float *x = a->w.x + (slot ? half : 0);
    f->on = a;
    TRY(lane_enter(f, x, b->n_row, e));
    f->micro.x = x;
    struct batch d = *b; /* the counts of the host's batch, with the device's arrays */
    forward_split(&f->lim, a->w.ints + micro_block(f, f->micro.k), &d);
    TRY(forward_run(f, &d, e));
    return a->border && lane_is_last(f, a) ? border_used(a->border, slot, e) : 0;
}

/* Cuts the batch into the micro-batches f->part, in staging memory. */
static void forward_cut(struct forward *f)
{
    const struct batch *b = &f->host;
    for (int k = 0; k < f->micro.n && f->micro.n > 1; k++) {
        int first, n = plan_micro_rows(b->n_row, f->micro.n, k, &first);
        forward_split(&f->lim, f->st.ints + micro_block(f, k), &f->part[k]);
        micro_slice(b, f->lim.max_pages, first, n, &f->part[k]);
    }
    if (f->micro.n > 1)
        micro_order(b, f->micro.n, f->st.ints + (1 + MICRO_MOST) * f->n_ints);
}

/* Sends the integers [at, at + n) of the step to one lane. */
static int lane_send(struct forward *f, struct lane *a, size_t at, size_t n, struct err *e)
{
    struct device *dev = a->ops->dev;
    return dev->api->copy(dev, NULL, a->w.ints + at, f->st.ints + at, n * sizeof(int32_t), e);
}

static int forward_upload(struct forward *f, struct err *e)
{
    for (int i = 0; i < f->n_lane; i++) {
        struct lane *a = &f->lane[i];
        if (f->micro.n == 1)
            TRY(lane_send(f, a, 0, f->n_ints, e));
        for (int k = 0; k < f->micro.n && f->micro.n > 1; k++) { /* without unused page tables */
            const struct batch *b = &f->part[k];
            const size_t used =
                (size_t)(b->page - b->tok) + (size_t)b->n_seq * (size_t)f->lim.max_pages;
            TRY(lane_send(f, a, micro_block(f, k), used, e));
        }
    }
    return f->micro.n == 1 ? 0
                           : lane_send(f, &f->lane[f->n_lane - 1], (1 + MICRO_MOST) * f->n_ints,
                                       (size_t)f->lim.max_logit_rows, e);
}

int forward_wait(struct forward *f, struct err *e)
{
    int rc = 0;
    for (int i = 0; i < f->n_lane && rc == 0; i++) { /* each: its errors show nowhere else */
        struct device *dev = f->lane[i].ops->dev;
        SPANNED_ON(rc, dev, f->spans, SPAN_HOST, "wait", -1, 0, dev->api->sync(dev, NULL, e));
    }
    return rc;
}

/* Computes the logits of all micro-batches, in the order of the batch. */
static int forward_join(struct forward *f, struct err *e)
{
    const struct tensor *t[SLOT_COUNT];
    int rc;
    SPANNED_LANE(rc, f, SPAN_PART, "output", -1, f->host.n_logit, forward_last(f, &f->host, t, e));
    return rc;
}

/* Each micro-batch passes all lanes in order. Their work is only queued, so lanes work at the same
 * time. */
static int forward_lanes_pass(struct forward *f, struct err *e)
{
    f->micro.first_row = f->micro.first_logit = 0;
    for (int k = 0; k < f->micro.n; k++) {
        const struct batch *b = f->micro.n > 1 ? &f->part[k] : &f->host;
        f->micro.k = k;
        f->micro.asked = false;
        for (int i = 0; i < f->n_lane; i++)
            TRY(lane_pass(f, b, &f->lane[i], e));
        f->micro.first_row += b->n_row;
        f->micro.first_logit += b->n_logit;
    }
    return f->micro.n > 1 ? forward_join(f, e) : 0;
}

/* Number of micro-batches of the batch. */
static int forward_n_micro(const struct forward *f)
{
    int n = f->n_lane > 1 ? plan_n_micro(place_plan(f->place), f->host.n_row) : 1;
    CHECK(n >= 1 && n <= MICRO_MOST);
    return n;
}

static int forward_pass(struct forward *f, struct err *e)
{
    int rc;
    f->micro = (struct micro){.n = forward_n_micro(f)};
    forward_cut(f);
    SPANNED(rc, f->spans, SPAN_HOST, "upload", -1, f->host.n_row, forward_upload(f, e));
    TRY(rc);
    rc = f->n_share > 1 ? forward_rows_pass(f, e) : forward_lanes_pass(f, e);
    f->on = &f->lane[f->n_lane - 1];
    TRY(rc);
    /* A step waits once: when its results are fetched, otherwise here. The next batch reuses
     * st.ints. */
    return f->host.n_logit ? 0 : forward_wait(f, e);
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
    struct device *dev = f->on->ops->dev;
    return dev->api->now ? dev->api->now(dev) : (double)clock_ns() * 1e-9;
}
