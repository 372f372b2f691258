#include "fmt_q3_k.h"

#include <string.h>

#include "f16.h"
#include "fmt.h"
#include "quant_fit.h"

enum { GROUPS = 16, GROUP = 16 };

void fmt_q3_k_decode(const void *x, float *y, int64_t n)
{
    const struct fmt_q3_k *b = x;
    for (int64_t k = 0; k < n / FMT_K; k++, b++) {
        const float d = f16_to_f32(b->d);
        for (int g = 0; g < GROUPS; g++, y += GROUP) {
            const float step = d * (float)fmt_q3_k_scale(b->scale, g);
            for (int i = 0; i < GROUP; i++)
                y[i] = step * (float)fmt_q3_k_quant(b, g * GROUP + i);
        }
    }
}

static void q3_k_pack(const struct quant_fit_signed *f, struct fmt_q3_k *b)
{
    memset(b, 0, sizeof *b);
    b->d = f->d;
    for (int g = 0; g < GROUPS; g++) {
        const int code = f->scale[g] + 32;
        uint8_t *low = b->scale + g % 8, *high = b->scale + 8 + g % 4;
        *low = (uint8_t)(*low | (code & 15) << (g / 8 * 4));
        *high = (uint8_t)(*high | (code >> 4) << (g / 4 * 2));
    }
    for (int i = 0; i < FMT_K; i++)
        b->high[i % 32] = (uint8_t)(b->high[i % 32] | (f->q[i] >> 2) << (i / 32));
    fmt_k_pack_two_bits(f->q, b->low);
}

void fmt_q3_k_encode(const float *x, const float *w, void *y, int64_t n)
{
    struct fmt_q3_k *b = y;
    for (int64_t k = 0; k < n / FMT_K; k++, b++, x += FMT_K) {
        struct quant_fit_signed f;
        quant_fit_signed(x, w ? w + k * FMT_K : NULL, 4, 32, &f);
        q3_k_pack(&f, b);
    }
}
