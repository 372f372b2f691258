#include "schema_fit.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "jdoc.h"
#include "mem.h"

/* Recursion is bounded: jdoc refuses a text that is nested deeper than JDOC_DEPTH. */

#define PATH 200
#define LISTED 200 /* most values of a number that become an enum */

struct schema_fit {
    json_t *schema;
    struct str text, plain;
};

static bool one_of(const char *s, const char *const *list)
{
    while (*list && strcmp(s, *list) != 0)
        list++;
    return *list != NULL;
}

static bool is_note(const char *key)
{
    static const char *const notes[] = {"title",    "description", "$schema", "$id",
                                        "examples", "default",     NULL};
    return !strncmp(key, "x-", 2) || one_of(key, notes);
}

/* ---- the schema ------------------------------------------------------------------------------ */

/* Makes an enum of a number with few possible values, in place. Many servers ignore minimum and
 * maximum, and none knows x-decimals. All of them keep to an enum. */
static bool schema_list_numbers(json_t *s)
{
    const json_t *lo = json_object_get(s, "minimum"), *hi = json_object_get(s, "maximum");
    const json_t *decimals = json_object_get(s, "x-decimals");
    const char *type = json_string_value(json_object_get(s, "type"));
    if (!type || strcmp(type, "number") != 0 || !json_is_integer(lo) || !json_is_integer(hi) ||
        !json_is_integer(decimals) || json_object_get(s, "enum"))
        return true;
    json_int_t least = json_integer_value(lo), most = json_integer_value(hi), scale = 1;
    if (json_integer_value(decimals) < 0 || json_integer_value(decimals) > 2 || least < -LISTED ||
        most > LISTED)
        return true;
    for (json_int_t i = 0; i < json_integer_value(decimals); i++)
        scale *= 10;
    if (most < least || (most - least) * scale > LISTED)
        return true;
    json_t *list = json_array();
    for (json_int_t v = least * scale; list && v <= most * scale; v++) {
        json_t *item = v % scale ? json_real((double)v / (double)scale) : json_integer(v / scale);
        if (json_array_append_new(list, item) < 0)
            return json_decref(list), false;
    }
    return list && json_object_set_new(s, "enum", list) == 0 &&
           json_object_del(s, "minimum") == 0 && json_object_del(s, "maximum") == 0;
}

static int schema_read(json_t *s, const char *path, bool list, struct err *e);

static int schema_members(json_t *members, const char *path, bool list, struct err *e)
{
    const char *key;
    json_t *v;
    if (!json_is_object(members))
        FAIL(e, ERR_CONFIG, "%s.properties is not an object", path);
    json_object_foreach(members, key, v)
    {
        char inner[PATH];
        snprintf(inner, sizeof inner, "%.100s.%.80s", path, key);
        TRY(schema_read(v, inner, list, e));
    }
    return 0;
}

/* Checks the keywords and takes the notes out. list: numbers of few values become enums. */
static int schema_read(json_t *s, const char *path, bool list, struct err *e)
{
    static const char *const known[] = {
        "type",    "enum",     "const",    "properties",  "required",  "additionalProperties",
        "items",   "minItems", "maxItems", "uniqueItems", "minLength", "maxLength",
        "minimum", "maximum",  NULL};
    const char *key;
    void *next;
    json_t *v;
    char inner[PATH];
    if (!json_is_object(s))
        FAIL(e, ERR_CONFIG, "%s is not an object", path);
    if (list && !schema_list_numbers(s))
        return NOMEM(e, LISTED, "a schema");
    json_object_foreach_safe(s, next, key, v)
    {
        if (is_note(key))
            json_object_del(s, key);
        else if (!one_of(key, known))
            FAIL(e, ERR_CONFIG, "%s has the keyword '%.40s', which this provider cannot check",
                 path, key);
    }
    if (json_object_get(s, "additionalProperties") &&
        !json_is_false(json_object_get(s, "additionalProperties")))
        FAIL(e, ERR_CONFIG, "%s.additionalProperties is not false", path);
    if (json_object_get(s, "properties"))
        TRY(schema_members(json_object_get(s, "properties"), path, list, e));
    if (!json_object_get(s, "items"))
        return 0;
    snprintf(inner, sizeof inner, "%.180s[]", path);
    return schema_read(json_object_get(s, "items"), inner, list, e);
}

static int schema_write(const json_t *s, struct str *out, struct err *e)
{
    char *text = json_dumps(s, JSON_COMPACT | JSON_REAL_PRECISION(9));
    if (!text)
        return NOMEM(e, 4096, "a schema");
    str_adds(out, text);
    mem_free(text);
    return str_ok(out, "a schema", e);
}

int schema_fit_open(const char *json, size_t n, const char *name, struct schema_fit **out,
                    struct err *e)
{
    struct schema_fit *s = mem_zalloc(1, sizeof *s);
    json_t *sent = NULL;
    int rc;
    if (!s)
        return NOMEM(e, sizeof *s, "a schema");
    s->text = s->plain = (struct str)STR_INIT;
    rc = jdoc_load(json, n, &s->schema, e);
    if (rc < 0) {
        rc = rc == ERR_DATA ? ERR_CONFIG : rc;
        err_wrap(e, rc, "%s", name);
        if (e)
            e->code = rc;
        goto done;
    }
    sent = json_deep_copy(s->schema);
    if (!sent)
        TRY_DONE(NOMEM(e, n, "a schema"));
    rc = schema_read(s->schema, "$", false, e);
    if (rc == 0)
        rc = schema_read(sent, "$", true, e);
    if (rc < 0) {
        rc = err_wrap(e, rc, "%s", name);
        goto done;
    }
    TRY_DONE(schema_write(s->schema, &s->plain, e));
    TRY_DONE(schema_write(sent, &s->text, e));
    *out = s;
    s = NULL;
done:
    json_decref(sent);
    schema_fit_close(s);
    return rc;
}

