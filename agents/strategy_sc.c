/*
 * sc: self-consistency (Wang et al., ICLR 2023). n samples of cot's call are drawn side by side,
 * and the answers are counted. The prompt and the form are those of cot, and so is the random
 * stream of the first sample. With equal settings the first sample is cot's reply.
 *
 * sc.vote majority: each sample counts 1. confidence: a sample counts as the probability of its
 * letter at the place where it wrote it; samples of an open question count 1.
 *
 * With a budget, samples are drawn in rounds until the question's tokens are spent. Their number
 * follows from the question's own samples, from 1 to SC_MOST; sc.samples is not used. The mean over
 * questions meets the budget.
 *
 * A sample whose reply cannot be used is no vote. A tie goes to the answer with the largest sum of
 * log-probabilities. The sum is that of its letter in all samples. Without probabilities of letters
 * it is that of its voters' replies. A tie that remains is no answer. The probabilities of the case
 * are the shares of the votes.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "budget.h"
#include "log.h"
#include "mem.h"
#include "speaker.h"

#define SC_MOST 64
#define SC_LEAST_TOKENS 64
#define SC_VOTES "majority|confidence"
enum sc_vote { SC_MAJORITY, SC_CONFIDENCE };

#define SC_OPTIONS(X)                                                                              \
    X(int, samples, INT, "sc.samples", NULL, 0, NULL, 1, SC_MOST, "5", NULL, "calls",              \
      OPTION_RESULT | OPTION_CLIENT, "How many samples strategy sc draws.")                        \
    X(enum sc_vote, vote, ENUM, "sc.vote", NULL, 0, NULL, 0, 0, "majority", SC_VOTES, "",          \
      OPTION_RESULT | OPTION_CLIENT,                                                               \
      "Weight of a sample's vote: 1, or the probability of its letter.")

struct sc_options {
    SC_OPTIONS(OPTION_MEMBER)
};

static const struct option_row sc_rows[] = {
#define SC_ROW(...) OPTION_ROW(struct sc_options, __VA_ARGS__)
    SC_OPTIONS(SC_ROW)};

static const struct option_set sc_option_set = {sc_rows, sizeof sc_rows / sizeof sc_rows[0],
                                                sizeof(struct sc_options), NULL, NULL};

/* The same role; the weights need more of the llm. */
static const struct strategy_role sc_roles[] = {
    [SC_MAJORITY] = {.name = "answer",
                     .doc = "reasons first and answers last, one of several samples",
                     .key = "sc",
                     .needs = LLM_CAN_SCHEMA,
                     .temperature = -1,
                     .many = true,
                     .json = "samples"},
    [SC_CONFIDENCE] = {.name = "answer",
                       .doc = "reasons first and answers last; its letter's probability counts",
                       .key = "sc",
                       .needs = LLM_CAN_SCHEMA | LLM_CAN_CHOICE,
                       .temperature = -1,
                       .many = true,
                       .json = "samples"},
    {.name = NULL}};

struct sc {
    struct sc_options o;
    struct prompt *prompt;
    const struct llm_schema *schema[MEDQA_OPTIONS + 1]; /* by number of options */
};

struct sc_group {                    /* samples with the same answer */
    const struct answer_decision *d; /* of the first one */
    int votes;
    double weight, lp;
};

struct sc_case {
    int n_asked;
    const struct answer_decision *sample[SC_MOST]; /* by index; NULL = cannot be used */
    struct sc_group group[SC_MOST];                /* (n_group), in order of first mention */
    int n_group, n_votes;
    const struct sc_group *winner; /* NULL = none */
    bool tie;                      /* log-probabilities decided */
};

static enum sc_vote sc_vote(const struct strategy_env *env)
{
    const struct sc_options *o = config_of(env->config, &sc_option_set);
    return o->vote;
}

static bool sc_asks(const struct strategy_env *env, const struct strategy_role *r)
{
    return r == &sc_roles[sc_vote(env)];
}

static void sc_close(void *state)
{
    struct sc *t = state;
    if (!t)
        return;
    prompt_close(t->prompt);
    mem_free(t);
}

static int sc_open(const struct strategy_env *env, struct str *describe, void **state,
                   struct err *e)
{
    static const char *const slots[] = {"question", "options", NULL};
    const struct strategy_role *role = &sc_roles[sc_vote(env)];
    struct prompt_source src = {env->options->prompts_dir, "cot"};
    int rc;
    TRY(strategy_least_tokens(env->options, role, SC_LEAST_TOKENS, e));
    struct sc *t = mem_zalloc(1, sizeof *t);
    if (!t)
        return NOMEM(e, sizeof *t, "a strategy");
    t->o = *(const struct sc_options *)config_of(env->config, &sc_option_set);
    if (t->o.samples > 1 && !(strategy_temperature(env->options, role) > 0))
        log_warn("strategy sc draws %d samples at temperature 0: all are the same; set "
                 "agent_temperatures.sc above 0",
                 t->o.samples);
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
    sc_close(t);
    return rc;
}

