/* sim_clock: streams, events and engines of a sim; what device_sim and ops_sim are made of. */
#ifndef MAS_SIM_CLOCK_H
#define MAS_SIM_CLOCK_H

#include <pthread.h>

#include "sim.h"
#include "traffic.h"

/* a record of an event; shared by the event, the command that makes it and those that wait for
 * it */
struct mark {
    double at;
    bool done;
    int refs;
};

enum command_kind { COMMAND_WORK, COMMAND_RECORD, COMMAND_WAIT, COMMAND_CALL };

struct command {
    struct command *next;
    enum command_kind kind;
    double issued;
    struct sim_span span;   /* WORK: engine, name, bytes; end = how long it takes */
    struct mark *mark;      /* RECORD, WAIT; NULL: of an event that was never recorded */
    void (*fn)(void *user); /* CALL */
    void *user;
};

struct stream {
    struct stream *next; /* of the sim */
    struct command *first, **last;
    double at; /* what has been executed ends here */
};

struct event {
    struct mark *mark; /* the last record; NULL = none yet */
};

struct sim {
    struct sim_config c;
    pthread_mutex_t lock;
    double now;
    double free_at[SIM_ENGINES], busy[SIM_ENGINES];
    struct stream main, *streams; /* all of them; main is the device's default */
    struct sim_span *span;        /* (c.n_span) */
    size_t n_span;
    /* the device's memory: addresses that cannot be touched, given out once and in order */
    unsigned char *space;
    uint64_t space_bytes, space_used, vram_used;
};

/* All under the lock. */
int sim_queue(struct sim *s, struct stream *to, const struct command *c, struct err *e);
int sim_work(struct sim *s, struct stream *to, enum sim_engine engine, const char *name,
             double bytes, double seconds, struct err *e);
/* The CPU is busy; whoever calls waits for it. */
void sim_compute(struct sim *s, const char *name, const struct traffic *t);
/* ops_rate 0 = no limit */
double sim_seconds(const struct traffic *t, double rate, double ops_rate);
/* Runs until the stream is empty, or the mark is done, and sets the host's clock to that. ERR_BUG
 * when that never is. */
int sim_wait_stream(struct sim *s, struct stream *of, struct err *e);
int sim_wait_mark(struct sim *s, struct mark *m, struct err *e);
void sim_catch_up(struct sim *s);    /* runs what starts before now */
void stream_clear(struct stream *k); /* throws away what is left in it */
void mark_drop(struct mark *m);      /* accepts NULL */

#endif
