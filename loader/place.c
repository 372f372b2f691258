/* Everything in one place: the host's memory, or the device's. The table `slot` has one row of n_slot
 * tensors a layer, made once. */
#include "place.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "mem.h"

#define PIECE ((uint64_t)64 << 20) /* between two calls of progress: about 20 ms of a fast disk */
#define STAGE ((uint64_t)16 << 20) /* a staging buffer: its copy takes as long as a launch is short */
#define N_STAGE 2                  /* one is read into while the other is copied from */
#define COPY_ALIGN ((uint64_t)256) /* what kernels may expect of a matrix */

struct place {
    const struct weights *w;
    struct device *dev;
    bool mapped;
    struct tensor *slot; /* (n_layer or 1, n_slot) */
    struct buf copy;     /* the weights, unless mapped */
};

struct place_range { /* a tensor's bytes, in the file and in our table */
    uint64_t at, bytes, copy_at;
    struct tensor *t;
};

struct place_load { /* progress of one load */
    const struct gguf *g;
    struct place_range *range;
    size_t n_range;
    uint64_t done, total;
    void (*progress)(uint64_t, uint64_t, void *);
    void *user;
};

static int place_check(const struct plan *plan, const struct weights *w, const struct ops *ops,
                       struct err *e)
{
    enum plan_place want = ops->dev->is_host ? PLAN_HOST : PLAN_VRAM;
    if (plan->weights_mapped && !ops->dev->is_host)
        FAIL(e, ERR_BUG, "place: %s cannot compute from a mapped file", ops->dev->name);
    if (plan->n_layer != w->n_layer)
        FAIL(e, ERR_BUG, "place: the plan has %d layers, the weights have %d", plan->n_layer,
             w->n_layer);
    for (int i = 0; i < plan->n_layer; i++)
        if (plan->layer[i] != want)
            FAIL(e, ERR_NODEV, "cannot place layer %d: all weights must be in the memory of %s", i,
                 ops->dev->name);
    return 0;
}

/* ---- the table ------------------------------------------------------------------------------------ */

static size_t place_rows(const struct weights *w)
{
    return (size_t)(w->n_layer ? w->n_layer : 1);
}

static int place_table(struct place *p, struct err *e)
{
    const struct weights *w = p->w;
    size_t rows = place_rows(w), n_slot = (size_t)w->n_slot;
    p->slot = mem_zalloc(rows * n_slot, sizeof *p->slot);
    if (!p->slot)
        return NOMEM(e, rows * n_slot * sizeof *p->slot, "the table of placed weights");
    for (size_t l = 0; l < rows; l++)
        for (int s = 0; s < w->n_slot; s++)
            if (w->n_layer || !w->per_layer[s])
                p->slot[l * n_slot + (size_t)s] = *weights_get(w, s, (int)l);
    return 0;
}

static int range_order(const void *a, const void *b)
{
    const struct place_range *x = a, *y = b;
    return (x->at > y->at) - (x->at < y->at);
}

/* Every bound tensor once, in file order: the order in which a disk is fast. */
static int place_ranges(struct place *p, struct place_load *load, struct err *e)
{
    size_t n_slot = (size_t)p->w->n_slot, n = place_rows(p->w) * n_slot;
    load->range = mem_zalloc(n, sizeof *load->range);
    if (!load->range)
        return NOMEM(e, n * sizeof *load->range, "the order of weights");
    for (size_t i = 0; i < n; i++) {
        struct place_range *r = &load->range[load->n_range];
        if (!p->slot[i].data || (i >= n_slot && !p->w->per_layer[i % n_slot]))
            continue;
        if (!gguf_offset(load->g, p->slot[i].data, &r->at))
            FAIL(e, ERR_BUG, "place: slot %zu lies outside the model file", i % n_slot);
        r->t = &p->slot[i];
        r->bytes = tensor_bytes(&p->slot[i]);
        r->copy_at = load->total;
        load->total += (r->bytes + COPY_ALIGN - 1) & ~(COPY_ALIGN - 1);
        load->n_range++;
    }
    if (load->n_range)
        qsort(load->range, load->n_range, sizeof *load->range, range_order);
    return 0;
}

