#include "grammar.h"

#include "schema.h"
#include "test.h"

static int compile(const char *schema, struct grammar **g, struct err *e)
{
    return grammar_compile(schema, strlen(schema), "s", g, e);
}

/* Feeds the bytes at once and one by one. 'x': not a prefix of a reply, '>': a proper prefix, '=':
 * a whole reply. */
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
        {"{\"type\":\"text\"}", "#: type must be one of object"},
        {"{\"type\":[\"string\",\"nul\"]}", "#: type must be one of object"},
        {"{\"type\":[]}", "#/type: is an empty list"},
        {"false", "#: false allows nothing"},
        {"1", "#: a schema must be a JSON object"},
        {"{\"a\":NaN}", "schema s: line 1"},
        {"\xff\xfe{", "schema s: is UTF-16, not UTF-8"},
        {"{\"type\":\"string\",\"maxLenght\":3}",
         "#/maxLenght: unknown keyword; the nearest known is maxLength"},
        {OBJ("\"differential\":{\"type\":\"array\",\"maxItems\":2,\"items\":{\"type\":\"string\","
             "\"maxLenght\":3}}"),
         "#/properties/differential/items/maxLenght: unknown keyword; the nearest known is "
         "maxLength"},
        {"{\"type\":\"string\",\"maxLength\":3,\"patternProperties\":{}}",
         "#/patternProperties: does not apply to string"},
        {"{\"$ref\":\"#/x\"}", "#/$ref: there is no #/x in this schema"},
        {"{\"$ref\":1}", "#/$ref: must be a string"},
        {"{\"$ref\":\"#/a~2\"}", "#/$ref: there is no #/a~2"},
        {"{\"$ref\":\"#/a%0\"}", "#/$ref: there is no #/a%0"},
        {"{\"$ref\":\"other.json#/a\"}", "#/$ref: other.json#/a is not a place in this schema"},
        {"{\"$ref\":\"#name\"}", "#/$ref: #name is not a place in this schema"},
        {"{\"$ref\":\"#\"}", "#/$ref: # is recursive"},
        {"{\"$ref\":\"#/$defs/a\",\"$defs\":{\"a\":{\"$ref\":\"#/$defs/b\"},\"b\":{\"$ref\":"
         "\"#/$defs/a\"}}}",
         "#/$defs/b/$ref: #/$defs/a is recursive"},
        {"{\"$ref\":\"#/$defs/a\",\"$defs\":{\"a\":{\"type\":\"array\",\"items\":{\"anyOf\":[{"
         "\"type\":\"null\"},{\"$ref\":\"#/$defs/a\"}]}}}}",
         "#/$defs/a/items/anyOf/1/$ref: #/$defs/a is recursive"},
        {"{\"$ref\":\"#/$defs/a\",\"$defs\":{\"a\":{\"$id\":\"x\"}}}",
         "#/$ref: #/$defs/a has an $id of its own"},
        {"{\"allOf\":[]}", "#/allOf: must be an array of 1 to 256 schemas"},
        {"{\"anyOf\":{}}", "#/anyOf: must be an array of 1 to 256 schemas"},
        {"{\"anyOf\":[{\"type\":\"null\"},{\"type\":\"nul\"}]}", "#/anyOf/1: type must be one of"},
        {"{\"allOf\":[{\"type\":\"string\"},{\"type\":\"null\"}]}", "#/allOf/1: leaves no type"},
        {"{\"oneOf\":[{\"type\":\"string\"},{\"enum\":[\"a\"]}]}",
         "#/oneOf: a reply may fit both item 0 and item 1; write anyOf"},
        {"{\"oneOf\":[{\"enum\":[\"a\",\"b\"]},{\"enum\":[\"b\"]}]}",
         "#/oneOf: a reply may fit both"},
        {"{\"oneOf\":[{\"const\":{\"a\":1,\"b\":2}},{\"const\":{\"b\":2,\"a\":1}}]}",
         "#/oneOf: a reply may fit both"},
        {"{\"oneOf\":[" OBJ("\"a\":" STR) "," OBJ("\"a\":" STR ",\"b\":" STR) "]}",
         "#/oneOf: a reply may fit both"},
        {OBJ("\"n\":{\"oneOf\":[{\"type\":\"integer\"},{\"type\":\"number\"}]}"),
         "#/properties/n/oneOf: a reply may fit both"},
        {OBJ("\"n\":{\"oneOf\":[{\"type\":\"integer\",\"maximum\":5},{\"type\":\"integer\","
             "\"minimum\":5}]}"),
         "#/properties/n/oneOf: a reply may fit both"},
        {"{\"not\":{}}", "#/not: is not supported; write the forms that are allowed as anyOf"},
        {"{\"if\":{}}", "#/if: is not supported; write each case as an alternative of anyOf"},
        {"{\"dependentRequired\":{}}", "#/dependentRequired: is not supported"},
        {"{\"contains\":{}}", "#/contains: is not supported; put what must be there into prefix"},
        {"{\"unevaluatedProperties\":false}", "#/unevaluatedProperties: is not supported"},
        {"{\"type\":\"string\",\"nullable\":true}", "#/nullable: is not supported; write \"type\""},
        {"{\"$dynamicRef\":\"#x\"}", "#/$dynamicRef: is not supported; write $ref"},
        {"{\"type\":\"object\",\"patternProperties\":{\"a\":{}}}",
         "#/patternProperties: is not supported; list the names in properties"},
        {"{\"type\":\"object\",\"propertyNames\":{\"pattern\":\"a\"}}",
         "#/propertyNames: is not supported; list the names in properties"},
        {"{\"type\":\"string\",\"format\":\"phone\"}",
         "#/format: phone is not known; known are date-time, date, time, duration, email"},
        {"{\"type\":\"string\",\"format\":1}", "#/format: must be a string"},
        {OBJ("\"n\":{\"type\":\"integer\",\"format\":\"date\"}"),
         "#/properties/n/format: date is not known for a number"},
        {"{\"type\":\"string\",\"pattern\":\"(?=a)\"}",
         "#/pattern: byte 1: a look-ahead, look-behind or flag"},
        {"{\"type\":\"string\",\"pattern\":\"(?i)a\"}", "#/pattern: byte 1: a look-ahead"},
        {"{\"type\":\"string\",\"pattern\":\"(a\"}", "#/pattern: byte 1: a group without its )"},
        {"{\"type\":\"string\",\"pattern\":\"a)\"}", "#/pattern: byte 1: a ) without its group"},
        {"{\"type\":\"string\",\"pattern\":\"[a\"}", "#/pattern: byte 1: a class without its ]"},
        {"{\"type\":\"string\",\"pattern\":\"[]\"}", "#/pattern: byte 1: an empty class"},
        {"{\"type\":\"string\",\"pattern\":\"[b-a]\"}", "a range of characters that runs back"},
        {"{\"type\":\"string\",\"pattern\":\"[\\\\d-x]\"}", "a range ends in a class"},
        {"{\"type\":\"string\",\"pattern\":\"*a\"}", "#/pattern: byte 0: * has nothing to repeat"},
        {"{\"type\":\"string\",\"pattern\":\"a{2}{3}\"}", "a repetition of a repetition"},
        {"{\"type\":\"string\",\"pattern\":\"a{,3}\"}", "write {0,m}"},
        {"{\"type\":\"string\",\"pattern\":\"a{3,2}\"}", "a repetition that runs backwards"},
        {"{\"type\":\"string\",\"pattern\":\"a{2,1001}\"}", "a repetition of more than 1000"},
        {"{\"type\":\"string\",\"pattern\":\"(a{1,1000}){1,1000}\"}",
         "#/pattern: more than 8192 states; lower its repetitions"},
        {"{\"type\":\"string\",\"pattern\":\"(((){1000}){1000}){1000}\"}",
         "#/pattern: repetitions of repetitions; lower their counts"},
        {"{\"type\":\"string\",\"pattern\":\"(a|b)*a(a|b){14}$\",\"maxLength\":99}",
         "#/pattern: needs more than 4000 states"},
        {"{\"type\":\"string\",\"pattern\":\"\\\\bx\"}",
         "#/pattern: byte 1: \\b, the edge of a word"},
        {"{\"type\":\"string\",\"pattern\":\"(a)\\\\1\"}", "byte 4: \\1, a back reference"},
        {"{\"type\":\"string\",\"pattern\":\"\\\\p{L}\"}", "\\p, a Unicode property"},
        {"{\"type\":\"string\",\"pattern\":\"\\\\ud83d\"}", "\\u of a surrogate"},
        {"{\"type\":\"string\",\"pattern\":\"\\\\x1\"}", "2 hexadecimal digits must follow"},
        {"{\"type\":\"string\",\"pattern\":\"^+\"}", "byte 0: an anchor is repeated"},
        {"{\"type\":\"string\",\"pattern\":\"^abc$\",\"maxLength\":2}",
         "#/pattern: no string of 0 to 2 characters fits"},
        {"{\"type\":\"string\",\"pattern\":\"^a$\",\"minLength\":2}",
         "#/pattern: no string of 2 to"},
        {"{\"allOf\":[{\"type\":\"string\",\"pattern\":\"^a\"},{\"pattern\":\"^b\"}]}",
         "#/allOf/0/pattern: no string of 0 to 1000 characters fits"},
        {"{\"allOf\":[{\"enum\":[\"a\"]},{\"pattern\":\"a\"}]}",
         "#/allOf/1/pattern: cannot be joined with an enum or const"},
        {"{\"allOf\":[{\"enum\":[\"a\"]},{\"const\":\"b\"}]}",
         "#/allOf/1/const: has no value in common"},
        {"{\"type\":\"string\",\"maxLength\":3,\"x-pattern\":\"a\"}", "#/x-pattern: unknown"},
        {"{\"type\":\"string\",\"maxLength\":3,\"maxItems\":1}",
         "#/maxItems: does not apply to string"},
        {"{\"type\":\"integer\",\"minimum\":0,\"maximum\":1,\"x-decimals\":1}",
         "#/x-decimals: does not apply to integer"},
        {"{\"enum\":[\"a\"],\"maxLength\":3}", "#/maxLength: does not apply to enum"},
        {"{\"enum\":[\"a\"],\"const\":\"a\"}", "#: enum and const together"},
        {"{\"type\":\"integer\",\"enum\":[1.5,\"a\"]}", "#/enum: is not of type integer"},
        {"{\"enum\":[1,10]}", "#: a bare number has no end"},
        {"{\"enum\":[]}", "#/enum: must be an array of 1 to 256 values"},
        {"{\"enum\":\"a\"}", "#/enum: must be an array"},
        {"{\"enum\":[\"a\",\"b\",\"a\"]}", "#/enum: \"a\" is listed twice"},
        {"{\"enum\":[1,1.0]}", "#/enum: 1 is listed twice"},
        {"{\"const\":[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]}",
         "#/const: a value nested deeper than 16"},
        {"{\"type\":\"string\",\"const\":1}", "#/const: is not of type string"},
        {"{\"type\":\"object\",\"const\":1}", "#/const: is not of type object"},
        {"{\"type\":\"string\",\"maxLength\":4001}",
         "#/maxLength: must be an integer from 0 to 4000"},
        {"{\"type\":\"string\",\"maxLength\":-1}", "#/maxLength: must be an integer"},
        {"{\"type\":\"string\",\"maxLength\":2.5}", "#/maxLength: must be an integer"},
        {"{\"type\":\"string\",\"maxLength\":\"2\"}", "#/maxLength: must be an integer"},
        {"{\"type\":\"string\",\"minLength\":4,\"maxLength\":3}",
         "#: minLength 4 is above maxLength 3"},
        {"{\"type\":\"object\",\"minProperties\":1}",
         "#/minProperties: asks for 1, but 0 can be written; list more in properties"},
        {"{\"type\":\"object\",\"properties\":{\"a\":{}},\"required\":[\"a\"],\"maxProperties\":0}",
         "#/maxProperties: allows 0, but 1 are required"},
        {"{\"type\":\"object\",\"properties\":{\"a\":false},\"required\":[\"a\"]}",
         "#: requires a, which it does not allow"},
        {"{\"allOf\":[{\"type\":\"object\",\"properties\":{\"a\":{}},\"required\":[\"a\"]},{"
         "\"properties\":{},\"additionalProperties\":false}]}",
         "requires a, which it does not allow"},
        {"{\"type\":\"object\",\"properties\":{\"a\":1}}",
         "#/properties/a: a schema must be a JSON object"},
        {"{\"type\":\"object\",\"properties\":{\"a\":" STR ",\"a\":" STR "}}", "duplicate"},
        {"{\"type\":\"object\",\"properties\":{\"a\":" STR "},\"additionalProperties\":1}",
         "#/additionalProperties: must be true, false or a schema"},
        {"{\"type\":\"object\",\"properties\":[]}", "#/properties: must be an object of schemas"},
        {"{\"type\":\"object\",\"properties\":{\"a\":" STR "},\"required\":[\"a\",\"b\"]}",
         "item 2, is not a name in properties; declare it there"},
        {"{\"type\":\"object\",\"properties\":{\"a\":" STR "},\"required\":[\"a\",\"a\"]}",
         "#/required: names a twice"},
        {"{\"type\":\"object\",\"properties\":{\"a\":" STR "},\"required\":\"a\"}",
         "#/required: must be an array"},
        {OBJ("\"a/b~\":{\"type\":\"strin\"}"), "#/properties/a~1b~0: type must be one of"},
        {"{\"type\":\"array\",\"items\":false,\"minItems\":1}",
         "#: minItems 1 is above maxItems 0"},
        {"{\"type\":\"array\",\"items\":1}", "#/items: a schema must be a JSON object"},
        {"{\"type\":\"array\",\"prefixItems\":{}}", "#/prefixItems: must be an array of schemas"},
        {"{\"type\":\"array\",\"additionalItems\":{}}", "#/additionalItems: only goes with a list"},
        {"{\"type\":\"array\",\"prefixItems\":[{}],\"items\":[{}]}",
         "#/items: must be a schema beside prefixItems"},
        {"{\"type\":\"array\",\"prefixItems\":[{},{}],\"uniqueItems\":true}",
         "#/uniqueItems: is not supported with items of different schemas"},
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
        {"{\"type\":[\"integer\",\"null\"]}", "#: a bare number has no end"},
        {OBJ("\"n\":{\"type\":\"integer\",\"minimum\":0,\"exclusiveMinimum\":true}"),
         "#/properties/n/exclusiveMinimum: must be a number: write the bound here, without "
         "minimum"},
        {OBJ("\"n\":{\"type\":\"integer\",\"exclusiveMinimum\":1,\"exclusiveMaximum\":2}"),
         "#/properties/n: no number with 0 digits"},
        {OBJ("\"n\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":6,\"multipleOf\":7}"),
         "#/properties/n: no number with 0 digits after the point lies between its bounds and is "
         "a"},
        {OBJ("\"n\":{\"type\":\"integer\",\"multipleOf\":0}"),
         "#/properties/n/multipleOf: must be a number above 0"},
        {OBJ("\"n\":{\"type\":\"integer\",\"minimum\":2e15}"),
         "#/properties/n/minimum: leaves no number that can be written; they end at "
         "1000000000000000"},
        {OBJ("\"n\":{\"type\":\"integer\",\"minimum\":2,\"maximum\":1}"),
         "#/properties/n: no number with 0 digits"},
        {OBJ("\"n\":{\"type\":\"number\",\"minimum\":0.01,\"maximum\":0.09,\"x-decimals\":1}"),
         "#/properties/n: no number with 1 digits"},
        {OBJ("\"n\":{\"type\":\"number\",\"minimum\":1e-12,\"maximum\":2}"),
         "#/properties/n/minimum: must be a number with at most 9 digits after the point"},
        {OBJ("\"n\":{\"type\":\"number\",\"minimum\":\"0\",\"maximum\":2}"),
         "#/properties/n/minimum: must be a number with at most 9 digits after the point"},
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
    fails(compile(s.s, &g, &e), ERR_CONFIG, "#/enum: a value of 1003 bytes; the limit is 1000");
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
    fails(compile(s.s, &g, &e), ERR_CONFIG,
          "#/properties/o16/properties/p222: more than 4096 nodes");
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

