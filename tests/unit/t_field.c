/* Rows of a request's body: every type, its limits, its message, its schema. */
#include <math.h>

#include "field.h"
#include "jdoc.h"
#include "route.h"
#include "test.h"

#define ROWS(X)                                                                                    \
    X(bool, flag, BOOL, "flag", 0, 0, 1, NULL, 0, "A flag.")                                       \
    X(int64_t, count, INT, "count", -3, 100, 7, NULL, 0, "A count.")                               \
    X(int64_t, seed, INT, "seed", 0, 9007199254740991.0, NAN, NULL, 0, "A seed.")                  \
    X(int64_t, wide, INT, "wide", -9223372036854775808.0, 9223372036854775807.0, 0, NULL, 0,       \
      "Any whole number.")                                                                         \
    X(double, heat, NUMBER, "heat", 0, 2, 1, NULL, 0, "A number.")                                 \
    X(double, bare, NUMBER, "bare", -1, 1, NAN, NULL, 0, "A number without a default.")            \
    X(const char *, name, STRING, "name", 1, 8, 0, NULL, 0, "A text.")                             \
    X(const char *, must, STRING, "must", 0, 100, 0, NULL, FIELD_NEEDED, "A text.")                \
    X(const char *, word, WORD, "word", 0, 0, 0, "auto|none", 0, "A word.")                        \
    X(json_t *, object, OBJECT, "object", 0, 0, 0, NULL, 0, "An object.")                          \
    X(json_t *, list, ARRAY, "list", 1, 3, 0, NULL, 0, "A list.")                                  \
    X(json_t *, any, ANY, "any", 0, 0, 0, NULL, 0, "Anything.")                                    \
    X(json_t *, idle, IDLE, "idle", 0, 0, 0, NULL, 0, "Of no effect.")                             \
    X(json_t *, unmet, UNMET, "unmet", 0, 0, 0, "1|[]", 0, "it is not there.")

struct args {
#define X(...) FIELD_MEMBER(__VA_ARGS__)
    ROWS(X)
#undef X
};
static const struct field_row rows[] = {
#define X(...) FIELD_ROW(struct args, __VA_ARGS__)
    ROWS(X)
#undef X
};
static const struct field_set set = {"Args", rows, sizeof rows / sizeof *rows, sizeof(struct args)};

/* Parses and reads; *doc owns the texts. */
static int take(const char *text, struct args *a, json_t **doc, const char **member, struct err *e)
{
    memset(a, 0xa5, sizeof *a);
    *member = NULL;
    *doc = NULL;
    int rc = field_parse(text, strlen(text), doc, e);
    return rc < 0 ? rc : field_read(&set, *doc, a, member, e);
}

static void refused(const char *text, const char *member, const char *says)
{
    struct args a;
    struct err e;
    json_t *doc;
    const char *at;
    fails(take(text, &a, &doc, &at, &e), ERR_DATA, says);
    if (member ? !at || strcmp(at, member) != 0 : at != NULL)
        fail_msg("%s: member %s, expected %s", text, at ? at : "none", member ? member : "none");
    json_decref(doc);
}

static void defaults(void **state)
{
    (void)state;
    static const char *const same[] = {
        "{\"must\": \"\"}",
        "{\"must\": \"\", \"flag\": null, \"count\": null, \"seed\": null, \"heat\": null, "
        "\"name\": "
        "null, \"word\": null, \"object\": null, \"list\": null, \"any\": null, \"idle\": null, "
        "\"unmet\": null, \"wide\": null, \"bare\": null}"};
    for (int i = 0; i < 2; i++) {
        struct args a;
        struct err e;
        json_t *doc;
        const char *at;
        ok(take(same[i], &a, &doc, &at, &e));
        assert_null(at);
        assert_true(a.flag);
        assert_int_equal(a.count, 7);
        assert_true(a.seed == FIELD_UNSET);
        assert_int_equal(a.wide, 0);
        assert_true(a.heat == 1.0);
        assert_true(isnan(a.bare));
        assert_null(a.name);
        assert_string_equal(a.must, "");
        assert_null(a.word);
        assert_null(a.object);
        assert_null(a.list);
        assert_null(a.any);
        assert_null(a.idle);
        assert_null(a.unmet);
        json_decref(doc);
    }
}

