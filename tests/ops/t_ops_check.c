/* Impossible arguments: ERR_BUG with op, value and limit, the same from every backend. */
#include <math.h>

#include "ops.h"
#include "test.h"

static struct ops *backend[2];

static int open_both(void **state)
{
    (void)state;
    struct err e = {0};
    const struct ops_options opt = {.n_threads = 1};
    ok(ops_open("ref", &opt, &backend[0], &e));
    ok(ops_open("cpu", &opt, &backend[1], &e));
    return 0;
}

static int close_both(void **state)
{
    (void)state;
    ops_close(backend[0]);
    ops_close(backend[1]);
    return 0;
}

static float x[4096], y[4096];
static int32_t ids[64];

#define BOTH(op, args, text)                                                                       \
    do {                                                                                           \
        for (int b_ = 0; b_ < 2; b_++)                                                             \
            fails(backend[b_]->op(backend[b_], NULL, (args), &e), ERR_BUG, text);                  \
    } while (0)

static void no_rows_are_no_work(void **state)
{
    (void)state;
    struct err e = {0};
    for (int b = 0; b < 2; b++) {
        struct ops *o = backend[b];
        ok(o->embed(o, NULL, &(struct embed_args){0}, &e));
        ok(o->rmsnorm(o, NULL, &(struct rmsnorm_args){.n = 1}, &e));
        ok(o->matmul(o, NULL, &(struct matmul_args){.n_in = 1, .n_out = 1}, &e));
        ok(o->add(o, NULL, &(struct add_args){.n = 1}, &e));
        ok(o->gather(o, NULL, &(struct gather_args){.n = 1}, &e));
        ok(o->logprob(o, NULL, &(struct logprob_args){.n_vocab = 1}, &e));
        ok(o->sample(o, NULL, &(struct sample_args){.n_vocab = 1}, &e));
        ok(o->kv_write(o, NULL, &(struct kv_write_args){0}, &e));
        ok(o->attention(o, NULL, &(struct attention_args){.n_head = 1}, &e));
    }
}

static void row_ops_name_what_is_wrong(void **state)
{
    (void)state;
    struct err e = {0};
    const struct tensor t = {
        .fmt = FMT_F32, .n_dim = 2, .dim = {4, 8, 1, 1}, .row_bytes = 32, .data = x};
    struct embed_args embed = {.table = &t, .id = ids, .y = y, .n_row = 2};
    BOTH(embed, &embed, "embed: scale is 0, must be finite and not 0");
    embed.scale = 1;
    ids[1] = 4;
    BOTH(embed, &embed, "embed: id[1] is 4, must be 0 to 3");
    ids[1] = -1;
    BOTH(embed, &embed, "embed: id[1] is -1");
    ids[1] = 0;
    embed.y = NULL;
    BOTH(embed, &embed, "embed: y is NULL");
    BOTH(rmsnorm, &((struct rmsnorm_args){.x = x, .w = x, .y = x, .n_row = 1, .n = 4, .add = true}),
         "rmsnorm: x and y are one array, add needs two");
    BOTH(add, &((struct add_args){.x = x, .y = y, .n_row = -1, .n = 4}), "add: n_row is -1");
    BOTH(rmsnorm, &((struct rmsnorm_args){.x = x, .w = x, .y = y, .n_row = 1}), "rmsnorm: n is 0");
    BOTH(rmsnorm, &((struct rmsnorm_args){.x = x, .w = x, .y = y, .n_row = 1, .n = 4, .eps = NAN}),
         "rmsnorm: eps is");
    BOTH(add, &((struct add_args){.x = x, .n_row = 1, .n = 4}), "add: y is NULL");
    ids[0] = -3;
    BOTH(gather, &((struct gather_args){.x = x, .row = ids, .y = y, .n_row = 1, .n = 4}),
         "gather: row[0] is -3");
    ids[0] = 0;
}

