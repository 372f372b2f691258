#include "weights.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "mem.h"

/* Misses are collected, so one run reports all of them; a message holds about a dozen. */
struct misses {
    char text[700];
    size_t used;
    int count, left_out;
};

static void misses_add(struct misses *m, const char *name, const char *why)
{
    char row[256];
    int n = snprintf(row, sizeof row, "%s%s %s", m->count ? "; " : "", name, why);
    size_t len = n < (int)sizeof row ? (size_t)n : sizeof row - 1;
    m->count++;
    if (m->left_out || m->used + len >= sizeof m->text) {
        m->left_out++;
        return;
    }
    memcpy(m->text + m->used, row, len + 1);
    m->used += len;
}

/* "(4096, 1024)", slowest first */
static const char *shape_text(char buf[96], int n_dim, const int64_t *dim)
{
    size_t used = 0;
    for (int i = 0; i < n_dim; i++)
        used += (size_t)snprintf(buf + used, 96 - used, "%s%" PRId64, i ? ", " : "(", dim[i]);
    snprintf(buf + used, 96 - used, ")");
    return buf;
}

bool weights_name(char out[WEIGHTS_NAME], const struct weight_slot *slot, int layer)
{
    const char *hole = strstr(slot->name, "%d");
    int n = hole ? snprintf(out, WEIGHTS_NAME, "%.*s%d%s", (int)(hole - slot->name), slot->name,
                            layer, hole + 2)
                 : snprintf(out, WEIGHTS_NAME, "%s", slot->name);
    return n < WEIGHTS_NAME;
}

static bool same_shape(const struct weight_slot *slot, const struct tensor *t)
{
    if (t->n_dim != slot->n_dim)
        return false;
    for (int i = 0; i < t->n_dim; i++)
        if (t->dim[i] != slot->dim[i])
            return false;
    return true;
}

enum { WHY = 256 };

/* Has the tensor the slot's shape and format? why: the fault. */
static bool bind_fits(const struct weight_slot *slot, const struct gguf_tensor *gt, char why[WHY])
{
    char have[96], want[96];
    if (!same_shape(slot, &gt->t))
        snprintf(why, WHY, "is %s, must be %s", shape_text(have, gt->t.n_dim, gt->t.dim),
                 shape_text(want, slot->n_dim, slot->dim));
    else if (slot->f32_only && gt->t.fmt != FMT_F32)
        snprintf(why, WHY, "has format %s, must be F32", fmt_info(gt->t.fmt)->name);
    else
        return true;
    return false;
}

/* The tensor that holds the slot's rows: 1 = *out is their range, 0 = there is none, -1 = it has
 * another shape or format. A vector's rows are its elements. */
static int bind_range(const struct gguf *g, const struct weight_slot *slot, int layer,
                      struct tensor *out, char why[WHY])
{
    const bool vector = slot->n_dim == 1;
    const struct weight_slot fused = {.name = slot->fused_name,
                                      .f32_only = vector || slot->f32_only,
                                      .n_dim = slot->n_dim,
                                      .dim = {slot->fused_rows, slot->dim[1], 1, 1}};
    char name[WEIGHTS_NAME], fault[WHY];
    const struct gguf_tensor *gt =
        slot->fused_name && weights_name(name, &fused, layer) ? gguf_tensor_find(g, name) : NULL;
    if (!gt)
        return 0;
    if (!bind_fits(&fused, gt, fault)) {
        snprintf(why, WHY, "is missing, and %s %.160s", name, fault);
        return -1;
    }
    const size_t step = vector ? sizeof(float) : gt->t.row_bytes;
    *out = gt->t;
    out->data = (unsigned char *)gt->t.data + (size_t)slot->fused_first * step;
    out->dim[0] = slot->dim[0];
    if (vector)
        out->row_bytes = (size_t)slot->dim[0] * step;
    return 1;
}

/* *out stays zero for an absent optional tensor, and for a miss. */
static void bind_one(const struct gguf *g, const struct weight_slot *slot, int layer,
                     struct tensor *out, bool *shares, struct misses *m)
{
    char name[WEIGHTS_NAME], why[WHY] = "is missing", fused[WHY];
    const struct gguf_tensor *gt =
        weights_name(name, slot, layer) ? gguf_tensor_find(g, name) : NULL;
    if (!gt && slot->or_name) {
        gt = gguf_tensor_find(g, slot->or_name);
        *shares = gt != NULL;
        if (gt && !same_shape(slot, &gt->t))
            return; /* the slot of that name reports the miss */
    }
    if (gt && bind_fits(slot, gt, why)) {
        *out = gt->t;
        return;
    }
    const int in_range = bind_range(g, slot, layer, out, fused);
    if (in_range > 0)
        return;
    if (gt || in_range < 0 || !slot->optional)
        misses_add(m, name, !gt && in_range < 0 ? fused : why);
}

