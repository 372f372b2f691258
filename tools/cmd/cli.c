#include "cli.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "pool.h"
#include "sources.h"
#include "span.h"
#include "text.h"
#include "zio.h"

error_t cli_int(struct argp_state *st, const char *name, const char *arg, int64_t lo, int64_t hi,
                int *out)
{
    int64_t v;
    if (!str_to_i64(arg, lo, hi, &v)) {
        argp_error(st, "%s is '%s'; it takes a whole number from %lld to %lld", name, arg,
                   (long long)lo, (long long)hi);
        return EINVAL;
    }
    *out = (int)v;
    return 0;
}

error_t cli_list(struct argp_state *st, const char *name, const char *arg, int lo, int hi, int most,
                 int *out, int *n)
{
    char buf[256];
    snprintf(buf, sizeof buf, "%s", arg);
    *n = 0;
    for (char *at = buf, *end; at; at = end) {
        end = strchr(at, ',');
        if (end)
            *end++ = 0;
        if (*n == most) {
            argp_error(st, "%s takes at most %d values", name, most);
            return EINVAL;
        }
        if (!*at) {
            argp_error(st, "%s is '%s'; a number is missing beside a comma or in the whole list",
                       name, arg);
            return EINVAL;
        }
        error_t rc = cli_int(st, name, at, lo, hi, &out[(*n)++]);
        if (rc)
            return rc;
    }
    return 0;
}

error_t cli_float(struct argp_state *st, const char *name, const char *arg, double lo, double hi,
                  float *out)
{
    double v;
    if (!str_to_f64(arg, lo, hi, &v)) {
        argp_error(st, "%s is '%s'; it takes a number from %g to %g", name, arg, lo, hi);
        return EINVAL;
    }
    *out = (float)v;
    return 0;
}

error_t cli_one(struct argp_state *st, const char *name, const char *arg, const char **out)
{
    if (*out) {
        argp_error(st, "more than one %s: '%s' and '%s'", name, *out, arg);
        return EINVAL;
    }
    *out = arg;
    return 0;
}

error_t cli_rate(struct argp_state *st, const char *name, const char *arg, double *out)
{
    char size[64];
    uint64_t bytes;
    int n = (int)strlen(arg) - 2;
    if (n > 0 && n < (int)sizeof size && !strcmp(arg + n, "/s")) {
        snprintf(size, sizeof size, "%.*s", n, arg);
        if (str_to_bytes(size, &bytes) && bytes) {
            *out = (double)bytes;
            return 0;
        }
    }
    argp_error(st, "%s is '%s'; it takes a rate such as 25GB/s", name, arg);
    return EINVAL;
}

error_t cli_word(struct argp_state *st, const char *name, const char *arg, const char *choices,
                 const char **out)
{
    size_t n;
    for (int i = 0; *option_choice(choices, i, &n); i++)
        if (n == strlen(arg) && !memcmp(option_choice(choices, i, &n), arg, n)) {
            *out = arg;
            return 0;
        }
    argp_error(st, "%s is '%s'; it takes one of %s", name, arg, choices);
    return EINVAL;
}

/* ---- options that are rows of a table -------------------------------------------------------- */

static error_t set_row(struct argp_state *st, const struct option_row *r, const char *arg, void *at)
{
    const char *text = arg ? arg : r->type == OPTION_NOT ? "false" : "true";
    /* the text of a list is one item, which the owner of the option cuts at commas */
    struct option_value v = {.item = &text, .n = 1, .is_list = r->type == OPTION_LIST};
    char name[64];
    struct err e = {0};
    snprintf(name, sizeof name, "--%s", r->flag);
    if (option_set(r, name, &v, at, NULL, &e) == 0)
        return 0;
    argp_error(st, "%s", e.msg);
    return EINVAL;
}

error_t cli_option(struct argp_state *st, const struct option_set *set, const char *flag,
                   const char *arg, void *at)
{
    return set_row(st, option_of_flag(set, flag), arg, at);
}

/* argp's key of a row without a letter: the row's place after KEY_ROW. */
enum { KEY_ROW = 0x4000, KEY_QUIET = 0x1000 };

/* *out: the row as the command has it. False: no row has that key. */
static bool row_of_key(const struct cli_rows *r, int key, struct option_row *out)
{
    for (int i = 0; i < r->n; i++)
        if (key == r->option[i].key) {
            *out = *r->row[i];
            out->choices = r->choices[i];
            return true;
        }
    return false;
}

static error_t parse_rows(int key, char *arg, struct argp_state *st)
{
    const struct cli_rows *r = st->input;
    struct option_row row;
    return row_of_key(r, key, &row) ? set_row(st, &row, arg, r->at) : ARGP_ERR_UNKNOWN;
}

