#include "grid_table.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "gridcell.h"
#include "trace.h"

/* ---- figures --------------------------------------------------------------------------------- */

/* Reads a cell. A whole one is kept for the comparison. */
static int grid_table_cell(struct grid_table *t, const char *dir, double price,
                           struct grid_table_cell *c, struct err *e)
{
    struct trace_run run = {.asked = 0};
    struct stats_summary s = {.answered = 0};
    char path[1100];
    struct err unread;
    int rc = 0;
    snprintf(path, sizeof path, "%.960s/%s", dir, c->of->name);
    rc = gridcell_check(dir, t->file, (size_t)(c->of - t->file->cell), &unread);
    if (rc < 0)
        return rc == ERR_NOMEM ? err_set(e, rc, "%s", unread.msg) : 0;
    if (trace_read(path, &run, &unread) < 0)
        return unread.code == ERR_NOMEM ? err_set(e, ERR_NOMEM, "%s", unread.msg) : 0;
    TRY_DONE(stats_summarize(&run, isnan(price) ? run.price_kwh : price, &s, e));
    c->read = true;
    c->accuracy = s.accuracy;
    c->variants = s.variants;
    if (s.variants.variants) {
        c->accuracy.lo = s.variants.lo;
        c->accuracy.hi = s.variants.hi;
    }
    c->not_run = s.not_run;
    c->asked_again = retried_questions(&s.retried);
    c->attempts = retried_attempts(&s.retried);
    c->none = s.unparsed + s.failed + s.rejected + s.not_run;
    c->calls = s.calls;
    c->prompt = s.prompt_tokens;
    c->computed = s.prompt_tokens - s.cached_tokens;
    c->new_tokens = s.new_tokens + s.think_tokens;
    c->seconds = s.seconds.n ? s.seconds.median : (double)NAN;
    c->joules = s.joules;
    t->too_many = t->too_many || run.records.n * t->n > GRID_TABLE_RECORDS;
    if (t->too_many || s.not_run)
        goto done;
    t->run[t->n_whole] = run;
    t->report[t->n_whole] = (struct report_run){.name = c->of->name, .summary = s};
    t->all[t->n_whole] = &t->run[t->n_whole];
    t->n_whole++;
    return 0;
done:
    stats_free(&s);
    trace_run_free(&run);
    return rc;
}

static int grid_table_compare(struct grid_table *t, struct err *e)
{
    if (t->n_whole < 2 || t->too_many)
        return 0;
    TRY(stats_compare(t->all, t->n_whole, GRID_TABLE_DRAWS, 42, &t->compared, e));
    for (size_t i = 0; i < t->n_whole; i++)
        t->report[i].paired = t->compared.paired[i];
    return 0;
}

int grid_table_baseline(struct grid_table *t, const char *name, struct err *e)
{
    size_t at = 0;
    while (at < t->n_whole && strcmp(t->report[at].name, name) != 0)
        at++;
    if (at == t->n_whole || t->too_many)
        FAIL(e, ERR_USAGE, "cell %s is no baseline: %s", name,
             t->too_many ? "the cells have too many records to be compared at once"
                         : "its questions are not all finished; run mas eval again");
    const struct report_run first = t->report[at];
    const struct trace_run *run = t->all[at];
    memmove(t->report + 1, t->report, at * sizeof *t->report);
    memmove(t->all + 1, t->all, at * sizeof *t->all);
    t->report[0] = first;
    t->all[0] = run;
    stats_compared_free(&t->compared);
    return grid_table_compare(t, e);
}

static bool grid_table_is_seed(const struct grid_table *t, size_t key)
{
    return !strcmp(t->file->key[key], "seed");
}

/* Do the cells differ in the seed only? */
static bool grid_table_same(const struct grid_table *t, const struct gridfile_cell *a,
                            const struct gridfile_cell *b)
{
    for (size_t i = 0; i < t->file->n_key; i++) {
        const char *x = a->value[i], *y = b->value[i];
        if (!grid_table_is_seed(t, i) && (!x != !y || (x && strcmp(x, y) != 0)))
            return false;
    }
    return true;
}

static bool grid_table_whole(const struct grid_table_cell *c)
{
    return c->read && !c->not_run && c->accuracy.n;
}

