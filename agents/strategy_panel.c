/* panel: a planner chooses K specialists, they report side by side in one batch, an aggregator
 * decides.
 *
 * Selections: compact and full ask the planner for JSON. logit ranks the catalogue by the model's
 * own log-probability of each id (one scoring call). all, random and fixed ask no planner. A case
 * takes K + 2 calls, or K + 1 without a planner.
 *
 * A specialist with an unusable reply is left out with a warning. A case without any report, plan
 * or decision is unparsed. The order in which specialists answer changes nothing: reports stand in
 * the order of selection. Of a reply that was closed at its token limit, only the parts that the
 * model finished are used. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "agreement.h"
#include "rng.h"
#include "strategy_panel.h"

/* a scored catalogue of 28 takes about 2,100 tokens with Llama 3 */
#define PANEL_FULL_TOKENS 2400
#define PANEL_DECISION_TOKENS 64 /* the frame of a decision and a justification of some words */
#define PANEL_REPORT_TOKENS 96

enum panel_selection {
    PANEL_COMPACT,
    PANEL_FULL,
    PANEL_LOGIT,
    PANEL_ALL,
    PANEL_RANDOM,
    PANEL_FIXED
};
#define PANEL_SELECTIONS "compact|full|logit|all|random|fixed" /* in the order of the enum */

/* X(..) as in option.h. */
#define PANEL_OPTIONS(X)                                                                           \
    X(int, top_k, INT, "planner.top_k", NULL, 0, NULL, 1, 28, "5", NULL, "specialties",            \
      OPTION_RESULT | OPTION_CLIENT, "How many specialists see a case.")                           \
    X(enum panel_selection, selection, ENUM, "planner.selection", NULL, 0, NULL, 0, 0, "compact",  \
      PANEL_SELECTIONS, "", OPTION_RESULT | OPTION_CLIENT,                                         \
      "How specialists are chosen: short JSON, scored catalogue, log-probability, or an "          \
      "ablation.")                                                                                 \
    X(struct option_list, fixed, LIST, "planner.fixed", NULL, 0, NULL, 0, OPTION_LIST_MAX, "",     \
      NULL, "specialty ids", OPTION_RESULT | OPTION_CLIENT,                                        \
      "The specialists of every case when planner.selection is fixed.")

struct panel_options {
    PANEL_OPTIONS(OPTION_MEMBER)
};

static const struct strategy_role panel_roles[] = {PANEL_ROLES(false), {.name = NULL}};

struct panel {
    enum panel_selection selection;
    int k;
    int fixed[CATALOG_MAX];
    struct prompt *planner, *specialist, *aggregator;
    const struct llm_schema *planner_schema;
    const struct llm_schema *specialist_schema[CATALOG_MAX];       /* by catalogue index */
    const struct llm_schema *aggregator_schema[MEDQA_OPTIONS + 1]; /* by number of options */
    char id_text[CATALOG_MAX][66]; /* " cardiology": continuations for logit */
    struct llm_text id[CATALOG_MAX];
    struct synonyms synonyms; /* for the agreement of the reports */
};

struct panel_case {
    struct answer_plan plan;
    struct answer_report report[CATALOG_MAX]; /* (plan.n_selected), in order of selection */
    int n_back;                               /* specialists that have answered */
    const struct answer_report *kept;         /* (consult.n_reports) those that could be used */
    const struct answer_decision *decision;   /* NULL = none yet */
    void *more;                               /* of a strategy that goes on */
};

/* ---- start-up -------------------------------------------------------------------------------- */

static void panel_close(void *state)
{
    struct panel *p = state;
    if (!p)
        return;
    prompt_close(p->planner);
    prompt_close(p->specialist);
    prompt_close(p->aggregator);
    synonyms_free(&p->synonyms);
    mem_free(p);
}

static int panel_fixed(struct panel *p, const struct strategy_env *env,
                       const struct option_list *ids, struct err *e)
{
    for (int i = 0; i < ids->n; i++) {
        int rc = catalog_need(env->catalog, ids->item[i], &p->fixed[i], e);
        if (rc < 0)
            return err_wrap(e, rc, "planner.fixed");
    }
    p->k = ids->n;
    return 0;
}

