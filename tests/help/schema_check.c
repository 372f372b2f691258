#include "schema_check.h"

#include <arpa/inet.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NO(...) return snprintf(why, 256, __VA_ARGS__), false

/* Position of a schema: alone, or one of several that a value must fit. */
enum place { ALONE, JOINED };

static bool check(const json_t *root, const json_t *schema, const json_t *v, enum place place,
                  char why[256]);

static const json_t *get(const json_t *schema, const char *key)
{
    return json_object_get(schema, key);
}

static double number_or(const json_t *schema, const char *key, double otherwise)
{
    const json_t *v = get(schema, key);
    return v ? json_number_value(v) : otherwise;
}

/* ---- values --------------------------------------------------------------------------------- */

static bool equal(const json_t *a, const json_t *b) /* 1 and 1.0 are */
{
    const char *key;
    json_t *one;
    if (json_is_integer(a) && json_is_integer(b))
        return json_integer_value(a) == json_integer_value(b);
    if (json_is_number(a) || json_is_number(b))
        return json_is_number(a) && json_is_number(b) &&
               json_number_value(a) == json_number_value(b);
    if (json_typeof(a) != json_typeof(b))
        return false;
    if (json_is_array(a)) {
        size_t n = json_array_size(a), i = 0;
        while (n == json_array_size(b) && i < n &&
               equal(json_array_get(a, i), json_array_get(b, i)))
            i++;
        return i == n && n == json_array_size(b);
    }
    if (!json_is_object(a))
        return json_equal(a, b);
    if (json_object_size(a) != json_object_size(b))
        return false;
    json_object_foreach((json_t *)a, key, one)
    {
        const json_t *other = get(b, key);
        if (!other || !equal(one, other))
            return false;
    }
    return true;
}

static bool is_type(const json_t *v, const char *type)
{
    double x = json_number_value(v);
    return !strcmp(type, "object")    ? json_is_object(v)
           : !strcmp(type, "array")   ? json_is_array(v)
           : !strcmp(type, "string")  ? json_is_string(v)
           : !strcmp(type, "number")  ? json_is_number(v)
           : !strcmp(type, "integer") ? json_is_number(v) && x == floor(x)
           : !strcmp(type, "boolean") ? json_is_boolean(v)
                                      : !strcmp(type, "null") && json_is_null(v);
}

static bool check_type(const json_t *schema, const json_t *v, char why[256])
{
    const json_t *type = get(schema, "type");
    bool fits = !type || (json_is_string(type) && is_type(v, json_string_value(type)));
    for (size_t i = 0; i < json_array_size(type); i++)
        fits = fits || is_type(v, json_string_value(json_array_get(type, i)));
    if (!fits)
        NO("a value of another type");
    return true;
}

static bool check_listed(const json_t *schema, const json_t *v, char why[256])
{
    const json_t *one = get(schema, "const"), *set = get(schema, "enum");
    bool found = !set;
    if (one && !equal(one, v))
        NO("not the const");
    for (size_t i = 0; i < json_array_size(set); i++)
        found = found || equal(json_array_get(set, i), v);
    if (!found)
        NO("a value that is not in the enum");
    return true;
}

/* ---- objects and arrays --------------------------------------------------------------------- */

static bool check_object(const json_t *root, const json_t *schema, const json_t *v,
                         enum place place, char why[256])
{
    const json_t *properties = get(schema, "properties"), *required = get(schema, "required"),
                 *more = get(schema, "additionalProperties");
    const char *key;
    json_t *one;
    size_t n = json_object_size(v), last = 0;
    if (n < number_or(schema, "minProperties", 0) || n > number_or(schema, "maxProperties", 1e9))
        NO("%zu properties", n);
    for (size_t i = 0; i < json_array_size(required); i++)
        if (!get(v, json_string_value(json_array_get(required, i))))
            NO("no %s", json_string_value(json_array_get(required, i)));
    if (place == ALONE && !required && !get(schema, "maxProperties") &&
        n != json_object_size(properties))
        NO("%zu of %zu properties", n, json_object_size(properties));
    json_object_foreach((json_t *)v, key, one)
    {
        size_t at = 0;
        const json_t *own = get(properties, key), *sub = own ? own : more;
        if (sub && !check(root, sub, one, ALONE, why))
            return false;
        if (!own && place == ALONE)
            NO("%s is not declared", key);
        for (void *i = json_object_iter((json_t *)properties);
             own && strcmp(json_object_iter_key(i), key);
             i = json_object_iter_next((json_t *)properties, i))
            at++;
        if (own && at < last)
            NO("%s comes too late", key);
        last = own ? at : last;
    }
    return true;
}

