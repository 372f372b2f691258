/* Lack of memory at any point of opening, serving and asking; no allocation on the step path. */
#include "gguf_edit.h"
#include "llm.h"
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

/* budget: of thinking; it ends between the steps that are counted. 0 = none */
static void steps_allocate_nothing(const struct engine_options *o, int budget)
{
    static const char never[] = "no model says this";
    static const int32_t end[] = {65, 66};
    struct request_think t = {.max = budget,
                              .close = never,
                              .n_close = sizeof never - 1,
                              .end = end,
                              .n_end = 2,
                              .after = end,
                              .n_after = 1};
    struct err e;
    struct engine *en = NULL;
    ok(engine_open(o, &en, &e));
    struct jobs *js = jobs_make(8, 20, 60, 140, 3, engine_info(en)->n_vocab);
    static struct token_lp top[8][200 * REQUEST_TOP_MOST];
    static const struct token_bias bias[] = {{70, -100}, {71, 2}};
    long seen = -1;
    jobs_think(js, &t);
    for (int i = 0; i < js->n; i += 2) { /* half of them with all extras */
        struct request *r = &js->job[i].r;
        r->n_top = REQUEST_TOP_MOST;
        r->out_top = top[i];
        r->bias = bias;
        r->n_bias = 2;
        r->presence_penalty = r->frequency_penalty = 0.5f;
        r->repeat_penalty = 1.1f;
        r->repeat_last_n = -1;
    }
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
    steps_allocate_nothing(&o, 0);
    steps_allocate_nothing(&o, 50);
    o.max_draft = 2; /* so that 20 and 120 tokens are many steps apart */
    o.lookup = o.always_draft = true;
    o.draft_model = o.model;
    steps_allocate_nothing(&o, 0);
    steps_allocate_nothing(&o, 50);
}

struct asking {
    struct llm *l;
    struct str thought, reply; /* with enough memory */
};

static int ask_one(void *arg)
{
    struct asking *a = arg;
    struct err e = {0};
    struct llm_call c = {.id = 1,
                         .user = "chest pain",
                         .user_len = 10,
                         .max_tokens = 8,
                         .max_think = 6,
                         .top_p = 1,
                         .reply = STR_INIT,
                         .think = STR_INIT};
    int rc = llm_submit(a->l, &c, &e);
    if (rc == 0) {
        assert_ptr_equal(llm_next(a->l, -1), &c);
        rc = c.finish == LLM_ERROR ? c.err.code : 0;
    }
    if (rc == 0 && !a->reply.len) {
        str_add(&a->thought, c.think.s, c.think.len);
        str_add(&a->reply, c.reply.s, c.reply.len);
    } else if (rc == 0) {
        assert_int_equal(c.think.len, a->thought.len);
        assert_int_equal(c.reply.len, a->reply.len);
        assert_memory_equal(c.think.s, a->thought.s, c.think.len);
        assert_memory_equal(c.reply.s, a->reply.s, c.reply.len);
    }
    llm_call_clear(&c);
    return rc;
}

/* No thought and no reply is ever shortened silently. */
static void asking_survives_every_failed_allocation(void **state)
{
    (void)state;
    char dir[256], model[300];
    struct err e;
    struct engine *en = NULL;
    struct asking a = {.thought = STR_INIT, .reply = STR_INIT};
    snprintf(model, sizeof model, "%s/thinks.gguf", test_mkdir(dir));
    gguf_edit(TEST_SOURCE "/configs/demo/toy_clinic.gguf", model,
              "piece:5118=<|im_start|>,piece:5119=<|im_end|>");
    struct engine_options o = {
        .model = model, .backend = "cpu", .n_ctx = 256, .n_seq = 1, .chat_template = "qwen3"};
    ok(engine_open(&o, &en, &e));
    ok(llm_local_open(en, true, &a.l, &e));
    ok(ask_one(&a));
    assert_true(a.thought.len && a.reply.len);
    assert_true(oom_loop(ask_one, &a, false) > 10);
    llm_close(a.l);
    str_free(&a.thought);
    str_free(&a.reply);
    test_rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opening_survives_every_failed_allocation),
        cmocka_unit_test(submitting_survives_every_failed_allocation),
        cmocka_unit_test(a_step_allocates_nothing),
        cmocka_unit_test(asking_survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
