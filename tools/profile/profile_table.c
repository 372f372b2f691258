#include "profile_table.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "mem.h"

/* For people. */
static const char *piece_meaning(enum piece_kind kind)
{
    switch (kind) {
    case PIECE_OP:
        return "";
    case PIECE_HOST:
        return "host";
    case PIECE_COPY:
        return "copy of weights, nothing computes";
    case PIECE_QUEUE:
        return "host queues an op, device idle";
    case PIECE_WAIT:
        return "host waits, device idle";
    case PIECE_RECORDER:
        return "the recorder itself";
    case PIECE_BETWEEN:
        break;
    }
    return "host, in no interval";
}

double profile_overhead(const struct profile_test *t)
{
    return t->with.n && t->without.n ? t->with.median / t->without.median - 1 : (double)NAN;
}

bool profile_overhead_clear(const struct profile_test *t)
{
    return t->with.n > 2 && t->without.n > 2 &&
           (t->with.min > t->without.max || t->with.max < t->without.min);
}

/* ---- figures of a row ------------------------------------------------------------------------ */

struct figures { /* of a call */
    double us, us_p5, us_p95, bytes, ops, gb_s, gop_s;
    double share;      /* of the read ceiling; NaN = not measured */
    double step_share; /* of the wall time of the group's steps */
};

static struct figures figures_of(const struct profile_report *p, const struct profile_row *row)
{
    const struct profile_group *g = &p->sum->group[row->group];
    const double n = (double)row->calls, s = row->call.median * 1e-9;
    struct figures f = {.us = row->call.median * 1e-3,
                        .us_p5 = row->call.p5 * 1e-3,
                        .us_p95 = row->call.p95 * 1e-3,
                        .bytes = row->bytes / n,
                        .ops = row->ops / n,
                        .share = (double)NAN,
                        .step_share = g->wall_ns ? (double)row->ns / (double)g->wall_ns : 0};
    f.gb_s = s > 0 ? f.bytes / s * 1e-9 : 0;
    f.gop_s = s > 0 ? f.ops / s * 1e-9 : 0;
    if (p->facts->read > 0)
        f.share = f.gb_s * 1e9 / p->facts->read;
    return f;
}

/* ---- workers of a group ---------------------------------------------------------------------- */

/* Sum over the rows of a group; false: none was watched. */
static bool worker_time(const struct profile_report *p, int group, int worker, int64_t *busy,
                        int64_t *watched)
{
    bool any = false;
    *busy = *watched = 0;
    for (size_t i = 0; i < p->sum->n_row; i++) {
        const struct profile_row *row = &p->sum->row[i];
        if (row->group != group || !row->busy_ns)
            continue;
        any = true;
        *busy += row->busy_ns[worker];
        *watched += row->watched_ns;
    }
    return any;
}

/* ---- tables for people ----------------------------------------------------------------------- */

static void md_head(const struct profile_report *p, struct str *out)
{
    const struct profile_facts *f = p->facts;
    str_addf(out, "%s; %s; %d thread%s; %s; %s\n", f->model, f->device, p->threads,
             p->threads == 1 ? "" : "s", f->date, f->program);
    if (*f->note)
        str_addf(out, "%s\n", f->note);
    if (p->record->dropped)
        str_addf(out,
                 "%llu intervals are missing: the record was full. Sums are too small; lower -n, "
                 "-r or --parallel.\n",
                 (unsigned long long)p->record->dropped);
    str_adds(out,
             "\n| test        | tokens/s, recorded | tokens/s, not recorded | recording takes |\n"
             "| ----------- | -----------------: | ---------------------: | --------------: |\n");
    for (int i = 0; i < p->n_test; i++) {
        const struct profile_test *t = &p->test[i];
        char without[32] = "", over[32] = "";
        if (t->without.n) {
            snprintf(without, sizeof without, "%.2f", t->tokens / t->without.median);
            if (profile_overhead_clear(t))
                snprintf(over, sizeof over, "%+.1f %%", 100 * profile_overhead(t));
            else
                snprintf(over, sizeof over, "in the noise");
        }
        str_addf(out, "| %-11s | %18.2f | %22s | %15s |\n", t->name, t->tokens / t->with.median,
                 without, over);
    }
}

