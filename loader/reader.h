/*
 * reader: one thread that fills numbered pieces in order.
 *
 *   given --fill(user, piece, e)--> filled         filled <= given; both only grow
 *
 * Invariants:
 *   - fill runs on the reader thread, for pieces 0, 1, 2, .. that the caller has given.
 *   - One other thread calls all other functions. A thread that has seen a piece as filled sees all
 *     bytes that fill wrote.
 *   - After a failed fill the thread stops filling; reader_wait and reader_filled return the error.
 */
#ifndef MAS_READER_H
#define MAS_READER_H

#include <stdint.h>

#include "err.h"

struct reader;

/* Starts the thread; no piece is given yet. ERR_NOMEM, ERR_AGAIN (no thread can be created). */
int reader_open(int (*fill)(void *user, uint64_t piece, struct err *e), void *user,
                struct reader **out, struct err *e);
void reader_close(struct reader *r); /* waits for the current fill; accepts NULL */

/* allows the pieces below upto to be filled; a lower value has no effect */
void reader_give(struct reader *r, uint64_t upto);
/* *filled: pieces below it are filled. Does not wait. */
int reader_filled(struct reader *r, uint64_t *filled, struct err *e);
/* Waits until `piece` is filled; the piece must be given already. */
int reader_wait(struct reader *r, uint64_t piece, struct err *e);

int64_t reader_busy_ns(struct reader *r); /* time inside fill */

#endif