/* Says why the selection cannot be. */
static int panel_refuse(const struct config *c, const char *why, struct err *e)
{
    struct str now = STR_INIT;
    config_value(c, "planner.selection", &now);
    int rc = str_ok(&now, "a message", e);
    if (rc == 0)
        rc = err_set(e, ERR_CONFIG, "planner.selection %s %s", now.s, why);
    str_free(&now);
    return rc;
}

/* The options by themselves, before anything is loaded. */
static int panel_check(const struct config *c, struct err *e)
{
    const struct panel_options *o = config_of(c, &panel_option_set);
    if (o->selection == PANEL_FIXED && !o->fixed.n)
        return panel_refuse(
            c, "needs planner.fixed, which names no specialty; add planner.fixed: [id, ..]", e);
    if (o->selection != PANEL_FIXED && o->fixed.n)
        return panel_refuse(c,
                            "looks at no planner.fixed, which is set; set planner.selection: fixed "
                            "or remove planner.fixed",
                            e);
    for (int i = 0; i < o->fixed.n; i++)
        for (int j = 0; j < i; j++)
            if (!strcmp(o->fixed.item[i], o->fixed.item[j]))
                FAIL(e, ERR_CONFIG, "planner.fixed names '%s' twice; remove one", o->fixed.item[i]);
    return 0;
}

bool panel_asks_role(const struct strategy_env *env, int role)
{
    const struct panel_options *o = config_of(env->config, &panel_option_set);
    if (env->n_specialty && role <= PANEL_RANKER)
        return false;
    if (role == PANEL_PLANNER)
        return o->selection <= PANEL_FULL;
    if (role == PANEL_RANKER)
        return o->selection == PANEL_LOGIT;
    if (role == PANEL_SPECIALIST)
        return !env->plan_only && !env->n_given;
    return !env->plan_only && !env->reports_only;
}

static bool panel_asks(const struct strategy_env *env, const struct strategy_role *r)
{
    return panel_asks_role(env, (int)(r - panel_roles));
}

static int panel_choose(struct panel *p, const struct strategy_env *env, struct err *e)
{
    const struct panel_options *o = config_of(env->config, &panel_option_set);
    p->selection = o->selection;
    p->k = p->selection == PANEL_ALL ? env->catalog->n : o->top_k;
    if (env->n_specialty) {
        p->selection = PANEL_FIXED;
        p->k = env->n_specialty;
        memcpy(p->fixed, env->specialty, (size_t)p->k * sizeof *p->fixed);
    } else if (p->selection == PANEL_FIXED) {
        TRY(panel_check(env->config, e));
        TRY(panel_fixed(p, env, &o->fixed, e));
    }
    if (p->k < 1 || p->k > env->catalog->n)
        FAIL(e, ERR_CONFIG, "planner.top_k is %d, the catalogue has %d specialties", p->k,
             env->catalog->n);
    if (env->plan_only && p->selection >= PANEL_ALL)
        return panel_refuse(env->config, "asks no planner: there is no plan to show", e);
    return 0;
}

static const struct option_row panel_rows[] = {
#define PANEL_ROW(...) OPTION_ROW(struct panel_options, __VA_ARGS__)
    PANEL_OPTIONS(PANEL_ROW)};

const struct option_set panel_option_set = {panel_rows, sizeof panel_rows / sizeof panel_rows[0],
                                            sizeof(struct panel_options), panel_check, NULL};

/* Below these limits a reply would be closed before the model has said what counts. */
static int panel_limits(const struct panel *p, const struct agent_options *o, struct err *e)
{
    int planner = p->selection == PANEL_FULL ? PANEL_FULL_TOKENS : 32 + 12 * p->k;
    if (p->selection <= PANEL_FULL)
        TRY(strategy_least_tokens(o, &panel_roles[PANEL_PLANNER], planner, e));
    TRY(strategy_least_tokens(o, &panel_roles[PANEL_SPECIALIST], PANEL_REPORT_TOKENS, e));
    return strategy_least_tokens(o, &panel_roles[PANEL_AGGREGATOR], PANEL_DECISION_TOKENS, e);
}

/* "a","b",.. as JSON text for an enum; only generalists if so wanted. */
static void panel_ids(const struct catalog *cat, bool generalists, struct str *out)
{
    str_addc(out, '[');
    for (int i = 0; i < cat->n; i++)
        if (!generalists || cat->entry[i].kind == CATALOG_GENERALIST)
            str_addf(out, "%s\"%s\"", out->len > 1 ? ", " : "", cat->entry[i].id);
    str_addc(out, ']');
}

