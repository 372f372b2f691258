#include "pretoken.h"

#include <stdint.h>
#include <string.h>

#include "unicode.h"

/* ---- sets of characters -------------------------------------------------------------------- */

/* A set is a sum of bits; a character is in it if it has one of them, with NOT if it has none. The
 * low bits are classes of Unicode. */
enum {
    LETTER = UNICODE_LETTER,
    MARK = UNICODE_MARK,
    NUMBER = UNICODE_NUMBER,
    PUNCT = UNICODE_PUNCT,
    SYMBOL = UNICODE_SYMBOL,
    SPACE = UNICODE_SPACE,
    BLANK = 1 << 10, /* the space U+0020 */
    EOL = 1 << 11,   /* [\r\n] */
    SLASH = 1 << 12,
    BACKTICK = 1 << 13,
    ASCII_LETTER = 1 << 14,
    ASCII_DIGIT = 1 << 15,
    ASCII_SIGN = 1 << 16,   /* the 32 signs of ASCII */
    ASCII_SYMBOL = 1 << 17, /* $+<=>^|~ */
    CASED_LIST = 1 << 18,   /* pretoken_lists.h */
    SIGN_LIST = 1 << 19,
    EAST_LIST = 1 << 20,
    HAN_KANA_LIST = 1 << 21,
    LISTS = CASED_LIST | SIGN_LIST | EAST_LIST | HAN_KANA_LIST,
    NOT = 1 << 30,
    SIGN = NOT | SPACE | LETTER | NUMBER, /* [^\s\p{L}\p{N}] */
    UPPER = UNICODE_UPPER | UNICODE_TITLE | UNICODE_MODIFIER | UNICODE_UNCASED | MARK,
    LOWER = UNICODE_LOWER | UNICODE_MODIFIER | UNICODE_UNCASED | MARK,
};

struct range {
    uint32_t first, last;
};

#include "pretoken_lists.h"

enum {
    _C = 0, /* control */
    _S = SPACE,
    _E = SPACE | EOL,
    _B = SPACE | BLANK,
    _D = NUMBER | ASCII_DIGIT,
    _U = UNICODE_UPPER | ASCII_LETTER,
    _L = UNICODE_LOWER | ASCII_LETTER,
    _P = PUNCT | ASCII_SIGN,
    _H = PUNCT | ASCII_SIGN | SLASH,
    _Y = SYMBOL | ASCII_SIGN | ASCII_SYMBOL,
    _T = SYMBOL | ASCII_SIGN | BACKTICK,
};

static const int ascii[128] = {
    _C, _C, _C, _C, _C, _C, _C, _C, _C, _S, _E, _S, _S, _E, _C, _C, /* 0x00 */
    _C, _C, _C, _C, _C, _C, _C, _C, _C, _C, _C, _C, _C, _C, _C, _C, /* 0x10 */
    _B, _P, _P, _P, _Y, _P, _P, _P, _P, _P, _P, _Y, _P, _P, _P, _H, /*  !"#$%&'()*+,-./ */
    _D, _D, _D, _D, _D, _D, _D, _D, _D, _D, _P, _P, _Y, _Y, _Y, _P, /* 0123456789:;<=>? */
    _P, _U, _U, _U, _U, _U, _U, _U, _U, _U, _U, _U, _U, _U, _U, _U, /* @A.. */
    _U, _U, _U, _U, _U, _U, _U, _U, _U, _U, _U, _P, _P, _P, _Y, _P, /* ..Z[\]^_ */
    _T, _L, _L, _L, _L, _L, _L, _L, _L, _L, _L, _L, _L, _L, _L, _L, /* `a.. */
    _L, _L, _L, _L, _L, _L, _L, _L, _L, _L, _L, _P, _Y, _P, _Y, _C, /* ..z{|}~ */
};

