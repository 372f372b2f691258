/* The format of every tensor of the common files, and the sizes of these files. */
#include <inttypes.h>
#include <stdlib.h>

#include "mixture.h"
#include "test.h"

struct shape {
    int64_t n_embd, n_ff, n_vocab;
    struct mixture_model m;
};
static const struct shape llama_8b = {4096, 14336, 128256, {32, 32, 8, false, false}};
static const struct shape llama_70b = {8192, 28672, 128256, {80, 64, 8, false, false}};

struct expect { /* for every layer, the format of the two tensors that vary */
    char v[80 + 1], down[80 + 1];
};

static enum fmt choose(enum mixture m, const struct shape *s, const char *name, int64_t rows,
                       int64_t cols)
{
    enum fmt want;
    int64_t dim[2] = {rows, cols};
    enum fmt f = rows ? mixture_choose(m, &s->m, name, 2, dim, &want)
                      : mixture_choose(m, &s->m, name, 1, &cols, &want);
    assert_int_equal(f, want);
    return f;
}

static uint64_t bytes_of(enum fmt f, int64_t rows, int64_t cols)
{
    size_t row;
    assert_true(fmt_row_bytes(f, cols, &row));
    return (uint64_t)(rows ? rows : 1) * row;
}

/* Sums the file; 4, 5, 6 in `want` stand for Q4_K, Q5_K, Q6_K. */
static uint64_t walk(enum mixture m, const struct shape *s, enum fmt most,
                     const struct expect *want)
{
    const struct {
        const char *name;
        int64_t rows, cols;
    } part[] = {
        {"attn_norm.weight", 0, s->n_embd},
        {"attn_q.weight", s->n_embd, s->n_embd},
        {"attn_k.weight", s->n_embd * s->m.n_kv_head / s->m.n_head, s->n_embd},
        {"attn_v.weight", s->n_embd * s->m.n_kv_head / s->m.n_head, s->n_embd},
        {"attn_output.weight", s->n_embd, s->n_embd},
        {"ffn_norm.weight", 0, s->n_embd},
        {"ffn_gate.weight", s->n_ff, s->n_embd},
        {"ffn_up.weight", s->n_ff, s->n_embd},
        {"ffn_down.weight", s->n_embd, s->n_ff},
    };
    enum fmt embd = choose(m, s, "token_embd.weight", s->n_vocab, s->n_embd);
    enum fmt out = choose(m, s, "output.weight", s->n_vocab, s->n_embd);
    assert_int_equal(embd, most);
    assert_int_equal(out, m == MIX_Q8_0 || fmt_info(most)->block_elems == 1 ? most : FMT_Q6_K);
    assert_int_equal(choose(m, s, "output_norm.weight", 0, s->n_embd), FMT_F32);
    assert_int_equal(choose(m, s, "rope_freqs.weight", 0, 64), FMT_F32);
    uint64_t sum = bytes_of(embd, s->n_vocab, s->n_embd) + bytes_of(out, s->n_vocab, s->n_embd) +
                   bytes_of(FMT_F32, 0, s->n_embd);
    for (int l = 0; l < s->m.n_layer; l++)
        for (size_t k = 0; k < sizeof part / sizeof *part; k++) {
            char name[64];
            snprintf(name, sizeof name, "blk.%d.%s", l, part[k].name);
            enum fmt f = choose(m, s, name, part[k].rows, part[k].cols), w = most;
            if (!part[k].rows)
                w = FMT_F32;
            else if (want && (k == 3 || k == 8)) {
                char c = k == 3 ? want->v[l] : want->down[l];
                w = c == '4' ? FMT_Q4_K : c == '5' ? FMT_Q5_K : FMT_Q6_K;
            }
            if (f != w)
                fail_msg("%s: got %s, want %s", name, fmt_info(f)->name, fmt_info(w)->name);
            sum += bytes_of(f, part[k].rows, part[k].cols);
        }
    return sum;
}

