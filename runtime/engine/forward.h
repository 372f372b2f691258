/*
 * forward: runs a ragged batch through the model; the only caller of ops for the network.
 *
 * A batch is rows (tokens) of several sequences. The rows of one sequence are adjacent and in
 * order. Each row writes its K and V to its slot and attends to all earlier positions of its
 * sequence. Chosen rows get logits.
 *
 *   - Parts of the model are where place puts them: resident on the device, streamed to it, or on
 *     the host. A second backend computes parts on the host. Rows go there and back through pinned
 *     memory.
 *   - With several devices each computes its run of layers. At a border the rows go from one device
 *     to the next, by one copy or through pinned memory. Events order the copies, and the host does
 *     not wait. plan_n_micro divides the rows of a step into micro-batches, which keep all devices
 *     busy. Logits are the same bits as on one device.
 *   - With tensor parallel (PLAN_ROWS) all devices compute all rows of a step, each with its share
 *     of every matrix and its heads of the KV cache. Shares of results are gathered (gather.h).
 *     Logits are the same bits as on one device. Steps are not recorded: one thread queues the
 *     kernels of all devices.
 *   - The KV cache of n devices of tensor parallel has n x n_layer layers with n_kv_head / n heads
 *     each: first all layers of the first device.
 *   - The workspace is measured once for the limits and is one allocation on each device. A step
 *     allocates nothing.
 *   - Several forwards may take turns on one ops. The results of a step must be fetched before a
 *     step of another forward begins.
 */
#ifndef MAS_FORWARD_H
#define MAS_FORWARD_H

#include "kv.h"
#include "model.h"
#include "place.h"
#include "span_op.h"

struct forward_limits {
    int max_rows;       /* rows of a step */
    int max_seqs;       /* sequences of a step */
    int max_logit_rows; /* rows with logits */
    int max_pages;      /* page table entries of one sequence */
    int max_kv_len;
    int max_pairs; /* (row, token) pairs of forward_logprob */
    int n_device;  /* of a pipeline; 0 and 1: one */
    /* of tensor parallel; 0 and 1: none. forward_open takes it from the plan of its place */
    int n_share;
    bool no_record;      /* never record and replay decode steps (ops.h) */
    unsigned record_key; /* 0..255: distinguishes the recordings of forwards on one ops */
};

struct forward_load { /* of an engine */
    int n_seq, batch_tokens, n_ctx, page_tokens;
    int max_draft; /* tokens drafted ahead of one sequence */
};

/* The limits that hold this load; record_key is 0. */
struct forward_limits forward_limits_for(const struct model *m, const struct forward_load *load);

/* forward_batch empties it, the scheduler fills it for forward_step; arrays have the limits'
 * sizes. */
struct batch {
    int n_row, n_seq, n_logit;
    int max_kv_len;
    int32_t *tok, *pos, *slot; /* (n_row) */
    int32_t *q_start, *kv_len; /* (n_seq + 1), (n_seq) */
    int32_t *page;             /* (n_seq, max_pages) */
    int32_t *logit_row;        /* (n_logit) row of the batch */
};

struct forward;

/* A change of one logit: x becomes (x > 0 ? x / scale : x * scale) + add. */
struct logit_edit {
    int32_t row, id;
    float scale, add;
    float was; /* the logit before: forward_edit writes it */
};

/* Borrows all its parts. ops (n_device of place's plan, at least 1): the backend of each device;
 * those without a layer may be NULL. host: a backend whose device is the host, for parts placed
 * there beside a device; NULL without such parts. ERR_NOMEM or the device's error, with the
 * requested bytes. */
int forward_open(const struct model *m, struct place *place, struct kv *kv, struct ops *const *ops,
                 struct ops *host, const struct forward_limits *lim, struct forward **out,
                 struct err *e);
void forward_close(struct forward *f); /* accepts NULL */
/* Bytes of activations and scratch on each device for these limits; allocates nothing. */
size_t forward_workspace(const struct model *m, const struct ops *ops,
                         const struct forward_limits *lim);

struct batch *forward_batch(struct forward *f); /* the one batch, emptied */
/* Computes the batch. Row i of forward's logits then belongs to row batch.logit_row[i]. phase: the
 * name of its span ("decode"). */
int forward_step(struct forward *f, const char *phase, struct err *e);

/* Chooses one token for each of the logits rows first .. first + n - 1 by rows[i]; id and lp (n)
 * are on the host. rows[i].mask is an index into masks, -1 = none. masks (n_mask): host pointers of
 * ceil(n_vocab/32) words each. */
int forward_sample(struct forward *f, int first, int n, const struct sample_row *rows,
                   const uint32_t *const *masks, int n_mask, int32_t *id, float *lp, struct err *e);
/* Log-probabilities of (logits row, token) pairs, sorted by row. */
int forward_logprob(struct forward *f, const int32_t *row, const int32_t *id, int n, float *lp,
                    struct err *e);
/* Changes logits: n edits; those of one row are adjacent, and name each token at most once.
 * forward_restore undoes exactly these. */
int forward_edit(struct forward *f, struct logit_edit *edit, int n, struct err *e);
int forward_restore(struct forward *f, struct logit_edit *edit, int n, struct err *e);
/* The n_top tokens with the largest logits of a row, lower ids first on ties: id (n_top), -1 after
 * the last one. */
int forward_top(struct forward *f, int row, int n_top, int32_t *id, struct err *e);
/* Copies logits rows to the host: out (n, n_vocab). */
int forward_logits(struct forward *f, int first, int n, float *out, struct err *e);

const struct forward_limits *forward_limits(const struct forward *f);
/* Reports intervals to spans (NULL = none), also those of its place and KV cache. */
void forward_watch(struct forward *f, struct spans *spans);
/* seconds, on the clock of the device that computes the output */
double forward_now(const struct forward *f);

#endif
