#include "grammar.h"

#include "schema.h"
#include "test.h"

static int compile(const char *schema, struct grammar **g, struct err *e)
{
    return grammar_compile(schema, strlen(schema), "s", g, e);
}

/* 'x' not a prefix of a reply, '>' a proper prefix, '=' a whole reply. The bytes are also fed one
 * by one. */
static char verdict(const struct grammar *g, const char *text, size_t n)
{
    struct grammar_state whole, single, before;
    grammar_start(g, &whole);
    grammar_start(g, &single);
    before = whole;
    bool fed = grammar_feed(g, &whole, text, n);
    size_t i = 0;
    while (i < n && grammar_feed(g, &single, text + i, 1))
        i++;
    assert_int_equal(fed, i == n);
    if (!fed)
        assert_memory_equal(&whole, &before, sizeof whole);
    return !fed ? 'x' : whole.done ? '=' : '>';
}

struct line {
    char want;
    const char *text;
};

static void check_lines(const char *schema, const struct line *l, size_t n)
{
    struct err e;
    struct grammar *g;
    ok(compile(schema, &g, &e));
    for (size_t i = 0; i < n; i++) {
        char got = verdict(g, l[i].text, strlen(l[i].text));
        if (got != l[i].want)
            fail_msg("'%s': got %c, want %c", l[i].text, got, l[i].want);
    }
    grammar_free(g);
}
#define CHECK_LINES(schema, ...)                                                                   \
    check_lines((schema), (const struct line[]){__VA_ARGS__},                                      \
                sizeof((const struct line[]){__VA_ARGS__}) / sizeof(struct line))

#define STR "{\"type\":\"string\",\"maxLength\":5}"
#define OBJ(p) "{\"type\":\"object\",\"properties\":{" p "}}"
#define A_STR OBJ("\"a\":" STR)

