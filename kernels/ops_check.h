/*
 * ops_check: the demands of every op on its arguments, in one place for all backends.
 * ops_shape_<op> checks shapes, pointers and limits. ops_check_<op> also checks the ids, slots and
 * pages themselves, for backends whose memory the host can read (ref, cpu, cudahost). 0, or ERR_BUG
 * with op, value and limit. n_row 0 is allowed and needs no pointers.
 */
#ifndef MAS_OPS_CHECK_H
#define MAS_OPS_CHECK_H

#include "ops.h"

#define OPS_MAX_HEAD_DIM 512 /* rows of this length lie on the stacks of the kernels */

#define X(op)                                                                                      \
    int ops_shape_##op(const struct op##_args *a, struct err *e);                                  \
    int ops_check_##op(const struct op##_args *a, struct err *e);
OP_LIST(X)
#undef X

/* For backends without ops.pack: ERR_BUG for a matrix that another backend has packed. */
int ops_check_unpacked(const char *op, const struct tensor *t, struct err *e);
/* ERR_BUG, naming the op and both sizes, unless the bound scratch has `need` bytes. */
int ops_check_scratch(const char *op, size_t need, const void *bound, size_t bytes, struct err *e);

#endif
