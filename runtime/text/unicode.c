#include "unicode.h"

#include <stddef.h>

#define ALTERNATING 0xffff /* UNICODE_UPPER, UNICODE_LOWER, UNICODE_UPPER, .. */

enum {
    U = UNICODE_UPPER,
    W = UNICODE_LOWER,
    T = UNICODE_TITLE,
    D = UNICODE_MODIFIER,
    O = UNICODE_UNCASED,
    M = UNICODE_MARK,
    N = UNICODE_NUMBER,
    P = UNICODE_PUNCT,
    Y = UNICODE_SYMBOL,
    S = UNICODE_SPACE,
    A = ALTERNATING,
};

static const struct {
    uint32_t first, last;
    uint16_t class;
} ranges[] = {
#include "unicode_tables.h"
};

enum unicode_class unicode_class(uint32_t cp)
{
    size_t lo = 0, hi = sizeof ranges / sizeof ranges[0];
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (ranges[mid].last < cp)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == sizeof ranges / sizeof ranges[0] || cp < ranges[lo].first)
        return UNICODE_OTHER;
    if (ranges[lo].class == ALTERNATING)
        return (cp - ranges[lo].first) % 2 ? UNICODE_LOWER : UNICODE_UPPER;
    return (enum unicode_class)ranges[lo].class;
}