static void md_pieces(const struct profile_group *g, struct str *out)
{
    int64_t sum = 0;
    str_addf(out,
             "\n## %s: %d step%s, %.1f rows each, median %.3f ms (5 to 95 %%: %.3f .. %.3f)\n\n"
             "| time of a step | us, mean   | share   |                                   |\n"
             "| -------------- | ---------: | ------: | --------------------------------- |\n",
             g->name, g->n_step, g->n_step == 1 ? "" : "s", (double)g->rows / g->n_step,
             g->step.median * 1e-6, g->step.p5 * 1e-6, g->step.p95 * 1e-6);
    for (int i = 0; i < g->n_piece; i++) {
        const struct profile_piece *x = &g->piece[i];
        sum += x->ns;
        str_addf(out, "| %-14s | %10.1f | %5.1f %% | %-33s |\n", x->name,
                 (double)x->ns * 1e-3 / g->n_step, 100 * (double)x->ns / (double)g->wall_ns,
                 piece_meaning(x->kind));
    }
    str_addf(out, "| %-14s | %10.1f | %5.1f %% | %-33s |\n", "sum", (double)sum * 1e-3 / g->n_step,
             100 * (double)sum / (double)g->wall_ns, "of the wall time of all steps");
}

/* Columns of the table of ops; w: width of the case. */
#define MD_ROW "| %-13s | %-*s | %-13s | %7s | %9s | %7s | %9s | %19s | %7s | %8s | %6s | %8s |\n"

static void md_row(const struct profile_report *p, const struct profile_row *row, int w,
                   struct str *out)
{
    const struct figures f = figures_of(p, row);
    const double imbalance = profile_imbalance(p->record, row);
    char name[64], calls[24], ms[24], step[16], us[24], spread[48], gb[24], gop[24];
    char share[16] = "", uneven[16] = "";
    snprintf(name, sizeof name, "%s%s", !strcmp(row->phase, "draft") ? "draft: " : "", row->op);
    snprintf(calls, sizeof calls, "%lld", (long long)row->calls);
    snprintf(ms, sizeof ms, "%.3f", (double)row->ns * 1e-6);
    snprintf(step, sizeof step, "%.1f %%", 100 * f.step_share);
    snprintf(us, sizeof us, "%.1f", f.us);
    snprintf(spread, sizeof spread, "%.1f .. %.1f", f.us_p5, f.us_p95);
    snprintf(gb, sizeof gb, "%.2f", f.gb_s);
    snprintf(gop, sizeof gop, "%.1f", f.gop_s);
    if (!isnan(f.share))
        snprintf(share, sizeof share, "%.1f", 100 * f.share);
    if (!isnan(imbalance))
        snprintf(uneven, sizeof uneven, "%.1f %%", 100 * imbalance);
    str_addf(out, MD_ROW, name, w, row->detail, row->kernel, calls, ms, step, us, spread, gb, gop,
             share, uneven);
}

static void md_rows(const struct profile_report *p, int group, struct str *out)
{
    static const char dashes[] =
        "------------------------------------------------------------"
        "--------------------------------------------------------------------";
    int w = 4;
    for (size_t i = 0; i < p->sum->n_row; i++) {
        const struct profile_row *row = &p->sum->row[i];
        const int n = (int)strlen(row->detail);
        w = row->group == group && n > w ? n : w;
    }
    w = w < (int)sizeof dashes - 1 ? w : (int)sizeof dashes - 1;
    str_addc(out, '\n');
    str_addf(out, MD_ROW, "op", w, "case", "kernel", "calls", "ms, all", "step", "us a call",
             "p5 .. p95", "GB/s", "GOP/s", "% read", "uneven");
    str_addf(out,
             "| ------------- | %.*s | ------------- | ------: | --------: | ------: | --------: | "
             "------------------: | ------: | -------: | -----: | -------: |\n",
             w, dashes);
    for (size_t i = 0; i < p->sum->n_row; i++)
        if (p->sum->row[i].group == group)
            md_row(p, &p->sum->row[i], w, out);
}

/* The layers that stand out, and the range of all medians. */
static void md_layers(const struct profile_group *g, struct str *out)
{
    const struct profile_layer *low = NULL, *high = NULL, *worst = NULL;
    for (int i = 0; i < g->n_layer; i++) {
        const struct profile_layer *l = &g->layer[i];
        low = !low || l->median < low->median ? l : low;
        high = !high || l->median > high->median ? l : high;
        worst = !worst || l->max > worst->max ? l : worst;
    }
    if (!low)
        return;
    str_addf(out,
             "\n%d layers: ops take %.1f us in layer %d (the fastest) to %.1f us in layer %d (the "
             "slowest), as medians over steps. The slowest pass of a layer: %.1f us in layer %d.\n",
             g->n_layer, low->median * 1e-3, low->layer, high->median * 1e-3, high->layer,
             worst->max * 1e-3, worst->layer);
    str_adds(out, "\n| layer | us, least | us, median | us, most |\n"
                  "| ----: | --------: | ---------: | -------: |\n");
    for (int i = 0; i < g->n_layer; i++)
        str_addf(out, "| %5d | %9.1f | %10.1f | %8.1f |\n", g->layer[i].layer,
                 g->layer[i].min * 1e-3, g->layer[i].median * 1e-3, g->layer[i].max * 1e-3);
}

