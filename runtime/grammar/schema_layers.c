#include <stdio.h>
#include <string.h>

#include "schema_build.h"

static const char *const form_names[FORMS] = {"object",  "array", "string", "integer", "number",
                                              "boolean", "null",  "enum",   "const"};

#define NUMERIC (BIT(INTEGER) | BIT(NUMBER))

static const struct keyword {
    const char *name;
    unsigned forms; /* forms of values that allow the keyword */
} keywords[] = {
    {"type", EVERY},
    {"$schema", EVERY},
    {"$id", EVERY},
    {"$comment", EVERY},
    {"$ref", EVERY},
    {"$defs", EVERY},
    {"definitions", EVERY},
    {"allOf", EVERY},
    {"anyOf", EVERY},
    {"oneOf", EVERY},
    {"title", EVERY},
    {"description", EVERY},
    {"default", EVERY},
    {"examples", EVERY},
    {"example", EVERY},
    {"deprecated", EVERY},
    {"readOnly", EVERY},
    {"writeOnly", EVERY},
    {"discriminator", EVERY},
    {"properties", BIT(OBJECT)},
    {"required", BIT(OBJECT)},
    {"additionalProperties", BIT(OBJECT)},
    {"minProperties", BIT(OBJECT)},
    {"maxProperties", BIT(OBJECT)},
    {"propertyNames", BIT(OBJECT)},
    {"x-pairs", BIT(OBJECT)},
    {"x-pair", BIT(OBJECT)},
    {"patternProperties", BIT(OBJECT)},
    {"items", BIT(ARRAY)},
    {"prefixItems", BIT(ARRAY)},
    {"additionalItems", BIT(ARRAY)},
    {"minItems", BIT(ARRAY)},
    {"maxItems", BIT(ARRAY)},
    {"uniqueItems", BIT(ARRAY)},
    {"minLength", BIT(STRING)},
    {"maxLength", BIT(STRING)},
    {"pattern", BIT(STRING)},
    {"format", BIT(STRING) | NUMERIC},
    {"minimum", NUMERIC},
    {"maximum", NUMERIC},
    {"exclusiveMinimum", NUMERIC},
    {"exclusiveMaximum", NUMERIC},
    {"multipleOf", NUMERIC},
    {"x-decimals", BIT(NUMBER)},
    {"enum", BIT(ENUM)},
    {"const", BIT(CONST)},
};
#define N_KEYWORDS (sizeof keywords / sizeof keywords[0])

static const struct {
    const char *name, *instead;
} refused[] = {
    {"not", "write the forms that are allowed as anyOf"},
    {"if", "write each case as an alternative of anyOf"},
    {"then", "write each case as an alternative of anyOf"},
    {"else", "write each case as an alternative of anyOf"},
    {"dependentRequired", "write each case as an alternative of anyOf"},
    {"dependentSchemas", "write each case as an alternative of anyOf"},
    {"dependencies", "write each case as an alternative of anyOf"},
    {"contains", "put what must be there into prefixItems"},
    {"minContains", "put what must be there into prefixItems"},
    {"maxContains", "put what must be there into prefixItems"},
    {"unevaluatedProperties", "write additionalProperties"},
    {"unevaluatedItems", "write items"},
    {"nullable", "write \"type\": [.., \"null\"] or anyOf with {\"type\": \"null\"}"},
    {"contentEncoding", "write pattern"},
    {"contentMediaType", "remove it"},
    {"contentSchema", "remove it"},
    {"$anchor", "refer by a path: \"$ref\": \"#/$defs/name\""},
    {"$dynamicRef", "write $ref"},
    {"$dynamicAnchor", "refer by a path: \"$ref\": \"#/$defs/name\""},
    {"$recursiveRef", "write $ref"},
    {"$recursiveAnchor", "refer by a path: \"$ref\": \"#/$defs/name\""},
    {"$vocabulary", "remove it"},
    {"divisibleBy", "write multipleOf"},
    {"id", "write $id"},
};

