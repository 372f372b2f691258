/*
 * debate: several physicians state their answers, read each other and state them again (after Du et
 * al., ICML 2024).
 *
 *   round 1   every debater answers alone
 *   round 2.. every debater reads all rounds before, and answers again
 *   the end   all have the same answer: it is the case's. Otherwise one more call decides.
 *
 * The calls of a round are one batch. A debater whose reply cannot be used keeps the position of
 * the round before. A case in which nobody has a position is unparsed. After an agreement the
 * probabilities of the case are the mean over the debaters' letters; otherwise they are those of
 * the deciding call.
 */
#include <stdio.h>
#include <string.h>

#include "mem.h"
#include "speaker.h"

#define DEBATE_AGENTS 8
#define DEBATE_ROUNDS 8

#define DEBATE_OPTIONS(X)                                                                          \
    X(int, agents, INT, "debate.agents", NULL, 0, NULL, 2, DEBATE_AGENTS, "2", NULL, "debaters",   \
      OPTION_RESULT | OPTION_CLIENT, "How many physicians discuss a case.")                        \
    X(int, rounds, INT, "debate.rounds", NULL, 0, NULL, 1, DEBATE_ROUNDS, "3", NULL, "rounds",     \
      OPTION_RESULT | OPTION_CLIENT,                                                               \
      "Most rounds of a discussion, the first included; agreement ends it earlier.")

struct debate_options {
    DEBATE_OPTIONS(OPTION_MEMBER)
};

static const struct option_row debate_rows[] = {
#define DEBATE_ROW(...) OPTION_ROW(struct debate_options, __VA_ARGS__)
    DEBATE_OPTIONS(DEBATE_ROW)};

static const struct option_set debate_option_set = {debate_rows,
                                                    sizeof debate_rows / sizeof debate_rows[0],
                                                    sizeof(struct debate_options), NULL, NULL};

enum { DEBATE_DEBATER, DEBATE_CONSENSUS };
static const struct strategy_role debate_roles[] = {
    [DEBATE_DEBATER] = {.name = "debater",
                        .doc = "states a position, again in each round",
                        .key = "debater",
                        .needs = LLM_CAN_SCHEMA,
                        .temperature = -1,
                        .many = true,
                        .json = "positions"},
    [DEBATE_CONSENSUS] = {.name = "consensus",
                          .doc = "decides a discussion without agreement",
                          .key = "consensus",
                          .needs = LLM_CAN_SCHEMA,
                          .temperature = -1,
                          .json = "decision"},
    {.name = NULL}};

struct debate {
    struct debate_options o;
    struct speaker debater, consensus;
};

struct debate_position {
    const struct answer_decision *d; /* NULL = none yet */
    const struct consult_call *call; /* that stated it */
};

struct debate_case {
    int round; /* from 0 */
    /* by round and debater: the reply of that round; NULL = cannot be used */
    const struct answer_decision *said[DEBATE_ROUNDS][DEBATE_AGENTS];
    struct debate_position now[DEBATE_AGENTS];
    int n_rounds, changed; /* rounds that are over; positions that differ from the round before */
    bool agreed;
    const struct answer_decision *decision; /* NULL = none yet */
};

static void debate_close(void *state)
{
    struct debate *t = state;
    if (!t)
        return;
    speaker_close(&t->debater);
    speaker_close(&t->consensus);
    mem_free(t);
}

static int debate_open(const struct strategy_env *env, struct str *describe, void **state,
                       struct err *e)
{
    static const char *const debater[] = {"question", "options", "discussion",
                                          "name",     "round",   NULL};
    static const char *const consensus[] = {"question", "options", "discussion", NULL};
    int rc;
    struct debate *t = mem_zalloc(1, sizeof *t);
    if (!t)
        return NOMEM(e, sizeof *t, "a strategy");
    t->o = *(const struct debate_options *)config_of(env->config, &debate_option_set);
    TRY_DONE(speaker_open(env, "debate",
                          &(struct speaker_file){.role = &debate_roles[DEBATE_DEBATER],
                                                 .form = SPEAKER_REASONED,
                                                 .prompt = "debater",
                                                 .slots = debater},
                          describe, &t->debater, e));
    TRY_DONE(speaker_open(env, "debate",
                          &(struct speaker_file){.role = &debate_roles[DEBATE_CONSENSUS],
                                                 .form = SPEAKER_DECISION,
                                                 .prompt = "consensus",
                                                 .slots = consensus},
                          describe, &t->consensus, e));
    *state = t;
    t = NULL;
done:
    debate_close(t);
    return rc;
}

