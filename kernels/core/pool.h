/*
 * pool: a fixed set of threads that share one job.
 *
 * pool_run(p, n, fn, arg) calls fn(arg, begin, end, worker) so that the union of the ranges is [0,
 * n). Worker w of W owns [n*w/W, n*(w+1)/W), cut into a few parts, and takes them one by one. Then
 * it takes parts of other workers. So nobody waits for a worker that the system gives no processor,
 * unless that worker is inside a part.
 *
 * - The parts depend only on n and W. Chance decides which worker takes a part.
 * - A reduction must never cross ranges, so that results do not depend on chance.
 * - Scratch of a worker is indexed by the worker's number. The caller is worker 0.
 * - One job runs at a time, from one thread (the engine's).
 * - Workers spin briefly between jobs, then park.
 */
#ifndef MAS_POOL_H
#define MAS_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "topology.h"

struct pool;

struct pool_time {            /* of a worker, since the last read; on the clock of clock_ns() */
    int64_t busy_ns;          /* inside parts */
    int64_t begin_ns, end_ns; /* of its first and its last part; 0 = it took none */
};

typedef void (*pool_fn)(void *arg, int64_t begin, int64_t end, int worker);

/* n_threads 0 = the number of cores that this process may use: affinity mask and cgroup cpu quota,
 * at least 1. Processors that share a core count once. */
int pool_open(int n_threads, struct pool **out, struct err *e);
void pool_close(struct pool *p); /* accepts NULL */
int pool_threads(const struct pool *p);
void pool_run(struct pool *p, int64_t n, pool_fn fn, void *arg);
/* As above, with ranges that begin and end on multiples of `grain` (the last one excepted). */
void pool_run_grain(struct pool *p, int64_t n, int64_t grain, pool_fn fn, void *arg);

/* Begins or ends the measurement of times. Both functions: between jobs, from the thread that runs
 * the jobs. A pool that is not watched pays one branch a part. */
void pool_watch(struct pool *p, bool on);
/* Writes the times of the first `most` workers and forgets them. Returns the number of workers. */
int pool_times(struct pool *p, struct pool_time *out, int most);

int pool_cores(void); /* the number that n_threads 0 means on this machine */

/* As pool_open, on a machine of this shape. With several nodes of memory, each thread that the pool
 * starts is bound to the processors of its worker's node. Worker 0, the caller, is not. */
int pool_open_on(int n_threads, const struct topology *topology, struct pool **out, struct err *e);
const struct topology *pool_topology(const struct pool *p);
int pool_node(const struct pool *p, int worker); /* index of its node */
/* Asks for memory of n items of `bytes` bytes: each part near the workers that own it in a job over
 * the n items. Before the first write. false: the system refused some of it. */
bool pool_home(const struct pool *p, int64_t n, size_t bytes, void *data);

#endif
