/* Every case of every op on every CPU backend of this machine, against the oracle. The file names
 * no op: a new op is tested once it has cases. */
#include "case.h"
#include "cpu_isa.h"
#include "fmt_random.h"
#include "test.h"

/* the only instruction set to test, beside the scalar one; NULL: all of this machine */
static const char *only;
/* the number of rows from which matrix tiles multiply; 0: that of each format */
static int tile_rows;

static bool tried(int isa)
{
    return cpu_isa_has((enum cpu_isa)isa) &&
           (!only || !strcmp(only, cpu_isa_name((enum cpu_isa)isa)));
}

struct result { /* of one case: a copy of each output buffer */
    void *out[CASE_BUFS];
};

static void result_free(struct result *r)
{
    for (int i = 0; i < CASE_BUFS; i++)
        free(r->out[i]);
}

static struct result run_case_as(struct op_case *c, const char *kind, const char *isa, int threads,
                                 bool pack)
{
    struct err e = {0};
    struct ops *ops = NULL;
    struct case_device d;
    struct result r = {{0}};
    const struct ops_options opt = {.n_threads = threads, .isa = isa, .tile_rows = tile_rows};
    ok(ops_open(kind, &opt, &ops, &e));
    ok(case_upload(c, ops, 0, &d, &e));
    if (pack)
        ok(case_pack(c, &d, &e));
    ok(case_poison(&d, &e));
    ok(case_run(c, &d, &e));
    for (int i = 0; i < c->n_buf; i++) {
        if (c->buf[i].role == CASE_IN)
            continue;
        r.out[i] = malloc(c->buf[i].bytes + 1);
        assert_non_null(r.out[i]);
        ok(case_download(c, &d, i, r.out[i], &e));
    }
    case_release(&d);
    ops_close(ops);
    return r;
}

static struct result run_case(const struct op_case *c, const char *kind, const char *isa,
                              int threads)
{
    struct op_case mine = *c;
    return run_case_as(&mine, kind, isa, threads, false);
}

static void compare(const char *op, const struct op_case *c, const char *isa,
                    const struct result *got, const struct result *want, double *most)
{
    for (int i = 0; i < c->n_buf; i++) {
        if (c->buf[i].role == CASE_IN)
            continue;
        struct case_diff d = case_compare(&c->buf[i], got->out[i], want->out[i]);
        if (!(d.used <= 1))
            fail_msg("%s [%s] %s: %s[%lld] is %.9g, the oracle has %.9g: %.0f %% of the tolerance",
                     op, c->name, isa, c->buf[i].name, (long long)d.worst, d.got, d.want,
                     100 * d.used);
        *most = d.used > *most ? d.used : *most;
    }
}

static void same_bits(const char *op, const struct op_case *c, const struct result *got,
                      const struct result *want, const char *how, const char *isa, int threads)
{
    for (int b = 0; b < c->n_buf; b++)
        if (want->out[b] && memcmp(want->out[b], got->out[b], c->buf[b].bytes) != 0)
            fail_msg("%s [%s]: %s differs between scalar, 1 thread and %s%s, %d threads", op,
                     c->name, c->buf[b].name, isa, how, threads);
}

/* Does the backend have another order for the case's weights? */
static bool packs(const struct op_case *c, const char *isa)
{
    struct err e = {0};
    struct ops *ops = NULL;
    ok(ops_open("cpu", &(struct ops_options){.isa = isa, .n_threads = 1}, &ops, &e));
    const bool yes = c->w[0].n_dim && ops->packs && ops->packs(ops, &c->w[0]);
    ops_close(ops);
    return yes;
}

struct tally {
    double most; /* of the tolerance */
    int n, n_packed;
};

/* The scalar text with one thread agrees with the oracle. All others have its bits: each
 * instruction set, with 1 to 4 threads, weights in the order of files or packed. */
