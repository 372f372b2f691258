/*
 * mdagents: the number of physicians follows the complexity of the case, after Kim et al., MDAgents
 * (NeurIPS 2024).
 *
 *   assessor     says how complex the case is, unless mdagents.complexity says it
 *   low          a clinician answers alone: one call
 *   moderate     a recruiter chooses a panel. Its experts state positions in rounds, each round
 *                one batch, until all agree or mdagents.rounds are over. They read the positions
 *                of the round before. An aggregator reads the last positions and decides.
 *   high         a recruiter chooses teams, which work one after another. The experts of a team
 *                write notes, one batch; its chair reports to the teams after it. The aggregator
 *                reads all reports and decides.
 *
 * An expert or a chair whose reply cannot be used is left out with a warning. In a later round such
 * an expert keeps the position of the round before. A case is unparsed without any usable expert or
 * report, and if any other reply cannot be used. The prompts of a batch share all but their last
 * line.
 */
#include <stdio.h>
#include <string.h>

#include "mem.h"
#include "speaker.h"

#define MD_EXPERTS 12
#define MD_ROUNDS 8
#define MD_TEAMS 4
#define MD_MEMBERS 6
#define MD_LEVELS "auto|low|moderate|high"
enum md_level { MD_AUTO, MD_LOW, MD_MODERATE, MD_HIGH }; /* SPEAKER_LOW.. + 1 */

#define MD_OPTIONS(X)                                                                              \
    X(enum md_level, complexity, ENUM, "mdagents.complexity", NULL, 0, NULL, 0, 0, "auto",         \
      MD_LEVELS, "", OPTION_RESULT | OPTION_CLIENT,                                                \
      "Complexity of every case; auto asks the model for it.")                                     \
    X(int, experts, INT, "mdagents.experts", NULL, 0, NULL, 1, MD_EXPERTS, "5", NULL, "experts",   \
      OPTION_RESULT | OPTION_CLIENT, "How many experts discuss a case of moderate complexity.")    \
    X(int, rounds, INT, "mdagents.rounds", NULL, 0, NULL, 1, MD_ROUNDS, "2", NULL, "rounds",       \
      OPTION_RESULT | OPTION_CLIENT, "Most rounds of that discussion; agreement ends it earlier.") \
    X(int, teams, INT, "mdagents.teams", NULL, 0, NULL, 1, MD_TEAMS, "3", NULL, "teams",           \
      OPTION_RESULT | OPTION_CLIENT,                                                               \
      "How many teams report on a case of high complexity, one after another.")                    \
    X(int, members, INT, "mdagents.members", NULL, 0, NULL, 1, MD_MEMBERS, "3", NULL, "experts",   \
      OPTION_RESULT | OPTION_CLIENT, "How many experts a team has.")

struct md_options {
    MD_OPTIONS(OPTION_MEMBER)
};

static const struct option_row md_rows[] = {
#define MD_ROW(...) OPTION_ROW(struct md_options, __VA_ARGS__)
    MD_OPTIONS(MD_ROW)};

static const struct option_set md_option_set = {md_rows, sizeof md_rows / sizeof md_rows[0],
                                                sizeof(struct md_options), NULL, NULL};

enum { MD_ASSESSOR, MD_CLINICIAN, MD_RECRUITER, MD_EXPERT, MD_CHAIR, MD_AGGREGATOR, MD_N_ROLES };
static const struct strategy_role md_roles[] = {
    [MD_ASSESSOR] = {.name = "assessor",
                     .doc = "says how complex the case is",
                     .key = "assessor",
                     .needs = LLM_CAN_SCHEMA,
                     .temperature = -1,
                     .json = "assessment"},
    [MD_CLINICIAN] = {.name = "clinician",
                      .doc = "answers a case of low complexity alone",
                      .key = "clinician",
                      .needs = LLM_CAN_SCHEMA,
                      .temperature = -1,
                      .json = "decision"},
    [MD_RECRUITER] = {.name = "recruiter",
                      .doc = "chooses the experts",
                      .key = "recruiter",
                      .needs = LLM_CAN_SCHEMA,
                      .temperature = -1,
                      .json = "recruits"},
    [MD_EXPERT] = {.name = "expert",
                   .doc = "states a position in a panel, or writes a note in a team",
                   .key = "expert",
                   .needs = LLM_CAN_SCHEMA,
                   .temperature = -1,
                   .many = true,
                   .json = "opinions"},
    [MD_CHAIR] = {.name = "chair",
                  .doc = "reports for a team",
                  .key = "chair",
                  .needs = LLM_CAN_SCHEMA,
                  .temperature = -1,
                  .many = true,
                  .json = "reports"},
    [MD_AGGREGATOR] = {.name = "aggregator",
                       .doc = "reads the discussion or the reports and decides",
                       .key = "aggregator",
                       .needs = LLM_CAN_SCHEMA,
                       .temperature = -1,
                       .json = "decision"},
    [MD_N_ROLES] = {.name = NULL}};