static void matmul_names_what_is_wrong(void **state)
{
    (void)state;
    struct err e = {0};
    struct tensor t = {.fmt = FMT_F32, .n_dim = 2, .dim = {4, 8, 1, 1}, .row_bytes = 32, .data = x};
    struct tensor narrow = t;
    narrow.dim[1] = 6;
    struct matmul_args a = {.x = x, .n_row = 1, .n_in = 8, .n_out = 1, .out = {{&t, NULL, y}}};
    BOTH(matmul, &a, "matmul: needs "); /* no scratch is bound */
    a.norm = (struct matmul_norm){x, -1};
    BOTH(matmul, &a, "matmul: norm.eps is -1, must be finite and at least 0");
    a.norm.w = NULL;
    a.n_out = 4;
    BOTH(matmul, &a, "matmul: n_out is 4, limit 3");
    a.n_out = 1;
    a.epilogue = EPI_SWIGLU;
    BOTH(matmul, &a, "swiglu epilogue takes 2 matrices, not 1");
    a.epilogue = EPI_GEGLU;
    BOTH(matmul, &a, "geglu epilogue takes 2 matrices, not 1");
    a.epilogue = (enum matmul_epilogue)(EPI_GEGLU + 1);
    BOTH(matmul, &a, "unknown epilogue 4, limit 3");
    a.epilogue = EPI_STORE;
    a.out[0].w = &narrow;
    BOTH(matmul, &a, "out[0].w has rows of 6 elements, x of 8");
    a.out[0].w = &t;
    a.out[0].y = NULL;
    BOTH(matmul, &a, "matmul: out[0].y is NULL");
    a.out[0].y = y;
    t.fmt = FMT_Q4_K;
    BOTH(matmul, &a, "a row of 8 elements is no multiple of a Q4_K block (256)");
    t.fmt = FMT_F32;
    t.row_bytes = 31;
    BOTH(matmul, &a, "rows are 31 bytes apart, a row has 32");
    t.row_bytes = 33;
    t.lanes = true;
    BOTH(matmul, &a, "packed rows are 33 bytes apart, must be 32");
    t.row_bytes = 32;
    fails(backend[0]->matmul(backend[0], NULL, &a, &e), ERR_BUG, "packed for the cpu backend");
}

static void cache_ops_name_what_is_wrong(void **state)
{
    (void)state;
    struct err e = {0};
    struct kv_view kv = {.fmt = FMT_F16,
                         .k = x,
                         .v = y,
                         .n_page = 2,
                         .page_tokens = 16,
                         .n_kv_head = 2,
                         .head_dim = 8};
    struct kv_write_args write = {.k = x, .v = x, .slot = ids, .kv = &kv, .n_row = 1};
    ids[0] = 32;
    BOTH(kv_write, &write, "kv_write: slot[0] is 32, must be 0 to 31");
    ids[0] = 0;
    const int32_t before = -1, pos = 0;
    write.rope = (struct kv_write_rope){
        .q = y, .inv_freq = x, .n_head = 4, .n_rot = 10, .pairs = ROPE_HALVES};
    BOTH(kv_write, &write, "kv_write: rope.pos is NULL");
    write.rope.pos = &before;
    BOTH(kv_write, &write, "kv_write: rope.n_rot is 10, limit 8");
    write.rope.n_rot = 7;
    BOTH(kv_write, &write, "kv_write: rope.n_rot is 7, not a multiple of 2");
    write.rope.n_rot = 8;
    write.rope.pairs = (enum rope_pairs)2;
    BOTH(kv_write, &write, "kv_write: unknown pairing 2, limit 1");
    write.rope.pairs = ROPE_HALVES;
    BOTH(kv_write, &write, "kv_write: rope.pos[0] is -1, must be 0");
    write.rope.pos = &pos;
    write.rope.n_head = 0;
    BOTH(kv_write, &write, "kv_write: rope.n_head is 0, must be at least 1");
    write.rope.q = NULL;
    kv.page_tokens = 24;
    BOTH(kv_write, &write, "page_tokens is 24, must be a power of two, 16 to 256");
    kv.page_tokens = 16;
    kv.fmt = FMT_Q8_0;
    BOTH(kv_write, &write, "head_dim 8 is no multiple of a Q8_0 block (32)");
    kv.fmt = FMT_F16;
    BOTH(kv_copy, &((struct kv_copy_args){.kv = &kv, .src = 1, .dst = 1}),
         "src and dst are both page 1");
    BOTH(kv_copy, &((struct kv_copy_args){.kv = &kv, .src = 1, .dst = 0, .n_token = 17}),
         "kv_copy: n_token is 17, limit 16");
    const int32_t q_start[2] = {0, 3};
    int32_t len = 2, page[2] = {0, 7};
    struct attention_args a = {.q = x,
                               .y = y,
                               .kv = &kv,
                               .q_start = q_start,
                               .kv_len = &len,
                               .page = page,
                               .n_seq = 1,
                               .n_row = 3,
                               .max_pages = 2,
                               .max_kv_len = 40,
                               .n_head = 4,
                               .scale = 1};
    BOTH(attention, &a, "attention: kv_len[0] is 2, must be 3 (its rows) to 40");
    len = 33;
    BOTH(attention, &a, "sequence 0 needs 3 pages, max_pages is 2");
    len = 20;
    BOTH(attention, &a, "attention: page[1] is 7, must be 0 to 1");
    a.n_head = 3;
    BOTH(attention, &a, "n_head is 3, not a multiple of 2");
    a.n_head = 4;
    a.window = -1;
    BOTH(attention, &a, "attention: window is -1, must be at least 0");
    a.window = 0;
    a.n_row = 4;
    BOTH(attention, &a, "q_start runs from 0 to 3, must be 0 to 4");
}

