/* case_attention: ragged batches over scrambled pages. Pages that no sequence owns, and positions
 * before all windows, hold 0xff bytes (NaN in the float formats), so a read of them shows. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "case.h"
#include "fmt_random.h"

#define ATTN_SEQS 4

static const struct attn_shape {
    enum fmt fmt;
    int page_tokens, n_head, n_kv_head, head_dim;
    int rows[ATTN_SEQS], len[ATTN_SEQS]; /* of each sequence; length 0 ends the list */
    bool bench;
    int shared; /* first tokens that all sequences have in common; whole pages */
    int window;
} attn_shapes[] = {
    {FMT_F16, 16, 1, 1, 8, {1}, {1}, false, 0, 0},
    {FMT_F16, 16, 4, 2, 64, {1, 3, 0, 5}, {33, 3, 40, 100}, false, 0, 0},
    {FMT_Q8_0, 32, 8, 1, 128, {2, 1, 40}, {65, 31, 40}, false, 0, 0},
    {FMT_F32, 64, 6, 3, 20, {7, 1}, {130, 64}, false, 0, 0},
    {FMT_BF16, 16, 2, 2, 48, {1, 1, 1}, {32, 96, 7}, false, 0, 0},
    /* more query heads than an item takes */
    {FMT_Q4_0, 32, 40, 1, 32, {3, 1}, {70, 2}, false, 0, 0},
    {FMT_F16, 256, 4, 4, 256, {33}, {300}, false, 0, 0},
    /* around the ends of a block of 128 positions, many pages, eight query heads on one kv head */
    {FMT_F16, 16, 8, 1, 128, {1, 1, 1, 1}, {127, 128, 129, 257}, false, 0, 0},
    /* sequences without rows */
    {FMT_Q8_0, 16, 4, 1, 64, {1, 0, 3, 0}, {256, 16, 386, 5}, false, 0, 0},
    /* rows of 10 bytes; ends with half a tile */
    {FMT_F16, 16, 3, 1, 5, {2, 1}, {17, 48}, false, 0, 0},
    {FMT_F16, 16, 2, 1, 20, {2, 1}, {33, 17}, false, 0, 0}, /* rows of 40 bytes */
    {FMT_F32, 16, 2, 2, 512, {2}, {33}, false, 0, 0},       /* the longest heads */
    {FMT_Q8_0, 32, 2, 1, 512, {1}, {140}, false, 0, 0},
    /* decode steps with few query heads for each kv head, in every head width that has a kernel */
    {FMT_F16, 16, 8, 2, 128, {1, 1, 1}, {140, 33, 5}, false, 0, 0},
    {FMT_Q8_0, 32, 4, 1, 256, {1, 1}, {200, 9}, false, 0, 0},
    {FMT_F16, 16, 14, 2, 192, {1}, {150}, false, 0, 0},
    {FMT_BF16, 16, 6, 1, 40, {1, 1}, {60, 131}, false, 0, 0},
    /* heads of 64 and 128, for tensor cores: many rows, several splits, more heads than fit a
     * tile */
    {FMT_F16, 16, 4, 1, 64, {40}, {150}, false, 0, 0},
    {FMT_F16, 32, 8, 2, 128, {20, 1}, {300, 7}, false, 0, 0},
    {FMT_Q8_0, 16, 4, 2, 64, {33}, {140}, false, 0, 0},
    {FMT_Q4_0, 16, 4, 1, 64, {1, 2}, {131, 20}, false, 0, 0},
    {FMT_Q4_0, 32, 2, 1, 64, {50}, {50}, false, 0, 0},
    {FMT_Q4_0, 16, 20, 1, 128, {1, 1}, {129, 15}, false, 0, 0},
    {FMT_Q4_0, 64, 8, 1, 128, {9}, {200}, false, 0, 0},
    /* sequences that begin with the same pages: equal to the end, of different lengths, more
     * queries than one group takes, chunks of several rows */
    {FMT_F16, 16, 4, 2, 64, {1, 1, 1, 1}, {161, 161, 161, 161}, false, 160, 0},
    {FMT_Q8_0, 32, 8, 2, 128, {1, 2, 1, 3}, {200, 131, 330, 140}, false, 96, 0},
    {FMT_F16, 16, 24, 1, 64, {1, 1, 1, 1}, {90, 97, 200, 81}, false, 80, 0},
    {FMT_F16, 32, 8, 2, 128, {1, 1, 1, 1}, {300, 290, 161, 140}, false, 128, 0},
    /* equal pages, but each sequence reads another number of tokens */
    {FMT_Q8_0, 64, 4, 1, 128, {1, 1, 1, 1}, {185, 192, 190, 150}, false, 192, 0},
    {FMT_Q4_0, 16, 4, 2, 64, {1, 1, 3, 1}, {140, 133, 200, 258}, false, 128, 0},
    {FMT_F32, 64, 3, 3, 20, {5, 9, 1, 12}, {150, 138, 129, 270}, false, 128, 0},
    /* one sequence ends inside the pages that the next one shares */
    {FMT_F16, 16, 4, 2, 64, {1, 1, 1, 1}, {140, 200, 131, 250}, false, 144, 0},
    /* heads of 96, and one kv head of 256 */
    {FMT_F16, 16, 4, 4, 96, {3, 1}, {140, 30}, false, 0, 0},
    {FMT_Q8_0, 32, 4, 2, 96, {1, 40}, {140, 60}, false, 0, 0},
    {FMT_Q4_0, 16, 4, 4, 96, {2, 1}, {131, 16}, false, 0, 0},
    {FMT_F16, 16, 4, 1, 256, {1, 1, 1, 1}, {161, 161, 161, 161}, false, 160, 0},
    {FMT_Q4_0, 16, 4, 1, 256, {1, 5}, {200, 9}, false, 0, 0},
    {FMT_F32, 32, 2, 1, 256, {9}, {100}, false, 0, 0},
    /* windows: of one position, within a block, of whole blocks, over several splits */
    {FMT_F32, 64, 6, 3, 20, {7, 1}, {130, 64}, false, 0, 1},
    {FMT_F16, 16, 4, 1, 256, {1, 33}, {300, 140}, false, 0, 40},
    {FMT_Q8_0, 32, 4, 1, 256, {5, 1}, {200, 9}, false, 0, 64},
    {FMT_Q4_0, 16, 2, 1, 256, {1, 3}, {131, 300}, false, 0, 32},
    {FMT_BF16, 16, 2, 2, 96, {1, 9}, {129, 70}, false, 0, 33},
    {FMT_F16, 16, 4, 4, 96, {20, 1}, {290, 257}, false, 0, 128},
    {FMT_F16, 32, 8, 2, 128, {1, 1, 1, 1}, {127, 128, 129, 450}, false, 0, 128},
    {FMT_F16, 16, 8, 2, 128, {20, 1}, {300, 7}, false, 0, 100},
    {FMT_Q8_0, 16, 8, 1, 64, {1, 70}, {400, 200}, false, 0, 31},
    {FMT_Q4_0, 64, 8, 2, 64, {40, 1, 1}, {150, 290, 33}, false, 0, 17},
    {FMT_F16, 256, 4, 1, 64, {90}, {600}, false, 0, 300},
    {FMT_Q8_0, 64, 4, 2, 128, {1, 2}, {520, 390}, false, 0, 3},
    /* windows as long as the sequences and longer */
    {FMT_F16, 16, 4, 2, 64, {1, 3}, {160, 129}, false, 0, 160},
    {FMT_Q8_0, 16, 4, 1, 96, {1, 3}, {140, 33}, false, 0, 4096},
    /* windows that begin within shared pages, at different positions, and after them */
    {FMT_F16, 16, 4, 2, 64, {1, 1, 1, 1}, {300, 290, 261, 240}, false, 224, 150},
    {FMT_Q8_0, 32, 8, 2, 128, {1, 2, 1, 3}, {400, 331, 430, 340}, false, 320, 200},
    {FMT_F16, 16, 4, 1, 256, {1, 1, 1, 1}, {330, 321, 325, 350}, false, 320, 128},
    {FMT_Q4_0, 16, 4, 2, 64, {1, 1, 1, 1}, {300, 290, 261, 240}, false, 224, 20},
    {FMT_F32, 64, 3, 3, 20, {5, 9, 1, 12}, {250, 238, 229, 270}, false, 192, 70},
    {FMT_F16, 64, 32, 8, 128, {1}, {8192}, true, 0, 0},
    {FMT_Q8_0, 64, 32, 8, 128, {1}, {8192}, true, 0, 0},
    {FMT_Q4_0, 64, 32, 8, 128, {1}, {8192}, true, 0, 0},
    {FMT_F16, 64, 32, 8, 128, {1}, {1024}, true, 0, 0},
    {FMT_Q8_0, 64, 32, 8, 128, {1}, {1024}, true, 0, 0},
    {FMT_Q4_0, 64, 32, 8, 128, {1}, {1024}, true, 0, 0},
    {FMT_F16, 64, 32, 8, 128, {1, 1, 1, 1}, {8192, 8192, 8192, 8192}, true, 0, 0},
    {FMT_F16, 64, 32, 8, 128, {512}, {512}, true, 0, 0},
    /* 32k positions; eight query heads on a kv head, as the 70B has; a late chunk of a prompt */
    {FMT_F16, 64, 32, 8, 128, {1}, {32768}, true, 0, 0},
    {FMT_Q8_0, 64, 32, 8, 128, {1}, {32768}, true, 0, 0},
    {FMT_Q4_0, 64, 32, 8, 128, {1}, {32768}, true, 0, 0},
    {FMT_F16, 64, 64, 8, 128, {1}, {8192}, true, 0, 0},
    {FMT_Q8_0, 64, 64, 8, 128, {1}, {8192}, true, 0, 0},
    {FMT_Q4_0, 64, 64, 8, 128, {1}, {8192}, true, 0, 0},
    {FMT_F16, 64, 32, 8, 128, {32}, {8192}, true, 0, 0},
    {FMT_F16, 64, 8, 4, 256, {1}, {512}, true, 0, 0},
    {FMT_F16, 64, 8, 4, 256, {1}, {8192}, true, 0, 512},
    {FMT_F16, 64, 8, 4, 256, {1}, {8192}, true, 0, 0},
    {FMT_F16, 64, 32, 8, 128, {1}, {8192}, true, 0, 512},
};

