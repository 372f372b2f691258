/* The tables of a report. A cell with a figure carries it unrounded: data-k names it, data-v is its
 * value, "" = not defined. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "html.h"
#include "mem.h"
#include "prices.h"
#include "report.h"
#include "stats_curve.h"
#include "study.h"
#include "svg.h"

static void cell(struct str *out, const char *label, const char *text)
{
    str_addf(out, "<td data-label=\"%s\">", label);
    html_texts(out, text);
    str_adds(out, "</td>");
}

/* shown: the rounded text; a dash when v is not finite. */
static void figure(struct str *out, const char *label, const char *key, double v, const char *shown)
{
    str_addf(out, "<td class=\"num\" data-label=\"%s\" data-k=\"%s\" data-v=\"", label, key);
    if (isfinite(v))
        str_addf(out, "%.12g\">", v);
    else
        str_adds(out, "\">");
    html_texts(out, isfinite(v) ? shown : "\u2013");
    str_adds(out, "</td>");
}

static void figure_f(struct str *out, const char *label, const char *key, double v, int digits)
{
    char s[48];
    snprintf(s, sizeof s, "%.*f", digits, v);
    figure(out, label, key, v, s);
}

/* Three significant digits. */
static void figure_g(struct str *out, const char *label, const char *key, double v)
{
    char s[48];
    snprintf(s, sizeof s, "%.3g", v);
    figure(out, label, key, v, s);
}

static void count(struct str *out, const char *label, const char *key, size_t v)
{
    char s[32];
    snprintf(s, sizeof s, "%zu", v);
    figure(out, label, key, (double)v, s);
}

/* A number of replies, which imported answers do not tell. */
static void replies(struct str *out, const char *label, const char *key,
                    const struct stats_summary *m, size_t v)
{
    figure_f(out, label, key, m->imported ? (double)NAN : (double)v, 0);
}

/* A line may break after a comma: names of an experiment's runs are long. */
void study_run_label(const struct study_run *r, struct str *out)
{
    for (const char *at = r->name; *at;) {
        const size_t n = strcspn(at, ","), all = n + (at[n] == ',');
        html_text(out, at, all);
        str_adds(out, at[n] ? "<wbr>" : "");
        at += all;
    }
    if (*r->partial)
        str_addf(out, " <span class=\"only\">%s</span>", r->partial);
}

static void run_head(struct str *out, const struct study *s, size_t at)
{
    str_addf(out, "<tr data-run=\"%zu\"><th scope=\"row\" data-label=\"Run\">", at);
    svg_key(out, at);
    str_addf(out, "<b>%zu</b> ", at + 1);
    study_run_label(&s->run[at], out);
    str_adds(out, "</th>");
}

static void head_row(struct str *out, const char *const *names)
{
    str_adds(out, "<thead><tr>");
    for (int i = 0; names[i]; i++)
        str_addf(out, "<th scope=\"col\"%s>%s</th>", names[i][0] == '#' ? " class=\"num\"" : "",
                 names[i] + (names[i][0] == '#'));
    str_adds(out, "</tr></thead>\n");
}

/* ---- runs ------------------------------------------------------------------------------------ */

static void row_results(struct str *out, const struct study *s, size_t i)
{
    const struct stats_summary *m = &s->run[i].sum;
    const struct stats_rate *a = &m->accuracy;
    char text[96];
    run_head(out, s, i);
    snprintf(text, sizeof text, "%.1f %%", 100 * a->rate);
    figure(out, "Accuracy", "accuracy", a->rate, text);
    snprintf(text, sizeof text, "%.1f", 100 * a->lo);
    figure(out, "95 % from", "low", a->lo, text);
    snprintf(text, sizeof text, "%.1f", 100 * a->hi);
    figure(out, "to", "high", a->hi, text);
    count(out, "Right", "right", a->k);
    count(out, "Records", "n", a->n);
    cell(out, "Strategy", study_setting(&s->run[i], "strategy"));
    count(out, "Unparsed", "unparsed", m->unparsed);
    count(out, "Failed", "failed", m->failed);
    count(out, "Rejected", "rejected", m->rejected);
    count(out, "Not run", "not_run", m->not_run);
    replies(out, "Cut", "cut", m, m->calls_cut);
    replies(out, "Closed", "closed", m, m->calls_closed);
    str_adds(out, "</tr>\n");
}

