/*
 * mas quantize: rewrites a GGUF model in another number format or mixture of formats (mixture.h).
 *
 * It streams: one tensor after the other, a few MiB of rows at a time, whatever the size of the
 * model. Threads share the rows of a piece, and a row's bytes depend only on the row. A tensor that
 * already has the target format is copied unchanged. All metadata is copied; only general.file_type
 * and general.quantization_version change, to the new facts. An importance matrix steers the choice
 * of formats and the encoders; keys quantize.imatrix.* name it, as in the common files.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "clock.h"
#include "cmd.h"
#include "escape.h"
#include "gguf_write.h"
#include "imatrix.h"
#include "mem.h"
#include "mixture.h"
#include "modelfile.h"
#include "pool.h"
#include "sources.h"
#include "str.h"

#define CHUNK                                                                                      \
    ((size_t)16 << 20) /* bytes of source or result held at a time, but at least a row   \
                                  */

struct quantize_total { /* of one format of the result */
    int64_t tensors, elems;
    uint64_t bytes;
    double square, err; /* sums over the converted elements, with --rmse */
};

enum { FALLBACK_KINDS = 32, TENSOR_NAME = 65 };

struct quantize_fallback {  /* tensors of one kind whose rows do not fit the blocks of a format */
    char kind[TENSOR_NAME]; /* the name, with * for the layer's number */
    enum fmt want, to;
    int64_t cols;
    int n;
};

struct quantize {
    const char *in, *out;
    const char *imatrix_path; /* NULL: none */
    enum mixture mix;
    bool has_type, requantize, rmse, quiet;
    struct engine_options machine; /* threads */
    struct cli_rows rows;
    /* while it runs */
    struct gguf *g;
    struct imatrix *imatrix;
    int n_weighed, n_alike;  /* encoded tensors with an entry of the matrix, and without */
    char alike[TENSOR_NAME]; /* the first of those without */
    struct gguf_writer *w;
    FILE *report; /* for the table: not where the model goes */
    struct pool *pool;
    struct mixture_model model;
    struct quantize_total total[FMT_COUNT];
    struct quantize_fallback fallback[FALLBACK_KINDS];
    int n_fallback; /* kinds */
    int n_more;     /* tensors of further kinds */
    struct modelfile_progress progress;
    uint64_t done; /* bytes of the source done so far */
};

/* ---- options -------------------------------------------------------------------------------- */

enum { OPT_REQUANTIZE = 0x100, OPT_RMSE, OPT_QUIET, OPT_IMATRIX };

static const struct argp_option options[] = {
    {"allow-requantize", OPT_REQUANTIZE, NULL, 0,
     "accept a source that is quantised already: its losses add to the new ones", 1},
    {"imatrix", OPT_IMATRIX, "FILE", 0,
     "importance matrix by llama-imatrix, in its GGUF or older form: errors of columns with large "
     "activations weigh more",
     1},
    {"rmse", OPT_RMSE, NULL, 0, "measure the error of each format as well", 1},
    {"quiet", OPT_QUIET, NULL, 0, "no progress and no table", 1},
    {0},
};

