/*
 * The contract of batch invariance, bit for bit, in every instruction set. A row is alone or among
 * others, pages have any size and order, attention is whole or chunked, a page is a copy. t_ops
 * covers threads, and equality between instruction sets.
 */
#include <math.h>

#include "cpu_isa.h"
#include "fmt_random.h"
#include "ops.h"
#include "rng.h"
#include "test.h"

struct world { /* one backend and its scratch */
    struct ops *ops;
    struct buf scratch;
};

static struct world world_open(const char *isa, int threads)
{
    struct err e = {0};
    struct world w = {0};
    const struct ops_options opt = {.n_threads = threads, .isa = isa};
    const struct ops_limits limits = {.max_rows = 64,
                                      .max_logit_rows = 64,
                                      .max_in = 4096,
                                      .max_out = 4096,
                                      .n_vocab = 4096,
                                      .max_kv_len = 512,
                                      .n_head = 32,
                                      .head_dim = 128};
    ok(ops_open("cpu", &opt, &w.ops, &e));
    size_t bytes = w.ops->scratch_bytes(w.ops, &limits);
    ok(w.ops->dev->api->alloc(w.ops->dev, MEM_DEVICE, bytes, &w.scratch, &e));
    w.ops->bind_scratch(w.ops, w.scratch.ptr, bytes);
    return w;
}

static void world_close(struct world *w)
{
    w->ops->dev->api->free(w->ops->dev, &w->scratch);
    ops_close(w->ops);
}

static float *floats(int64_t n, uint64_t key, float scale)
{
    float *x = malloc((size_t)n * sizeof *x);
    assert_non_null(x);
    for (int64_t i = 0; i < n; i++)
        x[i] = (2 * rng_uniform(key, (uint64_t)i) - 1) * scale;
    return x;
}

static void for_each_isa(void (*test)(struct world *w))
{
    for (int isa = 0; isa < CPU_ISA_COUNT; isa++) {
        if (!cpu_isa_has((enum cpu_isa)isa))
            continue;
        struct world w = world_open(cpu_isa_name((enum cpu_isa)isa), 2);
        test(&w);
        world_close(&w);
    }
}

/* ---- rows ------------------------------------------------------------------------------------ */

#define ROWS 19 /* two tiles and a part of one */

static void matmul_rows(struct world *w, enum fmt fmt)
{
    struct err e = {0};
    const int64_t n_in = fmt_info(fmt)->block_elems == 1 ? 301 : 2816, n_out = 37;
    size_t row;
    assert_true(fmt_row_bytes(fmt, n_in, &row));
    struct tensor t = {.fmt = fmt,
                       .n_dim = 2,
                       .dim = {n_out, n_in, 1, 1},
                       .row_bytes = row,
                       .data = malloc((size_t)n_out * row)};
    fmt_random(fmt, 1, 0, n_out * (n_in / fmt_info(fmt)->block_elems), 0.1f, t.data);
    float *x = floats(ROWS * n_in, 2, 1), *all = floats(ROWS * n_out, 3, 1),
          *some = floats(n_out * ROWS, 4, 1);
    struct matmul_args a = {
        .x = x, .n_row = ROWS, .n_in = n_in, .n_out = 1, .out = {{&t, NULL, all}}};
    ok(w->ops->matmul(w->ops, NULL, &a, &e));
    static const int parts[] = {1, 2, 3, 5, 8}; /* the last call of each may be shorter */
    for (size_t p = 0; p < sizeof parts / sizeof *parts; p++) {
        for (int r = 0; r < ROWS; r += parts[p]) {
            a.x = x + r * n_in;
            a.n_row = ROWS - r < parts[p] ? ROWS - r : parts[p];
            a.out[0].y = some + r * n_out;
            ok(w->ops->matmul(w->ops, NULL, &a, &e));
        }
        for (int64_t i = 0; i < ROWS * n_out; i++)
            if (memcmp(&some[i], &all[i], sizeof *all) != 0)
                fail_msg(
                    "%s on %s: row %d column %d is %.9g in calls of %d rows, %.9g in one of %d",
                    fmt_info(fmt)->name, w->ops->dev->name, (int)(i / n_out), (int)(i % n_out),
                    (double)some[i], parts[p], (double)all[i], ROWS);
    }
    free(t.data);
    free(x);
    free(all);
    free(some);
}

static void matmul_of_all_formats(struct world *w)
{
    for (int f = 0; f < FMT_COUNT; f++)
        matmul_rows(w, (enum fmt)f);
}

static void a_matmul_row_is_the_same_alone_and_in_a_batch(void **state)
{
    (void)state;
    for_each_isa(matmul_of_all_formats);
}

