/* Models that think before they reply: budgets, the record of a run, and every strategy. */
#include <jansson.h>
#include <math.h>

#include "report.h"
#include "script.h"
#include "test.h"
#include "tool_options.h"

enum { CASES = 5 };

/* A run of CASES questions: what is read back, and the text of the trace. */
struct ran {
    struct bench bench;
    struct medqa m;
    char dir[256];
    struct trace_run run;
    char *trace;
};

static void ran(struct ran *r, bool thinks, const char *const *sets, const struct script *script)
{
    struct err e;
    char path[300];
    size_t n;
    memset(r, 0, sizeof *r);
    if (thinks)
        ok(bench_think(&r->bench, 3, sets, &e));
    else
        bench_open(&r->bench, 3, sets);
    if (script)
        r->bench.script = *script;
    bench_questions(&r->m, CASES);
    ok(bench_run(&r->bench, &r->m, bench_mkdir(r->dir), 3, NULL, &e));
    ok(trace_read(r->dir, &r->run, &e));
    assert_int_equal(r->run.results.n, CASES);
    snprintf(path, sizeof path, "%s/traces.jsonl", r->dir);
    r->trace = test_read(path, &n);
}

static void ran_free(struct ran *r)
{
    free(r->trace);
    trace_run_free(&r->run);
    bench_close(&r->bench);
    medqa_free(&r->m);
    test_rmdir(r->dir);
}

static bool scores(const struct strategy *s, const char *role)
{
    const struct strategy_role *r = s->role;
    while (strcmp(r->name, role) != 0)
        r++;
    return r->needs & LLM_CAN_SCORE;
}

/* Calls fn for each call line of a trace. */
static int each_call(const struct ran *r, void (*fn)(const json_t *call, bool scored))
{
    int n = 0;
    for (const char *line = r->trace; *line;) {
        const char *end = strchr(line, '\n');
        json_t *doc = json_loadb(line, (size_t)(end - line), 0, NULL);
        assert_non_null(doc);
        if (json_object_get(doc, "call")) {
            const char *role = json_string_value(json_object_get(doc, "role"));
            fn(doc, scores(r->bench.env.strategy, role));
            n++;
        }
        json_decref(doc);
        line = end + 1;
    }
    return n;
}

static const char *text(const json_t *doc, const char *key)
{
    return json_string_value(json_object_get(doc, key));
}

static int64_t number(const json_t *doc, const char *key)
{
    assert_true(json_is_integer(json_object_get(doc, key)));
    return json_integer_value(json_object_get(doc, key));
}

static void thought_call(const json_t *call, bool scored)
{
    assert_string_equal(text(call, "thought"), scored ? "empty" : "closed");
    assert_int_equal(number(call, "max_think"), scored ? 0 : LLM_THINK_DEFAULT);
    if (scored) {
        assert_null(json_object_get(call, "thinking"));
        assert_int_equal(number(call, "n_think"), 0);
    } else {
        assert_non_null(strstr(text(call, "thinking"), "? No."));
        assert_int_equal(number(call, "n_think"), (strlen(text(call, "thinking")) + 3) / 4);
        assert_null(strstr(text(call, "reply"), "? No."));
        assert_int_equal(number(call, "n_new"), (strlen(text(call, "reply")) + 3) / 4);
    }
}

static void silent_call(const json_t *call, bool scored)
{
    (void)scored;
    assert_null(json_object_get(call, "thinking"));
    assert_null(json_object_get(call, "thought"));
    assert_null(json_object_get(call, "n_think"));
    assert_null(json_object_get(call, "max_think"));
}

static void empty_call(const json_t *call, bool scored)
{
    (void)scored;
    assert_null(json_object_get(call, "thinking"));
    assert_string_equal(text(call, "thought"), "empty");
    assert_int_equal(number(call, "n_think"), 0);
    assert_int_equal(number(call, "max_think"), 0);
}

/* The answers of two runs are the same: thinking stands beside the replies. */
static void same_answers(const struct ran *a, const struct ran *b)
{
    for (size_t i = 0; i < CASES; i++) {
        const struct result *x = &a->run.results.r[i], *y = &b->run.results.r[i];
        assert_int_equal(x->state, CONSULT_ANSWERED);
        assert_int_equal(y->state, CONSULT_ANSWERED);
        assert_int_equal(x->predicted, y->predicted);
        assert_int_equal(x->calls, y->calls);
        assert_int_equal(x->new_tokens, y->new_tokens);
    }
}

