/*
 * chat: renders messages as tokens. The model file's Jinja template is recognised by its text and
 * never executed; an unknown one is an error that prints its beginning and the names understood.
 * Message contents are encoded as plain text, so that nothing in them can become a control token.
 *
 * Contents lose white space at both ends (what Python's str.strip takes), as the official templates
 * trim them, except: a last assistant message keeps its end, because the reply goes on from there;
 * Llama 2's system text keeps its start and end; CHAT_PLAIN changes nothing. Llama 3.1's template
 * puts the date of the day and a knowledge date into the system header; here the plain header of
 * Llama 3 is rendered for both, and no system message where there is none, so that results do not
 * depend on the day.
 */
#ifndef MAS_CHAT_H
#define MAS_CHAT_H

#include "gguf.h"
#include "token_list.h"

struct tokenizer; /* tokenizer.h */

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
int chat_detect(const struct gguf *g, const struct tokenizer *t, enum chat_kind *out,
                struct err *e);
const char *chat_name(enum chat_kind k);
/* Appends BOS, the messages and the header of the assistant's turn (CHAT_PLAIN: BOS if the file
 * says so, and no header). ERR_DATA for an unknown role, an order that Llama 2's template does not
 * know, or a vocabulary without the template's control tokens; out is as before on failure. An
 * assistant message in last place is left open (its text is a prefix of the reply). */
int chat_render(enum chat_kind k, const struct tokenizer *t, const struct chat_message *m, int n,
                struct token_list *out, struct err *e);

struct chat_option { /* a text that the open reply may go on with */
    const char *s;
    size_t n;
};

/*
 * Tokens for scoring n_option ways on from the open reply, the last message (an assistant's).
 * Prompt and option are one text and are encoded as one: SentencePiece, and a merge across the
 * border, would give other tokens for the option alone. Appends to prompt the tokens that all of
 * the texts begin with, and to rest, one option after another, those that each text goes on with:
 * len[i] >= 1 of them. So the sum of their log-probabilities compares the options, also where one
 * of them changes the last tokens of the prompt. On failure all lists are as before; ERR_DATA when
 * no common token is left.
 */
int chat_render_options(enum chat_kind k, const struct tokenizer *t, const struct chat_message *m,
                        int n, const struct chat_option *o, int n_option, struct token_list *prompt,
                        struct token_list *rest, int *len, struct err *e);

#endif
