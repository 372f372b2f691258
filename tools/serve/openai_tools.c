/* Functions that a model may call: a schema of calls, their description, their reading. */
#include <stdio.h>
#include <string.h>

#include "jdoc.h"
#include "openai.h"

#define CALLS_MOST 8 /* in one reply */

/* ---- reading --------------------------------------------------------------------------------- */

static const json_t *function_of(const json_t *tools, size_t i)
{
    return json_object_get(json_array_get(tools, i), "function");
}

static const char *function_name(const json_t *tools, size_t i)
{
    return json_string_value(json_object_get(function_of(tools, i), "name"));
}

static bool good_name(const json_t *name)
{
    const char *s = json_string_value(name);
    size_t n = json_string_length(name);
    return s && n >= 1 && n <= 64 &&
           strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") == n;
}

static int check_function(const json_t *tools, size_t i, struct err *e)
{
    static const char *const keys[] = {"name", "description", "parameters", "strict", NULL};
    const json_t *tool = json_array_get(tools, i), *f = function_of(tools, i);
    const char *type = json_string_value(json_object_get(tool, "type"));
    if (!type || strcmp(type, "function") != 0)
        FAIL(e, ERR_DATA, "'tools[%zu].type' is '%.40s', expected function", i,
             type ? type : "(none)");
    if (!json_is_object(f))
        FAIL(e, ERR_DATA, "'tools[%zu].function' is missing or no object", i);
    if (jdoc_only(f, keys, e) < 0)
        return err_wrap(e, ERR_DATA, "'tools[%zu].function'", i);
    if (!good_name(json_object_get(f, "name")))
        FAIL(e, ERR_DATA,
             "'tools[%zu].function.name' must be 1 to 64 letters, digits, '_', '-', '.'", i);
    for (size_t k = 0; k < i; k++)
        if (!strcmp(function_name(tools, k), function_name(tools, i)))
            FAIL(e, ERR_DATA, "'tools' has two functions '%s'", function_name(tools, i));
    const json_t *p = json_object_get(f, "parameters");
    if (!p || json_is_null(p))
        return 0;
    type = json_string_value(json_object_get(p, "type"));
    bool object = type ? !strcmp(type, "object") : json_object_get(p, "properties") != NULL;
    if (!json_is_object(p) || (json_object_size(p) && !object))
        FAIL(e, ERR_DATA, "'tools[%zu].function.parameters' must be a schema of type object", i);
    return 0;
}

/* The named function of tool_choice. */
static int choice_named(const json_t *choice, const json_t *tools, const char **out, struct err *e)
{
    const char *type = json_string_value(json_object_get(choice, "type"));
    const char *name =
        json_string_value(json_object_get(json_object_get(choice, "function"), "name"));
    if (!type || strcmp(type, "function") != 0 || !name)
        FAIL(e, ERR_DATA,
             "'tool_choice' must be auto, none, required, or {\"type\": \"function\", "
             "\"function\": {\"name\": NAME}}");
    for (size_t i = 0; i < json_array_size(tools); i++)
        if (!strcmp(function_name(tools, i), name)) {
            *out = function_name(tools, i);
            return 0;
        }
    FAIL(e, ERR_DATA, "'tool_choice' names '%.64s', which is not in tools", name);
}

static int choice_read(const json_t *choice, const json_t *tools, struct openai_tools *t,
                       struct err *e)
{
    const char *word = json_string_value(choice);
    t->mode = json_array_size(tools) ? TOOLS_AUTO : TOOLS_NONE;
    if (!choice || json_is_null(choice) || (word && !strcmp(word, "auto")))
        return 0;
    if (word && !strcmp(word, "none")) {
        t->mode = TOOLS_NONE;
        return 0;
    }
    bool required = word && !strcmp(word, "required");
    if (required && !json_array_size(tools))
        FAIL(e, ERR_DATA, "'tool_choice' is required, but 'tools' is empty");
    t->mode = required ? TOOLS_REQUIRED : TOOLS_ONE;
    return required ? 0 : choice_named(choice, tools, &t->only, e);
}

/* ---- the schema of calls --------------------------------------------------------------------- */

/* Appends a function's parameters; references into it get the prefix of its place. Depth of
 * recursion: FIELD_DEPTH. */
