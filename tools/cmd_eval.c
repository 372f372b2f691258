/* mas eval: takes a file of questions through a strategy, resumably, and reports accuracy and cost. */
#include <string.h>

#include "cli.h"
#include "clinic.h"
#include "cmd.h"
#include "curve.h"
#include "jdoc.h"
#include "meter.h"
#include "output.h"
#include "report.h"
#include "sheet.h"
#include "toy.h"
#include "zio.h"

struct options {
    struct clinic_options clinic;
    const char *data, *out, *curve;
    int n, concurrency;
    bool shuffle, fresh, repair;
};

enum { OPT_DATA = 1, OPT_OUT, OPT_SHUFFLE, OPT_CONCURRENCY, OPT_FORCE_NEW, OPT_REPAIR, OPT_CURVE };

static const struct argp_option rows[] = {
    {"data", OPT_DATA, "FILE", 0, "questions: MedQA JSONL, the -hf form, a JSON array; plain or .gz", 1},
    {"n", 'n', "N", 0, "only the first N questions", 1},
    {"out", OPT_OUT, "DIR", 0, "folder of the run; one that exists is continued. Otherwise a new one "
                               "in logging.traces_dir", 1},
    {"shuffle", OPT_SHUFFLE, 0, 0, "show the options of each question in an order of its own", 1},
    {"concurrency", OPT_CONCURRENCY, "N", 0, "cases at once, or auto (default)", 2},
    {"curve", OPT_CURVE, "FILE.svg", 0, "draw tokens a second and the use of the KV cache over time", 2},
    {"force-new", OPT_FORCE_NEW, 0, 0, "start again in DIR; what is there moves to DIR/old-N", 2},
    {"repair", OPT_REPAIR, 0, 0, "drop cases whose trace is damaged and ask them again", 2},
    {0}};

