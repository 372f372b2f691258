/*
 * sim_clock: streams, events and engines of a sim, shared by device_sim and ops_sim.
 */
#ifndef MAS_SIM_CLOCK_H
#define MAS_SIM_CLOCK_H

#include <pthread.h>

#include "sim.h"
#include "traffic.h"

/* a record of an event; shared by the event, the command that records it and the commands that wait
 * for it */
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
    struct sim_span span;   /* WORK: engine, card, name, bytes; end = duration, seconds */
    double dram;            /* WORK: bytes/s of the host's memory that it takes */
    struct mark *mark;      /* RECORD, WAIT; NULL: the event was never recorded */
    void (*fn)(void *user); /* CALL */
    void *user;
};

struct stream {
    struct stream *next; /* of the sim */
    int card;
    struct command *first, **last;
    double at;   /* end of the work executed so far, seconds */
    double link; /* bytes/s of its copies between host and device; 0 = the sim's */
};

struct event {
    struct mark *mark; /* the last record; NULL = none yet */
};

struct card { /* a device */
    struct sim_card c;
    double free_at[SIM_ENGINES], busy[SIM_ENGINES];
    double up_dram;     /* bytes/s of the host's memory that the latest copy up takes */
    struct stream main; /* the default */
    /* its memory: addresses that cannot be touched, handed out once and in order */
    unsigned char *space;
    uint64_t space_bytes, space_used, vram_used;
};

struct sim {
    struct sim_config c;
    pthread_mutex_t lock;
    double now;
    double call_s, copy_s;       /* sim_calls */
    struct card card[SIM_CARDS]; /* (c.n_card); the CPU's times stand in the first */
    struct stream *streams;      /* of all cards */
    struct sim_span *span;       /* (c.n_span) */
    size_t n_span;
};

/* All functions below: the caller holds the lock. */
/* The host spends the time of n calls that queue work. */
void sim_called(struct sim *s, int n);
int sim_queue(struct sim *s, struct stream *to, const struct command *c, struct err *e);
/* dram: bytes/s of the host's memory that the work takes */
int sim_work(struct sim *s, struct stream *to, enum sim_engine engine, const char *name,
             double bytes, double seconds, double dram, struct err *e);
/* Keeps the CPU busy; the caller waits until the work ends. */
void sim_compute(struct sim *s, const char *name, const struct traffic *t);
/* bytes/s of the stream's copies between host and device */
double sim_link(const struct sim *s, const struct stream *k);
/* ops_rate 0 = no limit */
double sim_seconds(const struct traffic *t, double rate, double ops_rate);
/* Runs until the stream is empty, or the mark is done, and sets the host's clock to that time.
 * ERR_BUG when no queued work brings that about. */
int sim_wait_stream(struct sim *s, struct stream *of, struct err *e);
int sim_wait_mark(struct sim *s, struct mark *m, struct err *e);
void sim_catch_up(struct sim *s);    /* runs all work that starts before now */
void stream_clear(struct stream *k); /* drops the commands left in it */
void mark_drop(struct mark *m);      /* accepts NULL */

#endif
