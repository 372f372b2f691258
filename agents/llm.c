#include "llm.h"

#include <math.h>

#include "check.h"
#include "mem.h"

const char *llm_finish_name(enum llm_finish f)
{
    static const char *const names[] = {"stop", "cut", "closed", "cancel", "error"};
    return names[f];
}

void llm_call_clear(struct llm_call *c)
{
    if (c->reply.s) /* a call that was zeroed and never sent has no string yet */
        str_free(&c->reply);
    c->reply = (struct str)STR_INIT;
    mem_free(c->option_lp);
    mem_free(c->option_tokens);
    c->option_lp = NULL;
    c->option_tokens = NULL;
    c->finish = LLM_STOP;
    c->err = (struct err){.code = 0};
    c->n_prompt = c->n_cached = c->n_new = c->n_pass = c->n_drafted = c->n_accepted = 0;
    c->mean_lp = c->seconds = c->first_seconds = 0;
    c->own_len = 0;
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
    return l->api->submit(l, c, e);
}

int llm_check(struct llm *l, const struct llm_call *c, struct err *e)
{
    return l->api->check(l, c, e);
}

/* The progress of a cancelled call depends on chance, so nothing of its reply is kept. */
static void llm_drop(struct llm_call *c)
{
    str_free(&c->reply);
    mem_free(c->option_lp);
    mem_free(c->option_tokens);
    c->option_lp = NULL;
    c->option_tokens = NULL;
    c->finish = LLM_CANCEL;
    c->err = (struct err){.code = 0};
    c->n_cached = c->n_new = c->n_pass = c->n_drafted = c->n_accepted = 0;
    c->mean_lp = c->first_seconds = (double)NAN;
    c->own_len = 0;
}

struct llm_call *llm_next(struct llm *l, int timeout_ms)
{
    struct llm_call *c = l->api->next(l, timeout_ms);
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

int llm_count_tokens(struct llm *l, const struct llm_call *c, int *out, struct err *e)
{
    return l->api->count_tokens(l, c, out, e);
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
