/* mas serve: answers HTTP: OpenAI's and Ollama's APIs, clinical cases, a page. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"
#include "clinic.h"
#include "clock.h"
#include "cmd.h"
#include "engine_options.h"
#include "grid.h"
#include "mem.h"
#include "server.h"
#include "sources.h"
#include "tool_options.h"

#define MODELS_MOST 64
#define SETS_MOST 128

struct options {
    const char *config, *api_key;
    const char *model[MODELS_MOST]; /* NAME=FILE, or FILE */
    int n_model;
    char *set[SETS_MOST];        /* key=value, in the order of the command line */
    const char *flag[SETS_MOST]; /* of the option that gave it; NULL = --set */
    int n_set;
    bool openapi, sets_context;
};

enum { OPT_SET = 0x2000, OPT_OPENAPI, OPT_KEY, OPT_ROW = 0x3000 };

/* The tables whose flags are options of this command: each sets its key. */
static const struct option_set *const tables[] = {&serve_option_set, &engine_option_set};
enum { TABLES = 2, ROWS_MOST = 96 };

static const struct option_row *row_at(int i)
{
    for (int t = 0; t < TABLES; t++) {
        if (i < tables[t]->n)
            return &tables[t]->row[i];
        i -= tables[t]->n;
    }
    return NULL;
}

/* The row of an option's key: a letter of a row, as 't', or OPT_ROW and on. NULL: none. */
static const struct option_row *row_of(int key)
{
    for (int i = 0; row_at(i); i++)
        if (row_at(i)->letter && row_at(i)->letter == key)
            return row_at(i);
    return key >= OPT_ROW ? row_at(key - OPT_ROW) : NULL;
}

static error_t add_set(struct argp_state *st, const char *flag, const char *key, const char *value)
{
    struct options *o = st->input;
    struct str s = STR_INIT;
    str_addf(&s, "%s%s%s", key, value ? "=" : "", value ? value : "");
    if (o->n_set == SETS_MOST || s.failed) {
        argp_error(st, "more than %d settings; write a file", SETS_MOST);
        return EINVAL;
    }
    if (!strncmp(s.s, "max_context_length=", 19))
        o->sets_context = true;
    o->flag[o->n_set] = flag;
    o->set[o->n_set++] = str_take(&s);
    return 0;
}

