#include "fmt_q5_0.h"

#include "f16.h"
#include "fmt.h"
#include "quant_fit.h"

enum { N = 32, L = QUANT_FIT_LANES };

void fmt_q5_0_decode(const void *x, float *y, int64_t n)
{
    const struct fmt_q5_0 *b = x;
    for (int64_t k = 0; k < n / N; k++, b++, y += N) {
        const float d = f16_to_f32(b->d);
        for (int i = 0; i < N; i++)
            y[i] = d * (float)fmt_q5_0_quant(b, i);
    }
}

void fmt_q5_0_encode(const float *x, const float *w, void *y, int64_t n)
{
    struct fmt_q5_0 *b = y;
    for (int64_t at = 0, blocks = n / N; at < blocks; at += L) {
        const int lanes = blocks - at < L ? (int)(blocks - at) : L;
        struct quant_fit_centred f[L];
        quant_fit_centred(x + at * N, w ? w + at * N : NULL, lanes, 16, f);
        for (int l = 0; l < lanes; l++, b++) {
            b->d = f[l].d;
            fmt_q5_pack(f[l].q, b->high, b->low);
        }
    }
}
