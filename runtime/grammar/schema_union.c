#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "grammar.h"
#include "schema_build.h"

/* ---- making --------------------------------------------------------------------------------- */

static int check_turns(struct build *b, const struct work *w)
{
    if (w->turns >= SCHEMA_TURNS)
        BAD(b, w->layer[0].path, "more than %d anyOf, oneOf and lists of types in each other",
            SCHEMA_TURNS);
    return 0;
}

int union_of_layers(struct build *b, size_t at, size_t which, struct schema_node *node)
{
    struct work w = b->work[at];
    struct layer split = w.layer[which];
    size_t i;
    json_t *one;
    TRY(check_turns(b, &w));
    node->kind = SCHEMA_UNION;
    node->n = (uint16_t)json_array_size(split.json);
    node->child = (uint16_t)b->n_work;
    b->facts[at].exclusive = split.kind == LAYER_ONE;
    b->facts[at].path = split.path;
    json_array_foreach(split.json, i, one)
    {
        char index[24];
        snprintf(index, sizeof index, "%zu", i);
        b->n_layer = 0; /* its own layer comes first: messages show the path of that layer */
        TRY(layers_push(b, one, schema_path(b, split.path, index), LAYER_RAW, split.origin));
        TRY(mem_grow(&b->layer, &b->cap_layer, w.n + 1, sizeof *b->layer, "schemas", b->e));
        for (size_t k = 0; k < w.n; k++)
            if (k != which)
                b->layer[b->n_layer++] = w.layer[k];
        TRY(schema_add(b, b->layer, b->n_layer, w.only, w.depth, w.turns + 1));
    }
    return 0;
}

int union_of_types(struct build *b, size_t at, unsigned types, struct schema_node *node)
{
    struct work w = b->work[at];
    TRY(check_turns(b, &w));
    node->kind = SCHEMA_UNION;
    node->child = (uint16_t)b->n_work;
    b->facts[at].path = w.layer[0].path;
    for (enum form f = 0; f < ENUM; f++)
        if (types & BIT(f)) {
            node->n++;
            TRY(schema_add(b, w.layer, w.n, BIT(f), w.depth, w.turns + 1));
        }
    return 0;
}

/* ---- exactly one ---------------------------------------------------------------------------- */

static unsigned sorts(const struct schema_node *n)
{
    unsigned out = 0;
    for (enum schema_sort s = 0; s < SCHEMA_SORTS; s++)
        out |= n->width[s] ? 1u << s : 0;
    return out;
}

static bool choices_differ(const struct schema_node *a, const struct schema_node *c)
{
    for (size_t i = 0; i < a->n; i++)
        if (a->text[i].s[0] == '{' || a->text[i].s[0] == '[' ||
            bsearch(&a->text[i], c->text, c->n, sizeof *c->text, text_order))
            return false; /* equal objects can have different texts */
    return true;
}

static bool below(const struct facts *a, const struct facts *c)
{
    return a->hi < c->lo || (a->hi == c->lo && (a->hi_open || c->lo_open));
}

static bool differs(const struct build *b, size_t x, size_t y, int depth);

static size_t find_name(const struct facts *f, size_t n, const char *name)
{
    size_t i = 0;
    while (i < n && strcmp(f->name[i], name))
        i++;
    return i;
}

/* True when no object written by node x fits the schema of y. */
static bool object_differs(const struct build *b, size_t x, size_t y, int depth)
{
    const struct schema_node *nx = &b->sc->node[x], *ny = &b->sc->node[y];
    const struct facts *fx = &b->facts[x], *fy = &b->facts[y];
    for (size_t i = 0; i < ny->n; i++) {
        if (!fy->required[i])
            continue;
        size_t k = find_name(fx, nx->n, fy->name[i]);
        if (k == nx->n || differs(b, nx->child + k, ny->child + i, depth + 1))
            return true;
    }
    for (size_t k = 0; k < nx->n; k++) {
        if (nx->kind == SCHEMA_MEMBERS && !nx->required[k])
            continue;
        size_t i = find_name(fy, ny->n, fx->name[k]);
        if (i == ny->n ? fy->closed : differs(b, nx->child + k, ny->child + i, depth + 1))
            return true;
    }
    return false;
}

/* True when no reply of x fits the schema of y and none of y that of x. The depth of recursion is
 * that of the schema. */
