#include "drafter.h"

#include <inttypes.h>
#include <string.h>

#include "check.h"
#include "mem.h"
#include "packed.h"
#include "source.h"
#include "tokenizer.h"

#define RECORD_KEY 1 /* the large model's is 0 */
#define KV_SHARE 8   /* the KV pool takes at most 1/8 of the memory */

struct drafter {
    struct gguf *file;
    struct model model;
    struct ops *ops;
    struct plan plan;
    struct packed *packed; /* NULL = none */
    struct place *place;
    struct kv *kv;
    struct forward *fw;
    struct forward_limits lim;
    struct sample_row *sample; /* (max_seqs) */
    struct draft_want **drawn; /* (max_seqs) requests whose last row is in the pass, in its order */
    int32_t *id;               /* (max_seqs) */
    float *lp;                 /* (max_seqs) */
    size_t mask_words;
    uint32_t *mask; /* (DRAFTER_SECONDS, mask_words) */
};

static int drafter_same_vocabulary(const struct gguf *file, const char *pre,
                                   const struct tokenizer *large, struct err *e)
{
    struct tokenizer *small = NULL;
    int rc = 0;
    TRY(tokenizer_open(file, pre, &small, e));
    int32_t n = tokenizer_n_vocab(large);
    if (tokenizer_n_vocab(small) != n)
        TRY_DONE(err_set(
            e, ERR_DATA,
            "%s: has a vocabulary of %d tokens, the model has %d; take a draft model of the same "
            "family",
            gguf_path(file), tokenizer_n_vocab(small), n));
    for (int32_t id = 0; id < n; id++) {
        const char *a, *b;
        size_t na, nb;
        tokenizer_bytes(large, id, &a, &na);
        tokenizer_bytes(small, id, &b, &nb);
        if (na != nb || memcmp(a, b, na) ||
            tokenizer_is_end(large, id) != tokenizer_is_end(small, id))
            TRY_DONE(err_set(
                e, ERR_DATA,
                "%s: token %d is not that of the model; take a draft model of the same family",
                gguf_path(file), id));
    }
done:
    tokenizer_close(small);
    return rc;
}

/* Makes a plan with all parts resident where the backend computes. */
static int drafter_plan(struct drafter *d, const struct drafter_options *o, struct kv_config *kc,
                        struct err *e)
{
    const size_t n = (size_t)d->model.hp.n_layer, page = kv_page_bytes(kc);
    size_t free_bytes, total;
    if (!page)
        FAIL(e, ERR_USAGE, "%s: kv type %s cannot hold heads of %d elements; use f16",
             gguf_path(d->file), fmt_info(kc->fmt)->name, kc->head_dim);
    TRY(d->ops->dev->api->memory(d->ops->dev, &free_bytes, &total, e));
    uint64_t room = o->memory ? o->memory : free_bytes;
    uint64_t context = (uint64_t)d->lim.max_pages * page, kv = context * (uint64_t)d->lim.max_seqs;
    uint64_t most = room / KV_SHARE / page * page;
    kv = kv < most ? kv : most;
    kv = kv > context ? kv : context;
    uint64_t *layer = mem_zalloc(2 * n, sizeof *layer);
    if (!layer)
        return NOMEM(e, 2 * n * sizeof *layer, "plan of the draft model");
    bool device = !d->ops->dev->is_host;
    struct plan_input in = {.kv_bytes_per_token = page / (size_t)kc->page_tokens,
                            .kv_bytes = kv,
                            .n_ctx = d->lim.max_pages * kc->page_tokens,
                            .n_seq = d->lim.max_seqs,
                            .workspace_bytes = forward_workspace(&d->model, d->ops, &d->lim),
                            .on_device = device,
                            .weights_mapped = !device,
                            .weights_packed =
                                !device && d->ops->packs && !o->map_weights && !d->packed,
                            .n_host = PLAN_ANY};
    model_plan_sizes(&d->model, layer, &in);
    uint64_t need = weights_bytes(&d->model.w) + kv + in.workspace_bytes;
    *(device ? &in.vram_bytes : &in.ram_bytes) = room;
    int rc = 0;
    if (device && need > room)
        rc =
            err_set(e, ERR_USAGE,
                    "%s: a draft model lies on the device whole: %" PRIu64
                    " MiB with its KV cache, %" PRIu64 " MiB are there; take a smaller one or none",
                    gguf_path(d->file), need >> 20, room >> 20);
    else
        rc = plan_make(&in, &d->plan, e);
    mem_free(layer);
    if (rc == 0)
        kc->n_page = (int32_t)(d->plan.kv_bytes / page);
    return rc;
}