const char *form_name(enum form f)
{
    return form_names[f];
}

/* ---- keywords ------------------------------------------------------------------------------- */

static int unknown_keyword(struct build *b, const char *path, const char *key)
{
    const struct keyword *near = NULL;
    int best = 4;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        if (!strcmp(key, refused[i].name))
            BAD_KEY(b, path, key, "is not supported; %s", refused[i].instead);
    for (size_t i = 0; i < N_KEYWORDS; i++) {
        if (!strncmp(keywords[i].name, "x-pair", 6))
            continue;
        int d = str_distance(key, keywords[i].name);
        if (d < best) {
            best = d;
            near = &keywords[i];
        }
    }
    if (!strcmp(key, "schema") || !strcmp(key, "json_schema") || !strcmp(key, "strict") ||
        !strcmp(key, "name"))
        BAD_KEY(b, path, key,
                "is of a request that holds a schema; give the object under \"schema\" alone");
    if (near)
        BAD_KEY(b, path, key, "unknown keyword; the nearest known is %s", near->name);
    BAD_KEY(b, path, key, "unknown or unsupported keyword; remove it");
}

/* *out: the types that one schema object names; all types when it names none. */
static int own_types(struct build *b, const struct layer *l, unsigned *out)
{
    json_t *type = json_object_get(l->json, "type");
    size_t n = json_is_array(type) ? json_array_size(type) : 1;
    *out = type ? 0 : TYPES;
    for (size_t i = 0; type && i < n; i++) {
        const char *name = json_string_value(json_is_array(type) ? json_array_get(type, i) : type);
        enum form said = 0;
        while (said < ENUM && (!name || strcmp(name, form_names[said])))
            said++;
        if (said == ENUM)
            BAD(b, l->path,
                "type must be one of object, array, string, integer, number, boolean, null, or a "
                "list of these");
        *out |= BIT(said) | (said == NUMBER ? BIT(INTEGER) : 0);
    }
    if (!*out)
        BAD_KEY(b, l->path, "type", "is an empty list; name a type");
    return 0;
}

static int check_keywords(struct build *b, const struct layer *l)
{
    const char *key;
    json_t *value;
    unsigned types;
    bool is_enum = json_object_get(l->json, "enum"), is_const = json_object_get(l->json, "const");
    if (is_enum && is_const)
        BAD(b, l->path, "enum and const together; keep one");
    TRY(own_types(b, l, &types));
    if (!json_object_get(l->json, "type") && !is_enum && !is_const)
        types = EVERY;
    unsigned forms = is_enum ? BIT(ENUM) : is_const ? BIT(CONST) : types;
    if (types == NUMERIC)
        forms &= ~BIT(INTEGER);
    json_object_foreach(l->json, key, value)
    {
        const struct keyword *found = NULL;
        for (size_t i = 0; i < N_KEYWORDS && !found; i++)
            if (!strcmp(key, keywords[i].name))
                found = &keywords[i];
        if (!found || (!b->own && !strncmp(key, "x-pair", 6)))
            return unknown_keyword(b, l->path, key);
        if (found->forms & forms)
            continue;
        for (enum form f = 0; f < FORMS; f++)
            if (forms == BIT(f))
                BAD_KEY(b, l->path, key, "does not apply to %s; remove it", form_names[f]);
        BAD_KEY(b, l->path, key, "does not apply to any of the types; remove it");
    }
    return 0;
}

