#include "speaker.h"

#include <stdio.h>
#include <string.h>

static const char *const votes[] = {
    [SPEAKER_AGREE] = "agree", [SPEAKER_DISAGREE] = "disagree", NULL};
static const char *const levels[] = {
    [SPEAKER_LOW] = "low", [SPEAKER_MODERATE] = "moderate", [SPEAKER_HIGH] = "high", NULL};

static const struct form {
    const char *file;
    bool answers; /* has the member final_answer, by number of options */
    int tokens;   /* below this limit a reply would be closed before its part that counts */
} forms[] = {
    [SPEAKER_REASONED] = {"reasoned.json", true, 64},
    [SPEAKER_DECISION] = {"decision.json", true, 64},
    [SPEAKER_NOTE] = {"note.json", false, 32},
    [SPEAKER_VOTE] = {"vote.json", false, 48},
    [SPEAKER_SELECT] = {"select.json", false, 32},
    [SPEAKER_LEVEL] = {"level.json", false, 48},
};
#define SPEAKER_ID_TOKENS 12 /* of one specialty's id in a reply */

/* ---- start-up -------------------------------------------------------------------------------- */

/* "a","b",.. as JSON text; the catalogue as lines of a prompt. */
static int speaker_catalog(const struct catalog *cat, struct str *ids, struct str *lines,
                           struct err *e)
{
    for (int i = 0; i < cat->n; i++) {
        str_addf(ids, "%s\"%s\"", i ? ", " : "[", cat->entry[i].id);
        str_addf(lines, "%s%s: %s", i ? "\n" : "", cat->entry[i].id, cat->entry[i].scope);
    }
    str_addc(ids, ']');
    TRY(str_ok(ids, "a schema", e));
    return str_ok(lines, "the catalogue's text", e);
}

/* Several speakers may share a form or a prompt, which is described once. */
static bool speaker_described(const struct str *describe, const char *name)
{
    char quoted[128];
    snprintf(quoted, sizeof quoted, "\"%s\"", name);
    return describe->len && strstr(describe->s, quoted);
}

static int speaker_schemas(const struct strategy_env *env, struct speaker *s, const char *ids,
                           struct str *describe, struct err *e)
{
    const struct form *form = &forms[s->form];
    struct prompt_source src = {env->options->prompts_dir, "forms"};
    char k[16], name[64];
    snprintf(name, sizeof name, "forms/%s", form->file);
    snprintf(k, sizeof k, "%d", s->k);
    bool told = speaker_described(describe, name);
    for (int n = 0; n <= MEDQA_OPTIONS; n++) {
        char answer[96];
        strategy_answer_form(n, answer);
        const struct prompt_constant letters = {"answer", answer};
        const struct prompt_constant select[] = {{"specialty_ids", ids}, {"k", k}};
        if (n && !form->answers) {
            s->schema[n] = s->schema[0];
            continue;
        }
        bool first = n == (form->answers ? 4 : 0) && !told;
        TRY(strategy_schema(env, &src, form->file,
                            form->answers               ? &letters
                            : s->form == SPEAKER_SELECT ? select
                                                        : NULL,
                            form->answers               ? 1
                            : s->form == SPEAKER_SELECT ? 2
                                                        : 0,
                            first ? describe : NULL, &s->schema[n], e));
    }
    return 0;
}

int speaker_open(const struct strategy_env *env, const char *strategy, const struct speaker_file *f,
                 struct str *describe, struct speaker *out, struct err *e)
{
    struct prompt_source src = {env->options->prompts_dir, strategy};
    struct speaker s = {.role = f->role, .form = f->form, .k = f->k};
    struct str system = STR_INIT, ids = STR_INIT, lines = STR_INIT;
    int rc;
    TRY_DONE(strategy_least_tokens(env->options, f->role,
                                   forms[f->form].tokens + f->k * SPEAKER_ID_TOKENS, e));
    TRY_DONE(prompt_text(&src, "system.txt", &system, e));
    TRY_DONE(speaker_catalog(env->catalog, &ids, &lines, e));
    const struct prompt_constant c[] = {{"system", system.s}, {"catalogue", lines.s}};
    TRY_DONE(
        prompt_open(&src, f->prompt, c, f->form == SPEAKER_SELECT ? 2 : 1, f->slots, &s.prompt, e));
    if (!speaker_described(describe, prompt_name(s.prompt)))
        strategy_describe(describe, prompt_name(s.prompt), prompt_hash(s.prompt));
    TRY_DONE(speaker_schemas(env, &s, ids.s, describe, e));
    *out = s;
    s.prompt = NULL;
done:
    speaker_close(&s);
    str_free(&system);
    str_free(&ids);
    str_free(&lines);
    return rc;
}