/* Asks n more samples side by side. */
static int sc_ask(const struct sc *t, struct consult *c, int n, struct err *e)
{
    const char *values[] = {c->q->text, c->options};
    struct sc_case *sc = c->data;
    struct consult_ask ask[SC_MOST];
    for (int i = 0; i < n; i++)
        ask[i] = (struct consult_ask){.role = &sc_roles[t->o.vote],
                                      .index = sc->n_asked + i,
                                      .specialty = -1,
                                      .prompt = t->prompt,
                                      .values = values,
                                      .schema = t->schema[c->q->n_options],
                                      .letter = "final_answer"};
    TRY(consult_submit_all(c, ask, n, e));
    sc->n_asked += n;
    return 0;
}

#define SC_SPREAD                                                                                  \
    0.2 /* squared coefficient of variation of a sample's tokens, a prior of weight 1 */

/* The number of samples to ask next, by the budget; 0 = enough.
 *
 * Half of those that would fill the budget are asked side by side; the last ones one by one. A last
 * sample passes any mark by E[L^2] / 2E[L] tokens in the mean, L being the tokens of a sample (W.
 * Feller, An Introduction to Probability Theory II, XI.4). So the mark stands that far below the
 * budget, and the mean over questions meets it. The variance of few samples is uncertain, so a
 * prior counts as one more. */
static int sc_more(const struct consult *c)
{
    const struct sc_case *sc = c->data;
    const double n = sc->n_asked;
    double spent = 0, squares = 0;
    if (!c->env->budget || sc->n_asked == SC_MOST)
        return 0;
    for (const struct consult_call *k = c->first; k; k = k->next) {
        const double tokens = k->llm.n_new + k->llm.n_think;
        spent += tokens;
        squares += tokens * tokens;
    }
    const double left = (double)budget_of(c->env->budget, c->q->id) - spent, mean = spent / n;
    if (!(mean > 0))
        return 0;
    const double spread = (squares / (mean * mean) - n + SC_SPREAD) / n;
    const double half = left / (2 * mean);
    const int most = SC_MOST - sc->n_asked;
    if (left <= mean * (1 + spread) / 2)
        return 0;
    return half >= most ? most : half < 1 ? 1 : (int)half;
}

static int sc_start(const void *state, struct consult *c, struct err *e)
{
    const struct sc *t = state;
    struct sc_case *sc = arena_alloc(&c->arena, 1, sizeof *sc);
    if (!sc)
        return NOMEM(e, sizeof *sc, "a case");
    c->data = sc;
    return sc_ask(t, c, c->env->budget ? 1 : t->o.samples, e);
}

/* ---- the vote -------------------------------------------------------------------------------- */

/* The weight of a sample; false when its letter has no probability. */
static bool sc_weight(const struct sc *t, const struct consult_call *k,
                      const struct answer_decision *d, double *out)
{
    *out = 1;
    if (t->o.vote == SC_MAJORITY || d->letter < 0)
        return true;
    *out = k->llm.has_choice ? exp(k->llm.choice_lp[d->letter]) : 0;
    return k->llm.has_choice;
}

static struct sc_group *sc_group(struct sc_case *sc, const struct answer_decision *d)
{
    for (int i = 0; i < sc->n_group; i++)
        if (answer_same_decision(sc->group[i].d, d))
            return &sc->group[i];
    sc->group[sc->n_group] = (struct sc_group){.d = d};
    return &sc->group[sc->n_group++];
}

static void sc_count(const struct sc *t, struct consult *c)
{
    struct sc_case *sc = c->data;
    for (const struct consult_call *k = c->first; k; k = k->next) {
        const struct answer_decision *d = sc->sample[k->index];
        double weight;
        if (!d || !sc_weight(t, k, d, &weight)) {
            consult_warn(c, "sample %d is no vote: %s", k->index + 1,
                         d ? "its letter has no probability" : k->why);
            continue;
        }
        char name[32];
        snprintf(name, sizeof name, "sample %d", k->index + 1);
        consult_warn_closed(k, name);
        struct sc_group *g = sc_group(sc, d);
        g->votes++;
        g->weight += weight;
        sc->n_votes++;
    }
}

/* The sum of log-probabilities that decides between answers with equal votes. */
static double sc_log_p(const struct consult *c, const struct sc_group *g)
{
    const struct sc_case *sc = c->data;
    double letters = 0, replies = 0;
    bool known = g->d->letter >= 0;
    for (const struct consult_call *k = c->first; k; k = k->next) {
        const struct answer_decision *d = sc->sample[k->index];
        if (!d)
            continue;
        known = known && k->llm.has_choice;
        if (known)
            letters += k->llm.choice_lp[g->d->letter];
        if (answer_same_decision(d, g->d))
            replies += k->llm.mean_lp * k->llm.n_new;
    }
    return known ? letters : replies;
}

/* The group with the most weight, of those with equal weight the one with the largest sum of
 * log-probabilities. *n: groups with this weight. NULL = a tie remains. */
