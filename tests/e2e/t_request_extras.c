/* Extras of a request: top lists, scores of its prompt, biases, penalties, choices of a letter. The
 * raw logits of the same text (on_logits) say what each must be. Bits never depend on company,
 * chunks, pages, cache, drafts, threads or preemption. */
#include <math.h>

#include "grammar.h"
#include "rng.h"
#include "serve.h"
#include "test.h"
#include "tokenizer.h"

enum { JOBS = 36, FEW = 12, NEW = 40, SHARED = 48, CONTS = 3, BIASES = 8, THOUGHT = 20 };
enum { LETTERS = 4 }; /* the schema allows three of them */

static const char schema[] =
    "{\"type\": \"object\", \"properties\": {\"c\": {\"enum\": [\"A\", \"B\", \"D\"]}, "
    "\"a\": {\"type\": \"string\", \"maxLength\": 12}, "
    "\"b\": {\"enum\": [\"x\", \"yy\", \"yz\"]}}, \"required\": [\"c\", \"a\", \"b\"]}";
static const char after[] = "\"c\": \"";
static const int32_t added[] = {65, 66, 67, 68};

static struct engine *open_engine(const struct engine_options *o)
{
    struct engine *en = NULL;
    struct err e;
    ok(engine_open(o, &en, &e));
    return en;
}

struct extra { /* buffers of a job, beyond those of struct job */
    struct token_lp *top, *prompt_top;
    float *prompt_lp;
    struct token_bias bias[BIASES];
    int32_t token[CONTS][4];
    const int32_t *cont[CONTS];
    int cont_len[CONTS];
    double cont_lp[CONTS];
    double choice_lp[LETTERS];
};

struct crowd {
    struct jobs *js;
    struct extra *x;
    struct grammar *g;
};

static void extra_change(struct request *r, struct extra *x, int i, int n_vocab)
{
    static const int last_n[] = {-1, 0, 5, 64};
    if (i % 5 == 1 || i % 5 == 2) {
        r->bias = x->bias;
        r->n_bias = 1 + i % BIASES;
        for (int k = 0; k < r->n_bias; k++) {
            x->bias[k].id = (int32_t)rng_below(50 + (uint64_t)i, (uint64_t)k, (uint32_t)n_vocab);
            x->bias[k].bias = k == 1 ? -100 : 3.0f * (rng_uniform(60, (uint64_t)k) - 0.3f);
        }
        if (r->n_bias > 3)
            x->bias[3].id = x->bias[2].id; /* the two add up */
    }
    if (i % 4 >= 2) {
        r->presence_penalty = 0.7f * (float)(i % 3);
        r->frequency_penalty = i % 8 == 3 ? -0.4f : 0.9f;
    }
    if (i % 3 == 1) {
        r->repeat_penalty = i % 2 ? 1.3f : 0.8f;
        r->repeat_last_n = last_n[i % 4];
    }
}

