#include "escape.h"

#include <stdio.h>
#include <string.h>

/* True for characters that draw nothing or change the direction or shape of the following ones.
 * Unicode 15: general categories Cc, Cf, Zl, Zp and the noncharacters, as ranges that include their
 * neighbours. */
static bool escape_unsafe(uint32_t cp)
{
    return cp < 0x20 || (cp >= 0x7f && cp < 0xa0) || cp == 0xad || (cp >= 0x600 && cp <= 0x605) ||
           cp == 0x61c || cp == 0x6dd || cp == 0x70f || cp == 0x180e ||
           (cp >= 0x200b && cp <= 0x200f) || (cp >= 0x2028 && cp <= 0x202e) ||
           (cp >= 0x2060 && cp <= 0x206f) || (cp >= 0xe000 && cp <= 0xf8ff) || cp == 0xfeff ||
           (cp >= 0xfff0 && cp <= 0xfffb) || (cp & 0xfffe) == 0xfffe || cp >= 0xe0000;
}

/* Writes one character of s[0..n) escaped, at most 16 bytes; returns its length in s. */
static size_t escape_one(const char *s, size_t n, char out[20], size_t *written)
{
    uint32_t cp;
    int k = utf8_decode(s, n, &cp);
    if (k > 0 && cp == '\\') {
        memcpy(out, "\\\\", 2);
        *written = 2;
    } else if (k > 0 && !escape_unsafe(cp)) {
        memcpy(out, s, (size_t)k);
        *written = (size_t)k;
    } else {
        if (k == 0)
            k = 1;
        for (int i = 0; i < k; i++)
            snprintf(out + 4 * i, 5, "\\x%02x", (unsigned char)s[i]);
        *written = 4 * (size_t)k;
    }
    return (size_t)k;
}

void escape_add(struct str *out, const char *s, size_t len, size_t max_bytes)
{
    size_t i = 0;
    while (i < len && i < max_bytes) {
        char text[20];
        size_t n;
        i += escape_one(s + i, len - i, text, &n);
        str_add(out, text, n);
    }
    if (i < len)
        str_adds(out, "...");
}

const char *escape_name(char buf[ESCAPE_NAME], const char *s, size_t len)
{
    size_t used = 0;
    for (size_t i = 0; i < len;) {
        char text[20];
        size_t n, k = escape_one(s + i, len - i, text, &n);
        if (used + n > ESCAPE_NAME - 4) {
            memcpy(buf + used, "...", 3);
            used += 3;
            break;
        }
        memcpy(buf + used, text, n);
        used += n;
        i += k;
    }
    buf[used] = 0;
    return buf;
}
