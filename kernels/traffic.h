/*
 * traffic: the least that a call of an op moves and computes. Every byte of its inputs is read once
 * and every byte of its results is written once. A multiply-add is two operations. Uses: floors for
 * measurements, and the time of simulations. Attention: every sequence counts as max_kv_len long,
 * and its keys and values are read once.
 */
#ifndef MAS_TRAFFIC_H
#define MAS_TRAFFIC_H

#include "ops.h"

struct traffic {
    double bytes, ops;
    /* the part of bytes that no L2 cache holds from step to step: weights and KV cache. The rest
     * are activations */
    double kept;
};

#define X(op) struct traffic traffic_##op(const struct op##_args *a);
OP_LIST(X)
#undef X

#endif
