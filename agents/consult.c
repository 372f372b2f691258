#include "consult.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "agent_options.h"
#include "check.h"
#include "rng.h"
#include "strategy.h"

const char *consult_state_name(enum consult_state s)
{
    static const char *const names[] = {"open",   "answered", "unparsed",
                                        "failed", "planned",  "reported"};
    return names[s];
}

static uint64_t consult_fold(uint64_t h, const char *s)
{
    for (; *s; s++)
        h = rng_mix(h ^ (unsigned char)*s);
    return rng_mix(h ^ 0x100); /* an end, so that "ab","c" and "a","bc" differ */
}

uint64_t consult_id(const char *question, const char *role, int index)
{
    return rng_mix(consult_fold(consult_fold(0, question), role) ^ (uint64_t)index);
}

/* Fisher-Yates from the question's own random numbers. */
static void consult_shuffle(struct consult *c)
{
    uint64_t key = rng_key((uint64_t)c->env->options->seed, consult_id(c->q->id, "options", 0), 0);
    for (int i = c->q->n_options - 1; i > 0; i--) {
        int j = (int)rng_below(key, (uint64_t)i, (uint32_t)i + 1), t = c->shown[i];
        c->shown[i] = c->shown[j];
        c->shown[j] = t;
    }
}

#define OPTIONS_HEAD "Options:"

static int consult_options(struct consult *c, struct err *e)
{
    struct str s = STR_INIT;
    if (c->q->n_options)
        str_adds(&s, OPTIONS_HEAD);
    else
        str_adds(&s, "There are no options: answer in a few words.");
    for (int i = 0; i < c->q->n_options; i++)
        str_addf(&s, "\n%c. %s", 'A' + i, c->q->option[c->shown[i]]);
    int rc = str_ok(&s, "options", e);
    if (!rc) {
        c->options = arena_strndup(&c->arena, s.s, s.len);
        if (!c->options)
            rc = NOMEM(e, s.len, "options");
    }
    str_free(&s);
    return rc;
}

const char *consult_option_lines(const struct consult *c)
{
    return c->q->n_options ? c->options + sizeof OPTIONS_HEAD : ""; /* the head and its newline */
}

int consult_open(const struct strategy_env *env, const struct medqa_question *q,
                 struct consult **out, struct err *e)
{
    struct consult *c = mem_zalloc(1, sizeof *c);
    int rc;
    if (!c)
        return NOMEM(e, sizeof *c, "a case");
    c->env = env;
    c->q = q;
    c->predicted = -1;
    c->agreement = c->agreement_class = (double)NAN;
    c->joules = (double)NAN;
    c->warnings = (struct str)STR_INIT;
    for (int i = 0; i < q->n_options; i++)
        c->shown[i] = i;
    if (env->shuffle)
        consult_shuffle(c);
    TRY_DONE(consult_options(c, e));
    *out = c;
    c = NULL;
done:
    consult_close(c);
    return rc;
}

void consult_close(struct consult *c)
{
    if (!c)
        return;
    CHECK_MSG(!c->n_open, "a call is still with the llm");
    for (struct consult_call *k = c->first; k; k = k->next)
        llm_call_clear(&k->llm);
    str_free(&c->warnings);
    arena_free(&c->arena);
    mem_free(c);
}

int64_t consult_tokens(const struct consult *c)
{
    int64_t sum = 0;
    for (const struct consult_call *k = c->first; k; k = k->next)
        if (k->done)
            sum += k->llm.n_prompt + k->llm.n_think + k->llm.n_new;
    return sum;
}

bool consult_spent(const struct consult *c)
{
    int64_t most = c->env->options->max_tokens_per_case;
    return !c->n_open && most > 0 && consult_tokens(c) > most;
}

void consult_overspent(struct consult *c)
{
    consult_fail(c, "token budget exceeded: %lld used, budgets.max_tokens_per_case is %lld",
                 (long long)consult_tokens(c), (long long)c->env->options->max_tokens_per_case);
    c->predicted = -1;
    c->answer = NULL;
    c->has_p = c->has_lp = false;
}

static int consult_budget(const struct consult *c, const char *role, struct err *e)
{
    int64_t most = c->env->options->max_tokens_per_case, used = consult_tokens(c);
    if (most > 0 && used >= most)
        FAIL(e, ERR_DATA,
             "token budget spent before the %s: %lld used, budgets.max_tokens_per_case is %lld",
             role, (long long)used, (long long)most);
    return 0;
}

