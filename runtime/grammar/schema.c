#include "schema.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "grammar.h"
#include "rng.h"
#include "schema_build.h"

#define ARENA_LIMIT ((size_t)64 << 20) /* texts, paths and tables of patterns */

int schema_bad(struct build *b, const char *path, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    FAIL(b->e, ERR_CONFIG, "schema %s: %s: %s", b->name, path, text);
}

const char *schema_path(struct build *b, const char *path, const char *key)
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

int schema_keep(struct build *b, struct str *s, struct schema_text *out)
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

int schema_add(struct build *b, const struct layer *layer, size_t n, unsigned only, int depth,
               int turns)
{
    if (b->n_work >= SCHEMA_NODES)
        BAD(b, layer[0].path, "more than %d nodes in one schema", SCHEMA_NODES);
    TRY(mem_grow(&b->work, &b->cap_work, b->n_work + 1, sizeof *b->work, "schema nodes", b->e));
    TRY(mem_grow(&b->facts, &b->cap_facts, b->n_work + 1, sizeof *b->facts, "schema nodes", b->e));
    struct layer *kept = arena_alloc(&b->sc->arena, n, sizeof *kept);
    if (!kept)
        return NOMEM(b->e, n * sizeof *kept, "schema nodes");
    memcpy(kept, layer, n * sizeof *kept);
    b->facts[b->n_work] = (struct facts){.path = layer[0].path};
    b->work[b->n_work++] =
        (struct work){.layer = kept, .n = n, .only = only, .depth = depth, .turns = turns};
    return 0;
}

/* ---- the table ------------------------------------------------------------------------------ */

static int make_node(struct build *b, size_t at, struct schema_node *node)
{
    TRY(layers_expand(b, at));
    const struct work w = b->work[at];
    for (size_t i = 0; i < w.n; i++)
        if (w.layer[i].kind == LAYER_ANY || w.layer[i].kind == LAYER_ONE)
            return union_of_layers(b, at, i, node);
    unsigned types;
    bool said;
    TRY(layers_types(b, &w, &types, &said));
    if (value_listed(&w))
        return value_node(b, at, types, node);
    if (w.depth == 1 && !said && types != BIT(NUMBER))
        types &= ~BIT(NUMBER); /* refused as the root: a bare number has no last byte */
    if (types & (types - 1))
        return union_of_types(b, at, types, node);
    enum form form = 0;
    while (types != BIT(form))
        form++;
    return type_node(b, at, form, node);
}

static int set_node(struct build *b, size_t at)
{
    struct schema_node node = {.kind = SCHEMA_CHOICE};
    if (b->work[at].depth > GRAMMAR_DEPTH)
        BAD(b, b->work[at].layer[0].path, "nested deeper than %d", GRAMMAR_DEPTH);
    TRY(make_node(b, at, &node));
    TRY(mem_grow(&b->sc->node, &b->cap_node, at + 1, sizeof node, "schema nodes", b->e));
    b->sc->node[at] = node;
    b->sc->n = at + 1;
    return 0;
}

/* ---- sizes ---------------------------------------------------------------------------------- */

static size_t add_cap(size_t a, size_t b, size_t times) /* a + b * times, at most SIZE_MAX / 2 */
{
    size_t p;
    if (!size_mul(b, times, &p) || !size_add(a, p, &p) || p > SIZE_MAX / 2)
        return SIZE_MAX / 2;
    return p;
}

static size_t least_of(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t most_of(size_t a, size_t b)
{
    return a > b ? a : b;
}

static int by_size(const void *a, const void *b)
{
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x > y) - (x < y);
}

static void object_sizes(const struct schema_node *child, struct schema_node *node)
{
    for (size_t i = 0; i <= node->n; i++) {
        node->least = add_cap(node->least, node->text[i].n, 1);
        node->most = add_cap(node->most, node->text[i].n, 1);
    }
    for (size_t i = 0; i < node->n; i++) {
        node->least = add_cap(node->least, child[i].least, 1);
        node->most = add_cap(node->most, child[i].most, 1);
    }
}

