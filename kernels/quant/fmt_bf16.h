/* fmt_bf16: the upper half of an IEEE binary32. Encoding: fmt_bf16.c. */
#ifndef MAS_FMT_BF16_H
#define MAS_FMT_BF16_H

#include "fmt_block.h"

/* Element i of a row. */
FMT_FN float fmt_bf16_element(const void *row, int64_t i)
{
    return FMT_LOAD_BF16(((const uint16_t *)row)[i]);
}

#endif
