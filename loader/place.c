/* The tensors of a model have three places, with one list of tensors each. The table `slot` has one
 * row of n_slot tensors for each layer; slots outside the layers use row 0. place_open fills it
 * once, but the rows of a streamed part are written at each use. */
#include "place.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lanes.h"
#include "log.h"
#include "mem.h"
#include "upload.h"

#define PIECE ((uint64_t)64 << 20) /* bytes between calls of progress: about 20 ms of a fast disk */

struct place_range { /* bytes of a tensor in the file, and in our copy of its list (or item) */
    uint64_t at, bytes, copy_at;
    struct tensor *t;
};

struct place_list {
    struct place_range *range;
    int n;
    uint64_t bytes; /* of the copy */
};

struct place_unit { /* a part of a layer; units stand in the order of a step */
    enum plan_place where;
    struct place_list streamed; /* views into the list of all */
    int item;                   /* of the stage */
};

struct place {
    const struct weights *w;
    struct device *dev;
    struct ops *host;        /* computes what is PLAN_HOST */
    bool mapped;             /* PLAN_HOST: views of the file */
    struct tensor *slot;     /* (n_layer or 1, n_slot) */
    struct place_unit *unit; /* (n_unit) */
    int n_unit, n_streamed, n_host;
    struct place_range *streamed; /* ranges of streamed tensors, unit by unit */
    struct place_list in_vram, on_host;
    struct buf vram, host_copy; /* of them; host: unless mapped */
    struct stage *stage;        /* NULL when nothing is streamed */
};

struct place_load { /* state of one load */
    const struct gguf *g;
    bool hollow; /* a hollow device (device.h): nothing is read */
    uint64_t done, total;
    void (*progress)(uint64_t, uint64_t, void *);
    void *user;
};

/* ---- units ----------------------------------------------------------------------------------- */

/* Number of a unit in the order of a step: EMBED, ATTN 0, FFN 0, ATTN 1, .., OUTPUT. */
static int unit_of(int n_layer, enum plan_part part, int layer)
{
    switch (part) {
    case PART_EMBED:
        return 0;
    case PART_ATTN:
        return 1 + 2 * layer;
    case PART_FFN:
        return 2 + 2 * layer;
    case PART_OUTPUT:
        return 1 + 2 * n_layer;
    }
    return -1;
}

static enum plan_part unit_part(int n_layer, int unit)
{
    if (unit == 0)
        return PART_EMBED;
    if (unit == 1 + 2 * n_layer)
        return PART_OUTPUT;
    return unit % 2 ? PART_ATTN : PART_FFN;
}

static int unit_layer(int n_layer, int unit)
{
    return unit == 0 || unit == 1 + 2 * n_layer ? 0 : (unit - 1) / 2;
}

/* True when a part may have this place. A device that is the host has one place only. */
static bool unit_allowed(const struct device *dev, enum plan_part part, enum plan_place where)
{
    if (dev->is_host)
        return where == PLAN_HOST;
    switch (part) {
    case PART_EMBED:
        return where != PLAN_STREAM;
    case PART_FFN:
        return true;
    case PART_ATTN:
    case PART_OUTPUT:
        return where != PLAN_HOST;
    }
    return false;
}

static int unit_refused(const struct place *p, enum plan_part part, int layer,
                        enum plan_place where, struct err *e)
{
    static const char *const what[] = {"the embedding", "attention", "the feed-forward matrices",
                                       "the output matrix"};
    static const char *const how[] = {[PLAN_HOST] = "on the CPU",
                                      [PLAN_VRAM] = "in the memory of a device",
                                      [PLAN_STREAM] = "streamed"};
    if (part == PART_ATTN || part == PART_FFN)
        FAIL(e, ERR_NODEV, "cannot place layer %d: %s cannot be %s with %s", layer, what[part],
             how[where], p->dev->name);
    FAIL(e, ERR_NODEV, "cannot place %s: it cannot be %s with %s", what[part], how[where],
         p->dev->name);
}

