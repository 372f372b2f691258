#include "fmt_q8_0.h"

#include "f16.h"
#include "fmt.h"
#include "quant_fit.h"

void fmt_q8_0_decode(const void *x, float *y, int64_t n)
{
    const struct fmt_q8_0 *b = x;
    for (int64_t k = 0; k < n / 32; k++, b++, y += 32) {
        float d = f16_to_f32(b->d);
        for (int i = 0; i < 32; i++)
            y[i] = d * (float)b->q[i];
    }
}

void fmt_q8_0_encode(const float *x, const float *w, void *y, int64_t n)
{
    (void)w; /* every weight gets its nearest number */
    struct fmt_q8_0 *b = y;
    for (int64_t k = 0; k < n / 32; k++, b++, x += 32) {
        float most = 0;
        for (int i = 0; i < 32; i++) {
            float a = x[i] < 0 ? -x[i] : x[i];
            most = a > most ? a : most;
        }
        b->d = quant_fit_scale(most, 127);
        float d = f16_to_f32(b->d), inv = d > 0 ? 1 / d : 0;
        for (int i = 0; i < 32; i++)
            b->q[i] = (int8_t)quant_fit_round(x[i] * inv, -127, 127);
    }
}
