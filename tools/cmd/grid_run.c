#include "grid_run.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

#include "eval_workers.h"
#include "folder.h"
#include "grid_table.h"
#include "gridcell.h"
#include "gridfile.h"
#include "meter.h"
#include "output.h"
#include "runfolder.h"
#include "tool_options.h"
#include "toy.h"

struct model {       /* an llm that cells share, by grid_cell.model */
    char sha256[65]; /* of the finished cells; "" = none is finished */
    char why[400];   /* "" = it has not failed */
    /* of a shard: the questions of these cells, and the mark in their identity */
    struct medqa own;
    struct str mark;
    struct runfolder_asked asked;
};

struct pace {     /* the time of cells of one kind, in this process */
    size_t fresh; /* questions */
    double seconds;
};

struct grid_state_of_run {
    const struct grid_request *o;
    struct grid g;
    struct medqa m;
    struct str subset;
    struct variants variants; /* that took the places of the chosen records */
    struct str varied;        /* JSON text of them; "" = none */
    struct runfolder_asked asked;
    struct folder folder;
    struct shard_work work; /* lease NULL = the whole */
    struct gridfile past;   /* of an earlier start; doc NULL = none */
    struct model *model;    /* (n_model) */
    size_t n_model;
    struct pace *pace; /* (g.n) by kind() */
    const atomic_int *stop;
    struct llm *llm;
    int open; /* the model of llm; -1 = none */
    struct meter meter;
    struct meter_whole whole;
    struct energy *energy; /* of the present cell */
    struct eval_crew *crew;
    struct health_now health; /* of workers: nothing is known */
    char job[RUNFOLDER_PATH]; /* the folder of the last job that was asked for */
    size_t n_failed, n_items;
};

/* ---- the questions --------------------------------------------------------------------------- */

/* Puts the variants that the command or the experiment names in the places of the records. */
static int vary(struct grid_state_of_run *s, size_t n, struct err *e)
{
    const struct grid_options *go = &s->g.options;
    s->variants = s->o->variants;
    if (!variants_given(&s->variants))
        s->variants = (struct variants){.permute = *go->permute ? go->permute : NULL,
                                        .none = go->none_of_the_above,
                                        .file = *go->paraphrases ? go->paraphrases : NULL};
    if (s->variants.permute && strcmp(s->variants.permute, "cyclic") != 0)
        FAIL(e, ERR_CONFIG, GRID_GROUP ".data.permute: '%s' is not known; write cyclic",
             s->variants.permute);
    TRY(variants_take(&s->variants, &s->m, n, &s->varied, e));
    s->asked = runfolder_count(&s->m, variants_given(&s->variants) ? s->variants.count.records : n);
    return 0;
}

static int choose(struct grid_state_of_run *s, struct err *e)
{
    const struct grid_options *go = &s->g.options;
    struct subset sub = {.step = go->step, .sample = go->sample, .seed = (uint64_t)go->sample_seed};
    const int n = s->o->n ? s->o->n : go->n;
    const struct tool_options *to = config_of(s->o->base, &tool_option_set);
    TRY(medqa_read_as(s->o->data, to->data_format, &s->m, e));
    const size_t all = s->m.n_records;
    if (*go->ids_file)
        TRY(subset_ids_file(go->ids_file, &s->g.arena, &sub.ids, &sub.n_ids, e));
    if (subset_chooses(&sub)) {
        int rc = subset_take(&sub, &s->m, &s->subset, e);
        if (rc < 0)
            return err_wrap(e, rc, "%s", s->o->data);
        fprintf(stderr, "%zu of %zu records chosen; the figures are about these\n", s->m.n_records,
                all);
    }
    return vary(s, (size_t)n, e);
}

/* ---- the folder of the whole ----------------------------------------------------------------- */

/* The questions of a cell: those of its model's share, or all. */
static const struct medqa *cell_data(const struct grid_state_of_run *s, const struct grid_cell *c)
{
    return s->work.lease ? &s->model[c->model].own : &s->m;
}