static void alternatives_are_read_at_once_until_they_differ(void **state)
{
    (void)state;
    CHECK_LINES("{\"anyOf\":[" A_STR ",{\"type\":\"null\"}]}", {'=', "{\"a\": \"b\"}"},
                {'=', "null"}, {'x', "nul "}, {'x', "{\"a\": null"});
    CHECK_LINES("{\"type\":[\"string\",\"null\",\"array\"],\"maxLength\":1,\"maxItems\":0}",
                {'=', "\"a\""}, {'=', "null"}, {'=', "[]"}, {'x', "\"ab"}, {'x', "[n"}, {'x', "t"});
    /* the alternatives begin equally: only the whole of one is a reply */
    CHECK_LINES("{\"anyOf\":[" OBJ("\"a\":{\"type\":\"string\",\"maxLength\":1},\"b\":{\"type\":"
                                   "\"null\"}") "," OBJ("\"a\":{\"type\":\"string\",\"maxLength\":"
                                                        "3},\"c\":{\"type\":\"null\"}") "]}",
                {'=', "{\"a\": \"x\", \"b\": null}"}, {'=', "{\"a\": \"x\", \"c\": null}"},
                {'=', "{\"a\": \"xyz\", \"c\": null}"}, {'x', "{\"a\": \"xy\", \"b"},
                {'x', "{\"a\": \"xyza"}, {'x', "{\"a\": \"x\"}"});
    CHECK_LINES("{\"type\":\"array\",\"maxItems\":3,\"items\":{\"anyOf\":[{\"type\":\"integer\","
                "\"minimum\":"
                "3,\"maximum\":5},{\"enum\":[1,12,1.5,\"x\"]}]}}",
                {'=', "[1, 12, 1.5]"}, {'=', "[3, \"x\", 5]"}, {'x', "[2"}, {'x', "[1.4"},
                {'x', "[12."}, {'x', "[1.,"}, {'=', "[1]"}, {'x', "[31"});
    /* both alternatives allow 1, which is one reply */
    CHECK_LINES(
        "{\"type\":\"array\",\"items\":{\"anyOf\":[{\"enum\":[1,2]},{\"type\":\"integer\","
        "\"minimum\":"
        "1,\"maximum\":1}]},\"maxItems\":40}",
        {'=', "[1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, "
              "1, 1, 1, 1, 1, 1, 1, 1, 1, 2]"});
    CHECK_LINES("{\"oneOf\":[{\"const\":\"a\"},{\"const\":\"ab\",\"title\":\"t\"}]}",
                {'=', "\"a\""}, {'=', "\"ab\""}, {'x', "\"b"});
    struct err e;
    struct grammar *g;
    struct str s = STR_INIT;
    for (int n = GRAMMAR_WAYS; n <= GRAMMAR_WAYS + 1; n++) {
        str_clear(&s);
        str_adds(&s, "{\"anyOf\":[");
        for (int i = 0; i < n; i++)
            str_addf(&s, "%s{\"type\":\"string\",\"maxLength\":%d}", i ? "," : "", i);
        str_adds(&s, "]}");
        if (n == GRAMMAR_WAYS) {
            ok(compile(s.s, &g, &e));
            assert_int_equal(verdict(g, "\"0123456789012345678901234567890\"", 33), '=');
            assert_int_equal(verdict(g, "\"01234567890123456789012345678901\"", 34), 'x');
            grammar_free(g);
        } else {
            fails(compile(s.s, &g, &e), ERR_CONFIG,
                  "#/anyOf: up to 33 alternatives can begin alike; the limit is 32");
        }
    }
    str_free(&s);
}