static int attention_run(const struct op_case *c, void *const *dev, struct ops *ops,
                         struct stream *s, struct err *e)
{
    struct kv_view kv = c->kv;
    kv.k = dev[1];
    kv.v = dev[2];
    struct attention_args a = c->args.attention;
    a.q = dev[0];
    a.kv = &kv;
    a.q_start = dev[3];
    a.kv_len = dev[4];
    a.page = dev[5];
    a.y = dev[6];
    return ops->attention(ops, s, &a, e);
}

/* Fills q_start, kv_len and the page table. Sequences take pages in turn, from the last page
 * down. */
static void attention_tables(const struct attn_shape *s, const struct attention_args *a, int n_page,
                             int32_t *q_start, int32_t *kv_len, int32_t *page)
{
    for (int i = 0; i < a->n_seq; i++) {
        q_start[i + 1] = q_start[i] + s->rows[i];
        kv_len[i] = s->len[i];
    }
    int next = n_page - 1;
    for (int p = 0; p < a->max_pages; p++)
        for (int i = 0; i < a->n_seq; i++)
            page[i * a->max_pages + p] = p * s->page_tokens >= s->len[i]       ? -1
                                         : i && p < s->shared / s->page_tokens ? page[p]
                                                                               : next--;
}

/* Fills used pages with random K or V, and the unused page 0 with 0xff. */
static void attention_pages(const struct attn_shape *s, int n_page, uint64_t key, float std,
                            void *data)
{
    const struct fmt_info *f = fmt_info(s->fmt);
    int64_t blocks = (int64_t)s->n_kv_head * s->page_tokens * (s->head_dim / f->block_elems);
    memset(data, 0xff, (size_t)blocks * f->block_bytes);
    fmt_random(s->fmt, key, 0, (n_page - 1) * blocks, std,
               (char *)data + (size_t)blocks * f->block_bytes);
}

