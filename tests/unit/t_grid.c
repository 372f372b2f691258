/* An experiment: its file, its points and cells, the folders of cells after a change. */
#include "grid.h"
#include "grid_table.h"
#include "gridfile.h"
#include "outfile.h"
#include "test.h"
#include "tool_options.h"

static void grid_write(const char *path, const char *text, size_t n)
{
    struct err e;
    ok(outfile_save(path, text, n, &e));
}

/* A configuration read from a file with that text. */
static int load(struct config *c, const char *text, struct err *e)
{
    char dir[256], path[300];
    test_mkdir(dir);
    snprintf(path, sizeof path, "%s/x.yaml", dir);
    grid_write(path, text, strlen(text));
    assert_int_equal(tool_config_init(c, e), 0);
    c->group = GRID_GROUP;
    int rc = config_load(c, path, e);
    test_rmdir(dir);
    return rc;
}

static void make(struct config *c, struct grid *g, bool shuffle, const char *text)
{
    struct err e;
    if (load(c, text, &e) < 0 || grid_open(c, shuffle, g, &e) < 0)
        fail_msg("%s", e.msg);
}

static void refused(const char *text, const char *why)
{
    struct config c = {.n = 0};
    struct grid g = {.n = 0};
    struct err e = {.code = 0};
    int rc = load(&c, text, &e);
    if (rc == 0)
        rc = grid_open(&c, false, &g, &e);
    if (rc != ERR_CONFIG || !strstr(e.msg, why))
        fail_msg("%d '%s', not '%s'", rc, e.msg, why);
    config_free(&c);
}

static void names(const struct grid *g, const char *want)
{
    struct str s = STR_INIT;
    for (size_t i = 0; i < g->n; i++)
        str_addf(&s, "%s%s", i ? " " : "", g->cell[i].name);
    assert_string_equal(s.s, want);
    str_free(&s);
}

#define PRODUCT                                                                                    \
    "model: demo\nexperiment:\n  name: x\n  factors:\n    strategy: [direct, cot, panel]\n"        \
    "    temperature: [0.1, 0.7]\n    planner:\n      top_k: [3, 5]\n  seeds: [1, 2]\n"

static void settings_that_a_strategy_does_not_read_are_one_cell(void **state)
{
    (void)state;
    struct config c;
    struct grid g;
    make(&c, &g, false, PRODUCT);
    assert_int_equal(g.points, 24);
    assert_int_equal(g.n, 1 + 4 + 8);
    assert_int_equal(g.n_factor, 4);
    assert_string_equal(g.cell[0].name, "direct");
    assert_string_equal(g.cell[1].name, "cot,temperature=0.1,seed=1");
    assert_string_equal(g.cell[12].name, "panel,temperature=0.7,planner.top_k=5,seed=2");
    assert_null(grid_value(&g, &g.cell[1], 2));
    assert_int_equal(config_int(&g.cell[12].config, "planner.top_k"), 5);
    assert_int_equal(config_int(&g.cell[12].config, "seed"), 2);
    /* a setting that is not read stays as the configuration has it */
    assert_int_equal(config_int(&g.cell[0].config, "seed"), 42);
    grid_close(&g);
    config_free(&c);
    make(&c, &g, true, PRODUCT); /* the seed also chooses the order of options */
    assert_int_equal(g.n, 2 + 4 + 8);
    grid_close(&g);
    config_free(&c);
}

