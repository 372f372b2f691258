#include "pattern.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "rng.h"
#include "str.h"

#define CLASSES 512 /* most classes of characters that an expression tells apart */

/* ---- how a character is written ------------------------------------------------------------- */

static bool short_escape(uint32_t cp)
{
    return cp == '"' || cp == '\\' || cp == '\n' || cp == '\t' || cp == '\r';
}

static bool long_escape(uint32_t cp)
{
    return (cp < 0x20 && !short_escape(cp)) || cp == 0x7f;
}

static uint16_t cost_of(uint32_t cp)
{
    if (short_escape(cp))
        return 2;
    if (long_escape(cp))
        return 6;
    return cp < 0x80 ? 1 : cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
}

/* The character of lo..hi with the fewest bytes: "." if lo..hi holds it, otherwise the first. */
static uint32_t cheapest(uint32_t lo, uint32_t hi)
{
    if (lo <= '.' && hi >= '.')
        return '.';
    uint32_t best = lo;
    for (uint32_t cp = lo; cp <= hi && cp <= 0x80; cp++)
        if (cost_of(cp) < cost_of(best))
            best = cp;
    return best;
}

/* Writes the bytes of cp inside a string; returns their number. */
static size_t write_char(uint32_t cp, unsigned char out[6])
{
    static const char from[] = "\"\\\n\t\r", to[] = "\"\\ntr", hex[] = "0123456789abcdef";
    if (short_escape(cp)) {
        out[0] = '\\';
        out[1] = (unsigned char)to[strchr(from, (int)cp) - from];
        return 2;
    }
    if (long_escape(cp)) {
        memcpy(out, "\\u00", 4);
        out[4] = (unsigned char)hex[cp >> 4];
        out[5] = (unsigned char)hex[cp & 15];
        return 6;
    }
    char text[4];
    size_t n = (size_t)utf8_encode(cp, text);
    memcpy(out, text, n);
    return n;
}

/* ---- from the expressions to a deterministic automaton -------------------------------------- */

struct build {
    const struct regex *r;
    struct err *e;
    uint32_t *cut; /* (n_cut) where intervals of characters begin */
    size_t n_cut;
    uint16_t *kind; /* (n_cut) class of each interval */
    size_t n_kind;
    unsigned char *has; /* (n_set, n_kind) */
    size_t *sample;     /* (n_kind) an interval of each class */
    /* states: each is a sorted set of states of the nondeterministic automaton */
    uint16_t *member;
    size_t n_member, cap_member;
    size_t *from; /* (n + 1) into member */
    size_t n, cap_from;
    uint32_t *slot; /* (n_slot) state + 1 by hash */
    size_t n_slot;
    uint16_t *to; /* (n, n_kind) */
    size_t cap_to;
    /* scratch */
    uint16_t *list, *stack;
    uint32_t *stamp, now;
    size_t n_list;
    struct pattern_budget *budget;
};

#define BAD(b, ...) FAIL((b)->e, ERR_CONFIG, __VA_ARGS__)

