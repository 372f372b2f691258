/*
 * The trace: one process for the program, one for the agents' calls.
 *
 *   thread            content
 *   engine            complete events: steps, phases, parts, ops as they are queued, host work
 *   a device          complete events: ops as they run
 *   copies            complete events: pieces of streamed weights
 *   worker N          complete events: from an op's start, the time that the worker spent in parts
 *   calls, lane N     complete events: calls that do not overlap; a case is a nestable async event
 *
 * Perfetto demands that the complete events of a thread nest. Ends that differ by a rounding error
 * are cut. Intervals that overlap by more get another lane, which is a thread of its own.
 *
 * Flows lead from a call to the first and the last step inside its time, and from an op or a copy
 * that is queued to the same one as it runs. A flow binds to the slice that is written before it.
 */
#include "profile.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "str.h"

enum {
    SLACK_NS = 250, /* rounding errors of clocks that are mapped to each other */
    DEPTH = 32,     /* slices around a slice */
    FLUSH = 1 << 16,
    PID_PROGRAM = 1,
    PID_CALLS = 2
};

struct slice {
    int track, lane;
    int64_t start, end;
    size_t of; /* index of the interval */
};

enum flow_place { FLOW_START = 's', FLOW_STEP = 't', FLOW_END = 'f' };

struct flow {  /* one end of an arrow */
    size_t of; /* the interval that it binds to */
    enum flow_place place;
    const char *cat;
    uint64_t id;
};

struct turn { /* a step of the engine */
    int64_t start, delivered;
    size_t of;
};

struct seen { /* an op or copy that is queued or runs */
    int step;
    size_t of;
    bool used;
};

struct trace {
    const struct record *r;
    struct outfile *out;
    struct str buf;
    bool any;       /* an event is written */
    int64_t origin; /* subtracted from all times: none may be negative */
    struct slice *slice;
    size_t n_slice;
    int *lanes; /* of each track */
    struct flow *flow;
    size_t n_flow, cap_flow;
    uint64_t next_id;
};

/* ---- events ---------------------------------------------------------------------------------- */

static int flush(struct trace *t, size_t most, struct err *e)
{
    TRY(str_ok(&t->buf, "a trace", e));
    if (t->buf.len > most) {
        TRY(outfile_put(t->out, t->buf.s, t->buf.len, e));
        str_clear(&t->buf);
    }
    return 0;
}

static void add_string(struct str *b, const char *s)
{
    str_add_json(b, s, strlen(s));
}

/* Microseconds, exact to the nanosecond. */
static void add_us(struct str *b, int64_t ns)
{
    str_addf(b, "%" PRId64 ".%03d", ns / 1000, (int)(ns % 1000));
}

static void event(struct trace *t, const char *ph, int pid, int tid)
{
    str_addf(&t->buf, "%s\n{\"ph\":\"%s\",\"pid\":%d", t->any ? "," : "", ph, pid);
    if (tid)
        str_addf(&t->buf, ",\"tid\":%d", tid);
    t->any = true;
}

static void event_at(struct trace *t, const char *ph, int pid, int tid, int64_t ns)
{
    event(t, ph, pid, tid);
    str_adds(&t->buf, ",\"ts\":");
    add_us(&t->buf, ns - t->origin);
}

static void event_name(struct trace *t, const char *cat, const char *name)
{
    if (cat)
        str_addf(&t->buf, ",\"cat\":\"%s\"", cat);
    str_adds(&t->buf, ",\"name\":");
    add_string(&t->buf, name);
}

static int event_end(struct trace *t, struct err *e)
{
    str_addc(&t->buf, '}');
    return flush(t, FLUSH, e);
}

static int metadata(struct trace *t, const char *what, int pid, int tid, const char *text, int sort,
                    struct err *e)
{
    event(t, "M", pid, tid);
    event_name(t, NULL, what);
    if (text) {
        str_adds(&t->buf, ",\"args\":{\"name\":");
        add_string(&t->buf, text);
    } else {
        str_addf(&t->buf, ",\"args\":{\"sort_index\":%d", sort);
    }
    str_addc(&t->buf, '}');
    return event_end(t, e);
}

