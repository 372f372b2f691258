#include "report.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- table --------------------------------------------------------------------------------------- */

static void report_rate(const struct stats_rate *r, struct str *out)
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

static void report_groups(const char *head, const struct stats_group *g, int n, int width,
                          struct str *out)
{
    int columns = width >= 110 ? 2 : 1;
    if (!n)
        return;
    str_addf(out, "\n  %s\n", head);
    int rows = (n + columns - 1) / columns;
    for (int i = 0; i < rows; i++) {
        for (int c = 0; c < columns && i + c * rows < n; c++) {
            const struct stats_group *x = &g[i + c * rows];
            size_t begin = out->len;
            str_addf(out, "    %-26s %5.1f %%  %4zu/%-4zu (%.0f to %.0f)", x->name,
                     100 * x->rate.rate, x->rate.k, x->rate.n, 100 * x->rate.lo,
                     100 * x->rate.hi);
            if (i + (c + 1) * rows < n && c + 1 < columns)
                while (!out->failed && out->len - begin < 58)
                    str_addc(out, ' ');
        }
        str_addc(out, '\n');
    }
}

static void report_usage(const struct stats_summary *s, struct str *out)
{
    str_addf(out, "  per question    %.1f calls, ", s->calls);
    report_count(s->prompt_tokens, out);
    str_adds(out, " prompt tokens (");
    report_count(s->cached_tokens, out);
    str_adds(out, " from the cache), ");
    report_count(s->new_tokens, out);
    str_adds(out, " new\n");
    if (s->seconds.n)
        str_addf(out, "  seconds         median %.2f, 95 %% within %.2f (from first call to answer)\n",
                 s->seconds.median, s->seconds.p95);
    if (isfinite(s->joules))
        str_addf(out, "  energy          %.0f J a question, %.5f USD\n", s->joules, s->cost);
    else
        str_adds(out, "  energy          not measured\n");
}

void report_table(const struct stats_summary *s, const char *title, int width, struct str *out)
{
    str_addf(out, "%s\n\n  accuracy        ", title);
    report_rate(&s->accuracy, out);
    str_addf(out, "\n  not answered    %zu unparsed, %zu failed (both count as wrong)\n",
             s->unparsed, s->failed);
    if (s->no_key)
        str_addf(out, "  without a key   %zu\n", s->no_key);
    if (isfinite(s->agreement))
        str_addf(out, "  agreement       %.2f of specialist pairs name the same first diagnosis\n",
                 s->agreement);
    if (isfinite(s->ece))
        str_addf(out, "  calibration     ECE %.3f over %zu answers with letter probabilities\n",
                 s->ece, s->n_ece);
    report_usage(s, out);
    report_groups("by step", s->step, s->n_step, width, out);
    report_groups("by specialist asked", s->specialty, s->n_specialty, width, out);
}

/* One number in a column; "-" when it was not measured. */
static void report_cell(double v, int width, int decimals, struct str *out)
{
    if (isfinite(v))
        str_addf(out, "%*.*f", width, decimals, v);
    else
        str_addf(out, "%*s", width, "-");
}

static void report_run_row(const struct report_run *run, int name, bool joules, bool first,
                           struct str *out)
{
    const struct stats_summary *s = &run->summary;
    const struct stats_rate *a = &s->accuracy;
    str_addf(out, "%-*s", name, run->name);
    report_cell(100 * a->rate, 7, 1, out);
    report_cell(100 * a->lo, 6, 1, out);
    str_addf(out, "-%-5.1f%5zu%6.1f", 100 * a->hi, s->unparsed + s->failed, s->calls);
    report_cell(s->prompt_tokens - s->cached_tokens, 9, 0, out);
    report_cell(s->new_tokens, 6, 0, out);
    report_cell(s->seconds.n ? s->seconds.median : (double)NAN, 8, 2, out);
    if (joules)
        report_cell(s->joules, 8, 1, out);
    if (first)
        str_addc(out, '\n');
    else
        str_addf(out, "%+7.1f%8.2g\n", 0 - 100 * run->paired.difference, run->paired.p); /* no -0 */
}

void report_runs(const struct report_run *run, int n, struct str *out)
{
    int name = (int)strlen("run");
    bool joules = false;
    for (int i = 0; i < n; i++) {
        int length = (int)strlen(run[i].name);
        name = length > name ? length : name;
        joules = joules || isfinite(run[i].summary.joules);
    }
    str_addf(out, "%-*s  acc.%%  95 %% int.  none calls computed   new seconds%s   diff       p\n",
             name, "run", joules ? "  joules" : "");
    for (int i = 0; i < n; i++)
        report_run_row(&run[i], name, joules, i == 0, out);
    str_adds(out, "\nnone: without an answer, counted as wrong; calls, computed (prompt tokens not "
                  "from the\ncache), new (tokens generated)");
    str_adds(out, joules ? ", joules" : "");
    str_adds(out, ": a question; seconds: median of a question, others\nbeing in flight; diff, p: "
                  "against the first run on common questions, exact McNemar\n");
}

