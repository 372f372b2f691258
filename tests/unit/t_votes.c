/* Votes of strategy sc, and the probabilities of letters of every strategy. */
#include <math.h>

#include "cases.h"
#include "test.h"

/* ---- self-consistency ------------------------------------------------------------------------ */

struct ballot {            /* by index of the sample */
    const char *letters;   /* '-' = garbage */
    const double (*lp)[4]; /* NULL = no probabilities of letters */
    const double *mean_lp; /* of the replies; NULL = unknown */
};
static struct ballot ballot;

static void sc_reply(struct llm_call *c, void *user)
{
    const struct ballot *b = user;
    int i = ((const struct consult_call *)c->user_data)->index;
    c->n_new = 10;
    if (b->mean_lp)
        c->mean_lp = b->mean_lp[i];
    if (b->letters[i] == '-') {
        str_adds(&c->reply, "C");
        return;
    }
    str_addf(&c->reply, "{\"reasoning\": \"because %d\", \"final_answer\": \"%c\"}", i,
             b->letters[i]);
    c->has_choice = b->lp != NULL;
    for (int k = 0; k < 4 && b->lp; k++)
        c->choice_lp[k] = log(b->lp[i][k]);
}

static void vote(const char *letters, const double (*lp)[4], const double *mean_lp, const char *how)
{
    char set[64];
    ballot = (struct ballot){letters, lp, mean_lp};
    snprintf(set, sizeof set, "sc.samples=%zu", strlen(letters));
    cases_scripted((const char *[]){"strategy=sc", set, how, NULL}, sc_reply, &ballot, got_look);
    assert_int_equal(got.calls, (int)strlen(letters));
}

static void the_most_frequent_answer_wins_and_shares_are_its_probabilities(void **state)
{
    (void)state;
    vote("BCBDB", NULL, NULL, NULL);
    assert_int_equal(got.state, CONSULT_ANSWERED);
    assert_int_equal(got.predicted, 1);
    assert_true(got.has_p && got.p[0] == 0 && got.p[1] == 0.6 && got.p[2] == 0.2 &&
                got.p[3] == 0.2);
    assert_non_null(strstr(got.facts, "\"votes\": {\"B\": 3, \"C\": 1, \"D\": 1}, \"tie\": false"));
    assert_string_equal(got.justification, "because 0");
}

static void a_sample_that_cannot_be_read_is_no_vote(void **state)
{
    (void)state;
    vote("--A-", NULL, NULL, NULL);
    assert_int_equal(got.state, CONSULT_ANSWERED);
    assert_int_equal(got.predicted, 0);
    assert_true(got.p[0] == 1);
    assert_non_null(strstr(got.notes, "sample 1 is no vote: "));
    assert_non_null(strstr(got.notes, "sample 4 is no vote: "));
    assert_null(strstr(got.notes, "sample 3"));
    vote("---", NULL, NULL, NULL);
    assert_int_equal(got.state, CONSULT_UNPARSED);
    assert_int_equal(got.predicted, -1);
    assert_non_null(strstr(got.why, "none of 3 samples can be used: "));
    assert_false(got.has_p);
}

static void log_probabilities_decide_a_tie_or_nothing_does(void **state)
{
    (void)state;
    static const double lp[4][4] = {
        {0.6, 0.2, 0.1, 0.1}, {0.1, 0.6, 0.2, 0.1}, {0.5, 0.3, 0.1, 0.1}, {0.3, 0.4, 0.2, 0.1}};
    static const double even[2][4] = {{0.6, 0.2, 0.1, 0.1}, {0.2, 0.6, 0.1, 0.1}};
    static const double mean[4] = {-2, -1, -2, -1.5};
    static const double unknown[2] = {-1, (double)NAN};
    vote("ABAB", lp, mean, NULL); /* log-sums: A of 0.009, B of 0.0144 */
    assert_int_equal(got.predicted, 1);
    assert_non_null(strstr(got.facts, "\"tie\": true"));
    assert_true(got.p[0] == 0.5 && got.p[1] == 0.5);
    assert_string_equal(got.justification, "because 1");
    vote("ABA-B", NULL, (const double[]){-2, -1, -2, -1, -1.5}, NULL); /* -40 against -25 */
    assert_int_equal(got.predicted, 1);
    vote("BAAB", NULL, mean, NULL); /* -35 against -30 */
    assert_int_equal(got.predicted, 0);
    vote("AB", even, NULL, NULL);
    assert_int_equal(got.state, CONSULT_UNPARSED);
    assert_non_null(strstr(got.why, "2 answers of 2 votes share the lead"));
    vote("AB", NULL, NULL, NULL);
    assert_int_equal(got.state, CONSULT_UNPARSED);
    vote("AB", NULL, unknown, NULL);
    assert_int_equal(got.state, CONSULT_UNPARSED);
    vote("BA", NULL, unknown, NULL);
    assert_int_equal(got.state, CONSULT_UNPARSED);
}

