#include "machine.h"

#include <string.h>

#include "check.h"

/* Phases of an array (frame.at). */
enum { ARRAY_OPEN, ARRAY_FIRST, ARRAY_ITEM, ARRAY_AFTER, ARRAY_SPACE };

enum { NUMBER_NEGATIVE = 1, NUMBER_POINT = 2 }; /* bits of frame.sub */

static const struct schema_node *node_of(const struct schema *sc, const struct grammar_frame *f)
{
    return &sc->node[f->node];
}

static struct grammar_frame *top(struct grammar_way *s)
{
    return &s->f[s->depth - 1];
}

static const struct grammar_frame *top_const(const struct grammar_way *s)
{
    return &s->f[s->depth - 1];
}

static struct number_prefix number_of(const struct grammar_frame *f)
{
    return (struct number_prefix){.digits = f->used,
                                  .n_int = (uint8_t)f->index,
                                  .n_frac = (uint8_t)f->at,
                                  .negative = f->sub & NUMBER_NEGATIVE,
                                  .point = f->sub & NUMBER_POINT};
}

static void push(const struct schema *sc, struct grammar_way *s, size_t node)
{
    CHECK(s->depth < GRAMMAR_DEPTH);
    struct grammar_frame f = {.node = (uint16_t)node};
    if (sc->node[node].kind == SCHEMA_CHOICE)
        f.sub = sc->node[node].n;
    s->f[s->depth++] = f;
    if (sc->node[node].kind == SCHEMA_OBJECT && !sc->node[node].text[0].n) /* a pair */
        push(sc, s, sc->node[node].child);
}

/* Node of the next item of the array in frame f. */
static size_t item_node(const struct schema_node *node, const struct grammar_frame *f)
{
    return node->child + (size_t)(f->index < node->n ? f->index : node->n);
}

/* Removes the last frame, whose value is complete, and advances its parent. */
static void pop(const struct schema *sc, struct grammar_way *s)
{
    struct grammar_frame child = *top(s);
    if (--s->depth == 0)
        return;
    struct grammar_frame *f = top(s);
    const struct schema_node *node = node_of(sc, f);
    if (node->kind == SCHEMA_MEMBERS) {
        f->index = f->sub;
        f->sub = 0;
        f->used += node->counted;
    }
    f->index++;
    f->at = node->kind == SCHEMA_ARRAY ? ARRAY_AFTER : 0;
    if (node->unique)
        f->used |= (uint64_t)1 << child.index; /* the one value left of the choice */
    if (node->kind == SCHEMA_OBJECT && f->index == node->n && !node->text[node->n].n)
        pop(sc, s); /* a pair ends with its value; it stands in a map, not in a pair */
}

void machine_start(const struct schema *sc, struct grammar_state *s)
{
    memset(s, 0, sizeof *s);
    s->n = 1;
    push(sc, &s->way[0], 0);
}

void machine_leave(const struct schema *sc, struct grammar_way *s)
{
    pop(sc, s);
}

/* ---- one step of each kind ------------------------------------------------------------------ */

static bool object_step(const struct schema *sc, struct grammar_way *s, unsigned char b)
{
    struct grammar_frame *f = top(s);
    const struct schema_node *node = node_of(sc, f);
    const struct schema_text *t = &node->text[f->index];
    if ((unsigned char)t->s[f->at] != b)
        return false;
    if (++f->at < t->n)
        return true;
    if (f->index == node->n)
        pop(sc, s);
    else
        push(sc, s, node->child + (size_t)f->index);
    return true;
}

/* True when property j may come next in a MEMBERS; j = n is the end of the object. */
static bool member_allowed(const struct schema_node *node, const struct grammar_frame *f, size_t j)
{
    size_t required = 0, written = (size_t)f->used + (j < node->n);
    for (size_t i = f->index; i < j; i++)
        if (node->required[i])
            return false;
    if (!node->counted)
        return true;
    for (size_t i = j + 1; i < node->n; i++)
        required += node->required[i];
    return written + required <= node->max &&
           written + (j < node->n ? node->n - j - 1 : 0) >= node->min;
}

/* Byte `at` of the text before the value of property j (j = n: of the end); -1 after its last. */
static int member_byte(const struct schema_node *node, const struct grammar_frame *f, size_t j,
                       size_t at)
{
    bool first = !f->index; /* nothing is written yet */
    const char *head = first ? "{" : j < node->n ? ", " : "";
    size_t n = strlen(head);
    if (at < n)
        return (unsigned char)head[at];
    at -= n;
    if (j == node->n)
        return at ? -1 : '}';
    return at < node->text[j].n ? (unsigned char)node->text[j].s[at] : -1;
}

