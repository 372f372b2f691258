/* The place of a letter in a reply that comes in pieces of any size. */
#include <math.h>

#include "choice.h"
#include "test.h"

static const char after[] = "\"c\": \"";
static const struct request_choice choice = {.after = after, .n_after = sizeof after - 1, .n = 3};

/* Reads the text in pieces: bit i of cuts ends a piece after byte i. Returns the first letter. */
static int read_cut(const struct request_choice *c, const char *text, unsigned cuts)
{
    size_t n = strlen(text), from = 0;
    int matched = 0;
    for (size_t i = 0; i < n; i++)
        if (i + 1 == n || cuts >> i & 1) {
            int letter = choice_read(c, &matched, text + from, i + 1 - from);
            if (letter >= 0)
                return letter;
            from = i + 1;
        }
    return -1;
}

static void a_letter_is_found_however_the_text_is_cut(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int letter;
    } rows[] = {{"{\"c\": \"B\"}", 1},       {"\"c\": \"A", 0},      {"\"c\"\"c\": \"C\"", 2},
                {"\"c\": \"D\"", -1},        {"\\\"c\\\": \"A", -1}, {"\"c\": \"\"c\": \"B", 1},
                {"\"c\": \"x\"c\": \"A", 0}, {"A\"c\":\"B\"c\"", -1}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (unsigned cuts = 0; cuts < 1u << (strlen(rows[i].text) - 1); cuts++)
            if (read_cut(&choice, rows[i].text, cuts) != rows[i].letter)
                fail_msg("%s cut by %x", rows[i].text, cuts);
    const struct request_choice border = {.after = "aab", .n_after = 3, .n = 2};
    for (unsigned cuts = 0; cuts < 1u << 6; cuts++) {
        assert_int_equal(read_cut(&border, "aaabB", cuts), 1);
        assert_int_equal(read_cut(&border, "abaabA", cuts), 0);
        assert_int_equal(read_cut(&border, "abaaA", cuts), -1);
    }
}

static void log_probabilities_become_a_distribution(void **state)
{
    (void)state;
    double lp[3] = {-(double)INFINITY, -1000, -1000}, sum = -(double)INFINITY;
    choice_add(&lp[0], -1001);
    assert_true(lp[0] == -1001);
    choice_add(&lp[1], -1000);
    assert_true(fabs(lp[1] - (log(2.0) - 1000)) < 1e-9);
    assert_true(choice_norm(lp, 3));
    for (int i = 0; i < 3; i++)
        choice_add(&sum, lp[i]);
    assert_true(fabs(sum) < 1e-12);
    assert_true(fabs(lp[1] - lp[2] - log(2.0)) < 1e-9);
    double none[2] = {-(double)INFINITY, -(double)INFINITY}, nan[2] = {(double)NAN, -1};
    assert_false(choice_norm(none, 2));
    assert_false(choice_norm(nan, 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_letter_is_found_however_the_text_is_cut),
        cmocka_unit_test(log_probabilities_become_a_distribution),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