static int place_units(struct place *p, const struct plan *plan, struct err *e)
{
    int n_layer = p->w->n_layer;
    if (plan->n_layer != n_layer)
        FAIL(e, ERR_BUG, "place: the plan has %d layers, the weights have %d", plan->n_layer,
             n_layer);
    p->n_unit = 2 + 2 * n_layer;
    p->unit = mem_zalloc((size_t)p->n_unit, sizeof *p->unit);
    if (!p->unit)
        return NOMEM(e, (size_t)p->n_unit * sizeof *p->unit, "placed weights");
    for (int u = 0; u < p->n_unit; u++) {
        enum plan_part part = unit_part(n_layer, u);
        int layer = unit_layer(n_layer, u);
        enum plan_place where = plan_at(plan, part, layer);
        if (!unit_allowed(p->dev, part, where))
            return unit_refused(p, part, layer, where, e);
        p->unit[u].where = where;
        p->n_streamed += where == PLAN_STREAM;
        p->n_host += where == PLAN_HOST;
    }
    return 0;
}

/* ---- the table and its lists ----------------------------------------------------------------- */

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
            if (w->per_layer[s] ? w->n_layer > 0 : l == 0)
                p->slot[l * n_slot + (size_t)s] = *weights_get(w, s, (int)l);
    return 0;
}

static int range_order(const void *a, const void *b)
{
    const struct place_range *x = a, *y = b;
    return (x->at > y->at) - (x->at < y->at);
}

/* Appends the tensors of one unit to the list. */
static int list_unit(struct place *p, int unit, struct place_list *list, struct err *e)
{
    int n_layer = p->w->n_layer, layer = unit_layer(n_layer, unit);
    enum plan_part part = unit_part(n_layer, unit);
    for (int s = 0; s < p->w->n_slot; s++) {
        struct tensor *t = &p->slot[(size_t)layer * (size_t)p->w->n_slot + (size_t)s];
        struct place_range *r = &list->range[list->n];
        if (p->w->part[s] != part || !t->data)
            continue;
        if (!gguf_offset(p->w->file, t->data, &r->at))
            FAIL(e, ERR_BUG, "place: slot %d lies outside the model file", s);
        r->t = t;
        r->bytes = tensor_bytes(t);
        list->n++;
    }
    return 0;
}

/* Sorts the list into file order, which a disk reads fast, and gives each tensor its offset in the
 * copy. A shared tensor has one offset. */
static void list_lay_out(struct place_list *list)
{
    if (list->n)
        qsort(list->range, (size_t)list->n, sizeof *list->range, range_order);
    for (int i = 0; i < list->n; i++) {
        struct place_range *r = &list->range[i];
        bool again = i && r[-1].at == r->at;
        r->copy_at = again ? r[-1].copy_at : list->bytes;
        if (!again)
            list->bytes += (r->bytes + WEIGHTS_ALIGN - 1) & ~(WEIGHTS_ALIGN - 1);
    }
}

static int list_alloc(const struct place *p, struct place_list *list, struct err *e)
{
    size_t n = place_rows(p->w) * (size_t)p->w->n_slot;
    list->range = mem_zalloc(n, sizeof *list->range);
    return list->range ? 0 : NOMEM(e, n * sizeof *list->range, "the order of weights");
}

/* Lists all tensors of one place. */
static int list_make(struct place *p, enum plan_place where, struct place_list *list, struct err *e)
{
    TRY(list_alloc(p, list, e));
    for (int u = 0; u < p->n_unit; u++)
        if (p->unit[u].where == where)
            TRY(list_unit(p, u, list, e));
    list_lay_out(list);
    return 0;
}

/* ---- the load -------------------------------------------------------------------------------- */

static void load_step(struct place_load *load, uint64_t bytes)
{
    load->done += bytes;
    if (load->progress)
        load->progress(load->done, load->total, load->user);
}

/* Loads the bytes of one tensor: into the mapping when dst is NULL, otherwise copied to dst. */
static int load_range(struct place_load *load, const struct place_range *r, unsigned char *dst,
                      struct err *e)
{
    for (uint64_t at = 0; at < r->bytes; at += PIECE) {
        uint64_t n = r->bytes - at < PIECE ? r->bytes - at : PIECE;
        if (dst && !load->hollow)
            TRY(gguf_read(load->g, r->at + at, dst + at, (size_t)n, e));
        else if (!dst)
            TRY(gguf_populate(load->g, r->at + at, n, e));
        load_step(load, n);
    }
    return 0;
}

