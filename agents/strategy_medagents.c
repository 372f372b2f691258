/*
 * medagents: consultation of recruited experts, after Tang et al., MedAgents (ACL Findings 2024).
 *
 *   recruiter    chooses experts for the question, and experts for the options; one batch
 *   analysts     the question's experts write analyses; one batch. Then the options' experts, who
 *                read these; one batch
 *   summarizer   makes one report of all analyses
 *   voters       every expert votes on the report; one batch. While somebody disagrees, the
 *                summarizer writes it anew with their comments, up to medagents.rounds votes
 *   aggregator   turns the report into the answer
 *
 * A specialty recruited for both parts votes once. An analysis or a vote that cannot be used is
 * left out with a warning. A case is unparsed without a usable analysis, without a usable vote, and
 * if any other reply cannot be used. The prompts of a batch share all but their last lines.
 */
#include <stdio.h>
#include <string.h>

#include "mem.h"
#include "speaker.h"

#define MED_EXPERTS 14
#define MED_ALL (2 * MED_EXPERTS)
#define MED_ROUNDS 8

#define MED_OPTIONS(X)                                                                             \
    X(int, question_experts, INT, "medagents.question_experts", NULL, 0, NULL, 1, MED_EXPERTS,     \
      "5", NULL, "experts", OPTION_RESULT | OPTION_CLIENT,                                         \
      "How many experts strategy medagents recruits for the question.")                            \
    X(int, option_experts, INT, "medagents.option_experts", NULL, 0, NULL, 0, MED_EXPERTS, "2",    \
      NULL, "experts", OPTION_RESULT | OPTION_CLIENT,                                              \
      "How many experts it recruits for the options; 0 is none.")                                  \
    X(int, rounds, INT, "medagents.rounds", NULL, 0, NULL, 1, MED_ROUNDS, "3", NULL, "votes",      \
      OPTION_RESULT | OPTION_CLIENT,                                                               \
      "Most votes on the report; agreement of all experts ends them earlier.")

struct med_options {
    MED_OPTIONS(OPTION_MEMBER)
};

static const struct option_row med_rows[] = {
#define MED_ROW(...) OPTION_ROW(struct med_options, __VA_ARGS__)
    MED_OPTIONS(MED_ROW)};

static const struct option_set med_option_set = {med_rows, sizeof med_rows / sizeof med_rows[0],
                                                 sizeof(struct med_options), NULL, NULL};

enum { MED_RECRUITER, MED_ANALYST, MED_SUMMARIZER, MED_VOTER, MED_AGGREGATOR, MED_N_ROLES };
static const struct strategy_role med_roles[] = {
    [MED_RECRUITER] = {.name = "recruiter",
                       .doc = "chooses the experts",
                       .key = "recruiter",
                       .needs = LLM_CAN_SCHEMA,
                       .temperature = -1,
                       .many = true,
                       .json = "recruits"},
    [MED_ANALYST] = {.name = "analyst",
                     .doc = "analyses the question or the options from one specialty",
                     .key = "analyst",
                     .needs = LLM_CAN_SCHEMA,
                     .temperature = -1,
                     .many = true,
                     .json = "analyses"},
    [MED_SUMMARIZER] = {.name = "summarizer",
                        .doc = "makes one report of the analyses, and writes it anew",
                        .key = "summarizer",
                        .needs = LLM_CAN_SCHEMA,
                        .temperature = -1,
                        .many = true,
                        .json = "reports"},
    [MED_VOTER] = {.name = "voter",
                   .doc = "votes on the report from one specialty",
                   .key = "voter",
                   .needs = LLM_CAN_SCHEMA,
                   .temperature = -1,
                   .many = true,
                   .json = "ballots"},
    [MED_AGGREGATOR] = {.name = "aggregator",
                        .doc = "turns the report into the answer",
                        .key = "aggregator",
                        .needs = LLM_CAN_SCHEMA,
                        .temperature = -1,
                        .json = "decision"},
    [MED_N_ROLES] = {.name = NULL}};

