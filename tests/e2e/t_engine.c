/* The engine as a whole on a tiny model: the result of a request depends on nothing but the
 * request. */
#include <math.h>

#include "grammar.h"
#include "rng.h"
#include "serve.h"
#include "test.h"
#include "tokenizer.h"

static struct engine *open_engine(const struct engine_options *o)
{
    struct engine *en = NULL;
    struct err e;
    ok(engine_open(o, &en, &e));
    return en;
}

/* Makes 24 requests of 1..100 prompt tokens and 40 new ones. Run one by one they are the reference
 * for all variants. */
static struct jobs *some_jobs(const struct engine *en)
{
    return jobs_make(24, 1, 100, 40, 5, engine_info(en)->n_vocab);
}

static struct jobs *run_alone(const struct engine_options *o)
{
    struct engine *en = open_engine(o);
    struct jobs *js = some_jobs(en);
    for (int i = 0; i < js->n; i++) {
        jobs_submit(en, js, i, i + 1);
        jobs_wait(js);
    }
    engine_close(en);
    return js;
}

static void compare(const struct jobs *want, const struct engine_options *o, const char *what)
{
    struct engine *en = open_engine(o);
    struct jobs *js = some_jobs(en);
    jobs_run(en, js);
    jobs_equal(want, js, what);
    engine_close(en);
    jobs_free(js);
}

/* Weights that the CPU backend has packed into memory or into a file, or that it reads from the
 * mapping. The draft model has the same options. */
static void results_do_not_depend_on_the_order_of_weights(void **state)
{
    (void)state;
    struct engine_options o = serve_options();
    char dir[256];
    o.model = TEST_SOURCE "/configs/demo/toy_clinic.gguf"; /* Q4_K, Q6_K; 5,120 tokens */
    struct engine *en = open_engine(&o);
    struct jobs *want = jobs_make(12, 1, 60, 20, 5, engine_info(en)->n_vocab);
    const bool packs = !engine_info(en)->plan->weights_mapped;
    jobs_run(en, want);
    engine_close(en);
    o.map_weights = true;
    for (int n_seq = 1; n_seq <= 12; n_seq += 11) {
        o.n_seq = n_seq;
        en = open_engine(&o);
        assert_true(engine_info(en)->plan->weights_mapped);
        struct jobs *js = jobs_make(12, 1, 60, 20, 5, engine_info(en)->n_vocab);
        jobs_run(en, js);
        jobs_equal(want, js, packs ? "weights packed or mapped" : "weights mapped twice");
        engine_close(en);
        jobs_free(js);
    }
    o.packed_cache = test_mkdir(dir);
    o.map_weights = false;
    o.draft_model = o.model;
    o.max_draft = 3;
    o.always_draft = true;
    for (int again = 0; again < 2; again++) { /* written, then mapped */
        en = open_engine(&o);
        assert_int_equal(test_count(dir), packs);
        assert_true(!packs || engine_info(en)->plan->weights_mapped);
        struct jobs *js = jobs_make(12, 1, 60, 20, 5, engine_info(en)->n_vocab);
        jobs_run(en, js);
        jobs_equal(want, js, "weights packed in a file");
        engine_close(en);
        jobs_free(js);
    }
    test_rmdir(dir);
    jobs_free(want);
}

