#include "engine.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "clock.h"
#include "devices.h"
#include "forward.h"
#include "log.h"
#include "mem.h"
#include "packed.h"
#include "probe.h"
#include "scheduler.h"
#include "seq.h"
#include "source.h"
#include "speculate.h"
#include "tokenizer.h"

/* accuracy in bytes of the search for the memory that a device can allocate */
#define ROOM_STEP ((uint64_t)64 << 20)
enum { MANY_HOST = 64, MANY_CONTEXTS = 16 }; /* sequences and full contexts on the host, n_seq 0 */
/* On a device n_seq 0 means the number of sequences of typical length that its KV cache holds.
 * Typical: prompt and reply of one call of a MedQA evaluation. */
enum { MANY_DEVICE_LEAST = 16, MANY_DEVICE_MOST = 256, TYPICAL_TOKENS = 900 };
enum { ROOM_TRIES = 4 }; /* plans until one fits: other programs may allocate memory meanwhile */

struct inbox { /* requests that other threads have left for the engine thread */
    struct request **item;
    size_t n, cap;
};

struct engine {
    struct engine_info info;
    char arch[64], name[128];
    struct gguf *file;
    struct tokenizer *tok;
    struct chat *chat;
    struct model model;
    struct devices devices;
    struct ops *ops;        /* the first of them */
    struct ops *host;       /* computes the parts placed there beside a device, or NULL */
    struct ops **layer_ops; /* (n_layer) the backend of each layer */
    /* of the machine, measured when first needed; vram 0 = not measured */
    struct plan_rates rates;
    struct plan plan;
    struct packed *packed; /* of the CPU's weights; NULL = none */
    struct place *place;
    struct kv *kv;
    struct forward *fw;
    struct grammar_vocab *gv;
    struct drafter *drafter;
    struct speculate *speculate;
    struct sched *sched;
    struct spans *spans; /* or NULL */
    pthread_t thread;
    bool has_thread;
    /* shared, under lock */
    pthread_mutex_t lock;
    pthread_cond_t news;
    struct inbox added, cancelled;
    size_t n_live; /* submitted and not done; cancelled has room for so many */
    struct engine_stats stats;
    uint64_t page_bytes; /* of the KV cache */
    bool stopping;
    struct err dead; /* code != 0: a device error ended the engine */
};

static int inbox_reserve(struct inbox *in, size_t n, struct err *e)
{
    return mem_grow(&in->item, &in->cap, n, sizeof(struct request *), "submission queue", e);
}

static bool inbox_has(const struct inbox *in, const struct request *r)
{
    for (size_t i = 0; i < in->n; i++)
        if (in->item[i] == r)
            return true;
    return false;
}

static void inbox_forget(struct inbox *in, const struct request *r)
{
    size_t kept = 0;
    for (size_t i = 0; i < in->n; i++)
        if (in->item[i] != r)
            in->item[kept++] = in->item[i];
    in->n = kept;
}

/* ---- the engine thread ----------------------------------------------------------------------- */

/* Brings en->stats up to date; under lock. */
static void engine_count(struct engine *en)
{
    struct stage_stats st;
    sched_stats(en->sched, &en->stats);
    en->stats.swapped_bytes =
        (en->stats.pages_swapped_out + en->stats.pages_swapped_in) * en->page_bytes;
    if (!en->plan.stream_bytes)
        return;
    place_stats(en->place, &st);
    en->stats.streamed_bytes = st.copied_bytes;
}

static void engine_finished(struct seq *q, void *user)
{
    struct engine *en = user;
    struct request *r = seq_request(q);
    pthread_mutex_lock(&en->lock);
    r->engine_slot = NULL;
    en->n_live--;
    inbox_forget(&en->cancelled, r); /* after done() r may be freed */
    engine_count(en);                /* before done(): its caller sees this end counted */
    pthread_mutex_unlock(&en->lock);
    seq_free(en->kv, q);
    r->done(r);
}

