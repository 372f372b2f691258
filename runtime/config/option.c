#include "option.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "fmt.h"

static void *member(const struct option_row *r, void *at)
{
    return (char *)at + r->offset;
}

static const void *const_member(const struct option_row *r, const void *at)
{
    return (const char *)at + r->offset;
}

bool option_is_map(const struct option_row *r)
{
    return r->type == OPTION_MAP_OF_INT || r->type == OPTION_MAP_OF_FLOAT;
}

const struct option_row *option_of_flag(const struct option_set *s, const char *flag)
{
    for (int i = 0; i < s->n; i++)
        if (s->row[i].flag && !strcmp(s->row[i].flag, flag))
            return &s->row[i];
    return NULL;
}

double option_map_get(const struct option_map *m, const char *name, double otherwise)
{
    for (int i = 0; i < m->n; i++)
        if (!strcmp(m->item[i].name, name))
            return m->item[i].value;
    return otherwise;
}

/* ---- choices --------------------------------------------------------------------------------- */

/* The index of text in "a|b|c", -1 when it is not one of them. */
static int choice_index(const char *choices, const char *text)
{
    size_t n = strlen(text);
    int i = 0;
    for (const char *s = choices; n && *s; i++) {
        size_t len = strcspn(s, "|");
        if (len == n && !memcmp(s, text, n))
            return i;
        s += len + (s[len] == '|');
    }
    return -1;
}

const char *option_choice(const char *choices, int i, size_t *n)
{
    const char *s = choices;
    for (; i > 0 && *s; i--)
        s += strcspn(s, "|") + (s[strcspn(s, "|")] == '|');
    *n = i < 0 ? 0 : strcspn(s, "|");
    return s;
}

/* ---- rules and messages ---------------------------------------------------------------------- */

/* True when the row has a value outside its range, "-1" or "0", that means unset. */
static bool has_unset(const struct option_row *r)
{
    double d;
    return (r->type == OPTION_AUTO || option_is_map(r)) &&
           str_to_f64(r->otherwise, -1e9, 1e9, &d) && (d < r->lo || d > r->hi);
}

void option_rule(const struct option_row *r, struct str *out)
{
    switch (r->type) {
    case OPTION_BOOL:
    case OPTION_NOT:
        str_adds(out, "true or false");
        return;
    case OPTION_INT:
    case OPTION_AUTO:
    case OPTION_MAP_OF_INT:
        str_addf(out, "a whole number from %.0f to %.0f", r->lo, r->hi);
        break;
    case OPTION_POWER:
        str_addf(out, "a power of two from %.0f to %.0f", r->lo, r->hi);
        break;
    case OPTION_FLOAT:
    case OPTION_MAP_OF_FLOAT:
        str_addf(out, "a number from %.9g to %.9g", r->lo, r->hi);
        break;
    case OPTION_BYTES:
        str_adds(out, "a size such as 22.5GiB, 512MB or 0");
        return;
    case OPTION_RATE:
        str_addf(out, "a rate such as 25GB/s, at least %.0f bytes/s, or 0", r->lo);
        return;
    case OPTION_WORD:
    case OPTION_ENUM:
    case OPTION_FORMAT:
        str_addf(out, "one of %s", r->choices);
        return;
    case OPTION_STRING:
        str_addf(out, "UTF-8 text of %.0f to %.0f bytes", r->lo, r->hi);
        break;
    case OPTION_LIST:
        str_addf(out, "a list of at most %.0f", r->hi);
        break;
    }
    if (has_unset(r))
        str_addf(out, ", or %s", r->otherwise);
    if (*r->unit)
        str_addf(out, r->type == OPTION_LIST ? " %s" : " (%s)", r->unit);
}

void option_help(const struct option_row *r, struct str *out)
{
    bool has_choices = r->type == OPTION_WORD || r->type == OPTION_ENUM || r->type == OPTION_FORMAT;
    size_t n = strlen(r->doc);
    char first = r->doc[0];
    if (islower((unsigned char)r->doc[1]) || r->doc[1] == ' ')
        first = (char)tolower((unsigned char)first);
    if (r->type == OPTION_NOT)
        str_adds(out, "do not ");
    str_addc(out, first);
    str_add(out, r->doc + 1, n - 2); /* without the full stop */
    if (has_choices)
        str_addf(out, "; one of %s", r->choices);
    if (r->arg && *r->otherwise)
        str_addf(out, " (default %s)", r->otherwise);
}