static const struct runfolder_asked *cell_asked(const struct grid_state_of_run *s,
                                                const struct grid_cell *c)
{
    return s->work.lease ? &s->model[c->model].asked : &s->asked;
}

static void cell_dir(const struct grid_state_of_run *s, const struct grid_cell *c,
                     char out[RUNFOLDER_PATH])
{
    snprintf(out, RUNFOLDER_PATH, "%.880s/%s", s->folder.dir, c->name);
}

static bool is_sealed(const char *dir)
{
    char path[RUNFOLDER_PATH + 24];
    snprintf(path, sizeof path, "%s/traces.jsonl.gz", dir);
    return access(path, F_OK) == 0;
}

/* Counts the questions of the cell that an earlier start has finished. Reads the folder only if the
 * hash was the same. */
static int look_back(struct grid_state_of_run *s, struct grid_cell *c, struct err *e)
{
    struct trace_run run = {.asked = 0};
    json_t *doc = NULL;
    char dir[RUNFOLDER_PATH];
    struct err unread;
    bool adopted = false;
    size_t failed = 0, was = 0;
    const struct runfolder_asked *asked = cell_asked(s, c);
    int rc = 0;
    c->total = asked->questions;
    for (size_t i = 0; i < s->past.n && !adopted; i++) {
        adopted = !strcmp(s->past.cell[i].hash, c->hash);
        was = i;
    }
    cell_dir(s, c, dir);
    if (!adopted || s->o->fresh || gridcell_check(s->folder.dir, &s->past, was, &unread) < 0 ||
        trace_read(dir, &run, &unread) < 0)
        return 0; /* it is opened, which names the fault */
    for (size_t i = 0; i < run.results.n; i++) {
        const struct result *r = &run.results.r[i];
        const bool wanted = (size_t)r->index < asked->records;
        c->done += wanted;
        c->correct += wanted && r->correct;
        failed += wanted && r->state == CONSULT_FAILED;
    }
    TRY_DONE(jdoc_load(run.json.s, run.json.len, &doc, e));
    const char *sha256 =
        json_string_value(json_object_get(json_object_get(doc, "identity"), "model_sha256"));
    const char *status =
        json_string_value(json_object_get(json_object_get(doc, "figures"), "status"));
    if (s->o->retry_failed) { /* they are asked again */
        c->done -= failed;
        failed = 0;
    }
    if (c->done && sha256)
        snprintf(s->model[c->model].sha256, sizeof s->model[0].sha256, "%s", sha256);
    /* Any other folder is opened. An end before the last report is made good, and figures about
     * another number of records are computed again. */
    if (c->done == c->total && run.asked == asked->records && is_sealed(dir) && status &&
        !strcmp(status, "complete")) {
        c->state = GRID_DONE;
        s->n_items += failed + asked->rejected;
    } else if (c->done) {
        c->state = GRID_PARTIAL;
    }
done:
    json_decref(doc);
    trace_run_free(&run);
    return rc;
}

static struct grid_data data_of(const struct grid_state_of_run *s)
{
    return (struct grid_data){.sha256 = s->m.sha256,
                              .subset = s->subset.s,
                              .variants = s->varied.s,
                              .shuffle = s->o->shuffle};
}

static int save(const struct grid_state_of_run *s, struct err *e)
{
    const struct grid_data data = data_of(s);
    const struct gridfile_about about = {
        .version = MAS_COMMIT, .data_path = s->o->data, .data = &data, .asked = s->asked.records};
    return gridfile_write(s->folder.dir, &s->g, &about, s->past.doc ? &s->past : NULL, e);
}

