/* Every allocation of reading, writing, binding, planning and placing fails, alone and with all
 * later ones. */
#include "gguf_cut.h"
#include "gguf_make.h"
#include "gguf_write.h"
#include "names.h"
#include "oom.h"
#include "ops.h"
#include "packed.h"
#include "placed.h"
#include "source.h"
#include "test.h"
#include <unistd.h>

static char dir[256], model[300], written[300];
static struct ops *ops, *cpu;
static bool once; /* the file of packed weights is removed at once */

static int read_file(void *arg)
{
    struct err e = {0};
    struct gguf *g = NULL;
    (void)arg;
    int rc = source_open(model, &g, &e);
    if (rc < 0)
        assert_null(g);
    gguf_close(g);
    return rc;
}

static int read_parts(void *arg)
{
    struct err e = {0};
    struct gguf *g = NULL;
    char part[300];
    (void)arg;
    snprintf(part, sizeof part, "%s/p-00002-of-00003.gguf", dir);
    int rc = source_open(part, &g, &e);
    if (rc == 0)
        assert_int_equal(gguf_n_parts(g), 3);
    gguf_close(g);
    return rc;
}

static int hash_file(void *arg)
{
    struct err e = {0};
    char hex[65];
    return source_sha256(arg, NULL, NULL, hex, &e);
}

static int write_file(void *arg)
{
    const struct gguf *g = arg;
    struct err e = {0};
    struct gguf_writer *w = NULL;
    static const float x[8];
    int rc = gguf_writer_open(written, &w, &e);
    for (size_t i = 0; i < gguf_n_kv(g) && rc == 0; i++)
        rc = gguf_put_kv(w, gguf_kv_at(g, i), &e);
    for (char name[] = "a"; *name <= 'z' && rc == 0; ++*name)
        rc = gguf_put_tensor(w, name, FMT_F32, 1, (int64_t[]){8}, &e);
    for (int i = 0; i < 26 && rc == 0; i++)
        rc = gguf_put_data(w, x, sizeof x, &e);
    if (rc == 0)
        return gguf_writer_finish(w, &e);
    gguf_writer_abandon(w);
    return rc;
}

static int bind_and_place(void *arg)
{
    static const struct weight_slot slots[] = {
        {.name = "norm", .n_dim = 1, .dim = {5}},
        {.name = "up", .n_dim = 2, .dim = {3, 64}},
    };
    struct err e = {0};
    struct weights w = {0};
    struct plan plan = {0};
    struct place *p = NULL;
    uint64_t bytes = 7;
    struct plan_input in = {.n_layer = 1,
                            .attn_bytes = &bytes,
                            .ffn_bytes = &bytes,
                            .kv_bytes_per_token = 1,
                            .n_ctx = 1,
                            .n_seq = 1};
    int rc = weights_bind(arg, slots, 2, 1, &w, &e);
    if (rc == 0)
        rc = plan_make(&in, &plan, &e);
    if (rc == 0)
        rc = place_run(&plan, &w, ops, 0, NULL, NULL, &p, &e);
    place_free(p);
    plan_free(&plan);
    weights_free(&w);
    return rc;
}

/* Written, or mapped when the file is there. */
static int pack(void *arg)
{
    static const struct weight_slot slots[] = {
        {.name = "norm", .n_dim = 1, .dim = {5}},
        {.name = "up", .n_dim = 2, .dim = {3, 64}},
    };
    struct err e = {0};
    struct weights w = {0};
    struct packed *p = NULL;
    const struct packed_options o = {.where = dir, .w = &w, .ops = cpu};
    int rc = weights_bind(arg, slots, 2, 1, &w, &e);
    if (rc == 0)
        rc = packed_open(&o, &p, &e);
    assert_int_equal(rc == 0, p != NULL);
    if (p && once)
        assert_int_equal(unlink(packed_path(p)), 0);
    packed_close(p);
    weights_free(&w);
    return rc;
}

static void every_failed_allocation_is_an_error_and_nothing_leaks(void **state)
{
    (void)state;
    struct gguf_make m;
    struct gguf *g;
    struct err e;
    test_mkdir(dir);
    snprintf(model, sizeof model, "%s/m.gguf", dir);
    snprintf(written, sizeof written, "%s/w.gguf", dir);
    make_tiny(&m, 3);
    for (int i = 0; i < 100; i++) { /* the tables grow more than once */
        char key[16];
        snprintf(key, sizeof key, "k%d", i);
        make_kv_u32(&m, key, 1);
    }
    make_save(&m, model);
    make_free(&m);
    char prefix[300];
    snprintf(prefix, sizeof prefix, "%s/p", dir);
    gguf_cut(model, prefix, 3, NULL);
    ok(gguf_open(model, &g, &e));
    ok(ops_open("ref", &(struct ops_options){.n_threads = 1}, &ops, &e));
    ok(ops_open("cpu", &(struct ops_options){.n_threads = 1, .isa = "auto"}, &cpu, &e));
    char hex[65];
    ok(source_sha256(g, NULL, NULL, hex, &e)); /* OpenSSL sets itself up once, outside the loop */
    for (int sticky = 0; sticky <= 1; sticky++) {
        assert_true(oom_loop(read_file, NULL, sticky) >= 8);
        assert_true(oom_loop(read_parts, NULL, sticky) >= 20);
        assert_true(oom_loop(hash_file, g, sticky) >= 2);
        assert_true(oom_loop(write_file, g, sticky) >= 8);
        assert_true(oom_loop(bind_and_place, g, sticky) >= 6);
        once = !sticky;
        assert_true(!cpu->pack_order || oom_loop(pack, g, sticky) >= 20);
    }
    ops_close(cpu);
    ops_close(ops);
    gguf_close(g);
    test_rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_failed_allocation_is_an_error_and_nothing_leaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
