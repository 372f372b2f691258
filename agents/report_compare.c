/* Runs side by side. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "report.h"
#include "report_part.h"
#include "stats_dist.h"

#define REPORT_FEW 15 /* degrees of freedom: Student's quantile is then 2.13 instead of 1.96 */

/* ---- runs ------------------------------------------------------------------------------------ */

/* One number in a column; "-" when it was not measured. */
void report_cell(double v, int width, int decimals, struct str *out)
{
    if (isfinite(v))
        str_addf(out, "%*.*f", width, decimals, v);
    else
        str_addf(out, "%*s", width, "-");
}

/* "name" or "name (partial, 6 of 60)" */
static void report_name(const struct report_run *run, struct str *out)
{
    char partial[64];
    stats_partial(&run->summary, partial);
    str_addf(out, partial[0] ? "%s (%s)" : "%s%s", run->name, partial);
}

struct report_columns {       /* those that not every table of runs has */
    size_t name;              /* width */
    bool joules, think, holm; /* holm: p adjusted, of more than one comparison */
};

static void report_run_row(const struct report_run *run, const struct report_columns *has,
                           bool first, struct str *out)
{
    const struct stats_summary *s = &run->summary;
    const struct stats_rate *a = &s->accuracy;
    size_t begin = out->len;
    report_name(run, out);
    while (!out->failed && out->len - begin < has->name)
        str_addc(out, ' ');
    report_cell(100 * a->rate, 7, 1, out);
    report_cell(100 * a->lo, 6, 1, out);
    str_addf(out, "-%-5.1f%5zu", 100 * a->hi, s->unparsed + s->failed + s->rejected + s->not_run);
    report_cell(s->calls, 6, 1, out);
    report_cell(s->prompt_tokens - s->cached_tokens, 9, 0, out);
    if (has->think)
        report_cell(s->think_tokens, 7, 0, out);
    report_cell(s->new_tokens, 6, 0, out);
    report_cell(s->seconds.n ? s->seconds.median : (double)NAN, 8, 2, out);
    if (has->joules)
        report_cell(s->joules, 8, 1, out);
    if (!first && !run->paired.n)
        str_addf(out, has->holm ? "%7s%8s%8s" : "%7s%8s", "-", "-", "-");
    else if (!first)
        str_addf(out, has->holm ? "%+7.1f%8.2g%8.2g" : "%+7.1f%8.2g",
                 100 * run->paired.difference + 0.0, run->paired.p, run->paired.p_holm); /* no -0 */
    str_addc(out, '\n');
}

/* The runs whose failed attempts were replaced: their failures are fewer than they were. */
static void report_asked_again(const struct report_run *run, int n, struct str *out)
{
    for (int i = 0; i < n; i++) {
        struct str text = STR_INIT;
        retried_text(&run[i].summary.retried, &text);
        if (text.len)
            str_addf(out, "\n%s, asked again: %s\n", run[i].name, text.s);
        out->failed |= text.failed;
        str_free(&text);
    }
}

void report_runs(const struct report_run *run, int n, struct str *out)
{
    struct report_columns has = {.name = strlen("run"), .holm = n > 2};
    for (int i = 0; i < n; i++) {
        struct str s = STR_INIT;
        report_name(&run[i], &s);
        has.name = s.len > has.name ? s.len : has.name;
        str_free(&s);
        has.joules = has.joules || isfinite(run[i].summary.joules);
        has.think = has.think || run[i].summary.think_tokens > 0;
    }
    str_addf(out,
             "%-*s  acc.%%  95 %% int.  none calls computed%s   new seconds%s   diff       p%s\n",
             (int)has.name, "run", has.think ? "  think" : "", has.joules ? "  joules" : "",
             has.holm ? "  p Holm" : "");
    for (int i = 0; i < n; i++)
        report_run_row(&run[i], &has, i == 0, out);
    str_adds(out,
             "\nacc.: of all records asked for; none: without an answer (unparsed, failed, "
             "rejected, not\n"
             "run), none counts as right; calls, computed (prompt tokens not from the cache), ");
    str_adds(out, has.think ? "think\n(tokens of thinking), new (tokens of replies)"
                            : "new\n(tokens generated)");
    str_adds(out, has.joules ? ", joules" : "");
    str_adds(out, ": a finished question; seconds: median of a question, others being in\n"
                  "flight; diff: this run minus the first, points of accuracy on the questions "
                  "that both have\n"
                  "finished; p: exact McNemar; ");
    if (has.holm)
        str_addf(out, "p Holm: adjusted for the %d comparisons; ", n - 1);
    str_adds(out, "-: no question\nin common\n");
    report_asked_again(run, n, out);
}