/* Fills tail (schema.h) from the last property to the first. */
static int members_sizes(struct build *b, const struct schema_node *child, struct schema_node *node)
{
    size_t n = node->n, k_most = node->min, text = 0, optional = 0;
    size_t *tail = arena_alloc(&b->sc->arena, (n + 1) * (k_most + 1), sizeof *tail);
    if (!tail)
        return NOMEM(b->e, (n + 1) * (k_most + 1) * sizeof *tail, "a schema's properties");
    for (size_t i = n + 1; i-- > 0;)
        for (size_t k = 0; k <= k_most; k++) {
            size_t best = SIZE_MAX / 2, j = i;
            for (; j < n; j++) {
                size_t rest = tail[(j + 1) * (k_most + 1) + (k ? k - 1 : 0)];
                size_t whole = add_cap(node->text[j].n + 2 + child[j].least, rest, 1);
                best = least_of(best, whole);
                if (node->required[j])
                    break;
            }
            tail[i * (k_most + 1) + k] = j == n && !k ? 1 : best;
        }
    node->tail = tail;
    node->least = tail[k_most] == 1 ? 2 : tail[k_most] - 1; /* "{" in place of ", " */
    for (size_t i = 0; i < n; i++) {
        text = add_cap(text, node->text[i].n + 2, 1);
        if (node->required[i])
            node->most = add_cap(node->most, child[i].most, 1);
        else
            optional = most_of(optional, child[i].most);
        if (!node->required[i] && k_most)
            node->most = add_cap(node->most, child[i].least, 1);
    }
    node->most = add_cap(add_cap(node->most, text, 1), optional + 2, 1);
    return 0;
}

static void array_sizes(const struct schema_node *child, struct schema_node *node)
{
    size_t items = node->n + (size_t)(node->max > node->n), begun = 0;
    node->least = 2 - 2 * (size_t)(node->min > 0);
    node->most = 2;
    for (size_t i = 0; i < items && i < node->min; i++) {
        size_t times = i < node->n ? 1 : node->min - (size_t)node->n;
        node->least = add_cap(node->least, child[i].least + 2, times);
        node->most = add_cap(node->most, child[i].most + 2, times);
    }
    for (size_t i = node->min < node->n ? node->min : node->n; i < items; i++)
        begun = most_of(begun, child[i].most + 2); /* an item beyond min may be begun */
    if (node->n || !node->min)
        node->most = add_cap(node->most, begun, 1);
}

/* Least and most bytes of an array whose items differ. */
static int unique_sizes(struct build *b, const struct schema_node *child, struct schema_node *node)
{
    size_t len[SCHEMA_UNIQUE];
    if (child->kind != SCHEMA_CHOICE || child->n > SCHEMA_UNIQUE)
        BAD(b, b->facts[node - b->sc->node].path,
            "uniqueItems is supported for an enum of at most %d values only", SCHEMA_UNIQUE);
    if (child->n < node->min)
        BAD(b, b->facts[node - b->sc->node].path, "minItems %d of an enum of %d unique values",
            node->min, child->n);
    if (child->n < node->max)
        node->max = child->n;
    for (size_t i = 0; i < child->n; i++)
        len[i] = child->text[i].n;
    qsort(len, child->n, sizeof *len, by_size);
    node->least = node->min ? 0 : 2;
    for (size_t i = 0; i < node->min; i++)
        node->least += len[i] + 2;
    return 0;
}

static void choice_sizes(struct schema_node *node)
{
    node->least = SIZE_MAX;
    node->most = 0;
    for (size_t i = 0; i < node->n; i++) {
        node->least = least_of(node->least, node->text[i].n);
        node->most = most_of(node->most, node->text[i].n);
    }
}

static int set_sizes(struct build *b, struct schema_node *node)
{
    const struct schema_node *child = &b->sc->node[node->child];
    struct number_prefix none = {0};
    char number[NUMBER_TEXT];
    switch (node->kind) {
    case SCHEMA_OBJECT:
        object_sizes(child, node);
        return 0;
    case SCHEMA_MEMBERS:
        return members_sizes(b, child, node);
    case SCHEMA_ARRAY:
        array_sizes(child, node);
        return node->unique ? unique_sizes(b, child, node) : 0;
    case SCHEMA_STRING: /* a surrogate pair may be begun */
        node->least = node->min + (size_t)2;
        node->most = node->min + (size_t)2 + 12;
        return 0;
    case SCHEMA_PATTERN:
        node->least = pattern_least(node->pattern);
        node->most = pattern_most(node->pattern);
        return 0;
    case SCHEMA_CHOICE:
        choice_sizes(node);
        return 0;
    case SCHEMA_NUMBER:
        node->least = (size_t)number_shortest(&node->range, &none, number);
        node->most = NUMBER_TEXT;
        return 0;
    case SCHEMA_UNION:
        node->least = SIZE_MAX;
        for (size_t i = 0; i < node->n; i++) {
            const struct schema_node *other = &b->sc->node[node->other[i]];
            node->least = least_of(node->least, other->least);
            node->most = most_of(node->most, other->most);
        }
        return 0;
    }
    return 0;
}

