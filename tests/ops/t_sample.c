/* The promises of the op sample, on the oracle and on the CPU backend in every instruction set. */
#include <math.h>

#include "cpu_isa.h"
#include "ops.h"
#include "rng.h"
#include "test.h"

enum { BACKENDS = 1 + CPU_ISA_COUNT, MAX_VOCAB = 131072 };

struct backend {
    struct ops *ops;
    struct buf scratch;
};

static int open_all(void **state)
{
    static struct backend all[BACKENDS];
    const struct ops_limits limits = {.max_logit_rows = 5000, .n_vocab = MAX_VOCAB};
    for (int i = 0; i < BACKENDS; i++) {
        all[i] = (struct backend){0};
        struct err e = {0};
        struct backend *b = &all[i];
        struct ops_options opt = {.n_threads = 2};
        if (i > 0 && !cpu_isa_has((enum cpu_isa)(i - 1)))
            continue;
        if (i > 0)
            opt.isa = cpu_isa_name((enum cpu_isa)(i - 1));
        ok(ops_open(i ? "cpu" : "ref", &opt, &b->ops, &e));
        size_t bytes = b->ops->scratch_bytes(b->ops, &limits);
        ok(b->ops->dev->api->alloc(b->ops->dev, MEM_DEVICE, bytes, &b->scratch, &e));
        b->ops->bind_scratch(b->ops, b->scratch.ptr, bytes);
    }
    *state = all;
    return 0;
}

static int close_all(void **state)
{
    struct backend *all = *state;
    for (int i = 0; i < BACKENDS; i++)
        if (all[i].ops) {
            all[i].ops->dev->api->free(all[i].ops->dev, &all[i].scratch);
            ops_close(all[i].ops);
        }
    return 0;
}

/* One row. */
static int32_t draw(struct backend *b, const float *x, int64_t n, struct sample_row p,
                    const uint32_t *mask, float *lp)
{
    struct err e = {0};
    int32_t id = 12345;
    float ignored;
    const struct sample_args a = {.logits = x,
                                  .n_row = 1,
                                  .n_vocab = n,
                                  .p = &p,
                                  .mask_bits = mask,
                                  .n_mask = mask ? 1 : 0,
                                  .id = &id,
                                  .lp = lp ? lp : &ignored};
    p.mask = mask ? 0 : -1;
    ok(b->ops->sample(b->ops, NULL, &a, &e));
    return id;
}

/* ---- the distribution ------------------------------------------------------------------------ */

enum { SMALL = 12, DRAWS = 4000, BATCHES = 5 };

/* Exact probabilities after temperature, mask and filters, straight from the definition. */
static void exact(const float *x, const struct sample_row *p, uint32_t mask, double *q)
{
    int order[SMALL], n = 0;
    double w[SMALL], total = 0, sum = 0, max = -INFINITY;
    for (int i = 0; i < SMALL; i++) {
        q[i] = 0;
        if (mask >> i & 1)
            order[n++] = i;
    }
    for (int i = 0; i < n; i++) /* insertion sort, most probable first */
        for (int j = i; j > 0 && x[order[j]] > x[order[j - 1]]; j--) {
            int t = order[j];
            order[j] = order[j - 1];
            order[j - 1] = t;
        }
    max = (double)x[order[0]];
    for (int i = 0; i < n; i++)
        w[i] = exp(((double)x[order[i]] - max) / (double)p->temperature);
    if (p->top_k > 0 && p->top_k < n) {
        int k = p->top_k;
        while (k < n && !(x[order[k]] < x[order[k - 1]]))
            k++;
        n = k;
    }
    for (int i = 0; i < n; i++)
        total += w[i];
    int kept = 0;
    while (p->top_p < 1 && kept < n && (sum < (double)p->top_p * total || w[kept] == w[kept - 1]))
        sum += w[kept++];
    n = p->top_p < 1 ? kept : n;
    while (n > 0 && w[n - 1] < (double)p->min_p)
        n--;
    total = 0;
    for (int i = 0; i < n; i++)
        total += w[i];
    for (int i = 0; i < n; i++)
        q[order[i]] = w[i] / total;
}

static void chi_square(struct backend *b, const float *x, struct sample_row p, uint32_t mask)
{
    struct err e = {0};
    static float logits[DRAWS * SMALL], lp[DRAWS];
    static struct sample_row rows[DRAWS];
    static int32_t id[DRAWS];
    double q[SMALL], count[SMALL] = {0}, chi = 0;
    int freedom = -1;
    exact(x, &p, mask, q);
    for (int batch = 0; batch < BATCHES; batch++) {
        for (int r = 0; r < DRAWS; r++) {
            memcpy(logits + r * SMALL, x, SMALL * sizeof *x);
            rows[r] = p;
            rows[r].mask = 0;
            rows[r].key = rng_key(77, (uint64_t)batch, (uint64_t)r);
        }
        const struct sample_args a = {.logits = logits,
                                      .n_row = DRAWS,
                                      .n_vocab = SMALL,
                                      .p = rows,
                                      .mask_bits = &mask,
                                      .n_mask = 1,
                                      .id = id,
                                      .lp = lp};
        ok(b->ops->sample(b->ops, NULL, &a, &e));
        for (int r = 0; r < DRAWS; r++) {
            assert_in_range(id[r], 0, SMALL - 1);
            count[id[r]]++;
        }
    }
    for (int i = 0; i < SMALL; i++) {
        double expect = q[i] * DRAWS * BATCHES;
        if (expect == 0)
            assert_true(count[i] == 0); /* a filtered token is never drawn */
        else {
            chi += (count[i] - expect) * (count[i] - expect) / expect;
            freedom++;
        }
    }
    /* mean f, deviation sqrt(2 f): five deviations and a bit */
    if (!(chi <= freedom + 6 * sqrt(2.0 * freedom + 1)))
        fail_msg("%s: chi-square %.1f with %d degrees of freedom", b->ops->dev->name, chi, freedom);
}

