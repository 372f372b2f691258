#include "own.h"

#include <stdbool.h>
#include <string.h>

#include "jdoc.h"

struct own_scan {
    const char *s;
    size_t n, at;
    char open[JDOC_DEPTH]; /* '{' or '[', outermost first */
    int depth;
    bool key;      /* the next string is a key */
    size_t finish; /* end of the last finished value or begun container, 0 = none */
    /* end of the unfinished text value, after its last whole character; 0 = none */
    size_t cut;
};

static bool own_hex(const char *s, size_t n, unsigned *out)
{
    *out = 0;
    for (size_t i = 0; i < n; i++) {
        static const char digits[] = "0123456789abcdef";
        const char *d =
            s[i] ? strchr(digits, s[i] | ('A' <= s[i] && s[i] <= 'F' ? 0x20 : 0)) : NULL;
        if (!d)
            return false;
        *out = *out << 4 | (unsigned)(d - digits);
    }
    return true;
}

/* Length of the character, escape or pair of surrogates at s[0..n); 0 = it is not there as a
 * whole. */
static size_t own_char(const char *s, size_t n)
{
    unsigned unit = 0, low = 0;
    if (s[0] != '\\') {
        uint32_t cp;
        return (size_t)utf8_decode(s, n, &cp);
    }
    if (n < 2)
        return 0;
    if (s[1] != 'u')
        return 2;
    if (n < 6 || !own_hex(s + 2, 4, &unit))
        return 0;
    if (unit < 0xd800 || unit > 0xdbff)
        return 6;
    return n >= 12 && s[6] == '\\' && s[7] == 'u' && own_hex(s + 8, 4, &low) ? 12 : 0;
}

/* A string from its opening quote on. */
static void own_string(struct own_scan *o)
{
    size_t i = o->at + 1;
    for (size_t step; i < o->n && o->s[i] != '"'; i += step) {
        step = own_char(o->s + i, o->n - i);
        if (!step)
            break;
    }
    bool ended = i < o->n && o->s[i] == '"';
    if (!o->key && ended)
        o->finish = i + 1;
    else if (!o->key)
        o->cut = i;
    o->at = ended ? i + 1 : o->n;
}

/* A number, true, false or null. */
static void own_word(struct own_scan *o)
{
    size_t i = o->at;
    while (i < o->n && !strchr(" \t\r\n,]}", o->s[i]))
        i++;
    if (i < o->n && o->s[i])
        o->finish = i;
    o->at = i < o->n && o->s[i] ? i : o->n;
}

static int own_open(struct own_scan *o, struct err *e)
{
    char c = o->s[o->at++];
    if (o->depth == JDOC_DEPTH)
        FAIL(e, ERR_DATA, "JSON nested deeper than %d", JDOC_DEPTH);
    o->open[o->depth++] = c;
    o->key = c == '{';
    o->finish = o->at;
    return 0;
}

static int own_step(struct own_scan *o, struct err *e)
{
    switch (o->s[o->at]) {
    case '{':
    case '[':
        return own_open(o, e);
    case '}':
    case ']':
        o->depth -= o->depth > 0;
        o->finish = ++o->at;
        return 0;
    case '"':
        own_string(o);
        return 0;
    case ':':
    case ',':
        o->key = o->s[o->at++] == ',' && o->depth && o->open[o->depth - 1] == '{';
        return 0;
    case ' ':
    case '\t':
    case '\r':
    case '\n':
        o->at++;
        return 0;
    default:
        own_word(o);
        return 0;
    }
}

static void own_end(const struct own_scan *o, struct str *out)
{
    for (int i = o->depth; i-- > 0;)
        str_addc(out, o->open[i] == '{' ? '}' : ']');
}

int own_part(const char *s, size_t n_own, struct str *whole, struct str *cut, struct err *e)
{
    struct own_scan o = {.s = s, .n = n_own};
    while (o.at < o.n)
        TRY(own_step(&o, e));
    if (!o.finish)
        FAIL(e, ERR_DATA, "the reply was closed before anything was said");
    str_add(whole, s, o.finish);
    own_end(&o, whole);
    str_add(cut, s, o.cut ? o.cut : o.finish);
    if (o.cut)
        str_addc(cut, '"');
    own_end(&o, cut);
    TRY(str_ok(whole, "a reply", e));
    return str_ok(cut, "a reply", e);
}