static void optional_properties_may_be_left_out(void **state)
{
    (void)state;
    CHECK_LINES("{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"null\"},\"ab\":{\"type\":"
                "\"integer\","
                "\"minimum\":0,\"maximum\":99},\"b\":{\"type\":\"null\"}},\"required\":[\"ab\"]}",
                {'=', "{\"ab\": 1}"}, {'=', "{\"a\": null, \"ab\": 12, \"b\": null}"},
                {'=', "{\"ab\": 0, \"b\": null}"}, {'x', "{}"}, {'x', "{\"a\": null}"},
                {'x', "{\"b"}, {'x', "{\"ab\": 1, \"a"}, {'x', "{\"ab\": 1, }"}, {'x', "{, "},
                {'x', "{\"a\": null, \"b"}, {'x', "{\"ab\": 1,}"},
                {'x', "{\"ab\": 1, \"b\": null,"});
    CHECK_LINES(
        "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"null\"},\"b\":{\"type\":\"null\"},"
        "\"c\":{\"type\":\"null\"}},\"required\":[],\"minProperties\":1,\"maxProperties\":2}",
        {'=', "{\"a\": null}"}, {'=', "{\"c\": null}"}, {'=', "{\"a\": null, \"c\": null}"},
        {'x', "{}"}, {'x', "{\"a\": null, \"b\": null,"}, {'>', "{\"a\": null, \"b\": null"});
    CHECK_LINES(
        "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"null\"},\"b\":{\"type\":\"null\"},"
        "\"c\":{\"type\":\"null\"}},\"required\":[\"c\"],\"maxProperties\":2}",
        {'=', "{\"b\": null, \"c\": null}"}, {'x', "{\"a\": null, \"b"});
    CHECK_LINES("{\"type\":\"object\",\"properties\":{\"a\":false},\"additionalProperties\":true}",
                {'=', "{}"}, {'x', "{\"a"});
}

