/*
 * review: a panel whose draft goes back to its specialists once.
 *
 *   planner, specialists, aggregator   as in strategy panel, with its prompts and settings
 *   reviewers                          each specialist that reported reads all reports and the
 *                                      draft, comments, and votes on it; one batch
 *   aggregator                         reads the reviews and decides again
 *
 * A case takes 2 K + 3 calls if every report can be used. A review that cannot be used is left out
 * with a warning; a case without any is unparsed. The reviewers of a case share
 * all of their prompts but the last line.
 */
#include <string.h>

#include "mem.h"
#include "speaker.h"
#include "strategy_panel.h"

enum { REVIEW_REVIEWER = PANEL_N_ROLES, REVIEW_N_ROLES };
static const struct strategy_role review_roles[] = {
    PANEL_ROLES(true),
    [REVIEW_REVIEWER] = {.name = "reviewer",
                         .doc = "reviews the draft from one specialty",
                         .key = "reviewer",
                         .needs = LLM_CAN_SCHEMA,
                         .temperature = -1,
                         .many = true,
                         .json = "reviews"},
    [REVIEW_N_ROLES] = {.name = NULL}};

struct review {
    void *panel; /* state of strategy_panel */
    struct speaker reviewer, aggregator;
};

struct review_case {
    const struct answer_decision *draft;
    const char *reports;                    /* in the form that reviewers read */
    struct answer_label *vote[CATALOG_MAX]; /* by report; NULL = cannot be used */
    int n_votes, n_agree;
    struct answer_decision *decision; /* NULL = none yet */
};

static void review_close(void *state)
{
    struct review *t = state;
    if (!t)
        return;
    strategy_panel.close(t->panel);
    speaker_close(&t->reviewer);
    speaker_close(&t->aggregator);
    mem_free(t);
}

static bool review_asks(const struct strategy_env *env, const struct strategy_role *r)
{
    int role = (int)(r - review_roles);
    return role == REVIEW_REVIEWER || panel_asks_role(env, role);
}

static int review_open(const struct strategy_env *env, struct str *describe, void **state,
                       struct err *e)
{
    static const char *const reviewer[] = {"question", "options",        "reports",         "draft",
                                           "reasons",  "specialty_name", "specialty_scope", NULL};
    static const char *const aggregator[] = {"question", "options", "reports", "draft",
                                             "reasons",  "reviews", NULL};
    int rc;
    struct review *t = mem_zalloc(1, sizeof *t);
    if (!t)
        return NOMEM(e, sizeof *t, "a strategy");
    TRY_DONE(strategy_panel.open(env, describe, &t->panel, e));
    TRY_DONE(speaker_open(env, "review",
                          &(struct speaker_file){.role = &review_roles[REVIEW_REVIEWER],
                                                 .form = SPEAKER_VOTE,
                                                 .prompt = "reviewer",
                                                 .slots = reviewer},
                          describe, &t->reviewer, e));
    TRY_DONE(speaker_open(env, "review",
                          &(struct speaker_file){.role = &review_roles[PANEL_AGGREGATOR],
                                                 .form = SPEAKER_DECISION,
                                                 .prompt = "aggregator",
                                                 .slots = aggregator},
                          describe, &t->aggregator, e));
    *state = t;
    t = NULL;
done:
    review_close(t);
    return rc;
}

static int review_start(const void *state, struct consult *c, struct err *e)
{
    const struct review *t = state;
    return strategy_panel.start(t->panel, c, e);
}

/* ---- the draft goes back --------------------------------------------------------------------- */

static int review_reports(struct consult *c, const char **out, struct err *e)
{
    struct str s = STR_INIT;
    for (int i = 0; i < c->n_reports; i++) {
        if (i)
            str_addc(&s, '\n');
        answer_report_text(&panel_reports(c)[i], c->env->catalog, &s);
    }
    return speaker_text(c, &s, out, e);
}

/* The panel has answered: its answer is the draft. */
static int review_ask(const struct review *t, struct consult *c, struct err *e)
{
    struct review_case *rv = arena_alloc(&c->arena, 1, sizeof *rv);
    struct consult_ask ask[CATALOG_MAX];
    const char *values[CATALOG_MAX][7];
    if (!rv)
        return NOMEM(e, sizeof *rv, "a case");
    rv->draft = panel_decision(c);
    TRY(review_reports(c, &rv->reports, e));
    panel_set_more(c, rv);
    consult_reopen(c);
    for (int i = 0; i < c->n_reports; i++) {
        int at = panel_reports(c)[i].specialty;
        const struct catalog_entry *s = &c->env->catalog->entry[at];
        const char *fill[] = {
            c->q->text, c->options, rv->reports, rv->draft->text, rv->draft->justification,
            s->name,    s->scope};
        memcpy(values[i], fill, sizeof fill);
        ask[i] = speaker_ask(&t->reviewer, c, i, at, values[i]);
    }
    return consult_submit_all(c, ask, c->n_reports, e);
}

