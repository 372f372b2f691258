#include "agent_options.h"
#include "embed.h"
#include "engine_options.h"
#include "test.h"
#include "tool_options.h"

#include <sys/stat.h>
#include <unistd.h>

static char dir[256];

static int open_dir(void **state)
{
    (void)state;
    test_mkdir(dir);
    return 0;
}

static int close_dir(void **state)
{
    (void)state;
    test_rmdir(dir);
    return 0;
}

/* The path of a file of this name with this text, in the test's folder. */
static const char *put_n(const char *name, const void *text, size_t n)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
    return path;
}

static const char *put(const char *name, const char *text)
{
    return put_n(name, text, strlen(text));
}

/* Every row of every table, in order. */
static size_t all_rows(const struct option_row *out[128])
{
    size_t n = 0;
    struct config c;
    struct err e;
    ok(tool_config_init(&c, &e));
    for (int s = 0; s < c.n; s++)
        for (int i = 0; i < c.set[s]->n; i++) {
            assert_true(n < 128);
            out[n++] = &c.set[s]->row[i];
        }
    config_free(&c);
    return n;
}

static const struct option_row *row(const char *key)
{
    const struct option_row *k[128];
    size_t n = all_rows(k);
    for (size_t i = 0; i < n; i++)
        if (!strcmp(k[i]->key, key))
            return k[i];
    fail_msg("no option %s", key);
    return NULL;
}

/* The value of a key is this text. */
static void is(const struct config *c, const char *key, const char *want)
{
    struct str s = STR_INIT;
    config_value(c, key, &s);
    assert_string_equal(s.s, want);
    str_free(&s);
}

/* How many specialties planner.fixed has. */
static int n_fixed(const struct config *c)
{
    struct str s = STR_INIT;
    config_value(c, "planner.fixed", &s);
    int n = s.len > 2;
    for (size_t i = 0; i < s.len; i++)
        n += s.s[i] == ',';
    str_free(&s);
    return n;
}

/* A file with this text must be refused with a message that contains `want`; nothing changes. */
static void refused(const char *text, const char *want)
{
    struct config c;
    struct err e;
    struct str before = STR_INIT, after = STR_INIT;
    ok(tool_config_init(&c, &e));
    config_json(&c, false, &before);
    fails(config_load(&c, put("bad.yaml", text), &e), ERR_CONFIG, want);
    config_json(&c, false, &after);
    assert_string_equal(before.s, after.s);
    str_free(&before);
    str_free(&after);
    config_free(&c);
}

static void defaults_are_the_documented_ones(void **state)
{
    (void)state;
    struct config c;
    struct err e;
    ok(tool_config_init(&c, &e));
    static const char *const want[][2] = {{"model", "demo"},
                                          {"strategy", "panel"},
                                          {"planner.selection", "compact"},
                                          {"planner.top_k", "5"},
                                          {"planner.fixed", "[]"},
                                          {"kv.type", "f16"},
                                          {"logging.traces_dir", "runs"},
                                          {"temperature", "0.3"},
                                          {"top_p", "1"},
                                          {"min_p", "0"},
                                          {"price_kwh", "0.12"},
                                          {"data", ""},
                                          {"agent_temperatures.planner", "-1"},
                                          {"role_tokens.cot", "0"},
                                          {"seed", "42"},
                                          {"max_output_tokens", "800"},
                                          {"max_context_length", "4096"},
                                          {"placement.cpu_layers", "-1"},
                                          {"engine.prefix_cache", "true"}};
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++)
        is(&c, want[i][0], want[i][1]);
    const struct engine_options *o = config_of(&c, &engine_option_set);
    assert_false(o->no_prefix_cache);
    assert_false(o->cpu_layers.set);
    assert_int_equal(o->kv_fmt, FMT_F16);
    ok(config_check(&c, &e));
    config_free(&c);
}

/* Writes "key: value", nested when the key has a dot, after three lines; the key stands on *line.
 */
static void write_key(struct str *out, const char *key, const char *value, int *line)
{
    const char *dot = strchr(key, '.');
    str_adds(out, "# one\n---\n# three\n");
    if (dot) {
        str_addf(out, "%.*s:\n  %s: %s\n", (int)(dot - key), key, dot + 1, value);
        *line = 5;
    } else {
        str_addf(out, "%s: %s\n", key, value);
        *line = 4;
    }
}