static void check_case(const char *op, int i, struct op_case *c, struct tally *t)
{
    struct result oracle = run_case(c, "ref", NULL, 1), want = run_case(c, "cpu", "scalar", 1);
    compare(op, c, "scalar", &want, &oracle, &t->most);
    result_free(&oracle);
    for (int k = 0; k < CPU_ISA_COUNT; k++) {
        const char *isa = cpu_isa_name((enum cpu_isa)k);
        if (!tried(k))
            continue;
        t->n++;
        for (int threads = 1; threads <= 4; threads += 3) { /* 1, and one of 2, 3, 4 */
            const int n_thread = threads == 1 ? 1 : 2 + (i + k) % 3;
            struct result got = {{0}};
            if (k == CPU_SCALAR && n_thread == 1)
                continue; /* this is want */
            got = run_case(c, "cpu", isa, n_thread);
            same_bits(op, c, &got, &want, "", isa, n_thread);
            result_free(&got);
        }
        /* one thread takes all strips */
        for (int threads = 1; threads <= 3 && packs(c, isa); threads += 2) {
            struct op_case mine = *c;
            struct result got = run_case_as(&mine, "cpu", isa, threads, true);
            assert_true(mine.w[0].lanes);
            same_bits(op, c, &got, &want, ", weights packed", isa, threads);
            result_free(&got);
            t->n_packed++;
        }
    }
    result_free(&want);
}

static void every_op_agrees_with_the_oracle_in_the_same_bits_everywhere(void **state)
{
    (void)state;
    struct err e = {0};
    int n_packed = 0, n_isa = 0;
    const struct op_case q4 = {
        .w = {{.fmt = FMT_Q4_K, .n_dim = 2, .dim = {16, 256, 1, 1}, .row_bytes = 144}}};
    for (int k = 0; k < CPU_ISA_COUNT; k++)
        n_isa += tried(k) && packs(&q4, cpu_isa_name((enum cpu_isa)k));
    for (int op = 0; op < OP_COUNT; op++) {
        struct tally t = {0};
        for (int i = 0; i < case_registry[op]->n; i++) {
            struct op_case c = {0};
            if (case_registry[op]->bench(i))
                continue;
            ok(case_registry[op]->make(i, &c, &e));
            assert_false(c.bench);
            check_case(ops_op_name((enum op)op), i, &c, &t);
            case_free(&c);
        }
        assert_true(t.n > 0);
        print_message("%-10s %3d runs, at most %5.1f %% of the tolerance\n",
                      ops_op_name((enum op)op), t.n, 100 * t.most);
        n_packed += t.n_packed;
    }
    print_message("%d packed cases, %d instruction sets that pack\n", n_packed, n_isa);
    assert_true(n_packed >= 80 * n_isa);
}

/* Ops that also do the work of another op. with() tells whether a case uses that. apart() runs the
 * other op alone and removes it from the case. The results in the buffers that apart() removes are
 * left in host memory. */
static bool with_norm(const struct op_case *c)
{
    return c->args.matmul.norm.eps > 0;
}

static void norm_apart(struct op_case *c, struct ops *ops)
{
    struct err e = {0};
    struct case_device d;
    const struct matmul_args *m = &c->args.matmul;
    ok(case_upload(c, ops, 0, &d, &e));
    const struct rmsnorm_args a = {.x = d.dev[0],
                                   .w = d.dev[c->n_buf - 1],
                                   .y = d.dev[0],
                                   .n_row = m->n_row,
                                   .n = m->n_in,
                                   .eps = m->norm.eps};
    ok(ops->rmsnorm(ops, NULL, &a, &e));
    ok(case_download(c, &d, 0, c->buf[0].host, &e));
    case_release(&d);
    c->n_buf--;
}

static bool with_add(const struct op_case *c)
{
    return c->args.rmsnorm.add;
}

static int run_add(const struct op_case *c, void *const *dev, struct ops *ops, struct stream *s,
                   struct err *e)
{
    struct add_args a = c->args.add;
    a.x = dev[0];
    a.y = dev[2];
    return ops->add(ops, s, &a, e);
}

