/*
 * t_gpu: what tests/gpu/run.sh runs on a GPU, besides programs that exist anyway. No op is named
 * here.
 *
 *   t_gpu ops                   names of all ops, one a line
 *   t_gpu open KIND             name of the device
 *   t_gpu check KIND OP[/N]..   every small case (every N-th), every kernel that can do it, against
 *                               the oracle; prints a JSON object for each op
 *   t_gpu logits KIND MODEL N   logits of a seeded prompt of N tokens: KIND against the CPU
 *
 * KIND is a backend with a device of its own: cuda, or cudahost to try this program without a GPU.
 * Exit 0 right, 1 wrong, 69 no device. The environment variable T_GPU_FAIL names an op whose first
 * result counts as wrong: a fault to try run.sh with.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "case.h"
#include "reply.h"
#include "rng.h"

enum { MOST_VARIANTS = 32 };

static int die(const char *what, const struct err *e)
{
    fprintf(stderr, "t_gpu: %s: %s\n", what, e->msg);
    return e->code == ERR_NODEV ? 69 : 1;
}

static bool op_from_name(const char *name, enum op *op, int *stride)
{
    const size_t n = strcspn(name, "/");
    *stride = name[n] ? atoi(name + n + 1) : 1;
    for (int i = 0; i < OP_COUNT; i++)
        if (!strncmp(name, ops_op_name((enum op)i), n) && !ops_op_name((enum op)i)[n]) {
            *op = (enum op)i;
            return *stride > 0;
        }
    return false;
}

/* ---- check ----------------------------------------------------------------------------------- */

/* Runs the case on ops and leaves each output in out[i] (malloc). */
static int run_case(const struct op_case *c, struct ops *ops, void *out[CASE_BUFS], struct err *e)
{
    struct case_device d;
    int rc = case_upload(c, ops, 0, &d, e);
    if (rc == 0)
        rc = case_poison(&d, e);
    if (rc == 0)
        rc = case_run(c, &d, e);
    for (int i = 0; i < c->n_buf && rc == 0; i++) {
        if (c->buf[i].role == CASE_IN)
            continue;
        free(out[i]);
        out[i] = malloc(c->buf[i].bytes + 1);
        rc = out[i] ? case_download(c, &d, i, out[i], e) : NOMEM(e, c->buf[i].bytes, "result");
    }
    case_release(&d);
    return rc;
}

/* 1 right, 0 the kernel cannot do it, -1 wrong. */
static int check_one(const struct op_case *c, struct ops *ops, enum op op, int variant,
                     void *const want[CASE_BUFS])
{
    void *got[CASE_BUFS] = {0};
    struct err e = {0};
    const char *name = ops->variant_name(ops, op, variant);
    ops->variant_force(ops, op, variant);
    int rc = run_case(c, ops, got, &e), verdict = rc == ERR_NODEV ? 0 : rc < 0 ? -1 : 1;
    ops->variant_force(ops, op, -1);
    if (verdict < 0)
        fprintf(stderr, "FAIL %s_%s [%s]: %s\n", ops_op_name(op), name, c->name, e.msg);
    for (int i = 0; i < c->n_buf && verdict > 0; i++) {
        if (c->buf[i].role == CASE_IN)
            continue;
        struct case_diff d = case_compare(&c->buf[i], got[i], want[i]);
        if (d.used <= 1)
            continue;
        fprintf(
            stderr,
            "FAIL %s_%s [%s]: %s[%lld] is %.9g, the oracle has %.9g: %.0f %% of the tolerance\n",
            ops_op_name(op), name, c->name, c->buf[i].name, (long long)d.worst, d.got, d.want,
            100 * d.used);
        verdict = -1;
    }
    for (int i = 0; i < CASE_BUFS; i++)
        free(got[i]);
    return verdict;
}

static int check_op(enum op op, int stride, struct ops *ref, struct ops *ops)
{
    const char *planted = getenv("T_GPU_FAIL");
    int failed = 0, runs = 0, n = ops->variants(ops, op);
    if (planted && !strcmp(planted, ops_op_name(op))) {
        fprintf(stderr, "FAIL %s: planted by T_GPU_FAIL\n", planted);
        failed++;
    }
    for (int i = 0; i < case_registry[op]->n; i += stride) {
        struct op_case c = {0};
        void *want[CASE_BUFS] = {0};
        struct err e = {0};
        int accepted = 0;
        if (case_registry[op]->bench(i))
            continue;
        if (case_registry[op]->make(i, &c, &e) < 0)
            exit(die(ops_op_name(op), &e));
        if (run_case(&c, ref, want, &e) < 0)
            exit(die(c.name, &e));
        for (int v = 0; v < n; v++) {
            int verdict = check_one(&c, ops, op, v, want);
            failed += verdict < 0;
            accepted += verdict != 0;
        }
        if (!accepted) {
            fprintf(stderr, "FAIL %s [%s]: no kernel can do it\n", ops_op_name(op), c.name);
            failed++;
        }
        runs += accepted;
        for (int k = 0; k < CASE_BUFS; k++)
            free(want[k]);
        case_free(&c);
    }
    printf("{\"op\": \"%s\", \"kernels\": %d, \"runs\": %d, \"failed\": %d}\n", ops_op_name(op), n,
           runs, failed);
    return failed;
}