/* ---- rounds ---------------------------------------------------------------------------------- */

/* The rounds that are over, in the form that the next speaker reads. */
static int debate_text(const struct debate *t, struct consult *c, const char **out, struct err *e)
{
    const struct debate_case *dc = c->data;
    struct str s = STR_INIT;
    for (int r = 0; r < dc->n_rounds; r++) {
        str_addf(&s, "%sRound %d\n", r ? "\n" : "", r + 1);
        for (int i = 0; i < t->o.agents; i++) {
            const struct answer_decision *d = dc->said[r][i];
            if (d)
                str_addf(&s, "Physician %d (answer %s): %s\n", i + 1, d->text, d->justification);
        }
    }
    if (!dc->n_rounds)
        str_adds(&s, "Nobody has spoken yet.\n");
    if (s.len)
        s.s[--s.len] = 0; /* the last newline */
    return speaker_text(c, &s, out, e);
}

static int debate_ask(const struct debate *t, struct consult *c, struct err *e)
{
    struct debate_case *dc = c->data;
    struct consult_ask ask[DEBATE_AGENTS];
    const char *values[DEBATE_AGENTS][5], *discussion = NULL;
    char name[DEBATE_AGENTS][8], round[8];
    TRY(debate_text(t, c, &discussion, e));
    snprintf(round, sizeof round, "%d", dc->round + 1);
    for (int i = 0; i < t->o.agents; i++) {
        snprintf(name[i], sizeof name[i], "%d", i + 1);
        const char *fill[] = {c->q->text, c->options, discussion, name[i], round};
        memcpy(values[i], fill, sizeof fill);
        ask[i] = speaker_ask(&t->debater, c, dc->round * t->o.agents + i, -1, values[i]);
    }
    return consult_submit_all(c, ask, t->o.agents, e);
}

static int debate_start(const void *state, struct consult *c, struct err *e)
{
    struct debate_case *dc = arena_alloc(&c->arena, 1, sizeof *dc);
    if (!dc)
        return NOMEM(e, sizeof *dc, "a case");
    c->data = dc;
    return debate_ask(state, c, e);
}

/* Takes the positions of the round. Returns how many debaters have one. */
static int debate_positions(const struct debate *t, struct consult *c)
{
    struct debate_case *dc = c->data;
    const struct consult_call *k =
        speaker_first(c, &debate_roles[DEBATE_DEBATER], dc->round * t->o.agents);
    int n = 0;
    bool same = true;
    speaker_warn(c, k);
    for (int i = 0; i < t->o.agents; i++, k = k->next) {
        const struct answer_decision *d = dc->said[dc->round][i];
        struct debate_position *now = &dc->now[i];
        if (d) {
            dc->changed += now->d && !answer_same_decision(now->d, d);
            *now = (struct debate_position){d, k};
        }
        n += now->d != NULL;
        same = same && now->d && dc->now[0].d && answer_same_decision(now->d, dc->now[0].d);
    }
    dc->n_rounds = ++dc->round;
    dc->agreed = same;
    return n;
}

