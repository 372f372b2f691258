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

static struct grammar_frame *top(struct grammar_state *s)
{
    return &s->f[s->depth - 1];
}

static const struct grammar_frame *top_const(const struct grammar_state *s)
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

static void push(const struct schema *sc, struct grammar_state *s, size_t node)
{
    CHECK(s->depth < GRAMMAR_DEPTH);
    struct grammar_frame f = {.node = (uint16_t)node};
    if (sc->node[node].kind == SCHEMA_CHOICE)
        f.sub = sc->node[node].n;
    s->f[s->depth++] = f;
}

/* The last frame's value is complete: tells its parent. */
static void pop(const struct schema *sc, struct grammar_state *s)
{
    struct grammar_frame child = *top(s);
    if (--s->depth == 0) {
        s->done = true;
        return;
    }
    struct grammar_frame *f = top(s);
    const struct schema_node *node = node_of(sc, f);
    f->index++;
    f->at = node->kind == SCHEMA_ARRAY ? ARRAY_AFTER : 0;
    if (node->unique)
        f->used |= (uint64_t)1 << child.index; /* the one value left of the choice */
}

void machine_start(const struct schema *sc, struct grammar_state *s)
{
    memset(s, 0, sizeof *s);
    push(sc, s, 0);
}

void machine_leave(const struct schema *sc, struct grammar_state *s)
{
    pop(sc, s);
}

/* ---- one step of each kind ------------------------------------------------------------------ */

static bool object_step(const struct schema *sc, struct grammar_state *s, unsigned char b)
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

static bool string_step(const struct schema *sc, struct grammar_state *s, unsigned char b)
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

/* Values of the parent array that are taken, as bits; 0 where repetition is allowed. */
static uint64_t taken(const struct schema *sc, const struct grammar_state *s)
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

static bool choice_step(const struct schema *sc, struct grammar_state *s, unsigned char b)
{
    struct grammar_frame *f = top(s);
    const struct schema_text *text = node_of(sc, f)->text;
    size_t lo = f->index, hi = f->sub, at = f->at;
    /* texts lo..hi-1 agree in their first `at` bytes, are longer, and are sorted */
    while (lo < hi && (unsigned char)text[lo].s[at] < b)
        lo++;
    size_t end = lo;
    while (end < hi && (unsigned char)text[end].s[at] == b)
        end++;
    if (!any_left(taken(sc, s), lo, end))
        return false;
    f->index = (uint16_t)lo;
    f->sub = (uint16_t)end;
    f->at++;
    if (f->at == text[lo].n) /* no text is a prefix of another: only this one is left */
        pop(sc, s);
    return true;
}

static bool leaf_step(const struct schema *sc, struct grammar_state *s, unsigned char b);

static bool array_step(const struct schema *sc, struct grammar_state *s, unsigned char b)
{
    struct grammar_frame *f = top(s);
    const struct schema_node *node = node_of(sc, f);
    switch (f->at) {
    case ARRAY_OPEN:
        if (b != '[')
            return false;
        f->at = node->min ? ARRAY_ITEM : ARRAY_FIRST;
        if (node->min)
            push(sc, s, node->child);
        return true;
    case ARRAY_FIRST:
        if (b == ']')
            break;
        if (!node->max)
            return false;
        f->at = ARRAY_ITEM;
        push(sc, s, node->child);
        if (leaf_step(sc, s, b))
            return true;
        s->depth--;
        f->at = ARRAY_FIRST;
        return false;
    case ARRAY_AFTER:
        if (b == ']' && f->index >= node->min)
            break;
        if (b != ',' || f->index >= node->max)
            return false;
        f->at = ARRAY_SPACE;
        return true;
    case ARRAY_SPACE:
        if (b != ' ')
            return false;
        f->at = ARRAY_ITEM;
        push(sc, s, node->child);
        return true;
    default:
        UNREACHABLE("an array waits for its item");
    }
    pop(sc, s);
    return true;
}

static bool number_byte(const struct schema *sc, struct grammar_state *s, unsigned char b)
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
    /* A number ends where its parent goes on; it has one, the root is never a number. */
    if ((b != ',' && b != ']' && b != '}') || !number_complete(&node->range, &p))
        return false;
    struct grammar_frame child = *f, parent = s->f[s->depth - 2];
    pop(sc, s);
    if (node_of(sc, &parent)->kind == SCHEMA_ARRAY ? array_step(sc, s, b) : object_step(sc, s, b))
        return true;
    *top(s) = parent;
    s->f[s->depth++] = child;
    return false;
}

