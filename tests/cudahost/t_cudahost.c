/*
 * t_cudahost: every case of every op, on every CUDA kernel that can run it, on the host, against
 * the oracle. Three orders of execution must give the same bits; so must all kernels of one word.
 *
 * The file names no op: a new kernel is tested once it is in variants.def. It is also built with
 * sanitizers and with the race checker.
 *
 * usage: t_cudahost [-s] [OP..]
 *   -s   (race build) runs one order only, and prints how the kernels' warps access memory, in the
 *        form of kernels/cuda/sectors.tsv
 */
#include "case.h"
#include "cushim_test.h"
#include "test.h"

static const struct {
    const char *name;
    enum cushim_order order;
    unsigned skew; /* of buffers: case_upload */
} orders[] = {{"forward", CUSHIM_FORWARD, 0},
              {"reverse, every second array not aligned", CUSHIM_REVERSE, 0xaaaaaaaa},
              {"random, the others not aligned", CUSHIM_RANDOM, 0x55555555}};

enum { N_ORDER = sizeof orders / sizeof orders[0] };

static int n_order = N_ORDER;
static char **only; /* ops of the command line, NULL-terminated; empty = all */

static bool wanted(enum op op)
{
    bool all = !*only;
    for (char **name = only; *name; name++)
        all = all || !strcmp(*name, ops_op_name(op));
    return all;
}

struct result { /* of one case: a copy of each output buffer */
    void *out[CASE_BUFS];
};

static void result_free(struct result *r)
{
    for (int i = 0; i < CASE_BUFS; i++)
        free(r->out[i]);
}

/* Runs the case with some arrays not aligned; ERR_NODEV when the forced kernel cannot run it. */
static int run_case(const struct op_case *c, struct ops *ops, unsigned skew, struct result *r,
                    struct err *why)
{
    struct case_device d;
    struct err e;
    *r = (struct result){{0}};
    ok(case_upload(c, ops, skew, &d, &e));
    int rc = case_run(c, &d, why);
    for (int i = 0; i < c->n_buf && rc == 0; i++) {
        if (c->buf[i].role == CASE_IN)
            continue;
        r->out[i] = malloc(c->buf[i].bytes + 1);
        assert_non_null(r->out[i]);
        ok(case_download(c, &d, i, r->out[i], &e));
    }
    case_release(&d);
    return rc;
}

static double compare(const char *what, const struct op_case *c, const struct result *got,
                      const struct result *want)
{
    double most = 0;
    for (int i = 0; i < c->n_buf; i++) {
        if (c->buf[i].role == CASE_IN)
            continue;
        struct case_diff d = case_compare(&c->buf[i], got->out[i], want->out[i]);
        if (!(d.used <= 1))
            fail_msg("%s: %s[%lld] is %.9g, the oracle has %.9g: %.0f %% of the tolerance", what,
                     c->buf[i].name, (long long)d.worst, d.got, d.want, 100 * d.used);
        most = d.used > most ? d.used : most;
    }
    return most;
}

static void same_bits(const char *what, const struct op_case *c, const char *than,
                      const struct result *a, const struct result *b)
{
    for (int i = 0; i < c->n_buf; i++)
        if (a->out[i] && memcmp(a->out[i], b->out[i], c->buf[i].bytes) != 0)
            fail_msg("%s: %s has other bits than %s", what, c->buf[i].name, than);
}

/* Runs one kernel on one case in all orders; *first gets the result of the first order. False: the
 * kernel cannot run the case. */
static bool check_variant(enum op op, int variant, const struct op_case *c, struct ops *ops,
                          const struct result *want, struct result *first, double *most)
{
    struct result got;
    struct err e;
    char what[256];
    ops->variant_force(ops, op, variant);
    for (int i = 0; i < n_order; i++) {
        snprintf(what, sizeof what, "%s_%s [%s] %s", ops_op_name(op),
                 ops->variant_name(ops, op, variant), c->name, orders[i].name);
        cushim_order(orders[i].order, 7 + (uint64_t)variant);
        e = (struct err){0};
        int rc = run_case(c, ops, orders[i].skew, i ? &got : first, &e);
        if (rc == ERR_NODEV && i == 0) {
            ops->variant_force(ops, op, -1);
            return false;
        }
        if (rc < 0 || *cushim_findings())
            fail_msg("%s: %s\n%s", what, e.msg, cushim_findings());
        double used = compare(what, c, i ? &got : first, want);
        *most = used > *most ? used : *most;
        if (i) {
            same_bits(what, c, "in forward order", first, &got);
            result_free(&got);
        }
    }
    ops->variant_force(ops, op, -1);
    return true;
}