static bool listed(const struct range *r, size_t n, uint32_t cp)
{
    size_t lo = 0;
    while (lo < n) {
        size_t mid = lo + (n - lo) / 2;
        if (r[mid].last < cp)
            lo = mid + 1;
        else
            n = mid;
    }
    return r[lo].first <= cp && cp <= r[lo].last;
}

#define LISTED(list, cp)                                                                           \
    ((cp) <= (list)[sizeof(list) / sizeof(list)[0] - 1].last &&                                    \
     listed(list, sizeof(list) / sizeof(list)[0] - 1, cp))

/* The lists of `set` that have the character. */
static int lists_of(uint32_t cp, int set)
{
    int bits = 0;
    if ((set & CASED_LIST) && LISTED(cased_list, cp))
        bits |= CASED_LIST;
    if ((set & SIGN_LIST) && LISTED(sign_list, cp))
        bits |= SIGN_LIST;
    if ((set & EAST_LIST) && LISTED(east_list, cp))
        bits |= EAST_LIST;
    if ((set & HAN_KANA_LIST) && LISTED(han_kana_list, cp))
        bits |= HAN_KANA_LIST;
    return bits;
}

struct mark {    /* one character of the text */
    size_t len;  /* bytes; 0 = the end */
    uint32_t cp; /* 0xffffffff for an invalid byte */
    int bits;    /* sets that have it */
};

static struct mark mark_at(const char *s, size_t n, size_t at, int set)
{
    if (at >= n)
        return (struct mark){.len = 0, .cp = 0xffffffff};
    unsigned char c = (unsigned char)s[at];
    struct mark m = {.len = 1, .cp = c, .bits = c < 128 ? ascii[c] : 0};
    if (c >= 128) {
        int len = utf8_decode(s + at, n - at, &m.cp);
        if (len == 0) {
            m.cp = 0xffffffff;
            return m;
        }
        m.len = (size_t)len;
        m.bits = (int)unicode_class(m.cp);
    }
    if (set & LISTS)
        m.bits |= lists_of(m.cp, set);
    return m;
}

static bool in(struct mark m, int set)
{
    return m.len > 0 && ((m.bits & set) != 0) != ((set & NOT) != 0);
}

/* ---- alternatives -------------------------------------------------------------------------- */

enum kind { KIND_RUN, KIND_PAIR, KIND_SHORT, KIND_CASED, KIND_WHITE, KIND_LINES, KIND_LAST };

struct alternative { /* see pretokens.def */
    enum kind kind;
    int lead, body, tail; /* sets, 0 = none */
    size_t least, most;   /* characters of the body */
    bool any_case;        /* KIND_SHORT */
    bool contraction;     /* KIND_CASED: a contraction may follow */
};

#define MAX_ALTERNATIVES 6

struct pretoken_pass {
    struct alternative alt[MAX_ALTERNATIVES];
    int n;
};

#define RUNS(l, b, t, lo, hi)                                                                      \
    {                                                                                              \
        .kind = KIND_RUN, .lead = (l), .body = (b), .tail = (t), .least = (lo), .most = (hi)       \
    }
#define RUN(l, b, t) RUNS(l, b, t, 1, SIZE_MAX)
#define PAIR(l, b)                                                                                 \
    {                                                                                              \
        .kind = KIND_PAIR, .lead = (l), .body = (b), .least = 1, .most = SIZE_MAX                  \
    }
#define SHORT(any)                                                                                 \
    {                                                                                              \
        .kind = KIND_SHORT, .any_case = (any)                                                      \
    }
#define CASED(l, c)                                                                                \
    {                                                                                              \
        .kind = KIND_CASED, .lead = (l), .contraction = (c)                                        \
    }
#define WHITE                                                                                      \
    {                                                                                              \
        .kind = KIND_WHITE                                                                         \
    }
#define LINES                                                                                      \
    {                                                                                              \
        .kind = KIND_LINES                                                                         \
    }
#define LAST                                                                                       \
    {                                                                                              \
        .kind = KIND_LAST                                                                          \
    }