/* The first byte of a value that has just been pushed: no array is past its "[" here, so that this
 * and array_step call each other at most once. */
static bool leaf_step(const struct schema *sc, struct grammar_state *s, unsigned char b)
{
    switch (node_of(sc, top(s))->kind) {
    case SCHEMA_OBJECT:
        return object_step(sc, s, b);
    case SCHEMA_ARRAY:
        return array_step(sc, s, b);
    case SCHEMA_STRING:
        return string_step(sc, s, b);
    case SCHEMA_CHOICE:
        return choice_step(sc, s, b);
    case SCHEMA_NUMBER:
        return number_byte(sc, s, b);
    }
    UNREACHABLE("unknown kind of node");
}

bool machine_step(const struct schema *sc, struct grammar_state *s, unsigned char b)
{
    return s->depth > 0 && leaf_step(sc, s, b);
}

/* ---- completion ----------------------------------------------------------------------------- */

static int choice_close(const struct schema *sc, const struct grammar_state *s)
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

/* The byte after the number of the last frame: its parent's next one. */
static int after_number(const struct schema *sc, const struct grammar_state *s)
{
    const struct grammar_frame *f = &s->f[s->depth - 2];
    const struct schema_node *node = node_of(sc, f);
    if (node->kind == SCHEMA_ARRAY)
        return f->index + 1 >= node->min ? ']' : ',';
    return (unsigned char)node->text[f->index + 1].s[0];
}

int machine_close_byte(const struct schema *sc, const struct grammar_state *s)
{
    if (s->depth == 0)
        return -1;
    const struct grammar_frame *f = top_const(s);
    const struct schema_node *node = node_of(sc, f);
    char text[NUMBER_TEXT];
    switch (node->kind) {
    case SCHEMA_OBJECT:
        return (unsigned char)node->text[f->index].s[f->at];
    case SCHEMA_ARRAY:
        if (f->at == ARRAY_OPEN)
            return '[';
        if (f->at == ARRAY_SPACE)
            return ' ';
        return f->index >= node->min ? ']' : ',';
    case SCHEMA_STRING:
        return quoted_close(f->at, f->index < node->min);
    case SCHEMA_CHOICE:
        return choice_close(sc, s);
    case SCHEMA_NUMBER: {
        struct number_prefix p = number_of(f);
        if (number_complete(&node->range, &p))
            return after_number(sc, s);
        number_shortest(&node->range, &p, text);
        return (unsigned char)text[number_length(&p)];
    }
    }
    UNREACHABLE("unknown kind of node");
}

/* ---- classes -------------------------------------------------------------------------------- */

bool machine_in_string(const struct schema *sc, const struct grammar_state *s,
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

static void class_start(const struct grammar_state *s, struct grammar_state *key)
{
    memset(key, 0, sizeof *key);
    key->depth = s->depth;
    key->done = s->done;
    for (int i = 0; i < s->depth; i++)
        key->f[i] = s->f[i];
}

void machine_class(const struct schema *sc, const struct grammar_state *s, size_t reach,
                   struct grammar_state *key)
{
    class_start(s, key);
    for (int i = 0; i < s->depth; i++) {
        struct grammar_frame *f = &key->f[i];
        const struct schema_node *node = node_of(sc, f);
        size_t clip = reach;
        if (node->kind == SCHEMA_ARRAY)
            clip = reach / (sc->node[node->child].least + 2) + 2; /* items a text can cross */
        else if (node->kind != SCHEMA_STRING)
            continue;
        size_t count = f->index;
        f->index = least_of(node->max - count, clip);
        f->sub = least_of(count < node->min ? node->min - count : 0, clip);
    }
}

void machine_close_class(const struct schema *sc, const struct grammar_state *s,
                         struct grammar_state *key)
{
    class_start(s, key);
    for (int i = 0; i < s->depth; i++) {
        struct grammar_frame *f = &key->f[i];
        const struct schema_node *node = node_of(sc, f);
        if (node->kind != SCHEMA_ARRAY && node->kind != SCHEMA_STRING)
            continue;
        f->index = f->index < node->min ? (uint16_t)(node->min - f->index) : 0;
    }
}

size_t machine_class_size(const struct grammar_state *key)
{
    return offsetof(struct grammar_state, f) + (size_t)key->depth * sizeof key->f[0];
}
