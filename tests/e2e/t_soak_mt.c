/*
 * Thousands of requests on a pool that holds a few of them, of all kinds, lengths and ends.
 *
 * Generations run free or under a grammar, with drafts by lookup and by a draft model. Scorings
 * have continuations (forks). Prompts have common beginnings, and cancellations come at any moment.
 * No request is lost, served twice or starved. No page is lost. Each result equals that of the
 * request alone. Also run under TSan.
 */
#include <pthread.h>

#include "grammar.h"
#include "rng.h"
#include "serve.h"
#include "test.h"

#define REQUESTS 3000
#define IN_FLIGHT 60
#define CONTS 5
/* least prompt tokens of the oldest request in a step: batch_tokens less the rows of the others */
#define CHUNK 64

struct work {
    struct request r; /* first */
    struct soak *soak;
    int32_t prompt[160], out[48], cont_tok[CONTS][4];
    float lp[48];
    const int32_t *cont[CONTS];
    int cont_len[CONTS];
    double cont_lp[CONTS];
    int done;                  /* times */
    uint64_t submitted, bound; /* step of the submission; most steps until the end */
    uint64_t ended;
};

struct soak {
    struct engine *en;
    struct work *w; /* (n) */
    int n, in_flight;
    pthread_mutex_t lock;
    pthread_cond_t news;
};

static uint64_t steps(struct engine *en)
{
    struct engine_stats st;
    engine_stats(en, &st);
    return st.steps;
}

static void done(struct request *r)
{
    struct work *w = (struct work *)r;
    struct soak *s = w->soak;
    uint64_t now = steps(s->en);
    pthread_mutex_lock(&s->lock);
    w->ended = now;
    w->done++;
    s->in_flight--;
    pthread_cond_signal(&s->news);
    pthread_mutex_unlock(&s->lock);
}

static uint32_t below(int i, int what, uint32_t n)
{
    return rng_below(rng_mix((uint64_t)i), (uint64_t)what, n);
}

static void make(struct soak *s, int i, int n_vocab, const struct grammar *g)
{
    struct work *w = &s->w[i];
    int len = 1 + (int)below(i, 0, 160), family = (int)below(i, 1, 4),
        shared = (int)below(i, 2, (uint32_t)len + 1);
    for (int k = 0; k < len; k++)
        w->prompt[k] =
            (int32_t)(k < shared ? rng_below((uint64_t)family, (uint64_t)k, (uint32_t)n_vocab)
                                 : below(i, 100 + k, (uint32_t)n_vocab));
    w->soak = s;
    w->r = (struct request){.id = (uint64_t)i,
                            .seed = 9,
                            .prompt = w->prompt,
                            .n_prompt = len,
                            .top_p = 1,
                            .temperature = i % 3 ? 0.9f : 0,
                            .ignore_eos = true,
                            .out = w->out,
                            .out_lp = w->lp,
                            .done = done};
    if (i % 10 == 3) { /* scored */
        for (int c = 0; c < CONTS; c++) {
            w->cont[c] = w->cont_tok[c];
            w->cont_len[c] = 1 + (int)below(i, 10 + c, 4);
            for (int k = 0; k < 4; k++)
                w->cont_tok[c][k] = (int32_t)below(i, 20 + 4 * c + k, (uint32_t)n_vocab);
        }
        w->r.cont = w->cont;
        w->r.cont_len = w->cont_len;
        w->r.cont_lp = w->cont_lp;
        w->r.n_cont = CONTS;
        return;
    }
    w->r.max_new = 1 + (int)below(i, 3, 40);
    if (i % 10 == 7) {
        w->r.grammar = g;
        w->r.max_new = 48;
    }
}

/* Steps in which w is done when it is the oldest: scheduler.h. */
static uint64_t own_steps(const struct work *w)
{
    return (uint64_t)(w->r.n_prompt / CHUNK + 2 + w->r.max_new + w->r.n_cont);
}

static bool cancelled(int i)
{
    return below(i, 4, 8) == 0;
}

static void submit(struct soak *s, int i)
{
    struct work *w = &s->w[i];
    struct err e = {0};
    w->submitted = steps(s->en);
    pthread_mutex_lock(&s->lock);
    w->bound = own_steps(w);
    for (int k = 0; k < i; k++)
        w->bound += s->w[k].done ? 0 : own_steps(&s->w[k]);
    s->in_flight++;
    pthread_mutex_unlock(&s->lock);
    ok(engine_submit(s->en, &w->r, &e));
}

static void run(struct soak *s)
{
    for (int i = 0; i < s->n; i++) {
        pthread_mutex_lock(&s->lock);
        while (s->in_flight >= IN_FLIGHT)
            pthread_cond_wait(&s->news, &s->lock);
        pthread_mutex_unlock(&s->lock);
        submit(s, i);
        int victim = i - (int)below(i, 5, IN_FLIGHT / 2);
        /* possibly long done, or a second time: both harmless */
        if (victim >= 0 && cancelled(victim))
            engine_cancel(s->en, &s->w[victim].r);
    }
    pthread_mutex_lock(&s->lock);
    while (s->in_flight)
        pthread_cond_wait(&s->news, &s->lock);
    pthread_mutex_unlock(&s->lock);
}