/* The questions that tell the two runs apart, and how large a study must be. */
static void report_power(const struct stats_paired *p, struct str *out)
{
    static const double points[] = {1, 2, 3, 5, 10};
    size_t differ = p->only_a + p->only_b;
    double share = (double)differ / (double)p->n;
    double least = stats_detectable(p->n, share, REPORT_ALPHA, REPORT_POWER);
    double needed = stats_questions(share, p->difference, REPORT_ALPHA, REPORT_POWER);
    str_addf(out, "  told apart by    %zu of %zu questions (%.1f %%)\n", differ, p->n, 100 * share);
    str_addf(out, "  80 %% power       %zu questions ", p->n);
    if (isfinite(least))
        str_addf(out, "find a difference of %.1f points", 100 * least);
    else
        str_adds(out, "are too few to find any difference");
    if (isfinite(needed))
        str_addf(out, "; this difference needs %.0f questions", ceil(needed));
    str_addc(out, '\n');
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        needed = stats_questions(share, points[i] / 100, REPORT_ALPHA, REPORT_POWER);
        if (isfinite(needed))
            str_addf(out, "%s%.0f: %.0f",
                     i ? ", " : "                   points and questions: ", points[i],
                     ceil(needed));
    }
    str_adds(out, share >= points[0] / 100 ? "\n" : "");
}

void report_paired(const struct report_run *first, const struct report_run *other, struct str *out)
{
    const struct stats_paired *p = &other->paired;
    report_name(other, out);
    str_adds(out, " against ");
    report_name(first, out);
    if (!p->n) {
        str_adds(out, ": no question in common, not compared\n");
        return;
    }
    str_addf(out, ", %zu common questions, %zu left out\n\n", p->n, p->left_out);
    str_addf(out, "  both right       %zu\n  first alone      %zu\n  this run alone   %zu\n",
             p->both, p->only_a, p->only_b);
    str_addf(out, "  both wrong       %zu\n", p->neither);
    str_addf(out, "  difference       %+.1f points (this run minus the first), ",
             100 * p->difference + 0.0);
    if (isfinite(p->lo) && isfinite(p->hi))
        str_addf(out, "95 %% interval %+.1f to %+.1f (BCa bootstrap)\n", 100 * p->lo + 0.0,
                 100 * p->hi + 0.0);
    else
        str_adds(out, p->only_a || p->only_b ? "no interval: the same on every question\n"
                                             : "no interval: no question tells the runs apart\n");
    str_addf(out, "  exact McNemar    p = %.4g\n", p->p);
    if (stats_disagree(p->lo, p->hi, p->p))
        str_addf(
            out,
            "                   The interval and the test disagree. The bootstrap is rough when "
            "few questions\n                   tell the runs apart, here %zu: trust the exact "
            "test.\n",
            p->only_a + p->only_b);
    report_power(p, out);
}

/* ---- all runs, and settings ------------------------------------------------------------------ */

static void report_together(const struct stats_compared *c, struct str *out)
{
    const struct stats_cochran *q = &c->cochran;
    str_addf(out, "%zu runs, %zu questions that all have finished, %zu left out\n\n", c->n_run,
             c->n, c->left_out);
    if (isfinite(q->q))
        str_addf(out,
                 "  Cochran's Q      %.4g, p = %.4g: are all runs equally often right (chi-square, "
                 "%zu degrees)?\n",
                 q->q, q->p, q->n_run - 1);
    else
        str_adds(out, "  Cochran's Q      not defined: no question tells the runs apart\n");
    str_addf(out, "  told apart by    %zu of %zu questions\n", q->n_differ, q->n);
    if (isfinite(c->kappa.kappa))
        str_addf(
            out,
            "  Fleiss' kappa    %.3f: agreement of the runs' answers, %.1f %% of pairs, %.1f %% "
            "by chance\n",
            c->kappa.kappa, 100 * c->kappa.observed, 100 * c->kappa.expected);
    else
        str_adds(out,
                 "  Fleiss' kappa    not defined: all answers are the same, or there are none\n");
}

