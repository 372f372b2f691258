#include <math.h>
#include <string.h>

#include "schema_build.h"
#include "text_format.h"

/* Iterates over the layers of a node that have keywords. */
#define EACH_PLAIN(w, l)                                                                           \
    for (const struct layer *l = (w)->layer; l < (w)->layer + (w)->n; l++)                         \
        if (l->kind == LAYER_PLAIN)

static const char *path_of(const struct work *w)
{
    return w->layer[0].path;
}

/* The strictest value of an integer keyword in 0..hi over all layers: the largest, or the smallest
 * if `least`. *found = false: no layer has the keyword. */
static int get_count(struct build *b, const struct work *w, const char *key, int hi, bool least,
                     bool *found, int *out)
{
    *found = false;
    EACH_PLAIN(w, l)
    {
        json_t *v = json_object_get(l->json, key);
        if (!v)
            continue;
        double x = json_number_value(v);
        if (!json_is_number(v) || x != floor(x) || !(x >= 0 && x <= hi))
            BAD_KEY(b, l->path, key, "must be an integer from 0 to %d", hi);
        int n = (int)x;
        *out = !*found || (least ? n < *out : n > *out) ? n : *out;
        *found = true;
    }
    return 0;
}

/* ---- objects -------------------------------------------------------------------------------- */

struct object {
    const char *name[SCHEMA_PROPERTIES];
    bool required[SCHEMA_PROPERTIES];
    size_t n;
    bool has_required, closed;
};

static size_t object_find(const struct object *o, const char *name)
{
    size_t i = 0;
    while (i < o->n && strcmp(o->name[i], name))
        i++;
    return i;
}

static int check_layer(struct build *b, const struct layer *l)
{
    json_t *properties = json_object_get(l->json, "properties"),
           *more = json_object_get(l->json, "additionalProperties"),
           *by_pattern = json_object_get(l->json, "patternProperties"),
           *names = json_object_get(l->json, "propertyNames");
    json_t *type = json_object_get(names, "type");
    if (properties && !json_is_object(properties))
        BAD_KEY(b, l->path, "properties", "must be an object of schemas");
    if (more && !json_is_boolean(more) && !json_is_object(more))
        BAD_KEY(b, l->path, "additionalProperties", "must be true, false or a schema");
    if (by_pattern && (!json_is_object(by_pattern) || json_object_size(by_pattern)))
        BAD_KEY(b, l->path, "patternProperties",
                "is not supported; list the names in properties, no others are written");
    bool any = !names || json_is_true(names) ||
               (json_is_object(names) && (!json_object_size(names) ||
                                          (json_object_size(names) == 1 && json_is_string(type) &&
                                           !strcmp(json_string_value(type), "string"))));
    if (!any)
        BAD_KEY(b, l->path, "propertyNames",
                "is not supported; list the names in properties, no others are written");
    return 0;
}

static int read_names(struct build *b, const struct work *w, struct object *o)
{
    const char *key;
    json_t *value;
    EACH_PLAIN(w, l)
    {
        TRY(check_layer(b, l));
        json_t *properties = json_object_get(l->json, "properties");
        o->closed = o->closed || json_is_false(json_object_get(l->json, "additionalProperties"));
        json_object_foreach(properties, key, value)
        {
            if (strlen(key) > SCHEMA_TEXT)
                BAD_KEY(b, l->path, "properties", "a property name of %zu bytes; the limit is %d",
                        strlen(key), SCHEMA_TEXT);
            if (object_find(o, key) < o->n)
                continue;
            if (o->n == SCHEMA_PROPERTIES)
                BAD(b, l->path, "%zu properties; the limit is %d", json_object_size(properties),
                    SCHEMA_PROPERTIES);
            o->name[o->n++] = key;
        }
    }
    return 0;
}

static int read_required(struct build *b, const struct work *w, struct object *o)
{
    EACH_PLAIN(w, l)
    {
        json_t *required = json_object_get(l->json, "required"), *item;
        size_t i;
        if (!required)
            continue;
        if (!json_is_array(required))
            BAD_KEY(b, l->path, "required", "must be an array of property names");
        o->has_required = true;
        json_array_foreach(required, i, item)
        {
            const char *name = json_string_value(item);
            size_t at = name ? object_find(o, name) : o->n;
            if (at == o->n)
                BAD_KEY(b, l->path, "required",
                        "'%.60s', item %zu, is not a name in properties; declare it there",
                        name ? name : "(no text)", i + 1);
            for (size_t j = 0; j < i; j++)
                if (!strcmp(name, json_string_value(json_array_get(required, j))))
                    BAD_KEY(b, l->path, "required", "names %s twice", name);
            o->required[at] = true;
        }
    }
    return 0;
}