static void values(void **state)
{
    (void)state;
    struct args a;
    struct err e;
    json_t *doc;
    const char *at;
    ok(take(
        "{\"flag\": false, \"count\": 100, \"seed\": 9007199254740991, \"heat\": 2, \"bare\": "
        "-1e0, \"name\": \"\xc3\xa4\", \"must\": \"x\", \"word\": \"none\", \"object\": {\"a\": "
        "1}, \"list\": [1, 2, 3], \"any\": \"y\\u0000z\", \"idle\": [], \"unmet\": 1, \"wide\": "
        "9223372036854775807}",
        &a, &doc, &at, &e));
    assert_false(a.flag);
    assert_int_equal(a.count, 100);
    assert_true(a.seed == 9007199254740991);
    assert_true(a.wide == INT64_MAX);
    assert_true(a.heat == 2.0);
    assert_true(a.bare == -1.0);
    assert_string_equal(a.name, "\xc3\xa4");
    assert_string_equal(a.word, "none");
    assert_int_equal(json_object_size(a.object), 1);
    assert_int_equal(json_array_size(a.list), 3);
    assert_int_equal(json_string_length(a.any), 3);
    json_decref(doc);
    ok(take("{\"must\": \"\", \"count\": -3.0, \"heat\": -0.0, \"unmet\": [], \"wide\": -1e18}", &a,
            &doc, &at, &e));
    assert_int_equal(a.count, -3);
    assert_true(a.heat == 0);
    assert_true(a.wide == -1000000000000000000);
    json_decref(doc);
    ok(take("{\"must\": \"\", \"wide\": -9223372036854775808}", &a, &doc, &at, &e));
    assert_true(a.wide == INT64_MIN);
    json_decref(doc);
}

static void refusals(void **state)
{
    (void)state;
    refused("{}", "must", "'must' is missing");
    refused("{\"must\": null}", "must", "'must' is missing");
    refused("{\"must\": 1}", "must", "'must' is an integer, expected a string");
    refused("{\"must\": \"a\\u0000\"}", "must", "'must' contains a NUL");
    refused("{\"must\": \"\", \"flag\": 1}", "flag",
            "'flag' is an integer, expected true or false");
    refused("{\"must\": \"\", \"count\": 101}", "count", "'count' is 101, expected -3 to 100");
    refused("{\"must\": \"\", \"count\": -4}", "count", "'count' is -4");
    refused("{\"must\": \"\", \"count\": 1.5}", "count", "'count' is 1.5, expected a whole number");
    refused("{\"must\": \"\", \"count\": \"1\"}", "count", "'count' is a string");
    refused("{\"must\": \"\", \"count\": true}", "count", "'count' is a boolean");
    refused("{\"must\": \"\", \"seed\": 9007199254740992}", "seed", "'seed' is 9007199254740992");
    refused("{\"must\": \"\", \"wide\": 9223372036854775808.0}", "wide", "'wide' is");
    refused("{\"must\": \"\", \"wide\": 1e300}", "wide", "'wide' is");
    refused("{\"must\": \"\", \"heat\": 2.0000001}", "heat", "expected 0 to 2");
    refused("{\"must\": \"\", \"heat\": []}", "heat", "'heat' is an array");
    refused("{\"must\": \"\", \"name\": \"\"}", "name", "'name' has 0 bytes, expected 1 to 8");
    refused("{\"must\": \"\", \"name\": \"123456789\"}", "name", "'name' has 9 bytes");
    refused("{\"must\": \"\", \"word\": \"aut\"}", "word",
            "'word' is 'aut', expected one of auto|none");
    refused("{\"must\": \"\", \"word\": \"auto|none\"}", "word", "expected one of");
    refused("{\"must\": \"\", \"word\": \"\"}", "word", "expected one of");
    refused("{\"must\": \"\", \"word\": 3}", "word", "'word' is an integer");
    refused("{\"must\": \"\", \"object\": []}", "object",
            "'object' is an array, expected an object");
    refused("{\"must\": \"\", \"list\": []}", "list", "'list' has 0 items, expected 1 to 3");
    refused("{\"must\": \"\", \"list\": [1, 2, 3, 4]}", "list", "'list' has 4 items");
    refused("{\"must\": \"\", \"list\": {}}", "list", "'list' is an object, expected a list");
    refused("{\"must\": \"\", \"unmet\": 2}", "unmet",
            "'unmet' is not supported: it is not there.");
    refused(
        "{\"must\": \"\", \"unmet\": {\"a\": \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}"
        "}",
        "unmet", "is not supported");
    refused("{\"must\": \"\", \"cuont\": 1}", "count",
            "unknown member 'cuont'; did you mean 'count'?");
    refused("{\"must\": \"\", \"nothing like it\": 1}", NULL, "unknown member 'nothing like it'");
    refused("[]", NULL, "the body is an array, expected an object");
    refused("{\"a\": 1, \"a\": 1}", NULL, "duplicate");
    refused("{\"must\": \"\\ud800\"}", NULL, "bad JSON");
    refused("{\"must\": \"\"} x", NULL, "bad JSON");
}