static void a_key_with_one_letter_changed_is_refused_with_line_and_nearest_key(void **state)
{
    (void)state;
    size_t tried = 0;
    const struct option_row *k[128];
    size_t n = all_rows(k);
    struct config c;
    struct err e;
    ok(tool_config_init(&c, &e));
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(k[i]->key);
        for (size_t j = 0; j < len; j++) {
            char key[64], want[160];
            int line;
            if (k[i]->key[j] == '.')
                continue;
            snprintf(key, sizeof key, "%s", k[i]->key);
            key[j] = key[j] == 'x' ? 'y' : 'x';
            const char *dot = strchr(key, '.');
            struct str text = STR_INIT;
            write_key(&text, key, *k[i]->otherwise ? k[i]->otherwise : "x", &line);
            fails(config_load(&c, put("typo.yaml", text.s), &e), ERR_CONFIG, "unknown key");
            if (dot && j < (size_t)(dot - key)) { /* the group's name is wrong: its own line */
                snprintf(want, sizeof want, "'%.*s'", (int)(strchr(k[i]->key, '.') - k[i]->key),
                         k[i]->key);
                line = 4;
            } else {
                snprintf(want, sizeof want, "'%s'", k[i]->key);
            }
            if (!strstr(e.msg, want))
                fail_msg("'%s': %s", key, e.msg);
            snprintf(want, sizeof want, "typo.yaml:%d: unknown key '", line);
            if (!strstr(e.msg, want))
                fail_msg("'%s' should be on line %d: %s", key, line, e.msg);
            str_free(&text);
            tried++;
        }
    }
    assert_true(tried > 400);
    config_free(&c);
    refused("\n\n\ntemprature: 0.3\n",
            "bad.yaml:4: unknown key 'temprature'; nearest is 'temperature'");
    refused("traces_dir: x\n", "'logging.traces_dir'"); /* the group was forgotten */
    refused("qqqqqqqqqqqqqqq: 1\n", "configs/llama3_70b.yaml lists all keys");
    refused("a.b.c: 1\n", "unknown key");
    refused("plannr: {}\n", "nearest is 'planner'");
}

/* Writes a value that is just inside (step 0) or outside (1, -1: above, below) the range. */
static bool number_near(const struct option_row *k, int step, char out[64])
{
    double v = step > 0 ? k->hi : k->lo;
    switch (k->type) {
    case OPTION_INT:
        snprintf(out, 64, "%lld", (long long)v + step); /* exact also beside 2^53 */
        return true;
    case OPTION_AUTO: /* -1 lets the program choose */
    case OPTION_MAP_OF_INT:
        snprintf(out, 64, "%lld", (long long)v + (step < 0 ? -2 : step));
        return true;
    case OPTION_POWER:
        snprintf(out, 64, "%.0f", step > 0 ? 2 * v : step < 0 ? v - 1 : v);
        return true;
    case OPTION_FLOAT:
    case OPTION_MAP_OF_FLOAT:
        snprintf(out, 64, "%.17g", v + step * 1e-3);
        return true;
    case OPTION_BYTES:
    case OPTION_RATE:
        snprintf(out, 64, "%s", step > 0 ? "9000000000GiB" : step < 0 ? "-1" : "0");
        return true;
    default:
        return false;
    }
}

static void every_number_is_taken_at_its_limits_and_refused_beyond(void **state)
{
    (void)state;
    const struct option_row *k[128];
    size_t n = all_rows(k);
    struct config c;
    struct err e;
    char set[160], num[64];
    ok(tool_config_init(&c, &e));
    for (size_t i = 0; i < n; i++)
        for (int step = -1; step <= 1; step++) {
            if (!number_near(k[i], step, num))
                continue;
            struct str text = STR_INIT;
            char key[64];
            int line;
            snprintf(key, sizeof key, "%s%s", k[i]->key, option_is_map(k[i]) ? ".planner" : "");
            write_key(&text, key, num, &line);
            if (step == 0) {
                ok(config_load(&c, put("range.yaml", text.s), &e));
            } else {
                fails(config_load(&c, put("range.yaml", text.s), &e), ERR_CONFIG, num);
                snprintf(set, sizeof set, "range.yaml:%d: %s is '%s'", line, key, num);
                if (!strstr(e.msg, set))
                    fail_msg("want %s: %s", set, e.msg);
            }
            snprintf(set, sizeof set, "%s=%s", key, num);
            if (step == 0)
                ok(config_set(&c, set, &e));
            else
                fails(config_set(&c, set, &e), ERR_CONFIG, "; it takes a ");
            str_free(&text);
        }
    config_free(&c);
}

