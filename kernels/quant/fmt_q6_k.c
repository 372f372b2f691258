#include "fmt_q6_k.h"

#include <math.h>

#include "f16.h"
#include "fmt.h"
#include "quant_fit.h"

enum { GROUPS = 16, GROUP = 16, L = QUANT_FIT_LANES };

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

/* step (16 groups) for x (256), magnitudes already clamped */
static void q6_k_steps(const float *x, float *step)
{
    for (int half = 0; half < 2; half++) {
        float t[GROUP][L];
        for (int l = 0; l < L; l++)
            for (int i = 0; i < GROUP; i++)
                t[i][l] = x[(half * L + l) * GROUP + i];
        quant_fit_symmetric((const float(*)[L])t, GROUP, 32, step + half * L);
    }
}

static float q6_k_quants(const float *x, float step, uint8_t *q)
{
    float inv = step != 0 ? 1 / step : 0, err = 0;
    for (int i = 0; i < GROUP; i++) {
        float v = quant_fit_round(x[i] * inv, -32, 31), r = v * step - x[i];
        err += r * r;
        q[i] = (uint8_t)(v + 32);
    }
    return err;
}

/* Finds the best int8 code around `want` and writes the group's quants for it. */
static int8_t q6_k_code(const float *x, float d, float want, uint8_t *q)
{
    float base = d > 0 ? quant_fit_round(want / d, -128, 127) : 0, best = 0, code = base;
    for (int move = -1; move <= 1; move++) {
        uint8_t trial[GROUP];
        float c = quant_fit_round(base + (float)move, -128, 127),
              err = q6_k_quants(x, d * c, trial);
        if (move == -1 || err < best) {
            best = err;
            code = c;
            for (int i = 0; i < GROUP; i++)
                q[i] = trial[i];
        }
    }
    return (int8_t)code;
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

void fmt_q6_k_encode(const float *x, void *y, int64_t n)
{
    const float limit = FMT_F16_MAX * 127 * 31;
    struct fmt_q6_k *b = y;
    for (int64_t k = 0; k < n / FMT_K; k++, b++, x += FMT_K) {
        float t[FMT_K], step[GROUPS], most = 0;
        uint8_t q[FMT_K];
        for (int i = 0; i < FMT_K; i++)
            t[i] = x[i] > limit ? limit : x[i] < -limit ? -limit : x[i];
        q6_k_steps(t, step);
        for (int g = 0; g < GROUPS; g++)
            most = fabsf(step[g]) > most ? fabsf(step[g]) : most;
        b->d = quant_fit_scale(most, 127);
        float d = f16_to_f32(b->d);
        for (int g = 0; g < GROUPS; g++)
            b->scale[g] = q6_k_code(t + g * GROUP, d, step[g], q + g * GROUP);
        q6_k_pack(q, b);
    }
}