static int weights_alloc(struct weights *w, struct err *e)
{
    size_t n;
    if (!size_mul((size_t)w->n_slot, (size_t)(w->n_layer ? w->n_layer : 1), &n))
        n = SIZE_MAX;
    w->t = mem_zalloc(n, sizeof *w->t);
    w->per_layer = mem_zalloc((size_t)w->n_slot, sizeof *w->per_layer);
    w->shares = mem_zalloc((size_t)w->n_slot, sizeof *w->shares);
    w->part = mem_zalloc((size_t)w->n_slot, sizeof *w->part);
    w->share = mem_zalloc((size_t)w->n_slot, sizeof *w->share);
    if (!w->t || !w->per_layer || !w->shares || !w->part || !w->share)
        return NOMEM(e, n, "the table of weights");
    return 0;
}

static struct tensor *weights_at(const struct weights *w, int slot, int layer)
{
    size_t l = w->per_layer[slot] ? (size_t)layer : 0;
    return &w->t[(size_t)slot * (size_t)(w->n_layer ? w->n_layer : 1) + l];
}

/* An empty table for these slots. */
static int weights_init(struct weights *w, const struct weight_slot *slots, int n_slot, int n_layer,
                        struct err *e)
{
    if (n_slot < 0 || n_layer < 0)
        FAIL(e, ERR_BUG, "weights: %d slots, %d layers", n_slot, n_layer);
    *w = (struct weights){.n_slot = n_slot, .n_layer = n_layer};
    TRY(weights_alloc(w, e));
    for (int s = 0; s < n_slot; s++) {
        w->per_layer[s] = strstr(slots[s].name, "%d") != NULL;
        w->part[s] = slots[s].part;
        w->share[s] = slots[s].share;
    }
    return 0;
}

/* Layers for which a slot has a tensor of its own. */
static int weights_layers(const struct weights *w, int slot)
{
    return w->per_layer[slot] ? w->n_layer : 1;
}

int weights_bind(const struct gguf *g, const struct weight_slot *slots, int n_slot, int n_layer,
                 struct weights *out, struct err *e)
{
    struct weights w = {.n_slot = 0};
    struct misses m = {.count = 0};
    int rc = 0;
    TRY_DONE(weights_init(&w, slots, n_slot, n_layer, e));
    w.file = g;
    for (int s = 0; s < n_slot; s++)
        for (int l = 0; l < weights_layers(&w, s); l++)
            bind_one(g, &slots[s], l, weights_at(&w, s, l), &w.shares[s], &m);
    if (m.left_out)
        TRY_DONE(err_set(e, ERR_DATA, "%.200s: %d tensors do not fit the model: %s; and %d more",
                         gguf_path(g), m.count, m.text, m.left_out));
    if (m.count)
        TRY_DONE(err_set(e, ERR_DATA, "%.200s: %d tensors do not fit the model: %s", gguf_path(g),
                         m.count, m.text));
    *out = w;
    return 0;
done:
    weights_free(&w);
    return rc;
}

/* The slot whose name this one takes when it has no tensor; NULL = none. */
static const struct tensor *outline_other(const struct weights *w, const struct weight_slot *slots,
                                          int slot)
{
    for (int s = 0; s < slot; s++)
        if (!w->per_layer[s] && !strcmp(slots[s].name, slots[slot].or_name))
            return weights_at(w, s, 0);
    return NULL;
}

static int outline_one(struct weights *w, const struct weight_slot *slot, int s, int layer,
                       weights_format format, const void *user, struct err *e)
{
    char name[WEIGHTS_NAME];
    struct tensor *t = weights_at(w, s, layer);
    if (!weights_name(name, slot, layer))
        FAIL(e, ERR_BUG, "weights_outline: the name %s is too long", slot->name);
    *t = (struct tensor){.fmt = format(user, name, slot->n_dim, slot->dim), .n_dim = slot->n_dim};
    memcpy(t->dim, slot->dim, sizeof t->dim);
    if (!fmt_row_bytes(t->fmt, tensor_cols(t), &t->row_bytes))
        FAIL(e, ERR_USAGE, "%s: rows of %" PRId64 " elements are no whole blocks of %s", name,
             tensor_cols(t), fmt_info(t->fmt)->name);
    return 0;
}

