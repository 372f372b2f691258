/* forward_state: the memory of forward, shared by forward.c, which computes steps, and
 * forward_results.c, which fetches their results. Included by these two only. */
#ifndef MAS_FORWARD_STATE_H
#define MAS_FORWARD_STATE_H

#include "forward.h"

#define RECORD_KEYS 64 /* number of remembered keys of earlier steps */

/* The memory of a step, drawn once: f32 activations and the integers of the batch, on the
 * device. */
struct workspace {
    float *x;        /* (max_rows, n_embd) residual stream */
    float *q;        /* (max_rows, n_head * head_dim) */
    float *k, *v;    /* (max_rows, n_kv_head * head_dim) */
    float *att;      /* (max_rows, n_head * head_dim) */
    float *ffn;      /* (max_rows, n_ff) */
    float *last;     /* (max_logit_rows, n_embd) rows with logits, in the order of logits */
    float *logits;   /* (max_logit_rows, n_vocab) */
    float *post;     /* (max_rows, n_embd) a result before its norm; NULL: the model has none */
    float *inv_freq; /* (2 local, n_rot / 2) */
    int32_t *ints;   /* the batch, as one block */
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

struct forward {
    const struct model *m;
    struct place *place;
    struct kv *kv;
    struct ops *ops;
    struct hostside h;
    struct forward_limits lim;
    struct buf buf, pinned;
    struct workspace w;
    size_t scratch_bytes;
    struct staging st;
    struct batch host; /* the scheduler fills it: st.ints, with the layout of w.ints */
    size_t n_ints;
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
#define RUN(f, op, ...) RUN_ON(f, (f)->ops, op, __VA_ARGS__)

/* Waits for all queued work. */
int forward_wait(struct forward *f, struct err *e);

#endif
