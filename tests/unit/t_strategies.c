/* The strategies one by one: calls, rounds, votes, and probabilities of the letters. */
#include <jansson.h>
#include <math.h>

#include "script.h"
#include "test.h"

/* Called with each case before it is freed; NULL = no checks. */
static void (*look)(const struct consult *c, const struct result *r);

static void finished(const struct consult *c, const struct result *r, void *user)
{
    (void)user;
    if (look)
        look(c, r);
}

/* Runs all questions of m; each case is shown to see (NULL = to nothing). */
static void run_cases(struct bench *b, const struct medqa *m,
                      void (*see)(const struct consult *c, const struct result *r))
{
    char dir[256];
    struct err e;
    struct trace *t = NULL;
    struct trace_options to = {.dir = bench_mkdir(dir), .identity = "{}", .about = "{}", .data = m};
    ok(trace_open(&to, &t, &e));
    struct run_options o = {.env = &b->env,
                            .question = m->question,
                            .n = m->n,
                            .trace = t,
                            .clock = bench_clock,
                            .finished = finished};
    look = see;
    ok(run_questions(&o, NULL, &e));
    look = NULL;
    trace_close(t);
    test_rmdir(dir);
}

/* n questions under these settings and this mood. */
static void cases(const char *const *sets, const struct script *mood, int n,
                  void (*see)(const struct consult *c, const struct result *r))
{
    struct bench b;
    struct medqa m = {.n = 0};
    bench_open(&b, 5, sets);
    if (mood)
        b.script = *mood;
    b.env.shuffle = true;
    bench_questions(&m, n);
    run_cases(&b, &m, see);
    medqa_free(&m);
    bench_close(&b);
}

/* ---- probabilities --------------------------------------------------------------------------- */

static int with_p;

static void p_look(const struct consult *c, const struct result *r)
{
    double sum = 0;
    assert_int_equal(r->state, CONSULT_ANSWERED);
    assert_int_equal(r->has_p, c->has_p);
    for (int i = 0; i < r->n_options && r->has_p; i++) {
        assert_true(r->p_option[i] >= 0 && r->p_option[i] == c->p_option[i]);
        sum += r->p_option[i];
    }
    if (r->has_p) {
        assert_true(fabs(sum - 1) < 1e-12);
        assert_true(r->p == r->p_option[r->predicted]);
    } else {
        assert_true(isnan(r->p));
    }
    with_p += r->has_p;
}

static void every_strategy_gives_probabilities_that_sum_to_1(void **state)
{
    (void)state;
    for (const struct strategy *const *s = strategy_all(); *s; s++) {
        char set[64];
        snprintf(set, sizeof set, "strategy=%s", (*s)->name);
        with_p = 0;
        cases((const char *[]){set, NULL}, NULL, 8, p_look);
        if (with_p != 8)
            fail_msg("%s: %d of 8 cases have probabilities", (*s)->name, with_p);
    }
}

/* The place of the letter in the reply of the last call, and the probabilities there. */
static void last_look(const struct consult *c, const struct result *r)
{
    for (int i = 0; i < r->n_options; i++)
        assert_true(fabs(r->p_option[c->shown[i]] - exp(c->last->llm.choice_lp[i])) < 1e-15);
}

static void cot_and_panel_take_the_probabilities_of_their_last_call(void **state)
{
    (void)state;
    cases((const char *[]){"strategy=cot", NULL}, NULL, 8, last_look);
    cases((const char *[]){"strategy=panel", NULL}, NULL, 8, last_look);
}

static void a_model_that_gives_no_probabilities_changes_no_answer(void **state)
{
    (void)state;
    static const char *const names[] = {"cot", "panel"};
    for (int i = 0; i < 2; i++) {
        char set[64];
        snprintf(set, sizeof set, "strategy=%s", names[i]);
        with_p = 0;
        cases((const char *[]){set, NULL}, &(struct script){.only_index = -1, .no_choice = true}, 8,
              p_look);
        assert_int_equal(with_p, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_strategy_gives_probabilities_that_sum_to_1),
        cmocka_unit_test(cot_and_panel_take_the_probabilities_of_their_last_call),
        cmocka_unit_test(a_model_that_gives_no_probabilities_changes_no_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
