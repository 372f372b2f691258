#include "serve.h"

#include <math.h>
#include <pthread.h>

#include "gguf.h"
#include "rng.h"
#include "test.h"

struct jobs_sync {
    pthread_mutex_t lock;
    pthread_cond_t news;
};

static void job_done(struct request *r)
{
    struct jobs *js = ((struct job *)r)->all;
    struct jobs_sync *s = js->sync;
    pthread_mutex_lock(&s->lock);
    js->left--;
    pthread_cond_signal(&s->news);
    pthread_mutex_unlock(&s->lock);
}

struct jobs *jobs_make(int n, int lo, int hi, int max_new, uint64_t seed, int n_vocab)
{
    struct jobs *js = calloc(1, sizeof *js);
    js->job = calloc((size_t)n, sizeof *js->job);
    js->n = n;
    struct jobs_sync *s = calloc(1, sizeof *s);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->news, NULL);
    js->sync = s;
    for (int i = 0; i < n; i++) {
        struct job *j = &js->job[i];
        int len = lo + (int)rng_below(seed, (uint64_t)i, (uint32_t)(hi - lo + 1));
        j->all = js;
        j->prompt = calloc((size_t)len, sizeof *j->prompt);
        j->out = calloc((size_t)max_new + 1, sizeof *j->out);
        j->lp = calloc((size_t)max_new + 1, sizeof *j->lp);
        for (int k = 0; k < len; k++)
            j->prompt[k] =
                (int32_t)rng_below(rng_mix(seed + (uint64_t)i), (uint64_t)k, (uint32_t)n_vocab);
        j->r = (struct request){.id = (uint64_t)i,
                                .seed = seed,
                                .prompt = j->prompt,
                                .n_prompt = len,
                                .max_new = max_new,
                                .temperature = i % 3 ? 0.8f : 0.0f,
                                .top_p = 1,
                                .top_k = i % 2 ? 20 : 0,
                                .ignore_eos = true,
                                .out = j->out,
                                .out_lp = j->lp,
                                .done = job_done};
    }
    return js;
}

void jobs_think(struct jobs *js, const struct request_think *t)
{
    for (int i = 0; i < js->n; i++) {
        struct job *j = &js->job[i];
        j->r.think = *t;
        size_t most = (size_t)request_most(&j->r);
        free(j->out);
        free(j->lp);
        j->r.out = j->out = calloc(most, sizeof *j->out);
        j->r.out_lp = j->lp = calloc(most, sizeof *j->lp);
    }
}

void jobs_free(struct jobs *js)
{
    for (int i = 0; i < js->n; i++) {
        free(js->job[i].prompt);
        free(js->job[i].out);
        free(js->job[i].lp);
    }
    struct jobs_sync *s = js->sync;
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->news);
    free(s);
    free(js->job);
    free(js);
}

int jobs_try(struct engine *en, struct jobs *js, int i, struct err *e)
{
    struct jobs_sync *s = js->sync;
    pthread_mutex_lock(&s->lock);
    js->left++;
    pthread_mutex_unlock(&s->lock);
    int rc = engine_submit(en, &js->job[i].r, e);
    pthread_mutex_lock(&s->lock);
    js->left -= rc < 0; /* refused: there will be no call of done */
    pthread_mutex_unlock(&s->lock);
    return rc;
}

void jobs_submit(struct engine *en, struct jobs *js, int from, int to)
{
    struct err e = {0};
    for (int i = from; i < to; i++)
        ok(jobs_try(en, js, i, &e));
}

void jobs_wait(struct jobs *js)
{
    struct jobs_sync *s = js->sync;
    pthread_mutex_lock(&s->lock);
    while (js->left)
        pthread_cond_wait(&s->news, &s->lock);
    pthread_mutex_unlock(&s->lock);
}

void jobs_run(struct engine *en, struct jobs *js)
{
    jobs_submit(en, js, 0, js->n);
    jobs_wait(js);
}

void jobs_equal(const struct jobs *a, const struct jobs *b, const char *what)
{
    assert_int_equal(a->n, b->n);
    for (int i = 0; i < a->n; i++) {
        const struct request *x = &a->job[i].r, *y = &b->job[i].r;
        if (x->finish != y->finish || x->n_out != y->n_out)
            fail_msg("%s: request %d ended %s with %d tokens (%s), reference %s with %d", what, i,
                     finish_name(y->finish), y->n_out, y->err.msg, finish_name(x->finish),
                     x->n_out);
        if (x->n_think != y->n_think || x->thought != y->thought || x->n_own != y->n_own)
            fail_msg("%s: request %d thought %d tokens (%s) and has %d of its own, reference %d "
                     "(%s) and %d",
                     what, i, y->n_think, thought_name(y->thought), y->n_own, x->n_think,
                     thought_name(x->thought), x->n_own);
        for (int k = 0; k < x->n_out; k++)
            if (x->out[k] != y->out[k] || memcmp(&x->out_lp[k], &y->out_lp[k], sizeof(float)))
                fail_msg("%s: request %d token %d: %d (%.9g), reference %d (%.9g)", what, i, k,
                         y->out[k], (double)y->out_lp[k], x->out[k], (double)x->out_lp[k]);
    }
}

const struct plan_rates serve_slow_rates = {.vram = 1e12,
                                            .link = 25e9,
                                            .host = 60e9,
                                            .host_ops = 1e12,
                                            .device_ops = 1e8,
                                            .hop_s = 1e-7,
                                            .step_s = 1e-6};

int serve_gpus_used(const struct engine *en)
{
    const struct plan *p = engine_info(en)->plan;
    int n = 0;
    for (int d = 0; d < p->n_device; d++)
        n += p->share[d].n > 0;
    return n;
}

struct engine_options serve_options(void)
{
    return (struct engine_options){.model = TEST_GOLDEN "/logits_llama_gqa.gguf",
                                   .backend = "cpu",
                                   .n_threads = 2,
                                   .n_ctx = 256,
                                   .n_seq = 16,
                                   .batch_tokens = 128,
                                   .page_tokens = 16,
                                   .kv_fmt = FMT_F16};
}

void serve_draft(const char *path)
{
    const char *model = TEST_GOLDEN "/logits_llama_gqa.gguf";
    struct err e;
    struct gguf *g = NULL;
    size_t n, written = 0;
    char *file = test_read(model, &n);
    ok(gguf_open(model, &g, &e));
    for (size_t i = 0; i < (size_t)gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        float *w = (float *)(file + t->at), sum = 0;
        int64_t count = (int64_t)(t->bytes / sizeof *w);
        assert_int_equal(t->t.fmt, FMT_F32);
        for (int64_t k = 0; k < count; k++)
            sum += fabsf(w[k]);
        for (int64_t k = 0; k < count; k++)
            w[k] += 0.15f * (sum / (float)count) * (rng_uniform(i, (uint64_t)k) - 0.5f);
    }
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    written = fwrite(file, 1, n, f);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(written, n);
    gguf_close(g);
    free(file);
}
