/* forward_state: the memory of forward. forward_open.c allocates it, forward.c computes steps, and
 * forward_results.c fetches their results. Included by these only. */
#ifndef MAS_FORWARD_STATE_H
#define MAS_FORWARD_STATE_H

#include "border.h"
#include "forward.h"

#define RECORD_KEYS 64        /* number of remembered keys of earlier steps */
#define MICRO_MOST COST_MICRO /* micro-batches of a step */

/* The memory of a step, drawn once: f32 activations and the integers of the batch, on the
 * device. */
struct workspace {
    float *x;        /* (max_rows + 1, n_embd) residual stream; two slots of micro-batches */
    float *q;        /* (max_rows, n_head * head_dim) */
    float *k, *v;    /* (max_rows, n_kv_head * head_dim) */
    float *att;      /* (max_rows, n_head * head_dim) */
    float *ffn;      /* (max_rows, n_ff) */
    float *last;     /* (max_logit_rows, n_embd) rows with logits, in the order of logits */
    float *micro;    /* like last, in the order of micro-batches; NULL: one device */
    float *logits;   /* (max_logit_rows, n_vocab) */
    float *post;     /* (max_rows, n_embd) a result before its norm; NULL: the model has none */
    float *inv_freq; /* (2 local, n_rot / 2) */
    /* One device: the batch, as one block. Otherwise MICRO_MOST blocks of micro-batches follow, and
     * the order of logits (max_logit_rows). */
    int32_t *ints;
    struct sample_row *sample;
    uint32_t *mask;
    int32_t *id, *pair_row, *pair_id;
    float *lp;
    void *scratch;
};

/* Host memory that a step sends from and fetches to, pinned so that copies are queued like all
 * other work. */
struct staging {
    int32_t *ints;
    struct sample_row *sample;
    uint32_t *mask;
    int32_t *id, *pair_row, *pair_id;
    float *lp;
    float *row; /* (n_vocab) logits, for edits and top lists */
};

/* The backend of parts on the host beside a device. Its memory is its own, except x, which moves
 * between host and device. */
struct hostside {
    struct ops *ops; /* NULL: no part is on the host */
    struct buf x_buf, buf;
    float *x;    /* (max_rows, n_embd) pinned */
    float *ffn;  /* (max_rows, n_ff) */
    float *post; /* like workspace.post */
    void *scratch;
    size_t scratch_bytes;
};

/* A device of the pipeline, with its run of layers. */
struct lane {
    struct ops *ops;
    int first, end; /* layers */
    struct buf buf;
    struct workspace w;
    size_t scratch_bytes;
    struct border *border; /* rows come over it from the lane before; NULL in the first lane */
};

struct forward {
    const struct model *m;
    struct place *place;
    struct kv *kv;
    struct lane lane[PLAN_DEVICES]; /* (n_lane) in the order of their layers */
    int n_lane;
    struct border border[PLAN_DEVICES - 1]; /* border.h */
    /* the lane under way; outside a pass the last one, which has the logits */
    struct lane *on;
    struct hostside h;
    struct forward_limits lim;
    struct buf pinned;
    struct staging st;
    struct batch host; /* the scheduler fills it: st.ints, with the layout of w.ints */
    size_t n_ints;
    struct micro { /* under way; one micro-batch is the whole batch */
        int k, n;
        int first_row, first_logit;
        float *x;         /* (its rows, n_embd) in the workspace of the lane */
        bool asked, seen; /* forward_seen */
    } micro;
    struct batch part[MICRO_MOST]; /* the micro-batches of a step, in st.ints */
    size_t mask_words;
    uint64_t seen[RECORD_KEYS]; /* keys of steps that have run once, in a ring */
    unsigned n_seen;
    bool plain;          /* a recording failed: steps run without any */
    struct spans *spans; /* or NULL */
    int layer;           /* under way, for spans; -1 outside */
};

/* Calls an op of a backend, in a span of the layer under way. */
#define RUN_ON(f, be, op, ...)                                                                     \
    do {                                                                                           \
        struct op##_args run_args_ = {__VA_ARGS__};                                                \
        TRY(spans_run_##op((f)->spans, (f)->layer, (be), &run_args_, e));                          \
    } while (0)
#define RUN(f, op, ...) RUN_ON(f, (f)->on->ops, op, __VA_ARGS__)

/* SPANNED on the device of the lane under way. */
#define SPANNED_LANE(out_rc, f, ...) SPANNED_ON(out_rc, (f)->on->ops->dev, (f)->spans, __VA_ARGS__)

/* Splits one block of integers into the arrays of a batch, in the order in which they are copied to
 * a device. */
void forward_split(const struct forward_limits *lim, int32_t *block, struct batch *b);

/* Waits for all queued work of all devices. */
int forward_wait(struct forward *f, struct err *e);

#endif
