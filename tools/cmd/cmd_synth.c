/*
 * mas synth: writes a GGUF file with random weights of the right shape, for measurements. The file
 * is complete (metadata, tokenizer, every tensor of its architecture), depends only on its options,
 * and is made straight in the blocks of its formats (fmt_random.h), so the disk is the limit. Its
 * answers mean nothing.
 *
 * Deviations of the weights, so that activations keep their size through any depth (n = inputs of a
 * row, L = layers; residual branches are damped as in GPT-2): token_embd 1; attn_q, attn_k, attn_v,
 * ffn_gate, ffn_up 1 / sqrt n; attn_output, ffn_down 1 / sqrt (2 L n); output 3 / sqrt n, so that
 * logits have a deviation of 3 and the best token a few per cent. Norms are 1.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "cli.h"
#include "clock.h"
#include "cmd.h"
#include "fmt_random.h"
#include "gguf_write.h"
#include "mem.h"
#include "mixture.h"
#include "modelfile.h"
#include "pool.h"
#include "rng.h"
#include "str.h"
#include "synth.h"
#include "synth_vocab.h"

#define CHUNK ((size_t)16 << 20) /* bytes made at a time */

struct synth_shape {
    const char *name;
    int64_t n_layer, n_embd, n_ff, n_head, n_kv_head, n_ctx, n_vocab;
    bool tied; /* the output is the embedding */
};

static const struct synth_shape shapes[] = {
#define X(name, layers, embd, ff, head, kv, ctx, vocab, tied)                                      \
    {name, layers, embd, ff, head, kv, ctx, vocab, tied},
#include "shapes.def"
#undef X
};

struct synth {
    const char *out, *vocab_from;
    struct synth_shape shape;
    bool has_shape, hollow, quiet;
    enum mixture mix;
    int64_t n_layer, seed; /* n_layer 0: the shape's own */
    int threads;
    int64_t n_vocab;
    /* while it runs */
    struct pool *pool;
    struct gguf_writer *w;
    FILE *report;         /* for the closing line: not where the model goes */
    unsigned char *chunk; /* (CHUNK) */
    uint64_t bytes, done;
    struct modelfile_progress progress;
};

/* ---- options -------------------------------------------------------------------------------- */

enum { OPT_SHAPE = 0x100, OPT_LAYERS, OPT_TYPE, OPT_VOCAB, OPT_SEED, OPT_HOLLOW, OPT_QUIET };

static const char type_doc[] = "one of"
#define P(NAME) " " #NAME
#define M(NAME, ...) " " #NAME
#include "mixtures.def"
                               " (default Q4_K_M)";

static const struct argp_option options[] = {
    {"shape", OPT_SHAPE, "NAME", 0, "llama3-8b, llama3-70b, llama3.2-1b, llama3.2-3b or tiny", 1},
    {"layers", OPT_LAYERS, "N", 0, "another number of layers, 1 to 1000", 1},
    {"type", OPT_TYPE, "TYPE", 0, type_doc, 1},
    {"vocab-from", OPT_VOCAB, "GGUF", 0,
     "take all tokenizer.* keys of this file; without it, a byte vocabulary", 1},
    {"seed", OPT_SEED, "N", 0, "of the random numbers (default 1)", 1},
    {"hollow", OPT_HOLLOW, NULL, 0,
     "all weights are zero, and the file takes no room on the disk; the vocabulary has the shape's "
     "size",
     1},
    {"threads", 't', "N", 0, "0 = all cores (default); the file does not depend on it", 2},
    {"quiet", OPT_QUIET, NULL, 0, "print nothing", 2},
    {0},
};

static bool synth_shape_find(const char *name, struct synth_shape *out)
{
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        if (!strcmp(shapes[i].name, name)) {
            *out = shapes[i];
            return true;
        }
    return false;
}

static error_t parse_shape(struct synth *s, const char *arg, struct argp_state *state)
{
    s->has_shape = synth_shape_find(arg, &s->shape);
    if (s->has_shape)
        return 0;
    argp_error(state,
               "unknown shape '%s'; known: llama3-8b, llama3-70b, llama3.2-1b, llama3.2-3b, tiny",
               arg);
    return EINVAL;
}

