/*
 * event_flow: arrows between the intervals of a record.
 *
 *   "call"    from an agents' call to the first and the last step inside its time
 *   "queue"   from an op or copy as it is queued to the same one as it runs; from the replay of a
 *             recorded pass to the first op that it runs
 */
#ifndef MAS_EVENT_FLOW_H
#define MAS_EVENT_FLOW_H

#include "record.h"

enum flow_place { FLOW_START = 's', FLOW_STEP = 't', FLOW_END = 'f' };

struct flow {  /* one end of an arrow, or a point on its way */
    size_t of; /* index of an interval */
    enum flow_place place;
    const char *name;
    uint64_t id; /* of the arrow, from 1 */
};

struct flows {
    struct flow *flow; /* by interval */
    size_t n, cap;
    uint64_t last_id;
};

int flows_make(const struct record *r, struct flows *out, struct err *e);
/* Those of interval `of`: the index of the first one, or n. */
size_t flows_of(const struct flows *f, size_t of);
void flows_free(struct flows *f); /* accepts a zeroed one */

#endif