enum md_speaker {
    MD_ASSESS,
    MD_ALONE,
    MD_RECRUIT_PANEL,
    MD_RECRUIT_TEAMS,
    MD_POSITION,
    MD_NOTE,
    MD_REPORT,
    MD_DECIDE,
    MD_SPEAKERS
};

struct md {
    struct md_options o;
    struct speaker speaker[MD_SPEAKERS];
};

struct md_case {
    enum md_level level; /* MD_AUTO = not assessed yet */
    const char *why;     /* the assessor's reason, or NULL */
    struct answer_selection *experts;
    /* moderate: by round and expert; NULL = cannot be used */
    const struct answer_decision *said[MD_ROUNDS][MD_EXPERTS];
    const struct answer_decision *now[MD_EXPERTS]; /* the last position of each */
    int round, changed;                            /* rounds that are over */
    bool agreed;
    /* high: notes by index of the call; reports by team */
    const char *note[MD_TEAMS * MD_MEMBERS];
    const char *report[MD_TEAMS];
    int team;                         /* teams that are over */
    struct answer_decision *decision; /* NULL = none yet */
};

/* ---- start-up -------------------------------------------------------------------------------- */

static void md_close(void *state)
{
    struct md *t = state;
    if (!t)
        return;
    for (int i = 0; i < MD_SPEAKERS; i++)
        speaker_close(&t->speaker[i]);
    mem_free(t);
}

static const struct md_options *md_options(const struct strategy_env *env)
{
    return config_of(env->config, &md_option_set);
}

/* True when a case of this level may be asked. */
static bool md_may(const struct md_options *o, enum md_level level)
{
    return o->complexity == MD_AUTO || o->complexity == level;
}

static bool md_asks(const struct strategy_env *env, const struct strategy_role *r)
{
    const struct md_options *o = md_options(env);
    switch (r - md_roles) {
    case MD_ASSESSOR:
        return o->complexity == MD_AUTO;
    case MD_CLINICIAN:
        return md_may(o, MD_LOW);
    case MD_CHAIR:
        return md_may(o, MD_HIGH);
    default:
        return o->complexity != MD_LOW;
    }
}

static int md_speakers(struct md *t, const struct strategy_env *env, struct str *describe,
                       struct err *e)
{
    static const char *const plain[] = {"question", "options", NULL};
    static const char *const recruiter[] = {"question", "options", "work", "k", NULL};
    static const char *const expert[] = {
        "question", "options", "discussion", "specialty_name", "specialty_scope", "round", NULL};
    static const char *const member[] = {"question",       "options",         "reports", "task",
                                         "specialty_name", "specialty_scope", NULL};
    static const char *const chair[] = {"question", "options", "reports", "task", "notes", NULL};
    static const char *const aggregator[] = {"question", "options", "work", NULL};
    const struct strategy_role *r = md_roles;
    const struct md_options *o = &t->o;
    bool low = md_may(o, MD_LOW), moderate = md_may(o, MD_MODERATE), high = md_may(o, MD_HIGH);
    const struct {
        bool asked;
        struct speaker_file file;
    } rows[MD_SPEAKERS] = {
        {o->complexity == MD_AUTO, {&r[MD_ASSESSOR], SPEAKER_LEVEL, 0, "assessor", plain}},
        {low, {&r[MD_CLINICIAN], SPEAKER_REASONED, 0, "clinician", plain}},
        {moderate, {&r[MD_RECRUITER], SPEAKER_SELECT, o->experts, "recruiter", recruiter}},
        {high, {&r[MD_RECRUITER], SPEAKER_SELECT, o->teams * o->members, "recruiter", recruiter}},
        {moderate, {&r[MD_EXPERT], SPEAKER_REASONED, 0, "expert", expert}},
        {high, {&r[MD_EXPERT], SPEAKER_NOTE, 0, "member", member}},
        {high, {&r[MD_CHAIR], SPEAKER_NOTE, 0, "chair", chair}},
        {moderate || high, {&r[MD_AGGREGATOR], SPEAKER_DECISION, 0, "aggregator", aggregator}}};
    for (int i = 0; i < MD_SPEAKERS; i++)
        if (rows[i].asked)
            TRY(speaker_open(env, "mdagents", &rows[i].file, describe, &t->speaker[i], e));
    return 0;
}

