#include "fmt_iq4_nl.h"

#include "f16.h"
#include "fmt.h"
#include "quant_fit.h"

enum { N = 32, L = QUANT_FIT_LANES };

void fmt_iq4_nl_decode(const void *x, float *y, int64_t n)
{
    const struct fmt_iq4_nl *b = x;
    for (int64_t k = 0; k < n / N; k++, b++, y += N) {
        const float d = f16_to_f32(b->d);
        for (int i = 0; i < N / 2; i++) {
            y[i] = d * (float)fmt_iq4_book[b->q[i] & 15];
            y[i + N / 2] = d * (float)fmt_iq4_book[b->q[i] >> 4];
        }
    }
}

void fmt_iq4_nl_encode(const float *x, const float *w, void *y, int64_t n)
{
    struct fmt_iq4_nl *b = y;
    for (int64_t at = 0, blocks = n / N; at < blocks; at += L) {
        const int lanes = blocks - at < L ? (int)(blocks - at) : L;
        struct quant_fit_centred f[L];
        quant_fit_iq4(x + at * N, w ? w + at * N : NULL, lanes, f);
        for (int l = 0; l < lanes; l++, b++) {
            b->d = f[l].d;
            for (int i = 0; i < N / 2; i++)
                b->q[i] = (uint8_t)(f[l].q[i] | f[l].q[i + N / 2] << 4);
        }
    }
}
