#include "jscan.h"

#include <string.h>
#include <strings.h>

#include "mem.h"
#include "str.h"

void jscan_set(struct jscan *j, const char *s, size_t n)
{
    j->s = s;
    j->n = n;
    j->at = 0;
    j->first = true;
    j->object = false;
}

void jscan_free(struct jscan *j)
{
    mem_free(j->level);
    *j = (struct jscan){.n = 0};
}

static bool jscan_in(char c, const char *set)
{
    return c && strchr(set, c); /* strchr finds the NUL at the end of the set too */
}

static void jscan_space(struct jscan *j)
{
    while (j->at < j->n && jscan_in(j->s[j->at], " \t\r\n"))
        j->at++;
}

/* The text at the current position, for a message. */
static int jscan_fail(const struct jscan *j, const char *want, struct err *e)
{
    if (j->at >= j->n)
        FAIL(e, ERR_DATA, "bad JSON at column %zu: the text ends where %s was expected", j->at + 1,
             want);
    unsigned char c = (unsigned char)j->s[j->at];
    if (!c)
        FAIL(e, ERR_DATA, "bad JSON at column %zu: a NUL byte where %s was expected", j->at + 1,
             want);
    if (c >= 0x80)
        FAIL(e, ERR_DATA, "bad JSON at column %zu: byte 0x%02x where %s was expected", j->at + 1, c,
             want);
    FAIL(e, ERR_DATA, "bad JSON at column %zu: '%c' where %s was expected", j->at + 1, c, want);
}

static int jscan_char(struct jscan *j, char c, const char *want, struct err *e)
{
    jscan_space(j);
    if (j->at >= j->n || j->s[j->at] != c)
        return jscan_fail(j, want, e);
    j->at++;
    return 0;
}

/* Moves from the opening quote to the byte after the closing one. */
static int jscan_string(struct jscan *j, struct err *e)
{
    size_t begin = j->at++;
    while (j->at < j->n && j->s[j->at] != '"')
        j->at += j->s[j->at] == '\\' ? 2 : 1;
    if (j->at >= j->n) {
        j->at = j->n;
        FAIL(e, ERR_DATA, "bad JSON at column %zu: the string that begins there does not end",
             begin + 1);
    }
    j->at++;
    return 0;
}

/* A number, or one of the words that programs write where JSON has no number. */
static bool jscan_number(const char *s, size_t n)
{
    static const char *const words[] = {"nan", "inf", "infinity"};
    size_t i = n && (s[0] == '-' || s[0] == '+'), digits = 0;
    for (size_t w = 0; w < 3; w++)
        if (n - i == strlen(words[w]) && !strncasecmp(s + i, words[w], n - i))
            return true;
    for (; i < n && s[i] >= '0' && s[i] <= '9'; i++)
        digits++;
    if (i < n && s[i] == '.')
        for (i++; i < n && s[i] >= '0' && s[i] <= '9'; i++)
            digits++;
    if (!digits)
        return false;
    if (i < n && (s[i] == 'e' || s[i] == 'E')) {
        i++;
        i += i < n && (s[i] == '-' || s[i] == '+');
        if (i == n)
            return false;
        while (i < n && s[i] >= '0' && s[i] <= '9')
            i++;
    }
    return i == n;
}

static int jscan_word(struct jscan *j, struct err *e)
{
    static const char *const words[] = {"true", "false", "null"};
    const char *s = j->s + j->at;
    size_t n = 0;
    while (j->at + n < j->n && !jscan_in(s[n], " \t\r\n,:]}[{\"") && s[n])
        n++;
    if (!n)
        return jscan_fail(j, "a value", e);
    bool known = jscan_number(s, n);
    for (size_t w = 0; w < 3; w++)
        known |= n == strlen(words[w]) && !memcmp(s, words[w], n);
    if (!known)
        FAIL(e, ERR_DATA, "bad JSON at column %zu: '%.*s' is no value", j->at + 1,
             (int)utf8_complete(s, n < 20 ? n : 20), s);
    j->at += n;
    return 0;
}

