/*
 * quoted: the bytes of one JSON string as a small automaton.
 *
 * Every string that it accepts parses in every JSON reader:
 *   - valid UTF-8 without control characters (below 0x20, and DEL)
 *   - the escapes \" \\ \n \t \r \uXXXX, surrogates only as a pair
 *   - never \u0000: C strings and jansson refuse it
 * A character is a code point, an escape sequence, or the two escapes of a surrogate pair. UTF-8
 * ranges: The Unicode Standard 15, table 3-7.
 */
#ifndef MAS_QUOTED_H
#define MAS_QUOTED_H

#include <stdbool.h>

enum quoted {
    QUOTED_OPEN,   /* before the opening quote */
    QUOTED_BODY,   /* between characters */
    QUOTED_ESCAPE, /* after a backslash */
    /* \u: the number of the next digit, and the class of the digits before it. Classes: all zero
     * (Z), "d" (D), a high surrogate (H), anything else (N). */
    QUOTED_U1,
    QUOTED_U2Z,
    QUOTED_U2D,
    QUOTED_U2N,
    QUOTED_U3Z,
    QUOTED_U3H,
    QUOTED_U3N,
    QUOTED_U4Z,
    QUOTED_U4H,
    QUOTED_U4N,
    QUOTED_PAIR,
    QUOTED_PAIR_U, /* after a high surrogate: backslash, then u, then dc00..dfff */
    QUOTED_L1,
    QUOTED_L2,
    QUOTED_L3,
    QUOTED_L4,
    /* UTF-8: number of missing continuation bytes. The first one has a narrower range after e0, ed,
     * f0, f4. */
    QUOTED_C1,
    QUOTED_C2,
    QUOTED_C2E0,
    QUOTED_C2ED,
    QUOTED_C3,
    QUOTED_C3F0,
    QUOTED_C3F4,
    QUOTED_END, /* after the closing quote; its value is the number of states that read bytes */
    QUOTED_BAD, /* not a string */
};

/* The state after byte b. A character begins when BODY is left for a state other than END. It is
 * complete when BODY is reached from any state but OPEN. */
enum quoted quoted_step(enum quoted q, unsigned char b);
/* The first byte of the shortest way to the end of the string. With `more`, a character comes
 * first: '.', when q is between characters. q is not END. */
unsigned char quoted_close(enum quoted q, bool more);

#endif