/* Kinds: most generate, some only score their prompt, some score continuations too. */
static void extra_make(struct crowd *c, int i, int n_vocab)
{
    static const int n_top[] = {0, 1, 5, REQUEST_TOP_MOST};
    struct request *r = &c->js->job[i].r;
    struct extra *x = &c->x[i];
    size_t n = (size_t)r->n_prompt;
    r->n_top = n_top[i % 4];
    for (int k = 0; k < SHARED && k < r->n_prompt && i % 2; k++)
        c->js->job[i].prompt[k] = (int32_t)rng_below(77, (uint64_t)k, (uint32_t)n_vocab);
    if (i % 3 != 2) {
        const int from[] = {0, 1, 17, r->n_prompt - 1, r->n_prompt, SHARED - 3};
        r->prompt_lp_from = from[i / 3 % 6] < r->n_prompt ? from[i / 3 % 6] : r->n_prompt;
        r->prompt_lp = x->prompt_lp = malloc(n * sizeof *x->prompt_lp);
        r->prompt_top = x->prompt_top = malloc(n * REQUEST_TOP_MOST * sizeof *x->prompt_top);
    }
    extra_change(r, x, i, n_vocab);
    if (i % 7 == 3) {
        r->grammar = c->g;
        r->ignore_eos = false;
        r->top_k = 0;
        r->presence_penalty = r->frequency_penalty = 1.5f;
        r->choice = (struct request_choice){
            .after = after, .n_after = sizeof after - 1, .n = LETTERS, .lp = x->choice_lp};
    }
    if (i % 6 == 5)
        r->think = (struct request_think){.max = THOUGHT,
                                          .close = i % 12 == 5 ? "in" : "no model says this",
                                          .n_close = i % 12 == 5 ? 2 : 18,
                                          .end = added,
                                          .n_end = 3,
                                          .after = added + 2,
                                          .n_after = 2};
    if (i % 9 == 7) {
        r->max_new = 0;
        r->grammar = NULL;
        r->choice.n = 0;
        r->n_cont = i % 2 ? CONTS : 0;
        for (int k = 0; k < r->n_cont; k++) {
            x->cont_len[k] = 1 + k;
            for (int m = 0; m <= k; m++)
                x->token[k][m] = 3 + k + m;
            x->cont[k] = x->token[k];
        }
        r->cont = x->cont;
        r->cont_len = x->cont_len;
        r->cont_lp = x->cont_lp;
        r->think.max = 0;
    }
    size_t most = (size_t)request_most(r) + 1;
    free(c->js->job[i].out);
    free(c->js->job[i].lp);
    r->out = c->js->job[i].out = calloc(most, sizeof *r->out);
    r->out_lp = c->js->job[i].lp = calloc(most, sizeof *r->out_lp);
    r->out_top = x->top = calloc(most * REQUEST_TOP_MOST, sizeof *x->top);
}

static struct crowd crowd_make(const struct engine *en, int n)
{
    struct crowd c = {0};
    struct err e;
    int n_vocab = engine_info(en)->n_vocab;
    ok(grammar_compile(schema, strlen(schema), "test", &c.g, &e));
    c.js = jobs_make(n, 2, 100, NEW, 21, n_vocab);
    c.x = calloc((size_t)n, sizeof *c.x);
    for (int i = 0; i < n; i++)
        extra_make(&c, i, n_vocab);
    return c;
}

static void crowd_free(struct crowd *c)
{
    for (int i = 0; i < c->js->n; i++) {
        free(c->x[i].top);
        free(c->x[i].prompt_top);
        free(c->x[i].prompt_lp);
    }
    free(c->x);
    grammar_free(c->g);
    jobs_free(c->js);
}

static void crowd_alone(struct engine *en, struct crowd *c)
{
    for (int i = 0; i < c->js->n; i++) {
        jobs_submit(en, c->js, i, i + 1);
        jobs_wait(c->js);
        if (c->js->job[i].r.finish == FINISH_ERROR)
            fail_msg("request %d: %s", i, c->js->job[i].r.err.msg);
    }
}

/* ---- by the raw logits ----------------------------------------------------------------------- */

struct rows { /* of a text: logits (n, n_vocab) */
    float *x;
    int n, n_vocab;
};

static void keep_row(struct request *r, int pos, const float *logits)
{
    struct rows *rows = r->user;
    assert_true(pos < rows->n);
    memcpy(rows->x + (size_t)pos * (size_t)rows->n_vocab, logits,
           (size_t)rows->n_vocab * sizeof *logits);
}

static struct rows rows_of(struct engine *en, const int32_t *text, int n)
{
    struct rows rows = {.n = n, .n_vocab = engine_info(en)->n_vocab};
    rows.x = malloc((size_t)n * (size_t)rows.n_vocab * sizeof *rows.x);
    struct jobs *one = jobs_make(1, n, n, 0, 1, rows.n_vocab);
    struct request *r = &one->job[0].r;
    memcpy(one->job[0].prompt, text, (size_t)n * sizeof *text);
    r->on_logits = keep_row;
    r->user = &rows;
    jobs_run(en, one);
    assert_int_equal(r->finish, FINISH_STOP);
    jobs_free(one);
    return rows;
}

static double true_lp(const float *x, int n, int32_t id)
{
    double max = (double)x[0], sum = 0;
    for (int i = 0; i < n; i++)
        max = (double)x[i] > max ? (double)x[i] : max;
    for (int i = 0; i < n; i++)
        sum += exp((double)x[i] - max);
    return (double)x[id] - max - log(sum);
}