static bool check_array(const json_t *root, const json_t *schema, const json_t *v, char why[256])
{
    const json_t *rest = get(schema, "items"), *first = get(schema, "prefixItems");
    size_t n = json_array_size(v);
    if (json_is_array(rest)) {
        first = rest;
        rest = get(schema, "additionalItems");
    }
    double min = number_or(schema, "minItems", 0), usual = min > 32 ? min : 32;
    if (n < min || n > number_or(schema, "maxItems", usual))
        NO("an array of %zu items", n);
    for (size_t i = 0; i < n; i++) {
        json_t *item = json_array_get(v, i);
        const json_t *own = i < json_array_size(first) ? json_array_get(first, i) : rest;
        if (own && !check(root, own, item, ALONE, why))
            return false;
        for (size_t j = 0; json_is_true(get(schema, "uniqueItems")) && j < i; j++)
            if (equal(item, json_array_get(v, j)))
                NO("items %zu and %zu are equal", j, i);
    }
    return true;
}

/* ---- numbers -------------------------------------------------------------------------------- */

static bool whole(double x)
{
    return fabs(x - nearbyint(x)) <= 1e-9 * fmax(1, fabs(x));
}

static bool check_number(const json_t *schema, const json_t *v, enum place place, char why[256])
{
    double x = json_number_value(v), step = number_or(schema, "multipleOf", 0);
    if (!(x >= number_or(schema, "minimum", -1e15) && x <= number_or(schema, "maximum", 1e15) &&
          x > number_or(schema, "exclusiveMinimum", -2e15) &&
          x < number_or(schema, "exclusiveMaximum", 2e15)))
        NO("%.17g is out of range", x);
    if (step > 0 && !whole(x / step))
        NO("%.17g is no multiple of %g", x, step);
    const json_t *decimals = get(schema, "x-decimals");
    bool usual = !decimals && place == ALONE && !step &&
                 whole(100 * number_or(schema, "minimum", 0)) &&
                 whole(100 * number_or(schema, "maximum", 0)) &&
                 whole(100 * number_or(schema, "exclusiveMinimum", 0)) &&
                 whole(100 * number_or(schema, "exclusiveMaximum", 0));
    if ((decimals || usual) && !whole(x * pow(10, number_or(schema, "x-decimals", 2))))
        NO("%.17g has too many digits", x);
    return true;
}

/* ---- strings -------------------------------------------------------------------------------- */

struct subject { /* a text as code points, and the reader of the expression */
    unsigned cp[4096];
    size_t n;
    const unsigned char *pattern; /* next byte of the expression */
};

static unsigned decode(const unsigned char **s)
{
    unsigned c = *(*s)++;
    int more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : c >= 0xc0 ? 1 : 0;
    c &= more ? 0x3fu >> more : 0x7f;
    while (more--)
        c = c << 6 | (*(*s)++ & 0x3fu);
    return c;
}

