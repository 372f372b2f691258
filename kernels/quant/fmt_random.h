/*
 * fmt_random: random numbers in a format's blocks, for synthetic models and kernel benchmarks. Most
 * formats have a generator that draws blocks without an encoder. The others repeat some hundred
 * blocks of encoded uniform numbers in random order.
 *
 * Block k of the endless row named by `key` is a pure function of (format, key, k, std). So any
 * part can be made alone, in any order, by any thread. Over many blocks the decoded numbers have
 * mean 0; formats with lopsided quants get random signs of their scales. Their standard deviation
 * is std, within 4 % for std in 3e-4 .. 100: a scale is an f16, subnormal for the smallest. They
 * are uniform for the formats with one scale per block, a mixture of uniforms for the K formats.
 * For the IQ formats they are entries of the code book.
 */
#ifndef MAS_FMT_RANDOM_H
#define MAS_FMT_RANDOM_H

#include "fmt.h"

/* Writes blocks [first, first + n) into out (n * block_bytes). */
void fmt_random(enum fmt f, uint64_t key, int64_t first, int64_t n, float std, void *out);

#endif
