#include "schema_check.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define NO(...) return snprintf(why, 256, __VA_ARGS__), false

static bool check(const json_t *schema, const json_t *v, char why[256]);

static long number_or(const json_t *schema, const char *key, long otherwise)
{
    const json_t *v = json_object_get(schema, key);
    return v ? (long)json_integer_value(v) : otherwise;
}

static size_t characters(const char *s) /* of valid UTF-8 */
{
    size_t n = 0;
    for (; *s; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

static bool check_object(const json_t *schema, const json_t *v, char why[256])
{
    json_t *properties = json_object_get(schema, "properties");
    if (!json_is_object(v) || json_object_size(v) != json_object_size(properties))
        NO("no object of %zu properties", json_object_size(properties));
    void *is = json_object_iter((json_t *)v), *want = json_object_iter(properties);
    for (; want; want = json_object_iter_next(properties, want),
                 is = json_object_iter_next((json_t *)v, is)) {
        if (strcmp(json_object_iter_key(is), json_object_iter_key(want)))
            NO("key %s where %s belongs", json_object_iter_key(is), json_object_iter_key(want));
        if (!check(json_object_iter_value(want), json_object_iter_value(is), why))
            return false;
    }
    return true;
}

static bool check_array(const json_t *schema, const json_t *v, char why[256])
{
    long n = (long)json_array_size(v);
    if (!json_is_array(v) || n < number_or(schema, "minItems", 0) ||
        n > number_or(schema, "maxItems", 0))
        NO("an array of %ld items", n);
    for (size_t i = 0; i < (size_t)n; i++) {
        json_t *item = json_array_get(v, i);
        if (!check(json_object_get(schema, "items"), item, why))
            return false;
        for (size_t j = 0; json_is_true(json_object_get(schema, "uniqueItems")) && j < i; j++)
            if (json_equal(item, json_array_get(v, j)))
                NO("items %zu and %zu are equal", j, i);
    }
    return true;
}

static bool check_number(const json_t *schema, const json_t *v, bool integer, char why[256])
{
    double x = json_number_value(v), unit = pow(10, (double)number_or(schema, "x-decimals", 2));
    if (integer ? !json_is_integer(v) : !json_is_number(v))
        NO("no number");
    if (!(x >= json_number_value(json_object_get(schema, "minimum")) &&
          x <= json_number_value(json_object_get(schema, "maximum"))))
        NO("%g is out of range", x);
    if (!integer && !(fabs(x * unit - nearbyint(x * unit)) < 1e-6))
        NO("%.17g has too many digits", x);
    return true;
}

static bool check(const json_t *schema, const json_t *v, char why[256])
{
    const json_t *one = json_object_get(schema, "const"), *set = json_object_get(schema, "enum");
    if (one && json_is_number(one) ? json_number_value(one) != json_number_value(v)
                                   : one && !json_equal(one, v))
        NO("not the const");
    if (set) {
        bool found = false;
        for (size_t i = 0; i < json_array_size(set); i++)
            found = found || json_equal(json_array_get(set, i), v);
        if (!found)
            NO("'%s' is not in the enum", json_string_value(v));
    }
    if (one || set)
        return true;
    const char *type = json_string_value(json_object_get(schema, "type"));
    if (!strcmp(type, "object"))
        return check_object(schema, v, why);
    if (!strcmp(type, "array"))
        return check_array(schema, v, why);
    if (!strcmp(type, "boolean") ? !json_is_boolean(v) : !strcmp(type, "null") && !json_is_null(v))
        NO("no %s", type);
    if (!strcmp(type, "integer") || !strcmp(type, "number"))
        return check_number(schema, v, type[0] == 'i', why);
    if (!strcmp(type, "string")) {
        long n = json_is_string(v) ? (long)characters(json_string_value(v)) : -1;
        if (n < number_or(schema, "minLength", 0) || n > number_or(schema, "maxLength", 0))
            NO("a string of %ld characters", n);
    }
    return true;
}

/* Outside strings: one space after every ',' and ':', none elsewhere. */
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
    bool fine = check(schema, v, why) && check_spaces(text, n, why);
    json_decref(v);
    return fine;
}
