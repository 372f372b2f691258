/*
 * Rows of attention, sample and logprob of the CUDA backend, beyond the cases. Bits are the same on
 * any pages, in any chunks, beside any neighbour, in any kernel. Values that a row may not read do
 * not affect it.
 */
#include <math.h>

#include "cushim_test.h"
#include "ops.h"
#include "rng.h"
#include "test.h"

static struct ops *ops;
static struct device *dev;
static const struct dev_api *api;

static int set_up(void **state)
{
    struct err e;
    (void)state;
    ok(ops_open("cudahost", NULL, &ops, &e));
    dev = ops->dev;
    api = dev->api;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    ops_close(ops);
    assert_int_equal(cushim_live(NULL), 0);
    assert_string_equal(cushim_findings(), "");
    return 0;
}

static struct buf device_bytes(size_t bytes, const void *from)
{
    struct err e;
    struct buf b = {0};
    ok(api->alloc(dev, MEM_DEVICE, bytes, &b, &e));
    if (from)
        ok(api->copy(dev, NULL, b.ptr, from, bytes, &e));
    else
        ok(api->fill(dev, NULL, b.ptr, 0xff, bytes, &e));
    ok(api->sync(dev, NULL, &e));
    return b;
}

static void host_bytes(void *to, struct buf *b)
{
    struct err e;
    ok(api->copy(dev, NULL, to, b->ptr, b->bytes, &e));
    ok(api->sync(dev, NULL, &e));
    api->free(dev, b);
}

static void fill(float *x, int n, uint64_t key, float scale)
{
    for (int i = 0; i < n; i++)
        x[i] = (2 * rng_uniform(key, (uint64_t)i) - 1) * scale;
}

/* ---- attention ------------------------------------------------------------------------------- */

enum { HEADS = 4, KV_HEADS = 2, MOST_DIM = 64, LEN = 150 };

static int DIM, Q, KV; /* head_dim; elements of a row of q and of k */

static void set_dim(int dim)
{
    DIM = dim;
    Q = HEADS * dim;
    KV = KV_HEADS * dim;
}

struct layout { /* layout and chunks of a sequence of LEN tokens */
    int page_tokens, chunk;
    bool reverse, beside; /* pages from the end; a second sequence in the same calls */
    const char *kernel;   /* NULL: the default kernel */
    int window;
};

static void force(const char *kernel)
{
    int n = ops->variants(ops, OP_attention), i = 0;
    while (kernel && i < n && strcmp(ops->variant_name(ops, OP_attention, i), kernel) != 0)
        i++;
    assert_true(i < n);
    ops->variant_force(ops, OP_attention, kernel ? i : -1);
}

/* Runs rows at .. at + n - 1 of the first sequence, and of the second one if there is one, with k
 * and v exchanged. y (n, Q): rows of the first sequence. */
static void step(const struct layout *l, const struct kv_view *kv, const int32_t *page, int pages,
                 int at, int n, const float *q, const float *k, const float *v, float *y)
{
    struct err e;
    const int n_seq = 1 + l->beside;
    int32_t slot[LEN], q_start[3] = {0, n, 2 * n}, kv_len[2] = {at + n, at + n};
    for (int s = 0; s < n_seq; s++) {
        for (int i = 0; i < n; i++)
            slot[i] = page[s * pages + (at + i) / l->page_tokens] * l->page_tokens +
                      (at + i) % l->page_tokens;
        struct buf dk = device_bytes((size_t)(n * KV) * sizeof *k, (s ? v : k) + at * KV);
        struct buf dv = device_bytes((size_t)(n * KV) * sizeof *v, (s ? k : v) + at * KV);
        struct buf ds = device_bytes((size_t)n * sizeof *slot, slot);
        const struct kv_write_args w = {
            .k = dk.ptr, .v = dv.ptr, .slot = ds.ptr, .kv = kv, .n_row = n};
        ok(ops->kv_write(ops, NULL, &w, &e));
        ok(api->sync(dev, NULL, &e));
        api->free(dev, &dk);
        api->free(dev, &dv);
        api->free(dev, &ds);
    }
    float *qs = malloc((size_t)(2 * n * Q) * sizeof *qs),
          *ys = malloc((size_t)(2 * n * Q) * sizeof *ys);
    assert_true(qs && ys);
    fill(qs, 2 * n * Q, 77, 1);
    memcpy(qs, q + at * Q, (size_t)(n * Q) * sizeof *qs);
    struct buf dq = device_bytes((size_t)(n_seq * n * Q) * sizeof *qs, qs);
    struct buf dy = device_bytes((size_t)(n_seq * n * Q) * sizeof *ys, NULL);
    struct buf dqs = device_bytes(sizeof q_start, q_start),
               dl = device_bytes(sizeof kv_len, kv_len);
    struct buf dp = device_bytes((size_t)(2 * pages) * sizeof *page, page);
    const struct attention_args a = {.q = dq.ptr,
                                     .y = dy.ptr,
                                     .kv = kv,
                                     .q_start = dqs.ptr,
                                     .kv_len = dl.ptr,
                                     .page = dp.ptr,
                                     .n_seq = n_seq,
                                     .n_row = n_seq * n,
                                     .max_pages = pages,
                                     .max_kv_len = LEN,
                                     .n_head = HEADS,
                                     .scale = 0.2f,
                                     .window = l->window};
    ok(ops->attention(ops, NULL, &a, &e));
    host_bytes(ys, &dy);
    memcpy(y + at * Q, ys, (size_t)(n * Q) * sizeof *y);
    api->free(dev, &dq);
    api->free(dev, &dqs);
    api->free(dev, &dl);
    api->free(dev, &dp);
    free(qs);
    free(ys);
}