static bool before(const float *x, int32_t a, int32_t b)
{
    return x[a] > x[b] || (x[a] == x[b] && a < b);
}

static void check_top(const float *x, int n_vocab, const struct token_lp *top, int n_top)
{
    assert_true(n_top <= n_vocab);
    for (int k = 0; k < n_top; k++) {
        int ahead = 0;
        for (int32_t i = 0; i < n_vocab; i++)
            ahead += before(x, i, top[k].id);
        assert_int_equal(ahead, k);
        assert_true(fabs((double)top[k].lp - true_lp(x, n_vocab, top[k].id)) < 1e-5);
    }
}

static bool same_float(float a, float b)
{
    return !memcmp(&a, &b, sizeof a);
}

static void check_listed(const struct token_lp *top, int n_top, int32_t id, float lp)
{
    for (int k = 0; k < n_top; k++)
        if (top[k].id == id)
            assert_true(same_float(top[k].lp, lp));
}

static void check_prompt(const struct request *r, const struct rows *rows)
{
    for (int p = 0; p < r->n_prompt && r->prompt_lp; p++) {
        const struct token_lp *top = r->prompt_top + p * r->n_top;
        const float *x = p ? rows->x + (size_t)(p - 1) * (size_t)rows->n_vocab : NULL;
        bool wanted = p > 0 && p >= r->prompt_lp_from;
        if (!wanted) {
            assert_true(isnan(r->prompt_lp[p]));
            for (int k = 0; k < r->n_top; k++)
                assert_true(top[k].id == -1 && isnan(top[k].lp));
            continue;
        }
        double want = true_lp(x, rows->n_vocab, r->prompt[p]);
        if (!(fabs((double)r->prompt_lp[p] - want) < 1e-5))
            fail_msg("prompt token %d: %g, by its logits %g", p, (double)r->prompt_lp[p], want);
        check_top(x, rows->n_vocab, top, r->n_top);
        check_listed(top, r->n_top, r->prompt[p], r->prompt_lp[p]);
    }
}

/* The logits of a row after r's changes, in the plain way. */
static void change(const struct request *r, const int32_t *text, int n, const float *x, int n_vocab,
                   float *y)
{
    int last = r->repeat_last_n < 0 || r->repeat_last_n > n ? n : r->repeat_last_n;
    for (int32_t id = 0; id < n_vocab; id++) {
        float count = 0, bias = 0;
        bool recent = false;
        for (int i = r->n_prompt; i < n; i++)
            count += text[i] == id;
        for (int i = n - last; i < n; i++)
            recent = recent || text[i] == id;
        for (int i = 0; i < r->n_bias; i++)
            bias += r->bias[i].id == id ? r->bias[i].bias : 0;
        y[id] = x[id];
        if (recent && r->repeat_penalty != 0)
            y[id] = x[id] > 0 ? x[id] / r->repeat_penalty : x[id] * r->repeat_penalty;
        if (count > 0)
            y[id] -= count * r->frequency_penalty + r->presence_penalty;
        y[id] += bias;
    }
}

/* The best score of the rule that draws tokens (ops.h), without filters. */
static double score(const struct request *r, int step, const float *y, int32_t id)
{
    if (r->temperature == 0)
        return (double)y[id];
    uint64_t key = rng_key(r->seed, r->id, (uint64_t)step);
    return (double)y[id] / (double)r->temperature -
           log(-log((double)rng_uniform(key, (uint64_t)id)));
}

/* The distribution of the letter that the k-th token writes, from the logits x of its row. said:
 * the reply before it. Returns false when the token writes no letter after `after`. */