static void a_bad_schema_is_refused_with_its_path(void **state)
{
    (void)state;
    static const struct {
        const char *schema, *text;
    } rows[] = {
        {"", "schema s: line 1"},
        {"{", "schema s: line 1"},
        {"[]", "#: a schema must be a JSON object"},
        {"{}", "#: has no type"},
        {"{\"type\":\"text\"}", "#: type must be one of object"},
        {"{\"type\":[\"string\",\"null\"]}", "#: type must be one of object"},
        {"{\"type\":\"string\",\"maxLenght\":3}",
         "#/maxLenght: unknown keyword; the nearest known is maxLength"},
        {OBJ("\"differential\":{\"type\":\"array\",\"maxItems\":2,\"items\":{\"type\":\"string\","
             "\"maxLenght\":3}}"),
         "#/properties/differential/items/maxLenght: unknown keyword; the nearest known is "
         "maxLength"},
        {"{\"type\":\"string\",\"maxLength\":3,\"patternProperties\":{}}",
         "#/patternProperties: unknown or unsupported"},
        {"{\"$ref\":\"#/x\"}", "#: has no type"},
        {"{\"type\":\"string\",\"maxLength\":3,\"x-pattern\":\"a\"}", "#/x-pattern: unknown"},
        {"{\"type\":\"string\",\"maxLength\":3,\"maxItems\":1}",
         "#/maxItems: does not apply to string"},
        {"{\"type\":\"integer\",\"minimum\":0,\"maximum\":1,\"x-decimals\":1}",
         "#/x-decimals: does not apply to integer"},
        {"{\"enum\":[\"a\"],\"maxLength\":3}", "#/maxLength: does not apply to enum"},
        {"{\"enum\":[\"a\"],\"const\":\"a\"}", "#: enum and const together"},
        {"{\"type\":\"integer\",\"enum\":[1]}",
         "#: enum is supported for type string only, not for integer"},
        {"{\"enum\":[1]}", "#/enum: item 0 is not a string"},
        {"{\"enum\":[]}", "#/enum: must be an array of 1 to 256 strings"},
        {"{\"enum\":\"a\"}", "#/enum: must be an array"},
        {"{\"enum\":[\"a\",\"b\",\"a\"]}", "#/enum: \"a\" is listed twice"},
        {"{\"const\":[1]}", "#/const: must be a string"},
        {"{\"const\":1e300}", "#/const: must be a string"},
        {"{\"type\":\"string\",\"const\":1}", "#/const: is not of type string"},
        {"{\"type\":\"object\",\"const\":1}", "#/const: is not of type object"},
        {"{\"type\":\"string\"}", "#: maxLength is missing"},
        {"{\"type\":\"string\",\"maxLength\":4001}",
         "#/maxLength: must be an integer from 0 to 4000"},
        {"{\"type\":\"string\",\"maxLength\":-1}", "#/maxLength: must be an integer"},
        {"{\"type\":\"string\",\"maxLength\":2.0}", "#/maxLength: must be an integer"},
        {"{\"type\":\"string\",\"maxLength\":\"2\"}", "#/maxLength: must be an integer"},
        {"{\"type\":\"string\",\"minLength\":4,\"maxLength\":3}",
         "#: minLength 4 is above maxLength 3"},
        {"{\"type\":\"object\"}", "#: an object needs properties"},
        {"{\"type\":\"object\",\"properties\":{\"a\":1}}",
         "#/properties/a: a schema must be a JSON object"},
        {"{\"type\":\"object\",\"properties\":{\"a\":" STR ",\"a\":" STR "}}", "duplicate"},
        {"{\"type\":\"object\",\"properties\":{\"a\":" STR "},\"additionalProperties\":true}",
         "#: additionalProperties true is not bounded"},
        {"{\"type\":\"object\",\"properties\":{\"a\":" STR "},\"additionalProperties\":{}}",
         "#/additionalProperties: must be true or false"},
        {"{\"type\":\"object\",\"properties\":{\"a\":" STR ",\"b\":" STR "},\"required\":[\"a\"]}",
         "#/required: does not list b"},
        {"{\"type\":\"object\",\"properties\":{\"a\":" STR "},\"required\":[\"a\",\"b\"]}",
         "#/required: item 1 is not a name in properties"},
        {"{\"type\":\"object\",\"properties\":{\"a\":" STR "},\"required\":[\"a\",\"a\"]}",
         "#/required: names a twice"},
        {"{\"type\":\"object\",\"properties\":{\"a\":" STR "},\"required\":\"a\"}",
         "#/required: must be an array"},
        {OBJ("\"a/b~\":{\"type\":\"string\"}"), "#/properties/a~1b~0: maxLength is missing"},
        {"{\"type\":\"array\",\"maxItems\":2}", "#: an array needs items"},
        {"{\"type\":\"array\",\"items\":" STR "}", "#: maxItems is missing"},
        {"{\"type\":\"array\",\"items\":" STR ",\"maxItems\":1001}",
         "#/maxItems: must be an integer from 0 to 1000"},
        {"{\"type\":\"array\",\"items\":" STR ",\"maxItems\":2,\"minItems\":3}",
         "#: minItems 3 is above maxItems 2"},
        {"{\"type\":\"array\",\"items\":" STR ",\"maxItems\":2,\"uniqueItems\":true}",
         "#: uniqueItems is supported"},
        {"{\"type\":\"array\",\"items\":" STR ",\"maxItems\":2,\"uniqueItems\":1}",
         "#/uniqueItems: must be true or false"},
        {"{\"type\":\"array\",\"items\":{\"enum\":[\"a\",\"b\"]},\"minItems\":3,\"maxItems\":5,"
         "\"uniqueItems\":true}",
         "#: minItems 3 of an enum of 2 unique values"},
        {"{\"type\":\"integer\",\"minimum\":0,\"maximum\":9}", "#: a bare number has no end"},
        {OBJ("\"n\":{\"type\":\"integer\",\"maximum\":9}"), "#/properties/n: minimum is missing"},
        {OBJ("\"n\":{\"type\":\"integer\",\"minimum\":2,\"maximum\":1}"),
         "#/properties/n: no number with 0 digits"},
        {OBJ("\"n\":{\"type\":\"number\",\"minimum\":0.01,\"maximum\":0.09,\"x-decimals\":1}"),
         "#/properties/n: no number with 1 digits"},
        {OBJ("\"n\":{\"type\":\"number\",\"minimum\":0,\"maximum\":2e9}"),
         "#/properties/n/maximum: must be a number from"},
        {OBJ("\"n\":{\"type\":\"number\",\"minimum\":1e-12,\"maximum\":2}"),
         "#/properties/n/minimum: must be a number from"},
        {OBJ("\"n\":{\"type\":\"number\",\"minimum\":\"0\",\"maximum\":2}"),
         "#/properties/n/minimum: must be a number from"},
        {OBJ("\"n\":{\"type\":\"number\",\"minimum\":0,\"maximum\":2,\"x-decimals\":10}"),
         "#/properties/n/x-decimals: must be an integer from 0 to 9"},
    };
    struct err e;
    struct grammar *g = NULL;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        fails(compile(rows[i].schema, &g, &e), ERR_CONFIG, rows[i].text);
    assert_null(g);
}