static void results_do_not_depend_on_batch_pages_chunks_threads_or_cache(void **state)
{
    (void)state;
    struct engine_options o = serve_options();
    struct jobs *want = run_alone(&o);
    int distinct = 0;
    for (int i = 1; i < want->n; i++)
        distinct += want->job[i].out[39] != want->job[0].out[39];
    assert_true(distinct > 3); /* replies differ, so their equality means something */
    compare(want, &o, "16 together");
    o.n_seq = 3;
    compare(want, &o, "3 together");
    o.n_seq = 24;
    o.batch_tokens = 24;
    compare(want, &o, "chunks of at most 24 tokens");
    o.batch_tokens = 512;
    o.page_tokens = 64;
    compare(want, &o, "pages of 64");
    o.no_prefix_cache = true;
    compare(want, &o, "no prefix cache");
    for (int t = 1; t <= 4; t += 3) {
        o.n_threads = t;
        compare(want, &o, "other thread count");
    }
    o = serve_options();
    o.kv_bytes = 17 * 16 * 2 * 2 * 16 * 2 * 2; /* two contexts: sequences preempt each other */
    struct engine *en = open_engine(&o);
    struct jobs *js = some_jobs(en);
    jobs_run(en, js);
    struct engine_stats st;
    engine_stats(en, &st);
    jobs_equal(want, js, "preempted and recomputed");
    assert_true(st.preempted > 0 && st.pages_swapped_out == 0);
    engine_close(en);
    jobs_free(js);
    o.swap = PLAN_SWAP_ON;
    /* few: needed pages evict each other */
    for (int pages = 4; pages <= 64; pages *= 16) {
        o.swap_bytes = (uint64_t)pages * 16 * 2 * 2 * 16 * 2 * 2 * 2;
        en = open_engine(&o);
        js = some_jobs(en);
        jobs_run(en, js);
        engine_stats(en, &st);
        jobs_equal(want, js, "preempted and swapped");
        assert_true(st.preempted > 0 && st.pages_swapped_out > 0 && st.pages_swapped_in > 0);
        assert_int_equal(st.swapped_bytes,
                         (st.pages_swapped_out + st.pages_swapped_in) * 16 * 2 * 2 * 16 * 2);
        assert_true(st.sequences > st.steps && st.sequences <= st.rows);
        assert_int_equal(st.streamed_bytes, 0);
        engine_close(en);
        jobs_free(js);
    }
    jobs_free(want);
}

/* Results with quantised keys and values and with quantised weights (the program's demo model). */
static void results_hold_with_a_q8_0_cache_and_quantised_weights(void **state)
{
    (void)state;
    struct engine_options o = serve_options();
    o.model = "demo";
    o.kv_fmt = FMT_Q8_0;
    struct jobs *want = run_alone(&o);
    compare(want, &o, "16 together");
    o.page_tokens = 128;
    o.batch_tokens = 40;
    o.n_seq = 7;
    o.n_threads = 3;
    compare(want, &o, "7 together, chunks of 40, pages of 128, 3 threads");
    static const char *const isa[] = {"scalar", "avx2", "avxvnni", "avx512vnni", "amx", "neon"};
    for (size_t i = 0; i < sizeof isa / sizeof *isa; i++) {
        struct engine *en = NULL;
        o.isa = isa[i];
        if (engine_open(&o, &en, NULL) == ERR_NODEV) {
            print_message("skipped: this machine has no %s\n", isa[i]);
            continue;
        }
        engine_close(en);
        compare(want, &o, isa[i]);
    }
    jobs_free(want);
}

/* Every kind of draft, right and wrong ones, also when pages and rows of a step are short. */
static struct engine_stats compare_drafting(const struct jobs *want, struct engine_options o,
                                            const char *what, int n_drafted, int n_wrong)
{
    struct engine *en = open_engine(&o);
    struct jobs *js = some_jobs(en);
    jobs_run(en, js);
    jobs_equal(want, js, what);
    struct engine_stats st;
    engine_stats(en, &st);
    if (st.drafted < (uint64_t)n_drafted || st.drafted - st.accepted < (uint64_t)n_wrong)
        fail_msg("%s: %llu drafted, %llu accepted: too few for a test", what,
                 (unsigned long long)st.drafted, (unsigned long long)st.accepted);
    uint64_t drafted = 0, accepted = 0, passes = 0, new = 0;
    for (int i = 0; i < js->n; i++) {
        const struct request *r = &js->job[i].r;
        drafted += (uint64_t)r->n_drafted;
        accepted += (uint64_t)r->n_accepted;
        passes += (uint64_t)r->n_pass;
        new += (uint64_t)r->n_out;
    }
    assert_true(drafted == st.drafted && accepted == st.accepted);
    assert_true(passes + accepted == new); /* a pass gives its accepted tokens and one more */
    assert_int_equal(st.pages_used, 0);
    engine_close(en);
    jobs_free(js);
    return st;
}

