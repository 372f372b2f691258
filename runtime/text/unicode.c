#include "unicode.h"

#include <stddef.h>

enum { L = UNICODE_LETTER, N = UNICODE_NUMBER, S = UNICODE_SPACE };

static const struct {
    uint32_t first, last;
    uint8_t class;
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
    return (enum unicode_class)ranges[lo].class;
}