static int drafter_arrays(struct drafter *d, struct err *e)
{
    size_t n = (size_t)d->lim.max_seqs;
    d->sample = mem_zalloc(n, sizeof *d->sample);
    d->drawn = mem_zalloc(n, sizeof *d->drawn);
    d->id = mem_zalloc(n, sizeof *d->id);
    d->lp = mem_zalloc(n, sizeof *d->lp);
    d->mask_words = ((size_t)d->model.hp.n_vocab + 31) / 32;
    d->mask = mem_zalloc(DRAFTER_SECONDS * d->mask_words, sizeof *d->mask);
    return d->sample && d->drawn && d->id && d->lp && d->mask
               ? 0
               : NOMEM(e, n * sizeof *d->sample, "draft model");
}

static int drafter_build(struct drafter *d, const struct drafter_options *o, struct err *e)
{
    const struct hparams *hp = &d->model.hp;
    struct kv_config kc = {.fmt = o->kv_fmt,
                           .page_tokens = o->page_tokens,
                           .n_layer = hp->n_layer,
                           .n_kv_head = hp->n_kv_head,
                           .head_dim = hp->head_dim,
                           .prefix_cache = !o->no_prefix_cache};
    if (hp->n_ctx_train < o->n_ctx)
        FAIL(e, ERR_USAGE,
             "%s: was made for %d tokens, fewer than the context of %d; lower --ctx or take "
             "another draft model",
             gguf_path(d->file), hp->n_ctx_train, o->n_ctx);
    d->lim = o->lim;
    d->lim.max_logit_rows = d->lim.max_seqs;
    d->lim.max_pairs = 1;
    d->lim.n_device = 1;
    d->lim.record_key = RECORD_KEY;
    TRY(drafter_arrays(d, e));
    const struct packed_options po = {.where = o->packed_cache, .w = &d->model.w, .ops = d->ops};
    TRY(packed_open(&po, &d->packed, e));
    TRY(drafter_plan(d, o, &kc, e));
    TRY(kv_open(&kc, d->ops, &d->kv, e));
    TRY(place_open(&d->plan, &d->model.w, &d->ops, NULL, d->packed, 0, &d->place, e));
    TRY(forward_open(&d->model, d->place, d->kv, &d->ops, NULL, &d->lim, &d->fw, e));
    return place_load(d->place, NULL, NULL, e);
}

int drafter_open(const struct drafter_options *o, const struct tokenizer *tok, struct ops *ops,
                 struct drafter **out, struct err *e)
{
    struct drafter *d = mem_zalloc(1, sizeof *d);
    if (!d)
        return NOMEM(e, sizeof *d, "draft model");
    int rc = 0;
    d->ops = ops;
    TRY_DONE(source_open_from(o->model, o->places, &d->file, e));
    if (!gguf_n_tensors(d->file))
        TRY_DONE(err_set(e, ERR_DATA, "%s: holds a vocabulary but no tensors; a model is needed",
                         gguf_path(d->file)));
    TRY_DONE(drafter_same_vocabulary(d->file, o->pre, tok, e));
    TRY_DONE(model_init(d->file, tokenizer_n_vocab(tok), &d->model, e));
    TRY_DONE(drafter_build(d, o, e));
    *out = d;
    return 0;
done:
    drafter_close(d);
    return rc;
}

void drafter_close(struct drafter *d)
{
    const char *why = "";
    if (!d)
        return;
    CHECK_MSG(!d->kv || kv_audit(d->kv, NULL, 0, &why), why);
    forward_close(d->fw);
    kv_close(d->kv);
    place_free(d->place);
    packed_close(d->packed);
    plan_free(&d->plan);
    model_free(&d->model);
    gguf_close(d->file);
    mem_free(d->sample);
    mem_free(d->drawn);
    mem_free(d->id);
    mem_free(d->lp);
    mem_free(d->mask);
    mem_free(d);
}

double drafter_now(const struct drafter *d)
{
    return forward_now(d->fw);
}

void drafter_watch(struct drafter *d, struct spans *spans)
{
    forward_watch(d->fw, spans);
}

uint64_t drafter_bytes(const struct drafter *d)
{
    return d->plan.total_bytes;
}

/* ---- a pass ---------------------------------------------------------------------------------- */

/* Takes the pages of the prompt that the prefix cache has; *wait: another sequence computes the
 * next page in this pass. */
static int drafter_find(struct drafter *d, struct draft_want *w, bool *wait, struct err *e)
{
    int pt = kv_page_tokens(d->kv);
    enum kv_lookup got = KV_HIT;
    while (got == KV_HIT && w->kv->len % pt == 0 && w->kv->len + pt < w->n_sure)
        TRY(kv_seq_lookup(d->kv, w->kv, w->tok + w->kv->len, &got, e));
    *wait = got == KV_WAIT;
    return 0;
}

