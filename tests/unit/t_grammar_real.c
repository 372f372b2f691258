/* The grammar over the real Llama 3 vocabulary: correctness on samples, and the time for masks. */
#include "gguf.h"
#include "mem.h"
#include "rng.h"
#include "schema_check.h"
#include "test.h"
#include "tokenizer.h"
#include "vocabulary.h"

#include <time.h>
#include <unistd.h>

#define FILE_NAME "vocab/ggml-vocab-llama-bpe.gguf"
#define SPM_NAME "vocab/ggml-vocab-llama-spm.gguf"

static const char *const schemas[] = {"planner.json", "specialist.json", "final.json"};
enum { SCHEMAS = sizeof schemas / sizeof schemas[0] };

static int64_t cpu_ns(void) /* of this thread: other work on the machine does not count */
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

struct real {
    struct gguf *f;
    struct tokenizer *t;
    struct grammar_vocab *v;
    size_t n_words;
    int64_t open_ns;
};

static void real_open(struct real *r, const char *path)
{
    struct err e;
    ok(gguf_open(path, &r->f, &e));
    ok(tokenizer_open(r->f, NULL, &r->t, &e));
    int64_t t0 = cpu_ns();
    ok(grammar_vocab_open(r->t, &r->v, &e));
    r->open_ns = cpu_ns() - t0;
    r->n_words = ((size_t)tokenizer_n_vocab(r->t) + 31) / 32;
}

static void real_close(struct real *r)
{
    grammar_vocab_close(r->v);
    tokenizer_close(r->t);
    gguf_close(r->f);
}

/* A random token of the mask. One time in `close_every` it is the first token of the closing text,
 * so that strings end as in replies of a model. */
static int32_t draw(const struct real *r, const struct grammar *g, const struct grammar_state *s,
                    const uint32_t *mask, uint64_t key, uint32_t close_every)
{
    struct err e;
    if (!s->done && rng_below(key, 1, close_every) == 0) {
        struct token_list c = {0};
        ok(grammar_close(r->v, g, s, &c, &e));
        int32_t id = c.id[0];
        token_list_free(&c);
        return id;
    }
    for (uint64_t i = 2; i < 5000; i++) { /* dense masks: a few tries */
        size_t id = rng_below(key, i, (uint32_t)tokenizer_n_vocab(r->t));
        if (mask[id / 32] >> (id % 32) & 1)
            return (int32_t)id;
        if (i == 20)
            break;
    }
    uint32_t n = 0, k;
    for (size_t w = 0; w < r->n_words; w++)
        n += (uint32_t)__builtin_popcount(mask[w]);
    assert_true(n > 0);
    k = rng_below(key, 0, n);
    for (size_t w = 0;; w++) {
        uint32_t bits = mask[w], c = (uint32_t)__builtin_popcount(bits);
        if (k >= c) {
            k -= c;
            continue;
        }
        while (k--)
            bits &= bits - 1;
        return (int32_t)(w * 32) + __builtin_ctz(bits);
    }
}

static json_t *schema_json(const char *file)
{
    char path[1024];
    json_error_t why;
    snprintf(path, sizeof path, "%s/tests/fuzz/corpus/grammar/%s", TEST_SOURCE, file);
    json_t *j = json_load_file(path, 0, &why);
    assert_non_null(j);
    return j;
}

struct times {
    int64_t *ns;
    size_t n, cap;
};

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void times_add(struct times *t, int64_t ns)
{
    struct err e;
    ok(mem_grow(&t->ns, &t->cap, t->n + 1, sizeof *t->ns, "times", &e));
    t->ns[t->n++] = ns;
}

static void times_print(const char *what, struct times *t)
{
    qsort(t->ns, t->n, sizeof *t->ns, by_value);
    static const double at[] = {0.5, 0.99, 0.9999, 1};
    print_message("  %-22s n %zu; p50, p99, p99.99, max in us:", what, t->n);
    for (size_t i = 0; i < 4; i++)
        print_message(" %.2f", (double)t->ns[(size_t)((double)(t->n - 1) * at[i])] / 1e3);
    print_message("\n");
    mem_free(t->ns);
}

static void one_reply(struct real *r, const struct grammar *g, uint64_t seed, struct str *text,
                      struct times *masks, struct times *closes)
{
    struct err e;
    struct grammar_state s;
    const uint32_t *mask;
    grammar_start(g, &s);
    for (uint64_t step = 0; !s.done; step++) {
        int64_t t0 = cpu_ns();
        ok(grammar_mask(r->v, g, &s, &mask, &e));
        times_add(masks, cpu_ns() - t0);
        int32_t id = draw(r, g, &s, mask, rng_key(seed, 3, step), 12);
        assert_true(grammar_accept(r->v, g, &s, id));
        tokenizer_piece(r->t, id, 0, text);
        t0 = cpu_ns();
        assert_true(grammar_close_tokens(r->v, g, &s) >= 0);
        times_add(closes, cpu_ns() - t0);
    }
}

