/* forward_state: the memory of forward. forward_open.c allocates it, forward.c computes steps,
 * forward_rows.c those of tensor parallel, and forward_results.c fetches their results. Included by
 * these only. */
#ifndef MAS_FORWARD_STATE_H
#define MAS_FORWARD_STATE_H

#include "border.h"
#include "forward.h"
#include "gather.h"

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
    /* Tensor parallel, n shares; else NULL. Shares of several rows, one after the other. Two
     * memories take turns (gather.h):
     *   block[0]  (n, max_rows, width / n) of results of attention and of ffn,
     *             or (n, max_logit_rows, n_vocab / n)
     *   block[1]  (n, max_rows, n_embd / n) */
    float *block[GATHER_SLOTS];
    /* rows for the op gather: (max_rows, n) and (max_logit_rows, n) from shares to whole rows,
     * (max_rows) from whole rows to the own share */
    int32_t *join, *join_logits, *own;
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

/* A device: of the pipeline, with its run of layers, or of tensor parallel, with its share of all
 * layers. */
struct lane {
    struct ops *ops;
    int first, end;        /* layers */
    int n_head, n_kv_head; /* that it computes */
    int share,
        first_cache; /* tensor parallel: its number; the first layer of the KV cache (kv.h) */
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
    struct gather gather;                   /* tensor parallel */
    int n_share;                            /* lanes of tensor parallel; 1 = a pipeline */
    bool own_ready; /* tensor parallel: block[1] has the device's share of the residual stream */
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

/* The calls of the network that forward.c and forward_rows.c share. f->on is the device. */
int forward_embed(struct forward *f, const struct batch *d, const struct tensor **t, struct err *e);
/* Writes K and V of all rows, and the rotated Q to w.q. */
int forward_qkv(struct forward *f, const struct batch *d, int layer, const struct tensor **t,
                struct err *e);
/* Computes attention of w.q to y (n_row, n_head * head_dim), of the heads of the device. */
int forward_attend(struct forward *f, const struct batch *d, int layer, float *y, struct err *e);
/* Computes the gated results of ffn: y (n, rows of gate). */
int forward_gate_up(struct forward *f, struct ops *on, const float *x, float *y, int n,
                    const struct tensor **t, struct err *e);
/* Computes the logits of the rows in w.last: y (n_logit, rows of the output matrix). */
int forward_logits_of(struct forward *f, const struct batch *d, const struct tensor **t, float *y,
                      struct err *e);
/* True if only the rows with logits pass the rest of this layer. */
bool forward_thins(const struct forward *f, const struct batch *d, int layer);

/* A step of tensor parallel: forward_rows.c. */
int forward_rows_pass(struct forward *f, struct err *e);

/* Splits one block of integers into the arrays of a batch, in the order in which they are copied to
 * a device. */
void forward_split(const struct forward_limits *lim, int32_t *block, struct batch *b);

/* Waits for all queued work of all devices. */
int forward_wait(struct forward *f, struct err *e);

#endif
