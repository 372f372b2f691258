#include "gridfile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "folder.h"
#include "zio.h"

#define GRIDFILE_BYTES ((size_t)64 << 20)

bool gridfile_is(const char *dir)
{
    struct folder f = {.lock = -1};
    const int n = snprintf(f.dir, sizeof f.dir, "%s", dir);
    return n > 0 && (size_t)n < sizeof f.dir && folder_has(&f, GRIDFILE_NAME);
}

/* ---- reading --------------------------------------------------------------------------------- */

/* The name is used as that of a folder. */
static int gridfile_good_name(const char *s, struct err *e)
{
    if (!*s || *s == '.' || strlen(s) > GRID_NAME || strchr(s, '/'))
        FAIL(e, ERR_DATA, "'%.130s' is no name of a cell", s);
    return 0;
}

static int gridfile_count(const json_t *doc, const char *key, size_t *out, struct err *e)
{
    json_int_t n = 0;
    TRY(jdoc_int(doc, key, 0, INT32_MAX, &n, e));
    *out = (size_t)n;
    return 0;
}

static int gridfile_cell(struct gridfile *f, const json_t *doc, struct gridfile_cell *out,
                         struct err *e)
{
    struct gridfile_cell c = {.doc = doc};
    json_t *values = NULL;
    TRY(jdoc_string(doc, "name", &c.name, e));
    TRY(gridfile_good_name(c.name, e));
    TRY(jdoc_string(doc, "hash", &c.hash, e));
    TRY(jdoc_string(doc, "state", &c.state, e));
    TRY(jdoc_string(doc, "why", &c.why, e));
    TRY(gridfile_count(doc, "done", &c.done, e));
    TRY(gridfile_count(doc, "total", &c.total, e));
    TRY(gridfile_count(doc, "correct", &c.correct, e));
    TRY(jdoc_get(doc, "values", JSON_OBJECT, &values, e));
    c.value = arena_alloc(&f->arena, f->n_key + 1, sizeof *c.value);
    if (!c.value)
        return NOMEM(e, f->n_key * sizeof *c.value, "a cell");
    for (size_t i = 0; i < f->n_key; i++)
        c.value[i] = json_string_value(json_object_get(values, f->key[i]));
    *out = c;
    return 0;
}

static int gridfile_cells(struct gridfile *f, const json_t *list, struct err *e)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *doc = json_array_get(list, i);
        if (!json_is_object(doc))
            FAIL(e, ERR_DATA, "cell %zu is %s, expected an object", i,
                 jdoc_type_name(json_typeof(doc)));
        int rc = gridfile_cell(f, doc, &f->cell[f->n], e);
        if (rc < 0)
            return err_wrap(e, rc, "cell %zu", i);
        f->n++;
    }
    return 0;
}

static int gridfile_parse(struct gridfile *f, const struct str *text, struct err *e)
{
    json_t *cells = NULL, *removed = NULL, *factors = NULL;
    json_int_t format = 0;
    TRY(jdoc_load(text->s, text->len, &f->doc, e));
    TRY(jdoc_int(f->doc, "format", 0, INT32_MAX, &format, e));
    if (format != GRIDFILE_FORMAT)
        FAIL(e, ERR_CONFIG, "format %lld, this program reads format %d", (long long)format,
             GRIDFILE_FORMAT);
    TRY(jdoc_string(f->doc, "name", &f->name, e));
    TRY(jdoc_array(f->doc, "factors", 1, GRID_FACTORS, &factors, e));
    f->n_key = json_array_size(factors);
    f->key = arena_alloc(&f->arena, f->n_key, sizeof *f->key);
    if (!f->key)
        return NOMEM(e, f->n_key * sizeof *f->key, "factors");
    for (size_t i = 0; i < f->n_key; i++)
        TRY(jdoc_string(json_array_get(factors, i), "key", &f->key[i], e));
    TRY(jdoc_array(f->doc, "cells", 1, GRID_POINTS, &cells, e));
    TRY(jdoc_array(f->doc, "removed", 0, 1000000, &removed, e));
    f->n_removed = json_array_size(removed);
    const size_t n = json_array_size(cells) + f->n_removed;
    f->cell = mem_zalloc(n, sizeof *f->cell);
    if (!f->cell)
        return NOMEM(e, n * sizeof *f->cell, "cells");
    TRY(gridfile_cells(f, cells, e));
    return gridfile_cells(f, removed, e);
}

