#include "regex.h"

#include <stdlib.h>
#include <string.h>

#include "str.h"

enum op { SET, CAT, ALT, REPEAT, BEGIN, END };

#define NONE UINT16_MAX
#define NODES 16384
#define FOREVER (-1)
#define REPEATS 1000     /* largest count of {n,m} */
#define STEPS (1u << 18) /* of copying: an empty group in nested counts adds no state */

struct node { /* of the expression's tree; children are linked from the last to the first */
    enum op op;
    uint16_t set;
    uint16_t last, before; /* last child, previous sibling */
    int min, max;
};

struct ranges {
    struct regex_range *r;
    size_t n, cap;
};

/* A class by both readings of regex.h: the characters that match by each, and by at least one. */
struct approx {
    struct ranges sure, maybe;
};

struct parse {
    struct regex *out;
    const char *s;
    size_t n, at;
    int depth;
    struct node *node;
    size_t n_node, cap_node;
    size_t steps;
    struct err *e;
};

#define BAD(p, ...) FAIL((p)->e, ERR_CONFIG, __VA_ARGS__)

/* ---- sets of code points -------------------------------------------------------------------- */

static int ranges_add(struct ranges *s, uint32_t lo, uint32_t hi, struct err *e)
{
    TRY(mem_grow(&s->r, &s->cap, s->n + 1, sizeof *s->r, "a character class", e));
    s->r[s->n++] = (struct regex_range){lo, hi};
    return 0;
}

static int by_lo(const void *a, const void *b)
{
    uint32_t x = ((const struct regex_range *)a)->lo, y = ((const struct regex_range *)b)->lo;
    return (x > y) - (x < y);
}

static void ranges_sort(struct ranges *s) /* sorted, disjoint, not adjacent */
{
    if (s->n < 2)
        return;
    qsort(s->r, s->n, sizeof *s->r, by_lo);
    size_t n = 0;
    for (size_t i = 1; i < s->n; i++)
        if (s->r[i].lo <= s->r[n].hi + 1)
            s->r[n].hi = s->r[i].hi > s->r[n].hi ? s->r[i].hi : s->r[n].hi;
        else
            s->r[++n] = s->r[i];
    s->n = n + 1;
}

static int ranges_complement(struct ranges *s, struct err *e)
{
    struct ranges out = {0};
    uint32_t from = 1;
    int rc = 0;
    ranges_sort(s);
    for (size_t i = 0; i < s->n; i++) {
        if (s->r[i].lo > from)
            TRY_DONE(ranges_add(&out, from, s->r[i].lo - 1, e));
        if (s->r[i].hi >= from)
            from = s->r[i].hi + 1;
    }
    if (from <= REGEX_MAX)
        TRY_DONE(ranges_add(&out, from, REGEX_MAX, e));
done:
    mem_free(rc < 0 ? out.r : s->r);
    if (rc == 0)
        *s = out;
    return rc;
}

/* Stores the ranges as a set of the automaton, without U+0000 and surrogates. */
static int keep_set(struct parse *p, struct ranges *s, uint16_t *out)
{
    struct regex *r = p->out;
    ranges_sort(s);
    TRY(mem_grow(&r->set, &r->cap_set, r->n_set + 1, sizeof *r->set, "character classes", p->e));
    struct regex_set set = {.first = r->n_range};
    for (size_t i = 0; i < s->n; i++) {
        const struct regex_range half[] = {
            {s->r[i].lo < 1 ? 1 : s->r[i].lo, s->r[i].hi > 0xd7ff ? 0xd7ff : s->r[i].hi},
            {s->r[i].lo < 0xe000 ? 0xe000 : s->r[i].lo, s->r[i].hi}};
        for (size_t k = 0; k < 2; k++) {
            if (half[k].lo > half[k].hi)
                continue;
            if (r->n_range >= REGEX_RANGES || r->n_set >= NONE)
                BAD(p, "more than %d ranges of characters", REGEX_RANGES);
            TRY(mem_grow(&r->range, &r->cap_range, r->n_range + 1, sizeof *r->range,
                         "character classes", p->e));
            r->range[r->n_range++] = half[k];
        }
    }
    set.n = r->n_range - set.first;
    *out = (uint16_t)r->n_set;
    r->set[r->n_set++] = set;
    return 0;
}

