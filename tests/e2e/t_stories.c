/*
 * A trained model tells the story that llama.cpp tells. Golden files and their making:
 * tests/golden/README.md, tools/training/golden/stories.py; the models are optional data.
 *
 * Quantised weights: llama.cpp and our cpu backend round activations to 8 bits, which moves margins
 * between tokens by up to 0.41. So free-running text is compared up to the first near-tie. The rest
 * scores llama.cpp's own tokens against the exact best token of each position.
 */
#include <glob.h>
#include <math.h>

#include "reply.h"
#include "test.h"
#include "tokenizer.h"

#define PROMPT "Once upon a time"
#define FORMAT_PROMPT "Once upon a time there was a boy"
#define NEAR_TIE 0.1f

enum { N_NEW = 200, MAX_IDS = 256 };

struct story {
    char *text; /* prompt and reply */
    int n_prompt;
    int32_t id[MAX_IDS]; /* prompt, then N_NEW tokens of llama.cpp */
    float margin[N_NEW]; /* llama.cpp: largest logit minus second */
    int32_t best[N_NEW]; /* exact arithmetic after the same tokens */
    float best_margin[N_NEW];
};

static void story_read(const char *name, struct story *s)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s_greedy.txt", TEST_GOLDEN, name);
    s->text = test_read(path, NULL);
    snprintf(path, sizeof path, "%s/%s_greedy.tsv", TEST_GOLDEN, name);
    char *table = test_read(path, NULL), *at = table;
    s->n_prompt = 0;
    while (*at != '\n') {
        assert_true(s->n_prompt < MAX_IDS - N_NEW);
        s->id[s->n_prompt++] = (int32_t)strtol(at, &at, 10);
    }
    for (int i = 0; i < N_NEW; i++) {
        s->id[s->n_prompt + i] = (int32_t)strtol(at, &at, 10);
        s->margin[i] = strtof(at, &at);
        s->best[i] = (int32_t)strtol(at, &at, 10);
        s->best_margin[i] = strtof(at, &at);
    }
    assert_string_equal(at, "\n");
    free(table);
}

/* Opens a copy of the model with 256 tokens of context: the golden text has 205, the file says 128.
 * The copy is in a new folder dir; close_longer removes it. */
