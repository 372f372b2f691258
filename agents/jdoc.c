#include "jdoc.h"

#include <string.h>

#include "mem.h"

/* The parser below recurses once a level, so the levels are counted first. */
static size_t jdoc_depth(const char *s, size_t n)
{
    size_t depth = 0, most = 0;
    bool quoted = false;
    for (size_t i = 0; i < n; i++) {
        char c = s[i];
        if (quoted) {
            if (c == '\\')
                i++;
            else if (c == '"')
                quoted = false;
        } else if (c == '"') {
            quoted = true;
        } else if (c == '{' || c == '[') {
            if (++depth > most)
                most = depth;
        } else if ((c == '}' || c == ']') && depth) {
            depth--;
        }
    }
    return most;
}

/* true: parsing failed for lack of memory. The library reports that with an empty text, or as a
 * syntax error at the string that it could not copy. In the second case, reading the same text
 * again ends otherwise. */
static bool jdoc_starved(const char *s, size_t n, size_t flags, const json_error_t *first)
{
    json_error_t again = {.position = 0};
    if (!first->text[0])
        return true;
    json_t *doc = json_loadb(s, n, flags, &again);
    bool differs = doc || strcmp(again.text, first->text) != 0;
    json_decref(doc);
    return differs;
}

static int jdoc_read(const char *s, size_t n, size_t most, size_t flags, json_t **out,
                     struct err *e)
{
    size_t depth = jdoc_depth(s, n);
    if (depth > most)
        FAIL(e, ERR_DATA, "JSON nested %zu deep, the limit is %zu", depth, most);
    json_error_t je = {.position = 0};
    json_t *doc = json_loadb(s, n, flags, &je);
    if (!doc && jdoc_starved(s, n, flags, &je))
        return NOMEM(e, n, "a JSON document");
    if (!doc)
        FAIL(e, ERR_DATA, "bad JSON at column %d: %s", je.position, je.text);
    *out = doc;
    return 0;
}

int jdoc_load(const char *s, size_t n, json_t **out, struct err *e)
{
    return jdoc_read(s, n, JDOC_DEPTH, JSON_REJECT_DUPLICATES, out, e);
}

int jdoc_value(const char *s, size_t n, json_t **out, struct err *e)
{
    return jdoc_read(s, n, JDOC_DEPTH, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL,
                     out, e);
}

int jdoc_deep(const char *s, size_t n, size_t most, json_t **out, struct err *e)
{
    return jdoc_read(s, n, most, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, out, e);
}

const char *jdoc_type_name(json_type t)
{
    switch (t) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "an integer";
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "a boolean";
    default:
        return "null";
    }
}

static int jdoc_any(const json_t *obj, const char *key, json_t **out, struct err *e)
{
    if (!json_is_object(obj))
        FAIL(e, ERR_DATA, "expected an object with '%s', found %s", key,
             jdoc_type_name(obj ? json_typeof(obj) : JSON_NULL));
    json_t *v = json_object_get(obj, key);
    if (!v)
        FAIL(e, ERR_DATA, "key '%s' is missing", key);
    *out = v;
    return 0;
}

int jdoc_get(const json_t *obj, const char *key, json_type type, json_t **out, struct err *e)
{
    json_t *v = NULL;
    TRY(jdoc_any(obj, key, &v, e));
    if (json_typeof(v) != type)
        FAIL(e, ERR_DATA, "'%s' is %s, expected %s", key, jdoc_type_name(json_typeof(v)),
             jdoc_type_name(type));
    *out = v;
    return 0;
}

int jdoc_string(const json_t *obj, const char *key, const char **out, struct err *e)
{
    json_t *v = NULL;
    TRY(jdoc_get(obj, key, JSON_STRING, &v, e));
    *out = json_string_value(v);
    return 0;
}

int jdoc_number(const json_t *obj, const char *key, double lo, double hi, double *out,
                struct err *e)
{
    json_t *v = NULL;
    TRY(jdoc_any(obj, key, &v, e));
    if (!json_is_number(v))
        FAIL(e, ERR_DATA, "'%s' is %s, expected a number", key, jdoc_type_name(json_typeof(v)));
    double d = json_number_value(v);
    if (!(d >= lo && d <= hi))
        FAIL(e, ERR_DATA, "'%s' is %g, expected %g to %g", key, d, lo, hi);
    *out = d;
    return 0;
}

int jdoc_int(const json_t *obj, const char *key, json_int_t lo, json_int_t hi, json_int_t *out,
             struct err *e)
{
    json_t *v = NULL;
    TRY(jdoc_get(obj, key, JSON_INTEGER, &v, e));
    json_int_t i = json_integer_value(v);
    if (i < lo || i > hi)
        FAIL(e, ERR_DATA, "'%s' is %lld, expected %lld to %lld", key, (long long)i, (long long)lo,
             (long long)hi);
    *out = i;
    return 0;
}

int jdoc_array(const json_t *obj, const char *key, size_t lo, size_t hi, json_t **out,
               struct err *e)
{
    json_t *v = NULL;
    TRY(jdoc_get(obj, key, JSON_ARRAY, &v, e));
    size_t n = json_array_size(v);
    if (n < lo || n > hi)
        FAIL(e, ERR_DATA, "'%s' has %zu items, expected %zu to %zu", key, n, lo, hi);
    *out = v;
    return 0;
}

int jdoc_only(const json_t *obj, const char *const *keys, struct err *e)
{
    /* json_object_foreach wants a writable object but changes nothing */
    json_t *o = (json_t *)(uintptr_t)obj;
    const char *key;
    json_t *v;
    json_object_foreach(o, key, v)
    {
        const char *const *k = keys;
        while (*k && strcmp(*k, key) != 0)
            k++;
        if (!*k)
            FAIL(e, ERR_DATA, "unknown key '%s'", key);
    }
    return 0;
}
