#include "chat_write.h"

#include <string.h>

#include "tokenizer.h"
#include "unicode.h"

/* Keeps the first failure. */
static void keep(struct chat_run *r, int rc)
{
    if (rc < 0 && r->rc == 0)
        r->rc = rc;
}

/* Encodes the text that waits. */
static void flush(struct chat_run *r)
{
    if (r->rc < 0)
        return;
    keep(r, str_ok(&r->text, "a chat message", r->e));
    if (r->rc == 0 && r->out)
        keep(r, tokenizer_encode(r->c->t, r->text.s, r->text.len, r->begun ? 0 : TOK_BOS, r->out,
                                 r->e));
    r->begun = true;
    str_clear(&r->text);
}

static void push(struct chat_run *r, int32_t id)
{
    if (!r->begun && id == tokenizer_bos(r->c->t))
        r->begun = true; /* the template writes BOS itself */
    if (r->tail) {       /* text before a control token cannot change the tokens after it */
        str_clear(&r->text);
        r->begun = true;
        if (r->rc == 0)
            r->out->n = r->base;
    } else {
        flush(r);
    }
    if (r->rc == 0 && r->out)
        keep(r, token_list_push(r->out, id, r->e));
}

/* The longest mark at the start of s; NULL = none. */
static const struct chat_mark *mark_at(const struct chat *c, const char *s)
{
    const struct chat_mark *best = NULL;
    for (int i = 0; i < c->n_mark; i++)
        if (!strncmp(s, c->mark[i].s, c->mark[i].len) && (!best || c->mark[i].len > best->len))
            best = &c->mark[i];
    return best;
}

/* bos_token or eos_token; nothing if the vocabulary has none. */
static void put_end(struct chat_run *r, int32_t id)
{
    if (id < 0)
        return;
    if (r->whole)
        tokenizer_piece(r->c->t, id, TOK_SPECIAL, r->whole);
    else
        push(r, id);
}

void chat_put(struct chat_run *r, const char *text)
{
    while (text && *text) {
        const struct chat_mark *m = mark_at(r->c, text);
        size_t n = m ? m->len : 1;
        if (*text == CHAT_BOS[0]) {
            put_end(r, tokenizer_bos(r->c->t));
        } else if (*text == CHAT_EOS[0]) {
            put_end(r, tokenizer_eos(r->c->t));
        } else if (*text == CHAT_DATE[0]) {
            chat_say(r, (struct gguf_str){r->c->date, strlen(r->c->date)});
        } else if (m && !r->whole) {
            push(r, m->id);
        } else {
            str_add(r->whole ? r->whole : &r->text, text, n);
        }
        text += n;
    }
}

void chat_say(struct chat_run *r, struct gguf_str content)
{
    str_add(r->whole ? r->whole : &r->text, content.s, content.len);
}

int chat_end(struct chat_run *r)
{
    flush(r);
    if (r->whole && r->rc == 0)
        keep(r, str_ok(r->whole, "a chat", r->e));
    return r->rc;
}

/* ---- contents ------------------------------------------------------------------------------- */

bool chat_is(const struct chat_message *m, const char *role)
{
    return !strcmp(m->role, role);
}

bool chat_is_open(const struct chat_run *r, int i)
{
    return r->open && i == r->n - 1;
}

struct gguf_str chat_raw(const struct chat_message *m)
{
    return (struct gguf_str){m->text, m->len};
}

static bool is_blank(uint32_t cp)
{
    return (cp >= 0x1c && cp <= 0x1f) || unicode_class(cp) == UNICODE_SPACE;
}

struct gguf_str chat_trim_left(struct gguf_str s)
{
    uint32_t cp;
    for (int k; s.len && (k = utf8_decode(s.s, s.len, &cp)) && is_blank(cp);) {
        s.s += k;
        s.len -= (size_t)k;
    }
    return s;
}

struct gguf_str chat_trim_right(struct gguf_str s)
{
    while (s.len) {
        size_t k = 1;
        uint32_t cp;
        while (k < 4 && k < s.len && ((unsigned char)s.s[s.len - k] & 0xc0) == 0x80)
            k++;
        if ((size_t)utf8_decode(s.s + s.len - k, k, &cp) != k || !is_blank(cp))
            break;
        s.len -= k;
    }
    return s;
}

struct gguf_str chat_trimmed(const struct chat_run *r, int i)
{
    struct gguf_str s = chat_trim_left(chat_raw(&r->m[i]));
    return chat_is_open(r, i) ? s : chat_trim_right(s);
}

struct gguf_str chat_after_thought(struct gguf_str s)
{
    static const char close[] = "</think>";
    const size_t n = sizeof close - 1;
    for (size_t i = s.len; i >= n; i--)
        if (!memcmp(s.s + i - n, close, n))
            return (struct gguf_str){s.s + i, s.len - i};
    return s;
}

struct gguf_str chat_strip_newlines(struct gguf_str s, bool left, bool right)
{
    while (left && s.len && s.s[0] == '\n') {
        s.s++;
        s.len--;
    }
    while (right && s.len && s.s[s.len - 1] == '\n')
        s.len--;
    return s;
}

void chat_start_reply(struct chat_run *r, enum chat_think own)
{
    const struct chat_thinking *k = r->c->family->thinking;
    enum chat_think start = r->think == CHAT_THINK_DEFAULT ? own : r->think;
    if (k && start != CHAT_THINK_DEFAULT)
        chat_put(r, start == CHAT_THINK_OPEN ? k->open : k->none);
}

int chat_one_system(const struct chat_run *r, struct err *e)
{
    for (int i = 1; i < r->n; i++)
        if (chat_is(&r->m[i], "system"))
            FAIL(e, ERR_DATA,
                 "message %d has the role 'system', but the template %s takes a system message "
                 "only at the start",
                 i, r->c->family->name);
    return 0;
}

int chat_alternate(const struct chat_run *r, struct err *e)
{
    int first = chat_is(&r->m[0], "system");
    if (first == r->n)
        FAIL(e, ERR_DATA, "a chat of a system message alone; the template %s needs a user's",
             r->c->family->name);
    for (int i = first; i < r->n; i++)
        if (!chat_is(&r->m[i], (i - first) % 2 ? "assistant" : "user"))
            FAIL(e, ERR_DATA,
                 "message %d has the role '%s', but the template %s takes one system message first "
                 "and then user and assistant in turn",
                 i, r->m[i].role, r->c->family->name);
    return 0;
}
