/* The pictures of a report. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "html.h"
#include "mem.h"
#include "study.h"
#include "svg.h"

enum { WIDTH = 460, HEIGHT = 300, LEFT = 52, TOP = 32, PLOT_W = 380, PLOT_H = 220 };

static struct svg chart_new(struct str *out)
{
    return (struct svg){.out = out,
                        .left = LEFT,
                        .top = TOP,
                        .width = PLOT_W,
                        .height = PLOT_H,
                        .x_hi = 1,
                        .y_hi = 1};
}

/* ---- accuracy: one row a run ----------------------------------------------------------------- */

struct chart_row {
    const char *name;
    double v, lo, hi; /* NaN = none */
    size_t series;
};

/* Values with their intervals, one row each; a line stands at `at` if that is finite. */
static void chart_rows(struct svg *g, const struct chart_row *row, size_t n, double at,
                       const char *x_name)
{
    char label[80];
    const double d = svg_step(g->x_hi - g->x_lo, 5);
    for (double v = d * ceil(g->x_lo / d - 1e-9); v <= g->x_hi + d / 100; v += d) {
        svg_line(g, svg_x(g, v), g->top, svg_x(g, v), g->top + g->height, "class=\"grid\"");
        snprintf(label, sizeof label, "%.0f", 100 * v + 0.0);
        svg_text(g, svg_x(g, v), g->top + g->height + 16, "class=\"soft middle\"", label);
    }
    svg_text(g, g->left + g->width, g->top + g->height + 33, "class=\"soft end\"", x_name);
    if (isfinite(at))
        svg_line(g, svg_x(g, at), g->top, svg_x(g, at), g->top + g->height,
                 "class=\"axis\" stroke-dasharray=\"4 3\"");
    for (size_t i = 0; i < n; i++) {
        const double y = g->top + 24 * (double)i + 12;
        snprintf(label, sizeof label, "%zu", row[i].series + 1);
        svg_text(g, g->left - 8, y + 4, "class=\"ink end bold\"", label);
        if (!isfinite(row[i].v))
            continue;
        if (isfinite(row[i].lo) && isfinite(row[i].hi)) {
            svg_line(g, svg_x(g, row[i].lo), y, svg_x(g, row[i].hi), y, "class=\"span\"");
            svg_line(g, svg_x(g, row[i].lo), y - 4, svg_x(g, row[i].lo), y + 4, "class=\"span\"");
            svg_line(g, svg_x(g, row[i].hi), y - 4, svg_x(g, row[i].hi), y + 4, "class=\"span\"");
        }
        svg_mark(g, svg_x(g, row[i].v), y, row[i].series, 0);
    }
}

static struct chart_row *chart_row_list(const struct study *s)
{
    return mem_zalloc(s->n, sizeof(struct chart_row));
}

void study_chart_accuracy(const struct study *s, struct str *out)
{
    struct svg g = chart_new(out);
    struct chart_row *row = chart_row_list(s);
    out->failed |= !row;
    if (!row)
        return;
    g.left = 34;
    g.width = 400;
    g.height = 24 * (double)s->n;
    for (size_t i = 0; i < s->n; i++) {
        const struct stats_rate *a = &s->run[i].sum.accuracy;
        row[i] = (struct chart_row){
            .name = s->run[i].name, .v = a->rate, .lo = a->lo, .hi = a->hi, .series = i};
    }
    svg_open(&g, "fig-accuracy", "Accuracy",
             "One row a run: the share of right answers among all records asked for, with its 95 "
             "percent Wilson interval. The table has the numbers.",
             WIDTH, g.top + g.height + 44);
    chart_rows(&g, row, s->n, (double)NAN, "accuracy, %");
    bool partial = false;
    for (size_t i = 0; i < s->n; i++)
        partial |= *s->run[i].partial != 0;
    svg_close(&g, partial ? "Mark: accuracy of all records asked for. Line: 95 % Wilson interval; "
                            "that of a partial run reaches up to all records not run being right. "
                            "Numbers are those of the runs in the table."
                          : "Mark: accuracy of all records asked for. Line: 95 % Wilson interval. "
                            "Numbers are those of the runs in the table.");
    mem_free(row);
}