static int counter(struct trace *t, const char *name, const char *series, int64_t ns, double value,
                   struct err *e)
{
    event_at(t, "C", PID_PROGRAM, 0, ns);
    event_name(t, NULL, name);
    str_addf(&t->buf, ",\"args\":{\"%s\":%.6g}", series, value);
    return event_end(t, e);
}

/* ---- arguments of a slice -------------------------------------------------------------------- */

struct args {
    struct str *b;
    bool any;
};

static void arg_key(struct args *a, const char *key)
{
    str_addf(a->b, "%s\"%s\":", a->any ? "," : ",\"args\":{", key);
    a->any = true;
}

static void arg_text(struct args *a, const char *key, const char *text)
{
    if (!*text)
        return;
    arg_key(a, key);
    add_string(a->b, text);
}

static void arg_count(struct args *a, const char *key, int64_t n, bool known)
{
    if (!known)
        return;
    arg_key(a, key);
    str_addf(a->b, "%" PRId64, n);
}

static void arg_value(struct args *a, const char *key, double v)
{
    if (!(v > 0) || !isfinite(v))
        return;
    arg_key(a, key);
    str_addf(a->b, "%.9g", v);
}

static void args_end(struct args *a)
{
    if (a->any)
        str_addc(a->b, '}');
}

static void slice_args(struct trace *t, const struct interval *v)
{
    struct args a = {.b = &t->buf};
    const int64_t ns = v->end_ns - v->start_ns;
    const bool runs = v->kind == SPAN_OP || v->kind == SPAN_COPY;
    arg_text(&a, v->kind == SPAN_CALL ? "question" : "case", v->detail);
    arg_text(&a, "kernel", v->kernel);
    arg_text(&a, "phase", v->phase);
    arg_count(&a, "step", v->step, v->step >= 0);
    arg_count(&a, "layer", v->layer, v->layer >= 0);
    arg_count(&a, "rows", v->rows, v->rows > 0);
    arg_value(&a, "bytes", v->bytes);
    arg_value(&a, "ops", v->ops);
    if (runs && ns > 0 && t->r->track[v->track].kind != TRACK_ENGINE) {
        arg_value(&a, "GB/s", v->bytes / (double)ns);
        arg_value(&a, "GOP/s", v->ops / (double)ns);
    }
    args_end(&a);
}

/* ---- threads --------------------------------------------------------------------------------- */

static int pid_of(const struct trace *t, int track)
{
    return t->r->track[track].kind == TRACK_CALLS ? PID_CALLS : PID_PROGRAM;
}

/* Threads of workers whose times are known come after those of the tracks. */
static int tid_of(const struct trace *t, int track, int lane)
{
    return 1 + track + lane * (t->r->n_track + t->r->n_worker);
}

static int worker_track(const struct trace *t, int worker)
{
    for (int i = 0; i < t->r->n_track; i++)
        if (t->r->track[i].kind == TRACK_WORKER && t->r->track[i].number == worker)
            return i;
    return t->r->n_track + worker;
}

static int name_thread(struct trace *t, int pid, int tid, const char *name, int sort, struct err *e)
{
    TRY(metadata(t, "thread_name", pid, tid, name, 0, e));
    return metadata(t, "thread_sort_index", pid, tid, NULL, sort, e);
}

static int name_track(struct trace *t, int track, struct err *e)
{
    const struct track *k = &t->r->track[track];
    char name[sizeof k->name + 24];
    for (int lane = 0; lane < t->lanes[track]; lane++) {
        if (k->kind == TRACK_CALLS)
            snprintf(name, sizeof name, "%s, lane %d", k->name, lane + 1);
        else if (lane)
            snprintf(name, sizeof name, "%s (%d)", k->name, lane + 1);
        else
            snprintf(name, sizeof name, "%s", k->name);
        TRY(name_thread(t, pid_of(t, track), tid_of(t, track, lane), name,
                        (int)k->kind * 10000 + track * 100 + lane, e));
    }
    return 0;
}

static int name_workers(struct trace *t, struct err *e)
{
    char name[32];
    for (int w = 0; w < t->r->n_worker; w++) {
        const int track = worker_track(t, w);
        if (track < t->r->n_track)
            continue; /* has a track of its own */
        snprintf(name, sizeof name, "worker %d", w);
        TRY(name_thread(t, PID_PROGRAM, tid_of(t, track, 0), name, TRACK_WORKER * 10000 + w, e));
    }
    return 0;
}

