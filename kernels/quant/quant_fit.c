#include "quant_fit.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "f16.h"
#include "fmt_block.h"

enum { L = QUANT_FIT_LANES, N = QUANT_FIT_GROUP, GROUPS = 16 };

uint16_t quant_fit_scale(float most, int steps)
{
    float want = most / (float)steps;
    if (want >= FMT_F16_MAX)
        return f32_to_f16(FMT_F16_MAX);
    uint16_t h = f32_to_f16(want);
    if (most < QUANT_FIT_TINY)
        return 0;
    if (most > f16_to_f32(h) * ((float)steps + 0.5f) && h < f32_to_f16(FMT_F16_MAX))
        h++; /* positive f16 values are ordered like their bits */
    return h;
}

/* ---- symmetric ------------------------------------------------------------------------------ */

struct fit_symmetric {
    float inv[L], err[L]; /* the trial's 1 / step, its weighted error */
    float step[L];        /* the fitted step */
};

const float (*quant_fit_spread(const float *w, int lanes, int n, float (*t)[L]))[L]
{
    if (!w)
        return NULL;
    for (int l = 0; l < L; l++)
        for (int i = 0; i < n; i++)
            t[i][l] = l < lanes ? w[l * n + i] : 1;
    return (const float(*)[L])t;
}

void quant_fit_weights(const float (*x)[L], const float (*w)[L], int n, float (*out)[L])
{
    float square[L] = {0}, inv[L];
    for (int i = 0; i < n; i++)
        for (int l = 0; l < L; l++)
            square[l] += x[i][l] * x[i][l];
    for (int l = 0; l < L; l++)
        inv[l] = square[l] > 0 ? 1 / sqrtf(square[l] / (float)n) : 0;
    for (int i = 0; i < n; i++)
        for (int l = 0; l < L; l++)
            out[i][l] = 1 + fabsf(x[i][l]) * inv[l];
    for (int i = 0; w && i < n; i++)
        for (int l = 0; l < L; l++)
            out[i][l] *= w[i][l];
}

/* One trial: quants at t->inv, then the least-squares step for them. */
static void fit_symmetric_try(const float (*x)[L], const float (*w)[L], int n, float low,
                              float high, struct fit_symmetric *t)
{
    float qq[L] = {0}, pq[L] = {0}, pp[L] = {0};
    for (int i = 0; i < n; i++)
        for (int l = 0; l < L; l++) {
            float s = x[i][l] * t->inv[l], q = quant_fit_round(s, low, high), p = q - s;
            float wq = w[i][l] * q, wp = w[i][l] * p;
            qq[l] += wq * q;
            pq[l] += wp * q;
            pp[l] += wp * p;
        }
    for (int l = 0; l < L; l++) { /* s ~ a q: p = q - s ~ (1 - a) q */
        float slope = qq[l] > 0 ? pq[l] / qq[l] : 0, unit = t->inv[l] != 0 ? 1 / t->inv[l] : 0;
        t->step[l] = (1 - slope) * unit;
        t->err[l] = (pp[l] - slope * pq[l]) * unit * unit;
    }
}

static void fit_symmetric_keep(const struct fit_symmetric *t, struct fit_symmetric *best)
{
    for (int l = 0; l < L; l++) {
        int better = t->err[l] < best->err[l];
        best->err[l] = better ? t->err[l] : best->err[l];
        best->step[l] = better ? t->step[l] : best->step[l];
    }
}

void quant_fit_symmetric(const float (*x)[L], const float (*given)[L], int n, int bottom,
                         float step[L])
{
    enum { TRIALS = 15, POLISH = 2 };
    float w[N][L], most[L] = {0}, base[L];
    for (int i = 0; i < n; i++)
        for (int l = 0; l < L; l++)
            most[l] = fabsf(x[i][l]) > fabsf(most[l]) ? x[i][l] : most[l];
    for (int l = 0; l < L; l++)
        base[l] = fabsf(most[l]) >= QUANT_FIT_TINY ? -1 / most[l] : 0;
    quant_fit_weights(x, given, n, w);
    float low = (float)-bottom, high = (float)(bottom - 1);
    struct fit_symmetric best = {.step = {0}}, t;
    for (int l = 0; l < L; l++)
        best.err[l] = FLT_MAX;
    for (int k = 0; k < TRIALS + POLISH; k++) {
        for (int l = 0; l < L; l++) {
            float grid = base[l] * ((float)bottom + 0.125f * (float)(k - TRIALS / 2));
            float again = k >= TRIALS && best.step[l] != 0 ? 1 / best.step[l] : 0;
            t.inv[l] = k < TRIALS ? grid : again;
        }
        fit_symmetric_try(x, (const float(*)[L])w, n, low, high, &t);
        fit_symmetric_keep(&t, &best);
    }
    memcpy(step, best.step, sizeof best.step);
}

