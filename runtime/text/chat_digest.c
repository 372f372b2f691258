#include "chat_digest.h"

#include <string.h>

#include "mem.h"
#include "sha256.h"

/* Parts of a template, in order. The canonical form writes them as
 *   text \1 T bytes, \1 E words of {{ }}, \1 S words of {% %}; words are divided by \2 */
enum kind { TEXT = 'T', PRINT = 'E', BLOCK = 'S' };
enum { PART = 1, WORD = 2, QUOTE = 3 }; /* bytes of the canonical form */

struct part {
    char kind;
    size_t at, len; /* in reader.words */
};

struct reader {
    struct str src;   /* the template with "\n" for every line end */
    size_t at;        /* of the next byte */
    struct str words; /* bytes of all parts */
    struct part *part;
    size_t n_part, cap;
    bool cut_left;    /* the last tag removes white space after it */
    bool cut_newline; /* the last tag removes one newline after it */
};

static int add_part(struct reader *r, char kind, size_t from, struct err *e)
{
    if (r->n_part == r->cap) {
        size_t cap = r->cap ? 2 * r->cap : 64;
        struct part *p = mem_zalloc(cap, sizeof *p);
        if (!p)
            return NOMEM(e, cap * sizeof *p, "parts of a chat template");
        if (r->part)
            memcpy(p, r->part, r->n_part * sizeof *p);
        mem_free(r->part);
        r->part = p;
        r->cap = cap;
    }
    r->part[r->n_part++] = (struct part){kind, from, r->words.len - from};
    return 0;
}

static void read_source(struct gguf_str text, struct str *out)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.s[i] != '\r')
            str_addc(out, text.s[i]);
        else if (i + 1 == text.len || text.s[i + 1] != '\n')
            str_addc(out, '\n');
    if (out->len && out->s[out->len - 1] == '\n')
        out->len--;
    str_addc(out, '\0'); /* so that two bytes can be read at every place */
    out->len -= !out->failed;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           ((unsigned char)c & 0x80);
}

/* '{' of "{{", "{%" or "{#"; src.len if there is none. */
static size_t next_tag(const struct reader *r)
{
    for (size_t i = r->at; i + 1 < r->src.len; i++)
        if (r->src.s[i] == '{' && strchr("{%#", r->src.s[i + 1]) && r->src.s[i + 1])
            return i;
    return r->src.len;
}

/* Adds the text up to `tag` without the white space that tags remove. */
static int read_text(struct reader *r, size_t tag, struct err *e)
{
    size_t from = r->at, to = tag, start = r->words.len;
    const char *s = r->src.s;
    if (r->cut_left)
        while (from < to && is_space(s[from]))
            from++;
    else if (r->cut_newline && from < to && s[from] == '\n')
        from++;
    if (tag < r->src.len && tag + 2 < r->src.len && s[tag + 2] == '-') {
        while (to > from && is_space(s[to - 1]))
            to--;
    } else if (tag < r->src.len && s[tag + 1] != '{' && s[tag + 2] != '+') {
        size_t k = to;
        while (k > from && (s[k - 1] == ' ' || s[k - 1] == '\t'))
            k--;
        if (k == 0 || s[k - 1] == '\n')
            to = k;
    }
    str_add(&r->words, s + from, to - from);
    r->at = tag;
    return r->words.len == start ? 0 : add_part(r, TEXT, start, e);
}

/* The string that begins at r->at, without quotes and with its escapes resolved. */
static bool read_string(struct reader *r)
{
    const char *s = r->src.s;
    char quote = s[r->at++];
    for (; r->at < r->src.len && s[r->at] != quote; r->at++) {
        static const char from[] = "ntr\\'\"", to[] = "\n\t\r\\'\"";
        const char *p;
        if (s[r->at] == '\\' && r->at + 1 < r->src.len && s[r->at + 1] &&
            (p = strchr(from, s[r->at + 1])) != NULL) {
            str_addc(&r->words, to[p - from]);
            r->at++;
        } else {
            str_addc(&r->words, s[r->at]);
        }
    }
    return r->at++ < r->src.len;
}