static void the_8b_list_is_that_of_the_common_files(void **state)
{
    (void)state;
    static const struct expect q4 = {"66664464464464464464464464466666",
                                     "66664464464464464464464464466666"};
    static const struct expect q5 = {"66665565565565565565565565566666",
                                     "66665565565565565565565565566666"};
    uint64_t sum = walk(MIX_Q4_K_M, &llama_8b, FMT_Q4_K, &q4);
    assert_int_equal(sum, 4912898048); /* the published file has 4.92 GB, 8 MB of it tokens */
    assert_int_equal(walk(MIX_Q5_K_M, &llama_8b, FMT_Q5_K, &q5) / 10000000, 572); /* 5.73 GB */
    assert_int_equal(walk(MIX_Q4_0, &llama_8b, FMT_Q4_0, NULL) / 10000000, 465);  /* 4.66 GB */
    assert_int_equal(walk(MIX_Q8_0, &llama_8b, FMT_Q8_0, NULL) / 10000000, 853);  /* 8.54 GB */
    assert_int_equal(walk(MIX_Q6_K, &llama_8b, FMT_Q6_K, NULL) / 10000000, 658);  /* 6.60 GB */
    assert_int_equal(walk(MIX_F16, &llama_8b, FMT_F16, NULL) / 10000000, 1606);   /* 16.07 GB */
    assert_int_equal(walk(MIX_BF16, &llama_8b, FMT_BF16, NULL) / 10000000, 1606);
    walk(MIX_F32, &llama_8b, FMT_F32, NULL);
}

static void the_70b_list_is_that_of_the_common_files(void **state)
{
    (void)state;
    struct expect w4 = {{0}, {0}}, w5 = {{0}, {0}};
    for (int l = 0; l < 80; l++) { /* layers 0-9, 12, 15 .. 69, 70-79 */
        bool more = l < 10 || l >= 70 || (l >= 12 && l % 3 == 0);
        w4.v[l] = w5.v[l] = w5.down[l] = more ? '6' : '5';
        w4.down[l] = more ? '6' : '4';
    }
    uint64_t sum = walk(MIX_Q4_K_M, &llama_70b, FMT_Q4_K, &w4);
    assert_int_equal(sum, 42512531456); /* 42.52 GB with the tokens */
    walk(MIX_Q5_K_M, &llama_70b, FMT_Q5_K, &w5);
}

static void attn_v_is_finer_only_where_heads_share_it(void **state)
{
    (void)state;
    struct shape mha = llama_70b;
    mha.m.n_kv_head = 64; /* the first 65B */
    assert_int_equal(choose(MIX_Q4_K_M, &mha, "blk.10.attn_v.weight", 8192, 8192), FMT_Q4_K);
    assert_int_equal(choose(MIX_Q4_K_M, &llama_70b, "blk.10.attn_v.weight", 1024, 8192), FMT_Q5_K);
    assert_int_equal(choose(MIX_Q4_K_M, &llama_70b, "blk.10.attn_k.weight", 1024, 8192), FMT_Q4_K);
}

static void a_tied_embedding_is_stored_as_an_output(void **state)
{
    (void)state;
    struct shape tied = {2048, 8192, 128256, {16, 32, 8, true, false}}; /* 3.2 1B */
    assert_int_equal(choose(MIX_Q4_K_M, &tied, "token_embd.weight", 128256, 2048), FMT_Q6_K);
    assert_int_equal(choose(MIX_Q4_0, &tied, "token_embd.weight", 128256, 2048), FMT_Q6_K);
    assert_int_equal(choose(MIX_Q8_0, &tied, "token_embd.weight", 128256, 2048), FMT_Q8_0);
    assert_int_equal(choose(MIX_F16, &tied, "token_embd.weight", 128256, 2048), FMT_F16);
}

static void rows_that_do_not_fit_fall_back_and_say_so(void **state)
{
    (void)state;
    static const struct {
        enum mixture m;
        const char *name;
        int64_t cols;
        enum fmt want, to;
    } known[] = {
        {MIX_Q4_K_M, "blk.1.attn_q.weight", 288, FMT_Q4_K, FMT_Q5_0},
        {MIX_Q4_0, "blk.1.attn_q.weight", 288, FMT_Q4_0, FMT_Q4_0},
        {MIX_Q4_0, "output.weight", 288, FMT_Q6_K, FMT_Q8_0},
        {MIX_IQ2_XS, "output.weight", 288, FMT_Q5_K, FMT_Q8_0},
        {MIX_Q5_K_M, "blk.1.attn_q.weight", 288, FMT_Q5_K, FMT_Q5_1},
        {MIX_Q3_K_S, "blk.1.attn_q.weight", 288, FMT_Q3_K, FMT_Q4_0},
        {MIX_IQ4_XS, "blk.1.attn_q.weight", 288, FMT_IQ4_XS, FMT_IQ4_NL},
        {MIX_Q4_K_M, "blk.1.attn_q.weight", 172, FMT_Q4_K, FMT_F16},
        {MIX_Q8_0, "blk.1.attn_q.weight", 172, FMT_Q8_0, FMT_F16},
        {MIX_BF16, "blk.1.attn_q.weight", 172, FMT_BF16, FMT_BF16},
    };
    const struct mixture_model m = {5, 8, 4, false, false};
    for (size_t k = 0; k < sizeof known / sizeof *known; k++) {
        const int64_t dim[2] = {100, known[k].cols};
        enum fmt want;
        assert_int_equal(mixture_choose(known[k].m, &m, known[k].name, 2, dim, &want), known[k].to);
        assert_int_equal(want, known[k].want);
    }
}