/* The grid.json of the whole, in which no cell has begun, and the model of each cell. */
static int describe_whole(struct grid_state_of_run *s, struct str *grid, struct str *settings,
                          struct err *e)
{
    const struct grid_data data = data_of(s);
    const struct gridfile_about about = {
        .version = MAS_COMMIT, .data_path = s->o->data, .data = &data, .asked = s->asked.records};
    TRY(gridfile_text(&s->g, &about, NULL, grid, e));
    str_addf(settings, "\"shuffle\": %s, ", s->o->shuffle ? "true" : "false");
    if (s->varied.len)
        str_addf(settings, "\"variants\": %s, ", s->varied.s);
    str_adds(settings, "\"cells\": {");
    for (size_t i = 0; i < s->g.n; i++) {
        str_adds(settings, i ? ", " : "");
        str_add_json(settings, s->g.cell[i].name, strlen(s->g.cell[i].name));
        str_addf(settings, ": \"%s\"", s->g.cell[i].hash);
    }
    str_adds(settings, "}, \"models\": [");
    for (size_t i = 0; i < s->g.n; i++)
        str_addf(settings, "%s%d", i ? ", " : "", s->g.cell[i].model);
    str_addc(settings, ']');
    return str_ok(settings, "a study", e);
}

/* Leaves the cells whose model has a share. */
static void keep_shared(struct grid_state_of_run *s, const struct shard_span *span)
{
    size_t n = 0, n_order = 0;
    size_t *to = s->g.order; /* new numbers are never above the old ones */
    for (size_t i = 0; i < s->g.n; i++) {
        const struct grid_cell *c = &s->g.cell[s->g.order[i]];
        if (span[c->model].lo < span[c->model].hi)
            to[n_order++] = s->g.order[i];
    }
    for (size_t i = 0; i < s->g.n; i++) {
        if (span[s->g.cell[i].model].lo == span[s->g.cell[i].model].hi) {
            config_free(&s->g.cell[i].config);
            continue;
        }
        for (size_t k = 0; k < n_order; k++)
            to[k] = to[k] == i ? n : to[k];
        if (n != i)
            s->g.cell[n] = s->g.cell[i];
        n++;
    }
    s->g.left_out += s->g.n - n;
    s->g.n = n;
}

/* The folder, the lease and the questions of a shard. */
static int begin_shard(struct grid_state_of_run *s, struct err *e)
{
    struct str grid = STR_INIT, settings = STR_INIT;
    size_t *cells = mem_zalloc(s->g.n, sizeof *cells), n = 0;
    struct shard_span *span = mem_zalloc(s->g.n, sizeof *span);
    int rc = cells && span ? 0 : NOMEM(e, s->g.n * sizeof *span, "shares");
    TRY_DONE(rc);
    TRY_DONE(describe_whole(s, &grid, &settings, e));
    const struct shard_study study = {.data = &s->m,
                                      .asked = s->asked.records,
                                      .subset = s->subset.s,
                                      .settings = settings.s,
                                      .grid = grid.s};
    TRY_DONE(shard_work_open(&s->o->shard, s->o->clinic, s->o->out, &study, s->stop, &s->work, e));
    for (size_t i = 0; i < s->g.n; i++) {
        const size_t model = (size_t)s->g.cell[i].model;
        cells[model]++;
        n = model + 1 > n ? model + 1 : n;
    }
    for (size_t i = 0; i < n && s->o->shard.dry; i++)
        shard_work_show(&s->work, &s->m, s->asked.records, cells, n, i);
    if (s->o->shard.dry)
        goto done;
    for (size_t i = 0; i < n; i++) {
        struct model *m = &s->model[i];
        m->mark = (struct str)STR_INIT;
        span[i] = shard_share(s->work.shard, cells, n, i, s->work.order.units);
        TRY_DONE(shard_take(&s->m, &s->work.order, span[i], &m->own, e));
        shard_describe(s->work.shard, s->asked.records, &m->own, &m->mark);
        TRY_DONE(str_ok(&m->mark, "a shard", e));
        m->asked = runfolder_count(&m->own, 0);
        if (m->own.n_records)
            fprintf(stderr, "shard %d of %d: %zu of %zu records, %zu cells of model %zu of %zu\n",
                    s->work.shard.i, s->work.shard.n, m->own.n_records, s->asked.records, cells[i],
                    i + 1, n);
    }
    keep_shared(s, span);
done:
    mem_free(cells);
    mem_free(span);
    str_free(&grid);
    str_free(&settings);
    return rc;
}