static void depth_and_parts(void **state)
{
    (void)state;
    struct str s = STR_INIT;
    struct err e;
    json_t *doc = NULL;
    for (int deep = FIELD_DEPTH; deep <= FIELD_DEPTH + 1; deep++) {
        str_clear(&s);
        str_adds(&s, "{\"a\": ");
        for (int i = 1; i < deep; i++)
            str_addc(&s, '[');
        for (int i = 1; i < deep; i++)
            str_addc(&s, ']');
        str_addc(&s, '}');
        if (deep == FIELD_DEPTH) {
            ok(field_parse(s.s, s.len, &doc, &e));
            json_decref(doc);
        } else {
            fails(field_parse(s.s, s.len, &doc, &e), ERR_DATA, "nested 65 deep, the limit is 64");
        }
    }
    for (int n = FIELD_PARTS; n <= FIELD_PARTS + 1; n++) {
        str_clear(&s);
        str_adds(&s, "{\"a\": [\"[[[\\\"[\"");
        for (int i = 2; i < n; i++)
            str_adds(&s, ",[]");
        str_adds(&s, "]}");
        if (n == FIELD_PARTS) {
            ok(field_parse(s.s, s.len, &doc, &e));
            json_decref(doc);
        } else {
            fails(field_parse(s.s, s.len, &doc, &e), ERR_DATA,
                  "100001 lists and objects, the limit is 100000");
        }
    }
    str_free(&s);
}

/* The schema is JSON, and says what the rows say. */
static void schema(void **state)
{
    (void)state;
    struct str s = STR_INIT;
    struct err e;
    json_t *doc = NULL;
    field_schema(&set, &s);
    ok(jdoc_load(s.s, s.len, &doc, &e));
    json_t *p = json_object_get(doc, "properties");
    assert_int_equal(json_object_size(p), set.n);
    assert_true(json_is_false(json_object_get(doc, "additionalProperties")));
    assert_string_equal(json_string_value(json_array_get(json_object_get(doc, "required"), 0)),
                        "must");
    json_t *count = json_object_get(p, "count");
    assert_int_equal(json_number_value(json_object_get(count, "minimum")), -3);
    assert_int_equal(json_number_value(json_object_get(count, "maximum")), 100);
    assert_int_equal(json_number_value(json_object_get(count, "default")), 7);
    assert_null(json_object_get(json_object_get(p, "seed"), "default"));
    assert_int_equal(json_array_size(json_object_get(json_object_get(p, "word"), "enum")), 3);
    json_decref(doc);
    str_free(&s);
}

/* Every row of every route holds together. */
static void rows_of_routes(void **state)
{
    (void)state;
    int n = 0;
    for (int r = 0; r < route_count; r++) {
        const struct field_set *f = route_table[r].fields;
        for (int i = 0; f && i < f->n; i++, n++) {
            const struct field_row *w = &f->row[i];
            if (!*w->doc || (w->type != FIELD_UNMET && w->doc[strlen(w->doc) - 1] != '.'))
                fail_msg("%s.%s: the doc is no sentence", f->name, w->name);
            if ((w->type == FIELD_WORD || w->type == FIELD_UNMET) && !w->choices)
                fail_msg("%s.%s: no choices", f->name, w->name);
            if ((w->type == FIELD_INT || w->type == FIELD_NUMBER) &&
                (!(w->lo <= w->hi) || w->otherwise < w->lo || w->otherwise > w->hi))
                fail_msg("%s.%s: the default is out of its range", f->name, w->name);
            if (w->type == FIELD_STRING && !(w->hi > 0))
                fail_msg("%s.%s: no limit of bytes", f->name, w->name);
            for (int k = 0; k < i; k++)
                if (!strcmp(f->row[k].name, w->name))
                    fail_msg("%s.%s stands twice", f->name, w->name);
        }
    }
    assert_true(n > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults), cmocka_unit_test(values),
        cmocka_unit_test(refusals), cmocka_unit_test(depth_and_parts),
        cmocka_unit_test(schema),   cmocka_unit_test(rows_of_routes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
