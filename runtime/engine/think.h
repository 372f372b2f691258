/*
 * think: follows a block of thinking, token by token, and finds its end.
 *
 * The end is a text, which may lie in one token, span several, or end inside one. So bytes are
 * compared, the names of control tokens among them. Plain data: assignment forks it.
 */
#ifndef MAS_THINK_H
#define MAS_THINK_H

#include "request.h"
#include "str.h"
#include "token_list.h"

struct chat;      /* chat.h */
struct tokenizer; /* tokenizer.h */

struct think {
    bool open;   /* the next token belongs to the block */
    bool rest;   /* the token that closed the block has bytes after the closing text */
    int matched; /* leading bytes of the closing text that the block ends with */
};

struct think think_begin(const struct request_think *t);
/* Adds a token to an open block. true: it has closed the block. */
bool think_take(const struct request_think *t, const struct tokenizer *tok, struct think *b,
                int32_t id);
/* Fills t with the thinking of a chat template and a budget of max tokens, 1 or more. added gets
 * the tokens of end and after, so it must stay unchanged while t is used. ERR_DATA: the template's
 * models do not think. ERR_NOMEM. */
int think_of_chat(const struct chat *chat, const struct tokenizer *tok, int max,
                  struct token_list *added, struct request_think *t, struct err *e);
/* Appends the text of r's block up to its closing text to thought, and the text that the closing
 * token has after it to rest. Either may be NULL. Out of memory: the strings say so. */
void think_text(const struct request *r, const struct tokenizer *tok, struct str *thought,
                struct str *rest);
/* ERR_BUG, ERR_DATA: a block that cannot be closed, or tokens that the vocabulary lacks. */
int think_check(const struct request *r, const struct tokenizer *tok, struct err *e);

#endif