static int md_open(const struct strategy_env *env, struct str *describe, void **state,
                   struct err *e)
{
    int rc, n = env->catalog->n;
    struct md *t = mem_zalloc(1, sizeof *t);
    if (!t)
        return NOMEM(e, sizeof *t, "a strategy");
    t->o = *md_options(env);
    if (md_may(&t->o, MD_MODERATE) && t->o.experts > n)
        TRY_DONE(err_set(e, ERR_CONFIG, "mdagents.experts is %d, the catalogue has %d specialties",
                         t->o.experts, n));
    if (md_may(&t->o, MD_HIGH) && t->o.teams * t->o.members > n)
        TRY_DONE(err_set(e, ERR_CONFIG,
                         "mdagents.teams is %d of %d members, the catalogue has %d specialties; "
                         "lower mdagents.members",
                         t->o.teams, t->o.members, n));
    TRY_DONE(md_speakers(t, env, describe, e));
    *state = t;
    t = NULL;
done:
    md_close(t);
    return rc;
}

/* ---- complexity ------------------------------------------------------------------------------ */

/* Asks the first call of the case's level. */
static int md_begin(const struct md *t, struct consult *c, struct err *e)
{
    const struct md_case *mc = c->data;
    const char *plain[] = {c->q->text, c->options};
    char k[8], work[96];
    if (mc->level == MD_LOW)
        return speaker_submit(&t->speaker[MD_ALONE], c, 0, -1, plain, e);
    bool panel = mc->level == MD_MODERATE;
    const struct speaker *s = &t->speaker[panel ? MD_RECRUIT_PANEL : MD_RECRUIT_TEAMS];
    snprintf(k, sizeof k, "%d", s->k);
    if (panel)
        snprintf(work, sizeof work, "a panel that discusses the case");
    else
        snprintf(work, sizeof work, "%d teams of %d that work on the case one after another",
                 t->o.teams, t->o.members);
    const char *values[] = {c->q->text, c->options, work, k};
    return speaker_submit(s, c, 0, -1, values, e);
}

static int md_start(const void *state, struct consult *c, struct err *e)
{
    const struct md *t = state;
    const char *values[] = {c->q->text, c->options};
    struct md_case *mc = arena_alloc(&c->arena, 1, sizeof *mc);
    if (!mc)
        return NOMEM(e, sizeof *mc, "a case");
    c->data = mc;
    mc->level = t->o.complexity;
    if (mc->level == MD_AUTO)
        return speaker_submit(&t->speaker[MD_ASSESS], c, 0, -1, values, e);
    return md_begin(t, c, e);
}

/* ---- the aggregator -------------------------------------------------------------------------- */

/* The last position of each expert, in the form that experts and the aggregator read. */
static int md_discussion(struct consult *c, const char **out, struct err *e)
{
    const struct md_case *mc = c->data;
    struct str s = STR_INIT;
    if (mc->round)
        str_addf(&s, "Positions after round %d", mc->round);
    else
        str_adds(&s, "Nobody has spoken yet.");
    for (int i = 0; i < mc->experts->n_selected; i++)
        if (mc->now[i])
            str_addf(&s, "\n%s (answer %s): %s",
                     c->env->catalog->entry[mc->experts->selected[i]].name, mc->now[i]->text,
                     mc->now[i]->justification);
    return speaker_text(c, &s, out, e);
}

static const char *md_task(const struct md *t, int team)
{
    if (team + 1 == t->o.teams && team)
        return "final review, before the decision";
    return team ? "diagnosis, from the first assessment on" : "first assessment";
}

