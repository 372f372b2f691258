#include <string.h>

#include "clock.h"
#include "record_part.h"

enum {
    MARK_TRIES = 4,       /* readings of the two clocks at a mark */
    MARK_NEAR_NS = 50000, /* a reading this short is good enough */
    ROUNDING_NS = 2000,
};

bool device_timers(const struct device *dev)
{
    return dev && dev->api->timer_open && dev->api->elapsed;
}

struct record_device *device_of(struct recorder *r, struct device *dev)
{
    for (int i = 0; i < r->n_device; i++)
        if (r->device[i].dev == dev)
            return &r->device[i];
    if (r->n_device == RECORD_DEVICES) {
        struct err why;
        record_fail(r, err_set(&why, ERR_BUG, "a record of more than %d devices", RECORD_DEVICES),
                    &why);
        return NULL;
    }
    struct record_device *d = &r->device[r->n_device++];
    *d = (struct record_device){.dev = dev, .track = -1, .copies = -1};
    return d;
}

/* ---- timers ---------------------------------------------------------------------------------- */

static struct event *timer_take(struct recorder *r, struct record_device *d)
{
    struct err why;
    struct event *t = NULL;
    if (d->n_spare)
        return d->spare[--d->n_spare];
    if (d->n_timer == RECORD_TIMERS)
        return NULL;
    record_fail(r, d->dev->api->timer_open(d->dev, &t, &why), &why);
    d->n_timer += t != NULL;
    return t;
}

void device_untime(struct recorder *r, struct record_device *d, struct event *t)
{
    struct err why;
    if (!t)
        return;
    const int rc =
        mem_grow(&d->spare, &d->cap_spare, d->n_spare + 1, sizeof(struct event *), "timers", &why);
    record_fail(r, rc, &why);
    if (rc == 0) {
        d->spare[d->n_spare++] = t;
        return;
    }
    d->dev->api->event_close(d->dev, t);
    d->n_timer--;
}

struct event *device_time(struct recorder *r, struct record_device *d, struct stream *s)
{
    struct err why;
    struct event *t = timer_take(r, d);
    if (!t)
        return NULL;
    const int rc = d->dev->api->event_record(d->dev, t, s, &why);
    record_fail(r, rc, &why);
    if (rc == 0)
        return t;
    device_untime(r, d, t);
    return NULL;
}

/* ---- marks: moments that both clocks know ---------------------------------------------------- */

static int mark_read(struct record_device *d, struct event *t, int64_t *ns, struct err *e)
{
    const struct dev_api *api = d->dev->api;
    for (int i = 0; i < MARK_TRIES; i++) {
        const int64_t t0 = clock_ns();
        TRY(api->event_record(d->dev, t, NULL, e));
        TRY(api->event_sync(d->dev, t, e));
        const int64_t t1 = clock_ns();
        *ns = t0 + (t1 - t0) / 2;
        if (t1 - t0 < MARK_NEAR_NS)
            break;
    }
    return 0;
}

/* Sets the next mark. Waits for the device. */
static int mark_set(struct record_device *d, struct event **mark, int64_t *ns, struct err *e)
{
    struct event **t = &d->mark[1 - d->last];
    if (!*t)
        TRY(d->dev->api->timer_open(d->dev, t, e));
    TRY(mark_read(d, *t, ns, e));
    *mark = *t;
    return 0;
}

void device_begin(struct recorder *r, struct record_device *d)
{
    struct err why;
    struct event *mark;
    int64_t ns = 0;
    if (d->mark_ns || d->taking)
        return;
    const int rc = mark_set(d, &mark, &ns, &why);
    record_fail(r, rc, &why);
    if (rc < 0)
        return;
    d->mark_ns = ns;
    d->last = 1 - d->last;
}

struct between {        /* two marks */
    struct event *from; /* the older one, or the only one */
    int64_t from_ns;
    /* from the older mark to the newer one on the device, and the host's time minus the device's */
    double seconds, slack;
    int64_t busy_ns; /* end of the work that was read last, of the same stream */
};