int gridfile_read(const char *dir, struct gridfile *out, struct err *e)
{
    struct gridfile f = {.arena = {.limit = GRIDFILE_BYTES}};
    struct str text = STR_INIT;
    char path[1100];
    int rc;
    snprintf(path, sizeof path, "%s/%s", dir, GRIDFILE_NAME);
    TRY_DONE(zio_read(path, GRIDFILE_BYTES, &text, e));
    rc = gridfile_parse(&f, &text, e);
    if (rc < 0) {
        rc = err_wrap(e, rc, "%s", path);
        goto done;
    }
    *out = f;
    f = (struct gridfile){.doc = NULL};
done:
    gridfile_free(&f);
    str_free(&text);
    return rc;
}

void gridfile_free(struct gridfile *f)
{
    json_decref(f->doc);
    mem_free(f->cell);
    arena_free(&f->arena);
    memset(f, 0, sizeof *f);
}

/* ---- an experiment that goes on -------------------------------------------------------------- */

static const struct gridfile_cell *gridfile_of_hash(const struct gridfile *f, const char *hash)
{
    for (size_t i = 0; i < f->n; i++)
        if (!strcmp(f->cell[i].hash, hash))
            return &f->cell[i];
    return NULL;
}

static bool gridfile_has_hash(const struct grid *g, const char *hash)
{
    for (size_t i = 0; i < g->n; i++)
        if (!strcmp(g->cell[i].hash, hash))
            return true;
    return false;
}

static bool gridfile_taken(const struct grid *g, const struct gridfile *past, size_t at,
                           const char *name)
{
    for (size_t i = 0; i < past->n; i++)
        if (!strcmp(past->cell[i].name, name))
            return true;
    for (size_t i = 0; i < at; i++)
        if (!strcmp(g->cell[i].name, name))
            return true;
    return false;
}

int gridfile_adopt(struct grid *g, const struct gridfile *past, struct str *notes, struct err *e)
{
    size_t kept = 0, removed = 0;
    struct str gone = STR_INIT;
    for (size_t i = 0; i < g->n; i++) {
        struct grid_cell *c = &g->cell[i];
        const struct gridfile_cell *was = gridfile_of_hash(past, c->hash);
        char stem[GRID_NAME + 1];
        memcpy(stem, c->name, sizeof stem);
        if (was)
            snprintf(c->name, sizeof c->name, "%s", was->name);
        for (int k = 2; !was && gridfile_taken(g, past, i, c->name); k++)
            snprintf(c->name, sizeof c->name, "%.*s-%d", GRID_NAME - 6, stem, k);
        kept += was != NULL;
    }
    for (size_t i = 0; i < past->n - past->n_removed; i++)
        if (!gridfile_has_hash(g, past->cell[i].hash))
            str_addf(&gone, "%s%s", removed++ ? "; " : "", past->cell[i].name);
    if (kept < g->n || removed)
        str_addf(notes, "the experiment has changed: %zu cells kept, %zu new, %zu removed\n", kept,
                 g->n - kept, removed);
    if (removed)
        str_addf(notes, "removed cells, whose folders stay: %s\n", gone.s);
    int rc = str_ok(notes, "notes", e);
    if (rc == 0)
        rc = str_ok(&gone, "notes", e);
    str_free(&gone);
    return rc;
}

/* ---- writing --------------------------------------------------------------------------------- */

static void gridfile_member(struct str *out, const char *key, const char *s)
{
    str_addf(out, "\"%s\": ", key);
    str_add_json(out, s, strlen(s));
}