static void md_workers(const struct profile_report *p, int group, struct str *out)
{
    int64_t busy, watched;
    for (int w = 0; w < p->record->n_worker && worker_time(p, group, w, &busy, &watched); w++) {
        if (w == 0)
            str_adds(out, "\n| worker | ms, busy  | ms, waits | busy    |\n"
                          "| -----: | --------: | --------: | ------: |\n");
        str_addf(out, "| %6d | %9.3f | %9.3f | %5.1f %% |\n", w, (double)busy * 1e-6,
                 (double)(watched - busy) * 1e-6,
                 watched ? 100 * (double)busy / (double)watched : 0.0);
    }
}

void profile_md(const struct profile_report *p, struct str *out)
{
    md_head(p, out);
    for (int g = 0; g < p->sum->n_group; g++) {
        const struct profile_group *group = &p->sum->group[g];
        if (!group->n_step)
            continue;
        md_pieces(group, out);
        md_rows(p, g, out);
        md_layers(group, out);
        md_workers(p, g, out);
    }
    str_addf(out, "\nThe steps take %.3f ms together, and %.3f ms pass between steps.\n",
             (double)p->sum->wall_ns * 1e-6, (double)p->sum->apart_ns * 1e-6);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static void json_text(struct str *out, const char *text)
{
    str_add_json(out, text, strlen(text));
}

/* null instead of a number that is not known */
static void json_number(struct str *out, const char *name, double v, int decimals)
{
    if (isnan(v))
        str_addf(out, ", \"%s\": null", name);
    else
        str_addf(out, ", \"%s\": %.*f", name, decimals, v);
}

static void json_row(const struct profile_report *p, const struct profile_row *row, struct str *out)
{
    const struct figures f = figures_of(p, row);
    str_addf(out, "{\"op\": \"%s\", \"case\": ", row->op);
    json_text(out, row->detail);
    str_addf(out, ", \"kernel\": \"%s\"", row->kernel);
    json_number(out, "us", f.us, 3);
    json_number(out, "us_p5", f.us_p5, 3);
    json_number(out, "us_p95", f.us_p95, 3);
    json_number(out, "warm_us", (double)NAN, 0);
    json_number(out, "bytes", f.bytes, 0);
    json_number(out, "ops", f.ops, 0);
    json_number(out, "gb_s", f.gb_s, 3);
    json_number(out, "gop_s", f.gop_s, 3);
    json_number(out, "share", f.share, 4);
    str_addf(out,
             ", \"noisy\": null, \"best\": null, \"picked\": null, \"error\": null, \"step\": "
             "\"%s\", \"phase\": \"%s\", \"calls\": %lld",
             p->sum->group[row->group].name, row->phase, (long long)row->calls);
    json_number(out, "ms", (double)row->ns * 1e-6, 6);
    json_number(out, "step_share", f.step_share, 6);
    json_number(out, "imbalance", profile_imbalance(p->record, row), 4);
    str_addc(out, '}');
}

static void json_pieces(const struct profile_group *g, struct str *out)
{
    str_adds(out, ",\n    \"pieces\": [");
    for (int i = 0; i < g->n_piece; i++) {
        const struct profile_piece *x = &g->piece[i];
        str_addf(out, "%s\n     {\"kind\": \"%s\", \"name\": \"%s\"", i ? "," : "",
                 piece_kind_name(x->kind), x->name);
        json_number(out, "ms", (double)x->ns * 1e-6, 6);
        json_number(out, "share", (double)x->ns / (double)g->wall_ns, 6);
        str_addc(out, '}');
    }
    str_addc(out, ']');
}

static void json_layers(const struct profile_group *g, struct str *out)
{
    str_adds(out, ",\n    \"layers\": [");
    for (int i = 0; i < g->n_layer; i++) {
        str_addf(out, "%s{\"layer\": %d", i ? ", " : "", g->layer[i].layer);
        json_number(out, "us_min", g->layer[i].min * 1e-3, 3);
        json_number(out, "us", g->layer[i].median * 1e-3, 3);
        json_number(out, "us_max", g->layer[i].max * 1e-3, 3);
        str_addc(out, '}');
    }
    str_addc(out, ']');
}

static void json_workers(const struct profile_report *p, int group, struct str *out)
{
    int64_t busy, watched;
    str_adds(out, ",\n    \"workers\": [");
    for (int w = 0; w < p->record->n_worker && worker_time(p, group, w, &busy, &watched); w++)
        str_addf(out, "%s{\"worker\": %d, \"busy_ms\": %.6f, \"waits_ms\": %.6f}", w ? ", " : "", w,
                 (double)busy * 1e-6, (double)(watched - busy) * 1e-6);
    str_addc(out, ']');
}

static void json_group(const struct profile_report *p, int group, struct str *out)
{
    const struct profile_group *g = &p->sum->group[group];
    str_addf(out, "\n   {\"step\": \"%s\", \"steps\": %d, \"rows\": %lld", g->name, g->n_step,
             (long long)g->rows);
    json_number(out, "wall_ms", (double)g->wall_ns * 1e-6, 6);
    json_number(out, "ms", g->step.median * 1e-6, 6);
    json_number(out, "ms_p5", g->step.p5 * 1e-6, 6);
    json_number(out, "ms_p95", g->step.p95 * 1e-6, 6);
    json_pieces(g, out);
    json_layers(g, out);
    json_workers(p, group, out);
    str_addc(out, '}');
}

static void json_tests(const struct profile_report *p, struct str *out)
{
    str_adds(out, ",\n  \"tests\": [");
    for (int i = 0; i < p->n_test; i++) {
        const struct profile_test *t = &p->test[i];
        const double nan = (double)NAN;
        str_addf(out, "%s{\"test\": \"%s\", \"tokens\": %d", i ? ", " : "", t->name, t->tokens);
        json_number(out, "recorded_s", t->with.n ? t->with.median : nan, 9);
        json_number(out, "plain_s", t->without.n ? t->without.median : nan, 9);
        json_number(out, "overhead", profile_overhead(t), 6);
        str_addf(out, ", \"overhead_clear\": %s}", profile_overhead_clear(t) ? "true" : "false");
    }
    str_addc(out, ']');
}

static void json_head(const struct profile_report *p, struct str *out)
{
    const struct profile_facts *f = p->facts;
    const char *commit = strrchr(f->program, ' ');
    str_adds(out, "{\"bench\": \"kernels\", \"format\": 1, \"commit\": ");
    json_text(out, commit ? commit + 1 : f->program);
    str_adds(out, ", \"time\": ");
    json_text(out, f->date);
    str_addf(out, ", \"backend\": \"%s\", \"device\": ", p->backend);
    json_text(out, f->device);
    str_addf(out, ", \"threads\": %d, \"emulated\": %s,\n \"ceiling\": ", p->threads,
             p->emulated ? "true" : "false");
    if (f->read > 0)
        str_addf(out, "{\"read_gb_s\": %.2f}", f->read * 1e-9);
    else
        str_adds(out, "null");
}

void profile_json(const struct profile_report *p, struct str *out)
{
    json_head(p, out);
    str_adds(out, ",\n \"rows\": [");
    for (size_t i = 0; i < p->sum->n_row; i++) {
        str_adds(out, i ? ",\n  " : "\n  ");
        json_row(p, &p->sum->row[i], out);
    }
    str_adds(out, "],\n \"profile\": {\"model\": ");
    json_text(out, p->facts->model);
    str_adds(out, ", \"command\": ");
    json_text(out, p->facts->command);
    str_addf(out, ",\n  \"device_timed\": %s, \"intervals\": %llu, \"dropped\": %llu",
             p->record->device_timed ? "true" : "false", (unsigned long long)p->record->n_interval,
             (unsigned long long)p->record->dropped);
    json_number(out, "wall_ms", (double)p->sum->wall_ns * 1e-6, 6);
    json_number(out, "apart_ms", (double)p->sum->apart_ns * 1e-6, 6);
    json_tests(p, out);
    str_adds(out, ",\n  \"steps\": [");
    for (int g = 0, n = 0; g < p->sum->n_group; g++)
        if (p->sum->group[g].n_step) {
            str_adds(out, n++ ? "," : "");
            json_group(p, g, out);
        }
    str_adds(out, "]}}\n");
}

/* ---- CSV ------------------------------------------------------------------------------------- */

void profile_csv(const struct profile_report *p, struct str *out)
{
    str_adds(out, "step,phase,op,case,kernel,calls,ms,step_share,us,us_p5,us_p95,gb_s,gop_s\n");
    for (size_t i = 0; i < p->sum->n_row; i++) {
        const struct profile_row *row = &p->sum->row[i];
        const struct figures f = figures_of(p, row);
        str_addf(out, "%s,%s,%s,\"%s\",%s,%lld,%.6f,%.6f,%.3f,%.3f,%.3f,%.3f,%.3f\n",
                 p->sum->group[row->group].name, row->phase, row->op, row->detail, row->kernel,
                 (long long)row->calls, (double)row->ns * 1e-6, f.step_share, f.us, f.us_p5,
                 f.us_p95, f.gb_s, f.gop_s);
    }
}