/* True when the bytes written of a name are the beginning of property j. */
static bool member_fits(const struct schema_node *node, const struct grammar_frame *f, size_t j)
{
    size_t head = f->index ? 2 : 1, at = f->at; /* bytes before the name */
    if (j != node->n && f->sub != node->n)
        return j == f->sub || at <= head ||
               (at - head <= node->text[j].n &&
                !memcmp(node->text[j].s, node->text[f->sub].s, at - head));
    for (size_t i = 0; i < at; i++) /* the end has at most two bytes */
        if (member_byte(node, f, j, i) != member_byte(node, f, f->sub, i))
            return false;
    return true;
}

static bool members_step(const struct schema *sc, struct grammar_way *s, unsigned char b)
{
    struct grammar_frame *f = top(s);
    const struct schema_node *node = node_of(sc, f);
    size_t j = f->index;
    for (; j <= node->n; j++)
        if (member_byte(node, f, j, f->at) == b && member_fits(node, f, j) &&
            member_allowed(node, f, j))
            break;
    if (j > node->n)
        return false;
    f->sub = (uint16_t)j;
    f->at++;
    if (member_byte(node, f, j, f->at) >= 0)
        return true;
    if (j == node->n) {
        pop(sc, s);
        return true;
    }
    f->at = 0;
    push(sc, s, node->child + j);
    return true;
}

static struct pattern_at pattern_of(const struct grammar_frame *f)
{
    return (struct pattern_at){.state = f->at, .chars = f->index, .phase = f->sub, .part = f->used};
}

static bool pattern_byte(const struct schema *sc, struct grammar_way *s, unsigned char b)
{
    struct grammar_frame *f = top(s);
    struct pattern_at at = pattern_of(f);
    bool end;
    if (!pattern_step(node_of(sc, f)->pattern, &at, b, &end))
        return false;
    if (end) {
        pop(sc, s);
        return true;
    }
    f->at = at.state;
    f->index = at.chars;
    f->sub = at.phase;
    f->used = at.part;
    return true;
}

static bool string_step(const struct schema *sc, struct grammar_way *s, unsigned char b)
{
    struct grammar_frame *f = top(s);
    const struct schema_node *node = node_of(sc, f);
    enum quoted next = quoted_step(f->at, b);
    if (next == QUOTED_BAD)
        return false;
    if (f->at == QUOTED_BODY) {
        if (next == QUOTED_END) {
            if (f->index < node->min)
                return false;
            pop(sc, s);
            return true;
        }
        if (f->index >= node->max)
            return false;
    }
    if (next == QUOTED_BODY && f->at != QUOTED_OPEN)
        f->index++;
    f->at = (uint16_t)next;
    return true;
}

/* Bits of the parent array's values that may not occur again; 0 when it allows repetition. */
static uint64_t taken(const struct schema *sc, const struct grammar_way *s)
{
    if (s->depth < 2)
        return 0;
    const struct grammar_frame *parent = &s->f[s->depth - 2];
    return node_of(sc, parent)->unique ? parent->used : 0;
}

static bool any_left(uint64_t used, size_t lo, size_t hi)
{
    for (size_t i = lo; i < hi; i++)
        if (i >= SCHEMA_UNIQUE || !(used >> i & 1))
            return true;
    return false;
}

static bool leaf_step(const struct schema *sc, struct grammar_way *s, unsigned char b);

/* Ends a number when its parent accepts byte b next. The parent exists: the root is never a number.
 * s is restored on failure. */
static bool goes_on(const struct schema *sc, struct grammar_way *s, unsigned char b)
{
    if (b != ',' && b != ']' && b != '}')
        return false;
    struct grammar_frame was[3]; /* the number, its parent, and the map if the parent is a pair */
    int depth = s->depth, n = depth < 3 ? depth : 3;
    memcpy(was, s->f + depth - n, (size_t)n * sizeof *was);
    pop(sc, s);
    if (leaf_step(sc, s, b)) /* b follows a value in an object or array: no value begins with it */
        return true;
    memcpy(s->f + depth - n, was, (size_t)n * sizeof *was);
    s->depth = depth;
    return false;
}

/* True when the first possible text is complete, though longer ones continue it: a number. */
static bool choice_complete(const struct schema *sc, const struct grammar_way *s)
{
    const struct grammar_frame *f = top_const(s);
    return node_of(sc, f)->text[f->index].n == f->at &&
           any_left(taken(sc, s), f->index, f->index + (size_t)1);
}

