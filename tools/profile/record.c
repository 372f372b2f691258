#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "pool.h"
#include "record_part.h"

static struct recorder *self(struct spans *s)
{
    return (struct recorder *)s;
}

/* ---- keeping --------------------------------------------------------------------------------- */

void record_fail(struct recorder *r, int rc, const struct err *why)
{
    if (rc >= 0 || r->err.code)
        return;
    r->err = *why;
    r->err.code = rc;
}

bool record_keep(struct recorder *r, const struct interval *v)
{
    struct err why;
    if (r->n_interval == r->most) {
        r->dropped++;
        return false;
    }
    const int rc = mem_grow(&r->interval, &r->cap_interval, r->n_interval + 1, sizeof *r->interval,
                            "a timeline", &why);
    record_fail(r, rc, &why);
    if (rc < 0)
        return false;
    struct interval *kept = &r->interval[r->n_interval++];
    *kept = *v;
    kept->start_ns = v->start_ns > r->begin_ns ? v->start_ns - r->begin_ns : 0;
    kept->end_ns = v->end_ns - r->begin_ns;
    kept->end_ns = kept->end_ns > kept->start_ns ? kept->end_ns : kept->start_ns;
    return true;
}

int record_track(struct recorder *r, enum track_kind kind, int number, const char *name)
{
    struct err why;
    if (r->n_track == RECORD_TRACKS) {
        record_fail(r, err_set(&why, ERR_BUG, "a timeline of more than %d tracks", RECORD_TRACKS),
                    &why);
        return 0;
    }
    struct track *t = &r->track[r->n_track];
    *t = (struct track){.kind = kind, .number = number};
    snprintf(t->name, sizeof t->name, "%s", name);
    return r->n_track++;
}

static size_t text_place(const struct recorder *r, const char *text)
{
    uint64_t h = 14695981039346656037u; /* FNV-1a */
    for (const char *p = text; *p; p++)
        h = (h ^ (unsigned char)*p) * 1099511628211u;
    size_t i = h & (r->cap_known - 1);
    while (r->known[i] && strcmp(r->known[i], text))
        i = (i + 1) & (r->cap_known - 1);
    return i;
}

static int text_room(struct recorder *r, struct err *e)
{
    const size_t old = r->cap_known, cap = old ? 2 * old : 256;
    const char **had = r->known;
    if (2 * r->n_known < old)
        return 0;
    const char **now = mem_zalloc(cap, sizeof *now);
    if (!now)
        return NOMEM(e, cap * sizeof *now, "the texts of a timeline");
    r->known = now;
    r->cap_known = cap;
    for (size_t i = 0; i < old; i++)
        if (had[i])
            now[text_place(r, had[i])] = had[i];
    mem_free(had);
    return 0;
}

static int text_find(struct recorder *r, const char *text, const char **out, struct err *e)
{
    TRY(text_room(r, e));
    const char **at = &r->known[text_place(r, text)];
    if (!*at) {
        *at = arena_strndup(&r->text, text, strlen(text));
        if (!*at)
            return NOMEM(e, strlen(text) + 1, "a text of a timeline");
        r->n_known++;
    }
    *out = *at;
    return 0;
}

/* The same text in the record's memory. */
static const char *text_keep(struct recorder *r, const char *text)
{
    struct err why;
    const char *kept = "";
    if (*text)
        record_fail(r, text_find(r, text, &kept, &why), &why);
    return kept;
}

/* ---- threads --------------------------------------------------------------------------------- */

static struct record_thread *thread_find(struct recorder *r)
{
    for (int i = 0; i < r->n_thread; i++)
        if (pthread_equal(r->thread[i].self, pthread_self()))
            return &r->thread[i];
    return NULL;
}

/* The calling thread. NULL: there are too many. */
static struct record_thread *thread_of(struct recorder *r, const char *name)
{
    struct err why;
    struct record_thread *t = thread_find(r);
    if (t && (t->depth || !strcmp(t->name, name) || !*name))
        return t;
    if (!t && r->n_thread == RECORD_THREADS) {
        record_fail(r, err_set(&why, ERR_BUG, "a timeline of more than %d threads", RECORD_THREADS),
                    &why);
        return NULL;
    }
    t = t ? t : &r->thread[r->n_thread++];
    *t = (struct record_thread){
        .self = pthread_self(), .name = *name ? name : "thread", .step = -1, .phase = ""};
    t->track = record_track(r, TRACK_ENGINE, r->n_thread - 1, t->name);
    return t;
}

