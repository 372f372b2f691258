/*
 * record: a sink of spans (span.h) that keeps a timeline in memory. For each interval it keeps the
 * track, the start and the end. mas profile makes its table, its trace and its page of a record.
 *
 * Clocks:
 *   - Tracks of the host use clock_ns().
 *   - A device with timers (device.h) records events before and after an op or copy, in its stream.
 *     Recorded passes keep the events inside the recording.
 *   - Two readings at the end of each step map the device's time to the host's.
 *   - An op on a device without timers (the CPU) runs while it is called.
 *
 * The record is bounded. After `most` intervals the rest is counted in `dropped`.
 */
#ifndef MAS_RECORD_H
#define MAS_RECORD_H

#include "ops.h"
#include "span.h"

enum track_kind {
    TRACK_ENGINE, /* the engine thread: steps, phases, parts, host work; ops as they are queued */
    TRACK_DEVICE, /* ops of a device, or of the CPU, as they run */
    TRACK_COPY,   /* the copy engine */
    TRACK_WORKER, /* a thread of the CPU pool; track.number counts from 0 */
    TRACK_CALLS,  /* agents' calls, which overlap */
};

struct track {
    enum track_kind kind;
    int number;
    char name[80]; /* "engine", "NVIDIA H200", "copies", "worker 1", "calls" */
};

#define RECORD_UNWATCHED SIZE_MAX

struct interval {
    enum span_kind kind;
    const char *name;   /* as in struct span */
    const char *detail; /* in the record's memory */
    const char *phase;  /* name of the phase around it; "" = none */
    const char *kernel; /* SPAN_OP: variant or instruction set; "" = unknown */
    int track;          /* index in record.track */
    int step;           /* number of the step around it, from 0; -1 = none */
    int layer;
    int64_t rows;
    double bytes, ops;
    int64_t start_ns, end_ns; /* on the host's clock, from record.begin_ns */
    /* Time that the recorder itself took right before the start and right after the end. It lies in
     * the interval around this one. */
    int64_t before_ns, after_ns;
    /* SPAN_CALL: its number. SPAN_OP, SPAN_COPY: an op as queued and the same op as it ran have one
     * number; 0 = the op was part of a replay. */
    uint64_t id;
    /* SPAN_OP on the CPU pool: index of the first of n_worker numbers in record.busy_ns;
     * RECORD_UNWATCHED for all others */
    size_t busy;
};

struct record {
    int64_t begin_ns; /* clock_ns() of the first interval */
    const struct track *track;
    int n_track;
    const struct interval *interval; /* in order of their ends */
    size_t n_interval;
    const int64_t *busy_ns; /* time that each worker spent inside parts of an op */
    int n_worker;           /* of the CPU pool; 0 = none was watched */
    int n_step;
    uint64_t dropped;
    bool device_timed; /* false: ops were timed while they were called */
};

struct recorder;

int recorder_open(size_t most, struct recorder **out, struct err *e);
/* Accepts NULL. After the engine that it watched: the engine reports the end of its devices. */
void recorder_close(struct recorder *r);
struct spans *recorder_spans(struct recorder *r);
/* Forgets all intervals: ends a warm-up. The engine must be idle. */
void recorder_clear(struct recorder *r);
/* The timeline so far; valid until the next call of any function here. The engine must be idle.
 * The error of a failed timer, or ERR_NOMEM of an interval that found no memory. */
int recorder_read(struct recorder *r, struct record *out, struct err *e);

#endif
