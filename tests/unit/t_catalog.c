/* The catalogue: the built-in specialties, and the errors for a faulty file. */
#include "catalog.h"
#include "embed.h"
#include "test.h"

static void built_in_catalogue_has_28_specialties(void **state)
{
    (void)state;
    struct err e;
    struct catalog c = {.n = 0};
    ok(catalog_read("", &c, &e));
    assert_int_equal(c.n, 28);
    assert_int_equal(c.n_generalist, 3);
    assert_string_equal(c.entry[0].id, "emergency_medicine");
    assert_string_equal(c.entry[27].id, "thoracic_surgery");
    int kinds[3] = {0};
    for (int i = 0; i < c.n; i++) {
        kinds[c.entry[i].kind]++;
        assert_int_equal(catalog_find(&c, c.entry[i].id), i);
        assert_true(strlen(c.entry[i].scope) > 20);
    }
    assert_int_equal(kinds[CATALOG_MEDICAL], 20);
    assert_int_equal(kinds[CATALOG_SURGICAL], 5);
    assert_int_equal(catalog_find(&c, "radiology"), -1);
    assert_int_equal(strlen(c.hash), 64);
    catalog_free(&c);
}

static int parse(const char *text, struct catalog *c, struct err *e)
{
    return catalog_parse(text, strlen(text), "x.yaml", c, e);
}

#define ONE "specialties:\n  - {id: a, name: A, kind: generalist, scope: all}\n"

static void faults_name_the_file_and_what_is_wrong(void **state)
{
    (void)state;
    struct err e;
    struct catalog c = {.n = 0};
    static const struct {
        const char *text, *message;
    } bad[] = {
        {"", "x.yaml: holds no document"},
        {"specialties: []\n", "0 items, expected 1 to 64"},
        {"specialties: text\n", "'specialties' is a string"},
        {"other: 1\n", "unknown key 'other'"},
        {"- a\n", "expected an object"},
        {ONE "extra: 1\n", "unknown key 'extra'"},
        {ONE "  - {id: a, name: A, kind: medical, scope: x}\n", "id 'a' appears twice"},
        {ONE "  - {id: B, name: A, kind: medical, scope: x}\n", "id 'B' must be"},
        {ONE "  - {id: b, name: A, kind: odd, scope: x}\n", "kind is 'odd'"},
        {ONE "  - {id: b, name: A, kind: medical}\n", "key 'scope' is missing"},
        {ONE "  - {id: b, name: A, kind: medical, scope: x, more: y}\n", "unknown key 'more'"},
        {ONE "  - {id: b, name: \"A\\nB\", kind: medical, scope: x}\n", "must be one line"},
        {ONE "  - {id: b, name: , kind: medical, scope: x}\n", "x.yaml:3: a key or list item"},
        {"specialties:\n  - {id: a, name: A, kind: medical, scope: x}\n",
         "no entry of kind generalist"},
        {"specialties:\n  - &x {id: a}\n", "x.yaml:2: anchors"},
        {"a: 1\na: 2\n", "x.yaml:2: duplicate key 'a'"},
        {"a: !!str 1\n", "tag"},
        {"a: 1\n---\nb: 1\n", "second YAML document"},
        {"[[[[[[[[[1]]]]]]]]]", "nested more than 8 deep"},
        {"? [a]\n: b\n", "a key must be plain text"},
        {"a: \"\\0\"\n", "NUL byte"},
        {"a: [1\n", "not valid YAML"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        fails(parse(bad[i].text, &c, &e), ERR_CONFIG, bad[i].message);
    fails(catalog_read("/nowhere/specialties.yaml", &c, &e), ERR_NOINPUT, "/nowhere");
}

static void a_misspelt_id_is_answered_with_the_nearest(void **state)
{
    (void)state;
    struct err e;
    struct catalog c = {.n = 0};
    int at = -7;
    ok(catalog_read("", &c, &e));
    fails(catalog_need(&c, "cardiolgy", &at, &e), ERR_CONFIG, "did you mean 'cardiology'");
    fails(catalog_need(&c, "xxxxxxxxxxxxxxxxxxxxxxxxxxx", &at, &e), ERR_CONFIG, "catalogue of 28");
    assert_int_equal(at, -7);
    catalog_free(&c);
}

static void hash_changes_with_every_field(void **state)
{
    (void)state;
    struct err e;
    static const char *const texts[] = {
        ONE,
        "specialties:\n  - {id: b, name: A, kind: generalist, scope: all}\n",
        "specialties:\n  - {id: a, name: B, kind: generalist, scope: all}\n",
        "specialties:\n  - {id: a, name: A, kind: generalist, scope: some}\n",
    };
    char hash[4][65];
    for (int i = 0; i < 4; i++) {
        struct catalog c = {.n = 0};
        ok(parse(texts[i], &c, &e));
        memcpy(hash[i], c.hash, 65);
        catalog_free(&c);
        for (int j = 0; j < i; j++)
            assert_string_not_equal(hash[i], hash[j]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(built_in_catalogue_has_28_specialties),
        cmocka_unit_test(faults_name_the_file_and_what_is_wrong),
        cmocka_unit_test(a_misspelt_id_is_answered_with_the_nearest),
        cmocka_unit_test(hash_changes_with_every_field),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
