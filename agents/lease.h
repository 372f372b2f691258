/*
 * lease: the right to write a folder, on file systems whose flock cannot be trusted (NFS). One
 * process holds a folder; another takes it over when the holder is dead.
 *
 *   lease-0001  lease-0002  ..    one file a holder, the highest number is the present one
 *
 * Rules:
 * - A lease is made by link(2), which is atomic on NFS: of several claimants of a number one wins.
 *   Files are never removed, so a number is never given twice.
 * - A lease names its holder: host, boot, process, the process's start, its process name space. A
 *   holder of this boot and name space is judged by its process: dead = taken over at once, alive =
 *   refused at once.
 * - Any other holder is judged by its heartbeat, a counter in its file. The claimant watches it.
 *   When it has not changed for wait_s of the claimant's own clock, the holder is taken as dead.
 *   Times of two hosts are never compared.
 * - A holder that was wrongly taken as dead (stopped, cut off) finds the higher number before it
 *   writes again. Between that look and the write it may be stopped once more. So each holder
 *   writes cases into a file of its own (trace.h), and a late write adds to a file that its
 *   successors only read.
 *
 * Attribute caches of NFS (60 s by default) can show an old heartbeat or hide a new lease. Each
 * look opens the file anew, which asks the server (close-to-open). wait_s is longer than the cache,
 * for mounts with nocto.
 */
#ifndef MAS_LEASE_H
#define MAS_LEASE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "str.h"

#define LEASE_BEAT_S 10.0 /* between two heartbeats */
#define LEASE_WAIT_S 90.0 /* without a change: dead */

struct lease;

/* The process that claims. */
struct lease_self {
    char host[128], boot[64], space[64]; /* name, id of the boot, pid name space */
    long pid;
    unsigned long long start; /* of the process, clock ticks since the boot */
};
/* Reads /proc; a part that cannot be read is "" and never equal to another's. */
void lease_self(struct lease_self *out);

struct lease_options {
    const char *dir;        /* exists */
    const char *what;       /* for messages: "shard 3 of 8 in DIR" */
    double beat_s, wait_s;  /* 0 = as above */
    const atomic_int *stop; /* non-zero ends waiting; NULL = none */
    /* For tests; NULL = the real ones. Without `sleep`, a thread beats. */
    const struct lease_self *self;
    int64_t (*clock)(void *user); /* ns, monotonic */
    void (*sleep)(void *user, double seconds);
    bool (*alive)(void *user, const struct lease_self *holder); /* of this boot and name space */
    void *user;
};
/* Takes the lease, after waiting if need be. ERR_CREATE: another process holds it (host, process,
 * since when); ERR_CANCEL: stopped while waiting; ERR_IO, ERR_DATA. */
int lease_take(const struct lease_options *o, struct lease **out, struct err *e);
/* Do we still hold it? ERR_CREATE names the new holder. Call it before each write. */
int lease_check(struct lease *l, struct err *e);
/* Writes one heartbeat; the thread does so by itself. ERR_IO: the lease stays ours until somebody
 * takes it. */
int lease_beat(struct lease *l, struct err *e);
int lease_number(const struct lease *l);
const char *lease_notes(const struct lease *l); /* "took over from ..", a line; "" = none */
/* Gives it back, so that a successor need not wait. Accepts NULL. */
void lease_give(struct lease *l);

/* ERR_CREATE when a lease of the folder is not given back: the folder is written under leases. */
int lease_refuse_held(const char *dir, struct err *e);

#endif
