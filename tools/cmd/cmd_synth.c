/*
 * mas synth: writes a GGUF file with random weights of the right shape, for measurements. Its
 * answers mean nothing.
 *
 * The file is complete (metadata, tokenizer, every tensor of its architecture) and depends only on
 * its options. The weights are made directly in the blocks of their formats (fmt_random.h), so the
 * disk limits the speed. The tensors and their values come from the slots of the model (slots.def).
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
#include "shape.h"
#include "str.h"
#include "synth.h"
#include "synth_vocab.h"

#define CHUNK ((size_t)16 << 20) /* bytes made at a time */

struct synth {
    const char *out, *vocab_from;
    struct shape shape;
    bool has_shape, hollow, quiet;
    enum mixture mix;
    int n_layer;                   /* 0: the shape's own */
    int n_vocab;                   /* tokens; 0: bytes only, VOCAB_SHAPE: the shape's own */
    struct engine_options machine; /* threads */
    struct cli_sampling draw;      /* seed */
    struct cli_rows rows, draw_rows;
    /* while it runs */
    struct model m;
    struct weight_slot slot[SLOT_COUNT];
    struct pool *pool;
    struct gguf_writer *w;
    FILE *report;         /* for the closing line: not where the model goes */
    unsigned char *chunk; /* (CHUNK) */
    uint64_t bytes, done;
    struct modelfile_progress progress;
};

/* ---- options -------------------------------------------------------------------------------- */

enum { VOCAB_SHAPE = -1 };

enum { OPT_SHAPE = 0x100, OPT_LAYERS, OPT_TYPE, OPT_VOCAB, OPT_VOCAB_FROM, OPT_HOLLOW, OPT_QUIET };

static const char type_doc[] = "one of"
#define P(NAME) " " #NAME
#define M(NAME, ...) " " #NAME
#include "mixtures.def"
                               " (default Q4_K_M)";

static const struct argp_option options[] = {
    {"shape", OPT_SHAPE, "NAME", 0, "one of"
#define X(name, ...) " " name
#include "shapes.def"
#undef X
     ,
     1},
    {"layers", OPT_LAYERS, "N", 0, "another number of layers, 1 to 1000", 1},
    {"type", OPT_TYPE, "TYPE", 0, type_doc, 1},
    {"vocab", OPT_VOCAB, "N", 0,
     "a vocabulary of N tokens, 272 to 16777216: bytes, then made-up words; N may be the word "
     "shape, for the size of the real model's (default: bytes only)",
     1},
    {"vocab-from", OPT_VOCAB_FROM, "GGUF", 0,
     "take the vocabulary of this file (all its tokenizer.* keys)", 1},
    {"hollow", OPT_HOLLOW, NULL, 0,
     "all weights are zero, and the file takes no room on the disk; the default vocabulary has the "
     "shape's size",
     1},
    {"quiet", OPT_QUIET, NULL, 0, "print nothing", 2},
    {0},
};

static error_t parse_shape(struct synth *s, const char *arg, struct argp_state *state)
{
    struct err why;
    s->has_shape = shape_find(arg, &s->shape);
    if (s->has_shape)
        return 0;
    shape_unknown("shape", arg, &why);
    argp_error(state, "%s", why.msg);
    return EINVAL;
}

static error_t parse_vocab(struct synth *s, const char *arg, struct argp_state *state)
{
    int64_t n = VOCAB_SHAPE;
    if (strcmp(arg, "shape") != 0 && !str_to_i64(arg, SYNTH_VOCAB_LEAST, SYNTH_VOCAB_MOST, &n)) {
        argp_error(state,
                   "--vocab is '%s'; it takes a whole number from %d (all bytes, and control "
                   "tokens) to %d, or shape",
                   arg, SYNTH_VOCAB_LEAST, SYNTH_VOCAB_MOST);
        return EINVAL;
    }
    s->n_vocab = (int)n;
    return 0;
}