static void add_row(struct cli_rows *r, const struct option_row *row, const struct cli_row *own,
                    int group)
{
    struct option_row seen = *row; /* as the command's help has it */
    struct str doc = STR_INIT;
    CHECK(r->n < CLI_ROWS_MAX);
    seen.doc = own->doc ? own->doc : row->doc;
    seen.otherwise = own->otherwise ? own->otherwise : row->otherwise;
    seen.choices = own->choices ? own->choices : row->choices;
    if (*seen.otherwise && row->arg) {
        struct option_value v = {&seen.otherwise, 1, false, false, NULL, NULL};
        CHECK_MSG(option_set(row, row->key, &v, r->at, NULL, NULL) == 0, row->key);
    }
    option_help(&seen, &doc);
    CHECK_MSG(doc.len < CLI_DOC_MAX, row->key);
    if (!doc.failed)
        memcpy(r->doc[r->n], doc.s, doc.len + 1);
    str_free(&doc);
    r->row[r->n] = row;
    r->choices[r->n] = seen.choices;
    r->option[r->n] =
        (struct argp_option){.name = row->flag,
                             .key = own->letter   ? own->letter
                                    : row->letter ? row->letter
                                                  : KEY_ROW + (int)(row - r->set->row),
                             .arg = row->arg,
                             .doc = r->doc[r->n],
                             .group = own->group ? own->group : group};
    r->n++;
}

static void rows_init(struct cli_rows *r, const struct option_set *set, void *at)
{
    *r = (struct cli_rows){.set = set, .at = at};
    r->argp = (struct argp){.options = r->option, .parser = parse_rows};
    option_defaults(set, at);
    for (int i = 0; i < set->n; i++) /* a switch is off until its flag is given */
        if (set->row[i].flag && !set->row[i].arg)
            *((bool *)(void *)((char *)at + set->row[i].offset)) = false;
}

void cli_rows_some(struct cli_rows *r, const struct option_set *set, const struct cli_row *some,
                   int n, void *at)
{
    rows_init(r, set, at);
    for (int i = 0; i < n; i++) {
        const struct option_row *row = option_of_flag(set, some[i].flag);
        CHECK_MSG(row, some[i].flag);
        add_row(r, row, &some[i], 0);
    }
}

void cli_rows_all(struct cli_rows *r, const struct option_set *set, const struct cli_row *own,
                  int n, int group, void *at)
{
    const struct cli_row plain = {0};
    int met = 0;
    rows_init(r, set, at);
    for (int i = 0; i < set->n; i++) {
        const struct cli_row *mine = &plain;
        if (!set->row[i].flag)
            continue;
        for (int k = 0; k < n; k++)
            if (!strcmp(own[k].flag, set->row[i].flag)) {
                mine = &own[k];
                met++;
            }
        if (!mine->absent)
            add_row(r, &set->row[i], mine, group);
    }
    CHECK_MSG(met == n, "a flag that the table lacks");
}

/* ---- the engine's ---------------------------------------------------------------------------- */

static error_t parse_engine(int key, char *arg, struct argp_state *st)
{
    struct cli_engine *ce = st->input;
    const struct engine_options *o = &ce->opt;
    struct option_row row;
    if (key == ARGP_KEY_INIT) {
        st->child_inputs[0] = &ce->ranges;
        return 0;
    }
    if (row_of_key(&ce->rows, key, &row)) {
        ce->drafts |= !strcmp(row.flag, "max-draft");
        ce->batched |= !strcmp(row.flag, "batch-tokens");
        if (!strcmp(row.flag, "model")) {
            if (ce->n_model == (ce->several ? CLI_MODELS : 1)) {
                argp_error(st, "-m %s after -m %s: this command takes at most %d", arg,
                           ce->model[ce->n_model - 1], ce->n_model);
                return EINVAL;
            }
            ce->model[ce->n_model++] = arg;
        }
        return set_row(st, &row, arg, &ce->opt);
    }
    if (key == ARGP_KEY_SUCCESS && ce->drafts && !*o->draft_model && !o->lookup) {
        argp_error(st, "--max-draft without --lookup or --draft-model: nothing would draft");
        return EINVAL;
    }
    if (key == KEY_QUIET)
        ce->quiet = true;
    return key == KEY_QUIET || key == ARGP_KEY_SUCCESS ? 0 : ARGP_ERR_UNKNOWN;
}

