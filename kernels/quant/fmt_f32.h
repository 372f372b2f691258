/* fmt_f32: IEEE binary32: the number itself. */
#ifndef MAS_FMT_F32_H
#define MAS_FMT_F32_H

#include "fmt_block.h"

/* Element i of a row. */
FMT_FN float fmt_f32_element(const void *row, int64_t i)
{
    return ((const float *)row)[i];
}

#endif
