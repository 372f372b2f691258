/* Placement of weights: views of the mapping, or a copy that outlives the file, on the host or on a
 * device. */
#include "placed.h"

#include <unistd.h>

#include "gguf_make.h"
#include "test.h"

enum { EMBD, UP, BIAS, SLOTS };
static const struct weight_slot slots[SLOTS] = {
    [EMBD] = {.name = "embd", .n_dim = 2, .dim = {64, 256}},
    [UP] = {.name = "blk.%d.up", .part = PART_FFN, .n_dim = 2, .dim = {3, 64}},
    [BIAS] = {.name = "blk.%d.bias", .part = PART_FFN, .optional = true, .n_dim = 1, .dim = {3}},
};

static struct scene {
    char dir[256], path[300];
    struct gguf *g;
    struct weights w;
    struct plan plan;
    struct ops *ops;
    uint64_t done, total;
    int calls;
} sc;

static int set_up(void **state)
{
    struct gguf_make m;
    struct err e;
    const uint64_t attn[2] = {0}, ffn[2] = {204, 204};
    struct plan_input in = {.n_layer = 2,
                            .attn_bytes = attn,
                            .ffn_bytes = ffn,
                            .kv_bytes_per_token = 1,
                            .n_ctx = 1,
                            .n_seq = 1,
                            .weights_mapped = true};
    (void)state;
    memset(&sc, 0, sizeof sc);
    test_mkdir(sc.dir);
    snprintf(sc.path, sizeof sc.path, "%s/m.gguf", sc.dir);
    make_init(&m);
    make_tensor(&m, "embd", 2, (uint64_t[]){256, 64}, FMT_F32); /* 64 KiB */
    make_tensor(&m, "blk.1.up", 2, (uint64_t[]){64, 3}, FMT_Q8_0);
    make_tensor(&m, "blk.0.up", 2, (uint64_t[]){64, 3}, FMT_Q8_0);
    make_tensor(&m, "blk.1.bias", 1, (uint64_t[]){3}, FMT_F32);
    make_save(&m, sc.path);
    make_free(&m);
    ok(gguf_open(sc.path, &sc.g, &e));
    ok(weights_bind(sc.g, slots, SLOTS, 2, &sc.w, &e));
    ok(plan_make(&in, &sc.plan, &e));
    ok(ops_open("ref", &(struct ops_options){.n_threads = 1}, &sc.ops, &e));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    ops_close(sc.ops);
    plan_free(&sc.plan);
    weights_free(&sc.w);
    gguf_close(sc.g);
    test_rmdir(sc.dir);
    return 0;
}

static void progress(uint64_t done, uint64_t total, void *user)
{
    struct scene *s = user;
    assert_true(done >= s->done && done <= total);
    s->done = done;
    s->total = total;
    s->calls++;
}

static void mapped_weights_are_views_of_the_file(void **state)
{
    (void)state;
    struct err e;
    struct place *p;
    const struct tensor *t[SLOTS];
    ok(place_run(&sc.plan, &sc.w, sc.ops, 0, progress, &sc, &p, &e));
    assert_true(sc.calls >= 4);
    assert_int_equal(sc.done, sc.total);
    ok(place_part(p, PART_EMBED, 0, t, &e));
    ok(place_part(p, PART_FFN, 1, t, &e));
    assert_ptr_equal(t[UP]->data, gguf_tensor_find(sc.g, "blk.1.up")->t.data);
    assert_ptr_equal(t[EMBD]->data, gguf_tensor_find(sc.g, "embd")->t.data);
    assert_non_null(t[BIAS]->data);
    ok(place_release(p, PART_FFN, 1, &e));
    ok(place_part(p, PART_FFN, 0, t, &e));
    assert_ptr_equal(t[UP]->data, gguf_tensor_find(sc.g, "blk.0.up")->t.data);
    assert_null(t[BIAS]->data);
    fails(place_part(p, PART_FFN, 2, t, &e), ERR_BUG, "layer 2 of 2");
    fails(place_part(p, PART_OUTPUT, 1, t, &e), ERR_BUG, "layer 1 of 2");
    assert_int_equal(place_of(p, PART_FFN, 1), PLAN_HOST);
    assert_true(place_recordable(p) && !place_has_host(p));
    assert_int_equal(truncate(sc.path, 64), 0);
    fails(place_part(p, PART_EMBED, 0, t, &e), ERR_IO, "model file changed");
    place_free(p);
    place_free(NULL);
}

