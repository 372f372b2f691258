/*
 * chat: renders messages as tokens, by the chat template of a model.
 *
 * The Jinja template of a model file is never executed. chat_texts.def names each known text by its
 * hash (chat_digest.h), and chats.def names the template that a text belongs to. Code of our own
 * renders it. The result equals Jinja's output of the file's template, encoded with the template's
 * control tokens. A text that is not in the table is unknown, however similar it is.
 *
 * Invariants:
 *   - Message contents are encoded as plain text, so nothing in them becomes a control token.
 *   - BOS stands once at the start if the template writes it or the file asks for it.
 *   - A result does not depend on the day: a date is an option, with a constant for each template.
 *   - A system text is never dropped. A template without a place for it gets it at the start of the
 *     first user text, before a blank line.
 *   - A chat is immutable after chat_open. Any thread may use it.
 */
#ifndef MAS_CHAT_H
#define MAS_CHAT_H

#include "gguf.h"
#include "str.h"
#include "token_list.h"

struct tokenizer; /* tokenizer.h */
struct chat;

#define CHAT_KEY "tokenizer.chat_template"
#define CHAT_UNKNOWN "unknown"

/* Values of the option chat.template: the names of chats.def, and auto for the file's own. */
#define CHAT_NAMES                                                                                 \
    "auto|llama3|llama3.1|llama2|llama2-trim|mistral-v0.1|mistral-v0.2|mistral-v1|"                \
    "mistral-v3|mistral-v3-tekken|mistral-v7|mistral-v7-tekken|mistral-small-2501|"                \
    "mistral-small-2506|chatml|smollm2|qwen2|qwen2.5|qwen3|qwen3-thinking|qwq|"                    \
    "qwq-switched|gemma1|gemma2|gemma3|phi3-mini|phi3-medium|phi3-small|phi3|phi3.5|"              \
    "phi4-mini|phi4|phi4-first|zephyr|vicuna|deepseek-r1|deepseek-r1-switched|"                    \
    "deepseek-r1-first|deepseek-r1-0528|plain"
enum { CHAT_DATE_MOST = 63 }; /* bytes of a date */

struct chat_options {
    const char *name; /* of a template; NULL or "auto" = the file's own */
    const char *date; /* written where a template has the date of the day; NULL or "" = the
                         template's constant */
};

/* Finds the template. An unknown one is no error yet: only rendering needs it. A file without a
 * template gets "plain". g may be closed afterwards; t must outlive the chat. ERR_USAGE: a name
 * that chats.def lacks, or a date with control characters or more than 63 bytes. */
int chat_open(const struct gguf *g, const struct tokenizer *t, const struct chat_options *o,
              struct chat **out, struct err *e);
void chat_close(struct chat *c); /* accepts NULL */

/* The name of the template of a file, "plain" without one, "unknown" if the table lacks it. */
int chat_recognise(const struct gguf *g, const char **name, struct err *e);
const char *chat_name(const struct chat *c); /* "unknown" if the table lacks the text */

/* The file has no template and none was chosen: messages become plain text without roles. */
bool chat_bare(const struct chat *c);
#define CHAT_BARE_TEXT                                                                             \
    "the model file has no chat template: messages are joined without roles; --chat-template "     \
    "NAME takes one"

/* Fails as every rendering would: ERR_DATA if the template is unknown, or if the vocabulary lacks a
 * control token that it needs. The message lists the names and the option. */
int chat_check(const struct chat *c, struct err *e);

struct chat_message {
    const char *role; /* "system", "user", "assistant" */
    const char *text;
    size_t len;
};

/* How the models of a template think before they reply. */
struct chat_thinking {
    bool always;       /* they always think; else the empty block switches it off */
    const char *open;  /* text that opens the block at the start of the reply: "<think>\n" */
    const char *close; /* text at the end of the block: "</think>" */
    const char *after; /* text between the block and the reply: "\n\n" */
    const char *none;  /* the empty block of a reply without thinking: "<think>\n\n</think>\n\n" */
};
const struct chat_thinking *chat_thinking(const struct chat *c); /* NULL: they do not think */

/* The start of the reply. */
enum chat_think {
    CHAT_THINK_DEFAULT, /* as the template has it: with or without an opened block */
    CHAT_THINK_OPEN,    /* the opened block */
    CHAT_THINK_NONE,    /* the empty block; nothing if the models do not think */
};

/*
 * Appends BOS, the messages, and the header of the assistant's turn with the start of the reply. A
 * last assistant message is left open: its text follows the start of the reply, and keeps white
 * space at its end. "plain" joins the contents by blank lines and has no header. Thoughts in
 * earlier assistant messages are removed where the template removes them.
 *
 * out is unchanged on failure. ERR_DATA: as chat_check; an unknown role; an order of roles that the
 * template refuses. ERR_USAGE: CHAT_THINK_OPEN for models that do not think.
 */
int chat_render(const struct chat *c, const struct chat_message *m, int n, enum chat_think think,
                struct token_list *out, struct err *e);
/* Appends the text that chat_render encodes, with the names of the control tokens that the template
 * writes. A BOS that only the file asks for is not part of the text. Same errors. */
int chat_text(const struct chat *c, const struct chat_message *m, int n, enum chat_think think,
              struct str *out, struct err *e);

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
int chat_render_options(const struct chat *c, const struct chat_message *m, int n,
                        enum chat_think think, const struct chat_option *o, int n_option,
                        struct token_list *prompt, struct token_list *rest, int *len,
                        struct err *e);
/* The same for continuations of a plain text without a template. flags: of tokenizer_encode. */
int chat_raw_options(const struct tokenizer *t, const char *text, size_t n, unsigned flags,
                     const struct chat_option *o, int n_option, struct token_list *prompt,
                     struct token_list *rest, int *len, struct err *e);

#endif
