/*
 * pipeline: four calls one after another. A planner notes the question to be settled, an internist
 * answers, a reviewer looks for the fault, an aggregator decides. Each reads what was written
 * before. A reply that cannot be used ends the case as unparsed: the next call would have nothing
 * to read.
 *
 * The prompts of a case share their beginning: system text, question, options, earlier replies. The
 * role's instructions come last.
 */
#include <string.h>

#include "mem.h"
#include "speaker.h"

enum { PIPELINE_PLANNER, PIPELINE_INTERNIST, PIPELINE_REVIEWER, PIPELINE_AGGREGATOR, PIPELINE };
static const struct strategy_role pipeline_roles[] = {
    [PIPELINE_PLANNER] = {.name = "planner",
                          .doc = "notes the question to be settled",
                          .key = "planner",
                          .needs = LLM_CAN_SCHEMA,
                          .temperature = -1,
                          .json = "plan"},
    [PIPELINE_INTERNIST] = {.name = "internist",
                            .doc = "works the case out and answers",
                            .key = "internist",
                            .needs = LLM_CAN_SCHEMA,
                            .temperature = -1,
                            .json = "working_answer"},
    [PIPELINE_REVIEWER] = {.name = "reviewer",
                           .doc = "looks for the fault in the answer",
                           .key = "reviewer",
                           .needs = LLM_CAN_SCHEMA,
                           .temperature = -1,
                           .json = "review"},
    [PIPELINE_AGGREGATOR] = {.name = "aggregator",
                             .doc = "reads all of it and decides",
                             .key = "aggregator",
                             .needs = LLM_CAN_SCHEMA,
                             .temperature = -1,
                             .json = "decision"},
    [PIPELINE] = {.name = NULL}};

struct pipeline {
    struct speaker speaker[PIPELINE];
};

struct pipeline_case { /* NULL = not yet */
    const char *plan;
    struct answer_decision *answer;
    struct answer_label *review;
    struct answer_decision *decision;
};

static void pipeline_close(void *state)
{
    struct pipeline *t = state;
    if (!t)
        return;
    for (int i = 0; i < PIPELINE; i++)
        speaker_close(&t->speaker[i]);
    mem_free(t);
}

static int pipeline_open(const struct strategy_env *env, struct str *describe, void **state,
                         struct err *e)
{
    /* each prompt has the slots of the one before, and more */
    static const char *const planner[] = {"question", "options", NULL};
    static const char *const internist[] = {"question", "options", "plan", NULL};
    static const char *const reviewer[] = {"question", "options", "plan",
                                           "answer",   "reasons", NULL};
    static const char *const aggregator[] = {"question", "options", "plan",    "answer",
                                             "reasons",  "vote",    "comment", NULL};
    static const struct speaker_file files[PIPELINE] = {
        {&pipeline_roles[0], SPEAKER_NOTE, 0, "planner", planner},
        {&pipeline_roles[1], SPEAKER_REASONED, 0, "internist", internist},
        {&pipeline_roles[2], SPEAKER_VOTE, 0, "reviewer", reviewer},
        {&pipeline_roles[3], SPEAKER_DECISION, 0, "aggregator", aggregator}};
    int rc = 0;
    struct pipeline *t = mem_zalloc(1, sizeof *t);
    if (!t)
        return NOMEM(e, sizeof *t, "a strategy");
    for (int i = 0; i < PIPELINE; i++)
        TRY_DONE(speaker_open(env, "pipeline", &files[i], describe, &t->speaker[i], e));
    *state = t;
    t = NULL;
done:
    pipeline_close(t);
    return rc;
}

/* Asks the call of a role, which reads all replies before. */
static int pipeline_ask(const struct pipeline *t, struct consult *c, int role, struct err *e)
{
    const struct pipeline_case *pc = c->data;
    const char *values[] = {
        c->q->text,
        c->options,
        pc->plan,
        pc->answer ? pc->answer->text : NULL,
        pc->answer ? pc->answer->justification : NULL,
        pc->review ? speaker_label_name(&t->speaker[PIPELINE_REVIEWER], pc->review->label) : NULL,
        pc->review ? pc->review->text : NULL};
    return speaker_submit(&t->speaker[role], c, 0, -1, values, e);
}

static int pipeline_start(const void *state, struct consult *c, struct err *e)
{
    struct pipeline_case *pc = arena_alloc(&c->arena, 1, sizeof *pc);
    if (!pc)
        return NOMEM(e, sizeof *pc, "a case");
    c->data = pc;
    return pipeline_ask(state, c, PIPELINE_PLANNER, e);
}

static int pipeline_step(const void *state, struct consult *c, struct consult_call *call,
                         struct err *e)
{
    const struct pipeline *t = state;
    struct pipeline_case *pc = c->data;
    int role = (int)(call->role - pipeline_roles);
    const struct speaker *s = &t->speaker[role];
    if (role == PIPELINE_AGGREGATOR)
        return speaker_decide(s, call, &pc->decision, e);
    if (role == PIPELINE_PLANNER)
        TRY(speaker_read_note(call, &pc->plan, e));
    else if (role == PIPELINE_INTERNIST)
        TRY(speaker_read_decision(s, call, &pc->answer, e));
    else
        TRY(speaker_read_label(s, call, &pc->review, e));
    if (!call->parsed) {
        consult_unparsed(c, "%s: %s", call->role->name, call->why);
        return 0;
    }
    consult_warn_closed(call, call->role->name);
    return pipeline_ask(t, c, role + 1, e);
}

/* ---- a finished case ------------------------------------------------------------------------- */

static void pipeline_show(const struct consult *c, enum strategy_part part,
                          const struct strategy_page *p)
{
    const struct pipeline_case *pc = c->data;
    char name[2];
    if (!pc)
        return;
    if (part == STRATEGY_GROUNDS) {
        strategy_show_decision(p, pc->decision);
        return;
    }
    if (pc->plan)
        p->text(p->user, "planner       ", pc->plan);
    if (pc->answer) {
        p->text(p->user, "internist     ", speaker_answer_name(c, pc->answer, name));
        p->text(p->user, "              ", pc->answer->justification);
    }
    if (pc->review) {
        p->text(p->user, "reviewer      ",
                pc->review->label == SPEAKER_AGREE ? "agrees" : "disagrees");
        p->text(p->user, "              ", pc->review->text);
    }
}

static void pipeline_facts(const struct consult *c, enum strategy_form form, struct str *out)
{
    const struct pipeline_case *pc = c->data;
    char name[2];
    (void)form;
    if (!pc || !pc->answer)
        return;
    const char *s = speaker_answer_name(c, pc->answer, name);
    str_adds(out, ", \"internist_answer\": ");
    str_add_json(out, s, strlen(s));
    if (pc->review)
        str_addf(out, ", \"reviewer_agrees\": %s",
                 pc->review->label == SPEAKER_AGREE ? "true" : "false");
    if (pc->decision)
        str_addf(out, ", \"changed\": %d", !answer_same_decision(pc->answer, pc->decision));
}

const struct strategy strategy_pipeline = {
    .name = "pipeline",
    .doc = "planner, internist, reviewer and aggregator one after another: 4 calls",
    .role = pipeline_roles,
    .open = pipeline_open,
    .close = pipeline_close,
    .start = pipeline_start,
    .step = pipeline_step,
    .show = pipeline_show,
    .facts = pipeline_facts,
};
