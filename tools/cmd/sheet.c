#include "sheet.h"

#include <math.h>
#include <string.h>

#include "clinic.h"

#define SHEET_LIST 2048

/* ---- for people ------------------------------------------------------------------------------ */

static void join(char out[SHEET_LIST], const char *const *items, int n)
{
    size_t at = 0;
    out[0] = 0;
    for (int i = 0; i < n && at < SHEET_LIST - 1; i++) {
        int k = snprintf(out + at, SHEET_LIST - at, "%s%s", i ? "; " : "", items[i]);
        at += k > 0 ? (size_t)k : 0;
    }
}

static void list(FILE *f, int width, const char *head, const char *const *items, int n)
{
    char text[SHEET_LIST];
    if (!n)
        return;
    join(text, items, n);
    clinic_wrap(f, width, head, text);
}

static void plan_scores(FILE *f, const struct consult *c)
{
    const struct answer_plan *p = c->plan;
    const struct catalog *cat = c->env->catalog;
    if (p->has_scores)
        fprintf(f, "              %-26s relevance  coverage  urgency  procedure\n", "");
    for (int i = 0; i < cat->n && p->has_scores; i++)
        if (p->score[i].present)
            fprintf(f, "              %-26s %9.2f %9.2f %8.2f %10.2f\n", cat->entry[i].id,
                    p->score[i].relevance, p->score[i].coverage_gain, p->score[i].urgency_alignment,
                    p->score[i].procedural_signal);
    for (int i = 0; i < p->n_selected && p->has_log_p; i++)
        fprintf(f, "              %-26s log p %8.3f\n", cat->entry[p->selected[i]].id,
                p->log_p[p->selected[i]]);
}

void sheet_plan(FILE *f, int width, const struct consult *c)
{
    const struct answer_plan *p = c->plan;
    const struct catalog *cat = c->env->catalog;
    const char *names[CATALOG_MAX];
    char text[SHEET_LIST];
    for (int i = 0; i < p->n_selected; i++)
        names[i] = cat->entry[p->selected[i]].name;
    join(text, names, p->n_selected);
    if (p->triage >= 0)
        clinic_wrap(f, width, "triage        ", cat->entry[p->triage].name);
    clinic_wrap(f, width, "asked         ", text);
    if (p->rationale && p->rationale[0])
        clinic_wrap(f, width, "because       ", p->rationale);
    plan_scores(f, c);
}

static void report(FILE *f, int width, const struct consult *c, const struct answer_report *r)
{
    fprintf(f, "\n%s\n", c->env->catalog->entry[r->specialty].name);
    for (int i = 0; i < r->n_dx; i++) {
        const struct answer_dx *d = &r->dx[i];
        char head[32];
        snprintf(head, sizeof head, "  %4.2f  ", d->p);
        clinic_wrap(f, width, head, d->dx);
        list(f, width, "        for      ", d->evidence_for, d->n_for);
        list(f, width, "        against  ", d->evidence_against, d->n_against);
        list(f, width, "        would tell apart  ", d->discriminators, d->n_discriminators);
    }
    if (r->notes[0])
        clinic_wrap(f, width, "  notes ", r->notes);
}

static void decision(FILE *f, int width, const struct consult *c, const struct result *r)
{
    const struct answer_decision *d = c->decision;
    if (r->predicted >= 0)
        clinic_wrapf(f, width, "decision      ", "%c. %s", 'A' + r->predicted,
                     c->q->option[r->predicted]);
    else if (r->state == CONSULT_ANSWERED)
        clinic_wrap(f, width, "decision      ", r->answer);
    else
        clinic_wrapf(f, width, "decision      ", "none (%s): %s", consult_state_name(r->state),
                     r->why);
    for (int i = 0; i < c->q->n_options && c->has_p; i++)
        clinic_wrapf(f, width, "              ", "%5.1f %%  %c. %s", 100 * c->p_option[i], 'A' + i,
                     c->q->option[i]);
    if (!d)
        return;
    if (d->justification && d->justification[0])
        clinic_wrap(f, width, "because       ", d->justification);
    list(f, width, "differential  ", d->differential, d->n_differential);
    list(f, width, "warnings      ", d->warnings, d->n_warnings);
}

