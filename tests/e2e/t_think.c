/* Thinking in the engine: a block of free text before the reply, its ends, its budget, and the same
 * bits whatever else the engine does. */
#include <math.h>

#include "grammar.h"
#include "rng.h"
#include "serve.h"
#include "test.h"
#include "think.h"
#include "tokenizer.h"

enum { JOBS = 16, FREE = 120 };

static const char schema[] =
    "{\"type\": \"object\", \"properties\": {\"a\": {\"type\": \"string\", \"maxLength\": 12}, "
    "\"b\": {\"enum\": [\"x\", \"yy\", \"yz\"]}}, \"required\": [\"a\", \"b\"]}";

static struct engine *open_engine(const struct engine_options *o)
{
    struct engine *en = NULL;
    struct err e;
    ok(engine_open(o, &en, &e));
    return en;
}

/* Requests whose free replies are read as the thinking of others: the same prompts and seeds. */
static struct jobs *free_jobs(struct engine *en, int max_new)
{
    return jobs_make(JOBS, 1, 60, max_new, 11, engine_info(en)->n_vocab);
}

static struct str text_of(const struct engine *en, const int32_t *id, int n)
{
    struct str s = STR_INIT;
    for (int i = 0; i < n; i++)
        tokenizer_piece(engine_tokenizer(en), id[i], TOK_SPECIAL, &s);
    return s;
}

static const int32_t tokens[] = {65, 66, 67, 68};

static struct request_think thinking(const char *close, int n_close, int max, int n_after)
{
    return (struct request_think){.max = max,
                                  .close = close,
                                  .n_close = n_close,
                                  .end = tokens,
                                  .n_end = 3,
                                  .after = tokens + 2,
                                  .n_after = n_after};
}

static int feed(const struct tokenizer *tok, const char *close, const char *const *piece)
{
    struct request_think t = thinking(close, (int)strlen(close), 10, 0);
    struct think b = think_begin(&t);
    for (int i = 0; piece[i]; i++) {
        int32_t id = tokenizer_find(tok, piece[i], strlen(piece[i]));
        assert_true(id >= 0);
        if (think_take(&t, tok, &b, id)) {
            assert_false(b.open);
            return b.rest ? -i : i;
        }
    }
    assert_true(b.open);
    return 99;
}

static void the_end_is_found_by_its_text(void **state)
{
    (void)state;
    struct engine_options o = serve_options();
    struct engine *en = open_engine(&o);
    const struct tokenizer *tok = engine_tokenizer(en);
#define FEED(close, ...) feed(tok, close, (const char *const[]){__VA_ARGS__, NULL})
    assert_int_equal(FEED("in", "a", "in"), 1);
    assert_int_equal(FEED("in", "i", "n"), 1);
    assert_int_equal(FEED("in", "i", "ing"), -1); /* another try begins within the token */
    assert_int_equal(FEED("in", "ing"), 0);
    assert_int_equal(FEED("the", " the"), 0);
    assert_int_equal(FEED("ther", " the", "er", "r"), 99);
    assert_int_equal(FEED("ther", " t", "he", "r"), 2);
    assert_int_equal(FEED("ther", " t", "he", "re"), -2);
    assert_int_equal(FEED("aab", "a", "a", "a", "b"), 3);
    assert_int_equal(FEED("aab", "a", "a", "c", "a", "b"), 99);
    assert_int_equal(FEED("abab!", "a", "b", "a", "b", "a", "b", "!"), 6);
    assert_int_equal(FEED("<|start_header_id|>", "a", "<|start_header_id|>", "b"), 1);
    assert_int_equal(FEED("<|start_header_id|>", "<", "|", "s"), 99);
    engine_close(en);
}

/* Tokens of the free reply up to the first end of `close`, looked for in the plain way. 0: none. */
static int oracle_end(const struct engine *en, const int32_t *id, int n, const char *close,
                      size_t n_close)
{
    for (int m = 1; m <= n; m++) {
        struct str s = text_of(en, id, m);
        bool has = false;
        for (size_t k = 0; k + n_close <= s.len && !has; k++)
            has = !memcmp(s.s + k, close, n_close);
        str_free(&s);
        if (has)
            return m;
    }
    return 0;
}

/* Counter-based draws: block and reply are together the tokens of one free reply. So an end by the
 * model itself only marks a place in it. */
