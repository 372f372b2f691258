/* response_format and text.format: a grammar. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jdoc.h"
#include "openai.h"

/* ---- JSON as text ---------------------------------------------------------------------------- */

/* The shortest text that reads back as the same number. */
static void real_json(double d, struct str *out)
{
    char text[40];
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, d);
        if (strtod(text, NULL) == d)
            break;
    }
    str_adds(out, text);
    if (!strpbrk(text, ".e"))
        str_adds(out, ".0");
}

/* Depth of recursion: FIELD_DEPTH, the limit of a parsed body. */
void openai_json(const json_t *v, struct str *out)
{
    const char *key;
    json_t *item;
    size_t i = 0;
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        str_adds(out, "{");
        json_object_foreach((json_t *)(uintptr_t)v, key, item)
        {
            str_adds(out, i++ ? ", " : "");
            str_add_json(out, key, strlen(key));
            str_adds(out, ": ");
            openai_json(item, out);
        }
        str_adds(out, "}");
        return;
    case JSON_ARRAY:
        str_adds(out, "[");
        json_array_foreach(v, i, item)
        {
            str_adds(out, i ? ", " : "");
            openai_json(item, out);
        }
        str_adds(out, "]");
        return;
    case JSON_STRING:
        str_add_json(out, json_string_value(v), json_string_length(v));
        return;
    case JSON_INTEGER:
        str_addf(out, "%lld", (long long)json_integer_value(v));
        return;
    case JSON_REAL:
        real_json(json_real_value(v), out);
        return;
    case JSON_TRUE:
    case JSON_FALSE:
        str_adds(out, json_is_true(v) ? "true" : "false");
        return;
    case JSON_NULL:
        break;
    }
    str_adds(out, "null");
}

/* ---- formats --------------------------------------------------------------------------------- */

static int format_only(const json_t *o, const char *at, const char *const *names, struct err *e)
{
    if (jdoc_only(o, names, e) < 0)
        return err_wrap(e, ERR_DATA, "'%s'", at);
    return 0;
}

static int compile(const json_t *schema, const char *at, struct grammar **out, struct err *e)
{
    struct str text = STR_INIT;
    char name[120];
    snprintf(name, sizeof name, "%s.schema", at);
    openai_json(schema, &text);
    int rc = str_ok(&text, "a schema", e);
    if (rc == 0)
        rc = grammar_compile(text.s, text.len, name, out, e);
    str_free(&text);
    return rc;
}

int openai_format(const json_t *format, const char *at, bool flat, struct grammar **out,
                  struct err *e)
{
    static const char *const plain[] = {"type", NULL},
                             *const outer[] = {"type", "json_schema", NULL},
                             *const both[] = {"type",   "name",   "description",
                                              "schema", "strict", NULL};
    *out = NULL;
    if (!format || json_is_null(format))
        return 0;
    const char *type = json_string_value(json_object_get(format, "type"));
    if (!json_is_object(format) || !type)
        FAIL(e, ERR_DATA, "'%s' needs a type: text, json_object or json_schema", at);
    if (!strcmp(type, "text"))
        return format_only(format, at, plain, e);
    if (!strcmp(type, "json_object")) {
        TRY(format_only(format, at, plain, e));
        return grammar_any_object(out, e);
    }
    if (strcmp(type, "json_schema") != 0)
        FAIL(e, ERR_DATA, "'%s.type' is '%.40s', expected text, json_object or json_schema", at,
             type);
    char inner[80];
    const json_t *o = format;
    snprintf(inner, sizeof inner, flat ? "%s" : "%s.json_schema", at);
    if (!flat) {
        TRY(format_only(format, at, outer, e));
        o = json_object_get(format, "json_schema");
        if (!json_is_object(o))
            FAIL(e, ERR_DATA, "'%s' is missing or no object", inner);
    }
    TRY(format_only(o, inner, both, e));
    const json_t *schema = json_object_get(o, "schema"), *strict = json_object_get(o, "strict");
    if (!json_is_object(schema) && !json_is_boolean(schema))
        FAIL(e, ERR_DATA, "'%s.schema' is missing or no schema", inner);
    if (strict && !json_is_boolean(strict) && !json_is_null(strict))
        FAIL(e, ERR_DATA, "'%s.strict' is %s, expected true or false", inner,
             jdoc_type_name(json_typeof(strict)));
    return compile(schema, inner, out, e);
}