void report_setting_name(const char *name, int64_t seed, struct str *out)
{
    char part[40];
    const int n = snprintf(part, sizeof part, "seed=%" PRId64, seed);
    const char *at = seed >= 0 ? strstr(name, part) : NULL;
    while (at && ((at > name && at[-1] != ',' && at[-1] != '/') || (at[n] && at[n] != ',')))
        at = strstr(at + 1, part);
    if (!at) {
        str_adds(out, name);
        return;
    }
    const char *rest = at + n; /* the comma goes that is after it, or else the one before it */
    const size_t kept = (size_t)(at - name) - (!*rest && at > name);
    str_add(out, name, kept);
    str_adds(out, *rest ? rest + 1 : kept ? "" : "all");
}

/* "direct-1 (seeds 1, 2, 3)" */
static void report_setting_label(const struct report_run *run, const struct stats_compared *c,
                                 size_t s, struct str *out)
{
    const char *before = c->settings[s].n_run > 1 ? " (seeds " : " (seed ";
    const size_t first = c->settings[s].first;
    report_setting_name(run[first].name, c->seed[first], out);
    for (size_t i = 0; i < c->n_run; i++)
        if (c->setting[i] == s && c->seed[i] >= 0) {
            str_addf(out, "%s%" PRId64, before, c->seed[i]);
            before = ", ";
        }
    str_adds(out, *before == ',' ? ")" : "");
}

static void report_p(double p, struct str *out)
{
    if (isnan(p))
        str_addf(out, "%8s", "-");
    else
        str_addf(out, "%8.2g", p);
}

static void report_setting(const struct report_run *run, const struct stats_compared *c, size_t at,
                           size_t width, struct str *out)
{
    const struct stats_setting *s = &c->settings[at];
    size_t begin = out->len;
    report_setting_label(run, c, at, out);
    while (!out->failed && out->len - begin < width)
        str_addc(out, ' ');
    str_addf(out, "%6zu", s->n_run);
    report_cell(100 * s->m.mean, 7, 1, out);
    report_cell(100 * s->m.sd, 6, 1, out);
    report_cell(100 * s->m.lo, 7, 1, out);
    report_cell(100 * s->m.hi, 6, 1, out);
    str_addf(out, "%7zu%6zu", s->m.n, s->left_out);
    if (at) {
        report_cell(100 * s->difference.mean + 0.0, 7, 1, out);
        report_cell(100 * s->difference.lo + 0.0, 7, 1, out);
        report_cell(100 * s->difference.hi + 0.0, 6, 1, out);
        report_p(s->p, out);
        if (c->n_setting > 2)
            report_p(s->p_holm, out);
    }
    str_addc(out, '\n');
}

void report_few_seeds(const struct stats_compared *c, struct str *out)
{
    double least = (double)INFINITY;
    for (size_t s = 0; s < c->n_setting; s++)
        if (c->settings[s].n_run > 1 && c->settings[s].m.df < least)
            least = c->settings[s].m.df;
    if (!(least <= REPORT_FEW))
        return;
    str_addf(out,
             "Few seeds make a wide interval, because a spread is hardly known from few runs. The "
             "least\nhere has %.1f degrees of freedom and counts %.2f standard errors instead of "
             "1.96; more seeds\nnarrow it.\n",
             least, stats_t_quantile(0.975, least));
}

