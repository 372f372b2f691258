#include "weights.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "mem.h"

enum { NAME_MAX_BYTES = 65 };

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

/* The slot's name with the number of the layer; false: the name is too long for a tensor. */
static bool slot_name(char out[NAME_MAX_BYTES], const struct weight_slot *slot, int layer)
{
    const char *hole = strstr(slot->name, "%d");
    int n = hole ? snprintf(out, NAME_MAX_BYTES, "%.*s%d%s", (int)(hole - slot->name), slot->name,
                            layer, hole + 2)
                 : snprintf(out, NAME_MAX_BYTES, "%s", slot->name);
    return n < NAME_MAX_BYTES;
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

/* *out stays zero for an absent optional tensor, and for a miss. */
static void bind_one(const struct gguf *g, const struct weight_slot *slot, int layer,
                     struct tensor *out, struct misses *m)
{
    char name[NAME_MAX_BYTES], why[256], have[96], want[96];
    const struct gguf_tensor *gt = slot_name(name, slot, layer) ? gguf_tensor_find(g, name) : NULL;
    if (!gt && slot->or_name) {
        gt = gguf_tensor_find(g, slot->or_name);
        if (gt && !same_shape(slot, &gt->t))
            return; /* the slot of that name reports the miss */
    }
    if (!gt) {
        if (!slot->optional)
            misses_add(m, name, "is missing");
        return;
    }
    if (!same_shape(slot, &gt->t)) {
        snprintf(why, sizeof why, "is %s, must be %s", shape_text(have, gt->t.n_dim, gt->t.dim),
                 shape_text(want, slot->n_dim, slot->dim));
        misses_add(m, name, why);
        return;
    }
    if (slot->f32_only && gt->t.fmt != FMT_F32) {
        snprintf(why, sizeof why, "has format %s, must be F32", fmt_info(gt->t.fmt)->name);
        misses_add(m, name, why);
        return;
    }
    *out = gt->t;
}

static int weights_alloc(struct weights *w, struct err *e)
{
    size_t n;
    if (!size_mul((size_t)w->n_slot, (size_t)(w->n_layer ? w->n_layer : 1), &n))
        n = SIZE_MAX;
    w->t = mem_zalloc(n, sizeof *w->t);
    w->per_layer = mem_zalloc((size_t)w->n_slot, sizeof *w->per_layer);
    w->part = mem_zalloc((size_t)w->n_slot, sizeof *w->part);
    if (!w->t || !w->per_layer || !w->part)
        return NOMEM(e, n, "the table of weights");
    return 0;
}

int weights_bind(const struct gguf *g, const struct weight_slot *slots, int n_slot, int n_layer,
                 struct weights *out, struct err *e)
{
    if (n_slot < 0 || n_layer < 0)
        FAIL(e, ERR_BUG, "weights_bind: %d slots, %d layers", n_slot, n_layer);
    struct weights w = {.file = g, .n_slot = n_slot, .n_layer = n_layer};
    struct misses m = {.count = 0};
    int rc = 0;
    TRY_DONE(weights_alloc(&w, e));
    for (int s = 0; s < n_slot; s++) {
        w.per_layer[s] = strstr(slots[s].name, "%d") != NULL;
        w.part[s] = slots[s].part;
        for (int l = 0; l < (w.per_layer[s] ? n_layer : 1); l++) {
            struct tensor *t = &w.t[(size_t)s * (size_t)(n_layer ? n_layer : 1) + (size_t)l];
            bind_one(g, &slots[s], l, t, &m);
        }
    }
    if (m.left_out)
        TRY_DONE(err_set(e, ERR_DATA, "%.200s: %d tensors do not fit the model: %s; and %d more",
                         gguf_path(g), m.count, m.text, m.left_out));
    if (m.count)
        TRY_DONE(err_set(e, ERR_DATA, "%.200s: %d tensors do not fit the model: %s", gguf_path(g),
                         m.count, m.text));
    for (int l = 0; l < n_layer; l++)
        if (weights_layer_bytes(&w, l) > w.layer_bytes)
            w.layer_bytes = weights_layer_bytes(&w, l);
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
    mem_free(w->part);
    *w = (struct weights){0};
}

const struct tensor *weights_get(const struct weights *w, int slot, int layer)
{
    size_t l = w->per_layer[slot] ? (size_t)layer : 0;
    return &w->t[(size_t)slot * (size_t)(w->n_layer ? w->n_layer : 1) + l];
}

uint64_t weights_layer_bytes(const struct weights *w, int layer)
{
    uint64_t sum = 0;
    for (int s = 0; s < w->n_slot; s++) {
        const struct tensor *t = weights_get(w, s, layer);
        if (w->per_layer[s] && t->data)
            sum += tensor_bytes(t);
    }
    return sum;
}

/* True when an earlier slot has the same tensor. */
static bool weights_again(const struct weights *w, int slot)
{
    for (int s = 0; s < slot; s++)
        if (!w->per_layer[s] && weights_get(w, s, 0)->data == weights_get(w, slot, 0)->data)
            return true;
    return false;
}

/* Bytes of a tensor in a copy. */
static uint64_t weights_room(const struct tensor *t)
{
    return (tensor_bytes(t) + WEIGHTS_ALIGN - 1) & ~(WEIGHTS_ALIGN - 1);
}

uint64_t weights_shared_bytes(const struct weights *w)
{
    uint64_t sum = 0;
    for (int s = 0; s < w->n_slot; s++) {
        const struct tensor *t = weights_get(w, s, 0);
        if (!w->per_layer[s] && t->data && !weights_again(w, s))
            sum += weights_room(t);
    }
    return sum;
}

uint64_t weights_part_bytes(const struct weights *w, enum plan_part part, int layer)
{
    uint64_t sum = 0;
    for (int s = 0; s < w->n_slot; s++) {
        const struct tensor *t = weights_get(w, s, layer);
        if (w->part[s] == part && t->data)
            sum += weights_room(t);
    }
    return sum;
}

bool weights_tied(const struct weights *w)
{
    for (int a = 0; a < w->n_slot; a++)
        for (int b = 0; b < w->n_slot && w->part[a] == PART_OUTPUT; b++)
            if (w->part[b] == PART_EMBED && weights_get(w, b, 0)->data &&
                weights_get(w, a, 0)->data == weights_get(w, b, 0)->data)
                return true;
    return false;
}