static void limits_of_size_and_depth_hold(void **state)
{
    (void)state;
    struct err e;
    struct grammar *g;
    for (int depth = GRAMMAR_DEPTH - 1; depth <= GRAMMAR_DEPTH;
         depth++) { /* arrays around a string */
        struct str s = STR_INIT;
        for (int i = 0; i < depth; i++)
            str_adds(&s, "{\"type\":\"array\",\"maxItems\":1,\"items\":");
        str_adds(&s, STR);
        for (int i = 0; i < depth; i++)
            str_addc(&s, '}');
        if (depth < GRAMMAR_DEPTH) {
            ok(compile(s.s, &g, &e));
            assert_int_equal(verdict(g, "[[[[[[[[[[[[[[[\"ab\"]]]]]]]]]]]]]]]", 34), '=');
            grammar_free(g);
        } else {
            fails(compile(s.s, &g, &e), ERR_CONFIG, "nested deeper than 16");
        }
        str_free(&s);
    }
    fails(compile("{\"type\":\"array\",\"minItems\":17,\"maxItems\":17,\"items\":"
                  "{\"type\":\"string\",\"minLength\":4000,\"maxLength\":4000}}",
                  &g, &e),
          ERR_CONFIG, "#: the shortest reply may need 68274 bytes; the limit is 65536");
    struct str s = STR_INIT;
    str_adds(&s, "{\"type\":\"object\",\"properties\":{");
    for (int i = 0; i < 257; i++)
        str_addf(&s, "%s\"p%d\":" STR, i ? "," : "", i);
    str_adds(&s, "}}");
    fails(compile(s.s, &g, &e), ERR_CONFIG, "#: 257 properties; the limit is 256");
    str_clear(&s);
    str_adds(&s, "{\"enum\":[\"");
    for (int i = 0; i < 1001; i++)
        str_addc(&s, 'v');
    str_adds(&s, "\"]}");
    fails(compile(s.s, &g, &e), ERR_CONFIG, "#/enum: must be a string of at most 1000 bytes");
    str_clear(&s);
    for (size_t i = 0; i <= SCHEMA_BYTES; i++)
        str_addc(&s, ' ');
    fails(compile(s.s, &g, &e), ERR_CONFIG, "1048577 bytes; the limit is 1048576");
    str_clear(&s);
    str_adds(&s, "{\"type\":\"object\",\"properties\":{");
    for (int i = 0; i < 17; i++) {
        str_addf(&s, "%s\"o%d\":{\"type\":\"object\",\"properties\":{", i ? "," : "", i);
        for (int k = 0; k < 241; k++)
            str_addf(&s, "%s\"p%d\":{\"type\":\"null\"}", k ? "," : "", k);
        str_adds(&s, "}}");
    }
    str_adds(&s, "}}");
    fails(compile(s.s, &g, &e), ERR_CONFIG, "#/properties/o16/properties: more than 4096 nodes");
    str_free(&s);
}

