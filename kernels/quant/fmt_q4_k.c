#include "fmt_q4_k.h"

#include "f16.h"
#include "fmt.h"
#include "quant_fit.h"

void fmt_q4_k_decode(const void *x, float *y, int64_t n)
{
    const struct fmt_q4_k *b = x;
    for (int64_t k = 0; k < n / FMT_K; k++, b++) {
        float d = f16_to_f32(b->d), dmin = f16_to_f32(b->dmin);
        for (int g = 0; g < 8; g++, y += 32) {
            float step = d * (float)fmt_k_scale(b->scale, g),
                  low = dmin * (float)fmt_k_min(b->scale, g);
            const uint8_t *q = b->q + g / 2 * 32;
            int shift = g % 2 * 4;
            for (int i = 0; i < 32; i++)
                y[i] = step * (float)(q[i] >> shift & 15) - low;
        }
    }
}

void fmt_q4_k_encode(const float *x, const float *w, void *y, int64_t n)
{
    struct fmt_q4_k *b = y;
    for (int64_t k = 0; k < n / FMT_K; k++, b++, x += FMT_K) {
        struct quant_fit_k f;
        quant_fit_k(x, w ? w + k * FMT_K : NULL, 32, 15, 63, &f);
        b->d = f.d;
        b->dmin = f.dmin;
        fmt_k_pack(f.scale, f.min, b->scale);
        for (int i = 0; i < 128; i++) {
            const uint8_t *q = f.q + i / 32 * 64 + i % 32;
            b->q[i] = (uint8_t)(q[0] | q[32] << 4);
        }
    }
}
