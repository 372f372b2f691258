/*
 * plan_try: one candidate of a search for a plan, for plan*.c alone. The layers of each device, the
 * parts on the CPU and the depth of the rings give places, bytes and costs.
 */
#ifndef MAS_PLAN_TRY_H
#define MAS_PLAN_TRY_H

#include "plan.h"

/* depth of the ring on the device, in largest streamed parts */
enum { RING_FEWEST = 2, RING_MOST = 4 };
/* 1/128 of the memory stays free when it is filled part by part */
enum { VRAM_SLACK = 128 };

/* The decisions behind a candidate. */
struct plan_cut {
    int n[PLAN_DEVICES];      /* layers of each device */
    int n_host[PLAN_DEVICES]; /* ffn parts of each device on the CPU */
    int depth;                /* of the rings */
};

/* A plan being made: `try` holds each candidate in turn, `best` the best so far. */
struct search {
    const struct plan_input *in;
    struct plan_device dev[PLAN_DEVICES]; /* (n_dev) */
    int n_dev;
    struct cost_part *part; /* (2 n_layer + 2) */
    struct plan try, best;
    struct plan_cut cut; /* of best */
    double score;        /* of best: seconds a token; < 0 = none yet */
    double last;         /* score of the latest candidate; < 0: it does not fit */
};

/* The aim of a candidate, and the KV that it must hold. */
struct plan_aim {
    enum plan_mode mode;
    uint64_t kv, want; /* bytes of KV: at least, and at most */
};

/* a + b * c, false on overflow */
bool plan_add(uint64_t a, uint64_t b, uint64_t c, uint64_t *out);
/* *one: bytes of KV for one context; *want: the requested bytes. */
int plan_kv_need(const struct plan_input *in, uint64_t *one, uint64_t *want, struct err *e);
void plan_kv_set(const struct plan_input *in, struct plan *p, uint64_t bytes);

/* like: sets the fields that no candidate changes. After an error, too, close it. */
int plan_try_open(struct search *s, const struct plan_input *in, const struct plan *like,
                  struct err *e);
void plan_try_close(struct search *s);
void plan_copy(struct plan *to, const struct plan *from); /* with its places */

/* Fills `try` with the candidate, and `best` if it scores better. s->last tells. */
int plan_try_cut(struct search *s, const struct plan_aim *aim, const struct plan_cut *cut,
                 struct err *e);
/* Largest part of device d, with the layers of the cut: the least that a ring must hold. `try` has
 * the places and bytes of that device if all parts are streamed that may be. */
uint64_t plan_try_stream_all(struct search *s, const struct plan_cut *cut, int d);
/* True when an ffn part is on the host. */
bool plan_computes_on_host(const struct plan *p);
/* Predicts a step of n_seq sequences with p, in n_micro micro-batches. Nothing without rates. */
int plan_try_step(struct search *s, const struct plan *p, int n_seq, int n_micro, struct cost *out,
                  struct err *e);

/* plan_search.c. whole: the plan with all parts resident and a smaller pool than requested, or
 * NULL. */
int plan_search(const struct plan_input *in, struct plan *p, const struct plan *whole,
                struct err *e);
/* plan_runs.c. Several devices: tries the cuts that may be best for the aim. */
int plan_runs(struct search *s, const struct plan_aim *aim, struct err *e);
/* Moves layers between devices while that improves the best candidate. */
int plan_runs_polish(struct search *s, const struct plan_aim *aim, struct err *e);
/* Sets the number of rows from which n_micro micro-batches pay. */
int plan_runs_micro(struct search *s, struct plan *p, struct err *e);

/* plan_rows.c. Several devices: compares the pipeline p with tensor parallel, and replaces it where
 * that is possible and either faster or asked for. */
int plan_rows(const struct plan_input *in, struct plan *p, struct err *e);
/* Predicts the steps of a plan of tensor parallel: sets one and all. */
int plan_rows_predict(const struct plan_input *in, struct plan *p, struct err *e);

/* Bytes of KV on a device with n layers, of `bytes` in all. */
uint64_t plan_kv_share(const struct plan_input *in, uint64_t bytes, int n);

#endif
