/*
 * number: the texts of numbers in a range, decided byte by byte.
 *
 * A number is JSON text with no exponent, no leading zeros, never "-0", and at most `decimals`
 * digits after the point. Bounds are integers in units of 10^-decimals. So exact integer arithmetic
 * decides whether a prefix can still become a number of the range. A range may hold only the
 * multiples of a step.
 */
#ifndef MAS_NUMBER_H
#define MAS_NUMBER_H

#include <stdbool.h>
#include <stdint.h>

#define NUMBER_DECIMALS 9 /* most digits after the point */
/* Largest magnitude of a number: below 2^53, so that every reader represents it exactly. */
#define NUMBER_LIMIT ((int64_t)1000000000000000)
/* Largest magnitude of a bound, in its units. */
#define NUMBER_UNITS ((int64_t)1000000000000000000)
#define NUMBER_TEXT 24 /* bytes of the longest text and its NUL */

struct number_range {
    int64_t lo, hi; /* units of 10^-decimals, inclusive, lo <= hi */
    uint8_t decimals;
    int64_t step; /* units; the range holds only multiples of it; 0 = 1 = every number */
};

struct number_prefix { /* the text written so far; all zero = nothing */
    uint64_t digits;   /* all digits read as one integer */
    uint8_t n_int, n_frac;
    bool negative, point;
};

/* Advances by one byte; false (p unchanged) when no number of the range begins so. */
bool number_step(const struct number_range *r, struct number_prefix *p, unsigned char b);
/* True when the prefix itself is a number of the range. */
bool number_complete(const struct number_range *r, const struct number_prefix *p);
/* Writes to out the shortest number of the range that begins with p, and its NUL. Among equals it
 * takes the least magnitude, then the non-negative one. Returns its length in bytes. p must be
 * reachable by number_step. */
int number_shortest(const struct number_range *r, const struct number_prefix *p,
                    char out[NUMBER_TEXT]);
/* Length of p in bytes. */
int number_length(const struct number_prefix *p);

/* True when the range holds a number. */
bool number_any(const struct number_range *r);
/* Largest magnitude of a number with this many digits after the point, in whole numbers; at most
 * NUMBER_LIMIT. */
int64_t number_limit(int decimals);
/* The step, in units of 10^-to, that keeps to the multiples of scaled / 10^from. 0 when it exceeds
 * NUMBER_UNITS. scaled > 0. */
int64_t number_step_units(int64_t scaled, int from, int to);
/* The least common multiple; 0 beyond NUMBER_UNITS. a, b > 0. */
int64_t number_multiple(int64_t a, int64_t b);

/* Finds the shortest decimal with at most NUMBER_DECIMALS digits after the point that reads back as
 * v: v = *scaled / 10^*decimals. false: there is none, or |v| > NUMBER_LIMIT, or v is a NaN. */
bool number_decimal(double v, int64_t *scaled, int *decimals);
/* Rounds scaled / 10^from to units of 10^-to, up or down. from, to in 0..NUMBER_DECIMALS. */
int64_t number_rescale(int64_t scaled, int from, int to, bool up);
/* Writes scaled / 10^decimals with exactly that many digits after the point; returns the length. */
int number_write(int64_t scaled, int decimals, char out[NUMBER_TEXT]);

#endif