static int spend(struct pattern_budget *budget, size_t steps, struct err *e)
{
    if (steps > budget->work)
        FAIL(e, ERR_CONFIG,
             "the patterns of this schema take more than %zu steps to prepare; lower repetitions "
             "and maxLength",
             PATTERN_WORK);
    budget->work -= steps;
    return 0;
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static int make_cuts(struct build *b)
{
    const struct regex *r = b->r;
    b->cut = mem_zalloc(2 * r->n_range + 1, sizeof *b->cut);
    if (!b->cut)
        return NOMEM(b->e, r->n_range * 2 * sizeof *b->cut, "a pattern's characters");
    size_t n = 0;
    b->cut[n++] = 1;
    for (size_t i = 0; i < r->n_range; i++) {
        b->cut[n++] = r->range[i].lo;
        b->cut[n++] = r->range[i].hi + 1;
    }
    qsort(b->cut, n, sizeof *b->cut, by_value);
    b->n_cut = 0;
    for (size_t i = 0; i < n; i++)
        if (!b->n_cut || b->cut[b->n_cut - 1] != b->cut[i])
            b->cut[b->n_cut++] = b->cut[i];
    return 0;
}

static bool set_has(const struct regex *r, size_t set, uint32_t cp)
{
    size_t lo = r->set[set].first, hi = lo + r->set[set].n;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (r->range[mid].hi < cp)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < r->set[set].first + r->set[set].n && r->range[lo].lo <= cp;
}

/* Groups the intervals into classes: no set tells two intervals of one class apart. */
static int make_kinds(struct build *b)
{
    const struct regex *r = b->r;
    TRY(make_cuts(b));
    b->kind = mem_zalloc(b->n_cut, sizeof *b->kind);
    b->sample = mem_zalloc(CLASSES, sizeof *b->sample);
    b->has = mem_zalloc(r->n_set * CLASSES, 1);
    unsigned char *bits = mem_zalloc(r->n_set, 1);
    uint64_t *hash = mem_zalloc(CLASSES, sizeof *hash);
    int rc = 0;
    if (!b->kind || !b->sample || !b->has || !bits || !hash)
        rc = NOMEM(b->e, r->n_set * CLASSES, "a pattern's characters");
    if (rc == 0)
        rc = spend(b->budget, b->n_cut * r->n_set, b->e);
    for (size_t i = 0; i < b->n_cut && rc == 0; i++) {
        uint64_t h = 0;
        for (size_t s = 0; s < r->n_set; s++) {
            bits[s] = set_has(r, s, b->cut[i]);
            h = rng_mix(h ^ bits[s]);
        }
        size_t k = 0;
        for (; k < b->n_kind; k++) {
            bool same = hash[k] == h;
            for (size_t s = 0; same && s < r->n_set; s++)
                same = b->has[s * CLASSES + k] == bits[s];
            if (same)
                break;
        }
        if (k == CLASSES) {
            rc = err_set(b->e, ERR_CONFIG, "tells more than %d kinds of characters apart", CLASSES);
            break;
        }
        if (k == b->n_kind) {
            hash[k] = h;
            b->sample[b->n_kind++] = i;
            for (size_t s = 0; s < r->n_set; s++)
                b->has[s * CLASSES + k] = bits[s];
        }
        b->kind[i] = (uint16_t)k;
    }
    mem_free(bits);
    mem_free(hash);
    return rc;
}

/* Adds the states that `at` reaches without a character. begin, end: the text begins or ends
 * here. */
static void closure(struct build *b, uint16_t at, bool begin, bool end)
{
    size_t n = 0;
    b->stack[n++] = at;
    while (n) {
        uint16_t q = b->stack[--n];
        if (b->stamp[q] == b->now)
            continue;
        b->stamp[q] = b->now;
        const struct regex_state *s = &b->r->state[q];
        switch (s->op) {
        case REGEX_SPLIT:
            b->stack[n++] = s->next;
            b->stack[n++] = s->other;
            break;
        case REGEX_BEGIN:
            if (begin)
                b->stack[n++] = s->next;
            break;
        case REGEX_END:
            b->list[b->n_list++] = q;
            if (end)
                b->stack[n++] = s->next;
            break;
        default:
            b->list[b->n_list++] = q;
        }
    }
}

static void list_start(struct build *b)
{
    b->n_list = 0;
    b->now++;
}

static int by_state(const void *a, const void *b)
{
    uint16_t x = *(const uint16_t *)a, y = *(const uint16_t *)b;
    return (x > y) - (x < y);
}

/* Drops the other states of each expression whose tail is in the list: every rest fits it. */
static void list_finish(struct build *b)
{
    for (size_t i = 0; i < b->r->n_part; i++) {
        const struct regex_part *p = &b->r->part[i];
        if (p->tail == UINT16_MAX || b->stamp[p->tail] != b->now)
            continue;
        size_t n = 0;
        for (size_t k = 0; k < b->n_list; k++) {
            uint16_t q = b->list[k];
            if (q < p->first || q >= p->end || q == p->tail || q == p->accept)
                b->list[n++] = q;
        }
        b->n_list = n;
    }
    if (b->n_list)
        qsort(b->list, b->n_list, sizeof *b->list, by_state);
}

static uint64_t list_hash(const uint16_t *p, size_t n)
{
    uint64_t h = n;
    for (size_t i = 0; i < n; i++)
        h = rng_mix(h ^ p[i]);
    return h;
}

static int slots_grow(struct build *b)
{
    size_t n = b->n_slot ? 2 * b->n_slot : 64;
    uint32_t *slot = mem_zalloc(n, sizeof *slot);
    if (!slot)
        return NOMEM(b->e, n * sizeof *slot, "a pattern");
    for (size_t q = 0; q < b->n; q++) {
        size_t at = list_hash(b->member + b->from[q], b->from[q + 1] - b->from[q]) % n;
        while (slot[at])
            at = (at + 1) % n;
        slot[at] = (uint32_t)q + 1;
    }
    mem_free(b->slot);
    b->slot = slot;
    b->n_slot = n;
    return 0;
}

/* *out: the state of the list, a new one if the list has none yet. */
static int list_state(struct build *b, uint16_t *out)
{
    list_finish(b);
    if (2 * (b->n + 1) > b->n_slot)
        TRY(slots_grow(b));
    size_t at = list_hash(b->list, b->n_list) % b->n_slot;
    for (; b->slot[at]; at = (at + 1) % b->n_slot) {
        size_t q = b->slot[at] - 1;
        if (b->from[q + 1] - b->from[q] == b->n_list &&
            !memcmp(b->member + b->from[q], b->list, b->n_list * sizeof *b->list)) {
            *out = (uint16_t)q;
            return 0;
        }
    }
    if (b->n >= PATTERN_STATES)
        BAD(b, "needs more than %d states; lower its repetitions", PATTERN_STATES);
    TRY(mem_grow(&b->from, &b->cap_from, b->n + 2, sizeof *b->from, "a pattern", b->e));
    TRY(mem_grow(&b->member, &b->cap_member, b->n_member + b->n_list + 1, sizeof *b->member,
                 "a pattern", b->e));
    TRY(mem_grow(&b->to, &b->cap_to, (b->n + 1) * b->n_kind, sizeof *b->to, "a pattern", b->e));
    if (b->n_list)
        memcpy(b->member + b->n_member, b->list, b->n_list * sizeof *b->list);
    b->n_member += b->n_list;
    b->slot[at] = (uint32_t)b->n + 1;
    *out = (uint16_t)b->n;
    if (!b->n)
        b->from[0] = 0;
    b->from[++b->n] = b->n_member;
    return 0;
}

static int make_states(struct build *b)
{
    const struct regex *r = b->r;
    uint16_t q;
    b->list = mem_zalloc(r->n + 1, sizeof *b->list);
    b->stack = mem_zalloc(2 * r->n + 2, sizeof *b->stack);
    b->stamp = mem_zalloc(r->n + 1, sizeof *b->stamp);
    if (!b->list || !b->stack || !b->stamp)
        return NOMEM(b->e, r->n * 10, "a pattern");
    list_start(b);
    for (size_t i = 0; i < r->n_part; i++)
        closure(b, r->part[i].start, true, false);
    TRY(list_state(b, &q));
    for (size_t at = 0; at < b->n; at++)
        for (size_t k = 0; k < b->n_kind; k++) {
            list_start(b);
            for (size_t i = b->from[at]; i < b->from[at + 1]; i++) {
                const struct regex_state *s = &r->state[b->member[i]];
                if (s->op == REGEX_SET && b->has[s->set * CLASSES + k])
                    closure(b, s->next, false, false);
            }
            TRY(spend(b->budget, b->from[at + 1] - b->from[at] + 4 * b->n_list + 1, b->e));
            TRY(list_state(b, &q));
            b->to[at * b->n_kind + k] = q;
        }
    return 0;
}

/* True when every expression accepts a text that ends in state q. */
static bool accepts(struct build *b, size_t q)
{
    list_start(b);
    for (size_t i = b->from[q]; i < b->from[q + 1]; i++)
        closure(b, b->member[i], false, true);
    for (size_t i = 0; i < b->r->n_part; i++)
        if (b->stamp[b->r->part[i].accept] != b->now)
            return false;
    return true;
}

/* ---- its edges ------------------------------------------------------------------------------ */

/* Marks the states that can still reach an accepting one, by a search backwards from those. */
static int make_live(struct build *b, const bool *accept, bool *live)
{
    size_t n = b->n, n_edge = n * b->n_kind, n_stack = 0;
    size_t *first = mem_zalloc(n + 2, sizeof *first);
    uint16_t *from = mem_zalloc(n_edge, sizeof *from), *stack = mem_zalloc(n, sizeof *stack);
    int rc = first && from && stack ? 0 : NOMEM(b->e, n_edge * sizeof *from, "a pattern");
    if (rc == 0) {
        for (size_t i = 0; i < n_edge; i++)
            first[b->to[i] + 2]++;
        for (size_t q = 0; q < n; q++)
            first[q + 1] += first[q];
        for (size_t i = 0; i < n_edge; i++)
            from[first[b->to[i] + 1]++] = (uint16_t)(i / b->n_kind);
        for (size_t q = 0; q < n; q++)
            if (accept[q]) {
                live[q] = true;
                stack[n_stack++] = (uint16_t)q;
            }
        while (n_stack) {
            uint16_t q = stack[--n_stack];
            for (size_t i = first[q]; i < first[q + 1]; i++)
                if (!live[from[i]]) {
                    live[from[i]] = true;
                    stack[n_stack++] = from[i];
                }
        }
    }
    mem_free(first);
    mem_free(from);
    mem_free(stack);
    return rc;
}

/* Writes the edges of state q to live states, with adjacent ones joined; edge NULL: only counts. */
static size_t state_edges(const struct build *b, size_t q, const bool *live,
                          struct pattern_edge *edge)
{
    size_t n = 0;
    uint32_t hi = 0;
    uint16_t to = 0;
    for (size_t i = 0; i < b->n_cut; i++) {
        uint32_t lo = b->cut[i], end = i + 1 < b->n_cut ? b->cut[i + 1] - 1 : REGEX_MAX;
        uint16_t next = b->to[q * b->n_kind + b->kind[i]];
        if (lo > REGEX_MAX || !live[next])
            continue;
        bool joins = n && to == next && hi + 1 == lo;
        n += !joins;
        if (edge && !joins)
            edge[n - 1] = (struct pattern_edge){.lo = lo, .to = next};
        if (edge)
            edge[n - 1].hi = end;
        hi = end;
        to = next;
    }
    for (size_t i = 0; edge && i < n; i++) {
        edge[i].best = cheapest(edge[i].lo, edge[i].hi);
        edge[i].cost = cost_of(edge[i].best);
    }
    return n;
}

static int make_edges(struct build *b, struct arena *a, struct pattern *p)
{
    p->n = b->n;
    p->accept = arena_alloc(a, b->n, sizeof *p->accept);
    p->first = arena_alloc(a, b->n + 1, sizeof *p->first);
    bool *live = mem_zalloc(b->n, sizeof *live);
    int rc = p->accept && p->first && live ? 0 : NOMEM(b->e, b->n * 16, "a pattern");
    for (size_t q = 0; q < b->n && rc == 0; q++)
        p->accept[q] = accepts(b, q);
    if (rc == 0)
        rc = make_live(b, p->accept, live);
    for (size_t q = 0; q < b->n && rc == 0; q++) {
        p->first[q + 1] = p->first[q] + state_edges(b, q, live, NULL);
        if (p->first[q + 1] > PATTERN_EDGES)
            rc = err_set(b->e, ERR_CONFIG, "needs more than %u transitions", PATTERN_EDGES);
    }
    if (rc == 0)
        rc = spend(b->budget, p->first[b->n], b->e);
    if (rc == 0) {
        p->edge = arena_alloc(a, p->first[b->n], sizeof *p->edge);
        if (!p->edge)
            rc = NOMEM(b->e, p->first[b->n] * sizeof *p->edge, "a pattern");
    }
    for (size_t q = 0; q < b->n && rc == 0; q++)
        state_edges(b, q, live, p->edge + p->first[q]);
    mem_free(live);
    return rc;
}

static void build_free(struct build *b)
{
    mem_free(b->cut);
    mem_free(b->kind);
    mem_free(b->has);
    mem_free(b->sample);
    mem_free(b->member);
    mem_free(b->from);
    mem_free(b->slot);
    mem_free(b->to);
    mem_free(b->list);
    mem_free(b->stack);
    mem_free(b->stamp);
}

/* ---- the table ------------------------------------------------------------------------------ */

/* Lowers max to the length of the longest text of the automaton. */
static int trim_max(struct pattern *p, struct err *e)
{
    bool *now = mem_zalloc(p->n, sizeof *now), *next = mem_zalloc(p->n, sizeof *next);
    int rc = now && next ? 0 : NOMEM(e, p->n, "a pattern");
    if (rc == 0)
        now[0] = true;
    for (int c = 0; rc == 0 && c < p->max; c++) {
        bool any = false, same = true;
        memset(next, 0, p->n * sizeof *next);
        for (size_t q = 0; q < p->n; q++)
            for (size_t i = now[q] ? p->first[q] : 0; now[q] && i < p->first[q + 1]; i++)
                next[p->edge[i].to] = any = true;
        for (size_t q = 0; q < p->n; q++)
            same = same && now[q] == next[q];
        if (same)
            break; /* the set of states repeats: texts have no longest length */
        if (!any)
            p->max = (uint16_t)c;
        bool *was = now;
        now = next;
        next = was;
    }
    mem_free(now);
    mem_free(next);
    return rc;
}

/* Makes row c of the table from row c + 1; `after` NULL: c is the last row. */
static void make_row(const struct pattern *p, size_t c, const uint16_t *after, uint16_t *row)
{
    for (size_t q = 0; q < p->n; q++) {
        uint32_t best = p->accept[q] && c >= p->min ? 1 : PATTERN_NEVER;
        for (size_t i = p->first[q]; after && i < p->first[q + 1]; i++) {
            uint16_t rest = after[p->edge[i].to];
            if (rest != PATTERN_NEVER && (uint32_t)rest + p->edge[i].cost < best)
                best = (uint32_t)rest + p->edge[i].cost;
        }
        row[q] = (uint16_t)best;
    }
}

/* Makes the table p->left. most: the requested maxLength, for messages. */
static int make_table(struct pattern *p, int most, struct pattern_budget *budget, struct arena *a,
                      struct err *e)
{
    size_t bytes = p->n * sizeof(uint16_t);
    p->left = arena_alloc(a, p->max + (size_t)1, sizeof *p->left);
    uint16_t *row = mem_zalloc(p->n, sizeof *row);
    int rc = p->left && row ? 0 : NOMEM(e, bytes, "a pattern's table");
    for (size_t c = p->max + (size_t)1; rc == 0 && c-- > 0;) {
        const uint16_t *after = c < p->max ? p->left[c + 1] : NULL;
        if (after && c + 2 <= p->max && c >= p->min && p->left[c + 2] == after) {
            p->left[c] = after; /* rows stay equal from c down to min */
            continue;
        }
        rc = spend(budget, p->n + p->first[p->n], e);
        if (rc < 0)
            break;
        make_row(p, c, after, row);
        if (after && !memcmp(after, row, bytes)) {
            p->left[c] = after;
            continue;
        }
        if (p->n > budget->cells) {
            rc = err_set(e, ERR_CONFIG,
                         "%zu states and up to %d characters: the patterns of this schema need "
                         "tables of more than %zu cells; lower maxLength",
                         p->n, p->max, PATTERN_CELLS);
            break;
        }
        budget->cells -= p->n;
        uint16_t *kept = arena_alloc(a, p->n, sizeof *kept);
        if (!kept) {
            rc = NOMEM(e, bytes, "a pattern's table");
            break;
        }
        memcpy(kept, row, bytes);
        p->left[c] = kept;
    }
    mem_free(row);
    if (rc < 0)
        return rc;
    if (p->left[0][0] == PATTERN_NEVER)
        FAIL(e, ERR_CONFIG, "no string of %d to %d characters fits; change minLength or maxLength",
             p->min, most);
    p->far_lo = p->far_hi = p->min < p->max ? p->min : p->max;
    while (p->far_hi < p->max && p->left[p->far_hi + 1] == p->left[p->far_lo])
        p->far_hi++;
    return 0;
}

int pattern_build(const struct regex *r, int min, int max, struct pattern_budget *budget,
                  struct arena *a, struct pattern *out, struct err *e)
{
    struct build b = {.r = r, .budget = budget, .e = e};
    struct pattern p = {.min = (uint16_t)min, .max = (uint16_t)max};
    int rc = make_kinds(&b);
    if (rc == 0)
        rc = make_states(&b);
    if (rc == 0)
        rc = make_edges(&b, a, &p);
    build_free(&b);
    if (rc == 0)
        rc = trim_max(&p, e);
    if (rc == 0)
        rc = make_table(&p, max, budget, a, e);
    if (rc == 0)
        *out = p;
    return rc;
}

/* ---- steps ---------------------------------------------------------------------------------- */

/* Phases of a character. TAIL + 4 * length + missing: inside UTF-8; part = the bits read. */
enum { OPEN, BODY, ESCAPE, U0, U00, U_HIGH, U_LOW, TAIL };

static uint16_t left(const struct pattern *p, size_t q, size_t chars)
{
    return chars <= p->max ? p->left[chars][q] : PATTERN_NEVER;
}

/* The character of lo..hi with the shortest completion, among those spelt as `written` accepts; 0 =
 * none. *bytes: least bytes of the character and the rest. */
static uint32_t best_char(const struct pattern *p, const struct pattern_at *at, uint32_t lo,
                          uint32_t hi, bool (*written)(uint32_t), uint32_t *bytes)
{
    uint32_t best = 0;
    *bytes = PATTERN_NEVER;
    for (size_t i = p->first[at->state]; i < p->first[at->state + 1]; i++) {
        const struct pattern_edge *g = &p->edge[i];
        uint32_t a = g->lo > lo ? g->lo : lo, z = g->hi < hi ? g->hi : hi;
        uint16_t rest = left(p, g->to, at->chars + (size_t)1);
        if (a > z || rest == PATTERN_NEVER)
            continue;
        uint32_t cp = g->best >= a && g->best <= z && !written ? g->best : 0;
        if (!written)
            cp = cp ? cp : cheapest(a, z);
        for (; written && a <= z && a < 0x80; a++)
            if (written(a) && (!cp || cost_of(a) < cost_of(cp)))
                cp = a;
        if (cp && (uint32_t)rest + cost_of(cp) < *bytes) {
            *bytes = (uint32_t)rest + cost_of(cp);
            best = cp;
        }
    }
    return best;
}

static bool any_escape(uint32_t cp)
{
    return short_escape(cp) || long_escape(cp);
}

/* The characters that the bytes read can still become: those of *lo..*hi that the result
 * accepts. */
static bool (*reach(const struct pattern_at *at, uint32_t *lo, uint32_t *hi))(uint32_t)
{
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    *lo = 1;
    *hi = REGEX_MAX;
    switch (at->phase) {
    case BODY:
        return NULL;
    case ESCAPE:
        return any_escape;
    case U0:
    case U00:
    case U_HIGH:
        return long_escape;
    case U_LOW:
        *lo = (uint32_t)at->part << 4;
        *hi = *lo | 15;
        return long_escape;
    default: {
        int missing = (at->phase - TAIL) % 4, length = (at->phase - TAIL) / 4;
        *lo = (uint32_t)at->part << 6 * missing;
        *hi = (((uint32_t)at->part + 1) << 6 * missing) - 1;
        *lo = *lo > least[length] ? *lo : least[length];
        return NULL;
    }
    }
}

static bool possible(const struct pattern *p, const struct pattern_at *at)
{
    uint32_t lo, hi, bytes;
    bool (*written)(uint32_t) = reach(at, &lo, &hi);
    return best_char(p, at, lo, hi, written, &bytes) != 0;
}

/* Advances by the complete character cp. */
static bool take(const struct pattern *p, struct pattern_at *at, uint32_t cp)
{
    for (size_t i = p->first[at->state]; i < p->first[at->state + 1]; i++) {
        const struct pattern_edge *g = &p->edge[i];
        if (cp < g->lo || cp > g->hi)
            continue;
        if (left(p, g->to, at->chars + (size_t)1) == PATTERN_NEVER)
            return false;
        *at =
            (struct pattern_at){.state = g->to, .chars = (uint16_t)(at->chars + 1), .phase = BODY};
        return true;
    }
    return false;
}

static bool body_step(const struct pattern *p, struct pattern_at *at, unsigned char b, bool *end)
{
    if (b == '"') {
        *end = p->accept[at->state] && at->chars >= p->min;
        return *end;
    }
    if (b == '\\')
        at->phase = ESCAPE;
    else if (b < 0x20 || b == 0x7f)
        return false;
    else if (b < 0x80)
        return take(p, at, b);
    else if (b < 0xc2 || b > 0xf4)
        return false;
    else {
        uint16_t length = b < 0xe0 ? 2 : b < 0xf0 ? 3 : 4;
        at->phase = (uint16_t)(TAIL + 4 * length + length - 1);
        at->part = b & (0x7fu >> length);
    }
    return possible(p, at);
}

static bool escape_step(const struct pattern *p, struct pattern_at *at, unsigned char b)
{
    static const char from[] = "\"\\ntr", to[] = "\"\\\n\t\r", hex[] = "0123456789abcdef";
    const char *found;
    switch (at->phase) {
    case ESCAPE:
        found = b ? strchr(from, b) : NULL;
        if (found)
            return take(p, at, (uint32_t)to[found - from]);
        at->phase = U0;
        return b == 'u' && possible(p, at);
    case U0:
    case U00:
        at->phase++;
        return b == '0' && possible(p, at);
    case U_HIGH:
        at->phase = U_LOW;
        at->part = (uint64_t)(b - '0');
        return b >= '0' && b <= '9' && possible(p, at);
    default: {
        found = b ? strchr(hex, b) : NULL;
        uint32_t cp = found ? (uint32_t)(at->part << 4) | (uint32_t)(found - hex) : 0;
        return found && long_escape(cp) && take(p, at, cp);
    }
    }
}

bool pattern_step(const struct pattern *p, struct pattern_at *at, unsigned char b, bool *end)
{
    struct pattern_at next = *at;
    bool fine;
    *end = false;
    if (at->phase == OPEN) {
        next.phase = BODY;
        fine = b == '"';
    } else if (at->phase == BODY) {
        fine = body_step(p, &next, b, end);
    } else if (at->phase < TAIL) {
        fine = escape_step(p, &next, b);
    } else {
        fine = b >= 0x80 && b <= 0xbf;
        next.part = next.part << 6 | (b & 0x3fu);
        next.phase--;
        if (fine && (next.phase - TAIL) % 4 == 0)
            fine = next.part <= REGEX_MAX && take(p, &next, (uint32_t)next.part);
        else
            fine = fine && possible(p, &next);
    }
    if (fine)
        *at = next;
    return fine;
}

unsigned char pattern_close(const struct pattern *p, const struct pattern_at *at)
{
    uint32_t lo, hi, bytes;
    unsigned char text[6];
    if (at->phase == OPEN)
        return '"';
    if (at->phase == BODY && p->left[at->chars][at->state] == 1)
        return '"';
    bool (*written)(uint32_t) = reach(at, &lo, &hi);
    uint32_t cp = best_char(p, at, lo, hi, written, &bytes);
    CHECK_MSG(cp, "a string without a completion");
    size_t n = write_char(cp, text), done = 0;
    switch (at->phase) {
    case BODY:
        break;
    case ESCAPE:
    case U0:
    case U00:
    case U_HIGH:
    case U_LOW:
        done = (size_t)(at->phase - ESCAPE) + 1;
        break;
    default:
        done = n - (size_t)((at->phase - TAIL) % 4);
    }
    CHECK(done < n);
    return text[done];
}

size_t pattern_least(const struct pattern *p)
{
    return p->left[0][0] + (size_t)1;
}

size_t pattern_most(const struct pattern *p)
{
    size_t most = 0;
    for (size_t c = 0; c <= p->max; c++) {
        if (c && p->left[c] == p->left[c - 1])
            continue;
        for (size_t q = 0; q < p->n; q++)
            if (p->left[c][q] != PATTERN_NEVER && p->left[c][q] > most)
                most = p->left[c][q];
    }
    return most + 7; /* the opening quote; a begun character */
}
