/* mas run: takes one case through a strategy and prints plan, specialists and decision. */
#include <string.h>

#include "cli.h"
#include "clinic.h"
#include "cmd.h"
#include "sheet.h"
#include "toy.h"
#include "zio.h"

struct options {
    struct clinic_options clinic;
    const char *question, *file, *options, *out;
    bool json;
};

enum { OPT_JSON = 1, OPT_OUT };

static const struct argp_option rows[] = {
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
    case ARGP_KEY_ARG:
        argp_error(st, "unexpected argument '%s'; pass the case with -q", arg);
        return EINVAL;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

struct shown { /* what the callback needs */
    bool json;
    const char *dir;
    const char *noise; /* of sheet_json */
    enum consult_state state;
};

static void on_case(const struct consult *c, const struct result *r, void *user)
{
    struct shown *s = user;
    s->state = r->state;
    if (s->json)
        sheet_json(stdout, c, r, s->dir, s->noise);
    else
        sheet_print(stdout, clinic_width(stdout), c, r, s->dir);
}

static int answer(const struct options *o, struct err *e)
{
    struct clinic c = {.engine = NULL};
    struct medqa m = {.n = 0};
    struct trace *t = NULL;
    char dir[1024], noise[TOY_TEXT] = "";
    int rc;
    TRY_DONE(clinic_case(o->question, o->file, o->options, &m, e));
    const atomic_int *stop = clinic_signals();
    TRY_DONE(clinic_open(&o->clinic, false, false, false, &c, e));
    bool toy = toy_is(engine_info(c.engine));
    toy_says(engine_info(c.engine), m.question, noise);
    FILE *page = o->json ? stderr : stdout;
    sheet_noise(page, clinic_width(page), noise);
    struct clinic_trace ct = {.dir = o->out, .name = "run", .data_path = "-", .data = &m};
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
    if (shown.state == CONSULT_OPEN)
        rc = err_set(e, ERR_CREATE,
                     "%s holds the answer to this case already; choose another --out", dir);
    else if (shown.state != CONSULT_ANSWERED)
        rc = err_set(e, ERR_ITEMS, "the case has no answer (%s)", consult_state_name(shown.state));
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
                                     "Takes one case through a strategy (panel, unless the "
                                     "configuration says otherwise) and prints the decision. "
                                     "Research software: not for clinical care.",
                                     children,
                                     NULL,
                                     NULL};
    struct options o = {.clinic = {.or_demo = true}};
    struct err e = {0};
    int done = cli_parse(&argp, argc, argv, &o);
    if (done >= 0)
        return done;
    clinic_notice();
    return answer(&o, &e) < 0 ? clinic_fail(&e) : 0;
}

const struct cmd cmd_run = {
    "run", "take one case through the panel",
    "mas run -c configs/llama3_8b.yaml -q \"65yo man with crushing chest pain ...\" -o \"A. "
    "GERD||B. Acute MI||C. PE||D. MSK pain\"\n"
    "mas run -c configs/llama3_70b.yaml -f case.txt --strategy cot\n"
    "mas run -c configs/llama3_8b.yaml --set planner.top_k=3 -q \"...\" --json\n",
    run};