static void grid_table_settings(struct grid_table *t)
{
    for (size_t i = 0; i < t->n; i++) {
        struct grid_table_cell *c = &t->cell[i];
        size_t k = 0;
        while (k < t->n_setting && !grid_table_same(t, t->cell[t->setting[k].cell].of, c->of))
            k++;
        if (k == t->n_setting)
            t->setting[t->n_setting++] = (struct grid_table_setting){.cell = i};
        c->setting = k;
        struct grid_table_setting *s = &t->setting[k];
        s->n++;
        if (!grid_table_whole(c))
            continue;
        s->whole++;
        s->mean += c->accuracy.rate;
        s->prompt += c->prompt;
        s->new_tokens += c->new_tokens;
        s->seconds += c->seconds;
    }
    for (size_t k = 0; k < t->n_setting; k++) {
        struct grid_table_setting *s = &t->setting[k];
        const double n = (double)s->whole; /* 0 / 0 is NaN: not known */
        double squares = 0;
        s->mean /= n;
        s->prompt /= n;
        s->new_tokens /= n;
        s->seconds /= n;
        for (size_t i = 0; i < t->n; i++)
            if (t->cell[i].setting == k && grid_table_whole(&t->cell[i]))
                squares += pow(t->cell[i].accuracy.rate - s->mean, 2);
        s->sd = s->whole > 1 ? sqrt(squares / (n - 1)) : (double)NAN;
    }
}

int grid_table_read(const char *dir, const struct gridfile *file, double price_kwh,
                    struct grid_table *out, struct err *e)
{
    struct grid_table t = {.file = file, .n = file->n - file->n_removed};
    int rc = 0;
    t.cell = mem_zalloc(t.n, sizeof *t.cell);
    t.setting = mem_zalloc(t.n, sizeof *t.setting);
    t.report = mem_zalloc(t.n, sizeof *t.report);
    t.run = mem_zalloc(t.n, sizeof *t.run);
    t.all = mem_zalloc(t.n, sizeof *t.all);
    if (!t.cell || !t.setting || !t.report || !t.run || !t.all)
        TRY_DONE(NOMEM(e, t.n * sizeof *t.cell, "a table"));
    for (size_t i = 0; i < t.n; i++) {
        t.cell[i].of = &file->cell[i];
        TRY_DONE(grid_table_cell(&t, dir, price_kwh, &t.cell[i], e));
    }
    grid_table_settings(&t);
    TRY_DONE(grid_table_compare(&t, e));
    *out = t;
    return 0;
done:
    grid_table_free(&t);
    return rc;
}

void grid_table_free(struct grid_table *t)
{
    stats_compared_free(&t->compared);
    for (size_t i = 0; i < t->n_whole; i++) {
        stats_free(&t->report[i].summary);
        trace_run_free(&t->run[i]);
    }
    mem_free(t->report);
    mem_free(t->run);
    mem_free(t->all);
    mem_free(t->cell);
    mem_free(t->setting);
    memset(t, 0, sizeof *t);
}

/* ---- text ------------------------------------------------------------------------------------ */

static void grid_table_number(double v, int width, int decimals, struct str *out)
{
    if (isfinite(v))
        str_addf(out, "%*.*f", width, decimals, v);
    else
        str_addf(out, "%*s", width, "-");
}

/* Do the answers follow the question, or the order of its options and its words? */
static void grid_table_variants(const struct grid_table *t, struct str *out)
{
    size_t width = strlen("cell");
    bool any = false;
    for (size_t i = 0; i < t->n; i++) {
        any |= t->cell[i].variants.variants > 0;
        if (strlen(t->cell[i].of->name) > width)
            width = strlen(t->cell[i].of->name);
    }
    if (!any)
        return;
    str_addf(out, "\n%-*s  variants  questions  same%%  right%%\n", (int)width, "cell");
    for (size_t i = 0; i < t->n; i++) {
        const struct stats_variants *v = &t->cell[i].variants;
        if (!v->variants)
            continue;
        str_addf(out, "%-*s%10zu%11zu", (int)width, t->cell[i].of->name, v->variants, v->questions);
        grid_table_number(v->same.n ? 100 * v->same.rate : (double)NAN, 7, 1, out);
        grid_table_number(v->right.n ? 100 * v->right.rate : (double)NAN, 8, 1, out);
        str_adds(out, "\n");
    }
    str_adds(out,
             "\nsame, right: questions whose answer is the same, and right, in all variants. The "
             "interval of acc. says how\nit varies with the questions, whose variants are no "
             "independent answers.\n");
}

/* "panel,temperature=0.3": the values of the setting, without the seed. */
static void grid_table_name(const struct grid_table *t, const struct gridfile_cell *c,
                            struct str *out)
{
    const size_t begin = out->len;
    for (size_t i = 0; i < t->file->n_key; i++) {
        if (!c->value[i] || grid_table_is_seed(t, i))
            continue;
        str_adds(out, out->len > begin ? "," : "");
        if (strcmp(t->file->key[i], "strategy") != 0)
            str_addf(out, "%s=", t->file->key[i]);
        str_adds(out, *c->value[i] ? c->value[i] : "none");
    }
    if (out->len == begin)
        str_adds(out, "all");
}