static int refuse(const struct option_row *r, const char *name, const struct option_value *v,
                  struct err *e)
{
    struct str rule = STR_INIT;
    option_rule(r, &rule);
    int rc = str_ok(&rule, "a message", e);
    int empty = -1;
    for (int i = v->n - 1; v->is_list && v->n <= (int)r->hi && i >= 0; i--)
        empty = *v->item[i] ? empty : i;
    if (rc == 0 && r->type == OPTION_LIST && empty >= 0)
        rc = err_set(e, ERR_CONFIG, "%s: item %d is empty; it takes %s of 1 to 63 bytes each", name,
                     empty + 1, rule.s);
    else if (rc == 0 && v->is_list && r->type == OPTION_LIST)
        rc = err_set(e, ERR_CONFIG, "%s has %d items; it takes %s of 1 to 63 bytes each", name,
                     v->n, rule.s);
    else if (rc == 0 && v->is_list)
        rc = err_set(e, ERR_CONFIG, "%s is a list; it takes %s", name, rule.s);
    else if (rc == 0)
        rc = err_set(e, ERR_CONFIG, "%s is '%.*s'%s; it takes %s", name, OPTION_DISPLAY, v->item[0],
                     v->quoted && r->type != OPTION_STRING ? " in quotes" : "", rule.s);
    str_free(&rule);
    return rc;
}

/* ---- text to value --------------------------------------------------------------------------- */

/* True for UTF-8. Strings go into traces, which are JSON and could not hold other bytes. */
static bool is_text(const char *s)
{
    uint32_t cp;
    for (size_t left = strlen(s); left;) {
        int k = utf8_decode(s, left, &cp);
        if (!k)
            return false;
        s += k;
        left -= (size_t)k;
    }
    return true;
}

static const char *kept(const char *s, struct arena *keep)
{
    return keep ? arena_strndup(keep, s, strlen(s)) : s;
}

static int set_string(const struct option_row *r, const char *text, void *at, struct arena *keep,
                      struct err *e)
{
    const char *copy = kept(text, keep);
    if (!copy)
        return NOMEM(e, strlen(text) + 1, r->key);
    *(const char **)member(r, at) = copy;
    return 0;
}

static bool list_fits(const struct option_row *r, const struct option_value *v)
{
    if (!v->is_list || v->n < 0 || v->n > (int)r->hi || v->n > OPTION_LIST_MAX)
        return false;
    for (int i = 0; i < v->n; i++)
        if (!*v->item[i] || strlen(v->item[i]) > 63 || !is_text(v->item[i]))
            return false;
    return true;
}

static int set_list(const struct option_row *r, const struct option_value *v, void *at,
                    struct arena *keep, struct err *e)
{
    struct option_list list = {.n = v->n};
    for (int i = 0; i < v->n; i++)
        if (!(list.item[i] = kept(v->item[i], keep)))
            return NOMEM(e, strlen(v->item[i]) + 1, r->key);
    memcpy(member(r, at), &list, sizeof list);
    return 0;
}

static bool is_power(int64_t v)
{
    return v > 0 && !(v & (v - 1));
}

/* A number of a row with whole numbers; lo is its lowest, or the value that means unset. */
static bool whole(const struct option_row *r, const char *text, int64_t *out)
{
    if (has_unset(r) && !strcmp(text, r->otherwise))
        return str_to_i64(text, INT64_MIN, INT64_MAX, out);
    return str_to_i64(text, (int64_t)r->lo, (int64_t)r->hi, out) &&
           (r->type != OPTION_POWER || is_power(*out));
}

static bool rate(const struct option_row *r, const char *text, double *out)
{
    char size[64];
    uint64_t bytes;
    size_t n = strlen(text);
    if (n > 2 && !strcmp(text + n - 2, "/s"))
        n -= 2;
    if (n >= sizeof size)
        return false;
    snprintf(size, sizeof size, "%.*s", (int)n, text);
    if (!str_to_bytes(size, &bytes) || (bytes && (double)bytes < r->lo))
        return false;
    *out = (double)bytes;
    return true;
}