enum med_speaker {
    MED_ASKS_QUESTION, /* the recruiter, by part */
    MED_ASKS_OPTIONS,
    MED_QUESTION, /* the analysts, by part */
    MED_CHOICES,
    MED_REPORT,
    MED_REVISION,
    MED_VOTE,
    MED_DECIDE,
    MED_SPEAKERS
};

struct med {
    struct med_options o;
    struct speaker speaker[MED_SPEAKERS];
};

struct med_vote {
    int agree, disagree, unused;
};

struct med_case {
    struct answer_selection *recruits[2]; /* by part: question, options; NULL = none */
    const char *note[MED_ALL];            /* of analysts, by index; NULL = cannot be used */
    int n_notes;                          /* analysts that were asked */
    int expert[MED_ALL], n_experts;       /* catalogue indices, all different */
    const char *report;                   /* the last one */
    struct answer_label *vote[MED_ALL];   /* by expert, of this round */
    struct med_vote count[MED_ROUNDS];
    int round; /* votes that are over */
    bool agreed;
    struct answer_decision *decision; /* NULL = none yet */
};

/* ---- start-up -------------------------------------------------------------------------------- */

static void med_close(void *state)
{
    struct med *t = state;
    if (!t)
        return;
    for (int i = 0; i < MED_SPEAKERS; i++)
        speaker_close(&t->speaker[i]);
    mem_free(t);
}

static int med_speakers(struct med *t, const struct strategy_env *env, struct str *describe,
                        struct err *e)
{
    static const char *const recruiter[] = {"question", "options", "part", "k", NULL};
    static const char *const analyst[] = {"question", "options", "specialty_name",
                                          "specialty_scope", NULL};
    static const char *const option_analyst[] = {"question",       "options",         "analyses",
                                                 "specialty_name", "specialty_scope", NULL};
    static const char *const summarizer[] = {"question", "options", "analyses", NULL};
    static const char *const revision[] = {"question", "options", "report", "votes", NULL};
    static const char *const voter[] = {"question",       "options",         "report",
                                        "specialty_name", "specialty_scope", NULL};
    static const char *const aggregator[] = {"question", "options", "report", NULL};
    const struct strategy_role *r = med_roles;
    const struct speaker_file files[MED_SPEAKERS] = {
        {&r[MED_RECRUITER], SPEAKER_SELECT, t->o.question_experts, "recruiter", recruiter},
        {&r[MED_RECRUITER], SPEAKER_SELECT, t->o.option_experts, "recruiter", recruiter},
        {&r[MED_ANALYST], SPEAKER_NOTE, 0, "analyst", analyst},
        {&r[MED_ANALYST], SPEAKER_NOTE, 0, "option_analyst", option_analyst},
        {&r[MED_SUMMARIZER], SPEAKER_NOTE, 0, "summarizer", summarizer},
        {&r[MED_SUMMARIZER], SPEAKER_NOTE, 0, "revision", revision},
        {&r[MED_VOTER], SPEAKER_VOTE, 0, "voter", voter},
        {&r[MED_AGGREGATOR], SPEAKER_DECISION, 0, "aggregator", aggregator}};
    for (int i = 0; i < MED_SPEAKERS; i++)
        if (i != MED_ASKS_OPTIONS || t->o.option_experts)
            TRY(speaker_open(env, "medagents", &files[i], describe, &t->speaker[i], e));
    return 0;
}

static int med_open(const struct strategy_env *env, struct str *describe, void **state,
                    struct err *e)
{
    int rc;
    struct med *t = mem_zalloc(1, sizeof *t);
    if (!t)
        return NOMEM(e, sizeof *t, "a strategy");
    t->o = *(const struct med_options *)config_of(env->config, &med_option_set);
    if (t->o.question_experts > env->catalog->n || t->o.option_experts > env->catalog->n)
        TRY_DONE(err_set(e, ERR_CONFIG,
                         "medagents.question_experts is %d and option_experts %d, the catalogue "
                         "has %d specialties",
                         t->o.question_experts, t->o.option_experts, env->catalog->n));
    TRY_DONE(med_speakers(t, env, describe, e));
    *state = t;
    t = NULL;
done:
    med_close(t);
    return rc;
}

