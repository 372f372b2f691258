#include "report.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "mem.h"
#include "prices.h"
#include "report_part.h"

#define REPORT_GROUPS 64 /* of a kind in the table on the terminal */

/* Shares of the answers, for selective answering. */
static const double report_cover[] = {0.5, 0.8, 0.9};
#define REPORT_COVERS (sizeof report_cover / sizeof report_cover[0])

/* ---- table ----------------------------------------------------------------------------------- */

void report_rate(const struct stats_rate *r, struct str *out)
{
    if (!r->n)
        str_adds(out, "no questions");
    else
        str_addf(out, "%5.1f %%  %zu/%zu  95 %% interval %.1f to %.1f", 100 * r->rate, r->k, r->n,
                 100 * r->lo, 100 * r->hi);
}

/* 1234567 -> "1,234,567" */
static void report_count(double v, struct str *out)
{
    char digits[32];
    int n = snprintf(digits, sizeof digits, "%.0f", v);
    for (int i = 0; i < n; i++) {
        str_addc(out, digits[i]);
        if (i + 1 < n && (n - 1 - i) % 3 == 0 && digits[i] != '-')
            str_addc(out, ',');
    }
}

static void report_named_rate(const char *name, const struct stats_rate *r, struct str *out)
{
    str_addf(out, "    %-26.26s %5.1f %%  %4zu/%-4zu (%.0f to %.0f)", name, 100 * r->rate, r->k,
             r->n, 100 * r->lo, 100 * r->hi);
}

static void report_group(const struct stats_group *x, struct str *out)
{
    report_named_rate(x->name, &x->rate, out);
    if (x->unknown)
        str_addf(out, ", %zu not run", x->unknown);
}

static void report_groups(const char *head, const struct stats_group *g, size_t all, int width,
                          struct str *out)
{
    size_t columns = width >= 110 ? 2 : 1, n = all < REPORT_GROUPS ? all : REPORT_GROUPS;
    if (!n)
        return;
    for (size_t i = 0; i < n; i++)
        columns = g[i].unknown ? 1 : columns; /* with what is not run, a row is longer */
    str_addf(out, "\n  %s\n", head);
    size_t rows = (n + columns - 1) / columns;
    for (size_t i = 0; i < rows; i++) {
        for (size_t c = 0; c < columns && i + c * rows < n; c++) {
            size_t begin = out->len;
            report_group(&g[i + c * rows], out);
            if (i + (c + 1) * rows < n && c + 1 < columns)
                while (!out->failed && out->len - begin < 58)
                    str_addc(out, ' ');
        }
        str_addc(out, '\n');
    }
    if (all > n)
        str_addf(out, "    and %zu more: summary.json has all\n", all - n);
}

/* The text after the head, its further lines below its first. A word longer than a line is cut. */
static void report_wrap(const char *head, const char *text, int width, struct str *out)
{
    size_t indent = strlen(head), at = indent, room = (size_t)width - indent;
    str_adds(out, head);
    while (*text) {
        size_t n = strcspn(text, " ");
        n = n < room ? n : room;
        if (at > indent && at + 1 + n > (size_t)width) {
            str_addf(out, "\n%*s", (int)indent, "");
            at = indent;
        } else if (at > indent) {
            str_addc(out, ' ');
            at++;
        }
        str_add(out, text, n);
        at += n;
        text += n + (text[n] == ' ');
    }
    str_addc(out, '\n');
}

/* Three digits, and all of them before the point. */
static void report_joules(double v, const char *of, struct str *out)
{
    if (isfinite(v))
        str_addf(out, v < 100 ? "%.3g J %s, " : "%.0f J %s, ", v, of);
}

