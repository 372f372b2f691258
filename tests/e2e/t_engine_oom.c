/* Lack of memory at any point of opening and serving, and no allocation on the step path. */
#include "oom.h"
#include "serve.h"
#include "test.h"

static int open_and_close(void *arg)
{
    struct engine *en = NULL;
    struct err e = {0};
    int rc = engine_open(arg, &en, &e);
    if (rc < 0 && !e.msg[0])
        return ERR_BUG; /* every failure must have a message */
    if (rc == 0)
        engine_close(en);
    /* a thread that cannot be started for lack of memory is ERR_AGAIN: same meaning here */
    return rc == ERR_AGAIN ? ERR_NOMEM : rc;
}

static void opening_survives_every_failed_allocation(void **state)
{
    (void)state;
    struct engine_options o = serve_options();
    assert_true(oom_loop(open_and_close, &o, false) > 20);
    assert_true(oom_loop(open_and_close, &o, true) > 20);
    o.max_draft = 4;
    o.lookup = true;
    o.draft_model = o.model;
    assert_true(oom_loop(open_and_close, &o, false) > 40);
}

struct serving {
    struct engine *en;
    struct jobs *js;
};

static int serve_one(void *arg)
{
    struct serving *s = arg;
    struct request *r = &s->js->job[0].r;
    struct err e = {0};
    int rc = jobs_try(s->en, s->js, 0, &e);
    if (rc < 0)
        return rc;
    jobs_wait(s->js);
    return r->finish == FINISH_ERROR ? r->err.code : 0;
}

static void submitting_survives_every_failed_allocation(void **state)
{
    (void)state;
    struct err e;
    struct engine_options o = serve_options();
    struct serving s = {0};
    ok(engine_open(&o, &s.en, &e));
    s.js = jobs_make(1, 20, 20, 10, 3, engine_info(s.en)->n_vocab);
    assert_true(oom_loop(serve_one, &s, false) >= 3);
    jobs_run(s.en, s.js); /* the engine works afterwards */
    assert_int_equal(s.js->job[0].r.finish, FINISH_LENGTH);
    jobs_free(s.js);
    engine_close(s.en);
}

static void count_allocations(struct request *r, int32_t id, float lp)
{
    (void)id;
    (void)lp;
    if (r->n_out == 20)
        oom_at(0, false); /* counts from here */
    if (r->n_out == 120)
        *(long *)r->user = oom_count();
}

static void steps_allocate_nothing(const struct engine_options *o)
{
    struct err e;
    struct engine *en = NULL;
    ok(engine_open(o, &en, &e));
    struct jobs *js = jobs_make(8, 20, 60, 140, 3, engine_info(en)->n_vocab);
    long seen = -1;
    /* the last one: no request is submitted after it */
    js->job[js->n - 1].r.on_token = count_allocations;
    js->job[js->n - 1].r.user = &seen;
    jobs_run(en, js);
    assert_int_equal(seen, 0);
    jobs_free(js);
    engine_close(en);
}

static void a_step_allocates_nothing(void **state)
{
    (void)state;
    struct engine_options o = serve_options();
    steps_allocate_nothing(&o);
    o.max_draft = 2; /* so that 20 and 120 tokens are many steps apart */
    o.lookup = o.always_draft = true;
    o.draft_model = o.model;
    steps_allocate_nothing(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opening_survives_every_failed_allocation),
        cmocka_unit_test(submitting_survives_every_failed_allocation),
        cmocka_unit_test(a_step_allocates_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