static void draws_follow_the_filtered_distribution(void **state)
{
    static const float x[SMALL] = {1.5f, -0.5f, 2, 2, 0, -3, 1, 0.25f, 1.5f, -1, 0.75f, -0.25f};
    static const struct sample_row rows[] = {
        {.temperature = 1, .top_p = 1},
        {.temperature = 2.5f, .top_p = 1},
        {.temperature = 1, .top_p = 1, .top_k = 3}, /* the third ties with the fourth */
        {.temperature = 1, .top_p = 0.5f},
        {.temperature = 0.8f, .top_p = 1, .min_p = 0.25f},
        {.temperature = 1.3f, .top_p = 0.9f, .min_p = 0.1f, .top_k = 8},
    };
    struct backend *all = *state;
    for (int i = 0; i < BACKENDS; i++)
        for (size_t r = 0; all[i].ops && r < sizeof rows / sizeof *rows; r++) {
            chi_square(&all[i], x, rows[r], 0xfff);
            chi_square(&all[i], x, rows[r], 0x9b3);
        }
}

/* The cut falls among logits that differ by less than any coarse search resolves. */
static void filters_cut_exactly_between_close_neighbours(void **state)
{
    static const float x[SMALL] = {0.004f, 3,      0.001f, 0,      0.007f, 2.5f,
                                   0.002f, 0.009f, 0.003f, 0.005f, 0.008f, 0.006f};
    static const struct sample_row rows[] = {
        {.temperature = 1, .top_p = 0.85f}, /* the two large ones and four of ten */
        {.temperature = 1, .top_p = 1, .top_k = 5},
        {.temperature = 1, .top_p = 0.9f, .top_k = 9},
    };
    struct backend *all = *state;
    for (int i = 0; i < BACKENDS; i++)
        for (size_t r = 0; all[i].ops && r < sizeof rows / sizeof *rows; r++)
            chi_square(&all[i], x, rows[r], 0xfff);
}

/* ---- single rows ----------------------------------------------------------------------------- */

static void greedy_takes_the_lowest_id_of_a_tie(void **state)
{
    struct backend *all = *state;
    for (int i = 0; i < BACKENDS; i++) {
        float x[100] = {0}, lp;
        const struct sample_row p = {.temperature = 0, .top_p = 1};
        if (!all[i].ops)
            continue;
        assert_int_equal(draw(&all[i], x, 100, p, NULL, &lp), 0);
        assert_true(fabs((double)lp + log(100)) < 1e-6);
        x[37] = x[36] = x[99] = 2;
        assert_int_equal(draw(&all[i], x, 100, p, NULL, NULL), 36);
        x[0] = -0.0f;
        assert_int_equal(draw(&all[i], x, 36, p, NULL, NULL), 0); /* -0 ties with +0 */
        uint32_t mask[4] = {0xffffffff, 0xffffffe7u & ~0x30u, 0, 8};
        assert_int_equal(draw(&all[i], x, 100, p, mask, NULL), 99);
    }
}

static void rows_that_cannot_be_drawn_from_say_so(void **state)
{
    struct backend *all = *state;
    for (int i = 0; i < BACKENDS; i++)
        for (int t = 0; t < 2 && all[i].ops; t++) {
            float x[50] = {0}, lp = 1;
            uint32_t none[2] = {0, ~0u << 18}; /* bits beyond the vocabulary do not count */
            const struct sample_row p = {.temperature = (float)t, .top_p = 0.9f, .top_k = 7};
            assert_int_equal(draw(&all[i], x, 50, p, none, &lp), -1);
            assert_true(isnan(lp));
            none[1] |= 1u << 17;
            assert_int_equal(draw(&all[i], x, 50, p, none, &lp), 49);
            assert_false(isnan(lp));
            x[48] = -INFINITY; /* an impossible token is no fault */
            assert_int_equal(draw(&all[i], x, 50, p, none, &lp), 49);
            x[3] = NAN; /* also where the mask hides it */
            assert_int_equal(draw(&all[i], x, 50, p, none, &lp), -1);
            assert_true(isnan(lp));
            x[3] = 0;
            x[49] = -INFINITY;
            assert_int_equal(draw(&all[i], x, 50, p, none, &lp), -1);
            x[49] = INFINITY;
            assert_int_equal(draw(&all[i], x, 50, p, none, &lp), -1);
        }
}