static int between_marks(struct record_device *d, struct between *out, struct err *e)
{
    struct event *mark;
    int64_t ns = 0;
    TRY(mark_set(d, &mark, &ns, e));
    *out = (struct between){.from = mark, .from_ns = ns};
    if (d->mark_ns) {
        out->from = d->mark[d->last];
        out->from_ns = d->mark_ns;
        TRY(d->dev->api->elapsed(d->dev, out->from, mark, &out->seconds, e));
        out->slack = (double)(ns - d->mark_ns) * 1e-9 - out->seconds;
    }
    d->last = 1 - d->last;
    d->mark_ns = ns;
    return 0;
}

/* The clocks differ by the slack at the newer mark, by nothing at the older one. */
static int64_t on_host(const struct between *b, double seconds)
{
    double share = b->seconds > 0 ? seconds / b->seconds : 0;
    share = share < 0 ? 0 : share > 1 ? 1 : share;
    return b->from_ns + (int64_t)((seconds + share * b->slack) * 1e9);
}

/* ---- reading --------------------------------------------------------------------------------- */

/* Work of a stream does not overlap. Its times may, by some nanoseconds: they are rounded. */
static int timing_read(struct recorder *r, struct record_device *d, struct between *b,
                       const struct timing *t, struct err *e)
{
    double at, seconds;
    TRY(d->dev->api->elapsed(d->dev, b->from, t->from, &at, e));
    TRY(d->dev->api->elapsed(d->dev, t->from, t->to, &seconds, e));
    struct interval v = t->what;
    v.start_ns = on_host(b, at);
    if (v.start_ns < b->busy_ns && b->busy_ns - v.start_ns < ROUNDING_NS)
        v.start_ns = b->busy_ns;
    v.end_ns = v.start_ns + (int64_t)(seconds * 1e9);
    b->busy_ns = v.end_ns;
    (void)record_keep(r, &v);
    return 0;
}

static int read_queue(struct recorder *r, struct record_device *d, struct between *b, struct err *e)
{
    b->busy_ns = 0;
    for (size_t i = 0; i < d->queue.n; i++)
        TRY(timing_read(r, d, b, &d->queue.item[i], e));
    for (size_t i = 0; i < d->queue.n; i++) {
        device_untime(r, d, d->queue.item[i].from);
        device_untime(r, d, d->queue.item[i].to);
    }
    d->queue.n = 0;
    return 0;
}

/* Copies end in the order in which they were queued. */
static int read_copies(struct recorder *r, struct record_device *d, struct between *b, bool wait,
                       struct err *e)
{
    const struct dev_api *api = d->dev->api;
    size_t n = 0;
    b->busy_ns = 0;
    for (bool done = true; n < d->copy.n; n++) {
        const struct timing *t = &d->copy.item[n];
        if (wait)
            TRY(api->event_sync(d->dev, t->to, e));
        else
            TRY(api->event_done(d->dev, t->to, &done, e));
        if (!done)
            break;
        TRY(timing_read(r, d, b, t, e));
    }
    for (size_t i = 0; i < n; i++) {
        device_untime(r, d, d->copy.item[i].from);
        device_untime(r, d, d->copy.item[i].to);
    }
    d->copy.n -= n;
    memmove(d->copy.item, d->copy.item + n, d->copy.n * sizeof *d->copy.item);
    return 0;
}

static int read_takes(struct recorder *r, struct record_device *d, struct between *b, struct err *e)
{
    for (size_t k = 0; k < d->n_take; k++) {
        struct take *take = d->take[k];
        b->busy_ns = 0;
        for (size_t i = 0; take->played && i < take->op.n; i++) {
            struct timing t = take->op.item[i];
            t.what.step = take->step;
            t.what.phase = take->phase;
            t.what.id = 0;
            TRY(timing_read(r, d, b, &t, e));
        }
        take->played = false;
    }
    return 0;
}

