/* Several threads submit and cancel at once, and the engine closes with work in it. Also run under
 * TSan. */
#include <pthread.h>

#include "rng.h"
#include "serve.h"
#include "test.h"

struct client {
    struct engine *en;
    struct jobs *js;
    uint64_t seed;
};

static void *work(void *arg)
{
    struct client *c = arg;
    for (int i = 0; i < c->js->n; i += 4) {
        jobs_submit(c->en, c->js, i, i + 4);
        for (int k = i; k < i + 4; k++)
            if (rng_below(c->seed, (uint64_t)k, 4) == 0)
                engine_cancel(c->en, &c->js->job[k].r);
        if (rng_below(c->seed, (uint64_t)i, 2))
            jobs_wait(c->js);
    }
    jobs_wait(c->js);
    for (int k = 0; k < c->js->n; k++) /* possibly done: must be harmless */
        engine_cancel(c->en, &c->js->job[k].r);
    return NULL;
}

static void clients_submit_and_cancel_at_will(void **state)
{
    (void)state;
    struct err e;
    struct engine *en = NULL;
    struct engine_options o = serve_options();
    o.kv_bytes = 40 * 16 * 2 * 2 * 16 * 2 * 2;
    ok(engine_open(&o, &en, &e));
    struct client c[4];
    pthread_t t[4];
    for (int i = 0; i < 4; i++) {
        c[i] = (struct client){en, jobs_make(40, 1, 120, 12, (uint64_t)i, engine_info(en)->n_vocab),
                               (uint64_t)i};
        assert_int_equal(pthread_create(&t[i], NULL, work, &c[i]), 0);
    }
    int stopped = 0, cancelled = 0;
    for (int i = 0; i < 4; i++) {
        pthread_join(t[i], NULL);
        for (int k = 0; k < 40; k++) {
            enum finish f = c[i].js->job[k].r.finish;
            assert_true(f == FINISH_LENGTH || f == FINISH_CANCEL);
            stopped += f == FINISH_LENGTH;
            cancelled += f == FINISH_CANCEL;
        }
    }
    assert_true(stopped > 60 && cancelled > 0);
    struct engine_stats st;
    engine_stats(en, &st);
    assert_int_equal(st.running + st.waiting, 0);
    assert_int_equal(st.pages_used, 0);
    for (int i = 0; i < 4; i++)
        jobs_free(c[i].js);
    engine_close(en);
}

static void closing_cancels_what_runs(void **state)
{
    (void)state;
    struct err e;
    for (int round = 0; round < 5; round++) {
        struct engine *en = NULL;
        struct engine_options o = serve_options();
        ok(engine_open(&o, &en, &e));
        struct jobs *js = jobs_make(30, 10, 100, 100, 1, engine_info(en)->n_vocab);
        jobs_submit(en, js, 0, 30);
        engine_close(en);
        jobs_wait(js); /* done has been called for every one */
        for (int i = 0; i < 30; i++)
            assert_true(js->job[i].r.finish == FINISH_CANCEL ||
                        js->job[i].r.finish == FINISH_LENGTH);
        jobs_free(js);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clients_submit_and_cancel_at_will),
        cmocka_unit_test(closing_cancels_what_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