static error_t parse_number(struct argp_state *state, const char *name, const char *arg, int64_t lo,
                            int64_t hi, int64_t *out)
{
    if (str_to_i64(arg, lo, hi, out))
        return 0;
    argp_error(state, "bad %s '%s': must be a whole number from %" PRId64 " to %" PRId64, name, arg,
               lo, hi);
    return EINVAL;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct synth *s = state->input;
    switch (key) {
    case OPT_SHAPE:
        return parse_shape(s, arg, state);
    case OPT_LAYERS:
        return parse_number(state, "--layers", arg, 1, 1000, &s->n_layer);
    case OPT_TYPE:
        if (mixture_from_name(arg, &s->mix))
            return 0;
        argp_error(state, "unknown type '%s'; known:%s", arg, mixture_choices);
        return EINVAL;
    case OPT_VOCAB:
        s->vocab_from = arg;
        return 0;
    case OPT_SEED:
        return parse_number(state, "--seed", arg, 0, INT64_MAX, &s->seed);
    case 't':
        return cli_int(state, "--threads", arg, 0, 256, &s->threads);
    case OPT_HOLLOW:
        s->hollow = true;
        return 0;
    case OPT_QUIET:
        s->quiet = true;
        return 0;
    case ARGP_KEY_ARG:
        if (s->out) {
            argp_error(state, "unexpected argument '%s' after the output %s", arg, s->out);
            return EINVAL;
        }
        s->out = arg;
        return 0;
    case ARGP_KEY_END:
        if (!s->has_shape || !s->out) {
            argp_error(state, "%s is missing", s->has_shape ? "the output file" : "--shape");
            return EINVAL;
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {options,
                                 parse,
                                 "OUT.gguf",
                                 "Writes a model with random weights of the right shape, for "
                                 "measurements. Its answers mean nothing.",
                                 NULL,
                                 NULL,
                                 NULL};

/* ---- metadata ------------------------------------------------------------------------------- */

static int put_general(struct synth *s, struct err *e)
{
    char name[96];
    static const char about[] = "random weights for measurements; its answers mean nothing";
    snprintf(name, sizeof name, "synthetic %s, %" PRId64 " layers, seed %" PRId64, s->shape.name,
             s->shape.n_layer, s->seed);
    TRY(gguf_put_str(s->w, "general.architecture", "llama", 5, e));
    TRY(gguf_put_str(s->w, "general.name", name, strlen(name), e));
    TRY(gguf_put_str(s->w, "general.description", about, strlen(about), e));
    TRY(gguf_put_u32(s->w, "general.file_type", mixture_file_type(s->mix), e));
    return gguf_put_u32(s->w, "general.quantization_version", 2, e);
}

static int put_shape(struct synth *s, struct err *e)
{
    const struct synth_shape *h = &s->shape;
    const struct {
        const char *key;
        int64_t value;
    } row[] = {
        {"llama.block_count", h->n_layer},
        {"llama.context_length", h->n_ctx},
        {"llama.embedding_length", h->n_embd},
        {"llama.feed_forward_length", h->n_ff},
        {"llama.attention.head_count", h->n_head},
        {"llama.attention.head_count_kv", h->n_kv_head},
        {"llama.rope.dimension_count", h->n_embd / h->n_head},
        {"llama.vocab_size", s->n_vocab},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        TRY(gguf_put_u32(s->w, row[i].key, (uint32_t)row[i].value, e));
    TRY(gguf_put_f32(s->w, "llama.rope.freq_base", 500000, e));
    return gguf_put_f32(s->w, "llama.attention.layer_norm_rms_epsilon", 1e-5f, e);
}

/* ---- tensors -------------------------------------------------------------------------------- */

struct synth_row {
    const char *name;
    int64_t rows, cols; /* rows 0: a norm, all ones */
    float std;
};

struct synth_tensor {
    char name[64];
    int n_dim;
    int64_t dim[2];
    enum fmt fmt;
    float std;
    int64_t blocks;
    uint64_t key, bytes;
};

enum { PER_LAYER = 9 };

static struct synth_row row_in_layer(const struct synth_shape *h, int64_t k)
{
    int64_t n = h->n_embd, kv = n / h->n_head * h->n_kv_head;
    float even = 1 / sqrtf((float)n), damp = 1 / sqrtf(2.0f * (float)h->n_layer);
    const struct synth_row row[PER_LAYER] = {
        {"attn_norm", 0, n, 0},
        {"attn_q", n, n, even},
        {"attn_k", kv, n, even},
        {"attn_v", kv, n, even},
        {"attn_output", n, n, damp * even},
        {"ffn_norm", 0, n, 0},
        {"ffn_gate", h->n_ff, n, even},
        {"ffn_up", h->n_ff, n, even},
        {"ffn_down", n, h->n_ff, damp / sqrtf((float)h->n_ff)},
    };
    return row[k];
}

static int64_t tensor_count(const struct synth *s)
{
    return s->shape.n_layer * PER_LAYER + (s->shape.tied ? 2 : 3);
}

/* Tensor i of the file: token_embd, the layers, output_norm, output unless it is tied. */
static struct synth_tensor tensor_at(const struct synth *s, int64_t i)
{
    const struct synth_shape *h = &s->shape;
    const struct mixture_model mm = {(int)h->n_layer, (int)h->n_head, (int)h->n_kv_head, h->tied};
    int64_t layer = (i - 1) / PER_LAYER, norm = 1 + h->n_layer * PER_LAYER;
    bool inside = i > 0 && i < norm, fell_back;
    struct synth_row r = {"output", s->n_vocab, h->n_embd, 3 / sqrtf((float)h->n_embd)};
    if (inside)
        r = row_in_layer(h, (i - 1) % PER_LAYER);
    else if (i == 0)
        r = (struct synth_row){"token_embd", s->n_vocab, h->n_embd, 1};
    else if (i == norm)
        r = (struct synth_row){"output_norm", 0, h->n_embd, 0};
    struct synth_tensor t = {.n_dim = r.rows ? 2 : 1};
    if (inside)
        snprintf(t.name, sizeof t.name, "blk.%" PRId64 ".%s.weight", layer, r.name);
    else
        snprintf(t.name, sizeof t.name, "%s.weight", r.name);
    t.dim[0] = r.rows ? r.rows : r.cols;
    t.dim[1] = r.rows ? r.cols : 1;
    t.fmt = mixture_choose(s->mix, &mm, t.name, t.n_dim, t.dim, &fell_back);
    t.std = r.std;
    t.key = rng_key((uint64_t)s->seed, inside ? (uint64_t)layer + 1 : 0,
                    inside ? (uint64_t)(i - 1) % PER_LAYER : (uint64_t)(i != 0));
    t.blocks = t.dim[0] * t.dim[1] / fmt_info(t.fmt)->block_elems;
    t.bytes = (uint64_t)t.blocks * fmt_info(t.fmt)->block_bytes;
    return t;
}

struct fill_job {
    const struct synth_tensor *t;
    int64_t first;
    unsigned char *out;
};

static void fill_part(void *arg, int64_t begin, int64_t end, int worker)
{
    const struct fill_job *j = arg;
    (void)worker;
    fmt_random(j->t->fmt, j->t->key, j->first + begin, end - begin, j->t->std,
               j->out + (size_t)begin * fmt_info(j->t->fmt)->block_bytes);
}

static int put_ones(struct synth *s, const struct synth_tensor *t, struct err *e)
{
    float *y = (float *)(void *)s->chunk;
    CHECK(t->fmt == FMT_F32 && t->bytes <= CHUNK);
    for (int64_t i = 0; i < t->blocks; i++)
        y[i] = 1;
    return gguf_put_data(s->w, y, (size_t)t->bytes, e);
}

static int put_random(struct synth *s, const struct synth_tensor *t, struct err *e)
{
    size_t size = fmt_info(t->fmt)->block_bytes;
    int64_t most = (int64_t)(CHUNK / size);
    for (int64_t at = 0; at < t->blocks; at += most) {
        int64_t n = t->blocks - at < most ? t->blocks - at : most;
        struct fill_job j = {t, at, s->chunk};
        pool_run_grain(s->pool, n, 64, fill_part, &j);
        TRY(gguf_put_data(s->w, s->chunk, (size_t)n * size, e));
        s->done += (uint64_t)n * size;
        modelfile_progress_show(&s->progress, s->done, t->name);
    }
    return 0;
}

static int put_tensors(struct synth *s, struct err *e)
{
    int64_t n = tensor_count(s);
    for (int64_t i = 0; i < n; i++) {
        struct synth_tensor t = tensor_at(s, i);
        TRY(gguf_put_tensor(s->w, t.name, t.fmt, t.n_dim, t.dim, e));
        s->bytes += t.bytes;
    }
    if (s->hollow)
        return 0;
    modelfile_progress_begin(&s->progress, "writing", s->bytes, s->quiet);
    for (int64_t i = 0; i < n; i++) {
        struct synth_tensor t = tensor_at(s, i);
        TRY(t.std > 0 ? put_random(s, &t, e) : put_ones(s, &t, e));
    }
    return 0;
}

/* ---- the command ---------------------------------------------------------------------------- */

static int write_model(struct synth *s, struct err *e)
{
    int rc = 0;
    s->chunk = mem_aligned(CHUNK);
    if (!s->chunk)
        TRY_DONE(NOMEM(e, CHUNK, "a block of weights"));
    if (s->vocab_from)
        TRY_DONE(modelfile_apart(s->vocab_from, s->out, e));
    TRY_DONE(pool_open(s->threads, &s->pool, e));
    TRY_DONE(s->hollow ? gguf_writer_open_hollow(s->out, &s->w, e)
                       : gguf_writer_open(s->out, &s->w, e));
    s->report = gguf_writer_is_stdout(s->w) ? stderr : stdout;
    TRY_DONE(put_general(s, e));
    if (s->vocab_from)
        TRY_DONE(synth_vocab_copy(s->vocab_from, s->w, &s->n_vocab, e));
    else
        TRY_DONE(synth_vocab_bytes(s->w, s->hollow ? s->shape.n_vocab : 0, &s->n_vocab, e));
    TRY_DONE(put_shape(s, e));
    TRY_DONE(put_tensors(s, e));
    struct gguf_writer *w = s->w;
    s->w = NULL; /* finish frees it, whatever happens */
    rc = gguf_writer_finish(w, e);
done:
    modelfile_progress_end(&s->progress);
    gguf_writer_abandon(s->w);
    pool_close(s->pool);
    mem_free(s->chunk);
    return rc;
}

int synth_hollow(const char *shape, enum mixture mix, const char *path, struct err *e)
{
    struct synth s = {
        .out = path, .mix = mix, .seed = 1, .hollow = true, .quiet = true, .threads = 1};
    if (!synth_shape_find(shape, &s.shape))
        FAIL(e, ERR_USAGE, "unknown shape '%s'", shape);
    return write_model(&s, e);
}

static int run(int argc, char **argv)
{
    struct synth s = {.mix = MIX_Q4_K_M, .seed = 1};
    struct err e = {0};
    int code = cli_parse(&argp, argc, argv, &s);
    if (code >= 0)
        return code;
    if (s.n_layer)
        s.shape.n_layer = s.n_layer;
    int64_t start = clock_ns();
    if (write_model(&s, &e) < 0)
        return cmd_fail(&e);
    double seconds = (double)(clock_ns() - start) / 1e9, gigabytes = (double)s.bytes / 1e9;
    if (!s.quiet && s.hollow)
        fprintf(s.report,
                "%s: nothing but zeros, %s, %" PRId64 " layers, %s, %.2f GB that take no room\n",
                s.out, s.shape.name, s.shape.n_layer, mixture_name(s.mix), gigabytes);
    else if (!s.quiet)
        fprintf(s.report,
                "%s: random weights, %s, %" PRId64 " layers, %s, %.2f GB in %.1f s (%.2f GB/s)\n",
                s.out, s.shape.name, s.shape.n_layer, mixture_name(s.mix), gigabytes, seconds,
                gigabytes / seconds);
    return 0;
}

const struct cmd cmd_synth = {
    "synth", "write a model with random weights, for measurements",
    "mas synth --shape tiny --type Q8_0 tiny.gguf\n"
    "mas synth --shape llama3-8b --type Q4_K_M --vocab-from llama-bpe.gguf 8b.gguf\n"
    "mas synth --shape llama3-70b --layers 4 --seed 3 slice.gguf\n",
    run};