/* Passes new and cancelled requests to the scheduler; waits for some if it is idle. False: stop. */
static bool engine_take_news(struct engine *en)
{
    pthread_mutex_lock(&en->lock);
    engine_count(en);
    while (!en->stopping && !en->added.n && !en->cancelled.n && sched_idle(en->sched))
        pthread_cond_wait(&en->news, &en->lock);
    for (size_t i = 0; i < en->added.n; i++)
        sched_add(en->sched, en->added.item[i]->engine_slot);
    for (size_t i = 0; i < en->cancelled.n; i++)
        if (en->cancelled.item[i]->engine_slot)
            sched_cancel(en->sched, en->cancelled.item[i]->engine_slot);
    en->added.n = en->cancelled.n = 0;
    bool go = !en->stopping;
    pthread_mutex_unlock(&en->lock);
    return go;
}

static void *engine_main(void *arg)
{
    struct engine *en = arg;
    spans_thread(en->spans, "engine");
    while (engine_take_news(en)) {
        struct err why = {0};
        if (en->dead.code) { /* engine_ended says so before any request ends with it */
            sched_abort(en->sched, FINISH_ERROR, &en->dead, engine_finished, en);
        } else if (sched_step(en->sched, engine_finished, en, &why) < 0) {
            pthread_mutex_lock(&en->lock);
            en->dead = why;
            pthread_mutex_unlock(&en->lock);
        }
    }
    sched_abort(en->sched, FINISH_CANCEL, NULL, engine_finished, en);
    return NULL;
}

/* ---- calls from other threads ---------------------------------------------------------------- */

/* Clears the results of r and makes its sequence. */
static int engine_ready(struct engine *en, struct request *r, struct seq **q, struct err *e)
{
    r->n_out = r->n_think = r->n_own = r->n_cached = r->n_pass = r->n_drafted = r->n_accepted = 0;
    r->finish = FINISH_NONE;
    r->thought = r->think.max ? THOUGHT_OPEN : THOUGHT_NONE;
    r->err = (struct err){0};
    r->t_submit_ns = clock_ns();
    r->t_first_ns = r->t_done_ns = 0;
    return seq_new(r, en->kv, en->tok, en->info.n_ctx, q, e);
}

/* Makes room for n requests; under lock. */
static int engine_reserve(struct engine *en, size_t n, struct err *e)
{
    if (en->stopping)
        FAIL(e, ERR_CANCEL, "the engine is closing");
    if (en->dead.code)
        return err_set(e, en->dead.code, "the engine stopped after an error: %s", en->dead.msg);
    TRY(inbox_reserve(&en->added, en->added.n + n, e));
    return inbox_reserve(&en->cancelled, en->n_live + n, e); /* so a cancel needs no memory */
}

/* Leaves n requests and their sequences for the engine thread: all, or on an error none. */
static int engine_add(struct engine *en, struct request *const *r, struct seq *const *q, int n,
                      struct err *e)
{
    pthread_mutex_lock(&en->lock);
    const int rc = engine_reserve(en, (size_t)n, e);
    for (int i = 0; i < n && rc == 0; i++) {
        en->added.item[en->added.n++] = r[i];
        en->n_live++;
        r[i]->engine_slot = q[i];
    }
    pthread_cond_signal(&en->news);
    pthread_mutex_unlock(&en->lock);
    return rc;
}

int engine_submit_all(struct engine *en, struct request *const *r, int n, struct err *e)
{
    struct seq *one = NULL, **q = n > 1 ? mem_zalloc((size_t)n, sizeof(struct seq *)) : &one;
    int rc = q ? 0 : NOMEM(e, (size_t)n * sizeof(struct seq *), "requests"), made = 0;
    while (rc == 0 && made < n) {
        rc = engine_ready(en, r[made], &q[made], e);
        made += rc == 0;
    }
    if (rc == 0)
        rc = engine_add(en, r, q, n, e);
    while (rc < 0 && made > 0)
        seq_free(NULL, q[--made]);
    if (n > 1)
        mem_free(q);
    return rc;
}