static int panel_planner_schema(struct panel *p, const struct strategy_env *env,
                                const struct prompt_source *src, struct str *describe,
                                struct err *e)
{
    bool full = p->selection == PANEL_FULL;
    struct str ids = STR_INIT, generalists = STR_INIT;
    char k[16], n[16];
    int rc;
    panel_ids(env->catalog, false, &ids);
    panel_ids(env->catalog, true, &generalists);
    snprintf(k, sizeof k, "%d", p->k);
    snprintf(n, sizeof n, "%d", env->catalog->n);
    TRY_DONE(str_ok(&ids, "a schema", e));
    TRY_DONE(str_ok(&generalists, "a schema", e));
    struct prompt_constant c[] = {{"specialty_ids", ids.s},
                                  {"generalist_ids", generalists.s},
                                  {"k", k},
                                  {"n_specialties", n}};
    TRY_DONE(strategy_schema(env, src, full ? "planner_full.json" : "planner.json", c, full ? 4 : 3,
                             describe, &p->planner_schema, e));
done:
    str_free(&ids);
    str_free(&generalists);
    return rc;
}

static int panel_planner_prompt(struct panel *p, const struct strategy_env *env,
                                const struct prompt_source *src, const char *system, struct err *e)
{
    static const char *const slots[] = {"question", "options", NULL};
    static const char *const files[] = {"planner", "planner_full", "planner_logit"};
    struct str list = STR_INIT;
    char k[16];
    int rc;
    snprintf(k, sizeof k, "%d", p->k);
    for (int i = 0; i < env->catalog->n; i++)
        str_addf(&list, "%s%s: %s", i ? "\n" : "", env->catalog->entry[i].id,
                 env->catalog->entry[i].scope);
    TRY_DONE(str_ok(&list, "the catalogue's text", e));
    struct prompt_constant c[] = {{"catalogue", list.s}, {"system", system}, {"k", k}};
    TRY_DONE(prompt_open(src, files[p->selection], c, p->selection == PANEL_LOGIT ? 1 : 3, slots,
                         &p->planner, e));
done:
    str_free(&list);
    return rc;
}

static int panel_prompts(struct panel *p, const struct strategy_env *env,
                         const struct prompt_source *src, struct str *describe, struct err *e)
{
    static const char *const specialist[] = {
        "question",     "options",         "rationale", "specialty_name",
        "specialty_id", "specialty_scope", NULL};
    static const char *const aggregator[] = {"question", "options", "rationale", "reports", NULL};
    struct str system = STR_INIT;
    int rc;
    TRY_DONE(prompt_text(src, "system.txt", &system, e));
    struct prompt_constant c = {"system", system.s};
    if (p->selection < PANEL_ALL) {
        TRY_DONE(panel_planner_prompt(p, env, src, system.s, e));
        strategy_describe(describe, prompt_name(p->planner), prompt_hash(p->planner));
    }
    TRY_DONE(prompt_open(src, "specialist", &c, 1, specialist, &p->specialist, e));
    strategy_describe(describe, prompt_name(p->specialist), prompt_hash(p->specialist));
    TRY_DONE(prompt_open(src, "aggregator", &c, 1, aggregator, &p->aggregator, e));
    strategy_describe(describe, prompt_name(p->aggregator), prompt_hash(p->aggregator));
done:
    str_free(&system);
    return rc;
}

static int panel_schemas(struct panel *p, const struct strategy_env *env,
                         const struct prompt_source *src, struct str *describe, struct err *e)
{
    if (p->selection <= PANEL_FULL)
        TRY(panel_planner_schema(p, env, src, describe, e));
    for (int i = 0; i < env->catalog->n; i++) {
        char id[72];
        snprintf(id, sizeof id, "\"%s\"", env->catalog->entry[i].id);
        struct prompt_constant c = {"specialty_id", id};
        TRY(strategy_schema(env, src, "specialist.json", &c, 1, i ? NULL : describe,
                            &p->specialist_schema[i], e));
    }
    for (int n = 0; n <= MEDQA_OPTIONS; n++) {
        char form[96];
        strategy_answer_form(n, form);
        struct prompt_constant c = {"answer", form};
        TRY(strategy_schema(env, src, "aggregator.json", &c, 1, n == 4 ? describe : NULL,
                            &p->aggregator_schema[n], e));
    }
    return 0;
}

