/*
 * tensor: a view of numbers somewhere in memory. Owns nothing. Dimensions are given slowest first.
 * The last one is contiguous and is cut into quantisation blocks.
 */
#ifndef MAS_TENSOR_H
#define MAS_TENSOR_H

#include "fmt.h"

struct tensor {
    enum fmt fmt;
    int n_dim;        /* 1..4 */
    int64_t dim[4];   /* slowest first; unused ones are 1 */
    size_t row_bytes; /* bytes from one row (last dimension) to the next */
    /* true: whole strips of sixteen rows are packed (lanes.h). false: row after row, as in files */
    bool lanes;
    void *data; /* in the memory space of the backend that uses it; NULL = absent (optional) */
};

static inline int64_t tensor_cols(const struct tensor *t)
{
    return t->dim[t->n_dim - 1];
}

static inline int64_t tensor_rows(const struct tensor *t)
{
    int64_t n = 1;
    for (int i = 0; i + 1 < t->n_dim; i++)
        n *= t->dim[i];
    return n;
}

static inline size_t tensor_bytes(const struct tensor *t)
{
    return (size_t)tensor_rows(t) * t->row_bytes;
}

#endif