static enum schema_sort sort_of(char first)
{
    return first == '{'                                     ? SCHEMA_IS_OBJECT
           : first == '['                                   ? SCHEMA_IS_ARRAY
           : first == '"'                                   ? SCHEMA_IS_STRING
           : first == '-' || (first >= '0' && first <= '9') ? SCHEMA_IS_NUMBER
                                                            : SCHEMA_IS_WORD;
}

/* Sets the number of ways that can be open inside the node. It is that of its widest child: only
 * one child is read at a time, and ways that leave a value together are merged. */
static void set_width(const struct schema *sc, struct schema_node *node)
{
    static const enum schema_sort sort[] = {
        [SCHEMA_OBJECT] = SCHEMA_IS_OBJECT,  [SCHEMA_MEMBERS] = SCHEMA_IS_OBJECT,
        [SCHEMA_ARRAY] = SCHEMA_IS_ARRAY,    [SCHEMA_STRING] = SCHEMA_IS_STRING,
        [SCHEMA_PATTERN] = SCHEMA_IS_STRING, [SCHEMA_NUMBER] = SCHEMA_IS_NUMBER,
        [SCHEMA_CHOICE] = SCHEMA_IS_WORD,    [SCHEMA_UNION] = SCHEMA_IS_WORD,
    };
    size_t n = node->n, most = 1;
    memset(node->width, 0, sizeof node->width);
    if (node->kind == SCHEMA_CHOICE) {
        for (size_t i = 0; i < n; i++)
            node->width[sort_of(node->text[i].s[0])] = 1;
        return;
    }
    if (node->kind == SCHEMA_UNION) {
        for (size_t i = 0; i < n; i++)
            for (enum schema_sort s = 0; s < SCHEMA_SORTS; s++)
                node->width[s] = (uint16_t)least_of(
                    UINT16_MAX, node->width[s] + (size_t)sc->node[node->other[i]].width[s]);
        return;
    }
    if (node->kind == SCHEMA_ARRAY)
        n += node->max > node->n;
    else if (node->kind != SCHEMA_OBJECT && node->kind != SCHEMA_MEMBERS)
        n = 0;
    for (size_t i = 0; i < n; i++)
        for (enum schema_sort s = 0; s < SCHEMA_SORTS; s++)
            most = most_of(most, sc->node[node->child + i].width[s]);
    node->width[node->map ? SCHEMA_IS_OBJECT : sort[node->kind]] = (uint16_t)most;
}

static int finish_node(struct build *b, size_t at)
{
    struct schema_node *node = &b->sc->node[at];
    if (node->kind == SCHEMA_UNION) {
        TRY(union_finish(b, at));
        for (size_t i = 0; node->kind == SCHEMA_UNION && i < node->n; i++) {
            struct schema_node *other = &b->sc->node[node->other[i]];
            if (other->kind == SCHEMA_CHOICE) { /* a joined choice may have more values */
                choice_sizes(other);
                set_width(b->sc, other);
            }
        }
        node->least = node->most = 0;
    }
    TRY(set_sizes(b, node));
    set_width(b->sc, node);
    for (enum schema_sort s = 0; s < SCHEMA_SORTS; s++)
        if (node->width[s] > GRAMMAR_WAYS)
            BAD(b, b->facts[at].path,
                "up to %d alternatives can begin alike; the limit is %d: join some of them",
                node->width[s], GRAMMAR_WAYS);
    return 0;
}

/* True when the node allows a bare number: as the root, more digits could always follow. */
static bool bare_number(const struct schema *sc, size_t at)
{
    const struct schema_node *node = &sc->node[at];
    if (node->kind == SCHEMA_UNION) {
        for (size_t i = 0; i < node->n; i++)
            if (bare_number(sc, node->other[i])) /* SCHEMA_TURNS deep at most */
                return true;
        return false;
    }
    if (node->kind == SCHEMA_CHOICE)
        for (size_t i = 1; i < node->n; i++)
            if (node->text[i].n > node->text[i - 1].n &&
                !memcmp(node->text[i].s, node->text[i - 1].s, node->text[i - 1].n))
                return true;
    return node->kind == SCHEMA_NUMBER;
}

/* ---- compiling ------------------------------------------------------------------------------ */

static uint64_t hash_bytes(uint64_t h, const void *p, size_t n)
{
    const unsigned char *s = p;
    h = rng_mix(h ^ n);
    for (size_t i = 0; i < n; i++)
        h = rng_mix(h ^ s[i]);
    return h;
}

static uint64_t hash_pattern(uint64_t h, const struct pattern *p)
{
    h = rng_mix(h ^ p->n);
    h = rng_mix(h ^ ((uint64_t)p->min << 32 | p->max));
    for (size_t q = 0; q < p->n; q++) {
        h = rng_mix(h ^ (p->first[q] << 1 | p->accept[q]));
        for (size_t i = p->first[q]; i < p->first[q + 1]; i++) {
            h = rng_mix(h ^ ((uint64_t)p->edge[i].lo << 32 | p->edge[i].hi));
            h = rng_mix(h ^ p->edge[i].to);
        }
    }
    return h;
}