/* ---- super-blocks of Q3_K and Q6_K: 16 groups of 16, signed codes of the scales -------------- */

enum { SMALL = FMT_K / GROUPS };

/* Quants of a group, plus bottom; returns the sum of squared errors, each times its w. */
static float fit_signed_quants(const float *x, const float *w, float step, int bottom,
                               uint8_t q[SMALL])
{
    const float inv = step != 0 ? 1 / step : 0;
    float err = 0;
    for (int i = 0; i < SMALL; i++) {
        float v = quant_fit_round(x[i] * inv, (float)-bottom, (float)(bottom - 1)),
              r = v * step - x[i];
        err += w ? w[i] * (r * r) : r * r;
        q[i] = (uint8_t)(v + (float)bottom);
    }
    return err;
}

/* Finds the best code around `want` and writes the group's quants for it. */
static int8_t fit_signed_code(const float *x, const float *w, float d, float want, int bottom,
                              int codes, uint8_t q[SMALL])
{
    const float low = (float)-codes, high = (float)(codes - 1);
    float base = d > 0 ? quant_fit_round(want / d, low, high) : 0, best = 0, code = base;
    for (int move = -1; move <= 1; move++) {
        uint8_t trial[SMALL];
        float c = quant_fit_round(base + (float)move, low, high),
              err = fit_signed_quants(x, w, d * c, bottom, trial);
        if (move == -1 || err < best) {
            best = err;
            code = c;
            memcpy(q, trial, SMALL);
        }
    }
    return (int8_t)code;
}

void quant_fit_signed(const float *x, const float *w, int bottom, int codes,
                      struct quant_fit_signed *out)
{
    const float limit = FMT_F16_MAX * (float)(codes - 1) * (float)(bottom - 1);
    float v[FMT_K], step[GROUPS], most = 0;
    for (int i = 0; i < FMT_K; i++)
        v[i] = x[i] > limit ? limit : x[i] < -limit ? -limit : x[i];
    for (int half = 0; half < GROUPS / L; half++) {
        float t[SMALL][L], wide[SMALL][L];
        for (int l = 0; l < L; l++)
            for (int i = 0; i < SMALL; i++)
                t[i][l] = v[(half * L + l) * SMALL + i];
        quant_fit_symmetric((const float(*)[L])t,
                            quant_fit_spread(w ? w + half * L * SMALL : NULL, L, SMALL, wide),
                            SMALL, bottom, step + half * L);
    }
    for (int g = 0; g < GROUPS; g++)
        most = fabsf(step[g]) > most ? fabsf(step[g]) : most;
    out->d = quant_fit_scale(most, codes - 1);
    const float d = f16_to_f32(out->d);
    for (int g = 0; g < GROUPS; g++)
        out->scale[g] = fit_signed_code(v + g * SMALL, w ? w + g * SMALL : NULL, d, step[g], bottom,
                                        codes, out->q + g * SMALL);
}

/* ---- blocks of 32 ---------------------------------------------------------------------------- */

static float fit_clamp(float x, float limit)
{
    return x > limit ? limit : x < -limit ? -limit : x;
}

void quant_fit_centred(const float *x, const float *w, int n, int bottom,
                       struct quant_fit_centred out[L])
{
    float t[N][L] = {{0}}, wide[N][L], step[L];
    for (int l = 0; l < n; l++)
        for (int i = 0; i < N; i++)
            t[i][l] = fit_clamp(x[l * N + i], FMT_F16_MAX * (float)bottom);
    quant_fit_symmetric((const float(*)[L])t, quant_fit_spread(w, n, N, wide), N, bottom, step);
    for (int l = 0; l < n; l++) {
        const uint16_t d = quant_fit_scale(fabsf(step[l]), 1);
        const float size = f16_to_f32(d), one = size > 0 ? 1 / size : 0;
        const float inv = step[l] < 0 ? -one : one;
        out[l].d = step[l] < 0 ? d | 0x8000 : d;
        for (int i = 0; i < N; i++)
            out[l].q[i] = (uint8_t)((int)quant_fit_round(x[l * N + i] * inv, (float)-bottom,
                                                         (float)(bottom - 1)) +
                                    bottom);
    }
}

