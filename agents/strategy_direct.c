/* direct: the letter whose text the model finds likeliest after the question. No generation, no
 * sampling: one scoring call. The reply is led in with "Answer:", so that the probability lies on
 * the letters and not on a preamble. An exact tie is no answer. */
#include <math.h>

#include "mem.h"
#include "strategy.h"

/* Nothing is drawn: the role has no temperature and no token limit. */
static const struct strategy_role direct_roles[] = {{.name = "answer",
                                                     .doc = "scores the letters of the options",
                                                     .needs = LLM_CAN_SCORE | LLM_CAN_PREFIX,
                                                     .json = "decision"},
                                                    {.name = NULL}};

struct direct {
    struct prompt *prompt;
    char text[MEDQA_OPTIONS][3]; /* " A", " B", .. */
    struct llm_text letter[MEDQA_OPTIONS];
};

static void direct_close(void *state)
{
    struct direct *d = state;
    if (!d)
        return;
    prompt_close(d->prompt);
    mem_free(d);
}

static int direct_open(const struct strategy_env *env, struct str *describe, void **state,
                       struct err *e)
{
    static const char *const slots[] = {"question", "options", NULL};
    struct prompt_source src = {env->options->prompts_dir, "direct"};
    struct direct *d = mem_zalloc(1, sizeof *d);
    int rc;
    if (!d)
        return NOMEM(e, sizeof *d, "a strategy");
    for (int i = 0; i < MEDQA_OPTIONS; i++) {
        d->text[i][0] = ' ';
        d->text[i][1] = (char)('A' + i);
        d->letter[i] = (struct llm_text){d->text[i], 2};
    }
    TRY_DONE(prompt_open(&src, "answer", NULL, 0, slots, &d->prompt, e));
    strategy_describe(describe, prompt_name(d->prompt), prompt_hash(d->prompt));
    *state = d;
    d = NULL;
done:
    direct_close(d);
    return rc;
}

static int direct_start(const void *state, struct consult *c, struct err *e)
{
    const struct direct *d = state;
    const char *values[] = {c->q->text, c->options};
    struct consult_ask ask = {.role = direct_roles,
                              .specialty = -1,
                              .prompt = d->prompt,
                              .values = values,
                              .reply_prefix = "Answer:",
                              .options = d->letter,
                              .n_options = c->q->n_options};
    return consult_submit(c, &ask, e);
}

/* Probabilities among the letters: softmax of their log-probabilities. */
static void direct_probabilities(struct consult *c, const double *lp, double top)
{
    double sum = 0;
    for (int i = 0; i < c->q->n_options; i++)
        sum += exp(lp[i] - top);
    for (int i = 0; i < c->q->n_options; i++)
        c->p_option[c->shown[i]] = exp(lp[i] - top) / sum;
    c->has_p = true;
}

static int direct_step(const void *state, struct consult *c, struct consult_call *call,
                       struct err *e)
{
    (void)state;
    (void)e;
    const double *lp = call->llm.option_lp;
    struct err why;
    int best = 0, ties = 0;
    if (!consult_usable(call)) {
        consult_unparsed(c, "%s", call->why);
        return 0;
    }
    for (int i = 0; i < c->q->n_options; i++)
        if (!lp || !(lp[i] <= 0) || isinf(lp[i])) {
            err_set(&why, ERR_DATA, "option %c has no log-probability", 'A' + i);
            consult_bad(call, &why);
            consult_unparsed(c, "%s", call->why);
            return 0;
        }
    for (int i = 1; i < c->q->n_options; i++)
        if (lp[i] > lp[best])
            best = i;
    for (int i = 0; i < c->q->n_options; i++)
        ties += lp[i] == lp[best];
    if (ties > 1) {
        err_set(&why, ERR_DATA, "%d options are equally likely", ties);
        consult_bad(call, &why);
        consult_unparsed(c, "%s", call->why);
        return 0;
    }
    call->parsed = true;
    direct_probabilities(c, lp, lp[best]);
    consult_answer(c, best, NULL);
    return 0;
}

const struct strategy strategy_direct = {
    .name = "direct",
    .doc = "letter by log-probability of the options, one call, no generation",
    .role = direct_roles,
    .needs_options = true,
    .open = direct_open,
    .close = direct_close,
    .start = direct_start,
    .step = direct_step,
};