static bool choice_step(const struct schema *sc, struct grammar_way *s, unsigned char b)
{
    struct grammar_frame *f = top(s);
    const struct schema_text *text = node_of(sc, f)->text;
    size_t lo = f->index, hi = f->sub, at = f->at;
    /* texts lo..hi-1 agree in their first `at` bytes and are sorted; the first may end there */
    while (lo < hi && (text[lo].n == at || (unsigned char)text[lo].s[at] < b))
        lo++;
    size_t end = lo;
    while (end < hi && (unsigned char)text[end].s[at] == b)
        end++;
    if (!any_left(taken(sc, s), lo, end))
        return choice_complete(sc, s) && goes_on(sc, s, b);
    f->index = (uint16_t)lo;
    f->sub = (uint16_t)end;
    f->at++;
    if (f->at == text[lo].n && end == lo + 1) /* only this one is left */
        pop(sc, s);
    return true;
}

static bool array_step(const struct schema *sc, struct grammar_way *s, unsigned char b)
{
    struct grammar_frame *f = top(s);
    const struct schema_node *node = node_of(sc, f);
    const unsigned char open = node->map ? '{' : '[', close = node->map ? '}' : ']';
    const int depth = s->depth;
    switch (f->at) {
    case ARRAY_OPEN:
        if (b != open)
            return false;
        f->at = node->min ? ARRAY_ITEM : ARRAY_FIRST;
        if (node->min)
            push(sc, s, item_node(node, f));
        return true;
    case ARRAY_FIRST:
        if (b == close)
            break;
        if (!node->max)
            return false;
        f->at = ARRAY_ITEM;
        push(sc, s, item_node(node, f));
        if (leaf_step(sc, s, b))
            return true;
        s->depth = depth;
        f->at = ARRAY_FIRST;
        return false;
    case ARRAY_AFTER:
        if (b == close && f->index >= node->min)
            break;
        if (b != ',' || f->index >= node->max)
            return false;
        f->at = ARRAY_SPACE;
        return true;
    case ARRAY_SPACE:
        if (b != ' ')
            return false;
        f->at = ARRAY_ITEM;
        push(sc, s, item_node(node, f));
        return true;
    default:
        UNREACHABLE("an array waits for its item");
    }
    pop(sc, s);
    return true;
}

static bool number_byte(const struct schema *sc, struct grammar_way *s, unsigned char b)
{
    struct grammar_frame *f = top(s);
    const struct schema_node *node = node_of(sc, f);
    struct number_prefix p = number_of(f);
    if (number_step(&node->range, &p, b)) {
        f->used = p.digits;
        f->index = p.n_int;
        f->at = p.n_frac;
        f->sub = (uint16_t)((p.negative ? NUMBER_NEGATIVE : 0) | (p.point ? NUMBER_POINT : 0));
        return true;
    }
    return number_complete(&node->range, &p) && goes_on(sc, s, b);
}

/* The recursion ends after one level. array_step calls this function for a value just pushed; such
 * a value is no array beyond its "[". goes_on calls it for an object or array after a value. */
static bool leaf_step(const struct schema *sc, struct grammar_way *s, unsigned char b)
{
    switch (node_of(sc, top(s))->kind) {
    case SCHEMA_OBJECT:
        return object_step(sc, s, b);
    case SCHEMA_MEMBERS:
        return members_step(sc, s, b);
    case SCHEMA_ARRAY:
        return array_step(sc, s, b);
    case SCHEMA_STRING:
        return string_step(sc, s, b);
    case SCHEMA_PATTERN:
        return pattern_byte(sc, s, b);
    case SCHEMA_CHOICE:
        return choice_step(sc, s, b);
    case SCHEMA_NUMBER:
        return number_byte(sc, s, b);
    case SCHEMA_UNION:
        break;
    }
    UNREACHABLE("a union is replaced before it reads");
}

bool machine_way_step(const struct schema *sc, struct grammar_way *s, unsigned char b)
{
    return s->depth > 0 && leaf_step(sc, s, b);
}

/* ---- several ways --------------------------------------------------------------------------- */

static void way_copy(struct grammar_way *to, const struct grammar_way *from)
{
    to->depth = from->depth;
    memcpy(to->f, from->f, (size_t)from->depth * sizeof from->f[0]);
}

void machine_copy(struct grammar_state *to, const struct grammar_state *from)
{
    to->n = from->n;
    to->done = from->done;
    for (int i = 0; i < from->n; i++)
        way_copy(&to->way[i], &from->way[i]);
}