static void attend(enum fmt fmt, struct layout l, const float *q, const float *k, const float *v,
                   float *y)
{
    const struct ops_limits limits = {
        .max_rows = 2 * LEN, .max_kv_len = LEN, .n_head = HEADS, .head_dim = DIM};
    const int pages = (LEN + l.page_tokens - 1) / l.page_tokens;
    size_t bytes;
    assert_true(fmt_row_bytes(fmt, 2 * pages * l.page_tokens * KV, &bytes));
    struct buf dk = device_bytes(bytes, NULL), dv = device_bytes(bytes, NULL);
    struct buf scratch = device_bytes(ops->scratch_bytes(ops, &limits), NULL);
    const struct kv_view kv = {fmt, dk.ptr, dv.ptr, 2 * pages, l.page_tokens, KV_HEADS, DIM};
    int32_t page[2 * LEN];
    for (int p = 0; p < pages; p++) { /* pages of the two sequences alternate */
        page[p] = l.reverse ? 2 * (pages - 1 - p) : 2 * p + 1;
        page[pages + p] = l.reverse ? 2 * p + 1 : 2 * p;
    }
    ops->bind_scratch(ops, scratch.ptr, scratch.bytes);
    force(l.kernel);
    for (int at = 0; at < LEN; at += l.chunk)
        step(&l, &kv, page, pages, at, LEN - at < l.chunk ? LEN - at : l.chunk, q, k, v, y);
    force(NULL);
    ops->bind_scratch(ops, NULL, 0);
    api->free(dev, &dk);
    api->free(dev, &dv);
    api->free(dev, &scratch);
}

enum { MOST_Q = LEN * HEADS * MOST_DIM, MOST_KV = LEN * KV_HEADS * MOST_DIM };

static float q_rows[MOST_Q], k_rows[MOST_KV], v_rows[MOST_KV], want[MOST_Q], got[MOST_Q];

static void same_in_all_layouts(enum fmt fmt, const char *split, const char *walk, int window)
{
    const struct layout layouts[] = {
        {32, 16, true, false, split, window}, {64, LEN, false, false, walk, window},
        {16, 7, true, false, NULL, window},   {64, 33, false, true, NULL, window},
        {16, 32, true, true, walk, window},   {256, 129, false, true, NULL, window},
        {32, 1, true, true, split, window},   {16, 5, false, true, split, window},
    };
    attend(fmt, (struct layout){16, LEN, false, false, walk, window}, q_rows, k_rows, v_rows, want);
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++) {
        attend(fmt, layouts[i], q_rows, k_rows, v_rows, got);
        for (int j = 0; j < LEN * Q; j++)
            if (memcmp(&got[j], &want[j], sizeof *got) != 0)
                fail_msg("%s, layout %d, window %d: row %d differs: %.9g, %.9g",
                         fmt_info(fmt)->name, (int)i, window, j / Q, (double)got[j],
                         (double)want[j]);
    }
}

static void an_attention_row_does_not_see_pages_chunks_neighbours_or_the_kernel(void **state)
{
    (void)state;
    static const struct {
        enum fmt fmt;
        int dim;
        const char *split, *walk; /* the default kernels there */
    } kinds[] = {{FMT_F16, 32, "split", "walk"},          {FMT_Q8_0, 32, "split", "walk"},
                 {FMT_F32, 32, "split", "walk"},          {FMT_F16, 64, "mma_split", "mma_walk"},
                 {FMT_Q8_0, 64, "mma_split", "mma_walk"}, {FMT_Q4_0, 64, "mma_split", "mma_walk"}};
    static const int windows[] = {0, 1, 40, 131};
    fill(q_rows, MOST_Q, 7, 2);
    fill(k_rows, MOST_KV, 8, 1);
    fill(v_rows, MOST_KV, 9, 1);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        set_dim(kinds[i].dim);
        for (size_t n = 0; n < sizeof windows / sizeof *windows; n++)
            same_in_all_layouts(kinds[i].fmt, kinds[i].split, kinds[i].walk, windows[n]);
    }
}