static const struct sc_group *sc_leader(const struct consult *c, int *n)
{
    struct sc_case *sc = c->data;
    const struct sc_group *best = NULL;
    double most = 0;
    bool unknown = false;
    int n_best = 0;
    for (int i = 0; i < sc->n_group; i++)
        most = sc->group[i].weight > most ? sc->group[i].weight : most;
    *n = 0;
    for (int i = 0; i < sc->n_group; i++) {
        struct sc_group *g = &sc->group[i];
        if (g->weight < most)
            continue;
        g->lp = sc_log_p(c, g);
        unknown = unknown || isnan(g->lp);
        if (!best || g->lp > best->lp) {
            best = g;
            n_best = 0;
        }
        n_best += g->lp == best->lp;
        ++*n;
    }
    return *n == 1 || (n_best == 1 && !unknown) ? best : NULL;
}

/* Shares of the votes, by original option. */
static void sc_shares(struct consult *c)
{
    const struct sc_case *sc = c->data;
    double sum = 0;
    for (int i = 0; i < sc->n_group; i++)
        sum += sc->group[i].weight;
    for (int i = 0; i < sc->n_group && c->q->n_options; i++)
        c->p_option[c->shown[sc->group[i].d->letter]] = sc->group[i].weight / sum;
    c->has_p = c->q->n_options > 0;
}

static void sc_decide(const struct sc *t, struct consult *c)
{
    struct sc_case *sc = c->data;
    int n;
    sc_count(t, c);
    if (!sc->n_votes) {
        const char *why = c->first->parsed ? "their letters have no probability" : c->first->why;
        consult_unparsed(c, "none of %d samples can be used: %s", sc->n_asked, why);
        return;
    }
    const struct sc_group *g = sc_leader(c, &n);
    sc->tie = n > 1;
    if (!g) {
        consult_unparsed(c,
                         "%d answers of %d votes share the lead, and log-probabilities are equal "
                         "or unknown",
                         n, sc->n_votes);
        return;
    }
    sc->winner = g;
    sc_shares(c);
    consult_answer(c, g->d->letter, g->d->text);
}

static int sc_step(const void *state, struct consult *c, struct consult_call *call, struct err *e)
{
    struct sc_case *sc = c->data;
    struct err why = {.code = 0};
    struct answer_decision *d = arena_alloc(&c->arena, 1, sizeof *d);
    if (!d)
        return NOMEM(e, sizeof *d, "an answer");
    if (consult_usable(call)) {
        int rc = answer_reasoned(call->llm.reply.s, call->llm.reply.len, call->llm.own_len,
                                 c->q->n_options, &c->arena, d, &why);
        if (rc == ERR_NOMEM)
            FAIL(e, rc, "%s", why.msg);
        if (rc < 0)
            consult_bad(call, &why);
        call->parsed = !rc;
        sc->sample[call->index] = rc ? NULL : d;
    }
    if (c->n_open || c->broken)
        return 0;
    const int more = sc_more(c);
    if (more)
        return sc_ask(state, c, more, e);
    TRY(speaker_choices(c, sc->sample, sc->n_asked, e));
    sc_decide(state, c);
    return 0;
}

/* ---- a finished case ------------------------------------------------------------------------- */

static void sc_show(const struct consult *c, enum strategy_part part, const struct strategy_page *p)
{
    const struct sc_case *sc = c->data;
    char text[512], name[2];
    size_t at = 0;
    if (!sc)
        return;
    if (part == STRATEGY_GROUNDS) {
        strategy_show_decision(p, sc->winner ? sc->winner->d : NULL);
        return;
    }
    if (!sc->n_votes)
        return;
    for (int i = 0; i < sc->n_group && at < sizeof text - 1; i++) {
        int n = snprintf(text + at, sizeof text - at, "%s%.60s %d", i ? ", " : "",
                         speaker_answer_name(c, sc->group[i].d, name), sc->group[i].votes);
        at += n > 0 ? (size_t)n : 0;
    }
    p->text(p->user, "votes         ", text);
    if (sc->tie)
        p->text(p->user, "tie           ",
                sc->winner ? "decided by the sum of log-probabilities" : "not decided");
}

static void sc_facts(const struct consult *c, enum strategy_form form, struct str *out)
{
    const struct sc_case *sc = c->data;
    char name[2];
    (void)form;
    if (!sc)
        return;
    str_adds(out, ", \"votes\": {");
    for (int i = 0; i < sc->n_group; i++) {
        const char *s = speaker_answer_name(c, sc->group[i].d, name);
        str_adds(out, i ? ", " : "");
        str_add_json(out, s, strlen(s));
        str_addf(out, ": %d", sc->group[i].votes);
    }
    str_addf(out, "}, \"tie\": %s", sc->tie ? "true" : "false");
}

const struct strategy strategy_sc = {
    .name = "sc",
    .doc = "several samples of cot side by side, the most frequent answer: n calls",
    .role = sc_roles,
    .instead = "sc.vote=majority",
    .options = &sc_option_set,
    .matches = true,
    .asks = sc_asks,
    .open = sc_open,
    .close = sc_close,
    .start = sc_start,
    .step = sc_step,
    .show = sc_show,
    .facts = sc_facts,
};
