#include "fmt_q4_1.h"

#include <float.h>
#include <math.h>

#include "f16.h"
#include "fmt.h"
#include "quant_fit.h"

enum { N = 32, TOP = 15, L = QUANT_FIT_LANES };

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

/* A block in each lane (quant_fit.h): x ~ step * q + low, inv = 1 / step, or 0.
 */
struct line {
    float step[L], low[L], inv[L], err[L];
};

static float q4_1_clamp(float x)
{
    return x > FMT_F16_MAX ? FMT_F16_MAX : x < -FMT_F16_MAX ? -FMT_F16_MAX : x;
}

static float q4_1_quant(float x, float low, float inv)
{
    return quant_fit_round((x - low) * inv, 0, TOP);
}

/* The line of least squares through the quants of t. Its weighted error is the sum of squares minus
 * the part that the line explains. All differences are from t's low. */
static void q4_1_fit(const float (*x)[L], const float (*w)[L], struct line *t)
{
    float sw[L] = {0}, sq[L] = {0}, sqq[L] = {0}, sp[L] = {0}, spq[L] = {0}, spp[L] = {0};
    for (int i = 0; i < N; i++)
        for (int l = 0; l < L; l++) { /* p: residual of the line of t, in steps */
            const float u = (x[i][l] - t->low[l]) * t->inv[l], q = quant_fit_round(u, 0, TOP);
            const float p = u - q, wq = w[i][l] * q, wp = w[i][l] * p;
            sw[l] += w[i][l];
            sq[l] += wq;
            sqq[l] += wq * q;
            sp[l] += wp;
            spq[l] += wp * q;
            spp[l] += wp * p;
        }
    for (int l = 0; l < L; l++) { /* p ~ a q + b */
        const float det = sw[l] * sqq[l] - sq[l] * sq[l], step = t->step[l];
        const float a = det > 1e-5f * sw[l] * sqq[l] ? (sw[l] * spq[l] - sq[l] * sp[l]) / det : 0;
        const float b = sw[l] > 0 ? (sp[l] - a * sq[l]) / sw[l] : 0;
        t->step[l] = step * (1 + a);
        t->low[l] += step * b;
        t->err[l] = (spp[l] - a * spq[l] - b * sp[l]) * step * step;
    }
}

static void q4_1_keep(const struct line *t, struct line *best)
{
    for (int l = 0; l < L; l++) {
        const int better = t->err[l] < best->err[l] && t->step[l] > 0;
        best->err[l] = better ? t->err[l] : best->err[l];
        best->step[l] = better ? t->step[l] : best->step[l];
        best->low[l] = better ? t->low[l] : best->low[l];
    }
}

static void q4_1_search(const float (*x)[L], struct line *best)
{
    enum { TRIALS = 12, POLISH = 3 };
    float w[N][L], low[L], high[L], square[L] = {0};
    for (int l = 0; l < L; l++) {
        low[l] = high[l] = x[0][l];
        for (int i = 0; i < N; i++) {
            low[l] = x[i][l] < low[l] ? x[i][l] : low[l];
            high[l] = x[i][l] > high[l] ? x[i][l] : high[l];
            square[l] += x[i][l] * x[i][l];
        }
        best->step[l] = 0;
        best->low[l] = low[l];
        best->err[l] = FLT_MAX;
    }
    for (int l = 0; l < L; l++) {
        const float inv = square[l] > 0 ? 1 / sqrtf(square[l] / N) : 0;
        for (int i = 0; i < N; i++)
            w[i][l] = 1 + fabsf(x[i][l]) * inv;
    }
    for (int k = 0; k < TRIALS + POLISH; k++) {
        struct line t;
        for (int l = 0; l < L; l++) {
            const float grid = (high[l] - low[l]) / (TOP + 0.2f * (float)(k - 7));
            t.step[l] = k < TRIALS ? grid : best->step[l];
            t.low[l] = k < TRIALS ? low[l] : best->low[l];
            t.inv[l] = t.step[l] >= 0x1p-40f ? 1 / t.step[l] : 0;
        }
        q4_1_fit(x, (const float(*)[L])w, &t);
        q4_1_keep(&t, best);
    }
}

static void q4_1_block(const float (*x)[L], int l, const struct line *t, struct fmt_q4_1 *b)
{
    b->d = quant_fit_scale(t->step[l], 1);
    b->m = f32_to_f16(q4_1_clamp(t->low[l]));
    const float d = f16_to_f32(b->d), m = f16_to_f32(b->m), inv = d > 0 ? 1 / d : 0;
    for (int i = 0; i < N / 2; i++)
        b->q[i] = (uint8_t)((int)q4_1_quant(x[i][l], m, inv) |
                            (int)q4_1_quant(x[i + N / 2][l], m, inv) << 4);
}

void fmt_q4_1_encode(const float *x, void *y, int64_t n)
{
    struct fmt_q4_1 *b = y;
    for (int64_t at = 0, blocks = n / N; at < blocks; at += L, x += N * L) {
        const int lanes = blocks - at < L ? (int)(blocks - at) : L;
        float t[N][L] = {{0}};
        struct line best;
        for (int l = 0; l < lanes; l++)
            for (int i = 0; i < N; i++)
                t[i][l] = q4_1_clamp(x[l * N + i]);
        q4_1_search((const float(*)[L])t, &best);
        for (int l = 0; l < lanes; l++)
            q4_1_block((const float(*)[L])t, l, &best, b + at + l);
    }
}
