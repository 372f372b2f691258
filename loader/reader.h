/*
 * reader: one thread that fills numbered pieces in order, as far as it has been given them.
 *
 *   given but not filled --fill()--> filled         filled <= given; both only grow
 *
 * fill(user, piece, e) runs on the reader thread, for pieces 0, 1, 2, ..; what it wrote is visible
 * to whoever has seen that the piece is filled. After a failed fill the thread rests, and
 * reader_wait and reader_filled pass the error up. Everything else is called by one other thread.
 */
#ifndef MAS_READER_H
#define MAS_READER_H

#include <stdint.h>

#include "err.h"

struct reader;

/* ERR_NOMEM, ERR_AGAIN (no thread to be had). Nothing is given yet. */
int reader_open(int (*fill)(void *user, uint64_t piece, struct err *e), void *user,
                struct reader **out, struct err *e);
void reader_close(struct reader *r); /* waits for the piece in hand; accepts NULL */

/* pieces below upto may be filled; never lowered */
void reader_give(struct reader *r, uint64_t upto);
/* *filled: pieces below it are filled. Does not wait. */
int reader_filled(struct reader *r, uint64_t *filled, struct err *e);
/* Waits until `piece`, which has been given, is filled. */
int reader_wait(struct reader *r, uint64_t piece, struct err *e);

int64_t reader_busy_ns(struct reader *r); /* time inside fill */

#endif