/* Puts the schemas of a property into b->layer; *forbidden: some layer does not allow it. */
static int property_layers(struct build *b, const struct work *w, const char *name, bool *forbidden)
{
    *forbidden = false;
    b->n_layer = 0;
    EACH_PLAIN(w, l)
    {
        json_t *one = json_object_get(json_object_get(l->json, "properties"), name);
        const char *path = l->path;
        if (one) {
            path = schema_path(b, path, "properties");
            path = path ? schema_path(b, path, name) : NULL;
        } else {
            one = json_object_get(l->json, "additionalProperties");
            path = one ? schema_path(b, path, "additionalProperties") : path;
        }
        *forbidden = *forbidden || (one && json_is_false(one));
        if (one)
            TRY(layers_push(b, one, path, LAYER_RAW, l->origin));
    }
    return 0;
}

/* Drops the properties that some layer forbids. */
static int drop_forbidden(struct build *b, const struct work *w, struct object *o)
{
    size_t n = 0;
    for (size_t i = 0; i < o->n; i++) {
        bool forbidden;
        TRY(property_layers(b, w, o->name[i], &forbidden));
        if (forbidden && o->required[i])
            BAD(b, path_of(w), "requires %s, which it does not allow", o->name[i]);
        if (forbidden)
            continue;
        o->name[n] = o->name[i];
        o->required[n++] = o->required[i];
    }
    o->n = n;
    return 0;
}

static int set_counts(struct build *b, const struct work *w, const struct object *o,
                      struct schema_node *node)
{
    int min = 0, max = 0;
    bool has_min, has_max;
    size_t required = 0;
    TRY(get_count(b, w, "minProperties", SCHEMA_PROPERTIES, false, &has_min, &min));
    TRY(get_count(b, w, "maxProperties", UINT16_MAX, true, &has_max, &max));
    for (size_t i = 0; i < o->n; i++)
        required += o->required[i];
    if ((size_t)min > o->n)
        BAD_KEY(b, path_of(w), "minProperties",
                "asks for %d, but %zu can be written; list more in properties", min, o->n);
    if (!has_max || (size_t)max > o->n)
        max = (int)o->n;
    if (min > max)
        BAD(b, path_of(w), "minProperties %d is above maxProperties %d", min, max);
    if (required > (size_t)max)
        BAD_KEY(b, path_of(w), "maxProperties", "allows %d, but %zu are required", max, required);
    bool all = !o->has_required ? o->n <= (size_t)max : required == o->n;
    node->kind = all ? SCHEMA_OBJECT : SCHEMA_MEMBERS;
    node->min = (uint16_t)min;
    node->max = (uint16_t)max;
    node->counted = (size_t)min > required || (size_t)max < o->n;
    return 0;
}

static int keep_names(struct build *b, const struct object *o, struct schema_node *node)
{
    struct schema_text *text = arena_alloc(&b->sc->arena, o->n + 1, sizeof *text);
    if (!text)
        return NOMEM(b->e, (o->n + 1) * sizeof *text, "a schema's properties");
    for (size_t i = 0; i < o->n; i++) {
        struct str s = STR_INIT;
        if (node->kind == SCHEMA_OBJECT)
            str_adds(&s, i ? ", " : "{");
        str_add_json(&s, o->name[i], strlen(o->name[i]));
        str_adds(&s, ": ");
        TRY(schema_keep(b, &s, &text[i]));
    }
    text[o->n] = o->n ? (struct schema_text){"}", 1} : (struct schema_text){"{}", 2};
    node->text = text;
    return 0;
}

static int keep_facts(struct build *b, size_t at, const struct object *o)
{
    const char **name = arena_alloc(&b->sc->arena, o->n + 1, sizeof *name);
    bool *required = arena_alloc(&b->sc->arena, o->n + 1, sizeof *required);
    if (!name || !required)
        return NOMEM(b->e, o->n * sizeof *name, "a schema's properties");
    memcpy(name, o->name, o->n * sizeof *name);
    memcpy(required, o->required, o->n * sizeof *required);
    b->facts[at].name = name;
    b->facts[at].required = required;
    b->facts[at].closed = o->closed;
    return 0;
}

