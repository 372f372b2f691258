/*
 * packed_sum: a checksum of 64 bits that finds damage of a file at the speed of memory, with eight
 * independent chains of multiplications. It is no protection against forgery.
 */
#ifndef MAS_PACKED_SUM_H
#define MAS_PACKED_SUM_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define SUM_LANES 8 /* a multiplication has a latency of 3 to 4 cycles */

struct packed_sum {
    uint64_t h[SUM_LANES];
};

/* A bijection. */
static inline uint64_t sum_mix(uint64_t x)
{
    x *= 0x9e3779b97f4a7c15u; /* odd: 2^64 / golden ratio */
    return x ^ x >> 32;
}

static inline void sum_init(struct packed_sum *s)
{
    for (int k = 0; k < SUM_LANES; k++)
        s->h[k] = (uint64_t)k + 1;
}

/* n: a multiple of 64. For a given word, a step is a bijection of the state. For a given state, it
 * is one of the word. So one changed word always changes the sum. */
static inline void sum_add(struct packed_sum *s, const unsigned char *p, size_t n)
{
    struct packed_sum t = *s;
    for (size_t at = 0; at < n; at += sizeof t.h) {
        uint64_t w[SUM_LANES];
        memcpy(w, p + at, sizeof w);
        for (int k = 0; k < SUM_LANES; k++)
            t.h[k] = sum_mix(t.h[k] ^ w[k]);
    }
    *s = t;
}

static inline uint64_t sum_end(const struct packed_sum *s)
{
    uint64_t all = 0;
    for (int k = 0; k < SUM_LANES; k++)
        all = sum_mix(all ^ s->h[k]);
    return all;
}

static inline uint64_t sum_of(const unsigned char *p, size_t n)
{
    struct packed_sum s;
    unsigned char last[64] = {0};
    const size_t whole = n / 64 * 64;
    sum_init(&s);
    sum_add(&s, p, whole);
    memcpy(last, p + whole, n - whole);
    sum_add(&s, last, sizeof last);
    return sum_end(&s);
}

#endif
