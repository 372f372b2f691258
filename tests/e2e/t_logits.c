/*
 * The whole forward pass against another implementation: logits of tiny random checkpoints equal
 * those of `transformers` to 1e-4 of the largest logit of the row. Files and layout:
 * tools/training/golden/logits.py.
 */
#include <math.h>

#include "reply.h"
#include "test.h"

#define MODELS(X)                                                                                  \
    X(llama_gqa)                                                                                   \
    X(llama_mha_tied)                                                                              \
    X(llama_rope31)                                                                                \
    X(llama_2)                                                                                     \
    X(llama_head_dim)                                                                              \
    X(mistral)                                                                                     \
    X(qwen2)                                                                                       \
    X(qwen3)                                                                                       \
    X(gemma3)                                                                                      \
    X(gemma3_pattern)                                                                              \
    X(phi3)                                                                                        \
    X(phi3_long)                                                                                   \
    X(phi3_short)                                                                                  \
    X(mistral_window)                                                                              \
    X(llama_bias)                                                                                  \
    X(llama_linear)                                                                                \
    X(qwen2_yarn)

enum { MAX_PROMPTS = 4, MAX_POS = 16 };

struct prompt { /* views into golden.bytes */
    int n_id, n_pos;
    const int32_t *id;    /* (n_id) */
    const int32_t *pos;   /* (n_pos) rising */
    const float *want[2]; /* exact, half: each (n_pos, n_vocab) */
};

struct golden {
    char *bytes;
    int n_vocab, n_prompt;
    struct prompt prompt[MAX_PROMPTS];
};

/* A cache of floats is compared with unchanged transformers. A cache of halves is compared with
 * transformers that rounds k and v to halves. The two references differ by up to 1.4e-3, so they
 * cannot be mixed up. The tolerance of halves is wider: a value near the middle of two halves may
 * round either way. */
static const struct setup {
    const char *backend;
    enum fmt kv_fmt;
    int want;   /* index of prompt.want */
    double tol; /* of the largest magnitude of the row */
} setups[] = {
    {"ref", FMT_F32, 0, 1e-4},  {"cpu", FMT_F32, 0, 1e-4},      {"ref", FMT_F16, 1, 3e-4},
    {"cpu", FMT_F16, 1, 3e-4},  {"cudahost", FMT_F32, 0, 1e-4}, {"cudahost", FMT_F16, 1, 3e-4},
    {"cuda", FMT_F32, 0, 1e-4}, {"cuda", FMT_F16, 1, 3e-4},
};

static uint32_t take_u32(const char **at, const char *end)
{
    uint32_t v;
    assert_true(end - *at >= 4);
    memcpy(&v, *at, 4);
    *at += 4;
    return v;
}

/* Takes n little-endian 4-byte items from the file (offsets are multiples of 4). */
static const void *take_items(const char **at, const char *end, size_t n)
{
    const char *p = *at;
    assert_true((size_t)(end - p) / 4 >= n);
    *at += 4 * n;
    return p;
}

static void golden_read(const char *path, struct golden *g)
{
    size_t n;
    g->bytes = test_read(path, &n);
    const char *at = g->bytes + 8, *end = g->bytes + n;
    assert_true(n > 20);
    assert_memory_equal(g->bytes, "MASLOGIT", 8);
    assert_int_equal(take_u32(&at, end), 1);
    g->n_vocab = (int)take_u32(&at, end);
    g->n_prompt = (int)take_u32(&at, end);
    assert_in_range(g->n_prompt, 1, MAX_PROMPTS);
    for (int i = 0; i < g->n_prompt; i++) {
        struct prompt *p = &g->prompt[i];
        p->n_id = (int)take_u32(&at, end);
        p->n_pos = (int)take_u32(&at, end);
        assert_in_range(p->n_pos, 1, MAX_POS);
        p->id = take_items(&at, end, (size_t)p->n_id);
        p->pos = take_items(&at, end, (size_t)p->n_pos);
        for (int k = 0; k < 2; k++)
            p->want[k] = take_items(&at, end, (size_t)p->n_pos * (size_t)g->n_vocab);
    }
    assert_ptr_equal(at, end);
}