static void sampling_names_what_is_wrong(void **state)
{
    (void)state;
    struct err e = {0};
    struct sample_row p = {.temperature = 1, .top_p = 1, .mask = -1};
    int32_t id;
    struct sample_args a = {.logits = x, .n_row = 1, .n_vocab = 100, .p = &p, .id = &id, .lp = y};
    BOTH(sample, &a, "sample: needs ");
    p.top_p = 0;
    BOTH(sample, &a, "sample: row 0: top_p is 0, must be above 0, at most 1");
    p.top_p = 1;
    p.temperature = NAN;
    BOTH(sample, &a, "row 0: temperature is");
    p.temperature = 1;
    p.mask = 0;
    BOTH(sample, &a, "row 0: mask is 0, must be -1 to -1");
    const struct logprob_args lp = {
        .logits = x, .n_row = 1, .n_vocab = 100, .row = ids, .id = &ids[1], .lp = y, .n_pair = 1};
    ids[0] = 0;
    ids[1] = 100;
    BOTH(logprob, &lp, "logprob: id[0] is 100, must be 0 to 99");
    ids[1] = 0;
}

static void the_device_copies_fills_and_counts(void **state)
{
    (void)state;
    struct err e = {0};
    struct device *d = backend[1]->dev;
    struct buf b, big;
    struct stream *s;
    struct event *ev;
    size_t free_bytes, total;
    ok(d->api->alloc(d, MEM_DEVICE, 100, &b, &e));
    ok(d->api->alloc(d, MEM_PINNED, 3 << 20, &big, &e));
    assert_true((uintptr_t)b.ptr % 256 == 0 && (uintptr_t)big.ptr % 256 == 0 && b.bytes == 100);
    ok(d->api->stream_open(d, &s, &e));
    ok(d->api->event_open(d, &ev, &e));
    ok(d->api->fill(d, s, b.ptr, 0x5a, 100, &e));
    ok(d->api->copy(d, s, big.ptr, b.ptr, 100, &e));
    ok(d->api->event_record(d, ev, s, &e));
    ok(d->api->stream_wait(d, NULL, ev, &e));
    ok(d->api->event_sync(d, ev, &e));
    ok(d->api->sync(d, s, &e));
    assert_true(((unsigned char *)big.ptr)[99] == 0x5a);
    fails(d->api->copy(d, s, NULL, b.ptr, 1, &e), ERR_BUG, "dst is NULL");
    ok(d->api->memory(d, &free_bytes, &total, &e));
    assert_true(free_bytes > 0 && free_bytes <= total);
    fails(d->api->alloc(d, MEM_DEVICE, SIZE_MAX - 5, &b, &e), ERR_NOMEM, "out of memory");
    d->api->event_close(d, ev);
    d->api->stream_close(d, s);
    d->api->free(d, &big);
    d->api->free(d, &b);
    d->api->free(d, &b); /* a zeroed buf is accepted */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_rows_are_no_work),
        cmocka_unit_test(row_ops_name_what_is_wrong),
        cmocka_unit_test(matmul_names_what_is_wrong),
        cmocka_unit_test(cache_ops_name_what_is_wrong),
        cmocka_unit_test(sampling_names_what_is_wrong),
        cmocka_unit_test(the_device_copies_fills_and_counts),
    };
    return cmocka_run_group_tests(tests, open_both, close_both);
}