static void results_do_not_depend_on_drafts(void **state)
{
    (void)state;
    struct engine_options o = serve_options();
    struct jobs *want = run_alone(&o);
    o.max_draft = 8;
    o.always_draft = true;
    o.lookup = true;
    compare_drafting(want, o, "lookup", 100, 50);
    o.draft_model = o.model;
    compare_drafting(want, o, "lookup and the model itself as its draft", 400, 50);
    o.lookup = false;
    compare_drafting(want, o, "the model itself as its draft", 400, 0);
    o.spoil_drafts = 0.3;
    compare_drafting(want, o, "three of ten drafts spoilt", 400, 100);
    o.n_seq = 5;
    o.batch_tokens = 24;
    o.page_tokens = 64;
    compare_drafting(want, o, "5 together, 24 rows, pages of 64", 400, 100);
    o.max_draft = 64;
    o.no_prefix_cache = true;
    o.n_threads = 1;
    compare_drafting(want, o, "64 ahead, no prefix cache, 1 thread", 200, 50);
    o = serve_options();
    o.max_draft = 5;
    o.always_draft = o.lookup = true;
    o.spoil_drafts = 0.3;
    o.draft_model = o.model;
    o.kv_bytes = 17 * 16 * 2 * 2 * 16 * 2 * 2; /* two contexts: sequences preempt each other */
    compare_drafting(want, o, "preempted and recomputed", 100, 20);
    jobs_free(want);
}

/* Trees of a draft model whose first choice is wrong at times and whose second one is right
 * then. */
static void results_do_not_depend_on_branches(void **state)
{
    (void)state;
    char dir[256], draft[300];
    struct engine_options o = serve_options();
    struct jobs *want = run_alone(&o);
    snprintf(draft, sizeof draft, "%s/draft.gguf", test_mkdir(dir));
    serve_draft(draft);
    o.max_draft = 6;
    o.always_draft = true;
    o.draft_model = draft;
    struct engine_stats chain = compare_drafting(want, o, "no branches", 400, 50);
    assert_int_equal(chain.branched, 0);
    o.max_branch = 4;
    struct engine_stats tree = compare_drafting(want, o, "4 branches of each", 800, 100);
    print_message("%llu steps along chains, %llu along trees, %llu passes took a branch\n",
                  (unsigned long long)chain.steps, (unsigned long long)tree.steps,
                  (unsigned long long)tree.branched);
    /* steps depend on when requests arrive */
    assert_true(tree.branched > 10 && tree.accepted > chain.accepted);
    o.n_seq = 3;
    o.page_tokens = 64;
    o.lookup = true;
    compare_drafting(want, o, "3 together, pages of 64, lookup", 800, 100);
    o.batch_tokens = 24;
    o.spoil_drafts = 0.2;
    compare_drafting(want, o, "24 rows, some drafts spoilt", 400, 100);
    o.no_prefix_cache = true;
    o.max_draft = 40;
    o.n_threads = 1;
    compare_drafting(want, o, "40 ahead, no prefix cache, 1 thread", 400, 100);
    o = serve_options();
    o.max_draft = 5;
    o.max_branch = 3;
    o.always_draft = true;
    o.draft_model = draft;
    o.kv_bytes = 17 * 16 * 2 * 2 * 16 * 2 * 2; /* two contexts */
    compare_drafting(want, o, "preempted and recomputed", 100, 20);
    o.swap = PLAN_SWAP_ON;
    compare_drafting(want, o, "preempted and swapped", 100, 20);
    test_rmdir(dir);
    jobs_free(want);
}

struct waits { /* on the engine's thread */
    struct engine *en;
    struct jobs *old;
    int tokens; /* of the young ones so far */
    /* steps of the engine before the oldest came and before its first token */
    uint64_t came, first;
};

enum { YOUNG = 4 };

static void count_token(struct request *r, int32_t id, float lp)
{
    struct waits *w = r->user;
    struct engine_stats st;
    struct err e;
    (void)id;
    (void)lp;
    engine_stats(w->en, &st);
    if (!r->rank && !w->first)
        w->first = st.steps;
    if (r->rank && ++w->tokens == YOUNG * 14) {
        w->came = st.steps;
        ok(jobs_try(w->en, w->old, 0, &e));
    }
}