static int set_map(const struct option_row *r, const struct option_value *v, const char *name,
                   void *at, struct arena *keep, struct err *e)
{
    struct option_map *m = member(r, at);
    int64_t i64;
    double d, unset;
    int i = 0;
    CHECK(str_to_f64(r->otherwise, -1e9, 1e9, &unset));
    bool ok = r->type == OPTION_MAP_OF_INT ? whole(r, v->item[0], &i64)
                                           : str_to_f64(v->item[0], -1e9, 1e9, &d);
    if (r->type == OPTION_MAP_OF_INT && ok)
        d = (double)i64;
    if (!ok || v->quoted || ((d < r->lo || d > r->hi) && (d < unset || d > unset)))
        return refuse(r, name, v, e);
    while (i < m->n && strcmp(m->item[i].name, v->name))
        i++;
    if (d <= unset && d >= unset) { /* the entry is removed */
        if (i < m->n) {
            memmove(&m->item[i], &m->item[i + 1], (size_t)(m->n - i - 1) * sizeof m->item[0]);
            m->n--;
        }
        return 0;
    }
    if (i == OPTION_MAP_MAX)
        FAIL(e, ERR_CONFIG, "%s: more than %d names; remove some", r->key, OPTION_MAP_MAX);
    const char *copy = kept(v->name, keep), *origin = kept(v->origin ? v->origin : "", keep);
    if (!copy || !origin)
        return NOMEM(e, strlen(v->name) + 1, r->key);
    m->item[i] = (struct option_map_item){copy, d + 0.0, origin};
    m->n += i == m->n;
    return 0;
}

static void put_whole(const struct option_row *r, int64_t v, void *at)
{
    int narrow = (int)v;
    if (r->size == sizeof narrow)
        memcpy(member(r, at), &narrow, sizeof narrow);
    else
        memcpy(member(r, at), &v, sizeof v);
}

static int64_t get_whole(const struct option_row *r, const void *at)
{
    int narrow;
    int64_t v;
    if (r->size == sizeof v) {
        memcpy(&v, const_member(r, at), sizeof v);
        return v;
    }
    memcpy(&narrow, const_member(r, at), sizeof narrow);
    return narrow;
}

/* Sets a number or a switch; only a plain scalar is accepted. */
static int set_number(const struct option_row *r, const char *name, const struct option_value *v,
                      void *at, struct err *e)
{
    const char *text = v->item[0];
    int64_t i64;
    double d;
    if (v->quoted)
        return refuse(r, name, v, e);
    switch (r->type) {
    case OPTION_BOOL:
    case OPTION_NOT:
        if (strcmp(text, "true") && strcmp(text, "false"))
            return refuse(r, name, v, e);
        *(bool *)member(r, at) = !strcmp(text, r->type == OPTION_NOT ? "false" : "true");
        return 0;
    case OPTION_FLOAT:
        if (!str_to_f64(text, r->lo, r->hi, &d))
            return refuse(r, name, v, e);
        *(double *)member(r, at) = d + 0.0; /* -0 becomes 0: equal settings have equal text */
        return 0;
    case OPTION_RATE:
        return rate(r, text, member(r, at)) ? 0 : refuse(r, name, v, e);
    case OPTION_BYTES:
        return str_to_bytes(text, member(r, at)) ? 0 : refuse(r, name, v, e);
    default:
        if (!whole(r, text, &i64))
            return refuse(r, name, v, e);
        if (r->type != OPTION_AUTO)
            put_whole(r, i64, at);
        else if (i64 < 0)
            *(struct option_auto *)member(r, at) = (struct option_auto){0};
        else
            *(struct option_auto *)member(r, at) = (struct option_auto){true, (int)i64};
        return 0;
    }
}