static void a_confident_minority_can_win_by_weight(void **state)
{
    (void)state;
    static const double lp[3][4] = {
        {0.4, 0.2, 0.2, 0.2}, {0.025, 0.95, 0.0125, 0.0125}, {0.4, 0.3, 0.2, 0.1}};
    vote("ABA", lp, NULL, "sc.vote=confidence");
    assert_int_equal(got.predicted, 1);
    assert_true(fabs(got.p[0] - 0.8 / 1.75) < 1e-12 && fabs(got.p[1] - 0.95 / 1.75) < 1e-12);
    assert_non_null(strstr(got.facts, "\"votes\": {\"A\": 2, \"B\": 1}"));
    vote("ABA", NULL, NULL, "sc.vote=confidence");
    assert_int_equal(got.state, CONSULT_UNPARSED);
    assert_non_null(strstr(got.notes, "sample 2 is no vote: its letter has no probability"));
}

static uint64_t first_id;
static char first_user[400];

static void first_look(const struct consult *c, const struct result *r)
{
    (void)r;
    first_id = c->first->llm.id;
    snprintf(first_user, sizeof first_user, "%s%s", c->first->llm.user, c->first->llm.system);
}

/* The random stream and the prompt are those of cot: its reply is the first sample. */
static void the_first_sample_is_the_reply_of_cot(void **state)
{
    (void)state;
    char user[400];
    cases((const char *[]){"strategy=cot", NULL}, NULL, 1, first_look);
    uint64_t id = first_id;
    memcpy(user, first_user, sizeof user);
    cases((const char *[]){"strategy=sc", NULL}, NULL, 1, first_look);
    assert_true(id == first_id);
    assert_string_equal(user, first_user);
}

static void spent_look(const struct consult *c, const struct result *r)
{
    assert_int_equal(r->state, CONSULT_FAILED);
    assert_non_null(strstr(r->why, "token budget exceeded"));
    assert_true(r->predicted == -1 && !r->has_p);
    for (const struct consult_call *k = c->first; k; k = k->next)
        if (!k->parsed)
            fail_msg("call %d is not read: %s", k->number, k->why);
}

/* The record of a case beyond its budget does not tell which call ended last. */
static void a_spent_budget_leaves_every_reply_read(void **state)
{
    (void)state;
    for (const struct strategy *const *s = strategy_all(); *s; s++) {
        char set[64];
        snprintf(set, sizeof set, "strategy=%s", (*s)->name);
        cases((const char *[]){set, "budgets.max_tokens_per_case=10", NULL}, NULL, 8, spent_look);
    }
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

/* The case's probabilities are those of the last call. */
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

/* Nothing of a case is there yet: pages and facts say nothing, and do not fail. */
static void a_case_that_has_not_begun_shows_nothing(void **state)
{
    (void)state;
    for (const struct strategy *const *s = strategy_all(); *s; s++) {
        char set[64];
        struct bench b;
        struct medqa m = {.n = 0};
        struct consult *c = NULL;
        struct err e;
        struct result r = {.n_options = 4};
        snprintf(set, sizeof set, "strategy=%s", (*s)->name);
        bench_open(&b, 5, (const char *[]){set, NULL});
        bench_questions(&m, 1);
        ok(consult_open(&b.env, &m.question[0], &c, &e));
        if ((*s)->show)
            got_look(c, &r);
        consult_close(c);
        medqa_free(&m);
        bench_close(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_most_frequent_answer_wins_and_shares_are_its_probabilities),
        cmocka_unit_test(a_sample_that_cannot_be_read_is_no_vote),
        cmocka_unit_test(log_probabilities_decide_a_tie_or_nothing_does),
        cmocka_unit_test(the_first_sample_is_the_reply_of_cot),
        cmocka_unit_test(a_spent_budget_leaves_every_reply_read),
        cmocka_unit_test(a_confident_minority_can_win_by_weight),
        cmocka_unit_test(every_strategy_gives_probabilities_that_sum_to_1),
        cmocka_unit_test(cot_and_panel_take_the_probabilities_of_their_last_call),
        cmocka_unit_test(a_model_that_gives_no_probabilities_changes_no_answer),
        cmocka_unit_test(a_case_that_has_not_begun_shows_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
