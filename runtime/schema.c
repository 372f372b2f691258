#include "schema.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "grammar.h"
#include "rng.h"

/* What a schema object says it describes. const and enum win over type. */
enum form { OBJECT, ARRAY, STRING, INTEGER, NUMBER, BOOLEAN, NIL, ENUM, CONST, FORMS };

static const char *const form_name[FORMS] = {"object",  "array", "string", "integer", "number",
                                             "boolean", "null",  "enum",   "const"};

#define ARENA_LIMIT ((size_t)16 << 20) /* texts and paths of the largest schema are far below */

#define BIT(form) (1u << (form))
#define EVERY (BIT(FORMS) - 1)

static const struct keyword {
    const char *name;
    unsigned forms; /* where it may stand */
} keywords[] = {
    {"type", EVERY},
    {"$schema", EVERY},
    {"$id", EVERY},
    {"$comment", EVERY},
    {"title", EVERY},
    {"description", EVERY},
    {"properties", BIT(OBJECT)},
    {"required", BIT(OBJECT)},
    {"additionalProperties", BIT(OBJECT)},
    {"items", BIT(ARRAY)},
    {"minItems", BIT(ARRAY)},
    {"maxItems", BIT(ARRAY)},
    {"uniqueItems", BIT(ARRAY)},
    {"minLength", BIT(STRING)},
    {"maxLength", BIT(STRING)},
    {"minimum", BIT(INTEGER) | BIT(NUMBER)},
    {"maximum", BIT(INTEGER) | BIT(NUMBER)},
    {"x-decimals", BIT(NUMBER)},
    {"enum", BIT(ENUM)},
    {"const", BIT(CONST)},
};
#define N_KEYWORDS (sizeof keywords / sizeof keywords[0])

struct work { /* a schema object that waits to become the node of the same number */
    json_t *json;
    const char *path;
    int depth;
};

struct build {
    struct schema *sc;
    const char *name;
    struct work *work; /* (n_work) */
    size_t n_work, cap_work, cap_node;
    struct err *e;
};

#define BAD(b, path, ...) return bad((b), (path), __VA_ARGS__)

