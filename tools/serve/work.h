/*
 * work: a few threads that take jobs in order of arrival. Parsing, rendering and the writing of
 * long replies happen here, so that neither the transport's threads nor the engine's wait for them.
 */
#ifndef MAS_WORK_H
#define MAS_WORK_H

#include "err.h"

struct work;

struct work_job { /* a member of the caller's struct; lent until run is called */
    struct work_job *next;
    void (*run)(struct work_job *j); /* may free j */
};

int work_open(int threads, struct work **out, struct err *e);
/* Never fails and never blocks. */
void work_post(struct work *w, struct work_job *j);
/* Runs what was posted, then ends the threads. Accepts NULL. */
void work_close(struct work *w);

#endif
