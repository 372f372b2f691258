#include "grammar.h"

#include "prompt.h"
#include "rng.h"
#include "schema_check.h"
#include "test.h"
#include "vocabulary.h"

static const char *const schemas[] = {"kinds.json",
                                      "planner.json",
                                      "specialist.json",
                                      "final.json",
                                      "compact.json",
                                      "nested.json",
                                      "reply_pydantic.json",
                                      "reply_discriminated.json",
                                      "reply_overlapping.json",
                                      "reply_numbers_any.json",
                                      "reply_counted_min.json",
                                      "reply_formats.json",
                                      "reply_pattern_contains.json",
                                      "reply_pattern_escapes.json",
                                      "reply_types.json",
                                      "reply_enum_any.json"};
enum { SCHEMAS = sizeof schemas / sizeof schemas[0] };

static json_t *schema_json(const char *file)
{
    char path[1024];
    json_error_t why;
    snprintf(path, sizeof path, "%s/tests/fuzz/corpus/grammar/%s", TEST_SOURCE, file);
    json_t *j = json_load_file(path, 0, &why);
    if (!j)
        fail_msg("%s: %s", file, why.text);
    return j;
}

/* The grammar and the schema of case k; the last one is that of any object. */
static struct grammar *case_grammar(size_t k)
{
    struct grammar *g;
    struct err e;
    if (k < SCHEMAS)
        return vocabulary_grammar(schemas[k]);
    ok(grammar_any_object(&g, &e));
    return g;
}

static json_t *case_json(size_t k)
{
    return k < SCHEMAS ? schema_json(schemas[k]) : NULL;
}

static void must_be_valid(const json_t *schema, const struct str *text)
{
    char why[256] = "";
    json_error_t fault;
    if (!schema) { /* any object */
        json_t *v = json_loadb(text->s, text->len, 0, &fault);
        if (!json_is_object(v))
            fail_msg("%s: %s", fault.text, text->s);
        json_decref(v);
    } else if (!schema_check(schema, text->s, text->len, why))
        fail_msg("%s: %s", why, text->s);
}

/* A vocabulary whose random pieces are cut out of replies to g. */
static void vocabulary_for(struct vocabulary *x, const struct grammar *g, size_t random,
                           uint64_t seed)
{
    struct vocabulary bytes;
    struct str sample = STR_INIT;
    vocabulary_init(&bytes, "", 0, 0, 0);
    for (uint64_t i = 0; i < 3; i++)
        vocabulary_reply(&bytes, g, seed + i, &sample);
    vocabulary_init(x, sample.s, sample.len, random, seed);
    vocabulary_free(&bytes);
    str_free(&sample);
}

static void random_replies_under_masks_are_valid(void **state)
{
    (void)state;
    for (size_t k = 0; k <= SCHEMAS; k++) {
        struct grammar *g = case_grammar(k);
        json_t *schema = case_json(k);
        struct vocabulary x;
        vocabulary_for(&x, g, 300, 100 * k);
        for (uint64_t i = 0; i < 15; i++) {
            struct str text = STR_INIT;
            vocabulary_reply(&x, g, 1000 + i, &text);
            must_be_valid(schema, &text);
            str_free(&text);
        }
        vocabulary_free(&x);
        json_decref(schema);
        grammar_free(g);
    }
}

