/* Binding of tensor names to slots. */
#include "weights.h"

#include "gguf_make.h"
#include "test.h"

static struct gguf_make m;
static struct gguf *g;
static unsigned char *bytes;

static void open_made(void)
{
    size_t n;
    struct err e;
    bytes = make_file(&m, &n);
    ok(gguf_open_memory(bytes, n, "made.gguf", &g, &e));
}

static void close_made(void)
{
    gguf_close(g);
    free(bytes);
    make_free(&m);
}

enum { EMBD, NORM, BIAS, UP, SLOTS };
static const struct weight_slot slots[SLOTS] = {
    [EMBD] = {.name = "embd", .n_dim = 2, .dim = {4, 32}},
    [NORM] = {.name = "blk.%d.norm", .part = PART_FFN, .f32_only = true, .n_dim = 1, .dim = {32}},
    [BIAS] = {.name = "blk.%d.bias",
              .part = PART_FFN,
              .optional = true,
              .f32_only = true,
              .n_dim = 1,
              .dim = {32}},
    [UP] = {.name = "blk.%d.up", .part = PART_FFN, .n_dim = 2, .dim = {8, 32}},
};

static void make_layer(int layer, enum fmt norm, enum fmt up, uint64_t rows)
{
    char name[64];
    snprintf(name, sizeof name, "blk.%d.norm", layer);
    make_tensor(&m, name, 1, (uint64_t[]){32}, norm);
    snprintf(name, sizeof name, "blk.%d.up", layer);
    make_tensor(&m, name, 2, (uint64_t[]){32, rows}, up);
}

static void every_slot_of_every_layer_is_a_view_of_the_file(void **state)
{
    (void)state;
    struct err e;
    struct weights w;
    make_init(&m);
    make_tensor(&m, "embd", 2, (uint64_t[]){32, 4}, FMT_F16);
    make_layer(0, FMT_F32, FMT_Q8_0, 8);
    make_layer(1, FMT_F32, FMT_F32, 8);
    make_tensor(&m, "blk.1.bias", 1, (uint64_t[]){32}, FMT_F32);
    open_made();
    ok(weights_bind(g, slots, SLOTS, 2, &w, &e));
    assert_ptr_equal(weights_get(&w, EMBD, 0)->data, gguf_tensor_find(g, "embd")->t.data);
    assert_ptr_equal(weights_get(&w, EMBD, 1), weights_get(&w, EMBD, 0));
    assert_ptr_equal(weights_get(&w, UP, 1)->data, gguf_tensor_find(g, "blk.1.up")->t.data);
    assert_int_equal(weights_get(&w, UP, 0)->fmt, FMT_Q8_0);
    assert_null(weights_get(&w, BIAS, 0)->data);
    assert_non_null(weights_get(&w, BIAS, 1)->data);
    /* 128 and 8 x 34 bytes; 128, 8 x 128 and 128 bytes: each at a multiple of 256 */
    assert_int_equal(weights_part_bytes(&w, PART_FFN, 0), 256 + 512);
    assert_int_equal(weights_part_bytes(&w, PART_FFN, 1), 256 + 1024 + 256);
    assert_int_equal(weights_shared_bytes(&w), 256);
    assert_int_equal(weights_bytes(&w), 256 + 768 + 1536);
    weights_free(&w);
    assert_null(w.t);
    close_made();
}