static void vocabulary_rows(struct world *w)
{
    enum { N = 1003 };
    struct err e = {0};
    float *x = floats(ROWS * N, 5, 8), lp[ROWS], one_lp;
    struct sample_row p[ROWS];
    int32_t id[ROWS], one;
    for (int r = 0; r < ROWS; r++)
        p[r] = (struct sample_row){.temperature = (float)(r % 3) * 0.6f,
                                   .top_p = r % 2 ? 0.9f : 1,
                                   .top_k = r % 4 * 10,
                                   .mask = -1,
                                   .key = rng_key(6, (uint64_t)r, 0)};
    struct sample_args a = {.logits = x, .n_row = ROWS, .n_vocab = N, .p = p, .id = id, .lp = lp};
    ok(w->ops->sample(w->ops, NULL, &a, &e));
    for (int r = 0; r < ROWS; r++) {
        a = (struct sample_args){
            .logits = x + r * N, .n_row = 1, .n_vocab = N, .p = p + r, .id = &one, .lp = &one_lp};
        ok(w->ops->sample(w->ops, NULL, &a, &e));
        assert_int_equal(one, id[r]);
        assert_memory_equal(&one_lp, &lp[r], sizeof one_lp);
        const int32_t zero = 0;
        float again;
        const struct logprob_args l = {.logits = x + r * N,
                                       .n_row = 1,
                                       .n_vocab = N,
                                       .row = &zero,
                                       .id = &one,
                                       .lp = &again,
                                       .n_pair = 1};
        ok(w->ops->logprob(w->ops, NULL, &l, &e));
        assert_memory_equal(&again, &lp[r], sizeof again); /* sample and logprob agree to the bit */
    }
    free(x);
}

static void sampling_a_row_is_the_same_alone_and_in_a_batch(void **state)
{
    (void)state;
    for_each_isa(vocabulary_rows);
}

/* ---- attention ------------------------------------------------------------------------------- */

enum { HEADS = 4, KV_HEADS = 2, DIM = 64, LEN = 150 };

struct paging {             /* how one sequence is laid out and fed */
    int page_tokens, chunk; /* chunk: query rows per call */
    bool reverse, beside;   /* pages from the end; a second sequence in the same calls */
    int window;
};

/* A cache with room for two sequences; the second one has the rows of `other`. */
static void attend(struct world *w, enum fmt fmt, struct paging pg, const float *q, const float *k,
                   const float *v, float *y)
{
    struct err e = {0};
    const int pages = (LEN + pg.page_tokens - 1) / pg.page_tokens, row = KV_HEADS * DIM;
    const struct fmt_info *f = fmt_info(fmt);
    size_t bytes =
        (size_t)(2 * pages * pg.page_tokens * row) / (size_t)f->block_elems * f->block_bytes;
    struct kv_view kv = {.fmt = fmt,
                         .k = malloc(bytes),
                         .v = malloc(bytes),
                         .n_page = 2 * pages,
                         .page_tokens = pg.page_tokens,
                         .n_kv_head = KV_HEADS,
                         .head_dim = DIM};
    memset(kv.k, 0xff, bytes);
    memset(kv.v, 0xff, bytes);
    int32_t page[2 * LEN], slot[LEN];
    for (int p = 0; p < pages; p++) { /* the sequences' pages lie between one another's */
        page[p] = pg.reverse ? 2 * (pages - 1 - p) : 2 * p + 1;
        page[pages + p] = pg.reverse ? 2 * p + 1 : 2 * p;
    }
    float *qs = floats(2 * LEN * HEADS * DIM, 30, 1), *ys = floats(2 * LEN * HEADS * DIM, 31, 1);
    for (int at = 0; at < LEN; at += pg.chunk) {
        int n = LEN - at < pg.chunk ? LEN - at : pg.chunk, wide = HEADS * DIM;
        for (int s = 0; s < 1 + pg.beside; s++) {
            for (int i = 0; i < n; i++)
                slot[i] = page[s * pages + (at + i) / pg.page_tokens] * pg.page_tokens +
                          (at + i) % pg.page_tokens;
            /* the neighbour has other numbers: v for k and k for v */
            const struct kv_write_args write = {.k = (s ? v : k) + at * row,
                                                .v = (s ? k : v) + at * row,
                                                .slot = slot,
                                                .kv = &kv,
                                                .n_row = n};
            ok(w->ops->kv_write(w->ops, NULL, &write, &e));
        }
        memcpy(qs, q + at * wide, (size_t)(n * wide) * sizeof *q);
        const int32_t q_start[3] = {0, n, 2 * n}, kv_len[2] = {at + n, at + n};
        const struct attention_args a = {.q = qs,
                                         .y = ys,
                                         .kv = &kv,
                                         .q_start = q_start,
                                         .kv_len = kv_len,
                                         .page = page,
                                         .n_seq = 1 + pg.beside,
                                         .n_row = n * (1 + pg.beside),
                                         .max_pages = pages,
                                         .max_kv_len = LEN,
                                         .n_head = HEADS,
                                         .scale = 0.125f,
                                         .window = pg.window};
        ok(w->ops->attention(w->ops, NULL, &a, &e));
        memcpy(y + at * wide, ys, (size_t)(n * wide) * sizeof *y);
    }
    free(kv.k);
    free(kv.v);
    free(qs);
    free(ys);
}