static void objects_are_written_in_the_schemas_order(void **state)
{
    (void)state;
    CHECK_LINES(
        OBJ("\"b\":" STR ",\"a\\\"\\n\":{\"type\":\"boolean\"}"),
        {'=', "{\"b\": \"\", \"a\\\"\\n\": true}"}, {'>', "{\"b\": \"x\", \"a\\\"\\n\": false"},
        {'>', ""}, {'>', "{"}, {'>', "{\"b"}, {'x', "{\"a"}, {'x', " {"}, {'x', "{ "}, {'x', "{}"},
        {'x', "{\"b\":\"\""}, {'x', "{\"b\" :"}, {'x', "{\"b\": \"\"}"}, {'x', "{\"b\": \"\",\""},
        {'x', "{\"b\": \"\", \"a\\\"\\n\": true} "}, {'x', "{\"b\": \"\", \"a\\\"\\n\": true}}"},
        {'x', "{\"b\": \"\", \"a\\\"\\n\": null"});
    CHECK_LINES(OBJ("\"a\":{\"type\":\"object\",\"properties\":{}},\"b\":{\"type\":\"null\"},\"c\":"
                    "{\"const\":-2.50}"),
                {'=', "{\"a\": {}, \"b\": null, \"c\": -2.5}"}, {'x', "{\"a\": {}, \"b\": nul}"},
                {'x', "{\"a\": {}, \"b\": null, \"c\": -2.50"});
    CHECK_LINES(
        OBJ("\"a\":{\"const\":null},\"b\":{\"const\":false},\"c\":{\"type\":\"null\",\"const\":"
            "null},"
            "\"d\":{\"type\":\"boolean\",\"const\":true},\"e\":{\"type\":\"integer\",\"const\":7}"),
        {'=', "{\"a\": null, \"b\": false, \"c\": null, \"d\": true, \"e\": 7}"});
    CHECK_LINES("{\"const\":\"x\\\"\\u00e9\"}", {'=', "\"x\\\"\xc3\xa9\""}, {'x', "\"x\\u00e9"},
                {'>', "\"x\\\"\xc3"});
}

static void arrays_keep_their_counts(void **state)
{
    (void)state;
    CHECK_LINES(
        "{\"type\":\"array\",\"minItems\":2,\"maxItems\":3,\"items\":{\"type\":\"boolean\"}}",
        {'=', "[true, false]"}, {'=', "[true, false, true]"}, {'x', "[]"}, {'x', "[true]"},
        {'x', "[true, false, true,"}, {'x', "[true,false"}, {'x', "[true, ]"}, {'x', "[ true"});
    CHECK_LINES("{\"type\":\"array\",\"maxItems\":1,\"items\":{\"type\":\"array\",\"maxItems\":0,"
                "\"items\":" STR "}}",
                {'=', "[]"}, {'=', "[[]]"}, {'x', "[[], "}, {'x', "[[\""}, {'x', "[,"});
    CHECK_LINES("{\"type\":\"array\",\"maxItems\":2,\"items\":{\"type\":\"integer\",\"minimum\":9,"
                "\"maximum\":10}}",
                {'=', "[]"}, {'=', "[9]"}, {'=', "[10, 9]"}, {'x', "[1]"}, {'x', "[11"},
                {'x', "[8"}, {'x', "[90"}, {'x', "[9, 9,"}, {'x', "[9 "}, {'x', "[9}"}, {'x', "[-"},
                {'x', "[09"});
}

