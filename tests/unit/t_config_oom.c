#include "agent_options.h"
#include "mem.h"
#include "oom.h"
#include "test.h"
#include "tool_options.h"

static char dir[256], leaf[512], typo[512], cycle[512];

static void put(char path[512], const char *name, const char *text)
{
    snprintf(path, 512, "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static int open_dir(void **state)
{
    (void)state;
    char base[512];
    test_mkdir(dir);
    put(base, "base.yaml", "model: base\nplanner:\n  fixed: [ent, neurology]\n");
    put(leaf, "leaf.yaml",
        "_base: base.yaml\nseed: 7\nplanner.selection: fixed\nkv: {bytes: 1GiB}\n");
    put(typo, "typo.yaml", "sed: 7\n");
    put(cycle, "cycle.yaml", "_base: cycle.yaml\n");
    return 0;
}

static int close_dir(void **state)
{
    (void)state;
    test_rmdir(dir);
    return 0;
}

static int64_t seed(const struct config *c)
{
    return ((const struct agent_options *)config_of(c, &agent_option_set))->seed;
}

/* The value has this text; ERR_NOMEM when there is no memory to write it. */
static int is_text(const struct config *c, const char *key, const char *want)
{
    struct str s = STR_INIT;
    config_value(c, key, &s);
    int rc = s.failed ? ERR_NOMEM : 0;
    if (rc == 0)
        assert_string_equal(s.s, want);
    str_free(&s);
    return rc;
}

static int init_and_load(void *arg)
{
    const char *path = arg;
    struct config c;
    struct err e = {0};
    int rc = tool_config_init(&c, &e);
    if (rc < 0)
        return rc;
    rc = config_load(&c, path, &e);
    if (rc < 0 && rc != ERR_NOMEM) { /* either the complete refusal, or memory is out */
        assert_int_equal(rc, ERR_CONFIG);
        assert_non_null(strstr(e.msg, ".yaml"));
        rc = 0;
    }
    if (rc == 0 && path == leaf) {
        assert_int_equal(seed(&c), 7);
        rc = is_text(&c, "planner.fixed", "[ent, neurology]");
    } else {
        assert_int_equal(seed(&c), 42); /* a failed load leaves everything as it was */
        int lacks = is_text(&c, "model", "demo");
        lacks = lacks < 0 ? lacks : is_text(&c, "planner.fixed", "[]");
        rc = rc < 0 ? rc : lacks;
    }
    config_free(&c);
    return rc;
}

static int set_values(void *arg)
{
    static const char *const set[] = {"model=x", "planner.fixed=a,b,c", "seed=3", "kv.type=q8_0"};
    struct config c;
    struct err e = {0};
    int rc = tool_config_init(&c, &e);
    (void)arg;
    for (size_t i = 0; rc == 0 && i < sizeof set / sizeof set[0]; i++)
        rc = config_set(&c, set[i], &e);
    if (rc == 0)
        rc = is_text(&c, "planner.fixed", "[a, b, c]");
    config_free(&c);
    return rc;
}

static int write_out(void *arg)
{
    struct str s = STR_INIT;
    struct config c;
    struct err e = {0};
    (void)arg;
    int rc = tool_config_init(&c, &e);
    if (rc < 0)
        return rc;
    config_json(&c, false, &s);
    config_reference(&c, &s);
    rc = str_ok(&s, "text", &e);
    str_free(&s);
    config_free(&c);
    return rc;
}

static int make_json(void *arg)
{
    static const char yaml[] = "a: [b, {c: d, e: f}]\ng: a long text that needs more room than the "
                               "first few keys of this document, and then some more of it\n";
    struct str json = STR_INIT;
    struct err e = {0};
    (void)arg;
    int rc = config_yaml_to_json(yaml, strlen(yaml), "x.yaml", &json, &e);
    assert_int_equal(rc == 0, json.len > 0);
    str_free(&json);
    return rc;
}

static void lack_of_memory_is_an_error_and_leaves_the_config_as_it_was(void **state)
{
    (void)state;
    for (int from_then_on = 0; from_then_on < 2; from_then_on++) {
        assert_true(oom_loop(init_and_load, leaf, from_then_on) > 15);
        assert_true(oom_loop(init_and_load, typo, from_then_on) > 5);
        assert_true(oom_loop(init_and_load, cycle, from_then_on) > 5);
        assert_true(oom_loop(set_values, NULL, from_then_on) > 5);
        assert_true(oom_loop(make_json, NULL, from_then_on) > 3);
        assert_true(oom_loop(write_out, NULL, from_then_on) > 5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lack_of_memory_is_an_error_and_leaves_the_config_as_it_was),
    };
    return cmocka_run_group_tests(tests, open_dir, close_dir);
}