void cli_engine_init(struct cli_engine *ce, const struct cli_row *own, int n)
{
    struct cli_row rows[CLI_ROWS_MAX] = {{.flag = "model", .otherwise = ""}};
    bool has_context = false;
    CHECK(n < CLI_ROWS_MAX);
    for (int i = 0; i < n; i++) {
        rows[i + 1] = own[i];
        has_context |= !strcmp(own[i].flag, "ctx");
    }
    *ce = (struct cli_engine){0};
    cli_rows_all(&ce->rows, &engine_option_set, rows, n + 1, 10, &ce->opt);
    ce->rows.option[ce->rows.n] =
        (struct argp_option){"quiet", KEY_QUIET, 0, 0, "no progress on the terminal", 10};
    ce->rows.argp.parser = parse_engine;
    ce->ranged[0] = (struct argp_child){&ranges_argp, 0, NULL, 0};
    ce->rows.argp.children = ce->ranged;
    ce->opt.model = NULL; /* must be given */
    if (!has_context)
        ce->opt.n_ctx = 0; /* the default, or the model's own limit where that is less */
    ce->plain = ce->opt;
}

int cli_threads(const char *backend, int asked)
{
    return !strcmp(backend, "ref") ? 1 : asked ? asked : pool_cores();
}

static void say_threads(int asked)
{
    const int cores = pool_cores();
    if (asked > cores)
        fprintf(stderr,
                "mas: %d threads share %d core%s, so they wait for each other; --threads 0 "
                "is one for each core\n",
                asked, cores, cores == 1 ? "" : "s");
}

static bool has_flag(const char *const *list, const char *flag)
{
    while (*list && strcmp(*list, flag) != 0)
        list++;
    return *list;
}

void cli_add_changed(const struct cli_engine *ce, const char *const *skip, struct str *out)
{
    for (int i = 0; i < ce->rows.n; i++) {
        const struct option_row *row = ce->rows.row[i];
        struct str now = STR_INIT, plain = STR_INIT;
        if (has_flag(skip, row->flag))
            continue;
        option_text(row, &ce->opt, &now);
        option_text(row, &ce->plain, &plain);
        if (now.s && plain.s && strcmp(now.s, plain.s) != 0)
            str_addf(out, " --%s%s%s", row->flag, row->arg ? " " : "", row->arg ? now.s : "");
        out->failed |= now.failed || plain.failed;
        str_free(&now);
        str_free(&plain);
    }
}

/* ---- sampling -------------------------------------------------------------------------------- */

static const struct option_row sampling_options[] = {
#define X(...) OPTION_ROW(struct cli_sampling, __VA_ARGS__)
#include "sampling.def"
#undef X
};

const struct option_set cli_sampling_set = {sampling_options,
                                            sizeof sampling_options / sizeof sampling_options[0],
                                            sizeof(struct cli_sampling), NULL, NULL};

int cli_parse(const struct argp *argp, int argc, char **argv, void *input)
{
    /* Without ARGP_NO_EXIT argp would call exit() itself, with EX_USAGE = 64 for errors; with it,
     * help prints and parsing goes on. So look for the help options first. */
    for (int i = 1; i < argc && strcmp(argv[i], "--"); i++)
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-?")) {
            argp_help(argp, stdout, ARGP_HELP_STD_HELP & ~(unsigned)ARGP_HELP_EXIT_OK, argv[0]);
            return 0;
        }
    error_t rc = argp_parse(argp, argc, argv, ARGP_NO_EXIT | ARGP_NO_HELP, NULL, input);
    return rc ? err_exit(ERR_USAGE) : -1;
}

int cli_text(const char *text, const char *file, struct str *out, struct err *e)
{
    if (!text == !file)
        FAIL(e, ERR_USAGE, "%s; give the text with -p TEXT or -f FILE ('-' = standard input)",
             text ? "both -p and -f" : "no text");
    if (file)
        return zio_read(file, (size_t)64 << 20, out, e);
    str_adds(out, text);
    return str_ok(out, "text", e);
}

const char *cli_text_name(const char *file)
{
    return !file ? "the text" : strcmp(file, "-") ? file : "standard input";
}

int cli_clean_text(const char *text, const char *file, struct str *out, struct err *e)
{
    TRY(cli_text(text, file, out, e));
    return text_clean(out, cli_text_name(file), ERR_DATA, e);
}

int cli_bytes_text(const char *text, const char *file, struct str *out, struct err *e)
{
    TRY(cli_text(text, file, out, e));
    const char *wide = text_wide(out->s, out->len, true);
    if (wide)
        FAIL(e, ERR_DATA,
             "%s is %s text, which no model reads; convert it, as with iconv -f %s -t UTF-8",
             cli_text_name(file), wide, wide);
    return 0;
}

int cli_flush(struct err *e)
{
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return 0;
    FAIL(e, ERR_IO, "cannot write to standard output: %s",
         errno ? strerror(errno) : "a part of it is lost");
}