static void keys_of_replies_are_read_where_a_role_uses_them(void **state)
{
    (void)state;
    static const struct {
        const char *strategy, *set, *key;
        bool reads;
    } rows[] = {
        {"direct", NULL, "temperature", false},
        {"direct", NULL, "direct.prompt_form", true},
        {"cot", NULL, "direct.prompt_form", false},
        {"cot", NULL, "temperature", true},
        {"cot", "temperature=0", "temperature", true},
        {"cot", "agent_temperatures.cot=0.4", "temperature", false},
        {"cot", NULL, "agent_temperatures.cot", true},
        {"cot", NULL, "agent_temperatures.planner", false},
        {"cot", "role_tokens.cot=100", "max_output_tokens", false},
        {"cot", NULL, "role_tokens.specialist", false},
        {"panel", NULL, "role_tokens.specialist", true},
        {"panel", "planner.selection=all", "agent_temperatures.planner", false},
        {"cot", "temperature=0", "top_p", false},
        {"cot", "temperature=0.5", "top_p", true},
        {"direct", NULL, "kv.type", true},
        {"direct", NULL, "prompts_dir", true},
        {"direct", NULL, "thinking.budget", false},
        {"review", NULL, "planner.top_k", true},
        {"review", NULL, "sc.samples", false},
        {"debate", NULL, "planner.top_k", false},
        {"sc", NULL, "sc.samples", true},
        {"sc", NULL, "role_tokens.sc", true},
        {"sc", NULL, "role_tokens.cot", false},
        {"cot", NULL, "remote.base_url", false},
        {"cot", "provider=openai", "remote.base_url", true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct config c;
        struct err e;
        ok(tool_config_init(&c, &e));
        ok(config_assign(&c, "strategy", rows[i].strategy, "test", &e));
        if (rows[i].set)
            ok(config_set(&c, rows[i].set, &e));
        if (grid_reads(&c, rows[i].key, false) != rows[i].reads)
            fail_msg("row %zu: %s %s", i, rows[i].strategy, rows[i].key);
        config_free(&c);
    }
}

static void rules_leave_points_out(void **state)
{
    (void)state;
    struct config c;
    struct grid g;
    make(&c, &g, false,
         PRODUCT "  only: [strategy=panel & planner.top_k=3, strategy=cot]\n"
                 "  exclude: ['temperature=0.7 & seed=2', 'temperature=0.1&seed=1']\n");
    names(&g, "cot,temperature=0.1,seed=2 cot,temperature=0.7,seed=1 "
              "panel,temperature=0.1,planner.top_k=3,seed=2 "
              "panel,temperature=0.7,planner.top_k=3,seed=1");
    assert_int_equal(g.left_out, 24 - 4 - 2);
    grid_close(&g);
    config_free(&c);
    refused(PRODUCT "  only: [strategy=sofa]\n",
            "experiment.only: 'strategy=sofa': factor strategy has no value 'sofa'");
    refused(PRODUCT "  exclude: [top_p=1]\n", "'top_p' is no factor");
    refused(PRODUCT "  exclude: [strategy]\n", "'strategy' is no condition");
    refused(PRODUCT "  only: [strategy=cot & strategy=panel]\n", "leave no point of 24");
}

static void a_bad_file_names_key_value_and_line(void **state)
{
    (void)state;
    refused("model: demo\nexperiment: {name: x}\n", "varies nothing");
    refused("model: demo\nexperiment: 7\n", "experiment is a group of keys");
    refused("model: demo\nexperiment:\n  factor:\n    strategy: [cot]\n",
            "unknown key 'experiment.factor.strategy'");
    refused("model: demo\nexperiment:\n  seed: [1]\n", "the nearest is 'experiment.seeds'");
    refused("model: demo\nexperiment:\n  factors:\n    temprature: [1]\n",
            "nearest is 'temperature'");
    refused("model: demo\nexperiment:\n  factors:\n    temperature: [1, 9]\n", "x.yaml:4");
    refused("model: demo\nexperiment:\n  factors:\n    temperature: [1, 1]\n", "'1' twice");
    refused("model: demo\nexperiment:\n  factors:\n    temperature: [0.7, 1, 7e-1]\n",
            "'0.7' twice: '7e-1' is the same");
    refused("model: demo\nexperiment:\n  seeds: [1, 2, 01]\n", "'1' twice: '01' is the same");
    refused("model: demo\nexperiment:\n  factors:\n    strategy: []\n", "no value");
    refused("model: demo\nexperiment:\n  factors:\n    strategy: [sofa]\n", "sofa");
    refused("model: demo\nexperiment:\n  factors:\n    seed: [1]\n  seeds: [1]\n",
            "seed is a factor already");
    refused(
        "model: demo\nexperiment:\n  factors: {strategy: [cot]}\n  data:\n    sample: {n: -1}\n",
        "experiment.data.sample.n");
    refused("model: demo\nexperiment: {a: {b: {c: {d: [1]}}}}\n", "nested at most 4 deep");
}

static void cells_are_run_model_by_model(void **state)
{
    (void)state;
    struct config c;
    struct grid g;
    make(&c, &g, false,
         "model: demo\nexperiment:\n  factors:\n    temperature: [0.1, 0.7]\n"
         "    strategy: [cot, panel]\n    kv.type: [f16, q8_0]\n");
    assert_int_equal(g.n, 8);
    int last = -1;
    for (size_t i = 0; i < g.n; i++) {
        const struct grid_cell *x = &g.cell[g.order[i]];
        assert_int_equal(x->model, i / 4);
        assert_int_equal(x->family, i / 2 % 2);
        assert_true(i % 2 == 0 || (int)g.order[i] > last);
        last = (int)g.order[i];
    }
    grid_close(&g);
    config_free(&c);
}

static const struct grid_data data_s = {.sha256 = "s", .subset = "", .variants = ""};
static const struct gridfile_about about = {
    .version = "v", .data_path = "d", .data = &data_s, .asked = 3};

static void a_cell_keeps_its_folder_as_long_as_it_is_the_same(void **state)
{
    (void)state;
    char dir[256];
    struct config c;
    struct grid g;
    struct gridfile was = {.doc = NULL};
    struct str notes = STR_INIT;
    struct err e;
    test_mkdir(dir);
    make(&c, &g, false,
         "model: demo\ntemperature: 0.5\nexperiment:\n  factors:\n    strategy: [direct, cot]\n");
    ok(grid_identify(&g, &data_s, &e));
    ok(gridfile_write(dir, &g, &about, NULL, &e));
    grid_close(&g);
    config_free(&c);
    assert_true(gridfile_is(dir));
    ok(gridfile_read(dir, &was, &e));
    assert_int_equal(was.n, 2);
    /* a new factor whose first value is the former setting; direct is gone */
    make(
        &c, &g, false,
        "model: demo\nexperiment:\n  factors:\n    strategy: [cot]\n    temperature: [0.5, 0.7]\n");
    ok(grid_identify(&g, &data_s, &e));
    ok(gridfile_adopt(&g, &was, &notes, &e));
    names(&g, "cot cot,temperature=0.7");
    assert_string_equal(notes.s, "the experiment has changed: 1 cells kept, 1 new, 1 removed\n"
                                 "removed cells, whose folders stay: direct\n");
    ok(gridfile_write(dir, &g, &about, &was, &e));
    gridfile_free(&was);
    ok(gridfile_read(dir, &was, &e));
    assert_int_equal(was.n_removed, 1);
    assert_string_equal(was.cell[2].name, "direct");
    assert_string_equal(was.cell[2].state, "removed");
    grid_close(&g);
    config_free(&c);
    /* other data: all cells are new, and no folder is taken twice; direct comes back as another */
    make(&c, &g, false, "model: demo\nexperiment:\n  factors:\n    strategy: [direct, cot]\n");
    const struct grid_data other = {.sha256 = "other", .subset = "", .variants = ""};
    ok(grid_identify(&g, &other, &e));
    str_clear(&notes);
    ok(gridfile_adopt(&g, &was, &notes, &e));
    names(&g, "direct-2 cot-2");
    grid_close(&g);
    config_free(&c);
    gridfile_free(&was);
    str_free(&notes);
    test_rmdir(dir);
}

static void a_name_stays_short_and_inside_the_folder(void **state)
{
    (void)state;
    struct config c;
    struct grid g;
    make(&c, &g, false,
         "experiment:\n  factors:\n    model: [/a/b/m.gguf, ../c/m.gguf, 'w x/y z.gguf']\n"
         "    specialties: [/etc/passwd, '']\n    prompts_dir: ["
         "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa']\n"
         "    strategy: [direct]\n");
    assert_int_equal(g.n, 6);
    for (size_t i = 0; i < g.n; i++) {
        assert_true(strlen(g.cell[i].name) <= GRID_NAME);
        assert_null(strchr(g.cell[i].name, '/'));
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(g.cell[i].name, g.cell[k].name);
    }
    assert_memory_equal(g.cell[0].name, "model=m.gguf,specialties=passwd,", 32);
    assert_memory_equal(g.cell[4].name, "model=y-z.gguf,", 15);
    grid_close(&g);
    config_free(&c);
}

static void a_damaged_file_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "{",
        "[]",
        "{\"format\": 2}",
        "{\"format\": 1}",
        "{\"format\": 1, \"name\": \"x\", \"factors\": [{\"key\": \"a\"}], \"cells\": [7], "
        "\"removed\": []}",
        "{\"format\": 1, \"name\": \"x\", \"factors\": [{\"key\": \"a\"}], \"cells\": [{\"name\": "
        "\"../up\", \"hash\": \"\", \"state\": \"done\", \"why\": \"\", \"done\": 0, \"total\": 0, "
        "\"correct\": 0, \"values\": {}}], \"removed\": []}"};
    char dir[256], path[300];
    test_mkdir(dir);
    snprintf(path, sizeof path, "%s/grid.json", dir);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct gridfile f = {.doc = NULL};
        struct err e;
        grid_write(path, bad[i], strlen(bad[i]));
        if (gridfile_read(dir, &f, &e) >= 0)
            fail_msg("%s was read", bad[i]);
        assert_non_null(strstr(e.msg, "grid.json"));
    }
    test_rmdir(dir);
}