static void drafter_put(struct drafter *d, struct batch *b, struct draft_want *w, int n)
{
    int at = b->n_row, from = w->kv->len, head = w->n_tok - w->n_tail;
    for (int i = 0; i < n; i++) {
        b->tok[at + i] = from + i < head ? w->tok[from + i] : w->tail[from + i - head];
        b->pos[at + i] = from + i;
        b->slot[at + i] = kv_slot(d->kv, w->kv, from + i);
    }
    memcpy(b->page + (size_t)b->n_seq * (size_t)d->lim.max_pages, w->kv->page,
           (size_t)w->kv->n_page * sizeof *b->page);
    b->kv_len[b->n_seq] = from + n;
    b->n_row += n;
    b->q_start[++b->n_seq] = b->n_row;
    if (from + n > b->max_kv_len)
        b->max_kv_len = from + n;
    if (from + n == w->n_tok)
        b->logit_row[b->n_logit++] = b->n_row - 1;
    w->kv->len += n;
    /* see drafter_rewind */
    kv_seq_register(d->kv, w->kv, w->tok, w->kv->len < w->n_sure ? w->kv->len : w->n_sure - 1);
}

static int drafter_fill(struct drafter *d, struct batch *b, struct draft_want *w, int n,
                        int *n_drawn, struct err *e)
{
    *n_drawn = 0;
    for (int i = 0; i < n; i++) {
        w[i].id = w[i].id2 = -1;
        CHECK(w[i].kv->len < w[i].n_tok);
        bool wait = b->n_row == d->lim.max_rows;
        if (!wait)
            TRY(drafter_find(d, &w[i], &wait, e));
        if (wait)
            continue;
        int rows = w[i].n_tok - w[i].kv->len, room = d->lim.max_rows - b->n_row;
        rows = rows < room ? rows : room;
        int rc = kv_seq_reserve(d->kv, w[i].kv, rows, e);
        if (rc == ERR_AGAIN)
            continue;
        TRY(rc);
        drafter_put(d, b, &w[i], rows);
        if (w[i].kv->len < w[i].n_tok)
            continue;
        d->sample[*n_drawn] = w[i].sample;
        d->drawn[(*n_drawn)++] = &w[i];
    }
    return 0;
}

/* Draws again from the logits of the pass; each draw excludes the token that was drawn first. */
static int drafter_second(struct drafter *d, int n_drawn, const uint32_t *const *masks,
                          struct err *e)
{
    const uint32_t *row[DRAFTER_SECONDS];
    bool wanted = false;
    int32_t n_vocab = d->model.hp.n_vocab;
    for (int i = 0; i < n_drawn; i++)
        wanted = wanted || d->drawn[i]->second;
    if (!wanted || n_drawn > DRAFTER_SECONDS)
        return 0;
    for (int i = 0; i < n_drawn; i++) {
        uint32_t *m = d->mask + (size_t)i * d->mask_words;
        int allowed = d->sample[i].mask, id = d->drawn[i]->id;
        if (allowed >= 0)
            memcpy(m, masks[allowed], d->mask_words * sizeof *m);
        else
            memset(m, 0xff, d->mask_words * sizeof *m);
        if (allowed < 0 && n_vocab % 32)
            m[d->mask_words - 1] = (UINT32_C(1) << n_vocab % 32) - 1;
        if (id >= 0)
            m[id / 32] &= ~(UINT32_C(1) << id % 32);
        d->sample[i].mask = i;
        row[i] = m;
    }
    TRY(forward_sample(d->fw, 0, n_drawn, d->sample, row, n_drawn, d->id, d->lp, e));
    for (int i = 0; i < n_drawn; i++) {
        struct draft_want *w = d->drawn[i];
        /* the simulated device ignores masks */
        w->id2 = w->second && d->id[i] != w->id ? d->id[i] : -1;
        w->lp2 = d->lp[i];
    }
    return 0;
}

int drafter_next(struct drafter *d, struct draft_want *w, int n, const uint32_t *const *masks,
                 int n_mask, struct err *e)
{
    CHECK(n <= d->lim.max_seqs);
    struct batch *b = forward_batch(d->fw);
    int n_drawn;
    TRY(drafter_fill(d, b, w, n, &n_drawn, e));
    if (!b->n_row)
        return 0;
    int rc = forward_step(d->fw, "draft", e);
    if (rc == 0 && n_drawn)
        rc = forward_sample(d->fw, 0, n_drawn, d->sample, masks, n_mask, d->id, d->lp, e);
    for (int i = 0; rc == 0 && i < n_drawn; i++) {
        d->drawn[i]->id = d->id[i];
        d->drawn[i]->lp = d->lp[i];
    }
    if (rc == 0)
        rc = drafter_second(d, n_drawn, masks, e);
    kv_step_done(d->kv, rc == 0);
    return rc;
}

void drafter_rewind(struct drafter *d, struct kv_seq *s, int n_tok)
{
    if (s->len > n_tok)
        kv_seq_truncate(d->kv, s, n_tok);
}

void drafter_fork(struct drafter *d, const struct kv_seq *src, struct kv_seq *dst)
{
    kv_seq_fork(d->kv, src, src->len, dst);
}

void drafter_move(struct drafter *d, struct kv_seq *dst, struct kv_seq *src)
{
    kv_seq_move(d->kv, dst, src);
}

void drafter_drop(struct drafter *d, struct kv_seq *s)
{
    kv_seq_drop(d->kv, s);
}