static bool all_idle(const struct recorder *r)
{
    for (int i = 0; i < r->n_thread; i++)
        if (r->thread[i].depth)
            return false;
    return true;
}

/* A request ends inside a step, so the caller may be here before the step has ended. */
static void wait_idle(struct recorder *r)
{
    while (!r->err.code && !all_idle(r))
        pthread_cond_wait(&r->idle, &r->lock);
}

static void on_thread(struct spans *s, const char *name)
{
    struct recorder *r = self(s);
    pthread_mutex_lock(&r->lock);
    (void)thread_of(r, name);
    pthread_mutex_unlock(&r->lock);
}

/* ---- workers --------------------------------------------------------------------------------- */

static bool has_workers(const struct ops *ops)
{
    return ops->watch && ops->workers;
}

/* Watches the first pool, and later ones of the same size. */
static void workers_watch(struct recorder *r, struct ops *ops)
{
    char name[32];
    const int n = ops->workers(ops, NULL, 0);
    if (n > RECORD_WORKERS || (r->n_worker && n != r->n_worker))
        return;
    for (int w = r->n_worker; w < n; w++) {
        snprintf(name, sizeof name, "worker %d", w);
        const int track = record_track(r, TRACK_WORKER, w, name);
        r->worker = w ? r->worker : track;
    }
    r->n_worker = n;
    r->pool = ops;
    ops->watch(ops, true);
}

/* Keeps the times of the workers of the op v; returns the index of the first. */
static size_t workers_keep(struct recorder *r, const struct interval *v)
{
    struct err why;
    struct pool_time t[RECORD_WORKERS];
    const size_t n = (size_t)r->n_worker, first = r->n_busy;
    (void)r->pool->workers(r->pool, t, RECORD_WORKERS);
    if (r->n_interval == r->most)
        return RECORD_UNWATCHED;
    const int rc = mem_grow(&r->busy_ns, &r->cap_busy, r->n_busy + n, sizeof *r->busy_ns,
                            "times of workers", &why);
    record_fail(r, rc, &why);
    if (rc < 0)
        return RECORD_UNWATCHED;
    for (size_t w = 0; w < n; w++) {
        r->busy_ns[r->n_busy++] = t[w].busy_ns;
        struct interval part = *v;
        part.track = r->worker + (int)w;
        part.start_ns = t[w].begin_ns;
        part.end_ns = t[w].end_ns;
        part.bytes = part.ops = 0;
        part.rows = part.before_ns = part.after_ns = 0;
        part.id = 0;
        if (t[w].begin_ns)
            (void)record_keep(r, &part);
    }
    return first;
}

/* ---- spans ----------------------------------------------------------------------------------- */

static bool is_timed(const struct span *s)
{
    return (s->kind == SPAN_OP || s->kind == SPAN_COPY) && device_timers(s->dev);
}

static void begin_timed(struct recorder *r, struct record_frame *f, const struct span *s)
{
    struct record_device *d = device_of(r, s->dev);
    if (!d)
        return;
    device_begin(r, d);
    r->device_timed = true;
    f->from = device_time(r, d, s->stream);
}

static void begin_op(struct recorder *r, struct record_frame *f, const struct span *s)
{
    f->id = ++r->n_op;
    if (is_timed(s)) {
        begin_timed(r, f, s);
        return;
    }
    if (s->kind != SPAN_OP || !has_workers(s->on))
        return;
    if (!r->pool)
        workers_watch(r, s->on);
    if (r->pool == s->on)
        (void)s->on->workers(s->on, NULL, 0); /* forgets work outside of ops */
}