void study_chart_paired(const struct study *s, struct str *out)
{
    struct svg g = chart_new(out);
    struct chart_row *row = chart_row_list(s);
    double reach = 0.05;
    out->failed |= !row;
    if (!row || s->n < 2) {
        mem_free(row);
        return;
    }
    for (size_t i = 1; i < s->n; i++) {
        const struct stats_paired *p = &s->compared.paired[i];
        row[i - 1] = (struct chart_row){.v = p->difference, .lo = p->lo, .hi = p->hi, .series = i};
        reach = isfinite(p->lo) ? fmax(reach, fmax(fabs(p->lo), fabs(p->hi))) : reach;
        reach = isfinite(p->difference) ? fmax(reach, fabs(p->difference)) : reach;
    }
    reach = svg_step(reach, 2) * ceil(reach / svg_step(reach, 2) - 1e-9);
    g.left = 34;
    g.width = 400;
    g.height = 24 * (double)(s->n - 1);
    g.x_lo = -reach;
    g.x_hi = reach;
    svg_open(&g, "fig-paired", "Differences from run 1",
             "One row a run: its accuracy minus that of run 1 on the questions that both have "
             "finished, with the 95 percent BCa bootstrap interval.",
             WIDTH, g.top + g.height + 44);
    chart_rows(&g, row, s->n - 1, 0, "difference, points");
    svg_close(&g,
              "Right of the dashed line: better than run 1. Line: 95 % BCa interval of the paired "
              "bootstrap; none where every resample is equal.");
    mem_free(row);
}

/* ---- accuracy against cost ------------------------------------------------------------------- */

struct chart_cost {
    const char *id, *title, *name, *none;
    double *x; /* (n) NaN = not measured */
};

#define CHART_LOG 8 /* the axis is logarithmic when the dearest run costs that many times more */
#define CHART_SPANS                                                                                \
    12 /* more runs are drawn without their intervals, which would hide each other */

/* No other run has at least its accuracy for at most its cost, and one of both better. */
static bool chart_front(const struct study *s, const double *x, size_t at)
{
    const double y = s->run[at].sum.accuracy.rate;
    for (size_t i = 0; i < s->n; i++) {
        const double other = s->run[i].sum.accuracy.rate;
        if (isfinite(x[i]) && x[i] <= x[at] && other >= y && (x[i] < x[at] || other > y))
            return false;
    }
    return true;
}

/* The front as a stair: a run's accuracy holds until the next dearer one of the front. */
static void chart_stairs(struct svg *g, const struct study *s, const double *x, struct str *names)
{
    double at = -1;
    double px[2], py[2];
    bool begun = false;
    for (;;) {
        size_t next = s->n;
        for (size_t i = 0; i < s->n; i++)
            if (isfinite(x[i]) && x[i] > at && chart_front(s, x, i) &&
                (next == s->n || x[i] < x[next]))
                next = i;
        const double y = next < s->n ? s->run[next].sum.accuracy.rate : 0;
        px[1] = next < s->n ? x[next] : g->x_hi;
        py[1] = next < s->n ? y : py[0];
        if (begun) {
            svg_line(g, svg_x(g, px[0]), svg_y(g, py[0]), svg_x(g, px[1]), svg_y(g, py[0]),
                     "class=\"front\"");
            svg_line(g, svg_x(g, px[1]), svg_y(g, py[0]), svg_x(g, px[1]), svg_y(g, py[1]),
                     "class=\"front\"");
        }
        if (next == s->n)
            return;
        str_addf(names, "%s%zu", begun ? ", " : "", next + 1);
        px[0] = at = x[next];
        py[0] = y;
        begun = true;
    }
}