static void a_block_that_the_model_closes_is_the_beginning_of_its_free_text(void **state)
{
    (void)state;
    struct engine_options o = serve_options();
    struct engine *en = open_engine(&o);
    struct jobs *all = free_jobs(en, FREE);
    jobs_run(en, all);
    int spanning = 0, inside = 0;
    for (int i = 0; i < JOBS; i++)
        for (int kind = 0; kind < 3; kind++) {
            const int32_t *out = all->job[i].out;
            int at = 7 + 5 * kind;
            struct str close = text_of(en, out + at, 1 + kind);
            const char *s = close.s;
            size_t n = close.len;
            if (kind && n > 2) /* begins and ends inside tokens if they have more than a byte */
                s++, n -= 2;
            if (!n || n > THINK_CLOSE_MOST) {
                str_free(&close);
                continue;
            }
            int end = oracle_end(en, out, FREE, s, n);
            assert_true(end > 0 && end <= at + 1 + kind);
            struct request_think t = thinking(s, (int)n, 60, 0);
            struct jobs *js = free_jobs(en, FREE - end);
            jobs_think(js, &t);
            jobs_submit(en, js, i, i + 1);
            jobs_wait(js);
            const struct request *r = &js->job[i].r;
            assert_int_equal(r->thought, THOUGHT_CLOSED);
            assert_int_equal(r->n_think, end);
            assert_int_equal(r->n_out, FREE);
            assert_int_equal(r->n_own, FREE - end);
            assert_int_equal(r->finish, FINISH_LENGTH);
            assert_memory_equal(r->out, out, FREE * sizeof *out);
            assert_memory_equal(r->out_lp, all->job[i].lp, FREE * sizeof(float));
            struct str last = text_of(en, out, end), before = text_of(en, out, end - 1);
            spanning += last.len - before.len < n;
            inside += last.len > n && memcmp(last.s + last.len - n, s, n) != 0;
            str_free(&last);
            str_free(&before);
            str_free(&close);
            jobs_free(js);
        }
    assert_true(spanning > 5 && inside > 0);
    jobs_free(all);
    engine_close(en);
}

/* A reply after added tokens: greedy, it is the reply to the prompt with the whole block. */
static void check_reply(struct engine *en, const struct request *r)
{
    struct jobs *one = jobs_make(1, 1, 1, r->max_new, 1, engine_info(en)->n_vocab);
    struct request *p = &one->job[0].r;
    int32_t full[256];
    memcpy(full, r->prompt, (size_t)r->n_prompt * sizeof *full);
    memcpy(full + r->n_prompt, r->out, (size_t)r->n_think * sizeof *full);
    p->prompt = full;
    p->n_prompt = r->n_prompt + r->n_think;
    p->grammar = r->grammar;
    p->ignore_eos = r->ignore_eos;
    assert_true(r->temperature == 0);
    jobs_run(en, one);
    assert_int_equal(p->finish, r->finish);
    assert_int_equal(p->n_out, r->n_out - r->n_think);
    assert_int_equal(p->n_own, r->n_own);
    for (int k = 0; k < p->n_out; k++)
        if (p->out[k] != r->out[r->n_think + k] ||
            memcmp(&p->out_lp[k], &r->out_lp[r->n_think + k], sizeof(float)) != 0)
            fail_msg("token %d of the reply is %d (%g), %d (%g) after the same text", k,
                     r->out[r->n_think + k], (double)r->out_lp[r->n_think + k], p->out[k],
                     (double)p->out_lp[k]);
    jobs_free(one);
}

static void a_budget_that_runs_out_closes_the_block(void **state)
{
    (void)state;
    struct engine_options o = serve_options();
    struct engine *en = open_engine(&o);
    struct err e;
    struct grammar *g = NULL;
    ok(grammar_compile(schema, strlen(schema), "test", &g, &e));
    static const char never[] = "no model says this";
    for (int max = 1; max <= 33; max += 16)
        for (int constrained = 0; constrained < 2; constrained++) {
            struct jobs *all = free_jobs(en, max), *js = free_jobs(en, 30);
            struct request_think t = thinking(never, sizeof never - 1, max, 1);
            jobs_think(js, &t);
            for (int i = 0; i < JOBS; i++)
                js->job[i].r.grammar = constrained ? g : NULL;
            jobs_run(en, all);
            jobs_run(en, js);
            for (int i = 0; i < JOBS; i++) {
                const struct request *r = &js->job[i].r;
                assert_int_equal(r->thought, THOUGHT_CUT);
                assert_int_equal(r->n_think, max + 3);
                assert_memory_equal(r->out, all->job[i].out, (size_t)max * sizeof *r->out);
                assert_memory_equal(r->out + max, tokens, 3 * sizeof *r->out);
                for (int k = 0; k < 3; k++)
                    assert_true(isnan(r->out_lp[max + k]));
                assert_false(isnan(r->out_lp[max + 3]));
                if (!constrained)
                    assert_int_equal(r->n_out, max + 3 + 30);
                struct str text = text_of(en, r->out + r->n_think, r->n_out - r->n_think);
                struct grammar_state s;
                grammar_start(g, &s);
                if (constrained && (!grammar_feed(g, &s, text.s, text.len) || !s.done))
                    fail_msg("not a complete reply: %s", text.s);
                str_free(&text);
                if (r->temperature == 0)
                    check_reply(en, r);
            }
            jobs_free(all);
            jobs_free(js);
        }
    grammar_free(g);
    engine_close(en);
}