static bool word(unsigned c)
{
    return c == '_' || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* Reads one character or escape; *class is its letter for \d and the like, otherwise 0. */
static unsigned atom(const unsigned char **p, char *class)
{
    *class = 0;
    if (**p != '\\')
        return decode(p);
    ++*p;
    unsigned c = decode(p);
    if (strchr("dDwWsS", (int)c)) {
        *class = (char)c;
    } else if (c == 'x' || c == 'u') {
        char hex[5] = "";
        memcpy(hex, *p, c == 'x' ? 2 : 4);
        *p += strlen(hex);
        c = (unsigned)strtoul(hex, NULL, 16);
    } else {
        const char *from = "tnrfv", *at = strchr(from, (int)c);
        c = at ? (unsigned)"\t\n\r\f\v"[at - from] : c;
    }
    return c;
}

static bool in_class(char class, unsigned c)
{
    bool in = class == 'd' || class == 'D'   ? c >= '0' && c <= '9'
              : class == 'w' || class == 'W' ? word(c)
                                             : c == ' ' || (c >= 9 && c <= 13);
    return in == (class >= 'a');
}

static bool alternatives(struct subject *s, bool *at);

/* Matches one element at s->pattern. at[i] = a match has reached place i: replaced by the places
 * after the element. Leaves s->pattern after it. */
static void element(struct subject *s, bool *at)
{
    bool to[4097] = {false};
    const unsigned char *p = s->pattern;
    char class;
    if (*p == '^' || *p == '$') {
        for (size_t i = 0; i <= s->n; i++)
            to[i] = at[i] && i == (*p == '^' ? 0 : s->n);
        s->pattern++;
    } else if (*p == '(') {
        s->pattern += p[1] == '?' ? 3 : 1;
        alternatives(s, at);
        s->pattern++;
        return;
    } else if (*p == '[') {
        bool negated = p[1] == '^', hit[4096] = {false};
        for (p += 1 + negated; *p != ']';) {
            unsigned lo = atom(&p, &class), hi = lo;
            char none;
            if (!class && *p == '-' && p[1] != ']') {
                p++;
                hi = atom(&p, &none);
            }
            for (size_t i = 0; i < s->n; i++)
                hit[i] = hit[i] ||
                         (class ? in_class(class, s->cp[i]) : s->cp[i] >= lo && s->cp[i] <= hi);
        }
        for (size_t i = 0; i < s->n; i++)
            to[i + 1] = at[i] && hit[i] != negated;
        s->pattern = p + 1;
    } else {
        bool dot = *p == '.';
        unsigned c = atom(&p, &class);
        for (size_t i = 0; i < s->n; i++)
            to[i + 1] = at[i] && (dot     ? s->cp[i] != '\n'
                                  : class ? in_class(class, s->cp[i])
                                          : s->cp[i] == c);
        s->pattern = p;
    }
    memcpy(at, to, sizeof to);
}

/* Matches an element and its quantifier. */
static void repeated(struct subject *s, bool *at)
{
    const unsigned char *start = s->pattern, *end;
    bool out[4097] = {false}, now[4097];
    memcpy(now, at, sizeof now);
    element(s, now);
    end = s->pattern;
    long min = 1, max = 1;
    if (*end == '*' || *end == '+' || *end == '?') {
        min = *end == '+';
        max = *end == '?' ? 1 : 5000;
        end++;
    } else if (*end == '{') {
        char *rest;
        min = max = strtol((const char *)end + 1, &rest, 10);
        if (*rest == ',')
            max = rest[1] == '}' ? 5000 : strtol(rest + 1, &rest, 10);
        end = (const unsigned char *)strchr((const char *)end, '}') + 1;
    }
    memcpy(now, at, sizeof now);
    for (long k = 0; k <= max; k++) {
        bool fresh = false;
        for (size_t i = 0; i <= s->n && k >= min; i++) {
            fresh = fresh || (now[i] && !out[i]);
            out[i] = out[i] || now[i];
        }
        if (k >= min && !fresh)
            break;
        s->pattern = start;
        element(s, now);
    }
    s->pattern = end;
    memcpy(at, out, sizeof out);
}

static bool alternatives(struct subject *s, bool *at)
{
    bool out[4097] = {false}, now[4097], any = false;
    for (;;) {
        memcpy(now, at, sizeof now);
        while (*s->pattern && *s->pattern != '|' && *s->pattern != ')')
            repeated(s, now);
        for (size_t i = 0; i <= s->n; i++) {
            out[i] = out[i] || now[i];
            any = any || now[i];
        }
        if (*s->pattern != '|')
            break;
        s->pattern++;
    }
    memcpy(at, out, sizeof out);
    return any;
}

static bool date(const char *s)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int y, m, d, n = 0;
    if (strspn(s, "0123456789") != 4 || sscanf(s, "%4d-%2d-%2d%n", &y, &m, &d, &n) != 3 || n != 10)
        return false;
    bool leap = y % 4 == 0 && (y % 100 || y % 400 == 0);
    return y && m >= 1 && m <= 12 && d >= 1 && d <= days[m - 1] + (leap && m == 2);
}