int option_set(const struct option_row *r, const char *name, const struct option_value *v, void *at,
               struct arena *keep, struct err *e)
{
    enum fmt fmt;
    if (r->type == OPTION_LIST)
        return list_fits(r, v) ? set_list(r, v, at, keep, e) : refuse(r, name, v, e);
    if (v->is_list)
        return refuse(r, name, v, e);
    const char *text = v->item[0];
    size_t n = strlen(text);
    int i;
    switch (r->type) {
    case OPTION_STRING:
        if ((double)n < r->lo || (double)n > r->hi || !is_text(text))
            return refuse(r, name, v, e);
        return set_string(r, text, at, keep, e);
    case OPTION_WORD:
        return choice_index(r->choices, text) >= 0 ? set_string(r, text, at, keep, e)
                                                   : refuse(r, name, v, e);
    case OPTION_ENUM:
        if ((i = choice_index(r->choices, text)) < 0)
            return refuse(r, name, v, e);
        put_whole(r, i, at);
        return 0;
    case OPTION_FORMAT:
        if (choice_index(r->choices, text) < 0 || !fmt_from_name(text, &fmt))
            return refuse(r, name, v, e);
        put_whole(r, (int64_t)fmt, at);
        return 0;
    case OPTION_MAP_OF_INT:
    case OPTION_MAP_OF_FLOAT:
        return set_map(r, v, name, at, keep, e);
    default:
        return set_number(r, name, v, at, e);
    }
}

void option_defaults(const struct option_set *s, void *at)
{
    for (int i = 0; i < s->n; i++) {
        const struct option_row *r = &s->row[i];
        struct option_value v = {
            &r->otherwise, r->type == OPTION_LIST ? 0 : 1, r->type == OPTION_LIST, false, NULL,
            NULL};
        if (option_is_map(r))
            memset(member(r, at), 0, r->size);
        else
            CHECK_MSG(option_set(r, r->key, &v, at, NULL, NULL) == 0, r->key);
    }
}

/* ---- values of a caller in C ----------------------------------------------------------------- */

void option_fill(const struct option_set *s, void *at)
{
    for (int i = 0; i < s->n; i++) {
        const struct option_row *r = &s->row[i];
        struct option_value v = {&r->otherwise, 1, false, false, NULL, NULL};
        bool unset = false;
        if (r->type == OPTION_INT || r->type == OPTION_POWER)
            unset = r->lo > 0 && !get_whole(r, at);
        else if (r->type == OPTION_STRING || r->type == OPTION_WORD)
            unset = !*(const char *const *)const_member(r, at);
        if (unset)
            CHECK_MSG(option_set(r, r->key, &v, at, NULL, NULL) == 0, r->key);
    }
}

/* The choice for the number format of the member; *n is 0 when no choice is that format. */
static const char *format_at(const struct option_row *r, const void *at, size_t *n)
{
    char name[32];
    enum fmt f;
    for (int i = 0;; i++) {
        const char *s = option_choice(r->choices, i, n);
        snprintf(name, sizeof name, "%.*s", (int)*n, s);
        if (!*n || (fmt_from_name(name, &f) && (int64_t)f == get_whole(r, at)))
            return s;
    }
}

/* True when the member's value is one that its row allows. */
static bool holds(const struct option_row *r, const void *at)
{
    const void *p = const_member(r, at);
    const struct option_auto *a = p;
    size_t n;
    double d;
    switch (r->type) {
    case OPTION_INT:
    case OPTION_POWER:
        d = (double)get_whole(r, at);
        return d >= r->lo && d <= r->hi && (r->type != OPTION_POWER || is_power(get_whole(r, at)));
    case OPTION_AUTO:
        return !a->set || (a->value >= (int)r->lo && a->value <= (int)r->hi);
    case OPTION_FLOAT:
        return *(const double *)p >= r->lo && *(const double *)p <= r->hi;
    case OPTION_RATE:
        d = *(const double *)p;
        return d >= r->lo || (d >= 0 && d <= 0);
    case OPTION_STRING:
        n = strlen(*(const char *const *)p);
        return (double)n >= r->lo && (double)n <= r->hi;
    case OPTION_WORD:
        return (r->marks & OPTION_OPEN) || choice_index(r->choices, *(const char *const *)p) >= 0;
    case OPTION_ENUM:
        option_choice(r->choices, (int)get_whole(r, at), &n);
        return n > 0;
    case OPTION_FORMAT:
        format_at(r, at, &n);
        return n > 0;
    default: /* every value is valid; the owner of a list or map checks it */
        return true;
    }
}