static void the_experiments_in_configs_are_valid(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        size_t n;
    } rows[] = {{"demo.yaml", 1 + 4 + 7 * 2}, {"ablation.yaml", 1 + 4 * 9 + 3 * 3 + 3 * 3 * 4}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char path[1024];
        struct config c;
        struct grid g;
        struct err e;
        snprintf(path, sizeof path, "%s/configs/experiments/%s", TEST_SOURCE, rows[i].file);
        ok(tool_config_init(&c, &e));
        c.group = GRID_GROUP;
        ok(config_load(&c, path, &e));
        ok(grid_open(&c, false, &g, &e));
        assert_int_equal(g.n, rows[i].n);
        grid_close(&g);
        config_free(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(settings_that_a_strategy_does_not_read_are_one_cell),
        cmocka_unit_test(keys_of_replies_are_read_where_a_role_uses_them),
        cmocka_unit_test(rules_leave_points_out),
        cmocka_unit_test(a_bad_file_names_key_value_and_line),
        cmocka_unit_test(cells_are_run_model_by_model),
        cmocka_unit_test(a_cell_keeps_its_folder_as_long_as_it_is_the_same),
        cmocka_unit_test(a_name_stays_short_and_inside_the_folder),
        cmocka_unit_test(a_damaged_file_is_refused),
        cmocka_unit_test(the_experiments_in_configs_are_valid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
