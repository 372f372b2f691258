/* The tokens of another run as budgets of questions. */
#include <math.h>

#include "budget.h"
#include "script.h"
#include "test.h"

static struct result row(const char *id, int64_t index, int64_t think, int64_t new_tokens)
{
    struct result r = {.index = index, .think_tokens = think, .new_tokens = new_tokens};
    snprintf(r.id, sizeof r.id, "%s", id);
    return r;
}

static void budgets_are_found_by_id(void **state)
{
    (void)state;
    struct result r[] = {row("bb", 0, 10, 90), row("aa", 1, 0, 50), row("cc", 2, 0, 0)};
    const struct results rs = {.r = r, .n = 3};
    struct budget b = {.n = 0}, same = {.n = 0};
    struct err e;
    ok(budget_take(&rs, &b, &e));
    assert_int_equal(budget_of(&b, "aa"), 50);
    assert_int_equal(budget_of(&b, "bb"), 100);
    assert_int_equal(budget_of(&b, "cc"), 0);
    assert_int_equal(budget_of(&b, "ab"), -1);
    /* the order of the results is not part of the hash; a token is */
    struct result other[] = {r[2], r[0], r[1]};
    const struct results turned = {.r = other, .n = 3};
    ok(budget_take(&turned, &same, &e));
    assert_string_equal(same.sha256, b.sha256);
    budget_free(&same);
    other[0].new_tokens = 1;
    ok(budget_take(&turned, &same, &e));
    assert_string_not_equal(same.sha256, b.sha256);
    budget_free(&same);
    budget_free(&b);
}

static void a_run_without_tokens_or_questions_is_refused(void **state)
{
    (void)state;
    struct result r[] = {row("aa", 0, 0, 0)};
    const struct results none = {.n = 0}, silent = {.r = r, .n = 1};
    struct budget b = {.n = 0};
    struct err e;
    assert_int_equal(budget_take(&none, &b, &e), ERR_DATA);
    assert_non_null(strstr(e.msg, "no finished question"));
    assert_int_equal(budget_take(&silent, &b, &e), ERR_DATA);
    assert_non_null(strstr(e.msg, "generated no token"));
    assert_null(b.row);
}

static void means_are_over_the_questions_of_both(void **state)
{
    (void)state;
    struct result given[] = {row("aa", 0, 0, 100), row("bb", 1, 0, 300), row("cc", 2, 0, 9999)};
    struct result spent[] = {row("aa", 0, 0, 104), row("bb", 1, 8, 296), row("cc", 2, 0, 1),
                             row("dd", 1, 0, 777)};
    const struct results from = {.r = given, .n = 3}, to = {.r = spent, .n = 4};
    struct budget b = {.n = 0};
    struct err e;
    ok(budget_take(&from, &b, &e));
    struct budget_tally t = budget_tally(&b, &to, 2); /* cc is not asked for */
    assert_int_equal(t.n, 2);
    assert_float_equal(t.given, 200, 1e-9);
    assert_float_equal(t.spent, 204, 1e-9);
    assert_true(t.near);
    spent[0].new_tokens++;
    t = budget_tally(&b, &to, 2);
    assert_false(t.near);
    t = budget_tally(&b, &(struct results){.n = 0}, 2);
    assert_true(isnan(t.spent) && !t.near);
    budget_free(&b);
}

/* Runs n questions over the scripted llm with this budget; the mean of the calls. */
static double calls(const char *strategy, int64_t tokens, int n, int *most_tokens)
{
    char set[64], dir[256];
    const char *sets[] = {set, "temperature=0.5", NULL};
    struct bench b;
    struct medqa m = {.n = 0};
    struct trace *t = NULL;
    struct err e = {.code = 0};
    struct budget budget = {.n = 0};
    double sum = 0;
    snprintf(set, sizeof set, "strategy=%s", strategy);
    bench_open(&b, 3, sets);
    b.script = (struct script){.mood = SCRIPT_GOOD, .only_index = -1};
    bench_questions(&m, n);
    struct result *r = mem_zalloc((size_t)n, sizeof *r);
    for (int i = 0; i < n; i++)
        r[i] = row(m.question[i].id, i, 0, tokens);
    ok(budget_take(&(struct results){.r = r, .n = (size_t)n}, &budget, &e));
    ok(budget_covers(&budget, m.question, m.n, "x", &e));
    ok(strategy_match(&b.env, &budget, &e));
    const struct trace_options to = {
        .dir = bench_mkdir(dir), .identity = "{}", .about = "{}", .data = &m};
    ok(trace_open(&to, &t, &e));
    const struct run_options o = {
        .env = &b.env, .question = m.question, .n = m.n, .trace = t, .clock = bench_clock};
    ok(run_questions(&o, NULL, &e));
    for (size_t i = 0; i < trace_results(t)->n; i++)
        sum += trace_results(t)->r[i].calls;
    const struct budget_tally tally = budget_tally(&budget, trace_results(t), m.n);
    *most_tokens = (int)(tally.spent / tally.given * 100);
    trace_close(t);
    test_rmdir(dir);
    mem_free(r);
    budget_free(&budget);
    medqa_free(&m);
    bench_close(&b);
    return sum / n;
}

static void sc_draws_until_the_budget_is_spent(void **state)
{
    (void)state;
    int percent;
    assert_float_equal(calls("sc", 1, 20, &percent), 1, 1e-9);
    const double some = calls("sc", 400, 40, &percent);
    assert_true(some > 2);
    assert_in_range(percent, 90, 110);
    const double more = calls("sc", 800, 40, &percent);
    assert_in_range(percent, 95, 105);
    assert_true(more > 1.7 * some && more < 2.3 * some);
    assert_float_equal(calls("sc", 1000000, 2, &percent), 64, 1e-9);
    assert_float_equal(calls("cot", 400, 4, &percent), 1, 1e-9);
}

static void a_strategy_without_a_budget_says_which_have_one(void **state)
{
    (void)state;
    const char *sets[] = {"strategy=panel", NULL};
    struct budget budget = {.n = 0};
    struct bench b;
    struct err e;
    bench_open(&b, 3, sets);
    assert_int_equal(strategy_match(&b.env, &budget, &e), ERR_CONFIG);
    assert_non_null(strstr(e.msg, "these can: cot, sc"));
    assert_null(b.env.budget);
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(budgets_are_found_by_id),
        cmocka_unit_test(a_run_without_tokens_or_questions_is_refused),
        cmocka_unit_test(means_are_over_the_questions_of_both),
        cmocka_unit_test(sc_draws_until_the_budget_is_spent),
        cmocka_unit_test(a_strategy_without_a_budget_says_which_have_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