static int bad(struct build *b, const char *path, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static int bad(struct build *b, const char *path, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    FAIL(b->e, ERR_CONFIG, "schema %s: %s: %s", b->name, path, text);
}

/* path/key, with "~" and "/" inside the key written as RFC 6901 says */
static const char *path_join(struct build *b, const char *path, const char *key)
{
    struct str s = STR_INIT;
    str_adds(&s, path);
    str_addc(&s, '/');
    for (; *key; key++)
        if (*key == '~' || *key == '/')
            str_adds(&s, *key == '~' ? "~0" : "~1");
        else
            str_addc(&s, *key);
    char *joined = s.failed ? NULL : arena_strndup(&b->sc->arena, s.s, s.len);
    str_free(&s);
    if (!joined)
        NOMEM(b->e, strlen(path) + 2, "a schema path");
    return joined;
}

static int add_work(struct build *b, json_t *json, const char *path, const char *key, int depth)
{
    if (b->n_work >= SCHEMA_NODES)
        BAD(b, path, "more than %d nodes in one schema", SCHEMA_NODES);
    TRY(mem_grow(&b->work, &b->cap_work, b->n_work + 1, sizeof *b->work, "schema nodes", b->e));
    const char *joined = key ? path_join(b, path, key) : path;
    if (!joined)
        return ERR_NOMEM;
    b->work[b->n_work++] = (struct work){.json = json, .path = joined, .depth = depth};
    return 0;
}

/* ---- keywords ------------------------------------------------------------------------------- */

static int find_form(struct build *b, const struct work *w, enum form *out)
{
    if (!json_is_object(w->json))
        BAD(b, w->path, "a schema must be a JSON object");
    json_t *type = json_object_get(w->json, "type");
    bool is_enum = json_object_get(w->json, "enum"), is_const = json_object_get(w->json, "const");
    if (is_enum && is_const)
        BAD(b, w->path, "enum and const together; keep one");
    if (!type && !is_enum && !is_const)
        BAD(b, w->path,
            "has no type; add one of object, array, string, integer, number, boolean, null");
    *out = is_enum ? ENUM : CONST;
    if (!type)
        return 0;
    const char *name = json_string_value(type);
    enum form said = 0;
    while (said < ENUM && (!name || strcmp(name, form_name[said])))
        said++;
    if (said == ENUM)
        BAD(b, w->path,
            "type must be one of object, array, string, integer, number, boolean, null");
    if (is_enum && said != STRING)
        BAD(b, w->path, "enum is supported for type string only, not for %s", name);
    if (!is_enum && !is_const)
        *out = said;
    return 0;
}

static int check_keywords(struct build *b, const struct work *w, enum form form)
{
    const char *key;
    json_t *value;
    json_object_foreach(w->json, key, value) {
        const struct keyword *found = NULL, *near = NULL;
        int best = 4;
        for (size_t i = 0; i < N_KEYWORDS && !found; i++) {
            int d = str_distance(key, keywords[i].name);
            if (!strcmp(key, keywords[i].name))
                found = &keywords[i];
            else if (d < best) {
                best = d;
                near = &keywords[i];
            }
        }
        if (found && (found->forms & BIT(form)))
            continue;
        const char *path = path_join(b, w->path, key);
        if (!path)
            return ERR_NOMEM;
        if (found)
            BAD(b, path, "does not apply to %s", form_name[form]);
        if (near)
            BAD(b, path, "unknown keyword; the nearest known is %s", near->name);
        BAD(b, path, "unknown or unsupported keyword; remove it");
    }
    return 0;
}

/* An integer keyword in [lo, hi]; absent: dflt, or an error when dflt < 0. */
static int get_count(struct build *b, const struct work *w, const char *key, int lo, int hi,
                     int dflt, uint16_t *out)
{
    json_t *v = json_object_get(w->json, key);
    if (!v && dflt < 0)
        BAD(b, w->path, "%s is missing; replies must be bounded", key);
    json_int_t n = v ? json_integer_value(v) : dflt;
    if (v && (!json_is_integer(v) || n < lo || n > hi)) {
        const char *path = path_join(b, w->path, key);
        if (!path)
            return ERR_NOMEM;
        BAD(b, path, "must be an integer from %d to %d", lo, hi);
    }
    *out = (uint16_t)n;
    return 0;
}

static int get_bool(struct build *b, const struct work *w, const char *key, bool *out)
{
    json_t *v = json_object_get(w->json, key);
    if (v && !json_is_boolean(v)) {
        const char *path = path_join(b, w->path, key);
        if (!path)
            return ERR_NOMEM;
        BAD(b, path, "must be true or false");
    }
    *out = v && json_is_true(v);
    return 0;
}

/* ---- objects -------------------------------------------------------------------------------- */

static int check_required(struct build *b, const struct work *w, json_t *properties)
{
    json_t *required = json_object_get(w->json, "required"), *item;
    if (!required)
        return 0;
    const char *path = path_join(b, w->path, "required");
    if (!path)
        return ERR_NOMEM;
    if (!json_is_array(required))
        BAD(b, path, "must be an array of property names");
    size_t i;
    json_array_foreach(required, i, item) {
        const char *name = json_string_value(item);
        if (!name || !json_object_get(properties, name))
            BAD(b, path, "item %zu is not a name in properties", i);
        for (size_t j = 0; j < i; j++)
            if (!strcmp(name, json_string_value(json_array_get(required, j))))
                BAD(b, path, "names %s twice", name);
    }
    const char *key;
    json_t *value;
    if (json_array_size(required) < json_object_size(properties))
        json_object_foreach(properties, key, value) {
            bool listed = false;
            json_array_foreach(required, i, item)
                listed = listed || !strcmp(key, json_string_value(item));
            if (!listed)
                BAD(b, path, "does not list %s; every property is written, so list all or none",
                    key);
        }
    return 0;
}

static int keep_text(struct build *b, struct str *s, struct schema_text *out)
{
    int rc = str_ok(s, "a schema text", b->e);
    const char *kept = rc < 0 ? NULL : arena_strndup(&b->sc->arena, s->s, s->len);
    if (kept)
        *out = (struct schema_text){.s = kept, .n = s->len};
    else if (rc == 0)
        rc = NOMEM(b->e, s->len + 1, "a schema text");
    str_free(s);
    return rc;
}

static int set_object(struct build *b, size_t at, struct schema_node *node)
{
    struct work w = b->work[at];
    json_t *properties = json_object_get(w.json, "properties"), *value;
    if (!json_is_object(properties))
        BAD(b, w.path, "an object needs properties");
    if (json_object_size(properties) > SCHEMA_PROPERTIES)
        BAD(b, w.path, "%zu properties; the limit is %d", json_object_size(properties),
            SCHEMA_PROPERTIES);
    bool more;
    TRY(get_bool(b, &w, "additionalProperties", &more));
    if (more)
        BAD(b, w.path, "additionalProperties true is not bounded; say false");
    TRY(check_required(b, &w, properties));
    const char *path = path_join(b, w.path, "properties"), *key;
    node->n = (uint16_t)json_object_size(properties);
    node->child = (uint16_t)b->n_work;
    struct schema_text *text = arena_alloc(&b->sc->arena, node->n + (size_t)1, sizeof *text);
    if (!path || !text)
        return NOMEM(b->e, (node->n + (size_t)1) * sizeof *text, "a schema's properties");
    node->text = text;
    json_object_foreach(properties, key, value) {
        if (strlen(key) > SCHEMA_TEXT)
            BAD(b, path, "a property name of %zu bytes; the limit is %d", strlen(key), SCHEMA_TEXT);
        struct str s = STR_INIT;
        str_adds(&s, text == node->text ? "{" : ", ");
        str_add_json(&s, key, strlen(key));
        str_adds(&s, ": ");
        TRY(keep_text(b, &s, text++));
        TRY(add_work(b, value, path, key, w.depth + 1));
    }
    *text = node->n ? (struct schema_text){"}", 1} : (struct schema_text){"{}", 2};
    return 0;
}

/* ---- arrays, strings, numbers --------------------------------------------------------------- */

static int set_array(struct build *b, size_t at, struct schema_node *node)
{
    struct work w = b->work[at];
    json_t *items = json_object_get(w.json, "items");
    if (!items)
        BAD(b, w.path, "an array needs items");
    TRY(get_count(b, &w, "minItems", 0, SCHEMA_ITEMS, 0, &node->min));
    TRY(get_count(b, &w, "maxItems", 0, SCHEMA_ITEMS, -1, &node->max));
    TRY(get_bool(b, &w, "uniqueItems", &node->unique));
    if (node->min > node->max)
        BAD(b, w.path, "minItems %d is above maxItems %d", node->min, node->max);
    json_t *values = json_object_get(items, "enum");
    size_t n = json_array_size(values);
    if (node->unique) {
        if (!values || n > SCHEMA_UNIQUE)
            BAD(b, w.path, "uniqueItems is supported for an enum of at most %d values only",
                SCHEMA_UNIQUE);
        if (n < node->min)
            BAD(b, w.path, "minItems %d of an enum of %zu unique values", node->min, n);
        if (n < node->max)
            node->max = (uint16_t)n;
    }
    node->child = (uint16_t)b->n_work;
    return add_work(b, items, w.path, "items", w.depth + 1);
}

static int set_string(struct build *b, size_t at, struct schema_node *node)
{
    const struct work *w = &b->work[at];
    TRY(get_count(b, w, "minLength", 0, SCHEMA_CHARS, 0, &node->min));
    TRY(get_count(b, w, "maxLength", 0, SCHEMA_CHARS, -1, &node->max));
    if (node->min > node->max)
        BAD(b, w->path, "minLength %d is above maxLength %d", node->min, node->max);
    return 0;
}

static int get_bound(struct build *b, const struct work *w, const char *key, bool up, int decimals,
                     int64_t *out)
{
    json_t *v = json_object_get(w->json, key);
    if (!v)
        BAD(b, w->path, "%s is missing; replies must be bounded", key);
    int64_t scaled;
    int from;
    const char *path = path_join(b, w->path, key);
    if (!path)
        return ERR_NOMEM;
    if (!json_is_number(v) || !number_decimal(json_number_value(v), &scaled, &from))
        BAD(b, path, "must be a number from -%d to %d with at most %d digits after the point",
            NUMBER_LIMIT, NUMBER_LIMIT, NUMBER_DECIMALS);
    *out = number_rescale(scaled, from, decimals, up);
    return 0;
}

static int set_number(struct build *b, size_t at, struct schema_node *node, bool integer)
{
    const struct work *w = &b->work[at];
    uint16_t decimals = 0;
    if (!integer)
        TRY(get_count(b, w, "x-decimals", 0, NUMBER_DECIMALS, 2, &decimals));
    node->range.decimals = (uint8_t)decimals;
    TRY(get_bound(b, w, "minimum", true, decimals, &node->range.lo));
    TRY(get_bound(b, w, "maximum", false, decimals, &node->range.hi));
    if (node->range.lo > node->range.hi)
        BAD(b, w->path, "no number with %d digits after the point lies between minimum and maximum",
            decimals);
    return 0;
}

/* ---- choices -------------------------------------------------------------------------------- */

static int text_order(const void *pa, const void *pb)
{
    const struct schema_text *a = pa, *b = pb;
    int c = memcmp(a->s, b->s, a->n < b->n ? a->n : b->n);
    return c ? c : (a->n > b->n) - (a->n < b->n);
}

static int add_value(struct build *b, const char *path, json_t *value, struct schema_text *out)
{
    struct str s = STR_INIT;
    int64_t scaled;
    int decimals;
    char number[NUMBER_TEXT];
    if (json_is_string(value) && json_string_length(value) <= SCHEMA_TEXT) {
        str_add_json(&s, json_string_value(value), json_string_length(value));
    } else if (json_is_boolean(value) || json_is_null(value)) {
        str_adds(&s, json_is_null(value) ? "null" : json_is_true(value) ? "true" : "false");
    } else if (json_is_number(value) &&
               number_decimal(json_number_value(value), &scaled, &decimals)) {
        number_write(scaled, decimals, number);
        str_adds(&s, number);
    } else {
        BAD(b, path,
            "must be a string of at most %d bytes, a number from -%d to %d, a boolean or null",
            SCHEMA_TEXT, NUMBER_LIMIT, NUMBER_LIMIT);
    }
    return keep_text(b, &s, out);
}

static int set_enum(struct build *b, size_t at, struct schema_node *node)
{
    const struct work *w = &b->work[at];
    json_t *values = json_object_get(w->json, "enum"), *value;
    const char *path = path_join(b, w->path, "enum");
    size_t n = json_array_size(values), i;
    if (!path)
        return ERR_NOMEM;
    if (n < 1 || n > SCHEMA_VALUES)
        BAD(b, path, "must be an array of 1 to %d strings", SCHEMA_VALUES);
    struct schema_text *text = arena_alloc(&b->sc->arena, n, sizeof *text);
    if (!text)
        return NOMEM(b->e, n * sizeof *text, "an enum");
    json_array_foreach(values, i, value) {
        if (!json_is_string(value))
            BAD(b, path, "item %zu is not a string", i);
        TRY(add_value(b, path, value, &text[i]));
    }
    qsort(text, n, sizeof *text, text_order);
    for (i = 1; i < n; i++)
        if (!text_order(&text[i - 1], &text[i]))
            BAD(b, path, "%s is listed twice", text[i].s);
    node->text = text;
    node->n = (uint16_t)n;
    return 0;
}

static int set_const(struct build *b, size_t at, struct schema_node *node)
{
    const struct work *w = &b->work[at];
    json_t *value = json_object_get(w->json, "const"), *type = json_object_get(w->json, "type");
    const char *path = path_join(b, w->path, "const");
    struct schema_text *text = arena_alloc(&b->sc->arena, 1, sizeof *text);
    if (!path || !text)
        return NOMEM(b->e, sizeof *text, "a const");
    if (type) {
        const char *t = json_string_value(type);
        bool agrees = !strcmp(t, "string")    ? json_is_string(value)
                      : !strcmp(t, "integer") ? json_is_integer(value)
                      : !strcmp(t, "number")  ? json_is_number(value)
                      : !strcmp(t, "boolean") ? json_is_boolean(value)
                      : !strcmp(t, "null")    ? json_is_null(value)
                                              : false;
        if (!agrees)
            BAD(b, path, "is not of type %s", t);
    }
    TRY(add_value(b, path, value, text));
    node->text = text;
    node->n = 1;
    return 0;
}

static void set_words(struct schema_node *node, enum form form)
{
    static const struct schema_text boolean[] = {{"false", 5}, {"true", 4}}, nil[] = {{"null", 4}};
    node->text = form == BOOLEAN ? boolean : nil;
    node->n = form == BOOLEAN ? 2 : 1;
}

/* ---- the table ------------------------------------------------------------------------------ */

static int set_node(struct build *b, size_t at)
{
    static const enum schema_kind kinds[FORMS] = {
        [OBJECT] = SCHEMA_OBJECT,  [ARRAY] = SCHEMA_ARRAY,   [STRING] = SCHEMA_STRING,
        [INTEGER] = SCHEMA_NUMBER, [NUMBER] = SCHEMA_NUMBER, [BOOLEAN] = SCHEMA_CHOICE,
        [NIL] = SCHEMA_CHOICE,     [ENUM] = SCHEMA_CHOICE,   [CONST] = SCHEMA_CHOICE,
    };
    struct work w = b->work[at];
    enum form form = FORMS;
    if (w.depth > GRAMMAR_DEPTH)
        BAD(b, w.path, "nested deeper than %d", GRAMMAR_DEPTH);
    TRY(find_form(b, &w, &form));
    TRY(check_keywords(b, &w, form));
    struct schema_node node = {.kind = kinds[form]};
    switch (form) {
    case OBJECT:
        TRY(set_object(b, at, &node));
        break;
    case ARRAY:
        TRY(set_array(b, at, &node));
        break;
    case STRING:
        TRY(set_string(b, at, &node));
        break;
    case INTEGER:
    case NUMBER:
        if (at == 0)
            BAD(b, w.path, "a bare number has no end; put it into an object");
        TRY(set_number(b, at, &node, form == INTEGER));
        break;
    case ENUM:
        TRY(set_enum(b, at, &node));
        break;
    case CONST:
        TRY(set_const(b, at, &node));
        break;
    default:
        set_words(&node, form);
    }
    TRY(mem_grow(&b->sc->node, &b->cap_node, at + 1, sizeof node, "schema nodes", b->e));
    b->sc->node[at] = node;
    b->sc->n = at + 1;
    return 0;
}

static size_t add_cap(size_t a, size_t b, size_t times) /* a + b * times, at most SIZE_MAX / 2 */
{
    size_t p;
    if (!size_mul(b, times, &p) || !size_add(a, p, &p) || p > SIZE_MAX / 2)
        return SIZE_MAX / 2;
    return p;
}

static void set_sizes(const struct schema *sc, struct schema_node *node)
{
    const struct schema_node *child = &sc->node[node->child];
    struct number_prefix none = {0};
    char number[NUMBER_TEXT];
    switch (node->kind) {
    case SCHEMA_OBJECT:
        for (size_t i = 0; i <= node->n; i++) {
            node->least = add_cap(node->least, node->text[i].n, 1);
            node->most = add_cap(node->most, node->text[i].n, 1);
        }
        for (size_t i = 0; i < node->n; i++) {
            node->least = add_cap(node->least, child[i].least, 1);
            node->most = add_cap(node->most, child[i].most, 1);
        }
        return;
    case SCHEMA_ARRAY: /* an item beyond min may have begun */
        node->least = node->min ? add_cap(0, child->least + 2, node->min) : 2;
        node->most = add_cap(2, child->most + 2, node->min ? node->min : node->max ? 1 : 0);
        return;
    case SCHEMA_STRING: /* a surrogate pair may have begun */
        node->least = node->min + (size_t)2;
        node->most = node->min + (size_t)2 + 12;
        return;
    case SCHEMA_CHOICE:
        node->least = SIZE_MAX;
        for (size_t i = 0; i < node->n; i++) {
            node->least = node->text[i].n < node->least ? node->text[i].n : node->least;
            node->most = node->text[i].n > node->most ? node->text[i].n : node->most;
        }
        return;
    case SCHEMA_NUMBER:
        node->least = (size_t)number_shortest(&node->range, &none, number);
        node->most = NUMBER_TEXT;
    }
}

static uint64_t hash_bytes(uint64_t h, const void *p, size_t n)
{
    const unsigned char *s = p;
    h = rng_mix(h ^ n);
    for (size_t i = 0; i < n; i++)
        h = rng_mix(h ^ s[i]);
    return h;
}

static uint64_t hash_node(uint64_t h, const struct schema_node *node)
{
    const uint64_t fixed[] = {
        node->kind, node->n, node->child, node->min, node->max, node->unique,
        (uint64_t)node->range.lo, (uint64_t)node->range.hi, node->range.decimals,
    };
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++)
        h = rng_mix(h ^ fixed[i]);
    size_t n = node->kind == SCHEMA_OBJECT ? node->n + (size_t)1 : node->n;
    for (size_t i = 0; i < n; i++)
        h = hash_bytes(h, node->text[i].s, node->text[i].n);
    return h;
}

