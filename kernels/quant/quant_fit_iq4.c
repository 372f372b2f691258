/* quant_fit_iq4: the fits of IQ4_NL and IQ4_XS. As those of quant_fit.c, but a scaled element goes
 * to the nearest entry of fmt_iq4_book. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "f16.h"
#include "fmt_iq.h"
#include "quant_fit.h"

enum { L = QUANT_FIT_LANES, N = QUANT_FIT_GROUP, BOOK = 16 };

#define IQ4_BOTTOM 127.0f /* largest magnitude of the book: of its first, negative entry */
#define IQ4_TOP 113.0f    /* its last entry */

/* The nearest entries of half steps of a scaled element. All places where rounding changes from one
 * entry to the next are multiples of 1/2. */
struct iq4_book {
    float entry[2 * (127 + 113) + 1]; /* of -127, -126.5 .. 113 */
    uint8_t index[2 * (127 + 113) + 1];
};

static void iq4_book(struct iq4_book *b)
{
    int at = 0;
    for (int k = 0; k < BOOK; k++) {
        const int end = k + 1 < BOOK ? fmt_iq4_book[k] + fmt_iq4_book[k + 1] + 254 : 2 * 240 + 1;
        for (; at < end; at++) {
            b->entry[at] = (float)fmt_iq4_book[k];
            b->index[at] = (uint8_t)k;
        }
    }
}

/* The place of t in the tables. */
static inline int iq4_at(float t)
{
    t = t < -IQ4_BOTTOM ? -IQ4_BOTTOM : t;
    t = t > IQ4_TOP ? IQ4_TOP : t;
    return (int)(2 * (t + IQ4_BOTTOM));
}

struct iq4_trial {
    float inv[L], err[L]; /* 1 / step of the trial, its weighted error */
    float step[L];        /* the fitted step */
};

/* One trial: entries at t->inv, then the step of least squares for them. */
static void iq4_try(const struct iq4_book *b, const float (*x)[L], const float (*w)[L],
                    struct iq4_trial *t)
{
    float qq[L] = {0}, pq[L] = {0}, pp[L] = {0};
    for (int i = 0; i < N; i++) {
        float s[L], q[L];
        int at[L];
        for (int l = 0; l < L; l++) {
            s[l] = x[i][l] * t->inv[l];
            at[l] = iq4_at(s[l]);
        }
        for (int l = 0; l < L; l++)
            q[l] = b->entry[at[l]];
        for (int l = 0; l < L; l++) {
            const float p = q[l] - s[l], wq = w[i][l] * q[l], wp = w[i][l] * p;
            qq[l] += wq * q[l];
            pq[l] += wp * q[l];
            pp[l] += wp * p;
        }
    }
    for (int l = 0; l < L; l++) { /* s ~ a q: p = q - s ~ (1 - a) q */
        const float slope = qq[l] > 0 ? pq[l] / qq[l] : 0,
                    unit = t->inv[l] != 0 ? 1 / t->inv[l] : 0;
        t->step[l] = (1 - slope) * unit;
        t->err[l] = (pp[l] - slope * pq[l]) * unit * unit;
    }
}

/* step of N rows of x, clamped already; 0 for a lane of zeros. */
static void iq4_steps(const struct iq4_book *b, const float (*x)[L], const float (*given)[L],
                      float step[L])
{
    enum { TRIALS = 15, POLISH = 2 };
    float w[N][L], most[L] = {0}, least[L];
    quant_fit_weights(x, given, N, w);
    for (int l = 0; l < L; l++) {
        for (int i = 0; i < N; i++)
            most[l] = fabsf(x[i][l]) > fabsf(most[l]) ? x[i][l] : most[l];
        least[l] = FLT_MAX;
        step[l] = 0;
    }
    for (int k = 0; k < TRIALS + POLISH; k++) {
        struct iq4_trial t;
        for (int l = 0; l < L; l++) {
            const float span = -IQ4_BOTTOM * (1 + 0.016f * (float)(k - TRIALS / 2));
            const float grid = fabsf(most[l]) >= QUANT_FIT_TINY ? span / most[l] : 0;
            const float again = step[l] != 0 ? 1 / step[l] : 0;
            t.inv[l] = k < TRIALS ? grid : again;
        }
        iq4_try(b, x, (const float(*)[L])w, &t);
        for (int l = 0; l < L; l++) {
            const int better = t.err[l] < least[l];
            least[l] = better ? t.err[l] : least[l];
            step[l] = better ? t.step[l] : step[l];
        }
    }
}

