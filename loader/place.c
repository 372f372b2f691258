/* The tensors of a model have three places, with one list of tensors each: the host, and memory and
 * ring of each device. The table `slot` has one row of n_slot tensors for each layer; slots outside
 * the layers use row 0. With tensor parallel it has one such table for each device, one after the
 * other. place_open fills it once, but the rows of a streamed part are written at each use. */
#include "place.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "mem.h"
#include "packed.h"
#include "upload.h"

#define PIECE ((uint64_t)64 << 20) /* bytes between calls of progress: about 20 ms of a fast disk */

struct place_tensor {
    struct stage_range range; /* in the file, and in the copy of its list or item */
    struct tensor *t;
};

struct place_list {
    struct place_tensor *tensor;
    int n;
    uint64_t bytes; /* of the copy */
};

struct place_part { /* in the order of a step */
    enum plan_place where;
    struct place_list streamed; /* views into the list of all */
    int item;                   /* of the stage of its device */
    int device;
};

struct place_device {
    struct device *dev;        /* NULL: it has no part */
    struct place_list in_vram; /* laid out in vram */
    struct buf vram;
    int n_streamed;
    struct stage *stage; /* NULL when nothing is streamed */
};

struct place {
    const struct plan *plan;
    const struct weights *w;
    struct place_device on[PLAN_DEVICES];
    int n_device;            /* at least 1 */
    struct device *dev;      /* the first with a part: allocates on the host */
    struct ops *host;        /* computes what is PLAN_HOST */
    struct packed *packed;   /* PLAN_HOST: views of it; NULL = none */
    bool mapped;             /* PLAN_HOST: views of the file */
    int n_share;             /* devices of tensor parallel; otherwise 1 */
    struct tensor *slot;     /* (n_share, n_layer or 1, n_slot) */
    struct place_part *part; /* (n_part) */
    int n_part, n_streamed, n_host;
    struct place_tensor *streamed; /* the streamed ones, part by part */
    struct place_list on_host;
    struct buf host_copy; /* of it, unless mapped or packed */
};

struct place_load { /* state of one load */
    const struct gguf *g;
    bool hollow; /* a hollow device (device.h): nothing is read */
    uint64_t done, total;
    void (*progress)(uint64_t, uint64_t, void *);
    void *user;
};

/* ---- parts ----------------------------------------------------------------------------------- */

/* Number of a part in the order of a step: EMBED, ATTN 0, FFN 0, ATTN 1, .., OUTPUT. */
static int part_number(int n_layer, enum plan_part part, int layer)
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

static enum plan_part part_of(int n_layer, int number)
{
    if (number == 0)
        return PART_EMBED;
    if (number == 1 + 2 * n_layer)
        return PART_OUTPUT;
    return number % 2 ? PART_ATTN : PART_FFN;
}

static int part_layer(int n_layer, int number)
{
    return number == 0 || number == 1 + 2 * n_layer ? 0 : (number - 1) / 2;
}

/* True when a part may have this place. A device that is the host has one place only. */
static bool part_allowed(const struct device *dev, enum plan_part part, enum plan_place where)
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