static void first_items_have_their_own_schemas(void **state)
{
    (void)state;
    CHECK_LINES("{\"type\":\"array\",\"prefixItems\":[{\"type\":\"boolean\"},{\"type\":\"null\"}],"
                "\"items\":{"
                "\"const\":7},\"maxItems\":4}",
                {'=', "[]"}, {'=', "[true]"}, {'=', "[true, null, 7, 7]"}, {'x', "[null"},
                {'x', "[true, 7"}, {'x', "[true, null, null"}, {'x', "[true, null, 7, 7,"});
    CHECK_LINES("{\"type\":\"array\",\"items\":[{\"type\":\"boolean\"}],\"additionalItems\":false}",
                {'=', "[]"}, {'=', "[true]"}, {'x', "[true,"});
}

static void patterns_and_formats_are_fitted_as_a_whole(void **state)
{
    (void)state;
    CHECK_LINES("{\"type\":\"string\",\"pattern\":\"^[\\\"\\\\\\\\\\\\n\\u0001é]{2}$\"}",
                {'=', "\"\\\"\\\\\""}, {'=', "\"\\n\\u0001\""}, {'=', "\"é\\n\""},
                {'x', "\"\\u000a"}, {'x', "\"\\t"}, {'x', "\"\\u00e9"}, {'x', "\"\xc3\xa8"},
                {'>', "\"\xc3"}, {'x', "\"\xc4"}, {'x', "\"a"}, {'x', "\"é\""}, {'x', "\"ééé"},
                {'x', "\"\x01"});
    CHECK_LINES("{\"type\":\"string\",\"pattern\":\"ab|^c|d$\",\"maxLength\":3}", {'=', "\"xab\""},
                {'=', "\"c\""}, {'=', "\"cxx\""}, {'=', "\"xxd\""}, {'x', "\"xc\""}, {'x', "\"xxx"},
                {'x', "\"dx\""}, {'=', "\"dab\""}, {'x', "\"xxa"}, {'x', "\"\""});
    CHECK_LINES("{\"type\":\"string\",\"pattern\":\"^(ab)*$\",\"minLength\":3,\"maxLength\":5}",
                {'=', "\"abab\""}, {'x', "\"ab\""}, {'x', "\"ababa"}, {'x', "\"aba\""});
    CHECK_LINES("{\"type\":\"string\",\"pattern\":\"^\\\\S\\\\D.[^\\\\W]$\"}", {'=', "\"漢ab_\""},
                {'x', "\" "}, {'x', "\"\xc2\xa0"}, {'x', "\"a1"}, {'x', "\"ab\\n"},
                {'x', "\"abcé"});
    CHECK_LINES("{\"type\":\"string\",\"pattern\":\"^\\ud83d\\ude00?$\"}", {'=', "\"\""},
                {'=', "\"\xf0\x9f\x98\x80\""}, {'x', "\"\xf0\x9f\x98\x81"}, {'x', "\"\\ud83d"});
    CHECK_LINES("{\"type\":\"string\",\"format\":\"date\"}", {'=', "\"2024-02-29\""},
                {'=', "\"2000-02-29\""}, {'x', "\"1900-02-29"}, {'x', "\"2023-02-29"},
                {'x', "\"2023-04-31"}, {'=', "\"2023-12-31\""}, {'x', "\"2023-13"}, {'x', "\"0000"},
                {'x', "\"2023-00"}, {'x', "\"2023-01-00"});
    CHECK_LINES("{\"type\":\"string\",\"format\":\"ipv6\"}", {'=', "\"::\""}, {'=', "\"::1\""},
                {'=', "\"1:2:3:4:5:6:7:8\""}, {'x', "\"1:2:3:4:5:6:7:8:"}, {'x', "\"1::2::"},
                {'=', "\"fe80::a:b\""}, {'x', "\"12345"}, {'x', "\":1"});
}

