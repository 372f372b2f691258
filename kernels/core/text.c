#include "text.h"

#include <string.h>

#define LOOK 4096 /* bytes that tell the encoding */

static bool begins(const char *s, size_t n, const char *mark, size_t len)
{
    return n >= len && !memcmp(s, mark, len);
}

/* Share of NUL bytes at positions k mod 4 of the first bytes, in percent. */
static void nul_shares(const char *s, size_t n, int share[4])
{
    size_t nul[4] = {0};
    n = (n < LOOK ? n : LOOK) & ~(size_t)3;
    for (size_t i = 0; i < n; i++)
        nul[i % 4] += s[i] == 0;
    for (int k = 0; k < 4; k++)
        share[k] = n ? (int)(nul[k] * 400 / n) : 0;
}

/* The high bytes of Latin text are zeros. Half of them suffice, so that the text may hold other
 * characters too. */
static bool is_wide(const int share[4], int low, int step)
{
    for (int k = 0; k < 4; k++)
        if (k % step == low ? share[k] > 5 : share[k] < 50)
            return false;
    return true;
}

const char *text_wide(const char *s, size_t n, bool marked)
{
    int share[4];
    if (begins(s, n, "\xff\xfe\0\0", 4))
        return "UTF-32LE";
    if (begins(s, n, "\0\0\xfe\xff", 4))
        return "UTF-32BE";
    if (begins(s, n, "\xff\xfe", 2))
        return "UTF-16LE";
    if (begins(s, n, "\xfe\xff", 2))
        return "UTF-16BE";
    if (marked)
        return NULL;
    if (n == 2 && !s[0] != !s[1]) /* one character */
        return s[0] ? "UTF-16LE" : "UTF-16BE";
    nul_shares(s, n, share);
    return is_wide(share, 0, 4)   ? "UTF-32LE"
           : is_wide(share, 3, 4) ? "UTF-32BE"
           : is_wide(share, 0, 2) ? "UTF-16LE"
           : is_wide(share, 1, 2) ? "UTF-16BE"
                                  : NULL;
}

size_t text_mark(const char *s, size_t n)
{
    return begins(s, n, "\xef\xbb\xbf", 3) ? 3 : 0;
}

int text_check(const char *s, size_t n, const char *name, int code, struct err *e)
{
    const char *wide = text_wide(s, n, false), *nul = n ? memchr(s, 0, n) : NULL;
    if (wide) {
        err_set(e, code, "%s is %s text, UTF-8 is needed; convert it, as with iconv -f %s -t UTF-8",
                name, wide, wide);
        return code;
    }
    if (nul) {
        err_set(e, code,
                "%s has a NUL byte at %zu of %zu, which no text has; remove it, or convert the "
                "file to UTF-8",
                name, (size_t)(nul - s), n);
        return code;
    }
    return 0;
}

int text_clean(struct str *s, const char *name, int code, struct err *e)
{
    TRY(text_check(s->s, s->len, name, code, e));
    size_t to = 0, n = s->len;
    if (!n || s->failed)
        return str_ok(s, name, e);
    for (size_t i = text_mark(s->s, n); i < n; i++) {
        char c = s->s[i];
        if (c == '\r') {
            i += i + 1 < n && s->s[i + 1] == '\n';
            c = '\n';
        }
        s->s[to++] = c;
    }
    s->s[to] = 0;
    s->len = to;
    return 0;
}