struct rows { /* rows that on_logits received; request.user */
    const struct prompt *p;
    int n_vocab;
    int n_call, n_kept;
    bool in_order;
    float *got; /* (n_pos, n_vocab) */
};

static void keep(struct request *r, int pos, const float *logits)
{
    struct rows *k = r->user;
    k->in_order = k->in_order && pos == r->logits_from + k->n_call;
    k->n_call++;
    if (k->n_kept < k->p->n_pos && pos == k->p->pos[k->n_kept]) {
        float *to = k->got + (size_t)k->n_kept * (size_t)k->n_vocab;
        memcpy(to, logits, (size_t)k->n_vocab * sizeof *to);
        k->n_kept++;
    }
}

static int largest(const float *x, int n)
{
    int a = 0;
    for (int i = 1; i < n; i++)
        if (x[i] > x[a])
            a = i;
    return a;
}

/* Fails unless the row is within tolerance; returns the used share of the tolerance. */
static double row_check(const char *what, int pos, const float *got, const float *want, int n,
                        double tol)
{
    double scale = 0, worst = 0;
    int at = 0;
    for (int i = 0; i < n; i++)
        scale = fmax(scale, fabs((double)want[i]));
    for (int i = 0; i < n; i++) {
        double d = fabs((double)got[i] - (double)want[i]);
        if (!(d <= worst)) { /* a NaN is the worst */
            worst = d;
            at = i;
            if (isnan(d))
                break;
        }
    }
    if (!(worst <= tol * scale))
        fail_msg("%s, position %d: logit %d is %.9g, want %.9g: %.0f %% of the tolerance %.3g",
                 what, pos, at, (double)got[at], (double)want[at], 100 * worst / (tol * scale),
                 tol * scale);
    int best = largest(got, n), want_best = largest(want, n);
    if (best != want_best)
        fail_msg("%s, position %d: best token %d, want %d", what, pos, best, want_best);
    return worst / (tol * scale);
}

static double prompt_check(struct engine *en, const char *what, const struct golden *g,
                           const struct prompt *p, const struct setup *s)
{
    struct err e;
    size_t n = (size_t)p->n_pos * (size_t)g->n_vocab;
    struct rows rows = {.p = p, .n_vocab = g->n_vocab, .in_order = true};
    rows.got = malloc(n * sizeof *rows.got);
    assert_non_null(rows.got);
    for (size_t i = 0; i < n; i++)
        rows.got[i] = NAN;
    struct reply reply = {.r = {.prompt = p->id,
                                .n_prompt = p->n_id,
                                .top_p = 1,
                                .on_logits = keep,
                                .logits_from = p->pos[0],
                                .user = &rows}};
    ok(reply_run(en, &reply, &e));
    assert_int_equal(reply.ended, 1);
    assert_true(rows.in_order);
    assert_int_equal(rows.n_call, p->n_id - p->pos[0]);
    assert_int_equal(rows.n_kept, p->n_pos);
    double used = 0;
    for (int i = 0; i < p->n_pos; i++) {
        size_t row = (size_t)i * (size_t)g->n_vocab;
        used = fmax(used, row_check(what, p->pos[i], rows.got + row, p->want[s->want] + row,
                                    g->n_vocab, s->tol));
    }
    free(rows.got);
    return used;
}

static struct engine_options options(const char *model, const struct setup *s)
{
    /* 64 rows a step: three chunks of the longer prompt must give the same result. */
    return (struct engine_options){.model = model,
                                   .backend = s->backend,
                                   .kv_fmt = s->kv_fmt,
                                   .n_threads = 2,
                                   .n_ctx = 256,
                                   .n_seq = 2,
                                   .batch_tokens = 64};
}

