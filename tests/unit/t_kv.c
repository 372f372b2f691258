/* The page pool and its prefix cache, with a device that allocates and an op that records. */
#include <stddef.h>

#include "kv.h"
#include "rng.h"
#include "test.h"

struct recorder {
    struct ops ops; /* first */
    struct device dev;
    int copies, last_tokens;
    int32_t last_src, last_dst;
    bool fail, fail_move;
    int moves;
};

static int dev_alloc(struct device *d, enum mem_space space, size_t bytes, struct buf *out,
                     struct err *e)
{
    (void)d;
    (void)e;
    *out = (struct buf){calloc(1, bytes), bytes, space};
    return 0;
}

static void dev_free(struct device *d, struct buf *b)
{
    (void)d;
    free(b->ptr);
    *b = (struct buf){0};
}

static int record_copy(struct ops *ops, struct stream *s, const struct kv_copy_args *a,
                       struct err *e)
{
    struct recorder *r = (struct recorder *)ops;
    (void)s;
    if (r->fail)
        FAIL(e, ERR_NODEV, "device lost");
    r->copies++;
    r->last_src = a->src;
    r->last_dst = a->dst;
    r->last_tokens = a->n_token;
    return 0;
}

static int dev_copy(struct device *d, struct stream *st, void *dst, const void *src, size_t bytes,
                    struct err *e)
{
    (void)st;
    struct recorder *r = (struct recorder *)((char *)d - offsetof(struct recorder, dev));
    if (r->fail_move)
        FAIL(e, ERR_NODEV, "device lost while copying");
    r->moves++;
    memcpy(dst, src, bytes);
    return 0;
}

static int dev_sync(struct device *d, struct stream *st, struct err *e)
{
    (void)d;
    (void)st;
    (void)e;
    return 0;
}

static const struct dev_api api = {
    .alloc = dev_alloc, .free = dev_free, .copy = dev_copy, .sync = dev_sync};

static struct recorder *recorder(void)
{
    static struct recorder r;
    r = (struct recorder){.dev = {.api = &api, .kind = "test"}};
    r.ops.dev = &r.dev;
    r.ops.kv_copy = record_copy;
    return &r;
}

enum { LAYERS = 3 };

/* swap: pages that the host holds */
static struct kv *open_swapping(struct recorder *r, int n_page, int swap)
{
    struct kv_config c = {.fmt = FMT_F16,
                          .page_tokens = 16,
                          .n_page = n_page,
                          .n_layer = LAYERS,
                          .n_kv_head = 2,
                          .head_dim = 8,
                          .prefix_cache = true};
    struct kv *kv = NULL;
    struct err e;
    c.swap_bytes = kv_page_bytes(&c) * (size_t)swap;
    ok(kv_open(&c, &r->ops, &kv, &e));
    return kv;
}

static struct kv *open_kv(struct recorder *r, int n_page)
{
    return open_swapping(r, n_page, 0);
}

static enum kv_lookup look(struct kv *kv, struct kv_seq *s, const int32_t *tok)
{
    enum kv_lookup got = KV_MISS;
    struct err e;
    ok(kv_seq_lookup(kv, s, tok, &got, &e));
    return got;
}

/* The expected K or V of page i of a sequence in one layer: a function of all tokens up to the
 * page's end. */
static uint8_t stamp(const int32_t *tok, int i, int layer, int v)
{
    uint64_t h = (uint64_t)(layer * 2 + v);
    for (int t = 0; t < 16 * (i + 1); t++)
        h = rng_mix(h ^ (uint32_t)tok[t]);
    return (uint8_t)h;
}

/* "Computes" page i, or checks its contents. */
static void page_stamp(const struct kv *kv, const struct kv_seq *s, const int32_t *tok, int i,
                       bool check)
{
    enum { HALF = 16 * 2 * 8 * 2 };
    for (int l = 0; l < LAYERS; l++)
        for (int v = 0; v < 2; v++) {
            const struct kv_view *view = kv_layer(kv, l);
            uint8_t *at = (uint8_t *)(v ? view->v : view->k) + (size_t)s->page[i] * HALF,
                    want = stamp(tok, i, l, v);
            if (!check)
                memset(at, want, HALF);
            for (int b = 0; check && b < HALF; b++)
                assert_int_equal(at[b], want);
        }
}

static void audit(struct kv *kv, const struct kv_seq *const *seqs, int n)
{
    const char *why;
    if (!kv_audit(kv, seqs, n, &why))
        fail_msg("%s", why);
}

