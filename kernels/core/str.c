#include "str.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"

static bool str_room(struct str *b, size_t n)
{
    if (b->failed)
        return false;
    size_t need;
    if (size_add(b->len, n, &need) && size_add(need, 1, &need)) {
        if (need <= b->cap)
            return true;
        size_t cap = b->cap ? b->cap : 64;
        while (cap < need && cap <= SIZE_MAX / 2)
            cap *= 2;
        char *p = cap < need ? NULL : mem_resize(b->cap ? b->s : NULL, cap, 1);
        if (p) {
            b->s = p;
            b->s[b->len] = 0;
            b->cap = cap;
            return true;
        }
    }
    b->failed = true;
    return false;
}

void str_free(struct str *b)
{
    if (b->cap)
        mem_free(b->s);
    *b = (struct str)STR_INIT;
}

void str_clear(struct str *b)
{
    b->len = 0;
    b->failed = false;
    if (b->cap)
        b->s[0] = 0;
}

void str_add(struct str *b, const void *bytes, size_t n)
{
    if (!n || !str_room(b, n))
        return;
    memcpy(b->s + b->len, bytes, n);
    b->len += n;
    b->s[b->len] = 0;
}

void str_adds(struct str *b, const char *s)
{
    str_add(b, s, strlen(s));
}

void str_addc(struct str *b, char c)
{
    str_add(b, &c, 1);
}