/* The schemas that the program itself uses, with their slots filled. */
static void replies_to_the_programs_own_schemas_are_valid(void **state)
{
    (void)state;
    static const struct prompt_constant c[] = {
        {"generalist_ids", "[\"emergency_medicine\", \"pediatrics\"]"},
        {"specialty_ids", "[\"ent\", \"cardiology\", \"emergency_medicine\", \"obgyn\"]"},
        {"k", "3"},
        {"n_specialties", "4"},
        {"specialty_id", "\"ent\""},
        {"answer", "{\"type\": \"string\", \"enum\": [\"A\",\"B\",\"C\",\"D\"]}"},
    };
    static const struct {
        const char *strategy, *file;
        size_t first, n; /* constants */
    } rows[] = {{"panel", "planner.json", 0, 3},
                {"panel", "planner_full.json", 0, 4},
                {"panel", "specialist.json", 4, 1},
                {"panel", "aggregator.json", 5, 1},
                {"cot", "answer.json", 5, 1}};
    for (size_t k = 0; k < sizeof rows / sizeof rows[0]; k++) {
        struct prompt_source src = {.dir = "", .strategy = rows[k].strategy};
        struct str schema = STR_INIT;
        struct grammar *g;
        struct vocabulary x;
        struct err e;
        ok(prompt_schema(&src, rows[k].file, c + rows[k].first, rows[k].n, &schema, &e));
        ok(grammar_compile(schema.s, schema.len, rows[k].file, &g, &e));
        json_t *json = json_loads(schema.s, 0, NULL);
        vocabulary_for(&x, g, 200, 900 + k);
        for (uint64_t i = 0; i < 10; i++) {
            struct str text = STR_INIT;
            vocabulary_reply(&x, g, i, &text);
            must_be_valid(json, &text);
            str_free(&text);
        }
        vocabulary_free(&x);
        json_decref(json);
        grammar_free(g);
        str_free(&schema);
    }
}

static bool allowed(const uint32_t *mask, size_t id)
{
    return mask[id / 32] >> (id % 32) & 1;
}

/* The definition of a mask, token by token on a copy of the state. */
static void compare_mask(const struct vocabulary *x, const struct grammar *g,
                         const struct grammar_state *s, const uint32_t *mask)
{
    for (size_t id = 0; id < x->n; id++) {
        struct grammar_state copy = *s;
        bool want = x->is_end[id] ? s->done
                                  : x->len[id] && grammar_feed(g, &copy, x->bytes[id], x->len[id]);
        if (allowed(mask, id) != want)
            fail_msg("token %zu '%.*s': mask says %d, feeding says %d", id, (int)x->len[id],
                     x->bytes[id], !want, want);
        copy = *s;
        assert_int_equal(grammar_accept(x->v, g, &copy, (int32_t)id), want);
        if (!want || x->is_end[id])
            assert_memory_equal(&copy, s, sizeof copy);
    }
    for (size_t id = x->n; id < (x->n + 31) / 32 * 32; id++)
        assert_false(allowed(mask, id)); /* no stray bits after the last token */
}

/* Steps a random reply. Sometimes it prefers closing tokens, so that all parts are reached. */
static int32_t next_token(const struct vocabulary *x, const struct grammar *g,
                          const struct grammar_state *s, const uint32_t *mask, uint64_t key)
{
    struct err e;
    struct token_list closing = {0};
    int32_t id = -1;
    if (rng_below(key, 7, 8) == 0) {
        ok(grammar_close(x->v, g, s, &closing, &e));
        id = closing.id[0];
        token_list_free(&closing);
        return id;
    }
    return vocabulary_draw(x, mask, key);
}

static void a_mask_allows_exactly_what_can_be_fed(void **state)
{
    (void)state;
    long states = 0;
    struct grammar_vocab_stats total = {0}, stats;
    for (size_t k = 0; k <= SCHEMAS; k++) {
        struct grammar *g = case_grammar(k);
        struct vocabulary x;
        struct err e;
        vocabulary_for(&x, g, 200, 7 + k);
        for (uint64_t i = 0; i < (k < 6 ? 5 : 2); i++) {
            struct grammar_state s;
            const uint32_t *mask;
            grammar_start(g, &s);
            for (uint64_t step = 0; step < 300; step++, states++) {
                ok(grammar_mask(x.v, g, &s, &mask, &e));
                compare_mask(&x, g, &s, mask);
                if (s.done)
                    break;
                assert_true(
                    grammar_accept(x.v, g, &s, next_token(&x, g, &s, mask, rng_key(k, i, step))));
            }
        }
        grammar_vocab_stats(x.v, &stats);
        total.hits += stats.hits;
        total.misses += stats.misses;
        vocabulary_free(&x);
        grammar_free(g);
    }
    assert_true(states > 3000);
    assert_true(total.hits > 1000 && total.misses > 1000); /* both ways were compared */
}