static int write_names(struct trace *t, const struct profile_facts *f, struct err *e)
{
    struct str name = STR_INIT;
    bool calls = false;
    int rc = 0;
    str_addf(&name, "%s%s%s", *f->program ? f->program : "mas", *f->model ? ": " : "", f->model);
    TRY_DONE(str_ok(&name, "a name", e));
    TRY_DONE(metadata(t, "process_name", PID_PROGRAM, 0, name.s, 0, e));
    TRY_DONE(metadata(t, "process_sort_index", PID_PROGRAM, 0, NULL, 0, e));
    for (int i = 0; i < t->r->n_track; i++)
        calls = calls || t->r->track[i].kind == TRACK_CALLS;
    if (calls) {
        TRY_DONE(metadata(t, "process_name", PID_CALLS, 0, "agents", 0, e));
        TRY_DONE(metadata(t, "process_sort_index", PID_CALLS, 0, NULL, 1, e));
    }
    for (int i = 0; i < t->r->n_track; i++)
        TRY_DONE(name_track(t, i, e));
    TRY_DONE(name_workers(t, e));
done:
    str_free(&name);
    return rc;
}

/* ---- slices that nest ------------------------------------------------------------------------ */

/* By track and start. An outer interval comes first; of two equal ones it is the later. */
static int by_start(const void *a, const void *b)
{
    const struct slice *x = a, *y = b;
    if (x->track != y->track)
        return x->track < y->track ? -1 : 1;
    if (x->start != y->start)
        return x->start < y->start ? -1 : 1;
    if (x->end != y->end)
        return x->end > y->end ? -1 : 1;
    return x->of > y->of ? -1 : 1;
}

struct lane { /* ends of the slices around the moment, outermost first */
    int64_t end[DEPTH];
    int n;
};

/* Puts s into the lane if it nests there; cuts rounding errors. A call never nests in another. */
static bool lane_takes(struct lane *l, struct slice *s, bool nests)
{
    int64_t start = s->start, end = s->end;
    while (l->n) {
        const int64_t around = l->end[l->n - 1];
        if (around <= start) {
            l->n--;
            continue;
        }
        if (!nests)
            return false;
        if (end <= around)
            break;
        if (around - start <= SLACK_NS)
            start = around;
        else if (end - around <= SLACK_NS)
            end = around;
        else
            return false;
    }
    if (l->n == DEPTH)
        return false;
    s->start = start;
    s->end = end < start ? start : end;
    l->end[l->n++] = s->end;
    return true;
}

static int place_slices(struct trace *t, struct err *e)
{
    struct lane *lane = NULL;
    size_t cap = 0;
    int rc = 0;
    for (size_t i = 0; i < t->n_slice; i++) {
        struct slice *s = &t->slice[i];
        const bool nests = t->r->track[s->track].kind != TRACK_CALLS;
        int *n = &t->lanes[s->track];
        if (i && t->slice[i - 1].track != s->track)
            for (size_t k = 0; k < cap; k++)
                lane[k].n = 0;
        for (s->lane = 0; s->lane < *n && (size_t)s->lane < cap; s->lane++)
            if (lane_takes(&lane[s->lane], s, nests))
                break;
        if (s->lane < *n && (size_t)s->lane < cap)
            continue;
        const size_t had = cap;
        TRY_DONE(mem_grow(&lane, &cap, (size_t)s->lane + 1, sizeof *lane, "lanes of a trace", e));
        for (size_t k = had; k < cap; k++)
            lane[k].n = 0;
        (void)lane_takes(&lane[s->lane], s, nests); /* an empty lane takes all */
        *n = s->lane + 1 > *n ? s->lane + 1 : *n;
    }
done:
    mem_free(lane);
    return rc;
}

/* Collects the slices, so that those of a thread follow each other, the outer before the inner. */
static int make_slices(struct trace *t, struct err *e)
{
    t->slice = mem_zalloc(t->r->n_interval + 1, sizeof *t->slice);
    t->lanes = mem_zalloc((size_t)t->r->n_track + 1, sizeof *t->lanes);
    if (!t->slice || !t->lanes)
        return NOMEM(e, t->r->n_interval * sizeof *t->slice, "slices of a trace");
    for (int i = 0; i < t->r->n_track; i++)
        t->lanes[i] = 1;
    for (size_t i = 0; i < t->r->n_interval; i++) {
        const struct interval *v = &t->r->interval[i];
        t->slice[t->n_slice++] =
            (struct slice){.track = v->track,
                           .start = v->start_ns,
                           .end = v->end_ns < v->start_ns ? v->start_ns : v->end_ns,
                           .of = i};
        t->origin = v->start_ns < t->origin ? v->start_ns : t->origin;
    }
    qsort(t->slice, t->n_slice, sizeof *t->slice, by_start);
    return place_slices(t, e);
}

