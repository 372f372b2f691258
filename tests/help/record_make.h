/*
 * record_make: builds a record by hand, interval by interval, for tests of its readers. A failed
 * allocation fails the test.
 */
#ifndef MAS_RECORD_MAKE_H
#define MAS_RECORD_MAKE_H

#include "record.h"

enum { RECORD_MAKE_TRACKS = 16, RECORD_MAKE_INTERVALS = 65536, RECORD_MAKE_BUSY = 4096 };

struct record_make {
    struct record r;
    struct track track[RECORD_MAKE_TRACKS];
    struct interval *interval; /* RECORD_MAKE_INTERVALS */
    int64_t busy_ns[RECORD_MAKE_BUSY];
    size_t n_busy;
    int step; /* of the intervals that are added; -1 at first */
};

void record_make_init(struct record_make *m);
void record_make_free(struct record_make *m);
int record_make_track(struct record_make *m, enum track_kind kind, int number, const char *name);
/* An interval without details; the caller sets the others. */
struct interval *record_make_add(struct record_make *m, enum span_kind kind, int track,
                                 const char *name, int64_t start_ns, int64_t end_ns);
/* Gives v the times of the workers, m->r.n_worker of them. */
void record_make_busy(struct record_make *m, struct interval *v, const int64_t *ns);

#endif