static void row_costs(struct str *out, const struct study *s, size_t i)
{
    const struct stats_summary *m = &s->run[i].sum;
    run_head(out, s, i);
    figure_f(out, "Calls", "calls", m->calls, 2);
    figure_f(out, "Prompt tokens", "prompt_tokens", m->prompt_tokens, 0);
    figure_f(out, "Cached", "cached_tokens", m->cached_tokens, 0);
    figure_f(out, "Thinking", "think_tokens", m->think_tokens, 0);
    figure_f(out, "New", "new_tokens", m->new_tokens, 0);
    figure_f(out, "Computed", "computed",
             m->prompt_tokens - m->cached_tokens + m->think_tokens + m->new_tokens, 0);
    figure_g(out, "Seconds, median", "seconds", m->seconds.median);
    figure_g(out, "Joules", "joules", m->joules);
    figure_g(out, "USD, energy", "cost", m->cost);
    figure_g(out, "USD, tokens", "token_usd", m->token_usd > 0 ? m->token_usd : (double)NAN);
    str_adds(out, "</tr>\n");
}

/* Reliability in figures. The curves have the same answers. */
static void row_trust(struct str *out, const struct study *s, size_t i)
{
    const struct stats_summary *m = &s->run[i].sum;
    const struct stats_step *at = stats_at_coverage(m->sure, m->n_sure, 0.8);
    run_head(out, s, i);
    count(out, "Answers with a probability", "n_ece", m->n_ece);
    figure_f(out, "ECE", "ece", m->ece, 4);
    figure_f(out, "Brier", "brier", m->brier, 4);
    figure_f(out, "AURC", "aurc", m->aurc, 4);
    figure_f(out, "Accuracy at 80 % coverage", "at80",
             at ? (double)at->right / (double)at->kept : (double)NAN, 4);
    figure_f(out, "Specialists agree", "agreement", m->agreement, 3);
    figure_f(out, "Agree, with synonyms", "agreement_class", m->agreement_class, 3);
    figure_f(out, "Alpha of first choices", "alpha",
             m->choices.units ? m->choices.alpha
             : m->votes.units ? m->votes.alpha
                              : (double)NAN,
             3);
    figure_f(out, "Same answer in all variants", "same",
             m->variants.same.n ? m->variants.same.rate : (double)NAN, 4);
    str_adds(out, "</tr>\n");
}

/* On a phone a row of few runs is a card. Cards of many runs would be a hundred screens high. So
 * their tables stay tables, which scroll sideways beside a fixed first column. */
static const char *table_class(const struct study *s)
{
    return s->n > STUDY_FEW ? "many" : "stack";
}

static void table(const struct study *s, struct str *out, const char *id, const char *caption,
                  const char *const *names,
                  void (*row)(struct str *out, const struct study *s, size_t i), size_t first)
{
    str_addf(out, "<div class=\"wide\"><table class=\"%s\" id=\"%s\"><caption>%s</caption>",
             table_class(s), id, caption);
    head_row(out, names);
    str_adds(out, "<tbody>\n");
    for (size_t i = first; i < s->n; i++)
        row(out, s, i);
    str_adds(out, "</tbody></table></div>\n");
}

/* The runs whose failed attempts were replaced: their failures are fewer than they were. */
static void asked_again(const struct study *s, struct str *out)
{
    for (size_t i = 0; i < s->n; i++) {
        struct str text = STR_INIT;
        retried_text(&s->run[i].sum.retried, &text);
        if (text.len) {
            str_addf(out, "<p class=\"soft\" data-retried=\"%zu\">Run %zu, asked again: ", i,
                     i + 1);
            html_texts(out, text.s);
            str_adds(out, ".</p>\n");
        }
        out->failed |= text.failed;
        str_free(&text);
    }
}