static error_t parse_end(const struct synth *s, struct argp_state *state)
{
    if (!s->has_shape || !s->out) {
        argp_error(state, "%s is missing", s->has_shape ? "the output file" : "--shape");
        return EINVAL;
    }
    if (s->n_vocab && s->vocab_from) {
        argp_error(state, "--vocab and --vocab-from exclude each other; give one of them");
        return EINVAL;
    }
    return 0;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct synth *s = state->input;
    switch (key) {
    case OPT_SHAPE:
        return parse_shape(s, arg, state);
    case OPT_LAYERS:
        return cli_int(state, "--layers", arg, 1, 1000, &s->n_layer);
    case OPT_TYPE:
        if (mixture_from_name(arg, &s->mix))
            return 0;
        argp_error(state, "unknown type '%s'; known:%s", arg, mixture_choices);
        return EINVAL;
    case OPT_VOCAB:
        return parse_vocab(s, arg, state);
    case OPT_VOCAB_FROM:
        s->vocab_from = arg;
        return 0;
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &s->rows;
        state->child_inputs[1] = &s->draw_rows;
        return 0;
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
        return parse_end(s, state);
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* ---- metadata ------------------------------------------------------------------------------- */

static int put_general(struct synth *s, struct err *e)
{
    char name[96];
    static const char about[] = "random weights for measurements; its answers mean nothing";
    snprintf(name, sizeof name, "synthetic %s, %d layers, seed %" PRId64, s->shape.name,
             s->shape.hp.n_layer, s->draw.seed);
    TRY(gguf_put_str(s->w, "general.architecture", s->shape.arch->name, strlen(s->shape.arch->name),
                     e));
    TRY(gguf_put_str(s->w, "general.name", name, strlen(name), e));
    TRY(gguf_put_str(s->w, "general.description", about, strlen(about), e));
    TRY(gguf_put_u32(s->w, "general.file_type", mixture_file_type(s->mix), e));
    return gguf_put_u32(s->w, "general.quantization_version", 2, e);
}

static int put_u32(struct synth *s, const char *key, int value, struct err *e)
{
    char full[96];
    snprintf(full, sizeof full, "%s.%s", s->shape.arch->name, key);
    return gguf_put_u32(s->w, full, (uint32_t)value, e);
}

static int put_f32(struct synth *s, const char *key, float value, struct err *e)
{
    char full[96];
    snprintf(full, sizeof full, "%s.%s", s->shape.arch->name, key);
    return gguf_put_f32(s->w, full, value, e);
}

static int put_shape(struct synth *s, struct err *e)
{
    const struct hparams *hp = &s->shape.hp;
    TRY(put_u32(s, "block_count", hp->n_layer, e));
    TRY(put_u32(s, "context_length", hp->n_ctx_train, e));
    TRY(put_u32(s, "embedding_length", hp->n_embd, e));
    TRY(put_u32(s, "feed_forward_length", hp->n_ff, e));
    TRY(put_u32(s, "attention.head_count", hp->n_head, e));
    TRY(put_u32(s, "attention.head_count_kv", hp->n_kv_head, e));
    if (hp->head_dim * hp->n_head != hp->n_embd) {
        TRY(put_u32(s, "attention.key_length", hp->head_dim, e));
        TRY(put_u32(s, "attention.value_length", hp->head_dim, e));
    }
    if (hp->window)
        TRY(put_u32(s, "attention.sliding_window", hp->window, e));
    TRY(put_u32(s, "rope.dimension_count", hp->rotary.n_rot, e));
    TRY(put_u32(s, "vocab_size", hp->n_vocab, e));
    TRY(put_f32(s, "rope.freq_base", hp->rotary.theta, e));
    return put_f32(s, "attention.layer_norm_rms_epsilon", hp->eps, e);
}

/* ---- tensors -------------------------------------------------------------------------------- */

struct synth_tensor {
    char name[WEIGHTS_NAME];
    const struct tensor *t;
    enum slot_init init;
    uint64_t key, bytes;
    int64_t blocks;
};

/* Calls `each` for every tensor, in the order of their use: the embedding, the layers, the output.
 */
static int for_each_tensor(struct synth *s,
                           int (*each)(struct synth *s, const struct synth_tensor *t,
                                       struct err *e),
                           struct err *e)
{
    const struct weights *w = &s->m.w;
    const int n = s->m.hp.n_layer;
    for (int l = -1; l <= n; l++)
        for (int slot = 0; slot < SLOT_COUNT; slot++) {
            const bool inside = l >= 0 && l < n;
            if (w->per_layer[slot] != inside || !weights_own(w, slot, inside ? l : 0) ||
                (!inside && (w->part[slot] == PART_EMBED) != (l < 0)))
                continue;
            struct synth_tensor t = {.t = weights_get(w, slot, inside ? l : 0),
                                     .init = model_slot_init((enum slot)slot)};
            const uint64_t place =
                inside ? (uint64_t)(slot - SLOT_ATTN_NORM) : slot != SLOT_TOKEN_EMBD;
            CHECK(weights_name(t.name, &s->slot[slot], l));
            t.key = rng_key((uint64_t)s->draw.seed, inside ? (uint64_t)l + 1 : 0, place);
            t.bytes = tensor_bytes(t.t);
            t.blocks = (int64_t)(t.bytes / fmt_info(t.t->fmt)->block_bytes);
            TRY(each(s, &t, e));
        }
    return 0;
}

static float deviation(const struct synth *s, const struct synth_tensor *t)
{
    const float even = 1 / sqrtf((float)tensor_cols(t->t));
    switch (t->init) {
    case INIT_UNIT:
        return 1;
    case INIT_EVEN:
        return even;
    case INIT_DAMPED:
        return 1 / sqrtf(2.0f * (float)s->m.hp.n_layer) * even;
    case INIT_LOGITS:
        return 3 / sqrtf((float)tensor_cols(t->t));
    case INIT_ZEROS:
    case INIT_ONES:
        break;
    }
    return 0;
}

struct fill_job {
    const struct synth_tensor *t;
    int64_t first;
    float deviation;
    unsigned char *out;
};

static void fill_part(void *arg, int64_t begin, int64_t end, int worker)
{
    const struct fill_job *j = arg;
    const enum fmt fmt = j->t->t->fmt;
    (void)worker;
    fmt_random(fmt, j->t->key, j->first + begin, end - begin, j->deviation,
               j->out + (size_t)begin * fmt_info(fmt)->block_bytes);
}

static int put_same(struct synth *s, const struct synth_tensor *t, float value, struct err *e)
{
    float *y = (float *)(void *)s->chunk;
    CHECK(t->t->fmt == FMT_F32 && t->bytes <= CHUNK);
    for (int64_t i = 0; i < t->blocks; i++)
        y[i] = value;
    return gguf_put_data(s->w, y, (size_t)t->bytes, e);
}

static int put_random(struct synth *s, const struct synth_tensor *t, struct err *e)
{
    size_t size = fmt_info(t->t->fmt)->block_bytes;
    int64_t most = (int64_t)(CHUNK / size);
    for (int64_t at = 0; at < t->blocks; at += most) {
        int64_t n = t->blocks - at < most ? t->blocks - at : most;
        struct fill_job j = {t, at, deviation(s, t), s->chunk};
        pool_run_grain(s->pool, n, 64, fill_part, &j);
        TRY(gguf_put_data(s->w, s->chunk, (size_t)n * size, e));
        s->done += (uint64_t)n * size;
        modelfile_progress_show(&s->progress, s->done, t->name);
    }
    return 0;
}

static int put_header(struct synth *s, const struct synth_tensor *t, struct err *e)
{
    s->bytes += t->bytes;
    return gguf_put_tensor(s->w, t->name, t->t->fmt, t->t->n_dim, t->t->dim, e);
}

static int put_values(struct synth *s, const struct synth_tensor *t, struct err *e)
{
    if (t->init == INIT_ZEROS || t->init == INIT_ONES)
        return put_same(s, t, t->init == INIT_ONES, e);
    return put_random(s, t, e);
}

static int put_tensors(struct synth *s, struct err *e)
{
    const struct shape *sh = &s->shape;
    TRY(model_outline(sh->arch, &sh->hp, sh->tied, s->mix, &s->m, e));
    model_slots(sh->arch, &sh->hp, s->slot);
    TRY(for_each_tensor(s, put_header, e));
    if (s->hollow)
        return 0;
    modelfile_progress_begin(&s->progress, "writing", s->bytes, s->quiet);
    return for_each_tensor(s, put_values, e);
}

/* ---- the command ---------------------------------------------------------------------------- */

static int put_vocab(struct synth *s, struct err *e)
{
    struct hparams *hp = &s->shape.hp;
    int64_t n = s->n_vocab == VOCAB_SHAPE ? hp->n_vocab : s->n_vocab;
    if (s->vocab_from)
        TRY(synth_vocab_copy(s->vocab_from, s->w, &n, e));
    else if (n)
        TRY(synth_vocab_words(s->w, n, e));
    else
        TRY(synth_vocab_bytes(s->w, s->hollow ? hp->n_vocab : 0, &n, e));
    hp->n_vocab = (int)n; /* at most SYNTH_VOCAB_MOST */
    return 0;
}

static int write_model(struct synth *s, struct err *e)
{
    int rc = 0;
    s->chunk = mem_aligned(CHUNK);
    if (!s->chunk)
        TRY_DONE(NOMEM(e, CHUNK, "a block of weights"));
    if (s->vocab_from)
        TRY_DONE(modelfile_apart(s->vocab_from, s->out, e));
    TRY_DONE(pool_open(s->machine.n_threads, &s->pool, e));
    TRY_DONE(s->hollow ? gguf_writer_open_hollow(s->out, &s->w, e)
                       : gguf_writer_open(s->out, &s->w, e));
    s->report = gguf_writer_is_stdout(s->w) ? stderr : stdout;
    TRY_DONE(put_general(s, e));
    TRY_DONE(put_vocab(s, e));
    TRY_DONE(put_shape(s, e));
    TRY_DONE(put_tensors(s, e));
    struct gguf_writer *w = s->w;
    s->w = NULL; /* finish frees it in every case */
    rc = gguf_writer_finish(w, e);
done:
    modelfile_progress_end(&s->progress);
    gguf_writer_abandon(s->w);
    pool_close(s->pool);
    mem_free(s->chunk);
    model_free(&s->m);
    return rc;
}

static int synth_quiet(const char *shape, enum mixture mix, int64_t seed, bool hollow,
                       const char *path, struct err *e)
{
    struct synth s = {.out = path,
                      .mix = mix,
                      .draw.seed = seed,
                      .hollow = hollow,
                      .quiet = true,
                      .machine.n_threads = 1};
    if (!shape_find(shape, &s.shape))
        return shape_unknown("shape", shape, e);
    return write_model(&s, e);
}

int synth_hollow(const char *shape, enum mixture mix, const char *path, struct err *e)
{
    return synth_quiet(shape, mix, 1, true, path, e);
}

int synth_random(const char *shape, enum mixture mix, int64_t seed, const char *path, struct err *e)
{
    return synth_quiet(shape, mix, seed, false, path, e);
}

static int run(int argc, char **argv)
{
    static const struct cli_row rows[] = {{.flag = "threads", .group = 2}};
    static const struct cli_row draw_rows[] = {
        {.flag = "seed", .group = 1, .doc = "Seed of the random numbers.", .otherwise = "1"}};
    struct synth s = {.mix = MIX_Q4_K_M};
    struct err e = {0};
    const struct argp_child children[] = {
        {&s.rows.argp, 0, NULL, 2}, {&s.draw_rows.argp, 0, NULL, 1}, {0}};
    const struct argp argp = {options,
                              parse,
                              "OUT.gguf",
                              "Writes a model with random weights of the right shape, for "
                              "measurements. Its answers mean nothing. Every number of threads "
                              "gives the same file.",
                              children,
                              NULL,
                              NULL};
    cli_rows_some(&s.rows, &engine_option_set, rows, 1, &s.machine);
    cli_rows_some(&s.draw_rows, &cli_sampling_set, draw_rows, 1, &s.draw);
    int code = cli_parse(&argp, argc, argv, &s);
    if (code >= 0)
        return code;
    if (s.n_layer)
        s.shape.hp.n_layer = s.n_layer;
    int64_t start = clock_ns();
    if (write_model(&s, &e) < 0)
        return cmd_fail(&e);
    double seconds = (double)(clock_ns() - start) / 1e9, gigabytes = (double)s.bytes / 1e9;
    if (!s.quiet && s.hollow)
        fprintf(s.report, "%s: nothing but zeros, %s, %d layers, %s, %.2f GB that take no room\n",
                s.out, s.shape.name, s.shape.hp.n_layer, mixture_name(s.mix), gigabytes);
    else if (!s.quiet)
        fprintf(s.report, "%s: random weights, %s, %d layers, %s, %.2f GB in %.1f s (%.2f GB/s)\n",
                s.out, s.shape.name, s.shape.hp.n_layer, mixture_name(s.mix), gigabytes, seconds,
                gigabytes / seconds);
    return 0;
}

const struct cmd cmd_synth = {
    "synth", "write a model with random weights, for measurements",
    "mas synth --shape tiny --type Q8_0 tiny.gguf\n"
    "mas synth --shape llama3-8b --type Q4_K_M --vocab shape 8b.gguf\n"
    "mas synth --shape llama3-8b --type Q4_K_M --vocab-from llama-bpe.gguf 8b.gguf\n"
    "mas synth --shape llama3-70b --layers 4 --seed 3 slice.gguf\n",
    run};