int layers_types(struct build *b, const struct work *w, unsigned *types, bool *said)
{
    unsigned hints = 0;
    *types = w->only;
    *said = false;
    for (size_t i = 0; i < w->n; i++) {
        const struct layer *l = &w->layer[i];
        unsigned own;
        if (l->kind != LAYER_PLAIN)
            continue;
        TRY(own_types(b, l, &own));
        *said = *said || own != TYPES;
        *types &= own;
        for (size_t k = 0; k < N_KEYWORDS; k++)
            if (keywords[k].forms != EVERY && json_object_get(l->json, keywords[k].name))
                hints |= keywords[k].forms & TYPES;
        if (!*types)
            BAD(b, l->path,
                "leaves no type: the schemas that must fit here name different ones; join them");
    }
    if (!*said && hints) { /* "minimum" implies a number, not an integer */
        *types &= hints;
        *said = true;
    }
    if (*types & BIT(NUMBER))
        *types &= ~BIT(INTEGER);
    if (!*types)
        BAD(b, w->layer[0].path, "has no type that its keywords apply to; add one");
    return 0;
}

/* ---- references ----------------------------------------------------------------------------- */

static int hex(char c)
{
    char low = (char)(c | 0x20);
    return c >= '0' && c <= '9' ? c - '0' : low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
}

/* Reads one step of a JSON pointer in a URI fragment. *s is left at the next "/" or at the end. */
static bool pointer_token(const char **s, struct str *out)
{
    for (; **s && **s != '/'; ++*s) {
        int c = (unsigned char)**s;
        if (c == '%') {
            int hi = hex((*s)[1]), lo = hi < 0 ? -1 : hex((*s)[2]);
            c = lo < 0 ? 0 : hi * 16 + lo;
            *s += 2 * (c != 0);
        }
        if (c == '~') {
            ++*s;
            c = **s == '0' ? '~' : **s == '1' ? '/' : 0;
        }
        if (!c)
            return false;
        str_addc(out, (char)c);
    }
    return true;
}

static json_t *pointer_child(json_t *at, const char *token)
{
    int64_t index;
    if (json_is_object(at))
        return json_object_get(at, token);
    if (json_is_array(at) && (!strcmp(token, "0") || token[0] != '0') &&
        str_to_i64(token, 0, INT32_MAX, &index))
        return json_array_get(at, (size_t)index);
    return NULL;
}

static int find_target(struct build *b, const struct layer *l, const char *ref, json_t **out)
{
    json_t *at = b->root;
    struct str token = STR_INIT;
    const char *s = ref + 1;
    bool fine = true;
    if (ref[0] != '#' || (ref[1] && ref[1] != '/'))
        BAD_KEY(b, l->path, "$ref",
                "%s is not a place in this schema; copy it into $defs and write "
                "\"#/$defs/name\"",
                ref);
    while (fine && *s && at) {
        s++;
        str_clear(&token);
        fine = pointer_token(&s, &token) && !token.failed;
        at = fine ? pointer_child(at, token.s) : NULL;
    }
    bool failed = token.failed;
    str_free(&token);
    if (failed)
        return NOMEM(b->e, strlen(ref), "a reference");
    if (!at)
        BAD_KEY(b, l->path, "$ref", "there is no %s in this schema", ref);
    if (at != b->root && json_object_get(at, "$id"))
        BAD_KEY(b, l->path, "$ref", "%s has an $id of its own; remove that", ref);
    *out = at;
    return 0;
}

static bool recursive(const struct origin *o, const json_t *target)
{
    for (; o; o = o->up)
        if (o->json == target)
            return true;
    return false;
}

/* ---- layers --------------------------------------------------------------------------------- */

int layers_push(struct build *b, json_t *json, const char *path, enum layer_kind kind,
                const struct origin *up)
{
    if (!path)
        return ERR_NOMEM;
    if (b->n_layer >= SCHEMA_LAYERS)
        BAD(b, path, "more than %d schemas must fit one value; join them", SCHEMA_LAYERS);
    struct origin *o = arena_alloc(&b->sc->arena, 1, sizeof *o);
    if (!o)
        return NOMEM(b->e, sizeof *o, "schemas");
    *o = (struct origin){.json = json, .up = up};
    TRY(mem_grow(&b->layer, &b->cap_layer, b->n_layer + 1, sizeof *b->layer, "schemas", b->e));
    b->layer[b->n_layer++] = (struct layer){.json = json, .path = path, .kind = kind, .origin = o};
    return 0;
}