static int check(struct ops *ops, char **names)
{
    struct ops *ref;
    struct err e = {0};
    int failed = 0;
    if (ops_open("ref", NULL, &ref, &e) < 0)
        return die("ref", &e);
    for (; *names; names++) {
        enum op op;
        int stride;
        if (!op_from_name(*names, &op, &stride)) {
            fprintf(stderr, "t_gpu: no op %s\n", *names);
            failed++;
        } else {
            failed += check_op(op, stride, ref, ops);
        }
    }
    ops_close(ref);
    return failed ? 1 : 0;
}

/* ---- logits ---------------------------------------------------------------------------------- */

struct rows { /* request.user */
    float *at;
    int n_vocab, n;
};

static void keep(struct request *r, int pos, const float *logits)
{
    struct rows *k = r->user;
    memcpy(k->at + (size_t)pos * (size_t)k->n_vocab, logits, (size_t)k->n_vocab * sizeof *logits);
    k->n++;
}

static int logits_of(const char *kind, const char *model, int n, struct rows *k, struct err *e)
{
    struct engine *en;
    struct engine_options opt = {
        .model = model, .backend = kind, .kv_fmt = FMT_F16, .n_seq = 1, .n_ctx = n + 8};
    TRY(engine_open(&opt, &en, e));
    int32_t *prompt = calloc((size_t)n, sizeof *prompt);
    k->n_vocab = engine_info(en)->n_vocab;
    k->at = calloc((size_t)n * (size_t)k->n_vocab, sizeof *k->at);
    for (int i = 0; i < n; i++)
        prompt[i] = (int32_t)rng_below(11, (uint64_t)i, (uint32_t)k->n_vocab);
    struct reply r = {
        .r = {.prompt = prompt, .n_prompt = n, .top_p = 1, .on_logits = keep, .user = k}};
    int rc = reply_run(en, &r, e);
    free(prompt);
    engine_close(en);
    return rc;
}

/* Both round activations to 8 bits in their own way, so logits may differ by a part of the largest.
 * If the CPU's best token leads by more than both errors, the GPU has the same best token. */
static int logits(const char *kind, const char *model, int n)
{
    struct rows a = {0}, b = {0};
    struct err e = {0};
    double worst = 0;
    int other = 0, wrong = 0;
    if (logits_of("cpu", model, n, &a, &e) < 0 || logits_of(kind, model, n, &b, &e) < 0)
        return die(model, &e);
    for (int r = 0; r < n; r++) {
        const float *x = a.at + (size_t)r * (size_t)a.n_vocab,
                    *y = b.at + (size_t)r * (size_t)a.n_vocab;
        int best = 0, best_y = 0;
        double scale = 0, diff = 0, second = -INFINITY;
        for (int i = 0; i < a.n_vocab; i++) {
            double d = fabs((double)x[i] - (double)y[i]);
            diff = d <= diff ? diff : d; /* a NaN stays */
            scale = fmax(scale, fabs((double)x[i]));
            best = x[i] > x[best] ? i : best;
            best_y = y[i] > y[best_y] ? i : best_y;
        }
        for (int i = 0; i < a.n_vocab; i++)
            second = i != best && (double)x[i] > second ? (double)x[i] : second;
        worst = diff / scale <= worst ? worst : diff / scale;
        other += best != best_y;
        wrong += best != best_y && (double)x[best] - second > 2 * diff;
    }
    bool right = worst <= 0.05 && wrong == 0 && a.n == n && b.n == n;
    printf("{\"model\": \"%s\", \"rows\": %d, \"largest_difference\": %.5f, \"other_best\": %d, "
           "\"wrong_best\": %d, "
           "\"pass\": %s}\n",
           model, n, worst, other, wrong, right ? "true" : "false");
    free(a.at);
    free(b.at);
    return right ? 0 : 1;
}

static int with_device(int argc, char **argv)
{
    struct ops *ops;
    struct err e = {0};
    if (ops_open(argv[2], NULL, &ops, &e) < 0)
        return die(argv[2], &e);
    int rc = 0;
    if (argc == 3) {
        printf("%s\n", ops->dev->name);
    } else if (!ops->variants || !ops->replay) {
        fprintf(stderr, "t_gpu: backend %s has no kernels to choose from\n", argv[2]);
        rc = 64;
    } else {
        rc = check(ops, argv + 3);
    }
    ops_close(ops);
    return rc;
}

int main(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[1], "ops")) {
        for (int op = 0; op < OP_COUNT; op++)
            printf("%s\n", ops_op_name((enum op)op));
        return 0;
    }
    if (argc == 5 && !strcmp(argv[1], "logits"))
        return logits(argv[2], argv[3], atoi(argv[4]));
    if ((argc == 3 && !strcmp(argv[1], "open")) || (argc > 3 && !strcmp(argv[1], "check")))
        return with_device(argc, argv);
    fprintf(stderr, "usage: t_gpu ops | open KIND | check KIND OP[/N].. | logits KIND MODEL N\n");
    return 64;
}