/* ---- flows ----------------------------------------------------------------------------------- */

static int add_flow(struct trace *t, size_t of, enum flow_place place, const char *cat, uint64_t id,
                    struct err *e)
{
    TRY(mem_grow(&t->flow, &t->cap_flow, t->n_flow + 1, sizeof *t->flow, "flows of a trace", e));
    t->flow[t->n_flow++] = (struct flow){of, place, cat, id};
    return 0;
}

static int by_turn(const void *a, const void *b)
{
    const struct turn *x = a, *y = b;
    return (x->start > y->start) - (x->start < y->start);
}

/* Steps in order of time. A step gives results to its calls when it last delivers. */
static struct turn *read_turns(const struct trace *t, size_t *n, struct err *e)
{
    struct turn *turn = mem_zalloc(t->r->n_interval + 1, sizeof *turn);
    int64_t delivered = INT64_MIN;
    *n = 0;
    if (!turn) {
        (void)NOMEM(e, t->r->n_interval * sizeof *turn, "steps of a trace");
        return NULL;
    }
    for (size_t i = 0; i < t->r->n_interval; i++) { /* a step ends after its intervals */
        const struct interval *v = &t->r->interval[i];
        if (v->kind == SPAN_HOST && !strcmp(v->name, "deliver"))
            delivered = v->start_ns;
        if (v->kind != SPAN_STEP)
            continue;
        turn[(*n)++] = (struct turn){
            v->start_ns, delivered >= v->start_ns && delivered <= v->end_ns ? delivered : v->end_ns,
            i};
    }
    qsort(turn, *n, sizeof *turn, by_turn);
    return turn;
}

/* Number of steps that start before `at`, or, with delivered, that deliver at it or before. */
static size_t turns_before(const struct turn *turn, size_t n, int64_t at, bool delivered)
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

static int call_flows(struct trace *t, struct err *e)
{
    size_t n;
    struct turn *turn = read_turns(t, &n, e);
    int rc = turn ? 0 : ERR_NOMEM;
    for (size_t i = 0; turn && i < t->r->n_interval; i++) {
        const struct interval *v = &t->r->interval[i];
        if (v->kind != SPAN_CALL)
            continue;
        const size_t first = turns_before(turn, n, v->start_ns, false);
        const size_t end = turns_before(turn, n, v->end_ns, true);
        if (first >= end)
            continue; /* no step of the record computed it */
        const uint64_t id = t->next_id++;
        TRY_DONE(add_flow(t, i, FLOW_START, "call", id, e));
        if (first + 1 < end)
            TRY_DONE(add_flow(t, turn[first].of, FLOW_STEP, "call", id, e));
        TRY_DONE(add_flow(t, turn[end - 1].of, FLOW_END, "call", id, e));
    }
done:
    mem_free(turn);
    return rc;
}

/* Index of the slice's interval if it is queued work (or a recorded pass) or work that runs. */
static bool is_seen(const struct trace *t, size_t of, bool queued)
{
    const struct interval *v = &t->r->interval[of];
    const enum track_kind on = t->r->track[v->track].kind;
    const bool work = v->kind == SPAN_OP || v->kind == SPAN_COPY;
    if (v->step < 0)
        return false;
    if (!queued)
        return work && (on == TRACK_DEVICE || on == TRACK_COPY);
    return on == TRACK_ENGINE && (work || (v->kind == SPAN_HOST && !strcmp(v->name, "replay")));
}

static int by_order(const void *a, const void *b)
{
    const struct seen *x = a, *y = b;
    if (x->step != y->step)
        return x->step < y->step ? -1 : 1;
    return (x->of > y->of) - (x->of < y->of);
}

