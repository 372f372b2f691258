/* cot: one call that reasons first and answers last, decoded as {reasoning, final_answer}.
 *
 * With a budget, the reply of a question is limited to the question's budget, if the role's own
 * limit is not lower. A reply that ends by itself spends less.
 *
 * The answer is the last thing written. A reply that had to be closed at its token limit before the
 * model had written its letter counts as unparsed. */
#include "budget.h"
#include "mem.h"
#include "strategy.h"

#define COT_LEAST_TOKENS 64

static const struct strategy_role cot_roles[] = {{.name = "answer",
                                                  .doc = "reasons first and answers last",
                                                  .key = "cot",
                                                  .needs = LLM_CAN_SCHEMA,
                                                  .temperature = -1,
                                                  .json = "decision"},
                                                 {.name = NULL}};

struct cot {
    struct prompt *prompt;
    const struct llm_schema *schema[MEDQA_OPTIONS + 1]; /* by number of options */
};

static void cot_close(void *state)
{
    struct cot *t = state;
    if (!t)
        return;
    prompt_close(t->prompt);
    mem_free(t);
}

static int cot_open(const struct strategy_env *env, struct str *describe, void **state,
                    struct err *e)
{
    static const char *const slots[] = {"question", "options", NULL};
    struct prompt_source src = {env->options->prompts_dir, "cot"};
    int rc;
    TRY(strategy_least_tokens(env->options, cot_roles, COT_LEAST_TOKENS, e));
    struct cot *t = mem_zalloc(1, sizeof *t);
    if (!t)
        return NOMEM(e, sizeof *t, "a strategy");
    TRY_DONE(prompt_open(&src, "answer", NULL, 0, slots, &t->prompt, e));
    strategy_describe(describe, prompt_name(t->prompt), prompt_hash(t->prompt));
    for (int n = 0; n <= MEDQA_OPTIONS; n++) {
        char form[96];
        strategy_answer_form(n, form);
        struct prompt_constant c = {"answer", form};
        TRY_DONE(strategy_schema(env, &src, "answer.json", &c, 1, n == 4 ? describe : NULL,
                                 &t->schema[n], e));
    }
    *state = t;
    t = NULL;
done:
    cot_close(t);
    return rc;
}

static int cot_start(const void *state, struct consult *c, struct err *e)
{
    const struct cot *t = state;
    const char *values[] = {c->q->text, c->options};
    struct consult_ask ask = {.role = cot_roles,
                              .specialty = -1,
                              .prompt = t->prompt,
                              .values = values,
                              .schema = t->schema[c->q->n_options],
                              .letter = "final_answer"};
    if (c->env->budget) {
        const int64_t given = budget_of(c->env->budget, c->q->id);
        const int most = strategy_tokens(c->env->options, cot_roles);
        ask.most = given < COT_LEAST_TOKENS ? COT_LEAST_TOKENS : given < most ? (int)given : most;
    }
    return consult_submit(c, &ask, e);
}

static int cot_step(const void *state, struct consult *c, struct consult_call *call, struct err *e)
{
    (void)state;
    struct err why = {.code = 0};
    struct answer_decision *d = arena_alloc(&c->arena, 1, sizeof *d);
    if (!d)
        return NOMEM(e, sizeof *d, "an answer");
    if (!consult_usable(call)) {
        consult_unparsed(c, "%s", call->why);
        return 0;
    }
    int rc = answer_reasoned(call->llm.reply.s, call->llm.reply.len, call->llm.own_len,
                             c->q->n_options, &c->arena, d, &why);
    if (rc == ERR_NOMEM)
        FAIL(e, rc, "%s", why.msg);
    if (rc < 0) {
        consult_bad(call, &why);
        consult_unparsed(c, "%s", call->why);
        return 0;
    }
    call->parsed = true;
    consult_warn_closed(call, call->role->name);
    c->data = d;
    consult_take_p(c, call);
    consult_answer(c, d->letter, d->text);
    return 0;
}

static void cot_show(const struct consult *c, enum strategy_part part,
                     const struct strategy_page *p)
{
    if (part == STRATEGY_GROUNDS)
        strategy_show_decision(p, c->data);
}

const struct strategy strategy_cot = {
    .name = "cot",
    .doc = "reasons step by step, then answers: one call",
    .role = cot_roles,
    .matches = true,
    .open = cot_open,
    .close = cot_close,
    .start = cot_start,
    .step = cot_step,
    .show = cot_show,
};