static int panel_open(const struct strategy_env *env, struct str *describe, void **state,
                      struct err *e)
{
    struct prompt_source src = {env->options->prompts_dir, "panel"};
    struct panel *p = mem_zalloc(1, sizeof *p);
    int rc;
    if (!p)
        return NOMEM(e, sizeof *p, "a strategy");
    for (int i = 0; i < env->catalog->n; i++) {
        int n = snprintf(p->id_text[i], sizeof p->id_text[i], " %s", env->catalog->entry[i].id);
        p->id[i] = (struct llm_text){p->id_text[i], (size_t)n};
    }
    TRY_DONE(synonyms_read(env->options->synonyms, &p->synonyms, e));
    TRY_DONE(panel_choose(p, env, e));
    TRY_DONE(panel_limits(p, env->options, e));
    TRY_DONE(panel_prompts(p, env, &src, describe, e));
    TRY_DONE(panel_schemas(p, env, &src, describe, e));
    *state = p;
    p = NULL;
done:
    panel_close(p);
    return rc;
}

/* ---- the specialists ------------------------------------------------------------------------- */

static const char *panel_rationale(const struct panel_case *pc)
{
    return pc->plan.rationale && pc->plan.rationale[0] ? pc->plan.rationale : "none";
}

/* All K at once: the llm computes what they share one time and runs the rest as one batch. */
static int panel_ask_specialists(const struct panel *p, struct consult *c, struct err *e)
{
    struct panel_case *pc = c->data;
    c->selected = pc->plan.selected;
    c->n_selected = pc->plan.n_selected;
    if (c->env->plan_only) {
        c->state = CONSULT_PLANNED;
        return 0;
    }
    struct consult_ask ask[CATALOG_MAX];
    const char *values[CATALOG_MAX][6];
    for (int i = 0; i < pc->plan.n_selected; i++) {
        const struct catalog_entry *s = &c->env->catalog->entry[pc->plan.selected[i]];
        const char *fill[] = {c->q->text, c->options, panel_rationale(pc),
                              s->name,    s->id,      s->scope};
        memcpy(values[i], fill, sizeof fill);
        ask[i] = (struct consult_ask){.role = &panel_roles[PANEL_SPECIALIST],
                                      .index = i,
                                      .specialty = pc->plan.selected[i],
                                      .prompt = p->specialist,
                                      .values = values[i],
                                      .schema = p->specialist_schema[pc->plan.selected[i]]};
    }
    return consult_submit_all(c, ask, pc->plan.n_selected, e);
}

static int panel_ask_aggregator(const struct panel *p, struct consult *c, struct err *e)
{
    const struct panel_case *pc = c->data;
    struct str reports = STR_INIT;
    int rc;
    for (int i = 0; i < c->n_reports; i++) {
        if (i)
            str_addc(&reports, '\n');
        answer_report_text(&pc->kept[i], c->env->catalog, &reports);
    }
    TRY_DONE(str_ok(&reports, "reports", e));
    const char *values[] = {c->q->text, c->options, panel_rationale(pc), reports.s};
    struct consult_ask ask = {.role = &panel_roles[PANEL_AGGREGATOR],
                              .specialty = -1,
                              .prompt = p->aggregator,
                              .values = values,
                              .schema = p->aggregator_schema[c->q->n_options],
                              .letter = "final_answer"};
    TRY_DONE(consult_submit(c, &ask, e));
done:
    str_free(&reports);
    return rc;
}

/* ---- the plan -------------------------------------------------------------------------------- */

static int panel_ask_planner(const struct panel *p, struct consult *c, struct err *e)
{
    const char *values[] = {c->q->text, c->options};
    struct consult_ask ask = {.role = &panel_roles[PANEL_PLANNER],
                              .specialty = -1,
                              .prompt = p->planner,
                              .values = values,
                              .schema = p->planner_schema};
    if (p->selection == PANEL_LOGIT) {
        ask.role = &panel_roles[PANEL_RANKER];
        ask.reply_prefix = "Specialty:";
        ask.options = p->id;
        ask.n_options = c->env->catalog->n;
    }
    return consult_submit(c, &ask, e);
}