/* The first position that a row of the sequence sees, and the number of positions seen. */
static int attention_first(const struct attn_shape *s, int seq)
{
    const int end = s->len[seq] - s->rows[seq] + 1; /* of its first row */
    return s->window && end > s->window ? end - s->window : 0;
}

static int attention_positions(const struct attn_shape *s, int seq)
{
    return s->rows[seq] ? s->len[seq] - attention_first(s, seq) : 0;
}

/* Fills the rows of K and V that no query sees with 0xff. */
static int attention_hide(struct op_case *c, const struct attn_shape *s,
                          const struct attention_args *a, const int32_t *page, char *k, char *v,
                          struct err *e)
{
    size_t row;
    const size_t slots = (size_t)a->n_seq * (size_t)a->max_pages * (size_t)s->page_tokens;
    bool *seen = arena_alloc(&c->arena, slots + (size_t)s->page_tokens, sizeof *seen);
    if (!seen)
        return NOMEM(e, slots, "case");
    for (int i = 0; i < a->n_seq; i++)
        for (int t = attention_first(s, i); t < s->len[i]; t++)
            seen[page[i * a->max_pages + t / s->page_tokens] * s->page_tokens +
                 t % s->page_tokens] = s->rows[i] > 0;
    fmt_row_bytes(s->fmt, s->head_dim, &row);
    for (int i = 0; i < a->n_seq; i++)
        for (int t = 0; t < s->len[i] && s->window; t++) {
            const int p = page[i * a->max_pages + t / s->page_tokens], at = t % s->page_tokens;
            for (int h = 0; h < s->n_kv_head && !seen[p * s->page_tokens + at]; h++) {
                const int to = (p * s->n_kv_head + h) * s->page_tokens + at;
                memset(k + (size_t)to * row, 0xff, row);
                memset(v + (size_t)to * row, 0xff, row);
            }
        }
    return 0;
}

