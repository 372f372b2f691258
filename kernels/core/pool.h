/*
 * pool: a fixed set of threads that share one job.
 *
 * pool_run(p, n, fn, arg) calls fn(arg, begin, end, worker) so that the union of the ranges is [0,
 * n). Worker w of W begins with [n*w/W, n*(w+1)/W), cut into a few parts that it takes one by one;
 * when they are gone it takes parts of the others. So a worker that the system has given no
 * processor to is not waited for, unless it is amid a part. The parts depend only on n and W, who
 * takes them on chance: a reduction must never cross ranges, so that results depend on neither.
 * What a worker has for itself (scratch) goes by its number. The caller is worker 0. One job at a
 * time, from one thread (the engine's). Workers spin briefly between jobs, then park.
 */
#ifndef MAS_POOL_H
#define MAS_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"

struct pool;
typedef void (*pool_fn)(void *arg, int64_t begin, int64_t end, int worker);

/* n_threads 0 = the cores this process may use (affinity mask and cgroup cpu quota, at least 1): of
 * processors that share a core, one. */
int pool_open(int n_threads, struct pool **out, struct err *e);
void pool_close(struct pool *p); /* accepts NULL */
int pool_threads(const struct pool *p);
void pool_run(struct pool *p, int64_t n, pool_fn fn, void *arg);
/* As above, with ranges that begin and end on multiples of `grain` (the last one excepted). */
void pool_run_grain(struct pool *p, int64_t n, int64_t grain, pool_fn fn, void *arg);

int pool_cores(void); /* what n_threads 0 means here */
/* Cores of the processors i < n with allowed[i], by the files
 * <sys>/cpu<i>/topology/thread_siblings_list ("0,64" or "0-1"); one that does not say with whom
 * it shares a core has its own. */
int pool_cores_of(const char *sys, const bool *allowed, int n);

#endif