void cli_show_loading(uint64_t done, uint64_t total, void *user)
{
    (void)user;
    fprintf(stderr, "\rloading %5.1f of %.1f GB ", (double)done / 1e9, (double)total / 1e9);
    if (done >= total)
        fprintf(stderr, "\r%40s\r", "");
    fflush(stderr);
}

void cli_show_plan(const struct engine *en)
{
    const struct engine_info *in = engine_info(en);
    struct str s = STR_INIT;
    if (plan_is_resident(in->plan))
        return;
    plan_describe(in->plan, &s);
    fprintf(stderr, "placement on %s:\n%s", in->device, s.s ? s.s : "");
    str_free(&s);
}

int cli_engine_open(struct cli_engine *ce, struct engine **out, struct err *e)
{
    if (!ce->opt.model)
        FAIL(e, ERR_USAGE, "no model; give one with -m FILE, or -m demo for the built-in one");
    if (!strcmp(ce->opt.backend, "ref") && strcmp(ce->opt.isa, "auto") != 0)
        FAIL(e, ERR_USAGE,
             "--isa %s with --backend ref: the oracle has no instruction sets to "
             "choose from; leave out --isa",
             ce->opt.isa);
    if (strcmp(ce->opt.backend, "ref") != 0 && !ce->said_threads)
        say_threads(ce->opt.n_threads);
    ce->said_threads = true;
    if (!ce->quiet && isatty(STDERR_FILENO))
        ce->opt.progress = cli_show_loading;
    TRY(ranges_open(&ce->ranges, e));
    if (ce->ranges.spans) {
        ce->ranges.spans->next = ce->opt.spans;
        ce->opt.spans = ce->ranges.spans;
    }
    struct sources sources = {.data = NULL};
    int rc = sources_open(NULL, &sources, e);
    ce->opt.places = &sources.places;
    if (rc == 0)
        rc = engine_open(&ce->opt, out, e);
    ce->opt.places = NULL;
    sources_close(&sources);
    if (rc < 0)
        cli_engine_close(ce, NULL);
    else if (!ce->quiet)
        cli_show_plan(*out);
    return rc < 0 ? rc : 0;
}

void cli_engine_close(struct cli_engine *ce, struct engine *en)
{
    engine_close(en);
    if (ce->ranges.spans)
        ce->opt.spans = ce->ranges.spans->next;
    ranges_close(&ce->ranges);
}

enum { TICK_MS = 250 };

struct waiter {
    pthread_mutex_t lock;
    pthread_cond_t news;
    int left;
};

static void on_done(struct request *r)
{
    struct waiter *w = ((struct cli_job *)r)->waiter;
    pthread_mutex_lock(&w->lock);
    w->left--;
    pthread_cond_signal(&w->news);
    pthread_mutex_unlock(&w->lock);
}

/* Waits until none is left, at most TICK_MS. */
static bool wait_a_tick(struct waiter *w)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += (long)TICK_MS * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&w->lock);
    while (w->left && pthread_cond_timedwait(&w->news, &w->lock, &until) == 0)
        ;
    const bool over = !w->left;
    pthread_mutex_unlock(&w->lock);
    return over;
}

static void wait_all(struct waiter *w)
{
    pthread_mutex_lock(&w->lock);
    while (w->left)
        pthread_cond_wait(&w->news, &w->lock);
    pthread_mutex_unlock(&w->lock);
}

static int submit_all(struct engine *en, struct cli_job *j, int n, struct waiter *w, struct err *e)
{
    struct request **r = mem_zalloc((size_t)n, sizeof *r);
    if (!r)
        return NOMEM(e, (size_t)n * sizeof *r, "requests");
    for (int i = 0; i < n; i++) {
        j[i].waiter = w;
        j[i].r.done = on_done;
        r[i] = &j[i].r;
    }
    const int rc = engine_submit_all(en, r, n, e);
    mem_free(r);
    return rc;
}

int cli_run_watched(struct engine *en, struct cli_job *j, int n, void (*tick)(void *user),
                    void *user, struct err *e)
{
    struct waiter w = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, n};
    int rc = 0;
    TRY(submit_all(en, j, n, &w, e));
    while (tick && !wait_a_tick(&w))
        tick(user);
    wait_all(&w);
    for (int i = 0; i < n && rc == 0; i++)
        if (j[i].r.finish == FINISH_ERROR) {
            *e = j[i].r.err;
            rc = e->code;
        }
    return rc;
}

int cli_run_all(struct engine *en, struct cli_job *j, int n, struct err *e)
{
    return cli_run_watched(en, j, n, NULL, NULL, e);
}

int cli_run(struct engine *en, struct cli_job *j, struct err *e)
{
    return cli_run_all(en, j, 1, e);
}