static int debate_next(const struct debate *t, struct consult *c, struct err *e)
{
    struct debate_case *dc = c->data;
    const struct consult_call *k[DEBATE_AGENTS];
    if (!dc->round)
        TRY(speaker_choices(c, dc->said[0], t->o.agents, e));
    if (!debate_positions(t, c)) {
        consult_unparsed(c, "no debater's reply could be used: %s", c->first->why);
        return 0;
    }
    if (dc->agreed) {
        for (int i = 0; i < t->o.agents; i++)
            k[i] = dc->now[i].call;
        speaker_take_mean_p(c, k, t->o.agents);
        consult_answer(c, dc->now[0].d->letter, dc->now[0].d->text);
        return 0;
    }
    if (dc->round < t->o.rounds)
        return debate_ask(t, c, e);
    const char *discussion = NULL;
    TRY(debate_text(t, c, &discussion, e));
    const char *values[] = {c->q->text, c->options, discussion};
    return speaker_submit(&t->consensus, c, 0, -1, values, e);
}

static int debate_step(const void *state, struct consult *c, struct consult_call *call,
                       struct err *e)
{
    const struct debate *t = state;
    struct debate_case *dc = c->data;
    struct answer_decision *d = NULL;
    if (call->role == &debate_roles[DEBATE_CONSENSUS]) {
        TRY(speaker_decide(&t->consensus, call, &d, e));
        dc->decision = d;
        return 0;
    }
    TRY(speaker_read_decision(&t->debater, call, &d, e));
    dc->said[dc->round][call->index % t->o.agents] = d;
    return speaker_round_over(c) ? debate_next(t, c, e) : 0;
}

/* ---- a finished case ------------------------------------------------------------------------- */

static int debate_agents(const struct consult *c)
{
    return ((const struct debate_options *)config_of(c->env->config, &debate_option_set))->agents;
}

static void debate_show(const struct consult *c, enum strategy_part part,
                        const struct strategy_page *p)
{
    const struct debate_case *dc = c->data;
    char text[96], name[2];
    if (!dc)
        return;
    if (part == STRATEGY_GROUNDS) {
        strategy_show_decision(p, dc->agreed ? dc->now[0].d : dc->decision);
        return;
    }
    for (int r = 0; r < dc->n_rounds; r++) {
        snprintf(text, sizeof text, "Round %d", r + 1);
        p->title(p->user, text);
        for (int i = 0; i < debate_agents(c); i++) {
            const struct answer_decision *d = dc->said[r][i];
            snprintf(text, sizeof text, "  physician %d  %.40s: ", i + 1,
                     d ? speaker_answer_name(c, d, name) : "no position");
            p->text(p->user, text, d ? d->justification : "the reply cannot be used");
        }
    }
    if (!dc->n_rounds)
        return;
    snprintf(text, sizeof text, "%s after %d round%s, %d changed position%s",
             dc->agreed ? "agreement" : "no agreement", dc->n_rounds, dc->n_rounds == 1 ? "" : "s",
             dc->changed, dc->changed == 1 ? "" : "s");
    p->text(p->user, "discussion    ", text);
}

static void debate_facts(const struct consult *c, enum strategy_form form, struct str *out)
{
    const struct debate_case *dc = c->data;
    char name[2];
    (void)form;
    if (!dc)
        return;
    str_addf(out, ", \"rounds\": %d, \"agreed\": %s, \"changed\": %d, \"positions_by_round\": [",
             dc->n_rounds, dc->agreed ? "true" : "false", dc->changed);
    for (int r = 0; r < dc->n_rounds; r++) {
        str_adds(out, r ? ", [" : "[");
        for (int i = 0; i < debate_agents(c); i++) {
            const struct answer_decision *d = dc->said[r][i];
            const char *s = d ? speaker_answer_name(c, d, name) : NULL;
            str_adds(out, i ? ", " : "");
            if (s)
                str_add_json(out, s, strlen(s));
            else
                str_adds(out, "null");
        }
        str_addc(out, ']');
    }
    str_addc(out, ']');
}

const struct strategy strategy_debate = {
    .name = "debate",
    .doc = "several physicians argue in rounds until they agree, or one more call decides",
    .role = debate_roles,
    .options = &debate_option_set,
    .open = debate_open,
    .close = debate_close,
    .start = debate_start,
    .step = debate_step,
    .show = debate_show,
    .facts = debate_facts,
};