/* Closes from every state of a random reply. The closing text completes the reply and has the
 * announced length. Each state on the way has the rest of it as its own closing text, and no token
 * breaks that. */
static void from_every_state_closing_is_valid_and_counted(void **state)
{
    (void)state;
    for (size_t k = 0; k <= SCHEMAS; k++) {
        struct grammar *g = case_grammar(k);
        json_t *schema = case_json(k);
        struct vocabulary x;
        struct err e;
        vocabulary_for(&x, g, 200, 40 + k);
        for (uint64_t i = 0; i < 3; i++) {
            struct grammar_state s;
            struct str text = STR_INIT;
            grammar_start(g, &s);
            for (uint64_t step = 0; step < 250; step++) {
                struct token_list closing = {0};
                struct grammar_state c = s;
                size_t before = text.len;
                ok(grammar_close(x.v, g, &s, &closing, &e));
                assert_int_equal(grammar_close_tokens(x.v, g, &s), closing.n);
                for (size_t t = 0; t < closing.n; t++) {
                    assert_false(c.done);
                    assert_true(grammar_accept(x.v, g, &c, closing.id[t]));
                    assert_int_equal(grammar_close_tokens(x.v, g, &c), closing.n - t - 1);
                    str_add(&text, x.bytes[closing.id[t]], x.len[closing.id[t]]);
                }
                assert_true(c.done);
                must_be_valid(schema, &text);
                token_list_free(&closing);
                text.len = before;
                text.s[before] = 0;
                if (s.done)
                    break;
                const uint32_t *mask;
                ok(grammar_mask(x.v, g, &s, &mask, &e));
                int32_t id = next_token(&x, g, &s, mask, rng_key(99 + k, i, step));
                assert_true(grammar_accept(x.v, g, &s, id));
                str_add(&text, x.bytes[id], x.len[id]);
            }
            str_free(&text);
        }
        vocabulary_free(&x);
        json_decref(schema);
        grammar_free(g);
    }
}

/* The callers' rule of grammar.h under every limit from the least one up. */
static void a_limited_reply_is_always_valid_and_within_its_limit(void **state)
{
    (void)state;
    int closed = 0, ended = 0;
    for (size_t k = 0; k < SCHEMAS; k++) {
        struct grammar *g = vocabulary_grammar(schemas[k]);
        json_t *schema = schema_json(schemas[k]);
        struct vocabulary x;
        struct err e;
        vocabulary_for(&x, g, 200, 70 + k);
        struct grammar_state start;
        grammar_start(g, &start);
        int least = grammar_close_tokens(x.v, g, &start);
        for (int limit = least; limit < least + 60; limit++) {
            struct grammar_state s = start;
            struct str text = STR_INIT;
            int used = 0;
            while (!s.done) {
                const uint32_t *mask;
                ok(grammar_mask(x.v, g, &s, &mask, &e));
                int32_t id = vocabulary_draw(&x, mask, rng_key(5, (uint64_t)limit, (uint64_t)used));
                struct grammar_state old = s;
                assert_true(grammar_accept(x.v, g, &s, id));
                if (grammar_close_tokens(x.v, g, &s) <= limit - used - 1) {
                    str_add(&text, x.bytes[id], x.len[id]);
                    used++;
                    continue;
                }
                struct token_list closing = {0};
                ok(grammar_close(x.v, g, &old, &closing, &e));
                for (size_t t = 0; t < closing.n; t++, used++)
                    str_add(&text, x.bytes[closing.id[t]], x.len[closing.id[t]]);
                token_list_free(&closing);
                closed++;
                break;
            }
            assert_true(used <= limit);
            ended += s.done;
            must_be_valid(schema, &text);
            str_free(&text);
        }
        vocabulary_free(&x);
        json_decref(schema);
        grammar_free(g);
    }
    assert_true(closed > 100 && ended > 20);
}