void study_table_runs(const struct study *s, struct str *out)
{
    static const char *const results[] = {
        "Run",       "#Accuracy", "#95 % from", "#to",      "#Right", "#Records", "Strategy",
        "#Unparsed", "#Failed",   "#Rejected",  "#Not run", "#Cut",   "#Closed",  NULL};
    static const char *const costs[] = {
        "Run",       "#Calls",           "#Prompt tokens", "#Cached",      "#Thinking",    "#New",
        "#Computed", "#Seconds, median", "#Joules",        "#USD, energy", "#USD, tokens", NULL};
    static const char *const trust[] = {"Run",
                                        "#Answers with a probability",
                                        "#ECE",
                                        "#Brier",
                                        "#AURC",
                                        "#Accuracy at 80 % coverage",
                                        "#Specialists agree",
                                        "#Agree, with synonyms",
                                        "#Alpha of first choices",
                                        "#Same answer in all variants",
                                        NULL};
    bool partial = false;
    for (size_t i = 0; i < s->n; i++)
        partial |= *s->run[i].partial != 0;
    table(s, out, "runs",
          "Results. The denominator is every record asked for: nothing is left out. Unparsed, "
          "failed, rejected and missing ones count as wrong. Cut and closed: replies that met "
          "their token limit.",
          results, row_results, 0);
    if (partial)
        str_adds(out, "<p class=\"soft\">A partial run has records that are not run yet. Its "
                      "interval begins as if all of them were wrong, and ends as if all were "
                      "right.</p>\n");
    asked_again(s, out);
    table(s, out, "costs",
          "Cost of a finished question: means, and the median of the seconds. Computed: prompt "
          "tokens not from the cache, thinking and new tokens.",
          costs, row_costs, 0);
    table(s, out, "trust",
          "How far the probability of an answer can be trusted, over the finished questions whose "
          "answer has one. Alpha: Krippendorff's, of the choices or votes of speakers who have not "
          "read each other. Variants: orders or wordings of a question. A dash: not defined or not "
          "measured.",
          trust, row_trust, 0);
}

/* The price of the same tokens at public APIs. */
void study_table_prices(const struct study *s, struct str *out)
{
    size_t n = 0;
    const struct price *p = prices_all(&n);
    char key[32], text[48];
    str_adds(out, "<details><summary>The same tokens at list prices of APIs</summary><div "
                  "class=\"wide\"><table id=\"prices\"><caption>USD for 1,000 questions: prompt "
                  "tokens, and those of replies and thinking, as the run's own tokenizer counts "
                  "them.</caption><thead><tr><th scope=\"col\">Run</th>");
    for (size_t k = 0; k < n; k++) {
        str_adds(out, "<th scope=\"col\" class=\"num\">");
        html_texts(out, p[k].name);
        str_addf(out, "<br><span class=\"soft\">%s, ", p[k].date);
        html_texts(out, p[k].source);
        str_addf(out, "<br>%g and %g a million</span></th>", p[k].prompt, p[k].completion);
    }
    str_adds(out, "</tr></thead><tbody>\n");
    for (size_t i = 0; i < s->n; i++) {
        const struct stats_summary *m = &s->run[i].sum;
        run_head(out, s, i);
        for (size_t k = 0; k < n; k++) {
            const double usd =
                1000 * prices_usd(&p[k], m->prompt_tokens, m->new_tokens + m->think_tokens);
            snprintf(key, sizeof key, "price_%zu", k);
            snprintf(text, sizeof text, "%.2f", usd);
            figure(out, "USD", key, usd, text);
        }
        str_adds(out, "</tr>\n");
    }
    str_adds(out, "</tbody></table></div></details>\n");
}

/* ---- pairs ----------------------------------------------------------------------------------- */

static void row_pair(struct str *out, const struct study *s, size_t i)
{
    const struct stats_paired *p = &s->compared.paired[i];
    char text[64];
    run_head(out, s, i);
    count(out, "Common questions", "pair_n", p->n);
    count(out, "Both right", "both", p->both);
    count(out, "Run 1 alone", "only_first", p->only_a);
    count(out, "This run alone", "only_this", p->only_b);
    count(out, "Both wrong", "neither", p->neither);
    snprintf(text, sizeof text, "%+.1f", 100 * p->difference + 0.0);
    figure(out, "Difference, points", "difference", p->difference, text);
    snprintf(text, sizeof text, "%+.1f", 100 * p->lo + 0.0);
    figure(out, "95 % from", "difference_low", p->lo, text);
    snprintf(text, sizeof text, "%+.1f", 100 * p->hi + 0.0);
    figure(out, "to", "difference_high", p->hi, text);
    figure_g(out, "p, McNemar", "p", p->p);
    figure_g(out, "p, Holm", "p_holm", p->p_holm);
    str_adds(out, "</tr>\n");
}

