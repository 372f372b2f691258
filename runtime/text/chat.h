/*
 * chat: renders messages as tokens.
 *
 * The Jinja template of the model file is recognised by its text and never executed. An unknown
 * template is an error; the message prints its beginning and the known names. Message contents are
 * encoded as plain text, so nothing in them can become a control token.
 *
 * Contents lose white space at both ends (the characters of Python's str.strip), as the official
 * templates trim them. Exceptions:
 *   - A last assistant message keeps its end, because the reply continues from there.
 *   - The system text of Llama 2 keeps its start and end.
 *   - CHAT_PLAIN changes nothing.
 *
 * The template of Llama 3.1 writes the date of the day and a knowledge date into the system header.
 * Here both Llamas get the plain header of Llama 3, and no system message if there is none. So
 * results do not depend on the day.
 */
#ifndef MAS_CHAT_H
#define MAS_CHAT_H

#include "gguf.h"
#include "token_list.h"

struct tokenizer; /* tokenizer.h */

enum chat_kind {
    CHAT_LLAMA3, /* <|start_header_id|>role<|end_header_id|>\n\ncontent<|eot_id|> */
    CHAT_LLAMA2, /* [INST] <<SYS>> */
    CHAT_PLAIN,  /* no template in the file (base models, tests): contents joined by blank lines */
};

struct chat_message {
    const char *role; /* "system", "user", "assistant" */
    const char *text;
    size_t len;
};

/* *out: the kind that tokenizer.chat_template names; CHAT_PLAIN when the key is absent. */
int chat_detect(const struct gguf *g, const struct tokenizer *t, enum chat_kind *out,
                struct err *e);
const char *chat_name(enum chat_kind k);
/* Appends BOS, the messages and the header of the assistant's turn. CHAT_PLAIN: BOS if the file
 * asks for it, and no header. A last assistant message is left open: its text begins the reply. out
 * is unchanged on failure. ERR_DATA: an unknown role; an order of roles that Llama 2's template
 * lacks; a vocabulary without the control tokens of the template. */
int chat_render(enum chat_kind k, const struct tokenizer *t, const struct chat_message *m, int n,
                struct token_list *out, struct err *e);

struct chat_option { /* a text that may continue the open reply */
    const char *s;
    size_t n;
};

/*
 * Makes the tokens for scoring n_option continuations of the open reply. The reply is the last
 * message, an assistant's.
 *
 * Each option is encoded together with the prompt, as one text. Alone it would get other tokens
 * under SentencePiece, or when a merge crosses the border. prompt receives the tokens that all
 * texts begin with. rest receives the remaining tokens of each text, one option after another:
 * len[i] >= 1 of option i. So the sum of their log-probabilities compares the options, even when an
 * option changes the last tokens of the prompt.
 *
 * On failure all lists are unchanged. ERR_DATA: the texts have no first token in common.
 */
int chat_render_options(enum chat_kind k, const struct tokenizer *t, const struct chat_message *m,
                        int n, const struct chat_option *o, int n_option, struct token_list *prompt,
                        struct token_list *rest, int *len, struct err *e);

#endif