static bool clock_time(const char *s)
{
    int h, m, sec, zh = 0, zm = 0, n = 0, k = 0;
    char sign;
    if (sscanf(s, "%2d:%2d:%2d%n", &h, &m, &sec, &n) != 3 || n != 8)
        return false;
    s += 8;
    if (*s == '.')
        s += 1 + strspn(s + 1, "0123456789");
    if (s[-1] == '.')
        return false;
    bool zulu = !strcmp(s, "Z");
    if (!zulu && (sscanf(s, "%c%2d:%2d%n", &sign, &zh, &zm, &k) != 3 || k != 6 || s[6] ||
                  !strchr("+-", sign)))
        return false;
    return h < 24 && m < 60 && sec < 60 && zh < 24 && zm < 60;
}

static bool host(const char *s)
{
    size_t n = strlen(s);
    for (size_t i = 0; i < n; i++) {
        bool edge = !i || s[i - 1] == '.' || !s[i + 1] || s[i + 1] == '.';
        if (s[i] == '.'   ? edge && (!i || s[i - 1] == '.' || i + 1 == n)
            : s[i] == '-' ? edge
                          : !word((unsigned char)s[i]) || s[i] == '_')
            return false;
    }
    return n && n < 254;
}

static bool check_format(const char *format, const char *s, char why[256])
{
    unsigned char address[16];
    const char *sign = strchr(s, '@');
    char text[16] = "";
    bool fits;
    snprintf(text, sizeof text, "%.10s", s);
    if (!strcmp(format, "date"))
        fits = date(s) && strlen(s) == 10;
    else if (!strcmp(format, "time"))
        fits = clock_time(s);
    else if (!strcmp(format, "date-time"))
        fits = date(text) && s[10] == 'T' && clock_time(s + 11);
    else if (!strcmp(format, "ipv4") || !strcmp(format, "ipv6"))
        fits = inet_pton(format[3] == '4' ? AF_INET : AF_INET6, s, address) == 1;
    else if (!strcmp(format, "uuid"))
        fits = strlen(s) == 36 && strspn(s, "0123456789abcdef-") == 36 && s[8] == '-' &&
               s[13] == '-' && s[18] == '-' && s[23] == '-' && s[9] != '-';
    else if (!strcmp(format, "hostname"))
        fits = host(s);
    else if (!strcmp(format, "email"))
        fits = sign && sign != s && host(sign + 1);
    else if (!strcmp(format, "uri"))
        fits = strstr(s, "://") && strcspn(s, " <>\"{}|\\^`") == strlen(s);
    else if (!strcmp(format, "duration"))
        fits = s[0] == 'P' && strlen(s) > 2 && strchr("YMWDHS", s[strlen(s) - 1]);
    else
        NO("unknown format %s", format);
    if (!fits)
        NO("'%s' is no %s", s, format);
    return true;
}

static bool check_string(const json_t *schema, const json_t *v, enum place place, char why[256])
{
    struct subject s = {.n = 0};
    const unsigned char *text = (const unsigned char *)json_string_value(v);
    const char *pattern = json_string_value(get(schema, "pattern")),
               *format = json_string_value(get(schema, "format"));
    while (*text && s.n < 4096)
        s.cp[s.n++] = decode(&text);
    double min = number_or(schema, "minLength", 0), usual = min > 1000 ? 4000 : 1000;
    if (s.n < min || s.n > number_or(schema, "maxLength", place == ALONE ? usual : 4000))
        NO("a string of %zu characters", s.n);
    if (format && !check_format(format, json_string_value(v), why))
        return false;
    if (pattern) {
        bool at[4097];
        for (size_t i = 0; i < 4097; i++)
            at[i] = i <= s.n; /* a match may begin at any place */
        s.pattern = (const unsigned char *)pattern;
        if (!alternatives(&s, at))
            NO("'%s' does not fit %s", json_string_value(v), pattern);
    }
    return true;
}