static void unique_items_are_never_repeated(void **state)
{
    (void)state;
    const char *schema = "{\"type\":\"array\",\"minItems\":1,\"maxItems\":9,\"uniqueItems\":true,"
                         "\"items\":{\"enum\":[\"ent_x\",\"ent\",\"e\",\"b\"]}}";
    CHECK_LINES(schema, {'=', "[\"ent\"]"}, {'=', "[\"ent\", \"ent_x\", \"e\", \"b\"]"},
                {'x', "[\"ent\", \"ent\""}, {'>', "[\"ent\", \"ent"},
                {'x', "[\"ent\", \"ent_x\", \"en"}, {'x', "[\"ent\", \"ent_x\", \"e\", \"e"},
                {'x', "[\"ent\", \"ent_x\", \"e\", \"b\","}, {'x', "[\"b\", \"b"}, {'x', "[\"c"},
                {'x', "[]"});
    CHECK_LINES("{\"type\":\"array\",\"maxItems\":2,\"items\":{\"enum\":[\"a\"]}}",
                {'=', "[\"a\", \"a\"]"});
}

static void strings_are_valid_text_of_bounded_length(void **state)
{
    (void)state;
    CHECK_LINES(
        "{\"type\":\"array\",\"maxItems\":1,\"items\":{\"type\":\"string\",\"minLength\":2,"
        "\"maxLength\":3}}",
        {'=', "[\"ab\"]"}, {'=', "[\"abc\"]"}, {'x', "[\"a\""}, {'x', "[\"abcd"},
        {'=', "[\"a\xc3\xa9\"]"}, {'=', "[\"\xe2\x82\xac\xf0\x9f\x98\x80x\"]"}, {'x', "[\"abc\xc3"},
        {'>', "[\"ab\xc3"}, {'=', "[\"\\n\\\"\\\\\"]"}, {'x', "[\"abc\\"}, {'x', "[\"\\/"},
        {'x', "[\"\\b"}, {'x', "[\"\\f"}, {'=', "[\"\\u0041\\u00E9\"]"}, {'x', "[\"\\u0000"},
        {'>', "[\"\\u000"}, {'x', "[\"\\u004g"}, {'=', "[\"\\ud83d\\ude00x\"]"},
        {'=', "[\"ab\\uD83D\\uDE00\"]"}, {'x', "[\"\\ud83d\""}, {'x', "[\"\\ud83dx"},
        {'x', "[\"\\ud83d\\n"}, {'x', "[\"\\ud83d\\u0041"}, {'x', "[\"\\ude00"},
        {'>', "[\"\\ud7ff"}, {'x', "[\"\\ud83d\\ud83d"}, {'x', "[\"abc\\ud83d"}, {'x', "[\"a\n"},
        {'x', "[\"a\x7f"}, {'x', "[\"a\x1f"}, {'x', "[\"\x80"}, {'x', "[\"\xc1"},
        {'x', "[\"\xed\xa0"}, {'x', "[\"\xe0\x80"}, {'x', "[\"\xf0\x80"}, {'x', "[\"\xf4\x90"},
        {'x', "[\"\xf5"}, {'x', "[\"\xc3\""}, {'>', "[\"\xf4\x8f\xbf\xbf\xee\x80"});
    CHECK_LINES("{\"type\":\"string\",\"maxLength\":0}", {'=', "\"\""}, {'x', "\"a"}, {'x', "\"\\"},
                {'>', "\""});
    struct err e;
    struct grammar *g;
    ok(compile(STR, &g, &e));
    assert_int_equal(verdict(g, "\"a\0b", 4), 'x');
    grammar_free(g);
}