int engine_submit(struct engine *en, struct request *r, struct err *e)
{
    return engine_submit_all(en, &r, 1, e);
}

int engine_check(const struct engine *en, const struct request *r, struct err *e)
{
    return seq_check(r, en->tok, en->info.n_ctx, e);
}

void engine_cancel(struct engine *en, struct request *r)
{
    pthread_mutex_lock(&en->lock);
    if (r->engine_slot && !inbox_has(&en->cancelled, r)) {
        en->cancelled.item[en->cancelled.n++] = r;
        pthread_cond_signal(&en->news);
    }
    pthread_mutex_unlock(&en->lock);
}

void engine_stats(struct engine *en, struct engine_stats *out)
{
    pthread_mutex_lock(&en->lock);
    *out = en->stats;
    pthread_mutex_unlock(&en->lock);
}

int engine_ended(struct engine *en, struct err *e)
{
    pthread_mutex_lock(&en->lock);
    const int rc = en->dead.code;
    if (rc && e)
        *e = en->dead;
    pthread_mutex_unlock(&en->lock);
    return rc;
}

struct place *engine_placed(struct engine *en)
{
    return en->place;
}

const struct engine_info *engine_info(const struct engine *en)
{
    return &en->info;
}

const struct tokenizer *engine_tokenizer(const struct engine *en)
{
    return en->tok;
}

int engine_hash(struct engine *en, char hex[65], struct err *e)
{
    if (!en->info.model_sha256[0])
        TRY(source_sha256(en->file, NULL, NULL, en->info.model_sha256, e));
    memcpy(hex, en->info.model_sha256, sizeof en->info.model_sha256);
    return 0;
}

/* ---- opening --------------------------------------------------------------------------------- */

static void engine_copy_str(const struct gguf *g, const char *key, char *out, size_t cap)
{
    struct gguf_str s;
    out[0] = 0;
    if (gguf_find(g, key) && gguf_get_str(g, key, &s, NULL) == 0)
        snprintf(out, cap, "%.*s", (int)(s.len < cap ? s.len : cap - 1), s.s);
}

static int engine_limits(struct engine *en, const struct engine_options *opt, struct err *e)
{
    const struct hparams *hp = &en->model.hp;
    struct engine_info *in = &en->info;
    in->n_ctx = opt->n_ctx;
    in->n_seq = opt->n_seq ? opt->n_seq : en->ops->dev->is_host ? MANY_HOST : MANY_DEVICE_MOST;
    in->batch_tokens = opt->batch_tokens;
    in->page_tokens = opt->page_tokens;
    in->kv_fmt = opt->kv_fmt;
    if (in->n_ctx > hp->n_ctx_train)
        FAIL(e, ERR_USAGE,
             "context of %d tokens: must be 1 to %d, the model's own limit; set --ctx", in->n_ctx,
             hp->n_ctx_train);
    if (in->batch_tokens < in->n_seq)
        in->batch_tokens = in->n_seq; /* every running sequence must fit into a step */
    return 0;
}

/* Fills the input of the plan from the model's sizes and the caller's options. layer: room for 2
 * n_layer numbers. */