/* As the scheduler does: looks up cached pages, reserves and registers the rest, ends the step. */
static int compute(struct kv *kv, struct kv_seq *s, const int32_t *tok, int n)
{
    struct err e;
    int hits = 0;
    while (s->len % 16 == 0 && s->len + 16 <= n - 1 && look(kv, s, tok + s->len) == KV_HIT)
        hits++;
    ok(kv_seq_reserve(kv, s, n - s->len, &e));
    s->len = n;
    kv_seq_register(kv, s, tok, s->len);
    kv_step_done(kv, true);
    return hits;
}

static void tokens(int32_t *tok, int n, int seed)
{
    for (int i = 0; i < n; i++)
        tok[i] = (int32_t)rng_below(1, (uint64_t)(seed * 1000 + i), 1000);
}

static void a_prefix_is_found_again_after_its_sequence_is_gone(void **state)
{
    (void)state;
    struct err e;
    struct kv *kv = open_kv(recorder(), 20);
    int32_t tok[100];
    tokens(tok, 100, 1);
    struct kv_seq a, b;
    ok(kv_seq_init(kv, 100, &a, &e));
    ok(kv_seq_init(kv, 100, &b, &e));
    assert_int_equal(compute(kv, &a, tok, 70), 0);
    int32_t first = a.page[0];
    kv_seq_drop(kv, &a);
    assert_int_equal(kv_available(kv), 20);
    tok[40] = 5000; /* the third page differs */
    assert_int_equal(compute(kv, &b, tok, 70), 2);
    assert_int_equal(b.page[0], first);
    struct kv_counts c;
    kv_count(kv, &c);
    assert_int_equal(c.used, 5);
    assert_int_equal(c.cached, 2);
    const struct kv_seq *live[] = {&b};
    audit(kv, live, 1);
    kv_seq_free(kv, &a);
    kv_seq_free(kv, &b);
    audit(kv, NULL, 0);
    kv_close(kv);
}

static void the_same_tokens_behind_another_prefix_do_not_match(void **state)
{
    (void)state;
    struct err e;
    struct kv *kv = open_kv(recorder(), 20);
    int32_t x[40], y[40];
    tokens(x, 40, 1);
    tokens(y, 40, 1);
    y[3] = 7777; /* first page differs, second is equal */
    struct kv_seq a, b;
    ok(kv_seq_init(kv, 40, &a, &e));
    ok(kv_seq_init(kv, 40, &b, &e));
    compute(kv, &a, x, 40);
    assert_int_equal(compute(kv, &b, y, 16), 0); /* its own first page; now at the second */
    assert_int_equal(look(kv, &b, y + 16), KV_MISS);
    compute(kv, &b, y, 40);
    assert_int_not_equal(a.page[1], b.page[1]);
    kv_seq_free(kv, &a);
    kv_seq_free(kv, &b);
    kv_close(kv);
}

static void a_page_being_computed_makes_others_wait(void **state)
{
    (void)state;
    struct err e;
    struct kv *kv = open_kv(recorder(), 20);
    int32_t tok[40];
    tokens(tok, 40, 1);
    struct kv_seq a, b;
    ok(kv_seq_init(kv, 40, &a, &e));
    ok(kv_seq_init(kv, 40, &b, &e));
    ok(kv_seq_reserve(kv, &a, 40, &e));
    a.len = 40;
    kv_seq_register(kv, &a, tok, a.len);
    assert_int_equal(look(kv, &b, tok), KV_WAIT);
    kv_step_done(kv, true);
    assert_int_equal(look(kv, &b, tok), KV_HIT);
    assert_int_equal(look(kv, &b, tok + 16), KV_HIT);
    assert_int_equal(b.len, 32);
    kv_seq_free(kv, &a);
    kv_seq_free(kv, &b);
    kv_close(kv);
}

static void pages_of_a_failed_step_are_forgotten(void **state)
{
    (void)state;
    struct err e;
    struct kv *kv = open_kv(recorder(), 20);
    int32_t tok[40];
    tokens(tok, 40, 1);
    struct kv_seq a, b;
    ok(kv_seq_init(kv, 40, &a, &e));
    ok(kv_seq_init(kv, 40, &b, &e));
    ok(kv_seq_reserve(kv, &a, 40, &e));
    a.len = 40;
    kv_seq_register(kv, &a, tok, a.len);
    kv_step_done(kv, false);
    assert_int_equal(look(kv, &b, tok), KV_MISS);
    kv_seq_free(kv, &a);
    kv_seq_free(kv, &b);
    audit(kv, NULL, 0);
    kv_close(kv);
}