static void copied_weights_outlive_the_file(void **state)
{
    (void)state;
    struct err e;
    struct place *p;
    const struct tensor *t[SLOTS];
    sc.plan.weights_mapped = false;
    ok(place_run(&sc.plan, &sc.w, sc.ops, 0, progress, &sc, &p, &e));
    assert_int_equal(sc.done, sc.total);
    assert_int_equal(truncate(sc.path, 0), 0);
    for (int l = 0; l < 2; l++) {
        ok(place_part(p, PART_EMBED, 0, t, &e));
        ok(place_part(p, PART_FFN, l, t, &e));
        const unsigned char *up = t[UP]->data, *embd = t[EMBD]->data;
        assert_int_equal((uintptr_t)up % 64, 0);
        for (size_t i = 0; i < tensor_bytes(t[UP]); i++)
            assert_int_equal(up[i], (unsigned char)(i + 1));
        for (size_t i = 0; i < tensor_bytes(t[EMBD]); i++)
            assert_int_equal(embd[i], (unsigned char)(i + 1));
    }
    place_free(p);
}

/* A matrix is packed once, a table that is only gathered from never. A tensor that serves as both
 * is packed. */
static int fake_packed;
static bool fake_packs(const struct ops *ops, const struct tensor *w)
{
    (void)ops;
    return w->n_dim == 2 && !w->lanes;
}
static int fake_pack(struct ops *ops, const struct tensor *w, int64_t first, int64_t n,
                     ops_read read, void *user, struct err *e)
{
    (void)ops;
    assert_int_equal(first % 16, 0);
    unsigned char *p = (unsigned char *)w->data + (size_t)first * w->row_bytes;
    TRY(read(user, first, n, p, e));
    for (size_t i = 0; i < (size_t)n * w->row_bytes; i++)
        p[i] ^= 0xff;
    fake_packed++;
    return 0;
}

static void copied_weights_are_packed(void **state)
{
    (void)state;
    struct err e;
    struct place *p;
    const struct tensor *t[SLOTS];
    struct ops fake = *sc.ops;
    fake.packs = fake_packs;
    fake.pack = fake_pack;
    fake_packed = 0;
    sc.plan.weights_mapped = false;
    ok(place_run(&sc.plan, &sc.w, &fake, 0, progress, &sc, &p, &e));
    assert_int_equal(sc.done, sc.total);
    assert_int_equal(fake_packed, 2); /* both layers' matrix */
    ok(place_part(p, PART_EMBED, 0, t, &e));
    ok(place_part(p, PART_FFN, 1, t, &e));
    assert_true(t[UP]->lanes);
    assert_false(t[EMBD]->lanes || t[BIAS]->lanes);
    assert_int_equal(((unsigned char *)t[UP]->data)[5], 0xff ^ 6);
    assert_int_equal(((unsigned char *)t[EMBD]->data)[5], 6);
    place_free(p);
    sc.plan.weights_mapped = true;
    sc.done = 0;
    ok(place_run(&sc.plan, &sc.w, &fake, 0, progress, &sc, &p, &e));
    assert_int_equal(fake_packed, 2);
    place_free(p);
}