static const struct regex_range digit[] = {{'0', '9'}},
                                word[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}},
                                space[] = {{9, 13}, {32, 32}},
                                space_maybe[] = {{9, 13},          {28, 32},
                                                 {0x85, 0x85},     {0xa0, 0xa0},
                                                 {0x1680, 0x1680}, {0x180e, 0x180e},
                                                 {0x2000, 0x200a}, {0x2028, 0x2029},
                                                 {0x202f, 0x202f}, {0x205f, 0x205f},
                                                 {0x3000, 0x3000}, {0xfeff, 0xfeff}},
                                line_end[] = {{10, 10}, {13, 13}, {0x2028, 0x2029}},
                                beyond_ascii[] = {{0x80, REGEX_MAX}};

static int add_all(struct ranges *s, const struct regex_range *r, size_t n, struct err *e)
{
    for (size_t i = 0; i < n; i++)
        TRY(ranges_add(s, r[i].lo, r[i].hi, e));
    return 0;
}
#define ADD_ALL(s, r, e) TRY_DONE(add_all((s), (r), sizeof(r) / sizeof(r)[0], (e)))

static void approx_free(struct approx *a)
{
    mem_free(a->sure.r);
    mem_free(a->maybe.r);
}

static int approx_negate(struct approx *a, struct err *e)
{
    TRY(ranges_complement(&a->sure, e));
    TRY(ranges_complement(&a->maybe, e));
    struct ranges sure = a->sure;
    a->sure = a->maybe;
    a->maybe = sure;
    return 0;
}

/* Adds \d \D \w \W \s \S to a class; *found = false: c is none of them. */
static int add_escape_class(struct approx *to, char c, bool *found, struct err *e)
{
    struct approx a = {0};
    int rc = 0;
    *found = true;
    switch (c | 0x20) {
    case 'd':
        ADD_ALL(&a.sure, digit, e);
        ADD_ALL(&a.maybe, digit, e);
        ADD_ALL(&a.maybe, beyond_ascii, e);
        break;
    case 'w':
        ADD_ALL(&a.sure, word, e);
        ADD_ALL(&a.maybe, word, e);
        ADD_ALL(&a.maybe, beyond_ascii, e);
        break;
    case 's':
        ADD_ALL(&a.sure, space, e);
        ADD_ALL(&a.maybe, space_maybe, e);
        break;
    default:
        *found = false;
        return 0;
    }
    if (c < 'a')
        TRY_DONE(approx_negate(&a, e));
    TRY_DONE(add_all(&to->sure, a.sure.r, a.sure.n, e));
    TRY_DONE(add_all(&to->maybe, a.maybe.r, a.maybe.n, e));
done:
    approx_free(&a);
    return rc;
}

/* ---- parsing -------------------------------------------------------------------------------- */

static int new_node(struct parse *p, struct node node, uint16_t *out)
{
    if (p->n_node >= NODES)
        BAD(p, "more than %d elements", NODES);
    TRY(mem_grow(&p->node, &p->cap_node, p->n_node + 1, sizeof *p->node, "an expression", p->e));
    *out = (uint16_t)p->n_node;
    node.last = node.last ? node.last : NONE;
    node.before = NONE;
    p->node[p->n_node++] = node;
    return 0;
}

static void append(struct parse *p, uint16_t parent, uint16_t child)
{
    p->node[child].before = p->node[parent].last;
    p->node[parent].last = child;
}

static int set_node(struct parse *p, struct ranges *s, uint16_t *out)
{
    uint16_t set;
    TRY(keep_set(p, s, &set));
    return new_node(p, (struct node){.op = SET, .set = set}, out);
}