/* ---- the load ------------------------------------------------------------------------------------- */

static void load_step(struct place_load *load, uint64_t bytes)
{
    load->done += bytes;
    if (load->progress)
        load->progress(load->done, load->total, load->user);
}

/* Brings one tensor's bytes into memory: in the mapping when dst is NULL, else copied to dst. */
static int load_range(struct place_load *load, const struct place_range *r, unsigned char *dst,
                      struct err *e)
{
    for (uint64_t at = 0; at < r->bytes; at += PIECE) {
        uint64_t n = r->bytes - at < PIECE ? r->bytes - at : PIECE;
        if (dst)
            TRY(gguf_read(load->g, r->at + at, dst + at, (size_t)n, e));
        else
            TRY(gguf_populate(load->g, r->at + at, n, e));
        load_step(load, n);
    }
    return 0;
}

static int load_mapped(struct place_load *load, struct err *e)
{
    uint64_t memory = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    if (load->total > memory) {
        log_warn("%s: weights of %" PRIu64 " MiB are larger than the memory of %" PRIu64
                 " MiB: every step reads from the disk",
                 gguf_path(load->g), load->total >> 20, memory >> 20);
        load_step(load, load->total);
        return 0;
    }
    for (size_t i = 0; i < load->n_range; i++)
        TRY(load_range(load, &load->range[i], NULL, e));
    return 0;
}

/* The device is the host: what MEM_DEVICE gives can be read into. */
static int load_copied(struct place *p, struct place_load *load, struct err *e)
{
    TRY(p->dev->api->alloc(p->dev, MEM_DEVICE, (size_t)load->total, &p->copy, e));
    unsigned char *base = p->copy.ptr;
    for (size_t i = 0; i < load->n_range; i++) {
        struct place_range *r = &load->range[i];
        TRY(load_range(load, r, base + r->copy_at, e));
        r->t->data = base + r->copy_at;
    }
    return 0;
}

/* Pinned buffers between the file and a device, used in turn; each with the event that says that the
 * copy from it has been made. */
struct place_stage {
    struct device *dev;
    struct buf buf[N_STAGE];
    struct event *copied[N_STAGE];
    bool used[N_STAGE];
    int next;
};

static void stage_close(struct place_stage *st)
{
    const struct dev_api *api = st->dev->api;
    (void)api->sync(st->dev, NULL, NULL); /* a failed load may have left a copy under way */
    for (int i = 0; i < N_STAGE; i++) {
        api->free(st->dev, &st->buf[i]);
        if (st->copied[i])
            api->event_close(st->dev, st->copied[i]);
    }
}

static int stage_open(struct place_stage *st, struct device *dev, struct err *e)
{
    st->dev = dev;
    for (int i = 0; i < N_STAGE; i++) {
        TRY(dev->api->alloc(dev, MEM_PINNED, (size_t)STAGE, &st->buf[i], e));
        TRY(dev->api->event_open(dev, &st->copied[i], e));
    }
    return 0;
}

/* n <= STAGE bytes of the file at `at` to the device. */
static int stage_copy(struct place_stage *st, const struct gguf *g, uint64_t at, size_t n, void *to,
                      struct err *e)
{
    const struct dev_api *api = st->dev->api;
    int i = st->next;
    st->next = (i + 1) % N_STAGE;
    if (st->used[i])
        TRY(api->event_sync(st->dev, st->copied[i], e));
    TRY(gguf_read(g, at, st->buf[i].ptr, n, e));
    TRY(api->copy(st->dev, NULL, to, st->buf[i].ptr, n, e));
    TRY(api->event_record(st->dev, st->copied[i], NULL, e));
    st->used[i] = true;
    return 0;
}

