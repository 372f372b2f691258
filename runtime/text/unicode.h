/*
 * unicode: the classes of code points that pre-tokenisers of language models distinguish. They come
 * from the Unicode character database, version 15 (unicode_tables.h). Pure functions.
 */
#ifndef MAS_UNICODE_H
#define MAS_UNICODE_H

#include <stdint.h>

enum unicode_class {
    UNICODE_OTHER,  /* marks, punctuation, symbols, control, unassigned */
    UNICODE_LETTER, /* general category L*: \p{L} */
    UNICODE_NUMBER, /* general category N*: \p{N} */
    UNICODE_SPACE,  /* property White_Space: \s */
};

enum unicode_class unicode_class(uint32_t cp); /* any value; beyond U+10FFFF is UNICODE_OTHER */

#endif