/* An object with free names, from x-pairs. */
static int set_map(struct build *b, size_t at, struct schema_node *node)
{
    const struct work w = b->work[at];
    const struct layer *l = &w.layer[0];
    b->n_layer = 0;
    node->kind = SCHEMA_ARRAY;
    node->map = true;
    node->max = SCHEMA_DEFAULT_ITEMS;
    node->child = (uint16_t)b->n_work;
    TRY(layers_push(b, json_object_get(l->json, "x-pairs"), schema_path(b, l->path, "x-pairs"),
                    LAYER_RAW, l->origin));
    return schema_add(b, b->layer, b->n_layer, TYPES, w.depth + 1, 0);
}

static int set_object(struct build *b, size_t at, struct schema_node *node)
{
    const struct work w = b->work[at];
    static const struct schema_text pair[] = {{"", 0}, {": ", 2}, {"", 0}};
    struct object o = {0};
    bool forbidden;
    if (b->own && json_object_get(w.layer[0].json, "x-pairs"))
        return set_map(b, at, node);
    TRY(read_names(b, &w, &o));
    TRY(read_required(b, &w, &o));
    TRY(drop_forbidden(b, &w, &o));
    TRY(set_counts(b, &w, &o, node));
    if (b->own && json_object_get(w.layer[0].json, "x-pair"))
        node->text = pair;
    else
        TRY(keep_names(b, &o, node));
    TRY(keep_facts(b, at, &o));
    node->required = b->facts[at].required;
    node->n = (uint16_t)o.n;
    node->child = (uint16_t)b->n_work;
    for (size_t i = 0; i < o.n; i++) {
        TRY(property_layers(b, &w, o.name[i], &forbidden));
        TRY(schema_add(b, b->layer, b->n_layer, TYPES, w.depth + 1, 0));
    }
    return 0;
}

/* ---- arrays --------------------------------------------------------------------------------- */

/* The schemas of the first items of one layer, and the schema of its other items. Drafts before
 * 2020-12 write a list into items and the schema of the others into additionalItems. */
static int item_schemas(struct build *b, const struct layer *l, json_t **first, const char **key,
                        json_t **rest, const char **rest_key)
{
    json_t *items = json_object_get(l->json, "items"),
           *more = json_object_get(l->json, "additionalItems");
    *first = json_object_get(l->json, "prefixItems");
    *key = "prefixItems";
    *rest = items;
    *rest_key = "items";
    if (json_is_array(items)) {
        if (*first)
            BAD_KEY(b, l->path, "items", "must be a schema beside prefixItems");
        *first = items;
        *key = "items";
        *rest = more;
        *rest_key = "additionalItems";
    } else if (more) {
        BAD_KEY(b, l->path, "additionalItems", "only goes with a list in items; write items");
    }
    if (*first && (!json_is_array(*first) || !json_array_size(*first)))
        BAD_KEY(b, l->path, *key, "must be an array of schemas");
    return 0;
}

/* Puts the schemas of item i into b->layer; *forbidden: some layer allows no such item. */
static int item_layers(struct build *b, const struct work *w, size_t i, bool *forbidden)
{
    *forbidden = false;
    b->n_layer = 0;
    EACH_PLAIN(w, l)
    {
        json_t *first, *rest, *one;
        const char *key, *rest_key, *path;
        TRY(item_schemas(b, l, &first, &key, &rest, &rest_key));
        one = i < json_array_size(first) ? json_array_get(first, i) : rest;
        if (!one)
            continue;
        if (json_is_false(one)) {
            *forbidden = true;
            return 0;
        }
        path = schema_path(b, l->path, one == rest ? rest_key : key);
        if (path && one != rest) {
            char index[24];
            snprintf(index, sizeof index, "%zu", i);
            path = schema_path(b, path, index);
        }
        TRY(layers_push(b, one, path, LAYER_RAW, l->origin));
    }
    return 0;
}