static void chart_cost(const struct study *s, const struct chart_cost *c, struct str *out)
{
    struct svg g = chart_new(out);
    struct str names = STR_INIT, caption = STR_INIT;
    double most = 0, least = INFINITY, low = 1, high = 0;
    for (size_t i = 0; i < s->n; i++)
        if (isfinite(c->x[i]) && isfinite(s->run[i].sum.accuracy.rate)) {
            most = fmax(most, c->x[i]);
            least = fmin(least, c->x[i]);
            high = fmax(high, s->run[i].sum.accuracy.hi);
            low = fmin(low, s->run[i].sum.accuracy.lo);
        }
    svg_open(
        &g, c->id, c->title,
        "One mark a run, with its number. The dashed stair is the Pareto front: no other run is "
        "at least as accurate and cheaper.",
        WIDTH, most > 0 ? HEIGHT : 50);
    if (!(most > 0)) {
        svg_text(&g, 4, 24, "class=\"soft\"", c->none);
        svg_close(&g, "");
        return;
    }
    g.x_log = least > 0 && most > CHART_LOG * least;
    g.x_lo = g.x_log ? least / 1.2 : 0;
    g.x_hi = most * (g.x_log ? 1.2 : 1.06);
    g.y_lo = fmax(0, floor(low * 10 - 1e-9) / 10);
    g.y_hi = fmin(1, ceil(high * 10 + 1e-9) / 10);
    svg_axes(&g, c->name, g.x_log ? "accuracy; cost on a logarithmic axis" : "accuracy", false,
             true);
    chart_stairs(&g, s, c->x, &names);
    for (size_t i = 0; i < s->n; i++) {
        const struct stats_rate *a = &s->run[i].sum.accuracy;
        if (!isfinite(c->x[i]) || !isfinite(a->rate))
            continue;
        if (s->n <= CHART_SPANS)
            svg_line(&g, svg_x(&g, c->x[i]), svg_y(&g, a->lo), svg_x(&g, c->x[i]), svg_y(&g, a->hi),
                     "class=\"span\"");
        svg_mark(&g, svg_x(&g, c->x[i]), svg_y(&g, a->rate), i, i + 1);
    }
    str_addf(&caption, "On the Pareto front: %s.", names.len ? names.s : "none");
    svg_close(&g, caption.s);
    out->failed |= caption.failed;
    str_free(&names);
    str_free(&caption);
}

void study_charts_cost(const struct study *s, struct str *out)
{
    double *x = mem_zalloc(3 * s->n, sizeof *x);
    out->failed |= !x;
    if (!x)
        return;
    for (size_t i = 0; i < s->n; i++) {
        const struct stats_summary *m = &s->run[i].sum;
        x[i] = m->prompt_tokens - m->cached_tokens + m->think_tokens + m->new_tokens;
        x[s->n + i] = m->seconds.median;
        x[2 * s->n + i] = m->joules;
    }
    const struct chart_cost by[] = {
        {"fig-tokens", "Accuracy against tokens", "computed tokens a question", "no tokens", x},
        {"fig-seconds", "Accuracy against time", "seconds a question, median", "no times",
         x + s->n},
        {"fig-joules", "Accuracy against energy", "joules a question", "energy was not measured",
         x + 2 * s->n}};
    for (size_t i = 0; i < 3; i++)
        chart_cost(s, &by[i], out);
    mem_free(x);
}

void study_note_questions(const struct study *s, struct str *out)
{
    const size_t shared = study_shared(s);
    if (shared == s->n_question)
        return;
    str_addf(
        out,
        "<p class=\"warn\">The runs were not asked the same questions: %zu in all, %zu of them "
        "asked of every run. Each accuracy here is over the run's own records, so two runs "
        "may differ because their questions do. The paired comparisons use common questions "
        "alone.</p>\n",
        s->n_question, shared);
}

/* Begins the pictures of single runs; many are folded, because they make a page long. */
static void chart_fold(const struct study *s, struct str *out)
{
    if (s->n > STUDY_FEW)
        str_addf(out, "<details class=\"pictures\"><summary>Pictures of %zu runs</summary>\n",
                 s->n);
    str_adds(out, "<div class=\"figures\">");
}

static void chart_fold_end(const struct study *s, struct str *out)
{
    str_adds(out, s->n > STUDY_FEW ? "</div></details>\n" : "</div>\n");
}

/* Number, name and state of a run, for a picture of its own. */
static void chart_title(const struct study_run *r, size_t at, char out[160])
{
    snprintf(out, 160, "%zu %s%s%s%s", at + 1, r->name, *r->partial ? " (" : "", r->partial,
             *r->partial ? ")" : "");
}

