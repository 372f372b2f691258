#include "clinic.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "advice.h"
#include "cli.h"
#include "cmd.h"
#include "engine_options.h"
#include "grid.h"
#include "log.h"
#include "mem.h"
#include "node_copy.h"
#include "provider.h"
#include "runfolder.h"
#include "source.h"
#include "sources.h"
#include "text.h"
#include "tool_options.h"
#include "viewfile.h"

/* ---- options --------------------------------------------------------------------------------- */

enum { ONE_CASE = 8 }; /* calls of one case side by side */

enum { OPT_SET = 0x2000, OPT_SEED, OPT_PROMPT_FORM, OPT_QUIET, OPT_TIMELINE };

static const struct argp_option options[] = {
    {"config", 'c', "FILE", 0, "configuration; 'demo' and 'llama3_70b' are built in", 20},
    {"set", OPT_SET, "KEY=VALUE", 0, "sets one key, after the file; may be repeated", 20},
    {"strategy", 's', "NAME", 0, "same as --set strategy=NAME; one of ", 20},
    {"seed", OPT_SEED, "N", 0, "same as --set seed=N", 20},
    {"prompt-form", OPT_PROMPT_FORM, "FORM", 0,
     "same as --set direct.prompt_form=FORM: chat, or lm-eval for the text of "
     "lm-evaluation-harness",
     20},
    {"quiet", OPT_QUIET, 0, 0, "no progress", 20},
    {"timeline", OPT_TIMELINE, "FILE", 0,
     "write calls, steps and ops of the run as a Trace Event file, for Perfetto. The file has the "
     "first million intervals. An existing file is replaced only when it is empty or a timeline; "
     "never when a folder of eval has finished questions",
     20},
    {0}};