static bool check_choice(struct engine *en, const struct request *r, int k, const struct str *said,
                         const float *x, int n_vocab, const uint32_t *mask)
{
    double p[LETTERS] = {0}, sum = 0;
    struct str text = STR_INIT;
    for (int32_t id = 0; id < n_vocab; id++) {
        const char *piece, *at;
        size_t n;
        text.len = 0;
        str_add(&text, said->s, said->len);
        tokenizer_text(engine_tokenizer(en), id, &piece, &n);
        str_add(&text, piece, n);
        at = text.len ? strstr(text.s, after) : NULL;
        at = at ? at + sizeof after - 1 : NULL;
        bool writes = at && *at && (size_t)(at - text.s) >= said->len;
        if (id == r->out[k] && !writes) {
            str_free(&text);
            return false;
        }
        if (writes && mask[id / 32] >> id % 32 & 1)
            p[*at - 'A'] += exp(true_lp(x, n_vocab, id));
    }
    str_free(&text);
    for (int i = 0; i < LETTERS; i++)
        sum += p[i];
    assert_true(r->choice.made && p[2] == 0 && isinf(r->choice.lp[2]));
    for (int i = 0; i < LETTERS; i++)
        if (!(fabs(exp(r->choice.lp[i]) - p[i] / sum) < 1e-5))
            fail_msg("letter %c: %g, by the logits %g", 'A' + i, exp(r->choice.lp[i]), p[i] / sum);
    return true;
}

static int letters_checked;

static int check_reply(struct engine *en, const struct request *r, const struct grammar *g,
                       const int32_t *text, const struct rows *rows)
{
    struct err e;
    struct grammar_vocab *gv = NULL;
    struct grammar_state s;
    float *y = malloc((size_t)rows->n_vocab * sizeof *y);
    struct str said = STR_INIT;
    int moved = 0;
    ok(grammar_vocab_open(engine_tokenizer(en), &gv, &e));
    if (g)
        grammar_start(g, &s);
    for (int k = 0; k < r->n_out; k++) {
        const struct token_lp *top = r->out_top + k * r->n_top;
        const float *x = rows->x + (size_t)(r->n_prompt + k - 1) * (size_t)rows->n_vocab;
        const uint32_t *mask = NULL;
        if (isnan(r->out_lp[k])) { /* added by the engine */
            for (int m = 0; m < r->n_top; m++)
                assert_true(top[m].id == -1 && isnan(top[m].lp));
            continue;
        }
        assert_true(fabs((double)r->out_lp[k] - true_lp(x, rows->n_vocab, r->out[k])) < 1e-5);
        check_top(x, rows->n_vocab, top, r->n_top);
        check_listed(top, r->n_top, r->out[k], r->out_lp[k]);
        change(r, text, r->n_prompt + k, x, rows->n_vocab, y);
        if (g && k >= r->n_think)
            ok(grammar_mask(gv, g, &s, &mask, &e));
        int32_t best = r->out[k], plain = r->out[k];
        for (int32_t id = 0; id < rows->n_vocab && !r->top_k; id++)
            if (!mask || mask[id / 32] >> id % 32 & 1) {
                best = score(r, k, y, id) > score(r, k, y, best) + 1e-3 ? id : best;
                plain = score(r, k, x, id) > score(r, k, x, plain) ? id : plain;
            }
        if (best != r->out[k])
            fail_msg("token %d is %d (score %g); token %d has %g", k, r->out[k],
                     score(r, k, y, r->out[k]), best, score(r, k, y, best));
        moved += plain != best;
        if (g && k >= r->n_think) {
            const char *piece;
            size_t n;
            letters_checked += check_choice(en, r, k, &said, x, rows->n_vocab, mask);
            tokenizer_text(engine_tokenizer(en), r->out[k], &piece, &n);
            str_add(&said, piece, n);
            assert_true(grammar_accept(gv, g, &s, r->out[k]));
        }
    }
    str_free(&said);
    grammar_vocab_close(gv);
    free(y);
    return moved;
}

/* The same float as a scoring of that token after the same prompt gives. */
static void check_score(struct engine *en, const struct request *r, int p)
{
    const int32_t *cont = r->prompt + p;
    int len = 1;
    double lp = 0;
    struct jobs *one = jobs_make(1, p, p, 0, 1, engine_info(en)->n_vocab);
    struct request *q = &one->job[0].r;
    memcpy(one->job[0].prompt, r->prompt, (size_t)p * sizeof *cont);
    q->cont = &cont;
    q->cont_len = &len;
    q->n_cont = 1;
    q->cont_lp = &lp;
    jobs_run(en, one);
    assert_true(same_float((float)lp, r->prompt_lp[p]));
    jobs_free(one);
}