void study_table_paired(const struct study *s, struct str *out)
{
    static const char *const names[] = {"Run",
                                        "#Common questions",
                                        "#Both right",
                                        "#Run 1 alone",
                                        "#This run alone",
                                        "#Both wrong",
                                        "#Difference, points",
                                        "#95 % from",
                                        "#to",
                                        "#p, McNemar",
                                        "#p, Holm",
                                        NULL};
    if (s->n < 2) {
        str_adds(out, "<p class=\"soft\">One run: nothing to compare.</p>\n");
        return;
    }
    table(s, out, "paired",
          "Each run against run 1, on the questions that both have finished. Difference: this run "
          "minus run 1. p: exact McNemar test; Holm: adjusted for all rows of this table.",
          names, row_pair, 1);
    for (size_t i = 1; i < s->n; i++) {
        const struct stats_paired *p = &s->compared.paired[i];
        if (stats_disagree(p->lo, p->hi, p->p))
            str_addf(out,
                     "<p class=\"warn\">Run %zu: the interval and the test disagree. The bootstrap "
                     "is rough when few questions tell the runs apart, here %zu: trust the exact "
                     "test.</p>\n",
                     i + 1, p->only_a + p->only_b);
    }
}

/* A setting: the runs that differ by their seed alone. */
static void row_setting(struct str *out, const struct study *s, size_t i)
{
    const struct stats_setting *t = &s->compared.settings[i];
    char text[64];
    const char *comma = "";
    str_addf(out, "<tr data-run=\"%zu\"><th scope=\"row\" data-label=\"Runs\">", i);
    for (size_t k = 0; k < s->n; k++)
        if (s->compared.setting[k] == i) {
            str_addf(out, "%s%zu", comma, k + 1);
            comma = ", ";
        }
    struct str name = STR_INIT;
    report_setting_name(s->run[t->first].name, s->compared.seed[t->first], &name);
    str_adds(out, " ");
    html_text(out, name.s, name.len);
    str_adds(out, "</th>");
    out->failed |= name.failed;
    str_free(&name);
    count(out, "Seeds", "seeds", t->n_run);
    count(out, "Common questions", "setting_n", t->m.n);
    snprintf(text, sizeof text, "%.1f %%", 100 * t->m.mean);
    figure(out, "Mean accuracy", "mean", t->m.mean, text);
    snprintf(text, sizeof text, "%.1f", 100 * t->m.sd);
    figure(out, "SD of seeds", "sd", t->m.sd, text);
    snprintf(text, sizeof text, "%.1f", 100 * t->m.lo);
    figure(out, "95 % from", "mixed_low", t->m.lo, text);
    snprintf(text, sizeof text, "%.1f", 100 * t->m.hi);
    figure(out, "to", "mixed_high", t->m.hi, text);
    const struct stats_bca *d = &t->difference;
    const double none = (double)NAN;
    snprintf(text, sizeof text, "%+.1f", 100 * d->mean + 0.0);
    figure(out, "Difference, points", "setting_difference", i && d->n ? d->mean : none, text);
    figure_g(out, "p", "setting_p", i ? t->p : none);
    figure_g(out, "p, Holm", "setting_p_holm", i ? t->p_holm : none);
    str_adds(out, "</tr>\n");
}

void study_table_settings(const struct study *s, struct str *out)
{
    static const char *const names[] = {"Runs",
                                        "#Seeds",
                                        "#Common questions",
                                        "#Mean accuracy",
                                        "#SD of seeds",
                                        "#95 % from",
                                        "#to",
                                        "#Difference, points",
                                        "#p",
                                        "#p, Holm",
                                        NULL};
    const struct stats_compared *c = &s->compared;
    if (s->n < 2)
        return;
    if (c->n_setting < s->n) {
        str_addf(out,
                 "<div class=\"wide\"><table class=\"%s\" id=\"seeds\"><caption>Settings: runs "
                 "that differ by their seed alone. Interval: for other questions and other seeds. "
                 "Difference: minus the first setting, by a randomisation test of the questions' "
                 "differences.</caption>",
                 table_class(s));
        head_row(out, names);
        str_adds(out, "<tbody>\n");
        for (size_t i = 0; i < c->n_setting; i++)
            row_setting(out, s, i);
        str_adds(out, "</tbody></table></div>\n<p class=\"soft\">");
        report_few_seeds(c, out);
        for (size_t i = 1; i < c->n_setting; i++) {
            const struct stats_setting *t = &c->settings[i];
            if (stats_disagree(t->difference.lo, t->difference.hi, t->p))
                str_addf(out,
                         "Runs of row %zu: the interval and the test disagree; trust the exact "
                         "test. ",
                         i + 1);
        }
        str_adds(out, "</p>\n");
    }
    str_addf(out,
             "<p class=\"soft\">All runs on their %zu common questions (%zu others are not "
             "finished in every run): ",
             c->n, c->left_out);
    if (isfinite(c->cochran.p))
        str_addf(out, "Cochran's Q %.3g, p = %.3g", c->cochran.q, c->cochran.p);
    else
        str_adds(out, "Cochran's Q is not defined");
    if (isfinite(c->kappa.kappa))
        str_addf(out, "; Fleiss' kappa of their answers %.3f.</p>\n", c->kappa.kappa);
    else
        str_adds(out, "; Fleiss' kappa is not defined.</p>\n");
}

