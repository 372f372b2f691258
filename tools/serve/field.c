#include "field.h"

#include <string.h>

#include "check.h"
#include "jdoc.h"

static const struct field_row *field_find(const struct field_set *s, const char *name)
{
    for (int i = 0; i < s->n; i++)
        if (!strcmp(s->row[i].name, name))
            return &s->row[i];
    return NULL;
}

/* Every member of the object is a row. */
static int field_known(const struct field_set *s, const json_t *object, const char **member,
                       struct err *e)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)object, key, v)
    {
        if (field_find(s, key))
            continue;
        const struct field_row *near = NULL;
        const int most = (int)strlen(key) / 3 + 1; /* edits: a short name is near to anything */
        int best = most < 4 ? most : 4;
        for (int i = 0; i < s->n; i++) {
            int d = strlen(key) < 64 ? str_distance(key, s->row[i].name) : best;
            if (d < best) {
                best = d;
                near = &s->row[i];
            }
        }
        *member = near ? near->name : NULL;
        FAIL(e, ERR_DATA, "unknown member '%.64s'%s%s%s", key, near ? "; did you mean '" : "",
             near ? near->name : "", near ? "'?" : "");
    }
    return 0;
}

static void field_default(const struct field_row *r, void *at)
{
    switch (r->type) {
    case FIELD_BOOL:
        *(bool *)at = r->otherwise != 0;
        return;
    case FIELD_INT:
        *(int64_t *)at = isnan(r->otherwise) ? FIELD_UNSET : (int64_t)r->otherwise;
        return;
    case FIELD_NUMBER:
        *(double *)at = r->otherwise;
        return;
    case FIELD_STRING:
        *(const char **)at = NULL;
        return;
    case FIELD_WORD:
        *(const char **)at = NULL;
        return;
    default:
        *(json_t **)at = NULL;
    }
}

static int field_int(const struct field_row *r, const json_t *v, int64_t *out, struct err *e)
{
    double d = json_number_value(v);
    if (!json_is_number(v))
        FAIL(e, ERR_DATA, "'%s' is %s, expected a whole number from %.0f to %.0f", r->name,
             jdoc_type_name(json_typeof(v)), r->lo, r->hi);
    if (d != floor(d))
        FAIL(e, ERR_DATA, "'%s' is %g, expected a whole number from %.0f to %.0f", r->name, d,
             r->lo, r->hi);
    bool fits = json_is_integer(v) || (d >= -0x1p63 && d < 0x1p63);
    if (!(d >= r->lo && d <= r->hi) || !fits)
        FAIL(e, ERR_DATA, "'%s' is %.17g, expected %.17g to %.17g", r->name, d, r->lo, r->hi);
    *out = json_is_integer(v) ? (int64_t)json_integer_value(v) : (int64_t)d;
    return 0;
}

static int field_number(const struct field_row *r, const json_t *v, double *out, struct err *e)
{
    double d = json_number_value(v);
    if (!json_is_number(v))
        FAIL(e, ERR_DATA, "'%s' is %s, expected a number from %g to %g", r->name,
             jdoc_type_name(json_typeof(v)), r->lo, r->hi);
    if (!(d >= r->lo && d <= r->hi))
        FAIL(e, ERR_DATA, "'%s' is %g, expected %g to %g", r->name, d, r->lo, r->hi);
    *out = d;
    return 0;
}

static int field_string(const struct field_row *r, const json_t *v, const char **out, struct err *e)
{
    if (!json_is_string(v))
        FAIL(e, ERR_DATA, "'%s' is %s, expected a string", r->name, jdoc_type_name(json_typeof(v)));
    size_t n = json_string_length(v);
    if ((double)n < r->lo || (double)n > r->hi)
        FAIL(e, ERR_DATA, "'%s' has %zu bytes, expected %.0f to %.0f", r->name, n, r->lo, r->hi);
    if (strlen(json_string_value(v)) != n)
        FAIL(e, ERR_DATA, "'%s' contains a NUL character", r->name);
    *out = json_string_value(v);
    return 0;
}

/* Whether word is one of "a|b|c". */
static bool field_choice(const char *choices, const char *word)
{
    size_t n = strlen(word);
    for (const char *c = choices; *c;) {
        size_t len = strcspn(c, "|");
        if (len == n && !memcmp(c, word, n))
            return true;
        c += len + (c[len] == '|');
    }
    return false;
}

