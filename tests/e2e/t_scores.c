/* Scorings in the engine. Log-probabilities of continuations depend on nothing but prompt and
 * continuation. That holds when scorings and generations compete for sequences, pages and rows of
 * logits. No request waits for ever. */
#include <math.h>
#include <pthread.h>
#include <time.h>

#include "mem.h"
#include "rng.h"
#include "serve.h"
#include "test.h"

enum { MOST_CONT = 28, LONGEST_CONT = 70, PATIENCE = 60 /* s */ };

struct score { /* r first: done() gets a struct request */
    struct request r;
    struct scores *all;
    int32_t prompt[100], token[MOST_CONT][LONGEST_CONT], out[200];
    const int32_t *cont[MOST_CONT];
    int cont_len[MOST_CONT];
    double lp[MOST_CONT];
    float out_lp[200];
};

struct scores {
    struct score *s;
    int n, left;
    pthread_mutex_t lock;
    pthread_cond_t news;
    struct engine *en; /* for callbacks that submit another request */
};

static void score_done(struct request *r)
{
    struct scores *all = ((struct score *)r)->all;
    pthread_mutex_lock(&all->lock);
    all->left--;
    pthread_cond_signal(&all->news);
    pthread_mutex_unlock(&all->lock);
}

static struct scores *scores_new(int n)
{
    struct scores *all = calloc(1, sizeof *all);
    all->s = calloc((size_t)n, sizeof *all->s);
    all->n = n;
    pthread_mutex_init(&all->lock, NULL);
    pthread_cond_init(&all->news, NULL);
    return all;
}

static void scores_free(struct scores *all)
{
    pthread_mutex_destroy(&all->lock);
    pthread_cond_destroy(&all->news);
    free(all->s);
    free(all);
}

/* Makes request i: n_prompt tokens, of which all requests share the first `common`; n_cont
 * continuations of 1 to `longest` tokens. */
static void score_make(struct scores *all, int i, int n_prompt, int common, int n_cont, int longest,
                       int n_vocab)
{
    struct score *s = &all->s[i];
    s->all = all;
    for (int k = 0; k < n_prompt; k++)
        s->prompt[k] =
            (int32_t)rng_below(k < common ? 7 : 100 + (uint64_t)i, (uint64_t)k, (uint32_t)n_vocab);
    for (int c = 0; c < n_cont; c++) {
        s->cont_len[c] =
            longest > 1 ? 1 + (int)rng_below(3 + (uint64_t)i, (uint64_t)c, (uint32_t)longest) : 1;
        for (int k = 0; k < s->cont_len[c]; k++)
            s->token[c][k] = (int32_t)rng_below(5 + (uint64_t)i, (uint64_t)(c * LONGEST_CONT + k),
                                                (uint32_t)n_vocab);
        s->cont[c] = s->token[c];
        s->lp[c] = NAN;
    }
    s->r = (struct request){.id = (uint64_t)i,
                            .prompt = s->prompt,
                            .n_prompt = n_prompt,
                            .top_p = 1,
                            .cont = s->cont,
                            .cont_len = s->cont_len,
                            .n_cont = n_cont,
                            .cont_lp = s->lp,
                            .done = score_done};
}

/* Makes request i a generation of n tokens. Its prompt repeats itself, so that lookups find
 * drafts. */
static void generation_make(struct scores *all, int i, int n_prompt, int n)
{
    struct score *s = &all->s[i];
    s->all = all;
    for (int k = 0; k < n_prompt; k++)
        s->prompt[k] = 3 + (k + i) % 2;
    s->r = (struct request){.id = (uint64_t)i,
                            .prompt = s->prompt,
                            .n_prompt = n_prompt,
                            .top_p = 1,
                            .max_new = n,
                            .ignore_eos = true,
                            .out = s->out,
                            .out_lp = s->out_lp,
                            .done = score_done};
}

static void score_submit(struct engine *en, struct scores *all, int i)
{
    struct err e;
    pthread_mutex_lock(&all->lock);
    all->left++;
    pthread_mutex_unlock(&all->lock);
    ok(engine_submit(en, &all->s[i].r, &e));
}