static void results_are_those_that_the_raw_logits_give(void **state)
{
    (void)state;
    static const char *const backends[] = {"cpu", "ref", "cudahost"};
    for (int b = 0; b < 3; b++) {
        struct engine_options o = serve_options();
        if (!test_backend(backends[b]))
            continue;
        o.backend = backends[b];
        bool host = b < 2; /* kernels on a host take long */
        struct engine *en = open_engine(&o);
        struct crowd c = crowd_make(en, host ? JOBS : FEW);
        int moved = 0, scored = 0, constrained = 0;
        crowd_alone(en, &c);
        letters_checked = 0;
        for (int i = 0; i < c.js->n; i++) {
            const struct request *r = &c.js->job[i].r;
            int32_t text[256];
            memcpy(text, r->prompt, (size_t)r->n_prompt * sizeof *text);
            memcpy(text + r->n_prompt, r->out, (size_t)r->n_out * sizeof *text);
            struct rows rows = rows_of(en, text, r->n_prompt + r->n_out);
            check_prompt(r, &rows);
            int n = check_reply(en, r, r->grammar, text, &rows);
            moved += n;
            constrained += r->grammar ? n : 0;
            for (int p = 1; p < r->n_prompt && r->prompt_lp; p += 9)
                if (p >= r->prompt_lp_from) {
                    check_score(en, r, p);
                    scored++;
                }
            free(rows.x);
        }
        assert_true(host ? moved > 50 && scored > 50 && constrained > 3
                         : moved > 10 && scored > 10);
        assert_in_range(letters_checked, host ? 3 : 1, JOBS);
        crowd_free(&c);
        engine_close(en);
    }
}

/* ---- the same bits whatever else happens ----------------------------------------------------- */

static void crowd_equal(const struct crowd *want, const struct crowd *got, const char *what)
{
    jobs_equal(want->js, got->js, what);
    for (int i = 0; i < want->js->n; i++) {
        const struct request *a = &want->js->job[i].r, *b = &got->js->job[i].r;
        size_t n_out = (size_t)(a->n_out * a->n_top), n = (size_t)a->n_prompt;
        if (memcmp(a->out_top, b->out_top, n_out * sizeof *a->out_top))
            fail_msg("%s: request %d: other top lists", what, i);
        for (size_t p = 0; p < n && a->prompt_lp; p++)
            if (!same_float(a->prompt_lp[p], b->prompt_lp[p]) &&
                !(isnan(a->prompt_lp[p]) && isnan(b->prompt_lp[p])))
                fail_msg("%s: request %d, prompt token %zu: %g, reference %g", what, i, p,
                         (double)b->prompt_lp[p], (double)a->prompt_lp[p]);
        if (a->prompt_top &&
            memcmp(a->prompt_top, b->prompt_top, n * (size_t)a->n_top * sizeof *a->prompt_top))
            fail_msg("%s: request %d: other top lists of the prompt", what, i);
        for (int k = 0; k < a->n_cont; k++)
            assert_memory_equal(&a->cont_lp[k], &b->cont_lp[k], sizeof(double));
        assert_int_equal(a->choice.made, b->choice.made);
        if (a->choice.made)
            assert_memory_equal(a->choice.lp, b->choice.lp, LETTERS * sizeof(double));
    }
}

static struct engine_stats same(const struct crowd *want, const struct engine_options *o,
                                const char *what)
{
    struct engine *en = open_engine(o);
    struct crowd c = crowd_make(en, want->js->n);
    struct engine_stats st;
    jobs_run(en, c.js);
    crowd_equal(want, &c, what);
    engine_stats(en, &st);
    assert_int_equal(st.pages_used, 0);
    for (int i = 0; i < c.js->n; i++) {
        const struct request *r = &c.js->job[i].r;
        if (r->prompt_lp && r->prompt_lp_from < r->n_prompt)
            assert_true(r->n_cached <= (r->prompt_lp_from > 1 ? r->prompt_lp_from - 1 : 0));
    }
    engine_close(en);
    crowd_free(&c);
    return st;
}