/* A line in each lane: x ~ step * q + low. */
struct fit_line {
    float step[L], low[L];
};

/* The line of least squares through the quants of t. Its weighted error is the sum of squares minus
 * the part that the line explains. All differences are from t's low. */
static void fit_line_try(const float (*x)[L], const float (*w)[L], float top, const float inv[L],
                         struct fit_line *t, float err[L])
{
    float sw[L] = {0}, sq[L] = {0}, sqq[L] = {0}, sp[L] = {0}, spq[L] = {0}, spp[L] = {0};
    for (int i = 0; i < N; i++)
        for (int l = 0; l < L; l++) { /* p: residual of the line of t, in steps */
            const float u = (x[i][l] - t->low[l]) * inv[l], q = quant_fit_round(u, 0, top);
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
        err[l] = (spp[l] - a * spq[l] - b * sp[l]) * step * step;
    }
}

static void fit_line_keep(const struct fit_line *t, const float err[L], struct fit_line *best,
                          float least[L])
{
    for (int l = 0; l < L; l++) {
        const int better = err[l] < least[l] && t->step[l] > 0;
        least[l] = better ? err[l] : least[l];
        best->step[l] = better ? t->step[l] : best->step[l];
        best->low[l] = better ? t->low[l] : best->low[l];
    }
}

static void fit_line(const float (*x)[L], const float (*given)[L], int top, struct fit_line *best)
{
    enum { TRIALS = 12, POLISH = 3 };
    float w[N][L], low[L], high[L], least[L];
    for (int l = 0; l < L; l++) {
        low[l] = high[l] = x[0][l];
        for (int i = 0; i < N; i++) {
            low[l] = x[i][l] < low[l] ? x[i][l] : low[l];
            high[l] = x[i][l] > high[l] ? x[i][l] : high[l];
        }
        best->step[l] = 0;
        best->low[l] = low[l];
        least[l] = FLT_MAX;
    }
    quant_fit_weights(x, given, N, w);
    for (int k = 0; k < TRIALS + POLISH; k++) {
        struct fit_line t;
        float inv[L], err[L];
        for (int l = 0; l < L; l++) {
            const float grid = (high[l] - low[l]) / ((float)top + 0.2f * (float)(k - 7));
            t.step[l] = k < TRIALS ? grid : best->step[l];
            t.low[l] = k < TRIALS ? low[l] : best->low[l];
            inv[l] = t.step[l] >= 0x1p-40f ? 1 / t.step[l] : 0;
        }
        fit_line_try(x, (const float(*)[L])w, (float)top, inv, &t, err);
        fit_line_keep(&t, err, best, least);
    }
}

void quant_fit_min(const float *x, const float *w, int n, int top, struct quant_fit_min out[L])
{
    float t[N][L] = {{0}}, wide[N][L];
    struct fit_line best;
    for (int l = 0; l < n; l++)
        for (int i = 0; i < N; i++)
            t[i][l] = fit_clamp(x[l * N + i], FMT_F16_MAX);
    fit_line((const float(*)[L])t, quant_fit_spread(w, n, N, wide), top, &best);
    for (int l = 0; l < n; l++) {
        out[l].d = quant_fit_scale(best.step[l], 1);
        out[l].m = f32_to_f16(fit_clamp(best.low[l], FMT_F16_MAX));
        const float d = f16_to_f32(out[l].d), m = f16_to_f32(out[l].m), inv = d > 0 ? 1 / d : 0;
        for (int i = 0; i < N; i++)
            out[l].q[i] = (uint8_t)quant_fit_round((t[i][l] - m) * inv, 0, (float)top);
    }
}

/* ---- affine, super-blocks of Q2_K, Q4_K and Q5_K --------------------------------------------- */

struct fit_affine {
    float inv[L], from[L]; /* the trial: t = (x - from) * inv */
    float err[L];
    float step[L], low[L]; /* the fitted line x ~ step * q + low, low <= 0 */
};

struct fit_sums {
    float w[L], q[L], qq[L], p[L], pq[L], pp[L]; /* sums of weight times what the name says */
};