static int begin(struct grid_state_of_run *s, struct err *e)
{
    char dir[RUNFOLDER_PATH];
    struct str notes = STR_INIT;
    int rc;
    s->model = mem_zalloc(s->g.n, sizeof *s->model);
    s->pace = mem_zalloc(s->g.n, sizeof *s->pace);
    if (!s->model || !s->pace)
        return NOMEM(e, s->g.n * sizeof *s->model, "models");
    s->n_model = s->g.n;
    const struct grid_data data = data_of(s);
    TRY(grid_identify(&s->g, &data, e));
    if (s->o->shard.shard.n)
        TRY(begin_shard(s, e));
    else if (!s->o->out)
        TRY(runfolder_make(s->o->base, s->g.options.name, dir, e));
    if (s->o->shard.dry)
        return 0;
    TRY(folder_make(&s->folder, s->work.lease ? s->work.dir : s->o->out ? s->o->out : dir, e));
    if (strlen(s->folder.dir) > 880)
        FAIL(e, ERR_USAGE, "the folder's name is too long: %zu bytes, at most 880",
             strlen(s->folder.dir));
    if (folder_has(&s->folder, "run.json"))
        FAIL(e, ERR_USAGE, "%s is the folder of a run; an experiment needs a folder of its own",
             s->folder.dir);
    if (!s->work.lease)
        TRY(folder_lock(&s->folder, e));
    if (gridfile_is(s->folder.dir)) {
        TRY_DONE(gridfile_read(s->folder.dir, &s->past, e));
        TRY_DONE(gridfile_adopt(&s->g, &s->past, &notes, e));
        fputs(notes.s, stderr);
    }
    for (size_t i = 0; i < s->g.n; i++)
        TRY_DONE(look_back(s, &s->g.cell[i], e));
    TRY_DONE(save(s, e));
done:
    str_free(&notes);
    return rc;
}

/* Provider and model of a cell, without the settings that it is opened with. */
static void model_name(const struct config *c, struct str *out)
{
    static const char *const keys[] = {"provider", "model", "remote.base_url"};
    str_clear(out);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        config_value(c, keys[i], out);
        str_addc(out, '\n');
    }
}

/* Is the model of cell i not that of an earlier cell? */
static bool new_model(const struct grid *g, size_t i)
{
    struct str own = STR_INIT, other = STR_INIT;
    bool found = false;
    model_name(&g->cell[i].config, &own);
    for (size_t k = 0; k < i && !found; k++) {
        model_name(&g->cell[k].config, &other);
        found = !own.failed && !other.failed && !strcmp(own.s, other.s);
    }
    str_free(&own);
    str_free(&other);
    return !found;
}

static void say_plan(const struct grid_state_of_run *s)
{
    const struct grid *g = &s->g;
    const size_t merged = g->points - g->left_out - g->n;
    size_t finished = 0, opened = 0, models = 0;
    for (size_t i = 0; i < g->n; i++) {
        finished += g->cell[i].state == GRID_DONE;
        opened = (size_t)g->cell[i].model + 1 > opened ? (size_t)g->cell[i].model + 1 : opened;
        models += new_model(g, i);
    }
    fprintf(stderr, "experiment %s: %zu cells, %zu questions each, %zu model%s", g->options.name,
            g->n, s->asked.questions, models, models == 1 ? "" : "s");
    if (opened > models)
        fprintf(stderr, ", opened with %zu settings", opened);
    fprintf(stderr, "; results in %s\n", s->folder.dir);
    if (g->left_out)
        fprintf(stderr, "  %zu of %zu points are left out by rules\n", g->left_out, g->points);
    if (merged)
        fprintf(stderr,
                "  %zu of %zu points differ only in settings that their strategy does not read: "
                "not run twice\n",
                merged, g->points);
    for (int f = 0; f < g->n_factor; f++) {
        size_t unread = 0;
        for (size_t i = 0; i < g->n; i++)
            unread += g->cell[i].value[f] < 0;
        if (unread)
            fprintf(stderr, "  %s: not read by %zu cells\n", g->factor[f].key, unread);
    }
    if (finished)
        fprintf(stderr, "  %zu cells were finished before\n", finished);
    if (s->asked.rejected || s->asked.duplicates)
        fprintf(stderr, "  %zu of %zu records rejected (wrong in every cell), %zu duplicates\n",
                s->asked.rejected, s->asked.records, s->asked.duplicates);
}