static void attention_layouts(struct world *w)
{
    static const enum fmt fmts[] = {FMT_F16, FMT_Q8_0, FMT_F32};
    static const struct paging layouts[] = {
        {32, LEN, true, false, 0}, {64, LEN, false, false, 0}, {16, 1, false, false, 0},
        {16, 7, true, false, 0},   {64, 33, false, true, 0},   {16, 32, true, true, 0},
        {32, 1, true, true, 0},    {16, LEN, false, true, 0},
    };
    static const int windows[] = {0, 1, 40, 64, LEN};
    enum { N = LEN * HEADS * DIM };
    float *q = floats(N, 7, 2), *k = floats(LEN * KV_HEADS * DIM, 8, 1);
    float *v = floats(LEN * KV_HEADS * DIM, 9, 1), *want = floats(N, 10, 1),
          *got = floats(N, 11, 1);
    enum { FMTS = sizeof fmts / sizeof *fmts, WINDOWS = sizeof windows / sizeof *windows };
    for (int n = 0; n < FMTS * WINDOWS; n++) {
        const enum fmt fmt = fmts[n / WINDOWS];
        struct paging pg = {16, LEN, false, false, windows[n % WINDOWS]};
        attend(w, fmt, pg, q, k, v, want);
        for (size_t l = 0; l < sizeof layouts / sizeof *layouts; l++) {
            pg = layouts[l];
            pg.window = windows[n % WINDOWS];
            attend(w, fmt, pg, q, k, v, got);
            for (int i = 0; i < N; i++)
                if (memcmp(&got[i], &want[i], sizeof *got) != 0)
                    fail_msg("%s on %s, pages of %d, chunks of %d, window %d%s%s: row %d differs: "
                             "%.9g, %.9g",
                             fmt_info(fmt)->name, w->ops->dev->name, pg.page_tokens, pg.chunk,
                             pg.window, pg.reverse ? ", reversed" : "",
                             pg.beside ? ", beside another" : "", i / (HEADS * DIM), (double)got[i],
                             (double)want[i]);
        }
    }
    free(q);
    free(k);
    free(v);
    free(want);
    free(got);
}

static void attention_does_not_see_pages_chunks_or_neighbours(void **state)
{
    (void)state;
    for_each_isa(attention_layouts);
}

/* A sequence that continues on a copy of a partial page attends to the same bits. */
static void copied_page(struct world *w)
{
    enum { PAGE = 16, N = 11, PAGES = 3 };
    struct err e = {0};
    const int row = KV_HEADS * DIM;
    size_t bytes = (size_t)(PAGES * PAGE * row) * 2;
    struct kv_view kv = {.fmt = FMT_F16,
                         .k = malloc(bytes),
                         .v = malloc(bytes),
                         .n_page = PAGES,
                         .page_tokens = PAGE,
                         .n_kv_head = KV_HEADS,
                         .head_dim = DIM};
    memset(kv.k, 0xff, bytes);
    memset(kv.v, 0xff, bytes);
    float *k = floats(N * row, 12, 1), *v = floats(N * row, 13, 1), *q = floats(HEADS * DIM, 14, 1);
    float y[2][HEADS * DIM];
    int32_t slot[N];
    for (int i = 0; i < N; i++)
        slot[i] = 2 * PAGE + i;
    const struct kv_write_args write = {.k = k, .v = v, .slot = slot, .kv = &kv, .n_row = N};
    ok(w->ops->kv_write(w->ops, NULL, &write, &e));
    const struct kv_copy_args copy = {.kv = &kv, .src = 2, .dst = 0, .n_token = N};
    ok(w->ops->kv_copy(w->ops, NULL, &copy, &e));
    const int32_t q_start[2] = {0, 1}, len = N, page[2] = {2, 0};
    for (int i = 0; i < 2; i++) {
        const struct attention_args a = {.q = q,
                                         .y = y[i],
                                         .kv = &kv,
                                         .q_start = q_start,
                                         .kv_len = &len,
                                         .page = &page[i],
                                         .n_seq = 1,
                                         .n_row = 1,
                                         .max_pages = 1,
                                         .max_kv_len = N,
                                         .n_head = HEADS,
                                         .scale = 0.125f};
        ok(w->ops->attention(w->ops, NULL, &a, &e));
    }
    assert_memory_equal(y[0], y[1], sizeof y[0]);
    assert_false(isnan(y[0][0]));
    free(kv.k);
    free(kv.v);
    free(k);
    free(v);
    free(q);
}

static void a_copied_page_holds_the_same_numbers(void **state)
{
    (void)state;
    for_each_isa(copied_page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_matmul_row_is_the_same_alone_and_in_a_batch),
        cmocka_unit_test(sampling_a_row_is_the_same_alone_and_in_a_batch),
        cmocka_unit_test(attention_does_not_see_pages_chunks_or_neighbours),
        cmocka_unit_test(a_copied_page_holds_the_same_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