void schema_fit_close(struct schema_fit *s)
{
    if (!s)
        return;
    json_decref(s->schema);
    str_free(&s->text);
    str_free(&s->plain);
    mem_free(s);
}

const char *schema_fit_text(const struct schema_fit *s)
{
    return s->text.s;
}

const char *schema_fit_plain(const struct schema_fit *s)
{
    return s->plain.s;
}

/* ---- a value --------------------------------------------------------------------------------- */

static bool is_type(const char *type, const json_t *v)
{
    static const struct {
        const char *name;
        json_type type;
    } types[] = {{"object", JSON_OBJECT},   {"array", JSON_ARRAY}, {"string", JSON_STRING},
                 {"integer", JSON_INTEGER}, {"null", JSON_NULL},   {"boolean", JSON_TRUE}};
    if (!strcmp(type, "number"))
        return json_is_number(v);
    if (!strcmp(type, "boolean"))
        return json_is_boolean(v);
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (!strcmp(types[i].name, type))
            return json_typeof(v) == types[i].type;
    return false;
}

static int fit_value(const json_t *s, json_t *v, const char *path, struct err *e);

static int fit_object(const json_t *s, json_t *v, const char *path, struct err *e)
{
    json_t *members = json_object_get(s, "properties");
    const json_t *required = json_object_get(s, "required");
    const char *key;
    json_t *item;
    for (size_t i = 0; i < json_array_size(required); i++) {
        const char *name = json_string_value(json_array_get(required, i));
        if (name && !json_object_get(v, name))
            FAIL(e, ERR_DATA, "%s lacks the key '%.60s'", path, name);
    }
    json_object_foreach(v, key, item)
    {
        char inner[PATH];
        const json_t *form = json_object_get(members, key);
        if (!form && json_object_get(s, "additionalProperties"))
            FAIL(e, ERR_DATA, "%s has the key '%.60s', which the schema does not have", path, key);
        snprintf(inner, sizeof inner, "%.100s.%.80s", path, key);
        if (form)
            TRY(fit_value(form, item, inner, e));
    }
    return 0;
}

/* Compares a number with the keyword, if the schema has it. */
static bool beyond(const json_t *s, const char *keyword, double v, bool least)
{
    const json_t *limit = json_object_get(s, keyword);
    if (!json_is_number(limit))
        return false;
    return least ? v < json_number_value(limit) : v > json_number_value(limit);
}

static int fit_array(const json_t *s, json_t *v, const char *path, struct err *e)
{
    const json_t *items = json_object_get(s, "items");
    size_t n = json_array_size(v);
    if (beyond(s, "minItems", (double)n, true) || beyond(s, "maxItems", (double)n, false))
        FAIL(e, ERR_DATA, "%s has %zu items", path, n);
    for (size_t i = 0; i < n; i++) {
        char inner[PATH];
        json_t *item = json_array_get(v, i);
        snprintf(inner, sizeof inner, "%.180s[%zu]", path, i);
        if (items)
            TRY(fit_value(items, item, inner, e));
        for (size_t k = 0; k < i && json_is_true(json_object_get(s, "uniqueItems")); k++)
            if (json_equal(item, json_array_get(v, k)))
                FAIL(e, ERR_DATA, "%s is the same as item %zu", inner, k);
    }
    return 0;
}

static size_t characters(const json_t *v)
{
    const char *s = json_string_value(v);
    size_t n = 0;
    for (size_t i = 0; i < json_string_length(v); i++)
        n += ((unsigned char)s[i] & 0xc0) != 0x80;
    return n;
}

static int fit_choice(const json_t *s, json_t *v, const char *path, struct err *e)
{
    const json_t *list = json_object_get(s, "enum");
    json_t *only = json_object_get(s, "const");
    if (only && !json_equal(only, v))
        FAIL(e, ERR_DATA, "%s is not the value that the schema gives", path);
    if (!json_is_array(list))
        return 0;
    for (size_t i = 0; i < json_array_size(list); i++)
        if (json_equal(json_array_get(list, i), v))
            return 0;
    FAIL(e, ERR_DATA, "%s is not one of the %zu values of the schema", path, json_array_size(list));
}

static int fit_value(const json_t *s, json_t *v, const char *path, struct err *e)
{
    const char *type = json_string_value(json_object_get(s, "type"));
    if (type && !is_type(type, v))
        FAIL(e, ERR_DATA, "%s is %s, the schema has the type %s", path,
             jdoc_type_name(json_typeof(v)), type);
    TRY(fit_choice(s, v, path, e));
    if (json_is_object(v))
        return fit_object(s, v, path, e);
    if (json_is_array(v))
        return fit_array(s, v, path, e);
    if (json_is_string(v)) {
        size_t n = characters(v);
        if (beyond(s, "minLength", (double)n, true) || beyond(s, "maxLength", (double)n, false))
            FAIL(e, ERR_DATA, "%s has %zu characters", path, n);
    }
    if (json_is_number(v) && (beyond(s, "minimum", json_number_value(v), true) ||
                              beyond(s, "maximum", json_number_value(v), false)))
        FAIL(e, ERR_DATA, "%s is %g", path, json_number_value(v));
    return 0;
}

int schema_fit_check(const struct schema_fit *f, const char *s, size_t n, struct err *e)
{
    json_t *v = NULL;
    TRY(jdoc_load(s, n, &v, e));
    int rc = fit_value(f->schema, v, "$", e);
    json_decref(v);
    return rc;
}
