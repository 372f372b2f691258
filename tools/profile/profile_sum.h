/*
 * profile_sum: totals of a record (record.h), for the table, the page and the JSON of a profile.
 *
 * A step belongs to the group of its pass: "prefill", "decode", "mixed" or "verify". A step whose
 * pass is not known belongs to the group "other".
 *
 * Pieces split the wall time of a group. Each moment of a step belongs to one piece:
 *
 *   1. an op that runs on a device or on the CPU    piece of the op's name; "draft" for the draft's
 *   2. else host work other than waiting            piece of its name: "schedule", "upload", ..
 *   3. else a copy that runs                        "copy": the computation waits for weights
 *   4. else an op that is being queued              "queue"
 *   5. else the host waits                          "wait": the device is idle
 *   6. else work of the recorder itself             "recorder"
 *   7. else                                         "between"
 *
 * So the pieces of a group add up to its wall time exactly. A row adds up the ops of one phase,
 * name, case and kernel. Cases that differ only in the longest sequence are one, with the
 * longest of all. Ops of two devices may overlap: rows can add up to more than the pieces.
 */
#ifndef MAS_PROFILE_SUM_H
#define MAS_PROFILE_SUM_H

#include "record.h"
#include "stat.h"

enum piece_kind {
    PIECE_OP,
    PIECE_HOST,
    PIECE_COPY,
    PIECE_QUEUE,
    PIECE_WAIT,
    PIECE_RECORDER,
    PIECE_BETWEEN
};

struct profile_piece {
    enum piece_kind kind;
    const char *name;
    int64_t ns;        /* in all steps of the group */
    int64_t median_ns; /* in the group's median step */
};

struct profile_layer { /* ops of a layer in one step, in ns */
    int layer;
    double min, median, max;
};

struct profile_row { /* calls of an op with one phase, case and kernel */
    int group;
    const char *phase, *op, *detail, *kernel; /* as in struct interval */
    int64_t calls, rows;                      /* rows of all calls */
    int64_t ns;                               /* of all calls */
    struct stat_summary call;                 /* ns of a call */
    double bytes, ops;                        /* of all calls */
    /* The CPU pool: time of each worker inside parts (NULL: not watched), and the sum over calls of
     * the longest time of a worker. */
    int64_t *busy_ns;
    int64_t longest_ns;
    int64_t watched_ns; /* duration of the calls with worker times */
};

struct profile_group {
    const char *name;
    int n_step;
    int64_t rows;             /* of the passes, without the draft's */
    int64_t wall_ns;          /* sum of the steps' durations */
    struct stat_summary step; /* ns of a step */
    int median;               /* number of the step of median duration (the lower of two) */
    const struct profile_piece *piece;
    int n_piece; /* by kind, then by falling time; pieces of 0 ns are left out */
    const struct profile_layer *layer;
    int n_layer;
};

struct profile_sum {
    const struct profile_group *group; /* in the order of their first steps */
    int n_group;
    const struct profile_row *row; /* by group, then by falling time */
    size_t n_row;
    int64_t wall_ns;  /* of all steps */
    int64_t apart_ns; /* between the end of a step and the start of the next */
    struct arena *memory;
};

const char *piece_kind_name(enum piece_kind kind); /* "op", "host", .. */

/* Totals of r, which must outlive them. ERR_NOMEM. */
int profile_sum_make(const struct record *r, struct profile_sum *out, struct err *e);
void profile_sum_free(struct profile_sum *s); /* accepts a zeroed one */

/* (longest - mean) / mean of the workers' times in a row's calls; NaN when not watched. */
double profile_imbalance(const struct record *r, const struct profile_row *row);

#endif
