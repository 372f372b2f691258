/*
 * vnni512: the two products of AVX-512 VNNI with a factor from memory that is the same in all
 * lanes, and two fences. Beside amx_tile.h this is the only assembly for this processor. Each
 * product has its twin in plain C, which AddressSanitizer can check.
 *
 * Reason: one instruction with a broadcast operand does both, and compilers do not form it from the
 * intrinsics. As two instructions, each product takes a register for its factor, and the sums of
 * eight rows no longer fit. Included by cpu_kernel_avx512.c and cpu_kernel_amx.c.
 */
#ifndef MAS_VNNI512_H
#define MAS_VNNI512_H

#include <immintrin.h>
#include <string.h>

/* The four bytes at p in every lane. */
static inline __m512i vnni_spread(const void *p)
{
    int32_t v;
    memcpy(&v, p, sizeof v);
    return _mm512_set1_epi32(v);
}

/* sum + the products of four unsigned bytes of w with the four signed ones at p, in each lane. */
static inline __attribute__((always_inline)) __m512i vnni_dot4(__m512i sum, __m512i w,
                                                               const void *p)
{
#if defined(__SANITIZE_ADDRESS__)
    return _mm512_dpbusd_epi32(sum, w, vnni_spread(p));
#else
    const char(*four)[4] = p;
    __asm__("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(w), "m"(*four));
    return sum;
#endif
}

/* sum + the products of two int16 of w with those at p, in each lane. */
static inline __attribute__((always_inline)) __m512i vnni_dot2(__m512i sum, __m512i w,
                                                               const void *p)
{
#if defined(__SANITIZE_ADDRESS__)
    return _mm512_dpwssd_epi32(sum, w, vnni_spread(p));
#else
    const char(*four)[4] = p;
    __asm__("vpdpwssd %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(w), "m"(*four));
    return sum;
#endif
}

/* Returns v unchanged; the compiler cannot see through it. So additions after the fence stay after
 * the additions before it. Without it the compiler regroups sums, adds late, and keeps the terms in
 * memory until then. */
static inline __attribute__((always_inline)) __m512i vnni_fence(__m512i v)
{
    __asm__("" : "+v"(v));
    return v;
}

/* Returns p unchanged; the compiler cannot see through it. So one register addresses all arrays of
 * a row. Without it the compiler makes a pointer of each array of each row, and keeps them in
 * memory. */
static inline __attribute__((always_inline)) const char *vnni_row(const char *p)
{
    __asm__("" : "+r"(p));
    return p;
}

#endif
