/* The renderer of Qwen 3: thoughts of replies before the last question are removed. */
#include <string.h>

#include "chat_write.h"

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

/* The thoughts of a reply: the text before its first "</think>", after the last "<think>" there. */
static struct gguf_str thought_of(struct gguf_str s)
{
    static const char open[] = "<think>", close[] = "</think>";
    size_t n = 0;
    while (n + sizeof close - 1 <= s.len && memcmp(s.s + n, close, sizeof close - 1) != 0)
        n++;
    if (n + sizeof close - 1 > s.len)
        return (struct gguf_str){s.s, 0};
    struct gguf_str all = chat_strip_newlines((struct gguf_str){s.s, n}, false, true);
    for (size_t i = all.len; i >= sizeof open - 1; i--)
        if (!memcmp(all.s + i - (sizeof open - 1), open, sizeof open - 1)) {
            all.s += i;
            all.len -= i;
            break;
        }
    return chat_strip_newlines(all, true, true);
}

static void qwen3_reply(struct chat_run *r, int i, int query)
{
    struct gguf_str s = chat_raw(&r->m[i]), thought = thought_of(s), rest = chat_after_thought(s);
    if (rest.s != s.s)
        rest = chat_strip_newlines(rest, true, false);
    chat_put(r, "<|im_start|>assistant\n");
    if (chat_is_open(r, i)) { /* the template ends here with the empty block, whatever thoughts */
        chat_start_reply(r, CHAT_THINK_DEFAULT);
        if (r->think == CHAT_THINK_DEFAULT && i > query)
            chat_put(r, r->c->family->thinking->none);
        chat_say(r, i > query ? chat_strip_newlines(s, true, false) : s);
        return;
    }
    if (i > query && thought.len) {
        chat_put(r, "<think>\n");
        chat_say(r, thought);
        chat_put(r, "\n</think>\n\n");
        rest = chat_strip_newlines(rest, true, false);
    }
    chat_say(r, rest);
    chat_put(r, "<|im_end|>\n");
}

int chat_qwen3_render(struct chat_run *r, struct err *e)
{
    const struct chat_form *f = r->c->family->form;
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
        chat_start_reply(r, f->opens ? CHAT_THINK_OPEN : CHAT_THINK_DEFAULT);
    }
    return 0;
}