static int set_lengths(struct build *b, size_t at, size_t n_first, size_t most,
                       struct schema_node *node)
{
    const struct work *w = &b->work[at];
    int min = 0, max = 0;
    bool has_min, has_max;
    TRY(get_count(b, w, "minItems", SCHEMA_ITEMS, false, &has_min, &min));
    TRY(get_count(b, w, "maxItems", SCHEMA_ITEMS, true, &has_max, &max));
    b->facts[at].min = (size_t)min;
    b->facts[at].max = has_max && (size_t)max < most ? (size_t)max : most;
    if (!has_max)
        max = n_first ? (int)n_first : SCHEMA_DEFAULT_ITEMS;
    if (!has_max && max < min)
        max = min;
    if ((size_t)max > most)
        max = (int)most;
    if (min > max)
        BAD(b, path_of(w), "minItems %d is above maxItems %d", min, max);
    node->min = (uint16_t)min;
    node->max = (uint16_t)max;
    return 0;
}

static int add_item(struct build *b, const struct work *w, bool anything)
{
    if (!b->n_layer)
        TRY(layers_push(b, json_true(), path_of(w), LAYER_TRUE, w->layer[0].origin));
    return schema_add(b, b->layer, b->n_layer, anything ? SCALARS : TYPES, w->depth + 1, 0);
}

static int set_array(struct build *b, size_t at, struct schema_node *node)
{
    const struct work w = b->work[at];
    size_t n_first = 0, most = SIZE_MAX;
    bool forbidden, unique = false;
    EACH_PLAIN(&w, l)
    {
        json_t *first, *rest, *only = json_object_get(l->json, "uniqueItems");
        const char *key, *rest_key;
        TRY(item_schemas(b, l, &first, &key, &rest, &rest_key));
        n_first = json_array_size(first) > n_first ? json_array_size(first) : n_first;
        if (only && !json_is_boolean(only))
            BAD_KEY(b, l->path, "uniqueItems", "must be true or false");
        unique = unique || json_is_true(only);
    }
    if (n_first > SCHEMA_ITEMS)
        BAD(b, path_of(&w), "%zu first items; the limit is %d", n_first, SCHEMA_ITEMS);
    for (size_t i = 0; i <= n_first && most == SIZE_MAX; i++) {
        TRY(item_layers(b, &w, i, &forbidden));
        most = forbidden ? i : SIZE_MAX;
    }
    TRY(set_lengths(b, at, n_first, most, node));
    node->kind = SCHEMA_ARRAY;
    node->unique = unique && node->max > 1;
    node->n = (uint16_t)(n_first < node->max ? n_first : node->max);
    if (node->unique && node->n)
        BAD_KEY(b, path_of(&w), "uniqueItems", "is not supported with items of different schemas");
    node->child = (uint16_t)b->n_work;
    for (size_t i = 0; i < node->n + (size_t)(node->max > node->n); i++) {
        TRY(item_layers(b, &w, i, &forbidden));
        TRY(add_item(b, &w, !b->n_layer));
    }
    return 0;
}

/* ---- strings -------------------------------------------------------------------------------- */

static int add_pattern(struct build *b, const struct layer *l, const char *key, struct regex *r)
{
    json_t *v = json_object_get(l->json, key);
    const char *text = json_string_value(v), *expression = text;
    struct err why = {0};
    bool format = !strcmp(key, "format");
    if (!v)
        return 0;
    if (!text)
        BAD_KEY(b, l->path, key, "must be a string");
    if (format)
        expression = text_format(text);
    if (!expression)
        BAD_KEY(b, l->path, key, "%s is not known; known are %s; remove it or write pattern", text,
                text_format_names());
    size_t n = format ? strlen(expression) : json_string_length(v);
    int rc = regex_add(r, expression, n, format, &why);
    if (rc == ERR_CONFIG)
        BAD_KEY(b, l->path, key, "%s", why.msg);
    return rc < 0 ? NOMEM(b->e, n, "a pattern") : 0;
}

static int set_pattern(struct build *b, const struct work *w, const struct regex *r,
                       struct schema_node *node)
{
    struct pattern *p = arena_alloc(&b->sc->arena, 1, sizeof *p);
    struct err why = {0};
    int rc =
        p ? pattern_build(r, node->min, node->max, &b->budget, &b->sc->arena, p, &why) : ERR_NOMEM;
    node->kind = SCHEMA_PATTERN;
    node->pattern = p;
    if (rc == ERR_CONFIG) {
        EACH_PLAIN(w, l)
        {
            if (json_object_get(l->json, "pattern"))
                BAD_KEY(b, l->path, "pattern", "%s", why.msg);
            if (json_object_get(l->json, "format"))
                BAD_KEY(b, l->path, "format", "%s", why.msg);
        }
    }
    return rc < 0 ? NOMEM(b->e, sizeof *p, "a pattern") : 0;
}