static void every_strategy_keeps_thinking_and_replies_apart(void **state)
{
    (void)state;
    for (const struct strategy *const *s = strategy_all(); *s; s++) {
        char set[64];
        struct ran plain, thinks, empty;
        snprintf(set, sizeof set, "strategy=%s", (*s)->name);
        ran(&plain, false, (const char *[]){set, NULL}, NULL);
        ran(&thinks, true, (const char *[]){set, NULL}, NULL);
        ran(&empty, true, (const char *[]){set, "thinking.budget=0", NULL}, NULL);
        same_answers(&plain, &thinks);
        same_answers(&plain, &empty);
        int n = each_call(&plain, silent_call);
        assert_int_equal(each_call(&thinks, thought_call), n);
        assert_int_equal(each_call(&empty, empty_call), n);
        assert_null(strstr(plain.trace, "think"));
        assert_null(strstr(empty.trace, "think_tokens"));
        int64_t tokens = 0;
        for (size_t i = 0; i < thinks.run.roles.n; i++)
            tokens += thinks.run.roles.r[i].think_tokens;
        for (size_t i = 0; i < CASES; i++) {
            const struct result *r = &thinks.run.results.r[i];
            assert_int_equal(result_computed(r),
                             r->prompt_tokens - r->cached_tokens + r->think_tokens + r->new_tokens);
            tokens -= r->think_tokens;
            assert_int_equal(r->thoughts_cut, 0);
            assert_int_equal(empty.run.results.r[i].think_tokens, 0);
        }
        assert_int_equal(tokens, 0);
        ran_free(&plain);
        ran_free(&thinks);
        ran_free(&empty);
    }
}

static void an_answer_in_the_thinking_is_no_answer(void **state)
{
    (void)state;
    static const enum script_mood moods[] = {SCRIPT_GARBAGE, SCRIPT_REFUSAL, SCRIPT_CUT, SCRIPT_ODD,
                                             SCRIPT_EMPTY};
    for (size_t i = 0; i < sizeof moods / sizeof *moods; i++)
        for (const struct strategy *const *s = strategy_all(); *s; s++) {
            char set[64];
            struct ran r;
            struct script script = {
                .mood = moods[i],
                .only_index = -1,
                .think = "{\"reasoning\": \"so\", \"ordered_differential\": [], \"justification\": "
                         "\"\", \"final_answer\": \"A\", \"warnings\": []}"};
            snprintf(set, sizeof set, "strategy=%s", (*s)->name);
            ran(&r, true, (const char *[]){set, NULL}, &script);
            for (size_t k = 0; k < CASES; k++) {
                assert_int_equal(r.run.results.r[k].state, CONSULT_UNPARSED);
                assert_int_equal(r.run.results.r[k].predicted, -1);
            }
            ran_free(&r);
        }
}

static void a_budget_that_ran_out_is_reported(void **state)
{
    (void)state;
    struct err e;
    struct ran r;
    struct stats_summary sum = {.answered = 0};
    struct str table = STR_INIT, json = STR_INIT, csv = STR_INIT, runs = STR_INIT;
    struct script script = {.only_index = -1, .thought = LLM_THOUGHT_CUT};
    ran(&r, true, (const char *[]){"planner.top_k=2", "thinking.budget=77", NULL}, &script);
    for (size_t i = 0; i < CASES; i++) {
        assert_int_equal(r.run.results.r[i].state, CONSULT_ANSWERED);
        assert_int_equal(r.run.results.r[i].thoughts_cut, 4);
    }
    /* in order of asking, whatever the order of completion */
    const char *warned =
        strstr(r.trace, "planner: the thinking was cut at its budget of 77 tokens");
    assert_non_null(warned);
    assert_true(strstr(warned, "\\nspecialist ") < strstr(warned, "\\naggregator: "));
    ok(stats_summarize(&r.run, 0.12, &sum, &e));
    assert_int_equal(sum.thoughts_cut, 4 * CASES);
    assert_int_equal(sum.cases_thought_cut, CASES);
    assert_true(sum.think_tokens > 4);
    report_table(&sum, "title", 80, &table);
    assert_non_null(strstr(table.s, "  thinking        20 calls cut at its budget (5 questions)"));
    assert_non_null(strstr(table.s, " of thinking, "));
    assert_non_null(strstr(table.s, "  cached   think     new\n"));
    report_json(&sum, "", "", &json);
    json_t *doc = json_loads(json.s, 0, NULL);
    assert_non_null(doc);
    assert_int_equal(number(doc, "thoughts_cut"), 4 * CASES);
    assert_true(json_number_value(json_object_get(json_object_get(doc, "per_question"),
                                                  "think_tokens")) == sum.think_tokens);
    const json_t *planner = json_object_get(json_object_get(doc, "by_role"), "planner");
    assert_int_equal(number(planner, "think_tokens"), r.run.roles.r[0].think_tokens);
    json_decref(doc);
    ok(report_csv(&r.run, &csv, &e));
    assert_non_null(strstr(csv.s, ",joules,joules_per_token,think_tokens,p_A"));
    char want[64];
    snprintf(want, sizeof want, ",,%lld,", (long long)r.run.results.r[0].think_tokens);
    assert_non_null(strstr(csv.s, want));
    struct report_run two[2] = {{.name = "a", .summary = sum}, {.name = "b", .summary = sum}};
    two[1].summary.think_tokens = 0;
    report_runs(two, 2, &runs);
    assert_non_null(strstr(runs.s, "calls computed  think   new seconds"));
    str_free(&table);
    str_free(&json);
    str_free(&csv);
    str_free(&runs);
    stats_free(&sum);
    ran_free(&r);
}