static void report_energy(const struct stats_summary *s, int width, struct str *out)
{
    static const char *const head = "  energy          ", *const more = "                  ";
    struct str text = STR_INIT;
    const char *gap = *s->energy_gap ? s->energy_gap : "not measured";
    if (!s->n_joules) {
        report_wrap(head, gap, width, out);
        return;
    }
    report_joules(s->joules, "a question", &text);
    report_joules(s->joules_per_token, "a token computed", &text);
    report_joules(s->joules_per_new_token, "a new token", &text);
    str_addf(&text, "%.2g USD for 1,000 questions", 1000 * s->cost);
    report_wrap(head, text.s, width, out);
    report_wrap(more, s->energy, width, out);
    if (s->n_joules < s->finished) {
        str_clear(&text);
        str_addf(&text, "means over %zu of %zu questions; the others: %s", s->n_joules, s->finished,
                 gap);
        report_wrap(more, text.s, width, out);
    }
    out->failed = out->failed || text.failed;
    str_free(&text);
}

/* Of imported answers; their prompt tokens may be known. */
static void report_usage_unknown(const struct stats_summary *s, struct str *out)
{
    str_adds(out, "  per question    imported answers: calls, tokens and seconds are not known");
    if (isfinite(s->prompt_tokens)) {
        str_adds(out, "\n                  but for ");
        report_count(s->prompt_tokens, out);
        str_adds(out, " prompt tokens");
    }
    str_addc(out, '\n');
}

static void report_usage(const struct stats_summary *s, int width, struct str *out)
{
    struct str text = STR_INIT;
    if (s->imported) {
        report_usage_unknown(s, out);
        return;
    }
    str_addf(&text, "%.1f calls, ", s->calls);
    report_count(s->prompt_tokens, &text);
    str_adds(&text, " prompt tokens (");
    report_count(s->cached_tokens, &text);
    str_adds(&text, " from the cache), ");
    if (s->think_tokens > 0) { /* too much for one line */
        report_wrap("  per question    ", text.s, width, out);
        str_clear(&text);
        report_count(s->think_tokens, &text);
        str_adds(&text, " of thinking, ");
    }
    report_count(s->new_tokens, &text);
    str_adds(&text, " new");
    report_wrap(s->think_tokens > 0 ? "                  " : "  per question    ", text.s, width,
                out);
    out->failed = out->failed || text.failed;
    str_free(&text);
    if (s->seconds.n)
        str_addf(out,
                 "  seconds         median %.2f, 95 %% within %.2f (from first call to answer)\n",
                 s->seconds.median, s->seconds.p95);
    if (s->token_usd > 0)
        str_addf(out, "  price           %.3g USD a question, %.3g USD for 1,000 questions\n",
                 s->token_usd, 1000 * s->token_usd);
    report_energy(s, width, out);
}

/* The same tokens at the list prices of APIs. */
static void report_prices(const struct stats_summary *s, struct str *out)
{
    size_t n;
    const struct price *p = prices_all(&n);
    if (!s->seconds.n)
        return;
    str_adds(out,
             "\n  the same tokens at list prices, USD for 1,000 questions (a million tokens)\n");
    for (size_t i = 0; i < n; i++)
        str_addf(out, "    %-30.30s %9.4g  (%.2f, replies %.2f; %s)\n", p[i].name,
                 1000 * prices_usd(&p[i], s->prompt_tokens, s->new_tokens + s->think_tokens),
                 p[i].prompt, p[i].completion, p[i].date);
}

/* Calls by role, with the tokens of one call. */
static void report_roles(const struct stats_summary *s, struct str *out)
{
    bool thinks = false;
    if (!s->n_role)
        return;
    for (size_t i = 0; i < s->n_role; i++)
        thinks = thinks || s->role[i].think_tokens;
    str_addf(out, "\n  by role, tokens of one call\n    %-18s %8s %8s %6s %6s %7s %7s", "", "calls",
             "unparsed", "cut", "closed", "prompt", "cached");
    if (thinks)
        str_addf(out, " %7s", "think");
    str_addf(out, " %7s\n", "new");
    for (size_t i = 0; i < s->n_role; i++) {
        const struct roles_row *r = &s->role[i];
        double n = (double)r->calls;
        str_addf(out, "    %-18.18s %8lld %8lld %6lld %6lld %7.0f %7.0f", r->name,
                 (long long)r->calls, (long long)r->unparsed, (long long)r->cut,
                 (long long)r->closed, (double)r->prompt_tokens / n, (double)r->cached_tokens / n);
        if (thinks)
            str_addf(out, " %7.0f", (double)r->think_tokens / n);
        str_addf(out, " %7.0f\n", (double)r->new_tokens / n);
    }
}