/* ---- the numbers of the histograms ----------------------------------------------------------- */

static void rate_cells(struct str *out, const struct stats_rate *a)
{
    char text[48];
    count(out, "Right", "group_right", a->k);
    snprintf(text, sizeof text, "%.1f %%", 100 * a->rate);
    figure(out, "Accuracy", "group_accuracy", a->rate, text);
    snprintf(text, sizeof text, "%.1f", 100 * a->lo);
    figure(out, "95 % from", "group_low", a->lo, text);
    snprintf(text, sizeof text, "%.1f", 100 * a->hi);
    figure(out, "to", "group_high", a->hi, text);
    str_adds(out, "</tr>\n");
}

static void fold(const struct study *s, struct str *out, const char *id, const char *summary,
                 const char *const *names)
{
    str_addf(out,
             "<details><summary>%s</summary><div class=\"wide\"><table class=\"%s\" id=\"%s\">",
             summary, table_class(s), id);
    head_row(out, names);
    str_adds(out, "<tbody>\n");
}

void study_table_places(const struct study *s, struct str *out)
{
    static const char *const names[] = {"Run",       "Position",   "#Answers", "#Keys", "#Right",
                                        "#Accuracy", "#95 % from", "#to",      NULL};
    fold(s, out, "places", "The same as a table", names);
    for (size_t i = 0; i < s->n; i++)
        for (size_t k = 0; k < s->run[i].n_place; k++) {
            const struct study_place *p = &s->run[i].place[k];
            const struct stats_rate a = stats_wilson(p->right, p->key);
            const char letter[2] = {(char)('A' + k), 0};
            run_head(out, s, i);
            cell(out, "Position", letter);
            count(out, "Answers", "place_chosen", p->chosen);
            count(out, "Keys", "place_key", p->key);
            rate_cells(out, &a);
        }
    str_adds(out, "</tbody></table></div></details>\n");
}

/* Does any run have records of a named step? */
static bool has_steps(const struct study *s)
{
    bool named = false;
    for (size_t i = 0; i < s->n; i++)
        for (size_t k = 0; k < s->run[i].sum.n_step; k++)
            named |= strcmp(s->run[i].sum.step[k].name, STATS_NO_STEP) != 0 &&
                     strcmp(s->run[i].sum.step[k].name, STATS_REJECTED) != 0;
    return named;
}

void study_table_steps(const struct study *s, struct str *out)
{
    static const char *const names[] = {"Run",       "Step",       "#Records", "#Not run", "#Right",
                                        "#Accuracy", "#95 % from", "#to",      NULL};
    if (!has_steps(s))
        return;
    fold(s, out, "steps", "By step of the examination", names);
    for (size_t i = 0; i < s->n; i++)
        for (size_t k = 0; k < s->run[i].sum.n_step; k++) {
            const struct stats_group *g = &s->run[i].sum.step[k];
            run_head(out, s, i);
            cell(out, "Step", g->name);
            count(out, "Records", "step_n", g->rate.n);
            count(out, "Not run", "step_open", g->unknown);
            rate_cells(out, &g->rate);
        }
    str_adds(out, "</tbody></table></div></details>\n");
}

