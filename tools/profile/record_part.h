/*
 * record_part: the parts of the recorder. record.c is the sink: threads, spans and intervals.
 * record_device.c keeps the timers of a device and turns their times into intervals.
 *
 *   op on a device       timer, op, timer    queue  --+
 *   copy                 timer, copy, timer  copies --+-->  device_read  -->  intervals
 *   op in a recording    timer, op, timer    take   --+     (end of a step, before a replay)
 *
 * - One lock guards all of it. Functions of record_device.c are called with the lock held.
 * - A timer belongs to one op until its time has been read. Timers of a take stay in it.
 * - device_read waits for the device, so it is called only when the host has waited anyway.
 */
#ifndef MAS_RECORD_PART_H
#define MAS_RECORD_PART_H

#include <pthread.h>

#include "mem.h"
#include "record.h"

enum {
    RECORD_DEPTH = 16,   /* spans inside one another, of a thread */
    RECORD_THREADS = 16, /* threads that begin spans */
    RECORD_DEVICES = 9,  /* eight GPUs and the CPU */
    RECORD_TRACKS = 512,
    RECORD_WORKERS = 256,
    RECORD_TIMERS = 1 << 18, /* of a device; an op that finds none is dropped */
};

struct timing { /* an op or a copy between two timers; its interval lacks start and end */
    struct interval what;
    struct event *from, *to;
};

struct timings {
    struct timing *item;
    size_t n, cap;
};

struct take { /* the ops of a recording */
    uint64_t key;
    struct timings op;
    bool played; /* queued, and its times have not been read */
    int step;    /* that queued it */
    const char *phase;
};

struct record_device {
    struct device *dev;
    int track, copies; /* indexes of tracks; -1 = none yet */
    /* Timers alone: */
    struct event *mark[2]; /* the last mark and the next one */
    int last;              /* index in mark */
    int64_t mark_ns;       /* time of the last mark; 0 = none yet */
    struct timings queue, copy;
    struct event **spare;
    size_t n_spare, cap_spare, n_timer;
    struct take **take;
    size_t n_take, cap_take;
    struct take *taking; /* between record(key) and record(0) */
};

struct record_frame { /* a span that has begun */
    int64_t start_ns, before_ns;
    struct event *from;
    uint64_t id;
};

struct record_thread {
    pthread_t self;
    const char *name;
    int track, depth, step;
    const char *phase;
    struct record_frame frame[RECORD_DEPTH];
};

struct record_call { /* that has started */
    uint64_t id;
    struct interval what;
};

struct recorder {
    struct spans spans; /* first: a struct spans * is a struct recorder * */
    pthread_mutex_t lock;
    pthread_cond_t idle; /* no thread is inside a span */
    size_t most;
    int64_t begin_ns; /* 0 = nothing has begun */
    struct err err;   /* the first error; nothing is recorded after it */
    struct arena text;
    const char **known; /* (cap_known) texts, by hash */
    size_t n_known, cap_known;
    struct track track[RECORD_TRACKS];
    int n_track, calls; /* calls: index of their track, -1 = none yet */
    struct record_thread thread[RECORD_THREADS];
    int n_thread;
    struct record_device device[RECORD_DEVICES];
    int n_device;
    struct interval *interval;
    size_t n_interval, cap_interval;
    int64_t *busy_ns;
    size_t n_busy, cap_busy;
    int n_worker, worker; /* worker: index of the first one's track */
    struct ops *pool;     /* whose workers are watched */
    struct record_call *call;
    size_t n_call, cap_call;
    int n_step;
    uint64_t n_op, dropped;
    bool device_timed;
};

/* Keeps the first error; rc 0 = none. */
void record_fail(struct recorder *r, int rc, const struct err *why);
/* Keeps an interval, or counts it as dropped. Returns true if kept. */
bool record_keep(struct recorder *r, const struct interval *v);
int record_track(struct recorder *r, enum track_kind kind, int number, const char *name);

/* The state of a device; makes one. NULL: there are too many, and r->err says so. */
struct record_device *device_of(struct recorder *r, struct device *dev);
bool device_timers(const struct device *dev); /* has timers */
/* Reads both clocks before the first op of a device. */
void device_begin(struct recorder *r, struct record_device *d);
/* A timer that is recorded on the stream now; NULL: none left, or an error. */
struct event *device_time(struct recorder *r, struct record_device *d, struct stream *s);
void device_untime(struct recorder *r, struct record_device *d, struct event *t); /* not needed */
/* Keeps an op or copy until its times can be read. */
void device_queue(struct recorder *r, struct record_device *d, const struct timing *t);
void device_record(struct recorder *r, struct record_device *d, uint64_t key);
void device_replay(struct recorder *r, struct record_device *d, uint64_t key, int step,
                   const char *phase);
/* Reads the times of all ops, and of the copies that have ended. wait: of all copies. */
void device_read(struct recorder *r, struct record_device *d, bool wait);
bool device_waiting(const struct record_device *d); /* there are times to read */
bool device_played(const struct record_device *d);  /* a recording has times to read */
void device_drop(struct record_device *d);          /* closes all timers and forgets the device */

#endif