static error_t parse(int key, char *arg, struct argp_state *st)
{
    struct options *o = st->input;
    switch (key) {
    case ARGP_KEY_INIT:
        st->child_inputs[0] = &o->clinic;
        return 0;
    case OPT_DATA:
        o->data = arg;
        return 0;
    case 'n':
        return cli_int(st, "--n", arg, 1, INT32_MAX, &o->n);
    case OPT_OUT:
        o->out = arg;
        return 0;
    case OPT_CURVE:
        o->curve = arg;
        return 0;
    case OPT_SHUFFLE:
        o->shuffle = true;
        return 0;
    case OPT_CONCURRENCY:
        o->concurrency = 0;
        return strcmp(arg, "auto") ? cli_int(st, "--concurrency", arg, 1, 4096, &o->concurrency) : 0;
    case OPT_FORCE_NEW:
        o->fresh = true;
        return 0;
    case OPT_REPAIR:
        o->repair = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(st, "unexpected argument '%s'; the questions go behind --data", arg);
        return EINVAL;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

struct watch { /* who looks on while the questions are asked */
    struct meter meter;
    struct curve curve;
};

static void on_progress(const struct run_progress *p, void *user)
{
    struct watch *w = user;
    meter_show(&w->meter, p);
    curve_add(&w->curve);
}

static int draw(const struct options *o, const struct curve *c, const struct clinic *k, size_t n, struct err *e)
{
    struct str svg = STR_INIT;
    char title[256];
    snprintf(title, sizeof title, "%zu questions, strategy %s, %d sequences, KV cache %s", n, k->config.strategy,
             engine_info(k->engine)->n_seq, k->config.kv.type);
    int rc = curve_svg(c, title, &svg, e);
    if (rc == 0)
        rc = output_file(o->curve, &svg, e);
    str_free(&svg);
    return rc;
}

/* What the engine did for it: the figures that say whether another setting would be faster. */
static void say_engine(const struct clinic *c)
{
    struct engine_stats s;
    engine_stats(c->engine, &s);
    double asked = (double)(s.prompt_tokens + s.cached_tokens), pages = engine_info(c->engine)->n_page;
    if (!s.steps)
        return;
    fprintf(stderr, "engine: %.0f tok/s generated, %.0f tokens in %.0f steps of %.1f rows; %.0f prompt tokens, %.1f %% of "
            "them from the prefix cache (%.0f pages found, %.0f not, %.0f forgotten for lack of room); most pages in use "
            "%.0f of %.0f; %.0f sequences pushed out and computed again",
            s.busy_seconds > 0 ? (double)s.new_tokens / s.busy_seconds : 0, (double)s.new_tokens, (double)s.steps,
            (double)s.rows / (double)s.steps, asked, asked > 0 ? 100 * (double)s.cached_tokens / asked : 0,
            (double)s.pages_found, (double)s.pages_missed, (double)s.pages_evicted, (double)s.most_pages_used, pages,
            (double)s.preempted);
    if (s.pages_swapped_out)
        fprintf(stderr, "; %.0f pages swapped to the host, %.0f back", (double)s.pages_swapped_out, (double)s.pages_swapped_in);
    if (s.drafted)
        fprintf(stderr, "; %.0f of %.0f tokens guessed ahead were right", (double)s.accepted, (double)s.drafted);
    fputc('\n', stderr);
}

/* The "engine" of the summary that is there; nothing when there is none. */
static void former_figures(const char *dir, struct str *out)
{
    struct str text = STR_INIT;
    struct err e;
    json_t *doc = NULL;
    char path[1100], *former = NULL;
    snprintf(path, sizeof path, "%s/summary.json", dir);
    if (zio_read(path, (size_t)64 << 20, &text, &e) == 0 && jdoc_load(text.s, text.len, &doc, &e) == 0)
        former = json_dumps(json_object_get(doc, "engine"), JSON_REAL_PRECISION(10));
    str_adds(out, former ? former : "");
    free(former);
    json_decref(doc);
    str_free(&text);
}

/* The same for summary.json: of the last start that computed anything. */
static void engine_figures(const struct clinic *c, const char *dir, struct str *out)
{
    struct engine_stats s;
    engine_stats(c->engine, &s);
    if (!s.steps) {
        former_figures(dir, out);
        return;
    }
    str_addf(out, "{\"steps\": %llu, \"rows\": %llu, \"new_tokens\": %llu, \"busy_seconds\": %.3f, ",
             (unsigned long long)s.steps, (unsigned long long)s.rows, (unsigned long long)s.new_tokens, s.busy_seconds);
    str_addf(out, "\"prompt_tokens_computed\": %llu, \"prompt_tokens_cached\": %llu, ",
             (unsigned long long)s.prompt_tokens, (unsigned long long)s.cached_tokens);
    str_addf(out, "\"pages\": %d, \"most_pages_used\": %d, \"pages_found\": %llu, \"pages_missed\": %llu, ",
             engine_info(c->engine)->n_page, s.most_pages_used, (unsigned long long)s.pages_found,
             (unsigned long long)s.pages_missed);
    str_addf(out, "\"pages_swapped_out\": %llu, \"pages_swapped_in\": %llu, ", (unsigned long long)s.pages_swapped_out,
             (unsigned long long)s.pages_swapped_in);
    str_addf(out, "\"pages_evicted\": %llu, \"preempted\": %llu, \"guessed\": %llu, \"guessed_right\": %llu, \"branched\": %llu}",
             (unsigned long long)s.pages_evicted, (unsigned long long)s.preempted, (unsigned long long)s.drafted,
             (unsigned long long)s.accepted, (unsigned long long)s.branched);
}

static void say_rejected(const struct medqa *m, const char *path)
{
    if (!m->n_rejected)
        return;
    fprintf(stderr, "%s: %zu of %lld records rejected:\n", path, m->n_rejected,
            (long long)m->records);
    for (size_t i = 0; i < m->n_rejected && i < MEDQA_REJECTS_KEPT; i++)
        fprintf(stderr, "  line %lld: %s\n", (long long)m->reject[i].line, m->reject[i].why);
    if (m->n_rejected > MEDQA_REJECTS_KEPT)
        fprintf(stderr, "  and %zu more\n", m->n_rejected - MEDQA_REJECTS_KEPT);
}

/* Table to standard output, summary.json and results.csv into the folder. */
static int report(const struct clinic *c, const char *dir, const char *data, struct err *e)
{
    struct results sorted = {.n = 0};
    struct str run = STR_INIT, notes = STR_INIT, engine = STR_INIT;
    int rc;
    TRY_DONE(trace_read(dir, &sorted, &run, &notes, e));
    results_sort(&sorted);
    const char *slash = strrchr(data, '/');
    char title[256];
    snprintf(title, sizeof title, "strategy %s on %s", c->config.strategy,
             slash ? slash + 1 : data);
    engine_figures(c, dir, &engine);
    TRY_DONE(str_ok(&engine, "summary.json", e));
    TRY_DONE(output_reports(&sorted, run.s, engine.s, c->config.price_kwh, title, dir, e));
done:
    results_free(&sorted);
    str_free(&run);
    str_free(&notes);
    str_free(&engine);
    return rc;
}

static int finish(const struct options *o, struct clinic *c, struct trace *t, const char *dir,
                  const struct run_progress *p, int rc, struct err *e)
{
    if (rc < 0 && trace_results(t)->n)
        fprintf(stderr, "partial %zu/%zu, continue with the same command%s%s\n", p->done, p->total,
                o->out ? "" : " and --out ", o->out ? "" : dir);
    TRY(rc);
    TRY(trace_seal(t, e));
    TRY(report(c, dir, o->data, e));
    if (p->failed)
        FAIL(e, ERR_ITEMS, "%zu of %zu questions failed (counted as wrong); results.csv and the "
             "traces in %s name them", p->failed, p->total, dir);
    return 0;
}

static int evaluate(const struct options *o, struct err *e)
{
    struct clinic c = {.engine = NULL};
    struct medqa m = {.n = 0};
    struct trace *t = NULL;
    struct run_progress p = {.done = 0};
    struct watch watch = {.curve = {.en = NULL}};
    char dir[1024];
    int rc;
    if (!o->data)
        FAIL(e, ERR_USAGE, "no questions; give a file with --data FILE "
             "(configs/demo/questions.jsonl is a small one)");
    TRY_DONE(medqa_read(o->data, &m, e));
    say_rejected(&m, o->data);
    const atomic_int *stop = clinic_signals();
    TRY_DONE(clinic_open(&o->clinic, true, o->shuffle, false, &c, e));
    size_t n = o->n && (size_t)o->n < m.n ? (size_t)o->n : m.n;
    struct clinic_trace ct = {.dir = o->out, .name = "eval", .data_path = o->data,
                              .data_sha256 = m.sha256, .n = n, .fresh = o->fresh,
                              .repair = o->repair};
    TRY_DONE(clinic_trace(&c, &ct, dir, &t, e));
    fprintf(stderr, "%zu questions, strategy %s, %zu done before; results in %s\n", n,
            c.config.strategy, trace_results(t)->n, dir);
    char noise[TOY_TEXT];
    if (toy_says_all(engine_info(c.engine), m.question, n, noise))
        fprintf(stderr, "noise: %s\n", noise);
    meter_open(&watch.meter, o->clinic.quiet);
    if (o->curve)
        curve_open(&watch.curve, c.engine);
    struct run_options ro = {.env = &c.env, .question = m.question, .n = n, .trace = t,
                             .concurrency = o->concurrency, .stop = stop,
                             .progress = on_progress, .user = &watch};
    rc = run_questions(&ro, &p, e);
    meter_close(&watch.meter);
    if (!o->clinic.quiet)
        say_engine(&c);
    rc = finish(o, &c, t, dir, &p, rc, e);
    if (*noise && (rc == 0 || rc == ERR_ITEMS)) { /* the summary is there */
        printf("\n");
        sheet_noise(stdout, clinic_width(stdout), noise);
    }
    if (o->curve && rc == 0)
        rc = draw(o, &watch.curve, &c, n, e);
done:
    curve_free(&watch.curve);
    trace_close(t);
    clinic_close(&c);
    medqa_free(&m);
    return rc;
}

static int run(int argc, char **argv)
{
    static const struct argp_child children[] = {{&clinic_argp, 0, "Settings:", 20}, {0}};
    static const struct argp argp = {
        rows, parse, NULL,
        "Takes a file of multiple-choice questions through a strategy. An interrupted evaluation is "
        "continued by the same command with the same --out; a changed configuration, model or data "
        "file is refused. Unparsed and failed questions count as wrong. Research software: not for "
        "clinical care.",
        children, NULL, NULL};
    struct options o = {.clinic = {.many = true}};
    struct err e = {0};
    int done = cli_parse(&argp, argc, argv, &o);
    if (done >= 0)
        return done;
    clinic_notice();
    return evaluate(&o, &e) < 0 ? cmd_fail(&e) : 0;
}

const struct cmd cmd_eval = {
    "eval", "evaluate a strategy on a file of questions",
    "mas eval -c demo --data configs/demo/questions.jsonl --n 20 --out runs/try\n"
    "mas eval -c configs/llama3_70b.yaml --data medqa.jsonl --n 100 --strategy panel\n"
    "mas eval -c configs/llama3_8b.yaml --data medqa.jsonl --strategy direct --shuffle --seed 7\n",
    run};
