#include "fmt_iq2_xs.h"

#include "f16.h"
#include "fmt.h"

void fmt_iq2_xs_decode(const void *x, float *y, int64_t n)
{
    const struct fmt_iq2_xs *b = x;
    for (int64_t k = 0; k < n / FMT_K; k++, b++, y += FMT_K) {
        const float d = f16_to_f32(b->d);
        for (int g = 0; g < FMT_K / 8; g++) { /* eights */
            const float step = fmt_iq2_step(d, b->scale, g / 2);
            const int point = fmt_iq2_xs_book[b->q[g] & 511], signs = fmt_iq_signs(b->q[g] >> 9);
            for (int i = 0; i < 8; i++)
                y[8 * g + i] = step * (float)fmt_iq_signed(fmt_iq2_size(point, i), signs, i);
        }
    }
}