/* One field of golden/mixtures.tsv: "attn_v=Q4_K*2,Q5_K*78", the formats by layers. */
static void compare_kind(enum mixture m, const struct mixture_model *mm, int64_t n_embd,
                         int64_t n_ff, const char *line, char *field)
{
    char *rest = NULL, *kind = strtok_r(field, "=", &rest);
    const bool alone = !strcmp(kind, "output") || !strcmp(kind, "token_embd");
    const int64_t dim[2] = {8, strcmp(kind, "ffn_down") ? n_embd : n_ff};
    int layer = 0;
    for (char *run; (run = strtok_r(NULL, ",", &rest));) {
        char *star = strchr(run, '*');
        assert_non_null(star);
        *star = 0;
        for (int n = atoi(star + 1); n > 0; n--, layer++) {
            char name[64];
            enum fmt want;
            if (alone)
                snprintf(name, sizeof name, "%s.weight", kind);
            else
                snprintf(name, sizeof name, "blk.%d.%s.weight", layer, kind);
            const enum fmt got = mixture_choose(m, mm, name, 2, dim, &want);
            if (strcmp(fmt_info(got)->name, run) != 0)
                fail_msg("%s, %s: %s, llama-quantize %s", line, name, fmt_info(got)->name, run);
        }
    }
    assert_int_equal(layer, alone ? 1 : mm->n_layer);
}

static void every_tensor_has_the_format_that_llama_quantize_gives_it(void **state)
{
    (void)state;
    size_t size;
    char *file = test_read(TEST_GOLDEN "/mixtures.tsv", &size), *lines = NULL;
    struct mixture_model mm = {0};
    int64_t n_embd = 0, n_ff = 0;
    int n_line = 0;
    for (char *l = strtok_r(file, "\n", &lines); l; l = strtok_r(NULL, "\n", &lines)) {
        char what[64], shape[32], *rest = NULL;
        int tied;
        enum mixture m;
        if (sscanf(l, "model\t%31s\t%d\t%d\t%d\t%" SCNd64 "\t%" SCNd64 "\t%d", shape, &mm.n_layer,
                   &mm.n_head, &mm.n_kv_head, &n_embd, &n_ff, &tied) == 7) {
            mm.tied_output = tied;
            continue;
        }
        assert_string_equal(strtok_r(l, "\t", &rest), shape);
        const char *type = strtok_r(NULL, "\t", &rest);
        assert_true(mixture_from_name(type, &m));
        mm.imatrix = atoi(strtok_r(NULL, "\t", &rest));
        snprintf(what, sizeof what, "%s as %s%s", shape, type, mm.imatrix ? " by a matrix" : "");
        for (char *field; (field = strtok_r(NULL, "\t", &rest));)
            compare_kind(m, &mm, n_embd, n_ff, what, field);
        n_line++;
    }
    print_message("%d lists\n", n_line);
    assert_true(n_line > 100);
    free(file);
}

