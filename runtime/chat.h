/*
 * chat: renders messages as tokens. The model file's Jinja template is recognised by its text and never
 * executed; an unknown one is an error that prints its beginning and the names understood. Message
 * contents are encoded as plain text, so that nothing in them can become a control token.
 */
#ifndef MAS_CHAT_H
#define MAS_CHAT_H

#include "tokenizer.h"

enum chat_kind {
    CHAT_LLAMA3, /* <|start_header_id|>role<|end_header_id|>\n\ncontent<|eot_id|> */
    CHAT_LLAMA2, /* [INST] <<SYS>> */
    CHAT_PLAIN,  /* no template in the file: contents joined by blank lines (base models, tests) */
};

struct chat_message {
    const char *role; /* "system", "user", "assistant" */
    const char *text;
    size_t len;
};

/* kind from tokenizer.chat_template; CHAT_PLAIN when the key is absent. */
int chat_detect(const struct gguf *g, const struct tokenizer *t, enum chat_kind *out, struct err *e);
const char *chat_name(enum chat_kind k);
/* Appends BOS, the messages and the header of the assistant's turn. An assistant message in last place
 * is left open (its text is a prefix of the reply). */
int chat_render(enum chat_kind k, const struct tokenizer *t, const struct chat_message *m, int n,
                struct token_list *out, struct err *e);

#endif