int weights_outline(const struct weight_slot *slots, int n_slot, int n_layer, bool tied,
                    weights_format format, const void *user, struct weights *out, struct err *e)
{
    struct weights w = {.n_slot = 0};
    int rc = 0;
    TRY_DONE(weights_init(&w, slots, n_slot, n_layer, e));
    for (int s = 0; s < n_slot; s++) {
        const struct tensor *other = slots[s].or_name ? outline_other(&w, slots, s) : NULL;
        w.shares[s] = tied && other;
        if (w.shares[s])
            *weights_at(&w, s, 0) = *other;
        else if (!slots[s].optional || other)
            for (int l = 0; l < weights_layers(&w, s); l++)
                TRY_DONE(outline_one(&w, &slots[s], s, l, format, user, e));
    }
    *out = w;
    return 0;
done:
    weights_free(&w);
    return rc;
}

void weights_free(struct weights *w)
{
    mem_free(w->t);
    mem_free(w->per_layer);
    mem_free(w->shares);
    mem_free(w->part);
    mem_free(w->share);
    *w = (struct weights){0};
}

const struct tensor *weights_get(const struct weights *w, int slot, int layer)
{
    return weights_at(w, slot, layer);
}

bool weights_own(const struct weights *w, int slot, int layer)
{
    return weights_at(w, slot, layer)->n_dim && !w->shares[slot];
}

int weights_share(const struct weights *w, int slot, int layer, int k, int n, struct tensor *out,
                  struct err *e)
{
    struct tensor t = *weights_at(w, slot, layer);
    if (t.n_dim && w->share[slot] == SHARE_ROWS) {
        const bool vector = t.n_dim == 1;
        const size_t step = vector ? sizeof(float) : t.row_bytes;
        if (t.dim[0] % n || k < 0 || k >= n)
            FAIL(e, ERR_BUG, "weights: share %d of %d of slot %d with %" PRId64 " rows", k, n, slot,
                 t.dim[0]);
        t.dim[0] /= n;
        if (t.data)
            t.data = (unsigned char *)t.data + (size_t)k * (size_t)t.dim[0] * step;
        if (vector)
            t.row_bytes = (size_t)t.dim[0] * step;
    }
    *out = t;
    return 0;
}

/* Bytes of a tensor in a copy. */
static uint64_t weights_room(const struct tensor *t)
{
    return (tensor_bytes(t) + WEIGHTS_ALIGN - 1) & ~(WEIGHTS_ALIGN - 1);
}

uint64_t weights_shared_bytes(const struct weights *w)
{
    uint64_t sum = 0;
    for (int s = 0; s < w->n_slot; s++)
        if (!w->per_layer[s] && weights_own(w, s, 0))
            sum += weights_room(weights_get(w, s, 0));
    return sum;
}

uint64_t weights_bytes(const struct weights *w)
{
    uint64_t sum = weights_shared_bytes(w);
    for (int l = 0; l < w->n_layer; l++)
        sum += weights_part_bytes(w, PART_ATTN, l) + weights_part_bytes(w, PART_FFN, l);
    return sum;
}

uint64_t weights_part_bytes(const struct weights *w, enum plan_part part, int layer)
{
    uint64_t sum = 0;
    for (int s = 0; s < w->n_slot; s++) {
        const struct tensor *t = weights_get(w, s, layer);
        if (w->part[s] == part)
            sum += weights_room(t);
    }
    return sum;
}

uint64_t weights_share_more(const struct weights *w, enum plan_part part, int layer)
{
    uint64_t sum = 0;
    for (int s = 0; s < w->n_slot; s++) {
        const struct tensor *t = weights_get(w, s, layer);
        if (w->part[s] == part && t->n_dim)
            sum += w->share[s] == SHARE_ROWS ? WEIGHTS_ALIGN : weights_room(t);
    }
    return sum;
}

void weights_formats(const struct weights *w, bool has[FMT_COUNT])
{
    const int n = w->n_slot * (w->n_layer > 1 ? w->n_layer : 1);
    for (int f = 0; f < FMT_COUNT; f++)
        has[f] = false;
    for (int i = 0; i < n; i++)
        if (w->t[i].n_dim)
            has[w->t[i].fmt] = true;
}

bool weights_tied(const struct weights *w)
{
    for (int s = 0; s < w->n_slot; s++)
        if (w->part[s] == PART_OUTPUT && w->shares[s])
            return true;
    return false;
}
