/*
 * reply: one request of an engine, run to its end from the test's own thread.
 *
 * Fill r, except done, and call reply_run. r is the first member, so a callback may cast its
 * request to its reply. r.user is free for the test. Callbacks run on the engine's thread. They
 * must only note what they see; the test's thread makes all assertions.
 */
#ifndef MAS_REPLY_H
#define MAS_REPLY_H

#include <pthread.h>
#include <stdbool.h>

#include "engine.h"
#include "token_list.h"

struct reply {
    struct request r;
    pthread_mutex_t lock;
    pthread_cond_t told;
    int ended; /* times done was called: 1 */
};

/* Submits and waits for done. Returns the error of engine_submit, or r.err of a failed request. */
int reply_run(struct engine *en, struct reply *p, struct err *e);

/* Ids of text with BOS, as a prompt; free with token_list_free. */
int reply_prompt(const struct engine *en, const char *text, struct token_list *out, struct err *e);

#endif
