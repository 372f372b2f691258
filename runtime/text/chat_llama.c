/* The renderers of the chat templates of Llama 2, Llama 3.1 and Mistral. */
#include <string.h>

#include "chat_write.h"

/* Llama 3.1 to 3.3: a system message always comes first, and it begins with two dates. */
int chat_llama31_render(struct chat_run *r, struct err *e)
{
    (void)e;
    int first = chat_is(&r->m[0], "system");
    chat_put(r, "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n"
                "Cutting Knowledge Date: December 2023\nToday Date: " CHAT_DATE "\n\n");
    if (first)
        chat_say(r, chat_trimmed(r, 0));
    chat_put(r, "<|eot_id|>");
    for (int i = first; i < r->n; i++) {
        chat_put(r, "<|start_header_id|>");
        chat_put(r, r->m[i].role);
        chat_put(r, "<|end_header_id|>\n\n");
        chat_say(r, chat_trimmed(r, i));
        if (!chat_is_open(r, i))
            chat_put(r, "<|eot_id|>");
    }
    if (!r->open)
        chat_put(r, "<|start_header_id|>assistant<|end_header_id|>\n\n");
    return 0;
}

/* ---- Llama 2 -------------------------------------------------------------------------------- */

/* The user's side of an exchange; the template trims system and user text together. */
static void llama2_user(struct chat_run *r, int i, bool system)
{
    const struct chat_form *f = r->c->family->form;
    struct gguf_str text = chat_raw(&r->m[i]),
                    before = f->trim ? chat_trimmed(r, 0) : chat_raw(&r->m[0]);
    chat_put(r, "[INST] ");
    if (!system) {
        chat_say(r, chat_trimmed(r, i));
    } else {
        text = chat_trim_right(text);
        chat_put(r, "<<SYS>>\n");
        chat_say(r, before);
        chat_put(r, text.len ? "\n<</SYS>>\n\n" : "\n<</SYS>>");
        chat_say(r, text);
    }
    chat_put(r, " [/INST]");
}

/* One exchange is one text: BOS "[INST] user [/INST] reply " EOS. */
int chat_llama2_render(struct chat_run *r, struct err *e)
{
    TRY(chat_alternate(r, e));
    int system = chat_is(&r->m[0], "system");
    for (int i = system; i < r->n; i++) {
        if (chat_is(&r->m[i], "user")) {
            chat_put(r, CHAT_BOS);
            llama2_user(r, i, system && i == 1);
            continue;
        }
        chat_put(r, " ");
        chat_say(r, chat_trimmed(r, i));
        if (!chat_is_open(r, i))
            chat_put(r, " " CHAT_EOS);
    }
    return 0;
}