static void a_fork_shares_pages_and_copies_the_partial_one_on_write(void **state)
{
    (void)state;
    struct err e;
    struct recorder *r = recorder();
    struct kv *kv = open_kv(r, 20);
    int32_t tok[60];
    tokens(tok, 60, 1);
    struct kv_seq a, b;
    ok(kv_seq_init(kv, 60, &a, &e));
    ok(kv_seq_init(kv, 60, &b, &e));
    compute(kv, &a, tok, 40);
    kv_seq_fork(kv, &a, 37, &b);
    assert_int_equal(b.page[2], a.page[2]);
    assert_int_equal(r->copies, 0);
    ok(kv_seq_reserve(kv, &b, 4, &e));
    assert_int_equal(r->copies, 3); /* one a layer */
    assert_int_equal(r->last_tokens, 5);
    assert_int_equal(r->last_src, a.page[2]);
    assert_int_equal(r->last_dst, b.page[2]);
    assert_int_equal(b.page[1], a.page[1]);
    const struct kv_seq *live[] = {&a, &b};
    audit(kv, live, 2);
    kv_seq_free(kv, &b);
    ok(kv_seq_reserve(kv, &a, 4, &e)); /* alone again: no copy */
    assert_int_equal(r->copies, 3);
    kv_seq_free(kv, &a);
    kv_close(kv);
}

static void a_full_pool_changes_nothing_and_the_oldest_cached_page_goes_first(void **state)
{
    (void)state;
    struct err e;
    struct recorder *r = recorder();
    struct kv *kv = open_kv(r, 6);
    int32_t x[64], y[64];
    tokens(x, 64, 1);
    tokens(y, 64, 2);
    struct kv_seq a, b;
    ok(kv_seq_init(kv, 96, &a, &e));
    ok(kv_seq_init(kv, 96, &b, &e));
    compute(kv, &a, x, 64);
    fails(kv_seq_reserve(kv, &b, 33, &e), ERR_AGAIN, "needs 3 pages, 2 available");
    assert_int_equal(b.n_page, 0);
    kv_seq_drop(kv, &a);
    compute(kv, &b, y, 64); /* takes 2 free and evicts 2 of x: its leaves, not its root */
    kv_seq_drop(kv, &b);
    assert_int_equal(compute(kv, &a, x, 40), 2);
    struct kv_counts c;
    kv_count(kv, &c);
    assert_int_equal(c.evicted, 3);
    r->fail = true;
    kv_seq_fork(kv, &a, 37, &b);
    fails(kv_seq_reserve(kv, &b, 1, &e), ERR_NODEV, "lost");
    const struct kv_seq *live[] = {&a, &b};
    audit(kv, live, 2);
    kv_seq_free(kv, &a);
    kv_seq_free(kv, &b);
    kv_close(kv);
}

static void what_has_no_room_waits_on_the_host(void **state)
{
    (void)state;
    struct err e;
    struct recorder *r = recorder();
    struct kv *kv = open_swapping(r, 6, 4);
    int32_t x[96], y[96];
    tokens(x, 96, 1);
    tokens(y, 96, 2);
    struct kv_seq a;
    struct kv_counts c;
    ok(kv_seq_init(kv, 96, &a, &e));
    compute(kv, &a, x, 64);
    for (int i = 0; i < 4; i++)
        page_stamp(kv, &a, x, i, false);
    kv_seq_preempt(kv, &a);
    compute(kv, &a, y, 96); /* takes all: x goes to the host */
    kv_count(kv, &c);
    assert_int_equal(c.swap.out, 4);
    assert_int_equal(c.swap.used, 4);
    assert_int_equal(r->moves, 4 * 2 * LAYERS);
    kv_seq_drop(kv, &a); /* not preempted and never found: not worth swapping */
    assert_int_equal(compute(kv, &a, x, 70), 4);
    for (int i = 0; i < 4; i++)
        page_stamp(kv, &a, x, i, true);
    kv_count(kv, &c);
    assert_int_equal(c.swap.in, 4);
    assert_int_equal(c.swap.out, 4);
    kv_seq_drop(kv, &a);
    compute(kv, &a, y, 96); /* x is evicted again; the host has it already */
    kv_count(kv, &c);
    assert_int_equal(c.swap.out, 4);
    kv_seq_drop(kv, &a);
    r->fail_move = true;
    enum kv_lookup got;
    fails(kv_seq_lookup(kv, &a, x, &got, &e), ERR_NODEV, "while copying");
    assert_int_equal(a.n_page, 0);
    audit(kv, NULL, 0);
    r->fail_move = false;
    assert_int_equal(look(kv, &a, x), KV_HIT);
    page_stamp(kv, &a, x, 0, true);
    kv_seq_free(kv, &a);
    kv_close(kv);
}

