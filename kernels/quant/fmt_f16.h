/* fmt_f16: IEEE binary16. Encoding: fmt_f16.c. */
#ifndef MAS_FMT_F16_H
#define MAS_FMT_F16_H

#include "fmt_block.h"

/* Element i of a row. */
FMT_FN float fmt_f16_element(const void *row, int64_t i)
{
    return FMT_LOAD_F16(((const uint16_t *)row)[i]);
}

#endif