static void schemas_that_must_fit_together_are_joined(void **state)
{
    (void)state;
    CHECK_LINES("{\"allOf\":[{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\","
                "\"minimum\":3}},"
                "\"required\":[\"a\"]},{\"properties\":{\"a\":{\"maximum\":4},\"b\":{\"type\":"
                "\"null\"}}}]}",
                {'=', "{\"a\": 3}"}, {'=', "{\"a\": 4, \"b\": null}"}, {'x', "{\"a\": 5"},
                {'x', "{\"b"});
    CHECK_LINES("{\"$ref\":\"#/$defs/a~1b/%7E0%C3%A9\",\"maxLength\":2,\"$defs\":{\"a/"
                "b\":{\"~é\":{\"type\":"
                "\"string\",\"minLength\":2}}}}",
                {'=', "\"ab\""}, {'x', "\"abc"}, {'x', "\"a\""});
    CHECK_LINES(
        "{\"allOf\":[{\"enum\":[1,\"a\",null]},{\"enum\":[\"a\",2,null]},{\"type\":\"string\"}]}",
        {'=', "\"a\""}, {'x', "n"}, {'x', "1"});
    /* the same schema twice is no recursion */
    CHECK_LINES(
        "{\"allOf\":[{\"$ref\":\"#/$defs/p\"},{\"properties\":{\"q\":{\"$ref\":\"#/$defs/p\"}},"
        "\"required\":[\"q\"]}],\"$defs\":{\"p\":{\"type\":\"object\",\"properties\":{\"a\":{"
        "\"type\":"
        "\"null\"}},\"required\":[]}}}",
        {'=', "{\"a\": null, \"q\": {\"a\": null}}"}, {'=', "{\"q\": {}}"});
}

