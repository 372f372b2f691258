/*
 * nvtx: a sink of spans (span.h) that names the work for NVIDIA's profilers, as NVTX ranges of
 * the domain "mas". A profiler attaches to the process by NVTX_INJECTION64_PATH in its environment.
 *
 * - Each interval is a pushed and popped range of its thread. Calls overlap, so they are started
 *   and ended ranges. A range's category is its kind: step, phase, part, op, copy, host, call.
 * - Names: "step", "decode", "layer 3", "matmul Q4_K 1x4096->4096 store" (an op and its case),
 *   "planner 17fa03.." (a role and its question). Names are registered strings, except those of
 *   calls. Attention's length is the next power of two, so that names stay few.
 * - If several GPUs share a model, parts, copies, recordings and waits name theirs, as in "layer 3
 *   on GPU 1". Ops do not: their names are those of `mas bench kernels`.
 * - A payload of the schema "span" has layer (-1 = none), rows, bytes and flops. A profiler without
 *   schemas gets one number: the bytes, or the rows of an interval that moves none.
 * - Ops that are recorded lie in a range "record", whose payload is the recording's key. They run
 *   later. A range "replay" queues a recording; a mark "replayed" after it has the key. The kernels
 *   of a replay are the graph nodes of the profiler, under the kernels' own names.
 */
#ifndef MAS_NVTX_H
#define MAS_NVTX_H

#include "err.h"
#include "span.h"

/* ERR_NODEV: this build has no NVTX, or no profiler is attached. The spans may be called from any
 * thread. */
int nvtx_open(struct spans **out, struct err *e);
void nvtx_close(struct spans *s); /* accepts NULL; no thread uses s any more */

#endif