static void every_knob_refuses_the_wrong_type_and_says_what_it_takes(void **state)
{
    (void)state;
    const struct option_row *k[128];
    size_t n = all_rows(k);
    for (size_t i = 0; i < n; i++) {
        struct str text = STR_INIT;
        char key[64];
        snprintf(key, sizeof key, "%s%s", k[i]->key, option_is_map(k[i]) ? ".planner" : "");
        str_addf(&text, "%s: [a, b]\n", key);
        if (k[i]->type != OPTION_LIST)
            refused(text.s, "is a list; it takes");
        str_clear(&text);
        str_addf(&text, "%s: wrong\n", key);
        if (k[i]->type != OPTION_STRING)
            refused(text.s, "is 'wrong'; it takes");
        str_clear(&text);
        str_addf(&text, "%s: \"1\"\n", key);
        if (k[i]->type != OPTION_STRING)
            refused(text.s, "is '1' in quotes; it takes");
        str_clear(&text);
        str_addf(&text, "%s:\n", key);
        refused(text.s, "has no value");
        str_clear(&text);
        str_addf(&text, "%s: {a: 1}\n", key);
        refused(text.s, "takes a value, not keys below it");
        str_free(&text);
    }
    refused(
        "planner:\n  top_k: 50\n",
        "bad.yaml:2: planner.top_k is '50'; it takes a whole number from 1 to 28 (specialties)");
    refused("kv.type: q4_k\n", "kv.type is 'q4_k'; it takes one of f16|q4_0|q8_0|f32");
    refused("kv.type: f1\n", "one of");
    refused("kv.type: ''\n", "one of");
    refused("temperature: nan\n", "a number from 0 to 5");
    refused("agent_temperatures.planner: -0.5\n", "a number from 0 to 5, or -1");
    refused("kv.page_tokens: 48\n", "a power of two from 16 to 256 (tokens)");
    refused("placement.link_limit: 25\n", "a rate such as 25GB/s, at least 1000 bytes/s, or 0");
    refused("placement.link_limit: 0.1\n", "at least 1000 bytes/s");
    refused("placement.ram: 0.1B\n", "a size such as");

    refused("temperature: 1e999\n", "a number from 0 to 5");
    refused("seed: 0x10\n", "a whole number");
    refused("seed: 4.0\n", "a whole number");
    refused("engine.prefix_cache: yes\n", "true or false");
    refused("model: ''\n", "UTF-8 text of 1 to 4096 bytes");
    refused("planner: 5\n", "'planner' is a group of keys");
    refused("planner: [5]\n", "'planner' is a group of keys");
}

static void nested_and_dotted_keys_mean_the_same(void **state)
{
    (void)state;
    struct config a, b;
    struct err e;
    struct str ja = STR_INIT, jb = STR_INIT;
    ok(tool_config_init(&a, &e));
    ok(tool_config_init(&b, &e));
    ok(config_load(&a,
                   put("a.yaml", "planner: {top_k: 7, selection: fixed, fixed: [neurology, ent]}\n"
                                 "kv:\n  bytes: 1.5GiB\nmodel: 'x: y'\n"),
                   &e));
    ok(config_load(&b,
                   put("b.yaml", "planner.fixed:\n- neurology\n- 'ent'\nplanner.selection: fixed\n"
                                 "planner.top_k: 7\nmodel: \"x: y\"\nkv.bytes: 1536MiB\n"),
                   &e));
    config_json(&a, false, &ja);
    config_json(&b, false, &jb);
    assert_string_equal(ja.s, jb.s);
    assert_int_equal(n_fixed(&a), 2);
    is(&a, "planner.fixed", "[neurology, ent]");
    is(&a, "kv.bytes", "1610612736");
    is(&a, "model", "x: y");
    ok(config_check(&a, &e));
    ok(config_load(&a, put("a.yaml", "planner.fixed: []\nplanner.selection: logit\n"), &e));
    assert_int_equal(n_fixed(&a), 0);
    is(&a, "planner.top_k", "7"); /* keys that a file lacks keep their values */
    str_free(&ja);
    str_free(&jb);
    config_free(&a);
    config_free(&b);
}

static void forms_beyond_plain_keys_and_values_are_refused(void **state)
{
    (void)state;
    refused("model: &a demo\n", "bad.yaml:1: anchors and aliases are not allowed");
    refused("seed: 1\nmodel: *a\n", "bad.yaml:2: anchors and aliases");
    refused("planner: &p {top_k: 1}\n", "anchors and aliases");
    refused("planner.fixed: &p [a]\n", "anchors and aliases");
    refused("model: !!str demo\n", "tag 'tag:yaml.org,2002:str' is not allowed");
    refused("model: !x demo\n", "tag '!x' is not allowed");
    refused("%TAG ! tag:x,2000:\n---\nmodel: demo\n", "%TAG directive");
    refused("seed: 1\nmodel: a\nseed: 2\n", "bad.yaml:3: duplicate key 'seed', first on line 1");
    refused("planner.top_k: 1\nplanner:\n  top_k: 2\n", "duplicate key 'planner.top_k'");
    refused("planner: {top_k: 1}\nplanner: {}\n", "duplicate key 'planner'");
    refused("model: a\n---\nseed: 1\n", "second YAML document");
    refused("planner: {fixed: [[a]]}\n", "list is not allowed here");
    refused("planner: {fixed: [{a: b}]}\n", "mapping is not allowed here");
    refused("planner: {a: {b: {c: d}}}\n", "nested at most 2 deep");
    refused("planner: {fixed: [a, '']}\n", "1 to 63 bytes each");
    refused("planner: {fixed: [a, ~]}\n", "'planner.fixed' has no value");
    refused("? [a, b]\n: 3\n", "list is not allowed here");
    refused("? {a: b}\n: 3\n", "mapping is not allowed here");
    refused("- model\n", "list is not allowed here");
    refused("just words\n", "expected 'key: value' lines");
    refused("", "holds no key");
    refused("# nothing\n", "holds no key");
    refused("model: \"a\\0b\"\n", "bad.yaml:1: a NUL byte in 'a..'");
    refused("\"a\\0b\": 1\n", "a NUL byte");
    refused("'': 1\n", "none of ours");
    refused("model: [a\n", "not valid YAML");
    refused("model: a\n  seed: 1\n", "bad.yaml:2: not valid YAML");
    refused("model: \xff\n", "not valid UTF-8 text at byte 7");
    refused("model: \x01\n", "byte 7");
    refused("_base: [a]\n", "_base takes one file name");
    refused("_base: ''\n", "_base takes one file name");
}