void str_addf(struct str *b, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0)
        b->failed = true;
    else if (str_room(b, (size_t)n)) {
        vsnprintf(b->s + b->len, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
}

void str_add_json(struct str *b, const char *s, size_t n)
{
    str_addc(b, '"');
    for (size_t i = 0; i < n;) {
        uint32_t cp;
        int k = utf8_decode(s + i, n - i, &cp);
        if (k == 0) {
            str_adds(b, "\\ufffd");
            i++;
            continue;
        }
        if (cp == '"' || cp == '\\') {
            str_addc(b, '\\');
            str_addc(b, (char)cp);
        } else if (cp == '\n') {
            str_adds(b, "\\n");
        } else if (cp == '\t') {
            str_adds(b, "\\t");
        } else if (cp == '\r') {
            str_adds(b, "\\r");
        } else if (cp < 0x20 || cp == 0x7f) {
            str_addf(b, "\\u%04x", cp);
        } else {
            str_add(b, s + i, (size_t)k);
        }
        i += (size_t)k;
    }
    str_addc(b, '"');
}

void str_add_number(struct str *b, double v, int digits)
{
    if (isfinite(v))
        str_addf(b, "%.*g", digits, v);
    else
        str_adds(b, "null");
}

char *str_take(struct str *b)
{
    if (!b->cap && !str_room(b, 0))
        return NULL;
    char *p = b->s;
    *b = (struct str)STR_INIT;
    return p;
}

int str_ok(const struct str *b, const char *what, struct err *e)
{
    return b->failed ? NOMEM(e, b->cap, what) : 0;
}

int utf8_decode(const char *str, size_t n, uint32_t *cp)
{
    const unsigned char *s = (const unsigned char *)str;
    if (s[0] < 0x80) {
        *cp = s[0];
        return 1;
    }
    int len = s[0] >= 0xc2 && s[0] <= 0xdf   ? 2
              : (s[0] & 0xf0) == 0xe0        ? 3
              : s[0] >= 0xf0 && s[0] <= 0xf4 ? 4
                                             : 0;
    if (!len || (size_t)len > n)
        return 0;
    uint32_t c = s[0] & (0xffu >> (len + 1));
    for (int i = 1; i < len; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (s[i] & 0x3fu);
    }
    if ((len == 3 && c < 0x800) || (len == 4 && c < 0x10000) || c > 0x10ffff ||
        (c >= 0xd800 && c <= 0xdfff))
        return 0;
    *cp = c;
    return len;
}

int utf8_encode(uint32_t cp, char out[4])
{
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    if (cp < 0x800) {
        out[0] = (char)(0xc0 | cp >> 6);
        out[1] = (char)(0x80 | (cp & 0x3f));
        return 2;
    }
    if (cp < 0x10000) {
        out[0] = (char)(0xe0 | cp >> 12);
        out[1] = (char)(0x80 | (cp >> 6 & 0x3f));
        out[2] = (char)(0x80 | (cp & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | cp >> 18);
    out[1] = (char)(0x80 | (cp >> 12 & 0x3f));
    out[2] = (char)(0x80 | (cp >> 6 & 0x3f));
    out[3] = (char)(0x80 | (cp & 0x3f));
    return 4;
}

/* Can the n < 4 bytes at s still grow into a valid character? */
static bool utf8_open(const unsigned char *s, size_t n)
{
    size_t len = s[0] >= 0xc2 && s[0] <= 0xdf   ? 2
                 : (s[0] & 0xf0) == 0xe0        ? 3
                 : s[0] >= 0xf0 && s[0] <= 0xf4 ? 4
                                                : 0;
    if (n >= len)
        return false;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return false;
    if (n >= 2) { /* the second byte already decides about overlong, surrogate and range */
        if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
            (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
            return false;
    }
    return true;
}

size_t utf8_complete(const char *s, size_t n)
{
    for (size_t back = 1; back <= 3 && back <= n; back++)
        if (((unsigned char)s[n - back] & 0xc0) != 0x80)
            return utf8_open((const unsigned char *)s + n - back, back) ? n - back : n;
    return n;
}

bool str_to_i64(const char *s, int64_t lo, int64_t hi, int64_t *out)
{
    if (!(*s == '-' || (*s >= '0' && *s <= '9')))
        return false;
    char *end;
    errno = 0;
    long long v = strtoll(s, &end, 10);
    if (errno || *end || v < lo || v > hi)
        return false;
    *out = v;
    return true;
}

bool str_to_f64(const char *s, double lo, double hi, double *out)
{
    if (!(*s == '-' || *s == '.' || (*s >= '0' && *s <= '9')) || strpbrk(s, "xXpP"))
        return false;
    char *end;
    errno = 0;
    double v = strtod(s, &end);
    if (errno == ERANGE && (v > 1 || v < -1))
        return false;
    if (*end || end == s || !(v >= lo && v <= hi))
        return false;
    *out = v;
    return true;
}

bool str_to_bytes(const char *s, uint64_t *out)
{
    static const struct {
        const char *suffix;
        double unit;
    } units[] = {{"", 1},
                 {"B", 1},
                 {"KB", 1e3},
                 {"MB", 1e6},
                 {"GB", 1e9},
                 {"TB", 1e12},
                 {"KiB", 1024.0},
                 {"MiB", 1048576.0},
                 {"GiB", 1073741824.0},
                 {"TiB", 1099511627776.0}};
    char num[32];
    size_t n = strspn(s, "0123456789.");
    if (n == 0 || n >= sizeof num)
        return false;
    memcpy(num, s, n);
    num[n] = 0;
    double v;
    if (!str_to_f64(num, 0, 1e18, &v))
        return false;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (!strcmp(s + n, units[i].suffix)) {
            if (v * units[i].unit > 9e18)
                return false;
            if (v > 0 && v * units[i].unit < 1)
                return false; /* less than a byte; 0 has a meaning of its own */
            *out = (uint64_t)llround(v * units[i].unit);
            return true;
        }
    return false;
}

int str_distance(const char *a, const char *b)
{
    size_t na = strnlen(a, 63), nb = strnlen(b, 63);
    int table[3][64];
    int *above = table[0], *last = table[1], *row = table[2]; /* rows i - 2, i - 1 and i */
    for (size_t j = 0; j <= nb; j++)
        last[j] = (int)j;
    for (size_t i = 1; i <= na; i++) {
        row[0] = (int)i;
        for (size_t j = 1; j <= nb; j++) {
            int best = last[j - 1] + (a[i - 1] != b[j - 1]);
            if (last[j] + 1 < best)
                best = last[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped && above[j - 2] + 1 < best)
                best = above[j - 2] + 1;
            row[j] = best;
        }
        int *free_row = above;
        above = last;
        last = row;
        row = free_row;
    }
    return last[nb];
}

void str_add_word(struct str *b, const char *word)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                "_./=,:@%+-";
    if (*word && strspn(word, plain) == strlen(word)) {
        str_adds(b, word);
        return;
    }
    str_addc(b, '\'');
    for (; *word; word++) {
        if (*word == '\'')
            str_adds(b, "'\\''");
        else
            str_addc(b, *word);
    }
    str_addc(b, '\'');
}