/* End of the run of at most `most` characters of `set` that begins at `at`. */
static size_t run_end(const char *s, size_t n, size_t at, int set, size_t most)
{
    for (; most > 0; most--) {
        struct mark m = mark_at(s, n, at, set);
        if (!in(m, set))
            break;
        at += m.len;
    }
    return at;
}

/* body{least,most} tail* at `at`; 0 = no match. */
static size_t body_end(const struct alternative *a, const char *s, size_t n, size_t at)
{
    size_t end = run_end(s, n, at, a->body, a->most);
    if (end == at || (a->least > 1 && run_end(s, n, at, a->body, a->least - 1) == end))
        return 0;
    return a->tail ? run_end(s, n, end, a->tail, SIZE_MAX) : end;
}

static size_t match_run(const struct alternative *a, const char *s, size_t n, struct mark first)
{
    size_t end = 0;
    if (a->body & LISTS)
        first.bits |= lists_of(first.cp, a->body);
    if (a->lead && in(first, a->lead))
        end = body_end(a, s, n, first.len);
    if (end || a->kind == KIND_PAIR)
        return end;
    return in(first, a->body) ? body_end(a, s, n, 0) : 0;
}

static uint32_t lower(uint32_t cp)
{
    if (cp >= 'A' && cp <= 'Z')
        return cp + 0x20;
    if (cp == 0x17f) /* LONG S: the only other character that folds to a letter of a contraction */
        return 's';
    return cp;
}

/* 's|'t|'re|'ve|'m|'ll|'d at s[0]: bytes of the whole match, or 0. */
static size_t match_short(const char *s, size_t n, bool any_case)
{
    if (n < 2 || s[0] != '\'')
        return 0;
    struct mark a = mark_at(s, n, 1, 0);
    uint32_t c = any_case ? lower(a.cp) : a.cp;
    if (c == 's' || c == 't' || c == 'm' || c == 'd')
        return 1 + a.len;
    if (c == 'r' || c == 'v' || c == 'l') {
        struct mark b = mark_at(s, n, 1 + a.len, 0);
        if (b.len && (any_case ? lower(b.cp) : b.cp) == (c == 'l' ? 'l' : 'e'))
            return 1 + a.len + b.len;
    }
    return 0;
}

/* UPPER* LOWER+ at `at`; 0 = no match. The upper run gives back its characters from the end until
 * one of them is also in LOWER. */
static size_t upper_lower(const char *s, size_t n, size_t at)
{
    size_t both = 0; /* end of the last character of the run that is also in LOWER */
    struct mark m = mark_at(s, n, at, 0);
    for (; in(m, UPPER); m = mark_at(s, n, at, 0)) {
        at += m.len;
        if (in(m, LOWER))
            both = at;
    }
    return in(m, LOWER) ? run_end(s, n, at, LOWER, SIZE_MAX) : both;
}

static size_t match_cased(const struct alternative *a, const char *s, size_t n, struct mark first)
{
    bool lead = in(first, a->lead);
    size_t end = lead ? upper_lower(s, n, first.len) : 0;
    if (!end)
        end = upper_lower(s, n, 0);
    if (!end && lead && in(mark_at(s, n, first.len, 0), UPPER))
        end = run_end(s, n, first.len, UPPER, SIZE_MAX);
    if (!end)
        end = run_end(s, n, 0, UPPER, SIZE_MAX);
    return end && a->contraction ? end + match_short(s + end, n - end, true) : end;
}

/* Alternatives for white space on a text that begins with it. */
static size_t match_white(const char *s, size_t n, bool lines)
{
    size_t at = 0, last = 0, line_end = 0; /* last: start of the run's last character */
    for (;;) {
        struct mark m = mark_at(s, n, at, 0);
        if (!in(m, SPACE))
            break;
        last = at;
        at += m.len;
        if (in(m, EOL))
            line_end = at;
    }
    if (lines && line_end)
        return line_end;
    /* The last white space belongs to the next piece, unless the text ends or it is the only
     * one. */
    return at == n || last == 0 ? at : last;
}

