/* BF16: the upper half of an f32, rounded to nearest even. Magnitudes that would round to infinity
 * are clamped to the largest finite number, 0x7f7f. */
#include "f16.h"
#include "fmt.h"

void fmt_bf16_decode(const void *x, float *y, int64_t n)
{
    const uint16_t *h = x;
    for (int64_t i = 0; i < n; i++)
        y[i] = bf16_to_f32(h[i]);
}

void fmt_bf16_encode(const float *x, const float *w, void *y, int64_t n)
{
    (void)w; /* every weight gets its nearest number */
    const float top = bf16_to_f32(0x7f7f);
    uint16_t *h = y;
    for (int64_t i = 0; i < n; i++) {
        float v = x[i] > top ? top : x[i] < -top ? -top : x[i];
        h[i] = f32_to_bf16(v);
    }
}
