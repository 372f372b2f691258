/* local: an engine in this process, opened by the settings of the configuration. */
#include "engine.h"
#include "provider.h"

static int local_options(const struct provider_options *o, struct engine_options *out,
                         struct err *e)
{
    const struct config *k = o->config;
    *out = (struct engine_options){
        .model = k->model,
        .backend = k->backend,
        .ops = {.n_threads = (int)k->threads, .isa = k->isa, .vram_bytes = k->placement.vram},
        .n_ctx = (int)k->max_context_length,
        .n_seq = k->engine.sequences ? (int)k->engine.sequences : o->calls,
        .batch_tokens = (int)k->engine.batch_tokens,
        .page_tokens = (int)k->kv.page_tokens,
        .kv_fmt = FMT_F16,
        .kv_bytes = k->kv.bytes,
        .no_prefix_cache = !k->engine.prefix_cache,
        .max_draft = (int)k->speculative.max_draft,
        .max_branch = (int)k->speculative.max_branches,
        .lookup = k->speculative.lookup,
        .draft_model = k->speculative.draft_model,
        .cpu_layers_set = k->placement.cpu_layers >= 0,
        .cpu_layers = (int)k->placement.cpu_layers,
        .ram_bytes = k->placement.ram,
        .map_weights = k->placement.map_weights,
        .link_limit = (double)k->placement.link_limit,
        .progress = o->progress,
        .user = o->user};
    if (!plan_mode_from_name(k->placement.mode, &out->placement))
        FAIL(e, ERR_CONFIG, "placement.mode '%s' is no mode", k->placement.mode);
    if (!plan_swap_from_name(k->kv.swap, &out->swap))
        FAIL(e, ERR_CONFIG, "kv.swap '%s' is neither auto, off nor on", k->kv.swap);
    if (!fmt_from_name(k->kv.type, &out->kv_fmt))
        FAIL(e, ERR_CONFIG, "kv.type '%s' is no number format", k->kv.type);
    return 0;
}

static int local_open(const struct provider_options *o, struct llm **out, struct err *e)
{
    struct engine_options opt;
    struct engine *en = NULL;
    char hex[65];
    int rc;
    TRY(local_options(o, &opt, e));
    TRY(engine_open(&opt, &en, e));
    if (o->hash)
        TRY_DONE(engine_hash(en, hex, e));
    TRY_DONE(llm_local_open(en, true, out, e));
    en = NULL;
done:
    engine_close(en);
    return rc;
}

const struct provider provider_local = {
    .name = "local",
    .doc = "an engine in this process",
    .open = local_open,
};
