#include "fmt_q6_k.h"

#include <string.h>

#include "f16.h"
#include "fmt.h"
#include "quant_fit.h"

enum { GROUPS = 16, GROUP = 16 };

void fmt_q6_k_decode(const void *x, float *y, int64_t n)
{
    const struct fmt_q6_k *b = x;
    for (int64_t k = 0; k < n / FMT_K; k++, b++) {
        float d = f16_to_f32(b->d);
        for (int g = 0; g < GROUPS; g++, y += GROUP) { /* quarters of a half are two groups long */
            int quarter = g / 2 % 4, at = g % 2 * GROUP;
            const uint8_t *low = b->low + g / 8 * 64 + quarter % 2 * 32 + at;
            const uint8_t *high = b->high + g / 8 * 32 + at;
            int low_shift = quarter / 2 * 4, high_shift = quarter * 2;
            float step = d * (float)b->scale[g];
            for (int i = 0; i < GROUP; i++) {
                int q = (low[i] >> low_shift & 15) | (high[i] >> high_shift & 3) << 4;
                y[i] = step * (float)(q - 32);
            }
        }
    }
}

static void q6_k_pack(const uint8_t *q, struct fmt_q6_k *b)
{
    for (int half = 0; half < 2; half++, q += 128)
        for (int j = 0; j < 32; j++) {
            int a = q[j], c = q[j + 32], e = q[j + 64], g = q[j + 96];
            b->low[64 * half + j] = (uint8_t)((a & 15) | (e & 15) << 4);
            b->low[64 * half + 32 + j] = (uint8_t)((c & 15) | (g & 15) << 4);
            b->high[32 * half + j] = (uint8_t)(a >> 4 | c >> 4 << 2 | e >> 4 << 4 | g >> 4 << 6);
        }
}

void fmt_q6_k_encode(const float *x, const float *w, void *y, int64_t n)
{
    struct fmt_q6_k *b = y;
    for (int64_t k = 0; k < n / FMT_K; k++, b++, x += FMT_K) {
        struct quant_fit_signed f;
        quant_fit_signed(x, w ? w + k * FMT_K : NULL, 32, 128, &f);
        b->d = f.d;
        memcpy(b->scale, f.scale, sizeof b->scale);
        q6_k_pack(f.q, b);
    }
}