static int md_reports(const struct md *t, struct consult *c, const char **out, struct err *e)
{
    const struct md_case *mc = c->data;
    struct str s = STR_INIT;
    for (int i = 0; i < mc->team; i++)
        if (mc->report[i])
            str_addf(&s, "%sTeam %d (%s): %s", s.len ? "\n\n" : "", i + 1, md_task(t, i),
                     mc->report[i]);
    if (!s.len)
        str_adds(&s, "none");
    return speaker_text(c, &s, out, e);
}

static int md_decide(const struct md *t, struct consult *c, struct err *e)
{
    const struct md_case *mc = c->data;
    struct str s = STR_INIT;
    bool panel = mc->level == MD_MODERATE;
    const char *text = NULL, *work = NULL;
    TRY(panel ? md_discussion(c, &text, e) : md_reports(t, c, &text, e));
    str_addf(&s, "%s:\n%s", panel ? "Discussion of the panel" : "Reports of the teams", text);
    TRY(speaker_text(c, &s, &work, e));
    const char *values[] = {c->q->text, c->options, work};
    return speaker_submit(&t->speaker[MD_DECIDE], c, 0, -1, values, e);
}

/* ---- moderate: a panel ----------------------------------------------------------------------- */

static int md_ask_panel(const struct md *t, struct consult *c, struct err *e)
{
    const struct md_case *mc = c->data;
    struct consult_ask ask[MD_EXPERTS];
    const char *values[MD_EXPERTS][6], *discussion = NULL;
    char round[8];
    snprintf(round, sizeof round, "%d", mc->round + 1);
    TRY(md_discussion(c, &discussion, e));
    for (int i = 0; i < mc->experts->n_selected; i++) {
        int at = mc->experts->selected[i];
        const struct catalog_entry *s = &c->env->catalog->entry[at];
        const char *fill[] = {c->q->text, c->options, discussion, s->name, s->scope, round};
        memcpy(values[i], fill, sizeof fill);
        ask[i] =
            speaker_ask(&t->speaker[MD_POSITION], c, mc->round * t->o.experts + i, at, values[i]);
    }
    return consult_submit_all(c, ask, mc->experts->n_selected, e);
}

static int md_discussed(const struct md *t, struct consult *c, struct err *e)
{
    struct md_case *mc = c->data;
    const struct answer_decision *first = NULL;
    bool same = true;
    c->n_reports = 0;
    if (!mc->round)
        TRY(speaker_choices(c, mc->said[0], t->o.experts, e));
    speaker_warn(c, speaker_first(c, &md_roles[MD_EXPERT], mc->round * t->o.experts));
    for (int i = 0; i < mc->experts->n_selected; i++) {
        const struct answer_decision *d = mc->said[mc->round][i];
        mc->changed += d && mc->now[i] && !answer_same_decision(d, mc->now[i]);
        mc->now[i] = d ? d : mc->now[i];
        if (!mc->now[i])
            continue;
        first = first ? first : mc->now[i];
        same = same && answer_same_decision(first, mc->now[i]);
        c->n_reports++;
    }
    mc->round++;
    if (!first) {
        consult_unparsed(c, "no expert's reply could be used: %s", c->last->why);
        return 0;
    }
    mc->agreed = same && c->n_reports == mc->experts->n_selected;
    return mc->agreed || mc->round == t->o.rounds ? md_decide(t, c, e) : md_ask_panel(t, c, e);
}

/* ---- high: teams ----------------------------------------------------------------------------- */

/* The place of a team's first member among the experts. A specialty that was named twice is asked
 * once, so the experts may be fewer than teams x members. */
static int md_first(const struct md_case *mc, int team, int teams)
{
    return team * mc->experts->n_selected / teams;
}

static int md_ask_team(const struct md *t, struct consult *c, struct err *e)
{
    const struct md_case *mc = c->data;
    struct consult_ask ask[MD_MEMBERS];
    const char *values[MD_MEMBERS][6], *reports = NULL;
    int first = md_first(mc, mc->team, t->o.teams);
    const int n = md_first(mc, mc->team + 1, t->o.teams) - first;
    TRY(md_reports(t, c, &reports, e));
    for (int i = 0; i < n; i++) {
        int at = mc->experts->selected[first + i];
        const struct catalog_entry *s = &c->env->catalog->entry[at];
        const char *fill[] = {c->q->text,           c->options, reports,
                              md_task(t, mc->team), s->name,    s->scope};
        memcpy(values[i], fill, sizeof fill);
        ask[i] = speaker_ask(&t->speaker[MD_NOTE], c, first + i, at, values[i]);
    }
    return consult_submit_all(c, ask, n, e);
}