static void extras_do_not_depend_on_company_drafts_pages_or_cache(void **state)
{
    (void)state;
    char dir[256], draft[300];
    struct engine_options plain = serve_options(), o = plain;
    o.no_prefix_cache = true;
    o.n_threads = 1;
    struct engine *en = open_engine(&o);
    struct crowd want = crowd_make(en, JOBS);
    crowd_alone(en, &want);
    engine_close(en);
    struct engine_stats st = same(&want, &plain, "together");
    assert_true(st.cached_tokens > 0);
    o = plain;
    o.n_threads = 3;
    o.n_seq = 3;
    o.batch_tokens = 24;
    o.page_tokens = 64;
    same(&want, &o, "3 together, 24 rows, pages of 64, 3 threads");
    o = plain;
    o.max_draft = 8;
    o.always_draft = o.lookup = true;
    assert_true(same(&want, &o, "lookup").drafted > 100);
    o.draft_model = o.model;
    assert_true(same(&want, &o, "the model itself as its draft").accepted > 100);
    o.spoil_drafts = 0.3;
    assert_true(same(&want, &o, "drafts spoilt").accepted > 50);
    snprintf(draft, sizeof draft, "%s/draft.gguf", test_mkdir(dir));
    serve_draft(draft);
    o.spoil_drafts = 0;
    o.max_draft = 6;
    o.draft_model = draft;
    o.max_branch = 4;
    assert_true(same(&want, &o, "branches").branched > 3);
    o = plain;
    o.kv_bytes = 17 * 16 * 2 * 2 * 16 * 2 * 2; /* two contexts: sequences preempt each other */
    assert_true(same(&want, &o, "preempted").preempted > 0);
    o.max_draft = 5;
    o.max_branch = 3;
    o.always_draft = true;
    o.draft_model = draft;
    o.swap = PLAN_SWAP_ON;
    same(&want, &o, "preempted and swapped, branches");
    test_rmdir(dir);
    crowd_free(&want);
}

/* A device has its logits in its own memory: rows go to the host and back. */
static void a_device_gives_the_same_in_company(void **state)
{
    (void)state;
    struct engine_options o = serve_options();
    o.backend = "cudahost";
    if (!test_backend(o.backend))
        skip();
    struct engine *en = open_engine(&o);
    struct crowd want = crowd_make(en, FEW);
    crowd_alone(en, &want);
    engine_close(en);
    same(&want, &o, "together on a device");
    o.max_draft = 4;
    o.always_draft = o.lookup = true;
    o.batch_tokens = 40;
    assert_true(same(&want, &o, "lookup on a device").drafted > 20);
    crowd_free(&want);
}

/* Pages of a shared beginning are used below the first scored position only. */
static void a_scored_prompt_uses_the_prefix_cache_below_its_scores(void **state)
{
    (void)state;
    static const struct {
        int from, cached;
    } table[] = {{0, 0}, {1, 0}, {16, 0}, {17, 16}, {32, 16}, {33, 32}, {81, 80}, {90, 80}};
    struct engine_options o = serve_options();
    struct engine *en = open_engine(&o);
    float lp[90];
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct jobs *one = jobs_make(1, 90, 90, 4, 3, engine_info(en)->n_vocab);
        jobs_run(en, one); /* fills the cache */
        assert_int_equal(one->job[0].r.n_cached, i ? 80 : 0);
        one->job[0].r.prompt_lp = lp;
        one->job[0].r.prompt_lp_from = table[i].from;
        one->job[0].r.max_new = i % 2 ? 4 : 0;
        jobs_run(en, one);
        assert_int_equal(one->job[0].r.n_cached, table[i].cached);
        assert_int_equal(one->job[0].r.finish, i % 2 ? FINISH_LENGTH : FINISH_STOP);
        for (int p = 0; p < 90; p++)
            assert_int_equal(!isnan(lp[p]), p > 0 && p >= table[i].from);
        jobs_free(one);
    }
    engine_close(en);
}

