/*
 * A step on two GPUs that the host runs allocates nothing. That means memory of the host, of a GPU
 * or pinned, and streams, events and graphs. 100 steps are counted. Earlier ones have recorded the
 * graphs that these replay. The calls of mem.h are wrapped at link time; the shim's own memory is
 * not counted.
 */
#include <stdatomic.h>

#include "cushim_test.h"
#include "log.h"
#include "mem.h"
#include "serve.h"
#include "test.h"

enum { N_JOB = 4, FROM = 20, TO = 120, N_NEW = 140 };

static atomic_long n_host;

void *__real_mem_zalloc(size_t n, size_t size);
void *__real_mem_resize(void *p, size_t n, size_t size);
void *__real_mem_aligned(size_t bytes);
int __real_mem_grow(void *pp, size_t *cap, size_t need, size_t item, const char *what,
                    struct err *e);
void *__wrap_mem_zalloc(size_t n, size_t size);
void *__wrap_mem_resize(void *p, size_t n, size_t size);
void *__wrap_mem_aligned(size_t bytes);
int __wrap_mem_grow(void *pp, size_t *cap, size_t need, size_t item, const char *what,
                    struct err *e);

void *__wrap_mem_zalloc(size_t n, size_t size)
{
    n_host++;
    return __real_mem_zalloc(n, size);
}

void *__wrap_mem_resize(void *p, size_t n, size_t size)
{
    n_host++;
    return __real_mem_resize(p, n, size);
}

void *__wrap_mem_aligned(size_t bytes)
{
    n_host++;
    return __real_mem_aligned(bytes);
}

int __wrap_mem_grow(void *pp, size_t *cap, size_t need, size_t item, const char *what,
                    struct err *e)
{
    n_host += need > *cap;
    return __real_mem_grow(pp, cap, need, item, what, e);
}

/* Objects and calls between two tokens of the last request. */
static struct counted {
    const char *call; /* of the runtime */
    struct cushim_objects from, to;
    long host, calls;
    bool done;
} counted;

static void count(struct request *r, int32_t id, float lp)
{
    (void)id;
    (void)lp;
    if (r->n_out == FROM) {
        n_host = 0;
        cushim_live(&counted.from);
        cushim_fail_call(counted.call, 1L << 40);
    }
    if (r->n_out == TO && !counted.done) {
        counted.host = n_host;
        counted.calls = cushim_named_calls();
        cushim_live(&counted.to);
        counted.done = true;
    }
}

/* The steps of a few requests, with one call of the runtime counted. */
static void steps_make_nothing(const struct engine_options *o, const char *call, const char *what)
{
    struct err e;
    struct engine *en = NULL;
    counted = (struct counted){.call = call};
    ok(engine_open(o, &en, &e));
    const struct plan *p = engine_info(en)->plan;
    assert_true(p->share[0].n > 0 && p->share[1].n > 0);
    struct jobs *js = jobs_make(N_JOB, 20, 40, N_NEW, 3, engine_info(en)->n_vocab);
    js->job[N_JOB - 1].r.on_token = count;
    jobs_run(en, js);
    assert_true(counted.done);
    if (counted.host)
        fail_msg("%s: %ld allocations of the host", what, counted.host);
    if (counted.calls)
        fail_msg("%s: %ld calls of %s", what, counted.calls, call);
    assert_memory_equal(&counted.from, &counted.to, sizeof counted.from);
    jobs_free(js);
    engine_close(en);
    cushim_fail_call("", 0);
    assert_string_equal(cushim_findings(), "");
}

/* Two GPUs; made-up rates make them slow, so that steps are cut into micro-batches. */
static struct engine_options two_gpus(void)
{
    struct engine_options o = serve_options();
    o.backend = "cudahost";
    o.devices = (struct option_list){.item = {"0,1"}, .n = 1};
    o.rates = &serve_slow_rates;
    o.n_seq = N_JOB;
    return o;
}

static void a_step_on_two_gpus_allocates_nothing(void **state)
{
    (void)state;
    static const char *const calls[] = {"cudaMalloc", "cudaHostAlloc", "cudaEventCreateWithFlags",
                                        "cudaStreamCreateWithFlags"};
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        struct engine_options o = two_gpus();
        o.no_record = i % 2;
        cushim_apart(0, 1, i >= 2);
        steps_make_nothing(&o, calls[i], calls[i]);
    }
}

static void a_step_with_drafts_on_two_gpus_allocates_nothing(void **state)
{
    (void)state;
    struct engine_options o = two_gpus();
    o.max_draft = 2;
    o.lookup = o.always_draft = true;
    o.draft_model = o.model;
    o.no_record = true; /* a key that first occurs late is recorded late */
    steps_make_nothing(&o, "cudaMalloc", "drafts");
}

static int tear_down(void **state)
{
    (void)state;
    cushim_reset();
    cushim_apart(0, 1, 0);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_step_on_two_gpus_allocates_nothing, tear_down),
        cmocka_unit_test_teardown(a_step_with_drafts_on_two_gpus_allocates_nothing, tear_down),
    };
    cushim_devices(2);
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    cushim_devices(1);
    return rc;
}
