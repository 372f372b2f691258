#include "fmt_q2_k.h"

#include "f16.h"
#include "fmt.h"
#include "quant_fit.h"

enum { GROUPS = 16, GROUP = 16 };

void fmt_q2_k_decode(const void *x, float *y, int64_t n)
{
    const struct fmt_q2_k *b = x;
    for (int64_t k = 0; k < n / FMT_K; k++, b++) {
        const float d = f16_to_f32(b->d), dmin = f16_to_f32(b->dmin);
        for (int g = 0; g < GROUPS; g++, y += GROUP) {
            const float step = d * (float)(b->scale[g] & 15),
                        low = dmin * (float)(b->scale[g] >> 4);
            for (int i = 0; i < GROUP; i++)
                y[i] = step * (float)fmt_k_two_bits(b->q, g * GROUP + i) - low;
        }
    }
}

void fmt_q2_k_encode(const float *x, const float *w, void *y, int64_t n)
{
    struct fmt_q2_k *b = y;
    for (int64_t k = 0; k < n / FMT_K; k++, b++, x += FMT_K) {
        struct quant_fit_k f;
        quant_fit_k(x, w ? w + k * FMT_K : NULL, GROUP, 3, 15, &f);
        b->d = f.d;
        b->dmin = f.dmin;
        for (int g = 0; g < GROUPS; g++)
            b->scale[g] = (uint8_t)(f.scale[g] | f.min[g] << 4);
        fmt_k_pack_two_bits(f.q, b->q);
    }
}
