#include "synonyms.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "embed.h"
#include "jdoc.h"
#include "sha256.h"
#include "zio.h"

#define SYNONYMS_BUILT_IN "configs/synonyms.yaml"
#define SYNONYMS_WORD 64 /* bytes of a word that the table can list */

/* ---- normal form ----------------------------------------------------------------------------- */

static bool synonyms_letter(char c)
{
    return isalnum((unsigned char)c) || (unsigned char)c >= 0x80;
}

/* Bytes of an apostrophe at s: ' or U+2019; 0 = none. */
static size_t synonyms_apostrophe(const char *s, size_t n)
{
    if (n && *s == '\'')
        return 1;
    return n >= 3 && !memcmp(s, "\xe2\x80\x99", 3) ? 3 : 0;
}

/* Bytes of the word at s[at], without an apostrophe. */
static size_t synonyms_word(const char *s, size_t at, size_t n)
{
    size_t k = at;
    while (k < n && synonyms_letter(s[k]) && !synonyms_apostrophe(s + k, n - k))
        k++;
    return k - at;
}

/* Bytes of "'s" or "'" after a word. */
static size_t synonyms_genitive(const char *s, size_t at, size_t n)
{
    const size_t k = synonyms_apostrophe(s + at, n - at);
    if (!k)
        return 0;
    const bool with_s = at + k < n && (s[at + k] == 's' || s[at + k] == 'S') &&
                        (at + k + 1 == n || !synonyms_letter(s[at + k + 1]));
    return k + with_s;
}

static bool synonyms_ends(const char *s, size_t n, const char *end)
{
    const size_t k = strlen(end);
    return n > k && !memcmp(s + n - k, end, k);
}

/* The last word of out, which begins at `from`, becomes singular. */
static void synonyms_singular(struct str *out, size_t from)
{
    const char *s = out->s + from;
    size_t n = out->len - from;
    if (out->failed || n < 4 || s[n - 1] != 's' || synonyms_ends(s, n, "ss") ||
        synonyms_ends(s, n, "us") || synonyms_ends(s, n, "is"))
        return;
    if (synonyms_ends(s, n, "ies") && n > 4) {
        out->s[out->len - 3] = 'y';
        out->len -= 2;
    } else if (synonyms_ends(s, n, "sses") || synonyms_ends(s, n, "shes") ||
               synonyms_ends(s, n, "ches") || synonyms_ends(s, n, "xes")) {
        out->len -= 2;
    } else {
        out->len--;
    }
    out->s[out->len] = 0;
}

static int synonyms_order(const void *a, const void *b)
{
    return strcmp(((const struct synonyms_row *)a)->from, ((const struct synonyms_row *)b)->from);
}

static const char *synonyms_find(const struct synonyms_row *row, size_t n, const char *from)
{
    const struct synonyms_row key = {.from = from};
    const struct synonyms_row *hit = n ? bsearch(&key, row, n, sizeof *row, synonyms_order) : NULL;
    return hit ? hit->to : NULL;
}

/* Appends the normal form of s[0..n), words separated by a space. */
static void synonyms_normal(const struct synonyms *t, const char *s, size_t n, struct str *out)
{
    const size_t begin = out->len;
    for (size_t at = 0; at < n;) {
        const size_t k = synonyms_word(s, at, n);
        if (!k) {
            const size_t mark = synonyms_apostrophe(s + at, n - at);
            at += mark ? mark : 1;
            continue;
        }
        if (out->len > begin)
            str_addc(out, ' ');
        const size_t from = out->len;
        for (size_t i = 0; i < k; i++)
            str_addc(out, (char)tolower((unsigned char)s[at + i]));
        synonyms_singular(out, from);
        const char *to = out->failed ? NULL : synonyms_find(t->word, t->n_word, out->s + from);
        if (to) {
            out->len = from;
            str_adds(out, to);
        }
        at += k;
        at += synonyms_genitive(s, at, n);
    }
}

static int synonyms_class_of(const struct synonyms *t, const char *s, size_t n, struct str *out,
                             struct err *e)
{
    str_clear(out);
    synonyms_normal(t, s, n, out);
    TRY(str_ok(out, "a diagnosis", e));
    const char *to = out->len ? synonyms_find(t->name, t->n_name, out->s) : NULL;
    if (to) {
        str_clear(out);
        str_adds(out, to);
    }
    return str_ok(out, "a diagnosis", e);
}

