#include "fmt_q4_1.h"

#include "f16.h"
#include "fmt.h"
#include "quant_fit.h"

enum { N = 32, L = QUANT_FIT_LANES };

void fmt_q4_1_decode(const void *x, float *y, int64_t n)
{
    const struct fmt_q4_1 *b = x;
    for (int64_t k = 0; k < n / N; k++, b++, y += N) {
        float d = f16_to_f32(b->d), m = f16_to_f32(b->m);
        for (int i = 0; i < N / 2; i++) {
            y[i] = d * (float)(b->q[i] & 15) + m;
            y[i + N / 2] = d * (float)(b->q[i] >> 4) + m;
        }
    }
}

void fmt_q4_1_encode(const float *x, const float *w, void *y, int64_t n)
{
    struct fmt_q4_1 *b = y;
    for (int64_t at = 0, blocks = n / N; at < blocks; at += L) {
        const int lanes = blocks - at < L ? (int)(blocks - at) : L;
        struct quant_fit_min f[L];
        quant_fit_min(x + at * N, w ? w + at * N : NULL, lanes, 15, f);
        for (int l = 0; l < lanes; l++, b++) {
            b->d = f[l].d;
            b->m = f[l].m;
            for (int i = 0; i < N / 2; i++)
                b->q[i] = (uint8_t)(f[l].q[i] | f[l].q[i + N / 2] << 4);
        }
    }
}
