#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schema_build.h"

#define VALUE_DEPTH 16 /* nesting of one value of an enum */

bool value_decimal(const json_t *v, int64_t *scaled, int *decimals, int *beyond)
{
    double x = json_number_value(v);
    *beyond = x > (double)NUMBER_LIMIT ? 1 : x < -(double)NUMBER_LIMIT ? -1 : 0;
    *decimals = 0;
    *scaled = 0;
    if (*beyond)
        return true;
    if (json_is_integer(v)) {
        *scaled = json_integer_value(v);
        return true;
    }
    return number_decimal(x, scaled, decimals);
}

int text_order(const void *pa, const void *pb)
{
    const struct schema_text *a = pa, *b = pb;
    int c = memcmp(a->s, b->s, a->n < b->n ? a->n : b->n);
    return c ? c : (a->n > b->n) - (a->n < b->n);
}

/* Writes the canonical text of v: equal numbers have equal texts. */
static void write_number(struct str *s, const json_t *v)
{
    int64_t scaled;
    int decimals, beyond;
    char text[40];
    if (json_is_integer(v)) {
        str_addf(s, "%lld", (long long)json_integer_value(v));
        return;
    }
    double x = json_real_value(v);
    if (value_decimal(v, &scaled, &decimals, &beyond) && !beyond) {
        number_write(scaled, decimals, text);
    } else if (fabs(x) < 9e18 && x == floor(x)) {
        snprintf(text, sizeof text, "%.0f", x);
    } else {
        for (int digits = 1; digits <= 17; digits++) {
            snprintf(text, sizeof text, "%.*g", digits, x);
            if (strtod(text, NULL) == x)
                break;
        }
    }
    str_adds(s, text);
}

static int write_value(struct build *b, const char *path, json_t *v, int depth, struct str *s)
{
    const char *key;
    json_t *one;
    size_t i, n = 0;
    if (depth > VALUE_DEPTH)
        BAD(b, path, "a value nested deeper than %d", VALUE_DEPTH);
    switch (json_typeof(v)) {
    case JSON_STRING:
        str_add_json(s, json_string_value(v), json_string_length(v));
        return 0;
    case JSON_INTEGER:
    case JSON_REAL:
        write_number(s, v);
        return 0;
    case JSON_ARRAY:
        str_addc(s, '[');
        json_array_foreach(v, i, one)
        {
            str_adds(s, i ? ", " : "");
            TRY(write_value(b, path, one, depth + 1, s));
        }
        str_addc(s, ']');
        return 0;
    case JSON_OBJECT:
        str_addc(s, '{');
        json_object_foreach(v, key, one)
        {
            str_adds(s, n++ ? ", " : "");
            str_add_json(s, key, strlen(key));
            str_adds(s, ": ");
            TRY(write_value(b, path, one, depth + 1, s));
        }
        str_addc(s, '}');
        return 0;
    default:
        str_adds(s, json_is_null(v) ? "null" : json_is_true(v) ? "true" : "false");
        return 0;
    }
}

static int add_value(struct build *b, const char *path, json_t *value, struct schema_text *out)
{
    struct str s = STR_INIT;
    int rc = write_value(b, path, value, 1, &s);
    if (rc == 0 && s.len > SCHEMA_TEXT)
        rc = schema_bad(b, path, "a value of %zu bytes; the limit is %d", s.len, SCHEMA_TEXT);
    if (rc == 0)
        return schema_keep(b, &s, out);
    str_free(&s);
    return rc;
}

static bool of_types(const json_t *v, unsigned types)
{
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        return types & BIT(OBJECT);
    case JSON_ARRAY:
        return types & BIT(ARRAY);
    case JSON_STRING:
        return types & BIT(STRING);
    case JSON_INTEGER:
        return types & (BIT(INTEGER) | BIT(NUMBER));
    case JSON_REAL:
        return types & BIT(NUMBER) ||
               (types & BIT(INTEGER) && json_real_value(v) == floor(json_real_value(v)));
    case JSON_NULL:
        return types & BIT(NIL);
    default:
        return types & BIT(BOOLEAN);
    }
}