static error_t parse_argument(struct quantize *q, char *arg, struct argp_state *state)
{
    if (!q->in) {
        q->in = arg;
    } else if (!q->out) {
        q->out = arg;
    } else if (!q->has_type && mixture_from_name(arg, &q->mix)) {
        q->has_type = true;
    } else {
        if (q->has_type)
            argp_error(state, "unexpected argument '%s' after the type", arg);
        else
            argp_error(state, "unknown type '%s'; known:%s", arg, mixture_targets);
        return EINVAL;
    }
    if (q->has_type && !mixture_writes(q->mix)) {
        argp_error(state,
                   "%s is read, but not written; make such a file with llama-quantize and "
                   "an importance matrix, or choose one of%s",
                   mixture_name(q->mix), mixture_targets);
        return EINVAL;
    }
    return 0;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct quantize *q = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &q->rows;
        return 0;
    case OPT_IMATRIX:
        q->imatrix_path = arg;
        return 0;
    case OPT_REQUANTIZE:
        q->requantize = true;
        return 0;
    case OPT_RMSE:
        q->rmse = true;
        return 0;
    case OPT_QUIET:
        q->quiet = true;
        return 0;
    case ARGP_KEY_ARG:
        return parse_argument(q, arg, state);
    case ARGP_KEY_END:
        if (!q->has_type) {
            argp_error(state, "%s is missing",
                       !q->in    ? "the model to read"
                       : !q->out ? "the output "
                                   "file"
                                 : "the type");
            return EINVAL;
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const char doc[] = "Rewrites a model in another number format. TYPE: a format, one of"
#define P(NAME) " " #NAME
#include "mixtures.def"
                          "; or a mixture, which chooses each tensor's format as the common files "
                          "do, one of"
#define TYPE_READS(NAME)
#define TYPE_WRITES(NAME) " " #NAME
#define M(NAME, type, most, output, use) TYPE_##use(NAME)
#include "mixtures.def"
                          ". Every number of threads gives the same file.";

/* ---- the options ----------------------------------------------------------------------------- */

/* One number, or the same one for each of n_layer layers. dflt 0: the key is needed. */
static int read_int(const struct quantize *q, const char *arch, const char *key, int n_layer,
                    int dflt, int *out, struct err *e)
{
    char full[160];
    int64_t v = dflt;
    snprintf(full, sizeof full, "%s.%s", arch, key);
    if (!dflt || gguf_find(q->g, full))
        TRY(gguf_get_int_each(q->g, full, (uint64_t)n_layer, 1, 100000, &v, e));
    *out = (int)v;
    return 0;
}

static int read_model(struct quantize *q, struct err *e)
{
    struct gguf_str arch;
    char name[65] = {0};
    TRY(gguf_get_str(q->g, "general.architecture", &arch, e));
    if (arch.len < 1 || arch.len >= sizeof name || memchr(arch.s, 0, arch.len))
        FAIL(e, ERR_DATA, "%s: general.architecture has %zu bytes; must be 1 to %zu of text", q->in,
             arch.len, sizeof name - 1);
    memcpy(name, arch.s, arch.len);
    TRY(read_int(q, name, "block_count", 0, 0, &q->model.n_layer, e));
    TRY(read_int(q, name, "attention.head_count", q->model.n_layer, 0, &q->model.n_head, e));
    TRY(read_int(q, name, "attention.head_count_kv", q->model.n_layer, q->model.n_head,
                 &q->model.n_kv_head, e));
    q->model.tied_output = !gguf_tensor_find(q->g, "output.weight");
    return 0;
}

/* Name and new format of tensor i; want: the format that the type prescribes. */
static int target_of(const struct quantize *q, size_t i, char name[TENSOR_NAME], enum fmt *f,
                     enum fmt *want, struct err *e)
{
    const struct gguf_tensor *t = gguf_tensor_at(q->g, i);
    if (t->name.len > 64 || memchr(t->name.s, 0, t->name.len)) {
        char text[ESCAPE_NAME];
        FAIL(e, ERR_DATA, "%s: tensor name '%s' contains a NUL", q->in,
             escape_name(text, t->name.s, t->name.len));
    }
    memcpy(name, t->name.s, t->name.len);
    name[t->name.len] = 0;
    *f = mixture_choose(q->mix, &q->model, name, t->t.n_dim, t->t.dim, want);
    return 0;
}

static void note_fallback(struct quantize *q, const char *name, enum fmt want, enum fmt to,
                          int64_t cols)
{
    struct quantize_fallback f = {.want = want, .to = to, .cols = cols, .n = 1};
    const size_t digits = strncmp(name, "blk.", 4) ? 0 : strspn(name + 4, "0123456789");
    if (digits)
        snprintf(f.kind, sizeof f.kind, "blk.*%s", name + 4 + digits);
    else
        snprintf(f.kind, sizeof f.kind, "%s", name);
    for (int k = 0; k < q->n_fallback; k++) {
        struct quantize_fallback *p = &q->fallback[k];
        if (p->want == want && p->to == to && p->cols == cols && !strcmp(p->kind, f.kind)) {
            p->n++;
            return;
        }
    }
    if (q->n_fallback < FALLBACK_KINDS)
        q->fallback[q->n_fallback++] = f;
    else
        q->n_more++;
}

static int declare_tensors(struct quantize *q, struct err *e)
{
    bool fits = false; /* an encoder weighs errors */
    for (size_t i = 0; i < gguf_n_tensors(q->g); i++) {
        const struct tensor *t = &gguf_tensor_at(q->g, i)->t;
        char name[TENSOR_NAME];
        enum fmt f, want;
        TRY(target_of(q, i, name, &f, &want, e));
        if (fmt_info(t->fmt)->block_elems > 1 && f != t->fmt && !q->requantize)
            FAIL(e, ERR_DATA,
                 "tensor %s of %s is %s already: quantising it again adds to its error; start from "
                 "an F16, BF16 or F32 file, or give --allow-requantize",
                 name, q->in, fmt_info(t->fmt)->name);
        fits |= fmt_info(f)->fits;
        if (f != want)
            note_fallback(q, name, want, f, tensor_cols(t));
        TRY(gguf_put_tensor(q->w, name, f, t->n_dim, t->dim, e));
    }
    if (q->imatrix && !fits)
        FAIL(e, ERR_USAGE,
             "--imatrix has no effect on %s: every weight gets its nearest number; "
             "leave it out",
             mixture_name(q->mix));
    return 0;
}

static bool key_is(const struct gguf_kv *kv, const char *key)
{
    return kv->key.len == strlen(key) && !memcmp(kv->key.s, key, kv->key.len);
}

/* True for keys that do not hold for the result. They tie the file to the other parts of its model,
 * or name the importance matrix of an earlier quantisation. */
static bool key_is_past(const struct gguf_kv *kv)
{
    static const char *const past[] = {"split.", "quantize.imatrix."};
    for (size_t i = 0; i < sizeof past / sizeof *past; i++)
        if (kv->key.len > strlen(past[i]) && !memcmp(kv->key.s, past[i], strlen(past[i])))
            return true;
    return false;
}

static int put_imatrix(struct quantize *q, struct err *e)
{
    const char *path = q->imatrix_path, *text = imatrix_dataset(q->imatrix);
    const int64_t chunks = imatrix_chunks(q->imatrix);
    TRY(gguf_put_str(q->w, "quantize.imatrix.file", path, strlen(path), e));
    if (*text)
        TRY(gguf_put_str(q->w, "quantize.imatrix.dataset", text, strlen(text), e));
    TRY(gguf_put_u32(q->w, "quantize.imatrix.entries_count", (uint32_t)imatrix_entries(q->imatrix),
                     e));
    if (chunks > 0 && chunks <= UINT32_MAX)
        TRY(gguf_put_u32(q->w, "quantize.imatrix.chunks_count", (uint32_t)chunks, e));
    return 0;
}

static int copy_metadata(struct quantize *q, struct err *e)
{
    static const char type[] = "general.file_type", version[] = "general.quantization_version";
    for (size_t i = 0; i < gguf_n_kv(q->g); i++) {
        const struct gguf_kv *kv = gguf_kv_at(q->g, i);
        if (!key_is(kv, type) && !key_is(kv, version) && !key_is_past(kv))
            TRY(gguf_put_kv(q->w, kv, e));
    }
    if (q->imatrix)
        TRY(put_imatrix(q, e));
    TRY(gguf_put_u32(q->w, version, 2, e)); /* 2: since May 2023, all formats known here */
    return gguf_put_u32(q->w, type, mixture_file_type(q->mix), e);
}

/* ---- tensors -------------------------------------------------------------------------------- */

struct worker { /* scratch of one thread, and the first row that failed there */
    unsigned char *raw;
    float *x, *back; /* (cols); back: only with --rmse */
    int rc;
    int64_t row;
    struct err err;
};

struct piece { /* rows [first, first + n) of a tensor */
    const struct gguf *g;
    const struct gguf_tensor *t;
    int64_t first, cols;
    const float *w; /* (cols) importances; NULL: all are alike */
    enum fmt to;
    size_t row_bytes;     /* of the result */
    unsigned char *out;   /* (n, row_bytes) */
    double *square, *err; /* (n) sums of a row; NULL without --rmse */
    struct worker *worker;
};

static int convert_row(const struct piece *p, struct worker *w, int64_t i, struct err *e)
{
    const struct gguf_tensor *t = p->t;
    int64_t row = p->first + i;
    unsigned char *y = p->out + (size_t)i * p->row_bytes;
    TRY(gguf_read(p->g, t->at + (uint64_t)row * t->t.row_bytes, w->raw, t->t.row_bytes, e));
    fmt_info(t->t.fmt)->decode(w->raw, w->x, p->cols);
    int rc = fmt_encode_row(p->to, w->x, p->w, y, p->cols, e);
    if (rc < 0)
        return err_wrap(e, rc, "tensor %.*s, row %" PRId64, (int)t->name.len, t->name.s, row);
    if (!p->err)
        return 0;
    fmt_info(p->to)->decode(y, w->back, p->cols);
    double square = 0, err = 0;
    for (int64_t k = 0; k < p->cols; k++) {
        double d = (double)w->back[k] - (double)w->x[k];
        square += (double)w->x[k] * (double)w->x[k];
        err += d * d;
    }
    p->square[i] = square;
    p->err[i] = err;
    return 0;
}

/* Parts come in any order: rows before a failure are still done, for the first is reported. */
static void convert_part(void *arg, int64_t begin, int64_t end, int worker)
{
    const struct piece *p = arg;
    struct worker *w = &p->worker[worker];
    for (int64_t i = begin; i < end && (w->rc == 0 || i < w->row); i++) {
        struct err e;
        int rc = convert_row(p, w, i, &e);
        if (rc < 0) {
            w->rc = rc;
            w->row = i;
            w->err = e;
        }
    }
}

static int first_failure(const struct piece *p, int n_worker, struct err *e)
{
    const struct worker *first = NULL;
    for (const struct worker *w = p->worker; w < p->worker + n_worker; w++)
        if (w->rc < 0 && (!first || w->row < first->row))
            first = w;
    if (first)
        *e = first->err;
    return first ? first->rc : 0;
}

static int convert_rows(struct quantize *q, struct piece *p, int64_t rows, int64_t at_once,
                        struct err *e)
{
    struct quantize_total *sum = &q->total[p->to];
    char name[TENSOR_NAME];
    snprintf(name, sizeof name, "%.*s", (int)p->t->name.len, p->t->name.s);
    for (p->first = 0; p->first < rows; p->first += at_once) {
        int64_t n = rows - p->first < at_once ? rows - p->first : at_once;
        pool_run(q->pool, n, convert_part, p);
        TRY(first_failure(p, pool_threads(q->pool), e));
        TRY(gguf_put_data(q->w, p->out, (size_t)n * p->row_bytes, e));
        for (int64_t i = 0; p->err && i < n; i++) {
            sum->square += p->square[i];
            sum->err += p->err[i];
        }
        modelfile_progress_show(&q->progress,
                                q->done + (uint64_t)(p->first + n) * p->t->t.row_bytes, name);
    }
    return 0;
}

/* Number of rows of a piece, so that source and result stay within CHUNK each. */
static int64_t rows_at_once(const struct piece *p, int64_t rows)
{
    size_t wide = p->row_bytes > p->t->t.row_bytes ? p->row_bytes : p->t->t.row_bytes;
    int64_t n = (int64_t)(CHUNK / wide);
    return n < 1 ? 1 : n < rows ? n : rows;
}

/* Finds the importances of a tensor that is about to be encoded. */
static int importances(struct quantize *q, const struct gguf_tensor *t, enum fmt to,
                       const float **w, struct err *e)
{
    char name[TENSOR_NAME];
    *w = NULL;
    if (!q->imatrix || !fmt_info(to)->fits)
        return 0;
    snprintf(name, sizeof name, "%.*s", (int)t->name.len, t->name.s);
    TRY(imatrix_find(q->imatrix, name, tensor_cols(&t->t), w, e));
    if (*w)
        q->n_weighed++;
    else if (q->n_alike++ == 0)
        snprintf(q->alike, sizeof q->alike, "%s", name);
    return 0;
}

static int convert_tensor(struct quantize *q, const struct gguf_tensor *t, enum fmt to,
                          struct err *e)
{
    int rc = 0, n_worker = pool_threads(q->pool);
    int64_t cols = tensor_cols(&t->t), rows = tensor_rows(&t->t);
    struct piece p = {.g = q->g, .t = t, .cols = cols, .to = to};
    struct arena mem = {0};
    if (!fmt_row_bytes(to, cols, &p.row_bytes))
        FAIL(e, ERR_BUG, "a row of %" PRId64 " does not fit %s", cols, fmt_info(to)->name);
    TRY(importances(q, t, to, &p.w, e));
    int64_t at_once = rows_at_once(&p, rows);
    p.out = arena_alloc(&mem, (size_t)at_once, p.row_bytes);
    p.worker = arena_alloc(&mem, (size_t)n_worker, sizeof *p.worker);
    bool failed = !p.out || !p.worker;
    for (int k = 0; k < n_worker && !failed; k++) {
        struct worker *w = &p.worker[k];
        w->raw = arena_alloc(&mem, t->t.row_bytes, 1);
        w->x = arena_alloc(&mem, (size_t)cols, sizeof *w->x);
        w->back = q->rmse ? arena_alloc(&mem, (size_t)cols, sizeof *w->back) : NULL;
        failed = !w->raw || !w->x || (q->rmse && !w->back);
    }
    if (q->rmse && !failed) {
        p.square = arena_alloc(&mem, (size_t)at_once, sizeof *p.square);
        p.err = arena_alloc(&mem, (size_t)at_once, sizeof *p.err);
        failed = !p.square || !p.err;
    }
    if (failed)
        rc = NOMEM(e, (size_t)at_once * p.row_bytes + (size_t)cols * 12, "rows of a tensor");
    else
        rc = convert_rows(q, &p, rows, at_once, e);
    arena_free(&mem);
    return rc;
}

static int copy_tensor(struct quantize *q, const struct gguf_tensor *t, struct err *e)
{
    int rc = 0;
    unsigned char *block = mem_aligned(CHUNK);
    if (!block)
        return NOMEM(e, CHUNK, "a block of a tensor");
    for (uint64_t at = 0; at < t->bytes; at += CHUNK) {
        size_t n = t->bytes - at < CHUNK ? (size_t)(t->bytes - at) : CHUNK;
        TRY_DONE(gguf_read(q->g, t->at + at, block, n, e));
        TRY_DONE(gguf_put_data(q->w, block, n, e));
    }
done:
    mem_free(block);
    return rc;
}

static int write_tensors(struct quantize *q, struct err *e)
{
    uint64_t all = 0;
    for (size_t i = 0; i < gguf_n_tensors(q->g); i++)
        all += gguf_tensor_at(q->g, i)->bytes;
    modelfile_progress_begin(&q->progress, "quantizing", all, q->quiet);
    for (size_t i = 0; i < gguf_n_tensors(q->g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(q->g, i);
        char name[TENSOR_NAME];
        enum fmt to, want;
        size_t row;
        TRY(target_of(q, i, name, &to, &want, e));
        TRY(to == t->t.fmt ? copy_tensor(q, t, e) : convert_tensor(q, t, to, e));
        struct quantize_total *sum = &q->total[to];
        sum->tensors++;
        sum->elems += tensor_rows(&t->t) * tensor_cols(&t->t);
        sum->bytes +=
            fmt_row_bytes(to, tensor_cols(&t->t), &row) ? (uint64_t)tensor_rows(&t->t) * row : 0;
        q->done += t->bytes;
    }
    return 0;
}

/* ---- the command ---------------------------------------------------------------------------- */

static int quantize(struct quantize *q, struct err *e)
{
    int rc = 0;
    TRY_DONE(modelfile_apart(q->in, q->out, e));
    TRY_DONE(sources_gguf(q->in, &q->g, e));
    for (size_t i = 0; i < gguf_n_parts(q->g); i++)
        TRY_DONE(modelfile_apart(gguf_part(q->g, i).path, q->out, e));
    TRY_DONE(read_model(q, e));
    if (q->imatrix_path)
        TRY_DONE(imatrix_open(q->imatrix_path, &q->imatrix, e));
    q->model.imatrix = q->imatrix != NULL;
    TRY_DONE(pool_open(q->machine.n_threads, &q->pool, e));
    TRY_DONE(gguf_writer_open(q->out, &q->w, e));
    q->report = gguf_writer_is_stdout(q->w) ? stderr : stdout;
    TRY_DONE(copy_metadata(q, e));
    TRY_DONE(declare_tensors(q, e));
    TRY_DONE(write_tensors(q, e));
    TRY_DONE(gguf_check_unchanged(q->g, e));
    struct gguf_writer *w = q->w;
    q->w = NULL; /* finish frees it in every case */
    rc = gguf_writer_finish(w, e);
done:
    modelfile_progress_end(&q->progress);
    gguf_writer_abandon(q->w);
    pool_close(q->pool);
    imatrix_close(q->imatrix);
    gguf_close(q->g);
    return rc;
}

static void print_table(const struct quantize *q, double seconds)
{
    FILE *to = q->report;
    uint64_t bytes = 0;
    int64_t tensors = 0, elems = 0;
    fprintf(to, "%-8s %8s %16s %8s%s\n", "format", "tensors", "bytes", "bits",
            q->rmse ? "   rel. rmse" : "");
    for (int f = 0; f < FMT_COUNT; f++) {
        const struct quantize_total *t = &q->total[f];
        if (!t->tensors)
            continue;
        fprintf(to, "%-8s %8" PRId64 " %16" PRIu64 " %8.2f", fmt_info((enum fmt)f)->name,
                t->tensors, t->bytes, (double)t->bytes * 8 / (double)t->elems);
        if (q->rmse && t->square > 0)
            fprintf(to, "   %9.6f", sqrt(t->err / t->square));
        fprintf(to, "\n");
        bytes += t->bytes;
        tensors += t->tensors;
        elems += t->elems;
    }
    fprintf(to, "%-8s %8" PRId64 " %16" PRIu64 " %8.2f\n", "all", tensors, bytes,
            elems ? (double)bytes * 8 / (double)elems : 0.0);
    for (int k = 0; k < q->n_fallback; k++) {
        const struct quantize_fallback *p = &q->fallback[k];
        fprintf(to, "%s: rows of %" PRId64 " do not fit blocks of %d of %s: %d stored as %s\n",
                p->kind, p->cols, (int)fmt_info(p->want)->block_elems, fmt_info(p->want)->name,
                p->n, fmt_info(p->to)->name);
    }
    if (q->n_more)
        fprintf(to, "%d more tensors have rows that do not fit blocks either\n", q->n_more);
    if (q->imatrix_path && q->n_alike)
        fprintf(to, "%s: %d tensors weighed; %d without an entry, %s the first of them\n",
                q->imatrix_path, q->n_weighed, q->n_alike, q->alike);
    else if (q->imatrix_path)
        fprintf(to, "%s: %d tensors weighed\n", q->imatrix_path, q->n_weighed);
    fprintf(to, "%s: %s, %.1f s, %.0f M weights/s\n", q->out, mixture_name(q->mix), seconds,
            (double)elems / 1e6 / seconds);
}

static int run(int argc, char **argv)
{
    static const struct cli_row rows[] = {{.flag = "threads", .group = 1}};
    struct quantize q = {0};
    struct err e = {0};
    const struct argp_child children[] = {{&q.rows.argp, 0, NULL, 1}, {0}};
    const struct argp argp = {options, parse, "IN.gguf OUT.gguf TYPE", doc, children, NULL, NULL};
    cli_rows_some(&q.rows, &engine_option_set, rows, 1, &q.machine);
    int code = cli_parse(&argp, argc, argv, &q);
    if (code >= 0)
        return code;
    int64_t start = clock_ns();
    if (quantize(&q, &e) < 0)
        return cmd_fail(&e);
    if (!q.quiet)
        print_table(&q, (double)(clock_ns() - start) / 1e9);
    return 0;
}

const struct cmd cmd_quantize = {"quantize", "rewrite a model in another number format",
                                 "mas quantize llama-f16.gguf llama-q4km.gguf Q4_K_M\n"
                                 "mas quantize --rmse llama-bf16.gguf llama-q8.gguf Q8_0\n",
                                 run};