static void numbers_end_where_their_parent_goes_on(void **state)
{
    (void)state;
    CHECK_LINES(OBJ("\"p\":{\"type\":\"number\",\"minimum\":0,\"maximum\":1},\"q\":"
                    "{\"type\":\"number\",\"minimum\":-1.5,\"maximum\":12,\"x-decimals\":1}"),
                {'=', "{\"p\": 0, \"q\": 0}"}, {'=', "{\"p\": 0.25, \"q\": -1.5}"},
                {'=', "{\"p\": 1.00, \"q\": 12.0}"}, {'x', "{\"p\": 1.01"}, {'x', "{\"p\": 0.255"},
                {'x', "{\"p\": 00"}, {'x', "{\"p\": .5"}, {'x', "{\"p\": -"}, {'x', "{\"p\": 0.,"},
                {'x', "{\"p\": 1e"}, {'x', "{\"p\": 0}"}, {'x', "{\"p\": 0]"}, {'x', "{\"p\": 0 "},
                {'>', "{\"p\": 0, \"q\": -0"}, {'x', "{\"p\": 0, \"q\": -0}"},
                {'x', "{\"p\": 0, \"q\": -0.0}"}, {'x', "{\"p\": 0, \"q\": -1.6"},
                {'x', "{\"p\": 0, \"q\": 13"}, {'x', "{\"p\": 0, \"q\": +1"},
                {'=', "{\"p\": 0, \"q\": -0.1}"});
}

static void equal_schemas_have_equal_ids_and_meaning_changes_them(void **state)
{
    (void)state;
    static const char *const schemas[] = {
        OBJ("\"a\":" STR),
        OBJ("\"b\":" STR),
        OBJ("\"a\":{\"type\":\"string\",\"maxLength\":6}"),
        OBJ("\"a\":{\"type\":\"string\",\"minLength\":1,\"maxLength\":5}"),
        OBJ("\"a\":" STR ",\"b\":" STR),
        OBJ("\"a\":{\"enum\":[\"x\"]}"),
        OBJ("\"a\":{\"enum\":[\"x\",\"y\"]}"),
        OBJ("\"a\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":5}"),
        OBJ("\"a\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":6}"),
    };
    enum { N = sizeof schemas / sizeof schemas[0] };
    uint64_t id[N];
    struct err e;
    struct grammar *g;
    for (size_t i = 0; i < N; i++) {
        ok(compile(schemas[i], &g, &e));
        id[i] = grammar_id(g);
        grammar_free(g);
        for (size_t j = 0; j < i; j++)
            assert_true(id[i] != id[j]);
    }
    ok(compile(
        "{\"title\":\"t\",\"type\":\"object\",\"required\":[\"a\"],\"additionalProperties\":false,"
        "\"properties\":{\"a\":{\"description\":\"d\",\"maxLength\":5,\"type\":\"string\"}}}",
        &g, &e));
    assert_true(grammar_id(g) == id[0]);
    grammar_free(g);
    grammar_free(NULL);
}

static void a_copied_state_goes_its_own_way(void **state)
{
    (void)state;
    struct err e;
    struct grammar *g;
    ok(compile("{\"type\":\"array\",\"maxItems\":3,\"uniqueItems\":true,\"items\":{\"enum\":[\"a\","
               "\"b\",\"c\"]}}",
               &g, &e));
    struct grammar_state one, two;
    grammar_start(g, &one);
    assert_true(grammar_feed(g, &one, "[\"a\", \"", 7));
    two = one;
    assert_true(grammar_feed(g, &one, "b\", \"c\"]", 8));
    assert_true(one.done);
    assert_false(two.done);
    assert_false(grammar_feed(g, &two, "a", 1));
    assert_true(grammar_feed(g, &two, "c\", \"b\"]", 8));
    assert_true(two.done);
    assert_false(grammar_feed(g, &two, " ", 1));
    assert_true(grammar_feed(g, &two, "", 0));
    assert_true(sizeof(struct grammar_state) <= 512);
    grammar_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bad_schema_is_refused_with_its_path),
        cmocka_unit_test(limits_of_size_and_depth_hold),
        cmocka_unit_test(objects_are_written_in_the_schemas_order),
        cmocka_unit_test(arrays_keep_their_counts),
        cmocka_unit_test(unique_items_are_never_repeated),
        cmocka_unit_test(strings_are_valid_text_of_bounded_length),
        cmocka_unit_test(numbers_end_where_their_parent_goes_on),
        cmocka_unit_test(equal_schemas_have_equal_ids_and_meaning_changes_them),
        cmocka_unit_test(a_copied_state_goes_its_own_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