static void report_settings(const struct report_run *run, const struct stats_compared *c,
                            struct str *out)
{
    size_t width = strlen("setting");
    for (size_t s = 0; s < c->n_setting; s++) {
        struct str name = STR_INIT;
        report_setting_label(run, c, s, &name);
        width = name.len > width ? name.len : width;
        str_free(&name);
    }
    str_addf(out, "%-*s  runs  mean%%    sd  95 %% interval      n   out", (int)width, "setting");
    if (c->n_setting > 1)
        str_adds(out, "   diff  95 % interval       p");
    str_adds(out, c->n_setting > 2 ? "  p Holm\n" : "\n");
    for (size_t s = 0; s < c->n_setting; s++)
        report_setting(run, c, s, width, out);
    str_adds(out,
             "\nA setting: runs that differ by their seed alone; mean: over its runs, on the n "
             "questions that\nall of them have finished; out: questions left out; sd: among the "
             "seeds; 95 % interval: for\nother questions and other seeds (crossed random "
             "effects)");
    if (c->n_setting > 1)
        str_adds(out,
                 ";\ndiff: this setting minus the first, points, with the BCa bootstrap interval "
                 "over questions;\np: exact randomisation test over questions");
    if (c->n_setting > 2)
        str_addf(out, "; p Holm: adjusted for the %zu comparisons", c->n_setting - 1);
    str_addc(out, '\n');
    report_few_seeds(c, out);
    for (size_t s = 1; s < c->n_setting; s++)
        if (stats_disagree(c->settings[s].difference.lo, c->settings[s].difference.hi,
                           c->settings[s].p)) {
            report_setting_label(run, c, s, out);
            str_adds(out, ": the interval and the test disagree; trust the exact test.\n");
        }
}

static void report_sure(const struct report_run *run, size_t n, struct str *out)
{
    size_t width = strlen("run"), any = 0;
    for (size_t i = 0; i < n; i++) {
        width = strlen(run[i].name) > width ? strlen(run[i].name) : width;
        any += run[i].summary.n_ece;
    }
    if (!any)
        return;
    str_addf(out, "\n%-*s      n   out    ECE  Brier   AURC   half%%   80%%\n", (int)width, "run");
    for (size_t i = 0; i < n; i++) {
        const struct stats_summary *s = &run[i].summary;
        str_addf(out, "%-*s%7zu%6zu", (int)width, run[i].name, s->n_ece, s->finished - s->n_ece);
        report_cell(s->ece, 7, 3, out);
        report_cell(s->brier, 7, 3, out);
        report_cell(s->aurc, 7, 3, out);
        for (int k = 0; k < 2; k++) {
            const struct stats_step *at = stats_at_coverage(s->sure, s->n_sure, k ? 0.8 : 0.5);
            report_cell(at ? 100 * (double)at->right / (double)at->kept : (double)NAN, k ? 6 : 8, 1,
                        out);
        }
        str_addc(out, '\n');
    }
    str_adds(out,
             "\nn: finished questions whose answer has a probability; out: those without; AURC: "
             "area below\nthe risk-coverage curve; half%, 80%: accuracy of the most certain half "
             "and 80 % of the answers\n");
}

/* Comparisons take every variant as a question of its own. */
static void report_dependent(const struct report_run *run, size_t n, struct str *out)
{
    for (size_t i = 0; i < n; i++) {
        const struct stats_variants *v = &run[i].summary.variants;
        if (v->variants <= v->questions)
            continue;
        str_addf(
            out,
            "\nThe %zu records of %s are variants of %zu questions. Comparisons take each as a "
            "question\nof its own. Variants of one question are no independent answers, so these "
            "intervals are too narrow\nand these p too small.\n",
            v->variants, run[i].name, v->questions);
        return;
    }
}