/* ---- all ------------------------------------------------------------------------------------ */

static const json_t *target(const json_t *root, const char *ref)
{
    const json_t *at = root;
    char token[256];
    for (const char *s = ref + 1; *s == '/' && at;) {
        size_t n = 0;
        for (s++; *s && *s != '/'; s++) {
            unsigned hex;
            if (*s == '%' && sscanf(s + 1, "%2x", &hex) == 1) {
                token[n++] = (char)hex;
                s += 2;
            } else if (*s == '~') {
                token[n++] = *++s == '0' ? '~' : '/';
            } else {
                token[n++] = *s;
            }
        }
        token[n] = 0;
        at = json_is_array(at) ? json_array_get(at, (size_t)atoi(token)) : get(at, token);
    }
    return at;
}

static bool check_joined(const json_t *root, const json_t *schema, const json_t *v, char why[256])
{
    const json_t *ref = get(schema, "$ref"), *all = get(schema, "allOf"),
                 *any = get(schema, "anyOf"), *one = get(schema, "oneOf");
    size_t n_any = 0, n_one = 0;
    if (ref && !check(root, target(root, json_string_value(ref)), v, JOINED, why))
        return false;
    for (size_t i = 0; i < json_array_size(all); i++)
        if (!check(root, json_array_get(all, i), v, JOINED, why))
            return false;
    for (size_t i = 0; i < json_array_size(any); i++)
        n_any += check(root, json_array_get(any, i), v, JOINED, why);
    for (size_t i = 0; i < json_array_size(one); i++)
        n_one += check(root, json_array_get(one, i), v, JOINED, why);
    if (any && !n_any)
        NO("nothing of anyOf fits");
    if (one && n_one != 1)
        NO("%zu of oneOf fit", n_one);
    return true;
}

static bool check(const json_t *root, const json_t *schema, const json_t *v, enum place place,
                  char why[256])
{
    if (json_is_boolean(schema)) {
        if (json_is_false(schema))
            NO("nothing is allowed here");
        return true;
    }
    if (get(schema, "$ref") || get(schema, "allOf") || get(schema, "anyOf") ||
        get(schema, "oneOf") || !json_object_size(schema))
        place = JOINED;
    if (!check_type(schema, v, why) || !check_listed(schema, v, why) ||
        !check_joined(root, schema, v, why))
        return false;
    if (get(schema, "enum") || get(schema, "const"))
        return true;
    if (json_is_object(v))
        return check_object(root, schema, v, place, why);
    if (json_is_array(v))
        return check_array(root, schema, v, why);
    if (json_is_number(v))
        return check_number(schema, v, place, why);
    return !json_is_string(v) || check_string(schema, v, place, why);
}

/* Checks that outside strings one space follows every ',' and ':', and none stands elsewhere. */
static bool check_spaces(const char *s, size_t n, char why[256])
{
    bool in = false;
    for (size_t i = 0; i < n; i++) {
        if (in && s[i] == '\\')
            i++;
        else if (s[i] == '"')
            in = !in;
        else if (!in && strchr(" \t\r\n", s[i]) &&
                 !(s[i] == ' ' && i > 0 && (s[i - 1] == ',' || s[i - 1] == ':')))
            NO("white space at byte %zu", i);
        else if (!in && (s[i] == ',' || s[i] == ':') && (i + 1 == n || s[i + 1] != ' '))
            NO("no space after byte %zu", i);
    }
    return true;
}

bool schema_check(const json_t *schema, const char *text, size_t n, char why[256])
{
    json_error_t e;
    json_t *v = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &e);
    if (!v)
        NO("column %d: %s", e.position, e.text);
    bool fine = check(schema, schema, v, ALONE, why) && check_spaces(text, n, why);
    json_decref(v);
    return fine;
}