static void plan_sizes(const struct engine *en, const struct engine_options *opt,
                       const struct kv_config *kc, const struct forward_limits *lim,
                       uint64_t *layer, struct plan_input *in)
{
    /* of one context */
    int pages = (en->info.n_ctx + kc->page_tokens - 1) / kc->page_tokens;
    bool device = !en->ops->dev->is_host;
    struct forward_limits shared = *lim;
    shared.n_device = 1;
    shared.n_share = en->devices.n;
    *in = (struct plan_input){.kv_bytes_per_token = kv_page_bytes(kc) / (size_t)kc->page_tokens,
                              .kv_bytes = opt->kv_bytes,
                              .swap = opt->no_prefix_cache ? PLAN_SWAP_OFF : opt->swap,
                              .swap_bytes = opt->swap_bytes,
                              .n_ctx = pages * kc->page_tokens,
                              .n_seq = opt->n_seq || device ? en->info.n_seq : MANY_CONTEXTS,
                              .workspace_bytes = forward_workspace(&en->model, en->ops, lim),
                              .weights_mapped = !device,
                              .weights_packed =
                                  !device && en->ops->packs && !opt->map_weights && !en->packed,
                              .on_device = device,
                              .mode = opt->placement,
                              .split = opt->split,
                              .n_host = opt->cpu_layers.set ? opt->cpu_layers.value : PLAN_ANY};
    model_plan_sizes(&en->model, layer, in);
    in->rows.workspace_bytes = forward_workspace(&en->model, en->ops, &shared);
}

static int plan_budgets(struct engine *en, const struct engine_options *opt, struct plan_input *in,
                        struct err *e)
{
    size_t free_bytes, total;
    TRY(en->ops->dev->api->memory(en->ops->dev, &free_bytes, &total, e));
    if (in->on_device) {
        in->vram_bytes = free_bytes;
        TRY(en->host->dev->api->memory(en->host->dev, &free_bytes, &total, e));
    }
    in->ram_bytes = opt->ram_bytes ? opt->ram_bytes : free_bytes;
    /* a budget includes the draft model, which free_bytes no longer counts */
    if (opt->ram_bytes && en->drafter && !in->on_device) {
        uint64_t taken = drafter_bytes(en->drafter);
        /* 0 would be no budget */
        in->ram_bytes = taken < in->ram_bytes ? in->ram_bytes - taken : 1;
    }
    return 0;
}

/* Measures the rates of the machine if the plan needs them: if some part may not be resident and
 * its place is to be chosen. */
static int plan_measure(struct engine *en, const struct engine_options *opt, struct plan_input *in,
                        struct err *e)
{
    uint64_t least = weights_bytes(&en->model.w) + in->workspace_bytes +
                     (in->kv_bytes ? in->kv_bytes : in->kv_bytes_per_token * (uint64_t)in->n_ctx);
    if (en->devices.n > 1)
        return 0; /* devices_plan has measured */
    if (opt->rates)
        en->rates = *opt->rates;
    else if (in->n_host <= 0 && in->mode != PLAN_THROUGHPUT && least <= in->vram_bytes)
        return 0;
    if (!(en->rates.vram > 0)) {
        const struct tensor *up = weights_get(&en->model.w, SLOT_FFN_UP, 0);
        TRY(probe_rates(en->ops, en->host, up->data ? up->fmt : FMT_F16, &en->rates, e));
    }
    if (opt->link_limit > 0 && en->rates.link > opt->link_limit)
        en->rates.link = opt->link_limit;
    in->rates = en->rates;
    return 0;
}

/* Makes the plan: sizes of workspace and KV pool, and places of the weights. If they do not fit,
 * the error names the knob to turn. limit: of each device's memory; 0 = the free bytes that it
 * reports. */