static void grid_table_pad(struct str *out, size_t begin, size_t width)
{
    while (!out->failed && out->len - begin < width)
        str_addc(out, ' ');
}

static void grid_table_cells(const struct grid_table *t, struct str *out)
{
    size_t width = strlen("cell");
    for (size_t i = 0; i < t->n; i++)
        if (strlen(t->cell[i].of->name) > width)
            width = strlen(t->cell[i].of->name);
    str_addf(out, "%-*s  acc.%%  95 %% int.     n none calls  prompt    new seconds\n", (int)width,
             "cell");
    for (size_t i = 0; i < t->n; i++) {
        const struct grid_table_cell *c = &t->cell[i];
        const size_t begin = out->len;
        str_adds(out, c->of->name);
        grid_table_pad(out, begin, width);
        if (!c->read) {
            str_addf(out, "  %s%s%.100s\n", c->of->state, *c->of->why ? ": " : "", c->of->why);
            continue;
        }
        grid_table_number(100 * c->accuracy.rate, 7, 1, out);
        grid_table_number(100 * c->accuracy.lo, 6, 1, out);
        if (isfinite(c->accuracy.hi))
            str_addf(out, "-%-5.1f%6zu%5zu", 100 * c->accuracy.hi, c->accuracy.n, c->none);
        else
            str_addf(out, "-%-5s%6zu%5zu", "", c->accuracy.n, c->none);
        grid_table_number(c->calls, 6, 1, out);
        grid_table_number(c->prompt, 8, 0, out);
        grid_table_number(c->new_tokens, 7, 0, out);
        grid_table_number(c->seconds, 8, 2, out);
        if (c->not_run)
            str_addf(out, "  partial, %zu not run", c->not_run);
        if (c->attempts)
            str_addf(out, "  %zu asked again", c->asked_again);
        str_adds(out, "\n");
    }
}

static void grid_table_seeds(const struct grid_table *t, struct str *out)
{
    struct str name = STR_INIT;
    size_t width = strlen("setting");
    for (size_t k = 0; k < t->n_setting; k++) {
        str_clear(&name);
        grid_table_name(t, t->cell[t->setting[k].cell].of, &name);
        width = name.len > width ? name.len : width;
    }
    str_addf(out, "\n%-*s  seeds  mean%%    sd  prompt    new seconds\n", (int)width, "setting");
    for (size_t k = 0; k < t->n_setting; k++) {
        const struct grid_table_setting *s = &t->setting[k];
        const size_t begin = out->len;
        grid_table_name(t, t->cell[s->cell].of, out);
        grid_table_pad(out, begin, width);
        if (s->whole == s->n)
            str_addf(out, "%7zu", s->n);
        else
            str_addf(out, "%4zu/%-2zu", s->whole, s->n);
        grid_table_number(100 * s->mean, 7, 1, out);
        grid_table_number(100 * s->sd, 6, 1, out);
        grid_table_number(s->prompt, 8, 0, out);
        grid_table_number(s->new_tokens, 7, 0, out);
        grid_table_number(s->seconds, 8, 2, out);
        str_adds(out, "\n");
    }
    str_free(&name);
}