static int review_decide(const struct review *t, struct consult *c, struct err *e)
{
    struct review_case *rv = panel_more(c);
    const struct consult_call *first = speaker_first(c, &review_roles[REVIEW_REVIEWER], 0);
    struct str s = STR_INIT;
    const char *reviews = NULL;
    speaker_warn(c, first);
    for (int i = 0; i < c->n_reports; i++) {
        const struct answer_label *v = rv->vote[i];
        if (!v)
            continue;
        str_addf(&s, "%s%s (%s): %s", rv->n_votes ? "\n" : "",
                 c->env->catalog->entry[panel_reports(c)[i].specialty].name,
                 speaker_label_name(&t->reviewer, v->label), v->text);
        rv->n_votes++;
        rv->n_agree += v->label == SPEAKER_AGREE;
    }
    if (!rv->n_votes) {
        consult_unparsed(c, "no review could be used: %s", first->why);
        str_free(&s);
        return 0;
    }
    TRY(speaker_text(c, &s, &reviews, e));
    const char *values[] = {
        c->q->text, c->options, rv->reports, rv->draft->text, rv->draft->justification, reviews};
    return speaker_submit(&t->aggregator, c, 1, -1, values, e);
}

static int review_step(const void *state, struct consult *c, struct consult_call *call,
                       struct err *e)
{
    const struct review *t = state;
    struct review_case *rv = panel_more(c);
    if (!rv) {
        TRY(strategy_panel.step(t->panel, c, call, e));
        return c->state == CONSULT_ANSWERED ? review_ask(t, c, e) : 0;
    }
    if (call->role == &review_roles[PANEL_AGGREGATOR])
        return speaker_decide(&t->aggregator, call, &rv->decision, e);
    TRY(speaker_read_label(&t->reviewer, call, &rv->vote[call->index], e));
    return speaker_round_over(c) ? review_decide(t, c, e) : 0;
}

/* ---- a finished case ------------------------------------------------------------------------- */

static void review_show(const struct consult *c, enum strategy_part part,
                        const struct strategy_page *p)
{
    const struct review_case *rv = panel_more(c);
    char name[2];
    if (part == STRATEGY_GROUNDS) {
        strategy_show_decision(p, rv ? rv->decision : NULL);
        return;
    }
    strategy_panel.show(c, part, p);
    if (!rv)
        return;
    p->title(p->user, "Draft and reviews");
    p->text(p->user, "draft         ", speaker_answer_name(c, rv->draft, name));
    p->text(p->user, "              ", rv->draft->justification);
    for (int i = 0; i < c->n_reports && rv->n_votes; i++) {
        const struct answer_label *v = rv->vote[i];
        p->text(p->user,
                !v                          ? "no review     "
                : v->label == SPEAKER_AGREE ? "agrees        "
                                            : "disagrees     ",
                c->env->catalog->entry[panel_reports(c)[i].specialty].name);
        p->text(p->user, "              ", v ? v->text : "the reply cannot be used");
    }
}

static void review_facts(const struct consult *c, enum strategy_form form, struct str *out)
{
    const struct review_case *rv = panel_more(c);
    char name[2];
    if (c->data)
        strategy_panel.facts(c, form, out);
    if (!rv)
        return;
    const char *s = speaker_answer_name(c, rv->draft, name);
    str_adds(out, ", \"draft\": ");
    str_add_json(out, s, strlen(s));
    str_addf(out, ", \"reviews_used\": %d, \"reviews_agree\": %d", rv->n_votes, rv->n_agree);
    if (rv->decision)
        str_addf(out, ", \"changed\": %d", !answer_same_decision(rv->draft, rv->decision));
}

const struct strategy strategy_review = {
    .name = "review",
    .doc = "a panel whose draft goes back to the specialists once: 2 K + 3 calls",
    .role = review_roles,
    .options = &panel_option_set,
    .asks = review_asks,
    .open = review_open,
    .close = review_close,
    .start = review_start,
    .step = review_step,
    .show = review_show,
    .facts = review_facts,
};