static bool differs(const struct build *b, size_t x, size_t y, int depth)
{
    const struct schema_node *nx = &b->sc->node[x], *ny = &b->sc->node[y];
    const struct facts *fx = &b->facts[x], *fy = &b->facts[y];
    if (!(sorts(nx) & sorts(ny)))
        return true;
    if (depth > 2 * GRAMMAR_DEPTH + SCHEMA_TURNS)
        return false;
    if (nx->kind == SCHEMA_UNION || ny->kind == SCHEMA_UNION) {
        const struct schema_node *u = nx->kind == SCHEMA_UNION ? nx : ny;
        for (size_t i = 0; i < u->n; i++)
            if (!differs(b, u == nx ? u->other[i] : x, u == nx ? y : u->other[i], depth + 1))
                return false;
        return true;
    }
    if (nx->kind == SCHEMA_CHOICE && ny->kind == SCHEMA_CHOICE)
        return choices_differ(nx, ny);
    if (nx->kind == SCHEMA_CHOICE || ny->kind == SCHEMA_CHOICE)
        return false;
    switch (nx->kind) {
    case SCHEMA_NUMBER:
        return below(fx, fy) || below(fy, fx);
    case SCHEMA_STRING:
    case SCHEMA_PATTERN:
        return fx->max < fy->min || fy->max < fx->min;
    case SCHEMA_ARRAY:
        return fx->max < fy->min || fy->max < fx->min ||
               (nx->min && ny->min && differs(b, nx->child, ny->child, depth + 1));
    default:
        return object_differs(b, x, y, depth) && object_differs(b, y, x, depth);
    }
}

static int check_exclusive(struct build *b, size_t at)
{
    const struct schema_node *n = &b->sc->node[at];
    for (size_t i = 0; i < n->n; i++)
        for (size_t k = 0; k < i; k++)
            if (!differs(b, n->child + k, n->child + i, 0))
                BAD(b, b->facts[at].path,
                    "a reply may fit both item %zu and item %zu; write anyOf, or give both a "
                    "required property with a const of its own",
                    k, i);
    return 0;
}

/* ---- the last steps ------------------------------------------------------------------------- */

/* Joins the alternatives that are choices into one; equal values are kept once. */
static int join_choices(struct build *b, size_t at, struct schema_node *n, uint16_t *other)
{
    size_t total = 0, kept = 0;
    for (size_t i = 0; i < n->n; i++)
        if (b->sc->node[other[i]].kind == SCHEMA_CHOICE)
            total += b->sc->node[other[i]].n;
    if (!total)
        return 0;
    struct schema_text *text = arena_alloc(&b->sc->arena, total, sizeof *text);
    if (!text)
        return NOMEM(b->e, total * sizeof *text, "an enum");
    struct schema_node *first = NULL;
    total = 0;
    for (size_t i = 0; i < n->n; i++) {
        struct schema_node *c = &b->sc->node[other[i]];
        if (c->kind == SCHEMA_CHOICE) {
            memcpy(text + total, c->text, c->n * sizeof *text);
            total += c->n;
        }
        if (c->kind != SCHEMA_CHOICE || !first)
            other[kept++] = other[i];
        if (c->kind == SCHEMA_CHOICE && !first)
            first = c;
    }
    qsort(text, total, sizeof *text, text_order);
    size_t m = 0;
    for (size_t i = 0; i < total; i++)
        if (!i || text_order(&text[m - 1], &text[i]))
            text[m++] = text[i];
    if (m > SCHEMA_JOINED)
        BAD(b, b->facts[at].path, "%zu values together; the limit is %d", m, SCHEMA_JOINED);
    first->text = text;
    first->n = (uint16_t)m;
    n->n = (uint16_t)kept;
    return 0;
}

int union_finish(struct build *b, size_t at)
{
    struct schema_node *n = &b->sc->node[at];
    uint16_t *other = arena_alloc(&b->sc->arena, n->n, sizeof *other);
    if (!other)
        return NOMEM(b->e, n->n * sizeof *other, "alternatives");
    for (size_t i = 0; i < n->n; i++)
        other[i] = (uint16_t)(n->child + i);
    n->other = other;
    if (b->facts[at].exclusive)
        TRY(check_exclusive(b, at));
    TRY(join_choices(b, at, n, other));
    if (n->n == 1) {
        b->facts[at] = b->facts[other[0]];
        *n = b->sc->node[other[0]];
    }
    return 0;
}