/* ---- one cell -------------------------------------------------------------------------------- */

/* The first cell of the same model and family: their questions take about the same time. */
static size_t kind(const struct grid_state_of_run *s, const struct grid_cell *c)
{
    size_t i = 0;
    while (s->g.cell[i].model != c->model || s->g.cell[i].family != c->family)
        i++;
    return i;
}

/* The times of the cell at that place in the order of running, and of those after it. */
static void look_ahead(struct grid_state_of_run *s, size_t at)
{
    const size_t own = kind(s, &s->g.cell[s->g.order[at]]);
    s->whole.fresh = s->pace[own].fresh;
    s->whole.seconds = s->pace[own].seconds;
    s->whole.later = 0;
    s->whole.ahead = 0;
    s->whole.unknown = 0;
    s->whole.other_fresh = 0;
    s->whole.other_seconds = 0;
    for (size_t i = 0; i < s->g.n; i++) /* the paces stand at the first cell of each kind */
        if (i != own) {
            s->whole.other_fresh += s->pace[i].fresh;
            s->whole.other_seconds += s->pace[i].seconds;
        }
    for (size_t i = at + 1; i < s->g.n; i++) {
        const struct grid_cell *c = &s->g.cell[s->g.order[i]];
        const struct pace *p = &s->pace[kind(s, c)];
        const size_t left = c->state == GRID_DONE ? 0 : cell_asked(s, c)->questions - c->done;
        if (p == &s->pace[own])
            s->whole.later += left;
        else if (p->fresh)
            s->whole.ahead += (double)left * p->seconds / (double)p->fresh;
        else
            s->whole.unknown += left;
    }
}

static double on_joules(void *user, const char **source)
{
    return energy_joules(((struct grid_state_of_run *)user)->energy, source);
}

static void on_progress(const struct run_progress *p, void *user)
{
    struct grid_state_of_run *s = user;
    const char *source;
    (void)energy_joules(s->energy, &source);
    meter_show(&s->meter, p, &s->energy->now);
}

static void close_model(struct grid_state_of_run *s)
{
    struct str line = STR_INIT;
    if (s->llm && !s->o->clinic->quiet)
        llm_figures(s->llm, LLM_FIGURES_LINE, &line);
    if (line.len)
        fprintf(stderr, "%s\n", line.s);
    str_free(&line);
    llm_close(s->llm);
    s->llm = NULL;
    s->open = -1;
}

/* Opens the cell's model unless it is open. A model that failed is not tried again. */
static int open_model(struct grid_state_of_run *s, const struct grid_cell *c, struct err *e)
{
    struct model *m = &s->model[c->model];
    char noise[TOY_TEXT];
    if (*m->why)
        FAIL(e, ERR_CONFIG, "%s", m->why);
    if (s->open == c->model)
        return 0;
    close_model(s);
    int rc = clinic_llm(s->o->clinic, &c->config, &s->llm, e);
    if (rc < 0) {
        if (rc != ERR_CANCEL)
            snprintf(m->why, sizeof m->why, "%.399s", e->msg);
        return rc;
    }
    s->open = c->model;
    const char *sha256 = llm_info(s->llm)->model_sha256;
    if (*m->sha256 && strcmp(m->sha256, sha256) != 0) {
        snprintf(m->why, sizeof m->why,
                 "the model has changed: finished cells have sha256 %.12s.., it is %.12s.. now; "
                 "give the former file, or begin in another --out",
                 m->sha256, sha256);
        FAIL(e, ERR_CONFIG, "%s", m->why);
    }
    if (toy_says_all(llm_info(s->llm)->name, cell_data(s, c)->question, cell_asked(s, c)->questions,
                     noise))
        fprintf(stderr, "noise: %s\n", noise);
    return 0;
}