static bool way_equal(const struct grammar_way *a, const struct grammar_way *b)
{
    return a->depth == b->depth && !memcmp(a->f, b->f, (size_t)a->depth * sizeof a->f[0]);
}

static void add_way(struct grammar_state *s, const struct grammar_way *w)
{
    for (int i = 0; i < s->n; i++)
        if (way_equal(&s->way[i], w))
            return;
    CHECK_MSG(s->n < GRAMMAR_WAYS, "more ways than the schema was said to have");
    way_copy(&s->way[s->n++], w);
}

/* True when byte b begins a value whose node is a union. */
static bool meets_union(const struct schema *sc, const struct grammar_way *w, unsigned char b)
{
    const struct grammar_frame *f = top_const(w);
    const struct schema_node *node = node_of(sc, f);
    if (node->kind == SCHEMA_ARRAY && !node->map && f->at == ARRAY_FIRST && b != ']' && node->max)
        node = &sc->node[item_node(node, f)];
    return node->kind == SCHEMA_UNION;
}

/* Adds the ways that follow from w by byte b. Depth of recursion: SCHEMA_TURNS nested unions, and
 * one array. */
static void expand(const struct schema *sc, const struct grammar_way *from, unsigned char b,
                   struct grammar_state *out)
{
    struct grammar_way w;
    way_copy(&w, from);
    if (!meets_union(sc, &w, b)) {
        if (leaf_step(sc, &w, b))
            add_way(out, &w);
        return;
    }
    struct grammar_frame *f = top(&w);
    const struct schema_node *node = node_of(sc, f);
    if (node->kind == SCHEMA_ARRAY) {
        f->at = ARRAY_ITEM;
        push(sc, &w, item_node(node, f));
        expand(sc, &w, b, out);
        return;
    }
    for (size_t i = 0; i < node->n; i++) {
        w.depth--;
        push(sc, &w, node->other[i]);
        expand(sc, &w, b, out);
    }
}

bool machine_step(const struct schema *sc, struct grammar_state *s, unsigned char b)
{
    if (s->done)
        return false;
    if (s->n == 1 && !meets_union(sc, &s->way[0], b)) {
        bool fine = leaf_step(sc, &s->way[0], b);
        s->done = s->way[0].depth == 0;
        return fine;
    }
    struct grammar_state next;
    next.n = 0;
    for (int i = 0; i < s->n; i++)
        expand(sc, &s->way[i], b, &next);
    if (!next.n)
        return false;
    next.done = next.way[0].depth == 0;
    machine_copy(s, &next);
    return true;
}

/* ---- completion ----------------------------------------------------------------------------- */

static int choice_close(const struct schema *sc, const struct grammar_way *s)
{
    const struct grammar_frame *f = top_const(s);
    const struct schema_text *text = node_of(sc, f)->text, *best = NULL;
    uint64_t used = taken(sc, s);
    for (size_t i = f->index; i < f->sub; i++)
        if (any_left(used, i, i + 1) && (!best || text[i].n < best->n))
            best = &text[i];
    CHECK_MSG(best, "a choice without a value left");
    return (unsigned char)best->s[f->at];
}

static int members_close(const struct schema *sc, const struct schema_node *node,
                         const struct grammar_frame *f)
{
    size_t best = SIZE_MAX, which = SIZE_MAX, k_most = node->min;
    size_t k = node->counted && f->used < k_most ? k_most - (size_t)f->used : 0;
    for (size_t j = f->index; j <= node->n; j++) {
        if (!member_fits(node, f, j) || !member_allowed(node, f, j))
            continue;
        size_t cost = 1;
        if (j < node->n)
            cost = node->text[j].n + (f->index ? 2 : 1) + sc->node[node->child + j].least +
                   node->tail[(j + 1) * (k_most + 1) + (k ? k - 1 : 0)];
        if (cost < best) {
            best = cost;
            which = j;
        }
    }
    CHECK_MSG(which != SIZE_MAX, "an object without a property that may come next");
    return member_byte(node, f, which, f->at);
}

static int leaf_close(const struct schema *sc, const struct grammar_way *s)
{
    const struct grammar_frame *f = top_const(s);
    const struct schema_node *node = node_of(sc, f);
    struct pattern_at at;
    switch (node->kind) {
    case SCHEMA_OBJECT:
        return (unsigned char)node->text[f->index].s[f->at];
    case SCHEMA_MEMBERS:
        return members_close(sc, node, f);
    case SCHEMA_ARRAY:
        if (f->at == ARRAY_OPEN)
            return node->map ? '{' : '[';
        if (f->at == ARRAY_SPACE)
            return ' ';
        return f->index < node->min ? ',' : node->map ? '}' : ']';
    case SCHEMA_STRING:
        return quoted_close(f->at, f->index < node->min);
    case SCHEMA_PATTERN:
        at = pattern_of(f);
        return pattern_close(node->pattern, &at);
    case SCHEMA_CHOICE:
        return choice_close(sc, s);
    default:
        UNREACHABLE("a number or a union");
    }
}