static void begin(struct recorder *r, struct record_thread *t, const struct span *s)
{
    struct err why;
    if (t->depth == RECORD_DEPTH) {
        record_fail(r,
                    err_set(&why, ERR_BUG, "%s: more than %d spans are inside one another", s->name,
                            RECORD_DEPTH),
                    &why);
        return;
    }
    struct record_frame *f = &t->frame[t->depth++];
    *f = (struct record_frame){.start_ns = 0};
    if (r->err.code)
        return;
    if (s->kind == SPAN_STEP)
        t->step = r->n_step++;
    else if (s->kind == SPAN_PHASE)
        t->phase = s->name;
    else if (s->kind == SPAN_OP || s->kind == SPAN_COPY)
        begin_op(r, f, s);
    else if (s->kind == SPAN_HOST && !strcmp(s->name, "replay")) /* it overwrites times */
        for (int i = 0; i < r->n_device; i++)
            if (device_played(&r->device[i]))
                device_read(r, &r->device[i], false);
}

static void on_begin(struct spans *s, const struct span *span)
{
    struct recorder *r = self(s);
    const int64_t enter = span->told_ns ? span->told_ns : clock_ns();
    pthread_mutex_lock(&r->lock);
    r->begin_ns = r->begin_ns ? r->begin_ns : enter;
    struct record_thread *t = thread_of(r, "");
    if (t)
        begin(r, t, span);
    if (t && t->depth && !r->err.code) {
        struct record_frame *f = &t->frame[t->depth - 1];
        f->start_ns = clock_ns();
        f->before_ns = f->start_ns - enter;
    }
    pthread_mutex_unlock(&r->lock);
}

static const char *kernel_of(const struct span *s)
{
    struct ops *ops = s->on;
    if (s->kind != SPAN_OP)
        return "";
    const int i = ops->variant_taken ? ops->variant_taken(ops, (enum op)s->op) : -1;
    return i >= 0 ? ops->variant_name(ops, (enum op)s->op, i) : ops->isa ? ops->isa : "";
}

/* A track of a device; GPUs after the first one have their number in its name. */
static int device_track(struct recorder *r, const struct record_device *d, enum track_kind kind)
{
    const char *name = kind == TRACK_COPY ? "copies" : d->dev->name;
    char text[sizeof r->track->name];
    if (d->dev->ordinal)
        snprintf(text, sizeof text, "GPU %d: %.60s", d->dev->ordinal, name);
    return record_track(r, kind, (int)(d - r->device), d->dev->ordinal ? text : name);
}

/* An op or copy of a device with timers. */
static void end_timed(struct recorder *r, const struct record_frame *f, const struct span *s,
                      const struct interval *v)
{
    struct record_device *d = device_of(r, s->dev);
    struct timing t = {.what = *v, .from = f->from};
    t.to = d && f->from ? device_time(r, d, s->stream) : NULL;
    if (!t.to) {
        r->dropped++;
        if (d && f->from)
            device_untime(r, d, f->from);
        return;
    }
    int *track = s->kind == SPAN_COPY ? &d->copies : &d->track;
    if (*track < 0)
        *track = device_track(r, d, s->kind == SPAN_COPY ? TRACK_COPY : TRACK_DEVICE);
    t.what.track = *track;
    t.what.before_ns = t.what.after_ns = 0;
    device_queue(r, d, &t);
}

/* An op that ran while it was called. */
static void end_called(struct recorder *r, const struct span *s, const struct interval *v)
{
    struct record_device *d = device_of(r, s->dev);
    struct interval ran = *v;
    if (!d)
        return;
    if (d->track < 0)
        d->track = device_track(r, d, TRACK_DEVICE);
    ran.track = d->track;
    ran.before_ns = ran.after_ns = 0;
    if (r->pool == s->on)
        ran.busy = workers_keep(r, &ran);
    (void)record_keep(r, &ran);
}

static void end_step(struct recorder *r, struct record_thread *t)
{
    t->step = -1;
    for (int i = 0; i < r->n_device; i++)
        if (device_waiting(&r->device[i]))
            device_read(r, &r->device[i], false);
}