/* Reports of the cell's folder, without a table. cause: of an end before its time; NULL = none. */
static int report(struct trace *t, const char *dir, const char *engine, const char *cause,
                  struct err *e)
{
    return trace_results(t)->n || !cause ? runfolder_report(t, dir, NULL, engine, cause, e)
                                         : trace_stopped(t, cause, e);
}

/* After the questions of a cell: counts, seals and reports. engine: as in runfolder_report; rc and
 * e: of the questions. */
static int end_cell(struct grid_state_of_run *s, struct grid_cell *c, struct trace *t,
                    const char *dir, const struct run_progress *p, const char *engine, int rc,
                    struct err *e)
{
    const struct runfolder_asked *asked = cell_asked(s, c);
    struct pace *pace = &s->pace[kind(s, c)];
    struct err ignored;
    if (t && p->total) { /* it began */
        c->done = p->done;
        c->correct = p->correct;
    }
    pace->fresh += p->fresh;
    pace->seconds += p->seconds;
    if (rc < 0) {
        if (t)
            (void)report(t, dir, engine, e->msg, &ignored);
        return rc;
    }
    TRY(trace_seal(t, e));
    TRY(report(t, dir, engine, NULL, e));
    s->n_items += p->failed + asked->rejected;
    c->state = GRID_DONE;
    if (!s->o->clinic->quiet)
        fprintf(stderr, "cell %zu/%zu %s: %zu of %zu right, %.1f s\n", s->whole.at, s->whole.n,
                c->name, c->correct, asked->records, p->seconds);
    return 0;
}

static int ask(struct grid_state_of_run *s, struct grid_cell *c, struct clinic *k, struct err *e)
{
    char path[RUNFOLDER_PATH], dir[RUNFOLDER_PATH];
    struct trace *t = NULL;
    struct run_progress p = {.done = 0};
    const struct runfolder_asked *asked = cell_asked(s, c);
    int rc;
    cell_dir(s, c, path);
    struct clinic_trace ct = {.dir = path,
                              .data_path = s->o->data,
                              .data = cell_data(s, c),
                              .asked = asked->records,
                              .paraphrases = variants_text(&s->variants),
                              .lease = s->work.lease,
                              .fresh = s->o->fresh,
                              .repair = s->o->repair,
                              .retry_failed = s->o->retry_failed};
    TRY_DONE(clinic_trace(k, &ct, dir, &t, e));
    s->energy = &k->energy;
    struct run_options ro = {.env = &k->env,
                             .question = cell_data(s, c)->question,
                             .n = asked->questions,
                             .trace = t,
                             .concurrency = s->o->concurrency,
                             .stop = s->stop,
                             .joules = on_joules,
                             .progress = on_progress,
                             .user = s};
    rc = run_questions(&ro, &p, e);
    if (rc < 0)
        meter_close(&s->meter);
    else
        meter_clear(&s->meter);
    rc = end_cell(s, c, t, dir, &p, "", rc, e);
done:
    trace_close(t);
    return rc;
}

/* ---- cells by workers ------------------------------------------------------------------------ */

/* The cell at that place in the order of running. */
static bool on_job(void *user, size_t i, struct eval_job *out)
{
    struct grid_state_of_run *s = user;
    const struct grid_cell *c = &s->g.cell[s->g.order[i]];
    cell_dir(s, c, s->job);
    *out = (struct eval_job){.config = &c->config,
                             .model = c->model,
                             .data = &s->m,
                             .asked = s->asked,
                             .subset = s->subset.len ? s->subset.s : NULL,
                             .variants = s->varied.len ? s->varied.s : NULL,
                             .paraphrases = variants_text(&s->variants),
                             .dir = s->job,
                             .model_sha256 = s->model ? s->model[c->model].sha256 : NULL};
    return c->state != GRID_DONE;
}