static int load_mapped(struct place_load *load, const struct place_list *list, struct err *e)
{
    uint64_t memory = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    if (list->bytes > memory) {
        log_warn("%s: weights of %" PRIu64 " MiB are larger than the memory of %" PRIu64
                 " MiB: every step reads from the disk",
                 gguf_path(load->g), list->bytes >> 20, memory >> 20);
        load_step(load, list->bytes);
        return 0;
    }
    for (int i = 0; i < list->n; i++)
        TRY(load_range(load, &list->range[i], NULL, e));
    return 0;
}

/* Allocates the memory of a copy, and points its tensors into it. */
static int list_take(struct place *p, struct place_list *list, enum mem_space space, struct buf *to,
                     struct err *e)
{
    if (!list->n)
        return 0;
    TRY(p->dev->api->alloc(p->dev, space, (size_t)list->bytes, to, e));
    for (int i = 0; i < list->n; i++)
        list->range[i].t->data = (unsigned char *)to->ptr + list->range[i].copy_at;
    return 0;
}

static int place_take(struct place *p, struct err *e)
{
    TRY(list_make(p, PLAN_VRAM, &p->in_vram, e));
    TRY(list_make(p, PLAN_HOST, &p->on_host, e));
    TRY(list_take(p, &p->in_vram, MEM_DEVICE, &p->vram, e));
    return p->mapped ? 0
                     : list_take(p, &p->on_host, p->dev->is_host ? MEM_DEVICE : MEM_HOST,
                                 &p->host_copy, e);
}

/* True for a matrix of the CPU's own copy that its backend packs. A table that is only gathered
 * from is not packed. Equal ranges, those of a tied matrix, are neighbours in the list. */
static bool range_packs(const struct place *p, int i)
{
    const struct place_range *r = p->on_host.range;
    if (!p->host->packs || p->dev->hollow || !p->host->packs(p->host, r[i].t))
        return false;
    for (int k = i; k < p->on_host.n && r[k].at == r[i].at; k++)
        if (p->w->part[(r[k].t - p->slot) % p->w->n_slot] != PART_EMBED)
            return true;
    return false;
}

struct load_matrix {
    const struct gguf *g;
    const struct place_range *r;
};

static int load_rows(void *user, int64_t row, int64_t n, void *dst, struct err *e)
{
    const struct load_matrix *m = user;
    const uint64_t bytes = m->r->t->row_bytes;
    return gguf_read(m->g, m->r->at + (uint64_t)row * bytes, dst, (size_t)((uint64_t)n * bytes), e);
}

/* Reads a matrix and packs it with the threads of the backend. */
static int load_packed(struct place *p, struct place_load *load, const struct place_range *r,
                       struct err *e)
{
    struct load_matrix m = {load->g, r};
    const size_t row = r->t->row_bytes;
    const int64_t rows = tensor_rows(r->t), step = (int64_t)(PIECE / (LANES * row) + 1) * LANES;
    for (int64_t at = 0; at < rows; at += step) {
        const int64_t n = rows - at < step ? rows - at : step;
        TRY(p->host->pack(p->host, r->t, at, n, load_rows, &m, e));
        load_step(load, (uint64_t)n * row);
    }
    return 0;
}

static int load_copied(struct place *p, struct place_load *load, struct err *e)
{
    const struct place_range *r = p->on_host.range;
    for (int i = 0; i < p->on_host.n; i++) {
        unsigned char *dst = (unsigned char *)p->host_copy.ptr + r[i].copy_at;
        if (i && r[i].at == r[i - 1].at) { /* shared, already loaded */
            r[i].t->lanes = r[i - 1].t->lanes;
            continue;
        }
        const bool pack = range_packs(p, i);
        TRY(pack ? load_packed(p, load, &r[i], e) : load_range(load, &r[i], dst, e));
        r[i].t->lanes = pack;
    }
    return 0;
}