/* The reports are given: only the decision is left. */
static int panel_start_given(const struct panel *p, struct consult *c, struct err *e)
{
    struct panel_case *pc = c->data;
    for (int i = 0; i < c->env->n_given; i++)
        pc->plan.selected[pc->plan.n_selected++] = c->env->given[i].specialty;
    pc->kept = c->env->given;
    c->selected = pc->plan.selected;
    c->n_selected = c->n_reports = c->env->n_given;
    TRY(agreement_reports(c, &p->synonyms, pc->kept, c->n_reports, e));
    return panel_ask_aggregator(p, c, e);
}

/* K different ones, drawn from the question's own random numbers; in catalogue order. */
static void panel_draw(const struct panel *p, const struct consult *c, struct answer_plan *plan)
{
    uint64_t key = rng_key((uint64_t)c->env->options->seed, consult_id(c->q->id, "plan", 0), 0);
    int n = c->env->catalog->n, left = p->k;
    for (int i = 0; i < n && left; i++)
        if (rng_below(key, (uint64_t)i, (uint32_t)(n - i)) < (uint32_t)left) {
            plan->selected[plan->n_selected++] = i;
            left--;
        }
}

static int panel_start(const void *state, struct consult *c, struct err *e)
{
    const struct panel *p = state;
    struct panel_case *pc = arena_alloc(&c->arena, 1, sizeof *pc);
    if (!pc)
        return NOMEM(e, sizeof *pc, "a case");
    c->data = pc;
    pc->plan.triage = -1;
    if (c->env->n_given)
        return panel_start_given(p, c, e);
    if (p->selection < PANEL_ALL)
        return panel_ask_planner(p, c, e);
    if (p->selection == PANEL_RANDOM)
        panel_draw(p, c, &pc->plan);
    else
        for (int i = 0; i < p->k; i++)
            pc->plan.selected[pc->plan.n_selected++] =
                p->selection == PANEL_FIXED ? p->fixed[i] : i;
    return panel_ask_specialists(p, c, e);
}

/* The K likeliest ids, and the likeliest generalist for triage. The first in the catalogue wins a
 * tie. */
static int panel_rank(const struct panel *p, const struct catalog *cat, const double *lp,
                      struct answer_plan *plan, struct err *why)
{
    bool taken[CATALOG_MAX] = {false};
    for (int i = 0; i < cat->n; i++)
        if (!lp || !(lp[i] <= 0) || isinf(lp[i]))
            FAIL(why, ERR_DATA, "'%s' has no log-probability", cat->entry[i].id);
    for (int j = 0; j < p->k; j++) {
        int best = -1;
        for (int i = 0; i < cat->n; i++)
            if (!taken[i] && (best < 0 || lp[i] > lp[best]))
                best = i;
        taken[best] = true;
        plan->selected[plan->n_selected++] = best;
    }
    for (int i = 0; i < cat->n; i++) {
        plan->log_p[i] = lp[i];
        if (cat->entry[i].kind == CATALOG_GENERALIST &&
            (plan->triage < 0 || lp[i] > lp[plan->triage]))
            plan->triage = i;
    }
    plan->has_log_p = true;
    return 0;
}

static int panel_planned(const struct panel *p, struct consult *c, struct consult_call *call,
                         struct err *e)
{
    struct panel_case *pc = c->data;
    struct err why = {.code = 0};
    int rc = 0;
    if (!consult_usable(call)) {
        consult_unparsed(c, "planner: %s", call->why);
        return 0;
    }
    if (p->selection == PANEL_LOGIT)
        rc = panel_rank(p, c->env->catalog, call->llm.option_lp, &pc->plan, &why);
    else
        rc = answer_plan(call->llm.reply.s, call->llm.reply.len, call->llm.own_len, c->env->catalog,
                         p->k, p->selection == PANEL_FULL, &c->arena, &pc->plan, &why);
    if (rc == ERR_NOMEM)
        FAIL(e, rc, "%s", why.msg);
    if (rc < 0) {
        consult_bad(call, &why);
        consult_unparsed(c, "planner: %s", call->why);
        return 0;
    }
    call->parsed = true;
    consult_warn_closed(call, call->role->name);
    if (pc->plan.selected_twice)
        consult_warn(c, "planner: %d of %d names repeat a specialty and are left out",
                     pc->plan.selected_twice, p->k);
    if (pc->plan.scored_twice)
        consult_warn(c, "planner: %d specialties scored twice, as many not at all",
                     pc->plan.scored_twice);
    return panel_ask_specialists(p, c, e);
}