static void scores_wait(struct engine *en, struct scores *all, const char *what)
{
    struct timespec until;
    int rc = 0, left;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE;
    pthread_mutex_lock(&all->lock);
    while (all->left && rc == 0)
        rc = pthread_cond_timedwait(&all->news, &all->lock, &until);
    left = all->left;
    pthread_mutex_unlock(&all->lock);
    struct engine_stats st;
    engine_stats(en, &st);
    if (left)
        fail_msg("%s: %d requests not done after %d s: %llu steps, %d running, %d waiting, pages "
                 "%d used, %d cached, %d free",
                 what, left, PATIENCE, (unsigned long long)st.steps, st.running, st.waiting,
                 st.pages_used, st.pages_cached, st.pages_free);
}

static void scores_equal(const struct scores *want, const struct scores *got, const char *what)
{
    for (int i = 0; i < want->n; i++) {
        const struct score *a = &want->s[i], *b = &got->s[i];
        if (b->r.finish != a->r.finish || b->r.n_out != a->r.n_out)
            fail_msg("%s: request %d ended %s with %d tokens (%s), alone %s with %d", what, i,
                     finish_name(b->r.finish), b->r.n_out, b->r.err.msg, finish_name(a->r.finish),
                     a->r.n_out);
        for (int c = 0; c < a->r.n_cont; c++)
            if (memcmp(&a->lp[c], &b->lp[c], sizeof(double)) || !(a->lp[c] < 0))
                fail_msg("%s: request %d, continuation %d of %d tokens: %.17g, alone %.17g", what,
                         i, c, a->cont_len[c], b->lp[c], a->lp[c]);
        assert_memory_equal(a->out, b->out, sizeof a->out);
        assert_memory_equal(a->out_lp, b->out_lp, sizeof a->out_lp);
    }
}

/* Makes twelve scorings and four generations. Ranks fall, so later ones should be served first. */
static struct scores *mixed(const struct engine *en)
{
    struct scores *all = scores_new(16);
    for (int i = 0; i < 16; i++) {
        if (i % 4 == 3)
            generation_make(all, i, 20 + i, 60);
        else
            score_make(all, i, 33 + 5 * i % 60, i % 2 ? 32 : 0, 1 + (i * 7) % MOST_CONT,
                       i % 5 ? 6 : LONGEST_CONT, engine_info(en)->n_vocab);
        all->s[i].r.rank = (uint32_t)(i % 3);
    }
    return all;
}

static uint64_t pages(const struct engine_options *o, int n)
{
    /* layers, elements of the kv heads, K and V, f16 */
    return (uint64_t)n * (uint64_t)o->page_tokens * 2 * 16 * 2 * 2;
}

static struct engine *open_engine(const struct engine_options *o)
{
    struct engine *en = NULL;
    struct err e;
    ok(engine_open(o, &en, &e));
    if (o->kv_bytes)
        assert_int_equal(pages(o, engine_info(en)->n_page), o->kv_bytes);
    return en;
}

static struct scores *mixed_alone(const struct engine_options *o)
{
    struct engine *en = open_engine(o);
    struct scores *all = mixed(en);
    for (int i = 0; i < all->n; i++) {
        score_submit(en, all, i);
        scores_wait(en, all, "alone");
    }
    engine_close(en);
    return all;
}

static struct engine_stats mixed_together(const struct scores *want, const struct engine_options *o,
                                          const char *what)
{
    struct engine *en = open_engine(o);
    struct scores *all = mixed(en);
    for (int i = 0; i < all->n; i++)
        score_submit(en, all, i);
    scores_wait(en, all, what);
    scores_equal(want, all, what);
    struct engine_stats st;
    engine_stats(en, &st);
    assert_int_equal(st.pages_used, 0);
    engine_close(en);
    scores_free(all);
    return st;
}

static void scores_do_not_depend_on_company(void **state)
{
    (void)state;
    struct engine_options o = serve_options();
    o.n_seq = 1;
    o.no_prefix_cache = true;
    struct scores *want = mixed_alone(&o);
    o.no_prefix_cache = false;
    static const int n_seq[] = {1, 2, 3, 4, 8, 64};
    for (size_t i = 0; i < sizeof n_seq / sizeof *n_seq; i++) {
        char what[64];
        snprintf(what, sizeof what, "%d sequences", n_seq[i]);
        o = serve_options();
        o.n_seq = n_seq[i];
        mixed_together(want, &o, what);
        o.batch_tokens = 24;
        mixed_together(want, &o, "24 rows a step");
        o.max_draft = 8;
        o.lookup = o.always_draft = true;
        mixed_together(want, &o, "drafts beside scorings");
        static const int pool[] = {34, 32, 17, 16}; /* pages; a context of 256 tokens has 16 */
        for (size_t k = 0; k < sizeof pool / sizeof *pool; k++) {
            o.kv_bytes = pages(&o, pool[k]);
            snprintf(what, sizeof what, "%d sequences, a pool of %d pages", n_seq[i], pool[k]);
            struct engine_stats st = mixed_together(want, &o, what);
            assert_true(n_seq[i] < 3 || pool[k] > 17 || st.preempted > 0);
        }
        o.swap = PLAN_SWAP_ON;
        o.swap_bytes = pages(&o, 16);
        mixed_together(want, &o, "a pool of just one context, swapped");
    }
    scores_free(want);
}

