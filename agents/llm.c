#include "llm.h"

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
    c->llm_slot = NULL;
}

int llm_schema(struct llm *l, const char *json, size_t n, const char *name,
               const struct llm_schema **out, struct err *e)
{
    return l->api->schema(l, json, n, name, out, e);
}

int llm_submit(struct llm *l, struct llm_call *c, struct err *e)
{
    return l->api->submit(l, c, e);
}

struct llm_call *llm_next(struct llm *l, int timeout_ms)
{
    return l->api->next(l, timeout_ms);
}

void llm_cancel(struct llm *l, struct llm_call *c)
{
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