static int read_all(struct recorder *r, struct record_device *d, bool wait, struct err *e)
{
    struct between b;
    TRY(between_marks(d, &b, e));
    TRY(read_queue(r, d, &b, e));
    TRY(read_takes(r, d, &b, e));
    return d->copy.n ? read_copies(r, d, &b, wait, e) : 0;
}

void device_read(struct recorder *r, struct record_device *d, bool wait)
{
    struct err why;
    if (!r->err.code)
        record_fail(r, read_all(r, d, wait, &why), &why);
}

bool device_played(const struct record_device *d)
{
    for (size_t k = 0; k < d->n_take; k++)
        if (d->take[k]->played)
            return true;
    return false;
}

bool device_waiting(const struct record_device *d)
{
    return d->queue.n || d->copy.n || device_played(d);
}

/* ---- queues and recordings ------------------------------------------------------------------- */

void device_queue(struct recorder *r, struct record_device *d, const struct timing *t)
{
    struct err why;
    struct timings *to = d->taking                   ? &d->taking->op
                         : t->what.kind == SPAN_COPY ? &d->copy
                                                     : &d->queue;
    const int rc = mem_grow(&to->item, &to->cap, to->n + 1, sizeof *to->item, "timed ops", &why);
    record_fail(r, rc, &why);
    if (rc == 0) {
        to->item[to->n++] = *t;
        return;
    }
    device_untime(r, d, t->from);
    device_untime(r, d, t->to);
}

static struct take *take_find(struct record_device *d, uint64_t key)
{
    for (size_t k = 0; k < d->n_take; k++)
        if (d->take[k]->key == key)
            return d->take[k];
    return NULL;
}

static int take_make(struct record_device *d, uint64_t key, struct take **out, struct err *e)
{
    TRY(mem_grow(&d->take, &d->cap_take, d->n_take + 1, sizeof(struct take *), "recordings", e));
    struct take *t = mem_zalloc(1, sizeof *t);
    if (!t)
        return NOMEM(e, sizeof *t, "a recording");
    t->key = key;
    *out = d->take[d->n_take++] = t;
    return 0;
}

/* A key that comes again: the backend has dropped its old recording. */
void device_record(struct recorder *r, struct record_device *d, uint64_t key)
{
    struct err why;
    d->taking = NULL;
    if (!key)
        return;
    struct take *t = take_find(d, key);
    if (!t)
        record_fail(r, take_make(d, key, &t, &why), &why);
    for (size_t i = 0; t && i < t->op.n; i++) {
        device_untime(r, d, t->op.item[i].from);
        device_untime(r, d, t->op.item[i].to);
    }
    if (t)
        t->op.n = 0;
    d->taking = t;
}

void device_replay(struct recorder *r, struct record_device *d, uint64_t key, int step,
                   const char *phase)
{
    struct take *t = take_find(d, key);
    if (!t || t->played) { /* recorded earlier, or its times are lost */
        r->dropped += t ? t->op.n : 1;
        return;
    }
    t->played = true;
    t->step = step;
    t->phase = phase;
}

static void timings_close(struct record_device *d, struct timings *t)
{
    for (size_t i = 0; i < t->n; i++) {
        d->dev->api->event_close(d->dev, t->item[i].from);
        d->dev->api->event_close(d->dev, t->item[i].to);
    }
    mem_free(t->item);
}

void device_drop(struct record_device *d)
{
    timings_close(d, &d->queue);
    timings_close(d, &d->copy);
    for (size_t k = 0; k < d->n_take; k++) {
        timings_close(d, &d->take[k]->op);
        mem_free(d->take[k]);
    }
    for (size_t i = 0; i < d->n_spare; i++)
        d->dev->api->event_close(d->dev, d->spare[i]);
    for (int i = 0; i < 2; i++)
        if (d->mark[i])
            d->dev->api->event_close(d->dev, d->mark[i]);
    mem_free(d->take);
    mem_free(d->spare);
}
