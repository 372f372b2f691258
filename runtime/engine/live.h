/*
 * live: the text of a request while the engine writes it. The pieces hold complete UTF-8
 * characters. Together they are exactly the thinking by think_text, and the reply: the decoded
 * tokens after the block.
 *
 * Bytes wait until their place is certain. These are the beginning of a character, and bytes that
 * may begin the text that closes the block. A free reply begins with the bytes that the closing
 * token has after that text, but for white space. The last piece may end within a character.
 *
 * One thread (the engine's: on_token, done).
 */
#ifndef MAS_LIVE_H
#define MAS_LIVE_H

#include "request.h"
#include "think.h"
#include "tokenizer.h"

typedef void (*live_say)(void *user, const char *text, size_t n, bool thinking); /* n >= 1 */

struct live {
    live_say say;
    void *user;
    const struct tokenizer *tok;
    struct think think; /* of the block */
    struct tokenizer_stream stream;
    struct str text; /* bytes that wait; failed: out of memory, nothing more is said */
};

/* r: before its submission. */
void live_init(struct live *v, const struct tokenizer *tok, const struct request *r, live_say say,
               void *user);
void live_free(struct live *v); /* accepts a zeroed one */
/* Takes the last token of r->out: for on_token. */
void live_token(struct live *v, const struct request *r);
/* Says the bytes that still wait: for done. A cancelled request has no more text. */
void live_end(struct live *v, const struct request *r);

#endif