/* The rest of the case is an addition. */
static void norm_before_add(struct op_case *c, struct ops *ops)
{
    struct err e = {0};
    struct case_device d;
    struct rmsnorm_args a = c->args.rmsnorm;
    ok(case_upload(c, ops, 0, &d, &e));
    a.x = d.dev[0];
    a.w = d.dev[1];
    a.y = d.dev[0];
    a.add = false;
    ok(ops->rmsnorm(ops, NULL, &a, &e));
    ok(case_download(c, &d, 0, c->buf[0].host, &e));
    case_release(&d);
    c->args.add = (struct add_args){.n_row = a.n_row, .n = a.n};
    c->run = run_add;
}

static const struct fusion {
    enum op op;
    bool (*with)(const struct op_case *c);
    void (*apart)(struct op_case *c, struct ops *ops);
} fusions[] = {{OP_matmul, with_norm, norm_apart}, {OP_rmsnorm, with_add, norm_before_add}};

static void case_apart_is_the_same(const struct fusion *f, struct op_case *c, struct ops *ops,
                                   const char *isa)
{
    struct result within = run_case(c, ops->name, isa, 2);
    f->apart(c, ops);
    struct result apart = run_case(c, ops->name, isa, 2);
    for (int b = 0; b < CASE_BUFS; b++) {
        const void *want = b < c->n_buf ? apart.out[b] : c->buf[b].host;
        if (within.out[b] && memcmp(within.out[b], want, c->buf[b].bytes) != 0)
            fail_msg("%s [%s] %s %s: %s is not that of two ops", ops_op_name(f->op), c->name,
                     ops->name, isa, c->buf[b].name);
    }
    result_free(&within);
    result_free(&apart);
}

static void ops_apart_are_the_same(const char *kind, const char *isa)
{
    struct err e = {0};
    struct ops *ops = NULL;
    ok(ops_open(kind, &(struct ops_options){.n_threads = 2, .isa = isa, .tile_rows = tile_rows},
                &ops, &e));
    for (size_t k = 0; k < sizeof fusions / sizeof *fusions; k++) {
        const struct case_set *set = case_registry[fusions[k].op];
        int n = 0;
        for (int i = 0; i < set->n; i++) {
            struct op_case c = {0};
            if (set->bench(i))
                continue;
            ok(set->make(i, &c, &e));
            if (fusions[k].with(&c)) {
                case_apart_is_the_same(&fusions[k], &c, ops, isa);
                n++;
            }
            case_free(&c);
        }
        assert_true(n >= 5);
        print_message("%s %s: %d cases of %s\n", kind, isa, n, ops_op_name(fusions[k].op));
    }
    ops_close(ops);
}

/* All bits, in every instruction set, and by the CUDA kernels on the host. */
static void what_an_op_does_on_the_way_has_the_bits_of_its_own_op(void **state)
{
    (void)state;
    struct err e = {0};
    struct ops *ops = NULL;
    if (!only)
        ops_apart_are_the_same("ref", "auto");
    for (int k = 0; k < CPU_ISA_COUNT; k++)
        if (tried(k))
            ops_apart_are_the_same("cpu", cpu_isa_name((enum cpu_isa)k));
    if (only)
        return;
    if (ops_open("cudahost", &(struct ops_options){0}, &ops, &e) < 0) {
        print_message("cudahost: skipped, not in this build\n");
        return;
    }
    ops_close(ops);
    ops_apart_are_the_same("cudahost", "auto");
}

/* Three ranges of rows of one matrix, such as q, k and v of one tensor in a file. The ranges end
 * within strips; each is packed on its own. */