static void logits_check(struct engine *en, const char *what, const struct golden *g,
                         const struct setup *s)
{
    assert_int_equal(engine_info(en)->n_vocab, g->n_vocab);
    double used = 0;
    for (int i = 0; i < g->n_prompt; i++)
        used = fmax(used, prompt_check(en, what, g, &g->prompt[i], s));
    print_message("%s: %.1f %% of the tolerance\n", what, 100 * used);
}

static void setup_check(const char *name, const char *model, const struct golden *g,
                        const struct setup *s)
{
    struct err e;
    struct engine *en;
    const struct engine_options opt = options(model, s);
    char what[128];
    snprintf(what, sizeof what, "%s on %s, %s cache", name, s->backend, fmt_info(s->kv_fmt)->name);
    ok(engine_open(&opt, &en, &e));
    logits_check(en, what, g, s);
    engine_close(en);
}

/* The parts beside the device: all ffn parts on the CPU, or some parts streamed. */
static void places_check(const char *name, const char *model, const struct golden *g)
{
    static const struct plan_rates rates = {
        .vram = 1e12, .link = 25e9, .host = 60e9, .host_ops = 1e12, .hop_s = 1e-5, .step_s = 1e-4};
    static const struct setup s = {"cudahost", FMT_F32, 0, 1e-4};
    struct err e;
    struct engine *en;
    char what[128];
    struct engine_options opt = options(model, &s);
    opt.rates = &rates;
    opt.kv_bytes = 1 << 20;
    opt.cpu_layers = (struct option_auto){true, 2};
    ok(engine_open(&opt, &en, &e));
    const struct plan *p = engine_info(en)->plan;
    assert_true(p->host_bytes > 0);
    const uint64_t all = p->total_bytes + p->host_bytes, ffn = p->host_bytes;
    snprintf(what, sizeof what, "%s with two ffn parts on the CPU", name);
    logits_check(en, what, g, &s);
    engine_close(en);
    opt.cpu_layers = (struct option_auto){true, 0};
    opt.vram_bytes = all - ffn / 4;
    opt.placement = PLAN_THROUGHPUT;
    ok(engine_open(&opt, &en, &e));
    assert_true(engine_info(en)->plan->stream_bytes > 0);
    snprintf(what, sizeof what, "%s with streamed parts", name);
    logits_check(en, what, g, &s);
    engine_close(en);
}

static void model_check(const char *name)
{
    char path[1024], model[1024];
    struct golden g;
    snprintf(path, sizeof path, "%s/logits_%s.bin", TEST_GOLDEN, name);
    snprintf(model, sizeof model, "%s/logits_%s.gguf", TEST_GOLDEN, name);
    golden_read(path, &g);
    for (size_t i = 0; i < sizeof setups / sizeof *setups; i++)
        if (test_backend(setups[i].backend))
            setup_check(name, model, &g, &setups[i]);
    free(g.bytes);
}

/* Fused tensors and post-norms in every place. */
static void logits_do_not_depend_on_the_place(void **state)
{
    (void)state;
    static const char *const names[] = {"phi3", "gemma3"};
    if (!test_backend("cudahost"))
        skip();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[1024], model[1024];
        struct golden g;
        snprintf(path, sizeof path, "%s/logits_%s.bin", TEST_GOLDEN, names[i]);
        snprintf(model, sizeof model, "%s/logits_%s.gguf", TEST_GOLDEN, names[i]);
        golden_read(path, &g);
        places_check(names[i], model, &g);
        free(g.bytes);
    }
}

#define X(name)                                                                                    \
    static void logits_of_##name##_match_transformers(void **state)                                \
    {                                                                                              \
        (void)state;                                                                               \
        model_check(#name);                                                                        \
    }
MODELS(X)
#undef X

int main(void)
{
    const struct CMUnitTest tests[] = {
#define X(name) cmocka_unit_test(logits_of_##name##_match_transformers),
        MODELS(X)
#undef X
            cmocka_unit_test(logits_do_not_depend_on_the_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