/* Rows of V that a row may not read are not even multiplied by zero. */
static void an_attention_row_is_not_touched_by_infinities_behind_it(void **state)
{
    (void)state;
    const int at = 70;
    set_dim(32);
    attend(FMT_F32, (struct layout){16, LEN, false, false, "walk", 0}, q_rows, k_rows, v_rows,
           want);
    for (int i = 0; i < KV; i++)
        v_rows[at * KV + i] = i % 2 ? INFINITY : NAN;
    attend(FMT_F32, (struct layout){16, LEN, false, false, "walk", 0}, q_rows, k_rows, v_rows, got);
    assert_memory_equal(got, want, (size_t)(at * Q) * sizeof *got);
    for (int i = at * Q; i < LEN * Q; i++)
        assert_false(isfinite(got[i]));
}

/* ---- sample and logprob ---------------------------------------------------------------------- */

enum { ROWS = 7, VOCAB = 4999 };

static void draw(const float *x, const struct sample_row *p, int n_row, int32_t *id, float *lp)
{
    struct err e;
    const struct ops_limits limits = {.max_logit_rows = n_row, .n_vocab = VOCAB};
    struct buf scratch = device_bytes(ops->scratch_bytes(ops, &limits), NULL);
    struct buf dx = device_bytes((size_t)(n_row * VOCAB) * sizeof *x, x);
    struct buf dp = device_bytes((size_t)n_row * sizeof *p, p);
    struct buf di = device_bytes((size_t)n_row * sizeof *id, NULL);
    struct buf dl = device_bytes((size_t)n_row * sizeof *lp, NULL);
    const struct sample_args a = {.logits = dx.ptr,
                                  .n_row = n_row,
                                  .n_vocab = VOCAB,
                                  .p = dp.ptr,
                                  .id = di.ptr,
                                  .lp = dl.ptr};
    ops->bind_scratch(ops, scratch.ptr, scratch.bytes);
    ok(ops->sample(ops, NULL, &a, &e));
    ops->bind_scratch(ops, NULL, 0);
    host_bytes(id, &di);
    host_bytes(lp, &dl);
    api->free(dev, &dx);
    api->free(dev, &dp);
    api->free(dev, &scratch);
}

static float logprob(const float *x, int32_t id)
{
    struct err e;
    const int32_t zero = 0;
    float lp;
    const struct ops_limits limits = {.max_logit_rows = 1, .n_vocab = VOCAB};
    struct buf scratch = device_bytes(ops->scratch_bytes(ops, &limits), NULL);
    struct buf dx = device_bytes(VOCAB * sizeof *x, x), di = device_bytes(sizeof id, &id);
    struct buf dr = device_bytes(sizeof zero, &zero), dl = device_bytes(sizeof lp, NULL);
    const struct logprob_args a = {.logits = dx.ptr,
                                   .n_row = 1,
                                   .n_vocab = VOCAB,
                                   .row = dr.ptr,
                                   .id = di.ptr,
                                   .lp = dl.ptr,
                                   .n_pair = 1};
    ops->bind_scratch(ops, scratch.ptr, scratch.bytes);
    ok(ops->logprob(ops, NULL, &a, &e));
    ops->bind_scratch(ops, NULL, 0);
    host_bytes(&lp, &dl);
    api->free(dev, &dx);
    api->free(dev, &di);
    api->free(dev, &dr);
    api->free(dev, &scratch);
    return lp;
}

static void sampling_a_row_is_the_same_alone_and_in_a_batch(void **state)
{
    (void)state;
    static float x[ROWS * VOCAB];
    struct sample_row p[ROWS];
    int32_t id[ROWS], one;
    float lp[ROWS], one_lp;
    fill(x, ROWS * VOCAB, 5, 8);
    for (int r = 0; r < ROWS; r++)
        p[r] = (struct sample_row){.temperature = (float)(r % 3) * 0.6f,
                                   .top_p = r % 2 ? 0.9f : 1,
                                   .top_k = r % 4 * 10,
                                   .mask = -1,
                                   .key = rng_key(6, (uint64_t)r, 0)};
    draw(x, p, ROWS, id, lp);
    for (int r = 0; r < ROWS; r++) {
        draw(x + r * VOCAB, p + r, 1, &one, &one_lp);
        assert_int_equal(one, id[r]);
        assert_memory_equal(&one_lp, &lp[r], sizeof one_lp);
        one_lp = logprob(x + r * VOCAB, one);
        assert_memory_equal(&one_lp, &lp[r],
                            sizeof one_lp); /* sample and logprob agree to the bit */
    }
}

