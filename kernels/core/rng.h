/*
 * rng: counter-based random numbers. A draw is a pure function of seed, request id, step and index.
 * So results do not depend on batching, threads, restarts or the backend. The mixer is the
 * finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
 */
#ifndef MAS_RNG_H
#define MAS_RNG_H

#include <stdint.h>

#ifdef __CUDACC__
#define RNG_FN static inline __host__ __device__ /* a kernel draws the same numbers as the host */
#else
#define RNG_FN static inline
#endif

RNG_FN uint64_t rng_mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* The key of one sampling step. */
RNG_FN uint64_t rng_key(uint64_t seed, uint64_t request, uint64_t step)
{
    return rng_mix(rng_mix(rng_mix(seed) ^ request) ^ step);
}

RNG_FN uint64_t rng_u64(uint64_t key, uint64_t index)
{
    return rng_mix(key ^ rng_mix(index));
}

/* Uniform in (0, 1), never 0 or 1: (k + 0.5) / 2^23 for a 23-bit k, exact in f32. With 24 bits, f32
 * would round k + 0.5, and the largest k to 1. */
RNG_FN float rng_uniform(uint64_t key, uint64_t index)
{
    return ((float)(rng_u64(key, index) >> 41) + 0.5f) * 0x1p-23f;
}

/* Uniform integer in [0, n), n > 0 (multiply-shift; bias below 2^-32). */
RNG_FN uint32_t rng_below(uint64_t key, uint64_t index, uint32_t n)
{
    return (uint32_t)((rng_u64(key, index) >> 32) * (uint64_t)n >> 32);
}

#endif