void study_table_specialties(const struct study *s, struct str *out)
{
    static const char *const names[] = {"Run",       "Specialty",  "#Questions", "#Right",
                                        "#Accuracy", "#95 % from", "#to",        NULL};
    fold(s, out, "asked", "The same as a table", names);
    for (size_t i = 0; i < s->n; i++)
        for (int k = 0; k < s->run[i].sum.n_specialty; k++) {
            const struct stats_group *g = &s->run[i].sum.specialty[k];
            run_head(out, s, i);
            cell(out, "Specialty", g->name);
            count(out, "Questions", "group_n", g->rate.n);
            rate_cells(out, &g->rate);
        }
    str_adds(out, "</tbody></table></div></details>\n");
}

/* ---- replies that ended badly ---------------------------------------------------------------- */

void study_table_bad(const struct study *s, struct str *out)
{
    size_t all = 0, imported = 0;
    str_addf(
        out,
        "<div class=\"wide\"><table id=\"roles\" class=\"%s\"><caption>Calls by role. Tokens are "
        "means of a call.</caption><thead><tr><th scope=\"col\">Run</th><th "
        "scope=\"col\">Role</th><th scope=\"col\" class=\"num\">Calls</th><th scope=\"col\" "
        "class=\"num\">Unparsed</th><th scope=\"col\" class=\"num\">Cut</th><th scope=\"col\" "
        "class=\"num\">Closed</th><th scope=\"col\" class=\"num\">Prompt</th><th scope=\"col\" "
        "class=\"num\">New</th></tr></thead><tbody>\n",
        table_class(s));
    for (size_t i = 0; i < s->n; i++) {
        const struct stats_summary *m = &s->run[i].sum;
        all += s->run[i].n_bad;
        imported += m->imported;
        for (size_t k = 0; k < m->n_role; k++) {
            const struct roles_row *r = &m->role[k];
            const double n = r->calls ? (double)r->calls : 1;
            run_head(out, s, i);
            cell(out, "Role", r->name);
            count(out, "Calls", "role_calls", (size_t)r->calls);
            count(out, "Unparsed", "role_unparsed", (size_t)r->unparsed);
            count(out, "Cut", "role_cut", (size_t)r->cut);
            count(out, "Closed", "role_closed", (size_t)r->closed);
            figure_f(out, "Prompt", "role_prompt", (double)r->prompt_tokens / n, 0);
            figure_f(out, "New", "role_new", (double)r->new_tokens / n, 0);
            str_adds(out, "</tr>\n");
        }
    }
    str_adds(out, "</tbody></table></div>\n");
    if (imported)
        str_addf(out,
                 "<p class=\"soft\">Answers of %zu %s were imported: their calls and replies are "
                 "not known.</p>\n",
                 imported, imported == 1 ? "run" : "runs");
    if (!all && imported < s->n)
        str_adds(out, "<p>No reply was cut, closed early or not parsed, and no case failed.</p>\n");
    if (!all)
        return;
    str_adds(out,
             "<details><summary>Texts of the first of each run</summary><div class=\"wide\"><table "
             "id=\"bad\" class=\"stack\"><thead><tr><th scope=\"col\">Run</th><th "
             "scope=\"col\">Case</th><th scope=\"col\">Call</th><th scope=\"col\">End</th><th "
             "scope=\"col\">Reason</th><th scope=\"col\">Text</th></tr></thead><tbody>\n");
    for (size_t i = 0; i < s->n; i++)
        str_add(out, s->run[i].bad.s, s->run[i].bad.len);
    str_addf(
        out,
        "</tbody></table></div></details>\n<p class=\"soft small\">%zu ends of calls and cases "
        "were bad in all. The list of cases below selects every one of them.</p>\n",
        all);
}

/* ---- set-up ---------------------------------------------------------------------------------- */

static void setup_value(const json_t *v, struct str *out)
{
    char *s = v ? json_dumps(v, JSON_ENCODE_ANY | JSON_REAL_PRECISION(9)) : NULL;
    out->failed |= v && !s;
    if (json_is_string(v))
        html_text(out, json_string_value(v), json_string_length(v));
    else
        html_texts(out, s ? s : "\u2013");
    mem_free(s);
}

/* The members of a part of run.json: "about", a member of the identity, or "" = the identity. */
static const json_t *setup_part_of(const struct study_run *r, const char *part)
{
    if (!strcmp(part, "about"))
        return r->about;
    return *part ? json_object_get(r->identity, part) : r->identity;
}

