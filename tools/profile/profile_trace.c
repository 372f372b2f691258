/*
 * The trace: one process for the program, one for the agents' calls.
 *
 *   thread            content
 *   engine            complete events: steps, phases, parts, ops as they are queued, host work
 *   a device          complete events: ops as they run
 *   copies            complete events: pieces of streamed weights
 *   worker N          complete events: the parts of ops that a thread of the CPU pool computes
 *   calls, lane N     complete events: calls that do not overlap; a case is a nestable async event
 *
 * Perfetto demands that the complete events of a thread nest. Ends that differ by a rounding error
 * are cut. Intervals that overlap by more get another lane, which is a thread of its own.
 *
 * A flow binds to the slice that is written right before it.
 */
#include "profile.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "event_file.h"
#include "event_flow.h"
#include "mem.h"

enum {
    SLACK_NS = 250, /* rounding errors of clocks that are mapped to each other */
    DEPTH = 32,     /* slices around a slice */
    PID_PROGRAM = 1,
    PID_CALLS = 2
};

struct slice {
    int track, lane;
    int64_t start, end;
    size_t of; /* index of the interval */
};

struct writer {
    const struct record *r;
    struct events file;
    struct slice
        *slice; /* the slices of a thread follow each other, an outer one before an inner */
    size_t n_slice;
    int *lanes; /* of each track */
    struct flows flows;
};

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