static int add_ref(struct build *b, size_t i)
{
    struct layer l = b->layer[i];
    json_t *ref = json_object_get(l.json, "$ref"), *target = NULL;
    if (!ref)
        return 0;
    if (!json_is_string(ref))
        BAD_KEY(b, l.path, "$ref", "must be a string");
    TRY(find_target(b, &l, json_string_value(ref), &target));
    if (recursive(l.origin, target))
        BAD_KEY(b, l.path, "$ref",
                "%s is recursive: replies would have no bound; write the levels out",
                json_string_value(ref));
    const char *path =
        arena_strndup(&b->sc->arena, json_string_value(ref), json_string_length(ref));
    return path ? layers_push(b, target, path, LAYER_RAW, l.origin) : NOMEM(b->e, 1, "a reference");
}

static int add_list(struct build *b, size_t i, const char *key, enum layer_kind kind)
{
    struct layer l = b->layer[i];
    json_t *list = json_object_get(l.json, key), *one;
    if (!list)
        return 0;
    const char *path = schema_path(b, l.path, key);
    size_t n = json_array_size(list), k;
    if (!path)
        return ERR_NOMEM;
    if (n < 1 || n > SCHEMA_ALTERNATIVES)
        BAD(b, path, "must be an array of 1 to %d schemas", SCHEMA_ALTERNATIVES);
    if (kind != LAYER_RAW)
        return layers_push(b, list, path, kind, l.origin);
    json_array_foreach(list, k, one)
    {
        char index[24];
        snprintf(index, sizeof index, "%zu", k);
        TRY(layers_push(b, one, schema_path(b, path, index), kind, l.origin));
    }
    return 0;
}

/* Moves the layers at `from` and after to place `to`: a layer precedes those that it leads to. */
static void move_layers(struct build *b, size_t from, size_t to)
{
    struct layer led[SCHEMA_LAYERS];
    size_t n = b->n_layer - from;
    memcpy(led, b->layer + from, n * sizeof *led);
    memmove(b->layer + to + n, b->layer + to, (from - to) * sizeof *led);
    memcpy(b->layer + to, led, n * sizeof *led);
}

int layers_expand(struct build *b, size_t at)
{
    struct work *w = &b->work[at];
    TRY(mem_grow(&b->layer, &b->cap_layer, w->n, sizeof *b->layer, "schemas", b->e));
    memcpy(b->layer, w->layer, w->n * sizeof *b->layer);
    b->n_layer = w->n;
    for (size_t i = 0; i < b->n_layer; i++) {
        struct layer l = b->layer[i];
        if (l.kind != LAYER_RAW)
            continue;
        if (json_is_false(l.json))
            BAD(b, l.path, "false allows nothing; remove it");
        if (!json_is_object(l.json) && !json_is_true(l.json))
            BAD(b, l.path, "a schema must be a JSON object");
        b->layer[i].kind = json_is_true(l.json) ? LAYER_TRUE : LAYER_PLAIN;
        if (json_is_true(l.json))
            continue;
        size_t before = b->n_layer;
        TRY(check_keywords(b, &l));
        TRY(add_ref(b, i));
        TRY(add_list(b, i, "allOf", LAYER_RAW));
        TRY(add_list(b, i, "anyOf", LAYER_ANY));
        TRY(add_list(b, i, "oneOf", LAYER_ONE));
        move_layers(b, before, i + 1);
    }
    struct layer *kept = arena_alloc(&b->sc->arena, b->n_layer, sizeof *kept);
    if (!kept)
        return NOMEM(b->e, b->n_layer * sizeof *kept, "schemas");
    memcpy(kept, b->layer, b->n_layer * sizeof *kept);
    w->layer = kept;
    w->n = b->n_layer;
    return 0;
}