static void large_files_end_at_a_cap(void **state)
{
    (void)state;
    struct config c;
    struct err e;
    ok(tool_config_init(&c, &e));
    static char big[(1 << 20) + 64];
    memset(big, ' ', sizeof big);
    memcpy(big, "seed: 1 #", 9);
    ok(config_load(&c, put_n("big.yaml", big, 1 << 20), &e));
    fails(config_load(&c, put_n("big.yaml", big, (1 << 20) + 1), &e), ERR_DATA, "1048576");
    struct str many = STR_INIT;
    str_adds(&many, "planner.fixed: [");
    for (int i = 0; i < 2000; i++)
        str_adds(&many, "a,");
    str_adds(&many, "a]\n");
    refused(many.s, "more than 2000 keys and values");
    str_clear(&many);
    str_adds(&many, "planner.fixed: [");
    for (int i = 0; i < OPTION_LIST_MAX + 1; i++)
        str_addf(&many, "a%d,", i);
    str_adds(&many, "]\n");
    refused(many.s, "has 33 items; it takes a list of at most 32");
    str_clear(&many);
    for (int i = 0; i < 100000; i++)
        str_addc(&many, '[');
    refused(many.s, "list is not allowed here");
    str_free(&many);
    memset(big, 'k', 200);
    memcpy(big + 200, ": 1\n", 5);
    refused(big, "a key of 200 bytes is none of ours");
    config_free(&c);
}

static void a_base_is_read_first_wherever_it_is_named(void **state)
{
    (void)state;
    struct config c;
    struct err e;
    ok(tool_config_init(&c, &e));
    put("root.yaml", "seed: 1\ntop_k: 11\nplanner.top_k: 2\n");
    put("middle.yaml", "top_k: 22\nplanner:\n  top_k: 3\n_base: root.yaml\n");
    ok(config_load(&c, put("leaf.yaml", "planner.top_k: 4\n_base: ./middle.yaml\n"), &e));
    is(&c, "seed", "1");
    is(&c, "top_k", "22");
    is(&c, "planner.top_k", "4");
    put("root.yaml", "seed: 1\nsed: 1\n");
    char leaf[512];
    snprintf(leaf, sizeof leaf, "%s/leaf.yaml", dir);
    fails(config_load(&c, leaf, &e), ERR_CONFIG, "root.yaml:2: unknown key 'sed'");
    config_free(&c);
}

static void chains_of_bases_end(void **state)
{
    (void)state;
    struct config c;
    struct err e;
    char name[32], text[64], path[512];
    ok(tool_config_init(&c, &e));
    put("b.yaml", "_base: c.yaml\n");
    put("c.yaml", "_base: ../nowhere/../b.yaml\n");
    snprintf(text, sizeof text, "_base: %s/a.yaml\n", "."); /* a.yaml by another name */
    put("c.yaml", text);
    fails(config_load(&c, put("a.yaml", "_base: b.yaml\n"), &e), ERR_CONFIG,
          "leads back to itself");
    assert_non_null(strstr(e.msg, "b.yaml -> "));
    assert_non_null(strstr(e.msg, "./a.yaml"));
    fails(config_load(&c, put("me.yaml", "_base: me.yaml\n"), &e), ERR_CONFIG, "back to itself");
    for (int i = 0; i < 9; i++) {
        snprintf(name, sizeof name, "n%d.yaml", i);
        snprintf(text, sizeof text, i < 8 ? "_base: n%d.yaml\n" : "seed: %d\n", i + 1);
        put(name, text);
    }
    snprintf(path, sizeof path, "%s/n1.yaml", dir); /* 8 files */
    ok(config_load(&c, path, &e));
    is(&c, "seed", "9");
    snprintf(path, sizeof path, "%s/n0.yaml", dir);
    fails(config_load(&c, path, &e), ERR_CONFIG, "more than 8 files");
    fails(config_load(&c, put("lost.yaml", "_base: gone.yaml\n"), &e), ERR_NOINPUT, "gone.yaml");
    assert_non_null(strstr(e.msg, "lost.yaml: _base"));
    config_free(&c);
}