static int one_node(struct parse *p, uint32_t cp, uint16_t *out)
{
    struct regex_range r = {cp, cp};
    struct ranges s = {.r = &r, .n = 1};
    return set_node(p, &s, out);
}

static bool looking_at(const struct parse *p, const char *s)
{
    size_t n = strlen(s);
    return p->n - p->at >= n && !memcmp(p->s + p->at, s, n);
}

static int read_char(struct parse *p, uint32_t *cp)
{
    int n = utf8_decode(p->s + p->at, p->n - p->at, cp);
    if (!n)
        BAD(p, "byte %zu is no UTF-8", p->at);
    p->at += (size_t)n;
    return 0;
}

static int read_hex(struct parse *p, size_t digits, uint32_t *cp)
{
    *cp = 0;
    for (size_t i = 0; i < digits; i++, p->at++) {
        char c = p->at < p->n ? p->s[p->at] : 0, low = (char)(c | 0x20);
        if (!(c >= '0' && c <= '9') && !(low >= 'a' && low <= 'f'))
            BAD(p, "byte %zu: %zu hexadecimal digits must follow", p->at, digits);
        *cp = *cp * 16 + (uint32_t)(c <= '9' ? c - '0' : low - 'a' + 10);
    }
    if (*cp >= 0xd800 && *cp <= 0xdfff)
        BAD(p, "byte %zu: \\u of a surrogate; write the character itself", p->at);
    return 0;
}

/* Reads one escaped character after its backslash. */
static int read_escape(struct parse *p, bool in_class, uint32_t *cp)
{
    static const char from[] = "tnvfr", to[] = "\t\n\v\f\r";
    if (p->at >= p->n)
        BAD(p, "ends in a backslash");
    size_t at = p->at;
    TRY(read_char(p, cp));
    const char *known = *cp < 0x80 && *cp ? strchr(from, (int)*cp) : NULL;
    if (known)
        *cp = (uint32_t)to[known - from];
    else if (*cp == 'x' || *cp == 'u')
        return read_hex(p, *cp == 'x' ? 2 : 4, cp);
    else if (*cp == 'b' && in_class)
        *cp = 8;
    else if (*cp == 'b' || *cp == 'B')
        BAD(p, "byte %zu: \\%c, the edge of a word, is not supported; write what may stand there",
            at, (char)*cp);
    else if (*cp >= '0' && *cp <= '9')
        BAD(p, "byte %zu: \\%c, a back reference or octal number, is not supported; write it out",
            at, (char)*cp);
    else if (*cp == 'p' || *cp == 'P')
        BAD(p, "byte %zu: \\%c, a Unicode property, is not supported; list the characters", at,
            (char)*cp);
    else if ((*cp | 0x20) >= 'a' && (*cp | 0x20) <= 'z')
        BAD(p, "byte %zu: \\%c is not supported; write the character itself", at, (char)*cp);
    return 0;
}

/* Reads one end of a range, or an escaped class (then *is_class). */
static int class_item(struct parse *p, struct approx *a, bool *is_class, uint32_t *cp)
{
    *is_class = false;
    if (p->s[p->at] != '\\')
        return read_char(p, cp);
    p->at++;
    if (p->at < p->n)
        TRY(add_escape_class(a, p->s[p->at], is_class, p->e));
    if (!*is_class)
        return read_escape(p, true, cp);
    p->at++;
    return 0;
}

