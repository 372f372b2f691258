/*
 * direct: the letter whose text the model finds likeliest after the question. No generation, no
 * sampling: one scoring call. An exact tie is no answer. direct.prompt_form:
 *
 *   chat         the model's chat template; the reply is led in with "Answer:", so that the
 *                probability lies on the letters and not on a preamble
 *   lm-eval      the text of lm-evaluation-harness' task medqa_4options, without a template and
 *                without BOS, as its local-completions sends it
 *   lm-eval-bos  the same after BOS, if the model file asks for it, as its hf backend does
 */
#include <math.h>

#include "mem.h"
#include "strategy.h"

#define DIRECT_FORMS "chat|lm-eval|lm-eval-bos"
enum direct_form { DIRECT_CHAT, DIRECT_LM_EVAL, DIRECT_LM_EVAL_BOS };

#define DIRECT_OPTIONS(X)                                                                          \
    X(enum direct_form, form, ENUM, "direct.prompt_form", NULL, 0, NULL, 0, 0, "chat",             \
      DIRECT_FORMS, "", OPTION_RESULT,                                                             \
      "Prompt of strategy direct: the chat template, or lm-evaluation-harness' text without or "   \
      "with BOS.")

struct direct_options {
    DIRECT_OPTIONS(OPTION_MEMBER)
};

static const struct option_row direct_rows[] = {
#define DIRECT_ROW(...) OPTION_ROW(struct direct_options, __VA_ARGS__)
    DIRECT_OPTIONS(DIRECT_ROW)};

static const struct option_set direct_option_set = {direct_rows,
                                                    sizeof direct_rows / sizeof direct_rows[0],
                                                    sizeof(struct direct_options), NULL, NULL};

/* Nothing is drawn: the role has no temperature and no token limit. It is the same role in both
 * forms. */
enum { DIRECT_ROLE_CHAT, DIRECT_ROLE_RAW };
static const struct strategy_role direct_roles[] = {
    [DIRECT_ROLE_CHAT] = {.name = "answer",
                          .doc = "scores the letters of the options",
                          .needs = LLM_CAN_SCORE | LLM_CAN_PREFIX,
                          .json = "decision"},
    [DIRECT_ROLE_RAW] = {.name = "answer",
                         .doc = "scores the letters of the options without a chat template",
                         .needs = LLM_CAN_SCORE | LLM_CAN_RAW,
                         .json = "decision"},
    {.name = NULL}};

struct direct {
    enum direct_form form;
    struct prompt *prompt;
    char text[MEDQA_OPTIONS][3]; /* " A", " B", .. */
    struct llm_text letter[MEDQA_OPTIONS];
};

static enum direct_form direct_form(const struct strategy_env *env)
{
    const struct direct_options *o = config_of(env->config, &direct_option_set);
    return o->form;
}

static bool direct_asks(const struct strategy_env *env, const struct strategy_role *r)
{
    bool raw = direct_form(env) != DIRECT_CHAT;
    return r == &direct_roles[raw ? DIRECT_ROLE_RAW : DIRECT_ROLE_CHAT];
}

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
    d->form = direct_form(env);
    TRY_DONE(prompt_open(&src, d->form == DIRECT_CHAT ? "answer" : "lm_eval", NULL, 0, slots,
                         &d->prompt, e));
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
    bool raw = d->form != DIRECT_CHAT;
    const char *values[] = {c->q->text, raw ? consult_option_lines(c) : c->options};
    struct consult_ask ask = {.role = &direct_roles[raw ? DIRECT_ROLE_RAW : DIRECT_ROLE_CHAT],
                              .specialty = -1,
                              .prompt = d->prompt,
                              .values = values,
                              .reply_prefix = raw ? NULL : "Answer:",
                              .raw = raw,
                              .no_bos = d->form == DIRECT_LM_EVAL,
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

static void direct_log_probabilities(struct consult *c, const double *lp)
{
    for (int i = 0; i < c->q->n_options; i++)
        c->option_lp[c->shown[i]] = lp[i];
    c->has_lp = true;
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
    direct_log_probabilities(c, lp);
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
    .instead = "direct.prompt_form=lm-eval for a server that scores raw prompts",
    .needs_options = true,
    .options = &direct_option_set,
    .asks = direct_asks,
    .open = direct_open,
    .close = direct_close,
    .start = direct_start,
    .step = direct_step,
};
