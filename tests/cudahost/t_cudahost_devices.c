/*
 * The whole engine on two and three GPUs run by the host: a request gets the tokens and the bits of
 * one GPU, whatever the engine does meanwhile: micro-batches, recorded steps, drafts, pages pushed
 * out, streamed weights, layers on the CPU. A lost GPU ends the engine with its name.
 */
#include "cushim_test.h"
#include "log.h"
#include "serve.h"
#include "test.h"

enum { N_JOB = 6, N_NEW = 8 };

static struct engine *open_engine(const struct engine_options *o)
{
    struct engine *en = NULL;
    struct err e;
    ok(engine_open(o, &en, &e));
    return en;
}

static struct jobs *some_jobs(const struct engine *en)
{
    return jobs_make(N_JOB, 1, 40, N_NEW, 5, engine_info(en)->n_vocab);
}

/* Options for one GPU. The rates are made up, so none are measured. */
static struct engine_options one_gpu(void)
{
    static const struct plan_rates rates = {
        .vram = 1e12, .link = 25e9, .host = 60e9, .host_ops = 1e12, .hop_s = 1e-7, .step_s = 1e-6};
    struct engine_options o = serve_options();
    o.backend = "cudahost";
    o.model = TEST_SOURCE "/configs/demo/toy_mini.gguf"; /* 3 layers, quantised */
    o.n_ctx = 128;
    o.n_seq = N_JOB;
    o.rates = &rates;
    return o;
}

static struct engine_options several(struct engine_options o, const char *list)
{
    o.devices = (struct option_list){.item = {list}, .n = 1};
    return o;
}

/* Number of GPUs that have layers. */
static int used(const struct engine *en)
{
    const struct plan *p = engine_info(en)->plan;
    int n = 0;
    for (int d = 0; d < p->n_device; d++)
        n += p->share[d].n > 0;
    return n;
}

static struct jobs *run_on_one(const struct engine_options *o)
{
    struct engine *en = open_engine(o);
    struct jobs *js = some_jobs(en);
    jobs_run(en, js);
    engine_close(en);
    return js;
}

/* Checks the results on at least `least` GPUs against those of one. */
static void compare(const struct jobs *want, const struct engine_options *o, int least,
                    struct engine_stats *st, const char *what)
{
    struct engine *en = open_engine(o);
    struct jobs *js = some_jobs(en);
    const struct plan *p = engine_info(en)->plan;
    print_message("%s: %d GPUs, %d micro-batches from %d rows on, %s\n", what, used(en), p->n_micro,
                  p->micro_rows, plan_is_resident(p) ? "resident" : "not resident");
    if (used(en) < least)
        fail_msg("%s: %d GPUs have layers, wanted %d", what, used(en), least);
    jobs_run(en, js);
    jobs_equal(want, js, what);
    if (st)
        engine_stats(en, st);
    engine_close(en);
    jobs_free(js);
    assert_string_equal(cushim_findings(), "");
    assert_int_equal(cushim_live(NULL), 0);
}

/* Limits the memory of each GPU to the workspace and this part of the weights, and the cache to
 * n_context contexts. */
static struct engine_options limited(struct engine_options o, double part, int n_context)
{
    struct engine *en = open_engine(&o);
    const struct plan *p = engine_info(en)->plan;
    const uint64_t context = p->kv_bytes / (uint64_t)p->kv_tokens * (uint64_t)o.n_ctx;
    uint64_t workspace = 0;
    for (int d = 0; d < p->n_device; d++)
        workspace = p->share[d].n ? p->share[d].workspace_bytes : workspace;
    o.kv_bytes = context * (uint64_t)n_context;
    o.vram_bytes = workspace + o.kv_bytes + (uint64_t)(part * (double)p->weight_bytes);
    print_message(
        "%d GPUs without limits; workspace %llu KiB, weights %llu KiB, context %llu KiB\n",
        used(en), (unsigned long long)workspace >> 10, (unsigned long long)p->weight_bytes >> 10,
        (unsigned long long)context >> 10);
    engine_close(en);
    return o;
}

static void two_gpus_give_the_tokens_of_one(void **state)
{
    (void)state;
    struct engine_options o = one_gpu(), two;
    struct jobs *want = run_on_one(&o);
    two = limited(several(o, "0,1"), 0.8, N_JOB);
    compare(want, &two, 2, NULL, "two GPUs");
    cushim_apart(0, 1, 1);
    two.no_record = true;
    cushim_lazy(1);
    compare(want, &two, 2, NULL, "through pinned memory, late, no step recorded");
    cushim_lazy(0);
    jobs_free(want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_gpus_give_the_tokens_of_one),
    };
    cushim_devices(3);
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    cushim_devices(1);
    return rc;
}