/* In order of steps, then of slices, which are in order of time on each track. of = slice. */
static struct seen *read_seen(const struct trace *t, bool queued, size_t *n, struct err *e)
{
    struct seen *seen = mem_zalloc(t->n_slice + 1, sizeof *seen);
    *n = 0;
    if (!seen) {
        (void)NOMEM(e, t->n_slice * sizeof *seen, "flows of a trace");
        return NULL;
    }
    for (size_t i = 0; i < t->n_slice; i++)
        if (is_seen(t, t->slice[i].of, queued))
            seen[(*n)++] = (struct seen){t->r->interval[t->slice[i].of].step, i, false};
    qsort(seen, *n, sizeof *seen, by_order);
    return seen;
}

static bool same_text(const char *a, const char *b)
{
    return a == b || !strcmp(a, b);
}

static bool same_work(const struct interval *a, const struct interval *b)
{
    return a->kind == b->kind && a->layer == b->layer && same_text(a->name, b->name) &&
           same_text(a->detail, b->detail);
}

/* An arrow from queued work to running work, unless the work ran while it was called. */
static int join(struct trace *t, struct seen *queued, const struct seen *runs, struct err *e)
{
    const struct slice *q = &t->slice[queued->of], *r = &t->slice[runs->of];
    queued->used = true;
    if (r->start < q->start || (r->end <= q->end && r->start >= q->start))
        return 0;
    const uint64_t id = t->next_id++;
    TRY(add_flow(t, q->of, FLOW_START, "queue", id, e));
    return add_flow(t, r->of, FLOW_END, "queue", id, e);
}

/* Work of a step: each piece that runs belongs to the first queued one like it. The first that a
 * recorded pass runs belongs to its replay. */
static int step_flows(struct trace *t, struct seen *queued, size_t n_queued,
                      const struct seen *runs, size_t n_runs, struct err *e)
{
    for (size_t i = 0; i < n_runs; i++) {
        const struct interval *r = &t->r->interval[t->slice[runs[i].of].of];
        size_t k = 0;
        while (k < n_queued &&
               (queued[k].used || !same_work(&t->r->interval[t->slice[queued[k].of].of], r)))
            k++;
        if (k == n_queued)
            for (k = 0; k < n_queued; k++)
                if (!queued[k].used &&
                    t->r->interval[t->slice[queued[k].of].of].kind == SPAN_HOST &&
                    t->slice[queued[k].of].start <= r->start_ns)
                    break;
        if (k < n_queued)
            TRY(join(t, &queued[k], &runs[i], e));
    }
    return 0;
}

static int queue_flows(struct trace *t, struct err *e)
{
    size_t n_queued = 0, n_runs = 0, q = 0, r = 0;
    struct seen *queued = read_seen(t, true, &n_queued, e);
    struct seen *runs = queued ? read_seen(t, false, &n_runs, e) : NULL;
    int rc = runs ? 0 : ERR_NOMEM;
    while (runs && q < n_queued && r < n_runs) {
        const int step = queued[q].step < runs[r].step ? queued[q].step : runs[r].step;
        const size_t q0 = q, r0 = r;
        while (q < n_queued && queued[q].step == step)
            q++;
        while (r < n_runs && runs[r].step == step)
            r++;
        TRY_DONE(step_flows(t, queued + q0, q - q0, runs + r0, r - r0, e));
    }
done:
    mem_free(queued);
    mem_free(runs);
    return rc;
}