/* Returns the index of the interval that was kept, or SIZE_MAX. */
static size_t end(struct recorder *r, struct record_thread *t, const struct span *s, int64_t now)
{
    const struct record_frame *f = &t->frame[--t->depth];
    const struct interval v = {.kind = s->kind,
                               .name = s->name,
                               .detail = text_keep(r, s->detail),
                               .phase = t->phase,
                               .kernel = kernel_of(s),
                               .track = t->track,
                               .step = t->step,
                               .layer = s->layer,
                               .rows = s->rows,
                               .bytes = s->bytes,
                               .ops = s->ops,
                               .start_ns = f->start_ns,
                               .end_ns = now,
                               .before_ns = f->before_ns,
                               .id = f->id,
                               .busy = RECORD_UNWATCHED};
    if (is_timed(s))
        end_timed(r, f, s, &v);
    else if (s->kind == SPAN_OP)
        end_called(r, s, &v);
    const size_t at = record_keep(r, &v) ? r->n_interval - 1 : SIZE_MAX;
    if (s->kind == SPAN_STEP)
        end_step(r, t);
    else if (s->kind == SPAN_PHASE)
        t->phase = "";
    return at;
}

/* After an error. */
static void end_nothing(struct recorder *r, struct record_thread *t, const struct span *s)
{
    const struct record_frame *f = &t->frame[--t->depth];
    struct record_device *d = f->from ? device_of(r, s->dev) : NULL;
    if (d)
        device_untime(r, d, f->from);
}

static void on_end(struct spans *s, const struct span *span)
{
    struct recorder *r = self(s);
    const int64_t now = clock_ns();
    size_t at = SIZE_MAX;
    pthread_mutex_lock(&r->lock);
    struct record_thread *t = thread_find(r);
    if (t && t->depth && r->err.code)
        end_nothing(r, t, span);
    else if (t && t->depth)
        at = end(r, t, span, now);
    if (r->err.code || all_idle(r))
        pthread_cond_broadcast(&r->idle);
    if (at != SIZE_MAX)
        r->interval[at].after_ns = clock_ns() - now;
    pthread_mutex_unlock(&r->lock);
}

/* ---- calls and recordings -------------------------------------------------------------------- */

static void on_start(struct spans *s, uint64_t id, const struct span *span)
{
    struct recorder *r = self(s);
    struct err why;
    const int64_t now = clock_ns();
    pthread_mutex_lock(&r->lock);
    r->begin_ns = r->begin_ns ? r->begin_ns : now;
    if (r->calls < 0)
        r->calls = record_track(r, TRACK_CALLS, 0, "calls");
    const int rc = r->err.code ? r->err.code
                               : mem_grow(&r->call, &r->cap_call, r->n_call + 1, sizeof *r->call,
                                          "calls of a timeline", &why);
    record_fail(r, rc, &why);
    if (rc == 0)
        r->call[r->n_call++] = (struct record_call){id,
                                                    {.kind = SPAN_CALL,
                                                     .name = span->name,
                                                     .detail = text_keep(r, span->detail),
                                                     .phase = "",
                                                     .kernel = "",
                                                     .track = r->calls,
                                                     .step = -1,
                                                     .layer = -1,
                                                     .rows = span->rows,
                                                     .start_ns = now,
                                                     .id = id,
                                                     .busy = RECORD_UNWATCHED}};
    pthread_mutex_unlock(&r->lock);
}

static void on_finish(struct spans *s, uint64_t id)
{
    struct recorder *r = self(s);
    const int64_t now = clock_ns();
    pthread_mutex_lock(&r->lock);
    for (size_t i = 0; i < r->n_call; i++)
        if (r->call[i].id == id) {
            struct interval v = r->call[i].what;
            r->call[i] = r->call[--r->n_call];
            v.end_ns = now;
            (void)record_keep(r, &v);
            break;
        }
    pthread_mutex_unlock(&r->lock);
}

static void on_record(struct spans *s, struct ops *ops, uint64_t key)
{
    struct recorder *r = self(s);
    pthread_mutex_lock(&r->lock);
    struct record_device *d =
        r->err.code || !device_timers(ops->dev) ? NULL : device_of(r, ops->dev);
    if (d)
        device_record(r, d, key);
    pthread_mutex_unlock(&r->lock);
}