void speaker_close(struct speaker *s)
{
    prompt_close(s->prompt);
    s->prompt = NULL;
}

/* ---- calls ----------------------------------------------------------------------------------- */

struct consult_ask speaker_ask(const struct speaker *s, const struct consult *c, int index,
                               int specialty, const char *const *values)
{
    return (struct consult_ask){.role = s->role,
                                .index = index,
                                .specialty = specialty,
                                .prompt = s->prompt,
                                .values = values,
                                .schema = s->schema[c->q->n_options],
                                .letter = forms[s->form].answers ? "final_answer" : NULL};
}

int speaker_submit(const struct speaker *s, struct consult *c, int index, int specialty,
                   const char *const *values, struct err *e)
{
    const struct consult_ask ask = speaker_ask(s, c, index, specialty, values);
    return consult_submit(c, &ask, e);
}

int speaker_text(struct consult *c, struct str *s, const char **out, struct err *e)
{
    int rc = str_ok(s, "a text", e);
    if (!rc) {
        *out = arena_strndup(&c->arena, s->s, s->len);
        if (!*out)
            rc = NOMEM(e, s->len, "a text");
    }
    str_free(s);
    return rc;
}

bool speaker_round_over(const struct consult *c)
{
    return !c->n_open && !c->broken;
}

/* ---- replies --------------------------------------------------------------------------------- */

/* Takes the verdict of a reader of replies. */
static int speaker_verdict(struct consult_call *call, int rc, const struct err *why, struct err *e)
{
    if (rc == ERR_NOMEM)
        FAIL(e, rc, "%s", why->msg);
    if (rc < 0)
        consult_bad(call, why);
    call->parsed = !rc;
    return 0;
}

static void *speaker_room(struct consult_call *call, size_t size, struct err *e)
{
    void *p = arena_alloc(&call->of->arena, 1, size);
    if (!p)
        NOMEM(e, size, "a reply");
    return p;
}

int speaker_read_decision(const struct speaker *s, struct consult_call *call,
                          struct answer_decision **out, struct err *e)
{
    const struct llm_call *l = &call->llm;
    struct consult *c = call->of;
    struct err why = {.code = 0};
    struct answer_decision *d = speaker_room(call, sizeof *d, e);
    if (!d)
        return ERR_NOMEM;
    *out = NULL;
    if (!consult_usable(call))
        return 0;
    int rc = s->form == SPEAKER_REASONED ? answer_reasoned(l->reply.s, l->reply.len, l->own_len,
                                                           c->q->n_options, &c->arena, d, &why)
                                         : answer_decision(l->reply.s, l->reply.len, l->own_len,
                                                           c->q->n_options, &c->arena, d, &why);
    TRY(speaker_verdict(call, rc, &why, e));
    *out = call->parsed ? d : NULL;
    return 0;
}

int speaker_read_note(struct consult_call *call, const char **out, struct err *e)
{
    const struct llm_call *l = &call->llm;
    struct err why = {.code = 0};
    *out = NULL;
    if (!consult_usable(call))
        return 0;
    int rc = answer_note(l->reply.s, l->reply.len, l->own_len, &call->of->arena, out, &why);
    return speaker_verdict(call, rc, &why, e);
}

int speaker_read_label(const struct speaker *s, struct consult_call *call,
                       struct answer_label **out, struct err *e)
{
    const struct llm_call *l = &call->llm;
    bool vote = s->form == SPEAKER_VOTE;
    struct err why = {.code = 0};
    struct answer_label *v = speaker_room(call, sizeof *v, e);
    if (!v)
        return ERR_NOMEM;
    *out = NULL;
    if (!consult_usable(call))
        return 0;
    int rc = answer_label(l->reply.s, l->reply.len, l->own_len, vote ? "comment" : "rationale",
                          vote ? "vote" : "complexity", vote ? votes : levels, &call->of->arena, v,
                          &why);
    TRY(speaker_verdict(call, rc, &why, e));
    *out = call->parsed ? v : NULL;
    return 0;
}