/* *out: the values that one layer lists, sorted; NULL: it lists none. */
static int layer_values(struct build *b, const struct layer *l, unsigned types,
                        struct schema_text **out, size_t *n_out, const char **key)
{
    json_t *list = json_object_get(l->json, "enum"), *one = json_object_get(l->json, "const"), *v;
    *key = one ? "const" : "enum";
    *out = NULL;
    if (!list && !one)
        return 0;
    const char *path = schema_path(b, l->path, *key);
    size_t n = one ? 1 : json_array_size(list), kept = 0;
    if (!path)
        return ERR_NOMEM;
    if (n < 1 || n > SCHEMA_VALUES)
        BAD(b, path, "must be an array of 1 to %d values", SCHEMA_VALUES);
    struct schema_text *text = arena_alloc(&b->sc->arena, n, sizeof *text);
    if (!text)
        return NOMEM(b->e, n * sizeof *text, "an enum");
    for (size_t i = 0; i < n; i++) {
        v = one ? one : json_array_get(list, i);
        if (!of_types(v, types))
            continue;
        TRY(add_value(b, path, v, &text[kept]));
        kept++;
    }
    if (kept)
        qsort(text, kept, sizeof *text, text_order);
    for (size_t i = 1; i < kept; i++)
        if (!text_order(&text[i - 1], &text[i]))
            BAD(b, path, "%s is listed twice", text[i].s);
    if (!kept) {
        for (enum form f = 0; f < ENUM; f++)
            if (types == BIT(f))
                BAD(b, path, "is not of type %s", form_name(f));
        BAD(b, path, "is not of the types that are allowed here");
    }
    *out = text;
    *n_out = kept;
    return 0;
}

bool value_listed(const struct work *w)
{
    for (size_t i = 0; i < w->n; i++)
        if (w->layer[i].kind == LAYER_PLAIN && (json_object_get(w->layer[i].json, "enum") ||
                                                json_object_get(w->layer[i].json, "const")))
            return true;
    return false;
}

/* Refuses other keywords beside a list of values: each value would have to be checked by them. */
static int no_other_keyword(struct build *b, const struct layer *l)
{
    static const char *const others[] = {"properties",
                                         "required",
                                         "minProperties",
                                         "maxProperties",
                                         "items",
                                         "prefixItems",
                                         "minItems",
                                         "maxItems",
                                         "uniqueItems",
                                         "minLength",
                                         "maxLength",
                                         "pattern",
                                         "format",
                                         "minimum",
                                         "maximum",
                                         "multipleOf",
                                         "x-decimals",
                                         "propertyNames",
                                         "exclusiveMinimum",
                                         "exclusiveMaximum",
                                         "additionalItems",
                                         "additionalProperties",
                                         "patternProperties"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (json_object_get(l->json, others[i]))
            BAD_KEY(b, l->path, others[i],
                    "cannot be joined with an enum or const; list only the values that fit");
    return 0;
}

int value_node(struct build *b, size_t at, unsigned types, struct schema_node *node)
{
    const struct work w = b->work[at];
    struct schema_text *all = NULL, *text;
    size_t n = 0, n_text = 0;
    const char *key;
    for (size_t i = 0; i < w.n; i++) {
        if (w.layer[i].kind != LAYER_PLAIN)
            continue;
        TRY(layer_values(b, &w.layer[i], types, &text, &n_text, &key));
        if (!text) {
            TRY(no_other_keyword(b, &w.layer[i]));
            continue;
        }
        size_t both = 0;
        for (size_t k = 0; all && k < n; k++)
            if (bsearch(&all[k], text, n_text, sizeof *text, text_order))
                all[both++] = all[k];
        if (all && !both)
            BAD_KEY(b, w.layer[i].path, key,
                    "has no value in common with another enum or const that must fit here");
        n = all ? both : n_text;
        all = all ? all : text;
    }
    node->kind = SCHEMA_CHOICE;
    node->text = all;
    node->n = (uint16_t)n;
    return 0;
}