/* Turns the words `x [ "name" ]` at the end into `x . name`. Methods of a mapping are left. */
static void join_name(struct reader *r, size_t from)
{
    static const char *const methods[] = {"items", "keys",   "values", "get",
                                          "pop",   "update", "copy",   "clear"};
    char *w = r->words.s + from;
    size_t n = r->words.len - from, at = n - 2; /* the closing quote of \2 [ \2 \3 name \3 \2 ] */
    if (n < 8 || w[at - 1] != QUOTE)
        return;
    size_t name = --at;
    while (name > 0 && is_word(w[name - 1]))
        name--;
    if (name < 5 || name == at || w[name - 1] != QUOTE || w[name - 2] != WORD ||
        w[name - 3] != '[' || w[name - 4] != WORD || (w[name] >= '0' && w[name] <= '9'))
        return;
    char last = w[name - 5]; /* of the word before: a name, ] or ) */
    if (!is_word(last) && last != ']' && last != ')')
        return;
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (strlen(methods[i]) == at - name && !memcmp(methods[i], w + name, at - name))
            return;
    size_t len = at - name;
    w[name - 3] = '.';
    memmove(w + name - 1, w + name, len);
    r->words.len = from + name - 1 + len;
}

/* The words of a tag up to its end; false for one that does not end. */
static bool read_words(struct reader *r, char end, size_t from)
{
    const char *s = r->src.s;
    while (r->at + 1 < r->src.len) {
        while (r->at + 1 < r->src.len && is_space(s[r->at]))
            r->at++;
        bool mark = s[r->at] == '-' || s[r->at] == '+';
        size_t close = r->at + mark;
        if (close + 1 < r->src.len && s[close] == end && s[close + 1] == '}') {
            r->cut_left = mark && s[r->at] == '-';
            r->cut_newline = end == '%' && !mark;
            r->at = close + 2;
            return true;
        }
        if (r->words.len > from)
            str_addc(&r->words, WORD);
        if (s[r->at] == '\'' || s[r->at] == '"') {
            str_addc(&r->words, QUOTE);
            if (!read_string(r))
                return false;
            str_addc(&r->words, QUOTE);
        } else if (is_word(s[r->at])) {
            while (is_word(s[r->at]))
                str_addc(&r->words, s[r->at++]);
        } else {
            char c = s[r->at++];
            str_addc(&r->words, c);
            if (strchr("=!<>", c) && c && s[r->at] == '=')
                str_addc(&r->words, s[r->at++]);
            else if (c == ']' && !r->words.failed)
                join_name(r, from);
        }
    }
    return false;
}

/* Whether the words are one string: then the tag prints what a text would. */
static bool one_string(const struct reader *r, size_t from)
{
    const char *w = r->words.s + from;
    size_t n = r->words.len - from;
    return n >= 2 && w[0] == QUOTE && !memchr(w + 1, QUOTE, n - 2) && w[n - 1] == QUOTE;
}

static int read_tag(struct reader *r, struct err *e)
{
    char kind = r->src.s[r->at + 1], end = kind == '{' ? '}' : kind;
    size_t open = r->at, from = r->words.len;
    r->at += 2;
    if (r->at < r->src.len && (r->src.s[r->at] == '-' || r->src.s[r->at] == '+'))
        r->at++;
    if (kind == '#') {
        const char *s = r->src.s + r->at, *close = strstr(s, "#}");
        if (!close)
            goto text;
        r->cut_left = close > s && close[-1] == '-';
        r->cut_newline = !r->cut_left && !(close > s && close[-1] == '+');
        r->at += (size_t)(close - s) + 2;
        return 0;
    }
    if (!read_words(r, end, from))
        goto text;
    if (kind == '{' && !r->words.failed && one_string(r, from)) {
        size_t n = r->words.len - from - 2;
        memmove(r->words.s + from, r->words.s + from + 1, n);
        r->words.len = from + n;
        return n ? add_part(r, TEXT, from, e) : 0;
    }
    return add_part(r, kind == '{' ? PRINT : BLOCK, from, e);
text: /* no template of Jinja's: the bytes count as they are */
    r->words.len = from;
    str_add(&r->words, r->src.s + open, r->src.len - open);
    r->at = r->src.len;
    return add_part(r, TEXT, from, e);
}

