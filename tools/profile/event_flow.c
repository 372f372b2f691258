#include "event_flow.h"

#include <stdlib.h>
#include <string.h>

#include "mem.h"

static int add(struct flows *f, size_t of, enum flow_place place, const char *name, struct err *e)
{
    TRY(mem_grow(&f->flow, &f->cap, f->n + 1, sizeof *f->flow, "flows of a trace", e));
    f->flow[f->n++] = (struct flow){of, place, name, f->last_id};
    return 0;
}

/* ---- calls ----------------------------------------------------------------------------------- */

struct turn { /* a step of the engine */
    int64_t start, delivered;
    size_t of;
};

static int by_turn(const void *a, const void *b)
{
    const struct turn *x = a, *y = b;
    return (x->start > y->start) - (x->start < y->start);
}

/* Steps in order of time. A call gets its result when a step delivers last, and may end before that
 * step ends. */
static size_t read_turns(const struct record *r, struct turn *turn)
{
    size_t n = 0;
    int64_t delivered = INT64_MIN;
    for (size_t i = 0; i < r->n_interval; i++) { /* a step ends after its intervals */
        const struct interval *v = &r->interval[i];
        if (v->kind == SPAN_HOST && !strcmp(v->name, "deliver"))
            delivered = v->start_ns;
        if (v->kind != SPAN_STEP)
            continue;
        const bool inside = delivered >= v->start_ns && delivered <= v->end_ns;
        turn[n++] = (struct turn){v->start_ns, inside ? delivered : v->end_ns, i};
    }
    qsort(turn, n, sizeof *turn, by_turn);
    return n;
}

/* Number of steps that start before `at`, or that have delivered at `at`. */
static size_t turns_until(const struct turn *turn, size_t n, int64_t at, bool delivered)
{
    size_t low = 0, high = n;
    while (low < high) {
        const size_t mid = low + (high - low) / 2;
        if (delivered ? turn[mid].delivered <= at : turn[mid].start < at)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static int add_call(struct flows *f, const struct turn *turn, size_t n, size_t of,
                    const struct interval *v, struct err *e)
{
    const size_t first = turns_until(turn, n, v->start_ns, false);
    const size_t end = turns_until(turn, n, v->end_ns, true);
    if (first >= end) /* no step of the record computed it */
        return 0;
    f->last_id++;
    TRY(add(f, of, FLOW_START, "call", e));
    if (first + 1 < end)
        TRY(add(f, turn[first].of, FLOW_STEP, "call", e));
    return add(f, turn[end - 1].of, FLOW_END, "call", e);
}

static int add_calls(const struct record *r, struct flows *f, struct err *e)
{
    struct turn *turn = mem_zalloc(r->n_interval + 1, sizeof *turn);
    int rc = 0;
    if (!turn)
        return NOMEM(e, r->n_interval * sizeof *turn, "steps of a trace");
    const size_t n = read_turns(r, turn);
    for (size_t i = 0; i < r->n_interval; i++)
        if (r->interval[i].kind == SPAN_CALL)
            TRY_DONE(add_call(f, turn, n, i, &r->interval[i], e));
done:
    mem_free(turn);
    return rc;
}

/* ---- queued work ----------------------------------------------------------------------------- */

struct work {    /* an op or a copy that is queued or runs, or a replay */
    uint64_t id; /* 0 = of a replay */
    int step;
    bool queued;
    int64_t start;
    size_t of;
};

static bool is_work(const struct record *r, size_t of, struct work *out)
{
    const struct interval *v = &r->interval[of];
    const enum track_kind on = r->track[v->track].kind;
    const bool work = v->kind == SPAN_OP || v->kind == SPAN_COPY;
    const bool replay = v->kind == SPAN_HOST && !strcmp(v->name, "replay");
    *out = (struct work){replay ? 0 : v->id, v->step, on == TRACK_ENGINE, v->start_ns, of};
    return replay || (work && (on == TRACK_ENGINE || on == TRACK_DEVICE || on == TRACK_COPY));
}

/* Pairs by their number; work of replays by step and time. */
static int by_pair(const void *a, const void *b)
{
    const struct work *x = a, *y = b;
    if (x->id != y->id)
        return x->id < y->id ? -1 : 1;
    if (!x->id && x->step != y->step)
        return x->step < y->step ? -1 : 1;
    if (!x->id && x->start != y->start)
        return x->start < y->start ? -1 : 1;
    if (x->queued != y->queued)
        return x->queued ? -1 : 1;
    return (x->of > y->of) - (x->of < y->of);
}

/* Work that runs while it is called, as on the CPU, needs no arrow. */
static bool inside(const struct interval *run, const struct interval *queued)
{
    return run->start_ns >= queued->start_ns && run->end_ns <= queued->end_ns;
}

/* The queued work, if any, waits for the next work that runs. */
static int add_queue(const struct record *r, const struct work *w, size_t n, struct flows *f,
                     struct err *e)
{
    const struct work *queued = NULL;
    for (size_t i = 0; i < n; i++) {
        if (w[i].queued) {
            queued = &w[i];
            continue;
        }
        if (!queued || queued->id != w[i].id || (!w[i].id && queued->step != w[i].step))
            continue;
        const struct interval *q = &r->interval[queued->of], *v = &r->interval[w[i].of];
        if (v->start_ns >= q->start_ns && !inside(v, q)) {
            f->last_id++;
            TRY(add(f, queued->of, FLOW_START, "queue", e));
            TRY(add(f, w[i].of, FLOW_END, "queue", e));
        }
        queued = NULL;
    }
    return 0;
}

static int add_work(const struct record *r, struct flows *f, struct err *e)
{
    struct work *w = mem_zalloc(r->n_interval + 1, sizeof *w);
    size_t n = 0;
    if (!w)
        return NOMEM(e, r->n_interval * sizeof *w, "flows of a trace");
    for (size_t i = 0; i < r->n_interval; i++)
        n += is_work(r, i, &w[n]);
    qsort(w, n, sizeof *w, by_pair);
    const int rc = add_queue(r, w, n, f, e);
    mem_free(w);
    return rc;
}

/* ---- all ------------------------------------------------------------------------------------- */

static int by_interval(const void *a, const void *b)
{
    const struct flow *x = a, *y = b;
    if (x->of != y->of)
        return x->of < y->of ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

int flows_make(const struct record *r, struct flows *out, struct err *e)
{
    struct flows f = {.n = 0};
    int rc;
    TRY_DONE(add_calls(r, &f, e));
    TRY_DONE(add_work(r, &f, e));
    if (f.n)
        qsort(f.flow, f.n, sizeof *f.flow, by_interval);
    *out = f;
done:
    if (rc < 0)
        flows_free(&f);
    return rc;
}

size_t flows_of(const struct flows *f, size_t of)
{
    size_t low = 0, high = f->n;
    while (low < high) {
        const size_t mid = low + (high - low) / 2;
        if (f->flow[mid].of < of)
            low = mid + 1;
        else
            high = mid;
    }
    return low < f->n && f->flow[low].of == of ? low : f->n;
}

void flows_free(struct flows *f)
{
    mem_free(f->flow);
    memset(f, 0, sizeof *f);
}
