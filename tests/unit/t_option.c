#include "fmt.h"
#include "option.h"
#include "test.h"

#include <math.h>

enum mood { CALM, LOUD };

/* A table with a row of each type. */
#define ROWS(X)                                                                                    \
    X(bool, on, BOOL, "on", "on", 0, NULL, 0, 0, "true", NULL, "", 0, "A switch.")                 \
    X(bool, no_way, NOT, "way", "no-way", 0, NULL, 0, 0, "true", NULL, "", 0, "Go the way.")       \
    X(int, count, INT, "count", "count", 'c', "N", 1, 9, "3", NULL, "things", 0, "A number.")      \
    X(int64_t, large, INT, "large", NULL, 0, NULL, 0, 9007199254740992, "0", NULL, "", 0,          \
      "Large.")                                                                                    \
    X(int, page, POWER, "page", "page", 0, "N", 16, 256, "32", NULL, "", 0, "A power.")            \
    X(struct option_auto, own, AUTO, "own", "own", 0, "N", 0, 8, "-1", NULL, "", 0, "A choice.")   \
    X(double, heat, FLOAT, "heat", "heat", 0, "T", 0.5, 2, "1", NULL, "", 0, "A float.")           \
    X(uint64_t, room, BYTES, "room", "room", 0, "SIZE", 0, 0, "0", NULL, "", 0, "A size.")         \
    X(double, speed, RATE, "speed", "speed", 0, "RATE", 1000, 9e18, "0", NULL, "", 0, "A rate.")   \
    X(const char *, path, STRING, "path", "path", 0, "FILE", 1, 8, "x", NULL, "", 0, "A text.")    \
    X(const char *, word, WORD, "word", "word", 0, "W", 0, 0, "a", "a|b", "", 0, "A word.")        \
    X(const char *, open, WORD, "open", "open", 0, "W", 0, 0, "a", "a|b", "", OPTION_OPEN,         \
      "Open.")                                                                                     \
    X(enum mood, mood, ENUM, "mood", "mood", 0, "M", 0, 0, "calm", "calm|loud", "", 0, "A mood.")  \
    X(enum fmt, form, FORMAT, "form", "form", 0, "F", 0, 0, "f16", "f16|q8_0", "", 0, "A format.") \
    X(struct option_map, least, MAP_OF_INT, "least", NULL, 0, NULL, 1, 100, "0", NULL, "", 0,      \
      "Numbers.")                                                                                  \
    X(struct option_map, share, MAP_OF_FLOAT, "share", NULL, 0, NULL, 0, 1, "-1", NULL, "", 0,     \
      "Shares.")

struct sample {
    ROWS(OPTION_MEMBER)
};

static const struct option_row rows[] = {
#define ROW(...) OPTION_ROW(struct sample, __VA_ARGS__)
    ROWS(ROW)};

static const struct option_set set = {
    .row = rows, .n = sizeof rows / sizeof rows[0], .size = sizeof(struct sample)};

static const struct option_row *row(const char *key)
{
    for (int i = 0; i < set.n; i++)
        if (!strcmp(rows[i].key, key))
            return &rows[i];
    fail_msg("no row %s", key);
    return NULL;
}

static int put(struct sample *s, const char *key, const char *name, const char *text, struct err *e)
{
    struct option_value v = {.item = &text, .n = 1, .name = name, .origin = "here:7"};
    return option_set(row(key), key, &v, s, NULL, e);
}

static void a_struct_of_defaults_holds(void **state)
{
    (void)state;
    struct sample s;
    struct err e;
    option_defaults(&set, &s);
    ok(option_check(&set, &s, &e));
    assert_true(s.on && !s.no_way && !s.own.set && s.mood == CALM && s.form == FMT_F16);
    assert_int_equal(s.count, 3);
    assert_int_equal(s.least.n, 0);
}

/* A value from C is refused with the rule of its row, by flag or by key. */
static void a_member_outside_its_row_is_refused(void **state)
{
    (void)state;
    struct sample good, s;
    struct err e;
    option_defaults(&set, &good);
#define refused(member, value, want)                                                               \
    do {                                                                                           \
        s = good;                                                                                  \
        s.member = value;                                                                          \
        fails(option_check(&set, &s, &e), ERR_USAGE, want);                                        \
    } while (0)
#define taken(member, value)                                                                       \
    do {                                                                                           \
        s = good;                                                                                  \
        s.member = value;                                                                          \
        ok(option_check(&set, &s, &e));                                                            \
    } while (0)
    refused(count, 0, "--count is '0'; it takes a whole number from 1 to 9 (things)");
    refused(count, 10, "--count is '10'");
    taken(count, 9);
    refused(large, -1, "large is '-1'; it takes a whole number from 0 to 9007199254740992");
    refused(page, 48, "--page is '48'; it takes a power of two from 16 to 256");
    refused(page, 8, "--page is '8'");
    refused(page, -16, "--page is '-16'");
    taken(page, 256);
    refused(own, ((struct option_auto){true, 9}), "--own is '9'");
    refused(own, ((struct option_auto){true, -1}), "--own is '-1'");
    taken(own, ((struct option_auto){false, 9}));
    refused(heat, 0.25, "--heat is '0.25'; it takes a number from 0.5 to 2");
    refused(heat, (double)NAN, "--heat is 'nan'");
    refused(speed, 25,
            "--speed is '25'; it takes a rate such as 25GB/s, at least 1000 bytes/s, or 0");
    refused(speed, -1, "--speed is '-1'");
    refused(speed, (double)NAN, "--speed is");
    taken(speed, 1000);
    refused(path, "", "--path is ''; it takes UTF-8 text of 1 to 8 bytes");
    refused(path, "123456789", "--path is '123456789'");
    refused(word, "c", "--word is 'c'; it takes one of a|b");
    refused(word, "", "--word is ''");
    taken(open, "c");
    refused(mood, (enum mood)2, "--mood is '2'; it takes one of calm|loud");
    refused(form, FMT_Q4_0, "; it takes one of f16|q8_0");
    taken(form, FMT_Q8_0);
}