/* The mark, number and name of each run. */
void study_legend(const struct study *s, struct str *out)
{
    str_adds(out, "<ul class=\"legend\" aria-label=\"Runs\">");
    for (size_t i = 0; i < s->n; i++) {
        str_adds(out, "<li>");
        svg_key(out, i);
        str_addf(out, "<b>%zu</b> ", i + 1);
        study_run_label(&s->run[i], out);
        str_adds(out, "</li>");
    }
    str_adds(out, "</ul>\n");
}

/* ---- calibration ----------------------------------------------------------------------------- */

static void chart_bins(struct svg *g, const struct stats_summary *m, size_t series)
{
    double x[STATS_BINS], y[STATS_BINS];
    size_t n = 0;
    for (int i = 0; i < STATS_BINS; i++) {
        const struct stats_bin *b = &m->bin[i];
        if (!b->rate.n)
            continue;
        x[n] = b->mean_p;
        y[n] = b->rate.rate;
        svg_line(g, svg_x(g, x[n]), svg_y(g, b->rate.lo), svg_x(g, x[n]), svg_y(g, b->rate.hi),
                 "class=\"span thin\"");
        svg_mark(g, svg_x(g, x[n]), svg_y(g, y[n]), series, 0);
        n++;
    }
    svg_series(g, x, y, n, series, false);
}

static void chart_risk(struct svg *g, const struct stats_summary *m, size_t series)
{
    const size_t n = m->n_sure;
    double *x = mem_zalloc(n, sizeof *x), *y = mem_zalloc(n, sizeof *y);
    g->out->failed |= !x || !y;
    for (size_t i = 0; x && y && i < n; i++) {
        x[i] = (double)m->sure[i].kept / (double)m->n_ece;
        y[i] = 1 - (double)m->sure[i].right / (double)m->sure[i].kept;
    }
    if (x && y && n) {
        svg_series(g, x, y, n, series, false);
        for (size_t i = 0; i < 4; i++) /* marks tell the lines apart */
            svg_mark(g, svg_x(g, x[(n - 1) * i / 3]), svg_y(g, y[(n - 1) * i / 3]), series, 0);
    }
    mem_free(x);
    mem_free(y);
}

void study_charts_calibration(const struct study *s, struct str *out)
{
    struct str low = STR_INIT;
    struct svg a = chart_new(out), b = chart_new(&low);
    int some = 0;
    svg_open(&a, "fig-reliability", "Reliability",
             "Accuracy of the answers in ten bins of the probability that the model gave them. "
             "The dashed diagonal is perfect calibration.",
             WIDTH, HEIGHT);
    svg_open(&b, "fig-risk", "Risk and coverage",
             "Share of wrong answers when only the surest answers are given, against the share of "
             "answers given.",
             WIDTH, HEIGHT);
    svg_axes(&a, "probability of the answer", "accuracy", true, true);
    svg_axes(&b, "coverage: share of answers given", "risk: share wrong", true, true);
    svg_line(&a, svg_x(&a, 0), svg_y(&a, 0), svg_x(&a, 1), svg_y(&a, 1), "class=\"front\"");
    for (size_t i = 0; i < s->n; i++)
        if (s->run[i].sum.n_ece) {
            some++;
            chart_bins(&a, &s->run[i].sum, i);
            chart_risk(&b, &s->run[i].sum, i);
        }
    if (!some) {
        svg_text(&a, WIDTH / 2.0, HEIGHT / 2.0, "class=\"soft middle\"", "no letter probabilities");
        svg_text(&b, WIDTH / 2.0, HEIGHT / 2.0, "class=\"soft middle\"", "no letter probabilities");
    }
    svg_close(&a,
              "Ten bins of equal width; a bin without answers has no mark. Vertical lines: 95 % "
              "Wilson interval of a bin.");
    svg_close(&b, "Answers are given in order of their probability; equal probabilities are one "
                  "step. Lower is better.");
    str_add(out, low.s, low.len);
    out->failed |= low.failed;
    str_free(&low);
}

/* ---- positions and specialties --------------------------------------------------------------- */

