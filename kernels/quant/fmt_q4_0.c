#include "fmt_q4_0.h"

#include <math.h>

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

static void q4_0_block(const float *x, float step, struct fmt_q4_0 *b)
{
    uint16_t d = quant_fit_scale(fabsf(step), 1);
    float size = f16_to_f32(d), inv = size > 0 ? 1 / size : 0;
    b->d = step < 0 ? d | 0x8000 : d;
    inv = step < 0 ? -inv : inv;
    for (int i = 0; i < 16; i++) {
        int low = (int)quant_fit_round(x[i] * inv, -8, 7) + 8;
        int high = (int)quant_fit_round(x[i + 16] * inv, -8, 7) + 8;
        b->q[i] = (uint8_t)(low | high << 4);
    }
}

void fmt_q4_0_encode(const float *x, void *y, int64_t n)
{
    const float limit = FMT_F16_MAX * 8;
    struct fmt_q4_0 *b = y;
    for (int64_t at = 0, blocks = n / 32; at < blocks; at += L, x += 32 * L) {
        int lanes = blocks - at < L ? (int)(blocks - at) : L;
        float t[32][L] = {{0}}, step[L];
        for (int l = 0; l < lanes; l++)
            for (int i = 0; i < 32; i++) {
                float v = x[l * 32 + i];
                t[i][l] = v > limit ? limit : v < -limit ? -limit : v;
            }
        quant_fit_symmetric((const float(*)[L])t, 32, 8, step);
        for (int l = 0; l < lanes; l++)
            q4_0_block(x + l * 32, step[l], b + at + l);
    }
}
