/* F16: IEEE binary16, rounded to nearest even. Magnitudes that would round to infinity are clamped
 * to 65504. */
#include "f16.h"
#include "fmt.h"
#include "fmt_block.h"

void fmt_f16_decode(const void *x, float *y, int64_t n)
{
    const uint16_t *h = x;
    for (int64_t i = 0; i < n; i++)
        y[i] = f16_to_f32(h[i]);
}

void fmt_f16_encode(const float *x, const float *w, void *y, int64_t n)
{
    (void)w; /* every weight gets its nearest number */
    uint16_t *h = y;
    for (int64_t i = 0; i < n; i++) {
        float v = x[i] > FMT_F16_MAX ? FMT_F16_MAX : x[i] < -FMT_F16_MAX ? -FMT_F16_MAX : x[i];
        h[i] = f32_to_f16(v);
    }
}