static void chart_bar(struct svg *g, double y, const char *name, double share, double most,
                      const char *value)
{
    const double x = g->left, w = g->width * (most > 0 ? share / most : 0);
    svg_text(g, x - 6, y + 11, "class=\"ink end\"", name);
    svg_rect(g, x, y, w, 14, "class=\"fillbar\"");
    svg_text(g, x + w + 5, y + 11, "class=\"soft\"", value);
}

static void chart_places(const struct study_run *r, size_t at, struct str *out)
{
    struct svg g = chart_new(out);
    char id[32], title[160], name[32], value[64];
    size_t chosen = 0, keys = 0;
    if (!r->n_place)
        return;
    for (size_t i = 0; i < r->n_place; i++) {
        chosen += r->place[i].chosen;
        keys += r->place[i].key;
    }
    snprintf(id, sizeof id, "fig-place-%zu", at);
    chart_title(r, at, title);
    g.left = 70;
    g.width = 190;
    svg_open(&g, id, title,
             "For each shown position: the share of answers that stood there, the share of keys "
             "that stood there, and the accuracy when the key stood there.",
             WIDTH, 18 + 48 * (double)r->n_place);
    for (size_t i = 0; i < r->n_place; i++) {
        const struct study_place *p = &r->place[i];
        const struct stats_rate rate = stats_wilson(p->right, p->key);
        const double y = 8 + 48 * (double)i;
        snprintf(name, sizeof name, "%c chosen", (char)('A' + i));
        snprintf(value, sizeof value, "%.1f %%, %zu",
                 chosen ? 100.0 * (double)p->chosen / (double)chosen : 0.0, p->chosen);
        chart_bar(&g, y, name, chosen ? (double)p->chosen / (double)chosen : 0, 1, value);
        snprintf(value, sizeof value, "%.1f %%, %zu%s",
                 keys ? 100.0 * (double)p->key / (double)keys : 0.0, p->key, "");
        svg_text(&g, g.left - 6, y + 29, "class=\"soft end\"", "is key");
        svg_rect(&g, g.left, y + 18, g.width * (keys ? (double)p->key / (double)keys : 0), 12,
                 "class=\"hollowbar\"");
        svg_text(&g, g.left + g.width * (keys ? (double)p->key / (double)keys : 0) + 5, y + 29,
                 "class=\"soft\"", value);
        if (rate.n) {
            snprintf(value, sizeof value, "right %.1f %%", 100 * rate.rate);
            svg_text(&g, WIDTH - 4, y + 11, "class=\"ink end\"", value);
            snprintf(value, sizeof value, "%.0f to %.0f", 100 * rate.lo, 100 * rate.hi);
            svg_text(&g, WIDTH - 4, y + 29, "class=\"soft end\"", value);
        }
    }
    svg_close(&g, "");
}

void study_charts_places(const struct study *s, struct str *out)
{
    chart_fold(s, out);
    for (size_t i = 0; i < s->n; i++)
        chart_places(&s->run[i], i, out);
    chart_fold_end(s, out);
}

static void chart_specialty(const struct study_run *r, size_t at, struct str *out)
{
    struct svg g = chart_new(out);
    char id[32], title[160], value[96];
    const struct stats_summary *m = &r->sum;
    size_t most = 0;
    if (!m->n_specialty)
        return;
    for (int i = 0; i < m->n_specialty; i++)
        most = m->specialty[i].rate.n > most ? m->specialty[i].rate.n : most;
    snprintf(id, sizeof id, "fig-specialty-%zu", at);
    chart_title(r, at, title);
    g.left = 165;
    g.width = 105;
    svg_open(&g, id, title,
             "For each specialty: the number of questions for which it was asked, and the accuracy "
             "on them.",
             WIDTH, 12 + 20 * (double)m->n_specialty);
    for (int i = 0; i < m->n_specialty; i++) {
        const struct stats_rate *a = &m->specialty[i].rate;
        const double y = 6 + 20 * (double)i;
        snprintf(value, sizeof value, "%zu", a->n);
        chart_bar(&g, y, m->specialty[i].name, (double)a->n, (double)most, value);
        snprintf(value, sizeof value, "right %.0f %% (%.0f to %.0f)", 100 * a->rate, 100 * a->lo,
                 100 * a->hi);
        svg_text(&g, WIDTH - 4, y + 11, "class=\"soft end\"", value);
    }
    svg_close(&g, "");
}