/* A long prompt is read beside younger sequences that take pages for their replies. It never waits
 * for them. */
static void the_oldest_has_rows_in_every_step(void **state)
{
    (void)state;
    enum { PROMPT = 130, STEPS = 2 + PROMPT / 8 /* 12 rows, then 4 up to the end of a page, .. */ };
    struct engine_options o = serve_options();
    o.n_seq = YOUNG + 1;
    o.batch_tokens = 16;
    o.no_prefix_cache = true;
    /* pages: the young ones have 8, the oldest needs 9, then the young ones need more */
    o.kv_bytes = 17 * 2048;
    struct waits w = {.en = open_engine(&o)};
    int n_vocab = engine_info(w.en)->n_vocab;
    struct jobs *young = jobs_make(YOUNG, 10, 10, 140, 5, n_vocab);
    w.old = jobs_make(1, PROMPT, PROMPT, 5, 6, n_vocab);
    for (int i = 0; i <= YOUNG; i++) {
        struct request *r = i < YOUNG ? &young->job[i].r : &w.old->job[0].r;
        r->rank = i < YOUNG;
        r->on_token = count_token;
        r->user = &w;
    }
    jobs_run(w.en, young);
    jobs_wait(w.old);
    struct engine_stats st;
    engine_stats(w.en, &st);
    print_message("%d tokens read in %d steps, %d preempted\n", PROMPT, (int)(w.first - w.came),
                  (int)st.preempted);
    assert_true(st.preempted > 0 && w.came > 0);
    assert_true(w.first - w.came <= STEPS);
    engine_close(w.en);
    jobs_free(young);
    jobs_free(w.old);
}

/* One long reply: after an accepted branch the draft model continues on that branch, too. */
static void branches_save_passes(void **state)
{
    (void)state;
    enum { LONG = 220 };
    char dir[256], draft[300];
    int passes[2];
    snprintf(draft, sizeof draft, "%s/draft.gguf", test_mkdir(dir));
    serve_draft(draft);
    for (int tree = 0; tree < 2; tree++) {
        struct engine_options o = serve_options();
        o.max_draft = 6;
        o.max_branch = tree ? 4 : 0;
        o.always_draft = true;
        o.draft_model = draft;
        struct engine *en = open_engine(&o);
        struct jobs *js = jobs_make(1, 20, 20, LONG, 3, engine_info(en)->n_vocab);
        js->job[0].r.ignore_eos = true;
        js->job[0].r.temperature = 0;
        jobs_run(en, js);
        assert_int_equal(js->job[0].r.n_out, LONG);
        passes[tree] = js->job[0].r.n_pass;
        engine_close(en);
        jobs_free(js);
    }
    print_message("%d tokens: %d passes along chains, %d along trees\n", LONG, passes[0],
                  passes[1]);
    assert_true(passes[1] * 5 < passes[0] * 4);
    test_rmdir(dir);
}

enum { TOP = 4 };

/* the TOP most probable next tokens after a prompt, their probabilities among themselves */
struct top {
    int n_vocab;
    int32_t id[TOP];
    double p[TOP];
};

static void keep_top(struct request *r, int pos, const float *logits)
{
    struct top *t = r->user;
    double sum = 0;
    (void)pos;
    for (int k = 0; k < TOP; k++) {
        int best = -1;
        for (int i = 0; i < t->n_vocab; i++) {
            bool taken = false;
            for (int m = 0; m < k; m++)
                taken = taken || t->id[m] == i;
            if (!taken && (best < 0 || logits[i] > logits[best]))
                best = i;
        }
        t->id[k] = best;
        sum += t->p[k] = exp((double)logits[best] - (double)logits[t->id[0]]);
    }
    for (int k = 0; k < TOP; k++)
        t->p[k] /= sum;
}

static struct top next_top(struct engine *en, const int32_t *prompt, int n)
{
    struct top t = {.n_vocab = engine_info(en)->n_vocab};
    struct jobs *one = jobs_make(1, n, n, 0, 1, t.n_vocab);
    struct request *r = &one->job[0].r;
    memcpy(one->job[0].prompt, prompt, (size_t)n * sizeof *prompt);
    r->max_new = 0;
    r->on_logits = keep_top;
    r->logits_from = n - 1;
    r->user = &t;
    jobs_run(en, one);
    jobs_free(one);
    return t;
}

