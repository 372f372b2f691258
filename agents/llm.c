#include "llm.h"

#include <math.h>
#include <stdio.h>

#include "check.h"
#include "mem.h"
#include "span.h"

const char *llm_finish_name(enum llm_finish f)
{
    static const char *const names[] = {"stop", "cut", "closed", "cancel", "error"};
    return names[f];
}

const char *llm_thought_name(enum llm_thought t)
{
    static const char *const names[] = {"none", "empty", "open", "closed", "cut", "eos"};
    return names[t];
}

const char *llm_can_text(unsigned can, char buf[160])
{
    static const struct {
        enum llm_can bit;
        const char *text;
    } names[] = {{LLM_CAN_SCORE, "scores options"},
                 {LLM_CAN_SCHEMA, "obeys a schema"},
                 {LLM_CAN_SEED, "draws by a seed"},
                 {LLM_CAN_LOGPROBS, "reports log-probabilities"},
                 {LLM_CAN_PREFIX, "goes on from a given beginning"},
                 {LLM_CAN_RAW, "takes a raw prompt"},
                 {LLM_CAN_CHOICE, "weighs letters"},
                 {LLM_CAN_PROMPT, "scores its prompt"}};
    size_t n = 0;
    buf[0] = 0;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (can & names[i].bit)
            n += (size_t)snprintf(buf + n, 160 - n, "%s%s", n ? ", " : "", names[i].text);
    return buf;
}

unsigned llm_call_needs(const struct llm_call *c)
{
    const unsigned score = c->score_prompt ? LLM_CAN_PROMPT : LLM_CAN_SCORE;
    return (c->max_tokens <= 0 ? score : 0u) | (c->schema ? LLM_CAN_SCHEMA : 0u) |
           (c->reply_prefix ? LLM_CAN_PREFIX : 0u) | (c->raw ? LLM_CAN_RAW : 0u);
}

static int llm_check_raw(const struct llm_call *c, struct err *e)
{
    if (c->score_prompt && (c->max_tokens > 0 || c->n_options))
        FAIL(e, ERR_BUG, "a prompt to score with %s", c->n_options ? "options" : "a reply");
    if (c->raw && (c->system_len || c->reply_prefix || c->max_think))
        FAIL(e, ERR_BUG, "a raw prompt with %s",
             c->system_len     ? "a system text"
             : c->reply_prefix ? "the beginning of a reply"
                               : "thinking");
    return 0;
}

void llm_call_clear(struct llm_call *c)
{
    if (c->reply.s) /* a call that was zeroed and never sent has no string yet */
        str_free(&c->reply);
    if (c->think.s)
        str_free(&c->think);
    c->reply = c->think = (struct str)STR_INIT;
    mem_free(c->option_lp);
    mem_free(c->option_tokens);
    mem_free(c->token);
    c->option_lp = NULL;
    c->option_tokens = NULL;
    c->token = NULL;
    c->n_token = 0;
    c->has_choice = false;
    c->thought = LLM_THOUGHT_NONE;
    c->n_think = 0;
    c->finish = LLM_STOP;
    c->err = (struct err){.code = 0};
    c->n_prompt = c->n_cached = c->n_new = c->n_pass = c->n_drafted = c->n_accepted = 0;
    c->mean_lp = c->seconds = c->first_seconds = 0;
    c->own_len = 0;
    c->n_retries = c->n_repairs = 0;
    c->retried[0] = c->fingerprint[0] = 0;
    c->llm_slot = NULL;
    c->cancelled = false;
}

int llm_schema(struct llm *l, const char *json, size_t n, const char *name,
               const struct llm_schema **out, struct err *e)
{
    return l->api->schema(l, json, n, name, out, e);
}

int llm_submit(struct llm *l, struct llm_call *c, struct err *e)
{
    c->own_len = 0;
    c->cancelled = false;
    TRY(llm_check_raw(c, e));
    int rc = l->api->submit(l, c, e);
    if (rc == 0 && l->spans) {
        struct span span = span_of(SPAN_CALL, c->role ? c->role : "call", -1, 0);
        span.detail = c->about ? c->about : "";
        spans_start(l->spans, (uint64_t)(uintptr_t)c, &span);
    }
    return rc;
}

int llm_check(struct llm *l, const struct llm_call *c, struct err *e)
{
    TRY(llm_check_raw(c, e));
    return l->api->check(l, c, e);
}

/* The progress of a cancelled call depends on chance, so nothing of its reply is kept. */
static void llm_drop(struct llm_call *c)
{
    str_free(&c->reply);
    str_free(&c->think);
    mem_free(c->option_lp);
    mem_free(c->option_tokens);
    c->option_lp = NULL;
    c->option_tokens = NULL;
    c->has_choice = false;
    c->thought = c->max_think ? LLM_THOUGHT_OPEN : c->thought;
    c->n_think = 0;
    c->finish = LLM_CANCEL;
    c->err = (struct err){.code = 0};
    c->n_cached = c->n_new = c->n_pass = c->n_drafted = c->n_accepted = 0;
    c->mean_lp = c->first_seconds = (double)NAN;
    c->own_len = 0;
}

struct llm_call *llm_next(struct llm *l, int timeout_ms)
{
    struct llm_call *c = l->api->next(l, timeout_ms);
    if (c)
        spans_finish(l->spans, (uint64_t)(uintptr_t)c);
    if (c && (c->cancelled || c->finish == LLM_CANCEL))
        llm_drop(c);
    else if (c && c->finish != LLM_CLOSED)
        c->own_len = c->reply.len;
    CHECK(!c || c->own_len <= c->reply.len);
    return c;
}

void llm_cancel(struct llm *l, struct llm_call *c)
{
    c->cancelled = true;
    l->api->cancel(l, c);
}

void llm_watch(struct llm *l, struct spans *spans)
{
    l->spans = spans;
}

bool llm_gauge(struct llm *l, struct llm_gauge *out)
{
    if (!l->api->gauge)
        return false;
    l->api->gauge(l, out);
    return true;
}

void llm_figures(struct llm *l, enum llm_figures form, struct str *out)
{
    if (l->api->figures)
        l->api->figures(l, form, out);
}

void llm_placement(struct llm *l, struct str *out)
{
    if (l->api->placement)
        l->api->placement(l, out);
}

const struct llm_info *llm_info(struct llm *l)
{
    return l->api->info(l);
}

void llm_close(struct llm *l)
{
    if (l)
        l->api->close(l);
}