/* Questions whose failed attempts were replaced. */
static void report_retried(const struct stats_summary *s, int width, struct str *out)
{
    struct str text = STR_INIT;
    retried_text(&s->retried, &text);
    if (text.len)
        report_wrap("  asked again     ", text.s, width, out);
    out->failed |= text.failed;
    str_free(&text);
}

static void report_counts(const struct stats_summary *s, int width, struct str *out)
{
    str_addf(out, "\n  counted wrong   %zu unparsed, %zu failed, %zu rejected, %zu not run\n",
             s->unparsed, s->failed, s->rejected, s->not_run);
    str_addf(out,
             "  records         %zu: %zu questions, %zu duplicates (as what they repeat), %zu "
             "rejected\n",
             s->accuracy.n, s->accuracy.n - s->duplicates - s->rejected, s->duplicates,
             s->rejected);
    if (!s->imported)
        str_addf(
            out,
            "  token limit     %zu calls cut (%zu questions), %zu closed early (%zu questions)\n",
            s->calls_cut, s->cases_cut, s->calls_closed, s->cases_closed);
    if (s->thoughts_cut)
        str_addf(out, "  thinking        %zu calls cut at its budget (%zu questions)\n",
                 s->thoughts_cut, s->cases_thought_cut);
    report_retried(s, width, out);
    if (s->no_key)
        str_addf(out, "  without a key   %zu\n", s->no_key);
}

/* Groups of variants: does the answer change with the order of the options or the wording? */
static void report_variants(const struct stats_variants *v, struct str *out)
{
    if (!v->variants)
        return;
    str_addf(out, "  variants        %zu of %zu questions", v->variants, v->questions);
    if (isfinite(v->lo))
        str_addf(out,
                 "; over other questions the accuracy is within\n"
                 "                  %.1f to %.1f %% (95 %% interval)",
                 100 * v->lo, 100 * v->hi);
    str_addc(out, '\n');
    if (v->same.n) {
        str_adds(out, "  same in all     ");
        report_rate(&v->same, out);
        str_adds(out, "\n  right in all    ");
        report_rate(&v->right, out);
        str_addc(out, '\n');
    }
    if (v->unfinished)
        str_addf(out, "                  %zu questions of which a part is not run are in neither\n",
                 v->unfinished);
}

/* The reliability table, and the accuracy of the most certain answers. */
static void report_confidence(const struct stats_summary *s, struct str *out)
{
    char name[64];
    if (!s->n_ece)
        return;
    str_adds(out, "\n  by probability of the answer\n");
    for (int b = 0; b < STATS_BINS; b++)
        if (s->bin[b].rate.n) {
            snprintf(name, sizeof name, "%.1f to %.1f, mean %.3f", s->bin[b].from, s->bin[b].to,
                     s->bin[b].mean_p);
            report_named_rate(name, &s->bin[b].rate, out);
            str_addc(out, '\n');
        }
    str_addf(out, "\n  the most certain of %zu answers\n", s->n_ece);
    const struct stats_step *before = NULL;
    bool tied = false;
    for (size_t i = 0; i < REPORT_COVERS; i++) {
        const struct stats_step *at = stats_at_coverage(s->sure, s->n_sure, report_cover[i]);
        const struct stats_rate r = stats_wilson(at->right, at->kept);
        tied = tied || at == before;
        if (at == before)
            continue;
        before = at;
        snprintf(name, sizeof name, "%.1f %%, p at least %.3f",
                 100 * (double)at->kept / (double)s->n_ece, at->threshold);
        report_named_rate(name, &r, out);
        str_addc(out, '\n');
    }
    if (tied)
        str_adds(out, "    answers of equal probability are kept together, so a smaller part has "
                      "no line\n");
}