static int place_in(const struct top *t, int32_t id)
{
    int k = 0;
    while (k < TOP && t->id[k] != id)
        k++;
    assert_true(k < TOP);
    return k;
}

/* 100,000 draws of three tokens among four. The second is drafted; the third is drawn after the
 * draft if that was accepted. Equal bits would suffice, but this checks the rule independently. */
static void drafted_tokens_have_the_distribution_of_the_model(void **state)
{
    (void)state;
    enum { DRAWS = 100000, LOT = 500, PROMPT = 5, CELLS = TOP * TOP * TOP };
    char dir[256], draft[300];
    struct engine_options o = serve_options();
    snprintf(draft, sizeof draft, "%s/draft.gguf", test_mkdir(dir));
    serve_draft(draft);
    o.max_draft = 4;
    o.always_draft = true;
    o.draft_model = draft;
    o.max_branch = 2;
    o.spoil_drafts = 0.2;
    o.n_seq = 64;
    o.batch_tokens = 512;
    o.n_threads = 1;
    struct engine *en = open_engine(&o);
    int32_t prompt[PROMPT + 2] = {1, 7, 3, 9, 5};
    struct top first = next_top(en, prompt, PROMPT), second[TOP], third[TOP][TOP];
    for (int a = 0; a < TOP; a++) {
        prompt[PROMPT] = first.id[a];
        second[a] = next_top(en, prompt, PROMPT + 1);
        for (int b = 0; b < TOP; b++) {
            prompt[PROMPT + 1] = second[a].id[b];
            third[a][b] = next_top(en, prompt, PROMPT + 2);
        }
    }
    int seen[CELLS] = {0};
    for (int lot = 0; lot < DRAWS / LOT; lot++) {
        struct jobs *js = jobs_make(LOT, PROMPT, PROMPT, 3, (uint64_t)lot, first.n_vocab);
        for (int i = 0; i < LOT; i++) {
            memcpy(js->job[i].prompt, prompt, PROMPT * sizeof *prompt);
            js->job[i].r.temperature = 1;
            js->job[i].r.top_k = TOP;
        }
        jobs_run(en, js);
        for (int i = 0; i < LOT; i++) {
            const int32_t *out = js->job[i].out;
            int a = place_in(&first, out[0]), b = place_in(&second[a], out[1]);
            seen[(a * TOP + b) * TOP + place_in(&third[a][b], out[2])]++;
        }
        jobs_free(js);
    }
    struct engine_stats st;
    engine_stats(en, &st);
    test_rmdir(dir);
    print_message("%d drafted, %d accepted, %d branches taken; ", (int)st.drafted, (int)st.accepted,
                  (int)st.branched);
    assert_true(st.accepted > DRAWS / 2 && st.drafted - st.accepted > DRAWS / 10);
    double chi2 = 0;
    for (int i = 0; i < CELLS; i++) {
        int a = i / TOP / TOP, b = i / TOP % TOP;
        double want = DRAWS * first.p[a] * second[a].p[b] * third[a][b].p[i % TOP];
        assert_true(want > 10);
        chi2 += (seen[i] - want) * (seen[i] - want) / want;
    }
    print_message("chi-square %.1f of %d cells\n", chi2, CELLS);
    assert_true(chi2 < 119); /* P = 2e-5 for 63 degrees of freedom */
    engine_close(en);
}

static void the_oracle_and_the_fast_backend_agree_on_greedy_text(void **state)
{
    (void)state;
    struct engine_options o = serve_options();
    struct engine *cpu = open_engine(&o);
    o.backend = "ref";
    struct engine *ref = open_engine(&o);
    int n_vocab = engine_info(cpu)->n_vocab;
    struct jobs *a = jobs_make(6, 5, 30, 20, 3, n_vocab), *b = jobs_make(6, 5, 30, 20, 3, n_vocab);
    jobs_run(cpu, a);
    jobs_run(ref, b);
    for (int i = 0; i < a->n; i += 3) { /* the greedy ones */
        assert_memory_equal(a->job[i].out, b->job[i].out, 20 * sizeof(int32_t));
        for (int k = 0; k < 20; k++)
            assert_true(fabsf(a->job[i].lp[k] - b->job[i].lp[k]) < 1e-3f);
    }
    jobs_free(a);
    jobs_free(b);
    engine_close(cpu);
    engine_close(ref);
}