static void without_bounds_the_usual_ones_hold(void **state)
{
    (void)state;
    CHECK_LINES(
        OBJ("\"a\":{\"type\":\"integer\"},\"b\":{\"type\":\"number\",\"minimum\":0.125},\"c\":{"
            "\"type\":\"integer\",\"minimum\":2000000000}"),
        {'=', "{\"a\": -1000000000, \"b\": 0.125, \"c\": 1000000000000000}"},
        {'x', "{\"a\": 1000000001"}, {'x', "{\"a\": 1, \"b\": 0.1251"},
        {'x', "{\"a\": 1, \"b\": 1000000000.1"}, {'x', "{\"a\": 1, \"b\": 1, \"c\": 19,"});
    CHECK_LINES("{}", {'=', "\"a\""}, {'=', "{}"}, {'=', "[1, \"a\", null, true]"}, {'x', "1"},
                {'x', "[["}, {'x', "{\""}, {'=', "null"});
    CHECK_LINES("{\"type\":\"array\",\"items\":true}", {'=', "[[1], {}, 2.5]"}, {'x', "[[[1"});
    CHECK_LINES("\xef\xbb\xbf{\"type\":\"null\"}", {'=', "null"});
    struct err e;
    struct grammar *g;
    struct str s = STR_INIT;
    ok(compile("{\"type\":\"string\"}", &g, &e));
    str_addc(&s, '"');
    for (int i = 0; i < 1000; i++)
        str_addc(&s, 'a');
    assert_int_equal(verdict(g, s.s, s.len), '>');
    str_addc(&s, 'a');
    assert_int_equal(verdict(g, s.s, s.len), 'x');
    grammar_free(g);
    str_free(&s);
}