void report_compared(const struct report_run *run, const struct stats_compared *c, struct str *out)
{
    if (c->n_run > 2) {
        str_addc(out, '\n');
        report_together(c, out);
    }
    if (c->n_setting < c->n_run) {
        str_addc(out, '\n');
        report_settings(run, c, out);
    }
    report_sure(run, c->n_run, out);
    report_dependent(run, c->n_run, out);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static void report_json_paired(const struct stats_paired *p, size_t at, struct str *out)
{
    str_addf(out, "{\"run\": %zu, \"against\": 0, \"n\": %zu, \"left_out\": %zu, \"both\": %zu", at,
             p->n, p->left_out, p->both);
    str_addf(out, ", \"only_first\": %zu, \"only_this\": %zu, \"neither\": %zu", p->only_a,
             p->only_b, p->neither);
    report_number(out, "difference", p->difference);
    report_number(out, "low", p->lo);
    report_number(out, "high", p->hi);
    report_number(out, "p", p->p);
    report_number(out, "p_holm", p->p_holm);
    double share = p->n ? (double)(p->only_a + p->only_b) / (double)p->n : (double)NAN;
    report_number(out, "discordant", share);
    report_number(out, "detectable", stats_detectable(p->n, share, REPORT_ALPHA, REPORT_POWER));
    report_number(out, "questions_needed",
                  stats_questions(share, p->difference, REPORT_ALPHA, REPORT_POWER));
    str_addc(out, '}');
}

static void report_json_setting(const struct stats_compared *c, size_t at, struct str *out)
{
    const struct stats_setting *s = &c->settings[at];
    const char *before = "{\"runs\": [";
    for (size_t i = 0; i < c->n_run; i++)
        if (c->setting[i] == at) {
            str_addf(out, "%s%zu", before, i);
            before = ", ";
        }
    str_addf(out, "], \"n\": %zu, \"left_out\": %zu", s->m.n, s->left_out);
    report_number(out, "mean", s->m.mean);
    report_number(out, "sd", s->m.sd);
    report_number(out, "low", s->m.lo);
    report_number(out, "high", s->m.hi);
    report_number(out, "standard_error", s->m.se);
    report_number(out, "df", s->m.df);
    report_number(out, "variance_question", s->m.question);
    report_number(out, "variance_seed", s->m.seed);
    report_number(out, "variance_rest", s->m.rest);
    str_addf(out, ", \"difference_n\": %zu, \"difference_left_out\": %zu", s->difference.n,
             s->difference_left_out);
    report_number(out, "difference", at ? s->difference.mean : (double)NAN);
    report_number(out, "difference_low", at ? s->difference.lo : (double)NAN);
    report_number(out, "difference_high", at ? s->difference.hi : (double)NAN);
    report_number(out, "p", s->p);
    report_number(out, "p_holm", s->p_holm);
    str_addc(out, '}');
}

static void report_json_run(const struct report_run *run, const struct stats_compared *c, size_t i,
                            struct str *out)
{
    str_adds(out, "{\"name\": ");
    str_add_json(out, run->name, strlen(run->name));
    str_addf(out, ", \"setting\": %zu, \"seed\": ", c->setting[i]);
    if (c->seed[i] >= 0)
        str_addf(out, "%" PRId64, c->seed[i]);
    else
        str_adds(out, "null");
    str_adds(out, ", \"summary\":\n");
    report_json(&run->summary, "", "", out);
    str_addc(out, '}');
}

void report_compared_json(const struct report_run *run, const struct stats_compared *c,
                          struct str *out)
{
    str_adds(out, "{\"runs\": [");
    for (size_t i = 0; i < c->n_run; i++) {
        str_adds(out, i ? ",\n" : "\n");
        report_json_run(&run[i], c, i, out);
    }
    str_adds(out, "],\n\"paired\": [");
    for (size_t i = 1; i < c->n_run; i++) {
        str_adds(out, i > 1 ? ",\n" : "\n");
        report_json_paired(&c->paired[i], i, out);
    }
    str_addf(out, "],\n\"together\": {\"n\": %zu, \"left_out\": %zu, \"differ\": %zu", c->n,
             c->left_out, c->cochran.n_differ);
    report_number(out, "cochran_q", c->cochran.q);
    report_number(out, "cochran_p", c->cochran.p);
    report_number(out, "fleiss_kappa", c->kappa.kappa);
    report_number(out, "agreement_observed", c->kappa.observed);
    report_number(out, "agreement_expected", c->kappa.expected);
    str_adds(out, "},\n\"settings\": [");
    for (size_t s = 0; s < c->n_setting; s++) {
        str_adds(out, s ? ",\n" : "\n");
        report_json_setting(c, s, out);
    }
    str_adds(out, "]}\n");
}