static int engine_plan(struct engine *en, const struct engine_options *opt,
                       const struct forward_limits *lim, const uint64_t *limit,
                       struct kv_config *kc, struct err *e)
{
    struct plan_input in;
    const struct tensor *up = weights_get(&en->model.w, SLOT_FFN_UP, 0);
    size_t page = kv_page_bytes(kc), n_layer = (size_t)en->model.hp.n_layer;
    if (!page)
        FAIL(e, ERR_USAGE,
             "kv type %s cannot hold heads of %d elements: must be a multiple of %d; "
             "use --kv-type f16",
             fmt_info(kc->fmt)->name, kc->head_dim, (int)fmt_info(kc->fmt)->block_elems);
    uint64_t *layer = mem_zalloc(2 * n_layer, sizeof *layer);
    if (!layer)
        return NOMEM(e, 2 * n_layer * sizeof *layer, "plan");
    plan_sizes(en, opt, kc, lim, layer, &in);
    int rc = plan_budgets(en, opt, &in, e);
    if (rc == 0 && limit[0] && in.vram_bytes > limit[0])
        in.vram_bytes = limit[0];
    if (rc == 0)
        rc = devices_plan(&en->devices, opt, en->host, up->data ? up->fmt : FMT_F16, limit, &in, e);
    if (rc == 0 && in.on_device)
        rc = plan_measure(en, opt, &in, e);
    if (rc == 0)
        rc = opt->plan ? plan_clone(opt->plan, &en->plan, e) : plan_make(&in, &en->plan, e);
    mem_free(layer);
    if (rc == 0) {
        uint64_t n = en->plan.kv_bytes / page, cap = (uint64_t)((1 << 30) / kc->page_tokens);
        kc->n_page = (int32_t)(n < cap ? n : cap);
        kc->swap_bytes = en->plan.swap_bytes;
    }
    return rc;
}

static int engine_say_plan(const struct engine *en, struct err *e)
{
    struct str s = STR_INIT;
    plan_describe(&en->plan, &s);
    int rc = str_ok(&s, "the plan's text", e);
    for (char *line = s.s, *next; line && *line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = 0;
        log_info("%s: %s", en->devices.name, line);
    }
    str_free(&s);
    return rc;
}

/* Memory of the plan on device i. */
static uint64_t engine_needs(const struct engine *en, int i)
{
    return en->devices.n > 1 ? en->plan.share[i].total_bytes : en->plan.total_bytes;
}

/* Tries whether device i can allocate the memory of the plan, before any byte is read or pinned.
 * *room: that memory, otherwise nearly all that it can allocate. */
static int engine_room(struct engine *en, int i, uint64_t *room, struct err *e)
{
    struct device *dev = en->devices.ops[i]->dev;
    uint64_t given = 0, refused = 0, want = engine_needs(en, i);
    for (*room = want; !dev->is_host && *room && *room != given;
         *room = given + (refused - given) / 2) {
        struct buf b = {0};
        int rc = dev->api->alloc(dev, MEM_DEVICE, (size_t)*room, &b, e);
        if (rc < 0 && rc != ERR_NOMEM)
            return rc;
        dev->api->free(dev, &b);
        *(rc == 0 ? &given : &refused) = *room;
        if (given == want || refused - given < ROOM_STEP)
            break;
    }
    *room = dev->is_host ? want : given;
    return 0;
}

/* Makes a plan that the devices have room for. If one allocates less than it reported, a new plan
 * is made for that, unless the caller set a budget. */
static int engine_plan_what_fits(struct engine *en, const struct engine_options *opt,
                                 struct kv_config *kc, const struct forward_limits *lim,
                                 struct err *e)
{
    uint64_t room = 0, limit[PLAN_DEVICES] = {0}, want = 0;
    char name[160] = "";
    for (int i = 0; i < ROOM_TRIES; i++) {
        bool fits = true;
        TRY(engine_plan(en, opt, lim, limit, kc, e));
        TRY(engine_say_plan(en, e));
        for (int d = 0; d < en->devices.n && fits; d++) {
            want = engine_needs(en, d);
            devices_one(&en->devices, d, name, sizeof name);
            TRY(engine_room(en, d, &room, e));
            fits = room >= want;
            limit[d] = fits ? limit[d] : room;
        }
        if (fits)
            return 0;
        if (opt->vram_bytes || opt->kv_bytes)
            break;
        log_warn("%s can allocate %" PRIu64 " MiB of memory, less than the %" PRIu64
                 " MiB of the plan, which it reported as free: planning again",
                 name, room >> 20, want >> 20);
        plan_free(&en->plan);
    }
    FAIL(e, ERR_NOMEM,
         "cannot place the model: the plan needs %" PRIu64
         " MiB of the memory of %s, which can allocate %" PRIu64
         " MiB; set --vram to that or less, or lower --ctx or --sequences",
         want >> 20, name, room >> 20);
}