static int field_word(const struct field_row *r, const json_t *v, const char **out, struct err *e)
{
    const char *s = json_string_value(v);
    if (!s || strlen(s) != json_string_length(v) || !field_choice(r->choices, s))
        FAIL(e, ERR_DATA, "'%s' is %s%.40s%s, expected one of %s", r->name, s ? "'" : "",
             s ? s : jdoc_type_name(json_typeof(v)), s ? "'" : "", r->choices);
    *out = s;
    return 0;
}

static int field_array(const struct field_row *r, json_t *v, json_t **out, struct err *e)
{
    if (!json_is_array(v))
        FAIL(e, ERR_DATA, "'%s' is %s, expected a list", r->name, jdoc_type_name(json_typeof(v)));
    size_t n = json_array_size(v);
    if ((double)n < r->lo || (double)n > r->hi)
        FAIL(e, ERR_DATA, "'%s' has %zu items, expected %.0f to %.0f", r->name, n, r->lo, r->hi);
    *out = v;
    return 0;
}

static int field_unmet(const struct field_row *r, const json_t *v, struct err *e)
{
    char text[128];
    size_t n = json_dumpb(v, text, sizeof text - 1, JSON_ENCODE_ANY | JSON_COMPACT);
    text[n < sizeof text ? n : sizeof text - 1] = 0;
    if (n < sizeof text && field_choice(r->choices, text))
        return 0;
    FAIL(e, ERR_DATA, "'%s' is not supported: %s", r->name, r->doc);
}

static int field_take(const struct field_row *r, json_t *v, void *at, struct err *e)
{
    switch (r->type) {
    case FIELD_BOOL:
        if (!json_is_boolean(v))
            FAIL(e, ERR_DATA, "'%s' is %s, expected true or false", r->name,
                 jdoc_type_name(json_typeof(v)));
        *(bool *)at = json_is_true(v);
        return 0;
    case FIELD_INT:
        return field_int(r, v, at, e);
    case FIELD_NUMBER:
        return field_number(r, v, at, e);
    case FIELD_STRING:
        return field_string(r, v, at, e);
    case FIELD_WORD:
        return field_word(r, v, at, e);
    case FIELD_OBJECT:
        if (!json_is_object(v))
            FAIL(e, ERR_DATA, "'%s' is %s, expected an object", r->name,
                 jdoc_type_name(json_typeof(v)));
        *(json_t **)at = v;
        return 0;
    case FIELD_ARRAY:
        return field_array(r, v, at, e);
    case FIELD_UNMET:
        *(json_t **)at = v;
        return field_unmet(r, v, e);
    case FIELD_ANY:
    case FIELD_IDLE:
        *(json_t **)at = v;
        return 0;
    }
    CHECK_MSG(false, "a row of an unknown type");
    return ERR_BUG;
}

int field_read(const struct field_set *s, const json_t *object, void *at, const char **member,
               struct err *e)
{
    *member = NULL;
    if (!json_is_object(object))
        FAIL(e, ERR_DATA, "expected an object, found %s", jdoc_type_name(json_typeof(object)));
    TRY(field_known(s, object, member, e));
    for (int i = 0; i < s->n; i++) {
        const struct field_row *r = &s->row[i];
        void *to = (char *)at + r->offset;
        json_t *v = json_object_get(object, r->name);
        *member = r->name;
        field_default(r, to);
        if (v && !json_is_null(v))
            TRY(field_take(r, v, to, e));
        else if (r->marks & FIELD_NEEDED)
            FAIL(e, ERR_DATA, "'%s' is missing", r->name);
    }
    *member = NULL;
    return 0;
}

/* Lists and objects of a text, in which the parser may still find faults. */
static size_t field_parts(const char *s, size_t n)
{
    size_t parts = 0;
    bool quoted = false;
    for (size_t i = 0; i < n; i++) {
        if (quoted && s[i] == '\\')
            i++;
        else if (s[i] == '"')
            quoted = !quoted;
        else if (!quoted)
            parts += s[i] == '{' || s[i] == '[';
    }
    return parts;
}

int field_parse(const char *s, size_t n, json_t **out, struct err *e)
{
    json_t *v = NULL;
    size_t parts = field_parts(s, n);
    if (parts > FIELD_PARTS)
        FAIL(e, ERR_DATA, "the body has %zu lists and objects, the limit is %d", parts,
             FIELD_PARTS);
    TRY(jdoc_deep(s, n, FIELD_DEPTH, &v, e));
    if (!json_is_object(v)) {
        int rc = err_set(e, ERR_DATA, "the body is %s, expected an object",
                         jdoc_type_name(json_typeof(v)));
        json_decref(v);
        return rc;
    }
    *out = v;
    return 0;
}