static int class_body(struct parse *p, struct approx *a)
{
    size_t start = p->at;
    while (p->at < p->n && p->s[p->at] != ']') {
        uint32_t lo = 0, hi;
        bool class_lo, class_hi = false;
        TRY(class_item(p, a, &class_lo, &lo));
        hi = lo;
        if (looking_at(p, "-") && p->at + 1 < p->n && p->s[p->at + 1] != ']') {
            p->at++;
            TRY(class_item(p, a, &class_hi, &hi));
            if (class_lo || class_hi)
                BAD(p, "byte %zu: a range ends in a class; write \\- for the sign", p->at);
            if (lo > hi)
                BAD(p, "byte %zu: a range of characters that runs backwards", p->at);
        }
        if (class_lo)
            continue;
        TRY(ranges_add(&a->sure, lo, hi, p->e));
        TRY(ranges_add(&a->maybe, lo, hi, p->e));
    }
    if (p->at >= p->n)
        BAD(p, "byte %zu: a class without its ]", start);
    if (p->at == start)
        BAD(p, "byte %zu: an empty class; write \\] for the bracket", start);
    p->at++;
    return 0;
}

static int read_class(struct parse *p, uint16_t *out)
{
    struct approx a = {0};
    bool negated = looking_at(p, "^");
    int rc = 0;
    p->at += negated;
    TRY_DONE(class_body(p, &a));
    if (negated)
        TRY_DONE(approx_negate(&a, p->e));
    TRY_DONE(set_node(p, &a.sure, out));
done:
    approx_free(&a);
    return rc;
}

static int read_dot(struct parse *p, uint16_t *out)
{
    struct ranges s = {0};
    int rc = 0;
    ADD_ALL(&s, line_end, p->e);
    TRY_DONE(ranges_complement(&s, p->e));
    TRY_DONE(set_node(p, &s, out));
done:
    mem_free(s.r);
    return rc;
}

static int read_backslash(struct parse *p, uint16_t *out)
{
    struct approx a = {0};
    bool found = false;
    uint32_t cp;
    int rc = 0;
    if (p->at < p->n)
        TRY_DONE(add_escape_class(&a, p->s[p->at], &found, p->e));
    if (found) {
        p->at++;
        TRY_DONE(set_node(p, &a.sure, out));
    } else {
        TRY_DONE(read_escape(p, false, &cp));
        TRY_DONE(one_node(p, cp, out));
    }
done:
    approx_free(&a);
    return rc;
}

static int read_alt(struct parse *p, uint16_t *out);

static int read_group(struct parse *p, uint16_t *out)
{
    size_t start = p->at;
    if (++p->depth > REGEX_NESTING)
        BAD(p, "byte %zu: groups nested deeper than %d", start, REGEX_NESTING);
    if (looking_at(p, "?:")) {
        p->at += 2;
    } else if (looking_at(p, "?P<") ||
               (looking_at(p, "?<") && !looking_at(p, "?<=") && !looking_at(p, "?<!"))) {
        const char *end = memchr(p->s + p->at, '>', p->n - p->at);
        if (!end)
            BAD(p, "byte %zu: a name of a group without its >", start);
        p->at = (size_t)(end - p->s) + 1;
    } else if (looking_at(p, "?")) {
        BAD(p,
            "byte %zu: a look-ahead, look-behind or flag (?.. is not supported; put the second "
            "condition into allOf as a pattern of its own",
            start);
    }
    TRY(read_alt(p, out));
    if (!looking_at(p, ")"))
        BAD(p, "byte %zu: a group without its )", start);
    p->at++;
    p->depth--;
    return 0;
}

static bool read_count(struct parse *p, size_t *at, int *out)
{
    size_t from = *at;
    *out = 0;
    for (; *at < p->n && p->s[*at] >= '0' && p->s[*at] <= '9'; ++*at)
        if (*out <= REPEATS)
            *out = *out * 10 + (p->s[*at] - '0');
    return *at > from;
}

/* Reads {n} {n,} {n,m} at p->at; *found = false: the brace is a literal. */
static int read_braces(struct parse *p, bool *found, int *min, int *max)
{
    size_t at = p->at + 1;
    *found = false;
    if (at < p->n && p->s[at] == ',')
        BAD(p, "byte %zu: {,m} is read differently by different programs; write {0,m}", p->at);
    if (!read_count(p, &at, min))
        return 0;
    *max = *min;
    if (at < p->n && p->s[at] == ',') {
        at++;
        if (!read_count(p, &at, max))
            *max = FOREVER;
    }
    if (at >= p->n || p->s[at] != '}')
        return 0;
    if (*min > REPEATS || *max > REPEATS)
        BAD(p, "byte %zu: a repetition of more than %d", p->at, REPEATS);
    if (*max != FOREVER && *min > *max)
        BAD(p, "byte %zu: a repetition that runs backwards", p->at);
    p->at = at + 1;
    *found = true;
    return 0;
}