static uint64_t hash_node(uint64_t h, const struct schema_node *node)
{
    const uint64_t fixed[] = {
        node->kind,
        node->n,
        node->child,
        node->min,
        node->max,
        node->unique,
        (uint64_t)node->range.lo,
        (uint64_t)node->range.hi,
        node->range.decimals,
        (uint64_t)node->range.step,
        node->counted,
        node->map,
    };
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++)
        h = rng_mix(h ^ fixed[i]);
    size_t n = !node->text ? 0 : node->kind == SCHEMA_OBJECT ? node->n + (size_t)1 : node->n;
    for (size_t i = 0; i < n; i++)
        h = hash_bytes(h, node->text[i].s, node->text[i].n);
    for (size_t i = 0; node->kind == SCHEMA_MEMBERS && i < node->n; i++)
        h = rng_mix(h ^ node->required[i]);
    for (size_t i = 0; node->kind == SCHEMA_UNION && i < node->n; i++)
        h = rng_mix(h ^ node->other[i]);
    return node->kind == SCHEMA_PATTERN ? hash_pattern(h, node->pattern) : h;
}

static int build_all(struct build *b)
{
    TRY(layers_push(b, b->root, "#", LAYER_RAW, NULL));
    TRY(schema_add(b, b->layer, b->n_layer, TYPES, 1, 0));
    for (size_t i = 0; i < b->n_work; i++)
        TRY(set_node(b, i));
    struct schema *sc = b->sc;
    for (size_t i = sc->n; i-- > 0;)
        TRY(finish_node(b, i));
    if (bare_number(sc, 0))
        BAD(b, "#", "a bare number has no end; put it into an object");
    if (sc->node[0].most > SCHEMA_CLOSE)
        BAD(b, "#",
            "the shortest reply may need %zu bytes; the limit is %u: lower minItems or minLength",
            sc->node[0].most, SCHEMA_CLOSE);
    for (size_t i = 0; i < sc->n; i++)
        sc->hash = hash_node(sc->hash, &sc->node[i]);
    return 0;
}

/* Refuses UTF-16 by name: for its NUL bytes jansson would only say "invalid token". */
static int check_encoding(const char *text, size_t n, const char *name, struct err *e)
{
    const unsigned char *s = (const unsigned char *)text;
    bool wide = n >= 2 && ((s[0] == 0xff && s[1] == 0xfe) || (s[0] == 0xfe && s[1] == 0xff) ||
                           (!s[0] != !s[1]));
    if (wide)
        FAIL(e, ERR_CONFIG, "schema %s: is UTF-16, not UTF-8; convert it (iconv -t UTF-8)", name);
    return 0;
}

static int compile(const char *text, size_t n, const char *name, bool own, struct schema *out,
                   struct err *e)
{
    if (n > SCHEMA_BYTES)
        FAIL(e, ERR_CONFIG, "schema %s: %zu bytes; the limit is %u", name, n, SCHEMA_BYTES);
    TRY(check_encoding(text, n, name, e));
    if (n >= 3 && !memcmp(text, "\xef\xbb\xbf", 3)) { /* a byte order mark */
        text += 3;
        n -= 3;
    }
    json_error_t why;
    json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);
    if (!root && json_error_code(&why) == json_error_out_of_memory)
        return NOMEM(e, n, "a schema's JSON");
    if (!root)
        FAIL(e, ERR_CONFIG, "schema %s: line %d column %d: %s", name, why.line, why.column,
             why.text);
    struct schema sc = {.arena = {.limit = ARENA_LIMIT}};
    struct build b = {.sc = &sc,
                      .name = name,
                      .root = root,
                      .budget = {.work = PATTERN_WORK, .cells = PATTERN_CELLS},
                      .own = own,
                      .e = e};
    int rc = build_all(&b);
    json_decref(root);
    mem_free(b.work);
    mem_free(b.facts);
    mem_free(b.layer);
    if (rc < 0)
        schema_free(&sc);
    else
        *out = sc;
    return rc;
}

int schema_compile(const char *text, size_t n, const char *name, struct schema *out, struct err *e)
{
    return compile(text, n, name, false, out, e);
}

int schema_compile_own(const char *text, size_t n, const char *name, struct schema *out,
                       struct err *e)
{
    return compile(text, n, name, true, out, e);
}

void schema_free(struct schema *sc)
{
    mem_free(sc->node);
    arena_free(&sc->arena);
    *sc = (struct schema){0};
}
