#include <math.h>
#include <string.h>

#include "exposure.h"
#include "mem.h"
#include "report_part.h"
#include "stats_variants.h"
#include "str.h"

/* ---- figures --------------------------------------------------------------------------------- */

struct exposure_columns { /* (n) each */
    double *min_k, *mean_lp, *more, *chance;
    int *exact, *points;
};

static int columns_open(struct exposure_columns *c, size_t n, struct err *e)
{
    c->min_k = mem_zalloc(n, sizeof *c->min_k);
    c->mean_lp = mem_zalloc(n, sizeof *c->mean_lp);
    c->more = mem_zalloc(n, sizeof *c->more);
    c->chance = mem_zalloc(n, sizeof *c->chance);
    c->exact = mem_zalloc(n, sizeof *c->exact);
    c->points = mem_zalloc(n, sizeof *c->points);
    if (!c->min_k || !c->mean_lp || !c->more || !c->chance || !c->exact || !c->points)
        return NOMEM(e, n * sizeof *c->min_k, "figures of a probe");
    return 0;
}

static void columns_close(struct exposure_columns *c)
{
    mem_free(c->min_k);
    mem_free(c->mean_lp);
    mem_free(c->more);
    mem_free(c->chance);
    mem_free(c->exact);
    mem_free(c->points);
}

/* A text that was not scored has no figure. */
static double figure_of(const struct exposure_text *t, double v)
{
    return t->tokens ? v : (double)NAN;
}

int exposure_figures(const struct exposure_item *item, size_t n, struct exposure_figures *out,
                     struct err *e)
{
    struct exposure_figures f = {.n = n};
    struct exposure_columns c = {.min_k = NULL};
    size_t asked = 0, first = 0, exact = 0, points = 0;
    double sum = 0;
    int rc;
    TRY_DONE(columns_open(&c, n, e));
    for (size_t i = 0; i < n; i++) {
        const struct exposure_item *it = &item[i];
        f.failed += it->why[0] != 0;
        f.tokens += (size_t)it->text.tokens;
        c.min_k[i] = figure_of(&it->text, it->text.min_k);
        c.mean_lp[i] = figure_of(&it->text, it->text.mean_lp);
        c.more[i] = c.min_k[i] - figure_of(&it->other, it->other.min_k);
        c.exact[i] = it->text.exact;
        c.points[i] = it->text.points;
        f.n_other += it->other.tokens > 0;
        exact += (size_t)it->other.exact;
        points += (size_t)it->other.points;
        if (!it->n_orders)
            continue;
        c.chance[asked++] = 1.0 / it->n_orders;
        sum += 1.0 / it->n_orders;
        first += it->first;
    }
    f.min_k = stats_mean_of(c.min_k, n);
    f.mean_lp = stats_mean_of(c.mean_lp, n);
    f.more = stats_mean_of(c.more, n);
    f.ngram_other = points ? (double)exact / (double)points : (double)NAN;
    for (size_t i = 0; i < n; i++) {
        f.ngram.k += (size_t)c.exact[i];
        f.ngram.n += (size_t)c.points[i];
    }
    stats_clusters(c.exact, c.points, n, &f.ngram.rate, &f.ngram.lo, &f.ngram.hi);
    f.first = stats_wilson(first, asked);
    f.chance = asked ? sum / (double)asked : (double)NAN;
    f.p = (double)NAN;
    if (asked)
        TRY_DONE(stats_at_least(c.chance, asked, first, &f.p, e));
    *out = f;
done:
    columns_close(&c);
    return rc;
}

enum { FIGURE_MIN_K, FIGURE_MEAN_LP, FIGURE_NGRAM };

static void figures_to(const struct exposure_item *item, size_t n, int which, double *out)
{
    for (size_t i = 0; i < n; i++) {
        const struct exposure_text *t = &item[i].text;
        out[i] = figure_of(t, which == FIGURE_MIN_K     ? t->min_k
                              : which == FIGURE_MEAN_LP ? t->mean_lp
                              : t->points               ? (double)t->exact / t->points
                                                        : (double)NAN);
    }
}

int exposure_compare(const struct exposure_item *a, size_t n_a, const struct exposure_item *b,
                     size_t n_b, struct exposure_compared *out, struct err *e)
{
    double *x = mem_zalloc(n_a, sizeof *x), *y = mem_zalloc(n_b, sizeof *y);
    struct stats_auc *to[] = {&out->min_k, &out->mean_lp, &out->ngram};
    const int rc = x && y ? 0 : NOMEM(e, (n_a + n_b) * sizeof *x, "figures of a probe");
    for (int k = FIGURE_MIN_K; rc == 0 && k <= FIGURE_NGRAM; k++) {
        figures_to(a, n_a, k, x);
        figures_to(b, n_b, k, y);
        *to[k] = stats_auc_of(x, n_a, y, n_b);
    }
    mem_free(x);
    mem_free(y);
    return rc;
}