void grid_table_text(const struct grid_table *t, struct str *out)
{
    bool repeated = false;
    size_t attempts = 0;
    str_addf(out, "experiment %s\n\n", t->file->name);
    grid_table_cells(t, out);
    for (size_t k = 0; k < t->n_setting; k++)
        repeated |= t->setting[k].n > 1;
    str_adds(out,
             "\nacc.: of all n records asked for; none: without an answer (unparsed, failed, "
             "rejected, not run),\nnone counts as right; calls, prompt (tokens of prompts), new "
             "(tokens generated, thinking included):\na finished question; seconds: median of a "
             "question, others being in flight. Later cells find more of\ntheir prompts in the "
             "cache than the first, so their seconds are lower.\n");
    for (size_t i = 0; i < t->n; i++)
        attempts += t->cell[i].attempts;
    if (attempts)
        str_addf(out,
                 "asked again: questions whose failed attempts were replaced, %zu attempts in all "
                 "cells.\n",
                 attempts);
    grid_table_variants(t, out);
    if (repeated) {
        grid_table_seeds(t, out);
        str_adds(out, "\nmean, sd: accuracy of all records, over finished cells that differ in the "
                      "seed only; sd of a sample,\nin points. A setting that reads no seed has one "
                      "cell.\n");
    }
    if (t->compared.n_run)
        report_compared(t->report, &t->compared, out);
    if (t->too_many)
        str_addf(out,
                 "\nMore than %d records are not compared at once; mas export CELL CELL compares "
                 "cells.\n",
                 GRID_TABLE_RECORDS);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static void grid_table_member(struct str *out, const char *key, double v)
{
    str_addf(out, ", \"%s\": ", key);
    str_add_number(out, v, 10);
}

/* "values": {"strategy": "cot", ..}; NULL for a value that is not read. */
static void grid_table_values(const struct grid_table *t, const struct gridfile_cell *c, bool seed,
                              struct str *out)
{
    bool first = true;
    str_adds(out, "\"values\": {");
    for (size_t i = 0; i < t->file->n_key; i++) {
        if (!seed && grid_table_is_seed(t, i))
            continue;
        str_adds(out, first ? "" : ", ");
        first = false;
        str_add_json(out, t->file->key[i], strlen(t->file->key[i]));
        str_adds(out, ": ");
        if (c->value[i])
            str_add_json(out, c->value[i], strlen(c->value[i]));
        else
            str_adds(out, "null");
    }
    str_addc(out, '}');
}

static void grid_table_cell_json(const struct grid_table *t, const struct grid_table_cell *c,
                                 struct str *out)
{
    str_adds(out, "{\"name\": ");
    str_add_json(out, c->of->name, strlen(c->of->name));
    str_adds(out, ", \"state\": ");
    str_add_json(out, c->of->state, strlen(c->of->state));
    str_adds(out, ", ");
    grid_table_values(t, c->of, true, out);
    if (*c->of->why) {
        str_adds(out, ", \"why\": ");
        str_add_json(out, c->of->why, strlen(c->of->why));
    }
    if (c->read) {
        str_addf(out, ", \"n\": %zu, \"correct\": %zu, \"none\": %zu, \"not_run\": %zu",
                 c->accuracy.n, c->accuracy.k, c->none, c->not_run);
        if (c->attempts)
            str_addf(out, ", \"retried\": {\"questions\": %zu, \"attempts\": %zu}", c->asked_again,
                     c->attempts);
        grid_table_member(out, "accuracy", c->accuracy.rate);
        grid_table_member(out, "low", c->accuracy.lo);
        grid_table_member(out, "high", c->accuracy.hi);
        if (c->variants.variants) {
            str_addf(out, ", \"variants\": %zu, \"questions\": %zu", c->variants.variants,
                     c->variants.questions);
            grid_table_member(out, "same_answer",
                              c->variants.same.n ? c->variants.same.rate : (double)NAN);
            grid_table_member(out, "right_in_all",
                              c->variants.right.n ? c->variants.right.rate : (double)NAN);
        }
        grid_table_member(out, "calls", c->calls);
        grid_table_member(out, "prompt_tokens", c->prompt);
        grid_table_member(out, "computed_tokens", c->computed);
        grid_table_member(out, "new_tokens", c->new_tokens);
        grid_table_member(out, "seconds_median", c->seconds);
        grid_table_member(out, "joules", c->joules);
    }
    str_addc(out, '}');
}

int grid_table_json(const struct grid_table *t, struct str *out, struct err *e)
{
    str_adds(out, "{\"name\": ");
    str_add_json(out, t->file->name, strlen(t->file->name));
    str_adds(out, ",\n\"cells\": [");
    for (size_t i = 0; i < t->n; i++) {
        str_adds(out, i ? ",\n " : "");
        grid_table_cell_json(t, &t->cell[i], out);
    }
    str_adds(out, "],\n\"settings\": [");
    for (size_t k = 0; k < t->n_setting; k++) {
        const struct grid_table_setting *s = &t->setting[k];
        str_adds(out, k ? ",\n {" : "{");
        grid_table_values(t, t->cell[s->cell].of, false, out);
        str_addf(out, ", \"cells\": %zu, \"finished\": %zu", s->n, s->whole);
        grid_table_member(out, "accuracy_mean", s->mean);
        grid_table_member(out, "accuracy_sd", s->sd);
        grid_table_member(out, "prompt_tokens", s->prompt);
        grid_table_member(out, "new_tokens", s->new_tokens);
        grid_table_member(out, "seconds_median", s->seconds);
        str_addc(out, '}');
    }
    str_adds(out, "],\n\"compared\": ");
    if (t->compared.n_run)
        report_compared_json(t->report, &t->compared, out);
    else
        str_adds(out, "null");
    str_adds(out, "}\n");
    return str_ok(out, "the figures of an experiment", e);
}