/* ---- replies --------------------------------------------------------------------------------- */

/* Reports in order of selection; the others leave a warning. */
static int panel_collect(const struct panel *p, struct consult *c, struct err *e)
{
    struct panel_case *pc = c->data;
    struct answer_report *kept = arena_alloc(&c->arena, (size_t)pc->n_back, sizeof *kept);
    if (!kept)
        return NOMEM(e, (size_t)pc->n_back * sizeof *kept, "reports");
    for (const struct consult_call *k = c->first; k; k = k->next) {
        if (k->role != &panel_roles[PANEL_SPECIALIST])
            continue;
        const char *id = c->env->catalog->entry[k->specialty].id;
        if (!k->parsed) {
            consult_warn(c, "no report from %s: %s", id, k->why);
            continue;
        }
        kept[c->n_reports++] = pc->report[k->index];
        consult_warn_closed(k, id);
        if (pc->report[k->index].rescaled)
            consult_warn(c, "%s: probabilities summed to more than 1 and were rescaled", id);
    }
    pc->kept = kept;
    return agreement_reports(c, &p->synonyms, kept, c->n_reports, e);
}

static int panel_reported(const struct panel *p, struct consult *c, struct consult_call *call,
                          struct err *e)
{
    struct panel_case *pc = c->data;
    struct err why = {.code = 0};
    if (consult_usable(call)) {
        int rc = answer_report(call->llm.reply.s, call->llm.reply.len, call->llm.own_len,
                               c->env->catalog, call->specialty, &c->arena,
                               &pc->report[call->index], &why);
        if (rc == ERR_NOMEM)
            FAIL(e, rc, "%s", why.msg);
        if (rc < 0)
            consult_bad(call, &why);
        call->parsed = !rc;
    }
    if (++pc->n_back < pc->plan.n_selected)
        return 0;
    TRY(panel_collect(p, c, e));
    if (!c->n_reports) {
        consult_unparsed(c, "no specialist's report could be used: %s", c->last->why);
        return 0;
    }
    if (c->env->reports_only) {
        c->state = CONSULT_REPORTED;
        return 0;
    }
    return panel_ask_aggregator(p, c, e);
}

static int panel_decided(struct consult *c, struct consult_call *call, struct err *e)
{
    struct panel_case *pc = c->data;
    struct err why = {.code = 0};
    struct answer_decision *d = arena_alloc(&c->arena, 1, sizeof *d);
    if (!d)
        return NOMEM(e, sizeof *d, "a decision");
    if (!consult_usable(call)) {
        consult_unparsed(c, "aggregator: %s", call->why);
        return 0;
    }
    int rc = answer_decision(call->llm.reply.s, call->llm.reply.len, call->llm.own_len,
                             c->q->n_options, &c->arena, d, &why);
    if (rc == ERR_NOMEM)
        FAIL(e, rc, "%s", why.msg);
    if (rc < 0) {
        consult_bad(call, &why);
        consult_unparsed(c, "aggregator: %s", call->why);
        return 0;
    }
    call->parsed = true;
    consult_warn_closed(call, call->role->name);
    pc->decision = d;
    consult_take_p(c, call);
    consult_answer(c, d->letter, d->text);
    return 0;
}

static int panel_step(const void *state, struct consult *c, struct consult_call *call,
                      struct err *e)
{
    const struct panel *p = state;
    if (call->role == &panel_roles[PANEL_SPECIALIST])
        return panel_reported(p, c, call, e);
    if (call->role == &panel_roles[PANEL_AGGREGATOR])
        return panel_decided(c, call, e);
    return panel_planned(p, c, call, e);
}

/* ---- a finished case ------------------------------------------------------------------------- */

const struct answer_report *panel_reports(const struct consult *c)
{
    return ((const struct panel_case *)c->data)->kept;
}

const struct answer_decision *panel_decision(const struct consult *c)
{
    return ((const struct panel_case *)c->data)->decision;
}

void *panel_more(const struct consult *c)
{
    return c->data ? ((const struct panel_case *)c->data)->more : NULL;
}