static void fit_affine_sums(const float (*x)[L], const float (*w)[L], int n, float top,
                            const struct fit_affine *t, struct fit_sums *s)
{
    float sw[L] = {0}, sq[L] = {0}, sqq[L] = {0}, sp[L] = {0}, spq[L] = {0}, spp[L] = {0};
    for (int i = 0; i < n; i++)
        for (int l = 0; l < L; l++) {
            float u = (x[i][l] - t->from[l]) * t->inv[l], q = quant_fit_round(u, 0, top), p = q - u;
            float wq = w[i][l] * q, wp = w[i][l] * p;
            sw[l] += w[i][l];
            sq[l] += wq;
            sqq[l] += wq * q;
            sp[l] += wp;
            spq[l] += wp * q;
            spp[l] += wp * p;
        }
    for (int l = 0; l < L; l++) {
        s->w[l] = sw[l];
        s->q[l] = sq[l];
        s->qq[l] = sqq[l];
        s->p[l] = sp[l];
        s->pq[l] = spq[l];
        s->pp[l] = spp[l];
    }
}

/* One trial. With p = q - u ~ a q + b the line is x ~ from + ((1 - a) q - b) / inv. If the line's
 * low end is above zero, low is held at 0. If all quants are equal, low is held at `from`. */
static void fit_affine_try(const float (*x)[L], const float (*w)[L], int n, float top,
                           struct fit_affine *t)
{
    struct fit_sums s;
    fit_affine_sums(x, w, n, top, t, &s);
    for (int l = 0; l < L; l++) {
        float unit = t->inv[l] != 0 ? 1 / t->inv[l] : 0;
        float det = s.w[l] * s.qq[l] - s.q[l] * s.q[l], flat = 1e-5f * s.w[l] * s.qq[l];
        float b = det > flat ? (s.qq[l] * s.p[l] - s.q[l] * s.pq[l]) / det : 0;
        float most = t->from[l] * t->inv[l]; /* b at which low is 0 */
        b = b < most ? most : b;
        float a = s.qq[l] > 0 ? (s.pq[l] - b * s.q[l]) / s.qq[l] : 0;
        t->step[l] = (1 - a) * unit;
        t->low[l] = t->from[l] - b * unit;
        t->err[l] =
            (s.pp[l] - 2 * b * s.p[l] + b * b * s.w[l] - a * (s.pq[l] - b * s.q[l])) * unit * unit;
    }
}

static void fit_affine_keep(const struct fit_affine *t, struct fit_affine *best)
{
    for (int l = 0; l < L; l++) {
        int better = t->err[l] < best->err[l];
        best->err[l] = better ? t->err[l] : best->err[l];
        best->step[l] = better ? t->step[l] : best->step[l];
        best->low[l] = better ? t->low[l] : best->low[l];
    }
}

static void fit_affine(const float (*x)[L], const float (*w)[L], int n, int top,
                       struct fit_affine *best)
{
    enum { TRIALS = 12, POLISH = 3 };
    float low[L] = {0}, high[L], inv[L];
    memcpy(high, x[0], sizeof high);
    for (int i = 0; i < n; i++)
        for (int l = 0; l < L; l++) {
            low[l] = x[i][l] < low[l] ? x[i][l] : low[l];
            high[l] = x[i][l] > high[l] ? x[i][l] : high[l];
        }
    for (int l = 0; l < L; l++)
        inv[l] = high[l] - low[l] >= QUANT_FIT_TINY ? 1 / (high[l] - low[l]) : 0;
    struct fit_affine t;
    for (int l = 0; l < L; l++) {
        best->err[l] = FLT_MAX;
        best->step[l] = best->low[l] = 0;
    }
    for (int k = 0; k < TRIALS + POLISH; k++) {
        for (int l = 0; l < L; l++) {
            float again = k >= TRIALS && best->step[l] > 0 ? 1 / best->step[l] : 0;
            t.inv[l] = k < TRIALS ? inv[l] * ((float)top + 0.2f * (float)(k - 7)) : again;
            t.from[l] = k < TRIALS ? low[l] : best->low[l];
        }
        fit_affine_try(x, w, n, (float)top, &t);
        fit_affine_keep(&t, best);
    }
}

/* Weighted error of the codes (scale, min) in every lane, requantised; optionally the quants. */
static void fit_codes_error(const float (*x)[L], const float (*w)[L], int n, float top,
                            const float step[L], const float low[L], float err[L])
{
    float inv[L], sum[L] = {0};
    for (int l = 0; l < L; l++)
        inv[l] = step[l] > 0 ? 1 / step[l] : 0;
    for (int i = 0; i < n; i++)
        for (int l = 0; l < L; l++) {
            float q = quant_fit_round((x[i][l] - low[l]) * inv[l], 0, top);
            float r = step[l] * q + low[l] - x[i][l];
            sum[l] += w[i][l] * r * r;
        }
    memcpy(err, sum, sizeof sum);
}