static void the_draw_depends_on_key_and_survivors_only(void **state)
{
    enum { N = 3000 };
    struct backend *all = *state;
    float *x = malloc(N * sizeof *x);
    assert_non_null(x);
    for (int i = 0; i < N; i++)
        x[i] = rng_uniform(40, (uint64_t)i) * 10;
    for (int i = 0; i < BACKENDS; i++) {
        int distinct = 0;
        int32_t before = -1;
        for (uint64_t key = 0; key < 60 && all[i].ops; key++) {
            const struct sample_row top = {.temperature = 1, .top_p = 1, .top_k = 25, .key = key};
            const struct sample_row open = {.temperature = 1, .top_p = 1, .key = key};
            int32_t id = draw(&all[i], x, N, top, NULL, NULL);
            assert_int_equal(draw(&all[i], x, N, top, NULL, NULL), id);
            assert_int_equal(draw(&all[0], x, N, top, NULL, NULL), id); /* and the oracle's */
            uint32_t mask[(N + 31) / 32] = {0}; /* the same survivors, by a mask */
            for (int j = 0; j < N; j++) {
                int above = 0;
                for (int k = 0; k < N && above < 25; k++)
                    above += x[k] > x[j];
                if (above < 25)
                    mask[j / 32] |= 1u << j % 32;
            }
            if (key < 3) /* the mask costs the test most of its time */
                assert_int_equal(draw(&all[i], x, N, open, mask, NULL), id);
            distinct += id != before;
            before = id;
        }
        assert_true(!all[i].ops || distinct > 20);
    }
    free(x);
}

/* Many tokens with equal logits, on all sides of the thresholds: the same choice as by sorting. */
static void thresholds_are_exact_on_a_large_vocabulary(void **state)
{
    struct backend *all = *state;
    const int64_t n = 128256;
    float *x = malloc((size_t)n * sizeof *x);
    assert_non_null(x);
    for (int64_t i = 0; i < n; i++) /* rare high values, each some 60 times */
        x[i] = floorf(-4 * logf(rng_uniform(41, (uint64_t)i)) * 8) / 8 - 20;
    static const struct sample_row rows[] = {
        {.temperature = 1, .top_p = 1, .top_k = 1},
        {.temperature = 2, .top_p = 1, .top_k = 50},
        {.temperature = 1, .top_p = 0.3f},
        {.temperature = 1.5f, .top_p = 0.95f},
        {.temperature = 1, .top_p = 0.9f, .top_k = 300},
        {.temperature = 1, .top_p = 1},
        {.temperature = 0.5f, .top_p = 0.99f, .min_p = 0.01f, .top_k = 5000},
    };
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
        for (uint64_t key = 0; key < 2; key++) {
            struct sample_row p = rows[r];
            p.key = rng_key(42, r, key);
            float want_lp, lp;
            int32_t want = draw(&all[0], x, n, p, NULL, &want_lp);
            for (int i = 1; i < BACKENDS; i++) {
                if (!all[i].ops)
                    continue;
                assert_int_equal(draw(&all[i], x, n, p, NULL, &lp), want);
                assert_true(fabs((double)lp - (double)want_lp) <= 1e-5);
            }
        }
    free(x);
}

static void log_probabilities_of_a_row_sum_to_one(void **state)
{
    enum { N = 2053 };
    struct backend *all = *state;
    float *x = malloc(N * sizeof *x), *lp = malloc(N * sizeof *lp);
    int32_t *row = calloc(N, sizeof *row), *id = malloc(N * sizeof *id);
    assert_true(x && lp && row && id);
    for (int j = 0; j < N; j++) {
        x[j] = rng_uniform(43, (uint64_t)j) * 12 - 300;
        id[j] = j;
    }
    for (int i = 0; i < BACKENDS; i++) {
        struct err e = {0};
        double sum = 0;
        const struct logprob_args a = {
            .logits = x, .n_row = 1, .n_vocab = N, .row = row, .id = id, .lp = lp, .n_pair = N};
        if (!all[i].ops)
            continue;
        ok(all[i].ops->logprob(all[i].ops, NULL, &a, &e));
        for (int j = 0; j < N; j++)
            sum += exp((double)lp[j]);
        assert_true(fabs(sum - 1) < 1e-5);
    }
    free(x);
    free(lp);
    free(row);
    free(id);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draws_follow_the_filtered_distribution),
        cmocka_unit_test(filters_cut_exactly_between_close_neighbours),
        cmocka_unit_test(greedy_takes_the_lowest_id_of_a_tie),
        cmocka_unit_test(rows_that_cannot_be_drawn_from_say_so),
        cmocka_unit_test(the_draw_depends_on_key_and_survivors_only),
        cmocka_unit_test(thresholds_are_exact_on_a_large_vocabulary),
        cmocka_unit_test(log_probabilities_of_a_row_sum_to_one),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