static void a_file_cut_before_the_load_is_a_message(void **state)
{
    (void)state;
    struct err e;
    struct place *p;
    assert_int_equal(truncate(sc.path, 4096), 0);
    fails(place_run(&sc.plan, &sc.w, sc.ops, 0, NULL, NULL, &p, &e), ERR_IO, "model file changed");
    sc.plan.weights_mapped = false;
    fails(place_run(&sc.plan, &sc.w, sc.ops, 0, NULL, NULL, &p, &e), ERR_IO, "model file changed");
}

static void cut_file(uint64_t done, uint64_t total, void *user)
{
    (void)done, (void)total;
    assert_int_equal(truncate(user, 4096), 0);
}

static void a_file_cut_during_the_load_is_a_message(void **state)
{
    (void)state;
    struct err e;
    struct place *p;
    for (int mapped = 0; mapped <= 1; mapped++) {
        sc.plan.weights_mapped = mapped;
        fails(place_run(&sc.plan, &sc.w, sc.ops, 0, cut_file, sc.path, &p, &e), ERR_IO,
              "model file changed");
        tear_down(state);
        set_up(state);
    }
}

static void plans_for_another_place_are_refused(void **state)
{
    (void)state;
    struct err e;
    struct place *p;
    struct device gpu = *sc.ops->dev;
    struct ops fake = *sc.ops;
    gpu.is_host = false;
    fake.dev = &gpu;
    fails(place_run(&sc.plan, &sc.w, &fake, 0, NULL, NULL, &p, &e), ERR_NODEV,
          "cannot place layer 0: attention cannot be on the CPU with");
    sc.plan.attn[0] = sc.plan.attn[1] = PLAN_STREAM;
    sc.plan.embed = PLAN_STREAM;
    fails(place_run(&sc.plan, &sc.w, &fake, 0, NULL, NULL, &p, &e), ERR_NODEV,
          "cannot place the embedding: it cannot be streamed with");
    sc.plan.embed = sc.plan.attn[0] = sc.plan.attn[1] = PLAN_HOST;
    sc.plan.ffn[1] = PLAN_STREAM;
    fails(place_run(&sc.plan, &sc.w, sc.ops, 0, NULL, NULL, &p, &e), ERR_NODEV,
          "cannot place layer 1: the feed-forward matrices cannot be streamed");
    sc.plan.n_layer = 1;
    fails(place_run(&sc.plan, &sc.w, sc.ops, 0, NULL, NULL, &p, &e), ERR_BUG, "1 layers");
}

/* A device that copies as late as allowed: when the event of a copy is waited for, or all at a
 * sync. */
enum { LATE = 8 };
static struct late {
    struct {
        void *dst;
        const void *src;
        size_t bytes;
    } copy[LATE];
    int made, queued;         /* copies */
    int recorded[4], n_event; /* copies queued when event i was recorded */
    int pinned, open_events;
} late;

static void late_run(int to)
{
    for (; late.made < to; late.made++)
        memcpy(late.copy[late.made % LATE].dst, late.copy[late.made % LATE].src,
               late.copy[late.made % LATE].bytes);
}

static int late_copy(struct device *d, struct stream *s, void *dst, const void *src, size_t bytes,
                     struct err *e)
{
    (void)d, (void)s, (void)e;
    assert_true(late.queued - late.made < LATE);
    for (int i = late.made; i < late.queued; i++) /* overwritten before it was copied from */
        assert_ptr_not_equal(late.copy[i % LATE].src, src);
    late.copy[late.queued % LATE].dst = dst;
    late.copy[late.queued % LATE].src = src;
    late.copy[late.queued % LATE].bytes = bytes;
    late.queued++;
    return 0;
}

static int late_event_open(struct device *d, struct event **out, struct err *e)
{
    (void)d, (void)e;
    assert_true(late.n_event < 4);
    *out = (struct event *)(void *)&late.recorded[late.n_event++];
    late.open_events++;
    return 0;
}

static void late_event_close(struct device *d, struct event *ev)
{
    (void)d, (void)ev;
    late.open_events--;
}

