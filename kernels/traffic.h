/*
 * traffic: what a call of an op moves and computes at the very least: every byte of its inputs read
 * once and of its results written once, a multiply-add as two operations. Floors for measurements,
 * and the time of simulations. Attention: every sequence counts as max_kv_len long; keys and values
 * of each are read once.
 */
#ifndef MAS_TRAFFIC_H
#define MAS_TRAFFIC_H

#include "ops.h"

struct traffic {
    double bytes, ops;
    /* of bytes: weights and cache, which no L2 cache holds from step to step; the rest are
     * activations */
    double kept;
};

#define X(op) struct traffic traffic_##op(const struct op##_args *a);
OP_LIST(X)
#undef X

#endif