int option_check(const struct option_set *s, const void *at, struct err *e)
{
    for (int i = 0; i < s->n; i++) {
        const struct option_row *r = &s->row[i];
        struct str rule = STR_INIT, value = STR_INIT;
        if (holds(r, at))
            continue;
        option_rule(r, &rule);
        if (r->type == OPTION_ENUM || r->type == OPTION_FORMAT)
            str_addf(&value, "%" PRId64, get_whole(r, at));
        else
            option_text(r, at, &value);
        int rc = str_ok(&rule, "a message", e);
        if (rc == 0)
            rc = str_ok(&value, "a message", e);
        if (rc == 0)
            rc = err_set(e, ERR_USAGE, "%s%s is '%.*s'; it takes %s", r->flag ? "--" : "",
                         r->flag ? r->flag : r->key, OPTION_DISPLAY, value.s, rule.s);
        str_free(&rule);
        str_free(&value);
        return rc;
    }
    return 0;
}

/* ---- value to text --------------------------------------------------------------------------- */

/* The shortest decimal that reads back as the same double. */
static void add_double(double d, struct str *out)
{
    char text[40];
    double back;
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, d);
        if (str_to_f64(text, -1e308, 1e308, &back) && back == d)
            break;
    }
    str_adds(out, text);
}

/* The text of a value that is text. */
static const char *word_of(const struct option_row *r, const void *at, size_t *n)
{
    if (r->type == OPTION_ENUM)
        return option_choice(r->choices, (int)get_whole(r, at), n);
    if (r->type == OPTION_FORMAT)
        return format_at(r, at, n);
    const char *s = *(const char *const *)const_member(r, at);
    *n = strlen(s);
    return s;
}

void option_json(const struct option_row *r, const void *at, struct str *out)
{
    const void *p = const_member(r, at);
    const struct option_list *list = p;
    const struct option_auto *a = p;
    const char *s;
    size_t n;
    switch (r->type) {
    case OPTION_BOOL:
    case OPTION_NOT:
        str_adds(out, *(const bool *)p == (r->type == OPTION_BOOL) ? "true" : "false");
        break;
    case OPTION_INT:
    case OPTION_POWER:
        str_addf(out, "%" PRId64, get_whole(r, at));
        break;
    case OPTION_AUTO:
        str_addf(out, "%d", a->set ? a->value : -1);
        break;
    case OPTION_FLOAT:
        add_double(*(const double *)p, out);
        break;
    case OPTION_BYTES:
        str_addf(out, "%" PRIu64, *(const uint64_t *)p);
        break;
    case OPTION_RATE:
        str_addf(out, "%.0f", *(const double *)p);
        break;
    case OPTION_LIST:
        str_addc(out, '[');
        for (int i = 0; i < list->n; i++) {
            str_adds(out, i ? ", " : "");
            str_add_json(out, list->item[i], strlen(list->item[i]));
        }
        str_addc(out, ']');
        break;
    case OPTION_MAP_OF_INT:
    case OPTION_MAP_OF_FLOAT:
        CHECK_MSG(false, "a map is written entry by entry");
        break;
    default:
        s = word_of(r, at, &n);
        str_add_json(out, s, n);
    }
}

void option_text(const struct option_row *r, const void *at, struct str *out)
{
    const struct option_list *list = const_member(r, at);
    const char *s;
    size_t n;
    switch (r->type) {
    case OPTION_STRING:
    case OPTION_WORD:
    case OPTION_ENUM:
    case OPTION_FORMAT:
        s = word_of(r, at, &n);
        str_add(out, s, n);
        break;
    case OPTION_LIST:
        str_addc(out, '[');
        for (int i = 0; i < list->n; i++)
            str_addf(out, "%s%s", i ? ", " : "", list->item[i]);
        str_addc(out, ']');
        break;
    default:
        option_json(r, at, out);
    }
}