/* Runs every stride-th request again, alone: no drafts, no cache, and enough pages. */
static void compare_alone(const struct soak *many, int stride, const struct grammar *g)
{
    struct engine_options o = serve_options();
    struct err e;
    struct soak alone = {.w = calloc(REQUESTS, sizeof *alone.w),
                         .n = REQUESTS,
                         .lock = PTHREAD_MUTEX_INITIALIZER,
                         .news = PTHREAD_COND_INITIALIZER};
    o.no_prefix_cache = true;
    ok(engine_open(&o, &alone.en, &e));
    int compared = 0;
    for (int i = 1; i < REQUESTS; i += stride) {
        const struct request *x = &many->w[i].r;
        struct request *y = &alone.w[i].r;
        if (x->finish == FINISH_CANCEL)
            continue;
        make(&alone, i, engine_info(alone.en)->n_vocab, g);
        submit(&alone, i);
        pthread_mutex_lock(&alone.lock);
        while (alone.in_flight)
            pthread_cond_wait(&alone.news, &alone.lock);
        pthread_mutex_unlock(&alone.lock);
        if (x->finish != y->finish || x->n_out != y->n_out ||
            memcmp(x->out, y->out, (size_t)x->n_out * sizeof *x->out) ||
            memcmp(x->cont_lp ? x->cont_lp : many->w[i].cont_lp, alone.w[i].cont_lp,
                   sizeof alone.w[i].cont_lp))
            fail_msg("request %d: %s with %d tokens in the crowd, %s with %d alone", i,
                     finish_name(x->finish), x->n_out, finish_name(y->finish), y->n_out);
        compared++;
    }
    assert_true(compared > REQUESTS / stride / 2);
    engine_close(alone.en);
    free(alone.w);
}

static void a_crowd_is_served_once_each_in_fair_order_and_loses_no_page(void **state)
{
    (void)state;
    static const char schema[] =
        "{\"type\": \"object\", \"properties\": {\"a\": {\"type\": \"string\", \"maxLength\": 12}, "
        "\"b\": {\"enum\": [\"x\", \"yy\"]}}, \"required\": [\"a\", \"b\"]}";
    struct err e;
    struct grammar *g = NULL;
    ok(grammar_compile(schema, strlen(schema), "test", &g, &e));
    char dir[256], draft[300];
    snprintf(draft, sizeof draft, "%s/draft.gguf", test_mkdir(dir));
    serve_draft(draft);
    struct engine_options o = serve_options();
    o.batch_tokens = 96;
    /* 40 pages of 16: about three of the longer sequences */
    o.kv_bytes = 40 * 16 * 2 * 2 * 16 * 2 * 2;
    o.swap = PLAN_SWAP_ON;
    o.swap_bytes = o.kv_bytes;
    o.max_draft = 6;
    o.lookup = o.always_draft = true;
    o.draft_model = draft;
    o.max_branch = 3;
    o.spoil_drafts = 0.1;
    struct soak s = {.w = calloc(REQUESTS, sizeof *s.w),
                     .n = REQUESTS,
                     .lock = PTHREAD_MUTEX_INITIALIZER,
                     .news = PTHREAD_COND_INITIALIZER};
    ok(engine_open(&o, &s.en, &e));
    for (int i = 0; i < s.n; i++)
        make(&s, i, engine_info(s.en)->n_vocab, g);
    run(&s);
    int ends[6] = {0};
    double closest = 0;
    for (int i = 0; i < s.n; i++) {
        const struct work *w = &s.w[i];
        ends[w->r.finish]++;
        assert_int_equal(w->done, 1);
        if (w->r.finish == FINISH_ERROR)
            fail_msg("request %d: %s", i, w->r.err.msg);
        if (w->r.finish == FINISH_CANCEL)
            assert_true(cancelled(i));
        uint64_t took = w->ended - w->submitted;
        if (took > w->bound)
            fail_msg("request %d took %llu steps, at most %llu were promised", i,
                     (unsigned long long)took, (unsigned long long)w->bound);
        closest =
            (double)took / (double)w->bound > closest ? (double)took / (double)w->bound : closest;
    }
    struct engine_stats st;
    engine_stats(s.en, &st);
    print_message(
        "%d stopped, %d full length, %d closed, %d cancelled; %llu steps, %llu preempted, %llu of "
        "%llu drafts accepted"
        ", %llu branches taken, %llu pages swapped in, longest wait %.0f %% of the bound\n",
        ends[FINISH_STOP], ends[FINISH_LENGTH], ends[FINISH_CLOSED], ends[FINISH_CANCEL],
        (unsigned long long)st.steps, (unsigned long long)st.preempted,
        (unsigned long long)st.accepted, (unsigned long long)st.drafted,
        (unsigned long long)st.branched, (unsigned long long)st.pages_swapped_in, 100 * closest);
    assert_true(st.preempted > 100 && st.accepted > 1000 && st.drafted > st.accepted &&
                st.cached_tokens > 1000);
    assert_true(st.pages_swapped_in > 100 && st.branched > 100);
    assert_true(ends[FINISH_CANCEL] > 50 && ends[FINISH_LENGTH] > 1000 && ends[FINISH_STOP] > 300);
    assert_int_equal(st.running + st.waiting + st.pages_used, 0);
    assert_int_equal(st.pages_free + st.pages_cached, engine_info(s.en)->n_page);
    compare_alone(&s, 7, g);
    test_rmdir(dir);
    engine_close(s.en); /* audits the lists of its pages */
    grammar_free(g);
    free(s.w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_crowd_is_served_once_each_in_fair_order_and_loses_no_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