static void a_turn_that_ends_within_the_thinking_is_reported(void **state)
{
    (void)state;
    struct ran r;
    struct script script = {.only_index = -1, .thought = LLM_THOUGHT_EOS};
    ran(&r, true, (const char *[]){"strategy=cot", NULL}, &script);
    assert_non_null(strstr(r.trace, "answer: the model ended its turn while it was thinking"));
    assert_int_equal(r.run.results.r[0].thoughts_cut, 0);
    ran_free(&r);
}

/* Without thinking, tables and files are those of runs before. */
static void a_run_without_thinking_has_no_column_for_it(void **state)
{
    (void)state;
    struct err e;
    struct ran r;
    struct stats_summary sum = {.answered = 0};
    struct str all = STR_INIT;
    ran(&r, false, NULL, NULL);
    ok(stats_summarize(&r.run, 0.12, &sum, &e));
    report_table(&sum, "title", 80, &all);
    report_json(&sum, "", "", &all);
    report_figures(&sum, &all);
    ok(report_csv(&r.run, &all, &e));
    report_runs(&(struct report_run){.name = "a", .summary = sum}, 1, &all);
    assert_null(strstr(all.s, "think"));
    assert_null(strstr(all.s, "thought"));
    str_free(&all);
    stats_free(&sum);
    ran_free(&r);
}

static void budgets_that_cannot_be_kept_are_refused(void **state)
{
    (void)state;
    struct err e;
    struct bench b;
    char set[64];
    fails(bench_think(&b, 1, (const char *[]){"thinking.budget=7392", NULL}, &e), ERR_CONFIG,
          "lower thinking.budget or raise max_context_length");
    ok(bench_think(&b, 1, (const char *[]){"thinking.budget=7391", NULL}, &e));
    bench_close(&b);
    ok(bench_think(&b, 1, (const char *[]){"strategy=direct", "thinking.budget=100000", NULL}, &e));
    bench_close(&b); /* its only role scores: nothing is thought */
    bench_open(&b, 1, (const char *[]){"thinking.budget=0", NULL});
    strategy_close(&b.env);
    ok(config_set(&b.config, "thinking.budget=1", &e));
    fails(strategy_open(&b.env, &e), ERR_CONFIG,
          "thinking.budget is 1, but the model script does not think (chat template plain)");
    bench_close(&b);
    snprintf(set, sizeof set, "%d", LLM_THINK_DEFAULT);
    for (int i = 0; i < agent_option_set.n; i++)
        if (!strcmp(agent_option_set.row[i].key, "thinking.budget"))
            assert_non_null(strstr(agent_option_set.row[i].doc, set)); /* the option names it */
    struct config c;
    ok(tool_config_init(&c, &e));
    ok(config_set(&c, "thinking.budget=8000", &e));
    fails(config_check(&c, &e), ERR_CONFIG, "thinking.budget is 8000 tokens and the reply of");
    config_free(&c);
}

static void thinking_counts_for_the_budget_of_a_case(void **state)
{
    (void)state;
    struct ran r;
    ran(&r, true, (const char *[]){"strategy=cot", NULL}, NULL);
    const struct result *x = &r.run.results.r[0];
    int64_t took = x->prompt_tokens + x->think_tokens + x->new_tokens;
    assert_true(x->think_tokens > 1);
    ran_free(&r);
    for (int less = 0; less < 2; less++) {
        char set[64];
        snprintf(set, sizeof set, "budgets.max_tokens_per_case=%lld", (long long)took - less);
        ran(&r, true, (const char *[]){"strategy=cot", set, NULL}, NULL);
        assert_int_equal(r.run.results.r[0].state, less ? CONSULT_FAILED : CONSULT_ANSWERED);
        ran_free(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_strategy_keeps_thinking_and_replies_apart),
        cmocka_unit_test(an_answer_in_the_thinking_is_no_answer),
        cmocka_unit_test(a_budget_that_ran_out_is_reported),
        cmocka_unit_test(a_turn_that_ends_within_the_thinking_is_reported),
        cmocka_unit_test(a_run_without_thinking_has_no_column_for_it),
        cmocka_unit_test(budgets_that_cannot_be_kept_are_refused),
        cmocka_unit_test(thinking_counts_for_the_budget_of_a_case),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