static void all_misses_stand_in_one_message(void **state)
{
    (void)state;
    struct err e;
    struct weights w;
    make_init(&m);
    make_tensor(&m, "embd", 3, (uint64_t[]){32, 4, 1}, FMT_F16);
    make_layer(0, FMT_F16, FMT_Q8_0, 9);
    make_tensor(&m, "blk.0.bias", 1, (uint64_t[]){64}, FMT_F32);
    open_made();
    fails(weights_bind(g, slots, SLOTS, 2, &w, &e), ERR_DATA, "made.gguf: 6 tensors do not fit");
    assert_non_null(strstr(e.msg, "embd is (1, 4, 32), must be (4, 32)"));
    assert_non_null(strstr(e.msg, "blk.0.norm has format F16, must be F32"));
    assert_non_null(strstr(e.msg, "blk.0.up is (9, 32), must be (8, 32)"));
    assert_non_null(strstr(e.msg, "blk.0.bias is (64), must be (32)"));
    assert_non_null(strstr(e.msg, "blk.1.norm is missing"));
    assert_non_null(strstr(e.msg, "blk.1.up is missing"));
    assert_null(strstr(e.msg, "blk.1.bias"));
    assert_null(strstr(e.msg, "more"));
    close_made();
}

static void a_long_list_ends_with_a_count(void **state)
{
    (void)state;
    struct err e;
    struct weights w;
    const struct weight_slot endless = {.name =
                                            "blk.%d.a_name_that_no_tensor_can_have_because_it_is_"
                                            "longer_than_64_bytes",
                                        .n_dim = 1,
                                        .dim = {1}};
    make_init(&m);
    open_made();
    fails(weights_bind(g, slots, SLOTS, 80, &w, &e), ERR_DATA, "161 tensors do not fit");
    const char *more = strstr(e.msg, "; and ");
    assert_non_null(more);
    int left = 0, shown = 0;
    assert_int_equal(sscanf(more, "; and %d more", &left), 1);
    for (const char *s = e.msg; (s = strstr(s, " is missing")); s++)
        shown++;
    assert_int_equal(left + shown, 161);
    fails(weights_bind(g, &endless, 1, 1, &w, &e), ERR_DATA, "is missing");
    fails(weights_bind(g, slots, -1, 1, &w, &e), ERR_BUG, "-1 slots");
    close_made();
}

static void a_model_without_layers_binds_its_shared_slots(void **state)
{
    (void)state;
    struct err e;
    struct weights w;
    make_init(&m);
    make_tensor(&m, "embd", 2, (uint64_t[]){32, 4}, FMT_F16);
    open_made();
    ok(weights_bind(g, slots, SLOTS, 0, &w, &e));
    assert_non_null(weights_get(&w, EMBD, 0)->data);
    assert_int_equal(weights_bytes(&w), 256);
    weights_free(&w);
    close_made();
}

static enum fmt format_of(const void *user, const char *name, int n_dim, const int64_t *dim)
{
    (void)dim;
    return n_dim == 1 ? FMT_F32 : !strcmp(name, "blk.1.up") ? *(const enum fmt *)user : FMT_F16;
}

static void an_outline_has_sizes_but_no_data(void **state)
{
    (void)state;
    struct err e;
    struct weights w;
    struct weight_slot with[SLOTS + 1];
    enum fmt up = FMT_Q8_0;
    memcpy(with, slots, sizeof slots);
    with[SLOTS] = (struct weight_slot){.name = "out",
                                       .part = PART_OUTPUT,
                                       .optional = true,
                                       .or_name = "embd",
                                       .n_dim = 2,
                                       .dim = {4, 32}};
    for (int tied = 0; tied < 2; tied++) {
        ok(weights_outline(with, SLOTS + 1, 2, tied, format_of, &up, &w, &e));
        assert_null(weights_get(&w, UP, 1)->data);
        assert_int_equal(weights_get(&w, UP, 1)->row_bytes, 34);
        assert_false(weights_own(&w, BIAS, 1));
        assert_int_equal(weights_own(&w, SLOTS, 0), !tied);
        assert_int_equal(weights_tied(&w), tied);
        assert_int_equal(weights_part_bytes(&w, PART_OUTPUT, 0), 256);
        assert_int_equal(weights_shared_bytes(&w), tied ? 256 : 512);
        assert_int_equal(weights_part_bytes(&w, PART_FFN, 0), 256 + 512);
        assert_int_equal(weights_part_bytes(&w, PART_FFN, 1), 256 + 512);
        weights_free(&w);
    }
    up = FMT_Q4_K; /* blocks of 256 */
    fails(weights_outline(with, SLOTS + 1, 2, false, format_of, &up, &w, &e), ERR_USAGE,
          "blk.1.up: rows of 32 elements are no whole blocks of Q4_K");
}