/* ---- the name of the loop's variable --------------------------------------------------------- */

/* The next word of a part at *at; false at its end. A string is one word. */
static bool next_word(const struct reader *r, const struct part *p, size_t *at, struct gguf_str *w)
{
    const char *s = r->words.s + p->at;
    if (*at >= p->len)
        return false;
    size_t from = *at;
    while (*at < p->len && s[*at] != WORD)
        ++*at;
    *w = (struct gguf_str){s + from, *at - from};
    ++*at;
    return true;
}

static bool word_is(struct gguf_str w, struct gguf_str want)
{
    return w.len == want.len && !memcmp(w.s, want.s, w.len);
}

/* The variable of the first loop over the messages; len 0 = there is none. */
static struct gguf_str loop_variable(const struct reader *r)
{
    static const char *const around[] = {"for", NULL, "in", "messages"};
    for (size_t i = 0; i < r->n_part; i++) {
        struct gguf_str w, name = {"", 0};
        size_t at = 0;
        int n = 0;
        while (r->part[i].kind == BLOCK && n < 4 && next_word(r, &r->part[i], &at, &w)) {
            if (!around[n])
                name = w;
            else if (!word_is(w, (struct gguf_str){around[n], strlen(around[n])}))
                break;
            n++;
        }
        if (n == 4 && at > r->part[i].len)
            return name;
    }
    return (struct gguf_str){"", 0};
}

/* A word after one of these is an attribute or a filter, not a variable. */
static bool names_part(struct gguf_str before)
{
    return before.len == 1 && (*before.s == '.' || *before.s == '|');
}

/* Whether `name` is never the key of an argument, and the text has no variable `message`. */
static bool can_rename(const struct reader *r, struct gguf_str name)
{
    static const struct gguf_str message = {"message", 7};
    for (size_t i = 0; i < r->n_part; i++) {
        struct gguf_str w, before = {"", 0};
        size_t at = 0;
        while (r->part[i].kind != TEXT && next_word(r, &r->part[i], &at, &w)) {
            if ((word_is(w, message) && !names_part(before)) ||
                (word_is(before, name) && w.len == 1 && *w.s == '='))
                return false;
            before = w;
        }
    }
    return true;
}

/* Gives the loop's variable the usual name, so that `for m in messages` reads alike. */
static int rename_variable(struct reader *r, struct err *e)
{
    struct gguf_str name = loop_variable(r), w;
    struct str to = STR_INIT;
    if (!name.len || !is_word(*name.s) || word_is(name, (struct gguf_str){"messages", 8}) ||
        !can_rename(r, name))
        return 0;
    for (size_t i = 0; i < r->n_part; i++) {
        struct part *p = &r->part[i];
        size_t from = to.len, at = 0;
        if (p->kind == TEXT)
            str_add(&to, r->words.s + p->at, p->len);
        else
            for (struct gguf_str before = {"", 0}; next_word(r, p, &at, &w); before = w) {
                bool own = word_is(w, name) && !names_part(before);
                if (to.len > from)
                    str_addc(&to, WORD);
                str_add(&to, own ? "message" : w.s, own ? 7 : w.len);
            }
        p->at = from;
        p->len = to.len - from;
    }
    str_free(&r->words);
    r->words = to;
    return str_ok(&r->words, "a chat template", e);
}

/* ---- branches that no chat takes ------------------------------------------------------------- */

enum { NEST_MOST = 64 };