static int load_staged_ranges(struct place *p, struct place_load *load, struct place_stage *st,
                              struct err *e)
{
    TRY(stage_open(st, p->dev, e));
    TRY(p->dev->api->alloc(p->dev, MEM_DEVICE, (size_t)load->total, &p->copy, e));
    unsigned char *base = p->copy.ptr;
    for (size_t i = 0; i < load->n_range; i++) {
        struct place_range *r = &load->range[i];
        for (uint64_t at = 0; at < r->bytes; at += STAGE) {
            size_t n = (size_t)(r->bytes - at < STAGE ? r->bytes - at : STAGE);
            TRY(stage_copy(st, load->g, r->at + at, n, base + r->copy_at + at, e));
            load_step(load, n);
        }
        r->t->data = base + r->copy_at;
    }
    return p->dev->api->sync(p->dev, NULL, e);
}

static int load_staged(struct place *p, struct place_load *load, struct err *e)
{
    struct place_stage st = {.dev = p->dev};
    int rc = load_staged_ranges(p, load, &st, e);
    stage_close(&st);
    return rc;
}

/* Slots without %d stand in every row of the table: the others follow the first. */
static void share_slots(struct place *p)
{
    size_t n_slot = (size_t)p->w->n_slot;
    for (size_t l = 1; l < place_rows(p->w); l++)
        for (size_t s = 0; s < n_slot; s++)
            if (!p->w->per_layer[s])
                p->slot[l * n_slot + s] = p->slot[s];
}

int place_run(const struct plan *plan, const struct weights *w, struct ops *ops,
              void (*progress)(uint64_t, uint64_t, void *), void *user, struct place **out,
              struct err *e)
{
    TRY(place_check(plan, w, ops, e));
    struct place_load load = {.g = w->file, .progress = progress, .user = user};
    int rc = 0;
    struct place *p = mem_zalloc(1, sizeof *p);
    if (!p)
        return NOMEM(e, sizeof *p, "placed weights");
    p->w = w;
    p->dev = ops->dev;
    p->mapped = plan->weights_mapped;
    TRY_DONE(place_table(p, e));
    TRY_DONE(place_ranges(p, &load, e));
    TRY_DONE(gguf_check_unchanged(w->file, e));
    TRY_DONE(p->mapped         ? load_mapped(&load, e)
             : p->dev->is_host ? load_copied(p, &load, e)
                               : load_staged(p, &load, e));
    TRY_DONE(gguf_check_unchanged(w->file, e)); /* all of the copy is from one version of the file */
    load_step(&load, load.total - load.done);   /* what alignment added */
    share_slots(p);
    mem_free(load.range);
    *out = p;
    return 0;
done:
    mem_free(load.range);
    place_free(p);
    return rc;
}

void place_free(struct place *p)
{
    if (!p)
        return;
    if (p->copy.ptr)
        p->dev->api->free(p->dev, &p->copy);
    mem_free(p->slot);
    mem_free(p);
}

int place_layer(struct place *p, int layer, struct stream *s, const struct tensor **slots,
                struct err *e)
{
    (void)s; /* everything lies where it is computed: there is nothing to wait for */
    if (layer < 0 || (size_t)layer >= place_rows(p->w))
        FAIL(e, ERR_BUG, "place: layer %d of %d", layer, p->w->n_layer);
    if (layer == 0 && p->mapped) /* once a step: two system calls */
        TRY(gguf_check_unchanged(p->w->file, e));
    const struct tensor *row = &p->slot[(size_t)layer * (size_t)p->w->n_slot];
    for (int i = 0; i < p->w->n_slot; i++)
        slots[i] = &row[i];
    return 0;
}

void place_release(struct place *p, int layer, struct stream *s)
{
    (void)p; /* nothing was brought in for this layer alone */
    (void)layer;
    (void)s;
}