static struct engine *open_longer(const char *path, const char *backend, char dir[256])
{
    static const char key[] = "llama.context_length";
    struct err e;
    struct engine *en;
    size_t n, at = 0;
    char copy[300];
    char *file = test_read(path, &n);
    while (at + sizeof key + 8 <= n && memcmp(file + at, key, sizeof key - 1) != 0)
        at++;
    char *type = file + at + sizeof key - 1; /* u32 type 4 = u32, then the value */
    assert_memory_equal(type, "\4\0\0\0\x80\0\0\0", 8);
    memcpy(type + 4, "\0\1\0\0", 4);
    snprintf(copy, sizeof copy, "%s/model.gguf", test_mkdir(dir));
    FILE *f = fopen(copy, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(file, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
    free(file);
    struct engine_options opt = {.model = copy,
                                 .backend = backend,
                                 .kv_fmt = FMT_F16,
                                 .n_threads = 2,
                                 .n_ctx = 256,
                                 .n_seq = 2};
    ok(engine_open(&opt, &en, &e));
    return en;
}

static void close_longer(struct engine *en, const char *dir)
{
    engine_close(en);
    test_rmdir(dir);
}

/* Generates n greedy tokens after the prompt; checks the ids of the prompt. */
static void tell(struct engine *en, const char *text, const struct story *s, int n,
                 int32_t out[N_NEW])
{
    struct err e;
    struct token_list prompt = {0};
    ok(reply_prompt(en, text, &prompt, &e));
    assert_int_equal(prompt.n, s->n_prompt);
    assert_memory_equal(prompt.id, s->id, prompt.n * sizeof *prompt.id);
    struct reply reply = {
        .r = {.prompt = prompt.id, .n_prompt = s->n_prompt, .max_new = n, .top_p = 1, .out = out}};
    ok(reply_run(en, &reply, &e));
    assert_int_equal(reply.r.finish, FINISH_LENGTH);
    assert_int_equal(reply.r.n_out, n);
    token_list_free(&prompt);
}

/* Checks that the first n tokens are llama.cpp's. */
static void same_ids(const char *what, const struct story *s, const int32_t *out, int n)
{
    for (int i = 0; i < n; i++)
        if (out[i] != s->id[s->n_prompt + i])
            fail_msg("%s: token %d of the reply is %d, want %d (margin there: %.4f, exact %.4f)",
                     what, i, out[i], s->id[s->n_prompt + i], (double)s->margin[i],
                     (double)s->best_margin[i]);
}

/* Checks prompt and reply as text against the golden file: no space before the first word. */
static void same_text(const struct engine *en, const struct story *s, const int32_t *out)
{
    struct err e;
    struct str text = STR_INIT;
    int32_t all[MAX_IDS];
    memcpy(all, s->id, (size_t)s->n_prompt * sizeof *all);
    memcpy(all + s->n_prompt, out, N_NEW * sizeof *all);
    ok(tokenizer_decode(engine_tokenizer(en), all, (size_t)s->n_prompt + N_NEW, 0, &text, &e));
    assert_string_equal(text.s[0] == ' ' ? text.s + 1 : text.s, s->text);
    str_free(&text);
}

static int first_near_tie(const struct story *s)
{
    int i = 0;
    while (i < N_NEW && s->margin[i] >= NEAR_TIE && s->best_margin[i] >= NEAR_TIE)
        i++;
    return i;
}

struct choices { /* request.user of a scoring */
    int n_vocab, n;
    int32_t best[MAX_IDS]; /* of each position from logits_from on */
    bool finite;
};

static void note_best(struct request *r, int pos, const float *logits)
{
    struct choices *c = r->user;
    (void)pos;
    int best = 0;
    for (int i = 0; i < c->n_vocab; i++) {
        c->finite = c->finite && isfinite(logits[i]);
        if (logits[i] > logits[best])
            best = i;
    }
    if (c->n < MAX_IDS)
        c->best[c->n] = best;
    c->n++;
}

/* Checks that after each of the first n golden tokens the engine prefers the exact best one,
 * wherever that one leads by `slack`. */
static void same_choices(struct engine *en, const char *what, const struct story *s, int n,
                         float slack)
{
    struct err e;
    struct choices c = {.n_vocab = engine_info(en)->n_vocab, .finite = true};
    struct reply reply = {.r = {.prompt = s->id,
                                .n_prompt = s->n_prompt + n - 1,
                                .top_p = 1,
                                .on_logits = note_best,
                                .logits_from = s->n_prompt - 1,
                                .user = &c}};
    ok(reply_run(en, &reply, &e));
    assert_true(c.finite);
    assert_int_equal(c.n, n);
    int n_lead = 0;
    for (int i = 0; i < n; i++) {
        if (s->best_margin[i] < slack)
            continue;
        n_lead++;
        if (c.best[i] != s->best[i])
            fail_msg("%s: after %d golden tokens %d is best, want %d, which leads by %.4f", what, i,
                     c.best[i], s->best[i], (double)s->best_margin[i]);
    }
    print_message("%s: %d of %d positions lead by %g and agree\n", what, n_lead, n, (double)slack);
    assert_true(n_lead > n / 2);
}

static const char *const backends[] = {"ref", "cpu", "cudahost", "cuda"};

static void stories260k_tells_llama_cpps_story(void **state)
{
    (void)state;
    char path[1024];
    struct story s;
    need_data("models/stories260K.gguf", path);
    story_read("stories260K", &s);
    for (size_t i = 0; i < sizeof backends / sizeof *backends; i++) {
        int32_t out[N_NEW];
        char dir[256];
        if (!test_backend(backends[i]))
            continue;
        struct engine *en = open_longer(path, backends[i], dir);
        tell(en, PROMPT, &s, N_NEW, out);
        same_ids(backends[i], &s, out, N_NEW);
        same_text(en, &s, out);
        same_choices(en, backends[i], &s, N_NEW, 0.02f);
        close_longer(en, dir);
    }
    free(s.text);
}

/* Quantised weights. ref does not round activations: it must agree with exact arithmetic, except
 * for the rounding of k and v. ref and cudahost tell only the compared part: they are slow.
 * cpu and cuda tell all of it. They may move a margin by about as much as llama.cpp does; twice
 * that is allowed. */
static void quantised_story(const char *file, const char *name, const char *prompt)
{
    struct story s;
    story_read(name, &s);
    int n = first_near_tie(&s);
    assert_true(n >= 10);
    const struct {
        const char *backend;
        int n_new, n_score;
        float slack;
    } runs[] = {{"ref", n, 100, 0.02f},
                {"cpu", N_NEW, N_NEW, 0.8f},
                {"cudahost", n, 100, 0.8f},
                {"cuda", N_NEW, N_NEW, 0.8f}};
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        int32_t out[N_NEW];
        char dir[256];
        if (!test_backend(runs[i].backend))
            continue;
        struct engine *en = open_longer(file, runs[i].backend, dir);
        tell(en, prompt, &s, runs[i].n_new, out);
        same_ids(runs[i].backend, &s, out, n);
        same_choices(en, runs[i].backend, &s, runs[i].n_score, runs[i].slack);
        close_longer(en, dir);
    }
    free(s.text);
}

static void q6_k_tells_llama_cpps_story_up_to_a_near_tie(void **state)
{
    (void)state;
    char path[1024];
    need_data("models/stories260K-pad1024-Q6_K.gguf", path);
    quantised_story(path, "stories260K-pad1024-Q6_K", PROMPT);
}

static void q4_k_m_tells_llama_cpps_story_up_to_a_near_tie(void **state)
{
    (void)state;
    char path[1024];
    need_data("models/stories260K-pad1024-Q4_K_M.gguf", path);
    quantised_story(path, "stories260K-pad1024-Q4_K_M", PROMPT);
}

/* Every model of one format in the golden folder. */
static void each_formats_model_tells_llama_cpps_story_up_to_a_near_tie(void **state)
{
    (void)state;
    glob_t models;
    const int rc = glob(TEST_GOLDEN "/stories260K-*.gguf", 0, NULL, &models);
    if (rc == GLOB_NOMATCH) {
        print_message("no model of a format in %s\n", TEST_GOLDEN);
        skip();
    }
    assert_int_equal(rc, 0);
    for (size_t k = 0; k < models.gl_pathc; k++) {
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)(strlen(strrchr(models.gl_pathv[k], '/')) - 6),
                 strrchr(models.gl_pathv[k], '/') + 1);
        print_message("%s\n", name);
        quantised_story(models.gl_pathv[k], name, FORMAT_PROMPT);
    }
    globfree(&models);
}

/* A file of eleven formats. Low bits make near-ties frequent. */
static void a_file_of_many_formats_tells_the_story_up_to_a_near_tie(void **state)
{
    (void)state;
    quantised_story(TEST_GOLDEN "/wide-formats.gguf", "wide-formats", FORMAT_PROMPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stories260k_tells_llama_cpps_story),
        cmocka_unit_test(q6_k_tells_llama_cpps_story_up_to_a_near_tie),
        cmocka_unit_test(q4_k_m_tells_llama_cpps_story_up_to_a_near_tie),
        cmocka_unit_test(each_formats_model_tells_llama_cpps_story_up_to_a_near_tie),
        cmocka_unit_test(a_file_of_many_formats_tells_the_story_up_to_a_near_tie),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
