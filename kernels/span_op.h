/* span_op: calls of ops inside spans (span.h). */
#ifndef MAS_SPAN_OP_H
#define MAS_SPAN_OP_H

#include "ops.h"
#include "span.h"

/* Calls an op on the backend's own stream inside its span, with its text, bytes and operations. */
#define X(name)                                                                                    \
    int spans_run_##name(struct spans *s, int layer, struct ops *ops, const struct name##_args *a, \
                         struct err *e);
OP_LIST(X)
#undef X

#endif