/* A prompt that was computed before costs only its last page; the reply is the same, bit for
 * bit. */
static void a_shared_prefix_is_computed_once(void **state)
{
    (void)state;
    struct engine_options o = serve_options();
    struct engine *en = open_engine(&o);
    int n_vocab = engine_info(en)->n_vocab;
    struct jobs *first = jobs_make(1, 100, 100, 10, 8, n_vocab),
                *many = jobs_make(8, 100, 100, 10, 8, n_vocab);
    /* eight prompts at once that differ in their last 4 tokens only */
    for (int i = 0; i < 8; i++) {
        memcpy(many->job[i].prompt, first->job[0].prompt, 96 * sizeof(int32_t));
        many->job[i].r.temperature = 0;
    }
    jobs_run(en, many);
    int cached = 0;
    for (int i = 0; i < 8; i++)
        cached += many->job[i].r.n_cached;
    assert_int_equal(cached, 7 * 96);
    o.no_prefix_cache = true;
    struct engine *plain = open_engine(&o);
    struct jobs *again = jobs_make(8, 100, 100, 10, 8, n_vocab);
    for (int i = 0; i < 8; i++) {
        memcpy(again->job[i].prompt, many->job[i].prompt, 100 * sizeof(int32_t));
        again->job[i].r.temperature = 0;
    }
    jobs_run(plain, again);
    assert_int_equal(again->job[3].r.n_cached, 0);
    jobs_equal(again, many, "with a shared prefix");
    jobs_free(first);
    jobs_free(many);
    jobs_free(again);
    engine_close(en);
    engine_close(plain);
}

/* Scores of continuations equal those read off the raw logits of prompt + continuation. */
struct raw {
    struct job *j;
    int n_vocab, n_prompt;
    const int32_t *tok;
    double sum;
    int rows;
};

static void read_logits(struct request *r, int pos, const float *logits)
{
    struct raw *w = r->user;
    assert_int_equal(pos, w->n_prompt - 1 + w->rows++);
    if (pos + 1 >= r->n_prompt)
        return;
    double max = -INFINITY, sum = 0;
    for (int i = 0; i < w->n_vocab; i++)
        max = fmax(max, (double)logits[i]);
    for (int i = 0; i < w->n_vocab; i++)
        sum += exp((double)logits[i] - max);
    w->sum += (double)logits[w->tok[pos + 1]] - max - log(sum);
}

static void scores_of_continuations_equal_the_raw_logits(void **state)
{
    (void)state;
    struct engine_options o = serve_options();
    for (int tight = 0; tight < 2; tight++) {
        if (tight)
            o.kv_bytes = 17 * 16 * 2 * 2 * 16 * 2 * 2;
        struct engine *en = open_engine(&o);
        int n_vocab = engine_info(en)->n_vocab;
        struct jobs *score = jobs_make(3, 37, 90, 0, 21, n_vocab);
        int32_t tok[3][5][6];
        const int32_t *cont[3][5];
        int len[5] = {1, 2, 6, 3, 1};
        double lp[3][5];
        for (int i = 0; i < 3; i++) {
            for (int k = 0; k < 5; k++) {
                cont[i][k] = tok[i][k];
                for (int t = 0; t < 6; t++)
                    tok[i][k][t] =
                        (int32_t)rng_below(77, (uint64_t)(i * 100 + k * 10 + t), (uint32_t)n_vocab);
            }
            struct request *r = &score->job[i].r;
            r->max_new = 0;
            r->cont = cont[i];
            r->cont_len = len;
            r->n_cont = 5;
            r->cont_lp = lp[i];
        }
        jobs_run(en, score);
        for (int i = 0; i < 3; i++)
            for (int k = 0; k < 5; k++) {
                assert_int_equal(score->job[i].r.finish, FINISH_STOP);
                struct jobs *one = jobs_make(1, 1, 1, 0, 1, n_vocab);
                int32_t full[128];
                int n = score->job[i].r.n_prompt;
                memcpy(full, score->job[i].prompt, (size_t)n * sizeof *full);
                memcpy(full + n, tok[i][k], (size_t)len[k] * sizeof *full);
                struct raw w = {.j = one->job, .n_vocab = n_vocab, .n_prompt = n, .tok = full};
                struct request *r = &one->job[0].r;
                r->prompt = full;
                r->n_prompt = n + len[k];
                r->max_new = 0;
                r->on_logits = read_logits;
                r->logits_from = n - 1;
                r->user = &w;
                jobs_run(en, one);
                assert_int_equal(w.rows, len[k] + 1);
                if (!(fabs(w.sum - lp[i][k]) <= 1e-4))
                    fail_msg("prompt %d continuation %d: %.7f, from the logits %.7f", i, k,
                             lp[i][k], w.sum);
                jobs_free(one);
            }
        jobs_free(score);
        engine_close(en);
    }
}

