#include "cli.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "text.h"
#include "zio.h"

enum {
    OPT_BACKEND = 0x1000,
    OPT_ISA,
    OPT_CTX,
    OPT_KV_TYPE,
    OPT_SEQUENCES,
    OPT_BATCH,
    OPT_PAGE,
    OPT_KV_BYTES,
    OPT_KV_SWAP,
    OPT_NO_PREFIX,
    OPT_QUIET,
    OPT_DEVICE,
    OPT_VRAM,
    OPT_NO_RECORD,
    OPT_PLACEMENT,
    OPT_CPU_LAYERS,
    OPT_RAM,
    OPT_LINK_LIMIT,
    OPT_MAP_WEIGHTS,
    OPT_DRAFT_MODEL,
    OPT_MAX_DRAFT,
    OPT_MAX_BRANCHES,
    OPT_LOOKUP
};

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

static error_t parse_engine(int key, char *arg, struct argp_state *st)
{
    struct cli_engine *ce = st->input;
    struct engine_options *o = &ce->opt;
    switch (key) {
    case 'm':
        o->model = arg;
        return 0;
    case 't':
        return cli_int(st, "--threads", arg, 0, 256, &o->ops.n_threads);
    case OPT_BACKEND:
        o->backend = arg;
        return 0;
    case OPT_ISA:
        o->ops.isa = arg;
        return 0;
    case OPT_DEVICE:
        return cli_int(st, "--device", arg, 0, 63, &o->ops.device);
    case OPT_VRAM:
        return cli_bytes(st, "--vram", arg, &o->ops.vram_bytes);
    case OPT_PLACEMENT:
        if (!plan_mode_from_name(arg, &o->placement)) {
            argp_error(st, "bad --placement '%s': must be auto, latency or throughput", arg);
            return EINVAL;
        }
        return 0;
    case OPT_CPU_LAYERS:
        o->cpu_layers_set = true;
        return cli_int(st, "--cpu-layers", arg, 0, 1024, &o->cpu_layers);
    case OPT_RAM:
        return cli_bytes(st, "--ram", arg, &o->ram_bytes);
    case OPT_MAP_WEIGHTS:
        o->map_weights = true;
        return 0;
    case OPT_LINK_LIMIT:
        return cli_rate(st, "--link-limit", arg, &o->link_limit);
    case OPT_NO_RECORD:
        o->no_record = true;
        return 0;
    case OPT_CTX:
        return cli_int(st, "--ctx", arg, 1, 1 << 26, &o->n_ctx);
    case OPT_KV_TYPE:
        if (!fmt_from_name(arg, &o->kv_fmt) || fmt_info(o->kv_fmt)->kv == KV_NO) {
            argp_error(st, "bad --kv-type '%s': must be one of %s|f32", arg, fmt_kv_choices + 1);
            return EINVAL;
        }
        return 0;
    case OPT_SEQUENCES:
        return cli_int(st, "--sequences", arg, 1, 4096, &o->n_seq);
    case OPT_BATCH:
        return cli_int(st, "--batch-tokens", arg, 1, 65536, &o->batch_tokens);
    case OPT_PAGE:
        return cli_int(st, "--page-tokens", arg, 16, 256, &o->page_tokens);
    case OPT_KV_BYTES:
        return cli_bytes(st, "--kv-bytes", arg, &o->kv_bytes);
    case OPT_KV_SWAP:
        if (!plan_swap_from_name(arg, &o->swap)) {
            argp_error(st, "bad --kv-swap '%s': must be auto, off or on", arg);
            return EINVAL;
        }
        return 0;
    case OPT_NO_PREFIX:
        o->no_prefix_cache = true;
        return 0;
    case OPT_DRAFT_MODEL:
        o->draft_model = arg;
        return 0;
    case OPT_LOOKUP:
        o->lookup = true;
        return 0;
    case OPT_MAX_DRAFT:
        return cli_int(st, "--max-draft", arg, 1, 64, &o->max_draft);
    case OPT_MAX_BRANCHES:
        return cli_int(st, "--max-branches", arg, 0, 4, &o->max_branch);
    case ARGP_KEY_INIT:
        o->max_branch = 3;
        return 0;
    case ARGP_KEY_SUCCESS:
        if (o->max_draft && !o->draft_model && !o->lookup) {
            argp_error(st, "--max-draft without --lookup or --draft-model: nothing would guess");
            return EINVAL;
        }
        if ((o->draft_model || o->lookup) && !o->max_draft)
            o->max_draft = 8;
        return 0;
    case OPT_QUIET:
        ce->quiet = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const char kv_doc[] = "number format of the KV cache, one of"
#define X(NAME, lower, id, elems, bytes, type, kv) FMT_IF_##kv(" " #lower)
#include "formats.def"
                             " (default f16), or f32 for comparisons with float32 programs";

static const struct argp_option engine_options[] = {
    {"model", 'm', "FILE", 0, "model file (GGUF), or 'demo' for the built-in one", 10},
    {"backend", OPT_BACKEND, "KIND", 0,
     "auto, cpu, cuda, ref (slow oracle), cudahost (CUDA kernels run by "
     "the CPU, for tests)",
     10},
    {"isa", OPT_ISA, "NAME", 0, "CPU instructions: auto, scalar, avx2, avxvnni, avx512vnni, neon",
     10},
    {"threads", 't', "N", 0, "CPU threads, 0 = all cores (default)", 10},
    {"device", OPT_DEVICE, "N", 0, "number of the GPU, from 0", 10},
    {"vram", OPT_VRAM, "SIZE", 0, "most GPU memory to take, such as 22GiB", 10},
    {"placement", OPT_PLACEMENT, "MODE", 0,
     "where a model lies that is larger than GPU memory: auto (default), "
     "latency (weights first, the CPU computes layers), throughput (KV cache first, the rest "
     "streamed)",
     10},
    {"cpu-layers", OPT_CPU_LAYERS, "N", 0,
     "layers whose feed-forward part the CPU computes beside a GPU", 10},
    {"ram", OPT_RAM, "SIZE", 0, "most main memory that weights may take beside a GPU", 10},
    {"link-limit", OPT_LINK_LIMIT, "RATE", 0,
     "copy weights to the GPU no faster than this, such as 25GB/s: emulates "
     "a slower machine",
     10},
    {"map-weights", OPT_MAP_WEIGHTS, 0, 0,
     "the CPU reads weights from the mapped file: no copy of them in memory, and "
     "slower steps",
     10},
    {"no-graphs", OPT_NO_RECORD, 0, 0, "launch decode steps op by op, not as recorded CUDA graphs",
     10},
    {"ctx", OPT_CTX, "N", 0, "longest prompt + reply in tokens", 10},
    {"kv-type", OPT_KV_TYPE, "TYPE", 0, kv_doc, 10},
    {"sequences", OPT_SEQUENCES, "N", 0, "sequences computed together", 10},
    {"batch-tokens", OPT_BATCH, "N", 0, "tokens of one step, prompt chunks included", 10},
    {"page-tokens", OPT_PAGE, "N", 0, "positions of a KV page: 16 to 256, a power of two", 10},
    {"kv-bytes", OPT_KV_BYTES, "SIZE", 0, "size of the KV pool, such as 4GiB", 10},
    {"kv-swap", OPT_KV_SWAP, "WHEN", 0,
     "KV pages without room are kept in main memory (on) or computed again (off); auto "
     "(default): what is faster",
     10},
    {"no-prefix-cache", OPT_NO_PREFIX, 0, 0, "compute shared prompt beginnings every time", 10},
    {"lookup", OPT_LOOKUP, 0, 0,
     "guess tokens ahead from the prompt and from earlier replies; changes no result", 10},
    {"draft-model", OPT_DRAFT_MODEL, "FILE", 0,
     "guess tokens ahead by this small model of the same vocabulary; changes no "
     "result",
     10},
    {"max-draft", OPT_MAX_DRAFT, "N", 0, "tokens guessed ahead at most (default 8)", 10},
    {"max-branches", OPT_MAX_BRANCHES, "N", 0,
     "second choices of the draft model that are followed, too, at most: 0 to 4 (default 3)", 10},
    {"quiet", OPT_QUIET, 0, 0, "no progress on the terminal", 10},
    {0}};

const struct argp cli_engine_argp = {engine_options, parse_engine, 0, 0, 0, 0, 0};

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