/* Two scorings in a pool of one context. The older one arrives when the younger one is at its
 * continuations. */
static void an_older_scoring_gets_the_pages_of_its_own_prompt(void **state)
{
    (void)state;
    enum { MANY = 4000 };
    struct engine_options o = serve_options();
    o.n_ctx = 32;
    o.kv_bytes = pages(&o, 2);
    int32_t token[] = {5, 6};
    const int32_t **cont = calloc(MANY, sizeof *cont);
    int *len = calloc(MANY, sizeof *len);
    double *lp = calloc(MANY, sizeof *lp);
    for (int i = 0; i < MANY; i++) {
        cont[i] = token;
        len[i] = 2;
    }
    for (int n_seq = 1; n_seq <= 4; n_seq += 3) {
        o.n_seq = n_seq;
        struct engine *en = open_engine(&o);
        struct engine_stats st;
        struct scores *all = scores_new(2);
        score_make(all, 0, 20, 0, 1, 1, 60);
        score_make(all, 1, 20, 0, 1, 1, 60);
        all->s[0].r.cont = cont;
        all->s[0].r.cont_len = len;
        all->s[0].r.n_cont = MANY;
        all->s[0].r.cont_lp = lp;
        all->s[0].r.rank = 1;
        all->s[1].cont_len[0] = 2;
        score_submit(en, all, 0);
        do
            engine_stats(en, &st);
        while (st.steps < 10);
        score_submit(en, all, 1);
        scores_wait(en, all, "two scorings in one context");
        assert_int_equal(all->s[0].r.finish, FINISH_STOP);
        assert_int_equal(all->s[1].r.finish, FINISH_STOP);
        for (int i = 1; i < MANY; i++)
            assert_memory_equal(&lp[i], &lp[0], sizeof *lp);
        engine_close(en);
        scores_free(all);
    }
    free(cont);
    free(len);
    free(lp);
}

static void submit_the_older(struct request *r, int32_t id, float lp)
{
    (void)id;
    (void)lp;
    struct scores *all = ((struct score *)r)->all;
    if (r->n_out == 20)
        score_submit(all->en, all, 0);
}

/* An older scoring arrives while a younger generation drafts. Its continuations need a row of
 * logits for each token. */
static void drafts_leave_rows_of_logits_to_an_older_scoring(void **state)
{
    (void)state;
    struct engine_options o = serve_options();
    o.n_seq = 7;
    o.lookup = true;
    o.max_draft = 8;
    o.batch_tokens = 512;
    struct scores *want = NULL;
    for (int together = 0; together < 2; together++) {
        struct engine *en = open_engine(&o);
        struct scores *all = scores_new(2);
        score_make(all, 0, 20, 0, 6, LONGEST_CONT, 60);
        for (int c = 0; c < 6; c++) {
            for (int k = 0; k < LONGEST_CONT; k++)
                all->s[0].token[c][k] = 5 + k % 7;
            all->s[0].cont_len[c] = LONGEST_CONT;
        }
        generation_make(all, 1, 20, 200);
        all->s[1].r.rank = 1;
        all->en = en;
        if (together)
            all->s[1].r.on_token = submit_the_older;
        else
            score_submit(en, all, 0);
        score_submit(en, all, 1);
        scores_wait(en, all, "an older scoring beside drafts");
        engine_close(en);
        if (want) {
            scores_equal(want, all, "an older scoring beside drafts");
            scores_free(all);
        } else {
            want = all;
        }
    }
    scores_free(want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_do_not_depend_on_company),
        cmocka_unit_test(an_older_scoring_gets_the_pages_of_its_own_prompt),
        cmocka_unit_test(drafts_leave_rows_of_logits_to_an_older_scoring),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