static size_t match(const struct pretoken_pass *p, const char *s, size_t n)
{
    struct mark first = mark_at(s, n, 0, 0);
    for (int i = 0; i < p->n; i++) {
        const struct alternative *a = &p->alt[i];
        size_t end = 0;
        if (a->kind == KIND_RUN || a->kind == KIND_PAIR)
            end = match_run(a, s, n, first);
        else if (a->kind == KIND_SHORT)
            end = first.cp == '\'' ? match_short(s, n, a->any_case) : 0;
        else if (a->kind == KIND_CASED)
            end = match_cased(a, s, n, first);
        else if (in(first, SPACE))
            end = match_white(s, n, a->kind == KIND_LINES);
        if (end)
            return end;
    }
    return 0;
}

/* Start of the white space at the end of s[0..n). */
static size_t last_white(const char *s, size_t n)
{
    while (n > 0) {
        size_t at = n - 1;
        while (at > 0 && n - at < 4 && ((unsigned char)s[at] & 0xc0) == 0x80)
            at--;
        struct mark m = mark_at(s, n, at, 0);
        if (m.len != n - at || !in(m, SPACE))
            break;
        n = at;
    }
    return n;
}

/* ---- passes -------------------------------------------------------------------------------- */

#define PASS(name, ...)                                                                            \
    static const struct pretoken_pass name[1] = {                                                  \
        {.alt = {__VA_ARGS__},                                                                     \
         .n = (int)(sizeof(struct alternative[]){__VA_ARGS__} / sizeof(struct alternative))}};
#include "pretokens.def"

/* Bytes of the piece at the start of s[0..n), n > 0: a match, or the text up to the next match. */
static size_t cut(const struct pretoken_pass *p, const char *s, size_t n)
{
    if (p->alt[0].kind == KIND_LAST) {
        size_t at = last_white(s, n);
        return at ? at : n;
    }
    size_t at = match(p, s, n);
    if (at)
        return at;
    do
        at += mark_at(s, n, at, 0).len;
    while (at < n && !match(p, s + at, n - at));
    return at;
}

/* ---- the table ----------------------------------------------------------------------------- */

static const struct pretoken rows[] = {
#define PRE(n, l, w, b, ...)                                                                       \
    {.name = (n), .labels = (l), .whole_first = (w), .add_bos = (b), .pass = {__VA_ARGS__}},
#include "pretokens.def"
};

#define N_ROWS (sizeof rows / sizeof rows[0])

static bool has_label(const char *labels, const char *name, size_t n)
{
    while (*labels) {
        size_t len = strcspn(labels, " ");
        if (len == n && !memcmp(labels, name, n))
            return true;
        labels += len;
        labels += strspn(labels, " ");
    }
    return false;
}

const struct pretoken *pretoken_find(const char *name, size_t n)
{
    for (size_t i = 0; i < N_ROWS; i++)
        if (n && (has_label(rows[i].name, name, n) || has_label(rows[i].labels, name, n)))
            return &rows[i];
    return NULL;
}

void pretoken_names(struct str *out)
{
    for (size_t i = 0; i < N_ROWS; i++)
        str_addf(out, i ? ", %s" : "%s", rows[i].name);
}

void pretoken_start(struct pretoken_walk *w, const struct pretoken *rule, const char *s, size_t n)
{
    *w = (struct pretoken_walk){.rule = rule, .s = s, .end = {n}};
}

size_t pretoken_next(struct pretoken_walk *w)
{
    size_t at = w->at;
    if (at == w->end[0])
        return 0;
    int k = 0;
    for (; k < PRETOKEN_PASSES && w->rule->pass[k]; k++)
        if (w->end[k + 1] == at)
            w->end[k + 1] = at + cut(w->rule->pass[k], w->s + at, w->end[k] - at);
    w->at = w->end[k];
    return w->at - at;
}