/* The next team works, or the aggregator decides. */
static int md_after_team(const struct md *t, struct consult *c, struct err *e)
{
    struct md_case *mc = c->data;
    bool any = false;
    if (++mc->team < t->o.teams)
        return md_ask_team(t, c, e);
    for (int i = 0; i < mc->team; i++)
        any = any || mc->report[i];
    if (!any) {
        consult_unparsed(c, "no team's report could be used: %s", c->last->why);
        return 0;
    }
    return md_decide(t, c, e);
}

/* The members of a team have written their notes: its chair reports. */
static int md_noted(const struct md *t, struct consult *c, struct err *e)
{
    const struct md_case *mc = c->data;
    struct str s = STR_INIT;
    const char *reports = NULL, *notes = NULL;
    int first = md_first(mc, mc->team, t->o.teams), end = md_first(mc, mc->team + 1, t->o.teams);
    speaker_warn(c, speaker_first(c, &md_roles[MD_EXPERT], first));
    for (int i = first; i < end; i++)
        if (mc->note[i]) {
            str_addf(&s, "%s%s: %s", s.len ? "\n\n" : "",
                     c->env->catalog->entry[mc->experts->selected[i]].name, mc->note[i]);
            c->n_reports++;
        }
    if (!s.len) { /* a team without a note has nothing to report */
        str_free(&s);
        consult_warn(c, "team %d gives no report: no note could be used", mc->team + 1);
        return md_after_team(t, c, e);
    }
    TRY(speaker_text(c, &s, &notes, e));
    TRY(md_reports(t, c, &reports, e));
    const char *values[] = {c->q->text, c->options, reports, md_task(t, mc->team), notes};
    return speaker_submit(&t->speaker[MD_REPORT], c, mc->team, -1, values, e);
}

/* ---- replies --------------------------------------------------------------------------------- */

static int md_assessed(const struct md *t, struct consult *c, struct consult_call *call,
                       struct err *e)
{
    struct md_case *mc = c->data;
    struct answer_label *v = NULL;
    TRY(speaker_read_label(&t->speaker[MD_ASSESS], call, &v, e));
    if (!v) {
        consult_unparsed(c, "assessor: %s", call->why);
        return 0;
    }
    consult_warn_closed(call, call->role->name);
    mc->level = (enum md_level)(v->label - SPEAKER_LOW + MD_LOW);
    mc->why = v->text;
    return md_begin(t, c, e);
}

static int md_recruited(const struct md *t, struct consult *c, struct consult_call *call,
                        struct err *e)
{
    struct md_case *mc = c->data;
    bool panel = mc->level == MD_MODERATE;
    TRY(speaker_read_selection(&t->speaker[panel ? MD_RECRUIT_PANEL : MD_RECRUIT_TEAMS], call,
                               &mc->experts, e));
    if (!mc->experts) {
        consult_unparsed(c, "recruiter: %s", call->why);
        return 0;
    }
    consult_warn_closed(call, call->role->name);
    if (!panel && mc->experts->n_selected < t->o.teams) {
        consult_unparsed(c, "recruiter: %d different specialties for %d teams",
                         mc->experts->n_selected, t->o.teams);
        return 0;
    }
    c->selected = mc->experts->selected;
    c->n_selected = mc->experts->n_selected;
    return panel ? md_ask_panel(t, c, e) : md_ask_team(t, c, e);
}

static int md_spoken(const struct md *t, struct consult *c, struct consult_call *call,
                     struct err *e)
{
    struct md_case *mc = c->data;
    struct answer_decision *d = NULL;
    if (mc->level == MD_HIGH) {
        TRY(speaker_read_note(call, &mc->note[call->index], e));
        return speaker_round_over(c) ? md_noted(t, c, e) : 0;
    }
    TRY(speaker_read_decision(&t->speaker[MD_POSITION], call, &d, e));
    mc->said[mc->round][call->index % t->o.experts] = d;
    return speaker_round_over(c) ? md_discussed(t, c, e) : 0;
}

