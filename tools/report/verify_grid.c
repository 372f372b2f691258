#include <math.h>
#include <stdio.h>
#include <string.h>

#include "grid_table.h"
#include "gridcell.h"
#include "jdoc.h"
#include "verify_part.h"
#include "zio.h"

/* ---- cells ----------------------------------------------------------------------------------- */

/* The counts of grid.json against those of the cell's trace. */
static int grid_counts(struct verify_check *c, const struct gridfile_cell *cell, const char *dir,
                       struct err *e)
{
    struct trace_run run = {.asked = 0};
    struct err why = {.code = 0};
    size_t done = 0, correct = 0;
    const int rc = trace_read(dir, &run, &why);
    if (rc) /* the cell's own check has named it */
        return rc == ERR_NOMEM ? err_set(e, rc, "%s", why.msg) : 0;
    for (size_t i = 0; i < run.results.n; i++) {
        const bool asked = (size_t)run.results.r[i].index < run.asked;
        done += asked;
        correct += asked && run.results.r[i].correct;
    }
    if (done == cell->done && correct == cell->correct)
        verify_say(c, SAME, "grid.json: %zu of %zu questions right in cell %s", correct, done,
                   cell->name);
    else if (done > cell->done && strcmp(cell->state, "done") != 0)
        verify_say(c, UNFINISHED,
                   "grid.json: cell %s is older than its trace: %zu of %zu questions", cell->name,
                   cell->done, done);
    else
        verify_say(c, DIFFERS,
                   "grid.json: cell %s has %zu of %zu questions right, its trace gives %zu of %zu",
                   cell->name, cell->correct, cell->done, correct, done);
    trace_run_free(&run);
    return 0;
}

static int grid_cell(struct verify_check *c, const struct gridfile *f, size_t at, struct err *e)
{
    const struct gridfile_cell *cell = &f->cell[at];
    char path[1200], lead[160];
    struct verify part = {.text = STR_INIT};
    struct err why = {.code = 0};
    int rc = gridcell_check(c->o->dir, f, at, &why);
    snprintf(path, sizeof path, "%.960s/%s", c->o->dir, cell->name);
    snprintf(lead, sizeof lead, "cell %s: ", cell->name);
    if (rc == ERR_NOINPUT && !cell->done) {
        verify_say(c, OPEN, "cell %s: it has not begun", cell->name);
        return 0;
    }
    if (rc)
        return verify_found(c, rc, &why, cell->name, e);
    struct verify_options o = *c->o;
    o.dir = path;
    o.lead = lead;
    o.of_experiment = true;
    rc = verify_folder(&o, &part, &why);
    if (rc) {
        rc = verify_found(c, rc, &why, cell->name, e);
        goto done;
    }
    str_adds(&c->v->text, part.text.s);
    c->v->n_same += part.n_same;
    c->v->n_differ += part.n_differ;
    c->v->n_open += part.n_open;
    rc = grid_counts(c, cell, path, e);
done:
    verify_free(&part);
    return rc;
}

/* ---- figures --------------------------------------------------------------------------------- */

static bool grid_whole(const struct gridfile *f)
{
    for (size_t i = 0; i < f->n - f->n_removed; i++)
        if (strcmp(f->cell[i].state, "done") != 0)
            return false;
    return true;
}

static void grid_say_summary(struct verify_check *c, const struct gridfile *f, const json_t *was,
                             const json_t *now)
{
    const char *version = json_string_value(json_object_get(f->doc, "version")), *key;
    struct str names = STR_INIT;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)now, key, v)
    {
        if (!json_equal(v, json_object_get(was, key)))
            str_addf(&names, "%s%s", names.len ? ", " : "", key);
    }
    if (!names.len && json_object_size(was) == json_object_size(now))
        verify_say(c, SAME, "all figures of the experiment's summary.json");
    else if (!version || strcmp(version, MAS_COMMIT) != 0)
        verify_say(c, OPEN,
                   "summary.json of the experiment: program %.40s computed other figures than this "
                   "one, %s: %s",
                   version ? version : "unknown", MAS_COMMIT, names.s);
    else
        verify_say(c, grid_whole(f) ? DIFFERS : UNFINISHED,
                   "summary.json of the experiment: not what the traces give: %s",
                   names.len ? names.s : "it has other members, too");
    c->v->text.failed |= names.failed;
    str_free(&names);
}

static int grid_summary(struct verify_check *c, const struct gridfile *f, struct err *e)
{
    char path[1200];
    struct grid_table t = {.n = 0};
    struct str text = STR_INIT, file = STR_INIT;
    json_t *now = NULL, *was = NULL;
    struct err why = {.code = 0};
    int rc;
    if (!verify_at_hand(c, "summary.json", path)) {
        verify_say(c, OPEN, "summary.json of the experiment: the folder has none");
        return 0;
    }
    TRY_DONE(grid_table_read(c->o->dir, f, (double)NAN, &t, e));
    TRY_DONE(grid_table_json(&t, &text, e));
    TRY_DONE(jdoc_deep(text.s, text.len, 32, &now, e));
    rc = zio_read(path, VERIFY_BYTES, &file, &why);
    if (!rc)
        rc = jdoc_deep(file.s, file.len, 32, &was, &why);
    if (rc)
        rc = verify_found(c, rc, &why, "summary.json of the experiment", e);
    else
        grid_say_summary(c, f, was, now);
done:
    json_decref(now);
    json_decref(was);
    grid_table_free(&t);
    str_free(&text);
    str_free(&file);
    return rc;
}

int verify_experiment(const struct verify_options *o, struct verify *out, struct err *e)
{
    struct verify v = {.text = STR_INIT};
    struct verify_known known = {.name = ""};
    struct verify_options own = *o;
    struct verify_check c = {.o = &own, .v = &v};
    struct gridfile f = {.n = 0};
    int rc;
    own.known = &known;
    TRY_DONE(gridfile_read(o->dir, &f, e));
    TRY_DONE(verify_manifest(&c, e));
    for (size_t i = 0; i < f.n - f.n_removed; i++)
        TRY_DONE(grid_cell(&c, &f, i, e));
    TRY_DONE(grid_summary(&c, &f, e));
    TRY_DONE(str_ok(&v.text, "findings", e));
    *out = v;
    v = (struct verify){.text = STR_INIT};
done:
    verify_free(&v);
    gridfile_free(&f);
    return rc;
}