/* ---- recruiting ------------------------------------------------------------------------------ */

static int med_start(const void *state, struct consult *c, struct err *e)
{
    const struct med *t = state;
    struct med_case *mc = arena_alloc(&c->arena, 1, sizeof *mc);
    char k[2][8];
    if (!mc)
        return NOMEM(e, sizeof *mc, "a case");
    c->data = mc;
    snprintf(k[0], sizeof k[0], "%d", t->o.question_experts);
    snprintf(k[1], sizeof k[1], "%d", t->o.option_experts);
    const char *values[2][4] = {{c->q->text, c->options, "the question", k[0]},
                                {c->q->text, c->options, "the options", k[1]}};
    int parts = c->q->n_options && t->o.option_experts ? 2 : 1;
    struct consult_ask ask[2];
    for (int i = 0; i < parts; i++)
        ask[i] = speaker_ask(&t->speaker[MED_ASKS_QUESTION + i], c, i, -1, values[i]);
    return consult_submit_all(c, ask, parts, e);
}

/* Every specialty once, those of the question first. */
static void med_experts(struct consult *c)
{
    struct med_case *mc = c->data;
    for (int part = 0; part < 2 && mc->recruits[part]; part++)
        for (int i = 0; i < mc->recruits[part]->n_selected; i++) {
            int at = 0;
            while (at < mc->n_experts && mc->expert[at] != mc->recruits[part]->selected[i])
                at++;
            mc->expert[at] = mc->recruits[part]->selected[i];
            mc->n_experts += at == mc->n_experts;
        }
    c->selected = mc->expert;
    c->n_selected = mc->n_experts;
}

/* ---- analyses -------------------------------------------------------------------------------- */

/* The catalogue index of the n-th analyst. */
static int med_analyst(const struct med_case *mc, int n)
{
    int first = mc->recruits[0]->n_selected;
    return n < first ? mc->recruits[0]->selected[n] : mc->recruits[1]->selected[n - first];
}

/* The usable analyses of the first n analysts, each under the name of its field. */
static int med_analyses(struct consult *c, int n, const char **out, struct err *e)
{
    const struct med_case *mc = c->data;
    struct str s = STR_INIT;
    for (int i = 0; i < n; i++)
        if (mc->note[i])
            str_addf(&s, "%s%s: %s", s.len ? "\n\n" : "",
                     c->env->catalog->entry[med_analyst(mc, i)].name, mc->note[i]);
    if (!s.len)
        str_adds(&s, "none");
    return speaker_text(c, &s, out, e);
}

/* Asks the analysts of a part side by side; those of the options read the analyses of the
 * question. */
static int med_ask_analysts(const struct med *t, struct consult *c, int part, struct err *e)
{
    struct med_case *mc = c->data;
    int first = mc->n_notes, n = mc->recruits[part]->n_selected;
    struct consult_ask ask[MED_EXPERTS];
    const char *values[MED_EXPERTS][5], *analyses = NULL;
    if (part)
        TRY(med_analyses(c, first, &analyses, e));
    for (int i = 0; i < n; i++) {
        int at = mc->recruits[part]->selected[i];
        const struct catalog_entry *s = &c->env->catalog->entry[at];
        const char *question[] = {c->q->text, c->options, s->name, s->scope, NULL};
        const char *options[] = {c->q->text, c->options, analyses, s->name, s->scope};
        memcpy(values[i], part ? options : question, sizeof options);
        ask[i] = speaker_ask(&t->speaker[MED_QUESTION + part], c, first + i, at, values[i]);
    }
    mc->n_notes += n;
    return consult_submit_all(c, ask, n, e);
}