static int jscan_push(struct jscan *j, size_t depth, bool object, struct err *e)
{
    size_t byte = depth / 8;
    TRY(mem_grow(&j->level, &j->cap, byte + 1, 1, "levels of JSON", e));
    unsigned char bit = (unsigned char)(1u << (depth % 8));
    j->level[byte] = (unsigned char)((j->level[byte] & ~bit) | (object ? bit : 0));
    return 0;
}

static bool jscan_is_object(const struct jscan *j, size_t depth)
{
    return j->level[depth / 8] >> (depth % 8) & 1;
}

static int jscan_name(struct jscan *j, struct err *e)
{
    jscan_space(j);
    if (j->at >= j->n || j->s[j->at] != '"')
        return jscan_fail(j, "a key in quotes", e);
    TRY(jscan_string(j, e));
    return jscan_char(j, ':', "':'", e);
}

/* After an opening bracket: closes an empty bracket at once. *open: a value follows. */
static int jscan_enter(struct jscan *j, bool object, bool *open, struct err *e)
{
    jscan_space(j);
    *open = !(j->at < j->n && j->s[j->at] == (object ? '}' : ']'));
    if (!*open) {
        j->at++;
        return 0;
    }
    return object ? jscan_name(j, e) : 0;
}

/* After a value in a bracket: a comma and then a value, or the end of the bracket. */
static int jscan_after(struct jscan *j, bool object, bool *more, struct err *e)
{
    jscan_space(j);
    *more = j->at < j->n && j->s[j->at] == ',';
    if (*more) {
        j->at++;
        return object ? jscan_name(j, e) : 0;
    }
    return jscan_char(j, object ? '}' : ']', object ? "',' or '}'" : "',' or ']'", e);
}

/* Passes one value of any depth. */
static int jscan_value(struct jscan *j, struct err *e)
{
    size_t depth = 0;
    for (;;) {
        bool more = false;
        jscan_space(j);
        char c = j->at < j->n ? j->s[j->at] : 0;
        if (c == '{' || c == '[') {
            j->at++;
            TRY(jscan_enter(j, c == '{', &more, e));
            if (more) {
                TRY(jscan_push(j, depth++, c == '{', e));
                continue;
            }
        } else if (c == '"') {
            TRY(jscan_string(j, e));
        } else {
            TRY(jscan_word(j, e));
        }
        for (; depth && !more; depth -= !more)
            TRY(jscan_after(j, jscan_is_object(j, depth - 1), &more, e));
        if (!more)
            return 0;
    }
}

int jscan_open(struct jscan *j, char bracket, struct err *e)
{
    TRY(jscan_char(j, bracket, bracket == '{' ? "an object" : "an array", e));
    j->object = bracket == '{';
    j->first = true;
    return 0;
}

int jscan_next(struct jscan *j, struct jscan_item *out, struct err *e)
{
    struct jscan_item it = {.key = NULL};
    jscan_space(j);
    bool closed = j->at < j->n && j->s[j->at] == (j->object ? '}' : ']');
    if (closed) {
        j->at++;
        return 0;
    }
    if (!j->first)
        TRY(jscan_char(j, ',', j->object ? "',' or '}'" : "',' or ']'", e));
    j->first = false;
    if (j->object) {
        jscan_space(j);
        size_t begin = j->at;
        TRY(jscan_name(j, e));
        it.key = j->s + begin + 1;
        const char *quote = j->s + begin + 1;
        while (*quote != '"')
            quote += *quote == '\\' ? 2 : 1;
        it.key_len = (size_t)(quote - it.key);
    }
    jscan_space(j);
    size_t begin = j->at;
    TRY(jscan_value(j, e));
    it.value = j->s + begin;
    it.n = j->at - begin;
    *out = it;
    return 1;
}

int jscan_end(struct jscan *j, struct err *e)
{
    jscan_space(j);
    return j->at < j->n ? jscan_fail(j, "the end", e) : 0;
}

bool jscan_key(const struct jscan_item *it, const char *name)
{
    return it->key && it->key_len == strlen(name) && !memcmp(it->key, name, it->key_len);
}