static void a_schema_that_doubles_is_refused_in_time(void **state)
{
    (void)state;
    struct err e;
    struct grammar *g;
    struct str s = STR_INIT;
    str_adds(&s, "{\"$ref\":\"#/$defs/d0\",\"$defs\":{");
    for (int i = 0; i < 30; i++)
        str_addf(
            &s,
            "\"d%d\":{\"type\":\"array\",\"prefixItems\":[{\"$ref\":\"#/$defs/d%d\"},{\"$ref\":"
            "\"#/$defs/d%d\"}]},",
            i, i + 1, i + 1);
    str_adds(&s, "\"d30\":{\"type\":\"null\"}}}");
    fails(compile(s.s, &g, &e), ERR_CONFIG, "more than 4096 nodes in one schema");
    str_clear(&s);
    str_adds(&s, "{\"$ref\":\"#/$defs/d0\",\"$defs\":{");
    for (int i = 0; i < 30; i++)
        str_addf(&s, "\"d%d\":{\"allOf\":[{\"$ref\":\"#/$defs/d%d\"},{\"$ref\":\"#/$defs/d%d\"}]},",
                 i, i + 1, i + 1);
    str_adds(&s, "\"d30\":{\"type\":\"null\"}}}");
    fails(compile(s.s, &g, &e), ERR_CONFIG, "more than 64 schemas must fit one value");
    str_clear(&s);
    for (int i = 0; i < 20; i++)
        str_adds(&s, "{\"anyOf\":[{\"type\":\"string\"},");
    str_adds(&s, "true");
    for (int i = 0; i < 20; i++)
        str_adds(&s, "]}");
    fails(compile(s.s, &g, &e), ERR_CONFIG, "more than 16 anyOf, oneOf and lists of types");
    str_clear(&s);
    str_adds(&s, "{\"type\":\"object\",\"properties\":{");
    for (int i = 0; i < 200; i++)
        str_addf(
            &s,
            "%s\"p%d\":{\"type\":\"string\",\"pattern\":\"(a|b)*a(a|b){9}$\",\"minLength\":999}",
            i ? "," : "", i);
    str_adds(&s, "}}");
    fails(compile(s.s, &g, &e), ERR_CONFIG, "the patterns of this schema");
    str_free(&s);
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
    assert_true(sizeof(struct grammar_way) <= 512); /* a state copies those in use */
    grammar_free(g);
}