static void an_end_token_in_the_block_closes_it(void **state)
{
    (void)state;
    struct engine_options o = serve_options();
    struct engine *en = open_engine(&o);
    const struct tokenizer *tok = engine_tokenizer(en);
    static const char never[] = "no model says this";
    struct request_think t = thinking(never, sizeof never - 1, FREE, 1);
    struct jobs *all = free_jobs(en, FREE), *js = free_jobs(en, 10);
    jobs_think(js, &t);
    for (int i = 0; i < JOBS; i++) {
        js->job[i].r.ignore_eos = false;
        js->job[i].r.temperature = all->job[i].r.temperature = i % 4 ? 2 : 0;
        js->job[i].r.top_k = all->job[i].r.top_k = 0;
    }
    jobs_run(en, all);
    jobs_run(en, js);
    int ended = 0, greedy = 0;
    for (int i = 0; i < JOBS; i++) {
        const struct request *r = &js->job[i].r;
        int end = 0;
        while (end < FREE && !tokenizer_is_end(tok, all->job[i].out[end]))
            end++;
        assert_int_equal(r->thought, end < FREE ? THOUGHT_EOS : THOUGHT_CUT);
        assert_int_equal(r->n_think, end + 3);
        assert_memory_equal(r->out, all->job[i].out, (size_t)end * sizeof *r->out);
        assert_memory_equal(r->out + end, tokens, 3 * sizeof *r->out);
        assert_true(r->finish == FINISH_LENGTH || r->finish == FINISH_STOP);
        ended += end < FREE;
        if (r->temperature == 0) {
            check_reply(en, r);
            greedy++;
        }
    }
    assert_true(ended > 3 && greedy > 2);
    jobs_free(all);
    jobs_free(js);
    engine_close(en);
}

static void added_space_is_not_added_twice(void **state)
{
    (void)state;
    struct engine_options o = serve_options();
    struct engine *en = open_engine(&o);
    const struct tokenizer *tok = engine_tokenizer(en);
    struct jobs *all = free_jobs(en, FREE);
    jobs_run(en, all);
    int whole = 0, inside = 0;
    for (int i = 0; i < JOBS; i++)
        for (int at = 3; at < FREE; at++) {
            const char *s;
            size_t n;
            tokenizer_text(tok, all->job[i].out[at], &s, &n);
            if (n < 2 || at % 7)
                continue;
            for (size_t cut = 0; cut < 2; cut++) {
                struct request_think t = thinking(s, (int)(n - cut), FREE, 2);
                struct jobs *js = free_jobs(en, 5);
                jobs_think(js, &t);
                jobs_submit(en, js, i, i + 1);
                jobs_wait(js);
                const struct request *r = &js->job[i].r;
                int end = oracle_end(en, all->job[i].out, FREE, s, n - cut);
                struct str text = text_of(en, all->job[i].out, end);
                bool rest = memcmp(text.s + text.len - (n - cut), s, n - cut) != 0;
                assert_int_equal(r->thought, THOUGHT_CLOSED);
                assert_int_equal(r->n_think, end + (rest ? 0 : 2));
                if (!rest)
                    assert_memory_equal(r->out + end, tokens + 2, 2 * sizeof *r->out);
                *(rest ? &inside : &whole) += 1;
                if (r->temperature == 0)
                    check_reply(en, r);
                str_free(&text);
                jobs_free(js);
            }
        }
    assert_true(whole > 5 && inside > 5);
    jobs_free(all);
    engine_close(en);
}