static int consult_prompt(struct consult *c, const struct consult_ask *ask, struct consult_call *k,
                          struct err *e)
{
    struct str user = STR_INIT;
    prompt_render(ask->prompt, ask->values, &user);
    int rc = str_ok(&user, "a prompt", e);
    if (!rc) {
        k->llm.user = arena_strndup(&c->arena, user.s, user.len);
        k->llm.user_len = user.len;
        k->llm.system = prompt_system(ask->prompt, &k->llm.system_len);
        if (!k->llm.user)
            rc = NOMEM(e, user.len, "a prompt");
    }
    str_free(&user);
    return rc;
}

/* Makes the call of ask; the arena holds it. */
static int consult_make(struct consult *c, const struct consult_ask *ask, struct consult_call **out,
                        struct err *e)
{
    const struct agent_options *cfg = c->env->options;
    struct consult_call *k = arena_alloc(&c->arena, 1, sizeof *k);
    if (!k)
        return NOMEM(e, sizeof *k, "a call");
    k->of = c;
    k->role = ask->role;
    k->index = ask->index;
    k->specialty = ask->specialty;
    k->prompt = ask->prompt;
    k->llm.reply = k->llm.think = (struct str)STR_INIT;
    TRY(consult_prompt(c, ask, k, e));
    k->llm.id = consult_id(c->q->id, ask->role->name, ask->index);
    k->llm.role = ask->role->name;
    k->llm.about = c->q->id;
    k->llm.seed = (uint64_t)cfg->seed;
    /* earlier cases first: they end one by one, not all at the end */
    k->llm.rank = (uint32_t)c->q->index;
    k->llm.reply_prefix = ask->reply_prefix;
    k->llm.raw = ask->raw;
    k->llm.no_bos = ask->no_bos;
    k->llm.schema = ask->schema;
    k->llm.max_tokens = ask->role->needs & LLM_CAN_SCORE ? 0
                        : ask->most                      ? ask->most
                                                         : strategy_tokens(cfg, ask->role);
    k->llm.max_think = strategy_think(c->env, ask->role);
    k->llm.temperature = (float)strategy_temperature(cfg, ask->role);
    k->llm.top_p = (float)cfg->top_p;
    k->llm.min_p = (float)cfg->min_p;
    k->llm.top_k = (int)cfg->top_k;
    k->llm.choice = c->q->n_options ? ask->letter : NULL;
    k->llm.n_choice = ask->letter ? c->q->n_options : 0;
    k->llm.options = ask->options;
    k->llm.n_options = ask->n_options;
    k->llm.user_data = k;
    CHECK_MSG(!(llm_call_needs(&k->llm) & ~ask->role->needs), "a role needs more than it declares");
    CHECK_MSG(!ask->index || ask->role->many, "a role is asked twice and does not declare it");
    *out = k;
    return 0;
}

static void consult_text(struct llm_call *l, const char *text, size_t n, bool thinking)
{
    const struct consult_call *k = l->user_data;
    const struct consult_watch *w = k->of->env->watch;
    w->text(k, text, n, thinking, w->user);
}

static int consult_send(struct consult *c, struct consult_call *k, struct err *e)
{
    const struct consult_watch *w = c->env->watch;
    k->number = c->n_calls;
    if (w && w->text)
        k->llm.on_text = consult_text;
    if (w && w->asked)
        w->asked(k, w->user);
    int rc = llm_submit(c->env->llm, &k->llm, e);
    if (rc < 0) {
        llm_call_clear(&k->llm); /* a partly submitted call may hold memory already */
        return err_wrap(e, rc, "%s", k->role->name);
    }
    if (c->last)
        c->last->next = k;
    else
        c->first = k;
    c->last = k;
    c->n_calls++;
    c->n_open++;
    return 0;
}

int consult_submit(struct consult *c, const struct consult_ask *ask, struct err *e)
{
    struct consult_call *k = NULL;
    TRY(consult_budget(c, ask->role->name, e));
    TRY(consult_make(c, ask, &k, e));
    return consult_send(c, k, e);
}

int consult_submit_all(struct consult *c, const struct consult_ask *ask, int n, struct err *e)
{
    struct consult_call **k = arena_alloc(&c->arena, (size_t)n, sizeof(struct consult_call *));
    if (!k)
        return NOMEM(e, (size_t)n * sizeof(struct consult_call *), "calls");
    TRY(consult_budget(c, ask->role->name, e));
    for (int i = 0; i < n; i++) {
        TRY(consult_make(c, &ask[i], &k[i], e));
        int rc = llm_check(c->env->llm, &k[i]->llm, e);
        if (rc < 0)
            return err_wrap(e, rc, "%s %d of %d", ask[i].role->name, i + 1, n);
    }
    for (int i = 0; i < n; i++)
        TRY(consult_send(c, k[i], e));
    return 0;
}

static bool consult_closed(const struct consult_call *call)
{
    return call->llm.finish == LLM_CLOSED && call->llm.own_len < call->llm.reply.len;
}