/* Any object: free names, values of every type, five deep. */
static void any_object_is_read(void **state)
{
    (void)state;
    static const struct line lines[] = {
        {'=', "{}"},
        {'=', "{\"a\": 1}"},
        {'=', "{\"a\": -1.5, \"b\": true, \"c\": null, \"d\": \"x\"}"},
        {'=', "{\"a\": [], \"b\": {}}"},
        {'=', "{\"a\": [1, \"x\", [2, {\"b\": 3}]], \"c\": {\"d\": {\"e\": 4}, \"f\": 5}}"},
        {'=', "{\"a\": {\"b\": {\"c\": {\"d\": {\"e\": 1}}}}}"},
        {'>', "{\"a\": {\"b\": {\"c\": {\"d\": {\"e\": 1}}}}"},
        {'x', "{\"a\": {\"b\": {\"c\": {\"d\": {\"e\": {"},
        {'>', "{\"a\": 1"},
        {'>', "{\"a\": 1, "},
        {'x', "{\"a\": 1, }"},
        {'x', "{\"a\": 1]"},
        {'x', "{\"a\": [1}"},
        {'x', "{\"\""},
        {'x', "{a"},
        {'x', "{\"a\": }"},
        {'x', "{\"a\", "},
        {'x', "{1"},
        {'x', "[]"},
        {'x', "1"},
        {'x', "{}}"},
    };
    struct grammar *g;
    struct err e;
    ok(grammar_any_object(&g, &e));
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        char got = verdict(g, lines[i].text, strlen(lines[i].text));
        if (got != lines[i].want)
            fail_msg("'%s': got %c, want %c", lines[i].text, got, lines[i].want);
    }
    grammar_free(g);
    fails(compile("{\"type\":\"object\",\"x-pairs\":{}}", &g, &e), ERR_CONFIG,
          "#/x-pairs: unknown or unsupported keyword");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_object_is_read),
        cmocka_unit_test(a_bad_schema_is_refused_with_its_path),
        cmocka_unit_test(limits_of_size_and_depth_hold),
        cmocka_unit_test(objects_are_written_in_the_schemas_order),
        cmocka_unit_test(arrays_keep_their_counts),
        cmocka_unit_test(unique_items_are_never_repeated),
        cmocka_unit_test(strings_are_valid_text_of_bounded_length),
        cmocka_unit_test(numbers_end_where_their_parent_goes_on),
        cmocka_unit_test(alternatives_are_read_at_once_until_they_differ),
        cmocka_unit_test(optional_properties_may_be_left_out),
        cmocka_unit_test(first_items_have_their_own_schemas),
        cmocka_unit_test(patterns_and_formats_are_fitted_as_a_whole),
        cmocka_unit_test(schemas_that_must_fit_together_are_joined),
        cmocka_unit_test(without_bounds_the_usual_ones_hold),
        cmocka_unit_test(a_schema_that_doubles_is_refused_in_time),
        cmocka_unit_test(equal_schemas_have_equal_ids_and_meaning_changes_them),
        cmocka_unit_test(a_copied_state_goes_its_own_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
