#include "gridcell.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jscan.h"
#include "manifest.h"
#include "sha256.h"
#include "zio.h"

struct gridcell_raw { /* a value of JSON as its text; n 0 = absent */
    const char *s;
    size_t n;
};

struct gridcell { /* the identity of the run in a folder */
    struct str text;
    struct gridcell_raw config, data_sha256, subset, shuffle, variants;
    json_t *values; /* config */
    bool imported, matched;
};

static int gridcell_member(const struct gridcell_raw *object, const char *key,
                           struct gridcell_raw *out, struct err *e)
{
    struct jscan j = {.n = 0};
    struct jscan_item it = {.key = NULL};
    int rc, more;
    *out = (struct gridcell_raw){.n = 0};
    jscan_set(&j, object->s, object->n);
    TRY_DONE(jscan_open(&j, '{', e));
    while ((more = jscan_next(&j, &it, e)) > 0)
        if (jscan_key(&it, key))
            *out = (struct gridcell_raw){.s = it.value, .n = it.n};
    rc = more;
done:
    jscan_free(&j);
    return rc;
}

static int gridcell_read(const char *path, struct gridcell *g, struct err *e)
{
    struct gridcell_raw all, identity, other;
    TRY(zio_read(path, MANIFEST_BYTES, &g->text, e));
    all = (struct gridcell_raw){.s = g->text.s, .n = g->text.len};
    TRY(gridcell_member(&all, "identity", &identity, e));
    if (!identity.n)
        FAIL(e, ERR_DATA, "key 'identity' is missing");
    TRY(gridcell_member(&identity, "config", &g->config, e));
    TRY(gridcell_member(&identity, "data_sha256", &g->data_sha256, e));
    TRY(gridcell_member(&identity, "subset", &g->subset, e));
    TRY(gridcell_member(&identity, "shuffle", &g->shuffle, e));
    TRY(gridcell_member(&identity, "imported", &other, e));
    g->imported = other.n > 0;
    TRY(gridcell_member(&identity, "match_tokens", &other, e));
    g->matched = other.n > 0;
    TRY(gridcell_member(&identity, "variants", &g->variants, e));
    if (!g->config.n || g->data_sha256.n < 2)
        FAIL(e, ERR_DATA, "the identity has no 'config' or no 'data_sha256'");
    return jdoc_load(g->config.s, g->config.n, &g->values, e);
}

/* The text of grid_identify. beside: with the cell's values of keys that the settings lack. Those
 * change no result; but an unset entry of a map is absent, too. */
static int gridcell_hash(const struct gridcell *g, const struct gridfile *f,
                         const struct gridfile_cell *c, bool beside, char out[65], struct err *e)
{
    struct str s = STR_INIT;
    str_add(&s, g->config.s, g->config.n);
    str_addf(&s, "\n%.*s\n%.*s\n%d\n", (int)g->data_sha256.n - 2, g->data_sha256.s + 1,
             (int)g->subset.n, g->subset.n ? g->subset.s : "",
             g->shuffle.n == 4 && !memcmp(g->shuffle.s, "true", 4));
    if (g->variants.n)
        str_addf(&s, "variants %.*s\n", (int)g->variants.n, g->variants.s);
    for (size_t i = 0; i < f->n_key && beside; i++)
        if (c->value[i] && !json_object_get(g->values, f->key[i]))
            str_addf(&s, "%s=%s\n", f->key[i], c->value[i]);
    int rc = str_ok(&s, "a cell", e);
    if (rc == 0)
        rc = sha256_hex(s.s, s.len, out, e);
    str_free(&s);
    return rc;
}

static int gridcell_is(const struct gridcell *g, const struct gridfile *f,
                       const struct gridfile_cell *c, bool *is, struct err *e)
{
    char hash[65];
    *is = false;
    if (g->imported || g->matched)
        return 0;
    for (int beside = 0; beside < 2 && !*is; beside++) {
        TRY(gridcell_hash(g, f, c, beside, hash, e));
        *is = !strcmp(hash, c->hash);
    }
    return 0;
}

/* The first factor whose value is not the cell's; appends nothing if all are. */
static void gridcell_factor(const struct gridcell *g, const struct gridfile *f,
                            const struct gridfile_cell *c, struct str *out)
{
    for (size_t i = 0; i < f->n_key && !out->len; i++) {
        const json_t *v = json_object_get(g->values, f->key[i]);
        char *text = v && !json_is_string(v)
                         ? json_dumps(v, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15))
                         : NULL;
        const char *is = json_is_string(v) ? json_string_value(v) : text;
        double x, y;
        const bool same = !is || !c->value[i] || !strcmp(is, c->value[i]) ||
                          (str_to_f64(is, -1e300, 1e300, &x) &&
                           str_to_f64(c->value[i], -1e300, 1e300, &y) && !(x < y || x > y));
        if (!same)
            str_addf(out, "%s is %.60s, the cell has %.60s", f->key[i], is, c->value[i]);
        free(text); /* jansson's */
    }
}

static int gridcell_refuse(const struct gridcell *g, const char *path, const struct gridfile *f,
                           size_t at, struct err *e)
{
    const char *name = f->cell[at].name;
    struct str why = STR_INIT;
    bool is = false;
    int rc = 0;
    for (size_t i = 0; i < f->n && !rc && !is; i++) {
        rc = gridcell_is(g, f, &f->cell[i], &is, e);
        if (is)
            str_addf(&why, "it is cell %s", f->cell[i].name);
    }
    if (g->imported)
        str_adds(&why, "its answers were imported");
    else if (!is && !rc)
        gridcell_factor(g, f, &f->cell[at], &why);
    if (!rc)
        rc = str_ok(&why, "a message", e);
    if (!rc)
        rc = err_set(e, ERR_CONFIG,
                     "%s is not of cell %s: %s; put the folder of the cell in this place, or move "
                     "this one away and run the experiment again",
                     path, name, why.len ? why.s : "its settings or its data are others");
    str_free(&why);
    return rc;
}

int gridcell_check(const char *dir, const struct gridfile *f, size_t at, struct err *e)
{
    struct gridcell g = {.text = STR_INIT};
    char path[1200];
    bool is = false;
    int rc;
    snprintf(path, sizeof path, "%.960s/%s/run.json", dir, f->cell[at].name);
    rc = gridcell_read(path, &g, e);
    if (rc == ERR_DATA)
        err_wrap(e, rc, "%s", path);
    TRY_DONE(rc);
    TRY_DONE(gridcell_is(&g, f, &f->cell[at], &is, e));
    if (!is)
        rc = gridcell_refuse(&g, path, f, at, e);
done:
    json_decref(g.values);
    str_free(&g.text);
    return rc;
}