static void built_in_configs_go_by_a_plain_name(void **state)
{
    (void)state;
    struct config c;
    struct err e;
    ok(tool_config_init(&c, &e));
    ok(config_load(&c, "llama3_8b", &e)); /* with a built-in base */
    is(&c, "model", "llama3-8b");
    ok(config_load(&c, "demo", &e));
    is(&c, "model", "demo");
    ok(config_load(&c, put("mine.yaml", "_base: llama3_70b\nseed: 5\n"), &e));
    is(&c, "kv.type", "q8_0");
    is(&c, "seed", "5");
    char *here = getcwd(NULL, 0); /* a folder of that name does not hide it, a file does */
    assert_non_null(here);
    assert_int_equal(chdir(dir), 0);
    assert_int_equal(mkdir("demo", 0700), 0);
    ok(config_load(&c, "demo", &e));
    assert_int_equal(rmdir("demo"), 0);
    put("demo", "seed: 77\n");
    ok(config_load(&c, "demo", &e));
    is(&c, "seed", "77");
    assert_int_equal(chdir(here), 0);
    free(here);
    fails(config_load(&c, "demo_", &e), ERR_NOINPUT, "none of that name is built in");
    fails(config_load(&c, "./demo", &e), ERR_NOINPUT, "named without '/' and '.'");
    fails(config_load(&c, "configs/none.yaml", &e), ERR_NOINPUT, "configs/none.yaml");
    fails(config_load(&c, dir, &e), ERR_NOINPUT, "directory");
    fails(config_load(&c, "", &e), ERR_NOINPUT, "no config file ''");
    config_free(&c);
}

static void set_reads_every_type(void **state)
{
    (void)state;
    struct config c;
    struct err e;
    struct str s = STR_INIT;
    ok(tool_config_init(&c, &e));
    ok(config_set(&c, "temperature=0.25", &e));
    ok(config_set(&c, "model=a=b", &e));
    ok(config_set(&c, "specialties=", &e));
    ok(config_set(&c, "engine.prefix_cache=false", &e));
    ok(config_set(&c, "kv.bytes=2KiB", &e));
    ok(config_set(&c, "planner.fixed=[ neurology , ent]", &e));
    is(&c, "temperature", "0.25");
    is(&c, "engine.prefix_cache", "false");
    is(&c, "kv.bytes", "2048");
    is(&c, "model", "a=b");
    config_value(&c, "planner.fixed", &s);
    assert_string_equal(s.s, "[neurology, ent]");
    ok(config_set(&c, "planner.fixed=a,b,c", &e));
    assert_int_equal(n_fixed(&c), 3);
    fails(config_set(&c, "planner.fixed=a,,c", &e), ERR_CONFIG, "item 2 is empty");
    fails(config_set(&c, "_base=demo", &e), ERR_CONFIG, "_base is a key of files");
    ok(config_set(&c, "planner.fixed=", &e));
    assert_int_equal(n_fixed(&c), 0);
    ok(config_set(&c, "planner.fixed=[]", &e));
    assert_int_equal(n_fixed(&c), 0);
    fails(config_set(&c, "temprature=1", &e), ERR_CONFIG,
          "--set temprature=1: unknown key 'temprature'; nearest is 'temperature'");
    fails(config_set(&c, "planner=1", &e), ERR_CONFIG, "group of keys");
    fails(config_set(&c, "temperature", &e), ERR_CONFIG, "no assignment");
    fails(config_set(&c, "model=\xff", &e), ERR_CONFIG, "UTF-8 text");
    fails(config_set(&c, "planner.fixed=a,\xff", &e), ERR_CONFIG, "1 to 63 bytes each");
    fails(config_set(&c, "=1", &e), ERR_CONFIG, "no assignment");
    fails(config_set(&c, "temperature=", &e), ERR_CONFIG, "a number from 0 to 5");
    fails(config_set(&c, "temperature= 1", &e), ERR_CONFIG, "a number from 0 to 5");
    is(&c, "temperature", "0.25");
    str_free(&s);
    struct str many = STR_INIT;
    str_adds(&many, "planner.fixed=x");
    for (int i = 1; i < OPTION_LIST_MAX; i++)
        str_adds(&many, ",x");
    ok(config_set(&c, many.s, &e));
    assert_int_equal(n_fixed(&c), OPTION_LIST_MAX);
    str_adds(&many, ",x,x,x,x");
    fails(config_set(&c, many.s, &e), ERR_CONFIG, "has 33 items");
    assert_int_equal(n_fixed(&c), OPTION_LIST_MAX);
    str_free(&many);
    config_free(&c);
}

static void values_that_do_not_go_together_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *set[2], *want;
    } bad[] = {
        {{"max_output_tokens=4096", NULL},
         "max_output_tokens is 4096 tokens, but max_context_length"},
        {{"role_tokens.cot=5000", "strategy=cot"}, "role_tokens.cot is 5000 tokens, but max_"},
        {{"role_tokens.planner=5000", NULL}, "role_tokens.planner is 5000 tokens, but max_"},
        {{"planner.selection=fixed", NULL}, "needs planner.fixed, which names no specialty"},
        {{"planner.fixed=ent", NULL}, "planner.selection compact looks at no planner.fixed"},
        {{"planner.fixed=ent,urology,ent", "planner.selection=fixed"}, "'ent' twice"},
        {{"role_tokens.cop=5", NULL}, "--set: role_tokens has no role 'cop'"},
        {{"role_tokens.cop=5", NULL}, "the nearest is 'cot'; there are planner, specialist, "},
        {{"agent_temperatures.oracle=1", NULL},
         "--set: agent_temperatures has no role 'oracle'; there are planner"},
        {{"strategy=oracle", NULL}, "no strategy 'oracle'; there are "},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct config c;
        struct err e;
        ok(tool_config_init(&c, &e));
        for (int j = 0; j < 2 && bad[i].set[j]; j++)
            ok(config_set(&c, bad[i].set[j], &e));
        fails(config_check(&c, &e), ERR_CONFIG, bad[i].want);
        config_free(&c);
    }
}