static error_t parse(int key, char *arg, struct argp_state *st)
{
    struct clinic_options *o = st->input;
    switch (key) {
    case ARGP_KEY_INIT:
        o->word = st->argv;
        o->n_word = st->argc;
        st->child_inputs[0] = &o->ranges;
        st->child_inputs[1] = o;
        return 0;
    case 'c':
        o->config = arg;
        return 0;
    case 's':
        o->strategy = arg;
        return 0;
    case OPT_SEED:
        o->seed = arg;
        return 0;
    case OPT_PROMPT_FORM:
        o->prompt_form = arg;
        return 0;
    case OPT_QUIET:
        o->quiet = true;
        return 0;
    case OPT_TIMELINE:
        return viewfile_name(st, "--timeline", arg, &o->timeline);
    case OPT_SET:
        if (o->n_set == CLINIC_SETS) {
            argp_error(st, "more than %d --set; write a file", CLINIC_SETS);
            return EINVAL;
        }
        o->set[o->n_set++] = arg;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* The strategies there are. argp frees a text that is not the one given. */
static char *help(int key, const char *text, void *input)
{
    struct str s = STR_INIT;
    char *copy = NULL;
    (void)input;
    if (key == 's') {
        str_adds(&s, text);
        strategy_names(false, &s);
        copy = s.failed ? NULL : mem_strndup(s.s, s.len);
    }
    str_free(&s);
    return copy ? copy : (char *)(uintptr_t)text;
}

enum { ENGINE_ROW = 0x2100 }; /* argp's key of a row without a letter: its place after this */

enum {
#define X(ctype, member, ...) ROW_##member,
#include "options.def"
#undef X
    N_ROWS
};
_Static_assert(N_ROWS <= CLINIC_ENGINE, "clinic_options.engine has a place for each row");

/* Every row of the table of the engine's options; engine_help makes their texts. */
static const struct argp_option engine_rows[] = {
#define X(ctype, member, type, key, flag, letter, arg, ...)                                        \
    {flag, letter ? letter : ENGINE_ROW + ROW_##member, arg, 0, key, 21},
#include "options.def"
#undef X
    {0}};

/* The row of argp's key; -1 = none. */
static int engine_row(int key)
{
    for (int i = 0; i < N_ROWS; i++)
        if (engine_rows[i].key == key)
            return i;
    return -1;
}

static error_t parse_engine(int key, char *arg, struct argp_state *st)
{
    struct clinic_options *o = st->input;
    const int i = engine_row(key);
    if (i < 0)
        return ARGP_ERR_UNKNOWN;
    if (i == ROW_model)
        o->model = arg;
    else
        o->engine[i] = arg ? arg : "";
    return 0;
}

/* The row's own text, without its default: that is the configuration's. */
static char *engine_help(int key, const char *text, void *input)
{
    const int i = engine_row(key);
    struct str s = STR_INIT;
    char *copy = NULL;
    (void)input;
    if (i < 0)
        return (char *)(uintptr_t)text;
    struct option_row row = engine_option_set.row[i];
    row.otherwise = "";
    str_addf(&s, "sets %s: ", row.key);
    option_help(&row, &s);
    if (i == ROW_model)
        str_adds(&s, "; without -c every other key has its default");
    copy = s.failed ? NULL : mem_strndup(s.s, s.len);
    str_free(&s);
    return copy ? copy : (char *)(uintptr_t)text;
}

static const struct argp engine_argp = {engine_rows, parse_engine, 0, 0, 0, engine_help, 0};

const char *clinic_flag(const struct clinic_options *o, int *at, const char **key)
{
    while (*at < N_ROWS) {
        const struct option_row *row = &engine_option_set.row[(*at)++];
        if (!o->engine[row - engine_option_set.row])
            continue;
        *key = row->key;
        return row->flag;
    }
    return NULL;
}

static const struct argp_child ranged[] = {
    {&ranges_argp, 0, NULL, 0},
    {&engine_argp, 0, "Model and machine, each in place of --set KEY=VALUE:", 21},
    {0}};

const struct argp clinic_argp = {options, parse, 0, 0, ranged, help, 0};

/* ---- opening --------------------------------------------------------------------------------- */

static int set_key(struct config *c, const char *key, const char *value, struct err *e)
{
    struct str s = STR_INIT;
    str_addf(&s, "%s=%s", key, value);
    int rc = str_ok(&s, "a setting", e);
    if (!rc)
        rc = config_set(c, s.s, e);
    str_free(&s);
    return rc;
}

static int set_list(struct config *c, const struct option_row *row, const char *list, struct err *e)
{
    struct str s = STR_INIT;
    if (!*list)
        FAIL(e, ERR_USAGE, "--%s is ''; it takes numbers of GPUs, as 0,1, or all", row->flag);
    str_addf(&s, "[%s]", list);
    int rc = str_ok(&s, "a setting", e);
    if (rc == 0)
        rc = set_key(c, row->key, s.s, e);
    str_free(&s);
    return rc;
}

/* Sets the keys of the engine's flags that were given. */
static int set_engine(const struct clinic_options *o, struct config *c, struct err *e)
{
    for (int i = 0; i < N_ROWS; i++) {
        const struct option_row *row = &engine_option_set.row[i];
        const char *text = o->engine[i];
        if (!text)
            continue;
        if (row->type == OPTION_LIST)
            TRY(set_list(c, row, text, e));
        else if (row->arg)
            TRY(set_key(c, row->key, text, e));
        else
            TRY(set_key(c, row->key, row->type == OPTION_NOT ? "false" : "true", e));
    }
    return 0;
}

/* The strategy of a run that stops after the plan. given: by name on the command line. */
static int choose_planning(struct config *c, bool given, struct err *e)
{
    const struct strategy *s = NULL;
    TRY(strategy_find(((const struct agent_options *)config_of(c, &agent_option_set))->strategy, &s,
                      e));
    if (s->plans || given)
        return strategy_makes_plan(s, e);
    for (const struct strategy *const *k = strategy_all(); *k; k++)
        if ((*k)->plans)
            return set_key(c, "strategy", (*k)->name, e);
    return strategy_makes_plan(s, e);
}

/* Does a --set or a flag of the engine's table name the key? */
static bool sets_key(const struct clinic_options *o, const char *key)
{
    const size_t n = strlen(key);
    for (int i = 0; i < o->n_set; i++)
        if (!strncmp(o->set[i], key, n) && o->set[i][n] == '=')
            return true;
    for (int i = 0; i < N_ROWS; i++)
        if (o->engine[i] && !strcmp(engine_option_set.row[i].key, key))
            return true;
    return false;
}

/* A flag that the strategy would ignore is refused. */
static int set_prompt_form(struct config *c, const char *form, struct err *e)
{
    static const char key[] = "direct.prompt_form";
    const size_t n = (size_t)(strchr(key, '.') - key);
    const char *strategy =
        ((const struct agent_options *)config_of(c, &agent_option_set))->strategy;
    if (strlen(strategy) != n || memcmp(strategy, key, n) != 0)
        FAIL(e, ERR_USAGE, "--prompt-form is of strategy %.*s, the strategy is %s; add -s %.*s",
             (int)n, key, strategy, (int)n, key);
    return set_key(c, key, form, e);
}

static bool names_model(const struct clinic_options *o)
{
    return o->model || sets_key(o, "model");
}

static int read_config(const struct clinic_options *o, bool plan_only, struct config *c,
                       struct err *e)
{
    const char *file = o->config;
    const bool defaults = !file && names_model(o); /* a model is all that has no default */
    if (!file && !defaults && !o->or_demo)
        FAIL(e, ERR_USAGE,
             "no model: give one with -m FILE, a configuration with -c FILE, or -c demo for the "
             "built-in one");
    if (!file && !defaults) {
        file = "demo";
        fprintf(stderr, "no -m or -c FILE: the model inside the program; its answers mean "
                        "nothing\n");
    }
    TRY(tool_config_init(c, e));
    c->group = GRID_GROUP;
    if (file)
        TRY(config_load(c, file, e));
    if (o->model)
        TRY(set_key(c, "model", o->model, e));
    for (int i = 0; i < o->n_set; i++)
        TRY(config_set(c, o->set[i], e));
    if (o->strategy)
        TRY(set_key(c, "strategy", o->strategy, e));
    if (plan_only)
        TRY(choose_planning(c, o->strategy, e));
    if (o->seed)
        TRY(set_key(c, "seed", o->seed, e));
    TRY(set_engine(o, c, e));
    if (o->data_format)
        TRY(set_key(c, "data_format", o->data_format, e));
    if (o->prompt_form)
        TRY(set_prompt_form(c, o->prompt_form, e));
    if (grid_given(c) && !o->experiment)
        FAIL(e, ERR_USAGE,
             "the configuration holds an experiment, which mas eval alone runs; give the file that "
             "its _base names");
    TRY(config_check(c, e));
    log_set_level(((const struct tool_options *)config_of(c, &tool_option_set))->log_level);
    return 0;
}

int clinic_config(const struct clinic_options *o, struct config *out, struct err *e)
{
    int rc = read_config(o, false, out, e);
    if (rc < 0)
        config_free(out);
    return rc;
}

int clinic_data(const struct clinic_options *o, const char *given, struct str *path, struct err *e)
{
    struct config c = {.n = 0};
    int rc = 0;
    if (given)
        return sources_data(given, path, e);
    TRY_DONE(read_config(o, false, &c, e));
    const struct tool_options *of = config_of(&c, &tool_option_set);
    if (*of->data)
        rc = sources_data(of->data, path, e);
done:
    config_free(&c);
    return rc;
}

int clinic_key(const struct config *c, const char **key, struct err *e)
{
    const struct agent_options *of = config_of(c, &agent_option_set);
    *key = *of->key_env ? getenv(of->key_env) : NULL;
    if (*of->key_env && !*key)
        FAIL(e, ERR_CONFIG,
             "the environment has no variable '%.80s', which remote.key_env names; set it, or "
             "remote.key_env to \"\"",
             of->key_env);
    return 0;
}

static atomic_int stop_requests; /* signals that ask for the end */

static void show_copying(uint64_t done, uint64_t total, void *user)
{
    const struct clinic_options *o = user;
    if (o->quiet || !isatty(STDERR_FILENO))
        return;
    fprintf(stderr, "\rcopying %5.1f of %.1f GB ", (double)done / 1e9, (double)total / 1e9);
    if (done >= total)
        fprintf(stderr, "\r%40s\r", "");
    fflush(stderr);
}

/* Makes or finds the copy of the model on this host. Appends its path; nothing without --node-copy,
 * for a server, and for the model inside the program. */
static int copy_model(const struct clinic_options *o, const struct config *config,
                      const struct source_places *places, struct str *copy, char sha256[65],
                      struct err *e)
{
    const struct engine_options *eo = config_of(config, &engine_option_set);
    const struct agent_options *of = config_of(config, &agent_option_set);
    const struct node_copy_options nc = {.dir = o->node_copy,
                                         .stop = &stop_requests,
                                         .progress = show_copying,
                                         .user = (void *)(uintptr_t)o};
    struct str path = STR_INIT;
    bool made = false;
    int rc;
    if (!o->node_copy || strcmp(of->provider, "local") != 0)
        return 0;
    TRY_DONE(source_find(eo->model, places, &path, e));
    if (!strcmp(path.s, "demo"))
        goto done;
    TRY_DONE(node_copy(&nc, path.s, copy, sha256, &made, e));
    fprintf(stderr, "model: %s, %s %s\n", path.s, made ? "copied to" : "the copy is", copy->s);
done:
    str_free(&path);
    return rc;
}

static int open_llm(const struct clinic_options *o, const struct config *config,
                    struct spans *spans, bool hash, struct llm **out, struct err *e)
{
    const char *key = NULL;
    TRY(clinic_key(config, &key, e));
    struct provider_options po = {.config = config,
                                  .calls = o->many ? 0 : ONE_CASE,
                                  .spans = spans,
                                  .context_open = !o->config && names_model(o) &&
                                                  !sets_key(o, "max_context_length"),
                                  .key = key,
                                  .stop = &stop_requests,
                                  .hash = hash};
    struct str placement = STR_INIT, copy = STR_INIT;
    char copied[65] = "";
    if (!o->quiet && isatty(STDERR_FILENO))
        po.progress = cli_show_loading;
    struct sources sources = {.data = NULL};
    int rc = sources_open(NULL, &sources, e);
    po.places = &sources.places;
    if (rc == 0)
        rc = copy_model(o, config, &sources.places, &copy, copied, e);
    po.model_file = copy.len ? copy.s : NULL;
    if (rc == 0)
        rc = provider_open(&po, out, e);
    if (rc == ERR_DATA && copy.len) {
        const struct err why = *e;
        rc = err_set(e, rc,
                     "%s; this file is a copy: remove it, and it is copied again, unless the "
                     "original has the same fault",
                     why.msg);
    }
    if (rc == 0 && *copied && hash && strcmp(copied, llm_info(*out)->model_sha256) != 0) {
        rc = err_set(
            e, ERR_DATA,
            "%s is not what was copied: sha256 %.12s.., it was %.12s..; remove it, and it is "
            "copied again",
            copy.s, llm_info(*out)->model_sha256, copied);
        llm_close(*out);
        *out = NULL;
    }
    str_free(&copy);
    sources_close(&sources);
    TRY(rc);
    if (!o->quiet)
        llm_placement(*out, &placement);
    fputs(placement.s ? placement.s : "", stderr);
    str_free(&placement);
    return 0;
}

int clinic_llm(const struct clinic_options *o, const struct config *config, struct llm **out,
               struct err *e)
{
    return open_llm(o, config, NULL, true, out, e);
}

int clinic_open_on(const struct config *config, struct llm *llm, bool shuffle, struct clinic *out,
                   struct err *e)
{
    struct clinic *c = out;
    int rc;
    memset(c, 0, sizeof *c);
    c->llm = llm;
    c->lent = true;
    TRY_DONE(config_copy(config, &c->config, e));
    const struct agent_options *of = config_of(&c->config, &agent_option_set);
    TRY_DONE(catalog_read(of->specialties, &c->catalog, e));
    TRY_DONE(
        energy_open(&c->energy, llm_info(llm)->backend, llm_info(llm)->pci, llm_info(llm)->gpu, e));
    c->env = (struct strategy_env){
        .llm = llm, .config = &c->config, .catalog = &c->catalog, .shuffle = shuffle};
    TRY_DONE(strategy_open(&c->env, e));
done:
    if (rc < 0)
        clinic_close(c);
    return rc;
}

int clinic_open(const struct clinic_options *o, bool hash, bool shuffle, bool plan_only,
                struct clinic *out, struct err *e)
{
    const struct strategy *known = NULL;
    struct clinic *c = out;
    int rc;
    memset(c, 0, sizeof *c);
    TRY_DONE(read_config(o, plan_only, &c->config, e));
    const struct agent_options *of = config_of(&c->config, &agent_option_set);
    TRY_DONE(strategy_find(of->strategy, &known, e));
    TRY_DONE(catalog_read(of->specialties, &c->catalog, e));
    c->ranges.nvtx = o->ranges.nvtx;
    TRY_DONE(ranges_open(&c->ranges, e));
    TRY_DONE(recording_open(o->timeline, c->ranges.spans, &c->recording, e));
    TRY_DONE(open_llm(o, &c->config, c->recording.spans, hash, &c->llm, e));
    TRY_DONE(energy_open(&c->energy, llm_info(c->llm)->backend, llm_info(c->llm)->pci,
                         llm_info(c->llm)->gpu, e));
    c->env = (struct strategy_env){.llm = c->llm,
                                   .config = &c->config,
                                   .catalog = &c->catalog,
                                   .shuffle = shuffle,
                                   .plan_only = plan_only};
    TRY_DONE(strategy_open(&c->env, e));
done:
    if (rc < 0)
        clinic_close(c);
    return rc;
}

int clinic_ran(const struct clinic_options *o, struct clinic *c, int rc, struct err *e)
{
    struct err why = {.code = 0};
    const int saved = recording_save(&c->recording, c->llm, o->word, o->n_word, &why);
    if (saved < 0 && rc == 0)
        return err_set(e, saved, "%s", why.msg);
    if (saved < 0)
        fprintf(stderr, "%s\n", why.msg);
    return rc;
}

void clinic_close(struct clinic *c)
{
    strategy_close(&c->env);
    energy_close(&c->energy);
    if (!c->lent)
        llm_close(c->llm);
    recording_close(&c->recording);
    ranges_close(&c->ranges);
    catalog_free(&c->catalog);
    config_free(&c->config);
    memset(c, 0, sizeof *c);
}

/* ---- one case -------------------------------------------------------------------------------- */

int clinic_case(const char *text, const char *file, const char *list, struct medqa *out,
                struct err *e)
{
    struct str words = STR_INIT, listed = STR_INIT;
    int rc;
    if (!text && !file)
        FAIL(e, ERR_USAGE, "no case; give it with -q TEXT or -f FILE ('-' = standard input)");
    if (text && file)
        FAIL(e, ERR_USAGE, "both -q and -f; give the case once");
    TRY_DONE(cli_clean_text(text, file, &words, e));
    str_adds(&listed, list ? list : "");
    TRY_DONE(text_clean(&listed, "the options", ERR_USAGE, e));
    TRY_DONE(medqa_single(words.s, list ? listed.s : NULL, out, e));
done:
    str_free(&words);
    str_free(&listed);
    return rc;
}

/* ---- the folder of a run --------------------------------------------------------------------- */

/* Does the folder have finished questions? A run that cannot be read in full may have some. */
static bool has_finished(const char *dir)
{
    char about[1100];
    struct trace_run run = {.asked = 0};
    struct err unread;
    const int rc = trace_read(dir, &run, &unread);
    if (rc == 0) {
        const bool some = run.results.n > 0;
        trace_run_free(&run);
        return some;
    }
    snprintf(about, sizeof about, "%s/run.json", dir);
    return access(about, F_OK) == 0;
}

int clinic_timeline_apart(const struct clinic_options *o, const char *dir, struct err *e)
{
    if (o->timeline && dir && viewfile_is(VIEWFILE_TIMELINE, o->timeline) && has_finished(dir))
        FAIL(e, ERR_USAGE,
             "%s exists and is the timeline of an earlier part of this run; choose another name",
             o->timeline);
    return 0;
}

/* A word as a shell reads it. */
/* Is w one of the options, as "--out" or "--out=DIR"? *pair: its value is the next word. */
static bool is_option(const char *w, const char *const *option, size_t n, bool *pair)
{
    for (size_t i = 0; i < n; i++) {
        const size_t k = strlen(option[i]);
        if (strncmp(w, option[i], k) != 0 || (w[k] && w[k] != '='))
            continue;
        *pair = !w[k];
        return true;
    }
    return false;
}

void clinic_words(const struct clinic_options *o, const char *const *without, size_t n,
                  struct str *out)
{
    for (int i = 0; i < o->n_word; i++) {
        const char *w = o->word[i];
        bool pair = false;
        if (i == 0) { /* "mas NAME" */
            str_adds(out, w);
            continue;
        }
        if (is_option(w, without, n, &pair)) {
            i += pair;
            continue;
        }
        str_addc(out, ' ');
        str_add_word(out, w);
    }
}

int clinic_trace(struct clinic *c, const struct clinic_trace *o, char *out_dir, struct trace **out,
                 struct err *e)
{
    const char *energy;
    (void)energy_joules(&c->energy, &energy);
    if (!o->dir)
        TRY(runfolder_make(&c->config, o->name, out_dir, e));
    else if (snprintf(out_dir, RUNFOLDER_PATH, "%s", o->dir) >= RUNFOLDER_PATH)
        FAIL(e, ERR_USAGE, "the folder's name is too long: %zu bytes", strlen(o->dir));
    const struct runfolder f = {.env = &c->env,
                                .dir = out_dir,
                                .data_path = o->data_path,
                                .data = o->data,
                                .asked = o->asked,
                                .energy = energy,
                                .paraphrases = o->paraphrases,
                                .fresh = o->fresh,
                                .repair = o->repair,
                                .retry_failed = o->retry_failed,
                                .lease = o->lease};
    TRY(runfolder_trace(&f, out, e));
    fputs(trace_notes(*out), stderr);
    return 0;
}

/* ---- signals --------------------------------------------------------------------------------- */

static void on_signal(int sig)
{
    (void)sig;
    if (atomic_fetch_add(&stop_requests, 1) > 0)
        _exit(75);
}

const atomic_int *clinic_signals(void)
{
    static const int stops[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction a = {.sa_handler = on_signal}; /* no SA_RESTART: a wait returns */
    sigemptyset(&a.sa_mask);
    for (size_t i = 0; i < sizeof stops / sizeof stops[0]; i++)
        sigaction(stops[i], &a, NULL);
    return &stop_requests;
}

/* ---- text ------------------------------------------------------------------------------------ */

int clinic_width(FILE *f)
{
    struct winsize w = {.ws_col = 80};
    if (!isatty(fileno(f)) || ioctl(fileno(f), TIOCGWINSZ, &w) != 0 || w.ws_col == 0)
        return 80;
    return w.ws_col < 40 ? 40 : w.ws_col > 200 ? 200 : w.ws_col;
}

/* Columns of n bytes of UTF-8, one a character. */
static int columns(const char *s, size_t n)
{
    int c = 0;
    for (size_t i = 0; i < n; i++)
        c += ((unsigned char)s[i] & 0xc0) != 0x80;
    return c;
}

void clinic_clean(FILE *f, const char *s, size_t n)
{
    for (size_t i = 0; i < n;) {
        uint32_t cp = 0;
        int k = utf8_decode(s + i, n - i, &cp);
        bool bad = !k || cp < 0x20 || (cp >= 0x7f && cp < 0xa0);
        if (bad)
            fputc('?', f);
        else
            fwrite(s + i, 1, (size_t)k, f);
        i += k ? (size_t)k : 1;
    }
}

/* Bytes of the first `most` columns of s. */
static size_t columns_fit(const char *s, size_t n, int most)
{
    size_t i = 0;
    for (int c = 0; i < n; i++) {
        c += ((unsigned char)s[i] & 0xc0) != 0x80;
        if (c > most)
            break;
    }
    return i;
}

void clinic_wrap(FILE *f, int width, const char *head, const char *text)
{
    int indent = columns(head, strlen(head)), at = indent, room = width - indent;
    fputs(head, f);
    for (bool first = true; *text;) {
        size_t gap = strspn(text, " \n\t\r"), n = strcspn(text + gap, " \n\t\r");
        text += gap;
        if (!n)
            break;
        if (columns(text, n) > room) /* longer than a line: cut where it must be */
            n = columns_fit(text, n, room);
        int w = columns(text, n);
        if (!first && at + (gap > 0) + w > width) {
            fprintf(f, "\n%*s", indent, "");
            at = indent;
        } else if (!first && gap) {
            fputc(' ', f);
            at++;
        }
        clinic_clean(f, text, n);
        at += w;
        text += n;
        first = false;
    }
    fputc('\n', f);
}

void clinic_wrapf(FILE *f, int width, const char *head, const char *fmt, ...)
{
    char text[4096];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    clinic_wrap(f, width, head, text);
}

int clinic_fail(struct err *e)
{
    advice_as_keys(e);
    return cmd_fail(e);
}

void clinic_notice(void)
{
    fprintf(stderr, "research software: not for clinical care\n");
}