void panel_set_more(struct consult *c, void *more)
{
    ((struct panel_case *)c->data)->more = more;
}

static void panel_show_scores(const struct strategy_page *page, const struct answer_plan *p,
                              const struct catalog *cat)
{
    char row[160];
    if (p->has_scores) {
        snprintf(row, sizeof row, "              %-26s relevance  coverage  urgency  procedure",
                 "");
        page->row(page->user, row);
    }
    for (int i = 0; i < cat->n && p->has_scores; i++)
        if (p->score[i].present) {
            snprintf(row, sizeof row, "              %-26s %9.2f %9.2f %8.2f %10.2f",
                     cat->entry[i].id, p->score[i].relevance, p->score[i].coverage_gain,
                     p->score[i].urgency_alignment, p->score[i].procedural_signal);
            page->row(page->user, row);
        }
    for (int i = 0; i < p->n_selected && p->has_log_p; i++) {
        snprintf(row, sizeof row, "              %-26s log p %8.3f", cat->entry[p->selected[i]].id,
                 p->log_p[p->selected[i]]);
        page->row(page->user, row);
    }
}

static void panel_show_plan(const struct strategy_page *page, const struct answer_plan *p,
                            const struct catalog *cat)
{
    const char *names[CATALOG_MAX];
    for (int i = 0; i < p->n_selected; i++)
        names[i] = cat->entry[p->selected[i]].name;
    if (p->triage >= 0)
        page->text(page->user, "triage        ", cat->entry[p->triage].name);
    strategy_show_list(page, "asked         ", names, p->n_selected);
    if (p->rationale && p->rationale[0])
        page->text(page->user, "because       ", p->rationale);
    panel_show_scores(page, p, cat);
}

static void panel_show_report(const struct strategy_page *page, const struct answer_report *r,
                              const struct catalog *cat)
{
    page->title(page->user, cat->entry[r->specialty].name);
    for (int i = 0; i < r->n_dx; i++) {
        const struct answer_dx *d = &r->dx[i];
        char head[32];
        snprintf(head, sizeof head, "  %4.2f  ", d->p);
        page->text(page->user, head, d->dx);
        strategy_show_list(page, "        for      ", d->evidence_for, d->n_for);
        strategy_show_list(page, "        against  ", d->evidence_against, d->n_against);
        strategy_show_list(page, "        would tell apart  ", d->discriminators,
                           d->n_discriminators);
    }
    if (r->notes[0])
        page->text(page->user, "  notes ", r->notes);
}

static void panel_show(const struct consult *c, enum strategy_part part,
                       const struct strategy_page *page)
{
    const struct panel_case *pc = c->data;
    if (!c->selected) /* there is no plan yet */
        return;
    if (part == STRATEGY_GROUNDS) {
        strategy_show_decision(page, pc->decision);
        return;
    }
    panel_show_plan(page, &pc->plan, c->env->catalog);
    for (int i = 0; i < c->n_reports; i++)
        panel_show_report(page, &pc->kept[i], c->env->catalog);
}

static void panel_facts(const struct consult *c, enum strategy_form form, struct str *out)
{
    const struct panel_case *pc = c->data;
    const struct catalog *cat = c->env->catalog;
    if (!c->selected)
        return;
    if (pc->plan.triage >= 0)
        str_addf(out, ", \"%s\": \"%s\"", form == STRATEGY_TRACE ? "triage" : "triage_generalist",
                 cat->entry[pc->plan.triage].id);
    if (form == STRATEGY_TRACE)
        return;
    strategy_facts_selected(c, out);
    for (int i = 0; i < cat->n && pc->plan.has_log_p; i++) {
        str_addf(out, "%s\"%s\": ", i ? ", " : ", \"log_p\": {", cat->entry[i].id);
        str_add_number(out, pc->plan.log_p[i], 9);
        str_adds(out, i + 1 < cat->n ? "" : "}");
    }
}

const struct strategy strategy_panel = {
    .name = "panel",
    .doc = "planner, K specialists side by side, aggregator: K + 2 calls",
    .role = panel_roles,
    .plans = true,
    .reports = true,
    .asks = panel_asks,
    .options = &panel_option_set,
    .open = panel_open,
    .close = panel_close,
    .start = panel_start,
    .step = panel_step,
    .show = panel_show,
    .facts = panel_facts,
};