struct nest {    /* an open `if` or `for` */
    bool branch; /* an `if` */
    bool dead;   /* the present branch is dropped */
    bool begun;  /* an `if` was written, so `elif` and `endif` belong to it */
    bool done;   /* a branch was taken for certain: all later ones are dropped */
};

struct writer {
    const struct reader *r;
    struct str *out;
    bool text; /* the last part was a text */
    bool bad;  /* tags do not match, or nest too deep */
    struct nest nest[NEST_MOST];
    int n_nest, n_dead;
};

/* Whether the words of a part are `want`, written with spaces. `whole` = false: begin with it. */
static bool words_are(const struct reader *r, const struct part *p, size_t from, const char *want,
                      bool whole)
{
    const char *w = r->words.s + p->at + from;
    size_t n = strlen(want);
    if (n > p->len - from || (whole && n != p->len - from))
        return false;
    for (size_t i = 0; i < n; i++)
        if (w[i] != (want[i] == ' ' ? WORD : want[i] == '\'' ? QUOTE : want[i]))
            return false;
    return true;
}

/* Whether the condition after `from` bytes of a tag is false for every chat of this program. */
static bool never(const struct reader *r, const struct part *p, size_t from)
{
    static const char *const never_true[] = {
        "tools",
        "tools is defined",
        "tools is defined and tools",
        "tools is defined and tools is not none",
        "tools and tools is defined",
        "custom_tools is defined",
        "builtin_tools is defined",
        "message . tool_calls",
        "message . tool_calls is defined",
        "message . role == 'tool'",
    };
    for (size_t i = 0; i < sizeof never_true / sizeof *never_true; i++)
        if (words_are(r, p, from, never_true[i], true))
            return true;
    return false;
}

/* Whether the condition after `from` bytes of a tag is true for every chat of this program. */
static bool always(const struct reader *r, const struct part *p, size_t from)
{
    static const char *const always_true[] = {
        "message . content is string",
        "message . content is defined",
        "messages [ 0 ] . content is string",
    };
    for (size_t i = 0; i < sizeof always_true / sizeof *always_true; i++)
        if (words_are(r, p, from, always_true[i], true))
            return true;
    return false;
}

/* Whether no tag gives these names a value of its own. */
static bool names_are_unset(const struct reader *r)
{
    for (size_t i = 0; i < r->n_part; i++) {
        const struct part *p = &r->part[i];
        if (p->kind == BLOCK && (words_are(r, p, 0, "set message ", false) ||
                                 words_are(r, p, 0, "set custom_tools ", false) ||
                                 words_are(r, p, 0, "set builtin_tools ", false) ||
                                 (words_are(r, p, 0, "set tools ", false) &&
                                  !words_are(r, p, 0, "set tools = none", true) &&
                                  !words_are(r, p, 0, "set tools = custom_tools", true))))
            return false;
    }
    return true;
}

static void write_part(struct writer *w, const struct part *p, const char *instead, size_t skip)
{
    if (w->n_dead)
        return;
    if (p->kind != TEXT || !w->text) {
        str_addc(w->out, PART);
        str_addc(w->out, p->kind);
    }
    w->text = p->kind == TEXT;
    str_adds(w->out, instead);
    str_add(w->out, w->r->words.s + p->at + skip, p->len - skip);
}

static void open_nest(struct writer *w, const struct part *p, bool branch)
{
    if (w->n_nest == NEST_MOST) {
        w->bad = true;
        return;
    }
    struct nest *k = &w->nest[w->n_nest++];
    *k = (struct nest){.branch = branch, .begun = true};
    if (branch && !w->n_dead && never(w->r, p, 3)) {
        *k = (struct nest){.branch = true, .dead = true};
        w->n_dead++;
    } else if (branch && !w->n_dead && always(w->r, p, 3)) {
        *k = (struct nest){.branch = true, .done = true};
    } else {
        write_part(w, p, "", 0);
    }
}