static void a_constrained_reply_parses_even_when_the_limit_is_near(void **state)
{
    (void)state;
    static const char schema[] =
        "{\"type\": \"object\", \"properties\": {\"a\": {\"type\": \"string\", \"maxLength\": 40}, "
        "\"b\": {\"type\": \"array\", \"minItems\": 1, \"maxItems\": 3, \"items\": {\"enum\": "
        "[\"x\", \"yy\", \"yz\"]}}, \"p\": {\"type\": \"number\", \"minimum\": 0, \"maximum\": "
        "1}}, "
        "\"required\": [\"a\", \"b\", \"p\"]}";
    struct err e;
    struct engine_options o = serve_options();
    struct engine *en = open_engine(&o), *ahead;
    struct grammar *g = NULL;
    ok(grammar_compile(schema, strlen(schema), "test", &g, &e));
    o.max_draft = 12;
    o.always_draft = o.lookup = true;
    o.draft_model = o.model;
    ahead = open_engine(&o); /* drafts, and scores the same */
    int closed = 0, stopped = 0;
    for (int limit = 30; limit <= 110; limit += 16) {
        struct jobs *js = jobs_make(12, 5, 20, limit, (uint64_t)limit, engine_info(en)->n_vocab);
        for (int i = 0; i < js->n; i++) {
            js->job[i].r.grammar = g;
            js->job[i].r.temperature = 1.5f;
        }
        jobs_run(en, js);
        for (int i = 0; i < js->n; i++) {
            struct request *r = &js->job[i].r;
            struct str text = STR_INIT;
            ok(tokenizer_decode(engine_tokenizer(en), r->out, (size_t)r->n_out, 0, &text, &e));
            struct grammar_state s;
            grammar_start(g, &s);
            if (!grammar_feed(g, &s, text.s, text.len) || !s.done)
                fail_msg("limit %d: not a complete reply: %s", limit, text.s);
            closed += r->finish == FINISH_CLOSED;
            stopped += r->finish == FINISH_STOP;
            str_free(&text);
        }
        struct jobs *same = jobs_make(12, 5, 20, limit, (uint64_t)limit, engine_info(en)->n_vocab);
        for (int i = 0; i < same->n; i++) {
            same->job[i].r.grammar = g;
            same->job[i].r.temperature = 1.5f;
        }
        jobs_run(ahead, same);
        jobs_equal(js, same, "drafting under a grammar");
        jobs_free(same);
        jobs_free(js);
    }
    assert_true(closed > 0 && stopped > 0);
    struct engine_stats st;
    engine_stats(ahead, &st);
    assert_true(st.accepted > 1000 && st.drafted > st.accepted);
    engine_close(ahead);
    struct jobs *tiny = jobs_make(1, 5, 5, 4, 1, engine_info(en)->n_vocab);
    tiny->job[0].r.grammar = g;
    jobs_run(en, tiny);
    assert_int_equal(tiny->job[0].r.finish, FINISH_ERROR);
    assert_non_null(strstr(tiny->job[0].r.err.msg, "limit is 4"));
    jobs_free(tiny);
    grammar_free(g);
    engine_close(en);
}