/* ---- lines ----------------------------------------------------------------------------------- */

static void line_text(const char *key, const struct exposure_text *t, struct str *out)
{
    str_addf(out, ", \"%s\": {\"tokens\": %d", key, t->tokens);
    report_number(out, "mean_lp", figure_of(t, t->mean_lp));
    report_number(out, "min_k", figure_of(t, t->min_k));
    str_addf(out, ", \"ngrams\": %d, \"exact\": %d}", t->points, t->exact);
}

void exposure_lines(const struct exposure_item *item, size_t n, const char *set, struct str *out)
{
    for (size_t i = 0; i < n; i++) {
        const struct exposure_item *it = &item[i];
        str_addf(out, "{\"id\": \"%s\", \"set\": \"%s\"", it->q->id, set);
        line_text("text", &it->text, out);
        if (it->words) {
            line_text("other", &it->other, out);
            str_adds(out, ", \"other_words\": ");
            str_add_json(out, it->words, strlen(it->words));
        }
        for (int k = 0; k < it->n_orders; k++) {
            str_adds(out, k ? ", " : ", \"order_lp\": [");
            str_add_number(out, it->order_lp[k], 10);
        }
        if (it->n_orders)
            str_addf(out, "], \"first\": %s", it->first ? "true" : "false");
        if (it->why[0]) {
            str_adds(out, ", \"why\": ");
            str_add_json(out, it->why, strlen(it->why));
        }
        str_adds(out, "}\n");
    }
}

/* ---- tables ---------------------------------------------------------------------------------- */

static void table_mean(const char *name, const struct stats_mean *m, struct str *out)
{
    if (!m->n)
        return;
    str_addf(out, "  %-20s %8.3f", name, m->mean);
    if (isfinite(m->lo))
        str_addf(out, "   95 %% interval %.3f to %.3f", m->lo, m->hi);
    str_addf(out, "   %zu questions\n", m->n);
}

void exposure_table(const char *title, const struct exposure_figures *f, struct str *out)
{
    str_addf(out, "%s\n\n", title);
    if (f->ngram.n) {
        str_addf(out, "  %-20s %6.1f %%", "n-grams completed", 100 * f->ngram.rate);
        if (isfinite(f->ngram.lo))
            str_addf(out, "   95 %% interval %.1f to %.1f", 100 * f->ngram.lo, 100 * f->ngram.hi);
        str_addf(out, "   %zu of %zu places", f->ngram.k, f->ngram.n);
        if (isfinite(f->ngram_other))
            str_addf(out, "; other wording %.1f %%", 100 * f->ngram_other);
        str_addc(out, '\n');
    }
    table_mean("min-k, nats", &f->min_k, out);
    table_mean("mean of all, nats", &f->mean_lp, out);
    table_mean("min-k above other", &f->more, out);
    if (f->first.n) {
        str_addf(out, "  %-20s %6.1f %%   95 %% interval %.1f to %.1f   %zu of %zu questions\n",
                 "file's order first", 100 * f->first.rate, 100 * f->first.lo, 100 * f->first.hi,
                 f->first.k, f->first.n);
        str_addf(out, "  %-20s %6.1f %%   p = %.4g: P(at least so many by chance)\n", "  by chance",
                 100 * f->chance, f->p);
    }
    if (f->failed)
        str_addf(out, "  not scored: a text of %zu of %zu questions\n", f->failed, f->n);
}

static void table_auc(const char *name, const struct stats_auc *a, struct str *out)
{
    if (!isfinite(a->auc))
        return;
    str_addf(out, "  %-20s %8.3f", name, a->auc);
    if (isfinite(a->lo))
        str_addf(out, "   95 %% interval %.3f to %.3f", a->lo, a->hi);
    str_addf(out, "   %zu and %zu questions\n", a->n_a, a->n_b);
}

void exposure_table_compared(const struct exposure_compared *c, struct str *out)
{
    str_adds(out, "P(a question's figure is higher than a reference question's); 0.5 = no "
                  "difference\n\n");
    table_auc("min-k", &c->min_k, out);
    table_auc("mean of all", &c->mean_lp, out);
    table_auc("n-grams completed", &c->ngram, out);
}