void study_charts_specialties(const struct study *s, struct str *out)
{
    chart_fold(s, out);
    for (size_t i = 0; i < s->n; i++)
        chart_specialty(&s->run[i], i, out);
    chart_fold_end(s, out);
}

/* ---- time ------------------------------------------------------------------------------------ */

struct chart_end {
    double at;
    int64_t tokens;
};

static int chart_end_order(const void *a, const void *b)
{
    const double x = ((const struct chart_end *)a)->at, y = ((const struct chart_end *)b)->at;
    return (x > y) - (x < y);
}

enum { CHART_BINS = 40 };

/* A pause of the run, or a new start of the machine, is longer than this many mean cases. */
#define CHART_PAUSE 50.0

/* Removes pauses and returns the end of the last case, from the end of the first. */
static double chart_join(struct chart_end *t, size_t n)
{
    const double mean = n > 1 ? (t[n - 1].at - t[0].at) / (double)(n - 1) : 0;
    double shift = t[0].at, before = t[0].at;
    for (size_t i = 0; i < n; i++) {
        const double own = t[i].at;
        if (own - before > CHART_PAUSE * mean && own - before > 60)
            shift += own - before;
        before = own;
        t[i].at = own - shift;
    }
    return n ? t[n - 1].at : 0;
}

static int chart_time(const struct study_run *r, size_t at, struct str *out, struct err *e)
{
    struct svg g = chart_new(out);
    char id[32], title[160], caption[160];
    const struct results *rs = &r->run.results;
    struct chart_end *t = mem_zalloc(rs->n, sizeof *t);
    double rate[CHART_BINS] = {0}, x[2 * CHART_BINS], y[2 * CHART_BINS], most = 0, all = 0;
    size_t n = 0;
    if (!t)
        return NOMEM(e, rs->n * sizeof *t, "a curve");
    for (size_t i = 0; i < rs->n; i++)
        if (isfinite(rs->r[i].ended)) {
            t[n].at = rs->r[i].ended;
            t[n++].tokens = result_computed(&rs->r[i]);
        }
    snprintf(id, sizeof id, "fig-time-%zu", at);
    chart_title(r, at, title);
    svg_open(&g, id, title, "Computed tokens a second, over the time of the run.", WIDTH, HEIGHT);
    if (n)
        qsort(t, n, sizeof *t, chart_end_order);
    const double length = n ? chart_join(t, n) : 0;
    if (length > 0) {
        for (size_t i = 1; i < n; i++) {
            const int bin = (int)(t[i].at / length * CHART_BINS);
            rate[bin < CHART_BINS ? bin : CHART_BINS - 1] +=
                (double)t[i].tokens / (length / CHART_BINS);
            all += (double)t[i].tokens;
        }
        for (int i = 0; i < CHART_BINS; i++) {
            x[2 * i] = length * i / CHART_BINS;
            x[2 * i + 1] = length * (i + 1) / CHART_BINS;
            y[2 * i] = y[2 * i + 1] = rate[i];
            most = fmax(most, rate[i]);
        }
        g.x_hi = length;
        g.y_hi = most > 0 ? most : 1;
        svg_axes(&g, "seconds from the end of the first case", "tokens a second", false, false);
        svg_series(&g, x, y, (size_t)2 * CHART_BINS, at, false);
        snprintf(caption, sizeof caption, "Mean: %.0f computed tokens a second over %.3g s.",
                 all / length, length);
    } else {
        svg_text(&g, WIDTH / 2.0, HEIGHT / 2.0, "class=\"soft middle\"",
                 "the run recorded no times of its cases");
        caption[0] = 0;
    }
    svg_close(&g, caption);
    mem_free(t);
    return 0;
}

int study_charts_time(const struct study *s, struct str *out, struct err *e)
{
    chart_fold(s, out);
    for (size_t i = 0; i < s->n; i++)
        TRY(chart_time(&s->run[i], i, out, e));
    chart_fold_end(s, out);
    return 0;
}