static void parameters_json(const json_t *v, const char *prefix, struct str *out)
{
    const char *key;
    json_t *item;
    size_t i = 0;
    if (json_is_array(v)) {
        str_adds(out, "[");
        json_array_foreach(v, i, item)
        {
            str_adds(out, i ? ", " : "");
            parameters_json(item, prefix, out);
        }
        str_adds(out, "]");
        return;
    }
    if (!json_is_object(v)) {
        openai_json(v, out);
        return;
    }
    str_adds(out, "{");
    json_object_foreach((json_t *)(uintptr_t)v, key, item)
    {
        const char *to = json_string_value(item);
        str_adds(out, i++ ? ", " : "");
        str_add_json(out, key, strlen(key));
        str_adds(out, ": ");
        if (!strcmp(key, "$ref") && to && to[0] == '#') {
            struct str moved = STR_INIT;
            str_addf(&moved, "#%s%s", prefix, to + 1);
            str_add_json(out, moved.s, moved.len);
            out->failed |= moved.failed;
            str_free(&moved);
        } else {
            parameters_json(item, prefix, out);
        }
    }
    str_adds(out, "}");
}

static void function_parameters(const json_t *tools, size_t i, const char *prefix, struct str *out)
{
    const json_t *p = json_object_get(function_of(tools, i), "parameters");
    if (!p || !json_object_size(p))
        str_adds(out, "{\"type\": \"object\", \"properties\": {}}");
    else
        parameters_json(p, prefix, out);
}

static int compile_alone(const json_t *tools, size_t i, struct grammar **out, struct err *e)
{
    struct str text = STR_INIT;
    char name[80];
    snprintf(name, sizeof name, "tools[%zu].function.parameters", i);
    function_parameters(tools, i, "", &text);
    int rc = str_ok(&text, "a schema", e);
    if (rc == 0)
        rc = grammar_compile(text.s, text.len, name, out, e);
    str_free(&text);
    return rc;
}

/* {"$defs": {"f0": parameters ..}, "anyOf": [call .., list of calls]} */
static void calls_json(const json_t *tools, bool parallel, struct str *out)
{
    size_t n = json_array_size(tools);
    struct str calls = STR_INIT;
    for (size_t i = 0; i < n; i++) {
        str_addf(&calls,
                 "%s{\"type\": \"object\", \"properties\": {\"name\": {\"const\": \"%s\"}, "
                 "\"arguments\": {\"$ref\": \"#/$defs/f%zu\"}}, \"required\": [\"name\", "
                 "\"arguments\"]}",
                 i ? ", " : "", function_name(tools, i), i);
    }
    str_adds(out, "{\"$defs\": {");
    for (size_t i = 0; i < n; i++) {
        char prefix[40];
        snprintf(prefix, sizeof prefix, "/$defs/f%zu", i);
        str_addf(out, "%s\"f%zu\": ", i ? ", " : "", i);
        function_parameters(tools, i, prefix, out);
    }
    str_adds(out, "}, \"anyOf\": [");
    str_add(out, calls.s, calls.len);
    if (parallel) {
        str_addf(out,
                 ", {\"type\": \"array\", \"minItems\": 1, \"maxItems\": %d, \"items\": "
                 "{\"anyOf\": [",
                 CALLS_MOST);
        str_add(out, calls.s, calls.len);
        str_adds(out, "]}}");
    }
    str_adds(out, "]}");
    out->failed = out->failed || calls.failed;
    str_free(&calls);
}

static int compile_calls(const json_t *tools, bool parallel, struct grammar **out, struct err *e)
{
    struct str text = STR_INIT;
    calls_json(tools, parallel, &text);
    int rc = str_ok(&text, "a schema", e);
    if (rc == 0)
        rc = grammar_compile(text.s, text.len, "tools", out, e);
    str_free(&text);
    /* a fault of one function is named with its own place */
    for (size_t i = 0; rc < 0 && i < json_array_size(tools); i++) {
        struct grammar *g = NULL;
        TRY(compile_alone(tools, i, &g, e));
        grammar_free(g);
    }
    return rc;
}

int openai_tools_read(const json_t *tools, const json_t *choice, bool parallel,
                      struct openai_tools *out, const char **param, struct err *e)
{
    *out = (struct openai_tools){0};
    *param = "tools";
    for (size_t i = 0; i < json_array_size(tools); i++)
        TRY(check_function(tools, i, e));
    *param = "tool_choice";
    TRY(choice_read(choice, tools, out, e));
    *param = "tools";
    if (out->mode == TOOLS_NONE)
        return 0;
    if (out->mode != TOOLS_ONE)
        return compile_calls(tools, parallel, &out->grammar, e);
    size_t i = 0;
    while (function_name(tools, i) != out->only)
        i++;
    return compile_alone(tools, i, &out->grammar, e);
}