void report_paired(const struct stats_paired *p, const char *a, const char *b, struct str *out)
{
    str_addf(out, "%s against %s, %zu common questions\n\n", a, b, p->n);
    str_addf(out, "  both right      %zu\n  only the first  %zu\n  only the second %zu\n",
             p->both, p->only_a, p->only_b);
    str_addf(out, "  both wrong      %zu\n", p->neither);
    str_addf(out, "  difference      %+.1f points, 95 %% interval %+.1f to %+.1f (bootstrap)\n",
             100 * p->difference, 100 * p->lo, 100 * p->hi);
    str_addf(out, "  exact McNemar   p = %.4g\n", p->p);
}

/* ---- JSON ---------------------------------------------------------------------------------------- */

static void report_number(struct str *out, const char *key, double d)
{
    if (isfinite(d))
        str_addf(out, ", \"%s\": %.10g", key, d);
    else
        str_addf(out, ", \"%s\": null", key);
}

static void report_json_rate(struct str *out, const struct stats_rate *r)
{
    str_addf(out, "{\"correct\": %zu, \"n\": %zu", r->k, r->n);
    report_number(out, "accuracy", r->rate);
    report_number(out, "low", r->lo);
    report_number(out, "high", r->hi);
    str_addc(out, '}');
}

static void report_json_groups(struct str *out, const char *key, const struct stats_group *g,
                               int n)
{
    str_addf(out, ",\n \"%s\": {", key);
    for (int i = 0; i < n; i++) {
        str_adds(out, i ? ", " : "");
        str_add_json(out, g[i].name, strlen(g[i].name));
        str_adds(out, ": ");
        report_json_rate(out, &g[i].rate);
    }
    str_addc(out, '}');
}

void report_json(const struct stats_summary *s, const char *run_json, const char *engine_json,
                 struct str *out)
{
    str_adds(out, "{\"accuracy\": ");
    report_json_rate(out, &s->accuracy);
    str_addf(out, ",\n \"answered\": %zu, \"unparsed\": %zu, \"failed\": %zu, \"no_key\": %zu",
             s->answered, s->unparsed, s->failed, s->no_key);
    report_number(out, "specialist_agreement", s->agreement);
    report_number(out, "ece", s->ece);
    str_addf(out, ", \"ece_n\": %zu", s->n_ece);
    report_json_groups(out, "by_step", s->step, s->n_step);
    report_json_groups(out, "by_specialty", s->specialty, s->n_specialty);
    str_addf(out, ",\n \"per_question\": {\"calls\": %.10g", s->calls);
    report_number(out, "prompt_tokens", s->prompt_tokens);
    report_number(out, "cached_tokens", s->cached_tokens);
    report_number(out, "new_tokens", s->new_tokens);
    report_number(out, "seconds_mean", s->seconds.mean);
    report_number(out, "seconds_median", s->seconds.median);
    report_number(out, "seconds_p95", s->seconds.p95);
    report_number(out, "joules", s->joules);
    report_number(out, "cost_usd", s->cost);
    str_addc(out, '}');
    if (engine_json[0])
        str_addf(out, ",\n \"engine\": %s", engine_json);
    if (run_json[0])
        str_addf(out, ",\n \"run\": %s", run_json);
    str_adds(out, "}\n");
}

/* ---- CSV ----------------------------------------------------------------------------------------- */

static void report_field(struct str *out, const char *s)
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

void report_csv(const struct results *rs, struct str *out)
{
    str_adds(out, "trace_id,question,predicted_answer,correct_answer,is_correct,"
                  "total_latency_seconds,total_tokens,n_specialists\r\n");
    for (size_t i = 0; i < rs->n; i++) {
        const struct result *r = &rs->r[i];
        char predicted[2] = "", key[2] = "";
        if (r->predicted >= 0)
            predicted[0] = (char)('A' + r->predicted);
        if (r->key >= 0)
            key[0] = (char)('A' + r->key);
        str_addf(out, "%s,", r->id);
        report_field(out, r->question);
        str_addc(out, ',');
        report_field(out, predicted[0] ? predicted : r->answer);
        str_addf(out, ",%s,%s,%.3f,%lld,%d\r\n", key, r->correct ? "true" : "false", r->seconds,
                 (long long)(r->prompt_tokens + r->new_tokens), r->n_reports);
    }
}
