/*
 * mas perplexity prints the figures of llama-perplexity, for unchanged models and for each key and
 * tensor that changes the arithmetic. Without a figure it prints an error. Figures:
 * tests/golden/perplexity.tsv.
 */
#include <math.h>

#include "gguf_edit.h"
#include "test.h"

#define TEXT TEST_GOLDEN "/perplexity.txt"

static char dir[256], path[300];

static const char *mas(void)
{
    const char *program = getenv("MAS");
    assert_non_null(program);
    return program;
}

struct row {
    char model[64], text[64], changes[256];
    int window;
    double want;
};

/* Paths of the model and the text of a row; false when their data is missing. */
static bool row_paths(const struct row *r, char model[1024], char text[1024])
{
    char name[128];
    bool golden = !strncmp(r->model, "logits_", 7), own = !strcmp(r->text, "perplexity.txt");
    snprintf(model, 1024, "%s/%s.gguf", TEST_GOLDEN, r->model);
    snprintf(text, 1024, "%s", TEXT);
    snprintf(name, sizeof name, "models/%s.gguf", r->model);
    if (!golden && !test_data(name, model))
        return false;
    snprintf(name, sizeof name, "../cases/text/%s", r->text);
    return own || test_data(name, text);
}

/* The figure has 4 decimals. Float weights: only the order of sums differs. Quantised weights: both
 * programs round activations to 8 bits in blocks of different sizes, which may change 0.1 %. Other
 * backends round otherwise or not at all. */
static void row_check(const struct row *r, const char *text, const char *backend, const char *more)
{
    bool quantised = strstr(r->model, "-Q") != NULL;
    double got = NAN, tol = quantised ? 1e-3 * r->want : 2e-5 * r->want;
    struct str out = STR_INIT;
    if (quantised && strcmp(backend, "cpu") != 0)
        return;
    int rc = test_run(
        &out, "'%s' perplexity -m '%s' -f '%s' --ctx %d --backend %s --kv-type f32 --quiet %s",
        mas(), path, text, r->window, backend, more);
    const char *at = strstr(out.s, "perplexity ");
    if (rc != 0 || !at || sscanf(at, "perplexity %lf", &got) != 1)
        fail_msg("%s %s on %s: exit %d: %s", r->model, r->changes, backend, rc, out.s);
    if (!(fabs(got - r->want) <= tol))
        fail_msg("%s %s, %s by %d, on %s: perplexity %.4f, want %.4f: %.0f %% of the tolerance",
                 r->model, r->changes, r->text, r->window, backend, got, r->want,
                 100 * fabs(got - r->want) / tol);
    str_free(&out);
}

static void perplexity_is_what_llama_cpp_says(void **state)
{
    (void)state;
    static const char *const backends[] = {"ref", "cpu", "cudahost", "cuda"};
    char *table = test_read(TEST_GOLDEN "/perplexity.tsv", NULL);
    int n = 0, n_skipped = 0;
    bool has[4];
    for (int b = 0; b < 4; b++)
        has[b] = test_backend(backends[b]);
    for (char *line = strtok(table, "\n"); line; line = strtok(NULL, "\n")) {
        struct row r;
        char model[1024], text[1024];
        if (line[0] == '#')
            continue;
        if (sscanf(line, "%63[^\t]\t%63[^\t]\t%d\t%255[^\t]\t%lf", r.model, r.text, &r.window,
                   r.changes, &r.want) != 5)
            fail_msg("bad row '%s'", line);
        if (!row_paths(&r, model, text)) {
            n_skipped++;
            continue;
        }
        gguf_edit(model, path, r.changes);
        int n_change = 1;
        for (const char *s = r.changes; *s; s++)
            n_change += *s == ',';
        /* slow backends run the rows that combine most changes */
        bool emulated = n_change >= 4 || strstr(r.changes, "bias:output");
        for (int b = 0; b < 4; b++)
            if (has[b] && (strcmp(backends[b], "cudahost") != 0 || emulated))
                row_check(&r, text, backends[b], "");
        if (emulated && has[2]) /* feed-forward parts beside the device */
            row_check(&r, text, backends[2], "--cpu-layers 2");
        n++;
    }
    free(table);
    print_message("%d rows; %d skipped: no data\n", n, n_skipped);
    assert_true(n >= 30);
}

/* Runs the command; checks exit code and a part of its output. */
static void says(const char *options, int code, const char *want)
{
    struct str out = STR_INIT;
    int rc = test_run(&out, "'%s' perplexity -m '%s' --quiet %s", mas(), path, options);
    if (rc != code || !strstr(out.s, want))
        fail_msg("perplexity %s: exit %d, '%s', want %d with '%s'", options, rc, out.s, code, want);
    str_free(&out);
}

static void what_is_no_perplexity_is_an_error(void **state)
{
    (void)state;
    gguf_edit(TEST_GOLDEN "/logits_llama_2.gguf", path, "nan:output_norm.weight=3");
    says("-f " TEXT " --ctx 64", 65,
         "in window 1 the logits at position 32 give the next token no finite probability");
    gguf_edit(TEST_GOLDEN "/logits_llama_2.gguf", path, "nan:output_norm.weight=3 1e30");
    says("-f " TEXT " --ctx 64", 65,
         "no perplexity: after window 1 the mean negative log-probability is");
    gguf_edit(TEST_GOLDEN "/logits_llama_2.gguf", path, "-");
    says("-p 12345 --ctx 64", 65,
         "the text has 6 tokens, a window 64; give a longer text or lower --ctx");
    says("-p 12345", 65, "the text has 6 tokens, a window 512");
    says("-p '' --ctx 8", 65, "the text has 1 tokens, a window 8");
    says("-p 12345 --ctx 2", 64, "a window of 2 tokens scores none; set --ctx to 3 or more");
    says("-p 12345 --ctx 3", 0, "window 2/2: perplexity");
    struct str out = STR_INIT;
    assert_int_equal(
        test_run(&out, "'%s' perplexity -m '%s' --quiet -p 1234 --ctx 3 --chunks 1", mas(), path),
        0);
    assert_non_null(strstr(out.s, ", 1 tokens"));
    assert_null(strstr(out.s, "nan"));
    str_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(perplexity_is_what_llama_cpp_says),
        cmocka_unit_test(what_is_no_perplexity_is_an_error),
    };
    test_mkdir(dir);
    snprintf(path, sizeof path, "%s/changed.gguf", dir);
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    test_rmdir(dir);
    return rc;
}