void openai_tools_text(const struct openai_tools *t, const json_t *tools, bool parallel,
                       struct str *out)
{
    str_adds(out, "These functions can be called. Each is given with its name, its purpose and a "
                  "JSON Schema of its arguments:\n");
    for (size_t i = 0; i < json_array_size(tools); i++) {
        openai_json(function_of(tools, i), out);
        str_adds(out, "\n");
    }
    if (t->mode == TOOLS_ONE) {
        str_addf(out, "Call the function %s: reply with the JSON object of its arguments alone.",
                 t->only);
        return;
    }
    str_adds(out, t->mode == TOOLS_REQUIRED ? "Call a function" : "To call a function");
    str_adds(out, ": reply with JSON alone, {\"name\": NAME, \"arguments\": {..}}");
    str_adds(out, parallel ? ", or with a list of such calls." : ".");
    if (t->mode == TOOLS_AUTO)
        str_adds(out, " If no function is needed, reply with plain text.");
}

/* ---- the beginning of a call ----------------------------------------------------------------- */

struct reader {
    const char *s;
    size_t n;
};

static void skip_space(struct reader *r)
{
    while (r->n && strchr(" \t\r\n", *r->s) && *r->s) {
        r->s++;
        r->n--;
    }
}

/* 1: the text follows, and is passed; 0: it does not; -1: it may, the bytes end before. */
static int take(struct reader *r, const char *text)
{
    size_t n = strlen(text), has = r->n < n ? r->n : n;
    if (memcmp(r->s, text, has) != 0)
        return 0;
    if (has < n)
        return -1;
    r->s += n;
    r->n -= n;
    return 1;
}

/* Space, then the text; what is optional may be absent. */
static int take_next(struct reader *r, const char *text)
{
    skip_space(r);
    return take(r, text);
}

enum gen_verdict openai_tools_decide(const char *s, size_t n)
{
    static const char *const marks[] = {"<tool_call>", "```json", "```", "["};
    static const char *const form[] = {"{", "\"name\"", ":"};
    struct reader r = {s, n};
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++)
        if (take_next(&r, marks[i]) < 0)
            return GEN_UNDECIDED;
    for (size_t i = 0; i < sizeof form / sizeof form[0]; i++) {
        int got = take_next(&r, form[i]);
        if (got <= 0)
            return got < 0 ? GEN_UNDECIDED : GEN_FREE;
    }
    return GEN_CALL;
}

/* ---- following the calls --------------------------------------------------------------------- */

enum { SCAN_START, SCAN_KEY, SCAN_NAME, SCAN_BETWEEN, SCAN_ARGUMENTS, SCAN_CLOSE, SCAN_END };

static const char scan_key[] = "\"name\": \"", scan_between[] = ", \"arguments\": ";

static void scan_begin(struct tool_scan *s)
{
    s->state = SCAN_ARGUMENTS;
    s->depth = 0;
    s->quoted = s->escaped = false;
}

/* A byte of the arguments. true: it is their last one. */
static bool scan_argument(struct tool_scan *s, char b)
{
    if (s->quoted) {
        bool ends = b == '"' && !s->escaped;
        s->escaped = b == '\\' && !s->escaped;
        s->quoted = !ends;
        return false;
    }
    s->quoted = b == '"';
    s->depth += (b == '{' || b == '[') - (b == '}' || b == ']');
    return s->depth == 0;
}

static void scan_byte(struct tool_scan *s, char b)
{
    switch (s->state) {
    case SCAN_START:
        if (b != '{')
            return; /* "[", ", ", "]" */
        s->state = SCAN_KEY;
        s->skip = sizeof scan_key - 1;
        s->n_name = 0;
        return;
    case SCAN_KEY:
        if (--s->skip == 0)
            s->state = SCAN_NAME;
        return;
    case SCAN_NAME:
        if (b != '"') {
            if (s->n_name < sizeof s->name - 1)
                s->name[s->n_name++] = b;
            return;
        }
        s->name[s->n_name] = 0;
        s->state = SCAN_BETWEEN;
        s->skip = sizeof scan_between - 1;
        s->call(s);
        return;
    case SCAN_BETWEEN:
        if (--s->skip == 0)
            scan_begin(s);
        return;
    default: /* SCAN_CLOSE: "}" of the call */
        s->state = SCAN_START;
        s->index++;
    }
}

void tool_scan_feed(struct tool_scan *s, const char *only, const char *text, size_t n)
{
    if (only && s->state == SCAN_START) {
        snprintf(s->name, sizeof s->name, "%s", only);
        s->call(s);
        scan_begin(s);
    }
    for (size_t i = 0; i < n;) {
        size_t from = i;
        bool last = false;
        while (i < n && s->state == SCAN_ARGUMENTS && !last)
            last = scan_argument(s, text[i++]);
        if (i > from)
            s->arguments(s, text + from, i - from);
        if (last)
            s->state = only ? SCAN_END : SCAN_CLOSE;
        else if (i == from && s->state == SCAN_END)
            return;
        else if (i == from)
            scan_byte(s, text[i++]);
    }
}