static float fit_code(float value, float unit, float codes)
{
    return unit > 0 ? quant_fit_round(value / unit, 0, codes) : 0;
}

/* The codes 0..codes: the nearest ones of the fitted line, then any better neighbours. */
static void fit_codes(const float (*x)[L], const float (*w)[L], int n, float top, float codes,
                      const struct fit_affine *f, float d, float dmin, float scale[L], float min[L])
{
    static const signed char move[][2] = {{0, 0}, {0, 1},  {0, -1}, {1, 0},
                                          {1, 1}, {-1, 0}, {-1, -1}};
    float base_scale[L], base_min[L], best[L];
    for (int l = 0; l < L; l++) {
        base_scale[l] = fit_code(f->step[l], d, codes);
        base_min[l] = fit_code(-f->low[l], dmin, codes);
        best[l] = FLT_MAX;
        scale[l] = min[l] = 0;
    }
    for (size_t k = 0; k < sizeof move / sizeof *move; k++) {
        float s[L], m[L], step[L], low[L], err[L];
        for (int l = 0; l < L; l++) {
            s[l] = quant_fit_round(base_scale[l] + (float)move[k][0], 0, codes);
            m[l] = quant_fit_round(base_min[l] + (float)move[k][1], 0, codes);
            step[l] = d * s[l];
            low[l] = -(dmin * m[l]);
        }
        fit_codes_error(x, w, n, top, step, low, err);
        for (int l = 0; l < L; l++) {
            int better = err[l] < best[l];
            best[l] = better ? err[l] : best[l];
            scale[l] = better ? s[l] : scale[l];
            min[l] = better ? m[l] : min[l];
        }
    }
}

static void fit_quants(const float (*x)[L], int n, float top, float d, float dmin,
                       const float scale[L], const float min[L], uint8_t *q)
{
    for (int l = 0; l < L; l++) {
        float step = d * scale[l], low = -(dmin * min[l]), inv = step > 0 ? 1 / step : 0;
        for (int i = 0; i < n; i++)
            q[l * n + i] = (uint8_t)quant_fit_round((x[i][l] - low) * inv, 0, top);
    }
}

void quant_fit_k(const float *x, const float *given, int n, int top, int codes,
                 struct quant_fit_k *out)
{
    enum { PARTS = 2 }; /* of L groups; one part if groups have 32 elements */
    const float least = -FMT_F16_MAX * (float)codes, most = FMT_F16_MAX * (float)codes;
    const int parts = FMT_K / (n * L);
    float t[PARTS][N][L], w[PARTS][N][L], wide[N][L], step = 0, low = 0;
    struct fit_affine f[PARTS];
    for (int p = 0; p < parts; p++) {
        for (int l = 0; l < L; l++)
            for (int i = 0; i < n; i++) {
                float v = x[(p * L + l) * n + i];
                v = v < least ? least : v;
                t[p][i][l] = v > most ? most : v;
            }
        quant_fit_weights((const float(*)[L])t[p],
                          quant_fit_spread(given ? given + p * L * n : NULL, L, n, wide), n, w[p]);
        fit_affine((const float(*)[L])t[p], (const float(*)[L])w[p], n, top, &f[p]);
        for (int l = 0; l < L; l++) {
            step = f[p].step[l] > step ? f[p].step[l] : step;
            low = f[p].low[l] < low ? f[p].low[l] : low;
        }
    }
    out->d = quant_fit_scale(step, codes);
    out->dmin = quant_fit_scale(-low, codes);
    const float d = f16_to_f32(out->d), dmin = f16_to_f32(out->dmin);
    for (int p = 0; p < parts; p++) {
        float scale[L], min[L];
        fit_codes((const float(*)[L])t[p], (const float(*)[L])w[p], n, (float)top, (float)codes,
                  &f[p], d, dmin, scale, min);
        fit_quants((const float(*)[L])t[p], n, (float)top, d, dmin, scale, min, out->q + p * L * n);
        for (int l = 0; l < L; l++) {
            out->scale[p * L + l] = (uint8_t)scale[l];
            out->min[p * L + l] = (uint8_t)min[l];
        }
    }
}
