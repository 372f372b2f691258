/* Requests that are submitted at once: the engine takes all of them between two steps, or none. */
#include "serve.h"
#include "test.h"

static struct engine *open_engine(int n_seq)
{
    struct engine_options o = serve_options();
    struct engine *en = NULL;
    struct err e;
    o.n_seq = n_seq;
    o.n_ctx = 16;
    ok(engine_open(&o, &en, &e));
    return en;
}

/* They share all steps: the engine begins none before it has all. */
static void they_begin_in_one_step(void **state)
{
    (void)state;
    enum { N = 2048, ROUNDS = 3, NEW = 2 };
    struct err e;
    struct engine *en = open_engine(N);
    struct jobs *js = jobs_make(N, 1, 1, NEW, 5, engine_info(en)->n_vocab);
    for (int round = 0; round < ROUNDS; round++) {
        struct request *r[N];
        struct engine_stats before, after;
        engine_stats(en, &before);
        for (int i = 0; i < N; i++)
            r[i] = &js->job[i].r;
        js->left = N;
        ok(engine_submit_all(en, r, N, &e));
        jobs_wait(js);
        engine_stats(en, &after);
        assert_int_equal(after.steps - before.steps, NEW);
        assert_int_equal(after.sequences - before.sequences, N * NEW);
    }
    jobs_free(js);
    engine_close(en);
}

/* One bad request among several: the error is its own, and none of the others runs. */
static void they_are_all_taken_or_none(void **state)
{
    (void)state;
    struct err e;
    struct engine *en = open_engine(3);
    struct jobs *js = jobs_make(3, 4, 4, 4, 5, engine_info(en)->n_vocab);
    struct request *r[] = {&js->job[0].r, &js->job[1].r, &js->job[2].r};
    struct engine_stats st;
    js->job[2].prompt[3] = -1;
    fails(engine_submit_all(en, r, 3, &e), ERR_DATA, "at position 3");
    js->left = 2;
    ok(engine_submit_all(en, r, 2, &e));
    jobs_wait(js);
    engine_stats(en, &st);
    assert_int_equal(st.steps, 4);
    assert_int_equal(st.sequences, 2 * 4);
    assert_int_equal(js->job[1].r.n_out, 4);
    jobs_free(js);
    engine_close(en);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(they_begin_in_one_step),
        cmocka_unit_test(they_are_all_taken_or_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
