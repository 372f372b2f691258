#include "sheet.h"

#include <math.h>
#include <string.h>

#include "clinic.h"
#include "strategy.h"

/* ---- for people ------------------------------------------------------------------------------ */

struct page {
    FILE *f;
    int width;
    bool apart; /* an empty line comes before the first text */
};

static void page_begin(struct page *p)
{
    if (p->apart)
        fputc('\n', p->f);
    p->apart = false;
}

static void page_title(void *user, const char *text)
{
    struct page *p = user;
    p->apart = true;
    page_begin(p);
    clinic_wrap(p->f, p->width, "", text);
}

static void page_text(void *user, const char *head, const char *text)
{
    struct page *p = user;
    page_begin(p);
    clinic_wrap(p->f, p->width, head, text);
}

static void page_row(void *user, const char *text)
{
    struct page *p = user;
    page_begin(p);
    fprintf(p->f, "%s\n", text);
}

static void show(struct page *p, const struct consult *c, enum strategy_part part)
{
    const struct strategy_page to = {page_title, page_text, page_row, p};
    if (c->env->strategy->show)
        c->env->strategy->show(c, part, &to);
}

void sheet_work(FILE *f, int width, const struct consult *c)
{
    show(&(struct page){.f = f, .width = width}, c, STRATEGY_WORK);
}

static void decision(FILE *f, int width, const struct consult *c, const struct result *r)
{
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
    show(&(struct page){.f = f, .width = width}, c, STRATEGY_GROUNDS);
}

void sheet_print(FILE *f, int width, const struct consult *c, const struct result *r,
                 const char *dir)
{
    char line[512];
    show(&(struct page){.f = f, .width = width, .apart = true}, c, STRATEGY_WORK);
    fprintf(f, "\n");
    decision(f, width, c, r);
    for (const char *w = c->warnings.s; *w;) { /* one a line */
        size_t n = strcspn(w, "\n");
        snprintf(line, sizeof line, "%.*s", (int)(n < 500 ? n : 500), w);
        clinic_wrap(f, width, "noted         ", line);
        w += n + (w[n] == '\n');
    }
    fprintf(f, "\n");
    if (r->think_tokens)
        clinic_wrapf(f, width, "thinking      ",
                     "%lld tokens before the replies; the trace and --json have the text",
                     (long long)r->think_tokens);
    clinic_wrapf(f, width, "cost          ",
                 "%d call%s, %.1f s, %lld prompt tokens (%lld from the cache), %lld new tokens",
                 r->calls, r->calls == 1 ? "" : "s", r->seconds, (long long)r->prompt_tokens,
                 (long long)r->cached_tokens, (long long)r->new_tokens);
    if (isfinite(r->joules))
        clinic_wrapf(f, width, "energy        ", "%.4g J (%s)", r->joules, r->energy);
    else if (*r->energy)
        clinic_wrap(f, width, "energy        ", r->energy);
    clinic_wrap(f, width, "trace         ", dir);
}

/* ---- for programs ---------------------------------------------------------------------------- */

static void text(struct str *s, const char *key, const char *v)
{
    str_addf(s, ", \"%s\": ", key);
    str_add_json(s, v, strlen(v));
}

/* The parsed replies of every role that has this member of the object, in order of asking. A reply
 * under a schema is valid JSON already; any other becomes a string. */
static void replies(struct str *s, const struct consult *c, const char *json)
{
    const char *comma = "";
    str_addf(s, ", \"%s\": [", json);
    for (const struct consult_call *k = c->first; k; k = k->next) {
        if (!k->role->json || strcmp(k->role->json, json) != 0 || !k->parsed || k->llm.n_options)
            continue;
        str_adds(s, comma);
        if (k->llm.schema)
            str_add(s, k->llm.reply.s, k->llm.reply.len);
        else
            str_add_json(s, k->llm.reply.s, k->llm.reply.len);
        comma = ", ";
    }
    str_addc(s, ']');
}

/* A member of each name that the strategy's roles have. */
static void all_replies(struct str *s, const struct consult *c)
{
    const struct strategy_role *first = c->env->strategy->role;
    for (const struct strategy_role *r = first; r->name; r++) {
        bool before = !r->json;
        for (const struct strategy_role *q = first; q != r && !before; q++)
            before = q->json && !strcmp(q->json, r->json);
        if (!before)
            replies(s, c, r->json);
    }
}

/* The thinking of every call, in order of asking. */
static void thoughts(struct str *s, const struct consult *c)
{
    const char *comma = "";
    str_adds(s, ", \"thinking\": [");
    for (const struct consult_call *k = c->first; k; k = k->next) {
        if (!k->done || !k->llm.max_think)
            continue;
        str_addf(s, "%s{\"role\": \"%s\", \"index\": %d, \"tokens\": %d, \"end\": \"%s\"", comma,
                 k->role->name, k->index, k->llm.n_think, llm_thought_name(k->llm.thought));
        str_adds(s, ", \"text\": ");
        str_add_json(s, k->llm.think.s, k->llm.think.len);
        str_addc(s, '}');
        comma = ", ";
    }
    str_addc(s, ']');
}

void sheet_noise(FILE *f, int width, const char *noise)
{
    if (*noise)
        clinic_wrap(f, width, "NOISE         ", noise);
}

void sheet_json(const struct consult *c, const struct result *r, const char *dir, const char *noise,
                struct str *out)
{
    str_addf(out, "{\"state\": \"%s\"", consult_state_name(r->state));
    if (noise && *noise)
        text(out, "noise", noise);
    else if (noise)
        str_adds(out, ", \"noise\": null");
    if (r->predicted >= 0)
        str_addf(out, ", \"predicted\": \"%c\"", 'A' + r->predicted);
    text(out, "answer", r->predicted >= 0 ? c->q->option[r->predicted] : r->answer);
    text(out, "why", r->why);
    if (c->env->strategy->facts)
        c->env->strategy->facts(c, STRATEGY_JSON, out);
    all_replies(out, c);
    for (int i = 0; i < c->q->n_options && c->has_p; i++)
        str_addf(out, "%s%.9g%s", i ? ", " : ", \"p\": [", c->p_option[i],
                 i + 1 < c->q->n_options ? "" : "]");
    if (r->think_tokens)
        thoughts(out, c);
    text(out, "notes", c->warnings.s);
    str_addf(out,
             ", \"calls\": %d, \"seconds\": %.6f, \"prompt_tokens\": %lld, \"cached_tokens\": "
             "%lld, \"new_tokens\": %lld",
             r->calls, r->seconds, (long long)r->prompt_tokens, (long long)r->cached_tokens,
             (long long)r->new_tokens);
    if (r->think_tokens)
        str_addf(out, ", \"think_tokens\": %lld", (long long)r->think_tokens);
    if (isfinite(r->joules))
        str_addf(out, ", \"joules\": %.9g", r->joules);
    else
        str_adds(out, ", \"joules\": null");
    text(out, "energy", r->energy);
    text(out, "trace", dir);
    str_adds(out, "}\n");
}