void consult_warn_closed(const struct consult_call *call, const char *name)
{
    if (consult_closed(call))
        consult_warn(
            call->of,
            "%s: the reply was closed at its limit of %d tokens; unfinished parts are left out",
            name, call->llm.max_tokens);
}

void consult_warn_thinking(struct consult *c)
{
    for (const struct consult_call *k = c->first; k; k = k->next) {
        const char *of = k->specialty >= 0 ? c->env->catalog->entry[k->specialty].id : "";
        if (k->done && k->llm.thought == LLM_THOUGHT_CUT)
            consult_warn(c, "%s%s%s: the thinking was cut at its budget of %d tokens",
                         k->role->name, *of ? " " : "", of, k->llm.max_think);
        if (k->done && k->llm.thought == LLM_THOUGHT_EOS)
            consult_warn(c, "%s%s%s: the model ended its turn while it was thinking", k->role->name,
                         *of ? " " : "", of);
    }
}

void consult_bad(struct consult_call *call, const struct err *why)
{
    call->parsed = false;
    if (!consult_closed(call) || !call->role->key) {
        snprintf(call->why, sizeof call->why, "%.*s", (int)sizeof call->why - 1, why->msg);
        return;
    }
    snprintf(call->why, sizeof call->why,
             "%.120s; the reply was closed at its limit of %d tokens; raise role_tokens.%s",
             why->msg, call->llm.max_tokens, call->role->key);
}

void consult_break(struct consult_call *call, const struct err *why)
{
    consult_bad(call, why);
    call->broken = true;
    call->of->broken = true;
}

void consult_settle(struct consult *c)
{
    if (!c->broken || c->n_open || c->state != CONSULT_OPEN)
        return;
    const struct consult_call *k = c->first;
    while (!k->broken)
        k = k->next;
    consult_fail(c, "%s", k->why);
}

bool consult_usable(struct consult_call *call)
{
    if (call->llm.finish == LLM_STOP || call->llm.finish == LLM_CLOSED)
        return true;
    struct err why;
    if (call->llm.finish == LLM_CUT)
        err_set(&why, ERR_DATA, "the reply was cut at its limit of %d tokens",
                call->llm.max_tokens);
    else
        err_set(&why, ERR_DATA, "%s: %s", llm_finish_name(call->llm.finish), call->llm.err.msg);
    consult_bad(call, &why);
    return false;
}

bool consult_letter_p(const struct consult *c, const struct consult_call *k,
                      double p[MEDQA_OPTIONS])
{
    for (int i = 0; i < k->llm.n_choice && k->llm.has_choice; i++)
        p[c->shown[i]] = exp(k->llm.choice_lp[i]);
    return k->llm.has_choice && k->llm.n_choice;
}

void consult_take_p(struct consult *c, const struct consult_call *k)
{
    c->has_p = consult_letter_p(c, k, c->p_option);
}

int consult_choices(struct consult *c, int n, struct err *e)
{
    char *s = arena_alloc(&c->arena, (size_t)n + 1, 1);
    if (!s)
        return NOMEM(e, (size_t)n + 1, "choices");
    memset(s, '-', (size_t)n);
    s[n] = 0;
    c->choices = s;
    return 0;
}

void consult_choose(struct consult *c, int i, int letter)
{
    if (letter >= 0 && letter < c->q->n_options)
        c->choices[i] = (char)('A' + c->shown[letter]);
}

void consult_answer(struct consult *c, int letter, const char *text)
{
    c->state = CONSULT_ANSWERED;
    c->predicted = letter >= 0 ? c->shown[letter] : -1;
    c->answer = letter >= 0 ? NULL : text;
}

void consult_reopen(struct consult *c)
{
    CHECK_MSG(c->state == CONSULT_ANSWERED, "there is no answer to take back");
    c->state = CONSULT_OPEN;
    c->predicted = -1;
    c->answer = NULL;
    c->has_p = c->has_lp = false;
}

static void consult_end(struct consult *c, enum consult_state s, const char *fmt, va_list ap)
{
    char text[sizeof c->why];
    vsnprintf(text, sizeof text, fmt, ap);
    memcpy(c->why, text, sizeof text);
    c->state = s;
}

void consult_unparsed(struct consult *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    consult_end(c, CONSULT_UNPARSED, fmt, ap);
    va_end(ap);
}

void consult_fail(struct consult *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    consult_end(c, CONSULT_FAILED, fmt, ap);
    va_end(ap);
}

void consult_warn(struct consult *c, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    for (char *p = text; *p; p++)
        if (*p == '\n')
            *p = ' ';
    str_addf(&c->warnings, "%s\n", text);
}
