/* An experiment and its file without memory: ERR_NOMEM, and nothing is left behind. */
#include "gridfile.h"
#include "oom.h"
#include "outfile.h"
#include "test.h"
#include "tool_options.h"
#include "vary.h"

static char dir[256], path[300], data[2000];
static size_t n_data;

static const struct grid_data data_s = {.sha256 = "s", .subset = "", .variants = ""};
static const struct gridfile_about about = {
    .version = "v", .data_path = "d", .data = &data_s, .asked = 3};

static int make(struct config *c, struct grid *g, struct err *e)
{
    int rc = tool_config_init(c, e);
    c->group = GRID_GROUP;
    if (rc == 0)
        rc = config_load(c, path, e);
    if (rc == 0)
        rc = grid_open(c, false, g, e);
    if (rc == 0)
        rc = grid_identify(g, &data_s, e);
    return rc;
}

static int open_and_write(void *arg)
{
    struct config c = {.n = 0};
    struct grid g = {.n = 0};
    struct gridfile was = {.doc = NULL};
    struct str notes = STR_INIT;
    struct err e = {.code = 0};
    (void)arg;
    int rc = make(&c, &g, &e);
    if (rc == 0)
        rc = gridfile_read(dir, &was, &e);
    if (rc == 0)
        rc = gridfile_adopt(&g, &was, &notes, &e);
    if (rc == 0)
        rc = gridfile_write(dir, &g, &about, &was, &e);
    if (rc == 0)
        assert_int_equal(g.n, 5);
    else if (rc != ERR_NOMEM)
        print_message("%s\n", e.msg);
    str_free(&notes);
    gridfile_free(&was);
    grid_close(&g);
    config_free(&c);
    return rc;
}

static int choose(void *arg)
{
    static const char ids[] = "0123456789abcdef\n";
    struct medqa m = {.n = 0};
    struct arena a = {.limit = 1 << 20};
    struct str text = STR_INIT;
    struct err e = {.code = 0};
    const char *const *id;
    struct vary_count count;
    size_t n;
    (void)arg;
    int rc = medqa_parse(data, n_data, "x.jsonl", &m, &e);
    if (rc == 0)
        rc = subset_ids(ids, sizeof ids - 1, "ids", &a, &id, &n, &e);
    if (rc == 0)
        rc = subset_take(&(struct subset){.sample = 3, .seed = 1}, &m, &text, &e);
    if (rc == 0)
        assert_int_equal(m.n, 3);
    if (rc == 0)
        rc = vary_take(&(struct vary){.kind = VARY_CYCLIC}, &m, 0, &count, &text, &e);
    if (rc == 0)
        assert_int_equal(m.n, 6);
    medqa_free(&m);
    arena_free(&a);
    str_free(&text);
    return rc;
}

static void lack_of_memory_is_an_error(void **state)
{
    (void)state;
    assert_true(oom_loop(open_and_write, NULL, false) > 50);
    assert_true(oom_loop(open_and_write, NULL, true) > 50);
    assert_true(oom_loop(choose, NULL, false) > 5);
}

static int begin(void **state)
{
    static const char *const text[] = {
        "model: demo\nexperiment:\n  factors:\n    strategy: [direct, cot]\n  seeds: [1, 2, 3, "
        "4]\n",
        "model: demo\nexperiment:\n  factors:\n    strategy: [panel]\n"};
    struct err e;
    (void)state;
    test_mkdir(dir);
    snprintf(path, sizeof path, "%s/x.yaml", dir);
    for (int i = 0; i < 5; i++)
        n_data += (size_t)snprintf(data + n_data, sizeof data - n_data,
                                   "{\"question\": \"Q%d\", \"options\": {\"A\": \"a\", \"B\": "
                                   "\"b\"}, \"answer_idx\": \"A\"}\n",
                                   i);
    for (int i = 2; i-- > 0;) { /* an experiment before, which has another cell */
        struct config c = {.n = 0};
        struct grid g = {.n = 0};
        ok(outfile_save(path, text[i], strlen(text[i]), &e));
        if (i && make(&c, &g, &e) == 0)
            ok(gridfile_write(dir, &g, &about, NULL, &e));
        grid_close(&g);
        config_free(&c);
    }
    return 0;
}

static int end(void **state)
{
    (void)state;
    test_rmdir(dir);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(lack_of_memory_is_an_error)};
    return cmocka_run_group_tests(tests, begin, end);
}
