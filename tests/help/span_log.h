/*
 * span_log: a sink of spans for tests. It checks that begin and end nest in each thread, and keeps
 * the numbers of spans by kind. The first fault is kept in words.
 */
#ifndef MAS_SPAN_LOG_H
#define MAS_SPAN_LOG_H

#include <pthread.h>

#include "span_op.h"

enum { SPAN_LOG_DEEP = 16, SPAN_LOG_THREADS = 8, SPAN_LOG_OPEN = 4096, SPAN_KINDS = SPAN_CALL + 1 };

struct span_log_thread {
    pthread_t id;
    const char *name; /* NULL = unnamed */
    const struct span *open[SPAN_LOG_DEEP];
    int depth;
};

struct span_log {
    struct spans spans; /* first: pass &log.spans */
    pthread_mutex_t lock;
    struct span_log_thread thread[SPAN_LOG_THREADS];
    int n_thread;
    uint64_t open[SPAN_LOG_OPEN]; /* ids of calls that have started */
    size_t n_open;
    long n[SPAN_KINDS];     /* spans that have ended */
    long n_op[OP_COUNT];    /* of kind SPAN_OP */
    long in_op[OP_COUNT];   /* of them inside a layer */
    double bytes[OP_COUNT]; /* sum of span.bytes */
    long records, replays;
    /* called at each end, with the spans around it; may be NULL */
    void (*each)(void *user, const struct span *span, const struct span *const *around, int n);
    void *user;
    char fault[160]; /* "" = none */
};

void span_log_init(struct span_log *l);
/* True when every span has ended and no fault was found; otherwise l->fault says which. */
bool span_log_right(struct span_log *l);

#endif
