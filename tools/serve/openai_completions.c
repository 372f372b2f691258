/* POST /v1/completions. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "mem.h"
#include "openai.h"
#include "task.h"

struct completion_args {
#define X(...) FIELD_MEMBER(__VA_ARGS__)
#include "openai_completion.def"
#undef X
};
static const struct field_row rows[] = {
#define X(...) FIELD_ROW(struct completion_args, __VA_ARGS__)
#include "openai_completion.def"
#undef X
};
const struct field_set openai_completion_fields = {
    "CompletionRequest", rows, sizeof rows / sizeof rows[0], sizeof(struct completion_args)};

static void completion_finished(struct task *t)
{
    struct str s = STR_INIT;
    struct gen *g = t->gen;
    str_addf(&s, "{\"id\": \"cmpl-%llu\", \"object\": \"text_completion\", \"created\": %lld, ",
             (unsigned long long)http_id(t->c->http), (long long)time(NULL));
    str_adds(&s, "\"model\": ");
    str_add_json(&s, t->m->name, strlen(t->m->name));
    str_adds(&s, ", \"choices\": [{\"text\": ");
    str_add_json(&s, g->text.s, g->text.len);
    str_addf(&s, ", \"index\": 0, \"logprobs\": null, \"finish_reason\": \"%s\"}]",
             g->finish == GEN_STOP ? "stop" : "length");
    str_addf(&s,
             ", \"usage\": {\"prompt_tokens\": %d, \"completion_tokens\": %d, \"total_tokens\": "
             "%d}}\n",
             g->r.n_prompt, g->n_text, g->r.n_prompt + g->n_text);
    call_reply(t->c, 200, &s);
    gen_free(g);
    mem_free(g);
    task_end(t);
}

static void completion_ready(struct task *t)
{
    const struct completion_args *a = t->c->args;
    struct err e = {0};
    struct gen *g = mem_zalloc(1, sizeof *g);
    int rc = g ? 0 : NOMEM(&e, sizeof *g, "a reply");
    if (g) {
        gen_init(g, t->m, t->s->work);
        t->gen = g;
        t->n_gen = 1;
        g->r.max_new = (int)a->max_tokens;
        g->r.temperature = (float)a->temperature;
        g->r.top_p = (float)a->top_p;
        g->r.seed = serve_seed(t->c, a->seed);
        const char *p = json_string_value(a->prompt);
        rc = p ? serve_encode(t->m, p, json_string_length(a->prompt), TOK_BOS, &g->prompt, &e)
               : err_set(&e, ERR_DATA, "'prompt' is no text");
    }
    if (rc == 0)
        rc = task_run(t, completion_finished, &e);
    if (rc < 0) {
        if (g)
            gen_free(g);
        mem_free(g);
        task_fail_err(t, "prompt", &e);
    }
}

void openai_completions_post(struct call *c)
{
    const struct completion_args *a = c->args;
    task_start(c, a->model, 1, -1, completion_ready, NULL);
}