static void bad_requests_are_refused_with_the_numbers(void **state)
{
    (void)state;
    struct err e;
    struct engine_options o = serve_options();
    struct engine *en = open_engine(&o);
    struct jobs *js = jobs_make(1, 200, 200, 57, 1, engine_info(en)->n_vocab);
    struct request *r = &js->job[0].r;
    fails(engine_submit(en, r, &e), ERR_DATA,
          "prompt of 200 tokens + 57 to come = 257 exceeds the context of 256");
    r->max_new = 56;
    jobs_run(en, js);
    assert_int_equal(r->n_out, 56);
    r->max_new = 55;
    jobs_run(en, js);
    assert_int_equal(r->n_out, 55);
    js->job[0].prompt[7] = engine_info(en)->n_vocab;
    fails(engine_submit(en, r, &e), ERR_DATA, "at position 7");
    js->job[0].prompt[7] = 0;
    r->temperature = NAN;
    fails(engine_submit(en, r, &e), ERR_USAGE, "temperature");
    r->temperature = 0;
    r->n_prompt = 0;
    fails(engine_submit(en, r, &e), ERR_DATA, "empty prompt");
    jobs_free(js);
    engine_close(en);
    o.n_ctx = 1 << 20;
    fails(engine_open(&o, &en, &e), ERR_USAGE, "1048576");
    o = serve_options();
    o.kv_bytes = 100;
    fails(engine_open(&o, &en, &e), ERR_USAGE,
          "cannot place the KV cache: one sequence of 256 tokens");
    o = serve_options();
    o.backend = "cuda";
    fails(engine_open(&o, &en, &e), ERR_NODEV, "CUDA backend");
    o.model = "/no/such/model.gguf";
    fails(engine_open(&o, &en, &e), ERR_NOINPUT, "/no/such/model.gguf");
}

static void a_draft_model_that_does_not_fit_is_refused(void **state)
{
    (void)state;
    struct err e;
    struct engine *en = NULL;
    struct engine_options o = serve_options();
    o.max_draft = 4;
    o.draft_model = "demo";
    fails(engine_open(&o, &en, &e), ERR_DATA, "vocabulary of 5120 tokens");
    o.draft_model = TEST_GOLDEN "/nothing.gguf";
    fails(engine_open(&o, &en, &e), ERR_NOINPUT, "nothing.gguf");
    o.draft_model = TEST_GOLDEN "/vocab_bpe.gguf";
    fails(engine_open(&o, &en, &e), ERR_DATA, "no tensors");
    o.draft_model = NULL;
    o.max_draft = 65;
    fails(engine_open(&o, &en, &e), ERR_USAGE,
          "--max-draft is '65'; it takes a whole number from 0 to 64");
    o.max_draft = 0;
    o.page_tokens = 48;
    fails(engine_open(&o, &en, &e), ERR_USAGE,
          "--page-tokens is '48'; it takes a power of two from 16 to 256");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(results_do_not_depend_on_the_order_of_weights),
        cmocka_unit_test(results_do_not_depend_on_batch_pages_chunks_threads_or_cache),
        cmocka_unit_test(results_hold_with_a_q8_0_cache_and_quantised_weights),
        cmocka_unit_test(results_do_not_depend_on_drafts),
        cmocka_unit_test(results_do_not_depend_on_branches),
        cmocka_unit_test(branches_save_passes),
        cmocka_unit_test(the_oldest_has_rows_in_every_step),
        cmocka_unit_test(drafted_tokens_have_the_distribution_of_the_model),
        cmocka_unit_test(the_oracle_and_the_fast_backend_agree_on_greedy_text),
        cmocka_unit_test(a_shared_prefix_is_computed_once),
        cmocka_unit_test(scores_of_continuations_equal_the_raw_logits),
        cmocka_unit_test(a_constrained_reply_parses_even_when_the_limit_is_near),
        cmocka_unit_test(a_draft_model_that_does_not_fit_is_refused),
        cmocka_unit_test(bad_requests_are_refused_with_the_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