/* Bytes before a text in brackets at the end of s, and that text; n = there is none. */
static size_t synonyms_brackets(const char *s, size_t n, const char **inner, size_t *n_inner)
{
    size_t end = n;
    while (end && !synonyms_letter(s[end - 1]) && s[end - 1] != ')')
        end--;
    if (!end || s[end - 1] != ')')
        return n;
    size_t open = end - 1;
    while (open && s[open] != '(')
        open--;
    if (s[open] != '(')
        return n;
    *inner = s + open + 1;
    *n_inner = end - 1 - open - 1;
    return open;
}

int synonyms_class(const struct synonyms *t, const char *text, struct str *out, struct err *e)
{
    const size_t n = strlen(text);
    const char *inner = NULL;
    size_t n_inner = 0;
    const size_t before = synonyms_brackets(text, n, &inner, &n_inner);
    if (before < n) {
        struct str other = STR_INIT;
        int rc = synonyms_class_of(t, text, before, out, e);
        if (rc == 0)
            rc = synonyms_class_of(t, inner, n_inner, &other, e);
        const bool same = rc == 0 && out->len && other.len && !strcmp(out->s, other.s);
        str_free(&other);
        TRY(rc);
        if (same)
            return 0;
    }
    return synonyms_class_of(t, text, n, out, e);
}

int synonyms_of(const struct synonyms *t, const char *text, struct arena *a, const char **out,
                struct err *e)
{
    struct str s = STR_INIT;
    const char *copy = NULL;
    int rc;
    TRY_DONE(synonyms_class(t, text, &s, e));
    if (s.len) {
        copy = arena_strndup(a, s.s, s.len);
        rc = copy ? 0 : NOMEM(e, s.len, "a diagnosis");
    }
    if (rc == 0)
        *out = copy;
done:
    str_free(&s);
    return rc;
}

/* ---- the table ------------------------------------------------------------------------------- */

/* Adds a row with the normal forms of two texts; words of the table are replaced in `to` only. */
static int synonyms_add(struct synonyms *t, struct synonyms_row *row, size_t *n, const char *from,
                        const char *to, struct err *e)
{
    struct str s = STR_INIT;
    int rc;
    synonyms_normal(t, from, strlen(from), &s);
    TRY_DONE(str_ok(&s, "a name", e));
    if (!s.len)
        TRY_DONE(err_set(e, ERR_CONFIG, "'%.60s' has no word", from));
    row[*n].from = arena_strndup(&t->arena, s.s, s.len);
    str_clear(&s);
    synonyms_normal(t, to, strlen(to), &s);
    TRY_DONE(str_ok(&s, "a name", e));
    row[*n].to = arena_strndup(&t->arena, s.s ? s.s : "", s.len);
    if (!row[*n].from || !row[*n].to)
        TRY_DONE(NOMEM(e, s.len, "a name"));
    ++*n;
done:
    str_free(&s);
    return rc;
}

/* Sorts the rows. A text that stands twice is an error. */
static int synonyms_sort(struct synonyms_row *row, size_t n, const char *of, struct err *e)
{
    if (n)
        qsort(row, n, sizeof *row, synonyms_order);
    for (size_t i = 1; i < n; i++)
        if (!strcmp(row[i - 1].from, row[i].from))
            FAIL(e, ERR_CONFIG, "'%.60s' stands twice in %s; remove one", row[i].from, of);
    return 0;
}

static int synonyms_text(const json_t *v, const char **out, struct err *e)
{
    *out = json_string_value(v);
    if (!*out)
        FAIL(e, ERR_CONFIG, "a name is %s, expected a text",
             jdoc_type_name(v ? json_typeof(v) : JSON_NULL));
    return 0;
}