/* Lists the backend of each layer, for the KV cache. With tensor parallel each device has some
 * heads of all layers (forward.h). */
static int engine_layers(struct engine *en, struct kv_config *kc, struct err *e)
{
    const int n_layer = en->model.hp.n_layer,
              n_share = en->plan.split == PLAN_ROWS ? en->plan.n_device : 1;
    const size_t n = (size_t)n_layer * (size_t)n_share;
    en->layer_ops = mem_zalloc(n, sizeof *en->layer_ops);
    if (!en->layer_ops)
        return NOMEM(e, n * sizeof *en->layer_ops, "backends of layers");
    for (int l = 0; l < n_share * n_layer; l++)
        en->layer_ops[l] =
            en->devices.ops[n_share > 1 ? l / n_layer : plan_device_of(&en->plan, PART_ATTN, l)];
    kc->on = en->layer_ops;
    kc->n_layer = n_share * n_layer;
    kc->n_kv_head /= n_share;
    return 0;
}

/* Allocates memory first and loads last. */
static int engine_place(struct engine *en, const struct engine_options *opt, struct kv_config *kc,
                        const struct forward_limits *lim, struct err *e)
{
    const struct packed_options po = {.where = opt->packed_cache,
                                      .w = &en->model.w,
                                      .ops = en->ops,
                                      .progress = opt->progress,
                                      .user = opt->user};
    TRY(packed_open(&po, &en->packed, e)); /* then the plan needs no room for a copy */
    TRY(engine_plan_what_fits(en, opt, kc, lim, e));
    struct ops *const *ops = en->devices.ops;
    TRY(engine_layers(en, kc, e));
    TRY(kv_open(kc, en->ops, &en->kv, e));
    TRY(place_open(&en->plan, &en->model.w, ops, en->host, en->packed, opt->link_limit, &en->place,
                   e));
    TRY(forward_open(&en->model, en->place, en->kv, ops, en->host, lim, &en->fw, e));
    return place_load(en->place, opt->progress, opt->user, e);
}

static int engine_draft(struct engine *en, const struct engine_options *opt,
                        const struct forward_limits *lim, struct err *e)
{
    const struct engine_info *in = &en->info;
    const struct drafter_options o = {.model = opt->draft_model,
                                      .pre = opt->pre,
                                      .places = opt->places,
                                      .lim = *lim,
                                      .n_ctx = in->n_ctx,
                                      .page_tokens = in->page_tokens,
                                      .kv_fmt = in->kv_fmt,
                                      .no_prefix_cache = opt->no_prefix_cache,
                                      .map_weights = opt->map_weights,
                                      .packed_cache = opt->packed_cache,
                                      .memory = en->ops->dev->is_host ? opt->ram_bytes : 0};
    TRY(drafter_open(&o, en->tok, en->ops, &en->drafter, e));
    log_info("draft model %s: %" PRIu64 " MiB", opt->draft_model, drafter_bytes(en->drafter) >> 20);
    return 0;
}

static int engine_speculate(struct engine *en, const struct engine_options *opt, struct err *e)
{
    const struct speculate_options o = {.max_draft = opt->max_draft,
                                        .max_branch = opt->max_branch,
                                        .kv = en->kv,
                                        .n_ctx = en->info.n_ctx,
                                        .lookup = opt->lookup,
                                        .n_seq = en->info.n_seq,
                                        .always = opt->always_draft,
                                        .spoil = opt->spoil_drafts};
    if (!opt->max_draft)
        return 0;
    return speculate_open(&o, en->tok, en->gv, en->drafter, &en->speculate, e);
}

/* Number of sequences at once, from the size of a device's KV cache. */
static int engine_many(const struct engine_info *in)
{
    const int typical = in->n_ctx < TYPICAL_TOKENS ? in->n_ctx : TYPICAL_TOKENS;
    const int64_t n = (int64_t)in->n_page * in->page_tokens / typical;
    return n < MANY_DEVICE_LEAST  ? MANY_DEVICE_LEAST
           : n > MANY_DEVICE_MOST ? MANY_DEVICE_MOST
                                  : (int)n;
}

