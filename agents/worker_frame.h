/* worker_frame: the messages between the parent and a worker: a head, then bytes. Both ends are one
 * program on one host. */
#ifndef MAS_WORKER_FRAME_H
#define MAS_WORKER_FRAME_H

#include "str.h"

enum worker_kind {
    WORKER_IDENTITY = 1, /* text */
    WORKER_ABOUT,        /* text */
    WORKER_READY,        /* number: cases in flight */
    WORKER_DONE,         /* number: of the question; text: lines of its trace */
    WORKER_FIGURES,      /* text */
    WORKER_ENDED,        /* its part of the run is over; later messages are of the next run */
    WORKER_ERROR,        /* number: ERR_*; text: message */
    WORKER_GIVE,         /* number: of the question; text: why it is failed without asking, or "" */
    WORKER_OVER,         /* no more questions */
    WORKER_STOP,         /* give up cases in flight and end */
};

struct worker_frame {
    int32_t kind;
    int32_t pad;
    int64_t number;
    uint64_t n; /* bytes that follow */
};
#define WORKER_FRAME_MOST ((uint64_t)1 << 32)

/* Writes a whole message. ERR_AGAIN: the other end is gone. */
int worker_send(int fd, enum worker_kind kind, int64_t number, const char *text, size_t n,
                struct err *e);
/* Reads what is there without waiting. *gone: the other end has closed. */
int worker_receive(int fd, struct str *in, bool *gone, struct err *e);
/* The first whole message of in, which stays there until worker_drop. */
bool worker_next(const struct str *in, struct worker_frame *f, const char **text);
void worker_drop(struct str *in, const struct worker_frame *f);

#endif