void sheet_print(FILE *f, int width, const struct consult *c, const struct result *r,
                 const char *dir)
{
    char line[512];
    if (c->plan) {
        fprintf(f, "\n");
        sheet_plan(f, width, c);
    }
    for (int i = 0; i < c->n_reports; i++)
        report(f, width, c, &c->reports[i]);
    fprintf(f, "\n");
    decision(f, width, c, r);
    for (const char *w = c->warnings.s; *w;) { /* one a line */
        size_t n = strcspn(w, "\n");
        snprintf(line, sizeof line, "%.*s", (int)(n < 500 ? n : 500), w);
        clinic_wrap(f, width, "noted         ", line);
        w += n + (w[n] == '\n');
    }
    fprintf(f, "\n");
    clinic_wrapf(f, width, "cost          ",
                 "%d call%s, %.1f s, %lld prompt tokens (%lld from the cache), %lld new tokens",
                 r->calls, r->calls == 1 ? "" : "s", r->seconds, (long long)r->prompt_tokens,
                 (long long)r->cached_tokens, (long long)r->new_tokens);
    clinic_wrap(f, width, "trace         ", dir);
}

/* ---- for programs ---------------------------------------------------------------------------- */

static void text(struct str *s, const char *key, const char *v)
{
    str_addf(s, ", \"%s\": ", key);
    str_add_json(s, v, strlen(v));
}

/* A parsed reply is valid JSON as it stands. */
static void replies(struct str *s, const struct consult *c, const char *role)
{
    const char *comma = "";
    for (const struct consult_call *k = c->first; k; k = k->next) {
        if (strcmp(k->role, role) != 0 || !k->parsed || k->llm.n_options)
            continue;
        str_adds(s, comma);
        str_add(s, k->llm.reply.s, k->llm.reply.len);
        comma = ", ";
    }
}

static void plan_json(struct str *s, const struct consult *c)
{
    const struct answer_plan *p = c->plan;
    const struct catalog *cat = c->env->catalog;
    if (p->triage >= 0)
        text(s, "triage_generalist", cat->entry[p->triage].id);
    str_adds(s, ", \"selected_specialties\": [");
    for (int i = 0; i < p->n_selected; i++)
        str_addf(s, "%s\"%s\"", i ? ", " : "", cat->entry[p->selected[i]].id);
    str_addc(s, ']');
    for (int i = 0; i < cat->n && p->has_log_p; i++)
        str_addf(s, "%s\"%s\": %.9g%s", i ? ", " : ", \"log_p\": {", cat->entry[i].id, p->log_p[i],
                 i + 1 < cat->n ? "" : "}");
    str_adds(s, ", \"planner\": [");
    replies(s, c, "planner");
    str_addc(s, ']');
}

void sheet_noise(FILE *f, int width, const char *noise)
{
    if (*noise)
        clinic_wrap(f, width, "NOISE         ", noise);
}

void sheet_json(FILE *f, const struct consult *c, const struct result *r, const char *dir,
                const char *noise)
{
    struct str s = STR_INIT;
    str_addf(&s, "{\"state\": \"%s\"", consult_state_name(r->state));
    if (noise && *noise)
        text(&s, "noise", noise);
    else if (noise)
        str_adds(&s, ", \"noise\": null");
    if (r->predicted >= 0)
        str_addf(&s, ", \"predicted\": \"%c\"", 'A' + r->predicted);
    text(&s, "answer", r->predicted >= 0 ? c->q->option[r->predicted] : r->answer);
    text(&s, "why", r->why);
    if (c->plan)
        plan_json(&s, c);
    str_adds(&s, ", \"reports\": [");
    replies(&s, c, "specialist");
    str_adds(&s, "], \"decision\": [");
    replies(&s, c, "aggregator");
    replies(&s, c, "answer");
    str_addc(&s, ']');
    for (int i = 0; i < c->q->n_options && c->has_p; i++)
        str_addf(&s, "%s%.9g%s", i ? ", " : ", \"p\": [", c->p_option[i],
                 i + 1 < c->q->n_options ? "" : "]");
    text(&s, "notes", c->warnings.s);
    str_addf(&s,
             ", \"calls\": %d, \"seconds\": %.6f, \"prompt_tokens\": %lld, \"cached_tokens\": "
             "%lld, \"new_tokens\": %lld",
             r->calls, r->seconds, (long long)r->prompt_tokens, (long long)r->cached_tokens,
             (long long)r->new_tokens);
    text(&s, "trace", dir);
    str_adds(&s, "}\n");
    if (s.failed)
        fprintf(stderr, "mas: out of memory while printing\n");
    else
        fwrite(s.s, 1, s.len, f);
    str_free(&s);
}