static void what_is_no_matrix_stays_f32(void **state)
{
    (void)state;
    struct mixture_model m = {5, 8, 4, false, false};
    const char *names[] = {"blk.0.attn_norm.weight",    "blk.0.attn_q.bias",       "weight", "",
                           "blk.0.ffn_gate_inp.weight", "blk.0.attn_q_norm.weight"};
    int64_t dim[2] = {256, 256};
    enum fmt want = FMT_Q4_K;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_int_equal(mixture_choose(MIX_Q4_K_M, &m, names[i], 2, dim, &want), FMT_F32);
        assert_int_equal(want, FMT_F32);
    }
    assert_int_equal(mixture_choose(MIX_Q4_K_M, &m, "blk.0.attn_q.weight", 1, dim, &want), FMT_F32);
    /* a layer number no model has is no error here and no overflow */
    mixture_choose(MIX_Q4_K_M, &m, "blk.99999999999999999999.attn_v.weight", 2, dim, &want);
    mixture_choose(MIX_Q4_K_M, &m, "blk..attn_v.weight", 2, dim, &want);
}

static void names_and_file_types(void **state)
{
    (void)state;
    static const struct {
        enum mixture m;
        uint32_t id;
    } known[] = {{MIX_F32, 0},    {MIX_F16, 1},   {MIX_BF16, 32},   {MIX_Q8_0, 7},
                 {MIX_Q4_0, 2},   {MIX_Q6_K, 18}, {MIX_Q4_K_M, 15}, {MIX_Q5_K_M, 17},
                 {MIX_Q5_1, 9},   {MIX_Q2_K, 10}, {MIX_Q3_K_M, 12}, {MIX_IQ2_XS, 20},
                 {MIX_IQ4_XS, 30}};
    enum mixture m;
    char all[256] = "";
    for (size_t k = 0; k < sizeof known / sizeof *known; k++)
        assert_int_equal(mixture_file_type(known[k].m), known[k].id);
    for (int k = 0; k < MIX_COUNT; k++) {
        assert_true(mixture_from_name(mixture_name((enum mixture)k), &m) && (int)m == k);
        enum mixture same;
        assert_true(mixture_from_file_type(mixture_file_type(m), &same) && same == m);
        for (int other = 0; other < k; other++)
            assert_int_not_equal(mixture_file_type(m), mixture_file_type((enum mixture)other));
        strcat(strcat(all, " "), mixture_name(m));
    }
    assert_string_equal(mixture_choices, all);
    assert_false(mixture_from_file_type(1000, &m));
    assert_true(mixture_from_name("q4_k_m", &m) && m == MIX_Q4_K_M);
    assert_false(mixture_from_name("Q4_K", &m));
    assert_false(mixture_from_name("", &m));
}

/* A type is written exactly if each format that it may give a tensor has an encoder. */
static void types_that_are_written_have_encoders_only(void **state)
{
    (void)state;
    static const char *const kinds[] = {"attn_q",   "attn_k", "attn_v",  "attn_output",
                                        "ffn_gate", "ffn_up", "ffn_down"};
    char targets[256] = "";
    for (int k = 0; k < MIX_COUNT; k++) {
        bool encodes = true;
        for (int flags = 0; flags < 8; flags++) {
            const struct mixture_model m = {flags & 1 ? 80 : 16, 8, flags & 2 ? 1 : 8, false,
                                            flags & 4};
            const int64_t dim[2] = {8, 256};
            for (int at = 0; at < m.n_layer * 7 + 2; at++) {
                char name[64];
                enum fmt want;
                snprintf(name, sizeof name, "blk.%d.%s.weight", at / 7, kinds[at % 7]);
                const char *n = at < m.n_layer * 7    ? name
                                : at == m.n_layer * 7 ? "output.weight"
                                                      : "token_embd.weight";
                encodes = encodes &&
                          fmt_info(mixture_choose((enum mixture)k, &m, n, 2, dim, &want))->encode;
            }
        }
        assert_int_equal(mixture_writes((enum mixture)k), encodes);
        if (encodes)
            strcat(strcat(targets, " "), mixture_name((enum mixture)k));
    }
    assert_string_equal(mixture_targets, targets);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_8b_list_is_that_of_the_common_files),
        cmocka_unit_test(the_70b_list_is_that_of_the_common_files),
        cmocka_unit_test(attn_v_is_finer_only_where_heads_share_it),
        cmocka_unit_test(a_tied_embedding_is_stored_as_an_output),
        cmocka_unit_test(rows_that_do_not_fit_fall_back_and_say_so),
        cmocka_unit_test(what_is_no_matrix_stays_f32),
        cmocka_unit_test(names_and_file_types),
        cmocka_unit_test(every_tensor_has_the_format_that_llama_quantize_gives_it),
        cmocka_unit_test(types_that_are_written_have_encoders_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
