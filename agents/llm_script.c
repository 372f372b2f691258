/* The scripted llm: a function answers the calls, in an order shuffled by a seed. A token is four
 * bytes of text, rounded up; the context holds 8,192 of them. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "llm.h"
#include "mem.h"
#include "rng.h"

#define SCRIPT_CONTEXT 8192
#define SCRIPT_SLOTS 16
#define SCRIPT_PIECE 7 /* most bytes of a call of on_text */

struct llm_schema {
    struct llm_schema *next;
    char *text;
};

struct script {
    struct llm llm; /* first: what the caller holds */
    llm_script_fn fn;
    void *user;
    uint64_t seed, taken;
    struct llm_call **waiting; /* (n), in order of submission but for removals */
    size_t n, cap;
    struct llm_schema *schemas;
    struct llm_info info;
};

static int script_tokens(size_t bytes)
{
    return (int)((bytes + 3) / 4);
}

static int script_count(const struct llm_call *c, int *out, struct err *e)
{
    size_t prefix = c->reply_prefix ? strlen(c->reply_prefix) : 0;
    if (c->system_len + c->user_len + prefix > (size_t)1 << 30)
        FAIL(e, ERR_DATA, "prompt of %zu bytes", c->system_len + c->user_len + prefix);
    *out = script_tokens(c->system_len + c->user_len + prefix);
    return 0;
}

/* The text must be JSON; its meaning is for the function that answers. */
static int script_schema(struct llm *l, const char *json, size_t n, const char *name,
                         const struct llm_schema **out, struct err *e)
{
    struct script *s = (struct script *)l;
    json_error_t je = {.position = 0};
    json_t *doc = json_loadb(json, n, JSON_REJECT_DUPLICATES, &je);
    if (!doc && (json_error_code(&je) == json_error_out_of_memory || !je.text[0]))
        return NOMEM(e, n, "a schema");
    if (!doc)
        FAIL(e, ERR_CONFIG, "%s:%d: %s", name, je.line, je.text);
    json_decref(doc);
    struct llm_schema *made = mem_zalloc(1, sizeof *made);
    if (!made)
        return NOMEM(e, sizeof *made, "a schema");
    made->text = mem_strndup(json, n);
    if (!made->text) {
        mem_free(made);
        return NOMEM(e, n, "a schema");
    }
    made->next = s->schemas;
    s->schemas = made;
    *out = made;
    return 0;
}

const char *llm_script_schema(const struct llm_schema *s)
{
    return s->text;
}

static int script_check(struct llm *l, const struct llm_call *c, struct err *e)
{
    const struct script *s = (const struct script *)l;
    int prompt = 0;
    TRY(script_count(c, &prompt, e));
    if (c->max_think && !s->info.thinks)
        FAIL(e, ERR_DATA, "thinking of %d tokens: the model does not think", c->max_think);
    if ((int64_t)prompt + c->max_think + c->max_tokens > SCRIPT_CONTEXT)
        FAIL(e, ERR_DATA,
             "prompt of %d tokens + thinking of %d + reply of %d exceed the context of %d", prompt,
             c->max_think, c->max_tokens, SCRIPT_CONTEXT);
    return 0;
}

static int script_submit(struct llm *l, struct llm_call *c, struct err *e)
{
    struct script *s = (struct script *)l;
    int prompt = 0;
    TRY(script_check(l, c, e));
    TRY(script_count(c, &prompt, e));
    TRY(mem_grow(&s->waiting, &s->cap, s->n + 1, sizeof(struct llm_call *), "calls", e));
    llm_call_clear(c);
    c->n_prompt = prompt;
    c->mean_lp = (double)NAN;
    if (c->n_options) {
        c->option_lp = mem_zalloc((size_t)c->n_options, sizeof *c->option_lp);
        c->option_tokens = mem_zalloc((size_t)c->n_options, sizeof *c->option_tokens);
        if (!c->option_lp || !c->option_tokens) {
            llm_call_clear(c);
            return NOMEM(e, (size_t)c->n_options * sizeof *c->option_lp, "scores");
        }
        for (int i = 0; i < c->n_options; i++) {
            c->option_lp[i] = (double)NAN;
            c->option_tokens[i] = script_tokens(c->options[i].n);
        }
    }
    if (c->score_prompt) {
        c->token = mem_zalloc((size_t)prompt, sizeof *c->token);
        if (!c->token) {
            llm_call_clear(c);
            return NOMEM(e, (size_t)prompt * sizeof *c->token, "scores");
        }
        for (c->n_token = 0; c->n_token < prompt; c->n_token++)
            c->token[c->n_token].lp = (double)NAN;
    }
    s->waiting[s->n++] = c;
    return 0;
}

