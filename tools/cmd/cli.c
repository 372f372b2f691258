#include "cli.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "text.h"
#include "zio.h"

error_t cli_int(struct argp_state *st, const char *name, const char *arg, int64_t lo, int64_t hi,
                int *out)
{
    int64_t v;
    if (!str_to_i64(arg, lo, hi, &v)) {
        argp_error(st, "bad %s '%s': must be a whole number from %lld to %lld", name, arg,
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
        argp_error(st, "bad %s '%s': must be a number from %g to %g", name, arg, lo, hi);
        return EINVAL;
    }
    *out = (float)v;
    return 0;
}

error_t cli_bytes(struct argp_state *st, const char *name, const char *arg, uint64_t *out)
{
    if (!str_to_bytes(arg, out)) {
        argp_error(st, "bad %s '%s': must be a size such as 4GiB, 512MB or 1073741824", name, arg);
        return EINVAL;
    }
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
    argp_error(st, "bad %s '%s': must be a rate such as 25GB/s", name, arg);
    return EINVAL;
}

/* ---- options that are rows of a table -------------------------------------------------------- */

error_t cli_option(struct argp_state *st, const struct option_set *set, const char *flag,
                   const char *arg, void *at)
{
    const struct option_row *r = option_of_flag(set, flag);
    const char *text = arg ? arg : r->type == OPTION_NOT ? "false" : "true";
    struct option_value v = {.item = &text, .n = 1};
    char name[64];
    struct err e = {0};
    snprintf(name, sizeof name, "--%s", flag);
    if (option_set(r, name, &v, at, NULL, &e) == 0)
        return 0;
    argp_error(st, "%s", e.msg);
    return EINVAL;
}

/* argp's key of a row without a letter: its place in the table after this one. */
enum { KEY_ROW = 0x4000, KEY_QUIET = 0x1000 };

static const struct option_row *row_of_key(const struct option_set *set, int key)
{
    for (int i = 0; i < set->n; i++)
        if (key == (set->row[i].letter ? set->row[i].letter : KEY_ROW + i))
            return &set->row[i];
    return NULL;
}

static error_t parse_row(const struct option_set *set, int key, const char *arg,
                         struct argp_state *st, void *at)
{
    const struct option_row *r = row_of_key(set, key);
    return r ? cli_option(st, set, r->flag, arg, at) : ARGP_ERR_UNKNOWN;
}

/* argp frees what is not `text`. */
static char *help_row(const struct option_set *set, int key, const char *text, bool has_default)
{
    struct str s = STR_INIT;
    const struct option_row *r = row_of_key(set, key);
    if (!r)
        return (char *)(uintptr_t)text;
    struct option_row one = *r;
    if (!has_default)
        one.otherwise = "";
    option_help(&one, &s);
    return str_take(&s);
}

/* ---- the engine's ---------------------------------------------------------------------------- */

void cli_engine_init(struct cli_engine *ce)
{
    struct engine_options *o = &ce->opt;
    *ce = (struct cli_engine){0};
    option_defaults(&engine_option_set, o);
    for (int i = 0; i < engine_option_set.n; i++) /* a switch is off until its flag is given */
        if (!engine_option_set.row[i].arg)
            *((bool *)(void *)((char *)o + engine_option_set.row[i].offset)) = false;
    o->model = NULL; /* must be given */
    o->n_ctx = 0;    /* the default, or the model's own limit where that is less */
}

static error_t parse_engine(int key, char *arg, struct argp_state *st)
{
    struct cli_engine *ce = st->input;
    const struct engine_options *o = &ce->opt;
    const struct option_row *r = row_of_key(&engine_option_set, key);
    if (r && !strcmp(r->flag, "max-draft"))
        ce->drafts = true;
    if (key == ARGP_KEY_SUCCESS && ce->drafts && !*o->draft_model && !o->lookup) {
        argp_error(st, "--max-draft without --lookup or --draft-model: nothing would draft");
        return EINVAL;
    }
    if (key == ARGP_KEY_SUCCESS)
        return 0;
    if (key == KEY_QUIET) {
        ce->quiet = true;
        return 0;
    }
    return parse_row(&engine_option_set, key, arg, st, &ce->opt);
}

static char *help_engine(int key, const char *text, void *input)
{
    (void)input;
    return help_row(&engine_option_set, key, text, key != 'm'); /* the model must be given */
}

enum {
#define X(ctype, member, ...) ROW_##member,
#include "options.def"
#undef X
};

static const struct argp_option engine_rows[] = {
#define X(ctype, member, type, key, flag, letter, arg, lo, hi, otherwise, choices, unit, marks,    \
          doc)                                                                                     \
    {flag, letter ? letter : KEY_ROW + ROW_##member, arg, 0, doc, 10},
#include "options.def"
#undef X
    {"quiet", KEY_QUIET, 0, 0, "no progress on the terminal", 10}, {0}};

const struct argp cli_engine_argp = {engine_rows, parse_engine, 0, 0, 0, help_engine, 0};

/* ---- sampling -------------------------------------------------------------------------------- */

static const struct option_row sampling_options[] = {
#define X(...) OPTION_ROW(struct cli_sampling, __VA_ARGS__)
#include "sampling.def"
#undef X
};

const struct option_set cli_sampling_set = {sampling_options,
                                            sizeof sampling_options / sizeof sampling_options[0],
                                            sizeof(struct cli_sampling), NULL, NULL};

static error_t parse_sampling(int key, char *arg, struct argp_state *st)
{
    return parse_row(&cli_sampling_set, key, arg, st, st->input);
}

enum {
#define X(ctype, member, ...) SAMPLING_##member,
#include "sampling.def"
#undef X
};

static const struct argp_option sampling_rows[] = {
#define X(ctype, member, type, key, flag, letter, arg, lo, hi, otherwise, choices, unit, marks,    \
          doc)                                                                                     \
    {flag, letter ? letter : KEY_ROW + SAMPLING_##member, arg, 0, doc, 2},
#include "sampling.def"
#undef X
    {0}};

/* A command may have defaults of its own, which its help must say. */
static char *help_sampling(int key, const char *text, void *input)
{
    (void)input;
    return help_row(&cli_sampling_set, key, text, false);
}

const struct argp cli_sampling_argp = {sampling_rows, parse_sampling, 0, 0, 0, help_sampling, 0};

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
    if (!ce->quiet && isatty(STDERR_FILENO))
        ce->opt.progress = cli_show_loading;
    TRY(engine_open(&ce->opt, out, e));
    if (!ce->quiet)
        cli_show_plan(*out);
    return 0;
}

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

int cli_run_all(struct engine *en, struct cli_job *j, int n, struct err *e)
{
    struct waiter w = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0};
    int rc = 0;
    for (int i = 0; i < n && rc == 0; i++) {
        j[i].waiter = &w;
        j[i].r.done = on_done;
        pthread_mutex_lock(&w.lock);
        w.left++;
        pthread_mutex_unlock(&w.lock);
        rc = engine_submit(en, &j[i].r, e);
        if (rc < 0)
            n = i + 1;
    }
    pthread_mutex_lock(&w.lock);
    w.left -= rc < 0; /* the one that was refused */
    while (w.left)
        pthread_cond_wait(&w.news, &w.lock);
    pthread_mutex_unlock(&w.lock);
    for (int i = 0; i < n && rc == 0; i++)
        if (j[i].r.finish == FINISH_ERROR) {
            *e = j[i].r.err;
            rc = e->code;
        }
    return rc;
}

int cli_run(struct engine *en, struct cli_job *j, struct err *e)
{
    return cli_run_all(en, j, 1, e);
}