static int md_step(const void *state, struct consult *c, struct consult_call *call, struct err *e)
{
    const struct md *t = state;
    struct md_case *mc = c->data;
    switch (call->role - md_roles) {
    case MD_ASSESSOR:
        return md_assessed(t, c, call, e);
    case MD_CLINICIAN:
        return speaker_decide(&t->speaker[MD_ALONE], call, &mc->decision, e);
    case MD_RECRUITER:
        return md_recruited(t, c, call, e);
    case MD_EXPERT:
        return md_spoken(t, c, call, e);
    case MD_CHAIR:
        TRY(speaker_read_note(call, &mc->report[mc->team], e));
        speaker_warn(c, call);
        return md_after_team(t, c, e);
    default:
        return speaker_decide(&t->speaker[MD_DECIDE], call, &mc->decision, e);
    }
}

/* ---- a finished case ------------------------------------------------------------------------- */

static const char *md_level_name(enum md_level level)
{
    static const char *const names[] = {"auto", "low", "moderate", "high"};
    return names[level];
}

static void md_show_panel(const struct consult *c, const struct strategy_page *p)
{
    const struct md_case *mc = c->data;
    char text[160], name[2];
    for (int r = 0; r < mc->round; r++) {
        snprintf(text, sizeof text, "Round %d", r + 1);
        p->title(p->user, text);
        for (int i = 0; i < c->n_selected; i++) {
            const struct answer_decision *d = mc->said[r][i];
            snprintf(text, sizeof text,
                     "  %s  %.40s: ", c->env->catalog->entry[c->selected[i]].name,
                     d ? speaker_answer_name(c, d, name) : "no position");
            p->text(p->user, text, d ? d->justification : "the reply cannot be used");
        }
    }
}

static void md_show_teams(const struct consult *c, const struct strategy_page *p)
{
    const struct md_case *mc = c->data;
    const int teams = md_options(c->env)->teams;
    char text[160];
    for (int i = 0; i < mc->team; i++) {
        snprintf(text, sizeof text, "Team %d", i + 1);
        p->title(p->user, text);
        for (int k = md_first(mc, i, teams); k < md_first(mc, i + 1, teams); k++) {
            snprintf(text, sizeof text, "  %s: ", c->env->catalog->entry[c->selected[k]].name);
            p->text(p->user, text, mc->note[k] ? mc->note[k] : "the reply cannot be used");
        }
        p->text(p->user, "  report: ", mc->report[i] ? mc->report[i] : "none");
    }
}

static void md_show(const struct consult *c, enum strategy_part part, const struct strategy_page *p)
{
    const struct md_case *mc = c->data;
    if (!mc || mc->level == MD_AUTO)
        return;
    if (part == STRATEGY_GROUNDS) {
        strategy_show_decision(p, mc->decision);
        return;
    }
    p->text(p->user, "complexity    ", md_level_name(mc->level));
    if (mc->why && mc->why[0])
        p->text(p->user, "because       ", mc->why);
    if (mc->level == MD_MODERATE)
        md_show_panel(c, p);
    if (mc->level == MD_HIGH)
        md_show_teams(c, p);
}

static void md_facts(const struct consult *c, enum strategy_form form, struct str *out)
{
    const struct md_case *mc = c->data;
    if (!mc || mc->level == MD_AUTO)
        return;
    str_addf(out, ", \"complexity\": \"%s\"", md_level_name(mc->level));
    if (form == STRATEGY_JSON && c->selected)
        strategy_facts_selected(c, out);
    if (mc->level == MD_MODERATE)
        str_addf(out, ", \"rounds\": %d, \"agreed\": %s, \"changed\": %d", mc->round,
                 mc->agreed ? "true" : "false", mc->changed);
    if (mc->level == MD_HIGH)
        str_addf(out, ", \"teams\": %d", mc->team);
}

const struct strategy strategy_mdagents = {
    .name = "mdagents",
    .doc = "complexity first, then one physician, a panel that discusses, or teams",
    .role = md_roles,
    .options = &md_option_set,
    .asks = md_asks,
    .open = md_open,
    .close = md_close,
    .start = md_start,
    .step = md_step,
    .show = md_show,
    .facts = md_facts,
};