static int build_all(struct build *b, json_t *root)
{
    TRY(add_work(b, root, "#", NULL, 1));
    for (size_t i = 0; i < b->n_work; i++)
        TRY(set_node(b, i));
    struct schema *sc = b->sc;
    for (size_t i = sc->n; i-- > 0;)
        set_sizes(sc, &sc->node[i]);
    if (sc->node[0].most > SCHEMA_CLOSE)
        BAD(b, "#",
            "the shortest reply may need %zu bytes; the limit is %u: lower minItems or minLength",
            sc->node[0].most, SCHEMA_CLOSE);
    for (size_t i = 0; i < sc->n; i++)
        sc->hash = hash_node(sc->hash, &sc->node[i]);
    return 0;
}

int schema_compile(const char *text, size_t n, const char *name, struct schema *out, struct err *e)
{
    if (n > SCHEMA_BYTES)
        FAIL(e, ERR_CONFIG, "schema %s: %zu bytes; the limit is %u", name, n, SCHEMA_BYTES);
    json_error_t why;
    json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES, &why);
    if (!root && json_error_code(&why) == json_error_out_of_memory)
        return NOMEM(e, n, "a schema's JSON");
    if (!root)
        FAIL(e, ERR_CONFIG, "schema %s: line %d column %d: %s", name, why.line, why.column,
             why.text);
    struct schema sc = {.arena = {.limit = ARENA_LIMIT}};
    struct build b = {.sc = &sc, .name = name, .e = e};
    int rc = build_all(&b, root);
    json_decref(root);
    mem_free(b.work);
    if (rc < 0)
        schema_free(&sc);
    else
        *out = sc;
    return rc;
}

void schema_free(struct schema *sc)
{
    mem_free(sc->node);
    arena_free(&sc->arena);
    *sc = (struct schema){0};
}