static void json_reads_back_as_the_same_config(void **state)
{
    (void)state;
    struct config a, b;
    struct err e;
    struct str ja = STR_INIT, jb = STR_INIT, few = STR_INIT;
    ok(tool_config_init(&a, &e));
    ok(tool_config_init(&b, &e));
    ok(config_set(&a, "model=we\"ird\\ \n\t#: name", &e));
    ok(config_set(&a, "temperature=0.1", &e));
    ok(config_set(&a, "top_p=0.33333333333333331", &e));
    ok(config_set(&a, "kv.bytes=123456789012345678", &e));
    ok(config_set(&a, "seed=9007199254740992", &e));
    ok(config_set(&a, "planner.fixed=a,true,42", &e));
    config_json(&a, false, &ja);
    ok(config_load(&b, put("json.yaml", ja.s), &e)); /* this JSON is YAML */
    config_json(&b, false, &jb);
    assert_string_equal(ja.s, jb.s);
    const struct agent_options *o = config_of(&b, &agent_option_set);
    assert_true(o->temperature == 0.1 && o->top_p == 1.0 / 3);
    config_json(&a, true, &few);
    assert_non_null(strstr(few.s, "\"seed\""));
    assert_null(strstr(few.s, "\"threads\""));
    assert_null(strstr(few.s, "traces_dir"));
    str_free(&ja);
    str_free(&jb);
    str_free(&few);
    config_free(&a);
    config_free(&b);
}

/* A limit counts where its role is asked: by this strategy, under these settings. */
static void limits_of_roles_that_are_not_asked_may_be_any(void **state)
{
    (void)state;
    static const char *const good[][3] = {
        {"strategy=direct", "role_tokens.specialist=5000", "max_output_tokens=5000"},
        {"role_tokens.cot=5000", "agent_temperatures.cot=1", NULL},
        {"strategy=cot", "role_tokens.planner=5000", NULL},
        {"planner.selection=logit", "role_tokens.planner=5000", NULL},
        {"planner.selection=random", "role_tokens.planner=5000", NULL}};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct config c;
        struct err e;
        ok(tool_config_init(&c, &e));
        for (int j = 0; j < 3 && good[i][j]; j++)
            ok(config_set(&c, good[i][j], &e));
        ok(config_check(&c, &e));
        config_free(&c);
    }
}

/* An option that changes only speed or place must not stop a resumed evaluation. An option that
 * changes an answer must. */
static void the_knobs_that_change_results_are_marked(void **state)
{
    (void)state;
    static const char *const must[] = {"model",
                                       "provider",
                                       "remote.base_url",
                                       "seed",
                                       "temperature",
                                       "top_p",
                                       "min_p",
                                       "top_k",
                                       "agent_temperatures",
                                       "max_output_tokens",
                                       "role_tokens",
                                       "max_context_length",
                                       "strategy",
                                       "prompts_dir",
                                       "specialties",
                                       "planner.top_k",
                                       "planner.selection",
                                       "planner.fixed",
                                       "budgets.max_tokens_per_case",
                                       "kv.type"};
    static const char *const free_to_change[] = {
        "threads",
        "isa",
        "backend", /* the kind that it came to is in the identity */
        "placement.mode",
        "placement.cpu_layers",
        "placement.split",
        "kv.page_tokens",
        "kv.bytes",
        "placement.ram",
        "placement.map_weights",
        "placement.packed_cache",
        "engine.sequences",
        "engine.batch_tokens",
        "engine.prefix_cache",
        "logging.traces_dir",
        "logging.level",
        "data", /* its content's hash is in the identity */
        "remote.key_env",
        "remote.parallel",
        "remote.retries",
        "remote.timeout_seconds",
        "price_kwh"};
    for (size_t i = 0; i < sizeof must / sizeof must[0]; i++)
        assert_true(row(must[i])->marks & OPTION_RESULT);
    for (size_t i = 0; i < sizeof free_to_change / sizeof free_to_change[0]; i++)
        assert_false(row(free_to_change[i])->marks & OPTION_RESULT);
}

