#include "pretoken.h"

#include <stdbool.h>

#include "str.h"
#include "unicode.h"

struct mark {   /* one character of the text */
    size_t len; /* bytes; 0 = the end */
    enum unicode_class class;
    uint32_t cp; /* 0xffffffff for an invalid byte */
};

static struct mark mark_at(const char *s, size_t n, size_t at)
{
    if (at >= n)
        return (struct mark){.len = 0, .class = UNICODE_OTHER, .cp = 0xffffffff};
    unsigned char c = (unsigned char)s[at];
    if ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') /* most of the text: no table needed */
        return (struct mark){.len = 1, .class = UNICODE_LETTER, .cp = c};
    uint32_t cp;
    int len = utf8_decode(s + at, n - at, &cp);
    if (len == 0)
        return (struct mark){.len = 1, .class = UNICODE_OTHER, .cp = 0xffffffff};
    return (struct mark){.len = (size_t)len, .class = unicode_class(cp), .cp = cp};
}

/* End of the run of characters of one class that begins at `at`; at most `most` characters. */
static size_t run_end(const char *s, size_t n, size_t at, enum unicode_class class, size_t most)
{
    for (; most > 0; most--) {
        struct mark m = mark_at(s, n, at);
        if (m.len == 0 || m.class != class)
            break;
        at += m.len;
    }
    return at;
}

static uint32_t lower(uint32_t cp)
{
    if (cp >= 'A' && cp <= 'Z')
        return cp + 0x20;
    if (cp == 0x17f) /* LONG S: the only other character that folds to a letter of a contraction */
        return 's';
    return cp;
}

/* (?i:'s|'t|'re|'ve|'m|'ll|'d) at the apostrophe s[0]: bytes of the whole match, or 0. */
static size_t contraction(const char *s, size_t n)
{
    struct mark a = mark_at(s, n, 1);
    uint32_t c = a.len ? lower(a.cp) : 0;
    if (c == 's' || c == 't' || c == 'm' || c == 'd')
        return 1 + a.len;
    if (c == 'r' || c == 'v' || c == 'l') {
        struct mark b = mark_at(s, n, 1 + a.len);
        if (b.len && lower(b.cp) == (c == 'l' ? 'l' : 'e'))
            return 1 + a.len + b.len;
    }
    return 0;
}

/* \s*[\r\n]+|\s+(?!\S)|\s+ on a text that begins with white space. */
static size_t white(const char *s, size_t n)
{
    size_t at = 0, last = 0, line_end = 0; /* last: start of the run's last character */
    for (;;) {
        struct mark m = mark_at(s, n, at);
        if (m.len == 0 || m.class != UNICODE_SPACE)
            break;
        last = at;
        at += m.len;
        if (m.cp == '\r' || m.cp == '\n')
            line_end = at;
    }
    if (line_end)
        return line_end;
    /* The last white space belongs to the next piece, unless the text ends or it is the only
     * one. */
    return at == n || last == 0 ? at : last;
}

size_t pretoken_llama3(const char *s, size_t n)
{
    struct mark first = mark_at(s, n, 0);
    if (first.class == UNICODE_LETTER)
        return run_end(s, n, first.len, UNICODE_LETTER, SIZE_MAX);
    if (first.class == UNICODE_NUMBER)
        return run_end(s, n, first.len, UNICODE_NUMBER, 2);
    if (first.cp == '\'') {
        size_t len = contraction(s, n);
        if (len)
            return len;
    }
    struct mark next = mark_at(s, n, first.len);
    if (next.class == UNICODE_LETTER && first.cp != '\r' && first.cp != '\n')
        return run_end(s, n, first.len, UNICODE_LETTER, SIZE_MAX);
    bool led = first.cp == ' ' && next.len && next.class == UNICODE_OTHER;
    if (first.class == UNICODE_OTHER || led) {
        size_t at = run_end(s, n, first.len, UNICODE_OTHER, SIZE_MAX);
        while (at < n && (s[at] == '\r' || s[at] == '\n'))
            at++;
        return at;
    }
    return white(s, n);
}