/* The weights of a digit are added in two halves, whose carry decides here. There is a token of
 * weight 1, 2000 tokens of 1.5 x 2^-19 and as many of 0.75 x 2^-19. top_p ends just before the last
 * ones. A filter that lets them in would show in one draw of 350. Rows exceed the scratch, so they
 * take turns. */
static void weights_add_up_exactly_and_rows_take_turns(void **state)
{
    (void)state;
    enum { N = 2000, SAME = 2000, OTHER = 10 };
    struct err e;
    struct ops *ref;
    float *x = malloc((size_t)N * VOCAB * sizeof *x);
    struct sample_row *p = malloc(N * sizeof *p);
    int32_t *id = malloc(N * sizeof *id), *want_id = malloc(N * sizeof *want_id);
    float *lp = malloc(N * sizeof *lp), *want_lp = malloc(N * sizeof *want_lp);
    assert_true(x && p && id && want_id && lp && want_lp);
    const float some = logf(1.5f * 0x1p-19f), less = logf(0.75f * 0x1p-19f);
    for (int r = 0; r < N; r++) {
        for (int i = 0; i < VOCAB; i++)
            x[r * VOCAB + i] = i == 0 ? 0 : i <= SAME ? some : i <= 2 * SAME ? less : -INFINITY;
        const double all = 0x1p20 + SAME * (1.5 + 0.75) * 2, kept = 0x1p20 + SAME * 1.5 * 2;
        p[r] = (struct sample_row){.temperature = 1, .mask = -1, .key = rng_key(8, (uint64_t)r, 0)};
        p[r].top_p = r % OTHER ? (float)((kept - 2.7) / all) : 1;
    }
    ok(ops_open("ref", NULL, &ref, &e));
    const struct sample_args a = {
        .logits = x, .n_row = N, .n_vocab = VOCAB, .p = p, .id = want_id, .lp = want_lp};
    const struct ops_limits limits = {.max_logit_rows = N, .n_vocab = VOCAB};
    struct buf scratch = {0};
    ok(ref->dev->api->alloc(ref->dev, MEM_DEVICE, ref->scratch_bytes(ref, &limits), &scratch, &e));
    ref->bind_scratch(ref, scratch.ptr, scratch.bytes);
    ok(ref->sample(ref, NULL, &a, &e));
    ref->dev->api->free(ref->dev, &scratch);
    draw(x, p, N, id, lp);
    int least = 0;
    for (int r = 0; r < N; r++) {
        if (id[r] != want_id[r])
            fail_msg("row %d: %d, the oracle has %d", r, (int)id[r], (int)want_id[r]);
        least += id[r] > SAME;
    }
    assert_in_range(least, 1, N / OTHER); /* they are drawn without the filter */
    ops_close(ref);
    free(x);
    free(p);
    free(id);
    free(want_id);
    free(lp);
    free(want_lp);
}

/* Kernels read the cache 16 bytes at a time. */
static void a_cache_that_is_not_aligned_is_refused(void **state)
{
    struct err e;
    (void)state;
    struct buf k = device_bytes(4096, NULL), v = device_bytes(4096, NULL);
    for (int which = 0; which < 2; which++) {
        struct kv_view kv = {.fmt = FMT_F16,
                             .k = k.ptr,
                             .v = v.ptr,
                             .n_page = 2,
                             .page_tokens = 16,
                             .n_kv_head = 1,
                             .head_dim = 16};
        void **one = which ? &kv.v : &kv.k;
        *one = (unsigned char *)*one + 8;
        struct kv_copy_args a = {.kv = &kv, .src = 0, .dst = 1, .n_token = 3};
        fails(ops->kv_copy(ops, NULL, &a, &e), ERR_BUG, "must be multiples of 16");
    }
    api->free(dev, &k);
    api->free(dev, &v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_attention_row_does_not_see_pages_chunks_neighbours_or_the_kernel),
        cmocka_unit_test(an_attention_row_is_not_touched_by_infinities_behind_it),
        cmocka_unit_test(sampling_a_row_is_the_same_alone_and_in_a_batch),
        cmocka_unit_test(weights_add_up_exactly_and_rows_take_turns),
        cmocka_unit_test(a_cache_that_is_not_aligned_is_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