static int part_refused(const struct place *p, enum plan_part part, int layer,
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

static int place_parts(struct place *p, const struct plan *plan, struct err *e)
{
    int n_layer = p->w->n_layer;
    if (plan->n_layer != n_layer)
        FAIL(e, ERR_BUG, "place: the plan has %d layers, the weights have %d", plan->n_layer,
             n_layer);
    p->n_part = 2 + 2 * n_layer;
    p->part = mem_zalloc((size_t)p->n_part, sizeof *p->part);
    if (!p->part)
        return NOMEM(e, (size_t)p->n_part * sizeof *p->part, "placed weights");
    for (int d = 0; d < p->n_share && p->n_share > 1; d++)
        if (!p->on[d].dev)
            FAIL(e, ERR_BUG, "place: no backend for device %d, which shares every matrix", d);
    for (int u = 0; u < p->n_part; u++) {
        enum plan_part part = part_of(n_layer, u);
        int layer = part_layer(n_layer, u);
        enum plan_place where = plan_at(plan, part, layer);
        if (!part_allowed(p->dev, part, where))
            return part_refused(p, part, layer, where, e);
        if (p->n_share > 1 && where != PLAN_VRAM)
            FAIL(e, ERR_BUG, "place: a part of layer %d is %s, and all devices share it", layer,
                 plan_place_name(where));
        p->part[u].where = where;
        p->part[u].device = plan_device_of(plan, part, layer);
        struct place_device *on = &p->on[p->part[u].device];
        if (!on->dev)
            FAIL(e, ERR_BUG, "place: no backend for device %d", p->part[u].device);
        on->n_streamed += where == PLAN_STREAM;
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

/* The row of a layer in the table of share k. */
static struct tensor *place_row(const struct place *p, int k, int layer)
{
    return p->slot + ((size_t)k * place_rows(p->w) + (size_t)layer) * (size_t)p->w->n_slot;
}

/* True when share k has tensors of this part. An output matrix that is not divided lies on the last
 * device. */
static bool share_has(const struct place *p, enum plan_part part, int k)
{
    return p->n_share == 1 || (part == PART_EMBED                             ? k == 0
                               : part == PART_OUTPUT && !p->plan->rows_output ? k == p->n_share - 1
                                                                              : true);
}

static int place_row_fill(struct place *p, int k, int l, struct err *e)
{
    const struct weights *w = p->w;
    for (int s = 0; s < w->n_slot; s++) {
        struct tensor *t = &place_row(p, k, l)[s];
        if ((w->per_layer[s] ? w->n_layer == 0 : l > 0) || !share_has(p, w->part[s], k))
            continue;
        if (p->n_share > 1 && (w->part[s] != PART_OUTPUT || p->plan->rows_output))
            TRY(weights_share(w, s, l, k, p->n_share, t, e));
        else
            *t = *weights_get(w, s, l);
    }
    return 0;
}

static int place_table(struct place *p, struct err *e)
{
    size_t rows = place_rows(p->w), n = (size_t)p->n_share * rows * (size_t)p->w->n_slot;
    p->slot = mem_zalloc(n, sizeof *p->slot);
    if (!p->slot)
        return NOMEM(e, n * sizeof *p->slot, "the table of placed weights");
    for (int k = 0; k < p->n_share; k++)
        for (size_t l = 0; l < rows; l++)
            TRY(place_row_fill(p, k, (int)l, e));
    return 0;
}

static int tensor_order(const void *a, const void *b)
{
    const struct place_tensor *x = a, *y = b;
    if (x->range.file_at != y->range.file_at)
        return x->range.file_at > y->range.file_at ? 1 : -1;
    return (x->range.bytes < y->range.bytes) - (x->range.bytes > y->range.bytes);
}

/* Appends the tensors of one part to the list, of tensor parallel those of share k. */
static int list_part(struct place *p, int number, int k, struct place_list *list, struct err *e)
{
    int n_layer = p->w->n_layer, layer = part_layer(n_layer, number);
    enum plan_part part = part_of(n_layer, number);
    for (int s = 0; s < p->w->n_slot; s++) {
        struct tensor *t = &place_row(p, k, layer)[s];
        struct place_tensor *r = &list->tensor[list->n];
        if (p->w->part[s] != part || !t->data)
            continue;
        if (!gguf_offset(p->w->file, t->data, &r->range.file_at))
            FAIL(e, ERR_BUG, "place: slot %d lies outside the model file", s);
        r->t = t;
        r->range.bytes = tensor_bytes(t);
        list->n++;
    }
    return 0;
}

/* Sorts the list into file order, which a disk reads fast, and gives each tensor its offset in the
 * copy. A shared tensor has one offset. So has a share that is the beginning of a whole tensor,
 * which stands before it. */
static void list_lay_out(struct place_list *list)
{
    if (list->n)
        qsort(list->tensor, (size_t)list->n, sizeof *list->tensor, tensor_order);
    for (int i = 0; i < list->n; i++) {
        struct place_tensor *r = &list->tensor[i];
        bool again = i && r[-1].range.file_at == r->range.file_at;
        r->range.at = again ? r[-1].range.at : list->bytes;
        if (!again)
            list->bytes += (r->range.bytes + WEIGHTS_ALIGN - 1) & ~(WEIGHTS_ALIGN - 1);
    }
}

static int list_alloc(const struct place *p, struct place_list *list, struct err *e)
{
    size_t n = place_rows(p->w) * (size_t)p->w->n_slot;
    list->tensor = mem_zalloc(n, sizeof *list->tensor);
    return list->tensor ? 0 : NOMEM(e, n * sizeof *list->tensor, "the order of weights");
}

/* Lists all tensors of one place; device: -1 = of any. */
static int list_make(struct place *p, enum plan_place where, int device, struct place_list *list,
                     struct err *e)
{
    const bool shared = p->n_share > 1;
    TRY(list_alloc(p, list, e));
    for (int u = 0; u < p->n_part; u++)
        if (p->part[u].where == where && (device < 0 || shared || p->part[u].device == device))
            TRY(list_part(p, u, shared && device > 0 ? device : 0, list, e));
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
static int load_tensor(struct place_load *load, const struct place_tensor *r, unsigned char *dst,
                       struct err *e)
{
    for (uint64_t at = 0; at < r->range.bytes; at += PIECE) {
        uint64_t n = r->range.bytes - at < PIECE ? r->range.bytes - at : PIECE;
        if (!dst) {
            TRY(gguf_populate(load->g, r->range.file_at + at, n, e));
        } else if (!load->hollow) {
            TRY(gguf_ahead(load->g, r->range.file_at + at, n, e));
            TRY(gguf_read(load->g, r->range.file_at + at, dst + at, (size_t)n, e));
        }
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
        TRY(load_tensor(load, &list->tensor[i], NULL, e));
    return 0;
}

/* Allocates the memory of a copy, and points its tensors into it. */
static int list_take(struct device *dev, struct place_list *list, enum mem_space space,
                     struct buf *to, struct err *e)
{
    if (!list->n)
        return 0;
    TRY(dev->api->alloc(dev, space, (size_t)list->bytes, to, e));
    for (int i = 0; i < list->n; i++)
        list->tensor[i].t->data = (unsigned char *)to->ptr + list->tensor[i].range.at;
    return 0;
}

/* The copy for the host: each matrix near the threads that will multiply with it. */
static int list_take_host(struct place *p, struct err *e)
{
    TRY(list_take(p->dev, &p->on_host, p->dev->is_host ? MEM_DEVICE : MEM_HOST, &p->host_copy, e));
    for (int i = 0; p->host->home && i < p->on_host.n; i++)
        p->host->home(p->host, p->on_host.tensor[i].t);
    return 0;
}

/* Points the tensors of the host into the packed weights. */
static int list_packed(struct place *p, struct err *e)
{
    for (int i = 0; i < p->on_host.n; i++) {
        struct place_tensor *r = &p->on_host.tensor[i];
        const void *at = packed_find(p->packed, r->range.file_at, &r->t->lanes);
        if (!at)
            FAIL(e, ERR_BUG, "place: the packed weights lack the tensor at byte %" PRIu64,
                 r->range.file_at);
        r->t->data = (void *)(uintptr_t)at; /* weights are only read */
    }
    return 0;
}

static int place_take(struct place *p, struct err *e)
{
    for (int d = 0; d < p->n_device; d++) {
        struct place_device *on = &p->on[d];
        if (!on->dev)
            continue;
        TRY(list_make(p, PLAN_VRAM, d, &on->in_vram, e));
        TRY(list_take(on->dev, &on->in_vram, MEM_DEVICE, &on->vram, e));
    }
    TRY(list_make(p, PLAN_HOST, -1, &p->on_host, e));
    if (p->packed)
        return list_packed(p, e);
    return p->mapped ? 0 : list_take_host(p, e);
}

/* True for a matrix of the CPU's own copy that its backend packs. A table that is only gathered
 * from is not packed. Equal ranges, those of a tied matrix, are neighbours in the list. */
static bool tensor_packs(const struct place *p, int i)
{
    const struct place_tensor *r = p->on_host.tensor;
    if (!p->host->packs || p->dev->hollow || !p->host->packs(p->host, r[i].t))
        return false;
    for (int k = i; k < p->on_host.n && r[k].range.file_at == r[i].range.file_at; k++)
        if (p->w->part[(r[k].t - p->slot) % p->w->n_slot] != PART_EMBED)
            return true;
    return false;
}

/* Reads a matrix and packs it with the threads of the backend. */
static int load_packed(struct place *p, struct place_load *load, const struct place_tensor *r,
                       unsigned char *dst, struct err *e)
{
    const size_t row = r->t->row_bytes;
    const int64_t rows = tensor_rows(r->t);
    for (int64_t at = 0, n; at < rows; at += n) {
        n = packed_step(r->t, at);
        TRY(packed_rows(p->host, load->g, r->range.file_at, r->t, at, n, dst + (size_t)at * row,
                        e));
        load_step(load, (uint64_t)n * row);
    }
    return 0;
}

static int load_copied(struct place *p, struct place_load *load, struct err *e)
{
    const struct place_tensor *r = p->on_host.tensor;
    for (int i = 0; i < p->on_host.n; i++) {
        unsigned char *dst = (unsigned char *)p->host_copy.ptr + r[i].range.at;
        if (i && r[i].range.file_at == r[i - 1].range.file_at) { /* shared, already loaded */
            r[i].t->lanes = r[i - 1].t->lanes;
            continue;
        }
        const bool pack = tensor_packs(p, i);
        TRY(pack ? load_packed(p, load, &r[i], dst, e) : load_tensor(load, &r[i], dst, e));
        r[i].t->lanes = pack;
    }
    return 0;
}

static int load_uploaded(struct place_device *on, struct place_load *load, struct upload *up,
                         struct err *e)
{
    unsigned char *base = on->vram.ptr;
    uint64_t largest = 0;
    for (int i = 0; i < on->in_vram.n; i++)
        if (on->in_vram.tensor[i].range.bytes > largest)
            largest = on->in_vram.tensor[i].range.bytes;
    TRY(upload_init(up, largest, e));
    for (int i = 0; i < on->in_vram.n; i++) {
        const struct place_tensor *r = &on->in_vram.tensor[i];
        if (i && r[-1].range.file_at == r->range.file_at)
            continue; /* a shared tensor is already copied */
        for (uint64_t at = 0; at < r->range.bytes; at += UPLOAD_PIECE) {
            size_t n =
                (size_t)(r->range.bytes - at < UPLOAD_PIECE ? r->range.bytes - at : UPLOAD_PIECE);
            TRY(upload_piece(up, load->g, r->range.file_at + at, n, base + r->range.at + at, e));
            load_step(load, n);
        }
    }
    return on->dev->api->sync(on->dev, NULL, e);
}

static int load_vram(struct place_device *on, struct place_load *load, struct err *e)
{
    if (!on->in_vram.n)
        return 0;
    struct upload up = {.dev = on->dev};
    int rc = load_uploaded(on, load, &up, e);
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
                              .total = p->on_host.bytes};
    for (int d = 0; d < p->n_device; d++)
        load.total += p->on[d].in_vram.bytes;
    TRY(gguf_check_unchanged(p->w->file, e));
    for (int d = 0; d < p->n_device; d++)
        TRY(load_vram(&p->on[d], &load, e));
    if (p->on_host.n && !p->packed) /* packed_open has loaded those */
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

/* Makes the items of a device's stage from its streamed parts: item (n_streamed), and one range for
 * each tensor. The tensors take their places from *tensor on. */
static int place_items(struct place *p, int device, struct place_tensor **tensor,
                       struct stage_item *item, struct stage_range *range, struct err *e)
{
    struct place_tensor *free_tensor = *tensor;
    int n_item = 0;
    for (int u = 0; u < p->n_part; u++) {
        struct place_list *list = &p->part[u].streamed;
        if (p->part[u].where != PLAN_STREAM || p->part[u].device != device)
            continue;
        list->tensor = free_tensor;
        TRY(list_part(p, u, 0, list, e));
        list_lay_out(list);
        for (int i = 0; i < list->n; i++)
            range[i] = list->tensor[i].range;
        item[n_item] =
            (struct stage_item){.bytes = list->bytes, .n_range = list->n, .range = range};
        p->part[u].item = n_item++;
        free_tensor += list->n;
        range += list->n;
    }
    *tensor = free_tensor;
    return 0;
}

static int place_stage(struct place *p, int device, struct place_tensor **tensor, double link_limit,
                       struct err *e)
{
    const struct plan *plan = p->plan;
    const bool several = plan->n_device > 1;
    struct place_device *on = &p->on[device];
    if (!on->n_streamed)
        return 0;
    size_t n = place_rows(p->w) * (size_t)p->w->n_slot;
    struct stage_item *item = mem_zalloc((size_t)on->n_streamed, sizeof *item);
    struct stage_range *range = mem_zalloc(n, sizeof *range);
    int rc = 0;
    if (!item || !range)
        TRY_DONE(NOMEM(e, n * sizeof *range, "streamed weights"));
    TRY_DONE(place_items(p, device, tensor, item, range, e));
    const struct plan_share *share = &plan->share[device];
    const struct stage_config c = {.dev = on->dev,
                                   .item = item,
                                   .n_item = on->n_streamed,
                                   .ring_bytes = several ? share->ring_bytes : plan->ring_bytes,
                                   .pinned_bytes =
                                       several ? share->pinned_bytes : plan->pinned_bytes,
                                   .keep_pinned = plan->keep_pinned,
                                   .read = place_read,
                                   .user = p,
                                   .link_limit = link_limit};
    TRY_DONE(stage_open(&c, &on->stage, e));
done:
    mem_free(item);
    mem_free(range);
    return rc;
}

static int place_stages(struct place *p, double link_limit, struct err *e)
{
    size_t n = place_rows(p->w) * (size_t)p->w->n_slot;
    if (!p->n_streamed)
        return 0;
    p->streamed = mem_zalloc(n, sizeof *p->streamed);
    if (!p->streamed)
        return NOMEM(e, n * sizeof *p->streamed, "streamed weights");
    struct place_tensor *tensor = p->streamed;
    for (int d = 0; d < p->n_device; d++)
        TRY(place_stage(p, d, &tensor, link_limit, e));
    return 0;
}

/* ---- calls ----------------------------------------------------------------------------------- */

static void place_devices(struct place *p, struct ops *const *ops)
{
    p->n_device = p->plan->n_device > 1 ? p->plan->n_device : 1;
    p->n_share = p->plan->split == PLAN_ROWS ? p->n_device : 1;
    for (int d = p->n_device - 1; d >= 0; d--)
        if (ops[d])
            p->dev = p->on[d].dev = ops[d]->dev;
}

int place_open(const struct plan *plan, const struct weights *w, struct ops *const *ops,
               struct ops *host, struct packed *packed, double link_limit, struct place **out,
               struct err *e)
{
    int rc = 0;
    struct place *p = mem_zalloc(1, sizeof *p);
    if (!p)
        return NOMEM(e, sizeof *p, "placed weights");
    p->w = w;
    p->plan = plan;
    place_devices(p, ops);
    p->host = host ? host : ops[0];
    p->packed = packed;
    p->mapped = plan->weights_mapped && !packed;
    TRY_DONE(place_parts(p, plan, e));
    TRY_DONE(place_table(p, e));
    TRY_DONE(gguf_check_unchanged(w->file, e));
    TRY_DONE(place_take(p, e));
    TRY_DONE(place_stages(p, link_limit, e));
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
    for (int d = 0; d < p->n_device; d++) {
        struct place_device *on = &p->on[d];
        stage_close(on->stage);
        if (on->dev)
            on->dev->api->free(on->dev, &on->vram);
        mem_free(on->in_vram.tensor);
    }
    p->dev->api->free(p->dev, &p->host_copy);
    mem_free(p->streamed);
    mem_free(p->on_host.tensor);
    mem_free(p->part);
    mem_free(p->slot);
    mem_free(p);
}

/* *number: the number of a part of a layer. */
static int place_number(const struct place *p, enum plan_part part, int layer, int *number,
                        struct err *e)
{
    bool in_layer = part == PART_ATTN || part == PART_FFN;
    if (layer < 0 || layer >= (in_layer ? p->w->n_layer : 1))
        FAIL(e, ERR_BUG, "place: layer %d of %d", layer, p->w->n_layer);
    *number = part_number(p->w->n_layer, part, layer);
    return 0;
}

const struct plan *place_plan(const struct place *p)
{
    return p->plan;
}

enum plan_place place_of(const struct place *p, enum plan_part part, int layer)
{
    return p->part[part_number(p->w->n_layer, part, layer)].where;
}

/* Once a step, in two system calls: checks that a file still in use is the one that was opened. */
static int place_same_file(struct place *p, struct err *e)
{
    struct stage_stats st;
    place_stats(p, &st);
    if (p->packed)
        TRY(packed_unchanged(p->packed, e));
    return (p->n_host && p->mapped) || st.reading ? gguf_check_unchanged(p->w->file, e) : 0;
}

int place_part(struct place *p, enum plan_part part, int layer, const struct tensor **slots,
               struct err *e)
{
    int u;
    TRY(place_number(p, part, layer, &u, e));
    if (part == PART_EMBED)
        TRY(place_same_file(p, e));
    struct place_part *one = &p->part[u];
    if (one->where == PLAN_STREAM) {
        void *base;
        TRY(stage_acquire(p->on[one->device].stage, one->item, &base, e));
        for (int i = 0; i < one->streamed.n; i++)
            one->streamed.tensor[i].t->data =
                (unsigned char *)base + one->streamed.tensor[i].range.at;
    }
    place_share(p, part, layer, 0, slots);
    return 0;
}

void place_share(const struct place *p, enum plan_part part, int layer, int k,
                 const struct tensor **slots)
{
    const struct tensor *row = place_row(p, k, layer);
    for (int i = 0; i < p->w->n_slot; i++)
        if (p->w->part[i] == part)
            slots[i] = &row[i];
}

int place_release(struct place *p, enum plan_part part, int layer, struct err *e)
{
    int u;
    TRY(place_number(p, part, layer, &u, e));
    struct place_part *one = &p->part[u];
    return one->where == PLAN_STREAM ? stage_release(p->on[one->device].stage, one->item, e) : 0;
}

void place_watch(struct place *p, struct spans *spans)
{
    for (int d = 0; d < p->n_device; d++)
        if (p->on[d].stage)
            stage_watch(p->on[d].stage, spans);
}

int place_prefetch(struct place *p, struct err *e)
{
    for (int d = 0; d < p->n_device; d++)
        if (p->on[d].stage)
            TRY(stage_prefetch(p->on[d].stage, e));
    return 0;
}

bool place_has_host(const struct place *p)
{
    return p->n_host && !p->dev->is_host;
}

bool place_recordable(const struct place *p)
{
    return !p->n_streamed && !place_has_host(p);
}

/* Adds the figures of one more device: all have the same number of passes. */
static void stats_add(struct stage_stats *sum, const struct stage_stats *one)
{
    sum->copied_bytes += one->copied_bytes;
    sum->read_bytes += one->read_bytes;
    sum->read_seconds += one->read_seconds;
    sum->stalls += one->stalls;
    sum->stall_seconds += one->stall_seconds;
    sum->pinned_bytes += one->pinned_bytes;
    sum->ring_bytes += one->ring_bytes;
    sum->pass_bytes += one->pass_bytes;
    sum->kept &= one->kept;
    sum->pinned &= one->pinned;
    sum->reading |= one->reading;
}

void place_stats(const struct place *p, struct stage_stats *out)
{
    *out = (struct stage_stats){0};
    for (int d = 0, n = 0; d < p->n_device; d++) {
        struct stage_stats one;
        if (!p->on[d].stage)
            continue;
        stage_stats(p->on[d].stage, &one);
        if (n++)
            stats_add(out, &one);
        else
            *out = one;
    }
}

static int place_streams(const struct place *p, struct err *e)
{
    if (!p->n_streamed)
        FAIL(e, ERR_USAGE, "nothing is streamed: no part of the model is copied for every step");
    return 0;
}

int place_hold(struct place *p, bool on, struct err *e)
{
    TRY(place_streams(p, e));
    for (int d = 0; d < p->n_device; d++)
        if (p->on[d].stage)
            stage_hold(p->on[d].stage, on);
    return 0;
}

int place_copy_alone(struct place *p, int passes, uint64_t *bytes, double *seconds, struct err *e)
{
    TRY(place_streams(p, e));
    uint64_t all = 0;
    double in_all = 0;
    for (int d = 0; d < p->n_device; d++) { /* one device after the other */
        uint64_t n;
        double s;
        if (!p->on[d].stage)
            continue;
        TRY(stage_copy_alone(p->on[d].stage, passes, &n, &s, e));
        all += n;
        in_all += s;
    }
    *bytes = all;
    *seconds = in_all;
    return 0;
}