static long replies_wanted(void) /* many on request only: GRAMMAR_REPLIES=10000 */
{
    const char *s = getenv("GRAMMAR_REPLIES");
    return s ? atol(s) : 30;
}

static void replies_over_the_real_vocabulary_are_valid(void **state)
{
    (void)state;
    char path[1024];
    need_data(FILE_NAME, path);
    struct real r = {0};
    struct times masks = {0}, closes = {0};
    struct grammar *g[SCHEMAS];
    json_t *schema[SCHEMAS];
    char why[256] = "";
    real_open(&r, path);
    for (size_t k = 0; k < SCHEMAS; k++) {
        g[k] = vocabulary_grammar(schemas[k]);
        schema[k] = schema_json(schemas[k]);
    }
    for (long i = 0; i < replies_wanted(); i++) {
        struct str text = STR_INIT;
        one_reply(&r, g[i % SCHEMAS], (uint64_t)i, &text, &masks, &closes);
        if (!schema_check(schema[i % SCHEMAS], text.s, text.len, why))
            fail_msg("%s: %s", why, text.s);
        str_free(&text);
    }
    struct grammar_vocab_stats st;
    grammar_vocab_stats(r.v, &st);
    print_message(
        "  open %.0f ms; masks: %llu hits, %llu misses; closings: %llu hits, %llu misses\n",
        (double)r.open_ns / 1e6, (unsigned long long)st.hits, (unsigned long long)st.misses,
        (unsigned long long)st.close_hits, (unsigned long long)st.close_misses);
    times_print("grammar_mask", &masks);
    times_print("grammar_close_tokens", &closes);
    for (size_t k = 0; k < SCHEMAS; k++) {
        grammar_free(g[k]);
        json_decref(schema[k]);
    }
    real_close(&r);
}

static void compare(const struct real *r, const struct grammar *g, const struct grammar_state *s,
                    const uint32_t *mask)
{
    for (int32_t id = 0; id < tokenizer_n_vocab(r->t); id++) {
        struct grammar_state copy = *s;
        const char *bytes;
        size_t len;
        tokenizer_bytes(r->t, id, &bytes, &len);
        bool want = tokenizer_is_end(r->t, id) ? s->done
                                               : !tokenizer_is_control(r->t, id) && len &&
                                                     grammar_feed(g, &copy, bytes, len);
        if ((mask[id / 32] >> (id % 32) & 1) != want)
            fail_msg("token %d '%.*s': mask says %d", id, (int)len, bytes, !want);
    }
}

static void masks_equal_their_definition(const char *path)
{
    struct real r = {0};
    struct err e;
    real_open(&r, path);
    for (size_t k = 0; k < SCHEMAS; k++) {
        struct grammar *g = vocabulary_grammar(schemas[k]);
        struct grammar_state s;
        const uint32_t *mask;
        grammar_start(g, &s);
        for (uint64_t step = 0; step < 400 && !s.done; step++) {
            ok(grammar_mask(r.v, g, &s, &mask, &e));
            if (step % 20 == 7) /* each comparison feeds the whole vocabulary */
                compare(&r, g, &s, mask);
            assert_true(grammar_accept(r.v, g, &s, draw(&r, g, &s, mask, rng_key(8, k, step), 3)));
        }
        grammar_free(g);
    }
    real_close(&r);
}

static void masks_of_llama_3_equal_their_definition(void **state)
{
    (void)state;
    char path[1024];
    need_data(FILE_NAME, path);
    masks_equal_their_definition(path);
}

static void masks_of_llama_2_equal_their_definition(void **state)
{
    (void)state;
    char path[1024];
    need_data(SPM_NAME, path);
    masks_equal_their_definition(path);
}

/* Files of tests/real in the folder that MAS_REAL names. SmolLM2 lacks bytes; Gemma has 262,144
 * tokens, many of them white space. */
static void masks_of_real_models_equal_their_definition(void **state)
{
    (void)state;
    static const char *const files[] = {"SmolLM2-135M-Instruct.Q4_1.gguf",
                                        "gemma-3-270m-q4_k_m.gguf", "qwen2.gguf", "tekken.gguf"};
    const char *folder = getenv("MAS_REAL");
    char path[1024];
    int n = 0;
    for (size_t i = 0; folder && i < sizeof files / sizeof files[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, files[i]);
        if (access(path, R_OK)) {
            print_message("skipped: no %s\n", path);
            continue;
        }
        masks_equal_their_definition(path);
        n++;
    }
    if (!n) {
        print_message("skipped: MAS_REAL names no folder of model files\n");
        skip();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies_over_the_real_vocabulary_are_valid),
        cmocka_unit_test(masks_of_llama_3_equal_their_definition),
        cmocka_unit_test(masks_of_llama_2_equal_their_definition),
        cmocka_unit_test(masks_of_real_models_equal_their_definition),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