static bool attention_bench(int i)
{
    return attn_shapes[i].bench;
}

static int attention_make(int i, struct op_case *c, struct err *e)
{
    const struct attn_shape *s = &attn_shapes[i];
    struct attention_args a = {
        .n_head = s->n_head, .scale = 1 / sqrtf((float)s->head_dim), .window = s->window};
    int n_page = 1, positions = 0;
    for (; a.n_seq < ATTN_SEQS && s->len[a.n_seq]; a.n_seq++) {
        int len = s->len[a.n_seq], pages = (len + s->page_tokens - 1) / s->page_tokens;
        a.n_row += s->rows[a.n_seq];
        a.max_kv_len = len > a.max_kv_len ? len : a.max_kv_len;
        a.max_pages = pages > a.max_pages ? pages : a.max_pages;
        const int shared = s->shared / s->page_tokens;
        n_page += pages - (a.n_seq == 0 ? 0 : shared < pages ? shared : pages);
        const int seen = s->window && s->window < len ? s->window : len;
        c->flops += 4.0 * s->rows[a.n_seq] * seen * s->n_head * s->head_dim;
        positions += attention_positions(s, a.n_seq);
    }
    size_t row = 0;
    fmt_row_bytes(s->fmt, (int64_t)s->n_kv_head * s->head_dim, &row);
    c->bench = attention_bench(i);
    char window[24] = "";
    if (s->window)
        snprintf(window, sizeof window, " window %d", s->window);
    snprintf(c->name, sizeof c->name,
             "%s %d sequences %d rows, up to %d tokens, %d/%d heads of %d%s",
             fmt_info(s->fmt)->name, a.n_seq, a.n_row, a.max_kv_len, s->n_head, s->n_kv_head,
             s->head_dim, window);
    int64_t n = (int64_t)a.n_row * s->n_head * s->head_dim;
    size_t slots = (size_t)n_page * (size_t)s->page_tokens;
    case_floats(c, "q", CASE_IN, n, 10, 2);
    void *k = case_buf(c, "kv.k", CASE_IN, CASE_BYTES, slots, row);
    void *v = case_buf(c, "kv.v", CASE_IN, CASE_BYTES, slots, row);
    int32_t *q_start =
        case_buf(c, "q_start", CASE_IN, CASE_I32, (size_t)a.n_seq + 1, sizeof *q_start);
    int32_t *kv_len = case_buf(c, "kv_len", CASE_IN, CASE_I32, (size_t)a.n_seq, sizeof *kv_len);
    int32_t *page =
        case_buf(c, "page", CASE_IN, CASE_I32, (size_t)(a.n_seq * a.max_pages), sizeof *page);
    case_buf(c, "y", CASE_OUT, CASE_F32, (size_t)n, sizeof(float));
    case_tolerance(c, 1e-5, 0);
    TRY(case_done(c, e));
    attention_tables(s, &a, n_page, q_start, kv_len, page);
    attention_pages(s, n_page, 11, 1, k);
    attention_pages(s, n_page, 12, 1, v);
    TRY(attention_hide(c, s, &a, page, k, v, e));
    c->kv = (struct kv_view){.fmt = s->fmt,
                             .n_page = n_page,
                             .page_tokens = s->page_tokens,
                             .n_kv_head = s->n_kv_head,
                             .head_dim = s->head_dim};
    c->limits = (struct ops_limits){.max_rows = a.n_row,
                                    .max_kv_len = a.max_kv_len,
                                    .n_head = s->n_head,
                                    .head_dim = s->head_dim};
    c->args.attention = a;
    c->bytes = 2.0 * (s->window ? (double)positions : (double)slots) * (double)row;
    c->run = attention_run;
    return 0;
}

const struct case_set case_attention = {sizeof attn_shapes / sizeof *attn_shapes, attention_make,
                                        attention_bench};
