/*
 * run: takes questions through a strategy, many at once, and records each one as it finishes.
 *
 * One loop: start cases while there is room, take a completed call, step its case, write the case
 * when it is done. The result of a case does not depend on the other cases in flight. Questions
 * that the trace already has are not asked again.
 *
 * Energy between two starts or ends of cases is shared equally by the cases in flight. So the
 * joules of all cases add up to the run's. The share of a case that was given up is in no result.
 */
#ifndef MAS_RUN_H
#define MAS_RUN_H

#include <stdatomic.h>

#include "medqa.h"
#include "strategy.h"
#include "trace.h"

struct run_progress {
    size_t done, total; /* cases, including those of former runs */
    size_t correct, unparsed, failed;
    size_t fresh;  /* cases finished by this run */
    size_t beyond; /* finished cases of the folder that were not asked for: kept, not counted */
    size_t in_flight;
    int64_t new_tokens, prompt_tokens; /* of this run */
    double seconds;                    /* since it began */
    double joules;                     /* of the n_joules fresh cases whose energy was measured */
    size_t n_joules;
};

struct run_given {                  /* the next question of a feed */
    const struct medqa_question *q; /* NULL = none now */
    const char *fail;               /* it is not asked, but recorded as failed for this reason */
    bool over;                      /* there will be no more */
};

/* Questions that come one by one, from outside this process (workers.h). */
struct run_feed {
    /* room: a question can be started. idle: none is in flight, so it may wait up to a moment.
     * ERR_CANCEL ends the run as `stop` does. */
    int (*take)(void *user, bool room, bool idle, struct run_given *out, struct err *e);
    int (*record)(void *user, const struct consult *c, struct err *e); /* of a finished case */
    void *user;
};

struct run_options {
    const struct strategy_env *env; /* opened */
    /* in place of question, n, trace and finished; NULL = none */
    const struct run_feed *feed;
    const struct medqa_question
        *question; /* (n), by record number: the first of the trace's data file */
    size_t n;
    struct trace *trace;
    int concurrency; /* cases in flight; 0 = as many as the llm has slots */
    /* when it becomes non-zero: start no more, give up cases in flight; or NULL */
    const atomic_int *stop;
    int poll_ms;                  /* a stop request may go unseen this long; 0 = 200 */
    int64_t (*clock)(void *user); /* ns; NULL = the monotonic clock */
    /* Joules used since any fixed moment; NaN = not measured. *source: how they are measured, or
     * why not; it lasts until the next call. NULL = energy is not asked for. */
    double (*joules)(void *user, const char **source);
    /* Each may be NULL. progress: about twice a second and after every case. */
    void (*progress)(const struct run_progress *p, void *user);
    void (*finished)(const struct consult *c, const struct result *r, void *user);
    void *user;
};

/* 0 when every question is in the trace. ERR_CANCEL when it was stopped: cases in flight are lost,
 * finished cases are written. Other errors (device, disk, memory) end the run likewise. Questions
 * of the trace after the last given one are left alone. ERR_CONFIG when the trace has another
 * question at the index of a given one. */
int run_questions(const struct run_options *o, struct run_progress *out, struct err *e);

#endif