/* Passes a text on in pieces of a few characters. */
static void script_say(struct llm_call *c, const struct str *s, bool thinking)
{
    for (size_t at = 0, n; at < s->len; at += n) {
        size_t left = s->len - at;
        n = utf8_complete(s->s + at, left < SCRIPT_PIECE ? left : SCRIPT_PIECE);
        n = n ? n : left; /* a text that ends within a character */
        c->on_text(c, s->s + at, n, thinking);
    }
}

static struct llm_call *script_next(struct llm *l, int timeout_ms)
{
    struct script *s = (struct script *)l;
    (void)timeout_ms;
    if (!s->n)
        return NULL;
    size_t at = rng_below(rng_key(s->seed, s->taken, 0), s->n, (uint32_t)s->n);
    struct llm_call *c = s->waiting[at];
    s->taken++;
    s->n--;
    memmove(s->waiting + at, s->waiting + at + 1, (s->n - at) * sizeof(struct llm_call *));
    if (c->finish == LLM_CANCEL)
        return c;
    if (s->info.thinks)
        c->thought = c->max_think ? LLM_THOUGHT_CLOSED : LLM_THOUGHT_EMPTY;
    s->fn(c, s->user);
    if (!c->n_new)
        c->n_new = script_tokens(c->reply.len);
    if (!c->n_think)
        c->n_think = script_tokens(c->think.len);
    if (c->on_text && !c->cancelled) {
        script_say(c, &c->think, true);
        script_say(c, &c->reply, false);
    }
    return c;
}

static void script_cancel(struct llm *l, struct llm_call *c)
{
    (void)l;
    c->finish = LLM_CANCEL;
}

static const struct llm_info *script_info(struct llm *l)
{
    return &((struct script *)l)->info;
}

static void script_close(struct llm *l)
{
    struct script *s = (struct script *)l;
    for (struct llm_schema *m = s->schemas, *next; m; m = next) {
        next = m->next;
        mem_free(m->text);
        mem_free(m);
    }
    mem_free(s->waiting);
    mem_free(s);
}

static const struct llm_api script_api = {
    .schema = script_schema,
    .submit = script_submit,
    .check = script_check,
    .next = script_next,
    .cancel = script_cancel,
    .info = script_info,
    .close = script_close,
};

int llm_script_open(llm_script_fn fn, void *user, uint64_t seed, struct llm **out, struct err *e)
{
    struct script *s = mem_zalloc(1, sizeof *s);
    if (!s)
        return NOMEM(e, sizeof *s, "a scripted llm");
    s->llm.api = &script_api;
    s->fn = fn;
    s->user = user;
    s->seed = seed;
    s->info.provider = "script";
    s->info.can = LLM_CAN_ALL;
    snprintf(s->info.model, sizeof s->info.model, "script");
    snprintf(s->info.backend, sizeof s->info.backend, "script");
    snprintf(s->info.chat, sizeof s->info.chat, "plain");
    memset(s->info.model_sha256, '0', 64);
    s->info.n_ctx = SCRIPT_CONTEXT;
    s->info.slots = SCRIPT_SLOTS;
    *out = &s->llm;
    return 0;
}

void llm_script_can(struct llm *l, unsigned can)
{
    ((struct script *)l)->info.can = can;
}

void llm_script_thinks(struct llm *l, bool thinks)
{
    ((struct script *)l)->info.thinks = thinks;
}
