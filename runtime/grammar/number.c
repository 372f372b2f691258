#include "number.h"

#include <math.h>
#include <stdio.h>

#define CAP (INT64_MAX / 4) /* beyond every bound: products saturate here */
#define MOST_INT 16         /* digits of NUMBER_LIMIT */

static int64_t power(int n) /* 10^n, n <= 18 */
{
    int64_t p = 1;
    while (n-- > 0)
        p *= 10;
    return p;
}

static int64_t times(int64_t a, int64_t b) /* a, b >= 0; saturates at CAP */
{
    int64_t p;
    return __builtin_mul_overflow(a, b, &p) || p > CAP ? CAP : p;
}

/* a / b towards minus (up: plus) infinity, b > 0 */
static int64_t divide(int64_t a, int64_t b, bool up)
{
    int64_t q = a / b, rest = a % b;
    return q + (rest > 0 && up) - (rest < 0 && !up);
}

/* Magnitudes of the range with one sign, in units of 10^-f: [*a, *b]; empty when *a > *b. */
static void magnitudes(const struct number_range *r, bool negative, int f, int64_t *a, int64_t *b)
{
    int64_t unit = power(r->decimals - f);
    int64_t lo = negative ? -r->hi : r->lo, hi = negative ? -r->lo : r->hi;
    int64_t least = negative ? 1 : 0; /* "-0" is no number here */
    *a = divide(lo, unit, true);
    *b = divide(hi, unit, false);
    if (*a < least)
        *a = least;
}