static int engine_build(struct engine *en, const struct engine_options *opt, struct err *e)
{
    const struct hparams *hp = &en->model.hp;
    TRY(engine_limits(en, opt, e));
    struct engine_info *in = &en->info;
    struct kv_config kc = {.fmt = in->kv_fmt,
                           .page_tokens = in->page_tokens,
                           .n_layer = hp->n_layer,
                           .n_kv_head = hp->n_kv_head,
                           .head_dim = hp->head_dim,
                           .prefix_cache = !opt->no_prefix_cache};
    const struct forward_load load = {.n_seq = in->n_seq,
                                      .batch_tokens = in->batch_tokens,
                                      .n_ctx = in->n_ctx,
                                      .page_tokens = in->page_tokens,
                                      .max_draft = opt->max_draft};
    struct forward_limits lim = forward_limits_for(&en->model, &load);
    lim.no_record = opt->no_record;
    lim.n_device = en->devices.n;
    bool drafts = opt->max_draft && *opt->draft_model;
    if (drafts && opt->max_branch)
        lim.max_seqs += SPECULATE_BRANCHES;
    if (drafts)
        TRY(engine_draft(en, opt, &lim, e)); /* first: the plan uses the memory that it leaves */
    TRY(engine_place(en, opt, &kc, &lim, e));
    in->n_page = kc.n_page;
    in->draft_bytes = en->drafter ? drafter_bytes(en->drafter) : 0;
    en->page_bytes = kv_page_bytes(&kc);
    in->plan = &en->plan;
    if (!opt->n_seq && !en->ops->dev->is_host)
        in->n_seq = engine_many(in);
    in->link_limit = opt->link_limit;
    en->spans = opt->spans;
    spans_gpus(opt->spans, en->devices.n);
    forward_watch(en->fw, opt->spans);
    if (en->drafter)
        drafter_watch(en->drafter, opt->spans);
    TRY(grammar_vocab_open(en->tok, &en->gv, e));
    TRY(engine_speculate(en, opt, e));
    struct sched_config sc = {.n_seq = in->n_seq,
                              .batch_tokens = in->batch_tokens,
                              .n_ctx = in->n_ctx,
                              .spans = opt->spans};
    return sched_open(&sc, en->fw, en->kv, en->tok, en->gv, en->speculate, &en->sched, e);
}

/* Names each format of the model that a backend decodes before it multiplies. */
static void engine_say_decoded(const struct engine *en, const struct ops *ops)
{
    bool has[FMT_COUNT];
    weights_formats(&en->model.w, has);
    for (int f = 0; f < FMT_COUNT && ops && ops->reads; f++)
        if (has[f] && !ops->reads(ops, (enum fmt)f))
            log_warn("%s has no fast kernel on %s: its weights are decoded first, which is slower",
                     fmt_info((enum fmt)f)->name, ops->name);
}

static int engine_load(struct engine *en, const struct engine_options *opt, struct err *e)
{
    TRY(source_open_from(opt->model, opt->places, &en->file, e));
    if (!gguf_n_tensors(en->file))
        FAIL(e, ERR_DATA, "%s: holds a vocabulary but no tensors; a model is needed",
             gguf_path(en->file));
    TRY(tokenizer_open(en->file, opt->pre, &en->tok, e));
    TRY(model_init(en->file, tokenizer_n_vocab(en->tok), &en->model, e));
    const struct chat_options co = {.name = opt->chat_template, .date = opt->chat_date};
    TRY(chat_open(en->file, en->tok, &co, &en->chat, e));
    en->info.chat = en->chat;
    TRY(devices_open(opt, &en->devices, e));
    en->ops = en->devices.ops[0];
    engine_say_decoded(en, en->ops);
    if (en->ops->dev->is_host)
        return 0;
    const struct ops_options of = {.n_threads = opt->n_threads, .isa = opt->isa, .sim = opt->sim};
    TRY(ops_open_beside(en->ops, &of, &en->host, e));
    engine_say_decoded(en, en->host);
    return 0;
}