static int set_string(struct build *b, size_t at, struct schema_node *node)
{
    const struct work *w = &b->work[at];
    int min = 0, max = 0, rc = 0;
    bool has_min, has_max;
    TRY(get_count(b, w, "minLength", SCHEMA_CHARS, false, &has_min, &min));
    TRY(get_count(b, w, "maxLength", SCHEMA_CHARS, true, &has_max, &max));
    b->facts[at].min = (size_t)min;
    b->facts[at].max = has_max ? (size_t)max : SIZE_MAX;
    if (!has_max)
        max = min > SCHEMA_DEFAULT_CHARS ? SCHEMA_CHARS : SCHEMA_DEFAULT_CHARS;
    if (min > max)
        BAD(b, path_of(w), "minLength %d is above maxLength %d", min, max);
    node->kind = SCHEMA_STRING;
    node->min = (uint16_t)min;
    node->max = (uint16_t)max;
    struct regex r = {0};
    EACH_PLAIN(w, l)
    {
        TRY_DONE(add_pattern(b, l, "pattern", &r));
        TRY_DONE(add_pattern(b, l, "format", &r));
    }
    if (r.n_part)
        TRY_DONE(set_pattern(b, w, &r, node));
done:
    regex_free(&r);
    return rc;
}

/* ---- numbers -------------------------------------------------------------------------------- */

static const struct bound {
    const char *key;
    bool upper, open;
} bounds[] = {{"minimum", false, false},
              {"maximum", true, false},
              {"exclusiveMinimum", false, true},
              {"exclusiveMaximum", true, true}};

/* *out: digits after the point. x-decimals decides, otherwise the keywords, with two at least. */
static int get_decimals(struct build *b, const struct work *w, int *out)
{
    static const char *const keys[] = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
                                       "multipleOf"};
    int said = 0;
    bool found;
    *out = 2;
    EACH_PLAIN(w, l)
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        json_t *v = json_object_get(l->json, keys[i]);
        int64_t scaled;
        int decimals = 0, beyond;
        if (json_is_number(v) && value_decimal(v, &scaled, &decimals, &beyond))
            *out = decimals > *out ? decimals : *out;
    }
    TRY(get_count(b, w, "x-decimals", NUMBER_DECIMALS, true, &found, &said));
    if (found)
        *out = said;
    return 0;
}

static int64_t units(int64_t whole, int decimals)
{
    return number_rescale(whole, 0, decimals, false);
}

/* Narrows the range by one bound. */
static int apply_bound(struct build *b, const struct layer *l, const struct bound *bound,
                       struct number_range *r, struct facts *f)
{
    json_t *v = json_object_get(l->json, bound->key);
    int64_t scaled, limit = number_limit(r->decimals);
    int from, beyond;
    if (!v)
        return 0;
    if (json_is_boolean(v) && bound->open)
        BAD_KEY(b, l->path, bound->key, "must be a number: write the bound here, without %s",
                bound->upper ? "maximum" : "minimum");
    if (!json_is_number(v) || !value_decimal(v, &scaled, &from, &beyond))
        BAD_KEY(b, l->path, bound->key, "must be a number with at most %d digits after the point",
                NUMBER_DECIMALS);
    double x = json_number_value(v);
    double *fact = bound->upper ? &f->hi : &f->lo;
    bool *open = bound->upper ? &f->hi_open : &f->lo_open;
    if (bound->upper ? x < *fact : x > *fact) {
        *fact = x;
        *open = bound->open;
    } else if (x == *fact) {
        *open = *open || bound->open;
    }
    int64_t whole = number_rescale(scaled, from, 0, scaled < 0); /* towards zero */
    bool exact = number_rescale(scaled, from, 0, scaled >= 0) == whole;
    if (!beyond && (whole > limit || (whole == limit && !exact)))
        beyond = 1;
    if (!beyond && (whole < -limit || (whole == -limit && !exact)))
        beyond = -1;
    if (beyond == (bound->upper ? -1 : 1))
        BAD_KEY(b, l->path, bound->key, "leaves no number that can be written; they end at %s%lld",
                bound->upper ? "-" : "", (long long)limit);
    if (beyond)
        return 0;
    int64_t at = number_rescale(scaled, from, r->decimals, !bound->upper);
    exact = number_rescale(scaled, from, r->decimals, bound->upper) == at;
    if (bound->open && exact)
        at += bound->upper ? -1 : 1;
    if (bound->upper && at < r->hi)
        r->hi = at;
    if (!bound->upper && at > r->lo)
        r->lo = at;
    return 0;
}