static struct grammar *grammar_of(const char *schema)
{
    struct err e;
    struct grammar *g;
    ok(grammar_compile(schema, strlen(schema), "s", &g, &e));
    return g;
}

#define RULES                                                                                      \
    "{\"type\":\"object\",\"properties\":{\"s\":{\"type\":\"string\",\"minLength\":2,"             \
    "\"maxLength\":9},"                                                                            \
    "\"e\":{\"enum\":[\"abc_d\",\"b\",\"a\"]},\"a\":{\"type\":\"array\",\"maxItems\":2,"           \
    "\"uniqueItems\":true,\"items\":{\"enum\":[\"y\",\"x\"]}}}}"
#define PAIR(lo, hi, decimals)                                                                     \
    "{\"type\":\"array\",\"minItems\":2,\"maxItems\":3,\"items\":{\"type\":\"number\","            \
    "\"minimum\":" #lo ",\"maximum\":" #hi ",\"x-decimals\":" #decimals "}}"

static void closing_follows_its_rules(void **state)
{
    (void)state;
    static const struct {
        const char *schema, *from, *rest;
    } rows[] = {
        {RULES, "", "{\"s\": \"..\", \"e\": \"a\", \"a\": []}"},
        {RULES, "{\"s\": \"x", ".\", \"e\": \"a\", \"a\": []}"},
        {RULES, "{\"s\": \"xyz", "\", \"e\": \"a\", \"a\": []}"},
        {RULES, "{\"s\": \"x\\", "n\", \"e\": \"a\", \"a\": []}"},
        {RULES, "{\"s\": \"x\\u", "0020\", \"e\": \"a\", \"a\": []}"},
        {RULES, "{\"s\": \"x\\u000", "9\", \"e\": \"a\", \"a\": []}"},
        {RULES, "{\"s\": \"\\ud83d", "\\udc00.\", \"e\": \"a\", \"a\": []}"},
        {RULES, "{\"s\": \"x\xf0", "\x90\x80\x80\", \"e\": \"a\", \"a\": []}"},
        {RULES, "{\"s\": \"x\xe0", "\xa0\x80\", \"e\": \"a\", \"a\": []}"},
        {RULES, "{\"s\": \"xy\", \"e\": \"ab", "c_d\", \"a\": []}"},
        {RULES, "{\"s\": \"xy\", \"e\": \"b\", \"a\": [\"y\", ", "\"x\"]}"},
        {RULES, "{\"s\": \"xy\", \"e\": \"b\", \"a\": [\"y\"", "]}"},
        {PAIR(-19, 31, 1), "[3", ", 0]"},
        {PAIR(-19, 31, 1), "[-", "1, 0]"},
        {PAIR(-19, 31, 1), "[-0.", "1, 0]"},
        {PAIR(-19, 31, 1), "[4.", "0, 0]"},
        {PAIR(0.05, 0.95, 2), "[0.0", "5, 0.1]"},
        {PAIR(250, 300, 0), "[2", "50, 250]"},
        {PAIR(250, 300, 0), "[300, 299,", " 250]"},
        {PAIR(-7.25, -7.25, 2), "", "[-7.25, -7.25]"},
        {"{\"type\":\"string\",\"pattern\":\"^[ -~]{3}é+$\"}", "", "\"...\xc3\xa9\""},
        {"{\"type\":\"string\",\"pattern\":\"^.{2}\\\\d\"}", "\"a\xe6",
         "\x80\x80"
         "0\""},
        {"{\"anyOf\":[{\"const\":\"long\"},{\"type\":\"null\"},{\"type\":\"array\",\"minItems\":2}]"
         "}",
         "", "null"},
        {"{\"anyOf\":[{\"const\":\"longest\"},{\"const\":\"long\"},{\"type\":\"string\","
         "\"minLength\":6}]}",
         "\"lon", "g\""},
        {"{\"type\":\"object\",\"required\":[],\"minProperties\":1,\"properties\":{\"a\":{"
         "\"const\":\"abc\"},"
         "\"b\":{\"type\":\"null\"},\"c\":{\"const\":1}}}",
         "{", "\"c\": 1}"},
    };
    struct vocabulary x;
    struct err e;
    vocabulary_init(&x, "", 0, 0, 0);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct grammar *g = grammar_of(rows[i].schema);
        struct grammar_state st;
        struct token_list closing = {0};
        struct str text = STR_INIT;
        grammar_start(g, &st);
        assert_true(grammar_feed(g, &st, rows[i].from, strlen(rows[i].from)));
        ok(grammar_close(x.v, g, &st, &closing, &e));
        for (size_t t = 0; t < closing.n; t++)
            str_add(&text, x.bytes[closing.id[t]], x.len[closing.id[t]]);
        assert_string_equal(text.s, rows[i].rest);
        str_free(&text);
        token_list_free(&closing);
        grammar_free(g);
    }
    vocabulary_free(&x);
}