static void a_prompt_of_one_token_has_nothing_to_score(void **state)
{
    (void)state;
    struct engine_options o = serve_options();
    struct engine *en = open_engine(&o);
    for (int max_new = 0; max_new < 3; max_new++) {
        struct jobs *one = jobs_make(1, 1, 1, max_new, 3, engine_info(en)->n_vocab);
        struct token_lp top[3] = {{0}}, out_top[9];
        float lp = 1;
        struct request *r = &one->job[0].r;
        r->prompt_lp = &lp;
        r->prompt_top = top;
        r->out_top = out_top;
        r->n_top = 3;
        jobs_run(en, one);
        assert_int_equal(r->finish, max_new ? FINISH_LENGTH : FINISH_STOP);
        assert_int_equal(r->n_out, max_new);
        assert_true(isnan(lp) && top[0].id == -1 && top[2].id == -1);
        jobs_free(one);
    }
    engine_close(en);
}

static void values_out_of_range_are_refused(void **state)
{
    (void)state;
    struct err e;
    struct engine_options o = serve_options();
    struct engine *en = open_engine(&o);
    struct jobs *js = jobs_make(1, 20, 20, 20, 1, engine_info(en)->n_vocab);
    struct request *r = &js->job[0].r, good = *r;
    struct token_bias bias = {3, 1};
    float lp[20];
    double choice_lp;
#define REFUSED(code, text, ...)                                                                   \
    do {                                                                                           \
        *r = good;                                                                                 \
        __VA_ARGS__;                                                                               \
        fails(engine_submit(en, r, &e), code, text);                                               \
        fails(engine_check(en, r, &e), code, text);                                                \
    } while (0)
    REFUSED(ERR_USAGE, "bad n_top 21: must be 0 to 20", r->n_top = 21);
    REFUSED(ERR_USAGE, "bad n_top -1", r->n_top = -1);
    REFUSED(ERR_USAGE, "bad prompt_lp_from 21: must be 0 to 20", r->prompt_lp_from = 21);
    REFUSED(ERR_BUG, "a choice of 3 letters in a reply without a grammar",
            r->choice = (struct request_choice){
                .after = after, .n_after = sizeof after - 1, .n = 3, .lp = &choice_lp});
    REFUSED(ERR_BUG, "a choice of 27 letters", r->choice.n = 27);
    REFUSED(ERR_USAGE, "1025 biases of tokens: must be 0 to 1024", r->n_bias = 1025);
    r->bias = good.bias = &bias;
    good.n_bias = 1;
    REFUSED(ERR_USAGE, "bad bias 100.5 of token 3: must be -100 to 100", bias.bias = 100.5f);
    REFUSED(ERR_USAGE, "bad bias nan", bias.bias = NAN);
    bias.bias = -100;
    REFUSED(ERR_DATA, "bad token id -1 in bias 0", bias.id = -1);
    REFUSED(ERR_DATA, "in bias 0: must be 0 to", bias.id = engine_info(en)->n_vocab);
    bias.id = 3;
    REFUSED(ERR_USAGE, "bad presence_penalty 2.5: must be -2 to 2", r->presence_penalty = 2.5f);
    REFUSED(ERR_USAGE, "bad frequency_penalty -2.5", r->frequency_penalty = -2.5f);
    REFUSED(ERR_USAGE, "bad frequency_penalty nan", r->frequency_penalty = NAN);
    REFUSED(ERR_USAGE, "bad repeat_penalty 101: must be 0.01 to 100", r->repeat_penalty = 101);
    REFUSED(ERR_USAGE, "bad repeat_penalty -1", r->repeat_penalty = -1);
    REFUSED(ERR_USAGE, "bad repeat_last_n -2: must be -1", r->repeat_last_n = -2);
    REFUSED(ERR_BUG, "generates (max_new 0)", r->max_new = 0);
    REFUSED(ERR_BUG, "for scores of its prompt and for logits", r->max_new = 0,
            r->on_logits = keep_row, r->prompt_lp = lp);
    *r = good;
    r->max_new = 0;
    r->prompt_lp = lp;
    ok(engine_check(en, r, &e));
    jobs_free(js);
    engine_close(en);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(results_are_those_that_the_raw_logits_give),
        cmocka_unit_test(extras_do_not_depend_on_company_drafts_pages_or_cache),
        cmocka_unit_test(a_device_gives_the_same_in_company),
        cmocka_unit_test(a_scored_prompt_uses_the_prefix_cache_below_its_scores),
        cmocka_unit_test(a_prompt_of_one_token_has_nothing_to_score),
        cmocka_unit_test(values_out_of_range_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