static int apply_step(struct build *b, const struct layer *l, struct number_range *r)
{
    json_t *v = json_object_get(l->json, "multipleOf");
    int64_t scaled;
    int from, beyond;
    if (!v)
        return 0;
    if (!json_is_number(v) || !value_decimal(v, &scaled, &from, &beyond) || beyond || scaled <= 0)
        BAD_KEY(b, l->path, "multipleOf",
                "must be a number above 0 with at most %d digits after the point", NUMBER_DECIMALS);
    int64_t step = number_step_units(scaled, from, r->decimals);
    r->step = step && r->step ? number_multiple(r->step, step) : 0;
    if (!r->step)
        BAD_KEY(b, l->path, "multipleOf", "is too large");
    return 0;
}

static int apply_format(struct build *b, const struct layer *l, struct number_range *r)
{
    json_t *v = json_object_get(l->json, "format");
    const char *s = json_string_value(v);
    if (!v)
        return 0;
    if (s && !strcmp(s, "int32")) {
        int64_t lo = units(INT32_MIN, r->decimals), hi = units(INT32_MAX, r->decimals);
        r->lo = lo > r->lo ? lo : r->lo;
        r->hi = hi < r->hi ? hi : r->hi;
    } else if (!s || (strcmp(s, "int64") && strcmp(s, "float") && strcmp(s, "double"))) {
        BAD_KEY(b, l->path, "format",
                "%s is not known for a number; known are int32, int64, float, double; remove it",
                s ? s : "this");
    }
    return 0;
}

static int set_number(struct build *b, size_t at, bool integer, struct schema_node *node)
{
    const struct work *w = &b->work[at];
    struct facts *f = &b->facts[at];
    struct number_range r = {.step = 1};
    int decimals = 0;
    if (!integer)
        TRY(get_decimals(b, w, &decimals));
    int64_t limit = units(number_limit(decimals), decimals), usual = 0;
    r.decimals = (uint8_t)decimals;
    r.lo = -limit;
    r.hi = limit;
    f->lo = -INFINITY;
    f->hi = INFINITY;
    EACH_PLAIN(w, l)
    {
        for (size_t i = 0; i < sizeof bounds / sizeof bounds[0]; i++)
            TRY(apply_bound(b, l, &bounds[i], &r, f));
        TRY(apply_step(b, l, &r));
        TRY(apply_format(b, l, &r));
    }
    usual = number_limit(decimals) > SCHEMA_DEFAULT_NUMBER ? units(SCHEMA_DEFAULT_NUMBER, decimals)
                                                           : limit;
    if (r.lo == -limit && isinf(f->lo) && r.hi > -usual)
        r.lo = -usual;
    if (r.hi == limit && isinf(f->hi) && r.lo < usual)
        r.hi = usual;
    if (r.lo > r.hi || !number_any(&r))
        BAD(b, path_of(w),
            "no number with %d digits after the point lies between its bounds%s; widen them",
            decimals, r.step > 1 ? " and is a multiple" : "");
    node->kind = SCHEMA_NUMBER;
    node->range = r;
    return 0;
}

/* ---- words ---------------------------------------------------------------------------------- */

static void set_words(enum form form, struct schema_node *node)
{
    static const struct schema_text boolean[] = {{"false", 5}, {"true", 4}}, nil[] = {{"null", 4}};
    node->kind = SCHEMA_CHOICE;
    node->text = form == BOOLEAN ? boolean : nil;
    node->n = form == BOOLEAN ? 2 : 1;
}

int type_node(struct build *b, size_t at, enum form form, struct schema_node *node)
{
    switch (form) {
    case OBJECT:
        return set_object(b, at, node);
    case ARRAY:
        return set_array(b, at, node);
    case STRING:
        return set_string(b, at, node);
    case INTEGER:
    case NUMBER:
        return set_number(b, at, form == INTEGER, node);
    default:
        set_words(form, node);
        return 0;
    }
}