static void report_alpha(const char *name, const struct stats_alpha *a, struct str *out)
{
    if (!a->units)
        return;
    str_addf(out, "  %s", name);
    if (isfinite(a->alpha))
        str_addf(out, "alpha %.3f, ", a->alpha);
    str_addf(out, "%.1f %% of pairs agree", 100 * a->pairs);
    str_addf(out, "; %zu questions, ", a->units);
    if (a->least < a->most)
        str_addf(out, "%d to ", a->least);
    str_addf(out, "%d voices each\n", a->most);
}

static void report_agreement(const struct stats_summary *s, struct str *out)
{
    if (isfinite(s->agreement))
        str_addf(out,
                 "  agreement       %.2f of pairs of reports name the same first diagnosis,\n"
                 "                  over %zu questions with two reports or more\n",
                 s->agreement, s->n_agreement);
    if (isfinite(s->agreement_class))
        str_addf(out, "                  %.2f with synonyms, over %zu questions\n",
                 s->agreement_class, s->n_agreement_class);
    report_alpha("first choices   ", &s->choices, out);
    report_alpha("first votes     ", &s->votes, out);
}

void report_table(const struct stats_summary *s, const char *title, int width, struct str *out)
{
    char partial[64];
    stats_partial(s, partial);
    str_addf(out, "%s\n\n", title);
    if (partial[0]) {
        str_addf(out, "  %s records; the others count as wrong\n  so far          ", partial);
        report_rate(&s->so_far, out);
        str_addc(out, '\n');
    }
    str_adds(out, "  accuracy        ");
    report_rate(&s->accuracy, out);
    report_counts(s, width, out);
    report_variants(&s->variants, out);
    report_agreement(s, out);
    if (s->n_ece)
        str_addf(
            out,
            "  calibration     ECE %.3f, Brier %.3f, AURC %.3f over the %zu finished questions\n"
            "                  whose answer has a probability; %zu have none\n",
            s->ece, s->brier, s->aurc, s->n_ece, s->finished - s->n_ece);
    report_usage(s, width, out);
    report_prices(s, out);
    report_roles(s, out);
    report_confidence(s, out);
    report_groups("by step", s->step, s->n_step, width, out);
    report_groups("by specialty asked", s->specialty, (size_t)s->n_specialty, width, out);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

void report_number(struct str *out, const char *key, double d)
{
    str_addf(out, ", \"%s\": ", key);
    str_add_number(out, d, 10);
}

/* Without its last brace. */
static void report_json_rate_begin(struct str *out, const struct stats_rate *r)
{
    str_addf(out, "{\"correct\": %zu, \"n\": %zu", r->k, r->n);
    report_number(out, "accuracy", r->rate);
    report_number(out, "low", r->lo);
    report_number(out, "high", r->hi);
}

void report_json_rate(struct str *out, const struct stats_rate *r)
{
    report_json_rate_begin(out, r);
    str_addc(out, '}');
}

void report_json_confidence(const struct stats_summary *s, struct str *out)
{
    report_number(out, "ece", s->ece);
    str_addf(out, ", \"ece_n\": %zu", s->n_ece);
    report_number(out, "brier", s->brier);
    report_number(out, "brier_options", s->brier_options);
    str_addf(out, ", \"brier_options_n\": %zu", s->n_options);
    report_number(out, "aurc", s->aurc);
    str_adds(out, ",\n \"reliability\": [");
    for (int b = 0; b < STATS_BINS && s->n_ece; b++) {
        str_adds(out, b ? ", {\"from\": " : "{\"from\": ");
        str_add_number(out, s->bin[b].from, 10);
        report_number(out, "to", s->bin[b].to);
        report_number(out, "mean_p", s->bin[b].mean_p);
        str_adds(out, ", \"rate\": ");
        report_json_rate(out, &s->bin[b].rate);
        str_addc(out, '}');
    }
    str_adds(out, "],\n \"coverage\": [");
    for (size_t i = 0; i < REPORT_COVERS && s->n_ece; i++) {
        const struct stats_step *at = stats_at_coverage(s->sure, s->n_sure, report_cover[i]);
        const struct stats_rate r = stats_wilson(at->right, at->kept);
        str_adds(out, i ? ", {\"wanted\": " : "{\"wanted\": ");
        str_add_number(out, report_cover[i], 10);
        report_number(out, "coverage", (double)at->kept / (double)s->n_ece);
        report_number(out, "threshold", at->threshold);
        str_adds(out, ", \"rate\": ");
        report_json_rate(out, &r);
        str_addc(out, '}');
    }
    str_addc(out, ']');
}

/* "done": records whose outcome is known, if that is not all of them. */
static void report_json_group(struct str *out, const struct stats_group *g)
{
    report_json_rate_begin(out, &g->rate);
    if (g->unknown)
        str_addf(out, ", \"done\": %zu", g->rate.n - g->unknown);
    str_addc(out, '}');
}

static void report_json_groups(struct str *out, const char *key, const struct stats_group *g,
                               size_t n)
{
    str_addf(out, ",\n \"%s\": {", key);
    for (size_t i = 0; i < n; i++) {
        str_adds(out, i ? ", " : "");
        str_add_json(out, g[i].name, strlen(g[i].name));
        str_adds(out, ": ");
        report_json_group(out, &g[i]);
    }
    str_addc(out, '}');
}

/* Totals by role. */
static void report_json_roles(struct str *out, const struct stats_summary *s)
{
    str_adds(out, ",\n \"by_role\": {");
    for (size_t i = 0; i < s->n_role; i++) {
        const struct roles_row *r = &s->role[i];
        str_adds(out, i ? ", " : "");
        str_add_json(out, r->name, strlen(r->name));
        str_addf(out, ": {\"calls\": %lld, \"unparsed\": %lld, \"cut\": %lld, \"closed\": %lld",
                 (long long)r->calls, (long long)r->unparsed, (long long)r->cut,
                 (long long)r->closed);
        str_addf(out, ", \"prompt_tokens\": %lld, \"cached_tokens\": %lld, \"new_tokens\": %lld",
                 (long long)r->prompt_tokens, (long long)r->cached_tokens,
                 (long long)r->new_tokens);
        if (r->think_tokens)
            str_addf(out, ", \"think_tokens\": %lld", (long long)r->think_tokens);
        str_addc(out, '}');
    }
    str_addc(out, '}');
}

/* "list_prices": the tokens of a question at each price of the list. */
static void report_json_prices(struct str *out, const struct stats_summary *s)
{
    size_t n;
    const struct price *p = prices_all(&n);
    str_adds(out, ",\n \"list_prices\": [");
    for (size_t i = 0; i < n; i++) {
        double usd = prices_usd(&p[i], s->prompt_tokens, s->new_tokens + s->think_tokens);
        str_adds(out, i ? ",\n  {\"name\": " : "\n  {\"name\": ");
        str_add_json(out, p[i].name, strlen(p[i].name));
        report_number(out, "usd_per_question", s->seconds.n ? usd : (double)NAN);
        report_number(out, "prompt_usd_million", p[i].prompt);
        report_number(out, "completion_usd_million", p[i].completion);
        str_adds(out, ", \"date\": ");
        str_add_json(out, p[i].date, strlen(p[i].date));
        str_adds(out, ", \"source\": ");
        str_add_json(out, p[i].source, strlen(p[i].source));
        str_addc(out, '}');
    }
    str_addc(out, ']');
}

static void report_json_text(struct str *out, const char *key, const char *s)
{
    str_addf(out, ", \"%s\": ", key);
    str_add_json(out, s, strlen(s));
}

/* "energy": the source of the joules, or why there are none. "energy_gap": why some questions have
 * none. */
static void report_json_energy(struct str *out, const struct stats_summary *s)
{
    const char *gap = *s->energy_gap ? s->energy_gap : "not measured";
    report_json_text(out, "energy", s->n_joules ? s->energy : gap);
    if (s->n_joules && s->n_joules < s->finished)
        report_json_text(out, "energy_gap", gap);
    else
        str_adds(out, ", \"energy_gap\": null");
}

/* A number of replies, or of cases with such; not known of imported answers. */
static void report_json_replies(struct str *out, const char *key, const struct stats_summary *s,
                                size_t n)
{
    report_number(out, key, s->imported ? (double)NAN : (double)n);
}

/* Members without brackets. */
static void report_json_counts(const struct stats_summary *s, struct str *out)
{
    char partial[64];
    stats_partial(s, partial);
    str_addf(out, "\"status\": \"%s\", \"records\": %zu, \"done\": %zu, \"not_run\": %zu, ",
             partial[0] ? partial : "complete", s->accuracy.n, s->so_far.n, s->not_run);
    str_addf(out, "\"rejected\": %zu, \"duplicates\": %zu, \"answered\": %zu, \"unparsed\": %zu, ",
             s->rejected, s->duplicates, s->answered, s->unparsed);
    str_addf(out, "\"failed\": %zu, \"no_key\": %zu", s->failed, s->no_key);
    report_json_replies(out, "calls_cut", s, s->calls_cut);
    report_json_replies(out, "cases_cut", s, s->cases_cut);
    report_json_replies(out, "calls_closed", s, s->calls_closed);
    report_json_replies(out, "cases_closed", s, s->cases_closed);
    if (s->think_tokens > 0)
        str_addf(out, ", \"thoughts_cut\": %zu, \"cases_thought_cut\": %zu", s->thoughts_cut,
                 s->cases_thought_cut);
}

void report_figures(const struct stats_summary *s, struct str *out)
{
    str_adds(out, "{\"accuracy\": ");
    report_json_rate(out, &s->accuracy);
    str_adds(out, ", ");
    report_json_counts(s, out);
    str_addc(out, '}');
}

/* Agreement of first choices beyond chance; nothing without any. */
static void report_json_alpha(const char *key, const struct stats_alpha *a, struct str *out)
{
    if (!a->units)
        return;
    str_addf(out, ",\n \"%s\": {\"questions\": %zu, \"n\": %zu, \"least\": %d, \"most\": %d", key,
             a->units, a->values, a->least, a->most);
    report_number(out, "pairs_agree", a->pairs);
    report_number(out, "observed", a->observed);
    report_number(out, "expected", a->expected);
    report_number(out, "alpha", a->alpha);
    str_addc(out, '}');
}

static void report_json_variants(const struct stats_variants *v, struct str *out)
{
    if (!v->variants)
        return;
    str_addf(out,
             ",\n \"variants\": {\"n\": %zu, \"questions\": %zu, \"alone\": %zu, "
             "\"unfinished\": %zu",
             v->variants, v->questions, v->alone, v->unfinished);
    report_number(out, "accuracy", v->mean);
    report_number(out, "low", v->lo);
    report_number(out, "high", v->hi);
    str_adds(out, ", \"same_answer\": ");
    report_json_rate(out, &v->same);
    str_adds(out, ", \"right_in_all\": ");
    report_json_rate(out, &v->right);
    str_addc(out, '}');
}

void report_json(const struct stats_summary *s, const char *run_json, const char *engine_json,
                 struct str *out)
{
    str_adds(out, "{\"accuracy\": ");
    report_json_rate(out, &s->accuracy);
    str_adds(out, ",\n \"so_far\": ");
    report_json_rate(out, &s->so_far);
    str_adds(out, ",\n ");
    report_json_counts(s, out);
    if (retried_attempts(&s->retried)) {
        str_adds(out, ",\n \"retried\": ");
        retried_json(&s->retried, false, out);
    }
    report_number(out, "specialist_agreement", s->agreement);
    str_addf(out, ", \"specialist_agreement_n\": %zu", s->n_agreement);
    report_number(out, "specialist_agreement_class", s->agreement_class);
    str_addf(out, ", \"specialist_agreement_class_n\": %zu", s->n_agreement_class);
    report_json_alpha("choices", &s->choices, out);
    report_json_alpha("votes", &s->votes, out);
    report_json_variants(&s->variants, out);
    report_json_confidence(s, out);
    report_json_groups(out, "by_step", s->step, s->n_step);
    report_json_groups(out, "by_specialty", s->specialty, (size_t)s->n_specialty);
    report_json_roles(out, s);
    str_adds(out, ",\n \"per_question\": {\"calls\": ");
    str_add_number(out, s->calls, 10);
    report_number(out, "prompt_tokens", s->prompt_tokens);
    report_number(out, "cached_tokens", s->cached_tokens);
    report_number(out, "new_tokens", s->new_tokens);
    if (s->think_tokens > 0)
        report_number(out, "think_tokens", s->think_tokens);
    report_number(out, "seconds_mean", s->seconds.mean);
    report_number(out, "seconds_median", s->seconds.median);
    report_number(out, "seconds_p95", s->seconds.p95);
    report_number(out, "joules", s->joules);
    str_addf(out, ", \"joules_n\": %zu", s->n_joules);
    report_number(out, "joules_per_token", s->joules_per_token);
    report_number(out, "joules_per_new_token", s->joules_per_new_token);
    report_number(out, "cost_usd", s->cost);
    if (s->token_usd > 0)
        report_number(out, "token_usd", s->token_usd);
    str_addc(out, '}');
    report_json_energy(out, s);
    report_json_prices(out, s);
    if (engine_json[0])
        str_addf(out, ",\n \"engine\": %s,\n \"engine_covers\": \"last start\"", engine_json);
    if (run_json[0])
        str_addf(out, ",\n \"run\": %s", run_json);
    str_adds(out, "}\n");
}

/* ---- CSV ------------------------------------------------------------------------------------- */

void report_csv_field(struct str *out, const char *s)
{
    if (!strpbrk(s, ",\"\r\n")) {
        str_adds(out, s);
        return;
    }
    str_addc(out, '"');
    for (; *s; s++) {
        if (*s == '"')
            str_addc(out, '"');
        str_addc(out, *s);
    }
    str_addc(out, '"');
}

/* The columns of the answer; r NULL = no answer. */
static void report_csv_answer(const struct result *r, struct str *out)
{
    char predicted[2] = "";
    if (r && r->predicted >= 0)
        predicted[0] = (char)('A' + r->predicted);
    report_csv_field(out, predicted[0] || !r ? predicted : r->answer);
    str_addc(out, ',');
}

/* Seconds, tokens and specialists of an imported answer: only known ones. */
static void report_csv_imported(const struct result *r, struct str *out)
{
    if (isfinite(r->seconds))
        str_addf(out, "%.3f", r->seconds);
    str_addc(out, ',');
    if (r->prompt_tokens >= 0 && r->new_tokens >= 0)
        str_addf(out, "%lld", (long long)(r->prompt_tokens + r->think_tokens + r->new_tokens));
    str_addc(out, ',');
}

static void report_csv_row(const struct trace_run *run, size_t at, const struct result *r,
                           const struct report_form *form, struct str *out)
{
    const struct records_row *row = &run->records.r[at];
    bool own = r && row->kind == MEDQA_QUESTION;
    char key[2] = "";
    const char *status = "not run", *why = r ? r->why : "";
    if (row->key >= 0)
        key[0] = (char)('A' + row->key);
    if (row->kind == MEDQA_REJECTED) {
        status = "rejected";
        why = row->why;
    } else if (row->kind == MEDQA_DUPLICATE) {
        status = "duplicate";
    } else if (r) {
        status = consult_state_name(r->state);
    }
    str_addf(out, "%s,", row->id);
    report_csv_field(out, row->question);
    str_addc(out, ',');
    report_csv_answer(r, out);
    str_addf(out, "%s,%s,", key, r && r->correct ? "true" : "false");
    if (own && r->imported)
        report_csv_imported(r, out);
    else if (own)
        str_addf(out, "%.3f,%lld,%d", r->seconds,
                 (long long)(r->prompt_tokens + r->think_tokens + r->new_tokens), r->n_reports);
    else
        str_adds(out, ",,");
    str_addf(out, ",%lld,%s,", (long long)row->line, status);
    if (own && !r->imported)
        str_addf(out, "%d,%d,", r->cut, r->closed);
    else
        str_adds(out, ",,");
    if (row->kind == MEDQA_DUPLICATE)
        str_addf(out, "the same question as line %lld", (long long)run->records.r[row->of].line);
    else
        report_csv_field(out, why);
    if (own && isfinite(r->joules))
        str_addf(out, ",%.6g,", r->joules);
    else
        str_adds(out, ",,");
    if (own && isfinite(r->joules) && result_computed(r) > 0)
        str_addf(out, "%.6g", r->joules / (double)result_computed(r));
    if (form->think)
        str_addc(out, ',');
    if (form->think && own && !r->imported)
        str_addf(out, "%lld", (long long)r->think_tokens);
    for (int i = 0; i < form->n_lp; i++) {
        str_addc(out, ',');
        if (own && r->has_lp && i < r->n_options)
            str_addf(out, "%.9g", r->option_lp[i]);
    }
    for (int i = 0; i < form->n_p; i++) {
        str_addc(out, ',');
        if (own && r->has_p && i < r->n_options)
            str_addf(out, "%.9g", r->p_option[i]);
    }
    str_adds(out, "\r\n");
}

void report_csv_need(const struct trace_run *run, struct report_form *form)
{
    for (size_t i = 0; i < run->results.n; i++) {
        const struct result *r = &run->results.r[i];
        if ((size_t)r->index >= run->asked)
            continue;
        form->think = form->think || r->think_tokens;
        form->n_lp = r->has_lp && r->n_options > form->n_lp ? r->n_options : form->n_lp;
        form->n_p = r->has_p && r->n_options > form->n_p ? r->n_options : form->n_p;
    }
}

void report_csv_header(const struct report_form *form, const char *lead, struct str *out)
{
    str_adds(out, lead);
    str_adds(out,
             "trace_id,question,predicted_answer,correct_answer,is_correct,total_latency_seconds,"
             "total_tokens,n_specialists,line,status,calls_cut,calls_closed,reason,"
             "joules,joules_per_token");
    str_adds(out, form->think ? ",think_tokens" : "");
    for (int i = 0; i < form->n_lp; i++)
        str_addf(out, ",lp_%c", 'A' + i);
    for (int i = 0; i < form->n_p; i++)
        str_addf(out, ",p_%c", 'A' + i);
    str_adds(out, "\r\n");
}

int report_csv_rows(const struct trace_run *run, const struct report_form *form, const char *lead,
                    struct str *out, struct err *e)
{
    const struct result **of = mem_zalloc(run->asked, sizeof *of);
    if (!of)
        return NOMEM(e, run->asked * sizeof *of, "a table");
    for (size_t i = 0; i < run->results.n; i++)
        if ((size_t)run->results.r[i].index < run->asked)
            of[run->results.r[i].index] = &run->results.r[i];
    for (size_t i = 0; i < run->asked; i++) {
        const struct records_row *row = &run->records.r[i];
        str_adds(out, lead);
        report_csv_row(run, i, row->kind == MEDQA_REJECTED ? NULL : of[row->of], form, out);
    }
    mem_free(of);
    return 0;
}

int report_csv(const struct trace_run *run, struct str *out, struct err *e)
{
    struct report_form form = {.n_lp = 0};
    report_csv_need(run, &form);
    report_csv_header(&form, "", out);
    return report_csv_rows(run, &form, "", out, e);
}
