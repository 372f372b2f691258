#include "form.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "jdoc.h"

#define FAULT_BYTES 300 /* of a body that has no message */

const char *form_schema_name(enum form_schema s)
{
    static const char *const names[] = {"none", "json_schema", "guided_json", "format"};
    return names[s];
}

void form_reply_free(struct form_reply *r)
{
    str_free(&r->text);
    str_free(&r->think);
    str_free(&r->refusal);
}

/* ---- writing --------------------------------------------------------------------------------- */

static void form_message(const char *role, const char *s, size_t n, struct str *out)
{
    str_addf(out, "{\"role\": \"%s\", \"content\": ", role);
    str_add_json(out, s, n);
    str_addc(out, '}');
}

static void form_system(const struct form_server *s, const struct form_chat *c, struct str *out)
{
    struct str text = STR_INIT;
    bool told = c->schema && s->schema == FORM_TEXT_ONLY;
    str_add(&text, c->system, c->system_len);
    if (told)
        str_addf(&text,
                 "%sReply with one JSON value and nothing else: no text around it, no comments. It "
                 "must be valid under this JSON Schema:\n%s",
                 c->system_len ? "\n\n" : "", c->schema);
    if (text.len) {
        form_message("system", text.s, text.len, out);
        str_adds(out, ", ");
    }
    out->failed = out->failed || text.failed;
    str_free(&text);
}

void form_messages(const struct form_server *s, const struct form_chat *c, struct str *out)
{
    form_system(s, c, out);
    form_message("user", c->user, c->user_len, out);
    if (!c->broken)
        return;
    struct str text = STR_INIT;
    str_adds(out, ", ");
    form_message("assistant", c->broken, c->broken_len, out);
    str_addf(&text,
             "This reply is not valid under the schema: %s. Write the whole reply again as valid "
             "JSON, and nothing else.",
             c->fault);
    str_adds(out, ", ");
    form_message("user", text.s, text.len, out);
    out->failed = out->failed || text.failed;
    str_free(&text);
}

/* ---- reading --------------------------------------------------------------------------------- */

int form_append(const json_t *obj, const char *key, struct str *out, struct err *e)
{
    const json_t *v = json_object_get(obj, key);
    if (!v || json_is_null(v))
        return 0;
    if (!json_is_string(v))
        FAIL(e, ERR_DATA, "'%s' is %s, not a string", key, jdoc_type_name(json_typeof(v)));
    str_add(out, json_string_value(v), json_string_length(v));
    return str_ok(out, "a reply", e);
}

void form_copy(const json_t *obj, const char *key, char out[FORM_TEXT])
{
    const char *s = json_string_value(json_object_get(obj, key));
    snprintf(out, FORM_TEXT, "%s", s ? s : "");
    out[utf8_complete(out, strlen(out))] = 0;
}

int form_count(const json_t *obj, const char *key)
{
    const json_int_t v = json_integer_value(json_object_get(obj, key));
    return v > 0 && v <= INT32_MAX ? (int)v : 0;
}

double form_mean(const json_t *list)
{
    double sum = 0;
    size_t n = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *lp = json_object_get(json_array_get(list, i), "logprob");
        if (!json_is_number(lp) || json_number_value(lp) > 0)
            continue;
        sum += json_number_value(lp);
        n++;
    }
    return n ? sum / (double)n : (double)NAN;
}

/* The text of an error object, in the forms that servers use; NULL = none. */
static const char *form_fault_text(const json_t *doc)
{
    static const char *const keys[] = {"error", "message", "detail", "msg"};
    for (int depth = 0; depth < 3; depth++) {
        const json_t *inner = NULL;
        for (size_t i = 0; i < sizeof keys / sizeof keys[0] && !inner; i++)
            inner = json_object_get(doc, keys[i]);
        if (json_is_array(inner))
            inner = json_array_get(inner, 0);
        if (json_is_string(inner))
            return json_string_value(inner);
        doc = inner;
    }
    return NULL;
}

void form_fault(const char *s, size_t n, struct str *out)
{
    struct err ignored;
    json_t *doc = NULL;
    const char *text = jdoc_load(s, n, &doc, &ignored) == 0 ? form_fault_text(doc) : NULL;
    size_t len = text ? strlen(text) : n;
    size_t most = len < FAULT_BYTES ? len : FAULT_BYTES;
    str_add(out, text ? text : s, utf8_complete(text ? text : s, most));
    if (most < len)
        str_adds(out, "..");
    json_decref(doc);
}

static void form_trim(const char **s, size_t *n)
{
    while (*n && strchr(" \t\r\n", (*s)[0]) && (*s)[0])
        (*s)++, (*n)--;
    while (*n && strchr(" \t\r\n", (*s)[*n - 1]) && (*s)[*n - 1])
        (*n)--;
}

void form_json_part(const char *s, size_t n, const char **part, size_t *part_len)
{
    form_trim(&s, &n);
    if (n >= 7 && !memcmp(s, "```", 3) && !memcmp(s + n - 3, "```", 3)) {
        size_t head = 3;
        if (n >= 11 && !memcmp(s + 3, "json", 4))
            head = 7;
        s += head;
        n -= head + 3;
        form_trim(&s, &n);
    }
    *part = s;
    *part_len = n;
}