static void zero_becomes_the_default_where_the_range_has_no_zero(void **state)
{
    (void)state;
    struct sample s = {0};
    struct err e;
    s.heat = 1; /* a number that is no whole one keeps its zero */
    s.form = FMT_F16;
    option_fill(&set, &s);
    ok(option_check(&set, &s, &e));
    assert_int_equal(s.count, 3);
    assert_int_equal(s.page, 32);
    assert_string_equal(s.path, "x");
    assert_string_equal(s.word, "a");
    assert_false(s.on);
    s.count = 7;
    option_fill(&set, &s);
    assert_int_equal(s.count, 7);
}

static void a_map_keeps_names_values_and_where_they_were_written(void **state)
{
    (void)state;
    struct sample s;
    struct err e;
    option_defaults(&set, &s);
    ok(put(&s, "least", "one", "5", &e));
    ok(put(&s, "least", "two", "100", &e));
    ok(put(&s, "least", "one", "6", &e)); /* the later value counts */
    assert_int_equal(s.least.n, 2);
    assert_string_equal(s.least.item[0].name, "one");
    assert_string_equal(s.least.item[0].origin, "here:7");
    assert_true(option_map_get(&s.least, "one", -5) == 6);
    assert_true(option_map_get(&s.least, "two", -5) == 100);
    assert_true(option_map_get(&s.least, "three", -5) == -5);
    ok(put(&s, "least", "one", "0", &e)); /* unset: as if it had not been written */
    assert_int_equal(s.least.n, 1);
    assert_true(option_map_get(&s.least, "one", -5) == -5);
    assert_true(option_map_get(&s.least, "two", -5) == 100);
    ok(put(&s, "least", "none", "0", &e));
    assert_int_equal(s.least.n, 1);
    fails(put(&s, "least", "two", "101", &e), ERR_CONFIG,
          "least is '101'; it takes a whole number from 1 to 100, or 0");
    fails(put(&s, "least", "two", "-1", &e), ERR_CONFIG, "least is '-1'");
    assert_true(option_map_get(&s.least, "two", -5) == 100);
    ok(put(&s, "share", "one", "0", &e)); /* 0 is a value here, -1 is not */
    assert_true(option_map_get(&s.share, "one", -5) == 0);
    ok(put(&s, "share", "one", "-1", &e));
    assert_int_equal(s.share.n, 0);
    fails(put(&s, "share", "one", "-0.5", &e), ERR_CONFIG, "a number from 0 to 1, or -1");
}

static void a_full_map_takes_no_other_name(void **state)
{
    (void)state;
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGH";
    static char names[OPTION_MAP_MAX + 1][2];
    struct sample s;
    struct err e;
    option_defaults(&set, &s);
    for (int i = 0; i <= OPTION_MAP_MAX; i++) {
        names[i][0] = letters[i];
        if (i < OPTION_MAP_MAX)
            ok(put(&s, "least", names[i], "5", &e));
    }
    fails(put(&s, "least", names[OPTION_MAP_MAX], "5", &e), ERR_CONFIG, "more than 32 names");
    ok(put(&s, "least", names[3], "6", &e));
    assert_int_equal(s.least.n, OPTION_MAP_MAX);
    assert_true(option_map_get(&s.least, names[3], 0) == 6);
}

static void help_says_meaning_choices_and_default(void **state)
{
    (void)state;
    static const char *const want[][2] = {{"count", "a number (default 3)"},
                                          {"way", "do not go the way"},
                                          {"on", "a switch"},
                                          {"own", "a choice (default -1)"},
                                          {"room", "a size (default 0)"},
                                          {"mood", "a mood; one of calm|loud (default calm)"}};
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        struct str s = STR_INIT;
        option_help(row(want[i][0]), &s);
        assert_string_equal(s.s, want[i][1]);
        str_free(&s);
    }
    assert_ptr_equal(option_of_flag(&set, "no-way"), row("way"));
    assert_null(option_of_flag(&set, "way"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_struct_of_defaults_holds),
        cmocka_unit_test(a_member_outside_its_row_is_refused),
        cmocka_unit_test(zero_becomes_the_default_where_the_range_has_no_zero),
        cmocka_unit_test(a_map_keeps_names_values_and_where_they_were_written),
        cmocka_unit_test(a_full_map_takes_no_other_name),
        cmocka_unit_test(help_says_meaning_choices_and_default),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