/* More places than a text can cross: each still has the mask of its own item. */
static void a_long_tuple_keeps_its_places(void **state)
{
    (void)state;
    struct vocabulary x;
    struct err e;
    struct str s = STR_INIT;
    str_adds(&s, "{\"type\":\"array\",\"prefixItems\":[");
    for (int i = 0; i < 90; i++)
        str_addf(&s, "%s{\"const\":%s}", i ? "," : "", i % 2 ? "true" : "7");
    str_adds(&s, "]}");
    struct grammar *g = grammar_of(s.s);
    struct grammar_state st;
    const uint32_t *mask;
    vocabulary_init(&x, "", 0, 0, 0);
    grammar_start(g, &st);
    for (int i = 0; i < 90; i++) {
        const char *item = i % 2 ? ", true" : i ? ", 7" : "[7";
        for (; *item; item++) {
            ok(grammar_mask(x.v, g, &st, &mask, &e));
            compare_mask(&x, g, &st, mask);
            assert_true(grammar_feed(g, &st, item, 1));
        }
    }
    str_free(&s);
    grammar_free(g);
    vocabulary_free(&x);
}

static void only_end_tokens_follow_a_complete_reply(void **state)
{
    (void)state;
    struct grammar *g = grammar_of("{\"type\":\"boolean\"}");
    struct vocabulary x;
    struct grammar_state s;
    const uint32_t *mask;
    struct err e;
    vocabulary_init(&x, "", 0, 0, 0);
    grammar_start(g, &s);
    assert_false(grammar_accept(x.v, g, &s, 256)); /* the end token, too early */
    assert_false(grammar_accept(x.v, g, &s, 258)); /* a token without bytes */
    assert_false(grammar_accept(x.v, g, &s, -1));
    assert_false(grammar_accept(x.v, g, &s, (int32_t)x.n));
    assert_true(grammar_feed(g, &s, "true", 4));
    ok(grammar_mask(x.v, g, &s, &mask, &e));
    for (size_t id = 0; id < x.n; id++)
        assert_int_equal(allowed(mask, id), x.is_end[id]);
    assert_true(grammar_accept(x.v, g, &s, 256) && s.done);
    assert_int_equal(grammar_close_tokens(x.v, g, &s), 0);
    vocabulary_free(&x);
    grammar_free(g);
}