static void on_crew_progress(const struct run_progress *p, void *user)
{
    struct grid_state_of_run *s = user;
    meter_show(&s->meter, p, &s->health);
}

static int open_crew(struct grid_state_of_run *s, struct err *e)
{
    const struct eval_crew_options o = {.clinic = s->o->clinic,
                                        .data_path = s->o->data,
                                        .n = s->o->workers,
                                        .concurrency = s->o->concurrency,
                                        .shuffle = s->o->shuffle,
                                        .fresh = s->o->fresh,
                                        .repair = s->o->repair,
                                        .retry_failed = s->o->retry_failed,
                                        .stop = s->stop,
                                        .n_job = s->g.n,
                                        .job = on_job,
                                        .progress = on_crew_progress,
                                        .user = s};
    return s->o->workers ? eval_crew_open(&o, &s->crew, e) : 0;
}

static int run_cell_by_crew(struct grid_state_of_run *s, size_t at, struct grid_cell *c,
                            struct err *e)
{
    struct workers_outcome out = {.figures = STR_INIT};
    struct str engine = STR_INIT;
    struct trace *t = NULL;
    char dir[RUNFOLDER_PATH] = "";
    s->whole.name = c->name;
    int rc = eval_crew_run(s->crew, at, dir, &t, &out, e);
    if (rc < 0)
        meter_close(&s->meter);
    else
        meter_clear(&s->meter);
    if (rc == 0)
        rc = eval_crew_figures(&out, &engine, e);
    rc = end_cell(s, c, t, dir, &out.progress, engine.s, rc, e);
    trace_close(t);
    str_free(&engine);
    str_free(&out.figures);
    return rc;
}

static int run_cell(struct grid_state_of_run *s, struct grid_cell *c, struct err *e)
{
    struct clinic k = {.llm = NULL};
    int rc;
    s->whole.name = c->name;
    TRY(open_model(s, c, e));
    TRY(clinic_open_on(&c->config, s->llm, s->o->shuffle, &k, e));
    k.env.subset = s->subset.len ? s->subset.s : NULL;
    k.env.variants = s->varied.len ? s->varied.s : NULL;
    if (s->work.lease)
        k.env.shard = s->model[c->model].mark.s;
    rc = ask(s, c, &k, e);
    clinic_close(&k);
    return rc;
}