/* ---- the same bits whatever else happens ----------------------------------------------------- */

struct mixed { /* closing texts and budgets of the requests of a crowd */
    struct request_think think[JOBS];
    struct str close[JOBS];
    struct grammar *g;
};

/* Every end occurs: by the model after its text, by a budget, by an end token. */
static void mixed_make(struct engine *en, struct mixed *m)
{
    struct err e;
    ok(grammar_compile(schema, strlen(schema), "test", &m->g, &e));
    struct jobs *all = free_jobs(en, FREE);
    jobs_run(en, all);
    for (int i = 0; i < JOBS; i++) {
        m->close[i] = text_of(en, all->job[i].out + 10 + 2 * i, 1 + i % 3);
        m->think[i] = thinking(m->close[i].s, (int)m->close[i].len, i % 5 == 4 ? 9 : 60, i % 3);
    }
    jobs_free(all);
}

static void mixed_free(struct mixed *m)
{
    for (int i = 0; i < JOBS; i++)
        str_free(&m->close[i]);
    grammar_free(m->g);
}

static struct jobs *mixed_jobs(struct engine *en, const struct mixed *m)
{
    struct jobs *js = free_jobs(en, 24);
    jobs_think(js, &m->think[0]); /* room for the longest */
    for (int i = 0; i < JOBS; i++) {
        js->job[i].r.think = m->think[i];
        js->job[i].r.grammar = i % 2 ? m->g : NULL;
        js->job[i].r.ignore_eos = i % 4 == 0;
    }
    return js;
}

static struct engine_stats same(const struct jobs *want, const struct mixed *m,
                                const struct engine_options *o, const char *what)
{
    struct engine *en = open_engine(o);
    struct jobs *js = mixed_jobs(en, m);
    struct engine_stats st;
    jobs_run(en, js);
    jobs_equal(want, js, what);
    engine_stats(en, &st);
    assert_int_equal(st.pages_used, 0);
    uint64_t chosen = 0, passes = 0, accepted = 0;
    for (int i = 0; i < JOBS; i++) {
        const struct request *r = &js->job[i].r;
        for (int k = 0; k < r->n_out; k++)
            chosen += !isnan(r->out_lp[k]);
        passes += (uint64_t)r->n_pass;
        accepted += (uint64_t)r->n_accepted;
    }
    /* a pass gives its accepted tokens and at most one more */
    assert_true(passes + accepted >= chosen && passes + accepted <= chosen + 2 * JOBS);
    engine_close(en);
    jobs_free(js);
    return st;
}

static void results_do_not_depend_on_company_drafts_pages_or_cache(void **state)
{
    (void)state;
    char dir[256], draft[300];
    struct engine_options plain = serve_options(), o;
    struct engine *en = open_engine(&plain);
    struct mixed m;
    mixed_make(en, &m);
    struct jobs *want = mixed_jobs(en, &m);
    int how[5] = {0};
    for (int i = 0; i < JOBS; i++) {
        jobs_submit(en, want, i, i + 1);
        jobs_wait(want);
        how[want->job[i].r.thought]++;
    }
    engine_close(en);
    assert_true(how[THOUGHT_CLOSED] > 5 && how[THOUGHT_CUT] > 1);
    same(want, &m, &plain, "together");
    o = plain;
    o.n_seq = 3;
    o.batch_tokens = 24;
    o.page_tokens = 64;
    same(want, &m, &o, "3 together, 24 rows, pages of 64");
    o.no_prefix_cache = true;
    same(want, &m, &o, "no prefix cache");
    o = plain;
    o.max_draft = 8;
    o.always_draft = o.lookup = true;
    assert_true(same(want, &m, &o, "lookup").drafted > 100);
    o.draft_model = o.model;
    struct engine_stats st = same(want, &m, &o, "the model itself as its draft");
    assert_true(st.accepted > 300);
    o.spoil_drafts = 0.3;
    assert_true(same(want, &m, &o, "drafts spoilt").accepted > 100);
    snprintf(draft, sizeof draft, "%s/draft.gguf", test_mkdir(dir));
    serve_draft(draft);
    o.spoil_drafts = 0;
    o.lookup = false;
    o.max_draft = 6;
    o.draft_model = draft;
    o.max_branch = 4;
    st = same(want, &m, &o, "branches");
    assert_true(st.branched > 1); /* 5 to 7, by which requests share the first steps */
    o.max_draft = 40;
    o.lookup = true;
    o.n_seq = 5;
    o.page_tokens = 64;
    same(want, &m, &o, "40 ahead, 5 together");
    o = plain;
    o.kv_bytes = 17 * 16 * 2 * 2 * 16 * 2 * 2; /* two contexts: sequences preempt each other */
    assert_true(same(want, &m, &o, "preempted").preempted > 0);
    o.max_draft = 5;
    o.max_branch = 3;
    o.always_draft = true;
    o.draft_model = draft;
    o.swap = PLAN_SWAP_ON;
    assert_true(same(want, &m, &o, "preempted and swapped, branches").pages_swapped_in > 0);
    test_rmdir(dir);
    jobs_free(want);
    mixed_free(&m);
}

