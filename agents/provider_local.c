/* local: an engine in this process, opened by the settings of the configuration. */
#include "engine.h"
#include "provider.h"

static int local_open(const struct provider_options *o, struct llm **out, struct err *e)
{
    struct engine_options opt =
        *(const struct engine_options *)config_of(o->config, &engine_option_set);
    struct engine *en = NULL;
    char hex[65];
    int rc;
    if (!opt.n_seq)
        opt.n_seq = o->calls;
    if (o->context_open)
        opt.n_ctx = 0;
    if (o->model_file)
        opt.model = o->model_file;
    opt.places = o->places;
    opt.spans = o->spans;
    opt.progress = o->progress;
    opt.user = o->user;
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