static void gridfile_put_cell(const struct grid *g, const struct grid_cell *c, struct str *out)
{
    bool first = true;
    str_adds(out, "{");
    gridfile_member(out, "name", c->name);
    str_adds(out, ", ");
    gridfile_member(out, "state", grid_state_name(c->state));
    str_adds(out, ", ");
    gridfile_member(out, "why", c->why);
    str_addf(out, ", \"done\": %zu, \"total\": %zu, \"correct\": %zu, \"values\": {", c->done,
             c->total, c->correct);
    for (int i = 0; i < g->n_factor; i++, first = false) {
        str_adds(out, first ? "" : ", ");
        str_add_json(out, g->factor[i].key, strlen(g->factor[i].key));
        str_adds(out, ": ");
        const char *value = grid_value(g, c, i);
        if (value)
            str_add_json(out, value, strlen(value));
        else
            str_adds(out, "null");
    }
    str_addf(out, "}, \"hash\": \"%s\"}", c->hash);
}

/* The entry of a removed cell as it was, with its state. */
static int gridfile_put_removed(const struct gridfile_cell *c, struct str *out, struct err *e)
{
    json_t *copy = json_copy((json_t *)(uintptr_t)c->doc);
    json_t *state = json_string(grid_state_name(GRID_REMOVED));
    char *text = NULL;
    if (copy && state && json_object_set(copy, "state", state) == 0)
        text = json_dumps(copy, 0);
    json_decref(copy);
    json_decref(state);
    if (!text)
        return NOMEM(e, 1, "a removed cell");
    str_adds(out, text);
    free(text);
    return 0;
}

static void gridfile_put_factors(const struct grid *g, struct str *out)
{
    str_adds(out, ",\n\"factors\": [");
    for (int i = 0; i < g->n_factor; i++) {
        str_adds(out, i ? ",\n {" : "{");
        gridfile_member(out, "key", g->factor[i].key);
        str_adds(out, ", \"values\": [");
        for (int v = 0; v < g->factor[i].n; v++) {
            str_adds(out, v ? ", " : "");
            str_add_json(out, g->factor[i].value[v], strlen(g->factor[i].value[v]));
        }
        str_adds(out, "]}");
    }
    str_adds(out, "]");
}

int gridfile_text(const struct grid *g, const struct gridfile_about *about,
                  const struct gridfile *past, struct str *out, struct err *e)
{
    int n = 0;
    str_addf(out, "{\"format\": %d,\n", GRIDFILE_FORMAT);
    gridfile_member(out, "name", g->options.name);
    str_adds(out, ", ");
    gridfile_member(out, "version", about->version);
    str_adds(out, ",\n\"data\": {");
    gridfile_member(out, "path", about->data_path);
    str_adds(out, ", ");
    gridfile_member(out, "sha256", about->data->sha256);
    str_addf(out, ", \"asked\": %zu, \"subset\": %s", about->asked,
             *about->data->subset ? about->data->subset : "null");
    if (*about->data->variants)
        str_addf(out, ", \"variants\": %s", about->data->variants);
    str_addf(out, "}, \"shuffle\": %s", about->data->shuffle ? "true" : "false");
    gridfile_put_factors(g, out);
    str_addf(out, ",\n\"points\": %zu, \"left_out\": %zu, \"merged\": %zu,\n\"cells\": [",
             g->points, g->left_out, g->points - g->left_out - g->n);
    for (size_t i = 0; i < g->n; i++) {
        str_adds(out, i ? ",\n " : "");
        gridfile_put_cell(g, &g->cell[i], out);
    }
    str_adds(out, "],\n\"removed\": [");
    for (size_t i = 0; past && i < past->n; i++) {
        if (gridfile_has_hash(g, past->cell[i].hash))
            continue;
        str_adds(out, n++ ? ",\n " : "");
        TRY(gridfile_put_removed(&past->cell[i], out, e));
    }
    str_adds(out, "]}\n");
    return str_ok(out, GRIDFILE_NAME, e);
}

int gridfile_write(const char *dir, const struct grid *g, const struct gridfile_about *about,
                   const struct gridfile *past, struct err *e)
{
    struct folder f = {.lock = -1};
    struct str out = STR_INIT;
    snprintf(f.dir, sizeof f.dir, "%s", dir);
    int rc = gridfile_text(g, about, past, &out, e);
    if (rc == 0)
        rc = folder_save(&f, GRIDFILE_NAME, out.s, out.len, e);
    str_free(&out);
    return rc;
}
