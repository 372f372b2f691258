#include "one_case.h"

#include <stdio.h>

#include "cli.h"
#include "clinic.h"
#include "sheet.h"
#include "toy.h"
#include "zio.h"

struct options {
    struct clinic_options clinic;
    const char *question, *file, *options, *out;
    bool json, plan_only;
};

enum { OPT_JSON = 1, OPT_OUT, OPT_PLAN_ONLY };

static const struct argp_option rows[] = {
    {"plan-only", OPT_PLAN_ONLY, 0, 0, "stop after the plan and print it",
     1}, /* first: not of plan */
    {"question", 'q', "TEXT", 0, "the case", 1},
    {"file", 'f', "FILE", 0, "read the case from a file (UTF-8), '-' = standard input", 1},
    {"options", 'o', "LIST", 0,
     "the options, as in \"A. GERD||B. Acute MI\"; without them the answer "
     "is in words",
     1},
    {"out", OPT_OUT, "DIR", 0, "folder of the trace; otherwise a new one in logging.traces_dir", 1},
    {"json", OPT_JSON, 0, 0, "print one JSON object", 1},
    {0}};

static error_t parse(int key, char *arg, struct argp_state *st)
{
    struct options *o = st->input;
    switch (key) {
    case ARGP_KEY_INIT:
        st->child_inputs[0] = &o->clinic;
        return 0;
    case 'q':
        o->question = arg;
        return 0;
    case 'f':
        o->file = arg;
        return 0;
    case 'o':
        o->options = arg;
        return 0;
    case OPT_OUT:
        o->out = arg;
        return 0;
    case OPT_JSON:
        o->json = true;
        return 0;
    case OPT_PLAN_ONLY:
        o->plan_only = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(st, "unexpected argument '%s'; pass the case with -q", arg);
        return EINVAL;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

struct shown { /* of the callbacks */
    struct energy *energy;
    bool json, plan_only;
    const char *dir;
    const char *noise; /* of sheet_json */
    enum consult_state state;
    char why[512];
};

static void print_json(const struct consult *c, const struct result *r, const struct shown *s)
{
    struct str text = STR_INIT;
    sheet_json(c, r, s->dir, s->noise, &text);
    if (text.failed)
        fprintf(stderr, "mas: out of memory while printing\n");
    else
        fwrite(text.s, 1, text.len, stdout);
    str_free(&text);
}

static void on_case(const struct consult *c, const struct result *r, void *user)
{
    struct shown *s = user;
    s->state = r->state;
    snprintf(s->why, sizeof s->why, "%s", r->why);
    if (s->json)
        print_json(c, r, s);
    else if (s->plan_only)
        sheet_work(stdout, clinic_width(stdout), c);
    else
        sheet_print(stdout, clinic_width(stdout), c, r, s->dir);
}

static double on_joules(void *user, const char **source)
{
    return energy_joules(((struct shown *)user)->energy, source);
}

/* The exit of a case that was asked. */
static int outcome(const struct shown *s, struct err *e)
{
    if (s->plan_only && s->state != CONSULT_PLANNED)
        FAIL(e, ERR_ITEMS, "no plan (%s): %s", consult_state_name(s->state), s->why);
    if (!s->plan_only && s->state != CONSULT_ANSWERED)
        FAIL(e, ERR_ITEMS, "the case has no answer (%s)", consult_state_name(s->state));
    return 0;
}

static int answer(const struct options *o, struct err *e)
{
    struct clinic c = {.llm = NULL};
    struct medqa m = {.n = 0};
    struct trace *t = NULL;
    char dir[1024], noise[TOY_TEXT] = "";
    int rc;
    TRY_DONE(clinic_case(o->question, o->file, o->options, &m, e));
    const atomic_int *stop = clinic_signals();
    TRY_DONE(clinic_open(&o->clinic, false, false, o->plan_only, &c, e));
    TRY_DONE(
        strategy_takes(c.env.strategy, m.question->n_options, e)); /* before a folder is made */
    const char *model = llm_info(c.llm)->name;
    toy_says(model, m.question, noise);
    FILE *page = o->json ? stderr : stdout;
    sheet_noise(page, clinic_width(page), noise);
    struct clinic_trace ct = {
        .dir = o->out, .name = o->plan_only ? "plan" : "run", .data_path = "-", .data = &m};
    TRY_DONE(clinic_trace(&c, &ct, dir, &t, e));
    if (trace_has(t, m.question[0].index))
        TRY_DONE(err_set(e, ERR_CREATE,
                         "%s holds the answer to this case already; choose another --out", dir));
    struct shown shown = {.energy = &c.energy,
                          .json = o->json,
                          .plan_only = o->plan_only,
                          .dir = dir,
                          .noise = toy_is(model) ? noise : NULL,
                          .state = CONSULT_OPEN};
    struct run_options ro = {.env = &c.env,
                             .question = m.question,
                             .n = 1,
                             .trace = t,
                             .stop = stop,
                             .joules = on_joules,
                             .finished = on_case,
                             .user = &shown};
    rc = run_questions(&ro, NULL, e);
    if (rc < 0) { /* the run's own error is the one to show */
        struct err ignored;
        (void)trace_stopped(t, e->msg, &ignored);
    }
    TRY_DONE(clinic_ran(&o->clinic, &c, rc, e));
    sheet_noise(page, clinic_width(page), noise);
    TRY_DONE(outcome(&shown, e));
done:
    trace_close(t);
    clinic_close(&c);
    medqa_free(&m);
    return rc;
}

int one_case(int argc, char **argv, bool plan_only, const char *doc)
{
    static const struct argp_child children[] = {{&clinic_argp, 0, "Settings:", 20}, {0}};
    const struct argp argp = {plan_only ? rows + 1 : rows, parse, NULL, doc, children, NULL, NULL};
    struct options o = {.clinic = {.or_demo = true}, .plan_only = plan_only};
    struct err e = {0};
    int done = cli_parse(&argp, argc, argv, &o);
    if (done >= 0)
        return done;
    clinic_notice();
    return answer(&o, &e) < 0 ? clinic_fail(&e) : 0;
}