static int synonyms_words(struct synonyms *t, const json_t *list, struct err *e)
{
    struct synonyms_row *row = arena_alloc(&t->arena, json_array_size(list) + 1, sizeof *row);
    size_t n = 0;
    if (!row)
        return NOMEM(e, json_array_size(list) * sizeof *row, "words");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *pair = json_array_get(list, i);
        const char *from, *to;
        if (json_array_size(pair) != 2)
            FAIL(e, ERR_CONFIG, "words: item %zu is no pair: [word, words that it stands for]",
                 i + 1);
        TRY(synonyms_text(json_array_get(pair, 0), &from, e));
        TRY(synonyms_text(json_array_get(pair, 1), &to, e));
        TRY(synonyms_add(t, row, &n, from, to, e));
        if (strchr(row[n - 1].from, ' ') || strlen(row[n - 1].from) > SYNONYMS_WORD)
            FAIL(e, ERR_CONFIG, "words: '%.60s' is not one word", from);
    }
    TRY(synonyms_sort(row, n, "words", e));
    t->word = row; /* only now: no word is replaced within this list */
    t->n_word = n;
    return 0;
}

static int synonyms_names(struct synonyms *t, const json_t *list, struct err *e)
{
    size_t all = 0, n = 0;
    for (size_t i = 0; i < json_array_size(list); i++)
        all += json_array_size(json_array_get(list, i));
    if (all > SYNONYMS_NAMES)
        FAIL(e, ERR_CONFIG, "%zu names, the limit is %d", all, SYNONYMS_NAMES);
    t->name = arena_alloc(&t->arena, all + 1, sizeof *t->name);
    if (!t->name)
        return NOMEM(e, all * sizeof *t->name, "names");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *names = json_array_get(list, i);
        const char *first, *name;
        if (json_array_size(names) < 2)
            FAIL(e, ERR_CONFIG, "names: class %zu has fewer than two names", i + 1);
        TRY(synonyms_text(json_array_get(names, 0), &first, e));
        for (size_t k = 0; k < json_array_size(names); k++) {
            TRY(synonyms_text(json_array_get(names, k), &name, e));
            TRY(synonyms_add(t, t->name, &n, name, first, e));
        }
    }
    TRY(synonyms_sort(t->name, n, "names", e));
    t->n_name = n;
    return 0;
}

static int synonyms_fill(struct synonyms *t, const json_t *doc, struct err *e)
{
    static const char *const keys[] = {"words", "names", NULL};
    json_t *list = NULL;
    TRY(jdoc_only(doc, keys, e));
    if (json_object_get(doc, "words")) {
        TRY(jdoc_array(doc, "words", 0, SYNONYMS_NAMES, &list, e));
        TRY(synonyms_words(t, list, e));
    }
    TRY(jdoc_array(doc, "names", 0, SYNONYMS_NAMES, &list, e));
    return synonyms_names(t, list, e);
}

int synonyms_parse(const char *text, size_t n, const char *name, struct synonyms *out,
                   struct err *e)
{
    struct synonyms t = {.arena = {.limit = 16 * SYNONYMS_BYTES}};
    struct str json = STR_INIT;
    json_t *doc = NULL;
    int rc;
    TRY_DONE(sha256_hex(text, n, t.hash, e));
    TRY_DONE(config_yaml_to_json(text, n, name, &json, e));
    rc = jdoc_load(json.s, json.len, &doc, e);
    if (!rc)
        rc = synonyms_fill(&t, doc, e);
    if (rc < 0) {
        err_wrap(e, rc, "%s", name);
        if (rc != ERR_NOMEM) { /* a table is configuration, whatever the code of its fault */
            rc = ERR_CONFIG;
            if (e)
                e->code = rc;
        }
        goto done;
    }
    *out = t;
    t.arena = (struct arena){.head = NULL};
done:
    arena_free(&t.arena);
    json_decref(doc);
    str_free(&json);
    return rc;
}

int synonyms_read(const char *path, struct synonyms *out, struct err *e)
{
    if (!path[0]) {
        const struct embed_file *f = embed_find(SYNONYMS_BUILT_IN);
        if (!f)
            FAIL(e, ERR_BUG, "%s is not built in", SYNONYMS_BUILT_IN);
        return synonyms_parse(f->data, f->size, SYNONYMS_BUILT_IN, out, e);
    }
    struct str text = STR_INIT;
    int rc;
    TRY_DONE(zio_read(path, SYNONYMS_BYTES, &text, e));
    TRY_DONE(synonyms_parse(text.s, text.len, path, out, e));
done:
    str_free(&text);
    return rc;
}

void synonyms_free(struct synonyms *s)
{
    arena_free(&s->arena);
    *s = (struct synonyms){.n_name = 0};
}