/* A cell that failed leaves the others alone. Its llm is not used again: it may be the cause. */
static int fail_cell(struct grid_state_of_run *s, struct grid_cell *c, const struct err *why)
{
    fprintf(stderr, "cell %s failed: %s\n", c->name, why->msg);
    c->state = GRID_FAILED;
    snprintf(c->why, sizeof c->why, "%.399s", why->msg);
    s->n_failed++;
    close_model(s);
    return 0;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static int run_cells(struct grid_state_of_run *s, struct err *e)
{
    for (size_t i = 0; i < s->g.n; i++)
        s->whole.done += s->g.cell[i].state == GRID_DONE ? s->g.cell[i].done : 0;
    s->whole.n = s->g.n;
    for (size_t i = 0; i < s->g.n; i++)
        s->whole.total += cell_asked(s, &s->g.cell[i])->questions;
    for (size_t i = 0; i < s->g.n; i++) {
        struct grid_cell *c = &s->g.cell[s->g.order[i]];
        struct err why = {.code = 0};
        s->whole.at = i + 1;
        if (c->state == GRID_DONE)
            continue;
        look_ahead(s, i);
        int rc = atomic_load(s->stop) ? err_set(&why, ERR_CANCEL, "stopped")
                 : s->crew            ? run_cell_by_crew(s, i, c, &why)
                                      : run_cell(s, c, &why);
        if (c->state != GRID_DONE)
            c->state = c->done ? GRID_PARTIAL : GRID_WAITING;
        if (rc == ERR_CANCEL) {
            struct err unsaved;
            (void)save(s, &unsaved);
            FAIL(e, rc, "%s", why.msg);
        }
        if (s->work.lease) /* a lost lease is no fault of the cell: nothing more is written */
            TRY(lease_check(s->work.lease, e));
        if (rc < 0)
            fail_cell(s, c, &why);
        s->whole.done += c->done;
        TRY(save(s, e));
    }
    return 0;
}

int grid_run_table(const char *dir, bool quiet, struct err *e)
{
    struct folder folder = {.lock = -1};
    struct gridfile file = {.doc = NULL};
    struct grid_table table = {.n = 0};
    struct str text = STR_INIT;
    int rc;
    TRY_DONE(gridfile_read(dir, &file, e));
    TRY_DONE(grid_table_read(dir, &file, (double)NAN, &table, e));
    grid_table_text(&table, &text);
    if (!quiet)
        TRY_DONE(output_file("-", &text, e));
    str_clear(&text);
    TRY_DONE(grid_table_json(&table, &text, e));
    TRY_DONE(folder_make(&folder, dir, e));
    TRY_DONE(folder_save(&folder, "summary.json", text.s, text.len, e));
done:
    str_free(&text);
    grid_table_free(&table);
    gridfile_free(&file);
    return rc;
}

static int finish(struct grid_state_of_run *s, int rc, struct err *e)
{
    struct err why = {.code = 0};
    if (rc < 0 && rc != ERR_CANCEL && s->work.lease) /* it may be another's now */
        return rc;
    const int shown = s->g.n ? grid_run_table(s->folder.dir, false, rc < 0 ? &why : e) : 0;
    if (rc == ERR_CANCEL) {
        size_t done = 0;
        for (size_t i = 0; i < s->g.n; i++)
            done += s->g.cell[i].done;
        fprintf(stderr,
                "partial, %zu of %zu questions of %zu cells; continue with the same "
                "command%s%s\n",
                done, s->whole.total, s->g.n, s->o->out ? "" : " and --out ",
                s->o->out ? "" : s->folder.dir);
    }
    TRY(rc);
    TRY(shown);
    if (s->n_failed || s->n_items)
        FAIL(e, ERR_ITEMS,
             "%zu of %zu cells failed, %zu questions failed or were rejected in the others (all "
             "counted as wrong); grid.json and the cells' results.csv in %s name them%s",
             s->n_failed, s->g.n, s->n_items, s->folder.dir,
             s->n_items ? "; mas eval --retry-failed asks failed questions again" : "");
    return 0;
}

int grid_run(const struct grid_request *r, struct err *e)
{
    struct grid_state_of_run s = {
        .o = r, .subset = STR_INIT, .varied = STR_INIT, .folder = {.lock = -1}, .open = -1};
    int rc;
    TRY_DONE(grid_open(r->base, r->shuffle, &s.g, e));
    TRY_DONE(choose(&s, e));
    s.stop = clinic_signals();
    TRY_DONE(open_crew(&s, e));
    TRY_DONE(begin(&s, e));
    if (!s.g.n || r->shard.dry) /* more shards than records, or nothing is wanted */
        goto done;
    say_plan(&s);
    TRY_DONE(runfolder_doubts(&s.m, s.asked.records, s.o->data, e));
    meter_open(&s.meter, r->clinic->quiet);
    s.meter.whole = &s.whole;
    rc = run_cells(&s, e);
    close_model(&s);
    eval_crew_close(s.crew);
    s.crew = NULL;
    rc = finish(&s, rc, e);
done:
    eval_crew_close(s.crew);
    folder_close(&s.folder);
    shard_work_close(&s.work);
    gridfile_free(&s.past);
    for (size_t i = 0; i < s.n_model; i++) {
        medqa_free(&s.model[i].own);
        str_free(&s.model[i].mark);
    }
    mem_free(s.model);
    mem_free(s.pace);
    grid_close(&s.g);
    medqa_free(&s.m);
    str_free(&s.subset);
    str_free(&s.varied);
    variants_free(&s.variants);
    return rc;
}
