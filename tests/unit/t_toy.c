/* toy: recognises questions of the toy world, and no questions of real examinations. */
#include "toy.h"

#include "test.h"

/* The largest or the smallest percentage of unknown words in the questions of a file. with_options:
 * with the text of the options, otherwise the question alone. */
static double extreme(const char *path, bool most, bool with_options, size_t *n)
{
    struct medqa m = {.n = 0};
    struct err e;
    double found = most ? 0 : 100;
    ok(medqa_read(path, &m, &e));
    assert_int_equal(m.n_rejected, 0);
    for (size_t i = 0; i < m.n; i++) {
        struct medqa_question q = m.question[i];
        if (!with_options)
            q.n_options = 0;
        struct toy_words w = toy_count(&q);
        double share = 100.0 * w.unknown / w.all;
        found = most == (share > found) ? share : found;
        assert_true(toy_foreign(&w) == !most);
    }
    *n = m.n;
    medqa_free(&m);
    return found;
}

static void its_own_questions_are_known(void **state)
{
    (void)state;
    size_t n;
    double most = extreme(TEST_SOURCE "/configs/demo/questions.jsonl", true, true, &n);
    assert_int_equal(n, 200);
    assert_true(most > 2 && most < 3); /* 2.4 */
    most = extreme(TEST_SOURCE "/configs/demo/questions.jsonl", true, false, &n);
    assert_true(most > 3 && most < 4); /* 3.3 */
}

/* The largest percentages of 12,000 more questions, of the splits with reserved wordings, are 5.6
 * with options and 7.4 without: configs/demo/ACCURACY.md. This is the question with 7.4: */
static void the_strangest_of_its_own_is_known(void **state)
{
    (void)state;
    struct medqa m = {.n = 0};
    struct err e;
    ok(medqa_single("A 1-week-old boy is brought to the hospital with irritable and fussy behavior "
                    "and sudden green vomiting. "
                    "Which process is the most likely cause of these findings?",
                    NULL, &m, &e));
    struct toy_words w = toy_count(m.question);
    assert_false(toy_foreign(&w));
    medqa_free(&m);
}

static void real_questions_are_not_of_its_world(void **state)
{
    (void)state;
    size_t n;
    char path[1024];
    double least = extreme(TEST_SOURCE "/configs/demo/handwritten.jsonl", false, true, &n);
    assert_int_equal(n, 24);
    assert_true(least > 13 && least < 14); /* 13.3 */
    need_data("medqa/test_4opt.jsonl", path);
    least = extreme(path, false, true, &n);
    assert_int_equal(n, 1273);
    assert_true(least > 13.5 && least < 14); /* 13.8 */
    least = extreme(path, false, false, &n);
    assert_true(least > 9 && least < 10); /* 9.4 */
}

static void one_case_is_said_with_its_figures(void **state)
{
    (void)state;
    struct medqa m = {.n = 0};
    struct err e;
    char said[TOY_TEXT];
    static const char toy[] = "mas toy clinic", other[] = "Meta Llama 3 8B";
    ok(medqa_single("65yo man with chest pain radiating to left arm, diaphoresis",
                    "A. GERD||B. Acute MI||C. PE||D. MSK pain", &m, &e));
    assert_true(toy_says(toy, m.question, said));
    assert_string_equal(said, "the toy model does not know 7 of this case's 16 words (44 %, limit "
                              "8 %): the answer is noise");
    assert_true(toy_says_all(toy, m.question, 1, said));
    assert_non_null(strstr(said, "1 of the 1 questions"));
    assert_false(toy_says(other, m.question, said));
    assert_string_equal(said, "");
    assert_false(toy_says_all(other, m.question, 1, said));
    medqa_free(&m);
    static const char *const empty[] = {"?", "1 2 3", "a b c"};
    for (size_t i = 0; i < 3; i++) {
        ok(medqa_single(empty[i], NULL, &m, &e));
        assert_true(toy_says(toy, m.question, said));
        assert_string_equal(
            said, "this case holds no word that the toy model could know: the answer is noise");
        medqa_free(&m);
    }
}

/* Every word of the list is found, the first and the last too; bytes between words are not. */
static void the_list_is_searched_rightly(void **state)
{
    (void)state;
    size_t n;
    char *text = test_read(TEST_SOURCE "/configs/demo/words.txt", &n), *save = NULL, last[64] = "";
    int words = 0;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        if (*line == '#')
            continue;
        char longer[80];
        struct medqa_question q = {.text = line};
        struct toy_words w = toy_count(&q);
        assert_int_equal(w.all, 1);
        assert_int_equal(w.unknown, 0);
        assert_true(strcmp(last, line) < 0);
        snprintf(last, sizeof last, "%s", line);
        snprintf(longer, sizeof longer, "%szq", line);
        q.text = longer;
        w = toy_count(&q);
        assert_int_equal(w.unknown, 1);
        words++;
    }
    assert_true(words > 1500);
    free(text);
    struct medqa_question q = {
        .text = "Fi\xc3\xa8vre  \xe7\x97\x9b AND the-man python made this file # zz"};
    struct toy_words w = toy_count(&q);
    assert_int_equal(w.all, 10);
    assert_int_equal(w.unknown, 6); /* "this" is in the list, the head of the file is not */
    char big[200];
    memset(big, 'a', sizeof big);
    big[199] = 0;
    q.text = big;
    w = toy_count(&q);
    assert_int_equal(w.all, 1);
    assert_int_equal(w.unknown, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(its_own_questions_are_known),
        cmocka_unit_test(the_strangest_of_its_own_is_known),
        cmocka_unit_test(real_questions_are_not_of_its_world),
        cmocka_unit_test(one_case_is_said_with_its_figures),
        cmocka_unit_test(the_list_is_searched_rightly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
