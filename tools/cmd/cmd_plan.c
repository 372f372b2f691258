/* mas plan: asks only the planner and shows which specialists it would ask. */
#include <string.h>

#include "cli.h"
#include "clinic.h"
#include "cmd.h"
#include "sheet.h"
#include "toy.h"

struct options {
    struct clinic_options clinic;
    const char *question, *file, *options;
    bool json;
};

enum { OPT_JSON = 1 };

static const struct argp_option rows[] = {
    {"question", 'q', "TEXT", 0, "the case", 1},
    {"file", 'f', "FILE", 0, "read the case from a file (UTF-8), '-' = standard input", 1},
    {"options", 'o', "LIST", 0, "the options, as in \"A. GERD||B. Acute MI\"", 1},
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
    case OPT_JSON:
        o->json = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(st, "unexpected argument '%s'; pass the case with -q", arg);
        return EINVAL;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

struct shown {
    bool json;
    const char *dir;
    const char *noise; /* of sheet_json */
    enum consult_state state;
    char why[512];
};

static void on_case(const struct consult *c, const struct result *r, void *user)
{
    struct shown *s = user;
    s->state = r->state;
    snprintf(s->why, sizeof s->why, "%s", c->why);
    if (s->json)
        sheet_json(stdout, c, r, s->dir, s->noise);
    else if (c->plan)
        sheet_plan(stdout, clinic_width(stdout), c);
}

static int plan(const struct options *o, struct err *e)
{
    struct clinic c = {.engine = NULL};
    struct medqa m = {.n = 0};
    struct trace *t = NULL;
    char dir[1024], noise[TOY_TEXT] = "";
    int rc;
    TRY_DONE(clinic_case(o->question, o->file, o->options, &m, e));
    const atomic_int *stop = clinic_signals();
    TRY_DONE(clinic_open(&o->clinic, false, false, true, &c, e));
    bool toy = toy_is(engine_info(c.engine));
    toy_says(engine_info(c.engine), m.question, noise);
    FILE *page = o->json ? stderr : stdout;
    sheet_noise(page, clinic_width(page), noise);
    struct clinic_trace ct = {.name = "plan", .data_path = "-", .data = &m};
    TRY_DONE(clinic_trace(&c, &ct, dir, &t, e));
    struct shown shown = {
        .json = o->json, .dir = dir, .noise = toy ? noise : NULL, .state = CONSULT_OPEN};
    struct run_options ro = {.env = &c.env,
                             .question = m.question,
                             .n = 1,
                             .trace = t,
                             .stop = stop,
                             .finished = on_case,
                             .user = &shown};
    TRY_DONE(run_questions(&ro, NULL, e));
    sheet_noise(page, clinic_width(page), noise);
    if (shown.state != CONSULT_PLANNED)
        rc = err_set(e, ERR_ITEMS, "no plan (%s): %s", consult_state_name(shown.state), shown.why);
done:
    trace_close(t);
    clinic_close(&c);
    medqa_free(&m);
    return rc;
}

static int run(int argc, char **argv)
{
    static const struct argp_child children[] = {{&clinic_argp, 0, "Settings:", 20}, {0}};
    static const struct argp argp = {rows,
                                     parse,
                                     NULL,
                                     "Asks only the planner and shows which specialists it would "
                                     "ask. Research software: not for clinical care.",
                                     children,
                                     NULL,
                                     NULL};
    struct options o = {.clinic = {.or_demo = true}};
    struct err e = {0};
    int done = cli_parse(&argp, argc, argv, &o);
    if (done >= 0)
        return done;
    clinic_notice();
    return plan(&o, &e) < 0 ? clinic_fail(&e) : 0;
}

const struct cmd cmd_plan = {
    "plan", "show which specialists the planner would ask",
    "mas plan -c demo -q \"24yo woman with a malar rash ...\"\n"
    "mas plan -c configs/llama3_70b.yaml --set planner.selection=logit -f case.txt --json\n",
    run};