static void check_case(enum op op, const struct op_case *c, struct ops *ref, struct ops *ops,
                       int *runs, double *most)
{
    enum { WORDS = 4 };
    struct result want, best[WORDS], other;
    const char *word[WORDS];
    struct err e = {0};
    int n = ops->variants(ops, op), words = 0;
    if (run_case(c, ref, 0, &want, &e) < 0)
        fail_msg("%s [%s]: %s", ops_op_name(op), c->name, e.msg);
    for (int i = 0; i < n; i++) {
        const char *bits = ops->variant_bits(ops, op, i);
        int k = 0;
        while (k < words && strcmp(word[k], bits) != 0)
            k++;
        assert_in_range(k, 0, WORDS - 1);
        if (!check_variant(op, i, c, ops, &want, k < words ? &other : &best[k], &most[i]))
            continue;
        runs[i]++;
        if (k < words) { /* the batch decides which of them runs: results must be equal */
            same_bits(c->name, c, "with the first of its word in variants.def", &best[k], &other);
            result_free(&other);
        } else {
            word[words++] = bits;
        }
    }
    if (!words)
        fail_msg("%s [%s]: no kernel can do it", ops_op_name(op), c->name);
    for (int k = 0; k < words; k++)
        result_free(&best[k]);
    result_free(&want);
}

static void check_op(enum op op, struct ops *ref, struct ops *ops)
{
    enum { MOST = 32 };
    int runs[MOST] = {0}, n = ops->variants(ops, op);
    double most[MOST] = {0};
    struct err e;
    assert_in_range(n, 1, MOST);
    for (int i = 0; i < case_registry[op]->n; i++) {
        struct op_case c = {0};
        if (case_registry[op]->bench(i))
            continue;
        ok(case_registry[op]->make(i, &c, &e));
        check_case(op, &c, ref, ops, runs, most);
        case_free(&c);
    }
    for (int i = 0; i < n; i++) {
        print_message("%-10s %-20s %3d cases, at most %5.1f %% of the tolerance\n", ops_op_name(op),
                      ops->variant_name(ops, op, i), runs[i], 100 * most[i]);
        if (!runs[i])
            fail_msg("%s_%s: no case reaches it", ops_op_name(op), ops->variant_name(ops, op, i));
    }
}

static void every_kernel_agrees_with_the_oracle_in_every_order(void **state)
{
    (void)state;
    struct ops *ops, *ref;
    struct err e;
    ok(ops_open("ref", NULL, &ref, &e));
    ok(ops_open("cudahost", NULL, &ops, &e));
    print_message("%s; shim built as %s\n", ops->dev->name, cushim_flavour());
    assert_string_equal(strrchr(ops->dev->name, ' ') + 1, cushim_flavour()); /* same for kernels */
    for (int op = 0; op < OP_COUNT; op++)
        if (wanted((enum op)op))
            check_op((enum op)op, ref, ops);
    for (int i = 0; i < PEAK_COUNT; i++) { /* kernels that measure, which are no ops */
        double rate = 0;
        ok(ops->peak(ops, (enum ops_peak)i, &rate, &e));
        assert_true(rate > 0);
    }
    ops_close(ops);
    ops_close(ref);
    assert_int_equal(cushim_live(NULL), 0);
}

static void a_kernel_that_cannot_do_a_call_says_so(void **state)
{
    (void)state;
    struct ops *ops;
    struct err e;
    float x[4] = {0};
    const struct add_args none = {.n_row = 0, .n = 4}, bad = {.x = x, .n_row = 1, .n = 4};
    ok(ops_open("cudahost", NULL, &ops, &e));
    ok(ops->add(ops, NULL, &none, &e));
    fails(ops->add(ops, NULL, &bad, &e), ERR_BUG, "add: y is NULL");
    ops->variant_force(ops, OP_add, 99);
    const struct add_args good = {.x = x, .y = x, .n_row = 1, .n = 4};
    fails(ops->add(ops, NULL, &good, &e), ERR_NODEV, "add: the forced kernel is not one that");
    assert_string_equal(ops->variant_name(ops, OP_add, 99), "none");
    ops_close(ops);
}

/* Prints sectors a request, and the number for adjacent bytes; "-": there were no requests. */
static void print_traffic(const struct cushim_traffic *t)
{
    if (t->requests)
        printf("\t%.2f\t%.2f", (double)t->units / (double)t->requests,
               (double)t->ideal / (double)t->requests);
    else
        printf("\t-\t-");
}

static void print_kernel(const struct cushim_kernel *k, void *arg)
{
    (void)arg;
    printf("%s", k->name);
    print_traffic(&k->load);
    print_traffic(&k->store);
    print_traffic(&k->shared);
    printf("\n");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_kernel_that_cannot_do_a_call_says_so),
        cmocka_unit_test(every_kernel_agrees_with_the_oracle_in_every_order),
    };
    const bool shapes = argc > 1 && !strcmp(argv[1], "-s");
    only = argv + 1 + shapes;
    if (!shapes)
        return cmocka_run_group_tests(tests, NULL, NULL);
    if (cushim_shapes(1) < 0) {
        fprintf(stderr, "t_cudahost: only the race build knows sectors\n");
        return 2;
    }
    n_order = 1;
    const struct CMUnitTest run[] = {tests[1]};
    int rc = cmocka_run_group_tests(run, NULL, NULL);
    cushim_kernels(print_kernel, NULL);
    return rc;
}