static error_t parse(int key, char *arg, struct argp_state *st)
{
    struct options *o = st->input;
    switch (key) {
    case 'c':
        o->config = arg;
        return 0;
    case 'm':
        if (o->n_model == MODELS_MOST) {
            argp_error(st, "more than %d models", MODELS_MOST);
            return EINVAL;
        }
        o->model[o->n_model++] = arg;
        return 0;
    case OPT_SET:
        return add_set(st, NULL, arg, NULL);
    case OPT_KEY:
        o->api_key = arg;
        return 0;
    case OPT_OPENAPI:
        o->openapi = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(st, "unexpected argument '%s'; name models with -m", arg);
        return EINVAL;
    default:
        if (row_of(key)) {
            const struct option_row *r = row_of(key);
            return add_set(st, r->flag, r->key,
                           r->arg                  ? arg
                           : r->type == OPTION_NOT ? "false"
                                                   : "true");
        }
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option own[] = {
    {"config", 'c', "FILE", 0, "configuration; 'demo' and 'llama3_70b' are built in", 1},
    {"model", 'm', "[NAME=]FILE", 0,
     "a model to serve, as in mas run; may be repeated; NAME is what clients ask for, otherwise "
     "the file's name without .gguf; the first is the default",
     1},
    {"set", OPT_SET, "KEY=VALUE", 0, "sets one key, after the file; may be repeated", 1},
    {"api-key", OPT_KEY, "KEY", 0,
     "key that clients send as Authorization: Bearer KEY; every list of processes shows it, so a "
     "file is better",
     2},
    {"openapi", OPT_OPENAPI, 0, 0, "print the OpenAPI document and end", 1}};
enum { OWN = sizeof own / sizeof own[0] };

struct rows { /* the parser's options, and texts with their defaults */
    struct argp_option option[OWN + ROWS_MOST + 1];
    char doc[ROWS_MOST][CLI_DOC_MAX];
};

static void make_rows(struct rows *r)
{
    int n = 0;
    memset(r, 0, sizeof *r);
    for (; n < OWN; n++)
        r->option[n] = own[n];
    for (int i = 0; row_at(i) && i < ROWS_MOST; i++) {
        const struct option_row *row = row_at(i);
        if (!row->flag || !strcmp(row->flag, "model"))
            continue;
        struct str help = STR_INIT;
        option_help(row, &help);
        snprintf(r->doc[i], sizeof r->doc[i], "%s", help.s);
        str_free(&help);
        bool server = i < serve_option_set.n;
        r->option[n++] = (struct argp_option){row->flag, row->letter ? row->letter : OPT_ROW + i,
                                              row->arg,  0,
                                              r->doc[i], server ? 2 : 3};
    }
}

/* An error names the option that was typed. */
static int take_set(const struct options *o, int i, struct config *c, struct err *e)
{
    struct err why = {.code = 0};
    int rc = config_set(c, o->set[i], &why);
    const char *rest = o->flag[i] ? strstr(why.msg, ": ") : NULL;
    if (rc < 0 && rest)
        FAIL(e, ERR_USAGE, "--%s: %s", o->flag[i], rest + 2);
    if (rc < 0 && e)
        *e = why;
    return rc;
}

static int read_config(const struct options *o, struct config *c, struct err *e)
{
    TRY(tool_config_init(c, e));
    c->group = GRID_GROUP;
    if (o->config)
        TRY(config_load(c, o->config, e));
    if (grid_given(c))
        FAIL(e, ERR_USAGE,
             "%s holds an experiment, which mas eval alone runs; give the file that its _base "
             "names",
             o->config);
    for (int i = 0; i < o->n_set; i++)
        TRY(take_set(o, i, c, e));
    return config_check(c, e);
}

struct models {
    char name[MODELS_MOST][128], path[MODELS_MOST][4096];
    const char *names[MODELS_MOST], *paths[MODELS_MOST];
    int n;
};

/* "NAME=FILE", or a file, whose name without folder and .gguf is the model's. */
static int add_model(struct models *m, const char *text, struct err *e)
{
    const char *eq = strchr(text, '=');
    const char *path = eq ? eq + 1 : text;
    const char *base = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    size_t n = eq ? (size_t)(eq - text) : strlen(base);
    const char *name = eq ? text : base;
    if (!eq && n > 5 && !strcmp(base + n - 5, ".gguf"))
        n -= 5;
    if (!n || n >= sizeof m->name[0] || strlen(path) >= sizeof m->path[0] || !*path)
        FAIL(e, ERR_USAGE, "bad model '%.200s'; it takes FILE or NAME=FILE with 1 to 127 bytes",
             text);
    snprintf(m->name[m->n], sizeof m->name[0], "%.*s", (int)n, name);
    snprintf(m->path[m->n], sizeof m->path[0], "%s", path);
    m->names[m->n] = m->name[m->n];
    m->paths[m->n] = m->path[m->n];
    m->n++;
    return 0;
}

static int name_models(const struct options *o, const struct config *c, struct models *m,
                       struct err *e)
{
    const struct engine_options *eo = config_of(c, &engine_option_set);
    for (int i = 0; i < o->n_model; i++)
        TRY(add_model(m, o->model[i], e));
    if (m->n)
        return 0;
    if (!o->config)
        fprintf(stderr, "no -m or -c FILE: the model inside the program; its answers mean "
                        "nothing\n");
    return add_model(m, eo->model, e);
}

/* On stderr, once the server listens: its models, and who may ask. */
static void say_settings(const struct serve *s, const struct options *o, const struct models *m)
{
    fprintf(stderr, "models: %s (the default)", m->name[0]);
    for (int i = 1; i < m->n; i++)
        fprintf(stderr, ", %s", m->name[i]);
    if (*s->o->api_key_file)
        fprintf(stderr, "\nAPI key: the first line of %s\n", s->o->api_key_file);
    else if (*o->api_key)
        fprintf(stderr, "\nAPI key: from --api-key\n");
    else
        fprintf(stderr, "\nAPI key: none, so every program on this machine may ask\n");
}

/* The model's file is there. That of the first model is one, too: its loading begins at once. */
static int check_model(const char *name, bool first, const struct source_places *places,
                       struct err *e)
{
    struct gguf *g = NULL;
    struct err why = {.code = 0};
    int rc = source_open_from(name, places, &g, &why);
    gguf_close(g);
    if (rc == ERR_NOINPUT || (rc < 0 && first)) {
        *e = why;
        return rc;
    }
    return 0;
}

/* Says how far the loading of a model is, if that takes long. */
struct loading {
    bool terminal;
    int64_t begin_ns, last_ns;
    uint64_t total;
};

static void show_loading(uint64_t done, uint64_t total, void *user)
{
    struct loading *l = user;
    int64_t now = clock_ns();
    if (!l->begin_ns || total != l->total)
        *l = (struct loading){l->terminal, now, now, total};
    if (done == total)
        l->begin_ns = 0; /* the next one is another model's */
    if (now - l->last_ns < (l->terminal ? 1 : 10) * (int64_t)1000000000)
        return;
    l->last_ns = now;
    fprintf(stderr, "%sloading: %.1f of %.1f GB%s", l->terminal ? "\r" : "", (double)done / 1e9,
            (double)total / 1e9, l->terminal && done < total ? "" : "\n");
    fflush(stderr);
}

/* Waits until the first model is loaded, or a signal comes. */
static int wait_for_model(struct serve *s, const atomic_int *stop, struct err *e)
{
    const struct timespec tick = {.tv_nsec = 20000000};
    enum serve_first f = SERVE_LOADING;
    while (!atomic_load(stop) && (f = serve_first(s, e)) == SERVE_LOADING)
        nanosleep(&tick, NULL);
    if (f == SERVE_FAILED)
        return e->code;
    struct hub_model *m = f == SERVE_READY ? hub_peek(s->hub, 0) : NULL;
    if (m) {
        fprintf(stderr, "%s: ready after %.1f s; context %d tokens, %d sequences at a time, %s\n",
                m->name, m->load_seconds, m->info->n_ctx, m->info->n_seq, m->info->backend);
        hub_unpeek(s->hub, m);
    }
    return 0;
}

/* Until a signal, then until the work is done or the time is up. */
static void wait_for_end(struct serve *s, const atomic_int *stop)
{
    const struct timespec tick = {.tv_nsec = 50000000};
    while (!atomic_load(stop))
        nanosleep(&tick, NULL);
    fprintf(stderr,
            "stopping: no new requests; those that run have %d s (a second signal ends at "
            "once)\n",
            s->o->drain);
    for (int64_t ticks = (int64_t)s->o->drain * 20; !serve_drain(s) && ticks > 0; ticks--)
        nanosleep(&tick, NULL);
}

static int serve(const struct options *o, struct err *e)
{
    struct config c = {.n = 0};
    struct sources sources = {.data = NULL};
    struct models *m = mem_zalloc(1, sizeof *m);
    struct serve *s = NULL;
    struct loading loading = {.terminal = isatty(STDERR_FILENO), .last_ns = clock_ns()};
    int rc = m ? 0 : NOMEM(e, sizeof *m, "the names of models");
    TRY_DONE(rc);
    TRY_DONE(read_config(o, &c, e));
    TRY_DONE(name_models(o, &c, m, e));
    TRY_DONE(sources_open(NULL, &sources, e));
    log_set_level(((const struct tool_options *)config_of(&c, &tool_option_set))->log_level);
    struct hub_options ho = {.name = m->names,
                             .path = m->paths,
                             .n = m->n,
                             .engine =
                                 *(const struct engine_options *)config_of(&c, &engine_option_set)};
    ho.engine.places = &sources.places;
    ho.engine.progress = show_loading;
    ho.engine.user = &loading;
    if (!o->config && !o->sets_context)
        ho.engine.n_ctx = 0; /* a model with a shorter context takes its own limit */
    const atomic_int *stop = clinic_signals();
    signal(SIGPIPE, SIG_IGN);      /* a reader of the log that ends must not end the server */
    for (int i = 0; i < m->n; i++) /* before anybody is told of a model */
        TRY_DONE(check_model(m->paths[i], i == 0, &sources.places, e));
    TRY_DONE(serve_open(&c, o->api_key, &ho, &s, e));
    printf("listening on http://%s%s%s:%d\n", strchr(s->o->address, ':') ? "[" : "", s->o->address,
           strchr(s->o->address, ':') ? "]" : "", http_port(s->http));
    TRY_DONE(cli_flush(e));
    say_settings(s, o, m);
    TRY_DONE(wait_for_model(s, stop, e));
    wait_for_end(s, stop);
done:
    serve_close(s);
    sources_close(&sources);
    config_free(&c);
    mem_free(m);
    return rc;
}

static int run(int argc, char **argv)
{
    static struct rows r;
    make_rows(&r);
    const struct argp argp = {r.option,
                              parse,
                              NULL,
                              "Keeps models loaded and answers HTTP requests: OpenAI's and "
                              "Ollama's APIs, clinical cases, and a page. Research software: not "
                              "for clinical care.",
                              NULL,
                              NULL,
                              NULL};
    struct options o = {.api_key = ""};
    struct err e = {0};
    int rc = cli_parse(&argp, argc, argv, &o);
    if (rc < 0 && o.openapi) {
        struct str s = STR_INIT;
        route_openapi(&s);
        fwrite(s.s, 1, s.len, stdout);
        str_free(&s);
        rc = 0;
    } else if (rc < 0) {
        clinic_notice();
        rc = serve(&o, &e) < 0 ? cmd_fail(&e) : 0;
    }
    for (int i = 0; i < o.n_set; i++)
        mem_free(o.set[i]);
    return rc;
}

const struct cmd cmd_serve = {
    "serve", "answer HTTP requests: OpenAI's and Ollama's APIs, cases, a page",
    "mas serve -m llama3-8b\n"
    "mas serve -m small=models/SmolLM2-135M.gguf -m large=llama3-8b --resident 1 --keep-alive 300\n"
    "mas serve -c configs/llama3_70b.yaml --port 8000\n",
    run};
