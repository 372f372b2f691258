/* Every strategy opens, or fails cleanly, whichever allocation fails. */
#include "oom.h"
#include "script.h"
#include "test.h"

static int body(void *arg)
{
    struct bench *b = arg;
    struct err e;
    int rc = strategy_open(&b->env, &e);
    strategy_close(&b->env);
    return rc;
}

static void every_strategy_opens_or_says_that_memory_lacks(void **state)
{
    (void)state;
    for (const struct strategy *const *s = strategy_all(); *s; s++) {
        char set[64];
        struct bench b;
        snprintf(set, sizeof set, "strategy=%s", (*s)->name);
        bench_open(&b, 5, (const char *[]){set, NULL});
        strategy_close(&b.env);
        long n = oom_loop(body, &b, false);
        assert_in_range(n, 5, 100000);
        bench_close(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_strategy_opens_or_says_that_memory_lacks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