static int place_slices(struct writer *w, struct err *e)
{
    struct lane *lane = NULL;
    size_t cap = 0;
    int rc = 0;
    for (size_t i = 0; i < w->n_slice; i++) {
        struct slice *s = &w->slice[i];
        const bool nests = w->r->track[s->track].kind != TRACK_CALLS;
        int *n = &w->lanes[s->track];
        if (i && w->slice[i - 1].track != s->track)
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

static int make_slices(struct writer *w, int64_t *origin, struct err *e)
{
    w->slice = mem_zalloc(w->r->n_interval + 1, sizeof *w->slice);
    w->lanes = mem_zalloc((size_t)w->r->n_track + 1, sizeof *w->lanes);
    if (!w->slice || !w->lanes)
        return NOMEM(e, w->r->n_interval * sizeof *w->slice, "slices of a trace");
    for (int i = 0; i < w->r->n_track; i++)
        w->lanes[i] = 1;
    for (size_t i = 0; i < w->r->n_interval; i++) {
        const struct interval *v = &w->r->interval[i];
        w->slice[w->n_slice++] =
            (struct slice){.track = v->track,
                           .start = v->start_ns,
                           .end = v->end_ns < v->start_ns ? v->start_ns : v->end_ns,
                           .of = i};
        *origin = v->start_ns < *origin ? v->start_ns : *origin;
    }
    qsort(w->slice, w->n_slice, sizeof *w->slice, by_start);
    return place_slices(w, e);
}

/* ---- threads --------------------------------------------------------------------------------- */

static int pid_of(const struct writer *w, int track)
{
    return w->r->track[track].kind == TRACK_CALLS ? PID_CALLS : PID_PROGRAM;
}

static int tid_of(const struct writer *w, int track, int lane)
{
    return 1 + track + lane * w->r->n_track;
}

static int name_track(struct writer *w, int track, struct err *e)
{
    const struct track *k = &w->r->track[track];
    const int pid = pid_of(w, track);
    char name[sizeof k->name + 24];
    for (int lane = 0; lane < w->lanes[track]; lane++) {
        const int tid = tid_of(w, track, lane);
        if (k->kind == TRACK_CALLS)
            snprintf(name, sizeof name, "%s, lane %d", k->name, lane + 1);
        else if (lane)
            snprintf(name, sizeof name, "%s (%d)", k->name, lane + 1);
        else
            snprintf(name, sizeof name, "%s", k->name);
        TRY(events_name(&w->file, "thread_name", pid, tid, name, e));
        TRY(events_sort(&w->file, "thread_sort_index", pid, tid,
                        (int)k->kind * 100000 + track * 100 + lane, e));
    }
    return 0;
}

static int name_processes(struct writer *w, const struct profile_facts *f, struct err *e)
{
    struct str name = STR_INIT;
    bool calls = false;
    str_addf(&name, "%s%s%s", *f->program ? f->program : "mas", *f->model ? ": " : "", f->model);
    int rc = str_ok(&name, "a name", e);
    if (rc == 0)
        rc = events_name(&w->file, "process_name", PID_PROGRAM, EVENTS_NO_THREAD, name.s, e);
    str_free(&name);
    TRY(rc);
    TRY(events_sort(&w->file, "process_sort_index", PID_PROGRAM, EVENTS_NO_THREAD, 0, e));
    for (int i = 0; i < w->r->n_track; i++)
        calls = calls || w->r->track[i].kind == TRACK_CALLS;
    if (!calls)
        return 0;
    TRY(events_name(&w->file, "process_name", PID_CALLS, EVENTS_NO_THREAD, "agents", e));
    return events_sort(&w->file, "process_sort_index", PID_CALLS, EVENTS_NO_THREAD, 1, e);
}

static int write_names(struct writer *w, const struct profile_facts *f, struct err *e)
{
    TRY(name_processes(w, f, e));
    for (int i = 0; i < w->r->n_track; i++)
        TRY(name_track(w, i, e));
    return 0;
}

/* ---- slices ---------------------------------------------------------------------------------- */

static const char *category(const struct writer *w, const struct interval *v)
{
    static const char *const names[] = {"step", "phase", "part", "op", "copy", "host", "call"};
    const enum track_kind on = w->r->track[v->track].kind;
    if (on == TRACK_WORKER)
        return "worker";
    const bool work = v->kind == SPAN_OP || v->kind == SPAN_COPY;
    return work && on == TRACK_ENGINE ? "queued" : names[v->kind];
}

static void slice_args(struct events *f, const struct interval *v, bool ran)
{
    const double ns = (double)(v->end_ns - v->start_ns);
    events_arg_text(f, v->kind == SPAN_CALL ? "question" : "case", v->detail);
    events_arg_text(f, "kernel", v->kernel);
    events_arg_text(f, "phase", v->phase);
    if (v->step >= 0)
        events_arg_count(f, "step", v->step);
    if (v->layer >= 0)
        events_arg_count(f, "layer", v->layer);
    if (v->rows > 0)
        events_arg_count(f, "rows", v->rows);
    events_arg_value(f, "bytes", v->bytes);
    events_arg_value(f, "ops", v->ops);
    if (ran && ns > 0) {
        events_arg_value(f, "GB/s", v->bytes / ns);
        events_arg_value(f, "GOP/s", v->ops / ns);
    }
}

static int write_flows(struct writer *w, const struct slice *s, int pid, int tid, struct err *e)
{
    for (size_t i = flows_of(&w->flows, s->of); i < w->flows.n && w->flows.flow[i].of == s->of;
         i++) {
        const struct flow *f = &w->flows.flow[i];
        const char ph[2] = {(char)f->place, 0};
        events_at(&w->file, ph, pid, tid, s->start, f->name, f->name);
        events_id(&w->file, f->id);
        if (f->place == FLOW_END)
            events_member(&w->file, "\"bp\":\"e\""); /* the slice around, not the next one */
        TRY(events_end(&w->file, e));
    }
    return 0;
}

static int write_slice(struct writer *w, const struct slice *s, struct err *e)
{
    const struct interval *v = &w->r->interval[s->of];
    const int pid = pid_of(w, s->track), tid = tid_of(w, s->track, s->lane);
    const enum track_kind on = w->r->track[s->track].kind;
    char name[64];
    snprintf(name, sizeof name, "%.40s %d", v->name, v->layer);
    events_at(&w->file, "X", pid, tid, s->start, category(w, v),
              v->kind == SPAN_PART && v->layer >= 0 ? name : v->name);
    events_duration(&w->file, s->end - s->start);
    slice_args(&w->file, v, (v->kind == SPAN_OP || v->kind == SPAN_COPY) && on != TRACK_ENGINE);
    TRY(events_end(&w->file, e));
    return write_flows(w, s, pid, tid, e);
}

/* Rows of a pass; bytes a second of a copy. */
static int write_counters(struct writer *w, const struct slice *s, struct err *e)
{
    const struct interval *v = &w->r->interval[s->of];
    const double ns = (double)(s->end - s->start);
    if (v->kind == SPAN_PHASE && strcmp(v->name, "draft")) {
        TRY(events_counter(&w->file, PID_PROGRAM, "rows of a step", "rows", s->start,
                           (double)v->rows, e));
        TRY(events_counter(&w->file, PID_PROGRAM, "rows of a step", "rows", s->end, 0, e));
    }
    if (v->kind == SPAN_COPY && w->r->track[s->track].kind == TRACK_COPY && ns > 0) {
        TRY(events_counter(&w->file, PID_PROGRAM, "copies", "GB/s", s->start, v->bytes / ns, e));
        TRY(events_counter(&w->file, PID_PROGRAM, "copies", "GB/s", s->end, 0, e));
    }
    return 0;
}

/* ---- cases ----------------------------------------------------------------------------------- */

static int by_question(const void *a, const void *b)
{
    const struct interval *x = *(const struct interval *const *)a;
    const struct interval *y = *(const struct interval *const *)b;
    const int d = strcmp(x->detail, y->detail);
    return d ? d : (x->start_ns > y->start_ns) - (x->start_ns < y->start_ns);
}

static int write_case(struct writer *w, const struct interval *const *call, size_t n, uint64_t id,
                      struct err *e)
{
    const struct interval *first = call[0];
    const int tid = tid_of(w, first->track, 0);
    int64_t end = first->end_ns;
    for (size_t i = 0; i < n; i++)
        end = call[i]->end_ns > end ? call[i]->end_ns : end;
    events_at(&w->file, "b", PID_CALLS, tid, first->start_ns, "case", first->detail);
    events_id(&w->file, id);
    events_arg_count(&w->file, "calls", (int64_t)n);
    TRY(events_end(&w->file, e));
    events_at(&w->file, "e", PID_CALLS, tid, end, "case", first->detail);
    events_id(&w->file, id);
    return events_end(&w->file, e);
}

/* A case lasts from the start of its first call to the end of its last one. */
static int write_cases(struct writer *w, struct err *e)
{
    const struct interval **call = mem_zalloc(w->r->n_interval + 1, sizeof(struct interval *));
    uint64_t id = 0;
    size_t n = 0, to;
    int rc = 0;
    if (!call)
        return NOMEM(e, w->r->n_interval * sizeof *call, "calls of a trace");
    for (size_t i = 0; i < w->r->n_interval; i++)
        if (w->r->interval[i].kind == SPAN_CALL && *w->r->interval[i].detail)
            call[n++] = &w->r->interval[i];
    qsort(call, n, sizeof *call, by_question);
    for (size_t from = 0; from < n; from = to) {
        for (to = from + 1; to < n && !strcmp(call[from]->detail, call[to]->detail);)
            to++;
        TRY_DONE(write_case(w, call + from, to - from, ++id, e));
    }
done:
    mem_free(call);
    return rc;
}

/* ---- the file -------------------------------------------------------------------------------- */

/* A mark at the end of the timeline when the record was full. */
static int write_dropped(struct writer *w, struct err *e)
{
    char text[64];
    int64_t end = 0;
    if (!w->r->dropped)
        return 0;
    for (size_t i = 0; i < w->n_slice; i++)
        end = w->slice[i].end > end ? w->slice[i].end : end;
    snprintf(text, sizeof text, "%" PRIu64 " intervals more, not recorded", w->r->dropped);
    events_at(&w->file, "i", PID_PROGRAM, EVENTS_NO_THREAD, end, "record", text);
    events_member(&w->file, "\"s\":\"g\"");
    return events_end(&w->file, e);
}

static void write_facts(struct writer *w, const struct profile_facts *f)
{
    char n[32];
    events_other(&w->file);
    events_other_text(&w->file, "program", f->program);
    events_other_text(&w->file, "device", f->device);
    events_other_text(&w->file, "model", f->model);
    events_other_text(&w->file, "date", f->date);
    events_other_text(&w->file, "command", f->command);
    events_other_text(&w->file, "note", f->note);
    snprintf(n, sizeof n, "%zu", w->r->n_interval);
    events_other_json(&w->file, "intervals", n);
    snprintf(n, sizeof n, "%" PRIu64, w->r->dropped);
    events_other_json(&w->file, "dropped", n);
    snprintf(n, sizeof n, "%d", w->r->n_step);
    events_other_json(&w->file, "steps", n);
    events_other_json(&w->file, "device_timed", w->r->device_timed ? "true" : "false");
}

int profile_trace(const struct record *r, const struct profile_facts *f, struct outfile *out,
                  struct err *e)
{
    struct writer w = {.r = r, .file = {.buf = STR_INIT}};
    int64_t origin = 0;
    int rc = 0;
    TRY_DONE(make_slices(&w, &origin, e));
    TRY_DONE(flows_make(r, &w.flows, e));
    events_open(&w.file, out, origin);
    TRY_DONE(write_names(&w, f, e));
    for (size_t i = 0; i < w.n_slice; i++)
        TRY_DONE(write_slice(&w, &w.slice[i], e));
    for (size_t i = 0; i < w.n_slice; i++)
        TRY_DONE(write_counters(&w, &w.slice[i], e));
    TRY_DONE(write_cases(&w, e));
    TRY_DONE(write_dropped(&w, e));
    write_facts(&w, f);
    rc = events_close(&w.file, e);
done:
    events_free(&w.file);
    flows_free(&w.flows);
    mem_free(w.slice);
    mem_free(w.lanes);
    return rc;
}