/* The byte after the number of the last frame: the next byte of its parent. */
static int after_number(const struct schema *sc, const struct grammar_way *s)
{
    struct grammar_way after;
    way_copy(&after, s);
    pop(sc, &after);
    return leaf_close(sc, &after);
}

/* Replaces a union in the last frame by its shortest alternative. */
static void choose_shortest(const struct schema *sc, struct grammar_way *s)
{
    while (node_of(sc, top(s))->kind == SCHEMA_UNION) {
        const struct schema_node *node = node_of(sc, top(s));
        size_t best = 0;
        for (size_t i = 1; i < node->n; i++)
            if (sc->node[node->other[i]].least < sc->node[node->other[best]].least)
                best = i;
        s->depth--;
        push(sc, s, node->other[best]);
    }
}

int machine_close_byte(const struct schema *sc, struct grammar_way *s)
{
    char text[NUMBER_TEXT];
    if (s->depth == 0)
        return -1;
    choose_shortest(sc, s);
    const struct schema_node *node = node_of(sc, top(s));
    if (node->kind == SCHEMA_CHOICE && choice_complete(sc, s))
        return after_number(sc, s);
    if (node->kind != SCHEMA_NUMBER)
        return leaf_close(sc, s);
    struct number_prefix p = number_of(top(s));
    if (number_complete(&node->range, &p))
        return after_number(sc, s);
    number_shortest(&node->range, &p, text);
    return (unsigned char)text[number_length(&p)];
}

/* ---- classes -------------------------------------------------------------------------------- */

bool machine_in_string(const struct schema *sc, const struct grammar_way *s,
                       struct machine_string *out)
{
    if (s->depth == 0)
        return false;
    const struct grammar_frame *f = top_const(s);
    const struct schema_node *node = node_of(sc, f);
    if (node->kind != SCHEMA_STRING || f->at == QUOTED_OPEN)
        return false;
    out->q = f->at;
    out->room = (size_t)node->max - f->index;
    out->need = f->index < node->min ? (size_t)node->min - f->index : 0;
    return true;
}

static uint16_t least_of(size_t a, size_t b)
{
    return (uint16_t)(a < b ? a : b);
}

static void class_start(const struct grammar_way *s, struct grammar_way *key)
{
    memset(key, 0, sizeof *key);
    key->depth = s->depth;
    for (int i = 0; i < s->depth; i++)
        key->f[i] = s->f[i];
}

void machine_class(const struct schema *sc, const struct grammar_way *s, size_t reach,
                   struct grammar_way *key)
{
    class_start(s, key);
    for (int i = 0; i < s->depth; i++) {
        struct grammar_frame *f = &key->f[i];
        const struct schema_node *node = node_of(sc, f);
        size_t clip = reach;
        if (node->kind == SCHEMA_PATTERN && f->index >= node->pattern->far_lo &&
            f->index + reach <= node->pattern->far_hi)
            f->index = node->pattern->far_lo;
        if (node->kind == SCHEMA_ARRAY && node->n)
            continue; /* the item's number matters: each of the first items has its own node */
        if (node->kind == SCHEMA_ARRAY)
            clip = reach / (sc->node[node->child].least + 2) + 2; /* most items in `reach` bytes */
        else if (node->kind != SCHEMA_STRING)
            continue;
        size_t count = f->index;
        f->index = least_of(node->max - count, clip);
        f->sub = least_of(count < node->min ? node->min - count : 0, clip);
    }
}

void machine_close_class(const struct schema *sc, const struct grammar_way *s,
                         struct grammar_way *key)
{
    class_start(s, key);
    for (int i = 0; i < s->depth; i++) {
        struct grammar_frame *f = &key->f[i];
        const struct schema_node *node = node_of(sc, f);
        if ((node->kind != SCHEMA_ARRAY || node->n) && node->kind != SCHEMA_STRING)
            continue;
        f->index = f->index < node->min ? (uint16_t)(node->min - f->index) : 0;
    }
}

size_t machine_class_size(const struct grammar_way *key)
{
    return offsetof(struct grammar_way, f) + (size_t)key->depth * sizeof key->f[0];
}
