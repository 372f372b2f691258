/* The renderers of chat templates that write each message between two texts. */
#include <string.h>

#include "chat_write.h"

static const char *const *texts(const struct chat_form *f, const struct chat_message *m)
{
    return chat_is(m, "system") ? f->system : chat_is(m, "user") ? f->user : f->reply;
}

/* The content of the user's message i, with the system text before it. */
static void say_with_system(struct chat_run *r, const struct chat_form *f, int i)
{
    struct gguf_str system = chat_raw(&r->m[0]), s = chat_raw(&r->m[i]);
    if (f->trim && f->place == CHAT_SYSTEM_MERGED) { /* both are trimmed as one text */
        system = chat_trim_left(system);
        s = chat_trim_right(s);
        if (!s.len)
            system = chat_trim_right(system);
        else if (!system.len)
            s = chat_trim_left(s);
    } else if (f->trim) {
        s = chat_trimmed(r, i);
    }
    chat_say(r, system);
    if (f->place != CHAT_SYSTEM_MERGED || !f->trim || (system.len && s.len))
        chat_put(r, "\n\n");
    chat_say(r, s);
}

/* The content of message i. */
static struct gguf_str form_content(const struct chat_run *r, const struct chat_form *f, int i)
{
    bool open = chat_is_open(r, i), reply = chat_is(&r->m[i], "assistant");
    struct gguf_str s = chat_raw(&r->m[i]);
    if (f->trim || (f->trim_reply && reply))
        s = chat_trimmed(r, i);
    if (f->cut_thought && reply && !open)
        s = chat_after_thought(s);
    return f->cut_newlines && reply && !(open && f->open_whole)
               ? chat_strip_newlines(s, true, false)
               : s;
}

/* `host`: the message that the system text is written into; -1 = none. */
static void form_message(struct chat_run *r, const struct chat_form *f, int i, int host)
{
    const char *const *t = texts(f, &r->m[i]);
    bool open = chat_is_open(r, i);
    chat_put(r, t[0]);
    if (open)
        chat_start_reply(r, CHAT_THINK_DEFAULT);
    if (i == host)
        say_with_system(r, f, i);
    else
        chat_say(r, form_content(r, f, i));
    if (!open)
        chat_put(r, t[1]);
}

/* Finds the user's message that takes the system text. */
static int system_host(const struct chat_run *r, const struct chat_form *f, int *host,
                       struct err *e)
{
    *host = 1;
    for (int i = 1; i < r->n && f->place == CHAT_SYSTEM_LAST; i++)
        if (chat_is(&r->m[i], "user"))
            *host = i;
    if (*host >= r->n || !chat_is(&r->m[*host], "user"))
        FAIL(
            e, ERR_DATA,
            "the template %s needs a user's message after the system's, which becomes a part of it",
            r->c->family->name);
    return 0;
}

int chat_form_render(struct chat_run *r, struct err *e)
{
    const struct chat_form *f = r->c->family->form;
    bool system = chat_is(&r->m[0], "system"), hosted = f->place >= CHAT_SYSTEM_USER && system;
    int host = -1;
    if (f->alternate)
        TRY(chat_alternate(r, e));
    if (f->place != CHAT_SYSTEM_ANY)
        TRY(chat_one_system(r, e));
    if (hosted)
        TRY(system_host(r, f, &host, e));
    chat_put(r, f->start);
    if (!system)
        chat_put(r, f->no_system);
    for (int i = hosted; i < r->n; i++)
        if (!(f->skip_empty && chat_is(&r->m[i], "system") && r->m[i].len == 0))
            form_message(r, f, i, host);
    if (!r->open) {
        if (!f->user_opens || !chat_is(&r->m[r->n - 1], "user"))
            chat_put(r, f->header);
        chat_start_reply(r, f->closes  ? CHAT_THINK_NONE
                            : f->opens ? CHAT_THINK_OPEN
                                       : CHAT_THINK_DEFAULT);
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