static void ranges_of_one_matrix(struct ops *ops, enum fmt fmt)
{
    enum { N_IN = 512, ROWS = 3, PARTS = 3, MOST = 72 };
    static const int64_t first[PARTS + 1] = {0, 40, 48, 72};
    struct err e = {0};
    size_t row;
    assert_true(fmt_row_bytes(fmt, N_IN, &row));
    const struct fmt_info *f = fmt_info(fmt);
    struct op_case c = {0};
    struct buf data, scratch;
    const struct dev_api *api = ops->dev->api;
    struct ops_limits limits = {.max_rows = ROWS, .max_in = N_IN, .max_out = MOST};
    limits.weights[fmt] = true;
    float *x = case_floats(&c, "x", CASE_IN, ROWS * N_IN, 5, 1);
    float *whole = case_floats(&c, "y", CASE_OUT, ROWS * MOST, 6, 1);
    float *part = case_floats(&c, "y", CASE_OUT, ROWS * MOST, 7, 1);
    ok(case_done(&c, &e));
    const size_t bytes = ops->scratch_bytes(ops, &limits);
    ok(api->alloc(ops->dev, MEM_DEVICE, MOST * row, &data, &e));
    ok(api->alloc(ops->dev, MEM_DEVICE, bytes, &scratch, &e));
    ops->bind_scratch(ops, scratch.ptr, bytes);
    fmt_random(fmt, 9, 0, MOST * (N_IN / f->block_elems), 0.05f, data.ptr);
    struct tensor w = {
        .fmt = fmt, .n_dim = 2, .dim = {MOST, N_IN, 1, 1}, .row_bytes = row, .data = data.ptr};
    struct tensor range[PARTS];
    struct matmul_args a = {
        .x = x, .n_row = ROWS, .n_in = N_IN, .n_out = 1, .out = {{&w, NULL, whole}}};
    ok(ops->matmul(ops, NULL, &a, &e));
    for (int i = 0; i < PARTS; i++) {
        range[i] = w;
        range[i].dim[0] = first[i + 1] - first[i];
        range[i].data = (char *)data.ptr + (size_t)first[i] * row;
        if (ops->packs && ops->packs(ops, &range[i])) {
            ok(ops->pack(ops, &range[i], 0, range[i].dim[0], NULL, NULL, &e));
            range[i].lanes = true;
        }
        a.out[i] = (struct matmul_out){&range[i], NULL, part + ROWS * first[i]};
    }
    for (int n_row = 1; n_row <= ROWS; n_row += ROWS - 1) {
        a.n_row = n_row;
        a.n_out = PARTS;
        ok(ops->matmul(ops, NULL, &a, &e));
        for (int i = 0; i < PARTS; i++)
            for (int r = 0; r < n_row; r++) {
                const int64_t n = range[i].dim[0];
                if (memcmp(a.out[i].y + r * n, whole + r * MOST + first[i], (size_t)n * sizeof *x))
                    fail_msg("%s on %s: rows %d to %d of a matrix have other bits as a matrix of "
                             "their own",
                             f->name, ops->dev->name, (int)first[i], (int)first[i + 1] - 1);
            }
    }
    ops->bind_scratch(ops, NULL, 0);
    api->free(ops->dev, &scratch);
    api->free(ops->dev, &data);
    case_free(&c);
}

static void ranges_of_rows_are_matrices(void **state)
{
    (void)state;
    for (int k = -2; k < CPU_ISA_COUNT; k++) {
        struct err e = {0};
        struct ops *ops = NULL;
        const char *kind = k == -2 ? "ref" : k == -1 ? "cudahost" : "cpu";
        if (k < 0 ? only != NULL : !tried(k))
            continue;
        const struct ops_options opt = {.isa = k < 0 ? NULL : cpu_isa_name((enum cpu_isa)k),
                                        .tile_rows = tile_rows};
        if (ops_open(kind, &opt, &ops, &e) < 0) {
            assert_true(k == -1); /* every build has the others */
            print_message("cudahost: skipped, not in this build\n");
            continue;
        }
        for (int fmt = 0; fmt < FMT_COUNT; fmt++)
            ranges_of_one_matrix(ops, (enum fmt)fmt);
        ops_close(ops);
    }
}

