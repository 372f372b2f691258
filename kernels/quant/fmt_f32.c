/* F32: the number itself. */
#include "fmt.h"

#include <string.h>

void fmt_f32_decode(const void *x, float *y, int64_t n)
{
    memcpy(y, x, (size_t)n * sizeof *y);
}

void fmt_f32_encode(const float *x, const float *w, void *y, int64_t n)
{
    (void)w; /* every weight gets its nearest number */
    memcpy(y, x, (size_t)n * sizeof *x);
}