static void engine_describe(struct engine *en)
{
    struct engine_info *in = &en->info;
    const struct hparams *hp = &en->model.hp;
    engine_copy_str(en->file, "general.architecture", en->arch, sizeof en->arch);
    engine_copy_str(en->file, "general.name", en->name, sizeof en->name);
    in->path = gguf_path(en->file);
    in->arch = en->arch;
    in->name = en->name;
    in->backend = en->ops->name;
    in->isa = en->host ? en->host->isa : en->ops->isa;
    in->isa = in->isa ? in->isa : "";
    in->device = en->devices.name;
    in->n_device = en->devices.n;
    in->pci = en->devices.pci;
    in->gpu = en->devices.number;
    in->model_bytes = gguf_file_bytes(en->file);
    in->n_params = en->model.n_params;
    in->n_layer = hp->n_layer;
    in->n_kv_head = hp->n_kv_head;
    in->head_dim = hp->head_dim;
    in->n_vocab = hp->n_vocab;
}

static void engine_free(struct engine *en)
{
    const char *why = "";
    /* all requests have freed their pages */
    CHECK_MSG(!en->kv || kv_audit(en->kv, NULL, 0, &why), why);
    sched_close(en->sched);
    speculate_close(en->speculate);
    drafter_close(en->drafter);
    grammar_vocab_close(en->gv);
    forward_close(en->fw);
    kv_close(en->kv);
    place_free(en->place);
    packed_close(en->packed);
    plan_free(&en->plan);
    if (en->host)
        spans_closing(en->spans, en->host->dev);
    for (int i = 0; i < en->devices.n; i++)
        spans_closing(en->spans, en->devices.ops[i]->dev);
    ops_close(en->host);
    devices_close(&en->devices);
    mem_free(en->layer_ops);
    model_free(&en->model);
    chat_close(en->chat);
    tokenizer_close(en->tok);
    gguf_close(en->file);
    mem_free(en->added.item);
    mem_free(en->cancelled.item);
    pthread_cond_destroy(&en->news);
    pthread_mutex_destroy(&en->lock);
    mem_free(en);
}

int engine_open(const struct engine_options *opt, struct engine **out, struct err *e)
{
    struct engine_options full = *opt;
    option_fill(&engine_option_set, &full);
    TRY(option_check(&engine_option_set, &full, e));
    struct engine *en = mem_zalloc(1, sizeof *en);
    if (!en)
        return NOMEM(e, sizeof *en, "engine");
    int rc = 0;
    pthread_mutex_init(&en->lock, NULL);
    pthread_cond_init(&en->news, NULL);
    TRY_DONE(engine_load(en, &full, e));
    engine_describe(en);
    if (!opt->n_ctx && full.n_ctx > en->model.hp.n_ctx_train)
        full.n_ctx = en->model.hp.n_ctx_train; /* the default is no more than the model can do */
    if (!full.lookup && !*full.draft_model)
        full.max_draft = 0; /* nothing drafts */
    TRY_DONE(engine_build(en, &full, e));
    if (pthread_create(&en->thread, NULL, engine_main, en)) {
        rc = err_set(e, ERR_AGAIN, "cannot start the engine thread");
        goto done;
    }
    en->has_thread = true;
    *out = en;
    return 0;
done:
    engine_free(en);
    return rc;
}

void engine_close(struct engine *en)
{
    if (!en)
        return;
    pthread_mutex_lock(&en->lock);
    en->stopping = true;
    pthread_cond_signal(&en->news);
    pthread_mutex_unlock(&en->lock);
    if (en->has_thread)
        pthread_join(en->thread, NULL);
    engine_free(en);
}