static const json_t *setup_get(const struct study *s, size_t run, const char *part, const char *key)
{
    return json_object_get(setup_part_of(&s->run[run], part), key);
}

static bool setup_same(const json_t *a, const json_t *b)
{
    return a == b || (a && b && json_equal(a, b));
}

static void setup_head(const char *part, const char *key, bool differs, struct str *out)
{
    str_addf(out, "<tr%s><th scope=\"row\">%s%s", differs ? " class=\"differs\"" : "", part,
             *part ? "." : "");
    html_texts(out, key);
    str_adds(out, differs ? " <span class=\"only\">differs</span></th>" : "</th>");
}

/* "1 to 3, 7": the runs from `first` on that have its value. */
static void setup_runs(const struct study *s, size_t first, const char *part, const char *key,
                       struct str *out)
{
    const json_t *v = setup_get(s, first, part, key);
    for (size_t i = first; i < s->n; i++) {
        size_t end = i;
        while (end < s->n && setup_same(setup_get(s, end, part, key), v))
            end++;
        if (end == i)
            continue;
        str_addf(out, "%s%zu", i > first ? ", " : "", i + 1);
        if (end > i + 1)
            str_addf(out, end > i + 2 ? " to %zu" : ", %zu", end);
        i = end;
    }
}

/* One row a value, with the runs that have it. */
static void setup_values(const struct study *s, const char *part, const char *key, bool differs,
                         struct str *out)
{
    for (size_t i = 0; i < s->n; i++) {
        const json_t *v = setup_get(s, i, part, key);
        bool seen = false;
        for (size_t k = 0; k < i && !seen; k++)
            seen = setup_same(setup_get(s, k, part, key), v);
        if (seen)
            continue;
        setup_head(part, key, differs, out);
        str_adds(out, "<td>");
        if (differs)
            setup_runs(s, i, part, key, out);
        else
            str_adds(out, "all");
        str_adds(out, "</td><td>");
        setup_value(v, out);
        str_adds(out, "</td></tr>\n");
    }
}

static void setup_row(const struct study *s, const char *part, const char *key, struct str *out)
{
    bool differs = false;
    for (size_t i = 1; i < s->n; i++)
        differs |= !setup_same(setup_get(s, i, part, key), setup_get(s, 0, part, key));
    if (s->n > STUDY_FEW) {
        setup_values(s, part, key, differs, out);
        return;
    }
    setup_head(part, key, differs, out);
    for (size_t i = 0; i < (differs ? s->n : 1); i++) {
        if (differs)
            str_adds(out, "<td>");
        else
            str_addf(out, "<td colspan=\"%zu\">", s->n);
        setup_value(setup_get(s, i, part, key), out);
        str_adds(out, "</td>");
    }
    str_adds(out, "</tr>\n");
}

/* Every key of that part, in the order of the first run that has it. */
static void setup_part(const struct study *s, const char *part, struct str *out)
{
    for (size_t i = 0; i < s->n; i++) {
        const char *key;
        json_t *v;
        json_object_foreach((json_t *)(uintptr_t)setup_part_of(&s->run[i], part), key, v)
        {
            bool seen = json_is_object(v);
            for (size_t k = 0; k < i && !seen; k++)
                seen = setup_get(s, k, part, key) != NULL;
            if (!seen)
                setup_row(s, part, key, out);
        }
    }
}

void study_table_setup(const struct study *s, struct str *out)
{
    str_adds(out,
             "<div class=\"wide\"><table id=\"setup\"><caption>Hashes and settings that decide "
             "results, then facts of the last start. A row with one value holds for all "
             "runs.</caption><thead><tr><th scope=\"col\">Setting</th>");
    if (s->n > STUDY_FEW)
        str_adds(out, "<th scope=\"col\">Runs</th><th scope=\"col\">Value</th>");
    for (size_t i = 0; i < s->n && s->n <= STUDY_FEW; i++) {
        str_addf(out, "<th scope=\"col\">%zu ", i + 1);
        study_run_label(&s->run[i], out);
        str_adds(out, "</th>");
    }
    str_adds(out, "</tr></thead><tbody>\n");
    setup_part(s, "", out);
    setup_part(s, "prompts", out);
    setup_part(s, "config", out);
    setup_part(s, "about", out);
    str_adds(out, "</tbody></table></div>\n");
}
