/*
 * device: memory spaces, buffers, streams and events, the same words for a CPU and for a GPU.
 *
 * A device is reached only through the function table `struct dev_api`, so that a test can fail the
 * n-th call without a GPU. On the CPU a stream is a formality: every op and copy has finished when
 * its call returns. On a GPU ops and copies are queued; only dev->api->sync and event_sync wait,
 * and they report errors of queued work at the latest. After such an error no result of the device
 * is valid: close it.
 *
 * Several devices of one kind work side by side, each opened by its ordinal (ops.h). A pointer, a
 * stream and an event belong to the device that made them. Two calls take those of another device
 * of the same kind: peer_copy, and stream_wait with an event of that device.
 */
#ifndef MAS_DEVICE_H
#define MAS_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

enum mem_space {
    MEM_HOST,   /* pageable */
    MEM_PINNED, /* host memory that the device copies from at the link's speed */
    MEM_DEVICE, /* memory that the ops' pointers point to; the same as MEM_HOST on a CPU */
};

struct buf { /* made by alloc, owned by the caller of alloc; plain data */
    void *ptr;
    size_t bytes;
    enum mem_space space;
};

struct device;
struct stream; /* an order of execution; NULL = the device's default stream */
struct event;  /* a point in a stream */

struct dev_api {
    int (*alloc)(struct device *d, enum mem_space space, size_t bytes, struct buf *out,
                 struct err *e);
    void (*free)(struct device *d, struct buf *b); /* accepts a zeroed buf; leaves it zeroed */
    /* Any direction; both pointers must stay valid until the stream has passed this point. */
    int (*copy)(struct device *d, struct stream *s, void *dst, const void *src, size_t bytes,
                struct err *e);
    int (*fill)(struct device *d, struct stream *s, void *dst, int byte, size_t bytes,
                struct err *e);
    int (*stream_open)(struct device *d, struct stream **out, struct err *e);
    void (*stream_close)(struct device *d, struct stream *s);
    int (*event_open)(struct device *d, struct event **out, struct err *e);
    void (*event_close)(struct device *d, struct event *ev);
    int (*event_record)(struct device *d, struct event *ev, struct stream *s, struct err *e);
    /* Work queued on s after this call waits for the last record of ev, also of another device. */
    int (*stream_wait)(struct device *d, struct stream *s, struct event *ev, struct err *e);
    int (*event_sync)(struct device *d, struct event *ev, struct err *e);
    int (*sync)(struct device *d, struct stream *s, struct err *e); /* waits for all of s */
    int (*memory)(struct device *d, size_t *free_bytes, size_t *total_bytes, struct err *e);
    /* *done: all work before the last record of ev has ended. Never waits, and may leave queued
     * work unstarted. */
    int (*event_done)(struct device *d, struct event *ev, bool *done, struct err *e);
    /* Calls fn(user) when the stream gets there, on a thread of the device's choice. Work queued
     * after the call waits until fn returns. fn must not call the device. */
    int (*host_call)(struct device *d, struct stream *s, void (*fn)(void *user), void *user,
                     struct err *e);
    /* seconds on the device's own clock; NULL: the clock is the host's (clock.h) */
    double (*now)(struct device *d);
    /* Opens a timer: an event that keeps the time at which its stream gets to the record. A record
     * between record_begin and record_end (ops.h) belongs to the recording: every replay sets the
     * time anew. NULL, as elapsed then: the device keeps no times. */
    int (*timer_open)(struct device *d, struct event **out, struct err *e);
    /* Seconds from the last record of one timer to that of another, below 0 if `to` came first.
     * Both streams must have passed the records. */
    int (*elapsed)(struct device *d, struct event *from, struct event *to, double *seconds,
                   struct err *e);
    /* Copies of the stream between host and device take at least bytes / rate; 0 = no limit. Only
     * of a device with a clock of its own; NULL: the caller delays copies itself (host_call). */
    void (*stream_limit)(struct device *d, struct stream *s, double rate);
    /* *yes: peer_copy from `from` to d takes one copy, without the host. NULL: never. */
    int (*peer)(struct device *d, struct device *from, bool *yes, struct err *e);
    /* Copies from memory of `from` to memory of d, on a stream of d. Only where peer says yes;
     * otherwise the caller copies to pinned memory and from there. dst and src stay valid until
     * the stream has passed this point. */
    int (*peer_copy)(struct device *d, struct stream *s, void *dst, struct device *from,
                     const void *src, size_t bytes, struct err *e);
};

struct device {
    const struct dev_api *api;
    const char *kind; /* "cpu", "cuda", "cudahost", "sim" */
    char name[128];   /* "AMD EPYC, 2 threads, AVX-512 VNNI", for headers of results */
    char pci[16];     /* bus id of a GPU, "0000:C1:00.0"; "" = no GPU */
    int ordinal;      /* number of the GPU among those of its kind */
    /* MEM_DEVICE is the host's own memory: the ops take pointers into a mapped file */
    bool is_host;
    bool hollow; /* buffers have no contents, so nothing needs to be read into them (sim.h) */
};

#endif