static void on_replay(struct spans *s, struct ops *ops, uint64_t key)
{
    struct recorder *r = self(s);
    pthread_mutex_lock(&r->lock);
    struct record_device *d =
        r->err.code || !device_timers(ops->dev) ? NULL : device_of(r, ops->dev);
    const struct record_thread *t = thread_find(r);
    if (d && t)
        device_replay(r, d, key, t->step, t->phase);
    pthread_mutex_unlock(&r->lock);
}

static void on_closing(struct spans *s, struct device *dev)
{
    struct recorder *r = self(s);
    pthread_mutex_lock(&r->lock);
    if (r->pool && r->pool->dev == dev) {
        r->pool->watch(r->pool, false);
        r->pool = NULL;
    }
    for (int i = 0; i < r->n_device; i++)
        if (r->device[i].dev == dev) {
            if (device_waiting(&r->device[i]))
                device_read(r, &r->device[i], true);
            device_drop(&r->device[i]);
            r->device[i] = r->device[--r->n_device];
            break;
        }
    pthread_mutex_unlock(&r->lock);
}

/* ---- the record ------------------------------------------------------------------------------ */

int recorder_open(size_t most, struct recorder **out, struct err *e)
{
    struct recorder *r = mem_zalloc(1, sizeof *r);
    if (!r)
        return NOMEM(e, sizeof *r, "a timeline");
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->idle, NULL);
    r->most = most;
    r->calls = -1;
    r->spans = (struct spans){.thread = on_thread,
                              .begin = on_begin,
                              .end = on_end,
                              .start = on_start,
                              .finish = on_finish,
                              .record = on_record,
                              .replay = on_replay,
                              .closing = on_closing};
    *out = r;
    return 0;
}

void recorder_close(struct recorder *r)
{
    if (!r)
        return;
    for (int i = 0; i < r->n_device; i++) /* devices that did not report their end */
        device_drop(&r->device[i]);
    pthread_cond_destroy(&r->idle);
    pthread_mutex_destroy(&r->lock);
    arena_free(&r->text);
    mem_free(r->known);
    mem_free(r->interval);
    mem_free(r->busy_ns);
    mem_free(r->call);
    mem_free(r);
}

struct spans *recorder_spans(struct recorder *r)
{
    return &r->spans;
}

/* Waits for the end of the step and reads all times. */
static void settle(struct recorder *r)
{
    wait_idle(r);
    for (int i = 0; i < r->n_device; i++)
        if (device_waiting(&r->device[i]))
            device_read(r, &r->device[i], true);
}

void recorder_clear(struct recorder *r)
{
    pthread_mutex_lock(&r->lock);
    settle(r);
    r->n_interval = r->n_busy = 0;
    r->n_step = 0;
    r->dropped = 0;
    r->begin_ns = 0;
    pthread_mutex_unlock(&r->lock);
}

/* By end. A span comes after those inside it. */
static int by_end(const void *a, const void *b)
{
    const struct interval *x = a, *y = b;
    if (x->end_ns != y->end_ns)
        return x->end_ns < y->end_ns ? -1 : 1;
    if (x->start_ns != y->start_ns)
        return x->start_ns > y->start_ns ? -1 : 1;
    if (x->kind != y->kind)
        return x->kind > y->kind ? -1 : 1;
    return (x->track > y->track) - (x->track < y->track);
}

int recorder_read(struct recorder *r, struct record *out, struct err *e)
{
    int rc = 0;
    pthread_mutex_lock(&r->lock);
    settle(r);
    if (r->err.code) {
        *e = r->err;
        rc = r->err.code;
    } else {
        if (r->n_interval)
            qsort(r->interval, r->n_interval, sizeof *r->interval, by_end);
        *out = (struct record){.begin_ns = r->begin_ns,
                               .track = r->track,
                               .n_track = r->n_track,
                               .interval = r->interval,
                               .n_interval = r->n_interval,
                               .busy_ns = r->busy_ns,
                               .n_worker = r->n_worker,
                               .n_step = r->n_step,
                               .dropped = r->dropped,
                               .device_timed = r->device_timed};
    }
    pthread_mutex_unlock(&r->lock);
    return rc;
}
