/* The renderers of chat templates that write each message between two texts. */
#include <string.h>

#include "chat_write.h"

static const char *const *texts(const struct chat_form *f, const struct chat_message *m)
{
    return chat_is(m, "system") ? f->system : chat_is(m, "user") ? f->user : f->reply;
}

/* The rest after the last "</think>"; all of s without one. */
static struct gguf_str after_thought(struct gguf_str s)
{
    static const char close[] = "</think>";
    const size_t n = sizeof close - 1;
    for (size_t i = s.len; i >= n; i--)
        if (!memcmp(s.s + i - n, close, n))
            return (struct gguf_str){s.s + i, s.len - i};
    return s;
}

static void form_message(struct chat_run *r, const struct chat_form *f, int i)
{
    const struct chat_message *m = &r->m[i];
    const char *const *t = texts(f, m);
    bool open = chat_is_open(r, i), user = chat_is(m, "user");
    struct gguf_str s = f->trim ? chat_trimmed(r, i) : chat_raw(m);
    if (f->cut_thought && chat_is(m, "assistant") && !open)
        s = after_thought(s);
    chat_put(r, t[0]);
    if (open)
        chat_start_reply(r, false);
    if (user && f->place == CHAT_SYSTEM_USER && i == chat_is(&r->m[0], "system"))
        chat_say_system(r);
    chat_say(r, s);
    if (!open)
        chat_put(r, t[1]);
}

int chat_form_render(struct chat_run *r, struct err *e)
{
    const struct chat_form *f = r->c->family->form;
    bool system = chat_is(&r->m[0], "system");
    if (f->alternate)
        TRY(chat_alternate(r, e));
    if (f->place != CHAT_SYSTEM_ANY)
        TRY(chat_one_system(r, e));
    if (f->place == CHAT_SYSTEM_USER && system && (r->n < 2 || !chat_is(&r->m[1], "user")))
        FAIL(
            e, ERR_DATA,
            "the template %s needs a user's message after the system's, which becomes a part of it",
            r->c->family->name);
    chat_put(r, f->start);
    if (!system)
        chat_put(r, f->no_system);
    for (int i = f->place == CHAT_SYSTEM_USER && system; i < r->n; i++)
        if (!(f->skip_empty && chat_is(&r->m[i], "system") && r->m[i].len == 0))
            form_message(r, f, i);
    if (!r->open) {
        chat_put(r, f->header);
        chat_start_reply(r, f->opens);
    }
    return 0;
}

int chat_plain_render(struct chat_run *r, struct err *e)
{
    (void)e;
    for (int i = 0; i < r->n; i++) {
        if (i)
            chat_put(r, "\n\n");
        chat_say(r, chat_raw(&r->m[i]));
    }
    return 0;
}

/* ---- Qwen 3 --------------------------------------------------------------------------------- */

static bool begins(struct gguf_str s, const char *with)
{
    return s.len >= strlen(with) && !memcmp(s.s, with, strlen(with));
}

static bool ends(struct gguf_str s, const char *with)
{
    size_t n = strlen(with);
    return s.len >= n && !memcmp(s.s + s.len - n, with, n);
}

/* The last message of a user that is no result of a tool; n - 1 without one. */
static int last_query(const struct chat_run *r)
{
    for (int i = r->n - 1; i >= 0; i--) {
        struct gguf_str s = chat_raw(&r->m[i]);
        if (chat_is(&r->m[i], "user") &&
            !(begins(s, "<tool_response>") && ends(s, "</tool_response>")))
            return i;
    }
    return r->n - 1;
}

static struct gguf_str strip_newlines(struct gguf_str s, bool left, bool right)
{
    while (left && s.len && s.s[0] == '\n') {
        s.s++;
        s.len--;
    }
    while (right && s.len && s.s[s.len - 1] == '\n')
        s.len--;
    return s;
}

/* The thoughts of a reply: the text before its first "</think>", after the last "<think>" there. */
static struct gguf_str thought_of(struct gguf_str s)
{
    static const char open[] = "<think>", close[] = "</think>";
    size_t n = 0;
    while (n + sizeof close - 1 <= s.len && memcmp(s.s + n, close, sizeof close - 1) != 0)
        n++;
    if (n + sizeof close - 1 > s.len)
        return (struct gguf_str){s.s, 0};
    struct gguf_str all = strip_newlines((struct gguf_str){s.s, n}, false, true);
    for (size_t i = all.len; i >= sizeof open - 1; i--)
        if (!memcmp(all.s + i - (sizeof open - 1), open, sizeof open - 1)) {
            all.s += i;
            all.len -= i;
            break;
        }
    return strip_newlines(all, true, true);
}

static void qwen3_reply(struct chat_run *r, int i, int query)
{
    struct gguf_str s = chat_raw(&r->m[i]), thought = thought_of(s), rest = after_thought(s);
    if (rest.s != s.s)
        rest = strip_newlines(rest, true, false);
    chat_put(r, "<|im_start|>assistant\n");
    if (chat_is_open(r, i)) { /* the template ends here with the empty block, whatever thoughts */
        chat_start_reply(r, false);
        if (r->think == CHAT_THINK_DEFAULT && i > query)
            chat_put(r, r->c->family->thinking->none);
        chat_say(r, i > query ? strip_newlines(s, true, false) : s);
        return;
    }
    if (i > query && thought.len) {
        chat_put(r, "<think>\n");
        chat_say(r, thought);
        chat_put(r, "\n</think>\n\n");
        rest = strip_newlines(rest, true, false);
    }
    chat_say(r, rest);
    chat_put(r, "<|im_end|>\n");
}

int chat_qwen3_render(struct chat_run *r, struct err *e)
{
    (void)e;
    int query = last_query(r);
    for (int i = 0; i < r->n; i++) {
        const struct chat_message *m = &r->m[i];
        if (chat_is(m, "assistant")) {
            qwen3_reply(r, i, query);
            continue;
        }
        chat_put(r, chat_is(m, "user") ? "<|im_start|>user\n" : "<|im_start|>system\n");
        chat_say(r, chat_raw(m));
        chat_put(r, "<|im_end|>\n");
    }
    if (!r->open) {
        chat_put(r, "<|im_start|>assistant\n");
        chat_start_reply(r, false);
    }
    return 0;
}