static int read_repeat(struct parse *p, bool *found, int *min, int *max)
{
    char c = p->at < p->n ? p->s[p->at] : 0;
    *found = c == '*' || c == '+' || c == '?';
    if (*found) {
        *min = c == '+';
        *max = c == '?' ? 1 : FOREVER;
        p->at++;
    } else if (c == '{') {
        TRY(read_braces(p, found, min, max));
    }
    if (*found && looking_at(p, "?")) /* a lazy count matches the same texts */
        p->at++;
    return 0;
}

static int read_atom(struct parse *p, uint16_t *out)
{
    uint32_t cp;
    char c = p->s[p->at];
    switch (c) {
    case '(':
        p->at++;
        return read_group(p, out);
    case '[':
        p->at++;
        return read_class(p, out);
    case '.':
        p->at++;
        return read_dot(p, out);
    case '\\':
        p->at++;
        return read_backslash(p, out);
    case '^':
    case '$':
        p->at++;
        return new_node(p, (struct node){.op = c == '^' ? BEGIN : END}, out);
    case '*':
    case '+':
    case '?':
        BAD(p, "byte %zu: %c has nothing to repeat", p->at, c);
    default:
        TRY(read_char(p, &cp));
        return one_node(p, cp, out);
    }
}

static int read_cat(struct parse *p, uint16_t *out)
{
    TRY(new_node(p, (struct node){.op = CAT}, out));
    while (p->at < p->n && p->s[p->at] != '|' && p->s[p->at] != ')') {
        uint16_t atom, repeat;
        int min, max;
        bool found;
        size_t at = p->at;
        TRY(read_atom(p, &atom));
        TRY(read_repeat(p, &found, &min, &max));
        if (found) {
            if (p->node[atom].op == BEGIN || p->node[atom].op == END)
                BAD(p, "byte %zu: an anchor is repeated", at);
            TRY(new_node(p, (struct node){.op = REPEAT, .min = min, .max = max}, &repeat));
            append(p, repeat, atom);
            atom = repeat;
            TRY(read_repeat(p, &found, &min, &max));
            if (found)
                BAD(p, "byte %zu: a repetition of a repetition; put a group around the first",
                    p->at);
        }
        append(p, *out, atom);
    }
    return 0;
}

static int read_alt(struct parse *p, uint16_t *out)
{
    uint16_t way;
    TRY(new_node(p, (struct node){.op = ALT}, out));
    for (;;) {
        TRY(read_cat(p, &way));
        append(p, *out, way);
        if (!looking_at(p, "|"))
            return 0;
        p->at++;
    }
}

/* ---- the automaton -------------------------------------------------------------------------- */

static int new_state(struct parse *p, struct regex_state state, uint16_t *out)
{
    struct regex *r = p->out;
    if (r->n >= REGEX_STATES)
        BAD(p, "more than %d states; lower its repetitions", REGEX_STATES);
    TRY(mem_grow(&r->state, &r->cap, r->n + 1, sizeof *r->state, "an expression", p->e));
    *out = (uint16_t)r->n;
    r->state[r->n++] = state;
    return 0;
}

static int split(struct parse *p, uint16_t a, uint16_t b, uint16_t *out)
{
    return new_state(p, (struct regex_state){.op = REGEX_SPLIT, .next = a, .other = b}, out);
}

static int emit(struct parse *p, uint16_t at, uint16_t next, uint16_t *out);