/* Every sentence begins with a capital and has at most 25 words. */
static void plain_sentences(const char *key, const char *doc)
{
    bool first = true;
    int words = 0;
    for (const char *s = doc; *s;) {
        size_t n = strcspn(s, " ");
        if (first && s[0] >= 'a' && s[0] <= 'z')
            fail_msg("%s: a sentence begins with '%.*s'", key, (int)n, s);
        if (++words > 25)
            fail_msg("%s: a sentence has more than 25 words: %s", key, doc);
        first = s[n - 1] == '.' || s[n - 1] == '?' || s[n - 1] == '!';
        words = first ? 0 : words;
        s += n + strspn(s + n, " ");
    }
}

/* Two rows never share bytes of their struct, and no key, flag or letter stands twice. */
static void every_row_has_a_member_a_key_and_a_flag_of_its_own(void **state)
{
    (void)state;
    const struct option_row *k[128];
    size_t n = all_rows(k);
    struct config c;
    struct err e;
    ok(tool_config_init(&c, &e));
    for (int s = 0; s < c.n; s++) {
        unsigned char *used = calloc(1, c.set[s]->size);
        assert_non_null(used);
        for (int i = 0; i < c.set[s]->n; i++)
            for (size_t j = 0; j < c.set[s]->row[i].size; j++)
                assert_int_equal(used[c.set[s]->row[i].offset + j]++, 0);
        free(used);
    }
    config_free(&c);
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(k[i]->doc);
        assert_true(strlen(k[i]->key) < 64);
        assert_true(len > 20 && k[i]->doc[len - 1] == '.');
        plain_sentences(k[i]->key, k[i]->doc);
        for (size_t j = 0; j < i; j++) {
            assert_string_not_equal(k[i]->key, k[j]->key);
            if (k[i]->flag && k[j]->flag)
                assert_string_not_equal(k[i]->flag, k[j]->flag);
            assert_true(!k[i]->letter || k[i]->letter != k[j]->letter);
        }
    }
}

static bool is_map(const struct config *c, const char *key, size_t n)
{
    char entry[80];
    snprintf(entry, sizeof entry, "%.*s.x", (int)n, key);
    const struct option_row *r = config_find(c, entry, NULL);
    return r && option_is_map(r);
}

/* configs/llama3_70b.yaml is the reference for users: the keys of config_reference(), in that
 * order, each under the same explanation. Values differ. Names of a map may be left out: they grow
 * with the strategies. */
static void the_reference_file_documents_every_knob(void **state)
{
    (void)state;
    struct str want = STR_INIT;
    struct config a, b;
    struct err e;
    size_t n;
    bool in_map = false;
    ok(tool_config_init(&a, &e));
    ok(tool_config_init(&b, &e));
    config_reference(&a, &want);
    char *have = test_read(TEST_SOURCE "/configs/llama3_70b.yaml", NULL);
    char *w = strstr(want.s, "\n\n"), *h = strstr(have, "\n\n");
    for (n = 0; w && h && *w && *h;) {
        size_t wl = strcspn(w, "\n"), hl = strcspn(h, "\n");
        char *hash = memchr(w, '#', wl);
        if (!hash && wl) { /* "key: value": only the key must agree */
            size_t key = strcspn(w, ":");
            if (*w != ' ')
                in_map = is_map(&a, w, key);
            if (strncmp(w, h, key + 1) && in_map && *w == ' ') {
                w += wl + (w[wl] == '\n');
                continue;
            }
            if (strncmp(w, h, key + 1))
                fail_msg("want key %.*s, found '%.*s'", (int)key, w, (int)hl, h);
            n += wl > key + 1;
        } else if (wl != hl || strncmp(w, h, wl)) {
            fail_msg("want '%.*s', found '%.*s'", (int)wl, w, (int)hl, h);
        }
        w += wl + (w[wl] == '\n');
        h += hl + (h[hl] == '\n');
    }
    assert_true(w && h && !*w && !*h);
    assert_true(n > 40);
    struct str ja = STR_INIT, jb = STR_INIT;
    ok(config_load(&b, put("reference.yaml", want.s), &e)); /* it reads as the defaults */
    config_json(&a, false, &ja);
    config_json(&b, false, &jb);
    assert_string_equal(ja.s, jb.s);
    free(have);
    str_free(&want);
    str_free(&ja);
    str_free(&jb);
    config_free(&a);
    config_free(&b);
}

static void every_config_of_the_project_loads(void **state)
{
    (void)state;
    static const char *const names[] = {"demo", "llama3_8b", "llama3_70b"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct config c;
        struct err e;
        char path[512];
        snprintf(path, sizeof path, "%s/configs/%s.yaml", TEST_SOURCE, names[i]);
        ok(tool_config_init(&c, &e));
        ok(config_load(&c, path, &e));
        ok(config_check(&c, &e));
        config_free(&c);
        ok(tool_config_init(&c, &e));
        ok(config_load(&c, names[i], &e));
        config_free(&c);
    }
}

static void as_json(const char *yaml, const char *want)
{
    struct str json = STR_INIT;
    struct err e;
    ok(config_yaml_to_json(yaml, strlen(yaml), "x.yaml", &json, &e));
    assert_string_equal(json.s, want);
    str_free(&json);
}