/* The experts whose analyses can be used. */
static int med_heard(const struct med_case *mc)
{
    int n = 0;
    for (int i = 0; i < mc->n_experts; i++) {
        bool used = false;
        for (int k = 0; k < mc->n_notes; k++)
            used = used || (mc->note[k] && med_analyst(mc, k) == mc->expert[i]);
        n += used;
    }
    return n;
}

static int med_analysed(const struct med *t, struct consult *c, struct err *e)
{
    struct med_case *mc = c->data;
    int first = mc->recruits[0]->n_selected;
    const char *analyses = NULL;
    if (mc->recruits[1] && mc->n_notes == first)
        return med_ask_analysts(t, c, 1, e);
    speaker_warn(c, speaker_first(c, &med_roles[MED_ANALYST], 0));
    c->n_reports = med_heard(mc);
    if (!c->n_reports) {
        consult_unparsed(c, "no expert's analysis could be used: %s", c->last->why);
        return 0;
    }
    TRY(med_analyses(c, mc->n_notes, &analyses, e));
    const char *values[] = {c->q->text, c->options, analyses};
    return speaker_submit(&t->speaker[MED_REPORT], c, 0, -1, values, e);
}

/* ---- votes ----------------------------------------------------------------------------------- */

static int med_ask_votes(const struct med *t, struct consult *c, struct err *e)
{
    struct med_case *mc = c->data;
    struct consult_ask ask[MED_ALL];
    const char *values[MED_ALL][5];
    for (int i = 0; i < mc->n_experts; i++) {
        const struct catalog_entry *s = &c->env->catalog->entry[mc->expert[i]];
        const char *fill[] = {c->q->text, c->options, mc->report, s->name, s->scope};
        memcpy(values[i], fill, sizeof fill);
        mc->vote[i] = NULL;
        ask[i] = speaker_ask(&t->speaker[MED_VOTE], c, mc->round * mc->n_experts + i, mc->expert[i],
                             values[i]);
    }
    return consult_submit_all(c, ask, mc->n_experts, e);
}

/* Counts the votes of the round and writes them down for the summarizer. */
static int med_count(const struct med *t, struct consult *c, const char **out, struct err *e)
{
    struct med_case *mc = c->data;
    struct med_vote *n = &mc->count[mc->round];
    struct str s = STR_INIT;
    speaker_warn(c, speaker_first(c, &med_roles[MED_VOTER], mc->round * mc->n_experts));
    for (int i = 0; i < mc->n_experts; i++) {
        const struct answer_label *v = mc->vote[i];
        if (v)
            str_addf(&s, "%s%s (%s): %s", s.len ? "\n" : "",
                     c->env->catalog->entry[mc->expert[i]].name,
                     speaker_label_name(&t->speaker[MED_VOTE], v->label), v->text);
        n->unused += !v;
        n->agree += v && v->label == SPEAKER_AGREE;
        n->disagree += v && v->label == SPEAKER_DISAGREE;
    }
    mc->agreed = n->agree && !n->disagree;
    mc->round++;
    return speaker_text(c, &s, out, e);
}

static int med_voted(const struct med *t, struct consult *c, struct err *e)
{
    struct med_case *mc = c->data;
    const char *votes = NULL;
    if (!mc->round)
        TRY(speaker_votes(c, mc->vote, mc->n_experts, e));
    TRY(med_count(t, c, &votes, e));
    const struct med_vote *n = &mc->count[mc->round - 1];
    if (!n->agree && !n->disagree) {
        consult_unparsed(c, "no expert's vote could be used: %s", c->last->why);
        return 0;
    }
    const char *values[] = {c->q->text, c->options, mc->report, votes};
    if (mc->agreed || mc->round == t->o.rounds)
        return speaker_submit(&t->speaker[MED_DECIDE], c, 0, -1, values, e);
    return speaker_submit(&t->speaker[MED_REVISION], c, mc->round, -1, values, e);
}

/* ---- replies --------------------------------------------------------------------------------- */