static int emit_repeat(struct parse *p, const struct node *n, uint16_t next, uint16_t *out)
{
    uint16_t to = next, child = n->last, entry;
    if (n->max == FOREVER) {
        TRY(split(p, next, next, &to));
        TRY(emit(p, child, to, &entry));
        p->out->state[to].next = entry;
    }
    for (int i = n->min; i < n->max; i++) { /* an optional copy; skipping it skips the later ones */
        TRY(emit(p, child, to, &entry));
        TRY(split(p, entry, next, &to));
    }
    for (int i = 0; i < n->min; i++)
        TRY(emit(p, child, to, &to));
    *out = to;
    return 0;
}

/* Makes the states of node `at`, which lead on to next; *out: their start. Depth: REGEX_NESTING. */
static int emit(struct parse *p, uint16_t at, uint16_t next, uint16_t *out)
{
    struct node n = p->node[at];
    if (++p->steps > STEPS)
        BAD(p, "repetitions of repetitions; lower their counts");
    switch (n.op) {
    case SET:
        return new_state(p, (struct regex_state){.op = REGEX_SET, .set = n.set, .next = next}, out);
    case BEGIN:
        return new_state(p, (struct regex_state){.op = REGEX_BEGIN, .next = next}, out);
    case END:
        return new_state(p, (struct regex_state){.op = REGEX_END, .next = next}, out);
    case CAT:
        for (uint16_t c = n.last; c != NONE; c = p->node[c].before)
            TRY(emit(p, c, next, &next));
        *out = next;
        return 0;
    case ALT: {
        uint16_t to = NONE, way;
        for (uint16_t c = n.last; c != NONE; c = p->node[c].before) {
            TRY(emit(p, c, next, &way));
            if (to != NONE)
                TRY(split(p, way, to, &way));
            to = way;
        }
        *out = to;
        return 0;
    }
    case REPEAT:
        return emit_repeat(p, &n, next, out);
    }
    return 0;
}

/* Makes a loop over any characters that leads on to next. */
static int emit_any(struct parse *p, uint16_t next, uint16_t *loop, uint16_t *out)
{
    struct regex_range all = {1, REGEX_MAX};
    struct ranges s = {.r = &all, .n = 1};
    uint16_t set;
    TRY(keep_set(p, &s, &set));
    TRY(split(p, next, next, out));
    TRY(new_state(p, (struct regex_state){.op = REGEX_SET, .set = set, .next = *out}, loop));
    p->out->state[*out].next = *loop;
    return 0;
}

static int emit_all(struct parse *p, uint16_t root, bool whole)
{
    struct regex *r = p->out;
    struct regex_part part = {.first = (uint16_t)r->n, .tail = NONE};
    uint16_t next, loop;
    TRY(mem_grow(&r->part, &r->cap_part, r->n_part + 1, sizeof *r->part, "expressions", p->e));
    TRY(new_state(p, (struct regex_state){.op = REGEX_ACCEPT}, &part.accept));
    next = part.accept;
    if (!whole)
        TRY(emit_any(p, next, &part.tail, &next));
    TRY(emit(p, root, next, &part.start));
    if (!whole)
        TRY(emit_any(p, part.start, &loop, &part.start));
    part.end = (uint16_t)r->n;
    r->part[r->n_part++] = part;
    return 0;
}

int regex_add(struct regex *r, const char *s, size_t n, bool whole, struct err *e)
{
    struct parse p = {.out = r, .s = s, .n = n, .e = e};
    uint16_t root = 0;
    int rc = 0;
    TRY_DONE(read_alt(&p, &root));
    if (p.at < n) {
        err_set(e, ERR_CONFIG, "byte %zu: a ) without its group", p.at);
        rc = ERR_CONFIG;
        goto done;
    }
    TRY_DONE(emit_all(&p, root, whole));
done:
    mem_free(p.node);
    return rc;
}

void regex_free(struct regex *r)
{
    mem_free(r->state);
    mem_free(r->set);
    mem_free(r->range);
    mem_free(r->part);
    *r = (struct regex){0};
}
