/* A comparison of runs without memory: an error, no leak, no crash. */
#include "oom.h"

#include <jansson.h>
#include <math.h>

#include "stats_runs.h"
#include "test.h"
#include "trace.h"

#define N 4

struct made {
    struct trace_run run;
    struct result r[N];
    struct records_row row[N];
};

static void make(struct made *m, int wrong, const char *json)
{
    memset(m, 0, sizeof *m);
    m->run = (struct trace_run){.records = {.r = m->row, .n = N},
                                .results = {.r = m->r, .n = N},
                                .asked = N,
                                .json = {.s = (char *)(uintptr_t)json, .len = strlen(json)}};
    for (int i = 0; i < N; i++) {
        m->row[i] = (struct records_row){.of = (size_t)i, .step = "", .why = ""};
        m->r[i] = (struct result){.index = i, .correct = i != wrong, .energy = "", .p = 0.5};
        m->r[i].id[0] = m->row[i].id[0] = (char)('a' + i);
    }
}

static int compare(void *arg)
{
    struct made *m = arg;
    const struct trace_run *all[] = {&m[0].run, &m[1].run, &m[2].run};
    struct stats_compared c = {.n_run = 0};
    struct err e;
    int rc = stats_compare(all, 3, 20, 1, &c, &e);
    stats_compared_free(&c);
    return rc;
}

static int summarize(void *arg)
{
    struct made *m = arg;
    struct stats_summary s = {.answered = 0};
    struct err e;
    int rc = stats_summarize(&m->run, 1, &s, &e);
    stats_free(&s);
    return rc;
}

static void every_allocation_may_fail(void **state)
{
    static struct made m[3];
    (void)state;
    json_set_alloc_funcs(malloc, free); /* wrapped, unlike those of the library */
    make(&m[0], 0, "{\"identity\": {\"config\": {\"seed\": 1}}}");
    make(&m[1], 1, "{\"identity\": {\"config\": {\"seed\": 2}}}");
    make(&m[2], 2, "{\"identity\": {\"config\": {\"seed\": 2, \"x\": 1}}}");
    for (int on = 0; on < 2; on++) {
        assert_true(oom_loop(compare, m, on) > 30);
        assert_true(oom_loop(summarize, m, on) > 5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_allocation_may_fail)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