/* `elif` and `else` of the innermost `if`. */
static void next_branch(struct writer *w, const struct part *p, bool elif)
{
    struct nest *k = w->n_nest ? &w->nest[w->n_nest - 1] : NULL;
    if (!k || !(k->branch || !elif)) {
        w->bad = true;
        return;
    }
    if (k->dead) {
        k->dead = false;
        w->n_dead--;
    }
    if (k->done || (elif && !w->n_dead && never(w->r, p, 5))) {
        k->dead = true;
        w->n_dead++;
    } else if (elif && !w->n_dead && always(w->r, p, 5)) {
        k->done = true;
        if (k->begun)
            write_part(w, p, "else", p->len);
    } else if (k->begun) {
        write_part(w, p, "", 0);
    } else if (elif) {
        k->begun = true;
        write_part(w, p, "if", 4);
    }
}

static void close_nest(struct writer *w, const struct part *p, bool branch)
{
    if (!w->n_nest || w->nest[w->n_nest - 1].branch != branch) {
        w->bad = true;
        return;
    }
    struct nest *k = &w->nest[--w->n_nest];
    if (k->dead)
        w->n_dead--;
    if (k->begun)
        write_part(w, p, "", 0);
}

static void write_block(struct writer *w, const struct part *p)
{
    const struct reader *r = w->r;
    if (words_are(r, p, 0, "if ", false))
        open_nest(w, p, true);
    else if (words_are(r, p, 0, "for ", false))
        open_nest(w, p, false);
    else if (words_are(r, p, 0, "elif ", false))
        next_branch(w, p, true);
    else if (words_are(r, p, 0, "else", true))
        next_branch(w, p, false);
    else if (words_are(r, p, 0, "endif", true))
        close_nest(w, p, true);
    else if (words_are(r, p, 0, "endfor", true))
        close_nest(w, p, false);
    else
        write_part(w, p, "", 0);
}

/* Writes all parts. false: the tags do not match. */
static bool write_parts(const struct reader *r, bool drop, struct str *out)
{
    struct writer w = {.r = r, .out = out};
    for (size_t i = 0; i < r->n_part && !w.bad; i++)
        if (drop && r->part[i].kind == BLOCK)
            write_block(&w, &r->part[i]);
        else
            write_part(&w, &r->part[i], "", 0);
    return !w.bad && w.n_nest == 0;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static int read_all(struct reader *r, struct err *e)
{
    while (r->at < r->src.len) {
        size_t tag = next_tag(r);
        TRY(read_text(r, tag, e));
        if (tag < r->src.len)
            TRY(read_tag(r, e));
        TRY(str_ok(&r->words, "a chat template", e));
    }
    return 0;
}

int chat_canonical(struct gguf_str text, struct str *out, struct err *e)
{
    struct reader r = {.src = STR_INIT, .words = STR_INIT};
    size_t before = out->len;
    int rc = 0;
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.s[i] <= QUOTE) { /* a byte of the canonical form: no known text */
            str_addc(out, '\0');
            str_add(out, text.s, text.len);
            return str_ok(out, "a chat template", e);
        }
    read_source(text, &r.src);
    TRY_DONE(str_ok(&r.src, "a chat template", e));
    TRY_DONE(read_all(&r, e));
    TRY_DONE(rename_variable(&r, e));
    if (!names_are_unset(&r) || !write_parts(&r, true, out)) {
        out->len = before;
        write_parts(&r, false, out);
    }
    rc = str_ok(out, "a chat template", e);
done:
    str_free(&r.src);
    str_free(&r.words);
    mem_free(r.part);
    return rc;
}

int chat_digest(struct gguf_str text, char hex[CHAT_DIGEST_HEX + 1], struct err *e)
{
    struct str form = STR_INIT;
    char all[65];
    int rc = 0;
    TRY_DONE(chat_canonical(text, &form, e));
    TRY_DONE(sha256_hex(form.s, form.len, all, e));
    memcpy(hex, all, CHAT_DIGEST_HEX);
    hex[CHAT_DIGEST_HEX] = '\0';
done:
    str_free(&form);
    return rc;
}