static void a_comparison_sees_nan_and_names_the_worst(void **state)
{
    (void)state;
    const float want[4] = {1, 2, 3, 4};
    float got[4] = {1, 2.05f, 3, 4};
    struct case_buf b = {.type = CASE_F32, .bytes = sizeof want, .abs = 0.1};
    struct case_diff d = case_compare(&b, got, want);
    assert_true(d.worst == 1 && d.used > 0.49 && d.used < 0.51);
    got[2] = (float)(0.0 / (double)(got[0] - 1)); /* NaN */
    d = case_compare(&b, got, want);
    assert_true(d.worst == 2 && !(d.used <= 1));
    b = (struct case_buf){.type = CASE_F32, .bytes = sizeof want}; /* exact */
    got[2] = 3;
    assert_false(case_compare(&b, got, want).used <= 1);
    assert_true(case_compare(&b, want, want).used == 0);
}

static void backends_are_chosen_by_name(void **state)
{
    (void)state;
    struct err e = {0};
    struct ops *ops = NULL;
    fails(ops_open("tpu", NULL, &ops, &e), ERR_NODEV,
          "unknown backend 'tpu'; use auto, cpu or ref");
    const struct ops_options nowhere = {.device = 63};
    fails(ops_open("cuda", &nowhere, &ops, &e), ERR_NODEV, "use auto, cpu or ref");
    /* a GPU that is named, or whose memory is limited, is never replaced by another device */
    const struct ops_options limited = {.device = 63, .vram_bytes = 1 << 20};
    fails(ops_open("auto", &nowhere, &ops, &e), ERR_NODEV, "--device asks for a GPU, and no GPU");
    fails(ops_open("auto", &limited, &ops, &e), ERR_NODEV, "--vram and --device ask for a GPU");
    fails(ops_open("auto", &limited, &ops, &e), ERR_NODEV, "use --backend cpu without --vram");
    const struct ops_options bad = {.isa = "mmx"};
    fails(ops_open("cpu", &bad, &ops, &e), ERR_USAGE,
          "unknown instruction set 'mmx'; use auto, scalar");
    for (int isa = 0; isa < CPU_ISA_COUNT; isa++)
        if (!cpu_isa_has((enum cpu_isa)isa)) {
            const struct ops_options lacking = {.isa = cpu_isa_name((enum cpu_isa)isa)};
            fails(ops_open("cpu", &lacking, &ops, &e), ERR_NODEV, cpu_isa_name((enum cpu_isa)isa));
        }
    assert_null(ops);
    ok(ops_open("auto", NULL, &ops, &e));
    assert_string_equal(ops->dev->kind, ops->name); /* cuda where there is a GPU */
    assert_true(!strcmp(ops->name, "cpu") || !strcmp(ops->name, "cuda"));
    ops_close(ops);
    ok(ops_open("cpu", NULL, &ops, &e));
    assert_string_equal(ops->dev->kind, "cpu");
    assert_true(ops->dev->is_host);
    assert_non_null(strstr(ops->dev->name, "thread"));
    assert_string_equal(ops_op_name(OP_kv_write), "kv_write");
    ops_close(ops);
    ops_close(NULL);
}

int main(int argc, char **argv)
{
    only = argc > 1 ? argv[1] : NULL;
    tile_rows = argc > 2 ? atoi(argv[2]) : 0;
    int all = 0;
    for (int isa = 0; only && isa < CPU_ISA_COUNT; isa++)
        all += tried(isa);
    if (only && !all) {
        printf("skipped: this machine has no %s\n", only);
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_comparison_sees_nan_and_names_the_worst),
        cmocka_unit_test(backends_are_chosen_by_name),
        cmocka_unit_test(every_op_agrees_with_the_oracle_in_the_same_bits_everywhere),
        cmocka_unit_test(ranges_of_rows_are_matrices),
        cmocka_unit_test(what_an_op_does_on_the_way_has_the_bits_of_its_own_op),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