/* ---- the JSON Schema ------------------------------------------------------------------------- */

static void field_choices_json(const char *choices, bool or_null, struct str *out)
{
    str_adds(out, "[");
    for (const char *c = choices; *c;) {
        size_t n = strcspn(c, "|");
        str_add_json(out, c, n);
        c += n + (c[n] == '|');
        if (*c)
            str_adds(out, ", ");
    }
    str_adds(out, or_null ? ", null]" : "]");
}

/* "type": a value, or null = absent. */
static void field_type_json(const struct field_row *r, struct str *out)
{
    static const char *const name[] = {
        [FIELD_BOOL] = "boolean",  [FIELD_INT] = "integer",   [FIELD_NUMBER] = "number",
        [FIELD_STRING] = "string", [FIELD_OBJECT] = "object", [FIELD_ARRAY] = "array"};
    bool needed = (r->marks & FIELD_NEEDED) != 0;
    if (r->type == FIELD_WORD) {
        str_adds(out, needed ? "\"enum\": " : "\"type\": [\"string\", \"null\"], \"enum\": ");
        field_choices_json(r->choices, !needed, out);
        return;
    }
    if (r->type == FIELD_UNMET) { /* null, or one of the JSON texts */
        str_adds(out, "\"enum\": [null");
        for (const char *c = r->choices; *c;) {
            size_t n = strcspn(c, "|");
            str_adds(out, ", ");
            str_add(out, c, n);
            c += n + (c[n] == '|');
        }
        str_adds(out, "]");
        return;
    }
    if (r->type == FIELD_ANY && needed)
        str_adds(out, "\"not\": {\"type\": \"null\"}");
    if (r->type == FIELD_ANY || r->type == FIELD_IDLE)
        return;
    if (r->type == FIELD_OBJECT && r->choices) {
        str_addf(out, "\"anyOf\": [{\"$ref\": \"#/components/schemas/%s\"}%s]", r->choices,
                 needed ? "" : ", {\"type\": \"null\"}");
        return;
    }
    str_addf(out, needed ? "\"type\": \"%s\"" : "\"type\": [\"%s\", \"null\"]", name[r->type]);
    if (r->type == FIELD_INT || r->type == FIELD_NUMBER)
        str_addf(out, ", \"minimum\": %.17g, \"maximum\": %.17g", r->lo, r->hi);
    if (r->type == FIELD_STRING)
        str_addf(out, ", \"minLength\": %.0f, \"maxLength\": %.0f", r->lo ? 1.0 : 0.0, r->hi);
    if (r->type == FIELD_ARRAY)
        str_addf(out, ", \"minItems\": %.0f, \"maxItems\": %.0f", r->lo, r->hi);
    if (r->type == FIELD_ARRAY && r->choices)
        str_addf(out, ", \"items\": {\"$ref\": \"#/components/schemas/%s\"}", r->choices);
    if ((r->type == FIELD_INT || r->type == FIELD_NUMBER) && !isnan(r->otherwise))
        str_addf(out, ", \"default\": %.17g", r->otherwise);
    if (r->type == FIELD_BOOL)
        str_addf(out, ", \"default\": %s", r->otherwise != 0 ? "true" : "false");
}

void field_schema(const struct field_set *s, struct str *out)
{
    str_adds(out, "{\"type\": \"object\", \"additionalProperties\": false, \"properties\": {");
    for (int i = 0; i < s->n; i++) {
        const struct field_row *r = &s->row[i];
        str_addf(out, "%s\"%s\": {", i ? ", " : "", r->name);
        size_t before = out->len;
        field_type_json(r, out);
        str_adds(out, out->len > before ? ", \"description\": " : "\"description\": ");
        str_add_json(out, r->doc, strlen(r->doc));
        str_adds(out, "}");
    }
    str_adds(out, "}");
    int n = 0;
    for (int i = 0; i < s->n; i++)
        if (s->row[i].marks & FIELD_NEEDED)
            str_addf(out, "%s\"%s\"", n++ ? ", " : ", \"required\": [", s->row[i].name);
    str_adds(out, n ? "]}" : "}");
}
