/*
 * unicode: the classes of code points that pre-tokenizers of language models distinguish. They come
 * from the Unicode character database, version 15 (unicode_tables.h). Pure functions.
 */
#ifndef MAS_UNICODE_H
#define MAS_UNICODE_H

#include <stdint.h>

/* One bit each, so that a set of classes is a sum. */
enum unicode_class {
    UNICODE_OTHER = 0,         /* control, format, unassigned, private */
    UNICODE_UPPER = 1 << 0,    /* \p{Lu} */
    UNICODE_LOWER = 1 << 1,    /* \p{Ll} */
    UNICODE_TITLE = 1 << 2,    /* \p{Lt} */
    UNICODE_MODIFIER = 1 << 3, /* \p{Lm} */
    UNICODE_UNCASED = 1 << 4,  /* \p{Lo} */
    UNICODE_MARK = 1 << 5,     /* \p{M} */
    UNICODE_NUMBER = 1 << 6,   /* \p{N} */
    UNICODE_PUNCT = 1 << 7,    /* \p{P} */
    UNICODE_SYMBOL = 1 << 8,   /* \p{S} */
    UNICODE_SPACE = 1 << 9,    /* property White_Space: \s */
    UNICODE_LETTER = UNICODE_UPPER | UNICODE_LOWER | UNICODE_TITLE | UNICODE_MODIFIER |
                     UNICODE_UNCASED, /* \p{L} */
};

enum unicode_class unicode_class(uint32_t cp); /* any value; beyond U+10FFFF is UNICODE_OTHER */

#endif