const char *speaker_label_name(const struct speaker *s, int label)
{
    return (s->form == SPEAKER_VOTE ? votes : levels)[label];
}

int speaker_read_selection(const struct speaker *s, struct consult_call *call,
                           struct answer_selection **out, struct err *e)
{
    const struct llm_call *l = &call->llm;
    struct consult *c = call->of;
    struct err why = {.code = 0};
    struct answer_selection *v = speaker_room(call, sizeof *v, e);
    if (!v)
        return ERR_NOMEM;
    *out = NULL;
    if (!consult_usable(call))
        return 0;
    int rc = answer_selection(l->reply.s, l->reply.len, l->own_len, c->env->catalog, s->k,
                              &c->arena, v, &why);
    TRY(speaker_verdict(call, rc, &why, e));
    *out = call->parsed ? v : NULL;
    if (*out && v->selected_twice)
        consult_warn(c, "%s: %d of %d names repeat a specialty and are left out", call->role->name,
                     v->selected_twice, s->k);
    return 0;
}

int speaker_decide(const struct speaker *s, struct consult_call *call, struct answer_decision **out,
                   struct err *e)
{
    TRY(speaker_read_decision(s, call, out, e));
    if (!*out) {
        consult_unparsed(call->of, "%s: %s", call->role->name, call->why);
        return 0;
    }
    consult_warn_closed(call, call->role->name);
    consult_take_p(call->of, call);
    consult_answer(call->of, (*out)->letter, (*out)->text);
    return 0;
}

const struct consult_call *speaker_first(const struct consult *c, const struct strategy_role *r,
                                         int index)
{
    const struct consult_call *k = c->first;
    while (k && (k->role != r || k->index < index))
        k = k->next;
    return k;
}

const char *speaker_answer_name(const struct consult *c, const struct answer_decision *d,
                                char buf[2])
{
    if (d->letter < 0)
        return d->text;
    buf[0] = (char)('A' + c->shown[d->letter]);
    buf[1] = 0;
    return buf;
}

void speaker_take_mean_p(struct consult *c, const struct consult_call *const *k, int n)
{
    double sum[MEDQA_OPTIONS] = {0}, p[MEDQA_OPTIONS];
    for (int i = 0; i < n; i++) {
        if (!consult_letter_p(c, k[i], p))
            return;
        for (int j = 0; j < c->q->n_options; j++)
            sum[j] += p[j];
    }
    for (int j = 0; j < c->q->n_options; j++)
        c->p_option[j] = sum[j] / n;
    c->has_p = true;
}

int speaker_choices(struct consult *c, const struct answer_decision *const *d, int n, struct err *e)
{
    if (!c->q->n_options)
        return 0;
    TRY(consult_choices(c, n, e));
    for (int i = 0; i < n; i++)
        consult_choose(c, i, d[i] ? d[i]->letter : -1);
    return 0;
}

int speaker_votes(struct consult *c, struct answer_label *const *v, int n, struct err *e)
{
    TRY(consult_choices(c, n, e));
    for (int i = 0; i < n; i++)
        if (v[i])
            c->choices[i] = v[i]->label == SPEAKER_AGREE ? 'Y' : 'N';
    return 0;
}

void speaker_warn(struct consult *c, const struct consult_call *first)
{
    for (const struct consult_call *k = first; k; k = k->next) {
        char name[96];
        if (k->specialty >= 0)
            snprintf(name, sizeof name, "%s %s", k->role->name,
                     c->env->catalog->entry[k->specialty].id);
        else if (k->role->many)
            snprintf(name, sizeof name, "%s %d", k->role->name, k->index + 1);
        else
            snprintf(name, sizeof name, "%s", k->role->name);
        if (!k->parsed)
            consult_warn(c, "%s gave nothing that can be used: %s", name, k->why);
        else
            consult_warn_closed(k, name);
    }
}