static int by_interval(const void *a, const void *b)
{
    const struct flow *x = a, *y = b;
    if (x->of != y->of)
        return x->of < y->of ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

static int make_flows(struct trace *t, struct err *e)
{
    t->next_id = 1;
    TRY(call_flows(t, e));
    TRY(queue_flows(t, e));
    if (t->n_flow)
        qsort(t->flow, t->n_flow, sizeof *t->flow, by_interval);
    return 0;
}

/* Writes the flows of interval `of`, which starts at ns on the thread. */
static int write_flows(struct trace *t, size_t of, int pid, int tid, int64_t ns, struct err *e)
{
    size_t low = 0, high = t->n_flow;
    while (low < high) {
        const size_t mid = low + (high - low) / 2;
        if (t->flow[mid].of < of)
            low = mid + 1;
        else
            high = mid;
    }
    for (; low < t->n_flow && t->flow[low].of == of; low++) {
        const struct flow *f = &t->flow[low];
        const char ph[2] = {(char)f->place, 0};
        event_at(t, ph, pid, tid, ns);
        event_name(t, f->cat, f->cat);
        str_addf(&t->buf, ",\"id\":%" PRIu64 "%s", f->id,
                 f->place == FLOW_END ? ",\"bp\":\"e\"" : "");
        TRY(event_end(t, e));
    }
    return 0;
}

/* ---- content --------------------------------------------------------------------------------- */

static const char *category(const struct trace *t, const struct interval *v)
{
    static const char *const names[] = {"step", "phase", "part", "op", "copy", "host", "call"};
    const bool work = v->kind == SPAN_OP || v->kind == SPAN_COPY;
    return work && t->r->track[v->track].kind == TRACK_ENGINE ? "queued" : names[v->kind];
}

static void slice_name(struct trace *t, const struct interval *v)
{
    char name[64];
    if (v->kind != SPAN_PART || v->layer < 0) {
        event_name(t, category(t, v), v->name);
        return;
    }
    snprintf(name, sizeof name, "%.40s %d", v->name, v->layer);
    event_name(t, category(t, v), name);
}

static int write_slice(struct trace *t, const struct slice *s, struct err *e)
{
    const struct interval *v = &t->r->interval[s->of];
    const int pid = pid_of(t, s->track), tid = tid_of(t, s->track, s->lane);
    event_at(t, "X", pid, tid, s->start);
    str_adds(&t->buf, ",\"dur\":");
    add_us(&t->buf, s->end - s->start);
    slice_name(t, v);
    slice_args(t, v);
    TRY(event_end(t, e));
    return write_flows(t, s->of, pid, tid, s->start, e);
}

/* The workers' times of an op, unless the workers have slices of their own. */
static int write_busy(struct trace *t, const struct slice *s, struct err *e)
{
    const struct interval *v = &t->r->interval[s->of];
    if (v->kind != SPAN_OP || v->busy == RECORD_UNWATCHED ||
        t->r->track[v->track].kind != TRACK_DEVICE)
        return 0;
    for (int w = 0; w < t->r->n_worker; w++) {
        const int64_t busy = t->r->busy_ns[v->busy + (size_t)w], most = s->end - s->start;
        struct args a = {.b = &t->buf};
        if (busy <= 0)
            continue;
        event_at(t, "X", PID_PROGRAM, tid_of(t, worker_track(t, w), 0), s->start);
        str_adds(&t->buf, ",\"dur\":");
        add_us(&t->buf, busy < most ? busy : most);
        event_name(t, "worker", v->name);
        arg_text(&a, "case", v->detail);
        arg_count(&a, "layer", v->layer, v->layer >= 0);
        args_end(&a);
        TRY(event_end(t, e));
    }
    return 0;
}

static int write_slices(struct trace *t, struct err *e)
{
    bool own = false;
    for (size_t i = 0; i < t->n_slice; i++)
        own = own || t->r->track[t->slice[i].track].kind == TRACK_WORKER;
    for (size_t i = 0; i < t->n_slice; i++) {
        TRY(write_slice(t, &t->slice[i], e));
        if (!own)
            TRY(write_busy(t, &t->slice[i], e));
    }
    return 0;
}

/* Rows of a pass; bytes a second of a copy. */
static int write_counters(struct trace *t, struct err *e)
{
    for (size_t i = 0; i < t->n_slice; i++) {
        const struct slice *s = &t->slice[i];
        const struct interval *v = &t->r->interval[s->of];
        if (v->kind == SPAN_PHASE && strcmp(v->name, "draft")) {
            TRY(counter(t, "rows of a step", "rows", s->start, (double)v->rows, e));
            TRY(counter(t, "rows of a step", "rows", s->end, 0, e));
        }
        if (v->kind == SPAN_COPY && t->r->track[s->track].kind == TRACK_COPY && s->end > s->start) {
            TRY(counter(t, "copies", "GB/s", s->start, v->bytes / (double)(s->end - s->start), e));
            TRY(counter(t, "copies", "GB/s", s->end, 0, e));
        }
    }
    return 0;
}

static int by_question(const void *a, const void *b)
{
    const struct interval *x = *(const struct interval *const *)a;
    const struct interval *y = *(const struct interval *const *)b;
    const int d = strcmp(x->detail, y->detail);
    return d ? d : (x->start_ns > y->start_ns) - (x->start_ns < y->start_ns);
}

static int write_case(struct trace *t, const struct interval *const *call, size_t n, uint64_t id,
                      struct err *e)
{
    int64_t end = call[0]->end_ns;
    for (size_t i = 0; i < n; i++)
        end = call[i]->end_ns > end ? call[i]->end_ns : end;
    event_at(t, "b", PID_CALLS, 0, call[0]->start_ns);
    event_name(t, "case", call[0]->detail);
    str_addf(&t->buf, ",\"id\":%" PRIu64 ",\"args\":{\"calls\":%zu}", id, n);
    TRY(event_end(t, e));
    event_at(t, "e", PID_CALLS, 0, end);
    event_name(t, "case", call[0]->detail);
    str_addf(&t->buf, ",\"id\":%" PRIu64, id);
    return event_end(t, e);
}

/* A case lasts from the start of its first call to the end of its last one. */
static int write_cases(struct trace *t, struct err *e)
{
    const struct interval **call = mem_zalloc(t->r->n_interval + 1, sizeof(struct interval *));
    size_t n = 0, to;
    int rc = 0;
    if (!call)
        return NOMEM(e, t->r->n_interval * sizeof *call, "calls of a trace");
    for (size_t i = 0; i < t->r->n_interval; i++)
        if (t->r->interval[i].kind == SPAN_CALL && *t->r->interval[i].detail)
            call[n++] = &t->r->interval[i];
    qsort(call, n, sizeof *call, by_question);
    for (size_t from = 0; from < n; from = to) {
        for (to = from + 1; to < n && !strcmp(call[from]->detail, call[to]->detail);)
            to++;
        TRY_DONE(write_case(t, call + from, to - from, t->next_id++, e));
    }
done:
    mem_free(call);
    return rc;
}

/* A mark at the end of the timeline when the record was full. */
static int write_dropped(struct trace *t, struct err *e)
{
    char text[64];
    int64_t end = 0;
    if (!t->r->dropped)
        return 0;
    for (size_t i = 0; i < t->n_slice; i++)
        end = t->slice[i].end > end ? t->slice[i].end : end;
    snprintf(text, sizeof text, "%" PRIu64 " intervals more, not recorded", t->r->dropped);
    event_at(t, "i", PID_PROGRAM, 1, end);
    event_name(t, "record", text);
    str_adds(&t->buf, ",\"s\":\"g\"");
    return event_end(t, e);
}

static void write_facts(struct trace *t, const struct profile_facts *f)
{
    const struct {
        const char *key, *text;
    } fact[] = {{"program", f->program}, {"device", f->device},   {"model", f->model},
                {"date", f->date},       {"command", f->command}, {"note", f->note}};
    str_adds(&t->buf, "\n],\n\"displayTimeUnit\":\"ns\",\n\"otherData\":{");
    for (size_t i = 0; i < sizeof fact / sizeof fact[0]; i++) {
        str_addf(&t->buf, "\"%s\":", fact[i].key);
        add_string(&t->buf, fact[i].text);
        str_addc(&t->buf, ',');
    }
    str_addf(&t->buf,
             "\"intervals\":%zu,\"dropped\":%" PRIu64 ",\"steps\":%d,\"device_timed\":%s}}\n",
             t->r->n_interval, t->r->dropped, t->r->n_step, t->r->device_timed ? "true" : "false");
}

int profile_trace(const struct record *r, const struct profile_facts *f, struct outfile *out,
                  struct err *e)
{
    struct trace t = {.r = r, .out = out, .buf = STR_INIT};
    int rc = 0;
    TRY_DONE(make_slices(&t, e));
    TRY_DONE(make_flows(&t, e));
    str_adds(&t.buf, "{\"traceEvents\":[");
    TRY_DONE(write_names(&t, f, e));
    TRY_DONE(write_slices(&t, e));
    TRY_DONE(write_counters(&t, e));
    TRY_DONE(write_cases(&t, e));
    TRY_DONE(write_dropped(&t, e));
    write_facts(&t, f);
    TRY_DONE(flush(&t, 0, e));
done:
    str_free(&t.buf);
    mem_free(t.slice);
    mem_free(t.lanes);
    mem_free(t.flow);
    return rc;
}