static void other_yaml_documents_become_json(void **state)
{
    (void)state;
    as_json("list:\n- id: a\n  n: 1\n- {id: 'b \"q\"', n: [x, [y], {}]}\nempty: []\n",
            "{\"list\": [{\"id\": \"a\", \"n\": \"1\"}, {\"id\": \"b \\\"q\\\"\", "
            "\"n\": [\"x\", [\"y\"], {}]}], \"empty\": []}");
    as_json("[true, 'null', \"\"]", "[\"true\", \"null\", \"\"]");
    as_json("word", "\"word\"");
    as_json("{a: {x: 1}, b: {x: 1}}", "{\"a\": {\"x\": \"1\"}, \"b\": {\"x\": \"1\"}}");
    as_json("[[[[[[[[]]]]]]]]", "[[[[[[[[]]]]]]]]"); /* 8 deep */
    struct str json = STR_INIT;
    struct err e;
    str_adds(&json, "kept");
    static const struct {
        const char *yaml, *want;
    } bad[] = {
        {"a: 1\nb: 2\na: 3\n", "x.yaml:3: duplicate key 'a'"},
        {"- {a: 1}\n- {b: 1, b: 2}\n", "x.yaml:2: duplicate key 'b'"},
        {"a: &x 1\n", "x.yaml:1: anchors"},
        {"a: !x 1\n", "tag '!x'"},
        {"a: ~\n", "a key or list item has no value"},
        {"? [a]\n: b\n", "a key must be plain text"},
        {"a: 1\n---\nb: 1\n", "second YAML document"},
        {"a: [\n", "not valid YAML"},
        {"# only words\n", "x.yaml: holds no document"},
        {"[[[[[[[[[]]]]]]]]]", "nested more than 8 deep"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        fails(config_yaml_to_json(bad[i].yaml, strlen(bad[i].yaml), "x.yaml", &json, &e),
              ERR_CONFIG, bad[i].want);
        assert_string_equal(json.s, "kept");
    }
    char *big = calloc(1, (1 << 20) + 1);
    assert_non_null(big);
    fails(config_yaml_to_json(big, (1 << 20) + 1, "x.yaml", &json, &e), ERR_CONFIG, "1048576");
    free(big);
    str_free(&json);
}

/* A copy has the values of its origin, and neither changes the other. */
static void a_copy_changes_without_its_origin(void **state)
{
    (void)state;
    struct config c, copy;
    struct err e;
    struct str was = STR_INIT, now = STR_INIT, other = STR_INIT;
    ok(tool_config_init(&c, &e));
    ok(config_set(&c, "strategy=cot", &e));
    ok(config_set(&c, "planner.fixed=[neurology, urology]", &e));
    ok(config_set(&c, "role_tokens.planner=77", &e));
    config_json(&c, false, &was);
    ok(config_copy(&c, &copy, &e));
    config_json(&copy, false, &now);
    assert_string_equal(now.s, was.s);
    ok(config_set(&copy, "strategy=direct", &e));
    ok(config_set(&copy, "planner.fixed=[cardiology]", &e));
    ok(config_set(&copy, "role_tokens.planner=78", &e));
    str_clear(&now);
    config_json(&c, false, &now);
    assert_string_equal(now.s, was.s);
    config_json(&copy, false, &other);
    assert_string_not_equal(other.s, was.s);
    config_free(&copy);
    str_clear(&now);
    config_json(&c, false, &now); /* its texts are still there */
    assert_string_equal(now.s, was.s);
    config_free(&c);
    str_free(&was);
    str_free(&now);
    str_free(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_the_documented_ones),
        cmocka_unit_test(a_copy_changes_without_its_origin),
        cmocka_unit_test(a_key_with_one_letter_changed_is_refused_with_line_and_nearest_key),
        cmocka_unit_test(every_number_is_taken_at_its_limits_and_refused_beyond),
        cmocka_unit_test(every_knob_refuses_the_wrong_type_and_says_what_it_takes),
        cmocka_unit_test(nested_and_dotted_keys_mean_the_same),
        cmocka_unit_test(forms_beyond_plain_keys_and_values_are_refused),
        cmocka_unit_test(large_files_end_at_a_cap),
        cmocka_unit_test(a_base_is_read_first_wherever_it_is_named),
        cmocka_unit_test(chains_of_bases_end),
        cmocka_unit_test(built_in_configs_go_by_a_plain_name),
        cmocka_unit_test(set_reads_every_type),
        cmocka_unit_test(values_that_do_not_go_together_are_refused),
        cmocka_unit_test(limits_of_roles_that_are_not_asked_may_be_any),
        cmocka_unit_test(json_reads_back_as_the_same_config),
        cmocka_unit_test(the_knobs_that_change_results_are_marked),
        cmocka_unit_test(every_row_has_a_member_a_key_and_a_flag_of_its_own),
        cmocka_unit_test(the_reference_file_documents_every_knob),
        cmocka_unit_test(every_config_of_the_project_loads),
        cmocka_unit_test(other_yaml_documents_become_json),
    };
    return cmocka_run_group_tests(tests, open_dir, close_dir);
}