static int load_uploaded(struct place *p, struct place_load *load, struct upload *up, struct err *e)
{
    TRY(upload_init(up, e));
    unsigned char *base = p->vram.ptr;
    for (int i = 0; i < p->in_vram.n; i++) {
        const struct place_range *r = &p->in_vram.range[i];
        if (i && r[-1].at == r->at)
            continue; /* a shared tensor is already copied */
        for (uint64_t at = 0; at < r->bytes; at += UPLOAD_PIECE) {
            size_t n = (size_t)(r->bytes - at < UPLOAD_PIECE ? r->bytes - at : UPLOAD_PIECE);
            TRY(upload_piece(up, load->g, r->at + at, n, base + r->copy_at + at, e));
            load_step(load, n);
        }
    }
    return p->dev->api->sync(p->dev, NULL, e);
}

static int load_vram(struct place *p, struct place_load *load, struct err *e)
{
    if (!p->in_vram.n)
        return 0;
    struct upload up = {.dev = p->dev};
    int rc = load_uploaded(p, load, &up, e);
    upload_free(&up);
    return rc;
}

/* Loads one place after the other. */
int place_load(struct place *p, void (*progress)(uint64_t, uint64_t, void *), void *user,
               struct err *e)
{
    struct place_load load = {.g = p->w->file,
                              .hollow = p->dev->hollow,
                              .progress = progress,
                              .user = user,
                              .total = p->in_vram.bytes + p->on_host.bytes};
    TRY(gguf_check_unchanged(p->w->file, e));
    TRY(load_vram(p, &load, e));
    if (p->on_host.n)
        TRY(p->mapped ? load_mapped(&load, &p->on_host, e) : load_copied(p, &load, e));
    TRY(gguf_check_unchanged(p->w->file, e)); /* the whole copy is of one version of the file */
    load_step(&load, load.total - load.done); /* bytes added by alignment */
    return 0;
}

/* ---- streaming ------------------------------------------------------------------------------- */

static int place_read(void *user, uint64_t file_at, void *dst, size_t n, struct err *e)
{
    const struct place *p = user;
    return p->dev->hollow ? 0 : gguf_read(p->w->file, file_at, dst, n, e);
}

/* The streamed units as items of a stage: *item (n_streamed), *range for each of p->streamed. */
static int place_items(struct place *p, struct stage_item *item, struct stage_range *range,
                       struct err *e)
{
    struct place_range *free_range = p->streamed;
    int n_item = 0;
    for (int u = 0; u < p->n_unit; u++) {
        struct place_list *list = &p->unit[u].streamed;
        if (p->unit[u].where != PLAN_STREAM)
            continue;
        list->range = free_range;
        TRY(list_unit(p, u, list, e));
        list_lay_out(list);
        for (int i = 0; i < list->n; i++)
            range[i] = (struct stage_range){.file_at = list->range[i].at,
                                            .bytes = list->range[i].bytes,
                                            .at = list->range[i].copy_at};
        item[n_item] =
            (struct stage_item){.bytes = list->bytes, .n_range = list->n, .range = range};
        p->unit[u].item = n_item++;
        free_range += list->n;
        range += list->n;
    }
    return 0;
}

static int place_stage(struct place *p, const struct plan *plan, double link_limit, struct err *e)
{
    if (!p->n_streamed)
        return 0;
    size_t n = place_rows(p->w) * (size_t)p->w->n_slot;
    struct stage_item *item = mem_zalloc((size_t)p->n_streamed, sizeof *item);
    struct stage_range *range = mem_zalloc(n, sizeof *range);
    p->streamed = mem_zalloc(n, sizeof *p->streamed);
    int rc = 0;
    if (!item || !range || !p->streamed)
        TRY_DONE(NOMEM(e, n * sizeof *range, "streamed weights"));
    TRY_DONE(place_items(p, item, range, e));
    const struct stage_config c = {.dev = p->dev,
                                   .item = item,
                                   .n_item = p->n_streamed,
                                   .ring_bytes = plan->ring_bytes,
                                   .pinned_bytes = plan->pinned_bytes,
                                   .keep_pinned = plan->keep_pinned,
                                   .read = place_read,
                                   .user = p,
                                   .link_limit = link_limit};
    TRY_DONE(stage_open(&c, &p->stage, e));
done:
    mem_free(item);
    mem_free(range);
    return rc;
}

