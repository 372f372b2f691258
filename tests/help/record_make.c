#include "record_make.h"

#include <stdio.h>
#include <string.h>

#include "check.h"
#include "mem.h"

void record_make_init(struct record_make *m)
{
    memset(m, 0, sizeof *m);
    m->interval = mem_zalloc(RECORD_MAKE_INTERVALS, sizeof *m->interval);
    CHECK(m->interval);
    m->step = -1;
    m->r.track = m->track;
    m->r.interval = m->interval;
    m->r.busy_ns = m->busy_ns;
}

void record_make_free(struct record_make *m)
{
    mem_free(m->interval);
    memset(m, 0, sizeof *m);
}

int record_make_track(struct record_make *m, enum track_kind kind, int number, const char *name)
{
    CHECK(m->r.n_track < RECORD_MAKE_TRACKS);
    struct track *t = &m->track[m->r.n_track];
    t->kind = kind;
    t->number = number;
    snprintf(t->name, sizeof t->name, "%s", name);
    return m->r.n_track++;
}

struct interval *record_make_add(struct record_make *m, enum span_kind kind, int track,
                                 const char *name, int64_t start_ns, int64_t end_ns)
{
    CHECK(m->r.n_interval < RECORD_MAKE_INTERVALS);
    struct interval *v = &m->interval[m->r.n_interval++];
    *v = (struct interval){.kind = kind,
                           .name = name,
                           .detail = "",
                           .phase = "",
                           .kernel = "",
                           .track = track,
                           .step = m->step,
                           .layer = -1,
                           .start_ns = start_ns,
                           .end_ns = end_ns,
                           .busy = RECORD_UNWATCHED};
    if (m->step >= m->r.n_step)
        m->r.n_step = m->step + 1;
    return v;
}

void record_make_busy(struct record_make *m, struct interval *v, const int64_t *ns)
{
    CHECK(m->n_busy + (size_t)m->r.n_worker <= RECORD_MAKE_BUSY);
    v->busy = m->n_busy;
    for (int w = 0; w < m->r.n_worker; w++)
        m->busy_ns[m->n_busy++] = ns[w];
}