static void a_vocabulary_that_cannot_go_on_is_said(void **state)
{
    (void)state;
    static const char *const bytes[] = {"{", "\"", "a", "n", "nu", "l"};
    static const size_t len[] = {1, 1, 1, 1, 2, 1};
    static const bool is_end[6] = {false};
    struct grammar *boolean = grammar_of("{\"type\":\"boolean\"}"),
                   *null = grammar_of("{\"type\":\"null\"}");
    struct grammar_vocab *v;
    struct err e;
    const uint32_t *mask;
    struct token_list out = {0};
    struct grammar_state s;
    fails(grammar_vocab_open_tokens(0, NULL, NULL, NULL, &v, &e), ERR_DATA, "0 tokens");
    ok(grammar_vocab_open_tokens(6, bytes, len, is_end, &v, &e));
    grammar_start(boolean, &s);
    fails(grammar_mask(v, boolean, &s, &mask, &e), ERR_DATA,
          "no token that continues the reply at byte \"t\"");
    fails(grammar_mask(v, boolean, &s, &mask, &e), ERR_DATA,
          "no token"); /* not from the cache either */
    fails(grammar_close(v, boolean, &s, &out, &e), ERR_DATA, "no token for byte 0x74");
    assert_int_equal(out.n, 0);
    assert_int_equal(grammar_close_tokens(v, boolean, &s), ERR_DATA);
    grammar_start(null, &s);
    ok(grammar_mask(v, null, &s, &mask, &e));
    assert_int_equal(mask[0], 1u << 3 | 1u << 4);
    ok(grammar_close(v, null, &s, &out, &e));
    assert_int_equal(out.n, 3);
    assert_int_equal(out.id[0], 4); /* the longest match */
    assert_true(grammar_feed(null, &s, "null", 4));
    fails(grammar_mask(v, null, &s, &mask, &e), ERR_DATA, "no end token");
    token_list_free(&out);
    grammar_vocab_close(v);
    grammar_vocab_close(NULL);
    grammar_free(boolean);
    grammar_free(null);
}

/* More classes than the cache has slots: old masks are evicted, new ones are correct. */
static void a_full_cache_forgets_and_stays_right(void **state)
{
    (void)state;
    struct vocabulary x;
    struct err e;
    vocabulary_init(&x, "", 0, 0, 0);
    for (int round = 0; round < 2; round++)
        for (int k = 1; k <= 140; k++) { /* each has its own classes */
            char schema[64];
            snprintf(schema, sizeof schema, "{\"type\":\"string\",\"maxLength\":%d}", k);
            struct grammar *g = grammar_of(schema);
            struct grammar_state s;
            const uint32_t *mask;
            grammar_start(g, &s);
            assert_true(grammar_feed(g, &s, "\"", 1));
            for (int i = 0; i < k; i++) {
                ok(grammar_mask(x.v, g, &s, &mask, &e));
                if (i % 61 == 0 || i > k - 3)
                    compare_mask(&x, g, &s, mask);
                assert_true(grammar_feed(g, &s, "a", 1));
            }
            grammar_free(g);
        }
    struct grammar_vocab_stats st;
    grammar_vocab_stats(x.v, &st);
    assert_true(st.misses > 2 * 4096); /* more than the places: 1,024 sets of 4 */
    vocabulary_free(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_replies_under_masks_are_valid),
        cmocka_unit_test(replies_to_the_programs_own_schemas_are_valid),
        cmocka_unit_test(a_mask_allows_exactly_what_can_be_fed),
        cmocka_unit_test(from_every_state_closing_is_valid_and_counted),
        cmocka_unit_test(a_limited_reply_is_always_valid_and_within_its_limit),
        cmocka_unit_test(closing_follows_its_rules),
        cmocka_unit_test(a_long_tuple_keeps_its_places),
        cmocka_unit_test(only_end_tokens_follow_a_complete_reply),
        cmocka_unit_test(a_vocabulary_that_cannot_go_on_is_said),
        cmocka_unit_test(a_full_cache_forgets_and_stays_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