/* Groups 0..n - 1 of x, one a lane, clamped to what a step of `steps` times 65504 can hold. */
static void iq4_lanes(const float *x, int n, float steps, float t[N][L])
{
    const float limit = FMT_F16_MAX * steps * IQ4_TOP;
    memset(t, 0, sizeof(float[N][L]));
    for (int l = 0; l < n; l++)
        for (int i = 0; i < N; i++) {
            const float v = x[l * N + i];
            t[i][l] = v > limit ? limit : v < -limit ? -limit : v;
        }
}

void quant_fit_iq4(const float *x, const float *w, int n, struct quant_fit_centred out[L])
{
    struct iq4_book b;
    float t[N][L], wide[N][L], step[L];
    iq4_book(&b);
    iq4_lanes(x, n, 1, t);
    iq4_steps(&b, (const float(*)[L])t, quant_fit_spread(w, n, N, wide), step);
    for (int l = 0; l < n; l++) {
        const uint16_t d = quant_fit_scale(fabsf(step[l]), 1);
        const float size = f16_to_f32(d), one = size > 0 ? 1 / size : 0;
        out[l].d = step[l] < 0 ? d | 0x8000 : d;
        for (int i = 0; i < N; i++)
            out[l].q[i] = b.index[iq4_at(t[i][l] * (step[l] < 0 ? -one : one))];
    }
}

/* Entries of a group at a step; returns the sum of squared errors, each times its w. */
static float iq4_entries(const struct iq4_book *b, const float *x, const float *w, float step,
                         uint8_t q[N])
{
    const float inv = step != 0 ? 1 / step : 0;
    float err = 0;
    for (int i = 0; i < N; i++) {
        q[i] = b->index[iq4_at(x[i] * inv)];
        const float r = (float)fmt_iq4_book[q[i]] * step - x[i];
        err += w ? w[i] * (r * r) : r * r;
    }
    return err;
}

void quant_fit_iq4_groups(const float *x, const float *w, struct quant_fit_signed *out)
{
    enum { CODES = 32 };
    struct iq4_book b;
    float t[N][L], wide[N][L], step[L], most = 0;
    iq4_book(&b);
    iq4_lanes(x, L, CODES - 1, t);
    iq4_steps(&b, (const float(*)[L])t, quant_fit_spread(w, L, N, wide), step);
    for (int l = 0; l < L; l++)
        most = fabsf(step[l]) > most ? fabsf(step[l]) : most;
    out->d = quant_fit_scale(most, CODES - 1);
    const float d = f16_to_f32(out->d);
    for (int l = 0; l < L; l++) {
        const float base = d > 0 ? quant_fit_round(step[l] / d, -CODES, CODES - 1) : 0;
        float group[N], best = FLT_MAX;
        for (int i = 0; i < N; i++)
            group[i] = t[i][l];
        for (int move = -1; move <= 1; move++) {
            uint8_t trial[N];
            const float code = quant_fit_round(base + (float)move, -CODES, CODES - 1),
                        err = iq4_entries(&b, group, w ? w + l * N : NULL, d * code, trial);
            if (err < best) {
                best = err;
                out->scale[l] = (int8_t)code;
                memcpy(out->q + l * N, trial, N);
            }
        }
    }
}
