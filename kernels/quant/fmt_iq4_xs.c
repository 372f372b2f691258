#include "fmt_iq4_xs.h"

#include <string.h>

#include "f16.h"
#include "fmt.h"
#include "quant_fit.h"

enum { GROUPS = 8, GROUP = 32 };

void fmt_iq4_xs_decode(const void *x, float *y, int64_t n)
{
    const struct fmt_iq4_xs *b = x;
    for (int64_t k = 0; k < n / FMT_K; k++, b++)
        for (int g = 0; g < GROUPS; g++, y += GROUP) {
            const float step = f16_to_f32(b->d) * (float)fmt_iq4_xs_scale(b, g);
            const uint8_t *q = b->q + g * GROUP / 2;
            for (int i = 0; i < GROUP / 2; i++) {
                y[i] = step * (float)fmt_iq4_book[q[i] & 15];
                y[i + GROUP / 2] = step * (float)fmt_iq4_book[q[i] >> 4];
            }
        }
}

void fmt_iq4_xs_encode(const float *x, const float *w, void *y, int64_t n)
{
    struct fmt_iq4_xs *b = y;
    for (int64_t k = 0; k < n / FMT_K; k++, b++, x += FMT_K) {
        struct quant_fit_signed f;
        quant_fit_iq4_groups(x, w ? w + k * FMT_K : NULL, &f);
        memset(b, 0, sizeof *b);
        b->d = f.d;
        for (int g = 0; g < GROUPS; g++) {
            const int code = f.scale[g] + 32;
            b->scale_low[g / 2] = (uint8_t)(b->scale_low[g / 2] | (code & 15) << (g % 2 * 4));
            b->scale_high = (uint16_t)(b->scale_high | (code >> 4) << 2 * g);
            for (int i = 0; i < GROUP / 2; i++)
                b->q[g * GROUP / 2 + i] =
                    (uint8_t)(f.q[g * GROUP + i] | f.q[g * GROUP + GROUP / 2 + i] << 4);
        }
    }
}