static int med_recruited(const struct med *t, struct consult *c, struct err *e)
{
    for (const struct consult_call *k = c->first; k; k = k->next)
        if (!k->parsed) {
            consult_unparsed(c, "recruiter: %s", k->why);
            return 0;
        }
    speaker_warn(c, c->first);
    med_experts(c);
    return med_ask_analysts(t, c, 0, e);
}

static int med_step(const void *state, struct consult *c, struct consult_call *call, struct err *e)
{
    const struct med *t = state;
    struct med_case *mc = c->data;
    int role = (int)(call->role - med_roles);
    if (role == MED_RECRUITER) {
        TRY(speaker_read_selection(&t->speaker[MED_ASKS_QUESTION + call->index], call,
                                   &mc->recruits[call->index], e));
        return speaker_round_over(c) ? med_recruited(t, c, e) : 0;
    }
    if (role == MED_ANALYST) {
        TRY(speaker_read_note(call, &mc->note[call->index], e));
        return speaker_round_over(c) ? med_analysed(t, c, e) : 0;
    }
    if (role == MED_VOTER) {
        TRY(speaker_read_label(&t->speaker[MED_VOTE], call, &mc->vote[call->index % mc->n_experts],
                               e));
        return speaker_round_over(c) ? med_voted(t, c, e) : 0;
    }
    if (role == MED_AGGREGATOR)
        return speaker_decide(&t->speaker[MED_DECIDE], call, &mc->decision, e);
    TRY(speaker_read_note(call, &mc->report, e));
    if (!call->parsed) {
        consult_unparsed(c, "summarizer: %s", call->why);
        return 0;
    }
    consult_warn_closed(call, call->role->name);
    return med_ask_votes(t, c, e);
}

/* ---- a finished case ------------------------------------------------------------------------- */

static void med_show(const struct consult *c, enum strategy_part part,
                     const struct strategy_page *p)
{
    const struct med_case *mc = c->data;
    char text[96];
    if (!mc)
        return;
    if (part == STRATEGY_GROUNDS) {
        strategy_show_decision(p, mc->decision);
        return;
    }
    for (int i = 0; i < mc->n_notes; i++) {
        snprintf(text, sizeof text, "%s, on the %s",
                 c->env->catalog->entry[med_analyst(mc, i)].name,
                 i < mc->recruits[0]->n_selected ? "question" : "options");
        p->title(p->user, text);
        p->text(p->user, "  ", mc->note[i] ? mc->note[i] : "the reply cannot be used");
    }
    if (mc->report) {
        p->title(p->user, "Report");
        p->text(p->user, "  ", mc->report);
    }
    for (int r = 0; r < mc->round; r++) {
        snprintf(text, sizeof text, "  vote %d: %d agree, %d disagree, %d cannot be used", r + 1,
                 mc->count[r].agree, mc->count[r].disagree, mc->count[r].unused);
        p->row(p->user, text);
    }
}

static void med_facts(const struct consult *c, enum strategy_form form, struct str *out)
{
    const struct med_case *mc = c->data;
    if (!mc || !mc->n_experts)
        return;
    if (form == STRATEGY_JSON)
        strategy_facts_selected(c, out);
    str_addf(out, ", \"rounds\": %d, \"agreed\": %s, \"votes_by_round\": [", mc->round,
             mc->agreed ? "true" : "false");
    for (int r = 0; r < mc->round; r++)
        str_addf(out, "%s{\"agree\": %d, \"disagree\": %d, \"unused\": %d}", r ? ", " : "",
                 mc->count[r].agree, mc->count[r].disagree, mc->count[r].unused);
    str_addc(out, ']');
}

const struct strategy strategy_medagents = {
    .name = "medagents",
    .doc = "recruited experts analyse, one report is voted on and revised, then the answer",
    .role = med_roles,
    .options = &med_option_set,
    .open = med_open,
    .close = med_close,
    .start = med_start,
    .step = med_step,
    .show = med_show,
    .facts = med_facts,
};