static int64_t divisor(int64_t a, int64_t b) /* greatest common; a, b >= 0, not both 0 */
{
    while (b) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* The least multiple of the range's step that is at least a, in units of 10^-f. */
static int64_t next_multiple(const struct number_range *r, int64_t a, int f)
{
    if (r->step <= 1)
        return a;
    int64_t step = r->step / divisor(r->step, power(r->decimals - f));
    return times(divide(a, step, true), step);
}

/* True when a magnitude of [a, b], in units of 10^-decimals, lies in the range. */
static bool meets(const struct number_range *r, bool negative, int64_t a, int64_t b)
{
    int64_t lo, hi;
    magnitudes(r, negative, r->decimals, &lo, &hi);
    return next_multiple(r, a > lo ? a : lo, r->decimals) <= (b < hi ? b : hi);
}

static bool feasible(const struct number_range *r, const struct number_prefix *p)
{
    if (!p->n_int)
        return !p->negative || meets(r, true, 1, CAP);
    int64_t d = (int64_t)p->digits;
    int64_t w = power(r->decimals - p->n_frac);
    if (p->point)
        return meets(r, p->negative, times(d, w), times(d + 1, w) - 1);
    for (;; w = times(w, 10)) { /* one more digit before the point each time */
        if (meets(r, p->negative, times(d, w), times(d + 1, w) - 1))
            return true;
        if (!d || times(d, w) >= CAP)
            return false;
    }
}

bool number_step(const struct number_range *r, struct number_prefix *p, unsigned char b)
{
    struct number_prefix q = *p;
    if (b == '-') {
        if (p->negative || p->n_int)
            return false;
        q.negative = true;
    } else if (b == '.') {
        if (p->point || !p->n_int || !r->decimals)
            return false;
        q.point = true;
    } else if (b >= '0' && b <= '9') {
        if (p->point ? p->n_frac == r->decimals : p->n_int == 1 && !p->digits)
            return false;
        q.digits = p->digits * 10 + (uint64_t)(b - '0'); /* p is feasible: digits <= 10^17 */
        if (p->point)
            q.n_frac++;
        else
            q.n_int++;
    } else {
        return false;
    }
    if (!feasible(r, &q))
        return false;
    *p = q;
    return true;
}

bool number_complete(const struct number_range *r, const struct number_prefix *p)
{
    if (!p->n_int || (p->point && !p->n_frac))
        return false;
    int64_t v = times((int64_t)p->digits, power(r->decimals - p->n_frac));
    return meets(r, p->negative, v, v);
}

int number_length(const struct number_prefix *p)
{
    return p->negative + p->n_int + p->point + p->n_frac;
}

int number_write(int64_t scaled, int decimals, char out[NUMBER_TEXT])
{
    uint64_t m = scaled < 0 ? (uint64_t)-scaled : (uint64_t)scaled;
    uint64_t unit = (uint64_t)power(decimals);
    const char *sign = scaled < 0 ? "-" : "";
    if (!decimals)
        return snprintf(out, NUMBER_TEXT, "%s%llu", sign, (unsigned long long)m);
    return snprintf(out, NUMBER_TEXT, "%s%llu.%0*llu", sign, (unsigned long long)(m / unit),
                    decimals, (unsigned long long)(m % unit));
}

/* The least magnitude of the range that continues p with `more` digits before the point, in units
 * of 10^-f; -1 when there is none. */
static int64_t least(const struct number_range *r, const struct number_prefix *p, bool negative,
                     int more, int f)
{
    int64_t a, b, lo, hi;
    magnitudes(r, negative, f, &lo, &hi);
    if (p->n_int) {
        int64_t w = times(power(more), power(f - p->n_frac));
        a = times((int64_t)p->digits, w);
        b = times((int64_t)p->digits + 1, w) - 1;
    } else {
        a = more == 1 ? 0 : times(power(more - 1), power(f));
        b = times(power(more), power(f)) - 1;
    }
    a = next_multiple(r, a > lo ? a : lo, f);
    return a <= b && a <= hi ? a : -1;
}

int number_shortest(const struct number_range *r, const struct number_prefix *p,
                    char out[NUMBER_TEXT])
{
    int best = NUMBER_TEXT;
    int first_f = !p->point ? 0 : p->n_frac ? p->n_frac : 1;
    int most = p->point || (p->n_int && !p->digits) ? 0 : MOST_INT - p->n_int;
    for (int sign = p->negative; sign <= (p->negative || !p->n_int); sign++)
        for (int more = p->n_int ? 0 : 1; more <= most; more++)
            for (int f = first_f; f <= r->decimals; f++) {
                int n = sign + p->n_int + more + (f ? 1 + f : 0);
                int64_t m = n < best ? least(r, p, sign, more, f) : -1;
                if (m >= 0)
                    best = number_write(sign ? -m : m, f, out);
            }
    return best;
}

bool number_any(const struct number_range *r)
{
    return meets(r, false, 0, CAP) || meets(r, true, 1, CAP);
}

int64_t number_limit(int decimals)
{
    int64_t most = NUMBER_UNITS / power(decimals);
    return most < NUMBER_LIMIT ? most : NUMBER_LIMIT;
}

int64_t number_multiple(int64_t a, int64_t b)
{
    int64_t p = times(a / divisor(a, b), b);
    return p <= NUMBER_UNITS ? p : 0;
}

int64_t number_step_units(int64_t scaled, int from, int to)
{
    if (from > to)
        return scaled / divisor(scaled, power(from - to));
    int64_t p = times(scaled, power(to - from));
    return p <= NUMBER_UNITS ? p : 0;
}

bool number_decimal(double v, int64_t *scaled, int *decimals)
{
    if (!(fabs(v) <= (double)NUMBER_LIMIT))
        return false;
    for (int d = 0; d <= NUMBER_DECIMALS; d++) {
        double unit = (double)power(d);
        if (fabs(v) * unit > (double)NUMBER_UNITS)
            return false;
        int64_t m = llround(v * unit);
        if ((double)m / unit == v) {
            *scaled = m;
            *decimals = d;
            return true;
        }
    }
    return false;
}

int64_t number_rescale(int64_t scaled, int from, int to, bool up)
{
    if (to >= from)
        return scaled * power(to - from);
    return divide(scaled, power(from - to), up);
}