static int late_event_record(struct device *d, struct event *ev, struct stream *s, struct err *e)
{
    (void)d, (void)s, (void)e;
    *(int *)(void *)ev = late.queued;
    return 0;
}

static int late_event_sync(struct device *d, struct event *ev, struct err *e)
{
    (void)d, (void)e;
    late_run(*(int *)(void *)ev);
    return 0;
}

static int late_sync(struct device *d, struct stream *s, struct err *e)
{
    (void)d, (void)s, (void)e;
    late_run(late.queued);
    return 0;
}

static int late_alloc(struct device *d, enum mem_space space, size_t bytes, struct buf *out,
                      struct err *e)
{
    late.pinned += space == MEM_PINNED;
    return sc.ops->dev->api->alloc(d, space, bytes, out, e);
}

static void all_in_vram(struct plan *p)
{
    p->embed = p->output = PLAN_VRAM;
    for (int i = 0; i < p->n_layer; i++)
        p->attn[i] = p->ffn[i] = PLAN_VRAM;
}

static void weights_reach_a_device_through_pinned_buffers(void **state)
{
    (void)state;
    struct err e;
    struct place *p;
    const struct tensor *t[SLOTS];
    struct dev_api api = *sc.ops->dev->api;
    struct device gpu = *sc.ops->dev;
    struct ops fake = *sc.ops;
    memset(&late, 0, sizeof late);
    api.copy = late_copy;
    api.alloc = late_alloc;
    api.event_open = late_event_open;
    api.event_close = late_event_close;
    api.event_record = late_event_record;
    api.event_sync = late_event_sync;
    api.sync = late_sync;
    gpu.api = &api;
    gpu.is_host = false;
    fake.dev = &gpu;
    sc.plan.weights_mapped = false;
    all_in_vram(&sc.plan);
    ok(place_run(&sc.plan, &sc.w, &fake, 0, progress, &sc, &p, &e));
    assert_int_equal(sc.done, sc.total);
    assert_true(late.pinned == 2 && late.open_events == 0 && late.queued == 4);
    for (int l = 0; l < 2; l++) {
        ok(place_part(p, PART_EMBED, 0, t, &e));
        ok(place_part(p, PART_FFN, l, t, &e));
        const unsigned char *up = t[UP]->data, *embd = t[EMBD]->data;
        assert_int_equal((uintptr_t)up % 256, 0);
        for (size_t i = 0; i < tensor_bytes(t[UP]); i++)
            assert_int_equal(up[i], (unsigned char)(i + 1));
        for (size_t i = 0; i < tensor_bytes(t[EMBD]); i++)
            assert_int_equal(embd[i], (unsigned char)(i + 1));
    }
    place_free(p);
}

static int no_memory(struct device *d, enum mem_space space, size_t bytes, struct buf *out,
                     struct err *e)
{
    (void)d, (void)space, (void)out;
    FAIL(e, ERR_NOMEM, "out of memory: %zu bytes", bytes);
}

static void a_failing_device_allocation_is_passed_up(void **state)
{
    (void)state;
    struct err e;
    struct place *p;
    struct dev_api api = *sc.ops->dev->api;
    struct device dev = *sc.ops->dev;
    struct ops fake = *sc.ops;
    api.alloc = no_memory;
    dev.api = &api;
    fake.dev = &dev;
    sc.plan.weights_mapped = false;
    fails(place_run(&sc.plan, &sc.w, &fake, 0, NULL, NULL, &p, &e), ERR_NOMEM, "out of memory");
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(mapped_weights_are_views_of_the_file),
        T(copied_weights_outlive_the_file),
        T(copied_weights_are_packed),
        T(a_file_cut_before_the_load_is_a_message),
        T(a_file_cut_during_the_load_is_a_message),
        T(plans_for_another_place_are_refused),
        T(weights_reach_a_device_through_pinned_buffers),
        T(a_failing_device_allocation_is_passed_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
