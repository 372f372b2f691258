#include "fmt_q4_0.h"

#include "f16.h"
#include "fmt.h"
#include "quant_fit.h"

enum { L = QUANT_FIT_LANES };

void fmt_q4_0_decode(const void *x, float *y, int64_t n)
{
    const struct fmt_q4_0 *b = x;
    for (int64_t k = 0; k < n / 32; k++, b++, y += 32) {
        float d = f16_to_f32(b->d);
        for (int i = 0; i < 16; i++) {
            y[i] = d * (float)((b->q[i] & 15) - 8);
            y[i + 16] = d * (float)((b->q[i] >> 4) - 8);
        }
    }
}

void fmt_q4_0_encode(const float *x, const float *w, void *y, int64_t n)
{
    struct fmt_q4_0 *b = y;
    for (int64_t at = 0, blocks = n / 32; at < blocks; at += L) {
        const int lanes = blocks - at < L ? (int)(blocks - at) : L;
        struct quant_fit_centred f[L];
        quant_fit_centred(x + at * 32, w ? w + at * 32 : NULL, lanes, 8, f);
        for (int l = 0; l < lanes; l++, b++) {
            b->d = f[l].d;
            for (int i = 0; i < 16; i++)
                b->q[i] = (uint8_t)(f[l].q[i] | f[l].q[i + 16] << 4);
        }
    }
}