struct stop {
    struct engine *en;
    int at, seen, thought;
};

static void stop_at(struct request *r, int32_t id, float lp)
{
    struct stop *s = r->user;
    (void)id;
    (void)lp;
    s->thought += r->n_think == r->n_out;
    if (++s->seen == s->at)
        engine_cancel(s->en, r);
}

static void a_cancelled_block_stays_open(void **state)
{
    (void)state;
    static const char never[] = "no model says this";
    struct engine_options o = serve_options();
    struct engine *en = open_engine(&o);
    struct request_think t = thinking(never, sizeof never - 1, 50, 1);
    for (int at = 5; at <= 60; at += 55) {
        struct jobs *js = jobs_make(1, 20, 20, 100, 3, engine_info(en)->n_vocab);
        jobs_think(js, &t);
        struct request *r = &js->job[0].r;
        struct stop s = {en, at, 0, 0};
        r->user = &s;
        r->on_token = stop_at;
        jobs_run(en, js);
        assert_int_equal(r->finish, FINISH_CANCEL);
        assert_int_equal(r->thought, at < 50 ? THOUGHT_OPEN : THOUGHT_CUT);
        assert_int_equal(r->n_think, at < 50 ? r->n_out : 53);
        assert_int_equal(s.thought, r->n_think);
        assert_int_equal(s.seen, r->n_out);
        jobs_free(js);
    }
    engine_close(en);
}

static void no_logits(struct request *r, int pos, const float *logits)
{
    (void)r;
    (void)logits;
    fail_msg("logits of position %d of a refused request", pos);
}

static void bad_thinking_is_refused(void **state)
{
    (void)state;
    struct err e;
    struct engine_options o = serve_options();
    struct engine *en = open_engine(&o);
    struct jobs *js = jobs_make(1, 200, 200, 20, 1, engine_info(en)->n_vocab);
    struct request_think t = thinking("in", 2, 34, 1);
    struct request *r = &js->job[0].r;
    r->think = t;
    fails(engine_submit(en, r, &e), ERR_DATA,
          "prompt of 200 tokens + 57 to come, thinking included = 257 exceeds the context of 256");
    assert_non_null(strstr(e.msg, "or of thinking"));
    t.max = 33;
    jobs_think(js, &t);
    jobs_run(en, js);
    assert_true(r->n_out >= 20 + 1);
    static const int32_t bad[] = {3, 1 << 20};
    r->think.end = bad;
    r->think.n_end = 2;
    fails(engine_submit(en, r, &e), ERR_DATA, "at position 1 of the end of thinking");
    r->think = t;
    r->think.n_after = 65;
    fails(engine_submit(en, r, &e), ERR_DATA, "65 tokens; at most 64");
    r->think = t;
    r->think.n_close = 0;
    fails(engine_submit(en, r, &e), ERR_DATA, "a text of 0 bytes");
    r->think = t;
    r->think.n_end = 0;
    fails(engine_submit(en, r, &e), ERR_DATA, "0 tokens");
    r->think = t;
    r->max_new = 0;
    r->on_logits = no_logits;
    fails(engine_submit(en, r, &e), ERR_BUG, "before a reply of 0");
    jobs_free(js);
    engine_close(en);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_end_is_found_by_its_text),
        cmocka_unit_test(a_block_that_the_model_closes_is_the_beginning_of_its_free_text),
        cmocka_unit_test(a_budget_that_runs_out_closes_the_block),
        cmocka_unit_test(an_end_token_in_the_block_closes_it),
        cmocka_unit_test(added_space_is_not_added_twice),
        cmocka_unit_test(results_do_not_depend_on_company_drafts_pages_or_cache),
        cmocka_unit_test(a_cancelled_block_stays_open),
        cmocka_unit_test(bad_thinking_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