/* Rows 8 .. 23 of a matrix of 32 rows, elements 8 .. 23 of its bias. */
static void a_fused_tensor_is_split_into_views(void **state)
{
    (void)state;
    static const struct weight_slot part[] = {{.name = "blk.%d.k",
                                               .part = PART_ATTN,
                                               .n_dim = 2,
                                               .dim = {16, 32},
                                               .fused_name = "blk.%d.qkv",
                                               .fused_first = 8,
                                               .fused_rows = 32},
                                              {.name = "blk.%d.kb",
                                               .part = PART_ATTN,
                                               .optional = true,
                                               .f32_only = true,
                                               .n_dim = 1,
                                               .dim = {16},
                                               .fused_name = "blk.%d.qkvb",
                                               .fused_first = 8,
                                               .fused_rows = 32}};
    struct err e;
    struct weights w;
    make_init(&m);
    make_tensor(&m, "blk.0.qkv", 2, (uint64_t[]){32, 32}, FMT_Q8_0);
    make_tensor(&m, "blk.0.qkvb", 1, (uint64_t[]){32}, FMT_F32);
    make_tensor(&m, "blk.1.k", 2, (uint64_t[]){32, 16}, FMT_F16); /* its own comes first */
    make_tensor(&m, "blk.1.qkv", 2, (uint64_t[]){32, 32}, FMT_Q8_0);
    open_made();
    ok(weights_bind(g, part, 2, 2, &w, &e));
    const struct tensor *k = weights_get(&w, 0, 0), *b = weights_get(&w, 1, 0);
    const unsigned char *qkv = gguf_tensor_find(g, "blk.0.qkv")->t.data,
                        *qkvb = gguf_tensor_find(g, "blk.0.qkvb")->t.data;
    assert_ptr_equal(k->data, qkv + (size_t)8 * 34);
    assert_int_equal(tensor_rows(k), 16);
    assert_int_equal(tensor_cols(k), 32);
    assert_int_equal(tensor_bytes(k), 16 * 34);
    assert_ptr_equal(b->data, qkvb + (size_t)8 * 4);
    assert_int_equal(tensor_cols(b), 16);
    assert_int_equal(tensor_bytes(b), 64);
    assert_int_equal(weights_get(&w, 0, 1)->fmt, FMT_F16);
    assert_null(weights_get(&w, 1, 1)->data);
    assert_int_equal(weights_part_bytes(&w, PART_ATTN, 0), 768 + 256);
    weights_free(&w);
    close_made();

    make_init(&m);
    make_tensor(&m, "blk.0.qkv", 2, (uint64_t[]){32, 31}, FMT_Q8_0);
    make_tensor(&m, "blk.0.qkvb", 1, (uint64_t[]){32}, FMT_F16);
    open_made();
    fails(weights_bind(g, part, 2, 1, &w, &e), ERR_DATA,
          "blk.0.k is missing, and blk.0.qkv is (31, 32), must be (32, 32)");
    assert_non_null(
        strstr(e.msg, "blk.0.kb is missing, and blk.0.qkvb has format F16, must be F32"));
    close_made();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_slot_of_every_layer_is_a_view_of_the_file),
        cmocka_unit_test(all_misses_stand_in_one_message),
        cmocka_unit_test(a_long_list_ends_with_a_count),
        cmocka_unit_test(a_model_without_layers_binds_its_shared_slots),
        cmocka_unit_test(an_outline_has_sizes_but_no_data),
        cmocka_unit_test(a_fused_tensor_is_split_into_views),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