/* Random forks, growth, drops and failures: no page is ever lost, no match is ever wrong. */
static void random_life(int swap)
{
    struct err e;
    enum { N = 8, LEN = 120 };
    int n_page = swap ? 12 : 24;
    struct kv *kv = open_swapping(recorder(), n_page, swap);
    struct kv_seq s[N];
    int32_t tok[N][LEN];
    const struct kv_seq *live[N];
    for (int i = 0; i < N; i++) {
        ok(kv_seq_init(kv, LEN, &s[i], &e));
        live[i] = &s[i];
        tokens(tok[i], LEN, i % 3); /* some share everything */
    }
    for (uint64_t t = 0; t < 20000; t++) {
        int i = (int)rng_below(9, t, N), k = (int)rng_below(10, t, N);
        switch (rng_below(11, t, 8)) {
        case 0:
            (rng_below(15, t, 2) ? kv_seq_drop : kv_seq_preempt)(kv, &s[i]);
            break;
        case 1:
            if (i != k && s[k].len) {
                kv_seq_drop(kv, &s[i]);
                memcpy(tok[i], tok[k], sizeof tok[i]);
                kv_seq_fork(kv, &s[k], 1 + (int)rng_below(12, t, (uint32_t)s[k].len), &s[i]);
                tok[i][LEN - 1] = (int32_t)t;
            }
            break;
        case 2:
            kv_step_done(kv, rng_below(13, t, 4) != 0);
            break;
        default: {
            int n = 1 + (int)rng_below(14, t, 20);
            while (s[i].len % 16 == 0 && s[i].len + 16 < LEN &&
                   look(kv, &s[i], tok[i] + s[i].len) == KV_HIT)
                page_stamp(kv, &s[i], tok[i], s[i].len / 16 - 1, true);
            if (s[i].len + n <= LEN && kv_seq_reserve(kv, &s[i], n, NULL) == 0) {
                int from = s[i].len / 16;
                s[i].len += n;
                for (int p = from; p < s[i].len / 16; p++)
                    page_stamp(kv, &s[i], tok[i], p, false);
                kv_seq_register(kv, &s[i], tok[i], s[i].len);
            }
        }
        }
        audit(kv, live, N);
    }
    for (int i = 0; i < N; i++)
        kv_seq_free(kv, &s[i]);
    assert_int_equal(kv_available(kv), n_page);
    struct kv_counts c;
    kv_count(kv, &c);
    print_message("%d slots: %d pages went, %d came back\n", swap, (int)c.swap.out, (int)c.swap.in);
    assert_true(swap ? c.swap.out > 5 && c.swap.in > 5 && c.swap.used <= swap : c.swap.out == 0);
    kv_close(kv);
}

static void random_life_loses_no_page(void **state)
{
    (void)state;
    random_life(0);
}

static void random_life_with_pages_on_the_host(void **state)
{
    (void)state;
    random_life(1);
    random_life(20);
}

static void bad_shapes_are_named(void **state)
{
    (void)state;
    struct err e;
    struct kv *kv;
    struct kv_config c = {.fmt = FMT_F16,
                          .page_tokens = 24,
                          .n_page = 4,
                          .n_layer = 1,
                          .n_kv_head = 1,
                          .head_dim = 8};
    fails(kv_open(&c, &recorder()->ops, &kv, &e), ERR_USAGE, "24");
    c.page_tokens = 16;
    c.fmt = FMT_Q8_0;
    fails(kv_open(&c, &recorder()->ops, &kv, &e), ERR_USAGE, "use --kv-type f16");
    c.fmt = FMT_F16;
    c.n_page = 0;
    fails(kv_open(&c, &recorder()->ops, &kv, &e), ERR_USAGE, "0 pages");
    c.n_page = 4;
    c.prefix_cache = true;
    c.swap_bytes = 511; /* a page has 2 x 16 x 8 elements of 2 bytes */
    fails(kv_open(&c, &recorder()->ops, &kv, &e), ERR_USAGE,
          "511 bytes holds no page of the KV cache, which has 512");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_prefix_is_found_again_after_its_sequence_is_gone),
        cmocka_unit_test(the_same_tokens_behind_another_prefix_do_not_match),
        cmocka_unit_test(a_page_being_computed_makes_others_wait),
        cmocka_unit_test(pages_of_a_failed_step_are_forgotten),
        cmocka_unit_test(a_fork_shares_pages_and_copies_the_partial_one_on_write),
        cmocka_unit_test(a_full_pool_changes_nothing_and_the_oldest_cached_page_goes_first),
        cmocka_unit_test(what_has_no_room_waits_on_the_host),
        cmocka_unit_test(random_life_loses_no_page),
        cmocka_unit_test(random_life_with_pages_on_the_host),
        cmocka_unit_test(bad_shapes_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
