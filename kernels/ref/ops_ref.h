/*
 * ops_ref: the oracle backend "ref". Scalar, one thread, double accumulation, dequantised weights,
 * never optimised. The text of each op is its definition (ref_<op>.c). Slow on purpose.
 */
#ifndef MAS_OPS_REF_H
#define MAS_OPS_REF_H

#include "ops.h"

int ops_ref_open(const struct ops_options *opt, struct ops **out, struct err *e);

/* The bound scratch, at least `need` bytes; ERR_BUG naming op otherwise. */
int ops_ref_scratch(struct ops *ops, const char *op, size_t need, void **out, struct err *e);

/* Turns x (n_head, head_dim) of one row for position pos. Reads n_rot, pairs and inv_freq of a. */
void ref_rope_heads(const struct kv_write_rope *a, int head_dim, float *x, int n_head, double pos);

#define X(op)                                                                                      \
    int ref_##op(struct ops *ops, struct stream *s, const struct op##_args *a, struct err *e);
OP_LIST(X)
#undef X

#endif
