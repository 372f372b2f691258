/*
 * case: the shapes and inputs, per op, on which every backend is tested and timed. A case holds its
 * seeded inputs, the call of the op, the tolerance against the oracle, and the bytes and operations
 * that the call moves. Tests and benchmarks iterate over the registry and contain no code per op.
 *
 * The registry is made from OP_LIST: an op without its case_<op>.c does not link.
 */
#ifndef MAS_CASE_H
#define MAS_CASE_H

#include "mem.h"
#include "ops.h"
#include "traffic.h"

enum case_role { CASE_IN, CASE_OUT, CASE_INOUT };
enum case_type {
    CASE_F32,
    CASE_ROWS, /* encoded in the buffer's fmt, decoded for the comparison */
    CASE_I32,
    CASE_BYTES
}; /* comparison of results; the last two are compared exactly */

struct case_buf {
    const char *name; /* "y" */
    enum case_role role;
    enum case_type type;
    void *host; /* bytes, in the case's arena; NULL for a pure output */
    size_t bytes;
    double abs, rel; /* allowed: |got - want| <= abs + rel * |want| */
    enum fmt fmt;    /* CASE_ROWS */
    bool aligned;    /* the op needs a multiple of 16 (ops.h): skew does not move this buffer */
};

#define CASE_BUFS 12

struct op_case {
    char name[96];
    bool bench; /* a real model's shape: timed, too large for the oracle */
    struct arena arena;
    struct case_buf buf[CASE_BUFS];
    int n_buf;
    double bytes; /* bytes that must move between memory and the processor at least once */
    double flops;
    struct ops_limits limits;
    /* Calls the op; dev[i] is the address of buf[i] on the device. */
    int (*run)(const struct op_case *c, void *const *dev, struct ops *ops, struct stream *s,
               struct err *e);
    union { /* the op's arguments; run sets the pointers */
#define X(op) struct op##_args op;
        OP_LIST(X)
#undef X
    } args;
    struct tensor w[3];
    int w_at[3]; /* index of the buffer of w[i] */
    struct kv_view kv;
};

struct case_set {
    int n;
    int (*make)(int i, struct op_case *c,
                struct err *e); /* fills a zeroed c; case_free in any case */
    bool (*bench)(int i);       /* the member bench of case i, which need not be made for it */
};

extern const struct case_set *const case_registry[OP_COUNT];

void case_free(struct op_case *c);

/* Adds a buffer of zeroed host memory (NULL when memory is out) and returns its memory. */
void *case_buf(struct op_case *c, const char *name, enum case_role role, enum case_type type,
               size_t n, size_t size);
/* Adds a buffer of seeded numbers of mean 0 and the given standard deviation. */
float *case_floats(struct op_case *c, const char *name, enum case_role role, int64_t n,
                   uint64_t key, float std);
/* A matrix of random blocks in buf[c->n_buf] and its descriptor w[i]; run sets its data. */
void *case_weights(struct op_case *c, int i, const char *name, enum fmt fmt, int64_t rows,
                   int64_t cols, uint64_t key, float std);
void case_tolerance(struct op_case *c, double abs, double rel); /* of the last buffer */
void case_rows(struct op_case *c, enum fmt fmt);        /* the last buffer becomes CASE_ROWS */
void case_aligned(struct op_case *c);                   /* the last buffer needs a multiple of 16 */
void case_traffic(struct op_case *c, struct traffic t); /* sets bytes and flops */
int case_done(const struct op_case *c, struct err *e);  /* ERR_NOMEM if a buffer failed */

/* A case on a device: buffers uploaded, pure outputs poisoned with 0xff bytes, scratch bound
 * without a fill. (Host execution finds reads of unwritten bytes.) Buffers begin at multiples of
 * 256. Arrays of f32 whose bit of skew is set begin 4 bytes later, the worst alignment that ops.h
 * allows. */
struct case_device {
    struct ops *ops;
    struct buf buf[CASE_BUFS], scratch;
    void *dev[CASE_BUFS]; /* inside buf */
};
int case_upload(const struct op_case *c, struct ops *ops, unsigned skew, struct case_device *d,
                struct err *e);
/* Packs the uploaded matrices if the backend has a packed order, and sets lanes in c->w. From then
 * on every upload that c runs with must have been packed. */
int case_pack(struct op_case *c, struct case_device *d, struct err *e);
/* fills scratch with NaN, for devices other than host execution */
int case_poison(struct case_device *d, struct err *e);
int case_run(const struct op_case *c, struct case_device *d, struct err *e); /* runs and waits */
/* Copies buffer i back into host memory of buf[i].bytes. */
int case_download(const struct op_case *c, struct case_device *d, int i, void *host, struct err *e);
void case_release(struct case_device *d); /* also after a failed upload */

/* ERR_USAGE when the format cannot hold rows of n_in elements. */
int case_matmul_row(enum fmt fmt, int64_t n_in, struct err *e);
/* A matmul of any shape, for benchmarks: n_row x n_in -> n_out; a gated epilogue takes two such
 * matrices. Fills a zeroed c; ERR_USAGE as case_matmul_row. */
int case_matmul_shape(struct op_case *c, enum fmt fmt, int n_row, int64_t n_in, int64_t n_out,
                      enum matmul_epilogue epilogue, struct err *e);

struct matmul_call { /* of a model */
    int64_t n_in;
    enum matmul_epilogue epilogue;
    bool norm;
    int n_out;
    enum fmt fmt[3]; /* (n_out) */
    int64_t rows[3];
};
/* The call with n_row rows, named by call_text_matmul. Errors as above. */
int case_matmul_call(struct op_case *c, const struct matmul_call *call, int n_row, struct err *e);

/* The comparison of one buffer. */
struct case_diff {
    /* index of the element that uses most of its tolerance; -1: none was compared */
    int64_t worst;
    double got, want; /* there */
    double used;      /* share of the tolerance: <= 1 passes; infinite for NaN against a number */
};
struct case_diff case_compare(const struct case_buf *b, const void *got, const void *want);

#endif
