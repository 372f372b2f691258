#include "eval_check.h"

#include <string.h>

#include "agent_options.h"
#include "catalog.h"
#include "engine_options.h"
#include "grid.h"
#include "shape.h"
#include "sources.h"

static int check_model(const char *name, struct str *out, struct err *e)
{
    struct str path = STR_INIT;
    struct sketch model;
    int rc = sources_model(name, &path, e);
    if (rc == 0)
        rc = sketch_file(path.s, &model, e);
    if (rc == 0) {
        const double bytes = (double)weights_bytes(&model.m.w);
        const bool small = bytes < 1e8;
        str_addf(out, ", model %s of %.1f %s", name, bytes * (small ? 1e-6 : 1e-9),
                 small ? "MB" : "GB");
        sketch_close(&model);
    }
    str_free(&path);
    return rc;
}

/* before: the model of the run before; its header is not read again. */
static int check_run(const struct config *c, const char **before, struct str *out, struct err *e)
{
    const struct agent_options *of = config_of(c, &agent_option_set);
    const struct engine_options *eo = config_of(c, &engine_option_set);
    const struct strategy *known = NULL;
    struct catalog catalog;
    const char *key = NULL;
    TRY(strategy_find(of->strategy, &known, e));
    TRY(catalog_read(of->specialties, &catalog, e));
    catalog_free(&catalog);
    if (strcmp(of->provider, "local") != 0)
        return clinic_key(c, &key, e);
    if (*before && !strcmp(*before, eo->model))
        return 0;
    *before = eo->model;
    return check_model(eo->model, out, e);
}

int eval_check(const struct config *base, bool shuffle, struct str *out, struct err *e)
{
    const char *before = NULL;
    struct grid g = {.n = 0};
    int rc = 0;
    if (!grid_given(base)) {
        str_adds(out, "1 run");
        return check_run(base, &before, out, e);
    }
    TRY(grid_open(base, shuffle, &g, e));
    str_addf(out, "%zu runs", g.n);
    for (size_t i = 0; i < g.n && rc == 0; i++)
        rc = check_run(&g.cell[g.order[i]].config, &before, out, e);
    grid_close(&g);
    return rc;
}