/* ---- calls ----------------------------------------------------------------------------------- */

int place_open(const struct plan *plan, const struct weights *w, struct ops *ops, struct ops *host,
               double link_limit, struct place **out, struct err *e)
{
    int rc = 0;
    struct place *p = mem_zalloc(1, sizeof *p);
    if (!p)
        return NOMEM(e, sizeof *p, "placed weights");
    p->w = w;
    p->dev = ops->dev;
    p->host = host ? host : ops;
    p->mapped = plan->weights_mapped;
    TRY_DONE(place_units(p, plan, e));
    TRY_DONE(place_table(p, e));
    TRY_DONE(gguf_check_unchanged(w->file, e));
    TRY_DONE(place_take(p, e));
    TRY_DONE(place_stage(p, plan, link_limit, e));
    *out = p;
    return 0;
done:
    place_free(p);
    return rc;
}

void place_free(struct place *p)
{
    if (!p)
        return;
    stage_close(p->stage);
    p->dev->api->free(p->dev, &p->vram);
    p->dev->api->free(p->dev, &p->host_copy);
    mem_free(p->streamed);
    mem_free(p->in_vram.range);
    mem_free(p->on_host.range);
    mem_free(p->unit);
    mem_free(p->slot);
    mem_free(p);
}

/* *unit: the number of a part and layer. */
static int place_unit(const struct place *p, enum plan_part part, int layer, int *unit,
                      struct err *e)
{
    bool in_layer = part == PART_ATTN || part == PART_FFN;
    if (layer < 0 || layer >= (in_layer ? p->w->n_layer : 1))
        FAIL(e, ERR_BUG, "place: layer %d of %d", layer, p->w->n_layer);
    *unit = unit_of(p->w->n_layer, part, layer);
    return 0;
}

enum plan_place place_of(const struct place *p, enum plan_part part, int layer)
{
    return p->unit[unit_of(p->w->n_layer, part, layer)].where;
}

/* Once a step, in two system calls: checks that a file still in use is the one that was opened. */
static int place_same_file(struct place *p, struct err *e)
{
    struct stage_stats st;
    place_stats(p, &st);
    return (p->n_host && p->mapped) || st.reading ? gguf_check_unchanged(p->w->file, e) : 0;
}

int place_part(struct place *p, enum plan_part part, int layer, const struct tensor **slots,
               struct err *e)
{
    int u;
    TRY(place_unit(p, part, layer, &u, e));
    if (part == PART_EMBED)
        TRY(place_same_file(p, e));
    struct place_unit *unit = &p->unit[u];
    if (unit->where == PLAN_STREAM) {
        void *base;
        TRY(stage_acquire(p->stage, unit->item, &base, e));
        for (int i = 0; i < unit->streamed.n; i++)
            unit->streamed.range[i].t->data =
                (unsigned char *)base + unit->streamed.range[i].copy_at;
    }
    const struct tensor *row = &p->slot[(size_t)layer * (size_t)p->w->n_slot];
    for (int i = 0; i < p->w->n_slot; i++)
        if (p->w->part[i] == part)
            slots[i] = &row[i];
    return 0;
}

int place_release(struct place *p, enum plan_part part, int layer, struct err *e)
{
    int u;
    TRY(place_unit(p, part, layer, &u, e));
    return p->unit[u].where == PLAN_STREAM ? stage_release(p->stage, p->unit[u].item, e) : 0;
}

int place_prefetch(struct place *p, struct err *e)
{
    return p->stage ? stage_prefetch(p->stage, e) : 0;
}

bool place_has_host(const struct place *p)
{
    return p->n_host && !p->dev->is_host;
}

bool place_recordable(const struct place *p)
{
    return !p->n_streamed && !place_has_host(p);
}

void place_stats(const struct place *p, struct stage_stats *out)
{
    *out = (struct stage_stats){0};
    if (p->stage)
        stage_stats(p->stage, out);
}
